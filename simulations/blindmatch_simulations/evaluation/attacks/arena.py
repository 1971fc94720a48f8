"""What an attack runs against: it makes everything itself, from pictures and hashes that it generates."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterator
from pathlib import Path
from traceback import extract_tb
from typing import Final, TypeVar, cast

import numpy as np
from blindmatch_protocol.codec import Message, Rows
from blindmatch_protocol.codec.errors import BlindmatchError
from blindmatch_protocol.codec.randomness import Randomness, seeded
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import AnyDesign, Progress, Role, Verdict, no_progress
from blindmatch_protocol.contract.publishing import Executor
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
from blindmatch_simulations.evaluation.attacks.needs import Need
from blindmatch_simulations.measure.phases import each
from blindmatch_simulations.measure.processes import used_cpu_seconds
from blindmatch_simulations.testbed.inprocess.deployed import Build, Deployed, opened, publish, values_of
from blindmatch_simulations.testbed.inprocess.plugin_bounds import error_of

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
    """An attack, a design, and why the one is not played against the other; empty if it is.

    Attributes:
        failure: how the design failed when it was asked what the attack needs; empty if it did not.
    """

    attack: Attack
    design: AnyDesign
    unplayed: str
    failure: str = ""


MOST_LETTERS: Final = 300
"""Of the text of an error that a row quotes."""


def failure_of(error: BaseException) -> str:
    """Return an error's type, its text on one line, and the last line of code that it came through.

    The text may be a plug-in's: it is shortened, and may fail to be made.
    """
    error = error_of(error)
    try:
        words = " ".join("".join(one if one.isprintable() else " " for one in str(error)).split())
    except Exception:
        words = ""
    text = f"{type(error).__name__}: {words[:MOST_LETTERS]}" if words else type(error).__name__
    frames = extract_tb(error.__traceback__)
    if isinstance(error, BlindmatchError) or not frames:
        return text
    return f"{text} ({Path(frames[-1].filename).name}:{frames[-1].lineno})"


CATALOGUE: Final = __name__.rpartition(".")[0] + "."
"""Names of the modules with the attacks of the catalogue begin with it."""
DECLARED: Final[list[Attack]] = []
"""By `attack`, in the order in which their modules were imported; `table` has them in an order of its own."""


def attack(
    name: str, means: Means, claim: Claim, *, budget: str, weakness: Weakness = AS_BUILT,
    needs: tuple[Need, ...], exposes: str, left: Left = Left.NOTHING,
) -> Callable[[Callable[[Arena], Figure]], Attack]:  # fmt: skip
    """Makes a function the move of an attack, and declares it; the rest as of `Adversary` and `Attack`.

    One of another package than this is not in the catalogue: a plug-in's file brings it (`own`).
    """

    def declare(move: Callable[[Arena], Figure]) -> Attack:
        made = Attack(name, means, claim, budget, move, weakness, needs, exposes, left)
        if move.__module__.startswith(CATALOGUE):
            DECLARED.append(made)
        return made

    return declare


class _Counted(Deployed, frozen=True):
    """A build whose roles count what they answer."""

    spending: Spending

    def answer(
        self, role: Role, body: Message, rng: Randomness, executor: Executor | None = None
    ) -> tuple[Message, Verdict | None]:
        self.spending.queries += 1
        return Deployed.answer(self, role, body, rng, executor)
