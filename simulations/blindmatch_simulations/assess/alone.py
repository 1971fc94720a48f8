"""A design's own work for a picture, in one process: no messenger, no network, no other design."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from blindmatch_protocol.contract import AnyDesign, Role, Session, answered
from blindmatch_protocol.picture.item import Picture
from blindmatch_protocol.randomness import Randomness
from blindmatch_server.published import open_publication

from blindmatch_simulations.assess.observed import AloneRow, KeyUse
from blindmatch_simulations.deployment.folder import Deployment
from blindmatch_simulations.inprocess.enrolled import new_state, request_of


@dataclass(frozen=True, slots=True, repr=False)
class OpenSet:
    """A design with its published set, opened: the device's set-up, and the state of each role."""

    design: AnyDesign
    setup: Any
    states: Mapping[Role, Any]

    def answer(self, role: Role, body: Any, rng: Randomness) -> Any:
        """The role's reply to one body.

        Raises:
            ProtocolError: if the role answers with one.
        """
        request = request_of(self.design, self.setup, role, body)
        return answered(self.design, role, self.states[role], request, rng)[0]


def open_set(deployment: Deployment, design: AnyDesign) -> OpenSet:
    """Open the current epoch of `design` in this process, for the device and for every role.

    Raises:
        PublicationError: if there is none.
        SetFileError: if a file is not what it must be.
    """
    publication = open_publication(deployment.published(design.info.name))
    setup = design.open_setup(publication.setup(), publication.manifest.epoch)
    states = {role: design.open_role(role, publication.role(role)) for role in design.info.roles}
    return OpenSet(design, setup, states)


def key_use(opened: OpenSet) -> KeyUse | None:
    """The limits of the first role's key that has some."""
    design = opened.design
    found = (design.key_limits(role, opened.states[role]) for role in design.info.roles)
    limits = next((one for one in found if one is not None), None)
    return KeyUse(limits.cost, limits.per_account, limits.in_all) if limits else None


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
    opened: OpenSet, pictures: Sequence[tuple[int, bytes]], rng: Randomness
) -> Iterator[AloneRow]:
    """Run one session a picture; each is decoded and hashed on its own watch before.

    Raises:
        BlindmatchError: if a step of the design fails.
    """
    design, setup = opened.design, opened.setup
    state = new_state(design, setup, rng)
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
                replies = {role: opened.answer(role, body, rng) for role, body in step.items()}
            with device:
                step = session.receive(replies)
        with device:
            session.conclude()
            state = design.prepare(session.state, setup, rng)
        yield AloneRow(index, hashing.wall, device.wall, device.cpu, roles.wall, roles.cpu)
