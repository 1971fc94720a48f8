"""The field of 2^255 - 19: an element is five limbs of 51 bits a lane, least significant first.

    tight   what is stored and multiplied: limbs up to 2^51 + 2^20
    raw     what a multiplication gives, or a sum or difference of such: as much as 64 bits hold
    carry   raw -> tight: each limb's high bits go to the next, those of the last, times 19, to the first

How limbs are multiplied is a processor's: `ifma`, `fma`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Final, TypeAlias

from blindmatch_protocol.group.jit.ir import Function, Lanes

P: Final = 2**255 - 19
LIMBS: Final = 5
BITS: Final = 51
MASK: Final = (1 << BITS) - 1
TIGHT: Final = (1 << BITS) + (1 << 20)

Limbs: TypeAlias = list[Lanes]


def limbs_of(value: int) -> list[int]:
    """The limbs of a number below 2^255."""
    return [value >> BITS * i & MASK for i in range(LIMBS)]


def multiple_of_p(least: Sequence[int]) -> list[int]:
    """Limbs of a multiple of p, none of them below that of `least`."""
    limbs = limbs_of(P)
    while any(limb < need for limb, need in zip(limbs, least, strict=True)):
        limbs = [limb << 1 for limb in limbs]
    return limbs


class Field(Function):
    """Builds functions of field elements."""

    @property
    def size(self) -> int:
        """Bytes of an element in memory."""
        return LIMBS * self.vector_bytes

    def element(self, pointer: str, index: int) -> str:
        """The element with this number behind a pointer."""
        return self.offset(pointer, index * self.size)

    def load(self, pointer: str, index: int = 0) -> Limbs:
        """The element with this number; tight."""
        where = self.element(pointer, index)
        return [self.load_lanes(where, i, TIGHT) for i in range(LIMBS)]

    def store(self, pointer: str, index: int, limbs: Limbs) -> None:
        """Put a tight element there; `OverflowError` if it might not be."""
        where = self.element(pointer, index)
        for i, limb in enumerate(self._tight(limbs)):
            self.store_lanes(where, i, limb)

    def _tight(self, limbs: Limbs) -> Limbs:
        if any(limb.most > TIGHT for limb in limbs):
            raise OverflowError(f"{self.name}: a limb may not be tight")
        return limbs

    def number_of(self, value: int) -> Limbs:
        """A constant, tight."""
        return [self.constant(limb) for limb in limbs_of(value % P)]

    def sum(self, left: Limbs, right: Limbs) -> Limbs:
        """The sum, not carried."""
        return [self.add(a, b) for a, b in zip(left, right, strict=True)]

    def difference(self, left: Limbs, right: Limbs) -> Limbs:
        """The difference, not carried: a multiple of p whose limbs are no smaller than `right`'s is added."""
        bias = multiple_of_p([limb.most for limb in right])
        return [self._minus(a, k, b) for a, k, b in zip(left, bias, right, strict=True)]

    def _minus(self, left: Lanes, bias: int, right: Lanes) -> Lanes:
        above = self.add(left, self.constant(bias))
        return Lanes(self.wrapped_difference(above, right).name, above.most)

    def carry(self, raw: Limbs) -> Limbs:
        """Tight limbs of raw ones."""
        high, low = [self.right(limb, BITS) for limb in raw], [self.and_(limb, MASK) for limb in raw]
        first = self.plus19(low[0], high[4])
        return self._tight([first, *(self.add(low[i], high[i - 1]) for i in range(1, LIMBS))])

    def plus19(self, total: Lanes, value: Lanes) -> Lanes:
        """`total` and 19 times `value`."""
        return self.add(total, self.times19(value))

    def times19(self, value: Lanes) -> Lanes:
        """19 times, by shifts."""
        self.fits(19 * value.most)
        return self.add(self.add(value, self.left(value, 1)), self.left(value, 4))

    def plus(self, left: Limbs, right: Limbs) -> Limbs:
        """The sum, tight."""
        return self.carry(self.sum(left, right))

    def minus(self, left: Limbs, right: Limbs) -> Limbs:
        """The difference, tight."""
        return self.carry(self.difference(left, right))

    def negated(self, value: Limbs) -> Limbs:
        """Minus the value, tight."""
        return self.minus([self.constant(0)] * LIMBS, value)

    # --- products ---

    @abstractmethod
    def products(self, left: Limbs, right: Limbs | None) -> Limbs:
        """The product of tight elements, or the square of one; raw."""

    def product(self, left: Limbs, right: Limbs) -> Limbs:
        """The product of tight elements, raw."""
        return self.products(self._tight(left), self._tight(right))

    def squared(self, value: Limbs) -> Limbs:
        """The square of a tight element, raw."""
        return self.products(self._tight(value), None)

    def times(self, left: Limbs, right: Limbs) -> Limbs:
        """The product, tight."""
        return self.carry(self.product(left, right)) if self.inline else self._outside("fe_mul", left, right)

    def square(self, value: Limbs) -> Limbs:
        """The square, tight."""
        return self.carry(self.squared(value)) if self.inline else self._outside("fe_square", value)

    def _outside(self, function: str, *operands: Limbs) -> Limbs:
        slots = [self.slot(name) for name in ("%left", "%right")[: len(operands)]]
        result = self.slot("%result")
        for slot, operand in zip(slots, operands, strict=True):
            self.store(slot, 0, operand)
        self.call(function, result, *slots)
        return self.load(result)

    # --- canonical values ---

    def canonical(self, value: Limbs) -> Limbs:
        """The limbs of the number below p."""
        return self._canonical(value) if self.inline else self._outside("fe_canonical", value)

    def _canonical(self, value: Limbs) -> Limbs:
        """Two rounds of carries leave less than 2^255; p is taken off where adding 19 goes beyond."""
        limbs = self.carried(self.carried(value, True), True)
        over = self.right(self.add(limbs[0], self.constant(19)), BITS)
        for limb in limbs[1:]:
            over = self.right(self.add(limb, over), BITS)
        return self.carried([self.plus19(limbs[0], over), *limbs[1:]], False)

    def carried(self, limbs: Limbs, around: bool) -> Limbs:
        """Carries one after the other; the last one goes around to the first limb, or is dropped."""
        found, over = list[Lanes](), self.constant(0)
        for limb in limbs:
            total = self.add(limb, over)
            found.append(self.and_(total, MASK))
            over = self.right(total, BITS)
        if around:
            found[0] = self.plus19(found[0], over)
        return found

    def odd(self, value: Limbs) -> Lanes:
        """All ones where the number is odd: "negative" in RFC 9496, section 2."""
        return self.wrapped_difference(self.constant(0), self.and_(self.canonical(value)[0], 1))

    def zero(self, value: Limbs) -> Lanes:
        """All ones where the number is zero."""
        return self.no_bits(self.canonical(value))

    def no_bits(self, words: Sequence[Lanes]) -> Lanes:
        """All ones where all of the words are zero."""
        some = words[0]
        for word in words[1:]:
            some = self.or_(some, word)
        negative = self.wrapped_difference(self.constant(0), some)
        return self.wrapped_difference(self.right(self.or_(some, negative), 63), 1)

    def not_(self, mask: Lanes) -> Lanes:
        """The other lanes."""
        return self.xor(mask, (1 << 64) - 1)

    def choose(self, mask: Lanes, yes: Limbs, no: Limbs) -> Limbs:
        """`yes` where `mask` is all ones, else `no`."""
        return [self.pick(mask, a, b) for a, b in zip(yes, no, strict=True)]

    def absolute(self, value: Limbs) -> Limbs:
        """`CT_ABS`; RFC 9496, section 2."""
        return self.choose(self.odd(value), self.negated(value), value)
