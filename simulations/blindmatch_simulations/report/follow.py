"""One picture, followed through recordings: what reached each party, as one page that needs nothing else.

    recording --> followed --> Followed: messages and ends in their order, without keys, sessions, randomness
    Followed  --> follow.js: state x event -> state, drawn; steps go back by reducing again

A fact counts as seen where a request, or the record of an operation, bears it (`_facts`); what a party with a
role could read of a picture was noted when the run was recorded (`Shown`). Pictures that are not near a
bundled one are left out with all that left for them: the page is no place to try one's own.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from hashlib import sha256
from typing import Any, Final

from blindmatch_client.egress.calls import printable
from blindmatch_client.trace import Purpose
from blindmatch_protocol.codec.errors import BlindmatchError, ProtocolError
from blindmatch_protocol.contract import Content, Evaluation, Party, Severity
from blindmatch_protocol.messages.sealed_message import SealedMessage
from blindmatch_protocol.picture.decode import Picture
from blindmatch_protocol.picture.pdq import MATCH_DISTANCE, distances, rows
from blindmatch_server.centre.store import State
from google.protobuf.message import DecodeError
from msgspec import Struct, field, to_builtins
from msgspec.structs import replace

from blindmatch_simulations.data import committed
from blindmatch_simulations.report.markup import policy, text
from blindmatch_simulations.report.page import asset
from blindmatch_simulations.testbed.audit.records import REQUESTS
from blindmatch_simulations.testbed.pictures.crops import encoded, opened
from blindmatch_simulations.testbed.scenario.operations import (
    AddDevice,
    Check,
    Publish,
    Receive,
    SendPicture,
    account_of,
)
from blindmatch_simulations.testbed.scenario.recording import Attack, Declared, Played, Recording, Request
from blindmatch_simulations.testbed.scenario.run import Shown

MOST_PAGE: Final = 3_000_000
"""Bytes of the page."""
MOST_SCENES: Final = 12
MOST_EVENTS: Final = 2_000
MOST_WORDS: Final = 600
HEAD_BYTES: Final = 96
SMALL: Final = (160, 120)
EXCHANGES: Final = ("Exchange", "ExchangeLarge")
PIECE: Final = 48
"""Bytes of a picture that a request must hold to be called one."""
CIPHERTEXT, BLINDED, HASH, PICTURE, UPKEEP = "ciphertext", "blinded", "plain hash", "picture", "upkeep"
LASTING: Final = (Purpose.ACCOUNT, Purpose.SETUP, Purpose.ENROLMENT)
SAYS: Final[Mapping[str, tuple[str, str]]] = {
    "Describe": ("asks which list is in force", ""),
    "FetchSetup": ("fetches what devices are given of the list", "sends what devices are given of the list"),
    "Enrolled": ("asks whether it is enrolled", ""),
    "Enrol": ("enrols for matching", ""),
    "Register": ("publishes its public keys", ""),
    "FetchBundle": ("asks for the recipient's public keys", ""),
    "Key": ("fetches the centre's public key", ""),
    "Exchange": ("asks about the picture", "answers"),
    "ExchangeLarge": ("asks about the picture", "answers"),
    "Upload": ("uploads the picture", ""),
    "Send": ("sends the message", ""),
    "Receive": ("asks for messages", "delivers messages"),
    "Download": ("asks for the picture", "delivers the picture"),
    "Acknowledge": ("says that it has the messages", ""),
    "Submit": ("reports the picture", ""),
    "SubmitVoucher": ("hands over a voucher", ""),
    "Complain": ("complains about a report", ""),
}
"""What a call is in plain words: the request, and a reply that is a step of its own."""
AS: Final = {
    CIPHERTEXT: "sealed, unreadable to whoever carries it",
    BLINDED: "blinded or encrypted",
    HASH: "as a hash, or a part of one, that can be read",
    PICTURE: "in the clear",
}


class FollowError(BlindmatchError):
    """A page cannot be made of these recordings."""


class Step(Struct, frozen=True):
    """A message, or the end of an operation.

    Attributes:
        source, target: party or account; both the same for an end.
        kind: what the target can read of it; empty for an end.
        says: in plain words.
        ms: since the recording began.
        size: bytes.
        head: the first bytes, in hexadecimal, as the target saw them.
        facts: by party, or parties joined by "+": name and value.
        notices: who noticed something, and with what.
        lasting: whether it is of no picture, so that it counts for all later ones.
        supposed: whether it is by the design's declaration: what servers send is not recorded.
    """

    source: str
    target: str
    kind: str
    says: str
    ms: int
    size: int = 0
    head: str = ""
    facts: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    notices: tuple[tuple[str, str], ...] = ()
    lasting: bool = False
    supposed: bool = False


class Scene(Struct, frozen=True):
    """A picture that was sent: `first` to `end` are its steps; `picture` a small copy, as a data URI."""

    ident: str
    what: str
    picture: str
    sender: str
    first: int
    end: int


class Followed(Struct, frozen=True):
    """What the page is told of a recording."""

    design: str
    option: str
    summary: str
    made_at: str
    parties: tuple[tuple[str, str], ...]
    declared: tuple[Declared, ...]
    steps: tuple[Step, ...]
    scenes: tuple[Scene, ...]
    attack: Attack | None
    left_out: tuple[str, ...]


def followed(recording: Recording) -> Followed:
    """The filtered stream of a recording: nothing of its keys, sessions and randomness.

    Raises:
        FollowError: if no bundled picture was sent in it.
    """
    reader, head = _Reader(recording), recording.head
    steps, scenes, left_out = reader.read()
    if not scenes:
        raise FollowError(f"the recording of {head.design} has no bundled picture that was sent")
    if recording.torn or not recording.devices:
        left_out.append("The run was ended before its end: replies, and what came later, are not recorded.")
    accounts = [(name, "device") for name in reader.accounts]
    servers = [(party, party) for party in (*head.parties, Party.CURATOR)]
    rows = {(one.parties, one.adversary, one.facts): one for one in (*head.declared, *reader.declared)}
    return Followed(
        design=_short(head.design),
        option=_short(head.option),
        summary=_short(head.summary),
        made_at=_short(head.made_at),
        parties=tuple((_short(name), _short(of)) for name, of in (*accounts, *servers)),
        declared=tuple(rows.values()),
        steps=tuple(steps),
        scenes=tuple(scenes),
        attack=head.attack,
        left_out=tuple(left_out),
    )


def follow_page(recordings: Sequence[Followed]) -> str:
    """The page.

    Raises:
        FollowError: if it were larger than `MOST_PAGE`.
    """
    style, script = asset("page.css") + asset("follow.css"), asset("core.js") + asset("follow.js")
    parts = {
        "policy": policy([style], script),
        "style": style,
        "data": json.dumps(to_builtins(recordings), separators=(",", ":")).replace("<", "\\u003c"),
        "script": script,
        "title": text(" and ".join(dict.fromkeys(one.design for one in recordings))),
    }
    made = re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], asset("follow.html"))
    if len(made.encode()) > MOST_PAGE:
        raise FollowError(
            f"the page would be {len(made.encode())} bytes, at most {MOST_PAGE}: fewer recordings"
        )
    return made


class _Call(Struct, frozen=True):
    """A call that left a device: its requests, as written and parsed, and what is known of the replies."""

    opened: Request
    bodies: tuple[bytes, ...]
    requests: tuple[Any, ...]
    reply_bytes: int
    failed: bool

    @property
    def name(self) -> str:
        """The method's short name."""
        return self.opened.method.rpartition("/")[2]

    @property
    def content(self) -> bytes:
        """What the requests bear: parts, joined; else the requests themselves."""
        if self.name in EXCHANGES:
            return b"".join(one.body for one in self.requests)
        return b"".join(one.data for one in self.requests) if self.name == "Upload" else b"".join(self.bodies)


class _Sent(Struct, frozen=True):
    """The picture that was sent last."""

    item: int | None
    picture: Picture
    file: bytes


class _Reader:
    """Reads a recording's lines in their order, one operation after the other."""

    def __init__(self, recording: Recording) -> None:
        self.recording, self.head = recording, recording.head
        self.declared: list[Declared] = []
        self.accounts: list[str] = []
        self._listed: dict[bytes, bytes] = {}
        self._uploads: dict[str, int] = {}
        self._downloads: dict[bytes, str] = {}
        self._began = next((one.at_ms for one in recording.lines), 0)
        self._kept = {
            (name, one.sequence): one for name, held in recording.devices.items() for one in held.calls
        }
        self._registered: set[str] = set()
        self._sent: _Sent | None = None
        self._reports = self._before = 0

    def read(self) -> tuple[list[Step], list[Scene], list[str]]:
        """All steps, the pictures, and what was left out."""
        steps, scenes, left_out = list[Step](), list[Scene](), set[str]()
        for act in _acts(self.recording.lines):
            event = act[0][1]
            if event is None or not isinstance(event.operation, SendPicture):
                steps += [replace(one, lasting=True) for one in self._steps(act)]
                continue
            self._sent = _Sent(
                event.item, Picture.from_bytes(event.operation.picture), event.operation.picture
            )
            self._before, first = self._reports, len(steps)
            made = self._steps(act)
            if not _near(self._sent.picture, _bundled()):
                left_out.add("Pictures that are not near a bundled one, and all that left for them.")
            elif len(scenes) == MOST_SCENES or first > MOST_EVENTS:
                left_out.add(f"All pictures but the first {len(scenes)}.")
            else:
                steps += made
                scenes.append(self._scene(self._sent, event.operation.sender, first, len(steps)))
        return steps, scenes, sorted(left_out)

    def _scene(self, sent: _Sent, sender: str, first: int, end: int) -> Scene:
        if sent.file in self._listed:
            what = "listed"
        elif _near(sent.picture, self._listed.values()):
            what = "edited copy of a listed one"
        else:
            what = "not listed" if self._listed else "bundled"
        small = opened(sent.file)
        small.thumbnail(SMALL)
        data = f"data:image/jpeg;base64,{b64encode(encoded(small, 'JPEG', quality=70)).decode()}"
        return Scene(sha256(sent.file).hexdigest()[:16], what, data, _short(sender), first, end)

    def _steps(self, act: Sequence[tuple[Sequence[Request], Played | None]]) -> list[Step]:
        steps = list[Step]()
        for requests, event in act:
            for call in self._read_calls(requests):
                steps += self._of_call(call)
            if event is not None:
                steps += self._of_event(event)
        return steps

    def _read_calls(self, requests: Sequence[Request]) -> Iterator[_Call]:
        grouped: dict[tuple[str, int], list[Request]] = {}
        for one in requests:
            if one.item is None or (self._sent is not None and one.item == self._sent.item):
                grouped.setdefault((one.account, one.sequence), []).append(one)
        for key, some in grouped.items():
            try:
                parsed = tuple(REQUESTS[one.method].FromString(one.body) for one in some)
            except (KeyError, DecodeError):
                raise FollowError(
                    f"request {key[1]} of {_short(key[0])}: method or body is unknown"
                ) from None
            kept = self._kept.get(key)
            bodies = tuple(one.body for one in some)
            yield _Call(some[0], bodies, parsed, kept.reply_bytes if kept else 0, bool(kept and kept.failed))

    def _of_call(self, call: _Call) -> Iterator[Step]:
        """A request; where a carrier hands it on, that too; and a reply that bears something."""
        one, (asks, answers) = call.opened, SAYS[call.name]
        target, ms, whose = str(one.party), one.at_ms - self._began, _short(one.account)
        facts, kind = self._facts(call), self._kind(call, target)
        first = Step(
            source=whose,
            target=target,
            kind=kind,
            says=f"{whose}'s device {asks}{_as(call, kind)}.",
            ms=ms,
            size=sum(map(len, call.bodies)),
            head=call.content[:HEAD_BYTES].hex(),
            facts=facts,
            lasting=one.purpose in LASTING,
        )
        host = self._host(call)
        yield first if host in (None, target) else replace(first, facts=_of_others(facts, host))
        if host is not None and host != target:
            kind = self._kind(call, host)
            says = f"The {target} hands it on to the {host}, {AS.get(kind, '')}."
            own = {name: some for name, some in facts.items() if name not in _of_others(facts, host)}
            yield replace(first, source=target, target=host, kind=kind, says=says, facts=own, supposed=True)
        if answers and call.reply_bytes:
            yield Step(
                target, whose, self._reply_kind(call), f"The {target} {answers}.", ms, call.reply_bytes
            )

    def _host(self, call: _Call) -> str | None:
        """Who plays the role that a request is for."""
        if call.name not in EXCHANGES:
            return None
        return self.head.roles.get(call.requests[0].role, str(call.opened.party))

    def _kind(self, call: _Call, target: str) -> str:
        """What `target` can read: by the bytes where they show it, else by the declaration."""
        if call.opened.purpose in (Purpose.REPORT, Purpose.COMPLAINT):
            return PICTURE if call.opened.purpose is Purpose.REPORT else UPKEEP
        if found := self._found(call):
            return found
        match call.name:
            case "Exchange" | "ExchangeLarge":
                return self._asked_kind(call, target)
            case "Send" if any(one.clear for one in call.requests):
                return UPKEEP if call.opened.item is None else PICTURE
            case "Upload" | "Send" | "Submit":
                return CIPHERTEXT
            case "SubmitVoucher":
                return BLINDED
        return UPKEEP

    def _asked_kind(self, call: _Call, target: str) -> str:
        severities = {one.severity for one in self._shown(call) if one.party == target}
        if severities & {Severity.CONTENT, Severity.HASH}:
            return PICTURE if Severity.CONTENT in severities else HASH
        if self.head.evaluation == Evaluation.SEALED or self.head.content == Content.SEALED:
            return CIPHERTEXT
        if self.head.content == Content.CLEAR:
            return PICTURE
        return HASH if self.head.evaluation == Evaluation.CLEAR else BLINDED

    def _reply_kind(self, call: _Call) -> str:
        if call.name in EXCHANGES:
            return BLINDED if self.head.evaluation in (Evaluation.OPRF, Evaluation.HOMOMORPHIC) else UPKEEP
        if call.name == "FetchSetup":
            return UPKEEP
        return CIPHERTEXT if self.head.end_to_end else PICTURE

    def _found(self, call: _Call) -> str:
        """A picture or a hash whose bytes stand in a request; empty if neither does."""
        if self._sent is None or call.opened.item is None:
            return ""
        content, middle = call.content, len(self._sent.file) // 2
        pixels = self._sent.picture.pixels.tobytes()
        pieces = self._sent.file[middle : middle + PIECE], pixels[len(pixels) // 2 :][:PIECE]
        if any(one in content for one in pieces if len(one) == PIECE and len(set(one)) > 4):
            return PICTURE
        return HASH if self._sent.picture.hash in content else ""

    def _shown(self, call: _Call) -> list[Shown]:
        """What could be read in a request about a picture, when the run was recorded."""
        held = self.recording.devices.get(call.opened.account)
        if held is None or call.name not in EXCHANGES:
            return []
        role, content = call.requests[0].role, call.content
        asked = [
            (one.item, at)
            for one in held.sessions
            for at, round_ in enumerate(one.rounds)
            if one.item == call.opened.item and round_.bodies.get(role) == content
        ]
        return [one for one in held.shown if one.role == role and (one.item, one.round) in asked]

    def _facts(self, call: _Call) -> dict[str, list[tuple[str, str]]]:
        """What a request bears, by party: of its certificate, its fields, and what was read in it."""
        party, account, purpose = str(call.opened.party), _short(call.opened.account), call.opened.purpose
        found = {
            party: [("account", account), ("address", "where it called from"), *self._of_messenger(call)]
        }
        traffic = found.setdefault(str(Party.PROVIDER), [])
        if purpose is Purpose.REPORT and self._declares("match_time", party):
            found[party].append(("match_time", "a report leaves"))
            traffic.append(("match_time", "a report leaves"))
        if purpose is Purpose.COMPLAINT:
            traffic.append(("complaint_time", "a complaint leaves"))
        for read in self._shown(call):
            found.setdefault(read.party, []).append((read.fact, read.value or "in its bytes"))
        if call.name in EXCHANGES:
            self._arrived(call, found)
        elif self._kind(call, party) in (PICTURE, HASH) and party != Party.CENTRE:
            names = [one for one in ("message", "content", "query_time") if self._declares(one, party)]
            found[party] += [(name, "it can be read") for name in names or [f"the {self._kind(call, party)}"]]
        elif call.name == "Send" and call.requests[0].clear:
            found[party].append(("message", "it can be read"))
        return {names: some for names, some in found.items() if some}

    def _arrived(self, call: _Call, found: dict[str, list[tuple[str, str]]]) -> None:
        """Facts that say no more than that a request came, of whoever gets it and of coalitions with them."""
        seers = {str(call.opened.party), self._host(call)}
        for row in self.head.declared:
            if seers & {*row.parties} and (len(row.parties) > 1 or {*row.parties} <= seers):
                names = [one.name for one in row.facts if one.arrives]
                alone = {name for one in row.parties for name, _ in found.get(one, ())}
                key = "+".join(row.parties)
                found.setdefault(key, []).extend((one, "seen") for one in names if one not in alone)

    def _of_messenger(self, call: _Call) -> Iterator[tuple[str, str]]:
        """Facts of the messenger that a request bears, with their values: of a message, or of the rest."""
        last, account = call.requests[-1], call.opened.account
        match call.name:
            case "Upload":
                self._uploads[account] = self._uploads.get(account, 0) + 1
                yield "padded_size", f"an attachment of {len(call.content):,} bytes"
            case "Send":
                yield "recipient", _short(last.recipient)
                yield "message_time", "sent"
                yield "padded_size", f"a message of {len(last.sealed or last.clear):,} bytes"
                if count := self._uploads.pop(account, 0):
                    yield "attachment_count", str(count)
                yield from _header(last.sealed)
            case _:
                yield from self._of_others(call)

    def _of_others(self, call: _Call) -> Iterator[tuple[str, str]]:
        last, account = call.requests[-1], call.opened.account
        match call.name:
            case "FetchBundle":
                yield "recipient", _short(last.account)
            case "Register":
                if account in self._registered:
                    yield "pre_key_upkeep", "keys replaced"
                self._registered.add(account)
            case "Receive" | "Acknowledge":
                yield "message_time", "fetched" if call.name == "Receive" else "acknowledged"
            case "Download":
                yield "message_time", "its picture fetched"
                if self._downloads.setdefault(last.blob_id, account) != account:
                    yield "shared_attachment", "another account fetched it before"
            case "Submit" if call.opened.purpose is Purpose.REPORT:
                yield "report", "it opens the report"
                proofs = ("stamped_message", "designated_message", "signed_message")
                yield from ((name, "in the report") for name in proofs if self._declares(name, Party.CENTRE))
            case "Complain":
                yield "complaint", "in the complaint"

    def _declares(self, name: str, party: str) -> bool:
        """Is a fact declared to a party?"""
        every = (*self.head.declared, *self.declared)
        return any(one.parties == (party,) and name in [fact.name for fact in one.facts] for one in every)

    def _of_event(self, event: Played) -> Iterator[Step]:
        """What an operation came to, if there is something to say."""
        operation, who = event.operation, _short(account_of(event.operation) or "")
        says, facts, notices = "", dict[str, list[tuple[str, str]]](), list[tuple[str, str]]()
        match operation:
            case Publish() if not event.error:
                self._listed |= {one: Picture.from_bytes(one).hash for one in operation.listed}
            case AddDevice():
                self.accounts.append(operation.account)
                self.declared += event.declared
            case SendPicture():
                says, facts = self._of_sending(event, who)
            case Receive():
                count = sum(pictures for _, pictures in event.received)
                has = f"has {count} picture{'s' * (count > 1)}" if count else "has the text"
                says = f"{who}'s device {has}." if event.received else f"Nothing came for {who}."
                facts = {who: [("received", "the picture, as it was sent")]} if count else {}
            case Check() if event.reports is not None:
                says, facts, notices = self._of_check(event.reports)
        notices += [(f"{who}'s device", _short(one)) for one in event.noticed]
        if event.error:
            says, notices = (
                f"{says} It ends in an error.".strip(),
                [*notices, (f"{who}'s device", _short(event.error))],
            )
        if says or notices:
            ms = event.at_ms - self._began
            whose = who or str(Party.CENTRE)
            yield Step(whose, whose, "", says, ms, facts=facts, notices=tuple(dict.fromkeys(notices)))

    def _of_sending(self, event: Played, who: str) -> tuple[str, dict[str, list[tuple[str, str]]]]:
        learns = {"match": "is listed", "no match": "is not listed", "flag": "is flagged"}.get(event.outcome)
        words = (
            f"learns that the picture {learns}" if learns else "does not learn whether the picture is listed"
        )
        ends = "The message is on its way." if event.delivered else "The message is not sent."
        facts = {who: [("outcome", event.outcome)]} if learns else {}
        refused = event.delivered is False and event.outcome in ("match", "flag")
        if refused and self._declares("outcome", Party.PROVIDER):
            facts[str(Party.PROVIDER)] = [("outcome", "asked about, and not sent")]
        return f"{who}'s device {words}. {ends}", facts

    def _of_check(self, reports: Sequence[tuple[str, str]]) -> Any:
        """What the centre has of this picture: the reports that came since it was sent."""
        self._reports, new = len(reports), reports[self._before :]
        if not new:
            return "The centre has no report of it.", {}, []
        state, checks = new[-1]
        says = f"The centre has a report of it: {_short(state)}, its machine's checks {_short(checks)}."
        found = [("a person at the centre", "found the report unfounded")] if state == State.UNFOUNDED else []
        return says, {str(Party.CENTRE): [("report", "it has the report")]}, found


def _operations(lines: Sequence[Request | Played]) -> Iterator[tuple[list[Request], Played | None]]:
    """Each operation with what left while it was done; the last one may have no end."""
    requests = list[Request]()
    for one in lines:
        if isinstance(one, Request):
            requests.append(one)
        else:
            yield requests, one
            requests = []
    if requests:
        yield requests, None


def _acts(lines: Sequence[Request | Played]) -> list[list[tuple[list[Request], Played | None]]]:
    """Operations up to the first picture, then from each picture up to the next."""
    acts = list[list[tuple[list[Request], Played | None]]]()
    for one in _operations(lines):
        if not acts or (one[1] is not None and isinstance(one[1].operation, SendPicture)):
            acts.append([])
        acts[-1].append(one)
    return acts


def _header(sealed: bytes) -> Iterator[tuple[str, str]]:
    """What the header of a sealed message says."""
    try:
        message = SealedMessage.decode(sealed)
    except ProtocolError:
        return
    yield "message_order", f"number {message.header.number} under its ratchet key"
    if message.initial:
        yield "session_start", "it starts a session"


def _as(call: _Call, kind: str) -> str:
    """In which form a request goes, in plain words."""
    if call.opened.purpose is Purpose.REPORT:
        return ", sealed to the centre, which opens it"
    if call.name == "Send" and kind == PICTURE:
        return " in the clear, with the key to its picture"
    return f", {AS[kind]}" if kind in AS else ""


def _of_others(facts: Mapping[str, Any], host: str) -> dict[str, Any]:
    return {names: some for names, some in facts.items() if host not in names.split("+")}


@cache
def _bundled() -> list[bytes]:
    return [bytes.fromhex(one["hash"]) for one in committed("pictures")["pictures"]]


def _near(picture: Picture, hashes: Iterable[bytes]) -> bool:
    some = rows(list(hashes))
    return bool((distances(rows([picture.hash]), some) <= MATCH_DISTANCE).any())


def _short(words: str) -> str:
    """Somebody else's words, made safe to be shown in a line."""
    return printable(words, MOST_WORDS)
