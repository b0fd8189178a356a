"""Plans: contiguous rounds for one candidate, rounds kept apart for a comparison."""

import itertools

from loadtest.plan import (
    BASELINE,
    CALIBRATION,
    CANDIDATE,
    LEAD_IN_S,
    SWITCH_GAP_S,
    Plan,
    alternating,
    closed_plan,
    open_plan,
)
from loadtest.workload import Workload, load_workload

STEADY = load_workload("steady").with_rate(50, 2.0)
SPIKE = load_workload("spike")


def test_rounds_of_a_lone_candidate_follow_each_other_without_a_gap() -> None:
    """No stall can hide between them."""
    plan = open_plan(["http://a"], STEADY, [CANDIDATE] * 3)
    assert [stage.name for stage in plan.stages] == ["warm-up", *["steady"] * 3]
    assert all(b.start_s == a.end_s for a, b in itertools.pairwise(plan.stages))
    assert [stage.round for stage in plan.stages[1:]] == [0, 1, 2]


def test_compared_rounds_come_after_a_gap_and_a_lead_in_that_are_not_measured() -> None:
    """What one side left behind does not count for the other."""
    plan = open_plan(["http://a", "http://b"], STEADY, alternating(CANDIDATE, BASELINE, 2))
    for before, lead_in, stage in zip(plan.stages, plan.stages[1:], plan.stages[2:], strict=False):
        if stage.measured:
            assert (lead_in.name, lead_in.measured) == ("lead-in", False)
            assert lead_in.duration_s == LEAD_IN_S
            assert lead_in.start_s == before.end_s + SWITCH_GAP_S


def test_sides_alternate_abba_and_both_sides_of_a_pair_get_the_same_arrivals() -> None:
    """Pairs differ from each other, sides of a pair do not."""
    plan = open_plan(["http://a", "http://b"], STEADY, alternating(CANDIDATE, BASELINE, 4))
    measured = [stage for stage in plan.stages if stage.measured]
    assert "".join(stage.role[0] for stage in measured) == "cbbccbbc"
    seeds = {
        role: [s.seed for s in measured if s.role == role] for role in ("candidate", "baseline")
    }
    assert seeds["candidate"] == seeds["baseline"]
    assert len(set(seeds["candidate"])) == 4


def test_calibration_loads_the_baseline_under_the_conditions_of_a_comparison() -> None:
    """With gap and lead-in, or its noise would be another."""
    plan = open_plan(["http://a", "http://b"], STEADY, [CALIBRATION] * 3)
    assert {stage.target for stage in plan.stages} == {1}
    assert [stage.name for stage in plan.stages[1:3]] == ["lead-in", "steady"]


def test_every_stage_of_a_workload_is_in_every_round() -> None:
    """Each with arrivals of its own."""
    plan = open_plan(["http://a"], SPIKE, [CANDIDATE] * 2)
    measured = [stage for stage in plan.stages if stage.measured]
    assert [stage.name for stage in measured] == [stage.name for stage in SPIKE.stages] * 2
    assert len({stage.seed for stage in measured}) == len(measured)


def test_a_closed_plan_has_users_and_no_rate() -> None:
    """Warm-up, then one measured stage."""
    plan = closed_plan("http://a", STEADY, users=8, duration_s=10, warm_up_s=2)
    assert [(s.users, s.rate_rps, s.measured) for s in plan.stages] == [
        (8, None, False),
        (8, None, True),
    ]
    assert plan.duration_s == 12


def test_a_plan_survives_its_json() -> None:
    """It is handed to another process."""
    plan = open_plan(["http://a"], Workload.model_validate(SPIKE.model_dump()), [CANDIDATE] * 2)
    assert Plan.model_validate_json(plan.to_json()) == plan
