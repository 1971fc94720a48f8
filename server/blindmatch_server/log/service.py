"""The Log service: one origin a stream, each appended to by the one party it is for.

append: index taken? --> a start's first: has no witness more of it? --> entries, tiles, checkpoint on the
        disk --> cosigned --> kept again --> proof
"""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence, Set
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar, Final

from blindmatch_proofs.checkpoint import ED25519, Checkpoint, Note, NoteSigner
from blindmatch_proofs.epoch import EpochLeaf
from blindmatch_proofs.merkle import (
    ENTRIES,
    WIDTH,
    Nodes,
    count_in_tile,
    format_tile_path,
    open_tiles,
    prove_inclusion,
)
from blindmatch_proofs.tlog import TlogProof
from blindmatch_proofs.verdict import Failed, Passed, Verdict
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import Party
from blindmatch_protocol.messages.parts import PART, cut, pieces
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as wire
from google.protobuf.descriptor import ServiceDescriptor
from msgspec import Struct, field

from blindmatch_server.hosting import endpoint
from blindmatch_server.hosting.authority import Kind
from blindmatch_server.log.tree_store import CHECKPOINT, TreeStore
from blindmatch_server.log.witness import APPEND, Cosigning, KnownLog, Witness, WitnessAt
from blindmatch_server.storage import errors
from blindmatch_server.storage.files import storage

FORMAT: Final = "blindmatch-monthly-counts"
VERSION: Final = 1
_MONTH: Final = re.compile(r"([0-9]{4})-(0[1-9]|1[0-2])")


class Month(Struct, frozen=True, order=True):
    year: int
    month: int

    def __str__(self) -> str:
        return f"{self.year:04}-{self.month:02}"

    @property
    def following(self) -> Month:
        return self.after(1)

    def after(self, months: int) -> Month:
        years, month = divmod(self.month - 1 + months, 12)
        return Month(self.year + years, month + 1)

    @property
    def began_ms(self) -> int:
        """Its first millisecond, Unix time."""
        return int(datetime(self.year, self.month, 1, tzinfo=UTC).timestamp() * 1000)


def leaf_of(month: Month, counts: dict[str, int]) -> bytes:
    held = {"counts": counts, "format": FORMAT, "month": str(month), "version": VERSION}
    return (json.dumps(held, sort_keys=True, separators=(",", ":")) + "\n").encode()


def parse_leaf(raw: bytes) -> tuple[Month, dict[str, int]]:
    """Month and counts of a leaf; `ProtocolError` if it is not what `leaf_of` makes of them."""
    wrong = ProtocolError("counts", f"must be a line of {FORMAT}, version {VERSION}", "leaf")
    try:
        held = json.loads(raw)
        found = _MONTH.fullmatch(held["month"])
        counts = {**held["counts"]}
    except (ValueError, KeyError, TypeError, RecursionError):
        raise wrong from None
    if found is None or not all(type(value) is int and value >= 0 for value in counts.values()):
        raise wrong
    month = Month(int(found[1]), int(found[2]))
    if leaf_of(month, counts) != raw:
        raise wrong
    return month, counts


READ: Final = "log/read"
PROVE: Final = "log/prove"
_TILE: Final = re.compile(r"tile/(entries|[0-9]{1,2})/((?:x[0-9]{3}/){0,5}[0-9]{3})(?:\.p/([0-9]{1,3}))?")

CheckLeaf = Callable[[int, bytes, bytes], Verdict]
"""Whether a leaf may stand at an index, given leaf 0 (itself at index 0)."""


class StreamRule(Struct, frozen=True):
    """Who appends to a stream, and what."""

    appenders: frozenset[Kind]
    check: CheckLeaf


def epochs_of(design: str, curator: bytes) -> StreamRule:
    """The stream of a design's epochs, which the key `curator` signs and an operator hands in."""

    def check(index: int, raw: bytes, first: bytes) -> Verdict:
        leaf = EpochLeaf.decode(raw)
        if leaf.manifest.design != design or leaf.index != index:
            return Failed(f"must be epoch {index + 1} of {design}")
        return leaf.verify(curator)

    return StreamRule(endpoint.OPERATORS, check)


def counts() -> StreamRule:
    """The stream of the centre's monthly counts, which it alone appends to: a leaf a month, without a gap."""

    def check(index: int, raw: bytes, first: bytes) -> Verdict:
        due = parse_leaf(first)[0].after(index)
        return Passed() if parse_leaf(raw)[0] == due else Failed(f"must be of the month {due}")

    return StreamRule(frozenset({Kind.CENTRE}), check)


class _Stream(Struct):
    """A stream that is open.

    Attributes:
        lock: of calls, one after the other, until they are answered or cancelled.
        writing: held by the thread that writes: it goes on when its call is cancelled.
        newest: whether the witnesses were seen to have no more of it since it was opened.
    """

    store: TreeStore
    rule: StreamRule
    newest: bool = False
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    writing: threading.Lock = field(default_factory=threading.Lock)


class Log:
    """The service; `rules` say of an origin what stream it is, if it is one, and `seed` is the secret, 32
    bytes, of the log's one key."""

    descriptor: ServiceDescriptor = wire.DESCRIPTOR.services_by_name["Log"]

    def __init__(
        self, folder: Path, rules: Callable[[str], StreamRule | None], seed: bytes, cosigning: Cosigning
    ) -> None:
        self._folder = folder
        self._rules = rules
        self._seed = seed
        self._cosigning = cosigning
        self._streams: dict[str, _Stream] = {}

    def methods(self) -> Mapping[str, endpoint.Method | endpoint.Line]:
        return {
            "Append": endpoint.Method(self.append, frozenset({Kind.OPERATOR, Kind.CENTRE})),
            "Prove": endpoint.Method(self.prove, endpoint.NOT_DEVICES),
            "Read": endpoint.Method(self.read, endpoint.NOT_DEVICES),
        }

    async def append(self, request: wire.AppendRequest, call: endpoint.Call) -> wire.LogProof:
        """Append a leaf at the end, or find it where it was appended before; with the proof.
        `PreconditionError` also if the log has lost leaves, `UnavailableError` if too few witnesses can
        tell."""
        stream = self._stream(request.origin, APPEND)
        if call.caller is None or call.caller.kind not in stream.rule.appenders:
            raise errors.ForbiddenError(APPEND, "is not the caller's to append to", "origin")
        async with stream.lock:
            if request.index >= stream.store.size and not stream.newest:
                await self._cosigning.check_newest(*self._head(stream))
                stream.newest = True
            with storage(f"appending to {request.origin}"):
                await asyncio.to_thread(self._appended, stream, request.index, request.leaf)
            return await self._proof(stream, request.index)

    async def prove(self, request: wire.ProveRequest, call: endpoint.Call) -> wire.LogProof:
        """The proof of a leaf under the newest checkpoint, cosigned anew; `NotFoundError` if there is no such
        stream or leaf."""
        stream = self._stream(request.origin, PROVE)
        async with stream.lock:
            if request.index >= stream.store.size:
                raise errors.NotFoundError(PROVE, f"must be below {stream.store.size}", "index")
            return await self._proof(stream, request.index)

    async def read(self, request: wire.ResourceRequest, call: endpoint.Call) -> AsyncIterator[wire.Part]:
        """A resource of the log: its checkpoint, or a tile that the checkpoint's size has; `NotFoundError` if
        there is none."""
        store = self._stream(request.origin, READ).store
        raw = await asyncio.to_thread(_resource, store, request.path)
        for part in cut(PART, wire.Part(), len(raw), pieces(raw)):
            yield part

    def _stream(self, origin: str, step: str) -> _Stream:
        rule = self._rules(origin)
        if rule is None:
            raise errors.NotFoundError(step, "is no stream of this log", "origin")
        if origin not in self._streams:
            store = TreeStore(self._folder / origin.replace("/", "_"), origin)
            note = store.note
            if note is not None and note.signatures[0] != self._signer(origin).sign(note.text):
                raise errors.StateError(f"{origin}: the checkpoint must be signed by this log's key")
            self._streams[origin] = _Stream(store, rule)
        return self._streams[origin]

    def _appended(self, stream: _Stream, index: int, leaf: bytes) -> None:
        """Append a leaf, signed and on the disk, unless it is there."""
        store = stream.store
        with stream.writing:
            if index < store.size:
                if store.entry(index) != leaf:
                    raise errors.ConflictError(APPEND, "another leaf stands there", "index")
                return
            if index > store.size:
                raise errors.PreconditionError(APPEND, f"must be at most {store.size}", "index")
            match stream.rule.check(index, leaf, store.entry(0) if index else leaf):
                case Failed(reason):
                    raise errors.PreconditionError(APPEND, reason, "leaf")
            store.keep(self._signed(store.extended([leaf])))

    async def _proof(self, stream: _Stream, index: int) -> wire.LogProof:
        note = await self._cosigning.cosigned(*self._head(stream))
        return await asyncio.to_thread(_proven, stream, index, note)

    def _head(self, stream: _Stream) -> tuple[Note, Nodes]:
        """What is kept, under the log's signature alone, and its tree; of an empty log, too."""
        head = stream.store.head
        return self._signed(head), open_tiles(stream.store.tile, head.size)

    def _signed(self, head: Checkpoint) -> Note:
        return Note(head.text, (self._signer(head.origin).sign(head.text),))

    def _signer(self, origin: str) -> NoteSigner:
        return NoteSigner.from_seed(origin, ED25519, self._seed)


def _proven(stream: _Stream, index: int, note: Note) -> wire.LogProof:
    """The proof under a cosigned checkpoint, which is kept unless a longer one was kept meanwhile."""
    store = stream.store
    size = Checkpoint.from_note(note).size
    with stream.writing:
        if store.size == size:
            store.keep(note)
        path = prove_inclusion(open_tiles(store.tile, size), index, size)
    return wire.LogProof(proof=TlogProof(index, path, note).encode())


def _resource(store: TreeStore, path: str) -> bytes:
    if path == CHECKPOINT and store.note is not None:
        return store.note.encode()
    found = _TILE.fullmatch(path)
    if found is not None:
        level = ENTRIES if found[1] == "entries" else int(found[1])
        index = int(re.sub(r"\D", "", found[2]))
        width = int(found[3] or WIDTH)
        if 0 < width <= count_in_tile(level, index, store.size) and path == format_tile_path(
            level, index, width
        ):
            return store.tile(level, index, width)
    raise errors.NotFoundError(READ, "is no resource of this log now", "path")


class LogConfig(Redacted, Struct, frozen=True):
    """What a log needs.

    Attributes:
        directory: holds its streams; made if it is not there.
        seed: secret, 32 bytes, of its key.
        streams: says of an origin what stream it is, if it is one.
        quorum: whether those whose keys have these names are enough for devices.
    """

    SHOWN: ClassVar = ("directory", "streams", "witnesses", "quorum")

    directory: Path
    seed: bytes
    streams: Callable[[str], StreamRule | None]
    witnesses: Sequence[WitnessAt]
    quorum: Callable[[Set[str]], bool]


@asynccontextmanager
async def open_log(
    config: LogConfig, context: endpoint.ServerContext
) -> AsyncIterator[Sequence[endpoint.Service]]:
    cosigning = Cosigning(config.witnesses, config.quorum, context.log, context.clock)
    yield [Log(config.directory, config.streams, config.seed, cosigning)]


@asynccontextmanager
async def open_witness(
    directory: Path, signer: NoteSigner, known: KnownLog, log: Party, context: endpoint.ServerContext
) -> AsyncIterator[Sequence[endpoint.Service]]:
    """A witness's service; arguments as for `Witness`."""
    yield [Witness(directory, signer, known, log, context.clock)]
