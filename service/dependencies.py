"""What endpoints ask for. `create_app` and its lifespan put these into `app.state`."""

from collections.abc import Callable, Coroutine
from typing import Annotated, Any, NamedTuple

from fastapi import Depends, Request, Response
from fastapi.routing import APIRoute

from service.answers import Answers
from service.errors import NotReadyError
from service.logs import RECORD_KEY, RequestRecord
from service.metrics import Metrics
from service.registry import Registry
from service.settings import Settings


class Context(NamedTuple):
    """What a request is answered with."""

    registry: Registry
    settings: Settings
    record: RequestRecord
    answers: Answers


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
    state = request.app.state
    return Context(registry, state.settings, request.scope[RECORD_KEY], state.answers)


MetricsDep = Annotated[Metrics, Depends(_metrics)]
RegistryDep = Annotated[Registry, Depends(_registry)]
ContextDep = Annotated[Context, Depends(_context)]


class DirectRoute(APIRoute):
    """Calls `endpoint(request, context)` itself: to have FastAPI do it costs 28 us of CPU more.

    FastAPI does it all the same once the application overrides a dependency, as tests do.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """How the route answers."""
        solve = super().get_route_handler()

        async def handle(request: Request) -> Response:
            if request.app.dependency_overrides:
                return await solve(request)
            response: Response = await self.endpoint(request, await _context(request))
            return response

        return handle
