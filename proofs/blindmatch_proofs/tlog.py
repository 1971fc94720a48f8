"""Read and write policies: who must have signed a checkpoint (c2sp.org/tlog-policy): a log, and witnesses.

    log VKEY                    whose name is the origin
    witness NAME VKEY [URL]     URL: where it takes checkpoints ("Defining a witness")
    group NAME any|all|K NAME...
    quorum NAME|none

Each key, and each name as a member, stands once, so that nobody counts twice. Witnesses that one operator
runs belong into a group `any` of its own (`build_policy` writes that), which counts once, too.
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
    decode_base64,
    encode_base64,
    find_signature,
    parse_decimal,
    verify_signature,
)
from blindmatch_proofs.verdict import Failed, Verdict

STEP: Final = "tlog-policy"
POLICY_MOST: Final = 1 << 16
NONE: Final = "none"
QUORUM: Final = "quorum"
"""The group that `build_policy` names as the quorum."""
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
        """Read a policy.

        Raises:
            ProtocolError: A line is none, a name is not known or not new, or a key or member stands twice.
        """
        if len(text) > POLICY_MOST or any(
            ord(character) < 0x20 and character not in "\t\n" for character in text
        ):
            raise ProtocolError(STEP, f"must be at most {POLICY_MOST} characters without controls")
        reader = _PolicyReader({}, {}, {}, [], set(), {})
        for line in text.split("\n"):
            words = line.replace("\t", " ").split()
            if words and not words[0].startswith("#"):
                reader.read_line(words)
        if len(reader.quorum) != 1:
            raise ProtocolError(STEP, "must have one quorum line", "quorum")
        return cls(text, reader.logs, reader.witnesses, reader.groups, reader.quorum[0], reader.urls)

    def accept(self, note: Note, now: int, most_age_s: int) -> Accepted | Failed:
        """Check a checkpoint against the policy, at `now` in Unix seconds.

        A cosignature older than `most_age_s`, or of a time to come, does not count. With a signature that
        claims to be by a key of the policy and is not, nothing counts (signed-note, "Signatures").
        """
        try:
            head = Checkpoint.from_note(note)
            log = self.logs.get(head.origin)
            if log is None:
                return Failed(f"the checkpoint is of {head.origin}, which is no log of the policy")
            times = collect_signing_times(note, {head.origin: log})[head.origin]
            cosigned = collect_signing_times(note, self.witnesses)
        except ProtocolError as error:
            return Failed(str(error))
        if not times:
            return Failed(f"the checkpoint is not signed by the key of {head.origin}")
        fresh = {
            name
            for name, signed_at in cosigned.items()
            if any(-SKEW_S <= now - time <= most_age_s for time in signed_at)
        }
        if not self.is_quorum(fresh):
            stale = sorted(name for name, signed_at in cosigned.items() if signed_at and name not in fresh)
            old = f"; older than {most_age_s} s or of a time to come: {', '.join(stale)}" if stale else ""
            present = ", ".join(sorted(fresh)) or "nobody"
            name = "" if self.quorum == QUORUM else f" {self.quorum}"
            return Failed(f"the quorum{name} of witnesses is not met, but by {present}{old}")
        return Accepted(head, frozenset(fresh))

    def is_quorum(self, witnessed: Iterable[str]) -> bool:
        """Tell if these witnesses are a quorum."""
        have = set(witnessed) & self.witnesses.keys() | {NONE}
        for name, group in self.groups.items():  # a group stands after its members
            if len(have.intersection(group.members)) >= group.least:
                have.add(name)
        return self.quorum in have


def collect_signing_times(note: Note, keys: Mapping[str, VerifierKey]) -> dict[str, list[int]]:
    """Collect when each of `keys` signed a checkpoint.

    Returns:
        Unix seconds by the key's name in `keys`; 0 for a log's own signature.

    Raises:
        ProtocolError: A signature claims to be by one of the keys and is not.
    """
    times: dict[str, list[int]] = {name: [] for name in keys}
    for name, key in keys.items():
        for signature in note.signatures:
            if signature.is_by(key):
                signed_at = verify_signature(key, signature, note.text)
                if signed_at is None:
                    raise ProtocolError(STEP, f"the signature by {key.name} must verify", "checkpoint")
                times[name].append(signed_at)
    return times


def build_policy(
    logs: Sequence[VerifierKey], operators: Mapping[str, Sequence[VerifierKey]], least: int
) -> Policy:
    """Build a policy that needs witnesses of at least `least` operators, each of which counts once."""
    lines = [f"log {key.text}" for key in logs]
    groups = [f"operator-{number}" for number in range(1, len(operators) + 1)]
    for group, keys in zip(groups, operators.values(), strict=True):
        lines += [f"witness {key.name} {key.text}" for key in keys]
        lines.append(f"group {group} any {' '.join(key.name for key in keys)}")
    if least:
        lines.append(f"group {QUORUM} {least} {' '.join(groups)}")
    lines.append(f"quorum {QUORUM if least else NONE}")
    return Policy.parse("".join(f"{line}\n" for line in lines))


class _PolicyReader(Struct, frozen=True):
    """Reads a policy line by line; holds the definitions so far."""

    logs: dict[str, VerifierKey]
    witnesses: dict[str, VerifierKey]
    groups: dict[str, Group]
    quorum: list[str]
    members: set[str]
    urls: dict[str, str]

    def read_line(self, words: list[str]) -> None:
        match words:
            case ["log", key] | ["log", key, _]:
                log_key = self._parse_key(key, self.logs, own=True)
                self._check_new(log_key.name, self.logs)
                self.logs[log_key.name] = log_key
            case ["witness", name, key, *url] if len(url) <= 1:
                witness_key = self._parse_key(key, self.witnesses, own=False)
                self._check_new(name, self.witnesses, self.groups)
                self.witnesses[name] = witness_key
                self.urls.update((name, prefix) for prefix in url)
            case ["group", name, least, *members] if members:
                self._check_new(name, self.witnesses, self.groups)
                self.groups[name] = self._read_group(least, members)
            case ["quorum", name]:
                if name != NONE:
                    self._check_defined(name)
                self.quorum.append(name)
            case _:
                raise ProtocolError(
                    STEP, "must be log, witness, group or quorum, with what belongs to it", "line"
                )

    def _parse_key(self, text: str, others: Mapping[str, VerifierKey], own: bool) -> VerifierKey:
        key = VerifierKey.parse(text)
        if (key.kind == ED25519) is not own:
            raise ProtocolError(STEP, "must be Ed25519 of a log, a cosignature key of a witness", "key")
        if any(key.public == other.public for other in others.values()):
            raise ProtocolError(STEP, "must not stand twice, under whatever name", "key")
        if any((key.name, key.id) == (other.name, other.id) for other in others.values()):
            raise ProtocolError(STEP, "must differ in name or id: one's signature is no other's", "key")
        return key

    def _read_group(self, least: str, members: list[str]) -> Group:
        """Return the group of a line, and note its members, which no other group may have."""
        for name in members:
            self._check_defined(name)
            if name in self.members:
                raise ProtocolError(STEP, "must be member of one group, once", "group")
            self.members.add(name)
        words = {"any": 1, "all": len(members)}
        if least in words:
            count = words[least]
        else:
            is_number = least.isascii() and least.isdecimal() and len(least) <= 5
            count = int(least) if is_number else 0
        if not 1 <= count <= len(members):
            raise ProtocolError(STEP, "must be any, all, or a number from 1 to that of its members", "group")
        return Group(count, tuple(members))

    def _check_new(self, name: str, *taken: Mapping[str, object]) -> None:
        if name == NONE or any(name in names for names in taken):
            raise ProtocolError(STEP, "must be new, and not none", "name")

    def _check_defined(self, name: str) -> None:
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
        """Return the body of the call."""
        lines = [f"{_OLD}{self.old}", *map(encode_base64, self.path), ""]
        return "".join(f"{line}\n" for line in lines).encode() + self.note.encode()

    @classmethod
    def parse(cls, raw: bytes) -> AddCheckpoint:
        """Read the request with this body; `ProtocolError` if there is none."""
        head, empty, note = raw[:REQUEST_MOST].partition(b"\n\n")
        if not empty or len(raw) > REQUEST_MOST:
            raise ProtocolError(
                REQUEST_STEP, f"must be a proof, an empty line, a checkpoint: {REQUEST_MOST} bytes"
            )
        old, *path = head.decode(errors="replace").split("\n")
        if not old.startswith(_OLD):
            raise ProtocolError(REQUEST_STEP, "must begin with old and a size", "old")
        return cls(
            parse_decimal(old.removeprefix(_OLD), REQUEST_STEP, "old"),
            parse_path(path, REQUEST_STEP),
            Note.parse(note),
        )


class Refused(Struct, frozen=True):
    """Why a checkpoint is not cosigned: a status, and the body that goes with it."""

    status: int
    body: str


def judge(
    request: AddCheckpoint, logs: Mapping[str, VerifierKey], latest: Checkpoint | None
) -> Checkpoint | Refused:
    """Decide if a witness may cosign a checkpoint.

    Args:
        logs: Keys of the logs that the witness watches, by origin.
        latest: The last checkpoint of this origin that the witness kept; None if it kept none.

    Returns:
        The checkpoint that the witness must keep before it cosigns, or why it refuses.
    """
    try:
        head = Checkpoint.from_note(request.note)
    except ProtocolError as error:
        return Refused(BAD_REQUEST, str(error))
    key = logs.get(head.origin)
    size = latest.size if latest else 0
    if key is None:
        return Refused(NOT_FOUND, "the origin is none that is watched here")
    if find_signature(key, request.note) is None:
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


def parse_path(lines: list[str], step: str) -> tuple[bytes, ...]:
    """Read the hashes of a proof, a line each; `ProtocolError` if they are none or too many."""
    path = tuple(decode_base64(line, step, "proof") for line in lines)
    if len(path) > merkle.PATH_MOST or any(len(node) != merkle.HASH_BYTES for node in path):
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
        """Return the file's bytes ("Format")."""
        lines = [HEADER, f"{_INDEX}{self.index}", *map(encode_base64, self.path), ""]
        return "".join(f"{line}\n" for line in lines).encode() + self.note.encode()

    @classmethod
    def parse(cls, raw: bytes) -> TlogProof:
        """Read the proof with these bytes; `ProtocolError` if there is none."""
        head, empty, note = raw[:PROOF_MOST].partition(b"\n\n")
        first, *lines = head.decode(errors="replace").split("\n")
        if not empty or len(raw) > PROOF_MOST or first != HEADER:
            raise ProtocolError(_PROOF, f"must begin with {HEADER} and have at most {PROOF_MOST} bytes")
        if not lines or not lines[0].startswith(_INDEX):
            raise ProtocolError(_PROOF, "must have an index and no extra data", "index")
        index = parse_decimal(lines[0].removeprefix(_INDEX), _PROOF, "index")
        return cls(index, parse_path(lines[1:], _PROOF), Note.parse(note))

    @property
    def head(self) -> Checkpoint:
        """Return the checkpoint in the note; `ProtocolError` if it has none."""
        return Checkpoint.from_note(self.note)

    def verify(self, entry: bytes) -> Verdict:
        """Verify that `entry` is in the tree of the checkpoint, whose signatures are not looked at here."""
        head = self.head
        return merkle.verify_inclusion(merkle.leaf_hash(entry), self.index, head.size, self.path, head.root)
