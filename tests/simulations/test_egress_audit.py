"""The egress audit explains every byte of honest devices and catches each planted leak."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import numpy as np
import pytest
from blindmatch_client.store.outbox import derive_request_id
from blindmatch_client.trace import EgressRecord, MessageTrace, Purpose, Round, SessionTrace
from blindmatch_protocol import contract as bm
from blindmatch_protocol.codec import Message
from blindmatch_protocol.codec.randomness import Randomness, Recording, seeded
from blindmatch_protocol.designs import hash_upload, none, oprf_psi, provider_scan
from blindmatch_protocol.messages.content import AttachmentRef
from blindmatch_protocol.picture.decode import Picture
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from blindmatch_simulations.testbed.audit import Audit, Counterpart, Evidence, Told, Undeclared, audit_device
from blindmatch_simulations.testbed.audit.replay import confirmed
from blindmatch_simulations.testbed.pictures.crops import crops
from msgspec.structs import replace
from planted.mutations.devices import ExtraRound, HashDerivedBlind, SkippedCover
from planted.mutations.hooks import PaddedPsi, Psi, variant
from support.memory import Held, held, random_hashes

LISTED = (0, 3)
TOLD = Told(frozenset({"bob"}), polls=1)
EXCHANGE = "/blindmatch.v1.Matching/Exchange"


@pytest.fixture(scope="module")
def pictures() -> list[Picture]:
    return [Picture.from_bytes(crop.data) for crop in crops(6, 1)]


@pytest.fixture(scope="module")
def poor() -> Picture:
    """A picture whose hash means nothing."""
    picture = Picture.from_pixels(np.full((80, 80, 3), 128, np.uint8))
    assert picture.quality < 50
    return picture


@dataclass
class Device:
    """Runs sessions against roles in process and records them as the client does."""

    held: Held
    rng: Randomness = field(default_factory=lambda: seeded("device"))
    records: list[EgressRecord] = field(default_factory=list)
    traces: list[SessionTrace] = field(default_factory=list)
    messages: list[MessageTrace] = field(default_factory=list)

    @property
    def design(self) -> bm.AnyDesign:
        return self.held.design

    def match(self, item: Picture, number: int) -> None:
        ref = AttachmentRef(bytes(16), self.key(number), bytes(32), 0, "image/png")
        self.messages.append(MessageTrace(bytes([number]) * 16, "bob", number, ref))
        state = self.design.enrol(self.rng)
        tape = Recording(self.rng)
        rounds: list[Round] = []

        def exchange(bodies: Mapping[bm.Role, Message]) -> Mapping[bm.Role, Message]:
            replies = {role: self._ask(role, body, number) for role, body in bodies.items()}
            rounds.append(Round(_encoded(bodies), _encoded(replies)))
            return replies

        finished = bm.Session(self.design, self.held.setup, state, tape.rng).run(item, exchange)
        self.traces.append(SessionTrace(number, state.encode(), tape.tape(), tuple(rounds), finished.outcome))

    def _ask(self, role: bm.Role, body: Message, number: int) -> Message:
        info = self.design.info
        envelope = pb.Envelope(design=info.name, version=info.version, epoch=1, role=role, body=body.encode())
        if bm.Learner.SERVER in info.learns:
            envelope.request_id = derive_request_id(self.key(number))
        self.record(info.roles[role], EXCHANGE, Purpose.MATCHING, number, envelope)
        return bm.answered(self.design, role, self.held.states[role], bm.Request(body), self.rng)[0]

    def key(self, number: int) -> bytes:
        return seeded(f"attachment {number}").take(32)

    def record(self, party: bm.Party, method: str, purpose: Purpose, item: int | None, request: Any) -> None:
        raw = (request.SerializeToString(deterministic=True),)
        self.records.append(EgressRecord(len(self.records), party, method, purpose, item, raw, 0, 0))


def _encoded(bodies: Mapping[bm.Role, Message]) -> dict[bm.Role, bytes]:
    return {role: body.encode() for role, body in bodies.items()}


def _audit(device: Device, items: Iterable[Picture], **more: Any) -> Audit:
    numbered = dict(enumerate(items))
    own = device.held
    counterpart = Counterpart(own.design, own.setup, own.states, own.entries, seeded("audit"))
    pool = list(numbered.values())
    evidence = Evidence("alice", TOLD, device.records, device.traces, numbered, pool, device.messages, **more)
    return audit_device(counterpart, evidence)


def _matched(pictures: list[Picture], design: bm.AnyDesign = oprf_psi.DESIGN) -> Device:
    listed = np.frombuffer(b"".join(pictures[i].hash for i in LISTED), np.uint8).reshape(-1, 32)
    device = Device(held(design, np.concatenate([random_hashes(50), listed])))
    for number, picture in enumerate(pictures):
        device.match(picture, number)
    return device


def _run(design: bm.AnyDesign, pictures: list[Picture]) -> Audit:
    return _audit(_matched(pictures, design), pictures)


@pytest.mark.parametrize(
    "design",
    [none.DESIGN, hash_upload.DESIGN, provider_scan.DESIGN, oprf_psi.DESIGN],
    ids=lambda d: d.info.name,
)
def test_every_byte_of_an_honest_device_is_explained(
    design: bm.AnyDesign, pictures: list[Picture], poor: Picture
) -> None:
    audit = _run(design, [*pictures, poor])
    assert audit.findings == ()
    assert audit.sessions == len(pictures) + 1


def test_the_oprf_device_learns_of_exactly_the_listed_pictures(pictures: list[Picture]) -> None:
    traces = _matched(pictures).traces
    assert {trace.item for trace in traces if isinstance(trace.outcome, bm.Match)} == set(LISTED)


HASH_IN_PADDING = variant(PaddedPsi, padding=lambda _, about, rng: about.item.hash[:4].ljust(16, b"\0"))
LENGTH_TELLS = variant(PaddedPsi, padding=lambda _, about, rng: bytes(16 + about.item.hash[0] % 8))
FIXED_BLIND = variant(Psi, drawn=lambda *_: seeded("always"))


@pytest.mark.parametrize(
    "design",
    [HASH_IN_PADDING(), HashDerivedBlind(), FIXED_BLIND()],
    ids=["hash in padding", "blind derived from the hash", "fixed blind"],
)
def test_bytes_that_tell_of_the_picture_are_found(design: bm.AnyDesign, pictures: list[Picture]) -> None:
    audit = _run(design, pictures)
    assert {finding.rule for finding in audit.findings} == {"round 1: bytes tell of the picture"}
    assert {finding.item for finding in audit.findings} == set(range(len(pictures)))
    assert audit.undeclared_bytes >= len(pictures)


def test_a_length_that_depends_on_the_picture_is_found(pictures: list[Picture]) -> None:
    audit = _run(LENGTH_TELLS(), pictures)
    assert any("length depends" in finding.rule for finding in audit.findings)


def test_an_extra_round_on_a_match_is_found_on_matches_and_on_others(pictures: list[Picture]) -> None:
    audit = _run(ExtraRound(), pictures)
    assert {f.rule for f in audit.findings} == {"round 2: length depends on the picture"}
    assert set(LISTED) < {finding.item for finding in audit.findings}


def test_a_skipped_cover_request_is_found(pictures: list[Picture], poor: Picture) -> None:
    audit = _run(SkippedCover(), [*pictures, poor])
    assert len(pictures) in {finding.item for finding in audit.findings}


def test_a_report_before_confirmation_is_found(pictures: list[Picture]) -> None:
    device = _matched(pictures)
    part = pb.SubmitPart(report_id=bytes(range(16)), part=pb.Part(size=3, data=b"abc"))
    submit = "/blindmatch.v1.Centre/Submit"
    device.record(bm.Party.CENTRE, submit, Purpose.REPORT, LISTED[0], part)
    drawn = [bytes(range(16)), bytes(range(1, 17))]
    assert _audit(device, pictures, drawn=drawn).findings == ()
    part.report_id = drawn[1]
    device.record(bm.Party.CENTRE, submit, Purpose.REPORT, 1, part)
    (finding,) = _audit(device, pictures, drawn=drawn).findings
    assert (finding.item, finding.rule) == (1, "a report without a confirmed match")


def test_what_was_drawn_serves_one_thing(pictures: list[Picture]) -> None:
    """Two pictures under one key are a keystream used twice; a report's id may not be a session's blind."""
    device = _matched(pictures)
    part = pb.SubmitPart(report_id=seeded("report").take(16), part=pb.Part(size=3, data=b"abc"))
    for number in LISTED:
        device.record(bm.Party.CENTRE, "/blindmatch.v1.Centre/Submit", Purpose.REPORT, number, part)
    drawn = [part.report_id]
    assert [f.rule for f in _audit(device, pictures, drawn=drawn).findings] == [
        "a report id that serves twice"
    ]
    device.traces[0] = replace(device.traces[0], tape=device.traces[0].tape + part.report_id)
    rules = {finding.rule for finding in _audit(device, pictures, drawn=drawn).findings}
    assert "a report id that a session drew" in rules


def test_two_pictures_under_one_key_are_found(pictures: list[Picture]) -> None:
    device = _matched(pictures)
    key = seeded("attachment 0").take(32)
    device.messages[1] = replace(device.messages[0], item=1)
    for number in (0, 1):
        device.record(
            bm.Party.PROVIDER, "/blindmatch.v1.Relay/Upload", Purpose.MESSAGE, number, pb.Part(size=1)
        )
    rules = [finding.rule for finding in _audit(device, pictures, drawn=[key]).findings]
    assert rules.count("an attachment key that serves twice") == 1


def test_a_request_that_no_session_sent_is_found(pictures: list[Picture]) -> None:
    device = _matched(pictures)
    first = pb.Envelope.FromString(device.records[0].requests[0])
    first.body = first.body[:-1] + bytes([first.body[-1] ^ 1])
    device.record(bm.Party.MATCHER, EXCHANGE, Purpose.MATCHING, 0, first)
    (finding,) = _audit(device, pictures).findings
    assert finding.rule == "a request of no recorded session"


def test_a_retry_with_the_same_bytes_is_declared_after_a_failure_alone(pictures: list[Picture]) -> None:
    device = _matched(pictures)
    first = device.records[0]
    device.records.append(replace(first, sequence=99))
    (finding,) = _audit(device, pictures).findings
    assert finding.rule == "sent again, and nothing had failed"
    device.records[0] = replace(first, failed=True)
    assert _audit(device, pictures).findings == ()


def test_a_picture_is_asked_about_once_unless_something_failed(pictures: list[Picture]) -> None:
    device = _matched(pictures)
    device.match(pictures[1], 1)
    (finding,) = _audit(device, pictures).findings
    assert (finding.item, finding.rule) == (1, "asked about again, and nothing had failed")


@pytest.mark.parametrize(
    "given", [derive_request_id(seeded("attachment 1").take(32)), bytes(16), b"", bytes(17)]
)
def test_a_request_id_that_is_not_the_picture_s_is_found(pictures: list[Picture], given: bytes) -> None:
    device = _matched(pictures, hash_upload.DESIGN)
    assert len(pb.Envelope.FromString(device.records[0].requests[0]).request_id) == 16
    (finding,) = _under_another_id(device, pictures, given).findings
    assert finding.rule == "a request id that the attachment's key does not give"


def _under_another_id(device: Device, pictures: list[Picture], given: bytes) -> Audit:
    changed = pb.Envelope.FromString(device.records[0].requests[0])
    changed.request_id = given
    device.records[0] = replace(device.records[0], requests=(changed.SerializeToString(deterministic=True),))
    return _audit(device, pictures)


def test_a_request_id_towards_a_server_that_does_not_learn_is_found(pictures: list[Picture]) -> None:
    (finding,) = _under_another_id(_matched(pictures), pictures, bytes(16)).findings
    assert (finding.rule, finding.size) == ("a request id that the attachment's key does not give", 16)


def test_an_unknown_field_in_a_request_is_found(pictures: list[Picture]) -> None:
    device = _matched(pictures)
    raw = pb.ReceiveRequest(wait_ms=5).SerializeToString() + b"\x7a\x04hash"
    device.records.append(
        EgressRecord(
            99, bm.Party.PROVIDER, "/blindmatch.v1.Relay/Receive", Purpose.MESSAGE, None, (raw,), 0, 0
        )
    )
    (finding,) = _audit(device, pictures).findings
    assert "canonical" in finding.rule


def test_bytes_that_arrived_without_passing_the_seam_are_found(pictures: list[Picture]) -> None:
    device = _matched(pictures)
    sent = sum(record.request_bytes for record in device.records)
    assert _audit(device, pictures, arrived={(bm.Party.MATCHER, EXCHANGE): sent}).findings == ()
    (finding,) = _audit(device, pictures, arrived={(bm.Party.MATCHER, EXCHANGE): sent + 7}).findings
    assert (finding.size, finding.party) == (7, bm.Party.MATCHER)


def test_a_body_that_its_tape_does_not_give_again_is_found(pictures: list[Picture]) -> None:
    device = _matched(pictures)
    trace = device.traces[2]
    device.traces[2] = SessionTrace(
        2, trace.state_before, bytes(len(trace.tape)), trace.rounds, trace.outcome
    )
    rules = {finding.rule for finding in _audit(device, pictures).findings}
    assert any("derived again" in rule for rule in rules)


def test_a_zero_stands_on_comparisons(pictures: list[Picture]) -> None:
    for design, parties in ((oprf_psi.DESIGN, {bm.Party.MATCHER}), (hash_upload.DESIGN, {bm.Party.MATCHER})):
        audit = _run(design, pictures)
        assert audit.undeclared is Undeclared.NONE
        assert len(audit.comparisons) == len(pictures)
        assert {one.party for one in audit.comparisons} == parties
        assert all(one.comparable and one.decoys >= 2 for one in audit.comparisons)


def test_a_declared_picture_is_not_comparable(pictures: list[Picture]) -> None:
    audit = _run(provider_scan.DESIGN, pictures)
    assert (audit.findings, audit.undeclared) == ((), Undeclared.NOT_COMPARABLE)
    assert {one.reason for one in audit.comparisons} == {"the facts declare the whole picture"}
    assert _run(none.DESIGN, pictures).undeclared is Undeclared.NONE


def _declaring(*facts: bm.Fact) -> hash_upload.HashUpload:
    """hash-upload, which sends all of the hash, with another declaration."""

    class Declares(hash_upload.HashUpload):
        def leakage(self) -> tuple[bm.Leak, ...]:
            return (bm.Leak(frozenset({bm.Party.MATCHER}), bm.Adversary.SEMI_HONEST, facts),)

    return Declares()


@pytest.mark.parametrize(
    "fact",
    [
        bm.Fact("my.part", "32 bits of the hash", bm.Severity.HASH, lambda item, _: item.hash[:4]),
        bm.Fact("my.parity", "its parity", bm.Severity.HASH, lambda item, _: sum(item.hash) % 2),
    ],
    ids=lambda fact: fact.name,
)
def test_a_hash_of_which_a_part_is_declared_is_found(pictures: list[Picture], fact: bm.Fact) -> None:
    audit = _run(_declaring(fact), pictures)
    told = {finding.item for finding in audit.findings if "bytes tell of the picture" in finding.rule}
    assert told == set(range(len(pictures)))


def test_a_fact_that_no_other_hash_agrees_on_is_not_comparable_and_hides_no_hash(
    pictures: list[Picture],
) -> None:
    audit = _run(
        _declaring(
            bm.Fact("my.digest", "a digest", bm.Severity.HASH, lambda item, _: sha256(item.hash).digest())
        ),
        pictures,
    )
    assert not any(one.comparable for one in audit.comparisons)
    assert {finding.rule for finding in audit.findings} == {"Exchange: body holds a piece of a picture"}


class PixelsBeside(hash_upload.HashUpload):
    """Sends a byte of the pixels in place of the quality."""

    def start(
        self, state: bm.NoState, setup: Any, item: Any, binding: Any, rng: Any
    ) -> bm.Started[bm.NoState, Any]:
        class Other:
            hash = item.hash
            quality = int(item.pixels.sum()) % 101

        return super().start(state, setup, Other(), binding, rng)  # type: ignore[arg-type]


def test_what_is_sent_beside_a_declared_hash_is_found(pictures: list[Picture]) -> None:
    audit = _run(PixelsBeside(), pictures)
    assert {finding.rule for finding in audit.findings} == {"round 1: bytes tell of the picture"}


def test_a_match_with_an_entry_that_is_on_no_list_is_not_confirmed(pictures: list[Picture]) -> None:
    """A design can make up a label of the picture's own hash; its report counts as undeclared."""
    listed = np.frombuffer(pictures[0].hash, np.uint8).reshape(1, 32)
    counterpart = Counterpart(oprf_psi.DESIGN, None, {}, listed, seeded("audit"))
    for number, picture in enumerate(pictures[:2]):
        trace = SessionTrace(number, b"", b"", (), bm.Match(bm.Label(picture.hash, 1, bytes(16))))
        assert confirmed(counterpart, trace, picture) is (number == 0)
