"""`blindmatch attack`: attacks on the claims of the documents, against what the command itself starts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final

import typer
from blindmatch_protocol.codec.errors import DesignError
from blindmatch_protocol.contract import AnyDesign
from msgspec import to_builtins

from blindmatch_simulations.cli import exit_codes
from blindmatch_simulations.cli.bars import phases
from blindmatch_simulations.cli.commands import Commands, Found
from blindmatch_simulations.cli.console import ERR, complain, table
from blindmatch_simulations.evaluation.attacks.arena import Arena, Attack
from blindmatch_simulations.evaluation.attacks.run import (
    Ran,
    by_actor,
    described,
    not_played,
    results_of,
    run_attack,
)
from blindmatch_simulations.evaluation.attacks.table import ATTACKS, pairs
from blindmatch_simulations.measure.phases import PhaseTimes
from blindmatch_simulations.testbed.deployment.registry import all_designs, load_design

app = Commands(no_args_is_help=True)

ALL: Final = "all"
LISTED: Final = ("attack", "claimed", "claim; adversary; budget")
ACTORS: Final = ("actor", "exposed", "noticed by", "file that shows it", "designs")
COLUMNS: Final = ("attack", "design", "figure", "succeeded", "spent")

DesignsOption = Annotated[
    list[str] | None,
    typer.Option("--design", help="A design to attack (repeatable). [default: all]"),
]


@app.command("list")
def list_(designs: DesignsOption = None) -> Found:
    """List the attacks: what each adversary holds, may spend, which sentence it attacks, and what it needs.

    Those that are not played against any of the designs are left out; --json says why.
    """
    every = pairs(_loaded(designs))
    shown = list({one.attack.name: one.attack for one in every if not one.unplayed}.values())
    word = {True: "withstood", False: "declared to succeed"}
    rows = [(one.name, word[one.claimed], _said(one)) for one in shown]
    made = table("Attacks", LISTED, rows, whole=LISTED[:2])
    unplayed = [to_builtins(not_played(one)) for one in every if one.unplayed]
    return Found({"attacks": [described(one) for one in shown], "not_played": unplayed}, (made,))


@app.command("run")
def run(
    name: Annotated[str, typer.Argument(help="An attack (see: blindmatch attack list), or all.")] = ALL,
    designs: DesignsOption = None,
    weakened: Annotated[
        bool, typer.Option("--weakened", help="Plant each attack's weakness: it must succeed.")
    ] = False,
) -> Found:
    """Run an attack, or all of them.

    Exit code 1 if one succeeded that is claimed to be withstood. Pictures, hashes and servers are made for
    the run; nothing else is attacked. What an attack spends is given in u, too, the CPU time of one
    ristretto255 multiplication by libsodium on this machine.
    """
    if name != ALL and name not in ATTACKS:
        raise typer.BadParameter(f"no attack is called {name!r}; there are {', '.join(ATTACKS)}")
    every = [one for one in pairs(_loaded(designs)) if name in (ALL, one.attack.name)]
    chosen, unplayed = ([one for one in every if bool(one.unplayed) is no] for no in (False, True))
    if not chosen:
        lacks = "; ".join(f"{one.design.info.name}: {one.unplayed}" for one in unplayed)
        raise DesignError(f"{name} is not played against {lacks}")
    results = []
    with phases(ERR) as begin:
        phase = PhaseTimes(begin)
        for one in chosen:
            with phase(f"{one.attack.name}, {one.design.info.name}") as progress:
                results.append(run_attack(one.attack, Arena(one.design, progress=progress), weakened))
    rows = [(r.attack.name, r.design, r.figure.words(), _verdict(r), r.budget.words()) for r in results]
    made = table("Attacks (their claims: blindmatch attack list)", COLUMNS, rows, whole=COLUMNS[:2])
    written = results_of(results, weakened, unplayed)
    title = "By actor: newly exposed over end-to-end encryption without detection (0b)"
    lines = [(*words, ", ".join(designs)) for words, designs in by_actor(written.rows).items()]
    actors = table(title, ACTORS, lines, whole=ACTORS[:1])
    wrong = [ran for ran in results if (not ran.figure.succeeded if weakened else ran.broken)]
    words = "did not succeed where its weakness is planted" if weakened else "succeeded, against the claim"
    for ran in wrong:
        complain(f"{ran.attack.name}, {ran.design}: {words}: {ran.attack.claim}")
    code = exit_codes.WRONG if wrong else exit_codes.OK
    # what a planted weakness lets through, nobody is exposed to
    return Found(written, (made,) if weakened else (made, actors), code)


def _said(attack: Attack) -> str:
    needs = "".join(f"\nneeds {one.words}" for one in attack.needs)
    return f"{attack.claim}\nby a {attack.means.words()}; {attack.budget}{needs}"


def _loaded(references: Sequence[str] | None) -> list[AnyDesign]:
    return [load_design(reference) for reference in references or all_designs()]


def _verdict(ran: Ran) -> str:
    if not ran.figure.succeeded:
        return "no"
    return "yes" if ran.attack.claimed else "yes, as declared"
