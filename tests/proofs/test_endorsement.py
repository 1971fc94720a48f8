"""What k organisations signed counts, for their deployment, entries and epochs, and nothing else."""

from __future__ import annotations

import io

import numpy as np
import pytest
from blindmatch_proofs.endorsement import Action, EndorsedTable, EndorsementPolicy, Terms, hash_entries
from blindmatch_proofs.endorsement.batch import (
    KIND_BATCHES,
    KIND_LEAVES,
    KIND_NUMBERS,
    SIGNATURE_TAG,
    UNSIGNED,
    Organisation,
    build_batch,
    build_endorsement_policy,
)
from blindmatch_proofs.endorsement.verify import (
    KIND_STARTS,
    EndorsementProof,
    KeptTrees,
    build_proof,
    prove,
    verify_label,
    verify_none_dropped,
    verify_proof,
    verify_table,
    write_trees,
)
from blindmatch_proofs.verdict import Failed, Passed
from blindmatch_protocol.codec.errors import ProtocolError, SetFileError
from blindmatch_protocol.contract import Label
from blindmatch_protocol.setfile import Identity, SetFile, SetFileWriter
from msgspec.structs import replace
from nacl.signing import SigningKey
from support.endorsing import (
    INFO,
    KEYS,
    NAMES,
    POLICY,
    TERMS,
    file_of,
    label,
    signed_batch,
    some_entries,
    table_of,
    with_second_key,
)
from support.verdicts import reason

ENTRIES = some_entries(5)
MORE = some_entries(3, 100)


def test_what_two_of_three_signed_is_endorsed_as_a_whole_and_each_entry_by_itself() -> None:
    table = table_of([(signed_batch(ENTRIES), ENTRIES), (signed_batch(MORE, NAMES), MORE)], 8)
    assert verify_table(table, TERMS, 8) == Passed()
    for entries in (ENTRIES, MORE):
        assert all(verify_label(table, TERMS, label(entries, n)) == Passed() for n in range(len(entries)))


def test_a_batch_of_one_is_a_signature_of_one_entry() -> None:
    parts = [ENTRIES.part(n, n + 1) for n in range(len(ENTRIES))]
    table = table_of([(signed_batch(part), part) for part in parts], 5)
    assert verify_table(table, TERMS, 5) == Passed()
    assert all(verify_label(table, TERMS, label(ENTRIES, n)) == Passed() for n in range(5))


def test_an_entry_by_one_organisation_is_refused() -> None:
    table = table_of([(signed_batch(ENTRIES, NAMES[:1]), ENTRIES)], 5)
    assert reason(verify_table(table, TERMS, 5)) == "batch 0: listed by 1 of 3 organisations, 2 are needed"
    assert "1 of 3" in reason(verify_label(table, TERMS, label(ENTRIES, 0)))


def test_one_organisation_with_two_keys_counts_once() -> None:
    second = SigningKey(b"2" * 32)
    terms = replace(TERMS, policy=with_second_key("north", second))
    keys = {bytes(key.verify_key): key for key in (second, *KEYS.values())}
    batch = signed_batch(ENTRIES, ["north"], terms=terms, keys=keys)
    assert sum(one != UNSIGNED for one in batch.signatures) == 2
    table = table_of([(batch, ENTRIES)], 5, keys=4)
    assert "1 of 3" in reason(verify_table(table, terms, 5))
    assert "1 of 3" in reason(verify_label(table, terms, label(ENTRIES, 0)))


@pytest.mark.parametrize("field", ["entry_hash", "entry_id", "salt"])
def test_another_hash_id_or_salt_is_not_what_was_endorsed(field: str) -> None:
    table = table_of([(signed_batch(ENTRIES), ENTRIES)], 5)
    held = label(ENTRIES, 0)
    other = {"entry_hash": bytes(32), "entry_id": held.entry_id + 1, "salt": label(ENTRIES, 1).salt}
    assert verify_label(table, TERMS, replace(held, **{field: other[field]})) == Failed(
        "no organisation has endorsed the entry"
    )


OTHERS = {
    "deployment": replace(TERMS, deployment=b"d" * 32),
    "design": replace(TERMS, design="token-psi"),
    "number needed": replace(TERMS, policy=replace(POLICY, needed=1)),
}


@pytest.mark.parametrize("name", OTHERS)
def test_endorsements_of_another_deployment_design_or_policy_do_not_count(name: str) -> None:
    table = table_of([(signed_batch(ENTRIES, terms=OTHERS[name]), ENTRIES)], 5)
    assert "another deployment, design, policy" in reason(verify_table(table, TERMS, 5))
    assert "another deployment, design, policy" in reason(verify_label(table, TERMS, label(ENTRIES, 0)))


@pytest.mark.parametrize("epoch", [1, 5])
def test_endorsements_hold_in_their_epochs_alone(epoch: int) -> None:
    table = table_of([(signed_batch(ENTRIES, epochs=(2, 4)), ENTRIES)], 5, epoch)
    assert f"from epoch 2 to 4, not for {epoch}" in reason(verify_table(table, TERMS, 5))
    assert f"from epoch 2 to 4, not for {epoch}" in reason(verify_label(table, TERMS, label(ENTRIES, 0)))


@pytest.mark.parametrize("first", [0, 1])
def test_an_entry_in_two_batches_is_endorsed_if_one_of_them_holds(first: int) -> None:
    spans = [(1, 4), (5, 9)]
    both = [(signed_batch(ENTRIES, epochs=spans[at]), ENTRIES) for at in (first, 1 - first)]
    for epoch in (1, 4, 5, 9):
        assert verify_label(table_of(both, 5, epoch), TERMS, label(ENTRIES, 0)) == Passed()
    assert isinstance(verify_label(table_of(both, 5, 10), TERMS, label(ENTRIES, 0)), Failed)


def test_a_batch_of_nothing_is_refused_whoever_signed_it() -> None:
    nothing = ENTRIES.part(0, 0)
    listed = (signed_batch(ENTRIES), ENTRIES)
    bare = build_batch(Action.LIST, (1, 9), [])
    keys = [KEYS[one.name] for one in POLICY.organisations]
    signatures = tuple(key.sign(SIGNATURE_TAG + TERMS.encode_statement(bare)).signature for key in keys)
    table = table_of([(replace(bare, signatures=signatures), nothing), listed], 5)
    assert (
        reason(verify_table(table, TERMS, 5)) == "batch 0: its entries do not have the root that was signed"
    )


@pytest.mark.parametrize("field", ["action", "first_epoch", "last_epoch", "size", "root", "signatures"])
def test_no_field_of_a_batch_can_be_altered(field: str) -> None:
    batch = signed_batch(ENTRIES)
    altered = {
        "action": Action.REMOVE, "first_epoch": 0, "last_epoch": 10, "size": 4, "root": bytes(32),
        "signatures": (batch.signatures[1], batch.signatures[0], UNSIGNED),
    }  # fmt: skip
    table = table_of([(replace(batch, **{field: altered[field]}), ENTRIES)], 5)
    assert isinstance(verify_table(table, TERMS, 5), Failed)


def test_an_entry_slipped_in_is_found_in_batch_and_count() -> None:
    one = some_entries(6)
    slipped = table_of([(replace(signed_batch(ENTRIES), size=6), one)], 6)
    assert (
        reason(verify_table(slipped, TERMS, 6)) == "batch 0: its entries do not have the root that was signed"
    )
    honest = table_of([(signed_batch(ENTRIES), ENTRIES)], 5)
    assert reason(verify_table(honest, TERMS, 6)) == "5 entries are endorsed, the set has 6"
    lying = table_of([(signed_batch(ENTRIES), ENTRIES)], 6)
    assert reason(verify_table(lying, TERMS, 6)) == "5 entries are endorsed, the set has 6"
    unsized = replace(build_batch(Action.LIST, (1, 9), hash_entries(ENTRIES)), size=6)
    signed = tuple(TERMS.sign(unsized, KEYS[one.name]) for one in POLICY.organisations)
    sized = table_of([(replace(unsized, signatures=signed), ENTRIES)], 5)
    assert "another number of entries than it says" in reason(verify_table(sized, TERMS, 5))
    assert isinstance(verify_label(honest, TERMS, label(one, 5)), Failed)


def test_a_removed_entry_is_not_listed_and_takes_as_many_as_leave_too_few() -> None:
    gone = ENTRIES.part(0, 1)
    both = [(signed_batch(ENTRIES), ENTRIES)]
    removed = table_of([*both, (signed_batch(gone, action=Action.REMOVE), gone)], 4)
    assert verify_table(removed, TERMS, 4) == Passed()
    assert reason(verify_label(removed, TERMS, label(ENTRIES, 0))) == "the entry's removal is endorsed"
    assert verify_label(removed, TERMS, label(ENTRIES, 1)) == Passed()
    alone = table_of([*both, (signed_batch(gone, NAMES[:1], Action.REMOVE), gone)], 4)
    assert "removed by 1 of 3 organisations, 2 are needed" in reason(verify_table(alone, TERMS, 4))
    unknown = table_of([*both, (signed_batch(MORE, action=Action.REMOVE), MORE)], 5)
    assert reason(verify_table(unknown, TERMS, 5)) == "an entry is removed that was never listed"


@pytest.mark.parametrize(("needed", "to_remove"), [(1, 3), (3, 1)])
def test_a_listing_and_a_removal_need_each_its_own_number(needed: int, to_remove: int) -> None:
    terms = replace(TERMS, policy=replace(POLICY, needed=needed))
    for action, least in ((Action.LIST, needed), (Action.REMOVE, to_remove)):
        for signers in range(1, 4):
            batch = signed_batch(ENTRIES, NAMES[:signers], action, terms=terms)
            verdict = terms.verify_batch(batch, 1)
            assert (verdict == Passed()) == (signers >= least), (action, signers)


def test_an_entry_goes_by_an_endorsed_removal_or_its_end_alone_and_does_not_come_back() -> None:
    short = (signed_batch(MORE, epochs=(1, 1)), MORE)
    first = table_of([(signed_batch(ENTRIES), ENTRIES), short], 8)
    rest = ENTRIES.part(1, 5)
    gone = ENTRIES.part(0, 1)
    dropped = table_of([(signed_batch(rest), rest)], 4, 2)
    assert "1 entries of epoch 1 are gone" in reason(verify_none_dropped(first, dropped))
    removal = (signed_batch(gone, action=Action.REMOVE), gone)
    removed = table_of([(signed_batch(ENTRIES), ENTRIES), removal], 4, 2)
    assert verify_none_dropped(first, removed) == Passed()
    again = table_of([(signed_batch(ENTRIES), ENTRIES)], 5, 3)
    assert "1 entries that were removed by epoch 2 are listed again" in reason(
        verify_none_dropped(removed, again)
    )


@pytest.mark.parametrize(("listed", "removed"), [((1, 9), (2, 9)), ((1, 9), (2, 2)), ((1, 3), (2, 9))])
def test_no_epoch_leaves_a_removal_out_so_that_a_later_one_can_list_its_entry_again(
    listed: tuple[int, int], removed: tuple[int, int]
) -> None:
    gone = ENTRIES.part(0, 1)
    rest = ENTRIES.part(1, 5)
    stays = (signed_batch(rest), rest)
    goes = (signed_batch(gone, epochs=listed), gone)
    removal = (signed_batch(gone, action=Action.REMOVE, epochs=removed), gone)
    second = table_of([stays, goes, removal], 4, 2)
    between = table_of([stays], 4, 3)
    assert verify_table(second, TERMS, 4) == verify_table(between, TERMS, 4) == Passed()
    assert reason(verify_none_dropped(second, between)) == "removals of 1 entries by epoch 2 are left out"


def test_a_removal_outlasts_what_it_removed_and_begins_with_something_listed() -> None:
    gone = ENTRIES.part(0, 1)
    rest = (signed_batch(MORE), MORE)
    removal = (signed_batch(gone, action=Action.REMOVE, epochs=(2, 4)), gone)
    second = table_of([(signed_batch(gone, epochs=(1, 2)), gone), rest, removal], 3, 2)
    third = table_of([rest, removal], 3, 3)
    fifth = table_of([rest], 3, 5)
    for before, after in ((second, third), (third, fifth), (second, fifth)):
        assert verify_table(after, TERMS, 3) == verify_none_dropped(before, after) == Passed()
    unlisted = table_of([rest, removal], 3, 2)
    assert reason(verify_table(unlisted, TERMS, 3)) == "an entry is removed that was never listed"


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        (["L1-2", "R2-3"], [], "removals of 1 entries by epoch 2 are left out"),
        (["L1-3", "R2-9"], ["R2-9"], "1 entries of epoch 2 are listed, or removed, for less long"),
        (["L1-9", "R2-9"], ["L1-5", "R2-9"], "1 entries of epoch 2 are listed, or removed, for less long"),
        (["L1-9", "R2-9"], ["L1-9", "R2-5"], "1 entries of epoch 2 are listed, or removed, for less long"),
    ],
)
def test_listing_and_removal_stay_each_to_its_last_epoch(
    before: list[str], after: list[str], why: str
) -> None:
    gone = ENTRIES.part(0, 1)
    rest = (signed_batch(MORE), MORE)

    def table(batches: list[str], epoch: int) -> EndorsedTable:
        spans = [(one[0], (int(one[1]), int(one[3]))) for one in batches]
        kinds = {"L": Action.LIST, "R": Action.REMOVE}
        made = [(signed_batch(gone, action=kinds[kind], epochs=span), gone) for kind, span in spans]
        found: EndorsedTable = table_of([rest, *made], 3, epoch)
        assert verify_table(found, TERMS, 3) == Passed()
        return found

    assert reason(verify_none_dropped(table(before, 2), table(after, 3))) == why


def test_a_table_of_more_sections_is_refused() -> None:
    batch = signed_batch(ENTRIES)
    out = io.BytesIO()
    writer = SetFileWriter(out, Identity(INFO.name, INFO.version, 1, {}))
    writer.section(KIND_BATCHES, [batch.tail + b"".join(batch.signatures)], 1)
    writer.section(KIND_LEAVES, [b"".join(sorted(hash_entries(ENTRIES)))], 5)
    writer.section(KIND_NUMBERS, [bytes(20)], 5)
    writer.section(KIND_NUMBERS + 1, [b"more"], 1)
    writer.finish(5)
    with pytest.raises(SetFileError, match="do not fit"):
        EndorsedTable(out.getvalue(), INFO, 1, 3)


def test_altered_and_foreign_files_are_refused() -> None:
    raw = file_of([(signed_batch(ENTRIES), ENTRIES)], 5)
    for epoch, keys in ((2, 3), (1, 2), (1, 4)):
        with pytest.raises(SetFileError):
            EndorsedTable(raw, INFO, epoch, keys)
    for at in range(64, len(raw), 41):
        altered = raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]
        try:
            verdict = verify_table(EndorsedTable(altered, INFO, 1, 3), TERMS, 5)
        except SetFileError:
            continue
        assert isinstance(verdict, Failed), at


@pytest.mark.parametrize("number", [1, 1 << 20])
def test_a_leaf_of_no_batch_is_refused_before_as_much_is_made_as_its_number_says(number: int) -> None:
    batch = signed_batch(ENTRIES)
    out = io.BytesIO()
    writer = SetFileWriter(out, Identity(INFO.name, INFO.version, 1, {}))
    writer.section(KIND_BATCHES, [batch.tail + b"".join(batch.signatures)], 1)
    writer.section(KIND_LEAVES, [b"".join(sorted(hash_entries(ENTRIES)))], 5)
    writer.section(KIND_NUMBERS, [np.array([0, 0, 0, 0, number], "<u4").tobytes()], 5)
    writer.finish(5)
    table = EndorsedTable(out.getvalue(), INFO, 1, 3)
    assert "must be below 1" in reason(verify_table(table, TERMS, 5))


def test_leaves_out_of_order_are_refused() -> None:
    twice = (signed_batch(ENTRIES), ENTRIES)
    doubled = table_of([(twice[0], ENTRIES), twice], 5)
    assert verify_table(doubled, TERMS, 5) == Passed()  # renewed before its end: in two batches
    same = some_entries(1)
    repeated = type(same)(*(column.repeat(2, axis=0) for column in (same.hashes, same.ids, same.salts)))
    table = table_of([(signed_batch(repeated), repeated)], 1)
    assert "must ascend" in reason(verify_table(table, TERMS, 1))


def test_a_policy_names_each_key_once_and_needs_no_more_than_there_are() -> None:
    north, south = POLICY.organisations[:2]
    assert (POLICY.names, POLICY.needed_to_remove) == (NAMES, 2)
    wrong = {
        "needed": [EndorsementPolicy(0, (north,)), EndorsementPolicy(2, (north,))],
        "organisations": [
            EndorsementPolicy(1, (south, north)),
            EndorsementPolicy(1, (north, north)),
            EndorsementPolicy(1, (north, Organisation("south", north.key))),
        ],
        "name": [EndorsementPolicy(1, (Organisation("North", north.key),))],
    }
    for field, policies in wrong.items():
        for one in policies:
            with pytest.raises(ProtocolError, match=field):
                EndorsementPolicy.decode(one.encode())


def test_two_names_are_needed_whatever_the_keys() -> None:
    key = bytes(KEYS["north"].verify_key)
    with pytest.raises(ProtocolError, match="needed"):
        EndorsementPolicy.decode(
            EndorsementPolicy(2, (Organisation("a", bytes(32)), Organisation("a", key))).encode()
        )
    with pytest.raises(ProtocolError, match="a key is of one organisation"):
        build_endorsement_policy(2, [("a", key), ("b", key)])


def test_nothing_is_signed_that_breaks_a_rule() -> None:
    for epochs in ((0, 3), (3, 2)):
        with pytest.raises(ProtocolError, match="last_epoch"):
            TERMS.sign(build_batch(Action.LIST, epochs, hash_entries(ENTRIES)), KEYS["north"])
    with pytest.raises(ProtocolError, match="size"):
        TERMS.sign(build_batch(Action.LIST, (1, 2), []), KEYS["north"])


def test_a_statement_is_the_message_that_the_documents_describe() -> None:
    from blindmatch_proofs.endorsement.batch import BatchStatement

    batch = signed_batch(ENTRIES)
    read = BatchStatement.decode(TERMS.encode_statement(batch))
    assert (read.deployment, read.design, read.policy) == (b"c" * 32, INFO.name, POLICY.digest)
    assert (read.action, read.first_epoch, read.last_epoch) == (1, 1, 9)
    assert (read.size, read.root) == (5, batch.root)
    assert Terms(b"c" * 32, INFO.name, POLICY) == TERMS


def test_a_filters_match_has_no_entry_to_endorse() -> None:
    table = table_of([(signed_batch(ENTRIES), ENTRIES)], 5)
    assert isinstance(verify_label(table, TERMS, Label(bytes(32), 2**64 - 1, bytes(16))), Failed)


def test_a_proof_shows_one_entry_to_whoever_has_neither_table_nor_list() -> None:
    batches = [(signed_batch(ENTRIES), ENTRIES), (signed_batch(MORE, NAMES), MORE)]
    table = table_of(batches, 8)
    root = TERMS.compute_root(table.read_batches())
    for entries in (ENTRIES, MORE):
        for row in range(len(entries)):
            made = prove(table, TERMS, label(entries, row))
            assert made is not None
            proof = EndorsementProof.decode(made.encode())
            assert verify_proof(proof, TERMS, label(entries, row), 1, root) == Passed()
            assert isinstance(verify_proof(proof, TERMS, label(some_entries(9, 7), row), 1, root), Failed)
            assert isinstance(verify_proof(proof, TERMS, label(entries, row), 10, root), Failed)
            assert isinstance(verify_proof(proof, TERMS, label(entries, row), 1, bytes(32)), Failed)
    assert prove(table, TERMS, label(some_entries(1, 7), 0)) is None


def test_no_part_of_a_proof_can_be_altered() -> None:
    table = table_of([(signed_batch(ENTRIES), ENTRIES), (signed_batch(MORE, NAMES), MORE)], 8)
    root = TERMS.compute_root(table.read_batches())
    held = label(ENTRIES, 1)
    made = prove(table, TERMS, held)
    assert made is not None
    raw = made.encode()
    taken = 0
    for at in range(len(raw)):
        try:
            altered = EndorsementProof.decode(raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :])
        except ProtocolError:
            continue
        taken += verify_proof(altered, TERMS, held, 1, root) == Passed()
    assert taken == 0
    fewer = replace(made, signatures=made.signatures[:-1])
    for wrong in (fewer, replace(made, path=(*made.path, bytes(32))), replace(made, path=made.path[:-1])):
        assert isinstance(verify_proof(wrong, TERMS, held, 1, root), Failed)
    for terms in OTHERS.values():
        assert isinstance(verify_proof(made, terms, held, 1, root), Failed)
    gone = (signed_batch(ENTRIES, action=Action.REMOVE), ENTRIES)
    assert prove(table_of([gone], 0), TERMS, held) is None


def test_neither_a_removal_nor_another_designs_statement_in_the_root_endorses_an_entry() -> None:
    leaves = sorted(hash_entries(ENTRIES))
    held = label(ENTRIES, 1)
    leaf = hash_entries(ENTRIES)[1]
    removal = signed_batch(ENTRIES, NAMES, Action.REMOVE)
    made = build_proof(TERMS, leaf, leaves, 0, [removal])
    assert "lists no entry" in reason(verify_proof(made, TERMS, held, 1, TERMS.compute_root([removal])))
    other = OTHERS["design"]
    listing = signed_batch(ENTRIES)  # signed for this design, rooted for another
    crossed = build_proof(other, leaf, leaves, 0, [listing])
    assert "another deployment, design" in reason(
        verify_proof(crossed, TERMS, held, 1, other.compute_root([listing]))
    )


REMOVED = some_entries(4, 200)
BATCHES = [
    (signed_batch(REMOVED, NAMES, Action.REMOVE), REMOVED),
    *[(signed_batch(part, NAMES[:2]), part) for part in (ENTRIES, MORE, some_entries(16, 300))],
    (signed_batch(REMOVED, epochs=(1, 1)), REMOVED),
    (signed_batch(ENTRIES, epochs=(2, 9)), ENTRIES),
]
"""Batches of 4, 5, 3, 16, 4 and 5 entries; the first lists none, the last holds from the next epoch on."""


def trees_of(table: EndorsedTable, terms: Terms = TERMS) -> bytearray:
    out = io.BytesIO()
    write_trees(out, INFO, table, terms)
    return bytearray(out.getvalue())


def opened_trees(raw: bytes | bytearray, epoch: int = 1, root: bytes | None = None) -> KeptTrees:
    root = TERMS.compute_root(batch for batch, _ in BATCHES) if root is None else root
    return KeptTrees(raw, INFO, epoch, root)


def test_a_proof_by_kept_trees_has_the_same_bytes_as_one_without() -> None:
    for epoch in (1, 2):
        table = table_of(BATCHES, 32, epoch)
        trees = opened_trees(trees_of(table), epoch)
        for _, entries in BATCHES:
            for row in range(len(entries)):
                slow = prove(table, TERMS, label(entries, row))
                quick = prove(table, TERMS, label(entries, row), trees)
                assert slow is None or quick is not None
                assert (quick and quick.encode()) == (slow and slow.encode())
    assert prove(table, TERMS, label(some_entries(1, 7), 0), trees) is None


def test_a_proof_by_kept_trees_compares_no_section_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    table = table_of(BATCHES, 32)
    trees = opened_trees(trees_of(table))
    slow = prove(table_of(BATCHES, 32), TERMS, label(ENTRIES, 3))
    monkeypatch.setattr(SetFile, "section", lambda *_: pytest.fail("a whole section was read"))
    assert prove(table, TERMS, label(ENTRIES, 3), trees) == slow


def test_no_wrong_byte_of_kept_trees_changes_a_proof() -> None:
    table = table_of(BATCHES, 32)
    raw = trees_of(table)
    held = label(ENTRIES, 3)
    slow = prove(table, TERMS, held)
    refused = 0
    assert slow is not None
    for at in range(len(raw)):
        altered = bytearray(raw)
        altered[at] ^= 1
        try:
            trees = opened_trees(altered)
        except SetFileError:
            refused += 1
            continue
        made = prove(table, TERMS, held, trees)
        assert made is not None and made.encode() == slow.encode(), at
    assert 0 < refused < len(raw)
    for length in (0, 100, len(raw) // 2, len(raw) - 1):
        with pytest.raises(SetFileError):
            opened_trees(raw[:length])
    with pytest.raises(SetFileError, match="for epoch 1, not epoch 2"):
        opened_trees(raw, 2)


@pytest.mark.parametrize("what", ["other set", "other terms", "other root", "too few", "far away"])
def test_kept_trees_that_fit_by_themselves_and_are_of_something_else_change_no_proof(what: str) -> None:
    table = table_of(BATCHES, 32)
    slow = prove(table, TERMS, label(ENTRIES, 3))
    other = table_of([(signed_batch(MORE, NAMES), MORE)], 3) if what == "other set" else table
    raw = trees_of(other, OTHERS["deployment"] if what == "other terms" else TERMS)
    if what in ("too few", "far away"):
        out = io.BytesIO()
        sections = SetFile(raw, "tree", INFO.name, INFO.version)
        writer = SetFileWriter(out, Identity(INFO.name, INFO.version, 1, {}))
        for kind, _ in sections.sections:
            content = bytes(sections.section(kind))
            if what == "too few":
                content = content[:32]
            elif kind == KIND_STARTS:
                content = b"\xff" * len(content)
            writer.section(kind, [content], 1)
        writer.finish(32)
        raw = bytearray(out.getvalue())
    trees = opened_trees(raw, root=bytes(32) if what == "other root" else None)
    assert prove(table, TERMS, label(ENTRIES, 3), trees) == slow


def test_an_altered_table_gives_by_kept_trees_no_proof_that_does_not_hold() -> None:
    raw = file_of(BATCHES, 32)
    trees = opened_trees(trees_of(table_of(BATCHES, 32)))
    held = label(ENTRIES, 3)
    root = trees.root
    refused = 0
    for at in range(len(raw)):
        altered = bytearray(raw)
        altered[at] ^= 0x81
        try:
            made = prove(EndorsedTable(altered, INFO, 1, 3), TERMS, held, trees)
        except SetFileError:
            refused += 1
            continue
        assert made is not None and verify_proof(made, TERMS, held, 1, root) == Passed(), at
    assert 0 < refused < len(raw)


def test_trees_are_kept_of_no_table_that_was_altered() -> None:
    raw = bytearray(file_of(BATCHES, 32))
    at = SetFile(raw, "table", INFO.name, INFO.version).row(KIND_LEAVES).offset
    raw[at] ^= 1
    with pytest.raises(SetFileError, match="altered"):
        trees_of(EndorsedTable(raw, INFO, 1, 3))
