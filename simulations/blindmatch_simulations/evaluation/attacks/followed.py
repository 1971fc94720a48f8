"""Runs to be followed on a page: one picture in three forms, in an honest run or under an attack."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from blindmatch_client.egress import Call
from blindmatch_client.egress.calls import DESCRIBE, EXCHANGE, EXCHANGE_LARGE
from blindmatch_client.settings import FailureMode
from blindmatch_proofs.checkpoint import ED25519, NoteSigner
from blindmatch_proofs.epoch import EpochLeaf
from blindmatch_proofs.tlog import TlogProof
from blindmatch_protocol.contract import Content, Party
from blindmatch_protocol.picture.decode import Picture
from blindmatch_protocol.picture.pdq import rows
from blindmatch_server.epochs.published import read_logged
from google.protobuf.message import Message as Wire
from msgspec import Struct, field
from msgspec.structs import replace

from blindmatch_simulations.evaluation.attacks.arena import AttackError
from blindmatch_simulations.evaluation.attacks.epoch_log import History
from blindmatch_simulations.evaluation.attacks.loopback import SMALL, Loopback, Tamper, honest
from blindmatch_simulations.evaluation.attacks.modified_device import no_answer
from blindmatch_simulations.testbed.deployment.devices import Watched, now_ms
from blindmatch_simulations.testbed.deployment.registry import load_design
from blindmatch_simulations.testbed.deployment.transparency import LOG, log_seed, witness_signer
from blindmatch_simulations.testbed.inprocess.deployed import values_of
from blindmatch_simulations.testbed.pictures.crops import BY_NAME, crops, encoded, opened
from blindmatch_simulations.testbed.scenario.operations import (
    AddDevice,
    Check,
    Decide,
    Operation,
    Publish,
    Receive,
    SendPicture,
    SendText,
    Start,
)
from blindmatch_simulations.testbed.scenario.recording import Attack, Writer
from blindmatch_simulations.testbed.scenario.run import evidence, play, shown
from blindmatch_simulations.testbed.scenario.world import World

FILLERS: Final = 200
CROPS: Final = (5, 1)
"""Number and seed; the last two are a cat and a cup of coffee."""
SECONDS: Final = 20.0
EDIT: Final = "jpeg-50"
ALICE = "alice"
BOB = "bob"


def _altered(call: Call[Any, Any], request: Wire | None, reply: Any) -> Any:
    if call.method in (EXCHANGE, EXCHANGE_LARGE) and reply.body:
        reply.body = reply.body[:-1] + bytes([reply.body[-1] ^ 1])
    return reply


def _other_history(world: World) -> Tamper:
    """The log shows another first epoch, under a checkpoint that all witnesses cosigned."""
    logged = [read_logged(world.published / str(epoch)) for epoch in (1, 2)]
    first, newest = (EpochLeaf.decode(one.leaf) for one in logged if one is not None)
    origin = TlogProof.parse(logged[1].proof).head.origin if logged[1] else ""
    signer = NoteSigner.from_seed(origin, ED25519, log_seed(world.deployment))
    history = History([replace(first, signature=bytes(64)), newest], signer, now_ms() // 1000)
    witnesses = [witness_signer(world.deployment, one) for one in world.log_parties[1:]]

    def other(call: Call[Any, Any], request: Wire | None, reply: Any) -> Any:
        if call.method is DESCRIBE:
            shown = history.described(2, witnesses)
            reply.leaf = shown.leaf
            reply.proof = shown.proof
        return reply

    return other


class Staging(Struct, frozen=True):
    """What is different from an honest run.

    Attributes:
        does: what the adversary does; empty for nobody.
        tamper: what replies become on their way to Alice's device.
        added: whether the innocent picture is put on the list, and a person at the centre decides.
        split: whether there is a log, which shows Alice's device another history than Bob's.
    """

    does: str = ""
    holds: tuple[Party, ...] = ()
    tamper: Tamper = honest
    mode: FailureMode = FailureMode.HOLD
    added: bool = False
    split: bool = False


STAGINGS: Final[Mapping[str, Staging]] = {
    "nobody": Staging(),
    "modified-client": Staging(
        "Alice has changed her device: it looks at no answer about its pictures, and sends them.",
        (Party.DEVICE,),
        no_answer,
        FailureMode.SEND_UNMATCHED,
    ),
    "malicious-matcher": Staging(
        "The matcher changes one byte of each of its answers.", (Party.MATCHER,), _altered
    ),
    "added-picture": Staging(
        "The curator puts a harmless picture on the list, and nobody has to endorse it.",
        (Party.CURATOR,),
        added=True,
    ),
    "pooled": Staging(
        "Provider and matcher follow the protocol, and put together what each saw.",
        (Party.MATCHER, Party.PROVIDER),
    ),
    "split-view": Staging(
        "The log shows Alice's device another history than Bob's, and both witnesses cosign it.",
        (LOG,),
        split=True,
    ),
}


class Stage(Loopback):
    """A world in which replies to one account are altered."""

    tampers: dict[str, Tamper] = field(default_factory=dict)

    def device(self, name: str, tamper: Tamper = honest, **more: Any) -> Watched:
        return Loopback.device(self, name, self.tampers.get(name, tamper), **more)


def record(
    path: Path, reference: str, attack: str = "nobody", edit: str = EDIT, home: Path | None = None
) -> None:
    """Play a run, and record it in the new file `path`; the deployment stays in the new folder `home`;
    `AttackError` if the design lacks a party that the adversary holds, or the run cannot begin;
    `RecordingError` if the file cannot be written."""
    design = load_design(reference)
    staging = STAGINGS[attack]
    played = Attack(attack.replace("-", " "), staging.holds, staging.does) if staging.does else None
    lacking = {*staging.holds} - {*design.info.parties, Party.DEVICE, Party.PROVIDER, Party.CURATOR, LOG}
    if lacking:
        raise AttackError(f"{attack}: in {design.info.name} no role is at the {', '.join(sorted(lacking))}")
    with ExitStack() as stack:
        if home is None:
            home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="blindmatch-"))) / "home"
        world = stack.enter_context(Stage.create(home, reference, design, 2 * staging.split))
        writer = Writer(path, design, world.deployment.franking.mode, played)
        stack.callback(writer.close)
        world.tell = writer.request
        world.tampers[ALICE] = staging.tamper
        for event in play(world, _operations(world, staging, edit), threads=True):
            if event.error and isinstance(event.operation, Publish | Start | AddDevice):
                raise AttackError(f"the run cannot begin: {event.error}")
            writer.event(event)
        for name in (ALICE, BOB):
            seen = evidence(world, name)
            writer.device(seen, shown(world, seen))


def _operations(world: Stage, staging: Staging, edit: str) -> Iterator[Operation]:
    innocent, listed = (encoded(opened(crop.data), "JPEG", quality=30) for crop in crops(*CROPS)[-2:])
    on_list = (listed, innocent) if staging.added else (listed,)
    if staging.split:
        yield Start(tuple(map(str, world.log_parties)))
    for _ in range(1 + staging.split):
        yield Publish(on_list, random=FILLERS, values=dict(values_of(world.design, SMALL)))
    if staging.split:
        world.tampers[ALICE] = _other_history(world)
    yield Start()
    yield AddDevice(BOB)
    yield AddDevice(ALICE, mode=staging.mode)
    for sender, recipient in () if staging.split else ((ALICE, BOB), (BOB, ALICE)):
        yield SendText(sender, recipient, "hello")
        yield Receive(recipient, 1, SECONDS)
    entries = rows([Picture.from_bytes(one).hash for one in on_list])
    by_server = world.design.info.sends_content is Content.CLEAR
    filed = 0
    for picture in (innocent, BY_NAME[edit].apply(listed), listed):
        yield SendPicture(ALICE, BOB, picture)
        held_back = world.of(ALICE).watched.device.standing().messages
        yield Receive(BOB, 1, 1.0 if held_back else SECONDS)
        filed += by_server and world.design.info.relation.matches(Picture.from_bytes(picture), entries)
        yield Check(filed, SECONDS)
        if staging.added:
            yield Decide("unfounded", "a person looked: a harmless picture")
            yield Check(filed, SECONDS)
