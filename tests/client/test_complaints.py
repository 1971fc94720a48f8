"""A complaint is kept before it is sent, taken once, and goes where reports go and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from blindmatch_client.errors import RefusedError
from blindmatch_client.reports.complaints import ComplaintState, DeviceError
from blindmatch_client.settings import COMPLAINT_FACTS, NOTICE_TIME, CoverSchedule, list_device_facts
from blindmatch_client.trace import Purpose
from blindmatch_protocol.contract import Party
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from dummy_designs import ECHO
from support.fakes import Fail, World, down, hashes_with, picture

REPORT = b"r" * 16
WORDS = "that was a holiday picture"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path, ECHO, hashes_with(picture(1)))
    yield made
    made.close()


def test_a_complaint_is_taken_once_however_often_it_is_made(world: World) -> None:
    alice = world.device("alice")
    first = alice.device.complaints.complain(REPORT, f"  {WORDS} ")
    assert (first.stage, first.text, first.words) == (ComplaintState.RECEIVED, WORDS, "")
    world.centre.answer_complaint = lambda request: pb.Complaint(
        complaint_id=request.complaint_id, report_id=REPORT, decision="upheld", reason="looked again"
    )
    again = alice.device.complaints.complain(REPORT, WORDS)
    assert (again.complaint_id, again.words) == (first.complaint_id, "upheld: looked again")
    other = alice.device.complaints.complain(REPORT, "another thing")
    assert other.complaint_id != first.complaint_id
    one, same, last = world.centre.complaints
    assert one == same != last
    assert (one.report_id, one.account, len(one.complaint_id)) == (REPORT, "", 16)
    assert [one.text for one in alice.device.standing().complaints] == [WORDS, "another thing"]


def fail(method: str) -> None:
    raise down()


def test_one_that_could_not_leave_is_kept_and_leaves_once_with_flush(world: World) -> None:
    alice = world.device("alice")
    world.centre.fault_after = fail
    waits = alice.device.complaints.complain(REPORT, WORDS)
    assert waits.stage == ComplaintState.WAITING and "the centre cannot be reached" in waits.words
    assert len(world.centre.complaints) == 3
    alice.device.close()
    world.centre.fault_after = lambda method: None
    again = world.device("alice", fresh=False)
    assert again.device.standing().complaints[0].stage == ComplaintState.WAITING
    flushed = again.device.flush()
    assert (flushed.waiting, flushed.problems) == (0, ())
    assert again.device.complaints.list_all()[0].stage == ComplaintState.RECEIVED
    again.device.flush()
    assert len(world.centre.complaints) == 4
    assert {one.SerializeToString() for one in world.centre.complaints} == {
        world.centre.complaints[0].SerializeToString()
    }


@pytest.mark.parametrize(
    ("code", "stage"),
    [
        (grpc.StatusCode.NOT_FOUND, ComplaintState.REFUSED),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, ComplaintState.WAITING),
    ],
    ids=str,
)
def test_what_is_refused_for_good_is_not_sent_again(
    world: World, code: grpc.StatusCode, stage: ComplaintState
) -> None:
    alice = world.device("alice")
    world.centre.fail_always(Fail(code, "no such report"))
    if stage == ComplaintState.REFUSED:
        with pytest.raises(RefusedError, match="no such report"):
            alice.device.complaints.complain(REPORT, WORDS)
    else:
        assert "no such report" in alice.device.complaints.complain(REPORT, WORDS).words
    (held,) = alice.device.complaints.list_all()
    assert held.stage == stage
    calls = len(world.centre.complaints)
    assert alice.device.flush().waiting == (stage == ComplaintState.WAITING)
    assert (len(world.centre.complaints) > calls) == (stage == ComplaintState.WAITING)


def test_one_that_the_centre_has_stays_there_if_asking_again_fails(world: World) -> None:
    alice = world.device("alice")
    alice.device.complaints.complain(REPORT, WORDS)
    world.centre.fail_always(down())
    assert alice.device.complaints.complain(REPORT, WORDS).stage == ComplaintState.RECEIVED


@pytest.mark.parametrize(
    ("report", "text", "rule"),
    [
        (b"short", WORDS, "16 bytes"),
        (REPORT, "  ", "1 to 2000"),
        (REPORT, "x" * 2001, "1 to 2000"),
        (REPORT, "two\nlines", "one line"),
    ],
)
def test_a_complaint_that_breaks_a_rule_is_neither_kept_nor_sent(
    world: World, report: bytes, text: str, rule: str
) -> None:
    alice = world.device("alice")
    with pytest.raises(DeviceError, match=rule):
        alice.device.complaints.complain(report, text)
    assert alice.device.complaints.list_all() == [] and world.centre.complaints == []


def test_an_answer_about_another_complaint_is_not_believed(world: World) -> None:
    alice = world.device("alice")
    world.centre.answer_complaint = lambda request: pb.Complaint(complaint_id=b"x" * 16)
    made = alice.device.complaints.complain(REPORT, WORDS)
    assert made.stage == ComplaintState.WAITING and "broke the wire interface" in made.words


def test_it_goes_to_the_centre_alone_and_nothing_of_it_is_in_the_clear_on_the_device(world: World) -> None:
    alice = world.device("alice")
    before = len(alice.recorder.records())
    alice.device.complaints.complain(REPORT, WORDS)
    (record,) = alice.recorder.records()[before:]
    assert (record.party, record.purpose, record.item) == (Party.CENTRE, Purpose.COMPLAINT, None)
    held = b"".join(path.read_bytes() for path in (world.folder / "alice").rglob("*") if path.is_file())
    assert WORDS.encode() not in held


@pytest.mark.parametrize("schedule", [None, CoverSchedule(30)])
def test_a_complaint_leaves_beside_a_cover_schedule_and_is_declared_with_and_without_one(
    world: World, schedule: CoverSchedule | None
) -> None:
    alice = world.device("alice", cover=schedule)
    before = len(alice.recorder.records())
    assert alice.device.complaints.complain(REPORT, WORDS).stage == ComplaintState.RECEIVED
    assert [one.purpose for one in alice.recorder.records()[before:]] == [Purpose.COMPLAINT]
    declared = list_device_facts(cover_schedule=schedule is not None)
    assert COMPLAINT_FACTS.keys() == {Party.CENTRE, Party.PROVIDER}
    assert all(set(facts) <= set(declared[party]) for party, facts in COMPLAINT_FACTS.items())
    assert NOTICE_TIME in declared[Party.PROVIDER], "so is what the centre answers, over the relay"


def test_a_notice_under_a_cover_schedule_says_that_the_report_waits_for_slots(world: World) -> None:
    alice = world.device("alice", cover=CoverSchedule(30))
    _ = world.device("bob")
    sent = alice.device.send_picture("bob", picture(1))
    assert sent.report_id is not None and not sent.reported
    assert "in the next slots of its cover schedule" in sent.notice
    assert "as soon as the centre can be reached" not in sent.notice
    assert "A complaint leaves at once: whoever watches this device's traffic can see it." in sent.notice
    (report,) = alice.device.standing().reports
    assert (report.report_id, report.received_at_ms) == (sent.report_id, 0)
