"""Every outcome against the plaintext oracle."""

from __future__ import annotations

import numpy as np
from blindmatch_protocol.contract import Learner, Match, NoMatch, Relation, Undisclosed, Verdict, Voucher

from blindmatch_simulations.conformance.bench import Bench
from blindmatch_simulations.conformance.deployed import Ran
from blindmatch_simulations.conformance.pool import Pooled
from blindmatch_simulations.conformance.verdict import BrokenError, Passed

NEAR = ("near-30", "near-31")


def check_outcomes(bench: Bench) -> Passed:
    """Whoever is declared to learn the outcome learns the oracle's answer, and nobody else gets one.

    A picture whose very hash is listed must be found, one outside the relation never. A picture at
    distance 30 or 31 that a near design misses is counted: recall is a figure, not a promise.
    """
    missed: list[str] = []
    expected = {one.name: bench.pool.matches(bench.design.info.relation, one) for one in bench.pool.pictures}
    for one in bench.pool.pictures:
        ran = bench.honest[one.name]
        if Learner.DEVICE in bench.design.info.learns:
            _device(bench, one, ran, expected[one.name], missed)
        elif not isinstance(ran.outcome, Undisclosed | Voucher):
            raise BrokenError(
                "outcome", "the device learns an outcome that is not declared to it", item=one.name
            )
        if Learner.SERVER in bench.design.info.learns:
            _server(bench, one, ran, expected[one.name], missed)
        elif any(asked.verdict is not None for step in ran.rounds for asked in step):
            raise BrokenError("verdict", "a role learns an outcome that is not declared to it", item=one.name)
    _centre(bench, expected)
    return _passed(bench, expected, missed)


def _passed(bench: Bench, expected: dict[str, bool], missed: list[str]) -> Passed:
    near = [one.name for one in bench.pool.of(*NEAR) if expected[one.name]]
    if near and len(set(missed)) == len(near):
        raise BrokenError(
            "outcome", "no picture at distance 30 or 31 is found: the relation is not that wide"
        )
    count = len(expected)
    words = f"{count} pictures as the oracle says, {sum(expected.values())} of them matching"
    if near:
        words += f"; {len(near) - len(set(missed))} of {len(near)} at distance 30 or 31 found"
    figures = {
        "pictures": count,
        "matching": sum(expected.values()),
        "near": len(near),
        "missed": len(set(missed)),
    }
    return Passed(words, figures)


def _device(bench: Bench, one: Pooled, ran: Ran, matches: bool, missed: list[str]) -> None:
    match ran.outcome:
        case Match(label):
            if not matches:
                raise BrokenError("outcome", "a match that the oracle denies", item=one.name, kind=one.kind)
            _confirmed(bench.design.info.relation, one, label.entry_hash)
        case NoMatch():
            _tell(one, matches, missed)
        case _:
            raise BrokenError("outcome", "the device must learn the outcome, and does not", item=one.name)


def _server(bench: Bench, one: Pooled, ran: Ran, matches: bool, missed: list[str]) -> None:
    verdicts = [asked.verdict for step in ran.rounds for asked in step if asked.verdict is not None]
    if not verdicts:
        raise BrokenError("verdict", "a role must learn the outcome, and gives no verdict", item=one.name)
    label = next((v.label for v in verdicts if isinstance(v, Verdict) and v.label is not None), None)
    if label is None:
        _tell(one, matches, missed)
    elif not matches:
        raise BrokenError("verdict", "a match that the oracle denies", item=one.name, kind=one.kind)
    else:
        _confirmed(bench.design.info.relation, one, label.entry_hash)


def _tell(one: Pooled, matches: bool, missed: list[str]) -> None:
    """A picture was not found: right, a miss of a near one, or wrong."""
    if not matches:
        return
    if one.kind not in NEAR:
        raise BrokenError("outcome", "a picture whose very hash is listed is not found", item=one.name)
    missed.append(one.name)


def _confirmed(relation: Relation, one: Pooled, entry_hash: bytes) -> None:
    entry = np.frombuffer(entry_hash, np.uint8).reshape(1, 32)
    if not relation.holds(one.item, entry)[0]:
        raise BrokenError("outcome", "the label is not of an entry the picture matches", item=one.name)


def _centre(bench: Bench, expected: dict[str, bool]) -> None:
    """Of all vouchers of one account the opener opens none, or ones that match."""
    design = bench.design
    if Learner.CENTRE not in design.info.learns:
        return
    named = [
        (name, ran.outcome.body) for name, ran in bench.honest.items() if isinstance(ran.outcome, Voucher)
    ]
    files = {name: bench.build.files[name] for name in bench.build.published.opener}
    labels = design.open_opener(files).open("account", [body for _, body in named])
    for index in labels:
        if not expected[named[index][0]]:
            raise BrokenError("open", "a voucher is opened that the oracle denies", item=named[index][0])
    if not labels and any(expected[name] for name, _ in named):
        raise BrokenError("open", "no voucher of an account with several matches is opened")
