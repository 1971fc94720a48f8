"""The session of one picture, and the steps of both kinds of servers: pure functions.

    device   ask_slots     --- blinded tokens ------------------------------> matcher  answer_slots
    device   ask_record    <-- evaluation, proof ----------------------------
                           --- one blinded pair, one selection key ---------> party_a  answer_records
                           --- the same pair, the other selection key ------> party_b  answer_records
    device   open_record   <-- of each: evaluation, proof, XOR of records ---

Sizes, order and randomness taken are the same for every picture: a poor one asks for random tokens, and one
whose bands do not agree asks about a pair that opens nothing, and fetches the record of a uniform slot. The
device checks that record as it checks any.

**Which pair.** Slots that tokens of two bands or more read are candidates. Chance makes some, so one is
chosen: the one with the most bands, then the one whose two likeliest tokens are likeliest together. The
second question is about these two.

A device must not ask a second time about one picture, and never shows whether it had a candidate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.codec.randomness import Randomness, replayed
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract.declaration import Role
from blindmatch_protocol.contract.steps import Label, check_epoch, tried
from blindmatch_protocol.crypto.oprf import (
    Blinding,
    Evaluation,
    Mode,
    PublicKey,
    SecretKey,
    blind,
    blind_evaluate,
    unblind,
    verified,
)
from blindmatch_protocol.designs.slot_psi import records, retrieval
from blindmatch_protocol.designs.slot_psi.parameters import Slotting
from blindmatch_protocol.designs.slot_psi.table import Slots, SlotTable
from blindmatch_protocol.designs.token_psi.tokens import Tokens, band_bits, entry_tokens, flips
from blindmatch_protocol.designs.voprf.layout import HALVES, PublicKeys
from blindmatch_protocol.group import ELEMENT_BYTES, UNIFORM_BYTES
from blindmatch_protocol.picture.pdq import MATCH_DISTANCE, distance

PARTIES: Final = HALVES.roles
"""In the order of their shares and of the two selection keys of an index."""
SLOT_BYTES: Final = 4
TOKEN_BYTES: Final = 8
FIRST_STEP: Final = "slot-psi/slots"
SECOND_STEP: Final = "slot-psi/record"


class Setup(Redacted, Struct, frozen=True, eq=False):
    """What a device has of a list.

    Attributes:
        entries: their number.
        first: the matcher's public key.
        second: public keys of the second key and of its shares.
        tops: nodes of the records' hash tree, uint8 (n, 32), under the epoch's signature.
    """

    SHOWN: ClassVar = ("slotting", "epoch", "entries", "first", "second")

    slotting: Slotting
    epoch: int
    entries: int
    first: PublicKey
    second: PublicKeys
    table: SlotTable
    tops: Rows


class AskedSlots(Redacted, Struct, frozen=True, eq=False):
    """A session whose first question is out.

    Attributes:
        tokens: that were asked for, (bands, probes).
        costs: how unlikely each is, -ln of a likelihood, (bands, probes).
        own_hash: the picture's, or None if it is too poor to match.
        certify: whether the replies are for others, too, who set no deadline (`dleq`).
    """

    blinding: Blinding
    tokens: Tokens
    costs: npt.NDArray[np.float64]
    own_hash: bytes | None
    certify: bool = False


class Pair(Redacted, Struct, frozen=True):
    """A second question's content.

    Attributes:
        slot: that both tokens read.
        number: of the pair of bands, in `Slotting.pairs`.
        tokens: one of each band.
    """

    slot: int
    number: int
    tokens: tuple[int, int]


class Question(Redacted, Struct, frozen=True, eq=False):
    """The second question, to one party.

    Attributes:
        blinded: the pair, blinded, uint8 (1, 32); the same to both parties.
        key: which records to add up (`retrieval`); for this party alone.
        certify: whether the proof is to stay sound without a deadline.
    """

    SHOWN: ClassVar = ("epoch",)

    epoch: int
    blinded: Rows
    key: bytes
    certify: bool = False


class Reply(Redacted, Struct, frozen=True, eq=False):
    """A party's reply to a question.

    Attributes:
        evaluation: its share of the key times the blinded pair, and the proof.
        answer: XOR of the records that the question selects.
    """

    SHOWN: ClassVar = ("epoch",)

    epoch: int
    evaluation: Evaluation
    answer: bytes


class AskedRecord(Redacted, Struct, frozen=True, eq=False):
    """A session whose second question is out.

    Attributes:
        pair: what it is about; None: its outcome is thrown away.
        slot: whose record is fetched.
        first: outputs of the first key, uint8 (tokens, 64).
    """

    blinding: Blinding
    pair: Pair | None
    slot: int
    own_hash: bytes | None
    first: Rows
    certify: bool = False


class Fetched(Redacted, Struct, frozen=True, eq=False):
    """A session whose replies were all verified; what it opens nobody has seen yet.

    Attributes:
        second: output of the second key, uint8 (1, 64).
        record: of the slot.
        first: outputs of the first key, uint8 (tokens, 64).
    """

    pair: Pair | None
    second: Rows
    record: bytes
    own_hash: bytes | None
    first: Rows


class PartyState(Redacted, Struct, frozen=True, eq=False):
    """What a party holds.

    Attributes:
        number: 0 or 1, its place in `PARTIES`.
        share: of the second key.
        records: words of `retrieval.words_of`.
    """

    SHOWN: ClassVar = ("number", "epoch")

    number: int
    slotting: Slotting
    epoch: int
    entries: int
    share: SecretKey
    records: retrieval.Words


def ask_slots(
    setup: Setup,
    own_hash: bytes,
    coefficients: npt.NDArray[np.float32],
    is_cover: bool,
    rng: Randomness,
    certify: bool = False,
) -> tuple[AskedSlots, Rows]:
    """Begin with a picture; returns the state to keep and what the matcher is sent, uint8 (tokens, 32).

    Args:
        setup: of the list.
        own_hash: the picture's PDQ hash.
        coefficients: signed distances from the median, (256,).
        is_cover: is the picture too poor to match, so that random tokens are asked for.
        rng: gives 8 bytes for each token, and 64 for each blind.
        certify: whether the replies are for others, too.
    """
    s = setup.slotting
    drawn = np.frombuffer(rng.take(TOKEN_BYTES * s.tokens), ">u8").astype(np.uint64)
    own = entry_tokens(np.frombuffer(own_hash, np.uint8).reshape(1, 32), s.k, s.bands)[0]
    weights = np.abs(coefficients)[band_bits(s.k, s.bands)]
    # a poor picture is probed, too, so that the time it takes does not tell
    flipped = flips(weights, s.probes)
    tokens = own[:, None] ^ flipped
    if is_cover:
        random = drawn.reshape(s.bands, s.probes) >> np.uint64(64 - s.k)
        tokens = random.astype(tokens.dtype)
    costs = flip_costs(weights, flipped)
    bands = np.repeat(np.arange(s.bands, dtype=np.uint32), s.probes)
    inputs = [row.tobytes() for row in records.first_inputs(bands, tokens.ravel())]
    blinding, blinded = blind(inputs, Mode.VOPRF, rng)
    return AskedSlots(blinding, tokens, costs, None if is_cover else own_hash, certify), blinded


def flip_costs(weights: npt.NDArray[np.float32], flipped: Tokens) -> npt.NDArray[np.float64]:
    """Return what flipped bits cost together, (bands, probes), from a cost for each bit of a band, (bands,
    k)."""
    k = weights.shape[1]
    shifts = np.arange(k - 1, -1, -1, dtype=flipped.dtype)
    bits = flipped[..., None] >> shifts & flipped.dtype.type(1)
    found: npt.NDArray[np.float64] = (bits * weights[:, None, :].astype(np.float64)).sum(axis=2)
    return found


def answer_slots(key: SecretKey, slotting: Slotting, blinded: Rows, rng: Randomness) -> Evaluation:
    """Answer as the matcher. Takes 64 bytes of `rng`; `ProtocolError` if there are not as many tokens as
    every picture asks for, or one is no element."""
    if len(blinded) != slotting.tokens:
        raise ProtocolError(FIRST_STEP, f"must have {slotting.tokens} rows, not {len(blinded)}", "blinded")
    return blind_evaluate(key, blinded, rng, step=FIRST_STEP)


def ask_record(
    setup: Setup, asked: AskedSlots, evaluation: Evaluation, rng: Randomness
) -> tuple[AskedRecord, dict[Role, Question]]:
    """Go on with the matcher's reply; returns the state to keep and what each party is sent.

    Takes 4 bytes of `rng` for a slot, 64 for a blind and 32 for the selection; `ProtocolError` if the reply
    breaks the protocol.
    """
    s = setup.slotting
    elements = verified(asked.blinding, evaluation, setup.first, step=FIRST_STEP, certified=asked.certify)
    outputs = unblind(asked.blinding, elements, step=FIRST_STEP)
    slots = setup.table.lookup(outputs, setup.epoch).reshape(s.bands, s.probes)
    pair = choose_pair(s, slots, asked.tokens, asked.costs)
    uniform = int.from_bytes(rng.take(SLOT_BYTES), "big") & (s.slots - 1)
    # where no bands agree, a pair that belongs to nothing stands in: blinded, it cannot be told apart
    stand_in = Pair(uniform, 0, (int(asked.tokens[0, 0]), int(asked.tokens[1, 0])))
    about = pair or stand_in
    one, other = (np.array([token], np.uint64) for token in about.tokens)
    row = records.second_inputs(np.array([about.slot], np.uint32), s.pairs[about.number], one, other)
    blinding, blinded = blind([row.tobytes()], Mode.VOPRF, rng)
    keys = retrieval.selection_keys(about.slot, s.slot_bits, rng)
    questions = {
        party: Question(setup.epoch, blinded, key, asked.certify)
        for party, key in zip(PARTIES, (keys.first, keys.second), strict=True)
    }
    waiting = AskedRecord(blinding, pair, about.slot, asked.own_hash, outputs, asked.certify)
    return waiting, questions


def choose_pair(
    slotting: Slotting, slots: Slots, tokens: Tokens, costs: npt.NDArray[np.float64]
) -> Pair | None:
    """Choose the pair of tokens that the second question is about; None if no two bands agree on a slot. All
    arguments are (bands, probes)."""
    bands, probes = slots.shape
    band = np.repeat(np.arange(bands), probes)
    flat_slots = slots.ravel()
    flat_costs = costs.ravel()
    # of each slot and band the likeliest token, as tokens of one band that agree count once
    order = np.lexsort((flat_costs, band, flat_slots))
    same = (np.diff(flat_slots[order].astype(np.int64)) == 0) & (np.diff(band[order]) == 0)
    order = order[np.append(True, ~same)]
    starts = np.flatnonzero(np.append(True, np.diff(flat_slots[order].astype(np.int64)) != 0))
    counts = np.diff(np.append(starts, len(order)))
    best: tuple[int, float, tuple[int, int]] | None = None
    for start, count in zip(starts[counts > 1].tolist(), counts[counts > 1].tolist(), strict=True):
        members = order[start : start + count]
        likeliest = members[np.argsort(flat_costs[members], kind="stable")[:2]]
        score = (count, -float(flat_costs[likeliest].sum()))
        if best is None or score > best[:2]:
            first, second = sorted(likeliest.tolist())
            best = (*score, (first, second))
    if best is None:
        return None
    first, second = best[2]
    number = slotting.pairs.index((int(band[first]), int(band[second])))
    own = tokens.ravel()
    return Pair(int(flat_slots[first]), number, (int(own[first]), int(own[second])))


def answer_records(
    state: PartyState, questions: Sequence[Question | ProtocolError], rng: Randomness
) -> list[Reply | ProtocolError]:
    """Answer as a party: a reply, or what the question broke, for each, in their order; what is no question
    already is passed on. Takes 64 bytes of `rng` for each. Records are read once for all questions that
    arrive together."""
    tapes = [replayed(rng.take(UNIFORM_BYTES)) for _ in questions]
    checked = [tried(_checked, state, it) if isinstance(it, Question) else it for it in questions]
    answers = iter(_answers(state, [it.key for it in checked if isinstance(it, Question)]))
    return [
        tried(_reply, state, it, next(answers), tape) if isinstance(it, Question) else it
        for it, tape in zip(checked, tapes, strict=True)
    ]


def _answers(state: PartyState, keys: Sequence[bytes]) -> list[bytes]:
    """Return the XOR of the records that each key selects."""
    if not keys:
        return []
    chosen = retrieval.selections(keys, state.number, state.slotting.slot_bits)
    width = state.slotting.record_bytes(state.entries)
    return [row[:width].tobytes() for row in retrieval.answers(state.records, chosen)]


def _checked(state: PartyState, question: Question) -> Question:
    check_epoch(question.epoch, state.epoch, SECOND_STEP)
    if question.blinded.shape != (1, ELEMENT_BYTES):
        raise ProtocolError(SECOND_STEP, "must be one row of 32 bytes", "blinded")
    retrieval.check_key(question.key, state.slotting.slot_bits)
    return question


def _reply(state: PartyState, question: Question, answer: bytes, rng: Randomness) -> Reply:
    evaluation = blind_evaluate(
        state.share, question.blinded, rng, step=SECOND_STEP, certified=question.certify
    )
    return Reply(state.epoch, evaluation, answer)


def fetch(setup: Setup, asked: AskedRecord, replies: Mapping[Role, Reply]) -> Fetched:
    """Go on with both parties' replies, of which nothing is opened yet.

    Raises:
        ProtocolError: a party is silent, or a reply breaks the protocol, for the same reasons whatever the
            question was about.
    """
    outputs, record = _verified(setup, asked, replies)
    return Fetched(asked.pair, outputs, record, asked.own_hash, asked.first)


def open_fetched(setup: Setup, fetched: Fetched) -> Label | None:
    """Return the nearest label in the record that the pair opens and whose hash is within the distance of the
    picture's, or None if there is none."""
    opened = labels_of(setup, fetched)
    if fetched.own_hash is None:
        return None
    own_hash = fetched.own_hash
    near = [label for label in opened if distance(label.entry_hash, own_hash) <= MATCH_DISTANCE]
    return min(near, key=lambda it: (distance(it.entry_hash, own_hash), it.entry_id), default=None)


def labels_of(setup: Setup, fetched: Fetched) -> list[Label]:
    """Return every label in the record that the pair opens, near the picture or not."""
    s = setup.slotting
    pair = fetched.pair
    opened: list[Label] = []
    if pair is None:
        return opened
    for position in range(s.capacity(setup.entries)):
        place = position * s.slots + pair.slot
        number = np.frombuffer(position.to_bytes(4, "big"), np.uint8)[None]
        pad = records.pads(fetched.second, setup.epoch, number)
        start = position * s.entry_bytes
        own = np.frombuffer(fetched.record[start : start + s.entry_bytes], np.uint8)[None]
        opened += records.open_position(s, setup.epoch, place, own, pair.number, pad)
    return opened


def open_record(setup: Setup, asked: AskedRecord, replies: Mapping[Role, Reply]) -> Label | None:
    """End with both parties' replies; see `fetch` and `open_fetched`."""
    return open_fetched(setup, fetch(setup, asked, replies))


def _verified(setup: Setup, asked: AskedRecord, replies: Mapping[Role, Reply]) -> tuple[Rows, bytes]:
    """Return the second output, uint8 (1, 64), and the record, once both were verified."""
    expected = setup.slotting.record_bytes(setup.entries)
    parts: dict[Role, Rows] = {}
    record = np.zeros(expected, np.uint8)
    for party in PARTIES:
        if party not in replies:
            raise ProtocolError(SECOND_STEP, "no reply came", party)
        reply = replies[party]
        check_epoch(reply.epoch, setup.epoch, SECOND_STEP)
        if len(reply.answer) != expected:
            raise ProtocolError(SECOND_STEP, f"must be {expected} bytes, not {len(reply.answer)}", "answer")
        share = setup.second.shares[party]
        parts[party] = verified(
            asked.blinding, reply.evaluation, share, step=SECOND_STEP, certified=asked.certify
        )
        record ^= np.frombuffer(reply.answer, np.uint8)
    found = record.tobytes()
    records.check_record(setup.slotting, setup.epoch, asked.slot, found, setup.tops)
    return unblind(asked.blinding, HALVES.combined(parts), step=SECOND_STEP), found
