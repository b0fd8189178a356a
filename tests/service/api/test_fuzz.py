"""Bodies that chance makes of valid and nasty ones: three in four of HEED_FUZZ_CASES."""

import asyncio
import json
import os
from collections.abc import Callable, Iterator

import httpx
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from service.app import create_app
from service.settings import Settings
from tests.nasty import NASTY

CASES = int(os.environ.get("HEED_FUZZ_CASES", "1000")) * 3 // 4
VALID = [
    b'{"inputs": "someone used my card"}',
    '{"inputs": ["wo ist meine Karte?", "我的卡在哪里 😀"], "top_k": 2}'.encode(),
    rb'{"inputs": ["\ud83d\ude00 \u00e9", "a\\b\"c"], "explain": "attention"}',
    b'{"model": "tiny", "version": "1", "explain": "none", "top_k": null, "inputs": ["a"]}',
]
SEEDS = VALID + [nasty.body for nasty in NASTY if len(nasty.body) < 1000]
PIECES = [
    *(b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"\0", b"\n", b"\xff", b"\xc3"),
    *(b"NaN", b"-Infinity", b"1e999", b"-0", b"1e5", b"null", b"true", b"9" * 400, b"[" * 2000),
    *(rb"\ud800", rb"\udc00", rb"\u0000", rb"\u", b"\xed\xa0\x80", b"\xef\xbb\xbf"),
    *(b'"inputs":', b'"top_k":1,'),
]


@st.composite
def mangled(draw: st.DrawFn) -> bytes:
    """A seed after a few cuts, copies, insertions and changed bytes."""
    body = draw(st.sampled_from(SEEDS))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(body)))
        end = draw(st.integers(start, min(len(body), start + 20)))
        new = draw(
            st.one_of(
                st.sampled_from(PIECES),
                st.binary(max_size=4),
                st.just(body[start:end] * 2),
                st.just(b""),
            )
        )
        body = body[:start] + new + body[end:]
    return body


def values() -> st.SearchStrategy:
    """Any JSON, also NaN and half surrogate pairs, which Python's writer lets through."""
    strings = st.text(st.characters(codec=None), max_size=20)
    leaves = st.none() | st.booleans() | st.integers() | st.floats() | strings
    return st.recursive(
        leaves, lambda inner: st.lists(inner) | st.dictionaries(strings, inner), max_leaves=8
    )


@st.composite
def rewritten(draw: st.DrawFn) -> bytes:
    """An object of known and other fields with likely and any values, in several spellings."""
    likely = {
        "inputs": st.text(max_size=30) | st.lists(st.text(max_size=30), max_size=6),
        "model": st.sampled_from(["tiny", "other", None]),
        "version": st.sampled_from(["1", "2", None]),
        "top_k": st.integers(-1, 5) | st.none(),
        "explain": st.sampled_from(["none", "attention", "lime"]),
    }
    body = {"inputs": draw(likely["inputs"])}
    for name in draw(st.lists(st.sampled_from([*likely, "else"]), max_size=3)):
        odd = name not in likely or draw(st.integers(0, 3)) == 0
        body[name] = draw(values() if odd else likely[name])
    text = json.dumps(body, ensure_ascii=draw(st.booleans()), indent=draw(st.none() | st.just(1)))
    return text.encode(draw(st.sampled_from(["utf-8"] * 8 + ["utf-16", "utf-8-sig"])), "replace")


Call = Callable[[bytes], httpx.Response]


@pytest.fixture(scope="module")
def call(tiny_artifact) -> Iterator[Call]:
    """A function that posts a body to an application, in process."""
    limits = {"max_text_chars": 200, "max_texts_per_request": 5, "log_level": "error"}
    app = create_app(Settings(model=tiny_artifact, execution_provider="cpu", **limits))
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    client = httpx.AsyncClient(transport=transport, base_url="http://heed")
    headers = {"Content-Type": "application/json"}
    lifespan = app.router.lifespan_context(app)
    with asyncio.Runner() as runner:
        runner.run(lifespan.__aenter__())
        yield lambda body: runner.run(client.post("/v1/classify", content=body, headers=headers))
        runner.run(client.aclose())
        runner.run(lifespan.__aexit__(None, None, None))


@pytest.fixture(scope="module")
def conforms() -> Callable[[httpx.Response], None]:
    """A function that compares an answer with the OpenAPI document."""
    document = create_app(Settings(model="artifact")).openapi()
    responses = document["paths"]["/v1/classify"]["post"]["responses"]
    validators = {}
    for status, response in responses.items():
        ((media_type, media),) = response["content"].items()
        root = media["schema"] | {"components": document["components"]}
        validators[int(status)] = (media_type, Draft202012Validator(root))

    def check(answer: httpx.Response) -> None:
        media_type, validator = validators[answer.status_code]
        assert answer.headers["content-type"] == media_type
        validator.validate(answer.json())

    return check


@settings(
    max_examples=CASES,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
@given(body=mangled() | rewritten())
def test_any_body_is_answered_as_documented(call, conforms, body):
    """Never a 5xx; and what is accepted, another reader of JSON understands alike."""
    answer = call(body)
    assert answer.status_code in {200, 400, 404, 422}
    conforms(answer)
    if answer.status_code == 200:
        inputs = orjson.loads(body)["inputs"]
        texts = [inputs] if isinstance(inputs, str) else inputs
        assert len(answer.json()["results"]) == len(texts)
        assert all(0 < len(text) <= 200 and "\0" not in text for text in texts)
