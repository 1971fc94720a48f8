"""The list on the device, in the clear and as digests: what it finds, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from blindmatch_protocol.codec.errors import SetFileError
from blindmatch_protocol.codec.randomness import seeded
from blindmatch_protocol.contract import AnyDesign, Match, NoMatch, Outcome, SetParameters
from blindmatch_protocol.designs import device_list, device_list_hashed
from blindmatch_protocol.designs.device_list import find
from blindmatch_protocol.setfile import SetFile, SetFileWriter
from blindmatch_protocol.sets.plain_list import MOST_DISTANCE, MultiIndex, identity_of, nearest, write_index
from blindmatch_simulations.testbed.inprocess.deployed import run_session
from blindmatch_simulations.testbed.pictures.pool import HashOnly
from msgspec import structs
from support.memory import MemoryWorkspace, OpenDesign, build, held, random_hashes
from support.set_files import opened, resealed
from support.voprf_world import flipped as edited

PLAIN = device_list.DESIGN
HASHED = device_list_hashed.DESIGN
DESIGNS = pytest.mark.parametrize("design", [PLAIN, HASHED], ids=lambda design: design.info.name)


def outcome(place: OpenDesign, own: bytes, quality: int = 100) -> Outcome:
    """The outcome of a session, which must be there without anybody's answer."""
    ran = run_session(place, HashOnly(own, quality), seeded("device"))
    assert ran.rounds == ()
    return ran.outcome


def test_an_index_finds_what_a_scan_finds_at_every_distance() -> None:
    hashes = random_hashes(3000)
    scanned, indexed = (held(PLAIN, hashes, values={"index": kind}).setup for kind in (0, 1))
    rng = np.random.default_rng(3)
    expected = []
    for at in range(66):
        flips = rng.choice(256, at // 2, replace=False)
        own = edited(hashes[rng.integers(3000)].tobytes(), *flips)
        expected.append(find(scanned, own))
        assert find(indexed, own) == expected[-1]
    assert sum(one is not None for one in expected) == 64, "all up to 31 bits, none beyond"


def test_an_index_misses_nothing_where_errors_are_spread_as_evenly_as_can_be() -> None:
    """31 errors leave one band with one; one more leaves two in each, and is no match any more."""
    hashes = random_hashes(500)
    indexed = held(PLAIN, hashes, values={"index": 1}).setup
    spread = [band * 16 + place for band in range(16) for place in (3, 11)]
    for entry in (0, 499):
        own = hashes[entry].tobytes()
        for left_out in spread:
            assert find(indexed, edited(own, *(flip for flip in spread if flip != left_out))) == entry
        assert entry not in indexed.index.candidates(edited(own, *spread))
    assert MOST_DISTANCE == 31


def test_of_equally_near_entries_index_and_scan_give_the_first() -> None:
    hashes = random_hashes(40)
    twins = np.concatenate([hashes, hashes[5:6], hashes[5:6]])
    for kind in (0, 1):
        assert find(held(PLAIN, twins, values={"index": kind}).setup, hashes[5].tobytes()) == 5


def test_an_empty_list_is_scanned_and_indexed() -> None:
    for kind in (0, 1):
        empty = held(PLAIN, random_hashes(0), values={"index": kind})
        PLAIN.check_setup(empty.setup)
        assert outcome(empty, bytes(32)) == NoMatch()
    assert nearest(bytes(32), 31, random_hashes(0)) is None


def test_an_index_of_another_list_is_refused_before_it_is_used() -> None:
    hashes = random_hashes(60)
    others = random_hashes(60, 2)
    setup = held(PLAIN, hashes, values={"index": 1}).setup
    PLAIN.check_setup(setup)
    out = MemoryWorkspace()
    identity = identity_of(PLAIN.info, SetParameters(1, {"index": 1}))
    writer = SetFileWriter(out.create("index.bin"), identity)
    write_index(writer, others)
    writer.finish(60)
    foreign = MultiIndex(SetFile(out.created["index.bin"].getvalue(), "index.bin", PLAIN.info.name, 1))
    with pytest.raises(SetFileError, match="band 0 is not that of the list"):
        foreign.check(hashes)


def test_a_list_whose_labels_could_not_be_reported_is_refused_before_it_is_used() -> None:
    """Nine signatures fit a file, and no label: a match would be found that no report can bear."""
    hashes = random_hashes(5)
    out = MemoryWorkspace()
    writer = SetFileWriter(out.create("list.bin"), identity_of(PLAIN.info, SetParameters(1, {"index": 0})))
    for kind, raw in ((0x10, hashes.tobytes()), (0x11, bytes(40)), (0x12, bytes(80)), (0x13, bytes(5 * 576))):
        writer.section(kind, [raw], 5)
    for _ in range(8):
        writer.section(0x13, [b""], 0)
    writer.finish(5)
    with pytest.raises(SetFileError, match="section of signatures"):
        PLAIN.open_setup({"list.bin": out.created["list.bin"].getvalue()})


@pytest.mark.parametrize("missing", [0x19, 0x1A])
def test_digests_and_labels_that_are_not_of_one_number_are_refused(missing: int) -> None:
    file = held(HASHED, random_hashes(5)).setup.file
    whole = bytes(file.section(missing))
    setup = HASHED.open_setup({"digests.bin": resealed(file, {(missing, 0): whole[: len(whole) * 4 // 5]})})
    with pytest.raises(SetFileError, match="5 rows"):
        HASHED.check_setup(setup)


@DESIGNS
def test_the_device_finds_a_listed_hash_by_itself_and_its_label(design: AnyDesign) -> None:
    listed = held(design, random_hashes(300))
    own = listed.entries[17].tobytes()
    salt = listed.salts[17].tobytes()
    found = outcome(listed, own)
    assert isinstance(found, Match)
    assert (found.label.entry_hash, found.label.entry_id, found.label.salt) == (own, 18, salt)
    assert outcome(listed, random_hashes(1, 9)[0].tobytes()) == NoMatch()
    assert outcome(listed, own, quality=49) == NoMatch()
    assert design.info.roles == {} and design.alone


def test_digests_find_equal_hashes_alone() -> None:
    listed = held(HASHED, random_hashes(300))
    assert outcome(listed, edited(listed.entries[3].tobytes(), 0)) == NoMatch()


def test_no_hash_stands_in_a_file_of_digests_and_no_digest_in_the_next_epoch() -> None:
    hashes = random_hashes(50)
    raws = [build(HASHED, hashes, epoch).files["digests.bin"] for epoch in (1, 2)]
    assert not any(row.tobytes()[:8] in raw for row in hashes for raw in raws)
    one, two = (opened(HASHED, "digests.bin", raw).section(device_list_hashed.KIND_DIGESTS) for raw in raws)
    width = device_list_hashed.DIGEST_BYTES
    digests = [{bytes(part[at : at + width]) for at in range(0, len(part), width)} for part in (one, two)]
    assert not digests[0] & digests[1]


def test_two_publications_of_one_epoch_share_no_digest_and_no_label_key() -> None:
    """Of two curators that list the same hashes: version 1 sealed both labels under one key and nonce."""
    hashes = random_hashes(50)
    setups = [HASHED.open_setup(build(HASHED, hashes, purpose=seed).files) for seed in ("one", "two")]
    digests, records = (
        [
            {bytes(part[at : at + width]) for at in range(0, len(part), width)}
            for part in (setup.file.section(kind) for setup in setups)
        ]
        for kind, width in ((device_list_hashed.KIND_DIGESTS, 32), (device_list_hashed.KIND_LABELS, 88))
    )
    assert not digests[0] & digests[1]
    ends = [{record[:32] for record in one} for one in records]  # the hash, under the key's stream
    assert not ends[0] & ends[1], "equal hashes under one key are equal there"
    for setup in setups:
        found = device_list_hashed.DESIGN.looked_up(setup, hashes[7].tobytes())
        assert found is not None and found.entry_id == 8


def test_a_set_of_the_version_without_a_salt_is_refused() -> None:
    raw = build(HASHED, random_hashes(5)).files["digests.bin"]
    out = MemoryWorkspace()
    old = structs.replace(HASHED.info, version=1)
    writer = SetFileWriter(out.create("digests.bin"), identity_of(old, SetParameters(1, {})))
    for kind in (device_list_hashed.KIND_DIGESTS, device_list_hashed.KIND_LABELS):
        writer.section(kind, [bytes(opened(HASHED, "digests.bin", raw).section(kind))], 5)
    writer.finish(5)
    with pytest.raises(SetFileError, match="version 1"):
        HASHED.open_setup({"digests.bin": out.created["digests.bin"].getvalue()})


def test_a_salt_of_another_length_is_refused_before_it_is_used() -> None:
    file = held(HASHED, random_hashes(5)).setup.file
    setup = HASHED.open_setup({"digests.bin": resealed(file, {(device_list_hashed.KIND_SALT, 0): bytes(31)})})
    with pytest.raises(SetFileError, match="salt must be 32 bytes"):
        HASHED.check_setup(setup)


def test_digests_out_of_order_are_refused_before_they_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    hashes = random_hashes(50)
    HASHED.check_setup(held(HASHED, hashes).setup)
    monkeypatch.setattr(np, "argsort", lambda rows, kind: np.arange(len(rows))[::-1])
    with pytest.raises(SetFileError, match="not in order"):
        HASHED.check_setup(held(HASHED, hashes).setup)
