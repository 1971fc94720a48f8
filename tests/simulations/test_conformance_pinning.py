"""Pinning: what follows from what is sent beside it is found, in used accounts too; honest designs pass."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blindmatch_protocol.codec.randomness import seeded
from blindmatch_protocol.contract import AnyDesign
from blindmatch_protocol.designs import hash_upload, oprf_psi
from blindmatch_protocol.messages.franking import Evidence, opened_commitment
from blindmatch_simulations.cli.app import run
from blindmatch_simulations.evaluation.conformance import Options, check_design
from blindmatch_simulations.evaluation.conformance.fixtures import Fixtures
from blindmatch_simulations.evaluation.conformance.leakage.lives import lives
from blindmatch_simulations.evaluation.conformance.leakage.pinning import (
    DRAWS,
    Fields,
    compare,
    pairs_of,
    told_apart,
    visible,
)
from blindmatch_simulations.evaluation.conformance.leakage.relations import role_players
from blindmatch_simulations.testbed.deployment.registry import built_in_designs
from blindmatch_simulations.testbed.inprocess.messages import drawn_message, drawn_name
from blindmatch_simulations.testbed.inprocess.verdict import Verdict
from blindmatch_simulations.testbed.pictures.pool import make_pool
from dummy_designs import ALL, CARRIED, CONFIGURED, ECHO, MASKED, NATIVE, VOUCHERS
from planted.fair import EnrolledKey
from planted.honest import HONEST, AccountKey, Fills, NonceBefore, Ratchet, ReadsEvidence, Selects
from planted.mutations.hooks import Cheat
from planted.mutations.table import CHEATS

PINNED = [cheat for cheat in CHEATS if cheat.move.check == "egress" and cheat.move.where]
CHEAP = (
    "the request id is the session's seed",
    "the request id is the session's seed backwards",
    "the request id is the session's seed inverted",
    "the request id is the session's seed in hexadecimal",
    "a chain of nonces that links an account's requests",
    "an account's nonces are a hash chain",
    "a masked hash in one of sixteen accounts",
    "who writes to whom in a voucher",
    "pixels in a voucher whose evidence decodes",
)


def egress(design: AnyDesign, seed: int = 1) -> Any:
    (result,) = check_design(design, Options(seed=seed, only=["egress"])).results
    return result


@pytest.mark.parametrize("name", CHEAP)
def test_what_a_replay_takes_for_randomness_is_found_if_what_is_sent_explains_it(name: str) -> None:
    (cheat,) = (one for one in CHEATS if one.name == name)
    result = egress(cheat.weakness())
    assert result.verdict is Verdict.FAILED
    assert cheat.move.where in result.step
    assert "raises" not in result.rule


@pytest.mark.exhaustive
@pytest.mark.parametrize("cheat", PINNED, ids=lambda cheat: cheat.name.replace(" ", "-"))
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_no_seed_hides_a_leak_that_is_pinned(cheat: Cheat, seed: int) -> None:
    result = egress(cheat.weakness(), seed)
    assert cheat.move.where in result.step


@pytest.mark.parametrize("kind", [Fills, Selects, AccountKey, NonceBefore, Ratchet, ReadsEvidence])
def test_filler_account_keys_and_evidence_that_is_read_raise_no_alarm(kind: Callable[[], Any]) -> None:
    result = egress(kind())
    assert result.verdict is Verdict.PASSED, result.rule


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_stream_under_a_key_that_an_account_enrolled_with_and_keeps_raises_no_alarm(seed: int) -> None:
    result = egress(EnrolledKey(), seed)
    assert result.verdict is Verdict.PASSED, result.rule


@pytest.mark.parametrize("design", [ECHO, CARRIED, MASKED, VOUCHERS], ids=lambda one: one.info.name)
def test_an_honest_dummy_raises_no_alarm(design: AnyDesign) -> None:
    assert egress(design).verdict is Verdict.PASSED


@pytest.mark.exhaustive
@pytest.mark.parametrize("kind", HONEST, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_no_seed_makes_an_honest_design_a_cheat(kind: Callable[[], Any], seed: int) -> None:
    assert egress(kind(), seed).verdict is Verdict.PASSED


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    "design",
    [*(one.design for one in built_in_designs()), *ALL, CONFIGURED, NATIVE],
    ids=lambda design: design.info.name,
)
def test_no_built_in_raises_an_alarm_and_none_passes_without_a_pair(design: AnyDesign) -> None:
    result = egress(design)
    assert result.verdict is not Verdict.FAILED, result.rule
    if result.verdict is Verdict.PASSED:
        assert result.figures["pinned"]["pairs"] > 0


def test_a_design_that_declares_the_hash_is_compared_with_composed_pictures() -> None:
    fixtures = Fixtures(hash_upload.DESIGN)
    (opponent,) = (one for one in role_players(fixtures) if len(one.parties) == 1)
    life = lives(fixtures)[0]
    pairs = pairs_of(fixtures, life, opponent)
    composed = [pair for pair in pairs if pair.second.kind == "composed"]
    assert composed
    for pair in pairs:
        assert pair.second.item is not pair.first.item
        told = [opponent.project(one.item, life.deployed.setup) for one in (pair.first, pair.second)]
        assert told[0] == told[1]


def test_a_failure_gives_field_values_pictures_and_party(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "seeded.py"
    source.write_text("from planted.mutations.pinned import Seeded\n\nDESIGN = Seeded()\n")
    written = tmp_path / "result.json"
    arguments = ["conformance", f"{source}:DESIGN", "--only", "egress", "--json", str(written)]
    assert run(arguments) == 1
    assert "egress: semi-honest matcher, a new account: field round 1, matcher: " in capsys.readouterr().err
    evidence = json.loads(written.read_text())["evidence"]["egress"]
    first, _, second = evidence["items"].partition(" and ")
    assert evidence["party"] == "matcher"
    assert first != second and {first, second} <= {one.name for one in make_pool(1).pictures}
    place = re.fullmatch(
        rf"field `round 1, matcher: cheat/request request\[(\d+)\]`: (..) for {first}, (..) for {second}",
        evidence["field"],
    )
    assert place is not None
    values = [bytes.fromhex(evidence[name]) for name in ("first_value", "second_value")]
    assert [f"{value[int(place[1])]:02x}" for value in values] == [place[2], place[3]]


def test_pieces_of_four_bytes_are_visible_and_shorter_ones_are_not() -> None:
    secret = bytes(range(100, 120))
    seen = b"\0" + secret[3:7] + b"\0\0" + secret[10:13] + b"\0" + secret[15:]
    kept = visible(secret, seen)
    assert np.flatnonzero(kept).tolist() == [3, 4, 5, 6, 15, 16, 17, 18, 19]
    assert not visible(secret[:3], secret).any()


@pytest.mark.parametrize(
    "spelt",
    [
        lambda secret: secret[::-1],
        lambda secret: bytes(255 - one for one in secret),
        lambda secret: bytes(255 - one for one in secret[::-1]),
        lambda secret: b"x" + secret.hex().encode(),
        lambda secret: secret.hex().upper().encode(),
    ],
)
def test_pieces_are_visible_backwards_inverted_and_in_hexadecimal(spelt: Callable[[bytes], bytes]) -> None:
    secret = bytes(range(100, 120))
    assert visible(secret, b"before" + spelt(secret) + b"after").all()


@pytest.mark.parametrize("ending", [b"", b"end"])
def test_fields_of_varying_length_are_compared_from_both_ends(ending: bytes) -> None:
    rng = seeded("lengths")

    def sent(tail: bytes) -> list[Fields]:
        return [{"field": rng.take(1 + at % 7) + tail + ending} for at in range(DRAWS)]

    same = sent(b"one")
    other = sent(b"two")
    assert told_apart(same, sent(b"one")) is None
    found = told_apart(same, other)
    assert found is not None and found.field == "field"


def test_rare_values_lengths_and_fields_that_come_and_go_tell_nothing() -> None:
    """One run in 24 differs, which is where the bound on false alarms is not far from reached."""

    def side(name: str) -> Callable[[int], Fields]:
        rng = seeded(name)

        def run_once(again: int) -> Fields:
            rare = rng.take(1)[0] % DRAWS == 0
            return {"value": bytes([rare]), "length": bytes(1 + rare), **({"field": b"x"} if rare else {})}

        return run_once

    assert [compare(side(f"first/{at}"), side(f"second/{at}")) for at in range(200)] == [None] * 200


def test_a_field_that_is_there_for_one_picture_alone_tells() -> None:
    found = compare(lambda again: {"a": b"1"}, lambda again: {"a": b"1", "b": b""})
    assert found is not None and found.field == "b"


def test_drawn_evidence_decodes_and_opens_its_commitment() -> None:
    rng = seeded("evidence")
    for _ in range(20):
        message = drawn_message(rng)
        shown = Evidence.decode(message.binding.evidence)
        assert opened_commitment(shown) == message.binding.commitment
        assert shown.recipient == (message.recipient if message.named else "")
        again = message.sealed_again(rng).binding
        assert again.commitment != message.binding.commitment
    assert len({len(drawn_name(rng)) for _ in range(50)}) > 5


def test_a_design_without_state_is_looked_at_in_three_epochs_and_past_an_update() -> None:
    names = [life.name for life in lives(Fixtures(oprf_psi.DESIGN))]
    assert names == ["a new account", "past an update", "in epoch 2", "in epoch 3"]
    aged = [life.name for life in lives(Fixtures(AccountKey()))]
    assert aged == [
        "a new account", "after a picture", "after failures", "past an update", "in its second epoch",
        "in its third epoch",
    ]  # fmt: skip
