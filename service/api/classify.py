"""`POST /v1/classify`."""

import asyncio
import time
from collections.abc import Sequence

import orjson
from fastapi import APIRouter, Request, Response
from starlette.requests import ClientDisconnect

from service.api.body import check_limits, check_media_type, num_scores, parse
from service.api.held import HeldResponse
from service.api.schemas import ClassifyRequest, ClassifyResponse, problem_responses
from service.classifier import Classification
from service.dependencies import ContextDep, DirectRoute
from service.errors import (
    BodyTooLargeError,
    ClientDisconnectedError,
    ClosedError,
    DeadlineExceededError,
    EngineStalledError,
    ForbiddenError,
    InvalidHeaderError,
    InvalidRequestError,
    MalformedBodyError,
    NotReadyError,
    QueueFullError,
    RateLimitedError,
    TooLateError,
    UnauthenticatedError,
    UnknownModelError,
    UnsupportedMediaTypeError,
)
from service.http.auth import require_model, require_scope
from service.http.disconnect import unless_disconnected
from service.loader import LoadedModel
from service.runtime.engine import EngineError
from service.runtime.explain import WORDS_PER_TOKEN

router = APIRouter(prefix="/v1", tags=["classify"], route_class=DirectRoute)

_PROBLEMS = problem_responses(
    MalformedBodyError,
    InvalidHeaderError,
    UnauthenticatedError,
    ForbiddenError,
    UnknownModelError,
    BodyTooLargeError,
    UnsupportedMediaTypeError,
    InvalidRequestError,
    RateLimitedError,
    EngineError,
    NotReadyError,
    QueueFullError,
    TooLateError,
    EngineStalledError,
    ClosedError,
    DeadlineExceededError,
)
_SCORE_BYTES = 64  # of an answer, for a label with its score
_WORD_BYTES = 56  # for a word with its place and weight
# Neither the body (see `service.api.body`) nor the headers (read before it, in `service.http`) are
# parameters of the endpoint. So OpenAPI is told by hand.
_BODY = {
    "required": True,
    "content": {"application/json": {"schema": ClassifyRequest.model_json_schema()}},
}
_PARAMETERS = [
    {
        "name": "X-Request-Timeout-Ms",
        "in": "header",
        "description": "Milliseconds until the answer is worth nothing; the service's own timeout "
        "if that is shorter.",
        "schema": {"type": "integer", "minimum": 1, "maximum": 10**18 - 1},
    },
    {
        "name": "X-Request-Priority",
        "in": "header",
        "description": "Whether somebody waits for the answer.",
        "schema": {"type": "string", "enum": ["interactive", "batch"], "default": "interactive"},
    },
]


@router.post(
    "/classify",
    summary="Classify texts",
    response_model=ClassifyResponse,
    responses=_PROBLEMS,
    openapi_extra={"requestBody": _BODY, "parameters": _PARAMETERS},
)
async def classify(request: Request, context: ContextDep) -> Response:
    """The best label of each text, with the probabilities of all, and on demand of its words."""
    ticket = context.record.ticket
    if ticket is None:
        raise RuntimeError("the request was not admitted")
    check_media_type(request.scope["headers"])
    body = parse(await _read(request, ticket.deadline), context.settings.max_texts_per_request)
    texts = body.texts
    context.record.texts = len(texts)
    check_limits(body, context.settings)
    if body.explain != "none":
        require_scope(request.scope, "explain")
    classifier = context.registry.resolve(body.model, body.version)
    require_model(request.scope, classifier.model.manifest.name)
    top_k = num_scores(body, len(classifier.model.manifest.labels), context.settings)
    with_words = body.explain == "attention"
    answers = context.answers
    held = answers.hold(_size(texts, classifier.model, top_k, with_words))
    try:
        results = await unless_disconnected(
            request.receive, classifier.classify(texts, ticket, top_k, with_words)
        )
        context.record.tokens = sum(result.tokens for result in results)
        manifest = classifier.model.manifest
        answer = {
            "model": manifest.name,
            "version": manifest.version,
            "results": [_to_wire(result) for result in results],
        }
        return HeldResponse(orjson.dumps(answer), answers, held)
    except BaseException:
        answers.release(held)
        raise


def _size(texts: Sequence[str], model: LoadedModel, top_k: int, with_words: bool) -> int:
    """About how many bytes an answer takes, with the probabilities that it is made of."""
    num_labels, most = len(model.manifest.labels), WORDS_PER_TOKEN * model.manifest.max_length
    size = len(texts) * (num_labels * 4 + top_k * _SCORE_BYTES)
    if with_words:
        size += sum(min(len(text), most) for text in texts) * _WORD_BYTES
    return size


async def _read(request: Request, deadline: float) -> bytes:
    """The whole body; leaving in the middle of it is the client's doing, not an error of ours."""
    try:
        async with asyncio.timeout(deadline - time.monotonic()):
            return await request.body()
    except TimeoutError:
        raise DeadlineExceededError("the body did not come in the time of the request") from None
    except ClientDisconnect:
        raise ClientDisconnectedError("the client left before the end of the body") from None


def _to_wire(result: Classification) -> dict[str, object]:
    wire: dict[str, object] = {
        "label": result.label,
        "score": result.score,
        "scores": orjson.Fragment(result.scores),
        "tokens": result.tokens,
        "truncated": result.truncated,
    }
    if result.words is not None:
        wire["words"] = orjson.Fragment(result.words)
    return wire
