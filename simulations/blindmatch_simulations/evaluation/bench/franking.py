"""`blindmatch bench accountability`: what stamp, designated franking and signature cost, at both ends."""

from __future__ import annotations

from typing import Final

from blindmatch_client.messenger import Account, FetchedBundle
from blindmatch_proofs.franking import verify_designated, verify_signature, verify_stamp
from blindmatch_proofs.verdict import Passed, Verdict
from blindmatch_protocol.codec.randomness import system_randomness
from blindmatch_protocol.crypto import amf
from blindmatch_protocol.messages.content import compose
from blindmatch_protocol.messages.franking import FrankingMode, Stamp, Stamped, commit
from blindmatch_protocol.messages.sealed_message import PROOF_LENGTHS, Franking, SealedMessage

from blindmatch_simulations.evaluation.bench.messages_worker import TEXT
from blindmatch_simulations.measure.meter import Meter, expect

SENDER, RECIPIENT = "alice", "bob"
MESSAGES: Final = 20
"""Texts of one repetition."""


def bench_franking(meter: Meter) -> None:
    """Measure each mode by itself, and a text sealed and opened in each."""
    _stamp(meter)
    for mode in FrankingMode:
        _mode(meter, mode)


def _stamp(meter: Meter) -> None:
    rng = system_randomness()
    key, commitment, name = rng.take(32), rng.take(32), rng.take(16)
    about = Stamped(commitment, SENDER, RECIPIENT, name, 1)
    stamp = Stamp(name, 1, about.mac(key))
    sealed = _sealed(FrankingMode.STAMP)

    def made() -> bytes:
        read = SealedMessage.decode(sealed).commitment
        return Stamped(read, SENDER, RECIPIENT, name, 1).mac(key)

    meter.time("franking/relay", made)

    def verified() -> None:
        _passed(verify_stamp(stamp, commitment, SENDER, RECIPIENT, key))

    meter.time("franking/stamp", verified)


def _mode(meter: Meter, mode: FrankingMode) -> None:
    """A text from one end to the other; then what sender, recipient and centre do of it for the mode."""
    alice, bob = _pair(mode)

    def talk() -> None:
        for _ in range(MESSAGES):
            bob.decrypt(SENDER, alice.encrypt(RECIPIENT, compose(TEXT, (), 1, system_randomness())))

    meter.time("franking/text", talk, count=MESSAGES, mode=mode)
    sealed = alice.encrypt(RECIPIENT, compose(TEXT, (), 1, system_randomness()))
    meter.record("franking/size", {"bytes": len(sealed)}, mode=mode, proof_bytes=PROOF_LENGTHS[mode])
    if mode is FrankingMode.STAMP:
        return
    commitment = commit(compose(TEXT, (), 1, system_randomness()), SENDER, RECIPIENT)
    proof = alice.sender_proof(RECIPIENT, commitment)
    assert proof is not None
    meter.time("franking/prove", lambda: alice.sender_proof(RECIPIENT, commitment), mode=mode)

    def judged() -> None:
        if mode is FrankingMode.SIGNATURE:
            _passed(verify_signature(commitment, proof.proof, alice.identity))
        else:
            _passed(verify_designated(commitment, proof, alice.identity, _JUDGE))

    meter.time("franking/centre", judged, mode=mode)


def _passed(found: Verdict) -> None:
    expect(found == Passed(), "a right proof was refused")


def _pair(mode: FrankingMode) -> tuple[Account, Account]:
    """Two accounts with a session that was answered."""
    alice, bob = (Account.create(name, 1, 1) for name in (SENDER, RECIPIENT))
    for account in (alice, bob):
        account.frank(Franking(mode, amf.public_key(_JUDGE)))
    keys, rng = bob.published(), system_randomness()
    shown = keys.one_time, (keys.franking_key,)
    bundle = FetchedBundle(keys.identity, keys.signed_pre_key, keys.signature, *shown)
    bob.decrypt(SENDER, alice.encrypt(RECIPIENT, compose(TEXT, (), 1, rng), bundle))
    alice.decrypt(RECIPIENT, bob.encrypt(SENDER, compose(TEXT, (), 1, rng)))
    return alice, bob


def _sealed(mode: FrankingMode) -> bytes:
    return _pair(mode)[0].encrypt(RECIPIENT, compose(TEXT, (), 1, system_randomness()))


_JUDGE: Final = bytes([7]) + bytes(31)
"""A scalar: whose does not matter for time."""
