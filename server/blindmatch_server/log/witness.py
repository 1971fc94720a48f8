"""Witnesses: how a log asks them, and the service that one is. It cosigns what continues what it has kept of
a log, and nothing else.

log --AddCheckpoint(old, proof, checkpoint)--> witness        200: its cosignature, of now, verified here
                                                              409: its size; asked once more from there
                                                              409 again, 422: it has kept another tree
                                                              400, 403, 404: it has not looked at the tree

That is add-checkpoint of c2sp.org/tlog-witness: over gRPC here, over HTTPS below.

    AddCheckpoint --judge--> checkpoint, replaced in one step --> cosignature

The checkpoint is on the disk before it is cosigned, so that a witness that is killed in between cosigns the
same one when it is asked again, and never another of its size.
"""

from __future__ import annotations

import asyncio
import io
import socket
import ssl
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from hashlib import sha256
from http.client import HTTPException, HTTPResponse, HTTPSConnection
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import grpc.aio
from blindmatch_proofs import tlog
from blindmatch_proofs.checkpoint import (
    NOTE_MOST,
    Checkpoint,
    Note,
    NoteSignature,
    NoteSigner,
    VerifierKey,
    parse_decimal,
    verify_signature,
)
from blindmatch_proofs.merkle import Nodes, prove_consistency
from blindmatch_proofs.tlog import OK, AddCheckpoint, judge
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.contract import Party
from blindmatch_protocol.failpoint import reach
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as wire
from blindmatch_protocol.rpc import blindmatch_v1_pb2_grpc as rpc
from google.protobuf.descriptor import ServiceDescriptor
from msgspec import Struct, field

from blindmatch_server.hosting.authority import Credentials, Identity, Kind
from blindmatch_server.hosting.endpoint import Call, Line, Method, channel_to
from blindmatch_server.hosting.event_log import Clock, EventLog
from blindmatch_server.storage.errors import ForbiddenError, PreconditionError, StateError, UnavailableError
from blindmatch_server.storage.files import replace_file, storage, sync_folder

KnownLog = Callable[[str], VerifierKey | None]
"""The key of the log with this origin, if it is one that is watched."""
_STEP: Final = "witness/add-checkpoint"


class Witness:
    """The service, which `log` alone may ask; its folder, made if it is missing, holds a checkpoint for each
    origin."""

    descriptor: ServiceDescriptor = wire.DESCRIPTOR.services_by_name["Witness"]

    def __init__(self, folder: Path, signer: NoteSigner, known: KnownLog, log: Party, clock: Clock) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        sync_folder(folder.parent)  # a witness whose folder a loss of power takes has forgotten every log
        self._folder = folder
        self._signer = signer
        self._known = known
        self._clock = clock
        self._asker = Identity.of(log)
        self._lock = threading.Lock()

    def methods(self) -> Mapping[str, Method | Line]:
        return {"AddCheckpoint": Method(self.add_checkpoint, frozenset({Kind.HOST}))}

    async def add_checkpoint(self, request: wire.AddCheckpointRequest, call: Call) -> wire.AddCheckpointReply:
        """Cosign a checkpoint, or say why not (c2sp.org/tlog-witness); `ForbiddenError` if another server
        than the log asks."""
        if call.caller != self._asker:
            raise ForbiddenError(_STEP, f"only the {self._asker.words} asks")
        with storage("keeping a checkpoint"):
            return await asyncio.to_thread(self._answer, request.body)

    def _answer(self, body: bytes) -> wire.AddCheckpointReply:
        try:
            asked = AddCheckpoint.parse(body)
            origin = Checkpoint.from_note(asked.note).origin
        except ProtocolError as error:
            return wire.AddCheckpointReply(status=tlog.BAD_REQUEST, body=str(error).encode())
        key = self._known(origin)
        path = self._folder / sha256(origin.encode()).hexdigest()
        with self._lock:  # held by the thread: it goes on when its call is cancelled
            found = judge(asked, {} if key is None else {origin: key}, _latest(path))
            if isinstance(found, tlog.Refused):
                return wire.AddCheckpointReply(status=found.status, body=found.body.encode())
            reach("witness.keep.before")
            replace_file(path, asked.note.encode())
            reach("witness.keep.after")
        reach("witness.cosign.before")
        line = self._signer.sign(asked.note.text, int(self._clock())).line
        return wire.AddCheckpointReply(status=OK, body=line.encode())


def _latest(path: Path) -> Checkpoint | None:
    """What was kept; `StateError` if it cannot be read: who forgets may cosign a second history."""
    try:
        return Checkpoint.from_note(Note.parse(path.read_bytes()))
    except FileNotFoundError:
        return None
    except (OSError, ProtocolError) as error:
        raise StateError(f"{path.name}: the checkpoint that was kept cannot be read") from error


APPEND: Final = "log/append"
SECONDS: Final = 8.0
"""What a witness has for its answer; twice that is less than who appends waits."""
_OTHER: Final = (
    "a longer tree than this log's, or another one: the log was put back to an older state, or its key signs "
    "elsewhere, too. It signs nothing more, or it would fork: bring its newest state back"
)


class OtherTreeError(ProtocolError):
    """A witness has kept a longer tree than the log's, or another one."""


Ask = Callable[[bytes], Awaitable[tuple[int, bytes]]]
"""Hands a witness a request's bytes: its status (HTTP's number) and the body that goes with it.

`AioRpcError`, `OSError` or `ProtocolError` if it gives none.
"""


class WitnessAt(Struct, frozen=True):
    """A witness, as its log knows it, under the name in events and refusals."""

    name: str
    key: VerifierKey
    ask: Ask


async def ask_over_grpc(
    party: Party, find: Callable[[], str], credentials: Credentials, body: bytes
) -> tuple[int, bytes]:
    """`Ask` of a witness of this deployment, under the log's credentials, at the address, ``host:port``, that
    `find` gives in a thread; empty if it is not known to run."""
    address = await asyncio.to_thread(find)
    if not address:
        raise ProtocolError("witness", "is not running")
    async with channel_to(party, address, credentials) as channel:
        stub: Any = rpc.WitnessStub(channel)  # type: ignore[no-untyped-call]
        reply = await stub.AddCheckpoint(wire.AddCheckpointRequest(body=body), timeout=SECONDS)
        return reply.status, reply.body


class Cosigning(Struct):
    """Asks the witnesses of a log; `quorum` says whether those whose keys have these names are one."""

    witnesses: Sequence[WitnessAt]
    quorum: Callable[[Set[str]], bool]
    log: EventLog
    clock: Clock
    _at: dict[tuple[str, str], int] = field(default_factory=dict)

    async def cosigned(self, note: Note, nodes: Nodes) -> Note:
        """The checkpoint with a cosignature of every witness that gives one now."""
        answers = await self._answers(note, nodes, "not-cosigned")
        return note.add_signatures(*(one for _, one in answers if isinstance(one, NoteSignature)))

    async def check_newest(self, note: Note, nodes: Nodes) -> None:
        """See that no checkpoint that a quorum may have cosigned is longer than this one, or of another tree;
        `PreconditionError` if a witness has kept such a one, `UnavailableError` if those that give no answer
        may be a quorum."""
        answers = await self._answers(note, nodes, "not-compared")
        if other := [one.name for one, found in answers if isinstance(found, OtherTreeError)]:
            raise PreconditionError(APPEND, f"{', '.join(other)} kept {_OTHER}")
        silent = {one.key.name: (one, found) for one, found in answers if isinstance(found, Exception)}
        if self.quorum(silent.keys()):
            names = ", ".join(f"{one.name} ({_words(found)})" for one, found in silent.values())
            raise UnavailableError(
                APPEND, f"no cosignature of {names}, who may have cosigned more: it must first"
            )

    async def _answers(
        self, note: Note, nodes: Nodes, event: str
    ) -> list[tuple[WitnessAt, NoteSignature | Exception]]:
        answers = await asyncio.gather(*(self._asked(one, note, nodes) for one in self.witnesses))
        for witness, found in zip(self.witnesses, answers, strict=True):
            if isinstance(found, Exception):
                self.log.write(event, witness=witness.name, reason=_words(found))
        return list(zip(self.witnesses, answers, strict=True))

    async def _asked(self, witness: WitnessAt, note: Note, nodes: Nodes) -> NoteSignature | Exception:
        try:
            return await self._cosignature(witness, note, nodes)
        except (grpc.aio.AioRpcError, ProtocolError, OSError) as error:
            return error

    async def _cosignature(self, witness: WitnessAt, note: Note, nodes: Nodes) -> NoteSignature:
        """Raises `ProtocolError` if the witness refuses, or answers something else than its cosignature."""
        head = Checkpoint.from_note(note)
        known = (witness.name, head.origin)
        status, body = await _add(witness.ask, self._at.get(known, 0), note, nodes)
        if status == tlog.CONFLICT:
            size = _size_of(body)
            if size <= head.size:
                status, body = await _add(witness.ask, size, note, nodes)
        if status != OK:
            kind = OtherTreeError if status in (tlog.CONFLICT, tlog.UNPROCESSABLE) else ProtocolError
            said = "".join(one for one in body.decode(errors="replace")[:200] if one.isprintable())
            raise kind("witness", f"refused with {status}: {said}")
        self._at[known] = head.size
        return _verified(witness.key, body, note.text, int(self.clock()))


async def _add(ask: Ask, old: int, note: Note, nodes: Nodes) -> tuple[int, bytes]:
    size = Checkpoint.from_note(note).size
    path = await asyncio.to_thread(prove_consistency, nodes, min(old, size), size)
    return await ask(AddCheckpoint(min(old, size), path, note).encode())


def _size_of(body: bytes) -> int:
    """The size in the body of a 409; one without its line end may have been cut off."""
    size, end, rest = body.decode(errors="replace").partition("\n")
    if rest or not end:
        raise ProtocolError("witness", "must answer 409 with a size and a line end")
    return parse_decimal(size, "witness", "size")


def _verified(key: VerifierKey, body: bytes, text: str, now: int) -> NoteSignature:
    """The cosignature of `text` by `key` among the lines of an answer; those of other keys are ignored;
    `ProtocolError` if there is none, or it says another time than `now`, as one that was made before does."""
    *lines, end = body.decode(errors="replace").split("\n")
    for one in map(NoteSignature.parse, lines):
        at = verify_signature(key, one, text)
        if at is not None and not end:
            if abs(now - at) > tlog.SKEW_S:
                raise ProtocolError("witness", f"must date its cosignature now, not {now - at} s ago")
            return one
    raise ProtocolError("witness", "must answer with its cosignature")


def _words(error: Exception) -> str:
    return (
        str(error.code().name)
        if isinstance(error, grpc.aio.AioRpcError)
        else str(error) or type(error).__name__
    )


REPLY_MOST: Final = NOTE_MOST
"""Bytes of an answer's body; http.client bounds its head: 100 lines of 64 KiB."""
_POSTED: Final = "witness"
_HEADERS: Final = {"Content-Type": "text/plain; charset=utf-8", "User-Agent": "blindmatch-log"}
_URL_MOST: Final = 2048


class SubmissionPrefix(Struct, frozen=True):
    """Where a witness takes checkpoints: host, port, and the path of the call."""

    host: str
    port: int
    path: str

    @classmethod
    def parse(cls, url: str) -> SubmissionPrefix:
        """Read ``https://HOST[:PORT][/PATH]``; `ProtocolError` for anything else."""
        wrong = ProtocolError(_POSTED, "must be https://HOST[:PORT][/PATH], in ASCII", "url")
        if len(url) > _URL_MOST or not (url.isascii() and url.isprintable()) or set(url) & set(' ?#@\\"<>'):
            raise wrong
        try:
            parts = urlsplit(url)
            host = parts.hostname
            port = parts.port
        except ValueError:
            raise wrong from None
        if parts.scheme != "https" or not host or port == 0:
            raise wrong
        return cls(host, port or 443, f"{parts.path.rstrip('/')}/add-checkpoint")


def trust_of(roots: str) -> ssl.SSLContext:
    """How a witness's certificate is checked: against these roots (PEM), or the system's if there are none;
    `ProtocolError` if the roots are no certificates."""
    try:
        return ssl.create_default_context(cadata=roots or None)
    except (ssl.SSLError, ValueError) as error:
        raise ProtocolError(_POSTED, "must be certificates in PEM", "roots") from error


async def ask_over_https(at: SubmissionPrefix, trust: ssl.SSLContext, body: bytes) -> tuple[int, bytes]:
    """`Ask` of a witness that speaks HTTPS: `TimeoutError` after `SECONDS`, however slowly it answers. Each
    question has a thread of its own, so that slow witnesses hold no other up."""
    asking = ThreadPoolExecutor(1)
    until = time.monotonic() + SECONDS
    try:
        async with asyncio.timeout(SECONDS):
            return await asyncio.get_running_loop().run_in_executor(asking, _post, at, trust, body, until)
    finally:
        asking.shutdown(wait=False)


def _post(at: SubmissionPrefix, trust: ssl.SSLContext, body: bytes, until: float) -> tuple[int, bytes]:
    """Ends soon after `until`, so that no witness keeps a thread."""
    connection = HTTPSConnection(at.host, at.port, timeout=_left(until), context=trust)
    connection.response_class = partial(_response, until)  # type: ignore[assignment]
    try:
        connection.request("POST", at.path, body, _HEADERS)
        answer = connection.getresponse()
        raw = answer.read(REPLY_MOST + 1)
    except OSError:
        raise
    except (HTTPException, ValueError) as error:
        raise ProtocolError(_POSTED, f"must answer in HTTP ({type(error).__name__})") from error
    finally:
        connection.close()
    if len(raw) > REPLY_MOST:
        raise ProtocolError(_POSTED, f"must answer with at most {REPLY_MOST} bytes")
    return answer.status, raw


def _response(until: float, sock: socket.socket, **more: Any) -> HTTPResponse:
    """The answer on a connection, whose parts all have to come before `until`."""
    return HTTPResponse(_Until(sock, until), **more)  # type: ignore[arg-type]


class _Until(io.RawIOBase):
    """Reads a socket until a time. http.client calls `makefile`, and `close` of what it gives."""

    def __init__(self, sock: socket.socket, until: float) -> None:
        self._sock = sock
        self._until = until
        self._raw = sock.makefile("rb", buffering=0)

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(_left(self._until))
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


def _left(until: float) -> float:
    """Seconds; `TimeoutError` if there are none."""
    if (left := until - time.monotonic()) <= 0:
        raise TimeoutError("no whole answer in time")
    return left
