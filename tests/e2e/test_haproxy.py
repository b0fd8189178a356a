"""Two instances behind HAProxy: restarts and crashes, as clients see them."""

import asyncio
import os
import socket
import subprocess
import time
from contextlib import ExitStack, suppress

import pytest

from tests.e2e.load import Load
from tests.e2e.proxy import CONFIGURATION, HAPROXY, haproxy
from tests.e2e.rolling import DRAIN_DELAY_S, roll
from tests.reliability.engine import Curve
from tests.reliability.server import Server, curve_options, curve_settings, free_port

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(HAPROXY is None, reason="haproxy is not installed"),
]
CURVE = Curve(fixed_s=0.016, per_text_s=0.004, max_batch_size=8)  # 166 requests a second


@pytest.mark.parametrize(
    "environment",
    [
        {"HEED_SERVER_1": "127.0.0.1:8001", "HEED_SERVER_2": "127.0.0.1:8002"},
        {"HEED_SERVERS": "heed:8000"},
    ],
)
def test_configuration_is_valid_in_both_forms(environment):
    """Two addresses, and a name with an address for each instance."""
    done = subprocess.run(
        [HAPROXY, "-c", "-f", str(CONFIGURATION)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr


def test_rolling_restarts_fail_no_request(tiny_artifact, tmp_path):
    """Clients keep their connections; each instance exits with 0, soon after its drain delay."""
    rolled = roll(tiny_artifact, tmp_path, curve=CURVE, share=0.5, restarts=2)
    assert rolled.tally.sent > 100
    assert rolled.tally.failed == 0, rolled.tally.outcomes
    assert rolled.exit_codes == [0, 0]
    assert max(rolled.stop_s) < DRAIN_DELAY_S + 10.0


@pytest.fixture
def pair(tiny_artifact, tmp_path):
    """Two instances that close idle connections after a second, and a proxy that sees both."""
    ports = [free_port() for _ in range(4)]
    options = curve_options(CURVE)
    settings = {"keep_alive_s": 1, "trusted_proxies": "127.0.0.1"}
    with ExitStack() as stack:
        servers = []
        for port in ports[:2]:
            chosen = curve_settings(CURVE, port=port, **settings)
            server = Server(tiny_artifact, tmp_path / f"{port}.log", chosen, options=options)
            server.start()
            stack.callback(server.stop, within_s=10.0)
            servers.append(server)
        proxy = stack.enter_context(haproxy(ports[0], ports[1], (ports[2], ports[3])))
        proxy.wait_until_up(2)
        yield servers, proxy


def test_instance_that_is_killed_fails_no_more_than_it_had_in_flight(pair):
    """The other one carries on; what the proxy can repeat, it repeats."""
    servers, proxy = pair

    async def scenario():
        load = Load(proxy.port, 0.5 * CURVE.capacity_rps)
        running = asyncio.create_task(load.run())
        await asyncio.sleep(1.0)
        in_flight = len(load._under_way)
        servers[0].process.kill()
        killed = time.monotonic()
        await asyncio.to_thread(proxy.wait_until_up, 1)
        await asyncio.sleep(0.5)
        load.stop()
        return await running, in_flight, killed

    tally, in_flight, killed = asyncio.run(scenario())
    assert tally.failed <= in_flight, tally.outcomes
    assert all(moment - killed < 5.0 for moment in tally.failed_at)
    servers[0].stop()
    servers[0].start()
    proxy.wait_until_up(2)


def test_connection_that_idles_as_long_as_the_service_allows_is_not_reset(pair):
    """A request that meets the closing of its connection goes over another one."""
    _, proxy = pair
    pauses = [0.9 + 0.2 * step / 40 for step in range(40)]

    async def client(pause_s: float) -> list[bytes]:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        answers = []
        for number in range(3):
            if number:
                await asyncio.sleep(pause_s)
            writer.write(b"GET /v1/models HTTP/1.1\r\nHost: heed\r\n\r\n")
            head = await reader.readuntil(b"\r\n\r\n")
            length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
            await reader.readexactly(int(length))
            answers.append(head[9:12])
        writer.close()
        return answers

    async def scenario():
        return await asyncio.gather(*map(client, pauses))

    for answers in asyncio.run(scenario()):
        assert answers == [b"200"] * 3


def test_request_that_kills_its_instance_is_sent_twice_at_most(tmp_path):
    """Else it would kill one instance after the other."""
    seen = []

    async def die(reader, writer) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if head.startswith(b"GET /x"):
            seen.append(writer.get_extra_info("sockname"))
        else:
            writer.write(b"HTTP/1.0 200 OK\r\n\r\n")
        writer.close()

    async def scenario() -> bytes:
        servers = [await asyncio.start_server(die, "127.0.0.1", 0) for _ in range(2)]
        ports = [server.sockets[0].getsockname()[1] for server in servers]
        with haproxy(*ports, (free_port(), free_port())) as proxy:
            await asyncio.to_thread(proxy.wait_until_up, 2)
            reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
            writer.write(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
            answer = await reader.readline()
            writer.close()
        for server in servers:
            server.close()
        return answer

    assert asyncio.run(scenario()).split()[1] == b"502"
    assert len(set(seen)) == len(seen) == 2


@pytest.mark.parametrize("trailer", [b"Connection: close", b"Proxy-Connection: close"])
def test_trailer_of_one_client_leaves_no_request_of_another_unanswered(pair, trailer):
    """They share the connections to the instances; one that nobody reads from is closed."""
    _, proxy = pair
    chunked = (
        b"POST /v1/classify HTTP/1.1\r\nHost: heed\r\nContent-Type: application/json\r\n"
        b'Transfer-Encoding: chunked\r\n\r\n10\r\n{"inputs": "ab"}\r\n0\r\n' + trailer + b"\r\n\r\n"
    )
    models = b"GET /v1/models HTTP/1.1\r\nHost: heed\r\n\r\n"
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as other:
        for number in range(30):
            if number % 3 < 2:  # so that the instances, in turns, get both
                with socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as client:
                    client.sendall(chunked)
                    assert client.recv(65536).startswith(b"HTTP/1.1 200 ")
            else:
                other.sendall(models)
                assert other.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_source_has_a_share_of_the_connections(pair):
    """One that opens more is cut at once; others, and those that are exempt, are not."""
    _, proxy = pair
    with ExitStack() as stack:

        def connect(source: str) -> socket.socket:
            client = socket.create_connection(("127.0.0.1", proxy.port), 5, (source, 0))
            return stack.enter_context(client)

        many = []
        for _ in range(300):
            with suppress(ConnectionError):  # cut as soon as it was there
                many.append(connect("127.0.0.2"))
        request = b"GET /health/ready HTTP/1.1\r\nHost: heed\r\n\r\n"
        for source in ("127.0.0.3", "127.0.0.1"):
            client = connect(source)
            client.sendall(request)
            assert client.recv(12) == b"HTTP/1.1 200"
        open_ = 0
        for client in many:
            client.setblocking(False)
            try:
                client.recv(1)
            except BlockingIOError:
                open_ += 1
            except ConnectionError:
                pass
        assert open_ == 256


def test_client_cannot_choose_the_address_that_the_service_sees(tmp_path):
    """X-Forwarded-For is the proxy's word."""
    with socket.create_server(("127.0.0.1", 0)) as origin, ExitStack() as stack:
        port = origin.getsockname()[1]
        proxy = stack.enter_context(haproxy(port, port, (free_port(), free_port())))
        client = socket.create_connection(("127.0.0.1", proxy.port), timeout=10)
        stack.enter_context(client)
        client.sendall(b"GET /x HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n")
        origin.settimeout(10)
        while True:
            connection, _ = origin.accept()
            with connection:
                head = connection.recv(65536).lower()
                if head.startswith(b"get /x"):
                    break
                connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
    assert b"x-forwarded-for: 127.0.0.1\r\n" in head
    assert b"6.6.6.6" not in head
