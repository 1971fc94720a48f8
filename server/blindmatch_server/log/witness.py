"""The Witness service: cosigns what continues what it has kept of a log, and nothing else.

    AddCheckpoint --judge--> checkpoint, replaced in one step --> cosignature

The checkpoint is on the disk before it is cosigned, so that a witness that is killed in between cosigns the
same one when it is asked again, and never another of its size.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Final

from blindmatch_proofs.add_checkpoint import BAD_REQUEST, OK, AddCheckpoint, Refused, judge
from blindmatch_proofs.checkpoint import Checkpoint
from blindmatch_proofs.cosignature import NoteSigner
from blindmatch_proofs.signed_note import Note, VerifierKey
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.contract import Party
from blindmatch_protocol.failpoint import reach
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as wire
from google.protobuf.descriptor import ServiceDescriptor

from blindmatch_server.hosting.authority import Identity, Kind
from blindmatch_server.hosting.endpoint import Call, Line, Method
from blindmatch_server.storage.clock import Clock
from blindmatch_server.storage.errors import ForbiddenError, StateError
from blindmatch_server.storage.workspace import replace_file, storage, sync_folder

KnownLog = Callable[[str], VerifierKey | None]
"""The key of the log with this origin, if it is one that is watched."""
_STEP: Final = "witness/add-checkpoint"


class Witness:
    """The service.

    Args:
        folder: holds a checkpoint for each origin; made if it is missing.
        known: the logs that it watches.
        log: whose server may ask.
        clock: Unix time in seconds.
    """

    descriptor: ServiceDescriptor = wire.DESCRIPTOR.services_by_name["Witness"]

    def __init__(self, folder: Path, signer: NoteSigner, known: KnownLog, log: Party, clock: Clock) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        sync_folder(folder.parent)  # a witness whose folder a loss of power takes has forgotten every log
        self._folder, self._signer, self._known, self._clock = folder, signer, known, clock
        self._asker = Identity.of(log)
        self._lock = threading.Lock()

    def methods(self) -> Mapping[str, Method | Line]:
        return {"AddCheckpoint": Method(self.add_checkpoint, frozenset({Kind.HOST}))}

    async def add_checkpoint(self, request: wire.AddCheckpointRequest, call: Call) -> wire.AddCheckpointReply:
        """Cosign a checkpoint, or say why not (c2sp.org/tlog-witness).

        Raises:
            ForbiddenError: if another server than the log asks.
        """
        if call.caller != self._asker:
            raise ForbiddenError(_STEP, f"only the {self._asker.words} asks")
        with storage("keeping a checkpoint"):
            return await asyncio.to_thread(self._answer, request.body)

    def _answer(self, body: bytes) -> wire.AddCheckpointReply:
        try:
            asked = AddCheckpoint.parse(body)
            origin = Checkpoint.of(asked.note).origin
        except ProtocolError as error:
            return wire.AddCheckpointReply(status=BAD_REQUEST, body=str(error).encode())
        key, path = self._known(origin), self._folder / sha256(origin.encode()).hexdigest()
        with self._lock:  # held by the thread: it goes on when its call is cancelled
            found = judge(asked, {} if key is None else {origin: key}, _latest(path))
            if isinstance(found, Refused):
                return wire.AddCheckpointReply(status=found.status, body=found.body.encode())
            _keep(path, asked.note)
        reach("witness.cosign.before")
        line = self._signer.sign(asked.note.text, int(self._clock())).line
        return wire.AddCheckpointReply(status=OK, body=line.encode())


def _latest(path: Path) -> Checkpoint | None:
    """What was kept; `StateError` if it cannot be read: who forgets may cosign a second history."""
    try:
        return Checkpoint.of(Note.parse(path.read_bytes()))
    except FileNotFoundError:
        return None
    except (OSError, ProtocolError) as error:
        raise StateError(f"{path.name}: the checkpoint that was kept cannot be read") from error


def _keep(path: Path, note: Note) -> None:
    reach("witness.keep.before")
    replace_file(path, note.encode())
    reach("witness.keep.after")
