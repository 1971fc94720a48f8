"""The page and sheet of the committed sample, drawn once in a process, and how tests look at their parts."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from xml.etree.ElementTree import Element

from blindmatch_simulations.evaluation.assess.results import Results, check_folder

from support.drawn import Drawn, drawn

SAMPLE = Path(__file__).parents[2] / "docs" / "sample"


@cache
def sample_results() -> Results:
    """Return the sample's results, checked."""
    return check_folder(SAMPLE)


@cache
def sample_page() -> Drawn:
    """Return what the page's script draws of the sample."""
    return drawn(SAMPLE, sample_results())


def words_of(element: Element) -> str:
    """Return the words in an element, with one ordinary space between any two."""
    words = "".join(element.itertext()).replace("\u00a0", " ").replace("\u202f", " ")
    return " ".join(words.split())


def part_of(page: Drawn, ident: str) -> Element:
    """Return the element of a page that has this id."""
    return next(element for element in page.tree().iter() if element.get("id") == ident)
