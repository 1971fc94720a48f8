"""How an epoch comes into use: once, as a whole, and off the path of any picture.

    Describe --> trusted step by step (trusted.py) --> fetch what its manifest says --> open, compare, check
        --> adopted row --> use
    a fault in use --> the epoch's row says so: nothing is asked with it, for whatever picture
        --> every byte is compared: damaged here: fetch that, check, adopt again; else wait for a newer epoch

Each step can be cut off and begun again. What a server should not have offered, and what failed, is kept for
good.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

from blindmatch_proofs.epoch import EpochPolicy, SplitView
from blindmatch_proofs.verdict import Failed, Passed, Verdict
from blindmatch_protocol.codec.errors import BlindmatchError, SetFileError
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import AnyDesign, Label, Match, NoMatch, Outcome, Party
from blindmatch_protocol.contract.steps import RESERVED
from blindmatch_protocol.failpoint import reach
from blindmatch_protocol.messages.epoch_manifest import SIGNED_MOST, EpochManifest, SignedManifest
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from msgspec import Struct, msgpack
from msgspec.structs import replace

from blindmatch_client.egress import Call
from blindmatch_client.egress.calls import DESCRIBE
from blindmatch_client.epochs import trusted
from blindmatch_client.epochs.setup import SetupStore
from blindmatch_client.epochs.transparency import LogView, Seen
from blindmatch_client.epochs.trusted import Held, SetupFiles
from blindmatch_client.errors import EpochRefusedError, MisbehavedError
from blindmatch_client.settings import Base
from blindmatch_client.store.store import Store
from blindmatch_client.trace import Purpose

_NEWEST: Final = (1 << 63) - 1
MOST_ROWS: Final = 1000
"""Evidence of one kind at most, but of those that are always kept."""
_NEWER: Final = "Nothing is asked with it, for any picture; a newer epoch takes its place by itself."


class AdoptionRecord:
    """The rows of one design, and whether the user still trusts its roles and its log."""

    def __init__(self, store: Store, design: AnyDesign) -> None:
        self._store = store
        self._design = design.info.name
        kept = {of: store.get(f"{of}/{self._design}") for of in trusted.Doubt}
        self._doubts = {of: reason.decode() for of, reason in kept.items() if reason is not None}

    def doubted(self, of: trusted.Doubt) -> str | None:
        """How one of the roles, or the log, cheated, if it did and the user has not said to go on."""
        return self._doubts.get(of)

    def doubt(self, of: trusted.Doubt, reason: str) -> None:
        """Ask nothing any more until the user says so."""
        self._store.put(f"{of}/{self._design}", reason.encode())
        self._doubts[of] = reason

    def forgive(self, of: trusted.Doubt) -> None:
        """Go on, after roles also with sets that failed. What was adopted, and all evidence, stays."""
        self._doubts.pop(of, None)
        with self._store.transaction():
            self._store.forget(f"{of}/{self._design}")
            if of is trusted.Doubt.ROLES:
                self._store.run(
                    "UPDATE adopted SET fault = NULL, examined = 0 WHERE design = ?", self._design
                )

    def newest(self) -> trusted.Adopted | None:
        """The highest epoch that was ever adopted, whatever the version of its files."""
        return next(iter(self._adopted(0, _NEWEST, 1)), None)

    def held(self, manifest: EpochManifest) -> Held:
        """What was adopted before, as far as `manifest` is compared with it."""
        newest = self.newest()
        before = manifest.predecessor_epoch
        since = {one.epoch: one for one in self._adopted(min(manifest.epoch, before), _NEWEST)}
        near = since.get(manifest.epoch) or since.get(before) or newest
        return Held(newest, near, {epoch: one.signed.manifest.digest for epoch, one in since.items()})

    def of(self, epoch: int) -> trusted.Adopted | None:
        return next(iter(self._adopted(epoch, epoch)), None)

    def adopt(self, signed: SignedManifest) -> None:
        """Note that an epoch's set was checked; durable on return. A fault of it is over."""
        epoch = signed.manifest.epoch
        self._store.run(
            "INSERT OR REPLACE INTO adopted VALUES (?1, ?2, sealed(?3, 'adopted.manifest', ?4), NULL, 0)",
            self._design,
            epoch,
            signed.encode(),
            self._row(epoch),
        )

    def fail(self, fault: trusted.Evidence) -> None:
        """Note that nothing must be asked with an epoch any more, for whatever picture; durable on return."""
        with self._store.transaction():
            self._store.run(
                "UPDATE adopted SET fault = sealed(?3, 'adopted.fault', ?4), examined = 0"
                " WHERE (design, epoch) = (?1, ?2)",
                self._design,
                fault.epoch,
                fault.words,
                self._row(fault.epoch),
            )
            self.keep(fault)

    def note_endorsed(self, epoch: int, policy: bytes) -> None:
        """Note under which policy, by its digest, an epoch was found to be endorsed."""
        self._store.put(f"endorsed/{self._design}/{epoch}", policy)

    def endorsed_under(self, epoch: int) -> bytes | None:
        return self._store.get(f"endorsed/{self._design}/{epoch}")

    def examined(self, epoch: int) -> None:
        """Note that every byte of an epoch that failed was compared, and is right."""
        self._store.run("UPDATE adopted SET examined = 1 WHERE (design, epoch) = (?, ?)", self._design, epoch)

    def keep(self, found: trusted.Evidence) -> None:
        """Keep evidence for good, once; past `MOST_ROWS` of its kind it is dropped, unless always kept."""
        count = "SELECT count(*) FROM evidence WHERE (design, kind) = (?, ?)"
        (held,) = self._store.one(count, self._design, str(found.kind)) or (0,)
        if found.kind not in trusted.ALWAYS_KEPT and held >= MOST_ROWS:
            return
        self._store.run(
            "INSERT OR IGNORE INTO evidence VALUES (?1, ?2, ?3, ?4, ?5, sealed(?6, 'evidence.words', ?1),"
            " sealed(?7, 'evidence.shown_manifest', ?1), sealed(?8, 'evidence.held_manifest', ?1))",
            found.name,
            self._design,
            str(found.kind),
            found.epoch,
            found.found_at_ms,
            found.words,
            found.shown,
            found.held,
        )

    def evidence(self) -> list[trusted.Evidence]:
        rows = self._store.all(
            "SELECT kind, epoch, opened(words, 'evidence.words', name), found_at_ms,"
            " opened(shown_manifest, 'evidence.shown_manifest', name),"
            " opened(held_manifest, 'evidence.held_manifest', name)"
            " FROM evidence WHERE design = ? ORDER BY found_at_ms, name",
            self._design,
        )
        return [trusted.Evidence(trusted.Kind(row[0]), *row[1:]) for row in rows]

    def _adopted(self, first: int, last: int, most: int = -1) -> list[trusted.Adopted]:
        rows = self._store.all(
            "SELECT opened(manifest, 'adopted.manifest', ?1 || '/' || epoch),"
            " opened(fault, 'adopted.fault', ?1 || '/' || epoch), examined"
            " FROM adopted WHERE design = ?1 AND epoch BETWEEN ?2 AND ?3 ORDER BY epoch DESC LIMIT ?4",
            *(self._design, first, last, most),
        )
        return [trusted.Adopted(SignedManifest.decode(row[0]), row[1], bool(row[2])) for row in rows]

    def _row(self, epoch: int) -> str:
        return f"{self._design}/{epoch}"


TOLD_MOST: Final = 256
"""Peers of whom it is remembered what they were told; one that is forgotten is told again."""


class Transparency:
    """Keeps what a device sees of the log of one design's epochs; arguments as of `LogView`."""

    def __init__(
        self, store: Store, policy: EpochPolicy | None, curator: bytes, sealing_key: bytes | None
    ) -> None:
        self._store = store
        self._view = LogView(policy, curator, sealing_key)
        self._name = f"log/{policy.origin}" if policy else ""
        self._undone = -1
        self._told: dict[str, bytes] = {}

    @property
    def view(self) -> LogView:
        """What is kept, read again after any transaction was undone: it may have been kept in that one."""
        if self._view.policy is not None and self._undone != (undone := self._store.undone):
            kept = self._store.get(self._name)
            seen = Seen() if kept is None else msgpack.decode(kept, type=Seen)
            self._view = replace(self._view, seen=seen)
            self._undone = undone
        return self._view

    def keep(self, seen: Seen) -> None:
        """Keep what a step of the view returned; an epoch's in the transaction that adopts it."""
        if self._view.policy is not None and seen != self.view.seen:
            self._store.put(self._name, msgpack.encode(seen))
            self._view = replace(self._view, seen=seen)

    def hear(self, peer: str, raw: bytes) -> SplitView | None:
        """As `LogView.hear`; keeps what is to be kept."""
        seen, split = self.view.hear(peer, raw)
        self.keep(seen)
        return split

    def choose_checkpoint(self, peer: str) -> bytes:
        """The checkpoint for the next message to `peer`: the newest, unless the peer was told of it since
        this device was opened; then nothing."""
        newest = self.view.seen.taken[-1:]
        if not newest or self._told.get(peer) == newest[0]:
            return b""
        self._told.pop(peer, None)
        self._told[peer] = newest[0]
        for oldest in list(self._told)[:-TOLD_MOST]:
            del self._told[oldest]
        return self.view.choose_checkpoint()


class Opened(Redacted, Struct, frozen=True):
    """An adopted epoch, opened.

    Attributes:
        ends: Unix time in seconds from which on nothing is asked with it.
        confirm: what becomes of a match that opened a label in it: it stands, or is none if the entry is not
            endorsed, or the label bears an id or salt that no entry may have.
    """

    epoch: int
    setup: Any
    ends: int
    confirm: Callable[[Match], Outcome]


class Adoption:
    """The epochs of one design on this device."""

    def __init__(self, base: Base, party: Party, record: AdoptionRecord, transparency: Transparency) -> None:
        self._demands = trusted.Demands(
            base.design, party, base.config.curator, trusted.Endorsing.of(base.config)
        )
        self._base = base
        self._record = record
        self._transparency = transparency
        self._setups = SetupStore(base.folder / "setup", base.design)

    def here(self) -> Opened | None:
        """The adopted epoch, if it is whole and has no fault; nobody is asked."""
        adopted = self._record.newest()
        if adopted is None or adopted.fault is not None:
            return None
        if not adopted.signed.manifest.is_of(self._base.design.info):
            return None
        if not (self._is_endorsed(adopted.epoch) and self._transparency.view.is_logged(adopted.epoch)):
            return None
        files = self._setups.whole(adopted.signed.manifest)
        try:
            return None if files is None else self._open(adopted.signed, files)
        except SetFileError as error:
            self.fail(adopted.epoch, error)
            return None

    def refresh(self) -> Opened:
        """The epoch that is offered now; fetched, checked and adopted unless that was done. `ServiceError` if
        its host cannot be reached, refuses or misbehaves; `EpochRefusedError` if its manifest must not be
        adopted, or the epoch has failed here; `SetFileError` if it is of another design, or the set is
        faulty; `DesignError` if the design fails on it."""
        offer = trusted.TrustedSet(self._demands)
        with self._noting():
            call = Call(self._demands.party, DESCRIBE, Purpose.SETUP, idempotent=True)
            request = pb.DescribeRequest(tree_sizes=self._transparency.view.list_sizes())
            described = self._base.egress.unary(call, request)
            now = self._base.clock_ms() // 1000
            manifest = offer.take_manifest(described.manifest)
            offer.check_order(self._record.held(manifest), now)
            offer.check_log(described, self._transparency.view, now)
        files = self._adopted_files(manifest.epoch)
        if files is not None:
            self._transparency.keep(offer.seen)
            return self._open(offer.signed, files)
        with self._noting(offer.signed):
            files = self._setups.complete(manifest, self._base.egress, self._demands.party)
            offer.check_files(files.files, self._before(manifest.epoch))
            if self._demands.endorsing is not None:
                self._record.note_endorsed(manifest.epoch, self._demands.endorsing.terms.policy.digest)
            opened = self._open(offer.signed, files)
            offer.check_setup(opened.setup)
        signed, seen = offer.trusted
        reach("setup.adopt.before")
        with self._base.store.transaction():
            self._record.adopt(signed)
            self._transparency.keep(seen)
        reach("setup.adopt.after")
        self._setups.keep_only(opened.epoch)
        return opened

    def fail(self, epoch: int, error: BlindmatchError) -> EpochRefusedError:
        """Stop using an epoch that failed; durable on return. The error that every picture then gets."""
        words = f"the set of epoch {epoch} failed on this device ({error}). {_NEWER}"
        self._record.fail(trusted.Evidence(trusted.Kind.FAULT, epoch, words, self._base.clock_ms()))
        return EpochRefusedError(words)

    def _adopted_files(self, epoch: int) -> SetupFiles | None:
        """The files of an epoch that was adopted, under this device's policy, if they are whole: every byte
        of them compared if it failed since that was done."""
        adopted = self._record.of(epoch)
        if adopted is None or not self._is_endorsed(epoch):
            return None
        examine = adopted.fault is not None and not adopted.examined
        if examine:
            self._setups.suspect(epoch)
        files = self._setups.whole(adopted.signed.manifest)
        if files is not None and examine:
            self._record.examined(epoch)
        if files is not None and adopted.fault is not None:
            raise EpochRefusedError(adopted.fault)
        return files

    @contextmanager
    def _noting(self, signed: SignedManifest | None = None) -> Iterator[None]:
        """What is refused is kept; and what the files of `signed` are refused for: bytes that are not its
        own, or a faulty set."""
        try:
            yield
        except trusted.RefusalError as refusal:
            self._note(refusal.kind, refusal.epoch, str(refusal.error), refusal.shown, refusal.held)
            raise refusal.error from None
        except (MisbehavedError, SetFileError) as error:
            if signed is not None:
                kind = trusted.Kind.FILES if isinstance(error, SetFileError) else trusted.Kind.BYTES
                self._note(kind, signed.manifest.epoch, str(error), signed.encode())
            raise

    def _note(self, kind: trusted.Kind, epoch: int, words: str, shown: bytes, held: bytes = b"") -> None:
        """Keep evidence, and stop trusting whoever offered it, if they are to blame."""
        now = self._base.clock_ms()
        self._record.keep(trusted.Evidence(kind, epoch, words, now, shown[:SIGNED_MOST], held))
        if kind in trusted.TELLING:
            self._record.doubt(trusted.TELLING[kind], words)

    def _before(self, epoch: int) -> SetupFiles | None:
        """The files of the epoch before, if they are here: what an epoch's endorsements are compared with."""
        newest = None if self._demands.endorsing is None else self._record.newest()
        if newest is None or newest.epoch >= epoch or not self._is_endorsed(newest.epoch):
            return None
        return self._setups.whole(newest.signed.manifest)

    def _is_endorsed(self, epoch: int) -> bool:
        mine = self._demands.endorsing
        return mine is None or self._record.endorsed_under(epoch) == mine.terms.policy.digest

    def _open(self, signed: SignedManifest, files: SetupFiles) -> Opened:
        setup, ends = self._demands.open(signed.manifest, files.files)
        check = self._demands.label_check(files.files, files.epoch, setup)
        return Opened(files.epoch, setup, ends, partial(self._confirm, check, signed))

    def _confirm(self, check: Callable[[Label], Verdict], signed: SignedManifest, found: Match) -> Outcome:
        """A match, if its label passes; else none to anybody, and evidence on this device alone."""
        match check(found.label):
            case Failed(reason):
                kind = trusted.Kind.ENTRY
                words = f"a match was dropped, since its entry is not endorsed: {reason}"
            case Passed() if found.label.is_reserved:
                # an endorsement does not help: whoever endorsed it should have refused it
                kind = trusted.Kind.RESERVED
                words = f"a match was dropped, since the label that was opened breaks a rule: {RESERVED}"
            case Passed():
                return found
        self._note(kind, signed.manifest.epoch, words, found.label.encode(), signed.encode())
        return NoMatch()
