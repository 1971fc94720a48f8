"""A matcher with the curator's help serves a set that breaks where certain pictures look, and only there.

    a wrong digest   labels do not have the digest that the file's table says: listed pictures alone get there
    no map           one shard of the store is noise with a right digest: only some keys lead there

Everything else is right, and the curator's key has signed it. If a device finds the fault when a picture
gets there, and then holds it back or asks again, the matcher learns which pictures these are. So the device
must take the set for all pictures or for none.
"""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from typing import Any, Final

from blindmatch_client.egress.methods import EXCHANGE
from blindmatch_protocol import labels, store
from blindmatch_protocol.contract import AnyDesign, Party
from blindmatch_protocol.errors import BlindmatchError
from blindmatch_protocol.setfile import SetFileWriter

from blindmatch_simulations.attacks.adversary import (
    Adversary,
    Claim,
    Means,
    Piece,
    Weakness,
    replacing,
    replacing_of,
)
from blindmatch_simulations.attacks.arena import Arena
from blindmatch_simulations.attacks.figure import Figure, counted
from blindmatch_simulations.attacks.loopback import SMALL, Loopback, drawn, loopback

PICTURES: Final = 9
LISTED: Final = 3
FLUSHES: Final = 1
FREE_BITS: Final = 2
"""A picture's keys fall into one shard of four, or as many times more as it has keys."""


def _unchecked(design: AnyDesign) -> list[Piece]:
    return [(type(design), "check_setup", lambda *_: None)]


def run(arena: Arena) -> Figure:
    """Count the pictures that fare otherwise than the others, by form."""
    forms: dict[str, Weakness] = {"a wrong digest": _wrong_digest(arena), "no map": _no_map(arena)}
    cases = {}
    for name, tools in arena.each(forms.items()):
        listed = [drawn(number) for number in range(LISTED)]
        with loopback(arena, listed, tools=tools) as held:
            cases[name] = (_told_apart(held), PICTURES)
    return counted("pictures told apart", cases)


def _told_apart(held: Loopback) -> int:
    """How many pictures fare otherwise than most: whether they are sent, how often they are asked for."""
    for name in ("bob", "alice"):
        with suppress(BlindmatchError):  # refused when it registers, which is what it should be
            held.device(name)
    alice = held.of("alice").watched
    sent = [alice.device.send_picture("bob", drawn(number)) for number in range(PICTURES)]
    for _ in range(FLUSHES):
        alice.device.flush()
    asked = Counter(one.item for one in alice.recorder.records() if one.method == EXCHANGE.path)
    fared = Counter((one.delivered, asked[one.item]) for one in sent)
    return PICTURES - fared.most_common(1)[0][1]


def _wrong_digest(arena: Arena) -> Weakness:
    """A curator's tools that write the labels with another digest than theirs."""
    section = SetFileWriter.section

    def written(self: Any, kind: int, *arguments: Any) -> Any:
        made = section(self, kind, *arguments)
        if kind == labels.KIND:
            made = replace(made, digest=sha256(made.digest).digest())
            self._sections[-1] = made
        return made

    return replacing((SetFileWriter, "section", written), *_unchecked(arena.design))


def _no_map(arena: Arena) -> Weakness:
    """Tools that write noise for the first shard that has keys, of several."""
    shards, noise = store.shards, arena.rng("noise")
    written: list[bool] = []

    def made(*arguments: Any, **named: Any) -> Any:
        for (header, *content), items in shards(*arguments, **named):
            if content and not written:
                written.append(True)
                content = [noise.take(len(part)) for part in content]
            yield [header, *content], items

    bits = FREE_BITS + (_keys(arena) - 1).bit_length()
    unchecked = _unchecked(arena.design)
    return replacing((store, "shards", made), (store, "bits_for", lambda count: bits), *unchecked)


def _keys(arena: Arena) -> int:
    """For how many keys a picture asks."""
    deployed = arena.deployed(arena.hashes(1, "keys"), "keys", **SMALL)
    limits = [arena.design.key_limits(role, state) for role, state in deployed.states.items()]
    return max((one.cost for one in limits if one is not None), default=1)


ATTACK: Final = Adversary(
    name="withholding",
    means=Means(frozenset({Party.MATCHER, Party.CURATOR}), has="a set that is built and signed for it"),
    claim=Claim("every section is opened, hashed and validated before any picture is asked about"),
    budget=f"two sets, {PICTURES} pictures each",
    move=run,
    weakness=replacing_of(_unchecked),
    against=frozenset({"oprf-psi", "token-psi"}),
)
