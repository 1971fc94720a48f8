"""Private retrieval of one record from two parties that hold copies: XOR PIR (Chor, Goldreich, Kushilevitz
and Sudan 1995), with selections compressed by a distributed point function.

    device    selection a, selection b: a XOR b has one bit set, that of the wanted record
    party     XOR of the records that its selection has set
    device    XOR of both answers = the record

A selection alone is uniform. Instead of 2^s bits the device sends a key from which a party expands them: the
distributed point function of Boyle, Gilboa and Ishai 2016 ("Function Secret Sharing: Improvements and
Extensions", figure 1), two parties, one output bit, the tree cut off at blocks of 128 bits (section 3.2.3). A
key's selection then looks uniform to one party alone under the assumption on the generator below; two
together read the index. Keys are of one length, whatever the index.

    key = seed, 16 | for each level: correction, 16; its two bits, 1 | correction of blocks, 16

The generator is AES-128 under fixed keys in the mode of Matyas, Meyer and Oseas, E_k(x) XOR x, once for each
child and once for a block (Guo, Katz, Wang and Yu 2020, "Efficient and Secure Multiparty Computation from
Fixed-Key Block Ciphers": secure in the ideal-cipher model).
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from msgspec import Struct

from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.codec.redacted import Redacted

BLOCK_BYTES: Final = 16
BLOCK_BITS: Final = 7
"""Of an index: which bit of a block."""
LEVEL_BYTES: Final = BLOCK_BYTES + 1
GENERATOR_TAG: Final = b"blindmatch/slot-psi/generator/v1"
STEP: Final = "slot-psi/retrieval"

Blocks: TypeAlias = npt.NDArray[np.uint8]
"""Of 16 bytes each, uint8 (..., 16)."""
Words: TypeAlias = npt.NDArray[np.uint64]

_LEFT, _RIGHT, _BLOCK = (sha256(GENERATOR_TAG + bytes([n])).digest()[:BLOCK_BYTES] for n in range(3))
"""Public keys of the fixed ciphers."""
GROUP_ROWS: Final = 8
"""Records whose XORs a batch's answers have in common: one for each byte of selections."""
LEAST_SHARED: Final = 32
"""Selections from which on a table of XORs of eight records costs less than it saves."""
BLOCK_ROWS: Final = 128
"""Records that a single answer copies at once, so that the copy stays in a core's cache."""
WORD_BYTES: Final = 8


class SelectionKeys(Redacted, Struct, frozen=True, eq=False):
    """The two keys of one index; each is for one party alone."""

    first: bytes
    second: bytes


def levels(slot_bits: int) -> int:
    """Levels of the tree above the blocks."""
    return max(0, slot_bits - BLOCK_BITS)


def key_bytes(slot_bits: int) -> int:
    """Length of a key of 2^`slot_bits` records."""
    return 2 * BLOCK_BYTES + levels(slot_bits) * LEVEL_BYTES


def selection_keys(index: int, slot_bits: int, rng: Randomness) -> SelectionKeys:
    """Keys that select record `index` of 2^`slot_bits`. Takes 32 bytes of `rng`."""
    roots = np.frombuffer(rng.take(2 * BLOCK_BYTES), np.uint8).reshape(2, BLOCK_BYTES)
    seeds = roots
    bits = np.array([0, 1], np.uint8)
    corrections = []
    depth = levels(slot_bits)
    for level in range(depth):
        goes_right = index >> (slot_bits - 1 - level) & 1
        children, child_bits = _children(seeds)
        # the child off the path must come out equal at both parties, seed and bit; the one on it unequal
        seed_correction = children[0, 1 - goes_right] ^ children[1, 1 - goes_right]
        bit_correction = child_bits[0] ^ child_bits[1]
        bit_correction[goes_right] ^= 1
        corrections.append(seed_correction.tobytes() + bytes([bit_correction[0] << 1 | bit_correction[1]]))
        seeds = children[:, goes_right] ^ bits[:, None] * seed_correction
        bits = child_bits[:, goes_right] ^ bits * bit_correction[goes_right]
    blocks = _encrypted(_BLOCK, seeds)
    wanted = np.zeros(8 * BLOCK_BYTES, np.uint8)
    wanted[index & ((1 << min(slot_bits, BLOCK_BITS)) - 1)] = 1
    last = blocks[0] ^ blocks[1] ^ np.packbits(wanted)
    shared = b"".join(corrections) + last.tobytes()
    return SelectionKeys(roots[0].tobytes() + shared, roots[1].tobytes() + shared)


def selections(keys: Sequence[bytes], party: int, slot_bits: int) -> npt.NDArray[np.uint8]:
    """Return what a party's keys select: bits packed, the first record's the highest, uint8 (n, 2^slot_bits /
    8 rounded up).

    Args:
        keys: of `key_bytes` each (`check_key`).
        party: 0 or 1, which of the two keys of an index the party gets.
        slot_bits: records are 2 to this power.
    """
    rows = np.frombuffer(b"".join(keys), np.uint8).reshape(len(keys), key_bytes(slot_bits))
    seeds: Blocks = rows[:, None, :BLOCK_BYTES]
    bits = np.full((len(rows), 1), party, np.uint8)
    for level in range(levels(slot_bits)):
        start = BLOCK_BYTES + level * LEVEL_BYTES
        correction = rows[:, None, None, start : start + BLOCK_BYTES]
        two = rows[:, start + BLOCK_BYTES]
        bit_correction = np.stack([two >> 1 & 1, two & 1], axis=1)[:, None]
        children, child_bits = _children(seeds)
        children ^= correction * bits[:, :, None, None]
        child_bits ^= bit_correction * bits[:, :, None]
        seeds = children.reshape(len(rows), -1, BLOCK_BYTES)
        bits = child_bits.reshape(len(rows), -1)
    blocks = _encrypted(_BLOCK, seeds) ^ rows[:, None, -BLOCK_BYTES:] * bits[:, :, None]
    found = blocks.reshape(len(rows), -1)
    if slot_bits >= BLOCK_BITS:
        return found
    kept = np.unpackbits(found, axis=1)[:, : 1 << slot_bits]
    return np.packbits(kept, axis=1)


def check_key(key: bytes, slot_bits: int) -> None:
    """Make sure that a party can expand a key; `ProtocolError` if it has another length, or bits that no key
    has."""
    expected = key_bytes(slot_bits)
    if len(key) != expected:
        raise ProtocolError(STEP, f"must be {expected} bytes, not {len(key)}", "key")
    two = key[BLOCK_BYTES + BLOCK_BYTES : expected - BLOCK_BYTES : LEVEL_BYTES]
    if any(byte > 3 for byte in two):
        raise ProtocolError(STEP, "the bits of a level must be below 4", "key")


def _children(seeds: Blocks) -> tuple[Blocks, npt.NDArray[np.uint8]]:
    """Both children of each node, (..., 2, 16), and their bits, (..., 2): the lowest of their last byte,
    which is then cleared."""
    children = np.stack([_encrypted(_LEFT, seeds), _encrypted(_RIGHT, seeds)], axis=-2)
    bits = children[..., -1] & np.uint8(1)
    children[..., -1] &= np.uint8(0xFE)
    return children, bits


def _encrypted(key: bytes, blocks: Blocks) -> Blocks:
    """E_k(x) XOR x of every block."""
    # one call of the raw cipher for all blocks; it seals nothing
    cipher = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305
    sealed = np.frombuffer(cipher.update(np.ascontiguousarray(blocks).tobytes()), np.uint8)
    return sealed.reshape(blocks.shape) ^ blocks


def words_of(records: Rows) -> Words:
    """Records, uint8 (n, w), as words of 64 bits, zeros behind each: (n, w / 8 rounded up); no copy if w is
    a multiple of eight."""
    count, width = records.shape
    if width % WORD_BYTES:
        padded = np.zeros((count, width + -width % WORD_BYTES), np.uint8)
        padded[:, :width] = records
        records = padded
    return np.ascontiguousarray(records).view(np.uint64)


def answers(records: Words, chosen: npt.NDArray[np.uint8]) -> Rows:
    """Return the XOR of the records that each of several selections has set.

    Args:
        records: of `words_of`, (n, words).
        chosen: packed bits as of `selections`, uint8 (m, n / 8 rounded up).

    Returns:
        Bytes, with the zeros behind, uint8 (m, 8 * words).
    """
    if len(chosen) < LEAST_SHARED or len(records) % GROUP_ROWS:
        bits = np.unpackbits(chosen, axis=1, count=len(records)).astype(np.bool_)
        found = np.stack([_sum(records, own) for own in bits])
    else:
        found = _shared_answers(records, np.ascontiguousarray(chosen.T))
    return found.view(np.uint8)


def _sum(records: Words, chosen: npt.NDArray[np.bool_]) -> Words:
    """Return the XOR of the records that `chosen` has set, (words,), a block after the other: a copy of all
    chosen ones would be half of the list, and took twenty times as long."""
    found = np.zeros(records.shape[1], np.uint64)
    for start in range(0, len(records), BLOCK_ROWS):
        stop = start + BLOCK_ROWS
        found ^= np.bitwise_xor.reduce(records[start:stop][chosen[start:stop]], axis=0)
    return found


def _shared_answers(records: Words, groups: npt.NDArray[np.uint8]) -> Words:
    """Return the same by the method of the four Russians: of eight records all 256 XORs are made once, and
    each selection takes one of them. `groups` are the bytes of selections, (n / 8, m)."""
    width = records.shape[1]
    table = np.zeros((1 << GROUP_ROWS, width), np.uint64)
    taken = np.empty((groups.shape[1], width), np.uint64)
    found = np.zeros((groups.shape[1], width), np.uint64)
    for number, chosen in enumerate(groups):
        eight = records[number * GROUP_ROWS : (number + 1) * GROUP_ROWS]
        for place in range(GROUP_ROWS):
            half = 1 << place
            # the first record of a group is the highest bit of its byte
            np.bitwise_xor(table[:half], eight[GROUP_ROWS - 1 - place], out=table[half : 2 * half])
        np.take(table, chosen, axis=0, out=taken, mode="clip")
        np.bitwise_xor(found, taken, out=found)
    return found
