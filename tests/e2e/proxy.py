"""HAProxy with deploy/haproxy.cfg in front of two instances."""

import os
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CONFIGURATION = Path(__file__).parents[2] / "deploy" / "haproxy.cfg"
HAPROXY = shutil.which("haproxy")


class Proxy:
    """A running HAProxy: `port` is the way to the instances."""

    def __init__(self, port: int, stats_port: int) -> None:
        self.port = port
        self._stats = f"http://127.0.0.1:{stats_port}/;csv"

    def instances_up(self) -> int:
        """Number of instances that it sends requests to."""
        with urllib.request.urlopen(self._stats, timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        names = lines[0].removeprefix("# ").split(",")
        rows = [dict(zip(names, line.split(","), strict=False)) for line in lines[1:]]
        return sum(row["svname"].startswith("heed-") and row["status"] == "UP" for row in rows)

    def wait_until_up(self, count: int, within_s: float = 20.0) -> None:
        """Return when `count` instances are up."""
        deadline = time.monotonic() + within_s
        while self.instances_up() != count:
            if time.monotonic() > deadline:
                raise AssertionError(f"never {count} instances up")
            time.sleep(0.05)


@contextmanager
def haproxy(
    first: int, second: int, ports: tuple[int, int], exempt: str = "127.0.0.1 ::1"
) -> Iterator[Proxy]:
    """HAProxy in front of two ports of this machine.

    Args:
        first: port of an instance.
        second: port of the other one.
        ports: to listen on, for requests and for its statistics.
        exempt: addresses without limits of their own; that of most tests stands for many clients.
    """
    assert HAPROXY is not None
    environment = {
        "HEED_SERVER_1": f"127.0.0.1:{first}",
        "HEED_SERVER_2": f"127.0.0.1:{second}",
        "HEED_PROXY_BIND": f"127.0.0.1:{ports[0]}",
        "HEED_PROXY_STATS": f"127.0.0.1:{ports[1]}",
        "HEED_PROXY_EXEMPT": exempt,
    }
    process = subprocess.Popen(
        [HAPROXY, "-db", "-f", str(CONFIGURATION)],
        env=os.environ | environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_until_it_listens(ports[1], process)
        yield Proxy(*ports)
    finally:
        process.kill()
        process.wait()


def _wait_until_it_listens(port: int, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 10
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise AssertionError("HAProxy did not start")
