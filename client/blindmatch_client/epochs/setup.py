"""The set-up files of an epoch on the device: fetched once, checked, kept until the next one is adopted.

setup/oprf-psi-1/epoch-7/        whole; checked.json says which bytes were compared, and with which manifest
setup/oprf-psi-1/epoch-8.part/   being fetched; goes on where it stopped

Every byte is compared with the manifest once, when it was fetched; a start compares lengths and a set file's
last bytes, which hold a digest that stands for all of it. Everything is compared once the set is suspected.
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
    """The epochs of one design under `root`, a folder of the device that is made if it is missing."""

    def __init__(self, root: Path, design: AnyDesign) -> None:
        info = design.info
        self._folder = root / f"{info.name}-{info.version}"
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def whole(self, manifest: EpochManifest) -> SetupFiles | None:
        """The files of an epoch if they are here as its manifest says, without asking anybody."""
        folder = self._of(manifest.epoch)
        return _opened(folder, manifest) if _is_whole(folder, manifest) else None

    def suspect(self, epoch: int) -> None:
        """Compare every byte of an epoch again before it counts as whole, since one may be wrong."""
        (self._of(epoch) / _CHECKED).unlink(missing_ok=True)

    def complete(self, manifest: EpochManifest, egress: Egress, party: Party) -> SetupFiles:
        """The files of an epoch; what is missing or damaged is fetched from `party`, and nothing else;
        `ServiceError` if the party cannot be reached or refuses, or sends other bytes than the manifest's;
        `SetFileError` if the manifest names files that cannot be."""
        names = [file.name for file in manifest.files]
        if not all(_NAME.fullmatch(name) and name != _CHECKED for name in names):
            raise SetFileError("set-up: a file's name is letters, digits, dots, - and _")
        if sum(file.size for file in manifest.files) > MOST_SETUP_BYTES:
            raise SetFileError(f"set-up: all files together have at most {MOST_SETUP_BYTES >> 30} GiB")
        whole = self._of(manifest.epoch)
        if not _is_whole(whole, manifest):
            self._fetch(whole, manifest, _Source(egress, party, manifest.epoch))
        return _opened(whole, manifest)

    def keep_only(self, epoch: int) -> None:
        for folder in list(self._folder.iterdir()):
            if folder != self._of(epoch):
                shutil.rmtree(folder, ignore_errors=True)

    def _fetch(self, whole: Path, manifest: EpochManifest, source: _Source) -> None:
        """Fetch into the partial folder (which begins as the damaged whole one, if there is one)."""
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

    def _of(self, epoch: int) -> Path:
        return self._folder / f"epoch-{epoch}"


class _Source(Struct, frozen=True):
    egress: Egress
    party: Party
    epoch: int

    def complete(self, path: Path, file: ManifestFile) -> None:
        """Bring `path` to what `file` describes; `MisbehavedError` if what was fetched is something else."""
        resumed = path.exists()
        if resumed and (path.stat().st_size > file.size or not path.is_file()):
            path.unlink()
        self._append(path, file)
        if resumed and _digest(path) != file.digest:
            # what was here before may be what is wrong: once more from the first byte on
            path.unlink()
            self._append(path, file)
        if _digest(path) != file.digest:
            path.unlink()
            raise MisbehavedError(
                self.party,
                f"the bytes of set-up file {file.name} must have the digest that its manifest says",
            )

    def _append(self, path: Path, file: ManifestFile) -> None:
        """Fetch what is missing at the end; each attempt goes on where the one before stopped."""
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


def _is_whole(folder: Path, manifest: EpochManifest) -> bool:
    """Tell if every file is there with the bytes described; reads no more than it must."""
    noted = _noted(folder, manifest)
    if not folder.is_dir() or not all(
        _is_right(folder / file.name, file, (noted or {}).get(file.name)) for file in manifest.files
    ):
        return False
    if noted is None:
        with contextlib.suppress(OSError):  # on a disk that cannot be written every start reads all
            _note_checked(folder, manifest)
    return True


def _is_right(path: Path, file: ManifestFile, noted: str | None) -> bool:
    if not path.is_file() or path.stat().st_size != file.size:
        return False
    return (noted is not None and _ending(path) == noted) or _digest(path) == file.digest


def _noted(folder: Path, manifest: EpochManifest) -> Mapping[str, str] | None:
    """The endings of the set files, if every byte was compared with this very manifest."""
    try:
        noted = json.loads((folder / _CHECKED).read_bytes())
        endings = noted["endings"] if noted["manifest"] == manifest.digest.hex() else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return endings if isinstance(endings, dict) else None


def _note_checked(folder: Path, manifest: EpochManifest) -> None:
    """Note the endings of the set files, each of which was compared byte by byte."""
    endings = {file.name: _ending(folder / file.name) for file in manifest.files}
    kept = {name: found for name, found in endings.items() if found is not None}
    new = folder / f"{_CHECKED}.new"
    new.write_text(json.dumps({"manifest": manifest.digest.hex(), "endings": kept}))
    _sync_file(new)
    new.rename(folder / _CHECKED)
    sync_folder(folder)


def _ending(path: Path) -> str | None:
    """The overall digest at a set file's end, which stands for all its bytes; None for another file."""
    with path.open("rb") as file:
        found = ending(file)
    return None if found is None else found.hex()


def _opened(folder: Path, manifest: EpochManifest) -> SetupFiles:
    return SetupFiles(manifest.epoch, {file.name: _mapped(folder / file.name) for file in manifest.files})


def _mapped(path: Path) -> Buffer:
    """A read-only map; an empty file cannot be mapped."""
    with path.open("rb") as file:
        if path.stat().st_size == 0:
            return b""
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _sync_file(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
