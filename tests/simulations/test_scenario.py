"""A scenario is played as it stands, what it cost and left is seen, and its recording is worth an audit."""

from __future__ import annotations

import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from blindmatch_client.trace import Purpose
from blindmatch_protocol.contract import Party
from blindmatch_protocol.designs import hash_upload
from blindmatch_protocol.picture.decode import Picture
from blindmatch_protocol.picture.pdq import rows
from blindmatch_simulations.testbed.audit import Counterpart, Evidence, audit_device
from blindmatch_simulations.testbed.pictures.crops import crops
from blindmatch_simulations.testbed.scenario.operations import (
    AddDevice,
    Check,
    Decide,
    Flush,
    Kill,
    Operation,
    Publish,
    Receive,
    ScenarioError,
    SendPicture,
    SendText,
    Start,
    Stop,
    Tick,
)
from blindmatch_simulations.testbed.scenario.recording import (
    Played as PlayedLine,
)
from blindmatch_simulations.testbed.scenario.recording import (
    Recording,
    RecordingError,
    Request,
    Writer,
    read_recording,
)
from blindmatch_simulations.testbed.scenario.run import Bounds, Event, counterpart, evidence, play, shown
from blindmatch_simulations.testbed.scenario.world import World
from msgspec import Struct
from msgspec.structs import replace

LISTED, OTHER, DECOY = (crop.data for crop in crops(3, 1))
OPERATIONS: tuple[Operation, ...] = (
    Publish((LISTED,), random=12),
    Start(),
    AddDevice("bob"),
    AddDevice("alice"),
    SendText("alice", "bob", "two pictures"),
    SendPicture("alice", "bob", LISTED),
    SendPicture("alice", "bob", OTHER),
    Tick("alice"),
    SendText("alice", "nobody", "who are you"),
    Receive("bob", 3),
    Flush("bob"),
    Check(1),
    Decide("confirmed", "a person looked"),
)


class Played(Struct, frozen=True):
    """A scenario that was played, its recording, and what was seen of Alice."""

    world: World
    events: list[Event]
    recording: Path
    seen: Evidence


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    folder = tmp_path_factory.mktemp("scenario")
    with World.create(folder / "home", "oprf-psi") as world:
        writer = Writer(folder / "run.jsonl", world.design)
        events = list[Event]()
        world.tell = writer.request
        for event in play(world, OPERATIONS, threads=True):
            writer.event(event)
            events.append(event)
        seen = evidence(world, "alice", [Picture.from_bytes(DECOY)], world.counted())
        writer.device(seen, shown(world, seen))
        writer.close()
        yield Played(world, events, folder / "run.jsonl", seen)


def test_operations_are_played_in_order_and_one_that_fails_does_not_end_the_run(played: Played) -> None:
    assert [event.operation for event in played.events] == list(OPERATIONS)
    failed = [event for event in played.events if event.error]
    assert [event.operation for event in failed] == [OPERATIONS[8]]
    assert failed[0].error.startswith("RefusedError: ")
    received = played.events[9].result
    assert [one.text for one in received] == ["two pictures", "", ""]
    assert [picture for one in received for picture in one.pictures] == [LISTED, OTHER]
    (row,) = played.events[12].result
    assert (row.state, row.checks) == ("confirmed", "passed")


def test_an_event_has_what_the_operation_cost_the_device(played: Played) -> None:
    text, listed, other = (played.events[at].cost for at in (4, 5, 6))
    assert text is not None and listed is not None and other is not None
    assert text.up(Purpose.MATCHING) == 0 < text.up(Purpose.MESSAGE)
    assert listed.up(Purpose.MATCHING) == other.up(Purpose.MATCHING) > 0
    assert other.up(Purpose.REPORT) == 0 < listed.up(Purpose.REPORT)
    assert [len(one.traces) for one in (text, listed, other)] == [0, 1, 1]
    assert listed.cpu_ms > 0 and listed.wall_ms > 0
    assert played.events[0].cost is None


def test_what_a_device_was_told_is_known_to_the_audit(played: Played) -> None:
    told = played.seen.told
    assert (told.messages, told.contacts, told.registered) == (4, {"bob", "nobody"}, 1)
    assert played.world.of("bob").told.received == 3
    found = audit_device(listed_counterpart(played.world), played.seen)
    assert played.seen.arrived, "the servers' counts are held against the seam's"
    assert (found.findings, found.sessions, found.reports_opened) == ((), 2, 1)
    fewer = replace(played.seen, told=replace(told, messages=2))
    assert audit_device(listed_counterpart(played.world), fewer).findings


def test_a_recording_is_worth_the_same_audit(played: Played) -> None:
    recording = read_recording(played.recording)
    assert stat.S_IMODE(played.recording.stat().st_mode) == 0o600
    assert [one.operation for one in recording.events] == list(OPERATIONS)
    assert [one.error for one in recording.events] == [event.error for event in played.events]
    assert (recording.events[5].outcome, recording.events[6].outcome) == ("match", "no match")
    again = recording.evidence(played.world.design, "alice", [Picture.from_bytes(DECOY)], played.seen.centre)
    assert (again.records, again.drawn) == (tuple(played.seen.records), tuple(played.seen.drawn))
    assert again.arrived == played.seen.arrived
    roles = listed_counterpart(played.world)
    assert audit_device(roles, again) == audit_device(roles, played.seen)
    changed = replace(again, traces=[replace(again.traces[0], tape=bytes(len(again.traces[0].tape)))])
    assert audit_device(roles, changed).findings


def test_requests_stand_before_the_event_they_left_in_and_are_those_of_the_records(
    played: Played,
) -> None:
    recording = read_recording(played.recording)
    asked = [at for at, one in enumerate(recording.lines) if isinstance(one, Request) and one.item == 0]
    ends = {one.number: at for at, one in enumerate(recording.lines) if isinstance(one, PlayedLine)}
    assert asked and all(ends[4] < at < ends[5] for at in asked)
    bodies = [one.body for one in recording.lines if isinstance(one, Request) and one.account == "alice"]
    assert sorted(bodies) == sorted(body for record in played.seen.records for body in record.requests)
    check = recording.events[11]
    received = recording.events[9]
    assert (check.reports, received.received) == (
        (("checked", "passed"),),
        (("alice", 0), ("alice", 1), ("alice", 1)),
    )


KILLED = """
import os, signal, sys
from pathlib import Path
from blindmatch_simulations.testbed.scenario.recording import Writer
from blindmatch_simulations.testbed.scenario.run import play
from blindmatch_simulations.testbed.scenario.world import World
from test_scenario import OPERATIONS

with World.create(Path(sys.argv[1]) / "home", "oprf-psi") as world:
    writer = Writer(Path(sys.argv[1]) / "run.jsonl", world.design)

    def tell(account, opened, body):
        writer.request(account, opened, body)
        if opened.item == 1:
            os.kill(os.getpid(), signal.SIGKILL)

    world.tell = tell
    for event in play(world, OPERATIONS, threads=True):
        writer.event(event)
"""


def test_what_left_before_a_kill_is_recorded_and_a_torn_line_is_said(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, tmp_path], cwd=Path(__file__).parent, check=False)
    assert done.returncode == -9
    path = tmp_path / "run.jsonl"
    recording = read_recording(path)
    last = recording.lines[-1]
    assert isinstance(last, Request) and (last.account, last.item) == ("alice", 1) and not recording.devices
    assert len(recording.events) == 6 and recording.events[5].outcome == "match" and not recording.torn
    whole = path.read_bytes()
    for cut in (1, 2, 40):
        path.write_bytes(whole[:-cut])
        torn = read_recording(path)
        assert torn.torn and torn.lines == recording.lines[:-1]
    path.write_bytes(whole[:60])
    with pytest.raises(RecordingError, match="does not begin with the head"):
        read_recording(path)


def test_an_error_in_a_recording_names_line_and_field(played: Played, tmp_path: Path) -> None:
    lines = played.recording.read_bytes().splitlines(keepends=True)
    at, line = next((at, one) for at, one in enumerate(lines) if b'"request"' in one)
    path = tmp_path / "spoilt.jsonl"
    path.write_bytes(b"".join([*lines[:at], line.replace(b'"part":0', b'"part":"x"'), *lines[at + 1 :]]))
    with pytest.raises(RecordingError, match=rf"line {at + 1}: .*`\$\.part`"):
        read_recording(path)
    path.write_bytes(b"".join([*lines[:at], line.replace(b'"part":0', b'"part":1'), *lines[at + 1 :]]))
    with pytest.raises(RecordingError, match="each call's requests from 0 on"):
        read_recording(path)
    path.write_bytes(lines[0].replace(b'"version":2', b'"version":1'))
    with pytest.raises(RecordingError, match=r"line 1: not by version 2: .*version"):
        read_recording(path)


def test_a_recording_of_another_version_or_with_a_broken_line_is_refused(
    played: Played, tmp_path: Path
) -> None:
    lines = played.recording.read_bytes().splitlines(keepends=True)
    spoilt = {
        "other": [lines[0].replace(b'"version":2', b'"version":1'), *lines[1:]],
        "no head": lines[1:],
        "cut within": [*lines[:-2], lines[-2][:100] + b"\n", lines[-1]],
        "more": [lines[0], lines[1].replace(b'"number"', b'"colour":1,"number"')],
    }
    for name, content in spoilt.items():
        path = tmp_path / f"{name}.jsonl"
        path.write_bytes(b"".join(content))
        with pytest.raises(RecordingError):
            read_recording(path)
    with pytest.raises(RecordingError, match="cannot be read"):
        read_recording(tmp_path / "none.jsonl")
    with pytest.raises(RecordingError, match="cannot be written"):
        Writer(played.recording, played.world.design)


def test_a_recording_serves_its_own_design_and_devices_alone(played: Played) -> None:
    recording: Recording = read_recording(played.recording)
    with pytest.raises(RecordingError, match="is of oprf-psi"):
        recording.evidence(hash_upload.DESIGN, "alice")
    with pytest.raises(RecordingError, match="no device carol"):
        recording.evidence(played.world.design, "carol")


def test_operations_are_json() -> None:
    for operation in OPERATIONS:
        assert msgspec.json.decode(msgspec.json.encode(operation), type=Operation) == operation
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(b'{"do": "tick", "account": "alice", "twice": true}', type=Operation)


def test_a_run_stops_at_its_bounds(tmp_path: Path) -> None:
    with World.create(tmp_path / "home", "none") as world:
        for bounds in (Bounds(operations=1), Bounds(seconds=-1)):
            with pytest.raises(ScenarioError, match="a bound of the run is reached"):
                list(play(world, [Stop(), Stop()], bounds))
        (event,) = play(world, [Kill("relay")])
        assert event.error == "ScenarioError: the relay does not run as a process"
        (event,) = play(world, [Tick("alice")])
        assert event.error == "ScenarioError: there is no device alice"


def test_an_epoch_that_is_published_while_servers_run_is_served(tmp_path: Path) -> None:
    operations = (
        Publish((LISTED,), 12),
        Start(),
        AddDevice("bob"),
        AddDevice("alice"),
        Publish((OTHER,), 12),
    )
    with World.create(tmp_path / "home", "hash-upload") as world:
        assert [event.error for event in play(world, operations, threads=True)] == [""] * len(operations)
        assert world.running == world.parties
        assert world.of("alice").watched.device.refresh() == 2
        sent = [world.send_picture("alice", "bob", data) for data in (LISTED, OTHER)]
        assert [str(one.outcome) for one in sent] == ["no match", "match"]


@pytest.mark.slow
@pytest.mark.usefixtures("quick_servers")
def test_a_server_that_is_killed_comes_back_with_what_it_had(tmp_path: Path) -> None:
    relay = Party.PROVIDER
    operations = (
        Publish((LISTED,), 12), Start(), AddDevice("bob"), AddDevice("alice"),
        SendText("alice", "bob", "before"), Kill("relay"), SendText("alice", "bob", "between"),
        Start(("relay",)), Flush("alice"), Receive("bob", 2),
    )  # fmt: skip
    with World.create(tmp_path / "home", "none") as world:
        events = list(play(world, operations))
        assert [event.operation for event in events if event.error] == []
        assert world.servers[relay].process.poll() is None
        assert [one.text for one in events[-1].result] == ["before", "between"]


def listed_counterpart(world: World) -> Counterpart:
    return counterpart(world, rows([Picture.from_bytes(LISTED).hash]))
