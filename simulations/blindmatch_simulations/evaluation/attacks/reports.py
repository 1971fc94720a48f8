"""What a report proves, and what it shows.

framed-sender   the provider reports a message of Alice's that she never sent, in modes that ask for her key
    own key             a key that it calls hers made the proof
    with the recipient  the recipient's own forgery, which convinces the recipient alone (amf.py, RForge)
open-report     a centre reads in a report more of the message than the matched picture

The provider stamps what it likes, and has a certificate in her name; what it lacks is her device's key, which
her device has named to the centre. Had it named one of its own before her, that one would count: not claimed.
The centre opens the report with its own key, as it must, and looks for the message's text and for the digest
of an attachment that did not match.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any, Final

from blindmatch_client.egress import Call
from blindmatch_client.egress.calls import REGISTER
from blindmatch_proofs.verdict import Passed
from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.contract import Adversary as Conduct
from blindmatch_protocol.contract import Party
from blindmatch_protocol.crypto import amf
from blindmatch_protocol.group import single
from blindmatch_protocol.messages import franking
from blindmatch_protocol.messages.content import AttachmentRef, Content, compose
from blindmatch_protocol.messages.franking import LEAF_LENGTH, FrankingMode, disclose
from blindmatch_protocol.messages.report import Report, open_report
from blindmatch_protocol.messages.sealed_message import NONCE_LENGTH, FrankingKey, SenderProof, proven, sign
from blindmatch_server.centre import verify
from blindmatch_server.centre.keys import JUDGE_PUBLIC, CentreKeys
from blindmatch_server.hosting.authority import Identity, Kind
from blindmatch_server.storage.key_files import read_key
from msgspec.structs import replace

from blindmatch_simulations.evaluation.attacks.adversary import Claim, Means, replacing
from blindmatch_simulations.evaluation.attacks.arena import Arena, attack
from blindmatch_simulations.evaluation.attacks.figure import Figure, counted
from blindmatch_simulations.evaluation.attacks.framing import (
    AGAIN,
    ALICE,
    BOB,
    PICTURE,
    Forgery,
    Reports,
    passed,
)
from blindmatch_simulations.evaluation.attacks.loopback import Loopback, drawn, loopback
from blindmatch_simulations.evaluation.attacks.needs import A_LIST, ANY_ONE, ENCRYPTED, SMALL, TOLD
from blindmatch_simulations.testbed.deployment.devices import now_ms
from blindmatch_simulations.testbed.deployment.hosting import STATE
from blindmatch_simulations.testbed.deployment.operators import centre_list


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
    needs=(ENCRYPTED, A_LIST, TOLD, SMALL, ANY_ONE),
)
def framed_sender(arena: Arena) -> Figure:
    """Count the reports that pass every check, by mode and case."""
    cases: dict[str, tuple[int, int]] = {}
    for mode in (FrankingMode.DESIGNATED, FrankingMode.SIGNATURE):
        with loopback(arena, [drawn(PICTURE)], franking=mode) as held:
            cases |= passed(arena, held, list(_forged(arena, held, mode)))
    return counted("reports that passed", cases)


def _forged(arena: Arena, held: Loopback, mode: FrankingMode) -> Iterator[Forgery]:
    made, alice, rng = Reports(arena, held), Identity(Kind.DEVICE, ALICE), arena.rng("keys")
    shown: list[FrankingKey] = []

    def relay(call: Call[Any, Any], request: Any, reply: Any) -> Any:
        if call.method is REGISTER:
            shown.append(FrankingKey(request.franking_key, request.franking_key_signature))
        return reply

    held.device(ALICE, relay)
    judge, own, recipient = read_key(held.deployment.centre_keys / JUDGE_PUBLIC), rng.take(32), rng.take(32)
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
    u, b, other = (single.reduce_scalar(rng.take(64)) for _ in range(3))
    keys = amf.Keys(sender.key, amf.public_key(secret), judge)
    mine = single.multiply(b, keys.recipient), single.multiply_base(b)
    elements = amf.Elements(single.multiply_base(u), single.multiply_base(other), *mine)
    witnesses = amf.Witness(u, True), amf.Witness(single.multiply_scalars(b, secret), True)
    about = proven(report.opening[0].commitment)
    return SenderProof(amf.prove(keys, elements, witnesses, about, rng), (keys.recipient,), (sender,))


TEXT: Final = "private words beside"


def _all_of_it(content: Content, *arguments: Any) -> Any:
    """What opens text and attachments, too: they stand in the places of their leaves."""
    shown, opening = disclose(content, *arguments)
    text = content.text.encode().ljust(LEAF_LENGTH, b"\0")[:LEAF_LENGTH]
    digests = [one.digest for one in content.attachments[1:]]
    closed = (opening.closed[0], text, *sorted([*digests, *opening.closed[2 + len(digests) :]]))
    return shown, replace(opening, closed=closed)


@attack(
    "open-report",
    Means(frozenset({Party.CENTRE}), Conduct.SEMI_HONEST, "its key, and reports that are right"),
    Claim("Of a reported message it learns sender, recipient, time and the matched picture"),
    budget="one report",
    weakness=replacing((franking, "disclose", _all_of_it)),
    needs=(ENCRYPTED, A_LIST, TOLD, SMALL),
)
def read_report(arena: Arena) -> Figure:
    """Count what is found in a report of a text and of another attachment."""
    with loopback(arena, [drawn(1)]) as held:
        _, alice = held.device("bob"), held.device("alice")
        alice.device.send_picture("bob", drawn(1), TEXT)
        arena.progress(1, 2)
        text = TEXT.encode() in _opened(held)
    other = _other_attachment(arena)
    arena.progress(2, 2)
    return counted("parts beyond the match", {"text": (text, 1), "another attachment": (other, 1)})


def _opened(held: Loopback) -> bytes:
    """The one report at the centre, opened, less its picture."""
    (row,) = centre_list(held.deployment).reports
    folder = held.deployment.server(Party.CENTRE) / STATE / "reports"
    (sealed,) = (one for one in folder.rglob("*") if one.is_file())
    keys = CentreKeys.read(held.deployment.centre_keys)
    report = open_report(sealed.read_bytes(), row.report_id, keys.sealing)
    return report.encode().replace(report.picture, b"")


def _other_attachment(arena: Arena) -> bool:
    """Does what is opened for the first attachment show the second one's digest?"""
    rng = arena.rng("attachments")
    digests = [hashlib.sha256(rng.take(32)).digest() for _ in range(2)]
    refs = tuple(AttachmentRef(rng.take(16), rng.take(32), digest, 64, "image/png") for digest in digests)
    _, opening = franking.disclose(compose(TEXT, refs, now_ms(), rng), "alice", "bob", 0)
    return digests[1] in opening.encode()
