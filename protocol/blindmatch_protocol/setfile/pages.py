"""A section's digest: the root of a hash tree over its pages, so that a proof can open one page.

    section --> pages of 4,096 bytes --> leaf = SHA-256(0x00 || page)
                                         node = SHA-256(0x01 || left || right) ... --> root

The tree is that of RFC 9162, section 2.1.1. Every page but the last has 4,096 bytes; how many there are
follows from the section's length, which the table of the file says beside the root. A section without
bytes has no page, and the digest of the empty tree: SHA-256 of nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from blindmatch_protocol.codec import Buffer

if TYPE_CHECKING:
    from hashlib import _Hash

PAGE_BYTES: Final = 4096

_leaf: Callable[[], _Hash] = sha256(b"\0").copy
_node: Callable[[], _Hash] = sha256(b"\1").copy


def leaves_of(content: Buffer) -> list[bytes]:
    """The leaves of a section, one for each page."""
    whole = memoryview(content).cast("B")
    return [leaf_hash(whole[at : at + PAGE_BYTES]) for at in range(0, len(whole), PAGE_BYTES)]


def root_of(leaves: Sequence[bytes]) -> bytes:
    """The root over these leaves (RFC 9162, section 2.1.1); a node without a neighbour goes up as it is."""
    level = [*leaves] or [sha256().digest()]
    while len(level) > 1:
        pairs = zip(level[::2], level[1::2], strict=False)
        level = [*(node_hash(*pair) for pair in pairs), *level[len(level) & ~1 :]]
    return level[0]


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
