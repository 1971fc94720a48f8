"""What the checks of a foreign counterpart share: the opened set-up, pictures, honest sessions, and the reply
in an answer: envelopes as docs/reference/wire.md has them, and one declared message inside.

A manifest of a deployment's own counterpart is made from what the curator and the authority have.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from blindmatch_protocol.codec import Message, decode_any
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.codec.randomness import Randomness, seeded
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import CERTIFYING, UNBOUND, AnyDesign, Outcome, Role, Send, concluded
from blindmatch_protocol.contract.declaration import CONTRACT_VERSION
from blindmatch_protocol.contract.driver import MOST_ROUNDS
from blindmatch_protocol.crypto.oprf import PublicKey
from blindmatch_protocol.messages.parts import MOST_BODY_BYTES, MOST_SMALL_BYTES
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from blindmatch_server.curator import HashList
from blindmatch_server.epochs.published import Publication
from blindmatch_server.hosting.authority import ROOT_CERTIFICATE
from blindmatch_server.storage.files import replace_file
from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet
from msgspec import Struct, field

from blindmatch_simulations.evaluation.conformance.remote.counterpart import (
    FORMAT,
    VERSION,
    Answer,
    Counterpart,
    CredentialFiles,
    Heard,
    HeldManifest,
    Limits,
    Listed,
    Manifest,
    Refused,
    SetupFile,
)
from blindmatch_simulations.evaluation.conformance.vector_cases import VectorItem, numbered
from blindmatch_simulations.testbed.deployment.addresses import ManifestError
from blindmatch_simulations.testbed.inprocess.verdict import BrokenError
from blindmatch_simulations.testbed.pictures.pool import DISTANCES, flipped, random_hashes

LISTED: Final = 8
NEIGHBOURS: Final = 2
OTHERS: Final = 8
POOR: Final = 12
"""A quality that never matches."""


class Probe(Struct, frozen=True):
    """A picture, as numbers, and whether the plaintext oracle has it match."""

    name: str
    item: VectorItem
    matches: bool

    @property
    def kind(self) -> str:
        """The front of its name: listed, other, poor, or how far from an entry."""
        return self.name.partition("/")[0]


class Turn(Redacted, Struct, frozen=True):
    """A body, the role it went to, and what came back."""

    role: Role
    body: Message
    answer: Answer


class Round(Redacted, Struct, frozen=True):
    """One round of a session: the session that waits, and its turns."""

    number: int
    session: Any
    turns: tuple[Turn, ...]


class Played(Redacted, Struct):
    """A session as far as it got.

    Attributes:
        rounds: what was asked and answered.
        outcome: how it ended; None if it broke off.
        broken: why it broke off.
    """

    probe: Probe
    rounds: list[Round] = field(default_factory=list)
    outcome: Outcome | None = None
    broken: BrokenError | None = None

    @property
    def timed_out(self) -> bool:
        """Did it break off because no answer came in time?"""
        answers = [turn.answer for turn in self.turns()]
        return any(isinstance(one, Refused) and one.status == "DEADLINE_EXCEEDED" for one in answers)

    def turns(self) -> list[Turn]:
        return [turn for one in self.rounds for turn in one.turns]


class Material:
    """One run's fixtures, each made when it is first asked for, pictures and the device's randomness by the
    seed; `ManifestError` if a set-up file cannot be read or has another digest, `SetFileError` if the design
    cannot open the set-up of the manifest's epoch."""

    def __init__(self, design: AnyDesign, held: HeldManifest, counterpart: Counterpart, seed: int) -> None:
        self.design = design
        self.held = held
        self.counterpart = counterpart
        self.seed = seed
        self.files = held.setup_files()
        self.setup: Any = design.open_setup(self.files, held.manifest.epoch)

    @property
    def manifest(self) -> Manifest:
        return self.held.manifest

    def rng(self, purpose: str) -> Randomness:
        return seeded(f"remote/{self.seed}/{purpose}")

    @cached_property
    def probes(self) -> tuple[Probe, ...]:
        """Listed, unlisted, poor, and neighbours of entries if the manifest has the whole list."""
        hashes = self.held.entries()
        order = sorted(range(len(hashes)), key=lambda at: self.rng(f"order/{at}").take(8))
        chosen = [hashes[at].tobytes() for at in order[:LISTED]]
        made = [(f"listed/{at}", value, 100) for at, value in enumerate(chosen)]
        others = random_hashes(OTHERS, self.seed + (1 << 21))
        made += [(f"other/{at}", row.tobytes(), 100) for at, row in enumerate(others)]
        made += [("poor/listed", chosen[0], POOR), ("poor/other", others[0].tobytes(), POOR)]
        if self.manifest.listed.complete:
            made += [  # one bit and 30 to 33 bits from an entry: the weakest bits of a picture
                (f"{name}/{at}", flipped(item_of("", value, 100), count), 100)
                for at, value in enumerate(chosen[:NEIGHBOURS])
                for name, count in {"next": 1, **DISTANCES}.items()
            ]
        relation = self.design.info.relation
        items = [item_of(*one) for one in made]
        return tuple(Probe(item.name, item, relation.matches(item, hashes)) for item in items)

    @cached_property
    def honest(self) -> Mapping[str, Played]:
        """A session of every probe, by its name, of one account each; none of them raises. Behind one that
        got no answer in time there are no more: each would wait as long."""
        found: dict[str, Played] = {}
        for one in self.probes:
            found[one.name] = self.play(one, "honest")
            if found[one.name].timed_out:
                break
        return found

    def some(self) -> list[Probe]:
        """A listed picture, one that is not, and a poor one."""
        return [next(one for one in self.probes if one.kind == kind) for kind in ("listed", "other", "poor")]

    def play(self, probe: Probe, purpose: str) -> Played:
        """One session, as far as it goes."""
        played = Played(probe)
        try:
            self._play(played, self.rng(f"{purpose}/{probe.name}"))
        except BrokenError as error:
            played.broken = error
        except ProtocolError as error:
            step = f"reply to {probe.name}, round {len(played.rounds)}"
            played.broken = BrokenError(step, f"the device refuses it: {error}")
        return played

    def _play(self, played: Played, rng: Randomness) -> None:
        design = self.design
        state = design.prepare(design.enrol(rng), self.setup, rng)
        step = concluded(
            design, design.start(state, self.setup, played.probe.item, UNBOUND, rng).step, self.setup
        )
        while isinstance(step, Send):
            if len(played.rounds) == MOST_ROUNDS:
                raise BrokenError("session", f"takes more than {MOST_ROUNDS} rounds")
            turns = tuple(self.ask(role, step.bodies[role]) for role in sorted(step.bodies))
            played.rounds.append(Round(len(played.rounds) + 1, step.session, turns))
            replies = {turn.role: self.reply(turn) for turn in turns}
            received = design.receive(step.session, self.setup, replies, rng)
            step = concluded(design, received, self.setup)
        played.outcome = step.outcome

    def certified(self, probe: Probe) -> list[Turn]:
        """The first round of a session that is to be shown to others."""
        rng = self.rng(f"certified/{probe.name}")
        design = self.design
        state = design.prepare(design.enrol(rng), self.setup, rng)
        step = design.start(state, self.setup, probe.item, CERTIFYING, rng).step
        bodies = step.bodies if isinstance(step, Send) else {}
        return [self.ask(role, bodies[role]) for role in sorted(bodies)]

    def ask(self, role: Role, body: Message) -> Turn:
        return Turn(role, body, self.counterpart.exchange(role, body.encode()))

    def reply(self, turn: Turn) -> Message:
        """The reply to an honest request; `BrokenError` if it was refused, or the answer breaks the wire
        interface."""
        if isinstance(turn.answer, Refused):
            words = f"an honest request is refused: {turn.answer}"
            raise BrokenError(f"request to {turn.role}", words, body=turn.body.encode()[:4096])
        return self.opened(turn.role, turn.answer)

    def opened(self, role: Role, heard: Heard) -> Message:
        """The reply in an answer; `BrokenError` if an envelope has a field too many, or one that is not what
        was asked for, or the body is not the canonical encoding of a declared reply."""
        step = f"reply of {role}"
        body = self._body(role, [_envelope(step, raw) for raw in heard.parts])
        try:
            reply = decode_any(self.design.replies[role], body, self.design.info.name)
        except ProtocolError as error:
            raise BrokenError(step, str(error), reply=body[:4096]) from error
        if reply.encode() != body:
            raise BrokenError(step, "is not the canonical encoding of its message", reply=body[:4096])
        return reply

    def _body(self, role: Role, parts: list[pb.Envelope]) -> bytes:
        step = f"reply of {role}"
        info = self.design.info
        epoch = self.manifest.epoch
        if not parts:
            raise BrokenError(step, "is empty: there must be one envelope or more")
        wanted = {"design": info.name, "version": info.version, "epoch": epoch, "role": str(role)}
        for name, value in wanted.items():
            if getattr(parts[0], name) != value:
                raise BrokenError(step, f"field {name}: must be what was asked for, {value!r}")
        if parts[0].request_id:
            raise BrokenError(step, "field request_id: must be empty in a reply")
        for part in parts[1:]:
            if any(getattr(part, name) for name in (*wanted, "body_size", "request_id")):
                raise BrokenError(step, "only the first envelope bears more than a body")
        body = b"".join(part.body for part in parts)
        if parts[0].body_size not in ((len(body),) if info.large_bodies else (0, len(body))):
            raise BrokenError(step, "field body_size: must be the length of the body")
        return body

    def still_answers(self, after: str) -> None:
        """Make sure that an honest request is answered; `BrokenError` if it is not; the text says after
        what."""
        probe = self.some()[1]
        played = self.play(probe, f"after/{after}")
        if played.broken is not None:
            words = f"after {after}, an honest session fails: {played.broken}"
            raise BrokenError(played.broken.step, words, **played.broken.evidence)


def item_of(name: str, value: bytes, quality: int) -> VectorItem:
    """A picture with this hash: the magnitudes of its coefficients follow from the hash, its pixels too."""
    bits = np.unpackbits(np.frombuffer(value, np.uint8))
    return numbered(name, quality, f"remote/item/{value.hex()}", lambda rank, at: bool(bits[at]))


def _envelope(step: str, raw: bytes) -> pb.Envelope:
    try:
        envelope = pb.Envelope.FromString(raw)
    except DecodeError as error:
        raise BrokenError(step, "is no Envelope", reply=raw[:4096]) from error
    unknown = UnknownFieldSet(envelope)
    if len(unknown):
        number = unknown[0].field_number
        raise BrokenError(step, f"field {number}: there is no such field in an Envelope", reply=raw[:4096])
    return envelope


SAMPLE: Final = 256
"""Entries named in a manifest; all of a shorter list."""
ANSWER_MS: Final = 30_000


def manifest_of(
    design: AnyDesign, publication: Publication, entries: HashList, caller: Path, folder: Path
) -> Manifest:
    """The manifest of the counterpart that serves `publication`, with paths seen from `folder`; `caller` is
    the path of a device's credentials without ``.crt`` or ``.key``, beside which the root's certificate is;
    `ManifestError` if the epoch was not built of as many entries as the list has."""
    held = publication.manifest
    if held.entries != len(entries):
        raise ManifestError(f"epoch {held.epoch} has {held.entries} entries, the list has {len(entries)}")
    setup = [
        SetupFile(
            name=file.name, path=_seen(publication.folder / file.name, folder), sha256=file.digest.hex()
        )
        for file in held.files
    ]
    return Manifest(
        format=FORMAT,
        version=VERSION,
        contract=CONTRACT_VERSION,
        design=held.design,
        design_version=held.version,
        epoch=held.epoch,
        parameters=publication.parameters,
        public_key=_public_key(design, publication),
        setup=tuple(setup),
        listed=_listed(entries),
        credentials=CredentialFiles(
            root=_seen(caller.with_name(ROOT_CERTIFICATE), folder),
            certificate=_seen(caller.with_name(f"{caller.name}.crt"), folder),
            key=_seen(caller.with_name(f"{caller.name}.key"), folder),
            server_names={str(role): design.info.asked(role).dns_name for role in design.info.roles},
        ),
        limits=Limits(
            reply_bytes=MOST_BODY_BYTES if design.info.large_bodies else MOST_SMALL_BYTES, answer_ms=ANSWER_MS
        ),
    )


def write_manifest(manifest: Manifest, path: Path) -> None:
    """Write the file in one step, readable by its owner alone: it names entries of the list."""
    replace_file(path, msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n")


def _listed(entries: HashList) -> Listed:
    """All hashes, or as many as a manifest takes, spread over the whole list."""
    count = min(SAMPLE, len(entries))
    rows = (len(entries) * place // count for place in range(count))
    hashes = tuple(entries.hashes[row].tobytes().hex() for row in rows)
    return Listed(complete=len(hashes) == len(entries), hashes=hashes)


def _public_key(design: AnyDesign, publication: Publication) -> str | None:
    setup = design.open_setup(publication.setup(), publication.manifest.epoch)
    key = getattr(setup, "public_key", None)
    return key.element.hex() if isinstance(key, PublicKey) else None


def _seen(path: Path, folder: Path) -> str:
    return os.path.relpath(path.absolute(), folder.absolute())
