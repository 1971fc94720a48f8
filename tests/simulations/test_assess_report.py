"""The report of an assessment: one file that needs nothing else, says what was not measured, and escapes."""

from __future__ import annotations

import json
import re
from copy import deepcopy
from itertools import pairwise
from pathlib import Path
from subprocess import CalledProcessError
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest
from blindmatch_protocol.contract import Severity, Shows
from blindmatch_simulations.cli.app import run
from blindmatch_simulations.cli.corpus import _difference
from blindmatch_simulations.data import committed, table_of, volumes
from blindmatch_simulations.evaluation.assess.figures import FIGURES
from blindmatch_simulations.evaluation.assess.judging import told
from blindmatch_simulations.evaluation.assess.observed import (
    Check,
    Copies,
    Declared,
    Extracted,
    FactSeen,
    Traffic,
)
from blindmatch_simulations.evaluation.assess.plan import plan_text, read_plan
from blindmatch_simulations.evaluation.assess.results import ATTACKS as ATTACKS_FILE
from blindmatch_simulations.evaluation.assess.results import RESULTS, Measured, Recall, Results, check_folder
from blindmatch_simulations.evaluation.assess.subjects import STUDIES, Done, row_of
from blindmatch_simulations.evaluation.attacks.arena import Pair
from blindmatch_simulations.evaluation.attacks.figure import Budget
from blindmatch_simulations.evaluation.attacks.figure import Figure as Achieved
from blindmatch_simulations.evaluation.attacks.run import Ran, results_of
from blindmatch_simulations.evaluation.attacks.table import ATTACKS
from blindmatch_simulations.evaluation.population.running import _evidence as population_evidence
from blindmatch_simulations.evaluation.studies.evidence import RECALL, differences
from blindmatch_simulations.evaluation.studies.reference import PHOTOGRAPH
from blindmatch_simulations.measure.results import Figure, encode
from blindmatch_simulations.report.page import MOST_FOLLOWED, report
from blindmatch_simulations.report.yearly import ASSUMPTION, inputs
from blindmatch_simulations.testbed.deployment.registry import all_designs
from defusedxml.ElementTree import fromstring
from msgspec import to_builtins
from msgspec.structs import replace
from support import sample as making
from support.assess_page import outline, results_folder
from support.assess_rows import HOSTILE, observed, row
from support.drawn import Drawn, called, cells, drawn, pictured
from support.sample import MADE, PAGE, PICTURE, RECORDINGS, block, moment, sample_runs

MOST_BYTES = 3 << 20
SAMPLE = Path(__file__).parents[2] / "docs" / "sample"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return results_folder(tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def page(folder: Path) -> str:
    return (folder / "report.html").read_text("utf-8")


@pytest.fixture(scope="module")
def made(folder: Path) -> Drawn:
    return drawn(folder, check_folder(folder))


@pytest.fixture(scope="module")
def sample() -> Drawn:
    return drawn(SAMPLE, check_folder(SAMPLE))


def _measured() -> list[Measured]:
    """The sample's designs, however many it has."""
    results: Results = check_folder(SAMPLE)
    return [one for one in results.rows if isinstance(one, Measured)]


def test_the_page_needs_nothing_else(page: str, sample: Drawn) -> None:
    assert len((SAMPLE / "report.html").read_bytes()) < MOST_BYTES
    assert not [
        attrs for tag, attrs in outline(page).seen if tag in ("link", "img", "iframe") or "src" in attrs
    ]
    sources = {one.get("src", "") for one in sample.tree().iter() if "src" in one.attrib}
    edits = {each.name for one in _measured() for each in one.recall_by_edit}
    assert len(sources) == len(edits) and all(one.startswith("data:image/jpeg;base64,") for one in sources)
    assert "url(" not in page and "@import" not in page and "fetch(" not in page
    links = [one.get("href", "") for one in sample.tree().iter() if one.tag == "a"]
    assert links and all(link.startswith("#") for link in links)


def test_every_link_leads_to_a_part_or_to_evidence_and_ids_are_unique(sample: Drawn) -> None:
    ids = [one.get("id") for one in sample.tree().iter() if one.get("id")]
    assert len(ids) == len(set(ids))
    targets = {one.get("href", "")[1:] for one in sample.tree().iter() if one.tag == "a"}
    assert targets <= {*ids, *sample.evidence, "sheet"}
    assert not {*ids} & {*sample.evidence}


def test_the_page_has_landmarks_labels_and_table_headers(page: str, sample: Drawn) -> None:
    shell = outline(page)
    tags = [tag for tag, _ in shell.seen]
    assert shell.open == [] and {"header", "nav", "main", "footer"} <= set(tags)
    labelled = {attrs["for"] for tag, attrs in shell.seen if tag == "label"}
    assert {attrs["id"] for tag, attrs in shell.seen if tag in ("input", "select")} == labelled
    tree = sample.tree()
    assert len(tree.findall(".//table")) == len(tree.findall(".//caption"))
    assert all(one.get("scope") in ("col", "row", "colgroup") for one in tree.iter("th"))
    assert all(one.get("data-label") for one in tree.iter("td"))
    assert all(one.get("aria-label") or one.get("aria-hidden") for one in tree.iter("svg"))
    levels = [1, *(int(one.tag[1]) for one in tree.iter() if re.fullmatch("h[1-6]", one.tag))]
    assert all(b - a <= 1 for a, b in pairwise(levels))


def test_what_a_design_says_is_escaped(page: str, made: Drawn) -> None:
    assert HOSTILE not in page.partition('<script type="application/json"')[2].replace("\\u003c", "")
    assert page.count("<script") == 2
    assert "<script" not in made.main and not any("<script" in one for one in made.evidence.values())
    assert HOSTILE in made.words("matrix"), "the reason of a failure, as text"


def test_every_option_has_a_row_in_the_catalogues_order(made: Drawn, sample: Drawn) -> None:
    order = [one["id"] for one in committed("options")["options"]]
    for each in (made, sample):
        matrix = next(one for one in each.tree().iter("section") if one.get("id") == "matrix")
        heads = [one.findtext("b") for one in matrix.iter("th") if one.get("scope") == "row"]
        assert list(dict.fromkeys(heads)) == order
    assert "nobody anything recalled" in made.words("matrix"), "0b was not measured"
    assert made.opened("0b.none").endswith("no design of this option was measured in this run")
    assert 'class="recalled"' not in sample.main, "the sample has every option"


def test_every_number_opens_what_it_stands_on(sample: Drawn) -> None:
    """No digit of a table stands outside of a link; tables of words alone are left out."""
    words_alone = ("missing", "assumptions", "frameworks", "bugs", "sources")
    for part in deepcopy(sample.tree()).iter("section"):
        for fold in [one for one in part.iter("details") if one.get("id") in words_alone]:
            fold.clear()
        for cell in cells(part):
            for link in [*cell.iter("a"), *cell.iter("code"), *cell.iter("span")]:
                link.text = ""
                link[:] = []
            assert not re.search(r"\d", "".join(cell.itertext())), ElementTree.tostring(cell)


def test_evidence_names_the_row_and_the_command(sample: Drawn) -> None:
    for place, name in (("token-psi.recall", "recall"), ("he-hamming.setup_bytes", "setup_bytes")):
        held = sample.opened(place)
        assert f"figures, {name}" in held and "blindmatch assess --quick" in held
    assert "rows/token-psi.jsonl , kind pictures" in sample.opened("token-psi.recall")
    assert "one reading, in the row itself" in sample.opened("he-hamming.setup_bytes")
    assert all(sample.opened(place) for place in sample.evidence)


def test_first_things_stand_first(sample: Drawn) -> None:
    parts = [one.get("id") for one in sample.tree().iter("section")]
    assert parts == [
        "year",
        "matrix",
        "missed",
        "flagged",
        "kinds",
        "cost",
        "abuse",
        "client",
        "after",
        "unmeasured",
        "rights",
        "more",
    ]


def test_a_failed_design_is_shown_with_its_reason(made: Drawn) -> None:
    assert f"bad failed: {HOSTILE}" in made.words("matrix")


def test_an_option_that_is_no_design_has_its_row_on_the_page(folder: Path) -> None:
    study = STUDIES["targeted-access"]("targeted-access")
    whole = check_folder(folder)
    made = drawn(folder, replace(whole, rows=(*whole.rows, study)))
    assert "1 measured, 1 imitated by a stand-in alone (0a), 1 studied without a design (0c)" in made.words(
        "matrix"
    )
    assert "96 of 96 messages" in made.words("matrix")
    assert "by a warrant for one account" in made.opened("targeted-access.sees")
    assert "a thief of keys of one period, 3 24 of 96 messages" in made.opened("targeted-access.sees")
    assert "authorities, of opened accounts: 0c" in made.words("rights")


def test_the_headline_counts_options_from_the_data(made: Drawn) -> None:
    assert made.words("h-matrix") == (
        "Of 11 options, as in the Commission's draft paper of September 2020, from memory: check before you "
        "cite: 1 measured, 1 imitated by a stand-in alone (0a)"
    )
    assert made.opened("silent.stand-in").endswith(HOSTILE)


def test_every_outside_figure_has_a_title_and_a_known_mark(sample: Drawn) -> None:
    assert all(one["title"] for one in volumes().values())
    marks = set(re.findall(r'class="mark mark-(\w+)"', sample.main))
    assert {"verified", "secondary", "recalled"} <= marks <= {"verified", "secondary", "recalled", ASSUMPTION}


def test_a_report_is_drawn_again_and_beside_others(folder: Path) -> None:
    before = (folder / "report.html").read_bytes()
    assert run(["report", str(folder), str(folder), str(folder)]) == 0
    assert (folder / "report.html").read_bytes() == before
    page = (folder / "compare.html").read_text()
    held = json.loads(page.partition('id="data">')[2].partition("</script>")[0])
    assert len(held["runs"]) == 3 and outline(page).open == []


def test_an_edited_result_is_not_drawn(folder: Path, tmp_path: Path) -> None:
    (tmp_path / RESULTS).write_bytes((folder / RESULTS).read_bytes())
    assert run(["report", str(tmp_path)]) != 0
    assert not (tmp_path / "report.html").exists()


def test_runs_that_differ_are_marked_and_those_that_do_not_are_not(folder: Path) -> None:
    whole = check_folder(folder)
    one = next(row for row in whole.rows if isinstance(row, Measured))
    one = replace(one, figures={**one.figures, "recall": Figure(0.5, low=0.1, high=0.9, n=9)})
    whole = replace(whole, rows=(one, *whole.rows[1:]))
    same = drawn(folder, whole, whole)
    assert "quoted: no figure differs" in same.words("runs") and "\u2260" not in same.main
    assert f"{whole.made_at}, {whole.machine.packages['blindmatch']}" in same.words("runs")
    larger = replace(one, figures={**one.figures, "setup_bytes": Figure(9000.0)})
    found = replace(one, figures={**one.figures, "recall": Figure(1.0, low=0.99, high=1.0, n=9)})
    near = replace(one, figures={**one.figures, "recall": Figure(0.6, low=0.1, high=0.9, n=9)})
    for other, name in ((larger, "Set-up"), (found, "Found, of copies sent")):
        two = drawn(folder, whole, replace(whole, rows=(other, *whole.rows[1:])))
        assert "quoted: figures differ" in two.words("runs") and name in two.words("run-quoted")
        assert "\u2260 run 2" in two.words("matrix" if other is found else "cost")
    assert "no figure differs" in drawn(folder, whole, replace(whole, rows=(near, *whole.rows[1:]))).words(
        "runs"
    )


def test_a_design_of_one_run_alone_is_said_to_be_so(folder: Path) -> None:
    whole = check_folder(folder)
    first = drawn(folder, whole, replace(whole, rows=whole.rows[:1], command="another"))
    assert "silent: in run 1 only" in first.words("runs")


def attacks_file(folder: Path, name: str, succeeded: bool) -> None:
    ran = Ran(
        ATTACKS[name], "quoted", Achieved("pictures", float(succeeded), succeeded, 4), Budget(queries=3)
    )
    lacking = Pair(ATTACKS["prefix"], SimpleNamespace(info=SimpleNamespace(name="quoted")), "needs a <set>")
    unplayed = [lacking, replace(lacking, attack=ATTACKS["extraction"])]
    (folder / ATTACKS_FILE).write_bytes(encode(results_of([ran], unplayed=unplayed)))


def test_attacks_beside_the_results_are_drawn_with_what_they_came_to(tmp_path: Path) -> None:
    folder = results_folder(tmp_path)
    whole = check_folder(folder)
    assert "against what a document claims: not measured" in drawn(folder, whole).words("abuse")
    attacks_file(folder, "unmatched", True)
    made = drawn(folder, whole)
    assert (
        "succeeded as documented: a client that never asks; against what a document claims: none"
        in made.words("abuse")
    )
    assert ATTACKS["unmatched"].claim.words in made.opened("attack.unmatched.quoted")
    assert "spent 3 requests" in made.opened("attack.unmatched.quoted"), "what does not apply is left out"
    assert "a client that never asks: succeeded, as documented" in made.words("bugs")
    assert "a picture guessed from a part, the list taken by asking: needs a <set>" in made.opened(
        "quoted.abuse"
    )
    attacks_file(folder, "framing", True)
    assert "against what a document claims: a report of what was not sent" in drawn(folder, whole).words(
        "abuse"
    )
    (folder / ATTACKS_FILE).write_bytes(b"{}")
    assert run(["report", str(folder)]) != 0


def test_words_of_the_page_name_what_there_is() -> None:
    words = committed("plain")
    assert {*all_designs(), *STUDIES} <= words["names"].keys(), "each in plain words"
    assert len(words["five"]) == 5 and all(
        set(one.get("attacks", ())) <= ATTACKS.keys() for one in words["five"]
    )
    criteria = [(one["of"], one["criterion"].lower()) for one in words["frameworks"]]
    assert [name for of, name in criteria if of == "Expert process"] == [
        one["id"] for one in committed("options")["criteria"]
    ]
    assert len([of for of, _ in criteria if of == "REPHRAIN"]) == 9
    for one in (*words["frameworks"], *words["bugs"]):
        assert set(one.get("figures", ())) <= FIGURES.keys(), one
        assert set(one.get("attacks", ())) <= ATTACKS.keys(), one
        assert len(one) > 1
    assert all(set(one["attacks"]) <= ATTACKS.keys() for one in words["after"])
    assert set(words["listing"]) <= ATTACKS.keys()


def test_every_term_that_is_used_is_in_the_glossary(sample: Drawn) -> None:
    used = [one for one in sample.tree().iter("a") if one.get("class") == "term"]
    assert used and all(one.get("title") in committed("plain")["glossary"].values() for one in used)
    assert "[[" not in sample.main


def test_a_share_that_is_too_small_to_be_drawn_is_no_one_in_nought(sample: Drawn) -> None:
    assert not re.search(r"1 in 0\b", sample.main)
    assert called("between", 1e-4, 1 / 2920) == "1 in 10\u202f000 to 1 in 2\u202f920"


def _named(part: ElementTree.Element) -> list[str]:
    """Designs that stand in it; an option of which all are meant stands for them."""
    return [name for one in part.iter() for name in one.get("data-design", "").split()]


def test_five_questions_on_rights_are_answered_for_every_design_in_one_table(sample: Drawn) -> None:
    (five,) = [one for one in sample.tree().iter("div") if one.get("aria-label") == "Five questions"]
    lines = [cells(one)[-1] for one in five.iter("tr") if cells(one)]
    everybody = {*_named(sample.tree())}
    assert len(lines) == 5 and everybody == {one.id for one in check_folder(SAMPLE).rows}
    for line in lines[:-1]:
        named = _named(line)
        rest = "the others" in "".join(line.itertext())
        assert len(named) == len(set(named)) and (rest or {*named} == everybody), "each once"
    read = " ".join("".join(lines[0].itertext()).split())
    assert "provider: 0a; " in read and "authorities, of opened accounts: 0c; " in read
    sealed = "provider, under a seal; provider with vendor, in a played attack"
    imitated = "provider alone, in an attack played on this imitation"
    assert re.search(rf"{sealed}; {imitated}: .*\b2a\b.*; nobody else: the others", read)
    remedy = "".join(lines[4].itertext())
    assert "2 of 6 attacks on this succeeded. " in remedy
    assert "Forced reports are declared" in remedy
    forced = {one.id for one in _measured() for leak in one.design.declared for fact in leak.facts
              if fact.name == "forced_report"}  # fmt: skip
    assert forced == {*_named(lines[4])}
    options = ["".join(one.itertext()) for one in lines[1].iter() if one.get("class") == "design"]
    assert "1a" in options and not [one for one in options if one.startswith("1a ")], "said once"
    folded = [
        one
        for fold in sample.tree().iter("details")
        for one in fold.iter()
        if one.get("aria-label") == "Five questions"
    ]
    assert not folded, "on the page"
    assert not re.search(r"proportionate|violates|unlawful|score|rated|recommend", sample.words("rights"))


def test_the_page_says_in_plain_words_what_programmers_call_otherwise(sample: Drawn) -> None:
    """On both views, folds closed; what a number opens cites files, and keeps their names."""
    for view in (sample.main, sample.sheet):
        tree = fromstring(f"<div>{view}</div>")
        for one in tree.iter():
            if one.tag == "details":
                one.text = ""
                one[:] = []
        words = " ".join(tree.itertext())
        assert not re.search(r"SSIM|distinguisher|\b\w+-psi\b|he-hamming|hash-upload|prefix-bucket", words)
    assert "SSIM" not in sample.main and re.search(r"likeness 0\.\d+ of 1", sample.words("topics"))


def test_what_is_opened_names_no_code_but_where_a_file_is_cited(sample: Drawn) -> None:
    """Folds and evidence, too: attacks, facts and methods have words; ids stand in citations, as code."""
    said = committed("plain")
    assert said["attacks"].keys() == ATTACKS.keys() and len({*said["attacks"].values()}) == len(ATTACKS)
    ids = "|".join(name for name in ATTACKS if "-" in name and name not in {"look-alikes", "made-up"})
    jargon = re.compile(rf"\b\w+_\w+\b|V?OPRF|\bBFV\b|SSIM|\b\w+-psi\b|he-hamming|(?<![\w-])({ids})(?![\w-])")
    held = {"": sample.main, "sheet": sample.sheet, **sample.evidence}
    bare = {at: re.sub("<code\\b.*?</code>|<[^>]*>", " ", one, flags=re.DOTALL) for at, one in held.items()}
    assert not {at: found[0] for at, one in bare.items() if (found := jargon.search(one))}
    assert "needs distances computed under homomorphic encryption" in sample.opened("oprf-psi.abuse")
    assert "forced-report" in sample.opened("attack.forced-report.hash-upload"), "the row is cited"


def test_declared_facts_are_said_in_plain_words_and_the_file_keeps_its_own(sample: Drawn) -> None:
    said = table_of("follow")["plain"]
    jargon = r"cover schedule|pre-key|ratchet|Padm|ring has slots|2\^|epoch of the set|SHA-256 of"
    own = {fact.says for one in _measured() for leak in one.design.declared for fact in leak.facts}
    assert [one for one in own if re.search(jargon, one)], "the results file has them as declared"
    for place, held in sample.evidence.items():
        if place.rpartition(".")[2] in ("sees", "facts", "abuse"):
            assert not re.search(jargon, held), place
    assert sum(words in sample.opened("oprf-psi.facts") for words in said.values()) > 1


def test_the_sample_is_whole_and_its_page_is_of_these_results() -> None:
    results: Results = check_folder(SAMPLE)
    assert results.digest in (SAMPLE / "report.html").read_text("utf-8")
    assert outline(report(SAMPLE, [results])).open == []


def test_the_first_screen_can_be_saved_as_a_picture() -> None:
    words = " ".join(fromstring(pictured(SAMPLE, check_folder(SAMPLE))).itertext())
    assert all(f"{one['id']} " in words for one in committed("options")["options"]) and "href" not in words


def test_the_readmes_picture_is_a_moment_of_the_samples_recordings() -> None:
    runs = sample_runs()
    picture = (SAMPLE / PICTURE).read_text("utf-8")
    assert moment(runs) == picture, "make picture"
    words = " ".join("".join(fromstring(picture).itertext()).split())
    nothing = "nothing of it that can be read."
    assert f"The matcher: The picture: {nothing} Its hash: {nothing}" in words
    likeness = "a blurred likeness, which can be redrawn from its hash."
    assert f"The matcher: The picture: {likeness} Its hash: got." in words
    assert f"](docs/sample/{PICTURE})" in (SAMPLE.parents[1] / "README.md").read_text("utf-8")
    page = (SAMPLE / PAGE).read_text("utf-8")
    held = json.loads(page.partition('id="data">')[2].partition("</script>")[0])
    assert held == json.loads(json.dumps(to_builtins(runs))) and len(page.encode()) < MOST_FOLLOWED
    assert [bool(one.attack) for one in runs] == [False, False, True]
    assert sum((SAMPLE / name).stat().st_size for name in RECORDINGS) < 600_000


def test_the_samples_page_says_what_its_files_hold(tmp_path: Path) -> None:
    for name in ("results.json", "attacks.json", "workload.toml", "designs", "rows"):
        (tmp_path / name).symlink_to(SAMPLE / name)
    made = block(tmp_path)
    assert f"has {len(_measured())} designs" in made and "took" not in made, "times are not made up"
    spent = {"attack run all": {"seconds": 61, "cpu_seconds": 125}}
    (tmp_path / MADE).write_text(json.dumps(spent))
    assert "`attack run all` took 1 min 1 s, and 2 min 5 s of CPU.\n" in block(tmp_path)


def test_what_an_interrupted_run_of_the_sample_took_is_added_to_what_the_rest_takes() -> None:
    made: dict[str, dict[str, float]] = {"assess": {"seconds": 60, "cpu_seconds": 90, "done": False}}

    def broken() -> None:
        raise CalledProcessError(4, "assess")

    with pytest.raises(CalledProcessError):
        making.spend(made, "assess", broken)
    assert made["assess"]["seconds"] >= 60 and not made["assess"]["done"]
    making.spend(made, "assess", lambda: None)
    assert made["assess"]["seconds"] >= 60 and made["assess"]["cpu_seconds"] >= 90 and made["assess"]["done"]


def test_what_designs_were_sent_of_each_kind_of_picture_is_drawn(folder: Path) -> None:
    whole = check_folder(folder)
    found = Recall("faces", 8, 6, Figure(0.75, low=0.35, high=0.97, n=8))
    sent = replace(row(observed()), recall_by_kind=(found,), false_by_kind=(replace(found, found=0),))
    own = drawn(folder, replace(whole, rows=(sent,))).words("kinds-designs")
    assert "quoted6 of 8 (35\u201397 %)" in own and "quoted0 of 8" in own


CORPUS = {
    "corpus_recall": Figure(0.72, "committed evidence", 0.715, 0.725, 9100),
    "corpus_recall_pairs": Figure(0.99, "committed evidence", 0.985, 0.995, 6000),
    "corpus_recall_far": Figure(0.9, "committed evidence", 0.85, 0.95, 265),
    "corpus_false": Figure(0.008, "committed evidence", 0.004, 0.014, 18_000, 18_000 * 17_999),
    "corpus_false_all": Figure(0.2, "committed evidence", 0.19, 0.21, 24_000, 24_000 * 23_999),
    "corpus_false_photographs": Figure(0.0, "committed evidence", 0.0, 0.0105, 350, 350 * 17_999),
}


def test_what_the_reference_corpus_says_of_a_design_stands_before_the_runs_own_few(folder: Path) -> None:
    """In every view the same number; the run's own count is beside it, and whether it agrees."""
    whole = check_folder(folder)
    seen = row(observed())
    own = {"recall": Figure(0.75, low=0.1, high=0.9, n=8), "false_matches": Figure(0.0, low=0, high=0.3, n=9)}
    agreeing = {"wrong_outcomes": Figure(0.0, low=0.0, high=0.2, n=17)}
    one = replace(seen, figures={**seen.figures, **own, **CORPUS, **agreeing})
    made = drawn(folder, replace(whole, rows=(one,)))
    matrix = made.words("matrix")
    assert "28 % (27.5\u201328.5)" in matrix and "0.8 % (0.4\u20131.4)" in matrix and "run:" not in matrix
    assert (
        "of 9 100 copies of photographs in the reference corpus" in matrix
        and "18 000 pictures of 10 kinds" in matrix
    )
    assert "25 %" not in matrix and "30 %" not in matrix
    missed = made.words("missed")
    flagged = made.words("flagged")
    assert "28 % (27.5\u201328.5)" in missed and "99 % (98.5\u201399.5 %)" in missed
    assert "0.8 % (0.4\u20131.4)" in flagged and "20 % (19\u201321 %)" in flagged and "0 of 350" in flagged
    card = made.opened("quoted.corpus_recall")
    assert "found 6 of 8; of 17 pictures sent in all, the hash level says the same for each" in card
    assert "blindmatch corpus evidence" in card and "9 100 trials" in card
    assert "18 000 trials, each against 17 999 listed" in made.opened("quoted.corpus_false")
    unlike = replace(one, figures={**one.figures, "wrong_outcomes": Figure(3 / 17, n=17)})
    made = drawn(folder, replace(whole, rows=(unlike,)))
    assert "run: 3 differ" in made.words("matrix")
    assert "of 17 pictures sent in all, 3 differ from what hashes say" in made.opened("quoted.corpus_recall")
    shown = {name: told(name, one.figures) for name in one.figures}
    assert shown["recall"] == "corpus_recall" == shown["corpus_recall"]
    assert (shown["false_matches"], shown["setup_bytes"]) == ("corpus_false", "setup_bytes")


def test_a_design_without_evidence_shows_the_runs_own_figure_and_of_how_many_it_is(folder: Path) -> None:
    whole = check_folder(folder)
    seen = row(observed())
    own = {"recall": Figure(0.75, low=0.1, high=0.9, n=8), "false_matches": Figure(0.0, low=0, high=0.3, n=9)}
    lacking = {name: Figure(None, "the committed evidence is of another way to match") for name in CORPUS}
    made = drawn(folder, replace(whole, rows=(replace(seen, figures={**seen.figures, **own, **lacking}),)))
    matrix = made.words("matrix")
    assert "2 of 8too few to say" in matrix and "0 % (0\u201330)of 9 sent" in matrix
    assert "reference corpus" not in matrix and "run:" not in matrix
    assert "another way to match" in made.opened("quoted.corpus_recall_far")


def test_a_design_of_a_file_has_no_evidence_whatever_its_name() -> None:
    plan = read_plan(plan_text(None))
    seen = observed()
    seen = replace(seen, design=replace(seen.design, name="hash-upload", distance=31, parameters={}))
    for reference, has in (("hash-upload", True), ("copied.py:DESIGN", False)):
        one = row_of(plan, "x", reference, Done(seen, 0.0, 1.0), (), "")
        assert (one.figures["corpus_recall"].value is not None) is has
        assert (population_evidence(one, RECALL, PHOTOGRAPH, "found").value is not None) is has


def test_the_pages_and_the_tables_show_the_same_figure(sample: Drawn) -> None:
    results: Results = check_folder(SAMPLE)
    for one in results.rows:
        if isinstance(one, Measured):
            held = {name: one.figures.get(name, Figure(None)) for name in FIGURES}
            for name in ("recall", "false_matches"):
                if held[name].value is not None:
                    assert f"{one.id}.{told(name, held)}" in sample.evidence
                    assert ("corpus" in told(name, held)) == (held[FIGURES[name].evidence].value is not None)


def test_a_figure_of_other_evidence_is_not_taken_apart_by_edits_of_this_one(
    sample: Drawn, folder: Path
) -> None:
    scan = next(one for one in _measured() if one.id == "provider-scan")
    edit = scan.recall_by_edit[0].name
    held = sample.opened(f"edit.{called('place', edit)}.provider-scan")
    assert "of 602 photographs" in held.replace("602 of", "601 of")
    results: Results = check_folder(SAMPLE)
    rows = [
        replace(one, figures={**one.figures, "corpus_recall": Figure(0.5, low=0.4, high=0.6, n=100)})
        for one in results.rows
        if isinstance(one, Measured) and one.id == "token-psi"
    ]
    made = drawn(SAMPLE, replace(results, rows=tuple(rows)))
    assert "of 602 photographs" not in made.opened(
        f"edit.{called('place', edit)}.token-psi"
    ) and "50 %" in made.words("missed")


def test_differences_between_designs_are_paired_and_those_that_are_not_resolved_say_so(
    sample: Drawn,
) -> None:
    assert "18 of 18 are more than chance" in sample.words("missed")
    words = sample.words("differences")
    assert "\u22120.307 (\u22120.49 to \u22120.212)" in words
    assert "9.31 (" in words, "beyond 24 bits, exact designs and tokens"
    held = sample.opened("difference.CA.beyond_24")
    assert "494 copies of 359 pictures, paired" in held and "token-psi" in held
    open_ = {"value": 0.0, "low": -0.01, "high": 0.02, "n": 9, "why": "w"}
    pair = {
        "names": ["A", "B"],
        "first": "a",
        "second": "b",
        "found": open_,
        "found_needed": {"value": 4321, "why": "if"},
    }
    assert called("saidDifference", pair, "found") == "0 (\u22121 to 2), not resolved; 4\u202f321 needed"


def test_the_command_compares_designs_of_the_evidence_and_says_why_it_has_no_others(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["corpus", "compare", str(SAMPLE), "--json", str(tmp_path / "compared.json")]) == 0
    shown = " ".join("".join(capfd.readouterr()).split())
    assert "none: not compared: nothing to measure" in shown and "0.31 (" in shown
    made = json.loads((tmp_path / "compared.json").read_text())
    assert len(made["differences"]) == 6 and set(made["not_compared"]) == {"none", "device-classifier"}
    assert {"found", "of_pdq", "beyond_24"} <= made["differences"][0]["figures"].keys()
    names = {"oprf-psi", "none"}
    (row,) = differences(names)
    assert {*row.parameters.values()} == names and row.figures["beyond_24_needed"].value == 368
    assert _difference(row, "beyond_24") == "0.00 (-1.02 to 1.02), not resolved; 368 needed"


def test_no_number_of_the_page_is_in_scientific_notation(sample: Drawn) -> None:
    words = " ".join("".join(sample.tree().itertext()).split())
    assert "\u00d7\u00a010" not in words and not re.search(r"\d[eE][+-]\d", words)
    assert called("number", 1.5e15) == "1.5 quadrillion" and called("number", -2e-6).endswith(
        "1 in 500\u202f000"
    )
    assert called("percent", 1e-7) == "1 in 10 million"
    assert called("between", 1e-8, 1e-3) == "1 in 100 million to 1 in 1\u202f000"


def test_asking_is_priced_as_the_row_says(folder: Path) -> None:
    whole = check_folder(folder)
    one = replace(row(observed()), extraction=Extracted("tokens", {"1000": 0.25}), lessened="3 of 9 pictures")
    made = drawn(folder, replace(whole, rows=(one,)))
    assert "25 % for 1 000 tokens: quoted" in made.words("abuse")
    assert "3 of 9 pictures" in made.opened("quoted.recall")


def test_checks_that_failed_are_shown_before_anything_else_of_an_audit(folder: Path) -> None:
    whole = check_folder(folder)
    broken = Check("list games", "", "failed", "told apart", {}, 1.0)
    assert "failed: list games: told apart" in drawn(
        folder, replace(whole, rows=(row(observed(), (broken,), ""),))
    ).words("learns")


def test_a_classifier_of_another_category_has_no_figure_of_listed_pictures(folder: Path) -> None:
    whole = check_folder(folder)
    seen = observed()
    seen = replace(seen, design=replace(seen.design, relation="category", distance=None, roles={}))
    one = row(seen)
    assert one.figures["recall"].value is None and one.figures["wrong_outcomes"].value is not None
    assert one.recall_by_edit[0].found is None
    counted = replace(one, figures={**one.figures, "recall": Figure(0.125, low=0.1, high=0.2, n=104)})
    for each in (one, counted):
        made = drawn(folder, replace(whole, rows=(each,)))
        assert "12.5" not in made.main and "nothing to measure" in made.words("matrix")


def test_shares_of_fewer_copies_are_counts(folder: Path) -> None:
    whole = check_folder(folder)
    few = replace(row(observed()), lessened="2 of 9 pictures: too dear", copies=Copies(2, 9, "sent 2 of 9"))
    made = drawn(folder, replace(whole, rows=(few,)))
    assert "1 of 2 no share" in made.words("matrix").replace("2no", "2 no")
    assert "1 of 2, no share" in made.opened("quoted.recall") and "%" not in made.words("h-missed")
    assert "50 %" not in made.words("matrix")


def test_tries_that_nobody_counts_are_without_limit(folder: Path) -> None:
    seen = observed()
    alone = row(replace(seen, design=replace(seen.design, roles={})))
    assert alone.figures["oracle_tries"].why.startswith("without limit")
    old = replace(alone, figures={**alone.figures, "oracle_tries": Figure(4320500.0)})
    for each in (alone, old):
        words = drawn(folder, replace(check_folder(folder), rows=(each,))).words("client")
        assert "without limit" in words and "500" not in words


def test_what_a_check_did_not_look_for_to_its_end_is_not_said_to_be_unseen(folder: Path) -> None:
    whole = check_folder(folder)
    fact = FactSeen("every_hash", "every hash", Severity.HASH, (Shows.HASH,))
    declared = (Declared(("matcher",), "semi-honest", "design", (fact,)),)
    seen = observed()
    seen = replace(seen, design=replace(seen.design, declared=declared))
    for verdict, words in (("passed", "declared, not seen"), ("not checked", "declared, not checked")):
        check = Check("tightness", "", verdict, "", {}, 1.0)
        made = drawn(folder, replace(whole, rows=(row(seen, (check,), ""),)))
        assert f"hash , {words}" in made.opened("quoted.sees").replace("hash,", "hash ,")
    assert "declared, not checked" in drawn(folder, replace(whole, rows=(row(seen),))).opened("quoted.sees")


def test_a_design_that_finds_nothing_has_no_traffic_of_the_harness(folder: Path) -> None:
    seen = observed()
    nothing = replace(
        seen, design=replace(seen.design, relation="nothing", roles={}, learns=("nobody",), declared=()),
        pictures=tuple(replace(one, matched=None) for one in seen.pictures),
        traffic=(Traffic("matcher", "setup", 1, 2), Traffic("centre", "account", 1, 2)),
    )  # fmt: skip
    one = row(nothing)
    assert one.figures["setup_bytes"].why.startswith("nothing to measure")
    made = drawn(folder, replace(check_folder(folder), rows=(one,)))
    assert "matcher" not in made.opened("quoted.sees") and "centre:" not in made.opened("quoted.sees")
    assert "no server asked;" not in made.words("matrix")


def test_bytes_a_day_are_those_up_and_down() -> None:
    held = Figure(10.0), Figure(1000.0)
    figures = {
        "setup_bytes": held[0],
        "update_bytes": held[0],
        "query_up_bytes": held[1],
        "query_down_bytes": held[1],
    }
    seen = row(observed())
    both = replace(seen, figures={**seen.figures, **figures})
    made = drawn(SAMPLE, replace(check_folder(SAMPLE), rows=(both,)), given={"volume": 1e9, "devices": 0})
    assert "2 TB" in made.words("matrix")


def test_the_range_of_false_matches_says_that_it_has_no_source(sample: Drawn) -> None:
    for name in ("fpr_perceptual", "fpr_classifier"):
        assert volumes()[name]["provenance"] == "recalled"
    assert "peak day" in asset_fields() and "without a source" in sample.words("flagged")


def asset_fields() -> str:
    return next(one.label for one in inputs() if one.ident == "volume")
