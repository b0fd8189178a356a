"""A client that leaves: what it asked for is not computed any more."""

import asyncio
from collections.abc import Coroutine
from typing import TypeVar

from starlette.types import Receive

from service.errors import ClientDisconnectedError

ResultT = TypeVar("ResultT")

_PATIENCE_S = 0.05  # a request answered sooner pays for a timer (1 us) instead of a task


async def unless_disconnected(receive: Receive, work: Coroutine[None, None, ResultT]) -> ResultT:
    """The result of `work`, which is cancelled if the client leaves. The body must be read.

    Raises:
        ClientDisconnectedError: the client left first.
    """
    loop = asyncio.get_running_loop()
    caller = asyncio.current_task()
    watchers: list[asyncio.Task[None]] = []
    left = False

    async def watch() -> None:
        nonlocal left
        while (await receive())["type"] != "http.disconnect":
            pass
        left = True
        if caller is not None:
            caller.cancel()

    timer = loop.call_later(_PATIENCE_S, lambda: watchers.append(loop.create_task(watch())))
    try:
        return await work
    except asyncio.CancelledError:
        if left and caller is not None and not caller.uncancel():
            raise ClientDisconnectedError("the client left before the answer") from None
        raise
    finally:
        timer.cancel()
        for watcher in watchers:
            watcher.cancel()
