"""A limit on the body, enforced before it is read or while it arrives."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import BodyTooLargeError
from service.http.problems import to_response
from service.logs import RECORD_KEY


class BodyLimit:
    """Answers 413 to a body of more than `max_body_bytes`, announced or not.

    FastAPI's `max_body_size` does the same, but answers some of these in plain text.
    """

    def __init__(self, app: ASGIApp, max_body_bytes: int) -> None:
        """Wrap `app`."""
        self._app = app
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if _content_length(scope) > self._max_body_bytes:
            await to_response(self._error(), scope[RECORD_KEY])(scope, receive, send)
            return
        received = 0

        async def limited_receive() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._max_body_bytes:
                raise self._error()  # out of `request.body()`, so answered like any other error
            return message

        await self._app(scope, limited_receive, send)

    def _error(self) -> BodyTooLargeError:
        return BodyTooLargeError(f"the body has more than {self._max_body_bytes} bytes")


def _content_length(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() else 0
    return 0
