"""Every figure of a design, and those of what others get to know, of what can be got round, and of what can
be checked: bytes that nobody declared, games, what stored files show, tries, proofs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Final

from blindmatch_protocol.contract import Learner, ListKnowledge
from msgspec import UNSET
from msgspec.structs import replace

from blindmatch_simulations.evaluation.assess import costs, judging
from blindmatch_simulations.evaluation.assess.judging import NO_LEARNER, NOTHING, Case, Kind, figure
from blindmatch_simulations.evaluation.assess.observed import COMMITTED, DAY_SECONDS
from blindmatch_simulations.evaluation.studies import hashes
from blindmatch_simulations.evaluation.studies.best_order import ALL_KINDS, FAR
from blindmatch_simulations.evaluation.studies.capacity_records import ANY, ListStanding
from blindmatch_simulations.measure.intervals import number, share
from blindmatch_simulations.measure.results import Figure
from blindmatch_simulations.testbed.inprocess.verdict import Verdict

GAMES: Final = ("games", "malicious games")
"""Checks that play for pictures, against all parties with a role."""
LIST_GAMES: Final = ("list games",)
"""The check that plays for lists, against a device."""
NOT_COMPARABLE: Final = "not comparable: no other picture agrees on all that is declared"
UNLIMITED: Final = "without limit: a device tests pictures by itself, and asks nobody"
NO_PROOF: Final = "the run is of before proofs to outsiders were measured"
NOT_TIED: Final = (
    f"{NOTHING}: a role answers by what it holds, so that no logged epoch shows which list it used"
)
QUOTED: Final = (
    f"{NOTHING}: a quote that the vendor vouches for ties the enclave to the epoch's list; "
    "devices are shown it, outsiders are not"
)

private, secure, open_ = (partial(figure, one) for one in ("privacy", "security", "transparency"))


@private("Undeclared bytes", "bytes", column="undeclared bytes")
def undeclared_bytes(case: Case) -> Figure:
    """Bytes that left an audited device and that nothing declared explains."""
    audit = case.seen.audit
    if not audit.comparable:
        return Figure(None, NOT_COMPARABLE)
    return number(audit.undeclared_bytes, n=audit.pictures)


@private("Pictures told apart, at most", "of 1", "checks")
def advantage(case: Case) -> Figure:
    """Advantage in telling apart two pictures that agree in everything declared: 0 is guessing, 1 is being
    always right. The largest upper bound over all classes of this suite's leakage games, of what training
    chose, which proves nothing about others. Guessing alone gives the bound in brackets: few runs look worse.
    """
    return _bound(case, GAMES)


@private("Lists told apart, at most", "of 1", "checks")
def list_advantage(case: Case) -> Figure:
    """The upper bound over this suite's games over lists: a device is given one of two lists that agree on
    what is declared to it; none exceeded it, which proves nothing about others.
    """
    return _bound(case, LIST_GAMES)


def _bound(case: Case, games: Sequence[str]) -> Figure:
    """The largest upper bound over all opponents of the `games` that were played, and what its runs show."""
    every = [check for check in case.checks if check.check in games]
    played = [check for check in every if check.verdict != Verdict.NOT_CHECKED]
    if any(check.verdict == Verdict.FAILED for check in played):
        return Figure(1.0, "", n=len(played))
    if why := judging.matches_nothing(case):
        return Figure(None, why)
    found = [
        (one, COMMITTED in check.figures)
        for check in played
        for one in check.figures.values()
        if isinstance(one, dict) and "interval" in one
    ]
    if not found:
        words = "; ".join(f"{check.check}: {check.reason}" for check in every) or case.unchecked
        return Figure(None, words or "the games were not played")
    note = "" if len(played) == len(games) else f"; over the semi-honest games alone: {case.unchecked}"
    worst, committed = max(found, key=lambda one: float(one[0]["interval"][1]))
    caught = "no advantage" if worst["caught"] is None else f"an advantage of {worst['caught']:.2f}"
    return Figure(
        worst["interval"][1],
        f"{'committed evidence; ' * committed}{caught} in one class, once learnt, is caught with 95 %{note}",
        n=worst["class_runs"],
        resolution=worst["resolution"],
    )


@private("Listed picture, rebuilt from stolen files", "SSIM")
def depicted(case: Case) -> Figure:
    """How alike a listed picture is what can be rebuilt of it by whoever has its hash from the stored files
    of a device or a server: structural similarity, mean of generated pictures, with no trained model; 0 where
    no such file has a hash. Curator and centre hold the list in every design.
    """
    known = {one.parties: ListKnowledge(one.knowledge) for one in case.seen.design.list_known}
    have = sorted((who for who, what in known.items() if what >= ListKnowledge.HASHES), key=len)
    if not have:
        return Figure(0.0, "no stored file has a hash")
    holders = [" with ".join(who) for who in have if len(who) == len(have[0])]
    score = hashes.measured()["hash"]
    note = f"by whoever has the files of {' or '.join(holders)}; {score.chance:.2f} with another picture"
    return Figure(score.own, note, n=hashes.PICTURES)


@secure("Skipped matching, delivered", "share", blank=[judging.matches_nothing, costs.reads_messages])
def skipped_unnoticed(case: Case) -> Figure:
    """Of listed pictures sent by a modified client that never asks, those that arrived; what a party can
    notice stands under 'What an offender can do'.
    """
    return share(case.seen.offence.delivered, case.seen.offence.sent)


@secure("Pictures an edit hides", "share", "pictures", blank=judging.OF_MATCHES)
def evading(case: Case) -> Figure:
    """Of listed pictures, those that at least one edit of this suite keeps from matching."""
    if any(row.matched is None for row in case.rows):
        return Figure(None, NO_LEARNER)
    hidden = {row.name for row in case.listed if row.matched is False}
    return share(len(hidden), len({row.name for row in case.listed}))


OF_KEY: Final = "the limits of a key allow no more under one key, however many days it lasts"
OF_PERIODS: Final = "an account's limits by day or year allow no more"


@secure("Tries an account is allowed", "tries/day")
def oracle_tries(case: Case) -> Figure:
    """How many pictures an account may ask about in a day at the server's rate limit, and learn the outcome
    of; 0 if the device learns nothing, without limit where it asks nobody.
    """
    seen = case.seen
    design = case.seen.design
    if str(Learner.DEVICE) not in design.learns:
        return Figure(0.0)
    held = [ListKnowledge(one.knowledge) for one in design.list_known if one.parties == ("device",)]
    if not design.roles or any(one >= ListKnowledge.TESTABLE for one in held):
        return Figure(None, UNLIMITED)
    allowed = seen.query_rate * DAY_SECONDS + seen.query_burst
    key = seen.key
    most = key.of_account(1) if key else None
    if key is None or most is None or allowed <= most // key.cost:
        return Figure(allowed)
    by_time = most != key.per_account
    return Figure(float(most // key.cost), OF_PERIODS if by_time else OF_KEY)


OPENED_BY: Final = 1_000
"""Modified phones whose year is the figure; the row has other numbers of them."""
NO_CAPACITY: Final = "the run is of before it was noted"
NO_HIDDEN: Final = f"{NOTHING}: no list is hidden from devices"


@secure("List opened by 1,000 modified phones in a year", "share")
def list_opened(case: Case) -> Figure:
    """Share of the list that 1,000 modified phones open in a year that pool what they ask, of entries that
    resemble nothing they have, under the limits that hold at the EU's volume: measured on the reference
    corpus, all kinds of pictures. 1 where the list is handed out, 0 where a device is not told what matches.
    Other numbers of phones, uniform hashes and look-alikes stand in the row's `capacity`.
    """
    seen = case.seen.capacity
    if seen is UNSET:
        return Figure(None, NO_CAPACITY)
    found = seen.find(OPENED_BY, ALL_KINDS, FAR) or seen.find(OPENED_BY, ANY, ANY)
    if found is None:
        return Figure(None, f"{NOTHING}: {seen.says}")
    if found.share is None:
        return Figure(None, found.why)
    ends = "" if found.high is None else f"95 % interval {found.low:.2%} to {found.high:.2%}; "
    return Figure(found.share, f"{ends}{found.how}; {seen.says}", n=found.n)


@secure("Life of a key at the EU's volume", "s")
def key_life(case: Case) -> Figure:
    """How long a key lasts until all accounts together, at 720 million pictures a day, have used up what it
    allows all of them.
    """
    seen = case.seen.capacity
    if seen is UNSET:
        return Figure(None, NO_CAPACITY)
    if seen.standing != ListStanding.HIDDEN:
        return Figure(None, NO_HIDDEN)
    if seen.key_seconds is None:
        return Figure(None, f"{NOTHING}: no limit on all accounts together")
    return Figure(seen.key_seconds, "; ".join(filter(None, (seen.exhausted, seen.notice))))


@secure("Conformance checks failed", "checks", "checks", "checks failed")
def checks_failed(case: Case) -> Figure:
    """Conformance checks that failed: hostile bytes, order, epochs, keys, files, bounds, leakage."""
    finished = [check for check in case.checks if check.verdict != Verdict.NOT_CHECKED]
    failed = sum(check.verdict == Verdict.FAILED for check in finished)
    why = case.unchecked
    unfinished = f"{len(finished)} checks finished, none failed; {why}" if finished else why
    found = number(None if why and not failed else failed, unfinished, len(finished))
    committed = sum(COMMITTED in check.figures for check in finished)
    words = f"{committed} of {len(finished)} checks are of committed evidence, the others of this run"
    return replace(found, why="; ".join(filter(None, (found.why, words)))) if committed else found


@open_("Sessions derived again", "sessions")
def audit_sessions(case: Case) -> Figure:
    """Matching sessions of the audited device whose requests came out again from the recorded randomness."""
    return number(case.seen.audit.sessions, n=case.seen.audit.pictures)


@open_("Proofs to the public", "bytes", blank=[judging.matches_nothing])
def proof_bytes(case: Case) -> Figure:
    """Size of what shows an outsider that all have this epoch, where that says what is matched with."""
    proven = case.seen.proven
    if proven is None:
        return Figure(None, NO_PROOF)
    if not proven.ties:
        return Figure(None, QUOTED if proven.quoted else NOT_TIED)
    more = {"an entry's endorsement": proven.endorsement, "a picture's absence": proven.absence}
    words = [f"{what} {size:,} bytes" for what, size in more.items() if size is not None]
    return Figure(float(proven.epoch), "; ".join(["epoch and log, two witnesses", *words]), n=1)


FIGURES: Final[Mapping[str, Kind]] = MappingProxyType(judging.REGISTERED)
"""By name, in the order of the page."""


def figures_of(case: Case) -> dict[str, Figure]:
    return {name: kind.judge(case) for name, kind in FIGURES.items()}
