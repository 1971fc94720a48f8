"""Whose word a checkpoint needs (c2sp.org/tlog-policy): a log of a known key, and a quorum of witnesses.

    log VKEY                    whose name is the origin
    witness NAME VKEY [URL]     URL: where it takes checkpoints ("Defining a witness")
    group NAME any|all|K NAME...
    quorum NAME|none

Each key, and each name as a member, stands once, so that nobody counts twice. Witnesses that one operator
runs belong into a group `any` of its own (`policy_of` writes that), which counts once, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from blindmatch_protocol.codec.errors import ProtocolError
from msgspec import Struct

from blindmatch_proofs import merkle
from blindmatch_proofs.checkpoint import (
    ED25519,
    NOTE_MOST,
    Checkpoint,
    Note,
    VerifierKey,
    decimal,
    decoded,
    encoded,
    signature_by,
    verify_signature,
)
from blindmatch_proofs.verdict import Failed, Verdict

STEP: Final = "tlog-policy"
POLICY_MOST: Final = 1 << 16
NONE: Final = "none"
QUORUM: Final = "quorum"
"""The group that `policy_of` names as the quorum."""
SKEW_S: Final = 300
"""A witness's clock may be ahead of the verifier's by so much."""


class Group(Struct, frozen=True):
    """At least `least` of `members` must have witnessed."""

    least: int
    members: tuple[str, ...]


class Accepted(Struct, frozen=True):
    """A checkpoint that a policy accepts, and the witnesses whose fresh cosignature it has."""

    head: Checkpoint
    witnesses: frozenset[str]


class Policy(Struct, frozen=True):
    """A policy, read; `text` is as it was written, `urls` has the witnesses' submission prefixes by name."""

    text: str
    logs: Mapping[str, VerifierKey]
    witnesses: Mapping[str, VerifierKey]
    groups: Mapping[str, Group]
    quorum: str
    urls: Mapping[str, str] = {}

    @classmethod
    def parse(cls, text: str) -> Policy:
        """Read a policy; `ProtocolError` if a line is none, a name is not known or not new, a key or member
        stands twice."""
        if len(text) > POLICY_MOST or any(ord(one) < 0x20 and one not in "\t\n" for one in text):
            raise ProtocolError(STEP, f"must be at most {POLICY_MOST} characters without controls")
        reading = _Reading({}, {}, {}, [], set(), {})
        for line in text.split("\n"):
            words = line.replace("\t", " ").split()
            if words and not words[0].startswith("#"):
                reading.take(words)
        if len(reading.quorum) != 1:
            raise ProtocolError(STEP, "must have one quorum line", "quorum")
        return cls(text, reading.logs, reading.witnesses, reading.groups, reading.quorum[0], reading.urls)

    def accept(self, note: Note, now: int, most_age_s: int) -> Accepted | Failed:
        """Hold a checkpoint against the policy, at `now` in Unix seconds.

        A cosignature older than `most_age_s`, or of a time to come, does not count. With a signature that
        claims to be by a key of the policy and is not, nothing counts (signed-note, "Signatures").
        """
        try:
            head = Checkpoint.of(note)
            log = self.logs.get(head.origin)
            if log is None:
                return Failed(f"the checkpoint is of {head.origin}, which is no log of the policy")
            times = signing_times(note, {head.origin: log})[head.origin]
            cosigned = signing_times(note, self.witnesses)
        except ProtocolError as error:
            return Failed(str(error))
        if not times:
            return Failed(f"the checkpoint is not signed by the key of {head.origin}")
        fresh = {
            name for name, at in cosigned.items() if any(-SKEW_S <= now - one <= most_age_s for one in at)
        }
        if not self.satisfied(fresh):
            stale = sorted(name for name, at in cosigned.items() if at and name not in fresh)
            old = f"; older than {most_age_s} s or of a time to come: {', '.join(stale)}" if stale else ""
            found = ", ".join(sorted(fresh)) or "nobody"
            name = "" if self.quorum == QUORUM else f" {self.quorum}"
            return Failed(f"the quorum{name} of witnesses is not met, but by {found}{old}")
        return Accepted(head, frozenset(fresh))

    def satisfied(self, witnessed: Iterable[str]) -> bool:
        """Whether these witnesses are a quorum."""
        have = set(witnessed) & self.witnesses.keys() | {NONE}
        for name, group in self.groups.items():  # a group stands after its members
            if len(have.intersection(group.members)) >= group.least:
                have.add(name)
        return self.quorum in have


def signing_times(note: Note, keys: Mapping[str, VerifierKey]) -> dict[str, list[int]]:
    """When each of `keys` signed a checkpoint, in Unix seconds; 0 for a log's own signature; `ProtocolError`
    if a signature claims to be by one of them and is not."""
    found: dict[str, list[int]] = {name: [] for name in keys}
    for name, key in keys.items():
        for signature in note.signatures:
            if signature.is_by(key):
                at = verify_signature(key, signature, note.text)
                if at is None:
                    raise ProtocolError(STEP, f"the signature by {key.name} must verify", "checkpoint")
                found[name].append(at)
    return found


def policy_of(
    logs: Sequence[VerifierKey], operators: Mapping[str, Sequence[VerifierKey]], least: int
) -> Policy:
    """A policy that asks for witnesses of at least `least` operators, of which each counts once."""
    lines = [f"log {key.text}" for key in logs]
    groups = [f"operator-{number}" for number in range(1, len(operators) + 1)]
    for group, keys in zip(groups, operators.values(), strict=True):
        lines += [f"witness {key.name} {key.text}" for key in keys]
        lines.append(f"group {group} any {' '.join(key.name for key in keys)}")
    if least:
        lines.append(f"group {QUORUM} {least} {' '.join(groups)}")
    lines.append(f"quorum {QUORUM if least else NONE}")
    return Policy.parse("".join(f"{line}\n" for line in lines))


class _Reading(Struct, frozen=True):
    """What the lines so far have defined."""

    logs: dict[str, VerifierKey]
    witnesses: dict[str, VerifierKey]
    groups: dict[str, Group]
    quorum: list[str]
    members: set[str]
    urls: dict[str, str]

    def take(self, words: list[str]) -> None:
        match words:
            case ["log", key] | ["log", key, _]:
                made = self._key(key, self.logs, own=True)
                self._new(made.name, self.logs)
                self.logs[made.name] = made
            case ["witness", name, key, *url] if len(url) <= 1:
                made = self._key(key, self.witnesses, own=False)
                self._new(name, self.witnesses, self.groups)
                self.witnesses[name] = made
                self.urls.update((name, one) for one in url)
            case ["group", name, least, *members] if members:
                self._new(name, self.witnesses, self.groups)
                self.groups[name] = self._group(least, members)
            case ["quorum", name]:
                if name != NONE:
                    self._known(name)
                self.quorum.append(name)
            case _:
                raise ProtocolError(
                    STEP, "must be log, witness, group or quorum, with what belongs to it", "line"
                )

    def _key(self, text: str, others: Mapping[str, VerifierKey], own: bool) -> VerifierKey:
        key = VerifierKey.parse(text)
        if (key.kind == ED25519) is not own:
            raise ProtocolError(STEP, "must be Ed25519 of a log, a cosignature key of a witness", "key")
        if any(key.public == other.public for other in others.values()):
            raise ProtocolError(STEP, "must not stand twice, under whatever name", "key")
        if any((key.name, key.id) == (other.name, other.id) for other in others.values()):
            raise ProtocolError(STEP, "must differ in name or id: one's signature is no other's", "key")
        return key

    def _group(self, least: str, members: list[str]) -> Group:
        for name in members:
            self._known(name)
            if name in self.members:
                raise ProtocolError(STEP, "must be member of one group, once", "group")
            self.members.add(name)
        words = {"any": 1, "all": len(members)}
        is_number = least.isascii() and least.isdecimal() and len(least) <= 5
        count = words[least] if least in words else int(least) if is_number else 0
        if not 1 <= count <= len(members):
            raise ProtocolError(STEP, "must be any, all, or a number from 1 to that of its members", "group")
        return Group(count, tuple(members))

    def _new(self, name: str, *taken: Mapping[str, object]) -> None:
        if name == NONE or any(name in one for one in taken):
            raise ProtocolError(STEP, "must be new, and not none", "name")

    def _known(self, name: str) -> None:
        if name not in self.witnesses and name not in self.groups:
            raise ProtocolError(STEP, "must be defined on a line before", "name")


REQUEST_STEP: Final = "add-checkpoint"
OK = 200
BAD_REQUEST = 400
FORBIDDEN = 403
NOT_FOUND = 404
CONFLICT = 409
UNPROCESSABLE = 422
"""Statuses of the call, by their numbers in HTTP."""
REQUEST_MOST: Final = NOTE_MOST + 4096
_OLD: Final = "old "


class AddCheckpoint(Struct, frozen=True):
    """The request: the size that the witness is known to have, the proof from there, and the checkpoint."""

    old: int
    path: tuple[bytes, ...]
    note: Note

    def encode(self) -> bytes:
        """The body of the call."""
        lines = [f"{_OLD}{self.old}", *map(encoded, self.path), ""]
        return "".join(f"{line}\n" for line in lines).encode() + self.note.encode()

    @classmethod
    def parse(cls, raw: bytes) -> AddCheckpoint:
        """The request with this body; `ProtocolError` if there is none."""
        head, empty, note = raw[:REQUEST_MOST].partition(b"\n\n")
        if not empty or len(raw) > REQUEST_MOST:
            raise ProtocolError(
                REQUEST_STEP, f"must be a proof, an empty line, a checkpoint: {REQUEST_MOST} bytes"
            )
        old, *path = head.decode(errors="replace").split("\n")
        if not old.startswith(_OLD):
            raise ProtocolError(REQUEST_STEP, "must begin with old and a size", "old")
        return cls(
            decimal(old.removeprefix(_OLD), REQUEST_STEP, "old"),
            path_of(path, REQUEST_STEP),
            Note.parse(note),
        )


class Refused(Struct, frozen=True):
    """Why a checkpoint is not cosigned: a status, and the body that goes with it."""

    status: int
    body: str


def judge(
    request: AddCheckpoint, logs: Mapping[str, VerifierKey], latest: Checkpoint | None
) -> Checkpoint | Refused:
    """What the witness must keep before it cosigns, or why it does not: by the keys of the `logs` it watches,
    by origin, and the `latest` checkpoint of this origin that it kept, if there is one."""
    try:
        head = Checkpoint.of(request.note)
    except ProtocolError as error:
        return Refused(BAD_REQUEST, str(error))
    key = logs.get(head.origin)
    size = latest.size if latest else 0
    if key is None:
        return Refused(NOT_FOUND, "the origin is none that is watched here")
    if signature_by(key, request.note) is None:
        return Refused(FORBIDDEN, "the checkpoint must be signed by the log's key")
    if request.old > head.size:
        return Refused(BAD_REQUEST, "the old size must not be above the checkpoint's")
    if request.old != size:
        return Refused(CONFLICT, f"{size}\n")
    if latest is not None and latest.size == head.size and latest.root != head.root:
        return Refused(CONFLICT, f"{size}\n")
    root = latest.root if latest else merkle.EMPTY_ROOT
    match merkle.verify_consistency(size, head.size, request.path, root, head.root):
        case Failed(reason):
            return Refused(UNPROCESSABLE, reason)
    return head


def path_of(lines: list[str], step: str) -> tuple[bytes, ...]:
    """Hashes of a proof, a line each; `ProtocolError` if they are none or too many."""
    path = tuple(decoded(line, step, "proof") for line in lines)
    if len(path) > merkle.PATH_MOST or any(len(one) != merkle.HASH_BYTES for one in path):
        raise ProtocolError(
            step, f"must be at most {merkle.PATH_MOST} hashes of {merkle.HASH_BYTES} bytes", "proof"
        )
    return path


_PROOF: Final = "tlog-proof"
HEADER: Final = "c2sp.org/tlog-proof@v1"
PROOF_MOST: Final = 1 << 16
_INDEX: Final = "index "


class TlogProof(Struct, frozen=True):
    """Where an entry is, how its hash leads to the root, and the checkpoint that says the root."""

    index: int
    path: tuple[bytes, ...]
    note: Note

    def encode(self) -> bytes:
        """The file's bytes ("Format")."""
        lines = [HEADER, f"{_INDEX}{self.index}", *map(encoded, self.path), ""]
        return "".join(f"{line}\n" for line in lines).encode() + self.note.encode()

    @classmethod
    def parse(cls, raw: bytes) -> TlogProof:
        """The proof with these bytes; `ProtocolError` if there is none."""
        head, empty, note = raw[:PROOF_MOST].partition(b"\n\n")
        first, *lines = head.decode(errors="replace").split("\n")
        if not empty or len(raw) > PROOF_MOST or first != HEADER:
            raise ProtocolError(_PROOF, f"must begin with {HEADER} and have at most {PROOF_MOST} bytes")
        if not lines or not lines[0].startswith(_INDEX):
            raise ProtocolError(_PROOF, "must have an index and no extra data", "index")
        index = decimal(lines[0].removeprefix(_INDEX), _PROOF, "index")
        return cls(index, path_of(lines[1:], _PROOF), Note.parse(note))

    @property
    def head(self) -> Checkpoint:
        """What the checkpoint says; `ProtocolError` if it says none."""
        return Checkpoint.of(self.note)

    def verify(self, entry: bytes) -> Verdict:
        """Whether `entry` is in the tree of the checkpoint, whose signatures are not looked at here."""
        head = self.head
        return merkle.verify_inclusion(merkle.leaf_hash(entry), self.index, head.size, self.path, head.root)
