"""The audit opens every report that left, and finds whatever it opens beyond the picture that matched."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from blindmatch_client.reports.reporting import Reporting
from blindmatch_client.trace import EgressRecord, Purpose, SessionTrace
from blindmatch_protocol.contract import Label
from blindmatch_protocol.messages.content import pad_attachment
from blindmatch_protocol.messages.franking import LEAF_LENGTH, opened_commitment
from blindmatch_protocol.messages.report import (
    SLOT_SIZES,
    Report,
    Slot,
    capacity,
    fragment,
    fragments_of,
    open_report,
    seal_report,
    seal_slot,
)
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from blindmatch_simulations.testbed.audit.audit import check_opened, count_reports
from blindmatch_simulations.testbed.audit.records import Evidence, Finding, Told
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from dummy_designs import ECHO
from msgspec.structs import replace
from support.fakes import STAMP_KEY, World, hashes_with, picture

LISTED = picture(1)
OTHER = picture(2)
SIZE = SLOT_SIZES[0]
TEXT = "words that are nobody's business"


@dataclass
class Run:
    """What a device recorded of sending two pictures with a text, and the key that opens its reports."""

    records: Sequence[EgressRecord]
    traces: Sequence[SessionTrace]
    centre: X25519PrivateKey

    def findings(self, records: Sequence[EgressRecord] | None = None) -> tuple[list[Finding], int]:
        # device and seam have a clock each here, which count how often they were read
        timed = [replace(r, at_ms=r.at_ms + 1000 * (n > 0)) for n, r in enumerate(records or self.records)]
        known = Evidence(
            "alice",
            Told(frozenset({"bob", "carol"})),
            timed,
            self.traces,
            {},
            [],
            drawn=[bytes(16)],
            files={0: OTHER, 1: LISTED},
            centre=self.centre,
            stamp_key=STAMP_KEY,
        )
        return list(check_opened(ECHO, 1, known)), count_reports(known) or 0

    @property
    def submitted(self) -> EgressRecord:
        (record,) = [record for record in self.records if record.purpose is Purpose.REPORT]
        return record

    @property
    def sealed(self) -> tuple[bytes, bytes]:
        parts = [pb.SubmitPart.FromString(raw) for raw in self.submitted.requests]
        return parts[0].report_id, b"".join(part.part.data for part in parts)

    def with_body(self, body: bytes) -> list[EgressRecord]:
        """The records, with another sealed report in place of the one."""
        return self.with_records([replace(self.submitted, requests=(_part(self.sealed[0], body),))])

    def with_records(self, instead: list[EgressRecord]) -> list[EgressRecord]:
        return [record for record in self.records if record != self.submitted] + instead


def _part(report_id: bytes, body: bytes) -> bytes:
    part = pb.SubmitPart(report_id=report_id, part=pb.Part(size=len(body), data=body))
    return part.SerializeToString(deterministic=True)


def run_of(folder: Path, group: Sequence[str] = ("bob",)) -> Run:
    world = World(folder, ECHO, hashes_with(LISTED))
    try:
        for name in group:
            world.device(name)
        alice = world.device("alice")
        for data in (OTHER, LISTED):
            alice.device.send_picture_to(group, data, TEXT)
        return Run(alice.recorder.records(), alice.traces, world.centre.key)
    finally:
        world.close()


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    yield run_of(tmp_path_factory.mktemp("honest"))


def test_an_honest_device_opens_what_it_may(honest: Run) -> None:
    assert honest.findings() == ([], 1)


def test_a_report_that_names_none_of_a_group_opens_what_it_may(tmp_path: Path) -> None:
    assert run_of(tmp_path, ("bob", "carol")).findings() == ([], 1)


def in_slots(run: Run, slots: Sequence[Slot]) -> tuple[set[str], int]:
    """Rules that are broken, and how many reports there are, where these slots left in the report's place."""
    key = run.centre.public_key().public_bytes_raw()
    records = []
    for number, slot in enumerate(slots):
        name = number.to_bytes(16, "big")
        requests = (_part(name, seal_slot(slot, name, key)),)
        records.append(replace(run.submitted, purpose=Purpose.COVER, item=None, requests=requests))
    findings, opened = run.findings(run.with_records(records))
    return {finding.rule for finding in findings}, opened


def fragments(run: Run) -> list[Slot]:
    report_id, body = run.sealed
    return [fragment(body, report_id, at, SIZE) for at in range(fragments_of(len(body), SIZE))]


def test_a_report_in_slots_is_put_together_and_opened(honest: Run) -> None:
    slots = fragments(honest)
    assert len(slots) > 1
    empty = Slot(bytes(16), 0, 0, b"", bytes(capacity(SIZE)))
    assert in_slots(honest, [empty, *slots, slots[0]]) == (set(), 1)


def test_what_a_slot_bears_beside_a_whole_report_is_found(honest: Run) -> None:
    """A picture that matches nothing goes to the centre by pieces, in slots that no report comes of."""
    slots = fragments(honest)
    room = capacity(SIZE)
    told = hashlib.sha256(OTHER).digest()
    empty = "an empty slot bears something"
    assert in_slots(honest, [*slots, Slot(told[:16], 0, 0, b"", bytes(room))]) == ({empty}, 1)
    assert in_slots(honest, [*slots, Slot(bytes(16), 77, 0, b"", bytes(room))]) == ({empty}, 1)
    part = "fragments of a report that did not leave whole"
    assert in_slots(honest, slots[1:]) == ({part}, 0)
    other = replace(slots[0], data=told.ljust(len(slots[0].data), b"\1"))
    assert in_slots(honest, [other, *slots]) == ({"a slot bears another fragment than before"}, 1)


def stuffed(report: Report) -> Report:
    """The text in the place of a leaf that nobody can open, under a commitment that fits."""
    (opening,) = report.opening
    closed = (opening.closed[0], TEXT.encode()[:LEAF_LENGTH].ljust(LEAF_LENGTH), *opening.closed[2:])
    opening = replace(opening, closed=closed)
    made = opened_commitment(replace(report, opening=(opening,)).evidence)
    return replace(report, opening=(replace(opening, commitment=made),))


CHEATS: dict[str, tuple[Callable[[Report], Report], str]] = {
    "behind the picture": (lambda r: replace(r, picture=r.picture + TEXT.encode()), "another picture"),
    "another picture": (lambda r: replace(r, picture=OTHER), "another picture"),
    "in the media type": (lambda r: replace(r, media_type=f"image/png; {TEXT}"), "more than a media type"),
    "in place of the recipient": (
        lambda r: replace(r, recipient=TEXT),
        "a recipient to whom",
    ),
    "in place of the sender": (lambda r: replace(r, sender="carol"), "another sender"),
    "in the time": (lambda r: replace(r, sent_at_ms=int.from_bytes(TEXT.encode()[:8], "big")), "a time"),
    "in the label": (lambda r: replace(r, label=Label(bytes(32), 7, TEXT.encode()[:16])), "a finding"),
    "in a closed leaf": (stuffed, "parts of a message that did not leave"),
    "without an opening": (lambda r: replace(r, opening=()), "parts of a message that did not leave"),
    "in the stamp": (
        lambda r: replace(r, stamp=(replace(r.stamp[0], mac=TEXT.encode().ljust(32)),)),
        "in place of the relay's stamp",
    ),
    "in the stamp's message id": (
        lambda r: replace(r, stamp=(replace(r.stamp[0], message_id=TEXT.encode()[:16]),)),
        "in place of the relay's stamp",
    ),
    "without a stamp": (lambda r: replace(r, stamp=()), "in place of the relay's stamp"),
    "in the epoch": (lambda r: replace(r, epoch=7), "names another design or epoch"),
}


@pytest.mark.parametrize("name", CHEATS)
def test_a_report_that_opens_anything_else_is_found(honest: Run, name: str) -> None:
    change, rule = CHEATS[name]
    report = change(open_report(honest.sealed[1], honest.sealed[0], honest.centre))
    body = seal_report(report, honest.centre.public_key().public_bytes_raw())
    findings, opened = honest.findings(honest.with_body(body))
    assert opened == 1
    assert any(rule in finding.rule for finding in findings), findings


def test_a_report_that_opens_the_whole_message_as_version_1_did_is_found(honest: Run) -> None:
    suite = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
    plain = pad_attachment(TEXT.encode())
    body = suite.encrypt(plain, honest.centre.public_key(), b"blindmatch/report/1" + honest.sealed[0])
    (finding,), _ = honest.findings(honest.with_body(body))
    assert "must be sealed to this centre" in finding.rule


def test_a_device_that_opens_the_text_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Reporting._build_report
    monkeypatch.setattr(Reporting, "_build_report", lambda *given: stuffed(made(*given)))
    findings, _ = run_of(tmp_path).findings()
    assert "a report opens parts of a message that did not leave" in {finding.rule for finding in findings}
