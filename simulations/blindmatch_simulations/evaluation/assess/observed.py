"""What the worker of one design hands back: raw observations, no figures and no judgement;
and a design's declaration as data, with what the messenger declares beside it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from math import ceil
from typing import Annotated, Any, Final

from blindmatch_client.settings import FailureMode, list_device_facts, list_failure_facts
from blindmatch_protocol.contract import Adversary, AnyDesign, Fact, Info, Party, Severity, Shows, Topic
from blindmatch_protocol.contract.design import coalitions, told
from msgspec import UNSET, Meta, UnsetType

from blindmatch_simulations.evaluation.studies.capacity_records import Capacity
from blindmatch_simulations.measure.results import Strict
from blindmatch_simulations.measure.yardstick import Run

DAY_SECONDS: Final = 86_400


class Item(Strict, frozen=True):
    """A picture of the workload.

    Attributes:
        index: its place in the order of sending.
        listed: whether the unedited crop is on the list.
        quality: of the edited picture's PDQ hash.
        origin_distance: PDQ distance from the unedited crop.
        list_distance: PDQ distance from the nearest entry of the list.
    """

    index: int
    name: str
    edit: str
    listed: bool
    quality: int
    origin_distance: int
    list_distance: int


class PictureRow(Item, frozen=True):
    """One picture that was sent through the design over gRPC.

    Attributes:
        matched: whether whoever learns of it got a match; None if nobody does by picture.
        expected: whether it should match by the design's own relation, in the clear.
        up_bytes, down_bytes: matching requests and replies of this picture, all roles together.
        report_bytes: requests of reports; of vouchers, too, in rows of before `voucher_bytes` was noted.
        voucher_bytes: requests with a voucher, which leaves with every picture of a design that has them.
        wall_ms, cpu_ms: of the device, from handing the picture over until it is sent.
        kind: of picture; photographs are the crops.
    """

    expected: bool
    matched: bool | None
    outcome: str
    delivered: bool
    up_bytes: int
    down_bytes: int
    report_bytes: int
    wall_ms: float
    cpu_ms: float
    kind: str = "photographs"
    voucher_bytes: int = 0


class AloneRow(Strict, frozen=True):
    """One picture's session in one process: the design's own work.

    Attributes:
        hash_ms: decoding and hashing the picture.
        picture_cpu_ms: CPU of what the design asked for of that: both, decoding alone, or 0 for nothing. None
            in rows of before it was noted.
        device_ms, device_cpu_ms: the device's steps.
        role_ms, role_cpu_ms: the answers of all roles together; the mean of turns where there are several.
        bytes: of all requests and replies.
    """

    index: int
    hash_ms: float
    device_ms: float
    device_cpu_ms: float
    role_ms: float
    role_cpu_ms: float
    bytes: int = 0
    picture_cpu_ms: float | None = None


class Lengths(Strict, frozen=True):
    """The same pictures' sessions in one process, in turns over the run's list and one of a second length.

    Attributes:
        entries: of the second list.
        u_us: the unit, mean of readings before and after.
        own, other: sessions over the run's list and over the second one, the same picture at each place.
        setup_bytes: what a device fetches, of the run's list and of the second one.
        together: CPU ms of the roles' answers in pairs: one request after the other, and all at once.
        requests: of each such pair.
        step: entries that the design declares to compare in one step (contract: `Info.entries_a_step`); work
            goes by whole steps, so that a slope is taken between these. 1 where nothing is declared.
    """

    entries: int
    u_us: float
    own: tuple[AloneRow, ...]
    other: tuple[AloneRow, ...]
    setup_bytes: tuple[int, int]
    together: tuple[tuple[float, float], ...]
    requests: int
    step: int = 1


class FactSeen(Strict, frozen=True):
    """A declared fact (contract: `Fact`); what it shows is in the contract's order."""

    name: str
    says: str
    severity: Severity
    shows: tuple[Shows, ...] = ()
    topic: Topic | None = None
    abuse: str = ""
    noticed_by: str = ""

    @classmethod
    def of(cls, fact: Fact) -> FactSeen:
        shows = tuple(one for one in Shows if one in fact.shows)
        return cls(fact.name, fact.says, fact.severity, shows, fact.topic, fact.abuse, fact.noticed_by)


class Declared(Strict, frozen=True):
    """What a coalition learns by the design's declaration, or the messenger's (`source`)."""

    parties: tuple[str, ...]
    adversary: str
    source: str
    facts: tuple[FactSeen, ...]


class Known(Strict, frozen=True):
    """What stored files of a coalition show of the list (contract: `ListKnowledge`)."""

    parties: tuple[str, ...]
    knowledge: str


class Described(Strict, frozen=True):
    """The declaration of a design.

    Attributes:
        relation: its kind: equal, near, category or nothing; `distance` is None but for the first two.
        content: how pictures reach a party with a role: no, sealed or clear.
    """

    name: str
    version: int
    option: str
    differs: str
    summary: str
    distance: int | None
    learns: tuple[str, ...]
    roles: dict[str, str]
    content: str
    parameters: dict[str, int]
    declared: tuple[Declared, ...]
    relation: str = "near"
    end_to_end: bool = True
    list_known: tuple[Known, ...] = ()


class Traffic(Strict, frozen=True):
    """Bytes between the measured device and one party, by purpose, as the device recorded them."""

    party: str
    purpose: str
    up_bytes: int
    down_bytes: int


class ServerCost(Strict, frozen=True):
    """CPU of a server's process while the pictures were sent, and its memory at the most, with the modules of
    all designs that its parent had loaded."""

    party: str
    cpu_s: float | None
    peak_mib: float | None


class AuditFinding(Strict, frozen=True):
    """Undeclared bytes that the audit found."""

    party: str
    rule: str
    bytes: int


class Audited(Strict, frozen=True):
    """The egress audit of a second device that sent some of the pictures.

    Attributes:
        comparable: whether something was found, or a session could be compared with other pictures that agree
            on what is declared; else that nothing was found says nothing.
    """

    pictures: int
    sessions: int
    undeclared_bytes: int
    findings: tuple[AuditFinding, ...]
    comparable: bool = True


class PeriodUse(Strict, frozen=True):
    """What an account may have in each of the periods that follow one another (contract: `PeriodLimit`).

    Attributes:
        seconds: length of a period.
        evaluations: an account may have in one.
    """

    seconds: int
    evaluations: int


class KeyUse(Strict, frozen=True):
    """What a role's key may be asked for, as the design limits it (contract: `KeyLimits`).

    Attributes:
        cost: evaluations that one picture takes.
        per_account, in_all: evaluations in the key's life; None for no limit.
        periods: limits of an account by time, however long the key lives; unset if there are none.
    """

    cost: int
    per_account: int | None
    in_all: int | None
    periods: tuple[PeriodUse, ...] | UnsetType = UNSET

    def of_account(self, days: float) -> int | None:
        """Return the evaluations that an account may have in so many days under one key; None for no limit.
        As many periods count as begin in that time, since what one allows may be used on its first day."""
        allowed = [one.evaluations * ceil(days * DAY_SECONDS / one.seconds) for one in self.periods or ()]
        if self.per_account is not None:
            allowed.append(self.per_account)
        return min(allowed, default=None)


class Extracted(Strict, frozen=True):
    """What a modified device opens of a list of uniform hashes by asking (contract: `Extraction`).

    Attributes:
        unit: what it spends.
        shares: the share that is open, by how many were spent.
    """

    unit: str
    shares: dict[str, float]


class Proven(Strict, frozen=True):
    """Bytes of what an outsider can be shown of the epoch.

    Attributes:
        ties: whether what pictures are matched with is tied to the epoch.
        epoch: its leaf, and the proof of a log with two witnesses.
        endorsement: the proof that two of three organisations endorsed an entry; None where none matches.
        absence: the proof that a picture is not on the list; None where a role's "no" proves nothing.
        quoted: whether an enclave's quote, which devices are shown, ties it to the epoch's list.
    """

    ties: bool
    epoch: int
    endorsement: int | None
    absence: int | None
    quoted: bool = False


class Built(Strict, frozen=True):
    """One build: the set, or its update."""

    seconds: float
    cpu_s: float
    entries: int
    setup_bytes: int


class Updated(Strict, frozen=True):
    """The update of the set; `why` says why there is none, or why it was built as a whole set."""

    why: str
    built: Built | None = None
    fetched_bytes: int = 0


class Offence(Strict, frozen=True):
    """What a device that does not play along came to.

    Attributes:
        sent: pictures of listed material it sent.
        delivered: how many of them arrived.
        asked: matching requests that any role counted for its account.
        uploads: attachments the relay counted for its account.
        refused_archive: whether an honest device refuses an attachment that is no picture.
        archive_delivered: whether one under the other policy delivers it.
        archive_asked: matching requests made for it.
    """

    sent: int
    delivered: int
    asked: int
    uploads: int
    refused_archive: bool
    archive_delivered: bool
    archive_asked: int


class ToGroup(Strict, frozen=True):
    """What one listed picture to several people at once came to, as servers and the centre counted it.

    Attributes:
        people: whom it went to.
        delivered: how many of them it was handed over for.
        asked: matching requests that any role counted for its sender.
        uploads: attachments.
        reports: that the centre holds of its sender, whoever made them; vouchers are not among them.
        named: how many of the people stand in these reports.
    """

    people: int
    delivered: int
    asked: int
    uploads: int
    reports: int
    named: int


RECOVERED: Final = {
    "properties": {
        "recovered_by": {
            "type": "object",
            "additionalProperties": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        }
    }
}


COMMITTED: Final = "committed"
"""Among the figures of a check that is of committed evidence."""


class Check(Strict, frozen=True):
    """A conformance check's verdict: passed, failed, not applicable, not comparable, or not checked."""

    check: str
    says: str
    verdict: str
    reason: str
    figures: Annotated[dict[str, Any], Meta(extra_json_schema=RECOVERED)]
    seconds: float


class Copies(Strict, frozen=True):
    """Pictures that the design was sent, of those of the workload.

    Attributes:
        why: why no share of its pictures may stand beside those of designs that were sent all; empty if one
            may.
    """

    sent: int
    in_all: int
    why: str = ""


class Observed(Strict, frozen=True):
    """All that a worker saw of a design.

    Attributes:
        build_parts: in how many parts the set was built; more than one if a run was interrupted.
        peak_mib: how far the process grew at the most while pictures were sent, less the records kept; below
            0 if it put some of these where it had had memory before. None if the system does not tell.
        lessened: where the design is too dear for the workload, what was left out and what it takes.
        timed: the yardstick around each part whose times are figures, by part (`judging.Kind.timed`); unset
            in files of before it was noted.
        model_bytes: of a model that a device needs beside the set-up (contract: `Info.model_bytes`).
        capacity: what modified phones open of a hidden list, and how long its key lasts; unset in files of
            before it was noted.
    """

    design: Described
    entries: int
    build: Built
    build_parts: int
    pictures: tuple[PictureRow, ...]
    arrived: int
    alone: tuple[AloneRow, ...]
    traffic: tuple[Traffic, ...]
    servers: tuple[ServerCost, ...]
    peak_mib: float | None
    audit: Audited
    update: Updated
    offence: Offence
    vouchers_opened: int
    query_rate: float
    query_burst: int
    stages: dict[str, float]
    key: KeyUse | None = None
    extraction: Extracted | None = None
    lessened: str = ""
    proven: Proven | None = None
    copies: Copies | UnsetType = UNSET
    lengths: Lengths | None = None
    to_group: ToGroup | UnsetType = UNSET
    to_large_group: ToGroup | UnsetType = UNSET
    timed: dict[str, Run] | UnsetType = UNSET
    model_bytes: int = 0
    capacity: Capacity | UnsetType = UNSET


def described(design: AnyDesign, given: Mapping[str, int]) -> Described:
    """What `design` says of itself, with the parameters that it is measured with."""
    info = design.info
    return Described(
        name=info.name,
        version=info.version,
        option=info.option,
        differs=info.differs,
        summary=info.summary,
        distance=info.relation.distance,
        learns=tuple(sorted(map(str, info.learns))),
        roles={str(role): str(party) for role, party in info.roles.items()},
        content=str(info.sends_content),
        parameters={one.name: given.get(one.name, one.default) for one in info.parameters},
        declared=(*_of_design(design), *_of_messenger(info)),
        relation=type(info.relation).__name__.lower(),
        end_to_end=info.end_to_end,
        list_known=tuple(
            Known(tuple(sorted(map(str, parties))), str(design.list_knowledge(parties)))
            for parties in (frozenset({Party.DEVICE}), frozenset({Party.PROVIDER}), *coalitions(design))
        ),
    )


def _of_design(design: AnyDesign) -> Iterator[Declared]:
    """The declaration's facts for each party and coalition that is told any."""
    for parties in (frozenset({Party.DEVICE}), *coalitions(design)):
        for adversary in Adversary:
            if facts := told(design, parties, adversary):
                yield _row(parties, str(adversary), "design", facts)


def _row(parties: Iterable[Party], adversary: str, source: str, facts: Iterable[Fact]) -> Declared:
    found = tuple(map(FactSeen.of, facts))
    return Declared(tuple(sorted(map(str, parties))), adversary, source, found)


def _of_messenger(info: Info) -> list[Declared]:
    """What the messenger tells each party, a failure in the default mode included."""
    always = list_device_facts(info=info)
    failing = list_failure_facts(FailureMode.HOLD, info)
    return [
        _row({party}, Adversary.SEMI_HONEST, "messenger", (*facts, *failing.get(party, ())))
        for party, facts in always.items()
    ]
