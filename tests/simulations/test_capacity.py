"""What modified phones open of a hidden list, and how long its key lasts: formulas, runs, command, page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blindmatch_protocol import contract as bm
from blindmatch_protocol.codec.randomness import seeded
from blindmatch_protocol.designs.carried import carried
from blindmatch_protocol.designs.slot_psi.design import DESIGN as SLOT_PSI
from blindmatch_protocol.designs.token_psi import DESIGN, Tokening, TokenPsi
from blindmatch_protocol.designs.token_psi.build import best_share, evaluations_for_all
from blindmatch_protocol.designs.token_psi.tokens import entry_tokens, plan
from blindmatch_protocol.designs.wide_psi import WideTokening
from blindmatch_simulations.cli import exit_codes
from blindmatch_simulations.cli.app import run
from blindmatch_simulations.evaluation.assess.alone import extracted, key_use
from blindmatch_simulations.evaluation.assess.observed import KeyUse, PeriodUse
from blindmatch_simulations.evaluation.assess.results import check_folder
from blindmatch_simulations.evaluation.population.inputs import YEAR, read_inputs
from blindmatch_simulations.evaluation.population.model import literature, model
from blindmatch_simulations.evaluation.population.outputs import exhausted
from blindmatch_simulations.evaluation.studies import best_order
from blindmatch_simulations.evaluation.studies import capacity as told
from blindmatch_simulations.evaluation.studies.best_order import (
    ALL_KINDS,
    EXPONENTS,
    FAR,
    FURTHER,
    LIKE_PHOTOGRAPHS,
    NEAR,
    BestOrder,
    Curve,
    Guessed,
)
from blindmatch_simulations.evaluation.studies.capacity import capacity, eu_volume, opened_alone
from blindmatch_simulations.evaluation.studies.capacity_records import (
    ANY,
    UNIFORM,
    AskingTime,
    Assumed,
    Capacity,
    How,
    Limit,
    ListStanding,
)
from blindmatch_simulations.evaluation.studies.near_bench import extract, extract_tokens
from blindmatch_simulations.evaluation.studies.near_tokens import uniform_list
from blindmatch_simulations.testbed.deployment.registry import built_in_designs, load_design
from blindmatch_simulations.testbed.inprocess.deployed import opened, publish
from blindmatch_simulations.testbed.pictures.pool import random_hashes
from msgspec.structs import replace
from support.assess_page import results_folder
from support.assess_rows import observed, row
from support.drawn import drawn

EU = Assumed(eu_volume())
NO_CURVES = BestOrder(1, "", (), ())


def of(name: str, assumed: Assumed = EU, now: float = 0.0, **values: int) -> Capacity:
    return capacity(opened_alone(load_design(name), values, seeded("capacity")), assumed, now)


@pytest.fixture(scope="module")
def tokens() -> Capacity:
    return of("token-psi")


def test_a_key_with_a_limit_on_all_accounts_lasts_thirteen_seconds_at_the_eu_s_volume(
    tokens: Capacity,
) -> None:
    assert eu_volume() == 720_000_000
    assert tokens.key_seconds == pytest.approx(2**24 / 160 / 720_000_000 * 86_400)
    least = evaluations_for_all(24) // (1 << 20)
    assert tokens.open_to == least == 32
    assert best_share((least - 1) << 20, Tokening()) < told.NEARLY
    assert tokens.exhausted == "13 seconds, or the list is open to 32 phones"
    assert "no device is answered" in tokens.notice


def test_the_words_follow_from_limits_and_volume() -> None:
    assert of("token-psi", Assumed(1e6)).exhausted == "2.5 hours, or the list is open to 32 phones"
    slow = of("token-psi", Assumed(100.0))
    assert slow.exhausted == "", "a key that lasts a year is not used up"
    held = slow.find(10_000, UNIFORM, ANY)
    assert held is not None and held.limits == Limit.ALL and held.share == best_share(1 << 24, Tokening())
    halved = of("token-psi", account_evaluations=1 << 19)
    assert halved.exhausted == "13 seconds, or the list is open to 64 phones"
    unlimited = of("token-psi", all_evaluations=0)
    assert unlimited.key_seconds is None and unlimited.exhausted == ""
    assert unlimited.open_to == 32
    assert told.words_of_exhaustion(5.0, None) == "5 seconds, or the list is open to modified phones"
    assert told.words_of_exhaustion(5.0, 1) == "5 seconds, or the list is open to 1 phone"


def test_all_that_pool_get_no_more_than_the_limit_on_all_while_it_holds(tokens: Capacity) -> None:
    capped = [tokens.find(m, UNIFORM, ANY, limits=Limit.ALL) for m in EU.phones]
    alone = [tokens.find(m, UNIFORM, ANY) for m in EU.phones]
    assert [one.guesses for one in capped if one] == [1 << 20, *[1 << 24] * 4]
    assert [one.share for one in capped if one][1:] == [best_share(1 << 24, Tokening())] * 4
    assert [one.guesses for one in alone if one] == [m << 20 for m in EU.phones]
    assert [one.share for one in alone if one] == pytest.approx([best_share(1 << 20, Tokening()), 1, 1, 1, 1])


def test_a_phone_asks_no_more_than_it_sends_pictures() -> None:
    few = of("token-psi", Assumed(EU.volume, phone_pictures=100, list_years=2))
    year, life = (few.find(1, UNIFORM, ANY, span) for span in AskingTime)
    assert year is not None and life is not None
    assert year.guesses == 100 * 160 and life.guesses == 200 * 160


@pytest.mark.parametrize(("phones", "evaluations"), [(1, 128), (2, 128), (4, 96)])
def test_the_real_design_opens_what_is_told_of_uniform_hashes(phones: int, evaluations: int) -> None:
    """Asks the design for as many tokens as the phones may have, and opens labels; tokens of eight bits."""
    hashes = uniform_list(200, 9)
    values = {"k": 8, "bands": 2, "probes": 16, "account_evaluations": evaluations, "all_evaluations": 0}
    place = opened(publish(DESIGN, hashes, seeded("set"), values=values))
    found = capacity(place, replace(EU, phones=(phones,)), 0.0, NO_CURVES)
    share = found.find(phones, UNIFORM, ANY)
    assert share is not None and share.share is not None and share.guesses == phones * evaluations
    came = len(extract(place, int(share.guesses), seeded("attack")))
    kept = float((~plan(hashes, 8, 2).lost).all(axis=1).mean())
    expected = 200 * kept * share.share
    assert abs(came - expected) <= 3 * max(1.0, expected) ** 0.5


def test_every_design_says_how_its_list_stands_towards_devices() -> None:
    standing = {one.design.info.name: of(one.design.info.name).standing for one in built_in_designs()}
    assert standing["device-list"] == ListStanding.HANDED_OUT
    assert standing["device-list-hashed"] == ListStanding.TESTED_ALONE
    assert standing["none"] == ListStanding.NO_LIST
    assert standing["threshold-near"] == standing["provider-scan"] == ListStanding.TOLD_NOTHING
    hidden = {name for name, one in standing.items() if one == ListStanding.HIDDEN}
    assert {"token-psi", "oprf-psi", "split-token-psi", "carried-token-psi", "prefix-bucket"} <= hidden
    assert "wide-psi" in hidden


def test_wide_psi_runs_at_a_large_volume_and_its_leak_is_linear_in_phones_and_keys() -> None:
    own = of("wide-psi")
    assert own.in_all is None and own.key_seconds is None and own.exhausted == ""
    assert own.per_account == 20_000 * 240 and own.cost == 240
    year = 20_000 * 240
    for phones in (100, 1_000, 10_000):
        found = own.find(phones, UNIFORM, ANY)
        assert found is not None and found.share == pytest.approx(phones * year / 2**42, rel=0.01)
    far, near = (own.find(1_000, ALL_KINDS, at) for at in (FAR, NEAR))
    assert far is not None and far.share is not None and 0.001 < far.share < 0.03
    assert near is not None and near.share is not None and near.share > 0.3
    half = told.YEAR * told.DAY_SECONDS // 2
    twice = of("wide-psi", key_expires=1_000_000 + half, now=1_000_000.0).find(1_000, UNIFORM, ANY)
    assert twice is not None and twice.share == pytest.approx(1_000 * year / 2**42, rel=0.01), (
        "two keys a year"
    )


def test_limits_of_keys_that_live_nine_days_allow_a_thousand_phones_a_quarter_of_far_entries() -> None:
    """docs/designs/wide-psi.md: a full set, and so a new key, is due after eight deltas."""
    pictures = 20_000 * 365 / 9
    end = 1_000_000 + 9 * told.DAY_SECONDS
    assumed = replace(EU, phone_pictures=pictures)
    found = of("wide-psi", assumed, now=1_000_000.0, key_expires=end)
    shares = [found.find(1_000, *row) for row in ((UNIFORM, ANY), (ALL_KINDS, FAR), (ALL_KINDS, NEAR))]
    assert [one and one.share for one in shares] == pytest.approx([0.0443, 0.275, 0.900], abs=0.001)


def test_guesses_of_wide_tokens_add_up_under_another_key_of_the_same_list() -> None:
    """Runs wide-psi whole, with tokens of 8 bits: what halves of the tokens open under a key each is what all
    of them open under one, since no two have to be asked for under the same key."""
    hashes = uniform_list(150, 5)
    values = {"k": 8, "bands": 2, "probes": 16}
    design = load_design("wide-psi")
    tokens = WideTokening(**values)
    lost = plan(hashes, tokens.k, tokens.bands, tokens.order).lost
    own = entry_tokens(hashes, tokens.k, tokens.bands, tokens.order)
    opened_under = []
    for key, (first, last) in enumerate(((0, 64), (64, 128))):
        place = opened(publish(design, hashes, seeded(f"key {key}"), 1, values))
        asked = [np.arange(first, last, dtype=np.uint32)] * 2
        found = extract_tokens(place, asked, seeded("asked"))
        foretold = (~lost & (own >= first) & (own < last)).any(axis=1)
        assert len(found) == foretold.sum() > 20
        opened_under.append({label.entry_hash for label in found.values()})
    one_key = opened(publish(design, hashes, seeded("one"), 1, values))
    both = extract_tokens(one_key, [np.arange(128, dtype=np.uint32)] * 2, seeded("asked"))
    assert opened_under[0] | opened_under[1] == {label.entry_hash for label in both.values()}


def test_a_plain_list_stands_in_the_same_table() -> None:
    plain, silent, alone = (of(name) for name in ("device-list", "threshold-near", "device-list-hashed"))
    for phones in EU.phones:
        shares = [one.find(phones, ANY, ANY) for one in (plain, silent, alone)]
        assert [one and one.share for one in shares] == [1.0, 0.0, None]
    assert "handed out" in plain.says and alone.shares[0].why


def test_a_whole_hash_is_guessed_by_its_bits() -> None:
    exact = of("oprf-psi").find(1_000, UNIFORM, ANY)
    assert exact is not None and exact.share == pytest.approx(1_000 * 20_000 / 2**256)
    near = of("third-party").find(1_000, UNIFORM, ANY)
    assert near is not None and near.share is not None and exact.share is not None
    assert near.share > 2**100 * exact.share, "a question reaches all within 31 bits"


def test_limits_of_accounts_at_a_carrier_count() -> None:
    carried = of("carried-token-psi")
    assert carried.per_account == 1 << 20 and carried.exhausted == of("token-psi").exhausted


def test_a_row_has_the_limits_of_an_account_by_time_and_what_it_opens_in_a_year() -> None:
    values = {"slot_bits": 12, "probes": 6, "day_pictures": 10, "year_pictures": 2_000}
    for design in (SLOT_PSI, carried(SLOT_PSI)):  # the carrier limits accounts where requests are sealed
        deployed = opened(publish(design, random_hashes(8, 1), seeded("rows"), values=values))
        found = key_use(deployed)
        assert found is not None and (found.per_account, found.in_all) == (None, None)
        assert found.periods == (PeriodUse(86_400, 10 * 48), PeriodUse(365 * 86_400, 2_000 * 48))
        told = extracted(deployed, found)
        # a year has 2,000 pictures of 48 tokens: 2,000 * 2^(12 - 60) of the list
        assert told is not None and told.shares == {"96000": 2_000 * 2.0**-48}


def test_a_key_that_ends_is_followed_by_others() -> None:
    month = 30 * told.DAY_SECONDS
    some = of("token-psi", all_evaluations=0, key_expires=1_000_000 + month, now=1_000_000.0)
    year, life = (some.find(1, UNIFORM, ANY, span) for span in AskingTime)
    assert some.ends_seconds == month and "every device fetches" in some.notice
    assert year is not None and life is not None and year.guesses == pytest.approx(life.guesses)
    each = best_share(life.guesses, Tokening())
    assert life.share == pytest.approx(each, rel=1e-4)
    assert year.share == pytest.approx(each * YEAR / 30, rel=1e-4)


def test_the_share_of_accounts_that_notice_a_limit_is_that_of_drawn_accounts(tokens: Capacity) -> None:
    activity = read_inputs(None).activity
    mean = activity.pictures_a_day.value * YEAR
    spread = activity.spread.value
    drawn_rates = np.random.default_rng(3).lognormal(np.log(mean) - spread**2 / 2, spread, 4_000_000)
    allowed = (1 << 20) // 160
    assert tokens.refused_year == pytest.approx((drawn_rates > allowed).mean(), rel=0.03)
    assert tokens.refused_life == pytest.approx((10 * drawn_rates > allowed).mean(), rel=0.03)
    assert told.share_of_busiest(20_000) == pytest.approx(0.001, rel=0.2), "as is assumed of a phone"


def test_real_lists_are_told_by_the_committed_curves_with_their_intervals(tokens: Capacity) -> None:
    t = Tokening()
    held = best_order.measured().find(_places(), t.needed, 31)
    assert held is not None
    curve = next(one for one in held.curves if (one.kind, one.distance) == (ALL_KINDS, FAR))
    one = tokens.find(1, ALL_KINDS, FAR)
    assert one is not None and one.share is not None and one.low is not None and one.high is not None
    assert one.share == curve.open_after(1 << 20) / curve.entries and one.how == How.MEASURED
    assert one.low < one.share < one.high and one.n == curve.entries
    uniform, near, further = (
        tokens.find(1, *which) for which in ((UNIFORM, ANY), (ALL_KINDS, NEAR), (ALL_KINDS, FURTHER))
    )
    assert uniform is not None and near is not None and further is not None
    assert (uniform.share or 0) < one.share < (further.share or 0) < (near.share or 0)
    assert further.how == How.ESTIMATED and further.high is None


def _places() -> Any:
    extraction = DESIGN.extraction(opened_alone(DESIGN, {}, seeded("parts")).setup)
    assert extraction.places is not None
    return extraction.places


def test_parameters_that_nobody_measured_say_so() -> None:
    other = of("token-psi", k=20)
    one = other.find(1, LIKE_PHOTOGRAPHS, FAR)
    assert one is not None and one.share is None and "--measure" in one.why
    oracle = of("third-party")
    far, near = (oracle.find(1_000, ALL_KINDS, distance) for distance in (FAR, NEAR))
    assert far is not None and far.share is None and far.why == told.FAR_NOT_MEASURED
    assert near is not None and near.share is not None and 0.05 < near.share < 0.2


class Wide(TokenPsi):
    """A plug-in: one part of 20 bits opens an entry, and it has no limits of its own."""

    info = replace(TokenPsi.info, name="wide-plug-in")

    def extraction(self, setup: Any) -> bm.Extraction:
        return bm.Extraction("words", lambda words: min(1.0, words / 2**20), 7, np.arange(20).reshape(1, 20))


def test_a_plug_in_is_told_by_what_it_declares() -> None:
    parties = opened_alone(Wide(), {"account_evaluations": 0, "all_evaluations": 0}, seeded("plug-in"))
    places = np.arange(20).reshape(1, 20)
    half = Curve(ALL_KINDS, FAR, 10, tuple(5.0 if exponent >= 17 else 0.0 for exponent in EXPONENTS))
    curves = Guessed(best_order.digest_of(places), 1, 31, (10, 10), (half,))
    found = capacity(parties, EU, 0.0, NO_CURVES, [curves])
    assert found.unit == "words" and found.key_seconds is None
    one = found.find(1, ALL_KINDS, FAR)
    assert one is not None and one.share == 0.5 and one.guesses == 20_000 * found.cost
    without = capacity(parties, EU, 0.0, NO_CURVES).find(1, ALL_KINDS, FAR)
    assert without is not None and without.share is None


def test_the_command_tells_one_design_and_fails_if_its_key_is_used_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "capacity.json"
    assert run(["design", "capacity", "token-psi", "--json", str(path)]) == exit_codes.WRONG
    seen = capsys.readouterr()
    said = " ".join(seen.out.split())
    assert "13 seconds, or the list is open to 32 phones" in said and "6,553 pictures" in said
    assert "wrong: token-psi: at this volume its key is used up within a year: 13 seconds" in seen.err
    result = json.loads(path.read_text())
    assert result["result_version"] == 1 and result["designs"]["token-psi"]["open_to"] == 32
    arguments = ["design", "capacity", "token-psi", "--set", "all_evaluations=0", "--json", str(path)]
    assert run(arguments) == exit_codes.OK
    assert json.loads(path.read_text())["designs"]["token-psi"]["exhausted"] == ""
    assert run(["design", "capacity", "token-psi", "--volume", "100"]) == exit_codes.OK


def test_the_command_tells_all_designs_in_one_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["design", "capacity"]) == exit_codes.OK
    said = capsys.readouterr().out
    for name in ("device-list", "oprf-psi", "threshold-near", "split-token-psi"):
        assert name in said
    assert "the list is handed out" in " ".join(said.split())


def test_the_command_says_that_a_full_set_brings_a_new_key_and_what_the_curves_leave_out(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["design", "capacity", "wide-psi"]) == exit_codes.OK
    said = " ".join(capsys.readouterr().out.split())
    assert "a list with deltas needs another one with every full set: give key_expires and --pictures" in said
    assert (
        "known to open more: mirrored and turned images of known pictures, weak bits of edited copies" in said
    )


def test_the_command_refuses_what_it_cannot_tell(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["design", "capacity", "no-such-design"]) == exit_codes.REFUSED_INPUT
    assert run(["design", "capacity", "--set", "k=20"]) == exit_codes.USAGE
    assert run(["design", "capacity", "oprf-psi", "--measure"]) == exit_codes.USAGE
    assert run(["design", "capacity", "token-psi", "--volume", "0"]) == exit_codes.USAGE
    assert run(["design", "capacity", "token-psi", "--set", "k=99"]) == exit_codes.REFUSED_INPUT
    assert "parts of a hash" in capsys.readouterr().err
    assert run(["design", "capacity", "oprf-psi", "--set", "bands=4"]) == exit_codes.REFUSED_INPUT
    assert "design oprf-psi has no parameter bands" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--volume", "--pictures", "--years"])
@pytest.mark.parametrize("value", ["nan", "inf", "-3", "0"])
def test_a_number_that_is_none_is_refused_with_its_option_and_the_rule(
    option: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["design", "capacity", "token-psi", f"{option}={value}"]) == exit_codes.USAGE
    said = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert f"Invalid value for {option}: must be a number of" in said
    assert f", not {value}" in said


def test_of_one_design_the_limits_by_account_alone_come_first(capsys: pytest.CaptureFixture[str]) -> None:
    run(["design", "capacity", "token-psi"])
    said = " ".join(capsys.readouterr().out.split())
    alone = said.index("limits by account alone, as after honest users have used the key up")
    assert alone < said.index("with the limit on all accounts together, while it lasts")
    assert run(["design", "capacity", "--help"]) == exit_codes.OK
    told_of = " ".join(capsys.readouterr().out.split())
    assert "the table of the limits by account alone comes first" in told_of


def test_a_row_tells_its_list_opened_and_its_key_s_life(tokens: Capacity) -> None:
    made = row(replace(observed(), capacity=tokens)).figures
    assert made["key_life"].value == tokens.key_seconds and tokens.exhausted in made["key_life"].why
    assert made["list_opened"].value == 1.0 and "measured" in made["list_opened"].why
    plain = row(replace(observed(), capacity=of("device-list"))).figures
    assert plain["list_opened"].value == 1.0 and "handed out" in plain["list_opened"].why
    assert plain["key_life"].value is None
    older = row(observed()).figures
    assert older["list_opened"].value is None and older["key_life"].value is None


def test_the_page_shows_no_cost_at_a_volume_that_uses_the_key_up(tmp_path: Path, tokens: Capacity) -> None:
    whole = check_folder(results_folder(tmp_path))
    seen = replace(observed(), key=told_use(tokens), capacity=tokens)
    made = drawn(tmp_path, replace(whole, rows=(row(seen),)))
    for part in ("cost-lists", "load", "matrix"):
        assert "13 seconds, or the list is open to 32 phones" in made.words(part), part
    assert "13 seconds, or the list is open to 32 phones" in made.sheet
    told_of = made.words("capacity")
    assert "1 000 phones" in told_of.replace("\u202f", " ") and "the same, with what opens" in told_of
    assert "13 seconds, or the list is open to 32 phones" in told_of and tokens.notice in told_of
    slow = drawn(tmp_path, replace(whole, rows=(row(seen),)), given={"volume": 100})
    assert "or open to" not in slow.words("cost") + slow.sheet


def test_the_page_of_an_older_run_tells_the_key_s_life_alone(tmp_path: Path, tokens: Capacity) -> None:
    whole = check_folder(results_folder(tmp_path))
    made = drawn(tmp_path, replace(whole, rows=(row(replace(observed(), key=told_use(tokens))),)))
    assert "13 seconds, or the list is open to modified phones" in made.words("cost")
    assert all(one.get("id") != "capacity" for one in made.tree().iter())


def told_use(found: Capacity) -> Any:
    return KeyUse(found.cost, found.per_account, found.in_all)


def test_a_year_says_which_designs_its_volume_uses_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "year.json"
    arguments = ["population", "--designs", "token-psi,oprf-psi", "--days", "2", "--json", str(path)]
    assert run(arguments) == exit_codes.OK
    said = " ".join(capsys.readouterr().out.split())
    assert "token-psi at this volume: 13 seconds, or the list is open to " in said
    rows = {one["design"]: one["exhausted"] for one in json.loads(path.read_text())["designs"]}
    assert rows["token-psi"].startswith("13 seconds, or the list is open to ") and rows["oprf-psi"] == ""
    assert run([*arguments, "--accounts", "100"]) == exit_codes.OK
    assert "or open to" not in capsys.readouterr().out, "so few accounts leave a key for a year"


def test_what_a_year_uses_up_names_the_phones_where_the_run_tells_them() -> None:
    year = read_inputs(None)
    limited = replace(literature(year), key=KeyUse(160, 1 << 20, 1 << 24))
    its = model(year, limited, year.accounts.number.value, YEAR)
    assert exhausted(its, 32) == "13 seconds, or the list is open to 32 phones"


def test_limits_of_a_filter_of_every_day_allow_a_thousand_phones_three_quarters_of_far_entries() -> None:
    """A filter takes no delta, so a list that changes daily has 365 keys a year."""
    assumed = replace(EU, phone_pictures=20_000 * 365)
    end = 1_000_000 + told.DAY_SECONDS
    found = of("wide-psi", assumed, now=1_000_000.0, key_expires=end, filter=1)
    shares = [found.find(1_000, *row) for row in ((UNIFORM, ANY), (ALL_KINDS, FAR), (ALL_KINDS, NEAR))]
    assert [one and one.share for one in shares] == pytest.approx([0.398, 0.739, 0.98], abs=0.01)
    alone = found.find(1, ALL_KINDS, FAR)
    assert alone is not None and alone.share == pytest.approx(0.011, abs=0.001)
