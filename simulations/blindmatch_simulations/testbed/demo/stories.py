"""Three stories with dates, each told of what its run is seen to do, on loopback under a clock that is
set."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
from blindmatch_client.device import OutcomeKind
from blindmatch_proofs.epoch import DAY_S
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.randomness import system_randomness
from blindmatch_protocol.contract import Party, no_progress
from blindmatch_protocol.crypto.oprf import evaluate
from blindmatch_protocol.designs.voprf import Verified
from blindmatch_protocol.picture.decode import Picture
from blindmatch_protocol.picture.pdq import rows
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from blindmatch_server.epochs.published import PROOF, open_publication
from blindmatch_server.hosting.authority import Identity, Kind
from msgspec import Struct, field

from blindmatch_simulations.testbed.deployment.folder import Deployment, DeploymentError
from blindmatch_simulations.testbed.deployment.hosting import STATE, parties_of
from blindmatch_simulations.testbed.deployment.operators import OPERATOR, ask_centre, evidence_of
from blindmatch_simulations.testbed.deployment.registry import load_design
from blindmatch_simulations.testbed.deployment.statistics import deliver
from blindmatch_simulations.testbed.deployment.transparency import LOG, make_log
from blindmatch_simulations.testbed.inprocess.deployed import open_published
from blindmatch_simulations.testbed.pictures.crops import SamplePicture, crops, encoded
from blindmatch_simulations.testbed.pictures.pool import GENERATED, random_hashes
from blindmatch_simulations.testbed.scenario.run import publish_list
from blindmatch_simulations.testbed.scenario.world import WAIT_SECONDS, World, until

DAYS: Final = 45
UNFINISHED: Final = ".blindmatch-story-unfinished"
DEVICES: Final = ("alice", "bob")


class Told(Struct, frozen=True):
    """A sentence and what was `seen`, which fills it in; its day, from 0 on, and simulated date."""

    day: int
    date: str
    says: str
    seen: Mapping[str, Any]


class Kept(Struct, frozen=True):
    """A file that remains, what it shows, and the arguments of the command that verifies it."""

    file: str
    shows: str
    command: tuple[str, ...]


class Story(Struct):
    """A story under way; people list what it is about, uphold the complaint, copy files, or do not."""

    folder: Path
    world: World
    began: datetime
    listed: bool = True
    upheld: bool = True
    stolen: bool = True
    day: int = 0
    told: list[Told] = field(default_factory=list)
    kept: list[Kept] = field(default_factory=list)

    def now(self) -> datetime:
        return datetime.fromtimestamp(time.time() - (DAYS - self.day) * DAY_S, UTC)

    def tell(self, says: str, **seen: Any) -> None:
        date = (self.began + timedelta(self.day)).date().isoformat()
        self.told.append(Told(self.day, date, says.format(**seen), seen))

    def keep(self, file: Path, shows: str, *command: object) -> None:
        self.kept.append(Kept(str(file), shows, (*map(str, command),)))

    def ask(self, method: str, request: Any, reply: type[Any]) -> Any:
        return ask_centre(self.world.deployment, method, request, reply)

    def publish(self, hashes: Rows, listed: Sequence[bytes] = ()) -> None:
        """Publish the next epoch and serve it; where there are devices, Alice's takes it."""
        world = self.world
        filled = np.concatenate([random_hashes(40, 1), hashes])
        publish_list(world.deployment, world.design, filled, listed, system_randomness(), at=self.now())
        world.stop()
        world.start(threads=True)
        for name in [one for one in DEVICES if one not in world.driven]:
            world.device(name)
        used = world.of(DEVICES[0]).watched.device.refresh()
        says = "Epoch {epoch}, {entries} entries, is in {log}. Alice's device uses epoch {used}."
        made = world.publication()
        log = "the log" if (made.folder / PROOF).exists() else "no log"
        self.tell(says, epoch=made.manifest.epoch, entries=made.manifest.entries, log=log, used=used)

    def send(self, data: bytes, what: str) -> OutcomeKind:
        sent = self.world.send_picture("alice", "bob", data)
        arrived = "gets" if sent.delivered and self.world.receive("bob", 1) else "does not get"
        says = "Alice sends Bob {what}. Outcome: {outcome}. Bob {arrived} it. Her device tells her: {notice}."
        notice = sent.notice.partition(".")[0] or "nothing"
        self.tell(says, what=what, outcome=str(sent.outcome), arrived=arrived, notice=notice)
        return sent.outcome


def photograph(story: Story) -> None:
    picture = next(one for one in crops(16, 1) if one.source == "rocket.jpg")
    entry = np.frombuffer(picture.hash, np.uint8).reshape(1, 32).copy()
    entry[:, :1] ^= 0b11  # near, and not the same
    if _reported(story, picture.data, f"a family photograph ({picture.name} stands for it)", entry):
        return
    file = story.folder / "absent.proof"
    path = story.folder / "photograph.png"
    path.write_bytes(picture.data)
    file.write_bytes(story.world.of("alice").watched.device.prove_absence("bob", picture.data).encode())
    shows = "that the photograph matches no entry of this epoch, which is everybody's"
    story.keep(file, shows, "proof", "verify", file, "--picture", path, *_log(story))


def leaflet(story: Story) -> None:
    data = encoded(GENERATED["documents"](7))
    _reported(story, data, "a leaflet", rows([]), [data])


def _reported(story: Story, data: bytes, what: str, hashes: Rows, listed: Sequence[bytes] = ()) -> bool:
    """Play a list, a report and a complaint about it to its end; whether the picture is still found."""
    story.publish(*((hashes, listed) if story.listed else (rows([]),)))
    story.send(data, what)
    found = story.world.checked().reports
    story.tell("Reports at the centre: {reports}.", reports=len(found))
    gone = _complained(story, found[0]) if found else 0
    if gone:
        story.publish(rows([]))
    return story.send(data, f"{what} again") is not OutcomeKind.NO_MATCH


def _complained(story: Story, row: pb.ReportRow) -> int:
    """What the centre decides of a report and of a complaint; how many entries it says must go."""
    world = story.world
    report = row.report_id
    story.day = 1
    request = pb.MoveRequest(report_id=report, state="confirmed", reason="a person looked")
    decision = story.ask("Move", request, pb.ReportRow).decision
    says = "Its checks: {checks}{reason}. A person decides: {decision}."
    reason = row.checks_reason and f" ({row.checks_reason})"
    story.tell(says, checks=row.checks, reason=reason, decision=decision)
    file = story.folder / "report.evidence"
    curator = world.deployment.curator_keys / "curator.pub"
    file.write_bytes(evidence_of(world.deployment, report, "for whoever verifies it").encode())
    story.keep(file, "what anybody can verify of the report", "report", "verify", file, "--curator", curator)
    story.day = 3
    complaint = world.of("alice").watched.device.complaints.complain(report, "It is none of that")
    story.tell("Alice complains. Her complaint is {stage}.", stage=complaint.stage)
    upheld = story.upheld
    name = complaint.complaint_id
    story.day = 10
    asked = pb.SettleRequest(complaint_id=name, upheld=upheld, reason="looked again")
    settled = story.ask("Settle", asked, pb.Complaint).decision
    state = story.ask("Show", pb.ShowRequest(report_id=report), pb.ReportDetail).row.state
    story.tell("The complaint is {settled}. The report is {state}.", settled=settled, state=state)
    sent = deliver(world.deployment, world.reference, clock_ms=lambda: int(story.now().timestamp() * 1000))
    texts = [one.text.partition(".")[0] for one in world.receive("alice", len(sent), 5.0)]
    words = "; ".join(texts).replace(report.hex(), "(its number)") or "nothing"
    story.tell("Notices that the centre sends: {sent}. Alice reads: {words}.", sent=len(sent), words=words)
    gone = len(story.ask("Withdrawals", pb.WithdrawalsRequest(), pb.WithdrawalList).withdrawals)
    story.tell("Entries that the centre says must go: {gone}.", gone=gone)
    return gone


def key(story: Story) -> None:
    listed = (pictures := crops(4, 1))[:2]
    others = pictures[2:]
    copied = story.folder / "copied"
    for story.day in (0, 10):
        story.publish(rows([one.hash for one in listed]))
        story.send(others[0].data, f"a picture ({others[0].name})")
        story.day += 2
        if story.stolen and not copied.exists():
            shutil.copytree(story.world.published, copied)
        files = len([*copied.glob("1/*")])
        story.tell("Files that somebody copied from the matcher: {files}.", files=files)
        if files:
            hits = _found(story, copied, listed)
            wrong = _found(story, copied, others)
            says = (
                "With their key, asking nobody: {hits} of {listed} listed pictures found, and {wrong} others."
            )
            story.tell(says, hits=hits, wrong=wrong, listed=len(listed))
    due = story.ask("DueNotices", pb.DueNoticesRequest(), pb.NoticeList).notices
    reports = len(story.world.checked().reports)
    story.tell("Reports at the centre: {reports}. Notices: {notices}.", reports=reports, notices=len(due))
    proof = story.world.publication().folder / PROOF
    story.keep(proof, "that this epoch is everybody's newest", "proof", "verify", proof, *_log(story))


def _found(story: Story, copied: Path, guesses: Sequence[SamplePicture]) -> int:
    """How many guesses a copied key of epoch 1 finds in the public set that is served, without any check."""
    design: Any = story.world.design
    (thief,) = open_published(design, open_publication(copied, 1)).states.values()
    setup = open_published(design, story.world.publication()).setup
    found = 0
    for item in [Picture.from_bytes(one.data) for one in guesses]:
        outputs = evaluate(thief.key, design.inputs(setup, item, False, system_randomness()))
        found += design.found(setup, Verified(outputs, item.hash)) is not None
    return found


def _log(story: Story) -> tuple[object, ...]:
    return "--policy", story.folder / "log.policy", "--days", 2 * DAYS, "--home", story.world.deployment.home


def _erase(story: Story) -> None:
    """Let the time pass for which the relay keeps pictures, and see what is left where."""

    def sealed(party: Party, folder: str) -> int:
        held = story.world.deployment.server(party) / STATE / folder
        return sum(one.is_file() for one in held.rglob("*"))

    def look() -> tuple[int, int, int]:
        left = sealed(Party.PROVIDER, "blobs")
        return before - left, before, left

    before = sealed(Party.PROVIDER, "blobs")
    story.day = DAYS
    story.world.stop()
    story.world.start(threads=True)
    left = until(look, WAIT_SECONDS, no_progress)
    reports = sealed(Party.CENTRE, "reports")
    says = "Sealed pictures at the relay: {before}, now {left}. Sealed reports at the centre: {reports}."
    story.tell(says, before=before, left=left, reports=reports)


STORIES: Final[Mapping[str, tuple[str, Callable[[Story], None]]]] = {
    "photograph": ("token-psi", photograph),
    "leaflet": ("oprf-psi", leaflet),
    "key": ("oprf-psi", key),
}
"""By name: the design, and what happens."""


def play_story(name: str, folder: Path, **choices: bool) -> Story:
    """Play a story in a new folder, or in that of a run which was cut off; `choices` as in `Story`;
    `DeploymentError` if the folder has something else, `BlindmatchError` if a part fails."""
    if (folder / UNFINISHED).exists():
        shutil.rmtree(folder)
    if folder.exists():
        raise DeploymentError(f"{folder} exists; choose a new folder")
    folder.mkdir(parents=True, mode=0o700)
    (folder / UNFINISHED).touch()
    reference, happen = STORIES[name]
    design = load_design(reference)
    begun = datetime.fromtimestamp(time.time() - DAYS * DAY_S, UTC)
    deployment = Deployment.create(folder / "deployment", begun)
    deployment.admit((*parties_of(design), LOG, Party("witness_1"), Party("witness_2")), begun)
    for identity in (Identity(Kind.OPERATOR, OPERATOR), *(Identity(Kind.DEVICE, one) for one in DEVICES)):
        deployment.enrol(identity, deployment.folder_of(identity), begun)
    log = make_log(deployment, 2, 2, 2 * DAYS * DAY_S)
    (folder / "log.policy").write_text(log.pinned(reference).policy.text)
    world = World(deployment, reference, design, clock=lambda: story.now().timestamp())
    story = Story(folder, world, begun, **dict[str, Any](choices))
    with world:
        world.start(world.log_parties, threads=True)
        happen(story)
        _erase(story)
    (folder / UNFINISHED).unlink()
    return story
