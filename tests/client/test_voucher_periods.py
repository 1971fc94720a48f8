"""Matches of one period add up over list updates, and a period that ends or changes starts with none."""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blindmatch_client.device import Device
from blindmatch_protocol import contract as bm
from blindmatch_protocol.codec.randomness import seeded, system_randomness
from blindmatch_protocol.contract import Party
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from blindmatch_server.hosting.event_log import milliseconds
from blindmatch_simulations.testbed.deployment.curating import publish_change
from blindmatch_simulations.testbed.deployment.devices import open_device
from blindmatch_simulations.testbed.deployment.operators import ask_centre
from blindmatch_simulations.testbed.scenario.run import publish_list
from support.fakes import picture
from support.memory import random_hashes, salts_of
from support.world import World

T = 2
LISTED = [picture(seed) for seed in range(1, 7)]
OTHER = picture(99)
DESIGNS = ["threshold-psi", "threshold-near"]


class Service:
    """A deployment over several epochs; its servers run while a device is used."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.added = 0
        self.ahead_s = 0.0
        world.clock = lambda: time.time() + self.ahead_s

    @property
    def design(self) -> Any:
        return self.world.design

    def publish(self, key: str = "", **values: int) -> None:
        """Publish the next epoch under a new key, or under the one that `key` names."""
        chosen = {"threshold": T, "synthetic": 0, **values}
        deployment = self.world.deployment
        rng = seeded(key) if key else system_randomness()
        publish_list(deployment, self.design, random_hashes(20), LISTED, rng, values=chosen)

    def update(self, removes: Sequence[int] = ()) -> None:
        """Publish the next epoch under the same key, with one entry more."""
        self.added += 1
        ids = np.array([1_000 + self.added], np.uint64)
        adds = bm.batches_of(random_hashes(1, seed=50 + self.added), ids, salts_of(1))
        publish_change(self.world.deployment, self.design, adds, removes, system_randomness())

    @contextmanager
    def device(self, name: str, parties: Sequence[Party] | None = None) -> Iterator[Device]:
        """A device of this name, made the first time, while servers (all or some) serve the newest epoch."""
        self.world.start(parties, threads=True)
        try:
            for other in {"bob", name} - self.world.driven.keys():
                self.world.device(other).device.close()
            clock_ms = partial(milliseconds, self.world.clock)
            device = open_device(self.world.deployment, name, clock_ms=clock_ms).device
            try:
                yield device
            finally:
                device.close()
        finally:
            self.world.stop()

    def send(self, *pictures: bytes, name: str = "alice") -> None:
        """Look for a newer set, and send pictures with it."""
        with self.device(name) as device:
            device.refresh()
            for data in pictures:
                assert device.send_picture("bob", data).delivered
            assert device.standing().vouchers == 0

    def piles(self, name: str = "alice") -> list[tuple[int, int]]:
        """Visible and opened vouchers of an account, period by period, once the centre has tried them all."""
        self.world.start(threads=True)
        try:
            asked = pb.VouchersRequest(account=name)
            while self._untried():
                time.sleep(0.05)
            held = ask_centre(self.world.deployment, "ReadVouchers", asked, pb.VouchersHeld)
            return [(one.visible, one.opened) for one in sorted(held.piles, key=lambda one: one.first_at_ms)]
        finally:
            self.world.stop()

    def _untried(self) -> int:
        """How many piles of the newest period the centre has not tried since a visible voucher came."""
        epoch = self.world.publication()
        period = self.design.period(self.design.open_setup(epoch.setup(), epoch.manifest.epoch))
        path = self.world.deployment.server(Party.CENTRE) / "state" / "centre.sqlite"
        with closing(sqlite3.connect(path)) as db:
            found = db.execute(
                "SELECT count(*) FROM piles WHERE next_try <= wanted AND period = ?", (period,)
            )
            return int(found.fetchone()[0])


@pytest.fixture(params=DESIGNS)
def service(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Service]:
    with World.create(tmp_path / "home", request.param) as world:
        yield Service(world)


def test_matches_before_and_after_list_updates_of_one_period_add_up(service: Service) -> None:
    service.publish()
    service.send(LISTED[0], OTHER)
    service.update()
    service.send()
    service.update()
    service.send(LISTED[1])
    assert service.piles() == [(2, 2)]


def test_a_voucher_that_waits_over_a_list_update_adds_up_with_those_after_it(service: Service) -> None:
    service.publish()
    service.send()
    with service.device("alice", [Party.PROVIDER]) as device:
        device.send_picture("bob", LISTED[0])
        assert device.standing().vouchers == 1
    service.update()
    service.send(LISTED[1])
    assert service.piles() == [(2, 2)]


def test_the_same_picture_before_and_after_an_update_is_one_match(service: Service) -> None:
    service.publish()
    service.send(LISTED[0])
    service.update()
    service.send(LISTED[0], LISTED[0])
    assert service.piles() == [(3, 0)]


def test_a_set_under_another_key_starts_a_period_with_no_matches(service: Service) -> None:
    service.publish()
    service.send(LISTED[0])
    service.publish()
    service.send(LISTED[1])
    assert service.piles() == [(1, 0), (1, 0)]
    service.update()
    service.send(LISTED[2])
    assert service.piles() == [(1, 0), (2, 2)]


def test_two_accounts_of_one_period_each_have_their_own_matches(service: Service) -> None:
    service.publish()
    service.send(LISTED[0])
    service.update()
    service.send(LISTED[1], name="carol")
    assert (service.piles(), service.piles("carol")) == ([(1, 0)], [(1, 0)])


HOUR = 3600


def test_the_same_key_with_a_later_end_starts_a_period_with_no_matches(service: Service) -> None:
    """Else a curator makes a period as long as it likes: six of these opened, three from before the end."""
    end = int(time.time()) + HOUR
    service.publish("one key", threshold=4, key_expires=end)
    service.send(*LISTED[:3])
    service.ahead_s = 2.0 * HOUR
    service.publish("one key", threshold=4, key_expires=end + 2 * HOUR)
    service.send(*LISTED[3:])
    assert service.piles() == [(3, 0), (3, 0)]


@pytest.mark.parametrize("later", [-HOUR // 2, HOUR])
def test_an_end_that_is_moved_either_way_starts_a_period_with_no_matches(
    service: Service, later: int
) -> None:
    end = int(time.time()) + HOUR
    service.publish("one key", key_expires=end)
    service.send(LISTED[0])
    service.publish("one key", key_expires=end + later)
    service.send(LISTED[1])
    assert service.piles() == [(1, 0), (1, 0)]


def test_the_same_key_with_another_threshold_starts_a_period_with_no_matches(service: Service) -> None:
    service.publish("one key", threshold=3)
    service.send(*LISTED[:2])
    service.publish("one key", threshold=2)
    service.send(LISTED[2])
    assert service.piles() == [(2, 0), (1, 0)]


def test_a_key_that_comes_back_after_another_period_starts_with_no_matches(service: Service) -> None:
    service.publish("one key")
    service.send(LISTED[0])
    service.publish("another")
    service.send(LISTED[1])
    service.publish("one key")
    service.send(LISTED[2])
    assert sum(opened for _, opened in service.piles()) == 0


def test_after_the_end_of_the_period_no_voucher_is_made(service: Service) -> None:
    service.publish(key_expires=int(time.time()) + HOUR)
    service.send(LISTED[0])
    service.ahead_s = 2.0 * HOUR
    with service.device("alice") as device:
        sent = device.send_picture("bob", LISTED[1])
        assert not sent.delivered and "the set of epoch 1 ended at" in sent.notice
        assert device.standing().vouchers == 0
    assert service.piles() == [(1, 0)]


def test_a_voucher_from_before_the_end_is_taken_after_it_and_counts_in_its_own_period(
    service: Service,
) -> None:
    service.publish(key_expires=int(time.time()) + HOUR)
    service.send(LISTED[0])
    with service.device("alice", [Party.PROVIDER]) as device:
        device.send_picture("bob", LISTED[1])
        assert device.standing().vouchers == 1
    service.ahead_s = 2.0 * HOUR
    with service.device("alice") as device:
        assert device.flush().waiting == 0
    assert service.piles() == [(2, 2)]


def test_a_device_put_back_from_a_copy_of_before_an_update_goes_on_with_its_matches(service: Service) -> None:
    service.publish(threshold=3)
    service.send(LISTED[0])
    folder = service.world.deployment.device("alice")
    copy = folder.with_name("copy-of-alice")
    shutil.copytree(folder, copy)
    service.update()
    service.send(LISTED[1])
    shutil.rmtree(folder)
    copy.rename(folder)
    service.send(LISTED[2])
    assert service.piles() == [(3, 3)]


def test_a_voucher_of_a_period_that_is_over_waits_and_blocks_no_later_one(service: Service) -> None:
    """It was made while the centre was away, and no centre takes it any more."""
    service.publish()
    service.send()
    with service.device("alice", [Party.PROVIDER]) as device:
        device.send_picture("bob", LISTED[0])
    service.publish()
    with service.device("alice") as device:
        device.refresh()
        for data in LISTED[1:3]:
            assert device.send_picture("bob", data).delivered
        assert device.standing().vouchers == 1
    assert service.piles() == [(2, 2)]


def test_matches_add_up_for_a_device_that_missed_updates_and_one_that_began_late(service: Service) -> None:
    service.publish()
    service.send(LISTED[0])
    for _ in range(3):
        service.update()
    service.send(LISTED[0], name="carol")
    service.update()
    service.send(LISTED[1])
    service.send(LISTED[1], name="carol")
    assert (service.piles(), service.piles("carol")) == ([(2, 2)], [(2, 2)])
