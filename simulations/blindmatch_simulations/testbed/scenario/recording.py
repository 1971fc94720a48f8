"""A run as a file: what was done, what left each device, and what it recorded. Version 2;
docs/reference/results.md.

Each line is handed to the system before anything else happens, so a killed run leaves all but its last line
whole. It is of generated or bundled pictures, and readable by its owner alone.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec
from blindmatch_client.settings import list_device_facts
from blindmatch_client.store.outbox import decode_outcome, encode_outcome
from blindmatch_client.trace import EgressRecord, EnrolmentTrace, MessageTrace, Purpose, Round, SessionTrace
from blindmatch_protocol.codec.errors import BlindmatchError
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import Adversary, AnyDesign, Binding, Fact, Item, Learner, Party, Severity
from blindmatch_protocol.contract.declaration import of_no_picture
from blindmatch_protocol.contract.design import coalitions, told
from blindmatch_protocol.messages.franking import DEFAULT_MODE, FrankingMode
from blindmatch_protocol.picture.decode import Picture
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from msgspec import Struct, field
from msgspec.structs import replace

from blindmatch_simulations.testbed.audit import Evidence, Told
from blindmatch_simulations.testbed.deployment.hosting import parties_of
from blindmatch_simulations.testbed.scenario.operations import AddDevice, Operation
from blindmatch_simulations.testbed.scenario.run import Cost, Event, Shown

FORMAT: Final = "blindmatch-recording"
VERSION: Final = 2
"""Goes up when a reader of the earlier version would misread or refuse a file."""
MOST_BYTES: Final = 1 << 30


class RecordingError(BlindmatchError):
    """A file is no recording of this version."""


class _Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="line"):
    """Frozen and strict."""


Words: TypeAlias = Annotated[str, msgspec.Meta(max_length=2_000)]
Some: TypeAlias = Annotated[tuple[Words, ...], msgspec.Meta(max_length=50)]


class Said(Struct, frozen=True, forbid_unknown_fields=True):
    """A declared fact; `arrives` if a request that arrives is all there is to know."""

    name: Words
    says: Words
    severity: Severity
    arrives: bool

    @classmethod
    def of(cls, fact: Fact) -> Said:
        links = (Severity.TIMES, Severity.LINKS)
        return cls(
            fact.name, fact.says, fact.severity, fact.project is of_no_picture and fact.severity in links
        )


OUTCOME: Final = Said("outcome", "whether the picture is listed", Severity.OUTCOME, False)
"""What a role learns of each picture, where a server is to learn outcomes."""


class Declared(Struct, frozen=True, forbid_unknown_fields=True):
    """What is declared to a coalition, or to one party; `adversary` is what it is assumed to do."""

    parties: Some
    adversary: Adversary
    facts: Annotated[tuple[Said, ...], msgspec.Meta(max_length=100)]


class Attack(Struct, frozen=True, forbid_unknown_fields=True):
    """The attack that was played: its name, the parties that the adversary holds, and what these do."""

    name: Words
    holds: Some
    does: Words


class Head(_Line, frozen=True, tag="head"):
    """The first line: what was run, and when, and the design's declaration.

    Attributes:
        evaluation, content, end_to_end, roles: of the design's `Info`.
        declared: by the design; what the messenger declares stands with each device that was added.
    """

    format: Literal["blindmatch-recording"]
    version: Literal[2]
    design: str
    design_version: int
    made_at: str
    option: Words
    summary: Words
    evaluation: str
    content: str
    end_to_end: bool
    roles: dict[str, str]
    parties: Some
    declared: Annotated[tuple[Declared, ...], msgspec.Meta(max_length=200)]
    attack: Attack | None = None


class Request(_Line, frozen=True, tag="request"):
    """A request that was about to leave; of a call with several, the `part`th, from 0 on."""

    account: str
    sequence: int
    part: int
    party: str
    method: str
    purpose: Purpose
    item: int | None
    at_ms: int
    body: bytes


class Spent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an operation cost the device: milliseconds, and bytes up and down by purpose."""

    wall_ms: float
    cpu_ms: float
    bytes: dict[str, tuple[int, int]]


class Played(_Line, frozen=True, tag="event"):
    """An operation that was played.

    Attributes:
        outcome, item: what the device learnt of a picture it sent, and the picture's number.
        noticed: what the device holds against somebody since then, in words.
        received: of messages that came, the sender and how many pictures it bears.
        reports: what the centre holds, when its machine has checked that: state, and what the checks came to.
        declared: to each party by the messenger, where a device was added.
    """

    number: int
    at_ms: int
    operation: Operation
    error: str = ""
    outcome: str = ""
    delivered: bool | None = None
    spent: Spent | None = None
    item: int | None = None
    noticed: tuple[str, ...] = ()
    received: tuple[tuple[str, int], ...] = ()
    reports: tuple[tuple[str, str], ...] | None = None
    declared: tuple[Declared, ...] = ()


class Session(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A `SessionTrace`; the outcome as a device stores it, None if the session failed."""

    item: int
    state_before: bytes
    tape: bytes
    rounds: tuple[Round, ...]
    outcome: bytes | None
    binding: Binding


class DeviceLine(_Line, frozen=True, tag="device"):
    """An `Evidence` without the pictures' pixels; `arrived` has party, method and bytes.

    Attributes:
        calls: its records, whose requests stand in lines of their own.
        shown: what the parties with roles could read of each picture.
    """

    account: str
    told: Told
    calls: tuple[EgressRecord, ...]
    sessions: tuple[Session, ...]
    messages: tuple[MessageTrace, ...]
    enrolments: tuple[EnrolmentTrace, ...]
    drawn: tuple[bytes, ...]
    files: dict[int, bytes]
    arrived: tuple[tuple[str, str, int], ...] | None = None
    shown: tuple[Shown, ...] = ()


Line: TypeAlias = Head | Request | Played | DeviceLine


class Recording(Redacted, Struct, frozen=True):
    """A recording that was read.

    Attributes:
        devices: what each device recorded, by account.
        lines: requests and events, in the order in which they were written.
        torn: whether the last line is incomplete, since the run was ended while it was written.
    """

    head: Head
    events: Sequence[Played]
    devices: Mapping[str, DeviceLine] = field(default_factory=dict)
    lines: Sequence[Request | Played] = ()
    torn: bool = False

    def records(self, account: str) -> tuple[EgressRecord, ...]:
        bodies: dict[int, list[bytes]] = {}
        for one in self.lines:
            if isinstance(one, Request) and one.account == account:
                bodies.setdefault(one.sequence, []).append(one.body)
        return tuple(
            replace(one, requests=tuple(bodies.get(one.sequence, ()))) for one in self.devices[account].calls
        )

    def evidence(
        self,
        design: AnyDesign,
        account: str,
        pool: Sequence[Item] = (),
        centre: X25519PrivateKey | None = None,
        stamp_key: bytes = b"",
    ) -> Evidence:
        """What an audit of one device goes by, with pictures of `pool` to take decoys from beside its own;
        `centre` opens reports and `stamp_key`, of relay and centre, checks their stamps, if given.
        `RecordingError` if there is no such device, or the design is another one."""
        if (design.info.name, design.info.version) != (self.head.design, self.head.design_version):
            raise RecordingError(f"the recording is of {self.head.design} {self.head.design_version}")
        if account not in self.devices:
            raise RecordingError(f"the recording has no device {account}")
        held = self.devices[account]
        items = {number: Picture.from_bytes(data) for number, data in held.files.items()}
        return Evidence(
            account=account,
            told=held.told,
            records=self.records(account),
            traces=[_trace(design, one) for one in held.sessions],
            items=items,
            pool=[*items.values(), *pool],
            messages=held.messages,
            enrolments=held.enrolments,
            drawn=held.drawn,
            files=held.files,
            arrived=None if held.arrived is None else {(Party(p), m): size for p, m, size in held.arrived},
            centre=centre,
            stamp_key=stamp_key,
        )


class Writer:
    """Writes a recording into the new file `path`, line after line; `RecordingError` if there is one."""

    def __init__(
        self,
        path: Path,
        design: AnyDesign,
        franking: FrankingMode = DEFAULT_MODE,
        attack: Attack | None = None,
    ) -> None:
        self._lock = threading.Lock()
        self._written = dict[tuple[str, int], int]()
        self._design = design
        self._franking = franking
        try:
            self._file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
        except OSError as error:
            raise RecordingError(f"{path}: cannot be written: {error.strerror}") from error
        info = design.info
        now = datetime.now(UTC).isoformat(timespec="seconds")
        what = info.name, info.version, now, info.option, info.summary
        how = str(info.evaluation), str(info.sends_content), info.end_to_end
        roles = {str(role): str(party) for role, party in info.roles.items()}
        self._write(
            Head(FORMAT, VERSION, *what, *how, roles, parties_of(design), tuple(_of_design(design)), attack)
        )

    def request(self, account: str, opened: EgressRecord, body: bytes) -> None:
        """A request that is about to leave a device; from any thread."""
        with self._lock:
            key = account, opened.sequence
            part = self._written[key] = self._written.get(key, -1) + 1
            plain = (opened.party, opened.method, opened.purpose, opened.item, opened.at_ms)
            self._write(Request(account, opened.sequence, part, *plain, body))

    def event(self, event: Event) -> None:
        declared: tuple[Declared, ...] = ()
        if isinstance(event.operation, AddDevice):
            covered = event.operation.slot_s is not None
            consequence = event.operation.consequence
            facts = list_device_facts(covered, self._design.info, consequence, self._franking)
            declared = tuple(
                Declared((party,), Adversary.SEMI_HONEST, tuple(map(Said.of, some)))
                for party, some in facts.items()
            )
        same = {name: getattr(event, name) for name in {*Played.__struct_fields__} - {"spent", "declared"}}
        spent = None if event.cost is None else _spent(event.cost)
        with self._lock:
            self._write(Played(**same, spent=spent, declared=declared))

    def device(self, evidence: Evidence, shown: Sequence[Shown] = ()) -> None:
        """What a device recorded of itself, and what `shown` of its pictures parties could read."""
        for record in evidence.records:
            for body in record.requests[self._written.get((evidence.account, record.sequence), -1) + 1 :]:
                self.request(evidence.account, record, body)
        arrived = None
        if evidence.arrived is not None:
            arrived = tuple((str(party), method, size) for (party, method), size in evidence.arrived.items())
        line = DeviceLine(
            account=evidence.account,
            told=evidence.told,
            calls=tuple(replace(one, requests=()) for one in evidence.records),
            sessions=tuple(_session(one) for one in evidence.traces),
            messages=tuple(evidence.messages),
            enrolments=tuple(evidence.enrolments),
            drawn=tuple(evidence.drawn),
            files=dict(evidence.files),
            arrived=arrived,
            shown=tuple(shown),
        )
        with self._lock:
            self._write(line)

    def close(self) -> None:
        self._file.close()

    def _write(self, line: Line) -> None:
        if not self._file.closed:
            self._file.write(msgspec.json.encode(line, enc_hook=_encoded) + b"\n")
            self._file.flush()


def read_recording(path: Path | str) -> Recording:
    """The recording in a file; a last line that was not finished is left out, and `torn` says so;
    `RecordingError` if it cannot be read, is too large or none of this version, or its lines are not those of
    one run; it names the line, and the field."""
    path = Path(path)
    try:
        if path.stat().st_size > MOST_BYTES:
            raise RecordingError(f"{path}: a recording must be at most {MOST_BYTES} bytes")
        *lines, last = path.read_bytes().split(b"\n")
    except OSError as error:
        raise RecordingError(f"{path}: cannot be read: {error.strerror}") from error
    found = list(_lines(path, lines))
    if not found or not isinstance(found[0], Head):
        raise RecordingError(f"{path.name}: does not begin with the head of a recording")
    seen = [line for line in found if isinstance(line, Request | Played)]
    events = [line for line in seen if isinstance(line, Played)]
    devices = {line.account: line for line in found if isinstance(line, DeviceLine)}
    numbered = [line.number for line in events] == list(range(len(events)))
    plain = [line for line in found if not isinstance(line, Request)]
    if not numbered or plain != [found[0], *events, *devices.values()] or not _in_order(seen):
        raise RecordingError(
            f"{path.name}: edited: head, events from 0 on, each call's requests from 0 on and devices must "
            "come once, in order"
        )
    return Recording(found[0], events, devices, seen, bool(last))


def _in_order(lines: Sequence[Request | Played]) -> bool:
    """Does each call have its requests once, the first one first?"""
    parts: dict[tuple[str, int], int] = {}
    for one in lines:
        if isinstance(one, Request):
            if one.part != parts.get((one.account, one.sequence), 0):
                return False
            parts[one.account, one.sequence] = one.part + 1
    return True


def _lines(path: Path, lines: Sequence[bytes]) -> Iterator[Line]:
    decoder = msgspec.json.Decoder(Line, dec_hook=_decoded)
    for number, line in enumerate(lines, 1):
        try:
            yield decoder.decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, BlindmatchError) as error:
            raise RecordingError(f"{path.name}, line {number}: not by version {VERSION}: {error}") from error


def _of_design(design: AnyDesign) -> Iterator[Declared]:
    info = design.info
    alone = (frozenset({Party.DEVICE}), frozenset({Party.PROVIDER}))
    learner = {*info.roles.values()} if Learner.SERVER in info.learns else set[Party]()
    for parties in dict.fromkeys((*alone, *coalitions(design))):
        outcome = [OUTCOME] if parties & learner else []
        for adversary in Adversary:
            facts = (*outcome, *map(Said.of, told(design, parties, adversary)))
            yield Declared(tuple(sorted(parties)), adversary, facts)


def _session(trace: SessionTrace) -> Session:
    outcome = None if trace.outcome is None else encode_outcome(trace.outcome)
    return Session(trace.item, trace.state_before, trace.tape, trace.rounds, outcome, trace.binding)


def _trace(design: AnyDesign, held: Session) -> SessionTrace:
    outcome = None if held.outcome is None else decode_outcome(design, held.outcome)
    return SessionTrace(held.item, held.state_before, held.tape, held.rounds, outcome, held.binding)


def _spent(cost: Cost) -> Spent:
    purposes = {one.purpose for one in cost.records}
    sizes = {str(purpose): (cost.up(purpose), cost.down(purpose)) for purpose in sorted(purposes)}
    return Spent(round(cost.wall_ms, 3), round(cost.cpu_ms, 3), sizes)


def _encoded(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else str(value)


def _decoded(kind: Any, value: Any) -> Any:
    return kind(value)
