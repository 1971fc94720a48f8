"""Each kind of binding hides the picture by itself: what one kind leaks is not hidden by the others."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import pytest
from blindmatch_protocol import contract as bm
from blindmatch_protocol.codec.randomness import Randomness, seeded
from blindmatch_protocol.designs.voprf.round import CertifyRequest
from blindmatch_simulations.evaluation.conformance import Options, check_design
from blindmatch_simulations.evaluation.conformance.leakage.bindings import list_binding_kinds
from blindmatch_simulations.testbed.deployment.registry import load_design
from blindmatch_simulations.testbed.inprocess.verdict import Verdict
from dummy_designs import VOUCHERS
from planted.mutations.hooks import About, PaddedPsi
from planted.mutations.kinds import AbsenceBlind, UnderAbsence
from planted.mutations.pinned import evidence_of, vouchers_that_draw
from planted.mutations.table import CHEATS
from planted.vouchers import BYTES as ROOM


def relations(design: bm.AnyDesign) -> Any:
    (result,) = check_design(design, Options(only=["relations"])).results
    return result


@pytest.mark.parametrize("cheat", [AbsenceBlind, UnderAbsence])
def test_what_a_proof_of_absence_alone_leaks_is_found(cheat: type[Any]) -> None:
    result = relations(cheat())
    assert result.verdict is Verdict.FAILED
    assert "as published, for a proof of absence" in result.step


def test_what_vouchers_of_one_type_of_file_leak_is_found() -> None:
    name = "pixels under a digest in vouchers of one type of file"
    (cheat,) = (one for one in CHEATS if one.name == name)
    result = relations(cheat.weakness())
    assert result.verdict is Verdict.FAILED
    assert "image/webp to an unnamed recipient" in result.step


class LongerAbsence(PaddedPsi):
    """More filler, and bits of the request in it, where a proof of absence is asked for."""

    def padding(self, about: About, rng: Randomness) -> bytes:
        filler = rng.take(32)
        return filler + about.sent[-16:] if about.sent[0] == CertifyRequest.TAG else filler[:8]


def test_a_question_that_shows_its_kind_and_nothing_else_raises_no_alarm() -> None:
    result = relations(LongerAbsence())
    assert result.verdict is Verdict.PASSED, result.rule


def _by_type(item: bm.Item, binding: bm.Binding, rng: Randomness) -> bytes:
    shown = evidence_of(binding)
    digest = sha256(rng.take(16)).digest()[: ROOM // 2]
    return digest + (digest if shown and shown.attachment.media_type == "image/png" else bytes(ROOM // 2))


def test_vouchers_that_differ_by_type_of_file_and_not_by_picture_raise_no_alarm() -> None:
    result = relations(vouchers_that_draw(_by_type)())
    assert result.verdict is Verdict.PASSED, result.rule


def test_kinds_of_messages_have_each_type_of_file_and_both_ways_to_name_a_recipient() -> None:
    found = [evidence_of(kind.draw(seeded("a kind"))) for kind in list_binding_kinds(VOUCHERS)]
    shown = [(one.attachment.media_type, bool(one.recipient)) for one in found if one is not None]
    assert shown == [("image/jpeg", True), ("image/png", True), ("image/webp", False)]


def test_a_design_without_vouchers_is_asked_for_a_proof_of_absence_and_without_one() -> None:
    kinds = list_binding_kinds(load_design("oprf-psi"))
    assert [kind.draw(seeded("a kind")) for kind in kinds] == [bm.UNBOUND, bm.CERTIFYING]
