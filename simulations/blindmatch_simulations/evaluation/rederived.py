"""Derives every judged figure of a design again, from its raw rows: `blindmatch results verify`.

Nothing is shared with what wrote them: files are read as plain JSON, each figure is a query of SQL over raw
rows (``data/rederived.toml``), intervals are scipy's or bisected; what an attack came to follows from its
trials by case. Of words, outcomes and what checks say are compared.
"""

from __future__ import annotations

import json
import math
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import fmean, median, stdev
from typing import Any, Final, TypeAlias

import numpy as np
from scipy.special import fdtri, stdtrit

Row: TypeAlias = Mapping[str, Any]
Figure: TypeAlias = dict[str, Any]
"""A figure's parts; empty where there is nothing that it could be of."""

CLOSE: Final = 1e-9
"""Relative difference that two ways to work out one number may have."""
PARTS: Final = ("value", "low", "high", "n", "pairs", "resolution")
RAW: Final = ("alone", "checks", "run")
"""Kinds of raw rows; every other one is of a picture, and its kind the picture's."""
COLUMNS: Final = {
    "alone": ("device_cpu_ms", "role_cpu_ms", "picture_cpu_ms"),
    "checks": ("check", "verdict", "figures"),
}
"""Of raw rows of which there may be none."""
LATER: Final[Mapping[str, Row]] = {"alone": {"picture_cpu_ms": None}, "pictures": {"voucher_bytes": 0}}
"""Columns that raw rows of before they were noted do not have, and what stands for them there."""
MOST_MOVED: Final = 0.15
MOST_LOAD: Final = 1.15
"""What the unit may move by, and wall over CPU time come to, before a part of a run counts as disturbed."""
SURE: Final = 0.99
"""Confidence of attacks' intervals, of all cases together."""
SHARES: Final = ("linked", "singled out", "taken for the same picture", "that passes both hashes")
"""Measures of attacks that are shares of independent trials."""


class NotDerived(Exception):  # noqa: N818 - no error
    """Raw rows do not give a figure; the text says why."""


def one(value: float | None, n: int | None = None) -> Figure:
    return {} if value is None else {"value": value, "n": n}


def spread(values: Sequence[float], of: Callable[[Sequence[float]], float]) -> Figure:
    """A mean or a median, with the lowest and the highest."""
    return {"value": of(values), "low": min(values), "high": max(values), "n": len(values)} if values else {}


def repeated(values: Sequence[float], least: float = -math.inf) -> Figure:
    """A mean of independent repeats: Student's t at 95 %, widened to the bootstrap-t at 97 % of 2,000 draws
    by PCG64, seeded with the number of repeats; of fewer than six, Student's t at 99 %."""
    n = len(values)
    if n < 2:
        return one(values[0], 1) if values else {}
    value = fmean(values)
    error = stdev(values) / n**0.5
    held = np.array(values)
    reach = float(stdtrit(n - 1, 0.975 if n >= 6 else 0.995))
    low = -reach
    high = reach
    if n >= 6 and error:
        drawn = held[np.random.Generator(np.random.PCG64(n)).integers(n, size=(2000, n))]
        middle = drawn.sum(axis=1) / n
        spreads = np.sqrt(((drawn - middle[:, None]) ** 2).sum(axis=1) / (n - 1))
        some = spreads > 1e-9 * held.std()
        ends = np.quantile((middle[some] - value) / (spreads[some] / n**0.5), [0.015, 0.985])
        low = min(low, float(ends[0]))
        high = max(high, float(ends[1]))
    return {"value": value, "low": max(least, value - high * error), "high": value - low * error, "n": n}


def exact(hits: int, trials: int, sure: float) -> tuple[float, float]:
    """Clopper and Pearson's interval, by quantiles of the F distribution."""

    def least(k: int) -> float:
        rest = trials - k + 1
        return 1 / (1 + rest / (k * float(fdtri(2 * k, 2 * rest, (1 - sure) / 2)))) if k else 0.0

    return least(hits), 1 - least(trials - hits)


def share(hits: int, trials: int, units: int | None = None) -> Figure:
    """A counted share: Clopper and Pearson's interval, or Hoeffding's where only `units` are independent."""
    if not trials:
        return {}
    whole = units in (None, trials)
    low, high = exact(hits, trials, 0.95) if whole else _entropy(hits / trials, units or 1)
    return {"value": hits / trials, "low": low, "high": high, "n": trials}


def share_of(rows: Sequence[tuple[bool, str]]) -> Figure:
    """A share of pictures, of which copies of one hang together."""
    copies = max(Counter(name for _, name in rows).values(), default=1)
    return share(sum(bool(hit) for hit, _ in rows), len(rows), len(rows) // copies)


def _entropy(mean: float, units: int) -> tuple[float, float]:
    """The interval's ends, by bisection: where the relative entropy of `mean` to them is log(40) / units."""
    ends = []
    for outside in (1e-300, 1 - 1e-16):
        inside = mean
        for _ in range(200):
            p = (inside + outside) / 2
            apart = sum(a * math.log(a / b) for a, b in ((mean, p), (1 - mean, 1 - p)) if a > 0)
            inside, outside = (p, outside) if apart <= math.log(40) / units else (inside, p)
        ends.append(inside)
    return ends[0], ends[1]


def bound(checks: Sequence[tuple[str, str]], n: int | None) -> Figure:
    """The largest upper end, each worked out again from how often an opponent guessed right; of several that
    are as large, the one over `n` runs."""
    if any(verdict == "failed" for verdict, _ in checks):
        return one(1.0, len(checks))
    played = [game for _, held in checks for game in json.loads(held).values()]
    found = []
    for game in played:
        if isinstance(game, dict) and "interval" in game:
            runs = game["class_runs"]
            sure = 1 - 0.005 / game["classes"]
            hits = (round((game["advantage"] + 1) / 2 * runs), runs // 2)
            ends = [round(2 * exact(right, runs, sure)[1] - 1, 4) for right in hits]
            found.append({"value": max(ends), "n": runs, "resolution": ends[1]})
    return max(found, key=lambda one: (float(one["value"]), one["n"] == n), default={})


def agrees(figures: Mapping[str, Figure], succeeded: bool) -> bool:
    """Is success what the interval says, or else a count of more than none, of which a case has some?"""
    whole, *cases = (figures[name] for name in sorted(figures, key="achieved".__ne__))
    if whole["low"] is not None:
        return bool(succeeded is (whole["low"] > 0) and whole["low"] <= whole["value"] <= whole["high"])
    some = not cases or whole["value"] <= 0 or any(one["value"] > 0 for one in cases)
    return bool(succeeded is (whole["value"] > 0) and some)


def came_to(figures: Mapping[str, Figure]) -> tuple[Figure, bool]:
    """What an attack achieved, of its trials by case, and whether that excludes chance."""
    whole, *cases = (figures[name] for name in sorted(figures, key="achieved".__ne__))
    unit = whole["unit"]
    trials = [one["n"] for one in cases]
    if unit.startswith("advantage") and None not in trials:
        games = [_game(one, 1 - (1 - SURE) / max(1, len(cases))) for one in cases or [whole]]
        best = max(games, key=lambda one: (one["low"] > 0, one["value"]))
        return {**best, "n": sum(one["n"] for one in games)}, best["low"] > 0
    if unit.removeprefix("share ") in SHARES:
        hits = round(whole["value"] * whole["n"])
        low, high = exact(hits, whole["n"], SURE)
        return {"value": hits / whole["n"], "low": low, "high": high, "n": whole["n"]}, low > 0
    if not trials or None in trials:
        raise NotDerived(f"attacks, {unit}: it does not follow from trials by case, or these are not kept")
    if any(not 0 <= one["value"] <= one["n"] for one in cases):
        raise ValueError("a case has more successes than trials")
    value = sum(one["value"] for one in cases)
    return {"value": value, "n": sum(trials)}, value > 0


def _game(case: Figure, sure: float) -> Figure:
    runs = case["n"]
    right = round((case["value"] + 1) / 2 * runs)
    low, high = exact(right, runs, sure)
    return {"value": 2 * right / runs - 1, "low": 2 * low - 1, "high": 2 * high - 1, "n": runs}


class Raw:
    """The raw rows of a design as tables, and of its row in the results what it was measured with."""

    def __init__(self, rows: Sequence[Row], row: Row, evidence: Sequence[Row]) -> None:
        held = {kind: [one for one in rows if one["kind"] == kind] for kind in RAW}
        runs = held.pop("run")
        if len(runs) > 1:
            raise ValueError("more than one raw row `run`")
        self.run: Row = next(iter(runs), {})
        # what raw rows hold: a figure of the row's own words would be derived of itself
        given = {name: row[name] for name in ("design", "parameters", "checks_why")}
        self.row = row
        self.seen = {**self.run, **given}
        self.evidence = evidence
        self.tables = {**held, "pictures": [one for one in rows if one["kind"] not in RAW]}
        self.base = sqlite3.connect(":memory:")
        tables: dict[str, list[Row]] = {**self.tables, "seen": [{"j": self.seen}]}
        for name, later in LATER.items():
            tables[name] = [{**later, **one} for one in tables[name]]
        for name, some in tables.items():
            columns = list(some[0]) if some else COLUMNS.get(name, ())
            marks = ", ".join("?" * len(columns))
            self.base.execute(f"CREATE TABLE {name} ({', '.join(map(json.dumps, columns))})")
            cells = [[_cell(one[column]) for column in columns] for one in some]
            self.base.executemany(f"INSERT INTO {name} VALUES ({marks})", cells)  # noqa: S608
        main = [one["matched"] for one in self.tables["pictures"] if one["kind"] == "photographs"]
        design = row["design"]
        matched = any(one["matched"] for one in self.tables["pictures"])
        self.no = {
            "nothing": design["relation"] == "nothing" and not matched,
            "category": design["relation"] == "category",
            "untold": None in main,
            "roleless": not design["roles"],
            "readable": not design["end_to_end"],
            "one_length": self.seen.get("lengths", 0) is None,
        }

    def derive(self, name: str, rule: Row) -> Figure:
        """A figure; `NotDerived` where raw rows do not hold what it is made of."""
        if any(self.no[one] for one in rule.get("unless", ())):
            return {}
        if set(rule.get("needs", ())) - self.seen.keys():
            raise NotDerived("no raw row")
        if "unknown" in rule and self.rows(rule["unknown"]):
            raise NotDerived(rule["why"])
        if any(self.no[condition] for condition in rule.get("zero", ())):
            return one(0.0)
        rows = self.rows(rule["sql"])
        if not rows and "else" in rule:
            return one(*(self.rows(rule["else"]) or [(None,)])[0])
        return self._made(name, rule, rows)

    def rows(self, query: str) -> list[Any]:
        return self.base.execute(query).fetchall()

    def _made(self, name: str, rule: Row, rows: list[Any]) -> Figure:
        entries = self.seen["parameters"]["entries"]
        first = [one[0] for one in rows]
        match rule["how"]:
            case "share":
                return share_of(rows) | ({"pairs": len(rows) * entries} if rule.get("pairs") and rows else {})
            case "counted":
                return share(*rows[0])
            case "one":
                return one(*rows[0]) | rule.get("always", {}) if rows else {}
            case "mean" | "median":
                return spread(first, fmean if rule["how"] == "mean" else median)
            case "repeated":
                return repeated(first, rule.get("least", -math.inf))
            case "slope":
                return self._slope(rows, first, entries)
            case "bound":
                return {} if self.no["nothing"] else bound(rows, self.row["figures"][name]["n"])
            case _:
                return self._committed(name, *rows[0])

    def is_disturbed(self, part: str) -> bool | None:
        """Did other work use the machine during a part of the run? None if the yardstick was not read."""
        run = self.run.get("timed", {}).get(part)
        if run is None:
            return None
        least, most = sorted((run["before"]["u_us"], run["after"]["u_us"]))
        wall, cpu = run["cost"]
        own = wall / cpu if run["computes"] and cpu else 1.0
        load = max(run["before"]["load"], run["after"]["load"], own)
        return bool(most / least - 1 > MOST_MOVED or load > MOST_LOAD)

    def thousands(self) -> float:
        """By how many thousand entries the two lists differ, in whole steps where the design declares one."""
        lengths = self.seen["lengths"]
        entries = self.seen["parameters"]["entries"]
        step = lengths.get("step", 1)
        own, other = (math.ceil(count / step) * step for count in (entries, lengths["entries"]))
        return float(other - own) / 1000

    def _slope(self, rows: list[Any], first: list[float], entries: int) -> Figure:
        thousands = self.thousands()
        found = repeated([(there - here) / thousands for here, there in rows])
        high = max(found.get("high", 0.0), 1000 * fmean(first) / entries) if thousands < 0 else None
        return found | ({"high": high} if high is not None and "high" in found else {})

    def _committed(self, figure: str, row: str, kind: str, name: str) -> Figure:
        """What the evidence that came with the program says of a design. A design with parameters of its own
        may lack the figure, but has no other one."""
        given = self.row["parameters"]
        has_value = self.row["figures"].get(figure, {}).get("value") is not None
        if given.keys() - {"reference", "entries"} and not has_value:
            raise NotDerived("the design has other parameters than in the evidence")
        of = "evidence/recall", f"evidence/{row}"
        named = [one for one in self.evidence if one["id"] in of and one["status"] == "measured"]
        mine = [
            one for one in named if given["reference"] in str(one["parameters"].get("designs")).split(", ")
        ]
        wanted = {"kind": kind}
        if row == "false":
            wanted |= {"within": self.row["design"]["distance"], "list": "all"}
        for one in () if not mine else named if row == "false" else mine:
            if one["id"] == f"evidence/{row}" and wanted.items() <= one["parameters"].items():
                return dict(one["figures"][name])
        return {}

    def groups(self, part: str, query: str) -> Iterator[tuple[str, object, object]]:
        """Shares of groups: name, as it is written, as it is derived."""
        held: dict[str, list[Any]] = {}
        for group, hit, name in self.rows(query):
            held.setdefault(group, []).append((hit, name))
        written = {one["name"]: one for one in self.row.get(part, ())}
        for name in dict.fromkeys([*written, *held]):
            had = written.get(name, {"share": {}})
            rows = held.get(name, [])
            untold = self.no["nothing"] or self.no["category"] or any(hit is None for hit, _ in rows)
            found = None if untold else sum(hit for hit, _ in rows)
            yield f"{part}: {name}: sent, found", [had.get("sent"), had.get("found")], [len(rows), found]
            figure = {} if untold else share_of(rows)
            yield (
                f"{part}: {name}",
                [had["share"].get(one) for one in PARTS],
                [figure.get(one) for one in PARTS],
            )

    def others(self, edits: Sequence[str]) -> Iterator[tuple[str, object, object]]:
        """What else of a row follows from raw rows: tries, counts, checks, whatever else was seen."""
        listed = [one for one in self.tables["pictures"] if one["listed"] and one["kind"] == "photographs"]
        outcomes: dict[str, dict[str, Any]] = {}
        for one in listed:
            outcomes.setdefault(one["name"], {})[one["edit"]] = one["matched"]
        tries = [
            next((at for at, edit in enumerate(edits, 1) if outcomes[name].get(edit) is False), 0)
            for name in sorted(outcomes)
        ]
        yield "tries_until_hidden", self.row["tries_until_hidden"], tries
        words = {"match": True, "flag": True, "no match": False}
        pictures = self.tables["pictures"]
        told = [one for one in pictures if one["outcome"] not in ("voucher", "undisclosed")]
        wrong = [one["name"] for one in told if words.get(one["outcome"]) is not one["matched"]]
        yield "outcomes in words", wrong, []
        sent = len(pictures)
        yield "copies: sent", (self.row.get("copies") or {}).get("sent", sent), sent
        checks = {
            one["check"]: {key: one[key] for key in one if key != "kind"} for one in self.tables["checks"]
        }
        written = {one["check"]: one for one in self.row["checks"]}
        for name in dict.fromkeys([*written, *checks]):
            yield f"checks: {name}", written.get(name), checks.get(name)
        for name in sorted(self.run.keys() & self.row.keys() - {"kind"}):
            yield name, self.row[name], self.run[name]


def _cell(value: object) -> Any:
    return json.dumps(value) if isinstance(value, dict | list) else value


def close(written: object, derived: object) -> bool:
    """Are two values the same, numbers but for rounding?"""
    if isinstance(written, float | int) and isinstance(derived, float | int):
        same_kind = isinstance(written, bool) is isinstance(derived, bool)
        return same_kind and math.isclose(written, derived, rel_tol=CLOSE, abs_tol=1e-12)
    if isinstance(written, list) and isinstance(derived, list):
        return len(written) == len(derived) and all(map(close, written, derived))
    return written == derived
