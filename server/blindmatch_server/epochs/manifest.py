"""What an epoch consists of, as JSON for its operators and as the manifest that devices verify; and what a
build is for."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Annotated, Final, Literal, Self

from blindmatch_protocol.contract import Info, Published, SetParameters, Stated
from blindmatch_protocol.messages.epoch_manifest import (
    NO_PREDECESSOR,
    EpochManifest,
    ManifestFile,
    parameters_of,
    role_keys_of,
)
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from blindmatch_server.storage.workspace import FileRecord

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
