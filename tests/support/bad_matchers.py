"""Matchers that do one thing wrong each, which a check must catch; and one that only asks for patience."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
from blindmatch_protocol.codec import Message
from blindmatch_protocol.codec.randomness import replayed, seeded
from blindmatch_protocol.contract import Role
from blindmatch_protocol.crypto.oprf import blind_evaluate
from blindmatch_protocol.designs.voprf.round import CertifyRequest
from blindmatch_protocol.messages.epoch_manifest import SignedManifest
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from blindmatch_simulations.testbed.inprocess.deployed import Build
from msgspec.structs import replace

from support.foreign_matcher import ForeignMatcher
from support.remote_world import built


class AsksForPatience(ForeignMatcher):
    """Answers every second call that it was one too many."""

    calls = 0

    def check(self, head: Any, body: bytes, context: Any) -> None:
        with self.lock:
            self.calls += 1
            late = self.calls % 2
        if late:
            context.set_trailing_metadata((("retry-after-ms", "1"),))
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many calls")
        super().check(head, body, context)


class WrongKeyForSome(ForeignMatcher):
    """Answers every other request with the key of another epoch's set."""

    def __init__(self, build: Build) -> None:
        super().__init__(build)
        other = built(build.design, "another key")
        (self.role,) = self.states
        self.other = build.design.open_role(self.role, other.role_files(self.role))

    def answer(self, role: Role, asked: Message) -> Message:
        chosen = self.other if asked.encode()[-1] & 1 else self.states[role]
        return self.reply_with(chosen, role, asked, seeded(asked.encode().hex()))


class ProvesAsOnline(ForeignMatcher):
    """Answers the round of a proof of absence with a proof of RFC 9497."""

    def answer(self, role: Role, asked: Message) -> Message:
        reply = super().answer(role, asked)
        if not isinstance(asked, CertifyRequest):
            return reply
        online = blind_evaluate(self.states[role].key, asked.blinded, seeded("online"))
        return replace(reply, proof=online.proof)


class SameNonce(ForeignMatcher):
    """Proves with one nonce."""

    def answer(self, role: Role, asked: Message) -> Message:
        return self.reply_with(self.states[role], role, asked, replayed(bytes(range(64))))


class PadsAMatch(ForeignMatcher):
    """A match gets one more header."""

    def sent(self, head: Any, asked: Message, reply: Message, context: Any) -> pb.Envelope:
        if getattr(reply, "matched", False):
            context.set_trailing_metadata((("padding", "x"),))
        return super().sent(head, asked, reply, context)


class ExtraField(ForeignMatcher):
    """A match gets a field that the .proto does not have."""

    def sent(self, head: Any, asked: Message, reply: Message, context: Any) -> pb.Envelope:
        envelope = super().sent(head, asked, reply, context)
        if getattr(reply, "matched", False):
            envelope.MergeFromString(b"\xf8\x01\x07")
        return envelope


class LeftOver(ForeignMatcher):
    """A byte behind every message."""

    def sent(self, head: Any, asked: Message, reply: Message, context: Any) -> pb.Envelope:
        envelope = super().sent(head, asked, reply, context)
        envelope.body += b"\0"
        envelope.body_size += 1
        return envelope


class RaisesOnGarbage(ForeignMatcher):
    """What does not decode ends in an error of its own."""

    def check(self, head: Any, body: bytes, context: Any) -> None:
        super().check(head, body, context)
        if body[:1] != b"\x20":
            raise ValueError("garbage")


class StopsOnGarbage(ForeignMatcher):
    """What does not decode ends the server."""

    def check(self, head: Any, body: bytes, context: Any) -> None:
        super().check(head, body, context)
        if body[:1] != b"\x20":
            self.stop.set()


class AnswersTheLastEpoch(ForeignMatcher):
    """Takes envelopes of the epoch before, too."""

    def accepts(self, epoch: int) -> bool:
        return epoch in (self.build.epoch - 1, self.build.epoch)


class AnswersOnce(ForeignMatcher):
    """Refuses a request it has seen."""

    def answer(self, role: Role, asked: Message) -> Message:
        with self.lock:
            seen = vars(self).setdefault("seen", set())
            if asked.encode() in seen:
                raise ZeroDivisionError("seen")
            seen.add(asked.encode())
        return super().answer(role, asked)


class TakesAnybody(ForeignMatcher):
    """Asks for no certificate."""

    wants_certificates = False


class SignedForAnother(ForeignMatcher):
    """Hands out a signed manifest of an earlier epoch."""

    def Describe(self, request: Any, context: Any) -> pb.Description:
        described = super().Describe(request, context)
        signed = SignedManifest.decode(described.manifest)
        earlier = replace(signed.manifest, epoch=self.build.epoch - 1)
        described.manifest = SignedManifest(earlier, signed.signature).encode()
        return described


class OtherSet(ForeignMatcher):
    """Hands out a set-up file with one byte changed."""

    def FetchSetup(self, request: Any, context: Any) -> Iterator[pb.Part]:
        for part in super().FetchSetup(request, context):
            yield pb.Part(size=part.size, data=part.data[:-1] + bytes([part.data[-1] ^ 1]))


class GivesItsKeyAway(ForeignMatcher):
    """Hands out any file of its folder."""

    def FetchSetup(self, request: Any, context: Any) -> Iterator[pb.Part]:
        if request.name == "matcher.bin":
            raw = self.build.files["matcher.bin"]
            yield pb.Part(size=len(raw), data=raw)
        else:
            yield from super().FetchSetup(request, context)


class DeniesAMatch(ForeignMatcher):
    """Answers a listed hash as if it were none."""

    def answer(self, role: Role, asked: Message) -> Message:
        poor: Any = asked
        return super().answer(role, replace(poor, quality=0))


class Endless(ForeignMatcher):
    """A set-up file that does not end."""

    def FetchSetup(self, request: Any, context: Any) -> Iterator[pb.Part]:
        while not self.stop.is_set():
            yield pb.Part(data=bytes(1 << 19))


class Silent(ForeignMatcher):
    """Describes itself and answers nothing."""

    def answer(self, role: Role, asked: Message) -> Message:
        self.stop.wait(30)
        return super().answer(role, asked)
