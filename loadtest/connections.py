"""Kept-alive connections to one service, on gevent: one for each request in flight."""

import json
import resource
import select
import time
from collections.abc import Mapping
from dataclasses import dataclass

import gevent
from gevent.monkey import get_original
from geventhttpclient.client import HTTPClient
from geventhttpclient.url import URL

from loadtest.fetch import clean
from loadtest.payloads import Payload
from loadtest.result import OK, TIMEOUT

MAX_SLOTS = 8_000  # of one process: below what one local address has ports for
SPARE_FILES = 64
MAX_ANSWER = 256_000_000  # bytes: more than any proper one
MAX_PROBLEM = 20_000
TOO_LARGE = "answer too large"
_poll = get_original("select", "poll")  # returns at once with 0: nothing to hand over to gevent


@dataclass(slots=True)
class Answer:
    """What became of a request. Moments are monotonic seconds.

    Attributes:
        outcome: `ok`, `timeout`, or a failure's short name, which never quotes the text sent.
        first_byte: when the head of the answer was there; None without an answer.
        version: of the model that answered.
        detail: what the service said of a failure.
    """

    outcome: str
    end: float
    first_byte: float | None = None
    size: int = 0
    version: str | None = None
    detail: str = ""


class Connections:
    """Sends requests at once, on an idle connection if there is one, else on a new one."""

    def __init__(self, url: str, headers: Mapping[str, str], timeout_s: float) -> None:
        """Nothing is opened yet; `timeout_s` bounds connecting."""
        self._url = URL(url)
        self._prefix = self._url.path.rstrip("/")
        self._headers = {"Content-Type": "application/json", **headers}
        self._timeout_s = timeout_s
        self._idle: list[HTTPClient] = []

    def post(self, payload: Payload, until: float) -> Answer:
        """Post and read the whole answer; never raises for what a server can do.

        Args:
            payload: what to send, and how many results a proper answer holds.
            until: monotonic moment at which the request is a timeout.
        """
        path, headers = self._prefix + payload.path, self._headers | payload.headers
        client = self._idle.pop() if self._idle else self._connect()
        timer = gevent.Timeout.start_new(max(0.001, until - time.monotonic()))
        try:
            response = client.request("POST", path, payload.body, headers)
            first_byte = time.monotonic()
            content = bytes(response.read(MAX_ANSWER + 1))
            fits = len(content) <= MAX_ANSWER
            answer = Answer(OK if fits else TOO_LARGE, time.monotonic(), first_byte, len(content))
        except gevent.Timeout as timeout:
            if timeout is not timer:
                raise
            answer = Answer(TIMEOUT, time.monotonic())
        except Exception as error:  # whatever it is, the request has its outcome
            name = TIMEOUT if isinstance(error, TimeoutError) else type(error).__name__
            answer = Answer(name, time.monotonic())
        finally:
            timer.close()
        if answer.outcome != OK:
            client.close()
            return answer
        self._idle.append(client)
        answer.outcome, answer.version = judge_answer(response.status_code, content, payload.texts)
        if answer.outcome != OK:
            answer.detail = detail_of(content)
        return answer

    def _connect(self) -> HTTPClient:
        client = HTTPClient.from_url(
            self._url,
            concurrency=1,
            connection_timeout=self._timeout_s,
            network_timeout=self._timeout_s,
        )
        client._connection_pool._is_socket_alive = _is_alive  # type: ignore[method-assign]  # see there
        return client


def detail_of(content: bytes | str) -> str:
    """The `detail` of a problem (RFC 9457); empty where there is none."""
    try:
        said = json.loads(content[:MAX_PROBLEM])["detail"]
    except (ValueError, KeyError, TypeError, IndexError, RecursionError):
        return ""
    return clean(said) if isinstance(said, str) else ""


def judge_answer(status: int, content: bytes | str, texts: int) -> tuple[str, str | None]:
    """The outcome of a whole answer, and the version of the model that gave it.

    Args:
        status: HTTP status.
        content: body.
        texts: as many results a proper answer holds.
    """
    if status != 200:
        return f"status {status}", None
    try:
        answer = json.loads(content)
        results, version = answer["results"], answer.get("version")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return "no results in the answer", None
    if not isinstance(results, list) or len(results) != texts:
        return "wrong number of results", None
    return OK, clean(version) if isinstance(version, str) else None


def slots_for(rate_rps: float, timeout_s: float) -> int:
    """Requests that may be in flight: every one may last until its timeout, and a half more.

    Bounded by the files that the process may open.
    """
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(1, min(64 + int(1.5 * rate_rps * timeout_s), MAX_SLOTS, files - SPARE_FILES))


def _is_alive(sock: gevent.socket.socket | None) -> bool:
    """Whether an idle connection can be used: open, and nothing has come in.

    Stands in for geventhttpclient's own check, whose select() takes no file number above 1,023.
    """
    if sock is None or sock.fileno() < 0:
        return False
    poll = _poll()
    poll.register(sock.fileno(), select.POLLIN)
    return not poll.poll(0)
