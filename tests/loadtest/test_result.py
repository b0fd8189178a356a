"""The JSON file: what is written is read back, and what is no result is refused by name."""

from pathlib import Path

import pytest

from loadtest.result import Result, ResultError, latencies
from tests.loadtest.made import group, run, stage
from tests.loadtest.made import result as a_result


def test_a_result_with_a_broken_histogram_is_refused(tmp_path: Path) -> None:
    """Before the run that would be compared with it, whose result would be lost."""
    broken = group([0.01]).model_copy(update={"from_scheduled": "AAAA"})
    made = a_result(run(stage([0.01]).model_copy(update={"groups": [broken]})))
    (tmp_path / "r.json").write_text(made.to_json(), encoding="utf-8")
    with pytest.raises(ResultError, match=r"r\.json: no load test result: a histogram is broken"):
        Result.read(tmp_path / "r.json")


def test_a_result_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    """Every field."""
    made = a_result(run(stage([0.01, 0.02], timeout=1)))
    (tmp_path / "r.json").write_text(made.to_json(), encoding="utf-8")
    assert Result.read(tmp_path / "r.json") == made


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "the file: Invalid JSON"),
        ("[]", "the file: Input should be an object"),
        ('{"format_version": 1}', "format_version: Input should be 2"),
    ],
)
def test_what_is_no_result_is_refused_with_file_and_field(
    tmp_path: Path, content: str, said: str
) -> None:
    """One line, no traceback."""
    path = tmp_path / "r.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ResultError, match="no load test result") as caught:
        Result.read(path)
    assert f"{path}: no load test result: {said}" in str(caught.value)


def test_a_result_with_an_unknown_field_is_refused(tmp_path: Path) -> None:
    """It is of another version, which says something that this one cannot judge."""
    path = tmp_path / "r.json"
    path.write_text(a_result(run(stage())).to_json().replace('"runs"', '"ruins"'), encoding="utf-8")
    with pytest.raises(ResultError, match=r"runs: Field required|ruins"):
        Result.read(path)


def test_a_missing_file_is_one_clear_message(tmp_path: Path) -> None:
    """With its name."""
    with pytest.raises(ResultError, match=r"none\.json: No such file"):
        Result.read(tmp_path / "none.json")


def test_latencies_of_one_kind_leave_the_others_out() -> None:
    """Batches and their timeouts apart from single texts."""
    mixed = stage(groups=[group([0.01] * 3), group([1.0] * 2, "batch", timeout=1)])
    assert latencies([mixed]).total == 6
    assert latencies([mixed], "single").total == 3
    batches = latencies([mixed], "batch")
    assert (batches.answered, batches.unanswered) == (2, 1)
