"""Opens published epochs; `publication` makes them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from blindmatch_proofs.endorsement import FILE as ENDORSEMENT
from blindmatch_proofs.epoch import verify_signature
from blindmatch_proofs.verdict import Failed, Passed
from blindmatch_protocol.codec.errors import BlindmatchError, ProtocolError
from blindmatch_protocol.contract import Info, Published, SetParameters, Stated
from blindmatch_protocol.messages.epoch_manifest import (
    NO_PREDECESSOR,
    EpochManifest,
    ManifestFile,
    SignedManifest,
    parameters_of,
    role_keys_of,
)
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from blindmatch_server.storage.files import FileRecord, MappedFile, MappingError

MANIFEST = "manifest.json"
SIGNED = "epoch.manifest"
"""The encoding of the signed manifest (docs/wire.md)."""
LEAF = "epoch.leaf"
"""The encoding of what a log holds of the epoch (docs/wire.md)."""
PROOF = "epoch.proof"
TREE = "epoch.tree"
"""What a log says of the epoch (logged.py)."""
FORMAT: Final = 1
PLAN_FORMAT: Final = 2

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,126}$")]
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0)]


class _Document(BaseModel):
    """Strict, frozen, and written in one form only: sorted keys, two blanks of indent, a line end."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    def encode(self) -> bytes:
        """The document's bytes."""
        return (json.dumps(self.model_dump(mode="json"), indent=2, sort_keys=True) + "\n").encode()


class FileEntry(_Document):
    """A file of an epoch."""

    name: Name
    size: Count
    sha256: Digest


class _OfEpoch(_Document):
    """What is said of an epoch.

    Attributes:
        design: name of the design.
        version: of the design's messages and files.
        epoch: number of the epoch.
        entries: entries of the list.
        parameters: the design's parameters, defaults included.
    """

    design: str
    version: int
    epoch: Annotated[int, Field(ge=1)]
    entries: Count
    parameters: dict[str, int]


class Plan(_OfEpoch):
    """What a build is for; a build is taken up again only for the same plan.

    Attributes:
        format: version of this document.
        work: SHA-256 over the list, or over what an update adds and removes.
        valid_from, valid_seconds: of the epoch; a build that is taken up again keeps the first one's time.
    """

    format: Literal[2]
    work: Digest
    valid_from: Count
    valid_seconds: Annotated[int, Field(ge=1)]

    @classmethod
    def of(
        cls, info: Info, parameters: SetParameters, entries: int, work: str, validity: tuple[int, int]
    ) -> Self:
        """The plan of a build of `entries` entries, valid from a Unix time on for so many seconds.

        Raises:
            DesignError: if a parameter is unknown or out of its range.
        """
        valid_from, valid_seconds = validity
        return cls(
            format=PLAN_FORMAT, design=info.name, version=info.version, epoch=parameters.epoch,
            entries=entries, parameters=_values(info, parameters), work=work,
            valid_from=valid_from, valid_seconds=valid_seconds,
        )  # fmt: skip

    def continues(self, other: Plan | None) -> bool:
        """Is this the plan `other`, at a later time?"""
        return other is not None and self.model_copy(update={"valid_from": other.valid_from}) == other


class Manifest(_OfEpoch):
    """What a published epoch consists of, version 1.

    Attributes:
        format: version of this document.
        setup: names of the files every device gets.
        roles: names of each role's files.
        opener: names of the centre's files.
        files: all of them, by name.
    """

    format: Literal[1]
    setup: tuple[Name, ...]
    roles: dict[str, tuple[Name, ...]]
    opener: tuple[Name, ...]
    files: tuple[FileEntry, ...]

    @classmethod
    def of(cls, plan: Plan, published: Published, records: Iterable[FileRecord]) -> Self:
        """The manifest of what a design has published."""
        files = [FileEntry(name=r.name, size=r.size, sha256=r.sha256) for r in records]
        return cls(
            format=FORMAT, design=plan.design, version=plan.version, epoch=plan.epoch, entries=plan.entries,
            parameters=plan.parameters, setup=tuple(published.setup),
            roles={str(role): tuple(names) for role, names in published.roles.items()},
            opener=tuple(published.opener), files=tuple(sorted(files, key=lambda file: file.name)),
        )  # fmt: skip

    @property
    def setup_bytes(self) -> int:
        """What a device fetches once."""
        return sum(file.size for file in self.files if file.name in self.setup)

    def needed(self, roles: Iterable[str], opener: bool = False) -> frozenset[str]:
        """Names of the files that a party needs which plays `roles`, or is the centre and opens vouchers."""
        names = (name for role in roles for name in self.roles.get(role, ()))
        return frozenset((*self.setup, *names, *(self.opener if opener else ())))

    def epoch_manifest(self, plan: Plan, stated: Stated, before: EpochManifest | None) -> EpochManifest:
        """What the curator signs.

        Args:
            stated: what the set-up files say.
            before: the manifest of the epoch that is current now, if there is one.
        """
        return EpochManifest(
            design=self.design, version=self.version, epoch=self.epoch,
            predecessor_epoch=before.epoch if before else 0,
            predecessor=before.digest if before else NO_PREDECESSOR,
            valid_from=plan.valid_from, valid_until=plan.valid_from + plan.valid_seconds,
            entries=self.entries, parameters=parameters_of(self.parameters),
            role_keys=role_keys_of(stated.role_keys), files=self._setup_files(),
        )  # fmt: skip

    def agrees(self, signed: EpochManifest) -> bool:
        """Does a signed manifest say of the epoch and its set-up files what this one says?"""
        theirs = (signed.design, signed.version, signed.epoch, signed.entries)
        ours = (self.design, self.version, self.epoch, self.entries)
        same = (signed.parameters, signed.files) == (parameters_of(self.parameters), self._setup_files())
        return theirs == ours and same

    def _setup_files(self) -> tuple[ManifestFile, ...]:
        mine = (file for file in self.files if file.name in self.setup)
        return tuple(ManifestFile(file.name, file.size, bytes.fromhex(file.sha256)) for file in mine)

    @model_validator(mode="after")
    def _names_agree(self) -> Self:
        used = {*self.setup, *self.opener, *(name for names in self.roles.values() for name in names)}
        names = [file.name for file in self.files]
        if names != sorted(set(names)) or used != set(names):
            raise ValueError("the files listed are not the files used, each once and in order")
        return self


def _values(info: Info, parameters: SetParameters) -> dict[str, int]:
    names = {*parameters.values, *(parameter.name for parameter in info.parameters)}
    return {name: parameters.value(info, name) for name in sorted(names)}


CURRENT = "current"


class PublicationError(BlindmatchError):
    """An epoch cannot be published or opened."""


class BuildRunningError(PublicationError):
    """Another build works in the same folder."""


class EpochPublishedError(PublicationError):
    """The epoch is published already; an epoch is never replaced."""


class NoPublicationError(PublicationError):
    """There is no such epoch, or none at all."""


class DamagedPublicationError(PublicationError):
    """A published file is missing, truncated or altered."""


class Publication:
    """A published epoch, its files, or those of them that a party needs, memory-mapped read-only.

    Attributes:
        folder: the epoch's folder.
        manifest: what is in it.
        signed: what devices get to verify it with; `check_signed` says whether the curator signed it.
    """

    __slots__ = ("_files", "folder", "manifest", "signed")

    def __init__(
        self, folder: Path, manifest: Manifest, signed: SignedManifest, needed: frozenset[str] | None = None
    ) -> None:
        self.folder, self.manifest, self.signed = folder, manifest, signed
        here = [file for file in manifest.files if needed is None or file.name in needed]
        self._files = {file.name: _mapped(folder, file) for file in here}

    def setup(self) -> dict[str, memoryview]:
        """The files every device gets."""
        return self._named(self.manifest.setup)

    def role(self, role: str) -> dict[str, memoryview]:
        """The files of a role, and the set-up's.

        Raises:
            NoPublicationError: if the epoch has no such role.
        """
        if role not in self.manifest.roles:
            raise NoPublicationError(f"epoch {self.manifest.epoch} has no files for role {role}")
        return self._named((*self.manifest.setup, *self.manifest.roles[role]))

    def opener(self) -> dict[str, memoryview]:
        """The centre's files, and the set-up's."""
        return self._named((*self.manifest.setup, *self.manifest.opener))

    def endorsement(self) -> dict[str, memoryview]:
        """The file of endorsements, if there is one: no design's, and so in none of the others."""
        return {name: file.content for name, file in self._files.items() if name == ENDORSEMENT}

    def every_file(self) -> dict[str, memoryview]:
        """All files: what the next epoch is made from."""
        return self._named(tuple(self._files))

    def check_intact(self) -> None:
        """Make sure that no file was truncated or overwritten in place since it was mapped.

        A page that is gone ends the process with a signal, so call this before a file is used.

        Raises:
            DamagedPublicationError: if one was.
        """
        with _damaged():
            for mapped in self._files.values():
                mapped.check_intact()

    def verify(self) -> None:
        """Read every file and compare it with the manifest's digest.

        Raises:
            DamagedPublicationError: if one differs.
        """
        self.check_intact()
        with _damaged():
            for file in self.manifest.files:
                if file.name in self._files:
                    self._files[file.name].check_digest(file.sha256)

    def check_signed(self, curator: bytes) -> None:
        """Make sure that the key `curator`, Ed25519, 32 bytes, signed the epoch's manifest.

        Raises:
            DamagedPublicationError: if it did not: no device would take the epoch.
        """
        match verify_signature(self.signed, curator):
            case Failed(reason):
                raise DamagedPublicationError(
                    f"{SIGNED} of epoch {self.manifest.epoch}: {reason}; was it built in this deployment?"
                )

    def _named(self, names: tuple[str, ...]) -> dict[str, memoryview]:
        return {name: self._files[name].content for name in names if name != ENDORSEMENT}


@contextmanager
def _damaged() -> Iterator[None]:
    try:
        yield
    except MappingError as error:
        raise DamagedPublicationError(str(error)) from error


def _mapped(folder: Path, file: FileEntry) -> MappedFile:
    with _damaged():
        return MappedFile(folder / file.name, file.size)


def current_epoch(folder: Path) -> int:
    """The epoch that is served.

    Raises:
        NoPublicationError: if none was published yet.
        DamagedPublicationError: if `current` holds no number.
    """
    try:
        text = (folder / CURRENT).read_text("ascii")
    except FileNotFoundError:
        raise NoPublicationError(f"nothing is published in {folder.name}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DamagedPublicationError(f"{CURRENT} cannot be read") from error
    number = text.removesuffix("\n")
    if not (number.isdecimal() and text == f"{int(number)}\n"):
        raise DamagedPublicationError(f"{CURRENT} does not hold the number of an epoch")
    return int(number)


def signed_epochs(folder: Path, info: Info, curator: bytes) -> frozenset[int]:
    """Numbers of a design's epochs in `folder` whose manifest the key `curator` signed; no others count."""
    homes = [home.parent for home in folder.glob(f"[0-9]*/{SIGNED}")]
    return frozenset(number for home in homes if (number := _signed_number(home, info, curator)))


def _signed_number(home: Path, info: Info, curator: bytes) -> int:
    """The epoch in `home`; 0, which none has, if it is not signed or of another design."""
    try:
        signed = read_signed(home)
    except DamagedPublicationError:
        return 0
    manifest = signed.manifest
    if (manifest.design, manifest.version) != (info.name, info.version):
        return 0
    return manifest.epoch if verify_signature(signed, curator) == Passed() else 0


def open_publication(
    folder: Path, epoch: int | None = None, roles: Iterable[str] | None = None, opener: bool = False
) -> Publication:
    """Open an epoch, by default the current one.

    Args:
        folder: see `publication`.
        roles: whose files are opened, with the set-up's, and no others; None for every file there is.
        opener: with `roles`, whether the centre's are, too.

    Raises:
        NoPublicationError: if there is no such epoch.
        DamagedPublicationError: if its manifests are damaged or missing or say different things, or a file is
            missing or has another length.
    """
    number = current_epoch(folder) if epoch is None else epoch
    home = folder / str(number)
    try:
        manifest = Manifest.model_validate_json((home / MANIFEST).read_bytes())
    except FileNotFoundError:
        raise NoPublicationError(f"epoch {number} is not published in {folder.name}") from None
    except (OSError, ValidationError) as error:
        raise DamagedPublicationError(f"{MANIFEST} of epoch {number} cannot be read: {error}") from error
    if manifest.epoch != number:
        raise DamagedPublicationError(f"{MANIFEST} of epoch {number} is for epoch {manifest.epoch}")
    signed = read_signed(home)
    if not manifest.agrees(signed.manifest):
        raise DamagedPublicationError(f"{SIGNED} of epoch {number} is for other files than {MANIFEST}")
    needed = None if roles is None else manifest.needed(roles, opener)
    return Publication(home, manifest, signed, needed)


def read_signed(home: Path) -> SignedManifest:
    """The signed manifest in an epoch's folder.

    Raises:
        DamagedPublicationError: if it is missing or is none.
    """
    try:
        return SignedManifest.decode((home / SIGNED).read_bytes())
    except FileNotFoundError:
        raise DamagedPublicationError(
            f"epoch {home.name} has no {SIGNED}: it must be signed; build a new one"
        ) from None
    except (OSError, ProtocolError) as error:
        raise DamagedPublicationError(f"{SIGNED} of epoch {home.name} cannot be read: {error}") from error
