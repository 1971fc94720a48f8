"""Parts of pages that follow from code: `make pages` writes them again, a test compares them.

A block stands between ``<!-- from NAME -->`` and ``<!-- end of NAME -->``, both on lines of their own.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Final

from blindmatch_protocol.contract import AnyDesign
from blindmatch_protocol.designs import device_classifier, oprf_psi
from blindmatch_simulations.evaluation.bench.table import target_words
from blindmatch_simulations.measure.row import CATALOGUE
from blindmatch_simulations.testbed.deployment.registry import all_designs

from support import (
    artifact,
    capacity_tables,
    declared,
    evidence_tables,
    fact_tables,
    glossary,
    growth,
    page_tables,
    peers,
    sample,
    set_tables,
    wire_tables,
)

ROOT: Final = Path(__file__).resolve().parents[2]
BLOCK: Final = re.compile(r"(<!-- from (.+?) -->\n)(.*?)(<!-- end of .+? -->\n)", re.DOTALL)


def built_in() -> list[str]:
    return [name for name, one in all_designs().items() if one.source == "built in"]


def every_design() -> list[AnyDesign]:
    """The built-in designs by name, installed or not: what the classifier's declare needs no model."""
    known = all_designs()
    designs = [known[name].design for name in built_in() if name != device_classifier.NAME]
    return sorted(
        [*designs, device_classifier.DeviceClassifier(lambda item: 0.0)], key=lambda one: one.info.name
    )


def _inner(text: str) -> str:
    """A declaration without its own two markers."""
    return "".join(text.splitlines(keepends=True)[1:-1])


@cache
def blocks() -> Mapping[str, Callable[[], str]]:
    """What writes each block, by its name."""
    known = all_designs()
    designs = [known[name].design for name in built_in()]
    return {
        **page_tables.TABLES,
        **capacity_tables.TABLES,
        **evidence_tables.TABLES,
        **wire_tables.TABLES,
        **set_tables.TABLES,
        **glossary.TABLES,
        "the rows of benches: make pages": rows_of_benches,
        "the sample's run: make pages": sample.block,
        "the claims: make pages": artifact.claims,
        "the run of make growth: make pages": growth.growth,
        "the run of make peers: make pages": peers.compared,
        "the scans of make peers: make pages": peers.scans,
        "the messenger's facts: make pages": lambda: fact_tables.of_messenger(oprf_psi.DESIGN.info),
        "the designs' facts: make pages": lambda: fact_tables.of_designs(every_design()),
        **{
            f"the declaration of {one.info.name}: make pages": (
                lambda one=one: _inner(declared.markdown(one))
            )
            for one in designs
        },
    }


def rows_of_benches() -> str:
    """Every row that a bench can measure, and its target."""
    rows = [
        (f"`{name}`", one.what + (f" (per {one.per})" if one.per else ""), target_words(one.target))
        for name, one in CATALOGUE.items()
    ]
    return "| row | what | target |\n|---|---|---|\n" + "".join(f"| {' | '.join(row)} |\n" for row in rows)


def pages() -> list[Path]:
    return [
        *(ROOT / f"{name}.md" for name in ("README", "CHANGELOG", "ARTIFACT")),
        *sorted((ROOT / "docs").rglob("*.md")),
    ]


def written_again(text: str, made: Mapping[str, Callable[[], str]]) -> str:
    """A page with its blocks as the code has them now; one of a design that is not installed stays."""
    return BLOCK.sub(lambda found: found[1] + made.get(found[2], lambda: found[3])() + found[4], text)


def main() -> None:
    made = blocks()
    for page in pages():
        text = page.read_text("utf-8")
        again = written_again(text, made)
        if again != text:
            page.write_text(again, "utf-8")
            sys.stderr.write(f"{page.relative_to(ROOT)}\n")


if __name__ == "__main__":
    main()
