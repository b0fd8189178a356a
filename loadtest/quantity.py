"""Numbers with a unit, read from settings and shown to people: one way for all files and reports.

Durations become seconds, shares 0 to 1, sizes bytes. The types check what pydantic reads for them.
"""

import math
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BeforeValidator

_SECONDS = {"us": "0.000001", "ms": "0.001", "s": "1", "m": "60", "h": "3600"}
_SHARES = {"%": "0.01"}
_BYTES = {"KB": "1e3", "MB": "1e6", "GB": "1e9"}
INFINITE = "∞"  # slower than any answer: the request was never answered
NOTHING = "-"

Unit = Literal["s", "ratio", "bytes", "x", "points"]

_BELOW_ONE = math.nextafter(1, 0)
_QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([A-Za-z]+|%)")


def _read(value: object, units: Mapping[str, str]) -> float:
    """`50ms` as 0.05; NaN for anything else, and for a number without its unit.

    A share may be a plain number up to 1: above, 5 for 5 % would be read as 500 %.
    """
    if units is _SHARES and isinstance(value, int | float) and not isinstance(value, bool):
        return value if value <= 1 else math.nan
    match = _QUANTITY.fullmatch(value) if isinstance(value, str) else None
    if match is None or match[2] not in units:
        return math.nan
    return float(Decimal(match[1]) * Decimal(units[match[2]]))


def _quantity(
    expected: str, units: Mapping[str, str], above: float = 0, most: float = 1e9
) -> BeforeValidator:
    """Reads a quantity and refuses one that is not above `above` or is more than `most`."""

    def check(value: object) -> float:
        number = _read(value, units)
        if not above < number <= most:
            raise ValueError(f"expected {expected}, got {value!r}")
        return number

    return BeforeValidator(check)


def _growth(value: object) -> float:
    """A ratio up to 10, or bytes from 1000: one number tells both, see `slo.MemoryGrowth`."""
    ratio, size = _read(value, _SHARES), _read(value, _BYTES)
    if not (0 < ratio <= 10 or 1_000 <= size <= 1e15):
        raise ValueError(f"expected a growth above 0 such as 10% or 20MB, got {value!r}")
    return size if math.isnan(ratio) else ratio


Duration = Annotated[float, _quantity("a duration above 0 such as 50ms, 2s or 1m", _SECONDS)]
Pause = Annotated[float, _quantity("a duration such as 5s, or 0s", _SECONDS, above=-1)]
Share = Annotated[
    float, _quantity("a share above 0% and below 100% such as 0.1%", _SHARES, most=_BELOW_ONE)
]
Part = Annotated[float, _quantity("a share above 0% and up to 100% such as 99%", _SHARES, most=1)]
Increase = Annotated[float, _quantity("an increase above 0% such as 5%", _SHARES, most=10)]
Confidence = Annotated[
    float, _quantity("a confidence of 80% to 99.9%", _SHARES, above=0.799, most=0.999)
]
Growth = Annotated[float, BeforeValidator(_growth)]


def show(value: float | None, unit: Unit, *, exact: bool = False) -> str:
    """A figure for people: `12.3 ms`, `0.12 %`, `20.0 MB`; a dash for NaN.

    Args:
        value: None is infinite.
        unit: of `x`, a ratio to a baseline, and of `points`, a difference of two ratios, the change
            is shown: 1.052 as `+5.2 %`, 0.012 as `+1.20 points`.
        exact: a setting, a round number: `50 ms`, `20 MB`, `+5 %`.
    """
    if value is None or not math.isfinite(value):
        return NOTHING if value is not None and math.isnan(value) else INFINITE
    number, places, name = _scaled(value, unit)
    sign = "+" if unit in {"x", "points"} else ""
    if exact:
        return f"{round(number, 6):{sign},.10g} {name}"
    said = f"{number:{sign},.{places}f}"
    return f"{_strip_zeros(said) if unit == 'ratio' else said} {name}"


def show_rate(per_second: float | None, unit: str = " requests/s") -> str:
    """Three significant digits or more; a dash for None."""
    if per_second is None:
        return NOTHING
    return f"{per_second:,.{_places(per_second)}f}{unit}"


def _scaled(value: float, unit: Unit) -> tuple[float, int, str]:
    """The number to show, its decimals, and what it counts."""
    if unit == "s":
        return 1000 * value, _places(1000 * value), "ms"
    if unit == "bytes":
        return (value / 1e9, 2, "GB") if abs(value) >= 1e9 else (value / 1e6, 1, "MB")
    if unit == "x":
        return 100 * (value - 1), 1, "%"
    if unit == "points":
        return 100 * value, 2, "points"
    percent = 100 * value  # with enough digits to tell it from 0 and from 100
    tail = min(abs(percent), abs(100 - percent))
    return percent, 2 if tail >= 0.1 or tail < 1e-9 else 1 - math.floor(math.log10(tail)), "%"


def _places(number: float) -> int:
    return 2 if number < 10 else 1 if number < 100 else 0


def _strip_zeros(number: str) -> str:
    return number.rstrip("0").rstrip(".") if "." in number else number
