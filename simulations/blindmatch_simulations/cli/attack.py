"""`blindmatch attack`: attacks on the claims of the documents, against what the command itself starts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import typer
from blindmatch_protocol.codec.errors import DesignError
from blindmatch_protocol.contract import AnyDesign
from blindmatch_server.storage.files import StorageError
from msgspec import Struct, field, to_builtins
from msgspec.structs import replace

from blindmatch_simulations.cli import exit_codes
from blindmatch_simulations.cli.bars import phases
from blindmatch_simulations.cli.commands import Commands, Found
from blindmatch_simulations.cli.console import ERR, complain, table, writable
from blindmatch_simulations.evaluation.attacks.arena import Arena, Attack, Pair
from blindmatch_simulations.evaluation.attacks.keeping import Keeping
from blindmatch_simulations.evaluation.attacks.own import NAME as OWN
from blindmatch_simulations.evaluation.attacks.own import attacks_in
from blindmatch_simulations.evaluation.attacks.run import (
    Failed,
    Ran,
    by_actor,
    described,
    not_played,
    play_all,
    results_of,
    run_attack,
)
from blindmatch_simulations.evaluation.attacks.table import ATTACKS, pairs
from blindmatch_simulations.measure.phases import PhaseTimes
from blindmatch_simulations.measure.results import ResultsError
from blindmatch_simulations.testbed.deployment.registry import (
    all_designs,
    is_path,
    load_design,
    path_of,
    reference_of,
)
from blindmatch_simulations.testbed.inprocess.plugin_bounds import bounded_plugins

app = Commands(no_args_is_help=True)

ALL: Final = "all"
LISTED: Final = ("attack", "claimed", "claim; adversary; budget")
ACTORS: Final = ("actor", "exposed", "noticed by", "file that shows it", "designs")
COLUMNS: Final = ("attack", "design", "figure", "succeeded", "spent")
BROKEN_OFF: Final = "the run was broken off before this came to an end"

DesignsOption = Annotated[
    list[str] | None,
    typer.Option("--design", help="A design to attack (repeatable). [default: all]"),
]


def _kept(path: Path | None) -> Path | None:
    """Refuse a file that could not be kept, before any work is done."""
    if path is not None and (str(path) == "-" or (path.exists() and not path.is_file())):
        raise typer.BadParameter(f"{path}: must be a regular file, or one that is not there yet")
    return writable(path)


@app.command("list")
@bounded_plugins()
def list_(designs: DesignsOption = None) -> Found:
    """List the attacks: what each adversary holds, may spend, which sentence it attacks, and what it needs.

    Those that are not played against any of the designs are left out; --json says why.
    """
    every = pairs(_loaded(designs))
    without = [one for one in every if one.unplayed or one.failure]
    shown = list({one.attack.name: one.attack for one in every if one not in without}.values())
    word = {True: "withstood", False: "declared to succeed"}
    rows = [(one.name, word[one.claimed], _said(one)) for one in shown]
    made = table("Attacks", LISTED, rows, whole=LISTED[:2])
    unplayed = [to_builtins(not_played(one)) for one in without]
    return Found({"attacks": [described(one) for one in shown], "not_played": unplayed}, (made,))


@app.command("run")
@bounded_plugins()
def run(
    name: Annotated[
        str,
        typer.Argument(help="An attack (see: blindmatch attack list), all, or path.py:NAME of a plug-in."),
    ] = ALL,
    designs: DesignsOption = None,
    weakened: Annotated[
        bool, typer.Option("--weakened", help="Plant each attack's weakness: it must succeed.")
    ] = False,
    keep: Annotated[
        Path | None,
        typer.Option("--keep", help="Keep what finishes here, and go on from there.", callback=_kept),
    ] = None,
) -> Found:
    """Run an attack, or all of them.

    Exit code 1 if one succeeded that is claimed to be withstood, or if one failed: that is a row, and the
    others go on. Pictures, hashes and servers are made for
    the run; nothing else is attacked. What an attack spends is given in u, too, the CPU time of one
    ristretto255 multiplication by libsodium on this machine.
    """
    more = attacks_in(path_of(name), ATTACKS) if is_path(name) else []
    attacked = pairs(_loaded(designs), more)
    known = list(dict.fromkeys(one.attack.name for one in attacked)) or [*ATTACKS]
    names = _named(name, known, more)
    every = [one for one in attacked if one.attack.name in names]
    if all(one.unplayed for one in every):
        lacks = "; ".join(f"{one.design.info.name}: {one.unplayed}" for one in every)
        raise DesignError(f"{name} is not played against {lacks}")
    came = _play(every, weakened, None if keep is None else Keeping(keep, weakened))
    results = came.rans
    rows = [(r.attack.name, r.design, r.figure.words(), _verdict(r), r.budget.words()) for r in results]
    rows += [(one.attack.name, one.design, "none", "failed", one.why) for one in came.failed]
    caption = "Attacks (their claims: blindmatch attack list); brackets: 99 % intervals, all cases together"
    made = table(caption, COLUMNS, rows, whole=COLUMNS[:2])
    written = results_of(results, weakened, came.unplayed, came.failed)
    title = "By actor: newly exposed over end-to-end encryption without detection (0b)"
    lines = [(*words, ", ".join(designs)) for words, designs in by_actor(written.rows).items()]
    actors = table(title, ACTORS, lines, whole=ACTORS[:1])
    wrong = [ran for ran in results if (not ran.figure.succeeded if weakened else ran.broken)]
    words = "did not succeed where its weakness is planted" if weakened else "succeeded, against the claim"
    for ran in wrong:
        complain(f"{ran.attack.name}, {ran.design}: {words}: {ran.attack.claim}")
    code = exit_codes.WRONG if wrong or came.failed else exit_codes.OK
    # what a planted weakness lets through, nobody is exposed to
    return Found(written, (made,) if weakened else (made, actors), code, came.broken_off)


def _named(name: str, known: Sequence[str], more: Sequence[Attack]) -> Sequence[str]:
    """Return the names of the attacks to play: all, one, or those of a file, ``path.py:ATTACKS``, or one."""
    if name == ALL:
        return known
    if is_path(name):
        of_file = [one.name for one in more]
        wanted = name.rpartition(":")[2]
        if wanted == OWN and of_file:
            return of_file
        if wanted not in of_file:
            brings = ", ".join(of_file) or "none"
            raise typer.BadParameter(f"{path_of(name)} brings no attack {wanted!r}; its {OWN}: {brings}")
        return [wanted]
    if name not in known:
        raise typer.BadParameter(f"no attack is called {name!r}; there are {', '.join(known)}")
    return [name]


class Came(Struct):
    """What the pairs of a run came to; `broken_off` ended it early: an interrupt, or a file that cannot be
    kept."""

    rans: list[Ran] = field(default_factory=list)
    failed: list[Failed] = field(default_factory=list)
    unplayed: list[Pair] = field(default_factory=list)
    broken_off: KeyboardInterrupt | StorageError | ResultsError | None = None


def _play(every: Sequence[Pair], weakened: bool, keeping: Keeping | None) -> Came:
    """Play pairs, and keep each that finishes; after an interrupt the rest is not played."""
    came = Came()
    with phases(ERR) as begin:
        phase = PhaseTimes(begin)

        def play(pair: Pair) -> Ran:
            with phase(f"{pair.attack.name}, {pair.design.info.name}") as progress:
                try:
                    return run_attack(pair.attack, Arena(pair.design, progress=progress), weakened)
                except BaseException:
                    progress(1, 1)  # the bar of what failed does not go on
                    raise

        def found_or_played(pair: Pair) -> Ran:
            if keeping is not None and (found := keeping.find(pair)) is not None:
                return found
            return play(pair)

        try:
            for pair, made in play_all(every, found_or_played, came.unplayed):
                if isinstance(made, Failed):
                    complain(f"{made.attack.name}, {made.design}: failed: {made.why}")
                    came.failed.append(made)
                    continue
                came.rans.append(made)
                if keeping is not None and keeping.find(pair) is None:
                    keeping.keep(pair, made)
        except (KeyboardInterrupt, StorageError, ResultsError) as error:
            came.broken_off = error
    if came.broken_off is not None:
        reached = {(one.attack.name, one.design) for one in came.rans}
        reached |= {(one.attack.name, one.design) for one in came.failed}
        reached |= {(one.attack.name, one.design.info.name) for one in came.unplayed}
        rest = [one for one in every if (one.attack.name, one.design.info.name) not in reached]
        came.unplayed += [replace(one, unplayed=one.unplayed or BROKEN_OFF) for one in rest]
    return came


def _said(attack: Attack) -> str:
    needs = "".join(f"\nneeds {one.words}" for one in attack.needs)
    return f"{attack.claim}\nby a {attack.means.words()}; {attack.budget}{needs}"


def _loaded(references: Sequence[str] | None) -> list[AnyDesign]:
    found: dict[str, AnyDesign] = {}
    for reference in references or all_designs():
        design = load_design(reference)
        if found.setdefault(design.info.name, design) is not design:
            raise DesignError(
                f"two designs are called {design.info.name}: {reference_of(found[design.info.name])} and "
                f"{reference}; attack them one at a time"
            )
    return list(found.values())


def _verdict(ran: Ran) -> str:
    if not ran.figure.succeeded:
        return "no"
    return "yes" if ran.attack.claimed else "yes, as declared"
