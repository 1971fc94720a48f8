"""`blindmatch list`: the curator's hash lists and the encrypted sets made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from blindmatch_protocol.codec.randomness import system_randomness
from blindmatch_server.curator import (
    ExportFormat,
    ListFormat,
    Summary,
    diff,
    export,
    import_list,
    inspect,
    list_pictures,
    open_list,
    random_list,
)
from blindmatch_server.curator.formats.text import KIND, VALUE
from blindmatch_server.epochs.published import open_publication
from blindmatch_server.hosting.authority import Identity, Kind
from msgspec.structs import asdict

from blindmatch_simulations.cli.bars import progress_bar
from blindmatch_simulations.cli.commands import Commands, Found, found
from blindmatch_simulations.cli.console import ERR, DeployedDesignOption, say
from blindmatch_simulations.cli.list_build import (
    NameArgument,
    audit,
    build,
    endorse,
    files_of,
    policy,
    propose,
    publish,
    submit,
    withdraw,
)
from blindmatch_simulations.testbed.deployment.curating import list_path, open_named
from blindmatch_simulations.testbed.deployment.folder import Deployment
from blindmatch_simulations.testbed.deployment.registry import design_of, load_design
from blindmatch_simulations.testbed.deployment.sources import prepare_ids

app = Commands(no_args_is_help=True)

ReplaceOption = Annotated[
    bool, typer.Option("--replace", help="Lose the list of this name; no id of it is given again.")
]
WORDS = {
    "not_half": "entries whose ones are not 128",
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
    deployment: Deployment,
    source: Annotated[Path, typer.Argument(help="A file of hashes, one page after another if several.")],
    name: NameArgument,
    list_format: Annotated[
        ListFormat | None, typer.Option("--format", help="Of the file; looked at if not given.")
    ] = None,
    base: Annotated[
        str | None,
        typer.Option("--onto", help="Start from this list, or NAME itself; entries keep their ids."),
    ] = None,
    replace: ReplaceOption = False,
    column: Annotated[
        list[str] | None,
        typer.Option(
            "--column",
            metavar="COLUMN=ITS_NAME",
            help="Of CSV with another header: signal_str=ITS_NAME has the hash, signal_type=ITS_NAME its "
            "type (without one, all are taken).",
        ),
    ] = None,
) -> Found:
    """Import `pdq <hex>` lines, threatexchange CSV, NCMEC XML or StopNCII JSON as the list NAME.

    A list of that name is kept: --onto NAME adds to it, and --replace loses it. Bad records are left out;
    each is named with its place and reason in NAME.list.rejects.jsonl.
    """
    into = _into(deployment, name)
    if replace and base == name:
        raise typer.BadParameter(f"--replace loses the list {name}, and --onto {name} keeps it")
    if base != name:
        _check_free(into, replace, f"--onto {name} to add to it, ")
    onto = open_named(deployment, base) if base else None
    with progress_bar(ERR, f"bytes of {source.name} imported") as progress:
        summary = import_list(
            source.absolute(),
            into,
            system_randomness(),
            list_format=list_format,
            onto=onto,
            replace=replace,
            progress=progress,
            columns=_columns(column or (), list_format),
        )
    return _changed(name, summary)


def _columns(pairs: Sequence[str], list_format: ListFormat | None) -> dict[str, str]:
    if pairs and list_format not in (None, ListFormat.THREATEXCHANGE):
        raise typer.BadParameter(f"--column is of CSV, not of --format {list_format}")
    named = [pair.partition("=") for pair in pairs]
    if not all(ours in (KIND, VALUE) and name for ours, _, name in named):
        raise typer.BadParameter(f"--column: must be {VALUE}=ITS_NAME or {KIND}=ITS_NAME")
    return {ours: name for ours, _, name in named}


@app.command("pictures")
def pictures(
    deployment: Deployment,
    folder: Annotated[Path, typer.Argument(help="A folder of pictures, each of which becomes an entry.")],
    name: NameArgument,
) -> Found:
    """Add the hashes of a folder's pictures to the list NAME, or begin it with them."""
    into = _into(deployment, name)
    onto = open_list(into) if into.exists() else None
    with progress_bar(ERR, "pictures hashed") as progress:
        summary = list_pictures(files_of(folder), into, system_randomness(), onto=onto, progress=progress)
    return _changed(name, summary)


@app.command("random")
def random(
    deployment: Deployment,
    count: Annotated[int, typer.Argument(min=1, help="How many hashes.")],
    name: NameArgument,
    replace: ReplaceOption = False,
) -> Found:
    """Make the list NAME of random hashes with 128 ones each: they match nothing, and fill a set."""
    into = _into(deployment, name)
    _check_free(into, replace)
    return _changed(name, random_list(count, into, system_randomness(), replace))


app.command("build")(build)
for step in (policy, submit, withdraw, propose, endorse, publish, audit):
    app.command(step.__name__)(step)


@app.command("inspect")
def inspect_(deployment: Deployment, name: NameArgument) -> Found:
    """Show figures of the list NAME; no hash is shown."""
    with open_named(deployment, name) as entries:
        figures = asdict(inspect(entries))
    shown = figures | {key: f"{figures[key]:.4f}" for key in ("bit_least", "bit_most")}
    return found(f"list {name}", figures, worded(shown))


@app.command("diff")
def diff_(
    deployment: Deployment,
    first: Annotated[str, typer.Argument(help="A list's name.")],
    second: Annotated[str, typer.Argument(help="Another list's name.")],
) -> Found:
    """Count what leads from one list to another."""
    with open_named(deployment, first) as old, open_named(deployment, second) as new:
        change = diff(old, new)
        result = {"adds": len(change.adds), "removes": len(change.removes), "shared": change.shared}
    result["consistent"] = change.consistent
    return found(f"{first} to {second}", result, worded(result))


@app.command("export")
def export_(
    deployment: Deployment,
    name: NameArgument,
    out: Annotated[Path, typer.Argument(help="The file to write.")],
    export_format: Annotated[ExportFormat, typer.Option("--format", help="Of the file.")] = ExportFormat.PDQ,
) -> Found:
    """Write the hashes of the list NAME to a file, readable by its owner alone."""
    with (
        open_named(deployment, name) as entries,
        progress_bar(ERR, "hashes exported") as progress,
    ):
        written = export(entries, export_format, out.absolute(), progress)
    result = {"list": name, "format": str(export_format), "hashes": written, "file": str(out)}
    return Found(result, (f"{written:,} hashes in {out}",))


@app.command("manifest")
def manifest(
    deployment: Deployment,
    name: NameArgument,
    out: Annotated[Path, typer.Argument(help="The file to write.")],
    design: DeployedDesignOption = None,
    device: Annotated[
        str, typer.Option(help="Whose certificate the checks call with; issued if it has none.")
    ] = "conformance",
) -> None:
    """Write what `conformance --remote` needs to know of the server of the current epoch, built of list NAME.

    The file names entries of the list and the device's key: keep it as you keep the list.
    """
    from blindmatch_simulations.evaluation.conformance.remote.material import manifest_of, write_manifest

    identity = Identity(Kind.DEVICE, device)
    loaded = load_design(design_of(deployment, design))
    publication = open_publication(deployment.published(loaded.info.name))
    folder = deployment.folder_of(identity)
    deployment.enrol(identity, folder, datetime.now(UTC))
    with open_named(deployment, name) as entries:
        made = manifest_of(loaded, publication, entries, folder / identity.slug, out.parent)
    write_manifest(made, out)
    say(f"epoch {made.epoch} of {made.design} in {out}")


def _into(deployment: Deployment, name: str) -> Path:
    path = list_path(deployment, name)
    if not name or Path(name).name != name or name.startswith("."):
        raise typer.BadParameter("a list's name is a plain file name")
    prepare_ids(deployment)
    return path


def _check_free(into: Path, replace: bool, instead: str = "") -> None:
    if into.exists() and not replace:
        raise typer.BadParameter(
            f"there is a list {into.stem}: {instead}another name, or --replace to lose it", param_hint="NAME"
        )


def _changed(name: str, summary: Summary) -> Found:
    shown = asdict(summary)
    shown["rejected"] = {str(reason): count for reason, count in summary.rejected.items()}
    shown["rejects"] = str(summary.rejects) if summary.rejects else None
    return found(f"list {name}", {"list": name} | shown, worded(shown))


def worded(figures: Mapping[str, Any]) -> dict[str, Any]:
    """A summary for people: without what is empty, some keys with a word more; JSON has all of it."""
    return {WORDS.get(key, key): value for key, value in figures.items() if value not in (None, {}, "")}
