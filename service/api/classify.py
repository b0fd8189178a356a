"""`POST /v1/classify`."""

import orjson
from fastapi import APIRouter, Request, Response
from pydantic import ValidationError

from service.api.schemas import ClassifyRequest, ClassifyResponse, problem_responses
from service.classifier import Classification
from service.dependencies import ContextDep
from service.errors import (
    BodyTooLargeError,
    ClosedError,
    DeadlineExceededError,
    FieldProblem,
    InvalidRequestError,
    MalformedBodyError,
    NotReadyError,
    QueueFullError,
    UnknownModelError,
    UnsupportedMediaTypeError,
)
from service.http.disconnect import unless_disconnected
from service.runtime.engine import EngineError
from service.settings import Settings

router = APIRouter(prefix="/v1", tags=["classify"])

_PROBLEMS = problem_responses(
    MalformedBodyError,
    UnknownModelError,
    BodyTooLargeError,
    UnsupportedMediaTypeError,
    InvalidRequestError,
    EngineError,
    NotReadyError,
    QueueFullError,
    ClosedError,
    DeadlineExceededError,
)
# The body is not a parameter: from bytes to the checked model in one pass of pydantic-core, where
# FastAPI would go through Python objects. So OpenAPI is told by hand.
_BODY = {
    "required": True,
    "content": {"application/json": {"schema": ClassifyRequest.model_json_schema()}},
}
_TAGS = frozenset({"text", "list"})
# pydantic's words, where they would not do. No name of a field that was sent: it could hold text.
_MESSAGES = {
    "extra_forbidden": f"has an unknown field; known: {', '.join(ClassifyRequest.model_fields)}",
    "model_type": "must be an object",
}


@router.post(
    "/classify",
    summary="Classify texts",
    response_model=ClassifyResponse,
    responses=_PROBLEMS,
    openapi_extra={"requestBody": _BODY},
)
async def classify(request: Request, context: ContextDep) -> Response:
    """The best label of each text, with the probabilities of all, and on demand of its words."""
    body = await _read(request)
    texts = body.texts
    context.record.texts = len(texts)
    _check(body, context.settings)
    classifier = context.registry.resolve(body.model, body.version)
    results = await unless_disconnected(
        request.receive, classifier.classify(texts, body.top_k, body.explain == "attention")
    )
    context.record.tokens = sum(result.tokens for result in results)
    manifest = classifier.model.manifest
    answer = {
        "model": manifest.name,
        "version": manifest.version,
        "results": [_to_wire(result) for result in results],
    }
    return Response(orjson.dumps(answer), media_type="application/json")


async def _read(request: Request) -> ClassifyRequest:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise UnsupportedMediaTypeError("expected a body with Content-Type: application/json")
    if request.headers.get("content-encoding", "identity") != "identity":
        raise UnsupportedMediaTypeError("expected a body without Content-Encoding")
    try:
        return ClassifyRequest.model_validate_json(await request.body())
    except ValidationError as error:
        # Never the input, nor the context: they hold the text.
        problems = error.errors(include_url=False, include_context=False, include_input=False)
    if problems[0]["type"] == "json_invalid":
        raise MalformedBodyError(
            "the body is not JSON in UTF-8, or a string in it holds half a surrogate pair"
        )
    raise InvalidRequestError(
        [
            FieldProblem(_location(problem["loc"]), _MESSAGES.get(problem["type"], problem["msg"]))
            for problem in problems
        ]
    )


def _check(body: ClassifyRequest, settings: Settings) -> None:
    texts = body.texts
    if len(texts) > settings.max_texts_per_request:
        limit = settings.max_texts_per_request
        problem = FieldProblem("inputs", f"has {len(texts)} texts, at most {limit} are allowed")
        raise InvalidRequestError([problem])
    problems = []
    for index, text in enumerate(texts):
        location = "inputs" if isinstance(body.inputs, str) else f"inputs[{index}]"
        if not text or text.isspace():
            problems.append(FieldProblem(location, "is empty"))
        elif "\0" in text:
            problems.append(FieldProblem(location, "holds a NUL character"))
        elif len(text) > settings.max_text_chars:
            limit = settings.max_text_chars
            message = f"has {len(text)} characters, at most {limit} are allowed"
            problems.append(FieldProblem(location, message))
    if problems:
        raise InvalidRequestError(problems)


def _location(parts: tuple[int | str, ...]) -> str:
    """`("inputs", "list", 2)` as `inputs[2]`. The name of an unknown field is not repeated."""
    if not parts:
        return "body"
    if parts[0] not in ClassifyRequest.model_fields:
        return "body"
    path = str(parts[0])
    for part in parts[1:]:
        if part not in _TAGS:
            path += f"[{part}]"
    return path


def _to_wire(result: Classification) -> dict[str, object]:
    wire: dict[str, object] = {
        "label": result.label,
        "score": result.score,
        "scores": [{"label": label, "score": score} for label, score in result.scores],
        "tokens": result.tokens,
        "truncated": result.truncated,
    }
    if result.words is not None:
        wire["words"] = [word._asdict() for word in result.words]
    return wire
