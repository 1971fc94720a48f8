"""A matcher of token-psi whose key may be asked for a few requests only, and what a device sends it."""

from __future__ import annotations

from functools import partial

import numpy as np
from blindmatch_protocol.codec.randomness import seeded
from blindmatch_protocol.contract import SetParameters, batches_of
from blindmatch_protocol.designs.token_psi import DESIGN
from blindmatch_protocol.designs.voprf import MATCHER
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as wire
from blindmatch_server.matching.service import MatchingConfig, open_matching

from support.held_source import HeldSource
from support.memory import Held, MemoryWorkspace
from support.mortal import armed
from support.mortal_servers import Plan
from support.voprf_world import LISTED, SMALL, Picture, ask

COST = 8
"""Evaluations of a request with `SMALL` parameters."""
ALLOWED = 3
"""Requests of an account."""
LIMITS = {"account_evaluations": ALLOWED * COST, "all_evaluations": 5 * COST, "key_expires": 0}


def source(epoch: int = 1, seed: str = "publish", **limits: int) -> HeldSource:
    """A published set of four entries; one seed gives one key."""
    out = MemoryWorkspace()
    hashes = LISTED[:4]
    entries = batches_of(hashes, np.arange(1, 5, dtype=np.uint64), np.ones((4, 16), np.uint8))
    values = SMALL | LIMITS | limits
    made = DESIGN.publish(entries, SetParameters(epoch, values), seeded(seed), None, out)
    files = out.files()
    roles = {role: {name: files[name] for name in names} for role, names in made.roles.items()}
    return HeldSource(DESIGN, epoch, {name: files[name] for name in made.setup}, roles)


def request(held: HeldSource, seed: str = "device") -> wire.Envelope:
    """What a device sends for a listed picture."""
    setup = DESIGN.open_setup(held.setup, held.epoch)
    _, body = ask(Held(DESIGN, setup, {}, LISTED, LISTED), Picture(LISTED[0].tobytes()), seed)
    head = wire.Envelope(design=DESIGN.info.name, version=DESIGN.info.version, epoch=held.epoch, role=MATCHER)
    head.body = body.encode()
    return head


def limited_life(plan: Plan) -> None:
    """The matcher as a process that a test kills."""
    armed(plan.arm, plan.noted)
    plan.serve(partial(open_matching, MatchingConfig(DESIGN, source(), plan.folder / "matcher")))
