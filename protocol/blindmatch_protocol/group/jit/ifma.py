"""Products of limbs by AVX-512 IFMA."""

from __future__ import annotations

from blindmatch_protocol.group.jit.field import LIMBS, Field, Limbs
from blindmatch_protocol.group.jit.ir import Lanes


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
        cross, same = [(i, j) for j in range(LIMBS) for i in range(j)], [(i, i) for i in range(LIMBS)]
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
        vector, bits = self.module.vector, 64 * self.module.width
        name = f"llvm.x86.avx512.vpmadd52{half}.uq.{bits}"
        function = self.module.intrinsic(name, vector, vector, vector, vector)
        operands = ", ".join(f"{vector} {one.name}" for one in (total, left, right))
        return Lanes(self.op(f"call {vector} {function}({operands})"), most)
