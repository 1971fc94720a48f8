"""token-psi: near outcomes, families, what its files hold; the rest is in `test_voprf_*`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.errors import DesignError, SetFileError
from blindmatch_protocol.codec.randomness import seeded
from blindmatch_protocol.contract import UNBOUND, Label, Match, NoMatch, SetParameters, batches_of
from blindmatch_protocol.crypto.oprf import Evaluation, finalize
from blindmatch_protocol.designs.token_psi import DESIGN, shares, tokens
from blindmatch_protocol.designs.token_psi.design import labels_under
from blindmatch_protocol.designs.token_psi.shares import addresses, label_keys, member_secret, token_keys
from blindmatch_protocol.designs.token_psi.tokens import band_bits
from blindmatch_protocol.sets import labels, store
from msgspec.structs import replace
from support.memory import Held, MemoryWorkspace, held, random_hashes
from support.set_files import opened as set_file
from support.set_files import resealed
from support.voprf_world import (
    LISTED,
    MATCHER,
    SMALL,
    Picture,
    answers,
    broken,
    finds,
    flipped,
    label,
    opened,
    published,
    run,
    updated,
    world,
)

NAME = DESIGN.info.name
VECTORS = Path(__file__).parents[1] / "vectors"


# --- outcomes ------------------------------------------------------------------------------------


def test_a_listed_hash_matches_with_its_label_and_an_unlisted_one_does_not() -> None:
    place = world(full=True)
    for row in range(3):
        assert run(place, Picture(LISTED[row].tobytes())) == Match(label(row, place))
    assert run(place, Picture(random_hashes(1, seed=9).tobytes())) == NoMatch()


def test_bands_agree_through_probes_of_weak_bits() -> None:
    place = world()
    hash_ = LISTED[0].tobytes()
    weak = tuple(int(band[5]) for band in band_bits(24, 4))
    assert run(place, Picture(flipped(hash_, *weak), weak=weak)) == Match(label(0, place))
    assert run(place, Picture(flipped(hash_, *weak))) == NoMatch()


def test_two_bands_are_enough_and_a_lone_one_looks_like_a_miss() -> None:
    place = world()
    hash_ = LISTED[0].tobytes()
    assert run(place, Picture(broken(hash_, 0, 2))) == Match(label(0, place))
    assert run(place, Picture(broken(hash_, 0, 1, 2))) == NoMatch()
    assert all_opened(place, Picture(broken(hash_, 0, 1, 2))) == []


def all_opened(place: Held, item: Picture) -> list[Label]:
    """All labels a picture's tokens open, whatever their distance."""
    started = DESIGN.start(DESIGN.enrol(seeded("x")), place.setup, item, UNBOUND, seeded("x"))
    session = started.step.session  # type: ignore[union-attr]
    reply = answers(place, started.step.bodies[MATCHER])[0]  # type: ignore[union-attr]
    outputs = finalize(session.blinding, Evaluation(reply.evaluated, reply.proof), place.setup.public_key)
    setup = place.setup
    return labels_under(setup, [token_keys(outputs, layer.epoch) for layer in setup.layers])


def test_with_three_bands_needed_two_are_a_miss() -> None:
    place = held(DESIGN, LISTED[:4], 1, {**SMALL, "needed": 3})
    hash_ = LISTED[0].tobytes()
    assert run(place, Picture(broken(hash_, 3))) == Match(label(0, place))
    assert run(place, Picture(broken(hash_, 2, 3))) == NoMatch()


def test_an_entry_beyond_the_distance_opens_and_is_no_match() -> None:
    place = world()
    members = band_bits(24, 4)
    far = flipped(LISTED[0].tobytes(), *members[0].tolist(), *members[1].tolist())  # 48 bits
    assert all_opened(place, Picture(far)) == [label(0, place)]
    assert run(place, Picture(far)) == NoMatch()
    within = flipped(LISTED[0].tobytes(), *members[0].tolist(), *members[1, :7].tolist())  # 31 bits
    assert run(place, Picture(within)) == Match(label(0, place))


def test_members_of_a_family_are_told_apart_by_distance() -> None:
    hashes = LISTED[:6].copy()
    hashes[4] = np.frombuffer(flipped(LISTED[1].tobytes(), 0, 1, 2), np.uint8)
    place = held(DESIGN, hashes, 1, SMALL)
    for row in (1, 4):
        found = run(place, Picture(hashes[row].tobytes()))
        assert isinstance(found, Match) and found.label.entry_id == row + 1
    assert {entry.entry_id for entry in all_opened(place, Picture(hashes[1].tobytes()))} == {2, 5}


def test_entries_of_different_families_that_share_tokens_still_match() -> None:
    hashes = LISTED[:6].copy()
    members = band_bits(24, 4)
    bits = np.unpackbits(hashes, axis=1)
    bits[3, members[0]] = bits[2, members[0]]
    bits[3, members[1]] = bits[2, members[1]]
    hashes = np.packbits(bits, axis=1)
    place = held(DESIGN, hashes, 1, SMALL)
    for row in (2, 3):
        found = run(place, Picture(hashes[row].tobytes()))
        assert isinstance(found, Match) and found.label.entry_id == row + 1


def test_a_hash_that_is_listed_twice_opens_both_labels() -> None:
    place = held(DESIGN, np.repeat(LISTED[:1], 2, axis=0), 1, SMALL)
    assert {entry.entry_id for entry in all_opened(place, Picture(LISTED[0].tobytes()))} == {1, 2}


def test_parameters_that_do_not_go_together_are_refused_before_any_work() -> None:
    with pytest.raises(DesignError, match="k times bands"):
        held(DESIGN, LISTED, 1, {"k": 32, "bands": 10})


# --- files and updates ---------------------------------------------------------------------------


def test_tokens_derivations_and_shares_are_the_frozen_ones() -> None:
    expected = json.loads((VECTORS / "token-psi-v2.json").read_text())
    asked = expected["probes"]
    shared = expected["shares"]
    epoch = expected["epoch"]
    coefficients = np.array(asked["coefficients"], np.float32)
    own = np.packbits(coefficients > 0).tobytes()
    shape = (asked["k"], asked["bands"], asked["probes"])
    assert tokens.probe_tokens(own, coefficients, *shape).tolist() == asked["tokens"]
    for row in expected["derivation"]:
        output = np.frombuffer(bytes.fromhex(row["output"]), np.uint8).reshape(1, 64)
        keys = token_keys(output, expected["epoch"])
        assert (keys.store_keys.tobytes().hex(), keys.masks.tobytes().hex()) == (
            row["store_key"],
            row["mask"],
        )
    epoch = expected["epoch"]
    polynomial = np.frombuffer(bytes.fromhex("".join(shared["coefficients"])), np.uint8).reshape(1, 2, 16)
    secret = shares.secrets_of(polynomial)
    assert [row.tobytes().hex() for row in shares.values(polynomial, 10)[0]] == shared["values"]
    assert secret.tobytes().hex() == shared["secret"]
    assert int(addresses(secret, epoch)[0]) == shared["address"]
    assert label_keys(secret, epoch).tobytes().hex() == shared["label_key"]
    assert member_secret(secret.tobytes(), 1, epoch).hex() == shared["second_member"]


@pytest.mark.parametrize("values", [{"k": 24}, {**SMALL, "needed": 9}, {**SMALL, "needed": 2, "more": 1}])
def test_a_set_whose_parameters_make_no_sense_is_refused_even_under_a_fitting_digest(
    values: dict[str, int],
) -> None:
    changed = resealed(set_file(DESIGN, "set.bin", published(NAME)["set.bin"]), {}, only=values)
    with pytest.raises(SetFileError, match=r"set\.bin: parameter"):
        DESIGN.open_setup({"set.bin": changed}, 1)


def test_the_number_of_keys_tells_nothing_of_how_entries_meet() -> None:
    alike: Rows = np.repeat(LISTED[:1], 5, axis=0)
    for hashes in (LISTED[:5], alike):
        place = held(DESIGN, hashes, 1, SMALL)
        file = place.setup.layers[0].file
        assert sum(s.items for s in file.sections.values() if s.kind == store.KIND) == 5 * 4


def test_an_entry_whose_label_would_be_sealed_under_a_key_that_another_has_is_refused() -> None:
    """A family is cut at 64: entry 64 here is entry 0 once more, and would have its keys."""
    same = np.repeat(LISTED[:1], 65, axis=0)
    ids = np.arange(65, dtype=np.uint64)
    salts = np.zeros((65, 16), np.uint8)
    parameters = SetParameters(1, SMALL)
    DESIGN.publish(batches_of(same, ids, salts), parameters, seeded("k"), None, MemoryWorkspace())
    ids[64] = 0
    with pytest.raises(DesignError, match="holds an entry twice"):
        DESIGN.publish(batches_of(same, ids, salts), parameters, seeded("k"), None, MemoryWorkspace())


@pytest.mark.parametrize("kind", [store.KIND, labels.KIND])
def test_values_or_labels_that_were_wrong_when_the_set_was_made_are_a_miss(kind: int) -> None:
    """They look like a lone band hit, as they must: docs/designs/token-psi.md."""
    files = published(NAME)
    other = set_file(DESIGN, "set.bin", published(NAME, seed="other")["set.bin"])
    file = set_file(DESIGN, "set.bin", files["set.bin"])
    changed = resealed(file, {(kind, 0): bytes(other.section(kind))})
    place = replace(opened(NAME, files), setup=DESIGN.open_setup({"set.bin": changed}, 1))
    assert run(place, Picture(LISTED[0].tobytes())) == NoMatch()


def test_a_delta_keeps_the_key_and_its_limits() -> None:
    limited = published(NAME, account_evaluations=80, key_expires=2_000_000_000)
    before = opened(NAME, limited)
    after = opened(NAME, updated(NAME, limited, LISTED[9:10]))
    limits = [DESIGN.key_limits(MATCHER, place.states[MATCHER]) for place in (before, after)]
    assert limits[0] == limits[1]
    assert (limits[0].cost, limits[0].per_account, limits[0].expires) == (8, 80, 2_000_000_000)
    other = opened(NAME, published(NAME, seed="other"))
    assert DESIGN.expires(after.setup) == 2_000_000_000 and DESIGN.expires(other.setup) is None
    assert DESIGN.key_limits(MATCHER, other.states[MATCHER]).key != limits[0].key


def test_two_entries_of_one_family_are_removed_one_after_the_other() -> None:
    hashes = LISTED[:4].copy()
    hashes[2] = np.frombuffer(flipped(LISTED[1].tobytes(), 3, 9), np.uint8)
    hashes[3] = np.frombuffer(flipped(LISTED[1].tobytes(), 5), np.uint8)
    files = published(NAME, hashes)
    asked = LISTED[1].tobytes()
    for nearest, next_one in ((2, 4), (4, 3), (3, None)):
        assert finds(NAME, files, asked) == nearest
        files = updated(NAME, files, removes=[nearest])
        assert finds(NAME, files, asked) == next_one


def test_an_addition_near_an_older_entry_and_one_that_comes_back_are_found() -> None:
    near = np.frombuffer(flipped(LISTED[0].tobytes(), 7), np.uint8).reshape(1, 32)
    after = updated(NAME, published(NAME), near, 100, [1])
    assert finds(NAME, after, LISTED[0].tobytes()) == finds(NAME, after, near.tobytes()) == 100
    assert finds(NAME, updated(NAME, after, LISTED[:1], 200), LISTED[0].tobytes()) == 200
