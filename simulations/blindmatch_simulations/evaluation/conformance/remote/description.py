"""What the counterpart says of itself, the set-up it hands out, and who may call it; and what comes back for
wrong requests: a status that docs/reference/wire.md names, and right ones are answered after.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final

from blindmatch_proofs.epoch import verify_stated
from blindmatch_proofs.verdict import Failed
from blindmatch_protocol.codec import Message, layout
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.contract import Party, Role
from blindmatch_protocol.messages.epoch_manifest import SignedManifest
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from blindmatch_server.hosting.authority import Authority, Identity, Kind
from google.protobuf.message import DecodeError
from msgspec.structs import replace

from blindmatch_simulations.evaluation.conformance.remote.counterpart import Answer, Heard, Refused
from blindmatch_simulations.evaluation.conformance.remote.material import Material
from blindmatch_simulations.testbed.inprocess.deployed import manifest_of
from blindmatch_simulations.testbed.inprocess.steps import hostile, set_file
from blindmatch_simulations.testbed.inprocess.telling import shown_value
from blindmatch_simulations.testbed.inprocess.verdict import BrokenError, NotApplicableError, Passed

FLIPS: Final = 64
FEW: Final = 8
LONG_BYTES: Final = 1 << 16
"""Of requests from this length on only a few are altered."""
EVERY: Final = 16
"""After so many hostile requests an honest one is sent."""
OVERSIZED: Final = 2 << 20
BODY: Final = frozenset({"INVALID_ARGUMENT", "FAILED_PRECONDITION"})
"""A body breaks a rule, or speaks of another epoch."""
INVALID: Final = frozenset({"INVALID_ARGUMENT"})
UNREADABLE: Final = frozenset({"INVALID_ARGUMENT", "INTERNAL"})
"""What is no protobuf at all is refused by gRPC's own libraries with INTERNAL, before a server sees it."""
TOO_LONG: Final = frozenset({"INVALID_ARGUMENT", "RESOURCE_EXHAUSTED"})
UNSUPPORTED: Final = frozenset({"UNIMPLEMENTED"})
STALE: Final = frozenset({"FAILED_PRECONDITION"})
UNKNOWN_ROLE: Final = frozenset({"NOT_FOUND"})


def check_hostile_requests(material: Material) -> Passed:
    """Hostile bodies and envelopes end in a declared reply or in a documented status, and nothing stops."""
    tried = refused = 0
    for role, body in bodies(material):
        raw = body.encode()
        rng = material.rng(f"ask/{role}/{body.NAME}")
        flips = FLIPS if len(raw) < LONG_BYTES else FEW
        for altered in hostile(material.design.requests[role], raw, rng, flips):
            answer = material.counterpart.exchange(role, altered)
            tried += 1
            if isinstance(answer, Heard):
                material.opened(role, answer)  # it must be a declared reply all the same
            elif answer.status in BODY:
                refused += 1
            else:
                words = " or ".join(sorted(BODY))
                rule = f"hostile bytes must be answered or refused with {words}, not {answer}"
                raise BrokenError(f"request to {role}", rule, body=altered[:4096])
            if tried % EVERY == 0:
                material.still_answers(f"{tried} hostile requests")
        for what, parts, allowed in hostile_envelopes(material, role, raw):
            must_refuse(role, what, material.counterpart.send(role, parts), allowed)
            tried = tried + 1
            refused = refused + 1
        longest = _whole(material, role, bytes(OVERSIZED))
        must_refuse(role, "a message of 2 MiB", material.counterpart.oversized(role, longest), TOO_LONG)
        material.still_answers("hostile envelopes")
    return Passed(f"{tried} hostile requests, {refused} refused", {"tried": tried, "refused": refused})


def check_epoch_binding(material: Material) -> Passed:
    """A stale epoch, and one to come, are refused: in the envelope, and in a body that names one."""
    tried = 0
    epoch = material.manifest.epoch
    for role, body in bodies(material):
        names_epoch = "epoch" in dict(layout(type(body)))
        for other in sorted({epoch - 1, epoch + 1, 0, (1 << 64) - 1}):
            altered = [replace(body, epoch=other)] if names_epoch else []
            for inner in (body, *altered):
                head = material.counterpart.head(role, inner.encode())
                head.epoch = other
                answer = material.counterpart.exchange(role, inner.encode(), head)
                must_refuse(role, f"an envelope of epoch {other}", answer, STALE)
                tried += 1
            for inner in altered:
                answer = material.counterpart.exchange(role, inner.encode())
                must_refuse(role, f"a body of epoch {other}", answer, BODY)
                tried += 1
    material.still_answers("requests of other epochs")
    return Passed(f"{tried} requests of other epochs refused", {"tried": tried})


def bodies(material: Material) -> list[tuple[Role, Message]]:
    """A body for each role and each kind of message that it is sent; `NotApplicableError` if the design asks
    nobody."""
    turns = material.honest[material.probes[0].name].turns()
    found = {(turn.role, type(turn.body)): turn.body for turn in turns}
    if not found:
        raise NotApplicableError("the design asks nobody")
    return [(role, body) for (role, _), body in found.items()]


def must_refuse(role: str, what: str, answer: Answer, allowed: frozenset[str]) -> None:
    """Make sure that `answer` is one of the refusals; `BrokenError` if it is an answer, or another status."""
    ends = "an answer" if isinstance(answer, Heard) else str(answer)
    if isinstance(answer, Heard) or answer.status not in allowed:
        rule = f"{what} must be refused with {' or '.join(sorted(allowed))}, and ends in {ends}"
        raise BrokenError(f"request to {role}", rule)


def hostile_envelopes(
    material: Material, role: Role, body: bytes
) -> Iterator[tuple[str, list[bytes], frozenset[str]]]:
    """What is wrong, the serialised envelopes, and the statuses that may answer them."""
    for field, value, allowed in (
        ("design", "another-design", UNSUPPORTED),
        ("design", "", UNSUPPORTED),
        ("design", "x" * 100_000, UNSUPPORTED),
        ("version", material.design.info.version + 1, UNSUPPORTED),
        ("version", 0, UNSUPPORTED),
        ("role", "nobody", UNKNOWN_ROLE),
        ("role", "", UNKNOWN_ROLE),
    ):
        what = f"an envelope of {field} {str(value)[:32]!r}"
        yield what, [_whole(material, role, body, **{field: value})], allowed
    yield "a request_id of 15 bytes", [_whole(material, role, body, request_id=bytes(15))], INVALID
    longer = _whole(material, role, body, body_size=len(body) + 1)
    yield "a body_size that is not the body's", [longer], INVALID
    rng = material.rng(f"envelopes/{role}")
    for size in (1, 16, 1000):
        yield "what is no protobuf", [b"\xff" + rng.take(size)], UNREADABLE
    if material.design.info.large_bodies:
        first = _whole(material, role, body, body_size=len(body))
        again = pb.Envelope(design=material.design.info.name, body=b"x").SerializeToString()
        yield "a stream that does not end", [first, pb.Envelope(body=b"x").SerializeToString()], INVALID
        yield "a second first envelope", [first, again], INVALID
    else:
        yield "a body of zeros that fills an envelope", [_whole(material, role, bytes(960 << 10))], TOO_LONG


def _whole(material: Material, to: Role, content: bytes, **fields: Any) -> bytes:
    """A serialised envelope around `content`, with these fields instead of the right ones."""
    envelope = pb.Envelope(body=content)
    envelope.MergeFrom(material.counterpart.head(to, content))
    if material.design.info.large_bodies:
        envelope.body_size = len(content)
    for name, value in fields.items():
        setattr(envelope, name, value)
    return envelope.SerializeToString()


NO_SETUP: Final = ("no-such-file", "", "matcher.bin", "../set.bin", "/etc/hosts", "set.bin/", "x" * 10_000)
"""Names of no set-up file: a role's own file holds its key, and no name leads out of a folder."""
TAIL: Final = 1 << 20
"""Of a longer file only the end is fetched."""


def check_description(material: Material) -> Passed:
    """Every party describes the manifest's epoch and its own roles; the first one hands out the set-up."""
    parties = material.design.info.callees
    if not parties:
        raise NotApplicableError("the design asks nobody")
    _parameters(material)
    for party in parties:
        _describes(material, party)
    fetched = _setup(material, parties[0])
    words = f"epoch {material.manifest.epoch} is described; {fetched} bytes of set-up are the manifest's"
    return Passed(words, {"fetched": fetched})


def _parameters(material: Material) -> None:
    """The manifest's parameters are those in the set-up files, where these are set files."""
    for name, raw in material.files.items():
        file = set_file(raw)
        held = {} if file is None else file.identity.parameters
        for parameter, value in material.manifest.parameters.items():
            if held.get(parameter, value) != value:
                words = f"field parameters.{parameter}: is {value}; in {name} it is {held[parameter]}"
                raise BrokenError("manifest", words)


def _describes(material: Material, party: Party) -> None:
    step = f"description of {party}"
    info = material.design.info
    answer = material.counterpart.describe(party)
    if isinstance(answer, Refused):
        raise BrokenError(step, f"is refused: {answer}")
    try:
        found = pb.Description.FromString(answer.parts[0])
    except DecodeError as error:
        raise BrokenError(step, "is no Description") from error
    roles = sorted(role for role, plays in info.roles.items() if plays == party)
    wanted = {"design": info.name, "version": info.version, "epoch": material.manifest.epoch}
    has = {field: getattr(found, field) for field in wanted} | {"roles": sorted(found.roles)}
    for field, value in (wanted | {"roles": roles}).items():
        if has[field] != value:
            raise BrokenError(
                step, f"field {field}: must be {shown_value(value)}, not {shown_value(has[field])}"
            )
    if party == info.callees[0]:
        files = {file.name: (file.size, file.sha256) for file in found.setup}
        if files != {name: (len(raw), sha256(raw).digest()) for name, raw in material.files.items()}:
            raise BrokenError(step, "field setup: must name the manifest's files, their sizes and digests")
        _signed(step, found.manifest, material)


def _signed(step: str, raw: bytes, material: Material) -> None:
    """A device adopts what the signed manifest says; whose signature it is, is between device and curator."""
    design = material.design
    epoch = material.manifest.epoch
    try:
        manifest = SignedManifest.decode(raw).manifest
    except ProtocolError as error:
        raise BrokenError(step, f"field manifest: must be an epoch-manifest/signed: {error}") from error
    stated = design.stated(design.open_setup(material.files, epoch))
    right = manifest_of(design, material.files, epoch, None, stated)
    for field in ("design", "version", "epoch", "files", "role_keys"):
        if getattr(manifest, field) != getattr(right, field):
            raise BrokenError(step, f"field manifest: field {field}: must be what the epoch's files say")
    if isinstance(verdict := verify_stated(manifest, stated), Failed):
        raise BrokenError(step, f"field manifest: {verdict.reason}")


def _setup(material: Material, party: Party) -> int:
    """Fetch each file, and what must be refused; how many bytes came."""
    epoch = material.manifest.epoch
    fetched = 0
    for name, raw in material.files.items():
        offsets = {max(0, len(raw) - TAIL), len(raw) // 2 if len(raw) <= TAIL else len(raw) - 1, len(raw)}
        fetched += sum(_fetched(material, party, name, raw, offset) for offset in sorted(offsets))
        for offset in (len(raw) + 1, (1 << 64) - 1):
            beyond = pb.SetupRequest(epoch=epoch, name=name, offset=offset)
            _refuses(material, party, "an offset beyond the end", beyond, "OUT_OF_RANGE")
        for other in sorted({0, epoch - 1, epoch + 1}):
            stale = pb.SetupRequest(epoch=other, name=name)
            _refuses(material, party, "a set-up file of another epoch", stale, "FAILED_PRECONDITION")
    for name in sorted(set(NO_SETUP) - set(material.files)):
        unknown = pb.SetupRequest(epoch=epoch, name=name)
        _refuses(material, party, f"the set-up file {name[:32]!r}", unknown, "NOT_FOUND")
    return fetched


def _refuses(material: Material, party: Party, what: str, request: pb.SetupRequest, status: str) -> None:
    must_refuse(str(party), what, material.counterpart.fetch(party, request), frozenset({status}))


def _fetched(material: Material, party: Party, name: str, raw: bytes, offset: int) -> int:
    """Bytes from `offset` on, which must be the manifest's file's."""
    step = f"set-up file {name}"
    request = pb.SetupRequest(epoch=material.manifest.epoch, name=name, offset=offset)
    answer = material.counterpart.fetch(party, request, len(raw) - offset)
    if isinstance(answer, Refused):
        raise BrokenError(step, f"is refused: {answer}")
    try:
        parts = [pb.Part.FromString(part) for part in answer.parts]
    except DecodeError as error:
        raise BrokenError(step, "is no stream of Part") from error
    if not parts or [part.size for part in parts] != [len(raw), *[0] * (len(parts) - 1)]:
        raise BrokenError(step, "field size: the first part, and no other, bears the file's size")
    if b"".join(part.data for part in parts) != raw[offset:]:
        raise BrokenError(step, f"from offset {offset} on: other bytes than the manifest's file")
    return len(raw) - offset


def check_callers(material: Material) -> Passed:
    """Nobody is answered without a certificate of the root: no certificate, and one of another authority."""
    now = datetime.now(UTC)
    other = Authority.create(now).issue(Identity(Kind.DEVICE, "stranger"), now)
    for party in material.design.info.callees:
        pairs = {"without a certificate": None, "of another root": (other.key, other.certificate)}
        for what, pair in pairs.items():
            if isinstance(material.counterpart.stranger(party, pair), Heard):
                raise BrokenError(f"connection to {party}", f"a caller {what} is answered")
    if not material.design.info.callees:
        raise NotApplicableError("the design asks nobody")
    material.still_answers("calls of strangers")
    return Passed("callers without a certificate, or with one of another root, get no answer")
