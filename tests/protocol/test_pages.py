"""Page digests: roots and proofs by RFC 9162's own recursive definitions, and what they refuse."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

import pytest
from blindmatch_protocol.errors import SetFileError
from blindmatch_protocol.setfile import PAGE_BYTES, inclusion_proof, is_page, leaves_of
from blindmatch_protocol.setfile.pages import PageHash, root_of
from hypothesis import given, settings
from hypothesis import strategies as st
from support.reference import tree_path, tree_root

VECTORS = Path(__file__).parents[1] / "vectors"
COUNTS = [1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 17, 31]


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
    first, second, third = b"a" * 4096, b"b" * 4096, b"c" * 10
    left, right, last = (sha256(b"\x00" + page).digest() for page in (first, second, third))
    both = sha256(b"\x01" + left + right).digest()
    root = sha256(b"\x01" + both + last).digest()
    leaves = leaves_of(first + second + third)
    assert root_of(leaves) == root
    proofs = [inclusion_proof(leaves, page) for page in range(3)]
    assert proofs == [(right, last), (left, last), (both,)]
    for page, (content, proof) in enumerate(zip((first, second, third), proofs, strict=True)):
        assert is_page(content, page, 8202, proof, root)


@pytest.mark.parametrize("count", COUNTS)
def test_every_page_opens_with_the_proof_of_the_definition_and_no_other_way(count: int) -> None:
    content = content_of(PAGE_BYTES * count - 7)
    pages, leaves, root = pages_of(content), leaves_of(content), tree_root(pages_of(content))
    for number, page in enumerate(pages):
        proof = inclusion_proof(leaves, number)
        assert list(proof) == tree_path(number, pages)
        assert is_page(page, number, len(content), proof, root)
        for other in range(count):
            assert is_page(page, other, len(content), proof, root) is (other == number)
        assert not is_page(page[:-1], number, len(content), proof, root)
        assert not is_page(page, number, len(content), (*proof, bytes(32)), root)
        assert not is_page(page, number, len(content), proof, bytes(32))
        for at in range(len(proof)):
            assert not is_page(page, number, len(content), proof[:at], root)
            altered = (*proof[:at], bytes(32), *proof[at + 1 :])
            assert not is_page(page, number, len(content), altered, root)


def test_a_page_that_is_not_there_has_no_proof() -> None:
    leaves = leaves_of(content_of(5000))
    for page in (-1, 2):
        with pytest.raises(SetFileError, match=f"no page {page} among 2"):
            inclusion_proof(leaves, page)
    assert not is_page(b"", 0, 0, (), root_of([])), "a section without bytes has no page"
    assert not is_page(content_of(5000)[4096:], -1, 5000, (leaves[0],), root_of(leaves))


def test_a_node_does_not_pass_for_a_page() -> None:
    """Leaves and nodes have different first bytes: the digests of two leaves are no page of 64 bytes."""
    leaves = leaves_of(content_of(2 * PAGE_BYTES))
    assert not is_page(leaves[0] + leaves[1], 0, 64, (), root_of(leaves))


@settings(max_examples=25)
@given(st.lists(st.integers(0, 9000), max_size=6))
def test_parts_of_any_length_have_the_digest_of_the_whole(lengths: list[int]) -> None:
    content, hashed, at = content_of(sum(lengths)), PageHash(), 0
    for length in lengths:
        hashed.update(content[at : at + length])
        at += length
    assert hashed.digest() == root_of(leaves_of(content))
