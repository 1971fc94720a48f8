"""`blindmatch attack`: attacks on the claims of the documents, against what the command itself starts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final

import typer
from blindmatch_protocol.contract import AnyDesign
from blindmatch_protocol.contract import Progress as TakesProgress
from blindmatch_protocol.errors import DesignError
from rich.progress import Progress

from blindmatch_simulations.attacks.arena import Arena
from blindmatch_simulations.attacks.run import Ran, as_json, described, run_attack
from blindmatch_simulations.attacks.table import ATTACKS, Attack, pairs
from blindmatch_simulations.cli import exit_codes
from blindmatch_simulations.cli.console import ERR, JsonOption, bars, console_for, table, write_json
from blindmatch_simulations.deployment.registry import load_design

app = typer.Typer(
    help="Attack the claims of the documents, in this process and on loopback.", no_args_is_help=True
)

ALL: Final = "all"
DEFAULT: Final = ("oprf-psi", "token-psi")
LISTED: Final = ("attack", "claimed", "claim; adversary; budget")
COLUMNS: Final = ("attack", "design", "figure", "succeeded")

DesignsOption = Annotated[
    list[str] | None,
    typer.Option("--design", help="A design to attack (repeatable). [default: oprf-psi, token-psi]"),
]


@app.command("list")
def list_(designs: DesignsOption = None, json_path: JsonOption = None) -> None:
    """List the attacks: what each adversary holds, may spend, and which sentence it attacks."""
    shown = list({attack.name: attack for attack, _ in pairs(_loaded(designs))}.values())
    rows = [(a.name, _word(a), f"{a.claim}\nby a {a.means.words()}; {a.budget}") for a in shown]
    console_for(json_path).print(table("Attacks", LISTED, rows, whole=LISTED[:2]))
    write_json({"attacks": [described(one) for one in shown]}, json_path)


@app.command("run")
def run(
    name: Annotated[str, typer.Argument(help="An attack (see: blindmatch attack list), or all.")] = ALL,
    designs: DesignsOption = None,
    weakened: Annotated[
        bool, typer.Option(hidden=True, help="Plant each attack's weakness: it must succeed.")
    ] = False,
    json_path: JsonOption = None,
) -> None:
    """Run an attack, or all of them.

    Exit code 1 if one succeeded that is claimed to be withstood. Pictures, hashes and servers are made for
    the run; nothing else is attacked.
    """
    if name != ALL and name not in ATTACKS:
        raise typer.BadParameter(f"no attack is called {name!r}; there are {', '.join(ATTACKS)}")
    chosen = [(one, design) for one, design in pairs(_loaded(designs)) if name in (ALL, one.name)]
    if not chosen:
        raise DesignError(f"{name} is not played against {', '.join(designs or DEFAULT)}")
    results = _results(chosen, weakened)
    rows = [(r.attack.name, r.design, r.figure.words(), _verdict(r)) for r in results]
    console_for(json_path).print(
        table("Attacks (their claims: blindmatch attack list)", COLUMNS, rows, whole=COLUMNS[:2])
    )
    write_json(as_json(results, weakened), json_path)
    _judge(results, weakened)


def _results(chosen: Sequence[tuple[Attack, AnyDesign]], weakened: bool) -> list[Ran]:
    results = []
    with bars(ERR) as shown:
        for attack, design in chosen:
            progress = _task(shown, f"{attack.name}, {design.info.name}")
            arena = Arena(design, progress=progress)
            results.append(run_attack(attack, arena, weakened))
    return results


def _task(shown: Progress, what: str) -> TakesProgress:
    task = shown.add_task(what, total=None)
    return lambda done, total: shown.update(task, completed=done, total=total)


def _judge(results: Sequence[Ran], weakened: bool) -> None:
    """One line for each result that is not as it must be, then exit code 1."""
    wrong = [ran for ran in results if (not ran.figure.succeeded if weakened else ran.broken)]
    for ran in wrong:
        words = (
            "did not succeed where its weakness is planted" if weakened else "succeeded, against the claim"
        )
        line = f"{ran.attack.name}, {ran.design}: {words}: {ran.attack.claim}"
        ERR.print(line, style="red", markup=False, highlight=False, soft_wrap=True)
    if wrong:
        raise typer.Exit(exit_codes.WRONG)


def _loaded(references: Sequence[str] | None) -> list[AnyDesign]:
    return [load_design(reference) for reference in references or DEFAULT]


def _word(attack: Attack) -> str:
    return "withstood" if attack.claimed else "not claimed"


def _verdict(ran: Ran) -> str:
    if not ran.figure.succeeded:
        return "no"
    return "yes" if ran.attack.claimed else "yes, as declared"
