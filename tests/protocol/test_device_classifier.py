"""The classifier's design with a score of the test's own: what is flagged, and that nobody is asked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from blindmatch_protocol import contract as bm
from blindmatch_protocol.codec.randomness import seeded
from blindmatch_protocol.contract.design import told
from blindmatch_protocol.designs.device_classifier import THRESHOLD, DeviceClassifier
from blindmatch_protocol.picture.decode import Picture
from blindmatch_simulations.evaluation.conformance import Options, check_design
from blindmatch_simulations.testbed.inprocess.deployed import opened, publish
from support.declared import markdown

PAGE = Path(__file__).parents[2] / "docs" / "designs" / "device-classifier.md"


def white(item: bm.Item) -> float:
    """The share of pixels that are white."""
    return float((item.pixels == 255).all(axis=2).mean())


DESIGN = DeviceClassifier(white, 0.25)


def half_white(share: float) -> Picture:
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[: round(64 * share)] = 255
    return Picture.from_pixels(pixels)


@pytest.mark.parametrize(("share", "flagged"), [(0.0, False), (0.2, False), (0.25, True), (1.0, True)])
def test_a_picture_is_flagged_from_the_threshold_on_whatever_its_quality(share: float, flagged: bool) -> None:
    deployed = opened(publish(DESIGN, np.zeros((0, 32), np.uint8), seeded("set")))
    item = half_white(share)
    session = bm.Session(DESIGN, deployed.setup, bm.NoState(), seeded("device"))
    assert isinstance(session.start(item), bm.Ready)
    assert session.conclude() == (bm.Flag(share) if flagged else bm.NoMatch())
    assert DESIGN.relation.matches(item, np.zeros((0, 32), np.uint8)) == flagged


def test_a_set_for_another_threshold_is_refused() -> None:
    build = publish(DESIGN, np.zeros((0, 32), np.uint8), seeded("set"))
    assert DESIGN.stated(DESIGN.open_setup(build.setup_files)).parameters == {"threshold": 250_000}
    with pytest.raises(bm.SetFileError, match="another threshold"):
        DeviceClassifier(white, 0.5).open_setup(build.setup_files)


def test_nobody_is_asked_and_nothing_of_a_list_is_anywhere_but_a_device_tests_edits_by_itself() -> None:
    assert DESIGN.info.roles == {}
    assert DESIGN.alone
    for adversary in bm.Adversary:
        assert [fact.name for fact in told(DESIGN, frozenset({bm.Party.DEVICE}), adversary)] == [
            "every_score"
        ]
        assert told(DESIGN, frozenset({bm.Party.PROVIDER}), adversary) == ()
    assert DESIGN.list_knowledge(frozenset({bm.Party.DEVICE})) is bm.ListKnowledge.NOTHING


def test_the_page_has_the_declaration_and_says_what_it_is_not() -> None:
    page = PAGE.read_text()
    assert markdown(DeviceClassifier(white)) in page
    assert "tells nothing about a classifier of abuse" in " ".join(page.split())
    assert DeviceClassifier(white).relation.threshold == THRESHOLD


def test_what_is_declared_to_a_device_is_really_told_it() -> None:
    bright = DeviceClassifier(lambda item: float(item.pixels.mean() / 255), 0.5)
    (result,) = check_design(bright, Options(only=["tightness"])).results
    assert result.figures["recovered_by"] == {"device: every_score": "asking"}
