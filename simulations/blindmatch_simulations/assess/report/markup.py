"""Small pieces of HTML; whatever comes from outside is escaped here and nowhere else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from blindmatch_simulations.assess.catalogue import FIGURES
from blindmatch_simulations.assess.results import Figure

NOT_MEASURED = '<span class="nm">not measured</span>'


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


def table(caption: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table whose cells are HTML already; the first cell of a row is its header."""
    columns = "".join(f'<th scope="col">{text(name)}</th>' for name in head)
    body = "".join(
        f'<tr><th scope="row">{row[0]}</th>' + "".join(f"<td>{cell}</td>" for cell in row[1:]) + "</tr>\n"
        for row in rows
    )
    head_row = f"<thead><tr>{columns}</tr></thead>"
    made = f"<table><caption>{text(caption)}</caption>{head_row}<tbody>{body}</tbody></table>"
    return f'<div class="scroll" role="region" tabindex="0" aria-label="{text(caption)}">{made}</div>'


def mark(provenance: str) -> str:
    """A provenance mark, in words."""
    return f'<span class="mark mark-{text(provenance)}">{text(provenance)}</span>'


def number(value: float, unit: str = "") -> str:
    """A number as people read it: three digits that count, thousands apart, shares in per cent."""
    if unit == "share":
        return f"{100 * value:.3g} %"
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}".replace(",", "\u202f")
    if abs(value) >= 1000:
        return f"{value:,.0f}".replace(",", "\u202f")
    return f"{value:.3g}"


def interval(figure: Figure, unit: str) -> str:
    """The interval in brackets, if there is one."""
    if figure.low is None or figure.high is None:
        return ""
    if unit == "share":
        return f"{100 * figure.low:.3g} to {100 * figure.high:.3g} %"
    return f"{number(figure.low)} to {number(figure.high)}"


def shown(name: str, figure: Figure) -> str:
    """A figure as one line of text."""
    if figure.value is None:
        return "not measured"
    unit = FIGURES[name].unit
    words = number(figure.value, unit)
    return words if unit == "share" else f"{words} {unit}"


def cell(name: str, figure: Figure, rows: str, command: str) -> str:
    """A figure that opens its evidence."""
    kind = FIGURES[name]
    head = NOT_MEASURED if figure.value is None else text(shown(name, figure))
    facts = [f"<dt>{text(kind.title)}</dt><dd>{text(kind.says)}</dd>"]
    if figure.why:
        name_of_it = "why not measured" if figure.value is None else "note"
        facts.append(f"<dt>{name_of_it}</dt><dd>{text(figure.why)}</dd>")
    if spread := interval(figure, kind.unit):
        label = "95 % interval" if kind.unit == "share" else "lowest to highest"
        facts.append(f"<dt>{label}</dt><dd>{text(spread)}</dd>")
    if figure.n is not None:
        facts.append(f"<dt>behind it</dt><dd>{number(figure.n)} trials{_pairs(figure)}</dd>")
    facts.append(f"<dt>rows</dt><dd><code>{text(rows)}</code>, kind <code>{text(kind.rows)}</code></dd>")
    facts.append(f"<dt>command</dt><dd><code>{text(command)}</code></dd>")
    label = f'<span class="label">{text(kind.title)}</span> '
    value = f'<span class="value">{head}</span>'
    evidence = f"<dl>{''.join(facts)}</dl>"
    return f'<details class="cell"><summary>{label}{value}</summary>{evidence}</details>'


def _pairs(figure: Figure) -> str:
    return f", {number(figure.pairs)} pairs of picture and entry" if figure.pairs is not None else ""
