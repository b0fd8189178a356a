"""A constant load of requests on keep-alive connections, which retries nothing."""

import asyncio
import json
import time
from collections import Counter
from dataclasses import dataclass, field

TIMEOUT_S = 20.0
_BODY = json.dumps({"inputs": "I was charged twice for one purchase"}).encode()
_REQUEST = (
    b"POST /v1/classify HTTP/1.1\r\nHost: heed\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(_BODY), _BODY)
)


@dataclass
class Tally:
    """What became of the requests: a status, or the name of an exception, and when."""

    outcomes: Counter[str] = field(default_factory=Counter)
    durations_s: list[float] = field(default_factory=list)
    failed_at: list[float] = field(default_factory=list)  # on the monotonic clock

    @property
    def sent(self) -> int:
        """Number of requests."""
        return self.outcomes.total()

    @property
    def failed(self) -> int:
        """Number of those that were not answered 200."""
        return self.sent - self.outcomes["200"]

    def count(self, outcome: str, started: float) -> None:
        """Note one."""
        ended = time.monotonic()
        self.outcomes[outcome] += 1
        self.durations_s.append(ended - started)
        if outcome != "200":
            self.failed_at.append(ended)


class Load:
    """Sends `rate_rps` requests a second to a port of this machine, evenly, until it is stopped.

    A request takes a connection that is free, the one used last first, or opens one; as many are
    open as requests are under way. So it is an open loop: a slow answer delays no other request.
    """

    def __init__(self, port: int, rate_rps: float) -> None:
        self.tally = Tally()
        self._port, self._rate_rps = port, rate_rps
        self._free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self._stopped = asyncio.Event()
        self._under_way: set[asyncio.Task[None]] = set()

    def stop(self) -> None:
        """Send no more; `run` returns when all are answered."""
        self._stopped.set()

    async def run(self) -> Tally:
        """Send until `stop`."""
        loop = asyncio.get_running_loop()
        started, number = loop.time(), 0
        while not self._stopped.is_set():
            task = loop.create_task(self._send())
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)
            number += 1
            await asyncio.sleep(max(0.0, started + number / self._rate_rps - loop.time()))
        await asyncio.gather(*self._under_way)
        for _, writer in self._free:
            writer.close()
        return self.tally

    async def _send(self) -> None:
        started = time.monotonic()
        try:
            async with asyncio.timeout(TIMEOUT_S):
                outcome = await self._ask()
        except (OSError, EOFError, TimeoutError) as error:
            outcome = type(error).__name__
        self.tally.count(outcome, started)

    async def _connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A free one that was not closed while it was idle, as every pool of connections checks."""
        while self._free:
            reader, writer = self._free.pop()
            if not reader.at_eof():
                return reader, writer
            writer.close()
        return await asyncio.open_connection("127.0.0.1", self._port)

    async def _ask(self) -> str:
        reader, writer = await self._connection()
        try:
            writer.write(_REQUEST)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = head.partition(b"content-length:")[2].partition(b"\r\n")[0]
            await reader.readexactly(int(length))
        except BaseException:
            writer.close()
            raise
        if b"connection: close" in head:
            writer.close()
        else:
            self._free.append((reader, writer))
        return head[9:12].decode()
