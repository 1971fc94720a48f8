"""The centre as a process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from blindmatch_protocol.messages.franking_mode import FrankingMode
from msgspec import Struct, field

from blindmatch_server.bodies import Bodies
from blindmatch_server.centre import schema, slots, store
from blindmatch_server.centre.checking import Checking
from blindmatch_server.centre.deployed import Deployed
from blindmatch_server.centre.exporting import Backed, Exporter, unbacked
from blindmatch_server.centre.keys import CentreKeys
from blindmatch_server.centre.limits import CentreLimits
from blindmatch_server.centre.references import References
from blindmatch_server.centre.service import Centre
from blindmatch_server.centre.verify import Verifier
from blindmatch_server.centre.vouchers import OpenerFiles, Vouchers
from blindmatch_server.hosting.concurrency import under_way
from blindmatch_server.hosting.endpoint import ServerContext
from blindmatch_server.storage.blobs import Blobs
from blindmatch_server.storage.database import Database


class CentreConfig(Struct, frozen=True):
    """What a centre needs.

    Attributes:
        directory: holds its database and the sealed reports; made if it is not there.
        keys_directory: what `CentreKeys.create` made.
        deployed: the design and epochs that reports may be about; None: no report can pass.
        references: what `write_references` made; None if the centre has no copy of the list.
        openers: files of the design, if it has vouchers, by its name.
        limits: what it allows.
        franking: what messages bear of their sender's key.
        backed: what epochs show of themselves and of entries, for evidence that is handed on.
    """

    directory: Path
    keys_directory: Path
    deployed: Deployed | None = None
    references: Path | None = None
    openers: Mapping[str, OpenerFiles] = field(default_factory=dict)
    limits: CentreLimits = field(default_factory=CentreLimits)
    franking: FrankingMode = FrankingMode.STAMP
    backed: Backed = unbacked


@asynccontextmanager
async def open_centre(config: CentreConfig, context: ServerContext) -> AsyncIterator[list[Centre]]:
    """The centre's service over its directory, with checks under way.

    Raises:
        StateError: if keys, references or the database cannot be opened.
        BlindmatchError: if an opener cannot be opened.
    """
    keys = CentreKeys.read(config.keys_directory)
    references = None if config.references is None else References(config.references)
    config.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    async with AsyncExitStack() as stack:
        database = Database(config.directory / "centre.sqlite", schema.SCHEMA, schema.VERSION)
        stack.push_async_callback(database.close)
        known = [config.deployed.design] if config.deployed else []
        designs = {design.info.name: design for design in known}
        vouchers = Vouchers(database, designs, config.openers, config.limits, context.log)
        blobs = Blobs(config.directory / "reports")
        blobs.keep_only(await database.run(store.blob_ids))
        verifier = Verifier(keys, config.deployed, references, config.franking)
        checking = Checking(database, blobs, verifier, context.log, context.clock)
        slots_database = Database(config.directory / "slots.sqlite", slots.SCHEMA, slots.VERSION)
        stack.push_async_callback(slots_database.close)
        taken = slots.Slots(slots_database, keys.sealing, context.log)
        await stack.enter_async_context(under_way(checking.run(), vouchers.run()))
        stack.push_async_callback(taken.idle)
        exporter = Exporter(keys, config.franking, blobs, config.backed)
        parts = (database, blobs, Bodies(config.directory / "incoming"), checking, vouchers, taken)
        parties = [party for design in known for party in design.info.parties]
        centre = Centre(*parts, keys.public_key, config.limits, context.clock, exporter, parties)
        await centre.resume()
        yield [centre]
