"""Who may come in: keys, scopes and quotas, decided before the body is read."""

import time
from collections.abc import Collection, Mapping
from datetime import UTC, datetime

from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send
from structlog.typing import FilteringBoundLogger

from service.errors import ForbiddenError, RateLimitedError, RequestError, UnauthenticatedError
from service.http.keys import Key, Keys, ScopeName
from service.http.problems import to_response
from service.http.ratelimit import RateLimiter, header_fields
from service.logs import RECORD_KEY, RequestRecord
from service.settings import Settings

# Under these names orchestrators, balancers and people look first. Those that may take an instance
# out of use ask whether it is ready; those that may end it, whether it lives.
LIVE = ("/health/live", "/livez", "/healthz")
READY = ("/health/ready", "/readyz", "/ready", "/health", "/ping")
PROBES = frozenset({*LIVE, *READY})
# What they say is the same for every Heed.
DOCS = frozenset(
    {
        *("/docs", "/docs/start.js", "/docs/swagger-ui.css", "/docs/swagger-ui-bundle.js"),
        "/openapi.json",
    }
)
_CLASSIFY: Mapping[str, ScopeName] = {"/v1/classify": "classify"}
_KEY = "heed.key"  # where the `Key` of a request stands in the ASGI scope
_HOW = "expected an API key: Authorization: Bearer KEY, or X-API-Key: KEY"


class Authenticate:
    """Pure ASGI: lets those through whose key is active, has the scope and has not used it up.

    Anything but `open_paths` needs a key, also what does not exist: a stranger learns no route.
    """

    def __init__(
        self,
        app: ASGIApp,
        keys: Keys,
        default_rate: float,
        open_paths: Collection[str],
        scopes: Mapping[str, ScopeName],
    ) -> None:
        """Wrap `app`.

        Args:
            app: what is protected; `Observe` is around both.
            keys: who is known.
            default_rate: requests a second of a key whose entry names none; 0 is no limit.
            open_paths: those that need no key.
            scopes: beginnings of paths, and what a key needs to go there; the first one counts.
        """
        self._app = app
        self._keys = keys
        self._default_rate = default_rate
        self._open_paths = open_paths
        self._scopes = tuple(scopes.items())
        self._limiter = RateLimiter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http" or scope["path"] in self._open_paths:
            await self._app(scope, receive, send)
            return
        fields: dict[str, str] = {}  # of a refusal
        try:
            self._admit(scope, fields)
        except RequestError as error:
            await to_response(error, scope[RECORD_KEY], fields)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _admit(self, scope: Scope, fields: dict[str, str]) -> None:
        credentials, batch = _read_headers(scope)
        now = time.monotonic()
        try:
            key = self._identify(credentials, scope, now)
        except UnauthenticatedError:
            invalid = ', error="invalid_token"' if credentials else ""
            fields["WWW-Authenticate"] = f'Bearer realm="heed"{invalid}'
            fields["Connection"] = "close"  # nobody reads the body of a stranger
            raise
        self._limit(key, scope[RECORD_KEY], now)
        needed = next((name for path, name in self._scopes if scope["path"].startswith(path)), None)
        scope[_KEY] = key
        if needed is not None:
            require_scope(scope, needed)
        if batch:
            require_scope(scope, "batch")

    def _identify(self, credentials: list[bytes], scope: Scope, now: float) -> Key:
        if len(credentials) != 1:
            raise UnauthenticatedError("more than one API key was sent" if credentials else _HOW)
        key = self._keys.verify(credentials[0], now)
        if key is None:
            raise UnauthenticatedError("the API key is not known here")
        scope[RECORD_KEY].caller = {"key": key.id, "client": key.client}
        state = key.state(datetime.now(UTC))
        if state != "active":
            raise UnauthenticatedError(f"the API key is {state}")
        return key

    def _limit(self, key: Key, record: RequestRecord, now: float) -> None:
        """Count the request, also one that will be refused for its scope or its content."""
        quota = key.quota(self._default_rate)
        if quota is None:
            return
        grant = self._limiter.take(key.id, quota, now)
        # `Observe` gives them to every answer, also to those of layers in between.
        fields = header_fields(quota, grant).items()
        record.fields = [(name.lower().encode(), value.encode()) for name, value in fields]
        if not grant.allowed:
            reason = f"the API key may make {quota.rate:g} requests a second, {quota.burst} at once"
            raise RateLimitedError(reason, grant.retry_after_s)


def install(
    app: FastAPI,
    settings: Settings,
    logger: FilteringBoundLogger,
    *,
    open_paths: Collection[str] | None = None,
    scopes: Mapping[str, ScopeName] = _CLASSIFY,
) -> None:
    """Protect `app` if a key file is configured; else nothing stands in the way of a request.

    Args:
        app: gets the middleware; whatever is added later is around it.
        settings: name the key file, and the quota of a key whose entry names none.
        logger: learns when the file is read.
        open_paths: those that need no key; by default the probes, and /docs if it is on.
        scopes: as for `Authenticate`; `{"/": "admin"}` for the admin routes.

    Raises:
        KeyFileError: the file cannot be used.
    """
    if settings.api_keys_file is None:
        return
    if open_paths is None:
        open_paths = PROBES | DOCS if settings.docs_enabled else PROBES
    app.add_middleware(
        Authenticate,
        keys=Keys(settings.api_keys_file, logger, time.monotonic()),
        default_rate=settings.key_rate_limit,
        open_paths=open_paths,
        scopes=scopes,
    )


def require_scope(scope: Scope, name: ScopeName) -> None:
    """Check what the key of a request may do; everything where no keys are configured.

    Raises:
        ForbiddenError: not this.
    """
    key: Key | None = scope.get(_KEY)
    if key is not None and name not in key.scopes:
        raise ForbiddenError(f"the API key has no scope {name!r}")


def require_model(scope: Scope, name: str) -> None:
    """Check whether the key of a request may use this model; any where no keys are configured.

    Raises:
        ForbiddenError: it may not.
    """
    key: Key | None = scope.get(_KEY)
    if key is not None and key.models is not None and name not in key.models:
        raise ForbiddenError("the API key may not use this model")


def _read_headers(scope: Scope) -> tuple[list[bytes], bool]:
    """What was sent as a key, in either way, and whether the request is of priority batch."""
    credentials, batch = [], False
    for name, value in scope["headers"]:
        if name == b"x-api-key":
            credentials.append(value.strip())
        elif name == b"authorization":
            scheme, _, rest = value.partition(b" ")
            if scheme.lower() == b"bearer":
                credentials.append(rest.strip())
        elif name == b"x-request-priority":
            batch = batch or value.strip().lower() == b"batch"
    return credentials, batch
