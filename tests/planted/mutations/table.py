"""All planted cheats, and the mutation score: how many of them a run catches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module

from blindmatch_simulations.evaluation.conformance.run import Options, check_design
from msgspec import Struct

from planted.mutations.hooks import CHEATS, Cheat

__all__ = ["CHEATS", "Caught", "Cheat", "mutation_score"]

for _name in (
    "devices",
    "requests",
    "rounds",
    "places",
    "pinned",
    "kinds",
    "labels",
    "roles",
    "proofs",
    "lists",
    "timing",
    "watched",
):
    import_module(f"planted.mutations.{_name}")  # plants its cheats


class Caught(Struct, frozen=True):
    """A cheat, and the checks that failed on it: name to step."""

    cheat: Cheat
    failed: Mapping[str, str]

    @property
    def caught(self) -> bool:
        """Did the check fail that must, where it must?"""
        search = self.cheat.move
        return search.check in self.failed and search.where in self.failed[search.check]


def mutation_score(seed: int) -> Iterator[Caught]:
    for cheat in CHEATS:
        search = cheat.move
        with search.planted():
            report = check_design(
                cheat.weakness(), Options(seed=seed, clocks=search.clocks, device=search.device)
            )
        yield Caught(cheat, {result.check: result.step for result in report.failed})
