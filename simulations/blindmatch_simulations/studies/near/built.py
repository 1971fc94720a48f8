"""token-psi in one process and in memory: a set, its matcher, and whole sessions of pictures."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from time import process_time
from typing import Any

import numpy as np
import numpy.typing as npt
from blindmatch_protocol import contract
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.contract import Match, Outcome, Session, SetParameters, batches_of
from blindmatch_protocol.designs.token_psi import DESIGN, MatcherState, Reply, Request, Setup, Tokening
from blindmatch_protocol.designs.token_psi.design import MATCHER
from blindmatch_protocol.randomness import seeded

from blindmatch_simulations.studies.near.sample import Fingerprints


@dataclass(slots=True)
class _Files:
    """A `Workspace` of buffers."""

    created: dict[str, io.BytesIO] = field(default_factory=dict)

    def create(self, name: str) -> io.BytesIO:
        self.created[name] = io.BytesIO()
        return self.created[name]

    def scratch(self, name: str, size: int) -> memoryview:
        return memoryview(bytearray(size))


@dataclass(frozen=True, slots=True, repr=False)
class Fingerprinted:
    """An item of which only the fingerprint is asked."""

    hash: bytes
    quality: int
    coefficients: npt.NDArray[np.float32]
    luminance: Any = None
    pixels: Any = None


@dataclass(frozen=True, slots=True, repr=False)
class Built:
    """A published set.

    Attributes:
        hashes: the list, uint8 (n, 32).
        setup: as a device opened it.
        matcher: the matcher's state.
        seconds: CPU time of building it.
    """

    hashes: Rows
    setup: Setup
    matcher: MatcherState
    seconds: float

    def ask(self, request: Request) -> Reply:
        """The matcher's reply; raises the `ProtocolError` it answers with."""
        asked = contract.Request(request)
        reply, _ = contract.answered(DESIGN, MATCHER, self.matcher, asked, seeded("matcher"))
        assert isinstance(reply, Reply)
        return reply

    def run(self, picture: Fingerprinted, seed: str = "device") -> Outcome:
        """A whole session of one picture."""
        rng = seeded(seed)
        session = Session(DESIGN, self.setup, DESIGN.enrol(rng), rng)
        step = session.start(picture)
        while isinstance(step, Mapping):
            body = step[MATCHER]
            assert isinstance(body, Request)
            step = session.receive({MATCHER: self.ask(body)})
        return session.conclude()

    def matches(self, picture: Fingerprinted) -> bool:
        """Does a session end in a match?"""
        return isinstance(self.run(picture), Match)


def build(hashes: Rows, tokening: Tokening, seed: str = "set") -> Built:
    """Publish a list, uint8 (n, 32), and open it."""
    count, out, rng = len(hashes), _Files(), seeded(seed)
    salts = np.frombuffer(rng.take(16 * count), np.uint8).reshape(count, 16)
    source = batches_of(hashes, np.arange(1, count + 1, dtype=np.uint64), salts)
    start = process_time()
    DESIGN.publish(source, SetParameters(1, tokening.values()), rng, None, out)
    seconds = process_time() - start
    files = {name: file.getvalue() for name, file in out.created.items()}
    return Built(hashes, DESIGN.open_setup(files, 1), DESIGN.open_role(MATCHER, files), seconds)


def item(pictures: Fingerprints, row: int) -> Fingerprinted:
    """One picture of many, as a design takes it."""
    quality = int(pictures.qualities[row])
    return Fingerprinted(pictures.hashes[row].tobytes(), quality, pictures.coefficients[row])
