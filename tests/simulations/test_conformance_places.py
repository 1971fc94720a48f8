"""Games read where extremes stand in what is sent, and where rows ascend."""

from __future__ import annotations

import numpy as np
import pytest
from blindmatch_protocol.contract import Party
from blindmatch_protocol.designs import oprf_psi
from blindmatch_protocol.setfile import SetFile
from blindmatch_simulations.evaluation.conformance import Options, Verdict, check_design
from blindmatch_simulations.evaluation.conformance.fixtures import Fixtures
from blindmatch_simulations.evaluation.conformance.leakage.game import (
    DISTINGUISHERS,
    PLACE,
    Guesses,
    Run,
    judge,
)
from blindmatch_simulations.evaluation.conformance.leakage.list_secrecy import view_of
from blindmatch_simulations.evaluation.conformance.leakage.places import SIGNS, WIDTH, places_of
from blindmatch_simulations.evaluation.conformance.leakage.play import Event, event_of
from blindmatch_simulations.testbed.inprocess.steps import set_file
from planted.mutations.places import COUNT, Rowed, WithRows

ROWS = [bytes([value, 9 - value]) for value in (5, 2, 7, 3, 8, 1, 4, 6)]


def test_places_of_rows_are_low_bits_half_and_ends_of_both_extremes_then_signs() -> None:
    """The least row stands at 5, the greatest at 4; rows ascend after 1, 3, 5 and 6."""
    found = list(places_of(ROWS))
    assert found[:6] == [1, 0, 1, 1, 0, 0]
    assert found[6:12] == [0, 0, 1, 1, 0, 0]
    assert found[12 : 12 + SIGNS] == [0, 1, 0, 1, 0, 1, 1] + [0] * (SIGNS - 7)
    assert found[12 + SIGNS : 16 + SIGNS] == [0, 1, 0, 0]
    assert len(found) == WIDTH


def test_places_of_columns_are_those_of_each_by_itself() -> None:
    """The second column runs against the first: its least value stands at 4, its greatest at 5."""
    columns = list(places_of(ROWS))[16 + SIGNS :]
    assert columns[:4] == [1, 1, 0, 1]
    assert columns[6:10] == [0, 1, 1, 1]


def test_every_question_is_the_same_for_matrices_of_any_shape() -> None:
    lengths = {len(places_of(rows)) for rows in (ROWS, ROWS[:2], [b"a", b"b"], [b"", b"long"], ROWS * 40)}
    assert lengths == {WIDTH}


def test_uniform_rows_answer_no_question_about_a_sign_or_a_low_bit_more_often_than_not() -> None:
    rng = np.random.Generator(np.random.PCG64(1))
    found = [list(places_of([rng.bytes(16) for _ in range(COUNT)])) for _ in range(2_000)]
    means = np.array(found).mean(axis=0)
    fair = [0, 1, 2, 6, 7, 8, *range(12, 12 + COUNT - 1)]
    assert np.abs(means[fair] - 0.5).max() < 0.05


def test_a_message_has_the_places_of_its_matrix_and_a_request_of_one_row_has_none() -> None:
    rows = np.frombuffer(b"".join(ROWS), np.uint8).reshape(8, 2)
    padded = np.zeros((8, 16), np.uint8)
    padded[:, :2] = rows
    event = event_of(Party.MATCHER, "request", 0, WithRows(b"", padded))
    assert event.places == places_of([row.tobytes() for row in padded])
    (asked,) = Fixtures(oprf_psi.DESIGN).honest["other/0"].asked
    assert event_of(Party.MATCHER, "request", 0, asked.body).places == b""


def test_the_set_up_of_a_list_has_the_places_of_its_sections() -> None:
    fixtures = Fixtures(oprf_psi.DESIGN)
    view = view_of(fixtures.build, fixtures.pool.of("listed")[:1], fixtures.rng("view"))
    setup = next(event for event in view if event.kind == "set-up" and set_file(event.data))
    file = set_file(setup.data)
    assert isinstance(file, SetFile)
    assert setup.places and len(setup.places) % WIDTH == 0
    assert any(section.items > 1 for section in file.sections.values())


def test_a_place_that_is_the_coin_is_found_by_the_question_that_asks_for_it() -> None:
    """Rows are uniform; the least one stands at an even place on one side, and at an odd one on the other."""
    rng = np.random.Generator(np.random.PCG64(2))

    def run() -> Run:
        coin = bool(rng.integers(2))
        rows = [rng.bytes(16) for _ in range(COUNT)]
        place = 2 * int(rng.integers(COUNT // 2)) + coin
        turn = (rows.index(min(rows)) - place) % COUNT
        rows = rows[turn:] + rows[:turn]
        return Run([Event(Party.MATCHER, "request", 0, b"".join(rows), places=places_of(rows))], None, coin)

    training = [run() for _ in range(32)]
    held = [run() for _ in range(48)]
    finding = judge("planted", training, held, Guesses({}, {}), 1, DISTINGUISHERS[:3])
    assert (finding.best, finding.measured.value) == (PLACE, 1.0)


@pytest.mark.slow
def test_rows_in_the_order_in_which_they_are_drawn_pass() -> None:
    names = ["games", "malicious games"]
    assert {one.verdict for one in check_design(Rowed(), Options(only=names)).results} == {Verdict.PASSED}
