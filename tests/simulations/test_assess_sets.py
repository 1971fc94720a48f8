"""Sets that are kept between runs, what is published as an update, and what the harness adds to a design."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from blindmatch_client.trace import SessionTrace
from blindmatch_protocol.contract import (
    Equal,
    Label,
    Message,
    Near,
    NoMatch,
    Nothing,
    Relation,
    Voucher,
    open_all,
)
from blindmatch_protocol.picture.decode import Picture
from blindmatch_protocol.picture.pdq import rows
from blindmatch_server.curator import HashList
from blindmatch_server.epochs.published import open_publication
from blindmatch_simulations.evaluation.assess.epochs import updated
from blindmatch_simulations.evaluation.assess.keeping import kept_set, key_of
from blindmatch_simulations.evaluation.assess.material import Material, make
from blindmatch_simulations.evaluation.assess.observed import PictureRow
from blindmatch_simulations.evaluation.assess.observing import by_opener, expected_of, near_entries
from blindmatch_simulations.evaluation.assess.plan import Plan, read_plan
from blindmatch_simulations.testbed.deployment.curating import lend
from blindmatch_simulations.testbed.deployment.folder import Deployment
from blindmatch_simulations.testbed.deployment.registry import load_design
from dummy_designs import VOUCHERS, Sealed
from support.assess_rows import TINY


class StoppedError(Exception):
    """A build that was interrupted."""


def quiet(done: int, total: int) -> None:
    """No progress is shown."""


@pytest.fixture(scope="module")
def plan() -> Plan:
    return read_plan(TINY)


@pytest.fixture(scope="module")
def material(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> Material:
    return make(plan, tmp_path_factory.mktemp("material") / "made", quiet)


@pytest.fixture
def entries(material: Material) -> Iterator[HashList]:
    with material.entries() as found:
        yield found


def digests(folder: Path) -> dict[str, str]:
    """Every file of epoch 1."""
    return {one.name: sha256(one.read_bytes()).hexdigest() for one in (folder / "1").iterdir()}


def test_a_set_that_is_kept_is_not_built_again(entries: HashList, tmp_path: Path) -> None:
    design = load_design("oprf-psi")
    built = list[int]()
    first = kept_set(design, entries, 7, tmp_path, lambda done, total: built.append(done))
    assert built
    built.clear()
    again = kept_set(design, entries, 7, tmp_path, lambda done, total: built.append(done))
    assert built == []
    assert again == first
    assert first.spent.parts == 1
    assert first.spent.seconds > 0


def test_an_interrupted_build_is_taken_up_and_gives_the_same_files(entries: HashList, tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        raise StoppedError

    design = load_design("oprf-psi")
    whole = kept_set(design, entries, 7, tmp_path / "whole", quiet)
    with pytest.raises(StoppedError):
        kept_set(design, entries, 7, tmp_path / "parts", stop)
    resumed = kept_set(design, entries, 7, tmp_path / "parts", quiet)
    assert digests(resumed.folder) == digests(whole.folder)
    assert resumed.spent.parts == 2
    assert not list(resumed.folder.glob(".build-*"))


def test_another_seed_list_or_design_is_another_set_and_takes_the_place_of_the_old_one(
    entries: HashList, tmp_path: Path
) -> None:
    upload = load_design("hash-upload")
    keys = {
        key_of(upload, entries, 7),
        key_of(upload, entries, 8),
        key_of(load_design("provider-scan"), entries, 7),
    }
    assert len(keys) == 3
    kept_set(upload, entries, 7, tmp_path, quiet)
    kept_set(upload, entries, 8, tmp_path, quiet)
    assert [one.name for one in tmp_path.iterdir()] == [key_of(upload, entries, 8)]


def test_a_kept_set_that_was_damaged_is_built_anew(entries: HashList, tmp_path: Path) -> None:
    design = load_design("hash-upload")
    kept = kept_set(design, entries, 7, tmp_path, quiet)
    before = digests(kept.folder)
    spoilt = kept.folder / "1" / "list.bin"
    spoilt.chmod(0o600)
    whole = spoilt.read_bytes()
    spoilt.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert digests(kept.folder) != before
    assert digests(kept_set(design, entries, 7, tmp_path, quiet).folder) == before


@pytest.mark.parametrize(
    ("name", "whole"), [("hash-upload", True), ("none", True), ("oprf-psi", False), ("token-psi", False)]
)
def test_an_update_is_a_change_where_the_design_can_and_leaves_the_kept_set_alone(
    name: str, whole: bool, entries: HashList, plan: Plan, deployment: Deployment, tmp_path: Path
) -> None:
    design = load_design(name)
    kept = kept_set(design, entries, 7, tmp_path / "sets", quiet)
    before = digests(kept.folder)
    folder = deployment.published(name)
    lend(kept.folder, folder, deployment.signer(datetime.now(UTC)))
    done = updated(deployment, design, entries, plan)
    assert done.built is not None
    assert done.why.startswith("a whole set: ") is whole
    assert done.built.entries == (len(entries) + 1 if whole else 3)
    assert 0 < done.fetched_bytes <= done.built.setup_bytes
    assert open_publication(folder).manifest.entries == len(entries) + 1
    assert digests(kept.folder) == before
    assert open_publication(kept.folder).manifest.epoch == 1


@pytest.mark.parametrize(
    "relation", [Nothing(), Equal(), Near(31), Near(256), Near(256, minimum_quality=101)]
)
def test_what_is_expected_of_a_picture_is_what_the_oracle_says(
    relation: Relation, entries: HashList, material: Material
) -> None:
    pictures = [(item, Picture.from_bytes(material.data(item))) for item in material.items()]
    expected = [expected_of(relation, item, picture) for item, picture in pictures]
    assert expected == [relation.matches(picture, entries.hashes) for _, picture in pictures]
    near = near_entries(relation, [p for _, p in pictures], entries.hashes)
    assert expected == [relation.matches(picture, near) for _, picture in pictures]


def voucher_trace(item: int, hashed: bytes | None) -> SessionTrace:
    """A session that ended in a voucher, or in nothing."""
    outcome = NoMatch() if hashed is None else Voucher(Sealed(hashed, 100))
    return SessionTrace(item, b"", b"", (), outcome)


@pytest.mark.parametrize("counted", [2, 1])
def test_pictures_whose_vouchers_open_are_told_apart_if_the_centre_opened_as_many(
    counted: int, entries: HashList, tmp_path: Path
) -> None:
    kept = kept_set(VOUCHERS, entries, 7, tmp_path, quiet)
    opener = VOUCHERS.open_opener(open_publication(kept.folder).opener())
    again = partial(open_all, opener, "sender", "sender", bytes(8))
    hashes = [entries.hashes[0].tobytes(), bytes(32), entries.hashes[5].tobytes(), None]
    traces = [voucher_trace(at, hashed) for at, hashed in enumerate(hashes)]
    rows = [unknown(at) for at in range(4)]
    found = [row.matched for row in by_opener(rows, traces, again, counted)]
    assert found == ([True, False, True, False] if counted == 2 else [None] * 4)


@pytest.mark.parametrize("counted", [1, 2])
def test_an_account_that_was_open_before_made_up_vouchers_came_is_opened_again_in_that_order(
    counted: int,
) -> None:
    def again(vouchers: Sequence[Message]) -> dict[int, Label]:
        real = [at for at, one in enumerate(vouchers) if isinstance(one, Sealed) and one.hash[0]]
        return dict.fromkeys(real, Label(bytes(32), 0, bytes(16))) if 2 * len(real) > len(vouchers) else {}

    traces = [voucher_trace(at, bytes([kind, at]) + bytes(30)) for at, kind in enumerate((1, 1, 0, 0))]
    rows = [unknown(at) for at in range(4)]
    assert [row.matched for row in by_opener(rows, traces, again, counted)] == [
        at < counted for at in range(4)
    ]
    assert [row.matched for row in by_opener(rows, traces, again, 3)] == [None] * 4


def unknown(index: int) -> PictureRow:
    """A row of which nobody has told yet whether it matched."""
    return PictureRow(
        index, "cat", "identical", True, 100, 0, 0, True, None, "voucher", True, 0, 0, 90, 5.0, 2.0
    )


def test_entries_near_no_picture_are_left_out(entries: HashList, material: Material) -> None:
    listed = [item for item in material.items() if item.listed and item.edit == "identical"]
    pictures = [Picture.from_bytes(material.data(item)) for item in listed]
    near = near_entries(Equal(), pictures, entries.hashes)
    assert {row.tobytes() for row in near} == {picture.hash for picture in pictures}
    assert np.array_equal(near_entries(Nothing(), pictures, entries.hashes), rows([]))
