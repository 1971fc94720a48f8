"""Option 1b in its naive form: the device uploads the hash, the matcher compares it in the clear.

    device                                   matcher (list in the clear)
      hash, quality      ------------------->
                                             nearest entry within 31 bits, if the quality is 50 or more
                         <-------------------  match, label      (the same length either way)

The matcher learns every hash, so for every picture it can tell whether it is one that it knows, and
whether two people sent the same one. That is why hashes are blinded elsewhere; this design is here to be
measured beside the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final

import numpy as np

from blindmatch_protocol.codec import Fixed, Flag, Message, Nested, UInt, message
from blindmatch_protocol.contract import (
    Adversary,
    Answer,
    Binding,
    Buffers,
    Design,
    Done,
    EntrySource,
    Fact,
    Info,
    Item,
    Label,
    Leak,
    Learner,
    Match,
    Near,
    NoMatch,
    NoState,
    Party,
    Progress,
    Published,
    Request,
    Role,
    Send,
    SetParameters,
    Started,
    Step,
    Verdict,
    Workspace,
    no_progress,
)
from blindmatch_protocol.contract.relation import MINIMUM_QUALITY
from blindmatch_protocol.errors import ProtocolError
from blindmatch_protocol.executor import Executor
from blindmatch_protocol.plain_list import (
    EPOCH_FILE,
    LIST_FILE,
    PlainList,
    open_epoch,
    open_list,
    write_epoch,
    write_list,
)
from blindmatch_protocol.randomness import Randomness

MATCHER: Final = Role("matcher")
MATCH_DISTANCE: Final = 31
_NAME: Final = "hash-upload"
_NOTHING: Final = Label(bytes(32), 0, bytes(16))

EVERY_HASH: Final = Fact("every_hash", "the perceptual hash of every picture", lambda item, _: item.hash)
QUALITY: Final = Fact("quality", "the hash quality of every picture", lambda item, _: item.quality)
QUERY_TIME: Final = Fact("query_time", "that, and when, an account sent a picture", lambda item, _: True)
ORACLE: Final = Fact(
    "any_hash",
    f"whether any hash of its choice is within {MATCH_DISTANCE} bits of an entry, and then which entry, "
    "one request "
    "for each",
    lambda item, _: item.hash,
)
FORCED_REPORT: Final = Fact(
    "forced_report",
    "any picture the matcher chooses: it knows the hash, so it can answer with a match that is none, and the "
    "device reports the picture to the centre, which sees it before it refuses the label",
    lambda item, _: (item.pixels.shape, item.pixels.tobytes()),
)


@message
class Upload(Message):
    """A picture's hash."""

    TAG: ClassVar[int] = 0x30
    NAME: ClassVar[str] = "hash-upload/request"

    hash: Annotated[bytes, Fixed(32)]
    quality: Annotated[int, UInt(8)]

    def check(self) -> None:
        """Quality is 0 to 100."""
        if self.quality > 100:
            raise ProtocolError(self.NAME, "must be 0 to 100", "quality")


@message
class Compared(Message):
    """Whether the hash is on the list; the label is all zeros if it is not."""

    TAG: ClassVar[int] = 0x31
    NAME: ClassVar[str] = "hash-upload/reply"

    matched: Annotated[bool, Flag()]
    label: Annotated[Label, Nested(Label)]

    def check(self) -> None:
        """A reply without a match bears no label."""
        if not self.matched and self.label != _NOTHING:
            raise ProtocolError(self.NAME, "must be all zeros without a match", "label")


@dataclass(frozen=True, slots=True, repr=False)
class Asked:
    """The session: the item's own hash."""

    hash: bytes


class HashUpload(Design[int, NoState, Asked, PlainList]):
    """The matcher sees every hash and learns the outcome, and tells the device."""

    info = Info(
        name=_NAME,
        version=2,
        option="1b",
        summary="The device uploads every hash in the clear; the matcher compares and tells the device.",
        relation=Near(MATCH_DISTANCE),
        learns=frozenset({Learner.SERVER, Learner.DEVICE}),
        roles={MATCHER: Party.MATCHER},
    )
    requests: ClassVar[Mapping[Role, tuple[type[Message], ...]]] = {MATCHER: (Upload,)}
    replies: ClassVar[Mapping[Role, tuple[type[Message], ...]]] = {MATCHER: (Compared,)}

    def leakage(self) -> tuple[Leak, ...]:
        matcher, with_centre = frozenset({Party.MATCHER}), frozenset({Party.MATCHER, Party.CENTRE})
        facts = (EVERY_HASH, QUALITY, QUERY_TIME)
        return (
            *(Leak(matcher, adversary, facts) for adversary in Adversary),
            Leak(with_centre, Adversary.MALICIOUS, (*facts, FORCED_REPORT)),
            Leak(frozenset({Party.DEVICE}), Adversary.MALICIOUS, (ORACLE,)),
        )

    def publish(
        self,
        entries: EntrySource,
        parameters: SetParameters,
        rng: Randomness,
        executor: Executor | None,
        out: Workspace,
        progress: Progress = no_progress,
    ) -> Published:
        write_epoch(self.info, parameters, 0, out)
        write_list(self.info, entries, parameters, out, progress)
        return Published(setup=(EPOCH_FILE,), roles={MATCHER: (LIST_FILE,)})

    def open_setup(self, files: Buffers, epoch: int | None = None) -> int:
        return open_epoch(self.info, files, epoch)

    def epoch_of(self, setup: int) -> int:
        return setup

    def open_role(self, role: Role, files: Buffers) -> PlainList:
        return open_list(self.info, files)

    def enrol(self, rng: Randomness) -> NoState:
        return NoState()

    def start(
        self, state: NoState, setup: int, item: Item, binding: Binding, rng: Randomness
    ) -> Started[NoState, Asked]:
        upload = Upload(item.hash, item.quality)
        return Started(state, Send(Asked(item.hash), {MATCHER: upload}))

    def receive(
        self, session: Asked, setup: int, replies: Mapping[Role, Message], rng: Randomness
    ) -> Step[Asked]:
        reply = replies[MATCHER]
        assert isinstance(reply, Compared)
        if not reply.matched:
            return Done(NoMatch())
        if _distance(session.hash, reply.label.entry_hash) > MATCH_DISTANCE:
            raise ProtocolError(
                Compared.NAME, f"must be within {MATCH_DISTANCE} bits of what was asked", "label"
            )
        return Done(Match(reply.label))

    def answer(
        self,
        role: Role,
        state: PlainList,
        requests: Sequence[Request],
        rng: Randomness,
        executor: Executor | None,
    ) -> Answer:
        uploads = [request.body for request in requests if isinstance(request.body, Upload)]
        hashes = np.frombuffer(b"".join(u.hash for u in uploads), np.uint8).reshape(-1, 32)
        found = state.match(hashes, MATCH_DISTANCE)
        labels = [f if u.quality >= MINIMUM_QUALITY else None for f, u in zip(found, uploads, strict=True)]
        replies = [Compared(label is not None, label or _NOTHING) for label in labels]
        return Answer(replies, [Verdict(label) for label in labels])

    def simulate(
        self, role: Role, facts: Mapping[str, Any], output: object, rng: Randomness
    ) -> tuple[Message, ...]:
        return (Upload(facts["every_hash"], facts["quality"]),)


def _distance(a: bytes, b: bytes) -> int:
    return (int.from_bytes(a, "big") ^ int.from_bytes(b, "big")).bit_count()


DESIGN: Final = HashUpload()
