"""What endpoints ask for. `create_app` and its lifespan put these into `app.state`."""

from typing import Annotated, NamedTuple

from fastapi import Depends, Request

from service.errors import NotReadyError
from service.logs import RECORD_KEY, RequestRecord
from service.metrics import Metrics
from service.registry import Registry
from service.settings import Settings


class Context(NamedTuple):
    """What a request is answered with. One dependency, as FastAPI needs 12 us to solve each."""

    registry: Registry
    settings: Settings
    record: RequestRecord


# All of them async: FastAPI runs plain functions on a thread, which costs a hop.


async def _metrics(request: Request) -> Metrics:
    metrics: Metrics = request.app.state.metrics
    return metrics


async def _registry(request: Request) -> Registry:
    registry: Registry | None = request.app.state.registry
    if registry is None:
        raise NotReadyError("no model is loaded")
    return registry


async def _context(request: Request) -> Context:
    registry = await _registry(request)
    return Context(registry, request.app.state.settings, request.scope[RECORD_KEY])


MetricsDep = Annotated[Metrics, Depends(_metrics)]
RegistryDep = Annotated[Registry, Depends(_registry)]
ContextDep = Annotated[Context, Depends(_context)]
