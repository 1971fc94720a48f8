"""`blindmatch bench import`: reading lists in the formats that people have them in, on one core."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from blindmatch_protocol.codec.randomness import system_randomness
from blindmatch_server.curator import ListFormat, import_list, random_hashes

from blindmatch_simulations.measure.meter import Meter

_NCMEC_HEAD: Final = (
    '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
    '<queryResult xmlns="https://hashsharing.ncmec.org/hashsharing/v2">\n<images>\n'
)
_NCMEC_RECORD: Final = """<image>
  <member id="42">Example member</member>
  <timestamp>2024-10-24T12:00:00Z</timestamp>
  <id>example-{number:012}</id>
  <classification>A1</classification>
  <fingerprints>
    <md5>{digits:.32}</md5>
    <sha1>{digits:.40}</sha1>
    <pdna>{digits}{digits}{digits}{digits}</pdna>
    <pdq>{digits}</pdq>
  </fingerprints>
</image>
"""
_NCMEC_TAIL: Final = "</images>\n</queryResult>\n"


def bench_import(meter: Meter, folder: Path, records: int) -> None:
    """Measure the import of `records` random hashes in each format, in the empty `folder`."""
    digits = random_hashes(records, system_randomness()).tobytes().hex()
    listed = [digits[at : at + 64] for at in range(0, len(digits), 64)]
    for name, kind, made in (
        ("pdq-lines", ListFormat.PDQ, (f"pdq {digits}\n" for digits in listed)),
        ("threatexchange", ListFormat.THREATEXCHANGE, _csv(listed)),
        ("ncmec", ListFormat.NCMEC, _ncmec(listed)),
    ):
        source = folder / name
        with source.open("w") as file:
            file.writelines(made)
        meter.time(
            f"import/{name}",
            _importing(source, folder / f"{name}.list", kind),
            count=records,
            repeat=False,
            records=records,
            source_bytes=source.stat().st_size,
        )


def _importing(source: Path, into: Path, kind: ListFormat) -> Callable[[], object]:
    return lambda: import_list(source, into, system_randomness(), list_format=kind)


def _csv(listed: list[str]) -> Iterator[str]:
    yield "signal_type,signal_str,collab,category,tags\n"
    yield from (f"pdq,{digits},bench,none,\n" for digits in listed)


def _ncmec(listed: list[str]) -> Iterator[str]:
    yield _NCMEC_HEAD
    for number, digits in enumerate(listed):
        yield _NCMEC_RECORD.format(number=number, digits=digits)
    yield _NCMEC_TAIL
