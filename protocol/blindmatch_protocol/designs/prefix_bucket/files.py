"""The files of prefix-bucket: digests of the buckets for devices, the buckets for whoever hands them out."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from hmac import compare_digest
from typing import ClassVar, Final

from msgspec import Struct

from blindmatch_protocol import contract as bm
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.crypto.oprf import SecretKey
from blindmatch_protocol.designs.prefix_bucket.buckets import fill_buckets, row_bytes, rows_of
from blindmatch_protocol.designs.prefix_bucket.messages import MOST_BUCKET_BYTES, Bucket, Fetch
from blindmatch_protocol.designs.recipe import SIGNATURES
from blindmatch_protocol.designs.voprf import VoprfSetup
from blindmatch_protocol.designs.voprf.files import FileLayer
from blindmatch_protocol.setfile import Identity, SetFile, SetFileWriter

BUCKETS_FILE: Final = "buckets.bin"
DIGESTS_KIND: Final = 0x107
"""Of the set: SHA-256 of every bucket, 32 each."""
BUCKETS_KIND: Final = 0x108
"""Of the buckets' file: all buckets, one after the other."""
DIGEST_BYTES: Final = 32
BITS: Final = bm.Parameter("bits", "Bits of a hash's SHA-256 that choose its bucket.", "bits", 10, 1, 16)


class Setup(VoprfSetup[FileLayer], frozen=True, eq=False):
    """The set-up of one epoch, opened."""

    @property
    def bits(self) -> int:
        """Log2 of the number of buckets."""
        return self.parameters[BITS.name]

    @property
    def width(self) -> int:
        """Length of a bucket's row."""
        return row_bytes(self.parameters[SIGNATURES.name])

    def digest(self, bucket: int) -> bytes:
        """What SHA-256 of a bucket must be."""
        section = self.layers[0].file.section(DIGESTS_KIND)
        return bytes(section[bucket * DIGEST_BYTES : (bucket + 1) * DIGEST_BYTES])

    def checked(self, reply: bm.Message, bucket: int) -> bytes:
        """The bucket that was asked for, as the set-up says it is.

        Raises:
            EpochMismatchError: if it is of another epoch.
            ProtocolError: if it is no bucket, another one, or of another length.
        """
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
    """What hands out the buckets of one epoch.

    Attributes:
        epoch: number of the epoch.
        bits: log2 of the number of buckets.
        content: all buckets.
    """

    SHOWN: ClassVar = ("epoch", "bits")

    epoch: int
    bits: int
    content: memoryview

    def bucket(self, number: int) -> bytes:
        """One of them."""
        size = len(self.content) >> self.bits
        return bytes(self.content[number * size : (number + 1) * size])

    def handed(self, body: bm.Message) -> Bucket:
        """The bucket asked for.

        Raises:
            EpochMismatchError: if it is asked for another epoch.
            ProtocolError: if there is none of that number, or no bucket is asked for.
        """
        if not isinstance(body, Fetch):
            raise bm.ProtocolError(Fetch.NAME, f"whoever has the buckets does not answer {body!r}")
        bm.check_epoch(body.epoch, self.epoch, Fetch.NAME)
        if body.bucket >> self.bits:
            raise bm.ProtocolError(Fetch.NAME, f"must be below {1 << self.bits}", "bucket")
        return Bucket(self.epoch, self.bucket(body.bucket))


def open_buckets(file: SetFile, setup: Setup | None) -> BucketHolder:
    """The buckets in a file; if the set-up is there, they must be its.

    Raises:
        SetFileError: if they are not, or not whole.
    """
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


def write_buckets(
    key: SecretKey,
    identity: Identity,
    file: SetFileWriter,
    entries: bm.EntrySource,
    rows: bm.Rows,
    out: bm.Workspace,
    executor: bm.Executor | None,
    progress: bm.Progress,
) -> None:
    """The buckets into a file of their own, and their digests into the set."""
    bits, digests = identity.parameters[BITS.name], list[bytes]()
    size = rows_of(len(rows), bits) * row_bytes(identity.parameters[SIGNATURES.name])
    if size > MOST_BUCKET_BYTES:
        raise bm.DesignError(f"a bucket of {size} bytes, more than {MOST_BUCKET_BYTES}: choose more bits")

    def noted() -> Iterator[bytes]:
        for bucket in fill_buckets(entries, rows, bits, key.reveal(), identity.epoch):
            digests.append(sha256(bucket).digest())
            yield bucket
            progress(len(rows), len(rows))

    held = SetFileWriter(out.create(BUCKETS_FILE), identity)
    held.section(BUCKETS_KIND, noted(), 1 << bits)
    held.finish(len(rows))
    file.section(DIGESTS_KIND, digests, 1 << bits)
