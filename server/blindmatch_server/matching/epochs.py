"""The epoch in force: its set-up files and the opened states of the roles, replaced as a whole."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeAlias

from blindmatch_protocol.codec import Buffer
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import AnyDesign, KeyLimits, Party, Role
from msgspec import Struct, field

from blindmatch_server.epochs.logged import Logged, read_logged
from blindmatch_server.epochs.published import current_epoch, open_publication
from blindmatch_server.hosting.concurrency import any_of
from blindmatch_server.hosting.endpoint import ServerContext
from blindmatch_server.storage.errors import StateError

Loader: TypeAlias = Callable[[], AnyDesign]
"""Gives the design in another process. It travels there: a function of a module, or a partial of one."""
Opener: TypeAlias = Callable[[AnyDesign], Any]
"""Opens the state of a role there; likewise."""


def _intact() -> None:
    """Buffers in memory do not change."""


def _not_logged() -> Logged | None:
    return None


class SetupFile(Redacted, Struct, frozen=True):
    """A set-up file: its bytes (mapped) and their SHA-256."""

    SHOWN: ClassVar = ("sha256",)

    content: Buffer
    sha256: bytes


class OpenEpoch(Redacted, Struct, frozen=True):
    """An epoch that can be served.

    Attributes:
        epoch: its number.
        setup: what every device gets, by name.
        roles: opened states.
        manifest: the encoding of the epoch's signed manifest.
        check: raises if a mapped file was damaged since it was opened.
        enrolment_key: what enrolments belong to while it is in force.
        openers: open a role's state once more, in a worker process.
        logged: what a log says of it, as it was renewed last; called in a thread.
        carried: how often each account may have a body carried to a role that this party forwards to.
    """

    epoch: int
    setup: Mapping[str, SetupFile]
    roles: Mapping[Role, Any]
    manifest: bytes = b""
    check: Callable[[], None] = _intact
    enrolment_key: bytes = b""
    openers: Mapping[Role, Opener] = field(default_factory=dict)
    logged: Callable[[], Logged | None] = _not_logged
    carried: Mapping[Role, KeyLimits] = field(default_factory=dict)


class EpochSource(Protocol):
    """Where the current epoch comes from; called in a thread."""

    def version(self) -> Hashable:
        """Changes when there is another epoch to open; cheap."""
        ...

    def open(self) -> OpenEpoch:
        """Open the current epoch. Raises `BlindmatchError` if that is not possible."""
        ...


class PublishedSource(Struct, frozen=True):
    """The epoch that the pointer of a publication's folder names.

    Attributes:
        design: whose publication it is.
        folder: see `publication`.
        party: whose roles are opened.
        curator: the public key that must have signed it, Ed25519, 32 bytes.
    """

    design: AnyDesign
    folder: Path
    party: Party
    curator: bytes

    def version(self) -> Hashable:
        return current_epoch(self.folder)

    def open(self) -> OpenEpoch:
        """See `EpochSource`; the signature is checked first, and every file compared with its digest."""
        info = self.design.info
        roles = [role for role, party in info.roles.items() if party == self.party]
        publication = open_publication(self.folder, roles=roles)
        manifest = publication.manifest
        if (manifest.design, manifest.version) != (info.name, info.version):
            raise StateError(
                f"{self.folder.name}: of design {manifest.design} version {manifest.version}, "
                f"{info.name} version {info.version} expected"
            )
        publication.check_signed(self.curator)
        publication.verify()
        # a set of another epoch under this one's name would be refused by every device
        opened = self.design.open_setup(publication.setup(), manifest.epoch)
        states = {role: self.design.open_role(role, publication.role(role)) for role in roles}
        openers = {role: partial(_published_role, role, self.folder, manifest.epoch) for role in roles}
        digests = {file.name: bytes.fromhex(file.sha256) for file in manifest.files}
        handed_out = publication.setup() | publication.endorsement()
        setup = {name: SetupFile(data, digests[name]) for name, data in handed_out.items()}
        signed = publication.signed.encode()
        logged = partial(read_logged, publication.folder)
        logged()
        return OpenEpoch(
            manifest.epoch, setup, states, signed, publication.check_intact,
            self.design.enrolment_key(opened), openers, logged,
            carried_limits(self.design, self.party, opened),
        )  # fmt: skip


def carried_limits(design: AnyDesign, party: Party, setup: Any) -> dict[Role, KeyLimits]:
    """How often each account may have a body carried to the roles that `party` forwards to, where that is
    limited."""
    carried = (role for role, carrier in design.info.forwarded.items() if carrier == party)
    limits = ((role, design.carrier_limits(role, setup)) for role in carried)
    return {role: limit for role, limit in limits if limit is not None}


def _published_role(role: Role, folder: Path, epoch: int, design: AnyDesign) -> Any:
    return design.open_role(role, open_publication(folder, epoch, [role]).role(role))


class Epochs:
    """Holds the epoch in force; calls under way keep the one they began with."""

    def __init__(self, source: EpochSource) -> None:
        self._source = source
        self._version: Hashable = None
        self._current: OpenEpoch | None = None

    @property
    def current(self) -> OpenEpoch:
        """The epoch in force; `StateError` before the first `load`."""
        if self._current is None:
            raise StateError("no epoch is open")
        return self._current

    async def load(self) -> bool:
        """Open the source's epoch if it is another one; the old one serves until then.

        Returns:
            Whether there is a new one.

        Raises:
            BlindmatchError: if it cannot be opened; the old one stays in force.
        """
        version = await asyncio.to_thread(self._source.version)
        if self._current is not None and version == self._version:
            return False
        self._current = await asyncio.to_thread(self._source.open)
        self._version = version
        return True

    async def watch(self, context: ServerContext, seconds: float) -> None:
        """Look for a new epoch every so often, and at once on SIGHUP; never returns."""
        while True:
            await any_of((context.hangup,), seconds)
            context.hangup.clear()
            try:
                if await self.load():
                    context.log.write("epoch", epoch=self.current.epoch)
            except Exception as error:
                # whatever is wrong with the new one, the old one serves and the next is looked for
                context.log.failure("epoch-refused", error)
