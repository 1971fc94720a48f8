"""Products of limbs by fused multiply-add of doubles (AVX2 with FMA, AVX-512F)."""

from __future__ import annotations

from typing import Final, TypeAlias

from blindmatch_protocol.group.jit.field import BITS, LIMBS, Field, Limbs, multiple_of_p
from blindmatch_protocol.group.jit.ir import WORD, Lanes

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
        counts, most = [*counts, *pad], [*most, *pad]
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
        counts, most = [0] * (2 * LIMBS - 1), [0] * (2 * LIMBS - 1)
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
        vector, name = self._doubles, f"llvm.fma.v{self.module.width}f64"
        fma = self.module.intrinsic(name, vector, vector, vector, vector)

        def fused(addend: str) -> str:
            return self.op(f"call {vector} {fma}({vector} {x}, {vector} {y}, {vector} {addend})")

        high = fused(self._same(self._TOP))
        low = fused(self.op(f"fsub {vector} {self._same(self._TOP_MIDDLE)}, {high}"))
        bits = [self.op(f"bitcast {vector} {one} to {self.module.vector}") for one in (low, high)]
        return Lanes(bits[0], WRAP), Lanes(bits[1], WRAP)
