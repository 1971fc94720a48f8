"""`make mutation-score`: all checks of conformance on every planted cheat.

make mutation-score ARGS="--seed 2 --json score.json"
"""

from __future__ import annotations

from typing import Annotated

import typer
from blindmatch_simulations.cli import exit_codes
from blindmatch_simulations.cli.commands import Commands, Found
from blindmatch_simulations.cli.console import ERR, table

from planted.mutations.table import mutation_score

app = Commands(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def score(
    seed: Annotated[int, typer.Option(min=0, max=1 << 20, help="Decides everything that is random.")] = 1,
) -> Found:
    """Run all checks on every planted cheat; exit code 1 unless each is caught."""
    results = []
    for caught in mutation_score(seed):
        ERR.print(f"  {caught.cheat.name}: {', '.join(caught.failed) or 'NOT CAUGHT'}", style="dim")
        results.append(caught)
    rows = [(one.cheat.name, "caught" if one.caught else "missed", one.cheat.move.check) for one in results]
    score = sum(one.caught for one in results)
    cheats = [{"cheat": one.cheat.name, "caught": one.caught, "failed": list(one.failed)} for one in results]
    return Found(
        {"mutation_score": score, "of": len(results), "cheats": cheats},
        (
            table("Planted cheats", ("cheat", "verdict", "by"), rows),
            f"mutation score: {score} of {len(results)}",
        ),
        exit_codes.OK if score == len(results) else exit_codes.WRONG,
    )


if __name__ == "__main__":
    app()
