"""Runs one design on the material, over real gRPC between processes, and notes all that can be seen."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from blindmatch_client.trace import Purpose
from blindmatch_protocol.contract import AnyDesign, Learner, Match, Progress
from blindmatch_protocol.picture.item import Picture
from blindmatch_protocol.randomness import system_randomness
from blindmatch_server.curator import HashList
from blindmatch_server.matching.limits import MatchingLimits
from blindmatch_server.published import Publication, open_publication

from blindmatch_simulations.assess import procfs
from blindmatch_simulations.assess.alone import key_use, open_set, sessions_alone
from blindmatch_simulations.assess.attributing import by_opener, by_server, expected_of
from blindmatch_simulations.assess.auditing import audited
from blindmatch_simulations.assess.describing import described
from blindmatch_simulations.assess.harness import added_by_harness
from blindmatch_simulations.assess.keeping import kept_set
from blindmatch_simulations.assess.material import MadeItem, Material
from blindmatch_simulations.assess.observed import Built, Observed, Offence, PictureRow, ServerCost, Traffic
from blindmatch_simulations.assess.offences import offend
from blindmatch_simulations.assess.plan import Plan
from blindmatch_simulations.assess.updating import updated
from blindmatch_simulations.deployment.curating import teach_centre
from blindmatch_simulations.deployment.devices import Watched, create_device
from blindmatch_simulations.deployment.folder import Deployment
from blindmatch_simulations.deployment.hosting import parties_of
from blindmatch_simulations.deployment.operators import centre_list
from blindmatch_simulations.deployment.processes import ServerProcess, check_alive, running_servers
from blindmatch_simulations.deployment.registry import load_design, portable_reference

SENDER: Final = "sender"
RECIPIENT: Final = "recipient"
PENDING: Final = "received"
WAIT_SECONDS: Final = 60.0
POLL_MS: Final = 300
POOL: Final = 24
"""Pictures that the audit may take decoys from."""

Stage = Callable[[str], Progress]


class Stages:
    """Times stages and tells of them."""

    def __init__(self, tell: Stage) -> None:
        self._tell = tell
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, title: str) -> Iterator[Progress]:
        """A stage with its `Progress`."""
        began = time.perf_counter()
        progress = self._tell(title)
        last = (1, 1)

        def watched(done: int, total: int) -> None:
            nonlocal last
            last = (done, total)
            progress(done, total)

        yield watched
        progress(*last)
        self.seconds[title] = round(time.perf_counter() - began, 3)


@dataclass(frozen=True, slots=True, repr=False)
class Observer:
    """One design's run in the new folder `home`; its set is built, or found, below `sets`."""

    home: Path
    sets: Path
    reference: str
    plan: Plan
    material: Material
    stages: Stages
    seen: dict[str, Any] = field(default_factory=dict)

    def run(self) -> Observed:
        """Build, serve, send, audit, time alone, update.

        Raises:
            BlindmatchError: if a part fails.
        """
        design = load_design(self.reference)
        deployment = Deployment.create(self.home, datetime.now(UTC))
        with self.material.entries() as entries:
            build = self._build(deployment, design, entries)
            self._serve(deployment, design, entries)
            self._alone(deployment, design)
            with self.stages("set updated"):
                update = updated(deployment, design, entries, self.plan)
            limits = MatchingLimits().exchanges
            return Observed(
                design=described(design),
                entries=len(entries),
                build=build,
                update=update,
                query_rate=limits.per_second,
                query_burst=limits.burst,
                stages=self.stages.seconds,
                **self.seen,
            )

    def _build(self, deployment: Deployment, design: AnyDesign, entries: HashList) -> Built:
        with self.stages("set built") as progress:
            kept = kept_set(design, entries, self.plan.seed, self.sets, progress)
            publication = kept.lend(
                deployment.published(design.info.name), deployment.signer(datetime.now(UTC))
            )
        with self.stages("centre taught") as progress:
            teach_centre(deployment, entries, self._originals(), progress)
        self.seen["build_parts"] = kept.spent.parts
        return Built(kept.spent.seconds, kept.spent.cpu_s, len(entries), setup_bytes(publication))

    def _originals(self) -> list[Picture]:
        items = self.material.items()
        return [
            Picture.from_bytes(self.material.data(item))
            for item in items
            if item.listed and item.edit == "identical"
        ]

    def _serve(self, deployment: Deployment, design: AnyDesign, entries: HashList) -> None:
        options = ("--design", portable_reference(self.reference))
        with running_servers(deployment, parties_of(design), options) as servers:
            recipient = create_device(deployment, RECIPIENT, self.reference)
            recipient.device.register()
            try:
                self._send(deployment, design, servers)
                with self.stages("messages received") as progress:
                    self.seen["arrived"] = self._receive(recipient, progress)
                with self.stages("egress audited") as progress:
                    self.seen["audit"] = audited(
                        deployment,
                        design,
                        self.reference,
                        RECIPIENT,
                        self._audit_items(),
                        [self.material.data(item) for item in self.material.items()[:POOL]],
                        entries,
                        progress,
                    )
                with self.stages("offences tried"):
                    self.seen["offence"] = self._offend(deployment, design)
                check_alive(servers)
            finally:
                recipient.device.close()

    def _send(self, deployment: Deployment, design: AnyDesign, servers: Sequence[ServerProcess]) -> None:
        sender = create_device(deployment, SENDER, self.reference)
        try:
            sender.device.register()
            before = {one.party: procfs.cpu_seconds(one.process.pid) for one in servers}
            with self.stages("pictures matched and sent") as progress:
                rows, self.seen["peak_mib"] = self._rows(sender, design, servers, progress)
            sender.device.flush()
            rows, opened = self._by_others(deployment, design, rows, sender)
            self.seen["pictures"] = tuple(rows)
            self.seen["vouchers_opened"] = opened
            self.seen["servers"] = tuple(_server_cost(one, before[one.party]) for one in servers)
            self.seen["traffic"] = _traffic(sender)
        finally:
            sender.device.close()

    def _rows(
        self, sender: Watched, design: AnyDesign, servers: Sequence[ServerProcess], progress: Progress
    ) -> tuple[list[PictureRow], float | None]:
        items = self.material.items()
        resident = procfs.status_mib("VmRSS") if procfs.reset_peak() else None
        rows = []
        for item in items:
            rows.append(self._row(sender, design, item))
            check_alive(servers)
            progress(len(rows), len(items))
        peak = procfs.status_mib("VmHWM")
        kept = sum(record.request_bytes for record in sender.recorder.records()) / (1 << 20)
        grown = peak - resident - kept if resident is not None and peak is not None else None
        return rows, max(0.0, grown) if grown is not None else None

    def _row(self, sender: Watched, design: AnyDesign, item: MadeItem) -> PictureRow:
        data = self.material.data(item)
        calls, traces = len(sender.recorder.records()), len(sender.traces)
        began = time.perf_counter(), time.process_time()
        sent = sender.device.send_picture(RECIPIENT, data)
        wall, cpu = time.perf_counter() - began[0], time.process_time() - began[1]
        outcomes = [trace.outcome for trace in sender.traces[traces:]]
        made = sender.recorder.records()[calls:]
        asked = [record for record in made if record.purpose is Purpose.MATCHING]
        reported = [record for record in made if record.purpose in (Purpose.REPORT, Purpose.VOUCHER)]
        tells = Learner.DEVICE in design.info.learns or design.info.learns == {Learner.NOBODY}
        return PictureRow(
            index=item.index,
            name=item.name,
            edit=item.edit,
            listed=item.listed,
            quality=item.quality,
            origin_distance=item.origin_distance,
            list_distance=item.list_distance,
            expected=expected_of(design.info.relation, item, Picture.from_bytes(data)),
            matched=any(isinstance(one, Match) for one in outcomes) if tells else None,
            outcome=str(sent.outcome),
            delivered=sent.delivered,
            up_bytes=sum(record.request_bytes for record in asked),
            down_bytes=sum(record.reply_bytes for record in asked),
            report_bytes=sum(record.request_bytes for record in reported),
            wall_ms=round(1000 * wall, 3),
            cpu_ms=round(1000 * cpu, 3),
        )

    def _by_others(
        self, deployment: Deployment, design: AnyDesign, rows: list[PictureRow], sender: Watched
    ) -> tuple[list[PictureRow], int]:
        """Fill in what a server alone learnt, from its reports, or the centre; vouchers it opened."""
        with self.stages("reports checked") as progress:
            least = sum(row.expected for row in rows) if design.info.sends_content else 0
            deadline = time.monotonic() + WAIT_SECONDS
            while True:
                found = centre_list(deployment)
                done = sum(row.state != PENDING for row in found.reports)
                progress(done, max(len(found.reports), least))
                if done >= max(len(found.reports), least) or time.monotonic() > deadline:
                    break
                time.sleep(0.2)
        opened = sum(row.opened for row in found.vouchers if row.account == SENDER)
        if design.info.learns == {Learner.SERVER}:
            return by_server(rows, [row.pdq_distance for row in found.reports]), opened
        if design.info.learns == {Learner.CENTRE}:
            publication = open_publication(deployment.published(design.info.name))
            opener = design.open_opener(publication.opener())
            return by_opener(rows, sender.traces, opener, SENDER, opened), opened
        return rows, opened

    def _receive(self, recipient: Watched, progress: Progress) -> int:
        """How many pictures arrived as they were sent."""
        expected = [self.material.data(item) for item in self.material.items()]
        delivered = [row.delivered for row in self.seen["pictures"]]
        wanted = [data for data, done in zip(expected, delivered, strict=True) if done]
        got: list[bytes] = []
        deadline = time.monotonic() + WAIT_SECONDS
        while len(got) < len(wanted) and time.monotonic() < deadline:
            got += [one for message in recipient.device.receive(POLL_MS) for one in message.pictures]
            progress(len(got), len(wanted))
        return sum(a == b for a, b in zip(wanted, got, strict=False))

    def _audit_items(self) -> list[bytes]:
        """Half of them listed, where there are enough."""
        half = self.plan.audit.pictures // 2
        items = self.material.items()
        listed = [item for item in items if item.listed and item.edit == "identical"][:half]
        others = [item for item in items if not item.listed][: self.plan.audit.pictures - len(listed)]
        return [self.material.data(item) for item in (*listed, *others)]

    def _offend(self, deployment: Deployment, design: AnyDesign) -> Offence:
        items = [item for item in self.material.items() if item.listed and item.edit == "identical"]
        data = [self.material.data(item) for item in (items or self.material.items())[:4]]
        return offend(deployment, design, RECIPIENT, data)

    def _alone(self, deployment: Deployment, design: AnyDesign) -> None:
        """Time the design by itself, and what the harness adds to it."""
        opened = open_set(deployment, design)
        items = self.material.items()[: self.plan.alone.pictures]
        pictures = [(item.index, self.material.data(item)) for item in items]
        with self.stages("timed alone") as progress:
            rows = []
            for row in sessions_alone(opened, pictures, system_randomness()):
                rows.append(row)
                progress(len(rows), len(pictures))
        with self.stages("harness timed") as progress:
            pairs = added_by_harness(opened, [data for _, data in pictures], system_randomness(), progress)
        self.seen.update(alone=tuple(rows), harness=tuple(pairs), key=key_use(opened))


def setup_bytes(publication: Publication) -> int:
    """What a device fetches once."""
    manifest = publication.manifest
    return sum(file.size for file in manifest.files if file.name in manifest.setup)


def _server_cost(server: ServerProcess, before: float | None) -> ServerCost:
    after = procfs.cpu_seconds(server.process.pid)
    spent = after - before if after is not None and before is not None else None
    return ServerCost(server.party.server, spent, procfs.status_mib("VmHWM", server.process.pid))


def _traffic(sender: Watched) -> tuple[Traffic, ...]:
    sums: dict[tuple[str, str], tuple[int, int]] = {}
    for record in sender.recorder.records():
        key = (str(record.party), str(record.purpose))
        up, down = sums.get(key, (0, 0))
        sums[key] = (up + record.request_bytes, down + record.reply_bytes)
    return tuple(Traffic(party, purpose, *sizes) for (party, purpose), sizes in sorted(sums.items()))
