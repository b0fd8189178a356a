"""HTTP clients that the generator is not: they retry, leave, idle, or say exactly these bytes."""

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import Mapping
from typing import NamedTuple

HOST = "127.0.0.1"
TEXT = "I was charged twice for one purchase and want my money back, please look into it. " * 2
CLASSIFY = "/v1/classify"


class Reply(NamedTuple):
    """A whole answer; seconds from before the request was sent. Status 0: none, or cut off."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    seconds: float


class Exchange(NamedTuple):
    """What came back to raw bytes; status 0 without an answer. `closed` by the server, or will be.

    `seconds` until the answer was whole, or nothing more came.
    """

    status: int
    closed: bool
    seconds: float
    head: bytes
    body: bytes


def request(
    body: bytes, headers: Mapping[str, object] | None = None, path: str = CLASSIFY
) -> bytes:
    """A POST as bytes."""
    fields = {"Host": "heed", "Content-Type": "application/json", "Content-Length": len(body)}
    fields |= dict(headers or {})
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"POST {path} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body


def classify(text: str = TEXT, headers: Mapping[str, object] | None = None) -> bytes:
    """A request to classify one text, as bytes."""
    return request(json.dumps({"inputs": text}).encode(), headers)


class Client:
    """Kept-alive connections to one port, as many as there are requests at a time."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def send(self, raw: bytes, timeout_s: float = 10.0) -> Reply:
        """Send one request and read its answer; status 0 for whatever goes wrong."""
        began = time.monotonic()
        writer: asyncio.StreamWriter | None = None
        try:
            async with asyncio.timeout(timeout_s):
                reader, writer = await self._connection()
                writer.write(raw)
                status, headers, body = await read_reply(reader)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, ValueError):
            if writer is not None:
                writer.transport.abort()
            return Reply(0, {}, b"", time.monotonic() - began)
        if headers.get("connection", "").lower() == "close":
            writer.close()
        else:
            self._idle.append((reader, writer))
        return Reply(status, headers, body, time.monotonic() - began)

    async def leave(self, raw: bytes, after_s: float) -> None:
        """Send one request and hang up without waiting for the answer."""
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection(HOST, self._port)
            writer.write(raw)
            await asyncio.sleep(after_s)
            writer.transport.abort()

    def close(self) -> None:
        """Close what is idle."""
        for _, writer in self._idle:
            writer.close()
        self._idle.clear()

    async def _connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        while self._idle:
            reader, writer = self._idle.pop()
            if not (reader.at_eof() or writer.is_closing()):
                return reader, writer
            writer.close()
        return await asyncio.open_connection(HOST, self._port)


async def read_reply(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    """Status, header fields and body of an answer with a Content-Length."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    status_line, *lines = head.rstrip("\r\n").split("\r\n")
    fields = (line.partition(":") for line in lines)
    headers = {name.strip().lower(): value.strip() for name, _, value in fields}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return int(status_line.split(" ", 2)[1]), headers, body


def exchange(
    port: int, raw: bytes, timeout_s: float = 5.0, *, half_close: bool = False
) -> Exchange:
    """Send raw bytes on a new connection, read until the server closes or falls silent.

    Args:
        port: of the service.
        raw: sent as far as the server takes it.
        timeout_s: of silence.
        half_close: end the sending side when all is sent.
    """
    with socket.create_connection((HOST, port), timeout_s) as connection:
        return talk(connection, raw, half_close=half_close)


def talk(connection: socket.socket, raw: bytes, *, half_close: bool = False) -> Exchange:
    """`exchange` on a connection that is there, and stays open; its timeout is that of silence."""
    began = time.monotonic()
    seen, closed = bytearray(), False
    with contextlib.suppress(OSError):  # it may hang up in the middle: read what it said
        connection.sendall(raw)
        if half_close:
            connection.shutdown(socket.SHUT_WR)
    try:
        while piece := connection.recv(65_536):
            seen += piece
            if not half_close and _is_whole(seen):
                break
        else:
            closed = True
    except ConnectionError:
        closed = True
    except TimeoutError:
        pass
    status = int(seen[9:12]) if seen.startswith(b"HTTP/1.1 ") else 0
    head, _, body = bytes(seen).partition(b"\r\n\r\n")
    closed = closed or b"connection: close" in head.lower()
    return Exchange(status, closed, time.monotonic() - began, head.lower(), body)


def _is_whole(seen: bytearray) -> bool:
    """Whether there is an answer with all of its body."""
    head, found, body = bytes(seen).partition(b"\r\n\r\n")
    if not found:
        return False
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return len(body) >= int(line.partition(b":")[2])
    return True
