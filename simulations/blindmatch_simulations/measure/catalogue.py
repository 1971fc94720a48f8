"""Every row that can be measured: its words, what times are for one of, and the target, if it has one.

Targets are goals that were set before anything was measured; docs/performance.md says how they were met.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from blindmatch_simulations.measure.row import MILLION, Kind, Target, least, most

_ASKED: Final = {"entries": MILLION, "evaluations": 160}

NEAR: Final[Mapping[str, Kind]] = {
    "near/recall/at-160": Kind(
        "near: recall of pairs within 31 bits, whatever the edit, 160 tokens asked",
        target=least("share", 0.99, entries=MILLION, evaluations=160),
    ),
    "near/recall/at-320": Kind(
        "near: the same with 320 tokens",
        target=least("share", 0.997, entries=MILLION, evaluations=320),
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
        "near: whole sessions that end as the tokens foretell", target=least("share", 1)
    ),
    "near/sessions/wrong": Kind("near: reports beyond the distance", target=most("count", 0)),
    "near/revealed/entries": Kind("near: entries beyond the distance that open", "10,000 pictures"),
    "near/revealed/distance": Kind("near: those at some distances", "10,000 pictures"),
    "near/bytes/request": Kind("near: request", "picture", most("bytes", 6144, evaluations=160)),
    "near/bytes/reply": Kind("near: reply", "picture", most("bytes", 6144, evaluations=160)),
    "near/cost/device": Kind(
        "near: device without proof, pairs included", "picture", most("cpu_u", 430, **_ASKED)
    ),
    "near/cost/device-proof": Kind(
        "near: device with DLEQ, pairs included", "picture", most("cpu_u", 900, **_ASKED)
    ),
    "near/cost/matcher": Kind("near: matcher without proof", "picture", most("cpu_u", 180, **_ASKED)),
    "near/cost/matcher-proof": Kind("near: matcher with DLEQ", "picture", most("cpu_u", 390, **_ASKED)),
    "near/cost/pairs": Kind("near: pairs and look-ups, part of the device's", "picture"),
    "near/set/tokens": Kind("near: store of the tokens", "entry", most("bytes", 192, entries=MILLION)),
    "near/set/label": Kind(
        "near: label and its index, no signatures", "entry", most("bytes", 96, entries=MILLION)
    ),
    "near/build/entry": Kind("near: build and publication, all cores", "entry"),
    "near/build/whole": Kind(
        "near: the whole build", target=most("wall_us", 480e6, entries=MILLION, threads=2)
    ),
    "near/build/memory": Kind(
        "near: peak memory of a process that builds", target=most("mib", 4096, entries=MILLION)
    ),
    "near/loopback/empty": Kind("near: empty call over loopback gRPC with mutual TLS", "call"),
    "near/loopback/match": Kind(
        "near: whole private near-match over the same channel, DLEQ on",
        "picture",
        most("p50_us", 80_000, entries=MILLION, evaluations=160, threads=2),
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


_SET: Final = {
    "set/build/one-thread": Kind("build and publication, one thread", "entry", most("cpu_u", 1.4)),
    "set/build/all-cores": Kind("build and publication, all cores", "entry", most("wall_u", 0.78, threads=2)),
    "set/build/arithmetic": Kind("libsodium's arithmetic alone, one thread", "entry"),
    "set/build/memory": Kind(
        "peak memory of a process that builds", target=most("mib", 600, entries=4 * MILLION)
    ),
    "set/build/filter": Kind("build of a filter, all cores", "entry"),
    "set/size/store": Kind("store, beside the label", "entry", most("bytes", 9.2, entries=MILLION)),
    "set/size/label": Kind("label without signatures", "entry", most("bytes", 96, entries=MILLION)),
    "set/size/set-up": Kind("what a device fetches", "entry"),
    "set/size/filter": Kind("filter at 2^-40", "entry", most("bits", 42.4, entries=MILLION)),
    "set/look-up/store": Kind("look-up of one key in the store", "look-up"),
    "set/look-up/store-batch": Kind("look-up in the store, in batches", "look-up"),
    "set/look-up/filter": Kind(
        "look-up of one key in the filter", "look-up", most("wall_us", 100, entries=MILLION)
    ),
    "set/look-up/filter-batch": Kind("look-up in the filter, in batches", "look-up"),
    "set/start/as-a-device": Kind(
        "device start: find the set, check what a start checks, open it",
        "start",
        most("wall_us", 50_000, entries=MILLION),
    ),
    "set/start/open": Kind("open the set: header, tables, one look-up", "start"),
    "set/start/memory": Kind(
        "memory of a device's process beside the map", target=most("mib", 60, entries=MILLION)
    ),
    "set/start/memory-own": Kind("of that, in no file: the rest is libraries, which processes share"),
    "set/start/memory-more": Kind("memory that opening the set adds, beside the map"),
}

_IMPORT: Final = {
    "import/pdq-lines": Kind("import of `pdq` lines", "record", most("cpu_us", 5, records=1_000_000)),
    "import/threatexchange": Kind("import of threatexchange CSV", "record"),
    "import/ncmec": Kind("import of NCMEC XML", "record", most("cpu_us", 20, records=1_000_000)),
}

_QUERY: Final = {
    "query/primitives/oprf": Kind("OPRF of one hash, both sides", "hash", most("cpu_u", 4.5, batch=1)),
    "query/primitives/voprf": Kind(
        "the same with its proof (DLEQ), both sides", "hash", most("cpu_u", 14, batch=1)
    ),
    "query/primitives/arithmetic": Kind("libsodium's arithmetic alone, both sides", "hash"),
    "query/design/check": Kind(
        "private check by the design, both sides, with messages and look-up",
        "check",
        most("cpu_u", 14, evaluations=1),
    ),
    "query/design/device": Kind("the device's part of it", "check"),
    "query/design/matcher": Kind("the matcher's part of it", "check"),
    "query/loopback/empty": Kind("empty call over loopback gRPC with mutual TLS", "call"),
    "query/loopback/check": Kind("private check over the same channel", "check"),
    "query/loopback/overhead": Kind(
        "median check over (median empty call + crypto alone)", target=most("times", 3, entries=MILLION)
    ),
    "query/throughput/crypto": Kind("crypto of a request, all cores, no network", "request"),
    "query/throughput/matcher": Kind(
        "one matcher, all cores, many devices", "request", least("share", 0.7, evaluations=16)
    ),
}

_PDQ: Final = {
    "pdq/pixels": Kind("PDQ of a decoded photograph", "picture"),
    "pdq/file": Kind("PDQ of a JPEG file, with decoding", "picture"),
    "pdq/pdqhash": Kind("`pdqhash` of the same decoded photograph", "picture"),
    "pdq/against-pdqhash": Kind("PDQ here over `pdqhash`", target=most("times", 1.5)),
}

_MESSENGER: Final = {
    "messenger/start": Kind(
        "device start, from the interpreter's on: imports, open the store", "start", most("wall_us", 300_000)
    ),
    "messenger/start-memory": Kind("memory of that process that is in no file", target=most("mib", 45)),
    "messenger/texts": Kind("texts, end to end through one relay", "text", least("per_second", 400)),
    "messenger/texts-latency": Kind("texts at half of that rate, send to saved", "text"),
    "messenger/pictures": Kind(
        "pictures without matching, end to end", "picture", least("per_second", 60, picture_kb=200)
    ),
    "messenger/pictures-latency": Kind("pictures at half of that rate, send to saved", "picture"),
    "messenger/memory": Kind("resident memory after a part of the texts"),
    "messenger/relay-memory": Kind(
        "memory of the relay from the first fifth of the texts to their end", target=most("times", 1.1)
    ),
    "messenger/devices-memory": Kind(
        "memory of the devices' processes from the first fifth of the texts to their end",
        target=most("times", 1.1),
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

_PARTIES: Final = {
    "parties/device": Kind("a design: the device's part, without a network", "picture"),
    "parties/role": Kind("a design: a role's part, without a network", "picture"),
    "parties/build": Kind("a design: its set built and signed, one thread", "entry"),
    "parties/bytes": Kind("a design: set-up, files of a role; bodies of a picture to and from it"),
}

_ENDORSEMENT: Final = {
    "endorsement/audit/batches": Kind(
        "audit of endorsements, batch roots, all cores", "epoch", most("wall_us", 60e6, entries=MILLION)
    ),
    "endorsement/audit/signatures": Kind(
        "the same, a signature of each entry, all cores", "epoch", most("wall_us", 120e6, entries=MILLION)
    ),
    "endorsement/audit/rebuilt": Kind("full re-evaluation: the set built again, all cores", "entry"),
    "endorsement/size/batches": Kind("endorsements beside the set, batch roots", "entry"),
    "endorsement/size/signatures": Kind("the same, a signature of each entry", "entry"),
    "endorsement/match": Kind(
        "endorsement check at a match", "match", most("wall_us", 1000, entries=MILLION)
    ),
    "endorsement/proof/make": Kind("proof of one entry's endorsement: made of the table", "proof"),
    "endorsement/proof/verify": Kind("proof of one entry's endorsement: verified without it", "proof"),
    "endorsement/proof/size": Kind("proof of one entry's endorsement", "proof"),
}

_LOG: Final = {
    "log/append": Kind("log: leaves appended, synced under checkpoints", "leaf", most("wall_us", 50)),
    "log/open": Kind("log: a start, which reads the checkpoint alone", "start"),
    "log/prove": Kind("log: a start and an inclusion proof through tiles", "proof"),
    "log/check": Kind(
        "epoch check on the device, 3 of 5 witnesses", "epoch", most("wall_us", 1000, entries=1 << 16)
    ),
    "log/size": Kind("what is checked: proof and consistency", "epoch", most("bytes", 2500, entries=1 << 16)),
}

_ABSENCE: Final = {
    "absence/make": Kind(
        "proof of absence, exact: its session, both sides", "proof", most("wall_us", 5000, entries=MILLION)
    ),
    "absence/open": Kind("proof of absence: the epoch's files compared, opened and checked, once", "epoch"),
    "absence/verify": Kind(
        "proof of absence, exact: verified with the opened set",
        "proof",
        most("wall_us", 3000, entries=MILLION),
    ),
    "absence/near/make": Kind("proof of absence, near: its session, both sides", "proof"),
    "absence/near/open": Kind("the same at a near set, once", "epoch"),
    "absence/near/verify": Kind("proof of absence, near: verified with the opened set", "proof"),
    "absence/near/size": Kind(
        "proof of absence, near; the verifier has set and picture", "proof", most("bytes", 20_000)
    ),
    "absence/size": Kind(
        "proof of absence, exact; the verifier has the set", "proof", most("bytes", 2500, entries=MILLION)
    ),
}

_FRANKING: Final = {
    "franking/relay": Kind("stamp: the relay reads the commitment and stamps it", "message"),
    "franking/stamp": Kind("stamp: the centre verifies it", "report"),
    "franking/text": Kind("a text sealed and opened, both ends, without disk and relay", "text"),
    "franking/size": Kind("a sealed text, and the sender's proof in it", "text"),
    "franking/prove": Kind("the sender's proof, made", "proof"),
    "franking/centre": Kind("the sender's proof, verified by the centre", "report"),
}

_PEERS: Final = {
    "peers/secretflow/set-up": Kind("SecretFlow PSI (unbalanced): server's cache", "entry"),
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
    **NEAR,
    **_PARTIES,
    **_LOG,
    **_ENDORSEMENT,
    **_ABSENCE,
    **_FRANKING,
    **_PEERS,
}
"""Kinds of rows by id."""
