"""What is sent, and when: a TOML file read into a `Workload`."""

import hashlib
import json
import random
import tomllib
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

from loadtest.durations import DurationError, parse_duration
from loadtest.fetch import read_file
from loadtest.lengths import quantile, synthesise
from loadtest.result import Kind
from loadtest.texts import BUILT_IN, iter_texts, sample
from model.columns import Columns

SHIPPED = Path(__file__).with_name("workloads")
MAX_TEXTS = 4096  # different texts that one workload sends
MAX_CHARS = 32_000_000  # in all of these when they are made: long ones are fewer


class WorkloadError(ValueError):
    """A workload cannot be used; one line that names the file, the place and what was expected."""


def _seconds(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return parse_duration(value)
    except DurationError as error:
        raise ValueError(str(error)) from None


Seconds = Annotated[float, BeforeValidator(_seconds), Field(ge=0, le=86_400)]
Length = Annotated[float, BeforeValidator(_seconds), Field(gt=0, le=86_400)]
Share = Annotated[float, Field(ge=0, le=1)]
Rate = Annotated[float, Field(ge=0, le=1_000_000)]
Characters = Annotated[int, Field(ge=0, le=1_000_000)]
HeaderName = Annotated[str, Field(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")]
HeaderValue = Annotated[str, Field(pattern=r"^[\x20-\x7e]*$")]


class Part(BaseModel):
    """Immutable; unknown keys, infinite numbers and text for a number are errors.

    Durations are `timeout_s` in Python and `timeout` in a file, where the unit is in the value.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        validate_by_name=True,
        validate_by_alias=True,
    )


_LAYOUT = ("delimiter", "header", "quoting", "encoding", "format", "skip_bad")


class Texts(Part):
    """Where the texts are from: exactly one of the first three.

    Attributes:
        built_in: the messages that Heed ships.
        file: see `texts.iter_texts`; relative to the workload's file.
        lengths: characters of made-up texts, ascending quantiles at equal steps.
        text_column: of `file`, and so are the others: how it is laid out, see `Columns`.
    """

    built_in: Literal[True] | None = None
    file: Path | None = None
    lengths: Annotated[tuple[Characters, ...], Field(min_length=2, max_length=10_001)] | None = None
    text_column: str | tuple[str, ...] = "text"
    delimiter: str | None = None
    header: bool | None = None
    quoting: bool | None = None
    encoding: str | None = None
    format: str | None = None
    skip_bad: bool = False

    @classmethod
    def of(cls, file: Path, columns: Columns) -> Self:
        """The texts of a file that is read by `columns`."""
        layout = {name: getattr(columns, name) for name in _LAYOUT}
        return cls(file=file.resolve(), text_column=columns.text, **layout)

    @property
    def columns(self) -> Columns:
        """How `file` is read."""
        names = (self.text_column,) if isinstance(self.text_column, str) else self.text_column
        return Columns(names, None, **{name: getattr(self, name) for name in _LAYOUT})

    @model_validator(mode="after")
    def _check(self) -> Self:
        if sum(part is not None for part in (self.built_in, self.file, self.lengths)) != 1:
            raise ValueError("expected exactly one of `built_in = true`, `file` and `lengths`")
        if self.lengths and list(self.lengths) != sorted(self.lengths):
            raise ValueError("expected `lengths` in ascending order")
        if self.file is None and self.text_column != "text":
            raise ValueError("expected `text_column` only beside `file`")
        return self

    def __str__(self) -> str:
        """For people: `built-in`, the name of the file, or the lengths."""
        if self.lengths:
            return f"made up, {quantile(self.lengths, 0.5):,} characters at the median"
        return self.file.name if self.file else "built-in"


class Mix(Part):
    """Shares of the requests: together 1. `batch_size`: texts in each batch request."""

    single: Share = 0.0
    batch: Share = 0.0
    explain: Share = 0.0
    batch_size: int = Field(default=16, ge=1, le=10_000)

    @model_validator(mode="after")
    def _check(self) -> Self:
        total = self.single + self.batch + self.explain
        if abs(total - 1) > 1e-6:
            raise ValueError(f"expected single + batch + explain = 1, got {total:g}")
        return self


class WorkloadStage(Part):
    """A stretch of the schedule: requests per second at its begin and end, a straight line between.

    `end_rate` is `rate` when a file does not say.
    """

    name: str = Field(min_length=1, max_length=40)
    rate: Rate
    end_rate: Rate
    duration_s: Length = Field(alias="duration")

    @model_validator(mode="before")
    @classmethod
    def _flat_by_default(cls, data: Any) -> Any:  # noqa: ANN401 - whatever a file holds
        if isinstance(data, dict) and "rate" in data:
            return {"end_rate": data["rate"]} | data
        return data

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.rate and not self.end_rate:
            raise ValueError("expected a `rate` or `end_rate` above 0")
        return self


class Workload(Part):
    """What is sent and when.

    Attributes:
        arrivals: a Poisson process, or equal gaps.
        seed: equal seeds send equal texts at equal times.
        timeout_s: a request without a whole answer so long after it was due is a timeout.
        warm_up_s: load at the first stage's rate before the stages, not measured.
        headers: sent with every request (`all`) and with those of one kind, which win.
    """

    arrivals: Literal["poisson", "constant"] = "poisson"
    seed: int = Field(default=7, ge=0, lt=2**31)
    timeout_s: Length = Field(default=10.0, alias="timeout")
    warm_up_s: Seconds = Field(default=5.0, alias="warm_up")
    texts: Texts = Texts(built_in=True)
    mix: Mix = Mix(single=1.0)
    headers: dict[Literal["all", Kind], dict[HeaderName, HeaderValue]] = Field(default_factory=dict)
    stages: tuple[WorkloadStage, ...] = Field(min_length=1, max_length=100)

    @field_validator("stages")
    @classmethod
    def _names_differ(cls, stages: tuple[WorkloadStage, ...]) -> tuple[WorkloadStage, ...]:
        if len({stage.name for stage in stages}) < len(stages):
            raise ValueError("expected a different `name` for each stage")
        return stages

    @property
    def duration_s(self) -> float:
        """Of all stages, without the warm-up."""
        return sum(stage.duration_s for stage in self.stages)

    @property
    def texts_per_request(self) -> float:
        """Mean over the mix."""
        return self.mix.single + self.mix.explain + self.mix.batch * self.mix.batch_size

    def headers_of(self, kind: Kind) -> dict[str, str]:
        """What the requests of one kind carry beside what every JSON request does."""
        return self.headers.get("all", {}) | self.headers.get(kind, {})

    @property
    def text_pool(self) -> tuple[str, ...]:
        """The texts that are sent, at most `MAX_TEXTS`; a longer file is sampled.

        Raises:
            TextsError: the file cannot be used.
        """
        return _pool(self.texts, self.seed)

    def with_rate(self, rate: float, duration_s: float) -> Self:
        """The same load at a constant rate, requests per second, for so many seconds.

        Raises:
            WorkloadError: there are several stages, so it is not clear what to change; or the
                rate or the duration cannot be.
        """
        if len(self.stages) != 1:
            names = ", ".join(stage.name for stage in self.stages)
            raise WorkloadError(f"expected a workload of one stage to change its rate, got {names}")
        changed = {"rate": rate, "end_rate": rate, "duration": duration_s}
        try:
            stage = WorkloadStage.model_validate({"name": self.stages[0].name} | changed)
        except ValidationError as error:
            raise WorkloadError(_explain(error.errors(include_url=False)[0])) from None
        return self.model_copy(update={"stages": (stage,)})

    def fingerprint(self) -> str:
        """SHA-256 of all that decides what is sent, when, and how long an answer may take.

        The texts count by what they say, not by where they lie; names of stages do not count.
        """
        left_out: dict[str, Any] = {"stages": {"__all__": {"name"}}, "texts": True}
        if not self.headers:  # what was measured before there were any can still be compared
            left_out["headers"] = True
        settings = self.model_dump(mode="json", exclude=left_out)
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
        digest.update(json.dumps(self.text_pool).encode())
        return digest.hexdigest()


def load_workload(name_or_path: str | Path, base: Path | None = None) -> Workload:
    """A workload that Heed ships, by its name, or one from a TOML file.

    Args:
        name_or_path: a shipped name such as `steady` comes first; write `./steady` for a file.
        base: folder that a relative path counts from; the current one when None.

    Raises:
        WorkloadError: there is no such workload or file, or it holds what it may not.
    """
    path = _find(str(name_or_path), base or Path())
    try:
        data = tomllib.loads(read_file(path).decode("utf-8-sig"))
        workload = Workload.model_validate_json(json.dumps(data, default=str))
    except OSError as error:
        raise WorkloadError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise WorkloadError(f"{path}: not UTF-8 at byte {error.start}") from None
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        raise WorkloadError(f"{path}: {_explain(problem)}") from None
    except (ValueError, RecursionError) as error:  # also of a number of 5,000 digits
        said = "nested too deeply" if isinstance(error, RecursionError) else error
        raise WorkloadError(f"{path}: not TOML: {said}") from None
    return _with_file_found(workload, path)


def shipped_workloads() -> list[str]:
    """Names that `load_workload` knows, sorted."""
    return sorted(path.stem for path in SHIPPED.glob("*.toml"))


@lru_cache(maxsize=4)
def _pool(texts: Texts, seed: int) -> tuple[str, ...]:
    rng = random.Random(f"{seed} texts")  # noqa: S311 - a load, not a secret
    if texts.lengths is None:
        found = iter_texts(texts.file, texts.columns) if texts.file else iter_texts(BUILT_IN)
        return tuple(sample(found, MAX_TEXTS, rng))
    mean = max(1.0, sum(texts.lengths) / len(texts.lengths))
    return tuple(synthesise(texts.lengths, rng, min(MAX_TEXTS, max(101, int(MAX_CHARS / mean)))))


def _find(name: str, base: Path) -> Path:
    if name in shipped_workloads():
        return SHIPPED / f"{name}.toml"
    path = base / Path(name).expanduser()
    if not path.exists():
        known = ", ".join(shipped_workloads())
        raise WorkloadError(f"{path}: no such file, and no workload that Heed ships: {known}")
    return path


def _with_file_found(workload: Workload, path: Path) -> Workload:
    if workload.texts.file is None:
        return workload
    file = (path.parent / workload.texts.file.expanduser()).resolve()
    if not file.is_file():
        raise WorkloadError(f"{path}: texts.file: expected a file, there is none at {file}")
    texts = workload.texts.model_copy(update={"file": file})
    return workload.model_copy(update={"texts": texts})


def _explain(problem: ErrorDetails) -> str:
    """`stages.0.rate: expected a valid number, got 'x'`."""
    place = ".".join(map(str, problem["loc"])) or "the file"
    message = problem["msg"].removeprefix("Value error, ").replace("Input should be", "expected")
    if wording := _WORDINGS.get(problem["type"]):
        return f"{place}: {wording.format(**problem.get('ctx', {}))}"
    if problem["type"] == "value_error":  # raised above, in words of our own
        return f"{place}: {message}"
    return f"{place}: {message}, got {problem['input']!r:.60}"


_WORDINGS = {
    "missing": "expected, but missing",
    "extra_forbidden": "unknown key",
    "model_type": "expected a table",
    "string_too_short": "expected at least {min_length} character",
    "too_short": "expected at least {min_length}, got {actual_length}",
    "too_long": "expected at most {max_length}, got {actual_length}",
}
