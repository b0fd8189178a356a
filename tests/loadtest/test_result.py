"""From raw samples to the result, with numbers that can be checked by hand."""

import json

import pytest

from loadtest.result import Generator, Model, Plan, Result, percentile, summarise
from loadtest.samples import OK, Samples

PLAN = Plan("http://h", users=2, duration_s=3, warm_up_s=1, texts="built-in", num_texts=51)
GENERATOR = Generator("2.47.0", cpu_count=2, cpu_warning=False)


def _summarised(rows: list[tuple[float, float, str]], stopped_s: float = 4.0) -> Result:
    samples = Samples("2026-01-02T03:04:05+00:00", stopped_s)
    for row in rows:
        samples.add(*row)
    return summarise(samples, PLAN, [Model("m", "1", None)], GENERATOR)


@pytest.mark.parametrize(
    ("percent", "expected"), [(1, 1), (50, 50), (51, 51), (95, 95), (99, 99), (100, 100)]
)
def test_percentile_of_one_to_hundred_is_the_percent_itself(percent: int, expected: int) -> None:
    """Nearest rank on 1..100 gives back the percent."""
    assert percentile(range(1, 101), percent) == expected


def test_percentile_is_always_a_measured_value() -> None:
    """Nearest rank rounds the rank up and never interpolates."""
    assert percentile([1.0, 10.0], 50) == 1.0
    assert percentile([1.0, 10.0], 51) == 10.0
    assert percentile([1.0, 2.0, 3.0], 95) == 3.0
    assert percentile([7.0], 1) == 7.0


def test_requests_sent_during_the_warm_up_are_left_out() -> None:
    """The start decides: a slow answer that ends after the warm-up is out too."""
    result = _summarised([(0.9, 2.0, "status 503"), (0.999, 2.0, OK), (1.0, 0.1, OK)])
    assert (result.requests, result.failed) == (1, 0)
    assert result.latency is not None
    assert result.latency.max_s == 0.1


def test_failures_are_counted_by_kind_and_enter_no_percentile() -> None:
    """A fast refusal must not make the service look fast."""
    refused = [(1.5, 0.001, "status 503")] * 3 + [(1.6, 0.001, "ConnectionRefusedError")]
    result = _summarised([*refused, (1.7, 0.2, OK), (1.8, 0.4, OK)])
    assert (result.requests, result.failed) == (6, 4)
    assert list(result.errors.items()) == [("status 503", 3), ("ConnectionRefusedError", 1)]
    assert result.latency is not None
    assert (result.latency.p50_s, result.latency.p99_s) == (0.2, 0.4)


def test_throughput_is_answers_per_measured_second() -> None:
    """Six answers and one failure in the 3 s after the warm-up are 2 answers per second."""
    result = _summarised([(1 + i / 2, 0.1, OK) for i in range(6)] + [(2.0, 0.1, "unfinished")])
    assert result.measured_s == 3.0
    assert result.throughput_rps == 2.0


def test_series_holds_each_request_once_in_the_second_it_was_sent() -> None:
    """Seconds add up to the whole, also when nothing was sent in one of them."""
    result = _summarised([(1.0, 0.3, OK), (1.9, 5.0, OK), (3.1, 0.2, OK), (3.2, 0.1, "not one")])
    assert [second.requests for second in result.series] == [2, 0, 2]
    assert [second.failed for second in result.series] == [0, 0, 1]
    assert [second.throughput_rps for second in result.series] == [2.0, 0.0, 1.0]
    assert [second.p50_s for second in result.series] == [0.3, None, 0.2]
    assert [second.p95_s for second in result.series] == [5.0, None, 0.2]
    assert [second.max_s for second in result.series] == [5.0, None, 0.2]


@pytest.mark.parametrize(("stopped_s", "seconds", "last_rps"), [(3.25, 2, 0.8), (3.75, 3, 4 / 3)])
def test_last_second_counts_by_its_true_width(
    stopped_s: float, seconds: int, last_rps: float
) -> None:
    """A remainder under half a second joins the one before, a longer one stands alone."""
    result = _summarised([(1.1, 0.1, OK), (3.2, 0.1, OK)], stopped_s)
    assert len(result.series) == seconds
    assert result.series[-1].throughput_rps == pytest.approx(last_rps)


def test_histogram_bins_hold_every_answer_between_their_edges() -> None:
    """Edges are 20 to a decade, and the lower one is included."""
    result = _summarised([(1.0, s, OK) for s in (0.0101, 0.0105, 0.015, 0.0999)])
    assert result.latency is not None
    bins = result.latency.histogram
    assert len(bins.edges_s) == len(bins.counts) + 1
    assert bins.edges_s[0] == pytest.approx(0.01)
    assert bins.edges_s[-1] == pytest.approx(0.1)
    assert {i: n for i, n in enumerate(bins.counts) if n} == {0: 2, 3: 1, 19: 1}


def test_run_stopped_in_the_warm_up_measured_nothing() -> None:
    """No division by a time that never came."""
    result = _summarised([(0.1, 0.1, OK)], stopped_s=0.5)
    assert (result.measured_s, result.throughput_rps, result.latency) == (0.0, 0.0, None)
    assert result.series == []


def test_json_is_the_whole_result_in_seconds_to_the_microsecond() -> None:
    """What is saved names its units and needs no code to be read."""
    saved = json.loads(_summarised([(1.0, 0.12345678, OK)]).to_json())
    assert saved["workload"] == "closed"
    assert saved["plan"]["url"] == "http://h"
    assert saved["models"] == [{"name": "m", "version": "1", "manifest_sha256": None}]
    assert saved["latency"]["p99_s"] == 0.123457
    assert saved["throughput_rps"] == 0.333333
    assert saved["series"][0]["requests"] == 1
