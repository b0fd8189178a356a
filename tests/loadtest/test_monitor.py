"""Ticks: what happened between two looks at the counters."""

import dataclasses
import os
import time

import pytest

from loadtest.monitor import Look, Monitor, to_tick

FIRST = Look(
    at=100.0,
    total_s=1000.0,
    idle_s=500.0,
    steal_s=10.0,
    generator_s={1: 5.0},
    servers=[
        {
            "process_cpu_seconds_total": 3.0,
            "heed_queue_wait_seconds_sum": 1.0,
            "heed_queue_wait_seconds_count": 10.0,
            "heed_batch_size_sum": 50.0,
            "heed_batch_size_count": 10.0,
        }
    ],
)
SECOND = Look(
    at=101.0,
    total_s=1002.0,
    idle_s=501.0,
    steal_s=10.1,
    generator_s={1: 5.4, 2: 0.1},
    servers=[
        {
            "process_cpu_seconds_total": 4.5,
            "process_resident_memory_bytes": 1e8,
            "heed_queue_wait_seconds_sum": 1.5,
            "heed_queue_wait_seconds_count": 110.0,
            "heed_batch_size_sum": 50.0,
            "heed_batch_size_count": 10.0,
            "heed_queue_depth": 4.0,
        }
    ],
)


def test_a_tick_is_the_difference_of_two_looks() -> None:
    """Ratios over the time between them."""
    tick = to_tick(0, FIRST, SECOND)
    assert tick.host_cpu_ratio == pytest.approx(0.5)
    assert tick.steal_ratio == pytest.approx(0.05)
    assert tick.generator_cpu_ratio == pytest.approx(0.4)  # the busiest process
    assert tick.server_cpu_ratio == pytest.approx(1.5)
    assert tick.queue_s == pytest.approx(0.005)
    assert (tick.server_rss_bytes, tick.queue_depth) == (100_000_000, 4.0)


def test_a_mean_of_nothing_is_unknown() -> None:
    """No batch ended in between."""
    assert to_tick(0, FIRST, SECOND).batch_size is None


def test_a_server_without_metrics_is_unknown_and_not_idle() -> None:
    """None everywhere, not zero."""
    silent = dataclasses.replace(SECOND, servers=[{}])
    tick = to_tick(0, FIRST, silent)
    assert (tick.server_cpu_ratio, tick.server_rss_bytes, tick.queue_s) == (None, None, None)


def test_a_monitor_sees_the_cpu_of_the_process_it_watches() -> None:
    """This one, which works until a tick is there."""
    monitor = Monitor(os.getpid(), [FakeTarget()])
    monitor.start()
    until = time.monotonic() + 30
    while not monitor.ticks and time.monotonic() < until:
        sum(range(1000))
    monitor.stop()
    assert monitor.ticks[0].generator_cpu_ratio > 0.05
    assert 0 < monitor.ticks[0].host_cpu_ratio <= 1


class FakeTarget:
    """A service without metrics."""

    def metrics(self) -> dict[str, float]:
        """None."""
        return {}
