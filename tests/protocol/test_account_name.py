"""No user is called what is read as the centre, a server or a role."""

from __future__ import annotations

import pytest
from blindmatch_protocol.account_name import NOTICES, is_account, is_user

TAKEN = (
    "centre-notices centre_notices centrenotices centre-notice center-notices c3ntre-n0t1ces centre-not1ces"
    " centre--notices centre-notices-2 my-centre the-centre centre center notices n0tices notlces relay re1ay"
    " re-lay reiay matcher m4tcher provider log l0g 1og curator authority operator device party_a party-b"
    " third_party third-party witness_1 witness-2 vendor"
)
OTHERS = (
    "Centre-Notices CENTRE-NOTICES \u0441entre-notices centre\u2011notices centre-notices\u200b"
    " \uff43entre-notices"
)


@pytest.mark.parametrize("name", TAKEN.split())
def test_what_is_read_as_the_centre_or_a_role_is_no_user(name: str) -> None:
    assert is_account(name) and not is_user(name)


@pytest.mark.parametrize("name", [*OTHERS.split(" "), "", "a" * 33, "-a", "a b", "a.b", "alice\n"])
def test_what_breaks_the_rule_is_no_account(name: str) -> None:
    assert not is_account(name) and not is_user(name)


@pytest.mark.parametrize("name", ["alice", "bob_2", "a" * 32, "0", "logan", "witnessed", "partying"])
def test_other_names_are_free(name: str) -> None:
    assert is_user(name)


def test_the_centre_s_own_name_follows_the_rule() -> None:
    assert is_account(NOTICES)
