"""What others send or left in a file, read within bounds: of bytes, and of time."""

import http.client
import os
import socket
import ssl
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

MAX_SETTINGS = 1_000_000  # bytes of a file that people write
MAX_NAME = 200  # characters of what a service names or says


class FetchError(Exception):
    """No answer that can be used, in one line; `status` where one came that is not 200."""

    def __init__(self, reason: str, status: int | None = None) -> None:
        super().__init__(reason)
        self.status = status


def fetch(url: str, headers: Mapping[str, str], deadline_s: float, max_bytes: int) -> bytes:
    """The body of a 200 answer to a GET.

    Direct, as the load itself goes, without redirects: they would take the key elsewhere. The
    deadline is that of the whole answer, however slowly it drips.

    Raises:
        FetchError: no whole answer in time, a larger one, another status, or a network error.
    """
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=deadline_s)
    late = threading.Event()
    opened: list[socket.socket] = []  # the connection forgets it when the answer ends with it

    def cut() -> None:
        late.set()
        with suppress(OSError, AttributeError):  # closed, or not connected yet
            (opened[0] if opened else connection.sock).shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(deadline_s, cut)
    timer.daemon = True
    timer.start()
    try:
        connection.connect()
        opened.append(connection.sock)
        connection.request("GET", parts.path or "/", headers=dict(headers))
        response = connection.getresponse()
        if response.status != 200:
            raise FetchError(f"answers {response.status}, not 200", response.status)
        body = response.read(max_bytes + 1)
        if late.is_set():
            raise TimeoutError
    except (OSError, http.client.HTTPException, ValueError, ssl.SSLError) as error:
        if late.is_set() or isinstance(error, TimeoutError):
            raise FetchError(f"no whole answer within {deadline_s:g} s") from None
        raise FetchError(clean(str(error)) or type(error).__name__) from None
    finally:
        timer.cancel()
        connection.close()
        for sock in opened:  # a response that was cut keeps it open
            with suppress(OSError):
                os.close(sock.detach())
    if len(body) > max_bytes:
        raise FetchError(f"answers more than {max_bytes:,} bytes")
    return body


def clean(text: str) -> str:
    """Text of others that can be saved and shown on a line: no half surrogates, and not endless."""
    text = " ".join(text[: 4 * MAX_NAME].encode("utf-8", "replace").decode().split())
    return text if len(text) <= MAX_NAME else f"{text[: MAX_NAME - 3]}..."


def read_file(path: Path, max_bytes: int = MAX_SETTINGS) -> bytes:
    """A file of at most so many bytes; OSError, also for a larger one."""
    with path.open("rb") as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise OSError(27, f"larger than {max_bytes:,} bytes")
    return content
