"""Decide, step by step, if an offered epoch may be adopted; sans-IO, as python-tuf's `TrustedMetadataSet`.

    ASKED --manifest--> SIGNED --order--> ORDERED --log--> LOGGED --files--> ENDORSED --setup--> TRUSTED

    manifest  the curator signed it, for this design
    order     not older than what was adopted, no second one of an epoch, begun
    log       a quorum shows it to be everybody's newest, and the log to continue all that was seen
    files     each entry endorsed, and none dropped since the epoch before
    setup     the files say what the manifest says; every section checked by the design

A step that fails leaves the offer REFUSED, and its error has what to keep as evidence. The caller fetches,
stores and reads the clock (adoption.py).
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
    """Why an offer was refused, a set is not used any more, or a match was dropped."""

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
"""Proof that the signer or the publisher of a set cheated: kept however many there are."""


class Adopted(Struct, frozen=True):
    """An epoch that was adopted.

    Attributes:
        fault: why nothing is asked with it any more; None while it is used.
        examined: True if every byte was compared after the fault, and found right.
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
        epoch: number of the set it is about; 0 if that could not be read.
        words: what happened, for people.
        found_at_ms: when it was seen first, in Unix milliseconds.
        shown: what was refused: an encoded signed manifest or, of an entry, its label.
        held: the manifest that it contradicts, or the one of the epoch that the entry is in; empty if none.
    """

    kind: Kind
    epoch: int
    words: str
    found_at_ms: int
    shown: bytes = b""
    held: bytes = b""

    @property
    def name(self) -> bytes:
        """Name of the row: the same for the same evidence, whenever it was found."""
        parts = (self.kind.encode(), self.words.encode(), self.shown, self.held)
        return sha256(b"".join(len(part).to_bytes(8, "big") + part for part in parts)).digest()


class Doubt(StrEnum):
    """A party that the device distrusts. The user ends each doubt by itself."""

    ROLES = "distrust"
    LOG = "distrust-log"


DOUBT_BY_KIND: Final = {
    **dict.fromkeys((Kind.UNSIGNED, Kind.OLDER, Kind.FORKED, Kind.BYTES), Doubt.ROLES),
    **dict.fromkeys((Kind.SPLIT, Kind.UNCONTINUED), Doubt.LOG),
}
"""The party to doubt after what only a cheating party offers. The other kinds have innocent causes: a wrong
clock, or a mistake of the curator's."""
_TELL_OPERATOR: Final = "Tell whoever runs it; nothing is asked any more until you say so."
SHOW: Final = (
    "Both are kept on this device, in `status`: show them to whoever oversees the list. Nothing is asked any "
    "more until you say so."
)
UNWITNESSED: Final = "No quorum cosigned that, so no device takes an epoch of it. Both are kept, in `status`."
DISMISSED: Final = (
    "A quorum cosigned that, and you said to go on when it was held. Both are kept, in `status`: show them "
    "to whoever oversees the list."
)
_SHOW_MANIFEST: Final = (
    "Its manifest is kept on this device, in `status`: show it to whoever oversees the list."
)
_ASK_PUBLISHER: Final = (
    "What was adopted stays in use until it ends. If the clock is right, ask the publisher."
)
_AWAIT_LONGER: Final = (
    "A peer was shown that, cosigned by a quorum: no other is taken before it, unless you say so."
)
_CHECK_CLOCK: Final = "It is not used before; if that time has passed, set this device's clock."


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
"""Every legal step. A step that fails leads to REFUSED instead."""


class RefusalError(BlindmatchError):
    """An offer, or a part of it, is refused.

    Attributes:
        error: what the caller raises in its place.
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
    """The adopted epochs that an offered one is compared with.

    Attributes:
        newest: the highest adopted epoch.
        near: the offered epoch itself if it was adopted, else the one it continues, else the newest.
        digests: digests of the manifests from the continued epoch on, by epoch.
    """

    newest: Adopted | None
    near: Adopted | None
    digests: Mapping[int, bytes]


class SetupFiles(Redacted, Struct, frozen=True):
    """An epoch's files as read-only memory maps."""

    epoch: int
    files: Buffers


class Endorsing(Struct, frozen=True):
    """The endorsements that one device demands; made by `from_config`."""

    terms: Terms
    design: AnyDesign

    @classmethod
    def from_config(cls, config: DeviceConfig) -> Endorsing | None:
        """Return what the device demands; None if it demands nothing.

        That is so where entries need no endorsement, and where the device neither learns of matches nor makes
        vouchers. The table of such a device has other entries than the list, so endorsements beside it would
        disclose more than the design declares.
        """
        uses_set = Learner.DEVICE in config.design.info.learns or bool(config.design.vouchers)
        if config.endorsement is None or not uses_set:
            return None
        return cls(Terms(config.curator, config.design.info.name, config.endorsement), config.design)

    def open_table(self, files: Buffers, epoch: int) -> EndorsedTable:
        """Open the endorsements beside an epoch's set.

        Raises:
            SetFileError: There are none, or they are of another epoch or policy.
        """
        if FILE not in files:
            raise SetFileError("the set bears no endorsements, and this device takes none without")
        keys = len(self.terms.policy.organisations)
        return EndorsedTable(files[FILE], self.design.info, epoch, keys)

    def verify(
        self, leaf: EpochLeaf | None, manifest: EpochManifest, files: Buffers, before: SetupFiles | None
    ) -> Verdict:
        """Verify that an epoch is endorsed as its leaf says, and continues the endorsements of `before`."""
        try:
            table = self.open_table(files, manifest.epoch)
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
        return verify_none_dropped(self.open_table(before.files, before.epoch), table)


class Demands(Redacted, Struct, frozen=True):
    """What a device demands of an epoch of its design.

    Attributes:
        party: the host that offers it.
        curator: public key that must have signed it, Ed25519, 32 bytes.
        endorsing: the endorsements it needs; None if none.
    """

    design: AnyDesign
    party: Party
    curator: bytes
    endorsing: Endorsing | None

    def open(self, manifest: EpochManifest, files: Buffers) -> tuple[Any, int]:
        """Open an epoch's set-up.

        Returns:
            The design's set-up, and the Unix time in seconds from which on nothing is asked with it.

        Raises:
            SetFileError: The design cannot use the files.
        """
        of_design = {name: data for name, data in files.items() if name != FILE}
        setup = self._guard(lambda: self.design.open_setup(of_design, manifest.epoch))
        ends = self._guard(lambda: self.design.expires(setup))
        return setup, min(manifest.valid_until, ends or manifest.valid_until)

    def check_setup(self, manifest: EpochManifest, setup: Any) -> None:
        """Check that a set-up is what its manifest says, in every section.

        Raises:
            SetFileError: It is not.
        """
        match verify_stated(manifest, self.design.stated(setup)):
            case Failed(reason):
                raise SetFileError(f"set-up of epoch {manifest.epoch}: {reason}")
        self._guard(lambda: self.design.check_setup(setup))

    def build_label_check(self, files: Buffers, epoch: int, setup: Any) -> Callable[[Label], Verdict]:
        """Build the check that the entry of an opened label is endorsed.

        Raises:
            SetFileError: No entry of the set can be endorsed, or its endorsements were altered.
        """
        if self.endorsing is None:
            return lambda label: Passed()
        if self._guard(lambda: self.design.unconfirmed(setup)):
            raise SetFileError("a set of kind filter opens no label, so none of its entries can be endorsed")
        table = self.endorsing.open_table(files, epoch)
        terms = self.endorsing.terms
        table.check_intact()  # once for all pictures: at the first match it would delay that one picture
        return lambda label: verify_label(table, terms, label)

    def _guard(self, run: Callable[[], T]) -> T:
        """Run a step of the design; whatever it raises on hostile files becomes `SetFileError`."""
        try:
            return run()
        except BlindmatchError:
            raise
        except Exception as error:
            name = self.design.info.name
            raise SetFileError(f"set-up: design {name} cannot use it ({type(error).__name__})") from None


class TrustedSet:
    """One offer of an epoch. Every step raises `RefusalError` if the offer must not be adopted.

    Attributes:
        signed: the offered manifest, once it is SIGNED.
        seen: what to keep of the log if the epoch is adopted, once it is LOGGED.
    """

    signed: SignedManifest
    seen: Seen
    _held: Held
    _leaf: EpochLeaf | None = None

    def __init__(self, demands: Demands) -> None:
        self.stage = Stage.ASKED
        self._demands = demands

    @property
    def trusted(self) -> tuple[SignedManifest, Seen]:
        """The manifest to adopt, and what to keep of the log with it.

        Raises:
            RuntimeError: A step was not taken yet, or failed.
        """
        if self.stage is not Stage.TRUSTED:
            raise RuntimeError(f"an offer that is {self.stage} is not adopted")
        return self.signed, self.seen

    @contextmanager
    def _take(self, step: Step) -> Iterator[None]:
        """Take one step: the stage moves on only if nothing is raised inside."""
        after = TRANSITIONS.get((self.stage, step))
        if after is None:
            raise RuntimeError(f"an offer that is {self.stage}: {step} is not next")
        self.stage = Stage.REFUSED
        yield
        self.stage = after

    def take_manifest(self, raw: bytes) -> EpochManifest:
        """Decode what is said to be a signed manifest, and verify its signature.

        Raises:
            SetFileError: It is of another design; nobody is to blame for that.
        """
        demands = self._demands
        signed = None
        with self._take(Step.MANIFEST):
            if len(raw) <= SIGNED_MOST:
                with suppress(ProtocolError):
                    signed = SignedManifest.decode(raw)
            if signed is None or isinstance(verify_signature(signed, demands.curator), Failed):
                rule = "the epoch's manifest must be signed by the curator whose key this device has"
                error = MisbehavedError(demands.party, rule)
                claimed_epoch = 0 if signed is None else signed.manifest.epoch
                raise RefusalError(error, Kind.UNSIGNED, claimed_epoch, raw)
            info = demands.design.info
            manifest = signed.manifest
            if not manifest.is_of(info):
                raise SetFileError(
                    f"set-up: must be of design {info.name} version {info.version}, not of "
                    f"{manifest.design!r} version {manifest.version}: the server has another design than "
                    "this device was made with"
                )
            self.signed = signed
        return manifest

    def check_order(self, held: Held, now: int) -> None:
        """Compare the manifest with what was adopted before, at `now` in Unix seconds."""
        with self._take(Step.ORDER):
            self._held = held
            manifest = self.signed.manifest
            newest_epoch = 0 if held.newest is None else held.newest.epoch
            not_older = verify_not_older(manifest, newest_epoch)
            self._expect(not_older, Kind.OLDER, held.newest, _TELL_OPERATOR)
            self._expect(verify_consistent(manifest, held.digests), Kind.FORKED, held.near, SHOW)
            self._expect(verify_begun(manifest, now), Kind.EARLY, None, _CHECK_CLOCK)

    def check_log(self, described: pb.Description, log: LogView, now: int) -> None:
        """Compare the manifest with the log, at `now` in Unix seconds."""
        with self._take(Step.LOG):
            try:
                self.seen = log.check(self.signed, described, now)
            except UnloggedError as error:
                if error.held:
                    kind = Kind.SPLIT if log.is_split(error) else Kind.UNCONTINUED
                    remedy = SHOW
                else:
                    kind = Kind.UNLOGGED
                    remedy = _AWAIT_LONGER if error.longer else _ASK_PUBLISHER
                self._refuse(str(error), kind, remedy, error.shown, error.held or error.longer)
            self._leaf = EpochLeaf.decode(described.leaf) if log.policy is not None else None

    def check_files(self, files: Buffers, before: SetupFiles | None) -> None:
        """Verify the endorsements, if the device demands any, also against those of the epoch before."""
        with self._take(Step.FILES):
            if self._demands.endorsing is not None:
                manifest = self.signed.manifest
                verdict = self._demands.endorsing.verify(self._leaf, manifest, files, before)
                self._expect(verdict, Kind.UNENDORSED, self._held.newest, _SHOW_MANIFEST)

    def check_setup(self, setup: Any) -> None:
        """Compare the opened set-up with the manifest.

        Raises:
            SetFileError: The set is faulty.
        """
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
