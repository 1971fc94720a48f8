"""The records of the view model.

A number that is shown stands in `View.evidence`, and is named by its key.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Final, Literal

from msgspec import Meta

from blindmatch_simulations.measure.results import Strict

VERSION: Final = 1
"""Goes up when a record changes its meaning or goes; a record or field more leaves it as it is."""


class State(StrEnum):
    """How a figure is known; each state looks different, and none of them looks like zero.

    MEASURED: counted or timed in a run, or in the committed evidence.
    CALCULATED: follows from measured and assumed figures by a formula.
    ASSUMED: chosen, with a source or without.
    CLAIMED: stated by others, and not measured here.
    DECLARED: the design says so of itself.
    NOT_MEASURED: could be measured, and was not.
    NOT_RUN: the design failed, or was left out of the run.
    NOT_APPLICABLE: there is nothing to measure.
    """

    MEASURED = "measured"
    CALCULATED = "calculated"
    ASSUMED = "assumed"
    CLAIMED = "claimed"
    DECLARED = "declared"
    NOT_MEASURED = "not measured"
    NOT_RUN = "not run"
    NOT_APPLICABLE = "does not apply"


class Evidence(Strict, frozen=True, kw_only=True):
    """A figure and all that stands behind it.

    Attributes:
        title: what it is, in words.
        value: None if there is none; `why` then says the reason.
        low, high: ends of its interval, or of what assumptions move it between.
        interval: what the ends are.
        n: pictures, sessions or runs that it stands on.
        entries: length of the list that it was measured over, where it may depend on that.
        at_least: whether it grows with the list, or may, and was measured over a shorter one than it is
            stated of, so that it is more by an amount that nobody measured.
        disturbed: whether other work on the machine moved it.
        source: the files and the keys in them that it comes from.
    """

    title: str
    state: State
    value: float | None = None
    low: float | None = None
    high: float | None = None
    interval: str = ""
    unit: str = ""
    n: int | None = None
    entries: int | None = None
    at_least: bool = False
    disturbed: bool = False
    why: str = ""
    source: tuple[str, ...] = ()


class Shown(Strict, frozen=True):
    """A number within a sentence, as it is shown, and the key of its evidence."""

    shown: str
    evidence: str


Sentence = tuple[str | Shown, ...]
"""Words and numbers, in their order."""


class Finding(Strict, frozen=True):
    title: str
    says: tuple[Sentence, ...]


class Holds(StrEnum):
    """What a party holds of an innocent picture; each is drawn in its own way.

    PICTURE: the picture.
    SEALED: the picture under a seal that the party is not to open.
    LIKENESS: its perceptual hash, which draws a blurred likeness.
    FINER_LIKENESS: the numbers that a hash is made of, which draw a finer one.
    PART: some bits that tell it apart from most others.
    CIPHERTEXT: the encrypted message.
    VOUCHER: a sealed voucher, which may open once enough pictures of the account match.
    ACCOUNT: that this account sent a picture.
    SOMEBODY: that somebody sent one.
    ON_WARRANT: nothing until an account is opened; then all its messages.
    NOTHING: nothing.
    """

    PICTURE = "the picture"
    SEALED = "the picture under a seal"
    LIKENESS = "its hash, which draws a likeness"
    FINER_LIKENESS = "numbers that draw a finer likeness"
    PART = "some bits of its hash"
    CIPHERTEXT = "the encrypted message"
    VOUCHER = "a sealed voucher"
    ACCOUNT = "that you sent a picture"
    SOMEBODY = "that somebody sent a picture"
    ON_WARRANT = "nothing unless your account is opened"
    NOTHING = "nothing"


class Tile(Strict, frozen=True):
    """What one party holds of an innocent picture.

    Attributes:
        holds: the most telling thing.
        says: all of it in words, as the design declares it.
        checked: whether a check of the run looked for more to its end, and found nothing further.
    """

    party: str
    holds: Holds
    says: tuple[str, ...]
    checked: bool


class Card(Strict, frozen=True, kw_only=True):
    """A design.

    Attributes:
        id: of its row in the results file.
        idea: it in at most three sentences.
        stand_in: how it differs from the option that it stands for; empty if it does not.
        fates: of 100 known files sent, keys of evidence by fate; empty if it looks for nothing or if what
            they
            need was not measured, which `found_why` says.
        cost: keys of evidence, by what is spent.
        misuse: what a played attack or the declaration names as the worst, by whom, and who would notice.
        one_list: whether an outsider can check that all devices get one list.
        faults: checks that failed on it, and bytes that nothing declared explains.
        missing: what was not measured of it.
    """

    id: str
    version: int
    option: str
    level: str
    title: str
    idea: tuple[str, ...]
    page: str
    matches: str
    tiles: tuple[Tile, ...]
    fates: dict[str, str]
    cost: dict[str, str]
    misuse: str
    one_list: str
    stand_in: str = ""
    found_why: str = ""
    faults: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


class Failed(Strict, frozen=True):
    """A design of the run that has no figures."""

    id: str
    why: str


class Edit(Strict, frozen=True):
    """An edit of a listed picture, and how many copies are found after it.

    Attributes:
        mix: key of evidence: its share in the assumed mix.
        found: keys of evidence, by way of matching.
    """

    name: str
    note: str
    mix: str
    found: dict[str, str]


class Rate(Strict, frozen=True):
    """A rate of innocent pictures that match: a mark on one logarithmic scale.

    Attributes:
        kind: what the mark is.
        unit: of what the rate is: of each picture, pair or account.
        pictures, list: which pictures were compared with which list, and of what length.
    """

    label: str
    kind: Literal["seen", "excluded", "measured", "break-even", "claimed"]
    evidence: str
    unit: str
    pictures: str
    list: str


class Played(Strict, frozen=True):
    """Something that played attacks exposed to an actor.

    Attributes:
        exposes: what.
        attacks: by which attacks.
        designs: on which an attack was played and succeeded.
        alike: on which none of them was played, since nothing that they differ in matters to it.
        notices: who could notice.
        proof: the file that remains, or none.
    """

    exposes: str
    attacks: tuple[str, ...]
    designs: tuple[str, ...]
    alike: tuple[str, ...]
    notices: str
    proof: str


class Abuser(Strict, frozen=True):
    """An actor, and what the attacks that were played as theirs came to.

    Attributes:
        exposed: what they exposed beyond what encryption alone allows.
        as_encrypted: attacks that succeeded, as they do where messages are encrypted and nothing is detected.
        withstood: attacks that did not succeed on any design.
    """

    actor: str
    exposed: tuple[Played, ...]
    as_encrypted: tuple[str, ...]
    withstood: tuple[str, ...]


class Opening(Strict, frozen=True):
    """The share of a design's list that modified phones open in a year: keys of evidence, by number of
    them."""

    design: str
    by_phones: dict[str, str]
    says: str


class Step(Strict, frozen=True):
    """A step on the way of somebody who is wrongly reported."""

    who: str
    does: str
    not_measured: str
    attacks: tuple[str, ...]


class Provable(Strict, frozen=True):
    """Something that a report claims, and who can check it.

    Attributes:
        claim: what.
        by: who can check it, and with what; "nobody" if nobody can.
    """

    claim: str
    by: str


class Assumption(Strict, frozen=True):
    holds: str
    concerns: str
    breaks: str
    covered: str


class Option(Strict, frozen=True):
    """An option of the expert process, and the designs here that stand for it."""

    id: str
    level: str
    name: str
    provenance: str
    designs: tuple[str, ...]


class Run(Strict, frozen=True):
    made_at: str
    digest: str
    command: str
    workload: str
    machine: str
    entries: tuple[int, ...]


class View(Strict, frozen=True, kw_only=True):
    """All of it.

    Attributes:
        attacks_run: the run in which the attacks were played, which is another than that of the figures;
            nothing if none were played.
        attacks_failed: attacks that crashed, so that nothing is known of them.
        opened_by_asking: designs of whose list played attacks opened a part by asking.
        terms: words that texts of the page put in double brackets, and others of the field, explained.
        year: the model of a year and its inputs, for what a reader moves by hand.
        behaviours: how each design behaves in that model.
    """

    format: Literal["blindmatch-view"] = "blindmatch-view"
    version: Annotated[int, Meta(ge=VERSION, le=VERSION)] = VERSION
    runs: tuple[Run, ...]
    findings: tuple[Finding, ...]
    designs: tuple[Card, ...]
    failed: tuple[Failed, ...]
    fates: dict[str, str]
    edits: tuple[Edit, ...]
    rates: tuple[Rate, ...]
    abusers: tuple[Abuser, ...]
    attacks_run: Run | None
    attacks_failed: tuple[str, ...]
    openings: tuple[Opening, ...]
    opened_by_asking: tuple[str, ...]
    steps: tuple[Step, ...]
    provable: tuple[Provable, ...]
    terms: dict[str, str]
    unmeasured: tuple[str, ...]
    assumptions: tuple[Assumption, ...]
    options: tuple[Option, ...]
    law: str
    evidence: dict[str, Evidence]
    year: dict[str, Any]
    behaviours: tuple[dict[str, Any], ...]
