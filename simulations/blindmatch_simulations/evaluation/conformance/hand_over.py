"""Does a real device hand a message to the relay before anything depends on the outcome of its picture?

By order: between the last reply and the relay's acknowledgement no outcome is worked out; one picture of a
kind shows it. With the large games also by time: from the last reply to the first byte of the upload, in CPU
time of the device's thread. The device is real; the servers are in this process (`LocalParties`, in place of
its `Egress`), so that the time between two calls is the device's own.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from itertools import combinations, islice
from pathlib import Path
from typing import Any, Final

import numpy as np
from blindmatch_client.device import CentreIdentity, Device, DeviceConfig, OutcomeKind
from blindmatch_client.egress import Call, Egress, Recorder
from blindmatch_client.messenger.account import Account
from blindmatch_client.settings import Consequence
from blindmatch_protocol.codec import Rows, decode_any
from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.contract import AnyDesign, Category, Learner, Outcome, Party, Request, Role, answered
from blindmatch_protocol.contract.relation import NO_ENTRIES
from blindmatch_protocol.picture.decode import Picture
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from blindmatch_server.epochs.signing import CuratorKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from msgspec import Struct
from PIL import Image

from blindmatch_simulations.evaluation.conformance.correctness import of_either
from blindmatch_simulations.evaluation.conformance.fixtures import Fixtures
from blindmatch_simulations.evaluation.conformance.leakage.game import Finding, Run
from blindmatch_simulations.evaluation.conformance.leakage.play import Event
from blindmatch_simulations.evaluation.conformance.leakage.timing import judged_by_time
from blindmatch_simulations.testbed.inprocess.deployed import Deployed, manifest_of, opened
from blindmatch_simulations.testbed.inprocess.steps import flag
from blindmatch_simulations.testbed.inprocess.verdict import BrokenError, NotApplicableError, Passed
from blindmatch_simulations.testbed.pictures.crops import encoded
from blindmatch_simulations.testbed.pictures.pool import picture

NOW_MS: Final = 1_700_000_000_000
SENDER = "alice"
RECIPIENT = "bob"
FIRST_BYTE: Final = "first byte"
CONCLUDE: Final = "conclude"


class Noted(Struct, frozen=True):
    """Something that happened on the device: the name of a method it called, or one of the two above."""

    kind: str
    at: int


class LocalParties(Egress):
    """Answers a device's calls from a deployed design, and notes them by a clock, in nanoseconds."""

    def __init__(self, deployed: Deployed, clock: Callable[[], int], rng: Randomness) -> None:
        self._deployed = deployed
        self._clock = clock
        self._rng = rng
        self._bob = Account.create(RECIPIENT, NOW_MS, 1).get_published_keys()
        sealing = X25519PrivateKey.generate().public_key().public_bytes_raw()
        self.centre = CentreIdentity(sealing, self._bob.identity)
        self.curator = CuratorKey.generate()
        self.recorder = Recorder(1, keep_requests=False)
        self.noted: list[Noted] = []
        self._held: dict[Role, bytes] = {}

    @property
    def design(self) -> AnyDesign:
        return self._deployed.design

    def note(self, kind: str) -> None:
        self.noted.append(Noted(kind, self._clock()))

    def knows(self, party: Party) -> bool:
        return True

    def close(self) -> None:
        """Nothing is open."""

    def unary(self, call: Call[Any, Any], request: Any) -> Any:
        return self._answered(call, request)

    def upload(self, call: Call[Any, Any], requests: Callable[[], Iterable[Any]]) -> Any:
        parts = iter(requests())
        first = next(parts)
        self.note(FIRST_BYTE)
        return self._answered(call, [first, *parts])

    def stream(self, call: Call[Any, Any], request: Callable[[], Any], consume: Callable[..., Any]) -> Any:
        """See `Egress.stream`: a file of the set-up, in one part."""
        asked = request()
        data = bytes(self._deployed.build.setup_files[asked.name][asked.offset :])
        return consume(iter([pb.Part(size=len(data), data=data)]))

    def converse(
        self,
        call: Call[Any, Any],
        requests: Callable[[], Iterable[Any]],
        consume: Callable[[Iterator[Any]], Any],
    ) -> Any:
        """See `Egress.converse`: a body in parts."""
        head, *rest = requests()
        head.body += b"".join(part.body for part in rest)
        reply = self._answered(call, head)
        reply.body_size = len(reply.body)
        return consume(iter([reply]))

    def _answered(self, call: Call[Any, Any], request: Any) -> Any:
        name = call.method.path.rpartition("/")[2]
        reply = getattr(self, f"_{name.lower()}")(request)
        self.note(name)
        return reply

    def _describe(self, request: Any) -> Any:
        build = self._deployed.build
        manifest = manifest_of(build.design, build.setup_files, build.epoch)
        return pb.Description(manifest=self.curator.sign(manifest).encode())

    def _exchange(self, request: Any) -> Any:
        design = self._deployed.design
        role = Role(request.role)
        body = decode_any(design.requests[role], request.body, "loopback")
        held = self._held.get(role)
        enrolment = None if held is None else decode_any(design.enrolments[role], held, "loopback")
        reply, _ = answered(design, role, self._deployed.states[role], Request(body, enrolment), self._rng)
        made = pb.Envelope(design=request.design, version=request.version, epoch=request.epoch)
        made.role = request.role
        made.body = reply.encode()
        return made

    _exchangelarge = _exchange

    def _enrolled(self, request: Any) -> Any:
        held = self._held.get(Role(request.role), b"")
        return pb.Held(size=len(held), sha256=sha256(held).digest() if held else b"")

    def _enrol(self, parts: list[Any]) -> Any:
        head = parts[0].head
        self._held[Role(head.role)] = b"".join(part.data for part in parts)
        return self._enrolled(head)

    def _register(self, request: Any) -> Any:
        return pb.RegisterReply(one_time_pre_keys_held=len(request.one_time_pre_keys))

    def _fetchbundle(self, request: Any) -> Any:
        return pb.Bundle(
            identity_key=self._bob.identity,
            signed_pre_key=self._bob.signed_pre_key,
            signed_pre_key_signature=self._bob.signature,
            one_time_pre_keys=self._bob.one_time,
        )

    def _upload(self, parts: list[Any]) -> Any:
        return pb.UploadReply(blob_id=sha256(b"".join(part.data for part in parts)).digest()[:16])

    def _send(self, request: Any) -> Any:
        return pb.SendReply(accepted_at_ms=NOW_MS)

    def _key(self, request: Any) -> Any:
        return pb.CentreKey(public_key=self.centre.sealing)

    def _submit(self, parts: list[Any]) -> Any:
        return pb.Receipt(report_id=parts[0].report_id, received_at_ms=NOW_MS)

    def _submitvoucher(self, parts: list[Any]) -> Any:
        return pb.Receipt(report_id=bytes(16), received_at_ms=NOW_MS)


@contextmanager
def local_device(
    kind: type[Device],
    parties: LocalParties,
    rng: Randomness,
    consequence: Consequence = Consequence.REPORT,
) -> Iterator[Device]:
    """A registered device of this kind, in a folder that goes with it."""
    design = watched(parties.design, lambda: parties.note(CONCLUDE))
    with tempfile.TemporaryDirectory() as folder:
        config = DeviceConfig(
            SENDER, design, parties.curator.public, centre=parties.centre, consequence=consequence
        )
        device = kind.create(Path(folder) / SENDER, config, parties, rng, lambda: NOW_MS)
        try:
            device.register()
            yield device
        finally:
            device.close()


def watched(design: AnyDesign, looked: Callable[[], None]) -> AnyDesign:
    """`design`, which tells `looked` whenever an outcome is worked out."""

    def conclude(self: Any, session: Any, setup: Any) -> Outcome:
        looked()
        return design.conclude(session, setup)

    kind = type("Watched", (type(design),), {"conclude": conclude})
    made: AnyDesign = object.__new__(kind)
    vars(made).update(vars(design))
    return made


FAMILY: Final = 64
FAMILY_NUMBER: Final = 950
"""Of the picture with a family, beyond those of the pool and of the worst cases."""
CLASSES: Final = {"a match or none": ("match", "none"), "a family of 64 or none": ("family", "none")}
TRAINING: Final = 5
"""With the large games one run in so many learns."""
STEP: Final = "hand-over"
OF_MESSAGE: Final = frozenset({FIRST_BYTE, "Upload", "Send"})
"""Calls that bear something of a message."""


def check_hand_over(fixtures: Fixtures) -> Passed:
    """A real device works out no outcome before the relay acknowledged the message; with `--games` CPU time
    until the upload does not tell either."""
    info = fixtures.design.info
    if Learner.DEVICE not in info.learns:
        fixtures.asks()
    family = picture(1000 * fixtures.seed + FAMILY_NUMBER)
    entries = np.concatenate([fixtures.pool.entries, _family(family)])
    deployed = opened(fixtures.publish(entries, "hand-over/publish"))
    parties = LocalParties(deployed, fixtures.clocks[0], fixtures.rng("hand-over/roles"))
    pictures = _pictures(fixtures, family)
    refused = _refused(fixtures, parties, pictures) if Learner.DEVICE in info.learns else ""
    if Learner.SERVER in info.learns or not info.roles:
        if not refused:
            raise NotApplicableError("a server learns the outcome before the message leaves, by declaration")
        return Passed(refused)
    with local_device(fixtures.device, parties, fixtures.rng("hand-over/device")) as device:
        looked = sum(_in_order(device, parties, kind, data) for kind, data in pictures.items())
        found = list(_timed(fixtures, device, parties, pictures)) if fixtures.held_out else []
    words = [f"{looked} of {len(pictures)} outcomes were worked out, all after the relay had the message"]
    words += [refused] if refused else []
    if looked < len(pictures):
        words.append("the others the design has with the last reply (`Done`), so before it")
    words += [f"time tells {one.scenario!r} with advantage {one.measured.words()}" for one in found]
    figures = {one.scenario: one.measured.figures()["interval"] for one in found}
    return Passed("; ".join(words), {"concluded": looked, "pictures": len(pictures), "time": figures})


def _refused(fixtures: Fixtures, parties: LocalParties, pictures: Mapping[str, bytes]) -> str:
    """That a device which refuses sends nothing of a message with a match, and every other one, in words."""
    refusing = local_device(fixtures.device, parties, fixtures.rng("hand-over/refusing"), Consequence.REFUSE)
    count = 0
    relation = fixtures.design.info.relation
    with refusing as device:
        for kind, data in pictures.items():
            parties.noted.clear()
            sent = device.send_picture(RECIPIENT, data)
            left = [one.kind for one in parties.noted if one.kind in OF_MESSAGE]
            found = sent.outcome in (OutcomeKind.MATCH, OutcomeKind.FLAG)
            if found and left:
                raise BrokenError(f"{STEP}: {kind}", f"a message that is to be refused leaves: {left[0]}")
            due = isinstance(relation, Category) and relation.matches(Picture.from_bytes(data), NO_ENTRIES)
            if due and not found:
                raise BrokenError(f"{STEP}: {kind}", "a device does not flag a file of the category")
            if not found and "Send" not in left:
                raise BrokenError(f"{STEP}: {kind}", "a message without a match is refused")
            count += found
    return f"a device that refuses sent nothing of {count} messages with a match, and the other ones"


def _family(item: Picture) -> Rows:
    """The hash, and others with two of its least reliable bits flipped, uint8 (64, 32)."""
    bits = np.unpackbits(np.frombuffer(item.hash, np.uint8))
    weakest = np.argsort(np.abs(item.coefficients), kind="stable")
    rows = np.tile(bits, (FAMILY, 1))
    for row, two in enumerate(islice(combinations(weakest, 2), FAMILY - 1), 1):
        rows[row, list(two)] ^= 1
    return np.packbits(rows, axis=1)


def _pictures(fixtures: Fixtures, family: Picture) -> dict[str, bytes]:
    pool = fixtures.pool
    items = {"match": pool.of("listed")[0].item, "none": pool.of("other")[0].item, "family": family}
    if isinstance(fixtures.design.info.relation, Category):
        items |= of_either(fixtures.design.info.relation, fixtures.seed)
    return {kind: encoded(Image.fromarray(item.pixels)) for kind, item in items.items()}


def _in_order(device: Device, parties: LocalParties, kind: str, data: bytes) -> bool:
    """Was an outcome worked out at all? `BrokenError` if that was before the message was handed over."""
    parties.noted.clear()
    device.send_picture(RECIPIENT, data)
    happened = [one.kind for one in parties.noted]
    if "Send" not in happened:
        raise BrokenError(f"{STEP}: {kind}", "the device does not hand the message over")
    if CONCLUDE in happened[: happened.index("Send")]:
        raise BrokenError(f"{STEP}: {kind}", "the outcome is worked out before the relay has the message")
    return CONCLUDE in happened


def _timed(
    fixtures: Fixtures, device: Device, parties: LocalParties, pictures: Mapping[str, bytes]
) -> Iterator[Finding]:
    for name, (left, right) in CLASSES.items():
        rng = fixtures.rng(f"hand-over/{name}")
        runs = list[Run]()
        for _ in range(fixtures.held_out // len(CLASSES) // TRAINING):
            coin = flag(rng)
            took = _time_of(device, parties, pictures[right if coin else left])
            runs.append(Run([Event(Party.PROVIDER, STEP, 0, b"", (), (took,))], None, coin))
        part = len(runs) // TRAINING
        finding = judged_by_time(name, STEP, (runs[:part], runs[part:]), len(CLASSES))
        yield finding.not_told(f"{STEP}: {name}", "the time to the first byte of the upload tells")


def _time_of(device: Device, parties: LocalParties, data: bytes) -> int:
    parties.noted.clear()
    device.send_picture(RECIPIENT, data)
    before: list[int] = []
    for one in parties.noted:
        if one.kind == FIRST_BYTE:
            return one.at - before[-1]
        before.append(one.at)
    raise BrokenError(STEP, "nothing is uploaded")
