"""Designs in memory, on `inprocess`, and seeded randomness that tells what was drawn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.randomness import Randomness, seeded
from blindmatch_protocol.contract import AnyDesign, Item, Message, Role, Session, SetParameters, batches_of
from blindmatch_simulations.testbed.inprocess.deployed import Build, MemoryWorkspace, OpenDesign, opened

__all__ = [
    "Held", "MemoryWorkspace", "asked", "build", "counting", "held", "opened", "random_hashes", "replied",
    "salts_of",
]  # fmt: skip


def counting(seed: str) -> tuple[Randomness, list[int]]:
    """Seeded randomness, and the sizes it was asked for."""
    source = seeded(seed)
    taken = list[int]()

    def draw(count: int) -> bytes:
        taken.append(count)
        return source.take(count)

    return Randomness(draw), taken


class Held(OpenDesign, frozen=True):
    """A design, published and opened in memory."""

    entries: Rows
    salts: Rows


def random_hashes(count: int, seed: int = 1) -> Rows:
    """`count` hashes of 128 ones each."""
    rng = np.random.default_rng(seed)
    bits = np.zeros((count, 256), np.uint8)
    bits[:, :128] = 1
    return np.packbits(rng.permuted(bits, axis=1), axis=1)


def build(
    design: AnyDesign,
    hashes: Rows,
    epoch: int = 1,
    values: dict[str, int] | None = None,
    purpose: str = "publish",
) -> Build:
    """Publish `design` for `hashes`, with ids from 1 on and the salts of `salts_of`."""
    out = MemoryWorkspace()
    ids = np.arange(1, len(hashes) + 1, dtype=np.uint64)
    source = batches_of(hashes, ids, salts_of(len(hashes)))
    made = design.publish(source, SetParameters(epoch, values or {}), seeded(purpose), None, out)
    return Build(design, epoch, hashes, out.files(), made)


def salts_of(count: int, seed: str = "salts") -> Rows:
    return np.frombuffer(seeded(seed).take(16 * count), np.uint8).reshape(count, 16)


def held(design: AnyDesign, hashes: Rows, epoch: int = 1, values: dict[str, int] | None = None) -> Held:
    """Publish `design` for `hashes` and open set-up and roles."""
    made = opened(build(design, hashes, epoch, values))
    return Held(design, made.setup, made.states, hashes, salts_of(len(hashes)))


def asked(place: OpenDesign, item: Item, seed: str = "device") -> tuple[Session, Mapping[Role, Any]]:
    """A session that waits, and what it asks."""
    rng = seeded(seed)
    session = Session(place.design, place.setup, place.design.enrol(rng), rng)
    bodies = session.start(item)
    assert isinstance(bodies, Mapping)
    return session, bodies


def replied(place: OpenDesign, bodies: Mapping[Role, Message], seed: str = "roles") -> dict[Role, Any]:
    """The reply of every role."""
    return {role: place.answer(role, body, seeded(seed))[0] for role, body in bodies.items()}
