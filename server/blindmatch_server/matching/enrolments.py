"""What accounts enrolled with: one file for each account and role, kept while the set-up's key stays.

    Enrolled -> whole? how far?      OWNER-KEY-SHA256         whole: synced, decoded once, renamed
    Enrol    -> from there on        OWNER-KEY-SHA256.part    on its way; goes on where it stopped

OWNER is a digest of role and account, KEY one of design, version and key; the account is that of the caller's
certificate, so nobody reads or replaces another's. A whole one is acknowledged once its name is on disk; it
then takes the place of the one before.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Final

from blindmatch_protocol.codec import Message, decode_any, most_bytes
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.contract import AnyDesign, Role
from blindmatch_protocol.failpoint import reach
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as wire

from blindmatch_server.matching.epochs import OpenEpoch
from blindmatch_server.storage.errors import (
    NotFoundError,
    OutOfRangeError,
    PreconditionError,
    UnsupportedError,
)
from blindmatch_server.storage.files import sync_folder

STEP: Final = "matching/enrol"
_OTHER_KEY: Final = "must be that of the epoch in force"
_PART: Final = ".part"
_NAME_BYTES: Final = 16
_MOST_DECODED: Final = 4
"""Decoded enrolments that a process keeps."""


class NotEnrolledError(PreconditionError):
    """The role holds no enrolment of the account under the key in force: it must be sent first."""

    def __init__(self) -> None:
        super().__init__(STEP, "this account must enrol first", "enrolment")

    def __reduce__(self) -> tuple[type[NotEnrolledError], tuple[()]]:
        """So that it can come from a worker process."""
        return type(self), ()


class Enrolments:
    """The files of one host, in a directory that is made if it is needed."""

    def __init__(self, design: AnyDesign, directory: Path, most_bytes: int) -> None:
        self._design = design
        self._directory = directory
        self._most_bytes = most_bytes
        self._in_force: bytes | None = None

    async def use(self, key: bytes) -> None:
        """Forget what was held under other keys than the one in force."""
        if not self._design.enrolments or key == self._in_force:
            return
        self._in_force = key
        await asyncio.to_thread(self._forget, self._name_of(key))

    async def held(self, role: Role, account: str, key: bytes) -> Path | None:
        """The file of a whole enrolment under `key`, which never changes under its name; None if the role
        takes none. Raises `NotEnrolledError` if it takes something, and there is none."""
        if role not in self._design.enrolments:
            return None
        path = await asyncio.to_thread(self._whole, role, account, key)
        if path is None:
            raise NotEnrolledError()
        return path

    def check(self, head: wire.EnrolmentHead, epoch: OpenEpoch) -> Role:
        """The role that is to hold it; a `RefusedError` or `ProtocolError` if none can."""
        info = self._design.info
        role = Role(head.role)
        if (head.design, head.version) != (info.name, info.version):
            raise UnsupportedError(STEP, f"must be {info.name} version {info.version}", "design")
        if role not in self._design.enrolments or role not in epoch.roles:
            raise NotFoundError(STEP, "takes no enrolment here", "role")
        if head.key != epoch.enrolment_key:
            raise PreconditionError(STEP, _OTHER_KEY, "key")
        most = min(self._most_bytes, most_bytes(*self._design.enrolments[role]))
        if not 1 <= head.size <= most:
            raise ProtocolError(STEP, f"must be 1 to {most} bytes", "size")
        if len(head.sha256) != sha256().digest_size:
            raise ProtocolError(STEP, "must be a SHA-256 digest", "sha256")
        return role

    def state(self, head: wire.EnrolmentHead, account: str) -> wire.Held:
        """What is held of an account, and how much of what `head` names."""
        role = Role(head.role)
        whole = self._whole(role, account, head.key)
        part = self._path(role, account, head.key, head.sha256, _PART)
        received = part.stat().st_size if part.exists() else 0
        if whole is None:
            return wire.Held(received=received)
        return wire.Held(
            size=whole.stat().st_size, sha256=bytes.fromhex(whole.name.rpartition("-")[2]), received=received
        )

    async def take(
        self, head: wire.EnrolmentHead, account: str, offset: int, data: AsyncIterator[bytes]
    ) -> wire.Held:
        """Take the rest of an enrolment from `offset` on; when this returns, it is held. `OutOfRangeError` if
        the offset is not what was received; `PreconditionError` if it was forgotten meanwhile, as another key
        is in force; `ProtocolError` if bytes are missing, which may still come; or if they are left over,
        other than the digest's, or no message that the role takes: nothing of it is kept then."""
        part = self._path(Role(head.role), account, head.key, head.sha256, _PART)
        await asyncio.to_thread(self._begin, part, offset)
        if offset < head.size:
            with part.open("ab") as file:
                async for piece in data:
                    await asyncio.to_thread(file.write, piece)
        with suppress(FileNotFoundError):  # forgotten with its key, or finished by a call that was cut off
            await asyncio.to_thread(self._finish, Role(head.role), part)
        held = await asyncio.to_thread(self.state, head, account)
        if held.sha256 != head.sha256:
            raise PreconditionError(STEP, _OTHER_KEY, "key")
        return held

    def _begin(self, part: Path, offset: int) -> None:
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        for other in self._directory.glob(f"{part.name.partition('-')[0]}-*{_PART}"):
            if other != part:
                other.unlink(missing_ok=True)
        received = part.stat().st_size if part.exists() else 0
        if offset != received:
            raise OutOfRangeError(STEP, f"must be {received}", "offset")

    def _finish(self, role: Role, part: Path) -> None:
        whole = part.with_name(part.name.removesuffix(_PART))
        data = part.read_bytes()
        try:
            if sha256(data).hexdigest() != whole.name.rpartition("-")[2]:
                raise ProtocolError(STEP, "must be that of the bytes", "sha256")
            decode_any(self._design.enrolments[role], data, f"{self._design.info.name}/enrolment of {role}")
        except ProtocolError:
            part.unlink(missing_ok=True)
            raise
        with part.open("rb") as file:
            os.fsync(file.fileno())
        reach("enrolment.rename.before")
        part.rename(whole)
        reach("enrolment.rename.after")
        sync_folder(self._directory)
        for other in self._directory.glob(f"{whole.name.rpartition('-')[0]}-*"):
            if other != whole:
                other.unlink(missing_ok=True)

    def _whole(self, role: Role, account: str, key: bytes) -> Path | None:
        """The newest whole one; there are two if a crash came before the older one was removed."""
        prefix = self._path(role, account, key, b"", "").name
        found = [path for path in self._directory.glob(f"{prefix}*") if path.suffix != _PART]
        return max(found, key=lambda path: path.stat().st_mtime_ns, default=None)

    def _path(self, role: Role, account: str, key: bytes, digest: bytes, suffix: str) -> Path:
        owner = _digest(b"owner", role.encode(), account.encode())
        return self._directory / f"{owner}-{self._name_of(key)}-{digest.hex()}{suffix}"

    def _name_of(self, key: bytes) -> str:
        info = self._design.info
        return _digest(b"key", info.name.encode(), info.version.to_bytes(4, "big"), key)

    def _forget(self, key: str) -> None:
        for path in self._directory.glob("*-*-*"):
            if path.name.split("-")[1] != key:
                path.unlink(missing_ok=True)


def _digest(*parts: bytes) -> str:
    framed = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    return sha256(b"blindmatch/enrolment/1" + framed).hexdigest()[: 2 * _NAME_BYTES]


@lru_cache(_MOST_DECODED)
def decoded(design: AnyDesign, role: Role, path: Path) -> Message:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise NotEnrolledError() from None
    return decode_any(design.enrolments[role], data, f"{design.info.name}/enrolment of {role}")
