"""`blindmatch bench parties`: what a set costs to build, a picture the device and each role; no network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from blindmatch_protocol.codec.randomness import Randomness, system_randomness
from blindmatch_protocol.contract import AnyDesign, Item

from blindmatch_simulations.measure.meter import Meter
from blindmatch_simulations.testbed.inprocess.deployed import (
    Asked,
    Build,
    Deployed,
    opened,
    publish,
    run_again,
    run_session,
)


def bench_parties(
    meter: Meter, design: AnyDesign, item: Item, entries: int, values: Mapping[str, int]
) -> None:
    """Measure a list of `entries` random hashes, and a picture that is not on it: its device, then each
    role."""
    rng, builds = system_randomness(), list[Build]()
    hashes = np.frombuffer(rng.take(32 * entries), np.uint8).reshape(entries, 32)
    of: dict[str, Any] = {"design": design.info.name, "entries": entries, **values}
    build = partial(publish, design, hashes, rng, values=values)
    meter.time("parties/build", lambda: builds.append(build()), count=entries, repeat=False, **of)
    deployed = opened(builds[-1])
    ran = run_session(deployed, item, rng)
    meter.time("parties/device", partial(run_again, deployed, item, ran), **of)
    made = deployed.build.published
    for what, names in {
        "set-up": made.setup,
        **{f"files of {r}": own for r, own in made.roles.items()},
    }.items():
        held = sum(len(deployed.build.files[name]) for name in names)
        meter.record("parties/bytes", {"bytes": held}, **of, what=what)
    for role in design.info.roles:
        mine = [one for one in ran.asked if one.role == role]
        meter.time("parties/role", partial(_answers, deployed, mine, rng), **of, role=role)
        for way, bodies in (("up", [one.body for one in mine]), ("down", [one.reply for one in mine])):
            sent = sum(len(body.encode()) for body in bodies)
            meter.record("parties/bytes", {"bytes": sent}, **of, role=role, what=way)


def _answers(deployed: Deployed, asked: Sequence[Asked], rng: Randomness) -> None:
    for one in asked:
        deployed.answer(one.role, one.body, rng)
