"""A run as a file: what was done, and what each device recorded of itself. Version 1; docs/results.md.

    {"line": "head", "format": "blindmatch-recording", "version": 1, "design": ..., ...}
    {"line": "event", "number": 0, "operation": {"do": "add device", ...}, ...}       as it happens
    {"line": "device", "account": "alice", "told": {...}, "records": [...], ...}      at the end

It holds what the devices' users sent, their keys and the randomness of every session: it is of generated or
bundled pictures, and readable by its owner alone. Audits, replays and pages read this one format.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import msgspec
from blindmatch_client.store.outbox import decode_outcome, encode_outcome
from blindmatch_client.trace import EgressRecord, EnrolmentTrace, MessageTrace, Round, SessionTrace
from blindmatch_protocol.codec.errors import BlindmatchError
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import AnyDesign, Binding, Item, Party
from blindmatch_protocol.picture.decode import Picture
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from msgspec import Struct, field

from blindmatch_simulations.testbed.audit import Evidence, Told
from blindmatch_simulations.testbed.scenario.operations import Operation
from blindmatch_simulations.testbed.scenario.run import Cost, Event

FORMAT: Final = "blindmatch-recording"
VERSION: Final = 1
"""Goes up when a reader of the earlier version would misread or refuse a file."""


class RecordingError(BlindmatchError):
    """A file is no recording of this version."""


class _Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="line"):
    """Frozen and strict."""


class Head(_Line, frozen=True, tag="head"):
    """The first line: what was run, and when."""

    format: Literal["blindmatch-recording"]
    version: Literal[1]
    design: str
    design_version: int
    made_at: str


class Spent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an operation cost the device: milliseconds, and bytes up and down by purpose."""

    wall_ms: float
    cpu_ms: float
    bytes: dict[str, tuple[int, int]]


class Played(_Line, frozen=True, tag="event"):
    """An operation that was played; `outcome` is what the device learnt of a picture it sent."""

    number: int
    at_ms: int
    operation: Operation
    error: str = ""
    outcome: str = ""
    delivered: bool | None = None
    spent: Spent | None = None


class Session(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A `SessionTrace`; the outcome as a device stores it, None if the session failed."""

    item: int
    state_before: bytes
    tape: bytes
    rounds: tuple[Round, ...]
    outcome: bytes | None
    binding: Binding


class DeviceLine(_Line, frozen=True, tag="device"):
    """An `Evidence` without the pictures' pixels; `arrived` has party, method and bytes."""

    account: str
    told: Told
    records: tuple[EgressRecord, ...]
    sessions: tuple[Session, ...]
    messages: tuple[MessageTrace, ...]
    enrolments: tuple[EnrolmentTrace, ...]
    drawn: tuple[bytes, ...]
    files: dict[int, bytes]
    arrived: tuple[tuple[str, str, int], ...] | None = None


Line: TypeAlias = Head | Played | DeviceLine


class Recording(Redacted, Struct, frozen=True):
    """A recording that was read.

    Attributes:
        head: what was run.
        events: what was done, in order.
        devices: what each device recorded, by account.
    """

    head: Head
    events: Sequence[Played]
    devices: Mapping[str, DeviceLine] = field(default_factory=dict)

    def evidence(
        self,
        design: AnyDesign,
        account: str,
        pool: Sequence[Item] = (),
        centre: X25519PrivateKey | None = None,
        stamp_key: bytes = b"",
    ) -> Evidence:
        """What an audit of one device goes by.

        Args:
            pool: pictures to take decoys from, beside its own.
            centre: the centre's key, which opens reports; None: they are not opened.
            stamp_key: of relay and centre, 32 bytes, which checks stamps in reports; empty: they are not.

        Raises:
            RecordingError: if there is no such device, or the design is another one.
        """
        if (design.info.name, design.info.version) != (self.head.design, self.head.design_version):
            raise RecordingError(f"the recording is of {self.head.design} {self.head.design_version}")
        if account not in self.devices:
            raise RecordingError(f"the recording has no device {account}")
        held = self.devices[account]
        items = {number: Picture.from_bytes(data) for number, data in held.files.items()}
        return Evidence(
            account=account,
            told=held.told,
            records=held.records,
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

    def __init__(self, path: Path, design: AnyDesign) -> None:
        try:
            self._file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
        except OSError as error:
            raise RecordingError(f"{path}: cannot be written: {error.strerror}") from error
        info, now = design.info, datetime.now(UTC).isoformat(timespec="seconds")
        self._write(Head(FORMAT, VERSION, info.name, info.version, now))

    def event(self, event: Event) -> None:
        """An operation that was played."""
        plain = (event.number, event.at_ms, event.operation, event.error, event.outcome, event.delivered)
        self._write(Played(*plain, None if event.cost is None else _spent(event.cost)))

    def device(self, evidence: Evidence) -> None:
        """What a device recorded of itself."""
        arrived = None
        if evidence.arrived is not None:
            arrived = tuple((str(party), method, size) for (party, method), size in evidence.arrived.items())
        self._write(
            DeviceLine(
                account=evidence.account,
                told=evidence.told,
                records=tuple(evidence.records),
                sessions=tuple(_session(one) for one in evidence.traces),
                messages=tuple(evidence.messages),
                enrolments=tuple(evidence.enrolments),
                drawn=tuple(evidence.drawn),
                files=dict(evidence.files),
                arrived=arrived,
            )
        )

    def close(self) -> None:
        """Nothing more comes."""
        self._file.close()

    def _write(self, line: Line) -> None:
        self._file.write(msgspec.json.encode(line, enc_hook=_encoded) + b"\n")
        self._file.flush()


def read_recording(path: Path | str) -> Recording:
    """The recording in a file.

    Raises:
        RecordingError: if it cannot be read, is none of this version, or its lines are not those of one run.
    """
    path = Path(path)
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise RecordingError(f"{path}: cannot be read: {error.strerror}") from error
    found = _lines(path, lines)
    if not found or not isinstance(found[0], Head):
        raise RecordingError(f"{path.name}: does not begin with the head of a recording")
    events = [line for line in found if isinstance(line, Played)]
    devices = {line.account: line for line in found if isinstance(line, DeviceLine)}
    numbered = [line.number for line in events] == list(range(len(events)))
    if not numbered or found != [found[0], *events, *devices.values()]:
        raise RecordingError(
            f"{path.name}: edited: head, events from 0 on and devices must come once, in order"
        )
    return Recording(found[0], events, devices)


def _lines(path: Path, lines: Iterable[bytes]) -> list[Line]:
    decoder = msgspec.json.Decoder(Line, dec_hook=_decoded)
    found: list[Line] = []
    for number, line in enumerate(lines, 1):
        try:
            found.append(decoder.decode(line))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise RecordingError(f"{path.name}, line {number}: not by version {VERSION}: {error}") from error
    return found


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
    """Mappings as objects, and names as text."""
    return dict(value) if isinstance(value, Mapping) else str(value)


def _decoded(kind: Any, value: Any) -> Any:
    return kind(value)
