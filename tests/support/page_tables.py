"""Tables of pages that follow from code: modules, layers, designs in short, reasons of rejects, checks,
planted cheats, attacks."""

from __future__ import annotations

import ast
import inspect
import json
import re
import textwrap
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from inspect import Parameter, Signature, cleandoc, isfunction, signature
from os.path import relpath
from pathlib import Path
from types import FunctionType
from typing import Any, Final

from blindmatch_protocol.contract import (
    Answer,
    Design,
    Done,
    Enrolment,
    Extraction,
    Flag,
    Info,
    KeyLimits,
    Learner,
    Match,
    NoMatch,
    Published,
    Ready,
    Send,
    Started,
    Stated,
    Undisclosed,
    Verdict,
    Voucher,
    no_progress,
)
from blindmatch_server.curator.rejects import Reason
from blindmatch_simulations.cli.app import COMMANDS, app_for
from blindmatch_simulations.evaluation.attacks.adversary import Actor
from blindmatch_simulations.evaluation.attacks.run import trace_of
from blindmatch_simulations.evaluation.attacks.table import ATTACKS
from blindmatch_simulations.evaluation.conformance.remote.run import REMOTE_CHECKS
from blindmatch_simulations.evaluation.conformance.run import CHECKS
from blindmatch_simulations.evaluation.conformance.unseen.table import LINES
from blindmatch_simulations.testbed.deployment.registry import all_designs
from planted.mutations.table import CHEATS
from typer.main import get_command

ROOT: Final = Path(__file__).resolve().parents[2]
COUNTERPARTS: Final = json.loads((ROOT / "docs" / "counterparts.json").read_text("utf-8"))
"""The last run of `make counterparts`."""
STANDS_FOR: Final = {
    "S": "set-up",
    "R": "role's state",
    "D": "account's state",
    "X": "session",
    "Step": "Send | Ready | Done",
    "Outcome": "NoMatch | Match | Flag | Voucher | Undisclosed",
}
"""What type variables and aliases of a design's methods stand for."""

RETURNED: Final = (
    *(Published, Stated, Enrolment, Started, Send, Ready, Done, Answer, Verdict, KeyLimits, Extraction),
    *(Match, Flag, Voucher, NoMatch, Undisclosed),
)
ROOMS: Final = ("protocol", "proofs", "client", "server", "simulations")


def modules_of(room: str) -> str:
    """Every package and module at the top of a room's package, with the first sentence of its docstring."""
    return modules_in(ROOT / room / f"blindmatch_{room}")


def modules_in(package: Path) -> str:
    said = {path: first_sentence(path) for path in package.iterdir() if path.name != "__init__.py"}
    rows = [(named(path), words) for path, words in sorted(said.items()) if words]
    return table(("module", "subject"), rows)


def layers_of_simulations() -> str:
    """The layers that import-linter holds, the topmost first, with what each package says of itself."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    (layered,) = (one for one in contracts if one.get("containers") == ["blindmatch_simulations"])
    base = ROOT / "simulations" / "blindmatch_simulations"
    rows = [
        (str(number), f"`{name}/`", first_sentence(base / name))
        for number, layer in enumerate(reversed(layered["layers"]), 1)
        for name in layer.split(" | ")
    ]
    return table(("layer", "package", "subject"), reversed(rows))


def designs_in_short() -> str:
    """A row for each built-in design; of one that is not installed, the row that the page has."""
    here = {name: one.design.info for name, one in all_designs().items() if one.source == "built in"}
    page = (ROOT / "docs" / "explanation" / "designs.md").read_text("utf-8")
    kept = re.findall(
        r"^\| \[`([a-z-]+)`\]\(.*?\) \| (.*?) \| (.*?) \| (.*?) \| (.*?) \|$", page, re.MULTILINE
    )
    rows = {name: cells for name, *cells in kept if (ROOT / f"docs/designs/{name}.md").exists()}
    for name, info in here.items():
        hosts = {party.replace("_", " ") for party in info.roles.values()}
        learns = {one.value for one in info.learns} - {Learner.SERVER} | (
            hosts if Learner.SERVER in info.learns else set()
        )
        parameters = ", ".join(f"`{one.name}`" for one in info.parameters)
        option = f"nearest to {info.option}" if info.differs else info.option
        rows[name] = [option, info.relation.words, ", ".join(sorted(learns)), parameters or "-"]
    ordered = sorted(rows, key=lambda name: (rows[name][0].removeprefix("nearest to "), name))
    shown = [(f"[`{name}`](../designs/{name}.md)", *rows[name]) for name in ordered]
    return table(("design", "option", "match", "who learns", "parameters"), shown)


def methods_of_a_design() -> str:
    """Every method with its parameters and what it gives, those that every design must have first."""
    methods = {name: one for name, one in vars(Design).items() if isfunction(one) and name[0] != "_"}
    needed = [name for name in methods if name in Design.__abstractmethods__]
    groups = {
        "every design": needed,
        "those that need them": [name for name in methods if name not in needed],
    }
    lines = []
    for title, names in groups.items():
        lines += [
            title,
            *(f"  {name}({_taken(methods[name])}) -> {_given(methods[name])}" for name in names),
            "",
        ]
    fields = (signature(one) for one in RETURNED)
    made = [
        f"  {one.__name__}({_bare(of).replace('<factory>', '{}')})"
        for one, of in zip(RETURNED, fields, strict=True)
    ]
    return "\n".join(["```", *lines, "what they give", *made, "```"]) + "\n"


def _taken(method: FunctionType) -> str:
    return _bare(signature(method), first=1)


def _bare(of: Signature, first: int = 0) -> str:
    taken = [one.replace(annotation=Parameter.empty) for one in of.parameters.values()][first:]
    return ", ".join(f"{one.name}=no_progress" if one.default is no_progress else str(one) for one in taken)


def _given(method: FunctionType) -> str:
    text = str(signature(method).return_annotation)
    return re.sub(
        r"\b(Step|Outcome|[SRDX])\b", lambda found: STANDS_FOR[found[0]], re.sub(r"\[[DX](, X)?\]", "", text)
    )


def parts_of_a_design() -> str:
    """Every attribute and method with its docstring, raises included."""
    said = attributes_of(Design)
    for name, one in vars(Design).items():
        if name[0] != "_" and (isfunction(one) or isinstance(one, property)):
            said[name] = one.__doc__ or ""
    return table(("part", "what it is"), [(f"`{name}`", on_one_line(text)) for name, text in said.items()])


def fields_of_info() -> str:
    rows = [(f"`{name}`", on_one_line(text)) for name, text in attributes_of(Info).items()]
    return table(("field of `info`", "what it is"), rows)


def attributes_of(kind: type) -> dict[str, str]:
    """What a class's docstring says of each of its attributes."""
    block = cleandoc(kind.__doc__ or "").partition("Attributes:\n")[2].partition("\n\n")[0]
    return dict(re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", block, re.MULTILINE))


def on_one_line(docstring: str) -> str:
    return " ".join(docstring.split()).replace("``", "`").replace("|", "\\|")


def reasons_of_rejects() -> str:
    return table(("reason", "says"), [(f"`{one.value}`", one.says) for one in Reason])


def attacks() -> str:
    """Every attack: who attacks which sentence of which page, and whether it is declared to succeed."""
    rows = [
        (
            f"`{one.name}`",
            one.means.words(),
            f"{one.claim.words} ([{Path(one.claim.page).stem}]({page_from_reference(one.claim.page)}))",
            "withstood" if one.claimed else "declared to succeed",
            "; ".join(need.words for need in one.needs),
            summary(one.move),
        )
        for one in ATTACKS.values()
    ]
    return table(("attack", "adversary", "sentence", "claim", "needs", "figure"), rows)


def page_from_reference(page: str) -> str:
    """Return the path of a page, as a link of a page in docs/reference has it."""
    return relpath(page, "docs/reference")


def actors() -> str:
    """What each actor's attacks would expose, who notices, and the file that shows it, as declared."""
    said = [(one, trace_of(one)) for one in ATTACKS.values()]
    rows = [
        (
            str(actor),
            trace.exposes,
            f"`{one.name}`: " + ("withstood" if one.claimed else "declared to succeed"),
            trace.notices,
            f"{trace.proof.file}: `{trace.proof.command}`, to {trace.proof.to}" if trace.proof else "none",
        )
        for actor in Actor
        for one, trace in said
        if actor in trace.actors and trace.beyond_e2ee
    ]
    return table(("actor", "exposes", "attack", "noticed by", "file, what verifies it, to whom"), rows)


def checks() -> str:
    """Every check of conformance: what a pass claims, and how it is found out."""
    return table(
        ("check", "a design passes if", "how"), [(one.name, one.says, summary(one.run)) for one in CHECKS]
    )


def checks_of_a_counterpart() -> str:
    return table(
        ("check", "a counterpart passes if"), [(name, summary(run)) for name, run in REMOTE_CHECKS.items()]
    )


def not_seen() -> str:
    rows = [(line.passes, line.why, f"`{line.plant}`", line.rule) for line in LINES]
    return table(("what passes", "why", "cheat", "a suspect falls under the line if"), rows)


def planted_cheats() -> str:
    """The cheats that each check must catch, by name: they are planted as modules happen to be imported."""
    caught: dict[str, list[str]] = {}
    for cheat in CHEATS:
        caught.setdefault(cheat.move.check, []).append(cheat.name)
    rows = [(one.name, "; ".join(sorted(caught[one.name]))) for one in CHECKS if one.name in caught]
    return table(("check", "cheats that it must catch"), rows)


def summary(function: Callable[..., object]) -> str:
    """The first paragraph of a function's docstring, as one line."""
    said = inspect.getdoc(function)
    assert said, function
    return " ".join(said.split("\n\n")[0].split()).replace("|", "\\|")


def named(path: Path) -> str:
    return f"`{path.name}/`" if path.is_dir() else f"`{path.name}`"


def first_sentence(path: Path) -> str:
    """Of a module's or a package's docstring, as one line; empty if there is none."""
    source = path / "__init__.py" if path.is_dir() else path
    if source.suffix != ".py" or not source.is_file():
        return ""
    said = ast.get_docstring(ast.parse(source.read_text("utf-8"))) or ""
    return " ".join(said.split("\n\n")[0].split()).replace("|", "\\|")


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)]) + "\n"


def counterparts() -> str:
    """What each foreign program said in the run that docs/counterparts.json keeps."""
    rows = [
        (row["program"], row["version"] or "-", row["what"], row["verdict"]) for row in COUNTERPARTS["rows"]
    ]
    return table(("program", "version", "compared in", "verdict"), rows)


def said_by_counterparts() -> str:
    """The same, with what was compared, or why it was not."""
    rows = (
        (f"{row['program']} {row['version']}".strip(), f"{row['verdict']}: {row['said']}")
        for row in COUNTERPARTS["rows"]
    )
    wrap = partial(textwrap.fill, width=118, subsequent_indent="  ")
    return "".join(f"{wrap(f'- **{program}** {said}.')}\n" for program, said in rows)


def leaves(name: str) -> Iterator[tuple[str, Any]]:
    """Every command below the command `name`, with its words."""
    for words in ([name], *([["report", "verify"]] if name == "report" else [])):
        root: Any = get_command(app_for(words))
        yield from _below(root.commands[name], name)


def _below(command: Any, words: str) -> Iterator[tuple[str, Any]]:
    for name, one in getattr(command, "commands", {}).items():
        yield from _below(one, f"{words} {name}")
    if not hasattr(command, "commands"):
        yield words, command


def commands_without_json() -> str:
    """The commands that have no option for it."""
    every = (one for name in COMMANDS for one in leaves(name))
    named = (f"`{words}`" for words, one in every if all("--json" not in held.opts for held in one.params))
    why = "for their result is a file, a folder or a server"
    said = f"These commands have no `--json`, {why}: {', '.join(named)}."
    return textwrap.fill(said, 118, break_on_hyphens=False) + "\n"


TABLES: Final[Mapping[str, Callable[[], str]]] = {
    **{f"the modules of {room}: make pages": partial(modules_of, room) for room in ROOMS[:-1]},
    "the layers of simulations: make pages": layers_of_simulations,
    "the layers of jit: make pages": lambda: modules_in(ROOT / "protocol/blindmatch_protocol/group/jit"),
    "the methods of a design: make pages": methods_of_a_design,
    "the parts of a design: make pages": parts_of_a_design,
    "the commands without --json: make pages": commands_without_json,
    "the fields of info: make pages": fields_of_info,
    "the reasons of rejects: make pages": reasons_of_rejects,
    "the designs in short: make pages": designs_in_short,
    "the attacks: make pages": attacks,
    "the actors of attacks: make pages": actors,
    "the checks: make pages": checks,
    "the checks of a counterpart: make pages": checks_of_a_counterpart,
    "what no check sees: make pages": not_seen,
    "the planted cheats: make pages": planted_cheats,
    "the run of make counterparts: make pages": counterparts,
    "what counterparts said: make pages": said_by_counterparts,
}
"""What writes each block, by its name."""
