"""`other key` finds designs that declare a tie of their replies to the epoch's list which does not hold."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Annotated, Any, ClassVar

import pytest
from blindmatch_protocol import contract as bm
from blindmatch_protocol.codec import Bool, Fixed, Message, Nested, Sequence, UInt
from blindmatch_protocol.codec.randomness import replayed
from blindmatch_protocol.contract import AnyDesign, Label, Tie
from blindmatch_protocol.crypto.oprf import Blinding, Evaluation, Mode, blind_evaluate, unblind, verified
from blindmatch_protocol.designs import enclave, oprf_psi, prefix_bucket, split_psi
from blindmatch_protocol.designs.enclave.attestation import Quote
from blindmatch_protocol.designs.enclave.design import ENCLAVE, Enclave
from blindmatch_protocol.designs.facts import QUERY_TIME, leaks
from blindmatch_protocol.designs.hash_upload import HashUpload
from blindmatch_protocol.designs.oprf_psi import Reply
from blindmatch_protocol.designs.oprf_psi.design import OprfPsi
from blindmatch_protocol.designs.plain_scan import PlainScan
from blindmatch_protocol.designs.voprf import MATCHER
from blindmatch_protocol.designs.voprf.round import Verified
from blindmatch_protocol.sets.plain_list import (
    EPOCH_FILE,
    LIST_FILE,
    held_list,
    open_file,
    write_list,
    write_sections,
)
from blindmatch_simulations.evaluation.conformance import Options, Verdict, check_design
from blindmatch_simulations.evaluation.conformance.run import Report
from blindmatch_simulations.testbed.pictures.pool import HashOnly
from msgspec import Struct
from msgspec.structs import replace
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

PUBLIC_KIND = 0x190
SECRET_KIND = 0x191
KEY_FILE = "key.bin"
MATCHES = frozenset({bm.Learner.DEVICE})


def checked(design: AnyDesign, check: str = "other key") -> Report:
    return check_design(design, Options(only=[check]))


class Ask(Message, tag=0x90, name="signed/request"):
    hash: Annotated[bytes, Fixed(32)]


class Told(Message, tag=0x91, name="signed/reply"):
    label: Annotated[Label, Nested(Label)]
    key: Annotated[bytes, Fixed(32)]
    signature: Annotated[bytes, Fixed(64)]


class Signed(PlainScan[Any]):
    """The matcher looks the hash up in a list that it has, and signs label and hash with the set's key."""

    info = bm.Info("signed", 1, "1b", "Signs.", bm.Equal(), MATCHES, {MATCHER: bm.Party.MATCHER}, tie=Tie.KEY)
    requests: ClassVar[Mapping[bm.Role, tuple[type[Message], ...]]] = {MATCHER: (Ask,)}
    replies: ClassVar[Mapping[bm.Role, tuple[type[Message], ...]]] = {MATCHER: (Told,)}
    more: ClassVar[tuple[bm.Fact, ...]] = ()

    def leakage(self) -> tuple[bm.Leak, ...]:
        return leaks({bm.Party.MATCHER}, QUERY_TIME, *self.more)

    def publish(
        self, entries: Any, parameters: Any, rng: Any, executor: Any, out: Any, progress: Any = bm.no_progress
    ) -> bm.Published:
        key = SigningKey(self.seed(entries, rng))
        write_list(self.info, entries, parameters, out, progress)
        write_sections(EPOCH_FILE, self.info, parameters, 0, out, {PUBLIC_KIND: bytes(key.verify_key)})
        write_sections(KEY_FILE, self.info, parameters, 0, out, {SECRET_KIND: bytes(key)})
        return bm.Published((EPOCH_FILE,), {MATCHER: (LIST_FILE, KEY_FILE)})

    def seed(self, entries: Any, rng: Any) -> bytes:
        return bytes(rng.take(32))

    def open_setup(self, files: bm.Buffers, epoch: int | None = None) -> Any:
        return open_file(self.info, files, EPOCH_FILE, epoch)

    def epoch_of(self, setup: Any) -> int:
        return int(setup.identity.epoch)

    def open_role(self, role: bm.Role, files: bm.Buffers) -> Any:
        secret = open_file(self.info, files, KEY_FILE, None).section(SECRET_KIND)
        return held_list(open_file(self.info, files, LIST_FILE, None)), SigningKey(bytes(secret))

    def start(
        self, state: Any, setup: Any, item: Any, binding: Any, rng: Any
    ) -> bm.Started[bm.NoState, bytes]:
        asked = item.hash if item.quality >= 50 else bytes(32)
        return bm.Started(state, bm.Send(asked, {MATCHER: Ask(asked)}))

    def judged(self, state: Any, body: Any) -> tuple[Message, None]:
        held, key = state
        label = held.match(body.hash, 0) or bm.NO_LABEL
        signature = key.sign(label.encode() + self.covered(body.hash)).signature
        return Told(label, bytes(key.verify_key), signature), None

    def covered(self, asked: bytes) -> bytes:
        return asked

    def receive(self, session: Any, setup: Any, replies: Any, rng: Any) -> bm.Step[Any]:
        told: Any = replies[MATCHER]
        if not self.holds(told, bytes(setup.section(PUBLIC_KIND)), session):
            raise bm.ProtocolError(Told.NAME, "must be signed with the set's key", "signature")
        return bm.Done(bm.NoMatch() if told.label == bm.NO_LABEL else bm.Match(told.label))

    def holds(self, told: Any, key: bytes, asked: bytes) -> bool:
        try:
            VerifyKey(key).verify(told.label.encode() + self.covered(asked), told.signature)
        except BadSignatureError:
            return False
        return True


class SignedForAnyPicture(Signed):
    def covered(self, asked: bytes) -> bytes:
        return b""


class NamesTheKey(Signed):
    def holds(self, told: Any, key: bytes, asked: bytes) -> bool:
        return bool(told.key == key)


class Marked(Message, tag=0x93, name="signed/marked"):
    told: Annotated[Told, Nested(Told)]
    busy: Annotated[bool, Bool()]


class Nothing(Message, tag=0x94, name="signed/nothing"):
    """Which no matcher sends that does as it says."""


class Rows(Message, tag=0x95, name="signed/rows"):
    rows: Annotated[tuple[Told, ...], Sequence(Nested(Told), 4)]


class SignedForTheList(Signed):
    """Every list has a key of its own: a tie, but for whoever has the key and lies with it."""

    def seed(self, entries: Any, rng: Any) -> bytes:
        listed = b"".join(one.hashes.tobytes() for one in entries.batches(1 << 16))
        return sha256(super().seed(entries, rng) + listed).digest()


class LeavesAMarkUnsigned(SignedForTheList):
    """No reply of an honest matcher bears the mark that makes it a "no"."""

    replies: ClassVar[Mapping[bm.Role, tuple[type[Message], ...]]] = {MATCHER: (Marked,)}

    def judged(self, state: Any, body: Any) -> tuple[Message, None]:
        told: Any = super().judged(state, body)[0]
        return Marked(told, False), None

    def receive(self, session: Any, setup: Any, replies: Any, rng: Any) -> bm.Step[Any]:
        marked: Any = replies[MATCHER]
        done = super().receive(session, setup, {MATCHER: marked.told}, rng)
        return bm.Done(bm.NoMatch()) if marked.busy else done


class TakesNothingForNo(SignedForTheList):
    """A message that no honest matcher sends, and that nobody signs."""

    replies: ClassVar[Mapping[bm.Role, tuple[type[Message], ...]]] = {MATCHER: (Told, Nothing)}

    def receive(self, session: Any, setup: Any, replies: Any, rng: Any) -> bm.Step[Any]:
        if isinstance(replies[MATCHER], Nothing):
            return bm.Done(bm.NoMatch())
        return super().receive(session, setup, replies, rng)


class SignsEachRow(SignedForTheList):
    """Each row is signed for what was asked and for the list, and their number is not."""

    replies: ClassVar[Mapping[bm.Role, tuple[type[Message], ...]]] = {MATCHER: (Rows,)}

    def judged(self, state: Any, body: Any) -> tuple[Message, None]:
        told: Any = super().judged(state, body)[0]
        none = replace(told, label=bm.NO_LABEL)
        signature = state[1].sign(none.label.encode() + self.covered(body.hash)).signature
        return Rows((replace(none, signature=signature), told)), None

    def receive(self, session: Any, setup: Any, replies: Any, rng: Any) -> bm.Step[Any]:
        rows: Any = replies[MATCHER]
        steps = [super(SignsEachRow, self).receive(session, setup, {MATCHER: one}, rng) for one in rows.rows]
        return max(steps, key=lambda one: isinstance(one.outcome, bm.Match), default=bm.Done(bm.NoMatch()))


class LetsTheMatcherLie(NamesTheKey):
    more = (bm.Fact("my.unverified_reply", "whatever is asked", bm.Severity.HASH, lambda item, setup: 0),)


class TellsTheMatcher(NamesTheKey):
    """It learns the outcome."""

    info = replace(Signed.info, learns=frozenset(bm.Learner) - {bm.Learner.CENTRE})

    def answer(self, *asked: Any) -> bm.Answer:
        answer = super().answer(*asked)
        return bm.Answer(answer.replies, [bm.Verdict(None) for _ in answer.replies])


class FirstRowProved(OprfPsi):
    """Has the proof of its first element alone, and asks about the picture with the last one."""

    info = replace(
        OprfPsi.info,
        parameters=(replace(OprfPsi.info.parameters[0], default=4, least=4), *OprfPsi.info.parameters[1:]),
    )

    def inputs(self, *about: Any) -> list[bytes]:
        return super().inputs(*about)[::-1]

    def answer(self, role: Any, state: Any, requests: Any, rng: Any, executor: Any) -> bm.Answer:
        replies: Any = super().answer(role, state, requests, rng, executor).replies
        firsts = [blind_evaluate(state.key, one.body.blinded[:1], replayed(rng.take(64))) for one in requests]
        return bm.Answer([replace(one, proof=of.proof) for one, of in zip(replies, firsts, strict=True)])

    def receive(self, session: Any, setup: Any, replies: Any, rng: Any) -> bm.Step[Any]:
        held = session.blinding
        reply = replies[MATCHER]
        first = Blinding(Mode.VOPRF, held.inputs[:1], held.blinds[:1], held.blinded[:1])
        verified(first, Evaluation(reply.evaluated[:1], reply.proof), setup.public_key)
        if len(reply.evaluated) != len(held):
            raise bm.ProtocolError(Reply.NAME, "must have as many rows", "evaluated")
        return bm.Ready(Verified(unblind(held, reply.evaluated)[::-1], session.own_hash))


class Counted(Message, tag=0x92, name="counted/state"):
    pictures: Annotated[int, UInt(32)]


class Numbered(Struct, frozen=True):
    number: int
    session: Any


class FirstPictureVerified(OprfPsi):
    """Verifies the replies to an account's first picture."""

    device_state: ClassVar[type[Message]] = Counted

    def enrol(self, rng: Any) -> Any:
        return Counted(0)

    def start(self, state: Any, setup: Any, item: Any, binding: Any, rng: Any) -> Any:
        step: Any = super().start(state, setup, item, binding, rng).step
        return bm.Started(
            Counted(state.pictures + 1), bm.Send(Numbered(state.pictures, step.session), step.bodies)
        )

    def receive(self, session: Any, setup: Any, replies: Any, rng: Any) -> bm.Step[Any]:
        if session.number == 0:
            return super().receive(session.session, setup, replies, rng)
        outputs = unblind(session.session.blinding, replies[MATCHER].evaluated)
        return bm.Ready(Verified(outputs, session.session.own_hash))


class VerifiedOutsideMessages(FirstPictureVerified):
    """Verifies the replies to pictures that are in no message; is told of messages, since it has vouchers."""

    vouchers: ClassVar = (Counted,)

    def start(self, state: Any, setup: Any, item: Any, binding: Any, rng: Any) -> Any:
        started: Any = super().start(state, setup, item, binding, rng)
        session = Numbered(int(binding != bm.UNBOUND), started.step.session.session)
        return replace(started, step=bm.Send(session, started.step.bodies))


class SameBlindInMessages(OprfPsi):
    vouchers: ClassVar = (Counted,)

    def start(self, state: Any, setup: Any, item: Any, binding: Any, rng: Any) -> Any:
        drawn = rng if binding == bm.UNBOUND else replayed(rng.take(96) and bytes(range(96)))
        return super().start(state, setup, item, binding, drawn)


class SameBlindInLaterMessages(SameBlindInMessages):
    """But for an account's first picture."""

    device_state: ClassVar[type[Message]] = Counted

    def enrol(self, rng: Any) -> Any:
        return Counted(0)

    def start(self, state: Any, setup: Any, item: Any, binding: Any, rng: Any) -> Any:
        started: Any = super().start(state, setup, item, binding if state.pictures else bm.UNBOUND, rng)
        return replace(started, state=Counted(state.pictures + 1))


class AsksByItsState(OprfPsi):
    """Asks about no picture of an account that has had a thousand."""

    device_state: ClassVar[type[Message]] = Counted

    def enrol(self, rng: Any) -> Any:
        return Counted(0)

    def start(self, state: Any, setup: Any, item: Any, binding: Any, rng: Any) -> Any:
        asked = item if state.pictures < 1000 else HashOnly(bytes(32))
        return replace(super().start(state, setup, asked, binding, rng), state=Counted(state.pictures))


class AnyQuote(Enclave):
    """Takes a quote of whatever list."""

    def receive(self, session: Any, setup: Any, replies: Any, rng: Any) -> bm.Step[Any]:
        if isinstance(quote := replies[ENCLAVE], Quote):
            setup = replace(setup, measurements=frozenset({quote.measurement}))
        return super().receive(session, setup, replies, rng)


FORGED = "a forged reply is taken for an answer: there is no tie by "
LIES = {
    Signed: FORGED + "key",
    SignedForAnyPicture: FORGED + "key",
    NamesTheKey: FORGED + "key",
    LeavesAMarkUnsigned: FORGED + "key",
    TakesNothingForNo: FORGED + "key",
    SignsEachRow: FORGED + "key",
    LetsTheMatcherLie: FORGED + "key",
    TellsTheMatcher: FORGED + "key",
    FirstRowProved: FORGED + "key",
    FirstPictureVerified: FORGED + "key",
    VerifiedOutsideMessages: FORGED + "key",
    AsksByItsState: "device state or randomness decides how a session ends",
    AnyQuote: FORGED + "quote",
}


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: lie.__name__)
def test_a_tie_that_does_not_hold_is_found(lie: type[AnyDesign]) -> None:
    (failure,) = checked(lie()).failed
    assert failure.rule == LIES[lie]


@pytest.mark.parametrize("tie", [Tie.KEY, Tie.QUOTE])
def test_a_design_without_a_key_has_no_tie(tie: Tie) -> None:
    design = type("Said", (HashUpload,), {"info": replace(HashUpload.info, tie=tie)})()
    (failure,) = checked(design).failed
    assert failure.rule.endswith(f"a tie by {tie} means all")


@pytest.mark.parametrize("design", [SameBlindInMessages, SameBlindInLaterMessages])
def test_a_design_that_looks_at_the_message_before_it_asks_is_found(design: type[AnyDesign]) -> None:
    (failure,) = checked(design(), "tape").failed
    assert failure.rule == "the message that a picture is in decides what is asked"


@pytest.mark.parametrize(
    "design",
    [enclave.DESIGN, oprf_psi.DESIGN, prefix_bucket.DESIGN, split_psi.DESIGN],
    ids=lambda one: one.info.name,
)
def test_a_tie_that_holds_is_none_of_them(design: AnyDesign) -> None:
    (result,) = checked(design).results
    assert result.verdict is Verdict.PASSED
    assert result.figures["forged"] > 100
