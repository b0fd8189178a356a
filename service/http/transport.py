"""What uvicorn holds for the transport."""

import asyncio
from collections.abc import Callable
from typing import Any


class Handle:
    """The methods of a transport that uvicorn and its server call; each may be replaced.

    They are attributes, so that a call costs what it does on the transport itself.
    """

    __slots__ = (
        "abort",
        "close",
        "get_extra_info",
        "is_closing",
        "pause_reading",
        "resume_reading",
        "write",
    )

    abort: Callable[[], None]
    close: Callable[[], None]
    get_extra_info: Callable[..., Any]
    is_closing: Callable[[], bool]
    pause_reading: Callable[[], None]
    resume_reading: Callable[[], None]
    write: Callable[[bytes], None]

    def __init__(self, transport: asyncio.Transport) -> None:
        """Do what `transport` does."""
        for name in self.__slots__:
            setattr(self, name, getattr(transport, name))
