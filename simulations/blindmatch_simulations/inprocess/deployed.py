"""A design published and opened in memory, and one item's session with its roles."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, TypeAlias

import numpy as np
from blindmatch_protocol.codec import Message, Rows
from blindmatch_protocol.contract import (
    AnyDesign,
    Item,
    Outcome,
    Published,
    Role,
    Session,
    SetParameters,
    Stated,
    Verdict,
    answered,
    batches_of,
)
from blindmatch_protocol.contract.entries import HeldEntries
from blindmatch_protocol.epoch_manifest import (
    NO_PREDECESSOR,
    EpochManifest,
    ManifestFile,
    parameters_of,
    role_keys_of,
)
from blindmatch_protocol.executor import Executor
from blindmatch_protocol.randomness import Randomness, Recording, seeded

from blindmatch_simulations.inprocess.enrolled import new_state, request_of


@dataclass(slots=True)
class MemoryWorkspace:
    """A `Workspace` of buffers."""

    created: dict[str, io.BytesIO] = field(default_factory=dict)
    scratches: dict[str, bytearray] = field(default_factory=dict)

    def create(self, name: str) -> io.BytesIO:
        """See `Workspace.create`."""
        self.created[name] = io.BytesIO()
        return self.created[name]

    def scratch(self, name: str, size: int) -> memoryview:
        """See `Workspace.scratch`."""
        return memoryview(self.scratches.setdefault(name, bytearray(size)))

    def files(self) -> dict[str, bytes]:
        """All files of the result."""
        return {name: made.getvalue() for name, made in self.created.items()}


@dataclass(frozen=True, slots=True, repr=False)
class Build:
    """One epoch's files: all of them by name, and which are whose."""

    design: AnyDesign
    epoch: int
    entries: Rows
    files: Mapping[str, bytes]
    published: Published

    @property
    def setup_files(self) -> dict[str, bytes]:
        """What every device gets."""
        return {name: self.files[name] for name in self.published.setup}

    def role_files(self, role: Role) -> dict[str, bytes]:
        """What a role gets: the set-up, and its own."""
        return {**self.setup_files, **{name: self.files[name] for name in self.published.roles[role]}}


def manifest_of(
    design: AnyDesign,
    files: Mapping[str, bytes],
    epoch: int,
    before: EpochManifest | None = None,
    stated: Stated | None = None,
) -> EpochManifest:
    """The manifest of set-up files in memory, valid for years; `stated` is given if they do not open."""
    held = stated or design.stated(design.open_setup(files, epoch))
    return EpochManifest(
        design=design.info.name,
        version=design.info.version,
        epoch=epoch,
        predecessor_epoch=before.epoch if before else 0,
        predecessor=before.digest if before else NO_PREDECESSOR,
        valid_from=1,
        valid_until=4_000_000_000,
        entries=0,
        parameters=parameters_of(held.parameters),
        role_keys=role_keys_of(held.role_keys),
        files=tuple(
            ManifestFile(name, len(files[name]), sha256(files[name]).digest()) for name in sorted(files)
        ),
    )


@dataclass(frozen=True, slots=True, repr=False)
class Deployed:
    """A build, opened by a device and by every role."""

    build: Build
    setup: Any
    states: Mapping[Role, Any]

    @property
    def design(self) -> AnyDesign:
        """The design."""
        return self.build.design

    def answer(
        self, role: Role, body: Message, rng: Randomness, executor: Executor | None = None
    ) -> tuple[Message, Verdict | None]:
        """The role's reply to one body, and what it learnt; raises the `ProtocolError` it answers with."""
        request = request_of(self.design, self.setup, role, body)
        return answered(self.design, role, self.states[role], request, rng, executor)


def publish(
    design: AnyDesign,
    entries: Rows,
    rng: Randomness,
    epoch: int = 1,
    values: Mapping[str, int] | None = None,
    salts: str = "salts",
) -> Build:
    """Publish `design` for `entries`, with salts that `salts` determines."""
    out, source = MemoryWorkspace(), _source(entries, epoch, salts)
    published = design.publish(source, SetParameters(epoch, values or {}), rng, None, out)
    return Build(design, epoch, entries, out.files(), published)


def update(
    before: Build,
    adds: Rows,
    removes: Sequence[int],
    rng: Randomness,
    salts: str = "salts",
    numbered_as: int | None = None,
) -> Build:
    """The next epoch of a build; `entries` of the result are the additions alone.

    Additions get ids and salts as the first entries of epoch `numbered_as` have, by default of the next one.

    Raises:
        DesignError: if the design can only be published whole, or refuses the change.
    """
    epoch, out = before.epoch + 1, MemoryWorkspace()
    published = before.design.update(
        before.files, _source(adds, numbered_as or epoch, salts), removes, out, rng
    )
    return Build(before.design, epoch, adds, out.files(), published)


def entry_id(row: int, epoch: int = 1) -> int:
    """The id of the entry in this row, counted from 0, of the list or the additions of an epoch."""
    return row + 1 + (epoch << 20)


def _source(entries: Rows, epoch: int, salts: str) -> HeldEntries:
    n = len(entries)
    salt_rows = np.frombuffer(seeded(f"{salts}/{epoch}").take(16 * n), np.uint8).reshape(n, 16)
    return batches_of(entries, np.arange(n, dtype=np.uint64) + np.uint64(entry_id(0, epoch)), salt_rows)


def opened(build: Build) -> Deployed:
    """Open set-up and roles of `build`."""
    design = build.design
    states = {role: design.open_role(role, build.role_files(role)) for role in build.published.roles}
    return Deployed(build, design.open_setup(build.setup_files, build.epoch), states)


@dataclass(frozen=True, slots=True, repr=False)
class Asked:
    """A body, the role it went to, the reply and what the role learnt."""

    role: Role
    body: Message
    reply: Message
    verdict: Verdict | None


@dataclass(frozen=True, slots=True, repr=False)
class Ran:
    """One session.

    Attributes:
        rounds: what was asked in each round, roles in the order of their names.
        outcome: how it ended.
        state_before, state: the account's device state, before and after.
        tape: the randomness the device took.
    """

    rounds: tuple[tuple[Asked, ...], ...]
    outcome: Outcome
    state_before: Message
    state: Message
    tape: bytes

    def bodies(self) -> list[tuple[Role, bytes]]:
        """Every body that left the device, in order."""
        return [(asked.role, asked.body.encode()) for one in self.rounds for asked in one]


Answering: TypeAlias = Callable[[Role, Message], tuple[Message, Verdict | None]]


def enrolled(deployed: Deployed, rng: Randomness) -> Message:
    """A new account's device state, after its offline phase."""
    return new_state(deployed.design, deployed.setup, rng)


def run_session(
    deployed: Deployed,
    item: Item,
    rng: Randomness,
    state: Message | None = None,
    answering: Answering | None = None,
) -> Ran:
    """One item's session; a new account is enrolled if no `state` is given.

    Raises:
        ProtocolError: if a role refuses or its reply is refused.
        DesignError: if the design breaks the contract.
    """
    before = enrolled(deployed, rng) if state is None else state
    ask = answering or (lambda role, body: deployed.answer(role, body, rng))
    tape = Recording(rng)
    session = Session(deployed.design, deployed.setup, before, tape.rng)
    rounds: list[tuple[Asked, ...]] = []
    step = session.start(item)
    while isinstance(step, Mapping):
        asked = [Asked(role, step[role], *ask(role, step[role])) for role in sorted(step)]
        rounds.append(tuple(asked))
        step = session.receive({one.role: one.reply for one in asked})
    return Ran(tuple(rounds), session.conclude(), before, session.state, tape.tape())
