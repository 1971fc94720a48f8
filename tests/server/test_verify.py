from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from blindmatch_protocol.contract import Label
from blindmatch_protocol.report import seal_report
from blindmatch_server.authority import Identity, Kind
from blindmatch_server.centre.keys import CentreKeys
from blindmatch_server.centre.verify import Check, Outcome, describe

from .deployment import ALICE
from .designs_for_tests import Dummy
from .scene import ENTRY, HASH, LISTED, OTHER, Scene


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_a_true_report_passes_every_check(scene: Scene) -> None:
    assessment = scene.assess(scene.report())
    assert assessment.outcome == (Outcome.PASSED, "")
    assert [describe(*item) for item in assessment.verdicts.items()] == [f"{c}: passed" for c in Check]
    assert (assessment.facts.pdq_distance, assessment.facts.second_distance) == (0, 0)
    assert assessment.facts.sent_at_ms == 17


@pytest.mark.parametrize(
    ("changes", "check"),
    [
        ({"reporter": "bob"}, Check.REPORTER),
        ({"sender": "eve", "recipient": "bob"}, Check.REPORTER),
        ({"label": Label(HASH, ENTRY.entry_id, b"t" * 16)}, Check.LABEL),
        ({"label": Label(HASH, 1, ENTRY.salt)}, Check.LABEL),
        ({"label": Label(bytes(32), ENTRY.entry_id, ENTRY.salt)}, Check.LABEL),
        ({"picture": b"no picture"}, Check.PICTURE),
        ({"picture": b""}, Check.PICTURE),
        ({"picture": OTHER}, Check.RELATION),
        ({"commitment": b"c" * 32}, Check.FRANKING),
        ({"commitment": b"", "opening": b""}, Check.FRANKING),
        ({"opening": b"junk"}, Check.FRANKING),
        ({"recipient": "carol"}, Check.FRANKING),
        ({"attachment": 1}, Check.FRANKING),
        ({"media_type": "image/jpeg"}, Check.FRANKING),
        ({"picture": LISTED + b"\x00"}, Check.FRANKING),
    ],
)
def test_a_report_that_is_not_true_fails_for_the_reason_of_the_first_check_that_fails(
    scene: Scene, changes: dict[str, Any], check: Check
) -> None:
    outcome, reason = scene.assess(scene.report(**changes)).outcome
    assert outcome is Outcome.FAILED
    assert reason.startswith(f"{check}: ")


def test_a_picture_that_collides_in_the_first_hash_is_caught_by_the_second(scene: Scene) -> None:
    scene.write(second=OTHER)
    outcome, reason = scene.assess(scene.report()).outcome
    assert (outcome, reason) == (Outcome.FAILED, "second: the second hash says another picture")


@pytest.mark.parametrize("missing", ["second", "references", "design", "version"])
def test_what_cannot_be_checked_neither_passes_nor_fails(scene: Scene, missing: str) -> None:
    left_out: dict[str, dict[str, Any]] = {"references": {"references": None}, "design": {"designs": {}}}
    changes = left_out.get(missing, {})
    if missing == "second":
        scene.write(second=None)
    report = scene.report(version=4) if missing == "version" else scene.report()
    outcome, reason = scene.assess(report, **changes).outcome
    assert outcome is Outcome.UNAVAILABLE
    assert reason


@pytest.mark.parametrize("how", ["other key", "other id", "flipped", "empty", "not a report"])
def test_what_does_not_open_fails(scene: Scene, how: str, tmp_path: Path) -> None:
    sealed, report_id = scene.seal(scene.report()), scene.report().report_id
    if how == "other key":
        other = CentreKeys.create(tmp_path / "other")
        sealed = seal_report(scene.report(), other.public_key)
    changed = {"flipped": sealed[:-1] + bytes([sealed[-1] ^ 1]), "empty": b"", "not a report": b"x" * 99}
    report_id = b"i" * 16 if how == "other id" else report_id
    assessment = scene.verifier().assess(changed.get(how, sealed), report_id, ALICE)
    assert assessment.outcome[0] is Outcome.FAILED
    assert list(assessment.verdicts) == [Check.SEALED]


def test_a_device_cannot_leave_out_the_commitment_by_naming_a_design_without_encryption(scene: Scene) -> None:
    design = Dummy()
    design.info = replace(design.info, sends_content=True)  # type: ignore[misc]
    bare = scene.report(commitment=b"", opening=b"")
    assert scene.assess(bare, designs={"dummy": design}).outcome[0] is Outcome.FAILED
    filed = scene.report(commitment=b"", opening=b"", reporter="relay")
    relay = Identity(Kind.RELAY)
    assert scene.assess(filed, relay, designs={"dummy": design}).outcome[0] is Outcome.PASSED
    assert scene.assess(filed, relay).outcome[0] is Outcome.FAILED
