"""What a message bears of its sender's key in each mode, and that nothing less or else is taken."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import xeddsa
from blindmatch_client.errors import BundleRefusedError, MessengerError, NotFrankedError
from blindmatch_client.messenger.account import Account
from blindmatch_client.messenger.state import PreKeys
from blindmatch_proofs.franking import verify_designated, verify_signature
from blindmatch_proofs.verdict import Failed, Passed
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.codec.randomness import system_randomness
from blindmatch_protocol.crypto import amf
from blindmatch_protocol.crypto.hpke import public_key
from blindmatch_protocol.messages.content import compose
from blindmatch_protocol.messages.franking import FrankingMode, commit
from blindmatch_protocol.messages.sealed_message import (
    PROOF_LENGTHS,
    SMALL_ORDER,
    Curve25519Key,
    Franking,
    FrankingKey,
    SealedMessage,
    is_signed,
    sign,
)
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from msgspec.structs import replace
from nacl.bindings import crypto_scalarmult_ed25519_base_noclamp

JUDGE = amf.secret_key(b"j" * 32)
RNG = system_randomness()
STAMP = FrankingMode.STAMP
DESIGNATED = FrankingMode.DESIGNATED
SIGNATURE = FrankingMode.SIGNATURE


def franking(mode: FrankingMode) -> Franking:
    return Franking(mode, amf.public_key(JUDGE))


def account(name: str, mode: FrankingMode) -> Account:
    made = Account.create(name, 0, 4)
    made.frank(franking(mode))
    return made


def bundle(owner: Account) -> PreKeys:
    keys = owner.get_published_keys()
    return replace(keys, one_time=keys.one_time[:1])


def say(sender: Account, recipient: Account, text: str = "words") -> tuple[bytes, bytes]:
    """A sealed message, and its commitment."""
    content = compose(text, (), 17, RNG)
    sealed = sender.encrypt(recipient.name, content, bundle(recipient))
    return sealed, commit(content, sender.name, recipient.name)


def pair(mode: FrankingMode, other: FrankingMode | None = None) -> tuple[Account, Account]:
    return account("alice", mode), account("bob", other or mode)


@pytest.mark.parametrize("mode", FrankingMode)
def test_a_conversation_goes_both_ways_and_over_restarts_in_every_mode(mode: FrankingMode) -> None:
    alice, bob = pair(mode)
    for _ in range(2):
        for _ in range(2):
            assert bob.decrypt("alice", say(alice, bob)[0]).text == "words"
            assert alice.decrypt("bob", say(bob, alice, "back")[0]).text == "back"
        alice = Account.load(alice.dump())
        bob = Account.load(bob.dump())
        alice.frank(franking(mode)), bob.frank(franking(mode))


@pytest.mark.parametrize("sent", FrankingMode)
@pytest.mark.parametrize("wanted", FrankingMode)
def test_a_message_of_another_mode_is_refused_and_uses_nothing_up(
    sent: FrankingMode, wanted: FrankingMode
) -> None:
    alice, bob = pair(sent, wanted)
    sealed, _ = say(alice, bob)
    if sent is wanted:
        bob.decrypt("alice", sealed)
        return
    before = bob.dump()
    with pytest.raises(NotFrankedError):
        bob.decrypt("alice", sealed)
    assert bob.dump() == before


def another_commitments(franks: Account, commitment: bytes, key: tuple[bytes, ...]) -> bytes:
    return franks._franking.prove(bytes(32), key)


def another_accounts(franks: Account, commitment: bytes, key: tuple[bytes, ...]) -> bytes:
    return account("mallory", franks._franking._mode)._franking.prove(commitment, key)


def altered(franks: Account, commitment: bytes, key: tuple[bytes, ...]) -> bytes:
    proof = franks._franking.prove(commitment, key)
    return proof[:-1] + bytes([proof[-1] ^ 1])


@pytest.mark.parametrize("mode", [DESIGNATED, SIGNATURE])
@pytest.mark.parametrize("made", [another_commitments, another_accounts, altered])
def test_what_the_centre_would_refuse_the_recipient_does_and_uses_nothing_up(
    mode: FrankingMode, made: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A changed sender, whose proof has the right length, in the first message and in a later one."""
    alice, bob = pair(mode)
    for _ in range(2):
        with monkeypatch.context() as patch:
            honest = replaced(alice)
            patch.setattr(
                alice._franking, "prove", lambda commitment, key, of=honest: made(of, commitment, key)
            )
            sealed, _ = say(alice, bob)
        before = bob.dump()
        with pytest.raises(NotFrankedError):
            bob.decrypt("alice", sealed)
        assert bob.dump() == before
        bob.decrypt("alice", say(alice, bob)[0])
        alice.decrypt("bob", say(bob, alice)[0])


def replaced(one: Account) -> Account:
    """The same account, opened again."""
    made = Account.load(one.dump())
    made.frank(franking(one._franking._mode))
    return made


def test_bytes_on_the_wire_in_each_mode() -> None:
    """Of a text of 40 bytes: what a mode costs, in blocks of 256 bytes, first message and later ones."""
    found = {}
    for mode in FrankingMode:
        alice, bob = pair(mode)
        first, _ = say(alice, bob, "x" * 40)
        bob.decrypt("alice", first)
        alice.decrypt("bob", say(bob, alice)[0])
        later, _ = say(alice, bob, "x" * 40)
        found[mode] = [len(SealedMessage.decode(one).ciphertext) - 48 for one in (first, later)]
    assert found == {STAMP: [256, 256], SIGNATURE: [256, 256], DESIGNATED: [768, 512]}
    assert PROOF_LENGTHS == {STAMP: 0, SIGNATURE: 64, DESIGNATED: 352}


def test_a_signature_convinces_anybody_and_a_designated_proof_the_judge_alone() -> None:
    for mode in (SIGNATURE, DESIGNATED):
        alice, bob = pair(mode)
        sealed, commitment = say(alice, bob)
        bob.decrypt("alice", sealed)
        proof = alice.prove_sender("bob", commitment)
        assert proof is not None
        if mode is SIGNATURE:
            assert verify_signature(commitment, proof.proof, alice.identity) == Passed()
            assert isinstance(verify_signature(bytes(32), proof.proof, alice.identity), Failed)
            assert isinstance(verify_signature(commitment, proof.proof, bob.identity), Failed)
            continue
        assert verify_designated(commitment, proof, alice.identity, JUDGE) == Passed()
        other = amf.secret_key(b"o" * 32)
        for wrong in (
            verify_designated(commitment, proof, alice.identity, other),
            verify_designated(bytes(32), proof, alice.identity, JUDGE),
            verify_designated(commitment, proof, bob.identity, JUDGE),
            verify_designated(commitment, replace(proof, recipient_key=()), alice.identity, JUDGE),
            verify_designated(commitment, replace(proof, key=()), alice.identity, JUDGE),
            verify_designated(
                commitment, replace(proof, key=bob.get_published_keys().franking_key), alice.identity, JUDGE
            ),
            verify_designated(
                commitment, replace(proof, recipient_key=(amf.public_key(other),)), alice.identity, JUDGE
            ),
        ):
            assert isinstance(wrong, Failed)
    assert account("alice", STAMP).prove_sender("bob", bytes(32)) is None


def test_each_recipient_of_a_group_gets_a_proof_of_its_own() -> None:
    alice, bob = pair(DESIGNATED)
    carol = account("carol", DESIGNATED)
    proofs = {}
    for one in (bob, carol):
        sealed, commitment = say(alice, one)
        one.decrypt("alice", sealed)
        proofs[one.name] = commitment, alice.prove_sender(one.name, commitment)
    for commitment, proof in proofs.values():
        assert proof is not None
        assert verify_designated(commitment, proof, alice.identity, JUDGE) == Passed()
    swapped = proofs["bob"][0], proofs["carol"][1]
    assert swapped[1] is not None
    assert isinstance(verify_designated(*swapped, alice.identity, JUDGE), Failed)


@pytest.mark.parametrize("how", ["none", "the relay's", "unsigned", "no element"])
def test_a_relay_cannot_hand_out_another_franking_key(how: str) -> None:
    alice, bob = pair(DESIGNATED)
    (key,) = bob.get_published_keys().franking_key
    shown = {
        "none": (),
        "the relay's": account("bob", DESIGNATED).get_published_keys().franking_key,
        "unsigned": (replace(key, signature=bytes(64)),),
        "no element": (FrankingKey.signed(bytes(32), b"\1" * 32, bytes(64)),),
    }[how]
    handed = replace(bundle(bob), franking_key=shown)
    before = alice.dump()
    with pytest.raises((BundleRefusedError, NotFrankedError)):
        alice.encrypt("bob", compose("words", (), 17, RNG), handed)
    assert alice.dump() == before


def test_a_peer_with_another_identity_has_another_franking_key() -> None:
    """Whom the user trusts anew is not franked for under the key of before."""
    alice, bob = pair(DESIGNATED)
    bob.decrypt("alice", say(alice, bob)[0])
    new = account("bob", DESIGNATED)
    alice.trust("bob", new.identity)
    with pytest.raises(MessengerError):
        alice.prove_sender("bob", bytes(32))
    assert new.decrypt("alice", say(alice, new)[0]).text == "words"


def test_a_designated_mode_needs_a_judge() -> None:
    for judge in (b"", bytes(32), b"\xff" * 32):
        with pytest.raises(ProtocolError, match="field judge"):
            Franking(DESIGNATED, judge)


def test_no_secret_shows() -> None:
    alice = account("alice", DESIGNATED)
    alice.get_published_keys()
    assert "OwnFranking" in repr(alice._franking) and "0x" not in repr(alice._franking)


def test_a_signature_of_one_use_is_none_of_another() -> None:
    alice = account("alice", SIGNATURE)
    (key,) = alice.get_published_keys().franking_key
    assert not is_signed(alice.identity, key.key, key.signature), "tags keep the two apart"


def test_a_franking_key_is_an_element_however_it_is_signed() -> None:
    secret = b"i" * 32
    for key in (bytes(32), b"\xff" * 32):
        with pytest.raises(ProtocolError, match="element of ristretto255"):
            FrankingKey.signed(key, secret, bytes(64)).check_owner(public_key(secret))


def small_order_signature(identity: bytes, message: bytes) -> bytes:
    """A signature that nobody's secret made: one of a few tries is right."""
    public = xeddsa.curve25519_pub_to_ed25519_pub(identity, False)
    for one in range(1, 100):
        response = one.to_bytes(32, "little")
        made = crypto_scalarmult_ed25519_base_noclamp(response) + response
        if xeddsa.ed25519_verify(made, public, message):
            return made
    return bytes(64)


def test_an_identity_key_has_one_spelling() -> None:
    """X25519 ignores the top bit (RFC 7748, section 5), and so did what verifies signatures."""
    secret = b"i" * 32
    message = b"message"
    identity = public_key(secret)
    signature = sign(secret, message, bytes(64))
    other = identity[:31] + bytes([identity[31] | 0x80])
    assert is_signed(identity, message, signature) and not is_signed(other, message, signature)
    key = FrankingKey.signed(amf.public_key(JUDGE), secret, bytes(64))
    key.check_owner(identity)
    with pytest.raises(ProtocolError, match="signature"):
        key.check_owner(other)


@pytest.mark.parametrize("identity", sorted(SMALL_ORDER), ids=lambda key: key[:2].hex())
def test_nothing_is_signed_by_a_key_of_small_order(identity: bytes) -> None:
    assert not is_signed(identity, b"message", small_order_signature(identity, b"message"))
    with pytest.raises(ProtocolError, match="small order"):
        Curve25519Key().write(identity, "test", "key")
    with pytest.raises(ValueError, match="shared key"):  # it is of small order
        X25519PrivateKey.from_private_bytes(b"p" * 32).exchange(X25519PublicKey.from_public_bytes(identity))
