"""Derive every number of the report's first two views again, from committed data, by no code of the program.

    make first-views                      # of docs/sample, by a browser if there is one
    PYTHONPATH=tests python -m independent.first_views [SAMPLE]

Both list each number and its derivation, and end with 1 if there is a fault.

The first view is the decision sheet. The second one is what an address with `#year` shows first: the year
with its sliders and its fold, and the options with theirs. Recall and false matches come from the
fingerprints of the reference corpus, costs from the rows that the run recorded, a year from
`population.toml`, attacks from `attacks.json`. What each figure is stands in docs/explanation/report.md,
docs/explanation/population.md and docs/reference/corpus.md.

A number on these views that no derivation claims is a fault, and so is a claim that the page does not have.
Where a figure was drawn at random, the derivation says between what it must lie.
"""

from __future__ import annotations

import json
import re
import sys
from functools import cached_property
from math import comb
from pathlib import Path
from typing import Any

import numpy as np

from independent.corpus import Corpus, Share, clopper_pearson, quantile_bounds
from independent.costs import DAY_MS, Recorded
from independent.page import Derived, Element, Ledger, rendered
from independent.year import DAYS, Inputs, drawn_counts, fates, joint

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "simulations" / "blindmatch_simulations" / "data"
SAMPLE = ROOT / "docs" / "sample"
N = r"(\d+(?:\.\d+)?(?: \d{3})*(?: (?:thousand|million|billion))?)"
"""A number of the page, perhaps with a word for its power of ten."""
P = r"(\d+(?:\.\d+)?(?: \d{3})* %)"
PS = r"\((\d+(?:\.\d+)?(?:–\d+(?:\.\d+)?)? %)\)"
B = r"(\d+(?:\.\d+)? [kMGTP]?B)"
ALL = "all"
NEAR = "near"
EQUAL = "equal"


class Committed:
    """What the derivations stand on: files of the repository, read as data."""

    def __init__(self, sample: Path, data: Path = DATA) -> None:
        self.sample = sample
        self.data = data
        self.results = _json(sample / "results.json")
        self.attacks = [row for row in _json(sample / "attacks.json")["rows"] if row["kind"] == "attack"]
        self.unplayed = [row for row in _json(sample / "attacks.json")["rows"] if row["kind"] != "attack"]
        self.evidence = _json(data / "evidence.json")["rows"]
        self.plain = _json(data / "plain.json")
        self.options = [one["id"] for one in _json(data / "options.json")["options"]]
        self.volumes = {one["id"]: one for one in _json(data / "volumes.json")["figures"]}
        self.inputs = Inputs(data / "population.toml")
        self.corpus = Corpus(data, ROOT / "docs")
        rows = [row for row in self.results["rows"] if row["kind"] == "design"]
        self.designs = {row["id"]: Recorded(sample, row) for row in rows}
        longest = max(one.u_ms for one in self.designs.values())
        for one in self.designs.values():
            one.longest_u = one.u_ms or longest
        self.study = next((row for row in self.results["rows"] if row["kind"] == "study"), None)

    # ---- how a design matches

    def copies(self, name: str) -> np.ndarray:
        """Return the copies of the corpus that a design finds (docs/designs)."""
        made = self.designs[name]
        if made.relation == EQUAL:
            return self.corpus.equal
        if name == "wide-psi":
            return self.corpus.wide
        if "bands" in made.row["design"]["parameters"]:
            return self.corpus.tokens
        if name == "threshold-near":
            return self.corpus.visible
        return self.corpus.pdq

    def recall(self, name: str, of_pdq: bool = False) -> Share:
        key = (id(self.copies(name)), of_pdq)
        if key not in self._recalls:
            found = self.copies(name)
            self._recalls[key] = self.corpus.recall(found, self.corpus.pdq if of_pdq else None)
        return self._recalls[key]

    @cached_property
    def _recalls(self) -> dict[tuple[int, bool], Share]:
        return {}

    def mixed_recall(self, name: str) -> float:
        """Return the mean recall of the assumed mix of edits."""
        found = self.copies(name)
        corpus = self.corpus
        of = found[corpus.is_photograph]
        return sum(
            share * float(of[:, corpus.edits.index(edit)].mean()) for edit, share in self.inputs.mix.items()
        )

    def evidence_figure(self, name: str, figure: str) -> dict[str, Any]:
        """Return the committed figure of a design, which the page may round; the derivation must agree."""
        row = next(
            row
            for row in self.evidence
            if row["id"] == "evidence/recall"
            and row["parameters"]["kind"] == "photograph"
            and name in row["parameters"]["designs"].split(", ")
        )
        found: dict[str, Any] = row["figures"][figure]
        return found

    def false(self, relation: str, kind: str = ALL, listed: str = ALL) -> tuple[Share, float]:
        key = (relation, kind, listed)
        if key not in self._false:
            self._false[key] = self.corpus.false_matches(kind, listed, 31 if relation == NEAR else 0)
        return self._false[key]

    @cached_property
    def _false(self) -> dict[tuple[str, str, str], tuple[Share, float]]:
        return {}

    def false_figure(self, relation: str) -> dict[str, Any]:
        row = next(
            row
            for row in self.evidence
            if row["id"] == "evidence/false"
            and row["parameters"] == {"kind": ALL, "list": ALL, "within": 31 if relation == NEAR else 0}
        )
        found: dict[str, Any] = row["figures"]["item_by_package"]
        return found

    # ---- the year

    def fates(self, name: str, **others: Any) -> dict[str, float]:
        made = self.designs[name]
        offence = made.row["offence"]
        silent = offence["asked"] == 0 and made.is_end_to_end
        share = offence["delivered"] / offence["sent"] if silent else 0.0
        if made.vouches:
            share = 1.0
        return fates(
            self.inputs,
            recall=self.mixed_recall(name),
            unnoticed=share,
            asks=made.asks,
            threshold=made.stated_threshold(),
            made_up=made.synthetic(),
            **others,
        )

    def joint(self, behaviour: dict[str, Any]) -> dict[str, np.ndarray]:
        key = json.dumps(behaviour)
        if key not in self._joint:
            self._joint[key] = joint(self.inputs, behaviour)
        return self._joint[key]

    @cached_property
    def _joint(self) -> dict[str, dict[str, np.ndarray]]:
        return {}

    @property
    def counted(self) -> list[str]:
        """Designs that match listed pictures, of which a year is computed."""
        return [name for name, one in self.designs.items() if one.relation in (NEAR, EQUAL)]

    @property
    def items(self) -> float:
        return self.inputs("activity", "pictures_a_day") * DAYS

    @property
    def setups(self) -> float:
        return self.inputs("accounts", "setups_a_year")

    @property
    def updates(self) -> float:
        return DAYS / self.inputs("list", "epoch_days")

    @property
    def volume(self) -> float:
        return self.inputs("activity", "pictures_a_day") * self.inputs("accounts", "number")


def _json(file: Path) -> Any:
    return json.loads(file.read_text("utf-8"))


# ---- words of the numbers that several places say


def share_(
    made: Share, figure: dict[str, Any], how: str, digits: int = 3
) -> tuple[Derived, tuple[Derived, Derived]]:
    """Return a share and its interval, whose ends were drawn: the committed ones, if they can be of "
    "such draws."""
    ends = (
        Derived(figure["low"], f"{how}, interval", digits, between=made.low),
        Derived(figure["high"], f"{how}, interval", digits, between=made.high),
    )
    return Derived(made.value, f"{made.hits} of {made.trials}, {how}", digits), ends


def claim_false(made: Committed, ledger: Ledger, place: str) -> None:
    """Claim what is known of false matches, in three parts (docs/explanation/population.md)."""
    seen, length = made.false(NEAR, "photograph")
    _, most = clopper_pearson(seen.hits, seen.trials)
    how = "photographs against those of other sources"
    ledger.claim(
        place,
        rf"Seen: {N} of {N} photographs, near-duplicates set apart, matched a picture of another source, "
        rf"in a list of {N}, which excludes only rates above {P}, if photographs err independently",
        Derived(seen.hits, how, 0),
        Derived(seen.trials, how, 0),
        Derived(length, "mean list of the other sources"),
        Derived(most, "Clopper and Pearson"),
    )
    photos, short = made.false(NEAR, ALL, "photograph")
    mixed, long = made.false(NEAR)
    value, ends = share_(mixed, made.false_figure(NEAR), "matches of another source, packages drawn again")
    ledger.claim(
        place,
        rf"none of {N} {PS} against a list of {N} photographs; {P} {PS} against a list of {N} of "
        rf"all kinds",
        Derived(
            photos.trials, "pictures asked about, none matched" if not photos.hits else "some matched", 0
        ),
        (
            Derived(0, "none matched"),
            Derived(clopper_pearson(0, len(np.unique(made.corpus.package)))[1], "over packages"),
        ),
        Derived(short, "mean length"),
        value,
        ends,
        Derived(long, "mean length"),
    )
    ledger.claim(
        place,
        rf"half of all matches would be wrong at (?:one error in|{ONE_IN}) {N} pictures",
        Derived(1 / made.inputs.break_even, "e = K (1 - v) / V of the inputs"),
    )


ONE_IN = "one error in"
PAIRED = {"near": "token-psi", "equal": "oprf-psi", "all": "provider-scan"}


def claim_found(made: Committed, ledger: Ledger, place: str) -> None:
    """Claim the measured ratio, its price, and of 100 known files sent."""
    near, equal, whole = PAIRED.values()
    claims: list[Any] = []
    for name in (near, equal):
        claims += share_(
            made.recall(name, of_pdq=True), made.evidence_figure(name, "of_pdq"), "of PDQ's copies"
        )
    mixed = [
        Derived(made.mixed_recall(name) / made.mixed_recall(whole), "recall of the mix over 0a's")
        for name in (near, equal)
    ]
    ledger.claim(
        place,
        rf"finds, blinded tokens {P} {PS}, blinded hash {P} {PS}, each edit alike \(assumed mix: "
        rf"{P}, {P}\)",
        *claims,
        *mixed,
    )
    prices = [made.designs[name] for name in (near, whole)]
    ledger.claim(
        place,
        rf"{N} entries: blinded tokens (\S+ ms), {B}; provider looks (\S+ ms), no query",
        Derived(prices[0].entries, "entries of the run", 0),
        Derived(prices[0].server_ms, "servers' CPU a picture", 2),
        Derived(prices[0].up + prices[0].down, "bytes a picture"),
        Derived(prices[1].server_ms, "servers' CPU a picture", 2),
    )
    hundred = [
        Derived(made.fates(name)["found"], "of 100 known files", places=1) for name in (near, equal, whole)
    ]
    ends = [
        Derived(
            made.fates(
                near,
                video=made.inputs("material", "video", end),
                modified=made.inputs("clients", "modified", end),
            )["found"],
            "with both assumed shares at their ends",
            places=1,
        )
        for end in ("high", "low")
    ]
    ledger.claim(
        place,
        rf"\({P} videos; in E2EE designs {P} by clients that never ask\)",
        Derived(made.inputs("material", "video"), "the assumed share of videos"),
        Derived(made.inputs("clients", "modified"), "the assumed share of modified clients"),
    )
    ledger.claim(
        place,
        rf"found: {N} in blinded tokens, {N} in blinded hash, {N} in provider looks \(two shares "
        rf"alone move the first to {N} or {N}\)",
        *hundred,
        *ends,
    )
    ledger.name(place, r"(?<=Of )100(?= known files sent)", "the unit of this figure")


def claim_threshold(made: Committed, ledger: Ledger, place: str) -> None:
    """Claim from when a design with a threshold opens, and what the run opened."""
    counts = [one for one in made.designs.values() if one.vouches and one.stated_threshold() > 1]
    # a period has 48 pictures; of these 1 to 32 synthetic vouchers ask for one match more, at most
    always = {one.stated_threshold() + 1 for one in counts}
    assert len(always) == 1, "designs with different thresholds"
    least = always.pop()
    order = [name for name in ("threshold-near", "threshold-psi") if name in made.designs]
    found = [made.designs[name].found for name in order]
    flat = [
        Derived(number, "listed copies that the run's centre opened, of those sent", 0)
        for pair in found
        for number in pair
    ]
    ledger.claim(
        place,
        rf"from {N} matches with different hashes, of a device and period, on; in this run "
        rf"{N} of {N} blinded tokens with threshold, "
        rf"{N} of {N} blinded hash with threshold; with more work, as declared, from {N} on",
        Derived(least, "the declared threshold, and one for synthetic vouchers", 0),
        *flat,
        Derived(least - 1, "the declared threshold", 0),
    )


def claim_attacks(made: Committed, ledger: Ledger, place: str) -> None:
    """Claim what played attacks exposed, by actors (docs/reference/attacks.md)."""
    beyond = [row for row in made.attacks if row["succeeded"] and (row["trace"] or {}).get("beyond_e2ee")]
    by_id: dict[str, list[dict[str, Any]]] = {}
    for row in beyond:
        by_id.setdefault(row["id"], []).append(row)
    unseen = sum(all(row["trace"]["notices"] == "nobody" for row in rows) for rows in by_id.values())
    bare = sum(all(row["trace"]["proof"] is None for row in rows) for rows in by_id.values())
    filed = sum(any(row["trace"]["proof"] for row in rows) for rows in by_id.values())
    how = "attacks that succeeded beyond 0b, each once"
    ledger.claim(
        place,
        rf"Abuse: {N} played attacks exposed more than 0b: {N} nobody could notice, {N} leave no "
        rf"file; {N} leave a report",
        *[Derived(number, how, 0) for number in (len(by_id), unseen, bare, filed)],
    )
    ledger.claim(place, rf"in how many of {N} designs", Derived(len(made.designs), "designs of the run", 0))
    for actor in _actors(made):
        rows = _exposed_by(made, actor)
        things = {row["trace"]["exposes"] for _, row in rows}
        noticed = {row["trace"]["exposes"] for _, row in rows if row["trace"]["notices"] != "nobody"}
        ledger.claim(
            place,
            rf"[:;,] {re.escape(_called(actor))} {N} \({N}; {N}\)",
            *[
                Derived(number, f"kinds exposed to {actor}", 0)
                for number in (len(things), len(noticed), len({design for design, _ in rows}))
            ],
        )


def _actors(made: Committed) -> list[str]:
    """Every actor that a trace names, and the parties that stand for themselves."""
    return [
        *sorted({actor for row in made.attacks if row["trace"] for actor in row["trace"]["actors"]}),
        *HOLDERS,
    ]


CALLED = {"list owner": "curator", "user with a modified client": "user who cheats"}
HOLDERS = {"matcher, third party": {"matcher", "third_party", "party_a", "party_b"}, "vendor": {"vendor"}}
"""Parties of the adversary by whom an attack counts, of those who are no actors of a trace "
"(docs/reference/attacks.md)."""


def _called(actor: str) -> str:
    return CALLED.get(actor, actor)


SAME = "goes by nothing that designs differ in"


def _exposed_by(made: Committed, actor: str) -> list[tuple[str, dict[str, Any]]]:
    """Return, with the design, each row that exposed something to an actor; an attack that goes by nothing
    that designs differ in was played on one and counts for all that say so."""
    last = {row["id"]: row for row in made.attacks}
    found = []
    for row in made.attacks + made.unplayed:
        played = (
            row if row["kind"] == "attack" else last.get(row["id"]) if row["why"].startswith(SAME) else None
        )
        if not played or not played["trace"] or not played["succeeded"] or not played["trace"]["beyond_e2ee"]:
            continue
        parties = set(played["adversary"]["parties"])
        acts = parties & HOLDERS[actor] if actor in HOLDERS else actor in played["trace"]["actors"]
        if acts:
            found.append((str(row["parameters"]["design"]), played))
    return found


def claim_wrong_reports(made: Committed, ledger: Ledger, place: str) -> None:
    tried = [[row for row in made.attacks if row["id"] == name] for name in made.plain["after"][0]["attacks"]]
    played = [rows for rows in tried if rows]
    won = sum(any(row["succeeded"] for row in rows) for rows in played)
    ledger.claim(
        place,
        rf"{N} of {N} attacks on this succeeded",
        Derived(won, "attacks on the centre's check that succeeded", 0),
        Derived(len(played), "played", 0),
    )


# ---- the first view


def first_view(made: Committed, page: Element, ledger: Ledger) -> None:
    """Claim the numbers of the decision sheet."""
    sheet = page.all("section", id="sheet")[0]
    for item in sheet.all("li"):
        lead = item.all("b")[0].words.rstrip(".").split(":")[0]
        ledger.add(f"sheet, {lead}", item.words)
    for at, paragraph in enumerate(sheet.all("p")):
        ledger.add(f"sheet, note {at + 1}", paragraph.words)
    claim_found(made, ledger, "sheet, Found")
    claim_false(made, ledger, "sheet, Innocent pictures matched")
    claim_wrong_reports(made, ledger, "sheet, A person wrongly reported")
    claim_threshold(made, ledger, "sheet, Threshold")
    claim_attacks(made, ledger, "sheet, Abuse")
    claim_keys(made, ledger, "sheet, In every design")
    note = "sheet, note 1"
    ledger.claim(
        note,
        rf"Assumed: {N} pictures, {N} set-ups and {N} updates a user and year",
        Derived(made.items, "365 days of pictures_a_day", 0),
        Derived(made.setups, "setups_a_year", 0),
        Derived(made.updates, "an update each epoch", 0),
    )
    ledger.name(note, re.escape(made.results["made_at"]), "the run's made_at")
    ledger.name(note, made.results["digest"][:16], "the run's digest")
    for table in sheet.all("table"):
        claim_sheet_table(made, table, ledger)


def claim_sheet_table(made: Committed, table: Element, ledger: Ledger) -> None:
    caption = table.all("caption")[0].words
    ledger.add("sheet, caption: " + caption[:20], caption)
    ledger.name(
        "sheet, caption: " + caption[:20],
        r"September 2020",
        "the draft paper's date, docs/explanation/report.md",
    )
    head = f"sheet, head of {caption[:5]}"
    ledger.add(head, " | ".join(one.words for one in table.all("thead")[0].all("th")))
    if caption.startswith("Found"):
        ledger.claim(
            head,
            rf"list of {N} of all kinds",
            Derived(made.false(NEAR)[1], "mean length of the list of all kinds"),
        )
        for row in table.all("tbody")[0].all("tr"):
            claim_letter(made, row, ledger)
        return
    longest = [one.longest for one in made.designs.values()]
    lengths = [one.entries for one in made.designs.values()]
    assert len(set(lengths)) == 1, "designs with lists of different lengths"
    ledger.claim(
        head,
        rf"longest list measured \({N} to {N} entries, by design; beyond: not known\); "
        rf"data, its price, {N} entries to {N}",
        Derived(min(longest), "the longest list of the design that was timed over the shortest ones", 2),
        Derived(max(longest), "the longest list that a design was timed over", 2),
        Derived(lengths[0], "entries of the run", 0),
        Derived(real_list(made), "the list of the IWF, volumes.json", 2),
    )
    for row in table.all("tbody")[0].all("tr"):
        claim_option(made, row, ledger)


def real_list(made: Committed) -> int:
    return int(made.volumes["iwf_list_2024"]["value"])


def claim_letter(made: Committed, row: Element, ledger: Ledger) -> None:
    """Claim the row of a letter: what designs that match alike find, and match wrongly."""
    place = "sheet, letter " + row.all("th")[0].words[0]
    ledger.add(place, row.words)
    shown = re.search(r"(\d+(?:\.\d+)? %) of 0a", row.words)
    fits = [
        name
        for name in made.counted
        if made.designs[name].relation in (NEAR, EQUAL)
        and shown
        and abs(made.recall(name, of_pdq=True).value - float(shown[1][:-2]) / 100) < 0.0006
    ]
    if not fits:
        ledger.faults.append(f"{place}: no design finds {shown and shown[1]} of 0a's")
        return
    claim_recall(made, ledger, place, fits[0])
    relation = made.designs[fits[0]].relation
    wrong, ends = share_(
        made.false(relation)[0], made.false_figure(relation), "matched one of another source"
    )
    ledger.claim(place, rf"of 0a's {P} {PS}", wrong, ends)


def claim_recall(made: Committed, ledger: Ledger, place: str, name: str) -> None:
    value, ends = share_(
        made.recall(name), made.evidence_figure(name, "found"), "of all copies, each edit alike"
    )
    part = Derived(made.recall(name, of_pdq=True).value, "of PDQ's copies")
    ledger.claim(place, rf"{P} {PS}; {P} of 0a's", value, ends, part)


def claim_option(made: Committed, row: Element, ledger: Ledger) -> None:
    """Claim a row of the sheet's table of options."""
    named = [one.attributes["data-design"] for one in row.all() if "data-design" in one.attributes]
    if not named:
        ledger.add("sheet, row " + row.words[:24], row.words)
        if row.words.startswith(("warn", "refuse")):
            claim_prevention(made, "sheet, row " + row.words[:24], row.words, ledger)
        return
    names = named[0].split()
    place = f"sheet, {' and '.join(names)}"
    ledger.add(place, row.words)
    if made.study and names[0] == made.study["id"]:
        claim_study(made, ledger, place)
        return
    for name in names:
        own = made.designs[name]
        own_place = place
        if len(names) > 1:
            base = made.plain["names"][name.removeprefix("carried-")]
            own_place = f"{place}, {base}"
            whole = ledger.words[place]
            start = whole.index(f"{base}: ")
            others = [made.plain["names"][one.removeprefix("carried-")] for one in names if one != name]
            stops = [at for other in others if (at := whole.find(f"{other}: ")) > start]
            end = min(stops, default=len(whole))
            ledger.add(own_place, whole[start:end])
            ledger.claimed[place].append((start, end))
        claim_row(made, own, ledger, own_place, varied=name.startswith("carried-"))


def claim_row(made: Committed, own: Recorded, ledger: Ledger, place: str, *, varied: bool) -> None:
    if own.relation == "nothing":
        return
    claim_user(made, own, ledger, place)
    claim_cores(made, own, ledger, place)
    words = ledger.words[place]
    if own.relation == "category":
        rate = made.volumes["fpr_classifier"]
        ledger.claim(
            place,
            r"recalled (\S+ %) of pictures",
            (Derived(rate["low"], "volumes.json"), Derived(rate["high"], "volumes.json")),
        )
    elif not varied and re.search(r"%.*of 0a's", words):
        claim_recall(made, ledger, place, own.name)
    elif not varied:
        ledger.claim(
            place,
            rf"(?:near|equal), {P}",
            Derived(made.recall(own.name).value, "of all copies, each edit alike"),
        )
    claim_opening(own, ledger, place)
    left, checks = own.not_run
    if left:
        ledger.claim(
            place,
            rf"{N} of {N} checks not run",
            Derived(left, "checks not run", 0),
            Derived(checks, "checks", 0),
        )
    if own.cut:
        ledger.claim(
            place,
            rf"{N} of {N} test pictures not run",
            Derived(own.cut[0], "not sent", 0),
            Derived(own.cut[1], "test pictures", 0),
        )
    ledger.name(
        place, r"256(?= numbers that every picture's hash)", "PDQ's hash has 256 bits, each of a coefficient"
    )


def claim_opening(own: Recorded, ledger: Ledger, place: str) -> None:
    """Claim from when a design opens what it finds, beside what it finds of single copies."""
    if own.vouches and own.stated_threshold() > 1:
        least = own.stated_threshold() + 1
        ledger.claim(
            place,
            rf"opens from {N} matches with different hashes on, {N} with more work",
            Derived(least, "the declared threshold, and one for synthetic vouchers", 0),
            Derived(own.stated_threshold(), "the declared threshold", 0),
        )


def claim_user(made: Committed, own: Recorded, ledger: Ledger, place: str) -> None:
    """Claim a user's year: seconds of the device's CPU, bytes and their price."""
    longer = own.phone_at(real_list(made))
    seconds = [ms * made.items / 1000 for ms in (own.phone_ms, max(own.phone_ms, longer[1]))]
    low = own.user_year(own.entries, made.items, made.setups, made.updates)[0]
    high = own.user_year(real_list(made), made.items, made.setups, made.updates)[1]
    high = high if high > 1.005 * low else low
    price = made.volumes["data_price"]["value"]
    cost = [euros(value / 1e9 * price) for value in (low, high)]
    how = "pictures, set-ups and updates of a year"
    one = r"\d+(?:\.\d+)?"
    sizes = rf"{one}(?: [kMGT]?B)?(?:–{one} [kMGT]?B)?"
    span = rf"({one}(?:–{one})? s); ({sizes}), ((?:< )?€{one}(?:–{one})?)"
    ledger.claim(
        place,
        span,
        tuple(Derived(value, "mean CPU a picture times pictures", 2) for value in seconds),
        (Derived(low, how), Derived(high, how)),
        tuple(cost),
    )


def euros(value: float) -> Derived:
    """Return how the sheet rounds a price: below a cent as `< €0.01`, below ten to a cent, else two "
    "digits."""
    if value < 0.01:
        return Derived(0.01, "below a cent", places=2)
    return Derived(value, "euro", places=2) if value < 10 else Derived(value, "euro", 2)


def claim_cores(made: Committed, own: Recorded, ledger: Ledger, place: str) -> None:
    if not own.asks or own.vouches:
        return
    ends = [own.server_ms, max(own.server_ms, own.server_at(real_list(made))[1])]
    cores = tuple(Derived(ms * 1e6 / DAY_MS, "CPU a picture, a million pictures a day", 2) for ms in ends)
    ledger.claim(
        place, r"(?:provider|matcher|party|assumed apart|hardware); (\d+(?:\.\d+)?(?:–\d+(?:\.\d+)?)?)", cores
    )
    if key_seconds(made, own) is not None:
        ledger.claim(
            place,
            rf"; a key: {N} seconds",
            Derived(key_seconds(made, own), "evaluations, by those of a day", 2),
        )


def key_seconds(made: Committed, own: Recorded) -> float | None:
    """Return how long all accounts together take to use up a key at the volume of a day; None without such a
    limit, or if it takes a year or longer (docs/explanation/capacity.md)."""
    values = own.row["design"]["parameters"]
    if not values.get("all_evaluations") or "bands" not in values:
        return None
    pictures = values["all_evaluations"] / (values["bands"] * values["probes"])
    seconds = 86_400 * pictures / made.volume
    return seconds if seconds < DAYS * 86_400 else None


def claim_keys(made: Committed, ledger: Ledger, place: str) -> None:
    """Claim how long keys last that limit all accounts together, said once for those that last alike."""
    limited = [one for one in made.designs.values() if key_seconds(made, one) is not None]
    for own in limited[:1]:
        ledger.claim(
            place,
            rf"At {N} pictures a day a key of ",
            Derived(made.volume, "pictures of a day, population.toml", digits=0),
        )
        claim_key(made, own, ledger, place)
    assert len({key_seconds(made, own) for own in limited}) <= 1, "keys that last differently"


def claim_key(made: Committed, own: Recorded, ledger: Ledger, place: str) -> None:
    seconds = key_seconds(made, own)
    assert seconds is not None and seconds < 120
    ledger.claim(
        place,
        rf"{N} seconds, or the list is open to",
        Derived(seconds, "evaluations, by those of a day", 2),
    )
    if not re.search(r"the list is open to modified phones", ledger.words[place]):
        phones = Derived(float(phones_that_open(own)), "least number that open 99 % of a uniform list", 0)
        ledger.claim(place, rf"the list is open to {N} phones", phones)


def phones_that_open(own: Recorded) -> int:
    """Return the least number of phones, with the evaluations of an account each, that open 99 % of a uniform
    list: `needed` of `bands` tokens of k bits, guessed in as many bands as serves best, of which E evenly
    spread guesses hit each with E / (bands guessed 2^k) (docs/explanation/capacity.md)."""
    values = own.row["design"]["parameters"]
    needed = values["needed"]

    def opened(guesses: int, bands: int) -> float:
        chance = min(1.0, guesses / (bands * 2 ** values["k"]))
        return 1 - sum(comb(bands, n) * chance**n * (1 - chance) ** (bands - n) for n in range(needed))

    for phones in range(1, 1_000_000):
        guesses = phones * values["account_evaluations"]
        if max(opened(guesses, bands) for bands in range(needed, values["bands"] + 1)) >= 0.99:
            return phones
    raise ValueError(f"{own.name}: no number of phones opens it")


def claim_study(made: Committed, ledger: Ledger, place: str) -> None:
    assert made.study is not None
    kept = made.study["figures"]["escrow_bytes"]["value"] * made.items
    ledger.claim(
        place,
        rf"{B}, which the provider keeps, (< €\d+(?:\.\d+)?|€\d+(?:\.\d+)?)",
        Derived(kept, "escrow_bytes a message, pictures of a year"),
        euros(kept / 1e9 * made.volumes["data_price"]["value"]),
    )
    warranted = [one for one in made.study["opened"] if one["who"].startswith("authorities")]
    most = [most_opened(warranted), most_opened(made.study["opened"])]
    ledger.claim(
        place,
        rf"{N} of them: {N} of {N} messages opened; .*, {N} of them: {N} of {N} messages opened",
        *[
            Derived(one[name], "the holders that open the most, with a warrant and at all", 0)
            for one in most
            for name in ("holders", "messages", "of_messages")
        ],
    )


def most_opened(attempts: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the first of the attempts that open the most messages."""
    return max(attempts, key=lambda one: (one["messages"], -attempts.index(one)))


def claim_prevention(made: Committed, place: str, words: str, ledger: Ledger) -> None:
    """Claim what a run of a device that warns or refuses told whom."""
    name = "warned" if words.startswith("warn") else "refused"
    kinds = [
        "listed pictures of which the sender is told",
        "listed pictures that arrive",
        "other pictures that arrive",
        "reports at the centre",
        "listed pictures told by other calls",
    ]
    for row in (row for row in made.attacks if row["id"] == name):
        of = int(row["figures"]["achieved"]["n"])
        told, came, others, reports, seen = (
            int(row["figures"][f"achieved: {kind}"]["value"]) for kind in kinds
        )
        said = (
            f"told of {told} of {of} listed pictures; arrived: {came} of {of} listed, "
            f"{others} of {of} others; centre: {reports} reports"
        )
        if said in words and f"{seen} of {of} matches" in words:
            flat = (told, of, came, of, others, of, reports, seen, of)
            ledger.claim(
                place,
                rf"told of {N} of {N} listed pictures; arrived: {N} of {N} listed, {N} of {N} "
                rf"others; centre: {N} reports; .*?: {N} of {N} matches",
                *[Derived(number, f"attacks.json, {name}", 0) for number in flat],
            )
            return
    ledger.faults.append(f"{place}: no run of {name} came to this")


# ---- the second view


def second_view(made: Committed, page: Element, ledger: Ledger) -> None:
    """Claim the numbers of the year, its sliders and fold, and of the options."""
    claim_sliders(made, page, ledger)
    year = page.all("section", id="year")[0]
    paragraphs = [one for one in year.all("p") if one.words]
    ledger.add("year, top", paragraphs[0].words)
    ledger.claim(
        "year, top",
        rf"against a list of {N} entries",
        Derived(made.inputs.mean_list, "mean length over the year"),
    )
    claim_longer(made, ledger, "year, top")
    claim_false(made, ledger, "year, top")
    tables = {one.all("caption")[0].words: one for one in year.all("table")}
    for caption, table in tables.items():
        if caption.startswith("A year"):
            claim_counts(made, table, ledger)
        else:
            claim_fates(made, table, ledger)
    ledger.add("year, head of the fold", "; ".join(one.words for one in year.all("summary")))
    ledger.name("year, head of the fold", r"(?<=Of )100(?= known)", "the unit of these figures")
    claim_mix(made, paragraphs[-1].words, ledger)
    claim_options(made, page.all("section", id="matrix")[0], ledger)


def claim_longer(made: Committed, ledger: Ledger, place: str) -> None:
    """Claim how long the year's list is, and what rates come to over it (docs/explanation/population.md)."""
    ledger.claim(
        place,
        rf"\(the year.s mean: {N} at its start, {N} times as many at its end\)",
        Derived(made.inputs("list", "entries"), "inputs", 0),
        Derived(made.inputs("list", "growth"), "inputs"),
    )
    _, short = made.false(NEAR, ALL, "photograph")
    mixed, long = made.false(NEAR)
    grown = next(
        row["figures"]["exponent"]
        for row in made.evidence
        if row["id"] == "evidence/growth" and row["parameters"] == {"kind": ALL, "list": ALL, "within": 31}
    )
    times = made.inputs.mean_list / long
    times_photos = made.inputs.mean_list / short
    figure = made.false_figure(NEAR)
    most = clopper_pearson(0, len(np.unique(made.corpus.package)))[1]
    how = "the rate times a power of how many times as long the list is"
    ledger.claim(
        place,
        rf"Scaled to {N} entries, by a model, these two rates are {P} {PS}; {P} {PS}\.$",
        Derived(made.inputs.mean_list, "mean length over the year"),
        Derived(0.0, "none matched"),
        (Derived(0.0, "none matched"), Derived(min(1.0, most * times_photos), "in proportion, at most all")),
        Derived(mixed.value * times ** grown["value"], how),
        (
            Derived(figure["low"] * times ** grown["low"], how),
            Derived(min(1.0, figure["high"] * times), "in proportion, at most all"),
        ),
    )


def claim_sliders(made: Committed, page: Element, ledger: Ledger) -> None:
    """Claim what the sliders say, as they stand: the inputs of the year."""
    form = page.all("form", id="scale")
    wanted = {
        "photos a day": Derived(made.volume, "pictures_a_day of all accounts"),
        "assumed known, a year": Derived(
            made.inputs("material", "files") * made.inputs("accounts", "number"), "files of all accounts"
        ),
        "clients that never ask": Derived(made.inputs("clients", "modified"), "inputs"),
        "reviewers": Derived(made.inputs("centre", "staff"), "inputs"),
        "list length": Derived(made.inputs.mean_list, "mean length of the year's list"),
    }
    for line in form[0].all("p") if form else []:
        words = line.words
        if not line.all("output"):
            continue
        name = next((name for name in wanted if words.startswith(name)), None)
        ledger.add(f"sliders, {words[:12]}", words)
        if name and re.search(r"\d", words):
            ledger.claim(
                f"sliders, {words[:12]}",
                rf"{name} .*?(\d+(?:\.\d+)?(?: \d{{3}})*(?: (?:million|thousand|%))?)",
                wanted[name],
            )


ROWS = {
    "right matches, which this design reports": "found",
    "missed: edit not recognised": "unrecognised",
    "missed: modified clients": "modified",
    "missed: clients that never ask": "modified",
    "missed: video": "video",
}


def claim_counts(made: Committed, table: Element, ledger: Ledger) -> None:
    """Claim a year's counts of 0a, which is chosen first: expected, by chance, with inputs drawn."""
    name = PAIRED["all"]
    recall = made.mixed_recall(name)
    files = made.inputs("material", "files") * made.inputs("accounts", "number")
    each = made.fates(name)
    low, high = mixed_ends(made, name)
    behaviour = {"recall": (recall, low, high), "unnoticed": (0.0, 0.0, 0.0), "asks": made.designs[name].asks}
    drawn = made.joint(behaviour)
    for row in table.all("tbody")[0].all("tr"):
        label = row.all("th")[0].words
        place = f"year, {label}"
        ledger.add(place, row.words)
        fate = ROWS.get(label)
        if fate is None:
            continue
        value = each[fate] / 100 * files
        if value == 0:
            ledger.claim(place, r" (0) (0) (0)$", *[Derived(0, "0a is asked by no client", 0)] * 3)
            continue
        chance = chance_ends(made, fate, value, (recall, low, high))
        both = drawn["reported" if fate == "found" else fate]
        inputs = [quantile_bounds(both, at, 150) for at in (0.025, 0.975)]
        ledger.claim(
            place,
            rf"{re.escape(label)} {N} ({SPAN}) ({SPAN})$",
            Derived(value, f"{each[fate]:.3g} of 100 known files"),
            tuple(
                Derived(None, "95 % of years, either end of what was measured", 3, between=ends)
                for ends in chance
            ),
            tuple(Derived(None, "95 % of 150 draws of all inputs", 2, between=ends) for ends in inputs),
        )


SPAN = r"\d+(?:\.\d+)?(?: \d{3})*(?: million| thousand)? to \d+(?:\.\d+)?(?: \d{3})*(?: million| thousand)?"


def mixed_ends(made: Committed, name: str) -> tuple[float, float]:
    """Return the ends of the recall of the mix: the mean of the ends of each edit, on the wide side."""
    rows = {
        row["parameters"]["edit"]: row["figures"].get("found")
        for row in made.evidence
        if row["id"] == "evidence/edit" and name in row["parameters"]["designs"].split(", ")
    }
    low, high = (
        sum(share * rows[edit][end] for edit, share in made.inputs.mix.items()) for end in ("low", "high")
    )
    return low, high


def chance_ends(
    made: Committed, fate: str, value: float, recall: tuple[float, float, float]
) -> list[tuple[float, float]]:
    """Return between what the ends of a count by chance lie: 12 % (docs/explanation/population.md)."""
    inputs = made.inputs
    sharers = inputs("accounts", "number") * inputs("material", "sharers")
    files = inputs("accounts", "number") * inputs("material", "files")
    video = inputs("material", "video")
    found = []
    for at, end in ((0.025, 1), (0.975, 2)):
        rng = np.random.default_rng(39)
        if fate == "video":
            kept = 1.0
            sends = files * video
            scale = value / (files * video)
        else:
            seen = value / (recall[0] if fate == "found" else 1 - recall[0]) / (files * (1 - video))
            share = recall[end] if fate == "found" else 1 - recall[3 - end]
            kept = share * seen
            sends = files * (1 - video)
            scale = 1.0
        counts = scale * drawn_counts(inputs, sends, kept, sharers, rng)
        middle = float(np.quantile(counts, at))
        found.append((middle * 0.88, middle * 1.12))
    return found


FATES = ("video", "away", "modified", "unrecognised", "held", "found")


def claim_fates(made: Committed, table: Element, ledger: Ledger) -> None:
    """Claim what becomes of 100 known files sent, for each group of designs."""
    caption = table.all("caption")[0].words
    ledger.add("year, caption of the fates", caption)
    ledger.name("year, caption of the fates", r"(?<=Of )100(?= known)", "the unit of these figures")
    for row in table.all("tbody")[0].all("tr"):
        names = [
            one for each in row.all("th")[0].all() for one in each.attributes.get("data-design", "").split()
        ]
        names = [one for one in names if one in made.designs]
        place = "fates, " + row.all("th")[0].words
        ledger.add(place, " | ".join(cell.words for cell in row.all("td")))
        for name in names or [PAIRED["all"]]:
            claims = [
                Derived(0.1, "below a tenth", places=1)
                if 0 < (one := made.fates(name)[fate]) < 0.1
                else Derived(one, f"{fate}, of 100, {name}", places=1)
                for fate in FATES
            ]
            cells = r" \| ".join([r"((?:< )?\d+(?:\.\d+)?)"] * len(FATES))
            ledger.claim(place, f"^{cells}$", *claims)


def claim_mix(made: Committed, words: str, ledger: Ledger) -> None:
    """Claim the assumed shares, and what two of them make of `found`."""
    place = "year, assumed"
    ledger.add(place, words)
    inputs = made.inputs
    ledger.claim(
        place,
        rf"Assumed: {P} videos, {P} (?:modified clients|clients that never ask)",
        Derived(inputs("material", "video"), "inputs"),
        Derived(inputs("clients", "modified"), "inputs"),
    )
    for edit, share in inputs.mix.items():
        ledger.claim(place, rf"(?<=[ :]){re.escape(edit)} {P}", Derived(share, "the assumed mix of edits"))
    shares = [
        Derived(inputs(part, name, end), "an end of the inputs")
        for end in ("high", "low")
        for part, name in (("material", "video"), ("clients", "modified"))
    ]
    label = re.search(r"changes found in (.+?) from", words)
    if label is None:
        return
    name = next(name for name, plain in made.plain["names"].items() if label[1].split(" ", 1)[1] == plain)
    found = [
        Derived(
            made.fates(
                name, video=inputs("material", "video", end), modified=inputs("clients", "modified", end)
            )["found"],
            "of 100",
            places=1,
        )
        for end in ("high", "low")
    ]
    ledger.claim(
        place,
        rf"alone, to {P} and {P} or to {P} and {P}, changes found in .+? from {N} to {N}",
        *shares,
        *found,
    )


def claim_options(made: Committed, section: Element, ledger: Ledger) -> None:
    """Claim the table of options: shares missed and flagged, cores and bytes a day."""
    head = section.all("h2")[0].words
    ledger.add("options, headline", head)
    ledger.name("options, headline", r"September 2020", "the draft paper's date, docs/explanation/report.md")
    levels = {
        one.row["design"]["option"]: bool(one.row["design"]["differs"]) for one in made.designs.values()
    }
    exact = {one.row["design"]["option"] for one in made.designs.values() if not one.row["design"]["differs"]}
    near = set(levels) - exact
    idle = {one.row["design"]["option"] for one in made.designs.values() if one.relation == "nothing"}
    ledger.claim(
        "options, headline",
        rf"Of {N} options.*?: {N} measured, {N} with nothing to find.*?, {N} imitated.*?, {N} studied",
        Derived(len(made.options), "options.json", 0),
        Derived(len(exact - idle), "options of a design that is the option", 0),
        Derived(len(idle), "of these, those that find nothing", 0),
        Derived(len(near), "options of stand-ins alone", 0),
        Derived(int(made.study is not None), "a study", 0),
    )
    for at, paragraph in enumerate(section.all("p")):
        ledger.add(f"options, note {at}", paragraph.words)
        ledger.name(
            f"options, note {at}",
            r"(?<=Brackets: )95(?= % intervals)",
            "the level of intervals, docs/explanation/report.md",
        )
        ledger.name(
            f"options, note {at}",
            r"(?<=\()98 %(?= of)",
            "the level for another package, docs/reference/corpus.md",
        )
    for table in section.all("table"):
        claim_options_table(made, table, ledger)


def claim_options_table(made: Committed, table: Element, ledger: Ledger) -> None:
    place = f"options, head of {table.all('caption')[0].words[:8]}"
    ledger.add(place, " | ".join(one.words for one in table.all("thead")[0].all("th")))
    copies = made.recall(PAIRED["all"])
    wrong = made.false(NEAR)[0]
    kinds = len(set(made.corpus.kind.tolist()))
    ledger.claim(
        place,
        rf"Missed, of {N} copies of photographs.*of its {N} pictures of {N} kinds, "
        rf"each against a list of {N} of all kinds",
        Derived(copies.trials, "photographs times edits", 0),
        Derived(wrong.trials, "pictures asked about", 0),
        Derived(kinds, "kinds", 0),
        Derived(made.false(NEAR)[1], "mean length of the list of all kinds"),
    )
    entries = next(iter(made.designs.values())).entries
    ledger.claim(
        place,
        rf"at {N} photos, {N} entries",
        Derived(made.volume, "pictures_a_day of all accounts"),
        Derived(entries, "entries of the run", 0),
    )
    for row in table.all("tbody")[0].all("tr"):
        named = [
            one.attributes["data-design"] for one in row.all("th")[0].all() if "data-design" in one.attributes
        ]
        if named:
            claim_options_row(made, named[0].split()[0], row, ledger)


def claim_options_row(made: Committed, name: str, row: Element, ledger: Ledger) -> None:
    cells = row.all("td")
    place = f"options, {name}"
    ledger.add(place, " | ".join(cell.words for cell in cells))
    if made.study and name == made.study["id"]:
        most = max(one["messages"] for one in made.study["opened"])
        of = next(one["of_messages"] for one in made.study["opened"] if one["messages"] == most)
        if re.search(r"\d+ of \d+ messages", ledger.words[place]):
            ledger.claim(
                place, rf"{N} of {N} messages", Derived(most, "opened at most", 0), Derived(of, "messages", 0)
            )
        kept = made.study["figures"]["escrow_bytes"]["value"] * made.volume
        ledger.claim(place, rf"{B} of keys kept", Derived(kept, "escrow_bytes a message, pictures of a day"))
        return
    own = made.designs[name]
    ledger.name(
        place, r"256(?= numbers that every picture.s hash)", "PDQ's hash has 256 bits, each of a coefficient"
    )
    claim_day(made, own, ledger, place)
    if own.relation == "category":
        rate = made.volumes["fpr_classifier"]
        if "recalled" in ledger.words[place]:
            ledger.claim(
                place,
                r"recalled (\S+ %)",
                (Derived(rate["low"], "volumes.json"), Derived(rate["high"], "volumes.json")),
            )
        return
    if own.relation not in (NEAR, EQUAL):
        return
    found = made.recall(name)
    figure = made.evidence_figure(name, "found")
    missed = (
        Derived(100 * (1 - figure["high"]), "missed, interval", between=_mirrored(found.high)),
        Derived(100 * (1 - figure["low"]), "missed, interval", between=_mirrored(found.low)),
    )
    wrong = made.false(own.relation)[0]
    committed = made.false_figure(own.relation)
    digits = 2 if wrong.value < 0.01 else 3
    ends = tuple(
        Derived(
            100 * committed[end],
            "packages drawn again",
            2 if committed[end] < 0.01 else 3,
            between=(100 * low, 100 * high),
        )
        for end, (low, high) in (("low", wrong.low), ("high", wrong.high))
    )
    bare = r"\((\d+(?:\.\d+)?–\d+(?:\.\d+)?)\)"
    ledger.claim(
        place,
        rf"{P} {bare}.*?\| {P} {bare}(?: none opens alone)? \|",
        Derived(1 - found.value, "copies that are not found"),
        missed,
        Derived(wrong.value, "matched one of another source", digits),
        ends,
    )
    claim_opening(own, ledger, place)
    differ = sum(one["matched"] != one["expected"] for one in own.sent)
    if re.search(r"run: ", ledger.words[place]):
        ledger.claim(
            place,
            rf"run: {N} differ",
            Derived(differ, "pictures of the run that did not end as their hashes say", 0),
        )


def _mirrored(ends: tuple[float, float]) -> tuple[float, float]:
    return 100 * (1 - ends[1]), 100 * (1 - ends[0])


def claim_day(made: Committed, own: Recorded, ledger: Ledger, place: str) -> None:
    """Claim cores and bytes a day, at the run's list and all pictures of a day."""
    if own.relation == "nothing":
        return
    if own.asks and not own.vouches:
        cores = own.server_ms * made.volume / DAY_MS
        ledger.claim(place, rf"\| {N} cores", Derived(cores, "CPU a picture, all pictures of a day"))
    devices = made.inputs("accounts", "number")
    asked = own.asked_at(own.entries)[0] * made.volume
    fetched = devices * (made.setups * own.setup / DAYS + own.update * made.updates / DAYS)
    ledger.claim(place, rf"; {B}(?:$|;)", Derived(asked + fetched, "pictures, set-ups and updates of a day"))
    if key_seconds(made, own) is not None:
        claim_key(made, own, ledger, place)


# ---- all of it


def check(made: Committed, first: Element, second: Element) -> Ledger:
    """Return the ledger of both views of a report.

    Args:
        made: what the derivations stand on.
        first, second: the views, as they were drawn.
    """
    ledger = Ledger(names=[*made.options, *made.corpus.edits])
    first_view(made, first, ledger)
    second_view(made, second, ledger)
    ledger.look_at("sheet", first.all("section", id="sheet")[0])
    ledger.look_at("year", second.all("section", id="year")[0])
    ledger.look_at("options", second.all("section", id="matrix")[0])
    ledger.faults += ledger.left()
    return ledger


def main(arguments: list[str]) -> int:
    """Print every number with its derivation, then the faults; 1 if there is one."""
    sample = Path(arguments[0]) if arguments else SAMPLE
    report = sample / "report.html"
    missing = [
        name for name in ("results.json", "attacks.json", report.name) if not (sample / name).is_file()
    ]
    if missing:
        print(f"{sample}: no results of assess with attacks: {', '.join(missing)} missing", file=sys.stderr)  # noqa: T201
        return 2
    ledger = check(Committed(sample), rendered(report), rendered(report, "year"))
    for line in ledger.lines:
        print(line)  # noqa: T201
    print(f"{len(ledger.lines)} numbers and spans derived again; {len(ledger.faults)} faults")  # noqa: T201
    for fault in ledger.faults:
        print(f"  {fault}")  # noqa: T201
    return 1 if ledger.faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
