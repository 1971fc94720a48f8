"""The demo's list: submitted by three organisations, endorsed by two of them.

Each organisation hashes the listed pictures itself. The random hashes that fill the set stand for pictures
that all three have: there are none, so their lists get them without one (simulated).
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Final

from blindmatch_protocol.codec.randomness import system_randomness
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_server.curator import HashList, list_hashes, list_pictures, open_list, random_hashes
from blindmatch_server.epochs.published import Publication
from msgspec import Struct

from blindmatch_simulations.measure.phases import PhaseTimes, each
from blindmatch_simulations.testbed.deployment import endorsing
from blindmatch_simulations.testbed.deployment.curating import open_named
from blindmatch_simulations.testbed.deployment.endorsement_policy import make_policy
from blindmatch_simulations.testbed.deployment.folder import Deployment
from blindmatch_simulations.testbed.pictures.workload import Workload
from blindmatch_simulations.testbed.scenario.world import World

SUBMITTERS: Final = ("north", "south", "west")
ENDORSERS: Final = SUBMITTERS[:2]


class DemoList(Redacted, Struct, frozen=True):
    """The list that a demo runs with.

    Attributes:
        entries: to be closed.
        submitters: organisations that submitted it; empty where the curator alone made it.
        endorsers: those that signed what was published.
    """

    entries: HashList
    publication: Publication
    submitters: tuple[str, ...] = ()
    endorsers: tuple[str, ...] = ()


def endorsed_list(world: World, workload: Workload, name: str, set_size: int, phases: PhaseTimes) -> DemoList:
    """Make the policy, submissions, proposal, endorsements and the epoch."""
    deployment, design, rng = world.deployment, world.design, system_randomness()
    make_policy(deployment, len(ENDORSERS), SUBMITTERS)
    with phases("list imported") as progress:
        _submit(deployment, workload, name, set_size)
        progress(len(SUBMITTERS), len(SUBMITTERS))
    with phases("list endorsed") as progress:
        endorsing.make_proposal(deployment, design, name, rng)
        for one in each(ENDORSERS, progress):
            endorsing.endorse(deployment, design, one, name)
    with phases("set built") as progress:
        made = endorsing.publish_endorsed(deployment, design, name, rng, progress)
    endorsers = tuple(sorted(made.settled.endorsers))
    return DemoList(open_named(deployment, name), made.publication, SUBMITTERS, endorsers)


def _submit(deployment: Deployment, workload: Workload, name: str, set_size: int) -> None:
    rng = system_randomness()
    with tempfile.TemporaryDirectory(prefix="blindmatch-") as folder:
        filling = Path(folder) / "filling.list"
        list_hashes(random_hashes(set_size, rng), filling, rng)
        pictures = [_written(Path(folder), picture.name, picture.data) for picture in workload.listed]
        for one in SUBMITTERS:
            own = endorsing.own_list(deployment, one, name)
            shutil.copyfile(filling, own)
            with open_list(own) as held:
                list_pictures(pictures, own, rng, onto=held)
            endorsing.hand_in(deployment, one, name)


def _written(folder: Path, name: str, data: bytes) -> Path:
    path = folder / f"{name}.png"
    path.write_bytes(data)
    return path
