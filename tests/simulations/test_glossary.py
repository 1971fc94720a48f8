"""The glossary defines each term once, and the pages link to it where a term first appears."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.documents import FENCE, PAGES, named, prose, reading_order
from support.glossary import PAGE, anchor, definitions, terms

LINK = re.compile(r"\]\(([\w./-]*glossary\.md)#([\w-]+)\)")
INSIDE = re.compile(r"\]\(#([\w-]+)\)")
TECHNICAL = (
    *("relay", "curator", "matcher", "coalition", "set-up", "epoch", "delta", "false match", "recall"),
    *("voucher", "made-up voucher", "franking", "conformance", "reference corpus", "perceptual hash"),
    *("safety number", "cover schedule", "modified client", "committed evidence"),
)
"""Words that have no everyday meaning."""
FIRST_SENTENCE = 25
"""The most words in which a definition gives the plain meaning."""


def links() -> Iterator[tuple[Path, Path, str]]:
    """Yield each link to the glossary: the page, the file that it leads to, and the term's anchor."""
    for page in PAGES:
        for path, term in LINK.findall(FENCE.sub("", page.read_text("utf-8"))):
            yield page, (page.parent / path).resolve(), term


def test_each_term_is_defined_once() -> None:
    anchors = [anchor(term) for term in terms()]
    assert len(anchors) == len(set(anchors)) > 60
    assert all(definitions().values())


def test_the_index_of_the_glossary_names_each_term_in_alphabetical_order() -> None:
    shown = INSIDE.findall(PAGE.read_text("utf-8"))
    assert shown == [anchor(term) for term in sorted(terms(), key=str.casefold)]


def test_each_link_to_the_glossary_leads_to_a_term() -> None:
    known = {anchor(term) for term in terms()}
    assert [
        (named(page), term) for page, target, term in links() if target != PAGE or term not in known
    ] == []


def test_each_term_is_linked_from_a_page() -> None:
    linked = {term for page, _, term in links() if page != PAGE}
    assert [term for term in terms() if anchor(term) not in linked] == []


@pytest.mark.parametrize("term", terms())
def test_a_definition_begins_with_a_plain_sentence(term: str) -> None:
    said = definitions()[term]
    sentence = re.split(r"[.:;](?:\s|$)", said)[0]
    assert len(sentence.split()) <= FIRST_SENTENCE, sentence
    assert "`" not in sentence, sentence
    assert not re.match(rf"(the |an? )?{re.escape(term)}\b", said, re.IGNORECASE), "defined by itself"


def test_no_other_page_defines_a_term_again() -> None:
    """A page that sets a term in italics and says what it is defines it; it links the glossary instead."""
    words = "|".join(map(re.escape, terms()))
    again = re.compile(rf"(?:^|[.:] |\bAn? |\bThe )\*({words})s?\*(?::| is | are | means )", re.I | re.M)
    found = {named(page): again.findall(FENCE.sub("", page.read_text("utf-8"))) for page in PAGES}
    assert {page: words for page, words in found.items() if words} == {}


def test_the_first_page_that_uses_a_technical_term_links_it() -> None:
    """Pages come in the order of the site's index."""
    order = [page for page in reading_order() if page != PAGE and page.parent.name != "decisions"]
    assert len(order) > 40
    for term in TECHNICAL:
        using = (page for page in order if re.search(rf"\b{term}s?\b", prose(page), re.IGNORECASE))
        first = next(using, None)
        assert first is not None, term
        assert f"glossary.md#{anchor(term)})" in first.read_text("utf-8"), (term, named(first))
