"""What an attack runs against: it makes everything itself, from pictures and hashes that it generates.

What an attack needs of a design follows from what it declares, leaks and is built on, never from its name.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterator, Sequence
from typing import Final, TypeVar, cast

import numpy as np
from blindmatch_protocol import contract as bm
from blindmatch_protocol.codec import Message, Rows
from blindmatch_protocol.codec.errors import BlindmatchError
from blindmatch_protocol.codec.randomness import Randomness, seeded
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import AnyDesign, Progress, Role, Verdict, no_progress
from blindmatch_protocol.contract.design import told
from blindmatch_protocol.contract.publishing import Executor
from blindmatch_protocol.designs.enclave.design import Enclave
from blindmatch_protocol.designs.facts import DELTA_SIZES
from blindmatch_protocol.designs.he_hamming.design import HeHamming
from blindmatch_protocol.designs.prefix_bucket.design import PrefixBucket
from blindmatch_protocol.designs.third_party import ThirdParty
from blindmatch_protocol.designs.threshold_psi import ThresholdPsi
from blindmatch_protocol.designs.token_psi import TokenPsi
from blindmatch_protocol.designs.voprf import VoprfDesign
from msgspec import Struct, field
from msgspec.structs import replace

from blindmatch_simulations.evaluation.attacks.adversary import (
    AS_BUILT,
    Adversary,
    Claim,
    Left,
    Means,
    Weakness,
)
from blindmatch_simulations.evaluation.attacks.figure import Figure, Spending
from blindmatch_simulations.measure.phases import each
from blindmatch_simulations.measure.processes import used_cpu_seconds
from blindmatch_simulations.testbed.inprocess.deployed import Build, Deployed, opened, publish, values_of
from blindmatch_simulations.testbed.pictures.pool import HashOnly


class Need(Struct, frozen=True):
    """Something that a design has or has not; `words` end a sentence that begins with "needs"."""

    words: str
    met: Callable[[bm.AnyDesign], bool]


def lacking(needs: Sequence[Need], design: bm.AnyDesign) -> str:
    """Why an attack is not played against a design: its first need that is not met; or nothing."""
    return next((f"needs {one.words}" for one in needs if not one.met(design)), "")


def _built_on(words: str, base: type) -> Need:
    return Need(words, lambda design: isinstance(design, base))


def _evaluated(words: str, *kinds: bm.Evaluation) -> Need:
    return Need(words, lambda design: design.info.evaluation in kinds)


def _held_by(design: bm.AnyDesign) -> tuple[int, int]:
    """How many roles hold a VOPRF key or a share of it, and how many of them are needed."""
    return (len(design.layout.roles), design.layout.needed) if isinstance(design, VoprfDesign) else (0, 0)


def _told(design: bm.AnyDesign, *parties: bm.Party) -> list[bm.Fact]:
    """What parties learn each alone, by default those with roles."""
    each = [frozenset({one}) for one in parties or design.info.roles.values()]
    return [fact for one in each for fact in told(design, one, bm.Adversary.SEMI_HONEST)]


_FLIPPED: Final = [HashOnly(np.packbits(bits).tobytes()) for bits in np.eye(257, 256, dtype=np.uint8)]


def _gives_hash(fact: bm.Fact) -> bool:
    """Does it say another thing of a picture for each bit that its hash differs in, whatever the set-up?"""
    try:
        return len({fact.project(one, None) for one in _FLIPPED}) == len(_FLIPPED)
    except Exception:  # it needs a set-up or the picture
        return False


def _knows_account(design: bm.AnyDesign) -> bool:
    """Is there a role whose bodies come from devices, and to another party than the provider?"""
    return not {*design.info.roles} <= {*design.info.seen_by(bm.Party.PROVIDER)}


A_LIST: Final = Need("a list", lambda one: one.info.relation.distance is not None)
EQUAL: Final = Need("only equal hashes to match", lambda one: isinstance(one.info.relation, bm.Equal))
NEAR: Final = Need("near hashes to match", lambda one: isinstance(one.info.relation, bm.Near))
CATEGORY: Final = Need("a category", lambda one: isinstance(one.info.relation, bm.Category))
ENCRYPTED: Final = Need("end-to-end encryption", lambda one: one.info.end_to_end)
ASKS: Final = Need("devices that ask", lambda one: bool(one.info.roles))
ASKS_NOBODY: Final = Need("devices that ask nobody", lambda one: one.alone and not one.info.roles)
SINGLY: Final = Need("outcomes by picture, without vouchers", lambda one: not one.vouchers)
TOLD: Final = Need("devices that learn outcomes", lambda one: bm.Learner.DEVICE in one.info.learns)
UNSEEN: Final = Need("outcomes that no server learns", lambda one: bm.Learner.SERVER not in one.info.learns)
LATER: Final = Need(
    "devices that look at outcomes later", lambda one: type(one).conclude is not bm.Design.conclude
)
SMALL: Final = Need("requests of at most 960 KiB, as it has many", lambda one: not one.info.large_bodies)
HELD: Final = Need("a list or its key on devices", lambda one: one.info.tie is bm.Tie.KEY or one.alone)
BY_ACCOUNT: Final = Need("a role at another party than the provider, asked by account", _knows_account)
SERVED: Final = Need(
    "a list that other parties than the provider serve",
    lambda one: bm.Party.PROVIDER not in {one.info.setup_host, *one.info.parties},
)
OPRF: Final = _built_on("a VOPRF", VoprfDesign)
ONE_KEY: Final = Need("a VOPRF key at one role", lambda one: _held_by(one) == (1, 1))
HALVES: Final = Need("a VOPRF key in two shares, both needed", lambda one: _held_by(one) == (2, 2))
TOKENS: Final = _built_on("tokens of a VOPRF", TokenPsi)
IN_BUCKETS: Final = _built_on("a set in buckets that are asked for by a prefix", PrefixBucket)
UNDER_BFV: Final = _built_on("distances computed under BFV", HeHamming)
ATTESTED: Final = _built_on("an enclave that shows quotes", Enclave)
SIGNED_LABELS: Final = _built_on("a third party with signed labels", ThirdParty)
LIMITED: Final = Need(
    "a key with limits for an account and for all",
    lambda one: {"account_evaluations", "all_evaluations"} <= {each.name for each in one.info.parameters},
)
DELTAS: Final = Need("sets that deltas update", lambda one: DELTA_SIZES in _told(one, bm.Party.DEVICE))
PART: Final = Need(
    "a role that is told a hash, or a part of one",
    lambda one: any(bm.Shows.HASH in fact.shows for fact in _told(one)),
)
NO_PART: Final = Need("roles that are told no part of a hash", lambda one: not PART.met(one))
WHOLE_HASH: Final = Need("a role that is told whole hashes", lambda one: any(map(_gives_hash, _told(one))))
BLINDED: Final = _evaluated("requests under an OPRF", bm.Evaluation.OPRF)
COVERED: Final = _evaluated("blinded or encrypted requests", bm.Evaluation.OPRF, bm.Evaluation.HOMOMORPHIC)
SEALED: Final = _evaluated("requests under a key that stays", bm.Evaluation.SEALED, bm.Evaluation.HOMOMORPHIC)
OPEN_LABEL: Final = Need(
    "replies with a label in the clear",
    lambda one: any(hasattr(kind, "label") for kinds in one.replies.values() for kind in kinds),
)
SHARED: Final = _built_on("vouchers that open from a threshold of shares on", ThresholdPsi)
CARRIED: Final = Need("requests that are carried in seals which checks open", lambda one: bool(one.inside()))
ANY_ONE: Final = Need("one design, whichever", lambda one: True)
"""Nothing else of a design matters: the attack is played against the first that meets its other needs."""
SAME: Final = "goes by nothing that designs differ in"
"""Why it is not played against the others: what it came to holds for them, too."""


T = TypeVar("T")

OF_A_SEED: Final = 1_000_000
"""Generated pictures of a run, at most: how far the numbers of two seeds are apart."""
_MADE: Final[dict[tuple[Hashable, int], tuple[object, float]]] = {}


class AttackError(BlindmatchError):
    """The scene of an attack is not as it should be, so it says nothing."""


class Arena(Redacted, Struct, frozen=True):
    """One attack's run against one design.

    Attributes:
        thorough: more trials, and the large cases; a test of the attack goes without.
        spending: what the attack spends, counted here and where roles answer.
    """

    design: AnyDesign
    seed: int = 1
    progress: Progress = no_progress
    thorough: bool = True
    spending: Spending = field(default_factory=Spending)

    def each(self, items: Collection[T]) -> Iterator[T]:
        """The items one by one, each a step of the progress."""
        return each(items, self.progress)

    def rng(self, purpose: str) -> Randomness:
        return seeded(f"attack/{self.seed}/{purpose}")

    def hashes(self, count: int, purpose: str) -> Rows:
        """Random hashes, uint8 (count, 32)."""
        drawn = self.rng(f"hashes/{purpose}").take(32 * count)
        return np.frombuffer(drawn, np.uint8).reshape(count, 32)

    def publish(self, entries: Rows, purpose: str, **values: int) -> Build:
        """Epoch 1 of the design with this list; `values` are parameters that the design has."""
        return publish(
            self.design, entries, self.rng(f"publish/{purpose}"), 1, values_of(self.design, values)
        )

    def deployed(self, entries: Rows, purpose: str, **values: int) -> Deployed:
        return self.opened(self.publish(entries, purpose, **values))

    def opened(self, build: Build) -> Deployed:
        """A build, opened, whose roles' answers are counted."""
        plain = opened(build)
        return _Counted(plain.design, plain.setup, plain.states, build, self.spending)

    def reduced(self) -> Arena:
        """The same against the design's fast form, where it has one (`Design.reduced`)."""
        return replace(self, design=self.design.reduced() or self.design)

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """What `make` gives for a key and seed, made once for all designs; each run states what that took."""
        if (key, self.seed) in _MADE:
            made, seconds = _MADE[key, self.seed]
            self.spending.reused_s += seconds
            return cast(T, made)
        before = used_cpu_seconds()
        made = make()
        _MADE[key, self.seed] = made, used_cpu_seconds() - before
        return made


class Attack(Adversary[Callable[[Arena], Figure], Weakness], frozen=True):
    """An adversary whose move is a run against a design.

    Attributes:
        needs: what it needs of a design, in the order in which a lack of it is told.
        exposes: what nobody can rely on any more where it succeeds, in words.
        left: who notices, and what shows it afterwards.
    """

    needs: tuple[Need, ...] = ()
    exposes: str = ""
    left: Left = Left.NOTHING


class Pair(Struct, frozen=True):
    """An attack, a design, and why the one is not played against the other; empty if it is."""

    attack: Attack
    design: AnyDesign
    unplayed: str


DECLARED: Final[list[Attack]] = []
"""By `attack`, in the order in which their modules were imported; `table` has them in an order of its own."""


def attack(
    name: str, means: Means, claim: Claim, *, budget: str, weakness: Weakness = AS_BUILT,
    needs: tuple[Need, ...], exposes: str, left: Left = Left.NOTHING,
) -> Callable[[Callable[[Arena], Figure]], Attack]:  # fmt: skip
    """Makes a function the move of an attack, and declares it; the rest as of `Adversary` and `Attack`."""

    def declare(move: Callable[[Arena], Figure]) -> Attack:
        DECLARED.append(Attack(name, means, claim, budget, move, weakness, needs, exposes, left))
        return DECLARED[-1]

    return declare


class _Counted(Deployed, frozen=True):
    """A build whose roles count what they answer."""

    spending: Spending

    def answer(
        self, role: Role, body: Message, rng: Randomness, executor: Executor | None = None
    ) -> tuple[Message, Verdict | None]:
        self.spending.queries += 1
        return Deployed.answer(self, role, body, rng, executor)
