"""Blocking work on a thread of its own, which nobody waits for when the process ends."""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

ResultT = TypeVar("ResultT")


async def in_background(work: Callable[[], ResultT]) -> ResultT:
    """The result of `work`, which may block, done on a new thread."""
    return await start(work)


def start(work: Callable[[], ResultT]) -> asyncio.Future[ResultT]:
    """Settled when `work`, which may block, has ended on a new thread.

    Not on the threads of a pool: the interpreter waits for them at exit, and they would keep a
    priority that `work` lowers.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[ResultT] = loop.create_future()

    def settle(result: ResultT | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]  # no error, so there is a result

    def body() -> None:
        result, failure = None, None
        try:
            result = work()
        except BaseException as error:  # handed to the caller, whatever it is
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, result, failure)

    threading.Thread(target=body, name="background", daemon=True).start()
    return future
