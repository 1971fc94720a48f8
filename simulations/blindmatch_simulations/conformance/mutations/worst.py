"""Cheats that show in one class of pairs alone: a lone hit, a label that does not open, a long day."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from typing import Annotated, Any, ClassVar, Final

import numpy as np
from blindmatch_protocol import labels
from blindmatch_protocol.codec import Message, UInt, message
from blindmatch_protocol.contract import (
    Binding,
    Done,
    Item,
    NoMatch,
    Published,
    Ready,
    Send,
    Started,
    Step,
    concluded,
    no_progress,
)
from blindmatch_protocol.designs.oprf_psi import Reply
from blindmatch_protocol.designs.oprf_psi.design import MATCHER
from blindmatch_protocol.designs.recipe import Recipe
from blindmatch_protocol.designs.token_psi import Request, Tokening, TokenPsi
from blindmatch_protocol.designs.token_psi.build import evaluated_rows, keys_of
from blindmatch_protocol.designs.token_psi.derivation import token_keys
from blindmatch_protocol.errors import ProtocolError
from blindmatch_protocol.group import hash_to_group
from blindmatch_protocol.oprf import Evaluation, Mode, finalize, generate_key_pair
from blindmatch_protocol.randomness import Randomness, replayed

from blindmatch_simulations.conformance.mutations.devices import Again, Psi

HINTS: Final = "hints.bin"
HINT_BYTES: Final = 8
KEY_PAIR_BYTES: Final = 64
COVERED: Final = 4


class SmallTokens(TokenPsi):
    """token-psi under another name, with as few tokens as its games are played with."""

    info = replace(
        TokenPsi.info,
        name="cheat",
        parameters=tuple(
            replace(one, default=2) if one.name in ("bands", "probes") else one
            for one in TokenPsi.info.parameters
        ),
    )


class Hinted:
    """A set-up, and digests of the store keys that are in it."""

    def __init__(self, setup: Any, hints: frozenset[bytes]) -> None:
        self.setup = setup
        self.hints = hints

    def __getattr__(self, name: str) -> Any:
        return getattr(self.setup, name)


class HitsVisible(SmallTokens):
    """Whoever has asked for a token sees whether it is anybody's."""

    def publish(
        self,
        entries: Any,
        parameters: Any,
        rng: Randomness,
        executor: Any,
        out: Any,
        progress: Any = no_progress,
    ) -> Published:
        drawn = rng.take(KEY_PAIR_BYTES)
        made = super().publish(entries, parameters, replayed(drawn), executor, out, progress)
        names = ("k", "bands", "probes", "needed")
        tokening = Tokening(**{name: parameters.value(self.info, name) for name in names})
        key = generate_key_pair(Mode.VOPRF, replayed(drawn))
        for batch in entries.batches(len(entries)):
            rows = evaluated_rows(key, batch, tokening, Recipe(parameters.epoch))
            store_keys = keys_of(rows, tokening.bands).store_keys
            out.create(HINTS).write(b"".join(sorted(map(_hint, store_keys))))
        return Published((*made.setup, HINTS), made.roles)

    def open_setup(self, files_: Any, epoch: int | None = None) -> Any:
        raw = bytes(files_.get(HINTS, b""))
        cut = frozenset(raw[at : at + HINT_BYTES] for at in range(0, len(raw), HINT_BYTES))
        return Hinted(super().open_setup(files_, epoch), cut)

    def hit_bands(self, session: Any, setup: Any, reply: Any) -> int:
        """In how many bands a token that was asked for is somebody's."""
        outputs = finalize(
            session.blinding, Evaluation(reply.evaluated, reply.proof), setup.public_key, step=Reply.NAME
        )
        keys = token_keys(outputs, setup.layers[0].epoch)
        found = [_hint(key) in setup.hints for key in keys.store_keys]
        return int(np.array(found).reshape(-1, setup.tokening.bands).any(axis=0).sum())


def _hint(key: Any) -> bytes:
    return sha256(key.tobytes()).digest()[:HINT_BYTES]


class SecondLook(HitsVisible):
    """Asks again, for fresh elements, if one band hit and the other did not."""

    def receive(self, session: Any, setup: Any, replies: Any, rng: Randomness) -> Step[Any]:
        if isinstance(session, Again):
            return session.end
        step = super().receive(session, setup, replies, rng)
        if not isinstance(step, Ready) or self.hit_bands(session, setup, replies[MATCHER]) != 1:
            return step
        uniform = np.frombuffer(rng.take(64 * setup.tokening.tokens), np.uint8).reshape(-1, 64)
        return Send(Again(step), {MATCHER: Request(setup.epoch, hash_to_group(uniform))})


class FailedLabelTells(Psi):
    """Takes a label that does not open for a fault of the matcher."""

    def receive(self, session: Any, setup: Any, replies: Any, rng: Randomness) -> Step[Any]:
        step = concluded(self, super().receive(session, setup, replies, rng), setup)
        if session.own_hash is not None and step == Done(NoMatch()):
            reply, layer = replies[MATCHER], setup.layers[0]
            evaluation = Evaluation(reply.evaluated, reply.proof)
            output = finalize(session.blinding, evaluation, setup.public_key, step=Reply.NAME)[:1]
            if int(layer.numbers(labels.places(output, layer.file.identity.epoch))[0]) < layer.entries:
                raise ProtocolError(Reply.NAME, "a label does not open")
        return step


@message
class Sent(Message):
    """An account's state: how many pictures it has sent."""

    TAG: ClassVar[int] = 0x75
    NAME: ClassVar[str] = "cheat/sent"
    pictures: Annotated[int, UInt(16)]


class CoverRunsOut(Psi):
    """From an account's fifth picture on, nothing is asked for a poor one."""

    device_state: ClassVar[type[Message]] = Sent

    def enrol(self, rng: Randomness) -> Any:
        return Sent(0)

    def start(
        self, state: Any, setup: Any, item: Item, binding: Binding, rng: Randomness
    ) -> Started[Any, Any]:
        poor = item.quality < self.info.relation.minimum_quality
        if poor and state.pictures >= COVERED:
            return Started(state, Done(NoMatch()))
        step = super().start(state, setup, item, binding, rng).step
        return Started(Sent(min(state.pictures + 1, 0xFFFF)), step)
