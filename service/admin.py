"""The admin routes as an application of their own, for a port that the public does not reach."""

from fastapi import FastAPI

from service.api import admin, health, openapi
from service.http import auth, problems
from service.http.headers import HeadAsGet, SecurityHeaders
from service.http.limits import BodyLimit, PrintablePath
from service.http.observe import Observe, Routes
from service.logs import make_logger
from service.metrics import heed_version

_ROUTERS = (admin.router, health.router)
_MAX_BODY_BYTES = 1024  # no route reads one


def create_admin_app(app: FastAPI) -> FastAPI:
    """Routes that change which version `app` answers with, its probes and its metrics.

    Both share one state: what `app` loads is seen here. Only the lifespan of `app` is entered.

    Raises:
        KeyFileError: API keys are configured, and their file cannot be used.
    """
    settings = app.state.settings
    logger = make_logger(settings.log_level)
    admin_app = FastAPI(
        title="Heed, administration",
        version=heed_version(),
        openapi_url="/openapi.json" if settings.docs_enabled else None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False},  # as in `create_app`
    )
    admin_app.state = app.state
    for router in _ROUTERS:
        admin_app.include_router(router)
    paths = frozenset(getattr(route, "path", "") for router in _ROUTERS for route in router.routes)
    problems.install(admin_app, settings.shed_status, paths)
    admin_app.add_middleware(HeadAsGet)
    admin_app.add_middleware(
        BodyLimit, max_body_bytes=_MAX_BODY_BYTES, max_inflight_body_bytes=_MAX_BODY_BYTES
    )
    admin_app.add_middleware(PrintablePath)
    auth.install(admin_app, settings, logger, scopes={"/": "admin"})
    admin_app.add_middleware(
        Observe, metrics=app.state.metrics, logger=logger, routes=Routes(paths, frozenset())
    )
    admin_app.add_middleware(SecurityHeaders)
    openapi.install(admin_app, settings)
    return admin_app
