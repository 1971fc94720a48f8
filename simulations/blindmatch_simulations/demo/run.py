"""The main job, end to end: a list is published, two devices talk through real servers, matches are reported.

curator publishes --> relay, matcher, centre start --> Alice and Bob register --> Alice sends
--> each picture is matched --> Bob receives --> the centre checks --> what left the devices is audited
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from blindmatch_client.cover import CoverSchedule
from blindmatch_client.device import Sent
from blindmatch_client.receiving import Received
from blindmatch_protocol.contract import AnyDesign, Learner, Match, Party, Progress, no_progress
from blindmatch_protocol.errors import DesignError
from blindmatch_protocol.picture.distance import rows as hash_rows
from blindmatch_protocol.picture.item import Picture
from blindmatch_protocol.randomness import system_randomness
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from blindmatch_server.centre.keys import CentreKeys
from blindmatch_server.curator import HashList, import_list, list_hashes, open_list, random_hashes
from blindmatch_server.published import open_publication

from blindmatch_simulations.audit import Audit, Counterpart, Evidence, Told, audit_device
from blindmatch_simulations.deployment.curating import list_path, publish, teach_centre
from blindmatch_simulations.deployment.devices import Options, Watched, create_device
from blindmatch_simulations.deployment.folder import Deployment
from blindmatch_simulations.deployment.hosting import parties_of
from blindmatch_simulations.deployment.operators import centre_list, counters
from blindmatch_simulations.deployment.processes import running_servers
from blindmatch_simulations.deployment.registry import load_design, portable_reference
from blindmatch_simulations.pictures.oracle import Oracle
from blindmatch_simulations.pictures.workload import ANSWER, TEXTS, Workload, demo_workload

LIST: Final = "demo"
WAIT_SECONDS: Final = 30.0
"""How long the demo waits for messages, and for the centre's checks."""
SLOTS_SECONDS: Final = 1800.0
"""How long it waits for the slots that bear reports."""
POLL_MS: Final = 200
SENDER: Final = "alice"
RECIPIENT: Final = "bob"
PENDING: Final = "received"

Stage = Callable[[str], Progress]
"""Begins a stage with a title; what it gives back takes (done, total)."""


@dataclass(frozen=True, slots=True, repr=False)
class DemoRun:
    """Everything that a run brought to light.

    Attributes:
        design: what was run.
        entries: entries of the list.
        workload: what was to be sent.
        sent: what became of each picture, in the order of the workload.
        received: what Bob got.
        pictures: his messages' pictures; those in `received` go with his device's folder.
        answered: whether Bob's answer reached Alice.
        oracle: whether each picture matches, by the plaintext oracle.
        matches: how many there were, as known to whoever learns of them.
        wrong: those of them that a device learnt and that are none by the oracle.
        reports: rows at the centre.
        vouchers: what the centre holds and has opened, by account.
        audits: by account.
        counted: what each server counted, by account and method.
        seconds: by stage.
        setup_bytes: what a device fetched once.
        on_schedule: whether reports left in the slots of a cover schedule.
    """

    design: AnyDesign
    entries: int
    workload: Workload
    sent: Sequence[Sent]
    received: Sequence[Received]
    pictures: Sequence[bytes]
    answered: bool
    oracle: Sequence[bool]
    matches: int
    wrong: int
    reports: Sequence[pb.ReportRow]
    vouchers: Sequence[pb.VoucherRow]
    audits: Mapping[str, Audit]
    counted: Mapping[Party, Sequence[pb.Counter]]
    setup_bytes: int
    on_schedule: bool = False
    seconds: Mapping[str, float] = field(default_factory=dict)


class _Clock:
    """Times stages."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._began = time.perf_counter()
        self._title = ""
        self.seconds: dict[str, float] = {}

    def begin(self, title: str) -> Progress:
        """End the stage before and begin another."""
        self.end()
        self._title, self._began = title, time.perf_counter()
        return self._stage(title)

    def end(self) -> None:
        if self._title:
            self.seconds[self._title] = round(time.perf_counter() - self._began, 3)


def run(
    home: Path, reference: str, set_size: int, stage: Stage, cover: CoverSchedule | None = None
) -> DemoRun:
    """Run the demo in the new folder `home`.

    Args:
        home: where the deployment is made.
        reference: the design.
        set_size: random hashes on the list, beside those of the listed pictures.
        stage: shows progress.
        cover: that both devices keep; None: reports leave at once.

    Raises:
        DesignError: if devices are to keep a schedule, and do not report in this design.
        BlindmatchError: if a part fails.
    """
    design, clock = load_design(reference), _Clock(stage)
    if cover is not None and Learner.DEVICE not in design.info.learns:
        raise DesignError(f"design {design.info.name}: its devices make no reports for a cover schedule")
    progress = clock.begin("pictures")
    workload = demo_workload()
    progress(1, 1)
    deployment = Deployment.create(home, datetime.now(UTC))
    with _made_list(deployment, workload, set_size, clock) as entries:
        progress = clock.begin("set built")
        published = publish(deployment, design, entries, system_randomness(), progress=progress)
        progress = clock.begin("centre taught")
        listed = [Picture.from_bytes(picture.data) for picture in workload.listed]
        teach_centre(deployment, entries, listed, progress)
        options = ("--design", portable_reference(reference))
        progress = clock.begin("servers started")
        with running_servers(deployment, parties_of(design), options):
            progress(1, 1)
            made = _Conversation(deployment, design, reference, workload, entries, clock, cover).run()
        clock.end()
        manifest = published.manifest
        setup_bytes = sum(file.size for file in manifest.files if file.name in manifest.setup)
        return DemoRun(
            design=design,
            entries=len(entries),
            workload=workload,
            setup_bytes=setup_bytes,
            on_schedule=cover is not None,
            seconds=clock.seconds,
            **made,
        )


def _made_list(deployment: Deployment, workload: Workload, set_size: int, clock: _Clock) -> HashList:
    """Write random hashes as `pdq` lines, import them, and add those of the listed pictures."""
    rng = system_randomness()
    deployment.lists.mkdir(parents=True, exist_ok=True, mode=0o700)
    source, into = deployment.lists / "random.pdq", list_path(deployment, LIST)
    progress = clock.begin("list imported")
    digits = random_hashes(set_size, rng).tobytes().hex()
    source.write_text("".join(f"pdq {digits[at : at + 64]}\n" for at in range(0, len(digits), 64)))
    import_list(source, into, rng, progress=progress)
    hashes = [Picture.from_bytes(picture.data).hash for picture in workload.listed]
    with open_list(into) as random_ones:
        list_hashes(hash_rows(hashes), into, rng, onto=random_ones)
    return open_list(into)


@dataclass(frozen=True, slots=True, repr=False)
class _Conversation:
    """Alice and Bob, from registration to the audit."""

    deployment: Deployment
    design: AnyDesign
    reference: str
    workload: Workload
    entries: HashList
    clock: _Clock
    cover: CoverSchedule | None
    polls: Counter[str] = field(default_factory=Counter)

    def run(self) -> dict[str, Any]:
        progress = self.clock.begin("devices registered")
        names = (SENDER, RECIPIENT)
        alice, bob = (self._registered(name, progress, at) for at, name in enumerate(names, 1))
        try:
            sent = self._send(alice)
            progress = self.clock.begin("messages received")
            received = self._receive(bob, sum(one.delivered for one in sent) + len(TEXTS), progress)
            bob.device.send_text(SENDER, ANSWER)
            answered = [message.text for message in self._receive(alice, 1)] == [ANSWER]
            alice.device.flush()
            if self.cover is not None:
                sent = self._reported_in_slots(alice, bob, sent)
            pictures = [Picture.from_bytes(sending.data) for sending in self.workload.sendings]
            oracle = [Oracle(self.design.info.relation, self.entries.hashes).matches(p) for p in pictures]
            centre = self._checked(sum(oracle) if self.design.info.sends_content else 0)
            counted = {party: counters(self.deployment, party) for party in parties_of(self.design)}
        finally:
            alice.device.close()
            bob.device.close()
        return {
            "sent": sent,
            "received": received,
            "pictures": [picture for message in received for picture in message.pictures],
            "answered": answered,
            "oracle": oracle,
            "matches": self._matches(alice, centre),
            "wrong": self._wrong(alice, sent, oracle),
            "reports": list(centre.reports),
            "vouchers": list(centre.vouchers),
            "counted": counted,
            "audits": self._audit(alice, bob, sent, pictures, counted),
        }

    def _registered(self, name: str, progress: Progress, at: int) -> Watched:
        options = Options(cover=self.cover)
        watched = create_device(self.deployment, name, self.reference, options=options)
        watched.device.register()
        progress(at, 2)
        return watched

    def _send(self, alice: Watched) -> list[Sent]:
        progress = self.clock.begin("pictures matched and sent")
        alice.device.send_text(RECIPIENT, TEXTS[0])
        sent = []
        for sending in self.workload.sendings:
            sent.append(alice.device.send_picture(RECIPIENT, sending.data))
            alice.device.tick()
            progress(len(sent), len(self.workload.sendings))
        alice.device.send_text(RECIPIENT, TEXTS[1])
        return sent

    def _reported_in_slots(self, alice: Watched, bob: Watched, sent: Sequence[Sent]) -> list[Sent]:
        """Keep both devices' schedules until every report is at the centre; Bob's slots bear nothing."""
        progress = self.clock.begin("reports sent in slots")
        deadline = time.monotonic() + SLOTS_SECONDS
        while True:
            reports = alice.device.standing().reports
            received = {one.report_id for one in reports if one.received_at_ms is not None}
            progress(len(received), len(reports))
            if len(received) == len(reports) or time.monotonic() > deadline:
                return [replace(one, reported=one.report_id in received) for one in sent]
            for watched in (alice, bob):
                watched.device.tick()
            time.sleep(POLL_MS / 1000)

    def _receive(self, device: Watched, expected: int, progress: Progress = no_progress) -> list[Received]:
        """Messages until as many as expected came, or the time is up."""
        received: list[Received] = []
        deadline = time.monotonic() + WAIT_SECONDS
        while len(received) < expected and time.monotonic() < deadline:
            self.polls[device.device.account] += 1
            received += device.device.receive(POLL_MS)
            progress(len(received), expected)
        return received

    def _checked(self, expected: int) -> pb.CentreList:
        """What the centre has once it has checked every report, or the time is up.

        A device's reports are there as soon as they were sent; `expected` others are filed by a server.
        """
        progress = self.clock.begin("reports checked")
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            found = centre_list(self.deployment)
            awaited = max(len(found.reports), expected)
            done = sum(row.state != PENDING for row in found.reports)
            progress(done, awaited)
            if done == awaited or time.monotonic() > deadline:
                return found
            time.sleep(0.1)

    def _matches(self, alice: Watched, centre: pb.CentreList) -> int:
        """Matches as known to whoever learns of them: the device, else the centre from what it got."""
        if Learner.DEVICE in self.design.info.learns:
            return sum(isinstance(trace.outcome, Match) for trace in alice.traces)
        return len(centre.reports) + sum(row.opened for row in centre.vouchers if row.account == SENDER)

    def _wrong(self, alice: Watched, sent: Sequence[Sent], oracle: Sequence[bool]) -> int:
        """Pictures that a device took for a match and that are none by the design's own relation."""
        matched = {trace.item for trace in alice.traces if isinstance(trace.outcome, Match)}
        return sum(one.item in matched and not holds for one, holds in zip(sent, oracle, strict=True))

    def _audit(
        self,
        alice: Watched,
        bob: Watched,
        sent: Sequence[Sent],
        pictures: Sequence[Picture],
        counted: Mapping[Party, Sequence[pb.Counter]],
    ) -> dict[str, Audit]:
        progress = self.clock.begin("egress audited")
        counterpart = self._counterpart()
        numbers = [one.item for one in sent]
        items = {n: p for n, p in zip(numbers, pictures, strict=True) if n is not None}
        pairs = zip(numbers, self.workload.sendings, strict=True)
        files = {n: sending.data for n, sending in pairs if n is not None}
        centre = CentreKeys.read(self.deployment.centre_keys).sealing
        audits = {}
        for at, (name, watched) in enumerate(((SENDER, alice), (RECIPIENT, bob)), 1):
            evidence = Evidence(
                account=name,
                told=self._told(name),
                records=watched.recorder.records(),
                traces=watched.traces,
                items=items,
                pool=list(pictures),
                messages=watched.traced.messages,
                enrolments=watched.traced.enrolments,
                drawn=watched.drawn.taken(),
                files=files,
                centre=centre,
                arrived=_arrived(counted, name),
            )
            audits[name] = audit_device(counterpart, evidence)
            progress(at, 2)
        return audits

    def _told(self, name: str) -> Told:
        """What this conversation told a device to do."""
        manifest = open_publication(self.deployment.published(self.design.info.name)).manifest
        messages = len(self.workload.sendings) + len(TEXTS) if name == SENDER else 1
        return Told(
            contacts=frozenset({SENDER, RECIPIENT} - {name}),
            messages=messages,
            registered=1,
            polls=self.polls[name],
            received=1 if name == SENDER else len(self.workload.sendings) + len(TEXTS),
            setup=frozenset((manifest.epoch, name) for name in manifest.setup),
            slot_s=None if self.cover is None else self.cover.period_s,
        )

    def _counterpart(self) -> Counterpart:
        publication = open_publication(self.deployment.published(self.design.info.name))
        states = {
            role: self.design.open_role(role, publication.role(role)) for role in self.design.info.roles
        }
        setup = self.design.open_setup(publication.setup(), publication.manifest.epoch)
        return Counterpart(self.design, setup, states, self.entries.hashes, system_randomness())


def _arrived(counted: Mapping[Party, Sequence[pb.Counter]], account: str) -> dict[tuple[Party, str], int]:
    return {
        (party, counter.method): counter.bytes_in
        for party, rows in counted.items()
        for counter in rows
        if counter.account == account
    }
