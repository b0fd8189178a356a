"""`POST /v1/classify` on the real tiny model, in process."""

import asyncio
import json

import httpx
import numpy as np
import pytest

from service.errors import ANSWERS
from service.runtime.engine import EngineError
from service.runtime.predictor import Predictor
from tests.artifacts import LABELS, MAX_LENGTH, sentences
from tests.loglines import events
from tests.nasty import NASTY

JSON = {"Content-Type": "application/json"}


async def post(client: httpx.AsyncClient, **body) -> httpx.Response:
    """Send `body` as JSON."""
    return await client.post("/v1/classify", json=body)


async def post_raw(client: httpx.AsyncClient, body: bytes, **headers: str) -> httpx.Response:
    """Send these bytes."""
    return await client.post("/v1/classify", content=body, headers=JSON | headers)


def assert_problem(answer: httpx.Response, status: int, slug: str) -> dict:
    """The answer is the problem `slug`, complete."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status
    assert problem["type"] == f"urn:heed:problem:{slug}"
    assert problem["title"]
    assert problem["detail"]
    assert problem["request_id"] == answer.headers["x-request-id"]
    return problem


async def test_one_text_and_a_list_of_it_get_the_same_answer(serve):
    """`inputs` may be a string or a list."""
    async with serve() as client:
        alone = (await post(client, inputs="my sister paid twice")).json()
        listed = (await post(client, inputs=["my sister paid twice"])).json()
    assert alone == listed
    assert alone["model"] == "tiny"
    assert alone["version"] == "1"
    (result,) = alone["results"]
    assert set(result) == {"label", "score", "scores", "tokens", "truncated"}


async def test_scores_fall_and_sum_to_one_and_the_first_is_the_answer(serve):
    """All labels are there, each once."""
    async with serve() as client:
        (result,) = (await post(client, inputs="nobody wants a refund")).json()["results"]
    scores = [entry["score"] for entry in result["scores"]]
    assert scores == sorted(scores, reverse=True)
    assert sum(scores) == pytest.approx(1.0, abs=1e-5)
    assert {entry["label"] for entry in result["scores"]} == set(LABELS)
    assert result["scores"][0] == {"label": result["label"], "score": result["score"]}


@pytest.mark.parametrize(("top_k", "expected"), [(1, 1), (2, 2), (3, 3), (10**40, 3), (None, 3)])
async def test_top_k_cuts_the_scores(serve, top_k, expected):
    """More than there are labels is all of them."""
    async with serve() as client:
        (result,) = (await post(client, inputs="a refund", top_k=top_k)).json()["results"]
    assert len(result["scores"]) == expected


async def test_tokens_count_before_truncation(serve, tiny_artifact):
    """At the limit nothing is truncated, above it the count goes on."""
    tokenizer = Predictor(tiny_artifact, "cpu").tokenizer
    texts = [" ".join(["again"] * count) for count in (1, 5, 20, 60)]
    async with serve() as client:
        results = (await post(client, inputs=texts)).json()["results"]
        metrics = (await client.get("/metrics")).text
    for text, result in zip(texts, results, strict=True):
        assert result["tokens"] == tokenizer.encode(text).num_tokens
        assert result["truncated"] == (result["tokens"] > MAX_LENGTH)
    assert [result["truncated"] for result in results][0::3] == [False, True]
    truncated = sum(result["truncated"] for result in results)
    assert f"heed_truncated_texts_total {truncated}.0" in metrics


async def test_words_cut_the_text_and_their_weights_sum_to_one(serve):
    """With `explain`, for every script; words lost to truncation are not there."""
    texts = ["my card 😀 again!", "我的卡在哪里", "أين بطاقتي", "again " * 60]
    async with serve() as client:
        results = (await post(client, inputs=texts, explain="attention")).json()["results"]
    for text, result in zip(texts, results, strict=True):
        assert all(text[word["start"] : word["end"]] == word["text"] for word in result["words"])
        assert sum(word["weight"] for word in result["words"]) == pytest.approx(1.0, abs=1e-5)
    assert 0 < len(results[3]["words"]) < 60


async def test_answer_does_not_depend_on_who_shares_the_batch(serve, tiny_artifact):
    """Alone, and in the crowd of many requests of other lengths: |dp| <= 1e-5."""
    texts = sentences()[::3]
    alone = {text: Predictor(tiny_artifact, "cpu").predict([text])[0].scores for text in texts}
    async with serve(engine_workers=1) as client:
        answers = await asyncio.gather(*(post(client, inputs=text) for text in texts))
        metrics = (await client.get("/metrics")).text
    batches = float(metrics.split("heed_batch_size_count ")[1].split()[0])
    assert batches < len(texts)  # they did share
    for text, answer in zip(texts, answers, strict=True):
        scores = {entry["label"]: entry["score"] for entry in answer.json()["results"][0]["scores"]}
        expected = dict(alone[text])
        assert np.abs([scores[label] - expected[label] for label in LABELS]).max() <= 1e-5


async def test_model_and_version_may_be_named(serve):
    """The ones that are served are accepted, any other is 404 and is not repeated."""
    async with serve() as client:
        assert (await post(client, inputs="x", model="tiny", version="1")).status_code == 200
        for asked in ({"model": "CANARY"}, {"version": "CANARY"}):
            answer = await post(client, inputs="x", **asked)
            assert "tiny version 1" in assert_problem(answer, 404, "unknown-model")["detail"]
            assert "CANARY" not in answer.text


@pytest.mark.parametrize(
    ("body", "location"),
    [
        ({}, "inputs"),
        ({"inputs": []}, "inputs"),
        ({"inputs": None}, "inputs"),
        ({"inputs": 3}, "inputs"),
        ({"inputs": {"a": 1}}, "inputs"),
        ({"inputs": ""}, "inputs"),
        ({"inputs": " \n\t\u3000"}, "inputs"),
        ({"inputs": ["fine", ""]}, "inputs[1]"),
        ({"inputs": ["fine", "a\0b"]}, "inputs[1]"),
        ({"inputs": ["fine", "fine", "  "]}, "inputs[2]"),
        ({"inputs": ["fine", 3]}, "inputs[1]"),
        ({"inputs": ["fine", None]}, "inputs[1]"),
        ({"inputs": "x" * 101}, "inputs"),
        ({"inputs": ["x", "x" * 101]}, "inputs[1]"),
        ({"inputs": ["x"] * 5}, "inputs"),
        ({"inputs": "x", "top_k": 0}, "top_k"),
        ({"inputs": "x", "top_k": "2"}, "top_k"),
        ({"inputs": "x", "top_k": True}, "top_k"),
        ({"inputs": "x", "top_k": 1.5}, "top_k"),
        ({"inputs": "x", "explain": "lime"}, "explain"),
        ({"inputs": "x", "model": 1}, "model"),
        ({"inputs": "x", "surprise": 1}, "body"),
        ([], "body"),
        ("text", "body"),
    ],
)
async def test_unusable_value_is_422_and_names_the_place(serve, body, location):
    """Which field, which text."""
    async with serve(max_text_chars=100, max_texts_per_request=4) as client:
        answer = await post_raw(client, json.dumps(body).encode())
    errors = assert_problem(answer, 422, "invalid-request")["errors"]
    assert [error["location"] for error in errors] == [location]
    assert errors[0]["message"]


async def test_nasty_body_is_a_problem_that_says_what_and_where(serve):
    """The whole corpus, one after the other: 400 or 422, never a 500, and the service lives on."""
    async with serve() as client:
        for nasty in NASTY:
            answer = await post_raw(client, nasty.body)
            slug = "malformed-body" if nasty.status == 400 else "invalid-request"
            assert nasty.says in assert_problem(answer, nasty.status, slug)["detail"], nasty.name
            assert len(answer.content) < 1000, nasty.name
        assert (await post(client, inputs="a")).status_code == 200


@pytest.mark.parametrize("text", ["\u200b", "\ufeff", "\u202e", "😀" * 50, "\U0010ffff"])
async def test_odd_text_is_classified(serve, text):
    """Zero width, byte order mark, direction override, emoji, the last code point."""
    async with serve() as client:
        answer = await post(client, inputs=text, explain="attention")
    assert answer.status_code == 200
    assert answer.json()["results"][0]["label"] in LABELS


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/json; charset=utf-16"},
        {"Content-Encoding": "gzip"},
    ],
)
async def test_body_in_another_form_is_415(serve, headers):
    """A form on a foreign page cannot send JSON; nothing is unpacked, so no bomb goes off."""
    async with serve() as client:
        answer = await post_raw(client, b'{"inputs": "a"}', **headers)
    assert_problem(answer, 415, "unsupported-media-type")


async def test_accept_and_query_do_not_matter(serve):
    """There is one form of an answer: 406 would help nobody, and an error has to be read, too."""
    async with serve() as client:
        for accept in ("image/png", "application/json;q=0", "*/*", ""):
            answer = await client.post(
                "/v1/classify?a=b&a=c&%00", json={"inputs": "a"}, headers={"Accept": accept}
            )
            assert answer.status_code == 200
            assert answer.headers["content-type"] == "application/json"


async def test_full_queue_is_503_with_retry_after_and_computes_nothing_of_the_request(
    serve, fake_engine
):
    """All texts of a request or none."""
    async with serve(
        fake_engine, max_queue_size=2, max_texts_per_request=2, engine_workers=1
    ) as client:
        fake_engine.gate.clear()
        first = asyncio.create_task(post(client, inputs="first"))
        await asyncio.to_thread(fake_engine.entered.acquire)
        second = asyncio.create_task(post(client, inputs="second"))
        while not client.app.state.registry.resolve().queue_depth:  # noqa: ASYNC110  one turn of the loop
            await asyncio.sleep(0)
        answer = await post(client, inputs=["one", "two"])
        assert_problem(answer, 503, "queue-full")
        assert int(answer.headers["retry-after"]) >= 1
        fake_engine.gate.set()
        assert [(await task).status_code for task in (first, second)] == [200, 200]
    assert len(fake_engine.computed) == 2


async def test_request_that_waited_too_long_is_504_and_never_computed(serve, fake_engine):
    """Answered while the engine is still busy."""
    async with serve(fake_engine, engine_workers=1) as client:
        fake_engine.gate.clear()
        first = asyncio.create_task(post(client, inputs="first"))
        await asyncio.to_thread(fake_engine.entered.acquire)
        hasty = {"X-Request-Timeout-Ms": "50"}
        answer = await post_raw(client, b'{"inputs": "second"}', **hasty)
        assert_problem(answer, 504, "deadline-exceeded")
        fake_engine.gate.set()
        assert (await first).status_code == 200
    assert len(fake_engine.computed) == 1


@pytest.mark.parametrize("error", [EngineError("CANARY"), ValueError("CANARY")])
async def test_engine_failure_is_500_without_internals(serve, fake_engine, error, capfd):
    """What the engine says stays in the process; where it failed is in the log."""
    async with serve(fake_engine) as client:
        fake_engine.error = error
        answer = await post(client, inputs="a")
        problem = assert_problem(answer, 500, "engine-failure")
    log = capfd.readouterr().err
    assert "CANARY" not in answer.text + log
    (failure,) = events(log, "failure")
    assert failure["request_id"] == problem["request_id"]
    assert type(error).__name__ in failure["frames"]
    assert any("fakes.py" in frame and "in run" in frame for frame in failure["frames"])


async def test_every_problem_in_the_table_has_its_own_slug():
    """Clients tell errors apart by `type`."""
    slugs = [answer.slug for answer in ANSWERS.values()]
    assert len(set(slugs)) == len(slugs)
