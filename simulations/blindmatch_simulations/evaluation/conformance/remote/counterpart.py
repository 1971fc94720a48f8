"""What a foreign counterpart claims to be, a JSON file, version 1, that allows no unknown field; and calls to
it as they are: raw bytes out, raw bytes or a status back.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal, TypeAlias

import grpc
import msgspec
import numpy as np
from blindmatch_client.egress.calls import (
    DESCRIBE,
    EXCHANGE,
    EXCHANGE_LARGE,
    FETCH_SETUP,
    RETRY_AFTER,
    printable,
    translate,
)
from blindmatch_client.egress.egress import Channels, Credentials, Endpoint
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import AnyDesign, Learner, Party, Role
from blindmatch_protocol.contract.declaration import CONTRACT_VERSION
from blindmatch_protocol.messages.parts import ENVELOPE, MOST_BODY_BYTES, split
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from msgspec import Meta, Struct, ValidationError

from blindmatch_simulations.measure.results import Strict
from blindmatch_simulations.testbed.deployment.addresses import ManifestError

FORMAT: Final = "blindmatch-conformance-manifest"
VERSION: Final = 1
MOST_BYTES: Final = 1 << 20
MOST_HASHES: Final = 4096

Name: TypeAlias = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,126}$(?!\n)")]
DnsName: TypeAlias = Annotated[str, Meta(pattern=r"^[A-Za-z0-9.-]{1,253}$(?!\n)")]
HexRow: TypeAlias = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$(?!\n)")]
"""32 bytes in hexadecimal."""
PathText: TypeAlias = Annotated[str, Meta(min_length=1, max_length=4096)]
"""A path; a relative one begins at the manifest's folder."""


class SetupFile(Strict, frozen=True):
    """A set-up file: its name in the design, where it lies here, and its digest."""

    name: Name
    path: PathText
    sha256: HexRow


class Listed(Strict, frozen=True):
    """Entries of the list.

    Attributes:
        complete: True if these are all of them; neighbours of entries are then known to be off the list.
        hashes: entries, each once.
    """

    complete: bool
    hashes: Annotated[tuple[HexRow, ...], Meta(min_length=1, max_length=MOST_HASHES)]

    def __post_init__(self) -> None:
        if len(set(self.hashes)) != len(self.hashes):
            raise ValueError("must name each entry once")


class CredentialFiles(Strict, frozen=True):
    """Paths of PEM files: the root, and the certificate and key of a device.

    Attributes:
        server_names: for each role, the DNS name that the counterpart's certificate bears.
    """

    root: PathText
    certificate: PathText
    key: PathText
    server_names: dict[str, DnsName]


class Limits(Strict, frozen=True):
    """What the counterpart declares.

    Attributes:
        reply_bytes: the longest body of a reply.
        answer_ms: the longest time to an answer.
    """

    reply_bytes: Annotated[int, Meta(ge=1, le=MOST_BODY_BYTES)]
    answer_ms: Annotated[int, Meta(ge=1, le=600_000)]


class Manifest(Strict, frozen=True):
    """Version 1.

    Attributes:
        contract: version of the design contract (`CONTRACT_VERSION`).
        design, design_version: name of the design, and version of its messages and files.
        epoch: the epoch that is served.
        parameters: the design's, by name.
        public_key: the counterpart's OPRF key, or null for a design without one.
        setup: the set-up files of the epoch.
        listed: entries for the oracle.
        credentials: to call the counterpart with.
        limits: declared by the counterpart.
    """

    format: Literal["blindmatch-conformance-manifest"]
    version: Literal[1]
    contract: Annotated[int, Meta(ge=1)]
    design: Annotated[str, Meta(min_length=1, max_length=64)]
    design_version: Annotated[int, Meta(ge=1, le=(1 << 32) - 1)]
    epoch: Annotated[int, Meta(ge=1, le=(1 << 63) - 1)]
    parameters: dict[str, int]
    public_key: HexRow | None
    setup: Annotated[tuple[SetupFile, ...], Meta(max_length=64)]
    listed: Listed
    credentials: CredentialFiles
    limits: Limits

    def __post_init__(self) -> None:
        if len({file.name for file in self.setup}) != len(self.setup):
            raise ValueError("field setup: must name each file once")


class HeldManifest:
    """A manifest and the folder that its paths begin at."""

    def __init__(self, manifest: Manifest, path: Path) -> None:
        self.manifest = manifest
        self.path = path

    def check_for(self, design: AnyDesign) -> None:
        """Make sure that it is for `design`; `ManifestError` if it names another design, version or contract,
        or a parameter it does not have."""
        info = design.info
        held = self.manifest
        wanted = {"contract": CONTRACT_VERSION, "design": info.name, "design_version": info.version}
        for field, value in wanted.items():
            if getattr(held, field) != value:
                raise self._error(field, f"must be {value!r}, not {getattr(held, field)!r}")
        unknown = set(held.parameters) - {parameter.name for parameter in info.parameters}
        if unknown:
            raise self._error(f"parameters.{min(unknown)}", f"{info.name} has no such parameter")
        wrong = set(info.roles) ^ set(held.credentials.server_names)
        if wrong:
            raise self._error("credentials.server_names", f"must name the design's roles: see {min(wrong)}")

    def setup_files(self) -> dict[str, bytes]:
        """The set-up files, each compared with its digest; `ManifestError` if one cannot be read or has
        another digest."""
        found = dict[str, bytes]()
        for at, file in enumerate(self.manifest.setup):
            found[file.name] = self._read(f"setup.{at}.path", file.path)
            if hashlib.sha256(found[file.name]).hexdigest() != file.sha256:
                raise self._error(f"setup.{at}.sha256", f"is not the digest of {file.path}")
        return found

    def credentials(self) -> Credentials:
        """Root, certificate and key; `ManifestError` if one cannot be read."""
        names = self.manifest.credentials
        fields = ("root", "certificate", "key")
        return Credentials(*(self._read(f"credentials.{one}", getattr(names, one)) for one in fields))

    def entries(self) -> Rows:
        """The listed hashes, uint8 (n, 32)."""
        raw = bytes.fromhex("".join(self.manifest.listed.hashes))
        return np.frombuffer(raw, np.uint8).reshape(-1, 32)

    def _read(self, field: str, path: str) -> bytes:
        try:
            return (self.path.parent / path).read_bytes()
        except OSError as error:
            raise self._error(field, f"{path}: {error.strerror}") from error

    def _error(self, field: str, rule: str) -> ManifestError:
        return ManifestError(f"{self.path.name}: field {field}: {rule}")


def read_manifest(path: Path) -> HeldManifest:
    """Read a manifest; `ManifestError` if it cannot be read, or breaks the schema; the text names the
    field."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ManifestError(f"{path}: {error.strerror}") from error
    if len(raw) > MOST_BYTES:
        raise ManifestError(f"{path.name}: must be at most {MOST_BYTES} bytes")
    try:
        return HeldManifest(msgspec.json.decode(raw, type=Manifest), path)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ManifestError(f"{path.name}: {_words_of(error)}") from None


def _words_of(error: Exception) -> str:
    """Field and rule, without the value that the field has."""
    if not isinstance(error, ValidationError):
        return f"is no JSON: {error}"
    rule, _, place = str(error).partition(" - at `$.")
    place = place.rstrip("`").replace("[", ".").replace("]", "")
    unknown = rule.partition("unknown field `")[2].rstrip("`")
    if unknown:
        return f"field {f'{place}.{unknown}' if place else unknown}: unknown"
    return f"field {place}: {rule}" if place else rule


MOST_WAITS: Final = 60
"""Times that a call which came too often is made again."""
MOST_WAIT_S: Final = 5.0
REQUEST_ID_BYTES: Final = 16
CONNECT_S: Final = 20.0
"""The very first call connects, which no declared time to an answer is about."""
SPARE_BYTES: Final = 2 << 20
"""What a stream may be longer than what is expected of it, so that the check sees that it is."""


class Heard(Redacted, Struct, frozen=True):
    """An answer.

    Attributes:
        parts: the serialised replies: one, or those of a stream.
        metadata: keys of initial and trailing metadata, and the length of each value.
    """

    SHOWN: ClassVar = ("metadata",)

    parts: tuple[bytes, ...]
    metadata: tuple[tuple[str, int], ...]

    @property
    def shape(self) -> tuple[object, ...]:
        """What somebody who sees the connection sees of it."""
        return (tuple(map(len, self.parts)), self.metadata)


class Refused(Struct, frozen=True):
    """A refusal: the status's name, and the counterpart's words made printable."""

    status: str
    detail: str

    def __str__(self) -> str:
        return f"{self.status} ({self.detail})" if self.detail else self.status


Answer: TypeAlias = Heard | Refused


class Counterpart:
    """Whoever plays roles of `design` at other `addresses`, ``host:port`` of each role, by the `held`
    manifest; `ManifestError` if a credential cannot be read."""

    def __init__(self, design: AnyDesign, held: HeldManifest, addresses: Mapping[Role, str]) -> None:
        asked = design.info.asked
        manifest = held.manifest
        names = manifest.credentials.server_names
        self._endpoints = {asked(role): Endpoint(address, names[role]) for role, address in addresses.items()}
        self._credentials = held.credentials()
        self._channels = Channels(self._endpoints, self._credentials)
        self._design = design
        self._epoch = manifest.epoch
        self._deadline_s = manifest.limits.answer_ms / 1000
        self._reply_bytes = manifest.limits.reply_bytes

    def close(self) -> None:
        self._channels.close()

    def head(self, role: Role, body: bytes) -> pb.Envelope:
        """The first envelope's fields, without sizes and body. A server that learns gets the id of the
        request, which follows from the body here, so that the same bytes again are the same request."""
        info = self._design.info
        head = pb.Envelope(design=info.name, version=info.version, epoch=self._epoch, role=role)
        if Learner.SERVER in info.learns:
            head.request_id = hashlib.sha256(body).digest()[:REQUEST_ID_BYTES]
        return head

    def exchange(self, role: Role, body: bytes, head: pb.Envelope | None = None) -> Answer:
        """Send `body` to `role`, under `head` if that is given."""
        first = head or self.head(role, body)
        if self._design.info.large_bodies:
            return self.send(role, [part.SerializeToString() for part in split(ENVELOPE, first, body)])
        whole = pb.Envelope(body=body)
        whole.MergeFrom(first)
        return self.send(role, [whole.SerializeToString()])

    def send(self, role: Role, parts: Sequence[bytes]) -> Answer:
        """Send serialised envelopes as they are."""
        channel = self._channels.to(self._design.info.asked(role))
        return self._patient(lambda: self._exchanged(channel, parts, self._reply_bytes))

    def describe(self, party: Party) -> Answer:
        return self._patient(lambda: self._described(self._channels.to(party)))

    def fetch(self, party: Party, request: pb.SetupRequest, most: int = 0) -> Answer:
        """Ask `party` for a set-up file of which up to `most` bytes are left."""
        rpc: Any = self._channels.to(party).unary_stream(FETCH_SETUP.path)
        raw = request.SerializeToString()
        return self._patient(lambda: _streamed(rpc(raw, timeout=self._deadline_s), most))

    def require(self) -> None:
        """Make sure that every party can be called at all; `ServiceError` if one cannot; the text says what
        to check."""
        for party in self._design.info.callees:
            rpc: Any = self._channels.to(party).unary_unary(DESCRIBE.path)
            try:
                rpc(b"", timeout=max(self._deadline_s, CONNECT_S))
            except grpc.RpcError as error:
                raise translate(party, error) from None

    def stranger(self, party: Party, pair: tuple[bytes, bytes] | None) -> Answer:
        """Describe, called with another (key, certificate), or with none."""
        with self._connected(party, pair) as channel:
            return _settled(lambda: self._described(channel))[0]

    def oversized(self, role: Role, part: bytes) -> Answer:
        """Send an envelope that is longer than the wire interface allows."""
        pair = (self._credentials.key, self._credentials.certificate)
        with self._connected(self._design.info.asked(role), pair) as channel:
            return _settled(lambda: self._exchanged(channel, [part], 0))[0]

    def _described(self, channel: grpc.Channel) -> Heard:
        rpc: Any = channel.unary_unary(DESCRIBE.path)
        return _one(rpc.with_call(b"", timeout=self._deadline_s))

    def _exchanged(self, channel: grpc.Channel, parts: Sequence[bytes], most: int) -> Heard:
        if self._design.info.large_bodies:
            stream: Any = channel.stream_stream(EXCHANGE_LARGE.path)
            return _streamed(stream(iter(parts), timeout=self._deadline_s), most)
        rpc: Any = channel.unary_unary(EXCHANGE.path)
        return _one(rpc.with_call(parts[0], timeout=self._deadline_s))

    def _connected(self, party: Party, pair: tuple[bytes, bytes] | None) -> grpc.Channel:
        """A channel of its own, with no limit to what is sent."""
        endpoint = self._endpoints[party]
        key, certificate = pair or (None, None)
        credentials = grpc.ssl_channel_credentials(self._credentials.authority, key, certificate)
        options = [
            ("grpc.ssl_target_name_override", endpoint.name or party.dns_name),
            ("grpc.max_send_message_length", -1),
            ("grpc.enable_http_proxy", 0),
            ("grpc.use_local_subchannel_pool", 1),
        ]
        return grpc.secure_channel(endpoint.address, credentials, options)

    def _patient(self, call: Callable[[], Heard]) -> Answer:
        """Make a call, again and again while the answer is that there were too many."""
        for _ in range(MOST_WAITS):
            answer, wait = _settled(call)
            if wait is None or wait > MOST_WAIT_S:
                return answer
            time.sleep(wait)
        return answer


def _settled(call: Callable[[], Heard]) -> tuple[Answer, float | None]:
    """The answer, and for one that came too often after how many seconds to ask again."""
    try:
        return call(), None
    except grpc.RpcError as error:
        failed: object = error  # the call itself, too; the types do not say so
    if not isinstance(failed, grpc.Call):
        return Refused("UNKNOWN", ""), None
    refused = Refused(failed.code().name, printable(failed.details() or ""))
    wait = dict(failed.trailing_metadata() or ()).get(RETRY_AFTER)
    known = isinstance(wait, str) and wait.isascii() and wait.isdecimal() and len(wait) < 10
    limited = refused.status == "RESOURCE_EXHAUSTED" and known
    return refused, int(str(wait)) / 1000 if limited else None


def _one(answered: tuple[Any, grpc.Call]) -> Heard:
    raw, call = answered
    return Heard((raw,), _metadata(call))


def _streamed(call: Any, most: int) -> Heard:
    """The parts of a stream; one that goes on far beyond `most` bytes is broken off."""
    parts: list[bytes] = []
    for part in call:
        parts.append(part)
        if sum(map(len, parts)) > most + SPARE_BYTES:
            call.cancel()
            return Heard(tuple(parts), ())
    return Heard(tuple(parts), _metadata(call))


def _metadata(call: grpc.Call) -> tuple[tuple[str, int], ...]:
    found: Iterable[Any] = (*(call.initial_metadata() or ()), *(call.trailing_metadata() or ()))
    return tuple(sorted((str(key), len(value)) for key, value in found))
