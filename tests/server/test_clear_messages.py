"""A relay without end-to-end encryption: messages in the clear, looked at before they are queued."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from blindmatch_protocol.codec.errors import DesignError, ProtocolError
from blindmatch_protocol.codec.randomness import seeded
from blindmatch_protocol.contract import Party, SetParameters, batches_of
from blindmatch_protocol.designs import hash_upload, provider_scan
from blindmatch_protocol.messages.content import AttachmentRef, ClearMessage, Content, clear_message, compose
from blindmatch_protocol.messages.parts import open_attachment
from blindmatch_protocol.picture.decode import Picture
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as wire
from blindmatch_server.matching.service import MatchingConfig
from blindmatch_server.relay.service import RelayConfig, Scan, open_relay, open_services
from blindmatch_server.relay.store import RelayLimits
from msgspec.structs import replace
from support.fakes import picture
from support.held_source import HeldSource
from support.memory import MemoryWorkspace
from support.reference import seal_attachment

from .deployment import ALICE, BOB, Client, Deployment, refused
from .test_relay import keys, pieces

STATUS = grpc.StatusCode
INFO = provider_scan.DESIGN.info
RNG = seeded("clear messages")


class Looked:
    """What was looked at, by account and name; fails on the file `bad`."""

    def __init__(self) -> None:
        self.files: list[tuple[str, bytes, bytes]] = []

    async def scan(self, account: str, name: bytes, file: bytes) -> None:
        if file == b"bad":
            raise ProtocolError("scan", "must not be bad")
        self.files.append((account, name, file))


@asynccontextmanager
async def relay(directory: Path, scan: Scan | None) -> AsyncIterator[tuple[Client, Client]]:
    deployment = Deployment()
    config = RelayConfig(directory, RelayLimits())
    services = partial(open_relay, config, scan=scan)
    async with deployment.serving(Party.PROVIDER, services, ALICE, BOB) as (alice, bob):
        await alice.one("Relay/Register", keys(1))
        await bob.one("Relay/Register", keys(2))
        yield alice, bob


async def uploaded(alice: Client, data: bytes) -> AttachmentRef:
    blob, ref = seal_attachment(data, "image/png", RNG)
    reply: Any = await alice.one("Relay/Upload", pieces(blob))
    return replace(ref, blob_id=reply.blob_id)


def send(content: Content, number: int = 1, **more: bytes) -> wire.SendRequest:
    clear = clear_message(content, INFO)
    return wire.SendRequest(
        recipient="bob", message_id=number.to_bytes(16, "big"), **{"clear": clear, **more}
    )


def said(*attachments: AttachmentRef) -> Content:
    return compose("hello", attachments, 1, RNG)


async def code_of(call: Any) -> grpc.StatusCode:
    code, _, _ = await refused(call)
    return code


async def test_a_message_in_the_clear_is_looked_at_and_delivered_as_it_is(tmp_path: Path) -> None:
    looked = Looked()
    async with relay(tmp_path, looked.scan) as (alice, bob):
        ref = await uploaded(alice, b"a picture")
        content = said(ref)
        for _ in range(2):
            await alice.one("Relay/Send", send(content))
        (delivery,) = await bob.all("Relay/Receive", wire.ReceiveRequest())
        assert ClearMessage.decode(delivery.clear).content == content and delivery.sealed == b""
    assert [(account, file) for account, _, file in looked.files] == [("alice", b"a picture")] * 2
    assert {name for _, name, _ in looked.files} == {sha256(ref.blob_id).digest()[:16]}


async def test_what_is_not_as_messages_are_here_is_refused(tmp_path: Path) -> None:
    async with relay(tmp_path / "clear", Looked().scan) as (alice, _):
        for request in (
            send(said(), sealed=b"sealed"),
            send(said(), clear=b"", sealed=b"sealed"),
            send(said(), clear=b""),
            send(said(), clear=b"\x65 no message"),
        ):
            assert await code_of(alice.one("Relay/Send", request)) is STATUS.INVALID_ARGUMENT
    async with relay(tmp_path / "e2ee", None) as (alice, bob):
        for request in (send(said()), send(said(), sealed=b"sealed")):
            assert await code_of(alice.one("Relay/Send", request)) is STATUS.INVALID_ARGUMENT
        assert await bob.all("Relay/Receive", wire.ReceiveRequest()) == []


async def test_nothing_is_queued_whose_attachment_was_not_looked_at(tmp_path: Path) -> None:
    looked = Looked()
    async with relay(tmp_path, looked.scan) as (alice, bob):
        good = await uploaded(alice, b"good")
        bad = await uploaded(alice, b"bad")
        cases = (
            (replace(good, key=bytes(32)), STATUS.INVALID_ARGUMENT),
            (replace(good, digest=bytes(32)), STATUS.INVALID_ARGUMENT),
            (replace(good, padded_size=good.padded_size + 1), STATUS.INVALID_ARGUMENT),
            (replace(good, blob_id=bytes(16)), STATUS.NOT_FOUND),
            (bad, STATUS.INVALID_ARGUMENT),
        )
        for number, (ref, code) in enumerate(cases, 1):
            assert await code_of(alice.one("Relay/Send", send(said(ref), number))) is code
        assert looked.files == []
        assert await bob.all("Relay/Receive", wire.ReceiveRequest()) == []
        nowhere = send(said(good), 9)
        nowhere.recipient = "nobody"
        assert await code_of(alice.one("Relay/Send", nowhere)) is STATUS.NOT_FOUND
        assert len(looked.files) == 1, "handed over is looked at, delivered or not"


async def test_what_was_queued_of_one_kind_is_not_handed_out_as_the_other(tmp_path: Path) -> None:
    """One in the clear, handed over as sealed, would be delivered without being looked at."""
    looked = Looked()
    sealed = wire.SendRequest(recipient="bob", message_id=bytes(16), sealed=clear_message(said(), INFO))
    async with relay(tmp_path, None) as (alice, _):
        await alice.one("Relay/Send", sealed)
    async with relay(tmp_path, looked.scan) as (alice, bob):
        assert await bob.all("Relay/Receive", wire.ReceiveRequest()) == []
        await alice.one("Relay/Send", send(said(await uploaded(alice, b"a picture"))))
    async with relay(tmp_path, None) as (_, bob):
        (delivery,) = await bob.all("Relay/Receive", wire.ReceiveRequest())
    assert (delivery.sealed, delivery.clear) == (sealed.sealed, b"") and len(looked.files) == 1


def test_no_message_is_made_in_the_clear_under_a_design_with_end_to_end_encryption() -> None:
    assert ClearMessage.decode(clear_message(said(), INFO)).content.text == "hello"
    with pytest.raises(DesignError, match="end-to-end encrypted, so no message is sent in the clear"):
        clear_message(said(), hash_upload.DESIGN.info)


def test_an_attachment_opens_with_its_own_reference_alone() -> None:
    blob, ref = seal_attachment(b"data", "image/png", RNG)
    assert open_attachment(blob, ref) == b"data"
    for other in (replace(ref, digest=bytes(32)), replace(ref, padded_size=1), replace(ref, key=bytes(32))):
        with pytest.raises(ProtocolError):
            open_attachment(blob, other)


async def test_a_listed_picture_makes_one_verdict_whatever_bears_it_and_asking_is_refused(
    tmp_path: Path,
) -> None:
    design = provider_scan.DESIGN
    out = MemoryWorkspace()
    listed = picture(1)
    other = picture(2)
    hashes = np.frombuffer(Picture.from_bytes(listed).hash, np.uint8).reshape(1, 32)
    source = batches_of(hashes, np.ones(1, np.uint64), np.ones((1, 16), np.uint8))
    published = design.publish(source, SetParameters(1, {}), RNG, None, out)
    files = out.files()
    roles = {role: {name: files[name] for name in names} for role, names in published.roles.items()}
    held = HeldSource(design, 1, {name: files[name] for name in published.setup}, roles)
    deployment = Deployment()
    matching = MatchingConfig(design, held, tmp_path / "matching")
    config = RelayConfig(tmp_path / "relay", matching=matching)
    async with deployment.serving(Party.PROVIDER, partial(open_services, config), ALICE, BOB) as (alice, bob):
        await bob.one("Relay/Register", keys(2))
        refs = [await uploaded(alice, data) for data in (listed, listed, other, b"no picture")]
        for number, ref in enumerate((refs[0], refs[0], *refs), 1):
            await alice.one("Relay/Send", send(said(ref), number))
        assert len(await bob.all("Relay/Receive", wire.ReceiveRequest())) == 6
        body = provider_scan.Scan(1, 1, bytes(3)).encode()
        asked = wire.Envelope(design=design.info.name, version=2, epoch=1, role="provider", body=body)
        asked.request_id = bytes(16)
        assert await code_of(alice.one("Matching/Exchange", asked)) is STATUS.PERMISSION_DENIED
    with closing(sqlite3.connect(tmp_path / "matching" / "ledger.sqlite")) as ledger:
        found = ledger.execute("SELECT account, matched FROM verdicts ORDER BY rowid").fetchall()
    assert found == [("alice", 1), ("alice", 1), ("alice", 0)], "one for each upload that is a picture"
