"""A world that an attack makes and starts itself: servers on loopback, in a thread, and their devices.

Servers and devices are the package's own, in this process, so that a weakness can be planted in any of them.
A party that the adversary holds is the package's, too, with its replies altered on their way to a device.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar

import numpy as np
from blindmatch_client.egress import Call, Egress, Recorder
from blindmatch_client.egress.calls import EXCHANGE, EXCHANGE_LARGE
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.contract import Party
from blindmatch_protocol.contract.relation import NO_ENTRIES
from blindmatch_protocol.messages.franking import DEFAULT_MODE, FrankingMode
from google.protobuf.message import Message as Wire
from msgspec import field
from PIL import Image

from blindmatch_simulations.evaluation.attacks.adversary import Weakness
from blindmatch_simulations.evaluation.attacks.arena import Arena
from blindmatch_simulations.evaluation.attacks.figure import Spending
from blindmatch_simulations.testbed.deployment.devices import Watched, credentials_of, now_ms
from blindmatch_simulations.testbed.deployment.folder import Deployment
from blindmatch_simulations.testbed.deployment.registry import reference_of
from blindmatch_simulations.testbed.pictures import pool
from blindmatch_simulations.testbed.pictures.crops import encoded
from blindmatch_simulations.testbed.scenario.run import publish_list
from blindmatch_simulations.testbed.scenario.world import World

T = TypeVar("T")

FILLERS: Final = 40
"""Random hashes on a list beside those of its pictures."""
SMALL: Final[Mapping[str, int]] = {"k": 16, "bands": 4, "probes": 4, "slot_bits": 8}
"""Parameters of a set, where a design has them: few tokens, so that devices are quick, and few slots, so that
sets are."""

Tamper: TypeAlias = Callable[[Call[Any, Any], Wire | None, Any], Any]
"""What a party in the adversary's hands makes of its honest reply: (call, request if it is one, reply)."""


def honest(call: Call[Any, Any], request: Wire | None, reply: Any) -> Any:
    """A `Tamper` that leaves every reply as it is."""
    return reply


def drawn(number: int) -> bytes:
    """The generated picture of a number, as a PNG file."""
    return encoded(Image.fromarray(pool.picture(number).pixels))


class _Between(Egress):
    """A way out on which replies are altered before the device has them, or come by `diverted` ways from
    servers of the adversary that answer in a party's place."""

    def __init__(
        self, tamper: Tamper, diverted: Mapping[Party, Egress], spending: Spending, *arguments: Any
    ) -> None:
        super().__init__(*arguments)
        self._tamper = tamper
        self._diverted = diverted
        self._spending = spending

    def unary(self, call: Call[Any, Any], request: Any) -> Any:
        if call.party in self._diverted:
            return self._diverted[call.party].unary(call, request)
        reply = super().unary(call, request)
        self._spending.queries += call.method is EXCHANGE
        return self._tamper(call, request, reply)

    def converse(
        self,
        call: Call[Any, Any],
        requests: Callable[[], Iterable[Any]],
        consume: Callable[[Iterator[Any]], T],
    ) -> T:
        if call.party in self._diverted:
            return self._diverted[call.party].converse(call, requests, consume)
        self._spending.queries += call.method is EXCHANGE_LARGE
        return super().converse(
            call, requests, lambda replies: consume(self._tamper(call, None, one) for one in replies)
        )

    def listen(self, call: Call[Any, Any], request: Any, consume: Callable[[Iterator[list[Any]]], T]) -> T:

        def altered(replies: Iterator[list[Any]]) -> Iterator[list[Any]]:
            return ([self._tamper(call, None, one) for one in some] for some in replies)

        return super().listen(call, request, lambda replies: consume(altered(replies)))


class Loopback(World):
    """A world whose devices' replies can be altered.

    Attributes:
        diverted: ways to servers that answer in a party's place from now on, for every device.
        spending: of the attack; requests of devices to the design's roles count.
    """

    diverted: dict[Party, Egress] = field(default_factory=dict)
    spending: Spending = field(default_factory=Spending)

    def device(self, name: str, tamper: Tamper = honest, **more: Any) -> Watched:
        """A new, registered device; see `World.device`. Replies reach it as `tamper` leaves them."""
        return World.device(
            self, name, way_out=partial(_Between, tamper, self.diverted, self.spending), **more
        )

    def way_to(self, other: Deployment, name: str) -> Egress:
        """The way of the device called `name` to servers of another deployment."""
        return Egress(other.directory(), credentials_of(self.deployment, name), Recorder(), now_ms)


@contextmanager
def loopback(
    arena: Arena,
    listed: Sequence[bytes] = (),
    more: Rows = NO_ENTRIES,
    tools: Weakness = nullcontext,
    franking: FrankingMode = DEFAULT_MODE,
) -> Iterator[Loopback]:
    """A deployment of the arena's design with pictures `listed` and `more` hashes on its list, until the
    block ends; `tools` are changed while the curator builds and signs."""
    reference = reference_of(arena.design)
    with tempfile.TemporaryDirectory(prefix="blindmatch-attack-") as folder:
        with tools():
            held = Loopback.create(Path(folder) / "home", reference, arena.design, franking=franking)
            held.spending = arena.spending
            publish_in(arena, held.deployment, listed, more)
        with held:
            held.start(threads=True)
            yield held


def publish_in(
    arena: Arena,
    deployment: Deployment,
    listed: Sequence[bytes],
    more: Rows = NO_ENTRIES,
    epoch: int | None = None,
) -> None:
    """Publish an epoch, of random hashes, `more` and those of `listed` pictures; teach the centre."""
    hashes = np.concatenate([pool.random_hashes(FILLERS, arena.seed), more])
    rng = arena.rng(f"publish/{len(list(deployment.lists.glob('*')))}")
    publish_list(deployment, arena.design, hashes, listed, rng, epoch, SMALL)
