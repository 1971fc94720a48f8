"""Rows of options that are no design: studies in one process, on what they make up themselves."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Final

from msgspec.structs import asdict

from blindmatch_simulations.evaluation.assess.results import Studied
from blindmatch_simulations.evaluation.studies.targeted.access import Scheme, attempts, costs
from blindmatch_simulations.measure.results import Figure

UNITS: Final = {"sender_u": "u", "authority_u": "u", "escrow_bytes": "bytes"}


def _targeted(name: str) -> Studied:
    began, scheme = time.perf_counter(), Scheme()
    found = tuple(attempts(scheme))
    return Studied(
        id=name,
        what=f"No detection: {scheme.k} of {scheme.n} authorities together open the messages of one account. "
        "Made-up accounts, in one process.",
        option="0c",
        page=f"docs/designs/{name}.md",
        parameters={"reference": name, **asdict(scheme)},
        figures={key: Figure(value, unit=UNITS[key]) for key, value in costs(scheme).items()},
        opened=found,
        seconds=round(time.perf_counter() - began, 2),
    )


STUDIES: Final[Mapping[str, Callable[[str], Studied]]] = {"targeted-access": _targeted}
"""By name, as they are asked for beside designs."""
