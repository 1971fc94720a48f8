"""The JSON files of a publication: what an epoch consists of, and what a build is for."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Annotated, Final, Literal, Self

from blindmatch_protocol.contract import Info, Published, SetParameters
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from blindmatch_server.workspace import FileRecord

MANIFEST = "manifest.json"
FORMAT: Final = 1

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


class Plan(_Document):
    """What a build is for; a build is taken up again only for the same plan.

    Attributes:
        format: version of this document.
        design: name of the design.
        version: of the design's messages and files.
        epoch: number of the epoch.
        entries: entries of the list.
        parameters: the design's parameters, defaults included.
        work: SHA-256 over the list, or over what an update adds and removes.
    """

    format: Literal[1]
    design: str
    version: int
    epoch: Annotated[int, Field(ge=1)]
    entries: Count
    parameters: dict[str, int]
    work: Digest

    @classmethod
    def of(cls, info: Info, parameters: SetParameters, entries: int, work: str) -> Self:
        """The plan of a build of `entries` entries.

        Raises:
            DesignError: if a parameter is unknown or out of its range.
        """
        return cls(
            format=FORMAT, design=info.name, version=info.version, epoch=parameters.epoch, entries=entries,
            parameters=_values(info, parameters), work=work,
        )  # fmt: skip


class Manifest(_Document):
    """What a published epoch consists of, version 1.

    Attributes:
        format: version of this document.
        design: name of the design.
        version: of the design's messages and files.
        epoch: number of the epoch.
        entries: entries of the list.
        parameters: the design's parameters, defaults included.
        setup: names of the files every device gets.
        roles: names of each role's files.
        opener: names of the centre's files.
        files: all of them, by name.
    """

    format: Literal[1]
    design: str
    version: int
    epoch: Annotated[int, Field(ge=1)]
    entries: Count
    parameters: dict[str, int]
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
