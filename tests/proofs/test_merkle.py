"""Trees of 0 to 70 leaves against the definitions of RFC 6962, and against every small alteration."""

from __future__ import annotations

from hashlib import sha256

import pytest
from blindmatch_proofs.merkle import (
    EMPTY_ROOT,
    Tree,
    compute_root,
    count_in_tile,
    decode_entries,
    encode_entries,
    format_tile_path,
    leaf_hash,
    open_tiles,
    prove_consistency,
    prove_inclusion,
    verify_consistency,
    verify_inclusion,
)
from blindmatch_proofs.verdict import Passed, Verdict
from blindmatch_protocol.codec.errors import ProtocolError
from support.reference import tree_path, tree_root, tree_split

MOST = 70
ENTRIES = [str(n).encode() for n in range(MOST)]
TREE = Tree.from_leaves([leaf_hash(entry) for entry in ENTRIES])
SIZES = range(MOST + 1)


def naive_consistency(m: int, entries: list[bytes], whole: bool = True) -> list[bytes]:
    """RFC 6962, section 2.1.2."""
    n = len(entries)
    if m == n:
        return [] if whole else [tree_root(entries)]
    k = tree_split(n)
    if m <= k:
        return [*naive_consistency(m, entries[:k], whole), tree_root(entries[k:])]
    return [*naive_consistency(m - k, entries[k:], False), tree_root(entries[:k])]


ROOTS = [tree_root(ENTRIES[:size]) for size in SIZES]


def passes(verdict: Verdict) -> bool:
    return verdict == Passed()


def test_roots_are_those_of_the_definition() -> None:
    assert [compute_root(TREE.node, size) for size in SIZES] == ROOTS
    assert ROOTS[0] == EMPTY_ROOT


def test_every_inclusion_proof_is_that_of_the_definition_and_verifies() -> None:
    for size in SIZES:
        for index in range(size):
            path = prove_inclusion(TREE.node, index, size)
            assert list(path) == tree_path(index, ENTRIES[:size])
            assert passes(verify_inclusion(TREE.node(0, index), index, size, path, ROOTS[size]))


def test_every_consistency_proof_is_that_of_the_definition_and_verifies() -> None:
    for second in SIZES:
        for first in range(second + 1):
            path = prove_consistency(TREE.node, first, second)
            assert list(path) == (naive_consistency(first, ENTRIES[:second]) if first else [])
            assert passes(verify_consistency(first, second, path, ROOTS[first], ROOTS[second]))


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 9, 33, 70])
def test_no_altered_inclusion_proof_verifies(size: int) -> None:
    for index in range(size):
        leaf = TREE.node(0, index)
        path = prove_inclusion(TREE.node, index, size)
        root = ROOTS[size]
        other = bytes([leaf[0] ^ 1]) + leaf[1:]
        assert not passes(verify_inclusion(other, index, size, path, root))
        assert not passes(verify_inclusion(leaf, index, size, (*path, other), root))
        assert not passes(verify_inclusion(leaf, index, size, path, ROOTS[size - 1]))
        wrong = [n for n in range(-1, size + 2) if n != index]
        assert not any(passes(verify_inclusion(leaf, n, size, path, root)) for n in wrong)
        for at, step in enumerate(path):
            altered = (*path[:at], bytes([step[0] ^ 1]) + step[1:], *path[at + 1 :])
            assert not passes(verify_inclusion(leaf, index, size, altered, root))
            assert not passes(verify_inclusion(leaf, index, size, (*path[:at], *path[at + 1 :]), root))


@pytest.mark.parametrize("second", [1, 2, 3, 7, 8, 9, 33, 70])
def test_no_altered_consistency_proof_verifies(second: int) -> None:
    for first in range(second + 1):
        path = prove_consistency(TREE.node, first, second)
        old = ROOTS[first]
        new = ROOTS[second]
        junk = sha256(b"junk").digest()
        assert not passes(verify_consistency(first, second, (*path, junk), old, new))
        assert not passes(verify_consistency(first, second, path, junk, new))
        assert first == 0 or not passes(verify_consistency(first, second, path, old, junk))
        assert first in (0, second) or not passes(verify_consistency(second, first, path, old, new))
        assert first in (0, second) or not passes(verify_consistency(first, 9 * second, path, old, new))
        for at in range(len(path)):
            altered = (*path[:at], junk, *path[at + 1 :])
            assert not passes(verify_consistency(first, second, altered, old, new))
            assert not passes(verify_consistency(first, second, (*path[:at], *path[at + 1 :]), old, new))


def test_an_empty_tree_has_one_root_and_every_tree_continues_it() -> None:
    junk = sha256(b"junk").digest()
    assert passes(verify_consistency(0, 0, (), EMPTY_ROOT, EMPTY_ROOT))
    for size, path, old, new in (
        (0, (), EMPTY_ROOT, junk),
        (0, (), junk, junk),
        (0, (junk,), EMPTY_ROOT, EMPTY_ROOT),
        (3, (), junk, ROOTS[3]),
        (3, (junk,), EMPTY_ROOT, ROOTS[3]),
    ):
        assert not passes(verify_consistency(0, size, path, old, new))


@pytest.mark.parametrize("size", [1, 255, 256, 257, 1000, 70_000])
def test_a_tree_is_read_through_tiles_a_few_for_each_proof(size: int) -> None:
    tree = Tree.from_leaves([leaf_hash(str(n).encode()) for n in range(size)])
    read = list[tuple[int, int, int]]()

    def tile(level: int, index: int, width: int) -> bytes:
        read.append((level, index, width))
        assert width == count_in_tile(level, index, size)
        return b"".join(tree.node(8 * level, index * 256 + at) for at in range(width))

    nodes = open_tiles(tile, size)
    assert compute_root(nodes, size) == compute_root(tree.node, size)
    for index in {0, size // 3, size - 1}:
        read.clear()
        fresh = open_tiles(tile, size)
        assert prove_inclusion(fresh, index, size) == prove_inclusion(tree.node, index, size)
        assert len(read) <= 2 * (size.bit_length() // 8 + 1)
        assert prove_consistency(fresh, index + 1, size) == prove_consistency(tree.node, index + 1, size)


def test_tiles_lie_where_the_document_says() -> None:
    """tlog-tiles, "Merkle Tree" and "Partial Tiles"; the examples of the document."""
    assert format_tile_path(0, 1234067) == "tile/0/x001/x234/067"
    assert format_tile_path(0, 1000) == "tile/0/x001/000"
    assert format_tile_path(2, 0, 1) == "tile/2/000.p/1"
    assert format_tile_path(-1, 273, 112) == "tile/entries/273.p/112"
    widths = [count_in_tile(0, 272, 70_000), count_in_tile(0, 273, 70_000), count_in_tile(1, 0, 70_000)]
    assert widths == [256, 112, 256]
    partial = [count_in_tile(1, 1, 70_000), count_in_tile(2, 0, 70_000), count_in_tile(2, 1, 70_000)]
    assert partial == [17, 1, 0]
    assert [count_in_tile(0, 0, 256), count_in_tile(1, 0, 256)] == [256, 1]


def test_entries_are_read_as_they_were_bundled() -> None:
    entries = [b"", b"a", b"x" * 65_535]
    raw = encode_entries(entries)
    assert decode_entries(raw) == entries
    for cut in (raw[:-1], raw[:1], raw[:4]):
        with pytest.raises(ProtocolError):
            decode_entries(cut)
