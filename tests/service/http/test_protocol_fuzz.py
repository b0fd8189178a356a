"""Random bytes that nearly are requests, against a real server. HEED_FUZZ_CASES says how many."""

import asyncio
import contextlib
import io
import os
import random
from collections import Counter

from tests.service.http.guarded import GET, PATIENCE_S, Response, chunked, guarded, post

CASES = int(os.environ.get("HEED_FUZZ_CASES", "4000"))
CONCURRENCY = 100
SHORT_S = 0.2

SEEDS = [
    GET,
    post(b"hello"),
    post(b"a" * 3000, b"/early"),
    post(b"b" * 120_000),
    chunked(b"hel", b"lo"),
    chunked(*[b"c"] * 300, end=b"0\r\nT: u\r\n\r\n"),
    post(b"up", fields=b"Connection: upgrade\r\nUpgrade: h2c\r\n"),
    post(b"wait", fields=b"Expect: 100-continue\r\n"),
    b"GET /%e2%82%ac?q=%00 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    b"OPTIONS http://a:1/b HTTP/1.1\r\nHost: a\r\n\r\n",
]
TOKENS = [
    b"\r\n",
    b"\r\n\r\n",
    b"\n",
    b"\0",
    b"\xff\xfe",
    b" ",
    b":",
    b";",
    b"0\r\n\r\n",
    b"\r\nContent-Length: 5",
    b"\r\nContent-Length: 18446744073709551616",
    b"\r\nTransfer-Encoding: chunked",
    b"\r\nConnection: close",
    b"\r\nConnection: upgrade\r\nUpgrade: websocket",
    b"\r\nExpect: 100-continue",
    b"ffffffffffffffff\r\n",
    b"HTTP/1.1",
    b"CONNECT a:1 HTTP/1.1\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\n",
    b"x" * 5000,
    b"a: b\r\n" * 30,
]


def mutate(rng: random.Random) -> bytes:
    """One to three requests behind each other, damaged in up to four places."""
    data = bytearray(b"".join(rng.choices(SEEDS, k=rng.choice([1, 1, 1, 2, 3]))))
    for _ in range(rng.randrange(5)):
        place = rng.randrange(min(len(data), 400) if rng.random() < 0.8 else len(data))
        match rng.randrange(5):
            case 0:
                data[place] = rng.randrange(256)
            case 1:
                data[place] ^= 1 << rng.randrange(8)
            case 2:
                data[place:place] = rng.choice(TOKENS)
            case 3:
                data[place : place + rng.randrange(1, 20)] = b""
            case 4:
                del data[max(1, place) :]
        if not data:
            break
    return bytes(data or b"\r")


def pieces(rng: random.Random, data: bytes) -> list[bytes]:
    """`data`, cut in up to six places."""
    cuts = sorted(rng.randrange(len(data)) for _ in range(rng.randrange(7)))
    return [data[i:j] for i, j in zip([0, *cuts], [*cuts, len(data)], strict=True)]


async def play(address: tuple, rng: random.Random) -> list[int]:
    """Send one case; the statuses of all answers, up to the end of the connection."""
    reader, writer = await asyncio.open_connection(*address)
    received, whole = bytearray(), True
    try:
        for piece in pieces(rng, mutate(rng)):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(rng.choice([0, 0, 0.002]))
        if rng.random() < 0.3:
            writer.write_eof()
        if rng.random() < 0.1:
            writer.transport.abort()
            return []
        while data := await reader.read(65_536):
            received += data
    except OSError:
        whole = False  # cut while it was still sending
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    return statuses(bytes(received), whole)


def statuses(received: bytes, whole: bool) -> list[int]:
    """Those of the responses that `received` consists of; the last may be torn if not `whole`."""
    stream, found = io.BytesIO(received), []
    while stream.tell() < len(received):
        try:
            response = Response(stream)
        except Exception:
            assert not whole, received[:1000]
            break
        if response.fields.get("content-type") == "application/problem+json":
            response.problem()
        found.append(response.status)
    return found


async def test_no_bytes_make_the_server_fail_or_hang():
    """Every answer is well-formed and below 500, or the connection is closed; nothing is left."""
    seen: Counter = Counter()
    limits = asyncio.Semaphore(CONCURRENCY)
    with guarded(
        header_timeout_s=SHORT_S,
        body_timeout_s=SHORT_S,
        write_timeout_s=SHORT_S,
        keep_alive_s=SHORT_S,
    ) as server:

        async def case(number: int) -> None:
            async with limits:
                rng = random.Random(number)
                try:
                    async with asyncio.timeout(PATIENCE_S):
                        found = await play(server.address, rng)
                except Exception as error:
                    error.add_note(f"case {number}: {mutate(random.Random(number))[:500]!r}")
                    raise
                seen.update(found or ["closed"])
                assert all(status < 500 for status in found), number

        await asyncio.gather(*map(case, range(CASES)))
        await asyncio.to_thread(server.wait_until_idle)
    assert seen[200] > CASES / 10
    assert seen[400] > CASES / 10
    assert seen.keys() <= {"closed", 100, 200, 400, 401, 408, 413, 431}
