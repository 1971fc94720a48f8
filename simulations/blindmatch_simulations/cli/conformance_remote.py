"""`blindmatch conformance DESIGN --remote ...`: a counterpart in another process, in any language."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer
from blindmatch_protocol.contract import AnyDesign, Party, Role

from blindmatch_simulations.cli import exit_codes
from blindmatch_simulations.cli.console import ERR, complain, console_for, say, table, write_json
from blindmatch_simulations.evaluation.conformance.remote.manifest import read_manifest
from blindmatch_simulations.evaluation.conformance.remote.run import NAMES, check_remote
from blindmatch_simulations.evaluation.conformance.run import Report, as_json
from blindmatch_simulations.testbed.deployment import addresses

COLUMNS = ("check", "verdict", "why", "seconds")
NOTHING = "nothing failed"


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
    for name in only:
        if name not in NAMES:
            raise typer.BadParameter(f"--only: no check is called {name!r}; there are {', '.join(NAMES)}")
    called = _addresses(design, remotes)
    report = check_remote(
        design, read_manifest(manifest), called, seed, only, lambda name: ERR.print(f"  {name}", style="dim")
    )
    title = f"Conformance of {', '.join(remotes)} to {report.design}, seed {seed}"
    show_report(title, report, _json(report, called), json_path)
    again = ["blindmatch", "conformance", reference, "--manifest", str(manifest), "--seed", str(report.seed)]
    again += [part for remote in remotes for part in ("--remote", remote)]
    for result in report.failed:
        complain(f"failed: {report.line(result)}")
        say(f"again: {shlex.join([*again, '--only', result.check])}", ERR)
    if report.failed:
        raise typer.Exit(exit_codes.WRONG)


def show_report(title: str, report: Report, result: dict[str, Any], json_path: Path | None) -> None:
    """A report as a table and as JSON."""
    console = console_for(json_path)
    rows = [(r.check, str(r.verdict), r.reason, f"{report.seconds[r.check]:.1f}") for r in report.results]
    console.print(table(title, COLUMNS, rows))
    write_json(result, json_path)
    if not report.failed:
        console.print(NOTHING, style="green")


def _json(report: Report, called: dict[Role, str]) -> dict[str, Any]:
    """The report, whom it is about, and what failures can be looked at with."""
    made = as_json(report)
    made["remote"] = {str(role): address for role, address in called.items()}
    made["evidence"] = {result.check: dict(result.evidence) for result in report.failed}
    return made


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
