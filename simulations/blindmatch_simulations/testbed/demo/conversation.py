"""What the demo has its two devices do: Alice sends Bob pictures, he answers, what left them is audited.

The list is submitted by three organisations and endorsed by two, each of which hashes the listed pictures
itself. The random hashes that fill the set get into their lists without a picture (simulated).
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from blindmatch_client.device import Sent
from blindmatch_client.trace import SessionTrace
from blindmatch_proofs.report_evidence import Known, verify_evidence
from blindmatch_proofs.verdict import Passed
from blindmatch_protocol.codec.randomness import system_randomness
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import Content, Flag, Learner, Match
from blindmatch_protocol.picture.decode import Picture
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from blindmatch_server.curator import HashList, list_hashes, list_pictures, open_list, random_hashes
from blindmatch_server.epochs.published import Publication
from msgspec import Struct
from msgspec.structs import replace

from blindmatch_simulations.measure.phases import PhaseTimes, each
from blindmatch_simulations.testbed.audit import Audit, audit_device
from blindmatch_simulations.testbed.demo.workload import ANSWER, TEXTS, Workload
from blindmatch_simulations.testbed.deployment import endorsing
from blindmatch_simulations.testbed.deployment.devices import Options
from blindmatch_simulations.testbed.deployment.folder import Deployment
from blindmatch_simulations.testbed.deployment.operators import evidence_of
from blindmatch_simulations.testbed.deployment.transparency import make_policy
from blindmatch_simulations.testbed.scenario import operations
from blindmatch_simulations.testbed.scenario.operations import Check, Receive
from blindmatch_simulations.testbed.scenario.run import Counted, Player, counterpart, evidence
from blindmatch_simulations.testbed.scenario.world import World

WAIT_SECONDS: Final = 30.0
"""How long the demo waits for messages, and for the centre's checks."""
SLOTS_SECONDS: Final = 1800.0
"""How long it waits for the slots that bear reports."""
SENDER: Final = "alice"
RECIPIENT: Final = "bob"


class Conversation(Redacted, Struct, frozen=True):
    """Alice and Bob, from registration to the audit."""

    player: Player
    workload: Workload
    entries: HashList
    phases: PhaseTimes
    options: Options

    @property
    def world(self) -> World:
        return self.player.world

    def run(self) -> dict[str, Any]:
        """Hold it; what it brought to light, by the names of `DemoRun`."""
        world = self.world
        design = self.world.design
        do = self.player.do
        with self.phases("devices registered") as progress:
            for name in each((SENDER, RECIPIENT), progress):
                do(self._device(name))
        pictures = [Picture.from_bytes(sending.data) for sending in self.workload.sendings]
        matching = [design.info.relation.matches(p, self.entries.hashes) for p in pictures]
        setup = self._setup() if design.vouchers else None
        sent, opened_below = self._send(pictures, matching, 1 if setup is None else design.threshold(setup))
        with self.phases("messages received") as progress:
            expected = sum(one.delivered for one in sent) + len(TEXTS)
            received = do(Receive(RECIPIENT, expected, WAIT_SECONDS), progress)
            do(operations.SendText(RECIPIENT, SENDER, ANSWER))
            answered = [message.text for message in do(Receive(SENDER, 1))] == [ANSWER]
            do(operations.Flush(SENDER))
        if self.options.cover is not None:
            sent = self._reported_in_slots(sent)
        oracle = matching if setup is None else self._to_be_found(setup, pictures, matching, sent)
        with self.phases("reports checked") as progress:
            filed = sum(oracle) if design.info.sends_content is Content.CLEAR else 0
            centre = do(Check(filed, WAIT_SECONDS), progress)
            counted = world.counted()
            outsider = self._by_outsider(centre)
        traces = world.of(SENDER).watched.traces
        return {
            "sent": sent,
            "received": received,
            "pictures": [picture for message in received for picture in message.pictures],
            "answered": answered,
            "oracle": oracle,
            "matches": self._matches(traces, centre),
            "wrong": _wrong(traces, sent, oracle),
            "reports": list(centre.reports),
            "vouchers": list(centre.vouchers),
            "opened_below": opened_below,
            "counted": counted,
            "by_outsider": outsider,
            "audits": self._audit(pictures, counted),
        }

    def _by_outsider(self, centre: pb.CentreList) -> int:
        """How many reports somebody can verify who has their files, the sender's identity key from the
        recipient, and no secret key."""
        key = self.world.of(RECIPIENT).watched.device.contacts.get_identity(SENDER) or b""
        known = Known(key, self.world.deployment.curator_public_key())
        verdicts = [
            verify_evidence(evidence_of(self.world.deployment, row.report_id, "for an outsider"), known)
            for row in centre.reports
        ]
        return sum(all(one[name] == Passed() for name in ("content", "sender", "match")) for one in verdicts)

    def _device(self, name: str) -> operations.AddDevice:
        cover = self.options.cover
        then = self.options.consequence
        if cover is None:
            return operations.AddDevice(name, consequence=then)
        return operations.AddDevice(name, slot_s=cover.period_s, slot_bytes=cover.size, consequence=then)

    def _setup(self) -> Any:
        design = self.world.design
        files = self.world.publication()
        return design.open_setup(files.setup(), files.manifest.epoch)

    def _to_be_found(
        self, setup: Any, pictures: Sequence[Picture], matching: Sequence[bool], sent: Sequence[Sent]
    ) -> list[bool]:
        """Which matches the centre must open, where there are vouchers: none below the threshold, and none of
        vouchers that are made up, as the devices' recorded states say."""
        design = self.world.design
        states = dict[int, Any]()
        for trace in self.world.of(SENDER).watched.traces:
            states[trace.item] = design.device_state.decode(trace.state_before)
        real = [
            holds and one.item in states and not design.made_up(states[one.item], setup, picture)
            for holds, one, picture in zip(matching, sent, pictures, strict=True)
        ]
        hashes = {picture.hash for picture, holds in zip(pictures, real, strict=True) if holds}
        return real if len(hashes) >= design.threshold(setup) else [False] * len(real)

    def _send(
        self, pictures: Sequence[Picture], matching: Sequence[bool], least: int
    ) -> tuple[list[Sent], int | None]:
        """What became of each picture; and how many vouchers were open when the account was one match below
        the threshold `least`, None if that is 1 or the account never came there."""
        do = self.player.do
        sent = list[Sent]()
        below = None
        met = set[bytes]()
        with self.phases("pictures matched and sent") as progress:
            do(operations.SendText(SENDER, RECIPIENT, TEXTS[0]))
            for sending in self.workload.sendings:
                sent.append(do(operations.SendPicture(SENDER, RECIPIENT, sending.data)))
                do(operations.Tick(SENDER))
                progress(len(sent), len(self.workload.sendings))
                holds = matching[len(sent) - 1]
                met |= {pictures[len(sent) - 1].hash} if holds else set()
                if holds and len(met) == least - 1 > 0:
                    below = sum(row.opened for row in do(Check(0, WAIT_SECONDS)).vouchers)
            do(operations.SendText(SENDER, RECIPIENT, TEXTS[1]))
        return sent, below

    def _reported_in_slots(self, sent: Sequence[Sent]) -> list[Sent]:
        """Keep both devices' schedules until every report is at the centre; Bob's slots bear nothing."""
        with self.phases("reports sent in slots") as progress:
            received = self.player.do(operations.AwaitReports(SENDER, SLOTS_SECONDS), progress)
        return [replace(one, reported=one.report_id in received) for one in sent]

    def _matches(self, traces: Sequence[SessionTrace], centre: pb.CentreList) -> int:
        if Learner.DEVICE in self.world.design.info.learns:
            return sum(isinstance(trace.outcome, Match | Flag) for trace in traces)
        return len(centre.reports) + sum(row.opened for row in centre.vouchers if row.account == SENDER)

    def _audit(self, pictures: Sequence[Picture], counted: Counted) -> dict[str, Audit]:
        roles = counterpart(self.world, self.entries.hashes)
        audits = dict[str, Audit]()
        with self.phases("egress audited") as progress:
            for name in each((SENDER, RECIPIENT), progress):
                audits[name] = audit_device(roles, evidence(self.world, name, pictures, counted))
        return audits


def _wrong(traces: Sequence[SessionTrace], sent: Sequence[Sent], oracle: Sequence[bool]) -> int:
    """Pictures that a device took for a match and that are none by the design's own relation."""
    matched = {trace.item for trace in traces if isinstance(trace.outcome, Match | Flag)}
    return sum(one.item in matched and not holds for one, holds in zip(sent, oracle, strict=True))


SUBMITTERS: Final = ("north", "south", "west")
ENDORSERS: Final = SUBMITTERS[:2]


def endorsed_list(
    world: World, workload: Workload, name: str, set_size: int, phases: PhaseTimes
) -> tuple[Publication, tuple[str, ...]]:
    """Make the policy, submissions, proposal, endorsements and the epoch; and who signed what it lists."""
    deployment = world.deployment
    design = world.design
    rng = system_randomness()
    make_policy(deployment, len(ENDORSERS), SUBMITTERS)
    with phases("list imported") as progress:
        _submit(deployment, workload, name, set_size)
        progress(len(SUBMITTERS), len(SUBMITTERS))
    with phases("list endorsed") as progress:
        endorsing.make_proposal(deployment, design, name, rng)
        for one in each(ENDORSERS, progress):
            endorsing.endorse(deployment, design, one, name)
    with phases("set built") as progress:
        publication, settled = endorsing.publish_endorsed(deployment, design, name, rng, progress)
    return publication, tuple(sorted(settled.endorsers))


def _submit(deployment: Deployment, workload: Workload, name: str, set_size: int) -> None:
    rng = system_randomness()
    with tempfile.TemporaryDirectory(prefix="blindmatch-") as folder:
        filling = Path(folder) / "filling.list"
        list_hashes(random_hashes(set_size, rng), filling, rng)
        for picture in workload.listed:
            (Path(folder) / f"{picture.name}.png").write_bytes(picture.data)
        pictures = [Path(folder) / f"{picture.name}.png" for picture in workload.listed]
        for one in SUBMITTERS:
            own = endorsing.own_list(deployment, one, name)
            shutil.copyfile(filling, own)
            with open_list(own) as held:
                list_pictures(pictures, own, rng, onto=held)
            endorsing.hand_in(deployment, one, name)
