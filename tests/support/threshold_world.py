"""Devices, vouchers and the centre of the designs with a threshold, in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Self

import pytest
from blindmatch_protocol import contract as bm
from blindmatch_protocol.codec.randomness import seeded
from blindmatch_protocol.messages.content import AttachmentRef, Content
from blindmatch_protocol.messages.franking import commit, disclose
from blindmatch_simulations.testbed.inprocess.deployed import Deployed, opened, publish

from support.memory import random_hashes
from support.voprf_world import Picture

T = 4
LISTED = random_hashes(40)
OTHERS = random_hashes(40, seed=9)
ME = "alice", "phone"


def built(design: Any, listed: Any = LISTED, **values: int) -> Deployed:
    return opened(publish(design, listed, seeded("set"), 1, {"threshold": T, "synthetic": 0, **values}))


def opener(deployed: Deployed) -> Any:
    build = deployed.build
    return deployed.design.open_opener({name: build.files[name] for name in build.published.opener})


class Phone:
    """A device with a key of its own."""

    def __init__(self, deployed: Deployed, seed: str = "phone") -> None:
        self.deployed = deployed
        self.rng = seeded(seed)
        self.state = deployed.design.enrol(self.rng)

    def voucher(
        self, own: Any, quality: int = 100, binding: bm.Binding = bm.UNBOUND, weak: tuple[int, ...] = ()
    ) -> Any:
        item: Any = Picture(own if isinstance(own, bytes) else own.tobytes(), quality, weak)
        design = self.deployed.design
        setup = self.deployed.setup
        step: Any = design.start(self.state, setup, item, binding, self.rng).step
        return step.outcome.body

    def vouchers(self, rows: Any) -> list[Any]:
        return [self.voucher(row) for row in rows]


class Operations:
    """Counts what a module's functions are called with: `weigh` says how much a call is."""

    def __init__(self, module: Any, names: tuple[str, ...], weigh: Callable[..., int]) -> None:
        self.patch = pytest.MonkeyPatch()
        self.counted = 0
        for name in names:
            self.patch.setattr(module, name, partial(self._count, getattr(module, name), weigh))

    def _count(self, inner: Callable[..., Any], weigh: Callable[..., int], *given: Any) -> Any:
        self.counted += weigh(*given)
        return inner(*given)

    def of(self, design: Any) -> set[int]:
        """For vouchers of listed, other and poor pictures, a tenth of them made up."""
        phone = Phone(built(design, synthetic=100))
        found = set[int]()
        for quality, rows in ((100, LISTED), (100, OTHERS), (0, LISTED[:2])):
            for row in rows:
                self.counted = 0
                phone.voucher(row, quality)
                found.add(self.counted)
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.patch.undo()


def read(deployed: Deployed, vouchers: Any, account: str = "alice", by: Any = None) -> dict[int, bm.Label]:
    return bm.open_all(by or opener(deployed), account, "phone", deployed.setup.period, vouchers)


def is_visible(deployed: Deployed, voucher: Any, by: Any = None) -> bool:
    taken = (by or opener(deployed)).take(*ME, deployed.setup.period, voucher)
    return isinstance(taken, bm.Visible)


def message(sender: str) -> bm.Binding:
    """The binding of a message by an account."""
    made = Content(
        bytes(16), 1, "", (AttachmentRef(bytes(16), bytes(32), bytes(32), 1024, "image/png"),), bytes(32)
    )
    evidence = disclose(made, sender, "bob", 0)
    return bm.Binding(commit(made, sender, "bob"), evidence.encode())


def complains(deployed: Deployed, vouchers: Iterator[Any]) -> bool:
    """Does the centre say that it cannot take the first of these?"""
    try:
        opener(deployed).take(*ME, deployed.setup.period, next(vouchers))
    except bm.ProtocolError:
        return True
    return False
