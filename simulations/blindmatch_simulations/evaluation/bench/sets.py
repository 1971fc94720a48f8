"""`blindmatch bench set`, `import`: a set of oprf-psi, from lists to a device's start."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.randomness import system_randomness
from blindmatch_protocol.contract import EntrySource
from blindmatch_protocol.designs.deltas import SET_FILE
from blindmatch_protocol.designs.oprf_psi import DESIGN
from blindmatch_protocol.designs.oprf_psi.design import FilterLayer, Layer
from blindmatch_protocol.group import missing
from blindmatch_protocol.setfile import SetFile
from blindmatch_protocol.sets import labels, store
from blindmatch_server.curator import ListFormat, import_list, open_list, random_hashes, random_list
from blindmatch_server.epochs.published import SIGNED, Publication
from blindmatch_server.hosting.workers import WorkerPool, cores
from msgspec import Struct

from blindmatch_simulations.evaluation.bench.queries import ENTRY, arithmetic
from blindmatch_simulations.measure.machine import computing, measurable
from blindmatch_simulations.measure.meter import Meter
from blindmatch_simulations.testbed.deployment.building import built, built_alone

ALONE: Final = "blindmatch_simulations.evaluation.bench.alone"
LOOK_UPS: Final = 1000
"""Keys of a batched look-up."""


class Builder(Struct, frozen=True):
    """Publishes the same list again and again, each time into a new folder."""

    entries: EntrySource
    folder: Path
    numbers: Any

    def publish(self, threads: int, values: Mapping[str, int]) -> Publication:
        """Publish on so many cores; the set is left on the disk."""
        into = self.folder / f"build-{next(self.numbers)}"
        with WorkerPool(threads) as workers:
            return built(DESIGN, self.entries, into, values, workers if threads > 1 else None)


def bench_set(meter: Meter, folder: Path, log2n: int) -> None:
    """Measure sets of 2^`log2n` random hashes, in the empty `folder`."""
    entries = 1 << log2n
    listed = folder / "bench.list"
    random_list(entries, listed, system_randomness())
    with open_list(listed) as opened:
        builder = Builder(opened, folder, count())
        for setting in measurable():
            with computing(meter, setting):
                published = _builds(meter, builder, entries)
                peak = built_alone(DESIGN.info.name, listed, folder / f"memory-{setting}", {})["peak_mib"]
                meter.memory("set/build/memory", peak, entries=entries)
        if why := missing():
            meter.missing("set/build/one-thread", why, entries=entries, backend="jit")
        meter.time("set/build/arithmetic", arithmetic(ENTRY))
        made = builder.publish(cores(), {"filter": 1})
        _sizes(meter, published, made)
        _look_ups(meter, published, made)
        _start(meter, published, folder / "setup", entries)


def _builds(meter: Meter, builder: Builder, entries: int) -> Publication:
    last = list[Publication]()
    many = cores()

    def build(threads: int, values: Mapping[str, int]) -> None:
        last[:] = [builder.publish(threads, values)]

    kinds: tuple[tuple[str, int, Mapping[str, int]], ...]
    kinds = (("filter", many, {"filter": 1}), ("one-thread", 1, {}), ("all-cores", many, {}))
    for name, threads, values in kinds:
        task = partial(build, threads, values)
        meter.time(f"set/build/{name}", task, count=entries, threads=threads, repeat=False, entries=entries)
    return last[0]


def _sizes(meter: Meter, labelled: Publication, filtered: Publication) -> None:
    entries = labelled.manifest.entries
    info = DESIGN.info
    whole = SetFile(labelled.setup()[SET_FILE], SET_FILE, info.name, info.version)
    for name, kind in (("store", store.KIND), ("label", labels.KIND)):
        size = sum(section.length for section in whole.sections.values() if section.kind == kind)
        meter.record(f"set/size/{name}", {"bytes": size / entries}, entries=entries)
    meter.record("set/size/set-up", {"bytes": labelled.setup_bytes / entries}, entries=entries)
    bits = filtered.setup_bytes * 8 / entries
    meter.record("set/size/filter", {"bits": bits}, entries=entries)


def _look_ups(meter: Meter, labelled: Publication, filtered: Publication) -> None:
    entries = labelled.manifest.entries
    full = DESIGN.open_setup(labelled.setup(), 1).layers[0]
    small = DESIGN.open_setup(filtered.setup(), 1).layers[0]
    assert isinstance(full, Layer) and isinstance(small, FilterLayer)
    keys: Rows = np.frombuffer(system_randomness().take(LOOK_UPS * store.KEY_BYTES), np.uint8)
    keys = keys.reshape(LOOK_UPS, store.KEY_BYTES)
    full.store.lookup(keys)
    for name, look_up in (("store", full.store.lookup), ("filter", small.filter.contains)):
        meter.time(f"set/look-up/{name}", partial(look_up, keys[:1]), entries=entries)
        many = partial(look_up, keys)
        meter.time(f"set/look-up/{name}-batch", many, count=LOOK_UPS, entries=entries, batch=LOOK_UPS)


def _start(meter: Meter, published: Publication, root: Path, entries: int) -> None:
    info = DESIGN.info
    manifest = published.manifest
    folder = root / f"{info.name}-{info.version}" / f"epoch-{manifest.epoch}"
    folder.mkdir(parents=True)
    for name in published.contents.setup:
        (folder / name).hardlink_to(published.folder / name)
    (root / SIGNED).write_bytes(published.signed.encode())
    found, runs = meter.starts(ALONE, "start", root)
    for name, key in (("as-a-device", "device"), ("open", "open")):
        wall, cpu = (median(one[key][at] for one in found) * 1e6 for at in (0, 1))
        figures = {"cpu_us": cpu, "wall_us": wall}
        meter.record(f"set/start/{name}", figures, runs, entries=entries)
    before, after, mapped, own = (found[-1][name] for name in ("before", "after", "map", "own"))
    told = None not in (before, after, mapped, own)
    more = (
        {"memory": after - mapped, "memory-own": own, "memory-more": after - mapped - before} if told else {}
    )
    for name in ("memory", "memory-own", "memory-more"):
        meter.memory(f"set/start/{name}", more.get(name), entries=entries)


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
            partial(import_list, source, folder / f"{name}.list", system_randomness(), list_format=kind),
            count=records,
            repeat=False,
            records=records,
            source_bytes=source.stat().st_size,
        )


def _csv(listed: list[str]) -> Iterator[str]:
    yield "signal_type,signal_str,collab,category,tags\n"
    yield from (f"pdq,{digits},bench,none,\n" for digits in listed)


def _ncmec(listed: list[str]) -> Iterator[str]:
    yield _NCMEC_HEAD
    for number, digits in enumerate(listed):
        yield _NCMEC_RECORD.format(number=number, digits=digits)
    yield _NCMEC_TAIL
