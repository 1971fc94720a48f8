"""Pairs of devices in a process of their own: one of each pair sends, the other receives.

`make_pairs` prepares such a worker, which obeys one order after the other. Times are of the clock that all
processes share.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from blindmatch_client.device import Device
from blindmatch_client.egress import Recorder
from blindmatch_protocol.codec.errors import BlindmatchError
from blindmatch_protocol.designs.none import DESIGN
from blindmatch_server.hosting.workers import TaskError
from msgspec import Struct

from blindmatch_simulations.testbed.deployment.devices import connect
from blindmatch_simulations.testbed.deployment.folder import Deployment

TEXT: Final = "A text of about the usual length, and a little more."
WAIT_MS: Final = 250
"""A receiver's stream ends when nothing came for so long; it opens another."""
PATIENCE_S: Final = 60.0
"""After the last message was sent, this long may pass until the last one is received."""


def new_device(deployment: Deployment, name: str) -> Device:
    """A registered device of the design `none`."""
    device = connect(deployment, name, Recorder(most_records=10), design=DESIGN)
    device.register()
    return device


class Order(Struct, frozen=True):
    """What each pair is to do; `rate` is messages a second of a pair, 0 as fast as it goes."""

    each: int
    rate: float = 0.0
    picture: Path | None = None


class Pair(Struct):
    """A sender and a receiver with a session."""

    sender: Device
    receiver: Device
    to: str

    @classmethod
    def make(cls, deployment: Deployment, name: str) -> Pair:
        """Two new devices; a first text makes the session."""
        to = f"{name}-b"
        pair = cls(new_device(deployment, f"{name}-a"), new_device(deployment, to), to)
        pair.run(Order(1))
        return pair

    def run(self, order: Order) -> tuple[list[float], list[float]]:
        """When each message was sent (or due, if a rate was asked for), and when it had arrived."""
        sent: list[float] = []
        done = threading.Event()
        failed = list[BaseException]()

        def send() -> None:
            try:
                self._send(order, sent)
            except BlindmatchError as error:
                failed.append(error)
            done.set()

        thread = threading.Thread(target=send)
        thread.start()
        arrived = self._receive(order, done)
        thread.join()
        if failed or len(arrived) != order.each:
            raise TaskError(f"{len(arrived)} of {order.each} messages arrived; {failed[:1]}")
        return sent, arrived

    def _send(self, order: Order, sent: list[float]) -> None:
        picture = None if order.picture is None else order.picture.read_bytes()
        began = time.monotonic()
        for number in range(order.each):
            due = began + number / order.rate if order.rate else time.monotonic()
            time.sleep(max(0.0, due - time.monotonic()))
            sent.append(due)
            if picture is None:
                self.sender.send_text(self.to, TEXT)
            else:
                self.sender.send_picture(self.to, picture)

    def _receive(self, order: Order, done: threading.Event) -> list[float]:
        """When each message was complete on the receiver: saved, and its picture fetched and checked."""
        complete: list[float] = []
        until = float("inf")
        while len(complete) < order.each and time.monotonic() < until:
            self.receiver.receive(WAIT_MS, lambda count: complete.extend([time.monotonic()] * count))
            if done.is_set() and until == float("inf"):
                until = time.monotonic() + PATIENCE_S
        return complete


_PAIRS: Final[list[Pair]] = []


def make_pairs(home: Path, name: str, count: int) -> None:
    """Registered devices; every pair has a session."""
    deployment = Deployment.open(home)
    _PAIRS.extend(Pair.make(deployment, f"{name}-{number}") for number in range(count))


def are_made() -> bool:
    """The first task: it ends once this worker has its pairs."""
    return bool(_PAIRS)


def obey(order: Order) -> dict[str, Any]:
    """Let all pairs do it at the same time; what came of it."""
    cpu = time.process_time()
    with ThreadPoolExecutor(len(_PAIRS)) as pool:
        done = list(pool.map(lambda pair: pair.run(order), _PAIRS))
    return {
        "began": min(sent[0] for sent, _ in done),
        "ended": max(arrived[-1] for _, arrived in done),
        "latencies_us": [(b - a) * 1e6 for pair in done for a, b in zip(*pair, strict=True)],
        "cpu_s": time.process_time() - cpu,
    }
