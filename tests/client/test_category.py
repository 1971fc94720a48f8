"""A design that recognises a category on the device: a flag, which has no label."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from blindmatch_client.device import OutcomeKind
from blindmatch_client.errors import ReportRefusedError
from blindmatch_client.reports.reporting import ConfirmedMatch
from blindmatch_client.settings import Consequence
from blindmatch_client.store.outbox import decode_outcome, encode_outcome
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.contract import NO_LABEL, UNBOUND, Category, Done, Flag, NoMatch, Party, Started
from blindmatch_protocol.picture.decode import Picture
from blindmatch_simulations.evaluation.conformance.correctness import check_outcomes
from blindmatch_simulations.evaluation.conformance.determinism import check_tape
from blindmatch_simulations.evaluation.conformance.fixtures import Fixtures
from blindmatch_simulations.evaluation.conformance.hand_over import check_hand_over
from blindmatch_simulations.testbed.inprocess.verdict import BrokenError, NotComparableError
from dummy_designs import BRIGHT, VOUCHERS, Bright, brightness
from msgspec.structs import replace
from PIL import Image
from support.fakes import World, hashes_with

MakeWorld = Callable[..., World]


def plain(level: int) -> bytes:
    """A picture of one grey."""
    out = io.BytesIO()
    Image.new("RGB", (64, 64), (level, level, level)).save(out, "PNG")
    return out.getvalue()


class Blind(Bright):
    """Flags nothing."""

    def start(self, state, setup, item, binding, rng):  # type: ignore[no-untyped-def]
        return Started(state, Done(NoMatch()))


class Careless(Bright):
    """Does not look at the quality."""

    info = replace(Bright.info, relation=Category("very bright", 0.9, brightness))

    def start(self, state, setup, item, binding, rng):  # type: ignore[no-untyped-def]
        score = brightness(item)
        return Started(state, Done(Flag(score) if score >= 0.9 else NoMatch()))


class Wrong(Bright):
    """Flags everything."""

    def start(self, state, setup, item, binding, rng):  # type: ignore[no-untyped-def]
        return Started(state, Done(Flag(1.0)))


def test_a_flag_is_reported_without_a_label_and_told_to_the_user(make_world: MakeWorld) -> None:
    world = make_world(BRIGHT, hashes_with())
    world.device("bob")
    alice = world.device("alice")
    dark, bright = (alice.device.send_picture("bob", plain(level)) for level in (20, 240))
    assert (dark.outcome, dark.notice) == (OutcomeKind.NO_MATCH, "")
    assert bright.outcome is OutcomeKind.FLAG and bright.delivered and bright.reported
    assert "one of the category bright" in bright.notice and "list of known" not in bright.notice
    (report,) = world.centre.reports
    assert report.flag is not None and report.flag.score == pytest.approx(240 / 255, abs=0.01)
    assert report.label == NO_LABEL and report.picture == plain(240)
    assert world.matcher.asked == []


def test_a_flag_is_told_to_the_user_alone_by_a_device_that_warns(make_world: MakeWorld) -> None:
    world = make_world(BRIGHT, hashes_with())
    world.device("bob")
    alice = world.device("alice", consequence=Consequence.WARN)
    bright = alice.device.send_picture("bob", plain(240))
    assert bright.delivered and bright.report_id is None and "category bright" in bright.notice
    assert alice.methods(Party.CENTRE) == ["Key"]


def test_a_flag_that_the_category_denies_is_no_report() -> None:
    dark = Picture.from_bytes(plain(20))
    with pytest.raises(ReportRefusedError, match="not of the category"):
        ConfirmedMatch(BRIGHT, 1, dark, 0, Flag(0.9))


def test_a_flag_that_the_category_denies_is_a_breach(make_world: MakeWorld) -> None:
    world = make_world(Wrong(), hashes_with())
    world.device("bob")
    sent = world.device("alice").device.send_picture("bob", plain(20))
    assert sent.outcome is OutcomeKind.DUE and "only an item of the category" in sent.notice


def test_a_flag_is_stored_and_read_back_whole() -> None:
    assert decode_outcome(BRIGHT, encode_outcome(Flag(0.75))) == Flag(0.75)
    for broken in (b"\x04", b"\x04" + bytes(7), b"\x05"):
        with pytest.raises(ProtocolError, match=r"five kinds|finite number"):
            decode_outcome(BRIGHT, broken)


def test_conformance_holds_flags_against_the_oracle() -> None:
    passed = check_outcomes(Fixtures(BRIGHT))
    assert passed.figures["pictures"] > passed.figures["matching"] > 0
    with pytest.raises(BrokenError, match="a flag that the oracle denies"):
        check_outcomes(Fixtures(Wrong()))
    with pytest.raises(BrokenError, match="a picture of the category is not flagged"):
        check_outcomes(Fixtures(Blind()))


def test_conformance_tries_pictures_that_are_too_poor_for_the_category() -> None:
    with pytest.raises(BrokenError, match="a flag that the oracle denies") as broken:
        check_outcomes(Fixtures(Careless()))
    assert broken.value.evidence["kind"] == "category"


@pytest.mark.parametrize(("base", "threshold"), [(Wrong, 0.0), (Blind, 1.5)])
def test_conformance_says_that_no_picture_tells_a_category_apart(
    base: type[Bright], threshold: float
) -> None:
    relation = Category("bright", threshold, brightness, minimum_quality=0)
    one_sided = type("OneSided", (base,), {"info": replace(Bright.info, relation=relation)})()
    with pytest.raises(NotComparableError, match=r"39 pictures tried are of the category bright"):
        check_outcomes(Fixtures(one_sided))


class White(Careless):
    """Recognises what no picture of the pool is."""

    info = replace(Bright.info, relation=Category("very bright", 0.9, brightness, minimum_quality=0))


class WhiteOutsideMessages(White):
    """Flags no picture of a message that it is told of."""

    def start(self, state, setup, item, binding, rng):  # type: ignore[no-untyped-def]
        if binding == UNBOUND:
            return super().start(state, setup, item, binding, rng)
        return Started(state, Done(NoMatch()))


class Told(WhiteOutsideMessages):
    """Has vouchers, and so is told."""

    vouchers = VOUCHERS.vouchers


def test_conformance_hands_over_a_picture_of_the_category_where_the_pool_has_none() -> None:
    for design in (White(), WhiteOutsideMessages()):
        passed = check_hand_over(Fixtures(design))
        assert passed.reason.startswith("a device that refuses sent nothing of 1 messages with a match")
    with pytest.raises(BrokenError, match="a device does not flag a file of the category"):
        check_hand_over(Fixtures(Told()))


def test_conformance_tries_pictures_of_the_category_in_messages_where_the_pool_has_none() -> None:
    for design in (White(), WhiteOutsideMessages()):
        check_tape(Fixtures(design))
    with pytest.raises(BrokenError, match="the message that a picture is in decides the outcome"):
        check_tape(Fixtures(Told()))
