"""Durations as people write and read them."""

import pytest

from loadtest.durations import DurationError, format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("50ms", 0.05), ("290ms", 0.29), ("10s", 10), ("2m", 120), ("1h", 3600), ("45", 45), ("0", 0)],
)
def test_duration_is_a_whole_number_with_one_unit(text: str, seconds: float) -> None:
    """Milliseconds, seconds, minutes, hours, or plain seconds."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "10x", "-5", "1.5m", "s", "10 s", "1m30s", "\u0663s", "10s\n", "9999999s"]
)
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    """The message quotes what came and shows what is meant."""
    with pytest.raises(DurationError, match="is not a duration such as 50ms, 10s, 2m, 1h or 45"):
        parse_duration(text)


def test_too_short_a_duration_is_refused_with_the_least() -> None:
    """The least itself is enough."""
    assert parse_duration("1s", least_s=1) == 1
    with pytest.raises(DurationError, match="'999ms' is too short, at least 1s"):
        parse_duration("999ms", least_s=1)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.0504, "50ms"),
        (0.9996, "1s"),
        (1.5, "1.5s"),
        (9.96, "10s"),
        (59.6, "1m"),
        (320.2, "5m 20s"),
        (3599.7, "1h"),
        (7500, "2h 5m"),
    ],
)
def test_duration_reads_in_two_units_at_most(seconds: float, text: str) -> None:
    """Rounded at its last place, without empty units."""
    assert format_duration(seconds) == text


@pytest.mark.parametrize("text", ["0s", "50ms", "1s", "45s", "1m", "3m", "2h"])
def test_plain_durations_read_back(text: str) -> None:
    """What is written with one unit is read again."""
    assert format_duration(parse_duration(text)) == text
