"""token-psi: the device learns whether its picture is near one on the list, the matcher nothing of it.

    device(hash, coefficients, set-up)                       matcher(key)
        T = tokens: each band's bits, and the likeliest flips of its weak ones; bands * probes of them
        quality < 50: random tokens take their place
        r = random, C = r*H(tag, band, T)
                              ---- Request: epoch, C ---->
                                                             D = k*C, one proof that k is the set-up's key
                              <-- Reply: epoch, D, proof --
        verify the proof; outputs = hash(tag, band, T, D/r); Ready: what follows waits for the hand-over
        store key, mask = derived from each output; value = store[store key] xor mask
        every `needed` values of distinct bands: candidate secret; its address is in the index?
        open the label there with the secret's label key, and the family's next ones
        none opens, or none whose hash is within 31 bits of the device's own: NoMatch
        Match(nearest label)

The proof (RFC 9497, section 2.2) covers all tokens at once: a reply in which some were made with another
key is refused whole. What each party learns stands in docs/designs/token-psi.md.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Final

import numpy as np

from blindmatch_protocol import contract
from blindmatch_protocol.codec import Message
from blindmatch_protocol.contract import (
    Answer,
    Binding,
    Buffers,
    Design,
    EntrySource,
    Info,
    Item,
    KeyLimits,
    Leak,
    Learner,
    Match,
    Near,
    NoMatch,
    NoState,
    Outcome,
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
from blindmatch_protocol.designs.token_psi import files, leakage
from blindmatch_protocol.designs.token_psi.build import TOKEN_BYTES, build, oprf_inputs
from blindmatch_protocol.designs.token_psi.delta import write_update
from blindmatch_protocol.designs.token_psi.files import MatcherState, Setup
from blindmatch_protocol.designs.token_psi.matching import find_label
from blindmatch_protocol.designs.token_psi.messages import Reply, Request
from blindmatch_protocol.designs.token_psi.parameters import DECLARED, Tokening, of_values
from blindmatch_protocol.designs.token_psi.tokens import Tokens, probe_tokens
from blindmatch_protocol.designs.voprf_round import Holder, Verified, VoprfRound
from blindmatch_protocol.errors import DesignError
from blindmatch_protocol.executor import Executor
from blindmatch_protocol.oprf import (
    Blinding,
    Mode,
    blind,
    generate_key_pair,
)
from blindmatch_protocol.picture.pdq import MATCH_DISTANCE
from blindmatch_protocol.randomness import Randomness

MATCHER = Role("matcher")
ROUND = VoprfRound(Request, Reply)
RECALL: Final = 0.989
"""Of PDQ's pairs among held-out edited pictures, default parameters: the lower end of the 95 % interval
(docs/designs/token-psi.md, figures)."""


@dataclass(frozen=True, slots=True, eq=False)
class Waiting:
    """A session whose request is out.

    Attributes:
        blinding: what `finalize` needs.
        own_hash: the picture's hash, or None for a cover request.
    """

    blinding: Blinding = field(repr=False)
    own_hash: bytes | None = field(repr=False)


class TokenPsi(Design[Setup, NoState, Waiting, MatcherState]):
    """The design."""

    info: ClassVar[Info] = Info(
        name=files.DESIGN_NAME,
        version=files.DESIGN_VERSION,
        option="1b",
        summary="A verifiable OPRF of pieces of the hash tells the device, and only it, whether a near "
        "duplicate is listed.",
        relation=Near(MATCH_DISTANCE, recall=RECALL),
        learns=frozenset({Learner.DEVICE}),
        roles={MATCHER: Party.MATCHER},
        parameters=DECLARED,
    )
    requests: ClassVar[Mapping[Role, tuple[type[Message], ...]]] = {MATCHER: (Request,)}
    replies: ClassVar[Mapping[Role, tuple[type[Message], ...]]] = {MATCHER: (Reply,)}

    def leakage(self) -> tuple[Leak, ...]:
        """See `Design.leakage`."""
        return leakage.LEAKAGE

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
        of_values(values)
        key = generate_key_pair(Mode.VOPRF, rng)
        build(entries, key, files.identity(parameters.epoch, values), executor, out, progress)
        return Published((SET_FILE,), {MATCHER: (files.MATCHER_FILE,)})

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

    def expires(self, setup: Setup) -> int | None:
        """See `Design.expires`."""
        return setup.limits.key_expires or None

    def with_executor(self, setup: Setup, executor: Executor) -> Setup:
        """See `Design.with_executor`. Blinding, verification and unblinding are spread."""
        return replace(setup, executor=executor)

    def key_limits(self, role: Role, state: MatcherState) -> KeyLimits:
        """See `Design.key_limits`."""
        self._check_role(role)
        limits, key = state.limits, state.key.public.element
        account, everyone = limits.account_evaluations or None, limits.all_evaluations or None
        return KeyLimits(key, state.tokens, account, everyone, limits.key_expires or None)

    def open_role(self, role: Role, files_: Buffers) -> MatcherState:
        """See `Design.open_role`."""
        self._check_role(role)
        return files.open_matcher(files_)

    def enrol(self, rng: Randomness) -> NoState:
        """An account keeps no state."""
        return NoState()

    def start(
        self, state: NoState, setup: Setup, item: Item, binding: Binding, rng: Randomness
    ) -> Started[NoState, Waiting]:
        """See `Design.start`. Takes 68 bytes of `rng` a token, whatever the item is."""
        t, cover = setup.tokening, cover_tokens(setup.tokening, rng)
        own_hash = item.hash if item.quality >= self.info.relation.minimum_quality else None
        # a poor picture is probed, too, so that the time it takes does not tell
        probes = probe_tokens(item.hash, item.coefficients, t.k, t.bands, t.probes)
        tokens = cover if own_hash is None else probes
        blinding, blinded = blind(oprf_inputs(tokens.T), Mode.VOPRF, rng, setup.executor)
        body = Request(setup.epoch, blinded)
        return Started(state, Send(Waiting(blinding, own_hash), {MATCHER: body}))

    def receive(
        self, session: Waiting, setup: Setup, replies: Mapping[Role, Message], rng: Randomness
    ) -> Step[Waiting]:
        """See `Design.receive`."""
        key = setup.public_key
        outputs = ROUND.outputs(session.blinding, replies[MATCHER], setup.epoch, key, setup.executor)
        return Ready(Verified(outputs, session.own_hash))

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
        return ROUND.answer(Holder(state.key, state.epoch, state.tokens), requests, rng, executor)

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


def cover_tokens(tokening: Tokening, rng: Randomness) -> Tokens:
    """Random tokens, uint32 (bands, probes), from 4 bytes of `rng` each."""
    drawn = np.frombuffer(rng.take(TOKEN_BYTES * tokening.tokens), ">u4").astype(np.uint32)
    return drawn.reshape(tokening.bands, tokening.probes) >> np.uint32(32 - tokening.k)


DESIGN = TokenPsi()
