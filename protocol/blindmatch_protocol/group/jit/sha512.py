"""SHA-512 (FIPS 180-4) of W rows at once; rows are whole padded blocks, and start from one state."""

from __future__ import annotations

from typing import Final

from blindmatch_protocol.group.jit.field import Field
from blindmatch_protocol.group.jit.ir import Lanes, Module

BLOCK: Final = 128
ROUNDS: Final = 80


def _primes(count: int) -> list[int]:
    found: list[int] = []
    number = 2
    while len(found) < count:
        if all(number % prime for prime in found):
            found.append(number)
        number += 1
    return found


def _root_bits(number: int, degree: int) -> int:
    """The first 64 bits behind the point of a root (sections 4.2.3 and 5.3.5), by bisection."""
    scaled = number << 64 * degree
    low = 0
    high = 1 << 80
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if middle**degree <= scaled else (low, middle)
    return low & (1 << 64) - 1


CONSTANTS: Final = [_root_bits(prime, 3) for prime in _primes(ROUNDS)]
START: Final = [_root_bits(prime, 2) for prime in _primes(8)]


def define_sha512(module: Module) -> None:
    """`sha512`: states of rows that lie `%stride` bytes apart, %groups times W of them, from `%start`."""
    arguments = ("ptr %in", "i64 %stride", "i64 %blocks", "i64 %groups", "ptr %start", "ptr %out")
    with module.function("sha512", *arguments, exported=True) as f:
        state = f.slot("%state")

        def group(g: str) -> None:
            rows = f.item("%in", g, f.number("mul", "%stride", module.width))
            for k in range(8):
                f.store_lanes(state, k, f.gathered("%start", k, 0))
            f.loop("%blocks", lambda b: _compress(f, state, f.item(rows, b, BLOCK)))
            out = f.item("%out", g, 64 * module.width)
            for k in range(8):
                f.scattered(out, k, 64, _swapped(f, f.load_lanes(state, k)))

        f.loop("%groups", group)


def _swapped(f: Field, word: Lanes) -> Lanes:
    """The word with its bytes in the other order: words are big-endian."""
    vector = f.module.vector
    function = f.module.intrinsic(f"llvm.bswap.v{f.module.width}i64", vector, vector)
    return Lanes(f.op(f"call {vector} {function}({vector} {word.name})"), word.most)


def _turned(f: Field, word: Lanes, *bits: int) -> Lanes:
    """The XOR of the word rotated right by each of `bits`."""
    vector = f.module.vector
    function = f.module.intrinsic(f"llvm.fshl.v{f.module.width}i64", vector, vector, vector, vector)
    found: Lanes | None = None
    for count in bits:
        operands = ", ".join(f"{vector} {one.name}" for one in (word, word, f.constant(64 - count)))
        one = Lanes(f.op(f"call {vector} {function}({operands})"), word.most)
        found = one if found is None else f.xor(found, one)
    assert found is not None
    return found


def _compress(f: Field, state: str, block: str) -> None:
    schedule = [_swapped(f, f.gathered(block, k, "%stride")) for k in range(16)]
    before = [f.load_lanes(state, k) for k in range(8)]
    a, b, c, d, e, ff, g, h = before
    for t in range(ROUNDS):
        if t >= 16:
            x = schedule[(t - 15) % 16]
            y = schedule[(t - 2) % 16]
            low = f.xor(_turned(f, x, 1, 8), f.right(x, 7))
            high = f.xor(_turned(f, y, 19, 61), f.right(y, 6))
            schedule[t % 16] = _total(f, schedule[t % 16], low, schedule[(t - 7) % 16], high)
        choice = f.xor(g, f.and_(e, f.xor(ff, g)))
        majority = f.or_(f.and_(a, b), f.and_(c, f.or_(a, b)))
        first = _total(f, h, _turned(f, e, 14, 18, 41), choice, f.constant(CONSTANTS[t]), schedule[t % 16])
        second = _total(f, _turned(f, a, 28, 34, 39), majority)
        # FIPS 180-4, section 6.4.2, step 3: every variable moves on by one place, the last ones first
        h = g
        g = ff
        ff = e
        e = _total(f, d, first)
        d = c
        c = b
        b = a
        a = _total(f, first, second)
    for k, (old, new) in enumerate(zip(before, (a, b, c, d, e, ff, g, h), strict=True)):
        f.store_lanes(state, k, _total(f, old, new))


def _total(f: Field, *words: Lanes) -> Lanes:
    total = words[0]
    for word in words[1:]:
        total = f.wrapped_sum(total, word)
    return total
