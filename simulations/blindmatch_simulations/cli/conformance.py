"""`blindmatch conformance`: what a design claims is tested, and what it leaks is measured."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer
from blindmatch_protocol.contract import AnyDesign, SetParameters

from blindmatch_simulations.cli import exit_codes
from blindmatch_simulations.cli.conformance_remote import run_remote
from blindmatch_simulations.cli.console import ERR, JsonOption, console_for, table, write_json
from blindmatch_simulations.conformance.checks import BY_NAME
from blindmatch_simulations.conformance.mutations.table import mutation_score
from blindmatch_simulations.conformance.result import as_json, read_replay, replay_of
from blindmatch_simulations.conformance.run import Options, Report, check_design
from blindmatch_simulations.conformance.vectors.files import write_vectors
from blindmatch_simulations.deployment.registry import built_in_designs, load_design, portable_reference

COLUMNS = ("check", "verdict", "why", "seconds")
NOTHING = "nothing failed"


def run_conformance(
    design: Annotated[str, typer.Argument(help="A design's name, or path.py:NAME.")] = "",
    json_path: JsonOption = None,
    games: Annotated[bool, typer.Option("--games", help="At least 10,000 held-out runs a game.")] = False,
    seed: Annotated[int, typer.Option(min=0, max=1 << 20, help="Decides everything that is random.")] = 1,
    only: Annotated[
        list[str] | None, typer.Option("--only", help="Run this check alone (repeatable).")
    ] = None,
    values: Annotated[list[str] | None, typer.Option("--set", help="A parameter, as NAME=VALUE.")] = None,
    replay: Annotated[Path | None, typer.Option(help="Run the check of this replay file again.")] = None,
    replays: Annotated[Path, typer.Option(help="Where replay files of failures go.")] = Path("replays"),
    vectors: Annotated[
        Path | None, typer.Option("--write-vectors", help="Write the test vectors of all designs here.")
    ] = None,
    remote: Annotated[
        list[str] | None,
        typer.Option(metavar="ROLE=HOST:PORT", help="Check whoever plays this role there (repeatable)."),
    ] = None,
    manifest: Annotated[
        Path | None, typer.Option(help="With --remote: what the counterpart claims (see: list manifest).")
    ] = None,
    mutations: Annotated[
        bool, typer.Option("--mutation-score", hidden=True, help="Check the checks: planted cheats.")
    ] = False,
) -> None:
    """Check a design: correctness, codec, hostile bytes, epochs, files, bounds, and what it leaks.

    Each check says passed, failed or not applicable, and why. Exit code 0 only if none failed. A failure is
    one line with design, step, rule and seed, and a file that --replay runs again.
    """
    if remote or manifest is not None:
        if not (remote and manifest and design):
            raise typer.BadParameter("--remote and --manifest are given together, with a design")
        if games or values or replay or vectors or mutations:
            raise typer.BadParameter("--remote takes no option but --manifest, --only, --seed and --json")
        run_remote(
            load_design(design), portable_reference(design), remote, manifest, seed, only or (), json_path
        )
        return
    options = Options(seed, games, None, _values(values or []), _known(only or []))
    if mutations:
        _score(seed, json_path)
        return
    if vectors is not None:
        designs = [load_design(design)] if design else [one.design for one in built_in_designs()]
        console_for(json_path).print(
            f"{len(write_vectors(designs, vectors))} files in {vectors}", soft_wrap=True
        )
        return
    if replay is not None:
        held = read_replay(replay)
        design, options = held.design, held.options
        _known(options.only)
    if not design:
        raise typer.BadParameter("name a design, such as oprf-psi, or path.py:NAME; see: blindmatch designs")
    loaded = load_design(design)
    _check_values(loaded, options.values)
    report = check_design(loaded, options, lambda name: ERR.print(f"  {name}", style="dim"))
    _show(report, json_path)
    _fail(report, portable_reference(design), options, replays)


def _show(report: Report, json_path: Path | None) -> None:
    console = console_for(json_path)
    rows = [(r.check, str(r.verdict), r.reason, f"{report.seconds[r.check]:.1f}") for r in report.results]
    console.print(table(f"Conformance of {report.design}, seed {report.seed}", COLUMNS, rows))
    write_json(as_json(report), json_path)
    if not report.failed:
        console.print(NOTHING, style="green")


def _fail(report: Report, reference: str, options: Options, folder: Path) -> None:
    """One line and one replay file for each failure, then exit code 1."""
    for result in report.failed:
        ERR.print(
            f"failed: {report.line(result)}", style="red", markup=False, highlight=False, soft_wrap=True
        )
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{report.design}-{result.check.replace(' ', '-')}-{report.seed}.json"
        write_json(replay_of(report, result, reference, options), path)
        again = f"replay: blindmatch conformance --replay {shlex.quote(str(path))}"
        ERR.print(again, markup=False, highlight=False, soft_wrap=True)
    if report.failed:
        raise typer.Exit(exit_codes.WRONG)


def _score(seed: int, json_path: Path | None) -> None:
    """Run all checks on every planted cheat; exit code 1 unless each is caught."""
    results = []
    for caught in mutation_score(seed):
        ERR.print(f"  {caught.cheat.name}: {', '.join(caught.failed) or 'NOT CAUGHT'}", style="dim")
        results.append(caught)
    rows = [(one.cheat.name, "caught" if one.caught else "missed", one.cheat.move.check) for one in results]
    console_for(json_path).print(table("Planted cheats", ("cheat", "verdict", "by"), rows))
    score = sum(one.caught for one in results)
    console_for(json_path).print(f"mutation score: {score} of {len(results)}", soft_wrap=True)
    cheats = [{"cheat": one.cheat.name, "caught": one.caught, "failed": list(one.failed)} for one in results]
    write_json({"mutation_score": score, "of": len(results), "cheats": cheats}, json_path)
    if score < len(results):
        raise typer.Exit(exit_codes.WRONG)


def _values(pairs: Sequence[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not value.isdecimal():
            raise typer.BadParameter(f"--set: {pair!r} is not NAME=VALUE with a whole number")
        found[name] = int(value)
    return found


def _known(names: Sequence[str]) -> Sequence[str]:
    for name in names:
        if name not in BY_NAME:
            raise typer.BadParameter(f"--only: no check is called {name!r}; there are {', '.join(BY_NAME)}")
    return names


def _check_values(design: AnyDesign, values: Mapping[str, int]) -> None:
    """Refuse parameters that the design does not have, or out of range, before any check fails over them.

    Raises:
        DesignError: if there is one.
    """
    for name in values:
        SetParameters(1, values).value(design.info, name)
