"""What the components draw of a view model, run without a browser."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import msgspec
from blindmatch_simulations.evaluation.assess.results import check_folder
from blindmatch_simulations.report.page_of_view import script_of
from blindmatch_simulations.report.view.whole import view_of
from defusedxml.ElementTree import fromstring
from py_mini_racer import MiniRacer

from support.drawn import engine

SAMPLE = Path(__file__).parents[2] / "docs" / "sample"
FREE = re.compile(r"\b[0-3][a-d]\b|\b[Oo]f 100\b")
"""Words with digits that are no figures, as in the sentences of the view model."""
REASONS = {
    "scale": "a power of ten on an axis",
    "chosen": "what the reader moved a slider to, and what follows from it",
    "count": "how many things stand on this page",
    "option": "the name of an option",
    "design": "the name of a design in the program, or its version",
    "edit": "the setting of an edit",
    "way": "the setting of a way of matching",
    "picture": "the name of a picture",
    "run": "date and digest of a run",
    "law": "numbers and dates of laws",
    "words": "words of the view model that have no field of their own for a number",
}
"""Why digits stand on the page without evidence."""
_CALL = """
const drawnText = (asked) => {
  const {view, tried, state} = JSON.parse(asked);
  const c = contextOf(view, tried);
  Object.assign(c.state, state);
  const text = (markup) => textOf(h`${markup}`);
  return JSON.stringify({
    main: text(drawnMain(c)), sheet: text(drawnSheet(c)), nav: text(drawnNav(c)), foot: text(drawnFoot(c)),
    cards: Object.fromEntries(Object.keys(view.evidence).map((key) => [key, text(evidenceCard(c, key))])),
    live: Object.fromEntries(Object.keys(LIVE).map((id) => [id, text(LIVE[id](c))])),
  });
};
const hundredText = (asked) => {
  const {view, name, chosen} = JSON.parse(asked);
  const c = contextOf(view, null);
  return JSON.stringify(c.year(view.behaviours.find((one) => one.name === name), chosen));
};
"""


class Drawn:
    """The page's parts and the sheet as text; `cards` are what evidence opens, `live` what is drawn again."""

    def __init__(self, asked: str) -> None:
        made = json.loads(_engine().call("drawnText", asked))
        self.main: str = made["main"]
        self.sheet: str = made["sheet"]
        self.nav: str = made["nav"]
        self.foot: str = made["foot"]
        self.cards: dict[str, str] = made["cards"]
        self.live: dict[str, str] = made["live"]

    def tree(self) -> Element:
        """The page, which must be well formed."""
        return fromstring(f"<div>{self.nav}{self.main}{self.foot}</div>")

    def section(self, ident: str) -> Element:
        return next(one for one in self.tree().iter() if one.get("id") == ident)

    def words(self, ident: str) -> str:
        """The text of the element with an id."""
        return words_of(self.section(ident))

    def whole(self) -> str:
        """All text that can be shown."""
        return "".join([self.nav, self.main, self.foot, *self.cards.values(), *self.live.values()])


def words_of(element: Element) -> str:
    return " ".join("".join(element.itertext()).split())


def text_nodes(
    element: Element, above: tuple[Element, ...] = ()
) -> Iterator[tuple[str, tuple[Element, ...]]]:
    """Every piece of text, with the elements that it stands in, the innermost last."""
    inside = (*above, element)
    if element.text:
        yield element.text, inside
    for child in element:
        yield from text_nodes(child, inside)
        if child.tail:
            yield child.tail, inside


def unevidenced(root: Element, keys: set[str]) -> Iterator[str]:
    """Yield digits that open no evidence and have none of the named reasons."""
    for words, inside in text_nodes(root):
        if not re.search(r"\d", FREE.sub("", words)):
            continue
        marks = [one.get("data-evidence") for one in inside if one.get("data-evidence")]
        if any(one in keys for one in marks):
            continue
        reasons = {one.get("data-digits") for one in inside}
        if reasons & REASONS.keys():
            continue
        yield words


def marked_tags(root: Element) -> list[str]:
    """The tags that markup of `MARK` would make."""
    return [
        one.tag
        for one in root.iter()
        if one.tag == "script" or one.get("src") == "x" or any(name.startswith("on") for name in one.attrib)
    ]


@cache
def sample_view() -> bytes:
    """The view model of the committed sample, as JSON."""
    return msgspec.json.encode(view_of(SAMPLE, check_folder(SAMPLE)))


def plain_view() -> dict[str, Any]:
    """The same, as objects that a test may change."""
    made: dict[str, Any] = msgspec.json.decode(sample_view())
    return made


def drawn_view(view: Mapping[str, Any], tried: Mapping[str, Any] | None = None, **state: object) -> Drawn:
    """The page of a view model, with what a reader chose in `state`."""
    return Drawn(json.dumps({"view": view, "tried": tried, "state": state}))


def hundred_of(view: Mapping[str, Any], name: str, **chosen: float) -> dict[str, float]:
    """What the script makes of 100 known files in a design, at chosen shares."""
    made: dict[str, float] = json.loads(
        _engine().call("hundredText", json.dumps({"view": view, "name": name, "chosen": chosen}))
    )
    return made


@cache
def _engine() -> MiniRacer:
    return engine(script_of(with_document=False) + _CALL)
