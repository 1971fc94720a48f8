"""Attacks that a plug-in file brings: `ATTACKS`, a list of them, or a mapping of their names to them.

They are made by `attack` like those of the catalogue, and are played by what they need, against every design
of the run. What is declared wrong is refused by name before anything is played.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from blindmatch_protocol.contract import AnyDesign

from blindmatch_simulations.evaluation.attacks.adversary import Claim, Conduct, Left, Means
from blindmatch_simulations.evaluation.attacks.arena import Attack
from blindmatch_simulations.evaluation.attacks.needs import Need
from blindmatch_simulations.testbed.deployment.registry import (
    RegistryError,
    check_file,
    is_path,
    module_of,
    path_of,
    reference_of,
)

NAME: Final = "ATTACKS"
MOST: Final = 100
"""Attacks of a file."""
_FORM: Final = re.compile(r"[a-z0-9][a-z0-9.-]{0,63}")
_KINDS: Final[Mapping[str, type]] = {"means": Means, "claim": Claim, "left": Left, "needs": tuple}
_TEXTS: Final = ("budget", "exposes")


def own_attacks(designs: Sequence[AnyDesign], taken: Collection[str]) -> list[Attack]:
    """Return the attacks that the files of designs bring, each file's once.

    Args:
        taken: names of attacks that a file must not use.

    Raises:
        RegistryError: names the file, and what is wrong with its attacks.
    """
    references = filter(is_path, map(reference_of, designs))
    return join_attacks({path_of(one): attacks_in(path_of(one), taken) for one in references})


def join_attacks(by_file: Mapping[Path, Sequence[Attack]]) -> list[Attack]:
    """Put the attacks of files together; `RegistryError` if two files use one name."""
    found: dict[str, Path] = {}
    for path, attacks in by_file.items():
        for one in attacks:
            if one.name in found:
                raise RegistryError(f"two attacks are called {one.name}: of {found[one.name]}, and of {path}")
            found[one.name] = path
    return [one for attacks in by_file.values() for one in attacks]


def attacks_in(path: Path, taken: Collection[str]) -> list[Attack]:
    """Return the attacks of a file; none if it brings none.

    Raises:
        RegistryError: there is no such file, it cannot be loaded, or an attack is not declared as it must be.
    """
    check_file(path)
    held = getattr(module_of(path.resolve()), NAME, ())
    if not isinstance(held, list | tuple | Mapping):
        kind = type(held).__name__
        raise RegistryError(f"{path}: {NAME} must be a list, tuple or mapping of attacks, not {kind}")
    try:  # a plug-in's own kind of list or mapping may raise anything
        named = dict(held) if isinstance(held, Mapping) else None
        brought = list(held) if named is None else list(named.values())
    except Exception as error:
        raise RegistryError(f"{path}: {NAME} cannot be read: {type(error).__name__}") from None
    if len(brought) > MOST:
        raise RegistryError(f"{path}: {NAME} has {len(brought)} attacks, and may have {MOST}")
    names = set(taken)
    for at, one in enumerate(brought):
        for fault in _faults(one):
            raise RegistryError(f"{path}: {NAME}[{at}]: {fault}")
        if one.name in names:
            whose = "blindmatch's own" if one.name in taken else "there twice"
            raise RegistryError(f"{path}: {NAME}[{at}]: {one.name} is {whose}; give it another name")
        names.add(one.name)
    for name, one in (named or {}).items():
        if name != one.name:
            raise RegistryError(f"{path}: {NAME}[{name!r}] is called {one.name!r}: give both one name")
    return brought


def _faults(one: Any) -> Iterator[str]:
    """Yield what is wrong with the declaration of an attack."""
    if not isinstance(one, Attack):
        yield f"must be made by attack(...), and is of type {type(one).__name__}"
        return
    if type(one.name) is not str or not _FORM.fullmatch(one.name):
        yield "name: must be 1 to 64 of a-z 0-9 . -, a letter or digit first"
    for field, kind in _KINDS.items():
        if not isinstance(value := getattr(one, field), kind):
            yield f"{field}: must be of type {kind.__name__}, not {type(value).__name__}"
    for field in _TEXTS:
        if not _is_line(getattr(one, field)):
            yield f"{field}: must be a line of text"
    for field in ("move", "weakness"):
        if not callable(getattr(one, field)):
            yield f"{field}: must be a function"
    yield from _faults_of_parts(one)


def _is_line(words: object) -> bool:
    """Is it a text that a table shows as it is? A subclass may say anything of itself."""
    return type(words) is str and words.isprintable()


def _is_need(need: object) -> bool:
    return isinstance(need, Need) and _is_line(need.words) and callable(need.met)


def _faults_of_parts(one: Attack) -> Iterator[str]:
    """Yield what is wrong within a claim, means and needs, which are of the right types."""
    if not (_is_line(one.claim.words) and _is_line(one.claim.page)):
        yield "claim: words and page must each be a line of text"
    if not all(map(_is_need, one.needs)):
        yield "needs: must each be one of blindmatch_simulations.evaluation.attacks.needs"
    yield from _faults_of_means(one.means)


def _faults_of_means(means: Any) -> Iterator[str]:
    if not isinstance(means.parties, frozenset) or not all(isinstance(one, str) for one in means.parties):
        yield "means: parties must be a frozenset of parties"
    elif not means.parties or not all(map(_is_line, map(str, means.parties))):
        yield "means: parties must name at least one, each by a line of text"
    if not isinstance(means.conduct, Conduct):
        yield "means: conduct must be a Conduct"
    if not _is_line(means.has):
        yield "means: has must be a line of text"
    if not isinstance(means.stolen, bool):
        yield "means: stolen must be True or False"
