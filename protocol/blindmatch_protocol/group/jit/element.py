"""Between bytes and points: `Decode`, `Encode` and `MAP` of ristretto255; RFC 9496, section 4.3.

What stands before and after the power in a square root is a function of its own, so that two powers can be
computed side by side. All conditions are masks.

Points of the twisted Edwards curve behind ristretto255, -x^2 + y^2 = 1 + d x^2 y^2 (RFC 9496, section 4).

In memory a point is (X, Y, Z, T) with x = X/Z, y = Y/Z, xy = T/Z, and one that is added, its "cached" form,
(Y + X, Y - X, 2Z, 2dT). Formulas: Hisil, Wong, Carter and Dawson, "Twisted Edwards Curves Revisited"
(ASIACRYPT 2008), sections 3.1 (addition, complete) and 3.3 (doubling), for a = -1.

The two fixed powers: x^((p - 5)/8) for square roots, x^(p - 2) for inverses.

Both share the addition chain to x^(2^250 - 1); 254 squarings and 11 multiplications (Bernstein, "Curve25519:
new Diffie-Hellman speed records", PKC 2006, section 5). Elements may come in pairs, whose chains hide each
other's latency.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from blindmatch_protocol.group.jit.field import BITS, LIMBS, MASK, Field, Limbs, P
from blindmatch_protocol.group.jit.ir import Lanes, Module


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


D: Final = -121665 * pow(121666, -1, P) % P
IDENTITY: Final = (0, 1, 1, 0)
CACHED_IDENTITY: Final = (1, 1, 2, 0)
COORDINATES: Final = 4

Point: TypeAlias = list[Limbs]


def load_point(f: Field, pointer: str, index: int = 0) -> Point:
    """A point, or a cached one, behind a pointer."""
    return [f.load(pointer, COORDINATES * index + k) for k in range(COORDINATES)]


def store_point(f: Field, pointer: str, point: Point) -> None:
    for k, coordinate in enumerate(point):
        f.store(pointer, k, coordinate)


def constant_point(f: Field, coordinates: tuple[int, ...]) -> Point:
    """The same point in every lane."""
    return [f.number_of(coordinate) for coordinate in coordinates]


def define_points(module: Module) -> None:
    """`ge_double`, `ge_add`, `ge_cached`, `ge_fold`, of points behind pointers."""
    with module.function("ge_double", "ptr %p", "i64 %times", inline=True) as f:
        e = f.slot("%e")
        h = f.slot("%h")
        f.loop("%times", lambda _: _double(f, e, h))
        f.call("fe_mul", f.element("%p", 3), e, h)
    with module.function("ge_add", "ptr %sum", "ptr %p", "ptr %cached") as f:
        store_point(f, "%sum", added(f, load_point(f, "%p"), load_point(f, "%cached")))
    with module.function("ge_cached", "ptr %cached", "ptr %p") as f:
        x, y, z, t = load_point(f, "%p")
        twice_dt = f.times(t, f.number_of(2 * D))
        store_point(f, "%cached", [f.plus(y, x), f.minus(y, x), f.plus(z, z), twice_dt])
    with module.function("ge_fold", "ptr %p", "ptr %cached") as f:  # every lane then has the sum of all
        lanes = f.module.width // 2
        while lanes:
            f.call("ge_cached", "%cached", "%p")
            there = [[f.rotated(limb, lanes) for limb in one] for one in load_point(f, "%cached")]
            store_point(f, "%cached", there)
            f.call("ge_add", "%p", "%p", "%cached")
            lanes //= 2


def _double(f: Field, e_slot: str, h_slot: str) -> None:
    """Double X, Y and Z behind %p; T = EH is made after the last doubling alone, of what is kept here."""
    x, y, z = (f.load("%p", k) for k in range(3))
    xx = f.squared(x)
    yy = f.squared(y)
    zz = f.squared(z)
    h = f.plus(xx, yy)
    g = f.minus(yy, xx)
    xy = f.product(x, y)
    e = f.plus(xy, xy)
    ff = f.carry(f.sum(f.sum(zz, zz), f.difference(xx, yy)))
    for k, coordinate in enumerate((f.times(e, ff), f.times(g, h), f.times(ff, g))):
        f.store("%p", k, coordinate)
    f.store(e_slot, 0, e)
    f.store(h_slot, 0, h)


def added(f: Field, point: Point, cached: Point) -> Point:
    """The sum of a point and a cached one."""
    x, y, z, t = point
    y_plus_x, y_minus_x, twice_z, twice_dt = cached
    if f.inline:
        plus = f.product(f.plus(y, x), y_plus_x)
        minus = f.product(f.minus(y, x), y_minus_x)
        tt = f.product(t, twice_dt)
        zz = f.product(z, twice_z)
    else:
        plus = f.times(f.plus(y, x), y_plus_x)
        minus = f.times(f.minus(y, x), y_minus_x)
        tt = f.times(t, twice_dt)
        zz = f.times(z, twice_z)
    e = f.minus(plus, minus)
    h = f.plus(plus, minus)
    g = f.plus(zz, tt)
    ff = f.minus(zz, tt)
    return [f.times(e, ff), f.times(g, h), f.times(ff, g), f.times(e, h)]


# RFC 9496, section 4.1
SQRT_M1: Final = 19681161376707505956807079304988542015446066515923890162744021073123829784752
SQRT_AD_MINUS_ONE: Final = 25063068953384623474111414158702152701244531502492656460079210482610430750235
INVSQRT_A_MINUS_D: Final = 54469307008909316920995813868745141605393597292927456921205312896311721017578
ONE_MINUS_D_SQ: Final = 1159843021668779879193775521855586647937357759715417654439879720876111806838
D_MINUS_ONE_SQ: Final = 40440834346308536858101042469323190826248399146238708352240133220865137265952

ROOM: Final = 6
"""Elements that are kept between the two halves of a square root."""


def define_elements(module: Module) -> None:
    """`map_before`, `map_after`, `decode_before`, `decode_after`, `encode_state`, `encode`."""
    with module.function("map_before", "ptr %t", "ptr %kept", "ptr %base") as f:
        _map_before(f)
    with module.function("map_after", "ptr %p", "ptr %t", "ptr %kept", "ptr %power") as f:
        _map_after(f)
    with module.function("decode_before", "ptr %in", "ptr %kept", "ptr %base", "ptr %ok") as f:
        _decode_before(f)
    with module.function("decode_after", "ptr %p", "ptr %kept", "ptr %power", "ptr %ok") as f:
        _decode_after(f)
    with module.function("encode_state", "ptr %state", "ptr %p") as f:
        _encode_state(f)
    with module.function("encode", "ptr %state", "ptr %inverse", "ptr %out") as f:
        _encode(f)


# --- words ---


def from_words(f: Field, words: list[Lanes]) -> Limbs:
    """Limbs of four little-endian words; the top bit is left out."""
    limbs = []
    for i in range(LIMBS):
        word, bit = divmod(BITS * i, 64)
        limb = f.right(words[word], bit)
        if bit + BITS > 64:
            limb = f.or_(limb, f.left(words[word + 1], 64 - bit))
        limbs.append(f.and_(limb, MASK))
    return limbs


def to_words(f: Field, limbs: Limbs) -> list[Lanes]:
    """Four little-endian words of canonical limbs."""
    words = [f.constant(0)] * 4
    for i, limb in enumerate(limbs):
        word, bit = divmod(BITS * i, 64)
        words[word] = f.or_(words[word], f.left(limb, bit))
        if bit + BITS > 64:
            words[word + 1] = f.or_(words[word + 1], f.right(limb, 64 - bit))
    return words


# --- square roots: `SQRT_RATIO_M1`, section 4.2 ---


def _root_before(f: Field, u: Limbs, v: Limbs, slot: int) -> None:
    """Keep u v^3 in this slot, and u v^7, of which the power is taken."""
    v3 = f.times(f.square(v), v)
    v7 = f.times(f.square(v3), v)
    f.store("%kept", slot, f.times(u, v3))
    f.store("%base", 0, f.times(u, v7))


def _root_after(f: Field, u: Limbs, v: Limbs, slot: int) -> tuple[Lanes, Limbs]:
    """Whether u/v is a square, and its root or that of SQRT_M1 u/v, not negative."""
    r = f.times(f.load("%kept", slot), f.load("%power"))
    check = f.times(v, f.square(r))
    i = f.number_of(SQRT_M1)
    correct = f.zero(f.minus(check, u))
    flipped = f.zero(f.plus(check, u))
    flipped_i = f.zero(f.plus(check, f.times(u, i)))
    r = f.choose(f.or_(flipped, flipped_i), f.times(r, i), r)
    return f.or_(correct, flipped), f.absolute(r)


# --- `MAP`, section 4.3.4 ---


def _map_before(f: Field) -> None:
    r = f.times(f.number_of(SQRT_M1), f.square(f.load("%t")))
    u = f.times(f.plus(r, f.number_of(1)), f.number_of(ONE_MINUS_D_SQ))
    v = f.times(f.minus(f.number_of(-1), f.times(r, f.number_of(D))), f.plus(r, f.number_of(D)))
    for slot, value in enumerate((r, u, v)):
        f.store("%kept", slot, value)
    _root_before(f, u, v, 3)


def _map_after(f: Field) -> None:
    t = f.load("%t")
    r, u, v = (f.load("%kept", slot) for slot in range(3))
    was_square, s = _root_after(f, u, v, 3)
    s = f.choose(was_square, s, f.negated(f.absolute(f.times(s, t))))
    c = f.choose(was_square, f.number_of(-1), r)
    n = f.minus(f.times(f.times(c, f.minus(r, f.number_of(1))), f.number_of(D_MINUS_ONE_SQ)), v)
    sv = f.times(s, v)
    ss = f.square(s)
    w0 = f.plus(sv, sv)
    w1 = f.times(n, f.number_of(SQRT_AD_MINUS_ONE))
    w2 = f.minus(f.number_of(1), ss)
    w3 = f.plus(f.number_of(1), ss)
    store_point(f, "%p", [f.times(w0, w3), f.times(w2, w1), f.times(w1, w3), f.times(w0, w2)])


# --- `Decode`, section 4.3.1 ---


def _decode_before(f: Field) -> None:
    words = [f.gathered("%in", k, 32) for k in range(4)]
    s = from_words(f, words)
    over = [f.xor(limb, below) for limb, below in zip(s, f.canonical(s), strict=True)]
    bad = f.or_(f.not_(f.no_bits(over)), f.or_(_mask(f, f.and_(s[0], 1)), _mask(f, f.right(words[3], 63))))
    ss = f.square(s)
    u1 = f.minus(f.number_of(1), ss)
    u2 = f.plus(f.number_of(1), ss)
    u2_sqr = f.square(u2)
    v = f.minus(f.negated(f.times(f.number_of(D), f.square(u1))), u2_sqr)
    ratio = f.times(v, u2_sqr)
    for slot, value in enumerate((s, u1, u2, v, ratio)):
        f.store("%kept", slot, value)
    _root_before(f, f.number_of(1), ratio, 5)
    f.store_lanes("%ok", 0, f.not_(bad))


def _decode_after(f: Field) -> None:
    """The identity is refused as well."""
    s, u1, u2, v, ratio = (f.load("%kept", slot) for slot in range(5))
    was_square, inverse_root = _root_after(f, f.number_of(1), ratio, 5)
    den_x = f.times(inverse_root, u2)
    den_y = f.times(f.times(inverse_root, den_x), v)
    x = f.times(s, den_x)
    x = f.absolute(f.plus(x, x))
    y = f.times(u1, den_y)
    t = f.times(x, y)
    bad = f.or_(f.or_(f.not_(was_square), f.odd(t)), f.or_(f.zero(y), f.zero(s)))
    f.store_lanes("%ok", 0, f.and_(f.load_lanes("%ok"), f.not_(bad)))
    store_point(f, "%p", [x, y, f.number_of(1), t])


def _mask(f: Field, bit: Lanes) -> Lanes:
    """All ones where a bit is 1."""
    return f.wrapped_difference(f.constant(0), bit)


# --- `Encode`, section 4.3.2, of the double of a point ---


def _encode_state(f: Field) -> None:
    """e, f, g, h of %p, and their product, or 1 in its place, behind %state.

    The double of %p is x = e/f, y = g/h, so the root that `Encode` takes is known, and what is left is the
    inverse of efgh, which many points share (M. Hamburg; `double_and_compress_batch` of curve25519-dalek).
    """
    x, y, z, t = load_point(f, "%p")
    xy = f.times(x, y)
    zz = f.square(z)
    dtt = f.times(f.square(t), f.number_of(D))
    e = f.plus(xy, xy)
    g = f.plus(f.square(x), f.square(y))
    ff = f.plus(zz, dtt)
    h = f.minus(zz, dtt)
    for slot, value in enumerate((e, ff, g, h)):
        f.store("%state", slot, value)
    product = f.times(f.times(e, g), f.times(ff, h))
    f.store("%state", PRODUCT, f.choose(f.zero(product), f.number_of(1), product))


PREFIX: Final = 4
"""Slot of a state that holds the product of all before it."""
PRODUCT: Final = 5
STATE: Final = 6
"""Elements of a state."""


def _encode(f: Field) -> None:
    """The encoding, from a state and the inverse of its product."""
    e, ff, g, h = (f.load("%state", slot) for slot in range(4))
    inverse = f.load("%inverse")
    eg = f.times(e, g)
    fh = f.times(ff, h)
    z_inverse = f.times(eg, inverse)
    t_inverse = f.times(fh, inverse)
    rotate = f.odd(f.times(eg, z_inverse))
    magic = f.choose(rotate, f.number_of(SQRT_M1), f.number_of(INVSQRT_A_MINUS_D))
    # all three from the values before the rotation
    turned_e = f.choose(rotate, g, e)
    turned_g = f.choose(rotate, f.negated(e), g)
    e = turned_e
    g = turned_g
    h = f.choose(rotate, f.times(ff, f.number_of(SQRT_M1)), h)
    g = f.choose(f.odd(f.times(f.times(h, e), z_inverse)), f.negated(g), g)
    s = f.absolute(f.times(f.minus(h, g), f.times(magic, f.times(g, t_inverse))))
    identity = f.zero(f.times(eg, fh))
    words = to_words(f, f.canonical(f.choose(identity, f.number_of(0), s)))
    for k, word in enumerate(words):
        f.scattered("%out", k, 32, word)
