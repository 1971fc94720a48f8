"""An offer of an epoch is held against everything, in one order; nothing follows a step that was refused."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from blindmatch_client.epochs.transparency import Seen
from blindmatch_client.epochs.trusted import TRANSITIONS, Demands, Held, RefusalError, Stage, Step, TrustedSet
from blindmatch_client.errors import EpochRefusedError
from blindmatch_protocol.contract import Party
from blindmatch_protocol.messages.epoch_manifest import EpochManifest
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from dummy_designs import ECHO
from hypothesis import given
from hypothesis import strategies as st
from support.signed import CURATOR

BEGINS = 100
INFO = ECHO.info
MANIFEST = EpochManifest(INFO.name, INFO.version, 1, 0, bytes(32), BEGINS, 200, 1, (), (), ())
NOTHING = Held(None, None, {})
LOG: Any = SimpleNamespace(check=lambda *_: Seen(), pinned=False, policy=None)


def steps(now: int = BEGINS) -> dict[Step, Callable[[TrustedSet], object]]:
    """Each step as it passes, if it is `now`."""
    return {
        Step.MANIFEST: lambda offer: offer.take_manifest(CURATOR.sign(MANIFEST).encode()),
        Step.ORDER: lambda offer: offer.check_order(NOTHING, now),
        Step.LOG: lambda offer: offer.check_log(pb.Description(), LOG, now),
        Step.FILES: lambda offer: offer.check_files({}, None),
        Step.SETUP: lambda offer: offer.check_setup(1),
    }


def offered() -> TrustedSet:
    return TrustedSet(Demands(ECHO, Party.MATCHER, CURATOR.public, None))


@given(st.lists(st.sampled_from(Step), max_size=12), st.sampled_from([BEGINS, BEGINS - 1]))
def test_steps_are_taken_in_one_order_and_none_after_a_refused_one(taken: list[Step], now: int) -> None:
    offer = offered()
    for step in taken:
        before = offer.stage
        after = TRANSITIONS.get((offer.stage, step))
        if after is None:
            with pytest.raises(RuntimeError, match=f"{before}: {step} is not next"):
                steps(now)[step](offer)
            assert offer.stage is before
        elif step is Step.ORDER and now < BEGINS:
            with pytest.raises(RefusalError, match="valid only from") as refused:
                steps(now)[step](offer)
            assert isinstance(refused.value.error, EpochRefusedError)
            assert offer.stage is Stage.REFUSED
        else:
            steps(now)[step](offer)
            assert offer.stage is after


def test_only_an_offer_that_took_every_step_is_trusted() -> None:
    offer = offered()
    for step in Step:
        assert offer.stage is not Stage.TRUSTED
        with pytest.raises(RuntimeError, match="is not adopted"):
            _ = offer.trusted
        steps()[step](offer)
    assert offer.stage is Stage.TRUSTED and offer.signed.manifest == MANIFEST
    assert offer.trusted == (offer.signed, offer.seen)
