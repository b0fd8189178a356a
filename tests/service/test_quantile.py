"""The rolling quantile against sorting all that it may remember."""

import math

from hypothesis import given
from hypothesis import strategies as st

from service.quantile import RollingQuantiles


@given(
    st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=60),
    st.sampled_from([0.5, 0.9, 0.95]),
    st.integers(1, 20),
)
def test_value_is_that_of_the_last_values_sorted(values, quantile, window):
    """The one at the place of the quantile, as if the next value were there already."""
    rolling = RollingQuantiles(window)
    for value in values:
        rolling.add(value)
    kept = sorted(values[-window:])
    place = math.ceil(quantile * (len(kept) + 1))
    assert rolling.at(quantile) == kept[min(place, len(kept)) - 1]


def test_nothing_seen_has_no_quantile():
    """Neither at first nor after everything was forgotten."""
    rolling = RollingQuantiles(8)
    assert rolling.at(0.95) is None
    rolling.add(1.0)
    rolling.clear()
    assert rolling.at(0.95) is None
