"""A stub of the service with known faults: what the load test finds can be held against the truth.

As a program it prints its port, then serves until SIGTERM:

    python tests/loadtest/stub.py --port 0 --delay 0.02 --error-ratio 0.01

In a test: `with running_stub(delay=0.02) as stub: ... stub.url`. No pipelining, no TLS.
"""

import argparse
import asyncio
import gc
import heapq
import json
import math
import os
import random
import re
import select
import selectors
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from itertools import islice
from pathlib import Path
from typing import Literal, NamedTuple

import httptools

LABELS = {"a": 0.9, "b": 0.1}
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
SLACK_S = 60e-6  # Linux lets a sleep take 50 us longer; so much of it is spent awake instead
NOISE_S = 1.0  # how long one pace of `jitter` lasts

What = Literal["ok", "error", "close", "garbage", "slow", "refused"]


@dataclass(frozen=True)
class Options:
    """How the stub behaves; all of it together, where that makes sense. Durations in seconds.

    Requests are those to /v1/classify, counted from 1 in the order in which they arrive.

    Attributes:
        delay: constant latency.
        lognormal: median and sigma of a latency on top, by a seeded sequence in order of arrival.
        seed: of that sequence.
        scale: factor on every latency and service time; 1.10 is 10 % more.
        jitter: sigma of lognormal noise, on each request and on the pace of each second; not
            seeded, so no two stubs are alike.
        slots: parallel servers behind one FIFO queue; 0 is no queue. Capacity: slots/service_time.
        service_time: for which a request holds its slot.
        refuse_above: with so many waiting the next is answered 503 at once; 0 is no bound.
        stall_at, stall_for: so long after the first request the whole process stands still.
        error_ratio: of 500s. This and the other ratios are exact: each 1/ratio-th request.
        close_ratio: of sockets closed instead of an answer.
        garbage_ratio: of 200s that hold no JSON.
        late_ratio, late_by: 200s that take so much longer.
        slow_body, slow_ratio: headers in time, the body in ten pieces over so long.
        leak_bytes: kept for good with each request.
        manifest_sha256: of the one model in /v1/models.
        change_model_after: so many requests another version and hash are served; 0 is never.
    """

    delay: float = 0.0
    lognormal: tuple[float, float] = (0.0, 0.0)
    seed: int = 1
    scale: float = 1.0
    jitter: float = 0.0
    slots: int = 0
    service_time: float = 0.0
    refuse_above: int = 0
    stall_at: float = 0.0
    stall_for: float = 0.0
    error_ratio: float = 0.0
    close_ratio: float = 0.0
    garbage_ratio: float = 0.0
    late_ratio: float = 0.0
    late_by: float = 0.0
    slow_body: float = 0.0
    slow_ratio: float = 1.0
    leak_bytes: int = 0
    manifest_sha256: str = "ab" * 32
    change_model_after: int = 0


class Fate(NamedTuple):
    """What becomes of a request: answered `what` at `due`, the clock's seconds."""

    what: What
    due: float


def latencies(options: Options) -> Iterator[float]:
    """Seconds that each request takes by the options: all but queueing, `jitter` and stalls."""
    rng = random.Random(options.seed)
    median, sigma = options.lognormal
    number = 0
    while True:
        number += 1
        latency = options.delay + median * math.exp(sigma * rng.gauss(0.0, 1.0))
        late = options.late_by if _hits(number, options.late_ratio, 0.75) else 0.0
        yield latency * options.scale + late


def true_quantiles(
    options: Options, fractions: Sequence[float], count: int, skip: int = 0
) -> list[float]:
    """Exact quantiles, by nearest rank, of `count` latencies in order after the first `skip`."""
    ordered = sorted(islice(latencies(options), skip, skip + count))
    return [ordered[max(1, math.ceil(fraction * count - 1e-9)) - 1] for fraction in fractions]


def _hits(number: int, ratio: float, phase: float) -> bool:
    """Whether the `number`-th request is one of the ratio. Phases keep faults from coinciding."""
    return math.floor(number * ratio + phase) > math.floor((number - 1) * ratio + phase)


class Behaviour:
    """Decides the fate of each request. Pure: takes `now`.

    Attributes:
        requests, texts, refused: counted so far.
        queue_s, engine_s: sums of waiting and of service.
    """

    def __init__(self, options: Options) -> None:
        self.options = options
        self.requests = self.texts = self.refused = 0
        self.queue_s = self.engine_s = 0.0
        self._latencies = latencies(options)
        self._free_at = [0.0] * options.slots  # a heap: when each slot is free again
        self._starts: deque[float] = deque()  # of those that wait, ascending
        self._noise, self._pace, self._pace_until = random.Random(), 1.0, -math.inf
        self._kept: list[bytes] = []

    def arrive(self, now: float, texts: int) -> Fate:
        """Count a request, and say what becomes of it."""
        options = self.options
        self.requests += 1
        number, latency = self.requests, next(self._latencies)
        if options.refuse_above and self.waiting(now) >= options.refuse_above:
            self.refused += 1
            return Fate("refused", now)
        self.texts += texts
        if options.leak_bytes:
            self._kept.append(b"\x01" * options.leak_bytes)
        noise = self._factor(now) if options.jitter else 1.0
        done = self._serve(now, options.service_time * options.scale * noise, latency * noise)
        for what, ratio, phase in (
            ("close", options.close_ratio, 0.0),
            ("error", options.error_ratio, 0.25),
            ("garbage", options.garbage_ratio, 0.5),
            ("slow", options.slow_ratio if options.slow_body else 0.0, 0.0),
        ):
            if ratio and _hits(number, ratio, phase):
                return Fate(what, done)
        return Fate("ok", done)

    def waiting(self, now: float) -> int:
        """Requests that no slot has taken yet."""
        while self._starts and self._starts[0] <= now:
            self._starts.popleft()
        return len(self._starts)

    @property
    def changed(self) -> bool:
        """Whether the other model is served by now."""
        return 0 < self.options.change_model_after <= self.requests

    def _serve(self, now: float, service_s: float, latency_s: float) -> float:
        if not self._free_at:
            self.engine_s += latency_s
            return now + service_s + latency_s
        start = max(now, self._free_at[0])
        heapq.heapreplace(self._free_at, start + service_s)
        if start > now:
            self._starts.append(start)
        self.queue_s += start - now
        self.engine_s += service_s
        return start + service_s + latency_s

    def _factor(self, now: float) -> float:
        """Noise of one request, times a pace that changes each second."""
        if now >= self._pace_until:
            self._pace = math.exp(self._noise.gauss(0.0, self.options.jitter))
            self._pace_until = now + NOISE_S
        return self._pace * math.exp(self._noise.gauss(0.0, self.options.jitter))


class Connection(asyncio.Protocol):
    """One client: parses requests, writes answers when they are due."""

    def __init__(self, stub: "Stub") -> None:
        self._stub = stub
        self._parser = httptools.HttpRequestParser(self)
        self._url = self._body = b""

    def connection_made(self, transport: asyncio.Transport) -> None:
        """A client is there."""
        self._transport = transport

    def connection_lost(self, _: Exception | None) -> None:
        """It has gone."""
        del self._parser  # it refers back, and nothing collects cycles here

    def data_received(self, data: bytes) -> None:
        """Parse what it sent."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.abort()

    def on_message_begin(self) -> None:
        """A request begins."""
        self._url = self._body = b""

    def on_url(self, url: bytes) -> None:
        """A piece of its address."""
        self._url += url

    def on_body(self, body: bytes) -> None:
        """A piece of its body."""
        self._body += body

    def on_message_complete(self) -> None:
        """It is whole: have it answered."""
        keep = self._parser.should_keep_alive()
        if self._url == b"/v1/classify" and self._parser.get_method() == b"POST":
            self._stub.classify(self, self._body, keep)
        else:
            self.send(*self._stub.get(self._url), keep)

    def send(self, status: str, body: bytes, keep: bool) -> None:
        """Write a whole answer, unless the client has gone."""
        if not self._transport.is_closing():
            self._transport.write(_head(status, len(body), keep) + body)
            if not keep:
                self._transport.close()

    def send_slowly(self, body: bytes, keep: bool, seconds: float) -> None:
        """Write the headers now and the body in ten pieces, the last one after `seconds`."""
        if self._transport.is_closing():
            return
        self._transport.write(_head("200 OK", len(body), keep))
        loop, size = asyncio.get_event_loop(), math.ceil(len(body) / 10)
        for step in range(1, 11):
            piece = body[(step - 1) * size : step * size]
            loop.call_later(seconds * step / 10, self._transport.write, piece)
        if not keep:
            loop.call_later(seconds, self._transport.close)

    def close(self) -> None:
        """Hang up without an answer."""
        self._transport.close()


class Stub:
    """The service: its routes, its clock, and the stall."""

    def __init__(self, options: Options, loop: asyncio.AbstractEventLoop) -> None:
        self._options, self._loop = options, loop
        self._behaviour = Behaviour(options)

    def classify(self, connection: Connection, body: bytes, keep: bool) -> None:
        """Answer when it is due."""
        now = self._loop.time()
        try:
            request = json.loads(body)
            inputs = request["inputs"]
            texts = [inputs] if isinstance(inputs, str) else list(inputs)
            words = request.get("explain") == "attention"
            results = b",".join([_result(text, words) for text in texts])
        except (ValueError, TypeError, LookupError, AttributeError):
            return connection.send("400 Bad Request", _problem(400), keep)
        if not self._behaviour.requests and self._options.stall_for:
            until = now + self._options.stall_at + self._options.stall_for
            self._loop.call_at(now + self._options.stall_at, self._stand_still, until)
        fate = self._behaviour.arrive(now, len(texts))
        answer = b'{"model":"stub","version":"%s","results":[%s]}' % (self._version, results)
        if fate.due <= now:
            return self._finish(connection, fate.what, answer, keep)
        self._loop.call_at(fate.due, self._finish, connection, fate.what, answer, keep)
        return None

    def get(self, url: bytes) -> tuple[str, bytes]:
        """Status and body of all other routes."""
        if url in (b"/health/ready", b"/health/live"):
            return "200 OK", b'{"status":"ok"}'
        if url == b"/v1/models":
            return "200 OK", json.dumps({"models": [self._model()]}).encode()
        if url == b"/metrics":
            return "200 OK", self._metrics().encode()
        return "404 Not Found", _problem(404)

    @property
    def _version(self) -> bytes:
        return b"2" if self._behaviour.changed else b"1"

    def _stand_still(self, until: float) -> None:
        time.sleep(max(0.0, until - self._loop.time()))  # all of it, as a collector's pause

    def _finish(self, connection: Connection, what: What, answer: bytes, keep: bool) -> None:
        if what == "ok":
            connection.send("200 OK", answer, keep)
        elif what == "close":
            connection.close()
        elif what == "error":
            connection.send("500 Internal Server Error", _problem(500), keep)
        elif what == "garbage":
            connection.send("200 OK", b"<html>gateway</html>", keep)
        elif what == "refused":
            connection.send("503 Service Unavailable\r\nRetry-After: 1", _problem(503), keep)
        else:
            connection.send_slowly(answer, keep, self._options.slow_body)

    def _model(self) -> dict[str, object]:
        return {
            "name": "stub",
            "version": self._version.decode(),
            "labels": list(LABELS),
            "max_length": 128,
            "precision": "fp32",
            "manifest_sha256": "cd" * 32
            if self._behaviour.changed
            else self._options.manifest_sha256,
            "execution_provider": "cpu",
            "metrics": {},
        }

    def _metrics(self) -> str:
        seen = self._behaviour
        answered = seen.requests - seen.refused
        values = {
            "heed_queue_wait_seconds_sum": seen.queue_s,
            "heed_queue_wait_seconds_count": answered,
            'heed_engine_duration_seconds_sum{provider="cpu"}': seen.engine_s,
            'heed_engine_duration_seconds_count{provider="cpu"}': answered,
            "heed_batch_size_sum": seen.texts,
            "heed_batch_size_count": answered,
            "heed_queue_depth": seen.waiting(self._loop.time()),
            "process_resident_memory_bytes": _resident_bytes(),
            "process_cpu_seconds_total": time.process_time(),
        }
        return "".join(f"{name} {float(value)}\n" for name, value in values.items())


class PreciseSelector(selectors.DefaultSelector):
    """Wakes up on time: epoll counts milliseconds and rounds up, select() counts microseconds."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait for events, at most `timeout` seconds."""
        if timeout is not None and timeout > 0:
            if timeout > SLACK_S:  # epoll's own descriptor becomes readable with any of its events
                select.select([self.fileno()], [], [], timeout - SLACK_S)
            timeout = 0
        return super().select(timeout)


class Running(NamedTuple):
    """A stub in a process of its own."""

    url: str
    pid: int


@contextmanager
def running_stub(**options: object) -> Iterator[Running]:
    """A stub with these `Options`, listening; it ends with the block, or with this process."""
    command = [sys.executable, __file__, "--port", "0", "--until-stdin-closes"]
    for name, value in options.items():
        values = value if isinstance(value, tuple) else (value,)
        command += [f"--{name.replace('_', '-')}", *map(str, values)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            yield Running(f"http://127.0.0.1:{int(process.stdout.readline())}", process.pid)
        finally:
            process.kill()  # it may be standing still


def serve(options: Options, port: int, until_stdin_closes: bool) -> None:
    """Print the port, then serve until a signal."""
    loop = asyncio.SelectorEventLoop(PreciseSelector())
    asyncio.set_event_loop(loop)
    stub = Stub(options, loop)
    listening = loop.create_server(lambda: Connection(stub), "127.0.0.1", port, backlog=4096)
    server = loop.run_until_complete(listening)
    if until_stdin_closes:
        loop.add_reader(0, loop.stop)
    loop.add_signal_handler(signal.SIGINT, loop.stop)
    gc.collect()
    gc.freeze()
    gc.disable()  # its pauses would be faults that nobody asked for
    print(server.sockets[0].getsockname()[1], flush=True)
    loop.run_forever()


def _head(status: str, length: int, keep: bool) -> bytes:
    connection = "" if keep else "Connection: close\r\n"
    return (
        f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n{connection}"
        f"Content-Length: {length}\r\n\r\n"
    ).encode()


def _result(text: str, words: bool) -> bytes:
    if not words:
        return _RESULT % (len(text.split()), b"")
    found = [(m.start(), m.end(), m.group()) for m in re.finditer(r"\S+", text)]
    weights = [
        {"start": start, "end": end, "text": word, "weight": 1 / len(found)}
        for start, end, word in found
    ]
    return _RESULT % (len(found), b',"words":' + json.dumps(weights).encode())


def _problem(status: int) -> bytes:
    return b'{"type":"about:blank","title":"stub","status":%d,"detail":"as told"}' % status


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * PAGE_BYTES


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--until-stdin-closes", action="store_true")
    for field in fields(Options):
        flag, kind = f"--{field.name.replace('_', '-')}", type(field.default)
        if kind is tuple:
            parser.add_argument(flag, type=float, nargs=2, default=field.default)
        else:
            parser.add_argument(flag, type=kind, default=field.default)
    return parser.parse_args()


_RESULT = (
    b'{"label":"a","score":0.9,"scores":[{"label":"a","score":0.9},{"label":"b","score":0.1}],'
    b'"tokens":%d,"truncated":false%s}'
)

if __name__ == "__main__":
    given = vars(_parse())
    asked_port, until = given.pop("port"), given.pop("until_stdin_closes")
    serve(Options(**given), asked_port, until)
