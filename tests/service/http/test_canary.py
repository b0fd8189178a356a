"""No text of a user leaves the service but in the answer that it asked for.

A marker goes through every way to succeed and to fail. It must be in no answer, log line or metric.
Two exceptions are the contract: the words of `explain`, and an X-Request-ID of harmless letters.
"""

import asyncio
import json
import re
import socket

import httpx
import pytest

from service.http.key_edit import add, make_secret
from service.http.keys import Key
from service.runtime.engine import EngineError
from tests.nasty import NASTY
from tests.service.http.test_auth import PAST
from tests.service.test_cli import port_in, request, service, talk

CANARY = "CANARY-5b1e"
PATH = "/v1/classify"
JSON = {"Content-Type": "application/json"}
LIMITS = {"max_text_chars": 100, "max_texts_per_request": 4, "max_queue_size": 4}
WRONG = [
    {"inputs": [CANARY, ""]},
    {"inputs": CANARY * 20},
    {"inputs": [CANARY] * 5},
    {"inputs": CANARY + "\0"},
    {"inputs": [CANARY, [CANARY]]},
    {"inputs": CANARY, "top_k": CANARY},
    {"inputs": CANARY, "top_k": [CANARY]},
    {"inputs": CANARY, "explain": CANARY},
    {"inputs": CANARY, "model": CANARY},
    {"inputs": CANARY, "version": CANARY},
    {"inputs": CANARY, "model": {CANARY: CANARY}},
    {"inputs": CANARY, CANARY: CANARY},
    {"inputs": {CANARY: CANARY}},
    {CANARY: CANARY},
    [CANARY],
    CANARY,
]
RAW = [
    f'{{"inputs": "{CANARY}',
    f'{{"inputs": "{CANARY} \\ud800"}}',
    f'{{"{CANARY}": 1, "{CANARY}": 2}}',
    f'{{"inputs": "{CANARY}\\{CANARY}"}}',
    f'{{"inputs": "{CANARY}\n"}}',
    f'{{"inputs": {CANARY}}}',
    f'{{"inputs": "a"}}{CANARY}',
    f"[{CANARY}]" * 3000,
    CANARY,
    *(CANARY.encode("utf-16"), CANARY.encode() + b"\xff"),
]
HEADERS = [
    {"Content-Type": CANARY},
    {"Content-Type": f"application/json; charset={CANARY}"},
    {"Content-Encoding": CANARY},
    {"X-Request-Timeout-Ms": CANARY},
    {"X-Request-Priority": CANARY},
    {"X-Request-ID": f"{CANARY} x"},
    {"Authorization": f"Bearer {CANARY}", "X-API-Key": CANARY, "Cookie": CANARY},
    {"Accept": CANARY, "User-Agent": CANARY, "Referer": CANARY, CANARY: CANARY},
    {"Origin": f"https://{CANARY}.example", "X-Forwarded-For": CANARY},
    {"X-API-Key": f"heed_{CANARY[:8]}_{'a' * 43}", "Authorization": CANARY},
]
LINES = [
    ("GET", f"/{CANARY}"),
    ("GET", f"/health/live/{CANARY}"),
    ("POST", f"{PATH}?{CANARY}={CANARY}"),
    ("GET", f"/v1/models?{CANARY}={CANARY}"),
    (CANARY, PATH),
    (CANARY, "/metrics"),
    (CANARY, f"/{CANARY}"),
]


def spoken(answer: httpx.Response) -> str:
    """Everything that an answer says."""
    return answer.text + str(answer.headers)


async def everything_wrong(client: httpx.AsyncClient) -> list[httpx.Response]:
    """The answers to what can be wrong with a request by itself."""
    answers = [await client.post(PATH, json=body) for body in WRONG]
    answers += [await client.post(PATH, content=body, headers=JSON) for body in RAW]
    body = json.dumps({"inputs": CANARY})
    answers += [await client.post(PATH, content=body, headers=JSON | more) for more in HEADERS]
    for method, path in LINES:
        line = client.build_request("POST", path, content=body, headers=JSON)
        line.method = method
        answers.append(await client.send(line))
    preflight = {"Access-Control-Request-Method": CANARY, "Access-Control-Request-Headers": CANARY}
    for origin in ("https://home.example", CANARY):
        answers.append(await client.options(PATH, headers=preflight | {"Origin": origin}))
    return answers


async def overload(client: httpx.AsyncClient, engine) -> list[httpx.Response]:
    """The answers when the engine fails, and when it is busy: no room, and too late."""
    answers = []
    for error in (ValueError(CANARY), EngineError(CANARY)):
        engine.error = error
        answers.append(await client.post(PATH, json={"inputs": CANARY}))
    engine.error = None
    while engine.entered.acquire(blocking=False):
        pass
    engine.gate.clear()
    first = asyncio.create_task(client.post(PATH, json={"inputs": CANARY}))
    await asyncio.to_thread(engine.entered.acquire)
    hasty = {"X-Request-Timeout-Ms": "50"}
    crowd = [client.post(PATH, json={"inputs": [CANARY] * 3}, headers=hasty) for _ in range(2)]
    answers += await asyncio.gather(*crowd)
    engine.gate.set()
    return [*answers, await first]


@pytest.mark.parametrize("cors_origins", ["", "https://home.example", "*"])
async def test_marker_is_in_no_answer_log_line_or_metric(serve, fake_engine, capfd, cors_origins):
    """Success, everything that can be wrong with a request, a failing engine, too much load."""
    settings = LIMITS | {"log_level": "debug", "cors_origins": cors_origins}
    async with serve(fake_engine, **settings, engine_workers=1, max_body_bytes=20_000) as client:
        answers = await everything_wrong(client)
        for body in ({"inputs": CANARY}, {"inputs": [CANARY] * 3, "top_k": 1}):
            answers.append(await client.post(PATH, json=body))
        answers += await overload(client, fake_engine)

        def broken(*_):
            raise RuntimeError(CANARY) from ValueError(CANARY)

        client.app.state.registry.resolve().classify = broken
        answers.append(await client.post(PATH, json={"inputs": CANARY}))
        answers.append(await client.get("/metrics"))
    statuses = {answer.status_code for answer in answers}
    assert statuses >= {200, 400, 404, 405, 413, 415, 422, 500, 503, 504}
    log = "".join(capfd.readouterr())
    assert log.count("request_id") > len(answers)
    assert CANARY not in log
    assert [answer for answer in answers if CANARY in spoken(answer)] == []


async def test_words_of_explain_are_the_only_words_that_come_back(serve, capfd):
    """By contract, and in that place alone."""
    async with serve(log_level="debug") as client:
        answer = await client.post(PATH, json={"inputs": f"a {CANARY}", "explain": "attention"})
    (result,) = answer.json()["results"]
    assert "CANARY" in {word["text"] for word in result.pop("words")}
    assert "CANARY" not in json.dumps(result) + "".join(capfd.readouterr())


async def test_keys_and_what_they_refuse_repeat_nothing(serve, tmp_path, capfd):
    """401, 403 and 429; neither the text nor a key, right or wrong, is said again."""
    file = tmp_path / "keys.toml"
    key_id, secret, sha256 = make_secret()
    scopes = ["explain"]
    add(file, Key(id=key_id, sha256=sha256, client="shop", scopes=scopes, created=PAST, burst=2))
    async with serve(api_keys_file=file, key_rate_limit=0.001, log_level="debug") as client:
        answers = await everything_wrong(client)
        key = {"Authorization": f"Bearer {secret}"}
        answers += [await client.post(PATH, json={"inputs": CANARY}, headers=key) for _ in range(3)]
    assert {answer.status_code for answer in answers} == {401, 403, 429}
    said = "".join([*map(spoken, answers), *capfd.readouterr()])
    assert CANARY not in said
    assert secret not in said
    assert sha256 not in said


async def test_nasty_bodies_are_not_repeated(serve, capfd):
    """No run of eight letters of any of them is in its answer, names of fields excepted."""
    async with serve(log_level="debug") as client:
        for nasty in NASTY:
            answer = await client.post(PATH, content=nasty.body, headers=JSON)
            detail = answer.json()["detail"] + json.dumps(answer.json().get("errors", []))
            sent = nasty.body[:10_000].decode("latin-1")
            for piece in re.findall(r'"([^"]{8,})', sent):
                assert piece not in detail, nasty.name
    assert "hello" not in "".join(capfd.readouterr())


@pytest.mark.e2e
def test_marker_is_in_nothing_that_a_real_process_writes(tiny_artifact):
    """Over sockets at debug level: requests, and what the server itself refuses to parse."""
    body = json.dumps({"inputs": CANARY}).encode()
    host = b"Host: heed\r\nConnection: close\r\n"
    lines = [
        request(body, f"Content-Length: {len(body)}"),
        request(CANARY.encode(), f"Content-Length: {len(CANARY)}"),
        request(body, f"Content-Length: {CANARY}"),
        request(b"%s\r\n" % CANARY.encode(), "Transfer-Encoding: chunked"),
        request(body, f"Content-Length: {len(body)}", f"X-Request-Timeout-Ms: {CANARY}"),
        b"GET /%s HTTP/1.1\r\n%s\r\n" % (CANARY.encode(), host),
        b"%s / HTTP/1.1\r\n%s\r\n" % (CANARY.encode(), host),
        b"GET / HTTP/%s\r\n%s\r\n" % (CANARY.encode(), host),
        b"GET / HTTP/1.1\r\n%s%s\r\n\r\n" % (host, CANARY.encode()),
        b"GET / HTTP/1.1\r\n%sa: %s\r\n\r\n" % (host, CANARY.encode() * 5000),
        b"%s\r\n\r\n" % CANARY.encode(),
    ]
    with service(tiny_artifact, HEED_LOG_LEVEL="debug") as (process, line):
        port = port_in(line)
        said = b"".join(talk(port, sent) for sent in lines)
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(request(body, f"Content-Length: {len(body) + 10}"))  # and leaves
        said += talk(port, b"GET /metrics HTTP/1.1\r\n%s\r\n" % host)
        process.terminate()
        out, err = process.communicate(timeout=20)
    assert said.count(b"HTTP/1.1 200") == 2
    assert CANARY not in said.decode() + out + err
    assert '"event":"request"' in err
