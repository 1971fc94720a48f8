"""The world of the tests: that of the simulations' scenarios, with a small list that is published."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from blindmatch_client.trace import EgressRecord, Purpose
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.randomness import system_randomness
from blindmatch_server.epochs.published import Publication
from blindmatch_simulations.testbed.deployment.devices import Watched, open_device
from blindmatch_simulations.testbed.deployment.operators import centre_list
from blindmatch_simulations.testbed.scenario.run import publish_list
from blindmatch_simulations.testbed.scenario.world import World as Running

from support.memory import random_hashes


class World(Running):
    """A world, and what tests ask of it."""

    def list(self, listed: Sequence[bytes] = (), random: int = 20) -> Publication:
        """Publish the next epoch, of random hashes and of these pictures."""
        hashes: Rows = random_hashes(random) if random else np.zeros((0, 32), np.uint8)
        return publish_list(self.deployment, self.design, hashes, listed, system_randomness())

    @contextmanager
    def reopened(self, name: str) -> Iterator[Watched]:
        """A device that is there, opened again."""
        opened = open_device(self.deployment, name)
        try:
            yield opened
        finally:
            opened.device.close()

    def reports(self) -> int:
        """How many reports reached the centre."""
        return len(centre_list(self.deployment).reports)


@contextmanager
def listed_world(folder: Path, reference: str, listed: Sequence[bytes] = ()) -> Iterator[World]:
    """A world in the new `folder` whose list has these pictures; no server runs yet."""
    with World.create(folder, reference) as made:
        made.list(listed)
        yield made


def left_for(watched: Watched, purpose: Purpose) -> list[EgressRecord]:
    """What left a device for one purpose."""
    return [record for record in watched.recorder.records() if record.purpose is purpose]
