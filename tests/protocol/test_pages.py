"""Page digests: roots by RFC 9162's own recursive definition, and a log's proofs of pages."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

from blindmatch_proofs.merkle import Tree, prove_inclusion, verify_inclusion
from blindmatch_proofs.verdict import Passed
from blindmatch_protocol.setfile import PAGE_BYTES, leaves_of
from blindmatch_protocol.setfile.files import PageHash, leaf_hash, root_of
from hypothesis import given, settings
from hypothesis import strategies as st
from support.reference import tree_root

VECTORS = Path(__file__).parents[1] / "vectors"


def content_of(length: int) -> bytes:
    return bytes(at * at % 251 for at in range(length))


def pages_of(content: bytes) -> list[bytes]:
    return [content[at : at + PAGE_BYTES] for at in range(0, len(content), PAGE_BYTES)]


def test_roots_are_the_frozen_ones_and_those_of_the_definition() -> None:
    held = json.loads((VECTORS / "set-file-pages.json").read_text())["digests"]
    assert {row["length"] for row in held} >= {0, 1, 4096, 4097, 3 * 4096, 7 * 4096 + 5}
    for row in held:
        content = content_of(row["length"])
        assert root_of(leaves_of(content)).hex() == row["root"] == tree_root(pages_of(content)).hex()


def test_a_tree_of_three_pages_by_hand() -> None:
    first = b"a" * 4096
    second = b"b" * 4096
    third = b"c" * 10
    left, right, last = (sha256(b"\x00" + page).digest() for page in (first, second, third))
    both = sha256(b"\x01" + left + right).digest()
    root = sha256(b"\x01" + both + last).digest()
    leaves = leaves_of(first + second + third)
    assert root_of(leaves) == root
    paths = [prove_inclusion(Tree.from_leaves(leaves).node, page, 3) for page in range(3)]
    assert paths == [(right, last), (left, last), (both,)]
    for page, (content, path) in enumerate(zip((first, second, third), paths, strict=True)):
        assert verify_inclusion(leaf_hash(content), page, 3, path, root) == Passed()


def test_a_node_does_not_pass_for_a_page() -> None:
    """Leaves and nodes have different first bytes: the digests of two leaves are no page of 64 bytes."""
    leaves = leaves_of(content_of(2 * PAGE_BYTES))
    assert leaf_hash(leaves[0] + leaves[1]) != root_of(leaves)


@settings(max_examples=25)
@given(st.lists(st.integers(0, 9000), max_size=6))
def test_parts_of_any_length_have_the_digest_of_the_whole(lengths: list[int]) -> None:
    content = content_of(sum(lengths))
    hashed = PageHash()
    at = 0
    for length in lengths:
        hashed.update(content[at : at + length])
        at += length
    assert hashed.digest() == root_of(leaves_of(content))
