"""What a role with the list in the clear makes of what it is sent: partial-hash and third-party."""

from __future__ import annotations

import numpy as np
import pytest
from blindmatch_protocol.codec.errors import ProtocolError, SetFileError, UnopenedError
from blindmatch_protocol.codec.randomness import seeded
from blindmatch_protocol.contract import (
    UNBOUND,
    Adversary,
    Label,
    Match,
    NoMatch,
    NoState,
    Party,
    Request,
    Send,
    SetParameters,
    batches_of,
    concluded,
)
from blindmatch_protocol.contract.design import told
from blindmatch_protocol.crypto import hpke
from blindmatch_protocol.designs import partial_hash, third_party
from blindmatch_protocol.designs.hash_upload import MATCHER, Compared
from blindmatch_protocol.designs.partial_hash import FORM_BYTES, Form
from blindmatch_protocol.designs.third_party import THIRD, Ask, Asked, Found, answered_with, check_signature
from blindmatch_protocol.sets.plain_list import LIST_FILE, write_list
from blindmatch_simulations.testbed.pictures.pool import picture
from msgspec.structs import replace
from support.memory import Held, MemoryWorkspace, held, random_hashes

PARTIAL = partial_hash.DESIGN
SEALED = third_party.DESIGN
RNG = seeded("test")


def sent(listed: Held, number: int) -> Send[third_party.Waiting]:
    step = SEALED.start(NoState(), listed.setup, picture(number), UNBOUND, RNG).step
    assert isinstance(step, Send)
    return step


def replied(listed: Held, body: Ask) -> Found | ProtocolError:
    (reply,) = SEALED.answer(THIRD, listed.states[THIRD], [Request(body)], RNG, None).replies
    assert isinstance(reply, Found | ProtocolError)
    return reply


@pytest.fixture(scope="module")
def listed() -> Held:
    own = np.frombuffer(picture(1).hash, np.uint8).reshape(1, 32)
    return held(SEALED, np.concatenate([random_hashes(30), own]))


def test_the_server_makes_of_the_coefficients_the_very_hash() -> None:
    own = np.frombuffer(picture(1).hash, np.uint8).reshape(1, 32)
    known = held(PARTIAL, np.concatenate([random_hashes(30), own]))
    for number, matched in ((1, True), (2, False)):
        step = PARTIAL.start(NoState(), known.setup, picture(number), UNBOUND, RNG).step
        assert isinstance(step, Send)
        (body,) = step.bodies.values()
        assert PARTIAL.asked(body) == picture(number).hash
        reply, verdict = PARTIAL.judged(known.states[MATCHER], body)
        assert isinstance(reply, Compared) and reply.matched is matched is (verdict.label is not None)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_coefficients_that_are_no_numbers_are_refused(value: float) -> None:
    raw = np.full(256, value, "<f4").tobytes()
    with pytest.raises(ProtocolError, match="field coefficients: must be finite numbers"):
        Form.decode(bytes([Form.TAG]) + raw + b"\x64")
    assert Form.decode(Form(bytes(FORM_BYTES), 100).encode()).quality == 100


def test_a_third_party_answers_alike_whatever_it_found(listed: Held) -> None:
    lengths = set()
    outcomes = []
    for number in (1, 2):
        step = sent(listed, number)
        body = step.bodies[THIRD]
        reply = replied(listed, step.bodies[THIRD])  # type: ignore[arg-type]
        assert isinstance(reply, Found)
        lengths.add((len(body.encode()), len(reply.encode())))
        end = SEALED.receive(step.session, listed.setup, {THIRD: reply}, RNG)
        outcomes.append(type(concluded(SEALED, end, listed.setup).outcome))  # type: ignore[union-attr]
    assert len(lengths) == 1 and outcomes == [Match, NoMatch]


def test_what_the_provider_carries_shows_no_hash_and_is_new_each_time(listed: Held) -> None:
    bodies = [sent(listed, 1).bodies[THIRD].encode() for _ in range(2)]
    assert bodies[0] != bodies[1]
    assert not any(picture(1).hash[:4] in body for body in bodies)
    assert SEALED.unsealed(THIRD, listed.states[THIRD], Ask.decode(bodies[0])).hash == picture(1).hash


def test_a_request_for_another_epoch_or_another_third_party_is_refused(listed: Held) -> None:
    asked = Asked(picture(1).hash, 100, bytes(32)).encode()
    for epoch, key in ((2, listed.setup.sealing), (1, hpke.public_key(b"\x05" * 32))):
        info = third_party.SEAL_INFO + epoch.to_bytes(8, "big")
        reply = replied(listed, Ask(hpke.seal(key, info, asked, b"\x07" * 32)))
        assert isinstance(reply, ProtocolError) and "for epoch 1" in str(reply)


def test_a_reply_under_another_key_is_refused(listed: Held) -> None:
    step = sent(listed, 1)
    reply = answered_with(listed.states[THIRD].nothing, bytes(32))
    with pytest.raises(UnopenedError, match="with the key that was sent"):
        SEALED.receive(step.session, listed.setup, {THIRD: reply}, RNG)


def test_a_listed_label_of_another_picture_is_refused(listed: Held) -> None:
    step = sent(listed, 2)
    reply = answered_with(listed.states[THIRD].listed.label(3), step.session.reply_key)
    with pytest.raises(ProtocolError, match="within 31 bits"):
        SEALED.receive(step.session, listed.setup, {THIRD: reply}, RNG)


def test_every_label_is_signed_and_none_other_is_taken(listed: Held) -> None:
    state = listed.states[THIRD]
    labels = [state.nothing, *(state.listed.label(row) for row in range(31))]
    for label in labels:
        check_signature(label, listed.setup)
        altered: tuple[Label, ...] = (
            replace(label, salt=b"\x01" * 16),
            replace(label, entry_id=label.entry_id + 1),
            replace(label, signatures=bytes(64)),
            replace(label, signatures=b""),
        )
        for other in altered:
            with pytest.raises(ProtocolError, match="must be signed for this epoch"):
                check_signature(other, listed.setup)
    with pytest.raises(ProtocolError, match="must be signed"):
        check_signature(labels[1], replace(listed.setup, epoch=2))


def test_a_third_party_with_an_unsigned_list_does_not_start() -> None:
    out = MemoryWorkspace()
    hashes = random_hashes(5)
    source = batches_of(hashes, np.arange(1, 6, dtype=np.uint64), np.ones((5, 16), np.uint8))
    SEALED.publish(source, SetParameters(1, {}), RNG, None, out)
    del out.created[LIST_FILE]
    write_list(SEALED.info, source, SetParameters(1, {}), out, lambda done, total: None)
    files = out.files()
    with pytest.raises(SetFileError, match="labels are not signed"):
        SEALED.open_role(THIRD, files)


def test_a_key_that_nothing_can_be_sealed_to_is_refused_before_it_is_used(listed: Held) -> None:
    SEALED.check_setup(listed.setup)
    with pytest.raises(SetFileError, match="nothing can be sealed"):
        SEALED.check_setup(replace(listed.setup, sealing=bytes(32)))


def test_a_provider_that_asks_for_itself_learns_what_is_listed_as_is_declared(listed: Held) -> None:
    """The third party cannot tell the provider's own request from one that it carries."""
    for number, expected in ((1, Match), (2, NoMatch)):
        step = sent(listed, number)
        reply = replied(listed, step.bodies[THIRD])  # type: ignore[arg-type]
        end = SEALED.receive(step.session, listed.setup, {THIRD: reply}, RNG)  # type: ignore[dict-item]
        assert isinstance(concluded(SEALED, end, listed.setup).outcome, expected)  # type: ignore[union-attr]
    provider = frozenset({Party.PROVIDER})
    names = {how: [fact.name for fact in told(SEALED, provider, how)] for how in Adversary}
    assert names == {Adversary.SEMI_HONEST: ["query_time"], Adversary.MALICIOUS: ["query_time", "any_hash"]}


def test_a_carrier_gains_nothing_by_replaying_swapping_or_replacing(listed: Held) -> None:
    alice = sent(listed, 1)
    bob = sent(listed, 2)
    bodies = [step.bodies[THIRD] for step in (alice, bob)]
    to_alice, to_bob = (replied(listed, body) for body in bodies)  # type: ignore[arg-type]
    assert replied(listed, bodies[0]) == to_alice, "a nonce is used for one plaintext"  # type: ignore[arg-type]
    for step, other in ((alice, to_bob), (bob, to_alice), (sent(listed, 1), to_alice)):
        with pytest.raises(UnopenedError, match="with the key that was sent"):
            SEALED.receive(step.session, listed.setup, {THIRD: other}, RNG)  # type: ignore[dict-item]
    raw = bytes(bodies[0].sealed)  # type: ignore[attr-defined]
    for at in range(0, len(raw), 9):
        altered = raw[:at] + bytes([raw[at] ^ 0x10]) + raw[at + 1 :]
        assert isinstance(replied(listed, Ask(altered)), ProtocolError)
    small = (0, 1, 2**255 - 20, 2**255 - 19, 2**255 - 18)
    for point in small:
        assert isinstance(replied(listed, Ask(point.to_bytes(32, "little") + raw[32:])), ProtocolError)
