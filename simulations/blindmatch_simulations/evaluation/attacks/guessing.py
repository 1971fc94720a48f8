"""Pictures that somebody thinks of are tested, half of which are on the list."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from typing import Any, Final

import numpy as np
from blindmatch_protocol import group
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.contract import Match, Party, Role
from blindmatch_protocol.crypto.oprf import SecretKey, evaluate
from blindmatch_protocol.designs.prefix_bucket import BUCKETS, Bucket, design, files
from blindmatch_protocol.designs.voprf import KeyLayout, Verified
from blindmatch_protocol.picture.pdq import rows
from msgspec.structs import replace

from blindmatch_simulations.evaluation.attacks import needs
from blindmatch_simulations.evaluation.attacks.adversary import Claim, Conduct, Left, Means, replacing
from blindmatch_simulations.evaluation.attacks.arena import Arena, AttackError, attack
from blindmatch_simulations.evaluation.attacks.figure import Figure, Played, advantages, counted, won
from blindmatch_simulations.measure.intervals import GAME_CONFIDENCE, Advantage, advantage, clopper_pearson
from blindmatch_simulations.testbed.inprocess.deployed import Deployed, run_session
from blindmatch_simulations.testbed.inprocess.steps import Stop, deliver, hostile, sent, stops
from blindmatch_simulations.testbed.pictures.pool import HashOnly, picture

GUESSES: Final = 40
QUICK_GUESSES: Final = 10


@attack(
    "guessing",
    Means(frozenset({Party.MATCHER}), Conduct.SEMI_HONEST, "the key and the set", stolen=True),
    Claim("it can evaluate any guess and look it up"),
    budget=f"{GUESSES} guesses, half of them listed",
    needs=(needs.ONE_KEY,),
    exposes="whether a guess is on the list",
)
def guessing(arena: Arena) -> Figure:
    """The advantage over guessing blindly whether a hash is on the list."""
    count = GUESSES if arena.thorough else QUICK_GUESSES
    arena = arena.reduced()
    guesses = [picture(1000 * arena.seed + number) for number in range(count)]
    listed = rows([guess.hash for guess in guesses[: count // 2]])
    deployed = arena.deployed(listed, "set", bands=4, probes=2)
    rng = arena.rng("guesses")
    right = 0
    arena.spending.list_share = 1.0
    for at, guess in enumerate(arena.each(guesses)):
        found = isinstance(run_session(deployed, guess, rng).outcome, Match)
        right += found == (at < len(listed))
    made = advantage(right, count)
    return Figure("advantage", made.value, made.told_apart, count, (made.low, made.high))


attack(
    "membership-probing",
    Means(frozenset({Party.DEVICE}), has="hashes it would know about"),
    Claim("whoever may ask tests any hash, one request a guess"),
    budget=guessing.budget,
    exposes=guessing.exposes,
    left=Left.COUNTED,
    needs=(needs.ASKS, needs.TOLD),
)(guessing.move)
SMALL: Final = 2
"""Scalars from 1 on that the other share is tried to be."""
_A = Party("party_a")
_B = Party("party_b")


def _of_ones(layout: KeyLayout, key: SecretKey, rng: Randomness) -> dict[Role, SecretKey]:
    """Shares of which all but the last are 1."""
    one = SecretKey(key.mode, (1).to_bytes(32, "little"))
    rest = group.subtract_scalars(key.rows(), one.rows())
    return {layout.roles[0]: one, layout.roles[1]: SecretKey(key.mode, rest.tobytes())}


@attack(
    "one-share",
    Means(frozenset({_B}), Conduct.SEMI_HONEST, "its share, and the set", stolen=True),
    Claim("No party alone can test a guess", "docs/designs/split-psi.md"),
    budget=f"{GUESSES} guesses, half of them listed, {SMALL + 1} keys for each, as either party",
    weakness=replacing((KeyLayout, "split", _of_ones)),
    needs=(needs.HALVES,),
    exposes="whether a guess is on the list",
)
def one_share(arena: Arena) -> Figure:
    """Each party's advantage over guessing blindly whether a hash is on the list."""
    listed = arena.hashes(GUESSES // 2, "listed")
    others = arena.hashes(GUESSES // 2, "others")
    deployed = arena.deployed(listed, "set", bands=4, probes=2)
    arena.spending.list_share = 1.0
    guesses = np.concatenate([listed, others])
    holders = deployed.states.items()
    found = {
        str(role): _tested(deployed, list(_keys(state.key)), guesses, arena.rng("guesses"))
        for role, state in arena.each(holders)
    }
    best = max(found.values(), key=lambda one: one.value)
    return replace(advantages(found), parts={"best": round(best.value, 4)})


def _tested(deployed: Deployed, keys: list[SecretKey], guesses: Rows, rng: Randomness) -> Advantage:
    """How well any of these keys tells the first half of the guesses, which are listed, from the others."""
    right = 0
    for at, row in enumerate(guesses):
        found = any(_opens(deployed, key, row.tobytes(), rng) for key in keys)
        right += found == (at < len(guesses) // 2)
    return advantage(right, len(guesses), 1 - (1 - GAME_CONFIDENCE) / len(deployed.states))


def _opens(deployed: Deployed, key: SecretKey, guess: bytes, rng: Randomness) -> bool:
    design: Any = deployed.design
    inputs = design.inputs(deployed.setup, HashOnly(guess), False, rng)
    return design.found(deployed.setup, Verified(evaluate(key, inputs), guess)) is not None


def _keys(own: SecretKey) -> Iterator[SecretKey]:
    yield own
    for scalar in range(1, SMALL + 1):
        other = np.frombuffer(scalar.to_bytes(32, "little"), np.uint8).reshape(1, 32)
        yield SecretKey(own.mode, group.add_scalars(own.rows(), other).tobytes())


attack(
    "all-shares",
    Means(frozenset({_A, _B}), Conduct.SEMI_HONEST, "all shares, and the set", stolen=True),
    Claim("Together they can test any guess offline", "docs/designs/split-psi.md"),
    budget=guessing.budget,
    exposes=guessing.exposes,
    needs=(needs.HALVES,),
)(guessing.move)


ENTRIES: Final = 8
ASKED: Final = 400
OTHERS: Final = 100_000
GAMES: Final = 200
RETRIES: Final = 20
FLIPS: Final = 32
PAGE: Final = "docs/designs/prefix-bucket.md"
_MATCHER = frozenset({Party.MATCHER})


@attack(
    "prefix",
    Means(_MATCHER, Conduct.SEMI_HONEST, "a picture in mind"),
    Claim("makes it 1,024 times as likely", PAGE),
    budget=f"{ASKED} pictures, half of them the one; {OTHERS} hashes of others",
    needs=(needs.IN_BUCKETS,),
    exposes="which of few pictures was sent",
)
def prefix(arena: Arena) -> Figure:
    """One over the share of other pictures that have the prefix of the one in mind. Success is to guess
    better than blindly which of the two a picture is."""
    deployed = arena.deployed(arena.hashes(ENTRIES, "listed"), "set")
    mine = arena.hashes(1, "mine")[0].tobytes()
    others = arena.hashes(OTHERS, "others")
    wanted = files.bucket_of(mine, deployed.setup.bits)
    rng = arena.rng("asked")
    right = 0
    for at in arena.each(range(ASKED)):
        own = mine if at % 2 else others[at].tobytes()
        right += (_prefix(deployed, own, rng) == wanted) == bool(at % 2)
    fit = sum(files.bucket_of(row.tobytes(), deployed.setup.bits) == wanted for row in others)
    low, high = clopper_pearson(fit, OTHERS, GAME_CONFIDENCE)
    made = advantage(right, ASKED)
    ratio = OTHERS / max(fit, 1)
    parts = {"advantage": round(made.value, 4)}
    return Figure("likelihood ratio", ratio, made.told_apart, OTHERS, (1 / high, 1 / max(low, 1e-9)), parts)


def _prefix(deployed: Deployed, own: bytes, rng: Randomness) -> int:
    body: Any = sent(deployed, HashOnly(own), rng)[BUCKETS]
    return int(body.bucket)


def _own_start(own: bytes, bits: int) -> int:
    return int.from_bytes(own[:4], "big") >> (32 - bits)


@attack(
    "same-prefix",
    Means(_MATCHER, Conduct.SEMI_HONEST, "a picture in mind"),
    Claim("Two pictures of one prefix look the same", PAGE),
    budget=f"{GAMES} pictures, one of two",
    weakness=replacing((files, "bucket_of", _own_start), (design, "bucket_of", _own_start)),
    needs=(needs.IN_BUCKETS,),
    exposes="which of few pictures was sent",
)
def same_prefix(arena: Arena) -> Figure:
    """The advantage of telling two pictures of one prefix apart, by all that the matcher gets."""
    deployed = arena.deployed(arena.hashes(ENTRIES, "listed"), "set")
    pair = _pair(arena, deployed.setup.bits)
    rng = arena.rng("games")
    played = list[Played]()
    for at in arena.each(range(GAMES)):
        case = bool(at % 2)
        played.append(Played((_prefix(deployed, pair[case], rng),), case))
    return advantages({"pair": won(played)})


def _pair(arena: Arena, bits: int) -> tuple[bytes, bytes]:
    seen: dict[int, bytes] = {}
    for row in arena.hashes(4 << bits // 2 + 2, "pair"):
        own = row.tobytes()
        first = seen.setdefault(int.from_bytes(sha256(own).digest()[:4], "big") >> (32 - bits), own)
        if first != own:
            return first, own
    raise AttackError("no two of the hashes have one prefix")


@attack(
    "held-back",
    Means(_MATCHER, has="a picture in mind, and every bucket it hands out"),
    Claim("keeps a picture that it has in mind from being sent, for good", PAGE),
    budget=f"{RETRIES} requests of the picture, {ASKED} of others",
    needs=(needs.IN_BUCKETS,),
    exposes="the delivery of a picture in mind",
    left=Left.WAITS,
)
def held_back(arena: Arena) -> Figure:
    """Requests of the picture that are refused by its bucket; success is all of them, and few of others."""
    deployed = arena.deployed(arena.hashes(ENTRIES, "listed"), "set")
    mine = arena.hashes(1, "mine")[0].tobytes()
    others = arena.hashes(ASKED, "others")
    rng = arena.rng("asked")
    wanted = files.bucket_of(mine, deployed.setup.bits)
    held = sum(_prefix(deployed, mine, rng) == wanted for _ in range(RETRIES))
    beside = sum(_prefix(deployed, row.tobytes(), rng) == wanted for row in arena.each(others))
    parts = {"the picture": held / RETRIES, "others": beside / ASKED}
    return Figure("requests held back", held, held == RETRIES and 20 * beside < ASKED, RETRIES, None, parts)


@attack(
    "other-bucket",
    Means(_MATCHER, has="every bucket it hands out"),
    Claim("It cannot give one device another bucket", PAGE),
    budget="some 60 buckets for each of two pictures",
    weakness=replacing((files, "compare_digest", lambda *_: True)),
    needs=(needs.IN_BUCKETS,),
    exposes="that an outcome is the list's",
    left=Left.REFUSED,
)
def other_bucket(arena: Arena) -> Figure:
    """Count the buckets that are not refused, or that end in another error than a refusal."""
    listed = arena.hashes(ENTRIES, "listed")
    deployed = arena.deployed(listed, "set")
    foreign = arena.deployed(listed, "another set")
    cases = {}
    for name, own in (("listed", listed[0]), ("other", arena.hashes(1, "other")[0])):
        (stop,) = stops(deployed, HashOnly(own.tobytes()), arena.rng(name))
        honest = stop.replies[BUCKETS].encode()
        taken = [
            raw != honest and deliver(deployed, stop, BUCKETS, raw, arena.rng("receive")) is not None
            for raw in _buckets(arena, deployed, foreign, stop)
        ]
        cases[name] = (sum(taken), len(taken))
    return counted("buckets taken", cases)


def _buckets(arena: Arena, deployed: Deployed, foreign: Deployed, stop: Stop) -> Iterator[bytes]:
    asked: Any = stop.bodies[BUCKETS]
    reply: Any = stop.replies[BUCKETS]
    others = [deployed.states[BUCKETS].bucket(asked.bucket ^ bit) for bit in (1, 2, 256)]
    another = foreign.states[BUCKETS].bucket(asked.bucket)
    own = reply.content
    for content in (*others, another, bytes(len(own)), b"", own[:-1], own + b"\0"):
        yield Bucket(reply.epoch, content).encode()
    yield replace(reply, epoch=reply.epoch + 1).encode()
    yield from hostile((Bucket,), reply.encode(), arena.rng("forged"), FLIPS)
