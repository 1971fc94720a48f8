"""`blindmatch list build`, and the steps of a list that several organisations endorse."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from blindmatch_proofs.endorsement import Action
from blindmatch_proofs.verdict import Failed, Verdict
from blindmatch_protocol.codec.randomness import system_randomness
from blindmatch_protocol.contract import Progress
from blindmatch_server.epochs.published import Publication
from blindmatch_server.epochs.signing import VALID_DAYS

from blindmatch_simulations.cli import exit_codes
from blindmatch_simulations.cli.bars import progress_bar
from blindmatch_simulations.cli.commands import Found, found
from blindmatch_simulations.cli.console import (
    ERR,
    DeployedDesignOption,
    SetOption,
    several,
    values_of,
)
from blindmatch_simulations.testbed.deployment import endorsing
from blindmatch_simulations.testbed.deployment.curating import (
    check_key_lasts,
    check_key_lasts_of_current,
    open_named,
    update,
)
from blindmatch_simulations.testbed.deployment.curating import publish as publish_epoch
from blindmatch_simulations.testbed.deployment.endorsing import audit as audit_of
from blindmatch_simulations.testbed.deployment.folder import Deployment
from blindmatch_simulations.testbed.deployment.registry import (
    design_of,
    load_design,
    note_design,
    portable_reference,
)
from blindmatch_simulations.testbed.deployment.sources import Succession, in_memory, succession
from blindmatch_simulations.testbed.deployment.transparency import (
    NO_POLICY,
    check_not_needed,
    keys_of,
    make_policy,
    read_policy,
)

NameArgument = Annotated[str, typer.Argument(help="The list's name in this deployment.")]
InsteadOption = Annotated[
    str | None,
    typer.Option(
        "--instead-of",
        metavar="LIST",
        help="The list that the current epoch was published from, whose place NAME is to take.",
    ),
]
YesOption = Annotated[
    bool, typer.Option("--yes", help="Do not ask, even if more than half of the entries are removed.")
]
ValidDaysOption = Annotated[
    int, typer.Option(min=1, max=3650, help="Days until devices stop using the epoch.")
]


def build(
    deployment: Deployment,
    name: NameArgument,
    design: DeployedDesignOption = None,
    previous: Annotated[
        str | None,
        typer.Option("--from", help="The list the current epoch was built from: publish only the change."),
    ] = None,
    epoch: Annotated[int | None, typer.Option(min=1, help="Default: the one after the current.")] = None,
    values: SetOption = None,
    valid_days: ValidDaysOption = VALID_DAYS,
    instead_of: InsteadOption = None,
    yes: YesOption = False,
) -> Found:
    """Build the encrypted set of list NAME for a design, sign it and publish it as the next epoch.

    NAME must be the list that the current epoch was published from; --from or --instead-of names that one if
    NAME is another. If more than half of the entries would be removed, it asks first, or wants --yes.

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
    rng = system_randomness()
    given = values_of(values)
    now = datetime.now(UTC)
    # what is approved is what is published, even if an import replaces the list meanwhile
    with open_named(deployment, name) as entries:
        next_up = succession(deployment, loaded.info.name, name, in_memory(entries))
        approve(next_up, previous or instead_of, yes)
        with building() as progress:
            if previous is None:
                check_key_lasts(given, now)
                publication = publish_epoch(
                    deployment, loaded, entries, rng, epoch, given, progress, valid_days
                )
            else:
                check_key_lasts_of_current(deployment, loaded, now)
                with open_named(deployment, previous) as old:
                    publication = update(deployment, loaded, old, entries, rng, progress, valid_days)
    note_design(deployment, portable_reference(reference))
    return published(publication, {"endorsement": NO_POLICY})


def approve(found: Succession, instead_of: str | None, yes: bool) -> None:
    """Go on only if the list is the one that the current epoch was published from, or is named to take its
    place, and if few entries are removed, or somebody wants that."""
    if found.lost and not yes:
        raise typer.BadParameter(
            f"there is a list {found.name} with {several(found.lost, 'entry', 'entries')} that no epoch was "
            "published from: another name, or --yes to lose it",
            param_hint="NAME",
        )
    if not found.epoch:
        return
    if found.source is not None and found.source not in (found.name, instead_of):
        raise typer.BadParameter(
            f"epoch {found.epoch} was published from the list {found.source}, not from {found.name}: name "
            f"{found.source}, or --instead-of {found.source} to publish {found.name} in its place",
            param_hint="NAME",
        )
    if found.removed is None:
        what = (
            f"It is not known which list epoch {found.epoch} was published from, so that {found.name} may "
            f"lack any of its {several(found.entries, 'entry', 'entries')}"
        )
    elif found.removes_most:
        count = several(found.entries, "entry", "entries")
        what = f"{found.name} lacks {found.removed:,} of the {count} of epoch {found.epoch}"
    else:
        return
    if not yes:
        _ask(what)


def _ask(what: str) -> None:
    """Ask on a terminal; without one, or without a yes, nothing is published."""
    refused = typer.BadParameter(f"{what}; nothing is published; --yes publishes without a question")
    if sys.stdin is None or not sys.stdin.isatty():
        raise refused
    try:
        typer.confirm(f"{what}. Publish?", abort=True, err=True)
    except typer.Abort:
        ERR.print()
        raise refused from None


def published(publication: Publication, more: dict[str, Any]) -> Found:
    """A published epoch, and what more is to be said of it."""
    manifest = publication.manifest
    setup = publication.setup_bytes
    result = {
        "design": manifest.design,
        "epoch": manifest.epoch,
        "entries": manifest.entries,
        "manifest": manifest.digest.hex(),
        "valid_until": manifest.valid_until,
        "setup_bytes": setup,
        "setup_bytes_per_entry": round(setup / max(1, manifest.entries), 2),
        "folder": str(publication.folder),
        **more,
    }
    until = datetime.fromtimestamp(manifest.valid_until, UTC)
    return found("published", result, result | {"valid_until": f"{until:%Y-%m-%d %H:%M} UTC"})


def files_of(folder: Path) -> list[Path]:
    """The files in a folder, in order; a file by itself is one."""
    return sorted(path for path in folder.iterdir() if path.is_file()) if folder.is_dir() else [folder]


@contextmanager
def building() -> Iterator[Progress]:
    """The bar of a build; says what becomes of one that the user interrupts."""
    try:
        with progress_bar(ERR, "entries evaluated") as progress:
            yield progress
    except KeyboardInterrupt:
        ERR.print("what is computed stays: the same command goes on from there", style="yellow")
        raise


OrganisationArgument = Annotated[str, typer.Argument(help="An organisation of the policy.")]


def policy(
    deployment: Deployment,
    needed: Annotated[int | None, typer.Argument(min=1, help="How many must endorse an entry.")] = None,
    organisations: Annotated[list[str] | None, typer.Argument(help="Who may.")] = None,
) -> Found:
    """Show or set the policy: how many of which organisations must endorse an entry.

    Organisations without a key here get one. Devices take the policy that holds when they are registered, and
    keep it, and refuse an epoch that was not endorsed under it. Without one the curator's word is enough.
    """
    held = read_policy(deployment) if needed is None else make_policy(deployment, needed, organisations or [])
    if held is None:
        return found("endorsement", {"policy": NO_POLICY}, {"policy": "none: the curator's word is enough"})
    result = {"policy": held.digest.hex(), "needed": held.needed, "to_remove": held.needed_to_remove}
    return found("endorsement", result | {"organisations": keys_of(held)})


def submit(
    deployment: Deployment,
    organisation: OrganisationArgument,
    folder: Annotated[Path, typer.Argument(help="A folder of the organisation's own pictures.")],
    name: NameArgument,
) -> Found:
    """Have an organisation hash its pictures and submit the hashes for list NAME, in place of earlier ones.

    The folder is the whole truth: a picture that is no longer in it is no longer vouched for.
    """
    files = files_of(folder)
    rng = system_randomness()
    with progress_bar(ERR, "pictures hashed") as progress:
        summary = endorsing.submit(deployment, organisation, name, files, rng, progress)
    rejected = {str(reason): count for reason, count in summary.rejected.items()}
    result = {"organisation": organisation, "list": name, "hashes": summary.entries, "rejected": rejected}
    return found("submitted", result)


def withdraw(
    deployment: Deployment,
    organisation: OrganisationArgument,
    entry: Annotated[int, typer.Argument(min=1, help="The entry's id, as reports name it.")],
    name: NameArgument,
) -> Found:
    """Have an organisation no longer vouch for an entry of list NAME, as after a complaint that was upheld.

    It goes with the next epoch once so many do that too few are left. Take the picture from the folder, too:
    the next submit goes by that.
    """
    left = endorsing.withdraw(deployment, organisation, name, entry, system_randomness())
    result = {"organisation": organisation, "list": name, "entry": entry, "hashes": left}
    return found("withdrawn", result)


def propose(
    deployment: Deployment,
    name: NameArgument,
    design: DeployedDesignOption = None,
    epochs: Annotated[
        int, typer.Option(min=1, help="For how many epochs entries are endorsed.")
    ] = endorsing.EPOCHS,
    batch: Annotated[
        int, typer.Option(min=0, help="Entries of a batch at most; 1: a signature of each; 0: no limit.")
    ] = 0,
) -> Found:
    """Propose what the next epoch of list NAME lists and removes, of what organisations submitted.

    Listed is what as many submitted as the policy needs; removed is what too few vouch for any more.
    """
    loaded = load_design(design_of(deployment, design))
    made = endorsing.make_proposal(deployment, loaded, name, system_randomness(), epochs, batch)
    result: dict[str, Any] = {"epoch": made.epoch}
    for name, action in (("lists", Action.LIST), ("removes", Action.REMOVE)):
        result[name] = sum(len(one.entries) for one in made.with_action(action))
    asked = sorted({organisation for one in made.held for organisation in one.asked})
    return found("proposed", result | {"batches": len(made.held), "asked": asked})


def endorse(
    deployment: Deployment,
    organisation: OrganisationArgument,
    name: NameArgument,
    design: DeployedDesignOption = None,
) -> Found:
    """Have an organisation sign the proposed batches in which it knows every hash by a picture of its own.

    Exit code 1 if it was asked to sign what it does not.
    """
    loaded = load_design(design_of(deployment, design))
    made = endorsing.endorse(deployment, loaded, organisation, name)
    signed = sum(any(signature) for signature in made.signatures)
    refused = [f"batch {number}: {reason}" for number, reason in made.refused.items()]
    result = {"organisation": organisation, "signed_batches": signed, "refused": refused}
    return found("endorsed", result, code=exit_codes.WRONG if refused else exit_codes.OK)


def publish(
    deployment: Deployment,
    name: NameArgument,
    design: DeployedDesignOption = None,
    delta: Annotated[
        bool, typer.Option("--delta", help="Publish the change alone, where the design can.")
    ] = False,
    values: SetOption = None,
    valid_days: ValidDaysOption = VALID_DAYS,
    instead_of: InsteadOption = None,
    yes: YesOption = False,
) -> Found:
    """Publish what enough organisations endorsed as the next epoch, and write it as the list NAME.

    NAME must be the list that the current epoch was published from; --instead-of names that one if NAME is
    another. If more than half of the entries would be removed, it asks first, or wants --yes.
    """
    reference = design_of(deployment, design)
    more: dict[str, Any] = {"days": valid_days}
    if delta and values:
        raise typer.BadParameter("a change keeps the parameters of the epoch before")
    if not delta:
        more["values"] = values_of(values)
    more["approve"] = lambda found: approve(found, instead_of, yes)
    with building() as progress:
        publication, settled = endorsing.publish_endorsed(
            deployment, load_design(reference), name, system_randomness(), progress, delta, **more
        )
    note_design(deployment, portable_reference(reference))
    more = {"endorsers": sorted(settled.endorsers), "not_endorsed": settled.missing}
    return published(publication, more)


def audit(
    deployment: Deployment,
    design: DeployedDesignOption = None,
    epoch: Annotated[int | None, typer.Option(min=1, help="Default: the current one.")] = None,
    rebuild: Annotated[
        bool,
        typer.Option("--rebuild", help="Build the set again and compare its bytes: as long as the build."),
    ] = False,
) -> Found:
    """Check that an epoch's set holds what was endorsed, and with --rebuild exactly that.

    Exit code 1 if it does not.
    """
    loaded = load_design(design_of(deployment, design))
    with building() as progress:
        verdicts = audit_of(deployment, loaded, rebuild, epoch, progress)
    return judged("audit", {}, verdicts)


def judged(title: str, about: dict[str, Any], verdicts: Mapping[str, Verdict]) -> Found:
    """Verdicts by name; exit code 1 unless all passed."""
    failed = {name: one.reason for name, one in verdicts.items() if isinstance(one, Failed)}
    result = about | dict.fromkeys(verdicts, "passed") | failed
    shown = result | {name: f"failed: {reason}" for name, reason in failed.items()}
    return found(title, result, shown, code=exit_codes.WRONG if failed else exit_codes.OK)
