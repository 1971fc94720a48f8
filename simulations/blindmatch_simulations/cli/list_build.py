"""`blindmatch list build`: the encrypted set of a list, built, signed and published."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from blindmatch_protocol.codec.randomness import system_randomness
from blindmatch_protocol.contract import Progress
from blindmatch_server.epochs.published import Publication
from blindmatch_server.epochs.signing import VALID_DAYS

from blindmatch_simulations.cli.commands import Found, found, people
from blindmatch_simulations.cli.console import ERR, DeployedDesignOption, SetOption, progress_bar, values_of
from blindmatch_simulations.testbed.deployment.curating import (
    check_key_lasts,
    check_key_lasts_of_current,
    open_named,
    update,
)
from blindmatch_simulations.testbed.deployment.curating import publish as publish_epoch
from blindmatch_simulations.testbed.deployment.deployed_design import design_of, note_design
from blindmatch_simulations.testbed.deployment.endorsement_policy import NO_POLICY, check_not_needed
from blindmatch_simulations.testbed.deployment.folder import Deployment
from blindmatch_simulations.testbed.deployment.registry import load_design, portable_reference

NameArgument = Annotated[str, typer.Argument(help="The list's name in this deployment.")]
PreviousOption = Annotated[
    str | None,
    typer.Option("--from", help="The list the current epoch was built from: publish only the change."),
]
ValidDaysOption = Annotated[
    int, typer.Option(min=1, max=3650, help="Days until devices stop using the epoch.")
]


def build(
    deployment: Deployment,
    name: NameArgument,
    design: DeployedDesignOption = None,
    previous: PreviousOption = None,
    epoch: Annotated[int | None, typer.Option(min=1, help="Default: the one after the current.")] = None,
    values: SetOption = None,
    valid_days: ValidDaysOption = VALID_DAYS,
) -> Found:
    """Build the encrypted set of list NAME for a design, sign it and publish it as the next epoch.

    An interrupted build goes on where it stopped. The old epoch is served until the new one is whole. With
    --from, devices fetch a delta as long as the change; the key stays, so rotating it needs a full build.

    The epoch's manifest is signed with the curator's key, and names the one before: a device takes no other,
    and never an older one. After --valid-days devices ask nobody until there is a newer epoch.

    A key ends at the Unix time --set key_expires=SECONDS, for designs that have it. Without it a key never
    ends: nothing makes anybody publish a new one, limits on evaluations count over all that time, and whoever
    gets the key opens every set that was built with it. A time that has passed is refused.
    """
    check_not_needed(deployment)
    reference = design_of(deployment, design)
    loaded = load_design(reference)
    if previous is not None and (epoch is not None or values):
        raise typer.BadParameter("an update is the epoch after the current one and keeps its parameters")
    rng, given, now = system_randomness(), values_of(values), datetime.now(UTC)
    with open_named(deployment, name) as entries, building() as progress:
        if previous is None:
            check_key_lasts(given, now)
            publication = publish_epoch(deployment, loaded, entries, rng, epoch, given, progress, valid_days)
        else:
            check_key_lasts_of_current(deployment, loaded, now)
            with open_named(deployment, previous) as old:
                publication = update(deployment, loaded, old, entries, rng, progress, valid_days)
    note_design(deployment, portable_reference(reference))
    return published(publication, {"endorsement": NO_POLICY})


def published(publication: Publication, more: dict[str, Any]) -> Found:
    """A published epoch, and what more is to be said of it."""
    result = _described(publication) | more
    until = datetime.fromtimestamp(result["valid_until"], UTC)
    return found("published", result, result | {"valid_until": f"{until:%Y-%m-%d %H:%M} UTC"})


def _described(publication: Publication) -> dict[str, Any]:
    manifest, signed = publication.manifest, publication.signed.manifest
    setup = manifest.setup_bytes
    return {
        "design": manifest.design,
        "epoch": manifest.epoch,
        "entries": manifest.entries,
        "manifest": signed.digest.hex(),
        "valid_until": signed.valid_until,
        "setup_bytes": setup,
        "setup_bytes_per_entry": round(setup / max(1, manifest.entries), 2),
        "folder": str(publication.folder),
    }


def files_of(folder: Path) -> list[Path]:
    """The files in a folder, in order; a file by itself is one."""
    return sorted(path for path in folder.iterdir() if path.is_file()) if folder.is_dir() else [folder]


@contextmanager
def building() -> Iterator[Progress]:
    """The bar of a build; says what becomes of one that the user interrupts."""
    try:
        with progress_bar(people(), "evaluating", "entries", last="writing the set") as progress:
            yield progress
    except KeyboardInterrupt:
        ERR.print("what is computed stays: the same command goes on from there", style="yellow")
        raise
