"""Requests a second of one key: a token bucket that is one number. Pure: callers pass `now`."""

import math
from collections import OrderedDict
from dataclasses import dataclass

_MAX_KEYS = 10_000  # more than a key file of its largest size holds
_ROUNDING = 1e-6  # of a request: who waits for exactly `retry_after_s` is let in


@dataclass(frozen=True, slots=True)
class Quota:
    """`rate` requests a second in the long run, `burst` of them at once; both above 0."""

    rate: float
    burst: int


@dataclass(frozen=True, slots=True)
class Grant:
    """What becomes of a request; `remaining` more may follow at once."""

    allowed: bool
    remaining: int
    retry_after_s: float  # until a request is allowed; 0 if one is now
    reset_s: float  # until the whole burst is there again


class RateLimiter:
    """A bucket for each key; the least recently used is forgotten when there are too many.

    A bucket is the time at which it will be full again: each request moves that by 1 / rate, and
    nothing has to be done in between (the virtual scheduling algorithm of ITU-T I.371).
    """

    def __init__(self, max_keys: int = _MAX_KEYS) -> None:
        self._full_at: OrderedDict[str, float] = OrderedDict()
        self._max_keys = max_keys

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, key_id: str, quota: Quota, now: float) -> Grant:
        """Let a request of this key pass, or not. The quota may differ from the last one.

        Args:
            key_id: whose bucket.
            quota: its size and filling.
            now: seconds of a monotonic clock.
        """
        capacity_s = quota.burst / quota.rate
        # The limit of `now + capacity_s` is for a quota that has become smaller.
        full_at = min(max(now, self._full_at.get(key_id, now)), now + capacity_s)
        tokens = quota.burst - (full_at - now) * quota.rate
        allowed = tokens >= 1.0 - _ROUNDING
        if allowed:
            full_at += 1.0 / quota.rate
            tokens -= 1.0
        self._full_at[key_id] = full_at
        self._full_at.move_to_end(key_id)
        if len(self._full_at) > self._max_keys:
            self._full_at.popitem(last=False)
        missing = max(0.0, 1.0 - tokens)
        return Grant(
            allowed,
            max(0, math.floor(tokens + _ROUNDING)),
            missing / quota.rate if missing > _ROUNDING else 0.0,
            full_at - now,
        )


def header_fields(quota: Quota, grant: Grant) -> dict[str, str]:
    """How a client paces itself, whole seconds rounded up.

    The first two are those of draft-ietf-httpapi-ratelimit-headers since its version 8; the others
    those of its versions up to 6, which most clients read.
    """
    window_s = math.ceil(quota.burst / quota.rate)
    reset_s = math.ceil(grant.reset_s)
    return {
        "RateLimit-Policy": f'"key";q={quota.burst};w={window_s}',
        "RateLimit": f'"key";r={grant.remaining};t={reset_s}',
        "RateLimit-Limit": str(quota.burst),
        "RateLimit-Remaining": str(grant.remaining),
        "RateLimit-Reset": str(reset_s),
    }
