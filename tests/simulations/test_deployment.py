"""One folder holds a whole deployment, can be moved, and is never taken over by mistake."""

from __future__ import annotations

import shutil
import socket
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest
from blindmatch_protocol.contract import Party
from blindmatch_server.hosting.authority import AuthorityError, Identity, Kind
from blindmatch_simulations.testbed.deployment import addresses
from blindmatch_simulations.testbed.deployment.folder import STANDARD, Deployment, DeploymentError, home_from

NOW = datetime.now(UTC)
ALICE = Identity(Kind.DEVICE, "alice")


def test_a_new_deployment_has_a_certificate_for_every_server(deployment: Deployment) -> None:
    for party in STANDARD:
        deployment.server_credentials(party).check()
    assert Deployment.open(deployment.home) == deployment


def test_no_private_file_can_be_read_by_others(deployment: Deployment) -> None:
    assert stat.S_IMODE(deployment.home.stat().st_mode) == 0o700
    keys = list(deployment.home.rglob("*.key"))
    assert len(keys) > len(STANDARD)
    assert {stat.S_IMODE(path.stat().st_mode) for path in keys} == {0o600}


def test_a_deployment_can_be_moved(deployment: Deployment, tmp_path: Path) -> None:
    deployment.enrol(ALICE, deployment.device("alice"), NOW)
    shutil.move(deployment.home, tmp_path / "moved")
    moved = Deployment.open(tmp_path / "moved")
    moved.enrol(Identity(Kind.DEVICE, "bob"), moved.device("bob"), NOW)
    assert moved.caller_credentials(ALICE, moved.device("alice")).key


def test_a_certificate_is_issued_once(deployment: Deployment) -> None:
    folder = deployment.device("alice")
    deployment.enrol(ALICE, folder, NOW)
    first = deployment.caller_credentials(ALICE, folder)
    deployment.enrol(ALICE, folder, NOW)
    assert deployment.caller_credentials(ALICE, folder) == first


def test_the_authority_is_not_needed_to_run(deployment: Deployment) -> None:
    shutil.rmtree(deployment.authority)
    deployment.server_credentials(Party.PROVIDER).check()
    with pytest.raises(AuthorityError, match="certificates"):
        deployment.enrol(ALICE, deployment.device("alice"), NOW)


def test_another_party_s_server_gets_a_certificate_once_where_the_authority_is(
    deployment: Deployment, tmp_path: Path
) -> None:
    other = Party("party_a")
    assert deployment.parties() == STANDARD
    deployment.admit([Party.MATCHER, other], NOW)
    first = deployment.server_credentials(other)
    deployment.admit([other], NOW)
    assert deployment.server_credentials(other) == first and deployment.parties() == (*STANDARD, other)
    shutil.rmtree(deployment.authority)
    with pytest.raises(DeploymentError, match="certs pack party_b"):
        deployment.admit([other, Party("party_b")], NOW)


def test_an_existing_deployment_is_not_overwritten(deployment: Deployment) -> None:
    before = sorted((path, path.stat().st_mtime_ns) for path in deployment.home.rglob("*"))
    with pytest.raises(DeploymentError, match="is a deployment already"):
        Deployment.create(deployment.home, NOW)
    assert sorted((path, path.stat().st_mtime_ns) for path in deployment.home.rglob("*")) == before


def test_a_missing_deployment_is_told_how_to_make(tmp_path: Path) -> None:
    with pytest.raises(DeploymentError, match="blindmatch certs init"):
        Deployment.open(tmp_path)


def test_only_servers_that_noted_a_port_have_an_address(deployment: Deployment) -> None:
    assert deployment.endpoints() == {}
    directory = deployment.directory()
    assert Party.MATCHER in directory and directory[Party.MATCHER].address == ""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        deployment.port_file(Party.MATCHER).write_text(f"{port}\n")
        (found,) = deployment.endpoints().items()
        assert (found[0], found[1].address) == (Party.MATCHER, f"127.0.0.1:{port}")
        assert directory[Party.MATCHER] == found[1]
    # killed: the file is there, and nobody listens
    assert deployment.endpoints() == {}
    assert directory[Party.MATCHER].address == ""


def test_a_server_that_ends_while_its_port_is_looked_up_does_not_run(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = deployment.port_file(Party.CENTRE)
    read = Path.read_text
    path.write_text("1\n")

    def ends(file: Path, *more: str) -> str:
        file.unlink()
        return read(file, *more)

    monkeypatch.setattr(Path, "read_text", ends)
    assert addresses.local_endpoint(path).address == ""


def test_an_address_that_was_given_is_taken_as_it_is(deployment: Deployment) -> None:
    addresses.write(deployment.home / "addresses.json", {Party.CENTRE: "centre.example:7404"})
    assert deployment.endpoints()[Party.CENTRE].address == "centre.example:7404"
    assert deployment.directory()[Party.CENTRE].address == "centre.example:7404"


def test_the_home_is_the_option_the_variable_or_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLINDMATCH_HOME", "from-variable")
    assert home_from(Path("from-option")) == Path("from-option")
    assert home_from(None) == Path("from-variable")
    monkeypatch.setenv("BLINDMATCH_HOME", "")
    assert home_from(None) == Path("blindmatch-home")
