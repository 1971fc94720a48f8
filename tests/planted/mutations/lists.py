"""Cheats of publishing and of updates, and of devices that apply these."""

from __future__ import annotations

import threading
from base64 import b64encode
from collections import Counter
from collections.abc import Mapping, Sequence
from hashlib import sha256
from itertools import pairwise
from typing import Any

import numpy as np
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.errors import SetFileError
from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.contract import EntrySource, Published, Workspace
from blindmatch_protocol.contract.publishing import HeldEntries
from blindmatch_protocol.designs.deltas import (
    DELTA_PREFIX,
    PREVIOUS_KIND,
    PUBLIC_KEY_KIND,
    SET_FILE,
    delta_file,
)
from blindmatch_protocol.setfile import SetFile
from blindmatch_simulations.evaluation.conformance.run import QUICK
from blindmatch_simulations.testbed.inprocess.steps import resealed

from planted.mutations.hooks import Psi, planted, variant

TOLD = "told.bin"
NEAR = 31
HALF = 16
BUCKETS = 64
NOBODY = 1
"""An id that no entry has."""


def _hashes(entries: EntrySource) -> Rows:
    return np.concatenate([batch.hashes for batch in entries.batches(len(entries))])


def _with_file(made: Published, out: Workspace, content: bytes) -> Published:
    """The set-up with a file more."""
    out.create(TOLD).write(content)
    return Published((*made.setup, TOLD), made.roles)


class Told(Psi):
    """A set-up with a file that tells of the list."""

    def published(self, made: Published, entries: EntrySource, out: Workspace) -> Published:
        return _with_file(made, out, self.told(_hashes(entries)))

    def told(self, hashes: Rows) -> bytes:
        raise NotImplementedError


class ToldToRole(Told):
    """The same in a file of the matcher's, of which is declared what the key tells of the list, no more."""

    def published(self, made: Published, entries: EntrySource, out: Workspace) -> Published:
        told = super().published(made, entries, out)
        return Published(made.setup, {role: (*names, TOLD) for role, names in told.roles.items()})


planted("a digest of the whole list in the set-up", "list games")(
    variant(Told, told=lambda _, hashes: sha256(hashes.tobytes()).digest())
)
planted("the set-up is longer for near duplicates", "list games", "near dupl")(
    variant(
        Told,
        told=lambda _, hashes: bytes(64 + sum(_near(hashes[:at], own) for at, own in enumerate(hashes))),
    )
)
planted("the list backwards in a role's file", "list knowledge")(
    variant(ToldToRole, told=lambda _, hashes: hashes[:, ::-1].tobytes())
)
planted("the list in base64 in a role's file", "list knowledge")(
    variant(ToldToRole, told=lambda _, hashes: b64encode(hashes.tobytes()))
)


@planted("the list under a pad beside it in a role's file", "list knowledge")
class UnderPad(ToldToRole):
    """One pad, which depends on the list."""

    def told(self, hashes: Rows) -> bytes:
        pad = np.frombuffer(sha256(hashes.tobytes()).digest(), np.uint8)
        return pad.tobytes() + (hashes ^ pad).tobytes()


@planted("the list by its differences in a role's file", "list knowledge")
class Differing(ToldToRole):
    """Sorted, each hash as its difference from the one before."""

    def told(self, hashes: Rows) -> bytes:
        numbers = sorted(int.from_bytes(own.tobytes(), "big") for own in hashes)
        return b"".join((b - a).to_bytes(32, "big") for a, b in pairwise([0, *numbers]))


def _near(hashes: Rows, own: Any) -> bool:
    """Is one of `hashes` within the distance of near matching?"""
    return bool((np.bitwise_count(hashes ^ own).sum(axis=1, dtype=np.int32) <= NEAR).any())


class Noted(Psi):
    """An update with a file that tells of what it adds."""

    def updated(self, made: Published, adds: EntrySource, out: Workspace) -> Published:
        return _with_file(made, out, self.note(_hashes(adds)))

    def note(self, added: Rows) -> bytes:
        raise NotImplementedError


planted("an update's length tells of the entry", "update", "length")(
    variant(Noted, note=lambda _, added: bytes(int(added[0, 0])))
)
planted("a digest of an added entry in the update", "update", "file")(
    variant(Noted, note=lambda _, added: sha256(added[0].tobytes()).digest())
)


@planted("an update tells of near duplicates", "list games", "update")
class NearInUpdate(Noted):
    """Whether what it adds is near an older entry."""

    def __init__(self) -> None:
        self._held = threading.local()

    def published(self, made: Published, entries: EntrySource, out: Workspace) -> Published:
        self._held.hashes = _hashes(entries)
        return made

    def note(self, added: Rows) -> bytes:
        return bytes(_near(self._held.hashes, own) for own in added)


planted("an update that removes nothing", "update", "update")(
    variant(Psi, change=lambda _, adds, removes: (adds, [NOBODY] if removes else []))
)


@planted("an update that forgets what it adds", "update", "update")
class AddsLater(Psi):
    """Removes now, and adds nothing."""

    def change(self, adds: EntrySource, removes: Sequence[int]) -> tuple[EntrySource, Sequence[int]]:
        (whole,) = adds.batches(len(adds))
        return HeldEntries(type(whole)(whole.hashes[:0], whole.ids[:0], whole.salts[:0])), removes


@planted("a delta in the wrong order is passed over", "update", "order")
class PassesOver(Psi):
    """A device that takes as many of its deltas as go together, unless it was told an epoch."""

    def open_setup(self, files_: Any, epoch: int | None = None) -> Any:
        if epoch is not None:
            return super().open_setup(files_, epoch)
        names = sorted(name for name in files_ if name.startswith(DELTA_PREFIX))
        for kept in range(len(names), -1, -1):
            some = {name: files_[name] for name in (SET_FILE, *names[:kept])}
            try:
                return super().open_setup(some, epoch)
            except SetFileError:
                continue
        return super().open_setup(files_, epoch)


@planted("a delta that is damaged is passed over", "update", "update")
class SkipsDamaged(PassesOver):
    """Passes over a delta that it cannot read, and believes the epoch it was told."""

    def open_setup(self, files_: Any, epoch: int | None = None) -> Any:
        try:
            return Psi.open_setup(self, files_, epoch)
        except SetFileError as error:
            if "altered" in str(error) or "truncated" in str(error):
                return super().open_setup(files_, None)
            raise


@planted("a delta of any set is taken", "update", "another set")
class TakesAny(Psi):
    """A device that makes a delta fit the set it has."""

    def open_setup(self, files_: Any, epoch: int | None = None) -> Any:
        return super().open_setup({**files_, **_fitted(self, files_)}, epoch)


def _fitted(design: Psi, files: Mapping[str, Any]) -> dict[str, bytes]:
    """The delta of epoch 2, with digest and key of the set before it written into it."""
    name = delta_file(2)
    info = design.info
    if name not in files:
        return {}
    try:
        base, delta = (SetFile(files[one], one, info.name, info.version) for one in (SET_FILE, name))
    except SetFileError:
        return {}
    own = {PREVIOUS_KIND: base.digest, PUBLIC_KEY_KIND: bytes(base.section(PUBLIC_KEY_KIND))}
    return {
        name: resealed(
            delta,
            lambda key, content: own.get(key[0], content),
            epoch=2,
            parameters=base.identity.parameters,
        )
    }


@planted("the load of buckets in the set-up", "list games", runs=QUICK)
class BucketLoad(Psi):
    """Fills all `BUCKETS`, to which front halves go under a key of the set's, up to the load of the fullest.

    With two entries that meet it holds two at least; without, every bucket of ten entries holds one in
    prod(1 - i / 64 for i < 10) = 0.48 of sets, which is the advantage.
    """

    def __init__(self) -> None:
        self._set = threading.local()

    def keyed(self, rng: Randomness) -> Randomness:
        self._set.key = rng.take(16)
        return rng

    def published(self, made: Published, entries: EntrySource, out: Workspace) -> Published:
        fronts = (own[:HALF].tobytes() for own in _hashes(entries))
        load = Counter(sha256(self._set.key + front).digest()[0] % BUCKETS for front in fronts)
        return _with_file(made, out, bytes(BUCKETS * max(load.values())))


class Salted(Psi):
    """A set-up with a drawn salt, and what follows from the list, the salt and a key that nobody is told."""

    def __init__(self) -> None:
        self._set = threading.local()

    def keyed(self, rng: Randomness) -> Randomness:
        self._set.salt = rng.take(16)
        self._set.key = rng.take(16)
        return rng

    def published(self, made: Published, entries: EntrySource, out: Workspace) -> Published:
        told = self.told(_hashes(entries), self._set.salt, self._set.key)
        return _with_file(made, out, self._set.salt + told)

    def told(self, hashes: Rows, salt: bytes, key: bytes) -> bytes:
        raise NotImplementedError


@planted("a check sum of the list under a salt in the set-up", "list", "publish")
class SaltedSum(Salted):
    """Of digests of all entries: whoever guesses the list can tell."""

    def told(self, hashes: Rows, salt: bytes, key: bytes) -> bytes:
        digests = [int.from_bytes(sha256(salt + own.tobytes()).digest()) for own in hashes]
        return (sum(digests) % (1 << 256)).to_bytes(32)


@planted("which buckets have entries, by a salt in the set-up", "list", "publish")
class SaltedLoad(Salted):
    """A bit for each bucket that a digest under the salt falls into."""

    def told(self, hashes: Rows, salt: bytes, key: bytes) -> bytes:
        bits = np.zeros(1 << 12, np.uint8)
        for own in hashes:
            bits[int.from_bytes(sha256(salt + own.tobytes()).digest()[:2]) >> 4] = 1
        return np.packbits(bits).tobytes()
