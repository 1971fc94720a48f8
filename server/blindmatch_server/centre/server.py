"""The centre as a process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from blindmatch_server.blobs import Blobs
from blindmatch_server.centre import notices, schema, slots, store
from blindmatch_server.centre.checking import Checking
from blindmatch_server.centre.deployed import Deployed
from blindmatch_server.centre.keys import CentreKeys
from blindmatch_server.centre.limits import CentreLimits
from blindmatch_server.centre.references import References
from blindmatch_server.centre.service import Centre
from blindmatch_server.centre.verify import Verifier
from blindmatch_server.centre.vouchers import OpenerFiles, Vouchers
from blindmatch_server.database import Database
from blindmatch_server.endpoint import Desk, Service
from blindmatch_server.serving import Listen, Run, serve


@dataclass(frozen=True, slots=True)
class CentreConfig:
    """What a centre needs.

    Attributes:
        listen: where it listens, with certificate and clock.
        directory: holds its database and the sealed reports; made if it is not there.
        keys_directory: what `CentreKeys.create` made.
        deployed: the design and epochs that reports may be about; None: no report can pass.
        references: what `write_references` made; None if the centre has no copy of the list.
        openers: files of the design, if it has vouchers, by its name.
        limits: what it allows.
    """

    listen: Listen
    directory: Path
    keys_directory: Path
    deployed: Deployed | None = None
    references: Path | None = None
    openers: Mapping[str, OpenerFiles] = field(default_factory=dict)
    limits: CentreLimits = field(default_factory=CentreLimits)


def serve_centre(config: CentreConfig, run: Run = serve) -> int:
    """Run a centre, by default until SIGTERM or SIGINT; returns one of `exit_codes`."""

    @asynccontextmanager
    async def services(desk: Desk) -> AsyncIterator[Sequence[Service]]:
        async with open_centre(config, desk) as centre:
            yield [centre]

    return run("centre", config.listen, services)


@asynccontextmanager
async def open_centre(config: CentreConfig, desk: Desk) -> AsyncIterator[Centre]:
    """The centre's service over its directory, with checks under way.

    Raises:
        StateError: if keys, references or the database cannot be opened.
        BlindmatchError: if an opener cannot be opened.
    """
    keys = CentreKeys.read(config.keys_directory)
    references = None if config.references is None else References(config.references)
    config.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = config.directory / "centre.sqlite"
    database = Database(path, schema.SCHEMA, schema.VERSION, schema.MIGRATIONS)
    try:
        await database.run(notices.plan_missing)
        known = [config.deployed.design] if config.deployed else []
        designs = {design.info.name: design for design in known}
        vouchers = Vouchers(database, designs, config.openers, config.limits, desk.log)
        blobs = Blobs(config.directory / "reports")
        blobs.keep_only(await database.run(store.blob_ids))
        verifier = Verifier(keys, config.deployed, references)
        checking = Checking(database, blobs, verifier, desk.log, desk.clock)
        slots_database = Database(config.directory / "slots.sqlite", slots.SCHEMA, slots.VERSION)
        taken = slots.Slots(slots_database, keys.sealing, desk.log)
        background = [asyncio.create_task(one.run()) for one in (checking, vouchers)]
        try:
            centre = Centre(
                database, blobs, checking, vouchers, taken, keys.public_key, config.limits, desk.clock
            )
            await centre.resume()
            yield centre
        finally:
            await taken.idle()
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)
            await slots_database.close()
    finally:
        await database.close()
