"""slo.yaml: the objectives of a service, checked while they are read."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator

from loadtest.fetch import read_file
from loadtest.quantity import (
    Confidence,
    Duration,
    Growth,
    Increase,
    Part,
    Pause,
    Share,
    show,
)
from loadtest.result import Frozen, Kind
from loadtest.statistics import requests_for_quantile, requests_for_ratio
from loadtest.yamltext import YamlError, explain, parse

Severity = Literal["fail", "warn"]


class SloError(ValueError):
    """An SLO file that cannot be used: one line with the file, the place and what was expected."""


Rate = Annotated[float, Field(gt=0, le=1e6, strict=True)]


class _Objective(Frozen):
    """What all have. `limit` is absolute, `tolerance` relative to the baseline; one or both."""

    scenario: str | None = None
    severity: Severity = "fail"
    limit: float | None = None
    tolerance: float | None = None

    in_points: ClassVar[bool] = False  # compared as a difference: the baseline's may be 0

    @model_validator(mode="after")
    def _limits_something(self) -> Self:
        if self.limit is None and self.tolerance is None:
            names = [type(self).model_fields[field].alias for field in ("limit", "tolerance")]
            raise ValueError(f"expected {' or '.join(map(str, names))}")
        return self


class _OfRequests(_Objective):
    """Counted over the requests of one stage and kind, or over all."""

    stage: str | None = None
    requests: Kind | None = None


class Latency(_OfRequests):
    """A percentile in seconds, counted from when requests were due.

    `tolerance` 0.05 is 5 % more; `margin` is that of the percentile's rank, for the sample.
    """

    metric: Literal["p50", "p90", "p95", "p99"]
    limit: Duration | None = Field(None, alias="max")
    tolerance: Increase | None = Field(None, alias="max_increase")
    margin: Share | None = None

    unit: ClassVar[Literal["s"]] = "s"

    @property
    def fraction(self) -> float:
        """0.99 for p99."""
        return int(self.metric[1:]) / 100


class ErrorRatio(_OfRequests):
    """Requests without a proper answer, of all that were due.

    `tolerance` is a difference of the ratios: 0.01 is one percentage point more.
    """

    metric: Literal["error_ratio"]
    limit: Share | None = Field(None, alias="max")
    tolerance: Share | None = Field(None, alias="max_increase")

    unit: ClassVar[Literal["ratio"]] = "ratio"
    in_points: ClassVar[bool] = True


class Goodput(_OfRequests):
    """Requests properly answered within `deadline_s`, of all that were due.

    `tolerance` is a difference of the ratios: 0.01 is one percentage point less.
    """

    metric: Literal["goodput"]
    deadline_s: Duration = Field(alias="deadline")
    limit: Share | None = Field(None, alias="min")
    tolerance: Share | None = Field(None, alias="max_decrease")

    unit: ClassVar[Literal["ratio"]] = "ratio"
    in_points: ClassVar[bool] = True


class MemoryGrowth(_Objective):
    """Resident memory of the service in the last round, over that in the first.

    `tolerance` is against the largest that the baseline took: 0.05 is 5 % more.
    """

    metric: Literal["memory_growth"]
    limit: Growth | None = Field(None, alias="max")
    tolerance: Increase | None = Field(None, alias="max_increase")

    stage: ClassVar[None] = None
    requests: ClassVar[None] = None

    @property
    def unit(self) -> Literal["ratio", "bytes"]:
        """Of the limit."""
        return "bytes" if self.limit and self.limit >= 1_000 else "ratio"


Objective = Latency | ErrorRatio | Goodput | MemoryGrowth


class Scenario(Frozen):
    """What is sent, and for how long.

    Attributes:
        workload: name of a shipped one, or the path of a .toml file.
        rate: requests per second, in place of the workload's.
        duration_s: of one round, in place of the workload's.
        warm_up_s: before it, not counted.
    """

    workload: str = Field(min_length=1)
    rate: Rate | None = None
    duration_s: Duration | None = Field(None, alias="duration")
    warm_up_s: Pause | None = Field(None, alias="warm_up")

    @field_validator("workload")
    @classmethod
    def _beside_the_file(cls, value: str, info: ValidationInfo) -> str:
        folder: Path = (info.context or {}).get("folder", Path())
        return str(folder / value) if value.endswith(".toml") else value


class Validity(Frozen):
    """What a measurement must keep to mean anything; ratios and seconds."""

    achieved: Part = 0.99
    lag_p99: Duration = 0.002
    generator_cpu: Part = 0.8
    steal: Part = 0.02


class Slo(Frozen):
    """The objectives of a service."""

    version: Literal[1]
    max_duration_s: Duration = Field(600.0, alias="max_duration")
    confidence: Confidence = 0.95
    scenarios: dict[str, Scenario] = Field(min_length=1)
    objectives: list[Annotated[Objective, Field(discriminator="metric")]] = Field(min_length=1)
    validity: Validity = Validity()

    @field_validator("objectives")
    @classmethod
    def _scenarios_exist(cls, value: list[Objective], info: ValidationInfo) -> list[Objective]:
        known = info.data.get("scenarios", {})
        for name in (objective.scenario for objective in value):
            if name is not None and known and name not in known:
                raise ValueError(f"expected a scenario ({', '.join(known)}), got {name!r}")
        return value

    def objectives_of(self, scenario: str) -> list[Objective]:
        """Those that are judged in a scenario, in the order of the file."""
        return [each for each in self.objectives if each.scenario in (None, scenario)]

    def deadline_of(self, scenario: str) -> float | None:
        """Seconds: the shortest deadline of its goodput objectives; None without one."""
        own = self.objectives_of(scenario)
        return min((each.deadline_s for each in own if isinstance(each, Goodput)), default=None)

    def lag_limit_s(self, scenario: str) -> float:
        """How late the p99 of sends may be: the setting, or 5 % of the limit of a high percentile.

        Of the highest that has a limit: late sends are in the tail of the latencies.
        """
        own = [each for each in self.objectives_of(scenario) if isinstance(each, Latency)]
        limits = {each.fraction: each.limit for each in own if each.limit}
        return max(self.validity.lag_p99, 0.05 * limits[max(limits)] if limits else 0.0)


def requests_for(objective: Objective, confidence: float) -> int:
    """Requests without which the absolute limit of an objective cannot be judged; 1 if any do."""
    limit = objective.limit
    if limit is None or isinstance(objective, MemoryGrowth):
        return 1
    if isinstance(objective, Latency):
        return requests_for_quantile(objective.fraction, objective.margin, confidence)
    return requests_for_ratio(1 - limit if isinstance(objective, Goodput) else limit, confidence)


def describe(objective: Objective, scenario: str, relative: bool) -> str:
    """As a person would say it: `steady: p99 of single requests at most 50 ms`.

    Without its scenario when that is empty.
    """
    words = [f"{scenario}:"] if scenario else []
    words += [objective.metric.replace("_", " ")]
    words += [f"of {objective.requests} requests"] if objective.requests else []
    words += [f"in stage {objective.stage}"] if objective.stage else []
    at_least = isinstance(objective, Goodput)
    if isinstance(objective, Goodput):
        words.append(f"within {show(objective.deadline_s, 's', exact=True)}")
    if not relative:
        limit = show(objective.limit, objective.unit, exact=True)
        words += ["at least" if at_least else "at most", limit]
    else:
        unit: Literal["points", "ratio"] = "points" if objective.in_points else "ratio"
        change = show(objective.tolerance, unit, exact=True).removeprefix("+")
        words += ["at most", change, "below" if at_least else "above", "the baseline"]
    return " ".join(words)


def load_slo(path: Path) -> Slo:
    """The objectives in a file.

    Raises:
        SloError: the file cannot be read, is not YAML, or says something impossible.
    """
    try:
        text = read_file(path).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or error
        raise SloError(f"{path}: cannot be read: {reason}") from None
    return parse_slo(text, path)


def parse_slo(text: str, path: Path) -> Slo:
    """The objectives in YAML that was read from `path`; SloError as `load_slo`."""
    try:
        raw, node = parse(text)
    except YamlError as error:
        where = f"{path}:{error.line}" if error.line else str(path)
        raise SloError(f"{where}: no YAML that can be used: {error}") from None
    try:
        return Slo.model_validate(raw, context={"folder": path.parent})
    except ValidationError as error:
        place, line, expected = explain(error, node)
        raise SloError(f"{path}:{line}: {place}: {expected}") from None
