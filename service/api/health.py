"""`/health/live`, `/health/ready` with their other names, `/metrics`: for orchestrators."""

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST

from service.api.schemas import Health, problem_responses
from service.dependencies import MetricsDep
from service.errors import NotReadyError, RateLimitedError, UnauthenticatedError
from service.http.auth import LIVE, READY

router = APIRouter(tags=["operations"])


@router.get("/health/live", summary="Is the process up?", responses=problem_responses())
async def live() -> Health:
    """200 as long as the process answers. Also at `/livez` and `/healthz`."""
    return Health()


@router.get(
    "/health/ready",
    summary="Does it take requests?",
    responses=problem_responses(NotReadyError),
)
async def ready(request: Request) -> Health:
    """200 once the model is loaded and warm, until the process is told to stop.

    Also at `/readyz`, `/ready`, `/health` and `/ping`.
    """
    if not request.app.state.ready:
        raise NotReadyError("no model is loaded, or the service is shutting down")
    return Health()


for _path in LIVE[1:]:
    router.add_api_route(_path, live, include_in_schema=False)
for _path in READY[1:]:
    router.add_api_route(_path, ready, include_in_schema=False)


@router.get(
    "/metrics",
    summary="Prometheus metrics",
    response_class=Response,
    responses={
        200: {"content": {"text/plain": {"schema": {"type": "string"}}}},
        **problem_responses(UnauthenticatedError, RateLimitedError),
    },
)
async def metrics(metrics: MetricsDep) -> Response:
    """The Prometheus text format."""
    return Response(metrics.render(), media_type=CONTENT_TYPE_LATEST)
