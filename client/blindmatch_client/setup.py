"""The set-up files of an epoch on the device: fetched once, checked, kept until the next one is whole.

setup/oprf-psi-1/epoch-7/        whole; description.pb says what must be in it, checked.json how it ended
setup/oprf-psi-1/epoch-8.part/   being fetched; goes on where it stopped
                 epoch-8.part --fsync, rename--> epoch-8, then epoch-7 is removed

Every byte is compared with the description once, when it was fetched. A start need not read a set of a
hundred megabytes again: a set file's last bytes hold a digest that stands for all of it, and its sections
are checked when they are first used (docs/set-format.md). So a start compares lengths and those last bytes.
Files of any other form are compared as a whole each time, and so is everything after a check failed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import mmap
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from blindmatch_protocol.codec import Buffer
from blindmatch_protocol.contract import AnyDesign, Buffers, Party
from blindmatch_protocol.errors import SetFileError
from blindmatch_protocol.failpoint import reach
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from blindmatch_protocol.setfile import ending
from google.protobuf.message import DecodeError

from blindmatch_client.egress import Call, Egress
from blindmatch_client.egress.methods import DESCRIBE, FETCH_SETUP
from blindmatch_client.errors import MisbehavedError
from blindmatch_client.files import sync_folder
from blindmatch_client.trace import Purpose

FETCH_DEADLINE_S: Final = 600.0
MOST_FILES: Final = 64
MOST_SETUP_BYTES: Final = 64 << 30
_MANIFEST: Final = "description.pb"
_CHECKED: Final = "checked.json"
_OWN_NAMES: Final = frozenset({_MANIFEST, _CHECKED})
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*")


@dataclass(frozen=True, slots=True, repr=False)
class SetupFiles:
    """An epoch's files as read-only memory maps."""

    epoch: int
    files: Buffers


class SetupStore:
    """The epochs of one design under `root`.

    Args:
        root: a folder of the device; made if it is missing.
        design: whose set-up is kept.
    """

    def __init__(self, root: Path, design: AnyDesign) -> None:
        info = design.info
        self._name, self._version = info.name, info.version
        self._folder = root / f"{info.name}-{info.version}"
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def newest(self) -> SetupFiles | None:
        """The newest epoch that is here and whole, without asking anybody."""
        for epoch in sorted(self._epochs(), reverse=True):
            folder = self._whole(epoch)
            description = _manifest(folder)
            if description is not None and _is_whole(folder, description):
                return _opened(folder, description)
        return None

    def distrust(self, epoch: int) -> bool:
        """Compare every byte of an epoch again, because one was found wrong; are all as described?

        If not, it is this device's copy that is damaged: `newest` no longer gives it, and `fetch` mends it.
        """
        folder = self._whole(epoch)
        (folder / _CHECKED).unlink(missing_ok=True)
        description = _manifest(folder)
        return description is not None and _is_whole(folder, description)

    def fetch(self, egress: Egress, party: Party) -> SetupFiles:
        """The current epoch of `party`; only what is missing or damaged is fetched.

        Raises:
            ServiceError: if the party cannot be reached, refuses or describes nonsense.
            SetFileError: if it serves another design or version, or bytes that are not what it described.
        """
        description = egress.unary(
            Call(party, DESCRIBE, Purpose.SETUP, idempotent=True), pb.DescribeRequest()
        )
        self._check(description, party)
        whole = self._whole(description.epoch)
        if _manifest(whole) != description or not _is_whole(whole, description):
            self._complete(whole, description, _Source(egress, party, description.epoch))
        self._forget_all_but(description.epoch)
        return _opened(whole, description)

    def _complete(self, whole: Path, description: pb.Description, source: _Source) -> None:
        """Fetch into the partial folder (which begins as the damaged whole one, if there is one)."""
        part = whole.with_name(whole.name + ".part")
        if whole.exists() and not part.exists():
            whole.rename(part)
        shutil.rmtree(whole, ignore_errors=True)
        part.mkdir(exist_ok=True, mode=0o700)
        (part / _CHECKED).unlink(missing_ok=True)
        for file in description.setup:
            source.complete(part / file.name, file)
        _note_checked(part, description)
        _write_durably(part / _MANIFEST, description.SerializeToString(deterministic=True))
        reach("setup.rename.before")
        part.rename(whole)
        reach("setup.rename.after")
        sync_folder(whole.parent)

    def _check(self, description: pb.Description, party: Party) -> None:
        if (description.design, description.version) != (self._name, self._version):
            raise SetFileError(
                f"set-up: must be of design {self._name} version {self._version}, "
                f"not of {description.design!r} version {description.version}"
            )
        names = [file.name for file in description.setup]
        if len(set(names)) != len(names) or len(names) > MOST_FILES:
            raise MisbehavedError(party, f"a set-up has up to {MOST_FILES} files with different names")
        if not all(_NAME.fullmatch(name) and name not in _OWN_NAMES and len(name) < 128 for name in names):
            raise MisbehavedError(party, "a set-up file's name is letters, digits, dots, - and _")
        if sum(file.size for file in description.setup) > MOST_SETUP_BYTES or not description.epoch:
            raise MisbehavedError(party, "a set-up has an epoch from 1 on and is not endless")

    def _whole(self, epoch: int) -> Path:
        return self._folder / f"epoch-{epoch}"

    def _epochs(self) -> Iterator[int]:
        for folder in self._folder.iterdir():
            number = folder.name.removeprefix("epoch-")
            if number.isdecimal():
                yield int(number)

    def _forget_all_but(self, epoch: int) -> None:
        for folder in list(self._folder.iterdir()):
            if folder != self._whole(epoch):
                shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class _Source:
    """Where an epoch's files come from."""

    egress: Egress
    party: Party
    epoch: int

    def complete(self, path: Path, file: pb.SetupFile) -> None:
        """Bring `path` to what `file` describes.

        Raises:
            SetFileError: if what was fetched from the first byte on has another digest.
        """
        resumed = path.exists()
        if resumed and (path.stat().st_size > file.size or not path.is_file()):
            path.unlink()
        self._append(path, file)
        if resumed and _digest(path) != file.sha256:
            # what was here before may be what is wrong: once more from the first byte on
            path.unlink()
            self._append(path, file)
        if _digest(path) != file.sha256:
            path.unlink()
            raise SetFileError(
                f"set-up: file {file.name}: its bytes must have the digest it was described with"
            )

    def _append(self, path: Path, file: pb.SetupFile) -> None:
        """Fetch what is missing at the end; each attempt goes on where the one before stopped."""
        path.touch(mode=0o600)

        def request() -> pb.SetupRequest:
            return pb.SetupRequest(epoch=self.epoch, name=file.name, offset=path.stat().st_size)

        if path.stat().st_size < file.size:
            call = Call(self.party, FETCH_SETUP, Purpose.SETUP, None, True, FETCH_DEADLINE_S)
            self.egress.stream(call, request, self._writer(path, file))
        _sync_file(path)

    def _writer(self, path: Path, file: pb.SetupFile) -> Callable[[Iterator[pb.Part]], None]:
        def write(parts: Iterator[pb.Part]) -> None:
            with path.open("ab") as out:
                for number, part in enumerate(parts):
                    if part.size != (file.size if number == 0 else 0):
                        raise MisbehavedError(
                            self.party, "the first part, and no other, bears the file's size"
                        )
                    if out.tell() + len(part.data) > file.size:
                        raise MisbehavedError(self.party, "a set-up file is not longer than described")
                    out.write(part.data)
                if out.tell() != file.size:
                    raise MisbehavedError(self.party, "a set-up file is not shorter than described")

        return write


def _manifest(folder: Path) -> pb.Description | None:
    """What must be in `folder`, as far as it can be read."""
    try:
        return pb.Description.FromString((folder / _MANIFEST).read_bytes())
    except (OSError, DecodeError):
        return None


def _is_whole(folder: Path, description: pb.Description) -> bool:
    """Is every file there with the bytes described, as far as must be read to know it?"""
    noted = _noted(folder)
    if not (folder / _MANIFEST).is_file() or not all(
        _is_right(folder / file.name, file, (noted or {}).get(file.name)) for file in description.setup
    ):
        return False
    if noted is None:
        with contextlib.suppress(OSError):  # on a disk that cannot be written every start reads all
            _note_checked(folder, description)
    return True


def _is_right(path: Path, file: pb.SetupFile, noted: str | None) -> bool:
    if not path.is_file() or path.stat().st_size != file.size:
        return False
    return (noted is not None and _ending(path) == noted) or _digest(path) == file.sha256


def _noted(folder: Path) -> Mapping[str, str] | None:
    """The endings of the set files whose every byte has been compared, if that was done."""
    try:
        noted = json.loads((folder / _CHECKED).read_bytes())
    except (OSError, ValueError):
        return None
    return noted if isinstance(noted, dict) else None


def _note_checked(folder: Path, description: pb.Description) -> None:
    """Note the endings of the set files, each of which was compared byte by byte."""
    endings = {file.name: _ending(folder / file.name) for file in description.setup}
    noted = json.dumps({name: found for name, found in endings.items() if found is not None})
    new = folder / f"{_CHECKED}.new"
    _write_durably(new, noted.encode())
    new.rename(folder / _CHECKED)


def _ending(path: Path) -> str | None:
    """What stands for all bytes of a set file; None for a file of another form."""
    with path.open("rb") as file:
        found = ending(file)
    return None if found is None else found.hex()


def _opened(folder: Path, description: pb.Description) -> SetupFiles:
    files = {file.name: _mapped(folder / file.name) for file in description.setup}
    return SetupFiles(description.epoch, files)


def _mapped(path: Path) -> Buffer:
    """A read-only map; an empty file cannot be mapped."""
    with path.open("rb") as file:
        if path.stat().st_size == 0:
            return b""
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _write_durably(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    _sync_file(path)
    sync_folder(path.parent)


def _sync_file(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
