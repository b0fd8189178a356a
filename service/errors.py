"""What can go wrong with a request, and how each of it is answered.

    HeedError (service.runtime)
    ├── RequestError
    │   ├── InvalidRequestError        422  a field is wrong; names which
    │   ├── MalformedBodyError         400  the body is no JSON
    │   ├── UnsupportedMediaTypeError  415  the body says that it is no JSON
    │   ├── BodyTooLargeError          413  more bytes than `max_body_bytes`
    │   ├── UnknownModelError          404  a model or version that is not served
    │   ├── VersionChangeError         409  the version that answers cannot be changed now
    │   ├── VersionRefusedError        422  an artifact that is not fit to answer
    │   ├── ClientDisconnectedError    499  nobody is there to read the answer
    │   ├── InvalidHeaderError         400  a header of ours has an unusable value
    │   ├── UnauthenticatedError       401  no key, or none that is active
    │   ├── ForbiddenError             403  the key lacks the scope
    │   ├── RateLimitedError           429  the key has used up its quota
    │   ├── UnavailableError           503  try again later
    │   │   ├── NotReadyError               no model is loaded yet
    │   │   ├── OverloadError               refused for load: `shed_status`
    │   │   │   ├── QueueFullError          the queue has no room for all of its texts
    │   │   │   └── TooLateError            it would be computed after its deadline
    │   │   ├── EngineStalledError          the engine hangs, the process is about to exit
    │   │   └── ClosedError                 shutting down
    │   └── DeadlineExceededError      504  not computed within its timeout
    └── EngineError (service.runtime)  500  the engine failed on the batch

No message may hold the text of a request: messages travel to clients and into the log.
"""

from collections.abc import Sequence
from typing import NamedTuple

from service.runtime.engine import EngineError
from service.runtime.errors import HeedError


class RequestError(HeedError):
    """Base of the errors of a request; the message is sent to the client as `detail`."""


class FieldProblem(NamedTuple):
    """Which part of the request is wrong (`inputs[2]`), and how."""

    location: str
    message: str


class InvalidRequestError(RequestError):
    """A request of the right form with unusable values."""

    def __init__(self, problems: Sequence[FieldProblem]) -> None:
        first = problems[0]
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        super().__init__(f"{first.location}: {first.message}{more}")
        self.problems = tuple(problems)


class MalformedBodyError(RequestError):
    """The body is not JSON in UTF-8."""


class UnsupportedMediaTypeError(RequestError):
    """The Content-Type is not JSON."""


class BodyTooLargeError(RequestError):
    """The body has more bytes than the limit."""


class UnknownModelError(RequestError):
    """The model or version asked for is not served."""


class VersionChangeError(RequestError):
    """Another change is under way, or there is nothing to roll back to."""


class VersionRefusedError(RequestError):
    """The version on disk cannot be served; the message is the reader's or the engine's."""


class ClientDisconnectedError(RequestError):
    """The client left before the answer."""


class InvalidHeaderError(RequestError):
    """X-Request-Timeout-Ms or X-Request-Priority has an unusable value."""


class UnauthenticatedError(RequestError):
    """The request has no key, or one that is not active."""


class ForbiddenError(RequestError):
    """The key lacks the scope that the request needs."""


class RetryError(RequestError):
    """Refused now; the same request may succeed after `retry_after_s` seconds."""

    def __init__(self, message: str, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class RateLimitedError(RetryError):
    """The key has used up its quota."""


class UnavailableError(RetryError):
    """The service cannot take this request now."""


class NotReadyError(UnavailableError):
    """No model is loaded."""


class OverloadError(UnavailableError):
    """Refused for load."""


class QueueFullError(OverloadError):
    """The queue has no room for every text of the request."""


class TooLateError(OverloadError):
    """The request would be computed after its deadline."""


class EngineStalledError(UnavailableError):
    """The engine hangs."""


class ClosedError(UnavailableError):
    """The service is shutting down and takes nothing new."""


class DeadlineExceededError(RequestError):
    """The request waited for longer than it may."""


class Answer(NamedTuple):
    """How an error is answered: status, slug of the problem type, title, outcome in the metrics."""

    status: int
    slug: str
    title: str
    outcome: str


ANSWERS: dict[type[Exception], Answer] = {
    InvalidRequestError: Answer(422, "invalid-request", "Invalid request", "invalid"),
    MalformedBodyError: Answer(400, "malformed-body", "Malformed body", "invalid"),
    UnsupportedMediaTypeError: Answer(
        415, "unsupported-media-type", "Unsupported media type", "invalid"
    ),
    BodyTooLargeError: Answer(413, "body-too-large", "Body too large", "invalid"),
    UnknownModelError: Answer(404, "unknown-model", "Unknown model or version", "invalid"),
    InvalidHeaderError: Answer(400, "invalid-header", "Invalid header", "invalid"),
    UnauthenticatedError: Answer(401, "unauthenticated", "Unauthenticated", "unauthorized"),
    ForbiddenError: Answer(403, "forbidden", "Forbidden", "unauthorized"),
    RateLimitedError: Answer(429, "rate-limited", "Rate limit exceeded", "limited"),
    VersionChangeError: Answer(409, "version-change", "Version cannot be changed now", "invalid"),
    VersionRefusedError: Answer(422, "version-refused", "Version refused", "invalid"),
    ClientDisconnectedError: Answer(499, "client-disconnected", "Client disconnected", "cancelled"),
    NotReadyError: Answer(503, "not-ready", "Not ready", "shed"),
    QueueFullError: Answer(503, "queue-full", "Queue full", "shed"),
    TooLateError: Answer(503, "too-late", "Would be too late", "shed"),
    EngineStalledError: Answer(503, "engine-stalled", "Engine stalled", "shed"),
    ClosedError: Answer(503, "shutting-down", "Shutting down", "shed"),
    DeadlineExceededError: Answer(504, "deadline-exceeded", "Deadline exceeded", "expired"),
    EngineError: Answer(500, "engine-failure", "Engine failure", "engine_error"),
}
INTERNAL = Answer(500, "internal-error", "Internal error", "internal_error")
