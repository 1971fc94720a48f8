"""What a device trusts of an epoch that is offered: sans-IO, as python-tuf's `TrustedMetadataSet`.

    ASKED --manifest--> SIGNED --order--> ORDERED --log--> LOGGED --files--> ENDORSED --setup--> TRUSTED

    manifest  the curator signed it, for this design
    order     not older than what was adopted, no second one of an epoch, begun
    log       a quorum shows it to be everybody's newest, and the log to continue all that was seen
    files     each entry endorsed, and none dropped since the epoch before
    setup     the files say what the manifest says; every section checked by the design

A step that is refused leaves the offer REFUSED, and says what is kept as evidence. Whoever takes the steps
fetches, keeps and tells the time (adoption.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from enum import StrEnum
from hashlib import sha256
from typing import Any, Final, TypeVar

from blindmatch_proofs.endorsement import FILE, EndorsedTable, Terms, verify_label
from blindmatch_proofs.endorsement.verify import verify_none_dropped, verify_table
from blindmatch_proofs.epoch import (
    Endorsement,
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
from blindmatch_protocol.contract import AnyDesign, Buffers, Label, Learner, Party
from blindmatch_protocol.messages.epoch_manifest import SIGNED_MOST, EpochManifest, SignedManifest
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from msgspec import Struct

from blindmatch_client.epochs.transparency import LogView, Seen, UnloggedError
from blindmatch_client.errors import DeviceError, EpochRefusedError, MisbehavedError
from blindmatch_client.settings import DeviceConfig

T = TypeVar("T")


class Kind(StrEnum):
    UNSIGNED = "not signed by the curator"
    OLDER = "an older epoch"
    FORKED = "two histories"
    EARLY = "not valid yet"
    BYTES = "other bytes than the manifest's"
    UNLOGGED = "not shown to be everybody's"
    SPLIT = "a log with two histories"
    UNCONTINUED = "a log that is not shown to continue"
    FILES = "a set that fails its check"
    FAULT = "a fault in use"
    UNENDORSED = "a set that is not endorsed"
    ENTRY = "an entry that is not endorsed"
    RESERVED = "an entry with a reserved id or salt"


ALWAYS_KEPT: Final = frozenset({Kind.FORKED, Kind.SPLIT, Kind.ENTRY, Kind.RESERVED})
"""What convicts whoever signed it, or who published the set: none is dropped for how many there are."""


class Adopted(Struct, frozen=True):
    """An epoch that was adopted.

    Attributes:
        fault: why nothing is asked with it any more; None while it is used.
        examined: whether all its bytes were found right after the fault.
    """

    signed: SignedManifest
    fault: str | None = None
    examined: bool = False

    @property
    def epoch(self) -> int:
        return self.signed.manifest.epoch


class Evidence(Struct, frozen=True):
    """Something that an account was shown and refused, or a set that failed.

    Attributes:
        epoch: of the set it is about; 0 if that could not be read.
        words: what happened, for people.
        found_at_ms: when it was seen first, in Unix milliseconds.
        shown: the encoded signed manifest that was refused, as far as there was one; of an entry its label.
        held: the manifest it contradicts, or of the epoch the entry is in; empty if there is none.
    """

    kind: Kind
    epoch: int
    words: str
    found_at_ms: int
    shown: bytes = b""
    held: bytes = b""

    @property
    def name(self) -> bytes:
        """A name that does not depend on when it was found."""
        parts = (self.kind.encode(), self.words.encode(), self.shown, self.held)
        return sha256(b"".join(len(part).to_bytes(8, "big") + part for part in parts)).digest()


class Doubt(StrEnum):
    """Whom a device distrusts; each is ended by the user, apart from the other."""

    ROLES = "distrust"
    LOG = "distrust-log"


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


class Stage(StrEnum):
    ASKED = "asked"
    SIGNED = "signed"
    ORDERED = "ordered"
    LOGGED = "logged"
    ENDORSED = "endorsed"
    TRUSTED = "trusted"
    REFUSED = "refused"


class Step(StrEnum):
    MANIFEST = "manifest"
    ORDER = "order"
    LOG = "log"
    FILES = "files"
    SETUP = "setup"


TRANSITIONS: Final[Mapping[tuple[Stage, Step], Stage]] = {
    (Stage.ASKED, Step.MANIFEST): Stage.SIGNED,
    (Stage.SIGNED, Step.ORDER): Stage.ORDERED,
    (Stage.ORDERED, Step.LOG): Stage.LOGGED,
    (Stage.LOGGED, Step.FILES): Stage.ENDORSED,
    (Stage.ENDORSED, Step.SETUP): Stage.TRUSTED,
}
"""All there are; a step that fails leads to REFUSED."""


class RefusalError(BlindmatchError):
    """Something offered is refused.

    Attributes:
        error: for whoever asked for it.
        kind, epoch, shown, held: as of `Evidence`.
    """

    def __init__(self, error: DeviceError, kind: Kind, epoch: int, shown: bytes, held: bytes = b"") -> None:
        super().__init__(str(error))
        self.error = error
        self.kind = kind
        self.epoch = epoch
        self.shown = shown
        self.held = held


class Held(Struct, frozen=True):
    """What was adopted before, as far as an epoch is held against it.

    Attributes:
        newest: the highest epoch.
        near: the epoch itself, or the one it continues, or the newest.
        digests: of manifests, by epoch, from the one on that it continues.
    """

    newest: Adopted | None
    near: Adopted | None
    digests: Mapping[int, bytes]


class SetupFiles(Redacted, Struct, frozen=True):
    """An epoch's files as read-only memory maps."""

    epoch: int
    files: Buffers


class Endorsing(Struct, frozen=True):
    """The terms of one device; use `of`."""

    terms: Terms
    design: AnyDesign

    @classmethod
    def of(cls, config: DeviceConfig) -> Endorsing | None:
        """None where entries need no endorsement, or the device neither learns of matches nor makes vouchers:
        of a table with other entries than the list these would say more than is declared."""
        uses_set = Learner.DEVICE in config.design.info.learns or bool(config.design.vouchers)
        if config.endorsement is None or not uses_set:
            return None
        return cls(Terms(config.curator, config.design.info.name, config.endorsement), config.design)

    def table(self, files: Buffers, epoch: int) -> EndorsedTable:
        """The endorsements beside an epoch's set; `SetFileError` if there are none, or they are not of this
        epoch and policy."""
        if FILE not in files:
            raise SetFileError("the set bears no endorsements, and this device takes none without")
        keys = len(self.terms.policy.organisations)
        return EndorsedTable(files[FILE], self.design.info, epoch, keys)

    def verify(
        self, leaf: EpochLeaf | None, manifest: EpochManifest, files: Buffers, before: SetupFiles | None
    ) -> Verdict:
        """Whether an epoch is endorsed, as its leaf says, and so what it leaves out of `before`."""
        try:
            table = self.table(files, manifest.epoch)
        except SetFileError as error:
            return Failed(str(error))
        verdict = verify_table(table, self.terms, manifest.entries)
        if verdict != Passed():
            return verdict
        ours = Endorsement(self.terms.compute_root(table.read_batches()), self.terms.policy.encode())
        if leaf is not None and leaf.endorsement != ours:
            return Failed("everybody is shown other endorsements in the log")
        if before is None or FILE not in before.files:
            return verdict
        return verify_none_dropped(self.table(before.files, before.epoch), table)


class Demands(Redacted, Struct, frozen=True):
    """What a device demands of an epoch of its design.

    Attributes:
        curator: whose key must have signed it, Ed25519, 32 bytes.
        endorsing: None where entries need no endorsement.
    """

    design: AnyDesign
    party: Party
    curator: bytes
    endorsing: Endorsing | None

    def open(self, manifest: EpochManifest, files: Buffers) -> tuple[Any, int]:
        """The set-up, and from when on nothing is asked with it, in Unix seconds; `SetFileError` if the
        design cannot use the files."""
        of_design = {name: data for name, data in files.items() if name != FILE}
        setup = self._guard(lambda: self.design.open_setup(of_design, manifest.epoch))
        ends = self._guard(lambda: self.design.expires(setup))
        return setup, min(manifest.valid_until, ends or manifest.valid_until)

    def check_setup(self, manifest: EpochManifest, setup: Any) -> None:
        """Raise `SetFileError` unless a set-up is what its manifest says, in every section."""
        match verify_stated(manifest, self.design.stated(setup)):
            case Failed(reason):
                raise SetFileError(f"set-up of epoch {manifest.epoch}: {reason}")
        self._guard(lambda: self.design.check_setup(setup))

    def label_check(self, files: Buffers, epoch: int, setup: Any) -> Callable[[Label], Verdict]:
        """What says whether the entry of an opened label is endorsed; `SetFileError` if nothing of the set
        can be, or its endorsements were altered."""
        if self.endorsing is None:
            return lambda label: Passed()
        if self._guard(lambda: self.design.unconfirmed(setup)):
            raise SetFileError("a set of kind filter opens no label, so none of its entries can be endorsed")
        table = self.endorsing.table(files, epoch)
        terms = self.endorsing.terms
        table.check_intact()  # now, for all pictures: not at the first match
        return lambda label: verify_label(table, terms, label)

    def _guard(self, run: Callable[[], T]) -> T:
        """Whatever a design raises on hostile files becomes `SetFileError`."""
        try:
            return run()
        except BlindmatchError:
            raise
        except Exception as error:
            name = self.design.info.name
            raise SetFileError(f"set-up: design {name} cannot use it ({type(error).__name__})") from None


class TrustedSet:
    """One offer of an epoch; `seen` is what is to be kept of the log with it, once it is LOGGED. Every step
    raises `RefusalError` if the offer must not be adopted."""

    signed: SignedManifest
    seen: Seen
    _held: Held
    _leaf: EpochLeaf | None = None

    def __init__(self, demands: Demands) -> None:
        self.stage = Stage.ASKED
        self._demands = demands

    @property
    def trusted(self) -> tuple[SignedManifest, Seen]:
        """What is adopted of it, and kept of the log with it; `RuntimeError` unless every step was taken."""
        if self.stage is not Stage.TRUSTED:
            raise RuntimeError(f"an offer that is {self.stage} is not adopted")
        return self.signed, self.seen

    @contextmanager
    def _take(self, step: Step) -> Iterator[None]:
        after = TRANSITIONS.get((self.stage, step))
        if after is None:
            raise RuntimeError(f"an offer that is {self.stage}: {step} is not next")
        self.stage = Stage.REFUSED
        yield
        self.stage = after

    def take_manifest(self, raw: bytes) -> EpochManifest:
        """Take what is said to be a signed manifest; `SetFileError` if it is of another design; nobody is to
        blame for that."""
        demands = self._demands
        signed = None
        with self._take(Step.MANIFEST):
            if len(raw) <= SIGNED_MOST:
                with suppress(ProtocolError):
                    signed = SignedManifest.decode(raw)
            if signed is None or isinstance(verify_signature(signed, demands.curator), Failed):
                rule = "the epoch's manifest must be signed by the curator whose key this device has"
                error = MisbehavedError(demands.party, rule)
                raise RefusalError(error, Kind.UNSIGNED, 0 if signed is None else signed.manifest.epoch, raw)
            info = demands.design.info
            other = signed.manifest
            if not other.is_of(info):
                raise SetFileError(
                    f"set-up: must be of design {info.name} version {info.version}, not of "
                    f"{other.design!r} version {other.version}: the server has another design than this "
                    "device was made with"
                )
            self.signed = signed
        return signed.manifest

    def check_order(self, held: Held, now: int) -> None:
        """Compare it with what was adopted before, and with the time in Unix seconds."""
        with self._take(Step.ORDER):
            self._held = held
            manifest = self.signed.manifest
            older = verify_not_older(manifest, held.newest.epoch if held.newest else 0)
            self._expect(older, Kind.OLDER, held.newest, _TELL)
            self._expect(verify_consistent(manifest, held.digests), Kind.FORKED, held.near, SHOW)
            self._expect(verify_begun(manifest, now), Kind.EARLY, None, _CLOCK)

    def check_log(self, described: pb.Description, log: LogView, now: int) -> None:
        """Compare it with the log, at `now` in Unix seconds."""
        with self._take(Step.LOG):
            try:
                self.seen = log.check(self.signed, described, now)
            except UnloggedError as error:
                two = Kind.SPLIT if log.is_split(error) else Kind.UNCONTINUED
                kind = two if error.held else Kind.UNLOGGED
                remedy = SHOW if error.held else _LONGER if error.longer else _LOGGED
                self._refuse(str(error), kind, remedy, error.shown, error.held or error.longer)
            self._leaf = EpochLeaf.decode(described.leaf) if log.policy is not None else None

    def check_files(self, files: Buffers, before: SetupFiles | None) -> None:
        """Compare its endorsements, if the device demands any, with those of the epoch before."""
        with self._take(Step.FILES):
            if self._demands.endorsing is not None:
                manifest = self.signed.manifest
                verdict = self._demands.endorsing.verify(self._leaf, manifest, files, before)
                self._expect(verdict, Kind.UNENDORSED, self._held.newest, _OVERSEE)

    def check_setup(self, setup: Any) -> None:
        """Compare the opened files with the manifest; `SetFileError` if the set is faulty."""
        with self._take(Step.SETUP):
            self._demands.check_setup(self.signed.manifest, setup)

    def _expect(self, verdict: Verdict, kind: Kind, held: Adopted | None, remedy: str) -> None:
        match verdict:
            case Failed(reason):
                before = b"" if held is None else held.signed.encode()
                self._refuse(reason, kind, remedy, self.signed.encode(), before)

    def _refuse(self, reason: str, kind: Kind, remedy: str, shown: bytes, held: bytes) -> None:
        words = f"the {self._demands.party.server} offers a set that is refused: {reason}. {remedy}"
        raise RefusalError(EpochRefusedError(words), kind, self.signed.manifest.epoch, shown, held)
