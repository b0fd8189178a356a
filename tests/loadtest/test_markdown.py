"""What a step of GitHub Actions shows of a result."""

import re

import pytest

from loadtest import figures
from loadtest.markdown import to_markdown
from loadtest.result import Result
from tests.loadtest import examples
from tests.loadtest.examples import EXAMPLES


@pytest.fixture(params=EXAMPLES)
def result(request: pytest.FixtureRequest) -> Result:
    """Each example in turn."""
    return EXAMPLES[request.param]()


def test_every_row_of_a_table_has_the_cells_of_its_head(result: Result) -> None:
    """A pipe in a name is not a new cell."""
    tables = re.findall(r"(?:^\|.*\n?)+", to_markdown(result), re.MULTILINE)
    for table in tables:
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(widths) == 1


def test_it_is_short(result: Result) -> None:
    """A screen or two."""
    assert len(to_markdown(result).splitlines()) < 70


def test_verdict_and_sentence_come_first() -> None:
    """Then the table that they rest on."""
    lines = to_markdown(examples.stalled()).splitlines()
    assert lines[0] == "## ❌ Release gate: fail"
    assert lines[2] == figures.sentence(examples.stalled())
    assert lines[4].startswith("| objective | measured | 95 % interval | limit | samples |")
    assert to_markdown(examples.closed()).startswith("## Load test\n\n> Closed workload")


def test_a_condition_that_is_not_met_comes_with_advice() -> None:
    """What to do about it stands beside it."""
    text = to_markdown(examples.invalid())
    assert "| below 80 % | 🚫 a busy generator delays what it measures" in text


def test_capacity_has_a_row_for_each_overload() -> None:
    """And the sentence."""
    text = to_markdown(examples.capacity())
    assert "you need 6 instances" in text
    assert "| 10x | good 276/s of 2,183/s" in text


def test_text_that_others_chose_stays_text() -> None:
    """No HTML, link, code or line of its own."""
    text = to_markdown(examples.hostile())
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert not re.search(r"(?<!\\)\[a", text)
    assert not re.search(r"^# ", text, re.MULTILINE)
    assert not re.search(r"(?<!\\)`", text)
