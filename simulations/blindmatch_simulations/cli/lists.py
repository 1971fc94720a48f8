"""`blindmatch list`: the curator's hash lists and the encrypted sets made of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from blindmatch_protocol.contract import Progress
from blindmatch_protocol.randomness import system_randomness
from blindmatch_server.authority import Identity, Kind
from blindmatch_server.curator import (
    ExportFormat,
    ListFormat,
    Near,
    Summary,
    diff,
    export,
    import_list,
    inspect,
    list_pictures,
    open_list,
    random_list,
)
from blindmatch_server.curator.signing import VALID_DAYS
from blindmatch_server.published import open_publication
from rich.console import Console

from blindmatch_simulations.cli.console import (
    ERR,
    DeployedDesignOption,
    HomeOption,
    JsonOption,
    console_for,
    details,
    progress_bar,
    write_json,
)
from blindmatch_simulations.deployment.curating import (
    check_key_lasts,
    check_key_lasts_of_current,
    list_path,
    open_named,
    publish,
    update,
)
from blindmatch_simulations.deployment.deployed_design import design_of, note_design
from blindmatch_simulations.deployment.folder import Deployment, home_from
from blindmatch_simulations.deployment.registry import RegistryError, load_design, portable_reference

app = typer.Typer(help="Import hash lists and build encrypted sets of them.", no_args_is_help=True)

NameArgument = Annotated[str, typer.Argument(help="The list's name in this deployment.")]
FamiliesOption = Annotated[
    bool, typer.Option("--families", help="Look for near duplicates (distance <= 31).")
]
ParameterOption = Annotated[
    list[str] | None, typer.Option("--set", help="A design's parameter, NAME=NUMBER; may be given again.")
]

WORDS = {
    "not_half": "entries whose ones are not 128",
    "families_to": "families complete to distance",
    "bit_least": "least share of ones at a bit",
    "bit_most": "greatest share of ones at a bit",
    "ones_least": "fewest ones of an entry",
    "ones_most": "most ones of an entry",
    "records": "live records with an id",
    "rejects": "rejected records are in",
    "adds": "added",
    "removes": "removed",
    "consistent": "ids kept, so that build --from takes it",
}
"""What tables call figures of a list."""


@app.command("import")
def import_(
    source: Annotated[Path, typer.Argument(help="A file of hashes, one page after another if several.")],
    name: NameArgument,
    list_format: Annotated[
        ListFormat | None, typer.Option("--format", help="Of the file; looked at if not given.")
    ] = None,
    base: Annotated[
        str | None,
        typer.Option("--onto", help="Start from this list, or NAME itself; entries keep their ids."),
    ] = None,
    families: FamiliesOption = False,
    home: HomeOption = None,
    json_path: JsonOption = None,
) -> None:
    """Import `pdq <hex>` lines, threatexchange CSV, NCMEC XML or StopNCII JSON as the list NAME.

    Bad records are left out; each is named with its place and reason in NAME.list.rejects.jsonl.
    """
    into = _into(home, name)
    console = console_for(json_path)
    onto = open_named(Deployment.open(home_from(home)), base) if base else None
    with progress_bar(
        console, f"importing {source.name}", "bytes", last=f"sorting {source.name}"
    ) as progress:
        summary = import_list(
            source.absolute(),
            into,
            system_randomness(),
            list_format=list_format,
            onto=onto,
            families=Near() if families else None,
            progress=progress,
        )
    console.print(details(f"list {name}", worded(_summary(summary))))
    write_json({"list": name} | _summary(summary), json_path)


@app.command("pictures")
def pictures(
    folder: Annotated[Path, typer.Argument(help="A folder of pictures, each of which becomes an entry.")],
    name: NameArgument,
    home: HomeOption = None,
    json_path: JsonOption = None,
) -> None:
    """Add the hashes of a folder's pictures to the list NAME, or begin it with them."""
    into = _into(home, name)
    console = console_for(json_path)
    files = sorted(path for path in folder.iterdir() if path.is_file()) if folder.is_dir() else [folder]
    onto = open_list(into) if into.exists() else None
    with progress_bar(console, "hashing pictures", "pictures") as progress:
        summary = list_pictures(files, into, system_randomness(), onto=onto, progress=progress)
    console.print(details(f"list {name}", worded(_summary(summary))))
    write_json({"list": name} | _summary(summary), json_path)


@app.command("random")
def random(
    count: Annotated[int, typer.Argument(min=1, help="How many hashes.")],
    name: NameArgument,
    replace: Annotated[bool, typer.Option("--replace", help="Replace a list of this name.")] = False,
    home: HomeOption = None,
    json_path: JsonOption = None,
) -> None:
    """Make the list NAME of random hashes with 128 ones each: they match nothing, and fill a set."""
    into = _into(home, name)
    if into.exists() and not replace:
        raise typer.BadParameter(
            f"there is a list {name}; another name, or --replace to lose it", param_hint="NAME"
        )
    summary = random_list(count, into, system_randomness())
    console_for(json_path).print(details(f"list {name}", worded(_summary(summary))))
    write_json({"list": name} | _summary(summary), json_path)


@app.command("build")
def build(
    name: NameArgument,
    design: DeployedDesignOption = None,
    previous: Annotated[
        str | None,
        typer.Option("--from", help="The list the current epoch was built from: publish only the change."),
    ] = None,
    epoch: Annotated[int | None, typer.Option(min=1, help="Default: the one after the current.")] = None,
    values: ParameterOption = None,
    valid_days: Annotated[
        int, typer.Option(min=1, max=3650, help="Days until devices stop using the epoch.")
    ] = VALID_DAYS,
    home: HomeOption = None,
    json_path: JsonOption = None,
) -> None:
    """Build the encrypted set of list NAME for a design, sign it and publish it as the next epoch.

    An interrupted build goes on where it stopped. The old epoch is served until the new one is whole. With
    --from, devices fetch a delta as long as the change; the key stays, so rotating it needs a full build.

    The epoch's manifest is signed with the curator's key, and names the one before: a device takes no other,
    and never an older one. After --valid-days devices ask nobody until there is a newer epoch.

    A key ends at the Unix time --set key_expires=SECONDS, for designs that have it. Without it a key never
    ends: nothing makes anybody publish a new one, limits on evaluations count over all that time, and whoever
    gets the key opens every set that was built with it. A time that has passed is refused.
    """
    deployment = Deployment.open(home_from(home))
    console = console_for(json_path)
    reference = design_of(deployment, design)
    loaded = load_design(reference)
    if previous is not None and (epoch is not None or values):
        raise typer.BadParameter("an update is the epoch after the current one and keeps its parameters")
    rng, given, now = system_randomness(), _values(values), datetime.now(UTC)
    with open_named(deployment, name) as entries, _building(console) as progress:
        if previous is None:
            check_key_lasts(given, now)
            publication = publish(deployment, loaded, entries, rng, epoch, given, progress, valid_days)
        else:
            check_key_lasts_of_current(deployment, loaded, now)
            with open_named(deployment, previous) as old:
                publication = update(deployment, loaded, old, entries, rng, progress, valid_days)
    note_design(deployment, portable_reference(reference))
    manifest = publication.manifest
    setup = sum(file.size for file in manifest.files if file.name in manifest.setup)
    result: dict[str, Any] = {
        "design": manifest.design,
        "epoch": manifest.epoch,
        "entries": manifest.entries,
        "manifest": publication.signed.manifest.digest.hex(),
        "valid_until": publication.signed.manifest.valid_until,
        "setup_bytes": setup,
        "setup_bytes_per_entry": round(setup / max(1, manifest.entries), 2),
        "folder": str(publication.folder),
    }
    until = datetime.fromtimestamp(publication.signed.manifest.valid_until, UTC)
    shown = result | {"valid_until": f"{until:%Y-%m-%d %H:%M} UTC"}
    console.print(details("published", shown))
    write_json(result, json_path)


@contextmanager
def _building(console: Console) -> Iterator[Progress]:
    """The bar of a build; says what becomes of one that the user interrupts."""
    try:
        with progress_bar(console, "evaluating", "entries", last="writing the set") as progress:
            yield progress
    except KeyboardInterrupt:
        ERR.print("what is computed stays: the same command goes on from there", style="yellow")
        raise


@app.command("inspect")
def inspect_(name: NameArgument, home: HomeOption = None, json_path: JsonOption = None) -> None:
    """Show figures of the list NAME; no hash is shown."""
    with open_named(Deployment.open(home_from(home)), name) as entries:
        found = asdict(inspect(entries))
    console_for(json_path).print(details(f"list {name}", worded(found)))
    write_json(found, json_path)


@app.command("diff")
def diff_(
    first: Annotated[str, typer.Argument(help="A list's name.")],
    second: Annotated[str, typer.Argument(help="Another list's name.")],
    home: HomeOption = None,
    json_path: JsonOption = None,
) -> None:
    """Count what leads from one list to another."""
    deployment = Deployment.open(home_from(home))
    with open_named(deployment, first) as old, open_named(deployment, second) as new:
        found = diff(old, new)
        result = {"adds": len(found.adds), "removes": len(found.removes), "shared": found.shared}
        result["consistent"] = found.consistent
    console_for(json_path).print(details(f"{first} to {second}", worded(result)))
    write_json(result, json_path)


@app.command("export")
def export_(
    name: NameArgument,
    out: Annotated[Path, typer.Argument(help="The file to write.")],
    export_format: Annotated[ExportFormat, typer.Option("--format", help="Of the file.")] = ExportFormat.PDQ,
    home: HomeOption = None,
    json_path: JsonOption = None,
) -> None:
    """Write the hashes of the list NAME to a file, readable by its owner alone."""
    console = console_for(json_path)
    with (
        open_named(Deployment.open(home_from(home)), name) as entries,
        progress_bar(console, "exporting", "hashes") as progress,
    ):
        written = export(entries, export_format, out.absolute(), progress)
    write_json({"list": name, "format": str(export_format), "hashes": written, "file": str(out)}, json_path)
    console.print(f"{written:,} hashes in {out}", soft_wrap=True)


@app.command("manifest")
def manifest(
    name: NameArgument,
    out: Annotated[Path, typer.Argument(help="The file to write.")],
    design: DeployedDesignOption = None,
    device: Annotated[
        str, typer.Option(help="Whose certificate the checks call with; issued if it has none.")
    ] = "conformance",
    home: HomeOption = None,
) -> None:
    """Write what `conformance --remote` needs to know of the server of the current epoch, built of list NAME.

    The file names entries of the list and the device's key: keep it as you keep the list.
    """
    from blindmatch_simulations.conformance.remote.writing import CallerFiles, manifest_of, write_manifest

    deployment, identity = Deployment.open(home_from(home)), Identity(Kind.DEVICE, device)
    loaded = load_design(design_of(deployment, design))
    publication = open_publication(deployment.published(loaded.info.name))
    folder = deployment.folder_of(identity)
    deployment.enrol(identity, folder, datetime.now(UTC))
    caller = CallerFiles.of(folder, identity.slug)
    with open_named(deployment, name) as entries:
        made = manifest_of(loaded, publication, entries, caller, out.parent)
    write_manifest(made, out)
    console_for(None).print(f"epoch {made.epoch} of {made.design} in {out}", soft_wrap=True)


def _into(home: Path | None, name: str) -> Path:
    path = list_path(Deployment.open(home_from(home)), name)
    if not name or Path(name).name != name or name.startswith("."):
        raise typer.BadParameter("a list's name is a plain file name")
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    return path


def _summary(summary: Summary) -> dict[str, Any]:
    shown = asdict(summary)
    shown["rejected"] = {str(reason): count for reason, count in summary.rejected.items()}
    shown["rejects"] = str(summary.rejects) if summary.rejects else None
    return shown


def worded(found: Mapping[str, Any]) -> dict[str, Any]:
    """A summary for people: without what is empty, some keys with a word more; JSON has all of it."""
    return {WORDS.get(key, key): value for key, value in found.items() if value not in (None, {}, "")}


def _values(options: list[str] | None) -> Mapping[str, int]:
    try:
        return {name: int(value) for name, value in (option.split("=", 1) for option in options or ())}
    except ValueError as error:
        raise RegistryError("a parameter is given as NAME=NUMBER") from error
