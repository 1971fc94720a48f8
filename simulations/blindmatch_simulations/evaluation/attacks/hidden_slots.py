"""Modified phones, and both parties together, against a list whose tokens read hidden slots.

Tokens have 16 bits here and slots 9, so that a set is built at once; a first question asks for 1,024 tokens.
What guesses open at the default sizes is forecast by `design capacity`.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Final, NamedTuple, cast

import numpy as np
import numpy.typing as npt
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.contract import Party
from blindmatch_protocol.crypto.oprf import Evaluation, Mode, blind, unblind, verified
from blindmatch_protocol.designs.slot_psi import records, retrieval, session
from blindmatch_protocol.designs.slot_psi.design import PARTY_A, PARTY_B
from blindmatch_protocol.designs.slot_psi.files import OpenedSetup
from blindmatch_protocol.designs.slot_psi.messages import FIRST_ROUND, PairReply, PairRequest
from blindmatch_protocol.designs.slot_psi.session import PARTIES, AskedRecord, Pair
from blindmatch_protocol.designs.slot_psi.table import Slots
from blindmatch_protocol.designs.token_psi.tokens import entry_tokens
from blindmatch_protocol.designs.voprf.layout import MATCHER

from blindmatch_simulations.evaluation.attacks import needs
from blindmatch_simulations.evaluation.attacks.adversary import Claim, Conduct, Left, Means
from blindmatch_simulations.evaluation.attacks.arena import Arena, attack
from blindmatch_simulations.evaluation.attacks.figure import Figure, counted
from blindmatch_simulations.testbed.inprocess.deployed import Deployed, run_session
from blindmatch_simulations.testbed.pictures.pool import HashOnly

PAGE: Final = "docs/designs/slot-psi.md"
SIZES: Final = {"k": 16, "bands": 8, "probes": 128, "slot_bits": 9, "relatives": 0}
FEWER: Final = {**SIZES, "bands": 4, "probes": 4}
"""With which as many other pictures have a chance pair as at the default sizes: about one in six."""
STEP: Final = "attack"
ENTRIES: Final = 64
TRIED: Final = 16
QUICK: Final = 4
"""Pictures of a kind, in a thorough run and in a quick one."""
FLIPPED: Final = 20
"""Bits between an entry and a picture that resembles it."""
QUESTIONS: Final = (1, 4, 16)
"""Second questions about each picture."""
CONFIRMING: Final = 3
"""Tokens that confirm a guess: two more than one agree with it by chance once in 2^18."""


class Guess(NamedTuple):
    """A pair of tokens that read one slot, and how many bits they are from the picture's own."""

    cost: int
    pair: tuple[int, int]
    slot: int
    one: int
    other: int


def _slots_read(deployed: Deployed, tokens: npt.NDArray[np.uint32], rng: Randomness) -> Slots:
    """Return the slots of tokens of the attacker's choice, (bands, probes), by one first question."""
    setup = cast(OpenedSetup, deployed.setup)
    bands, probes = tokens.shape
    numbers = np.repeat(np.arange(bands, dtype=np.uint32), probes)
    inputs = [row.tobytes() for row in records.first_inputs(numbers, tokens.ravel())]
    blinding, blinded = blind(inputs, Mode.VOPRF, rng)
    reply, _ = deployed.answer(MATCHER, FIRST_ROUND.request(setup.epoch, blinded), rng)
    assert isinstance(reply, FIRST_ROUND.reply)
    elements = verified(blinding, Evaluation(reply.evaluated, reply.proof), setup.first, step=STEP)
    outputs = unblind(blinding, elements, step=STEP)
    return setup.table.lookup(outputs, setup.epoch).reshape(bands, probes)


def _opened(deployed: Deployed, guess: Guess, rng: Randomness) -> set[bytes]:
    """Return the hashes that one second question opens."""
    setup = cast(OpenedSetup, deployed.setup)
    s = setup.slotting
    one, other = (np.array([token], np.uint64) for token in (guess.one, guess.other))
    row = records.second_inputs(np.array([guess.slot], np.uint32), guess.pair, one, other)
    blinding, blinded = blind([row.tobytes()], Mode.VOPRF, rng)
    keys = retrieval.selection_keys(guess.slot, s.slot_bits, rng)
    replies = {}
    for role, key in zip(PARTIES, (keys.first, keys.second), strict=True):
        reply, _ = deployed.answer(role, PairRequest(setup.epoch, blinded, key), rng)
        assert isinstance(reply, PairReply)
        evaluation = Evaluation(reply.evaluated, reply.proof)
        replies[role] = session.Reply(reply.epoch, evaluation, reply.answer)
    pair = Pair(guess.slot, s.pairs.index(guess.pair), (guess.one, guess.other))
    asked = AskedRecord(blinding, pair, guess.slot, None, np.zeros((0, 64), np.uint8))
    labels = session.labels_of(setup, session.fetch(setup, asked, replies))
    return {label.entry_hash for label in labels}


def _guesses(deployed: Deployed, own: bytes, rng: Randomness) -> list[Guess]:
    """Return pairs of tokens that read one slot, in the order of the flips that they are from a picture's."""
    s = cast(OpenedSetup, deployed.setup).slotting
    near = [0, *(1 << a for a in range(s.k)), *(1 << a | 1 << b for a, b in combinations(range(s.k), 2))]
    flips = np.array(near[: s.probes], np.uint32)
    cost = np.bitwise_count(flips).astype(int)
    tokens = entry_tokens(np.frombuffer(own, np.uint8)[None], s.k, s.bands)[0].astype(np.uint32)
    asked = tokens[:, None] ^ flips
    slots = _slots_read(deployed, asked, rng)
    found = []
    for i, j in s.pairs:
        for row, column in np.argwhere(slots[i][:, None] == slots[j][None]).tolist():
            both = int(cost[row] + cost[column])
            found.append(Guess(both, (i, j), int(slots[i][row]), int(asked[i][row]), int(asked[j][column])))
    return sorted(found)


@attack(
    "guessed-pairs",
    Means(frozenset({Party.DEVICE}), has="modified devices, one second question a picture"),
    Claim("Modified phones therefore guess one pair of tokens a picture", PAGE),
    budget=f"{TRIED} pictures {FLIPPED} bits from an entry and {TRIED} that resemble none, "
    f"{', '.join(map(str, QUESTIONS))} questions about each, in best order",
    needs=(needs.SLOTS,),
    exposes="entries that resemble pictures it has",
    left=Left.COUNTED,
)
def guessed_pairs(arena: Arena) -> Figure:
    """Count the pictures about which questions open an entry, by their number."""
    count = TRIED if arena.thorough else QUICK
    listed = arena.hashes(ENTRIES, "list")
    deployed = arena.deployed(listed, "set", **SIZES)
    rng = arena.rng("asked")
    drawn = np.random.default_rng(arena.seed)
    alike = [_flipped(row, drawn) for row in listed[:count]]
    strangers = [row.tobytes() for row in arena.hashes(count, "strangers")]
    held = [("look-alikes", own) for own in alike] + [("others", own) for own in strangers]
    parts = {_case(kind, number): 0.0 for kind in ("look-alikes", "others") for number in QUESTIONS}
    for kind, own in arena.each(held):
        guesses = _guesses(deployed, own, rng)[: QUESTIONS[-1]]
        opens = [bool(_opened(deployed, guess, rng)) for guess in guesses]
        for number in QUESTIONS:
            parts[_case(kind, number)] += any(opens[:number])
    most = parts[_case("look-alikes", QUESTIONS[-1])]
    return Figure("pictures that open an entry", most, most > 0, count, None, parts)


def _case(kind: str, questions: int) -> str:
    return f"{kind}, {questions} questions"


def _flipped(row: Rows, drawn: np.random.Generator) -> bytes:
    """A hash `FLIPPED` bits from an entry's."""
    bits = np.unpackbits(row)
    bits[drawn.choice(len(bits), FLIPPED, replace=False)] ^= 1
    return np.packbits(bits).tobytes()


@attack(
    "first-questions",
    Means(frozenset({Party.DEVICE}), has="a modified device, and no second question"),
    Claim("The first question alone tells which of 74 hashes are listed", PAGE),
    budget=f"one first question about {2 * ENTRIES} hashes, {CONFIRMING} tokens of each",
    needs=(needs.SLOTS,),
    exposes="which hashes that it has are listed",
    left=Left.COUNTED,
)
def first_questions(arena: Arena) -> Figure:
    """Count the listed hashes whose tokens read one slot, and others whose do."""
    listed = arena.hashes(ENTRIES, "list")
    others = arena.hashes(ENTRIES, "others")
    deployed = arena.deployed(listed, "set", **SIZES)
    s = cast(OpenedSetup, deployed.setup).slotting
    tokens = np.zeros((s.bands, s.probes), np.uint32)
    tokens[:CONFIRMING] = entry_tokens(np.concatenate([listed, others]), s.k, s.bands)[:, :CONFIRMING].T
    read = _slots_read(deployed, tokens, arena.rng("asked"))[:CONFIRMING]
    agree = (read == read[0]).all(axis=0)
    arena.progress(1, 1)
    cases = {"listed": agree[:ENTRIES], "not listed, but taken for it": agree[ENTRIES:]}
    parts = {name: float(case.sum()) for name, case in cases.items()}
    return Figure("hashes told as listed", parts["listed"], parts["listed"] > 0, ENTRIES, None, parts)


@attack(
    "joined-parties",
    Means(frozenset({Party(PARTY_A), Party(PARTY_B)}), Conduct.SEMI_HONEST, "both selections of a picture"),
    Claim("the slot of each picture (slot): whether it is one that they know", PAGE),
    budget=f"{TRIED} listed pictures and {TRIED} others, each sent twice",
    needs=(needs.SLOTS,),
    exposes="whether a picture is one that they know",
)
def joined_parties(arena: Arena) -> Figure:
    """Count the pictures that ask for one slot both times."""
    count = TRIED if arena.thorough else QUICK
    listed = arena.hashes(count, "list")
    deployed = arena.deployed(listed, "set", **FEWER)
    rng = arena.rng("sent")
    kinds = {"listed": listed, "others": arena.hashes(count, "others")}
    again = {
        kind: (sum(len({*_slots_asked(deployed, row, rng)}) == 1 for row in rows), count)
        for kind, rows in kinds.items()
    }
    arena.progress(1, 1)
    return counted("pictures known again", again)


def _slots_asked(deployed: Deployed, row: Rows, rng: Randomness) -> Iterator[int]:
    """Yield the slot of each of two sessions with one picture, read from both parties' selections."""
    slot_bits = cast(OpenedSetup, deployed.setup).slotting.slot_bits
    for _ in range(2):
        asked = run_session(deployed, HashOnly(row.tobytes()), rng).asked
        bodies = {one.role: one.body for one in asked if isinstance(one.body, PairRequest)}
        chosen = [
            np.unpackbits(retrieval.selections([bodies[role].key], number, slot_bits)[0])
            for number, role in enumerate(PARTIES)
        ]
        (slot,) = np.flatnonzero(chosen[0] ^ chosen[1]).tolist()
        yield int(slot)
