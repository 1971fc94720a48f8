"""The check of updates: what it makes, which wrong places it tries, and for whom it does not apply."""

from __future__ import annotations

import numpy as np
import pytest
from blindmatch_protocol.codec.errors import SetFileError
from blindmatch_protocol.designs import hash_upload, oprf_psi
from blindmatch_protocol.setfile import SetFile
from blindmatch_simulations.evaluation.conformance import Options, Verdict, check_design
from blindmatch_simulations.evaluation.conformance.fixtures import Fixtures, rows_of
from blindmatch_simulations.evaluation.conformance.updates import changed, renamed
from blindmatch_simulations.testbed.inprocess.deployed import entry_id, opened, run_session, update
from msgspec.structs import replace


def test_a_design_that_is_published_whole_has_no_updates_to_check() -> None:
    (result,) = check_design(hash_upload.DESIGN, Options(only=["update"])).results
    assert result.verdict is Verdict.NOT_APPLICABLE
    assert "published whole" in result.reason


def test_every_wrong_place_of_a_delta_is_tried() -> None:
    (result,) = check_design(oprf_psi.DESIGN, Options(only=["update"])).results
    assert result.verdict is Verdict.PASSED, result.reason
    assert result.figures["misplaced"] == 13
    assert result.figures["damaged"] >= 40


def test_ids_are_those_of_the_rows() -> None:
    fixtures = Fixtures(oprf_psi.DESIGN)
    one = fixtures.pool.of("listed")[1]
    row = int((fixtures.pool.entries == np.frombuffer(one.item.hash, np.uint8)).all(axis=1).argmax())
    match = fixtures.honest[one.name].outcome
    assert match.label.entry_id == entry_id(row)  # type: ignore[union-attr]
    after = update(fixtures.build, rows_of(fixtures.pool.of("other")[0]), [entry_id(row)], fixtures.rng("u"))
    added = run_session(opened(after), fixtures.pool.of("other")[0].item, fixtures.rng("s")).outcome
    assert added.label.entry_id == entry_id(0, 2)  # type: ignore[union-attr]
    assert list(changed(fixtures.build, after)) == ["delta-0000000002.bin"]


def test_a_renamed_set_file_is_whole_and_of_another_design() -> None:
    raw = Fixtures(oprf_psi.DESIGN).build.files["set.bin"]
    other = renamed(raw)
    SetFile(other, "set.bin", "another-design", oprf_psi.DESIGN.info.version).verify()
    with pytest.raises(SetFileError, match="for design another-design"):
        oprf_psi.DESIGN.open_setup({"set.bin": other})
    assert renamed(b"plain") == bytes([ord("p") ^ 1]) + b"lain"


class OwnName(type(oprf_psi.DESIGN)):  # type: ignore[misc]
    """oprf-psi under a name of its own; its files keep theirs."""

    info = replace(oprf_psi.DESIGN.info, name="own-name")


def test_an_update_of_a_design_under_another_name_is_checked_as_well() -> None:
    (result,) = check_design(OwnName(), Options(only=["update"])).results
    assert result.verdict is Verdict.PASSED, result.reason
