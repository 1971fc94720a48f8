"""Opens published epochs; `publication` makes them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from blindmatch_proofs.endorsement import FILE as ENDORSEMENT
from blindmatch_proofs.epoch_manifest import verify_signature
from blindmatch_proofs.verdict import Failed, Passed
from blindmatch_protocol.codec.errors import BlindmatchError, ProtocolError
from blindmatch_protocol.contract import Info
from blindmatch_protocol.messages.epoch_manifest import SignedManifest
from pydantic import ValidationError

from blindmatch_server.epochs.manifest import MANIFEST, SIGNED, FileEntry, Manifest
from blindmatch_server.storage.mapping import MappedFile, MappingError

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
