from __future__ import annotations

import json
from math import nextafter
from pathlib import Path
from typing import Any

import pytest
from blindmatch_proofs.verdict import Failed
from blindmatch_protocol.contract import NO_LABEL, Category, Content, Flag, Item, Label, Learner, Party
from blindmatch_protocol.messages.report import seal_report
from blindmatch_server.centre.assessment import Check, Outcome, describe
from blindmatch_server.centre.keys import CentreKeys, Deployed
from blindmatch_server.hosting.authority import Identity
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from msgspec.structs import replace

from .deployment import ALICE
from .designs_for_tests import Dummy
from .scene import ENTRY, EPOCH, HASH, LISTED, OTHER, Scene, message

FRANKING = Path(__file__).parent.parent / "vectors/franking-v2.json"


def test_a_true_report_passes_every_check(scene: Scene) -> None:
    assessment = scene.assess(scene.report())
    assert assessment.outcome == (Outcome.PASSED, "")
    assert [describe(*item) for item in assessment.verdicts.items()] == [
        "sender: not available: messages are stamped here, and no more"
        if c is Check.SENDER
        else f"{c}: passed"
        for c in Check
        if c is not Check.ONCE
    ]
    assert (assessment.facts.pdq_distance, assessment.facts.second_distance) == (0, 0)
    assert assessment.facts.sent_at_ms == 17


OPENING = message().opening


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
        ({"opening": (message(picture=OTHER).opening,)}, Check.FRANKING),
        ({"opening": (message(sender="mallory").opening,)}, Check.FRANKING),
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


def test_a_label_of_the_list_that_is_not_endorsed_in_its_epoch_fails(scene: Scene) -> None:
    asked: list[tuple[int, Label]] = []

    def endorsed(epoch: int, label: Label) -> Failed:
        asked.append((epoch, label))
        return Failed("no organisation has endorsed the entry")

    deployed = Deployed(Dummy(), lambda: {5, EPOCH}, endorsed)
    report = scene.report()
    assert scene.assess(report, deployed=deployed).outcome == (
        Outcome.FAILED,
        "label: no organisation has endorsed the entry",
    )
    assert asked == [(report.epoch, report.label)]


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
    sealed = scene.seal(scene.report())
    report_id = scene.report().report_id
    if how == "other key":
        other = CentreKeys.create(tmp_path / "other")
        sealed = seal_report(scene.report(), other.public_key)
    changed = {"flipped": sealed[:-1] + bytes([sealed[-1] ^ 1]), "empty": b"", "not a report": b"x" * 99}
    report_id = b"i" * 16 if how == "other id" else report_id
    assessment = scene.verifier().assess(changed.get(how, sealed), report_id, ALICE)
    assert assessment.outcome[0] is Outcome.FAILED
    assert list(assessment.verdicts) == [Check.SEALED]


def test_a_report_of_version_1_is_refused(scene: Scene) -> None:
    frozen = json.loads(FRANKING.read_text())["report-version-1"]
    scene.keys = replace(
        scene.keys, sealing=X25519PrivateKey.from_private_bytes(bytes.fromhex(frozen["key"]))
    )
    sealed = bytes.fromhex(frozen["sealed"])
    report_id = bytes.fromhex(frozen["report_id"])
    outcome, reason = scene.verifier().assess(sealed, report_id, ALICE).outcome
    assert outcome is Outcome.FAILED
    assert "must be sealed to this centre" in reason


def recognising(threshold: float = 0.25) -> Deployed:
    """A design that recognises a category, of which `LISTED` is one by 0.5."""
    design = Dummy()
    scores = {HASH: 0.5}
    bright = Category("bright", threshold, lambda item: scores.get(item.hash, 0.0), minimum_quality=0)
    design.info = replace(design.info, relation=bright)  # type: ignore[misc]
    return Deployed(design, lambda: {EPOCH})


FLAGGED: dict[str, Any] = {"label": NO_LABEL, "score": Flag(0.75).encode()}


def test_a_flag_is_reported_without_an_entry_where_a_category_is_recognised(scene: Scene) -> None:
    assessment = scene.assess(scene.report(**FLAGGED), deployed=recognising())
    assert assessment.outcome == (Outcome.PASSED, "")
    lines = [describe(*item) for item in assessment.verdicts.items()]
    assert [line for line in lines if not line.endswith(": passed")] == [
        "label: not available: a flag has no entry",
        "sender: not available: messages are stamped here, and no more",
        "second: not available: a flag has no entry",
    ]
    assert assessment.facts.score == 0.5, "the centre's own, not what the report says"
    assert (assessment.facts.entry_id, assessment.facts.pdq_distance) == (0, None)


@pytest.mark.parametrize(
    ("changes", "deployed", "reason"),
    [
        (FLAGGED, None, "label: a flag is reported where a category is recognised, and nowhere else"),
        ({}, recognising(), "label: where a category is recognised flags are reported, and nothing else"),
        (FLAGGED, recognising(0.6), "relation: the picture is not of the category bright >= 0.6"),
        (FLAGGED | {"opening": ()}, recognising(), "franking: no commitment is opened"),
        (FLAGGED | {"label": ENTRY}, recognising(), "sealed: report: field label: must be all zeros"),
        (FLAGGED | {"score": b"1234567"}, recognising(), "sealed: report: field score: must be a finite"),
        (FLAGGED | {"score": Flag(float("nan")).encode()}, recognising(), "sealed: report: field score"),
        (FLAGGED | {"score": Flag(float("-inf")).encode()}, recognising(), "sealed: report: field score"),
        (FLAGGED | {"score": Flag(float("inf")).encode()}, recognising(), "sealed: report: field score"),
        (
            FLAGGED,
            recognising(nextafter(0.5, 1)),
            "relation: the picture is not of the category bright >= 0.5",
        ),
        (FLAGGED | {"picture": OTHER}, recognising(), "relation: the picture is not of the category"),
    ],
)
def test_a_flag_that_is_none_fails(
    scene: Scene, changes: dict[str, Any], deployed: Deployed | None, reason: str
) -> None:
    told = {} if deployed is None else {"deployed": deployed}
    outcome, why = scene.assess(scene.report(**changes), **told).outcome
    assert outcome is Outcome.FAILED
    assert why.startswith(reason)


def test_a_flag_is_scored_once_and_what_it_claims_of_itself_does_not_matter(scene: Scene) -> None:
    scored: list[bytes] = []

    def score(item: Item) -> float:
        scored.append(item.hash)
        return 0.5

    deployed = recognising(0.5)
    bright = replace(deployed.design.info.relation, score=score)
    deployed.design.info = replace(deployed.design.info, relation=bright)  # type: ignore[misc]
    for claimed in (0.0, -1.0, 1e308):
        report = scene.report(**FLAGGED | {"score": Flag(claimed).encode()})
        assessment = scene.assess(report, deployed=deployed)
        assert (assessment.outcome, assessment.facts.score) == ((Outcome.PASSED, ""), 0.5)
    assert scored == [HASH] * 3


def in_the_clear() -> Deployed:
    """A design whose matcher gets every picture."""
    design = Dummy()
    design.info = replace(design.info, sends_content=Content.CLEAR)  # type: ignore[misc]
    return Deployed(design, lambda: {EPOCH})


def test_without_an_opening_a_report_is_good_where_its_reporter_sees_pictures_and_nowhere_else(
    scene: Scene,
) -> None:
    bare = scene.report(opening=())
    assert scene.assess(bare, deployed=in_the_clear()).outcome[0] is Outcome.FAILED
    filed = scene.report(opening=(), reporter="matcher", recipient="")
    matcher = Identity.of(Party.MATCHER)
    relay = Identity.of(Party.PROVIDER)
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
