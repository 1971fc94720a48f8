"""Runs one design on the material, over real gRPC between processes, and notes all that can be seen: which
picture matched, where no device says so; the egress audit of a second device; and devices that do not play
along, one that never asks and one that hides a picture from its own hash."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
from blindmatch_client.device import Unreadable
from blindmatch_client.trace import Purpose, SessionTrace
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.errors import DesignError, PictureError
from blindmatch_protocol.codec.randomness import system_randomness
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import (
    AnyDesign,
    Content,
    Done,
    Flag,
    Item,
    Label,
    Learner,
    Match,
    Message,
    NoMatch,
    Progress,
    Relation,
    Started,
    Voucher,
    open_all,
)
from blindmatch_protocol.contract.relation import NO_ENTRIES
from blindmatch_protocol.picture.decode import Picture
from blindmatch_protocol.picture.pdq import LEAST_QUALITY, MATCH_DISTANCE, near_pairs, rows
from blindmatch_server.curator import HashList
from blindmatch_server.matching.answering import MatchingLimits
from msgspec import Struct, field
from msgspec.structs import asdict, replace

from blindmatch_simulations.evaluation.assess import costs
from blindmatch_simulations.evaluation.assess.alone import (
    Fitted,
    extracted,
    fitted,
    key_use,
    lengths,
    sessions_alone,
)
from blindmatch_simulations.evaluation.assess.epochs import proven, updated
from blindmatch_simulations.evaluation.assess.material import MadeItem, Material
from blindmatch_simulations.evaluation.assess.observed import (
    AloneRow,
    Audited,
    AuditFinding,
    Built,
    Copies,
    Observed,
    Offence,
    PictureRow,
    ServerCost,
    ToGroup,
    Traffic,
    described,
)
from blindmatch_simulations.evaluation.assess.plan import Plan
from blindmatch_simulations.evaluation.studies.capacity import capacity, eu_volume
from blindmatch_simulations.evaluation.studies.capacity_records import Assumed
from blindmatch_simulations.measure.phases import PhaseTimes, each
from blindmatch_simulations.measure.processes import (
    reset_peak,
    status_mib,
    tree_cpu_seconds,
    used_cpu_seconds,
)
from blindmatch_simulations.measure.yardstick import Cost, Run, reading
from blindmatch_simulations.testbed.audit import Undeclared, audit_device
from blindmatch_simulations.testbed.deployment.curating import add_references, lend
from blindmatch_simulations.testbed.deployment.devices import register_guest
from blindmatch_simulations.testbed.deployment.operators import centre_show
from blindmatch_simulations.testbed.deployment.processes import Nursery, ServerProcess
from blindmatch_simulations.testbed.inprocess.deployed import open_published, values_of
from blindmatch_simulations.testbed.scenario.run import counterpart, evidence, sums, watching
from blindmatch_simulations.testbed.scenario.world import World


def expected_of(relation: Relation, item: MadeItem, picture: Item) -> bool:
    """Does `item` match by `relation`? Where distances matter, by the nearest entry's."""
    if relation.distance is None:
        return relation.matches(picture, NO_ENTRIES)
    return item.list_distance <= relation.distance and item.quality >= relation.minimum_quality


def by_opener(
    rows: Sequence[PictureRow],
    traces: Iterable[SessionTrace],
    opened_again: Callable[[Sequence[Message]], Mapping[int, Label]],
    opened: int,
) -> list[PictureRow]:
    """Rows with `matched` filled in by opening all of the device's vouchers once more, as the centre does
    (contract: `open_all`), or not if that opens another number than the centre's `opened`; `ProtocolError` if
    a voucher breaks the protocol."""
    last = {trace.item: trace.outcome for trace in traces}
    bodies = [one.body if isinstance(one, Voucher) else None for _, one in sorted(last.items())]
    kept = {body.encode(): body for body in bodies if body is not None}
    found = _open_again(list(kept.values()), opened_again, opened)
    if len(bodies) != len(rows) or len(found) != opened:
        return list(rows)
    return [
        replace(row, matched=body is not None and body.encode() in found)
        for row, body in zip(rows, bodies, strict=True)
    ]


def _open_again(
    vouchers: Sequence[Message], opened_again: Callable[[Sequence[Message]], Mapping[int, Label]], opened: int
) -> set[bytes]:
    """Encodings of those that open: all at once, or, if those are not as many, as the centre gets them, since
    made-up ones that come later raise what opens an account."""
    at = set(opened_again(vouchers))
    if len(at) != opened:
        at = set()
        for count in range(1, len(vouchers) + 1):
            at |= set(opened_again(vouchers[:count]))
            if len(at) >= opened:
                break
    return {vouchers[index].encode() for index in at}


def by_server(rows: Sequence[PictureRow], distances: Iterable[int]) -> list[PictureRow]:
    """Rows with `matched` filled in from the PDQ distances of the reports that a server made, which name no
    message: of pictures at one distance from the list the first ones are taken, so that counts by distance
    are exact; those by edit may be shared out differently among edits of one distance."""
    left = Counter(distances)
    found = []
    for row in rows:
        matched = left[row.list_distance] > 0
        left[row.list_distance] -= matched
        found.append(replace(row, matched=matched))
    return found


AUDITED = "audited"


def audited(
    world: World,
    recipient: str,
    files: Sequence[bytes],
    pool: Sequence[bytes],
    entries: HashList,
    progress: Progress,
) -> Audited:
    """Send `files` from a new device and audit what left it; decoys are taken from `files` and `pool`."""
    watched = world.device(AUDITED)
    for data in each(files, progress):
        world.send_picture(AUDITED, recipient, data)
    world.flush(AUDITED)
    found = evidence(world, AUDITED, [Picture.from_bytes(data) for data in pool], world.counted())
    watched.device.close()
    seen = [*found.items.values(), *found.pool]
    near = near_entries(world.design.info.relation, seen, entries.hashes)
    audit = audit_device(counterpart(world, near), found)
    if audit.crashes:
        raise DesignError(f"design {world.design.info.name}: {audit.crashes[0].words}")
    sums = Counter[tuple[str, str]]()
    for finding in audit.findings:
        sums[str(finding.party), finding.rule] += finding.size
    findings = tuple(AuditFinding(party, rule, size) for (party, rule), size in sorted(sums.items()))
    comparable = audit.undeclared is not Undeclared.NOT_COMPARABLE
    return Audited(audit.pictures, audit.sessions, audit.undeclared_bytes, findings, comparable)


def near_entries(relation: Relation, pictures: Sequence[Item], entries: Rows) -> Rows:
    """Those of `entries`, uint8 (n, 32), that one of `pictures` may match: for these they answer as the whole
    list does, which is read once and not for every question."""
    if relation.distance is None:
        return entries[:0]
    hashes = rows([picture.hash for picture in pictures])
    return entries[np.unique(near_pairs(hashes, entries, relation.distance)[:, 1])]


SKIPPER = "skipper"
ARCHIVER = "archiver"
REFUSER = "archiver-refused"
HOST: Final = "host"
LARGE_GROUP: Final = 30
_MASK = 0x5A


class NeverAsks:
    """A modified client: the design `real` in everything, but no picture is asked about and none matches."""

    def __init__(self, real: AnyDesign) -> None:
        self._real = real

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def start(self, state: Any, setup: Any, item: Any, binding: Any, rng: Any) -> Started[Any, Any]:
        """Decide at once that nothing matches: no request is sent."""
        return Started(state, Done(NoMatch()))


def offend(world: World, recipient: str, listed: Sequence[bytes]) -> Offence:
    """Send `listed` pictures from a device that never asks, and one as an archive; who counted what."""
    world.device(SKIPPER, design=cast("AnyDesign", NeverAsks(world.design)), unreadable=Unreadable.SEND)
    delivered = sum(world.send_picture(SKIPPER, recipient, data).delivered for data in listed)
    refused, passed = _archive(world, recipient, listed[0])
    calls = _calls(world)
    return Offence(
        sent=len(listed),
        delivered=delivered,
        asked=calls[SKIPPER, "Exchange"],
        uploads=calls[SKIPPER, "Upload"],
        refused_archive=refused,
        archive_delivered=passed,
        archive_asked=calls[ARCHIVER, "Exchange"],
    )


def to_group(world: World, people: Sequence[str], listed: bytes) -> ToGroup:
    """Send a listed picture to several people at once, from a device of its own; who counted what."""
    before = {row.report_id for row in world.checked().reports}
    host = f"{HOST}-{len(people)}"
    sent = world.device(host).device.send_picture_to(people, listed)
    world.flush(host)
    calls = _calls(world)
    least = len(before) + (world.design.info.sends_content is Content.CLEAR)
    made = [row.report_id for row in world.checked(least).reports if row.report_id not in before]
    named = {centre_show(world.deployment, one).recipient for one in made}
    return ToGroup(
        people=len(people),
        delivered=sum(one.delivered for one in sent),
        asked=calls[host, "Exchange"],
        uploads=calls[host, "Upload"],
        reports=len(made),
        named=len(named & {*people}),
    )


def _archive(world: World, recipient: str, data: bytes) -> tuple[bool, bool]:
    """Does the policy `refuse` refuse an attachment that is no picture, and does `send` deliver it?"""
    hidden = bytes(byte ^ _MASK for byte in data)
    world.device(REFUSER, unreadable=Unreadable.REFUSE)
    try:
        world.send_picture(REFUSER, recipient, hidden)
        refused = False
    except PictureError:
        refused = True
    world.device(ARCHIVER, unreadable=Unreadable.SEND)
    return refused, world.send_picture(ARCHIVER, recipient, hidden).delivered


def _calls(world: World) -> Mapping[tuple[str, str], int]:
    found = Counter[tuple[str, str]]()
    for calls in world.counted().values():
        for row in calls:
            found[row.account, row.method.rpartition("/")[2].removesuffix("Large")] += row.calls
    return found


SENDER: Final = "sender"
RECIPIENT: Final = "recipient"
POOL: Final = 24
"""Pictures that the audit may take decoys from."""


class Observer(Redacted, Struct, frozen=True):
    """One design's run in the new folder `home`; its set is built, or found, below `sets`."""

    home: Path
    sets: Path
    reference: str
    plan: Plan
    material: Material
    phases: PhaseTimes
    nursery: Nursery | None = None
    seen: dict[str, Any] = field(default_factory=dict)

    def run(self) -> Observed:
        """Build, serve, send, audit, time alone, update; `BlindmatchError` if a part fails."""
        with World.create(self.home, self.reference) as world, ExitStack() as stack:
            with self.phases("set built") as progress, self._watched(costs.BUILT):
                fit = stack.enter_context(fitted(world.design, self.material, self.plan, self.sets, progress))
            entries = fit.entries
            build = self._build(world, fit)
            self._serve(world, fit)
            self._alone(world, fit)
            with self.phases("set updated"), self._watched(costs.UPDATED):
                update = updated(world.deployment, world.design, entries, self.plan)
            limits = MatchingLimits().exchanges
            sent = len(fit.items)
            why = f"it was sent {sent:,} of {fit.in_all:,} pictures: shares of others do not compare"
            return Observed(
                design=described(world.design, values_of(world.design, self.plan.parameters)),
                model_bytes=world.design.info.model_bytes,
                entries=len(entries),
                build=build,
                update=update,
                query_rate=limits.per_second,
                query_burst=limits.burst,
                lessened=fit.lessened,
                copies=Copies(sent, fit.in_all, why if sent < fit.in_all else ""),
                stages=self.phases.seconds,
                **self.seen,
            )

    @contextmanager
    def _watched(self, part: str) -> Iterator[None]:
        """Read the yardstick before and after a part of the run whose times are figures."""
        before = reading()
        wall = time.perf_counter()
        cpu = used_cpu_seconds()
        yield
        cost = Cost(time.perf_counter() - wall, used_cpu_seconds() - cpu)
        self.seen.setdefault("timed", {})[part] = Run(cost, before, reading())

    def _build(self, world: World, fit: Fitted) -> Built:
        kept = fit.kept
        entries = fit.entries
        publication = lend(kept.folder, world.published, world.deployment.signer(datetime.now(UTC)))
        with self.phases("centre taught") as progress:
            originals = [Picture.from_bytes(self.material.data(item)) for item in self._originals()]
            add_references(world.deployment, entries, originals, progress)
        self.seen["build_parts"] = kept.spent.parts
        return Built(kept.spent.seconds, kept.spent.cpu_s, len(entries), publication.setup_bytes)

    def _originals(self) -> list[MadeItem]:
        return [item for item in self.material.items() if item.listed and item.edit == "identical"]

    def _serve(self, world: World, fit: Fitted) -> None:
        world.start(nursery=self.nursery)
        world.device(RECIPIENT)
        self._send(world, fit.items)
        with self.phases("messages received") as progress:
            self.seen["arrived"] = self._receive(world, fit.items, progress)
        items = self.material.items()[:POOL]
        pool = [self.material.data(item) for item in items]
        with self.phases("egress audited") as progress:
            most = fit.most(self.plan.audit.pictures)
            sent = self._originals()[: most // 2]  # half of them listed, where there are enough
            sent += [item for item in self.material.items() if not item.listed][: most - len(sent)]
            data = [self.material.data(item) for item in sent]
            self.seen["audit"] = audited(world, RECIPIENT, data, pool, fit.entries, progress)
        with self.phases("offences tried"):
            sent = (self._originals() or self.material.items())[:4]
            data = [self.material.data(item) for item in sent]
            self.seen["offence"] = offend(world, RECIPIENT, data)
            people = SENDER, RECIPIENT, AUDITED, SKIPPER, ARCHIVER
            self.seen["to_group"] = to_group(world, people, data[0])
            # of a dear design no more is asked than must be
            if not fit.dear:
                guests = [f"guest-{number}" for number in range(LARGE_GROUP - len(people))]
                for one in guests:
                    register_guest(world.deployment, one)
                self.seen["to_large_group"] = to_group(world, (*people, *guests), data[0])
        world.check_alive()
        world.close()

    def _send(self, world: World, items: Sequence[MadeItem]) -> None:
        sender = world.device(SENDER)
        before = {party: tree_cpu_seconds(one.process.pid) for party, one in world.servers.items()}
        with self.phases("pictures matched and sent") as progress, self._watched(costs.SENT):
            rows, self.seen["peak_mib"] = self._rows(world, items, progress)
        world.flush(SENDER)
        rows, opened = self._by_others(world, rows)
        self.seen["pictures"] = tuple(rows)
        self.seen["vouchers_opened"] = opened
        self.seen["servers"] = tuple(_server_cost(one, before[party]) for party, one in world.servers.items())
        found = sums(sender.recorder.records())
        self.seen["traffic"] = tuple(Traffic(str(of), str(why), *found[of, why]) for of, why in sorted(found))
        sender.device.close()

    def _rows(
        self, world: World, items: Sequence[MadeItem], progress: Progress
    ) -> tuple[list[PictureRow], float | None]:
        rows = list[PictureRow]()
        recorder = world.of(SENDER).watched.recorder
        before = len(recorder.records())
        resident = status_mib("VmRSS") if reset_peak() else None
        for item in items:
            rows.append(self._row(world, item))
            world.check_alive()
            progress(len(rows), len(items))
        peak = status_mib("VmHWM")
        kept = sum(record.request_bytes for record in recorder.records()[before:]) / (1 << 20)
        return rows, peak - resident - kept if resident is not None and peak is not None else None

    def _row(self, world: World, item: MadeItem) -> PictureRow:
        data = self.material.data(item)
        info = world.design.info
        with watching(world.of(SENDER).watched) as cost:
            sent = world.send_picture(SENDER, RECIPIENT, data)
        tells = Learner.DEVICE in info.learns or info.learns == {Learner.NOBODY}
        return PictureRow(
            **asdict(item),
            expected=expected_of(info.relation, item, Picture.from_bytes(data)),
            matched=any(isinstance(one.outcome, Match | Flag) for one in cost.traces) if tells else None,
            outcome=str(sent.outcome),
            delivered=sent.delivered,
            up_bytes=cost.up(Purpose.MATCHING),
            down_bytes=cost.down(Purpose.MATCHING),
            report_bytes=cost.up(Purpose.REPORT),
            voucher_bytes=cost.up(Purpose.VOUCHER),
            wall_ms=round(cost.wall_ms, 3),
            cpu_ms=round(cost.cpu_ms, 3),
        )

    def _by_others(self, world: World, rows: list[PictureRow]) -> tuple[list[PictureRow], int]:
        """Fill in what a server alone learnt, from its reports, or the centre; vouchers it opened."""
        design = world.design
        with self.phases("reports checked") as progress:
            least = sum(row.expected for row in rows) if design.info.sends_content is Content.CLEAR else 0
            found = world.checked(least, progress=progress)
        opened = sum(row.opened for row in found.vouchers if row.account == SENDER)
        if design.info.learns == {Learner.SERVER}:
            return by_server(rows, [row.pdq_distance for row in found.reports]), opened
        if design.info.learns == {Learner.CENTRE}:
            files = world.publication().opener()
            period = design.period(design.open_setup(files))
            opened_again = partial(open_all, design.open_opener(files), SENDER, SENDER, period)
            return by_opener(rows, world.of(SENDER).watched.traces, opened_again, opened), opened
        return rows, opened

    def _receive(self, world: World, items: Sequence[MadeItem], progress: Progress) -> int:
        expected = [self.material.data(item) for item in items]
        delivered = [row.delivered for row in self.seen["pictures"]]
        wanted = [data for data, done in zip(expected, delivered, strict=True) if done]
        got = world.receive(RECIPIENT, len(wanted), progress=progress)
        pictures = [one for message in got for one in message.pictures]
        return sum(a == b for a, b in zip(wanted, pictures, strict=False))

    def _alone(self, world: World, fit: Fitted) -> None:
        opened = open_published(world.design, world.publication())
        items = fit.items[: fit.most(self.plan.alone.pictures)]
        pictures = [(item.index, self.material.data(item)) for item in items]
        with self.phases("timed alone") as progress, self._watched(costs.ALONE):
            rows = list(fit.alone)
            rest = pictures[len(fit.alone) :]
            try:
                self.seen["lengths"] = found = lengths(opened, fit, self.plan, pictures, system_randomness())
            except DesignError:
                found = None  # no list of that length is served
            if found is not None:
                rows = list(found.own)
                rest = []
            for row in sessions_alone(opened, rest, system_randomness()) if rest else ():
                rows.append(row)
                progress(len(rows), len(pictures))
        self._add_own_load(rows, fit.dear)
        # pictures that no relation has on the list
        absent = (
            Picture.from_bytes(self.material.data(one))
            for one in fit.items
            if one.list_distance > MATCH_DISTANCE and one.quality >= LEAST_QUALITY
        )
        signed = world.publication().signed
        rng = system_randomness()
        self.seen["proven"] = proven(opened, signed, fit.entries, next(absent, None), rng)
        key = key_use(opened)
        self.seen.update(alone=tuple(rows), key=key, extraction=extracted(opened, key))
        self.seen["capacity"] = capacity(opened, Assumed(eu_volume()), time.time())

    def _add_own_load(self, rows: Sequence[AloneRow], dear: bool) -> None:
        """Steps of a design only compute, so that their own wall time over CPU time tells the load, too. The
        sessions of a dear design were timed while its set was fitted to the work."""
        timed = self.seen["timed"]
        run: Run = timed[costs.ALONE]
        wall = sum(row.device_ms + row.role_ms for row in rows) / 1000
        cpu = sum(row.device_cpu_ms + row.role_cpu_ms for row in rows) / 1000
        before = timed[costs.BUILT].before if dear else run.before
        timed[costs.ALONE] = Run(Cost(wall, cpu), before, run.after, computes=True)


def _server_cost(server: ServerProcess, before: float | None) -> ServerCost:
    after = tree_cpu_seconds(server.process.pid)
    spent = after - before if after is not None and before is not None else None
    return ServerCost(server.party.server, spent, status_mib("VmHWM", server.process.pid))
