"""Whether the load test and its gate measure right: a stub with known faults, known truths.

Sections, run all or by name: fidelity stall lognormal wrk generator capacity noise regression.
`noise` loads a real service (--url) against itself and saves the values of its rounds, which
tests/loadtest/test_statistics.py replays.

Example: python benchmarks/gate.py fidelity stall lognormal wrk
"""

import argparse
import csv
import itertools
import json
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from scipy import stats

from loadtest.bench import Bench
from loadtest.capacity import SearchSettings, run_capacity
from loadtest.gate import rehearse, run_gate
from loadtest.histogram import Distribution
from loadtest.plan import CALIBRATION, CANDIDATE, open_plan
from loadtest.result import DROPPED, Run, latencies
from loadtest.slo import parse_slo
from loadtest.target import Target
from loadtest.workload import Workload
from tests.loadtest.stub import Options, running_stub, true_quantiles

STEAL = 0.02  # of the CPU; a run with more is void and repeated
LOCUSTFILE = """
from locust import FastHttpUser, constant_throughput, task
class Plain(FastHttpUser):
    wait_time = constant_throughput(10)
    @task
    def classify(self):
        self.client.post("/v1/classify", json={"inputs": "hello"})
"""


def workload(
    rate: float, duration_s: float, arrivals: str = "poisson", warm_up_s: float = 0
) -> Workload:
    """Single texts at a constant rate."""
    stage = {"name": "steady", "rate": rate, "duration_s": duration_s}
    return Workload.model_validate(
        {"arrivals": arrivals, "warm_up_s": warm_up_s, "timeout_s": 10.0, "stages": (stage,)}
    )


def measure(load: Workload, **faults: object) -> Run:
    """One run against a stub; repeated while a hypervisor took CPU away."""
    while True:
        with running_stub(**faults) as stub:
            bench = Bench([Target(stub.url)])
            run = bench.run(open_plan(bench.urls, load, [CANDIDATE]), "")
        steal = statistics.mean(tick.steal_ratio for tick in run.ticks) if run.ticks else 1.0
        if steal <= STEAL:
            return run
        print(f"  void: steal {100 * steal:.1f} %")


def ms(seconds: float) -> str:
    """Two digits after the point."""
    return f"{1000 * seconds:.2f} ms"


def fidelity(rounds: int) -> None:
    """Schedule lag at 500 requests/s, and whether what was sent is Poisson."""
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder, running_stub(delay=0.002) as stub:
            records = Path(folder) / "records.csv"
            locustfile = Path(__file__).parents[1] / "loadtest" / "locustfile.py"
            options = f"--host {stub.url} --headless --only-summary --workload steady --rate 500"
            options += f" --duration 20s --records {records}"
            command = [sys.executable, "-m", "locust", "-f", str(locustfile), *options.split()]
            subprocess.run(command, check=True, capture_output=True)
            rows = list(csv.DictReader(records.read_text("utf-8").splitlines()))
        rows = [row for row in rows if row["stage"] == "steady"]
        sent = sorted(float(row["sent_s"]) for row in rows)
        lags = sorted(float(row["sent_s"]) - float(row["scheduled_s"]) for row in rows)
        gaps = [b - a for a, b in itertools.pairwise(sent)]
        kept = sum(row["outcome"] != DROPPED for row in rows) / len(rows)
        distance = stats.kstest(gaps, "expon", args=(0, 1 / 500)).statistic
        print(
            f"  {len(rows)} requests, achieved {100 * kept:.2f} %, "
            f"lag p50 {ms(lags[len(lags) // 2])}, p99 {ms(lags[int(0.99 * len(lags))])}; "
            f"gaps between sends and the exponential distribution: distance {distance:.3f}"
        )


def stall(rounds: int) -> None:
    """2 s without an answer in 10 s at 100/s: p90 is 1.0 s, p95 1.5 s; and plain Locust's view."""
    for _ in range(rounds):
        run = measure(workload(100, 10, "constant"), stall_at=4.0, stall_for=2.0)
        seen = latencies(run.measured)
        with (
            tempfile.TemporaryDirectory() as name,
            running_stub(stall_at=4.0, stall_for=2.0) as stub,
        ):
            folder = Path(name)
            (folder / "plain.py").write_text(LOCUSTFILE, encoding="utf-8")
            options = f"--host {stub.url} --headless --only-summary -u 10 -r 10 -t 10s --csv plain"
            command = [sys.executable, "-m", "locust", "-f", "plain.py", *options.split()]
            subprocess.run(command, cwd=folder, check=False, capture_output=True)
            rows = list(
                csv.DictReader((folder / "plain_stats.csv").read_text("utf-8").splitlines())
            )
        plain = rows[-1]
        print(
            f"  open loop p90 {ms(seen.quantile(0.9))}, p95 {ms(seen.quantile(0.95))} of "
            f"{seen.total} requests; ten plain Locust users: p90 {plain['90%']} ms, "
            f"p95 {plain['95%']} ms of {plain['Request Count']}"
        )


def lognormal(rounds: int) -> None:
    """Percentiles against those that the stub is known to have."""
    faults = {"lognormal": (0.02, 0.5)}
    for _ in range(rounds):
        seen = latencies(measure(workload(200, 20), **faults).measured)
        truth = true_quantiles(Options(**faults), (0.5, 0.95, 0.99), seen.total)
        for fraction, true_s in zip((0.5, 0.95, 0.99), truth, strict=True):
            found = seen.quantile(fraction)
            bar = max(0.002, 0.05 * true_s)
            print(
                f"  p{100 * fraction:.0f} {ms(found)}, true {ms(true_s)}, off by "
                f"{ms(abs(found - true_s))} of {ms(bar)} allowed"
            )


def wrk(rounds: int) -> None:
    """From sent, without stalls, beside wrk on the same stub at the same rate."""
    for _ in range(rounds):
        with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
            script.write('wrk.method="POST"\nwrk.body="{\\"inputs\\": \\"hello\\"}"\n')
            script.flush()
            with running_stub(lognormal=(0.02, 0.3)) as stub:
                command = f"wrk -t1 -c8 -d20s --latency -s {script.name} {stub.url}/v1/classify"
                page = subprocess.run(command.split(), capture_output=True, text=True, check=True)
        theirs = {
            float(name) / 100: float(value) / 1000 * (1000 if unit == "s" else 1)
            for name, value, unit in re.findall(r"(50|75|90|99)%\s+([\d.]+)(ms|s)", page.stdout)
        }
        rate = float(re.search(r"Requests/sec:\s+([\d.]+)", page.stdout)[1])
        ours = latencies(measure(workload(rate, 20), lognormal=(0.02, 0.3)).measured, sent=True)
        parts = []
        for fraction, value in theirs.items():
            mine = ours.quantile(fraction)
            off = f"{100 * (mine / value - 1):+.1f} %"
            parts.append(f"p{100 * fraction:.0f} {ms(mine)} wrk {ms(value)} ({off})")
        print(f"  {rate:.0f}/s: {', '.join(parts)}")


def generator(rounds: int) -> None:
    """What one process can offer, and what happens beyond."""
    for rate in (500, 1000, 2000, 3000, 4000, 5000, 8000):
        for _ in range(rounds):
            run = measure(workload(rate, 8, warm_up_s=1), delay=0.002)
            [stage] = run.measured
            lag = Distribution([stage.lag])
            offered = sum(group.offered for group in stage.groups)
            dropped = sum(group.outcomes.get(DROPPED, 0) for group in stage.groups)
            print(
                f"  {rate}/s: CPU {100 * run.generator.cpu_ratio:.0f} %, "
                f"{1e6 * run.generator.cpu_ratio * stage.duration_s / offered:.0f} us each, "
                f"lag p50 {ms(lag.quantile(0.5))}, p99 {ms(lag.quantile(0.99))}, dropped {dropped}"
            )


def capacity(rounds: int) -> None:
    """Servers of known capacity: k at a time, a fixed time each, a queue without bound."""
    slo = parse_slo(
        "version: 1\nscenarios: {steady: {workload: steady}}\n"
        "objectives: [{metric: p99, max: 400ms}]\nvalidity: {lag_p99: 20ms}\n", Path("slo.yaml")
    )  # fmt: skip
    for slots, service_s in ((10, 0.05), (4, 0.04), (4, 0.01)):
        for _ in range(rounds):
            with running_stub(slots=slots, service_time=service_s) as stub:
                bench = Bench([Target(stub.url)], on_plan=lambda label, _: print(f"    {label}"))
                result = run_capacity(bench, slo, "steady", SearchSettings(50, 8, 0))
            found, truth = result.capacity.rate_rps or 0, slots / service_s
            print(
                f"  found {found:.1f}/s, true {truth:.1f}/s ({100 * (found / truth - 1):+.1f} %), "
                f"{result.capacity.confirmations} confirmations, {len(result.capacity.steps)} steps"
            )


def noise(rounds: int, url: str, out: Path) -> None:
    """A/A rounds of a real service, saved for the replays of the tests."""
    bench = Bench([Target(url), Target(url)])
    values: dict[str, list[float]] = {"p50": [], "p95": [], "p99": []}
    for _ in range(rounds):
        plan = open_plan(bench.urls, workload(200, 2, warm_up_s=1), [CALIBRATION] * 20)
        for stage in bench.run(plan, "").measured:
            seen = latencies([stage])
            for name, each in values.items():
                each.append(round(seen.quantile(int(name[1:]) / 100), 7))
    out.write_text(json.dumps(values) + "\n", encoding="utf-8")
    for name, each in values.items():
        mean = statistics.mean(each)
        deviation = 100 * statistics.stdev(each) / mean
        print(f"  {name}: {len(each)} rounds, mean {ms(mean)}, CV {deviation:.1f} %")


def regression(rounds: int) -> None:
    """Whole gates with a baseline: the same build, and one that takes 10 % longer."""
    slo = parse_slo(
        "version: 1\nmax_duration: 5m\n"
        "scenarios: {steady: {workload: steady, rate: 400, duration: 1s, warm_up: 1s}}\n"
        "objectives: [{metric: p50, max_increase: 5%}]\n", Path("slo.yaml")
    )  # fmt: skip
    seeds = itertools.count(1, 2)
    for scale in (1.0, 1.1):
        outcomes: list[str] = []
        while len(outcomes) < rounds:
            same, seed = {"lognormal": (0.02, 0.5)}, next(seeds)
            with (
                running_stub(**same, scale=scale, seed=seed) as new,
                running_stub(**same, seed=seed + 1) as old,
            ):
                bench = Bench([Target(new.url), Target(old.url)])
                result = run_gate(bench, slo, rehearse(slo, loads_baseline=True))
            verdict = result.verdict
            print(f"  x{scale}: {verdict.summary}")
            if verdict.outcome != "invalid":
                outcomes.append(verdict.outcome)
        print(f"  x{scale}: {', '.join(f'{outcomes.count(o)} {o}' for o in sorted(set(outcomes)))}")


SECTIONS: dict[str, Callable[[int], None]] = {
    each.__name__: each
    for each in (fidelity, stall, lognormal, wrk, generator, capacity, regression)
}


def main() -> None:
    """Run the sections that are asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("sections", nargs="*", help="all but noise when none is given")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--url", help="of a service, for noise")
    parser.add_argument("--out", type=Path, default=Path("aa_noise.json"), help="of noise")
    options = parser.parse_args()
    for name in options.sections or SECTIONS:
        print(f"{name}: {(noise if name == 'noise' else SECTIONS[name]).__doc__}")
        if name == "noise":
            noise(options.rounds, options.url, options.out)
        else:
            SECTIONS[name](options.rounds)


if __name__ == "__main__":
    main()
