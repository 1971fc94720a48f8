"""How often, and how many at a time, an account may call; what waits and until when; what runs beside."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, TypeVar

from msgspec import Struct

from blindmatch_server.hosting.authority import Identity, Kind
from blindmatch_server.hosting.event_log import Clock
from blindmatch_server.storage.errors import QuotaError, RateError, SlowError

_SWEEP_FROM = 10_000


class Rate(Struct, frozen=True):
    """`per_second` calls in the long run, `burst` at once."""

    per_second: float
    burst: int

    def __post_init__(self) -> None:
        if not (self.per_second > 0 and self.burst >= 1):
            raise ValueError("a rate allows at least one call, and more with time")


class _Bucket(Struct):
    tokens: float
    at: float


class TokenBuckets:
    """One bucket an account, of `rate` unless it has its own among `others`. A clock that jumps back adds
    nothing and takes nothing away."""

    def __init__(self, rate: Rate, clock: Clock, others: Mapping[str, Rate] | None = None) -> None:
        self._rate = rate
        self._others = others or {}
        self._clock = clock
        self._buckets: dict[str, _Bucket] = {}
        self._next_sweep = _SWEEP_FROM

    def take(self, account: str, step: str) -> None:
        """Take one token of `account`; `RateError` if none is there; it says when one will be."""
        now = self._clock()
        if len(self._buckets) >= self._next_sweep:
            self._buckets = {
                name: one
                for name, one in self._buckets.items()
                if now - one.at < self._of(name).burst / self._of(name).per_second
            }
            self._next_sweep = max(_SWEEP_FROM, 2 * len(self._buckets))
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


T = TypeVar("T")


class CallLimit:
    """Bounds the calls that an account has at the same time to `most`, or to its own bound among `others`;
    `whose` says in errors what accounts are. Belongs to one event loop."""

    def __init__(self, most: int, others: Mapping[str, int] | None = None, whose: str = "an account") -> None:
        self._most = most
        self._others = others or {}
        self._whose = whose
        self._taken: dict[str, int] = {}

    @contextmanager
    def hold(self, account: str, step: str) -> Iterator[None]:
        """Hold a place while the context lasts; `QuotaError` if the account holds all of its places."""
        taken = self._taken.get(account, 0)
        most = self._others.get(account, self._most)
        if taken >= most:
            raise QuotaError(step, f"{self._whose} may have {most} of these calls at a time")
        self._taken[account] = taken + 1
        try:
            yield
        finally:
            self._taken[account] -= 1
            if not self._taken[account]:
                del self._taken[account]

    def held(self, account: str) -> int:
        return self._taken.get(account, 0)


class Places:
    """Bounds the calls a server has at the same time, so that no account fills it; of one event loop.

    A device may have 1/32 of all, another party 1/4, and all devices together 3/4, so that servers and
    operators are let in beside any number of devices. Once devices hold half of theirs, a device may take one
    only while it has less than 1/512 of all: a dozen accounts fill one half, and 192 more the other.
    """

    def __init__(self, most: int) -> None:
        self._devices = CallLimit(max(1, most // 32))
        self._few = max(1, most // 512)
        self._others = CallLimit(max(1, most // 4))
        self._of_devices = max(1, most * 3 // 4)
        self._kinds = CallLimit(most, {Kind.DEVICE: self._of_devices}, "all devices together")
        self._all = CallLimit(most, whose="all callers together")

    @contextmanager
    def hold(self, caller: Identity, step: str) -> Iterator[None]:
        """Hold a place while the context lasts; `QuotaError` if the account, all devices or all callers hold
        all of their places, or a device its few while devices hold half of theirs."""
        of_account = self._devices if caller.kind is Kind.DEVICE else self._others
        half_full = 2 * self._kinds.held(Kind.DEVICE) >= self._of_devices
        if half_full and self._devices.held(caller.account) >= self._few:
            raise QuotaError(step, f"a device may have {self._few} of these calls while devices have many")
        with (
            of_account.hold(caller.account, step),
            self._kinds.hold(caller.kind, step),
            self._all.hold("", step),
        ):
            yield


class LeastPace(Struct, frozen=True):
    """How fast callers must send and take: `per_second` bytes, at most `seconds` late."""

    seconds: float = 30.0
    per_second: float = 32768.0


class Patience(Struct):
    """One call's waiting for its caller, who may be late and does not get ahead."""

    pace: LeastPace
    late: float = 0.0

    def moved(self, size: int) -> None:
        """So many bytes came, or are to be taken."""
        self.late = max(0.0, self.late - size / self.pace.per_second)

    async def wait(self, other: Awaitable[T], step: str) -> T:
        """What the caller does next; `SlowError` if it is too late."""
        began = time.monotonic()
        try:
            async with asyncio.timeout(self.pace.seconds - self.late):
                return await other
        except TimeoutError as error:
            rule = f"must come within {self.pace.seconds:g} s and {self.pace.per_second:.0f} bytes a second"
            raise SlowError(step, rule, "message") from error
        finally:
            self.late += time.monotonic() - began


class _Line(Struct):
    turns: asyncio.Semaphore
    calls: int = 0


class TurnQueue:
    """Lets so many calls of an account be worked on at a time; others wait in a line of the account's own, so
    that it is served beside the others and not before them. Arguments as for `CallLimit`; belongs to one
    event loop."""

    def __init__(self, most: int, others: Mapping[str, int] | None = None) -> None:
        self._most = most
        self._others = others or {}
        self._lines: dict[str, _Line] = {}

    @asynccontextmanager
    async def take(self, account: str) -> AsyncIterator[None]:
        line = self._lines.setdefault(
            account, _Line(asyncio.Semaphore(self._others.get(account, self._most)))
        )
        line.calls += 1
        try:
            async with line.turns:
                yield
        finally:
            line.calls -= 1
            if not line.calls:
                del self._lines[account]


async def nothing_left(
    is_left: Callable[[], Awaitable[bool]], changed: asyncio.Event, seconds: float
) -> None:
    """Wait until nothing is left, or for `seconds`; asked again when something `changed`, or each second."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while await is_left():
                changed.clear()
                await wait_at_most(changed, 1.0)


async def wait_at_most(event: asyncio.Event, seconds: float) -> None:
    """Wait until something happens, or for `seconds`."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


@asynccontextmanager
async def under_way(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Work goes on while the context lasts; what is left of it then is cancelled and waited for."""
    tasks = [asyncio.create_task(one) for one in work]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
