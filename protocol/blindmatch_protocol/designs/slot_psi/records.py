"""Records: what a slot holds, and how a device checks and opens one.

    record of a slot   position 0 | position 1 | ... | path in the hash tree
    a position         a wrap for each pair of bands, 12 bytes each | labels, sealed
    a wrap             secret XOR pad(second output of slot, both bands and both tokens)
    labels             own and those of relatives, under a key of the secret and the place

A secret of 12 bytes opens an entry's labels. Each pair of bands wraps it on its own. Shares of one polynomial
would be shorter, but three of them show offline whether guessed tokens lie on one line, without a second
question. Wraps of pairs with a lost token, and whole positions that no entry lies in, are pseudorandom, which
is what the others look like to whoever lacks the second key's outputs.

Every record hangs on a hash tree over the slots (as in RFC 9162, section 2.1.1, with the epoch and the slot
in a leaf). The set-up holds the nodes four levels above the leaves, and a record the hashes of the way up to
them. Answers of two parties that give another record fail this check, whichever slot was asked for. So the
device makes the check always, also where it asked about nothing.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import Final

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.contract.publishing import EntryBatch
from blindmatch_protocol.contract.steps import OPEN_END, Label
from blindmatch_protocol.designs.slot_psi.parameters import (
    DIGEST_BYTES,
    UNSIGNED_BYTES,
    WRAP_BYTES,
    Slotting,
)
from blindmatch_protocol.designs.slot_psi.plan import Plan
from blindmatch_protocol.designs.slot_psi.table import Slots
from blindmatch_protocol.designs.token_psi.tokens import Tokens
from blindmatch_protocol.group import rowwise
from blindmatch_protocol.group.rows import expand

TOKEN_TAG: Final = b"blindmatch/slot-psi/token/v1"
"""Goes before band and token in an input of the first key."""
PAIR_TAG: Final = b"blindmatch/slot-psi/pair/v1"
"""Goes before slot, bands and tokens in an input of the second key."""
WRAP_TAG: Final = b"blindmatch/slot-psi/wrap/v1"
SECRET_TAG: Final = b"blindmatch/slot-psi/secret/v1"
LABEL_TAG: Final = b"blindmatch/slot-psi/label-key/v1"
FILL_TAG: Final = b"blindmatch/slot-psi/record-fill/v1"
LEAF_TAG: Final = b"blindmatch/slot-psi/leaf/v1"
NODE_TAG: Final = b"blindmatch/slot-psi/node/v1"
STEP: Final = "slot-psi/record"

TREE_SLOTS: Final = 1 << 10
"""Slots filled and hashed at once, so that no second copy of all records is made; a multiple of the leaves
below a node that the set-up holds."""

_UNSIGNED: Final = struct.Struct(">32sQ16s")
_NONCE: Final = bytes(12)


def first_inputs(bands: Slots, tokens: Tokens) -> Rows:
    """Inputs of the first key, uint8 (n, w), of tokens and the numbers of their bands, (n,) each."""
    return rowwise.joined(len(tokens), TOKEN_TAG, bands.astype(np.uint8)[:, None], _eight(tokens))


def second_inputs(slots: Slots, pair: tuple[int, int], one: Tokens, other: Tokens) -> Rows:
    """Inputs of the second key, uint8 (n, w), of slots and of tokens in a pair of bands i < j, (n,) each."""
    places = slots.astype(">u4").view(np.uint8).reshape(-1, 4)
    return rowwise.joined(len(slots), PAIR_TAG, places, bytes(pair), _eight(one), _eight(other))


def _eight(tokens: Tokens) -> Rows:
    return np.ascontiguousarray(tokens).astype(">u8").view(np.uint8).reshape(-1, 8)


def pads(outputs: Rows, epoch: int, positions: Rows) -> Rows:
    """Return the pads of wraps, uint8 (n, 12), from second outputs, uint8 (n, 64), and positions within a
    record, big-endian, uint8 (n, 4)."""
    return rowwise.expand(WRAP_TAG, epoch, rowwise.joined(len(outputs), outputs, positions), WRAP_BYTES)


def secrets(seed: bytes, epoch: int, hashes: Rows) -> Rows:
    """Return the secrets of entries, uint8 (n, 12), which follow from what only the builder has."""
    return rowwise.expand(SECRET_TAG, epoch, rowwise.joined(len(hashes), seed, hashes), WRAP_BYTES)


def label_keys(own: Rows, epoch: int, places: Rows) -> Rows:
    """Keys of labels, uint8 (n, 32), from secrets and places, big-endian, uint8 (n, 8)."""
    return rowwise.expand(LABEL_TAG, epoch, rowwise.joined(len(own), own, places), rowwise.KEY_BYTES)


def fill(secret: bytes, epoch: int, content: Rows) -> None:
    """Write pseudorandom bytes under a secret into rows, uint8 (n, w): what positions hold before entries are
    put there."""
    key = expand(FILL_TAG, epoch, [secret], 32).tobytes()
    stream = Cipher(algorithms.ChaCha20(key, bytes(16)), None).encryptor()
    for start in range(0, len(content), TREE_SLOTS):
        some = content[start : start + TREE_SLOTS]
        some[:] = np.frombuffer(stream.update(bytes(some.size)), np.uint8).reshape(some.shape)


def plain_labels(slotting: Slotting, entries: EntryBatch, plan: Plan) -> Rows:
    """Labels of entries and their relatives before they are sealed, uint8 (n, labels * label_bytes), with
    zeros for signatures, since nobody makes any."""
    numbers = entries.ids.astype(">u8").view(np.uint8).reshape(-1, 8)
    unsigned = bytes(slotting.label_bytes - UNSIGNED_BYTES)
    own = rowwise.joined(len(entries), entries.hashes, numbers, entries.salts, unsigned)
    # the row behind the last entry's is what NOBODY names: zeros, which are no label
    padded = np.concatenate([own, np.zeros((1, slotting.label_bytes), np.uint8)])
    return np.concatenate([own, *(padded[column] for column in plan.relatives.T)], axis=1)


def open_position(
    slotting: Slotting, epoch: int, place: int, position: Rows, pair: int, pad: Rows
) -> Iterator[Label]:
    """Return the labels at a place that the wrap of a pair of bands opens; none if it does not.

    Args:
        slotting: of the list.
        epoch: of the table.
        place: slot and position, as in `plan.places`.
        position: uint8 (1, entry_bytes).
        pair: number of the pair in `Slotting.pairs`.
        pad: of the second output, uint8 (1, 12).
    """
    wrap = position[:, pair * WRAP_BYTES : (pair + 1) * WRAP_BYTES]
    number = np.frombuffer(place.to_bytes(8, "big"), np.uint8)[None]
    key = label_keys(wrap ^ pad, epoch, number).tobytes()
    try:
        plain = ChaCha20Poly1305(key).decrypt(_NONCE, position[0, slotting.wraps_bytes :].tobytes(), None)
    except InvalidTag:
        return
    for start in range(0, len(plain), slotting.label_bytes):
        entry_hash, entry_id, salt = _UNSIGNED.unpack_from(plain, start)
        signatures = plain[start + UNSIGNED_BYTES : start + slotting.label_bytes]
        label = Label(entry_hash, entry_id, salt, epoch, OPEN_END, signatures)
        if not label.is_reserved:
            yield label


def leaf(epoch: int, slot: int, content: bytes) -> bytes:
    """Return the leaf of a slot: its record without the path."""
    return sha256(LEAF_TAG + epoch.to_bytes(8, "big") + slot.to_bytes(4, "big") + content).digest()


def node(left: bytes, right: bytes) -> bytes:
    return sha256(NODE_TAG + left + right).digest()


def leaves(epoch: int, first: int, contents: Rows) -> Rows:
    """Return `leaf` of slots that follow one another, uint8 (n, 32), from the first one's number and their
    records without paths, uint8 (n, w)."""
    numbers = np.arange(first, first + len(contents)).astype(">u4").view(np.uint8).reshape(-1, 4)
    front = LEAF_TAG + epoch.to_bytes(8, "big")
    return _digests(rowwise.joined(len(contents), front, numbers, contents))


def tree(lowest: Rows, levels: int) -> list[Rows]:
    """Return the levels of a hash tree, uint8 (n, 32) each: the leaves, and so many above them; the leaves
    are a multiple of 2^levels."""
    found = [lowest]
    for _ in range(levels):
        both = found[-1].reshape(-1, 2 * DIGEST_BYTES)
        found.append(_digests(rowwise.joined(len(both), NODE_TAG, both)))
    return found


def paths(levels: Sequence[Rows]) -> Rows:
    """Return for each leaf the hashes beside the way from it up to below the last level, uint8 (n, 32 *
    (levels - 1))."""
    slots = np.arange(len(levels[0]))
    found = np.empty((len(slots), len(levels) - 1, DIGEST_BYTES), np.uint8)
    for height, level in enumerate(levels[:-1]):
        found[:, height] = level[(slots >> height) ^ 1]
    return found.reshape(len(slots), -1)


def _digests(rows: Rows) -> Rows:
    """SHA-256 (FIPS 180-4) of every row, uint8 (n, w) to (n, 32)."""
    content = rows.data.cast("B")
    width = rows.shape[1]
    found = b"".join(
        sha256(content[start : start + width]).digest() for start in range(0, len(content), width)
    )
    return np.frombuffer(found, np.uint8).reshape(-1, DIGEST_BYTES)


def check_record(slotting: Slotting, epoch: int, slot: int, record: bytes, tops: Rows) -> None:
    """Make sure that a record is the one of a slot.

    Args:
        slotting: of the list.
        epoch: of the table.
        slot: that was asked for.
        record: what the answers give.
        tops: nodes that the set-up holds, uint8 (n, 32).

    Raises:
        ProtocolError: it is another; the text is the same whatever is wrong with it.
    """
    levels = slotting.path_levels
    split = len(record) - levels * DIGEST_BYTES
    found = leaf(epoch, slot, record[:split])
    for height in range(levels):
        start = split + height * DIGEST_BYTES
        beside = record[start : start + DIGEST_BYTES]
        found = node(beside, found) if slot >> height & 1 else node(found, beside)
    if found != tops[slot >> levels].tobytes():
        raise ProtocolError(STEP, "is not a record of the list in force", "answer")


def hang_on(slotting: Slotting, epoch: int, held: Rows, tops: Rows) -> bool:
    """Return whether the records of all slots, with their paths, uint8 (2^s, record_bytes), are those of a
    tree with these nodes, uint8 (n, 32).

    A wrong node would make devices fail that fetch a record below it, and no other: which pictures these are
    whoever made the node could choose.
    """
    levels = slotting.path_levels
    split = held.shape[1] - levels * DIGEST_BYTES
    for first in range(0, slotting.slots, TREE_SLOTS):
        own = held[first : first + TREE_SLOTS]
        made = tree(leaves(epoch, first, own[:, :split]), levels)
        if not np.array_equal(made[-1], tops[first >> levels : (first + len(own)) >> levels]):
            return False
        if not np.array_equal(paths(made), own[:, split:]):
            return False
    return True
