"""Which devices are here, how they come and go, and which design they are for."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from blindmatch_client.egress import Call, Egress, Recorder
from blindmatch_client.egress.calls import CENTRE_KEY
from blindmatch_client.errors import ServiceUnavailableError, UnreachedError
from blindmatch_client.messages.relay import Upkeep
from blindmatch_client.trace import Purpose
from blindmatch_protocol.contract import Party
from blindmatch_protocol.crypto import amf
from blindmatch_protocol.messages.sealed_message import FrankingKey
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from blindmatch_server.hosting.authority import Identity, Kind
from blindmatch_simulations.testbed.deployment import addresses
from blindmatch_simulations.testbed.deployment.devices import now_ms
from blindmatch_simulations.testbed.deployment.folder import Deployment
from blindmatch_simulations.testbed.deployment.registry import note_design
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from support.command import BAD_STATE, REFUSED, UNREACHABLE, USAGE, in_process, refused


def everything(home: Path) -> list[Path]:
    return sorted((home / "devices").rglob("*")) if (home / "devices").exists() else []


@pytest.mark.parametrize(
    ("name", "options", "code"),
    [("dan", ["--design", "token-psi"], BAD_STATE), ("eli", [], UNREACHABLE)],
    ids=["design", "relay"],
)
def test_a_registration_that_fails_leaves_nothing_and_can_be_made_right(
    name: str, options: list[str], code: int, served: Path, tmp_path: Path
) -> None:
    key = tmp_path / "key"
    noted = served / "addresses.json"
    if not options:
        addresses.write(noted, {Party.PROVIDER: "127.0.0.1:1"})
    before = everything(served)
    refused(in_process(served, "device", "register", name, "--key-file", key, *options), code)
    assert everything(served) == before
    assert not key.exists()
    noted.unlink(missing_ok=True)
    assert in_process(served, "device", "register", name).code == 0
    assert in_process(served, "device", "remove", name, "--yes").code == 0


def test_a_certificate_that_was_there_before_outlives_a_failed_registration(home: Path) -> None:
    assert in_process(home, "certs", "issue", "device", "--name", "alice").code == 0
    before = everything(home)
    refused(in_process(home, "device", "register", "alice"), UNREACHABLE, "not running")
    assert everything(home) == before


@pytest.mark.parametrize(
    ("name", "error", "kept"),
    [("gil", ServiceUnavailableError, True), ("guy", UnreachedError, False)],
    ids=["lost", "unreached"],
)
def test_a_device_whose_keys_the_relay_may_have_is_kept(
    name: str, error: Callable[..., Exception], kept: bool, served: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def publish(upkeep: Upkeep) -> int:
        raise error(Party.PROVIDER, "did not answer")

    with monkeypatch.context() as patch:
        patch.setattr(Upkeep, "publish", publish)
        ran = in_process(served, "device", "register", name)
    assert ran.code == UNREACHABLE
    assert ("is kept" in ran.err) is kept
    assert (served / "devices" / name).exists() is kept
    assert in_process(served, "device", "register", name).code == 0
    assert in_process(served, "device", "remove", name, "--yes").code == 0


def test_devices_are_listed_and_a_removed_one_is_gone_with_its_name(
    served: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert in_process(served, "device", "register", "hal").code == 0
    listed = in_process(served, "device", "list", "--json", "-").json
    assert {"account": "hal", "design": "oprf-psi", "mode": "hold", "locked_with": "key file"} in listed
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    unsure = in_process(served, "device", "remove", "hal")
    assert unsure.code == USAGE
    assert "hal stays" in unsure.err
    assert (served / "devices" / "hal").exists()
    assert in_process(served, "device", "remove", "hal", "--yes").code == 0
    assert not (served / "devices" / "hal").exists()
    again = in_process(served, "device", "register", "hal")
    refused(again, UNREACHABLE, "has another one", "choose another name")
    assert not (served / "devices" / "hal").exists()


def test_a_device_says_that_another_key_was_named_in_its_account_s_name(served: Path) -> None:
    assert in_process(served, "certs", "issue", "device", "--name", "kim").code == 0
    deployment = Deployment.open(served)
    kim = Identity(Kind.DEVICE, "kim")
    secret = b"k" * 32
    credentials = deployment.caller_credentials(kim, deployment.folder_of(kim))
    key = FrankingKey.signed(amf.public_key(amf.secret_key(secret)), secret, bytes(64))
    own = X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()
    said = pb.CentreKeyRequest(identity_key=own, franking_key=key.key, franking_key_signature=key.signature)
    egress = Egress(deployment.directory(), credentials, Recorder(), now_ms)
    try:
        egress.unary(Call(Party.CENTRE, CENTRE_KEY, Purpose.ACCOUNT), said)
    finally:
        egress.close()
    late = in_process(served, "device", "register", "kim")
    refused(late, UNREACHABLE, "centre", "another one was named first under this account's name")
    in_process(served, "device", "remove", "kim", "--yes")


@pytest.mark.parametrize(("name", "code"), [("nobody", BAD_STATE), ("..", REFUSED), ("", REFUSED)])
def test_what_is_no_device_is_not_removed(name: str, code: int, home: Path) -> None:
    refused(in_process(home, "device", "remove", name, "--yes"), code)
    unasked = in_process(home, "device", "remove", name)
    refused(unasked, code)
    assert "Remove" not in unasked.err, "there is nothing to ask about"
    assert (home / "deployment.json").exists()


def test_the_design_of_the_last_build_is_that_of_every_command(home: Path, tmp_path: Path) -> None:
    assert json.loads((home / "design.json").read_text()) == {"design": "oprf-psi"}
    assert in_process(home, "list", "build", "known", "--design", "none").code == 0
    again = in_process(home, "list", "build", "known", "--json", "-").json
    assert (again["design"], again["epoch"]) == ("none", 2)
    found = {one["check"]: one["what"] for one in in_process(home, "doctor", "--json", "-").json}
    assert found["epoch"].startswith("epoch 2 of none")
    assert in_process(home, "certs", "pack", "matcher", tmp_path / "packed").code == 0
    assert (tmp_path / "packed" / "design.json").exists()
    assert not (tmp_path / "packed" / "curator" / "published" / "oprf-psi").exists()


def test_a_design_of_another_deployment_is_explained(served: Path) -> None:
    note_design(Deployment.open(served), "token-psi")
    try:
        ran = in_process(served, "device", "list")
        assert "the last set was built for token-psi" in " ".join(ran.out.split())
        words = ("of design token-psi", "'oprf-psi'", "another design than this device was made with")
        refused(in_process(served, "device", "register", "ida"), BAD_STATE, *words)
        assert in_process(served, "device", "register", "alice").code == 0
    finally:
        note_design(Deployment.open(served), "oprf-psi")


def test_a_damaged_note_of_the_design_is_refused(home: Path) -> None:
    (home / "design.json").write_text("[]")
    refused(in_process(home, "doctor"), BAD_STATE, "design.json is damaged")


@pytest.mark.parametrize(
    ("to", "words"),
    [("alice", "alice cannot send to itself"), ("bob,alice", "itself"), ("", "field name"), ("bob,", "name")],
)
def test_a_recipient_that_cannot_be_one_is_refused_before_anything_is_sent(
    to: str, words: str, served: Path
) -> None:
    refused(in_process(served, "device", "send", "alice", to, "--text", "hi"), REFUSED, words)


def test_each_message_of_a_group_says_whose_it_is(served: Path) -> None:
    ran = in_process(served, "device", "send", "alice", "bob,nobody,bob", "--text", "hi", "--json", "-")
    assert ran.code == UNREACHABLE
    assert [(one["to"], one["delivered"]) for one in ran.json] == [("bob", True), ("nobody", False)]


@pytest.mark.parametrize("words", [("certs", "issue", "device", "--name"), ("device", "register")])
@pytest.mark.parametrize(("name", "said"), [("centre-notices", "own account"), ("centre_n0tice", "read as")])
def test_nobody_gets_a_certificate_in_the_name_of_the_centre(
    home: Path, words: tuple[str, ...], name: str, said: str
) -> None:
    ran = in_process(home, *words, name)
    assert ran.code not in (0, 1) and said in " ".join(ran.err.split()), ran.err
