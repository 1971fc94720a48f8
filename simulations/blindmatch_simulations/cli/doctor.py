"""`blindmatch doctor`: what is wrong with a deployment."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import typer

from blindmatch_simulations.cli import exit_codes
from blindmatch_simulations.cli.console import (
    DeployedDesignOption,
    HomeOption,
    JsonOption,
    console_for,
    table,
    write_json,
)
from blindmatch_simulations.cli.parties import CollusionOption
from blindmatch_simulations.deployment.deployed_design import design_of
from blindmatch_simulations.deployment.doctor import Finding, Status, examine
from blindmatch_simulations.deployment.folder import Deployment, home_from
from blindmatch_simulations.deployment.registry import load_design


def run_doctor(
    home: HomeOption = None,
    design: DeployedDesignOption = None,
    allow_collusion: CollusionOption = False,
    json_path: JsonOption = None,
) -> None:
    """Check a deployment, and say what is wrong and what to do.

    Layout, permissions, certificates, clock, disk, the published epoch byte by byte, and every server: its
    port, its certificate, its health, and whether the matcher serves what is published. Exit code 0 if all is
    well, 4 if something in the folder is wrong, 7 if only a server is.
    """
    deployment = Deployment.open(home_from(home))
    found = list(
        examine(deployment, load_design(design_of(deployment, design)), datetime.now(UTC), allow_collusion)
    )
    console = console_for(json_path)
    console.print(
        table(
            f"doctor: {deployment.home}",
            ("check", "result", "found"),
            [(one.check, one.status, one.what) for one in found],
        )
    )
    for one in found:
        if one.remedy:
            console.print(
                f"{one.status}: {one.check}: {one.what}\n  do: {one.remedy}", markup=False, soft_wrap=True
            )
    write_json(
        [
            {"check": one.check, "status": str(one.status), "what": one.what, "remedy": one.remedy}
            for one in found
        ],
        json_path,
    )
    raise typer.Exit(_code(found))


def _code(found: Sequence[Finding]) -> int:
    statuses = {one.status for one in found}
    if Status.WRONG in statuses:
        return exit_codes.BAD_STATE
    return exit_codes.UNREACHABLE if Status.UNREACHABLE in statuses else exit_codes.OK
