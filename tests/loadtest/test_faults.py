"""Real gates against a server with known faults: the verdict must be the right one.

A machine that is busy with something else makes a measurement invalid, or its intervals too wide to
decide by, which is right too: such a run is repeated, and the test skipped when no quiet moment
comes.
"""

import threading
import time
from contextlib import suppress

import psutil
import pytest

from loadtest.bench import Bench
from loadtest.gate import rehearse, run_gate
from loadtest.result import OK, Result, latencies
from loadtest.slo import parse_slo
from loadtest.target import Target
from tests.loadtest.made import outcomes
from tests.loadtest.stub import Options, running_stub, true_quantiles

pytestmark = pytest.mark.e2e

ATTEMPTS = 3
NOISE = {"CPU steal", "schedule lag p99", "clock step"}
WORKLOAD = """
arrivals = "{arrivals}"
timeout = "{timeout}"
warm_up = "{warm_up}"
[texts]
built_in = true
[[stages]]
name = "steady"
rate = {rate}
duration = "{duration}"
"""


@pytest.fixture
def gate(tmp_path):
    """Runs a gate: `gate(stub options, objectives, **workload)`; the objectives are YAML flow."""

    def run(
        faults: dict[str, object],
        *objectives: str,
        validity: str = "{lag_p99: 20ms}",
        arrivals: str = "constant",
        rate: float = 100,
        duration: str = "2s",
        timeout: str = "5s",
        warm_up: str = "0s",
        quiet: bool = True,
    ) -> Result:
        settings = {"arrivals": arrivals, "rate": rate, "duration": duration}
        settings |= {"timeout": timeout, "warm_up": warm_up}
        (tmp_path / "load.toml").write_text(WORKLOAD.format(**settings), encoding="utf-8")
        listed = "\n".join(f"  - {objective}" for objective in objectives)
        text = (
            "version: 1\nscenarios: {steady: {workload: load.toml}}\n"
            f"objectives:\n{listed}\nvalidity: {validity}\n"
        )
        slo = parse_slo(text, tmp_path / "slo.yaml")
        for _ in range(ATTEMPTS):
            with running_stub(**faults) as stub:
                bench = Bench([Target(stub.url)])
                result = run_gate(bench, slo, rehearse(slo, loads_baseline=False))
            broken = {check.name for check in result.verdict.checks if not check.ok}
            disturbed = broken & NOISE or result.verdict.outcome == "inconclusive"
            if not quiet or not disturbed:
                return result
        pytest.skip(f"the machine was busy: {result.verdict.summary}")

    return run


def outcome(result: Result) -> tuple[str, int]:
    """The verdict in short."""
    return result.verdict.outcome, result.verdict.exit_code


def test_a_sound_server_passes(gate) -> None:
    """No fault, no failure, exit code 0."""
    result = gate({"delay": 0.005}, "{metric: p50, max: 50ms, margin: 10%}")
    assert outcome(result) == ("pass", 0), result.verdict.summary
    assert set(outcomes(result)) == {OK}


def test_a_stall_is_seen_in_full(gate) -> None:
    """2 s without an answer in 10 s: the true p90 is 1.0 s, the true p95 1.5 s."""
    result = gate({"stall_at": 4.0, "stall_for": 2.0}, "{metric: p95, max: 500ms}")
    seen = latencies(result.stages)
    assert seen.quantile(0.90) == pytest.approx(1.0, rel=0.10)
    assert seen.quantile(0.95) == pytest.approx(1.5, rel=0.10)
    assert outcome(result) == ("fail", 1), result.verdict.summary


def test_percentiles_are_those_of_the_server(gate) -> None:
    """Lognormal latencies of known quantiles, within max(2 ms, 5 %)."""
    faults = {"lognormal": (0.02, 0.5)}
    result = gate(faults, "{metric: p50, max: 500ms}", rate=200, arrivals="poisson")
    seen = latencies(result.stages)
    truth = true_quantiles(Options(**faults), (0.5, 0.95, 0.99), seen.total)
    for fraction, true_s in zip((0.5, 0.95, 0.99), truth, strict=True):
        assert abs(seen.quantile(fraction) - true_s) <= max(0.002, 0.05 * true_s)


@pytest.mark.parametrize(
    ("faults", "seen"),
    [
        ({"error_ratio": 0.02}, "status 500"),
        ({"close_ratio": 0.02}, "HTTPConnectionClosed"),
        ({"garbage_ratio": 0.02}, "no results in the answer"),
    ],
    ids=["errors", "closed sockets", "answers that are none"],
)
def test_failures_fail_the_error_ratio(gate, faults: dict[str, object], seen: str) -> None:
    """Each fault is counted under its own name."""
    result = gate(faults, "{metric: error_ratio, max: 0.4%}", rate=150)
    assert outcome(result) == ("fail", 1), result.verdict.summary
    found = outcomes(result)
    assert found[seen] == pytest.approx(0.02 * sum(found.values()), abs=2)


@pytest.mark.parametrize(
    "faults",
    [{"late_ratio": 0.05, "late_by": 0.4}, {"slow_body": 0.4, "slow_ratio": 0.05}],
    ids=["late 200s", "slow bodies"],
)
def test_answers_after_the_deadline_are_not_good(gate, faults: dict[str, object]) -> None:
    """All are 200 and whole; the error ratio passes, the goodput does not."""
    goodput = "{metric: goodput, deadline: 200ms, min: 98%}"
    result = gate(faults, goodput, "{metric: error_ratio, max: 1%}")
    assert outcome(result) == ("fail", 1), result.verdict.summary
    assert [each.outcome for each in result.verdict.judgements] == ["fail", "pass"]


def test_requests_that_time_out_count_as_infinitely_late(gate) -> None:
    """One in ten is more than p95 leaves."""
    faults = {"late_ratio": 0.1, "late_by": 3.0}
    result = gate(faults, "{metric: p95, max: 100ms}", timeout="500ms")
    assert outcomes(result)["timeout"] == pytest.approx(
        0.1 * latencies(result.stages).total, rel=0.1
    )
    [p95] = result.verdict.judgements
    assert (p95.value, p95.outcome) == (None, "fail")


def test_a_leak_fails_memory_growth(gate) -> None:
    """50 kB a request, as the server's own /metrics shows it."""
    result = gate({"leak_bytes": 50_000}, "{metric: memory_growth, max: 10MB}")
    assert outcome(result) == ("fail", 1), result.verdict.summary


def test_a_model_that_changes_meanwhile_is_invalid(gate) -> None:
    """Half of the figures would be another model's."""
    result = gate({"change_model_after": 100}, "{metric: p50, max: 500ms, margin: 10%}")
    assert outcome(result) == ("invalid", 3), result.verdict.summary


def test_a_rate_above_the_generators_maximum_is_invalid(gate) -> None:
    """No verdict on the server from a generator that could not send what was due."""
    objective = "{metric: p50, max: 5s, margin: 10%}"
    result = gate({}, objective, rate=20_000, duration="1s", timeout="1s", quiet=False)
    assert outcome(result) == ("invalid", 3), result.verdict.summary


def test_a_starved_generator_is_invalid(gate) -> None:
    """It is stopped for 50 ms again and again, as by others who need its CPU more."""
    over = threading.Event()
    starving = threading.Thread(target=_starve, args=(over,))
    starving.start()
    try:
        objective = "{metric: p50, max: 40ms, margin: 10%}"
        result = gate({"delay": 0.005}, objective, validity="{lag_p99: 2ms}", quiet=False)
    finally:
        over.set()
        starving.join()
    assert outcome(result) == ("invalid", 3), result.verdict.summary
    broken = [check.name for check in result.verdict.checks if not check.ok]
    assert "schedule lag p99" in broken


def _starve(over: threading.Event) -> None:
    """Stop every Locust process below this one for a tenth of the time."""
    while not over.wait(0.45):
        with suppress(psutil.Error):
            found = psutil.Process().children()
            generators = [each for each in found if "locust" in each.cmdline()]
            for each in generators:
                each.suspend()
            time.sleep(0.05)
            for each in generators:
                each.resume()


def test_a_server_that_dies_fails_and_is_not_called_unmeasurable(gate) -> None:
    """Its objectives are what it missed; the measurement was sound."""
    killer = threading.Timer(5.0, _kill_stub)
    killer.start()
    try:
        result = gate({}, "{metric: error_ratio, max: 1%}", "{metric: p90, max: 50ms}")
    finally:
        killer.join()
    assert outcome(result) == ("fail", 1), result.verdict.summary
    assert "ConnectionRefusedError" in outcomes(result)


def _kill_stub() -> None:
    for each in psutil.Process().children():
        if any("stub.py" in word for word in each.cmdline()):
            each.kill()
