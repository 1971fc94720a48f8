"""A device that makes vouchers, and the centre's opener, over one set in this process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, cast

from blindmatch_protocol import contract as bm
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.randomness import Randomness
from msgspec import Struct

from blindmatch_simulations.testbed.inprocess.deployed import Deployed
from blindmatch_simulations.testbed.pictures.pool import HashOnly

ACCOUNT: Final = "alice"


class World(Struct):
    """A device and the centre's opener over one set."""

    deployed: Deployed
    listed: Rows
    rng: Randomness
    state: Any
    opener: bm.Opener

    def item(self, own: bytes) -> bm.Item:
        """A picture that is known by its hash alone."""
        return cast(bm.Item, HashOnly(own))

    def voucher(self, own: bytes, bound: bm.Binding = bm.UNBOUND) -> bm.Message:
        design = self.deployed.design
        setup = self.deployed.setup
        started = design.start(self.state, setup, self.item(own), bound, self.rng)
        assert isinstance(started.step, bm.Done) and isinstance(started.step.outcome, bm.Voucher)
        return started.step.outcome.body

    @property
    def period(self) -> bytes:
        return self.deployed.design.period(self.deployed.setup)

    def take(self, body: bm.Message) -> bm.Taken:
        return self.opener.take(ACCOUNT, ACCOUNT, self.period, body)

    def rows(self, bodies: Sequence[bm.Message]) -> list[bytes]:
        """What the centre keeps of those that are visible."""
        return [one.row for one in map(self.take, bodies) if isinstance(one, bm.Visible)]

    def under(self, deployed: Deployed) -> World:
        """The same device and list, and the centre, over another epoch's set. The device has its state for as
        long as `state_scope` says, and else a new one."""
        design = deployed.design
        scopes = {bm.state_scope(design, one.setup) for one in (self.deployed, deployed)}
        state = self.state if len(scopes) == 1 else None
        return world_of(deployed, self.listed, self.rng, state)

    def restarted(self) -> World:
        return world_of(self.deployed, self.listed, self.rng, self.state)


def world_of(deployed: Deployed, listed: Rows, rng: Randomness, state: Any = None) -> World:
    """A device, a new one without a `state`, and the centre, over a set of `listed` hashes."""
    build = deployed.build
    design = deployed.design
    opener = design.open_opener({name: build.files[name] for name in build.published.opener})
    return World(deployed, listed, rng, state or design.enrol(rng), opener)
