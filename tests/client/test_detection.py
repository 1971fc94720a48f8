"""Detection of any design over real gRPC, and what happens when a role fails or cheats."""

from __future__ import annotations

import os
from collections.abc import Callable
from threading import Barrier, Event
from typing import Any

import grpc
import pytest
from blindmatch_client.device import OutcomeKind, Unreadable
from blindmatch_client.epochs.adoption import AdoptionRecord
from blindmatch_client.epochs.trusted import Doubt
from blindmatch_client.errors import MisbehavedError, ServiceUnavailableError, StoreError
from blindmatch_client.matching.detector import Cause, Detector, MatchingExchange
from blindmatch_client.settings import FailureMode, list_failure_facts
from blindmatch_client.store.store import DesignState, Store
from blindmatch_protocol.codec.errors import DesignError, PictureError, ProtocolError, UnopenedError
from blindmatch_protocol.codec.randomness import replayed, system_randomness
from blindmatch_protocol.contract import AnyDesign, Match, Party, Session, epoch_scope, open_all
from blindmatch_protocol.designs import carried_oprf_psi, none, third_party
from blindmatch_protocol.designs.carried import SEAL_FILE
from blindmatch_protocol.designs.oprf_psi import DESIGN as OPRF_PSI
from blindmatch_protocol.designs.voprf import MATCHER
from blindmatch_protocol.picture.decode import Picture
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from blindmatch_protocol.setfile import SetFile
from blindmatch_protocol.sets import store
from dummy_designs import ECHO, LARGE, SHARES, VOUCHERS, Counter, Failing, Found, Knock
from msgspec import structs
from support.fakes import Fail, World, down, hashes_with, picture, poor_picture, publish

STATUS = grpc.StatusCode
LISTED = picture(1)
OTHER = picture(2)
HASHES = hashes_with(LISTED)
MakeWorld = Callable[..., World]

GARBAGE: dict[str, Callable[[pb.Envelope], None]] = {
    "bytes": lambda reply: reply.MergeFrom(pb.Envelope(body=b"\x99nonsense")),
    "an empty body": lambda reply: reply.ClearField("body"),
    "left-over bytes": lambda reply: reply.MergeFrom(pb.Envelope(body=reply.body + b"\0")),
    "another design": lambda reply: reply.MergeFrom(pb.Envelope(design="other")),
    "another version": lambda reply: reply.MergeFrom(pb.Envelope(version=9)),
    "another epoch": lambda reply: reply.MergeFrom(pb.Envelope(epoch=9)),
    "another role": lambda reply: reply.MergeFrom(pb.Envelope(role="party_a")),
    "another size": lambda reply: reply.MergeFrom(pb.Envelope(body_size=7)),
    "a message of another step": lambda reply: reply.MergeFrom(pb.Envelope(body=Knock(1, bytes(8)).encode())),
}


def altered(change: Callable[[pb.Envelope], None]) -> Callable[[pb.Envelope], pb.Envelope]:
    def alter(reply: pb.Envelope) -> pb.Envelope:
        change(reply)
        return reply

    return alter


@pytest.mark.parametrize("design", [ECHO, SHARES, LARGE], ids=lambda d: d.info.name)
def test_a_listed_picture_matches_and_another_does_not(make_world: MakeWorld, design: AnyDesign) -> None:
    world = make_world(design, HASHES)
    world.device("bob")
    alice = world.device("alice")
    sent = [alice.device.send_picture("bob", data) for data in (LISTED, OTHER, poor_picture())]
    assert [one.outcome for one in sent] == [OutcomeKind.MATCH, OutcomeKind.NO_MATCH, OutcomeKind.NO_MATCH]
    assert [one.reported for one in sent] == [True, False, False]


def test_every_picture_asks_the_same_calls_whatever_its_quality_or_outcome(make_world: MakeWorld) -> None:
    world = make_world(ECHO, HASHES)
    world.device("bob")
    alice = world.device("alice")
    for data in (LISTED, OTHER, poor_picture()):
        alice.device.send_picture("bob", data)
    records = [r for r in alice.recorder.records() if r.item is not None and r.party != Party.CENTRE]
    by_item = [[(r.method, r.party, len(r.requests)) for r in records if r.item == n] for n in range(3)]
    assert by_item[0] == by_item[1] == by_item[2]
    assert [m for m, *_ in by_item[0]] == ["/blindmatch.v1.Matching/Exchange"] * 3 + [
        "/blindmatch.v1.Relay/Upload",
        "/blindmatch.v1.Relay/Send",
    ]


def test_all_roles_are_asked_at_the_same_time(make_world: MakeWorld) -> None:
    world = make_world(SHARES, HASHES)
    world.device("bob")
    alice = world.device("alice", round_deadline_s=240.0)
    all_asked = Barrier(len(SHARES.info.roles), timeout=240)
    world.matcher.fault = lambda method: all_asked.wait() if method == "Exchange" else None
    assert alice.device.send_picture("bob", OTHER).delivered
    assert {r.party for r in alice.recorder.records() if r.item == 0} == {
        *SHARES.info.roles.values(),
        Party.PROVIDER,
    }


def test_a_large_body_travels_in_parts_of_less_than_a_megabyte(make_world: MakeWorld) -> None:
    world = make_world(LARGE, HASHES)
    world.device("bob")
    alice = world.device("alice")
    alice.device.send_picture("bob", OTHER)
    (record,) = [r for r in alice.recorder.records() if r.method.endswith("ExchangeLarge")]
    assert record.request_bytes > 5 << 20 and max(map(len, record.requests)) < 1 << 20
    assert record.reply_bytes > 5 << 20
    first = pb.Envelope.FromString(record.requests[0])
    assert first.body_size == len(world.matcher.asked[0].body) > 5 << 20


def test_a_large_body_of_a_design_that_has_not_declared_it_does_not_leave(make_world: MakeWorld) -> None:
    world = make_world(LARGE, HASHES)
    small = type("Small", (type(LARGE),), {"info": structs.replace(LARGE.info, large_bodies=False)})()
    egress = world.egress("alice", alice := world.device("alice").recorder, [])
    session = Session(small, 1, small.enrol(system_randomness()), system_randomness())
    bodies = session.start(Picture.from_bytes(OTHER))
    before = len(alice.records())
    with pytest.raises(DesignError, match="needs large_bodies"):
        MatchingExchange(egress, small, 1, 0)(bodies)  # type: ignore[arg-type]
    assert len(alice.records()) == before
    egress.close()


def test_a_role_that_answers_in_worker_processes_has_ten_times_the_deadline(make_world: MakeWorld) -> None:
    world = make_world(ECHO, HASHES)
    calls = list[float]()
    egress = world.egress("alice", world.device("alice").recorder, [])
    unary = egress.unary
    egress.unary = lambda call, head: calls.append(call.deadline_s) or unary(call, head)  # type: ignore
    dear = type(
        "Dear",
        (type(ECHO),),
        {"info": structs.replace(ECHO.info, in_processes=frozenset(ECHO.info.roles))},
    )()
    for design in (ECHO, dear):
        session = Session(design, 1, design.enrol(system_randomness()), system_randomness())
        MatchingExchange(egress, design, 1, 0, 7.0)(session.start(Picture.from_bytes(OTHER)))  # type: ignore
    assert calls == [7.0, 70.0]
    egress.close()


def test_a_voucher_is_handed_in_for_every_picture_and_opens_at_the_threshold(make_world: MakeWorld) -> None:
    world = make_world(VOUCHERS, hashes_with(LISTED, OTHER))
    world.device("bob")
    alice = world.device("alice")
    opener = VOUCHERS.open_opener(world.matcher.epoch.opener)
    opened = []
    for data in (LISTED, picture(3), OTHER):
        assert alice.device.send_picture("bob", data).outcome is OutcomeKind.VOUCHER
        bodies = [VOUCHERS.vouchers[0].decode(envelope.body) for envelope in world.centre.vouchers]
        opened.append(sorted(open_all(opener, "alice", "alice", bytes(8), bodies)))
    assert opened == [[], [], [0, 2]]
    assert {(v.design, v.version, v.epoch) for v in world.centre.vouchers} == {("dummy-vouchers", 2, 1)}


def test_a_newer_set_reaches_a_device_that_asks_no_role_and_a_voucher_waits_until_its_epoch_has_ended(
    make_world: MakeWorld,
) -> None:
    hashes = hashes_with(LISTED, OTHER)
    world = make_world(VOUCHERS, hashes)
    world.device("bob")
    alice = world.device("alice")
    world.centre.fail_always(Fail(grpc.StatusCode.FAILED_PRECONDITION, "must be 2, not 1"), "SubmitVoucher")
    alice.device.send_picture("bob", OTHER)
    assert alice.device.flush().waiting == 1 and alice.device.standing().vouchers == 1, (
        "no newer set is there"
    )
    world.matcher.epoch = publish(VOUCHERS, hashes, 2)
    done = alice.device.flush()
    assert len(done.problems) == 1 and "FAILED_PRECONDITION" in done.problems[0]
    assert alice.device.epoch == 2 and done.waiting == alice.device.standing().vouchers == 1
    world.centre.heal()
    alice.device.send_picture("bob", LISTED)
    assert [one.epoch for one in world.centre.vouchers] == [1, 2], "the centre was behind"
    world.centre.fail_always(Fail(grpc.StatusCode.FAILED_PRECONDITION, "must be 3, not 2"), "SubmitVoucher")
    alice.device.send_picture("bob", OTHER)
    device = alice.device
    ends = 1000 * device._matcher.record.find(2).signed.manifest.valid_until
    for now, waiting in ((ends - 1, 1), (ends, 0)):
        device._base = structs.replace(device._base, clock_ms=lambda now=now: now)
        assert alice.device.flush().waiting == alice.device.standing().vouchers == waiting
    world.centre.heal()
    world.matcher.epoch = publish(VOUCHERS, hashes, 3)
    alice.device.flush()
    assert alice.device.epoch == 2, "nothing tells of an update under the same key"
    alice.device._upkeep.hasten()
    alice.device.flush()
    assert alice.device.epoch == 3, "it is looked for with the keys, every six hours"


def test_a_trace_lets_the_session_be_run_again_byte_for_byte(make_world: MakeWorld) -> None:
    world = make_world(ECHO, HASHES)
    world.device("bob")
    alice = world.device("alice")
    alice.device.send_picture("bob", LISTED)
    (trace,) = alice.traces
    session = Session(ECHO, 1, Counter.decode(trace.state_before), replayed(trace.tape))
    step: Any = session.start(Picture.from_bytes(LISTED))
    for one in trace.rounds:
        assert {role: body.encode() for role, body in step.items()} == one.bodies
        step = session.receive(
            {r: (Found if len(raw) > 9 else ECHO.replies[r][0]).decode(raw) for r, raw in one.replies.items()}
        )
    assert step == trace.outcome and isinstance(step, Match)
    sent = [
        pb.Envelope.FromString(r.requests[0]).body for r in alice.recorder.records() if "Exchange" in r.method
    ]
    assert sent == [body for one in trace.rounds for body in one.bodies.values()]


def test_the_device_state_is_saved_before_anything_is_sent_for_the_picture(make_world: MakeWorld) -> None:
    world = make_world(ECHO, HASHES)
    world.device("bob")
    alice = world.device("alice")
    seen: list[int] = []

    def look(method: str) -> None:
        store = Store(world.folder / "alice", create=False)
        state = DesignState(store, ECHO.info.name, ECHO.info.version, epoch_scope(1)).load()
        assert state is not None
        seen.append(Counter.decode(state).started)
        store.close()

    world.matcher.fault = look
    alice.device.send_picture("bob", LISTED)
    alice.device.send_picture("bob", OTHER)
    assert seen == [1, 1, 1, 2, 2, 2]


def test_the_offline_phase_is_done_before_the_picture_and_its_work_is_used(make_world: MakeWorld) -> None:
    world = make_world(ECHO, HASHES)
    world.device("bob")
    alice = world.device("alice")
    alice.device.send_picture("bob", OTHER)
    before = Counter.decode(alice.traces[0].state_before)
    assert len(before.tickets) == 4 and alice.traces[0].tape == b""


@pytest.mark.parametrize("mode", FailureMode)
def test_a_matcher_that_answers_with_garbage_gets_nothing_else(
    make_world: MakeWorld, mode: FailureMode
) -> None:
    world = make_world(ECHO, HASHES)
    world.device("bob")
    for number, (what, change) in enumerate(GARBAGE.items()):
        alice = world.device(f"alice-{number}", mode=mode)
        world.matcher.asked.clear()
        world.matcher.alter = altered(change)
        sent = alice.device.send_picture("bob", LISTED)
        again = alice.device.send_picture("bob", OTHER)
        alice.device.flush()
        assert len(world.matcher.asked) == 1, what
        assert sent.delivered == again.delivered == (mode is not FailureMode.HOLD), what
        assert "not asked again" in sent.notice and alice.device.distrust, what
        assert world.centre.sealed == [], what


def test_a_cheat_that_cannot_be_remembered_stops_the_message(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world(ECHO, HASHES)
    world.device("bob")
    alice = world.device("alice", mode=FailureMode.SEND_UNMATCHED)
    world.matcher.alter = altered(next(iter(GARBAGE.values())))

    def full(*_: object) -> None:
        raise StoreError("the disk is full")

    monkeypatch.setattr(AdoptionRecord, "add_doubt", full)
    with pytest.raises(StoreError, match="the disk is full"):
        alice.device.send_picture("bob", LISTED)
    assert world.relay.queues["bob"] == []


def test_a_carrier_has_nobody_distrusted_by_altering_a_reply(make_world: MakeWorld) -> None:
    """Of `third-party`: the provider sees sealed bytes alone, and can alter every one of them."""

    def flip(reply: pb.Envelope) -> None:
        reply.body = reply.body[:-1] + bytes([reply.body[-1] ^ 1])

    world = make_world(third_party.DESIGN, HASHES)
    world.device("bob")
    alice = world.device("alice")
    for what, change in {"a flipped bit": flip, **GARBAGE}.items():
        world.matcher.asked.clear()
        world.matcher.alter = altered(change)
        sent = alice.device.send_picture("bob", LISTED)
        assert not sent.delivered and alice.device.distrust is None, what
        world.matcher.alter = lambda reply: reply
        (again,) = alice.device.flush().messages
        assert again.reported and len(world.matcher.asked) == 2, what


def test_a_third_party_whose_label_opens_and_is_not_signed_is_distrusted(make_world: MakeWorld) -> None:
    world = make_world(third_party.DESIGN, HASHES)
    world.device("bob")
    alice = world.device("alice")
    states = world.matcher.epoch.states
    held = states[third_party.THIRD]
    unsigned = structs.replace(held.nothing, signatures=bytes(64))
    states[third_party.THIRD] = structs.replace(held, nothing=unsigned)  # type: ignore[index]
    sent = alice.device.send_picture("bob", OTHER)
    assert not sent.delivered and "must be signed for this epoch" in (alice.device.distrust or "")


def test_a_device_that_a_carried_role_cheated_goes_on_asking(make_world: MakeWorld) -> None:
    """A role that cheats one request of nobody's must not see, by who stops asking, whose it was."""
    world = make_world(carried_oprf_psi.DESIGN, HASHES)
    world.device("bob")
    alice = world.device("alice")
    states = world.matcher.epoch.states
    held = states[MATCHER]
    other = publish(carried_oprf_psi.DESIGN, HASHES, 1, "other").states[MATCHER]
    states[MATCHER] = structs.replace(held, inner=other.inner)  # type: ignore[index]
    for data in (LISTED, OTHER):
        sent = alice.device.send_picture("bob", data)
        assert not sent.delivered and alice.device.distrust is None
    assert "proof" in (sent.notice or "")
    assert len({one.body for one in world.matcher.asked}) == len(world.matcher.asked) == 2
    states[MATCHER] = held  # type: ignore[index]
    found = alice.device.flush().messages
    assert [one.delivered for one in found] == [True, True] and [one.reported for one in found] == [
        True,
        False,
    ]
    assert len({one.body for one in world.matcher.asked}) == 4, "each request is sealed anew"


@pytest.mark.parametrize(
    ("design", "asked"), [(carried_oprf_psi.DESIGN, 3), (OPRF_PSI, 1)], ids=["carried", "not"]
)
def test_a_refusal_holds_back_no_other_picture_where_nobody_is_distrusted(
    make_world: MakeWorld, design: AnyDesign, asked: int
) -> None:
    """Else the role that refuses one of nobody's sees how many others its device has waiting."""
    world = make_world(design, HASHES)
    world.device("bob")
    alice = world.device("alice")
    world.matcher.fail_always(down(), method="Exchange")
    for data in (LISTED, OTHER, picture(3)):
        alice.device.send_picture("bob", data)
    before = len({one.body for one in world.matcher.asked})
    world.matcher.fail_next(*[down()] * (1 if asked > 1 else 3), method="Exchange")
    found = alice.device.flush().messages
    assert len({one.body for one in world.matcher.asked}) - before == asked
    assert [one.delivered for one in found] == [False, *[asked > 1] * 2]


def test_an_account_that_is_served_keys_of_its_own_asks_nobody(make_world: MakeWorld) -> None:
    """Keys of one account's alone would say whose each request is; they are files of the signed manifest."""
    world = make_world(carried_oprf_psi.DESIGN, HASHES)
    world.device("bob")
    other = publish(carried_oprf_psi.DESIGN, HASHES, 1, "other")
    world.matcher.manifest = world.matcher._signed()
    world.matcher.epoch.setup[SEAL_FILE] = other.setup[SEAL_FILE]
    with pytest.raises(MisbehavedError, match=SEAL_FILE):
        world.device("alice")
    assert world.matcher.asked == []


@pytest.mark.parametrize("design", [carried_oprf_psi.DESIGN, third_party.DESIGN], ids=lambda d: d.info.name)
@pytest.mark.parametrize("code", [STATUS.UNAVAILABLE, STATUS.INTERNAL, STATUS.RESOURCE_EXHAUSTED])
def test_nothing_is_sent_because_a_carried_request_was_refused(
    make_world: MakeWorld, design: AnyDesign, code: grpc.StatusCode
) -> None:
    world = make_world(design, HASHES)
    world.device("bob")
    alice = world.device("alice")
    alice.device.send_picture("bob", OTHER)
    before = len(alice.recorder.records())
    world.matcher.fail_next(Fail(code, retry_after_ms=5), method="Exchange")
    sent = alice.device.send_picture("bob", LISTED)
    assert not sent.delivered and alice.device.distrust is None
    assert [one.method.rpartition("/")[2] for one in alice.recorder.records()[before:]] == ["Exchange"]
    (again,) = alice.device.flush().messages
    assert again.reported


def test_distrust_survives_a_restart_until_the_user_ends_it(make_world: MakeWorld) -> None:
    world = make_world(ECHO, HASHES)
    world.device("bob")
    alice = world.device("alice")
    world.matcher.alter = altered(GARBAGE["bytes"])
    alice.device.send_picture("bob", LISTED)
    alice.device.close()
    again = world.device("alice", fresh=False)
    again.device.flush()
    assert len(world.matcher.asked) == 1 and again.methods(Party.MATCHER) == []
    world.matcher.alter = lambda reply: reply
    again.device.forgive(Doubt.ROLES)
    (sent,) = again.device.flush().messages
    assert sent.reported and again.device.distrust is None


def test_a_label_of_an_entry_the_picture_does_not_match_is_cheating(make_world: MakeWorld) -> None:
    world = make_world(ECHO, HASHES)
    world.device("bob")
    alice = world.device("alice", mode=FailureMode.SEND_UNMATCHED)
    label = world.matcher.epoch.states["matcher"].label(0)  # type: ignore[index]
    forged = Found(label).encode()

    def lie(reply: pb.Envelope) -> pb.Envelope:
        if len(reply.body) == len(forged):
            reply.body = forged
        return reply

    world.matcher.alter = lie
    sent = alice.device.send_picture("bob", LISTED)
    assert sent.outcome is OutcomeKind.SKIPPED and world.centre.sealed == [] and alice.device.distrust


FAULTS = [
    down(),
    Fail(STATUS.DEADLINE_EXCEEDED),
    Fail(STATUS.INTERNAL),
    Fail(STATUS.RESOURCE_EXHAUSTED),
    Fail(STATUS.INVALID_ARGUMENT),
]


@pytest.mark.parametrize("fail", FAULTS, ids=lambda fail: fail.code.name)
def test_hold_keeps_the_picture_on_the_device_until_it_was_matched(make_world: MakeWorld, fail: Fail) -> None:
    world = make_world(ECHO, HASHES)
    world.device("bob")
    alice = world.device("alice", mode=FailureMode.HOLD)
    world.matcher.fail_always(fail, "Exchange")
    sent = alice.device.send_picture("bob", LISTED)
    assert not sent.delivered and sent.outcome is OutcomeKind.DUE
    assert "waits on this device" in sent.notice
    assert set(alice.methods(Party.PROVIDER)) == {"Register"} and world.centre.sealed == []
    world.matcher.heal()
    (later,) = alice.device.flush().messages
    assert later.delivered and later.reported and alice.device.flush().waiting == 0


def test_send_and_match_later_delivers_at_once_and_reports_after(make_world: MakeWorld) -> None:
    world = make_world(ECHO, HASHES)
    world.device("bob")
    alice = world.device("alice", mode=FailureMode.SEND_AND_MATCH_LATER)
    world.matcher.fail_always(down(), "Exchange")
    sent = alice.device.send_picture("bob", LISTED)
    assert sent.delivered and sent.outcome is OutcomeKind.DUE and "checked as soon as" in sent.notice
    assert world.centre.sealed == [] and alice.device.flush().waiting == 1
    world.matcher.heal()
    alice.device.close()
    (later,) = (
        world.device("alice", fresh=False, mode=FailureMode.SEND_AND_MATCH_LATER).device.flush().messages
    )
    assert later.reported and len(world.centre.reports) == 1
    assert world.relay.calls.count("Send") == 1


def test_send_unmatched_delivers_and_never_asks_about_that_picture_again(make_world: MakeWorld) -> None:
    world = make_world(ECHO, HASHES)
    world.device("bob")
    alice = world.device("alice", mode=FailureMode.SEND_UNMATCHED)
    world.matcher.fail_always(down(), "Exchange")
    sent = alice.device.send_picture("bob", LISTED)
    world.matcher.heal()
    asked = len(world.matcher.asked)
    assert sent.delivered and sent.outcome is OutcomeKind.SKIPPED and "will not be checked" in sent.notice
    assert alice.device.flush().waiting == 0 and len(world.matcher.asked) == asked
    assert alice.device.send_picture("bob", LISTED).reported


def test_a_retry_of_matching_sends_identical_bodies(make_world: MakeWorld) -> None:
    world = make_world(SHARES, HASHES)
    world.device("bob")
    alice = world.device("alice")
    world.matcher.fail_next(down(), None, method="Exchange")
    alice.device.send_picture("bob", LISTED)
    records = [r for r in alice.recorder.records() if r.method.endswith("Exchange")]
    by_party = [[r.requests for r in records if r.party == one] for one in SHARES.info.roles.values()]
    assert sorted(map(len, by_party)) == [1, 1, 2]
    assert all(len(set(requests)) == 1 for requests in by_party)


def test_a_slow_matcher_is_given_up_on_after_the_deadline(make_world: MakeWorld) -> None:
    world = make_world(ECHO, HASHES)
    world.device("bob")
    alice = world.device("alice", round_deadline_s=0.2)
    given_up = Event()
    world.matcher.fault = lambda method: given_up.wait(240)
    sent = alice.device.send_picture("bob", LISTED)
    given_up.set()
    assert not sent.delivered and "did not answer in time" in sent.notice


@pytest.mark.parametrize("step", ["start", "receive"])
@pytest.mark.parametrize("error", [ProtocolError("dummy", "will"), ValueError("secret"), DesignError("bug")])
def test_a_design_that_fails_in_a_step_stops_and_delivers_as_the_mode_says(
    make_world: MakeWorld, step: str, error: Exception
) -> None:
    design = Failing("none", error)
    world = make_world(design, HASHES)
    world.device("bob")
    alice = world.device("alice", mode=FailureMode.SEND_UNMATCHED)
    alice.device.send_picture("bob", OTHER)
    design.step = step
    sent = alice.device.send_picture("bob", LISTED)
    assert sent.delivered and world.centre.sealed == [] and "secret" not in sent.notice
    assert len(world.matcher.asked) == {"start": 3, "receive": 4}[step]
    cheated = step == "receive" and isinstance(error, ProtocolError)
    assert (alice.device.distrust is not None) == cheated


@pytest.mark.parametrize("error", [ProtocolError("dummy", "will"), ValueError("secret"), DesignError("bug")])
def test_a_design_that_fails_offline_once_set_up_matches_all_the_same(
    make_world: MakeWorld, error: Exception
) -> None:
    design = Failing("none", error)
    world = make_world(design, HASHES)
    world.device("bob")
    alice = world.device("alice")
    design.step = "prepare"
    assert alice.device.send_picture("bob", LISTED).reported


def test_a_design_that_fails_in_enrolment_asks_nothing(make_world: MakeWorld) -> None:
    world = make_world(Failing("enrol", ValueError("secret")), HASHES)
    with pytest.raises(DesignError, match="failed in enrol") as caught:
        world.device("alice")
    assert "secret" not in str(caught.value) and world.matcher.asked == []


def test_the_detector_tells_causes_apart() -> None:
    class Kept:
        def load(self) -> bytes | None:
            return None

        def save(self, state: bytes, /) -> None:
            pass

    def detect(error: Exception) -> Any:
        def exchange(bodies: Any) -> Any:
            raise error

        detector = Detector(ECHO, 1, Kept(), system_randomness())
        return detector.match(Picture.from_bytes(OTHER), 0, exchange)

    causes = {
        ProtocolError("a", "b"): Cause.CHEATED,
        MisbehavedError(Party.MATCHER, "r"): Cause.CHEATED,
        ServiceUnavailableError(Party.MATCHER, "r"): Cause.UNAVAILABLE,
        UnopenedError("a", "b"): Cause.UNAVAILABLE,
        DesignError("bug"): Cause.BROKEN,
    }
    assert [detect(error).cause for error in causes] == list(causes.values())


def test_a_picture_that_cannot_be_decoded_sends_nothing(make_world: MakeWorld) -> None:
    world = make_world(ECHO, HASHES)
    world.device("bob")
    alice = world.device("alice")
    before = len(alice.recorder.records())
    for data in (b"", b"no picture", OTHER[:200]):
        with pytest.raises(PictureError):
            alice.device.send_picture("bob", data)
    assert len(alice.recorder.records()) == before and alice.device.flush().waiting == 0


def test_the_policy_may_be_to_send_what_cannot_be_decoded_unmatched(make_world: MakeWorld) -> None:
    world = make_world(ECHO, HASHES)
    bob = world.device("bob")
    alice = world.device("alice", unreadable=Unreadable.SEND)
    data = os.urandom(5000)
    sent = alice.device.send_picture("bob", data)
    assert sent.delivered and sent.outcome is OutcomeKind.SKIPPED and "no picture" in sent.notice
    assert bob.device.receive()[0].pictures == (data,) and world.matcher.asked == []


def test_a_new_epoch_is_fetched_when_the_old_one_is_refused(make_world: MakeWorld) -> None:
    world = make_world(ECHO, hashes_with())
    world.device("bob")
    alice = world.device("alice")
    assert alice.device.send_picture("bob", LISTED).outcome is OutcomeKind.NO_MATCH
    world.matcher.epoch = publish(ECHO, HASHES, 2)
    assert alice.device.send_picture("bob", LISTED).outcome is OutcomeKind.MATCH
    assert alice.device.epoch == 2 and world.centre.reports[0].epoch == 2


def test_a_set_that_this_device_s_disk_damaged_is_fetched_again_and_nobody_is_accused(
    make_world: MakeWorld,
) -> None:
    world = make_world(OPRF_PSI, HASHES)
    world.device("bob")
    alice = world.device("alice")
    alice.device.refresh()
    alice.device.close()
    (path,) = (world.folder / "alice").rglob("set.bin")
    data = bytearray(path.read_bytes())
    file = SetFile(bytes(data), path.name, OPRF_PSI.info.name, OPRF_PSI.info.version)
    data[file.sections[store.KIND, 0].offset + 100] ^= 1
    path.unlink()
    path.write_bytes(data)
    alice = world.device("alice", fresh=False)
    sent = alice.device.send_picture("bob", LISTED)
    # the damage shows where the outcome is looked at, and that is after the message was handed over
    assert sent.delivered and "could not be checked for now" in sent.notice and "altered" in sent.notice
    assert sent.outcome is OutcomeKind.DUE and "sent all the same" in sent.notice
    (later,) = alice.device.flush().messages
    assert later.delivered and later.reported and "FetchSetup" in alice.methods(Party.MATCHER)


def test_every_failure_mode_declares_what_it_leaks_to_whoever_is_asked() -> None:
    parties = frozenset(SHARES.info.roles.values())
    for mode in FailureMode:
        told = list_failure_facts(mode, SHARES.info)
        assert set(told) - {Party.PROVIDER} == parties
        assert all("retry_time" in {fact.name for fact in told[party]} for party in parties)
        assert (Party.PROVIDER in told) is (mode is FailureMode.HOLD)
        assert not list_failure_facts(mode, none.DESIGN.info), "nobody is asked"
