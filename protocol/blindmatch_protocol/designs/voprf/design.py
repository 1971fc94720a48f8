"""The state machine of designs whose device asks a batched VOPRF and looks its outputs up in a set.

device: what it asks for -> blind    --- Request, to each role that holds the key or a share --->
device: verify each, add, unblind    <-- Reply of each ------------------------------------------
Ready: what the outputs open waits for the hand-over
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any, ClassVar, Final, TypeVar

from msgspec.structs import replace

from blindmatch_protocol import contract as bm
from blindmatch_protocol import group
from blindmatch_protocol.crypto.oprf import Mode, SecretKey, blind, generate_key_pair
from blindmatch_protocol.designs import deltas
from blindmatch_protocol.designs.deltas import SIGNATURES, Recipe
from blindmatch_protocol.designs.facts import DELTA_SIZES, EPOCH, QUERY_COUNT, QUERY_TIME, SET_SIZE
from blindmatch_protocol.designs.voprf import files as kept
from blindmatch_protocol.designs.voprf.files import Job, KeyHolder, ListBuild, VoprfSetup, key_file
from blindmatch_protocol.designs.voprf.layout import ONE_HOLDER, KeyLayout, Limits, PublicKeys
from blindmatch_protocol.designs.voprf.round import (
    CertifiedReply,
    CertifyRequest,
    Verified,
    VoprfRound,
    Waiting,
)
from blindmatch_protocol.setfile import Identity, SetFile, SetFileWriter

LOOKED_UP: Final = 1 << 16
"""Additions that are looked up together."""
S = TypeVar("S", bound=VoprfSetup[Any])


class VoprfDesign(bm.Design[S, bm.NoState, Waiting, KeyHolder]):
    """What such designs have in common.

    Attributes:
        of_key: what whoever has the whole key learns.
        key_tells: what the key shows of the list, with the set-up.
        requests_tell: what whoever is asked learns, beside epoch, number of elements and time.
        set_tells: what the set-up tells a device of the list.
        outputs_tell: what a device learns of the list from the outputs it honestly asks for.
        asking_tells: what a modified one does by asking for what it likes.
    """

    round: ClassVar[VoprfRound]
    layout: ClassVar[KeyLayout] = ONE_HOLDER
    of_key: ClassVar[bm.Fact]
    key_tells: ClassVar[bm.ListKnowledge]
    requests_tell: ClassVar[tuple[bm.Fact, ...]] = ()
    set_tells: ClassVar[tuple[bm.Fact, ...]] = (SET_SIZE, DELTA_SIZES)
    outputs_tell: ClassVar[tuple[bm.Fact, ...]] = ()
    asking_tells: ClassVar[tuple[bm.Fact, ...]]

    def __init_subclass__(cls) -> None:
        """Roles that hold the key take and give the round's messages, unless a design says otherwise."""
        if vars(cls).keys() & {"round", "layout"} and "requests" not in vars(cls):
            cls.requests = dict.fromkeys(cls.layout.roles, (cls.round.request, CertifyRequest))
            cls.replies = dict.fromkeys(cls.layout.roles, (cls.round.reply, CertifiedReply))

    def leakage(self) -> tuple[bm.Leak, ...]:
        """Of pictures a malicious role learns no more than an honest one: a wrong reply fails its proof, and
        one left out is seen. Roles that together have the key learn of the list what it tells, of pictures
        nothing more."""
        alone = (EPOCH, QUERY_COUNT, QUERY_TIME, *self.requests_tell)
        one = {frozenset({party}): alone for party in self._holders} if self.layout.shared else {}
        enough = {
            frozenset(some): (*alone, self.of_key) for some in combinations(self._holders, self.layout.needed)
        }
        device = frozenset({bm.Party.DEVICE})
        known = (*self.set_tells, *self.outputs_tell)
        return (
            *(bm.Leak(some, how, facts) for some, facts in (one | enough).items() for how in bm.Adversary),
            bm.Leak(device, bm.Adversary.SEMI_HONEST, known),
            bm.Leak(device, bm.Adversary.MALICIOUS, (*known, *self.asking_tells)),
        )

    def list_knowledge(self, parties: frozenset[bm.Party]) -> bm.ListKnowledge:
        """Nothing but its size without the key, and so without enough of its shares."""
        held = parties & frozenset(self._holders)
        if len(held) >= self.layout.needed:
            return self.key_tells
        return bm.ListKnowledge.SIZE if held or bm.Party.DEVICE in parties else bm.ListKnowledge.NOTHING

    @property
    def _holders(self) -> tuple[bm.Party, ...]:
        return tuple(self.info.roles[role] for role in self.layout.roles)

    @abstractmethod
    def settle(self, values: Mapping[str, int]) -> tuple[int, Limits | None]:
        """Elements in every request, and the key's limits, of a set with these parameters; `DesignError` if a
        parameter is missing or out of range, or they do not go together."""

    @abstractmethod
    def building(self, key: SecretKey, values: Mapping[str, int], recipe: Recipe) -> ListBuild:
        """How its files are built."""

    @abstractmethod
    def opened(self, files: Sequence[tuple[str, SetFile]], keys: PublicKeys) -> S:
        """The set-up of these files, the full set first; `settle` has accepted their parameters;
        `SetFileError` if a file is not what it must be."""

    @abstractmethod
    def inputs(self, setup: S, item: bm.Item, cover: bool, rng: bm.Randomness) -> list[bytes]:
        """The OPRF inputs of a request; random ones if it is for cover. Takes as much of `rng` either way."""

    @abstractmethod
    def found(self, setup: S, session: Any) -> bm.Label | None:
        """The label that the outputs of a `Verified` session open for its picture."""

    @abstractmethod
    def present(
        self, setup: S, key: SecretKey, batch: bm.EntryBatch, rows: bm.Rows
    ) -> Iterator[tuple[int, bm.Label]]:
        """Labels in force of a batch of additions, by their place in it; `rows` are those of `ListBuild`."""

    def publish(
        self,
        entries: bm.EntrySource,
        parameters: bm.SetParameters,
        rng: bm.Randomness,
        executor: bm.Executor | None,
        out: bm.Workspace,
        progress: bm.Progress = bm.no_progress,
    ) -> bm.Published:
        """Takes 64 bytes of `rng` for the key, and as many for each further role that is needed."""
        values = {p.name: parameters.value(self.info, p.name) for p in self.info.parameters}
        self.settle(values)
        key = generate_key_pair(Mode.VOPRF, rng)
        shares = self.layout.split(key, rng)
        identity = Identity(self.info.name, self.info.version, parameters.epoch, values)
        made = self.building(key, values, Recipe(parameters.epoch, values[SIGNATURES.name]))
        job = Job(entries, executor, out, progress)
        rows = made.evaluate(job)
        made.finish(job, SetFileWriter(out.create(deltas.SET_FILE), identity), rows, shares, identity)
        return self.files_of((deltas.SET_FILE,))

    def update(
        self,
        previous: bm.Buffers,
        adds: bm.EntrySource,
        removes: Sequence[int],
        out: bm.Workspace,
        rng: bm.Randomness,
        executor: bm.Executor | None = None,
        progress: bm.Progress = bm.no_progress,
    ) -> bm.Published:
        """A delta whose bytes are proportional to the change. The key stays, since entries evaluated under
        another one could not be found; one in shares is split anew, with `rng` as in `publish`;
        `SetFileError` if a previous file is damaged, `DesignError` if nothing changes, an addition is in the
        set already, or a full set is due."""
        setup = self.open_setup(previous)
        key = self.layout.joined({role: self.open_role(role, previous).key for role in self.layout.roles})
        if len(setup.layers) > deltas.MOST_DELTAS:
            raise bm.DesignError(f"{deltas.MOST_DELTAS} deltas have piled up: publish a full set")
        ids = deltas.checked_ids(adds, removes)
        identity = replace(setup.layers[-1].file.identity, epoch=setup.epoch + 1)
        earlier = tuple(layer.epoch for layer in setup.layers)
        recipe = Recipe(identity.epoch, setup.parameters[SIGNATURES.name], earlier)
        made = self.building(key, setup.parameters, recipe)
        job = Job(adds, executor, out, progress)
        rows = made.evaluate(job)
        with group.using(group.LIBSODIUM):  # nothing compares what is looked up
            self._refuse_present(setup, key, adds, rows, frozenset(ids.tolist()))
        names = [layer.name for layer in setup.layers]
        deltas.copy_files(names, previous, out)
        file = deltas.begin_delta(out, identity, setup.layers[-1].file, ids)
        made.finish(job, file, rows, self.layout.split(key, rng), identity)
        return self.files_of((*names, deltas.delta_file(identity.epoch)))

    def _refuse_present(
        self, setup: S, key: SecretKey, adds: bm.EntrySource, rows: bm.Rows, removes: frozenset[int]
    ) -> None:
        """Make sure that no addition is in force already; one that is removed at the same time is not."""
        at = 0
        for batch in adds.batches(LOOKED_UP):
            for row, label in self.present(setup, key, batch, rows[at : at + len(batch)]):
                if label.entry_id not in removes:
                    raise bm.DesignError(f"addition {at + row} (counted from 0) is in the set already")
            at += len(batch)

    def files_of(self, names: tuple[str, ...]) -> bm.Published:
        return bm.Published(names, {role: (key_file(role),) for role in self.layout.roles})

    def open_setup(self, files: bm.Buffers, epoch: int | None = None) -> S:
        chain = deltas.open_chain(files, self.info.name, self.info.version, epoch)
        name, newest = chain[-1]
        self.settled(name, newest)
        keys = [kept.open_public_keys(self.layout, name, file) for name, file in chain]
        return self.opened(chain, keys[-1])

    def check_setup(self, setup: S, progress: bm.Progress = bm.no_progress) -> None:
        setup.check(progress)

    def stated(self, setup: S) -> bm.Stated:
        keys = {role: key.element for role, key in setup.keys.shares.items()}
        return bm.Stated(setup.parameters, keys, setup.entries)

    def expires(self, setup: S) -> int | None:
        return setup.limits.key_expires or None if setup.limits else None

    def with_executor(self, setup: S, executor: bm.Executor) -> S:
        """Blinding, verification and unblinding are spread."""
        return replace(setup, executor=executor)

    def open_role(self, role: bm.Role, files: bm.Buffers) -> KeyHolder:
        """If the set file is there, it must be the one the key was made for."""
        self._check_role(role)
        name = key_file(role)
        file, key, whole = kept.open_key(files, name, self.info.name, self.info.version)
        count, limits = self.settled(name, file)
        holder = KeyHolder(file.identity.epoch, count, key, whole, limits)
        if deltas.SET_FILE in files:
            kept.check_belongs(name, file, holder, role, self.open_setup(files, holder.epoch))
        return holder

    def key_limits(self, role: bm.Role, state: KeyHolder) -> bm.KeyLimits | None:
        self._check_role(role)
        return state.limits.on(state.whole.element, state.count) if state.limits else None

    def carrier_limits(self, role: bm.Role, setup: S) -> bm.KeyLimits | None:
        """Those of the key; each role of a key in shares is counted by itself."""
        self._check_role(role)
        key = setup.keys.whole.element + (role.encode() if self.layout.shared else b"")
        return setup.limits.on(key, setup.count) if setup.limits else None

    def settled(self, name: str, file: SetFile) -> tuple[int, Limits | None]:
        try:
            return self.settle(file.identity.parameters)
        except bm.DesignError as error:
            raise bm.SetFileError(f"{name}: {error}") from error

    def _check_role(self, role: bm.Role) -> None:
        if role not in self.layout.roles:
            raise bm.DesignError(f"design {self.info.name} has no role {role}")

    def enrol(self, rng: bm.Randomness) -> bm.NoState:
        return bm.NoState()

    def start(
        self, state: bm.NoState, setup: S, item: bm.Item, binding: bm.Binding, rng: bm.Randomness
    ) -> bm.Started[bm.NoState, Waiting]:
        """Takes as much of `rng` whatever the item is: for the inputs, and 64 bytes for the blind of each."""
        own_hash = item.hash if item.quality >= self.info.relation.minimum_quality else None
        inputs = self.inputs(setup, item, own_hash is None, rng)
        blinding, blinded = blind(inputs, Mode.VOPRF, rng, setup.executor)
        body = (CertifyRequest if binding.certify else self.round.request)(setup.epoch, blinded)
        waiting = Waiting(blinding, own_hash, binding.certify)
        return bm.Started(state, bm.Send(waiting, dict.fromkeys(self.layout.roles, body)))

    def receive(
        self, session: Waiting, setup: S, replies: Mapping[bm.Role, bm.Message], rng: bm.Randomness
    ) -> bm.Step[Waiting]:
        outputs = self.round.outputs(session, replies, setup, self.layout)
        return bm.Ready(Verified(outputs, session.own_hash))

    def conclude(self, session: Verified, setup: S) -> bm.Outcome:
        label = self.found(setup, session)
        return bm.NoMatch() if label is None else bm.Match(label)

    def answer(
        self,
        role: bm.Role,
        state: KeyHolder,
        requests: Sequence[bm.Request],
        rng: bm.Randomness,
        executor: bm.Executor | None,
    ) -> bm.Answer:
        """Takes 64 bytes of `rng` a body."""
        self._check_role(role)
        return self.round.answer(state, requests, rng, executor)

    def simulate(
        self, role: bm.Role, facts: Mapping[str, Hashable], output: bm.Outcome | None, rng: bm.Randomness
    ) -> tuple[bm.Message, ...] | None:
        """The role's view, perfectly; see `VoprfRound.simulated`."""
        epoch = facts["epoch"]
        count = facts["query_count"]
        assert isinstance(epoch, int) and isinstance(count, int)
        return (self.round.simulated(epoch, count, rng),)
