"""What goes over the wire, with the examples that `/docs` shows."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from service.errors import (
    ANSWERS,
    INTERNAL,
    Answer,
    FieldProblem,
    InvalidRequestError,
    RetryError,
    UnauthenticatedError,
)
from service.http.problems import MEDIA_TYPE, body_of
from service.runtime.engine import EngineError

_TEXT = "I was charged twice for one purchase"


def _form(value: object) -> str:
    return "list" if isinstance(value, list) else "text"


class ClassifyRequest(BaseModel):
    """Texts to classify."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={
            "examples": [
                {"inputs": _TEXT},
                {"inputs": [_TEXT, "wo ist meine Karte?"], "top_k": 2, "explain": "attention"},
            ]
        },
    )

    # The discriminator makes an error speak of the form that was sent, not of both.
    inputs: Annotated[
        # Stops at the first wrong item: to describe a million of them took 3 s and 1 GB.
        Annotated[str, Tag("text")]
        | Annotated[list[str], Field(min_length=1, fail_fast=True), Tag("list")],
        Discriminator(_form),
    ] = Field(description="One text, or a list of texts.")
    model: str | None = Field(default=None, description="Name of the model; optional.")
    version: str | None = Field(default=None, description="Its version; default: the active one.")
    top_k: int | None = Field(
        default=None,
        ge=1,
        description="Cuts `scores`; default: all labels of a model with up to 100, else 10.",
    )
    explain: Literal["none", "attention"] = Field(
        default="none", description="With `attention` each result says how much each word counted."
    )

    @property
    def texts(self) -> list[str]:
        """`inputs` as a list."""
        return [self.inputs] if isinstance(self.inputs, str) else self.inputs

    def place(self, index: int) -> str:
        """Where `texts[index]` stands in the body."""
        return "inputs" if isinstance(self.inputs, str) else f"inputs[{index}]"


class LabelScore(BaseModel):
    """A label and its probability."""

    label: str
    score: float


class Word(BaseModel):
    """A word of the input, and its share of the attention."""

    start: int = Field(description="First code point of the word in the input.")
    end: int = Field(description="One past the last.")
    text: str
    weight: float = Field(description="All weights of an input sum to 1.")


class ClassifyResult(BaseModel):
    """The answer for one text."""

    label: str = Field(description="The most probable label.")
    score: float = Field(description="Its probability.")
    scores: list[LabelScore] = Field(description="Labels with their probabilities, falling.")
    tokens: int = Field(description="Tokens before truncation, special tokens not counted.")
    truncated: bool = Field(description="Whether the text was longer than the model reads.")
    words: list[Word] | None = Field(
        default=None, description="Only with `explain`; up to the last that the model read."
    )


class ClassifyResponse(BaseModel):
    """Answers in the order of the inputs."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "model": "support",
                    "version": "1",
                    "results": [
                        {
                            "label": "double_charge",
                            "score": 0.94,
                            "scores": [
                                {"label": "double_charge", "score": 0.94},
                                {"label": "refund", "score": 0.06},
                            ],
                            "tokens": 9,
                            "truncated": False,
                        }
                    ],
                }
            ]
        }
    )

    model: str
    version: str
    results: list[ClassifyResult]


class ModelInfo(BaseModel):
    """A loaded version of a model."""

    name: str
    version: str
    labels: list[str]
    max_length: int = Field(description="Tokens that the model reads; longer texts are cut.")
    precision: str
    manifest_sha256: str
    execution_provider: str
    metrics: Mapping[str, Mapping[str, float]] = Field(description="As measured at training.")


class ModelsResponse(BaseModel):
    """What is served."""

    models: list[ModelInfo]


class Health(BaseModel):
    """An answer of a probe."""

    status: Literal["ok"] = "ok"


class ProblemField(BaseModel):
    """Which part of the request is wrong, and how."""

    location: str
    message: str


class Problem(BaseModel):
    """An error (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    request_id: str
    errors: list[ProblemField] | None = None


_DETAILS: dict[type[Exception], str] = {
    InvalidRequestError: "inputs[1]: is empty",
    EngineError: "the engine failed on a batch with this request",
}
_HEADERS: dict[type[Exception], dict[str, Any]] = {
    RetryError: {
        "Retry-After": {
            "description": "Seconds after which the same request may succeed.",
            "schema": {"type": "integer", "minimum": 1},
        }
    },
    UnauthenticatedError: {"WWW-Authenticate": {"schema": {"type": "string"}}},
}


def problem_responses(*kinds: type[Exception]) -> dict[int | str, dict[str, Any]]:
    """`responses` of a route: each status of `kinds`, and 500, with an example for each problem.

    `service.api.openapi` adds the schema that they refer to.
    """
    answers: dict[type[Exception], Answer] = {kind: ANSWERS[kind] for kind in kinds}
    responses: dict[int | str, dict[str, Any]] = {}
    for kind, answer in (answers | {Exception: INTERNAL}).items():
        detail = _DETAILS.get(kind, answer.title.lower())
        problems = (FieldProblem("inputs[1]", "is empty"),) if kind is InvalidRequestError else ()
        media = {"schema": {"$ref": f"#/components/schemas/{Problem.__name__}"}, "examples": {}}
        response = responses.setdefault(
            answer.status, {"description": answer.title, "content": {MEDIA_TYPE: media}}
        )
        if answer.title not in response["description"]:
            response["description"] += f"; {answer.title.lower()}"
        example = {"value": body_of(answer, detail, "3f2a9c", problems)}
        response["content"][MEDIA_TYPE]["examples"][answer.slug] = example
        for base, headers in _HEADERS.items():
            if issubclass(kind, base):
                response.setdefault("headers", {}).update(headers)
    return responses
