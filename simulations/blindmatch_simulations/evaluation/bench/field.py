"""Devices on one relay, on this machine, with the design `none`: the field of the benches of the messenger.

    parent: relay and matcher as processes; orders --> worker processes, each with pairs of devices --> relay

Devices and relay share the cores, so rates are those of the whole, not of a relay alone; CPU times tell
them apart.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from blindmatch_protocol.codec.randomness import system_randomness
from blindmatch_protocol.contract import Party, batches_of
from blindmatch_protocol.contract.relation import NO_ENTRIES
from blindmatch_protocol.designs.none import DESIGN
from blindmatch_protocol.messages.franking import DEFAULT_MODE, FrankingMode
from msgspec import Struct

from blindmatch_simulations.measure.processes import Worker, cpu_seconds, status_mib, working
from blindmatch_simulations.measure.yardstick import percentile
from blindmatch_simulations.testbed.scenario.world import World


class Load(Struct, frozen=True):
    """How much is sent.

    Attributes:
        texts, pictures: how many of each.
        workers: processes with devices.
        pairs: of devices in each of them.
        franking: what messages bear of their sender's key.
    """

    texts: int = 2000
    pictures: int = 200
    workers: int = 2
    pairs: int = 4
    franking: FrankingMode = DEFAULT_MODE

    @property
    def all_pairs(self) -> int:
        """Pairs in all."""
        return self.workers * self.pairs


class Outcome(Struct, frozen=True):
    """What came of an order.

    Attributes:
        seconds: from the first that was sent to the last that arrived.
        latencies_us: of each.
        relay_cpu_us, device_cpu_us: CPU time a message; the relay's is None without /proc.
    """

    messages: int
    seconds: float
    latencies_us: Sequence[float]
    relay_cpu_us: float | None
    device_cpu_us: float

    @classmethod
    def joined(cls, parts: Sequence[Outcome]) -> Outcome:
        """Of orders one after the other; the time between them does not count."""
        messages = sum(part.messages for part in parts)
        relay = [part.relay_cpu_us * part.messages for part in parts if part.relay_cpu_us is not None]
        return cls(
            messages=messages,
            seconds=sum(part.seconds for part in parts),
            latencies_us=[value for part in parts for value in part.latencies_us],
            relay_cpu_us=sum(relay) / messages if len(relay) == len(parts) else None,
            device_cpu_us=sum(part.device_cpu_us * part.messages for part in parts) / messages,
        )

    @property
    def per_second(self) -> float:
        """Messages a second."""
        return self.messages / self.seconds

    def cpu_figures(self) -> dict[str, float]:
        """CPU times as figures of a row."""
        found = {"device_cpu_us": self.device_cpu_us}
        return found if self.relay_cpu_us is None else found | {"server_cpu_us": self.relay_cpu_us}

    def latency_figures(self) -> dict[str, float]:
        """Percentiles as figures of a row."""
        values = self.latencies_us
        tails = {f"p{share}_us": percentile(values, share / 100) for share in (95, 99)}
        return {"p50_us": median(values), **tails, "per_second": self.per_second}


class Field(Struct, frozen=True):
    """A running relay and its workers; `device` is what `device_start` is told of one of theirs."""

    device: tuple[str, str, str]
    relay: int
    workers: Sequence[Worker]
    pairs: int

    def order(self, messages: int, rate: float = 0.0, picture: Path | None = None) -> Outcome:
        """Have about `messages` sent by all pairs together, at `rate` a second in all; 0: as fast as it goes.

        Raises:
            AloneError: if a worker fails.
        """
        each = max(1, round(messages / self.pairs))
        line = json.dumps(
            {"each": each, "rate": rate / self.pairs, "picture": None if picture is None else str(picture)}
        )
        before = cpu_seconds(self.relay)
        for worker in self.workers:
            worker.tell(line)
        return self._outcome(each * self.pairs, before, [worker.answer() for worker in self.workers])

    def memory_mib(self) -> dict[str, float]:
        """Resident memory of the relay, and of all processes with devices together; empty without /proc."""
        relay = status_mib("VmRSS", self.relay)
        devices = [status_mib("VmRSS", worker.pid) for worker in self.workers]
        known = [one for one in devices if one is not None]
        return {} if relay is None else {"relay": relay, "devices": sum(known)}

    def _outcome(self, messages: int, before: float | None, answers: Sequence[dict[str, Any]]) -> Outcome:
        after = cpu_seconds(self.relay)
        relay = None if before is None or after is None else (after - before) / messages * 1e6
        return Outcome(
            messages=messages,
            seconds=max(one["ended"] for one in answers) - min(one["began"] for one in answers),
            latencies_us=[value for one in answers for value in one["latencies_us"]],
            relay_cpu_us=relay,
            device_cpu_us=sum(one["cpu_s"] for one in answers) / messages * 1e6,
        )


@contextmanager
def messenger_field(folder: Path, load: Load) -> Iterator[Field]:
    """Relay, matcher and registered devices, in the new deployment `folder`, until the block ends."""
    nothing = batches_of(NO_ENTRIES, np.zeros(0, np.uint64), np.zeros((0, 16), np.uint8))
    made = World.create(folder, DESIGN.info.name, franking=load.franking)
    with made as world, ExitStack() as stack:
        world.publish(nothing, system_randomness())
        world.start([Party.MATCHER, Party.PROVIDER])
        module, pairs = f"{__package__}.messages_worker", str(load.pairs)
        started = [working(module, str(folder), f"w{n}", pairs) for n in range(load.workers)]
        workers = [stack.enter_context(one) for one in started]
        for worker in workers:
            worker.answer()
        curator, name = world.deployment.curator_public_key().hex(), "w0-0-a"
        device = str(world.deployment.device(name) / "state"), name, curator
        yield Field(device, world.servers[Party.PROVIDER].process.pid, workers, load.all_pairs)
