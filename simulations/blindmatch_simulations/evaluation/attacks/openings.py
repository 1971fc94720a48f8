"""A modified device tests guesses at the centre by the work that follows a receipt.

Receipts wait for no attempt to open vouchers, but an attempt takes the processor that the centre's other work
runs on. What is counted is that work, not how long anything takes: whether the device can see it depends on
the centre's machine.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from blindmatch_protocol.contract import Party
from blindmatch_protocol.designs.threshold_psi.opener import ThresholdOpener
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as wire
from blindmatch_server.centre import store
from blindmatch_server.centre.growth import GROWTH, next_attempt
from blindmatch_server.centre.opening import OpeningLimits
from blindmatch_server.centre.vouchers import OpenerFiles, Vouchers
from blindmatch_server.hosting.event_log import EventLog
from blindmatch_server.hosting.limits import under_way
from blindmatch_server.storage.database import Database

from blindmatch_simulations.evaluation.attacks import needs
from blindmatch_simulations.evaluation.attacks.adversary import Claim, Means, replacing
from blindmatch_simulations.evaluation.attacks.arena import Arena, attack
from blindmatch_simulations.evaluation.attacks.figure import Figure, counted
from blindmatch_simulations.testbed.inprocess.vouchers import ACCOUNT, World, world_of

_MOST: Final = 1_000


def _attempt_from(least: int) -> int:
    """Return the first count from `least` on at which vouchers that come one by one are tried."""
    count = 1
    while count < least:
        count = next_attempt(count, min(count, _MOST), _MOST)
    return count


GUESSES: Final = 10
_TRIED: Final = _attempt_from(2 * GROWTH)
BEFORE: Final = {
    "a small pile": 3,
    "one short of an attempt": next_attempt(_TRIED, _TRIED, _MOST) - 1,
    "just after an attempt": _TRIED,
}
"""An account's visible vouchers before the guess."""
_WAIT_SECONDS: Final = 60.0
_OPEN: Final = ThresholdOpener.open


async def _rows_tried(world: World, hashes: Sequence[bytes], folder: Path) -> int:
    """Return how many vouchers attempts are made on while a centre takes those of these hashes."""
    tried: list[int] = []

    def counting(opener: Any, account: str, period: bytes, rows: Sequence[bytes]) -> Any:
        tried.append(len(rows))
        return _OPEN(opener, account, period, rows)

    design = world.deployed.design
    epoch = design.epoch_of(world.deployed.setup)
    files = {design.info.name: OpenerFiles(epoch, world.deployed.build.files)}
    log = EventLog("centre", sink=lambda line: None)
    head = wire.Envelope(design=design.info.name, version=design.info.version, epoch=epoch)
    database = Database(folder / "centre.sqlite", store.SCHEMA, store.VERSION)
    vouchers = Vouchers(database, {design.info.name: design}, files, 10 * _MOST, OpeningLimits(_MOST), log)
    with replacing((ThresholdOpener, "open", counting))():
        async with under_way(vouchers.openings.run()):
            for own in hashes:
                await vouchers.take(ACCOUNT, ACCOUNT, head, world.voucher(own).encode(), 1)
                await vouchers.openings.finished(_WAIT_SECONDS)
    await vouchers.openings.close()
    await database.close()
    return sum(tried)


@attack(
    "shared-processor",
    Means(frozenset({Party.DEVICE}), has="visible vouchers, and guesses of what is listed"),
    Claim(
        "Not claimed: that a modified device learns nothing from the processor that an attempt takes",
        "docs/designs/threshold-psi.md",
    ),
    budget=f"{GUESSES} listed guesses and as many others, each after "
    f"{' or '.join(map(str, BEFORE.values()))} visible vouchers; "
    "the centre's work is counted in vouchers tried, not timed",
    needs=(needs.SHARED,),
    exposes="whether guesses are listed",
)
def shared_processor(arena: Arena) -> Figure:
    """Count the pairs of a listed and another guess of which the listed one alone makes the centre work."""
    most = max(BEFORE.values())
    listed = arena.hashes(most + GUESSES, "listed")
    others = arena.hashes(GUESSES, "others")
    deployed = arena.reduced().deployed(listed, "openings", synthetic=0, threshold=1_000)
    world = world_of(deployed, listed, arena.rng("openings"))
    cases = {}
    guesses = GUESSES if arena.thorough else GUESSES // 5
    for case, count in arena.each(BEFORE.items()):
        with tempfile.TemporaryDirectory(prefix="blindmatch-attack-") as folder:
            before = Path(folder) / "before"
            before.mkdir()
            asyncio.run(_rows_tried(world, [row.tobytes() for row in listed[:count]], before))
            pairs = zip(listed[most:][:guesses], others[:guesses], strict=True)
            apart = 0
            for number, guessed in enumerate(pairs):
                work = []
                for kind, guess in zip(("hit", "miss"), guessed, strict=True):
                    centre = Path(folder) / f"{kind}-{number}"
                    shutil.copytree(before, centre)
                    work.append(asyncio.run(_rows_tried(world, [guess.tobytes()], centre)))
                apart += work[0] > 0 and work[1] == 0
        cases[case] = (apart, guesses)
    return counted("guesses that the centre's work tells apart", cases)
