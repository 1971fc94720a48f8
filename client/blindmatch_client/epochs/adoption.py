"""How an epoch comes into use: once, as a whole, and off the path of any picture.

    Describe --> signed by the curator? fits what was adopted? begun? logged? --> fetch what its manifest says
        --> open, compare with it, check every section (`Design.check_setup`) --> adopted row --> use
    a fault in use --> the epoch's row says so: nothing is asked with it, for whatever picture
        --> every byte is compared: damaged here: fetch that, check, adopt again; else wait for a newer epoch

What is done never depends on a picture. Each step can be cut off and begun again: an epoch is used only once
its row is there. What a server should not have offered, and what failed, is kept (evidence.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Final, TypeVar

from blindmatch_proofs.endorsement import FILE as ENDORSEMENT
from blindmatch_proofs.endorsement import verify_label
from blindmatch_proofs.epoch import (
    EpochLeaf,
    verify_begun,
    verify_consistent,
    verify_not_older,
    verify_signature,
    verify_stated,
)
from blindmatch_proofs.verdict import Failed, Passed, Verdict
from blindmatch_protocol.codec.errors import BlindmatchError, ProtocolError, SetFileError
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import Label, Match, NoMatch, Outcome, Party
from blindmatch_protocol.failpoint import reach
from blindmatch_protocol.messages.epoch_manifest import SIGNED_MOST, EpochManifest, SignedManifest
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from msgspec import Struct

from blindmatch_client.egress import Call
from blindmatch_client.egress.calls import DESCRIBE
from blindmatch_client.epochs.evidence import Adopted, AdoptionRecord, Doubt, Evidence, Kind
from blindmatch_client.epochs.setup import SetupFiles, SetupStore
from blindmatch_client.epochs.transparency import Before, Endorsing, Seen, Transparency, UnloggedError
from blindmatch_client.errors import EpochRefusedError, MisbehavedError
from blindmatch_client.settings import Base
from blindmatch_client.trace import Purpose

T = TypeVar("T")

TELLING: Final = {
    **dict.fromkeys((Kind.UNSIGNED, Kind.OLDER, Kind.FORKED, Kind.BYTES), Doubt.ROLES),
    **dict.fromkeys((Kind.SPLIT, Kind.UNCONTINUED), Doubt.LOG),
}
"""What only a party that cheats offers, and who is doubted then. A clock may be wrong, and a faulty set is
the curator's mistake."""
_TELL: Final = "Tell whoever runs it; nothing is asked any more until you say so."
SHOW: Final = (
    "Both are kept on this device, in `status`: show them to whoever oversees the list. Nothing is asked any "
    "more until you say so."
)
UNWITNESSED: Final = "No quorum cosigned that, so no device takes an epoch of it. Both are kept, in `status`."
DISMISSED: Final = (
    "A quorum cosigned that, and you said to go on when it was held. Both are kept, in `status`: show them "
    "to whoever oversees the list."
)
_OVERSEE: Final = "Its manifest is kept on this device, in `status`: show it to whoever oversees the list."
_LOGGED: Final = "What was adopted stays in use until it ends. If the clock is right, ask the publisher."
_LONGER: Final = (
    "A peer was shown that, cosigned by a quorum: no other is taken before it, unless you say so."
)
_CLOCK: Final = "It is not used before; if that time has passed, set this device's clock."
_NEWER: Final = "Nothing is asked with it, for any picture; a newer epoch takes its place by itself."


class Opened(Redacted, Struct, frozen=True):
    """An adopted epoch, opened.

    Attributes:
        ends: Unix time in seconds from which on nothing is asked with it.
        confirm: what becomes of a match that opened a label in it: it stands, or is none if the entry is not
            endorsed, or the label bears what only a filter's match may bear.
    """

    epoch: int
    setup: Any
    ends: int
    confirm: Callable[[Match], Outcome]


class Adoption:
    """The epochs of one design on this device.

    Args:
        record: of what was adopted and refused.
        transparency: what is known of the log.
    """

    def __init__(self, base: Base, party: Party, record: AdoptionRecord, transparency: Transparency) -> None:
        self._design = base.design
        self._egress = base.egress
        self._party = party
        self._record, self._transparency, self._store = record, transparency, base.store
        self._setups = SetupStore(base.folder / "setup", base.design)
        self._curator = base.config.curator
        self._clock_ms = base.clock_ms
        self._endorsing = Endorsing.of(base.config)

    def here(self) -> Opened | None:
        """The adopted epoch, if it is whole and has no fault; nobody is asked."""
        adopted = self._record.newest()
        if adopted is None or adopted.fault is not None or not self._is_mine(adopted.signed.manifest):
            return None
        if not (self._is_endorsed(adopted.epoch) and self._transparency.took(adopted.epoch)):
            return None
        files = self._setups.whole(adopted.signed.manifest)
        try:
            return None if files is None else self._opened(adopted.signed, files)
        except SetFileError as error:
            self.fail(adopted.epoch, error)
            return None

    def refresh(self) -> Opened:
        """The epoch that is offered now; fetched, checked and adopted unless that was done.

        Raises:
            ServiceError: if its host cannot be reached, refuses or misbehaves.
            EpochRefusedError: if its manifest must not be adopted, or the epoch has failed here.
            SetFileError: if it is of another design, or the set is faulty.
            DesignError: if the design fails on it.
        """
        signed, leaf, seen = self._offered()
        adopted = self._record.of(signed.manifest.epoch)
        if not self._is_endorsed(signed.manifest.epoch):
            adopted = None  # taken when this device had no policy, or another one
        files = None if adopted is None else self._still_whole(adopted)
        if adopted is not None and files is not None:
            if adopted.fault is not None:
                raise EpochRefusedError(adopted.fault)
            self._transparency.keep(seen)
            return self._opened(signed, files)
        with self._noting(signed):
            files = self._setups.complete(signed.manifest, self._egress, self._party)
            self._check_endorsed(leaf, signed, files)
            opened = self._checked(signed, files)
        reach("setup.adopt.before")
        with self._store.transaction():
            self._record.adopt(signed)
            self._transparency.keep(seen)
        reach("setup.adopt.after")
        self._setups.keep_only(opened.epoch)
        return opened

    def fail(self, epoch: int, error: BlindmatchError) -> EpochRefusedError:
        """Ask nothing more with an epoch that failed in use; durable on return. What every picture gets."""
        words = f"the set of epoch {epoch} failed on this device ({error}). {_NEWER}"
        self._record.fail(Evidence(Kind.FAULT, epoch, words, self._clock_ms()))
        return EpochRefusedError(words)

    def _still_whole(self, adopted: Adopted) -> SetupFiles | None:
        """Its files if they are whole, every byte of them compared if it failed since that was done."""
        if adopted.fault is not None and not adopted.examined:
            self._setups.suspect(adopted.epoch)
        files = self._setups.whole(adopted.signed.manifest)
        if files is not None and adopted.fault is not None and not adopted.examined:
            self._record.examined(adopted.epoch)
        return files

    def _offered(self) -> tuple[SignedManifest, EpochLeaf | None, Seen]:
        """The manifest that the host describes, held against every rule; its leaf, if that is known to be in
        the log; and what is then seen of the log."""
        call = Call(self._party, DESCRIBE, Purpose.SETUP, idempotent=True)
        request = pb.DescribeRequest(tree_sizes=self._transparency.sizes())
        described = self._egress.unary(call, request)
        signed = self._signed(described.manifest)
        manifest, record = signed.manifest, self._record
        if not self._is_mine(manifest):
            raise SetFileError(
                f"set-up: must be of design {self._design.info.name} version {self._design.info.version}, "
                f"not of {manifest.design!r} version {manifest.version}: the server has another design "
                "than this device was made with"
            )
        newest = record.newest()
        other = record.of(manifest.epoch) or record.of(manifest.predecessor_epoch) or newest
        older = verify_not_older(manifest, newest.epoch if newest else 0)
        self._expect(older, Kind.OLDER, signed, newest, _TELL)
        digests = record.digests(min(manifest.epoch, manifest.predecessor_epoch))
        self._expect(verify_consistent(manifest, digests), Kind.FORKED, signed, other, SHOW)
        self._expect(verify_begun(manifest, self._clock_ms() // 1000), Kind.EARLY, signed, None, _CLOCK)
        seen = self._logged(signed, described)
        return signed, EpochLeaf.decode(described.leaf) if self._transparency.pinned else None, seen

    def _logged(self, signed: SignedManifest, described: pb.Description) -> Seen:
        """What is to be kept of the log once the epoch is adopted."""
        try:
            return self._transparency.check(signed, described, self._clock_ms() // 1000)
        except UnloggedError as error:
            two = Kind.SPLIT if self._transparency.is_split(error) else Kind.UNCONTINUED
            remaining = _LONGER if error.longer else _LOGGED
            kind, remedy = (two, SHOW) if error.held else (Kind.UNLOGGED, remaining)
            words = f"the {self._party.server} offers a set that is refused: {error}. {remedy}"
            self._note(kind, signed.manifest.epoch, words, error.shown, error.held or error.longer)
            raise EpochRefusedError(words) from None

    def _signed(self, raw: bytes) -> SignedManifest:
        """The manifest that `raw` is, if the curator signed it."""
        signed = None
        if len(raw) <= SIGNED_MOST:
            with suppress(ProtocolError):
                signed = SignedManifest.decode(raw)
        if signed is None or isinstance(verify_signature(signed, self._curator), Failed):
            rule = "the epoch's manifest must be signed by the curator whose key this device has"
            error = MisbehavedError(self._party, rule)
            self._note(Kind.UNSIGNED, 0 if signed is None else signed.manifest.epoch, str(error), raw)
            raise error
        return signed

    def _is_mine(self, manifest: EpochManifest) -> bool:
        info = self._design.info
        return (manifest.design, manifest.version) == (info.name, info.version)

    def _expect(
        self, verdict: Verdict, kind: Kind, signed: SignedManifest, held: Adopted | None, remedy: str
    ) -> None:
        match verdict:
            case Failed(reason):
                words = f"the {self._party.server} offers a set that is refused: {reason}. {remedy}"
                before = b"" if held is None else held.signed.encode()
                self._note(kind, signed.manifest.epoch, words, signed.encode(), before)
                raise EpochRefusedError(words)

    @contextmanager
    def _noting(self, signed: SignedManifest) -> Iterator[None]:
        """What an epoch's files are refused for is kept: bytes that are not its own, or a faulty set."""
        try:
            yield
        except (MisbehavedError, SetFileError) as error:
            kind = Kind.FILES if isinstance(error, SetFileError) else Kind.BYTES
            self._note(kind, signed.manifest.epoch, str(error), signed.encode())
            raise

    def _note(self, kind: Kind, epoch: int, words: str, shown: bytes, held: bytes = b"") -> None:
        """Keep evidence; and doubt whoever offered it, where that is to blame."""
        self._record.keep(Evidence(kind, epoch, words, self._clock_ms(), shown[:SIGNED_MOST], held))
        if kind in TELLING:
            self._record.doubt(TELLING[kind], words)

    def _check_endorsed(self, leaf: EpochLeaf | None, signed: SignedManifest, files: SetupFiles) -> None:
        """Raises `EpochRefusedError` for an epoch that is not endorsed as this device asks it to be."""
        if self._endorsing is None:
            return
        newest, before = self._record.newest(), None
        if newest is not None and newest.epoch < signed.manifest.epoch and self._is_endorsed(newest.epoch):
            held = self._setups.whole(newest.signed.manifest)
            before = None if held is None else Before(held.epoch, held.files)
        verdict = self._endorsing.verify(leaf, signed.manifest, files.files, before)
        self._expect(verdict, Kind.UNENDORSED, signed, newest, _OVERSEE)
        self._record.note_endorsed(signed.manifest.epoch, self._endorsing.terms.policy.digest)

    def _is_endorsed(self, epoch: int) -> bool:
        """Was an epoch checked under this device's policy, if it has one?"""
        mine = self._endorsing
        return mine is None or self._record.endorsed_under(epoch) == mine.terms.policy.digest

    def _checked(self, signed: SignedManifest, files: SetupFiles) -> Opened:
        """The set-up, opened, as its manifest says, every section of it checked by the design."""
        manifest, opened = signed.manifest, self._opened(signed, files)
        match verify_stated(manifest, self._design.stated(opened.setup)):
            case Failed(reason):
                raise SetFileError(f"set-up of epoch {manifest.epoch}: {reason}")
        self._guarded(lambda: self._design.check_setup(opened.setup))
        return opened

    def _opened(self, signed: SignedManifest, files: SetupFiles) -> Opened:
        until = signed.manifest.valid_until
        of_design = {name: data for name, data in files.files.items() if name != ENDORSEMENT}
        setup = self._guarded(lambda: self._design.open_setup(of_design, files.epoch))
        ends = self._guarded(lambda: self._design.expires(setup))
        return Opened(files.epoch, setup, min(until, ends or until), self._confirming(signed, files, setup))

    def _confirming(
        self, signed: SignedManifest, files: SetupFiles, setup: Any
    ) -> Callable[[Match], Outcome]:
        if self._endorsing is None:
            return partial(self._confirmed, lambda label: Passed(), signed)
        if self._guarded(lambda: self._design.unconfirmed(setup)):
            raise SetFileError("a set of kind filter opens no label, so none of its entries can be endorsed")
        table = self._endorsing.table(files.files, files.epoch)
        table.check_intact()  # now, for all pictures: not at the first match
        return partial(self._confirmed, partial(verify_label, table, self._endorsing.terms), signed)

    def _confirmed(self, verify: Callable[[Label], Verdict], signed: SignedManifest, found: Match) -> Outcome:
        """A match, if its label passes; else none to anybody, and evidence on this device alone."""
        bad = Failed("its label was opened, and bears the id of a match that a filter says")
        match bad if found.label.unconfirmed else verify(found.label):
            case Failed(reason):
                words = f"a match was dropped, since its entry is not endorsed: {reason}"
                epoch = signed.manifest.epoch
                self._note(Kind.ENTRY, epoch, words, found.label.encode(), signed.encode())
                return NoMatch()
        return found

    def _guarded(self, run: Callable[[], T]) -> T:
        """Whatever a design raises on hostile files becomes `SetFileError`."""
        try:
            return run()
        except BlindmatchError:
            raise
        except Exception as error:
            name = self._design.info.name
            raise SetFileError(f"set-up: design {name} cannot use it ({type(error).__name__})") from None
