"""`blindmatch conformance`: what a design claims is tested, here or of a counterpart in another process."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from blindmatch_protocol.contract import AnyDesign, Party, Role, SetParameters
from rich.table import Table
from rich.text import Text

from blindmatch_simulations.cli import exit_codes
from blindmatch_simulations.cli.commands import Found
from blindmatch_simulations.cli.console import (
    ERR,
    SetOption,
    complain,
    say,
    table,
    values_of,
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
from blindmatch_simulations.testbed.inprocess.plugin_bounds import bounded_plugins

COLUMNS = ("check", "verdict", "why", "seconds")
NOTHING = Text("nothing failed", "green")
WORK_U = 18_000_000
"""For the checks of a design that are kept: 15 CPU minutes, where u is 50 microseconds."""


def run_remote(
    design: AnyDesign,
    reference: str,
    remotes: Sequence[str],
    manifest: Path,
    seed: int,
    only: Sequence[str],
) -> Found:
    """Check the counterpart at `remotes` (``ROLE=HOST:PORT``); exit code 1 if a check failed."""
    _check_known(only, NAMES)
    called = _addresses(design, remotes)
    report = check_remote(
        design, read_manifest(manifest), called, seed, only, lambda name: ERR.print(f"  {name}", style="dim")
    )
    title = f"Conformance of {', '.join(remotes)} to {report.design}, seed {seed}"
    again = [reference, "--manifest", str(manifest), "--seed", str(report.seed)]
    again += [part for remote in remotes for part in ("--remote", remote)]
    result = as_json(report, ["blindmatch", "conformance", *again])
    result |= {"remote": {str(role): address for role, address in called.items()}}
    return _found(title, report, result, again)


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


@bounded_plugins()
def run_conformance(
    design: Annotated[str, typer.Argument(help="A design's name, or path.py:NAME.")] = "",
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
) -> Found:
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
        return run_remote(load_design(design), reference, remote, manifest, seed, only or ())
    if keep is not None:
        if only or values or vectors:
            raise typer.BadParameter("--keep takes no option but --games, --seed and --json")
        return _keep(keep, design, seed, games)
    _check_known(only or (), BY_NAME)
    options = Options(seed, games, None, values_of(values), only or ())
    if vectors is not None:
        designs = [load_design(design)] if design else [one.design for one in built_in_designs()]
        written = write_vectors(designs, vectors)
        return Found({"files": sorted(map(str, written))}, (f"{len(written)} files in {vectors}",))
    return _check(design, options)


def _keep(path: Path, design: str, seed: int, games: bool) -> Found:
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
    return Found({"designs": list(every)}, (), exit_codes.OK if good else exit_codes.WRONG)


def _check(reference: str, options: Options) -> Found:
    if not reference:
        raise typer.BadParameter(
            "name a design, such as oprf-psi, or path.py:NAME; see: blindmatch design list"
        )
    loaded = load_design(reference)
    SetParameters(1, options.values).check(loaded.info)  # refused before any check fails over it
    report = check_design(loaded, options, lambda name: ERR.print(f"  {name}", style="dim"))
    title = f"Conformance of {report.design}, seed {report.seed}"
    again = [portable_reference(reference), "--seed", str(report.seed)]
    again += ["--games"] if options.games else []
    again += [part for name, value in options.values.items() for part in ("--set", f"{name}={value}")]
    not_seen = f"not seen by any check: {', '.join(NOT_SEEN)} (docs/reference/conformance.md)"
    command = ["blindmatch", "conformance", *again]
    return _found(title, report, as_json(report, command), again, not_seen)


def _found(title: str, report: Report, result: Any, again: Sequence[str], *lines: str) -> Found:
    """A report, with what failed and the command that checks it again; exit code 1 if anything did."""
    for one in report.failed:
        complain(f"failed: {report.line(one)}")
        for frame in one.evidence.get("trace", "").splitlines():
            say(f"  at {frame}", ERR)
        say(f"again: {shlex.join(['blindmatch', 'conformance', *again, '--only', one.check])}", ERR)
    for one in report.unchecked:
        complain(f"not checked: {one.check}: {one.reason}")
    rows = [(r.check, str(r.verdict), r.reason, f"{report.seconds[r.check]:.1f}") for r in report.results]
    shown: list[Table | Text | str] = [table(title, COLUMNS, rows)]
    shown += [*lines] if report.failed else [NOTHING, *lines]
    return Found(result, shown, exit_codes.WRONG if report.failed or report.unchecked else exit_codes.OK)


def _check_known(only: Sequence[str], names: Collection[str]) -> None:
    if unknown := [name for name in only if name not in names]:
        raise typer.BadParameter(f"--only: no check is called {unknown[0]!r}; there are {', '.join(names)}")
