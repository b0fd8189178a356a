"""`GET /v1/models`."""

import orjson
from fastapi import APIRouter, Response

from service.api.held import HeldResponse
from service.api.schemas import ModelsResponse, problem_responses
from service.dependencies import ContextDep
from service.errors import (
    NotReadyError,
    QueueFullError,
    RateLimitedError,
    UnauthenticatedError,
)
from service.loader import LoadedModel

router = APIRouter(prefix="/v1", tags=["models"])


@router.get(
    "/models",
    summary="What is served",
    response_model=ModelsResponse,
    responses=problem_responses(
        UnauthenticatedError, RateLimitedError, NotReadyError, QueueFullError
    ),
)
async def models(context: ContextDep) -> Response:
    """The loaded versions; the first one answers requests that name none."""
    loaded = [classifier.model for classifier in context.registry.classifiers]
    # Not by pydantic, which takes 20 ms for 60,000 labels and with it the event loop.
    content = orjson.dumps({"models": list(map(_info, loaded))})
    return HeldResponse(content, context.answers, context.answers.hold(len(content)))


def _info(model: LoadedModel) -> dict[str, object]:
    """What `ModelInfo` describes."""
    manifest = model.manifest
    return {
        "name": manifest.name,
        "version": manifest.version,
        "labels": manifest.labels,
        "max_length": manifest.max_length,
        "precision": manifest.precision,
        "manifest_sha256": model.manifest_sha256,
        "execution_provider": model.engine.execution_provider,
        "metrics": manifest.metrics,
    }
