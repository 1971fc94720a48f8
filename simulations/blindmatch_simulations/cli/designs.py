"""`blindmatch designs`: what there is to run."""

from __future__ import annotations

from typing import Any

from blindmatch_simulations.cli.console import JsonOption, console_for, table, write_json
from blindmatch_simulations.deployment.registry import Registered, all_designs

COLUMNS = ("design", "option", "match", "who learns", "talks to", "source")


def show_designs(json_path: JsonOption = None) -> None:
    """List the designs: the option each is, what it matches, who learns the outcome."""
    found = all_designs()
    console = console_for(json_path)
    console.print(table("designs", COLUMNS, [_row(one) for one in found.values()], whole=COLUMNS[:1]))
    for name, registered in found.items():
        console.print(f"{name}: {registered.design.info.summary}", highlight=False, markup=False)
    write_json([_described(registered) for registered in found.values()], json_path)


def _row(registered: Registered) -> tuple[object, ...]:
    info = registered.design.info
    option = f"{info.option} (nearest)" if info.differs else info.option
    learners = ", ".join(sorted(info.learns))
    parties = ", ".join(sorted(info.parties)) or "nobody"
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
