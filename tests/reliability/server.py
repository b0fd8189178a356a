"""A service in a process of its own: started, asked, commanded, looked at from outside, stopped."""

import http.client
import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from tests.reliability.engine import Curve
from tests.reliability.serve import Options

ROOT = Path(__file__).parents[2]
START_S = 30.0
_SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)


class Usage(NamedTuple):
    """Of the process: CPU seconds since its start, resident bytes, open files, threads."""

    cpu_s: float
    rss_bytes: int
    files: int
    threads: int


class Answer(NamedTuple):
    """Status, body and seconds of one GET."""

    status: int
    body: bytes
    seconds: float


class Server:
    """See the module. `port` is chosen before the process starts, so that it can start again."""

    def __init__(
        self,
        model: Path,
        log: Path,
        settings: Mapping[str, object],
        *,
        options: Options | None = None,
        cores: frozenset[int] = frozenset(),
    ) -> None:
        """Keep what it shall be; `start` starts it.

        Args:
            model: artifact, or a folder of versions.
            log: file for stdout and stderr.
            settings: by their names, without the prefix.
            options: what is not a setting.
            cores: that it may run on; all if empty.
        """
        self.port = int(settings.get("port", free_port()))  # type: ignore[call-overload]
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = log
        self._options = options or Options(control=-1)
        self.cores = cores
        chosen = {"host": "127.0.0.1", "execution_provider": "cpu"} | dict(settings)
        chosen |= {"model": model, "port": self.port}
        self._environment = {
            name: value for name, value in os.environ.items() if not name.startswith("HEED_")
        } | {f"HEED_{name.upper()}": str(value) for name, value in chosen.items()}
        self.process: subprocess.Popen[bytes] | None = None
        self._channel: Any = None

    @property
    def pid(self) -> int:
        """Of the process, which must have been started."""
        assert self.process is not None
        return self.process.pid

    def start(self, *, wait: bool = True) -> None:
        """Start the process; returns when it is ready, unless told not to `wait`."""
        ours, theirs = socket.socketpair()
        options = replace(self._options, control=theirs.fileno())
        command = [sys.executable, "-m", "tests.reliability.serve", options.to_json()]
        if self.cores:
            command = ["taskset", "-c", ",".join(map(str, sorted(self.cores))), *command]
        with theirs, self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[theirs.fileno()],
            )
        self._channel = ours.makefile("rw", encoding="utf-8")
        ours.close()
        if wait:
            self.wait_ready()

    def wait_ready(self, within_s: float = START_S) -> float:
        """Return when /health/ready answers 200: seconds waited. RuntimeError if it does not."""
        began = time.monotonic()
        while time.monotonic() - began < within_s:
            if self.process is not None and self.process.poll() is not None:
                raise RuntimeError(f"the service ended with {self.process.returncode}: {self.log}")
            with suppress(OSError, http.client.HTTPException):
                if self.get("/health/ready", 1.0).status == 200:
                    return time.monotonic() - began
            time.sleep(0.005)
        raise RuntimeError(f"the service was not ready within {within_s:g} s: {self.log}")

    def get(self, path: str, timeout_s: float = 10.0) -> Answer:
        """GET on a connection of its own."""
        began = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            body = response.read()
        finally:
            connection.close()
        return Answer(response.status, body, time.monotonic() - began)

    def metrics(self) -> dict[str, float]:
        """Every sample of /metrics, as `name` or `name{labels}`."""
        page = self.get("/metrics").body.decode()
        return {
            f"{name}{{{labels}}}" if labels else name: float(value)
            for name, labels, value in _SAMPLE.findall(page)
        }

    def tell(self, do: str, **arguments: object) -> Any:
        """A command of `serve.Control`, and its answer."""
        self._channel.write(json.dumps({"do": do, **arguments}) + "\n")
        self._channel.flush()
        return json.loads(self._channel.readline())

    def usage(self) -> Usage:
        """What the process uses now."""
        process = psutil.Process(self.pid)
        with process.oneshot():
            cpu = process.cpu_times()
            rss = process.memory_info().rss
            return Usage(cpu.user + cpu.system, rss, process.num_fds(), process.num_threads())

    def records(self) -> Iterator[dict[str, Any]]:
        """The lines of its log about requests, in order."""
        for line in self.log.read_bytes().splitlines():
            with suppress(ValueError):
                record = json.loads(line)
                if isinstance(record, dict) and record.get("event") == "request":
                    yield record

    def durations_s(self, *outcomes: str) -> dict[str, list[float]]:
        """Seconds inside the service of requests for the engine, by outcome, as its log says.

        In their order; from the header fields on, so with the reading of the body.
        """
        found: dict[str, list[float]] = {outcome: [] for outcome in outcomes}
        for record in self.records():
            if record["outcome"] in found and record["route"] == "/v1/classify":
                found[record["outcome"]].append(record["duration_ms"] / 1e3)
        return found

    def signal(self, number: int) -> None:
        """Send a signal to the process."""
        os.kill(self.pid, number)

    def stop(self, within_s: float = 40.0) -> int:
        """SIGTERM, and SIGKILL if that does not help; the exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.terminate()
            self.process.send_signal(signal.SIGCONT)  # or it would not hear of it
        try:
            code = self.process.wait(within_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        if self._channel:
            self._channel.close()
        return code


@contextmanager
def running(server: Server) -> Iterator[Server]:
    """The server for the length of a block."""
    try:
        server.start()
        yield server
    finally:
        server.stop(within_s=10.0)


def curve_options(curve: Curve) -> Options:
    """The service on an engine of known speed."""
    return Options(control=-1, curve=asdict(curve))


def curve_settings(curve: Curve, **changed: object) -> dict[str, object]:
    """Settings that make batches what the curve says."""
    fixed = {"engine_workers": 1, "max_batch_size": curve.max_batch_size}
    return fixed | {"max_batch_tokens": 32 * curve.max_batch_size} | changed


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def raise_file_limit() -> None:
    """Allow as many open files as the system does: thousands of sockets at a time."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
