"""Whoever has a device makes another use of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

import numpy as np
from blindmatch_client.egress import Call
from blindmatch_client.egress import calls as methods
from blindmatch_client.egress.calls import EXCHANGE, EXCHANGE_LARGE
from blindmatch_client.errors import ServiceUnavailableError
from blindmatch_client.settings import FailureMode
from blindmatch_client.trace import EgressRecord, Purpose
from blindmatch_protocol.contract import Match, Party
from blindmatch_protocol.messages.sealed_message import SealedMessage
from blindmatch_protocol.picture.decode import Picture
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from msgspec.structs import replace

from blindmatch_simulations.evaluation.attacks import needs
from blindmatch_simulations.evaluation.attacks.adversary import Claim, Conduct, Left, Means, replacing
from blindmatch_simulations.evaluation.attacks.arena import Arena, AttackError, attack
from blindmatch_simulations.evaluation.attacks.figure import Figure, counted
from blindmatch_simulations.evaluation.attacks.loopback import drawn, loopback
from blindmatch_simulations.testbed.audit import audit as checks
from blindmatch_simulations.testbed.audit import audit_device
from blindmatch_simulations.testbed.deployment.operators import centre_list
from blindmatch_simulations.testbed.inprocess.deployed import OpenDesign, run_session
from blindmatch_simulations.testbed.pictures.pool import HashOnly
from blindmatch_simulations.testbed.scenario.run import counterpart, evidence

ENTRIES: Final = 200
EDITS: Final = 40


@attack(
    "stolen-device",
    Means(frozenset({Party.DEVICE}), Conduct.SEMI_HONEST, "the files of one device", stolen=True),
    Claim("whoever has a device tests guesses as often as they like", "docs/designs/device-list.md"),
    budget=f"a list of {ENTRIES}, {EDITS} edits of its entries, nobody who is asked",
    needs=(needs.A_LIST, needs.ASKS_NOBODY),
    exposes="what a device's files tell of the list",
)
def stolen_device(arena: Arena) -> Figure:
    """Count what is read and what is told."""
    entries = arena.hashes(ENTRIES, "list")
    built = arena.publish(entries, "set")
    stored = b"".join(built.setup_files.values())
    read = sum(row.tobytes() in stored for row in entries)
    arena.spending.list_share = EDITS / ENTRIES
    arena.progress(1, 2)
    stolen = OpenDesign(arena.design, arena.design.open_setup(built.setup_files), {})
    told = sum(_told(arena, stolen, entries[at].tobytes(), at) for at in range(EDITS))
    arena.progress(2, 2)
    return counted("answers", {"hashes read": (read, ENTRIES), "edits tested": (told, EDITS)})


def _told(arena: Arena, stolen: OpenDesign, entry: bytes, at: int) -> bool:
    """Is the right answer given for an edited copy of an entry, near and too far off by turns?"""
    most = arena.design.info.relation.distance
    assert most is not None
    near = at % 2 == 0
    bits = np.unpackbits(np.frombuffer(entry, np.uint8))
    bits[: most if near else most + 1] ^= 1
    ran = run_session(stolen, HashOnly(np.packbits(bits).tobytes()), arena.rng(f"edit/{at}"))
    return isinstance(ran.outcome, Match) is near


SENT: Final = 3
WAIT_MS: Final = 200


def no_answer(call: Call[Any, Any], request: Any, reply: Any) -> Any:
    """What mallory's device does with the matcher's replies: it looks at none."""
    if call.method in (EXCHANGE, EXCHANGE_LARGE):
        raise ServiceUnavailableError(Party.MATCHER, "is not listened to")
    return reply


@attack(
    "unmatched",
    Means(frozenset({Party.DEVICE}), has="a modified device"),
    Claim("whoever changes it sends what they like unmatched, and nobody can tell"),
    budget=f"{SENT} listed pictures",
    needs=(needs.ENCRYPTED, needs.ASKS, needs.TOLD, needs.UNSEEN, needs.SMALL),
    exposes="listed pictures sent by a device that ignores replies",
)
def unmatched(arena: Arena) -> Figure:
    """Count the listed pictures that arrive without a report."""
    listed = [drawn(number) for number in range(SENT)]
    with loopback(arena, listed) as held:
        bob = held.device("bob")
        mallory = held.device("mallory", no_answer, mode=FailureMode.SEND_UNMATCHED)
        for picture in arena.each(listed):
            mallory.device.send_picture("bob", picture)
        arrived = [one for message in bob.device.receive(WAIT_MS) for one in message.pictures]
        reports = len(centre_list(held.deployment).reports)
    return counted("pictures unmatched", {"delivered": (len(arrived) - reports, SENT)})


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
    return [*records, *(replace(one, sequence=at) for at, one in enumerate(again, len(records)))]


def _offsets(records: Records, picture: Picture, data: bytes) -> Records:
    fetch, *_ = (one for one in records if one.method == methods.FETCH_SETUP.path)
    words = np.frombuffer(picture.hash, "<u2").tolist()
    asked = [(_changed(pb.SetupRequest, fetch.requests[0], offset=1 + word),) for word in words]
    return [*records, replace(fetch, failed=True), *(replace(fetch, requests=one) for one in asked)]


def _numbers(records: Records, picture: Picture, data: bytes) -> Records:
    given = [256 * at + byte for at, byte in enumerate(picture.hash, 1)]
    return _asked(records, methods.ACKNOWLEDGE, [pb.AcknowledgeRequest(sequences=given)])


def _expired(records: Records, picture: Picture, data: bytes) -> Records:
    return _asked(records, methods.FETCH_EXPIRED, [pb.ExpiredRequest(after=1 + picture.hash[0])])


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
    "expired": _expired,
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
    needs=(needs.ASKS, needs.TOLD, needs.SMALL),
    exposes="that an audit finds what leaves a device",
    left=Left.AUDIT,
)
def audit_evasion(arena: Arena) -> Figure:
    """Count the cheats of which the audit finds nothing."""
    data = drawn(1)
    cases = {}
    with loopback(arena, [drawn(2)]) as held:
        for name in ("bob", "alice"):
            held.device(name)
        held.send_picture("alice", "bob", data)
        others = [Picture.from_bytes(drawn(other)) for other in (3, 4)]
        honest = replace(evidence(held, "alice", others), centre=None)
        roles = replace(counterpart(held, arena.hashes(1, "list")), rng=arena.rng("audit"))
    if audit_device(roles, honest).findings:
        raise AttackError("the audit finds something in an honest device")
    for name, cheat in arena.each(CHEATS.items()):
        records = cheat(honest.records, Picture.from_bytes(data), data)
        cases[name] = (not audit_device(roles, replace(honest, records=records)).findings, 1)
    return counted("cheats unseen", cases)


def _asked(records: Records, method: methods.Method[Any, Any], requests: Sequence[Any]) -> Records:
    raw = (one.SerializeToString(deterministic=True) for one in requests)
    at_ms = records[-1].at_ms
    return [
        *records,
        *(
            EgressRecord(number, Party.PROVIDER, method.path, Purpose.MESSAGE, None, (one,), 0, at_ms)
            for number, one in enumerate(raw, len(records))
        ),
    ]


def _each(records: Records, method: methods.Method[Any, Any], change: Callable[[bytes], bytes]) -> Records:
    return [
        replace(one, requests=tuple(map(change, one.requests))) if one.method == method.path else one
        for one in records
    ]


def _changed(kind: Any, raw: bytes, **fields: Any) -> bytes:
    made = kind.FromString(raw)
    for name, value in fields.items():
        setattr(made, name, value)
    return bytes(made.SerializeToString(deterministic=True))
