"""Figures of a design are counted from its rows, with intervals; charts and rankings are made from them."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from blindmatch_proofs.endorsement import Action
from blindmatch_proofs.endorsement.batch import Batch, build_batch
from blindmatch_proofs.endorsement.verify import EndorsementProof, verify_proof
from blindmatch_protocol.codec.errors import BlindmatchError
from blindmatch_protocol.codec.randomness import seeded
from blindmatch_protocol.contract import AnyDesign, batches_of
from blindmatch_protocol.designs import device_list, enclave, hash_upload, oprf_psi, token_psi
from blindmatch_protocol.picture.decode import Picture
from blindmatch_simulations.data import committed
from blindmatch_simulations.evaluation.assess import epochs, observing
from blindmatch_simulations.evaluation.assess.epochs import proven
from blindmatch_simulations.evaluation.assess.figures import FIGURES, figures_of
from blindmatch_simulations.evaluation.assess.judging import NOTHING, Case, tries_until_hidden
from blindmatch_simulations.evaluation.assess.observed import Built, Check, KeyUse, Known, PeriodUse, Updated
from blindmatch_simulations.evaluation.assess.observing import Observer
from blindmatch_simulations.evaluation.population.inputs import YEAR, read_inputs
from blindmatch_simulations.evaluation.population.model import literature, model
from blindmatch_simulations.evaluation.studies import hashes
from blindmatch_simulations.measure.intervals import advantage
from blindmatch_simulations.measure.results import Figure
from blindmatch_simulations.report.markup import number
from blindmatch_simulations.report.page import asset
from blindmatch_simulations.report.yearly import inputs
from blindmatch_simulations.testbed.inprocess.deployed import manifest_of
from msgspec.structs import replace
from support.assess_rows import EDITS, game_figures, observed, row
from support.fakes import picture
from support.memory import build, opened, random_hashes, salts_of
from support.signed import CURATOR

OF_MATCHES = ("recall", "recall_pairs", "recall_identical", "false_matches", "evading", "skipped_unnoticed")


def test_every_figure_is_of_one_of_the_five_criteria() -> None:
    assert {kind.criterion for kind in FIGURES.values()} == {
        row["id"] for row in committed("options")["criteria"]
    }


def test_figures_of_a_design_are_counted_from_its_rows() -> None:
    figures = row(observed()).figures
    assert figures.keys() == FIGURES.keys()
    assert (figures["recall"].value, figures["recall"].n) == (0.5, 2)
    assert (figures["false_matches"].value, figures["false_matches"].pairs) == (0.0, 200)
    assert figures["server_cpu_ms"].value == pytest.approx(100.0)
    assert figures["update_s"].why == "cannot be updated"
    assert figures["oracle_tries"].value == 50 * 86_400 + 500
    assert tries_until_hidden(observed().pictures, EDITS) == (2,)


def test_a_process_that_grew_by_less_than_its_own_records_has_no_figure_of_memory() -> None:
    for mib, told in ((3.0, 3.0), (0.0, 0.0), (-0.5, None), (None, None)):
        assert row(replace(observed(), peak_mib=mib)).figures["device_peak_mib"].value == told
    assert "records" in row(replace(observed(), peak_mib=-0.5)).figures["device_peak_mib"].why


def test_records_from_before_the_pictures_are_not_taken_off_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    records = [SimpleNamespace(request_bytes=20 << 20)]
    readings = {"VmRSS": 100.0, "VmHWM": 105.0}
    monkeypatch.setattr(observing, "reset_peak", lambda: True)
    monkeypatch.setattr(observing, "status_mib", readings.__getitem__)
    one_more = SimpleNamespace(request_bytes=1 << 20)
    monkeypatch.setattr(Observer, "_row", lambda self, world, item: records.append(one_more))
    watched = SimpleNamespace(recorder=SimpleNamespace(records=lambda: list(records)))
    world: Any = SimpleNamespace(of=lambda name: SimpleNamespace(watched=watched), check_alive=lambda: None)
    items: Any = [None, None]
    rows, grown = object.__new__(Observer)._rows(world, items, lambda done, total: None)
    assert (len(rows), grown) == (2, 3.0)


def test_the_limits_of_a_key_bound_the_tries_of_an_account() -> None:
    limited = row(replace(observed(), key=KeyUse(160, 1_600, None)))
    assert limited.figures["oracle_tries"].value == 10
    assert "under one key" in limited.figures["oracle_tries"].why
    named = replace(observed().design, parameters={"bands": 10, "probes": 16, "account_evaluations": 1_600})
    unlimited = row(replace(observed(), design=named))
    assert unlimited.figures["oracle_tries"].value == 50 * 86_400 + 500, "names of parameters say nothing"


def test_limits_by_day_or_year_bound_the_tries_of_an_account() -> None:
    day = PeriodUse(86_400, 1_600)
    for periods, per_account, tries in (
        ((day, PeriodUse(365 * 86_400, 800)), None, 5),  # those of a year may be used on its first day
        ((day,), None, 10),
        ((PeriodUse(3_600, 160),), None, 24),
        ((day,), 3_200, 10),
    ):
        limited = row(replace(observed(), key=KeyUse(160, per_account, None, periods)))
        assert limited.figures["oracle_tries"].value == tries
        assert "by day or year" in limited.figures["oracle_tries"].why
    by_key = row(replace(observed(), key=KeyUse(160, 800, None, (day,))))
    assert by_key.figures["oracle_tries"].value == 5
    assert "under one key" in by_key.figures["oracle_tries"].why


def test_whether_a_device_tests_pictures_alone_follows_from_what_its_files_show_of_the_list() -> None:
    for knowledge, value in (("size", 50 * 86_400 + 500), ("testable", None), ("hashes", None)):
        told = (Known(("device",), knowledge), Known(("device", "matcher"), "hashes"))
        seen = replace(observed(), design=replace(observed().design, list_known=told))
        assert row(seen).figures["oracle_tries"].value == value


def test_numbers_are_written_as_people_write_them() -> None:
    assert number(1_004_611) == "1\u202f004\u202f611"


def test_a_build_in_parts_and_an_update_as_a_whole_set_say_so() -> None:
    whole = Updated("a whole set: cannot be updated", Built(3.0, 2.0, 101, 8000), 8000)
    figures = row(replace(observed(), build_parts=2, update=whole)).figures
    assert (figures["build_s"].value, figures["build_s"].why) == (
        1.0,
        "built in 2 parts: interrupted and taken up again",
    )
    assert (figures["update_s"].value, figures["update_s"].why) == (3.0, whole.why)
    assert figures["update_bytes"].value == 8000
    assert row(observed()).figures["build_s"].why == ""


def test_what_nobody_learns_by_picture_is_not_measured() -> None:
    figures = row(observed(tells=False)).figures
    assert {figures[name].value for name in ("recall", "false_matches", "evading")} == {None}


def test_unfinished_checks_are_not_counted_as_passed() -> None:
    passed = Check("outcomes", "", "passed", "", {}, 1.0)
    figure = row(observed(), (passed,), "took longer than 9 s").figures["checks_failed"]
    assert figure.value is None
    assert "1 checks finished, none failed; took longer than 9 s" in figure.why
    broken = replace(passed, verdict="failed")
    assert row(observed(), (broken,), "took longer than 9 s").figures["checks_failed"].value == 1.0


def test_the_advantage_is_the_largest_upper_bound_of_the_games() -> None:
    def game(name: str, high: float) -> Check:
        return Check(name, "", "passed", "", {"m": game_figures(high, 9)}, 1.0)

    both = row(observed(), (game("games", 0.2), game("malicious games", 0.3)), "").figures["advantage"]
    assert (both.value, both.n, both.why) == (
        0.3,
        9,
        "an advantage of 0.99 in one class, once learnt, is caught with 95 %",
    )
    one = row(observed(), (game("games", 0.2),), "took too long").figures["advantage"]
    assert one.value == 0.2
    assert "alone: took too long" in one.why


def test_a_report_that_the_server_makes_by_itself_costs_the_device_nothing() -> None:
    silent = replace(observed(), pictures=tuple(replace(p, report_bytes=0) for p in observed().pictures))
    assert row(silent).figures["report_bytes"].value is None
    server = replace(silent, design=replace(silent.design, learns=("server",)))
    assert row(server).figures["report_bytes"].value == 0.0


def test_the_inputs_of_the_scale_lie_within_their_bounds_and_say_where_they_are_from() -> None:
    assert all(one.least <= one.value <= one.most and one.source for one in inputs())
    assert len({one.ident for one in inputs()}) == len(inputs())


def test_the_page_supposes_of_a_year_what_population_does() -> None:
    page = {one.ident: one.value for one in inputs()}
    year = read_inputs(None)
    volume = model(year, literature(year), year.accounts.number.value, YEAR).volume
    assert page["volume"] == volume == 720_000_000
    assert (page["devices"], page["items"]) == (year.accounts.number.value, volume * YEAR / page["devices"])
    assert page["files"] == round(year.material.files.value * year.accounts.number.value)


def test_recall_of_all_edited_pictures_and_of_pdqs_own_pairs_stand_apart() -> None:
    far = observed().pictures[1]
    assert far.list_distance > 31 and not far.matched
    figures = row(observed()).figures
    assert (figures["recall"].value, figures["recall"].n) == (0.5, 2)
    assert (figures["recall_pairs"].value, figures["recall_pairs"].n) == (1.0, 1)
    poor = replace(observed().pictures[0], quality=49)
    seen = replace(observed(), pictures=(poor, *observed().pictures[1:]))
    assert row(seen).figures["recall_pairs"].value is None, "PDQ discards what is poor"


def test_an_advantage_says_what_as_many_runs_can_show() -> None:
    check = Check("games", "", "passed", "", {"m": game_figures(0.4135, 48)}, 1.0)
    figure = row(observed(), (check,), "").figures["advantage"]
    of_48 = advantage(24, 48)
    assert (figure.value, figure.n, figure.resolution) == (
        0.4135,
        48,
        pytest.approx(of_48.resolution, abs=1e-4),
    )
    assert figure.why.startswith("an advantage of 0.59 in one class, once learnt, is caught with 95 %")
    assert of_48.resolution == pytest.approx(of_48.high) == pytest.approx(-of_48.low)
    assert 0.35 < of_48.resolution < 0.4 < 0.98 < advantage(0, 1).resolution
    assert advantage(0, 10_000).resolution < 0.03


def test_a_design_that_matches_nothing_has_nothing_to_measure_and_no_intervals() -> None:
    nothing = replace(
        observed("none"), design=replace(observed().design, relation="nothing", distance=None, roles={})
    )
    quiet = replace(nothing, pictures=tuple(replace(p, matched=False) for p in nothing.pictures))
    made = row(quiet, (LISTS,), "")
    for name in (*OF_MATCHES, "advantage", "list_advantage", "server_cpu_ms", "matcher_cpu_ms"):
        figure = made.figures[name]
        assert (figure.value, figure.low, figure.n) == (None, None, None), name
        assert figure.why.startswith(NOTHING), name
    assert {one.share.value for one in (*made.recall_by_edit, *made.recall_by_distance)} == {None}
    broken = row(quiet, (replace(LISTS, verdict="failed"),), "")
    assert broken.figures["list_advantage"].value == 1.0, "a violation is not explained away"
    liar = row(nothing).figures
    assert liar["recall"].value == 0.5, "what matches all the same is counted"


LISTS = Check("list games", "", "passed", "", {"device": game_figures(0.3, 9)}, 1.0)


def test_what_is_depicted_follows_from_whose_files_have_the_hashes() -> None:
    def figure(*known: tuple[tuple[str, ...], str]) -> Figure:
        seen = observed()
        told = tuple(Known(parties, knowledge) for parties, knowledge in known)
        design = replace(seen.design, list_known=told)
        return figures_of(Case(replace(seen, design=design)))["depicted"]

    score = hashes.measured()["hash"].own
    none = figure((("device",), "size"), (("matcher",), "testable"), (("device", "matcher"), "testable"))
    assert (none.value, none.why) == (0.0, "no stored file has a hash")
    both = figure((("device",), "nothing"), (("a",), "testable"), (("a", "b"), "hashes"))
    assert both.value == score and both.why.startswith("by whoever has the files of a with b;")
    one = figure((("device",), "hashes"), (("matcher",), "hashes"), (("device", "matcher"), "hashes"))
    assert one.value == score and "files of device or matcher;" in one.why


def test_all_entries_are_endorsed_however_many_batches_they_take(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = list[int]()
    shown = list[EndorsementProof]()

    def counted(action: Action, epochs: tuple[int, int], leaves: list[bytes]) -> Batch:
        sizes.append(len(leaves))
        return build_batch(action, epochs, leaves)

    def watched(proof: EndorsementProof, *rest: Any) -> Any:
        shown.append(proof)
        return verify_proof(proof, *rest)

    monkeypatch.setattr(epochs, "BATCH", 8)
    monkeypatch.setattr(epochs, "build_batch", counted)
    monkeypatch.setattr(epochs, "verify_proof", watched)
    design = oprf_psi.DESIGN
    entries = batches_of(random_hashes(20), np.arange(1, 21, dtype=np.uint64), salts_of(20))
    made = opened(build(design, random_hashes(20)))
    proven(
        made, CURATOR.sign(manifest_of(design, made.build.setup_files, 1)), entries, None, seeded("session")
    )
    assert (sizes, [one.batches for one in shown]) == ([8, 8, 4], [3])


@pytest.mark.parametrize(
    ("design", "ties", "endorsed", "absent"),
    [
        (oprf_psi.DESIGN, True, True, True),
        (token_psi.DESIGN, True, True, True),
        (hash_upload.DESIGN, False, True, False),
        (device_list.DESIGN, True, True, False),
        (enclave.DESIGN, False, True, False),
    ],
    ids=lambda one: one.info.name if hasattr(one, "info") else "",
)
def test_what_an_outsider_can_be_shown_is_made_and_verified(
    design: AnyDesign, ties: bool, endorsed: bool, absent: bool
) -> None:
    entries = batches_of(random_hashes(20), np.arange(1, 21, dtype=np.uint64), salts_of(20))
    made = opened(build(design, random_hashes(20)))
    manifest = CURATOR.sign(manifest_of(design, made.build.setup_files, 1))
    found = proven(made, manifest, entries, Picture.from_bytes(picture(9)), seeded("session"))
    assert found.ties is ties
    assert (found.endorsement is not None, found.absence is not None) == (endorsed, absent)
    figure = figures_of(Case(replace(observed(), proven=found)))["proof_bytes"]
    assert (figure.value, "absence" in figure.why) == (found.epoch if ties else None, absent)
    assert ("vendor vouches for" in figure.why) is (design is enclave.DESIGN)
    assert found.epoch > len(manifest.encode()) + 2 * 76
    if absent:
        listed = Picture.from_pixels(np.zeros((64, 64, 3), np.uint8))
        with pytest.raises(BlindmatchError, match="absence"):
            proven(made, manifest, entries, listed, seeded("session"))


def test_every_cost_is_a_row_of_the_page() -> None:
    rows = re.search(r"const COSTS = \[(.*?)\];", asset("cost.js"), re.DOTALL)
    assert rows is not None
    assert sorted(re.findall(r'"(\w+)"', rows[1])) == sorted(
        name for name, kind in FIGURES.items() if kind.criterion == "feasibility"
    )
