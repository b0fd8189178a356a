"""What the generator counts: every request once, by when it was due; merging loses nothing."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.plan import CANDIDATE, open_plan
from loadtest.recording import Recording, Request
from loadtest.result import DROPPED, OK, TIMEOUT, latencies
from loadtest.workload import load_workload

PLAN = open_plan(
    ["http://a"], load_workload("steady").with_rate(10, 2.5), [CANDIDATE], deadline_s=0.1
)


def request(
    due_s: float = 0.0,
    latency_s: float = 0.05,
    outcome: str = OK,
    lag_s: float = 0.0,
    texts: int = 1,
) -> Request:
    """One request, due at `due_s`."""
    kind = "single" if texts == 1 else "batch"
    end_s = due_s + latency_s
    return Request(kind, texts, due_s, due_s + lag_s, end_s, end_s, outcome)


requests = st.builds(
    request,
    due_s=st.floats(0, 2.49),
    latency_s=st.floats(0.001, 5),
    outcome=st.sampled_from([OK, OK, TIMEOUT, DROPPED, "status 503"]),
    texts=st.sampled_from([1, 16]),
)


@given(st.lists(requests, max_size=30), st.lists(requests, max_size=30))
def test_merged_recordings_equal_one_that_saw_all(
    first: list[Request], second: list[Request]
) -> None:
    """However the requests were shared out."""
    whole, merged, other = Recording(PLAN), Recording(PLAN), Recording(PLAN)
    for each in first + second:
        whole.stages[1].add(each)
    for recording, some in ((merged, first), (other, second)):
        for each in some:
            recording.stages[1].add(each)
    merged.merge(json.loads(json.dumps(other.to_dict())))
    assert merged.stages[1].to_stage() == whole.stages[1].to_stage()


@given(st.lists(requests, max_size=30))
def test_every_request_has_exactly_one_outcome(sent: list[Request]) -> None:
    """In the groups and in the seconds."""
    recording = Recording(PLAN)
    for each in sent:
        recording.stages[1].add(each)
    stage = recording.stages[1].to_stage()
    assert sum(group.offered for group in stage.groups) == len(sent)
    assert sum(sum(group.outcomes.values()) for group in stage.groups) == len(sent)
    assert sum(second.offered for second in stage.seconds) == len(sent)
    assert latencies([stage]).total == len(sent)


def test_good_answers_are_those_within_the_deadline_from_scheduled() -> None:
    """A late start of the generator is no excuse."""
    recording = Recording(PLAN)
    recording.stages[1].add(request(latency_s=0.09))
    recording.stages[1].add(request(latency_s=0.11, lag_s=0.05))
    [group] = recording.stages[1].to_stage().groups
    assert (group.outcomes, group.good, group.texts) == ({OK: 2}, 1, 2)


def test_a_request_belongs_to_the_second_in_which_it_was_due() -> None:
    """Whenever it was answered."""
    recording = Recording(PLAN)
    recording.stages[1].add(request(due_s=0.9, latency_s=1.0))
    recording.stages[1].add(request(due_s=2.4, latency_s=9.0))
    seconds = recording.stages[1].to_stage().seconds
    assert [(s.offered, s.backlog) for s in seconds] == [(1, 1), (0, 0), (1, 1)]
    assert [s.at_s for s in seconds] == [PLAN.stages[1].start_s + i for i in range(3)]
    assert seconds[0].max_s == pytest.approx(1.0, rel=0.01)
    assert seconds[2].width_s == pytest.approx(0.5)


def test_a_dropped_request_has_no_lag_and_is_in_no_backlog() -> None:
    """It was never sent."""
    recording = Recording(PLAN)
    recording.stages[1].add(request(outcome=DROPPED))
    stage = recording.stages[1].to_stage()
    assert (stage.seconds[0].failed, stage.seconds[0].backlog) == (1, 0)
    assert latencies([stage]).unanswered == 1
