"""Set-up files: fetched once, resumed, checked, and replaced only by a whole epoch."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from blindmatch_client.egress import Egress, Recorder
from blindmatch_client.errors import MisbehavedError, ServiceUnavailableError
from blindmatch_client.setup import SetupStore
from blindmatch_protocol.contract import Party
from blindmatch_protocol.errors import SetFileError
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from blindmatch_protocol.setfile import SetFile
from blindmatch_protocol.setfile.layout import unpack_header
from dummy_designs import ECHO
from support.fakes import Fail, FakeMatcher, World, down, hashes_with

Fetching = tuple[FakeMatcher, SetupStore, Egress]
BIG = os.urandom(900_000)


@pytest.fixture
def fetching(make_world: Callable[..., World], tmp_path: Path) -> Iterator[Fetching]:
    world = make_world(ECHO, hashes_with())
    world.matcher.epoch.setup["big.bin"] = BIG
    world.matcher.epoch.setup["empty.bin"] = b""
    egress = world.egress("alice", Recorder(), [])
    yield world.matcher, SetupStore(tmp_path / "setup", ECHO), egress
    egress.close()


def folder_of(tmp_path: Path, name: str = "epoch-1") -> Path:
    return tmp_path / "setup" / "dummy-echo-3" / name


def test_files_come_whole_and_as_read_only_maps(fetching: Fetching) -> None:
    matcher, store, egress = fetching
    got = store.fetch(egress, Party.MATCHER)
    assert {name: bytes(data) for name, data in got.files.items()} == matcher.epoch.setup
    with pytest.raises(TypeError, match="read-only"):
        got.files["big.bin"][0] = 1  # type: ignore[index]


def test_what_is_here_and_whole_is_not_fetched_again(fetching: Fetching) -> None:
    matcher, store, egress = fetching
    store.fetch(egress, Party.MATCHER)
    before = len(matcher.fetched)
    store.fetch(egress, Party.MATCHER)
    assert len(matcher.fetched) == before and store.newest() is not None
    assert matcher.calls[-1] == "Describe"


def test_a_fetch_that_broke_off_goes_on_where_it_stopped(fetching: Fetching) -> None:
    matcher, store, egress = fetching
    matcher.fail_next(None, None, None, down(), method="part")
    got = store.fetch(egress, Party.MATCHER)
    offsets = [request.offset for request in matcher.fetched if request.name == "big.bin"]
    assert offsets == [0, 2 << 18] and bytes(got.files["big.bin"]) == BIG


def test_a_fetch_goes_on_after_a_restart(fetching: Fetching, tmp_path: Path) -> None:
    matcher, store, egress = fetching
    matcher.fail_next(None, *[down()] * 3, method="part")
    with pytest.raises(ServiceUnavailableError):
        store.fetch(egress, Party.MATCHER)
    assert store.newest() is None and folder_of(tmp_path, "epoch-1.part").is_dir()
    matcher.fetched.clear()
    SetupStore(tmp_path / "setup", ECHO).fetch(egress, Party.MATCHER)
    assert "epoch.bin" not in [request.name for request in matcher.fetched]


@pytest.mark.parametrize("damage", ["flip", "cut", "grow", "remove"])
def test_a_file_that_was_damaged_on_disk_is_fetched_again_and_no_other(
    fetching: Fetching, tmp_path: Path, damage: str
) -> None:
    matcher, store, egress = fetching
    store.fetch(egress, Party.MATCHER)
    path = folder_of(tmp_path) / "big.bin"
    data = path.read_bytes()
    path.unlink()
    changed = {"flip": b"?" + data[1:], "cut": data[:1000], "grow": data + b"x"}
    if damage in changed:
        path.write_bytes(changed[damage])
    assert store.newest() is None
    matcher.fetched.clear()
    assert bytes(store.fetch(egress, Party.MATCHER).files["big.bin"]) == BIG
    assert {request.name for request in matcher.fetched} == {"big.bin"}


def test_the_old_epoch_stays_until_the_new_one_is_whole(fetching: Fetching, tmp_path: Path) -> None:
    matcher, store, egress = fetching
    store.fetch(egress, Party.MATCHER)
    matcher.epoch.number = 2
    matcher.fail_always(down(), "part")
    with pytest.raises(ServiceUnavailableError):
        store.fetch(egress, Party.MATCHER)
    here = store.newest()
    assert here is not None and here.epoch == 1
    matcher.heal()
    assert store.fetch(egress, Party.MATCHER).epoch == 2
    assert [path.name for path in folder_of(tmp_path).parent.iterdir()] == ["epoch-2"]


def test_bytes_that_are_not_what_was_described_are_refused(fetching: Fetching) -> None:
    matcher, store, egress = fetching
    matcher.alter_part = lambda part: pb.Part(size=part.size, data=part.data[:-1] + b"\x00" * bool(part.data))
    with pytest.raises(SetFileError, match="must have the digest"):
        store.fetch(egress, Party.MATCHER)
    assert store.newest() is None


def grown(part: pb.Part) -> pb.Part:
    return pb.Part(size=part.size, data=part.data + b"x")


def unsized(part: pb.Part) -> pb.Part:
    return pb.Part(data=part.data)


def cut(part: pb.Part) -> pb.Part:
    return pb.Part(size=part.size, data=part.data[:100])


@pytest.mark.parametrize("alter", [grown, unsized, cut])
def test_parts_that_break_the_wire_interface_are_refused(
    fetching: Fetching, alter: Callable[[pb.Part], pb.Part]
) -> None:
    matcher, store, egress = fetching
    matcher.alter_part = alter
    with pytest.raises(MisbehavedError):
        store.fetch(egress, Party.MATCHER)


def described(**changes: Any) -> pb.Description:
    whole: dict[str, Any] = {"design": "dummy-echo", "version": 3, "epoch": 1}
    return pb.Description(**{**whole, **changes})


HOSTILE = {
    "another design": described(design="other"),
    "another version": described(version=4),
    "no epoch": described(epoch=0),
    "a path": described(setup=[pb.SetupFile(name="../../etc/x", size=1)]),
    "an absolute path": described(setup=[pb.SetupFile(name="/etc/x", size=1)]),
    "the manifest's name": described(setup=[pb.SetupFile(name="description.pb", size=1)]),
    "a name twice": described(setup=[pb.SetupFile(name="a", size=1)] * 2),
    "too many files": described(setup=[pb.SetupFile(name=f"f{n}") for n in range(65)]),
    "an endless file": described(setup=[pb.SetupFile(name="a", size=1 << 62)]),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_description_is_refused_before_anything_is_written(
    fetching: Fetching, tmp_path: Path, what: str
) -> None:
    matcher, store, egress = fetching
    matcher.description = HOSTILE[what]
    with pytest.raises((MisbehavedError, SetFileError)):
        store.fetch(egress, Party.MATCHER)
    assert matcher.fetched == [] and list(folder_of(tmp_path).parent.iterdir()) == []


def test_an_epoch_that_moves_on_while_it_is_fetched_is_refused_with_the_reason(fetching: Fetching) -> None:
    matcher, store, egress = fetching
    matcher.fail_always(Fail(grpc.StatusCode.FAILED_PRECONDITION, "another epoch"), "FetchSetup")
    with pytest.raises(Exception, match="fetch it anew"):
        store.fetch(egress, Party.MATCHER)


# --- set files -----------------------------------------------------------------------------------

SET = (Path(__file__).parents[1] / "vectors" / "set-file-v2.bin").read_bytes()


@pytest.fixture
def with_set(fetching: Fetching, tmp_path: Path) -> Path:
    """The path of a set file that was fetched."""
    matcher, store, egress = fetching
    matcher.epoch.setup["set.bin"] = SET
    store.fetch(egress, Party.MATCHER)
    matcher.fetched.clear()
    return folder_of(tmp_path) / "set.bin"


def altered(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def test_a_start_reads_a_set_file_s_end_alone_and_mends_it_once_it_is_distrusted(
    fetching: Fetching, with_set: Path
) -> None:
    matcher, store, egress = fetching
    altered(with_set, 70)
    assert store.newest() is not None
    with pytest.raises(SetFileError, match="altered"):
        SetFile(with_set.read_bytes(), "set.bin", *design_of(SET)).verify()
    assert not store.distrust(1) and store.newest() is None
    assert bytes(store.fetch(egress, Party.MATCHER).files["set.bin"]) == SET
    assert {request.name for request in matcher.fetched} == {"set.bin"} and store.distrust(1)


def design_of(data: bytes) -> tuple[str, int]:
    identity = unpack_header(data[:64])
    return identity.design, identity.design_version


@pytest.mark.parametrize("at", [0, -1, -20, -72])
def test_a_set_file_whose_ends_were_altered_is_seen_at_the_start(
    fetching: Fetching, with_set: Path, at: int
) -> None:
    altered(with_set, at)
    assert fetching[1].newest() is None


@pytest.mark.parametrize("noted", [None, b"", b"[]", b"{", b"\xff"])
def test_without_a_note_every_byte_is_compared_and_noted(
    fetching: Fetching, with_set: Path, noted: bytes | None
) -> None:
    note = with_set.with_name("checked.json")
    before = note.read_bytes()
    note.unlink()
    if noted is not None:
        note.write_bytes(noted)
    assert fetching[1].newest() is not None and note.read_bytes() == before
    note.unlink()
    altered(with_set, 70)
    assert fetching[1].newest() is None and not note.exists()


def test_an_epoch_that_is_described_anew_is_compared_as_a_whole(fetching: Fetching, with_set: Path) -> None:
    matcher, store, egress = fetching
    other = bytearray(SET)
    other[70] ^= 1
    matcher.epoch.setup["set.bin"] = bytes(other)
    assert bytes(store.fetch(egress, Party.MATCHER).files["set.bin"]) == bytes(other)


def test_the_note_is_no_name_of_a_set_up_file(fetching: Fetching) -> None:
    matcher, store, egress = fetching
    matcher.epoch.setup["checked.json"] = b"{}"
    with pytest.raises(MisbehavedError, match="file's name"):
        store.fetch(egress, Party.MATCHER)
