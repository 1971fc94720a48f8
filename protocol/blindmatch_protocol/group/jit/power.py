"""The two fixed powers: x^((p - 5)/8) for square roots, x^(p - 2) for inverses.

Both share the addition chain to x^(2^250 - 1); 254 squarings and 11 multiplications (Bernstein, "Curve25519:
new Diffie-Hellman speed records", PKC 2006, section 5). Elements may come in pairs, whose chains hide each
other's latency.
"""

from __future__ import annotations

from blindmatch_protocol.group.jit.field import Field
from blindmatch_protocol.group.jit.ir import Module


def define_powers(module: Module) -> None:
    """`fe_power` and `fe_power_pair` to (p - 5)/8, `fe_invert`; the last argument is room for four each."""
    for name, count in (("fe_squares", 1), ("fe_squares_pair", 2)):
        with module.function(name, "ptr %result", "ptr %a", "i64 %times", inline=True) as f:
            _squares(f, count)
    with module.function("fe_mul_pair", "ptr %result", "ptr %a", "ptr %b") as f:
        for k in range(2):
            f.call("fe_mul", *(f.element(one, k) for one in ("%result", "%a", "%b")))
    for name, count, inverts in (("fe_power", 1, False), ("fe_power_pair", 2, False), ("fe_invert", 1, True)):
        with module.function(name, "ptr %result", "ptr %a", "ptr %room") as f:
            _chain(f, count, inverts)


def _squares(f: Field, count: int) -> None:
    """%a squared %times times, at least once."""
    for k in range(count):
        f.call("fe_square", f.element("%result", k), f.element("%a", k))

    def again(_: str) -> None:
        squares = [f.square(f.load("%result", k)) for k in range(count)]
        for k, one in enumerate(squares):
            f.store("%result", k, one)

    f.loop("%times", again, start=1)


def _chain(f: Field, count: int, inverts: bool) -> None:
    t0, t1, t2, t3 = (f.element("%room", k * count) for k in range(4))
    pair = "_pair" if count == 2 else ""

    def times(result: str, left: str, right: str) -> None:
        f.call(f"fe_mul{pair}", result, left, right)

    def squares(result: str, value: str, number: int) -> None:
        f.call(f"fe_squares{pair}", result, value, f"i64 {number}")

    squares(t0, "%a", 1)  # 2
    squares(t1, t0, 2)  # 8
    times(t1, "%a", t1)  # 9
    times(t0, t0, t1)  # 11
    squares(t2, t0, 1)
    times(t1, t1, t2)  # 2^5 - 1
    for before, result, squared, number in (
        (t1, t1, t2, 5),  # 2^10 - 1
        (t1, t2, t2, 10),  # 2^20 - 1
        (t2, t2, t3, 20),  # 2^40 - 1
    ):
        squares(squared, before, number)
        times(result, squared, before)
    squares(t2, t2, 10)
    times(t1, t2, t1)  # 2^50 - 1
    for before, squared, number in ((t1, t2, 50), (t2, t3, 100)):  # 2^100 - 1, 2^200 - 1
        squares(squared, before, number)
        times(t2, squared, before)
    squares(t2, t2, 50)
    times(t1, t2, t1)  # 2^250 - 1
    squares(t1, t1, 5 if inverts else 2)
    times("%result", t1, t0 if inverts else "%a")
