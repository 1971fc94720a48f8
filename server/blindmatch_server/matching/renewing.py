"""Keeps the proof of the served epoch fresh: it is cosigned anew at half the age at which devices refuse it.

every ten minutes: is it due? --Prove--> log --AddCheckpoint--> witnesses
                   would devices take what comes? --> epoch.proof, which the next Describe bears
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Final

from blindmatch_proofs.epoch_leaf import EpochLeaf
from blindmatch_proofs.epoch_proof import EpochPolicy, verify_logged
from blindmatch_proofs.tlog_proof import TlogProof
from blindmatch_proofs.verdict import Failed
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import Party
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as wire
from blindmatch_protocol.rpc import blindmatch_v1_pb2_grpc as rpc
from msgspec import Struct

from blindmatch_server.epochs.logged import Logged, read_logged, write_logged
from blindmatch_server.hosting.authority import Credentials
from blindmatch_server.hosting.endpoint import ServerContext
from blindmatch_server.hosting.outgoing import channel_to
from blindmatch_server.storage.errors import StateError

LOOK_SECONDS: Final = 600.0
AGAIN_SECONDS: Final = 30.0
"""After a look that failed: log and witnesses may be about to start."""
_SECONDS: Final = 60.0


class Renewing(Redacted, Struct, frozen=True):
    """Renews the proof of one design's epoch.

    Attributes:
        folder: holds the design's epochs.
        log: whose server is asked.
        find: its address; empty if it is not known to run. Called in a thread.
    """

    SHOWN: ClassVar = ("folder", "policy", "log", "find")

    folder: Path
    policy: EpochPolicy
    log: Party
    find: Callable[[], str]
    credentials: Credentials

    async def run(self, epoch: Callable[[], int], context: ServerContext) -> None:
        """Renew the proof of the served epoch whenever that is due; never returns."""
        while True:
            pause = LOOK_SECONDS
            try:
                if await self.renewed(epoch(), int(context.clock())):
                    context.log.write("proof-renewed", epoch=epoch())
            except Exception as error:
                # what there is serves until it is too old, and the next look comes before that
                context.log.failure("proof-not-renewed", error)
                pause = AGAIN_SECONDS
            await asyncio.sleep(pause)

    async def renewed(self, epoch: int, now: int) -> bool:
        """Renew the proof of an epoch if that is due at `now`, Unix seconds; whether it was.

        Raises:
            StateError: if the log is not known to run, or devices would not take what it answers, or not for
                long.
            grpc.aio.AioRpcError: if it cannot be asked, or refuses.
            ProtocolError: if what it answers is no proof.
        """
        home = self.folder / str(epoch)
        held = await asyncio.to_thread(read_logged, home)
        if held is None or not self.policy.is_due(TlogProof.parse(held.proof), now):
            return False
        leaf = EpochLeaf.decode(held.leaf)
        proof = TlogProof.parse(await self._asked(leaf.index))
        match verify_logged(leaf, proof, self.policy, now):
            case Failed(reason):
                raise StateError(f"the log's proof of epoch {epoch} is not taken: {reason}")
        if self.policy.is_due(proof, now):
            raise StateError(f"the log's proof of epoch {epoch} is not taken: it would be due at once")
        made = Logged.of(leaf, proof, b"".join(held.tree.levels[0]))
        await asyncio.to_thread(write_logged, home, made)
        return True

    async def _asked(self, index: int) -> bytes:
        address = await asyncio.to_thread(self.find)
        if not address:
            raise StateError("the log is not running")
        async with channel_to(self.log, address, self.credentials) as channel:
            stub: Any = rpc.LogStub(channel)  # type: ignore[no-untyped-call]
            request = wire.ProveRequest(origin=self.policy.origin, index=index)
            reply: wire.LogProof = await stub.Prove(request, timeout=_SECONDS)
        return reply.proof
