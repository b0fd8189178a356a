"""What was run, and how far it can be trusted: in words. Pure."""

from collections.abc import Iterable

from loadtest.quantity import NOTHING, show, show_rate
from loadtest.result import Model, Result, Target

CLOSED = (
    "Closed workload: each user waits for an answer before sending again. When the server stalls, "
    "the load stalls with it, so these latencies flatter a server that stalls."
)

MOST_LISTED = 3  # e.g. fingerprints: a capacity search has one for every rate


def facts(result: Result) -> dict[str, str]:
    """What was run, by name."""
    host, run = result.host, result.runs[0] if result.runs else None
    said = {"service": _target(result.targets[0])} if result.targets else {}
    if len(result.targets) > 1:
        said["baseline"] = _target(result.targets[1])
    elif result.baseline:
        said["baseline"] = result.baseline
    said["host"] = (
        f"{host.cpu}, {host.cores} cores, {show(host.memory_bytes, 'bytes')}, {host.system}, "
        f"fingerprint {host.fingerprint}"
    )
    if run:
        said |= _run_facts(result)
    said["started"] = result.started_at.replace("T", " ").replace("+00:00", " UTC")
    return said | {"heed": result.heed_version}


def _run_facts(result: Result) -> dict[str, str]:
    runs = result.runs
    measured_s = sum(stage.duration_s for stage in result.stages)
    other_s = sum(stage.duration_s for run in runs for stage in run.stages) - measured_s
    processes = max(run.generator.processes for run in runs)
    return {
        "load": f"{_listed(run.arrivals for run in runs)}; {_load(result)}",
        "duration": f"{measured_s:,.1f} s measured, {other_s:,.1f} s of warm-up",
        "texts": _listed(run.texts for run in runs),
        "workload": _listed(run.workload[:12] for run in runs),
        "seed": _listed(run.seed for run in runs),
        "generator": f"Locust {runs[0].generator.locust_version}, {processes} "
        f"process{'' if processes == 1 else 'es'}, "
        f"busiest {show(max(run.generator.cpu_ratio for run in runs), 'ratio')} of a core",
    }


def notes(result: Result) -> list[str]:
    """How far the figures can be trusted, the workload first."""
    lines = [CLOSED] if any(run.arrivals == "closed" for run in result.runs) else []
    if any(run.generator.cpu_warning for run in result.runs):
        lines.append("The load generator ran short of CPU: latencies include its own delay.")
    if any(run.interrupted for run in result.runs):
        lines.append("Stopped by hand before its end.")
    if not result.stages:
        lines.append("Nothing was measured.")
    return lines


def _target(target: Target) -> str:
    where = "this machine" if target.local else "another machine"
    said = [f"{m.name} version {m.version}, manifest {_hash(m)}" for m in target.models]
    return f"{target.url} on {where}: {'; '.join(said) or 'models not listed'}"


def _hash(model: Model) -> str:
    return (model.manifest_sha256 or "unknown")[:12]


def _load(result: Result) -> str:
    stages = [stage for stage in result.stages if stage.role == "candidate"]
    users = [stage.users for stage in stages if stage.users is not None]
    if users:
        return f"{max(users):,} users"
    rates = [rate for s in stages for rate in (s.rate_rps, s.end_rate_rps) if rate is not None]
    if not rates:
        return NOTHING
    if min(rates) == max(rates):
        return show_rate(rates[0])
    return f"{show_rate(min(rates))} to {show_rate(max(rates))}"


def _listed(values: Iterable[object]) -> str:
    different = list(dict.fromkeys(map(str, values)))
    rest = len(different) - MOST_LISTED
    return ", ".join(different[:MOST_LISTED]) + (f" and {rest} more" if rest > 0 else "")
