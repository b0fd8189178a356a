"""The judge: the right verdict for what was measured, and none for what was not."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.comparison import decide, pairs_for
from loadtest.holding import backlog_grows, holds
from loadtest.judge import judge
from loadtest.result import Verdict
from loadtest.rounds import rounds_of
from loadtest.statistics import MOST_PAIRS
from tests.loadtest.made import (
    MB,
    distribution,
    generator,
    group,
    result,
    rounds,
    run,
    slo,
    stage,
    tick,
)

RNG = np.random.default_rng(11)
FAST = list(RNG.lognormal(math.log(0.01), 0.3, 2_000))  # p99 is 20 ms
AT_LIMIT = f"max: {math.ceil(distribution(FAST).quantile(0.99) * 1e6)}us"


def scaled(factor):
    """`FAST`, with every latency times this."""
    return [factor * each for each in FAST]


def verdict_of(objective, *stages, **named):
    """Of one objective over stages of one run."""
    return judge(slo(objective), result(run(*stages)), **named)


def judged(objective, *stages, **named):
    """The only judgement."""
    (judgement,) = verdict_of(objective, *stages, **named).judgements
    return judgement


@pytest.mark.parametrize(
    ("limit", "outcome", "exit_code"),
    [("30ms", "pass", 0), ("10ms", "fail", 1), ("20ms", "inconclusive", 3)],
)
def test_percentile_is_judged_by_its_whole_interval(limit, outcome, exit_code):
    """Below the limit, above it, or on both sides of it."""
    verdict = verdict_of(f"metric: p99, max: {limit}", stage(FAST))
    assert (verdict.outcome, verdict.exit_code) == (outcome, exit_code)
    (judgement,) = verdict.judgements
    assert judgement.low <= judgement.value <= judgement.high
    assert (judgement.unit, judgement.samples) == ("s", 2_000)
    assert ("times as long" in judgement.detail) == (outcome == "inconclusive")
    assert verdict.summary.count("\n") == 0


def test_too_few_requests_are_inconclusive_whatever_they_say():
    """1,520 of the 1,521 that p99 needs, all of them fast."""
    objective = "metric: p99, max: 1s"
    assert judged(objective, stage([0.01] * 1_521)).outcome == "pass"
    few = judged(objective, stage([0.01] * 1_520))
    assert (few.outcome, few.detail) == (
        "inconclusive",
        "1,520 of the 1,521 requests that it needs",
    )


@given(st.lists(st.floats(1e-4, 0.001), max_size=500), st.sampled_from(["p95", "p99"]))
def test_no_small_sample_ever_passes(seconds, metric):
    """However fast the few requests were."""
    needed = {"p95": 292, "p99": 1521}[metric]
    outcome = judged(f"metric: {metric}, max: 1s", stage(seconds)).outcome
    assert outcome == ("pass" if len(seconds) >= needed else "inconclusive")


def test_unanswered_requests_are_infinitely_slow():
    """2 % timeouts: p99 is infinite and fails; 0.9 %: its upper end is, and it is inconclusive."""
    lost = judged("metric: p99, max: 10s", stage(FAST, timeout=41))
    assert (lost.outcome, lost.value, lost.high) == ("fail", None, None)
    some = judged("metric: p99, max: 10s", stage(FAST, timeout=18))
    assert (some.outcome, some.high) == ("inconclusive", None)
    assert some.value < 0.1


def test_refusals_count_as_errors_and_as_infinitely_late():
    """A quick 503 does not make a percentile faster: it was no answer."""
    refused = stage(FAST, refused=500)
    p90 = judged("metric: p90, max: 12ms", refused)
    assert (p90.outcome, p90.value, p90.samples) == ("fail", None, 2_500)
    errors = judged("metric: error_ratio, max: 1%", refused)
    assert (errors.outcome, errors.value, errors.samples) == ("fail", 0.2, 2_500)
    goodput = judged("metric: goodput, deadline: 1s, min: 99%", refused)
    assert (goodput.outcome, goodput.value) == ("fail", 0.8)


@pytest.mark.parametrize(
    ("bad", "outcome"), [(0, "pass"), (3, "pass"), (10, "inconclusive"), (40, "fail")]
)
def test_error_ratio_is_judged_by_its_interval(bad, outcome):
    """Of 2,000 requests, at most half a percent may fail."""
    stages = stage([0.01] * (2_000 - bad), timeout=bad)
    assert judged("metric: error_ratio, max: 0.5%", stages).outcome == outcome


def test_late_answers_are_no_goodput():
    """The objective's own deadline counts, not the one the stage was measured with."""
    late = stage([0.01] * 1_900 + [0.2] * 100)
    assert judged("metric: goodput, deadline: 100ms, min: 99%", late).outcome == "fail"
    assert judged("metric: goodput, deadline: 300ms, min: 99%", late).outcome == "pass"


def test_objective_counts_its_stage_and_its_kind_only():
    """A slow stage and slow batches beside fast single requests."""
    mixed = stage(groups=[group(FAST), group(scaled(50), kind="batch")])
    spike = stage(scaled(100), name="spike")
    assert (
        judged("metric: p50, max: 20ms, requests: single, stage: steady", mixed, spike).samples
        == 2_000
    )
    assert judged("metric: p50, max: 1s, stage: steady", mixed, spike).samples == 4_000
    assert judged("metric: p50, max: 900ms, stage: spike", mixed, spike).outcome == "fail"
    assert judged("metric: p50, max: 1s, requests: explain", mixed).outcome == "inconclusive"


def test_round_that_stalls_makes_the_others_less_certain():
    """The same latencies in one sample of 10,000 or with all slow ones in one of five rounds."""
    calm, stalled = [0.01] * 2_000, [0.01] * 1_600 + [1.0] * 400
    parts = rounds([calm, calm, calm, calm, stalled])
    assert judged("metric: p95, max: 50ms", stage(calm * 4 + stalled)).outcome == "pass"
    assert judged("metric: p95, max: 50ms", *parts).outcome == "inconclusive"


def test_stall_in_one_round_is_a_failure():
    """2 s without an answer, in one of five rounds of 2 s: seen is seen, however rare it may be."""
    stalled = [max(0.01, 2 - i / 100) for i in range(200)]
    parts = rounds([[0.01] * 200] * 4 + [stalled])
    verdict = verdict_of("metric: p95, max: 500ms", *parts)
    assert (verdict.outcome, verdict.exit_code) == ("fail", 1)
    (p95,) = verdict.judgements
    assert p95.value == pytest.approx(1.5, rel=0.05)
    assert judged("metric: goodput, deadline: 250ms, min: 95%", *parts).outcome == "fail"


def test_warm_up_and_other_roles_do_not_count():
    """Only measured stages of the candidate are held against absolute limits."""
    slow = {"role": "baseline"}, {"role": "calibration"}, {"measured": False}
    others = [stage(scaled(100), **each) for each in slow]
    verdict = verdict_of("metric: p99, max: 30ms", stage(FAST), *others)
    assert verdict.outcome == "pass"


def memory(*sizes_mb, target=0):
    """A run of ten seconds for each size, seen once a second."""
    stages = rounds([FAST] * len(sizes_mb))
    ticks = [
        tick(10 * i + j + 1, target, None if size is None else int(size * MB))
        for i, size in enumerate(sizes_mb)
        for j in range(10)
    ]
    return result(run(*stages, ticks=ticks))


@pytest.mark.parametrize(
    ("limit", "sizes", "outcome", "value"),
    [
        ("10%", (100, 300, 109), "pass", 0.09),
        ("10%", (100, 111), "fail", 0.11),
        ("10MB", (100, 105), "pass", 5 * MB),
        ("10MB", (100, 111), "fail", 11 * MB),
        ("10%", (100,), "inconclusive", None),
        ("10%", (None, None), "inconclusive", None),
    ],
)
def test_memory_of_the_last_round_is_held_against_the_first(limit, sizes, outcome, value):
    """As a ratio or in bytes; one round, or a service that was not seen, tells nothing."""
    (judgement,) = judge(slo(f"metric: memory_growth, max: {limit}"), memory(*sizes)).judgements
    assert judgement.outcome == outcome
    assert judgement.value == (None if value is None else pytest.approx(value, abs=1e-9))


def test_memory_of_the_other_service_does_not_count():
    """Ticks of the baseline's target say nothing about the candidate."""
    verdict = judge(slo("metric: memory_growth, max: 10%"), memory(100, 100, target=1))
    assert verdict.outcome == "inconclusive"


def compared(objective, factor, pairs=5, noise=0.01, **changed):
    """A candidate that is `factor` times as slow as its baseline, round by round."""
    rng = np.random.default_rng(5)
    stages = [
        stage(scaled(speed * (1 + rng.normal(0, noise))), role=role, round=i, **changed)
        for i in range(pairs)
        for role, speed in (("candidate", factor), ("baseline", 1.0))
    ]
    return judge(slo(objective), result(run(*stages)))


@pytest.mark.parametrize(
    ("factor", "outcome", "exit_code"), [(1.0, "pass", 0), (1.1, "regression", 2), (0.5, "pass", 0)]
)
def test_slower_build_is_a_regression(factor, outcome, exit_code):
    """Ten percent slower than the baseline, with five percent allowed; faster is welcome."""
    verdict = compared("metric: p50, max_increase: 5%", factor)
    assert (verdict.outcome, verdict.exit_code) == (outcome, exit_code)
    (judgement,) = verdict.judgements
    assert judgement.value == pytest.approx(factor, rel=0.03)
    assert (judgement.relative, judgement.unit, judgement.limit) == (True, "x", 1.05)
    assert (judgement.samples, judgement.p_value is not None) == (5, True)


def test_four_pairs_are_never_enough():
    """Neither for a regression nor for a pass."""
    for factor in (1.0, 2.0):
        assert compared("metric: p50, max_increase: 5%", factor, pairs=4).outcome == "inconclusive"


def test_difference_that_may_be_chance_is_inconclusive():
    """Above the tolerance in size, and not in the test."""
    candidate, baseline = [1.0, 1.2, 1.3, 0.9, 1.25], [1.0, 1.05, 1.1, 1.2, 0.95]
    found = decide(candidate, baseline, 0.05, 0.05)
    assert found.value > 1.05
    assert found.p_value > 0.05
    assert (found.outcome, "run more pairs" in found.detail) == ("inconclusive", True)


def test_small_difference_is_no_regression_however_certain():
    """Three percent with five allowed, in a hundred pairs without noise."""
    found = decide([1.03] * 30, [1.0] * 30, 0.05, 0.05)
    assert (found.outcome, found.p_value < 0.001) == ("pass", True)


def test_relative_objective_without_a_baseline_is_not_judged():
    """And when there is no other, nothing was judged, which is no pass."""
    verdict = verdict_of("metric: p50, max_increase: 5%", stage(FAST))
    assert (verdict.outcome, verdict.exit_code, verdict.judgements) == ("inconclusive", 3, [])
    both = verdict_of("metric: p50, max: 20ms, max_increase: 5%", stage(FAST))
    assert (both.outcome, len(both.judgements)) == ("pass", 1)


@pytest.mark.parametrize(
    ("noise", "factor", "outcome"),
    [
        (0.001, 1.0, "pass"),
        (0.1, 1.0, "inconclusive"),
        (0.1, 0.5, "pass"),
        (0.1, 2.0, "regression"),
    ],
)
def test_comparison_that_could_not_see_a_regression_is_no_pass(noise, factor, outcome):
    """Five pairs on a machine whose A/A rounds differ by 10 %; what is plain is still said."""
    rng = np.random.default_rng(4)
    stages = [
        stage(scaled(speed * (1 + rng.normal(0, noise))), role=role, round=i)
        for i in range(5)
        for role, speed in (("candidate", factor), ("baseline", 1.0))
    ]
    made = slo("metric: p50, max_increase: 5%")
    (found,) = judge(made, result(calibration(noise), run(*stages))).judgements
    assert found.outcome == outcome, found
    assert ("5 of the " in found.detail) == (outcome == "inconclusive")
    softened = slo("metric: p50, max_increase: 5%, severity: warn")
    expected = outcome if outcome == "pass" else "warn"
    assert judge(softened, result(calibration(noise), run(*stages))).outcome == expected


def test_stored_baseline_that_scatters_is_no_pass():
    """Without A/A rounds the noise is that within either side, not between them."""
    made = slo("metric: p50, max_increase: 5%")
    speeds = [0.9, 1.1, 1.0, 0.92, 1.08]
    noisy = result(run(*rounds([scaled(each) for each in speeds])))
    (found,) = judge(made, noisy, noisy).judgements
    assert (found.outcome, "machine's noise" in found.detail) == ("inconclusive", True)
    quiet = result(run(*rounds([scaled(1 + each / 1_000) for each in speeds])))
    assert judge(made, quiet, quiet).outcome == "pass"


def test_values_that_were_compared_are_kept():
    """One per round, also of a stored baseline; None is infinite; confidence is the file's."""
    made = slo("metric: p99, max_increase: 5%", confidence="99%")
    stored = result(run(*rounds([FAST] * 6)))
    lost = result(run(*rounds([FAST] * 5), *rounds([FAST], timeout=100, name="b")))
    verdict = judge(made, lost, stored)
    assert verdict.confidence == 0.99
    (found,) = verdict.judgements
    assert found.values == [None, *found.baseline_values[:4]]
    assert len(found.baseline_values) == 6
    (absolute,) = verdict_of("metric: p99, max: 1s", stage(FAST)).judgements
    assert (absolute.values, absolute.baseline_values) == ([], [])


def test_stored_baseline_is_compared_with_its_candidate():
    """An earlier gate of the older build."""
    stored = result(run(*rounds([scaled(0.9 + i / 1_000) for i in range(5)])))
    now = result(run(*rounds([scaled(1 + i / 1_000) for i in range(5)])))
    made = slo("metric: p50, max_increase: 5%")
    assert judge(made, now, stored).outcome == "regression"
    assert judge(made, stored, now).outcome == "pass"
    empty = result(run(*rounds([FAST] * 5, scenario="other")))
    assert judge(made, now, empty).outcome == "inconclusive"


def test_errors_and_goodput_are_compared_in_points():
    """Two percent of errors more than a baseline without any."""
    stages = rounds([FAST] * 5, role="baseline") + rounds([FAST] * 5, refused=40)
    worse = judged("metric: error_ratio, max_increase: 0.5%", *stages)
    assert (worse.outcome, worse.unit, worse.limit) == ("regression", "ratio", 0.005)
    assert worse.value == pytest.approx(40 / 2_040)
    less = judged("metric: goodput, deadline: 1s, max_decrease: 0.5%", *stages)
    assert (less.outcome, less.limit) == ("regression", -0.005)
    assert less.value == pytest.approx(-40 / 2_040)
    assert less.low <= less.value <= less.high
    assert judged("metric: error_ratio, max_increase: 5%", *stages).outcome == "pass"


def test_unanswered_rounds_are_compared():
    """Infinite p99 against a finite one is a regression, and against another infinite one equal."""
    lost, fine = rounds([FAST] * 5, timeout=100), rounds([FAST] * 5, role="baseline")
    found = judged("metric: p99, max_increase: 5%", *lost, *fine)
    assert (found.outcome, found.value) == ("regression", None)
    both_lost = rounds([FAST] * 5, role="baseline", timeout=100)
    assert judged("metric: p99, max_increase: 5%", *lost, *both_lost).outcome == "pass"


def test_round_without_answers_is_not_compared():
    """Five rounds without a single request have no latency."""
    empty = rounds([[]] * 5)
    found = judged("metric: p99, max_increase: 5%", *empty, *rounds([FAST] * 5, role="baseline"))
    assert (found.outcome, found.value) == ("inconclusive", None)


def test_memory_is_compared_by_its_largest():
    """Each side by the ticks of its own target, in its own rounds."""
    stages = rounds([FAST] * 5) + rounds([FAST] * 5, role="baseline")
    ticks = [
        tick(at_s, target, size * MB)
        for at_s in range(1, 101)
        for target, size in ((0, 130 if at_s > 50 else 110), (1, 100 if at_s > 50 else 150))
    ]
    made = slo("metric: memory_growth, max_increase: 5%")
    (found,) = judge(made, result(run(*stages, ticks=ticks))).judgements
    assert (found.outcome, found.value) == ("regression", pytest.approx(1.1))


def test_warning_does_not_fail_the_gate():
    """A missed, a regressed and an unclear objective of severity warn all leave exit code 0."""
    for objective in ("max: 10ms", "max: 20ms"):
        verdict = verdict_of(f"metric: p99, {objective}, severity: warn", stage(FAST))
        assert (verdict.outcome, verdict.exit_code) == ("warn", 0)
    assert compared("metric: p50, max_increase: 5%, severity: warn", 1.5).outcome == "warn"


@pytest.mark.parametrize(
    ("objectives", "outcome", "exit_code"),
    [
        (["max: 10ms", AT_LIMIT, "max_increase: 5%"], "fail", 1),
        (["max: 1s", AT_LIMIT, "max_increase: 5%"], "regression", 2),
        (["max: 1s", AT_LIMIT, "max: 1ms, severity: warn"], "inconclusive", 3),
        (["max: 1s", "max: 1ms, severity: warn"], "warn", 0),
        (["max: 1s", "max_increase: 300%"], "pass", 0),
    ],
)
def test_worst_outcome_is_the_verdict(objectives, outcome, exit_code):
    """Failed, regressed, unclear, warned, passed; in that order."""
    stages = rounds([FAST] * 5) + rounds([scaled(0.5)] * 5, role="baseline")
    made = slo(*(f"metric: p99, {each}" for each in objectives))
    verdict = judge(made, result(run(*stages)))
    assert (verdict.outcome, verdict.exit_code) == (outcome, exit_code)
    assert verdict.summary.startswith(f"{outcome}: ")


def test_invalid_measurement_is_not_judged_by_its_figures():
    """Whether they look good or bad; the judgements are there for the report."""
    for limit in ("1s", "1ms"):
        measured = result(run(stage(FAST), generator=generator(cpu_ratio=0.99)))
        verdict = judge(slo(f"metric: p99, max: {limit}"), measured)
        assert (verdict.outcome, verdict.exit_code) == ("invalid", 3)
        assert verdict.summary.startswith("invalid: generator CPU 99 % of a core")
        assert len(verdict.judgements) == 1


def test_unexpected_model_is_invalid():
    """The right figures of the wrong model."""
    verdict = verdict_of("metric: p99, max: 1s", stage(FAST), expected_model="cd" * 32)
    assert verdict.outcome == "invalid"


def test_nothing_measured_is_never_a_pass():
    """No run, or no measured stage."""
    made = slo("metric: p99, max: 1s", "metric: error_ratio, max: 1%")
    for empty in (result(), result(run(stage(FAST, measured=False)))):
        assert judge(made, empty).exit_code == 3


def test_verdict_survives_its_file():
    """Infinite figures are null in JSON, and none is NaN."""
    verdict = verdict_of("metric: p99, max: 10s", stage(FAST, timeout=500))
    assert Verdict.model_validate_json(verdict.model_dump_json()) == verdict
    assert "NaN" not in verdict.model_dump_json()


def calibration(noise, repetitions=6, **changed):
    """The baseline against itself."""
    rng = np.random.default_rng(4)
    values = [scaled(1 + rng.normal(0, noise)) for _ in range(repetitions)]
    return run(*rounds(values, role="calibration", **changed))


def test_pairs_follow_from_the_noise():
    """Five on a quiet machine; no end of them when a round has no answer, or there is but one."""
    made = slo("metric: p50, max_increase: 5%")
    assert pairs_for(made, calibration(0.001), "steady") == 5
    assert 10 < pairs_for(made, calibration(0.06), "steady") < 60
    assert pairs_for(made, calibration(0.001, repetitions=1), "steady") == MOST_PAIRS
    assert pairs_for(made, calibration(0.001, timeout=2_500), "steady") == MOST_PAIRS


def test_only_objectives_that_can_fail_ask_for_pairs():
    """A warning takes what there is, and other scenarios have their own noise."""
    made = slo(
        "metric: p50, max_increase: 5%, severity: warn",
        "metric: p99, max_increase: 5%, scenario: spike",
        "metric: error_ratio, max_increase: 1%",
        scenarios=["steady", "spike"],
    )
    assert pairs_for(made, calibration(0.2), "steady") == 5


def test_rounds_are_told_apart_by_run_and_number():
    """Stages of one round belong together; the same number in another run is another round."""
    one = run(stage(name="a"), stage(name="b"), stage(name="a", round=1))
    assert [len(each.stages) for each in rounds_of([one, one], "steady", "candidate")] == [2, 1] * 2
    assert len(rounds_of([one], "steady", "candidate", "b")) == 1


@pytest.mark.parametrize(
    ("objective", "reason"),
    [
        ("metric: p95, max: 30ms", ""),
        ("metric: p95, max: 5ms", "steady: p95 at most 5 ms: "),
        ("metric: p99, max: 30ms", "steady: p99 at most 30 ms: ∞"),
        ("metric: error_ratio, max: 1%", "steady: error ratio at most 1 %: 2.44 %"),
        ("metric: goodput, deadline: 1s, min: 97%", ""),
        (
            "metric: goodput, deadline: 1s, min: 99%",
            "steady: goodput within 1,000 ms at least 99 %: ",
        ),
        ("metric: p99, max: 15ms, severity: warn", ""),
        ("metric: memory_growth, max: 1%", ""),
        ("metric: p99, max: 1s, requests: batch", "batch requests at most 1,000 ms: -"),
    ],
)
def test_rate_holds_by_its_figures(objective, reason):
    """All absolute objectives that can fail a gate, without intervals: a search repeats itself."""
    held, why = holds(slo(objective), "steady", [stage(sorted(FAST), refused=50)])
    assert held == (reason == "")
    assert reason in why


def test_rate_does_not_hold_when_its_backlog_grows():
    """Though every latency so far was fine."""
    growing = stage(FAST, backlog=[3, 5, 9, 11, 12, 16, 18, 21, 25, 26])
    assert holds(slo("metric: p99, max: 1s"), "steady", [growing]) == (False, "the backlog grows")


@pytest.mark.parametrize(
    ("backlog", "grows"),
    [
        ([4] * 10, False),
        ([2, 9, 1, 4, 7, 3, 8, 2, 6, 5], False),
        (list(range(0, 30, 3)), True),
        (list(range(30, 0, -3)), False),
        ([0, 9, 0, 30, 2, 1, 14, 3, 0, 12], False),
        ([0, 50, 100, 150], False),
    ],
)
def test_backlog_grows_by_its_trend(backlog, grows):
    """Not by ups and downs, and not within four seconds."""
    assert backlog_grows(stage(backlog=backlog)) == grows


def test_backlog_of_a_ramp_has_no_trend_to_judge():
    """A rising rate raises it by itself."""
    backlog = list(range(0, 30, 3))
    assert not backlog_grows(stage(backlog=backlog, end_rate_rps=200.0))
    assert not backlog_grows(stage(backlog=backlog, rate_rps=None, end_rate_rps=None, users=4))
