"""The epoch in force: its set-up files and the opened states of the roles, replaced as a whole."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from blindmatch_protocol.codec import Buffer
from blindmatch_protocol.contract import AnyDesign, Buffers, Party, Role

from blindmatch_server.endpoint import Desk
from blindmatch_server.errors import StateError
from blindmatch_server.published import current_epoch, open_publication
from blindmatch_server.waiting import any_of

Loader: TypeAlias = Callable[[], AnyDesign]
"""Gives the design in another process. It travels there: a function of a module, or a partial of one."""
Opener: TypeAlias = Callable[[AnyDesign], Any]
"""Opens the state of a role there; likewise."""


def _intact() -> None:
    """Buffers in memory do not change."""


@dataclass(frozen=True, slots=True)
class SetupFile:
    """A set-up file: its bytes (mapped) and their SHA-256."""

    content: Buffer = field(repr=False)
    sha256: bytes


@dataclass(frozen=True, slots=True, repr=False)
class OpenEpoch:
    """An epoch that can be served.

    Attributes:
        epoch: its number.
        setup: what every device gets, by name.
        roles: opened states.
        manifest: the encoding of the epoch's signed manifest.
        check: raises if a mapped file was damaged since it was opened.
        enrolment_key: what enrolments belong to while it is in force.
        openers: open a role's state once more, in a worker process.
    """

    epoch: int
    setup: Mapping[str, SetupFile]
    roles: Mapping[Role, Any]
    manifest: bytes = b""
    check: Callable[[], None] = _intact
    enrolment_key: bytes = b""
    openers: Mapping[Role, Opener] = field(default_factory=dict)


class EpochSource(Protocol):
    """Where the current epoch comes from; called in a thread."""

    def version(self) -> Hashable:
        """Changes when there is another epoch to open; cheap."""
        ...

    def open(self) -> OpenEpoch:
        """Open the current epoch. Raises `BlindmatchError` if that is not possible."""
        ...


@dataclass(frozen=True, slots=True, repr=False)
class HeldSource:
    """One epoch whose files are in memory.

    Attributes:
        design: whose files they are.
        epoch: their number.
        setup: what every device gets.
        roles: each role's files; the set-up's are added.
        manifest: the encoding of the signed manifest, if devices are to adopt the epoch.
    """

    design: AnyDesign
    epoch: int
    setup: Buffers
    roles: Mapping[Role, Buffers]
    manifest: bytes = b""

    def version(self) -> Hashable:
        """See `EpochSource`."""
        return self.epoch

    def open(self) -> OpenEpoch:
        """See `EpochSource`."""
        states = {r: self.design.open_role(r, {**self.setup, **files}) for r, files in self.roles.items()}
        setup = {name: SetupFile(data, hashlib.sha256(data).digest()) for name, data in self.setup.items()}
        key = _enrolment_key(self.design, self.setup, self.epoch) if self.design.enrolments else b""
        openers = {r: partial(_held_role, r, {**self.setup, **files}) for r, files in self.roles.items()}
        return OpenEpoch(self.epoch, setup, states, self.manifest, enrolment_key=key, openers=openers)


@dataclass(frozen=True, slots=True)
class PublishedSource:
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
        """See `EpochSource`."""
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
        key = _enrolment_key(self.design, publication.setup(), manifest.epoch)
        states = {role: self.design.open_role(role, publication.role(role)) for role in roles}
        openers = {role: partial(_published_role, role, self.folder, manifest.epoch) for role in roles}
        digests = {file.name: bytes.fromhex(file.sha256) for file in manifest.files}
        setup = {name: SetupFile(data, digests[name]) for name, data in publication.setup().items()}
        signed = publication.signed.encode()
        return OpenEpoch(manifest.epoch, setup, states, signed, publication.check_intact, key, openers)


def _held_role(role: Role, files: Buffers, design: AnyDesign) -> Any:
    return design.open_role(role, files)


def _published_role(role: Role, folder: Path, epoch: int, design: AnyDesign) -> Any:
    return design.open_role(role, open_publication(folder, epoch, [role]).role(role))


def _enrolment_key(design: AnyDesign, files: Buffers, epoch: int) -> bytes:
    return design.enrolment_key(design.open_setup(files, epoch))


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

    async def watch(self, desk: Desk, seconds: float) -> None:
        """Look for a new epoch every so often, and at once on SIGHUP; never returns."""
        while True:
            await any_of((desk.hangup,), seconds)
            desk.hangup.clear()
            try:
                if await self.load():
                    desk.log.write("epoch", epoch=self.current.epoch)
            except Exception as error:
                # whatever is wrong with the new one, the old one serves and the next is looked for
                desk.log.failure("epoch-refused", error)
