"""No field of a results file becomes markup or script on the page, on pages beside it, or in its files."""

from __future__ import annotations

import csv
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import pytest
from blindmatch_protocol.contract import Fact, Leak, Severity
from blindmatch_simulations.cli.app import run
from blindmatch_simulations.evaluation.assess.results import (
    RESULTS,
    WORKLOAD,
    AnyResults,
    Results,
    as_csv,
    figures,
    file_digests,
    write_whole,
)
from blindmatch_simulations.measure.results import encode, sealed
from blindmatch_simulations.report.page import SCRIPTS, asset, data, report
from blindmatch_simulations.testbed.deployment.registry import load_design
from msgspec.structs import replace
from planted.mutations.hooks import Psi
from support import tainted
from support.declared import markdown
from support.drawn import attempted, called, wrong
from support.tainted import MARK, Place

MADE = tainted.whole()
PLACES = list(tainted.places(MADE))
WORDS = [at for at in PLACES if isinstance(tainted.value_at(MADE, at), str)]


class Marks(HTMLParser):
    """What of a mark became markup."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[object] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        wanted = dict(attrs)
        if tag == "script" or wanted.get("src") == "x" or any(name.startswith("on") for name in wanted):
            self.found.append((tag, attrs))


def markup_of_marks(text: str) -> list[object]:
    found = Marks()
    found.feed(text)
    return found.found


def named(at: Place) -> str:
    return "".join(f"[{one}]" if isinstance(one, int) else f".{one}" for one in at)[1:]


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return data(tmp_path_factory.mktemp("none"), [])


def test_the_file_that_is_marked_is_by_the_schema_and_is_drawn(sources: dict[str, Any]) -> None:
    assert wrong(sources, MADE) == "" and len(PLACES) > 200
    shown = attempted(sources, MADE)
    assert not shown.startswith("refused") and not re.search("&#60;/?[a-z]", shown), (
        "no markup of its own is escaped"
    )
    assert markup_of_marks(f"<p>{MARK}</p>"), "the mark would be found"


@pytest.mark.slow
def test_a_mark_in_any_field_is_escaped_where_it_is_drawn_at_all(sources: dict[str, Any]) -> None:
    """Without a look at the schema, so that the template alone is seen."""
    drawn = 0
    for at in PLACES:
        for mark in ([MARK], {"toString": MARK, "text": MARK, "isHtml": True}) if at in WORDS else (MARK,):
            shown = attempted(sources, tainted.with_mark(MADE, at, mark))
            drawn += not shown.startswith("refused")
            raw = [part for part in ("\"'>", "<img src=x", "<script") if part in shown]
            assert shown.startswith("refused") or not raw, named(at)
    assert drawn > len(PLACES) / 2


def test_all_words_and_all_free_names_at_once_are_escaped(sources: dict[str, Any]) -> None:
    for made in (tainted.with_marked_words(MADE), tainted.with_marked_keys(MADE)):
        shown = attempted(sources, made)
        assert not shown.startswith("refused") and not markup_of_marks(shown), shown[:300]
        assert "&#60;img src=x onerror" in shown


def test_a_field_of_another_type_is_refused_by_its_name(sources: dict[str, Any]) -> None:
    refused = 0
    for at in PLACES:
        if at in WORDS or "options" in at or ("checks" in at and "figures" in at) or "parameters" in at:
            continue
        words = wrong(sources, tainted.with_mark(MADE, at))
        assert words.startswith(f"{named(at)}: must be "), (at, words)
        refused += 1
    assert refused > 100
    for at in (
        ("options", "pictures", "listed"),
        ("options", "update", "adds"),
        ("rows", 0, "figures", "recall"),
    ):
        assert wrong(sources, tainted.with_mark(MADE, at)).startswith(f"{named(at)}: must be ")


def test_what_is_no_results_file_is_refused_with_the_reason(sources: dict[str, Any]) -> None:
    assert wrong(sources, []) == "the file: must be an object"
    assert wrong(sources, {**MADE, "more": 1}) == "more: no field of a results file"
    assert wrong(sources, {k: v for k, v in MADE.items() if k != "machine"}) == "machine: is missing"
    assert wrong(sources, {**MADE, "rows": [{"kind": "toString"}]}).startswith("rows[0].kind: must be ")
    assert wrong(sources, tainted.with_mark(MADE, ("rows", 0, "kind"), None)).startswith(
        "rows[0].kind: must be "
    )
    assert wrong(sources, tainted.with_mark(MADE, ("rows", 0, "__proto__"), {})) == (
        "rows[0].__proto__: no field of a results file"
    )


def typed(made: dict[str, Any]) -> Results:
    """As the command reads it; a design's id is held to a form, so that it bears no mark."""
    rows = [row for row in made["rows"] if row["kind"] != "attack"]
    rows[0] = {**rows[0], "id": rows[0]["id"].replace(MARK, "")}
    found: Results = sealed(msgspec.json.decode(msgspec.json.encode({**made, "rows": rows}), type=Results))
    return found


def test_a_page_that_the_command_draws_holds_marks_as_data_alone(tmp_path: Path) -> None:
    for made in (tainted.with_marked_words(MADE), tainted.with_marked_keys(MADE)):
        page = report(tmp_path, [typed(made), typed(MADE)])
        head, _, rest = page.partition('<script type="application/json" id="data">')
        held, _, script = rest.partition("</script>")
        assert "<" not in held and MARK in json.dumps(json.loads(held)).replace('\\"', '"')
        assert not markup_of_marks(head) and script.count("<script") == 1


def test_words_of_a_results_file_are_no_placeholders_of_the_page(tmp_path: Path) -> None:
    plain = report(tmp_path, [typed(MADE)])
    marked = report(tmp_path, [typed({**MADE, "command": "{{script}} {{data}} {{style}} {{policy}}"})])
    assert plain.rpartition("<script>")[2] == marked.rpartition("<script>")[2]
    assert '"command":"{{script}} {{data}} {{style}} {{policy}}"' in marked


def test_tables_hold_formulas_as_words() -> None:
    for formula in ("=HYPERLINK(1)", "+1", "-1+cmd", "@SUM(1)", "\t=1", "\r=1"):
        made = tainted.with_mark(MADE, ("rows", 2, "why"), formula)
        made["rows"][2]["id"] = formula
        table = as_csv(figures(typed(made)))
        cells = [cell for row in csv.reader(io.StringIO(table, newline="")) for cell in row]
        assert not [cell for cell in cells if re.match(r"[=+@\t\r]|-(?![\d.])", cell)], formula


def test_a_row_is_no_path_to_another_folder(tmp_path: Path) -> None:
    folder = tmp_path / "results"
    made = {**MADE, "rows": MADE["rows"][:1], "files": {}}
    made["rows"] = [{**made["rows"][0], "id": "../../../evil"}]
    folder.mkdir()
    write_whole(folder / WORKLOAD, b"")
    rows = typed({**MADE, "files": file_digests(folder)})
    with pytest.raises(msgspec.ValidationError, match=r"rows\[0\].id"):
        typed(made)
    evil = replace(rows, rows=(replace(rows.rows[0], id="../../../evil"),))
    write_whole(folder / RESULTS, encode(sealed(evil)))
    assert run(["report", str(folder)]) != 0
    assert not list(tmp_path.rglob("evil*"))


def test_the_script_makes_html_by_its_tag_alone() -> None:
    for name in SCRIPTS:
        text = re.sub(r"^\s*//.*$", "", asset(f"{name}.js"), flags=re.MULTILINE)
        assert not re.search(r"(?<!\bh)`<[a-z/]", text), name
        writes = re.findall(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|srcdoc|setAttribute\(\"on", text
        )
        assert len(writes) == (1 if name == "browser" else 0), name


def test_any_results_type_takes_the_marked_file() -> None:
    assert msgspec.json.decode(msgspec.json.encode(MADE), type=AnyResults)


def test_a_declaration_holds_marks_as_words_of_one_cell() -> None:
    leak, *_ = load_design("oprf-psi").leakage()
    info = load_design("oprf-psi").info

    class Marked(Psi):
        def leakage(self) -> tuple[Leak, ...]:
            return (replace(leak, facts=(Fact("odd|<b>", f"a\n\n| b |\n{MARK}", Severity.HASH),)),)

    Marked.info = replace(info, name="marked", differs=f"one | other\n# Title\n{MARK}")
    text = markdown(Marked())
    assert not markup_of_marks(text) and "\n#" not in text.replace("\n## ", "")
    assert "one \\| other # Title" in text and "- `odd\\|&lt;b>`: a \\| b \\|" in text


def test_other_parts_are_another_place() -> None:
    names = ["a.b", "a_b", "a~b", "a!b", "a(b", "a)b", "a'b", "a*b", "a b", "a%b", "a%2Eb", "a/b"]
    assert len({called("place", name, "recall") for name in names} | {called("place", "a", "b.recall")}) == 13
    assert called("place", "token-psi", "recall_pairs") == "token-psi.recall_pairs"
