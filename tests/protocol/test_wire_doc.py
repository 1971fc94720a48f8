"""docs/reference/wire.md has every message of the two rooms, with its tag, fields and their encodings."""

from __future__ import annotations

import re
from pathlib import Path

from blindmatch_protocol.codec import layout
from blindmatch_protocol.designs.oprf_psi import DESIGN
from blindmatch_server.storage.errors import PreconditionError
from support.wire_tables import kinds, meanings, messages, statuses, words

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "wire.md").read_text()
HEADING = re.compile(r"^### `(0x[0-9a-f]{2})` (\S+)\n(.*?)(?=^#)", re.MULTILINE | re.DOTALL)
ROW = re.compile(r"^\| (\w+) \| ([^|]+) \|", re.MULTILINE)


def described(page: str) -> dict[tuple[str, str], list[tuple[str, str]]]:
    """Tag and name of each message on the page, with its fields and their encodings."""
    sections = HEADING.findall(page + "\n#")
    rows = {(tag, name): ROW.findall(body) for tag, name, body in sections}
    assert len(rows) == len(sections), "a message is described twice"
    return {key: [row for row in found if row[0] != "field"] for key, found in rows.items()}


def test_the_page_describes_every_message_as_it_is_encoded() -> None:
    coded = {
        (f"0x{kind.TAG:02x}", kind.NAME): [(name, words(encoding)) for name, encoding in layout(kind)]
        for kind in kinds()
    }
    assert described(PAGE) == described(messages()) == coded


def test_no_two_messages_have_one_tag() -> None:
    tags = [kind.TAG for kind in kinds()]
    assert sorted(tags) == sorted(set(tags))


def test_a_message_made_for_one_design_has_the_meanings_of_the_fields_it_inherits() -> None:
    (request,) = [kind for kind in kinds() if f"{DESIGN.info.name}/request" == kind.NAME]
    assert meanings(request).keys() == dict(layout(request)).keys()


def test_a_meaning_is_of_a_field() -> None:
    for kind in kinds():
        assert meanings(kind).keys() <= dict(layout(kind)).keys(), kind


def test_a_status_is_described_by_whole_sentences() -> None:
    described = " ".join(statuses().split())
    assert " ".join((PreconditionError.__doc__ or "").split()) in described
    assert all(one.rstrip().endswith(".") for one in described.split("- `")[1:])
