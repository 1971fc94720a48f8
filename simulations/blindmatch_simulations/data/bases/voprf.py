"""base-voprf: a verifiable OPRF tells the device, and only it, whether its very hash is listed.

curator  makes a key k and gives it to the matcher. Of every entry, with F(h) = the OPRF of hash h under k:
         place = H1(F(h)), and the label sealed under H2(F(h)), in the order of places --> every device
device   -- Ask: the hash, blinded -------------------------------------> matcher, which sees a random element
device   <-- Told: k times it, and a proof that it is this k ------------ matcher
device   verifies the proof, unblinds, has F(hash), and looks the place up: nobody learns what it found

The OPRF is that of RFC 9497, mode VOPRF, over ristretto255.

Change `start`, `evaluated` and `receive` for another protocol; `leakage` and `list_knowledge` must then say
what it tells. docs/reference/contract.md explains every part.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Annotated, ClassVar

import numpy as np
from blindmatch_protocol import contract as bm
from blindmatch_protocol import group
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.crypto import oprf
from blindmatch_protocol.crypto.dleq import PROOF_BYTES
from blindmatch_protocol.designs.facts import EPOCH, EVERY_GUESS, QUERY_TIME, SET_SIZE, any_hash, leaks
from blindmatch_protocol.designs.plain_scan import FileSetup, Stateless
from blindmatch_protocol.group.rows import cut, expand
from blindmatch_protocol.setfile import SetFileWriter
from blindmatch_protocol.sets import labels
from blindmatch_protocol.sets.plain_list import BATCH, column, identity_of, keys_in, open_file, write_sections
from msgspec import Struct

MATCHER = bm.Role("matcher")

# Files of an epoch: their names, and the kinds of their sections, of which a design's own begin at 0x100.
SET_FILE = "set.bin"
KEY_FILE = "key.bin"
PLACES = 0x100
"""Of the set: places of entries, 32 bytes each, ascending."""
RECORDS = 0x101
"""Of the set: sealed labels, in the order of the places."""
PUBLIC = 0x102
"""Of the set: the public key, 32 bytes, that proofs are verified under."""
SECRET = 0x103
"""Of the matcher's file: the key k, 32 bytes."""

# Each use of a hash function has a tag of its own, with a version.
INPUT_TAG = b"base-voprf/input/v1"
PLACE_TAG = b"base-voprf/place/v1"
LABEL_TAG = b"base-voprf/label-key/v1"
RECORD_BYTES = labels.record_bytes(0)


class Ask(bm.Message):
    """Device to matcher. Every picture is asked about in the same way, also one too poor to match."""

    TAG: ClassVar[int] = 0x80
    NAME: ClassVar[str] = "base-voprf/request"
    epoch: Annotated[int, bm.UInt(64)]
    """Of the set-up in use."""
    blinded: Annotated[bytes, bm.Fixed(32)]
    """A group element."""
    certify: Annotated[bool, bm.Bool()]
    """Is the session shown to others, so that its proof must stay sound without a deadline?"""


class Told(bm.Message):
    """Matcher to device."""

    TAG: ClassVar[int] = 0x81
    NAME: ClassVar[str] = "base-voprf/reply"
    epoch: Annotated[int, bm.UInt(64)]
    """Of the key."""
    evaluated: Annotated[bytes, bm.Fixed(32)]
    """k times the element."""
    proof: Annotated[bytes, bm.Fixed(PROOF_BYTES)]
    """That it is the k of the public key."""


class Setup(FileSetup, frozen=True):
    """What every device has: the set file."""

    @property
    def public_key(self) -> oprf.PublicKey:
        (element,) = keys_in(self.file, PUBLIC, 1)
        return oprf.PublicKey(oprf.Mode.VOPRF, element)


class Matcher(Redacted, Struct, frozen=True):
    """What the matcher has; `Redacted` keeps the key out of logs and error texts."""

    epoch: int
    key: oprf.SecretKey


class Waiting(Redacted, Struct, frozen=True, eq=False):
    """The session while the request is out."""

    blinding: oprf.Blinding
    hash: bytes | None
    """The picture's, or None if it is too poor to match."""
    certify: bool


class Verified(Redacted, Struct, frozen=True, eq=False):
    """The session once the reply was verified: F(hash), uint8 (1, 64). What it opens nobody has seen yet."""

    output: Rows
    hash: bytes | None


class BaseVoprf(Stateless[Setup, Waiting, Matcher]):
    info = bm.Info(
        name="base-voprf", version=1, option="1b", relation=bm.Equal(), evaluation=bm.Evaluation.OPRF,
        summary="A verifiable OPRF tells the device, and only it, whether its very hash is listed.",
        learns=frozenset({bm.Learner.DEVICE}), roles={MATCHER: bm.Party.MATCHER}, tie=bm.Tie.KEY,
    )  # fmt: skip
    requests: ClassVar = {MATCHER: (Ask,)}
    replies: ClassVar = {MATCHER: (Told,)}

    # What is declared

    def leakage(self) -> tuple[bm.Leak, ...]:
        """A malicious matcher learns no more than an honest one: a wrong reply fails its proof."""
        device = frozenset({bm.Party.DEVICE})
        return (
            *leaks({bm.Party.MATCHER}, EPOCH, QUERY_TIME, EVERY_GUESS),
            bm.Leak(device, bm.Adversary.SEMI_HONEST, (SET_SIZE,)),
            bm.Leak(device, bm.Adversary.MALICIOUS, (SET_SIZE, any_hash(0))),
        )

    def list_knowledge(self, parties: frozenset[bm.Party]) -> bm.ListKnowledge:
        """A stolen device shows how many entries there are; with the key every guess can be tested."""
        held = {bm.Party.DEVICE: bm.ListKnowledge.SIZE, bm.Party.MATCHER: bm.ListKnowledge.TESTABLE}
        return bm.ListKnowledge.joined(parties, held)

    # The curator

    def publish(
        self,
        entries: bm.EntrySource,
        parameters: bm.SetParameters,
        rng: bm.Randomness,
        executor: bm.Executor | None,
        out: bm.Workspace,
        progress: bm.Progress = bm.no_progress,
    ) -> bm.Published:
        """Evaluate every entry, and write the set in the order of the places, so that the list's own order is
        not shown. Takes 64 bytes of `rng` for the key."""
        key = oprf.generate_key_pair(oprf.Mode.VOPRF, rng)
        parts = [np.zeros((0, 32 + RECORD_BYTES), np.uint8)]
        done = 0
        for batch in entries.batches(BATCH):
            outputs = oprf.evaluate(key, [INPUT_TAG + own for own in cut(batch.hashes)])
            places = expand(PLACE_TAG, parameters.epoch, cut(outputs), 32)
            keys = expand(LABEL_TAG, parameters.epoch, cut(outputs), labels.LABEL_KEY_BYTES)
            parts.append(np.concatenate([places, labels.seal(keys, batch, parameters.epoch)], axis=1))
            done += len(batch)
            progress(done, len(entries))
        rows = np.concatenate(parts)
        rows = rows[np.argsort(as_values(rows[:, :32]), kind="stable")]
        writer = SetFileWriter(out.create(SET_FILE), identity_of(self.info, parameters))
        writer.section(PLACES, [rows[:, :32].tobytes()], len(rows))
        writer.section(RECORDS, [rows[:, 32:].tobytes()], len(rows))
        writer.section(PUBLIC, [key.public.element], 1)
        writer.finish(len(rows))
        write_sections(KEY_FILE, self.info, parameters, 0, out, {SECRET: key.reveal()})
        return bm.Published((SET_FILE,), {MATCHER: (KEY_FILE,)})

    # Opening files

    def open_setup(self, files: bm.Buffers, epoch: int | None = None) -> Setup:
        return Setup(open_file(self.info, files, SET_FILE, epoch))

    def check_setup(self, setup: Setup, progress: bm.Progress = bm.no_progress) -> None:
        """What is accepted here makes no later step fail."""
        setup.file.verify()
        places = as_values(column(setup.file, PLACES, np.uint8, 32))
        column(setup.file, RECORDS, np.uint8, RECORD_BYTES)
        if (places[:-1] > places[1:]).any():
            raise bm.SetFileError(f"{SET_FILE}: places are not in order")
        try:
            _ = setup.public_key
        except bm.ProtocolError as error:
            raise bm.SetFileError(f"{SET_FILE}: public key: {error.rule}") from error

    def stated(self, setup: Setup) -> bm.Stated:
        """What the curator signs in the epoch's manifest."""
        return bm.Stated(role_keys={MATCHER: setup.public_key.element}, entries=setup.entries)

    def open_role(self, role: bm.Role, files: bm.Buffers) -> Matcher:
        file = open_file(self.info, files, KEY_FILE, None)
        (scalar,) = keys_in(file, SECRET, 1)
        try:
            key = oprf.SecretKey(oprf.Mode.VOPRF, scalar)
        except bm.ProtocolError as error:
            raise bm.SetFileError(f"{KEY_FILE}: key: {error.rule}") from error
        epoch = file.identity.epoch
        if SET_FILE in files and self.open_setup(files, epoch).public_key != key.public:
            raise bm.SetFileError(f"{KEY_FILE}: the key of another set than the one beside it")
        return Matcher(epoch, key)

    # A picture

    def start(
        self, state: bm.NoState, setup: Setup, item: bm.Item, binding: bm.Binding, rng: bm.Randomness
    ) -> bm.Started[bm.NoState, Waiting]:
        """Blind the hash. Takes 64 bytes of `rng`, whatever the picture is."""
        good = item.quality >= self.info.relation.minimum_quality
        blinding, blinded = oprf.blind([INPUT_TAG + item.hash], oprf.Mode.VOPRF, rng)
        session = Waiting(blinding, item.hash if good else None, binding.certify)
        ask = Ask(setup.epoch, blinded.tobytes(), binding.certify)
        return bm.Started(state, bm.Send(session, {MATCHER: ask}))

    def answer(
        self,
        role: bm.Role,
        state: Matcher,
        requests: tuple[bm.Request, ...],
        rng: bm.Randomness,
        executor: bm.Executor | None,
    ) -> bm.Answer:
        """Take 64 bytes of `rng` for each body's proof."""
        return bm.Answer([bm.tried(self.evaluated, state, one.body, rng) for one in requests])

    def evaluated(self, state: Matcher, body: Ask, rng: bm.Randomness) -> Told:
        """Return k times the element; whoever sent one that is none gets a `ProtocolError`."""
        bm.check_epoch(body.epoch, state.epoch, Ask.NAME)
        made = oprf.blind_evaluate(state.key, element(body.blinded), rng, None, Ask.NAME, body.certify)
        return Told(state.epoch, made.elements.tobytes(), made.proof)

    def receive(
        self, session: Waiting, setup: Setup, replies: Mapping[bm.Role, bm.Message], rng: bm.Randomness
    ) -> bm.Step[Waiting]:
        """Verify and unblind: the same work whatever the outcome, before the message is handed over."""
        reply = replies[MATCHER]
        bm.check_epoch(reply.epoch, setup.epoch, Told.NAME)
        made = oprf.Evaluation(element(reply.evaluated), reply.proof)
        elements = oprf.verified(session.blinding, made, setup.public_key, None, Told.NAME, session.certify)
        output = oprf.unblind(session.blinding, elements, None, Told.NAME)
        return bm.Ready(Verified(output, session.hash))

    def conclude(self, session: Verified, setup: Setup) -> bm.Outcome:
        """Look the place up and open the label, after the hand-over: how long it takes shows nobody what it
        found."""
        place = expand(PLACE_TAG, setup.epoch, cut(session.output), 32).tobytes()
        key = expand(LABEL_TAG, setup.epoch, cut(session.output), labels.LABEL_KEY_BYTES).tobytes()
        places = as_values(column(setup.file, PLACES, np.uint8, 32))
        at = int(np.searchsorted(places, np.bytes_(place)))
        if at == len(places) or bytes(setup.file.section(PLACES))[32 * at : 32 * at + 32] != place:
            return bm.NoMatch()
        record = column(setup.file, RECORDS, np.uint8, RECORD_BYTES)[at].tobytes()
        label = labels.unseal(key, record, setup.epoch)
        return bm.NoMatch() if label is None or label.entry_hash != session.hash else bm.Match(label)

    # The security proof's simulator

    def simulate(
        self, role: bm.Role, facts: Mapping[str, Hashable], output: bm.Outcome | None, rng: bm.Randomness
    ) -> tuple[bm.Message, ...]:
        """Return the matcher's view from what is declared to it: a blinded element is a uniform one, since
        its blind is a uniform scalar other than 0 and the group's order is prime."""
        uniform = np.frombuffer(rng.take(group.UNIFORM_BYTES), np.uint8).reshape(1, -1)
        return (Ask(facts["epoch"], group.hash_to_group(uniform).tobytes(), False),)


def element(encoded: bytes) -> Rows:
    """Return an element as the one row that the OPRF takes, uint8 (1, 32)."""
    return np.frombuffer(encoded, np.uint8).reshape(1, -1)


def as_values(places: Rows) -> np.ndarray:
    """Return places, uint8 (n, 32), as values that compare byte by byte, (n,)."""
    return np.ascontiguousarray(places).view("S32").ravel()


DESIGN = BaseVoprf()
