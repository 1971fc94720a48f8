"""Attachments: what a blob shows, and what a reference accepts."""

from __future__ import annotations

import hashlib

import pytest
from blindmatch_protocol.codec.randomness import system_randomness
from blindmatch_protocol.crypto.symmetric import seal
from blindmatch_protocol.messages.content import pad_attachment, padded_attachment_length
from blindmatch_protocol.messages.parts import ATTACHMENT_TAG, AttachmentError, open_attachment
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from support.reference import seal_attachment

RANDOMNESS = system_randomness()


@given(st.binary(max_size=5000))
@settings(max_examples=30, deadline=None)
def test_an_attachment_comes_back(data: bytes) -> None:
    blob, ref = seal_attachment(data, "image/png", RANDOMNESS)
    assert open_attachment(blob, ref) == data
    assert len(blob) == padded_attachment_length(len(data)) + 32
    assert (ref.padded_size, ref.digest) == (len(blob) - 32, hashlib.sha256(data).digest())


def test_the_same_picture_twice_gives_unrelated_blobs() -> None:
    (blob, ref), (other, other_ref) = (seal_attachment(b"picture", "image/png", RANDOMNESS) for _ in "12")
    assert blob[:32] != other[:32]
    assert (ref.key, ref.blob_id) != (other_ref.key, other_ref.blob_id)


def test_a_blob_id_that_the_relay_assigned_replaces_the_random_one() -> None:
    blob, ref = seal_attachment(b"picture", "image/png", RANDOMNESS)
    assert open_attachment(blob, replace(ref, blob_id=b"relay's" * 3)) == b"picture"


@pytest.mark.parametrize(
    "change",
    [{"key": bytes(32)}, {"digest": bytes(32)}, {"padded_size": 1025}, {"padded_size": 0}],
)
def test_a_reference_to_something_else_is_refused(change: dict[str, object]) -> None:
    blob, ref = seal_attachment(b"picture", "image/png", RANDOMNESS)
    with pytest.raises(AttachmentError):
        open_attachment(blob, replace(ref, **change))  # type: ignore[arg-type]


def test_any_altered_or_truncated_blob_is_refused() -> None:
    blob, ref = seal_attachment(b"picture", "image/png", RANDOMNESS)
    altered = [blob[:at] + bytes([blob[at] ^ 1]) + blob[at + 1 :] for at in range(0, len(blob), 7)]
    for damaged in (*altered, blob[:-1], blob + b"\x00", b""):
        with pytest.raises(AttachmentError):
            open_attachment(damaged, ref)


@pytest.mark.parametrize("padded", [bytes(1024), b"x" * 1024, pad_attachment(b"y" * 2000)[:1024]])
def test_a_sender_cannot_hide_bytes_in_the_padding(padded: bytes) -> None:
    _, ref = seal_attachment(b"picture", "image/png", RANDOMNESS)
    with pytest.raises(AttachmentError):
        open_attachment(seal(ref.key, padded, ATTACHMENT_TAG), replace(ref, padded_size=len(padded)))
