"""Looks at a whole results folder as plain files: `blindmatch results verify`.

What follows from raw rows is `rederived`'s; what the program declares (its suite of attacks, units, designs'
declarations) is handed over as plain data.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, NamedTuple

from blindmatch_simulations.evaluation.rederived import PARTS, NotDerived, Raw, Row, agrees, came_to, close

FAULTS: Final = (
    OSError,
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    ArithmeticError,
    RecursionError,
    sqlite3.Error,
)
"""What files and rows that make no sense lead to."""
ATTACKS: Final = "attacks.json"


class Difference(NamedTuple):
    """What a file says, and what follows from the raw rows."""

    file: str
    design: str
    figure: str
    written: object
    derived: object


class Folder:
    """A results folder as plain files.

    Attributes:
        differences: all that was found.
        derived: how many figures were derived again.
        not_derived: how many were not, by name and reason.
        digests: of results.json and attacks.json, which whoever published the folder can name.
    """

    def __init__(
        self, path: Path, rules: Mapping[str, Row], evidence: Sequence[Row], declared: Row | None = None
    ) -> None:
        """Args: declared: the program's own units by figure, designs and attacks by name (described), the
        pairs of these that are not played, and studies' names."""
        self.path = path
        self.rules = rules
        self.evidence = evidence
        self.declared: Row = declared or {
            "units": {}, "designs": {}, "attacks": {}, "unplayed": (), "studies": ()
        }  # fmt: skip
        self.differences: list[Difference] = []
        self.derived = 0
        self.not_derived = Counter[str]()
        self.digests = dict[str, str]()

    def verify(self, published: Sequence[str] = ()) -> None:
        """Look at every file; what cannot be read, or makes no sense, is a difference, too; so is a published
        digest that no file here has."""
        results: Row = self._tried("results.json", self._json, "results.json") or {"rows": (), "files": {}}
        for name, digest in results["files"].items():
            held = self._tried(name, lambda name=name: sha256(self._read(name)).hexdigest())
            self._compare(name, "", "SHA-256", digest, held)
        self._tried("results.json", self._whole, results)
        for row in results["rows"]:
            self._tried(f"rows/{row['id']}.jsonl", self._row, results, row)
        self._attacks([row["id"] for row in results["rows"] if row["kind"] == "design"])
        for digest in published:
            known = sorted(self.digests.values())
            self._compare(
                "results.json", "", "published digest", digest, digest if digest in known else known
            )

    def _tried(self, file: str, look: Callable[..., Any], *arguments: object) -> Any:
        try:
            return look(*arguments)
        except FAULTS as error:
            self._compare(file, "", "the file", "as it is", f"{type(error).__name__}: {error}")

    def _read(self, name: str) -> bytes:
        """A file's bytes; `ValueError` for one outside of the folder."""
        if not (self.path / name).resolve().is_relative_to(self.path.resolve()):
            raise ValueError(f"{name}: outside of the folder")
        return (self.path / name).read_bytes()

    def _json(self, name: str) -> dict[str, Any]:
        """A file's value; with a digest it must be that of the file without one."""
        raw = self._read(name)
        held: dict[str, Any] = json.loads(raw)
        if "digest" in held:
            bare = raw.replace(f'"digest": "{held["digest"]}"'.encode(), b'"digest": ""')
            self.digests[name] = sha256(bare).hexdigest()
            self._compare(name, "", "digest", held["digest"], self.digests[name])
        return held

    def _whole(self, results: Row) -> None:
        """Whether the files of each row are there, no others, and all named; and as many options."""
        rows = results["rows"]
        for part, ids in (
            ("designs/*.json", [row["id"] for row in rows]),
            ("rows/*.jsonl", [row["id"] for row in rows if row["kind"] == "design"]),
        ):
            wanted = sorted(part.replace("*", name) for name in ids)
            there = sorted(f"{part.split('/')[0]}/{file.name}" for file in self.path.glob(part))
            named = sorted(name for name in results["files"] if name.startswith(part.split("*")[0]))
            self._compare("results.json", "", "rows", [wanted, named], [there, there])
        self._compare("results.json", "", "files: workload.toml", "workload.toml" in results["files"], True)
        for name in sorted(self.declared["designs"].keys() - {row["id"] for row in rows}):
            self.not_derived[f"designs: this program's {name} is in no row"] += 1
        options = {row["design"]["option"] if "design" in row else row.get("option") for row in rows} - {None}
        if (written := results.get("options_measured")) is not None:
            self._compare("results.json", "", "options_measured", written, len(options))
        if rows and (self.path / "made.json").exists() and "attack run all" in self._json("made.json"):
            lies = (self.path / ATTACKS).exists()
            self._compare(ATTACKS, "", "is there, as made.json says", True, lies)

    def _row(self, results: Row, row: Row) -> None:
        name = row["id"]
        self._compare(f"designs/{name}.json", name, "the row", self._json(f"designs/{name}.json"), row)
        if row["kind"] != "design":
            kind = "study" if name in self.declared["studies"] or "opened" in row else "row"
            self._compare("results.json", name, "kind", row["kind"], kind)
            if row["figures"]:
                self.not_derived[f"{row['kind']}: it has no raw rows"] += len(row["figures"])
            return
        lines = self._read(f"rows/{name}.jsonl").splitlines()
        raw = Raw([json.loads(line) for line in lines], row, self.evidence)
        self._compare("results.json", name, "raw row `run`", True, bool(raw.run))
        self._declared(row)
        for figure in [one for one, rule in self.rules.items() if rule["how"] != "groups"]:
            self._figure(raw, name, figure)
        for figure in row["figures"].keys() - self.rules.keys():
            self.not_derived[f"{figure}: of no rule of this version"] += 1
        for part, rule in self.rules.items():
            for found in raw.groups(part, rule["sql"]) if rule["how"] == "groups" else ():
                self._compare("results.json", name, *found)
        for found in raw.others(results["options"]["pictures"]["edits"]):
            self._compare("results.json", name, *found)
        self._conditions(raw, name)

    def _conditions(self, raw: Raw, name: str) -> None:
        """Does the row say how many of its timed parts there are, and how many were undisturbed?"""
        written = raw.row.get("conditions") or {}
        parts = raw.run.get("timed", {})
        clean = sum(raw.is_disturbed(part) is False for part in parts)
        found = [len(parts), clean] if parts else [None, None]
        self._compare(
            "results.json", name, "conditions", [written.get("runs"), written.get("clean_runs")], found
        )

    def _declared(self, row: Row) -> None:
        """Does a design say what this program's of the same version and parameters says?"""
        name = row["id"]
        said = self.declared["designs"].get(row["parameters"]["reference"])
        self._compare("results.json", name, "status, why", [row["status"], row["why"]], ["measured", ""])
        if said is None or any(said[one] != row["design"][one] for one in ("version", "parameters")):
            self.not_derived["design: it is not this program's, or of another version or parameters"] += 1
            return
        for part in said.keys() | row["design"].keys():
            self._compare("results.json", name, f"design.{part}", row["design"].get(part), said.get(part))

    def _attacks(self, designs: Sequence[str]) -> None:
        if not (self.path / ATTACKS).exists():
            self.not_derived[f"attacks: there is no {ATTACKS}"] += 1
            return
        attacks: Row = self._tried(ATTACKS, self._json, ATTACKS) or {"rows": ()}
        for row in attacks["rows"]:
            self._tried(ATTACKS, self._attack, row)
        self._tried(ATTACKS, self._grid, attacks, designs)

    def _grid(self, attacks: Row, designs: Sequence[str]) -> None:
        """Whether each attack is there once with each design, as played or as not to be played."""
        held = Counter((row["id"], row["parameters"]["design"]) for row in attacks["rows"])
        names = {name for name, _ in held}
        wanted = {(name, one) for name in names for one in {*designs, *(design for _, design in held)}}
        odd = sorted(f"{name}, {design}" for name, design in wanted if held[name, design] != 1)
        self._compare(ATTACKS, "", "attacks that a design does not have just once", odd, [])
        self._compare(ATTACKS, "", "weakened", attacks.get("options", {}).get("weakened", False), False)
        for name in sorted(self.declared["attacks"].keys() - names):
            self.not_derived[f"attacks: this program's {name} is in no row"] += 1

    def _attack(self, row: Row) -> None:
        name = row["id"]
        design = row["parameters"]["design"]
        if row["kind"] != "attack":
            self._compare(ATTACKS, design, f"{name}: kind", row["kind"], "attack not played")
            self._compare(ATTACKS, design, f"{name}: why", bool(row["why"]), True)
            if name in self.declared["attacks"] and design in self.declared["designs"]:
                plays = [name, design] not in self.declared["unplayed"]
                self._compare(ATTACKS, design, f"{name}: is not played", True, not plays)
            return
        said = self.declared["attacks"].get(name)
        if said is None:
            self.not_derived["attacks: not of this program's, so that nothing declared is compared"] += 1
        for part in () if said is None else ("adversary", "claim", "claimed", "trace"):
            self._compare(ATTACKS, design, f"{name}: {part}", row.get(part), said[part])
        if not agrees(row["figures"], row["succeeded"]):
            self._compare(ATTACKS, design, f"{name}: succeeded", row["succeeded"], "not by its figures")
        written = row["figures"]["achieved"]
        try:
            derived, succeeded = came_to(row["figures"])
        except NotDerived as error:
            self.not_derived[str(error)] += 1
            return
        self.derived += 1
        for part in ("value", "low", "high", "n"):
            one = written[part]
            other = derived.get(part)
            # most are written to four digits
            found = other if other is None or close(one, other) else round(other, 4)
            self._compare(ATTACKS, design, f"{name}: achieved: {part}", one, found)
        self._compare(ATTACKS, design, f"{name}: succeeded", row["succeeded"], succeeded)

    def _figure(self, raw: Raw, name: str, figure: str) -> None:
        rule = self.rules[figure]
        written = raw.row["figures"].get(figure, {})
        unit = self.declared["units"].get(figure)
        if written and unit is not None:
            self._compare("results.json", name, f"{figure}: unit", written.get("unit"), unit)
        if written.get("value") is not None and "timed" in rule:
            marked = written.get("why", "").startswith("disturbed")
            disturbed = bool(raw.is_disturbed(rule["timed"]))
            self._compare("results.json", name, f"{figure}: marked as disturbed", marked, disturbed)
        try:
            derived = raw.derive(figure, rule)
        except NotDerived as error:
            self.not_derived[f"{figure}: {error}"] += 1
            return
        self.derived += 1
        if not written and derived:
            self._compare("results.json", name, figure, "no such figure", "a figure")
        for part in PARTS:
            label = figure if part == "value" else f"{figure}: {part}"
            self._compare("results.json", name, label, written.get(part), derived.get(part))

    def _compare(self, file: str, design: str, figure: str, written: object, derived: object) -> None:
        if not close(written, derived):
            self.differences.append(Difference(file, design, figure, written, derived))
