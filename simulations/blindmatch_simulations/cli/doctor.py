"""`blindmatch doctor`: what is wrong with a deployment."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from msgspec.structs import asdict

from blindmatch_simulations.cli import exit_codes
from blindmatch_simulations.cli.commands import Found
from blindmatch_simulations.cli.console import DeployedDesignOption, table
from blindmatch_simulations.cli.parties import CollusionOption
from blindmatch_simulations.testbed.deployment.deployed_design import design_of
from blindmatch_simulations.testbed.deployment.doctor import Finding, Status, examine
from blindmatch_simulations.testbed.deployment.folder import Deployment
from blindmatch_simulations.testbed.deployment.registry import load_design


def run_doctor(
    deployment: Deployment,
    design: DeployedDesignOption = None,
    allow_collusion: CollusionOption = False,
) -> Found:
    """Check a deployment, and say what is wrong and what to do.

    Layout, permissions, certificates, clock, disk, the published epoch byte by byte, and every server: its
    port, its certificate, its health, and whether the matcher serves what is published. Exit code 0 if all is
    well, 4 if something in the folder is wrong, 7 if only a server is.
    """
    loaded = load_design(design_of(deployment, design))
    findings = list(examine(deployment, loaded, datetime.now(UTC), allow_collusion))
    rows = [(one.check, one.status, one.what) for one in findings]
    made = table(f"doctor: {deployment.home}", ("check", "result", "found"), rows)
    todo = [f"{one.status}: {one.check}: {one.what}\n  do: {one.remedy}" for one in findings if one.remedy]
    return Found([asdict(one) for one in findings], (made, *todo), _code(findings))


def _code(findings: Sequence[Finding]) -> int:
    statuses = {one.status for one in findings}
    if Status.WRONG in statuses:
        return exit_codes.BAD_STATE
    return exit_codes.UNREACHABLE if Status.UNREACHABLE in statuses else exit_codes.OK
