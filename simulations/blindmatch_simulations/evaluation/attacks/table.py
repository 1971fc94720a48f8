"""All attacks, as they are declared, and what they are played against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from pkgutil import iter_modules
from typing import Final

from blindmatch_protocol.contract import AnyDesign

from blindmatch_simulations.evaluation import attacks
from blindmatch_simulations.evaluation.attacks.arena import DECLARED, Attack, Pair, failure_of
from blindmatch_simulations.evaluation.attacks.needs import is_one_enough, lacking, played_against
from blindmatch_simulations.evaluation.attacks.own import own_attacks

for _module in iter_modules(attacks.__path__):
    import_module(f"{attacks.__name__}.{_module.name}")
ATTACKS: Final[Mapping[str, Attack]] = {
    one.name: one for one in sorted(DECLARED, key=lambda one: one.move.__module__)
}
"""By name; by module, and there as they are declared."""


def pairs(designs: Sequence[AnyDesign], more: Sequence[Attack] = ()) -> list[Pair]:
    """Return each attack with each design: of the catalogue, of the designs' files, and `more`.

    Raises:
        RegistryError: A design's file declares an attack in another way than it must.
    """
    own = [one for one in own_attacks(designs, ATTACKS) if one not in more]
    return [pair for attack in (*ATTACKS.values(), *own, *more) for pair in _pairs(attack, designs)]


def _pairs(attack: Attack, designs: Sequence[AnyDesign]) -> list[Pair]:
    made = [_pair(attack, design) for design in designs]
    played = [
        one
        for one in made
        if not one.unplayed and not one.failure and is_one_enough(attack.needs, one.design)
    ]
    if not played:
        return made
    why = played_against(played[0].design)
    return [Pair(attack, one.design, why) if one in played[1:] else one for one in made]


def _pair(attack: Attack, design: AnyDesign) -> Pair:
    """Ask a design whether it has what an attack needs; a plug-in may fail at any question."""
    try:
        return Pair(attack, design, lacking(attack.needs, design))
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return Pair(attack, design, "", failure_of(error))
