"""When a client counts as not reading, on a transport whose buffer is set by hand."""

import asyncio
import dataclasses
import socket
from unittest.mock import Mock

from uvicorn.config import Config
from uvicorn.server import ServerState

from service.http.connections import Connections
from service.http.peers import Peers
from service.http.protocol import GuardedProtocol, guarded_protocol
from tests.service.http.guarded import LIMITS, App


class Transport:
    """A transport with `unread` bytes in its buffer."""

    def __init__(self, unread: int) -> None:
        self.unread = unread
        self.aborted = False

    def get_write_buffer_size(self) -> int:
        """As set."""
        return self.unread

    def abort(self) -> None:
        """Remember it."""
        self.aborted = True

    def set_write_buffer_limits(self, high: int) -> None:
        """Remember it."""
        self.high = high

    def get_extra_info(self, name: str) -> Mock | None:
        """A socket, and nothing else."""
        return Mock(spec=socket.socket, family=socket.AF_UNIX) if name == "socket" else None

    write = close = is_closing = pause_reading = resume_reading = get_extra_info


def connected(unread: int) -> tuple[GuardedProtocol, Transport]:
    """A connection whose request is here, with `write_timeout_s` 30."""
    limits = dataclasses.replace(LIMITS, header_timeout_s=1000.0)
    make = guarded_protocol(limits, Connections(1, 1, Peers()), lambda refusal: None)
    loop = asyncio.get_running_loop()
    protocol = make(Config(App(), lifespan="off"), ServerState(), {}, loop)
    transport = Transport(unread)
    protocol.connection_made(transport)
    return protocol, transport


async def test_buffer_that_does_not_shrink_is_cut():
    """Growing is no progress, and neither is a little."""
    protocol, transport = connected(100_000)
    protocol.check(0.0)
    for now_s, unread in [(10.0, 300_000), (20.0, 240_000), (29.9, 240_000)]:
        transport.unread = unread
        protocol.check(now_s)
    assert not transport.aborted
    protocol.check(30.0)
    assert transport.aborted


async def test_little_of_what_a_client_does_not_read_is_kept():
    """The next answer waits; here 16 KiB, in the kernel what it makes of 256."""
    _, transport = connected(0)
    assert transport.high == 16_384


async def test_progress_starts_the_time_again():
    """Of 64 KB, or down to where uvicorn goes on to write, or to the end."""
    protocol, transport = connected(200_000)
    protocol.check(0.0)
    transport.unread = 130_000
    protocol.check(20.0)  # 70,000 bytes were read
    protocol.check(29.9)
    protocol.resume_writing()
    protocol.check(30.0)
    protocol.check(59.9)
    transport.unread = 0
    protocol.check(60.0)
    transport.unread = 1
    protocol.check(61.0)
    protocol.check(90.9)
    assert not transport.aborted
    protocol.check(91.0)
    assert transport.aborted
