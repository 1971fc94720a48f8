"""`blindmatch designs`: what there is to run."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from blindmatch_protocol.contract import AnyDesign

from blindmatch_simulations.cli.commands import Found
from blindmatch_simulations.cli.console import table
from blindmatch_simulations.report.declared import markdown
from blindmatch_simulations.testbed.deployment.registry import (
    Registered,
    all_designs,
    load_design,
    not_installed,
)

COLUMNS = ("design", "option", "match", "who learns", "parties", "source")


def show_designs(
    name: Annotated[str | None, typer.Argument(help="One design alone: a name, or path.py:NAME.")] = None,
    as_markdown: Annotated[
        bool, typer.Option("--markdown", help="Its declaration, messages and who learns what, for a page.")
    ] = False,
) -> Found:
    """List the designs: the option each is, what it matches, who learns the outcome."""
    if as_markdown:
        if name is None:
            raise typer.BadParameter("--markdown is of one design: name it")
        typer.echo(markdown(load_design(name)), nl=False)
        raise typer.Exit
    known = all_designs() if name is None else _one(load_design(name), name)
    made = table("designs", COLUMNS, [_row(one) for one in known.values()], whole=("design", "parties"))
    lines = [f"{one}: {registered.design.info.summary}" for one, registered in known.items()]
    lines += not_installed().values() if name is None else ()
    return Found([_described(registered) for registered in known.values()], (made, *lines))


def _one(design: AnyDesign, reference: str) -> dict[str, Registered]:
    known = all_designs().get(design.info.name)
    source = known.source if known and known.design is design else reference
    return {design.info.name: Registered(design, source)}


def _row(registered: Registered) -> tuple[object, ...]:
    info = registered.design.info
    option = f"{info.option} (nearest)" if info.differs else info.option
    learners = ", ".join(sorted(info.learns))
    parties = ",\n".join(sorted(info.parties)) or "nobody"
    return info.name, option, info.relation.words, learners, parties, registered.source


def _described(registered: Registered) -> dict[str, Any]:
    info = registered.design.info
    return {
        "name": info.name,
        "version": info.version,
        "option": info.option,
        "differs": info.differs,
        "summary": info.summary,
        "matches": info.relation.words,
        "distance": info.relation.distance,
        "learns": sorted(info.learns),
        "roles": {str(role): str(party) for role, party in info.roles.items()},
        "apart": [sorted(roles) for roles in info.apart],
        "sends_content": str(info.sends_content),
        "end_to_end": info.end_to_end,
        "forwarded": {str(role): str(party) for role, party in info.forwarded.items()},
        "parameters": {
            p.name: {"says": p.says, "unit": p.unit, "default": p.default, "least": p.least, "most": p.most}
            for p in info.parameters
        },
        "facts": [
            {
                "parties": sorted(leak.parties),
                "adversary": str(leak.adversary),
                "facts": {fact.name: fact.says for fact in leak.facts},
            }
            for leak in registered.design.leakage()
        ],
        "source": registered.source,
    }
