"""The decision sheet: a row for every design and study, in the numbers of the run and of the scale."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from xml.etree.ElementTree import Element

import pytest
from blindmatch_protocol.contract import Severity
from blindmatch_simulations.cli.app import run
from blindmatch_simulations.data import committed, table_of, volumes
from blindmatch_simulations.evaluation.assess.results import Measured, Results, Studied, check_folder
from blindmatch_simulations.evaluation.population.false_matches import break_even
from blindmatch_simulations.evaluation.population.inputs import read_inputs
from blindmatch_simulations.evaluation.population.threshold import Contrast
from blindmatch_simulations.evaluation.studies.evidence import committed as committed_rows
from blindmatch_simulations.evaluation.studies.false_matches import FALSE
from blindmatch_simulations.measure.results import Figure
from blindmatch_simulations.report import printing
from blindmatch_simulations.report.yearly import inputs
from blindmatch_simulations.testbed.deployment.registry import all_designs, load_design
from defusedxml.ElementTree import fromstring
from msgspec.structs import replace
from support.assess_page import results_folder
from support.drawn import Drawn, drawn

SAMPLE = Path(__file__).parents[2] / "docs" / "sample"
GIVEN = {one.ident: one.value for one in inputs()}
KNOWN_A_DAY = GIVEN["files"] / 365


@pytest.fixture(scope="module")
def results() -> Results:
    return check_folder(SAMPLE)


@pytest.fixture(scope="module")
def made(results: Results) -> Drawn:
    return drawn(SAMPLE, results)


def test_the_page_says_by_the_calculator_what_bursts_do_to_a_threshold_and_the_sheet_has_one_threshold(
    made: Drawn,
) -> None:
    least, bursty = Contrast().needed()
    said = f"a threshold of {least} if false matches are independent, {bursty} in bursts (several at once)."
    assert said in made.words("flagged")
    assert "threshold of" not in _words(fromstring(made.sheet)), "from 5 on is what is said there"
    assert (least, bursty) == (12, 199) and "design threshold" in made.opened("bursts")


def _rows(made: Drawn) -> dict[str, list[str]]:
    """Words of the cells, by the design that heads them."""
    tree: Element = fromstring(made.sheet)
    rows = [one for one in tree.iter("tr") if one.find(".//td") is not None]
    return {_design(one): [_words(cell) for cell in one.findall("td")] for one in rows if _design(one)}


def _design(row: Element) -> str:
    """Its own name, whatever words stand for it; empty of a row of none."""
    return next((one.get("data-design", "") for one in row.iter() if one.get("data-design")), "")


def _words(one: Element) -> str:
    return " ".join("".join(one.itertext()).replace("\u00a0", " ").replace("\u202f", "").split())


def _found(made: Drawn, name: str) -> list[str]:
    """What a design finds, of edited copies, and innocents a year: of its letter, or of its own row."""
    cell = _rows(made)[name][1]
    tree: Element = fromstring(made.sheet)
    table = next(
        (one for one in tree.iter("table") if one.findtext("caption", "").startswith("Found, by how")), ()
    )
    rows = [[_words(cell) for cell in one] for one in table and table.iter("tr")]
    of = [row[1:] for row in rows if row[0].startswith(cell[:2])]
    return of[0] if re.match("[A-Z] ", cell) else cell.split("; ", 1)[1].split("; innocents: ")


def _of(results: Results, name: str) -> Measured:
    return next(one for one in results.rows if isinstance(one, Measured) and one.design.name == name)


def test_every_design_and_study_of_the_run_has_a_row_under_its_level(results: Results, made: Drawn) -> None:
    level = {one["id"]: one["level"] for one in committed("options")["options"]}
    tree: Element = fromstring(made.sheet)
    found = {}
    under = ""
    for one in tree.iter("tr"):
        if one.find("th[@colspan]") is not None:
            under = _words(one)
        elif one.find("td") is not None and _design(one):
            found |= dict.fromkeys(_design(one).split(), under)
    heads = {
        "baseline": "Baselines",
        "device": "Device level",
        "server": "Server level",
        "encryption": "Protocol level",
    }
    measured = {one.id: one.design.option for one in results.rows if isinstance(one, Measured)}
    studied = {one.id: one.option for one in results.rows if isinstance(one, Studied)}
    assert found == {name: heads[level[option]] for name, option in (measured | studied).items()}


def _carried(results: Results) -> tuple[Results, Measured]:
    """With a variant of a design: whoever answers is not told whose picture it is, at more bytes."""
    base = _of(results, "oprf-psi")
    figures = {**base.figures, "query_up_bytes": Figure(1e6)}
    design = replace(
        base.design, name="carried-oprf-psi", declared=_of(results, "carried-oprf-psi").design.declared
    )
    one = replace(base, id="carried-oprf-psi", design=design, figures=figures)
    rest = [each for each in results.rows if each.id != one.id]
    return replace(results, rows=(*rest, one)), one


def test_a_variant_stands_below_its_design_and_says_only_what_differs(results: Results) -> None:
    whole, one = _carried(results)
    made = drawn(SAMPLE, whole)
    names = list(_rows(made))
    both = "carried-token-psi carried-oprf-psi"
    assert names.index(both) == names.index("token-psi") + 1, "below the designs of its option"
    (cell,) = _rows(made)[both]
    assert cell.startswith("Who learns what of an innocent picture: nobody anything more than in every")
    assert cell.count("Who learns") == 1, "what is said of both is said once"
    (megabytes,) = re.findall(r"blinded hash: A user's year: [\d.\u2013]+ s; ([\d.]+) MB", cell)
    assert 1 <= float(megabytes) / GIVEN["items"] < 1.1 and "same hash" not in cell and "yes" not in cell
    links = {each.get("href", "")[1:] for each in fromstring(made.sheet).iter("a")}
    assert {"carried-token-psi.sees", f"{one.id}.user"} <= links & made.evidence.keys()
    fold = next(each for each in made.tree().iter("details") if each.get("id") == "variants")
    assert f"{one.id}.cost" in {each.get("href", "")[1:] for each in fold.iter("a")}, "all of its figures"
    same = replace(one, design=_of(results, "oprf-psi").design, figures=_of(results, "oprf-psi").figures)
    rows = tuple(same if each is one else each for each in whole.rows)
    found = _rows(
        drawn(SAMPLE, replace(whole, rows=[each for each in rows if each.id != "carried-token-psi"]))
    )
    assert found[one.id] == ["no different"]


def test_a_variant_without_its_design_has_a_row_of_its_own(results: Results) -> None:
    whole, one = _carried(results)
    made = drawn(SAMPLE, replace(whole, rows=(one,)))
    assert len(_rows(made)[one.id]) == 8 and 'id="variants"' not in made.main
    known = all_designs()
    for kind in committed("plain")["variants"]:
        assert kind["says"] and {*kind["of"], *kind["of"].values()} <= known.keys()


def test_every_number_of_the_sheet_opens_what_it_stands_on(made: Drawn) -> None:
    links = [one for one in fromstring(made.sheet).iter("a") if one.get("class") == "n"]
    assert len(links) > 90
    opening = [one.get("href", "")[1:] for one in links]
    assert {*opening} - {*made.evidence} == {"actors", "after"}, "attacks alone, whose places are parts"
    assert {"actors", "after"} <= {one.get("id") for one in made.tree().iter()}


def test_found_is_the_share_of_all_edited_copies_with_that_of_the_providers_beside(
    results: Results, made: Drawn
) -> None:
    for name in ("token-psi", "oprf-psi", "provider-scan"):
        figures = _of(results, name).figures
        figure = figures["corpus_recall"]
        part = figures["corpus_recall_pairs"].value
        assert figure.value is not None and figure.low is not None and figure.high is not None and part
        value, low, high = (f"{100 * one:.3g}" for one in (figure.value, figure.low, figure.high))
        assert _found(made, name)[0] == f"{value} % ({low}\u2013{high} %); {100 * part:.3g} % of 0a's"
        assert _rows(made)[name][1].endswith(f", {value} %")
    assert _rows(made)["none"][1] == "nothing"


def test_what_a_user_pays_in_a_year_is_computed_from_the_row_and_the_scale(
    results: Results, made: Drawn
) -> None:
    row = _of(results, "token-psi").figures
    query = sum(row[name].value or 0 for name in ("query_up_bytes", "query_down_bytes"))
    setup, update = (row[name].value or 0 for name in ("setup_bytes", "update_bytes"))
    total = GIVEN["items"] * query + GIVEN["setups"] * setup + 365 * GIVEN["updates"] * update
    cpu = (row["phone_cpu_ms"].value or 0) * GIVEN["items"] / 1000
    cell = _rows(made)["token-psi"][2]
    assert re.match(
        f"{cpu:.2g}(\u2013[0-9]+)? s; {total / 1e6:.3g} MB\u2013.*, \u20ac{total * PRICE:.2f}\u2013", cell
    )
    constant = {"query_growth_bytes": Figure(0.0, low=0.0, high=0.0)}
    sealed = _rows(drawn(SAMPLE, _with(results, constant)))["enclave"][2]
    assert "\u2013" not in sealed.split(";")[1], "a sealed picture does not grow with the list"


PRICE = volumes()["data_price"]["value"] / 1e9


def test_a_real_list_is_priced_by_the_lines_of_the_costs_and_a_slope_counts_once(results: Results) -> None:
    """The most that the query's band allows, and whole sets at each update."""
    more = 599_976.0
    part = {
        "query_growth_bytes": Figure(0.0, low=0.0, high=more),
        "setup_bytes": Figure(20_000.0),
        "setup_growth_bytes": Figure(5_000.0),
        "update_bytes": Figure(20_000.0, "a whole set"),
    }
    whole = _with(results, part)
    made = drawn(SAMPLE, whole)
    listed = volumes()["iwf_list_2024"]["value"]
    one = _of(whole, "he-hamming")
    asked = sum(one.figures[name].value or 0 for name in ("query_up_bytes", "query_down_bytes"))
    times = (listed - int(one.parameters["entries"])) / 1000
    most = GIVEN["items"] * (asked + more * times)
    most += (GIVEN["setups"] + 365 * GIVEN["updates"]) * (20_000 + 5_000 * times)
    (size, unit, price) = re.findall(r"\u2013([\d.]+) (.)B, .*\u2013(\d+)$", _rows(made)["he-hamming"][2])[0]
    assert float(size) * {"G": 1e9, "T": 1e12}[unit] == pytest.approx(most, rel=0.005)
    assert float(price) == pytest.approx(most * PRICE, rel=0.05)
    day = most * GIVEN["devices"] / 365 * (GIVEN["volume"] * 365 / GIVEN["devices"] / GIVEN["items"])
    (size, unit) = re.findall(r" to ([\d.]+) (.)B", made.opened(f"he-hamming.cost.{listed}"))[-1]
    assert float(size) * {"P": 1e15, "E": 1e18}[unit] < day, "the queries of the same table, which are a part"
    assert float(size) * {"P": 1e15, "E": 1e18}[unit] > 0.9 * GIVEN["volume"] * more * times


def test_no_number_of_innocents_a_year_follows_from_test_pictures(results: Results) -> None:
    """The sheet, the year and a cell had 0 to 27, 0 to 53 and 1.2 to 53 billion for one quantity."""
    for photos in (1e7, 1e9):
        one = drawn(SAMPLE, results, given={"volume": photos})
        words = _words(fromstring(one.sheet)) + one.words("year") + one.words("flagged")
        own = words.partition("Claimed and measured rates")[0]
        assert own != words, "what others claim stands after it, and may have any number"
        assert "billion" not in own
        assert "Innocent pictures matched: not known." in words and "Wrong matches: not known." in words


def test_what_holds_in_every_design_holds_in_those_without_list_report_or_encryption(made: Drawn) -> None:
    words = _words(fromstring(made.sheet))
    assert (
        "None finds grooming, live streams or video; new material: 1d alone may. Almost no copy is " in words
    )
    assert "found after one of these edits: " in words
    assert "says so at once; where the provider does (0a), the sender is told only later, when a " in words
    assert "person has decided; of opened vouchers, nothing. " in words
    assert "(not in 1d) and a person decide" in words
    assert "mirrored left to right" in words and "half the width" not in words
    assert "Modified clients escape: E2EE designs by not asking, 0a by packing pictures" in words
    assert "into archives (where these are allowed) or editing pictures." in words
    assert "Where there is a list, curator and centre hold it" in words
    assert _rows(made)["none"][5] == "none but every design\u2019s", "a provider with keys of its own"
    assert "succeeded: look-alikes that match" in made.words("after")
    assert "the report is refused, but the centre has seen the picture by then." in made.words("after")
    assert not re.search(r"third_party|party_[ab]", made.words("abuse")), "parties in plain words"


def test_false_matches_are_told_by_kind_of_picture_kind_of_list_and_length(made: Drawn) -> None:
    tree: Element = fromstring(made.sheet)
    heads = [_words(one) for one in tree.iter("th") if "of another source" in _words(one)]
    assert heads
    for name, within in (("token-psi", 31), ("oprf-psi", 0)):
        told = _found(made, name)[1]
        for kind, words in (("all", "of all kinds"),):
            (row,) = (
                one.figures["item_by_package"]
                for one in committed_rows()
                if one.id == FALSE and one.parameters == {"within": within, "kind": "all", "list": kind}
            )
            assert row.low is not None and row.high is not None and row.pairs and row.n
            low, high = (f"{100 * end:.3g}" for end in (row.low, row.high))
            assert f"({low}\u2013{high} %)" in told
            assert f"list of {float(f'{row.pairs / row.n:.3g}'):.0f} {words}" in heads[0]


def test_a_classifier_flags_innocents_as_the_literature_says(made: Drawn) -> None:
    assert _found(made, "device-classifier")[1].startswith("not measured; recalled ")


def test_the_sheet_says_of_a_party_what_the_other_views_say(results: Results, made: Drawn) -> None:
    found = _rows(made)
    assert found["device-classifier"][6] == found["none"][6] == "no list"
    joint = "nobody anything more than in every design, unless matcher and provider join"
    assert joint in next(found[one] for one in found if "carried-oprf-psi" in one)[0], (
        "then whose each request is"
    )
    for name in ("device-list", "device-classifier"):
        assert found[name][0] == "matcher: who fetches the set-up"
        assert found[name][3] == "matcher, for the set-up alone"
        assert "matcher account" in made.opened(f"{name}.sees")
    assert found["enclave"][0] == "provider: the sealed picture", "only its report shows that one matched"
    assert "that nothing matched" in found["hash-upload"][0]
    ran, of = map(int, re.findall(r"\d+", _of(results, "he-hamming").lessened)[:2])
    assert found["he-hamming"][7].startswith(f"{of - ran} of {of} test pictures not run")
    assert "the first bits of every scrambled hash, who sent it: 1c prefix sent" in made.words("rights")
    alone = replace(_of(results, "device-list"), traffic=())
    cells = _rows(drawn(SAMPLE, replace(results, rows=(alone,))))["device-list"]
    assert cells[0].startswith("nobody anything more") and cells[3] == "no matching server"
    assert found["targeted-access"][5].endswith("96 of 96 messages opened (who notices: not measured)")


def test_where_the_centre_gets_vouchers_it_is_said_to_have_one_of_every_innocent_picture(
    results: Results,
) -> None:
    one = _of(results, "device-list-hashed")
    figures = {**one.figures, "report_bytes": Figure(2e6)}
    row = replace(one, id="vouching", design=replace(one.design, learns=("centre",)), figures=figures)
    made = drawn(SAMPLE, replace(results, rows=(row,)))
    cells = _rows(made)["vouching"]
    assert "centre: a voucher of each, who sent it" in cells[0]
    assert cells[3] == "centre; cores: not measured"
    (gigabytes,) = re.findall(r" s; ([\d.]+)\u2013[\d.]+ GB", cells[2])
    assert float(gigabytes) * 1e9 > GIVEN["items"] * 2e6, "they are paid for"
    assert "a voucher, closed by cryptography below its threshold, who sent it: " in made.words(
        "rights"
    ) and "PB" in made.words("matrix")


def test_wherever_a_reader_starts_a_voucher_is_said_to_leave_for_every_picture(made: Drawn) -> None:
    vouching = {name for name in all_designs() if load_design(name).info.vouching is not None}
    readme = (SAMPLE.parents[1] / "README.md").read_text("utf-8")
    sums = table_of("follow")["sums"]
    assert vouching and all(f"`{name}`" in readme.partition("*every* picture")[0] for name in vouching)
    told = [readme, _words(fromstring(made.sheet)), made.words("rights"), *(sums[name] for name in vouching)]
    for words in told:
        assert re.search(r"every\*? picture", words) and "voucher" in words and "cryptography" in words
    opened = (
        "can open those that match, from 5 matches with different hashes, of a device and period, on; "
        "in this run "
    )
    assert opened in told[1] and "0 of 52 blinded hash with threshold" in told[1]
    assert "Below, cryptography hides pictures, not how many were sent or look listed." in told[1]


def test_cpu_is_told_up_to_the_longest_list_measured_and_noise_is_not_multiplied(results: Results) -> None:
    """Two lengths gave 22,000 to 18 million cores at a million entries, and 0a's device a range of noise."""
    line = "line through 3,004 and 24,032 entries"
    for low, grows in ((0.5, True), (-9.0, False)):
        slope = {f"{one}_growth_u": Figure(2.0, line, low=low, high=4.0) for one in ("device", "server")}
        whole = _with(results, slope)
        made = drawn(SAMPLE, whole, given={"list": 2_000_000})
        row = _of(whole, "token-psi")
        found = _rows(made)["token-psi"]
        ms, u = (row.figures[name].value or 0 for name in ("matcher_cpu_ms", "server_u"))
        more = 4.0 * ms / u * 21.028 if grows else 0.0
        seconds = ((row.figures["phone_cpu_ms"].value or 0) + more) * GIVEN["items"] / 1000
        assert float(re.findall(r"([\d.]+) s;", found[2])[0]) == pytest.approx(seconds, rel=0.05)
        cores = (max(ms, row.figures["server_cpu_ms"].value or 0) + more) * 1e6 / 86_400_000
        own, _, limited = found[3].partition("; a key: ")
        assert float(re.findall(r"[\d.]+$", own)[0]) == pytest.approx(cores, rel=0.05)
        assert limited == "13 seconds"
        assert "lasts 13 seconds, or the list is open to " in _words(fromstring(made.sheet))
        assert "not known beyond" in made.opened("token-psi.cost")
        assert "24 032 entries, the longest list measured" in made.opened("token-psi.user")
        assert "beyond: not known" in _words(fromstring(made.sheet))


def test_a_threshold_has_its_worst_abuse_and_who_would_notice(tmp_path: Path, results: Results) -> None:
    """None is declared: of a played attack of others than users; else what holds wherever a list is made."""
    played = _rows(drawn(SAMPLE, results))
    bare = _rows(drawn(tmp_path, results))
    for name in ("threshold-psi", "threshold-near"):
        assert played[name][5] == "centre with curator: pictures that are not listed (nobody)"
        assert bare[name][5] == "curator lists any picture (not measured)"
        assert played[name][3] == "centre; cores: not measured"


def test_what_is_known_of_false_matches_stands_together_on_the_first_view(made: Drawn) -> None:
    words = _words(fromstring(made.sheet))
    (told,) = re.findall(r"Innocent pictures matched: not known\. (.*?reality lies\.)", words)
    assert re.match(
        r"Seen: 0 of \d+ photographs, near-duplicates set apart, matched a picture of another source, "
        r"in a list of [\d ]+, ",
        told,
    )
    assert "which excludes only rates above 0." in told
    assert "Least flattering defensible rates, all kinds, with intervals by package: " in told
    assert re.search(
        r"against a list of \d+ photographs; [\d.]+ % \(.*? of all kinds; a longer list matches more\.", told
    )
    assert "half of all matches would be wrong at one error in 146000 pictures;" in told
    assert told.endswith("No test here tells on which side reality lies.")
    assert told in re.sub(r"(?<=\d) (?=\d{3})", "", made.words("year")), "the same on both views"
    assert break_even(read_inputs(None)).pictures == pytest.approx(146_000, rel=1e-3)


def test_the_sheet_says_what_its_words_mean(made: Drawn) -> None:
    words = _words(fromstring(made.sheet)).partition("None finds")[0].lower()
    said = (
        "provider matcher curator centre vendor exceptional hash set-up homomorphic tokens voucher classifier"
    )
    for word in (*said.split(), "enclave", "sealed", "stand-in"):
        assert re.search(rf"{word}[^.;]*(:|\): )", words), word


def _with(results: Results, figures: dict[str, Figure]) -> Results:
    rows = [
        replace(one, figures={**one.figures, **figures}) if isinstance(one, Measured) else one
        for one in results.rows
    ]
    return replace(results, rows=tuple(rows))


def test_what_was_not_measured_is_said_and_never_counted_as_nothing(results: Results) -> None:
    names = (
        "device_cpu_ms",
        "phone_cpu_ms",
        "query_up_bytes",
        "server_cpu_ms",
        "matcher_cpu_ms",
        "proof_bytes",
    )
    absent = {name: Figure(None, "no") for name in names}
    found = _rows(drawn(SAMPLE, _with(results, absent)))
    assert found["enclave"][2] == "not measured; not measured"
    assert found["oprf-psi"][3].endswith("; not measured") and found["oprf-psi"][6] == "not measured"
    assert "the option itself (stand-in ran)" in found["enclave"][7]


def test_without_committed_evidence_the_runs_own_few_pictures_stand_for_no_year(results: Results) -> None:
    names = ("recall", "recall_pairs", "false_photographs", "false", "false_all")
    absent = {f"corpus_{name}": Figure(None, "no") for name in names}
    elsewhere = [
        replace(one, design=replace(one.design, distance=7)) if isinstance(one, Measured) else one
        for one in _with(results, absent).rows
    ]
    other = replace(results, rows=tuple(elsewhere))
    found = _found(drawn(SAMPLE, other), "oprf-psi")
    figure = _of(results, "oprf-psi").figures["recall"]
    assert figure.value and figure.n
    assert found[0] == f"{figure.value * figure.n:.0f} of {figure.n}: too few to say"
    narrow = {**absent, "recall": replace(figure, low=0.1, high=0.2)}
    assert _found(drawn(SAMPLE, _with(other, narrow)), "oprf-psi")[0].startswith(
        "13.5 % (10\u201320 %) of 52"
    )
    sent = _of(results, "oprf-psi").figures["false_matches"].n
    assert found[1].startswith(f"not measured at scale; 0 of {sent}")


def test_of_equally_severe_abuses_one_that_nobody_would_notice_is_told(results: Results, made: Drawn) -> None:
    order = list(Severity)
    for name, cells in _rows(made).items():
        if name == "targeted-access" or len(cells) < 8 or "(" not in cells[5]:
            continue
        facts = [
            fact
            for leak in _of(results, name).design.declared
            for fact in leak.facts
            if fact.abuse and fact.topic != "read"
        ]
        top = min(order.index(fact.severity) for fact in facts)
        if any(fact.noticed_by == "nobody" and order.index(fact.severity) == top for fact in facts):
            assert cells[5].endswith("(nobody)"), name


def test_a_design_outside_the_catalogue_and_a_failed_one_are_told(tmp_path: Path, results: Results) -> None:
    first = _of(results, "oprf-psi")
    other = replace(first, design=replace(first.design, option="9z"))
    page_ = drawn(SAMPLE, replace(results, rows=(other,)))
    assert "Not in the catalogue" in page_.sheet and "Baselines" not in page_.sheet
    folder = results_folder(tmp_path)
    assert ">bad</code> failed: " in drawn(folder, check_folder(folder)).sheet


@pytest.mark.parametrize("there", [True, False])
def test_the_sheet_is_printed_where_a_browser_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], there: bool
) -> None:
    folder = results_folder(tmp_path)
    script = tmp_path / "browser"
    script.write_text(
        '#!/bin/sh\nfor one; do case $one in --print-to-pdf=*) echo "%PDF $*" >"${one#*=}";; esac; done\n'
    )
    script.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda _: str(script) if there else None)
    assert run(["report", str(folder), "--sheet"]) == (0 if there else 6)
    assert (folder / "sheet.pdf").exists() == there
    if there:
        assert (folder / "sheet.html").resolve().as_uri() in (folder / "sheet.pdf").read_text()
    else:
        assert "no Chromium to print with" in capsys.readouterr().err
    assert '<body class="sheet">' in (folder / "sheet.html").read_text(), "it is there to be printed by hand"


def test_a_browser_that_prints_nothing_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: "/bin/false")
    with pytest.raises(printing.ReportError, match="printed nothing: exit code 1"):
        printing.print_page(tmp_path / "sheet.html")
