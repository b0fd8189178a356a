"""Validity: each thing that spoils a measurement is seen, and so is one that was not measured."""

import math

import pytest

from loadtest.validity import checks
from tests.loadtest.made import SHA256, generator, result, run, slo, stage, tick

SOUND = result(run(stage()))
DEFAULTS = slo("metric: error_ratio, max: 1%")


def broken(measured, made=DEFAULTS, *others, **named):
    """Names of the checks that are not ok."""
    return [check.name for check in checks(measured, made, *others, **named) if not check.ok]


def test_sound_measurement_passes_every_check():
    """With an SLO file, a model and a baseline to compare with."""
    made = slo("metric: p99, max: 50ms")
    assert broken(SOUND, made, SHA256[:8].upper(), result(run(stage()))) == []
    assert all(check.measured and check.limit and check.advice for check in checks(SOUND, made))


@pytest.mark.parametrize(
    ("measured", "name"),
    [
        (run(stage(dropped=1)), "dropped requests"),
        (run(stage(lag_s=0.003)), "schedule lag p99"),
        (run(stage(), generator=generator(cpu_ratio=0.81)), "generator CPU"),
        (run(stage(), generator=generator(cpu_ratio=math.nan)), "generator CPU"),
        (run(stage(), generator=generator(cpu_warning=True)), "generator CPU"),
        (run(stage(), clock_step_s=-0.06), "clock step"),
        (run(stage(), clock_step_s=math.nan), "clock step"),
        (run(stage(), interrupted=True), "complete runs"),
        (run(stage(), ticks=[]), "CPU steal"),
        (run(stage(), ticks=[tick(1.0)]), "CPU steal"),
        (run(stage(), ticks=[tick(i + 1.0, steal=0.03) for i in range(10)]), "CPU steal"),
    ],
)
def test_what_spoils_a_run_is_named(measured, name):
    """Alone, and beside a run that is sound: the worst one counts."""
    assert broken(result(measured)) == [name]
    assert broken(result(run(stage()), measured)) == [name]


def test_requests_that_were_not_sent_are_missed():
    """One percent dropped is too much for the achieved rate as well; none due is worse."""
    assert broken(result(run(stage(dropped=2)))) == ["achieved of offered", "dropped requests"]
    nothing_due = ["measured requests", "achieved of offered", "schedule lag p99"]
    assert broken(result(run(stage([])))) == nothing_due
    assert broken(result(run(stage(measured=False))))[0] == "measured requests"


def test_nothing_measured_is_not_valid():
    """A result without a run passes no check that measures."""
    assert {
        "measured requests",
        "generator CPU",
        "CPU steal",
        "clock step",
        "complete runs",
    } <= set(broken(result()))


def test_steal_counts_by_time_and_in_measured_stages_only():
    """During the warm-up it does no harm, and a long tick weighs more than a short one."""
    warm_up = stage(measured=False)
    ticks = [tick(i + 1.0, steal=0.5 if i < 10 else 0.0) for i in range(20)]
    assert broken(result(run(warm_up, stage(), ticks=ticks))) == []
    uneven = [tick(0.1, steal=0.1), tick(10.0, steal=0.0)]
    assert broken(result(run(stage(), ticks=uneven))) == []


def test_two_targets_seen_at_once_are_one_tick():
    """Their ticks end together; the machine is one."""
    ticks = [tick(i + 1.0, target, steal=0.01) for i in range(10) for target in (0, 1)]
    steal = {check.name: check for check in checks(result(run(stage(), ticks=ticks)), DEFAULTS)}[
        "CPU steal"
    ]
    assert (steal.ok, steal.measured) == (True, "1 %")


def test_lag_of_one_role_is_not_hidden_by_the_other():
    """A candidate that starves the generator, beside a baseline that does not."""
    late = stage(lag_s=0.01)
    fine = [stage([0.01] * 1_000, role="baseline", round=i) for i in range(20)]
    assert broken(result(run(late, *fine))) == ["schedule lag p99"]


def test_lag_may_be_a_twentieth_of_the_limit():
    """Of the shortest latency that the scenario limits."""
    measured = result(run(stage(lag_s=0.004)))
    assert broken(measured, slo("metric: p99, max: 100ms")) == []
    assert broken(measured, slo("metric: p99, max: 50ms")) == ["schedule lag p99"]


def test_closed_workload_has_no_schedule_to_keep():
    """Neither achieved rate nor lag are checked."""
    closed = run(stage(lag_s=1.0, users=4, rate_rps=None, end_rate_rps=None), arrivals="closed")
    assert {"achieved of offered", "schedule lag p99"}.isdisjoint(
        check.name for check in checks(result(closed), DEFAULTS)
    )
    assert broken(result(closed)) == []


def test_scenario_that_was_not_measured_is_missed():
    """Every scenario of the file needs a request that counts."""
    made = slo("metric: p99, max: 1s", scenarios=["steady", "spike"])
    assert broken(SOUND, made) == ["measured requests"]


@pytest.mark.parametrize("expected", ["cd" * 32, "ab" * 3, "zz" * 8, "", "ab" * 40])
def test_other_model_than_expected_is_not_valid(expected):
    """Another hash, too short a prefix, no hash at all."""
    assert broken(SOUND, expected_model=expected) == ["model"]


def test_model_that_changed_during_the_load_is_not_valid():
    """Whichever service listed another one afterwards."""
    for changed in (0, 1):
        targets = list(SOUND.targets)
        targets[changed] = targets[changed].model_copy(update={"changed": True})
        assert broken(SOUND.model_copy(update={"targets": targets})) == ["model unchanged"]


def test_model_that_is_not_known_is_not_the_expected_one():
    """A service that lists no models may serve anything."""
    target = SOUND.targets[0].model_copy(update={"models": []})
    unknown = SOUND.model_copy(update={"targets": [target]})
    assert broken(unknown, expected_model=SHA256) == ["model"]


@pytest.mark.parametrize(
    ("baseline", "name"),
    [
        (result(run(stage()), fingerprint="another machine"), "host of the baseline"),
        (result(run(stage(), workload="other")), "workload of the baseline"),
        (result(run(stage(dropped=1))), "validity of the baseline"),
    ],
)
def test_baseline_that_cannot_be_compared_is_not_valid(baseline, name):
    """Another machine, other requests, or a measurement that was invalid itself."""
    assert broken(SOUND, baseline=baseline) == [name]
