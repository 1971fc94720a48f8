"""A design that is too dear for the workload does a part of it, and the row says which; studies have rows."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from blindmatch_protocol.designs import none
from blindmatch_simulations.evaluation.assess import alone
from blindmatch_simulations.evaluation.assess.material import Material, make
from blindmatch_simulations.evaluation.assess.observed import AloneRow
from blindmatch_simulations.evaluation.assess.plan import Plan, read_plan
from blindmatch_simulations.evaluation.assess.results import Results, check_folder
from blindmatch_simulations.evaluation.assess.running import Assessment
from blindmatch_simulations.measure.yardstick import Reading
from blindmatch_simulations.testbed.deployment.registry import option_ids
from support.assess_rows import tiny

TEXT = tiny(
    random=3998, unlisted=8, edits='["identical", "jpeg-90"]',
    memory_mib="1, picture_u = 200_000, pictures_u = 1_200_000",
)  # fmt: skip
PICTURES = 12


@pytest.fixture(scope="module")
def plan() -> Plan:
    return read_plan(TEXT)


@pytest.fixture(scope="module")
def material(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> Material:
    return make(plan, tmp_path_factory.mktemp("material") / "made", lambda done, total: None)


def took(seconds: float) -> AloneRow:
    """On a machine whose u is 50 microseconds."""
    return AloneRow(0, 0.0, 0.0, 0.0, 1000 * seconds, 1000 * seconds)


@pytest.fixture
def taking(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes a picture take so many seconds, by the number of entries; nothing is built."""

    def set_to(seconds: Any) -> None:
        monkeypatch.setattr(alone, "reading", lambda: Reading(50.0, 1.0))
        monkeypatch.setattr(
            alone, "kept_set", lambda design, entries, *_: SimpleNamespace(folder=len(entries))
        )
        monkeypatch.setattr(alone, "open_publication", lambda folder, epoch: folder)
        monkeypatch.setattr(alone, "open_published", lambda design, published: published)
        monkeypatch.setattr(alone, "sessions_alone", lambda opened, *_: [took(seconds(opened))] * 2)

    return set_to


@pytest.mark.parametrize(
    ("seconds", "entries", "pictures", "left", "rate"),
    [
        (lambda n: 0.01, 4000, 12, "", ""),
        (lambda n: 6, 4000, 8, "8 of 12 pictures", "6 s with 4,000 entries, 600 an hour"),
        (
            lambda n: n / 200,
            1024,
            8,
            "1,024 of 4,000 entries and 8 of 12 pictures",
            "5.1 s with 1,024 entries, 703 an hour",
        ),
        (
            lambda n: 60,
            1000,
            8,
            "1,000 of 4,000 entries and 8 of 12 pictures",
            "60 s with 1,000 entries, 60 an hour",
        ),
    ],
)
def test_a_dear_design_gets_a_smaller_list_and_sends_fewer_pictures_and_says_so(
    plan: Plan,
    material: Material,
    taking: Any,
    tmp_path: Path,
    seconds: Any,
    entries: int,
    pictures: int,
    left: str,
    rate: str,
) -> None:
    words = f"{left}: a picture takes {rate}" if left else ""
    taking(seconds)
    with alone.fitted(none.DESIGN, material, plan, tmp_path, lambda done, total: None) as fit:
        assert (len(fit.entries), len(fit.items), fit.lessened) == (entries, pictures, words)
        assert fit.most(5) == (5 if seconds(entries) <= 1 else 2)
        assert len(material.items()) == PICTURES


def test_a_smaller_list_has_the_listed_pictures(material: Material) -> None:
    with material.entries() as whole, material.entries(1000) as fewer:
        (all_of_it,), (some,) = (list(one.batches(5000)) for one in (whole, fewer))
        assert (all_of_it.hashes[:1000] == some.hashes).all()


def test_a_study_has_a_row_which_appears_and_counts_and_is_not_measured_again(tmp_path: Path) -> None:
    seen: list[Results] = []
    out = tmp_path / "out"

    def assess() -> Results:
        return Assessment(
            out, TEXT, ["targeted-access"], "test", lambda title: lambda done, total: None, seen.append
        ).run()

    made = assess()
    assert [row.id for row in made.rows] == [row.id for row in seen[0].rows] == ["targeted-access"]
    assert (made.options_measured, made.options_in_all) == (1, len(option_ids()))
    assert made.command.endswith("--designs targeted-access --out DIR")
    assert assess().rows == made.rows == check_folder(out).rows
