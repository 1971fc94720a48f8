"""Every outcome against the plaintext oracle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from blindmatch_protocol.contract import (
    Flag,
    Learner,
    Match,
    NoMatch,
    Relation,
    Undisclosed,
    Verdict,
    Voucher,
    open_all,
)

from blindmatch_simulations.conformance.bench import Bench
from blindmatch_simulations.conformance.settings import CROWD, large
from blindmatch_simulations.inprocess.deployed import Build, Ran, opened, publish, run_session
from blindmatch_simulations.inprocess.verdict import BrokenError, Passed
from blindmatch_simulations.measure.advantage import CONFIDENCE
from blindmatch_simulations.measure.intervals import clopper_pearson
from blindmatch_simulations.pictures.oracle import Oracle
from blindmatch_simulations.pictures.pool import Pooled, flipped, picture

NEAR = ("near-30", "near-31")
STATED: Final = 96
"""Pictures at each distance for which a design states its recall."""


def check_outcomes(bench: Bench) -> Passed:
    """Whoever is declared to learn the outcome learns the oracle's answer, and nobody else gets one.

    A picture whose very hash is listed must be found, one outside the relation never. A picture at
    distance 30 or 31 that a near design misses is counted: recall is a figure, not a promise.
    """
    expected, missed = _told(bench, bench.build, bench.pool.pictures, bench.honest)
    return _passed(bench, expected, missed)


def check_entries(bench: Bench) -> Passed:
    """Every one of `CROWD` entries of a large set is found, and no picture that is on no list.

    A design whose bands or kinds of pictures leave out some entries misses one of so many; what fails fewer
    of them than the bound that is printed can pass. Where a design states its recall, that is tried too.
    """
    setting = large(bench)
    deployed, names = setting.deployed, [one.name for one in setting.pictures]
    asked = [(one.item, bench.rng(f"entries/{one.name}")) for one in setting.pictures]
    ran = dict(zip(names, bench.executor.map(lambda each: run_session(deployed, *each), asked), strict=True))
    expected, _ = _told(bench, deployed.build, setting.pictures, ran)
    _, most = clopper_pearson(0, CROWD, CONFIDENCE)
    found, others = sum(expected.values()), len(expected) - sum(expected.values())
    words = f"{found} of {found} entries found, 0 of {others} other pictures; at most {most:.1%} missed"
    figures: dict[str, object] = {"entries": found, "others": others, "missed_at_most": round(most, 4)}
    return Passed(words + _recall(bench, figures), figures)


def _recall(bench: Bench, figures: dict[str, object]) -> str:
    """Recall at the distances for which `recall` of the design states it: exact binomial limits, 99 %."""
    stated: Mapping[int, float] = getattr(bench.design, "recall", {})
    words = ""
    for distance, least in stated.items():
        found = sum(_near_found(bench, distance))
        low, high = clopper_pearson(found, STATED, CONFIDENCE)
        figures[f"recall_{distance}"] = [round(found / STATED, 4), round(low, 4), round(high, 4)]
        if high < least:
            rule = f"recall at distance {distance} is stated as {least}, and is at most {high:.3f}"
            raise BrokenError("recall", rule, found=f"{found} of {STATED}")
        words += f"; {found} of {STATED} found at distance {distance}, where {least} is stated"
    return words


def _near_found(bench: Bench, distance: int) -> list[bool]:
    """For each of `STATED` pictures: is an entry found that differs in so many of its least reliable bits?"""
    front = (1 << 25) + 1000 * bench.seed + STATED * distance
    pictures = [Pooled(f"near/{i}", "near", picture(front + i)) for i in range(STATED)]
    hashes = b"".join(flipped(one.item, distance) for one in pictures)
    entries = np.frombuffer(hashes, np.uint8).reshape(-1, 32)
    deployed = opened(publish(bench.design, entries, bench.rng("recall"), 1, bench.values))
    found = []
    for one in pictures:
        ran = run_session(deployed, one.item, bench.rng(f"recall/{distance}/{one.name}"))
        verdicts = [asked.verdict for step in ran.rounds for asked in step if asked.verdict is not None]
        found.append(isinstance(ran.outcome, Match) or any(v.label is not None for v in verdicts))
    return found


def _told(
    bench: Bench, build: Build, pictures: Sequence[Pooled], sessions: Mapping[str, Ran]
) -> tuple[dict[str, bool], list[str]]:
    """What the oracle says of each picture, if everybody was told so; and near ones that were missed."""
    oracle, missed = Oracle(bench.design.info.relation, build.entries), list[str]()
    expected = {one.name: oracle.matches(one.item) for one in pictures}
    for one in pictures:
        ran = sessions[one.name]
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
    _centre(bench, build, expected, sessions)
    return expected, missed


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
        case Flag() if not matches:
            raise BrokenError("outcome", "a flag that the oracle denies", item=one.name, kind=one.kind)
        case Flag():
            pass
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


def _centre(bench: Bench, build: Build, expected: dict[str, bool], sessions: Mapping[str, Ran]) -> None:
    """Of all vouchers of one account the opener opens none, or ones that match."""
    design = bench.design
    if Learner.CENTRE not in design.info.learns:
        return
    named = [(name, ran.outcome.body) for name, ran in sessions.items() if isinstance(ran.outcome, Voucher)]
    files = {name: build.files[name] for name in build.published.opener}
    labels = open_all(design.open_opener(files), "account", [body for _, body in named])
    for index in labels:
        if not expected[named[index][0]]:
            raise BrokenError("open", "a voucher is opened that the oracle denies", item=named[index][0])
    if not labels and any(expected[name] for name, _ in named):
        raise BrokenError("open", "no voucher of an account with several matches is opened")
