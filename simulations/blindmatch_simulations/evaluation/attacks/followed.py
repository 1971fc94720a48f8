"""Runs to be followed on a page: one picture in three forms, in an honest run or under an attack.

innocent   a picture that is not on the list
edited     a copy of the listed picture, after one standard edit
listed     the listed picture itself

Alice sends Bob each of them in turn; Bob receives, the centre checks what it got. Pictures are bundled crops.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from blindmatch_client.egress import Call
from blindmatch_client.egress.calls import EXCHANGE, EXCHANGE_LARGE
from blindmatch_client.errors import ServiceUnavailableError
from blindmatch_client.settings import FailureMode
from blindmatch_protocol.contract import AnyDesign, Party
from google.protobuf.message import Message as Wire
from msgspec import Struct, field

from blindmatch_simulations.evaluation.attacks.arena import AttackError
from blindmatch_simulations.evaluation.attacks.loopback import SMALL, Loopback, Tamper, honest
from blindmatch_simulations.testbed.deployment.devices import Watched
from blindmatch_simulations.testbed.deployment.registry import load_design
from blindmatch_simulations.testbed.inprocess.deployed import values_of
from blindmatch_simulations.testbed.pictures.crops import BY_NAME, crops
from blindmatch_simulations.testbed.scenario.operations import (
    AddDevice,
    Check,
    Decide,
    Flush,
    Operation,
    Publish,
    Receive,
    SendPicture,
    SendText,
    Start,
)
from blindmatch_simulations.testbed.scenario.recording import Attack, Writer
from blindmatch_simulations.testbed.scenario.run import evidence, play, shown

FILLERS: Final = 200
"""Random hashes on the list beside the listed picture's."""
CROPS: Final = (5, 1)
"""Number and seed; the last two are a cat and a cup of coffee."""
SECONDS: Final = 20.0
EDIT: Final = "jpeg-50"
ALICE, BOB = "alice", "bob"


def _unheard(call: Call[Any, Any], request: Wire | None, reply: Any) -> Any:
    """A modified client looks at no answer about its pictures."""
    if call.method in (EXCHANGE, EXCHANGE_LARGE):
        raise ServiceUnavailableError(call.party, "is not listened to")
    return reply


def _altered(call: Call[Any, Any], request: Wire | None, reply: Any) -> Any:
    """A matcher's answer with its last byte changed."""
    if call.method in (EXCHANGE, EXCHANGE_LARGE) and reply.body:
        reply.body = reply.body[:-1] + bytes([reply.body[-1] ^ 1])
    return reply


class Staging(Struct, frozen=True):
    """What is different from an honest run.

    Attributes:
        attack: as the recording names it.
        tamper: what replies become on their way to Alice's device.
        mode: of Alice's device.
        added: whether the innocent picture is put on the list, and a person at the centre decides.
    """

    attack: Attack | None = None
    tamper: Tamper = honest
    mode: FailureMode = FailureMode.HOLD
    added: bool = False


STAGINGS: Final[Mapping[str, Staging]] = {
    "none": Staging(),
    "modified-client": Staging(
        Attack(
            "modified client",
            (Party.DEVICE,),
            "Alice has changed her device: it looks at no answer about its pictures, and sends them.",
        ),
        _unheard,
        FailureMode.SEND_UNMATCHED,
    ),
    "malicious-matcher": Staging(
        Attack("malicious matcher", (Party.MATCHER,), "The matcher changes one byte of each of its answers."),
        _altered,
    ),
    "added-picture": Staging(
        Attack(
            "an added harmless picture",
            (Party.CURATOR,),
            "The curator puts a harmless picture on the list, and nobody else has to endorse it.",
        ),
        added=True,
    ),
    "pooled": Staging(
        Attack(
            "provider with matcher",
            (Party.MATCHER, Party.PROVIDER),
            "Provider and matcher follow the protocol, and put together what each of them saw.",
        )
    ),
}


class Stage(Loopback):
    """A world in which replies to one account are altered."""

    tampers: dict[str, Tamper] = field(default_factory=dict)

    def device(self, name: str, tamper: Tamper = honest, **more: Any) -> Watched:
        return Loopback.device(self, name, self.tampers.get(name, tamper), **more)


def record(
    path: Path, reference: str, attack: str = "none", edit: str = EDIT, home: Path | None = None
) -> None:
    """Play a run, and record it in the new file `path`; the deployment stays in the new folder `home`.

    Raises:
        AttackError: if the design does not have all the parties that the adversary holds.
        RecordingError: if the file cannot be written.
        BlindmatchError: if the run cannot begin.
    """
    design, staging = load_design(reference), STAGINGS[attack]
    holds = staging.attack.holds if staging.attack else ()
    lacking = {*holds} - {*design.info.parties, Party.DEVICE, Party.PROVIDER, Party.CURATOR}
    if lacking:
        raise AttackError(f"{attack}: in {design.info.name} no role is at the {', '.join(sorted(lacking))}")
    with ExitStack() as stack:
        if home is None:
            home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="blindmatch-"))) / "home"
        world = stack.enter_context(Stage.create(home, reference, design))
        writer = Writer(path, design, world.deployment.franking.mode, staging.attack)
        stack.callback(writer.close)
        world.tell, world.tampers[ALICE] = writer.request, staging.tamper
        for event in play(world, _operations(design, staging, edit), threads=True):
            if event.error and isinstance(event.operation, Publish | Start | AddDevice):
                raise AttackError(f"the run cannot begin: {event.error}")
            writer.event(event)
        for name in (ALICE, BOB):
            seen = evidence(world, name)
            writer.device(seen, shown(world, seen))


def _operations(design: AnyDesign, staging: Staging, edit: str) -> Iterator[Operation]:
    innocent, listed = (crop.data for crop in crops(*CROPS)[-2:])
    on_list = (listed, innocent) if staging.added else (listed,)
    yield Publish(on_list, random=FILLERS, values=dict(values_of(design, SMALL)))
    yield Start()
    yield AddDevice(BOB)
    yield AddDevice(ALICE, mode=staging.mode)
    for sender, recipient in ((ALICE, BOB), (BOB, ALICE)):
        yield SendText(sender, recipient, "hello")
        yield Receive(recipient, 1, SECONDS)
    for picture in (innocent, BY_NAME[edit].apply(listed), listed):
        yield SendPicture(ALICE, BOB, picture)
        yield Flush(ALICE)
        yield Receive(BOB, 1, 2.0)
        yield Check(0, SECONDS)
        if staging.added:
            yield Decide("unfounded", "a person looked: a harmless picture")
            yield Check(0, SECONDS)
