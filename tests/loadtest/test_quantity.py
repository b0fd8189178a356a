"""A number looks the same wherever it is shown, and says what it is."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.quantity import Unit, show, show_rate


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0012345, "s", "1.23 ms"),
        (0.0456, "s", "45.6 ms"),
        (0.2004, "s", "200 ms"),
        (12.3, "s", "12,300 ms"),
        (0.0, "s", "0.00 ms"),
        (math.inf, "s", "∞"),
        (math.nan, "s", "-"),
        (None, "s", "∞"),
        (0.0, "ratio", "0 %"),
        (1.0, "ratio", "100 %"),
        (0.5, "ratio", "50 %"),
        (0.0012, "ratio", "0.12 %"),
        (0.00004, "ratio", "0.004 %"),
        (0.99997, "ratio", "99.997 %"),
        (1.25, "ratio", "125 %"),
        (30.5e6, "bytes", "30.5 MB"),
        (-2e6, "bytes", "-2.0 MB"),
        (8.59e9, "bytes", "8.59 GB"),
        (1.0523, "x", "+5.2 %"),
        (-0.002, "points", "-0.20 points"),
    ],
)
def test_figures_keep_the_digits_that_tell_them_apart(
    value: float | None, unit: Unit, text: str
) -> None:
    """A 1 ms service and a 10 s stall; 3 failures in 100,000 are not 0 %, nor 100 % of good."""
    assert show(value, unit) == text


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.05, "s", "50 ms"),
        (1.5, "s", "1,500 ms"),
        (0.00025, "s", "0.25 ms"),
        (0.9995, "ratio", "99.95 %"),
        (24e6, "bytes", "24 MB"),
        (1.05, "x", "+5 %"),
        (-0.01, "points", "-1 points"),
    ],
)
def test_settings_are_shown_as_they_were_set(value: float, unit: Unit, text: str) -> None:
    """All their digits and no more."""
    assert show(value, unit, exact=True) == text


@given(st.floats(0, 2), st.sampled_from(["s", "ratio"]))
def test_no_figure_is_rounded_to_nothing(value: float, unit: Unit) -> None:
    """Whatever is seen on the screen is within 5 % of what was measured, above 1 us and 1 ppm."""
    shown = float(show(value, unit).split()[0].replace(",", ""))
    factor = {"s": 1000, "ratio": 100}[unit]
    assert shown == pytest.approx(factor * value, rel=0.05, abs=0.006 if unit == "s" else 1e-4)


def test_rates_keep_three_digits() -> None:
    """Where none was found there is a dash."""
    assert [show_rate(rate) for rate in (2.5, 1234.6)] == ["2.50 requests/s", "1,235 requests/s"]
    assert show_rate(99.94, "/s") == "99.9/s"
    assert show_rate(None) == "-"
