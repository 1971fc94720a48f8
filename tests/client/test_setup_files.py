"""Set-up files: fetched once, resumed, checked, and replaced only by a whole epoch."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import grpc
import pytest
from blindmatch_client.egress import Egress, Recorder
from blindmatch_client.epochs.setup import SetupStore
from blindmatch_client.epochs.trusted import SetupFiles
from blindmatch_client.errors import MisbehavedError, ServiceUnavailableError
from blindmatch_protocol.codec.errors import SetFileError
from blindmatch_protocol.contract import Party
from blindmatch_protocol.messages.epoch_manifest import EpochManifest, ManifestFile
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from blindmatch_protocol.setfile import SetFile
from blindmatch_protocol.setfile.layout import unpack_header
from dummy_designs import ECHO
from msgspec.structs import replace
from support.fakes import Fail, FakeMatcher, World, down, hashes_with
from support.signed import manifest_of

BIG = os.urandom(900_000)


class Fetching(NamedTuple):
    """A matcher, and a device's set-up files of its current epoch."""

    matcher: FakeMatcher
    store: SetupStore
    egress: Egress

    def manifest(self) -> EpochManifest:
        epoch = self.matcher.epoch
        return manifest_of(self.matcher.design, epoch.setup, epoch.number, None, epoch.stated)

    def fetch(self) -> SetupFiles:
        return self.store.complete(self.manifest(), self.egress, Party.MATCHER)

    def here(self) -> SetupFiles | None:
        return self.store.open_whole(self.manifest())


@pytest.fixture
def fetching(make_world: Callable[..., World], tmp_path: Path) -> Iterator[Fetching]:
    world = make_world(ECHO, hashes_with())
    world.matcher.epoch.setup["big.bin"] = BIG
    world.matcher.epoch.setup["empty.bin"] = b""
    egress = world.egress("alice", Recorder(), [])
    yield Fetching(world.matcher, SetupStore(tmp_path / "setup", ECHO), egress)
    egress.close()


def folder_of(tmp_path: Path, name: str = "epoch-1") -> Path:
    return tmp_path / "setup" / "dummy-echo-3" / name


def test_files_come_whole_and_as_read_only_maps(fetching: Fetching) -> None:
    matcher = fetching.matcher
    got = fetching.fetch()
    assert {name: bytes(data) for name, data in got.files.items()} == matcher.epoch.setup
    with pytest.raises(TypeError, match="read-only"):
        got.files["big.bin"][0] = 1  # type: ignore[index]


def test_what_is_here_and_whole_is_not_fetched_again(fetching: Fetching) -> None:
    matcher = fetching.matcher
    fetching.fetch()
    before = len(matcher.fetched)
    fetching.fetch()
    assert len(matcher.fetched) == before and fetching.here() is not None


def test_a_fetch_that_broke_off_goes_on_where_it_stopped(fetching: Fetching) -> None:
    matcher = fetching.matcher
    matcher.fail_next(None, None, down(), method="part")
    got = fetching.fetch()
    offsets = [request.offset for request in matcher.fetched if request.name == "big.bin"]
    assert offsets == [0, 2 << 18] and bytes(got.files["big.bin"]) == BIG


def test_a_fetch_goes_on_after_a_restart(fetching: Fetching, tmp_path: Path) -> None:
    matcher = fetching.matcher
    matcher.fail_next(*[None] * 4, *[down()] * 3, method="part")
    with pytest.raises(ServiceUnavailableError):
        fetching.fetch()
    assert fetching.here() is None and folder_of(tmp_path, "epoch-1.part").is_dir()
    matcher.fetched.clear()
    SetupStore(tmp_path / "setup", ECHO).complete(fetching.manifest(), fetching.egress, Party.MATCHER)
    assert "big.bin" not in [request.name for request in matcher.fetched]


@pytest.mark.parametrize("damage", ["flip", "cut", "grow", "remove"])
def test_a_file_that_was_damaged_on_disk_is_fetched_again_and_no_other(
    fetching: Fetching, tmp_path: Path, damage: str
) -> None:
    matcher = fetching.matcher
    fetching.fetch()
    path = folder_of(tmp_path) / "big.bin"
    data = path.read_bytes()
    path.unlink()
    changed = {"flip": bytes([data[0] ^ 1]) + data[1:], "cut": data[:1000], "grow": data + b"x"}
    if damage in changed:
        path.write_bytes(changed[damage])
    assert fetching.here() is None
    matcher.fetched.clear()
    assert bytes(fetching.fetch().files["big.bin"]) == BIG
    assert {request.name for request in matcher.fetched} == {"big.bin"}


def test_another_epoch_stays_until_it_is_told_to_go(fetching: Fetching, tmp_path: Path) -> None:
    fetching.fetch()
    fetching.matcher.epoch.number = 2
    fetching.fetch()
    folders = folder_of(tmp_path).parent
    assert sorted(path.name for path in folders.iterdir()) == ["epoch-1", "epoch-2"]
    fetching.store.keep_only(2)
    assert [path.name for path in folders.iterdir()] == ["epoch-2"]


def test_bytes_that_are_not_what_was_described_are_refused(fetching: Fetching) -> None:
    matcher = fetching.matcher
    matcher.alter_part = lambda part: pb.Part(
        size=part.size, data=part.data[:-1] + bytes(one ^ 1 for one in part.data[-1:])
    )
    with pytest.raises(MisbehavedError, match="must have the digest"):
        fetching.fetch()
    assert fetching.here() is None


def grown(part: pb.Part) -> pb.Part:
    return pb.Part(size=part.size, data=part.data + b"x")


def unsized(part: pb.Part) -> pb.Part:
    return pb.Part(data=part.data)


def cut(part: pb.Part) -> pb.Part:
    return pb.Part(size=part.size, data=part.data[:100])


def empty(part: pb.Part) -> pb.Part:
    return pb.Part(size=part.size)


@pytest.mark.parametrize("alter", [grown, unsized, cut, empty])
def test_parts_that_break_the_wire_interface_are_refused(
    fetching: Fetching, alter: Callable[[pb.Part], pb.Part]
) -> None:
    matcher = fetching.matcher
    matcher.alter_part = alter
    with pytest.raises(MisbehavedError):
        fetching.fetch()


HOSTILE = {
    "a path": [ManifestFile("../../etc/x", 1, bytes(32))],
    "an absolute path": [ManifestFile("/etc/x", 1, bytes(32))],
    "the note's name": [ManifestFile("checked.json", 1, bytes(32))],
    "an endless file": [ManifestFile("a", 1 << 62, bytes(32))],
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_manifest_that_names_what_no_file_can_be_is_refused_before_anything_is_written(
    fetching: Fetching, tmp_path: Path, what: str
) -> None:
    manifest = replace(fetching.manifest(), files=tuple(HOSTILE[what]))
    with pytest.raises(SetFileError):
        fetching.store.complete(manifest, fetching.egress, Party.MATCHER)
    assert fetching.matcher.fetched == [] and list(folder_of(tmp_path).parent.iterdir()) == []


def test_an_epoch_that_moves_on_while_it_is_fetched_is_refused_with_the_reason(fetching: Fetching) -> None:
    matcher = fetching.matcher
    matcher.fail_always(Fail(grpc.StatusCode.FAILED_PRECONDITION, "another epoch"), "FetchSetup")
    with pytest.raises(Exception, match="fetch it anew"):
        fetching.fetch()


# --- set files -----------------------------------------------------------------------------------

SET = (Path(__file__).parents[1] / "vectors" / "set-file-v2.bin").read_bytes()


@pytest.fixture
def with_set(fetching: Fetching, tmp_path: Path) -> Path:
    """The path of a set file that was fetched."""
    matcher = fetching.matcher
    matcher.epoch.setup["set.bin"] = SET
    fetching.fetch()
    matcher.fetched.clear()
    return folder_of(tmp_path) / "set.bin"


def altered(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def test_a_start_reads_a_set_file_s_end_alone_and_mends_it_once_it_is_distrusted(
    fetching: Fetching, with_set: Path
) -> None:
    matcher = fetching.matcher
    altered(with_set, 70)
    assert fetching.here() is not None
    with pytest.raises(SetFileError, match="altered"):
        SetFile(with_set.read_bytes(), "set.bin", *design_of(SET)).verify()
    fetching.store.suspect(1)
    assert fetching.here() is None
    assert bytes(fetching.fetch().files["set.bin"]) == SET
    assert {request.name for request in matcher.fetched} == {"set.bin"}


def design_of(data: bytes) -> tuple[str, int]:
    identity = unpack_header(data[:64])
    return identity.design, identity.design_version


@pytest.mark.parametrize("at", [0, -1, -20, -72])
def test_a_set_file_whose_ends_were_altered_is_seen_at_the_start(
    fetching: Fetching, with_set: Path, at: int
) -> None:
    altered(with_set, at)
    assert fetching.here() is None


@pytest.mark.parametrize("noted", [None, b"", b"[]", b"{", b"\xff"])
def test_without_a_note_every_byte_is_compared_and_noted(
    fetching: Fetching, with_set: Path, noted: bytes | None
) -> None:
    note = with_set.with_name("checked.json")
    before = note.read_bytes()
    note.unlink()
    if noted is not None:
        note.write_bytes(noted)
    assert fetching.here() is not None and note.read_bytes() == before
    note.unlink()
    altered(with_set, 70)
    assert fetching.here() is None and not note.exists()


def test_an_epoch_that_is_described_anew_is_compared_as_a_whole(fetching: Fetching, with_set: Path) -> None:
    matcher = fetching.matcher
    other = bytearray(SET)
    other[70] ^= 1
    matcher.epoch.setup["set.bin"] = bytes(other)
    assert bytes(fetching.fetch().files["set.bin"]) == bytes(other)
