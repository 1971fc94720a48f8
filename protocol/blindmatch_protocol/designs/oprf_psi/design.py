"""oprf-psi: the device learns whether its hash is on the list, the matcher learns nothing of the hash.

    device(hash, set-up)                                 matcher(key)
        quality < 50: a random hash takes its place
        r = random, C = r*H(tag, hash)
                          ---- Request: epoch, C ---->
                                                         D = k*C, proof that k is the set-up's key
                          <-- Reply: epoch, D, proof --
        verify the proof; output = hash(tag, hash, D/r); Ready: what follows waits for the hand-over
        store key, mask, label key = derived from output and the epoch of each layer, the newest first
        number = store[store key] xor mask; number >= entries: NoMatch
        open label[number] with the label key; it does not open, or holds another hash: NoMatch
        Match(label)

The round is that of `voprf_round`. Without a proof a matcher could answer garbage and thereby switch matching
off unseen.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from blindmatch_protocol import contract
from blindmatch_protocol.codec import Message, Rows
from blindmatch_protocol.contract import (
    Adversary,
    Answer,
    Binding,
    Buffers,
    Design,
    EntrySource,
    Equal,
    Fact,
    Info,
    Item,
    Label,
    Leak,
    Learner,
    Match,
    NoMatch,
    NoState,
    Outcome,
    Parameter,
    Party,
    Progress,
    Published,
    Ready,
    Role,
    Send,
    SetParameters,
    Started,
    Stated,
    Step,
    Workspace,
    no_progress,
)
from blindmatch_protocol.designs.deltas import SET_FILE
from blindmatch_protocol.designs.oprf_psi import files
from blindmatch_protocol.designs.oprf_psi.build import INPUT_TAG, build
from blindmatch_protocol.designs.oprf_psi.delta import write_update
from blindmatch_protocol.designs.oprf_psi.files import MatcherState, Setup
from blindmatch_protocol.designs.oprf_psi.layers import find
from blindmatch_protocol.designs.oprf_psi.messages import MOST_EVALUATIONS, Reply, Request
from blindmatch_protocol.designs.recipe import SIGNATURES
from blindmatch_protocol.designs.voprf_round import Holder, Verified, VoprfRound
from blindmatch_protocol.errors import DesignError
from blindmatch_protocol.executor import Executor
from blindmatch_protocol.oprf import (
    Blinding,
    Mode,
    blind,
    generate_key_pair,
)
from blindmatch_protocol.randomness import Randomness

MATCHER = Role("matcher")
ROUND = VoprfRound(Request, Reply)
HASH_BYTES = 32

FACTS_OF_MATCHER = (
    Fact("epoch", "The epoch of the set the device holds.", lambda item, setup: setup.epoch),
    Fact(
        "query_count",
        "The number of blinded elements in a request, the same for every picture.",
        lambda item, setup: setup.evaluations,
    ),
    Fact("query_time", "That, and when, an account sent a picture.", lambda item, setup: True),
)
SET_SIZE = Fact("set_size", "The number of entries of the set.", lambda item, setup: setup.entries)
DELTAS = Fact(
    "delta_sizes",
    "For every epoch since the full set: how many entries it added and which ids it removed, and when.",
    lambda item, setup: setup.deltas,
)
ORACLE = Fact(
    "any_hash",
    "Whether any hash of its choice, or any edit of a picture, is listed, one request for each.",
    lambda item, setup: item.hash,
)


@dataclass(frozen=True, slots=True, eq=False)
class Waiting:
    """A session whose request is out.

    Attributes:
        blinding: what `finalize` needs.
        own_hash: the picture's hash, or None for a cover request.
    """

    blinding: Blinding = field(repr=False)
    own_hash: bytes | None = field(repr=False)


class OprfPsi(Design[Setup, NoState, Waiting, MatcherState]):
    """The design."""

    info: ClassVar[Info] = Info(
        name=files.DESIGN_NAME,
        version=files.DESIGN_VERSION,
        option="1b",
        summary="A verifiable OPRF tells the device, and only it, whether its very hash is listed.",
        relation=Equal(),
        learns=frozenset({Learner.DEVICE}),
        roles={MATCHER: Party.MATCHER},
        parameters=(
            Parameter(
                "evaluations", "Blinded elements in every request.", "elements", 1, 1, MOST_EVALUATIONS
            ),
            Parameter("filter", "Kind of set: 0 labelled, 1 filter (unconfirmed matches).", "kind", 0, 0, 1),
            SIGNATURES,
        ),
    )
    requests: ClassVar[Mapping[Role, tuple[type[Message], ...]]] = {MATCHER: (Request,)}
    replies: ClassVar[Mapping[Role, tuple[type[Message], ...]]] = {MATCHER: (Reply,)}

    def leakage(self) -> tuple[Leak, ...]:
        """See `Design.leakage`. A malicious matcher gains nothing: a wrong reply fails its proof, and
        leaving one out is seen by the device."""
        matcher, device = frozenset({Party.MATCHER}), frozenset({Party.DEVICE})
        return (
            Leak(matcher, Adversary.SEMI_HONEST, FACTS_OF_MATCHER),
            Leak(matcher, Adversary.MALICIOUS, FACTS_OF_MATCHER),
            Leak(device, Adversary.SEMI_HONEST, (SET_SIZE, DELTAS)),
            Leak(device, Adversary.MALICIOUS, (SET_SIZE, DELTAS, ORACLE)),
        )

    def publish(
        self,
        entries: EntrySource,
        parameters: SetParameters,
        rng: Randomness,
        executor: Executor | None,
        out: Workspace,
        progress: Progress = no_progress,
    ) -> Published:
        """See `Design.publish`. Takes 64 bytes of `rng`, for the key."""
        values = {p.name: parameters.value(self.info, p.name) for p in self.info.parameters}
        identity = files.identity(parameters.epoch, values)
        build(entries, generate_key_pair(Mode.VOPRF, rng), identity, executor, out, progress)
        return Published((SET_FILE,), {MATCHER: (files.MATCHER_FILE,)})

    def open_setup(self, files_: Buffers, epoch: int | None = None) -> Setup:
        """See `Design.open_setup`."""
        return files.open_setup(files_, epoch)

    def check_setup(self, setup: Setup, progress: Progress = no_progress) -> None:
        """See `Design.check_setup`."""
        setup.check(progress)

    def epoch_of(self, setup: Setup) -> int:
        """See `Design.epoch_of`."""
        return setup.epoch

    def stated(self, setup: Setup) -> Stated:
        """See `Design.stated`."""
        return Stated(setup.layers[-1].file.identity.parameters, {MATCHER: setup.public_key.element})

    def open_role(self, role: Role, files_: Buffers) -> MatcherState:
        """See `Design.open_role`."""
        self._check_role(role)
        return files.open_matcher(files_)

    def enrol(self, rng: Randomness) -> NoState:
        """An account keeps no state."""
        return NoState()

    def update(
        self,
        previous: Buffers,
        adds: EntrySource,
        removes: Sequence[int],
        out: Workspace,
        rng: Randomness,
        executor: Executor | None = None,
        progress: Progress = no_progress,
    ) -> Published:
        """See `Design.update`. The key stays, so a new key needs `publish`. Takes no randomness.

        Raises:
            SetFileError: if a previous file is damaged.
            DesignError: if nothing changes, an addition is in the set already, or a full set is due.
        """
        names = write_update(previous, adds, removes, executor, out, progress)
        return Published(names, {MATCHER: (files.MATCHER_FILE,)})

    def start(
        self, state: NoState, setup: Setup, item: Item, binding: Binding, rng: Randomness
    ) -> Started[NoState, Waiting]:
        """See `Design.start`. Takes 96 bytes of `rng` an element, whatever the item is."""
        filler = rng.take(HASH_BYTES * setup.evaluations)
        inputs = [INPUT_TAG + filler[at : at + HASH_BYTES] for at in range(0, len(filler), HASH_BYTES)]
        own_hash = item.hash if item.quality >= self.info.relation.minimum_quality else None
        if own_hash is not None:
            inputs[0] = INPUT_TAG + own_hash
        blinding, blinded = blind(inputs, Mode.VOPRF, rng)
        body = Request(setup.epoch, blinded)
        return Started(state, Send(Waiting(blinding, own_hash), {MATCHER: body}))

    def receive(
        self, session: Waiting, setup: Setup, replies: Mapping[Role, Message], rng: Randomness
    ) -> Step[Waiting]:
        """See `Design.receive`."""
        key = setup.public_key
        outputs = ROUND.outputs(session.blinding, replies[MATCHER], setup.epoch, key)
        return Ready(Verified(outputs[:1], session.own_hash))

    def conclude(self, session: Verified, setup: Setup) -> Outcome:
        """See `Design.conclude`."""
        label = find_label(setup, session.outputs, session.own_hash)
        return NoMatch() if label is None else Match(label)

    def answer(
        self,
        role: Role,
        state: MatcherState,
        requests: Sequence[contract.Request],
        rng: Randomness,
        executor: Executor | None,
    ) -> Answer:
        """See `Design.answer`. Takes 64 bytes of `rng` a body."""
        self._check_role(role)
        return ROUND.answer(Holder(state.key, state.epoch, state.evaluations), requests, rng, executor)

    def simulate(
        self, role: Role, facts: Mapping[str, Hashable], output: Outcome | None, rng: Randomness
    ) -> tuple[Message, ...] | None:
        """The matcher's view, perfectly; see `VoprfRound.simulated`."""
        epoch, count = facts["epoch"], facts["query_count"]
        assert isinstance(epoch, int) and isinstance(count, int)
        return (ROUND.simulated(epoch, count, rng),)

    def _check_role(self, role: Role) -> None:
        if role != MATCHER:
            raise DesignError(f"design {self.info.name} has no role {role}")


def find_label(setup: Setup, outputs: Rows, own_hash: bytes | None) -> Label | None:
    """The label that an OPRF output, uint8 (1, 64), opens, if it is one of `own_hash`."""
    label = find(setup.layers, outputs, own_hash)
    return label if label is not None and label.entry_hash == own_hash else None


DESIGN = OprfPsi()
