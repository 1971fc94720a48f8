"""A list of slot-psi in memory: built, opened at a device and at both parties, and asked about pictures."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.codec.randomness import Randomness, seeded
from blindmatch_protocol.contract.declaration import Role
from blindmatch_protocol.contract.publishing import EntryBatch
from blindmatch_protocol.contract.steps import Label
from blindmatch_protocol.crypto.oprf import Mode, SecretKey, generate_key_pair
from blindmatch_protocol.designs.slot_psi import retrieval, session
from blindmatch_protocol.designs.slot_psi.build import Built, build
from blindmatch_protocol.designs.slot_psi.parameters import Slotting
from blindmatch_protocol.designs.slot_psi.session import (
    PARTIES,
    AskedRecord,
    PartyState,
    Question,
    Reply,
    Setup,
)
from blindmatch_protocol.designs.slot_psi.table import open_table
from blindmatch_protocol.designs.voprf.layout import HALVES, PublicKeys

FIRST = generate_key_pair(Mode.VOPRF, seeded("slot-psi first"))
SECOND = generate_key_pair(Mode.VOPRF, seeded("slot-psi second"))
SMALL = Slotting(k=16, bands=8, probes=8, slot_bits=9)
"""Sizes that are fast and not secure."""


class World(NamedTuple):
    """A list and everybody who has a part of it."""

    entries: EntryBatch
    built: Built
    setup: Setup
    parties: dict[Role, PartyState]


def batch(hashes: Rows) -> EntryBatch:
    """Entries with these hashes, ids from 1 on."""
    salts = np.full((len(hashes), 16), 7, np.uint8)
    return EntryBatch(hashes, np.arange(1, len(hashes) + 1, dtype=np.uint64), salts)


def world(
    hashes: Rows,
    slotting: Slotting = SMALL,
    epoch: int = 1,
    first: SecretKey = FIRST,
    second: SecretKey = SECOND,
) -> World:
    """A list with these hashes."""
    entries = batch(hashes)
    return opened(entries, build(entries, first, second, slotting, epoch), first, second)


def opened(entries: EntryBatch, made: Built, first: SecretKey = FIRST, second: SecretKey = SECOND) -> World:
    """What a list became, at a device and at both parties."""
    slotting = made.slotting
    count = made.entries
    shares = HALVES.split(second, seeded("slot-psi shares"))
    public = PublicKeys(second.public, {role: share.public for role, share in shares.items()})
    table = open_table(made.table, slotting.slot_bits, count * slotting.bands)
    setup = Setup(slotting, made.epoch, count, first.public, public, table, made.tops)
    words = retrieval.words_of(made.records)
    parties = {
        role: PartyState(number, slotting, made.epoch, count, shares[role], words)
        for number, role in enumerate(PARTIES)
    }
    return World(entries, made, setup, parties)


class Questions(NamedTuple):
    """A session whose second question is out."""

    asked: AskedRecord
    questions: dict[Role, Question]


def questions(
    held: World,
    own_hash: bytes,
    coefficients: npt.NDArray[np.float32],
    rng: Randomness,
    is_cover: bool = False,
    first: SecretKey = FIRST,
) -> Questions:
    """A picture's session up to its second question."""
    asked, blinded = session.ask_slots(held.setup, own_hash, coefficients, is_cover, rng)
    evaluation = session.answer_slots(first, held.setup.slotting, blinded, seeded("matcher"))
    return Questions(*session.ask_record(held.setup, asked, evaluation, rng))


def replies(held: World, sent: Questions) -> dict[Role, Reply]:
    """Both parties' replies, each to a batch of one."""
    found = {}
    for role, state in held.parties.items():
        (reply,) = session.answer_records(state, [sent.questions[role]], seeded("party"))
        if isinstance(reply, ProtocolError):
            raise reply
        found[role] = reply
    return found


def ask(held: World, own_hash: bytes, coefficients: npt.NDArray[np.float32], seed: str) -> Label | None:
    """A picture's session, whole."""
    sent = questions(held, own_hash, coefficients, seeded(seed))
    return session.open_record(held.setup, sent.asked, replies(held, sent))


def coefficients_of(own_hash: bytes, weak: tuple[int, ...] = ()) -> npt.NDArray[np.float32]:
    """Distances from the median, 1 and more, that say this hash; near zero at weak bits."""
    bits = np.unpackbits(np.frombuffer(own_hash, np.uint8)).astype(np.float32)
    sizes = 1 + np.arange(256, dtype=np.float32) / 256
    sizes[list(weak)] = 0.01
    found: npt.NDArray[np.float32] = ((2 * bits - 1) * sizes).astype(np.float32)
    return found


def flipped(own_hash: bytes, *bits: int) -> bytes:
    """The hash with some bits flipped."""
    found = np.unpackbits(np.frombuffer(own_hash, np.uint8))
    found[list(bits)] ^= 1
    return np.packbits(found).tobytes()
