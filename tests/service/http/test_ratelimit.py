"""The token bucket, on a virtual clock: who is let in, and what clients are told."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.http.ratelimit import Quota, RateLimiter, header_fields

quotas = st.builds(
    Quota,
    rate=st.floats(min_value=0.01, max_value=1000.0),
    burst=st.integers(min_value=1, max_value=200),
)
gaps = st.lists(st.floats(min_value=0.0, max_value=5.0), min_size=1, max_size=200)


def allowed(limiter: RateLimiter, key_id: str, quota: Quota, times: list[float]) -> int:
    """How many requests of a key at these times are let in."""
    return sum(limiter.take(key_id, quota, now).allowed for now in times)


@pytest.mark.parametrize("rate", [0.5, 7.0, 50.0, 333.3])
def test_offender_gets_its_quota_and_the_other_all_of_its_own(rate):
    """Ten times too many are cut to the quota within 5 %; a key within its quota loses nothing."""
    limiter, quota, duration_s = RateLimiter(), Quota(rate, max(1, round(rate))), 200.0
    many = [step / (10 * rate) for step in range(int(10 * rate * duration_s))]
    few = [step / (0.9 * rate) for step in range(int(0.9 * rate * duration_s))]
    arrivals = sorted([(now, "greedy") for now in many] + [(now, "modest") for now in few])
    passed = {"greedy": 0, "modest": 0}
    for now, key_id in arrivals:
        passed[key_id] += limiter.take(key_id, quota, now).allowed
    assert passed["greedy"] == pytest.approx(rate * duration_s, rel=0.05)
    assert passed["modest"] == len(few)


@given(quotas, gaps)
def test_no_stretch_of_time_lets_more_in_than_burst_and_rate(quota, gaps):
    """Whatever the arrivals: at most `burst + rate x seconds`, from any request to any other."""
    limiter, now, times = RateLimiter(), 1000.0, []
    for gap in gaps:
        now += gap
        if limiter.take("a", quota, now).allowed:
            times.append(now)
    for first, start in enumerate(times):
        for last in range(first, len(times)):
            limit = quota.burst + quota.rate * (times[last] - start)
            assert last - first + 1 <= limit + 1e-3


@given(quotas, gaps)
def test_whoever_waits_as_told_is_let_in(quota, gaps):
    """`retry_after_s` is enough, and half of it is too little; `remaining` is what may follow."""
    limiter, now = RateLimiter(), 1000.0
    for gap in gaps:
        now += gap
        grant = limiter.take("a", quota, now)
        if not grant.allowed:
            assert grant.remaining == 0
            assert not limiter.take("a", quota, now + grant.retry_after_s / 2).allowed
            now += grant.retry_after_s
            assert limiter.take("a", quota, now).allowed
    left = limiter.take("a", quota, now).remaining
    assert allowed(limiter, "a", quota, [now] * (left + 5)) == left


@given(quotas, st.integers(min_value=1, max_value=300))
def test_bucket_is_full_again_when_it_says_so(quota, requests):
    """After `reset_s` the whole burst may be taken at once."""
    limiter = RateLimiter()
    for _ in range(requests):
        grant = limiter.take("a", quota, 50.0)
    later = 50.0 + grant.reset_s + 1e-6
    assert allowed(limiter, "a", quota, [later] * (quota.burst + 1)) == quota.burst


def test_refused_requests_do_not_postpone_the_next_one():
    """Who keeps asking gets as much as who waits."""
    limiter, quota = RateLimiter(), Quota(rate=1.0, burst=1)
    assert allowed(limiter, "a", quota, [step / 100 for step in range(1000)]) == 10


def test_quota_that_changes_counts_at_once():
    """Larger or smaller: what was used before the change is used after it, but nobody is banned."""
    limiter = RateLimiter()
    small, large = Quota(rate=0.01, burst=10), Quota(rate=10.0, burst=10)
    assert allowed(limiter, "a", small, [0.0] * 11) == 10
    assert not limiter.take("a", small, 1.0).allowed
    assert limiter.take("a", large, 1.0).retry_after_s <= 0.1
    assert limiter.take("a", large, 1.2).allowed


def test_memory_is_bounded_and_the_least_recently_used_is_forgotten():
    """A forgotten bucket is a full one."""
    limiter, quota = RateLimiter(max_keys=3), Quota(rate=0.001, burst=1)
    for key_id in ("a", "b", "a", "c", "d"):
        limiter.take(key_id, quota, 0.0)
    assert len(limiter) == 3
    assert not limiter.take("a", quota, 0.0).allowed
    assert limiter.take("b", quota, 0.0).allowed


def test_header_fields_are_those_of_the_draft():
    """The two of today and the three of before, whole numbers, seconds rounded up."""
    limiter, quota = RateLimiter(), Quota(rate=4.0, burst=10)
    assert header_fields(quota, limiter.take("a", quota, 0.0)) == {
        "RateLimit-Policy": '"key";q=10;w=3',
        "RateLimit": '"key";r=9;t=1',
        "RateLimit-Limit": "10",
        "RateLimit-Remaining": "9",
        "RateLimit-Reset": "1",
    }
