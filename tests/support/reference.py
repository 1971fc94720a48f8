"""Steps of documents as they are written there, which the product takes in other forms or not at all."""

from __future__ import annotations

from hashlib import sha256, sha512

from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.crypto.dleq import Mode, context_string, prefixed
from blindmatch_protocol.crypto.oprf import SecretKey
from blindmatch_protocol.group import ORDER
from blindmatch_protocol.messages.content import AttachmentRef
from blindmatch_protocol.messages.parts import AttachmentSealing


def expand_message_xmd(message: bytes, tag: bytes, length: int) -> bytes:
    """RFC 9380, section 5.3.1, with SHA-512, for tags of at most 255 bytes."""
    suffix = tag + bytes([len(tag)])
    first = sha512(bytes(128) + message + length.to_bytes(2, "big") + b"\0" + suffix).digest()
    blocks = [sha512(first + b"\1" + suffix).digest()]
    for index in range(2, -(-length // 64) + 1):
        mixed = bytes(a ^ b for a, b in zip(first, blocks[-1], strict=True))
        blocks.append(sha512(mixed + bytes([index]) + suffix).digest())
    return b"".join(blocks)[:length]


def derived_key(seed: bytes, info: bytes, mode: Mode) -> SecretKey:
    """`DeriveKeyPair`; RFC 9497, section 3.2.1. That the first counter gives zero is not to be met."""
    transcript = seed + prefixed(info) + b"\0"
    tag = b"DeriveKeyPair" + context_string(mode)
    scalar = int.from_bytes(expand_message_xmd(transcript, tag, 64), "little") % ORDER
    return SecretKey(mode, scalar.to_bytes(32, "little"))


def seal_attachment(data: bytes, media_type: str, randomness: Randomness) -> tuple[bytes, AttachmentRef]:
    """The blob and the reference of an attachment in memory."""
    sealing = AttachmentSealing(randomness)
    blob = b"".join(sealing.blob([data]))
    return blob, sealing.ref(media_type)


def tree_split(count: int) -> int:
    """The largest power of two smaller than `count`."""
    return 1 << (count - 1).bit_length() - 1


def tree_root(entries: list[bytes]) -> bytes:
    """MTH of RFC 9162, section 2.1.1 (RFC 6962, section 2.1), word for word."""
    if not entries:
        return sha256(b"").digest()
    if len(entries) == 1:
        return sha256(b"\0" + entries[0]).digest()
    k = tree_split(len(entries))
    return sha256(b"\1" + tree_root(entries[:k]) + tree_root(entries[k:])).digest()


def tree_path(m: int, entries: list[bytes]) -> list[bytes]:
    """PATH of RFC 9162, section 2.1.3.1 (RFC 6962, section 2.1.1)."""
    if len(entries) == 1:
        return []
    k = tree_split(len(entries))
    if m < k:
        return [*tree_path(m, entries[:k]), tree_root(entries[k:])]
    return [*tree_path(m - k, entries[k:]), tree_root(entries[:k])]
