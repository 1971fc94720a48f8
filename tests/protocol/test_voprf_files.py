"""Files of designs with a VOPRF: the same again, refused if altered or out of place; deltas."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from blindmatch_protocol.codec.errors import DesignError, EpochMismatchError, SetFileError
from blindmatch_protocol.codec.randomness import seeded
from blindmatch_protocol.contract import Label, Match, NoMatch, Party, SetParameters, no_progress
from blindmatch_protocol.contract.steps import UNCONFIRMED_ID
from blindmatch_protocol.designs.deltas import MOST_DELTAS, PUBLIC_KEY_KIND, delta_file
from blindmatch_protocol.designs.token_psi.layers import ADDRESSES_KIND
from blindmatch_protocol.designs.voprf.files import SCRATCH
from blindmatch_protocol.setfile import SetFile
from blindmatch_protocol.sets import labels, store
from msgspec.structs import replace
from support.memory import MemoryWorkspace, random_hashes
from support.set_files import resealed
from support.voprf_world import (
    BAD_ELEMENTS,
    DESIGNS,
    LISTED,
    MATCHER,
    VALUES,
    Picture,
    answers,
    ask,
    entries,
    finds,
    opened,
    published,
    run,
    setup_files,
    updated,
)

VECTORS = Path(__file__).parents[1] / "vectors"
COUNT = 5
NEW = random_hashes(210, seed=44)
SECOND = delta_file(2)
THIRD = delta_file(3)
OTHER_VALUES: dict[str, dict[str, int]] = {
    "oprf-psi": {"evaluations": 2},
    "token-psi": {"probes": 3},
    "wide-psi": {"probes": 3},
}


@pytest.fixture(params=DESIGNS, scope="module")
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def set_file(name: str, content: bytes, file: str = "set.bin") -> SetFile:
    return SetFile(content, file, name, DESIGNS[name].info.version)


def every_flipped(content: bytes, step: int = 1) -> list[bytes]:
    return [
        content[:at] + bytes([content[at] ^ 0x10]) + content[at + 1 :] for at in range(0, len(content), step)
    ]


# --- frozen examples -----------------------------------------------------------------------------

FROZEN = {"oprf-psi": ("-labelled", "-filter"), "token-psi": ("",)}
EXAMPLES = [(name, kind) for name, kinds in FROZEN.items() for kind in kinds]


def frozen(name: str, version: int, kind: str) -> dict[str, bytes]:
    return {
        file: (VECTORS / f"{name}-v{version}{kind}-{file}").read_bytes()
        for file in ("set.bin", "matcher.bin")
    }


@pytest.mark.parametrize(("name", "kind"), EXAMPLES)
def test_the_frozen_example_of_version_2_stays_readable(name: str, kind: str) -> None:
    expected = json.loads((VECTORS / f"{name}-v2.json").read_text())
    files = frozen(name, 2, kind)
    epoch = expected["epoch"]
    hashes = [bytes.fromhex(one) for one in expected["hashes"]]
    place = opened(name, files)
    DESIGNS[name].check_setup(DESIGNS[name].open_setup(files, epoch))
    signatures = bytes(64 * place.setup.parameters["signatures"])
    for number, own in enumerate(hashes):
        salt = bytes.fromhex(expected["salts"][number])
        labelled = Label(own, number + 1, salt, epoch, signatures=signatures)
        unconfirmed = Label(own, UNCONFIRMED_ID, bytes(16))
        assert run(place, Picture(own)) == Match(unconfirmed if kind == "-filter" else labelled)
    for row in random_hashes(10, seed=77):
        assert run(place, Picture(row.tobytes())) == NoMatch()


@pytest.mark.parametrize(("name", "kind"), EXAMPLES)
def test_the_frozen_example_of_version_1_is_refused_with_the_reason(name: str, kind: str) -> None:
    files = frozen(name, 1, kind)
    with pytest.raises(SetFileError, match=r"set\.bin: set format 1 is earlier"):
        DESIGNS[name].open_setup(files)
    with pytest.raises(SetFileError, match=r"matcher\.bin: set format 1 is earlier"):
        DESIGNS[name].open_role(MATCHER, files)


# --- building ------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_files_also_over_a_used_or_altered_scratch(name: str) -> None:
    once = published(name)
    again = MemoryWorkspace()
    assert published(name, out=again) == once
    again.created.clear()
    assert published(name, out=again) == once
    again.created.clear()
    again.scratches[SCRATCH][100] ^= 1
    assert published(name, out=again) == once
    with ThreadPoolExecutor(2) as pool:
        shared = MemoryWorkspace()
        parameters = SetParameters(1, VALUES[name])
        DESIGNS[name].publish(entries(LISTED[:COUNT]), parameters, seeded("k"), pool, shared)
    assert shared.files() == once
    assert published(name, seed="other")["set.bin"] != once["set.bin"]


def test_a_scratch_of_another_epoch_is_not_taken_up(name: str) -> None:
    again = MemoryWorkspace()
    published(name, out=again)
    again.created.clear()
    assert published(name, epoch=2, out=again) == published(name, epoch=2)


def test_labels_have_places_for_signatures(name: str) -> None:
    place = opened(name, published(name, signatures=8))
    place.design.check_setup(place.setup)
    found = run(place, Picture(LISTED[0].tobytes()))
    assert isinstance(found, Match) and found.label.signatures == bytes(8 * 64)


def test_a_list_that_changes_while_it_is_read_is_refused(name: str) -> None:
    class Shrinking:
        def __len__(self) -> int:
            return COUNT + 1

        def batches(self, size: int, start: int = 0) -> Any:
            return entries(LISTED[:COUNT]).batches(size, start)

    parameters = SetParameters(1, VALUES[name])
    with pytest.raises(DesignError, match="changed while it was read"):
        DESIGNS[name].publish(Shrinking(), parameters, seeded("k"), None, MemoryWorkspace())


def test_progress_reaches_the_total(name: str) -> None:
    calls: list[tuple[int, int]] = []
    published(name, progress=lambda *counts: calls.append(counts))
    assert calls[-1] == (COUNT, COUNT)


def test_the_key_lies_in_the_matchers_file_alone_and_a_listed_hash_in_none(name: str) -> None:
    files = updated(name, published(name), NEW[:1])
    secret = DESIGNS[name].open_role(MATCHER, files).key.reveal()
    assert [file for file, content in files.items() if secret in content] == ["matcher.bin"]
    listed = [row.tobytes()[:8] for row in (*LISTED[:COUNT], NEW[0])]
    assert not any(own in content for own in listed for content in files.values())


# --- damaged files -------------------------------------------------------------------------------


def test_every_flipped_byte_of_set_delta_and_matchers_file_is_refused(name: str) -> None:
    files = updated(name, published(name, LISTED[:3]), NEW[:2], removes=[1])
    for file in ("set.bin", SECOND):
        for altered in every_flipped(files[file], 1 if name == "oprf-psi" else 3):
            with pytest.raises(SetFileError):
                DESIGNS[name].open_setup({**setup_files(files), file: altered}).check(no_progress)
    for altered in every_flipped(files["matcher.bin"]):
        with pytest.raises(SetFileError):
            DESIGNS[name].open_role(MATCHER, {**files, "matcher.bin": altered})


def test_an_altered_section_is_an_error_when_it_is_used_and_not_a_missed_match(name: str) -> None:
    files = published(name)
    place = opened(name, files)
    whole = set_file(name, files["set.bin"])
    for kind in (store.KIND, labels.KIND, ADDRESSES_KIND)[: 2 + (name == "token-psi")]:
        row = whole.row(kind)
        for at in (*range(row.offset, row.end, 37), row.end - 1):
            altered = bytearray(files["set.bin"])
            altered[at] ^= 1
            setup = DESIGNS[name].open_setup({"set.bin": bytes(altered)}, 1)
            with pytest.raises(SetFileError, match="altered"):
                run(replace(place, setup=setup), Picture(LISTED[0].tobytes()))
    assert isinstance(run(place, Picture(LISTED[0].tobytes())), Match), "the unaltered one matches"


@pytest.mark.parametrize("element", BAD_ELEMENTS)
def test_a_public_key_that_is_no_element_is_refused_even_under_a_fitting_digest(
    name: str, element: str
) -> None:
    file = set_file(name, published(name)["set.bin"])
    changed = resealed(file, {(PUBLIC_KEY_KIND, 0): BAD_ELEMENTS[element]})
    with pytest.raises(SetFileError, match=r"set\.bin: the public key"):
        DESIGNS[name].open_setup({"set.bin": changed}, 1)


@pytest.mark.parametrize("scalar", [bytes(32), b"\xff" * 32], ids=["zero", "unreduced"])
def test_a_key_that_is_no_scalar_is_refused_even_under_a_fitting_digest(name: str, scalar: bytes) -> None:
    files = published(name)
    changed = resealed(set_file(name, files["matcher.bin"], "matcher.bin"), {(0x101, 0): scalar})
    with pytest.raises(SetFileError, match=r"matcher\.bin: the key is no scalar"):
        DESIGNS[name].open_role(MATCHER, {**files, "matcher.bin": changed})


# --- files that do not belong together -----------------------------------------------------------


def test_a_set_of_another_epoch_design_or_version_and_a_missing_file_are_refused(name: str) -> None:
    files = published(name, epoch=4)
    design = DESIGNS[name]
    with pytest.raises(SetFileError, match=r"set\.bin: for epoch 4, not epoch 5"):
        design.open_setup(files, 5)
    with pytest.raises(SetFileError, match=r"set\.bin is missing"):
        design.open_setup({})
    with pytest.raises(SetFileError, match=r"matcher\.bin is missing"):
        design.open_role(MATCHER, {})
    for other, version in (("hash-upload", design.info.version), (name, design.info.version + 1)):
        with pytest.raises(SetFileError, match=r"set\.bin"):
            SetFile(files["set.bin"], "set.bin", other, version)


def test_a_matcher_file_beside_another_set_is_refused(name: str) -> None:
    mine = published(name)
    other = published(name, seed="other")
    later = published(name, epoch=2)
    for beside, rule in (
        (other, r"made for another set\.bin"),
        (later, "for epoch 2, not epoch 1"),
        (published(name, **OTHER_VALUES[name]), r"matcher\.bin: built for other parameters"),
    ):
        with pytest.raises(SetFileError, match=rule):
            DESIGNS[name].open_role(MATCHER, {**mine, "set.bin": beside["set.bin"]})


def test_a_matcher_with_other_parameters_does_not_answer(name: str) -> None:
    _, request = ask(opened(name, published(name)), Picture(LISTED[0].tobytes()))
    place = opened(name, published(name, **OTHER_VALUES[name]))
    (refused,) = answers(place, request)
    assert f"must have {place.setup.count} rows, not {len(request.blinded)}" in str(refused)


def chain(name: str) -> tuple[dict[str, bytes], dict[str, bytes], dict[str, bytes]]:
    first = published(name)
    second = updated(name, first, NEW[:2], removes=[1])
    return first, second, updated(name, second, NEW[2:4], 200)


def test_deltas_applied_twice_out_of_order_or_to_another_set_are_refused(name: str) -> None:
    first, second, third = chain(name)
    adds = {"hashes": NEW[:2], "removes": [1]}
    mine = setup_files(second)
    other = updated(name, published(name, seed="other"), **adds)
    values = updated(name, published(name, **OTHER_VALUES[name]), **adds)
    sibling = updated(name, first, NEW[:2], removes=[2])
    later = published(name, epoch=2)["set.bin"]
    for files, rule in (
        ({**mine, THIRD: second[SECOND]}, r"0003\.bin: holds the delta of epoch 2: applied twice"),
        ({"set.bin": first["set.bin"], THIRD: third[THIRD]}, "continues epoch 2, not epoch 1: out of order"),
        ({**mine, SECOND: third[THIRD], THIRD: second[SECOND]}, "out of order"),
        ({**mine, SECOND: other[SECOND]}, "made for another set of epoch 1"),
        ({**mine, SECOND: values[SECOND]}, "made for another set of epoch 1"),
        ({**setup_files(sibling), THIRD: third[THIRD]}, "made for another set of epoch 2"),
        ({"set.bin": later, SECOND: second[SECOND]}, "continues epoch 1, not epoch 2"),
    ):
        with pytest.raises(SetFileError, match=rule):
            DESIGNS[name].open_setup(files)


def test_a_set_up_that_lacks_its_newest_delta_is_of_another_epoch(name: str) -> None:
    first, second, _ = chain(name)
    with pytest.raises(SetFileError, match=r"set\.bin: for epoch 1, not epoch 2"):
        DESIGNS[name].open_setup(setup_files(first), 2)
    with pytest.raises(SetFileError, match="for epoch 2, not epoch 1"):
        DESIGNS[name].open_setup(setup_files(second), 1)
    with pytest.raises(SetFileError, match="for epoch 1, not epoch 2"):
        DESIGNS[name].open_role(MATCHER, {**first, "matcher.bin": second["matcher.bin"]})


def test_a_device_that_still_has_the_epoch_before_is_told_so(name: str) -> None:
    first, second, _ = chain(name)
    _, request = ask(opened(name, first), Picture(LISTED[0].tobytes()))
    (refused,) = answers(opened(name, second), request)
    assert isinstance(refused, EpochMismatchError)


# --- updates -------------------------------------------------------------------------------------


def found(name: str, files: dict[str, bytes]) -> list[int | None]:
    """Ids of the first three entries and additions."""
    return [finds(name, files, row.tobytes()) for row in (*LISTED[:3], *NEW[:3])]


def test_what_is_added_matches_and_what_is_removed_no_longer_does(name: str) -> None:
    second = updated(name, published(name), NEW[:2], removes=[2])
    third = updated(name, second, NEW[2:3], 200, [3, 101])
    assert found(name, second) == [1, None, 3, 100, 101, None]
    assert found(name, third) == [1, None, None, 100, None, 200]
    setup = DESIGNS[name].open_setup(setup_files(third), 3)
    assert (setup.epoch, setup.entries, setup.deltas) == (3, 5, ((2, 1), (1, 2)))
    facts = {
        f.name: f for leak in DESIGNS[name].leakage() if leak.parties == {Party.DEVICE} for f in leak.facts
    }
    assert facts["delta_sizes"].project(Picture(bytes(32)), setup) == setup.deltas


def test_a_removed_hash_can_come_back_under_another_id_or_the_same(name: str) -> None:
    first = published(name)
    own = LISTED[1:2]
    assert finds(name, updated(name, first, own, 900, [2]), own.tobytes()) == 900
    gone = updated(name, first, removes=[2])
    assert finds(name, gone, own.tobytes()) is None
    assert finds(name, updated(name, gone, own, 2), own.tobytes()) == 2


def test_an_update_is_the_same_again_and_on_threads_and_leaves_the_earlier_files_as_they_are(
    name: str,
) -> None:
    before = published(name)
    told = list[tuple[int, int]]()
    kept = dict(before)
    made = updated(name, before, NEW[:10], removes=[1])
    with ThreadPoolExecutor(2) as pool:
        again = updated(name, before, NEW[:10], 100, [1], pool, lambda *counts: told.append(counts))
    assert again == made and before == kept and told[0] == (10, 10)
    assert made["set.bin"] == before["set.bin"] and made["matcher.bin"] != before["matcher.bin"]


def test_a_delta_takes_bytes_in_proportion_to_the_change(name: str) -> None:
    first = published(name)
    one, some, many = (len(updated(name, first, NEW[:n])[SECOND]) for n in (1, 10, 210))
    # a store's map grows in steps, and a small one has more air in it
    least, most = {"oprf-psi": (95, 120), "token-psi": (150, 500), "wide-psi": (130, 400)}[name]
    assert one < 2_000 and least * 200 < many - some < most * 200


@pytest.mark.parametrize(
    ("hashes", "removes", "reason"),
    [
        (LISTED[:0], [], "must add or remove"),
        (LISTED[4:6], [], r"addition 0 \(counted from 0\) is in the set already"),
        (LISTED[3:6], [4], r"addition 1 \(counted from 0\) is in the set already"),
        (LISTED[4:6], [3, 3], "named twice"),
        (NEW[:2], [-1], "64 bits"),
        (NEW[:2], [2**64], "64 bits"),
    ],
)
def test_an_update_that_makes_no_sense_is_refused(
    name: str, hashes: Any, removes: Sequence[int], reason: str
) -> None:
    with pytest.raises(DesignError, match=reason):
        updated(name, published(name), hashes, removes=removes)


def test_after_the_last_delta_a_full_set_is_due(name: str) -> None:
    files = published(name)
    for row in range(MOST_DELTAS):
        assert len(DESIGNS[name].open_setup(setup_files(files)).layers) == row + 1
        files = updated(name, files, NEW[row : row + 1], 100 + row)
    assert len(DESIGNS[name].open_setup(setup_files(files)).layers) == MOST_DELTAS + 1
    last = MOST_DELTAS - 1
    assert [finds(name, files, row.tobytes()) for row in (LISTED[0], NEW[0], NEW[last])] == [
        1,
        100,
        100 + last,
    ]
    with pytest.raises(DesignError, match=f"{MOST_DELTAS} deltas have piled up: publish a full set"):
        updated(name, files, NEW[last + 1 : last + 2], 900)
