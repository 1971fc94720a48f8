"""A device hides a picture's hash where an audit may not look; the audit of its records must see each way.

    message id    half the hash is the message's id
    commitment    the whole hash stands for the commitment
    attachment    the picture goes to the relay as it is, in the length that its ciphertext would have
    name          the hash is in a name that the device asks the relay for
    repetition    one request is made so often as the hash's first byte says
    offsets       a fetch of the set-up is broken off, and goes on from places that the hash says
    numbers       messages are acknowledged whose numbers the hash says
    downloads     attachments are fetched that nobody sent, so many as the hash's first byte says

An honest device sends a picture; then what it recorded of itself is changed as if it had cheated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

import numpy as np
from blindmatch_client.egress import methods
from blindmatch_client.trace import EgressRecord, Purpose
from blindmatch_protocol.contract import Party
from blindmatch_protocol.picture.item import Picture
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from blindmatch_protocol.sealed_message import SealedMessage
from msgspec.structs import replace

from blindmatch_simulations.attacks.adversary import Claim, Means, replacing
from blindmatch_simulations.attacks.arena import Arena, AttackError, attack
from blindmatch_simulations.attacks.figure import Figure, counted
from blindmatch_simulations.attacks.loopback import Loopback, drawn, loopback
from blindmatch_simulations.audit import Counterpart, Evidence, audit_device
from blindmatch_simulations.audit import audit as checks
from blindmatch_simulations.scenario.seen import counterpart, evidence

Records: TypeAlias = Sequence[EgressRecord]
Cheat: TypeAlias = Callable[[Records, Picture, bytes], Records]


def _message_id(records: Records, picture: Picture, data: bytes) -> Records:
    return _each(
        records, methods.SEND, lambda raw: _changed(pb.SendRequest, raw, message_id=picture.hash[:16])
    )


def _commitment(records: Records, picture: Picture, data: bytes) -> Records:
    def cheating(raw: bytes) -> bytes:
        sealed = SealedMessage.decode(pb.SendRequest.FromString(raw).sealed)
        return _changed(pb.SendRequest, raw, sealed=replace(sealed, commitment=picture.hash).encode())

    return _each(records, methods.SEND, cheating)


def _attachment(records: Records, picture: Picture, data: bytes) -> Records:
    left = iter(data)

    def cheating(raw: bytes) -> bytes:
        size = len(pb.Part.FromString(raw).data)
        own = bytes(byte for byte, _ in zip(left, range(size), strict=False))
        return _changed(pb.Part, raw, data=own.ljust(size, b"\0"))

    return _each(records, methods.UPLOAD, cheating)


def _name(records: Records, picture: Picture, data: bytes) -> Records:
    return _asked(records, methods.FETCH_BUNDLE, [pb.BundleRequest(account=picture.hash.hex())])


def _repetition(records: Records, picture: Picture, data: bytes) -> Records:
    again = [one for one in records if one.method == methods.EXCHANGE.path] * (picture.hash[0] + 1)
    return [*records, *(replace(one, sequence=len(records) + at) for at, one in enumerate(again))]


def _offsets(records: Records, picture: Picture, data: bytes) -> Records:
    (fetch,) = (one for one in records if one.method == methods.FETCH_SETUP.path)
    words = np.frombuffer(picture.hash, "<u2").tolist()
    asked = [(_changed(pb.SetupRequest, fetch.requests[0], offset=1 + word),) for word in words]
    return [*records, replace(fetch, failed=True), *(replace(fetch, requests=one) for one in asked)]


def _numbers(records: Records, picture: Picture, data: bytes) -> Records:
    given = [256 * at + byte for at, byte in enumerate(picture.hash, 1)]
    return _asked(records, methods.ACKNOWLEDGE, [pb.AcknowledgeRequest(sequences=given)])


def _downloads(records: Records, picture: Picture, data: bytes) -> Records:
    blobs = [bytes([number]) * 16 for number in range(picture.hash[0] + 1)]
    return _asked(records, methods.DOWNLOAD, [pb.DownloadRequest(blob_id=blob) for blob in blobs])


CHEATS: Final[dict[str, Cheat]] = {
    "message id": _message_id,
    "commitment": _commitment,
    "attachment": _attachment,
    "name": _name,
    "repetition": _repetition,
    "offsets": _offsets,
    "numbers": _numbers,
    "downloads": _downloads,
}
_LOOKS: Final = ("check_matching", "check_messages", "check_uploads", "check_ids", "check_repetition", "scan")
"""Checks that see the cheats; without them what left is taken for what it is said to be."""


@attack(
    "audit-evasion",
    Means(frozenset({Party.DEVICE}), has="records of itself that it does not forge"),
    Claim(
        "commitments, attachments and request ids are what content and keys give, other ids are drawn, each "
        "for one thing, nothing is sent more often than declared, and nothing is fetched or acknowledged "
        "that was not there"
    ),
    budget=f"{len(CHEATS)} cheats, one picture",
    weakness=replacing(*((checks, name, lambda *_: ()) for name in _LOOKS)),
    against={"oprf-psi", "token-psi"},
)
def audit_evasion(arena: Arena) -> Figure:
    """Count the cheats of which the audit finds nothing."""
    data, cases = drawn(1), {}
    with loopback(arena, [drawn(2)]) as held:
        roles, honest = _honest(arena, held, data)
    if audit_device(roles, honest).findings:
        raise AttackError("the audit finds something in an honest device")
    for name, cheat in arena.each(CHEATS.items()):
        records = cheat(honest.records, Picture.from_bytes(data), data)
        cases[name] = (not audit_device(roles, replace(honest, records=records)).findings, 1)
    return counted("cheats unseen", cases)


def _honest(arena: Arena, held: Loopback, data: bytes) -> tuple[Counterpart, Evidence]:
    for name in ("bob", "alice"):
        held.device(name)
    held.send_picture("alice", "bob", data)
    others = [Picture.from_bytes(drawn(other)) for other in (3, 4)]
    made = replace(evidence(held, "alice", others), centre=None)
    return replace(counterpart(held, arena.hashes(1, "list")), rng=arena.rng("audit")), made


def _asked(records: Records, method: methods.Method[Any, Any], requests: Sequence[Any]) -> Records:
    """The records, and requests to the relay beside them."""
    raw = [request.SerializeToString(deterministic=True) for request in requests]
    made = EgressRecord(
        len(records), Party.PROVIDER, method.path, Purpose.MESSAGE, None, (), 0, records[-1].at_ms
    )
    return [
        *records,
        *(replace(made, sequence=len(records) + at, requests=(one,)) for at, one in enumerate(raw)),
    ]


def _each(records: Records, method: methods.Method[Any, Any], change: Callable[[bytes], bytes]) -> Records:
    """The records, with every request of a method changed."""
    return [
        replace(one, requests=tuple(map(change, one.requests))) if one.method == method.path else one
        for one in records
    ]


def _changed(kind: Any, raw: bytes, **fields: Any) -> bytes:
    made = kind.FromString(raw)
    for name, value in fields.items():
        setattr(made, name, value)
    return bytes(made.SerializeToString(deterministic=True))
