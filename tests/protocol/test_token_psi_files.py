"""token-psi: set files that are the same again, refused when altered, and hide what they should."""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from blindmatch_protocol import contract, labels, store
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.contract import Label, Match, NoMatch, SetParameters, batches_of
from blindmatch_protocol.designs.token_psi import DESIGN, Tokening, derivation, shares, tokens
from blindmatch_protocol.designs.token_psi import files as token_files
from blindmatch_protocol.designs.token_psi.build import SCRATCH
from blindmatch_protocol.designs.token_psi.layers import ADDRESSES_KIND
from blindmatch_protocol.errors import DesignError, SetFileError
from blindmatch_protocol.randomness import seeded
from blindmatch_protocol.setfile import SetFile, SetFileWriter
from support.memory import Held, MemoryWorkspace, held
from support.token_world import LISTED, MATCHER, SMALL, Picture, ask, run, world

VECTORS = Path(__file__).parents[1] / "vectors"


# --- frozen examples -------------------------------------------------------------------------------


def frozen(version: int) -> dict[str, bytes]:
    names = ("set.bin", "matcher.bin")
    return {name: (VECTORS / f"token-psi-v{version}-{name}").read_bytes() for name in names}


def test_the_frozen_set_of_version_1_is_refused_with_the_reason() -> None:
    with pytest.raises(SetFileError, match=r"set\.bin: set format 1 is earlier"):
        DESIGN.open_setup(frozen(1))
    with pytest.raises(SetFileError, match=r"matcher\.bin: set format 1 is earlier"):
        DESIGN.open_role(MATCHER, frozen(1))


def test_the_frozen_set_of_version_2_stays_readable() -> None:
    expected, files = json.loads((VECTORS / "token-psi-v2.json").read_text()), frozen(2)
    hashes = np.frombuffer(bytes.fromhex("".join(expected["hashes"])), np.uint8).reshape(-1, 32)
    setup = DESIGN.open_setup(files, expected["epoch"])
    DESIGN.check_setup(setup)
    place = Held(DESIGN, setup, {MATCHER: DESIGN.open_role(MATCHER, files)}, hashes, hashes)
    for number, row in enumerate(hashes):
        salt = bytes.fromhex(expected["salts"][number])
        found = run(place, Picture(row.tobytes()))
        assert found == Match(Label(row.tobytes(), number + 1, salt, expected["epoch"]))
    assert run(place, Picture(LISTED[0].tobytes())) == NoMatch()


def test_tokens_derivations_and_shares_are_the_frozen_ones() -> None:
    expected = json.loads((VECTORS / "token-psi-v2.json").read_text())
    asked, shared, epoch = expected["probes"], expected["shares"], expected["epoch"]
    coefficients = np.array(asked["coefficients"], np.float32)
    own = np.packbits(coefficients > 0).tobytes()
    shape = (asked["k"], asked["bands"], asked["probes"])
    assert tokens.probe_tokens(own, coefficients, *shape).tolist() == asked["tokens"]
    for row in expected["derivation"]:
        output = np.frombuffer(bytes.fromhex(row["output"]), np.uint8).reshape(1, 64)
        keys = derivation.token_keys(output, expected["epoch"])
        assert (keys.store_keys.tobytes().hex(), keys.masks.tobytes().hex()) == (
            row["store_key"],
            row["mask"],
        )
    epoch = expected["epoch"]
    polynomial = np.frombuffer(bytes.fromhex("".join(shared["coefficients"])), np.uint8).reshape(1, 2, 16)
    secret = shares.secrets_of(polynomial)
    assert [row.tobytes().hex() for row in shares.values(polynomial, 10)[0]] == shared["values"]
    assert secret.tobytes().hex() == shared["secret"]
    assert int(derivation.addresses(secret, epoch)[0]) == shared["address"]
    assert derivation.label_keys(secret, epoch).tobytes().hex() == shared["label_key"]
    assert derivation.member_secret(secret.tobytes(), 1, epoch).hex() == shared["second_member"]


# --- files ---------------------------------------------------------------------------------------


def published(
    epoch: int = 1, out: MemoryWorkspace | None = None, seed: str = "k", values: Mapping[str, int] = SMALL
) -> dict[str, bytes]:
    out = out or MemoryWorkspace()
    salts = np.frombuffer(seeded("salts").take(16 * 5), np.uint8).reshape(5, 16)
    source = batches_of(LISTED[:5], np.arange(5, dtype=np.uint64), salts)
    with ThreadPoolExecutor(2) as pool:
        DESIGN.publish(source, SetParameters(epoch, values), seeded(seed), pool, out)
    return {name: file.getvalue() for name, file in out.created.items()}


def test_the_same_seed_gives_the_same_files_also_over_a_used_or_altered_scratch() -> None:
    once, again = published(), MemoryWorkspace()
    for touched in (None, 50):
        if touched is not None:
            again.scratches[SCRATCH][touched] ^= 1
        again.created.clear()
        assert published(out=again) == once
    assert published(seed="other")["set.bin"] != once["set.bin"]


def test_a_scratch_of_another_epoch_is_not_taken_up() -> None:
    again = MemoryWorkspace()
    published(out=again)
    again.created.clear()
    assert published(epoch=2, out=again) == published(epoch=2)


def test_labels_have_places_for_signatures() -> None:
    place = held(DESIGN, LISTED[:5], 1, {**SMALL, "signatures": 8})
    DESIGN.check_setup(place.setup)
    found = run(place, Picture(LISTED[0].tobytes()))
    assert isinstance(found, Match) and found.label.signatures == bytes(8 * 64)


def test_every_altered_byte_of_a_section_is_refused_when_it_is_used() -> None:
    files = published()
    state = DESIGN.open_role(MATCHER, files)
    place = SetFile(files["set.bin"], "set.bin", "token-psi", 2)
    for kind in (store.KIND, labels.KIND, ADDRESSES_KIND):
        row = place.row(kind)
        for at in range(row.offset, row.end, 37):
            altered = bytearray(files["set.bin"])
            altered[at] ^= 1
            setup = DESIGN.open_setup({"set.bin": bytes(altered)}, 1)
            with pytest.raises(SetFileError, match="altered"):
                run(Held(DESIGN, setup, {MATCHER: state}, LISTED, LISTED), Picture(LISTED[0].tobytes()))


def test_every_flipped_byte_of_the_matchers_file_is_refused() -> None:
    files = published()
    for at in range(len(files["matcher.bin"])):
        altered = bytearray(files["matcher.bin"])
        altered[at] ^= 0x10
        with pytest.raises(SetFileError):
            DESIGN.open_role(MATCHER, {**files, "matcher.bin": bytes(altered)})


def test_a_set_for_other_parameters_is_refused() -> None:
    files, other = published(), published(values={**SMALL, "probes": 3})
    with pytest.raises(SetFileError, match=r"matcher\.bin: built for other parameters"):
        DESIGN.open_role(MATCHER, {**files, "set.bin": other["set.bin"]})
    with pytest.raises(SetFileError, match=r"set\.bin: built for other parameters"):
        token_files.open_setup(files, 1, Tokening(**{**SMALL, "probes": 3}))
    driver, request = ask(world(), Picture(LISTED[0].tobytes()))
    state = DESIGN.open_role(MATCHER, other)
    refused = DESIGN.answer(MATCHER, state, [contract.Request(request)], seeded("m"), None).replies[0]
    assert "must have 12 rows, not 8" in str(refused)
    assert driver.rounds == 1


@pytest.mark.parametrize("values", [{"k": 24}, {**SMALL, "needed": 9}, {**SMALL, "needed": 2, "more": 1}])
def test_a_set_whose_parameters_make_no_sense_is_refused_even_under_a_fitting_digest(
    values: dict[str, int],
) -> None:
    old = SetFile(published()["set.bin"], "set.bin", "token-psi", 2)
    out = MemoryWorkspace()
    writer = SetFileWriter(out.create("set.bin"), replace(old.identity, parameters=values))
    for kind, index in old.sections:
        writer.section(kind, [old.section(kind, index)], old.row(kind, index).items)
    writer.finish(5)
    with pytest.raises(SetFileError, match=r"set\.bin: parameter"):
        DESIGN.open_setup(out.files(("set.bin",)), 1)


def test_a_set_of_another_epoch_a_missing_file_or_another_matcher_is_refused() -> None:
    files, other = published(epoch=4), published(epoch=4, seed="other")
    with pytest.raises(SetFileError, match=r"set\.bin: for epoch 4, not epoch 5"):
        DESIGN.open_setup(files, 5)
    with pytest.raises(SetFileError, match=r"set\.bin is missing"):
        DESIGN.open_setup({})
    with pytest.raises(SetFileError, match=r"matcher\.bin is missing"):
        DESIGN.open_role(MATCHER, {})
    with pytest.raises(SetFileError, match=r"made for another set\.bin"):
        DESIGN.open_role(MATCHER, {**files, "set.bin": other["set.bin"]})


def test_the_number_of_keys_tells_nothing_of_how_entries_meet() -> None:
    alike: Rows = np.repeat(LISTED[:1], 5, axis=0)
    for hashes in (LISTED[:5], alike):
        place = held(DESIGN, hashes, 1, SMALL)
        file = place.setup.layers[0].file
        assert sum(s.items for s in file.sections.values() if s.kind == store.KIND) == 5 * 4


def test_an_entry_whose_label_would_be_sealed_under_a_key_that_another_has_is_refused() -> None:
    """A family is cut at 64: entry 64 here is entry 0 once more, and would have its keys."""
    same = np.repeat(LISTED[:1], 65, axis=0)
    ids, salts = np.arange(65, dtype=np.uint64), np.zeros((65, 16), np.uint8)
    parameters = SetParameters(1, SMALL)
    DESIGN.publish(batches_of(same, ids, salts), parameters, seeded("k"), None, MemoryWorkspace())
    ids[64] = 0
    with pytest.raises(DesignError, match="holds an entry twice"):
        DESIGN.publish(batches_of(same, ids, salts), parameters, seeded("k"), None, MemoryWorkspace())


def test_nothing_secret_is_shown() -> None:
    place = world()
    driver, request = ask(place, Picture(LISTED[0].tobytes()))
    secret = place.states[MATCHER].key.reveal().hex()
    shown = repr((place.states[MATCHER], place.setup, request, driver._inner))
    assert secret not in shown and LISTED[0].tobytes().hex() not in shown and "array" not in shown
