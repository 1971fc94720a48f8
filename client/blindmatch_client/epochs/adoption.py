"""Adopt epochs: each once, as a whole, and while no picture waits for it.

    Describe --> trusted step by step (trusted.py) --> fetch what its manifest says --> open, compare, check
        --> adopted row --> use
    a fault in use --> the epoch's row says so: nothing is asked with it, for whatever picture
        --> every byte is compared: damaged here: fetch that, check, adopt again; else wait for a newer epoch

Each step can be interrupted and repeated. What a server should not have offered, and what failed, is kept as
evidence.
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

_LAST_EPOCH: Final = (1 << 63) - 1
MOST_ROWS: Final = 1000
"""Most rows of evidence of one kind, except for the kinds that are always kept."""
_NEWER: Final = "Nothing is asked with it, for any picture; a newer epoch takes its place by itself."


class AdoptionRecord:
    """The stored rows of one design: adopted epochs, evidence, and doubts about its roles and its log."""

    def __init__(self, store: Store, design: AnyDesign) -> None:
        self._store = store
        self._design = design.info.name
        kept = {doubt: store.get(f"{doubt}/{self._design}") for doubt in trusted.Doubt}
        self._reasons = {doubt: reason.decode() for doubt, reason in kept.items() if reason is not None}

    def get_reason(self, doubt: trusted.Doubt) -> str | None:
        """Return how the roles, or the log, cheated; None if they did not, or the user forgave it."""
        return self._reasons.get(doubt)

    def add_doubt(self, doubt: trusted.Doubt, reason: str) -> None:
        """Stop asking, until the user says to go on."""
        self._store.put(f"{doubt}/{self._design}", reason.encode())
        self._reasons[doubt] = reason

    def forgive(self, doubt: trusted.Doubt) -> None:
        """Go on; if the roles are forgiven, also with sets that failed. Adopted epochs and evidence stay."""
        self._reasons.pop(doubt, None)
        with self._store.transaction():
            self._store.forget(f"{doubt}/{self._design}")
            if doubt is trusted.Doubt.ROLES:
                self._store.run(
                    "UPDATE adopted SET fault = NULL, examined = 0 WHERE design = ?", self._design
                )

    def find_newest(self) -> trusted.Adopted | None:
        """Find the highest epoch that was ever adopted, whatever the version of its files."""
        return next(iter(self._list_adopted(0, _LAST_EPOCH, 1)), None)

    def find_held(self, manifest: EpochManifest) -> Held:
        """Find the adopted epochs that `manifest` is compared with."""
        newest = self.find_newest()
        predecessor = manifest.predecessor_epoch
        rows = self._list_adopted(min(manifest.epoch, predecessor), _LAST_EPOCH)
        since = {adopted.epoch: adopted for adopted in rows}
        near = since.get(manifest.epoch) or since.get(predecessor) or newest
        digests = {epoch: adopted.signed.manifest.digest for epoch, adopted in since.items()}
        return Held(newest, near, digests)

    def find(self, epoch: int) -> trusted.Adopted | None:
        return next(iter(self._list_adopted(epoch, epoch)), None)

    def adopt(self, signed: SignedManifest) -> None:
        """Note that an epoch's set was checked, which ends a fault of it; durable on return."""
        epoch = signed.manifest.epoch
        self._store.run(
            "INSERT OR REPLACE INTO adopted VALUES (?1, ?2, sealed(?3, 'adopted.manifest', ?4), NULL, 0)",
            self._design,
            epoch,
            signed.encode(),
            self._name_row(epoch),
        )

    def fail(self, fault: trusted.Evidence) -> None:
        """Note that nothing is asked with an epoch any more, for any picture; durable on return."""
        with self._store.transaction():
            self._store.run(
                "UPDATE adopted SET fault = sealed(?3, 'adopted.fault', ?4), examined = 0"
                " WHERE (design, epoch) = (?1, ?2)",
                self._design,
                fault.epoch,
                fault.words,
                self._name_row(fault.epoch),
            )
            self.keep(fault)

    def note_endorsed(self, epoch: int, policy: bytes) -> None:
        """Note the digest of the policy under which an epoch was found to be endorsed."""
        self._store.put(f"endorsed/{self._design}/{epoch}", policy)

    def get_endorsing_policy(self, epoch: int) -> bytes | None:
        """Return the digest that `note_endorsed` noted; None if it noted none."""
        return self._store.get(f"endorsed/{self._design}/{epoch}")

    def mark_examined(self, epoch: int) -> None:
        """Note that every byte of an epoch that failed was compared, and is right."""
        self._store.run("UPDATE adopted SET examined = 1 WHERE (design, epoch) = (?, ?)", self._design, epoch)

    def keep(self, evidence: trusted.Evidence) -> None:
        """Keep evidence for good, once. Beyond `MOST_ROWS` of its kind it is dropped, unless always kept."""
        query = "SELECT count(*) FROM evidence WHERE (design, kind) = (?, ?)"
        (count,) = self._store.one(query, self._design, str(evidence.kind)) or (0,)
        if evidence.kind not in trusted.ALWAYS_KEPT and count >= MOST_ROWS:
            return
        self._store.run(
            "INSERT OR IGNORE INTO evidence VALUES (?1, ?2, ?3, ?4, ?5, sealed(?6, 'evidence.words', ?1),"
            " sealed(?7, 'evidence.shown_manifest', ?1), sealed(?8, 'evidence.held_manifest', ?1))",
            evidence.name,
            self._design,
            str(evidence.kind),
            evidence.epoch,
            evidence.found_at_ms,
            evidence.words,
            evidence.shown,
            evidence.held,
        )

    def list_evidence(self) -> list[trusted.Evidence]:
        """List all evidence, oldest first."""
        rows = self._store.all(
            "SELECT kind, epoch, opened(words, 'evidence.words', name), found_at_ms,"
            " opened(shown_manifest, 'evidence.shown_manifest', name),"
            " opened(held_manifest, 'evidence.held_manifest', name)"
            " FROM evidence WHERE design = ? ORDER BY found_at_ms, name",
            self._design,
        )
        return [trusted.Evidence(trusted.Kind(row[0]), *row[1:]) for row in rows]

    def _list_adopted(self, first: int, last: int, most: int = -1) -> list[trusted.Adopted]:
        """List adopted epochs of a range, both ends included, the highest first; -1 lists all."""
        rows = self._store.all(
            "SELECT opened(manifest, 'adopted.manifest', ?1 || '/' || epoch),"
            " opened(fault, 'adopted.fault', ?1 || '/' || epoch), examined"
            " FROM adopted WHERE design = ?1 AND epoch BETWEEN ?2 AND ?3 ORDER BY epoch DESC LIMIT ?4",
            *(self._design, first, last, most),
        )
        return [trusted.Adopted(SignedManifest.decode(row[0]), row[1], bool(row[2])) for row in rows]

    def _name_row(self, epoch: int) -> str:
        return f"{self._design}/{epoch}"


TOLD_MOST: Final = 256
"""Peers of whom the device remembers which checkpoint it told them last. A forgotten one is told again."""


class Transparency:
    """Stores a device's view of the log of one design's epochs. The arguments are those of `LogView`."""

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
        """The stored view; read again after any transaction was undone, since that may have stored it."""
        if self._view.policy is not None and self._undone != (undone := self._store.undone):
            kept = self._store.get(self._name)
            seen = Seen() if kept is None else msgpack.decode(kept, type=Seen)
            self._view = replace(self._view, seen=seen)
            self._undone = undone
        return self._view

    def keep(self, seen: Seen) -> None:
        """Store what a step of the view returned. What goes with an epoch is stored as that is adopted."""
        if self._view.policy is not None and seen != self.view.seen:
            self._store.put(self._name, msgpack.encode(seen))
            self._view = replace(self._view, seen=seen)

    def hear(self, peer: str, raw: bytes) -> SplitView | None:
        """Compare a peer's checkpoint with what was seen, as `LogView.hear`, and store the result."""
        seen, split = self.view.hear(peer, raw)
        self.keep(seen)
        return split

    def choose_checkpoint(self, peer: str) -> bytes:
        """Choose the checkpoint for the next message to `peer`.

        Returns:
            The newest one; empty if there is none, or `peer` was told it since this device was opened.
        """
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
        confirm: returns the match that opened a label of it, or no match if the entry is not endorsed or the
            label has an id or a salt that no entry may have.
    """

    epoch: int
    setup: Any
    ends: int
    confirm: Callable[[Match], Outcome]


class Adoption:
    """The epochs of one design on this device."""

    def __init__(self, base: Base, party: Party, record: AdoptionRecord, transparency: Transparency) -> None:
        endorsing = trusted.Endorsing.from_config(base.config)
        self._demands = trusted.Demands(base.design, party, base.config.curator, endorsing)
        self._base = base
        self._record = record
        self._transparency = transparency
        self._setups = SetupStore(base.folder / "setup", base.design)

    def open_adopted(self) -> Opened | None:
        """Open the adopted epoch, asking nobody; None if there is none that is whole and free of faults."""
        adopted = self._record.find_newest()
        if adopted is None or adopted.fault is not None:
            return None
        if not adopted.signed.manifest.is_of(self._base.design.info):
            return None
        if not (self._is_endorsed(adopted.epoch) and self._transparency.view.is_logged(adopted.epoch)):
            return None
        files = self._setups.open_whole(adopted.signed.manifest)
        try:
            return None if files is None else self._open(adopted.signed, files)
        except SetFileError as error:
            self.fail(adopted.epoch, error)
            return None

    def refresh(self) -> Opened:
        """Ask for the current epoch; fetch, check and adopt it unless that was done.

        Raises:
            ServiceError: Its host cannot be reached, refuses or misbehaves.
            EpochRefusedError: Its manifest must not be adopted, or the epoch has failed on this device.
            SetFileError: It is of another design, or the set is faulty.
            DesignError: The design fails on it.
        """
        offer = trusted.TrustedSet(self._demands)
        with self._keeping_evidence():
            call = Call(self._demands.party, DESCRIBE, Purpose.SETUP, idempotent=True)
            request = pb.DescribeRequest(tree_sizes=self._transparency.view.list_sizes())
            described = self._base.egress.unary(call, request)
            now = self._base.clock_ms() // 1000
            manifest = offer.take_manifest(described.manifest)
            offer.check_order(self._record.find_held(manifest), now)
            offer.check_log(described, self._transparency.view, now)
        files = self._reopen_files(manifest.epoch)
        if files is not None:
            self._transparency.keep(offer.seen)
            return self._open(offer.signed, files)
        with self._keeping_evidence(offer.signed):
            files = self._setups.complete(manifest, self._base.egress, self._demands.party)
            offer.check_files(files.files, self._open_files_before(manifest.epoch))
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
        """Stop using an epoch that failed; durable on return.

        Returns:
            The error to raise for every picture from now on.
        """
        words = f"the set of epoch {epoch} failed on this device ({error}). {_NEWER}"
        self._record.fail(trusted.Evidence(trusted.Kind.FAULT, epoch, words, self._base.clock_ms()))
        return EpochRefusedError(words)

    def _reopen_files(self, epoch: int) -> SetupFiles | None:
        """Open the files of an epoch that was adopted under this device's policy; None if they are not whole.

        After a fault every byte is compared once: the cause may be damage here, which fetching mends.

        Raises:
            EpochRefusedError: The epoch has failed, and its bytes are right.
        """
        adopted = self._record.find(epoch)
        if adopted is None or not self._is_endorsed(epoch):
            return None
        must_examine = adopted.fault is not None and not adopted.examined
        if must_examine:
            self._setups.suspect(epoch)
        files = self._setups.open_whole(adopted.signed.manifest)
        if files is not None and must_examine:
            self._record.mark_examined(epoch)
        if files is not None and adopted.fault is not None:
            raise EpochRefusedError(adopted.fault)
        return files

    @contextmanager
    def _keeping_evidence(self, signed: SignedManifest | None = None) -> Iterator[None]:
        """Keep evidence of what is refused inside; with `signed`, also of wrong bytes or a faulty set."""
        try:
            yield
        except trusted.RefusalError as refusal:
            self._keep_evidence(refusal.kind, refusal.epoch, str(refusal.error), refusal.shown, refusal.held)
            raise refusal.error from None
        except (MisbehavedError, SetFileError) as error:
            if signed is not None:
                kind = trusted.Kind.FILES if isinstance(error, SetFileError) else trusted.Kind.BYTES
                self._keep_evidence(kind, signed.manifest.epoch, str(error), signed.encode())
            raise

    def _keep_evidence(
        self, kind: trusted.Kind, epoch: int, words: str, shown: bytes, held: bytes = b""
    ) -> None:
        """Keep evidence, and stop trusting the party that offered it if only a cheat would."""
        now = self._base.clock_ms()
        self._record.keep(trusted.Evidence(kind, epoch, words, now, shown[:SIGNED_MOST], held))
        if kind in trusted.DOUBT_BY_KIND:
            self._record.add_doubt(trusted.DOUBT_BY_KIND[kind], words)

    def _open_files_before(self, epoch: int) -> SetupFiles | None:
        """Open the files of the newest epoch before this one, to compare endorsements; None if not here."""
        newest = None if self._demands.endorsing is None else self._record.find_newest()
        if newest is None or newest.epoch >= epoch or not self._is_endorsed(newest.epoch):
            return None
        return self._setups.open_whole(newest.signed.manifest)

    def _is_endorsed(self, epoch: int) -> bool:
        endorsing = self._demands.endorsing
        if endorsing is None:
            return True
        return self._record.get_endorsing_policy(epoch) == endorsing.terms.policy.digest

    def _open(self, signed: SignedManifest, files: SetupFiles) -> Opened:
        setup, ends = self._demands.open(signed.manifest, files.files)
        check = self._demands.build_label_check(files.files, files.epoch, setup)
        return Opened(files.epoch, setup, ends, partial(self._confirm, check, signed))

    def _confirm(self, check: Callable[[Label], Verdict], signed: SignedManifest, opened: Match) -> Outcome:
        """Return the match if its label passes the check; else no match, and keep evidence on this device.

        Nobody else learns that there was one: a list with planted entries must not make a device report.
        """
        match check(opened.label):
            case Failed(reason):
                kind = trusted.Kind.ENTRY
                words = f"a match was dropped, since its entry is not endorsed: {reason}"
            case Passed() if opened.label.is_reserved:
                # an endorsement does not help: the endorsing organisations should have refused it
                kind = trusted.Kind.RESERVED
                words = f"a match was dropped, since the label that was opened breaks a rule: {RESERVED}"
            case Passed():
                return opened
        self._keep_evidence(kind, signed.manifest.epoch, words, opened.label.encode(), signed.encode())
        return NoMatch()
