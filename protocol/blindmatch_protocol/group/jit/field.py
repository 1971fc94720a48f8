"""The field of 2^255 - 19: an element is five limbs of 51 bits a lane, least significant first.

    tight   what is stored and multiplied: limbs up to 2^51 + 2^20
    raw     what a multiplication gives, or a sum or difference of such: as much as 64 bits hold
    carry   raw -> tight: each limb's high bits go to the next, those of the last, times 19, to the first

How limbs are multiplied is a processor's: by AVX-512 IFMA, or by fused multiply-add of doubles (AVX2 with
FMA, AVX-512F).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Final, TypeAlias

from blindmatch_protocol.group.jit.ir import WORD, Function, Lanes

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
        high = [self.right(limb, BITS) for limb in raw]
        low = [self.and_(limb, MASK) for limb in raw]
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
        return self.carry(self.sum(left, right))

    def minus(self, left: Limbs, right: Limbs) -> Limbs:
        return self.carry(self.difference(left, right))

    def negated(self, value: Limbs) -> Limbs:
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
        return self.carry(self.product(left, right)) if self.inline else self._outside("fe_mul", left, right)

    def square(self, value: Limbs) -> Limbs:
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
        found = list[Lanes]()
        over = self.constant(0)
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
        some = words[0]
        for word in words[1:]:
            some = self.or_(some, word)
        negative = self.wrapped_difference(self.constant(0), some)
        return self.wrapped_difference(self.right(self.or_(some, negative), 63), 1)

    def not_(self, mask: Lanes) -> Lanes:
        return self.xor(mask, (1 << 64) - 1)

    def choose(self, mask: Lanes, yes: Limbs, no: Limbs) -> Limbs:
        """`yes` where `mask` is all ones, else `no`."""
        return [self.pick(mask, a, b) for a, b in zip(yes, no, strict=True)]

    def absolute(self, value: Limbs) -> Limbs:
        """`CT_ABS`; RFC 9496, section 2."""
        return self.choose(self.odd(value), self.negated(value), value)


WRAP: Final = WORD - 1
_Columns: TypeAlias = tuple[list[Lanes | None], list[Lanes | None]]


class Fma(Field):
    """A double from 2^103 on counts in steps of 2^51. So xy + 2^103, rounded, minus 2^103 is 2^51 q with q
    the nearest integer to xy / 2^51, and what is left of xy, from -2^50 to 2^50, is exact in the second step:

        high = fma(x, y, 2^103)                        bits(high) = bits(2^103) + q
        low  = fma(x, y, (2^103 + 1.5 * 2^52) - high)  bits(low)  = bits(1.5 * 2^52) + xy - 2^51 q

    Bit patterns are added as integers; the constants in them are taken off together (modulo 2^64).
    """

    _TOP: Final = 0x4660000000000000
    """Bits of 2^103."""
    _TOP_MIDDLE: Final = 0x4660000000000003
    """Bits of 2^103 + 1.5 * 2^52."""
    _MIDDLE: Final = 0x4338000000000000
    """Bits of 1.5 * 2^52."""
    _UNIT: Final = 0x4330000000000000
    """Bits of 2^52: with an integer below 2^52 added, those of 2^52 and the integer."""

    def products(self, left: Limbs, right: Limbs | None) -> Limbs:
        counts, most = self._bounds(left, left if right is None else right)
        low, high = self._columns(left, right)
        pad = [0] * LIMBS
        counts = [*counts, *pad]
        most = [*most, *pad]
        bias = multiple_of_p([(counts[k] + 19 * counts[k + LIMBS]) << 50 for k in range(LIMBS)])
        found = []
        for k in range(LIMBS):
            around = high[k + 4] if k == LIMBS - 1 else self.wrapped_sum(low[k + LIMBS], high[k + 4])
            around = self.wrapped_sum(around, self._off(counts[k + LIMBS], counts[k + 4]))
            own = self.wrapped_sum(low[k], high[k - 1]) if k else low[k]
            own = self.wrapped_sum(own, bias[k] + self._off(counts[k], counts[k - 1] if k else 0) & WRAP)
            spread = (counts[k] + 19 * counts[k + LIMBS]) << 50
            total = bias[k] + spread + (most[k - 1] if k else 0) + 19 * most[k + 4]
            found.append(Lanes(self._plus19(own, around), self.fits(total)))
        return found

    def _off(self, lows: int, highs: int) -> int:
        """What takes the constants of so many low and high parts off, modulo 2^64."""
        return -(lows * self._MIDDLE + highs * self._TOP) & WRAP

    def _plus19(self, own: Lanes, around: Lanes) -> str:
        """own + 19 around modulo 2^64; low parts, and so `around`, may be negative."""
        thrice = self.wrapped_sum(around, self.left(around, 1))
        return self.wrapped_sum(self.wrapped_sum(own, thrice), self.left(around, 4)).name

    def _bounds(self, left: Limbs, right: Limbs) -> tuple[list[int], list[int]]:
        """For each column i + j, the number of its products, and the most that its high parts sum up to."""
        counts = [0] * (2 * LIMBS - 1)
        most = [0] * (2 * LIMBS - 1)
        for i, a in enumerate(left):
            for j, b in enumerate(right):
                if max(a.most, b.most) >= 1 << 52 or a.most * b.most >= 1 << 103:
                    raise OverflowError(f"{self.name}: a factor may be too large")
                counts[i + j] += 1
                most[i + j] += (a.most * b.most >> BITS) + 1
        return counts, most

    def _columns(self, left: Limbs, right: Limbs | None) -> tuple[Limbs, Limbs]:
        """As `Ifma._columns`, low and high parts with the constants in them."""
        x = [self._double(limb) for limb in left]
        y = x if right is None else [self._double(limb) for limb in right]
        columns: _Columns = [None] * (2 * LIMBS - 1), [None] * (2 * LIMBS - 1)
        pairs = [(i, j) for i in range(LIMBS) for j in range(LIMBS) if right is not None or i < j]
        self._accumulate(columns, pairs, x, y)
        if right is None:
            for column in columns:
                column[1:-1] = [self.wrapped_sum(one, one) for one in column[1:-1] if one is not None]
            self._accumulate(columns, [(i, i) for i in range(LIMBS)], x, x)
        low, high = ([one for one in column if one is not None] for column in columns)
        return low, high

    def _accumulate(
        self, columns: _Columns, pairs: list[tuple[int, int]], left: list[str], right: list[str]
    ) -> None:
        for i, j in pairs:
            for column, part in zip(columns, self._parts(left[i], right[j]), strict=True):
                held = column[i + j]
                column[i + j] = part if held is None else self.wrapped_sum(held, part)

    def _double(self, limb: Lanes) -> str:
        """The number of a limb below 2^52 as a double."""
        vector = self._doubles
        bits = self.wrapped_sum(limb, self._UNIT)
        shifted = self.op(f"bitcast {self.module.vector} {bits.name} to {vector}")
        return self.op(f"fsub {vector} {shifted}, {self._same(self._UNIT)}")

    @property
    def _doubles(self) -> str:
        return f"<{self.module.width} x double>"

    def _same(self, bits: int) -> str:
        return f"<{', '.join([f'double 0x{bits:016X}'] * self.module.width)}>"

    def _parts(self, x: str, y: str) -> tuple[Lanes, Lanes]:
        """Bits of the low and the high part of a product of doubles."""
        vector = self._doubles
        name = f"llvm.fma.v{self.module.width}f64"
        fma = self.module.intrinsic(name, vector, vector, vector, vector)

        def fused(addend: str) -> str:
            return self.op(f"call {vector} {fma}({vector} {x}, {vector} {y}, {vector} {addend})")

        high = fused(self._same(self._TOP))
        low = fused(self.op(f"fsub {vector} {self._same(self._TOP_MIDDLE)}, {high}"))
        bits = [self.op(f"bitcast {vector} {one} to {self.module.vector}") for one in (low, high)]
        return Lanes(bits[0], WRAP), Lanes(bits[1], WRAP)


class Ifma(Field):
    """The low and the high 52 bits of 52 x 52, added to a lane.

    A high part has the weight 2^52, twice that of the next limb.
    """

    def products(self, left: Limbs, right: Limbs | None) -> Limbs:
        columns = self._columns(left, right)
        return [self.plus19(columns[k], columns[k + LIMBS]) for k in range(LIMBS)]

    def _columns(self, left: Limbs, right: Limbs | None) -> Limbs:
        """Sums of products by weight, 2^51 to the power of 0 to 9: low halves of those of limbs i and j in
        column i + j, high ones, twice, in the next. Of a square, those of i < j are made once, doubled."""
        if right is not None:
            every = [(i, j) for i in range(LIMBS) for j in range(LIMBS)]
            return self._summed([[("h", every)], [("l", every)]], left, right)
        cross = [(i, j) for j in range(LIMBS) for i in range(j)]
        same = [(i, i) for i in range(LIMBS)]
        return self._summed([[("h", cross)], [("h", same), ("l", cross)], [("l", same)]], left, left)

    def _summed(
        self, steps: list[list[tuple[str, list[tuple[int, int]]]]], left: Limbs, right: Limbs
    ) -> Limbs:
        """For each column the sum of the halves in all steps; it is doubled before each further step."""
        columns = [self.constant(0)] * (2 * LIMBS)
        for number, step in enumerate(steps):
            if number:
                columns = self.sum(columns, columns)
            for half, pairs in step:
                for i, j in pairs:
                    k = i + j + (half == "h")
                    columns[k] = self._multiply_add(half, columns[k], left[i], right[j])
        return columns

    def plus19(self, total: Lanes, value: Lanes) -> Lanes:
        if 19 * value.most >= 1 << 52:
            return super().plus19(total, value)
        return self._multiply_add("l", total, value, self.constant(19))

    def _multiply_add(self, half: str, total: Lanes, left: Lanes, right: Lanes) -> Lanes:
        if max(left.most, right.most) >= 1 << 52:
            raise OverflowError(f"{self.name}: a factor may have more than 52 bits")
        product = left.most * right.most
        most = self.fits(total.most + (min(product, (1 << 52) - 1) if half == "l" else product >> 52))
        vector = self.module.vector
        bits = 64 * self.module.width
        name = f"llvm.x86.avx512.vpmadd52{half}.uq.{bits}"
        function = self.module.intrinsic(name, vector, vector, vector, vector)
        operands = ", ".join(f"{vector} {one.name}" for one in (total, left, right))
        return Lanes(self.op(f"call {vector} {function}({operands})"), most)
