"""What the counterpart says of itself, the set-up it hands out, and who may call it."""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import sha256
from typing import Final

from blindmatch_proofs.epoch import verify_stated
from blindmatch_proofs.verdict import Failed
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.contract import Party
from blindmatch_protocol.messages.epoch_manifest import SignedManifest
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from blindmatch_server.hosting.authority import Authority, Identity, Kind
from google.protobuf.message import DecodeError

from blindmatch_simulations.evaluation.conformance.remote.counterpart import Heard, Refused
from blindmatch_simulations.evaluation.conformance.remote.material import Material
from blindmatch_simulations.evaluation.conformance.remote.refusals import must_refuse
from blindmatch_simulations.testbed.inprocess.deployed import manifest_of
from blindmatch_simulations.testbed.inprocess.steps import set_file
from blindmatch_simulations.testbed.inprocess.verdict import BrokenError, NotApplicableError, Passed

NO_SETUP: Final = ("no-such-file", "", "matcher.bin", "../set.bin", "/etc/hosts", "set.bin/", "x" * 10_000)
"""Names of no set-up file: a role's own file holds its key, and no name leads out of a folder."""
TAIL: Final = 1 << 20
"""Of a longer file only the end is fetched."""


def check_description(material: Material) -> Passed:
    """Every party describes the manifest's epoch and its own roles; the first one hands out the set-up."""
    parties = material.counterpart.parties
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
    step, info = f"description of {party}", material.design.info
    found = _parsed(material, party)
    roles = sorted(role for role, plays in info.roles.items() if plays == party)
    wanted = {"design": info.name, "version": info.version, "epoch": material.manifest.epoch}
    has = {field: getattr(found, field) for field in wanted} | {"roles": sorted(found.roles)}
    for field, value in (wanted | {"roles": roles}).items():
        if has[field] != value:
            raise BrokenError(step, f"field {field}: must be {value!r}, not {has[field]!r}")
    if party == material.counterpart.parties[0]:
        files = {file.name: (file.size, file.sha256) for file in found.setup}
        if files != {name: (len(raw), sha256(raw).digest()) for name, raw in material.files.items()}:
            raise BrokenError(step, "field setup: must name the manifest's files, their sizes and digests")
        _signed(step, found.manifest, material)


def _signed(step: str, raw: bytes, material: Material) -> None:
    """A device adopts what the signed manifest says; whose signature it is, is between device and curator."""
    design, epoch = material.design, material.manifest.epoch
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


def _parsed(material: Material, party: Party) -> pb.Description:
    answer = material.counterpart.describe(party)
    if isinstance(answer, Refused):
        raise BrokenError(f"description of {party}", f"is refused: {answer}")
    try:
        return pb.Description.FromString(answer.parts[0])
    except DecodeError as error:
        raise BrokenError(f"description of {party}", "is no Description") from error


def _setup(material: Material, party: Party) -> int:
    """Fetch each file, and what must be refused; how many bytes came."""
    epoch, fetched = material.manifest.epoch, 0
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
    for party in material.counterpart.parties:
        pairs = {"without a certificate": None, "of another root": (other.key, other.certificate)}
        for what, pair in pairs.items():
            if isinstance(material.counterpart.stranger(party, pair), Heard):
                raise BrokenError(f"connection to {party}", f"a caller {what} is answered")
    if not material.counterpart.parties:
        raise NotApplicableError("the design asks nobody")
    material.still_answers("calls of strangers")
    return Passed("callers without a certificate, or with one of another root, get no answer")
