"""Where messages are franked, a report passes only with what the sender's own key made of its commitment."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import grpc
import pytest
from blindmatch_protocol.codec.randomness import system_randomness
from blindmatch_protocol.contract import Party
from blindmatch_protocol.crypto import amf
from blindmatch_protocol.crypto.hpke import public_key
from blindmatch_protocol.messages.franking import FrankingMode
from blindmatch_protocol.messages.report import Report
from blindmatch_protocol.messages.sealed_message import FrankingKey, SenderProof, proven, sign
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as wire
from blindmatch_server.centre.assessment import Check, Outcome
from blindmatch_server.centre.service import CentreConfig, open_centre
from msgspec.structs import replace

from .deployment import ALICE, Deployment, refused
from .scene import Scene

RNG = system_randomness()
ALICES, RELAYS, BOBS = (bytes([n]) * 32 for n in (1, 2, 3))
"""Private identity keys; the relay's is of its making."""
DESIGNATED = FrankingMode.DESIGNATED
SIGNATURE = FrankingMode.SIGNATURE


def franking_key(secret: bytes, identity: bytes) -> FrankingKey:
    """The franking key of one secret, which the holder of an identity key has signed."""
    return FrankingKey.signed(amf.public_key(amf.secret_key(secret)), identity, bytes(64))


def franked(scene: Scene, mode: FrankingMode, by: bytes, number: int = 1, own: bytes | None = None) -> Report:
    """A true report about message `number`, with a proof that the holder of `by` made, of the franking key
    of `own`."""
    report = scene.report(number)
    about = proven(report.opening[0].commitment)
    if mode is SIGNATURE:
        return replace(report, sender_proof=(SenderProof(sign(by, about, RNG.take(64)), ()),))
    secret = own or by
    key = franking_key(secret, by)
    recipient = franking_key(BOBS, BOBS).key
    keys = amf.Keys(key.key, recipient, amf.public_key(scene.keys.judge))
    proof = amf.frank(amf.secret_key(secret), keys, about, RNG)
    return replace(report, sender_proof=(SenderProof(proof, (recipient,), (key,)),))


@pytest.mark.parametrize("mode", [DESIGNATED, SIGNATURE])
def test_what_the_senders_key_made_passes(scene: Scene, mode: FrankingMode) -> None:
    found = scene.verifier(mode=mode).assess(
        scene.seal(franked(scene, mode, ALICES)), scene.report().report_id, ALICE, public_key(ALICES)
    )
    assert found.outcome == (Outcome.PASSED, "")


CHANGES: dict[str, Callable[[Scene, FrankingMode], Report]] = {
    "none": lambda scene, mode: scene.report(),
    "the provider's, without the device's key": lambda scene, mode: franked(scene, mode, RELAYS),
    "of another message": lambda scene, mode: replace(
        scene.report(), sender_proof=franked(scene, mode, ALICES, 2).sender_proof
    ),
    "of the other mode": lambda scene, mode: franked(
        scene, SIGNATURE if mode is DESIGNATED else DESIGNATED, ALICES
    ),
}


@pytest.mark.parametrize("mode", [DESIGNATED, SIGNATURE])
@pytest.mark.parametrize("how", CHANGES)
def test_anything_else_fails(scene: Scene, mode: FrankingMode, how: str) -> None:
    report = CHANGES[how](scene, mode)
    found = scene.verifier(mode=mode).assess(scene.seal(report), report.report_id, ALICE, public_key(ALICES))
    assert found.outcome[0] is Outcome.FAILED
    assert found.outcome[1].startswith("sender: ")


def test_the_centre_judges_by_a_franking_key_that_the_identity_key_signed(scene: Scene) -> None:
    """Whatever franking key the device told it: what a recipient takes, it takes."""
    report = franked(scene, DESIGNATED, ALICES, own=b"o" * 32)
    (proof,) = report.sender_proof
    keys = amf.Keys(proof.key[0].key, proof.recipient_key[0], amf.public_key(scene.keys.judge))
    assert amf.verify(amf.secret_key(BOBS), keys, proven(report.opening[0].commitment), proof.proof)
    found = scene.verifier(mode=DESIGNATED).assess(
        scene.seal(report), report.report_id, ALICE, public_key(ALICES)
    )
    assert found.outcome == (Outcome.PASSED, "")


@pytest.mark.parametrize("how", ["the relay's", "unsigned", "another message's", "none"])
def test_a_franking_key_that_the_identity_key_has_not_signed_is_not_judged_by(scene: Scene, how: str) -> None:
    report = franked(scene, DESIGNATED, ALICES, own=b"o" * 32)
    (proof,) = report.sender_proof
    keys = {
        "the relay's": (franking_key(b"o" * 32, RELAYS),),
        "unsigned": (replace(proof.key[0], signature=bytes(64)),),
        "another message's": (franking_key(ALICES, ALICES),),
        "none": (),
    }[how]
    report = replace(report, sender_proof=(replace(proof, key=keys),))
    found = scene.verifier(mode=DESIGNATED).assess(
        scene.seal(report), report.report_id, ALICE, public_key(ALICES)
    )
    assert found.outcome[0] is Outcome.FAILED
    assert found.outcome[1].startswith("sender: ")


def test_a_device_that_never_said_its_key_is_not_judged_by_what_others_say(scene: Scene) -> None:
    report = franked(scene, SIGNATURE, ALICES)
    found = scene.verifier(mode=SIGNATURE).assess(scene.seal(report), report.report_id, ALICE)
    assert found.outcome == (
        Outcome.UNAVAILABLE,
        "sender: the sender's device never said which key it has",
    )
    assert str(Check.SENDER) == "sender"


def said(identity: bytes, nonce: bytes = bytes(64)) -> wire.CentreKeyRequest:
    key = FrankingKey.signed(franking_key(identity, identity).key, identity, nonce)
    return wire.CentreKeyRequest(
        identity_key=public_key(identity), franking_key=key.key, franking_key_signature=key.signature
    )


async def test_a_device_says_its_key_once_and_then_its_reports_are_judged_by_it(scene: Scene) -> None:
    deployment = Deployment()
    config = CentreConfig(
        scene.directory / "state",
        scene.directory / "keys",
        scene.verifier().deployed,
        scene.references,
        franking=SIGNATURE,
    )
    services = partial(open_centre, config)
    async with deployment.serving(Party.CENTRE, services, ALICE) as (alice,):
        for nonce in (bytes(64), bytes(64), b"n" * 64):
            assert (await alice.one("Centre/Key", said(ALICES, nonce))).public_key == scene.keys.public_key
        code, text, _ = await refused(alice.one("Centre/Key", said(RELAYS)))
        assert (code, "identity_key" in text) == (grpc.StatusCode.ALREADY_EXISTS, True)
        assert "another one was named first under this account's name" in text
        spelled = said(ALICES)
        spelled.identity_key = spelled.identity_key[:31] + bytes([spelled.identity_key[31] | 0x80])
        code, text, _ = await refused(alice.one("Centre/Key", spelled))
        assert (code, "identity_key" in text) == (grpc.StatusCode.INVALID_ARGUMENT, True)
        wrong = said(ALICES)
        wrong.franking_key_signature = bytes(64)
        code, text, _ = await refused(alice.one("Centre/Key", wrong))
        assert (code, "signature" in text) == (grpc.StatusCode.INVALID_ARGUMENT, True)
