"""A design's own work for a picture, in one process: no messenger, no network, no other design."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from blindmatch_protocol.contract import AnyDesign, Role, Session
from blindmatch_protocol.errors import ProtocolError
from blindmatch_protocol.picture.item import Picture
from blindmatch_protocol.randomness import Randomness

from blindmatch_simulations.assess.observed import AloneRow


class _Watch:
    """Adds up wall and CPU milliseconds of the blocks it is entered for."""

    def __init__(self) -> None:
        self.wall = self.cpu = 0.0

    def __enter__(self) -> None:
        self._began = (time.perf_counter(), time.process_time())

    def __exit__(self, *_: object) -> None:
        self.wall += 1000 * (time.perf_counter() - self._began[0])
        self.cpu += 1000 * (time.process_time() - self._began[1])


def sessions_alone(
    design: AnyDesign,
    setup: Any,
    states: Mapping[Role, Any],
    pictures: Sequence[tuple[int, bytes]],
    rng: Randomness,
) -> Iterator[AloneRow]:
    """Run one session a picture; each is decoded and hashed on its own watch before.

    Raises:
        BlindmatchError: if a step of the design fails.
    """
    state = design.prepare(design.enrol(rng), setup, rng)
    for index, data in pictures:
        hashing, device, roles = _Watch(), _Watch(), _Watch()
        item = Picture.from_bytes(data)
        with hashing:
            _ = item.fingerprint
        with device:
            session = Session(design, setup, state, rng)
            step = session.start(item)
        while isinstance(step, Mapping):
            with roles:
                replies = {
                    role: _answer(design, role, states[role], body, rng) for role, body in step.items()
                }
            with device:
                step = session.receive(replies)
        with device:
            state = design.prepare(session.state, setup, rng)
        yield AloneRow(index, hashing.wall, device.wall, device.cpu, roles.wall, roles.cpu)


def _answer(design: AnyDesign, role: Role, state: Any, body: Any, rng: Randomness) -> Any:
    (reply,) = design.answer(role, state, [body], rng, None).replies
    if isinstance(reply, ProtocolError):
        raise reply
    return reply
