"""What a device takes of a log, what it holds others' checkpoints against, and what becomes evidence."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from blindmatch_client.epochs import adoption, transparency
from blindmatch_client.epochs.adoption import Transparency
from blindmatch_client.epochs.transparency import HEARD_MOST, Seen, UnloggedError
from blindmatch_client.store.store import Store
from blindmatch_proofs.checkpoint import ED25519, Checkpoint, Note, NoteSignature, NoteSigner
from blindmatch_proofs.epoch import EpochLeaf, EpochPolicy
from blindmatch_proofs.tlog import build_policy
from blindmatch_proofs.verdict import Passed
from blindmatch_protocol.codec.randomness import seeded
from blindmatch_protocol.messages.content import CHECKPOINT_MOST, Content, compose
from blindmatch_protocol.messages.epoch_manifest import EpochManifest
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from msgspec import msgpack
from msgspec.structs import replace
from support.logs import LOG, NOW, WITNESSES, MemoryLog, policy, signer
from support.signed import CURATOR, signed

KEY = b"k" * 32
PINNED = EpochPolicy(policy(2, witnesses=WITNESSES[:3]), 60)


class Kept(dict[str, bytes]):
    """A store of values."""

    undone = 0

    def put(self, name: str, value: bytes) -> None:
        self[name] = value


def leaf(epoch: int, entries: int = 1, key: bytes = KEY) -> EpochLeaf:
    before = (0, bytes(32)) if epoch == 1 else (epoch - 1, b"p" * 32)
    manifest = EpochManifest("dummy", 1, epoch, *before, 5, 6, entries, (), (), ())
    return CURATOR.leaf(manifest, sealing_key=key)


LEAVES = [leaf(epoch) for epoch in range(1, 8)]
HELD = MemoryLog([one.encode() for one in LEAVES])
FORK = MemoryLog([*HELD.entries[:4], *(leaf(epoch, entries=2).encode() for epoch in (5, 6, 7))])


def device(store: Kept | Store | None = None, pinned: EpochPolicy | None = PINNED) -> Transparency:
    kept = store if store is not None else Kept()
    return Transparency(kept, pinned, CURATOR.public, KEY)  # type: ignore[arg-type]


def offered(
    epoch: int, log: MemoryLog = HELD, sizes: tuple[int, ...] = (), **changes: bytes
) -> pb.Description:
    made = pb.Description(leaf=log.entries[epoch - 1], proof=log.proof(epoch - 1, size=epoch).encode())
    known = [one for one in sizes if one <= epoch]
    made.consistency.extend(pb.Consistency(tree_size=n, path=log.consistency(n, epoch)) for n in known)
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def take(one: Transparency, epoch: int, log: MemoryLog = HELD, now: int = NOW, **changes: bytes) -> Seen:
    described = offered(epoch, log, tuple(one.view.list_sizes()), **changes)
    seen = one.view.check(signed(EpochLeaf.decode(log.entries[epoch - 1]).manifest), described, now)
    one.keep(seen)
    return seen


def refusal(one: Transparency, epoch: int, log: MemoryLog = HELD, now: int = NOW, **changes: bytes) -> str:
    with pytest.raises(UnloggedError) as caught:
        take(one, epoch, log, now, **changes)
    return str(caught.value)


def test_epochs_are_taken_one_after_the_other_and_across_starts() -> None:
    store = Kept()
    for epoch in (1, 2, 5, 7):
        one = device(store)
        assert not one.view.is_logged(epoch)
        take(one, epoch)
        assert one.view.is_logged(epoch)
        assert one.view.list_sizes() == [epoch]
    take(device(store), 7, now=NOW + 30)


def test_the_newest_checkpoints_that_were_taken_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transparency, "TAKEN_MOST", 3)
    store = Kept()
    for epoch in range(1, 8):
        take(device(store), epoch)
    seen = msgpack.decode(*store.values(), type=Seen)
    assert [Checkpoint.from_note(Note.parse(one)).size for one in seen.taken] == [5, 6, 7]


def test_lines_that_a_host_adds_to_a_checkpoint_are_not_kept() -> None:
    plain = Kept()
    padded = Kept()
    proof = HELD.proof(0, size=1)
    junk = [NoteSignature(f"j{n}.example", b"junk", bytes(700)) for n in range(60)]
    take(device(plain), 1)
    take(device(padded), 1, proof=replace(proof, note=proof.note.add_signatures(*junk)).encode())
    assert padded == plain and len(proof.note.add_signatures(*junk).encode()) > 50_000


def test_without_a_policy_nothing_is_checked_kept_or_told() -> None:
    store = Kept()
    one = device(store, None)
    one.keep(one.view.check(signed(LEAVES[0].manifest), pb.Description(), NOW))
    assert one.view.is_logged(1)
    assert one.choose_checkpoint("bob") == b""
    assert one.hear("bob", HELD.note(()).encode()) is None
    assert not store


@pytest.mark.parametrize("size", [5, 7, 1 << 40])
@pytest.mark.parametrize("cosigners", [(), WITNESSES[:1], WITNESSES[:1] * 3, WITNESSES[2:]])
def test_a_checkpoint_that_no_quorum_cosigned_stops_nobody(
    size: int, cosigners: Sequence[NoteSigner]
) -> None:
    one = device()
    text = replace(FORK.checkpoint(5), size=size).text
    lines = [key.sign(text, NOW + at) for at, key in enumerate(cosigners)]
    stolen = replace(HELD.note().signatures[2], signature=lines[0].signature) if lines else LOG.sign(text)
    note = Note(text, (LOG.sign(text), *lines, stolen))
    take(one, 5)
    split = one.hear("mallory", note.encode())
    assert (split is None) is (size != 5) and not one.view.can_stop(note)
    take(one, 7)


@pytest.mark.parametrize("size", [3, 7, 1 << 40])
def test_what_was_held_when_the_user_said_to_go_on_stops_nothing_any_more(size: int) -> None:
    store = Kept()
    text = replace(FORK.checkpoint(5), size=size).text
    note = Note(text, (LOG.sign(text), *(key.sign(text, NOW) for key in WITNESSES[:2])))
    take(device(store), 5)
    for _ in range(2):
        assert device(store).hear("mallory", note.encode()) is None
    assert device(store).view.can_stop(note) and "7" in refusal(device(store), 7)
    device(store).keep(device(store).view.forgive())
    assert device(store).hear("bob", note.encode()) is None and not device(store).view.can_stop(note)
    take(device(store), 7)
    assert device(store).hear("bob", HELD.note(size=6).encode()) is None
    assert device(store).view.list_sizes() == [7, 6]


@pytest.mark.parametrize("length", [1, 200])
def test_however_many_witnesses_a_quorum_has_and_however_long_their_names_peers_are_told(length: int) -> None:
    log = MemoryLog(HELD.entries, signer(f"log.example/{'o' * length}", ED25519))
    witnesses = [signer(f"{number}.{'w' * length}.example") for number in range(16)]
    operators = {one.key.name: [one.key] for one in witnesses}
    pinned = EpochPolicy(build_policy([log.key.key], operators, 15), 60)
    one = device(pinned=pinned)
    other = device(pinned=pinned)
    described = pb.Description(leaf=log.entries[6], proof=log.proof(6, witnesses).encode())
    one.keep(one.view.check(signed(LEAVES[6].manifest), described, NOW))
    told = compose("", (), 0, seeded("told"), one.choose_checkpoint("bob"))
    assert other.hear("alice", Content.decode(told.encode()).checkpoint) is None
    assert other.view.list_sizes() == [7]
    assert len(Note.parse(told.checkpoint).signatures) == 16, "the log's and a quorum's, no more"


def test_what_is_not_shown_to_be_everybodys_is_refused() -> None:
    one = device()
    assert "no proof" in refusal(one, 7, proof=b"")
    assert "no proof" in refusal(one, 7, leaf=b"")
    assert "epoch's manifest" in refusal(one, 7, leaf=HELD.entries[5])
    other_key = MemoryLog([leaf(1, key=b"o" * 32).encode()])
    assert "sealing key" in refusal(one, 1, other_key)
    for changes in ({"endorsement_root": b"r" * 32, "endorsement_policy": b"p"}, {"signature": bytes(64)}):
        unsigned = MemoryLog([replace(LEAVES[0], **changes).encode()])  # type: ignore[arg-type]
        assert "leaf must be signed by the curator" in refusal(one, 1, unsigned)
    assert "must be the newest" in refusal(one, 5, proof=HELD.proof(4).encode())
    assert "older than 60 s" in refusal(one, 7, now=NOW + 61)
    colluding = HELD.proof(6, WITNESSES[:1]).encode()
    assert "not met" in refusal(one, 7, proof=colluding)
    again = HELD.proof(6, [WITNESSES[0]] * 3).encode()
    assert "not met" in refusal(one, 7, proof=again)
    foreign = MemoryLog(HELD.entries, signer("foreign.example", ED25519))
    assert "no log of the policy" in refusal(one, 7, proof=foreign.proof(6).encode())
    assert one.view.list_sizes() == []


def test_a_log_that_does_not_continue_what_was_taken_is_refused_with_both_checkpoints() -> None:
    one = device()
    take(one, 5)
    with pytest.raises(UnloggedError, match="not shown that the log of 7 leaves continues") as caught:
        take(one, 7, FORK)
    assert caught.value.held == HELD.note(size=5).encode()
    assert not one.view.is_split(caught.value)
    assert caught.value.shown == FORK.note().encode()
    with pytest.raises(UnloggedError, match="does not continue") as caught:
        take(one, 5, FORK)
    assert one.view.is_split(caught.value)
    assert "had 5 before" in refusal(one, 4)
    described = offered(7)
    with pytest.raises(UnloggedError, match="not shown") as caught:
        # of the same log: its host leaves the path out
        one.view.check(signed(LEAVES[6].manifest), described, NOW)
    assert caught.value.held == HELD.note(size=5).encode()
    assert not one.view.is_split(caught.value)
    take(one, 7)


def test_a_checkpoint_that_a_peer_tells_of_is_the_same_or_evidence() -> None:
    one = device()
    other = device()
    take(one, 6)
    take(other, 6, FORK)
    told = other.choose_checkpoint("alice")
    assert len(told) <= CHECKPOINT_MOST
    assert other.choose_checkpoint("alice") == b""
    assert other.choose_checkpoint("carol") == told
    take(other, 7, FORK)
    assert (
        Checkpoint.from_note(Note.parse(other.choose_checkpoint("alice"))).size == 7
        and other.choose_checkpoint("alice") == b""
    )
    split = one.hear("bob", told)
    assert split is not None
    assert split.verify(LOG.key) == Passed()
    assert one.hear("bob", HELD.note((), size=6).encode()) is None


def test_a_checkpoint_of_another_size_is_held_until_the_log_continues_it() -> None:
    store = Kept()
    one = device(store)
    take(one, 3)
    assert one.hear("bob", HELD.note(size=5).encode()) is None
    one = device(store)
    assert one.view.list_sizes() == [3, 5]
    with pytest.raises(UnloggedError, match="had 5 before") as caught:
        take(one, 4)  # a newer epoch is withheld
    assert caught.value.held == b"" and caught.value.longer == HELD.note(WITNESSES[1:3], size=5).encode()
    assert one.hear("bob", HELD.note(size=2).encode()) is None  # from before this device was made
    assert one.view.list_sizes() == [3, 5, 2]
    take(one, 6)
    assert one.view.list_sizes() == [6]
    assert one.hear("bob", FORK.note(size=5).encode()) is None
    with pytest.raises(UnloggedError, match="not shown") as caught:
        take(one, 7)
    assert caught.value.held == FORK.note(WITNESSES[1:3], size=5).encode()
    assert one.hear("bob", HELD.note(size=5).encode()) is not None


def test_what_the_log_did_not_sign_is_passed_over() -> None:
    one = device()
    take(one, 6)
    forged = replace(FORK.note(()), signatures=HELD.note(()).signatures)
    foreign = MemoryLog(FORK.entries, signer("foreign.example", ED25519))
    empty = MemoryLog([]).note(())
    counts = replace(
        FORK.checkpoint(6), origin="log.example/counts"
    ).text  # the same key's, of another stream
    moved = Note(counts, (LOG.sign(counts),))
    for note in (b"", b"junk", forged.encode(), foreign.note(()).encode(), empty.encode(), moved.encode()):
        assert one.hear("bob", note) is None
    assert one.view.list_sizes() == [6]


def test_no_alteration_of_what_a_peer_tells_of_raises_or_is_held() -> None:
    one = device()
    drawn = seeded("told")
    whole = HELD.note(WITNESSES[:2], size=6).encode()
    for _ in range(300):
        raw = bytearray(whole)
        at = int.from_bytes(drawn.take(4), "big") % len(raw)
        raw[at] ^= drawn.take(1)[0] | 1
        assert one.hear("mallory", bytes(raw)) is None
        assert one.hear("mallory", bytes(raw[:at])) is None
    assert one.view.list_sizes() == []


def test_what_peers_tell_of_is_bounded() -> None:
    one = device()
    long = MemoryLog([str(n).encode() for n in range(40)])
    for size in range(1, 40):
        assert one.hear("bob", long.note(size=size).encode()) is None
    assert len(one.view.list_sizes()) == HEARD_MOST
    for number in range(100):
        assert one.hear(f"peer {number}", long.note(size=1 + number % 40).encode()) is None
    assert len(one.view.list_sizes()) == HEARD_MOST


def test_whom_a_device_told_is_bounded_and_who_is_forgotten_is_told_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(adoption, "TOLD_MOST", 3)
    one = device()
    take(one, 5)
    for name in ("a", "b", "c", "d"):
        assert one.choose_checkpoint(name)
    assert len(one._told) == 3 and not one.choose_checkpoint("b")
    assert one.choose_checkpoint("a") and one.choose_checkpoint("b")


def test_one_peer_cannot_push_out_what_another_told_of() -> None:
    store = Kept()
    long = MemoryLog([str(n).encode() for n in range(60)])
    assert device(store).hear("bob", long.note(size=6).encode()) is None
    for size in range(7, 60):
        one = device(store)
        assert one.hear("mallory", long.note(size=size).encode()) is None
    assert 6 in one.view.list_sizes()
    assert one.view.list_sizes()[-1] == 59
    for number in range(HEARD_MOST - 2):
        assert one.hear(f"peer {number}", long.note(size=10 + number).encode()) is None
    assert one.view.list_sizes() == [6, 59, *range(10, 10 + HEARD_MOST - 2)]
    assert one.hear("peer 15", long.note(size=40).encode()) is None
    assert one.view.list_sizes() == [59, *range(10, 10 + HEARD_MOST - 2), 40], "it takes 15 other peers"


def test_no_alteration_of_what_is_offered_is_taken_or_raises_anything_else() -> None:
    one = device()
    drawn = seeded("alterations")
    take(one, 4)
    whole = offered(6, sizes=(4,), proof=HELD.proof(5, WITNESSES[:2], 6).encode())  # no witness too many
    manifest = signed(LEAVES[5].manifest)
    for _ in range(300):
        name = ("leaf", "proof")[drawn.take(1)[0] % 2]
        raw = bytearray(getattr(whole, name))
        at = int.from_bytes(drawn.take(4), "big") % len(raw)
        raw[at] ^= drawn.take(1)[0] | 1
        altered = pb.Description()
        altered.CopyFrom(whole)
        setattr(altered, name, bytes(raw))
        with pytest.raises(UnloggedError):
            one.view.check(manifest, altered, NOW)
    for path in ((), (b"",), (b"x" * 31,) * 70):
        altered = offered(6)
        altered.consistency.append(pb.Consistency(tree_size=4, path=path))
        with pytest.raises(UnloggedError):
            one.view.check(manifest, altered, NOW)
    one.view.check(manifest, whole, NOW)


def test_steps_of_the_log_return_what_is_to_be_kept_and_keep_nothing() -> None:
    store = Kept()
    view = device(store).view
    taken = view.check(signed(LEAVES[4].manifest), offered(5), NOW)
    heard, split = replace(view, seen=taken).hear("bob", HELD.note(size=7).encode())
    assert split is None and replace(view, seen=heard).list_sizes() == [5, 7]
    assert replace(view, seen=replace(view, seen=heard).forgive()).list_sizes() == [5]
    assert (view.seen, view.list_sizes(), store) == (Seen(), [], {})
    device(store).keep(heard)
    assert device(store).view == replace(view, seen=heard)


@pytest.mark.parametrize("fails", [False, True])
def test_a_checkpoint_whose_adoption_was_undone_is_kept_with_the_next_one(
    tmp_path: Path, fails: bool
) -> None:
    store = Store(tmp_path, True)
    one = device(store)
    take(one, 4)
    for broken in (True, False)[not fails :]:
        try:
            with store.transaction():
                take(one, 5)
                if broken:
                    raise OSError("the disk is full")
        except OSError:
            assert one.view.list_sizes() == [4]
    assert device(store).view.list_sizes() == [5]
    refusal(device(store), 6, FORK)
    store.close()


def test_a_checkpoint_that_was_heard_in_an_undone_transaction_is_held_when_it_comes_again(
    tmp_path: Path,
) -> None:
    store = Store(tmp_path, True)
    one = device(store)
    told = FORK.note().encode()
    take(one, 4)
    with pytest.raises(OSError, match="full"), store.transaction():
        one.hear("bob", told)
        raise OSError("the disk is full")
    one.hear("bob", told)
    assert device(store).view.list_sizes() == [4, 7]
    refusal(device(store), 7)
    store.close()
