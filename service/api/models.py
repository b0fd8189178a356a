"""`GET /v1/models`."""

from fastapi import APIRouter

from service.api.schemas import ModelInfo, ModelsResponse, problem_responses
from service.dependencies import RegistryDep
from service.errors import NotReadyError, RateLimitedError, UnauthenticatedError

router = APIRouter(prefix="/v1", tags=["models"])


@router.get(
    "/models",
    summary="What is served",
    responses=problem_responses(UnauthenticatedError, RateLimitedError, NotReadyError),
)
async def models(registry: RegistryDep) -> ModelsResponse:
    """The loaded versions; the first one answers requests that name none."""
    return ModelsResponse(
        models=[
            ModelInfo(
                name=loaded.manifest.name,
                version=loaded.manifest.version,
                labels=list(loaded.manifest.labels),
                max_length=loaded.manifest.max_length,
                precision=loaded.manifest.precision,
                manifest_sha256=loaded.manifest_sha256,
                execution_provider=loaded.engine.execution_provider,
                metrics=loaded.manifest.metrics,
            )
            for loaded in (classifier.model for classifier in registry.classifiers)
        ]
    )
