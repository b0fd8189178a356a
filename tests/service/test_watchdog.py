"""The watchdog: counts its own ticks, so that it needs no clock and cannot be fooled by one."""

import math

from service.items import Batch, Item
from service.watchdog import Watchdog


def running(expected_s: float = 0.0) -> Batch[None]:
    """A batch in the engine."""
    return Batch([Item(1, 0.0, None)], left_waiting=False, expected_s=expected_s)


def ticks_until_stalled(watchdog: Watchdog, batch: Batch[None]) -> int:
    """How often it says that all is well."""
    return next(count for count in range(100_000) if watchdog.tick([batch]))


def test_batch_longer_than_the_limit_hangs():
    """To within one tick."""
    watchdog = Watchdog(stall_s=1.5)
    ticks = ticks_until_stalled(watchdog, running())
    assert math.isclose(watchdog.period_s * ticks, 1.5, abs_tol=1.01 * watchdog.period_s)


def test_long_batch_has_twenty_times_what_was_expected_of_it():
    """A service time of a second is no reason to restart."""
    watchdog = Watchdog(stall_s=1.5)
    ticks = ticks_until_stalled(watchdog, running(expected_s=0.5))
    assert math.isclose(watchdog.period_s * ticks, 10.0, abs_tol=2 * watchdog.period_s)


def test_short_limit_is_watched_more_often():
    """At least four ticks, whatever the limit."""
    watchdog = Watchdog(stall_s=0.02)
    assert ticks_until_stalled(watchdog, running()) == 4


def test_time_in_which_the_process_stood_still_does_not_count():
    """However long a pause between two ticks is, it is one tick."""
    watchdog = Watchdog(stall_s=1.0)
    batch = running()
    assert not watchdog.tick([batch])
    # Here the process may have been stopped for an hour.
    assert not watchdog.tick([batch])
    assert batch.age_s == 2 * watchdog.period_s


def test_batches_that_end_in_time_are_forgotten():
    """One after the other may run for ever, beside one of two workers that hangs they may not."""
    watchdog = Watchdog(stall_s=1.0)
    assert not any(watchdog.tick([running()]) for _ in range(1000))
    hanging = running()
    assert any(watchdog.tick([running(), hanging]) for _ in range(12))
    assert not watchdog.tick([])
