"""Which body each request of a schedule sends."""

import json
from collections import Counter

import pytest

from loadtest.payloads import BLOCK, BLOCKS, MAX_BATCH_CHARS, Payloads
from loadtest.workload import Mix, Workload, load_workload
from service.api.schemas import ClassifyRequest

TEXTS = [f"text number {n}" for n in range(37)]


def _workload(seed: int = 1, **mix: float) -> Workload:
    parts = {"mix": Mix.model_validate(mix), "seed": seed}
    return load_workload("steady").model_copy(update=parts)


@pytest.mark.parametrize(
    "mix",
    [
        {"single": 1.0},
        {"single": 0.9, "batch": 0.08, "explain": 0.02},
        {"single": 0.333, "batch": 0.333, "explain": 0.334},
        {"single": 0.995, "explain": 0.005},
        {"single": 0.9985, "batch": 0.0005, "explain": 0.001},
        {"batch": 0.5, "explain": 0.5},
    ],
)
def test_each_hundred_requests_and_all_of_them_hold_the_mix_to_one_request(
    mix: dict[str, float],
) -> None:
    """Not by chance: two runs carry equal work."""
    payloads = Payloads(_workload(**mix, batch_size=2), TEXTS)
    total: Counter[str] = Counter()
    for start in range(0, BLOCK * BLOCKS, BLOCK):
        block = Counter(payloads[start + i].kind for i in range(BLOCK))
        total += block
        for counts, requests in ((block, BLOCK), (total, start + BLOCK)):
            for kind in ("single", "batch", "explain"):
                assert abs(counts[kind] - mix.get(kind, 0) * requests) <= 1 + 1e-9


def test_kinds_are_shuffled_inside_a_block() -> None:
    """Batches do not come in a row, nor in the same places of each block."""
    payloads = Payloads(_workload(single=0.9, batch=0.1), TEXTS)
    places = [[i for i in range(100) if payloads[b + i].kind == "batch"] for b in (0, 100, 200)]
    assert places[0] != places[1] != places[2]
    assert all(place != list(range(place[0], place[0] + 10)) for place in places)


def test_payload_depends_on_seed_and_index_alone() -> None:
    """So each worker that makes the pool for itself sends its part of the same schedule."""
    workload = _workload(single=0.5, batch=0.3, explain=0.2)
    one, other = Payloads(workload, TEXTS), Payloads(workload, TEXTS)
    assert [one[i] for i in range(9000)] == [other[i] for i in range(9000)]
    assert one[5] == one[5 + BLOCK * BLOCKS]
    reseeded = Payloads(_workload(2, single=0.5, batch=0.3, explain=0.2), TEXTS)
    assert [one[i] for i in range(100)] != [reseeded[i] for i in range(100)]


def test_bodies_are_requests_that_the_service_understands() -> None:
    """One text, `batch_size` texts, or one with `explain`; any character arrives."""
    texts = ['quote " and \\ and \u2028', "\u4f60\u597d \U0001f600", "plain"]
    payloads = Payloads(_workload(single=0.4, batch=0.3, explain=0.3, batch_size=5), texts)
    for payload in (payloads[i] for i in range(100)):
        request = ClassifyRequest.model_validate_json(payload.body)
        assert payload.path == "/v1/classify"
        assert set(request.texts) <= set(texts)
        assert len(request.texts) == payload.texts == (5 if payload.kind == "batch" else 1)
        assert isinstance(request.inputs, list) == (payload.kind == "batch")
        assert request.explain == ("attention" if payload.kind == "explain" else "none")


def test_every_text_is_sent_about_equally_often() -> None:
    """A shuffled deck, not dice: any two texts differ by one in what was drawn so far."""
    payloads = Payloads(_workload(single=1.0), TEXTS)
    sent = [json.loads(payloads[i].body)["inputs"] for i in range(BLOCK * BLOCKS)]
    counts = Counter(sent)
    assert set(counts) == set(TEXTS)
    assert max(counts.values()) - min(counts.values()) <= 1
    assert sent[:37] != sent[37:74] != TEXTS


def test_huge_batches_share_bodies_within_a_bound_of_memory() -> None:
    """A thousand long texts in each batch do not fill the generator's memory."""
    payloads = Payloads(_workload(batch=1.0, batch_size=1000), ["x" * 5000] * 10)
    bodies = {id(payloads[i].body): len(payloads[i].body) for i in range(BLOCK * BLOCKS)}
    assert len(bodies) > 1
    assert sum(bodies.values()) < 1.1 * MAX_BATCH_CHARS
