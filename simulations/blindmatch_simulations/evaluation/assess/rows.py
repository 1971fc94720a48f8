"""What can be measured, by reference, and the row that is made of it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from msgspec import UNSET

from blindmatch_simulations.evaluation.assess import judging
from blindmatch_simulations.evaluation.assess.observed import Check, Observed
from blindmatch_simulations.evaluation.assess.plan import Plan
from blindmatch_simulations.evaluation.assess.results import Design, Measured, Studied
from blindmatch_simulations.evaluation.assess.studying import STUDIES
from blindmatch_simulations.measure.results import Strict
from blindmatch_simulations.testbed.deployment.registry import all_designs, check_file, is_path, load_design

_AS_SEEN: Final = (
    "design", "traffic", "servers", "audit", "update", "offence", "stages", "key", "extraction", "lessened",
    "copies",
)  # fmt: skip
"""What a row has as the worker saw it."""


class Done(Strict, frozen=True):
    """What was seen of a design, and what that took; kept until it is checked."""

    seen: Observed
    peak_mib: float
    seconds: float


def option_of(row: Design) -> str | None:
    """The option of the catalogue that a row is of; None if it failed."""
    if isinstance(row, Measured):
        return row.design.option
    return row.option if isinstance(row, Studied) else None


def known() -> list[str]:
    """Everything that can be measured without a path."""
    return sorted({*all_designs(), *STUDIES})


def again(command: str, rows: Sequence[Design]) -> str:
    """The line that makes all rows again, those of earlier runs into the folder too."""
    references = [str(row.parameters["reference"]) for row in rows]
    words = [] if set(references) == set(known()) else ["--designs", ",".join(references)]
    return shlex.join([*shlex.split(command), *words, "--out", "DIR"])


def must_be_there(reference: str) -> None:
    """A misspelt name is the user's fault, no design's; a file is loaded in the design's own process only."""
    if reference in STUDIES:
        return
    if is_path(reference):
        check_file(Path(reference.rpartition(":")[0]))
    else:
        load_design(reference)


def name_of(reference: str) -> str:
    """A file name for a design: its name, or one made of path and attribute with a digest of the path."""
    path, _, attribute = reference.rpartition(":")
    if not is_path(reference):
        return re.sub(r"[^A-Za-z0-9._-]", "-", reference)
    digest = sha256(str(Path(path).resolve()).encode()).hexdigest()[:8]
    return re.sub(r"[^A-Za-z0-9._-]", "-", f"{Path(path).stem}-{attribute}-{digest}")


def reference_words(reference: str) -> str:
    """A reference without the folders of the machine it was run on."""
    path, _, attribute = reference.rpartition(":")
    return f"{Path(path).name}:{attribute}" if is_path(reference) else reference


def row_of(
    plan: Plan,
    name: str,
    reference: str,
    done: Done,
    checks: tuple[Check, ...],
    why: str,
) -> Measured:
    """The row of a design that was run and, unless `why` says otherwise, checked."""
    seen = done.seen
    declared = seen.design.parameters
    given = {name: declared[name] for name in plan.parameters if name in declared}
    as_seen: dict[str, Any] = {name: getattr(seen, name) for name in _AS_SEEN}
    return Measured(
        id=name,
        what=seen.design.summary,
        parameters={"reference": reference_words(reference), "entries": seen.entries, **given},
        figures=judging.figures(seen, checks, why),
        recall_by_edit=judging.recall_by_edit(seen, plan.pictures.edits),
        recall_by_distance=judging.recall_by_distance(seen),
        tries_until_hidden=judging.tries_until_hidden(judging.main_rows(seen), plan.pictures.edits),
        checks=checks,
        checks_why=why,
        peak_mib_all=done.peak_mib,
        seconds=done.seconds,
        recall_by_kind=judging.found_by_kind(seen, True) or UNSET,
        false_by_kind=judging.found_by_kind(seen, False) or UNSET,
        **as_seen,
    )
