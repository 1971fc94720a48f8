"""A matcher serves another set than everybody's, or one that breaks.

If a device finds a fault when a picture gets there, and then holds it back or asks again, the matcher learns
which pictures these are: so the device must take the set for all pictures or for none. A lone hit and a miss
must look alike in layers of every size; an update of one entry is the smallest.
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

import numpy as np
import numpy.typing as npt
from blindmatch_client.device import OutcomeKind
from blindmatch_client.egress.calls import EXCHANGE
from blindmatch_client.epochs import trusted
from blindmatch_proofs.verdict import Passed
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.errors import BlindmatchError
from blindmatch_protocol.contract import AnyDesign, Party
from blindmatch_protocol.crypto.oprf import evaluate_rows
from blindmatch_protocol.designs.token_psi.build import oprf_input_rows
from blindmatch_protocol.designs.token_psi.layers import ADDRESSES_KIND
from blindmatch_protocol.designs.token_psi.shares import token_keys
from blindmatch_protocol.designs.token_psi.tokens import entry_tokens
from blindmatch_protocol.group import rowwise
from blindmatch_protocol.group.rowwise import expand
from blindmatch_protocol.setfile import SetFile, SetFileWriter
from blindmatch_protocol.sets import labels, store
from blindmatch_protocol.sets.fuse_map import Cells
from blindmatch_server.epochs.signing import CuratorKey
from msgspec.structs import replace

from blindmatch_simulations.evaluation.attacks import needs
from blindmatch_simulations.evaluation.attacks.adversary import (
    Claim,
    Conduct,
    Left,
    Means,
    Piece,
    Weakness,
    replacing,
    replacing_of,
)
from blindmatch_simulations.evaluation.attacks.arena import Arena, AttackError, attack
from blindmatch_simulations.evaluation.attacks.figure import Figure, Played, advantages, counted, tally, won
from blindmatch_simulations.evaluation.attacks.loopback import SMALL, Loopback, drawn, loopback, publish_in
from blindmatch_simulations.measure.intervals import Advantage
from blindmatch_simulations.testbed.deployment.devices import Watched
from blindmatch_simulations.testbed.deployment.folder import Deployment
from blindmatch_simulations.testbed.inprocess.deployed import entry_id, opened, update
from blindmatch_simulations.testbed.scenario.world import threaded_servers

BOB: Final = "bob"
LISTED = 1
UNLISTED = 2
NEXT: Final = 2
_CHECKS: Final = ("verify_signature", "verify_not_older", "verify_consistent")
_UNLOOKED: Final = replacing(*((trusted, name, lambda *_: Passed()) for name in _CHECKS))
"""A device that looks at neither the curator's signature nor the epochs before."""


@attack(
    "rollback",
    Means(frozenset({Party.MATCHER}), has="keys and lists of its own, and every epoch so far"),
    Claim("takes epochs that the curator signed, never an older one or a second one"),
    budget="three devices",
    weakness=_UNLOOKED,
    needs=(needs.A_LIST, needs.HELD, needs.SERVED),
    exposes="that the list is the newest that was signed",
    left=Left.KEPT,
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
    """Offer epoch 1 again to a device that took the curator's epoch 2."""
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
    """Offer the next epoch, built by the matcher from a list of its own."""
    alice = held.device(name)
    with _own(arena, held, NEXT) as own, _answering(held, own, name):
        _refresh(alice)
        return _reports(alice)


def _other_key(arena: Arena, held: Loopback, name: str) -> bool:
    """Offer a new device the matcher's own build of the current epoch."""
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
    """A copy of the deployment in a folder of its own, with everything the matcher could have, and more."""
    with tempfile.TemporaryDirectory(prefix="blindmatch-attack-") as folder:
        shutil.copytree(held.deployment.home, Path(folder) / "home")
        yield Deployment.open(Path(folder) / "home")


@contextmanager
def _own(arena: Arena, held: Loopback, epoch: int) -> Iterator[Deployment]:
    """A copy of the deployment in which the matcher has signed an epoch of its own."""
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
    needs=(needs.OPRF, needs.DELTAS),
    exposes="that all pictures are asked about alike",
    left=Left.KEPT,
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
    """How many pictures are treated unlike most: in whether they are sent, and how often asked about."""
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
    shards = store.shards
    noise = arena.rng("noise")
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


ENTRIES: Final = 12
TRIALS: Final = 96
LEAST_EQUAL: Final = 12
"""Bytes at the same places that two records of independent keys have in common with a chance of 2^-50."""
NUMBER_BITS: Final = 24
"""Cells that differ in these low bits alone may hold the numbers of two labels under one mask."""
WAYS: Final = {"with another id and salt": False, "as it was": True}


def _without_epoch(tag: bytes, epoch: int, rows: Rows, length: int) -> Rows:
    """Keys that are the same in the files of all epochs."""
    return expand(tag, 0, rows, length)


@attack(
    "relisting",
    Means(frozenset({Party.DEVICE}), Conduct.SEMI_HONEST, "the files of every epoch, and no query"),
    Claim("nothing links an entry that is removed and listed again", "docs/reference/set-format.md"),
    budget=f"twice {TRIALS} histories of a set of {ENTRIES} entries",
    weakness=replacing((rowwise, "expand", _without_epoch)),
    needs=(needs.OPRF, needs.DELTAS),
    exposes="that an entry came back",
)
def relisting(arena: Arena) -> Figure:
    """The advantage in telling which of two histories a set has, by how the entry comes back."""
    found = {}
    trials = TRIALS if arena.thorough else TRIALS // 3
    for done, (how, as_it_was) in enumerate(WAYS.items()):
        played = []
        for number in range(trials):
            again = number % 2 == 0
            rng = arena.rng(f"updates/{number}")
            first = arena.hashes(ENTRIES, f"list/{number}")
            added = first[:1] if again else arena.hashes(1, f"new/{number}")
            build = update(
                arena.publish(first, f"set/{number}", k=16, bands=2), first[:0], [entry_id(0)], rng
            )
            like = 1 if as_it_was else build.epoch + 1
            layers = opened(update(build, added, [], rng, numbered_as=like)).setup.layers
            played.append(Played(_features(layers[0].file, layers[-1].file), again))
            arena.progress(done * trials + number + 1, len(WAYS) * trials)
        found[how] = won(played, len(WAYS))
    return advantages(found)


def _features(old: SetFile, new: SetFile) -> tuple[int, ...]:
    sealed = [
        np.frombuffer(file.section(labels.KIND), np.uint8).reshape(file.row(labels.KIND).items, -1)
        for file in (old, new)
    ]
    alike = (sealed[0][:, None, :] == sealed[1][None, :, :]).sum(axis=2)
    cells = [_words(file, store.KIND, "<u8") >> np.uint64(NUMBER_BITS) for file in (old, new)]
    found = [int((alike >= LEAST_EQUAL).sum()), len(np.intersect1d(cells[0], cells[1]))]
    if (ADDRESSES_KIND, 0) in new.sections:
        where = [_words(file, ADDRESSES_KIND, "<u4") for file in (old, new)]
        found.append(len(np.intersect1d(where[0], where[1])))
    return tuple(found)


def _words(file: SetFile, kind: int, dtype: str) -> npt.NDArray[Any]:
    content = file.section(kind)
    return np.frombuffer(content, dtype, len(content) // np.dtype(dtype).itemsize)


SIZES: Final = (1, 10, 100, 1000)
"""Entries of a layer."""
QUICK_SIZES: Final = (1, 10)
LOOK_UPS: Final = 400
"""Tokens a size, half of them hits; as many layers are made as that takes."""
PER_LAYER: Final = 20
K: Final = 24
BANDS: Final = 4


@attack(
    "lone-hit",
    Means(frozenset({Party.DEVICE}), has="tokens of its choice"),
    Claim("a lone hit is never seen", "docs/designs/token-psi.md"),
    budget=f"{LOOK_UPS} tokens a size, half of them an entry's",
    weakness=replacing((Cells, "__call__", lambda cells, word, count: np.zeros(count, np.uint64))),
    needs=(needs.TOKENS, needs.AGREEING),
    exposes="a part of an entry",
)
def lone_hit(arena: Arena) -> Figure:
    """The largest advantage in telling a lone hit from a miss, by the size of the layer."""
    sizes = SIZES if arena.thorough else QUICK_SIZES
    found = {f"{size} entries": _advantage(arena, size, len(sizes)) for size in arena.each(sizes)}
    return advantages(found)


def _advantage(arena: Arena, size: int, sizes: int) -> Advantage:
    hits = min(PER_LAYER // 2, size * BANDS)
    played: list[Played] = []
    while len(played) < LOOK_UPS:
        played += _layer(arena, size, hits, f"{size}/{len(played)}")
    return won(played, sizes)


def _layer(arena: Arena, size: int, hits: int, purpose: str) -> Iterator[Played]:
    """Look-ups in an update of so many entries, hits and misses by turns."""
    entries = arena.hashes(size, f"added/{purpose}")
    others = arena.hashes(hits, f"others/{purpose}")
    base = arena.publish(arena.hashes(2, f"base/{purpose}"), purpose, k=K, bands=BANDS, probes=1)
    deployed = opened(update(base, entries, [], arena.rng(purpose)))
    read = [_read(arena, deployed, hashes, hits) for hashes in (entries, others)]
    seen = Counter(value for side in read for value in side)
    for pair in zip(*read, strict=True):
        for value, case in zip(pair, (True, False), strict=True):
            yield Played((value == 0, seen[value] > 1), case)


def _read(arena: Arena, deployed: Any, hashes: Rows, count: int) -> list[int]:
    """What the newest layer holds for the first tokens of hashes, by outputs that a device gets for tokens it
    asks for; see `extraction`."""
    inputs = oprf_input_rows(entry_tokens(hashes, K, BANDS))[:count]
    key = deployed.design.layout.joined({role: state.key for role, state in deployed.states.items()})
    arena.spending.queries += count
    layer = deployed.setup.layers[-1]
    keys = token_keys(evaluate_rows(key, inputs), layer.epoch)
    read: list[int] = layer.store.lookup(keys.store_keys)[:, 0].tolist()
    return read
