"""What an answer is worth, and how many requests may be in flight."""

import json
import resource

import pytest

from loadtest.connections import MAX_SLOTS, judge_answer, slots_for


def answer(**changed: object) -> bytes:
    """A proper answer, with changes."""
    return json.dumps({"version": "3", "results": [{"label": "a"}]} | changed).encode()


@pytest.mark.parametrize(
    ("status", "content", "texts", "expected"),
    [
        (200, answer(), 1, ("ok", "3")),
        (200, answer(results=[1, 2]), 2, ("ok", "3")),
        (200, answer(version=None), 1, ("ok", None)),
        (200, answer(results=[]), 1, ("wrong number of results", None)),
        (200, answer(results="one"), 1, ("wrong number of results", None)),
        (200, b"", 1, ("no results in the answer", None)),
        (200, b"[1]", 1, ("no results in the answer", None)),
        (200, b"\xff", 1, ("no results in the answer", None)),
        (200, b"[" * 100_000, 1, ("no results in the answer", None)),
        (503, answer(), 1, ("status 503", None)),
        (204, b"", 1, ("status 204", None)),
    ],
)
def test_an_answer_is_ok_only_with_as_many_results_as_texts(
    status: int, content: bytes, texts: int, expected: tuple[str, str | None]
) -> None:
    """Everything else is a failure with a short name."""
    assert judge_answer(status, content, texts) == expected


def test_slots_hold_every_request_until_its_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    """At 100/s and 2 s, 200 may wait at a time, and a Poisson burst more."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1_000_000, 1_000_000))
    assert 250 <= slots_for(100, 2.0) <= 500
    assert slots_for(100_000, 10.0) == MAX_SLOTS


def test_slots_stay_below_the_files_that_may_be_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection is a file."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 256))
    assert slots_for(1_000, 10.0) < 256
