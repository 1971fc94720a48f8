"""What an account has adopted of a design, and what it was shown instead: kept for good, one row each.

An epoch's row is written once its set was checked, and is what the highest epoch and the one digest of an
epoch are known by. A fault in its use is written into the row, and stays until the epoch is mended here or a
newer one adopted. Evidence is never removed: it holds both manifests that contradict one another.
"""

from __future__ import annotations

from enum import StrEnum
from hashlib import sha256
from typing import Final

from blindmatch_protocol.contract import AnyDesign
from blindmatch_protocol.messages.epoch_manifest import SignedManifest
from msgspec import Struct

from blindmatch_client.store.store import Store

_NEWEST: Final = (1 << 63) - 1
MOST_ROWS: Final = 1000
"""Evidence of one kind at most, but of those that are always kept."""


class Kind(StrEnum):
    """What was wrong."""

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


ALWAYS_KEPT: Final = frozenset({Kind.FORKED, Kind.SPLIT, Kind.ENTRY})
"""What convicts whoever signed it, or who published the set: none is dropped for how many there are."""


class Adopted(Struct, frozen=True):
    """An epoch that was adopted.

    Attributes:
        signed: its manifest.
        fault: why nothing is asked with it any more; None while it is used.
        examined: whether all its bytes were found right after the fault.
    """

    signed: SignedManifest
    fault: str | None = None
    examined: bool = False

    @property
    def epoch(self) -> int:
        """Its number."""
        return self.signed.manifest.epoch


class Evidence(Struct, frozen=True):
    """Something that an account was shown and refused, or a set that failed.

    Attributes:
        kind: what was wrong.
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
        """The same for the same finding at another time."""
        parts = (self.kind.encode(), self.words.encode(), self.shown, self.held)
        return sha256(b"".join(len(part).to_bytes(8, "big") + part for part in parts)).digest()


class Doubt(StrEnum):
    """Whom a device distrusts; each is ended by the user, apart from the other."""

    ROLES = "distrust"
    LOG = "distrust-log"


class AdoptionRecord:
    """The rows of one design, and whether the user still trusts its roles and its log."""

    def __init__(self, store: Store, design: AnyDesign) -> None:
        self._store = store
        self._design = design.info.name
        kept = {of: store.get(f"{of}/{self._design}") for of in Doubt}
        self._doubts = {of: reason.decode() for of, reason in kept.items() if reason is not None}

    def doubted(self, of: Doubt) -> str | None:
        """How one of the roles, or the log, cheated, if it did and the user has not said to go on."""
        return self._doubts.get(of)

    def doubt(self, of: Doubt, reason: str) -> None:
        """Ask nothing any more until the user says so."""
        self._store.put(f"{of}/{self._design}", reason.encode())
        self._doubts[of] = reason

    def forgive(self, of: Doubt) -> None:
        """Go on, after roles also with sets that failed. What was adopted, and all evidence, stays."""
        self._doubts.pop(of, None)
        with self._store.transaction():
            self._store.forget(f"{of}/{self._design}")
            if of is Doubt.ROLES:
                self._store.run(
                    "UPDATE adopted SET fault = NULL, examined = 0 WHERE design = ?", self._design
                )

    def newest(self) -> Adopted | None:
        """The highest epoch that was ever adopted, whatever the version of its files."""
        return next(iter(self._adopted(0, _NEWEST, 1)), None)

    def digests(self, since: int) -> dict[int, bytes]:
        """The digest of each adopted epoch's manifest, from epoch `since` on."""
        return {one.epoch: one.signed.manifest.digest for one in self._adopted(since, _NEWEST)}

    def of(self, epoch: int) -> Adopted | None:
        """An epoch, if it was adopted."""
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

    def fail(self, fault: Evidence) -> None:
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
        """What `note_endorsed` noted."""
        return self._store.get(f"endorsed/{self._design}/{epoch}")

    def examined(self, epoch: int) -> None:
        """Note that every byte of an epoch that failed was compared, and is right."""
        self._store.run("UPDATE adopted SET examined = 1 WHERE (design, epoch) = (?, ?)", self._design, epoch)

    def keep(self, found: Evidence) -> None:
        """Keep evidence for good; once, however often it is seen.

        Past `MOST_ROWS` of its kind it is dropped, unless its kind is always kept.
        """
        if found.kind not in ALWAYS_KEPT and self._count(found.kind) >= MOST_ROWS:
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

    def _count(self, kind: Kind) -> int:
        row = self._store.one(
            "SELECT count(*) FROM evidence WHERE (design, kind) = (?, ?)", self._design, str(kind)
        )
        return int(row[0]) if row else 0

    def evidence(self) -> list[Evidence]:
        """All of it, oldest first."""
        rows = self._store.all(
            "SELECT kind, epoch, opened(words, 'evidence.words', name), found_at_ms,"
            " opened(shown_manifest, 'evidence.shown_manifest', name),"
            " opened(held_manifest, 'evidence.held_manifest', name)"
            " FROM evidence WHERE design = ? ORDER BY found_at_ms, name",
            self._design,
        )
        return [Evidence(Kind(row[0]), *row[1:]) for row in rows]

    def _adopted(self, first: int, last: int, most: int = -1) -> list[Adopted]:
        """Epochs from `first` to `last`, the highest first."""
        rows = self._store.all(
            "SELECT opened(manifest, 'adopted.manifest', ?1 || '/' || epoch),"
            " opened(fault, 'adopted.fault', ?1 || '/' || epoch), examined"
            " FROM adopted WHERE design = ?1 AND epoch BETWEEN ?2 AND ?3 ORDER BY epoch DESC LIMIT ?4",
            *(self._design, first, last, most),
        )
        return [Adopted(SignedManifest.decode(row[0]), row[1], bool(row[2])) for row in rows]

    def _row(self, epoch: int) -> str:
        return f"{self._design}/{epoch}"
