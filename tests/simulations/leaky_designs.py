"""oprf-psi on a modified device, to be run as ``leaky_designs.py:NAME``; and a matcher that cheats.

HASH_IN_PADDING  sends four bytes of the hash beside the request
OTHER_KEY        the matcher evaluates with another key than the one in the set-up
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, ClassVar

from blindmatch_protocol import contract
from blindmatch_protocol.codec import Message, Variable, message
from blindmatch_protocol.contract import Answer, Binding, Info, Item, NoState, Role, Send, Started
from blindmatch_protocol.designs.oprf_psi import OprfPsi, Request
from blindmatch_protocol.designs.oprf_psi.design import MATCHER, Waiting
from blindmatch_protocol.designs.oprf_psi.files import MatcherState, Setup
from blindmatch_protocol.executor import Executor
from blindmatch_protocol.oprf import Mode, generate_key_pair
from blindmatch_protocol.randomness import Randomness


@message
class Padded(Message):
    """A request with room for something that does not belong there."""

    TAG: ClassVar[int] = 0x71
    NAME: ClassVar[str] = "leaky/request"
    request: Annotated[bytes, Variable(4096)]
    padding: Annotated[bytes, Variable(64)]


class HashInPadding(OprfPsi):
    """Works as it should, and tells the matcher of every picture."""

    info: ClassVar[Info] = replace(OprfPsi.info, name="leaky-padding")
    requests: ClassVar[Mapping[Role, tuple[type[Message], ...]]] = {MATCHER: (Padded,)}

    def start(
        self, state: NoState, setup: Setup, item: Item, binding: Binding, rng: Randomness
    ) -> Started[NoState, Waiting]:
        started = super().start(state, setup, item, binding, rng)
        assert isinstance(started.step, Send)
        inner = started.step.bodies[MATCHER].encode()
        body = Padded(inner, item.hash[:4].ljust(16, b"\0"))
        return Started(state, Send(started.step.session, {MATCHER: body}))

    def answer(
        self,
        role: Role,
        state: MatcherState,
        requests: Sequence[contract.Request],
        rng: Randomness,
        executor: Executor | None,
    ) -> Answer:
        inner = [contract.Request(Request.decode(asked.body.request)) for asked in requests]  # type: ignore[attr-defined]
        return super().answer(role, state, inner, rng, executor)


class OtherKey(OprfPsi):
    """The same design and the same name; only the matcher's key is another one."""

    def answer(
        self,
        role: Role,
        state: MatcherState,
        requests: Sequence[contract.Request],
        rng: Randomness,
        executor: Executor | None,
    ) -> Answer:
        other: Any = replace(state, key=generate_key_pair(Mode.VOPRF, rng))
        return super().answer(role, other, requests, rng, executor)


HASH_IN_PADDING = HashInPadding()
OTHER_KEY = OtherKey()
