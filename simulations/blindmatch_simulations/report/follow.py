"""One picture, followed through recordings: what reached each party, as one page that needs nothing else.

recording --> followed --> Followed: messages and ends in their order, without keys, sessions, randomness
Followed  --> follow.js: state x event -> state, drawn; steps go back by reducing again
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from typing import Any, Final, TypeAlias

from blindmatch_client.egress.calls import printable
from blindmatch_client.settings import FRANKING_FACTS
from blindmatch_client.trace import Purpose
from blindmatch_protocol.codec.errors import BlindmatchError, PictureError, ProtocolError
from blindmatch_protocol.contract import Content, Evaluation, Party, Severity
from blindmatch_protocol.messages.sealed_message import SealedMessage
from blindmatch_protocol.picture.decode import Picture
from blindmatch_server.centre.store import State
from google.protobuf.message import DecodeError
from msgspec import Struct, field
from msgspec.structs import replace

from blindmatch_simulations.data import committed, table_of
from blindmatch_simulations.report.markup import bundled, near, thumbnail
from blindmatch_simulations.testbed.audit.records import REQUESTS
from blindmatch_simulations.testbed.scenario import operations as do
from blindmatch_simulations.testbed.scenario.recording import Attack, Declared, Played, Recording, Request
from blindmatch_simulations.testbed.scenario.run import Shown

MOST_SCENES: Final = 12
MOST_WORDS: Final = 600
HEAD_BYTES: Final = 96
EXCHANGES: Final = ("Exchange", "ExchangeLarge")
Facts: TypeAlias = dict[str, list[tuple[str, str]]]
Done: TypeAlias = tuple[Sequence[Request], Played | None]
PIECE: Final = 48
"""Bytes of a picture that a request must hold to be called one."""
CIPHERTEXT = "ciphertext"
BLINDED = "blinded"
HASH = "plain hash"
PICTURE = "picture"
UPKEEP = "upkeep"
READ: Final = (Severity.CONTENT, Severity.HASH)
LASTING: Final = (Purpose.ACCOUNT, Purpose.SETUP, Purpose.ENROLMENT)
_WORDS: Final = table_of("follow")
CALLS: Final[Mapping[str, Mapping[str, Any]]] = _WORDS["calls"]
OPENS: Final = ", sealed to the centre, which opens it."
AS: Final[Mapping[str, str]] = _WORDS["as"]
PROOFS: Final = [fact.name for fact in FRANKING_FACTS.values()]
LEARNS: Final[Mapping[str, str]] = _WORDS["learns"]
PLAIN: Final[Mapping[str, str]] = _WORDS["plain"]


class FollowError(BlindmatchError):
    """A page cannot be made of these recordings."""


class Step(Struct, frozen=True):
    """A message, or the end of an operation.

    Attributes:
        source, target: party or account; both the same for an end.
        kind: what the target can read of it; empty for an end.
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
    size: int = 0
    head: str = ""
    facts: Facts = field(default_factory=dict)
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
    """What the page is told of a recording: `parties` with their kind; `called`, the design's plain name."""

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
    called: str = ""


def followed(recording: Recording) -> Followed:
    """The filtered stream of a recording: nothing of its keys, sessions and randomness; `FollowError` if no
    bundled picture was sent in it, or a picture or a request is none."""
    reader = _Reader(recording)
    head = recording.head
    steps, scenes, left_out = reader.read()
    if not scenes:
        raise FollowError(f"the recording of {head.design} has no bundled picture that was sent")
    if recording.torn or not recording.devices:
        left_out.append("The run was ended before its end: replies, and what came later, are not recorded.")
    accounts = [(name, str(Party.DEVICE)) for name in reader.accounts]
    servers = [(_short(party), _short(party)) for party in (*head.parties, Party.CURATOR)]
    rows = {(one.parties, one.adversary, one.facts): one for one in (*head.declared, *reader.declared)}
    says = f"{_WORDS['sums'].get(head.design, '')} {head.summary}".strip()
    design, option, summary, at = map(_short, (head.design, head.option, says, head.made_at))
    drawn = tuple(map(_plain, rows.values())), tuple(steps), tuple(scenes), head.attack, tuple(left_out)
    called = committed("plain")["names"].get(head.design, "")
    return Followed(design, option, summary, at, (*accounts, *servers), *drawn, called)


class _Call(Struct, frozen=True):
    """A call that left a device: its first request as recorded, all of them, parsed, and what these bear."""

    opened: Request
    name: str
    requests: tuple[Any, ...]
    size: int
    content: bytes
    reply_bytes: int

    @classmethod
    def of(cls, some: Sequence[Request], reply_bytes: int) -> _Call:
        first = some[0]
        name = some[0].method.rpartition("/")[2]
        try:
            parsed = tuple(REQUESTS[one.method].FromString(one.body) for one in some)
        except (KeyError, DecodeError):
            where = f"request {first.sequence} of {_short(first.account)}"
            raise FollowError(f"{where}: method or body: is none of {len(REQUESTS)} known ones") from None
        bodies = [one.body for one in some]
        bears = "data" if name == "Upload" else "body" if name in EXCHANGES else ""
        content = [getattr(one, bears) for one in parsed] if bears else bodies
        return cls(first, name, parsed, sum(map(len, bodies)), b"".join(content), reply_bytes)


class _Reader:
    """Reads a recording's lines in their order, one operation after the other."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.head = recording.head
        self.declared: list[Declared] = []
        self.accounts: list[str] = []
        self._listed: dict[bytes, bytes] = {}
        self._uploads: dict[str, int] = {}
        self._downloads: dict[bytes, str] = {}
        self._registered: set[str] = set()
        devices = recording.devices.values()
        self._replies = {(d.account, one.sequence): one.reply_bytes for d in devices for one in d.calls}
        self._sent: tuple[int | None, Picture, bytes] | None = None
        self._reports = self._before = 0
        self._compared: set[str] = set()

    def read(self) -> tuple[list[Step], list[Scene], list[str]]:
        steps = list[Step]()
        scenes = list[Scene]()
        left_out = set[str]()
        for act in _acts(self.recording.lines):
            event = act[0][1]
            if event is None or not isinstance(event.operation, do.SendPicture):
                steps += [replace(one, lasting=True) for one in self._steps(act)]
                continue
            file = event.operation.picture
            self._sent = event.item, (picture := _picture(file, event)), file
            self._before = self._reports
            self._compared = set()
            first = len(steps)
            made = self._steps(act)
            if not near(picture.hash, bundled()):
                left_out.add("Pictures that are not near a bundled one, and all that left for them.")
            elif len(scenes) == MOST_SCENES:
                left_out.add(f"All pictures but the first {len(scenes)}.")
            else:
                steps += made
                what = self._what(picture, file), thumbnail(file), _short(event.operation.sender)
                scenes.append(Scene(sha256(file).hexdigest()[:16], *what, first, len(steps)))
        return steps, scenes, sorted(left_out)

    def _what(self, picture: Picture, file: bytes) -> str:
        if file in self._listed:
            return "listed"
        if near(picture.hash, self._listed.values()):
            return "edited copy of a listed one"
        return "not listed" if self._listed else "bundled"

    def _steps(self, act: Sequence[Done]) -> list[Step]:
        steps = list[Step]()
        for requests, event in act:
            calls: dict[tuple[str, int], list[Request]] = {}
            for one in requests:
                if one.item is None or (self._sent is not None and one.item == self._sent[0]):
                    calls.setdefault((one.account, one.sequence), []).append(one)
            for key, some in calls.items():
                made = list(self._of_call(_Call.of(some, self._replies.get(key, 0))))
                steps += [] if steps and made == [steps[-1]] else made
            ends = [] if event is None else list(self._of_event(event))
            if len(ends) > 1:
                reports = (at for at, one in enumerate(steps) if one.says.endswith(OPENS))
                steps.insert(next(reports, len(steps)), ends.pop(0))
            steps += ends
        return steps

    def _of_call(self, call: _Call) -> Iterator[Step]:
        """A request; where a carrier hands it on, that too; and a reply that bears something."""
        target = call.opened.party
        whose = _short(call.opened.account)
        words = CALLS["Cover" if call.opened.purpose is Purpose.COVER else call.name]
        facts = self._facts(call)
        kind = self._kind(call, target)
        host = self._host(call)
        says = f"{whose}'s device {words['asks']}{_as(call, kind)}."
        lasting = call.opened.purpose in LASTING
        head = call.content[:HEAD_BYTES].hex()
        of_host = {host: facts.pop(host, [])} if host != target else {}
        read = self._kind(call, host)
        yield Step(whose, target, kind, says, call.size, head, facts, lasting=lasting)
        if of_host:
            says = f"The {target} hands it on to the {host}{_as(call, read)}."
            yield Step(target, host, read, says, call.size, head, of_host, supposed=True)
        matches = call.opened.item is not None and call.opened.purpose is not Purpose.REPORT
        if matches and read in (PICTURE, HASH) and self._declares("outcome", host):
            self._compared.add(host)
            says = f"The {host} compares the picture with the list, and learns whether it is listed."
            learns: Facts = {host: [("outcome", "it compares each one itself")]}
            yield Step(host, host, "", says, facts=learns, supposed=True)
        if "answers" in words and call.reply_bytes:
            read = BLINDED if kind == BLINDED else words.get("reply", UPKEEP)
            read = PICTURE if read == CIPHERTEXT and not self.head.end_to_end else read
            yield Step(target, whose, read, f"The {target} {words['answers']}.", call.reply_bytes)

    def _host(self, call: _Call) -> str:
        role = call.requests[0].role if call.name in EXCHANGES else ""
        return self.head.roles.get(role, call.opened.party)

    def _kind(self, call: _Call, target: str) -> str:
        """What `target` can read: by the bytes where they show it, else by the declaration."""
        if call.opened.purpose is Purpose.REPORT:
            return PICTURE
        if found := self._found(call):
            return found
        if call.name == "Send" and call.requests[0].clear:
            return UPKEEP if call.opened.item is None else PICTURE
        if call.name not in EXCHANGES:
            return str(CALLS[call.name].get("kind", UPKEEP))
        severities = {one.severity for one in self._shown(call) if one.party == target}
        if severities & {*READ}:
            return PICTURE if Severity.CONTENT in severities else HASH
        if self.head.evaluation == Evaluation.SEALED or self.head.content == Content.SEALED:
            return CIPHERTEXT
        if self.head.evaluation == Evaluation.CLEAR:
            return PICTURE if self.head.content == Content.CLEAR else HASH
        return BLINDED

    def _found(self, call: _Call) -> str:
        """A picture or a hash whose bytes stand in a request; empty if neither does."""
        if self._sent is None or call.opened.item is None:
            return ""
        _, picture, file = self._sent
        pieces = [one[len(one) // 2 :][:PIECE] for one in (file, picture.pixels.tobytes())]
        if any(one in call.content for one in pieces if len({*one}) > PIECE // 8):
            return PICTURE
        return HASH if picture.hash in call.content else ""

    def _shown(self, call: _Call) -> list[Shown]:
        """What could be read in a request about a picture, when the run was recorded."""
        held = self.recording.devices.get(call.opened.account)
        if held is None or call.name not in EXCHANGES:
            return []
        of = call.requests[0].role, call.opened.item
        return [one for one in held.shown if (one.role, one.item) == of]

    def _facts(self, call: _Call) -> Facts:
        """What a request bears, by party: of its certificate, its fields, and what was read in it."""
        party = call.opened.party
        purpose = call.opened.purpose
        account = _short(call.opened.account)
        found: Facts = {party: [("account", account), ("address", "where it called from")]}
        found[party] += CALLS[call.name].get("bears", {}).items()
        found[party] += self._of_message(call) if call.name in ("Upload", "Send") else self._of_rest(call)
        traffic = found.setdefault(str(Party.PROVIDER), [])
        if purpose is Purpose.REPORT and self._declares("match_time", party):
            for one in (found[party], traffic):
                one.append(("match_time", "a report leaves"))
        if purpose is Purpose.COMPLAINT:
            traffic.append(("complaint_time", "a complaint leaves"))
        for read in self._shown(call):
            found.setdefault(read.party, []).append((read.fact, _short(read.value) or "in its bytes"))
        if call.name in EXCHANGES:
            self._arrived(call, found)
        elif (kind := self._kind(call, party)) in (PICTURE, HASH) and party != Party.CENTRE:
            rows = [row for row in (*self.declared, *self.head.declared) if row.parties == (party,)]
            told = {one.name: "seen" for row in rows for one in row.facts if one.severity in READ}
            found[party] += (told or {f"the {kind}": "seen"}).items()
            self._arrived(call, found)
        return {names: some for names, some in found.items() if some}

    def _arrived(self, call: _Call, found: Facts) -> None:
        """Facts that say no more than that a request came, of whoever gets it and of those together."""
        seers = {call.opened.party, self._host(call)}
        for row in self.head.declared:
            if {*row.parties} <= seers:
                alone = {name for one in row.parties for name, _ in found.get(one, ())}
                some = [(one.name, "seen") for one in row.facts if one.arrives and one.name not in alone]
                found.setdefault("+".join(row.parties), []).extend(some)

    def _of_message(self, call: _Call) -> Iterator[tuple[str, str]]:
        """Facts of the messenger that a message and its attachments bear, with their values."""
        last = call.requests[-1]
        account = call.opened.account
        if call.name == "Upload":
            self._uploads[account] = self._uploads.get(account, 0) + 1
            yield "padded_size", f"an attachment of {len(call.content):,} bytes"
            return
        yield "recipient", _short(last.recipient)
        yield "padded_size", f"a message of {len(last.sealed or last.clear):,} bytes"
        if count := self._uploads.pop(account, 0):
            yield "attachment_count", str(count)
        if last.clear and call.opened.item is None:
            yield "message", "seen"
        with suppress(ProtocolError):
            message = SealedMessage.decode(last.sealed)
            yield "message_order", f"number {message.header.number} in its row"
            if message.initial:
                yield "session_start", "it starts a conversation"

    def _of_rest(self, call: _Call) -> Iterator[tuple[str, str]]:
        last = call.requests[-1]
        account = call.opened.account
        match call.name:
            case "FetchBundle":
                yield "recipient", _short(last.account)
            case "Register":
                if account in self._registered:
                    yield "pre_key_upkeep", "keys replaced"
                self._registered.add(account)
            case "Download" if self._downloads.setdefault(last.blob_id, account) != account:
                yield "shared_attachment", "another account fetched it before"
            case "Submit" if call.opened.purpose is Purpose.REPORT:
                proofs = [one for one in PROOFS if self._declares(one, Party.CENTRE)]
                yield from ((name, "in the report") for name in ("report", *proofs))

    def _declares(self, name: str, party: str) -> bool:
        every = (*self.head.declared, *self.declared)
        return any(one.parties == (party,) and name in [fact.name for fact in one.facts] for one in every)

    def _of_event(self, event: Played) -> Iterator[Step]:
        operation = event.operation
        who = _short(do.account_of(event.operation) or Party.CENTRE)
        says = ""
        facts = Facts()
        notices = [(f"{who}'s device", _short(one)) for one in event.noticed]
        match operation:
            case do.Publish() if not event.error:
                self._listed |= {one: _picture(one, event).hash for one in operation.listed}
            case do.AddDevice():
                self.accounts.append(who)
                self.declared += event.declared
            case do.SendPicture():
                if event.outcome in LEARNS:
                    learns = f"{who}'s device {LEARNS[event.outcome]}. When, is not recorded."
                    yield Step(who, who, "", learns, facts={who: [("outcome", event.outcome)]})
                says, facts = self._of_sending(event, who)
            case do.Receive():
                pictures = sum(count for _, count in event.received)
                says = f"{who}'s device has the message." if event.received else f"Nothing came for {who}."
                facts = {who: [("received", "as it was sent")]} if pictures else {}
            case do.Check() if event.reports is not None:
                says, facts, found = self._of_check(event.reports)
                notices += found
        if event.error:
            says += " It ends in an error."
            notices.append((f"{who}'s device", _short(event.error)))
        if says or notices:
            yield Step(who, who, "", says.strip(), facts=facts, notices=tuple(dict.fromkeys(notices)))

    def _of_sending(self, event: Played, who: str) -> tuple[str, Facts]:
        learns = event.outcome in LEARNS
        ends = "The message is on its way." if event.delivered else "The message is not sent."
        if event.delivered is False and learns and self._declares("outcome", Party.PROVIDER):
            return ends, {str(Party.PROVIDER): [("outcome", "asked about, and not sent")]}
        return ends if learns else f"{who}'s device {LEARNS['nothing']}. {ends}", {}

    def _of_check(self, reports: Sequence[tuple[str, str]]) -> tuple[str, Facts, list[tuple[str, str]]]:
        """What the centre has of this picture: the reports that came since it was sent."""
        self._reports = len(reports)
        new = reports[self._before :]
        reporting = [] if self.head.end_to_end else sorted(self._compared)
        if not new:
            none = [("outcome", "it has reported nothing: no match, by the declaration")]
            return "The centre has no report of it.", dict.fromkeys(reporting, none), []
        state, checks = map(_short, new[-1])
        says = f"The centre has a report of it: {state}, its machine's checks {checks}."
        person = ("a person at the centre", "the picture: the report is unfounded")
        found = [person] if state == State.UNFOUNDED else []
        facts: Facts = {str(Party.CENTRE): [("report", "it has the report")]}
        sent = [("outcome", "match, and it reported it"), ("match_time", "a report left")]
        return says, facts | dict.fromkeys(reporting, sent), found


def _plain(row: Declared) -> Declared:
    return replace(row, facts=tuple(replace(one, says=PLAIN.get(one.says, one.says)) for one in row.facts))


def _acts(lines: Sequence[Request | Played]) -> list[list[Done]]:
    """Operations with what left meanwhile, up to the first picture, then from each picture up to the next."""
    acts = [list[Done]()]
    requests = list[Request]()
    for one in lines:
        if isinstance(one, Request):
            requests.append(one)
            continue
        if isinstance(one.operation, do.SendPicture):
            acts.append([])
        acts[-1].append((requests, one))
        requests = []
    acts[-1].append((requests, None))
    return [one for one in acts if one]


def _as(call: _Call, kind: str) -> str:
    """In which form a request goes, in plain words."""
    if call.opened.purpose is Purpose.REPORT:
        return OPENS.removesuffix(".")
    if call.name == "Send" and kind == PICTURE:
        return " in the clear, with the key to its picture"
    return f", {AS[kind]}" if kind in AS else ""


def _picture(file: bytes, event: Played) -> Picture:
    try:
        return Picture.from_pixels(Picture.from_bytes(file).pixels)
    except PictureError as error:
        raise FollowError(f"event {event.number}: operation: picture: {error}") from None


def _short(words: str) -> str:
    return printable(words, MOST_WORDS)
