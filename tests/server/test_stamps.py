"""The relay stamps what it has taken, and a report without its right stamp fails."""

from __future__ import annotations

import hmac
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
from blindmatch_client.messenger.account import Account
from blindmatch_proofs.report_evidence import ReportEvidence
from blindmatch_protocol.codec.randomness import system_randomness
from blindmatch_protocol.contract import Party
from blindmatch_protocol.messages.content import compose
from blindmatch_protocol.messages.franking import Stamp, Stamped, commit
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as wire
from blindmatch_server.centre.assessment import Check, Outcome
from blindmatch_server.centre.notices import not_shown
from blindmatch_server.relay.service import RelayConfig, open_relay
from blindmatch_simulations.cli.proof import says
from msgspec.structs import replace

from .deployment import ALICE, BOB, Deployment, refused
from .scene import OTHER, Scene, message

KEY = bytes(range(32))


def sealed_message(text: str) -> tuple[bytes, bytes]:
    """A message of Alice's to Bob as the relay gets it, and its commitment."""
    alice = Account.create("alice", 0)
    bob = Account.create("bob", 0, one_time=1).get_published_keys()
    content = compose(text, (), 17, system_randomness())
    return alice.encrypt("bob", content, bob), commit(content, "alice", "bob")


def test_a_stamp_is_the_documented_hmac() -> None:
    about = Stamped(b"c" * 32, "alice", "bob", b"i" * 16, 258)
    names = b"\0\0\0\x05alice" + b"\0\0\0\x03bob"
    told = b"\xa1" + b"c" * 32 + names + b"i" * 16 + bytes(6) + b"\x01\x02"
    assert about.mac(KEY) == hmac.digest(KEY, b"blindmatch/franking/stamp/v1" + told, "sha256")


async def test_sender_and_recipient_get_one_stamp_and_a_second_message_under_the_id_is_refused(
    tmp_path: Path,
) -> None:
    deployment = Deployment()
    first, commitment = sealed_message("a")
    second, _ = sealed_message("b")
    config = RelayConfig(tmp_path, stamp_key=KEY)
    services = partial(open_relay, config)
    async with deployment.serving(Party.PROVIDER, services, ALICE, BOB) as (alice, bob):
        keys = wire.RegisterRequest(
            identity_key=b"b" * 32, signed_pre_key=b"s" * 32, signed_pre_key_signature=bytes(64)
        )
        await bob.one("Relay/Register", keys)
        send = wire.SendRequest(recipient="bob", message_id=b"i" * 16, sealed=first)
        reply = await alice.one("Relay/Send", send)
        about = Stamped(commitment, "alice", "bob", b"i" * 16, reply.accepted_at_ms)
        assert reply.stamp == about.mac(KEY)
        assert reply.group_stamp == replace(about, recipient="").mac(KEY) != reply.stamp
        assert await alice.one("Relay/Send", send) == reply
        send.sealed = second
        code, _, _ = await refused(alice.one("Relay/Send", send))
        assert code == grpc.StatusCode.ALREADY_EXISTS, "no stamp on what is not delivered"
        (came,) = await bob.all("Relay/Receive", wire.ReceiveRequest())
        assert (came.message_id, came.stamp, came.accepted_at_ms) == (
            b"i" * 16,
            reply.stamp,
            reply.accepted_at_ms,
        )
        send.message_id = bytes(16)
        send.sealed = b"no sealed message"
        assert (await alice.one("Relay/Send", send)).stamp == b"", "nothing to stamp"


def test_the_centre_shows_when_the_relay_took_the_message(scene: Scene) -> None:
    facts = scene.assess(scene.report()).facts
    assert (facts.sent_at_ms, facts.stamped_at_ms) == (17, 18)


def changed(scene: Scene, how: str) -> Any:
    """A true report with something wrong about its stamp."""
    report = scene.report()
    (stamp,) = report.stamp
    another = scene.report(2)
    by_another = Stamped(report.opening[0].commitment, "alice", "bob", stamp.message_id, 18).mac(KEY)
    return {
        "none": replace(report, stamp=()),
        "forged": replace(report, stamp=(replace(stamp, mac=bytes(32)),)),
        "with another key": replace(report, stamp=(replace(stamp, mac=by_another),)),
        "moved from another message": replace(report, stamp=another.stamp),
        "moved to another recipient": replace(scene.report(recipient="carol"), stamp=report.stamp),
        "under another id": replace(report, stamp=(replace(stamp, message_id=bytes(16)),)),
        "back-dated": replace(report, stamp=(replace(stamp, accepted_at_ms=17),)),
    }[how]


CHANGES = [
    "none",
    "forged",
    "with another key",
    "moved from another message",
    "moved to another recipient",
    "under another id",
    "back-dated",
]


@pytest.mark.parametrize("how", CHANGES)
def test_a_report_whose_stamp_is_not_the_relays_on_this_message_fails(scene: Scene, how: str) -> None:
    report = changed(scene, how)
    assessment = scene.assess(report)
    assert assessment.outcome[0] is Outcome.FAILED
    assert assessment.outcome[1].startswith("franking: " if "recipient" in how else "stamp: ")
    assert assessment.facts.stamped_at_ms == 0


def test_one_commitment_has_no_second_content(scene: Scene) -> None:
    """Whoever knows the franking key opens the stamped commitment to another picture, and fails."""
    report = scene.report()
    other = message(1, OTHER).opening
    (opening,) = report.opening
    swapped = replace(report, picture=OTHER, opening=(replace(other, commitment=opening.commitment),))
    assert str(scene.assess(swapped).verdicts[Check.FRANKING]).startswith("Failed")
    assert scene.assess(replace(report, picture=OTHER)).outcome[0] is Outcome.FAILED


def test_a_stamp_has_one_encoding() -> None:
    stamp = Stamp(b"i" * 16, 1 << 63, b"m" * 32)
    assert Stamp.decode(stamp.encode()) == stamp
    assert len(stamp.encode()) == 57


def test_a_report_of_a_message_to_several_names_none_and_passes(scene: Scene) -> None:
    shown = message(named=False)
    opening = shown.opening
    report = scene.report(recipient=shown.recipient, opening=(opening,))
    assert report.recipient == ""
    assessment = scene.assess(report)
    assert assessment.outcome == (Outcome.PASSED, "") and assessment.facts.recipient == ""
    named = scene.report()
    for forged in (
        replace(named, recipient=""),
        replace(report, recipient="bob"),
        replace(report, stamp=named.stamp),
        replace(report, opening=named.opening),
    ):
        assert scene.assess(forged).outcome[0] is Outcome.FAILED


def test_that_an_unnamed_recipient_was_one_of_several_is_not_shown_and_nothing_says_so(scene: Scene) -> None:
    """A changed device reports a message to bob alone like one to several; it passes."""
    shown = message(recipient="bob", named=False)
    opening = shown.opening
    report = scene.report(recipient=shown.recipient, opening=(opening,))
    assert scene.assess(report).outcome == (Outcome.PASSED, "")
    assert "where no recipient is named, that it went to several" in not_shown("alice")
    assert "several" not in says(ReportEvidence(report, "stamp", (), (), b"", ()))
