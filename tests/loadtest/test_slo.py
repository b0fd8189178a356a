"""slo.yaml: what it may say, and one line for what it may not."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.slo import (
    SloError,
    describe,
    load_slo,
    parse_slo,
    requests_for,
)
from tests.loadtest.made import slo

SHIPPED = Path(__file__).parents[2] / "slo.yaml"
HEAD = "version: 1\nscenarios: {steady: {workload: steady}}\n"


def test_shipped_file_needs_less_than_ninety_seconds_of_requests():
    """At its own rate, for all of its objectives; and each can be said in words."""
    shipped = load_slo(SHIPPED)
    scenario = shipped.scenarios["steady"]
    needed = max(requests_for(each, 0.95) for each in shipped.objectives_of("steady"))
    assert needed / scenario.rate < 90
    assert scenario.duration_s == 10
    assert "1,843 requests" in SHIPPED.read_text()
    assert needed == 1_843
    for each in shipped.objectives:
        assert describe(each, "steady", relative=False).startswith("steady: ")


def test_quantities_become_seconds_ratios_and_bytes():
    """As people write them in the file."""
    read = slo(
        "metric: p99, max: 50ms, max_increase: 5%, margin: 0.25%",
        "metric: error_ratio, max: 0.001, max_increase: 0.5%",
        "metric: goodput, deadline: 100ms, min: 99.5%, max_decrease: 1%",
        "metric: memory_growth, max: 20MB",
        "metric: memory_growth, max: 10%, max_increase: 0.2",
        max_duration="2m",
        confidence="99%",
        validity="{lag_p99: 500us}",
    )
    limits = [(each.limit, each.tolerance, each.unit) for each in read.objectives]
    assert limits == [
        (0.05, 0.05, "s"),
        (0.001, 0.005, "ratio"),
        (0.995, 0.01, "ratio"),
        (20_000_000, None, "bytes"),
        (0.1, 0.2, "ratio"),
    ]
    assert (read.max_duration_s, read.confidence, read.validity.lag_p99) == (120, 0.99, 0.0005)


def test_workload_file_lies_beside_the_slo_file(tmp_path):
    """A name ending in .toml is a path; others are shipped workloads."""
    (tmp_path / "slo.yaml").write_text(
        "version: 1\nscenarios: {a: {workload: own.toml}, b: {workload: spike}}\n"
        "objectives: [{metric: p99, max: 1s}]"
    )
    scenarios = load_slo(tmp_path / "slo.yaml").scenarios
    assert scenarios["a"].workload == str(tmp_path / "own.toml")
    assert scenarios["b"].workload == "spike"


@pytest.mark.parametrize(
    ("objective", "problem"),
    [
        (
            "{metric: p98, max: 3ms}",
            "slo.yaml:4: objectives.1: expected 'p50', 'p90', 'p95', 'p99'",
        ),
        ("{metric: p99, max: 50}", "slo.yaml:4: objectives.1.max: expected a duration"),
        ("{metric: p99, max: 0ms}", "slo.yaml:4: objectives.1.max: expected a duration above 0"),
        ("{metric: p99, max: -5ms}", "slo.yaml:4: objectives.1.max: expected a duration above 0"),
        ("{metric: p99, max: .nan}", "slo.yaml:4: objectives.1.max: expected a duration"),
        ("{metric: p99, max: 10MB}", "slo.yaml:4: objectives.1.max: expected a duration"),
        (
            "{metric: error_ratio, max: 120%}",
            "objectives.1.max: expected a share above 0% and below",
        ),
        ("{metric: error_ratio, max: 0}", "objectives.1.max: expected a share above 0%"),
        ("{metric: error_ratio, max: true}", "objectives.1.max: expected a share above 0%"),
        ("{metric: p99, max_increase: 5}", "expected an increase above 0% such as 5%, got 5"),
        ("{metric: memory_growth, max: 5ms}", "expected a growth above 0 such as 10% or 20MB"),
        ("{metric: goodput, deadline: 1s, min: 100%}", "objectives.1.min: expected a share"),
        ("{metric: goodput, min: 99%}", "slo.yaml:4: objectives.1: expected the key 'deadline'"),
        ("{metric: p99}", "slo.yaml:4: objectives.1: expected max or max_increase"),
        ("{metric: p99, min: 3ms}", "slo.yaml:4: objectives.1.min: unknown key"),
        ("{metric: p99, limit: 3ms}", "slo.yaml:4: objectives.1.limit: unknown key"),
        ("{max: 3ms}", "slo.yaml:4: objectives.1: expected the key 'metric'"),
        ("5", "slo.yaml:4: objectives.1: expected keys and values"),
        ("{metric: p99, max: 1s, scenario: b}", "expected a scenario (steady), got 'b'"),
        ("{metric: p99, max: 1s, requests: all}", "'single', 'batch' or 'explain', got 'all'"),
        ("{metric: p99, max: 1s, severity: bad}", "input should be 'fail' or 'warn', got 'bad'"),
        ("{metric: p99, max: 1s, max: 2s}", "slo.yaml:4: no YAML that can be used: duplicate key"),
        ("{metric: p99, max: 1s", "slo.yaml:5: no YAML that can be used: expected ',' or '}'"),
        ("!!python/object:os.system {}", "no YAML that can be used: could not determine"),
    ],
)
def test_impossible_objective_is_refused_in_one_line(objective, problem):
    """With the file, the line, the place and what was expected."""
    with pytest.raises(SloError) as caught:
        parse_slo(f"{HEAD}objectives:\n- {objective}\n", Path("slo.yaml"))
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "slo.yaml: no YAML that can be used: the file is empty"),
        ("- 1", "slo.yaml:1: the file: expected keys and values"),
        ("version: 2", "slo.yaml:1: version: input should be 1, got 2"),
        (f"{HEAD}objectives: []", "slo.yaml:3: objectives: list should have at least 1 item"),
        ("version: 1\nscenarios: {}", "slo.yaml:2: scenarios: "),
        ("version: 1\nscenarios: {a: {workload: b, rate: 0}}", "slo.yaml:2: scenarios.a.rate: "),
        ("version: 1\nscenarios: {a: {}, a: {}}", "duplicate key 'a'"),
        (f"{HEAD}confidence: 20%", "slo.yaml:3: confidence: expected a confidence of 80% to 99.9%"),
        (f"{HEAD}speed: 1", "objectives"),
        ("[" * 5_000, "slo.yaml: no YAML that can be used: nested too deeply"),
        ("{[a]: b}", "slo.yaml:1: no YAML that can be used: found unhashable key"),
        ("&a [*a]", "slo.yaml:1: no YAML that can be used: aliases (*name) are not read"),
        ("a: 2020-13-45", "slo.yaml: no YAML that can be used: month must be in 1..12"),
    ],
)
def test_file_that_is_no_slo_file_is_refused_in_one_line(text, problem):
    """Empty, of another version, deeply nested: one line each."""
    with pytest.raises(SloError) as caught:
        parse_slo(text, Path("slo.yaml"))
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_and_binary_files_are_slo_errors(tmp_path):
    """Not a traceback."""
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\xfd")
    for name in ("none.yaml", "binary.yaml", "."):
        with pytest.raises(SloError, match="cannot be read"):
            load_slo(tmp_path / name)


@given(st.text())
def test_any_text_is_read_or_refused(text):
    """Nothing but SloError comes out of a file, whatever is in it."""
    with pytest.raises(SloError):
        parse_slo(text, Path("slo.yaml"))


def test_objective_without_a_scenario_applies_to_all():
    """And one with a scenario to that alone; deadline and lag follow from what applies."""
    made = slo(
        "metric: p99, max: 200ms",
        "metric: goodput, deadline: 1s, min: 99%",
        "metric: goodput, deadline: 50ms, min: 90%, scenario: spike",
        "metric: p50, max: 20ms, scenario: spike",
        scenarios=["steady", "spike"],
    )
    assert [each.metric for each in made.objectives_of("steady")] == ["p99", "goodput"]
    assert made.deadline_of("steady") == 1.0
    assert made.deadline_of("spike") == 0.05
    assert made.lag_limit_s("steady") == pytest.approx(0.01)  # 5 % of 200 ms
    assert made.lag_limit_s("spike") == pytest.approx(0.01)  # its p50 says nothing of a tail


def test_only_absolute_limits_of_requests_need_a_sample():
    """Comparisons need pairs of rounds, memory needs two rounds."""
    made = slo(
        "metric: p99, max: 50ms, requests: explain",
        "metric: error_ratio, max: 0.1%",
        "metric: p99, max_increase: 5%",
        "metric: memory_growth, max: 10%",
    )
    assert [requests_for(each, 0.95) for each in made.objectives] == [1521, 3688, 1, 1]


@pytest.mark.parametrize(
    ("objective", "relative", "words"),
    [
        ("metric: p99, max: 50ms, requests: single", False, "p99 of single requests at most 50 ms"),
        ("metric: p99, max: 1.5s, stage: spike", False, "p99 in stage spike at most 1,500 ms"),
        ("metric: p99, max_increase: 5%", True, "p99 at most 5 % above the baseline"),
        ("metric: error_ratio, max: 0.05%", False, "error ratio at most 0.05 %"),
        (
            "metric: goodput, deadline: 100ms, max_decrease: 0.5%",
            True,
            "goodput within 100 ms at most 0.5 points below the baseline",
        ),
        (
            "metric: goodput, deadline: 100ms, min: 99.95%",
            False,
            "goodput within 100 ms at least 99.95 %",
        ),
        ("metric: memory_growth, max: 20MB", False, "memory growth at most 20 MB"),
    ],
)
def test_objectives_are_said_in_words(objective, relative, words):
    """As in the report and in the summary."""
    assert describe(slo(objective).objectives[0], "steady", relative) == f"steady: {words}"
