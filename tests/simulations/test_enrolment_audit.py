"""The audit derives enrolments again: whatever else a role is sent as one is undeclared egress."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from blindmatch_client.egress.calls import ENROL
from blindmatch_client.trace import EgressRecord
from blindmatch_protocol.codec.randomness import seeded
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from blindmatch_simulations.testbed.audit import Counterpart, Evidence, Told
from blindmatch_simulations.testbed.audit.replay import check_enrolments
from dummy_designs import MASKED
from msgspec.structs import replace
from support.fakes import World, hashes_with, picture

HASHES = hashes_with(picture(1))
Case = tuple[Counterpart, Evidence]


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    world = World(Path(tmp_path_factory.mktemp("world")), MASKED, HASHES)
    alice = world.device("alice")
    epoch = world.matcher.epoch
    setup = MASKED.open_setup(epoch.setup, epoch.number)
    yield (
        Counterpart(MASKED, setup, epoch.states, HASHES, seeded("audit")),
        Evidence(
            account="alice",
            told=Told(registered=1),
            records=alice.recorder.records(),
            traces=(),
            items={},
            pool=(),
            enrolments=alice.traced.enrolments,
        ),
    )
    world.close()


def findings(case: Case, records: list[EgressRecord] | None = None) -> list[str]:
    counterpart, evidence = case
    return [
        found.rule
        for found in check_enrolments(counterpart, replace(evidence, records=records or evidence.records))
    ]


def changed(case: Case, change: Callable[[pb.EnrolPart], None], at: int = -1) -> list[EgressRecord]:
    records = []
    for record in case[1].records:
        if record.method == ENROL.path:
            parts = [pb.EnrolPart.FromString(raw) for raw in record.requests]
            change(parts[at])
            raws = tuple(part.SerializeToString(deterministic=True) for part in parts)
            record = replace(record, requests=raws)
        records.append(record)
    return records


def test_an_enrolment_that_its_tape_gives_is_explained(case: Case) -> None:
    assert findings(case) == []


def in_data(part: pb.EnrolPart) -> None:
    part.data = part.data[:-8] + b"leaked!!"


def in_key(part: pb.EnrolPart) -> None:
    part.head.key = b"leaked!!"


def in_offset(part: pb.EnrolPart) -> None:
    part.offset = 7


@pytest.mark.parametrize(("change", "at"), [(in_data, -1), (in_data, 0), (in_key, 0), (in_offset, -1)])
def test_bytes_that_no_tape_gives_are_found_wherever_they_stand(
    case: Case, change: Callable[[pb.EnrolPart], None], at: int
) -> None:
    assert findings(case, changed(case, change, at)) == ["an enrolment that no tape explains"]


def test_an_enrolment_that_is_sent_again_and_again_is_found(case: Case) -> None:
    again = [record for record in case[1].records if record.method == ENROL.path]
    assert "enrolled more often than declared" in findings(case, [*case[1].records, *again * 4])


def test_an_enrolment_that_does_not_come_from_its_tape_is_found(case: Case) -> None:
    counterpart, evidence = case
    (trace,) = evidence.enrolments
    other = replace(evidence, enrolments=[replace(trace, tape=bytes(len(trace.tape)))])
    rules = [found.rule for found in check_enrolments(counterpart, other)]
    assert rules == ["an enrolment cannot be derived again from its tape"]
