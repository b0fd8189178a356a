"""Every error as `application/problem+json` (RFC 9457), none with a part of the request in it."""

import difflib
import math
from collections.abc import Collection, Mapping

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from service.errors import (
    ANSWERS,
    INTERNAL,
    Answer,
    BodyTooLargeError,
    FieldProblem,
    InvalidRequestError,
    OverloadError,
    RetryError,
)
from service.logs import RECORD_KEY, RequestRecord, frames
from service.runtime.engine import EngineError

MEDIA_TYPE = "application/problem+json"

_ROUTING = {
    404: Answer(404, "not-found", "Not found", "invalid"),
    405: Answer(405, "method-not-allowed", "Method not allowed", "invalid"),
}
_DETAILS = {404: "there is nothing at this path", 405: "this path has no such method"}
_LONGEST = 64  # characters of a path that may be a misspelt one


def body_of(
    answer: Answer, detail: str, request_id: str, problems: tuple[FieldProblem, ...] = ()
) -> dict[str, object]:
    """The members of a problem."""
    body: dict[str, object] = {
        "type": f"urn:heed:problem:{answer.slug}",
        "title": answer.title,
        "status": answer.status,
        "detail": detail,
        "request_id": request_id,
    }
    if problems:
        body["errors"] = [problem._asdict() for problem in problems]
    return body


def to_response(
    error: Exception,
    record: RequestRecord,
    headers: Mapping[str, str] | None = None,
    shed_status: int = 503,
    hint: str = "",
) -> Response:
    """The response to `error`, with a `hint`; notes in `record` what becomes of it."""
    answer, detail = _describe(error)
    if isinstance(error, OverloadError):
        answer = answer._replace(status=shed_status)
    record.outcome = answer.outcome
    if answer.status == 500:
        record.frames = frames(error)
    problems = error.problems if isinstance(error, InvalidRequestError) else ()
    extra = dict(headers or {})
    if isinstance(error, RetryError):
        extra["Retry-After"] = str(max(1, math.ceil(error.retry_after_s)))
    if isinstance(error, BodyTooLargeError):
        extra["Connection"] = "close"  # the rest of the body will not be read
    content = orjson.dumps(body_of(answer, detail + hint, record.request_id, problems))
    return Response(content, answer.status, extra, MEDIA_TYPE)


def install(app: FastAPI, shed_status: int, paths: Collection[str]) -> None:
    """Answer the errors of Heed, and those of the framework, as problems.

    Args:
        app: whose errors.
        shed_status: of a request that is refused because of load.
        paths: that a misspelt one may be.
    """

    async def handle(request: Request, error: Exception) -> Response:
        record = request.scope[RECORD_KEY]
        if not isinstance(error, HTTPException):
            return to_response(error, record, None, shed_status)
        headers = _allow(error)
        hint = f": it takes {headers['Allow']}" if "Allow" in headers else ""
        if error.status_code == 404 and (meant := _nearest(request.scope["path"], paths)):
            hint = f"; perhaps {meant} was meant"
        return to_response(error, record, headers, shed_status, hint)

    for kind in (*ANSWERS, HTTPException, RequestValidationError):
        app.add_exception_handler(kind, handle)


def _nearest(path: str, known: Collection[str]) -> str | None:
    """That of the `known` paths which was probably meant."""
    if len(path) > _LONGEST:
        return None
    plain = "/" + "/".join(part for part in path.lower().split("/") if part)
    return next(iter(difflib.get_close_matches(plain, known, 1, 0.75)), None)


def _allow(error: HTTPException) -> dict[str, str]:
    """The header fields of a 405: HEAD is answered wherever GET is, see `headers.HeadAsGet`."""
    headers = dict(error.headers or {})
    methods = set(headers.get("Allow", "").split(", "))
    if "GET" in methods:
        headers["Allow"] = ", ".join(sorted(methods | {"HEAD"}))
    return headers


def _describe(error: Exception) -> tuple[Answer, str]:
    answer = ANSWERS.get(type(error))
    if isinstance(error, EngineError):
        return ANSWERS[EngineError], "the engine failed on a batch with this request"
    if answer is not None:
        return answer, str(error)
    if isinstance(error, HTTPException) and error.status_code in _ROUTING:
        return _ROUTING[error.status_code], _DETAILS[error.status_code]
    if isinstance(error, RequestValidationError):
        return ANSWERS[InvalidRequestError], "a parameter of the request is not valid"
    return INTERNAL, "an unexpected error; the log has it under this request_id"
