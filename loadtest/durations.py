"""Durations as people write them. Standard library only."""

import re

_UNITS_MS = {"": 1_000, "ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000}


class DurationError(ValueError):
    """Not a duration, or too short a one; the message quotes what came."""


def parse_duration(text: str, least_s: float = 0.0) -> float:
    """Seconds of `50ms`, `10s`, `2m`, `1h` or `45`; DurationError for anything else or less."""
    match = re.fullmatch(r"([0-9]{1,6})(ms|[smh]?)", text)
    if match is None:
        raise DurationError(f"{text!r} is not a duration such as 50ms, 10s, 2m, 1h or 45")
    seconds = int(match[1]) * _UNITS_MS[match[2]] / 1000
    if seconds < least_s:
        raise DurationError(f"{text!r} is too short, at least {format_duration(least_s)}")
    return seconds


def format_duration(seconds: float) -> str:
    """A duration to be read: `50ms`, `1.5s`, `45s`, `5m 20s`, `2h 5m`; the last place rounded.

    Args:
        seconds: at least 0. Whole ones below two minutes read back with `parse_duration`.
    """
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f}ms" if seconds else "0s"
    if seconds < 9.95:
        return f"{seconds:.1f}".removesuffix(".0") + "s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60}s".removesuffix(" 0s")
    minutes = round(seconds / 60)
    return f"{minutes // 60}h {minutes % 60}m".removesuffix(" 0m")
