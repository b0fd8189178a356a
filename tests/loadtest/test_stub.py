"""The stub does what it was told: every finding of the gate is held against it."""

import asyncio
import http.client
import json
import math
import os
import signal
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import islice
from statistics import mean, median

import pytest

from service.api.schemas import ClassifyResponse, ModelsResponse
from tests.loadtest.stub import Behaviour, Options, latencies, running_stub, true_quantiles

ONE = json.dumps({"inputs": "Where is my parcel?"})
FAULTS = ("error", "close", "garbage")


def _fates(count: int, **options) -> list[str]:
    behaviour = Behaviour(Options(**options))
    return [behaviour.arrive(0.0, 1).what for _ in range(count)]


@contextmanager
def _connected(**options) -> Iterator[http.client.HTTPConnection]:
    with (
        running_stub(**options) as stub,
        closing(http.client.HTTPConnection(stub.url.removeprefix("http://"), timeout=5)) as client,
    ):
        yield client


def _post(client: http.client.HTTPConnection, body: str = ONE) -> tuple[int, bytes]:
    client.request("POST", "/v1/classify", body, {"Content-Type": "application/json"})
    response = client.getresponse()
    return response.status, response.read()


def _get(client: http.client.HTTPConnection, path: str) -> bytes:
    client.request("GET", path)
    response = client.getresponse()
    assert response.status == 200
    return response.read()


def _metrics(client: http.client.HTTPConnection) -> dict[str, float]:
    lines = _get(client, "/metrics").decode().splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


@pytest.mark.parametrize("what", FAULTS)
@pytest.mark.parametrize("ratio", [0.01, 0.3, 1.0])
def test_faults_hit_exactly_their_share_evenly_spread(what: str, ratio: float) -> None:
    """Not by chance: in any stretch the count is right to one request."""
    fates = _fates(1000, **{f"{what}_ratio": ratio})
    assert fates.count(what) == round(1000 * ratio)
    for start in range(0, 1000, 100):
        assert abs(fates[start : start + 100].count(what) - 100 * ratio) <= 1


def test_faults_of_equal_ratio_do_not_hide_each_other() -> None:
    """Each has its own requests."""
    fates = _fates(1000, **{f"{what}_ratio": 0.01 for what in FAULTS})
    assert [fates.count(what) for what in FAULTS] == [10, 10, 10]


def test_latencies_follow_the_seed_and_have_the_quantiles_of_their_distribution() -> None:
    """The true quantiles are those of the sequence itself, near those of the lognormal."""
    options = Options(lognormal=(0.02, 0.5), seed=4)
    drawn = sorted(islice(latencies(options), 20_000))
    found = true_quantiles(options, [0.5, 0.95, 1.0], 20_000)
    assert found == [drawn[9_999], drawn[18_999], drawn[-1]]
    assert found[:2] == pytest.approx([0.02, 0.02 * math.exp(0.5 * 1.6449)], rel=0.02)
    assert true_quantiles(options, [0.5], 1, skip=3) == [next(islice(latencies(options), 3, None))]
    assert found != true_quantiles(Options(lognormal=(0.02, 0.5), seed=5), [0.5, 0.95, 1.0], 20_000)


def test_scale_multiplies_every_latency_and_late_answers_come_on_top() -> None:
    """1.10 is 10 % more in each quantile; every fourth answer is a second late."""
    plain = Options(delay=0.01, lognormal=(0.02, 0.5))
    slower = Options(delay=0.01, lognormal=(0.02, 0.5), scale=1.1)
    fractions = [0.1, 0.5, 0.99]
    scaled = [1.1 * quantile for quantile in true_quantiles(plain, fractions, 500)]
    assert true_quantiles(slower, fractions, 500) == pytest.approx(scaled)
    late = Options(delay=0.01, late_ratio=0.25, late_by=1.0)
    assert true_quantiles(late, [0.75, 0.76], 400) == pytest.approx([0.01, 1.01])


def test_slots_serve_first_come_first_served_with_an_exact_capacity() -> None:
    """Two slots of 20 ms are 100 requests/s: five at once end at 20, 20, 40, 40 and 60 ms."""
    behaviour = Behaviour(Options(slots=2, service_time=0.02))
    due = [behaviour.arrive(10.0, 1).due - 10.0 for _ in range(5)]
    assert due == pytest.approx([0.02, 0.02, 0.04, 0.04, 0.06])
    assert [behaviour.waiting(10.0 + t) for t in (0.0, 0.021, 0.041)] == [3, 1, 0]
    assert behaviour.queue_s == pytest.approx(0.02 + 0.02 + 0.04)
    assert behaviour.engine_s == pytest.approx(0.1)


def test_bounded_queue_refuses_at_once_what_finds_no_room() -> None:
    """One is served, two wait, two are refused; when a slot frees, one more has room."""
    behaviour = Behaviour(Options(slots=1, service_time=1.0, refuse_above=2))
    assert [behaviour.arrive(0.0, 1).what for _ in range(5)] == ["ok"] * 3 + ["refused"] * 2
    assert behaviour.arrive(0.5, 1) == ("refused", 0.5)
    assert behaviour.arrive(1.1, 1) == ("ok", 4.0)


def test_noise_differs_between_stubs_and_between_requests() -> None:
    """Sigma is that of one request; the pace of a second shifts all of them."""
    options = Options(delay=0.01, jitter=0.05)
    one, other = (
        [behaviour.arrive(1.0, 1).due - 1.0 for _ in range(2000)]
        for behaviour in (Behaviour(options), Behaviour(options))
    )
    logs = [math.log(latency / median(one)) for latency in one]
    assert math.sqrt(mean(log**2 for log in logs)) == pytest.approx(0.05, rel=0.15)
    assert mean(one) != mean(other)


@pytest.mark.e2e
def test_answers_are_those_of_the_service() -> None:
    """Single, batch and explain, the list of models, the probes; nonsense is refused."""
    with _connected(manifest_sha256="ef" * 32) as client:
        for body, results, words in (
            ({"inputs": "a b"}, 1, None),
            ({"inputs": ["a", "b c", "d"]}, 3, None),
            ({"inputs": "one  two", "explain": "attention"}, 1, [(0, 3, "one"), (5, 8, "two")]),
        ):
            status, answer = _post(client, json.dumps(body))
            parsed = ClassifyResponse.model_validate_json(answer)
            assert (status, parsed.model, parsed.version) == (200, "stub", "1")
            assert len(parsed.results) == results
            found = parsed.results[0].words
            assert (found and [(w.start, w.end, w.text) for w in found]) == words
        (model,) = ModelsResponse.model_validate_json(_get(client, "/v1/models")).models
        assert model.manifest_sha256 == "ef" * 32
        assert _get(client, "/health/ready") == _get(client, "/health/live") == b'{"status":"ok"}'
        assert [_post(client, body)[0] for body in ("{", "[]", '{"inputs": 3}')] == [400] * 3
        assert _metrics(client)["heed_batch_size_sum"] == 5


@pytest.mark.e2e
def test_statuses_and_broken_answers_reach_the_client_as_told() -> None:
    """500, 503 with Retry-After, no JSON in a 200, a socket closed without a word."""
    with _connected(error_ratio=1.0) as client:
        assert _post(client)[0] == 500
    with _connected(garbage_ratio=1.0) as client:
        status, body = _post(client)
        assert (status, body[:1]) == (200, b"<")
    with _connected(close_ratio=0.5) as client:
        assert _post(client)[0] == 200
        with pytest.raises(http.client.RemoteDisconnected):
            _post(client)


@pytest.mark.e2e
def test_refusal_says_when_to_come_back() -> None:
    """With one slot taken for long and one waiting the third is refused at once."""
    with running_stub(slots=1, service_time=60, refuse_above=1) as stub:
        host = stub.url.removeprefix("http://")
        clients = [http.client.HTTPConnection(host, timeout=5) for _ in range(3)]
        for number, client in enumerate(clients):
            with closing(http.client.HTTPConnection(host, timeout=5)) as probe:
                while _metrics(probe)["heed_batch_size_count"] < number:
                    pass  # until the one before was counted
            client.request("POST", "/v1/classify", ONE)
        response = clients[2].getresponse()
        assert (response.status, response.headers["Retry-After"]) == (503, "1")
        response.close()
        for client in clients:
            client.close()


@pytest.mark.e2e
def test_slow_body_sends_its_headers_at_once() -> None:
    """Then the bytes trickle: a client that measures to the headers is told a lie."""
    with _connected(slow_body=0.3) as client:
        began = time.perf_counter()
        client.request("POST", "/v1/classify", ONE)
        response = client.getresponse()
        headers_s = time.perf_counter() - began
        assert ClassifyResponse.model_validate_json(response.read())
        assert headers_s < 0.15
        assert time.perf_counter() - began >= 0.3


@pytest.mark.e2e
def test_model_changes_and_memory_grows_as_told() -> None:
    """After three requests another hash and version; 100 requests of 1 MB stay in memory."""
    with _connected(change_model_after=3, leak_bytes=1_000_000) as client:
        models = _get(client, "/v1/models")
        versions = [json.loads(_post(client)[1])["version"] for _ in range(4)]
        assert versions == ["1", "1", "2", "2"]
        assert _get(client, "/v1/models") != models
        before = _metrics(client)
        for _ in range(100):
            _post(client)
        after = _metrics(client)
        grown = after["process_resident_memory_bytes"] - before["process_resident_memory_bytes"]
        assert grown == pytest.approx(100e6, rel=0.05)
        assert after["process_cpu_seconds_total"] > before["process_cpu_seconds_total"]


@pytest.mark.e2e
def test_latencies_on_the_wire_are_the_true_ones_to_a_millisecond() -> None:
    """Each of 100 in turn takes what the sequence says, and a little more."""
    with _connected(lognormal=(0.005, 0.5)) as client:
        added = []
        for latency in islice(latencies(Options(lognormal=(0.005, 0.5))), 100):
            began = time.perf_counter()
            _post(client)
            added.append(time.perf_counter() - began - latency)
    assert min(added) > 0
    assert median(added) < 0.002  # 0.5 ms when the machine is quiet, most of it this client's


@pytest.mark.e2e
async def test_stall_holds_all_answers_until_its_end() -> None:
    """From 0.2 s on nothing is answered for 0.4 s, then everything is."""
    ends: list[tuple[float, float]] = []

    async def post(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        began = time.perf_counter()
        writer.write(
            f"POST /v1/classify HTTP/1.1\r\nContent-Length: {len(ONE)}\r\n\r\n{ONE}".encode()
        )
        await reader.readuntil(b"\r\n\r\n")
        ends.append((began, time.perf_counter()))
        writer.close()
        await writer.wait_closed()

    with running_stub(stall_at=0.2, stall_for=0.4) as stub:
        port = int(stub.url.rsplit(":", 1)[1])
        await post(port)
        first = ends[0][0]
        while time.perf_counter() < first + 0.25:
            await asyncio.sleep(0.005)
            if len(ends) < 5:
                await post(port)
        await asyncio.gather(*(post(port) for _ in range(20)))
    before, during = ends[:5], ends[5:]
    assert max(end - first for _, end in before) < 0.2
    assert all(0.59 < end - first < 0.9 for _, end in during)
    assert len(during) == 20


@pytest.mark.e2e
def test_stub_ends_with_its_block_even_when_it_stands_still() -> None:
    """No process stays behind, and nobody waits for the end of a stall."""
    with running_stub(stall_for=60) as stub:
        client = http.client.HTTPConnection(stub.url.removeprefix("http://"))
        client.request("POST", "/v1/classify", ONE)
        client.close()
    with pytest.raises(ProcessLookupError):
        os.kill(stub.pid, signal.SIG_DFL)
