"""NCMEC hash sharing XML, version 2."""

from __future__ import annotations

import io
from typing import Any

import pytest
from blindmatch_server.curator import FormatError, ListFormat, import_list, open_list
from blindmatch_server.curator.formats import ncmec_xml
from blindmatch_server.curator.source import Source

GOOD = "f8f8f0cee0f4a84f06370a22038f63f0b36e2ed596621e1d33e6b39c4e9c9b22"
NAMESPACE = "https://hashsharing.ncmec.org/hashsharing/v2"
NOON = "2017-10-24T12:00:00Z"
ONE = "2017-10-24T13:00:00Z"
TWO = "2017-10-24T14:00:00.250Z"


def image(name: str, pdq: str | None, at: str = NOON, member: str = "42", tag: str = "image") -> str:
    prints = f"<fingerprints><md5>a1a1</md5>{f'<pdq>{pdq}</pdq>' if pdq is not None else ''}</fingerprints>"
    return (
        f'<{tag}>\n  <member id="{member}">Example &amp; Co</member>\n  <timestamp>{at}</timestamp>\n'
        f"  <id>{name}</id><classification>A1</classification>{prints}\n</{tag}>\n"
    )


def deleted(name: str, at: str = NOON, member: str = "42") -> str:
    return f'<deletedImage><member id="{member}"/><id>{name}</id><timestamp>{at}</timestamp></deletedImage>\n'


def document(*records: str) -> bytes:
    head = f'<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n<queryResult xmlns="{NAMESPACE}">\n'
    paging = "<paging><next>/v2/entries?from=x&amp;to=y</next></paging>"
    return (head + "<images>\n" + "".join(records) + "</images>\n" + paging + "</queryResult>\n").encode()


def test_images_are_read_in_order(read: Any, hexes: list[str]) -> None:
    found = read(ListFormat.NCMEC, document(*(image(f"i{n}", one) for n, one in enumerate(hexes))))
    assert (found.hexes, found.count, found.rejects) == (hexes, 64, [])


def test_many_records_come_in_several_blocks(read: Any) -> None:
    found = read(ListFormat.NCMEC, document(*(image(f"i{n}", GOOD) for n in range(9000))))
    assert found.count == 9000
    assert len(found.blocks) > 1


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (image("a", None), "hash-missing"),
        (image("a", ""), "hash-missing"),
        (image("a", GOOD.upper()), "hash-upper-case"),
        (image("a", "0" * 64), "hash-all-zero"),
        (image("a", GOOD[1:]), "hash-too-short"),
        (image("a", "a" * 2_000_000), "hash-too-long"),
        (image("a", f"{GOOD}</pdq><pdq>{GOOD}"), "several-hashes"),
        (image("a", '</pdq><pdq rel="self" href="/v2/entries/1/fingerprints/PDQ"/><pdq>'), "several-hashes"),
        (image("", GOOD), "record-id-missing"),
        (image("a", GOOD, member=""), "record-id-missing"),
        (image("a", GOOD, at="yesterday"), "bad-timestamp"),
        (image("a", GOOD, at="2017-10-24T12:00:00"), "bad-timestamp"),
        (image("a", GOOD, tag="video"), "video"),
        (image("a", None, tag="deletedVideo"), "video"),
        (deleted(""), "record-id-missing"),
    ],
)
def test_a_bad_record_is_rejected_at_its_place(read: Any, record: str, reason: str) -> None:
    data = document(image("x", GOOD), record, image("y", GOOD))
    found = read(ListFormat.NCMEC, data)
    assert (found.hexes, found.reasons) == ([GOOD] * 2, [reason])
    offset = data.index(record.encode()[:40], data.index(b"</image>"))
    assert found.places == [(2, data[:offset].count(b"\n") + 1, offset)]


def test_places_count_a_byte_order_mark(read: Any) -> None:
    data = b"\xef\xbb\xbf" + document(image("x", "bad"))
    assert read(ListFormat.NCMEC, data).places[0][2] == data.index(b"<image>")


def test_white_space_and_comments_around_a_hash_are_no_part_of_it(read: Any) -> None:
    found = read(ListFormat.NCMEC, document(image("a", f"\n {GOOD[:9]}<!-- x -->{GOOD[9:]} \n")))
    assert found.hexes == [GOOD]


@pytest.mark.parametrize(
    ("records", "left"),
    [
        ([image("a", "0"), deleted("a", ONE)], 0),
        ([deleted("a", ONE), image("a", "0", NOON)], 0),
        ([deleted("a", NOON), image("a", "0", ONE)], 1),
        ([image("a", "0", NOON), deleted("a", NOON)], 0),
        ([deleted("a", NOON), image("a", "0", NOON)], 0),
        ([image("a", "0", ONE), deleted("a", TWO, member="43")], 1),
        ([image("a", "0"), image("b", "0"), deleted("a", ONE)], 1),
        ([image("a", "0"), image("b", "0"), deleted("a", ONE), deleted("b", ONE)], 0),
        ([image("a", "0"), image("a", "1", ONE)], 1),
        ([image("a", "1", ONE), image("a", "0")], 1),
        ([image("a", "0"), image("a", "1", ONE), deleted("a", TWO)], 0),
    ],
)
def test_of_the_records_of_one_id_the_latest_counts(
    rng: Any, into: Any, hexes: list[str], records: list[str], left: int
) -> None:
    anchor = image("anchor", hexes[9])
    filled = [
        record.replace("<pdq>0<", f"<pdq>{hexes[0]}<").replace("<pdq>1<", f"<pdq>{hexes[1]}<")
        for record in [anchor, *records]
    ]
    import_list(io.BytesIO(document(*filled)), into, rng)
    assert len(open_list(into)) == 1 + left


def test_the_member_is_known_by_its_id_attribute_among_others(rng: Any, into: Any, hexes: list[str]) -> None:
    other = deleted("a", ONE).replace('id="42"', 'kind="id" id="42"')
    import_list(io.BytesIO(document(image("a", hexes[0]), other, image("b", hexes[1]))), into, rng)
    assert [row.tobytes().hex() for row in open_list(into).hashes] == hexes[1:2]


def test_a_deletion_in_a_later_import_removes_the_entry_and_its_id_is_not_used_again(
    rng: Any, into: Any, hexes: list[str]
) -> None:
    import_list(io.BytesIO(document(*(image(f"i{n}", hexes[n]) for n in range(4)))), into, rng)
    later = document(deleted("i1", ONE), image("i9", hexes[9], ONE), image("i2", hexes[8], ONE))
    summary = import_list(io.BytesIO(later), into, rng, onto=open_list(into))
    assert (summary.added, summary.removed, summary.removals, summary.entries) == (2, 2, 1, 4)
    listed = open_list(into)
    assert listed.ids.tolist() == [1, 4, 5, 6]
    assert [row.tobytes().hex() for row in listed.hashes] == [hexes[0], hexes[3], hexes[9], hexes[8]]
    assert sorted(listed.record_entries.tolist()) == [1, 4, 5, 6]


def test_an_entry_that_another_source_vouches_for_outlives_the_deletion(
    rng: Any, into: Any, hexes: list[str]
) -> None:
    import_list(io.BytesIO(f"pdq {hexes[0]}\npdq {hexes[1]}\n".encode()), into, rng)
    import_list(io.BytesIO(document(image("a", hexes[0]))), into, rng, onto=open_list(into))
    summary = import_list(io.BytesIO(document(deleted("a", ONE))), into, rng, onto=open_list(into))
    assert (summary.entries, summary.removed) == (2, 0)
    assert len(open_list(into).record_entries) == 0


BOMB = (
    '<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY lol "lol"><!ENTITY lol2 "&lol;&lol;&lol;&lol;">]>'
    f'<queryResult xmlns="{NAMESPACE}"><images><image><id>&lol2;</id></image></images></queryResult>'
)
EXTERNAL = '<?xml version="1.0"?><!DOCTYPE a SYSTEM "file:///etc/hostname"><a/>'


@pytest.mark.parametrize("data", [BOMB, EXTERNAL, "<!DOCTYPE queryResult><queryResult/>"])
def test_a_document_type_is_refused_and_with_it_entity_bombs(read: Any, data: str) -> None:
    with pytest.raises(FormatError, match="document type"):
        read(ListFormat.NCMEC, data.encode())


def test_an_undeclared_entity_is_refused(read: Any) -> None:
    with pytest.raises(FormatError, match="malformed"):
        read(ListFormat.NCMEC, document(image("&x;", GOOD)))


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.999])
def test_truncated_xml_is_refused_with_its_place(read: Any, share: float) -> None:
    data = document(*(image(f"i{n}", GOOD) for n in range(20)))
    with pytest.raises(FormatError, match=r"truncated or malformed XML: .*line \d+"):
        read(ListFormat.NCMEC, data[: int(len(data) * share)])


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"<html><body/></html>", "root must be queryResult"),
        (b'<queryResult xmlns="https://hashsharing.ncmec.org/hashsharing/v1"/>', "hashsharing/v1"),
        (document(image("a", GOOD).replace("<id>", "<image/><id>")), "a record within a record"),
        (b'<?xml version="1.0" encoding="klingon"?><a/>', "malformed"),
        (document(image("a", GOOD)).replace(b"Example", b"\xff"), "malformed"),
    ],
)
def test_another_schema_is_refused(read: Any, data: bytes, says: str) -> None:
    with pytest.raises(FormatError, match=says):
        read(ListFormat.NCMEC, data)


def test_a_tag_without_an_end_is_refused_before_it_is_held(read: Any) -> None:
    data = document(image("a", GOOD)).replace(b"<image>", b'<image x="' + b"x" * 3_000_000 + b'">')
    with pytest.raises(FormatError, match="longer than 1 MiB"):
        read(ListFormat.NCMEC, data)


@pytest.mark.parametrize(
    ("inside", "words"),
    [
        ("<a>" * 200 + "</a>" * 200, "deeper than 64"),
        ("<a>" * 1_000_000, "deeper than 64"),
        ("".join(f"<n{n}/>" for n in range(100_000)), "too many names that differ"),
        ("".join(f'<a n{n}=""/>' for n in range(100_000)), "too many names that differ"),
        ("<a " + " ".join(f'n{n}=""' for n in range(100_000)) + "/>", "too many names that differ"),
        ("".join(f'<a xmlns:n{n}="u"/>' for n in range(100_000)), "too many names that differ"),
        ("".join(f'<a xmlns="u{n}"/>' for n in range(100_000)), "too many names that differ"),
        ("".join(f'<a xmlns:p="u{n}"/>' for n in range(100_000)), "too many names that differ"),
        ("".join(f"<{'n' * 10_000}{n}/>" for n in range(1_000)), "too many names that differ"),
        ("".join(f"<image><n{n}/></image>" for n in range(100_000)), "too many names that differ"),
    ],
)
def test_what_makes_the_parser_hold_more_than_it_is_given_is_refused(
    read: Any, inside: str, words: str
) -> None:
    """Expat keeps every open element, and every name to the end: 40 bytes for one of the document."""
    with pytest.raises(FormatError, match=words):
        read(ListFormat.NCMEC, document(image("x", GOOD), inside))


def test_documents_as_they_are_have_room_for_unknown_elements(read: Any) -> None:
    inside = "<a>" * 40 + "</a>" * 40 + "".join(f'<extra{n} at{n}=""/>' for n in range(200))
    records = [image(f"i{n}", GOOD) for n in range(3)]
    assert read(ListFormat.NCMEC, document(inside, *records, inside, *[inside] * 20)).count == 3


def test_a_record_with_a_million_hashes_keeps_none_of_them(read: Any) -> None:
    data = document(image("x", "0</pdq><pdq>" * 100_000))
    assert read(ListFormat.NCMEC, data).reasons == ["several-hashes"]
    held = ncmec_xml._Records(Source(io.BytesIO(data)))
    held.parser.feed(data.split(b"</image>")[0])
    assert len(held._hashes) == 2
