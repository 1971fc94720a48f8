"""oprf-psi: exact outcomes, both kinds of set, and lists it refuses; the rest is in `test_voprf_*`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from blindmatch_protocol.codec.errors import DesignError
from blindmatch_protocol.contract import Label, Match, NoMatch, batches_of
from blindmatch_protocol.contract.steps import UNCONFIRMED_ID
from blindmatch_protocol.crypto.oprf import evaluate
from blindmatch_protocol.designs.oprf_psi import DESIGN, design
from blindmatch_protocol.designs.oprf_psi.design import INPUT_TAG
from blindmatch_protocol.group import rowwise
from blindmatch_protocol.sets import labels
from msgspec.structs import replace
from support.memory import Held, held, random_hashes
from support.voprf_world import LISTED, MATCHER, Picture, ask, published, run, updated, world

NAME = DESIGN.info.name
COUNT = len(LISTED)
COUNTED = random_hashes(150)


def near(hash_: bytes, bit: int) -> bytes:
    return (int.from_bytes(hash_, "big") ^ 1 << bit).to_bytes(32, "big")


@pytest.mark.parametrize("evaluations", [1, 3])
def test_outcomes_are_those_of_the_declared_relation(evaluations: int) -> None:
    place = held(DESIGN, LISTED, 1, {"evaluations": evaluations})
    asked = [row.tobytes() for row in LISTED[:8]] + [row.tobytes() for row in random_hashes(8, seed=2)]
    asked += [near(LISTED[row].tobytes(), 31 * row) for row in range(8)]
    for hash_ in asked:
        for quality in (49, 50, 100):
            item = Picture(hash_, quality)
            matched = isinstance(run(place, item), Match)
            assert matched == bool(DESIGN.info.relation.holds(item, LISTED).any())


def test_a_label_of_another_hash_is_no_match() -> None:
    """A set whose label under this hash's key holds another hash: what the equal-hash check is for."""
    place = world("oprf-psi", full=True)
    state = place.states[MATCHER]
    output = evaluate(state.key, [INPUT_TAG + LISTED[0].tobytes()])
    keys = labels.label_keys(output, 1)
    other = batches_of(LISTED[1:2], np.array([9], np.uint64), place.salts[1:2]).held
    record = labels.seal(keys, other, 1)

    class Forged:
        def unseal(self, label_key: bytes, number: int) -> Label | None:
            found = labels.unseal(label_key, record.tobytes(), 1)
            assert found is not None
            return found

    layer = replace(place.setup.layers[0], labels=Forged())
    forged = Held(DESIGN, replace(place.setup, layers=(layer,)), place.states, LISTED, place.salts)
    assert run(forged, Picture(LISTED[0].tobytes())) == NoMatch()


@pytest.mark.parametrize("count", [0, 1, COUNT])
def test_a_set_of_kind_filter_has_the_same_outcomes_and_declares_its_matches_unconfirmed(count: int) -> None:
    place = held(DESIGN, LISTED[:count], 1, {"filter": 1})
    assert DESIGN.unconfirmed(place.setup) and place.setup.entries == count
    for hash_ in (*(row.tobytes() for row in LISTED[:count]), bytes(32), near(LISTED[0].tobytes(), 9)):
        for quality in (49, 100):
            item = Picture(hash_, quality)
            matched = DESIGN.info.relation.holds(item, LISTED[:count]).any()
            expected = Match(Label(hash_, UNCONFIRMED_ID, bytes(16))) if matched else NoMatch()
            assert run(place, item) == expected


def test_requests_do_not_show_the_kind_of_set() -> None:
    place = held(DESIGN, LISTED, 1, {"filter": 1})
    item = Picture(LISTED[0].tobytes())
    assert ask(place, item)[1] == ask(world("oprf-psi", full=True), item)[1]


def test_labels_gathered_in_many_blocks_make_the_same_file(monkeypatch: pytest.MonkeyPatch) -> None:
    once = published(NAME, COUNTED)
    monkeypatch.setattr(labels, "STRETCH", 16)
    sections = published(NAME, COUNTED)
    for block, stretch in ((16, 7), (48, 16), (33, 1)):
        monkeypatch.setattr(design, "_BLOCK", block)
        monkeypatch.setattr(design, "_STRETCH", stretch)
        assert published(NAME, COUNTED) == sections != once


def test_a_list_that_holds_a_hash_twice_is_refused_and_the_entries_named() -> None:
    twice = np.concatenate([LISTED[:5], LISTED[2:3]])
    with pytest.raises(DesignError, match=r"entries 2 and 5 .* have the same hash"):
        held(DESIGN, twice)


@pytest.mark.parametrize("values", [{"evaluations": 0}, {"evaluations": 1025}, {"signatures": 9}])
def test_parameters_out_of_range_are_refused(values: dict[str, int]) -> None:
    with pytest.raises(DesignError, match="must be"):
        held(DESIGN, LISTED, 1, values)


def test_only_additions_that_may_be_there_are_evaluated_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    again: list[int] = []

    def counted(key: Any, inputs: Sequence[bytes]) -> Any:
        again.append(len(inputs))
        return evaluate(key, inputs)

    monkeypatch.setattr(design, "evaluate", counted)
    second = updated(NAME, published(NAME, COUNTED[:50]), COUNTED[50:150], 51)
    third = updated(NAME, second, COUNTED[5:8], 900, [6, 7, 8])
    assert again == [0, 3]
    with pytest.raises(DesignError, match="addition 1 "):
        updated(NAME, third, COUNTED[148:150], 700, [149])
    assert again == [0, 3, 2]


def test_no_label_is_sealed_for_a_set_of_kind_filter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(rowwise, "seal")
    published(NAME, filter=1)
    with pytest.raises(AttributeError, match="seal"):
        published(NAME)


def test_a_set_of_kind_filter_cannot_be_updated() -> None:
    with pytest.raises(DesignError, match="filter cannot be updated"):
        updated(NAME, published(NAME, filter=1), LISTED[5:6])
