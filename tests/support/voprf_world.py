"""Designs with a VOPRF in memory: items with weak bits, requests and answers, files and their updates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from blindmatch_protocol import contract
from blindmatch_protocol.codec import Message, Rows
from blindmatch_protocol.codec.randomness import seeded
from blindmatch_protocol.contract import (
    Label,
    Match,
    Outcome,
    Progress,
    Ready,
    Role,
    Session,
    SetParameters,
    batches_of,
    no_progress,
)
from blindmatch_protocol.contract.publishing import HeldEntries
from blindmatch_protocol.designs import oprf_psi, token_psi, wide_psi
from blindmatch_protocol.designs.token_psi.tokens import band_bits
from blindmatch_protocol.designs.voprf import VoprfDesign
from blindmatch_simulations.testbed.inprocess.deployed import run_session

from support.memory import Held, MemoryWorkspace, asked, held, random_hashes, salts_of

MATCHER = Role("matcher")
LISTED = random_hashes(24)
SMALL = {"k": 24, "bands": 4, "probes": 2}
WIDE: dict[str, int] = {"bands": 3, "probes": 2}
DESIGNS: dict[str, VoprfDesign[Any]] = {
    "oprf-psi": oprf_psi.DESIGN,
    "token-psi": token_psi.DESIGN,
    "wide-psi": wide_psi.DESIGN,
}
VALUES: dict[str, dict[str, int]] = {"oprf-psi": {"evaluations": 3}, "token-psi": SMALL, "wide-psi": WIDE}
BAD_ELEMENTS = {
    "identity": bytes(32),
    "all ones": b"\xff" * 32,
    "negative": (1).to_bytes(32, "little"),
    "top bit": bytes(31) + b"\x80",
}


@dataclass
class Picture:
    """An item whose bits are all equally reliable but for those in `weak`."""

    hash: bytes
    quality: int = 100
    weak: tuple[int, ...] = ()
    luminance: Any = None
    pixels: Any = None

    @property
    def coefficients(self) -> npt.NDArray[np.float32]:
        found = np.where(np.unpackbits(np.frombuffer(self.hash, np.uint8)) == 1, 1, -1).astype(np.float32)
        found[list(self.weak)] *= 0.01
        return found


@cache
def world(name: str = "token-psi", full: bool = False) -> Held:
    return held(DESIGNS[name], LISTED, 1, {} if full else VALUES[name])


# --- requests and answers


def ask(place: Held, item: Picture, seed: str = "device") -> tuple[Session, Any]:
    session, bodies = asked(place, item, seed)
    return session, bodies[MATCHER]


def answers(place: Held, *bodies: Message, pool: ThreadPoolExecutor | None = None) -> list[Any]:
    requests = [contract.Request(body) for body in bodies]
    return list(
        place.design.answer(MATCHER, place.states[MATCHER], requests, seeded("matcher"), pool).replies
    )


def run(place: Held, item: Picture) -> Outcome:
    return run_session(place, item, seeded("device")).outcome


def concluded(driver: Session, reply: Message) -> Outcome:
    assert isinstance(driver.receive({MATCHER: reply}), Ready)
    return driver.conclude()


# --- files


def entries(hashes: Rows, first_id: int = 1, salts: str = "salts") -> HeldEntries:
    ids = np.arange(first_id, first_id + len(hashes), dtype=np.uint64)
    return batches_of(hashes, ids, salts_of(len(hashes), salts))


def published(
    name: str,
    hashes: Rows = LISTED[:5],
    epoch: int = 1,
    seed: str = "k",
    out: MemoryWorkspace | None = None,
    progress: Progress = no_progress,
    **values: int,
) -> dict[str, bytes]:
    """The files of a set of `hashes`, with ids from 1 on."""
    out = out or MemoryWorkspace()
    parameters = SetParameters(epoch, VALUES[name] | values)
    DESIGNS[name].publish(entries(hashes), parameters, seeded(seed), None, out, progress)
    return out.files()


def updated(
    name: str,
    files: Mapping[str, bytes],
    hashes: Rows = LISTED[:0],
    first_id: int = 100,
    removes: Sequence[int] = (),
    pool: ThreadPoolExecutor | None = None,
    progress: Progress = no_progress,
    salts: str = "salts",
) -> dict[str, bytes]:
    """The files of the next epoch, all of which are a device's or the matcher's."""
    out = MemoryWorkspace()
    adds = entries(hashes, first_id, salts)
    rng = seeded("update")
    made = DESIGNS[name].update(files, adds, removes, out, rng, pool, progress)
    assert {*made.setup, *made.roles[MATCHER]} == out.created.keys()
    return out.files()


def setup_files(files: Mapping[str, bytes]) -> dict[str, bytes]:
    return {name: content for name, content in files.items() if name != "matcher.bin"}


def opened(name: str, files: Mapping[str, bytes]) -> Held:
    design = DESIGNS[name]
    states = {MATCHER: design.open_role(MATCHER, files)}
    return Held(design, design.open_setup(setup_files(files)), states, LISTED, LISTED)


def finds(name: str, files: Mapping[str, bytes], own: bytes) -> int | None:
    """Id of the entry that a picture with this hash matches."""
    found = run(opened(name, files), Picture(own))
    return found.label.entry_id if isinstance(found, Match) else None


# --- hashes of token-psi


def flipped(hash_: bytes, *bits: int) -> bytes:
    unpacked = np.unpackbits(np.frombuffer(hash_, np.uint8))
    unpacked[list(bits)] ^= 1
    return np.packbits(unpacked).tobytes()


def broken(hash_: bytes, *broken_bands: int, k: int = 24, bands: int = 4) -> bytes:
    """`hash_` with two strong bits flipped in each of these bands, more than its probes reach."""
    members = band_bits(k, bands)
    return flipped(hash_, *(int(bit) for band in broken_bands for bit in members[band, :2]))


def label(row: int, place: Held) -> Label:
    return Label(
        LISTED[row].tobytes(), row + 1, place.salts[row].tobytes(), place.design.epoch_of(place.setup)
    )
