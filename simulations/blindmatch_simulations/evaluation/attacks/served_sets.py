"""A matcher serves another set than everybody's, or one that breaks.

rollback      without the curator's key it moves a device to another epoch, list or key
    an older epoch   the epoch before, which the curator did sign
    another list     the next epoch, of the matcher's own list and key: an unlisted picture is reported
    another key      the device's epoch once more, under a key for this device alone
withholding   with the curator's help it serves a set that breaks where certain pictures look, and only there
    a wrong digest   labels do not have the digest that the file's table says: listed pictures alone get there
    no map           one shard of the store is noise with a right digest: only some keys lead there

To roll back it signs what it makes with a key of its own, and answers in the place of the matcher that the
device knows. In a set that breaks everything else is right, and the curator's key has signed it. If a device
finds the fault when a picture gets there, and then holds it back or asks again, the matcher learns which
pictures these are. So the device must take the set for all pictures or for none.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from blindmatch_client.device import OutcomeKind
from blindmatch_client.egress.calls import EXCHANGE
from blindmatch_client.epochs import adoption
from blindmatch_proofs.verdict import Passed
from blindmatch_protocol.codec.errors import BlindmatchError
from blindmatch_protocol.contract import AnyDesign, Party
from blindmatch_protocol.setfile import SetFileWriter
from blindmatch_protocol.sets import labels, store
from blindmatch_server.epochs.signing import CuratorKey
from msgspec.structs import replace

from blindmatch_simulations.evaluation.attacks.adversary import (
    Claim,
    Means,
    Piece,
    Weakness,
    replacing,
    replacing_of,
)
from blindmatch_simulations.evaluation.attacks.arena import Arena, AttackError, attack
from blindmatch_simulations.evaluation.attacks.figure import Figure, counted, tally
from blindmatch_simulations.evaluation.attacks.loopback import SMALL, Loopback, drawn, loopback, publish_in
from blindmatch_simulations.evaluation.attacks.needs import A_LIST, DELTAS, HELD, SERVED
from blindmatch_simulations.testbed.deployment.devices import Watched
from blindmatch_simulations.testbed.deployment.folder import Deployment
from blindmatch_simulations.testbed.scenario.world import threaded_servers

BOB: Final = "bob"
LISTED, UNLISTED = 1, 2
NEXT: Final = 2
_CHECKS: Final = ("verify_signature", "verify_not_older", "verify_consistent")
_UNLOOKED: Final = replacing(*((adoption, name, lambda *_: Passed()) for name in _CHECKS))
"""A device that looks at neither the curator's signature nor the epochs before."""


@attack(
    "rollback",
    Means(frozenset({Party.MATCHER}), has="keys and lists of its own, and every epoch so far"),
    Claim("takes epochs that the curator signed, never an older one or a second one"),
    budget="three devices",
    weakness=_UNLOOKED,
    needs=(A_LIST, HELD, SERVED),
)
def rollback(arena: Arena) -> Figure:
    """Count the forms in which a device goes along."""
    forms = {"an older epoch": _older, "another list": _other_list, "another key": _other_key}
    with loopback(arena, [drawn(LISTED)]) as held:
        held.device(BOB)
        ways = enumerate(arena.each(forms.items()), 1)
        cases = tally((name, moved(arena, held, f"alice-{at}")) for at, (name, moved) in ways)
    return counted("devices moved", cases)


def _older(arena: Arena, held: Loopback, name: str) -> bool:
    """Back from epoch 2, which is the curator's, to epoch 1."""
    alice = held.device(name)
    with _copy(held) as newer:
        publish_in(arena, newer, [drawn(LISTED), drawn(UNLISTED)])
        with _answering(held, newer, name):
            _refresh(alice)
    if alice.device.epoch != NEXT:
        raise AttackError("the device did not take the curator's next epoch")
    _refresh(alice)
    return alice.device.epoch < NEXT


def _other_list(arena: Arena, held: Loopback, name: str) -> bool:
    """On to an epoch that the matcher made, in which it alone has listed a picture."""
    alice = held.device(name)
    with _own(arena, held, NEXT) as own, _answering(held, own, name):
        _refresh(alice)
        return _reports(alice)


def _other_key(arena: Arena, held: Loopback, name: str) -> bool:
    """A new device, for which the epoch that everybody has is made again."""
    with _own(arena, held, NEXT - 1) as own, _answering(held, own, name):
        try:
            alice = held.device(name)
        except BlindmatchError:
            alice = held.of(name).watched
        return _reports(alice)


def _reports(alice: Watched) -> bool:
    return alice.device.send_picture(BOB, drawn(UNLISTED)).outcome is OutcomeKind.MATCH


def _refresh(alice: Watched) -> None:
    with suppress(BlindmatchError):
        alice.device.refresh()


@contextmanager
def _copy(held: Loopback) -> Iterator[Deployment]:
    """Everything the matcher could have of the deployment, and more, in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="blindmatch-attack-") as folder:
        shutil.copytree(held.deployment.home, Path(folder) / "home")
        yield Deployment.open(Path(folder) / "home")


@contextmanager
def _own(arena: Arena, held: Loopback, epoch: int) -> Iterator[Deployment]:
    """A copy in which the matcher has signed an epoch of its own."""
    with _copy(held) as own:
        shutil.rmtree(own.published(arena.design.info.name))
        shutil.rmtree(own.curator_keys)
        CuratorKey.create(own.curator_keys)
        publish_in(arena, own, [drawn(UNLISTED)], epoch=epoch)
        yield own


@contextmanager
def _answering(held: Loopback, other: Deployment, name: str) -> Iterator[None]:
    """The matcher of another deployment answers in the place of the one that is deployed; of a key in shares
    every party that holds one."""
    parties = {held.design.info.setup_host, *held.design.info.parties}
    with threaded_servers(other, held.design, sorted(parties)):
        way = held.way_to(other, name)
        held.diverted.update(dict.fromkeys(parties, way))
        try:
            yield
        finally:
            held.diverted.clear()
            way.close()


PICTURES: Final = 9
ON_LIST: Final = 3
FLUSHES: Final = 1
FREE_BITS: Final = 2
"""A picture's keys fall into one shard of four, or as many times more as it has keys."""


def _unchecked(design: AnyDesign) -> list[Piece]:
    return [(type(design), "check_setup", lambda *_: None)]


@attack(
    "withholding",
    Means(frozenset({Party.MATCHER, Party.CURATOR}), has="a set that is built and signed for it"),
    Claim("every section is opened, hashed and validated before any picture is asked about"),
    budget=f"two sets, {PICTURES} pictures each",
    weakness=replacing_of(_unchecked),
    needs=(DELTAS,),
)
def withholding(arena: Arena) -> Figure:
    """Count the pictures that fare otherwise than the others, by form."""
    forms: dict[str, Weakness] = {"a wrong digest": _wrong_digest(arena), "no map": _no_map(arena)}
    cases = {}
    for name, tools in arena.each(forms.items()):
        listed = [drawn(number) for number in range(ON_LIST)]
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

    keys = arena.deployed(arena.hashes(1, "keys"), "keys", **SMALL).setup.count
    bits = FREE_BITS + (keys - 1).bit_length()
    unchecked = _unchecked(arena.design)
    return replacing((store, "shards", made), (store, "bits_for", lambda count: bits), *unchecked)
