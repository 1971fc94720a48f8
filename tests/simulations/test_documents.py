"""What the pages say is there: links, files, and command lines that the command takes."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from blindmatch_client import settings as facts
from blindmatch_protocol.codec.randomness import seeded
from blindmatch_protocol.contract import AnyDesign
from blindmatch_simulations.cli.app import COMMANDS, app_for
from blindmatch_simulations.evaluation.conformance import draws, proofs, repetition
from blindmatch_simulations.evaluation.conformance.epochs import altered_copies
from blindmatch_simulations.evaluation.conformance.fixtures import BEYOND, CONTRASTS, CROWD, LARGE, SHAPES
from blindmatch_simulations.evaluation.conformance.leakage.timing import GROSS
from blindmatch_simulations.evaluation.conformance.remote.counterpart import MOST_HASHES
from blindmatch_simulations.evaluation.conformance.run import GAMES
from blindmatch_simulations.testbed.deployment.registry import all_designs
from dummy_designs import BRIGHT, CARRIED, MASKED, SHARES, VOUCHERS
from planted.mutations.table import CHEATS
from support import page_tables, set_tables, wire_tables
from support.command import in_process
from support.declared import markdown
from support.documents import FENCE, PAGES, ROOT, anchors, named
from support.pages import blocks, every_design, written_again
from typer.main import get_command

ROOMS = "client|server|protocol|proofs|simulations|tests|docs|examples"


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", page.read_text())):
        path, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", link):
            continue
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or target.suffix != ".md" or anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_file_that_is_named_is_there(page: Path) -> None:
    for path in re.findall(rf"`((?:{ROOMS})/[\w./-]+)`", FENCE.sub("", page.read_text())):
        assert (ROOT / path).exists() or re.search(r"[A-Z]{4}", path), path


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_no_line_outside_tables_is_longer_than_140(page: Path) -> None:
    lines = page.read_text().splitlines()
    assert [line for line in lines if len(line) > 140 and not line.lstrip().startswith("|")] == []


def command_lines(page: Path) -> Iterator[list[str]]:
    """The arguments of every `blindmatch` command line that is written out, in blocks and in sentences."""
    text = page.read_text()
    blocks = [line for block in FENCE.findall(text) for line in block.splitlines()]
    sentences = re.findall(r"`([^`\n]+)`", FENCE.sub("", text))
    for line in (*blocks, *sentences):
        words = re.sub(r"\s+#.*|(?<=\S)\s{3,}.*|\.$", "", line.strip())
        if re.match(r"(\.venv/bin/)?blindmatch [a-z]", words) and not re.search(r"[\[|]|\.\.\.", line):
            yield shlex.split(words.replace("SECONDS", "5"))[1:]


@pytest.mark.parametrize("page", [page for page in PAGES if any(command_lines(page))], ids=named)
def test_every_command_line_is_one_the_command_takes(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for words in command_lines(page):
        assert words[0] in COMMANDS, words
        command: Any = get_command(app_for(words))
        rest = words
        while rest and rest[0] in getattr(command, "commands", {}):
            command = command.commands[rest[0]]
            rest = rest[1:]
        assert not rest or rest == ["--help"] or not hasattr(command, "commands"), words
        if rest and rest != ["--help"]:
            command.make_context(words[0], list(rest))


def test_the_reflection_client_of_the_wire_page_runs(served: Path, tmp_path: Path) -> None:
    wire = (ROOT / "docs" / "reference" / "wire.md").read_text("utf-8")
    block = re.search(r"```python\n(.*?)```", wire, re.DOTALL)
    assert block is not None
    (tmp_path / "reflect.py").write_text(block[1])
    assert in_process(served, "certs", "issue", "operator", "--name", "olga").code == 0
    command = [sys.executable, str(tmp_path / "reflect.py"), str(served), "olga"]
    said = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=240, check=True).stdout
    assert "blindmatch.v1.Matching" in said
    assert 'design: "oprf-psi"' in said


def test_the_figures_of_the_conformance_page_are_those_of_the_checks() -> None:
    pages = ("reference/conformance.md", "how-to/counterpart.md")
    page = " ".join(" ".join((ROOT / "docs" / name).read_text("utf-8") for name in pages).split())
    raw = bytes(4096)
    others = CROWD + len(SHAPES) + len(CONTRASTS) + len(BEYOND)
    of_sets, of_updates = (len(list(altered_copies(raw, seeded("copies"), *n))) for n in ((), (16, 16)))
    for words in (
        f"all checks on {len(CHEATS)} planted cheats",
        f"each of {of_sets} truncated or altered copies",
        f"of {of_updates} truncated or altered copies of each file",
        f"the same {repetition.TIMES:,} times with the same tape, `answer` {repetition.ANSWERED} times",
        f"after {repetition.GROWING} more pictures",
        f"({draws.TRIED} places are altered",
        f"of {draws.SESSIONS:,} sessions, {draws.SETS} sets and {draws.SETS} replies",
        f"from two proofs in {6 * proofs.PICTURES} replies",
        f"{LARGE:,} entries, {CROWD} pictures whose very hash is listed are found, and {others} that",
        f"lie {GROSS // 1_000_000} ms apart",
        f"at least {GAMES[1]:,} held-out",
        f"`hashes`: 1 to {MOST_HASHES:,} entries",
    ):
        assert words in page, words


def test_the_threat_model_has_every_fact_that_a_design_declares() -> None:
    page = (ROOT / "docs" / "explanation" / "threat-model.md").read_text()
    told: dict[str, set[str]] = {}
    for name, *cells in re.findall(
        r"^\| \[`(.*?)`\]\(\S+\) \| .*? \| (.*?) \| (.*?) \|$", page, re.MULTILINE
    ):
        told.setdefault(name, set()).update(re.findall("`([a-z_]+)`", " ".join(cells)))
    for name, design in ((one.info.name, one) for one in every_design()):
        declared = {fact.name for leak in design.leakage() for fact in leak.facts}
        assert not declared or declared <= told[name], (name, declared - told[name])
        assert all(f"\n| `{fact}` | " in page for fact in declared), name


def test_the_threat_model_has_every_fact_that_the_messenger_declares() -> None:
    page = (ROOT / "docs" / "explanation" / "threat-model.md").read_text()
    of_parties = [*facts.MESSENGER_FACTS.values(), *facts.COMPLAINT_FACTS.values()]
    others = (
        facts.MATCH_TIME,
        facts.NOTICE_TIME,
        facts.OUTCOME,
        facts.MESSAGE,
        *facts.FRANKING_FACTS.values(),
    )
    for fact in (*others, *(fact for told in of_parties for fact in told)):
        assert f"`{fact.name}`" in page, fact.name


def test_the_threat_model_names_every_design_that_enrols_accounts_with_a_role() -> None:
    page = (ROOT / "docs" / "explanation" / "threat-model.md").read_text("utf-8")
    page = page.split("## Not claimed")[1].split("## ")[0]
    enrolling = [one.design for one in all_designs().values() if one.design.enrolments]
    assert [design.info.name for design in enrolling] == re.findall("`([a-z-]+)`'s", page)


def test_the_page_of_designs_says_what_each_matches_and_its_parameters() -> None:
    row = re.compile(r"^\| \[`([a-z-]+)`\]\(\S+\) \| .*? \| (.*?) \| .*? \| (.*?) \|$", re.MULTILINE)
    rows = row.findall((ROOT / "docs" / "explanation" / "designs.md").read_text())
    told = {name: (match, set(re.findall("`([a-z_]+)`", given))) for name, match, given in rows}
    for name, info in ((n, one.design.info) for n, one in all_designs().items() if one.source == "built in"):
        assert told[name] == (info.relation.words, {one.name for one in info.parameters}), name


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_what_follows_from_code_is_as_the_code_has_it(page: Path) -> None:
    """`make pages` writes it again."""
    assert written_again(page.read_text(), blocks()) == page.read_text()


@pytest.mark.parametrize("name", page_tables.TABLES | wire_tables.TABLES | set_tables.TABLES)
def test_what_follows_from_code_stands_on_one_page(name: str) -> None:
    assert sum(page.read_text().count(f"<!-- from {name} -->\n") for page in PAGES) == 1


def test_commands_are_found_in_the_page_of_the_walk() -> None:
    assert ["serve", "all"] in list(command_lines(ROOT / "docs" / "tutorials" / "by-hand.md"))


@pytest.mark.parametrize(
    "design",
    [one.design for one in all_designs().values() if one.source == "built in"],
    ids=lambda one: one.info.name,
)
def test_the_page_of_a_design_has_its_declaration(design: AnyDesign) -> None:
    assert markdown(design) in (ROOT / "docs" / "designs" / f"{design.info.name}.md").read_text()


def test_a_declaration_as_markdown_has_every_party_role_parameter_and_fact() -> None:
    split = markdown(SHARES)
    bright = markdown(BRIGHT)
    for party in ("party_a", "party_b", "party_c", "party_a with party_b with party_c"):
        assert f"| {party} |" in split
    assert "| must not collude | party_a and party_b and party_c |" in split
    assert "`every_hash`" in split and "shares/share: share" in split
    assert "bright >= 0.5" in bright and "## Messages" not in bright
    assert "reached through the provider" in markdown(CARRIED)
    assert "when an account enrols" in markdown(MASKED)
    assert "centre" in markdown(VOUCHERS)


def test_one_design_is_shown_and_a_declaration_is_of_one(tmp_path: Path) -> None:
    assert [one["name"] for one in in_process(tmp_path, "design", "show", "none", "--json", "-").json] == [
        "none"
    ]
    assert in_process(tmp_path, "design", "show").code == 2
