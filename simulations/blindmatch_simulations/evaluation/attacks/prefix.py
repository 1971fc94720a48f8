"""A matcher that hands out buckets: what a prefix tells of a picture, and whether another one is taken.

prefix         a picture is one it has in mind, or another: how much likelier the right prefix makes it
same-prefix    tells two pictures apart that have one prefix
other-bucket   answers with what is not the bucket that was asked for
held-back      refuses the bucket of a picture it has in mind: a device in mode hold never sends it
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from typing import Any, Final

from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.contract import Adversary as Conduct
from blindmatch_protocol.contract import Party
from blindmatch_protocol.designs.prefix_bucket import BUCKETS, Bucket, files
from blindmatch_protocol.designs.prefix_bucket import files as kept
from msgspec.structs import replace

from blindmatch_simulations.evaluation.attacks.adversary import Claim, Means, replacing
from blindmatch_simulations.evaluation.attacks.arena import Arena, AttackError, attack
from blindmatch_simulations.evaluation.attacks.figure import Figure, Played, advantages, counted, won
from blindmatch_simulations.evaluation.attacks.needs import IN_BUCKETS
from blindmatch_simulations.measure.intervals import advantage, clopper_pearson
from blindmatch_simulations.testbed.inprocess.deployed import Deployed
from blindmatch_simulations.testbed.inprocess.steps import Stop, deliver, hostile, sent, stops
from blindmatch_simulations.testbed.pictures.pool import HashOnly

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
    needs=(IN_BUCKETS,),
)
def prefix(arena: Arena) -> Figure:
    """One over the share of other pictures that have the prefix of the one in mind. Success is to guess
    better than blindly which of the two a picture is."""
    deployed = arena.deployed(arena.hashes(ENTRIES, "listed"), "set")
    mine, others = arena.hashes(1, "mine")[0].tobytes(), arena.hashes(OTHERS, "others")
    wanted, rng, right = files.bucket_of(mine, deployed.setup.bits), arena.rng("asked"), 0
    for at in arena.each(range(ASKED)):
        own = mine if at % 2 else others[at].tobytes()
        right += (_prefix(deployed, own, rng) == wanted) == bool(at % 2)
    fit = sum(files.bucket_of(row.tobytes(), deployed.setup.bits) == wanted for row in others)
    low, high = clopper_pearson(fit, OTHERS)
    made, ratio = advantage(right, ASKED), OTHERS / max(fit, 1)
    parts = {"advantage": round(made.value, 4)}
    return Figure("likelihood ratio", ratio, made.told_apart, OTHERS, (1 / high, 1 / max(low, 1e-9)), parts)


def _prefix(deployed: Deployed, own: bytes, rng: Randomness) -> int:
    """What the matcher gets to see of a picture besides a blinded element."""
    body: Any = sent(deployed, HashOnly(own), rng)[BUCKETS]
    return int(body.bucket)


def _own_start(own: bytes, bits: int) -> int:
    """The first bits of the perceptual hash itself."""
    return int.from_bytes(own[:4], "big") >> (32 - bits)


@attack(
    "same-prefix",
    Means(_MATCHER, Conduct.SEMI_HONEST, "a picture in mind"),
    Claim("Two pictures of one prefix look the same", PAGE),
    budget=f"{GAMES} pictures, one of two",
    weakness=replacing((files, "bucket_of", _own_start)),
    needs=(IN_BUCKETS,),
)
def same_prefix(arena: Arena) -> Figure:
    """The advantage of telling two pictures of one prefix apart, by all that the matcher gets."""
    deployed = arena.deployed(arena.hashes(ENTRIES, "listed"), "set")
    pair, rng, played = _pair(arena, deployed.setup.bits), arena.rng("games"), list[Played]()
    for at in arena.each(range(GAMES)):
        case = bool(at % 2)
        seen = _prefix(deployed, pair[case], rng)
        played.append(Played((seen,), case))
    return advantages({"pair": won(played)})


def _pair(arena: Arena, bits: int) -> tuple[bytes, bytes]:
    """Two hashes whose SHA-256 begins with the same bits."""
    seen: dict[int, bytes] = {}
    for row in arena.hashes(4 << bits // 2 + 2, "pair"):
        own = row.tobytes()
        first = seen.setdefault(_sha256_start(own, bits), own)
        if first != own:
            return first, own
    raise AttackError("no two of the hashes have one prefix")


@attack(
    "held-back",
    Means(_MATCHER, has="a picture in mind, and every bucket it hands out"),
    Claim("keeps a picture that it has in mind from being sent, for good", PAGE),
    budget=f"{RETRIES} requests of the picture, {ASKED} of others",
    needs=(IN_BUCKETS,),
)
def held_back(arena: Arena) -> Figure:
    """Requests of the picture that are refused by its bucket; success is all of them, and few of others."""
    deployed = arena.deployed(arena.hashes(ENTRIES, "listed"), "set")
    mine, others = arena.hashes(1, "mine")[0].tobytes(), arena.hashes(ASKED, "others")
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
    weakness=replacing((kept, "compare_digest", lambda *_: True)),
    needs=(IN_BUCKETS,),
)
def other_bucket(arena: Arena) -> Figure:
    """Count the buckets that are not refused, or that end in another error than a refusal."""
    listed = arena.hashes(ENTRIES, "listed")
    deployed = arena.deployed(listed, "set")
    foreign = arena.deployed(listed, "another set")
    cases = {}
    for name, own in (("listed", listed[0]), ("other", arena.hashes(1, "other")[0])):
        (stop,) = stops(deployed, HashOnly(own.tobytes()), arena.rng(name))
        taken = [_taken(arena, deployed, stop, raw) for raw in _buckets(arena, deployed, foreign, stop)]
        cases[name] = (sum(taken), len(taken))
    return counted("buckets taken", cases)


def _buckets(arena: Arena, deployed: Deployed, foreign: Deployed, stop: Stop) -> Iterator[bytes]:
    asked: Any = stop.bodies[BUCKETS]
    reply: Any = stop.replies[BUCKETS]
    others = [deployed.states[BUCKETS].bucket(asked.bucket ^ bit) for bit in (1, 2, 256)]
    another, own = foreign.states[BUCKETS].bucket(asked.bucket), reply.content
    for content in (*others, another, bytes(len(own)), b"", own[:-1], own + b"\0"):
        yield Bucket(reply.epoch, content).encode()
    yield replace(reply, epoch=reply.epoch + 1).encode()
    yield from hostile((Bucket,), reply.encode(), arena.rng("forged"), FLIPS)


def _taken(arena: Arena, deployed: Deployed, stop: Stop, raw: bytes) -> bool:
    honest = stop.replies[BUCKETS].encode()
    return raw != honest and deliver(deployed, stop, BUCKETS, raw, arena.rng("receive")) is not None


def _sha256_start(own: bytes, bits: int) -> int:
    return int.from_bytes(sha256(own).digest()[:4], "big") >> (32 - bits)
