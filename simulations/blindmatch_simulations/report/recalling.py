"""Recall by edit and by distance."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from blindmatch_simulations.assess.judging import NOTHING
from blindmatch_simulations.assess.results import Measured, Recall, Results
from blindmatch_simulations.pictures.edits import BY_NAME
from blindmatch_simulations.report.markup import absent, paragraph, section, table, text
from blindmatch_simulations.report.summary import measured
from blindmatch_simulations.report.svg import Bar, shares


def recall_view(results: Results) -> str:
    """The view."""
    rows = measured(results)
    words = (
        "Of all listed pictures sent with an edit, the share that led to a match, with 95 % intervals "
        "(Clopper and Pearson). The pictures are chosen: crops with PDQ quality 50 or more and hashes more "
        "than 60 bits apart, so others may do worse. Edits of one picture hang together: intervals are "
        "on the narrow side. The last seven edits are strong; an offender needs no more."
    )
    charts = "".join(
        f"<figure><figcaption>{text(one.design.name)}</figcaption>{chart(one)}</figure>"
        for one in rows
        if any(edit.share.value is not None for edit in one.recall_by_edit)
    )
    edits = _table("Found by edit", "edit", rows, [one.recall_by_edit for one in rows], _edit_name)
    distances = _table(
        "Found by the distance an edit moved the hash",
        "bits of 256 that the edit changed",
        rows,
        [one.recall_by_distance for one in rows],
        _distance_name,
    )
    return section(
        "recall", "Recall by edit", paragraph(words), f'<div class="charts">{charts}</div>', edits, distances
    )


def chart(one: Measured) -> str:
    """A design's recall by edit."""
    bars = [
        Bar(
            row.name,
            row.share.value,
            row.share.low or 0.0,
            row.share.high or 0.0,
            f"{row.found} of {row.sent}" if row.found is not None else "not meas.",
        )
        for row in one.recall_by_edit
    ]
    return shares(f"{one.design.name}: listed pictures found, by edit", bars)


def _table(
    caption: str,
    group: str,
    rows: Sequence[Measured],
    groups: Sequence[Sequence[Recall]],
    name: Callable[[str], str],
) -> str:
    if not rows:
        return ""
    head = [group, *(one.design.name for one in rows)]
    lines = [[name(each[0].name), *(_cell(one) for one in each)] for each in zip(*groups, strict=True)]
    return table(caption, head, lines)


def _cell(one: Recall) -> str:
    share = one.share
    if share.value is None or share.low is None or share.high is None:
        why = "" if share.why.startswith(NOTHING) else f'<br><span class="soft">{text(share.why)}</span>'
        return absent(share.why) + why
    low, high = 100 * share.low, 100 * share.high
    return (
        f'{100 * share.value:.0f}\u00a0% <span class="soft">({one.found} of {one.sent}; '
        f"{low:.0f} to {high:.0f}\u00a0%)</span>"
    )


def _edit_name(name: str) -> str:
    note = BY_NAME[name].note if name in BY_NAME else ""
    return f'{text(name)}<br><span class="soft">{text(note)}</span>'


def _distance_name(name: str) -> str:
    return text(name)
