"""The buckets of a set: by the first bits of SHA-256 of an entry's hash, padded to one length.

    bucket   rows in the order of their bytes, as many in each: tag 8 | record
    tag      first bytes of an entry's store key; record: its sealed label (`labels`)

Rows that no entry needs are pseudorandom under a key that devices lack, so that a bucket does not show how
many entries it has. How many rows there are follows from the numbers of entries and buckets.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from math import ceil, log
from typing import Final

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms

from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.errors import DesignError
from blindmatch_protocol.contract import EntrySource, Label
from blindmatch_protocol.group.tagged import expand
from blindmatch_protocol.sets import labels, store

FILL_TAG: Final = b"blindmatch/prefix-bucket/fill/v1"
TAG_BYTES: Final = 8
_UNLIKELY: Final = 20
"""Log2 of one over the probability that random entries overfill any bucket."""
_RECORD_AT: Final = store.KEY_BYTES + labels.MASK_BYTES
_BATCH: Final = 1 << 14

Numbers = npt.NDArray[np.int64]


def bucket_of(own: bytes, bits: int) -> int:
    """The first bits of SHA-256 of a hash, as a number."""
    return int.from_bytes(sha256(own).digest()[:4], "big") >> (32 - bits)


def rows_of(entries: int, bits: int) -> int:
    """Rows of every bucket, by Chernoff's bound on how many entries fall into one (Mitzenmacher and Upfal,
    Probability and Computing, theorem 4.4)."""
    mean, exponent = entries / (1 << bits), (_UNLIKELY + bits) * log(2)
    rows = ceil(mean) + 1
    while mean and rows * log(rows / mean) - (rows - mean) < exponent:
        rows += 1
    return rows


def row_bytes(signatures: int) -> int:
    """Length of a row."""
    return TAG_BYTES + labels.record_bytes(signatures)


def fill_buckets(entries: EntrySource, rows: Rows, bits: int, secret: bytes, epoch: int) -> Iterator[bytes]:
    """The buckets, in the order of their numbers.

    Args:
        rows: what the build of oprf-psi evaluated for it, uint8 (n, w): store key, mask, record.
        bits: log2 of the number of buckets.

    Raises:
        DuplicateKeyError: if a hash is there twice.
        DesignError: if a bucket has more entries than rows.
    """
    most, width = rows_of(len(rows), bits), TAG_BYTES + rows.shape[1] - _RECORD_AT
    store.order_of(rows[:, : store.KEY_BYTES])
    owners = np.concatenate([np.zeros(0, np.int64), *_owners(entries, bits)])
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


def _owners(entries: EntrySource, bits: int) -> Iterator[Numbers]:
    for batch in entries.batches(_BATCH):
        yield np.array([bucket_of(own.tobytes(), bits) for own in batch.hashes], np.int64)


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


def find(content: bytes, width: int, output: Rows, own_hash: bytes, epoch: int) -> Label | None:
    """The label of `own_hash` in its bucket, if it is there."""
    key = labels.label_keys(output, epoch).tobytes()
    opened = (labels.unseal(key, record, epoch) for record in records_met(content, width, output, epoch))
    return next((label for label in opened if label is not None and label.entry_hash == own_hash), None)
