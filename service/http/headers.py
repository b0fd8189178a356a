"""What every answer tells a browser to refuse, and who may call from one."""

from collections.abc import Collection, Mapping

from fastapi import FastAPI, Response
from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import ForbiddenError
from service.http.problems import to_response
from service.logs import RequestRecord, request_id

Fields = tuple[tuple[bytes, bytes], ...]

# As the OWASP REST Security Cheat Sheet has them. Strict-Transport-Security is for the proxy that
# ends TLS: it alone knows that there is TLS.
_COMMON: Fields = ((b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store"))
API_FIELDS: Fields = (
    *_COMMON,
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)
# Swagger UI, from here only; it sets styles of elements.
_DOCS_POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src data:; "
    b"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
PAGES: Mapping[str, Fields] = {
    "/docs": (
        *_COMMON,
        (b"content-security-policy", _DOCS_POLICY),
        (b"referrer-policy", b"no-referrer"),
    )
}

_ASKED = (
    "Authorization",
    "X-API-Key",
    "X-Request-ID",
    "X-Request-Timeout-Ms",
    "X-Request-Priority",
)
_TOLD = (
    "X-Request-ID",
    "Retry-After",
    "RateLimit",
    "RateLimit-Policy",
    "RateLimit-Limit",
    "RateLimit-Remaining",
    "RateLimit-Reset",
)


class SecurityHeaders:
    """Pure ASGI: adds `API_FIELDS` to every answer, or what its page needs."""

    def __init__(self, app: ASGIApp, pages: Mapping[str, Fields] = PAGES) -> None:
        """Wrap `app`; `pages` are paths for browsers, and their fields."""
        self._app = app
        self._pages = pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        fields = self._pages.get(scope["path"], API_FIELDS)

        async def send_with_fields(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *fields]
            await send(message)

        await self._app(scope, receive, send_with_fields)


class HeadAsGet:
    """Pure ASGI: answers HEAD as it would GET; the server leaves the body out (RFC 9110, 9.3.2)."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap `app`."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] == "http" and scope["method"] == "HEAD":
            scope = {**scope, "method": "GET"}
        await self._app(scope, receive, send)


class _Origins(CORSMiddleware):
    """Starlette's, except that it refuses in plain text."""

    def preflight_response(self, request_headers: Headers) -> Response:
        """What the browser asks before the request of a page."""
        response = super().preflight_response(request_headers)
        if response.status_code < 400:
            return response
        identity = request_id(request_headers.get("x-request-id", "").encode("latin-1"))
        kept = {name: value for name, value in response.headers.items() if name[:8] != "content-"}
        error = ForbiddenError(bytes(response.body).decode())  # which of origin, method, headers
        return to_response(error, RequestRecord(identity), kept | {"X-Request-ID": identity})


def allow_origins(app: FastAPI, origins: Collection[str]) -> None:
    """Let pages of these origins call `app`; nothing is added if there are none.

    No cookies: a key goes into a header, where a foreign page cannot make a browser put it.
    """
    if origins:
        app.add_middleware(
            _Origins,
            allow_origins=tuple(origins),
            allow_methods=("GET", "POST"),
            allow_headers=_ASKED,
            expose_headers=_TOLD,
        )
