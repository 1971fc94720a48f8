from __future__ import annotations

import stat
from pathlib import Path

import pytest
from blindmatch_server.authority import Authority, AuthorityError, Credentials, Identity, Kind

from .deployment import ALICE, NOW, OPERATOR


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
        "blindmatch://blindmatch://relay",
        "https://device/a",
        "device/a",
        "",
    ],
)
def test_uris_that_name_no_party_are_refused(uri: str) -> None:
    with pytest.raises(AuthorityError):
        Identity.parse(uri)


@pytest.mark.parametrize("identity", [ALICE, OPERATOR, *map(Identity, set(Kind) - {"device", "operator"})])
def test_a_party_s_uri_parses_back(identity: Identity) -> None:
    assert Identity.parse(identity.uri) == identity


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
