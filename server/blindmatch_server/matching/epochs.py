"""The epoch in force: its set-up files and the opened states of the roles, replaced as a whole. The log's
proof of it is kept fresh: it is cosigned anew at half the age at which devices refuse it.

every ten minutes: is it due? --Prove--> log --AddCheckpoint--> witnesses
                   would devices take what comes? --> epoch.proof, which the next Describe bears
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Final, Protocol, TypeAlias

from blindmatch_proofs.epoch import EpochLeaf, EpochPolicy, verify_logged
from blindmatch_proofs.tlog import TlogProof
from blindmatch_proofs.verdict import Failed
from blindmatch_protocol.codec import Buffer
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import AnyDesign, KeyLimits, Party, Role
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as wire
from blindmatch_protocol.rpc import blindmatch_v1_pb2_grpc as rpc
from msgspec import Struct, field

from blindmatch_server.epochs import published
from blindmatch_server.hosting.authority import Credentials
from blindmatch_server.hosting.endpoint import ServerContext, channel_to
from blindmatch_server.hosting.limits import wait_at_most
from blindmatch_server.storage.errors import StateError

Loader: TypeAlias = Callable[[], AnyDesign]
"""Gives the design in another process. It travels there: a function of a module, or a partial of one."""
Opener: TypeAlias = Callable[[AnyDesign], Any]
"""Opens the state of a role there; likewise."""


class SetupFile(Redacted, Struct, frozen=True):
    """A set-up file: its bytes (mapped) and their SHA-256."""

    SHOWN: ClassVar = ("sha256",)

    content: Buffer
    sha256: bytes


class OpenEpoch(Redacted, Struct, frozen=True):
    """An epoch that can be served.

    Attributes:
        setup: what every device gets, by name.
        manifest: the encoding of the epoch's signed manifest.
        check: raises if a mapped file was damaged since it was opened.
        enrolment_key: what enrolments belong to while it is in force.
        openers: open a role's state once more, in a worker process.
        logged: what a log says of it, as it was renewed last; called in a thread.
        carried: how often each account may have a body carried to a role that this party forwards to.
        slot_seconds: of the time slot whose bodies it sends on together; 0 for each at once.
    """

    epoch: int
    setup: Mapping[str, SetupFile]
    roles: Mapping[Role, Any]
    manifest: bytes = b""
    check: Callable[[], None] = lambda: None
    enrolment_key: bytes = b""
    openers: Mapping[Role, Opener] = field(default_factory=dict)
    logged: Callable[[], published.Logged | None] = lambda: None
    carried: Mapping[Role, KeyLimits] = field(default_factory=dict)
    slot_seconds: float = 0.0


class EpochSource(Protocol):
    """Where the current epoch comes from; called in a thread."""

    def version(self) -> Hashable: ...

    def open(self) -> OpenEpoch:
        """Open the current epoch. Raises `BlindmatchError` if that is not possible."""
        ...


class PublishedSource(Struct, frozen=True):
    """The epoch that the pointer of a publication's folder names, which the public key `curator`, Ed25519, 32
    bytes, must have signed."""

    design: AnyDesign
    folder: Path
    party: Party
    curator: bytes

    def version(self) -> Hashable:
        return published.current_epoch(self.folder)

    def open(self) -> OpenEpoch:
        """See `EpochSource`; the signature is checked first, and every file compared with its digest."""
        info = self.design.info
        roles = [role for role, party in info.roles.items() if party == self.party]
        publication = published.open_publication(self.folder, roles=roles)
        manifest = publication.manifest
        if not manifest.is_of(info):
            raise StateError(
                f"{self.folder.name}: of design {manifest.design} version {manifest.version}, "
                f"{info.name} version {info.version} expected"
            )
        publication.check_signed(self.curator)
        publication.verify()
        # a set of another epoch under this one's name would be refused by every device
        opened = self.design.open_setup(publication.setup(), manifest.epoch)
        states = {role: self.design.open_role(role, publication.role(role)) for role in roles}
        openers = {role: partial(_published_role, role, self.folder, manifest.epoch) for role in roles}
        digests = {file.name: bytes.fromhex(file.sha256) for file in publication.contents.files}
        handed_out = publication.setup() | publication.endorsement()
        setup = {name: SetupFile(data, digests[name]) for name, data in handed_out.items()}
        signed = publication.signed.encode()
        logged = partial(published.read_logged, publication.folder)
        logged()
        return OpenEpoch(
            manifest.epoch, setup, states, signed, publication.check_intact,
            self.design.enrolment_key(opened), openers, logged,
            carried_limits(self.design, self.party, opened), self.design.carrier_slot(opened),
        )  # fmt: skip


def carried_limits(design: AnyDesign, party: Party, setup: Any) -> dict[Role, KeyLimits]:
    """How often each account may have a body carried to the roles that `party` forwards to, where that is
    limited."""
    carried = (role for role, carrier in design.info.forwarded.items() if carrier == party)
    limits = ((role, design.carrier_limits(role, setup)) for role in carried)
    return {role: limit for role, limit in limits if limit is not None}


def _published_role(role: Role, folder: Path, epoch: int, design: AnyDesign) -> Any:
    return design.open_role(role, published.open_publication(folder, epoch, [role]).role(role))


class Epochs:
    """Holds the epoch in force; calls under way keep the one they began with."""

    def __init__(self, source: EpochSource) -> None:
        self._source = source
        self._version: Hashable = None
        self._current: OpenEpoch | None = None

    @property
    def current(self) -> OpenEpoch:
        """The epoch in force; `StateError` before the first `load`."""
        if self._current is None:
            raise StateError("no epoch is open")
        return self._current

    async def load(self) -> bool:
        """Open the source's epoch if it is another one, and say whether it was; the old one serves until
        then, and goes on if this raises `BlindmatchError`, since the new one cannot be opened."""
        version = await asyncio.to_thread(self._source.version)
        if self._current is not None and version == self._version:
            return False
        self._current = await asyncio.to_thread(self._source.open)
        self._version = version
        return True

    async def watch(self, context: ServerContext, seconds: float) -> None:
        """Look for a new epoch every so often, and at once on SIGHUP; never returns."""
        while True:
            await wait_at_most(context.hangup, seconds)
            context.hangup.clear()
            try:
                if await self.load():
                    context.log.write("epoch", epoch=self.current.epoch)
            except Exception as error:
                # whatever is wrong with the new one, the old one serves and the next is looked for
                context.log.failure("epoch-refused", error)


LOOK_SECONDS: Final = 600.0
AGAIN_SECONDS: Final = 30.0
"""After a look that failed: log and witnesses may be about to start."""
_SECONDS: Final = 60.0


class Renewing(Redacted, Struct, frozen=True):
    """Renews the proof of one design's epoch at the log, whose address `find` gives in a thread; empty if it
    is not known to run."""

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
        """Renew the proof of an epoch if that is due at `now`, Unix seconds; whether it was. `StateError` if
        the log is not known to run, or devices would not take what it answers, or not for long;
        `grpc.aio.AioRpcError` if it cannot be asked, or refuses; `ProtocolError` if what it answers is no
        proof."""
        home = self.folder / str(epoch)
        held = await asyncio.to_thread(published.read_logged, home)
        if held is None or not self.policy.is_due(TlogProof.parse(held.proof), now):
            return False
        leaf = EpochLeaf.decode(held.leaf)
        proof = TlogProof.parse(await self._asked(leaf.index))
        match verify_logged(leaf, proof, self.policy, now):
            case Failed(reason):
                raise StateError(f"the log's proof of epoch {epoch} is not taken: {reason}")
        if self.policy.is_due(proof, now):
            raise StateError(f"the log's proof of epoch {epoch} is not taken: it would be due at once")
        made = published.Logged.of(leaf, proof, b"".join(held.tree.levels[0]))
        await asyncio.to_thread(published.write_logged, home, made)
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
