"""Every row that can be measured: its words, what times are for one of, and the target, if it has one.

Targets are goals that were set before anything was measured; docs/performance.md says how they were met.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from blindmatch_simulations.measure.row import Target

MILLION: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Kind:
    """What is always the same about a row."""

    what: str
    per: str = ""
    target: Target | None = None


_ASKED: Final = {"entries": MILLION, "evaluations": 160}


def _most(figure: str, value: float, **where: int) -> Target:
    return Target(figure, value, where=where)


def _least(figure: str, value: float, **where: int) -> Target:
    return Target(figure, value, at_least=True, where=where)


_SET: Final = {
    "set/build/one-thread": Kind("build and publication, one thread", "entry", _most("cpu_u", 1.4)),
    "set/build/all-cores": Kind(
        "build and publication, all cores", "entry", _most("wall_u", 0.78, threads=2)
    ),
    "set/build/arithmetic": Kind("libsodium's arithmetic alone, one thread", "entry"),
    "set/build/memory": Kind(
        "peak memory of a process that builds", target=_most("mib", 600, entries=4 * MILLION)
    ),
    "set/build/filter": Kind("build of a filter, all cores", "entry"),
    "set/size/store": Kind("store, beside the label", "entry", _most("bytes", 9.2, entries=MILLION)),
    "set/size/label": Kind("label without signatures", "entry", _most("bytes", 96, entries=MILLION)),
    "set/size/set-up": Kind("what a device fetches", "entry"),
    "set/size/filter": Kind("filter at 2^-40", "entry", _most("bits", 42.4, entries=MILLION)),
    "set/look-up/store": Kind("look-up of one key in the store", "look-up"),
    "set/look-up/store-batch": Kind("look-up in the store, in batches", "look-up"),
    "set/look-up/filter": Kind(
        "look-up of one key in the filter", "look-up", _most("wall_us", 100, entries=MILLION)
    ),
    "set/start/as-a-device": Kind(
        "device start: find the set, check what a start checks, open it",
        "start",
        _most("wall_us", 50_000, entries=MILLION),
    ),
    "set/start/open": Kind("open the set: header, tables, one look-up", "start"),
    "set/start/memory": Kind(
        "memory of a device's process beside the map", target=_most("mib", 60, entries=MILLION)
    ),
    "set/start/memory-own": Kind("of that, in no file: the rest is libraries, which processes share"),
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
    "query/primitives/arithmetic": Kind("libsodium's arithmetic alone, both sides", "hash"),
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
    "messenger/memory": Kind("resident memory after a part of the texts"),
    "messenger/relay-memory": Kind(
        "memory of the relay from the first fifth of the texts to their end", target=_most("times", 1.1)
    ),
    "messenger/devices-memory": Kind(
        "memory of the devices' processes from the first fifth of the texts to their end",
        target=_most("times", 1.1),
    ),
}

_TWICE: Final = Target("times", 2)

_FLOOD: Final = {
    "flood/quiet": Kind("bystanders' texts, send to saved, while nobody is hostile", "text"),
    "flood/calls": Kind("the same beside a flood of well-formed messages", "text", _TWICE),
    "flood/oversize": Kind("the same beside what is larger than the limits", "text", _TWICE),
    "flood/slow": Kind("the same beside streams that are not read and uploads that stall", "text", _TWICE),
    "flood/garbage": Kind("the same beside bytes that are no message and no TLS", "text", _TWICE),
    "flood/forged": Kind(
        "the same beside certificates of another authority and foreign acknowledgements", "text", _TWICE
    ),
    "flood/draining": Kind("the same while their pre-keys are drained", "text", _TWICE),
    "flood/matcher/quiet": Kind("bystanders' private checks, while nobody is hostile", "check"),
    "flood/matcher/calls": Kind("the same beside a flood of well-formed requests", "check", _TWICE),
    "flood/matcher/oversize": Kind("the same beside what is larger than the limits", "check", _TWICE),
    "flood/matcher/slow": Kind(
        "the same beside streams that are not read and bodies that stall", "check", _TWICE
    ),
    "flood/matcher/garbage": Kind(
        "the same beside bytes that are no envelope, no element and no TLS", "check", _TWICE
    ),
    "flood/matcher/forged": Kind(
        "the same beside certificates of another authority and requests to another epoch", "check", _TWICE
    ),
}

_NEAR: Final = {
    "near/recall/at-160": Kind(
        "near: recall of pairs within 31 bits, whatever the edit, 160 tokens asked",
        target=_least("share", 0.99, entries=MILLION, evaluations=160),
    ),
    "near/recall/at-320": Kind(
        "near: the same with 320 tokens",
        target=_least("share", 0.997, entries=MILLION, evaluations=320),
    ),
    "near/recall/sent-found": Kind("near: found of all edited pictures, strong edits among them"),
    "near/recall/sent-pdq": Kind("near: of all edited pictures, those within 31 bits: PDQ's own matches"),
    "near/recall/far": Kind("near: recall beyond 24 bits"),
    "near/recall/edit": Kind("near: recall of one edit"),
    "near/recall/distance": Kind("near: recall at some distances"),
    "near/recall/nothing-lost": Kind("near: recall if every entry had all of its tokens"),
    "near/recall/lost-tokens": Kind("near: tokens of entries that another entry has"),
    "near/sessions/found": Kind("near: whole sessions that find the near entry"),
    "near/sessions/foretold": Kind(
        "near: whole sessions that end as the tokens foretell", target=_least("share", 1)
    ),
    "near/sessions/wrong": Kind("near: reports beyond the distance", target=_most("count", 0)),
    "near/revealed/entries": Kind("near: entries beyond the distance that open", "10,000 pictures"),
    "near/revealed/distance": Kind("near: those at some distances", "10,000 pictures"),
    "near/bytes/request": Kind("near: request", "picture", _most("bytes", 6144, evaluations=160)),
    "near/bytes/reply": Kind("near: reply", "picture", _most("bytes", 6144, evaluations=160)),
    "near/cost/device": Kind(
        "near: device without proof, pairs included", "picture", _most("cpu_u", 430, **_ASKED)
    ),
    "near/cost/device-proof": Kind(
        "near: device with DLEQ, pairs included", "picture", _most("cpu_u", 900, **_ASKED)
    ),
    "near/cost/matcher": Kind("near: matcher without proof", "picture", _most("cpu_u", 180, **_ASKED)),
    "near/cost/matcher-proof": Kind("near: matcher with DLEQ", "picture", _most("cpu_u", 390, **_ASKED)),
    "near/cost/pairs": Kind("near: pairs and look-ups, part of the device's", "picture"),
    "near/set/tokens": Kind("near: store of the tokens", "entry", _most("bytes", 192, entries=MILLION)),
    "near/set/label": Kind(
        "near: label and its index, no signatures", "entry", _most("bytes", 96, entries=MILLION)
    ),
    "near/build/entry": Kind("near: build and publication, all cores", "entry"),
    "near/build/whole": Kind(
        "near: the whole build", target=_most("wall_us", 480e6, entries=MILLION, threads=2)
    ),
    "near/build/memory": Kind(
        "near: peak memory of a process that builds", target=_most("mib", 4096, entries=MILLION)
    ),
    "near/loopback/empty": Kind("near: empty call over loopback gRPC with mutual TLS", "call"),
    "near/loopback/match": Kind(
        "near: whole private near-match over the same channel, DLEQ on",
        "picture",
        _most("p50_us", 80_000, entries=MILLION, evaluations=160, threads=2),
    ),
    "near/loopback/prepare": Kind("near: of that, the device until the request is there", "picture"),
    "near/loopback/call": Kind("near: of that, the call with the matcher's answer in it", "picture"),
    "near/loopback/finish": Kind("near: of that, verification, unblinding, pairs and label", "picture"),
    "near/loopback/answer": Kind("near: the matcher's answer alone, no network, all cores", "picture"),
    "near/extraction/every-entry": Kind("near: evaluations that open every entry"),
    "near/extraction/account": Kind("near: entries that one account can open in a key's life"),
    "near/extraction/pooled": Kind("near: entries that all accounts together can open in it"),
    "near/extraction/accounts": Kind("near: accounts that would open every entry, were there no cap"),
    "near/extraction/trials": Kind("near: CPU time of the pairs that every entry takes, one core"),
    "near/extraction/attack": Kind("near: entries that the attack opens at a small k"),
}

_PEERS: Final = {
    "peers/openmined/set-up": Kind("OpenMined PSI (GCS): set-up, one thread", "entry"),
    "peers/openmined/size": Kind("OpenMined PSI (GCS): set-up message", "entry"),
    "peers/openmined/crypto": Kind("OpenMined PSI: request and response, both sides", "hash"),
    "peers/openmined/look-up": Kind("OpenMined PSI (GCS): the device's last step", "query"),
}

CATALOGUE: Final[Mapping[str, Kind]] = {
    **_SET,
    **_IMPORT,
    **_QUERY,
    **_PDQ,
    **_MESSENGER,
    **_FLOOD,
    **_NEAR,
    **_PEERS,
}
"""Kinds of rows by id."""
