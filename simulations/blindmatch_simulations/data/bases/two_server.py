"""base-two-server: private information retrieval from two parties.

The device gets its bucket of the list; neither party learns which bucket that is, unless they collude.

curator  salt s; bucket of an entry = the first bits of SHA-256(hash); its label, sealed under H(s, hash);
         every bucket is filled up to one length and ordered by its bytes --> both parties
         s, and SHA-256 of every bucket --> every device
device   -- Ask: random bits, one for each bucket ---------------------> party_a
         -- Ask: the same, but for the bit of its own bucket ----------> party_b
device   <-- Told: the sum (xor) of the buckets whose bit is 1 --------- both
device   adds both, so that all buckets but its own cancel; compares that one with its digest, then opens what
         H(s, hash) opens: nobody learns what it found

This is the scheme of Chor, Goldreich, Kushilevitz and Sudan (FOCS 1995) over buckets. Either request alone is
uniformly random. `bits` is a parameter: publish with `--set bits=10`.

Change `start`, `judged` and `receive` for another protocol; `leakage` and `list_knowledge` must then say what
it tells. docs/reference/contract.md explains every part.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from hashlib import sha256, shake_256
from math import ceil, sqrt
from typing import Annotated, ClassVar

import numpy as np
from blindmatch_protocol import contract as bm
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.designs.facts import EPOCH, QUERY_TIME, SET_SIZE, any_hash, leaks
from blindmatch_protocol.designs.plain_scan import FileSetup, Stateless
from blindmatch_protocol.group.rows import cut, expand
from blindmatch_protocol.setfile import SetFile
from blindmatch_protocol.sets import labels
from blindmatch_protocol.sets.plain_list import BATCH, open_file, write_sections
from msgspec import Struct

PARTY_A = bm.Role("party_a")
PARTY_B = bm.Role("party_b")

# Files of an epoch: their names, and the kinds of their sections, of which a design's own begin at 0x100.
SETUP_FILE = "setup.bin"
TABLE_FILE = "table.bin"
DIGESTS = 0x100
"""Of the set-up: SHA-256 of every bucket, 32 bytes each."""
SALT = 0x101
"""Of the set-up: the salt of label keys, 32 bytes, of this publication alone."""
TABLE = 0x102
"""Of the file of both parties: all buckets, one after the other."""

# Each use of a hash function has a tag of its own, with a version.
LABEL_TAG = b"base-two-server/label-key/v1"
FILL_TAG = b"base-two-server/fill/v1"
ROW_BYTES = labels.record_bytes(0)
MOST_BYTES = 900 << 10
"""A bucket of this length fits one reply (960 KiB)."""
BITS = bm.Parameter("bits", "Bits of SHA-256 of a hash that choose its bucket.", "bits", 8, 8, 16)


def bucket_of(own: bytes, bits: int) -> int:
    """Return the number of a hash's bucket."""
    return int.from_bytes(sha256(own).digest()[:4], "big") >> (32 - bits)


def rows_of(entries: int, bits: int) -> int:
    """Return the rows of every bucket, which follow from the list's length alone.

    The entries of a bucket are binomial with this mean, since SHA-256 spreads them; seven standard
    deviations and eight more hold them all, but for a chance of less than one in a million.
    """
    mean = entries / (1 << bits)
    return ceil(mean + 7 * sqrt(mean)) + 8


class Ask(bm.Message):
    """Device to either party. Every picture is asked about in the same way, also one too poor to match."""

    TAG: ClassVar[int] = 0x80
    NAME: ClassVar[str] = "base-two-server/request"
    epoch: Annotated[int, bm.UInt(64)]
    """Of the set-up in use."""
    chosen: Annotated[bytes, bm.Variable((1 << BITS.most) // 8)]
    """A bit for every bucket, the first in the highest bit of the first byte."""


class Told(bm.Message):
    """Either party to device."""

    TAG: ClassVar[int] = 0x81
    NAME: ClassVar[str] = "base-two-server/reply"
    epoch: Annotated[int, bm.UInt(64)]
    """Of the table."""
    total: Annotated[bytes, bm.Variable(MOST_BYTES)]
    """The sum of the chosen buckets, which are all of one length."""


class Setup(FileSetup, frozen=True):
    """What every device has."""

    @property
    def bits(self) -> int:
        return self.file.identity.parameters["bits"]

    @property
    def salt(self) -> bytes:
        return bytes(self.file.section(SALT))

    def digest(self, bucket: int) -> bytes:
        """Return what SHA-256 of a bucket must be."""
        return bytes(self.file.section(DIGESTS)[32 * bucket : 32 * bucket + 32])


class Table(Redacted, Struct, frozen=True):
    """What either party has: all buckets."""

    epoch: int
    bits: int
    content: bytes

    def bucket(self, number: int) -> bytes:
        size = len(self.content) >> self.bits
        return self.content[number * size : (number + 1) * size]


class Waiting(Redacted, Struct, frozen=True):
    """The session while the requests are out."""

    bucket: int
    hash: bytes | None
    """The picture's, or None if it is too poor to match."""


class Verified(Redacted, Struct, frozen=True):
    """The session once the bucket is the curator's. What opens in it nobody has seen yet."""

    content: bytes
    hash: bytes | None


BUCKET = bm.Fact(
    "base-two-server.bucket",
    "the first bits of SHA-256 of the hash, as many as the set says, if it works with the other party; "
    "alone, by spoiling one bucket in its answer, whether a picture's is that one: the device then fails, "
    "and asks no more",
    bm.Severity.HASH,
    lambda item, setup: bucket_of(item.hash, setup.bits),
    frozenset({bm.Shows.HASH}),
    bm.Topic.SEARCH,
    "guesses which known picture was sent",
    "nobody",
)
BUCKETS = bm.Fact(
    "base-two-server.buckets",
    "how many buckets there are",
    bm.Severity.SIZES,
    lambda item, setup: 1 << setup.bits,
)
ROWS = bm.Fact(
    "base-two-server.rows",
    "the sealed rows of the picture's bucket, in which it can test any guess without asking again",
    bm.Severity.LIST,
    lambda item, setup: setup.digest(bucket_of(item.hash, setup.bits)),
    topic=bm.Topic.LIST,
    abuse="tests guesses against parts of the list",
    noticed_by="nobody",
)


class BaseTwoServer(Stateless[Setup, Waiting, Table]):
    info = bm.Info(
        name="base-two-server", version=1, option="2c", relation=bm.Equal(), evaluation=bm.Evaluation.SHARED,
        summary="Two parties give the device a bucket of the list; neither learns which, unless they "
        "collude.",
        learns=frozenset({bm.Learner.DEVICE}),
        roles={PARTY_A: bm.Party("party_a"), PARTY_B: bm.Party("party_b")},
        apart=(frozenset({PARTY_A, PARTY_B}),), parameters=(BITS,), tie=bm.Tie.KEY,
    )  # fmt: skip
    requests: ClassVar = dict.fromkeys((PARTY_A, PARTY_B), (Ask,))
    replies: ClassVar = dict.fromkeys((PARTY_A, PARTY_B), (Told,))

    # What is declared

    def leakage(self) -> tuple[bm.Leak, ...]:
        """Either party alone learns nothing of the hash, unless it spoils a bucket; both together learn which
        bucket it is."""
        device = frozenset({bm.Party.DEVICE})
        known = (SET_SIZE, ROWS)
        alone = (EPOCH, QUERY_TIME, BUCKETS)
        parties = tuple(self.info.roles.values())
        return (
            *(bm.Leak(frozenset({one}), bm.Adversary.SEMI_HONEST, alone) for one in parties),
            *(bm.Leak(frozenset({one}), bm.Adversary.MALICIOUS, (*alone, BUCKET)) for one in parties),
            *leaks(parties, *alone, BUCKET),
            bm.Leak(device, bm.Adversary.SEMI_HONEST, known),
            bm.Leak(device, bm.Adversary.MALICIOUS, (*known, any_hash(0))),
        )

    def list_knowledge(self, parties: frozenset[bm.Party]) -> bm.ListKnowledge:
        """Sealed rows can be tested by anybody who knows the salt, and every device does."""
        held = dict.fromkeys(self.info.roles.values(), bm.ListKnowledge.TESTABLE)
        held |= {bm.Party.DEVICE: bm.ListKnowledge.SIZE}
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
        """Seal every label, and fill the buckets. Takes 32 bytes of `rng` for the salt, and 32 for the
        filling, which are not kept."""
        bits = parameters.value(self.info, "bits")
        salt = rng.take(32)
        seed = rng.take(32)
        buckets: list[list[bytes]] = [[] for _ in range(1 << bits)]
        done = 0
        for batch in entries.batches(BATCH):
            keys = label_keys(salt, parameters.epoch, cut(batch.hashes))
            sealed = labels.seal(keys, batch, parameters.epoch)
            for own, row in zip(cut(batch.hashes), cut(sealed), strict=True):
                buckets[bucket_of(own, bits)].append(row)
            done += len(batch)
            progress(done, len(entries))
        rows = rows_of(len(entries), bits)
        if rows * ROW_BYTES > MOST_BYTES:
            raise bm.DesignError(f"parameter bits: a bucket would have over {MOST_BYTES} bytes; choose more")
        filled = [fill(seed, number, bucket, rows) for number, bucket in enumerate(buckets)]
        digests = b"".join(sha256(one).digest() for one in filled)
        setup = {DIGESTS: digests, SALT: salt}
        table = {TABLE: b"".join(filled)}
        write_sections(SETUP_FILE, self.info, parameters, len(entries), out, setup)
        write_sections(TABLE_FILE, self.info, parameters, len(entries), out, table)
        return bm.Published((SETUP_FILE,), dict.fromkeys(self.info.roles, (TABLE_FILE,)))

    # Opening files

    def open_setup(self, files: bm.Buffers, epoch: int | None = None) -> Setup:
        setup = Setup(open_file(self.info, files, SETUP_FILE, epoch))
        check_bits(SETUP_FILE, setup.file)
        return setup

    def check_setup(self, setup: Setup, progress: bm.Progress = bm.no_progress) -> None:
        """What is accepted here makes no later step fail."""
        setup.file.verify()
        if len(setup.salt) != 32 or len(setup.file.section(DIGESTS)) != 32 << setup.bits:
            raise bm.SetFileError(f"{SETUP_FILE}: must have a salt of 32 bytes and a digest for every bucket")

    def stated(self, setup: Setup) -> bm.Stated:
        """What the curator signs in the epoch's manifest."""
        return bm.Stated(parameters={"bits": setup.bits}, entries=setup.entries)

    def open_role(self, role: bm.Role, files: bm.Buffers) -> Table:
        file = open_file(self.info, files, TABLE_FILE, None)
        check_bits(TABLE_FILE, file)
        bits = file.identity.parameters["bits"]
        epoch = file.identity.epoch
        table = Table(epoch, bits, bytes(file.section(TABLE)))
        if len(table.content) != rows_of(file.entries, bits) * ROW_BYTES << bits:
            raise bm.SetFileError(f"{TABLE_FILE}: must have {1 << bits} whole buckets")
        if SETUP_FILE in files:
            setup = self.open_setup(files, epoch)
            digests = (sha256(table.bucket(number)).digest() for number in range(1 << bits))
            if setup.bits != bits or b"".join(digests) != bytes(setup.file.section(DIGESTS)):
                raise bm.SetFileError(f"{TABLE_FILE}: of another set than the one beside it")
        return table

    # A picture

    def start(
        self, state: bm.NoState, setup: Setup, item: bm.Item, binding: bm.Binding, rng: bm.Randomness
    ) -> bm.Started[bm.NoState, Waiting]:
        """Ask for the bucket of the hash, whatever the picture's quality is. Takes as many bits of `rng` as
        there are buckets."""
        good = item.quality >= self.info.relation.minimum_quality
        number = bucket_of(item.hash, setup.bits)
        drawn = rng.take((1 << setup.bits) // 8)
        session = Waiting(number, item.hash if good else None)
        asked = {PARTY_A: drawn, PARTY_B: flipped(drawn, number)}
        bodies = {role: Ask(setup.epoch, chosen) for role, chosen in asked.items()}
        return bm.Started(state, bm.Send(session, bodies))

    def judged(self, state: Table, body: bm.Message) -> tuple[Told, None]:
        """Return the sum of the chosen buckets; nobody but the device learns an outcome. Whoever sends
        another number of bits gets the `ProtocolError`."""
        bm.check_epoch(body.epoch, state.epoch, Ask.NAME)
        if len(body.chosen) != (1 << state.bits) // 8:
            raise bm.ProtocolError(Ask.NAME, f"must have {1 << state.bits} bits", "chosen")
        chosen = np.unpackbits(np.frombuffer(body.chosen, np.uint8)).astype(np.bool_)
        buckets = np.frombuffer(state.content, np.uint8).reshape(1 << state.bits, -1)
        return Told(state.epoch, np.bitwise_xor.reduce(buckets[chosen], axis=0).tobytes()), None

    def receive(
        self, session: Waiting, setup: Setup, replies: Mapping[bm.Role, bm.Message], rng: bm.Randomness
    ) -> bm.Step[Waiting]:
        """Add both sums and compare the bucket with its digest: the same work whatever the outcome, before
        the hand-over."""
        length = rows_of(setup.entries, setup.bits) * ROW_BYTES
        bucket = np.zeros(length, np.uint8)
        for reply in replies.values():
            bm.check_epoch(reply.epoch, setup.epoch, Told.NAME)
            if len(reply.total) != length:
                raise bm.ProtocolError(Told.NAME, f"must have {length} bytes", "total")
            bucket ^= np.frombuffer(reply.total, np.uint8)
        if sha256(bucket).digest() != setup.digest(session.bucket):
            raise bm.ProtocolError(Told.NAME, "must add up to the bucket that the set-up says", "total")
        return bm.Ready(Verified(bucket.tobytes(), session.hash))

    def conclude(self, session: Verified, setup: Setup) -> bm.Outcome:
        """Try the picture's key on every row, after the hand-over: how long it takes shows nobody what it
        found."""
        if session.hash is None:
            return bm.NoMatch()
        key = label_keys(setup.salt, setup.epoch, [session.hash]).tobytes()
        for at in range(0, len(session.content), ROW_BYTES):
            label = labels.unseal(key, session.content[at : at + ROW_BYTES], setup.epoch)
            if label is not None and label.entry_hash == session.hash:
                return bm.Match(label)
        return bm.NoMatch()

    # The security proof's simulator

    def simulate(
        self, role: bm.Role, facts: Mapping[str, Hashable], output: bm.Outcome | None, rng: bm.Randomness
    ) -> tuple[bm.Message, ...]:
        """Return either party's view, perfectly: its bits are uniformly random."""
        return (Ask(facts["epoch"], rng.take(facts["base-two-server.buckets"] // 8)),)


def label_keys(salt: bytes, epoch: int, hashes: list[bytes]) -> bm.Rows:
    """Return the keys that the labels of hashes are sealed under, uint8 (n, 32)."""
    return expand(LABEL_TAG, epoch, [salt + own for own in hashes], labels.LABEL_KEY_BYTES)


def fill(seed: bytes, number: int, bucket: list[bytes], rows: int) -> bytes:
    """Return a bucket with pseudorandom rows beside its own, which nobody tells from them without a key."""
    if len(bucket) > rows:
        raise bm.DesignError(f"parameter bits: bucket {number} has more than {rows} entries; choose others")
    missing = (rows - len(bucket)) * ROW_BYTES
    stream = shake_256(FILL_TAG + seed + number.to_bytes(4, "big")).digest(missing)
    return b"".join(sorted([*bucket, *(stream[at : at + ROW_BYTES] for at in range(0, missing, ROW_BYTES))]))


def check_bits(name: str, file: SetFile) -> None:
    if not BITS.least <= file.identity.parameters.get("bits", 0) <= BITS.most:
        raise bm.SetFileError(f"{name}: parameter bits: must be there, and {BITS.least} to {BITS.most}")


def flipped(chosen: bytes, number: int) -> bytes:
    """Return bits with the one of a bucket flipped, the first bit being the highest of the first byte."""
    bits = bytearray(chosen)
    bits[number // 8] ^= 0x80 >> number % 8
    return bytes(bits)


DESIGN = BaseTwoServer()
