"""Coin explanation: whatever the matcher saw of one picture, blinds exist that explain it by another.

The hash to the group is programmed in the test so that it knows the discrete logarithm of each element it
gives: H(x) = h(x) * G. A request r * H(x) is then also r' * H(y) with r' = r * h(x) / h(y). Since blinds are
uniform, both explanations are equally likely: the request says nothing of the picture. That H can be
programmed is the random-oracle assumption; nothing else is assumed.
"""

from __future__ import annotations

import numpy as np
import pytest
from blindmatch_protocol import group
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.randomness import Recording, replayed, seeded
from blindmatch_protocol.contract import UNBOUND, NoState, Send
from blindmatch_protocol.contract.publishing import Executor
from blindmatch_protocol.crypto.dleq import Mode, hash_inputs_to_uniform
from blindmatch_protocol.designs.oprf_psi import DESIGN, Request
from blindmatch_protocol.designs.oprf_psi.design import INPUT_TAG
from blindmatch_protocol.designs.voprf import MATCHER
from blindmatch_simulations.testbed.inprocess.deployed import opened, publish
from blindmatch_simulations.testbed.pictures.pool import Pooled, make_pool

FILLER = 32


def _logarithms(uniform: Rows) -> Rows:
    return group.reduce_scalars(uniform)


def _programmed(scalars: Rows, uniform: Rows, executor: Executor | None = None) -> Rows:
    """Multiples of a hash to the group whose discrete logarithms are known."""
    return group.multiply(scalars, group.multiply_base(_logarithms(uniform)))


def _log_of(one: Pooled, filler: bytes) -> Rows:
    value = one.item.hash if one.item.quality >= 50 else filler
    return _logarithms(hash_inputs_to_uniform([INPUT_TAG + value], Mode.VOPRF))


POOL = make_pool(1)
PAIRS = [("listed/0", "other/0"), ("other/0", "listed/0"), ("poor/0", "other/1"), ("listed/1", "poor/1")]


@pytest.mark.parametrize(("shown", "claimed"), PAIRS)
def test_a_request_is_explained_by_any_other_picture(
    shown: str, claimed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group, "hash_multiply", _programmed)
    deployed = opened(publish(DESIGN, POOL.entries, seeded("coins")))
    one, other = (next(p for p in POOL.pictures if p.name == name) for name in (shown, claimed))
    tape = Recording(seeded(f"coins/{shown}"))
    started = DESIGN.start(NoState(), deployed.setup, one.item, UNBOUND, tape.rng)
    assert isinstance(started.step, Send)
    filler = tape.tape()[:FILLER]
    uniform = np.frombuffer(tape.tape()[FILLER:], np.uint8).reshape(1, 64)
    blind = group.reduce_scalars(uniform)

    ratio = group.multiply_scalars(_log_of(one, filler), group.invert_scalars(_log_of(other, filler)))
    other_blind = group.multiply_scalars(blind, ratio)
    explained = replayed(filler + other_blind.tobytes().ljust(64, b"\0"))
    again = DESIGN.start(NoState(), deployed.setup, other.item, UNBOUND, explained)
    assert isinstance(again.step, Send)
    assert again.step.bodies[MATCHER] == started.step.bodies[MATCHER]
    assert other_blind.tobytes() != blind.tobytes()


def test_with_a_fixed_blind_no_coins_explain_another_picture() -> None:
    """What the argument rests on: the blind is free. One that is not leaves two requests that differ."""
    deployed = opened(publish(DESIGN, POOL.entries, seeded("coins")))
    bodies = []
    for one in POOL.of("listed", "other")[:2]:
        started = DESIGN.start(
            NoState(), deployed.setup, one.item, UNBOUND, replayed(bytes(FILLER) + bytes([1] * 64))
        )
        assert isinstance(started.step, Send)
        bodies.append(started.step.bodies[MATCHER])
    assert all(isinstance(body, Request) for body in bodies)
    assert bodies[0] != bodies[1]
