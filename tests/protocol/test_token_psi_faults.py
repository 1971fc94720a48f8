"""token-psi: files that were damaged or do not belong together, and lists and updates that make no sense.

What `oprf-psi` is tested for; outcomes, cheating matchers and altered sections are in the other files.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from blindmatch_protocol import labels, store
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.contract import Match, NoMatch, Party, SetParameters, batches_of
from blindmatch_protocol.designs.deltas import PUBLIC_KEY_KIND, delta_file
from blindmatch_protocol.designs.token_psi import DESIGN
from blindmatch_protocol.designs.token_psi.layers import ADDRESSES_KIND
from blindmatch_protocol.errors import DesignError, EpochMismatchError, SetFileError
from blindmatch_protocol.randomness import seeded
from blindmatch_protocol.setfile import SetFile
from support.memory import Held, MemoryWorkspace, random_hashes
from support.set_files import resealed
from support.token_world import BAD_ELEMENTS, LISTED, MATCHER, SMALL, Picture, answers, ask, run

COUNT = 5
ONE_BAND_LESS = {**SMALL, "bands": 3}


def salts(count: int) -> Rows:
    return np.frombuffer(seeded("salts").take(16 * count), np.uint8).reshape(count, 16)


def published(epoch: int = 1, seed: str = "k", values: dict[str, int] = SMALL) -> dict[str, bytes]:
    out = MemoryWorkspace()
    source = batches_of(LISTED[:COUNT], np.arange(1, COUNT + 1, dtype=np.uint64), salts(COUNT))
    DESIGN.publish(source, SetParameters(epoch, values), seeded(seed), None, out)
    return {name: file.getvalue() for name, file in out.created.items()}


def updated(files: dict[str, bytes], count: int = 1, removes: Sequence[int] = ()) -> dict[str, bytes]:
    out, added = MemoryWorkspace(), random_hashes(count, seed=44)
    source = batches_of(added, np.arange(100, 100 + count, dtype=np.uint64), salts(count))
    made = DESIGN.update(files, source, removes, out, seeded("none"))
    return out.files((*made.setup, *made.roles[MATCHER]))


def setup_files(files: dict[str, bytes]) -> dict[str, bytes]:
    return {name: content for name, content in files.items() if name != "matcher.bin"}


def opened(files: dict[str, bytes]) -> Held:
    states = {MATCHER: DESIGN.open_role(MATCHER, files)}
    return Held(DESIGN, DESIGN.open_setup(setup_files(files)), states, LISTED, LISTED)


def rewritten(content: bytes, name: str, kind: int, replaced: bytes) -> bytes:
    """A file under a fitting digest, in which the first section of a kind holds something else."""
    return resealed(SetFile(content, name, "token-psi", 2), {(kind, 0): replaced})


# --- damaged files


def test_every_flipped_byte_of_set_and_delta_is_refused_when_verified() -> None:
    files = updated(published(), 1, [2])
    for name in ("set.bin", delta_file(2)):
        for at in range(0, len(files[name]), 3):
            altered = bytearray(files[name])
            altered[at] ^= 0x10
            with pytest.raises(SetFileError):
                DESIGN.open_setup({**setup_files(files), name: bytes(altered)}).verify()


@pytest.mark.parametrize("kind", [store.KIND, labels.KIND, ADDRESSES_KIND])
def test_changed_values_labels_or_addresses_are_an_error_and_not_a_missed_match(kind: int) -> None:
    files, asked = published(), Picture(LISTED[0].tobytes())
    row = SetFile(files["set.bin"], "set.bin", "token-psi", 2).row(kind)
    altered = bytearray(files["set.bin"])
    altered[row.end - 1] ^= 1
    place = opened(files)
    setup = DESIGN.open_setup({"set.bin": bytes(altered)}, 1)
    with pytest.raises(SetFileError, match=r"set\.bin.* altered"):
        run(Held(DESIGN, setup, place.states, LISTED, LISTED), asked)
    assert isinstance(run(place, asked), Match), "the unaltered one matches"


@pytest.mark.parametrize("kind", [store.KIND, labels.KIND])
def test_values_or_labels_that_were_wrong_when_the_set_was_made_are_a_miss(kind: int) -> None:
    """They look like a lone band hit, as they must: docs/designs/token-psi.md, "What a signed set does"."""
    files, other = published(), published(seed="other")
    wrong = bytes(SetFile(other["set.bin"], "set.bin", "token-psi", 2).section(kind))
    changed = rewritten(files["set.bin"], "set.bin", kind, wrong)
    place = opened(files)
    setup = DESIGN.open_setup({"set.bin": changed}, 1)
    assert run(Held(DESIGN, setup, place.states, LISTED, LISTED), Picture(LISTED[0].tobytes())) == NoMatch()


@pytest.mark.parametrize("name", BAD_ELEMENTS)
def test_a_public_key_that_is_no_element_is_refused_even_under_a_fitting_digest(name: str) -> None:
    changed = rewritten(published()["set.bin"], "set.bin", PUBLIC_KEY_KIND, BAD_ELEMENTS[name])
    with pytest.raises(SetFileError, match=r"set\.bin: the public key"):
        DESIGN.open_setup({"set.bin": changed}, 1)


@pytest.mark.parametrize("scalar", [bytes(32), b"\xff" * 32], ids=["zero", "unreduced"])
def test_a_key_that_is_no_scalar_is_refused_even_under_a_fitting_digest(scalar: bytes) -> None:
    files = published()
    files["matcher.bin"] = rewritten(files["matcher.bin"], "matcher.bin", 0x101, scalar)
    with pytest.raises(SetFileError, match=r"matcher\.bin: the key is no scalar"):
        DESIGN.open_role(MATCHER, files)


def test_a_set_of_another_design_or_version_is_refused() -> None:
    content = published()["set.bin"]
    for design, version in (("oprf-psi", 2), ("token-psi", 1)):
        with pytest.raises(SetFileError, match=r"set\.bin"):
            SetFile(content, "set.bin", design, version)


# --- files that do not belong together


def test_deltas_for_other_parameters_limits_or_another_key_are_refused() -> None:
    files, delta = updated(published()), delta_file(2)
    for values, seed, rule in (
        (ONE_BAND_LESS, "k", "made for another set of epoch 1"),
        ({**SMALL, "account_evaluations": 80}, "k", "made for another set of epoch 1"),
        (SMALL, "other", "made for another set of epoch 1"),
    ):
        other = updated(published(1, seed, values))
        with pytest.raises(SetFileError, match=rule):
            DESIGN.open_setup({"set.bin": files["set.bin"], delta: other[delta]})


def test_a_set_up_that_lacks_its_newest_delta_is_of_another_epoch() -> None:
    first = published()
    second = updated(first)
    with pytest.raises(SetFileError, match=r"set\.bin: for epoch 1, not epoch 2"):
        DESIGN.open_setup(setup_files(first), 2)
    with pytest.raises(SetFileError, match="for epoch 1, not epoch 2"):
        DESIGN.open_role(MATCHER, {**first, "matcher.bin": second["matcher.bin"]})


def test_a_device_that_still_has_the_epoch_before_is_told_so() -> None:
    first = published()
    place, later = opened(first), opened(updated(first))
    _, request = ask(place, Picture(LISTED[0].tobytes()))
    (refused,) = answers(later, request)
    assert isinstance(refused, EpochMismatchError)


def test_a_delta_keeps_the_key_and_its_limits() -> None:
    limited = published(values={**SMALL, "account_evaluations": 80, "key_expires": 2_000_000_000})
    before, after = opened(limited), opened(updated(limited))
    limits = [DESIGN.key_limits(MATCHER, place.states[MATCHER]) for place in (before, after)]
    assert limits[0] == limits[1]
    assert (limits[0].cost, limits[0].per_account, limits[0].expires) == (8, 80, 2_000_000_000)
    assert DESIGN.expires(after.setup) == 2_000_000_000 and DESIGN.expires(opened(published()).setup) is None
    other = opened(published(seed="other"))
    assert DESIGN.key_limits(MATCHER, other.states[MATCHER]).key != limits[0].key


# --- lists and updates


def test_a_listed_hash_does_not_lie_in_the_set_file() -> None:
    content = published()["set.bin"]
    assert not any(row.tobytes()[:8] in content for row in LISTED[:COUNT])


def test_the_key_lies_in_the_matchers_file_alone() -> None:
    files = updated(published())
    secret = DESIGN.open_role(MATCHER, files).key.reveal()
    assert [name for name, content in files.items() if secret in content] == ["matcher.bin"]


def test_a_list_that_changes_while_it_is_read_is_refused() -> None:
    class Shrinking:
        def __len__(self) -> int:
            return COUNT + 1

        def batches(self, size: int, start: int = 0) -> Any:
            whole = batches_of(LISTED[:COUNT], np.arange(COUNT, dtype=np.uint64), salts(COUNT))
            return whole.batches(size, start)

    with pytest.raises(DesignError, match="changed while it was read"):
        DESIGN.publish(Shrinking(), SetParameters(1, SMALL), seeded("k"), None, MemoryWorkspace())


def test_progress_reaches_the_total() -> None:
    calls: list[tuple[int, int]] = []
    source = batches_of(LISTED[:COUNT], np.arange(COUNT, dtype=np.uint64), salts(COUNT))
    parameters, out = SetParameters(1, SMALL), MemoryWorkspace()
    DESIGN.publish(source, parameters, seeded("k"), None, out, lambda a, b: calls.append((a, b)))
    assert calls[-1] == (COUNT, COUNT)


def test_an_update_is_deterministic_and_leaves_the_earlier_files_as_they_are() -> None:
    files = published()
    kept = dict(files)
    assert updated(files, 2, [1]) == updated(files, 2, [1])
    assert files == kept


def test_a_delta_takes_bytes_in_proportion_to_the_change() -> None:
    files = published()
    small, large = (len(updated(files, count)[delta_file(2)]) for count in (10, 210))
    # a store's map grows in steps, and a small one has more air in it
    assert 150 * 200 < large - small < 500 * 200


def test_what_a_delta_reveals_is_declared() -> None:
    setup = DESIGN.open_setup(setup_files(updated(published(), 2, [1])))
    facts = {f.name: f for leak in DESIGN.leakage() if leak.parties == {Party.DEVICE} for f in leak.facts}
    assert facts["delta_sizes"].project(Picture(bytes(32)), setup) == ((2, 1),)


def test_no_body_gives_no_reply() -> None:
    state = DESIGN.open_role(MATCHER, published())
    assert list(DESIGN.answer(MATCHER, state, [], seeded("m"), None).replies) == []


def test_a_role_the_design_does_not_have_is_refused() -> None:
    state = DESIGN.open_role(MATCHER, published())
    with pytest.raises(DesignError, match="has no role relay"):
        DESIGN.answer("relay", state, [], seeded("m"), None)  # type: ignore[arg-type]
    with pytest.raises(DesignError, match="has no role relay"):
        DESIGN.key_limits("relay", state)  # type: ignore[arg-type]
