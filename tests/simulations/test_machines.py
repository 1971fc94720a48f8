"""A deployment of several machines: each has its own folder with what it needs, and nothing else."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from blindmatch_protocol.contract import Party
from blindmatch_server.epochs.published import SIGNED
from blindmatch_simulations.testbed.deployment import addresses
from blindmatch_simulations.testbed.deployment.addresses import AddressError
from support.command import COMMAND, environment, in_process, refused

from .test_by_hand import done

SERVERS = ("centre", "matcher", "relay")


@contextmanager
def server(name: str, home: Path, *options: str) -> Iterator[str]:
    """A server in its own folder; yields where it is called."""
    command = [*COMMAND, "serve", name, "--port", "0", *options]
    with subprocess.Popen(command, env=environment(home), stderr=subprocess.DEVNULL) as process:
        try:
            port = home / name / "port"
            deadline = time.monotonic() + 240
            while not port.exists():
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.05)
            yield f"127.0.0.1:{int(port.read_text())}"
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(240) == 0


def packed(prepared: Path, folder: Path, kind: str, *options: str) -> Path:
    done(in_process(prepared, "certs", "pack", kind, folder, *options))
    return folder


def test_six_machines_play_together(prepared: Path, samples: Path, tmp_path: Path) -> None:
    with ExitStack() as stack:
        where = {
            name: stack.enter_context(server(name, packed(prepared, tmp_path / name, name)))
            for name in SERVERS
        }
        options = [word for one in where.items() for word in ("--address", "=".join(one))]
        for name in ("alice", "bob"):
            packed(prepared, tmp_path / name, "device", "--name", name)
            done(in_process(tmp_path / name, "certs", "addresses", *options))
            done(in_process(tmp_path / name, "device", "register", name))
        desk = packed(prepared, tmp_path / "desk", "operator", "--name", "olga")
        done(in_process(desk, "certs", "addresses", *options))
        listed = sorted((samples / "listed").iterdir())[0]
        done(in_process(tmp_path / "alice", "device", "send", "alice", "bob", "--picture", listed))
        inbox = done(in_process(tmp_path / "bob", "device", "inbox", "bob", "--json", "-")).json
        assert [one["pictures"] for one in inbox] == [1]
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("BLINDMATCH_OPERATOR", "olga")
            (report,) = done(in_process(desk, "centre", "list", "--json", "-")).json
            done(in_process(desk, "centre", "confirm", report["report"], "--reason", "looked"))
            shown = done(in_process(desk, "centre", "show", report["report"], "--json", "-")).json
        assert shown["journal"][-1]["actor"] == "operator/olga"


def test_no_machine_has_another_s_secrets(taught: Path, tmp_path: Path) -> None:
    prepared = tmp_path / "prepared"
    shutil.copytree(taught, prepared)
    secrets = {path.read_bytes(): path.relative_to(prepared) for path in prepared.rglob("*.key")}
    own = {
        "relay": {"relay.key", "stamp.key"},
        "matcher": {"matcher.key"},
        "centre": {
            *("centre.key", "second-hash.key", "notices.key", "stamp.key", "judge.key"),
            "device-centre-notices.key",
        },
    }
    for name in SERVERS:
        folder = packed(prepared, tmp_path / name, name)
        held = [path for path in folder.rglob("*") if path.is_file() and path.read_bytes() in secrets]
        assert {path.name for path in held} == own[name]
        assert all(path.stat().st_mode & 0o077 == 0 for path in held)
        published = {path.name for path in (folder / "curator/published").rglob("*") if path.is_file()}
        # the centre knows by the signed manifests which epochs reports may be of; nobody else needs a file
        assert published == {SIGNED} if name == "centre" else bool(published) is (name == "matcher")
        assert not (folder / "authority").exists()
        assert not (folder / "curator/lists").exists()
    again = in_process(prepared, "certs", "pack", "relay", tmp_path / "relay")
    assert (again.code, "exists" in again.err) == (4, True)


@pytest.mark.parametrize(
    "address",
    ["", "relay", "relay:", ":7401", "relay:0", "relay:65536", "relay:x", "a b:1", "-a:1", "::1:7401"],
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(AddressError, match="relay"):
        addresses.checked(Party.PROVIDER, address)


@pytest.mark.parametrize("address", ["relay:7401", "relay.example:1", "10.0.0.2:65535", "[2001:db8::3]:7404"])
def test_addresses_are_kept_as_they_were_given(address: str, tmp_path: Path) -> None:
    path = tmp_path / "addresses.json"
    held: Mapping[Party, str] = {Party.PROVIDER: addresses.checked(Party.PROVIDER, address)}
    addresses.write(path, held)
    assert addresses.read(path) == held


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        '{"relay": 1}',
        '{"Police": "x:1"}',
        '{"provider": "x:1"}',
        '{"curator": "x:1"}',
        '{"relay": "x"}',
    ],
)
def test_a_damaged_file_of_addresses_is_named(content: str, tmp_path: Path) -> None:
    path = tmp_path / "addresses.json"
    path.write_text(content)
    with pytest.raises(AddressError):
        addresses.read(path)


def test_a_certificate_is_renewed_in_place(prepared: Path) -> None:
    names = ("relay.crt", "relay.key", "ca.crt")
    before = [(prepared / "relay" / name).read_bytes() for name in names]
    done(in_process(prepared, "certs", "renew", "relay"))
    after = [(prepared / "relay" / name).read_bytes() for name in names]
    assert [a == b for a, b in zip(before, after, strict=True)] == [False, False, True]
    assert (prepared / "relay/relay.key").stat().st_mode & 0o777 == 0o600
    for nobody in (("police",), ("device", "--name", "nobody")):
        refused(in_process(prepared, "certs", "renew", *nobody), 4, "no certificate here")
    assert not (prepared / "police").exists() and not (prepared / "devices/nobody").exists()
    nameless = in_process(prepared, "certs", "renew", "device")
    assert (nameless.code, "field name" in nameless.err) == (6, True)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("serve", "police"), 4, "oprf-psi has no such server; it has centre, matcher, relay"),
        (("serve", "Police"), 2, "party: a name is"),
        (("serve", "provider"), 2, "no server is called provider"),
        (("serve", "all", "--port", "0"), 2, "all takes"),
        (("certs", "pack", "police", "folder"), 4, "oprf-psi has no such server"),
        (("certs", "renew", "relay", "--name", "x"), 2, "a server has none"),
    ],
)
def test_a_server_that_no_party_has_is_refused(
    prepared: Path, words: tuple[str, ...], code: int, said: str
) -> None:
    ran = in_process(prepared, *words)
    plain = " ".join(ran.err.replace("│", " ").split())
    assert (ran.code, said in plain) == (code, True), plain


def test_any_server_s_address_can_be_noted(prepared: Path, tmp_path: Path) -> None:
    home = packed(prepared, tmp_path / "desk", "operator", "--name", "olga")
    assert "servers are those on this machine" in done(in_process(home, "certs", "addresses")).out
    done(
        in_process(home, "certs", "addresses", "--address", "relay=r:1", "--address", "party_a=10.0.0.2:7405")
    )
    assert "│ party_a │" in in_process(home, "certs", "addresses").out, "as it is called"
    assert addresses.read(home / "addresses.json") == {"provider": "r:1", "party_a": "10.0.0.2:7405"}
    wrong = in_process(home, "certs", "addresses", "--address", "party_a")
    assert (wrong.code, "host:port" in wrong.err) == (6, True)
