"""What can go wrong with a request, and how each of it is answered.

    HeedError (service.runtime)
    ├── RequestError
    │   ├── InvalidRequestError        422  a field is wrong; names which
    │   ├── MalformedBodyError         400  the body is no JSON
    │   ├── UnsupportedMediaTypeError  415  the body says that it is no JSON
    │   ├── BodyTooLargeError          413  more bytes than `max_body_bytes`
    │   ├── UnknownModelError          404  a model or version that is not served
    │   ├── ClientDisconnectedError    499  nobody is there to read the answer
    │   ├── UnavailableError           503  try again later
    │   │   ├── NotReadyError               no model is loaded yet
    │   │   ├── QueueFullError              `max_queue_size` texts wait already
    │   │   └── ClosedError                 shutting down
    │   └── DeadlineExceededError      504  waited longer than `request_timeout_s`, never computed
    └── EngineError (service.runtime)  500  the engine failed on the batch

No message may hold the text of a request: messages travel to clients and into the log.
"""

from collections.abc import Sequence
from typing import NamedTuple

from service.runtime.engine import EngineError
from service.runtime.errors import HeedError

RETRY_AFTER_S = 1


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


class ClientDisconnectedError(RequestError):
    """The client left before the answer."""


class UnavailableError(RequestError):
    """Refused now; the same request may succeed later."""


class NotReadyError(UnavailableError):
    """No model is loaded."""


class QueueFullError(UnavailableError):
    """The queue has no room for every text of the request."""


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
    ClientDisconnectedError: Answer(499, "client-disconnected", "Client disconnected", "cancelled"),
    NotReadyError: Answer(503, "not-ready", "Not ready", "shed"),
    QueueFullError: Answer(503, "queue-full", "Queue full", "shed"),
    ClosedError: Answer(503, "shutting-down", "Shutting down", "shed"),
    DeadlineExceededError: Answer(504, "deadline-exceeded", "Deadline exceeded", "expired"),
    EngineError: Answer(500, "engine-failure", "Engine failure", "engine_error"),
}
INTERNAL = Answer(500, "internal-error", "Internal error", "internal_error")
