"""Whoever holds a listed picture and its label files reports about others, or of what was never sent.

The picture is on the list, the label is right, the relay stamps whatever it is asked to, and all of it is
sealed to the centre as a report should be. The testbed's centre has no threshold: what is counted is what one
would be applied to, reports that pass by account.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import partial
from typing import Any, Final

from blindmatch_client.egress import Call, Egress, Recorder
from blindmatch_client.egress.calls import REGISTER, SUBMIT
from blindmatch_client.trace import Purpose
from blindmatch_proofs.verdict import Passed
from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import Match, Party
from blindmatch_protocol.crypto import amf
from blindmatch_protocol.designs.provider_scan import DESIGN as IN_CLEAR
from blindmatch_protocol.group import sodium
from blindmatch_protocol.messages import franking
from blindmatch_protocol.messages.content import AttachmentRef, Content, compose
from blindmatch_protocol.messages.franking import LEAF_LENGTH, FrankingMode, Stamp, Stamped, disclose
from blindmatch_protocol.messages.parts import SUBMISSION, split
from blindmatch_protocol.messages.report import Report, open_report, seal_report
from blindmatch_protocol.messages.sealed_message import NONCE_LENGTH, FrankingKey, SenderProof, proven, sign
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from blindmatch_server.centre import verify
from blindmatch_server.centre.keys import JUDGE_PUBLIC, PUBLIC_KEY, CentreKeys
from blindmatch_server.hosting.authority import Identity, Kind
from blindmatch_server.storage.files import read_key
from msgspec import Struct
from msgspec.structs import replace

from blindmatch_simulations.evaluation.attacks import needs
from blindmatch_simulations.evaluation.attacks.adversary import Claim, Conduct, Left, Means, Piece, replacing
from blindmatch_simulations.evaluation.attacks.arena import Arena, AttackError, attack
from blindmatch_simulations.evaluation.attacks.figure import Figure, counted, tally
from blindmatch_simulations.evaluation.attacks.loopback import Loopback, drawn, loopback
from blindmatch_simulations.testbed.deployment.devices import now_ms
from blindmatch_simulations.testbed.deployment.hosting import STATE
from blindmatch_simulations.testbed.deployment.operators import centre_list

ALICE = "alice"
BOB = "bob"
MALLORY = "mallory"
PICTURE: Final = 1
TYPE: Final = "image/png"
PASSED: Final = "passed"
AGAIN: Final[Piece] = (verify, "settle_once", lambda connection, report_id, assessment: assessment)
"""A centre that takes any number of reports about the same."""


class Forgery(Redacted, Struct, frozen=True):
    """A report that says what it must not."""

    case: str
    submitter: Identity
    report: Report


@attack(
    "framing",
    Means(frozenset({Party.DEVICE, Party.MATCHER, Party.PROVIDER}), has="a listed picture, its label"),
    Claim(
        "A device reports what it sent itself; a service reports where the deployed design gives "
        "it pictures in the clear, else nothing"
    ),
    budget="eight reports, and two more for each further party",
    weakness=replacing(
        (verify, "check_reporter", lambda *_: Passed()),
        (verify, "check_design", lambda *_: Passed()),
        AGAIN,
    ),
    needs=(needs.ENCRYPTED, needs.A_LIST, needs.TOLD, needs.SMALL),
    exposes="that nobody is reported for what they did not send",
    left=Left.CHECKED,
)
def framing(arena: Arena) -> Figure:
    """Count the reports that pass every check, by case."""
    with loopback(arena, [drawn(PICTURE)]) as held:
        cases = passed(arena, held, list(_about_others(arena, held)))
    return counted("reports that passed", but_the_first(cases, "a repetition"))


def passed(arena: Arena, held: Loopback, forged: Sequence[Forgery]) -> dict[str, tuple[int, int]]:
    """Submit reports; how many of each case passed every check, and were tried."""
    deployment = held.deployment
    for one in arena.each(forged):
        credentials = deployment.caller_credentials(one.submitter, deployment.folder_of(one.submitter))
        body = seal_report(one.report, read_key(deployment.centre_keys / PUBLIC_KEY))
        parts = partial(split, SUBMISSION, pb.SubmitPart(report_id=one.report.report_id), body)
        with closing(Egress(deployment.directory(), credentials, Recorder(), now_ms)) as egress:
            egress.upload(Call(Party.CENTRE, SUBMIT, Purpose.REPORT), parts)
    checks = {row.report_id: row.checks for row in centre_list(deployment).reports}
    return tally((one.case, checks[one.report.report_id] == PASSED) for one in forged)


def but_the_first(cases: dict[str, tuple[int, int]], case: str) -> dict[str, tuple[int, int]]:
    """Without the report of `case` that is true; raises `AttackError` if none passed."""
    times, tries = cases[case]
    if not times:
        raise AttackError("the first report of a device about a message of its own does not pass")
    return cases | {case: (times - 1, tries - 1)}


def _about_others(arena: Arena, held: Loopback) -> Iterator[Forgery]:
    made = Reports(arena, held)
    mallory = Identity(Kind.DEVICE, MALLORY)
    yield Forgery("the recipient", mallory, made.report(mallory, ALICE, MALLORY))
    for party in dict.fromkeys((Party.PROVIDER, held.design.info.setup_host, *held.design.info.parties)):
        service = Identity.of(party)
        yield Forgery("a service", service, made.report(service, ALICE, BOB))
        report = made.report(service, ALICE, BOB)
        other = IN_CLEAR.info.name
        yield Forgery("another design", service, replace(report, design=other, recipient="", opening=()))
    own = made.content()
    for _ in range(3):
        yield Forgery("a repetition", mallory, made.report(mallory, MALLORY, BOB, own))


class Reports:
    """Makes reports from what mallory's device learns of a listed picture."""

    def __init__(self, arena: Arena, held: Loopback) -> None:
        self._rng = arena.rng("reports")
        self._design = held.design
        watched = held.device(MALLORY)
        self._data = drawn(PICTURE)
        self._key = read_key(held.deployment.relay_stamp_key)
        held.device(BOB)
        watched.device.send_picture(BOB, self._data)
        (trace,) = watched.traces
        if not isinstance(trace.outcome, Match):
            raise AttackError("the design found no match for a listed picture, so no report can be forged")
        self._label = trace.outcome.label

    def content(self) -> Content:
        """A message with the picture, which nobody has sent."""
        digest = hashlib.sha256(self._data).digest()
        ref = AttachmentRef(self._rng.take(16), self._rng.take(32), digest, len(self._data), TYPE)
        return compose("", (ref,), now_ms(), self._rng)

    def report(
        self, reporter: Identity, sender: str, recipient: str, content: Content | None = None
    ) -> Report:
        """A report of `reporter` that `sender` sent the picture to `recipient`."""
        shown = disclose(content or self.content(), sender, recipient, 0)
        opening = shown.opening
        info = self._design.info
        name = self._rng.take(16)
        now = now_ms()
        stamp = Stamp(name, now, Stamped(opening.commitment, sender, recipient, name, now).mac(self._key))
        return Report(
            report_id=self._rng.take(16),
            design=info.name,
            version=info.version,
            epoch=1,
            label=self._label,
            reporter=reporter.account,
            sender=sender,
            recipient=recipient,
            sent_at_ms=shown.sent_at,
            matched_at_ms=now_ms(),
            media_type=TYPE,
            opening=(opening,),
            picture=self._data,
            stamp=(stamp,),
        )


@attack(
    "unsent-message",
    Means(frozenset({Party.DEVICE}), has="a listed picture, its label, an obliging recipient"),
    Claim("report a message that the relay has not taken, or another recipient, id or time than it took"),
    budget="seven reports",
    weakness=replacing((verify, "verify_stamp", lambda *_: Passed()), AGAIN),
    needs=(needs.ENCRYPTED, needs.A_LIST, needs.TOLD, needs.SMALL, needs.ANY_ONE),
    exposes="that only what was sent is reported",
    left=Left.CHECKED,
)
def unsent_message(arena: Arena) -> Figure:
    """Count the reports that pass every check, by case."""
    with loopback(arena, [drawn(PICTURE)]) as held:
        cases = passed(arena, held, list(_of_unsent(arena, held)))
    return counted("reports that passed", but_the_first(cases, "replayed"))


def _of_unsent(arena: Arena, held: Loopback) -> Iterator[Forgery]:
    made = Reports(arena, held)
    mallory = Identity(Kind.DEVICE, MALLORY)
    rng = arena.rng("stamps")
    own = made.content()
    true = made.report(mallory, MALLORY, BOB, own)
    (stamp,) = true.stamp
    for _ in range(3):
        yield Forgery("replayed", mallory, replace(true, report_id=rng.take(16)))
    unsent = made.report(mallory, MALLORY, BOB)
    yield Forgery("forged", mallory, replace(unsent, stamp=(replace(stamp, mac=rng.take(32)),)))
    yield Forgery("moved", mallory, replace(made.report(mallory, MALLORY, BOB), stamp=(stamp,)))
    yield Forgery("to another", mallory, replace(made.report(mallory, MALLORY, ALICE), stamp=(stamp,)))
    dated = made.report(mallory, MALLORY, BOB)
    earlier = replace(dated.stamp[0], accepted_at_ms=dated.stamp[0].accepted_at_ms - 1)
    yield Forgery("back-dated", mallory, replace(dated, stamp=(earlier,)))


THRESHOLD: Final = 3
ACCOUNTS: Final = 3


@attack(
    "split-accounts",
    Means(frozenset({Party.DEVICE}), has=f"{ACCOUNTS} accounts"),
    Claim("whoever has several accounts stays below any threshold of matches with each"),
    budget=f"{ACCOUNTS} accounts, {THRESHOLD - 1} listed pictures each",
    needs=(needs.ENCRYPTED, needs.A_LIST, needs.TOLD, needs.SMALL, needs.ANY_ONE),
    exposes="that an account with many matches is noticed",
)
def split_accounts(arena: Arena) -> Figure:
    """Count the matches of accounts that do not come to the threshold."""
    each = THRESHOLD - 1
    with loopback(arena, [drawn(number) for number in range(each)]) as held:
        held.device(BOB)
        for at in arena.each(range(ACCOUNTS)):
            sender = held.device(f"{MALLORY}-{at}").device
            for number in range(each):
                sender.send_picture(BOB, drawn(number))
        counts = _counts(held)
    if sum(counts.values()) != ACCOUNTS * each:
        raise AttackError("a device's report of a listed picture did not pass")
    below = sum(count for count in counts.values() if count < THRESHOLD)
    return counted("matches below a threshold", {f"of {THRESHOLD}": (below, ACCOUNTS * each)})


@attack(
    "pushed-over",
    Means(frozenset({Party.DEVICE}), has="listed pictures, and their labels"),
    Claim("what others send an account does not count against it"),
    budget=f"{THRESHOLD} pictures, and as many reports",
    weakness=framing.weakness,
    needs=(needs.ENCRYPTED, needs.A_LIST, needs.TOLD, needs.SMALL, needs.ANY_ONE),
    exposes="whoever was sent a picture",
    left=Left.CHECKED,
)
def pushed_over(arena: Arena) -> Figure:
    """Count the matches that pass against the account that the pictures were sent to."""
    with loopback(arena, [drawn(PICTURE)]) as held:
        made = Reports(arena, held)
        mallory = held.of(MALLORY).watched.device
        for _ in range(THRESHOLD):
            mallory.send_picture(BOB, drawn(PICTURE))
        held.of(BOB).watched.device.receive(0)
        own = _counts(held)[BOB]
        submitter = Identity(Kind.DEVICE, MALLORY)
        forged = [Forgery(BOB, submitter, made.report(submitter, BOB, MALLORY)) for _ in range(THRESHOLD)]
        times, tries = passed(arena, held, forged)[BOB]
    return counted("matches against another", {"sent and reported": (times + own, tries)})


def _counts(held: Loopback) -> Counter[str]:
    return Counter(row.reporter for row in held.checked().reports if row.checks == PASSED)


@attack(
    "framed-sender",
    Means(
        frozenset({Party.PROVIDER}), has="the stamp's key, a certificate in the sender's name, the recipient"
    ),
    Claim(
        "have a report pass in the name of a sender whose device has named its identity key to the centre: "
        "the proof needs the sender's secret key"
    ),
    budget="five reports",
    weakness=replacing(
        (verify, "verify_signature", lambda *_: Passed()),
        (verify, "verify_designated", lambda *_: Passed()),
        AGAIN,
    ),
    needs=(needs.ENCRYPTED, needs.A_LIST, needs.TOLD, needs.SMALL, needs.ANY_ONE),
    exposes="that nobody is reported for what they did not send",
    left=Left.CHECKED,
)
def framed_sender(arena: Arena) -> Figure:
    """Count the reports that pass every check, by mode and case."""
    cases: dict[str, tuple[int, int]] = {}
    for mode in (FrankingMode.DESIGNATED, FrankingMode.SIGNATURE):
        with loopback(arena, [drawn(PICTURE)], franking=mode) as held:
            cases |= passed(arena, held, list(_forged(arena, held, mode)))
    return counted("reports that passed", cases)


def _forged(arena: Arena, held: Loopback, mode: FrankingMode) -> Iterator[Forgery]:
    made = Reports(arena, held)
    alice = Identity(Kind.DEVICE, ALICE)
    rng = arena.rng("keys")
    shown: list[FrankingKey] = []

    def relay(call: Call[Any, Any], request: Any, reply: Any) -> Any:
        if call.method is REGISTER:
            shown.append(FrankingKey(request.franking_key, request.franking_key_signature))
        return reply

    held.device(ALICE, relay)
    judge = read_key(held.deployment.centre_keys / JUDGE_PUBLIC)
    own = rng.take(32)
    recipient = rng.take(32)
    for _ in range(2):
        report = made.report(alice, ALICE, BOB)
        proof = _proof(report, mode, own, judge, rng)
        yield Forgery(f"{mode}: own key", alice, replace(report, sender_proof=(proof,)))
    if mode is FrankingMode.DESIGNATED:
        report = made.report(alice, ALICE, BOB)
        proof = _by_recipient(report, amf.secret_key(recipient), judge, shown[0], rng)
        yield Forgery(f"{mode}: with the recipient", alice, replace(report, sender_proof=(proof,)))


def _proof(report: Report, mode: FrankingMode, by: bytes, judge: bytes, rng: Randomness) -> SenderProof:
    about = proven(report.opening[0].commitment)
    if mode is FrankingMode.SIGNATURE:
        return SenderProof(sign(by, about, rng.take(NONCE_LENGTH)), ())
    secret = amf.secret_key(by)
    keys = amf.Keys(amf.public_key(secret), amf.public_key(secret), judge)
    own = FrankingKey.signed(keys.sender, by, rng.take(NONCE_LENGTH))
    return SenderProof(amf.frank(secret, keys, about, rng), (keys.recipient,), (own,))


def _by_recipient(
    report: Report, secret: bytes, judge: bytes, sender: FrankingKey, rng: Randomness
) -> SenderProof:
    """Figure 5, RForge."""
    u, b, other = (sodium.reduce_scalar(rng.take(64)) for _ in range(3))
    keys = amf.Keys(sender.key, amf.public_key(secret), judge)
    mine = sodium.multiply(b, keys.recipient), sodium.multiply_base(b)
    elements = amf.Elements(sodium.multiply_base(u), sodium.multiply_base(other), *mine)
    witnesses = amf.Witness(u, True), amf.Witness(sodium.multiply_scalars(b, secret), True)
    about = proven(report.opening[0].commitment)
    return SenderProof(amf.prove(keys, elements, witnesses, about, rng), (keys.recipient,), (sender,))


TEXT: Final = "private words beside"


def _all_of_it(content: Content, *arguments: Any) -> Any:
    """What opens text and attachments, too: they stand in the places of their leaves."""
    shown = disclose(content, *arguments)
    opening = shown.opening
    text = content.text.encode().ljust(LEAF_LENGTH, b"\0")[:LEAF_LENGTH]
    digests = [one.digest for one in content.attachments[1:]]
    closed = (opening.closed[0], text, *sorted([*digests, *opening.closed[2 + len(digests) :]]))
    return replace(shown, opening=replace(opening, closed=closed))


@attack(
    "open-report",
    Means(frozenset({Party.CENTRE}), Conduct.SEMI_HONEST, "its key, and reports that are right", stolen=True),
    Claim("Of a reported message it learns sender, recipient, time and the matched picture"),
    budget="one report",
    weakness=replacing((franking, "disclose", _all_of_it)),
    needs=(needs.ENCRYPTED, needs.A_LIST, needs.TOLD, needs.SMALL),
    exposes="the rest of a reported message",
)
def read_report(arena: Arena) -> Figure:
    """Count what is found in a report of a text and of another attachment."""
    with loopback(arena, [drawn(1)]) as held:
        _ = held.device("bob")
        alice = held.device("alice")
        alice.device.send_picture("bob", drawn(1), TEXT)
        arena.progress(1, 2)
        (row,) = centre_list(held.deployment).reports
        folder = held.deployment.server(Party.CENTRE) / STATE / "reports"
        (sealed,) = (one for one in folder.rglob("*") if one.is_file())
        keys = CentreKeys.read(held.deployment.centre_keys)
        report = open_report(sealed.read_bytes(), row.report_id, keys.sealing)
        text = TEXT.encode() in report.encode().replace(report.picture, b"")
    rng = arena.rng("attachments")
    digests = [hashlib.sha256(rng.take(32)).digest() for _ in range(2)]
    refs = tuple(AttachmentRef(rng.take(16), rng.take(32), digest, 64, "image/png") for digest in digests)
    shown = franking.disclose(compose(TEXT, refs, now_ms(), rng), "alice", "bob", 0)
    other = digests[1] in shown.opening.encode()
    arena.progress(2, 2)
    return counted("parts beyond the match", {"text": (text, 1), "another attachment": (other, 1)})
