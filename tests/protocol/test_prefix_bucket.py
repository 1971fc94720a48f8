"""prefix-bucket: outcomes, buckets of one length that show nothing more, and the only ones a device takes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from typing import Any

import numpy as np
import pytest
from blindmatch_protocol.codec.errors import DesignError, EpochMismatchError, ProtocolError, SetFileError
from blindmatch_protocol.codec.randomness import seeded
from blindmatch_protocol.contract import ListKnowledge, Match, NoMatch, Party, Role
from blindmatch_protocol.contract import Request as Asked
from blindmatch_protocol.designs import prefix_bucket
from blindmatch_protocol.designs.deltas import SET_FILE
from blindmatch_protocol.designs.prefix_bucket import BUCKETS, DESIGN, Bucket, Fetch
from blindmatch_protocol.designs.prefix_bucket import files as buckets
from blindmatch_protocol.designs.prefix_bucket.files import BUCKETS_FILE, BUCKETS_KIND, DIGESTS_KIND
from blindmatch_protocol.designs.voprf import MATCHER
from blindmatch_protocol.sets.store import DuplicateKeyError
from blindmatch_simulations.testbed.inprocess.deployed import (
    Build,
    Deployed,
    opened,
    publish,
    run_session,
    update,
)
from msgspec.structs import replace
from support.memory import asked, random_hashes, replied
from support.set_files import opened as set_file
from support.set_files import resealed
from support.voprf_world import Picture

LISTED = random_hashes(200)
OTHER = random_hashes(1, seed=9)[0].tobytes()
BITS = 4
WIDTH = buckets.row_bytes(0)


@cache
def build(seed: str = "key", bits: int = BITS, entries: int = 200) -> Build:
    return publish(DESIGN, LISTED[:entries], seeded(seed), values={"bits": bits})


@cache
def world() -> Deployed:
    return opened(build())


def bodies_of(own: bytes, quality: int = 100, seed: str = "device") -> Mapping[Role, Any]:
    return asked(world(), Picture(own, quality), seed)[1]


def outcome(own: bytes, quality: int = 100) -> Any:
    return run_session(world(), Picture(own, quality), seeded("device")).outcome


def test_listed_hashes_match_with_their_labels_and_others_do_not() -> None:
    for row in (0, 1, 100, 199):
        found = outcome(LISTED[row].tobytes())
        assert isinstance(found, Match) and found.label.entry_hash == LISTED[row].tobytes()
    assert outcome(OTHER) == NoMatch()
    assert outcome(LISTED[0].tobytes(), quality=10) == NoMatch()


def test_the_bucket_is_the_first_bits_of_sha_256_of_the_hash_and_nothing_else() -> None:
    for row in LISTED[:20]:
        own = row.tobytes()
        bodies = bodies_of(own)
        first = f"{int.from_bytes(sha256(own).digest(), 'big'):0256b}"[:BITS]
        assert bodies[BUCKETS] == Fetch(1, int(first, 2))
        assert bodies[BUCKETS].encode() == bodies_of(own, seed="another")[BUCKETS].encode()


def test_asking_again_does_not_tell_a_poor_picture_from_a_good_one() -> None:
    """A matcher that refuses is asked again: it must not see another bucket for the one and not the other."""
    for row in LISTED[:20]:
        seen = {bodies_of(row.tobytes(), q, f"{at}")[BUCKETS] for q in (0, 49, 50) for at in range(4)}
        assert len(seen) == 1


def test_all_buckets_have_one_length_that_follows_from_the_number_of_entries() -> None:
    rows = buckets.rows_of(200, BITS)
    sizes = {len(world().states[BUCKETS].bucket(at)) for at in range(1 << BITS)}
    assert sizes == {rows * WIDTH}
    other = opened(publish(DESIGN, random_hashes(200, seed=3), seeded("k"), values={"bits": BITS}))
    assert len(other.states[BUCKETS].content) == len(world().states[BUCKETS].content)


def test_a_bucket_does_not_show_how_many_entries_it_has() -> None:
    held = world().states[BUCKETS]
    rows = np.frombuffer(bytes(held.content), np.uint8).reshape(-1, WIDTH)
    assert len({row.tobytes() for row in rows}) == len(rows)
    tags = rows[:, :8].reshape(1 << BITS, -1, 8)
    for bucket in tags:
        order = [row.tobytes() for row in bucket]
        assert order == sorted(order)
    counts = np.bincount(rows.ravel(), minlength=256)
    expected = rows.size / 256
    assert ((counts - expected) ** 2 / expected).sum() < 400  # chi-squared with 255 degrees of freedom


def test_rows_are_enough_for_random_entries_and_not_many_more() -> None:
    for entries, bits in ((0, 4), (50, 10), (4096, 10), (1 << 20, 10)):
        mean = entries / 2**bits
        assert mean < buckets.rows_of(entries, bits) <= mean + 7 * mean**0.5 + 8


@pytest.mark.parametrize("case", ["neighbour", "another set's", "cut", "longer", "zeros", "empty"])
def test_a_bucket_that_is_not_the_set_ups_is_refused(case: str) -> None:
    session, bodies = asked(world(), Picture(LISTED[0].tobytes()))
    right = replied(world(), bodies)
    number = bodies[BUCKETS].bucket
    content = right[BUCKETS].content
    wrong = {
        "neighbour": world().states[BUCKETS].bucket(number ^ 1),
        "another set's": opened(build("another")).states[BUCKETS].bucket(number),
        "cut": content[:-WIDTH],
        "longer": content + bytes(WIDTH),
        "zeros": bytes(len(content)),
        "empty": b"",
    }[case]
    with pytest.raises(ProtocolError, match="the bucket that the set-up says"):
        session.receive({**right, BUCKETS: Bucket(1, wrong)})


def test_a_signed_digest_of_another_length_is_refused_too() -> None:
    session, bodies = asked(world(), Picture(LISTED[0].tobytes()))
    right = replied(world(), bodies)
    short = b"x"
    setup = world().setup
    file = setup.layers[0].file
    digests = bytearray(file.section(DIGESTS_KIND))
    at = 32 * bodies[BUCKETS].bucket
    digests[at : at + 32] = sha256(short).digest()
    raw = resealed(file, {(DIGESTS_KIND, 0): bytes(digests)})
    session._setup = DESIGN.open_setup({SET_FILE: raw})
    with pytest.raises(ProtocolError, match="the bucket that the set-up says"):
        session.receive({**right, BUCKETS: Bucket(1, short)})


def test_replies_of_another_epoch_are_refused() -> None:
    session, bodies = asked(world(), Picture(LISTED[0].tobytes()))
    right = replied(world(), bodies)
    with pytest.raises(EpochMismatchError, match="epoch 1 is in force here, not 2"):
        session.receive({**right, BUCKETS: replace(right[BUCKETS], epoch=2)})


def test_the_holder_of_the_buckets_refuses_what_there_is_not() -> None:
    state = world().states[BUCKETS]
    bodies = [Fetch(2, 0), Fetch(1, 1 << BITS), Bucket(1, b"")]
    answers = DESIGN.answer(BUCKETS, state, [Asked(body) for body in bodies], seeded("x"), None).replies
    assert [type(one) for one in answers] == [EpochMismatchError, ProtocolError, ProtocolError]


def test_buckets_of_another_set_are_not_opened_beside_it() -> None:
    files = dict(build().files)
    with pytest.raises(SetFileError, match="another set"):
        DESIGN.open_role(BUCKETS, {**files, BUCKETS_FILE: build("another").files[BUCKETS_FILE]})
    file = set_file(DESIGN, BUCKETS_FILE, files[BUCKETS_FILE])
    cut = resealed(file, {(BUCKETS_KIND, 0): bytes(file.section(BUCKETS_KIND))[:-1]})
    with pytest.raises(SetFileError, match="whole buckets"):
        DESIGN.open_role(BUCKETS, {**files, BUCKETS_FILE: cut})
    del files[BUCKETS_FILE]
    with pytest.raises(SetFileError, match="missing"):
        DESIGN.open_role(BUCKETS, files)


def test_every_flipped_byte_of_the_set_is_refused() -> None:
    raw = build().files[SET_FILE]
    for at in range(0, len(raw), 7):
        altered = bytearray(raw)
        altered[at] ^= 0x10
        with pytest.raises(SetFileError):
            DESIGN.check_setup(DESIGN.open_setup({SET_FILE: bytes(altered)}, 1))


def test_digests_that_are_not_one_for_each_bucket_are_refused() -> None:
    file = set_file(DESIGN, SET_FILE, build().files[SET_FILE])
    short = resealed(file, {(DIGESTS_KIND, 0): bytes(file.section(DIGESTS_KIND))[:-32]})
    with pytest.raises(SetFileError, match="digest for every bucket"):
        DESIGN.check_setup(DESIGN.open_setup({SET_FILE: short}))


def test_a_set_is_published_whole_and_never_twice_the_same_hash() -> None:
    with pytest.raises(DesignError, match="publish a whole set"):
        update(build(), LISTED[:1], [], seeded("u"))
    with pytest.raises(DuplicateKeyError):
        publish(DESIGN, np.concatenate([LISTED[:3], LISTED[:1]]), seeded("k"), values={"bits": BITS})


def test_a_bucket_too_long_for_a_call_is_refused_when_it_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefix_bucket.files, "MOST_BUCKET_BYTES", 1000)
    with pytest.raises(DesignError, match="choose more bits"):
        publish(DESIGN, LISTED, seeded("k"), values={"bits": 1})


def test_more_entries_in_a_bucket_than_rows_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buckets, "bucket_of", lambda own, bits: 0)
    with pytest.raises(DesignError, match="choose other bits"):
        publish(DESIGN, LISTED, seeded("k"), values={"bits": BITS})


def test_a_device_can_test_no_guess_alone_and_its_set_up_does_not_grow_with_the_list() -> None:
    assert not DESIGN.alone
    assert DESIGN.list_knowledge(frozenset({Party.MATCHER})) == ListKnowledge.TESTABLE
    assert len(build(entries=20).files[SET_FILE]) == len(build().files[SET_FILE])


def test_the_key_is_not_shown_and_the_buckets_neither() -> None:
    states = world().states
    assert states[MATCHER].key.reveal().hex() not in repr(states[MATCHER])
    assert repr(states[BUCKETS]) == "BucketHolder(epoch=1, bits=4)"
