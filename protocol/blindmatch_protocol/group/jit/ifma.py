"""Products of limbs by AVX-512 IFMA."""

from __future__ import annotations

from blindmatch_protocol.group.jit.field import LIMBS, Field, Limbs
from blindmatch_protocol.group.jit.ir import Lanes


class Ifma(Field):
    """The low and the high 52 bits of 52 x 52, added to a lane.

    A high part has the weight 2^52, twice that of the next limb.
    """

    def products(self, left: Limbs, right: Limbs | None) -> Limbs:
        low, high = self._columns(left, right)
        around = [self._around(low, high, k) for k in range(LIMBS)]
        found = []
        for k in range(LIMBS):
            total = self.add(low[k], self.times19(around[k]))
            found.append(self.add(total, self.add(high[k - 1], high[k - 1])) if k else total)
        return found

    def _around(self, low: Limbs, high: Limbs, k: int) -> Lanes:
        """What has the weight of limb k + 5, which is 19 times that of limb k."""
        twice = self.add(high[k + 4], high[k + 4])
        return twice if k == LIMBS - 1 else self.add(low[k + LIMBS], twice)

    def _columns(self, left: Limbs, right: Limbs | None) -> tuple[Limbs, Limbs]:
        """Sums of products of limbs i and j by i + j; of a square, those of i < j are made once, doubled."""
        zero = self.constant(0)
        columns = [zero] * (2 * LIMBS - 1), [zero] * (2 * LIMBS - 1)
        pairs = [(i, j) for i in range(LIMBS) for j in range(LIMBS) if right is not None or i < j]
        self._accumulate(columns, pairs, left, left if right is None else right)
        if right is None:
            for column in columns:
                column[1:-1] = [self.add(one, one) for one in column[1:-1]]
            self._accumulate(columns, [(i, i) for i in range(LIMBS)], left, left)
        return columns

    def _accumulate(
        self, columns: tuple[Limbs, Limbs], pairs: list[tuple[int, int]], left: Limbs, right: Limbs
    ) -> None:
        for i, j in pairs:
            for half, column in zip("lh", columns, strict=True):
                column[i + j] = self._multiply_add(half, column[i + j], left[i], right[j])

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
