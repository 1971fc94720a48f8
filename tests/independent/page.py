"""The report's page as a reader sees it, and the numbers in its words."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from html.parser import HTMLParser
from math import floor, log10
from pathlib import Path

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--virtual-time-budget=30000", "--dump-dom",
)  # fmt: skip
EMPTY = {"br", "meta", "link", "input", "img", "hr"}
UNSEEN = {"script", "style", "option", "title"}
WORDS = {"thousand": 1e3, "million": 1e6, "billion": 1e9}
UNITS = {
    "B": 1.0, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "PB": 1e15,
    "%": 0.01, "ms": 1.0, "s": 1.0, "h": 3600.0
}  # fmt: skip
# digits that are no part of a word: \\w stops at E2EE, 0a and jpeg-75 are names
NUMBER = re.compile(r"(?<![\w.,-])\d+(?:\.\d+)?(?: \d{3})*(?!\w)")


class Element:
    """An element of a page: its tag, attributes, and parts in order."""

    def __init__(self, tag: str, attributes: dict[str, str]) -> None:
        self.tag = tag
        self.attributes = attributes
        self.parts: list[Element | str] = []

    def all(self, tag: str = "", **attributes: str) -> list[Element]:
        """Return the elements below with a tag and attributes."""
        found = []
        for part in self.parts:
            if isinstance(part, str):
                continue
            wanted = all(
                part.attributes.get(name.replace("_", "-")) == value for name, value in attributes.items()
            )
            if wanted and tag in ("", part.tag):
                found.append(part)
            found.extend(part.all(tag, **attributes))
        return found

    @property
    def words(self) -> str:
        """The text that a reader sees, spaces of all kinds as one."""
        return " ".join(self._text().split())

    def _text(self) -> str:
        if self.tag in UNSEEN:
            return ""
        made = "".join(part if isinstance(part, str) else part._text() for part in self.parts)
        return f" {made} " if self.tag in ("br", "td", "th", "p", "li", "tr", "summary", "text") else made


class _Builder(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.root = Element("", {})
        self._open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        made = Element(tag, {name: value or "" for name, value in attrs})
        self._open[-1].parts.append(made)
        if tag not in EMPTY:
            self._open.append(made)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._open[-1].parts.append(Element(tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        names = [one.tag for one in self._open]
        if tag in names[1:]:
            del self._open[len(names) - 1 - names[::-1].index(tag) :]

    def handle_data(self, data: str) -> None:
        self._open[-1].parts.append(data)


def parsed(text: str) -> Element:
    """Return the tree of a page's HTML."""
    builder = _Builder()
    builder.feed(text)
    return builder.root


def rendered(report: Path, place: str = "") -> Element:
    """Return a view of the report as a browser draws it; without a browser, as the page's own script does.

    Args:
        report: the file.
        place: the address's fragment: nothing for the first view, `year` for the second.
    """
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        return drawn_by_script(report, place)
    address = report.resolve().as_uri() + (f"#{place}" if place else "")
    with tempfile.TemporaryDirectory() as folder:
        command = [browser, *FLAGS, f"--user-data-dir={folder}", address]
        made = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    return parsed(made.stdout)


SCRIPT = """
const data_ = JSON.parse(dataText);
const given_ = Object.fromEntries(data_.sources.inputs.map((one) => [one.ident, one.value]));
const state_ = {run: 0, given: given_, open: [], kept: "", sheet: sheetWanted};
const drawn_ = draw(data_, state_);
const sliders_ = data_.sources.inputs.filter((one) => one.slide);
const slid_ = sliders_.map((one) => [one.short, slideSaid(one, one.value)]);
JSON.stringify([markup(drawn_.main), slid_]);
"""


def drawn_by_script(report: Path, place: str = "") -> Element:
    """Return what the page's script draws, run by an engine without a document."""
    from py_mini_racer import MiniRacer

    text = report.read_text("utf-8")
    scripts = re.findall(r"<script([^>]*)>(.*?)</script>", text, re.DOTALL)
    data = next(body for kind, body in scripts if "application/json" in kind)
    code = next(body for kind, body in scripts if "application/json" not in kind)
    engine = MiniRacer()
    try:
        wanted = "true" if not place else "false"
        given = f"const dataText = {json.dumps(data)}, sheetWanted = {wanted};"
        main, slid = json.loads(engine.eval(f"{code}\n{given}\n{SCRIPT}"))
    finally:
        engine.close()
    escaped = [[html.escape(one) for one in words] for words in slid]
    sliders = "".join(f"<p>{name} <output>{said}</output></p>" for name, said in escaped)
    return parsed(f'<form id="scale">{sliders}</form><main>{main}</main>')


# ---- numbers


def rounded(value: float, digits: int) -> float:
    """Return a value with so many significant digits."""
    if value == 0:
        return 0.0
    return round(value, digits - 1 - floor(log10(abs(value))))


@dataclass(frozen=True)
class Derived:
    """What a derivation says of one number.

    Attributes:
        value: derived; None where it was drawn at random, and only `between` is known.
        how: the derivation in a few words.
        digits: significant digits that the page shows; 0 for a whole number that is shown in full.
        places: digits after the point, where these are fixed instead.
        between: where the derivation is by chance, between what the number must lie, beside `value`.
    """

    value: float | None
    how: str
    digits: int = 3
    places: int | None = None
    between: tuple[float, float] | None = None

    def agrees(self, shown: float) -> bool:
        """Return whether a shown number is the derived one, rounded as it says."""
        if self.between is not None and not self._may_be(shown):
            return False
        if self.value is None:
            return self.between is not None
        if self.places is not None:
            step = 10.0**-self.places
            return abs(shown - self.value) <= step / 2 * (1 + 1e-9)
        if not self.digits:
            return shown == self.value
        wanted = rounded(self.value, self.digits)
        # a value that stands half-way between two shown ones may be rounded to either
        tie = abs(shown - self.value) <= 0.5 * 10.0 ** (
            floor(log10(abs(self.value) or 1)) - self.digits + 1
        ) * (1 + 1e-9)
        return abs(shown - wanted) <= 1e-9 * max(1.0, abs(wanted)) or (tie and abs(shown - wanted) > 0)

    def _may_be(self, shown: float) -> bool:
        assert self.between is not None
        low, high = (rounded(one, self.digits or 15) for one in self.between)
        slack = 1e-9 * max(1.0, abs(high))
        return low - slack <= shown <= high + slack


def value_of(text: str) -> float:
    """Return the number that words say: `1.66 million`, `10.4 kB`, `99.6 %`, `€0.07`, `22 143`."""
    plain = text.replace("€", "").replace("−", "-").replace("<", "").strip()
    match = re.fullmatch(r"(-?[\d. ]*\d)(?:\s*([A-Za-z%]+))?", plain)
    if match is None:
        raise ValueError(f"{text!r} is no number")
    size = 1.0
    if match[2]:
        size = WORDS.get(match[2]) or UNITS[match[2]]
    return float(match[1].replace(" ", "")) * size


def ends_of(text: str) -> list[float]:
    """Return the one or two numbers of a span: `64.6 MB–42.2 GB`, `3–3.1 s`, `1.4 million to 1.9 million`."""
    if " to " in text:
        return [value_of(part) for part in text.split(" to ")]
    # ends of one unit have it once
    parts = text.split("–")
    unit = re.search(r"([A-Za-z%]+)$", parts[-1].strip())
    for at, part in enumerate(parts[:-1]):
        if unit and not re.search(r"[A-Za-z%]", part):
            parts[at] = f"{part} {unit[1]}"
    return [value_of(part) for part in parts]


@dataclass
class Ledger:
    """Every number of the views: which derivation claims it, and whether the two agree."""

    lines: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    claimed: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    words: dict[str, str] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)

    def add(self, place: str, words: str) -> None:
        """Take the words of a place whose numbers are to be claimed."""
        self.words[place] = words
        self.claimed.setdefault(place, [])

    def claim(self, place: str, pattern: str, *derived: Derived | tuple[Derived, Derived]) -> None:
        """Claim the numbers that the groups of a pattern stand for, one after the other.

        Args:
            place: whose words.
            pattern: with a group for each number or span.
            derived: of each group; two of a span.
        """
        words = self.words.get(place)
        match = re.search(pattern, words) if words is not None else None
        if match is None:
            self.faults.append(f"{place}: the page does not say {pattern!r}")
            return
        if len(match.groups()) != len(derived):
            raise ValueError(
                f"{place}: {pattern!r} has {len(match.groups())} groups for {len(derived)} numbers"
            )
        for group, one in enumerate(derived, 1):
            self.claimed[place].append(match.span(group))
            self._compare(place, match[group], one)

    def _compare(self, place: str, text: str, one: Derived | tuple[Derived, Derived]) -> None:
        wanted = one if isinstance(one, tuple) else (one,)
        shown = ends_of(text)
        if len(shown) == 1 and len(wanted) == 2:
            shown = shown * 2
        said = " to ".join("drawn" if each.value is None else f"{each.value:.6g}" for each in wanted)
        good = len(shown) == len(wanted) and all(a.agrees(b) for a, b in zip(wanted, shown, strict=True))
        bounds = "".join(
            f", within {each.between[0]:.4g} to {each.between[1]:.4g}" for each in wanted if each.between
        )
        line = f"{place}: {text} = {said}{bounds} ({wanted[0].how})"
        self.lines.append(line)
        if not good:
            self.faults.append(f"{place}: the page says {text}, derived: {said}{bounds} ({wanted[0].how})")

    def name(self, place: str, pattern: str, how: str) -> None:
        """Say that digits are part of a name, which is derived from data or stands in a document."""
        for match in re.finditer(pattern, self.words.get(place, "")):
            self.claimed[place].append(match.span())
            self.lines.append(f"{place}: {match[0]}: {how}")

    def look_at(self, prefix: str, section: Element) -> None:
        """Take each number of a section that no place of it has, so that none is overlooked.

        Args:
            prefix: of the names of its places; places of a fold may have another one.
            section: all that the reader sees there.
        """
        held = Counter(one for words in self.words.values() for one in NUMBER.findall(self._bare(words)))
        for one, count in Counter(NUMBER.findall(self._bare(section.words))).items():
            if held[one] < count:
                self.faults.append(
                    f"{prefix}: {count - held[one]} times {one!r} is in no place that is looked at"
                )

    def _bare(self, words: str) -> str:
        """Return the words without names that have digits."""
        for name in sorted(self.names, key=len, reverse=True):
            words = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", lambda one: "\0" * len(one[0]), words)
        return words

    def left(self) -> list[str]:
        """Return each number that no derivation claims, with the words around it."""
        found = []
        for place, words in self.words.items():
            bare = words
            for start, end in self.claimed[place]:
                bare = bare[:start] + "\0" * (end - start) + bare[end:]
            bare = self._bare(bare)
            for match in NUMBER.finditer(bare):
                around = words[max(0, match.start() - 40) : match.end() + 40]
                found.append(f"{place}: not derived: {match[0]!r} in {around!r}")
        return found
