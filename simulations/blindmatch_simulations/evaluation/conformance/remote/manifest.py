"""What a foreign counterpart claims to be: a JSON file, version 1, that allows no unknown field."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Final, Literal, Self

import numpy as np
from blindmatch_client.egress.egress import Credentials
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.contract import AnyDesign
from blindmatch_protocol.contract.declaration import CONTRACT_VERSION
from blindmatch_protocol.messages.parts import MOST_BODY_BYTES
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

from blindmatch_simulations.testbed.deployment.addresses import ManifestError

FORMAT: Final = "blindmatch-conformance-manifest"
VERSION: Final = 1
MOST_BYTES: Final = 1 << 20
MOST_HASHES: Final = 4096

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,126}$")]
HexRow = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
"""32 bytes in hexadecimal."""
PathText = Annotated[str, StringConstraints(min_length=1, max_length=4096)]
"""A path; a relative one begins at the manifest's folder."""


class _Document(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")


class SetupFile(_Document):
    """A set-up file: its name in the design, where it lies here, and its digest."""

    name: Name
    path: PathText
    sha256: HexRow


class Listed(_Document):
    """Entries of the list.

    Attributes:
        complete: True if these are all of them; neighbours of entries are then known to be off the list.
        hashes: entries, each once.
    """

    complete: bool
    hashes: Annotated[tuple[HexRow, ...], Field(min_length=1, max_length=MOST_HASHES)]

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if len(set(self.hashes)) != len(self.hashes):
            raise ValueError("must name each entry once")
        return self


class CredentialFiles(_Document):
    """Paths of PEM files: the root, and the certificate and key of a device.

    Attributes:
        server_names: for each role, the DNS name that the counterpart's certificate bears.
    """

    root: PathText
    certificate: PathText
    key: PathText
    server_names: dict[str, Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9.-]{1,253}$")]]


class Limits(_Document):
    """What the counterpart declares.

    Attributes:
        reply_bytes: the longest body of a reply.
        answer_ms: the longest time to an answer.
    """

    reply_bytes: Annotated[int, Field(ge=1, le=MOST_BODY_BYTES)]
    answer_ms: Annotated[int, Field(ge=1, le=600_000)]


class Manifest(_Document):
    """Version 1.

    Attributes:
        contract: version of the design contract (`CONTRACT_VERSION`).
        design, design_version: name of the design, and version of its messages and files.
        epoch: the epoch that is served.
        parameters: the design's, by name.
        public_key: the counterpart's OPRF key, or null for a design without one.
        setup: the set-up files of the epoch.
        listed: entries for the oracle.
        credentials: to call the counterpart with.
        limits: declared by the counterpart.
    """

    format: Literal["blindmatch-conformance-manifest"]
    version: Literal[1]
    contract: Annotated[int, Field(ge=1)]
    design: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    design_version: Annotated[int, Field(ge=1, lt=1 << 32)]
    epoch: Annotated[int, Field(ge=1, lt=1 << 63)]
    parameters: dict[str, int]
    public_key: HexRow | None
    setup: Annotated[tuple[SetupFile, ...], Field(max_length=64)]
    listed: Listed
    credentials: CredentialFiles
    limits: Limits

    @field_validator("setup")
    @classmethod
    def _once(cls, setup: tuple[SetupFile, ...]) -> tuple[SetupFile, ...]:
        if len({file.name for file in setup}) != len(setup):
            raise ValueError("must name each file once")
        return setup


class HeldManifest:
    """A manifest and the folder that its paths begin at."""

    def __init__(self, manifest: Manifest, path: Path) -> None:
        self.manifest, self.path = manifest, path

    def check_for(self, design: AnyDesign) -> None:
        """Make sure that it is for `design`.

        Raises:
            ManifestError: if it names another design, version or contract, or a parameter it does not have.
        """
        info, held = design.info, self.manifest
        wanted = {"contract": CONTRACT_VERSION, "design": info.name, "design_version": info.version}
        for field, value in wanted.items():
            if getattr(held, field) != value:
                raise self._error(field, f"must be {value!r}, not {getattr(held, field)!r}")
        unknown = set(held.parameters) - {parameter.name for parameter in info.parameters}
        if unknown:
            raise self._error(f"parameters.{min(unknown)}", f"{info.name} has no such parameter")
        wrong = set(info.roles) ^ set(held.credentials.server_names)
        if wrong:
            raise self._error("credentials.server_names", f"must name the design's roles: see {min(wrong)}")

    def setup_files(self) -> dict[str, bytes]:
        """The set-up files, each compared with its digest.

        Raises:
            ManifestError: if one cannot be read or has another digest.
        """
        return {file.name: self._setup_file(at, file) for at, file in enumerate(self.manifest.setup)}

    def _setup_file(self, at: int, file: SetupFile) -> bytes:
        content = self._read(f"setup.{at}.path", file.path)
        if hashlib.sha256(content).hexdigest() != file.sha256:
            raise self._error(f"setup.{at}.sha256", f"is not the digest of {file.path}")
        return content

    def credentials(self) -> Credentials:
        """Root, certificate and key.

        Raises:
            ManifestError: if one cannot be read.
        """
        names = self.manifest.credentials
        root, certificate, key = (
            self._read(f"credentials.{field}", getattr(names, field))
            for field in ("root", "certificate", "key")
        )
        return Credentials(root, certificate, key)

    def entries(self) -> Rows:
        """The listed hashes, uint8 (n, 32)."""
        raw = bytes.fromhex("".join(self.manifest.listed.hashes))
        return np.frombuffer(raw, np.uint8).reshape(-1, 32)

    def _read(self, field: str, path: str) -> bytes:
        try:
            return (self.path.parent / path).read_bytes()
        except OSError as error:
            raise self._error(field, f"{path}: {error.strerror}") from error

    def _error(self, field: str, rule: str) -> ManifestError:
        return ManifestError(f"{self.path.name}: field {field}: {rule}")


def read_manifest(path: Path) -> HeldManifest:
    """Read a manifest.

    Raises:
        ManifestError: if it cannot be read, or breaks the schema; the text names the field.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ManifestError(f"{path}: {error.strerror}") from error
    if len(raw) > MOST_BYTES:
        raise ManifestError(f"{path.name}: must be at most {MOST_BYTES} bytes")
    try:
        return HeldManifest(Manifest.model_validate_json(raw), path)
    except ValidationError as error:
        raise ManifestError(f"{path.name}: {_first(error)}") from None


def _first(error: ValidationError) -> str:
    """The first thing that is wrong, without the value it has; an unknown field before any that is missing,
    since a misspelt name is both."""
    errors = error.errors(include_url=False, include_context=False, include_input=False)
    found = min(errors, key=lambda one: one["type"] != "extra_forbidden")
    place = ".".join(str(part) for part in found["loc"])
    words = "unknown" if found["type"] == "extra_forbidden" else found["msg"]
    return f"field {place}: {words}" if place else words
