"""Contents and sealed messages: one encoding each, and strict decoders."""

from __future__ import annotations

import pytest
from blindmatch_protocol.codec import Message
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.codec.randomness import replayed
from blindmatch_protocol.messages.content import AttachmentRef, Content, compose
from blindmatch_protocol.messages.franking import disclose
from blindmatch_protocol.messages.sealed_message import (
    WIRE_VERSION,
    InitialHeader,
    RatchetHeader,
    SealedMessage,
    session_id,
)
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

REF = AttachmentRef(bytes(16), bytes(32), bytes(32), 1024, "image/png")
CONTENT = Content(bytes(16), 1, "text", (REF,), bytes(32))
POINT = bytes([9]) + bytes(31)
INITIAL = InitialHeader(POINT, POINT, POINT, (POINT,))
SEALED = SealedMessage(
    WIRE_VERSION, session_id(INITIAL), (INITIAL,), RatchetHeader(POINT, 0, 0), bytes(32), b"ciphertext"
)
MESSAGES: list[Message] = [CONTENT, SEALED, disclose(CONTENT, "alice", "bob", 0).opening]


@pytest.mark.parametrize("message", MESSAGES, ids=repr)
def test_every_message_has_one_encoding(message: Message) -> None:
    assert type(message).decode(message.encode()) == message


@pytest.mark.parametrize("message", MESSAGES, ids=repr)
def test_truncation_and_left_overs_are_refused(message: Message) -> None:
    encoded = message.encode()
    for damaged in (*(encoded[:length] for length in range(len(encoded))), encoded + b"\x00"):
        with pytest.raises(ProtocolError):
            type(message).decode(damaged)


@given(st.sampled_from(MESSAGES), st.data())
def test_a_mutated_message_is_refused_or_is_another_message(message: Message, data: st.DataObject) -> None:
    encoded = bytearray(message.encode())
    at = data.draw(st.integers(0, len(encoded) - 1))
    encoded[at] ^= data.draw(st.integers(1, 255))
    try:
        decoded = type(message).decode(encoded)
    except ProtocolError:
        return
    assert decoded.encode() == encoded


@pytest.mark.parametrize("message", [*MESSAGES, REF], ids=repr)
def test_repr_shows_no_field(message: Message) -> None:
    assert repr(message) == f"<{message.NAME}>"


def test_composing_takes_id_and_franking_key_from_the_randomness() -> None:
    content = compose("text", (), 7, replayed(bytes(16) + b"k" * 32))
    assert (content.id, content.franking_key, content.sent_at) == (bytes(16), b"k" * 32, 7)


def test_two_attachments_of_one_blob_are_refused() -> None:
    with pytest.raises(ProtocolError, match="one blob"):
        Content.decode(replace(CONTENT, attachments=(REF, REF)).encode())


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"text": "x" * 65_537}, "text"),
        ({"text": "\ud800"}, "text"),
        ({"id": bytes(15)}, "id"),
        ({"sent_at": -1}, "sent_at"),
        ({"attachments": (REF,) * 33}, "attachments"),
        ({"franking_key": b""}, "franking_key"),
    ],
)
def test_a_content_out_of_bounds_cannot_be_encoded(change: dict[str, object], field: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        replace(CONTENT, **change).encode()  # type: ignore[arg-type]
    assert caught.value.field == field


def test_a_sealed_message_of_another_version_is_named_as_such() -> None:
    with pytest.raises(ProtocolError, match="field version: must be 5, not 1"):
        SealedMessage.decode(SEALED.encode()[:1] + b"\x01 in whatever form")


def test_a_session_that_does_not_follow_from_the_initial_header_is_refused() -> None:
    with pytest.raises(ProtocolError, match="session"):
        SealedMessage.decode(replace(SEALED, session=bytes(16)).encode())


@pytest.mark.parametrize("key", [b"\xff" * 32, (2**255 - 19).to_bytes(32, "little"), bytes(31) + b"\x80"])
def test_a_public_key_that_is_not_canonical_is_refused(key: bytes) -> None:
    good = RatchetHeader(POINT, 0, 0).encode()
    with pytest.raises(ProtocolError, match="ratchet_key"):
        RatchetHeader.decode(good[:1] + key + good[33:])
