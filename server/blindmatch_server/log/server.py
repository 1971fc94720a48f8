"""The log and a witness as processes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence, Set
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ClassVar

from blindmatch_proofs.cosignature import NoteSigner
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import Party
from msgspec import Struct

from blindmatch_server.hosting.authority import Credentials
from blindmatch_server.hosting.endpoint import ServerContext, Service
from blindmatch_server.log.cosigning import Cosigning, WitnessAt
from blindmatch_server.log.service import Log, StreamRule
from blindmatch_server.log.witness import KnownLog, Witness


class LogConfig(Redacted, Struct, frozen=True):
    """What a log needs.

    Attributes:
        credentials: its certificate, under which it asks the witnesses.
        directory: holds its streams; made if it is not there.
        seed: secret, 32 bytes, of its key.
        streams: says of an origin what stream it is, if it is one.
        witnesses: those that it asks.
        quorum: whether those whose keys have these names are enough for devices.
    """

    SHOWN: ClassVar = ("directory", "streams", "witnesses", "quorum")

    credentials: Credentials
    directory: Path
    seed: bytes
    streams: Callable[[str], StreamRule | None]
    witnesses: Sequence[WitnessAt]
    quorum: Callable[[Set[str]], bool]


@asynccontextmanager
async def open_log(config: LogConfig, context: ServerContext) -> AsyncIterator[Sequence[Service]]:
    """The log's service."""
    cosigning = Cosigning(config.witnesses, config.quorum, config.credentials, context.log)
    yield [Log(config.directory, config.streams, config.seed, cosigning)]


@asynccontextmanager
async def open_witness(
    directory: Path, signer: NoteSigner, known: KnownLog, log: Party, context: ServerContext
) -> AsyncIterator[Sequence[Service]]:
    """A witness's service; arguments as for `Witness`."""
    yield [Witness(directory, signer, known, log, context.clock)]
