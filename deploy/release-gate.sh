#!/usr/bin/env bash
# Serve an artifact and let `heed gate` decide on it; with a second artifact as the baseline, that
# one is served beside it. Exits as the gate does: 0 pass, 1 failed, 2 regression, 3 not measured.
#
# deploy/release-gate.sh ARTIFACT [BASELINE_ARTIFACT]
# HEED: the command. SLO: the objectives. OUT: folder for the report.
set -euo pipefail
heed=${HEED:-heed}
work=$(mktemp -d) || exit 3
services=()
trap 'kill "${services[@]}" 2>/dev/null || true; wait || true; rm -rf "$work"' EXIT

# The service on a free port; sets $url once it listens.
serve() {
    "$heed" serve --model "$1" --port 0 >"$work/$2.url" 2>"$work/$2.log" &
    local pid=$!
    services+=("$pid")
    until url=$(grep -o 'http://[^ ]*' "$work/$2.url" | head -n 1); do
        kill -0 "$pid" 2>/dev/null || { tail -n 3 "$work/$2.log" >&2; exit 3; }
        sleep 0.1
    done
}

[ -f "${1:-}/manifest.json" ] || { echo "${1:-nothing} is no artifact: no manifest.json" >&2; exit 3; }
sha256=$(sha256sum "$1/manifest.json" | cut -d ' ' -f 1) || exit 3
options=()
if [ -n "${2:-}" ]; then
    serve "$2" baseline
    options=(--baseline "$url")
fi
serve "$1" candidate
"$heed" gate "$url" --slo "${SLO:-slo.yaml}" --expect-model "$sha256" \
    --out "${OUT:-gate-result}" "${options[@]}"
