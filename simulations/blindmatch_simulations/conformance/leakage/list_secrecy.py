"""What devices get says nothing of the list that is not declared: a dictionary of every entry is looked for
in set-up files and in replies, and two lists of one size must look alike.

It finds the list in the clear or under a plain digest; not one under a salt or key that stands beside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b, sha256, sha512
from typing import Final

from blindmatch_protocol.codec import Rows
from blindmatch_protocol.contract import Match, Party

from blindmatch_simulations.conformance.bench import Bench
from blindmatch_simulations.inprocess.deployed import Build, opened, publish, run_session
from blindmatch_simulations.inprocess.verdict import BrokenError, NotApplicableError, Passed

LIST_FACT: Final = "list"
"""A design that declares it to the device (or ``my.list``) says that devices get the list."""
PREFIX: Final = 8


def check_list(bench: Bench) -> Passed:
    """Look for every entry in everything devices get."""
    if list_declared(bench):
        raise NotApplicableError("the list is declared to devices")
    wanted = dictionary(bench.pool.entries)
    searched = 0
    for name, raw in bench.build.setup_files.items():
        searched += search(raw, wanted, f"set-up file {name}")
    for name, ran in bench.honest.items():
        if isinstance(ran.outcome, Match):
            continue
        for asked in (part for step in ran.rounds for part in step):
            searched += search(asked.reply.encode(), wanted, f"reply for {name}")
    return Passed(
        f"none of {len(bench.pool.entries)} entries in {searched} bytes that devices get" + _alike(bench)
    )


def list_declared(bench: Bench) -> bool:
    """Is it declared that devices get the list?"""
    names = {
        fact.name.rpartition(".")[2]
        for leak in bench.design.leakage()
        if Party.DEVICE in leak.parties
        for fact in leak.facts
    }
    return LIST_FACT in names


def dictionary(entries: Rows) -> frozenset[bytes]:
    """The first bytes of every entry's hash and of its digests."""
    return frozenset(made for row in entries for made in prefixes(row.tobytes()))


def prefixes(own: bytes) -> Iterator[bytes]:
    """The first bytes of a byte string and of its digests."""
    for made in (own, sha256(own).digest(), sha512(own).digest(), blake2b(own).digest()):
        yield made[:PREFIX]


def search(raw: bytes, wanted: frozenset[bytes], where: str) -> int:
    """Bytes searched.

    Raises:
        BrokenError: if one of `wanted` stands in them.
    """
    for at in range(len(raw) - PREFIX + 1):
        if raw[at : at + PREFIX] in wanted:
            raise BrokenError(
                where, "an entry of the list stands in what devices get, and is not declared", at=at
            )
    return len(raw)


def _alike(bench: Bench) -> str:
    """Set-ups of two lists of one size have the same lengths, and so have replies to one picture."""
    one = bench.build
    other = publish(bench.design, bench.pool.others, bench.rng("publish"), 1, bench.values)
    lengths = [[len(raw) for raw in build.setup_files.values()] for build in (one, other)]
    if lengths[0] != lengths[1]:
        raise BrokenError("publish", f"set-ups of two lists of one size differ in length: {lengths}")
    if _replies(bench, one) != _replies(bench, other):
        raise BrokenError("answer", "for a picture on neither list, lengths of replies depend on the list")
    return "; two lists of one size give set-ups and replies of the same lengths"


def _replies(bench: Bench, build: Build) -> list[int]:
    item = bench.pool.of("other")[0].item
    ran = run_session(opened(build), item, bench.rng("alike"))
    return [len(asked.reply.encode()) for step in ran.rounds for asked in step]
