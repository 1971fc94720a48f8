from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from blindmatch_protocol.contract import Label, Learner, Party
from blindmatch_protocol.report import seal_report
from blindmatch_server.authority import Identity
from blindmatch_server.centre.assessment import Check, Outcome, describe
from blindmatch_server.centre.deployed import Deployed
from blindmatch_server.centre.keys import CentreKeys
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from .deployment import ALICE
from .designs_for_tests import Dummy
from .scene import ENTRY, EPOCH, HASH, LISTED, OTHER, Scene, message

FRANKING = Path(__file__).parent.parent / "vectors/franking-v2.json"


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_a_true_report_passes_every_check(scene: Scene) -> None:
    assessment = scene.assess(scene.report())
    assert assessment.outcome == (Outcome.PASSED, "")
    assert [describe(*item) for item in assessment.verdicts.items()] == [
        f"{c}: passed" for c in Check if c is not Check.ONCE
    ]
    assert (assessment.facts.pdq_distance, assessment.facts.second_distance) == (0, 0)
    assert assessment.facts.sent_at_ms == 17


OPENING = message()[1]


@pytest.mark.parametrize(
    ("changes", "check"),
    [
        ({"design": "provider-scan"}, Check.DESIGN),
        ({"version": 4}, Check.DESIGN),
        ({"epoch": 6}, Check.DESIGN),
        ({"reporter": "bob"}, Check.REPORTER),
        ({"sender": "eve"}, Check.REPORTER),
        ({"label": Label(HASH, ENTRY.entry_id, b"t" * 16)}, Check.LABEL),
        ({"label": Label(HASH, 1, ENTRY.salt)}, Check.LABEL),
        ({"label": Label(bytes(32), ENTRY.entry_id, ENTRY.salt)}, Check.LABEL),
        ({"picture": b"no picture"}, Check.PICTURE),
        ({"picture": b""}, Check.PICTURE),
        ({"picture": OTHER}, Check.RELATION),
        ({"opening": ()}, Check.FRANKING),
        ({"opening": (replace(OPENING, commitment=b"c" * 32),)}, Check.FRANKING),
        ({"opening": (message(picture=OTHER)[1],)}, Check.FRANKING),
        ({"opening": (message(sender="mallory")[1],)}, Check.FRANKING),
        ({"recipient": "carol"}, Check.FRANKING),
        ({"sent_at_ms": 18}, Check.FRANKING),
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


@pytest.mark.parametrize("missing", ["second", "references", "deployed", "epochs"])
def test_what_cannot_be_checked_neither_passes_nor_fails(scene: Scene, missing: str) -> None:
    left_out: dict[str, dict[str, Any]] = {
        "references": {"references": None},
        "deployed": {"deployed": None},
        "epochs": {"deployed": Deployed(Dummy(), frozenset)},
    }
    if missing == "second":
        scene.write(second=None)
    outcome, reason = scene.assess(scene.report(), **left_out.get(missing, {})).outcome
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


def test_a_report_of_version_1_is_refused_with_the_reason(scene: Scene) -> None:
    frozen = json.loads(FRANKING.read_text())["report-version-1"]
    scene.keys = replace(
        scene.keys, sealing=X25519PrivateKey.from_private_bytes(bytes.fromhex(frozen["key"]))
    )
    sealed, report_id = bytes.fromhex(frozen["sealed"]), bytes.fromhex(frozen["report_id"])
    outcome, reason = scene.verifier().assess(sealed, report_id, ALICE).outcome
    assert outcome is Outcome.FAILED
    assert "version 1, which opens the whole message, is not taken" in reason


def in_the_clear() -> Deployed:
    """A design whose matcher gets every picture."""
    design = Dummy()
    design.info = replace(design.info, sends_content=True)  # type: ignore[misc]
    return Deployed(design, lambda: {EPOCH})


def test_without_an_opening_a_report_is_good_where_its_reporter_sees_pictures_and_nowhere_else(
    scene: Scene,
) -> None:
    bare = scene.report(opening=())
    assert scene.assess(bare, deployed=in_the_clear()).outcome[0] is Outcome.FAILED
    filed = scene.report(opening=(), reporter="matcher", recipient="")
    matcher, relay = Identity.of(Party.MATCHER), Identity.of(Party.PROVIDER)
    assert scene.assess(filed, matcher, deployed=in_the_clear()).outcome[0] is Outcome.PASSED
    assert scene.assess(filed, matcher).outcome[0] is Outcome.FAILED
    by_relay = replace(filed, reporter="relay")
    assert scene.assess(by_relay, relay, deployed=in_the_clear()).outcome[1].startswith("reporter: ")
    named = replace(filed, recipient="bob")
    assert scene.assess(named, matcher, deployed=in_the_clear()).outcome[1].startswith("reporter: ")


def test_where_devices_learn_nothing_none_can_report(scene: Scene) -> None:
    deployed = in_the_clear()
    deployed.design.info = replace(deployed.design.info, learns=frozenset({Learner.SERVER}))  # type: ignore[misc]
    assert scene.assess(scene.report(), deployed=deployed).outcome[1].startswith("reporter: ")
