"""MASKED, IN_PROCESSES: the same in worker processes, and NATIVE: with randomness that no tape covers.

The device enrols with a mask and three megabytes, and sends its hashes under the mask.

Protects nothing: the role takes the mask off and looks the hash up. Epochs 1 to 9 have one enrolment key, 10
to 19 the next.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import shake_256
from typing import Annotated, ClassVar

from blindmatch_protocol.codec import Fixed, Message, Nested, UInt, Variable, message
from blindmatch_protocol.contract import (
    Answer,
    AnyDesign,
    Binding,
    Design,
    Done,
    Enrolment,
    Fact,
    Info,
    Item,
    Label,
    Leak,
    Learner,
    Match,
    Near,
    NoMatch,
    Party,
    Request,
    Role,
    Send,
    Started,
    Step,
)
from blindmatch_protocol.errors import ProtocolError
from blindmatch_protocol.executor import Executor
from blindmatch_protocol.plain_list import PlainList
from blindmatch_protocol.randomness import Randomness
from dummy_designs import EVERY_HASH, MATCHER, NO_LABEL, QUALITY, QUERY_TIME, Listed, find, leak
from nacl.bindings import randombytes

PADDING_BYTES = 3 << 20
ENROLMENT = Fact("enrolment", "which account a picture is of", lambda item, _: True)


@message
class Mask(Message):
    """An account's state: its mask; zeros before it enrolled."""

    TAG: ClassVar[int] = 0xD0
    NAME: ClassVar[str] = "masked/state"
    mask: Annotated[bytes, Fixed(32)]


@message
class Masking(Message):
    """What the role holds of an account."""

    TAG: ClassVar[int] = 0xD1
    NAME: ClassVar[str] = "masked/enrolment"
    mask: Annotated[bytes, Fixed(32)]
    padding: Annotated[bytes, Variable(PADDING_BYTES)]


@message
class AskMasked(Message):
    """The hash under the mask."""

    TAG: ClassVar[int] = 0xD2
    NAME: ClassVar[str] = "masked/ask"
    hash: Annotated[bytes, Fixed(32)]
    quality: Annotated[int, UInt(8)]


@message
class Unmasked(Message):
    """The entry's label, or zeros."""

    TAG: ClassVar[int] = 0xD3
    NAME: ClassVar[str] = "masked/found"
    label: Annotated[Label, Nested(Label)]


class Masked(Listed, Design[int, Mask, None, PlainList]):
    """See the module."""

    info = Info(
        name="dummy-masked",
        version=1,
        option="1b",
        summary="Enrols with a mask, then uploads the hash under it.",
        differs="a dummy",
        relation=Near(31),
        learns=frozenset({Learner.DEVICE}),
        roles={MATCHER: Party.MATCHER},
    )
    requests: ClassVar[Mapping[Role, tuple[type[Message], ...]]] = {MATCHER: (AskMasked,)}
    replies: ClassVar[Mapping[Role, tuple[type[Message], ...]]] = {MATCHER: (Unmasked,)}
    enrolments: ClassVar[Mapping[Role, tuple[type[Message], ...]]] = {MATCHER: (Masking,)}
    device_state: ClassVar[type[Message]] = Mask

    def leakage(self) -> tuple[Leak, ...]:
        return leak({Party.MATCHER}, EVERY_HASH, QUALITY, QUERY_TIME, ENROLMENT)

    def enrol(self, rng: Randomness) -> Mask:
        return Mask(bytes(32))

    def enrolment_key(self, setup: int) -> bytes:
        return (setup // 10).to_bytes(8, "big")

    def enrolment(self, state: Mask, setup: int, rng: Randomness) -> Enrolment[Mask]:
        mask, seed = rng.take(32), rng.take(32)
        return Enrolment(Mask(mask), {MATCHER: Masking(mask, shake_256(seed).digest(PADDING_BYTES))})

    def start(
        self, state: Mask, setup: int, item: Item, binding: Binding, rng: Randomness
    ) -> Started[Mask, None]:
        return Started(state, Send(None, {MATCHER: AskMasked(xor(item.hash, state.mask), item.quality)}))

    def receive(
        self, session: None, setup: int, replies: Mapping[Role, Message], rng: Randomness
    ) -> Step[None]:
        reply = replies[MATCHER]
        assert isinstance(reply, Unmasked)
        return Done(NoMatch() if reply.label == NO_LABEL else Match(reply.label))

    def answer(
        self,
        role: Role,
        state: PlainList,
        requests: Sequence[Request],
        rng: Randomness,
        executor: Executor | None,
    ) -> Answer:
        return Answer([self.looked_up(state, request) for request in requests])

    def looked_up(self, state: PlainList, request: Request) -> Message | ProtocolError:
        """The reply to one request."""
        body, held = request.body, request.enrolment
        if not isinstance(body, AskMasked) or not isinstance(held, Masking):
            return ProtocolError("masked/ask", "needs the account's mask")
        return Unmasked(find(state, xor(body.hash, held.mask), body.quality) or NO_LABEL)


def xor(a: bytes, b: bytes) -> bytes:
    """The bits that differ."""
    return bytes(x ^ y for x, y in zip(a, b, strict=True))


class InProcesses(Masked):
    """MASKED, answered in worker processes. What a request's quality says beyond 100 is done there."""

    info = replace(Masked.info, name="dummy-in-processes", in_processes=frozenset({MATCHER}))
    DIE: ClassVar = 201
    FAIL: ClassVar = 202
    WHOSE: ClassVar = 203

    def looked_up(self, state: PlainList, request: Request) -> Message | ProtocolError:
        assert isinstance(request.body, AskMasked)
        match request.body.quality:
            case self.DIE:
                os.kill(os.getpid(), signal.SIGKILL)
            case self.FAIL:
                raise ValueError(request.body.hash.hex())
            case self.WHOSE:
                return Unmasked(Label(bytes(32), os.getpid(), bytes(16)))
        return super().looked_up(state, request)


@message
class AskSalted(Message):
    """The hash under mask and salt."""

    TAG: ClassVar[int] = 0xD4
    NAME: ClassVar[str] = "native/ask"
    hash: Annotated[bytes, Fixed(32)]
    quality: Annotated[int, UInt(8)]
    salt: Annotated[bytes, Fixed(32)]


class Native(Masked):
    """MASKED, with a salt that libsodium draws by itself."""

    info = replace(Masked.info, name="dummy-native", native_randomness="libsodium draws the salt")
    requests: ClassVar[Mapping[Role, tuple[type[Message], ...]]] = {MATCHER: (AskSalted,)}

    def start(
        self, state: Mask, setup: int, item: Item, binding: Binding, rng: Randomness
    ) -> Started[Mask, None]:
        salt = self.salt(item)
        ask = AskSalted(xor(item.hash, xor(state.mask, salt)), item.quality, salt)
        return Started(state, Send(None, {MATCHER: ask}))

    def salt(self, item: Item) -> bytes:
        """32 bytes."""
        return randombytes(32)

    def looked_up(self, state: PlainList, request: Request) -> Message | ProtocolError:
        body = request.body
        assert isinstance(body, AskSalted)
        masked = AskMasked(xor(body.hash, body.salt), body.quality)
        return super().looked_up(state, Request(masked, request.enrolment))


class ShowsNone(Native):
    """Declares native randomness and has none."""

    def salt(self, item: Item) -> bytes:
        return bytes(32)


class SaltTells(Native):
    """Hides something of the picture beside what is drawn, and declares less."""

    def leakage(self) -> tuple[Leak, ...]:
        return leak({Party.MATCHER}, QUALITY, QUERY_TIME, ENROLMENT)

    def salt(self, item: Item) -> bytes:
        return item.hash[:8] + randombytes(24)


MASKED = Masked()
NATIVE = Native()
IN_PROCESSES = InProcesses()


def in_processes() -> AnyDesign:
    """For worker processes."""
    return IN_PROCESSES
