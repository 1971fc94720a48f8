"""Fetch the set-up files of an epoch once, check them, and keep them until the next epoch is adopted.

setup/oprf-psi-1/epoch-7/        whole; checked.json says which bytes were compared, and with which manifest
setup/oprf-psi-1/epoch-8.part/   being fetched; an interrupted fetch continues there

Every byte is compared with the manifest once, after it was fetched. A start compares only lengths and the
last bytes of each set file, which hold a digest of the whole file. After a fault every byte is compared
again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import mmap
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from blindmatch_protocol.codec import Buffer
from blindmatch_protocol.codec.errors import SetFileError
from blindmatch_protocol.contract import AnyDesign, Party
from blindmatch_protocol.failpoint import reach
from blindmatch_protocol.messages.epoch_manifest import EpochManifest, ManifestFile
from blindmatch_protocol.messages.parts import PART, Joiner
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from blindmatch_protocol.setfile import ending
from msgspec import Struct

from blindmatch_client.egress import Call, Egress, received
from blindmatch_client.egress.calls import FETCH_SETUP
from blindmatch_client.epochs.trusted import SetupFiles
from blindmatch_client.errors import MisbehavedError
from blindmatch_client.store.store_file import sync_folder
from blindmatch_client.trace import Purpose

FETCH_DEADLINE_S: Final = 600.0
MOST_SETUP_BYTES: Final = 64 << 30
_CHECKED: Final = "checked.json"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*")


class SetupStore:
    """The set-up files of one design's epochs, in a folder under `root` that is made if it is missing."""

    def __init__(self, root: Path, design: AnyDesign) -> None:
        info = design.info
        self._folder = root / f"{info.name}-{info.version}"
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def open_whole(self, manifest: EpochManifest) -> SetupFiles | None:
        """Open the files of an epoch, asking nobody; None unless all are here as its manifest says."""
        folder = self._locate(manifest.epoch)
        endings = _read_endings(folder, manifest)
        if not _is_whole(folder, manifest, endings):
            return None
        if endings is None:  # every byte was compared just now: the next start need not do it again
            with contextlib.suppress(OSError):  # on a disk that cannot be written every start reads all
                _note_checked(folder, manifest)
        return _open_files(folder, manifest)

    def suspect(self, epoch: int) -> None:
        """Have every byte of an epoch compared again before it counts as whole, since one may be wrong."""
        (self._locate(epoch) / _CHECKED).unlink(missing_ok=True)

    def complete(self, manifest: EpochManifest, egress: Egress, party: Party) -> SetupFiles:
        """Open the files of an epoch, after fetching from `party` what is missing or damaged, and no more.

        Raises:
            ServiceError: The party cannot be reached, refuses, or sends other bytes than the manifest's.
            SetFileError: The manifest names files that cannot be.
        """
        names = [file.name for file in manifest.files]
        if not all(_NAME.fullmatch(name) and name != _CHECKED for name in names):
            raise SetFileError("set-up: a file's name is letters, digits, dots, - and _")
        if sum(file.size for file in manifest.files) > MOST_SETUP_BYTES:
            raise SetFileError(f"set-up: all files together have at most {MOST_SETUP_BYTES >> 30} GiB")
        files = self.open_whole(manifest)
        if files is not None:
            return files
        folder = self._locate(manifest.epoch)
        self._fetch(folder, manifest, _Source(egress, party, manifest.epoch))
        return _open_files(folder, manifest)

    def keep_only(self, epoch: int) -> None:
        """Delete the files of all other epochs."""
        for folder in list(self._folder.iterdir()):
            if folder != self._locate(epoch):
                shutil.rmtree(folder, ignore_errors=True)

    def _fetch(self, whole: Path, manifest: EpochManifest, source: _Source) -> None:
        """Fetch into the partial folder, which starts as the damaged whole one if there is one; rename it."""
        part = whole.with_name(whole.name + ".part")
        if whole.exists() and not part.exists():
            whole.rename(part)
        shutil.rmtree(whole, ignore_errors=True)
        part.mkdir(exist_ok=True, mode=0o700)
        (part / _CHECKED).unlink(missing_ok=True)
        for file in manifest.files:
            source.complete(part / file.name, file)
        _note_checked(part, manifest)
        reach("setup.rename.before")
        part.rename(whole)
        reach("setup.rename.after")
        sync_folder(whole.parent)

    def _locate(self, epoch: int) -> Path:
        return self._folder / f"epoch-{epoch}"


class _Source(Struct, frozen=True):
    """The host from which one epoch's files are fetched."""

    egress: Egress
    party: Party
    epoch: int

    def complete(self, path: Path, file: ManifestFile) -> None:
        """Fetch what `path` lacks of the file that `file` describes.

        Raises:
            MisbehavedError: The host sent other bytes.
        """
        was_resumed = path.exists()
        if was_resumed and (path.stat().st_size > file.size or not path.is_file()):
            path.unlink()
        self._append(path, file)
        if was_resumed and _compute_digest(path) != file.digest:
            # the bytes from before may be the wrong ones: fetch all of them again
            path.unlink()
            self._append(path, file)
        if _compute_digest(path) != file.digest:
            path.unlink()
            raise MisbehavedError(
                self.party,
                f"the bytes of set-up file {file.name} must have the digest that its manifest says",
            )

    def _append(self, path: Path, file: ManifestFile) -> None:
        """Fetch what is missing at the end; each attempt continues where the one before stopped."""
        path.touch(mode=0o600)

        def request() -> pb.SetupRequest:
            return pb.SetupRequest(epoch=self.epoch, name=file.name, offset=path.stat().st_size)

        def write(parts: Iterator[pb.Part]) -> None:
            with path.open("ab") as out:
                joiner = Joiner(PART, file.size, "set-up file", file.size, out.tell())
                for data in received(self.party, joiner, parts):
                    out.write(data)

        if path.stat().st_size < file.size:
            call = Call(self.party, FETCH_SETUP, Purpose.SETUP, None, True, FETCH_DEADLINE_S)
            self.egress.stream(call, request, write)
        _sync_file(path)


def _is_whole(folder: Path, manifest: EpochManifest, endings: Mapping[str, str] | None) -> bool:
    """Tell if every file is there with the bytes that the manifest describes.

    A file whose ending is among the noted `endings` is not read further.
    """
    if not folder.is_dir():
        return False
    noted = {} if endings is None else endings
    return all(_is_right(folder / file.name, file, noted.get(file.name)) for file in manifest.files)


def _is_right(path: Path, file: ManifestFile, noted_ending: str | None) -> bool:
    if not path.is_file() or path.stat().st_size != file.size:
        return False
    if noted_ending is not None and _read_ending(path) == noted_ending:
        return True
    return _compute_digest(path) == file.digest


def _read_endings(folder: Path, manifest: EpochManifest) -> Mapping[str, str] | None:
    """Read the noted endings of the set files; None unless every byte was compared with this manifest."""
    try:
        note = json.loads((folder / _CHECKED).read_bytes())
        endings = note["endings"] if note["manifest"] == manifest.digest.hex() else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return endings if isinstance(endings, dict) else None


def _note_checked(folder: Path, manifest: EpochManifest) -> None:
    """Note the endings of the set files, each of which was compared byte by byte."""
    endings = {file.name: _read_ending(folder / file.name) for file in manifest.files}
    kept = {name: digest for name, digest in endings.items() if digest is not None}
    new = folder / f"{_CHECKED}.new"
    new.write_text(json.dumps({"manifest": manifest.digest.hex(), "endings": kept}))
    _sync_file(new)
    new.rename(folder / _CHECKED)
    sync_folder(folder)


def _read_ending(path: Path) -> str | None:
    """Read the digest of all bytes at a set file's end; None if the file is no set file."""
    with path.open("rb") as file:
        digest = ending(file)
    return None if digest is None else digest.hex()


def _open_files(folder: Path, manifest: EpochManifest) -> SetupFiles:
    return SetupFiles(manifest.epoch, {file.name: _map_file(folder / file.name) for file in manifest.files})


def _map_file(path: Path) -> Buffer:
    """Map a file read-only; an empty one, which cannot be mapped, gives no bytes."""
    with path.open("rb") as file:
        if path.stat().st_size == 0:
            return b""
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _compute_digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _sync_file(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
