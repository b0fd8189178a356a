"""Bytes and seconds of one request against the limits, without a socket."""

import dataclasses

import pytest

from service.http.meter import (
    BODY,
    FRAMING_BYTES,
    PIECE_BYTES,
    Meter,
    ProtocolLimits,
    Reading,
)
from service.http.refusals import Refusal

LIMITS = ProtocolLimits(
    max_header_bytes=50_000,
    max_header_fields=10,
    max_body_bytes=100_000,
    header_timeout_s=10.0,
    body_timeout_s=5.0,
    min_body_rate=1000,
    write_timeout_s=30.0,
    min_read_rate=1000,
)
TICK_S = 0.5


def in_body(now_s: float = 0.0) -> Meter:
    """A meter at the end of the header fields."""
    meter = Meter(LIMITS, now_s)
    meter.body_begins(now_s)
    return meter


def test_limits_have_the_names_of_settings(settings):
    """So they are read by name."""
    limits = ProtocolLimits.from_settings(settings)
    for field in dataclasses.fields(limits):
        assert getattr(limits, field.name) == getattr(settings, field.name)
    assert limits.shortest_s == settings.body_timeout_s


def test_parser_never_gets_more_than_the_limit_of_a_head():
    """In pieces of 32 KB, the last one smaller; then it is refused."""
    meter = Meter(LIMITS, 0.0)
    assert meter.room() == PIECE_BYTES
    assert meter.count(PIECE_BYTES, 0.0) is None
    assert meter.room() == LIMITS.max_header_bytes - PIECE_BYTES
    assert meter.count(meter.room(), 0.0) is Refusal.HEADERS


def test_head_inside_a_piece_is_not_charged_for_what_was_before_it():
    """Where it began is not known, so the whole piece is free."""
    meter = Meter(LIMITS, 0.0)
    meter.head_begins(0.0, inside=True)
    assert meter.count(PIECE_BYTES, 0.0) is None
    for _ in range(49):
        assert meter.count(1000, 0.0) is None
    assert meter.count(1000, 0.0) is Refusal.HEADERS


def test_body_may_have_some_framing_but_not_a_long_one_without_content():
    """In all 64 KB above the limit, and in one run as much as a head."""
    meter = in_body()
    total = 0
    while meter.count(10_000, 0.0) is None:
        meter.content()
        total += 10_000
    assert total == (LIMITS.max_body_bytes + FRAMING_BYTES) // 10_000 * 10_000
    meter = in_body()
    assert [meter.count(size, 0.0) for size in (PIECE_BYTES, 50_000, 1)] == [
        None,
        None,
        Refusal.HEADERS,
    ]


@pytest.mark.parametrize(("now_s", "refusal"), [(9.4, None), (9.5, Refusal.HEADER_TIMEOUT)])
def test_head_is_late_a_tick_before_its_limit(now_s, refusal):
    """As the next look comes after it."""
    meter = Meter(LIMITS, 0.0)
    meter.count(1, 5.0)
    assert meter.late(now_s, TICK_S) is refusal


def test_pause_in_the_body_is_late():
    """Each piece starts the clock again."""
    meter = in_body()
    meter.count(50_000, 4.0)
    assert meter.late(8.4, TICK_S) is None
    assert meter.late(8.5, TICK_S) is Refusal.BODY_TIMEOUT


def test_slow_body_is_late_after_its_first_seconds():
    """The rate is counted from the beginning of the body."""
    meter = in_body()
    for second in range(1, 5):
        meter.count(10, float(second))
    assert meter.late(4.5, TICK_S) is None
    assert meter.late(5.0, TICK_S) is Refusal.BODY_TIMEOUT
    meter.count(5000, 5.0)
    assert meter.late(5.0, TICK_S) is None
    assert meter.late(5.1, TICK_S) is Refusal.BODY_TIMEOUT


def test_time_in_which_the_client_waits_for_us_does_not_count():
    """Neither as a pause nor for the rate."""
    meter = in_body()
    now_s = 0.0
    for _ in range(100):
        now_s += TICK_S
        meter.hold(now_s, TICK_S)
    assert meter.phase == BODY
    assert meter.late(now_s, TICK_S) is None
    assert meter.late(now_s + 4.4, TICK_S) is None
    assert meter.late(now_s + 4.5, TICK_S) is Refusal.BODY_TIMEOUT


def test_lingering_ends_after_a_second_or_64_kb():
    """Whichever comes first."""
    meter = in_body()
    meter.linger_begins(7.0)
    assert not meter.lingered(7.9)
    assert meter.lingered(8.0)
    assert meter.discard(65_536)
    assert not meter.discard(1)


def test_client_that_reads_too_slowly_is_late_when_its_time_is_over():
    """64 KiB in 30 s were progress enough: an answer of 88 MB was held for eleven hours."""
    reading = Reading(dataclasses.replace(LIMITS, min_read_rate=10_000))
    left = 10_000_000
    assert not reading.late(left, 0.0)
    for now_s in range(1, 30):
        left -= 9_000
        assert not reading.late(left, float(now_s))
    assert reading.late(left, 30.0)


def test_client_that_reads_fast_enough_may_take_as_long_as_it_takes():
    """And a pause is still one, however fast it was before."""
    reading = Reading(dataclasses.replace(LIMITS, min_read_rate=10_000))
    left = 10_000_000
    for now_s in range(500):
        assert not reading.late(left, float(now_s))
        left -= 11_000
    assert not reading.late(left, 520.0)
    assert reading.late(left, 530.0)


def test_next_answer_has_a_time_of_its_own():
    """When all is read, or nearly all; growing is no progress."""
    reading = Reading(LIMITS)
    assert not reading.late(1_000_000, 0.0)
    reading.ends()
    assert not reading.late(1_000_000, 29.0)
    assert not reading.late(0, 30.0)
    assert not reading.late(1_000_000, 58.0)
    assert not reading.late(2_000_000, 87.9)
    assert reading.late(2_000_000, 88.0)
