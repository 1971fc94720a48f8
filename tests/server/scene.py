"""A centre for tests: its keys and references, and reports made for them."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from blindmatch_protocol.contract import Label, Party, batches_of
from blindmatch_protocol.messages.content import AttachmentRef, Content
from blindmatch_protocol.messages.franking import Evidence, Stamp, Stamped, disclose
from blindmatch_protocol.messages.report import Report, seal_report
from blindmatch_protocol.picture.decode import Picture
from blindmatch_server.centre.assessment import Assessment
from blindmatch_server.centre.keys import CentreKeys, Deployed, References, write_references
from blindmatch_server.centre.service import CentreConfig, CentreLimits, open_centre
from blindmatch_server.centre.verify import Verifier
from blindmatch_server.centre.vouchers import OpenerFiles
from blindmatch_server.hosting.authority import Identity
from msgspec.structs import replace
from support.fakes import picture

from .deployment import ALICE, BOB, OPERATOR, SECONDS, Client, Deployment
from .designs_for_tests import Dummy

LISTED = picture(1, 256)
OTHER = picture(2, 256)
HASH = Picture.from_bytes(LISTED).hash
ENTRY = Label(HASH, (1 << 64) - 5, b"s" * 16)
EPOCH = (1 << 64) - 1


def message(
    number: int = 1,
    picture: bytes = LISTED,
    sender: str = "alice",
    recipient: str = "bob",
    named: bool = True,
) -> Evidence:
    """What its sender can open of a message with `picture`: each number has a franking key of its own."""
    digest = hashlib.sha256(picture).digest()
    content = Content(
        b"m" * 16,
        17,
        "private words",
        (
            AttachmentRef(b"other" * 4, b"k" * 32, bytes(32), 1024, "image/png"),
            AttachmentRef(b"b" * 16, b"k" * 32, digest, 1024, "image/png"),
        ),
        number.to_bytes(32, "big"),
    )
    return disclose(content, sender, recipient, 1, named)


@dataclass
class Scene:
    """The centre's keys and references, and reports made for them."""

    directory: Path

    def __post_init__(self) -> None:
        self.keys = CentreKeys.create(self.directory / "keys")
        self.references = self.directory / "references.sqlite"
        self.write(LISTED)

    def write(self, second: bytes | None) -> None:
        """References with the entry and, if there is a picture, its second hash."""
        entries = batches_of(
            np.frombuffer(HASH, np.uint8).reshape(1, 32),
            np.array([ENTRY.entry_id], np.uint64),
            np.frombuffer(ENTRY.salt, np.uint8).reshape(1, 16),
        )
        hashes = {}
        if second is not None:
            hashes[ENTRY.entry_id] = self.keys.hasher.hash(Picture.from_bytes(second).luminance)
        if second is None:
            self.references.unlink(missing_ok=True)  # else the second hash that it has would stay
        write_references(self.references, entries, hashes)

    def report(self, number: int = 1, content: bytes = LISTED, **changes: Any) -> Report:
        """A true report about message `number` of Alice's to Bob, then changed."""
        shown = message(number, content)
        values = {
            "report_id": number.to_bytes(16, "big"),
            "design": "dummy",
            "version": 3,
            "epoch": EPOCH,
            "label": ENTRY,
            "reporter": "alice",
            "sender": shown.sender,
            "recipient": shown.recipient,
            "sent_at_ms": shown.sent_at,
            "matched_at_ms": (1 << 64) - 1,
            "media_type": "image/png",
            "opening": (shown.opening,),
            "picture": content,
        }
        report = Report(**{**values, **changes})
        if not report.opening or "stamp" in changes:
            return report
        return replace(report, stamp=(self.stamp(report),))

    def stamp(self, report: Report, message_id: bytes = b"i" * 16, at_ms: int = 18) -> Stamp:
        """The relay's stamp on the message that a report is about."""
        (opening,) = report.opening
        about = Stamped(opening.commitment, report.sender, report.recipient, message_id, at_ms)
        return Stamp(message_id, at_ms, about.mac(self.keys.stamp))

    def seal(self, report: Report) -> bytes:
        return seal_report(report, self.keys.public_key)

    def verifier(self, **changes: Any) -> Verifier:
        deployed = Deployed(Dummy(), lambda: {5, EPOCH})
        return replace(Verifier(self.keys, deployed, References(self.references)), **changes)

    def assess(self, report: Report, submitter: Identity = ALICE, **changes: Any) -> Assessment:
        return self.verifier(**changes).assess(self.seal(report), report.report_id, submitter)

    @asynccontextmanager
    async def centre(
        self,
        deployment: Deployment | None = None,
        design: Dummy | None = None,
        epoch: int = 5,
        earlier: Sequence[int] = (),
        **limits: Any,
    ) -> AsyncIterator[tuple[Client, Client, Client, int]]:
        """A running centre; the clients of Alice, Bob and an operator, and the port."""
        deployment = deployment or Deployment()
        setups = {one: {"setup": b"setup of %d" % one} for one in (epoch, *earlier)}
        opener = OpenerFiles(epoch, setups.pop(epoch), earlier=setups)
        config = CentreConfig(
            self.directory / "state",
            self.directory / "keys",
            Deployed(design or Dummy(), lambda: {5, EPOCH}),
            self.references,
            {"dummy": opener},
            CentreLimits(**{"list_wait_seconds": SECONDS, **limits}),
        )
        services = partial(open_centre, config)
        async with (
            deployment.server(Party.CENTRE, services) as port,
            deployment.client(ALICE, Party.CENTRE, port) as alice,
            deployment.client(BOB, Party.CENTRE, port) as bob,
            deployment.client(OPERATOR, Party.CENTRE, port) as operator,
        ):
            yield alice, bob, operator, port
