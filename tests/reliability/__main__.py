"""`python -m tests.reliability`: measures the promises and writes docs/reliability.md.

Exit codes: 0 all met, 1 one was not, 3 one is inconclusive or, of a whole run, not measured.
"""

import argparse
import importlib
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from tests.reliability import machine
from tests.reliability.document import summary, to_markdown
from tests.reliability.lab import Lab
from tests.reliability.measured import Measured
from tests.reliability.promises import MEASUREMENTS
from tests.reliability.results import TESTS, failed, judged
from tests.reliability.server import ROOT, raise_file_limit
from tests.reliability.store import Row, load, save, updated

DOCUMENT = ROOT / "docs" / "reliability.md"
RESULT = ROOT / "runs" / "reliability.json"
WHOLE_S = 57 * 60  # all of it, with once more what was inconclusive as far as there is time


def main() -> None:
    """Measure, print, write."""
    options = _parse()
    names = options.only or [name for name in MEASUREMENTS if not (options.quick and name == TESTS)]
    if options.plan:
        _say(plan(names))
        return
    if not (options.artifact / "manifest.json").is_file():
        sys.exit(f"reliability: no artifact at {options.artifact}; `make demo` makes one")
    old = _stored() if options.update else []
    raise_file_limit()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # no service is left
    folder = Path(tempfile.mkdtemp(prefix="heed-reliability-"))
    only = tuple(name for name in options.only or () if name != TESTS)
    lab = Lab(folder, options.artifact.resolve(), options.quick, _say, only)
    answers = _measure_all(lab, names)
    rows = [Row(*answer, machine.describe()) for answer in judged(answers)]
    _write(updated(old, rows) if old else rows, options)
    verdicts = {row.measured.verdict for row in rows}
    if "not met" in verdicts:
        _say(f"logs: {folder}")
        sys.exit(1)
    shutil.rmtree(folder, ignore_errors=True)
    unclear = (
        {"inconclusive"} if options.quick or options.only else {"inconclusive", "not measured"}
    ) | {"undecided"}
    sys.exit(3 if verdicts & unclear else 0)


def _stored() -> list[Row]:
    try:
        return load(RESULT)
    except ValueError as error:
        sys.exit(f"reliability: {error}")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.reliability", description=__doc__)
    parser.add_argument(
        "--only",
        nargs="+",
        choices=MEASUREMENTS,
        metavar="NAME",
        help=(f"some of: {', '.join(MEASUREMENTS)}; {TESTS} are then those of the others"),
    )
    parser.add_argument(
        "--update",
        action="store_true",
        help="with --only: the last whole run's document, with what is measured now in its place",
    )
    parser.add_argument(
        "--out", type=Path, help="the document; docs/reliability.md for a whole run"
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="does it run, without the tests of `make test`? The figures mean nothing",
    )
    parser.add_argument("--plan", action="store_true", help="say what takes how long, and stop")
    parser.add_argument("--artifact", type=Path, default=ROOT / "artifacts" / "demo")
    return parser.parse_args()


def _measure_all(lab: Lab, names: list[str]) -> dict[str, Mapping[str, Measured]]:
    began = time.monotonic()
    if not lab.quick:
        _say(plan(names))
    answers = {name: _measure(lab, name) for name in names}
    for name in names:
        unclear = any(each.verdict == "inconclusive" for each in answers[name].values())
        left_s = WHOLE_S - (time.monotonic() - began)
        if unclear and not lab.quick and MEASUREMENTS[name] <= left_s:
            _say(f"{name}: once more")
            answers[name] = _measure(lab, name)
    return answers


def plan(names: list[str]) -> str:
    """What is measured in which order, how long each takes, and all together."""
    lines = [f"{MEASUREMENTS[name]:6} s  {name}" for name in names]
    once_s = sum(MEASUREMENTS[name] for name in names)
    most_s = min(2 * once_s, max(once_s, WHOLE_S))
    whole = f"{once_s / 60:.0f} minutes; {most_s / 60:.0f} if all is inconclusive at first"
    return "\n".join([*lines, whole])


def _measure(lab: Lab, name: str) -> Mapping[str, Measured]:
    _say(f"{name}: about {MEASUREMENTS[name]} s" if not lab.quick else name)
    began = time.monotonic()
    try:
        answers = importlib.import_module(f"tests.reliability.{name}").measure(lab)
    except Exception as error:  # whatever it is, the others are measured all the same
        answers = failed(name, error)
    for key, measured in answers.items():
        if name != TESTS or measured.verdict != "met":
            figures = "; ".join(map(str, measured.figures))
            reasons = (measured.note, measured.skipped, *measured.unmeasured, *measured.noise)
            _say(f"  {measured.verdict:9} {key}: {figures} {'; '.join(filter(None, reasons))}")
    _say(f"  {time.monotonic() - began:.0f} s")
    return answers


def _write(rows: list[Row], options: argparse.Namespace) -> None:
    partial = bool(options.only) and not options.update
    if not partial:
        save(RESULT, rows, quick=options.quick)
    out = options.out or (None if options.quick or partial else DOCUMENT)
    if out:
        out.write_text(to_markdown(rows, quick=options.quick), encoding="utf-8")
    _say(f"{summary(rows)} {out or 'No document: not a whole run.'}")


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    main()
