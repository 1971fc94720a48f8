"""The files of prefix-bucket: digests of the buckets for devices, the buckets for whoever hands them out.

A bucket has rows in the order of their bytes (docs/set-format.md); those that no entry needs are pseudorandom
under a key that devices lack.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from hmac import compare_digest
from math import ceil, log
from typing import Annotated, ClassVar, Final

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from msgspec import Struct

from blindmatch_protocol import contract as bm
from blindmatch_protocol.codec import Message, Rows, UInt, Variable
from blindmatch_protocol.codec.errors import DesignError
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import EntrySource
from blindmatch_protocol.crypto.oprf import SecretKey
from blindmatch_protocol.designs.deltas import SIGNATURES
from blindmatch_protocol.designs.voprf import VoprfSetup
from blindmatch_protocol.designs.voprf.files import FileLayer, Job
from blindmatch_protocol.group.rows import expand
from blindmatch_protocol.setfile import Identity, SetFile, SetFileWriter
from blindmatch_protocol.sets import labels, store

FILL_TAG: Final = b"blindmatch/prefix-bucket/fill/v1"
TAG_BYTES: Final = 8
_UNLIKELY: Final = 20
"""Log2 of one over the probability that random entries overfill any bucket."""
_RECORD_AT: Final = store.KEY_BYTES + labels.MASK_BYTES
_BATCH: Final = 1 << 14


def bucket_of(own: bytes, bits: int) -> int:
    """The first bits of SHA-256 of a hash, as a number."""
    return int.from_bytes(sha256(own).digest()[:4], "big") >> (32 - bits)


def rows_of(entries: int, bits: int) -> int:
    """Rows of every bucket, by Chernoff's bound on how many entries fall into one (Mitzenmacher and Upfal,
    Probability and Computing, theorem 4.4)."""
    mean = entries / (1 << bits)
    exponent = (_UNLIKELY + bits) * log(2)
    rows = ceil(mean) + 1
    while mean and rows * log(rows / mean) - (rows - mean) < exponent:
        rows += 1
    return rows


def row_bytes(signatures: int) -> int:
    return TAG_BYTES + labels.record_bytes(signatures)


def fill_buckets(entries: EntrySource, rows: Rows, bits: int, secret: bytes, epoch: int) -> Iterator[bytes]:
    """The 2^`bits` buckets, in the order of their numbers, of what the build of oprf-psi evaluated: `rows`,
    uint8 (n, w), of store key, mask, record. `DuplicateKeyError` if a hash is there twice, `DesignError` if a
    bucket has more entries than rows."""
    most = rows_of(len(rows), bits)
    width = TAG_BYTES + rows.shape[1] - _RECORD_AT
    store.order_of(rows[:, : store.KEY_BYTES])
    hashes = (own.tobytes() for batch in entries.batches(_BATCH) for own in batch.hashes)
    owners = np.array([bucket_of(own, bits) for own in hashes], np.int64)
    order = np.argsort(owners, kind="stable")
    bounds = np.searchsorted(owners[order], np.arange((1 << bits) + 1)).tolist()
    key = expand(FILL_TAG, epoch, [secret], 32).tobytes()
    for bucket in range(1 << bits):
        mine = rows[order[bounds[bucket] : bounds[bucket + 1]]]
        if len(mine) > most:
            raise DesignError(f"bucket {bucket} has {len(mine)} entries, more than {most}: choose other bits")
        held = np.concatenate([mine[:, :TAG_BYTES], mine[:, _RECORD_AT:]], axis=1)
        both = np.concatenate([held, _filler(key, bucket, most - len(mine), width)])
        yield both[np.argsort(_tags(both), kind="stable")].tobytes()


def _filler(key: bytes, bucket: int, count: int, width: int) -> Rows:
    nonce = bytes(4) + bucket.to_bytes(12, "big")
    stream = Cipher(algorithms.ChaCha20(key, nonce), None).encryptor()
    return np.frombuffer(stream.update(bytes(count * width)), np.uint8).reshape(count, width)


def _tags(rows: Rows) -> npt.NDArray[np.uint64]:
    return np.ascontiguousarray(rows[:, :TAG_BYTES]).view(">u8").ravel().astype(np.uint64)


def records_met(content: bytes, width: int, output: Rows, epoch: int) -> list[bytes]:
    """The records of a bucket under the tag of an OPRF output, uint8 (1, 64): one if its entry is there."""
    rows = np.frombuffer(content, np.uint8).reshape(-1, width)
    tag = _tags(labels.places(output, epoch).store_keys)
    return [rows[row, TAG_BYTES:].tobytes() for row in (_tags(rows) == tag).nonzero()[0]]


MOST_BUCKET_BYTES: Final = 950 << 10
"""A reply with it fits one call."""


class Fetch(Message, tag=0x48, name="prefix-bucket/fetch"):
    """Device to the role that has the buckets: which one."""

    epoch: Annotated[int, UInt(64)]
    """Of the set-up in use."""
    bucket: Annotated[int, UInt(32)]
    """Its number, below 2^`bits`."""


class Bucket(Message, tag=0x49, name="prefix-bucket/bucket"):
    """That bucket; all are of one length."""

    epoch: Annotated[int, UInt(64)]
    """Of the buckets."""
    content: Annotated[bytes, Variable(MOST_BUCKET_BYTES)]
    """The bucket's rows."""


BUCKETS_FILE: Final = "buckets.bin"
DIGESTS_KIND: Final = 0x107
"""Of the set: SHA-256 of every bucket, 32 each."""
BUCKETS_KIND: Final = 0x108
"""Of the buckets' file: all buckets, one after the other."""
DIGEST_BYTES: Final = 32
BITS: Final = bm.Parameter("bits", "Bits of a hash's SHA-256 that choose its bucket.", "bits", 10, 1, 16)


class Setup(VoprfSetup[FileLayer], frozen=True, eq=False):
    @property
    def bits(self) -> int:
        """Log2 of the number of buckets."""
        return self.parameters[BITS.name]

    @property
    def width(self) -> int:
        return row_bytes(self.parameters[SIGNATURES.name])

    def digest(self, bucket: int) -> bytes:
        """What SHA-256 of a bucket must be."""
        section = self.layers[0].file.section(DIGESTS_KIND)
        return bytes(section[bucket * DIGEST_BYTES : (bucket + 1) * DIGEST_BYTES])

    def checked(self, reply: bm.Message, bucket: int) -> bytes:
        """The bucket that was asked for, as the set-up says it is; `EpochMismatchError` if it is of another
        epoch, `ProtocolError` if it is no bucket, another one, or of another length."""
        if not isinstance(reply, Bucket):
            raise bm.ProtocolError(Bucket.NAME, f"the device does not take {reply!r}")
        bm.check_epoch(reply.epoch, self.epoch, Bucket.NAME)
        size = rows_of(self.entries, self.bits) * self.width
        right = compare_digest(sha256(reply.content).digest(), self.digest(bucket))
        if len(reply.content) != size or not right:
            raise bm.ProtocolError(Bucket.NAME, "must be the bucket that the set-up says", "content")
        return reply.content


class Digests(FileLayer, frozen=True, eq=False):
    """A full set, opened; there are no deltas."""

    once: ClassVar[tuple[int, ...]] = (DIGESTS_KIND,)

    def check(self) -> None:
        if len(self.file.section(DIGESTS_KIND)) != DIGEST_BYTES << self.file.identity.parameters[BITS.name]:
            raise bm.SetFileError(f"{self.name}: not a digest for every bucket")


class BucketHolder(Redacted, Struct, frozen=True, eq=False):
    """What hands out the buckets of one epoch."""

    SHOWN: ClassVar = ("epoch", "bits")

    epoch: int
    bits: int
    content: memoryview

    def bucket(self, number: int) -> bytes:
        size = len(self.content) >> self.bits
        return bytes(self.content[number * size : (number + 1) * size])

    def handed(self, body: bm.Message) -> Bucket:
        """The bucket asked for; `EpochMismatchError` if it is asked for another epoch, `ProtocolError` if
        there is none of that number, or no bucket is asked for."""
        if not isinstance(body, Fetch):
            raise bm.ProtocolError(Fetch.NAME, f"whoever has the buckets does not answer {body!r}")
        bm.check_epoch(body.epoch, self.epoch, Fetch.NAME)
        if body.bucket >> self.bits:
            raise bm.ProtocolError(Fetch.NAME, f"must be below {1 << self.bits}", "bucket")
        return Bucket(self.epoch, self.bucket(body.bucket))


def open_buckets(file: SetFile, setup: Setup | None) -> BucketHolder:
    """The buckets in a file; if the set-up is there, they must be its; `SetFileError` if they are not, or not
    whole."""
    bits, signatures = (file.identity.parameters[one.name] for one in (BITS, SIGNATURES))
    content = file.section(BUCKETS_KIND)
    if len(content) != (rows_of(file.entries, bits) * row_bytes(signatures)) << bits:
        raise bm.SetFileError(f"{BUCKETS_FILE}: does not hold {1 << bits} whole buckets")
    holder = BucketHolder(file.identity.epoch, bits, content)
    if setup is not None:
        same = (sha256(holder.bucket(at)).digest() == setup.digest(at) for at in range(1 << bits))
        if setup.parameters != file.identity.parameters or not all(same):
            raise bm.SetFileError(f"{BUCKETS_FILE}: made for another set than the one beside it")
    return holder


def write_buckets(key: SecretKey, identity: Identity, job: Job, file: SetFileWriter, rows: Rows) -> None:
    """The buckets into a file of their own, and their digests into the set."""
    bits = identity.parameters[BITS.name]
    digests = list[bytes]()
    size = rows_of(len(rows), bits) * row_bytes(identity.parameters[SIGNATURES.name])
    if size > MOST_BUCKET_BYTES:
        raise bm.DesignError(f"a bucket of {size} bytes, more than {MOST_BUCKET_BYTES}: choose more bits")

    def noted() -> Iterator[bytes]:
        for bucket in fill_buckets(job.entries, rows, bits, key.reveal(), identity.epoch):
            digests.append(sha256(bucket).digest())
            yield bucket
            job.progress(len(rows), len(rows))

    held = SetFileWriter(job.out.create(BUCKETS_FILE), identity)
    held.section(BUCKETS_KIND, noted(), 1 << bits)
    held.finish(len(rows))
    file.section(DIGESTS_KIND, digests, 1 << bits)
