"""What the report's script draws, run without a browser."""

from __future__ import annotations

import atexit
import json
from collections.abc import Mapping, Sequence
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

from blindmatch_simulations.evaluation.assess.results import Results
from blindmatch_simulations.report.page import data, script
from defusedxml.ElementTree import fromstring
from py_mini_racer import MiniRacer

_CALL = """
// the sheet is a part like others, and drawn with them, whichever view is asked for
const [, , sheetPartOf] = PARTS.find(([id]) => id === "sheet");
const inputsOf = (data) => Object.fromEntries(data.sources.inputs.map((one) => [one.ident, one.value]));
let sheetDrawn = "", last = {};
PARTS.find(([id]) => id === "sheet")[2] = () => (sheetDrawn = sheetPartOf());
const drawnOf = (text) => {
  if (last.text !== text) {
    const {data, given, run} = JSON.parse(text);
    const made = draw(data, {run, given: {...inputsOf(data), ...given}, open: [], kept: "", sheet: false});
    last = {text, made, sheet: String(sheetDrawn)};
  }
  return last;
};
const partsText = (text) => {
  const {made: {main, nav, foot}, sheet} = drawnOf(text);
  return JSON.stringify({main, nav, foot, sheet});
};
const evidenceText = (text) => JSON.stringify(
  Object.fromEntries([...drawnOf(text).made.evidence].map(([place, held]) => [place, held()])));
const openedText = (text, place) => JSON.stringify(drawnOf(text).made.evidence.get(place)());
// the rest of the data is the same for hundreds of files
let rest = {};
const holdRest = (text) => ((rest = JSON.parse(text)), true);
const attemptedText = (text) => {
  try {
    const data = {...rest, ...JSON.parse(text)}, given = inputsOf(data);
    const {main, nav, foot, evidence} = draw(data, {run: 0, given, open: [], kept: "", sheet: false});
    const sheet = String(sheetDrawn), opened = [...evidence.values()].map((held) => held());
    return [main, nav, foot, sheet, ...opened, pictureOf(data)].join("");
  } catch (error) {
    return `refused: ${error.message}`;
  }
};
const wrongText = (text) => {
  const {file, schema} = JSON.parse(text);
  return wrong(file, schema, "", schema.$defs);
};
const yearsText = (text) => {
  const {told, settings, days} = JSON.parse(text), model = yearModel(told);
  return JSON.stringify(settings.map((one) => yearOf(model, one, days)));
};
const bandsText = (text) => {
  const {told, behaviour, base, free, days, most} = JSON.parse(text), model = yearModel(told);
  const bands = bandsOf(model, behaviour, base, days);
  const joint = free && jointOf(model, behaviour, base, free, days);
  return JSON.stringify({bands, joint, verdicts: verdictsOf(bands, most)});
};
const behavioursText = (text) => (drawnOf(text), JSON.stringify(behaviours().map((one) => one.name)));
const atLengthText = (text) => {
  const {rates, wanted} = JSON.parse(text);
  return JSON.stringify(rates.map((one, at) => atLength(one, wanted[at])));
};
const pictureOf = (data) => pictured(data, {run: 0, given: inputsOf(data), open: [], kept: ""});
const picturedText = (text) => pictureOf(JSON.parse(text).data);
"""


class Drawn:
    """The page's parts as text, and the decision sheet; `evidence` by place is opened if it is asked for."""

    def __init__(self, asked: str) -> None:
        self._asked = asked

    @cached_property
    def _parts(self) -> dict[str, str]:
        return self._drawn("partsText")

    @property
    def main(self) -> str:
        return self._parts["main"]

    @property
    def nav(self) -> str:
        return self._parts["nav"]

    @property
    def foot(self) -> str:
        return self._parts["foot"]

    @property
    def sheet(self) -> str:
        return self._parts["sheet"]

    @cached_property
    def evidence(self) -> dict[str, str]:
        return self._drawn("evidenceText")

    @property
    def behaviours(self) -> list[str]:
        """Designs of which a year can be chosen, in the order of the page."""
        made: list[str] = self._drawn("behavioursText")
        return made

    def _drawn(self, function: str, *arguments: str) -> Any:
        return json.loads(_engine().call(function, self._asked, *arguments))

    @cached_property
    def _tree(self) -> Element:
        return fromstring(f"<div>{self.main}{self.nav}{self.foot}</div>")

    def tree(self) -> Element:
        """The parts, which must be well formed; of all who ask, so that nobody may change it."""
        return self._tree

    def words(self, ident: str) -> str:
        """The text of the element with an id."""
        found = next(one for one in self.tree().iter() if one.get("id") == ident)
        return " ".join("".join(found.itertext()).split())

    def opened(self, place: str) -> str:
        """The words that a number opens."""
        whole = vars(self).get("evidence") or {place: self._drawn("openedText", place)}
        made = fromstring(f"<div>{whole[place]}</div>")
        return " ".join(" ".join(made.itertext()).split())


def drawn(folder: Path, *runs: Results, given: Mapping[str, float] | None = None, run: int = 0) -> Drawn:
    """The page of some runs, with other inputs than the default ones."""
    return _of(json.dumps({"data": data(folder, runs), "given": dict(given or {}), "run": run}))


# tests of several files look at the sample's page as it is
_of = lru_cache(maxsize=4)(Drawn)


def pictured(folder: Path, results: Results) -> str:
    """The first screen as SVG."""
    made: str = _engine().call("picturedText", json.dumps({"data": data(folder, [results])}))
    return made


def attempted(made: Mapping[str, Any], file: Mapping[str, Any]) -> str:
    """All that the page would show of a file, as one text, without a look at the schema; or why it cannot."""
    attacks = [row for row in file["rows"] if row.get("kind") == "attack"]
    if not (_HELD and _HELD[-1] is made):
        _engine().call("holdRest", json.dumps({**made, "runs": [], "attacks": []}))
        _HELD[:] = [made]
    shown: str = _engine().call("attemptedText", json.dumps({"runs": [file], "attacks": attacks}))
    return shown


_HELD: list[Mapping[str, Any]] = []
"""What the script holds beside the files that are attempted."""


def wrong(made: Mapping[str, Any], file: object) -> str:
    """What the page says of a file that is not by the schema; nothing of one that is."""
    words: str = _engine().call("wrongText", json.dumps({"file": file, "schema": made["schema"]}))
    return words


def called(function: str, *arguments: object) -> Any:
    """One of the script's functions."""
    return json.loads(_engine().eval(f"JSON.stringify({function}(...{json.dumps(list(arguments))}))"))


def years(told: object, settings: Sequence[Mapping[str, float]], days: int) -> list[dict[str, float]]:
    """What the page's script expects of each of the settings."""
    asked = json.dumps({"told": told, "settings": settings, "days": days})
    made: list[dict[str, float]] = json.loads(_engine().call("yearsText", asked))
    return made


def year_bands(asked: Mapping[str, Any]) -> dict[str, Any]:
    """The script's bands: by chance, with `free` inputs drawn, too, and verdicts."""
    made: dict[str, Any] = json.loads(_engine().call("bandsText", json.dumps(asked)))
    return made


def at_length(rates: Sequence[object], wanted: Sequence[float]) -> list[dict[str, float]]:
    """What the page's script makes of rates of lists at other lengths."""
    asked = json.dumps({"rates": rates, "wanted": wanted})
    made: list[dict[str, float]] = json.loads(_engine().call("atLengthText", asked))
    return made


def cells(section: Element) -> Sequence[Element]:
    """The cells of all tables in it."""
    return [one for one in section.iter() if one.tag == "td"]


def engine(code: str) -> MiniRacer:
    """One that has run `code`. It is closed before Python ends, or its threads may keep the process."""
    made = MiniRacer()
    atexit.register(made.close)
    made.eval(code)
    return made


@cache
def _engine() -> MiniRacer:
    return engine(script(drawing_alone=True) + _CALL)
