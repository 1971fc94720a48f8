"""A small token-psi world in memory: items with weak bits, requests, answers."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from blindmatch_protocol import contract
from blindmatch_protocol.codec import Message
from blindmatch_protocol.contract import Label, Outcome, Ready, Role, Session
from blindmatch_protocol.designs.token_psi import DESIGN, Request
from blindmatch_protocol.designs.token_psi.tokens import band_bits
from blindmatch_protocol.randomness import seeded

from support.memory import Held, held, random_hashes

MATCHER = Role("matcher")
COUNT = 24
LISTED = random_hashes(COUNT)
SMALL = {"k": 24, "bands": 4, "probes": 2}
FULL: dict[str, int] = {}
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
def world(full: bool = False, epoch: int = 1) -> Held:
    return held(DESIGN, LISTED, epoch, FULL if full else SMALL)


def ask(place: Held, item: Picture, seed: str = "device") -> tuple[Session, Request]:
    rng = seeded(seed)
    driver = Session(DESIGN, place.setup, DESIGN.enrol(rng), rng)
    bodies = driver.start(item)
    assert isinstance(bodies, Mapping)
    request = bodies[MATCHER]
    assert isinstance(request, Request)
    return driver, request


def answers(place: Held, *bodies: Message, pool: ThreadPoolExecutor | None = None) -> list[Any]:
    requests = [contract.Request(body) for body in bodies]
    return list(DESIGN.answer(MATCHER, place.states[MATCHER], requests, seeded("matcher"), pool).replies)


def run(place: Held, item: Picture) -> Outcome:
    driver, request = ask(place, item)
    return concluded(driver, answers(place, request)[0])


def concluded(driver: Session, reply: Message) -> Outcome:
    assert isinstance(driver.receive({MATCHER: reply}), Ready)
    return driver.conclude()


def flipped(hash_: bytes, *bits: int) -> bytes:
    unpacked = np.unpackbits(np.frombuffer(hash_, np.uint8))
    unpacked[list(bits)] ^= 1
    return np.packbits(unpacked).tobytes()


def broken(hash_: bytes, *broken_bands: int, k: int = 24, bands: int = 4) -> bytes:
    """`hash_` with two strong bits flipped in each of these bands, more than its probes reach."""
    members = band_bits(k, bands)
    return flipped(hash_, *(int(bit) for band in broken_bands for bit in members[band, :2]))


def label(row: int, place: Held) -> Label:
    return Label(LISTED[row].tobytes(), row + 1, place.salts[row].tobytes(), DESIGN.epoch_of(place.setup))
