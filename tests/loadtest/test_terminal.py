"""What a result looks like in a terminal."""

from collections.abc import Callable

import pytest

from loadtest import figures
from loadtest.result import Result
from loadtest.terminal import show
from tests.loadtest import examples
from tests.loadtest.examples import EXAMPLES


@pytest.mark.parametrize("example", EXAMPLES.values(), ids=EXAMPLES)
def test_any_result_can_be_shown(
    example: Callable[[], Result], capsys: pytest.CaptureFixture[str]
) -> None:
    """No line is wider than what is promised to a pipe."""
    show(example())
    out = capsys.readouterr().out
    assert "Locust 2.47.0" in out
    assert max(map(len, out.splitlines()[:-1])) <= 200


def test_verdict_is_the_first_line(capsys: pytest.CaptureFixture[str]) -> None:
    """With the sentence of all other renderers."""
    show(examples.stalled())
    first = capsys.readouterr().out.splitlines()[0]
    assert first == f"✗ FAIL {figures.sentence(examples.stalled())}"


def test_failures_are_listed_by_kind(capsys: pytest.CaptureFixture[str]) -> None:
    """Below their sum."""
    show(examples.closed())
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["failed", "18", "of", "5,041", "(0.36", "%)"] in lines
    assert ["status", "500", "18"] in lines


def test_a_name_cannot_command_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Escape sequences in the name of a model are shown as what they are: unprintable."""
    show(examples.hostile())
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "<script>" in out
