"""A section's digest: the root of a hash tree over its pages, so that a proof can open one page.

    section --> pages of 4,096 bytes --> leaf = SHA-256(0x00 || page)
                                         node = SHA-256(0x01 || left || right) ... --> root

The tree is that of RFC 9162, section 2.1.1. Every page but the last has 4,096 bytes; how many there are
follows from the section's length, which the table of the file says beside the root. A section without
bytes has no page, and the digest of the empty tree: SHA-256 of nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from hmac import compare_digest
from typing import TYPE_CHECKING, Final

from blindmatch_protocol.codec import Buffer
from blindmatch_protocol.errors import SetFileError

if TYPE_CHECKING:
    from hashlib import _Hash

PAGE_BYTES: Final = 4096
DIGEST_BYTES: Final = 32

_leaf: Callable[[], _Hash] = sha256(b"\0").copy
_node: Callable[[], _Hash] = sha256(b"\1").copy


def page_count(length: int) -> int:
    """Pages of a section of `length` bytes."""
    return -(-length // PAGE_BYTES)


def page_length(length: int, page: int) -> int:
    """Bytes of a page, counted from 0, of a section of `length` bytes."""
    return min(PAGE_BYTES, length - page * PAGE_BYTES)


def leaves_of(content: Buffer) -> list[bytes]:
    """The leaves of a section, one for each page."""
    whole = memoryview(content).cast("B")
    return [leaf_hash(whole[at : at + PAGE_BYTES]) for at in range(0, len(whole), PAGE_BYTES)]


def root_of(leaves: Sequence[bytes]) -> bytes:
    """The root over these leaves (RFC 9162, section 2.1.1)."""
    *_, (root,) = _levels(leaves)
    return root


def inclusion_proof(leaves: Sequence[bytes], page: int) -> tuple[bytes, ...]:
    """The proof that a page is the one of its number (RFC 9162, section 2.1.3.1), lowest node first.

    Raises:
        SetFileError: if there is no such page.
    """
    if not 0 <= page < len(leaves):
        raise SetFileError(f"no page {page} among {len(leaves)}")
    proof = []
    for level in _levels(leaves):
        if page ^ 1 < len(level):
            proof.append(level[page ^ 1])
        page //= 2
    return tuple(proof)


def is_page(content: Buffer, page: int, length: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether `content` is that page of the section with this length and root (RFC 9162, section 2.1.3.2).

    Args:
        content: bytes of the page.
        page: its number, from 0 on.
        length: the section's, from the table.
        proof: what `inclusion_proof` gave.
        root: the section's digest, from the table.
    """
    last = page_count(length) - 1
    if not 0 <= page <= last or len(content) != page_length(length, page):
        return False
    found = root_from(leaf_hash(content), page, last + 1, proof)
    return found is not None and compare_digest(found, root)


def root_from(leaf: bytes, index: int, size: int, proof: Sequence[bytes]) -> bytes | None:
    """The root that an inclusion proof leads to from leaf `index` of `size`; None if it has another length
    (RFC 9162, section 2.1.3.2)."""
    found, last = leaf, size - 1
    for node in proof:
        if last == 0 or len(node) != DIGEST_BYTES:
            return None
        if index & 1 or index == last:
            found = node_hash(node, found)
            while not index & 1 and index:
                index, last = index >> 1, last >> 1
        else:
            found = node_hash(found, node)
        index, last = index >> 1, last >> 1
    return found if last == 0 else None


class PageHash:
    """The digest of a section whose bytes come in parts of any length."""

    __slots__ = ("_leaves", "_rest")

    def __init__(self) -> None:
        self._leaves: list[bytes] = []
        self._rest = bytearray()

    def update(self, part: Buffer) -> None:
        """Append `part`."""
        fresh = memoryview(part).cast("B")
        if self._rest:
            missing = PAGE_BYTES - len(self._rest)
            self._rest += fresh[:missing]
            fresh = fresh[missing:]
            if len(self._rest) < PAGE_BYTES:
                return
            self._leaves.append(leaf_hash(self._rest))
        whole = len(fresh) - len(fresh) % PAGE_BYTES
        self._leaves += leaves_of(fresh[:whole])
        self._rest = bytearray(fresh[whole:])

    def digest(self) -> bytes:
        """The root over all parts."""
        return root_of([*self._leaves, *leaves_of(self._rest)])


def _levels(leaves: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """The tree's levels, leaves first and the root, alone in its level, last. A node without a right
    neighbour stands for itself one level up."""
    level = leaves or [sha256().digest()]
    yield level
    while len(level) > 1:
        pairs = [node_hash(level[at], level[at + 1]) for at in range(0, len(level) - 1, 2)]
        level = pairs + list(level[len(level) & ~1 :])
        yield level


def leaf_hash(content: Buffer) -> bytes:
    """A leaf (RFC 9162, section 2.1.1)."""
    state = _leaf()
    state.update(content)
    return state.digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """An inner node (RFC 9162, section 2.1.1)."""
    state = _node()
    state.update(left + right)
    return state.digest()
