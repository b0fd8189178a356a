"""The application: wiring only, nothing happens at import."""

import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from structlog.typing import FilteringBoundLogger

from service.answers import Answers
from service.api import classify, docs, health, models, openapi
from service.batcher import Batcher, Hooks
from service.classifier import Classifier
from service.encoder import Encoder
from service.http import auth, problems
from service.http.admission import Admission
from service.http.headers import HeadAsGet, SecurityHeaders, allow_origins
from service.http.limits import BodyLimit, PrintablePath, SubPath
from service.http.observe import Observe, Routes
from service.items import Limits, Ticket
from service.lines import Lines
from service.loader import EngineLike, LoadedModel, ModelStore
from service.logs import make_logger
from service.metrics import Metrics, heed_version
from service.registry import Change, Policy, Registry
from service.service_time import ServiceTime
from service.settings import Settings

_ROUTERS = (classify.router, models.router, health.router)
_PATHS = frozenset(getattr(route, "path", "") for router in _ROUTERS for route in router.routes)
_LOG_S = 0.5  # at the end, for log lines that wait for their reader
_COUNTED = frozenset({"/v1/classify"})  # what needs the engine: the metrics are about these


def create_app(settings: Settings, engine: EngineLike | None = None) -> FastAPI:
    """The service as an ASGI application.

    Args:
        settings: checked settings.
        engine: used in place of the one that the settings describe; for tests.

    Its lifespan raises `ArtifactError` or `EngineError` if the model cannot be served.
    """
    metrics = Metrics(CollectorRegistry())
    encoder = Encoder()
    lines = Lines(sys.stderr)
    lines.on_dropped = metrics.dropped_lines.inc
    logger = make_logger(settings.log_level, lines)

    def on_stall() -> None:
        app.state.ready = False
        app.state.on_stall()

    def make_classifier(model: LoadedModel) -> Classifier:
        service_time = ServiceTime()
        for padded_tokens, seconds in model.warm_up:
            service_time.observe(padded_tokens, seconds)
        batcher = Batcher(
            model.engine,
            len(model.manifest.labels),
            limits_of(settings, model.engine_workers),
            service_time,
            Hooks(metrics.observe_batch, on_stall),
        )
        return Classifier(model, batcher, encoder, metrics.observe_encoded)

    def on_change(change: Change) -> None:
        metrics.observe_change(change.outcome)
        write = logger.error if change.outcome in ("refused", "failed") else logger.info
        write("version", **change._asdict())

    def check(ticket: Ticket) -> None:
        if app.state.registry is not None:
            app.state.registry.resolve().check(ticket)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        registry = Registry(
            ModelStore(settings, engine),
            make_classifier,
            Policy(
                settings.max_loaded_versions, settings.request_timeout_s, settings.load_timeout_s
            ),
            lambda active: metrics.describe(active.model, active),
            on_change,
        )
        await registry.start()
        app.state.registry = registry
        app.state.ready = True
        try:
            yield
        finally:
            app.state.ready = False
            await registry.close(settings.shutdown_grace_s)
            encoder.close()
            lines.close(_LOG_S)

    app = FastAPI(
        title="Heed",
        description="Text classification. Errors are problem+json (RFC 9457).",
        version=heed_version(),
        lifespan=lifespan,
        openapi_url="/openapi.json" if settings.docs_enabled else None,
        docs_url=None,
        redoc_url=None,
        servers=[{"url": settings.root_path}] if settings.root_path else None,
        redirect_slashes=False,
        # FastAPI's own would send messages of exceptions, which may quote a text, to OpenTelemetry.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.state.settings = settings
    app.state.metrics = metrics
    app.state.answers = Answers(settings.max_inflight_answer_bytes)
    app.state.registry = None
    app.state.ready = False
    app.state.on_stall = lambda: None  # what a server does when the engine hangs
    for router in _ROUTERS:
        app.include_router(router)
    if settings.docs_enabled:
        docs.install(app)
    pages = frozenset({"/docs", "/openapi.json"} if settings.docs_enabled else ())
    problems.install(app, settings.shed_status, _PATHS | pages)
    _add_middleware(app, settings, logger, check)
    openapi.install(app, settings)
    return app


def _add_middleware(
    app: FastAPI,
    settings: Settings,
    logger: FilteringBoundLogger,
    check: Callable[[Ticket], None],
) -> None:
    """What a request passes before its endpoint. Added last is outermost."""
    app.add_middleware(HeadAsGet)
    app.add_middleware(
        BodyLimit,
        max_body_bytes=settings.max_body_bytes,
        max_inflight_body_bytes=settings.max_inflight_body_bytes,
    )
    app.add_middleware(PrintablePath)
    app.add_middleware(Admission, paths=_COUNTED, timeout_s=settings.request_timeout_s, check=check)
    auth.install(app, settings, logger)
    app.add_middleware(
        Observe,
        metrics=app.state.metrics,
        logger=logger,
        routes=Routes(known=_PATHS | auth.DOCS, counted=_COUNTED),
        shed_status=settings.shed_status,
    )
    # Around all others, so that a page can also read why it was refused.
    allow_origins(app, settings.origins)
    app.add_middleware(SecurityHeaders)
    if settings.root_path:
        app.add_middleware(SubPath, root_path=settings.root_path)


def limits_of(settings: Settings, workers: int) -> Limits:
    """What the settings say of batches and queue."""
    return Limits(
        max_batch_tokens=settings.max_batch_tokens,
        max_batch_size=settings.max_batch_size,
        max_queue_size=settings.max_queue_size,
        timeout_s=settings.request_timeout_s,
        interactive_share=settings.interactive_share,
        workers=workers,
        stall_s=settings.engine_stall_s,
    )
