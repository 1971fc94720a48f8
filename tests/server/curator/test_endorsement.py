"""From submissions to an endorsed list: who is asked, who signs, what counts, what is removed again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from blindmatch_proofs.endorsement import Action, EndorsedTable
from blindmatch_proofs.endorsement.batch import UNSIGNED
from blindmatch_proofs.endorsement.verify import verify_none_dropped, verify_table
from blindmatch_proofs.verdict import Passed
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.errors import SetFileError
from blindmatch_protocol.codec.randomness import system_randomness
from blindmatch_server.curator.endorsement.batches import (
    Batches,
    EndorsementError,
    OrganisationKey,
    SignedProposal,
    check_submission,
)
from blindmatch_server.curator.endorsement.proposing import Span, propose, settle
from blindmatch_server.storage.errors import StateError
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from nacl.signing import SigningKey
from support.endorsing import INFO, KEYS, NAMES, POLICY, TERMS, with_second_key
from support.memory import random_hashes

A, B, C, D = np.split(random_hashes(20), 4)
NOTHING = Batches(0, 1)
SPAN = Span(1, 10)
RNG = system_randomness()
HELD: Mapping[str, Rows] = {
    "north": np.vstack([A, B]),
    "south": np.vstack([B, A, C]),
    "west": np.vstack([C, D]),
}
ORGANISATIONS = {name: OrganisationKey(key) for name, key in KEYS.items()}


def endorsed(proposal: Batches, held: Mapping[str, Rows] = HELD, *names: str) -> list[SignedProposal]:
    chosen = names or NAMES
    return [ORGANISATIONS[name].endorse(name, TERMS, proposal, held[name]) for name in chosen]


def hashes_of(batches: Batches, epoch: int) -> set[bytes]:
    return set(map(bytes, batches.listed(epoch).hashes))


def settled(held: Mapping[str, Rows], before: Batches = NOTHING, epoch: int = 1) -> Batches:
    proposal = propose(TERMS, Span(epoch, 10), held, before, RNG)
    return settle(TERMS, proposal, endorsed(proposal, held), before).record


def table_of(record: Batches) -> EndorsedTable:
    return EndorsedTable(record.table(INFO), INFO, record.epoch, 3)


def test_what_two_of_three_submitted_and_endorsed_is_the_list() -> None:
    proposal = propose(TERMS, SPAN, HELD, NOTHING, RNG)
    asked = {held.asked: set(map(bytes, held.entries.hashes)) for held in proposal.held}
    assert asked == {
        frozenset({"north", "south"}): set(map(bytes, np.vstack([A, B]))),
        frozenset({"south", "west"}): set(map(bytes, C)),
    }
    found = settle(TERMS, proposal, endorsed(proposal), NOTHING)
    assert hashes_of(found.record, 1) == set(map(bytes, np.vstack([A, B, C])))
    assert (found.missing, found.endorsers) == (0, {"north", "south", "west"})
    listed = found.record.listed(1)
    assert listed.ids.tolist() == list(range(1, 16)) and len(set(map(bytes, listed.salts))) == 15
    assert verify_table(table_of(found.record), TERMS, 15) == Passed()


def test_what_only_one_of_them_endorses_is_not_listed() -> None:
    proposal = propose(TERMS, SPAN, HELD, NOTHING, RNG)
    found = settle(TERMS, proposal, endorsed(proposal, HELD, "north", "south"), NOTHING)
    assert hashes_of(found.record, 1) == set(map(bytes, np.vstack([A, B])))
    assert found.missing == 5 and found.endorsers == {"north", "south"}


def test_an_organisation_endorses_no_hash_that_somebody_hands_it() -> None:
    proposal = propose(TERMS, SPAN, HELD, NOTHING, RNG)
    less = {**HELD, "south": np.vstack([A, B[:-1], C])}
    (north, south) = endorsed(proposal, less, "north", "south")
    refused = next(number for number, held in enumerate(proposal.held) if "north" in held.asked)
    assert south.refused == {refused: "1 of 10 hashes are of no picture of its own"}
    assert south.signatures[refused] == UNSIGNED and north.refused == {}


def test_an_altered_proposal_is_not_signed() -> None:
    proposal = propose(TERMS, SPAN, HELD, NOTHING, RNG)
    first = proposal.held[0]
    swapped = replace(first, entries=replace(first.entries, salts=first.entries.salts[::-1].copy()))
    altered = replace(proposal, held=(swapped, *proposal.held[1:]))
    name = next(iter(first.asked))
    (found,) = endorsed(altered, HELD, name)
    assert found.refused == {0: "the batch does not have the root of its entries"}
    twice = replace(proposal, held=(first, *proposal.held))
    with pytest.raises(EndorsementError, match="lists a hash twice"):
        endorsed(twice, HELD, name)


def test_a_key_that_the_policy_does_not_name_neither_signs_nor_counts() -> None:
    proposal = propose(TERMS, SPAN, HELD, NOTHING, RNG)
    stranger = ORGANISATIONS["north"]
    with pytest.raises(EndorsementError, match="no organisation south with this key"):
        stranger.endorse("south", TERMS, proposal, HELD["north"])
    (good, *_) = endorsed(proposal)
    for bad in (replace(good, key=b"k" * 32), replace(good, signatures=good.signatures[:-1])):
        with pytest.raises(EndorsementError, match="that the policy has not, or of another proposal"):
            settle(TERMS, proposal, [bad], NOTHING)
    forged = replace(good, signatures=(b"s" * 64, *good.signatures[1:]))
    with pytest.raises(EndorsementError, match="batch 0: a signature of"):
        settle(TERMS, proposal, [forged], NOTHING)


def test_an_entry_goes_once_too_few_vouch_for_it_and_returns_under_a_new_id() -> None:
    first = settled(HELD)
    fewer = {**HELD, "south": np.vstack([A, B])}
    proposal = propose(TERMS, Span(2, 10), fewer, first, RNG)
    (removal,) = proposal.with_action(Action.REMOVE)
    assert set(map(bytes, removal.entries.hashes)) == set(map(bytes, C))
    assert removal.asked == {"north", "south"}
    stubborn = endorsed(proposal, {**fewer, "south": HELD["south"]}, "south")
    assert list(stubborn[0].refused.values()) == ["5 of 5 entries are of pictures that it still submits"]
    second = settle(TERMS, proposal, endorsed(proposal, fewer), first).record
    assert hashes_of(second, 2) == set(map(bytes, np.vstack([A, B])))
    assert verify_none_dropped(table_of(first), table_of(second)) == Passed()
    third = settled(HELD, second, 3)
    assert hashes_of(third, 3) == hashes_of(first, 1)
    back = set(third.listed(3).ids.tolist()) - set(second.listed(2).ids.tolist())
    assert back == {16, 17, 18, 19, 20}
    assert verify_none_dropped(table_of(second), table_of(third)) == Passed()


def test_endorsements_end_and_what_is_endorsed_again_gets_a_new_id() -> None:
    first = settled(HELD)
    assert len(first.listed(11)) == 0
    proposal = propose(TERMS, Span(11, 20), HELD, first, RNG)
    assert sum(len(held.entries) for held in proposal.held) == 15
    renewed = settle(TERMS, proposal, endorsed(proposal), first).record
    assert hashes_of(renewed, 11) == hashes_of(first, 1)
    assert renewed.listed(11).ids.min() == 16 and verify_table(table_of(renewed), TERMS, 15) == Passed()


def test_what_ended_at_different_times_is_removed_in_every_epoch_until_all_of_it_has_ended() -> None:
    def settle_until(last: int, held: Mapping[str, Rows], before: Batches, epoch: int) -> Batches:
        proposal = propose(TERMS, Span(epoch, last), held, before, RNG)
        return settle(TERMS, proposal, endorsed(proposal, held), before).record

    nothing = dict.fromkeys(NAMES, A[:0])
    first = settle_until(5, dict.fromkeys(NAMES, A), NOTHING, 1)
    second = settle_until(10, dict.fromkeys(NAMES, np.vstack([A, B])), first, 2)
    record = settle_until(10, nothing, second, 3)
    for epoch in range(4, 13):  # the listing of A ends after 5, that of B and the removal of both after 10
        before = record
        record = settle_until(10, nothing, before, epoch)
        assert verify_table(table_of(record), TERMS, 0) == Passed(), epoch
        assert verify_none_dropped(table_of(before), table_of(record)) == Passed(), epoch


def test_a_batch_of_one_is_a_signature_of_each_entry() -> None:
    proposal = propose(TERMS, Span(1, 10, 1), HELD, NOTHING, RNG)
    assert [held.batch.size for held in proposal.held] == [1] * 15
    record = settle(TERMS, proposal, endorsed(proposal), NOTHING).record
    assert verify_table(table_of(record), TERMS, 15) == Passed()


def test_a_proposal_is_read_as_it_was_written_and_refused_if_it_was_altered() -> None:
    proposal = propose(TERMS, SPAN, HELD, NOTHING, RNG)
    record = settle(TERMS, proposal, endorsed(proposal), NOTHING).record
    raw = record.encode(INFO, POLICY)
    read = Batches.decode(raw, INFO, POLICY)
    assert read.encode(INFO, POLICY) == raw and (read.epoch, read.next_id) == (1, 16)
    assert [one.asked for one in read.held] == [one.asked for one in record.held]
    for at in range(64, len(raw), 97):
        with pytest.raises(SetFileError):
            Batches.decode(raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :], INFO, POLICY)
    moved = replace(record.held[0], entries=record.held[1].entries.part(0, 5))
    rooted = replace(record.held[0], batch=replace(record.held[0].batch, root=bytes(32)))
    for wrong in (moved, rooted):
        with pytest.raises(SetFileError, match="size and root"):
            Batches.decode(replace(record, held=(wrong,)).encode(INFO, POLICY), INFO, POLICY)


def test_a_proposal_is_not_read_under_a_policy_of_more_keys() -> None:
    raw = propose(TERMS, SPAN, HELD, NOTHING, RNG).encode(INFO, POLICY)
    with pytest.raises(SetFileError, match="the policy's number of keys"):
        Batches.decode(raw, INFO, with_second_key("north", SigningKey(b"2" * 32)))


def test_endorsements_and_submissions_are_read_as_they_were_written(tmp_path: Path) -> None:
    made = OrganisationKey.create(tmp_path / "keys")
    assert OrganisationKey.read(tmp_path / "keys").public == made.public
    assert (tmp_path / "keys" / "organisation.key").stat().st_mode & 0o077 == 0 and "_key" not in repr(made)
    with pytest.raises(StateError, match="already"):
        OrganisationKey.create(tmp_path / "keys")
    found = SignedProposal(made.public, (b"s" * 64, UNSIGNED))
    assert SignedProposal.decode(found.encode()) == found
    for bad in (b"", found.encode()[:-1], found.encode() + b"\0"):
        with pytest.raises(EndorsementError, match="whole signatures"):
            SignedProposal.decode(bad)
    signature = made.submission(b"d" * 32, "digest")
    check_submission([made.public], b"d" * 32, "digest", signature)
    for wrong in ((b"e" * 32, "digest"), (b"d" * 32, "digests")):
        with pytest.raises(EndorsementError, match="signed by its organisation"):
            check_submission([made.public], *wrong, signature)


@given(
    st.lists(
        st.tuples(
            st.fixed_dictionaries({name: st.lists(st.integers(0, 4), unique=True) for name in NAMES}),
            st.integers(0, 3),
            st.integers(0, 2),
        ),
        min_size=2,
        max_size=6,
    )
)
def test_every_epoch_of_an_honest_curator_stands_and_continues_each_one_before(
    history: list[tuple[dict[str, list[int]], int, int]],
) -> None:
    record = NOTHING
    tables = list[EndorsedTable]()
    for epoch, (names, more, batch) in enumerate(history, 1):
        held = {name: A[rows] for name, rows in names.items()}
        proposal = propose(TERMS, Span(epoch, epoch + more, batch), held, record, RNG)
        record = settle(TERMS, proposal, endorsed(proposal, held), record).record
        table = table_of(record)
        assert verify_table(table, TERMS, len(record.listed(epoch))) == Passed()
        assert all(verify_none_dropped(before, table) == Passed() for before in tables)
        tables.append(table)
