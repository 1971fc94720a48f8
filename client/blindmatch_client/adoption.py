"""How an epoch comes into use: once, as a whole, and off the path of any picture.

    Describe --> signed by the curator? fits what was adopted? begun? --> fetch what its manifest says
        --> open, compare with it, check every section (`Design.check_setup`) --> adopted row --> use
    a fault in use --> the epoch's row says so: nothing is asked with it, for whatever picture
        --> every byte is compared: damaged here: fetch that, check, adopt again; else wait for a newer epoch

What is done never depends on a picture. Each step can be cut off and begun again: an epoch is used only once
its row is there. What a server should not have offered, and what failed, is kept (evidence.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from blindmatch_proofs.epoch_manifest import (
    verify_begun,
    verify_consistent,
    verify_not_older,
    verify_signature,
    verify_stated,
)
from blindmatch_proofs.verdict import Failed, Verdict
from blindmatch_protocol.contract import AnyDesign, Party
from blindmatch_protocol.epoch_manifest import SIGNED_MOST, EpochManifest, SignedManifest
from blindmatch_protocol.errors import BlindmatchError, ProtocolError, SetFileError
from blindmatch_protocol.failpoint import reach
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb

from blindmatch_client.egress import Call, Egress
from blindmatch_client.egress.methods import DESCRIBE
from blindmatch_client.errors import EpochRefusedError, MisbehavedError
from blindmatch_client.evidence import Adopted, AdoptionRecord, Evidence, Kind
from blindmatch_client.setup import SetupFiles, SetupStore
from blindmatch_client.trace import Purpose

T = TypeVar("T")

TELLING: Final = frozenset({Kind.UNSIGNED, Kind.OLDER, Kind.FORKED, Kind.BYTES})
"""What only a party that cheats offers. A clock may be wrong, and a faulty set is the curator's mistake."""
_TELL: Final = "Tell whoever runs it; nothing is asked any more until you say so."
_SHOW: Final = (
    "Both manifests are kept on this device, in `status`: show them to whoever oversees the list. Nothing is "
    "asked any more until you say so."
)
_CLOCK: Final = "It is not used before; if that time has passed, set this device's clock."
_NEWER: Final = "Nothing is asked with it, for any picture; a newer epoch takes its place by itself."


@dataclass(frozen=True, slots=True, repr=False)
class Opened:
    """An adopted epoch, opened.

    Attributes:
        epoch: its number.
        setup: the design's.
        ends: Unix time in seconds from which on nothing is asked with it.
    """

    epoch: int
    setup: Any
    ends: int


class Adoption:
    """The epochs of one design on this device.

    Args:
        design: the design.
        egress: the way out.
        party: who serves the set-up.
        record: of what was adopted and refused.
        folder: keeps the set-up files.
        curator: the public key that signs epochs, Ed25519, 32 bytes.
        clock_ms: Unix time in milliseconds.
    """

    def __init__(
        self,
        design: AnyDesign,
        egress: Egress,
        party: Party,
        record: AdoptionRecord,
        folder: Path,
        curator: bytes,
        clock_ms: Callable[[], int],
    ) -> None:
        self._design = design
        self._egress = egress
        self._party = party
        self._record = record
        self._setups = SetupStore(folder, design)
        self._curator = curator
        self._clock_ms = clock_ms

    def here(self) -> Opened | None:
        """The adopted epoch, if it is whole and has no fault; nobody is asked."""
        adopted = self._record.newest()
        if adopted is None or adopted.fault is not None or not self._is_mine(adopted.signed.manifest):
            return None
        files = self._setups.whole(adopted.signed.manifest)
        try:
            return None if files is None else self._opened(adopted.signed.manifest, files)
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
        signed = self._offered()
        adopted = self._record.of(signed.manifest.epoch)
        files = None if adopted is None else self._still_whole(adopted)
        if adopted is not None and files is not None:
            if adopted.fault is not None:
                raise EpochRefusedError(adopted.fault)
            return self._opened(signed.manifest, files)
        with self._noting(signed):
            files = self._setups.complete(signed.manifest, self._egress, self._party)
            opened = self._checked(signed.manifest, files)
        reach("setup.adopt.before")
        self._record.adopt(signed)
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

    def _offered(self) -> SignedManifest:
        """The manifest that the host describes, held against every rule."""
        call = Call(self._party, DESCRIBE, Purpose.SETUP, idempotent=True)
        signed = self._signed(self._egress.unary(call, pb.DescribeRequest()).manifest)
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
        self._expect(verify_consistent(manifest, record.digests()), Kind.FORKED, signed, other, _SHOW)
        self._expect(verify_begun(manifest, self._clock_ms() // 1000), Kind.EARLY, signed, None, _CLOCK)
        return signed

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
            self._record.doubt(words)

    def _checked(self, manifest: EpochManifest, files: SetupFiles) -> Opened:
        """The set-up, opened, as its manifest says, every section of it checked by the design."""
        opened = self._opened(manifest, files)
        match verify_stated(manifest, self._design.stated(opened.setup)):
            case Failed(reason):
                raise SetFileError(f"set-up of epoch {manifest.epoch}: {reason}")
        self._guarded(lambda: self._design.check_setup(opened.setup))
        return opened

    def _opened(self, manifest: EpochManifest, files: SetupFiles) -> Opened:
        setup = self._guarded(lambda: self._design.open_setup(files.files, files.epoch))
        ends = self._guarded(lambda: self._design.expires(setup))
        return Opened(files.epoch, setup, min(manifest.valid_until, ends or manifest.valid_until))

    def _guarded(self, run: Callable[[], T]) -> T:
        """Whatever a design raises on hostile files becomes `SetFileError`."""
        try:
            return run()
        except BlindmatchError:
            raise
        except Exception as error:
            name = self._design.info.name
            raise SetFileError(f"set-up: design {name} cannot use it ({type(error).__name__})") from None
