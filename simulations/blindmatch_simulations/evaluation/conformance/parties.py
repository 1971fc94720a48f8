"""A real device, and its matching service, relay and centre in this process: its way out is a function call.

    Device --> LocalParties (in place of Egress): every call is noted when it was answered

Nothing of what it calls waits for a network, so that the time between two calls is the device's own.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from blindmatch_client.device import CentreIdentity, Device, DeviceConfig
from blindmatch_client.egress import Call, Egress, Recorder
from blindmatch_client.messenger import Account
from blindmatch_client.settings import Consequence
from blindmatch_protocol.codec import decode_any
from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.contract import AnyDesign, Outcome, Party, Request, Role, answered
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from blindmatch_server.epochs.signing import CuratorKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from msgspec import Struct

from blindmatch_simulations.testbed.inprocess.deployed import Deployed, manifest_of

NOW_MS: Final = 1_700_000_000_000
SENDER, RECIPIENT = "alice", "bob"
FIRST_BYTE: Final = "first byte"
CONCLUDE: Final = "conclude"


class Noted(Struct, frozen=True):
    """Something that happened on the device: the name of a method it called, or one of the two above."""

    kind: str
    at: int


class LocalParties(Egress):
    """Answers a device's calls from a deployed design, and notes them.

    Args:
        clock: nanoseconds.
    """

    def __init__(self, deployed: Deployed, clock: Callable[[], int], rng: Randomness) -> None:
        self._deployed, self._clock, self._rng = deployed, clock, rng
        self._bob = Account.create(RECIPIENT, NOW_MS, 1).published()
        sealing = X25519PrivateKey.generate().public_key().public_bytes_raw()
        self.centre = CentreIdentity(sealing, self._bob.identity)
        self.curator = CuratorKey.generate()
        self.recorder = Recorder(1, keep_requests=False)
        self.noted: list[Noted] = []
        self._held: dict[Role, bytes] = {}

    @property
    def design(self) -> AnyDesign:
        """The design that is answered for."""
        return self._deployed.design

    def note(self, kind: str) -> None:
        """Something happened now."""
        self.noted.append(Noted(kind, self._clock()))

    def knows(self, party: Party) -> bool:
        """All are here."""
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
        design, role = self._deployed.design, Role(request.role)
        body = decode_any(design.requests[role], request.body, "loopback")
        held = self._held.get(role)
        enrolment = None if held is None else decode_any(design.enrolments[role], held, "loopback")
        reply, _ = answered(design, role, self._deployed.states[role], Request(body, enrolment), self._rng)
        made = pb.Envelope(design=request.design, version=request.version, epoch=request.epoch)
        made.role, made.body = request.role, reply.encode()
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
