"""The application: wiring only, nothing happens at import."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from service.api import classify, health, models
from service.batcher import Batcher, Row
from service.classifier import Classifier
from service.http import problems
from service.http.limits import BodyLimit
from service.http.observe import Observe
from service.loader import EngineLike, load_model
from service.logs import make_logger
from service.metrics import Metrics, heed_version
from service.registry import Registry
from service.scheduler import Scheduler
from service.settings import Settings

_ROUTERS = (classify.router, models.router, health.router)
_DOCS = frozenset({"/docs", "/openapi.json"})


def create_app(settings: Settings, engine: EngineLike | None = None) -> FastAPI:
    """The service as an ASGI application.

    Args:
        settings: checked settings.
        engine: used in place of the one that the settings describe; for tests.

    Its lifespan raises `ArtifactError` or `EngineError` if the model cannot be served.
    """
    metrics = Metrics(CollectorRegistry())

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        model = load_model(settings, engine)
        scheduler: Scheduler[Row] = Scheduler(
            settings.max_batch_tokens, settings.max_batch_size, settings.max_queue_size
        )
        batcher = Batcher(scheduler, model.engine, model.engine_workers, metrics.observe_batch)
        classifier = Classifier(model, batcher, settings.request_timeout_s, metrics.observe_encoded)
        metrics.describe(model, lambda: classifier.queue_depth)
        app.state.registry = Registry([classifier])
        app.state.ready = True
        try:
            yield
        finally:
            app.state.ready = False
            await batcher.close(settings.shutdown_grace_s)

    app = FastAPI(
        title="Heed",
        description="Text classification. Errors are problem+json (RFC 9457).",
        version=heed_version(),
        lifespan=lifespan,
        openapi_url="/openapi.json" if settings.docs_enabled else None,
        redoc_url=None,
        redirect_slashes=False,
        # FastAPI's own would send messages of exceptions, which may quote a text, to OpenTelemetry.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.state.settings = settings
    app.state.metrics = metrics
    app.state.registry = None
    app.state.ready = False
    for router in _ROUTERS:
        app.include_router(router)
    problems.install(app)
    paths = frozenset(getattr(route, "path", "") for router in _ROUTERS for route in router.routes)
    app.add_middleware(BodyLimit, max_body_bytes=settings.max_body_bytes)
    app.add_middleware(  # added last, so outermost
        Observe,
        metrics=metrics,
        logger=make_logger(settings.log_level),
        routes=paths | _DOCS,
        counted=frozenset({"/v1/classify"}),
    )
    return app
