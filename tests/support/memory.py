"""In-memory stand-ins: a workspace, seeded randomness, a published design with its roles."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.contract import AnyDesign, Role, SetParameters, batches_of
from blindmatch_protocol.randomness import Randomness, seeded


def counting(seed: str) -> tuple[Randomness, list[int]]:
    """Seeded randomness, and the sizes it was asked for."""
    source, taken = seeded(seed), list[int]()

    def draw(count: int) -> bytes:
        taken.append(count)
        return source.take(count)

    return Randomness(draw), taken


@dataclass
class MemoryWorkspace:
    """A `Workspace` of buffers."""

    created: dict[str, io.BytesIO] = field(default_factory=dict)
    scratches: dict[str, bytearray] = field(default_factory=dict)

    def create(self, name: str) -> io.BytesIO:
        assert name not in self.created
        self.created[name] = io.BytesIO()
        return self.created[name]

    def scratch(self, name: str, size: int) -> memoryview:
        return memoryview(self.scratches.setdefault(name, bytearray(size)))

    def files(self, names: tuple[str, ...]) -> dict[str, bytes]:
        return {name: self.created[name].getvalue() for name in names}


@dataclass
class Held:
    """A design, published and opened in memory."""

    design: AnyDesign
    setup: Any
    states: dict[Role, Any]
    entries: Rows
    salts: Rows


def random_hashes(count: int, seed: int = 1) -> Rows:
    """`count` hashes of 128 ones each."""
    rng = np.random.default_rng(seed)
    bits = np.zeros((count, 256), np.uint8)
    bits[:, :128] = 1
    return np.packbits(rng.permuted(bits, axis=1), axis=1)


def held(design: AnyDesign, hashes: Rows, epoch: int = 1, values: dict[str, int] | None = None) -> Held:
    """Publish `design` for `hashes` and open set-up and roles."""
    n = len(hashes)
    salts = np.frombuffer(seeded("salts").take(16 * n), np.uint8).reshape(n, 16)
    out = MemoryWorkspace()
    source = batches_of(hashes, np.arange(1, n + 1, dtype=np.uint64), salts)
    published = design.publish(source, SetParameters(epoch, values or {}), seeded("publish"), None, out)
    setup_files = out.files(published.setup)
    states = {
        role: design.open_role(role, {**setup_files, **out.files(names)})
        for role, names in published.roles.items()
    }
    return Held(design, design.open_setup(setup_files, epoch), states, hashes, salts)
