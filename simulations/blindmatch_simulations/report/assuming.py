"""The register of assumptions, and the foot of the page."""

from __future__ import annotations

from blindmatch_simulations.assess.results import Results
from blindmatch_simulations.report import outside
from blindmatch_simulations.report.markup import mark, number, paragraph, section, table, text


def assumptions_view() -> str:
    """What must hold, and what breaks if it does not."""
    rows = [
        (text(a["holds"]), text(a["concerns"]), text(a["breaks"]), text(a["covered"]))
        for a in outside.assumptions()
    ]
    words = "What every figure above rests on. If one of these is false, the third column is what happens."
    head = ("assumption", "concerns", "what breaks if it is false", "how far it is covered here")
    return section("assumptions", "Assumptions", paragraph(words), table("Assumptions register", head, rows))


def sources_view() -> str:
    """Every outside figure with its source and mark."""
    words = (
        "Verified: read at its source. Secondary: read where somebody quotes it. Recalled: from memory, may "
        "be wrong. "
        "Assumption: ours, without a source."
    )
    rows = [
        (
            text(outside.title(ident)),
            text(_value(row)),
            text(row["unit"]),
            text(row["source"]),
            mark(row["provenance"]),
        )
        for ident, row in outside.volumes().items()
    ]
    head = ("figure", "value", "unit", "source", "provenance")
    return section("sources", "Figures from outside", paragraph(words), table("Outside figures", head, rows))


def footer(results: Results) -> str:
    """Seed, versions, machine, command."""
    machine = results.machine
    packages = ", ".join(f"{name} {version}" for name, version in machine.packages.items())
    lines = (
        ("command", results.command),
        ("workload", f"{results.workload}, seed {results.seed}; workload.toml beside this page"),
        ("made", results.made_at),
        (
            "machine",
            (
                f"{machine.processor}, {machine.cores} cores, {machine.memory_mib} MiB, {machine.system}, "
                f"{machine.python}"
            ),
        ),
        ("packages", packages),
        (
            "results",
            f"results.json, format {results.format} version {results.version}, digest {results.digest}",
        ),
    )
    body = "".join(f"<dt>{text(name)}</dt><dd>{text(value)}</dd>" for name, value in lines)
    return f"<footer><h2>How to get this again</h2><dl>{body}</dl></footer>"


def _value(row: dict[str, object]) -> str:
    if "value" in row:
        return _plain(row["value"])
    if "low" in row:
        return f"{_plain(row['low'])} to {_plain(row['high'])}"
    values = row["values"]
    assert isinstance(values, dict)
    return "; ".join(f"{key.replace('_', ' ')}: {_plain(value)}" for key, value in values.items())


def _plain(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(_plain, value))
    return number(value) if isinstance(value, int | float) else str(value)
