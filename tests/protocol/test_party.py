"""Parties are names that a design may choose, and that mean one server each."""

from __future__ import annotations

import copy

import pytest
from blindmatch_protocol.codec.errors import DesignError
from blindmatch_protocol.contract import Party


@pytest.mark.parametrize("name", ["a", "party_a", "matcher_b", "a" * 31, "p2"])
def test_a_party_is_equal_to_its_name(name: str) -> None:
    party = Party(name)
    assert party == name and hash(party) == hash(name) and f"{party}" == name
    assert copy.copy(party) == party and isinstance(copy.copy(party), Party)
    assert Party.of_server(party.server) == party


@pytest.mark.parametrize(
    "name",
    ["", "A", "1a", "_a", "a_", "a-b", "a.b", "a/b", "a b", "a" * 32, "relay", "operator", "all", "devices"],
)
def test_a_name_that_breaks_the_rule_or_is_taken_is_refused(name: str) -> None:
    with pytest.raises(DesignError, match="party: a name is"):
        Party(name)


def test_the_provider_s_server_is_the_relay_and_no_other() -> None:
    assert (Party.PROVIDER.server, Party.PROVIDER.dns_name) == ("relay", "relay.blindmatch.test")
    assert Party.of_server("relay") == Party.PROVIDER
    for name in ("provider", "device", "curator"):
        with pytest.raises(DesignError):
            Party.of_server(name)


def test_no_two_parties_have_one_dns_name() -> None:
    names = ["a_b", "ab", "a__b", "party_a", "party_b", "matcher"]
    assert len({Party(name).dns_name for name in names}) == len(names)
