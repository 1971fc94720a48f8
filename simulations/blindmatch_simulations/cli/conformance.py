"""`blindmatch conformance`: what a design claims is tested, here or of a counterpart in another process."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from blindmatch_protocol.contract import AnyDesign, Party, Role, SetParameters

from blindmatch_simulations.cli import exit_codes
from blindmatch_simulations.cli.console import (
    ERR,
    JsonOption,
    SetOption,
    complain,
    console_for,
    say,
    table,
    values_of,
    write_json,
)
from blindmatch_simulations.evaluation.assess.keeping import keep_checks, key_of_check
from blindmatch_simulations.evaluation.conformance.fixtures import Fixtures
from blindmatch_simulations.evaluation.conformance.remote.counterpart import read_manifest
from blindmatch_simulations.evaluation.conformance.remote.run import NAMES, check_remote
from blindmatch_simulations.evaluation.conformance.run import (
    BY_NAME,
    CHECKS,
    GAMES,
    NOT_SEEN,
    QUICK,
    Options,
    Report,
    as_json,
    check_design,
)
from blindmatch_simulations.evaluation.conformance.vectors import write_vectors
from blindmatch_simulations.testbed.deployment import addresses
from blindmatch_simulations.testbed.deployment.registry import (
    all_designs,
    built_in_designs,
    load_design,
    portable_reference,
)

COLUMNS = ("check", "verdict", "why", "seconds")
NOTHING = "nothing failed"
WORK_U = 18_000_000
"""For the checks of a design that are kept: 15 CPU minutes, where u is 50 microseconds."""


def run_remote(
    design: AnyDesign,
    reference: str,
    remotes: Sequence[str],
    manifest: Path,
    seed: int,
    only: Sequence[str],
    json_path: Path | None,
) -> None:
    """Check the counterpart at `remotes` (``ROLE=HOST:PORT``); exit code 1 if a check failed."""
    _check_known(only, NAMES)
    called = _addresses(design, remotes)
    report = check_remote(
        design, read_manifest(manifest), called, seed, only, lambda name: ERR.print(f"  {name}", style="dim")
    )
    title = f"Conformance of {', '.join(remotes)} to {report.design}, seed {seed}"
    result = as_json(report) | {"remote": {str(role): address for role, address in called.items()}}
    show_report(title, report, result, json_path)
    again = ["blindmatch", "conformance", reference, "--manifest", str(manifest), "--seed", str(report.seed)]
    again += [part for remote in remotes for part in ("--remote", remote)]
    _fail(report, again)


def show_report(title: str, report: Report, result: dict[str, Any], json_path: Path | None) -> None:
    console = console_for(json_path)
    rows = [(r.check, str(r.verdict), r.reason, f"{report.seconds[r.check]:.1f}") for r in report.results]
    console.print(table(title, COLUMNS, rows))
    write_json(result, json_path)
    if not report.failed:
        console.print(NOTHING, style="green")


def _addresses(design: AnyDesign, remotes: Sequence[str]) -> dict[Role, str]:
    """An address for every role of the design; roles of one party share one."""
    roles = design.info.roles
    found: dict[Role, str] = {}
    held: dict[Party, str] = {}
    for remote in remotes:
        name, equals, address = remote.partition("=")
        role = Role(name)
        if not equals or role not in roles or role in found:
            known = ", ".join(sorted(roles)) or "no role"
            raise typer.BadParameter(f"--remote: {remote!r} must be ROLE=HOST:PORT; the design has {known}")
        party = design.info.asked(role)
        found[role] = addresses.checked(party, address)
        if held.setdefault(party, address) != address:
            raise typer.BadParameter(f"--remote: the {party} must have one address")
    missing = sorted(set(roles) - set(found))
    if missing:
        raise typer.BadParameter(f"--remote: role {missing[0]} has no address")
    return found


OnlyOption = Annotated[list[str] | None, typer.Option("--only", help="Run this check alone (repeatable).")]


def run_conformance(
    design: Annotated[str, typer.Argument(help="A design's name, or path.py:NAME.")] = "",
    json_path: JsonOption = None,
    games: Annotated[bool, typer.Option("--games", help="At least 10,000 held-out runs a game.")] = False,
    seed: Annotated[int, typer.Option(min=0, max=1 << 20, help="Decides everything that is random.")] = 1,
    only: OnlyOption = None,
    values: SetOption = None,
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
    keep: Annotated[
        Path | None, typer.Option("--keep", help="Keep what finishes here, and go on [DESIGN: all].")
    ] = None,
) -> None:
    """Check a design: correctness, codec, hostile bytes, epochs, files, bounds, and what it leaks.

    Each check says passed, failed, not applicable, not comparable or not checked, and why. Exit code 0 only
    if none failed and each that applies came to its end. A failure is one line with design, step, rule and
    seed, and the command that runs the check again; --json has what was seen.
    """
    if remote or manifest is not None:
        if not (remote and manifest and design):
            raise typer.BadParameter("--remote and --manifest are given together, with a design")
        if games or values or vectors:
            raise typer.BadParameter("--remote takes no option but --manifest, --only, --seed and --json")
        reference = portable_reference(design)
        run_remote(load_design(design), reference, remote, manifest, seed, only or (), json_path)
        return
    if keep is not None:
        if only or values or vectors or json_path:
            raise typer.BadParameter("--keep takes a design, --games and --seed alone")
        _keep(keep, design, seed, games)
        return
    _check_known(only or (), BY_NAME)
    options = Options(seed, games, None, values_of(values), only or ())
    if vectors is not None:
        designs = [load_design(design)] if design else [one.design for one in built_in_designs()]
        written = write_vectors(designs, vectors)
        say(f"{len(written)} files in {vectors}", console_for(json_path))
    else:
        _check(design, options, json_path)


def _keep(path: Path, design: str, seed: int, games: bool) -> None:
    own = {name: one.design for name, one in all_designs().items() if one.source == "built in"}
    if design and design not in own:
        raise typer.BadParameter("--keep is for blindmatch's own designs, whose code a key follows from")
    every = {name: Fixtures(own[name], seed, QUICK) for name in ([design] if design else own)}
    for fixtures in every.values():
        key_of_check(fixtures, CHECKS[0], 0)  # of the code that was loaded, if it is edited before its turn
    good = True
    for name, fixtures in every.items():
        fixtures.held_out = GAMES[1] if games and fixtures.whole is None else 0
        say(name, ERR)
        good &= keep_checks(path, fixtures, WORK_U, lambda one: say(f"  {one.check}: {one.verdict}", ERR))
        fixtures.close()
    if not good:
        raise typer.Exit(exit_codes.WRONG)


def _check(reference: str, options: Options, json_path: Path | None) -> None:
    if not reference:
        raise typer.BadParameter(
            "name a design, such as oprf-psi, or path.py:NAME; see: blindmatch design list"
        )
    loaded = load_design(reference)
    SetParameters(1, options.values).check(loaded.info)  # refused before any check fails over it
    report = check_design(loaded, options, lambda name: ERR.print(f"  {name}", style="dim"))
    title = f"Conformance of {report.design}, seed {report.seed}"
    show_report(title, report, as_json(report), json_path)
    say(f"not seen by any check: {', '.join(NOT_SEEN)} (docs/conformance.md)", console_for(json_path))
    again = ["blindmatch", "conformance", portable_reference(reference), "--seed", str(report.seed)]
    again += ["--games"] if options.games else []
    again += [part for name, value in options.values.items() for part in ("--set", f"{name}={value}")]
    _fail(report, again)


def _fail(report: Report, again: Sequence[str]) -> None:
    """Say what failed, and the command that checks it again; exit code 1 if anything did."""
    for result in report.failed:
        complain(f"failed: {report.line(result)}")
        say(f"again: {shlex.join([*again, '--only', result.check])}", ERR)
    for result in report.unchecked:
        complain(f"not checked: {result.check}: {result.reason}")
    if report.failed or report.unchecked:
        raise typer.Exit(exit_codes.WRONG)


def _check_known(only: Sequence[str], names: Collection[str]) -> None:
    if unknown := [name for name in only if name not in names]:
        raise typer.BadParameter(f"--only: no check is called {unknown[0]!r}; there are {', '.join(names)}")
