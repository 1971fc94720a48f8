"""threshold-near and threshold-psi do what a script does that follows their pages and shares no code."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blindmatch_protocol import contract as bm
from blindmatch_protocol import group
from blindmatch_protocol.codec.randomness import replayed
from blindmatch_protocol.designs.threshold_near import DESIGN
from blindmatch_protocol.designs.threshold_near import design as near
from blindmatch_protocol.designs.threshold_psi.design import CELLS_KIND, Setup, period_of
from blindmatch_protocol.designs.threshold_psi.shares import DeviceShares
from blindmatch_protocol.designs.threshold_psi.table import Domain, build_cells, planned, values_of
from blindmatch_protocol.sets.plain_list import PlainList
from msgspec import Struct

FOLDER = Path(__file__).parents[1] / "vectors"
COMMITTED = FOLDER / "threshold-near-v3.json"
VECTOR: Mapping[str, Any] = json.loads(COMMITTED.read_text())
FEW: Mapping[str, Any] = VECTOR["few"]["vouchers"]
PARAMETERS: Mapping[str, int] = VECTOR["parameters"]


def rows(text: str | list[str], width: int) -> Any:
    raw = bytes.fromhex("".join(text))
    return np.frombuffer(raw, np.uint8).reshape(-1, width)


class Table(Struct, frozen=True):
    """Stands for the file of a set-up: its cells are the vector's."""

    cells: bytes

    def section(self, kind: int) -> bytes:
        assert kind == CELLS_KIND
        return self.cells


class Item(Struct, frozen=True):
    hash: bytes
    coefficients: Any
    quality: int = 100


@cache
def setup() -> Setup:
    hashes = rows(VECTOR["list"], 32)
    domain = Domain(VECTOR["epoch"], bytes.fromhex(VECTOR["seed"]), DESIGN.slots(len(hashes)))
    file: Any = Table(bytes.fromhex("".join(VECTOR["table"]["cells"])))
    period = period_of(bytes.fromhex(VECTOR["public"]), PARAMETERS)
    return Setup(VECTOR["epoch"], len(hashes), PARAMETERS, rows(VECTOR["public"], 32), domain, period, file)


def opener(kind: type[near.NearOpener]) -> near.NearOpener:
    hashes = rows(VECTOR["list"], 32)
    ids = np.arange(len(hashes), dtype=np.uint64)
    salts = np.zeros((len(hashes), 16), np.uint8)
    known = PlainList(hashes, ids, salts, signatures=np.zeros((len(hashes), 0), np.uint8))
    key = rows(VECTOR["a"], 32)
    return kind(VECTOR["epoch"], setup().period, PARAMETERS["threshold"], key, known)


def item_of(held: Mapping[str, Any]) -> Any:
    return Item(bytes.fromhex(held["hash"]), np.array(held["coefficients"], np.float32))


def tape_of(drawn: Mapping[str, str]) -> bytes:
    """What a device must draw: scalars are reduced from 64 bytes, an order is that of numbers of 8 bytes."""
    scalars = rows(drawn["b"] + drawn["c"] + drawn["r"], 32)
    wide = np.concatenate([scalars, np.zeros_like(scalars)], axis=1).tobytes()
    ranks = bytes.fromhex(drawn["ranks"])
    return (
        bytes(32) + bytes.fromhex(drawn["other_key"]) + wide + ranks + bytes.fromhex(drawn["key"])
        + bytes.fromhex(drawn["noise"])
    )  # fmt: skip


def voucher_of(design: near.ThresholdNear, held: Mapping[str, Any]) -> Any:
    state = near.ThresholdPsi.device_state(bytes.fromhex(VECTOR["device"]["key"]))
    binding = bm.Binding(bytes(32), bytes.fromhex(held["evidence"]))
    step: Any = design.start(state, setup(), item_of(held), binding, replayed(tape_of(held["drawn"]))).step
    return step.outcome.body


EVERY = [(DESIGN, VECTOR["full"]), *((near.SMALL, held) for held in FEW.values())]
NAMES = ["384 tokens", *FEW]


def test_the_committed_vectors_are_what_the_script_writes_which_agrees_with_threshold_psis_too(
    tmp_path: Path,
) -> None:
    """It imports nothing of the product, and stops where a session of designs/threshold-psi.json differs."""
    command = [sys.executable, str(FOLDER / "make_threshold_vectors.py"), str(tmp_path / "again.json")]
    subprocess.run(command, check=True, env={"TMPDIR": str(tmp_path)})
    assert (tmp_path / "again.json").read_bytes() == COMMITTED.read_bytes()


def test_the_table_of_the_script_has_the_products_keys_places_and_elements_and_gives_their_multiples() -> (
    None
):
    table = VECTOR["table"]
    domain = setup().domain
    hashes = rows(VECTOR["list"], 32)
    keys = rows(table["keys"], 9)
    assert (DESIGN.keys_of(hashes) == keys).all()
    assert domain.places(keys).tolist() == table["places"]
    assert (group.hash_to_group(domain.uniform(keys)) == rows(table["elements"], 32)).all()
    multiples = group.multiply(rows(VECTOR["a"], 32), rows(table["elements"], 32))
    assert (setup().values(keys) == multiples).all()
    assert setup().period.hex() == VECTOR["period"]
    # and the product's own table maps the same keys to the same values, by other cells
    plan = planned(VECTOR["epoch"], setup().domain.seed, keys)
    assert plan.domain == domain
    cells = build_cells(plan, rows(VECTOR["a"], 32), keys, bytes(32))
    assert (values_of(cells, domain.places(keys)) == multiples).all()
    assert (cells != setup().cells).any()


@pytest.mark.parametrize(("design", "held"), EVERY, ids=NAMES)
def test_tokens_and_vouchers_are_the_scripts_byte_for_byte(
    design: near.ThresholdNear, held: Mapping[str, Any]
) -> None:
    asked = near.token_rows(design.asked(bytes.fromhex(held["hash"]), item_of(held)))
    assert (asked == rows(held["tokens"], 9)).all()
    state = near.ThresholdPsi.device_state(bytes.fromhex(VECTOR["device"]["key"]))
    assert design.made_up(state, setup(), item_of(held)) is held["synthetic"]
    assert voucher_of(design, held).encode().hex() == held["voucher"]


@pytest.mark.parametrize(("design", "held"), EVERY, ids=NAMES)
def test_the_centre_sees_what_the_script_saw_under_the_outer_seal(
    design: near.ThresholdNear, held: Mapping[str, Any]
) -> None:
    centre = opener(design.opener)
    voucher = near.Voucher.decode(bytes.fromhex(held["voucher"]))
    taken = centre.take("alice", "phone", setup().period, voucher)
    seen = held["centre"]
    assert isinstance(taken, bm.Visible) is bool(seen["listed"]) is (seen["share"] is not None)
    if isinstance(taken, bm.Visible):
        assert taken.row.hex().endswith(seen["share"] + seen["inner"])


@pytest.mark.parametrize("account", VECTOR["accounts"], ids=lambda one: f"{len(one['vouchers'])} vouchers")
def test_an_account_decodes_to_the_keys_and_entries_that_trying_every_t_shares_gives(
    account: Mapping[str, Any],
) -> None:
    centre = opener(near.SmallOpener)
    vouchers = [near.Voucher.decode(bytes.fromhex(FEW[name]["voucher"])) for name in account["vouchers"]]
    opened = bm.open_all(centre, "alice", "phone", setup().period, vouchers)
    assert opened.keys() == {at for at, entry in enumerate(account["entries"]) if entry}
    assert all(label.entry_hash.hex() == account["entries"][at] for at, label in opened.items())
    device = DeviceShares(bytes.fromhex(VECTOR["device"]["key"]), setup().period, centre.threshold)
    assert device.derive(bytes(32))[2].hex() == VECTOR["device"]["account_key"]
    assert account["account_key"] in (None, VECTOR["device"]["account_key"])


def test_the_vectors_have_what_they_are_to_show() -> None:
    assert [bool(one["account_key"]) for one in VECTOR["accounts"]] == [True, False, False]
    hashes = VECTOR["accounts"][0]["hashes"]
    # a picture that is near no entry opens for whoever has the account key, and no entry's label with it
    assert [bool(one) for one in hashes] == [True, True, True, False, False]
    assert [bool(one) for one in VECTOR["accounts"][0]["entries"]] == [True, True, False, False, False]
    assert [len(held["centre"]["listed"]) for held in FEW.values()][2:] == [1, 2, 0]
    keys = VECTOR["table"]["keys"]
    slots = DESIGN.slots(len(VECTOR["list"]))
    bands = [sum(key.startswith(f"{at:02x}") for key in keys) for at in (*range(6), 255)]
    assert (sum(bands), bands[0], bands[1]) == (slots, 4, 3)
