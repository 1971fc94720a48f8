"""Exceptional access by k of n authorities: what opens, for whom, and after a breach of how many."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blindmatch_protocol.codec.randomness import seeded
from blindmatch_protocol.crypto import hpke
from blindmatch_protocol.designs.token_psi import shares
from blindmatch_simulations.evaluation.studies import targeted
from blindmatch_simulations.evaluation.studies.targeted import (
    TARGET,
    Authority,
    Kept,
    Opened,
    Scheme,
    attempts,
    read,
    sent,
    unsealed,
    world,
)
from msgspec.structs import replace

SCHEME = Scheme(n=4, k=3, accounts=3, messages=4, periods=2)


@cache
def rows() -> tuple[Opened, ...]:
    return tuple(attempts(SCHEME))


def opened(who: str) -> list[tuple[int, int, int]]:
    return [(row.holders, row.messages, row.accounts) for row in rows() if row.who.startswith(who)]


def test_a_warrant_opens_one_account_to_k_authorities_and_nothing_to_fewer() -> None:
    assert opened("authorities") == [(1, 0, 0), (2, 0, 0), (3, 4, 1), (4, 4, 1)]


def test_keys_of_k_authorities_open_every_message_and_of_fewer_none() -> None:
    assert opened("a thief of keys that are kept") == [
        (0, 0, 0),
        (1, 0, 0),
        (2, 0, 0),
        (3, 12, 3),
        (4, 12, 3),
    ]


def test_keys_that_are_destroyed_leave_a_thief_the_last_period() -> None:
    assert opened("a thief of keys of one") == [(0, 0, 0), (1, 0, 0), (2, 0, 0), (3, 6, 3), (4, 6, 3)]


def test_a_warrant_does_not_open_what_the_provider_relabels() -> None:
    assert opened("provider") == [(4, 0, 0)]


def test_what_a_modified_client_escrows_opens_nothing() -> None:
    assert opened("all authorities") == [(4, 0, 0)]


def test_an_authority_notes_what_it_opened_and_opens_nothing_without_a_warrant() -> None:
    held = world(SCHEME)
    held.grant(1)
    for kept in held.kept:
        held.by_warrant(kept, 0)
        assert held.by_warrant(kept, 1) is None
    assert held.authorities[0].opened == [(0, number) for number in range(SCHEME.messages)]
    assert not held.authorities[1].opened


@pytest.mark.parametrize(("n", "k"), [(2, 2), (5, 3), (7, 4)])
def test_any_k_shares_open_a_message(n: int, k: int) -> None:
    held = world(Scheme(n=n, k=k, accounts=1, messages=1))
    (kept,) = held.kept
    (text,) = held.texts
    given = {at: share for at in range(n) if (share := held.by_theft(kept, at)) is not None}
    for first in range(n - k + 1):
        assert read(kept, {at: given[at] for at in range(first, first + k)}, k) == text
    assert read(kept, {at: given[at] for at in range(k - 1)}, k) is None
    wrong = {**{at: given[at] for at in range(k)}, 0: bytes(16)}
    assert read(kept, wrong, k) is None


def test_one_authority_that_gives_a_wrong_share_keeps_no_others_from_opening() -> None:
    held = world(Scheme(n=5, k=3, accounts=1, messages=1))
    (kept,) = held.kept
    (text,) = held.texts
    given = {at: held.by_theft(kept, at) or b"" for at in range(5)}
    assert read(kept, {**given, 0: bytes(16), 3: bytes(16)}, 3) == text
    assert read(kept, {**given, 0: bytes(16), 3: bytes(16), 4: bytes(16)}, 3) is None


def test_fewer_than_k_shares_with_anything_else_for_the_others_open_nothing() -> None:
    held = world(SCHEME)
    given = [
        {at: share for at in range(SCHEME.n) if (share := held.by_theft(kept, at)) is not None}
        for kept in held.kept
    ]
    for kept, own, other in zip(held.kept, given, [*given[1:], given[0]], strict=True):
        sealed = {at: kept.sealed[at][-16:] for at in own}
        for guesses in (other, sealed, dict.fromkeys(own, bytes(16)), dict.fromkeys(own, own[0])):
            assert read(kept, {**guesses, 0: own[0], 1: own[1]}, SCHEME.k) is None


def test_fewer_than_k_shares_leave_every_secret_as_likely() -> None:
    """One polynomial of degree 2 has given values at two places, for each value of its secret."""
    pairs = np.stack(np.divmod(np.arange(1 << 16), 256), axis=1).astype(np.uint8)
    for secret in (0, 1, 0x5A, 255):
        coefficients = np.insert(pairs, 0, secret, axis=1).reshape(-1, shares.SECRET_BYTES, 3)
        found = shares.values(np.ascontiguousarray(coefficients.transpose(0, 2, 1)), 2)
        both = found[:, 0].astype(np.int64) << 8 | found[:, 1]
        assert len(np.unique(both)) == 1 << 16


def test_a_share_of_another_length_is_none() -> None:
    held = world(SCHEME)
    held.grant(SCHEME.n)
    kept = held.kept[0]
    publics = [one.public(0) for one in held.authorities]
    odd = hpke.seal(publics[0], kept.info, b"odd", seeded("odd").take(32))
    altered = replace(kept, sealed=(odd, *kept.sealed[1:]))
    assert held.by_warrant(altered, 0) is None
    assert not held.authorities[0].opened


def test_what_the_provider_makes_up_in_the_targets_name_is_opened_as_the_targets() -> None:
    """Whoever has the authorities' public keys can seal to them; said on docs/designs/targeted-access.md."""
    held = world(SCHEME)
    held.grant(SCHEME.k)
    publics = [one.public(0) for one in held.authorities]
    made_up = sent(TARGET, 99, 0, publics, SCHEME.k, b"made up", seeded("made up"))
    given = {at: share for at in range(SCHEME.k) if (share := held.by_warrant(made_up, at)) is not None}
    assert read(made_up, given, SCHEME.k) == b"made up"


def test_a_warrant_opens_no_more_of_the_past_than_the_keys_that_are_left() -> None:
    held = world(SCHEME, periods=2)
    held.grant(SCHEME.k)
    found = held.tried("warrant", SCHEME.k, held.by_warrant)
    assert (found.messages, found.accounts) == (SCHEME.messages // 2, 1)


@pytest.mark.parametrize(("periods", "opened"), [(1, 12), (3, 0)])
def test_a_thief_of_one_authority_a_period_opens_all_with_keys_for_good_and_nothing_with_keys_of_periods(
    periods: int, opened: int
) -> None:
    scheme = replace(SCHEME, n=3, messages=6, accounts=2)
    held = world(scheme, periods)
    rng = seeded(f"targeted/{scheme.seed}/{periods}")
    drawn = [Authority.drawn(periods, rng) for _ in range(scheme.n)]
    stolen = [one.keys[at % periods] for at, one in enumerate(drawn)]

    def share(kept: Kept, place: int) -> bytes | None:
        return unsealed(stolen[place], kept, place)

    assert all(share(kept, kept.period) is not None for kept in held.kept)
    assert held.tried("one authority a period", scheme.n, share).messages == opened


def test_a_message_tells_its_secret_to_nobody_without_shares() -> None:
    held = world(SCHEME)
    publics = [one.public(0) for one in held.authorities]
    kept = sent(7, 1, 0, publics, SCHEME.k, b"text", seeded("one"))
    assert read(kept, {}, SCHEME.k) is None
    assert kept.escrow_bytes == SCHEME.n * (16 + 48)


def test_the_study_prints_its_table_and_writes_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(targeted, "REPEATS", 2)
    monkeypatch.setattr("sys.argv", ["access", str(tmp_path / "found.json")])
    targeted.main()
    found: dict[str, Any] = json.loads((tmp_path / "found.json").read_text())
    assert found["option"] == "0c"
    assert found["measured"] == "in process"
    assert found["cost"]["sender_u"] > found["cost"]["authority_u"] > 0
    assert f"of {Scheme().n}: " in capsys.readouterr().out


def test_periods_are_spread_over_an_accounts_messages() -> None:
    held = world(replace(SCHEME, accounts=1), periods=2)
    assert [kept.period for kept in held.kept] == [0, 0, 1, 1]
