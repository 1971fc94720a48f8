"""Token buckets: how many calls an account may make."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from blindmatch_server.storage.clock import Clock
from blindmatch_server.storage.errors import RateError

_SWEEP_FROM = 10_000


class Rate(Struct, frozen=True):
    """`per_second` calls in the long run, `burst` at once."""

    per_second: float
    burst: int

    def __post_init__(self) -> None:
        if not (self.per_second > 0 and self.burst >= 1):
            raise ValueError("a rate allows at least one call, and more with time")

    @property
    def fills_in(self) -> float:
        """Seconds until an empty bucket is full."""
        return self.burst / self.per_second


class _Bucket(Struct):
    tokens: float
    at: float


class TokenBuckets:
    """One bucket an account. A clock that jumps back adds nothing and takes nothing away.

    Args:
        rate: of every account but those of `others`, which have their own.
        clock: Unix time in seconds.
        others: rates by account.
    """

    def __init__(self, rate: Rate, clock: Clock, others: Mapping[str, Rate] | None = None) -> None:
        self._rate = rate
        self._others = others or {}
        self._clock = clock
        self._buckets: dict[str, _Bucket] = {}
        self._next_sweep = _SWEEP_FROM

    def __len__(self) -> int:
        """How many buckets are kept."""
        return len(self._buckets)

    def take(self, account: str, step: str) -> None:
        """Take one token of `account`.

        Raises:
            RateError: if none is there; it says when one will be.
        """
        now = self._clock()
        if len(self._buckets) >= self._next_sweep:
            self._sweep(now)
        rate = self._of(account)
        bucket = self._buckets.setdefault(account, _Bucket(rate.burst, now))
        gained = max(0.0, now - bucket.at) * rate.per_second
        bucket.tokens = min(rate.burst, bucket.tokens + gained)
        bucket.at = now
        if bucket.tokens < 1:
            raise RateError(step, int((1 - bucket.tokens) / rate.per_second * 1000) + 1)
        bucket.tokens -= 1

    def _of(self, account: str) -> Rate:
        return self._others.get(account, self._rate)

    def _sweep(self, now: float) -> None:
        """Forget buckets that are full again: they say nothing."""
        self._buckets = {
            name: one for name, one in self._buckets.items() if now - one.at < self._of(name).fills_in
        }
        self._next_sweep = max(_SWEEP_FROM, 2 * len(self._buckets))
