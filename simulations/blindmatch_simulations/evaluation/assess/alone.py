"""A design's own work for a picture, in one process: no messenger, no network, no other design."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.contract import Session
from blindmatch_protocol.picture.item import Picture

from blindmatch_simulations.evaluation.assess.observed import AloneRow, Extracted, KeyUse
from blindmatch_simulations.measure.yardstick import Stopwatch
from blindmatch_simulations.testbed.inprocess.opened import OpenDesign, new_state

UNLIMITED: Final = 1_000_000
"""What is spent where nothing limits it."""


def key_use(opened: OpenDesign) -> KeyUse | None:
    """The limits of the first role's key that has some."""
    design = opened.design
    found = (design.key_limits(role, opened.states[role]) for role in design.info.roles)
    limits = next((one for one in found if one is not None), None)
    return KeyUse(limits.cost, limits.per_account, limits.in_all) if limits else None


def extracted(opened: OpenDesign, key: KeyUse | None) -> Extracted | None:
    """What asking opens: with what an account may spend under a key, with what all may, or a million."""
    found = opened.design.extraction(opened.setup)
    if found is None:
        return None
    allowed = (key.per_account, key.in_all) if key else ()
    spent = sorted({one for one in allowed if one is not None} or {UNLIMITED})
    return Extracted(found.unit, {str(one): found.share(one) for one in spent})


def sessions_alone(
    opened: OpenDesign, pictures: Sequence[tuple[int, bytes]], rng: Randomness
) -> Iterator[AloneRow]:
    """Run one session a picture; each is decoded and hashed on its own watch before.

    Raises:
        BlindmatchError: if a step of the design fails.
    """
    design, setup = opened.design, opened.setup
    state = new_state(design, setup, rng)
    for index, data in pictures:
        hashing, device, roles = Stopwatch(), Stopwatch(), Stopwatch()
        item = Picture.from_bytes(data)
        with hashing:
            _ = item.fingerprint
        with device:
            session = Session(design, setup, state, rng)
            step = session.start(item)
        while isinstance(step, Mapping):
            with roles:
                replies = {role: opened.answer(role, body, rng)[0] for role, body in step.items()}
            with device:
                step = session.receive(replies)
        with device:
            session.conclude()
            state = design.prepare(session.state, setup, rng)
        yield AloneRow(index, hashing.wall_ms, device.wall_ms, device.cpu_ms, roles.wall_ms, roles.cpu_ms)
