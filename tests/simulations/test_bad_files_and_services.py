"""Spoilt sets, servers that are not there, pictures that are none: as a user of the command meets them."""

from __future__ import annotations

import io
import json
import shutil
import socket
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from blindmatch_protocol.contract import Party
from blindmatch_protocol.messages.epoch_manifest import SignedManifest
from blindmatch_server.epochs.signing import CuratorKey
from blindmatch_simulations.testbed.deployment.folder import Deployment
from msgspec.structs import replace
from PIL import Image
from support.command import BAD_STATE, PORT_TAKEN, REFUSED, UNREACHABLE, in_process, refused

# sets


def _published(home: Path) -> Path:
    return home / "curator" / "published" / "oprf-psi"


def _truncated(epoch: Path) -> None:
    largest = max(epoch.glob("*"), key=lambda path: path.stat().st_size)
    largest.write_bytes(largest.read_bytes()[:-1])


def _flipped(epoch: Path) -> None:
    path = epoch / json.loads((epoch / "files.json").read_text())["setup"][0]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _of_another_version(epoch: Path) -> None:
    _claims(epoch, version=99)


def _of_another_epoch(epoch: Path) -> None:
    """A whole epoch 1, put in the place of epoch 2 with a manifest that says so."""
    epoch.rename(epoch.with_name("2"))
    _claims(epoch.with_name("2"), epoch=2)
    epoch.with_name("current").write_text("2\n")


def _without_a_list_of_files(epoch: Path) -> None:
    (epoch / "files.json").unlink()


def _claims(home: Path, **what: int) -> None:
    """Have the curator sign that it is something else."""
    path = home / "epoch.manifest"
    manifest = replace(SignedManifest.decode(path.read_bytes()).manifest, **what)
    path.write_bytes(CuratorKey.read(home.parents[2] / "keys").sign(manifest).encode())


@pytest.mark.parametrize(
    "spoil", [_truncated, _flipped, _of_another_version, _of_another_epoch, _without_a_list_of_files]
)
def test_a_matcher_does_not_start_on_a_spoilt_set(
    spoil: Callable[[Path], None], home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = _published(home)
    for path in folder.rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)
    spoil(folder / "1")
    ran = in_process(home, "serve", "matcher", "--port", 0)
    assert ran.code == BAD_STATE
    said = ran.err + ran.out + capfd.readouterr().err
    assert "Traceback" not in said
    assert "stopped" in said or said.startswith("error: ")
    assert not (home / "matcher" / "port").exists()


def test_a_set_that_is_not_published_is_named(home: Path) -> None:
    ran = in_process(home, "serve", "matcher", "--design", "none", "--port", 0)
    refused(ran, BAD_STATE, "none is not published", "blindmatch list build --design none")


def test_a_device_notices_that_its_own_set_was_altered_and_fetches_it_again(served: Path) -> None:
    assert in_process(served, "device", "register", "dora").code == 0
    (kept,) = (served / "devices" / "dora" / "state" / "setup").glob("oprf-psi-*/epoch-1/*.bin")
    whole = kept.read_bytes()
    kept.chmod(0o600)
    kept.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    ran = in_process(served, "device", "send", "dora", "bob", "--picture", _photo(served), "--json", "-")
    assert [one["outcome"] for one in ran.json] == ["no match"]
    assert kept.read_bytes() == whole


# services


@pytest.mark.parametrize("name", ["relay", "matcher", "centre"])
def test_a_taken_port_is_named(name: str, home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ran = in_process(home, "serve", name, "--port", port)
    assert ran.code == PORT_TAKEN
    assert f"127.0.0.1:{port}" in ran.err + ran.out + capfd.readouterr().err


def test_servers_that_do_not_run_are_named(home: Path) -> None:
    refused(in_process(home, "centre", "list"), UNREACHABLE, "the centre is not running", "serve all")
    refused(in_process(home, "centre", "show", "00" * 16), UNREACHABLE, "the centre is not running")
    refused(in_process(home, "device", "register", "alice"), UNREACHABLE, "the matcher cannot be reached")


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    with socket.socket() as held:
        yield held


def test_a_server_that_is_gone_is_unreachable_and_the_message_is_kept(
    served: Path, silent: socket.socket, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    shutil.copytree(served, home)
    silent.bind(("127.0.0.1", 0))  # without a listener, and nobody else gets one there
    for party in (Party.PROVIDER, Party.CENTRE):
        Deployment.open(home).port_file(party).write_text(f"{silent.getsockname()[1]}\n")
    ran = in_process(home, "device", "send", "alice", "bob", "--text", "hi", "--json", "-")
    assert ran.code == UNREACHABLE
    assert [(one["delivered"], "the relay cannot be reached" in one["notice"]) for one in ran.json] == [
        (False, True)
    ]
    flushed = in_process(home, "device", "flush", "alice", "--json", "-")
    assert (flushed.code, flushed.json["waiting"]) == (UNREACHABLE, 1)
    refused(in_process(home, "centre", "list"), UNREACHABLE, "the centre is not running", "serve all")
    told = in_process(home, "device", "inbox", "bob")
    refused(told, UNREACHABLE, "the relay cannot be reached", "not running", "start it")


def test_an_unknown_recipient_and_an_unknown_report_are_refused(served: Path) -> None:
    sent = in_process(served, "device", "send", "alice", "nobody", "--text", "hi")
    refused(sent, UNREACHABLE, "the relay refused (NOT_FOUND)")
    shown = in_process(served, "centre", "show", "00" * 16)
    refused(shown, UNREACHABLE, "the centre refused (NOT_FOUND)", "report")
    for report in ("zz", "00", "0" * 31 + "g"):
        refused(in_process(served, "centre", "show", report), REFUSED, "report", "32 hex digits")


def test_an_unknown_device_is_named(home: Path) -> None:
    for command in (["send", "nobody", "bob", "--text", "hi"], ["inbox", "nobody"], ["flush", "nobody"]):
        refused(in_process(home, "device", *command), BAD_STATE, "no device nobody", "device register nobody")


# pictures


def _photo(folder: Path) -> Path:
    noise = np.random.default_rng(2).integers(0, 256, (12, 12, 3), np.uint8)
    path = folder / "photo.png"
    Image.fromarray(noise).resize((200, 200), Image.Resampling.BICUBIC).save(path)
    return path


def _claiming(width: int, height: int) -> bytes:
    """A PNG whose header claims that size, and whose data is a few bytes."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b""))
    parts = (struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _truncated_jpeg() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (64, 64), (9, 99, 9)).save(out, "JPEG")
    return out.getvalue()[: len(out.getvalue()) // 2]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("empty.png", b""),
        ("text.png", b"not a picture at all"),
        ("truncated.jpg", _truncated_jpeg()),
        ("huge.png", _claiming(60_000, 60_000)),
        ("lying.png", _claiming(300, 300)),
        ("vector.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_picture_that_cannot_be_decoded_is_not_sent(
    name: str, data: bytes, served: Path, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    before = len(in_process(served, "device", "inbox", "bob", "--json", "-").json)
    refused(
        in_process(served, "device", "send", "alice", "bob", "--picture", path),
        REFUSED,
        name,
        "picture",
        "nothing was sent",
    )
    assert in_process(served, "device", "flush", "alice", "--json", "-").json["messages"] == 0
    assert len(in_process(served, "device", "inbox", "bob", "--json", "-").json) == before


def test_a_picture_that_cannot_be_read_is_named(served: Path, tmp_path: Path) -> None:
    send = ["device", "send", "alice", "bob", "--picture"]
    refused(in_process(served, *send, tmp_path / "lost.png"), BAD_STATE, "lost.png: No such file")
    refused(in_process(served, *send, tmp_path), BAD_STATE, "Is a directory")
