"""Drawn bytes are counted in every round and field that a picture changes, and counted, not sampled."""

from __future__ import annotations

from typing import Any

import pytest
from blindmatch_protocol.codec.randomness import seeded
from blindmatch_protocol.designs.token_psi import TokenPsi
from blindmatch_simulations.cli.app import run
from blindmatch_simulations.evaluation.conformance import Options, Verdict, check_design
from msgspec.structs import replace
from planted.honest import FixedSlots, Lengths, NonceBefore, Ratchet, ShortField, UnevenBytes
from planted.mutations.hooks import CHEAT, Hooked, variant
from planted.mutations.rounds import TicketFirst
from planted.mutations.table import CHEATS

NAMED = (
    "a blind of 32 bits beside a long salt",
    "a field of 15 bytes under a blind of 16 bits",
    "a field of six bytes under a blind of 16 bits",
    "a key of 16 bits under a fresh nonce",
    "bit 1 of the hash under a pad of 40 bits",
    "bit 3 of the hash under a pad of 40 bits",
    "bit 8 of the hash under a pad of 40 bits",
)
LATER = [
    cheat
    for cheat in CHEATS
    if cheat.weakness.__module__ == "planted.mutations.rounds" or cheat.name in NAMED
]


def test_a_ticket_of_16_bytes_before_the_blind_is_counted_and_not_sampled() -> None:
    (result,) = check_design(TicketFirst(), Options(only=["draws"])).results
    assert result.verdict is Verdict.PASSED
    assert "session" in result.figures["influence"]


@pytest.mark.parametrize("cheat", LATER, ids=lambda cheat: cheat.name.replace(" ", "-"))
def test_what_hides_another_round_or_field_hides_nothing_here(cheat: Any) -> None:
    (failure,) = check_design(cheat.weakness(), Options(only=["draws"])).failed
    assert cheat.move.where in failure.step
    assert "field" in failure.rule


@pytest.mark.parametrize("kind", [ShortField, FixedSlots, NonceBefore, Ratchet, Lengths])
def test_pads_of_their_own_in_short_fields_slots_and_ratchets_raise_no_alarm(kind: Any) -> None:
    (result,) = check_design(kind(), Options(only=["draws"])).results
    assert result.verdict is Verdict.PASSED


@pytest.mark.parametrize("seed", range(1, 9))
def test_values_of_a_byte_that_are_not_equally_likely_raise_no_alarm(seed: int) -> None:
    (result,) = check_design(UnevenBytes(), Options(only=["draws"], seed=seed)).results
    assert result.verdict is Verdict.PASSED


class Tokens(Hooked, TokenPsi):
    """token-psi under another name, with all its tokens."""

    info = replace(TokenPsi.info, name=CHEAT)


Short = variant(Tokens, drawn=lambda _, about, rng: seeded(rng.take(2).hex()))
"""Blinds that 16 bits decide."""


def test_a_failure_names_the_parameters_that_were_lowered() -> None:
    report = check_design(Short(), Options(only=["draws"]))
    (failure,) = report.failed
    assert failure.evidence["parameters"] == "bands 2, probes 2"
    assert "; parameters lowered to bands 2, probes 2 (seed 1)" in report.line(failure)


def test_parameters_that_were_given_are_not_said_to_be_lowered(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["conformance", "hash-upload", "--only", "draws"]) == 0
    options = Options(only=["draws"], values={"bands": 2, "probes": 2})
    (failure,) = check_design(Short(), options).failed
    assert "parameters" not in failure.evidence
