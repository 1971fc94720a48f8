"""Every row that can be measured: its words, what times are for one of, and the target, if it has one.

Targets are goals that were set before anything was measured; docs/performance.md says how they were met.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from blindmatch_simulations.bench.row import Target

MILLION: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Kind:
    """What is always the same about a row."""

    what: str
    per: str = ""
    target: Target | None = None


def _most(figure: str, value: float, **where: int) -> Target:
    return Target(figure, value, where=where)


def _least(figure: str, value: float, **where: int) -> Target:
    return Target(figure, value, at_least=True, where=where)


_SET: Final = {
    "set/build/one-thread": Kind("build and publication, one thread", "entry", _most("cpu_u", 1.4)),
    "set/build/all-cores": Kind(
        "build and publication, a thread a core", "entry", _most("wall_u", 0.78, threads=2)
    ),
    "set/build/memory": Kind(
        "peak memory of a process that builds", target=_most("mib", 600, entries=4 * MILLION)
    ),
    "set/build/filter": Kind("build of a filter, a thread a core", "entry"),
    "set/size/store": Kind("store, beside the label", "entry", _most("bytes", 9.2, entries=MILLION)),
    "set/size/label": Kind("label without signatures", "entry", _most("bytes", 80, entries=MILLION)),
    "set/size/set-up": Kind("what a device fetches", "entry"),
    "set/size/filter": Kind("filter at 2^-40", "entry", _most("bits", 42.4, entries=MILLION)),
    "set/look-up/store": Kind("look-up of one key in the store", "look-up"),
    "set/look-up/store-batch": Kind("look-up in the store, in batches", "look-up"),
    "set/look-up/filter": Kind(
        "look-up of one key in the filter", "look-up", _most("wall_us", 100, entries=MILLION)
    ),
    "set/start/as-a-device": Kind(
        "device start: find the set, digest every byte, open it",
        "start",
        _most("wall_us", 50_000, entries=MILLION),
    ),
    "set/start/open": Kind("open the set: header, tables, one look-up", "start"),
    "set/start/memory": Kind(
        "memory of a device's process beside the map", target=_most("mib", 60, entries=MILLION)
    ),
    "set/start/memory-more": Kind("memory that opening the set adds, beside the map"),
}

_IMPORT: Final = {
    "import/pdq-lines": Kind("import of `pdq` lines", "record", _most("cpu_us", 5, records=1_000_000)),
    "import/threatexchange": Kind("import of threatexchange CSV", "record"),
    "import/ncmec": Kind("import of NCMEC XML", "record", _most("cpu_us", 20, records=1_000_000)),
}

_QUERY: Final = {
    "query/primitives/oprf": Kind("OPRF of one hash, both sides", "hash", _most("cpu_u", 4.5, batch=1)),
    "query/primitives/voprf": Kind(
        "the same with its proof (DLEQ), both sides", "hash", _most("cpu_u", 14, batch=1)
    ),
    "query/design/check": Kind(
        "private check by the design, both sides, with messages and look-up",
        "check",
        _most("cpu_u", 14, evaluations=1),
    ),
    "query/design/device": Kind("the device's part of it", "check"),
    "query/design/matcher": Kind("the matcher's part of it", "check"),
    "query/loopback/empty": Kind("empty call over loopback gRPC with mutual TLS", "call"),
    "query/loopback/check": Kind("private check over the same channel", "check"),
    "query/loopback/overhead": Kind(
        "median check over (median empty call + crypto alone)", target=_most("times", 3, entries=MILLION)
    ),
    "query/throughput/crypto": Kind("crypto of a request, all cores, no network", "request"),
    "query/throughput/matcher": Kind(
        "one matcher, all cores, many devices", "request", _least("share", 0.7, evaluations=16)
    ),
}

_PDQ: Final = {
    "pdq/pixels": Kind("PDQ of a decoded photograph", "picture"),
    "pdq/file": Kind("PDQ of a JPEG file, with decoding", "picture"),
    "pdq/pdqhash": Kind("`pdqhash` of the same decoded photograph", "picture"),
    "pdq/against-pdqhash": Kind("PDQ here over `pdqhash`", target=_most("times", 1.5)),
}

_MESSENGER: Final = {
    "messenger/texts": Kind("texts, end to end through one relay", "text", _least("per_second", 400)),
    "messenger/texts-latency": Kind("texts at half of that rate, send to saved", "text"),
    "messenger/pictures": Kind(
        "pictures without matching, end to end", "picture", _least("per_second", 60, picture_kb=200)
    ),
    "messenger/pictures-latency": Kind("pictures at half of that rate, send to saved", "picture"),
    "messenger/relay-memory": Kind(
        "memory of the relay from the first tenth of the texts to their end", target=_most("times", 1.1)
    ),
}

_PEERS: Final = {
    "peers/openmined/set-up": Kind("OpenMined PSI (GCS): set-up, one thread", "entry"),
    "peers/openmined/size": Kind("OpenMined PSI (GCS): set-up message", "entry"),
    "peers/openmined/crypto": Kind("OpenMined PSI: request and response, both sides", "hash"),
    "peers/openmined/look-up": Kind("OpenMined PSI (GCS): the device's last step", "query"),
}

CATALOGUE: Final[Mapping[str, Kind]] = {**_SET, **_IMPORT, **_QUERY, **_PDQ, **_MESSENGER, **_PEERS}
"""Kinds of rows by id."""
