"""Token buckets: how many calls an account may make."""

from __future__ import annotations

from dataclasses import dataclass

from blindmatch_server.clock import Clock
from blindmatch_server.errors import RateError


@dataclass(frozen=True, slots=True)
class Rate:
    """`per_second` calls in the long run, `burst` at once."""

    per_second: float
    burst: int

    def __post_init__(self) -> None:
        if not (self.per_second > 0 and self.burst >= 1):
            raise ValueError("a rate allows at least one call, and more with time")


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


class TokenBuckets:
    """One bucket an account. A clock that jumps back adds nothing and takes nothing away."""

    def __init__(self, rate: Rate, clock: Clock) -> None:
        self._rate = rate
        self._clock = clock
        self._buckets: dict[str, _Bucket] = {}

    def take(self, account: str, step: str) -> None:
        """Take one token of `account`.

        Raises:
            RateError: if none is there; it says when one will be.
        """
        now = self._clock()
        bucket = self._buckets.setdefault(account, _Bucket(self._rate.burst, now))
        gained = max(0.0, now - bucket.at) * self._rate.per_second
        bucket.tokens = min(self._rate.burst, bucket.tokens + gained)
        bucket.at = now
        if bucket.tokens < 1:
            raise RateError(step, int((1 - bucket.tokens) / self._rate.per_second * 1000) + 1)
        bucket.tokens -= 1
