"""Cheats of publishing that tell devices of the list what is not declared."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import numpy as np
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.contract import EntrySource, Published, no_progress
from blindmatch_protocol.randomness import Randomness

from blindmatch_simulations.conformance.mutations.devices import Psi

TOLD = "told.bin"
NEAR = 31


class Told(Psi):
    """A set-up with a file more."""

    def publish(
        self,
        entries: Any,
        parameters: Any,
        rng: Randomness,
        executor: Any,
        out: Any,
        progress: Any = no_progress,
    ) -> Published:
        made = super().publish(entries, parameters, rng, executor, out, progress)
        hashes = np.concatenate([batch.hashes for batch in entries.batches(len(entries))])
        out.create(TOLD).write(self.told(hashes))
        return Published((*made.setup, TOLD), made.roles)

    def told(self, hashes: Rows) -> bytes:
        """What stands in it."""
        raise NotImplementedError


class Fingerprint(Told):
    """A digest of the whole list, by which two of them are told apart."""

    def told(self, hashes: Rows) -> bytes:
        return sha256(hashes.tobytes()).digest()


class LongerForFamilies(Told):
    """The set-up is longer if entries are near one another."""

    def told(self, hashes: Rows) -> bytes:
        return bytes(64 + sum(int(_near(hashes[:row], own)) for row, own in enumerate(hashes)))


class NearInUpdate(Psi):
    """An update says whether what it adds is near an older entry."""

    def __init__(self) -> None:
        self._held = threading.local()

    def publish(
        self,
        entries: Any,
        parameters: Any,
        rng: Randomness,
        executor: Any,
        out: Any,
        progress: Any = no_progress,
    ) -> Published:
        self._held.hashes = np.concatenate([batch.hashes for batch in entries.batches(len(entries))])
        return super().publish(entries, parameters, rng, executor, out, progress)

    def update(
        self, previous: Any, adds: EntrySource, removes: Sequence[int], out: Any, rng: Randomness, *how: Any
    ) -> Published:
        made = super().update(previous, adds, removes, out, rng, *how)
        near = [_near(self._held.hashes, own) for batch in adds.batches(len(adds)) for own in batch.hashes]
        out.create(TOLD).write(bytes(near))
        return Published((*made.setup, TOLD), made.roles)


def _near(hashes: Rows, own: Any) -> bool:
    """Is one of `hashes` within the distance of near matching?"""
    return bool((np.bitwise_count(hashes ^ own).sum(axis=1, dtype=np.int32) <= NEAR).any())
