"""The affine space over GF(2) that samples of what is sent span, and whether two of them are the same.

In: samples of what is sent, by number, as bytes with what is seen beside them. Out: whether two pictures'
samples span the same space, or one the other's.

The space is spanned from samples until `SETTLED` in a row add nothing, so that an honest body is taken for
another with a probability of 2^-64. What is sent seldom, such as the longest of bodies whose length is drawn,
may come later. So spaces that differ are spanned on before they count as different. Where a space still grows
after `SPANNED` samples, new samples of both pictures are held against it: those of the same distribution fall
outside of it equally often, and the other picture's are taken for different if they do so more often than by
chance (Fisher's exact test, 2^-40).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import comb
from typing import Final, TypeAlias

SETTLED: Final = 64
SPANNED: Final = 3_000
"""Samples of two pictures that are spanned at most."""
CONFIRMED: Final = 512
"""Samples more of two pictures whose spaces differ."""
UNLIKELY: Final = 1 << 40
"""One in so many: what is less likely is not taken for chance."""
HEAD: Final = 160
"""Bytes at the beginning of what is sent in a session that are looked at."""
TAIL: Final = 32
"""Bytes at its end that are."""
Sample: TypeAlias = tuple[bytes, bytes]
"""What is sent for a picture, and what is seen beside it."""


def number(body: bytes) -> int:
    """The looked-at bytes of a body as a vector of bits."""
    return int.from_bytes(body if len(body) <= HEAD + TAIL else body[:HEAD] + body[-TAIL:], "big")


class Hull:
    """The affine space over GF(2) that vectors of bits span."""

    def __init__(self) -> None:
        self._origin: int | None = None
        self._basis: dict[int, int] = {}

    def add(self, vector: int) -> bool:
        """Take a vector in; did the space grow?"""
        if self._origin is None:
            self._origin = vector
            return True
        rest = self._rest(vector)
        if rest:
            self._basis[rest.bit_length()] = rest
        return bool(rest)

    def holds(self, vector: int) -> bool:
        return not self._rest(vector)

    @property
    def size(self) -> int:
        return len(self._basis)

    def within(self, other: Hull) -> bool:
        """Is all of this space in the other one?"""
        origin = self._origin or 0
        return other.holds(origin) and all(other.holds(origin ^ step) for step in self._basis.values())

    def _rest(self, vector: int) -> int:
        """What is left of a vector by the basis, in which every vector has a highest bit of its own."""
        rest = vector ^ (self._origin or 0)
        while rest and (held := self._basis.get(rest.bit_length())) is not None:
            rest ^= held
        return rest


class Span:
    """What samples span: by number, each with randomness of its own, the same for all pictures.

    Attributes:
        lengths: of the samples, in bytes.
    """

    def __init__(self, sample: Callable[[int], Sample]) -> None:
        self._sample = sample
        self._hull = Hull()
        self._is_growing = True
        self.lengths: list[int] = []

    @property
    def count(self) -> int:
        return len(self.lengths)

    def settle(self, other: Span | None = None) -> Span:
        """Take samples until `SETTLED` in a row add nothing, or the space is as large as the other one."""
        settled = 0
        while settled < SETTLED and (other is None or self._hull.size < other._hull.size or not self.count):
            settled = 0 if self._grow() else settled + 1
        return self

    def add(self, count: int) -> Span:
        for _ in range(count):
            self._grow()
        return self

    def holds(self, other: Span) -> bool:
        """Is all that the other one spans in here?"""
        return other._hull.within(self._hull)

    def same(self, other: Span) -> bool:
        return self._hull.size == other._hull.size and self.holds(other)

    def alike(self, other: Span) -> bool:
        """The same; or new samples of either one are outside of the other as seldom as of itself, while they
        still grow after `SPANNED` samples."""
        if self._settles(partial(self.same, other), self, other):
            return True
        return self._is_growing and self._is_as_new(other) and other._is_as_new(self)

    def holds_all(self, other: Span) -> bool:
        """Is all that the other one spans in here? If this one still grows after `SPANNED` samples: are new
        samples of the other one outside as seldom as its own?"""
        if self._settles(partial(self.holds, other), self):
            return True
        return self._is_growing and self._is_as_new(other)

    def _settles(self, agrees: Callable[[], bool], *spans: Span) -> bool:
        """Span on until the spaces agree, none grows, or there are `SPANNED` samples; do they agree then?"""
        self._is_growing = True
        while self._is_growing and not agrees() and self.count < SPANNED:
            self._is_growing = sum(span._grows() for span in spans) > 0  # each of them is spanned on
        return agrees()

    def _is_as_new(self, other: Span) -> bool:
        """Are new samples of the other one outside of this space no more often than its own, but by chance?

        With m of n own samples and t of n others outside, and one distribution for both, t or more of the
        m + t are the other's with the sum over k >= t of C(n, k) C(n, m + t - k) / C(2 n, m + t).
        """
        mine, theirs = (self._count_outside(one) for one in (self, other))
        both = mine + theirs
        n = CONFIRMED
        ways = sum(comb(n, count) * comb(n, both - count) for count in range(theirs, min(n, both) + 1))
        return ways * UNLIKELY > comb(2 * n, both)

    def _count_outside(self, source: Span) -> int:
        """How many of `CONFIRMED` new samples of a source are not in this space, which stays as it is."""
        return sum(not self._hull.holds(source._vector()) for _ in range(CONFIRMED))

    def _grows(self) -> bool:
        """Take `CONFIRMED` samples more; did the space grow?"""
        before = self._hull.size
        self.add(CONFIRMED)
        return self._hull.size > before

    def as_long(self, other: Span) -> bool:
        """With the same randomness: lengths may be drawn, and must not depend on the picture."""
        return all(mine == theirs for mine, theirs in zip(self.lengths, other.lengths, strict=False))

    def _grow(self) -> bool:
        return self._hull.add(self._vector())

    def _vector(self) -> int:
        """The next sample as a vector of bits."""
        body, beside = self._sample(self.count)
        self.lengths.append(len(body))
        return number(body) << 8 * len(beside) | int.from_bytes(beside, "big")
