"""Who is let in, to what, how often: over the application, with real key files."""

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args
from unittest.mock import Mock

import httpx
import pytest

from service.errors import QueueFullError
from service.http.auth import DOCS, PROBES
from service.http.key_edit import add, make_secret, revoke
from service.http.keys import CHECK_S, Key, KeyFileError, ScopeName

PATH = "/v1/classify"
BODY = {"inputs": "a"}
PAST = datetime(2020, 1, 1, tzinfo=UTC)


def new_key(file: Path, **fields) -> tuple[str, str]:
    """Add a key to the file; its id and the key."""
    key_id, secret, sha256 = make_secret()
    defaults = {"client": "shop", "scopes": ["classify"], "created": PAST}
    add(file, Key(id=key_id, sha256=sha256, **(defaults | fields)))
    return key_id, secret


def bearer(secret: str) -> dict[str, str]:
    """The header that carries a key."""
    return {"Authorization": f"Bearer {secret}"}


def assert_problem(answer: httpx.Response, status: int, slug: str) -> None:
    """A refusal as every other: problem+json with the id of the request."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == f"urn:heed:problem:{slug}"
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


@pytest.fixture
def file(tmp_path) -> Path:
    """Where the keys are."""
    return tmp_path / "keys.toml"


@pytest.fixture
def clock(monkeypatch):
    """Hours for the middleware to read; nobody else's clock changes."""

    class Clock:
        now = 1000.0

        def monotonic(self) -> float:
            return self.now

    virtual = Clock()
    monkeypatch.setattr("service.http.auth.time", virtual)
    return virtual


async def test_every_route_and_method_needs_a_key_but_the_probes(serve, file, clock):
    """Those of the OpenAPI document and others, for no, a wrong, a revoked and an expired key."""
    revoked_id, revoked = new_key(file, scopes=list(get_args(ScopeName)))
    revoke(file, revoked_id, PAST)
    _, expired = new_key(file, scopes=list(get_args(ScopeName)), expires=PAST)
    none = [{}, bearer("x"), bearer(make_secret()[1]), bearer(revoked), bearer(expired)]
    none += [{"X-API-Key": revoked}, {"Authorization": "Basic aGVlZDpoZWVk"}]
    methods = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "ODD")
    async with serve(api_keys_file=file) as client:
        document = (await client.get("/openapi.json")).json()
        free = PROBES | DOCS
        paths = set(document["paths"]) | {"/nope", "/v1/classify/", "/heal", "//health/live", "/"}
        assert {PATH, "/v1/models", "/metrics"} <= paths
        for path in paths - free:
            for method in methods:
                for headers in none:
                    answer = await client.request(method, path, headers=headers)
                    assert answer.status_code == 401
                    assert answer.headers["www-authenticate"].startswith('Bearer realm="heed"')
                    if method != "HEAD":
                        assert_problem(answer, 401, "unauthenticated")
        for path in free:
            assert (await client.get(path)).status_code == 200


async def test_documentation_that_is_off_is_no_open_path(serve, file):
    """An unknown path as any other."""
    new_key(file)
    async with serve(api_keys_file=file, docs_enabled=False) as client:
        assert (await client.get("/openapi.json")).status_code == 401


async def test_key_is_taken_from_either_header_but_only_one(serve, file):
    """The scheme in any case; two keys are a mistake, even if they are the same."""
    _, secret = new_key(file)
    async with serve(api_keys_file=file) as client:
        for headers in (
            bearer(secret),
            {"authorization": f"bearer  {secret} "},
            {"X-API-Key": secret},
            {"X-API-Key": secret, "Authorization": "Basic aGVlZDpoZWVk"},
        ):
            assert (await client.post(PATH, json=BODY, headers=headers)).status_code == 200
        both = bearer(secret) | {"X-API-Key": secret}
        assert_problem(await client.post(PATH, json=BODY, headers=both), 401, "unauthenticated")


async def test_two_keys_of_a_client_work_and_a_revoked_one_is_refused_within_a_second(
    serve, file, clock
):
    """Nothing is restarted: the file is read again."""
    old_id, old = new_key(file)
    async with serve(api_keys_file=file) as client:
        _, new = new_key(file)
        clock.now += CHECK_S
        for secret in (old, new):
            answer = await client.post(PATH, json=BODY, headers=bearer(secret))
            assert answer.status_code == 200
        revoke(file, old_id, datetime.now(UTC))
        clock.now += CHECK_S
        refused = await client.post(PATH, json=BODY, headers=bearer(old))
        assert_problem(refused, 401, "unauthenticated")
        assert refused.json()["detail"] == "the API key is revoked"
        assert (await client.post(PATH, json=BODY, headers=bearer(new))).status_code == 200


async def test_each_scope_opens_what_it_names(serve, file):
    """`classify` to classify, `explain` for words, `batch` for the priority; the rest to anyone."""
    secrets = {name: new_key(file, scopes=[name])[1] for name in get_args(ScopeName)}
    both = {name: new_key(file, scopes=["classify", name])[1] for name in ("explain", "batch")}
    priority = {"X-Request-Priority": "Batch"}
    explain = BODY | {"explain": "attention"}
    async with serve(api_keys_file=file) as client:

        async def status(secret: str, body: dict = BODY, headers: dict | None = None) -> int:
            headers = bearer(secret) | (headers or {})
            answer = await client.post(PATH, json=body, headers=headers)
            if answer.status_code == 403:
                assert_problem(answer, 403, "forbidden")
            return answer.status_code

        assert await status(secrets["classify"]) == 200
        assert {await status(secrets[name]) for name in ("explain", "batch", "admin")} == {403}
        assert await status(secrets["classify"], headers=priority) == 403
        assert await status(both["explain"], headers=priority) == 403
        assert await status(both["batch"], headers=priority) == 200
        assert await status(secrets["classify"], body=explain) == 403
        assert await status(both["batch"], body=explain) == 403
        assert await status(both["explain"], body=explain) == 200
        for secret in secrets.values():
            for path in ("/metrics", "/v1/models"):
                assert (await client.get(path, headers=bearer(secret))).status_code == 200


async def test_key_of_one_model_cannot_use_another(serve, file):
    """By the name that is served, whether the request says it or not."""
    _, other = new_key(file, models=["other"])
    _, this = new_key(file, models=["other", "tiny"])
    async with serve(api_keys_file=file) as client:
        for body in (BODY, BODY | {"model": "tiny"}):
            answer = await client.post(PATH, json=body, headers=bearer(other))
            assert_problem(answer, 403, "forbidden")
            answer = await client.post(PATH, json=body, headers=bearer(this))
            assert answer.status_code == 200


async def test_refused_before_the_body_is_read(serve, file):
    """No `receive` at all, and the connection of a stranger is closed."""
    new_key(file)
    async with serve(api_keys_file=file) as client:
        sent = []

        async def receive():
            raise AssertionError("the body was asked for")

        async def send(message):
            sent.append(message)

        headers = [(b"content-type", b"application/json"), (b"content-length", b"1000000000")]
        scope = {"type": "http", "method": "POST", "path": PATH, "query_string": b""}
        await client.app(scope | {"headers": headers}, receive, send)
    assert sent[0]["status"] == 401
    assert (b"connection", b"close") in sent[0]["headers"]


async def test_websocket_is_closed(serve, file):
    """There is none, and none would be open by accident."""
    new_key(file)
    async with serve(api_keys_file=file) as client:
        sent = []

        async def send(message):
            sent.append(message)

        await client.app({"type": "websocket", "path": "/x", "headers": []}, asyncio.Event, send)
    assert sent == [{"type": "websocket.close", "code": 1008}]


async def test_offender_is_cut_to_its_quota_and_the_other_key_is_not(serve, file, clock):
    """Ten times the quota for 20 seconds: within 5 % of it, and 429 says when to come again."""
    _, greedy = new_key(file, rate_limit=5.0)
    _, modest = new_key(file, rate_limit=5.0)
    async with serve(api_keys_file=file) as client:
        answers = []
        for step in range(1000):
            clock.now += 0.02
            answers.append(await client.get("/v1/models", headers=bearer(greedy)))
            if step % 10 == 0:
                answer = await client.get("/v1/models", headers=bearer(modest))
                assert answer.status_code == 200
        passed = sum(answer.status_code == 200 for answer in answers)
        assert passed == pytest.approx(5.0 * 20, rel=0.05)
        refused = answers[-1]
        assert_problem(refused, 429, "rate-limited")
        assert refused.headers["retry-after"] == "1"
        assert refused.headers["ratelimit-limit"] == "5"
        assert refused.headers["ratelimit-remaining"] == "0"
        assert refused.headers["ratelimit-reset"] == "1"
        assert refused.headers["ratelimit"] == '"key";r=0;t=1'
        assert answer.headers["ratelimit-policy"] == '"key";q=5;w=1'
        clock.now += 1.0
        assert (await client.get("/v1/models", headers=bearer(greedy))).status_code == 200


async def test_default_quota_counts_where_the_entry_has_none(serve, file, clock):
    """And no field speaks of a quota where there is none."""
    _, limited = new_key(file)
    _, free = new_key(file, rate_limit=0.0)
    async with serve(api_keys_file=file, key_rate_limit=2) as client:
        for secret, expected in ((limited, [200, 200, 429]), (free, [200] * 3)):
            answers = [await client.post(PATH, json=BODY, headers=bearer(secret)) for _ in range(3)]
            assert [answer.status_code for answer in answers] == expected
            has_fields = {"ratelimit-limit" in answer.headers for answer in answers}
            assert has_fields == {secret == limited}


async def test_every_answer_to_a_limited_key_tells_its_quota(serve, file, monkeypatch):
    """Also refusals before the body is read, errors of ours and paths that do not exist."""
    _, secret = new_key(file, rate_limit=100.0)

    async def left(status: int, method: str = "POST", path: str = PATH, **headers: str) -> str:
        headers |= bearer(secret)
        answer = await client.request(method, path, json=BODY, headers=headers)
        assert answer.status_code == status, answer.text
        assert len(answer.headers.get_list("ratelimit")) == 1
        return answer.headers["ratelimit-remaining"]

    async with serve(api_keys_file=file) as client:
        await left(200)
        await left(404, path="/nope")
        await left(405, "GET")
        await left(403, **{"X-Request-Priority": "batch"})
        await left(400, **{"X-Request-Timeout-Ms": "soon"})
        await left(415, **{"Content-Type": "text/plain"})
        classifier = client.app.state.registry.resolve()
        for error, status in ((QueueFullError("full", 1.0), 503), (ZeroDivisionError(), 500)):
            monkeypatch.setattr(classifier, "check", Mock(side_effect=error))
            await left(status)


async def test_refusals_are_counted_and_logged_with_id_and_client_but_never_a_key(
    serve, file, capfd
):
    """Of an unknown key nothing at all."""
    key_id, secret = new_key(file, client="corner shop", scopes=["explain"])
    good_id, good = new_key(file, rate_limit=1.0)
    revoked_id, revoked = new_key(file)
    revoke(file, revoked_id, PAST)
    _, unknown, _ = make_secret()
    given = [secret, good, good, revoked, unknown, good + "x"]
    async with serve(api_keys_file=file) as client:
        answers = [await client.post(PATH, json=BODY, headers=bearer(key)) for key in given]
        metrics = (await client.get("/metrics", headers=bearer(secret))).text
    assert [answer.status_code for answer in answers] == [403, 200, 429, 401, 401, 401]
    for outcome, count in (("unauthorized", 4), ("limited", 1), ("ok", 1)):
        assert f'heed_requests_total{{outcome="{outcome}"}} {count}.0' in metrics
    log = capfd.readouterr().err
    lines = [json.loads(line) for line in log.splitlines()]
    callers = [
        (line.get("key"), line.get("client")) for line in lines if line["event"] == "request"
    ]
    shop = "shop"
    assert callers == [
        (key_id, "corner shop"),
        (good_id, shop),
        (good_id, shop),
        (revoked_id, shop),
        (None, None),
        (None, None),
    ]
    spoken = "".join([log, metrics, *[answer.text + str(answer.headers) for answer in answers]])
    for key in given:
        assert key not in spoken
        assert key.rpartition("_")[2][:20] not in spoken
    assert unknown[5:13] not in spoken


async def test_service_with_an_unusable_key_file_does_not_start(serve, file):
    """It would be open, or closed to everybody."""
    file.write_text("[[keys]]\n")
    with pytest.raises(KeyFileError, match="entry 1: id: Field required"):
        async with serve(api_keys_file=file):
            pass


async def test_without_a_key_file_nothing_is_asked_for_and_nothing_stands_in_the_way(serve):
    """The middleware is not even there."""
    async with serve() as client:
        assert "Authenticate" not in str(client.app.user_middleware)
        body = BODY | {"explain": "attention"}
        headers = {"X-Request-Priority": "batch"}
        assert (await client.post(PATH, json=body, headers=headers)).status_code == 200
