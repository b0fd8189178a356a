"""The guard in a process of its own: descriptors used up, memory, a process that was stopped."""

import contextlib
import os
import resource
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service.http.guarded import GET, Client, chunked, post, wait_until

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).resolve().parents[3]
CODE = """
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[2]), int(sys.argv[2])))
from service.http.connections import connection_limit
from tests.service.http.guarded import guarded
limit = connection_limit(4096) if sys.argv[1] == "bounded" else 4096
with guarded(limit=limit, body_timeout_s=0.5, header_timeout_s=2.0) as server:
    print(server.address[1], flush=True)
    sys.stdin.read()
"""


class Process:
    """A running server, seen from outside."""

    def __init__(self, child: subprocess.Popen) -> None:
        self.child = child
        self.address = ("127.0.0.1", int(child.stdout.readline()))
        self._proc = Path(f"/proc/{child.pid}")

    @property
    def cpu_s(self) -> float:
        """Seconds of CPU since its start."""
        fields = (self._proc / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def rss_bytes(self) -> int:
        """Resident memory."""
        pages = int((self._proc / "statm").read_text().split()[1])
        return pages * resource.getpagesize()

    @property
    def open_files(self) -> int:
        """Descriptors in use."""
        return len(list((self._proc / "fd").iterdir()))

    def status(self, request: bytes) -> int:
        """Of the answer to `request` on a new connection."""
        with Client(self.address, request) as client:
            return client.response().status


@contextlib.contextmanager
def serving(mode: str = "bounded", max_open_files: int = 1024) -> Iterator[Process]:
    """A server that may have `max_open_files`; it must not have crashed, nor said anything."""
    child = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", CODE, mode, str(max_open_files)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with child:
        try:
            yield Process(child)
            _, said = child.communicate(timeout=20)
            assert (child.returncode, said) == (0, "")
        finally:
            child.kill()


@pytest.mark.parametrize("mode", ["bounded", "unbounded"])
def test_used_up_descriptors_neither_crash_nor_spin_and_are_given_back(mode):
    """With the limit of connections derived from them, everybody gets an answer.

    Without, as when a library opens more than we know, the others are closed at once.
    """
    with serving(mode, max_open_files=64) as process, contextlib.ExitStack() as stack:
        before = process.open_files
        outcomes: Counter = Counter()
        inside = []
        for client in [stack.enter_context(Client(process.address)) for _ in range(200)]:
            client.send(GET)
            try:
                outcomes[client.response().status] += 1
                inside.append(client)
            except (AssertionError, ConnectionError):
                outcomes["closed"] += 1
        assert sum(outcomes.values()) == 200
        assert outcomes[200] >= 10
        assert set(outcomes) == ({200, 503} if mode == "bounded" else {200, "closed"})
        idle_from_s = process.cpu_s
        inside[0].socket.settimeout(1.0)
        with pytest.raises(TimeoutError):
            inside[0].socket.recv(1)
        assert process.cpu_s - idle_from_s < 0.2
        stack.close()
        wait_until(lambda: process.open_files == before, "descriptors are left")
        assert process.status(GET) == 200


def test_refused_requests_leave_no_memory_behind():
    """Hundreds of megabytes of heads and bodies, none of which is kept."""
    chunks = chunked(*[b"a"] * 65_537)
    hostile = [
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 10_000_000, 431),
        (b"GET / HTTP/1.1\r\n" + b"a:b\r\n" * 200_000, 431),
        (post(b"a" * 5_000_000), 413),
        (chunks, 413),
        (chunked(b"abc", end=b"0\r\n" + b"a:b\r\n" * 200_000), 431),
    ]
    with serving() as process:
        for request, status in hostile * 3:
            assert process.status(request) == status
        before = process.rss_bytes
        for request, status in hostile * 20:
            assert process.status(request) == status
        assert process.rss_bytes - before < 4_000_000


def test_client_is_not_cut_for_the_time_in_which_the_process_was_stopped():
    """What it sent meanwhile could not be read."""
    request = post(b"a" * 1000)
    with serving() as process, Client(process.address, GET) as client:
        assert client.response().status == 200
        client.send(request[:-500])
        process.child.send_signal(signal.SIGSTOP)
        try:
            client.socket.settimeout(1.5)
            with pytest.raises(TimeoutError):
                client.socket.recv(1)
        finally:
            process.child.send_signal(signal.SIGCONT)
        client.socket.settimeout(10)
        client.send(request[-500:])
        assert client.response().body == b"1000"
