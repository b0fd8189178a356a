"""Limits on the path and the body, enforced before the body is read or while it arrives."""

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import BodyTooLargeError, QueueFullError
from service.http.problems import to_response
from service.logs import RECORD_KEY

# Bodies up to that size are not counted as in flight: the server buffers as much of each connection
# anyway, and whoever sends large bodies slowly keeps no ordinary request out.
UNCOUNTED_BYTES = 65_536


class PrintablePath:
    """Pure ASGI: answers 404 to a path with control characters.

    The router would find `/v1/classify` in front of a line break, where the layers that compare
    paths do not see it: no ticket, no deadline, no count.
    """

    def __init__(self, app: ASGIApp) -> None:
        """Wrap `app`; the error is answered by the layer around."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] == "http" and not scope["path"].isprintable():
            raise HTTPException(404)
        await self._app(scope, receive, send)


class SubPath:
    """Pure ASGI: takes `root_path` off the paths that have it.

    Proxies either do so themselves or leave it; both work, at once as well.
    """

    def __init__(self, app: ASGIApp, root_path: str) -> None:
        """Wrap `app`: all that looks at paths is within."""
        self._app = app
        self._root_path = root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] == "http":
            path = scope["path"].removeprefix(self._root_path)
            if path[:1] in ("", "/"):  # not /heed of /heedless
                scope = {**scope, "path": path or "/"}
        await self._app(scope, receive, send)


class BodyLimit:
    """Pure ASGI: limits each body, and all bodies that are held at the same time.

    Answers 413 to a body of more than `max_body_bytes`, announced or not. FastAPI's
    `max_body_size` does the same, but answers some of these in plain text.
    """

    def __init__(self, app: ASGIApp, max_body_bytes: int, max_inflight_body_bytes: int) -> None:
        """Wrap `app`.

        Args:
            app: what is guarded; an error that it lets through is answered by the layer around.
            max_body_bytes: of one body.
            max_inflight_body_bytes: of all bodies above `UNCOUNTED_BYTES` whose requests are not
                answered yet; those that do not fit are refused for load.
        """
        self._app = app
        self._max_body_bytes = max_body_bytes
        self._max_inflight_body_bytes = max_inflight_body_bytes
        self.inflight_body_bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = _content_length(scope)
        if announced > self._max_body_bytes:
            await to_response(self._error(), scope[RECORD_KEY])(scope, receive, send)
            return
        held = self._hold(0, announced)
        received = 0

        async def limited_receive() -> Message:
            nonlocal received, held
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._max_body_bytes:
                raise self._error()  # out of `request.body()`, so answered like any other error
            if received > held:
                held = self._hold(held, received)
            return message

        try:
            await self._app(scope, limited_receive, send)
        finally:
            self.inflight_body_bytes -= held

    def _hold(self, held: int, wanted: int) -> int:
        """Count `wanted` bytes of a request in place of `held`; returns how many are counted.

        Raises:
            QueueFullError: they do not fit beside those of other requests.
        """
        if wanted <= UNCOUNTED_BYTES:
            return held
        inflight = self.inflight_body_bytes + wanted - held
        if inflight > self._max_inflight_body_bytes:
            raise QueueFullError(
                f"the bodies of requests under way would take more than "
                f"{self._max_inflight_body_bytes} bytes"
            )
        self.inflight_body_bytes = inflight
        return wanted

    def _error(self) -> BodyTooLargeError:
        return BodyTooLargeError(f"the body has more than {self._max_body_bytes} bytes")


def _content_length(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() else 0
    return 0
