"""`blindmatch attack`: attacks on the claims of the documents, against what the command itself starts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final

import typer
from blindmatch_protocol.contract import AnyDesign
from blindmatch_protocol.errors import DesignError

from blindmatch_simulations.attacks.arena import Arena, Attack
from blindmatch_simulations.attacks.run import Ran, described, results_of, run_attack
from blindmatch_simulations.attacks.table import ATTACKS, attacked, pairs
from blindmatch_simulations.cli import exit_codes
from blindmatch_simulations.cli.commands import Commands, Found
from blindmatch_simulations.cli.console import ERR, complain, phases, table
from blindmatch_simulations.deployment.registry import load_design
from blindmatch_simulations.measure.phases import PhaseTimes

app = Commands(no_args_is_help=True)

ALL: Final = "all"
LISTED: Final = ("attack", "claimed", "claim; adversary; budget")
COLUMNS: Final = ("attack", "design", "figure", "succeeded", "spent")

DesignsOption = Annotated[
    list[str] | None,
    typer.Option("--design", help="A design to attack (repeatable). [default: all with attacks]"),
]


@app.command("list")
def list_(designs: DesignsOption = None) -> Found:
    """List the attacks: what each adversary holds, may spend, and which sentence it attacks."""
    shown = list({attack.name: attack for attack, _ in pairs(_loaded(designs))}.values())
    word = {True: "withstood", False: "declared to succeed"}
    rows = [(a.name, word[a.claimed], f"{a.claim}\nby a {a.means.words()}; {a.budget}") for a in shown]
    made = table("Attacks", LISTED, rows, whole=LISTED[:2])
    return Found({"attacks": [described(one) for one in shown]}, (made,))


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
    chosen = [(one, design) for one, design in pairs(_loaded(designs)) if name in (ALL, one.name)]
    if not chosen:
        raise DesignError(f"{name} is not played against {', '.join(designs or attacked())}")
    results = _results(chosen, weakened)
    rows = [(r.attack.name, r.design, r.figure.words(), _verdict(r), r.budget.words()) for r in results]
    made = table("Attacks (their claims: blindmatch attack list)", COLUMNS, rows, whole=COLUMNS[:2])
    return Found(results_of(results, weakened), (made,), _judged(results, weakened))


def _results(chosen: Sequence[tuple[Attack, AnyDesign]], weakened: bool) -> list[Ran]:
    results = []
    with phases(ERR) as begin:
        phase = PhaseTimes(begin)
        for attack, design in chosen:
            with phase(f"{attack.name}, {design.info.name}") as progress:
                results.append(run_attack(attack, Arena(design, progress=progress), weakened))
    return results


def _judged(results: Sequence[Ran], weakened: bool) -> int:
    """One line for each result that is not as it must be; exit code 1 if there is one."""
    wrong = [ran for ran in results if (not ran.figure.succeeded if weakened else ran.broken)]
    for ran in wrong:
        words = (
            "did not succeed where its weakness is planted" if weakened else "succeeded, against the claim"
        )
        line = f"{ran.attack.name}, {ran.design}: {words}: {ran.attack.claim}"
        complain(line)
    return exit_codes.WRONG if wrong else exit_codes.OK


def _loaded(references: Sequence[str] | None) -> list[AnyDesign]:
    return [load_design(reference) for reference in references or attacked()]


def _verdict(ran: Ran) -> str:
    if not ran.figure.succeeded:
        return "no"
    return "yes" if ran.attack.claimed else "yes, as declared"
