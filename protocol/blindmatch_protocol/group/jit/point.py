"""Points of the twisted Edwards curve behind ristretto255, -x^2 + y^2 = 1 + d x^2 y^2 (RFC 9496, section 4).

In memory a point is (X, Y, Z, T) with x = X/Z, y = Y/Z, xy = T/Z, and one that is added, its "cached" form,
(Y + X, Y - X, 2Z, 2dT). Formulas: Hisil, Wong, Carter and Dawson, "Twisted Edwards Curves Revisited"
(ASIACRYPT 2008), sections 3.1 (addition, complete) and 3.3 (doubling), for a = -1.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from blindmatch_protocol.group.jit.field import Field, Limbs, P
from blindmatch_protocol.group.jit.ir import Module

D: Final = -121665 * pow(121666, -1, P) % P
IDENTITY: Final = (0, 1, 1, 0)
CACHED_IDENTITY: Final = (1, 1, 2, 0)
COORDINATES: Final = 4

Point: TypeAlias = list[Limbs]


def load_point(f: Field, pointer: str, index: int = 0) -> Point:
    """A point, or a cached one, behind a pointer."""
    return [f.load(pointer, COORDINATES * index + k) for k in range(COORDINATES)]


def store_point(f: Field, pointer: str, point: Point) -> None:
    """Put it there."""
    for k, coordinate in enumerate(point):
        f.store(pointer, k, coordinate)


def constant_point(f: Field, coordinates: tuple[int, ...]) -> Point:
    """The same point in every lane."""
    return [f.number_of(coordinate) for coordinate in coordinates]


def define_points(module: Module) -> None:
    """`ge_double`, `ge_add`, `ge_cached`, `ge_fold`, of points behind pointers."""
    with module.function("ge_double", "ptr %p", "i64 %times", inline=True) as f:
        e, h = f.slot("%e"), f.slot("%h")
        f.loop("%times", lambda _: _double(f, e, h))
        f.call("fe_mul", f.element("%p", 3), e, h)
    with module.function("ge_add", "ptr %sum", "ptr %p", "ptr %cached") as f:
        store_point(f, "%sum", added(f, load_point(f, "%p"), load_point(f, "%cached")))
    with module.function("ge_cached", "ptr %cached", "ptr %p") as f:
        x, y, z, t = load_point(f, "%p")
        twice_dt = f.times(t, f.number_of(2 * D))
        store_point(f, "%cached", [f.plus(y, x), f.minus(y, x), f.plus(z, z), twice_dt])
    with module.function("ge_fold", "ptr %p", "ptr %cached") as f:
        _fold(f)


def _double(f: Field, e_slot: str, h_slot: str) -> None:
    """Double X, Y and Z behind %p; T = EH is made after the last doubling alone, of what is kept here."""
    x, y, z = (f.load("%p", k) for k in range(3))
    xx, yy, zz = f.squared(x), f.squared(y), f.squared(z)
    h, g = f.plus(xx, yy), f.minus(yy, xx)
    xy = f.product(x, y)
    e, ff = f.plus(xy, xy), f.carry(f.sum(f.sum(zz, zz), f.difference(xx, yy)))
    for k, coordinate in enumerate((f.times(e, ff), f.times(g, h), f.times(ff, g))):
        f.store("%p", k, coordinate)
    f.store(e_slot, 0, e)
    f.store(h_slot, 0, h)


def added(f: Field, point: Point, cached: Point) -> Point:
    """The sum of a point and a cached one."""
    x, y, z, t = point
    y_plus_x, y_minus_x, twice_z, twice_dt = cached
    if f.inline:
        plus, minus = f.product(f.plus(y, x), y_plus_x), f.product(f.minus(y, x), y_minus_x)
        tt, zz = f.product(t, twice_dt), f.product(z, twice_z)
    else:
        plus, minus = f.times(f.plus(y, x), y_plus_x), f.times(f.minus(y, x), y_minus_x)
        tt, zz = f.times(t, twice_dt), f.times(z, twice_z)
    e, h = f.minus(plus, minus), f.plus(plus, minus)
    g, ff = f.plus(zz, tt), f.minus(zz, tt)
    return [f.times(e, ff), f.times(g, h), f.times(ff, g), f.times(e, h)]


def _fold(f: Field) -> None:
    """Add the points of all lanes behind %p; every lane then has the sum."""
    lanes = f.module.width // 2
    while lanes:
        f.call("ge_cached", "%cached", "%p")
        there = [[f.rotated(limb, lanes) for limb in one] for one in load_point(f, "%cached")]
        store_point(f, "%cached", there)
        f.call("ge_add", "%p", "%p", "%cached")
        lanes //= 2
