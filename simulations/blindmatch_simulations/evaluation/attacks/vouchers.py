"""Vouchers that open from a threshold on: what opens too early or for another, and what they give away."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import Any, Final, cast

import numpy as np
from blindmatch_protocol import contract as bm
from blindmatch_protocol import group
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.codec.randomness import Randomness, seeded
from blindmatch_protocol.contract import Party
from blindmatch_protocol.contract.relation import NO_ENTRIES
from blindmatch_protocol.designs.threshold_near import design as near
from blindmatch_protocol.designs.threshold_psi import design as psi
from blindmatch_protocol.designs.threshold_psi import opener as exact
from blindmatch_protocol.designs.threshold_psi.design import ThresholdPsi
from blindmatch_protocol.designs.threshold_psi.opener import ThresholdOpener
from blindmatch_protocol.designs.threshold_psi.shares import COORDINATES, SHARE_BYTES, Share
from blindmatch_protocol.group import sodium
from blindmatch_protocol.messages.content import AttachmentRef, compose
from blindmatch_protocol.messages.franking import commit, disclose
from msgspec.structs import replace

from blindmatch_simulations.evaluation.attacks import needs
from blindmatch_simulations.evaluation.attacks.adversary import Claim, Left, Means, replacing
from blindmatch_simulations.evaluation.attacks.arena import Arena, AttackError, attack
from blindmatch_simulations.evaluation.attacks.figure import Figure, Played, advantages, counted, tally, won
from blindmatch_simulations.testbed.inprocess.deployed import update
from blindmatch_simulations.testbed.inprocess.vouchers import ACCOUNT, World, world_of
from blindmatch_simulations.testbed.pictures.pool import HashOnly

T: Final = 3
GAMES: Final = 200
NOISE: Final = 4
PAGE: Final = "docs/designs/threshold-psi.md"
_OPEN = ThresholdOpener.open
_SHARES = ThresholdPsi._shares
_BOUND = exact.bound_to
_DECODE = Share.decode
_START: Any = ThresholdPsi.start
_MULTIPLIED: Final = ThresholdOpener.multiplied
_PERIOD_OF: Final = psi.period_of
_ANY_SHARE: Final = Share(1, (0,) * COORDINATES).encode()


def _world(
    arena: Arena,
    entries: int = 40,
    synthetic: int = 0,
    threshold: int = T,
    more: Rows = NO_ENTRIES,
    expires: int = 0,
    whole: bool = False,
) -> World:
    """A list of so many entries and `more`, a device and the centre; always under one key. `whole`: not in
    the design's fast form."""
    listed = np.concatenate([arena.hashes(entries, "listed"), more])
    values = {"threshold": threshold, "synthetic": synthetic, bm.KEY_EXPIRES: expires}
    deployed = (arena if whole else arena.reduced()).deployed(listed, "vouchers", **values)
    return world_of(deployed, listed, arena.rng("vouchers"))


def _fewer(one: Any) -> Any:
    """Device or centre with a threshold that is lower by one."""
    return replace(one, threshold=one.threshold - 1)


def _unbound(epoch: int, period: bytes, device: bytes, blinded: bytes) -> bytes:
    return _BOUND(0, bytes(32), bytes(16), blinded)


@attack(
    "below-threshold",
    Means(frozenset({Party.CENTRE}), has="its key and list"),
    Claim("with fewer than t matches: nothing that is on a visible voucher", PAGE),
    budget=f"accounts with {T - 1} matches at t = {T}",
    weakness=replacing(
        (ThresholdPsi, "_shares", lambda *given: _fewer(_SHARES(*given))),
        (ThresholdOpener, "open", lambda own, *given: _OPEN(_fewer(own), *given)),
    ),
    needs=(needs.SHARED,),
    exposes="matches below the threshold",
)
def below_threshold(arena: Arena) -> Figure:
    """Count the labels that open, by how an account comes to its vouchers."""
    first = _world(arena)
    second = replace(first, state=first.deployed.design.enrol(first.rng))
    few = [row.tobytes() for row in first.listed[: T - 1]]
    mine, more = ([one.voucher(own) for own in few] for one in (first, second))
    again = [first.voucher(own) for own in few]
    anew = first.restarted().opener
    rows = {
        "lone hits": first.rows(mine),
        "sent again": first.rows([*mine, *again]),
        "a second device": [*first.rows(mine), *first.rows(more)],
        "a centre started anew": [*first.rows(mine[:1]), *first.restarted().rows(mine[1:])],
    }
    opened = {case: anew.open(ACCOUNT, first.period, held) for case, held in rows.items()}
    return counted("labels opened", {case: (len(opened[case]), len(held)) for case, held in rows.items()})


def _opened(used: Sequence[tuple[World, Sequence[bm.Message]]]) -> int:
    """Count what opens of vouchers that came under several sets, as a centre holds them: by period."""
    piles: dict[bytes, list[bytes]] = defaultdict(list)
    for world, bodies in used:
        piles[world.period] += world.rows(bodies)
    openers = {world.period: world.opener for world, _ in used}
    return sum(len(openers[period].open(ACCOUNT, period, rows)) for period, rows in piles.items())


def _of_its_epoch(design: bm.AnyDesign, setup: Any) -> bytes:
    return bm.epoch_scope(design.epoch_of(setup))


@attack(
    "spread-matches",
    Means(frozenset({Party.DEVICE}), has="listed pictures, and patience"),
    Claim("matches before and after a list update add up", PAGE),
    budget=f"{T - 1} matches in each of three epochs of one period, at t = {T}",
    weakness=replacing((bm, "state_scope", _of_its_epoch)),
    needs=(needs.SHARED,),
    exposes="a threshold of matches",
)
def spread_matches(arena: Arena) -> Figure:
    """Count the matches that stay closed, of an account that sends fewer than t between two list updates."""
    worlds = [_world(arena)]
    for epoch in (2, 3):
        build = update(
            worlds[-1].deployed.build, arena.hashes(1, f"added/{epoch}"), [], arena.rng(f"update/{epoch}")
        )
        worlds.append(worlds[-1].under(arena.reduced().opened(build)))
    sent = []
    for number, world in enumerate(worlds):
        own = world.listed[number * (T - 1) :][: T - 1]
        sent.append((world, [world.voucher(row.tobytes()) for row in own]))
    total = len(worlds) * (T - 1)
    return counted("matches that stay closed", {"over list updates": (total - _opened(sent), total)})


def _without_end(public: bytes, values: Mapping[str, int]) -> bytes:
    return _PERIOD_OF(public, {**values, bm.KEY_EXPIRES: 0})


@attack(
    "moved-end",
    Means(frozenset({Party.CURATOR, Party.CENTRE}), has="the key, the opener and the list"),
    Claim("the same key with another end is another period", PAGE),
    budget=f"{T - 1} matches under one stated end and {T - 1} under another, at t = {T}",
    weakness=replacing((psi, "period_of", _without_end)),
    needs=(needs.SHARED,),
    exposes="matches from before a period's end, with those from after it",
)
def moved_end(arena: Arena) -> Figure:
    """Count the labels that open where a key is published again with another end than devices were told."""
    end = 2_000_000_000
    opened = {}
    for case, moved in {"a later end": end + 1, "an earlier end": end - 1, "no end": 0}.items():
        before = _world(arena, expires=end)
        after = before.under(_world(arena, expires=moved).deployed)
        if (before.deployed.setup.public != after.deployed.setup.public).any():
            raise AttackError("the two sets have different keys")
        first = before.listed[: T - 1]
        second = before.listed[T - 1 :][: T - 1]
        sent = [
            (world, [world.voucher(row.tobytes()) for row in own])
            for world, own in ((before, first), (after, second))
        ]
        opened[case] = (_opened(sent), 2 * (T - 1))
    return counted("labels opened", opened)


@attack(
    "moved-voucher",
    Means(frozenset({Party.DEVICE}), has="vouchers of another account"),
    Claim("vouchers of another account, device or epoch open nothing", PAGE),
    budget=f"{T} matches of another account",
    weakness=replacing(
        (exact, "_is_of", lambda evidence, account: True),
        (exact, "bound_to", _unbound),
        (near, "bound_to", _unbound),
    ),
    needs=(needs.SHARED,),
    exposes="whom opened pictures are held against",
    left=Left.CHECKED,
)
def moved_voucher(arena: Arena) -> Figure:
    """Count vouchers that open for another account, or show under another device's name or epoch."""
    world = _world(arena)
    sent = compose("", (AttachmentRef(bytes(16), bytes(32), bytes(32), 1024, "image/png"),), 1, world.rng)
    bound = bm.Binding(commit(sent, ACCOUNT, "bob"), disclose(sent, ACCOUNT, "bob", 0).encode())
    bodies: list[Any] = [world.voucher(own.tobytes(), bound) for own in world.listed[:T]]
    rows = world.rows(bodies)
    if len(world.opener.open(ACCOUNT, world.period, rows)) != T:
        raise AttackError("vouchers do not open for their own account")
    later: Any = replace(cast(Any, world.opener), epoch=2)
    moved = {
        "another account": len(world.opener.open("mallory", world.period, rows)),
        "another device": len(world.rows([replace(one, device=bytes(16)) for one in bodies])),
        "another epoch": len(replace(world, opener=later).rows([replace(one, epoch=2) for one in bodies])),
    }
    return counted("vouchers taken for another's", {case: (times, T) for case, times in moved.items()})


def _complaining(raw: bytes) -> Share:
    if (share := _DECODE(raw)) is None:
        raise ProtocolError("voucher", "must be a share", "sealed")
    return share


@attack(
    "malformed-shares",
    Means(frozenset({Party.DEVICE}), has="guesses of what is listed"),
    Claim("the device does not learn what is listed, or what matched, but by timing", PAGE),
    budget="two guesses, malformed in two ways",
    weakness=replacing((Share, "decode", staticmethod(_complaining))),
    needs=(needs.SHARED,),
    exposes="whether guesses are listed",
)
def malformed_shares(arena: Arena) -> Figure:
    """Count the malformed shares by which the centre's answer differs with what is listed."""
    world = _world(arena)

    def is_refused(own: bytes, share: bytes) -> bool:
        with replacing((Share, "encode", lambda _: share))():
            body = world.voucher(own)
        try:
            world.take(body)
        except ProtocolError:
            return True
        return False

    listed, unlisted = (row.tobytes() for row in (world.listed[0], arena.hashes(1, "others")[0]))
    shares = {"a place of zero": bytes(SHARE_BYTES), "beyond the field": b"\xff" * SHARE_BYTES}
    tries = ((case, is_refused(listed, one) != is_refused(unlisted, one)) for case, one in shares.items())
    return counted("answers that differ", tally(tries))


def _any_point(opener: Any, blinded: Rows) -> Rows:
    try:
        return _MULTIPLIED(opener, blinded)
    except ProtocolError:
        return np.zeros_like(blinded)


@attack(
    "bad-points",
    Means(frozenset({Party.DEVICE}), has="guesses of what is listed"),
    Claim("the device does not learn what is listed, or what matched, but by timing", PAGE),
    budget="four encodings that the group does not have, in the place of a voucher's",
    weakness=replacing((ThresholdOpener, "multiplied", _any_point)),
    needs=(needs.SHARED,),
    exposes="whether guesses are listed",
)
def bad_points(arena: Arena) -> Figure:
    """Count the points that are the identity, or no canonical element, and get an answer."""
    world = _world(arena)
    body: Any = world.voucher(world.listed[0].tobytes())
    own = body.blinded if isinstance(body, exact.Voucher) else body.tokens[0, : group.ELEMENT_BYTES].tobytes()
    points = {
        "identity": bytes(32),
        "beyond the field": b"\xff" * 32,
        "negative": b"\x01" + bytes(31),
        "a second encoding": own[:-1] + bytes([own[-1] | 0x80]),
    }

    def is_taken(point: bytes) -> bool:
        if isinstance(body, exact.Voucher):
            altered = replace(body, blinded=point)
        else:
            tokens = body.tokens.copy()
            tokens[0, : group.ELEMENT_BYTES] = np.frombuffer(point, np.uint8)
            altered = replace(body, tokens=tokens)
        try:
            world.take(altered)
        except ProtocolError:
            return False
        return True

    return counted("points taken", tally((case, is_taken(point)) for case, point in points.items()))


@attack(
    "between-thresholds",
    Means(frozenset({Party.CENTRE}), has="its key and list"),
    Claim("Between them nothing is impossible", PAGE),
    budget=f"every {T} of {T + NOISE} visible vouchers, {NOISE} of them made up, at t = {T}",
    needs=(needs.SHARED,),
    exposes="which visible pictures match",
)
def between_thresholds(arena: Arena) -> Figure:
    """Count the matches that open, where the centre's decoder opens none: every t are tried by themselves."""
    world = _world(arena, synthetic=100)
    design = world.deployed.design
    setup = world.deployed.setup
    kinds: dict[bool, list[bytes]] = {True: [], False: []}
    for row in (*world.listed, *arena.hashes(100 * NOISE, "others")):
        own = row.tobytes()
        is_made_up = design.made_up(world.state, setup, world.item(own))
        kinds[is_made_up].append(own)
    visible = [*kinds[False][:T], *kinds[True][:NOISE]]
    rows = world.rows([world.voucher(own) for own in visible])
    if len(rows) != T + NOISE or world.opener.open(ACCOUNT, world.period, rows):
        raise AttackError("the decoder opens them itself, or a voucher is hidden")
    opened = (world.opener.open(ACCOUNT, world.period, list(some)) for some in combinations(rows, T))
    return counted("matches opened", {"every t tried": (max(map(len, opened)), T)})


@attack(
    "unlisted-voucher",
    Means(frozenset({Party.CENTRE}), has="its key and list"),
    Claim("an unlisted picture's voucher, not made up, tells nothing but sender, epoch and time", PAGE),
    budget="20 pictures, sent twice, to two lists and in two periods; a wrong key",
    weakness=replacing(
        (ThresholdPsi, "start", lambda own, *given: _START(own, *given[:-1], seeded("same"))),
        (ThresholdPsi, "_shares", lambda *given: replace(_SHARES(*given), period=bytes(32))),
        (exact, "unseal", lambda key, sealed, bound: _ANY_SHARE + sealed[SHARE_BYTES:]),
    ),
    needs=(needs.SHARED,),
    exposes="pictures that are not listed",
)
def unlisted_voucher(arena: Arena) -> Figure:
    """Count what is visible, that a picture was sent again, and that two periods have the same device."""
    world = _world(arena)
    small = _world(arena, 3)
    later = _world(arena, threshold=T + 1)
    key: Any = replace(cast(Any, world.opener), key=group.random_scalars(1, arena.rng("wrong")))
    others = [row.tobytes() for row in arena.hashes(20, "others")]
    bodies: list[Any] = [world.voucher(own) for own in others]
    next_period: Any = replace(later, state=world.state).voucher(others[0])
    seen = {
        "visible": len(world.rows(bodies)),
        "visible, of a list of three": len(small.rows([small.voucher(own) for own in others])),
        "listed, by a wrong key": len(
            replace(world, opener=key).rows([world.voucher(row.tobytes()) for row in world.listed[:20]])
        ),
        "sent again": len({one.encode() for one in bodies} & {world.voucher(own).encode() for own in others}),
        "in another period": 20 * (next_period.device == bodies[0].device),
    }
    return counted("vouchers", {case: (times, 20) for case, times in seen.items()})


def _longer(own: Any, state: Any, setup: Any, item: Any, *given: Any) -> Any:
    """Works more for what is made up."""
    if own.made_up(state, setup, item):
        group.multiply(group.random_scalars(1, given[-1]), setup.public)
    return _START(own, state, setup, item, *given)


@attack(
    "made-up-size",
    Means(frozenset({Party.CENTRE, Party.PROVIDER}), has="a key, sizes, how long devices work"),
    Claim("whether a visible voucher is made up shows neither in its size nor in the device's work", PAGE),
    budget=f"{GAMES} visible vouchers; work is counted in operations of the group, not timed",
    weakness=replacing((ThresholdPsi, "start", _longer)),
    needs=(needs.SHARED,),
    exposes="which visible pictures match",
)
def made_up_size(arena: Arena) -> Figure:
    """The advantage in telling real from made-up vouchers by size, stored size and work."""
    games = GAMES if arena.thorough else GAMES // 4
    world = _world(arena, games, 100)
    design = world.deployed.design
    setup = world.deployed.setup
    worked = [0]

    def counting(operation: Callable[..., Rows]) -> Callable[..., Rows]:
        def run(*given: Any) -> Rows:
            worked[0] += len(given[-1])
            return operation(*given)

        return run

    kinds: dict[bool, list[bytes]] = {True: [], False: []}
    for at, row in enumerate((*world.listed, *arena.hashes(8 * games, "others"))):
        is_made_up = design.made_up(world.state, setup, world.item(row.tobytes()))
        if is_made_up or at < len(world.listed):
            kinds[is_made_up].append(row.tobytes())
    played = []
    for case in arena.each([True, False, False, True] * (games // 4)):
        worked[0] = 0
        with replacing(*((of, name, counting(getattr(of, name))) for of, name in _WORK))():
            body = world.voucher(kinds[case].pop())
        played.append(Played((len(body.encode()), len(world.rows([body])[0]), worked[0]), case))
    return advantages({"size and work": won(played)})


_WORK: Final = (
    *((sodium, name) for name in ("multiply", "multiply_base", "add", "hash_to_group")),
    *((group, name) for name in ("multiply", "multiply_base", "add", "hash_multiply")),
)


EACH: Final = 5
"""Games of order for each other one: they take no operations of the group."""
TRIES: Final = 1_000
PICTURES: Final = 200
ALBUM: Final = 3
REACH: Final = 2
"""An observer looks so many vouchers back and ahead of a visible one: as far as an album of `ALBUM` goes."""


@attack(
    "made-up",
    Means(frozenset({Party.CENTRE}), has="its key and list, and the order in which vouchers come"),
    Claim("Order and copies tell real vouchers from made-up ones", PAGE),
    budget=f"{EACH * GAMES} visible vouchers of accounts that send {PICTURES} pictures, {ALBUM} of them "
    f"listed and one after the other, at t = {ALBUM + 1}; where vouchers show how many tokens are listed, "
    f"{GAMES} pictures, each sent twice with one hash and coefficients that are drawn anew",
    needs=(needs.MADE_UP,),
    exposes="which visible pictures match",
)
def made_up(arena: Arena) -> Figure:
    """The advantage in telling real from made-up vouchers by what comes beside them, or by a copy."""
    games = GAMES if arena.thorough else GAMES // 4
    played = {
        f"an album, {share / 10:g} % made up": _albums(arena, share, EACH * games) for share in (10, 100)
    }
    if needs.COUNTED.met(arena.design):
        played["two copies with one hash"] = _copies(arena, games)
    return advantages({name: won(one, len(played)) for name, one in played.items()})


def _albums(arena: Arena, share: int, games: int) -> list[Played]:
    """Accounts, each with one of its visible vouchers, real or made up: is another one within `REACH`?

    Which vouchers are visible follows from the list and the device's coins. On the first account that is
    compared with what the centre's opener says of the vouchers themselves.
    """
    world = _world(arena, synthetic=share, threshold=ALBUM + 1)
    rng = arena.rng(f"albums/{share}")
    played = list[Played]()
    for case in arena.each([True, False, False, True] * (games // 4)):
        chosen = list[int]()
        for _ in range(TRIES):  # an account may have none that is made up
            account = replace(world, state=world.deployed.design.enrol(rng))
            pictures = _with_album(account, rng)
            made = [_is_made_up(account, own) for own in pictures]
            listed = {row.tobytes() for row in world.listed}
            visible = [own in listed or coin for own, coin in zip(pictures, made, strict=True)]
            chosen = [at for at, coin in enumerate(made) if visible[at] and coin is not case]
            if chosen:
                break
        else:
            raise AttackError(f"of {TRIES} accounts none has a voucher of the kind")
        if not played:
            _check_visible(account, pictures, visible)
        at = chosen[_below(len(chosen), rng)]
        beside = visible[max(0, at - REACH) : at] + visible[at + 1 : at + 1 + REACH]
        played.append(Played((any(beside),), case))
    return played


def _with_album(world: World, rng: Randomness) -> list[bytes]:
    """Hashes of pictures in the order in which an account sends them; the listed ones lie side by side."""
    first = _below(len(world.listed) - ALBUM, rng)
    album = [row.tobytes() for row in world.listed[first : first + ALBUM]]
    pictures = [rng.take(32) for _ in range(PICTURES - ALBUM)]
    at = _below(len(pictures) + 1, rng)
    return [*pictures[:at], *album, *pictures[at:]]


def _is_made_up(world: World, own: bytes) -> bool:
    return world.deployed.design.made_up(world.state, world.deployed.setup, world.item(own))


def _check_visible(world: World, pictures: Sequence[bytes], visible: Sequence[bool]) -> None:
    taken = [isinstance(world.take(world.voucher(own)), bm.Visible) for own in pictures]
    if taken != list(visible):
        raise AttackError("other vouchers are visible than the list and the coins say")


def _copies(arena: Arena, games: int) -> list[Played]:
    """Visible pictures that are sent twice, real or made up: has another number of tokens been listed?

    The number follows from picture, list and device. On the first of each kind it is compared with what the
    centre finds in the voucher.
    """
    world = _world(arena, synthetic=100, threshold=ALBUM + 1, whole=True)
    rng = arena.rng("copies")
    played = list[Played]()
    for case in arena.each([True, False, False, True] * (games // 4)):
        counts: list[int] = []
        while not counts or 0 in counts:  # a copy that is not visible shows nothing
            own = _near(world, rng) if case else rng.take(32)
            if _is_made_up(world, own) is case:
                continue
            copies = [cast(bm.Item, HashOnly(own, known=_drawn_coefficients(own, rng))) for _ in range(2)]
            counts = [_tokens_that_show(world, copy) for copy in copies]
        if case not in {one.case for one in played} and counts[0] != _tokens_found(world, copies[0]):
            raise AttackError("the centre finds another number of tokens than list and device say")
        played.append(Played((counts[0] != counts[1],), case))
    return played


def _near(world: World, rng: Randomness) -> bytes:
    """A hash that differs from a listed one in 8 bits."""
    bits = np.unpackbits(world.listed[_below(len(world.listed), rng)])
    places = np.argsort(np.frombuffer(rng.take(8 * len(bits)), np.uint64))[:8]
    bits[places] ^= 1
    return np.packbits(bits).tobytes()


def _drawn_coefficients(own: bytes, rng: Randomness) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Signs as the bits of the hash say, and sizes that are drawn."""
    signs = np.unpackbits(np.frombuffer(own, np.uint8)).astype(np.float32) * 2 - 1
    sizes = 1 + np.frombuffer(rng.take(2 * len(signs)), np.uint16).astype(np.float32)
    return signs * sizes


def _tokens_that_show(world: World, item: bm.Item) -> int:
    """How many tokens of a picture's voucher are listed, by the list and the device's state."""
    design: Any = world.deployed.design
    if _is_made_up(world, item.hash):
        return near.hits_of(design._shares(world.state, world.deployed.setup).pattern(item.hash))
    listed = {row.tobytes() for row in design.keys_of(world.listed)}
    return sum(row.tobytes() in listed for row in near.token_rows(design.asked(item.hash, item)))


def _tokens_found(world: World, item: bm.Item) -> int:
    """How many tokens the centre finds listed in a picture's voucher."""
    opener: Any = world.opener
    started: Any = world.deployed.design.start(world.state, world.deployed.setup, item, bm.UNBOUND, world.rng)
    body: near.Voucher = started.step.outcome.body
    blinded, masked = np.hsplit(body.tokens, [group.ELEMENT_BYTES])
    keys = near.masks_of(opener.multiplied(np.ascontiguousarray(blinded))) ^ masked
    bound = near.bound_by(body.epoch, opener.period, body.device, body.tokens)
    commitments, _ = near.keyed(bound, keys)
    return int((commitments == np.frombuffer(body.commitment, np.uint8)).all(axis=1).sum())


def _below(count: int, rng: Randomness) -> int:
    """A number from 0 to `count` - 1, within 2^-64 of uniform."""
    return int.from_bytes(rng.take(16), "big") % count
