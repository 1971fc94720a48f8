"""Small pieces of HTML; whatever comes from outside is escaped here and nowhere else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from blindmatch_simulations.assess.catalogue import FIGURES
from blindmatch_simulations.assess.judging import NOTHING
from blindmatch_simulations.assess.results import Figure

_RAISED: Final = str.maketrans(
    "-0123456789", "\u207b\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079"
)


@dataclass(frozen=True, slots=True)
class Evidence:
    """Where a design's figures come from.

    Attributes:
        rows: path of the raw rows, below the results folder.
        command: what makes the run again.
    """

    rows: str
    command: str


def text(value: object) -> str:
    """Escaped."""
    return escape(str(value), quote=True)


def section(ident: str, title: str, *parts: str) -> str:
    """A view with its heading."""
    body = "\n".join(parts)
    return (
        f'<section id="{ident}" aria-labelledby="h-{ident}">\n<h2 '
        f'id="h-{ident}">{text(title)}</h2>\n{body}\n</section>'
    )


def paragraph(words: str) -> str:
    """Words as they are, escaped."""
    return f"<p>{text(words)}</p>"


def bullets(items: Iterable[str]) -> str:
    """A list of escaped lines."""
    return "<ul>" + "".join(f"<li>{text(item)}</li>" for item in items) + "</ul>"


def table(caption: str, head: Sequence[str], rows: Iterable[Sequence[str]], stacked: bool = True) -> str:
    """A table whose cells are HTML already; the first cell of a row is its header.

    Where the window is narrow, a `stacked` one shows each row as a card with the column's name above each
    value. The roles keep it a table for screen readers then.
    """
    columns = "".join(f'<th scope="col" role="columnheader">{text(name)}</th>' for name in head)
    body = "".join(_table_row(head, row) for row in rows)
    head_row = f'<thead role="rowgroup"><tr role="row">{columns}</tr></thead>'
    made = (
        f'<table role="table"><caption>{text(caption)}</caption>{head_row}'
        f'<tbody role="rowgroup">{body}</tbody></table>'
    )
    kind = "scroll stack" if stacked else "scroll"
    return f'<div class="{kind}" role="region" tabindex="0" aria-label="{text(caption)}">{made}</div>'


def _table_row(head: Sequence[str], row: Sequence[str]) -> str:
    cells = "".join(
        f'<td role="cell" data-label="{text(name)}">{value}</td>'
        for name, value in zip(head[1:], row[1:], strict=True)
    )
    return f'<tr role="row"><th scope="row" role="rowheader">{row[0]}</th>{cells}</tr>\n'


def mark(provenance: str) -> str:
    """A provenance mark, in words."""
    return f'<span class="mark mark-{text(provenance)}">{text(provenance)}</span>'


def number(value: float, unit: str = "") -> str:
    """A number as people read it: three digits that count, thousands apart, shares in per cent."""
    if unit == "share":
        return f"{power(f'{100 * value:.3g}')}\u00a0%"
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}".replace(",", "\u202f")
    if abs(value) >= 1000:
        return f"{value:,.0f}".replace(",", "\u202f")
    return power(f"{value:.3g}")


def power(words: str) -> str:
    """``1.5e-06`` as people write it: a power of ten; other numbers as they are."""
    digits, _, exponent = words.partition("e")
    if not exponent:
        return words
    raised = str(int(exponent)).translate(_RAISED)
    return f"{digits}\u00a0\u00d7\u00a010{raised}"


def absent(why: str) -> str:
    """What stands where a figure would: it was not measured, or there is nothing that it could be of."""
    return f'<span class="nm">{NOTHING if why.startswith(NOTHING) else "not measured"}</span>'


def interval(figure: Figure, unit: str) -> str:
    """The interval in brackets, if there is one."""
    if figure.low is None or figure.high is None:
        return ""
    if unit == "share":
        return f"{power(f'{100 * figure.low:.3g}')} to {number(figure.high, unit)}"
    return f"{number(figure.low)} to {number(figure.high)}"


def shown(name: str, figure: Figure) -> str:
    """A figure as one line of text."""
    if figure.value is None:
        return NOTHING if figure.why.startswith(NOTHING) else "not measured"
    unit = FIGURES[name].unit
    words = number(figure.value, unit)
    return words if unit == "share" else f"{words} {unit}"


def beside(name: str, figure: Figure) -> str:
    """What a figure is not shown without: the interval of a share, the resolution of an advantage."""
    if figure.resolution is not None and figure.n is not None:
        return f"{number(figure.resolution)} by guessing, {number(figure.n)} runs"
    return interval(figure, "share") if FIGURES[name].unit == "share" else ""


def unmeasured(why: str) -> str:
    """A cell without a figure, which opens the reason."""
    reason = f"<dl><dt>why</dt><dd>{text(why)}</dd></dl>"
    return f'<details class="cell"><summary>{absent(why)}</summary>{reason}</details>'


def cell(name: str, figure: Figure, evidence: Evidence, titled: bool = True) -> str:
    """A figure that opens its evidence; not `titled` where its row names it to those who see."""
    kind = FIGURES[name]
    head = absent(figure.why) if figure.value is None else text(shown(name, figure))
    if figure.value is not None and (words := beside(name, figure)):
        head += f' <span class="soft">({text(words)})</span>'
    facts = [f"<dt>{text(kind.title)}</dt><dd>{text(kind.says)}</dd>"]
    if figure.why:
        name_of_it = "why not measured" if figure.value is None else "note"
        facts.append(f"<dt>{name_of_it}</dt><dd>{text(figure.why)}</dd>")
    if spread := interval(figure, kind.unit):
        label = "95 % interval" if kind.unit == "share" else "lowest to highest"
        facts.append(f"<dt>{label}</dt><dd>{text(spread)}</dd>")
    if figure.n is not None:
        facts.append(f"<dt>behind it</dt><dd>{number(figure.n)} trials{_pairs(figure)}</dd>")
    facts.append(f"<dt>rows</dt><dd>{_rows(evidence, kind.rows)}</dd>")
    facts.append(f"<dt>command</dt><dd><code>{text(evidence.command)}</code></dd>")
    label = f'<span class="{"label" if titled else "unseen"}">{text(kind.title)}</span> '
    value = f'<span class="{"value" if titled else "only"}">{head}</span>'
    opened = f"<dl>{''.join(facts)}</dl>"
    return f'<details class="cell"><summary>{label}{value}</summary>{opened}</details>'


def _rows(evidence: Evidence, kind: str) -> str:
    """Where the raw rows are; a figure of kind ``summary`` is one reading, and stands in the row itself."""
    if kind == "summary":
        return "one reading, in <code>results.json</code>"
    return f"<code>{text(evidence.rows)}</code>, kind <code>{text(kind)}</code>"


def _pairs(figure: Figure) -> str:
    return f", {number(figure.pairs)} pairs of picture and entry" if figure.pairs is not None else ""
