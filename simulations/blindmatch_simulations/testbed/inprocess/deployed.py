"""A design published and opened in memory, and one item's session with its roles; one for a proof of
absence."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Any, Final, TypeAlias
from weakref import WeakKeyDictionary

import numpy as np
from blindmatch_proofs.absence import AbsenceProof, AbsenceReply
from blindmatch_protocol import contract as bm
from blindmatch_protocol.codec import Message, Rows
from blindmatch_protocol.codec.randomness import Randomness, Recording, replayed, seeded
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import AnyDesign, Enrolment, Request, Role, Verdict, answered
from blindmatch_protocol.contract.publishing import Executor, HeldEntries
from blindmatch_protocol.messages import epoch_manifest
from blindmatch_server.epochs.published import Publication
from msgspec import Struct, field
from msgspec.structs import replace

from blindmatch_simulations.testbed.inprocess.messages import drawn_message

_MADE: Final[WeakKeyDictionary[AnyDesign, dict[tuple[str, bytes], Enrolment[Any]]]] = WeakKeyDictionary()


class OpenDesign(Redacted, Struct, frozen=True):
    """A design with one epoch of it, open."""

    design: AnyDesign
    setup: Any
    states: Mapping[Role, Any]

    @property
    def account(self) -> str:
        return ""

    @property
    def enrolment(self) -> Enrolment[Any]:
        """What the account enrolled with, where accounts enrol: made once for each design, key and name of an
        account, since it may be tens of megabytes and take a second, and its role knows an account by it
        anyway."""
        made = _MADE.setdefault(self.design, {})
        key = (self.account, self.design.enrolment_key(self.setup))
        if key not in made:
            rng = seeded("the account that is enrolled" + self.account)
            made[key] = self.design.enrolment(self.design.enrol(rng), self.setup, rng)
        return made[key]

    @property
    def held(self) -> Mapping[Role, Message]:
        """What each role holds of the account."""
        return self.enrolment.bodies if self.design.enrolments else {}

    def request(self, role: Role, body: Message) -> Request:
        return Request(body, self.held.get(role))

    def answer(
        self, role: Role, body: Message, rng: Randomness, executor: Executor | None = None
    ) -> tuple[Message, Verdict | None]:
        """The role's reply to one body, and what it learnt; raises the `ProtocolError` it answers with."""
        return answered(self.design, role, self.states[role], self.request(role, body), rng, executor)


def open_published(design: AnyDesign, publication: Publication) -> OpenDesign:
    """Open an epoch for a device and for every role."""
    setup = design.open_setup(publication.setup(), publication.manifest.epoch)
    states = {role: design.open_role(role, publication.role(role)) for role in design.info.roles}
    return OpenDesign(design, setup, states)


class MemoryWorkspace(Struct):
    """A `Workspace` of buffers."""

    created: dict[str, io.BytesIO] = field(default_factory=dict)
    scratches: dict[str, bytearray] = field(default_factory=dict)

    def create(self, name: str) -> io.BytesIO:
        self.created[name] = io.BytesIO()
        return self.created[name]

    def scratch(self, name: str, size: int) -> memoryview:
        return memoryview(self.scratches.setdefault(name, bytearray(size)))

    def files(self) -> dict[str, bytes]:
        return {name: file.getvalue() for name, file in self.created.items()}


class Build(Redacted, Struct, frozen=True):
    """One epoch's files: all of them by name, and which are whose; and the account that asks, where accounts
    enrol."""

    design: bm.AnyDesign
    epoch: int
    entries: Rows
    files: Mapping[str, bytes]
    published: bm.Published
    account: str = ""

    @property
    def setup_files(self) -> dict[str, bytes]:
        return {name: self.files[name] for name in self.published.setup}

    def role_files(self, role: bm.Role) -> dict[str, bytes]:
        return {**self.setup_files, **{name: self.files[name] for name in self.published.roles[role]}}


def values_of(design: bm.AnyDesign, values: Mapping[str, int]) -> dict[str, int]:
    """Those of `values` that are parameters of the design."""
    names = {parameter.name for parameter in design.info.parameters}
    return {name: value for name, value in values.items() if name in names}


def manifest_of(
    design: bm.AnyDesign,
    files: Mapping[str, bytes],
    epoch: int,
    before: epoch_manifest.EpochManifest | None = None,
    stated: bm.Stated | None = None,
) -> epoch_manifest.EpochManifest:
    """The manifest of set-up files in memory, valid for years; `stated` is given if they do not open."""
    held = stated or design.stated(design.open_setup(files, epoch))
    return epoch_manifest.EpochManifest(
        design=design.info.name,
        version=design.info.version,
        epoch=epoch,
        predecessor_epoch=before.epoch if before else 0,
        predecessor=before.digest if before else epoch_manifest.NO_PREDECESSOR,
        valid_from=1,
        valid_until=4_000_000_000,
        entries=held.entries or 0,
        parameters=epoch_manifest.parameters_of(held.parameters),
        role_keys=epoch_manifest.role_keys_of(held.role_keys),
        files=tuple(
            epoch_manifest.ManifestFile(name, len(files[name]), sha256(files[name]).digest())
            for name in sorted(files)
        ),
    )


class Deployed(OpenDesign, frozen=True):
    """A build, opened by a device and by every role."""

    build: Build

    @property
    def account(self) -> str:
        return self.build.account

    def of(self, number: int) -> Deployed:
        """This build as another account has it, where accounts enrol; number 0 is this one."""
        if not (number and self.design.enrolments):
            return self
        return replace(self, build=replace(self.build, account=f"{self.account}/{number}"))


def publish(
    design: bm.AnyDesign,
    entries: Rows,
    rng: Randomness,
    epoch: int = 1,
    values: Mapping[str, int] | None = None,
    salts: str = "salts",
    executor: Executor | None = None,
) -> Build:
    """Publish `design` for `entries`, with salts that `salts` determines."""
    out = MemoryWorkspace()
    source = _source(entries, epoch, salts)
    published = design.publish(source, bm.SetParameters(epoch, values or {}), rng, executor, out)
    return Build(design, epoch, entries, out.files(), published)


def update(
    before: Build,
    adds: Rows,
    removes: Sequence[int],
    rng: Randomness,
    salts: str = "salts",
    numbered_as: int | None = None,
) -> Build:
    """The next epoch of a build; `entries` of the result are the additions alone, with ids and salts as the
    first entries of epoch `numbered_as` have, by default of the next one. `DesignError` if the design can
    only be published whole, or refuses the change."""
    epoch = before.epoch + 1
    out = MemoryWorkspace()
    published = before.design.update(
        before.files, _source(adds, numbered_as or epoch, salts), removes, out, rng
    )
    return Build(before.design, epoch, adds, out.files(), published, before.account)


def entry_id(row: int, epoch: int = 1) -> int:
    """The id of the entry in this row, counted from 0, of the list or the additions of an epoch."""
    return row + 1 + (epoch << 20)


def entries_of(build: Build) -> HeldEntries:
    """The list of a build that was published whole, with the ids and salts of `publish`."""
    return _source(build.entries, build.epoch, "salts")


def _source(entries: Rows, epoch: int, salts: str) -> HeldEntries:
    n = len(entries)
    salt_rows = np.frombuffer(seeded(f"{salts}/{epoch}").take(16 * n), np.uint8).reshape(n, 16)
    return bm.batches_of(entries, np.arange(n, dtype=np.uint64) + np.uint64(entry_id(0, epoch)), salt_rows)


def opened(build: Build) -> Deployed:
    design = build.design
    states = {role: design.open_role(role, build.role_files(role)) for role in build.published.roles}
    return Deployed(design, design.open_setup(build.setup_files, build.epoch), states, build)


VOUCHER: Final = bm.Role("voucher")
"""Stands for the centre where a voucher counts as a body like any other."""


def seers(design: bm.AnyDesign) -> tuple[bm.Party, ...]:
    """Who gets a body of a device: to answer it, to carry it, or as a voucher."""
    return (*design.info.parties, *([bm.Party.CENTRE] if design.vouchers else []))


def seen_by(design: bm.AnyDesign, party: bm.Party) -> tuple[bm.Role, ...]:
    """Roles whose bodies `party` gets; vouchers are the centre's."""
    roles = design.info.seen_by(party)
    return (*roles, VOUCHER) if party == bm.Party.CENTRE and design.vouchers else roles


def carried_by(design: bm.AnyDesign, parties: Iterable[bm.Party]) -> set[bm.Role]:
    """Roles whose bodies are forwarded by one of the parties, and answered by none of them."""
    info = design.info
    return {
        role for role, one in info.forwarded.items() if one in parties and info.roles[role] not in parties
    }


def drawn_binding(design: bm.AnyDesign, rng: Randomness) -> bm.Binding:
    """Return the binding to a message of the picture as accounts send them; `UNBOUND` where the design hands
    in no vouchers."""
    return drawn_message(rng).binding if design.vouchers else bm.UNBOUND


class Asked(Redacted, Struct, frozen=True):
    """A body, the role it went to, the reply and what the role learnt."""

    role: bm.Role
    body: Message
    reply: Message
    verdict: bm.Verdict | None


class Ran(Redacted, Struct, frozen=True):
    """One session.

    Attributes:
        rounds: what was asked in each round, roles in the order of their names.
        state_before, state: the account's device state, before and after.
        tape: the randomness the device took.
    """

    rounds: tuple[tuple[Asked, ...], ...]
    outcome: bm.Outcome
    state_before: Message
    state: Message
    tape: bytes

    @property
    def asked(self) -> list[Asked]:
        return [asked for one in self.rounds for asked in one]

    @property
    def verdicts(self) -> list[bm.Verdict]:
        return [asked.verdict for asked in self.asked if asked.verdict is not None]

    @property
    def found(self) -> bool:
        """Did the device or a role learn of an entry?"""
        return isinstance(self.outcome, bm.Match) or any(told.label is not None for told in self.verdicts)

    def bodies(self) -> list[tuple[bm.Role, bytes]]:
        last = [(VOUCHER, self.outcome.body.encode())] if isinstance(self.outcome, bm.Voucher) else []
        return [*((asked.role, asked.body.encode()) for asked in self.asked), *last]


Answering: TypeAlias = Callable[[bm.Role, Message], tuple[Message, bm.Verdict | None]]


def unprepared(deployed: OpenDesign, rng: Randomness) -> Message:
    """The device state of a new account, or of the one that is enrolled, before its offline phase."""
    state: Message = deployed.enrolment.state if deployed.design.enrolments else deployed.design.enrol(rng)
    return state


def enrolled(deployed: OpenDesign, rng: Randomness) -> Message:
    """The same device state after the offline phase."""
    prepared: Message = deployed.design.prepare(unprepared(deployed, rng), deployed.setup, rng)
    return prepared


def run_session(
    deployed: OpenDesign,
    item: bm.Item,
    rng: Randomness,
    state: Message | None = None,
    answering: Answering | None = None,
    binding: bm.Binding = bm.UNBOUND,
) -> Ran:
    """One item's session; a new account is enrolled if no `state` is given."""
    before = enrolled(deployed, rng) if state is None else state
    ask = answering or (lambda role, body: deployed.answer(role, body, rng))
    tape = Recording(rng)
    session = bm.Session(deployed.design, deployed.setup, before, tape.rng)
    rounds: list[tuple[Asked, ...]] = []
    step = session.start(item, binding)
    while isinstance(step, Mapping):
        asked = [Asked(role, step[role], *ask(role, step[role])) for role in sorted(step)]
        rounds.append(tuple(asked))
        step = session.receive({one.role: one.reply for one in asked})
    return Ran(tuple(rounds), session.conclude(), before, session.state, tape.tape())


def run_again(
    deployed: OpenDesign,
    item: bm.Item,
    ran: Ran,
    answering: Answering | None = None,
    binding: bm.Binding = bm.UNBOUND,
) -> Ran:
    """A session on the tape and the state of an earlier one, and on its replies unless others are given."""
    replies = iter([(asked.reply, asked.verdict) for asked in ran.asked])
    again = answering or (lambda role, body: next(replies))
    return run_session(deployed, item, replayed(ran.tape), ran.state_before, again, binding)


def transcript(
    parties: OpenDesign,
    signed: epoch_manifest.SignedManifest,
    item: bm.Item,
    rng: Randomness,
    alter: Callable[[bm.Role, Message], Message] = lambda role, reply: reply,
) -> AbsenceProof:
    """What a device makes of a session with `item`, whatever it comes to; `alter` alters replies."""
    design = parties.design
    tape = Recording(rng)
    replies = list[AbsenceReply]()
    state = design.enrol(rng)
    session = bm.Session(design, parties.setup, state, tape.rng)
    step = session.start(item, bm.CERTIFYING)
    while isinstance(step, Mapping):
        got = {role: alter(role, parties.answer(role, step[role], rng)[0]) for role in sorted(step)}
        replies += [AbsenceReply(role, reply.encode()) for role, reply in got.items()]
        try:
            step = session.receive(got)
        except Exception:
            break
    return AbsenceProof(signed, item.hash, state.encode(), tape.tape(), tuple(replies))
