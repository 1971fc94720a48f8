"""The defensive suite: what its attacks would miss if they were wrong."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from blindmatch_client.egress.calls import EXCHANGE, SEND
from blindmatch_protocol import contract as bm
from blindmatch_protocol.codec.randomness import seeded
from blindmatch_protocol.designs.carried import carried
from blindmatch_protocol.designs.he_hamming import DESIGN, SMALL
from blindmatch_protocol.designs.slot_psi.design import DESIGN as SLOT_PSI
from blindmatch_protocol.messages.content import compose
from blindmatch_simulations.evaluation.attacks import (
    carrying,
    extraction,
    hidden_slots,
    metadata,
    perceptual_hash,
    recorded,
)
from blindmatch_simulations.evaluation.attacks.arena import Arena
from blindmatch_simulations.evaluation.attacks.figure import Figure
from blindmatch_simulations.evaluation.attacks.run import run_attack
from blindmatch_simulations.evaluation.attacks.table import ATTACKS, pairs
from blindmatch_simulations.measure.intervals import advantage
from blindmatch_simulations.testbed.deployment.registry import all_designs, load_design
from blindmatch_simulations.testbed.pictures.crops import crops
from msgspec import UNSET
from msgspec.structs import replace
from support.command import in_process

EVERYWHERE = ("recurring-picture", "recorded-requests", "key-limits")


def arena(design: str) -> Arena:
    return Arena(load_design(design), thorough=False)


def figure(name: str, design: str, weakened: bool = False) -> Figure:
    return run_attack(ATTACKS[name], arena(design), weakened).figure


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "design"),
    [
        (one.attack.name, one.design.info.name)
        for one in pairs([each.design for each in all_designs().values()])
        if one.attack.name in EVERYWHERE and not one.unplayed
    ],
)
def test_a_weakness_wins_in_every_design_that_claims_to_withstand(name: str, design: str) -> None:
    assert figure(name, design, weakened=True).succeeded


def test_a_prefix_alone_singles_out_what_blinded_requests_do_not() -> None:
    assert figure("recurring-hash", "prefix-bucket").succeeded
    assert not figure("recurring-picture", "oprf-psi").succeeded


def test_without_an_account_days_add_up_slowly() -> None:
    *left, by_activity = figure("recurring-hash", "third-party").parts.values()
    assert left[0] > 1 and left == sorted(left, reverse=True)
    assert 0 <= by_activity <= 1


def test_a_provider_asks_beyond_limits_by_day_unless_a_role_holds_it_to_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where limits by day and year stand at the provider, it need not keep them; a role's own would stop
    it."""
    held = carried(SLOT_PSI)
    over_asking = ATTACKS["over-asking"]
    found = over_asking.move(Arena(held, thorough=False))
    assert found.value == carrying.QUICK - 1 and found.succeeded

    def by_day(self: Any, role: bm.Role, state: Any) -> bm.KeyLimits:
        return bm.KeyLimits(b"key", 16, periods=(bm.PeriodLimit(86_400, 16),))

    monkeypatch.setattr(type(held), "key_limits", by_day)
    assert not over_asking.move(Arena(held, thorough=False)).succeeded


def of_slots(name: str, weakened: bool = False) -> Figure:
    return run_attack(ATTACKS[name], Arena(SLOT_PSI, thorough=False), weakened).figure


def test_guessed_pairs_open_look_alikes_in_few_questions_and_nothing_else() -> None:
    """20 bits from an entry, 16 questions each; strangers open 48 * 2^(9 - 32) of 64 entries."""
    found = of_slots("guessed-pairs")
    assert found.succeeded and found.value == hidden_slots.QUICK
    one, four, sixteen, *strangers = found.parts.values()
    assert one <= four <= sixteen == found.value
    assert strangers == [0, 0, 0]


def test_first_questions_tell_every_listed_hash_and_no_other() -> None:
    """Of 64 others one is taken for listed once in 4,096 runs."""
    found = of_slots("first-questions")
    assert list(found.parts.values()) == [hidden_slots.ENTRIES, 0]


def test_recorded_requests_of_several_rounds_stay_closed_unless_blinds_repeat() -> None:
    assert not of_slots("recorded-requests").succeeded
    assert of_slots("recorded-requests", weakened=True).succeeded


def test_first_questions_tell_nothing_where_slots_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = np.random.default_rng(1)
    monkeypatch.setattr(
        hidden_slots, "_slots_read", lambda deployed, tokens, rng: drawn.integers(0, 512, tokens.shape)
    )
    assert not of_slots("first-questions").succeeded


def test_both_parties_know_each_listed_picture_again_and_others_by_chance_pairs_alone() -> None:
    found = of_slots("joined-parties")
    assert found.tries["listed"] == found.parts["listed"] == hidden_slots.QUICK
    # one in six has a chance pair, all four of them once in 1,200 runs
    assert found.parts["others"] < hidden_slots.QUICK


def test_limits_by_day_hold_until_nobody_checks_them() -> None:
    assert of_slots("key-limits").value == 0
    assert of_slots("key-limits", weakened=True).succeeded


@pytest.mark.parametrize("design", ["third-party", "prefix-bucket"])
def test_requests_that_show_nothing_single_out_nobody(monkeypatch: pytest.MonkeyPatch, design: str) -> None:
    monkeypatch.setattr(recorded, "_shown", lambda *_: frozenset())
    monkeypatch.setattr(recorded, "QUICK_TRIALS", 20)
    assert figure("recurring-hash", design).value == 0


def test_kinds_told_without_a_link_are_no_success(monkeypatch: pytest.MonkeyPatch) -> None:
    exchange = EXCHANGE.path
    send = SEND.path
    pictures = [True, False, True, True, False, True]
    calls = []
    for number, picture in enumerate(pictures):
        methods = [exchange, send] if picture else [send]
        calls += [metadata._Call(metadata.SENDERS[number % 2], method, number) for method in methods]
    found = metadata._figure(calls, pictures)
    assert found.succeeded and found.value == found.trials == 4
    asked = [number for number, picture in enumerate(pictures) if picture]
    monkeypatch.setattr(metadata, "_linked", lambda _: [(number, None) for number in asked])
    blind = metadata._figure(calls, pictures)
    assert not blind.succeeded and blind.value == 0
    assert list(blind.parts.values())[1] == 2, "texts are told by chance"


def test_a_wholly_other_picture_is_not_taken_for_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(perceptual_hash, "PATCH", 0.98)
    monkeypatch.setattr(perceptual_hash, "_near", lambda *_: True)
    found = perceptual_hash.look_alikes.move(arena("oprf-psi"))
    assert found.trials == perceptual_hash.QUICK and found.value == 0 and not found.succeeded


def test_paper_on_paper_is_no_other_picture() -> None:
    page = np.full((20, 20, 3), 250, np.uint8)
    written = page.copy()
    written[:2] = 0
    assert not perceptual_hash._differ(page, page - 5)
    assert not perceptual_hash._differ(page, written)  # a tenth of it
    written[:3] = 0
    assert perceptual_hash._differ(page, written)


def test_more_poison_watches_more_and_equality_less_than_nearness() -> None:
    *near, equal = figure("poisoned-list", "device-list").parts.values()
    assert near == sorted(near) and near[-1] > near[0] and near[-1] > equal


def test_more_devices_open_more_until_the_cap_for_all() -> None:
    made = run_attack(ATTACKS["pooled-extraction"], arena("token-psi"))
    found = made.figure.parts
    alone, two, four, eight, *projected = found.values()
    assert alone < two < four == eight, "the cap for all holds"
    assert f"accounts 8, evaluations {extraction.TOGETHER}" in found
    assert made.budget.queries == (96 + 192 + 384 + 384) // 32, "no more than is granted"
    assert made.figure.interval is None, "entries of one list are not independent"
    assert projected == sorted(projected) and projected[1] == pytest.approx(0.264, abs=0.001)  # token-psi.md


def test_without_a_cap_for_all_every_further_device_opens_more() -> None:
    found = run_attack(ATTACKS["pooled-extraction"], arena("wide-psi")).figure.parts
    alone, two, four, eight, *projected = found.values()
    assert alone < two < four < eight and "accounts 8, evaluations 768" in found
    # 4,800,000 tokens of 2^42 open next to nothing, a million times as many the whole list
    assert projected[0] < 1e-4 and projected[1] > 0.68
    assert figure("key-limits", "wide-psi").value == 0
    assert "of all together" not in figure("key-limits", "wide-psi").parts


def test_a_request_under_keys_of_its_own_opens_no_more_than_is_declared() -> None:
    """Four slots of 256 have other numbers than 0 and 1, and v is that of no match for one entry in 16."""
    opened = figure("own-relinearisation", "he-hamming")
    assert opened.value / opened.trials == pytest.approx((1 - 4 / 256) * (1 - 1 / 16), abs=0.05)
    for design in (SMALL, DESIGN):
        for entries, declared in ((1, 1.0), (design.sizes.degree, 1.0), (4 * design.sizes.degree, 0.25)):
            setup = SimpleNamespace(ring=SimpleNamespace(degree=design.sizes.degree), entries=entries)
            assert design.extraction(setup).share(1) == declared  # type: ignore[arg-type]


def test_whoever_had_the_account_before_it_received_reads_what_was_recorded() -> None:
    alice, bob = (recorded.Account.create(name, recorded.NOW, 1) for name in (recorded.ALICE, recorded.BOB))
    bundle = bob.get_published_keys()
    before = recorded.Account.load(bob.dump())
    sealed = alice.encrypt("bob", compose("hello", (), recorded.NOW, seeded("content")), bundle)
    bob.decrypt("alice", sealed)
    assert recorded._opens(before, sealed, reset=False), "else the attack could not succeed"
    assert not recorded._opens(bob, sealed, reset=False) and not recorded._opens(bob, sealed, reset=True)


def test_a_try_past_both_limits_is_one_try() -> None:
    assert figure("key-limits", "token-psi").trials == 8 * (96 // 32 + 2)


def test_crops_of_one_photograph_are_no_independent_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    (one,) = crops(1, 1)
    monkeypatch.setattr(perceptual_hash, "QUICK_LISTED", 2)
    monkeypatch.setattr(perceptual_hash, "crops", lambda count, seed: [one] * count)
    monkeypatch.setattr(Arena, "once", lambda arena, key, make: make())
    found = figure("fixed-edits", "oprf-psi")
    assert found.interval is None and found.trials == 1, "photograph"


def test_the_better_of_two_shares_is_held_to_bonferronis_level() -> None:
    found = figure("one-share", "split-psi")
    low, high = advantage(20, 40, 0.995).figures()["interval"]
    assert found.interval == (low, high)


@pytest.mark.parametrize("option", ["--hash", "--list", "--picture", "--pictures", "--target", "--entries"])
def test_nothing_from_outside_is_attacked(tmp_path: Path, option: str) -> None:
    assert in_process(tmp_path, "attack", "run", "rebuilt-collisions", option, "x").code == 2


def test_an_attack_states_all_that_it_spent_at_once() -> None:
    made = run_attack(ATTACKS["dual-purpose"], replace(arena("split-psi"), seed=2))
    assert (made.budget.queries, made.budget.list_share) == (20, 0.1)


def test_what_is_rebuilt_from_generated_hashes_knows_no_share_of_a_list() -> None:
    assert run_attack(ATTACKS["rebuilt-collisions"], arena("oprf-psi")).budget.list_share is UNSET
