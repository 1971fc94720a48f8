"""Every outcome against the plaintext oracle, and what a centre makes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from blindmatch_proofs.verdict import Failed
from blindmatch_protocol import contract as bm
from blindmatch_protocol.contract import Category
from blindmatch_protocol.contract.relation import NO_ENTRIES
from blindmatch_protocol.messages.report import Report, seal_report
from blindmatch_protocol.picture.decode import Picture
from blindmatch_protocol.picture.pdq import rows
from blindmatch_server.centre.assessment import Check
from blindmatch_server.centre.keys import CentreKeys, KeyedHasher, Reference, References
from blindmatch_server.centre.keys import Deployed as Serving
from blindmatch_server.centre.verify import Verifier
from blindmatch_server.hosting.authority import Identity, Kind
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from msgspec.structs import replace
from PIL import Image

from blindmatch_simulations.evaluation.conformance.declarations import audited
from blindmatch_simulations.evaluation.conformance.fixtures import CROWD, Fixtures, large
from blindmatch_simulations.measure.intervals import GAME_CONFIDENCE, clopper_pearson
from blindmatch_simulations.testbed.inprocess.deployed import (
    Build,
    Deployed,
    Ran,
    enrolled,
    entries_of,
    opened,
    run_session,
)
from blindmatch_simulations.testbed.inprocess.verdict import (
    BrokenError,
    NotApplicableError,
    NotComparableError,
    Passed,
)
from blindmatch_simulations.testbed.pictures.crops import encoded
from blindmatch_simulations.testbed.pictures.pool import HashOnly, Pooled, flipped, picture
from blindmatch_simulations.testbed.pictures.sent import of_all_kinds


def of_either(relation: Category, seed: int) -> dict[str, Picture]:
    """A picture that is of the category, `match`, and one that is not, `none`; as far as there are such."""
    items = [one.item for one in of_all_kinds(seed)]
    return {"match" if relation.matches(one, NO_ENTRIES) else "none": one for one in items}


NEAR = ("near-30", "near-31", "next")
"""Kinds of pictures with an entry at another hash."""
STATED: Final = 96
"""Pictures at each distance for which a design states its recall."""


def check_outcomes(fixtures: Fixtures) -> Passed:
    """Whoever is declared to learn the outcome gets the oracle's, and nobody else gets one; labels and
    vouchers are an entry's, signatures included; no voucher opens below `threshold`. At distances 30 and 31
    only missing all fails.

    A picture whose very hash is listed must be found, one outside the relation never: recall is a figure, not
    a promise. For a category more kinds of pictures are tried, so that some are of it and some are not.
    """
    pictures = fixtures.pool.pictures
    sessions = fixtures.honest
    relation = fixtures.design.info.relation
    if isinstance(relation, bm.Category):
        more = [one for one in of_all_kinds(fixtures.seed) if one.name not in sessions]
        pictures = (*pictures, *more)
        sessions = {**sessions, **{one.name: fixtures.run(one) for one in more}}
    expected, missed = _told(fixtures, fixtures.build, pictures, sessions)
    if bm.Learner.DEVICE in fixtures.design.info.learns:
        _verified(fixtures, pictures, sessions)
    of = sum(expected.values())
    tried = len(expected)
    if isinstance(relation, bm.Category) and not 0 < of < tried:
        # where nothing is to be flagged, a design that flags nothing is right
        raise NotComparableError(f"{of} of {tried} pictures tried are of the category {relation.words}")
    return _passed(fixtures, expected, missed)


def check_full_size(fixtures: Fixtures) -> Passed:
    """A design that is checked in `reduced` sizes has the oracle's outcomes in the sizes that devices use,
    and passes `egress` in its first round."""
    if fixtures.whole is None:
        raise NotApplicableError("every check runs in the sizes that devices use")
    full = Fixtures(fixtures.whole, fixtures.seed, values=fixtures.values, full_size=True)
    chosen = list({one.kind: one for one in full.pool.pictures}.values())
    sessions = {one.name: full.run(one) for one in chosen}
    expected, missed = _told(full, full.build, chosen, sessions)
    passed = _passed(full, expected, missed)
    if full.design.info.roles or full.design.vouchers:
        audited(full, sessions)
    reduced = fixtures.design.info.name
    return Passed(f"{passed.reason}; all other checks ran on {reduced}", passed.figures)


def check_entries(fixtures: Fixtures) -> Passed:
    """In a set of 2,000 entries, 160 pictures whose very hash is listed are found, and 171 that match none
    are not; a stated `recall` is tried.

    A design whose bands or kinds of pictures leave out some entries misses one of so many; what fails fewer
    of them than the bound that is printed can pass.
    """
    setting = large(fixtures)
    deployed = setting.deployed
    names = [one.name for one in setting.pictures]
    asked = [(one.item, fixtures.rng(f"entries/{one.name}")) for one in setting.pictures]
    ran = dict(
        zip(names, fixtures.executor.map(lambda each: run_session(deployed, *each), asked), strict=True)
    )
    expected, _ = _told(fixtures, deployed.build, setting.pictures, ran)
    _, most = clopper_pearson(0, CROWD, GAME_CONFIDENCE)
    found = sum(expected.values())
    others = len(expected) - sum(expected.values())
    words = f"{found} of {found} entries found, 0 of {others} other pictures; at most {most:.1%} missed"
    figures: dict[str, object] = {"entries": found, "others": others, "missed_at_most": round(most, 4)}
    return Passed(words + _recall(fixtures, figures), figures)


def _recall(fixtures: Fixtures, figures: dict[str, object]) -> str:
    """Recall at the distances for which `recall` of the design states it: exact binomial limits, 99 %."""
    stated: Mapping[int, float] = getattr(fixtures.design, "recall", {})
    words = ""
    for distance, least in stated.items():
        found = sum(_near_found(fixtures, distance))
        low, high = clopper_pearson(found, STATED, GAME_CONFIDENCE)
        figures[f"recall_{distance}"] = [round(found / STATED, 4), round(low, 4), round(high, 4)]
        if high < least:
            rule = f"recall at distance {distance} is stated as {least}, and is at most {high:.3f}"
            raise BrokenError("recall", rule, found=f"{found} of {STATED}")
        words += f"; {found} of {STATED} found at distance {distance}, where {least} is stated"
    return words


def _near_found(fixtures: Fixtures, distance: int) -> list[bool]:
    """For each of `STATED` pictures: is an entry found that differs in so many of its least reliable bits?"""
    front = (1 << 25) + 1000 * fixtures.seed + STATED * distance
    pictures = [Pooled(f"near/{i}", "near", picture(front + i)) for i in range(STATED)]
    entries = rows([flipped(one.item, distance) for one in pictures])
    deployed = opened(fixtures.publish(entries, "recall"))
    rngs = (fixtures.rng(f"recall/{distance}/{one.name}") for one in pictures)
    return [run_session(deployed, one.item, rng).found for one, rng in zip(pictures, rngs, strict=True)]


def _told(
    fixtures: Fixtures, build: Build, pictures: Sequence[Pooled], sessions: Mapping[str, Ran]
) -> tuple[dict[str, bool], list[str]]:
    """What the oracle says of each picture, if everybody was told so; and near ones that were missed."""
    relation = fixtures.design.info.relation
    missed = list[str]()
    listed = Listed(build)
    expected = {one.name: relation.matches(one.item, build.entries) for one in pictures}
    for one in pictures:
        ran = sessions[one.name]
        if bm.Learner.DEVICE in fixtures.design.info.learns:
            missed += [one.name] * misses(relation, one, expected[one.name], ran.outcome, listed=listed)
        elif not isinstance(ran.outcome, bm.Undisclosed | bm.Voucher):
            rule = "the device learns an outcome that is not declared to it"
            raise BrokenError("outcome", rule, item=one.name)
        if bm.Learner.SERVER in fixtures.design.info.learns:
            told = _by_verdict(one, ran)
            missed += [one.name] * misses(relation, one, expected[one.name], told, "verdict", listed)
        elif ran.verdicts:
            raise BrokenError("verdict", "a role learns an outcome that is not declared to it", item=one.name)
    return expected, missed + _centre(fixtures, build, pictures, expected, sessions)


class Listed(References):
    """The list of a build that was published whole, as curator and centre have it; and its epoch."""

    def __init__(self, build: Build) -> None:
        self._design = build.design
        self._setup = build.design.open_setup(build.setup_files, build.epoch)
        self._is_filter = build.design.unconfirmed(self._setup)
        (batch,) = entries_of(build).batches(len(build.entries))
        rows = zip(batch.ids.tolist(), batch.hashes, batch.salts, strict=True)
        self._by_id = {at: Reference(own.tobytes(), salt.tobytes(), None) for at, own, salt in rows}
        self.epoch = build.epoch

    def lookup(self, entry_id: int) -> Reference | None:
        """The entry with this id, if the list has it."""
        return self._by_id.get(entry_id)

    def check(self, label: bm.Label, step: str, **of: object) -> None:
        """Make sure that a label is an entry's own, down to its last byte; `BrokenError` at `step` if it is
        not. A filter gives a hash alone, which is never reported, and nothing else may call itself that."""
        if label.unconfirmed and not self._is_filter:
            raise BrokenError(step, "the label is unconfirmed, and the set is not a filter", **of)
        if self._is_filter and not label.unconfirmed:
            raise BrokenError(step, "the set is a filter, and the label is not unconfirmed", **of)
        if not label.unconfirmed and not self._is_entry(label):
            raise BrokenError(step, "id, salt or epochs of the label are not the entry's", **of)
        if not self._has_own_signatures(label):
            rule = "field `signatures` of the label is neither zeros nor what it was signed with"
            raise BrokenError(step, rule, signatures=label.signatures, **of)

    def _is_entry(self, label: bm.Label) -> bool:
        entry = self.lookup(label.entry_id)
        known = entry is not None and (entry.entry_hash, entry.salt) == (label.entry_hash, label.salt)
        return known and label.first_epoch <= self.epoch <= label.last_epoch

    def _has_own_signatures(self, label: bm.Label) -> bool:
        """Are they zeros, or signatures of this very label? A design that takes any bytes for a signature, or
        a signature of another entry, verifies none."""
        if not any(label.signatures):
            return True
        signed = self._design.is_signed
        setup = self._setup
        altered = bytes([label.signatures[0] ^ 1]) + label.signatures[1:]
        others = replace(label, signatures=altered), replace(label, entry_id=label.entry_id ^ 1)
        own = not label.unconfirmed and signed(setup, label)
        return own and not any(signed(setup, other) for other in others)


def _verified(fixtures: Fixtures, pictures: Sequence[Pooled], sessions: Mapping[str, Ran]) -> None:
    """The centre takes a report of every match and flag."""
    design = fixtures.design
    listed = Listed(fixtures.build)
    keys = CentreKeys(X25519PrivateKey.generate(), KeyedHasher(bytes(32)), bytes(32), bytes(32))
    verifier = Verifier(keys, Serving(design, lambda: {listed.epoch}), listed)
    for one in pictures:
        report = _report(design.info, listed.epoch, one, sessions[one.name].outcome)
        if report is None:
            continue
        sealed = seal_report(report, keys.public_key)
        found = verifier.assess(sealed, report.report_id, Identity(Kind.DEVICE, SENDER)).verdicts
        for check in (Check.SEALED, Check.DESIGN, Check.REPORTER, Check.LABEL, Check.PICTURE, Check.RELATION):
            if isinstance(verdict := found[check], Failed):
                rule = f"the centre refuses a report of it: {check}: {verdict.reason}"
                raise BrokenError("outcome", rule, item=one.name)


SENDER: Final = "alice"


def _report(info: bm.Info, epoch: int, one: Pooled, outcome: bm.Outcome) -> Report | None:
    is_match = isinstance(outcome, bm.Match) and not outcome.label.unconfirmed
    if not is_match and not isinstance(outcome, bm.Flag):
        return None
    return Report(
        report_id=bytes(16),
        design=info.name,
        version=info.version,
        epoch=epoch,
        label=outcome.label if isinstance(outcome, bm.Match) else bm.NO_LABEL,
        reporter=SENDER,
        sender=SENDER,
        recipient="bob",
        sent_at_ms=1,
        matched_at_ms=1,
        media_type="image/png",
        opening=(),
        picture=encoded(Image.fromarray(one.item.pixels)),
        score=outcome.encode() if isinstance(outcome, bm.Flag) else b"",
    )


def _passed(fixtures: Fixtures, expected: dict[str, bool], missed: list[str]) -> Passed:
    near = [one.name for one in fixtures.pool.of(*NEAR) if expected.get(one.name)]
    if near and len(set(missed)) == len(near):
        rule = "no picture at distance 30 or 31 is found: the relation is not that wide"
        raise BrokenError("outcome", rule)
    count = len(expected)
    matching = sum(expected.values())
    lost = len(set(missed))
    words = f"{count} pictures as the oracle says, {matching} of them matching"
    if near:
        words += f"; {len(near) - lost} of {len(near)} at distance 30 or 31 found"
    return Passed(words, {"pictures": count, "matching": matching, "near": len(near), "missed": lost})


def _by_verdict(one: Pooled, ran: Ran) -> bm.Outcome:
    """What a role learnt, as the outcome it is."""
    if not ran.verdicts:
        raise BrokenError("verdict", "a role must learn the outcome, and gives no verdict", item=one.name)
    label = next((told.label for told in ran.verdicts if told.label is not None), None)
    return bm.NoMatch() if label is None else bm.Match(label)


def misses(
    relation: bm.Relation,
    one: Any,
    matches: bool,
    outcome: object,
    step: str = "outcome",
    listed: Listed | None = None,
) -> bool:
    """Does an outcome miss a picture that is near an entry? Everything else must be as the oracle says, and
    labels of the list, if it is known here; `BrokenError` if they are not."""
    of = {"item": one.name, "kind": one.kind}
    match outcome:
        case bm.Match() | bm.Flag() if not matches:
            what = "match" if isinstance(outcome, bm.Match) else "flag"
            raise BrokenError(step, f"a {what} that the oracle denies", **of)
        case bm.Match(label) if not relation.holds(one.item, rows([label.entry_hash]))[0]:
            raise BrokenError("outcome", "the label is not of an entry the picture matches", **of)
        case bm.NoMatch() if matches and isinstance(relation, bm.Category):
            raise BrokenError("outcome", "a picture of the category is not flagged", **of)
        case bm.NoMatch() if matches and one.kind not in NEAR:
            raise BrokenError("outcome", "a picture whose very hash is listed is not found", **of)
        case bm.Match() | bm.Flag() | bm.NoMatch():
            if isinstance(outcome, bm.Match) and listed is not None:
                listed.check(outcome.label, step, **of)
            return matches and isinstance(outcome, bm.NoMatch)
        case _:
            raise BrokenError("outcome", "the device must learn the outcome, and does not", **of)


def _centre(
    fixtures: Fixtures,
    build: Build,
    pictures: Sequence[Pooled],
    expected: dict[str, bool],
    sessions: Mapping[str, Ran],
) -> list[str]:
    """What the centre's opener makes of vouchers is labels of entries, for pictures that match; near ones
    that were missed.

    They are those of an account of its own, which sends listed hashes as well: below the design's threshold
    nothing opens, whatever else the account sent, and once everything was sent all that is not made up.
    """
    design = fixtures.design
    if bm.Learner.CENTRE not in design.info.learns:
        return []
    deployed = opened(build)
    items = dict[str, Any]((one.name, one.item) for one in pictures)
    bodies = {name: ran.outcome.body for name, ran in sessions.items() if isinstance(ran.outcome, bm.Voucher)}
    if isinstance(design.info.relation, bm.Category):  # a hash alone is not of a category
        labels = _labels(build, deployed, bodies)
        _right(fixtures, build, items, expected, labels)
        if not labels and any(expected[name] for name in bodies):
            raise BrokenError("open", "no voucher of an account with several matches is opened")
        return []
    rng = fixtures.rng("centre")
    least = design.threshold(deployed.setup)
    state: Any = enrolled(deployed, rng)
    listed = {f"entry/{at}": HashOnly(row.tobytes()) for at, row in enumerate(build.entries[: least + MORE])}
    few = [name for name, one in listed.items() if not design.made_up(state, deployed.setup, one)]
    items = {**listed, **items}
    expected = {**dict.fromkeys(listed, True), **expected}
    bodies = {}
    for name, item in items.items():
        ran = run_session(deployed, item, rng, state)
        state = ran.state
        if not isinstance(ran.outcome, bm.Voucher):
            raise BrokenError("start", "a picture gives no voucher", item=name)
        bodies[name] = ran.outcome.body
    others = {name: body for name, body in bodies.items() if not expected[name]}
    if _labels(build, deployed, others | {name: bodies[name] for name in few[: least - 1]}):
        raise BrokenError(
            "open", f"a voucher is opened of an account with {least - 1} matches, below {least}"
        )
    labels = _labels(build, deployed, bodies)
    _right(fixtures, build, items, expected, labels)
    near = {one.name for one in pictures if one.kind in NEAR}
    missed = list[str]()
    for name, item in items.items():
        if expected[name] and name not in labels and not design.made_up(state, deployed.setup, item):
            if name not in near:
                rule = f"a match of an account with {len(few)} matches and more is not opened"
                raise BrokenError("open", rule, item=name)
            missed.append(name)
    return missed


MORE: Final = 4
"""Listed hashes that an account sends beyond the threshold, since some vouchers may be made up."""


def _labels(build: Build, deployed: Deployed, bodies: Mapping[str, Any]) -> dict[str, bm.Label]:
    """What opens of one account's vouchers, by their names."""
    design = build.design
    names = list(bodies)
    opener = design.open_opener({name: build.files[name] for name in build.published.opener})
    period = design.period(deployed.setup)
    labels = bm.open_all(opener, "account", "device", period, list(bodies.values()))
    return {names[at]: label for at, label in labels.items()}


def _right(
    fixtures: Fixtures,
    build: Build,
    items: Mapping[str, Any],
    expected: Mapping[str, bool],
    labels: Mapping[str, bm.Label],
) -> None:
    listed = Listed(build)
    for name, label in labels.items():
        if not expected[name]:
            raise BrokenError("open", "a voucher is opened that the oracle denies", item=name)
        if not fixtures.design.info.relation.holds(items[name], rows([label.entry_hash]))[0]:
            raise BrokenError("open", "the label is not of an entry the picture matches", item=name)
        listed.check(label, "open", item=name)
