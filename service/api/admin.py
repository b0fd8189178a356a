"""`/admin`: which version answers, and changing it. On a port of its own, see `service.admin`."""

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, Field

from service.api.schemas import problem_responses
from service.dependencies import RegistryDep
from service.errors import (
    ClosedError,
    ForbiddenError,
    NotReadyError,
    UnauthenticatedError,
    UnknownModelError,
    VersionChangeError,
    VersionRefusedError,
)
from service.registry import Change


class VersionsResponse(BaseModel):
    """The versions of the model."""

    model: str
    active: str = Field(description="Answers requests that name no version.")
    loaded: list[str] = Field(description="In memory, the active one first.")
    available: list[str] = Field(description="On disk, the highest last.")


class ChangeResponse(BaseModel):
    """What has been changed."""

    outcome: str = Field(description="`activated`, or `unchanged` if it was active already.")
    active: str
    duration_s: float = Field(description="Reading, verifying and warming included.")
    labels_added: list[str] = Field(description="Labels that the version before did not have.")
    labels_removed: list[str] = Field(description="Labels that only the version before had.")


async def _refuse_browsers(request: Request) -> None:
    """A page on any site could have a browser send a POST here; with it goes an Origin."""
    if "origin" in request.headers:
        raise ForbiddenError("the admin routes are not for browsers")


router = APIRouter(prefix="/admin", tags=["admin"], dependencies=[Depends(_refuse_browsers)])

_PROBLEMS = (UnauthenticatedError, ForbiddenError, NotReadyError, ClosedError)


@router.get(
    "/versions",
    summary="Which versions there are",
    responses=problem_responses(*_PROBLEMS, VersionRefusedError),
)
async def versions(registry: RegistryDep) -> VersionsResponse:
    """What is active, in memory, and on disk."""
    loaded = [classifier.model.manifest for classifier in registry.classifiers]
    return VersionsResponse(
        model=loaded[0].name,
        active=loaded[0].version,
        loaded=[manifest.version for manifest in loaded],
        available=await registry.available(),
    )


@router.post(
    "/versions/{version}",
    summary="Load a version and let it answer",
    responses=problem_responses(
        *_PROBLEMS, UnknownModelError, VersionChangeError, VersionRefusedError
    ),
)
async def activate(version: str, registry: RegistryDep) -> ChangeResponse:
    """Answers when it is active; until then, and if it is refused, the one before serves on."""
    return _to_wire(await registry.activate(version))


@router.post(
    "/rollback",
    summary="Go back to the version before",
    responses=problem_responses(*_PROBLEMS, VersionChangeError),
)
async def rollback(registry: RegistryDep) -> ChangeResponse:
    """At once: it is still in memory. A load that is under way is given up."""
    return _to_wire(registry.rollback())


def _to_wire(change: Change) -> ChangeResponse:
    return ChangeResponse(
        outcome=change.outcome,
        active=change.version or "",
        duration_s=round(change.duration_s, 3),
        labels_added=list(change.labels_added),
        labels_removed=list(change.labels_removed),
    )
