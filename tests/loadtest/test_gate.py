"""What a gate runs, in which order, and how it refuses: with a bench that answers at once."""

from pathlib import Path

import pytest

from loadtest.gate import GateError, rehearse, run_gate
from loadtest.slo import Slo, parse_slo
from loadtest.target import TargetError
from tests.loadtest.fakes import FakeBench, paced


def slo(*objectives: str, rate: float = 100, duration: str = "2s", top: str = "") -> Slo:
    """Objectives over one scenario of 200 requests a round."""
    listed = "\n".join(f"  - {objective}" for objective in objectives)
    scenario = f"{{workload: steady, rate: {rate}, duration: {duration}, warm_up: 1s}}"
    text = f"version: 1\n{top}\nscenarios: {{steady: {scenario}}}\nobjectives:\n{listed}\n"
    return parse_slo(text, Path("slo.yaml"))


P50 = "{metric: p50, max: 50ms}"
RELATIVE = "{metric: p50, max_increase: 5%}"


def test_a_gate_runs_as_many_rounds_as_its_objectives_need() -> None:
    """p99 takes 1,521 requests: at 200 a round, with a tenth to spare, nine rounds."""
    [scenario] = rehearse(slo("{metric: p99, max: 50ms}"), loads_baseline=False)
    assert (scenario.needs, scenario.rounds) == ({"p99 at most 50 ms": 1521}, 9)
    bench = FakeBench(paced(0.01))
    result = run_gate(bench, slo("{metric: p99, max: 50ms}"), [scenario])
    assert [stage.round for stage in result.stages] == list(range(9))
    assert result.verdict.exit_code == 0, result.verdict.summary


def test_five_rounds_are_run_when_few_requests_would_do() -> None:
    """Their values can be the baseline of a later gate."""
    [scenario] = rehearse(slo("{metric: p50, max: 50ms, margin: 10%}"), loads_baseline=False)
    assert scenario.rounds == 5


def test_what_takes_longer_than_allowed_is_refused_before_it_starts() -> None:
    """The message says how long, for which objective, and what to change."""
    objectives = slo("{metric: error_ratio, max: 0.01%}", top="max_duration: 1m")
    with pytest.raises(GateError, match=r"max_duration allows 60 s .error ratio.*: raise"):
        rehearse(objectives, loads_baseline=False)


def test_an_objective_on_requests_that_are_never_sent_is_refused() -> None:
    """It could never be judged."""
    with pytest.raises(GateError, match="explain requests, and the workload sends none"):
        rehearse(slo("{metric: p50, max: 1s, requests: explain}"), loads_baseline=False)


def test_an_objective_on_a_stage_that_does_not_exist_is_refused() -> None:
    """The message lists those that do."""
    with pytest.raises(GateError, match=r"expected a stage of the workload .*steady.*'spike'"):
        rehearse(slo("{metric: p50, max: 1s, stage: spike}"), loads_baseline=False)


def test_a_service_that_is_not_ready_is_not_loaded() -> None:
    """Nothing is sent."""
    bench = FakeBench(paced(0.01))
    bench.targets[0].ready = False
    with pytest.raises(TargetError):
        run_gate(bench, slo(P50), rehearse(slo(P50), loads_baseline=False))
    assert bench.plans == []


def test_a_baseline_runs_against_itself_first_then_in_turn_with_the_candidate() -> None:
    """A/A, then ABBA with as many rounds of each."""
    bench = FakeBench(paced(0.01), paced(0.01))
    objectives = slo(P50, RELATIVE)
    run_gate(bench, objectives, rehearse(objectives, loads_baseline=True))
    calibration, comparison = bench.plans
    assert {stage.role for stage in calibration.stages} == {"calibration"}
    order = [stage.role for stage in comparison.stages if stage.measured]
    assert order[:4] == ["candidate", "baseline", "baseline", "candidate"]
    assert order.count("candidate") == order.count("baseline") >= 5


@pytest.mark.parametrize(
    ("candidate_s", "expected"), [(0.010, ("pass", 0)), (0.0115, ("regression", 2))]
)
def test_a_slower_build_is_a_regression_and_an_equal_one_is_not(
    candidate_s: float, expected: tuple[str, int]
) -> None:
    """15 % more at a tolerance of 5 %."""
    bench = FakeBench(paced(candidate_s), paced(0.010))
    objectives = slo(P50, RELATIVE)
    verdict = run_gate(bench, objectives, rehearse(objectives, loads_baseline=True)).verdict
    assert (verdict.outcome, verdict.exit_code) == expected, verdict.summary


def test_a_noisy_machine_gets_more_pairs_but_not_more_than_there_is_time_for() -> None:
    """The A/A run decides how many."""
    objectives = slo(P50, RELATIVE, top="max_duration: 3m")
    quiet, noisy = (FakeBench(paced(0.01, noise), paced(0.01, noise)) for noise in (0.01, 0.2))
    for bench in (quiet, noisy):
        run_gate(bench, objectives, rehearse(objectives, loads_baseline=True))
    pairs = [
        sum(s.role == "candidate" and s.measured for s in b.plans[1].stages) for b in (quiet, noisy)
    ]
    assert pairs[0] < pairs[1]
    assert noisy.plans[1].duration_s < 180


def test_too_much_noise_is_inconclusive_and_never_a_pass() -> None:
    """There was no time for the pairs that it asks for."""
    bench = FakeBench(paced(0.01, 0.3), paced(0.01, 0.3))
    objectives = slo(RELATIVE, top="max_duration: 1m")
    verdict = run_gate(bench, objectives, rehearse(objectives, loads_baseline=True)).verdict
    assert (verdict.outcome, verdict.exit_code) == ("inconclusive", 3), verdict.summary


@pytest.mark.parametrize(
    ("candidate_s", "expected"), [(0.010, ("pass", 0)), (0.0115, ("regression", 2))]
)
def test_a_stored_result_is_a_baseline(candidate_s: float, expected: tuple[str, int]) -> None:
    """Judged as a loaded one is."""
    objectives = slo(P50, RELATIVE)
    scenarios = rehearse(objectives, loads_baseline=False)
    stored = run_gate(FakeBench(paced(0.01)), objectives, scenarios)
    result = run_gate(
        FakeBench(paced(candidate_s)), objectives, scenarios, baseline=("old.json", stored)
    )
    assert result.baseline == "old.json"
    assert (result.verdict.outcome, result.verdict.exit_code) == expected, result.verdict.summary


def test_another_model_than_expected_is_invalid() -> None:
    """Whatever its figures."""
    objectives = slo(P50)
    scenarios = rehearse(objectives, loads_baseline=False)
    verdict = run_gate(
        FakeBench(paced(0.01)), objectives, scenarios, expected_model="c0ffee00"
    ).verdict
    assert (verdict.outcome, verdict.exit_code) == ("invalid", 3)
