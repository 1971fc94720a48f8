"""Option 1b in its naive form: the device uploads the hash, the matcher compares it in the clear."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final

from msgspec import Struct

from blindmatch_protocol import contract as bm
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.designs.facts import EVERY_HASH, FORCED_REPORT, QUALITY, QUERY_TIME, any_hash, leaks
from blindmatch_protocol.designs.plain_scan import PlainScan
from blindmatch_protocol.picture.pdq import MATCH_DISTANCE, distance
from blindmatch_protocol.sets.plain_list import PlainList

MATCHER: Final = bm.Role("matcher")
_NAME: Final = "hash-upload"


class Upload(bm.Message, tag=0x30, name="hash-upload/request"):
    """A picture's hash."""

    hash: Annotated[bytes, bm.Fixed(32)]
    quality: Annotated[int, bm.UInt(8)]
    """0 to 100."""

    def check(self) -> None:
        """Quality is 0 to 100."""
        if self.quality > 100:
            raise bm.ProtocolError(self.NAME, "must be 0 to 100", "quality")


class Compared(bm.Message, tag=0x31, name="hash-upload/reply"):
    """Whether an entry matches."""

    matched: Annotated[bool, bm.Bool()]
    label: Annotated[bm.Label, bm.Nested(bm.Label)]
    """Of the nearest entry; all zeros without a match."""

    def check(self) -> None:
        """A reply without a match bears no label."""
        if not self.matched and self.label != bm.NO_LABEL:
            raise bm.ProtocolError(self.NAME, "must be all zeros without a match", "label")


class Asked(Redacted, Struct, frozen=True):
    """The session: the item's own hash."""

    hash: bytes


class HashUpload(PlainScan[Asked]):
    """The matcher sees every hash and learns the outcome, and tells the device."""

    info = bm.Info(
        name=_NAME,
        version=2,
        option="1b",
        summary="The device uploads every hash in the clear; the matcher compares and tells the device.",
        relation=bm.Near(MATCH_DISTANCE),
        learns=frozenset({bm.Learner.SERVER, bm.Learner.DEVICE}),
        roles={MATCHER: bm.Party.MATCHER},
    )
    requests: ClassVar[Mapping[bm.Role, tuple[type[bm.Message], ...]]] = {MATCHER: (Upload,)}
    replies: ClassVar[Mapping[bm.Role, tuple[type[bm.Message], ...]]] = {MATCHER: (Compared,)}
    facts: ClassVar[tuple[bm.Fact, ...]] = (EVERY_HASH, QUALITY, QUERY_TIME)
    """Of every picture, to the matcher."""

    def leakage(self) -> tuple[bm.Leak, ...]:
        with_centre = frozenset({bm.Party.MATCHER, bm.Party.CENTRE})
        return (
            *leaks({bm.Party.MATCHER}, *self.facts),
            bm.Leak(with_centre, bm.Adversary.MALICIOUS, (*self.facts, FORCED_REPORT)),
            bm.Leak(frozenset({bm.Party.DEVICE}), bm.Adversary.MALICIOUS, (any_hash(MATCH_DISTANCE),)),
        )

    def start(
        self, state: bm.NoState, setup: int, item: bm.Item, binding: bm.Binding, rng: bm.Randomness
    ) -> bm.Started[bm.NoState, Asked]:
        upload = Upload(item.hash, item.quality)
        return bm.Started(state, bm.Send(Asked(item.hash), {MATCHER: upload}))

    def receive(
        self, session: Asked, setup: int, replies: Mapping[bm.Role, bm.Message], rng: bm.Randomness
    ) -> bm.Step[Asked]:
        reply = replies[MATCHER]
        assert isinstance(reply, Compared)
        if not reply.matched:
            return bm.Done(bm.NoMatch())
        if distance(session.hash, reply.label.entry_hash) > MATCH_DISTANCE:
            raise bm.ProtocolError(
                Compared.NAME, f"must be within {MATCH_DISTANCE} bits of what was asked", "label"
            )
        return bm.Done(bm.Match(reply.label))

    def judged(self, state: PlainList, body: bm.Message) -> tuple[bm.Message, bm.Verdict]:
        own = self.asked(body)
        label = None if own is None else state.match(own, MATCH_DISTANCE)
        return Compared(label is not None, label or bm.NO_LABEL), bm.Verdict(label)

    def asked(self, body: bm.Message) -> bytes | None:
        """The hash that a body asks about; None if it means nothing."""
        assert isinstance(body, Upload)
        return body.hash if body.quality >= bm.MINIMUM_QUALITY else None

    def simulate(
        self, role: bm.Role, facts: Mapping[str, Any], output: object, rng: bm.Randomness
    ) -> tuple[bm.Message, ...]:
        return (Upload(facts["every_hash"], facts["quality"]),)


DESIGN: Final = HashUpload()
