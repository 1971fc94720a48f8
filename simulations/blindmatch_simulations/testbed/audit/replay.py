"""Runs a design's sessions and enrolments again, in process, to see which of the bytes sent are explained.

    again              same item, same tape, same replies   every byte must come out the same
    with fresh tapes   same item                            shows which bytes randomness explains
    with decoys        other items that agree on every      shows which bytes (and lengths, and rounds) the
                       fact declared to that party          declared facts explain (`decoys`)

A byte is *explained* if it is the same for all decoys on one tape, or changes with the tape; so are lengths
and rounds that are the same for all decoys on one tape. Where a design declares native randomness, bodies
that come again are compared by length alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from itertools import chain

import numpy as np
from blindmatch_client.egress.calls import ENROL, ENROLLED
from blindmatch_client.trace import EgressRecord, EnrolmentTrace, SessionTrace
from blindmatch_protocol.codec import Message, decode_any
from blindmatch_protocol.codec.errors import BlindmatchError, ProtocolError
from blindmatch_protocol.codec.randomness import Randomness, TapeExhaustedError, replayed
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import AnyDesign, Item, Party, Role, Session
from blindmatch_protocol.contract.steps import Flag, Match, Voucher
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from msgspec import Struct, field

from blindmatch_simulations.testbed.audit.counterpart import (
    Bodies,
    Comparison,
    Counterpart,
    DecoyFinder,
    voucher_of,
)
from blindmatch_simulations.testbed.audit.records import ENROLMENTS, Evidence, Finding, found, is_all_of
from blindmatch_simulations.testbed.inprocess.crashes import Crash, crash_of
from blindmatch_simulations.testbed.inprocess.deployed import VOUCHER, seen_by, seers
from blindmatch_simulations.testbed.inprocess.steps import decided
from blindmatch_simulations.testbed.inprocess.telling import longer_field, telling_field

FRESH_TAPES = 64
"""The most that are tried of one picture: a random bit stays the same over them with probability 2^-64."""
OTHER_ACCOUNTS = 64
"""As many more of other accounts, where an account's secrets may explain bytes (`Counterpart.another`)."""


def replay(counterpart: Counterpart, trace: SessionTrace, item: Item) -> list[Finding]:
    """Findings unless the recorded tape and replies give the recorded bodies again."""
    recorded = _recorded(trace)
    try:
        derived = _derive_again(counterpart, trace, item)
    except TapeExhaustedError:
        derived = []
    return [
        Finding(
            Party.CENTRE if role == VOUCHER else counterpart.design.info.asked(role),
            trace.item,
            "cannot be derived again from its tape",
            len(body),
        )
        for at, bodies in enumerate(recorded)
        for role, body in bodies.items()
        if at >= len(derived) or not _same(counterpart, derived[at].get(role), body)
    ]


def _recorded(trace: SessionTrace) -> Bodies:
    return [*(dict(one.bodies) for one in trace.rounds), *voucher_of(trace.outcome)]


def _continued(tape: bytes, rng: Randomness) -> Randomness:
    """A recorded tape, and fresh randomness after it."""
    recorded = replayed(tape)

    def draw(count: int) -> bytes:
        try:
            return recorded.take(count)
        except TapeExhaustedError:
            return rng.take(count)

    return Randomness(draw)


def _same(counterpart: Counterpart, derived: bytes | None, recorded: bytes) -> bool:
    design = counterpart.design
    return derived is not None and bool(decided(design, derived) == decided(design, recorded))


def _derive_again(counterpart: Counterpart, trace: SessionTrace, item: Item) -> Bodies:
    design = counterpart.design
    state = design.device_state.decode(trace.state_before)
    session = Session(design, counterpart.setup, state, replayed(trace.tape))
    derived: Bodies = []
    step = session.start(item, trace.binding)
    for number, recorded in enumerate(trace.rounds, 1):
        if not isinstance(step, Mapping):
            break
        derived.append({role: body.encode() for role, body in step.items()})
        if number == len(trace.rounds) and not isinstance(trace.outcome, Voucher):
            break
        replies = {
            r: decode_any(design.replies[r], raw, design.info.name) for r, raw in recorded.replies.items()
        }
        if design.info.native_randomness:  # recorded replies are to other bodies
            replies = {role: counterpart.answer(role, body) for role, body in step.items()}
        if replies.keys() != step.keys():
            break
        try:
            step = session.receive(replies)
        except ProtocolError:
            break
    if isinstance(trace.outcome, Voucher) and not isinstance(step, Mapping):
        derived += voucher_of(session.conclude())
    return derived


class Explained(Struct, frozen=True):
    """What came of holding a session against others.

    Attributes:
        findings: bytes, lengths and rounds that neither randomness nor the declared facts explain.
        comparisons: with how many pictures each party's were compared.
        crashes: where the design's own code ended in an error.
    """

    findings: list[Finding] = field(default_factory=list)
    comparisons: list[Comparison] = field(default_factory=list)
    crashes: list[Crash] = field(default_factory=list)


def explain(finder: DecoyFinder, trace: SessionTrace, item: Item, catch: bool = True) -> Explained:
    """Hold a session against ones of the same picture on fresh tapes, and against ones of pictures that agree
    on what is declared. A crash of the design is gathered if `catch`, else raised."""
    counterpart = finder.counterpart
    state = counterpart.design.device_state.decode(trace.state_before)
    actual = _recorded(trace)
    # a design of large sizes is run no further than it was: an answer takes seconds of work
    dear = counterpart.design.reduced() is not None and not isinstance(trace.outcome, Voucher)
    rounds = len(actual) if dear or trace.outcome is None else None
    found = Explained()

    def run(one: Item, most: int | None, tape: bytes = b"") -> Bodies:
        rng = _continued(tape, counterpart.rng) if tape else None
        return counterpart.bodies(state, one, most, trace.binding, rng)

    for party in seers(counterpart.design):
        decoys, reason = finder.decoys(item, party)
        found.comparisons.append(Comparison(trace.item, party, len(decoys), reason))
        try:
            others = [run(decoy, rounds, trace.tape) for decoy in decoys]
            deep = max(map(len, [actual, *others]), default=0)
            most = 1 if deep <= 1 else rounds
            again = chain(
                (run(item, most) for _ in range(FRESH_TAPES)), _of_others(counterpart, trace, item, most)
            )
            mine = Sent(trace.item, actual)
            named = [Sent(finder.name_of(one), sent) for one, sent in zip(decoys, others, strict=True)]
            found.findings.extend(_compare(counterpart, party, mine, again, named))
        except BlindmatchError as error:
            size = sum(len(body) for one in actual for body in one.values())
            found.findings.append(Finding(party, trace.item, f"cannot be run again: {error}", size))
        except Exception as error:
            if not catch:
                raise
            found.crashes.append(crash_of(error, counterpart.design, trace.item))
    return found


def crashes_of(counterpart: Counterpart, trace: SessionTrace, item: Item) -> list[Crash]:
    """Return the crash that ended a session without an outcome: of one of the device's steps, as its tape and
    replies give them again, or of a role that did not answer. Empty if none of them crashes."""
    if trace.outcome is not None:
        return []
    design = counterpart.design
    step = "start"
    session = Session(
        design,
        counterpart.setup,
        design.device_state.decode(trace.state_before),
        _continued(trace.tape, counterpart.rng),
    )
    try:
        sent: object = session.start(item, trace.binding)
        for recorded in trace.rounds:
            if not isinstance(sent, Mapping):
                return []
            for role, body in () if recorded.replies else sorted(recorded.bodies.items()):
                step = f"answer of {role}"
                counterpart.answer(role, decode_any(design.requests[role], body, design.info.name))
            if not recorded.replies:
                return []
            step = "receive"
            replies = recorded.replies.items()
            sent = session.receive(
                {role: decode_any(design.replies[role], raw, design.info.name) for role, raw in replies}
            )
        step = "conclude"
        if not isinstance(sent, Mapping):
            session.conclude()
    except BlindmatchError:
        return []  # a refusal, or a fault with a text of its own, which the device tells
    except Exception as error:
        return [crash_of(error, design, trace.item, step)]
    return []


class Sent(Struct, frozen=True):
    """The bodies of a session, and whose they are: a picture's number, or a decoy's name."""

    whose: int | str
    bodies: Bodies


def _of_others(
    counterpart: Counterpart, trace: SessionTrace, item: Item, most: int | None
) -> Iterator[Bodies]:
    """The same picture sent by other accounts; none unless the counterpart has some."""
    for _ in range(OTHER_ACCOUNTS if counterpart.another else 0):
        assert counterpart.another is not None
        yield counterpart.bodies(counterpart.another(), item, most, trace.binding)


def _compare(
    counterpart: Counterpart,
    party: Party,
    actual: Sent,
    again: Iterator[Bodies],
    others: Sequence[Sent],
) -> list[Finding]:
    """`again` are runs of the same picture on fresh tapes; they are made as far as they are needed."""
    findings = list[Finding]()
    fresh = [next(again)]
    item = int(actual.whose)
    deepest = max((len(one.bodies) for one in [actual, *others]), default=0)
    for at in range(deepest):
        for role in seen_by(counterpart.design, party):

            def read(bodies: Bodies, at: int = at, role: Role = role) -> bytes:
                body = bodies[at].get(role, b"") if at < len(bodies) else b""
                return counterpart.read(party, role, body)

            mine = read(actual.bodies)
            theirs = [read(one.bodies) for one in others]
            seen = _Seen(counterpart, party, role, mine, theirs)
            if gap := max((abs(len(mine) - len(body)) for body in theirs), default=0):
                rule = f"round {at + 1}: length depends on the picture"
                findings.append(seen.finding(item, rule, gap, others))
            while size := _unexplained(mine, list(map(read, fresh)), theirs):
                if (one := next(again, None)) is None:
                    rule = f"round {at + 1}: bytes tell of the picture"
                    findings.append(seen.finding(item, rule, size, others, list(map(read, fresh))))
                    break
                fresh.append(one)
    return findings


class _Seen(Redacted, Struct, frozen=True):
    """What a party reads of one body for a role: of a picture, and of its decoys on the same tape."""

    counterpart: Counterpart
    party: Party
    role: Role
    mine: bytes
    theirs: Sequence[bytes]

    def finding(
        self, item: int, rule: str, size: int, others: Sequence[Sent], again: Sequence[bytes] | None = None
    ) -> Finding:
        """A finding, with the field that tells the picture from a decoy of `others`, if there is one: by its
        length, or given bodies of the picture on fresh tapes (`again`), by a value that they all have."""
        first, *rest = map(self._message, (self.mine, *self.theirs))
        told = None
        if first is not None and again is None:
            told = longer_field(first, rest)
        elif first is not None:
            fresh = map(self._message, again or ())
            told = telling_field(first, [one for one in fresh if one is not None], rest)
        return Finding(self.party, item, rule, size, told, str(others[told.other].whose) if told else "")

    def _message(self, read: bytes) -> Message | None:
        return self.counterpart.message(self.party, self.role, read)


def _unexplained(mine: bytes, again: Sequence[bytes], theirs: Sequence[bytes]) -> int:
    """How many bytes stay the same under another tape, but change with the picture."""
    same_length = [body for body in theirs if len(body) == len(mine)]
    if not mine or not same_length:
        return 0
    base = np.frombuffer(mine, np.uint8)
    stays = np.ones(len(base), np.bool_)
    for body in again:
        stays &= np.frombuffer(body, np.uint8) == base if len(body) == len(mine) else False
    differs = np.zeros(len(base), np.bool_)
    for body in same_length:
        differs |= np.frombuffer(body, np.uint8) != base
    return int(np.count_nonzero(stays & differs))


def confirmed(counterpart: Counterpart, trace: SessionTrace, item: Item) -> bool:
    """Did this session end in a match with an entry of the list, or a flag, which the device may report?"""
    if isinstance(trace.outcome, Flag):
        return counterpart.design.info.relation.matches(item, counterpart.entries)
    if not isinstance(trace.outcome, Match):
        return False
    entry = np.frombuffer(trace.outcome.label.entry_hash, np.uint8).reshape(1, 32)
    listed = (counterpart.entries == entry).all(axis=1).any()
    return bool(listed and counterpart.design.info.relation.holds(item, entry)[0])


def held_by_roles(counterpart: Counterpart, traces: Sequence[EnrolmentTrace]) -> Mapping[Role, Message]:
    """What the roles hold of the device under the key of the set-up."""
    design = counterpart.design
    key = counterpart.design.enrolment_key(counterpart.setup)
    bodies = next((trace.bodies for trace in reversed(traces) if trace.key == key), {})
    return {role: decode_any(design.enrolments[role], raw, "enrolment") for role, raw in bodies.items()}


def check_enrolments(counterpart: Counterpart, evidence: Evidence) -> Iterator[Finding]:
    """Every enrolment comes again from its tape; every request is one of them, from an offset on; and each is
    asked about and sent no more often than its device began, failed, or was refused for the lack of it."""
    design = counterpart.design
    expected = _heads(design, evidence.enrolments)
    for trace in evidence.enrolments:
        yield from _derived_again(counterpart, trace)
    records = [record for record in evidence.records if record.method in ENROLMENTS]
    # one look when the set-up is taken into use, one more before each upload, both again after a failure
    failed = sum(record.failed for record in evidence.records)
    looks = 2 * (evidence.told.registered + len(evidence.enrolments) + failed)
    counts = Counter[tuple[str, bytes]]()
    for record in records:
        sent = _sent(record)
        body = expected.get((record.party, sent.head))
        counts[record.method, sent.head] += 1
        if body is None or not _fits(record, sent, body):
            yield found(record, "an enrolment that no tape explains", record.request_bytes)
        elif counts[record.method, sent.head] > looks:
            yield found(record, "enrolled more often than declared", record.request_bytes)


class _Sent(Struct, frozen=True):
    """What one record says: whose enrolment, from where on, the bytes, and whether that is all."""

    head: bytes
    offset: int
    data: bytes
    plain: bool


def _sent(record: EgressRecord) -> _Sent:
    if record.method == ENROLLED.path:
        return _Sent(b"".join(record.requests), 0, b"", True)
    parts = [pb.EnrolPart.FromString(raw) for raw in record.requests] or [pb.EnrolPart()]
    first = parts[0]
    plain = not any(part.HasField("head") or part.offset for part in parts[1:])
    head = first.head.SerializeToString(deterministic=True)
    return _Sent(head, first.offset, b"".join(part.data for part in parts), plain)


def _fits(record: EgressRecord, sent: _Sent, body: bytes) -> bool:
    """A part of `body`, to its end unless the call failed."""
    if record.method != ENROL.path:
        return True
    return sent.plain and is_all_of(body[sent.offset :], sent.data, record)


def _heads(design: AnyDesign, traces: Sequence[EnrolmentTrace]) -> dict[tuple[Party, bytes], bytes]:
    info = design.info
    heads = dict[tuple[Party, bytes], bytes]()
    for trace in traces:
        for role, body in trace.bodies.items():
            head = pb.EnrolmentHead(
                design=info.name,
                version=info.version,
                role=role,
                key=trace.key,
                size=len(body),
                sha256=sha256(body).digest(),
            )
            heads[info.roles[role], head.SerializeToString(deterministic=True)] = body
    return heads


def _derived_again(counterpart: Counterpart, trace: EnrolmentTrace) -> Iterator[Finding]:
    design = counterpart.design
    state = design.device_state.decode(trace.state_before)
    try:
        made = design.enrolment(state, counterpart.setup, replayed(trace.tape))
        again = {role: body.encode() for role, body in made.bodies.items()}
    except BlindmatchError:
        again = {}
    for role, body in trace.bodies.items():
        derived = again.get(role)
        if derived is None or decided(design, derived) != decided(design, body):
            yield Finding(
                design.info.roles[role], None, "an enrolment cannot be derived again from its tape", len(body)
            )
