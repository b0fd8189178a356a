"""The search for a capacity, with servers whose capacity is known."""

from pathlib import Path

import pytest

from loadtest.capacity import SearchSettings, run_capacity
from loadtest.gate import GateError
from loadtest.slo import Slo, parse_slo
from tests.loadtest.fakes import FakeBench, Server, paced, queueing

SETTINGS = SearchSettings(start_rps=25, step_s=8, overload_s=10)


def slo(*objectives: str) -> Slo:
    """Objectives over two scenarios."""
    listed = "\n".join(f"  - {objective}" for objective in objectives)
    scenarios = "{steady: {workload: steady, rate: 100}, other: {workload: steady}}"
    return parse_slo(
        f"version: 1\nscenarios: {scenarios}\nobjectives:\n{listed}\n", Path("slo.yaml")
    )


P99 = "{metric: p99, max: 200ms}"


@pytest.mark.parametrize("capacity_rps", [60, 100, 230])
def test_the_capacity_of_a_server_is_found_to_five_percent(capacity_rps: float) -> None:
    """Near its server's rate a queue still holds a second; above, its backlog grows."""
    bench = FakeBench(queueing(1 / capacity_rps))
    objectives = slo("{metric: p99, max: 1s}")
    capacity = run_capacity(bench, objectives, "steady", SETTINGS).capacity
    assert capacity.rate_rps == pytest.approx(capacity_rps, rel=0.05)
    assert (capacity.confirmations, capacity.limited_by) == (5, "objectives")


def test_the_answer_says_how_many_instances_a_peak_needs() -> None:
    """Rounded up, in texts."""
    settings = SearchSettings(start_rps=25, step_s=8, overload_s=0, peak_texts_per_s=1000)
    result = run_capacity(FakeBench(queueing(0.01)), slo(P99), "steady", settings)
    assert result.capacity.instances == -(-1000 // result.capacity.texts_per_s)
    assert result.capacity.overload == []
    assert (result.verdict.outcome, result.verdict.exit_code) == ("pass", 0)
    assert "p99 at most 200 ms" in result.capacity.within


def test_a_generator_at_its_limit_is_not_taken_for_the_server() -> None:
    """The capacity is then at least what was found, and the verdict is not a pass."""
    bench = FakeBench(paced(0.001), limit_rps=300)
    result = run_capacity(bench, slo(P99), "steady", SETTINGS)
    assert 285 <= result.capacity.rate_rps <= 300
    assert result.capacity.limited_by == "generator"
    assert (result.verdict.outcome, result.verdict.exit_code) == ("invalid", 3)


def test_a_scenario_without_an_absolute_objective_is_refused_before_it_is_loaded() -> None:
    """Relative ones and those that only warn cannot be held by a rate."""
    bench = FakeBench(paced(0.001))
    objectives = slo("{metric: p99, max_increase: 5%}", "{metric: p95, max: 1s, severity: warn}")
    with pytest.raises(GateError, match="no absolute objective"):
        run_capacity(bench, objectives, "steady", SETTINGS)
    assert bench.plans == []


def test_a_machine_that_is_not_ours_is_not_taken_for_a_limit() -> None:
    """Steal stops the search as invalid, whatever the rates."""
    bench = FakeBench(paced(0.001), steal=0.1)
    result = run_capacity(bench, slo(P99), "steady", SETTINGS)
    assert (result.verdict.outcome, result.verdict.exit_code) == ("invalid", 3)
    assert result.verdict.summary.startswith("nothing could be measured: CPU steal 10 %")


def test_objectives_that_no_rate_holds_fail() -> None:
    """Not even one request per second."""
    result = run_capacity(FakeBench(paced(0.5)), slo(P99), "steady", SETTINGS)
    assert result.capacity.rate_rps is None
    assert (result.verdict.outcome, result.verdict.exit_code) == ("fail", 1)


def test_overload_is_two_five_and_ten_times_the_capacity_and_then_recovery() -> None:
    """A queue without bound answers late under overload and has not recovered in ten seconds."""
    capacity = run_capacity(FakeBench(queueing(0.01)), slo(P99), "steady", SETTINGS).capacity
    factors = [stage.offered_rps / capacity.rate_rps for stage in capacity.overload]
    assert factors == pytest.approx([2, 5, 10, 0.8], rel=0.15)
    assert capacity.overload[2].goodput_rps < 0.5 * capacity.rate_rps


@pytest.mark.parametrize(("server", "recovered"), [(paced(0.001), 0.0), (paced(5.0), None)])
def test_recovery_is_when_goodput_stays(server: Server, recovered: float | None) -> None:
    """From the first second that no worse one follows; never, when the last one is bad."""
    bench = FakeBench(paced(0.001), limit_rps=300)
    result = run_capacity(bench, slo(P99), "steady", SETTINGS)
    assert result.capacity.overload[-1].recovery_s == 0.0
    from loadtest.capacity import to_overload

    planned = bench.plans[-1]
    fresh = FakeBench(server).run(planned, "again")
    assert to_overload(0.8, fresh.measured[-1]).recovery_s == recovered
