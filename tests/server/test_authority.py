from __future__ import annotations

import stat
from pathlib import Path

import pytest
from blindmatch_protocol.contract import Party
from blindmatch_server.hosting.authority import (
    Authority,
    AuthorityError,
    Credentials,
    Identity,
    Kind,
    identity_of,
)

from .deployment import ALICE, NOW, OPERATOR

SERVERS = (Party.PROVIDER, Party.MATCHER, Party.CENTRE, Party("party_a"), Party("host"), Party("provider_b"))


@pytest.mark.parametrize(
    "uri",
    [
        "blindmatch://device/",
        "blindmatch://device",
        "blindmatch://device/A",
        "blindmatch://device/a/b",
        "blindmatch://device/" + "a" * 33,
        "blindmatch://device/centre",
        "blindmatch://relay/x",
        "blindmatch://root/x",
        "blindmatch://provider",
        "blindmatch://curator",
        "blindmatch://party_a/x",
        "blindmatch://Party-A",
        "blindmatch://blindmatch://relay",
        "https://device/a",
        "device/a",
        "",
    ],
)
def test_uris_that_name_no_party_are_refused(uri: str) -> None:
    with pytest.raises(AuthorityError):
        Identity.parse(uri)


@pytest.mark.parametrize("identity", [ALICE, OPERATOR, *map(Identity.of, SERVERS)])
def test_a_party_s_uri_parses_back(identity: Identity) -> None:
    assert Identity.parse(identity.uri) == identity


@pytest.mark.parametrize("identity", [ALICE, *map(Identity.of, SERVERS)])
def test_an_account_names_one_party(identity: Identity) -> None:
    assert identity_of(identity.account) == identity


def test_no_device_has_the_account_of_a_server() -> None:
    accounts = {party.server: Identity.of(party).account for party in SERVERS}
    assert [accounts[name] for name in ("relay", "matcher", "centre")] == ["relay", "matcher", "centre"]
    assert accounts["party_a"] == "server/party_a"
    for account in (*accounts.values(), "party_a"):
        with pytest.raises(AuthorityError):
            Identity(Kind.DEVICE, account)


def test_another_party_s_server_has_its_name_with_dashes() -> None:
    identity = Identity.of(Party("party_a"))
    assert (identity.uri, identity.host) == ("blindmatch://party_a", "party-a.blindmatch.test")
    assert (identity.slug, identity.party) == ("party_a", Party("party_a"))


def test_keys_on_disk_are_the_owner_s_alone(tmp_path: Path) -> None:
    authority = Authority.create(NOW)
    authority.write(tmp_path)
    Authority.read(tmp_path).issue(ALICE, NOW).write(tmp_path, ALICE.slug)
    assert Credentials.read(tmp_path, ALICE.slug).root == (tmp_path / "ca.crt").read_bytes()
    for name in ("ca.key", "device-alice.key"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
    with pytest.raises(AuthorityError, match="already"):
        authority.write(tmp_path)


def test_a_root_whose_key_and_certificate_differ_is_refused(tmp_path: Path) -> None:
    Authority.create(NOW).write(tmp_path / "a")
    Authority.create(NOW).write(tmp_path / "b")
    (tmp_path / "a/ca.crt").write_bytes((tmp_path / "b/ca.crt").read_bytes())
    with pytest.raises(AuthorityError, match="belong together"):
        Authority.read(tmp_path / "a")
