"""RFC 9497 with ristretto255-SHA512: its vectors, its properties, a second implementation, bad input."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blindmatch_protocol import group
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.codec.randomness import Randomness, replayed, system_randomness
from blindmatch_protocol.crypto import dleq, oprf
from blindmatch_protocol.crypto.oprf import Evaluation, Mode, PublicKey, SecretKey
from hypothesis import given, settings
from hypothesis import strategies as st
from support.reference import derived_key, expand_message_xmd
from voprf import ristretto as peer

VECTORS = Path(__file__).parents[1] / "vectors" / "rfc9497-ristretto255-sha512.json"
FILE_FIELDS = {"source", "seed", "key_info", "oprf", "voprf"}
MODE_FIELDS = {"mode", "secret_key", "vectors"}
CASE_FIELDS = {"input", "blind", "blinded_element", "evaluation_element", "output"}
PROOF_FIELDS = {"proof_random_scalar", "proof"}

RNG = system_randomness()
inputs_of_any_kind = st.lists(st.binary(max_size=200), min_size=1, max_size=4)
modes = st.sampled_from(Mode)


def load() -> dict[str, Any]:
    """The vector file; fails for a field this test would leave unchecked."""
    content: dict[str, Any] = json.loads(VECTORS.read_text())
    assert set(content) == FILE_FIELDS
    assert set(content["oprf"]) == MODE_FIELDS
    assert set(content["voprf"]) == MODE_FIELDS | {"public_key"}
    assert all(set(case) == CASE_FIELDS for case in content["oprf"]["vectors"])
    assert all(set(case) == CASE_FIELDS | PROOF_FIELDS for case in content["voprf"]["vectors"])
    return content


RFC = load()
CASES = [(mode, case) for mode in Mode for case in RFC[mode.name.lower()]["vectors"]]


def rows(values: list[str]) -> Rows:
    return np.frombuffer(bytes.fromhex("".join(values)), np.uint8).reshape(len(values), -1)


def scalar_tape(*scalars: str) -> Randomness:
    """Randomness that `random_scalars` reduces to just these scalars."""
    return replayed(b"".join(bytes.fromhex(scalar) + bytes(32) for scalar in scalars))


def rfc_key(mode: Mode) -> SecretKey:
    return derived_key(bytes.fromhex(RFC["seed"]), bytes.fromhex(RFC["key_info"]), mode)


def run(key: SecretKey, inputs: list[bytes], executor: ThreadPoolExecutor | None = None) -> Rows:
    state, blinded = oprf.blind(inputs, key.mode, RNG, executor)
    evaluation = oprf.blind_evaluate(key, blinded, RNG, executor)
    outputs = oprf.finalize(state, evaluation, verifier(key))
    if (public := verifier(key)) is not None:
        oprf.verified(state, evaluation, public, executor)
    assert np.array_equal(oprf.unblind(state, evaluation.elements, executor), outputs)
    return outputs


def verifier(key: SecretKey) -> PublicKey | None:
    return key.public if key.mode is Mode.VOPRF else None


@pytest.fixture(scope="module")
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


@pytest.mark.parametrize("mode", Mode)
def test_the_key_pair_is_the_one_of_rfc_9497(mode: Mode) -> None:
    expected = RFC[mode.name.lower()]
    assert expected["mode"] == mode
    assert rfc_key(mode).reveal().hex() == expected["secret_key"]
    assert mode is Mode.OPRF or rfc_key(mode).public.element.hex() == expected["public_key"]


@pytest.mark.parametrize(("mode", "case"), CASES)
def test_every_step_gives_the_bytes_of_rfc_9497(mode: Mode, case: dict[str, Any]) -> None:
    key = rfc_key(mode)
    inputs = [bytes.fromhex(value) for value in case["input"]]
    state, blinded = oprf.blind(inputs, mode, scalar_tape(*case["blind"]))
    assert np.array_equal(blinded, rows(case["blinded_element"]))
    nonce = [case["proof_random_scalar"]] if mode is Mode.VOPRF else []
    evaluation = oprf.blind_evaluate(key, blinded, scalar_tape(*nonce))
    assert np.array_equal(evaluation.elements, rows(case["evaluation_element"]))
    assert evaluation.proof.hex() == case.get("proof", "")
    assert np.array_equal(oprf.finalize(state, evaluation, verifier(key)), rows(case["output"]))
    assert np.array_equal(oprf.evaluate(key, inputs), rows(case["output"]))


# RFC 9380, appendix K.3
EXPANDED = [
    (b"", "6b9a7312411d92f921c6f68ca0b6380730a1a4d982c507211a90964c394179ba"),
    (b"abc", "0da749f12fbe5483eb066a5f595055679b976e93abe9be6f0f6318bce7aca8dc"),
    (b"abcdef0123456789", "087e45a86e2939ee8b91100af1583c4938e0f5fc6c9db4b107b83346bc967f58"),
    (
        b"",
        "41b037d1734a5f8df225dd8c7de38f851efdb45c372887be655212d07251b921b052b62eaed99b46f72f2ef4cc96bfaf"
        "254ebbbec091e1a3b9e4fb5e5b619d2e0c5414800a1d882b62bb5cd1778f098b8eb6cb399d5d9d18f5d5842cf5d13d7e"
        "b00a7cff859b605da678b318bd0e65ebff70bec88c753b159a805d2c89c55961",
    ),
]


@pytest.mark.parametrize(("message", "expanded"), EXPANDED)
def test_message_expansion_is_the_one_of_rfc_9380(message: bytes, expanded: str) -> None:
    tag = b"QUUX-V01-CS02-with-expander-SHA512-256"
    assert expand_message_xmd(message, tag, len(expanded) // 2).hex() == expanded


@given(st.lists(st.binary(max_size=300), max_size=3), modes)
def test_batched_hashing_is_expansion_to_64_bytes(messages: list[bytes], mode: Mode) -> None:
    tag = b"HashToGroup-" + dleq.context_string(mode)
    expected = [expand_message_xmd(message, tag, 64) for message in messages]
    assert [row.tobytes() for row in dleq.hash_inputs_to_uniform(messages, mode)] == expected


@settings(max_examples=25)
@given(inputs_of_any_kind, modes)
def test_the_client_gets_what_the_server_computes_itself(inputs: list[bytes], mode: Mode) -> None:
    key = oprf.generate_key_pair(mode, RNG)
    assert np.array_equal(run(key, inputs), oprf.evaluate(key, inputs))


@settings(max_examples=25)
@given(inputs_of_any_kind, modes)
def test_what_is_sent_differs_each_time_and_the_outputs_do_not(inputs: list[bytes], mode: Mode) -> None:
    key = rfc_key(mode)
    first, second = (oprf.blind(inputs, mode, RNG)[1] for _ in range(2))
    assert not (first == second).all(axis=1).any()
    assert np.array_equal(run(key, inputs), run(key, inputs))


@given(st.binary(max_size=40))
def test_a_blinded_element_fits_every_other_input_as_well(value: bytes) -> None:
    """Whatever an input hashes to, one blind leads from it to the element that was sent."""
    state, blinded = oprf.blind([value], Mode.OPRF, RNG)
    hashed = group.hash_to_group(oprf.hash_inputs_to_uniform([value], Mode.OPRF))
    exponent = group.random_scalars(1, RNG)
    other_hashed = group.multiply(exponent, hashed)
    other_blind = group.multiply_scalars(state.blinds, group.invert_scalars(exponent))
    assert np.array_equal(group.multiply(other_blind, other_hashed), blinded)


@pytest.mark.parametrize("mode", Mode)
def test_outputs_depend_on_the_key_the_input_and_the_mode(mode: Mode) -> None:
    key = oprf.generate_key_pair(mode, RNG)
    inputs = [b"", b"a", b"b", b"ab"]
    others = [oprf.generate_key_pair(mode, RNG), SecretKey(Mode(1 - mode), key.reveal())]
    outputs = [oprf.evaluate(k, inputs) for k in (key, *others)]
    assert len({row.tobytes() for row in np.concatenate(outputs)}) == 12


@pytest.mark.parametrize("mode", Mode)
def test_an_executor_changes_no_output(mode: Mode, executor: ThreadPoolExecutor) -> None:
    key = rfc_key(mode)
    inputs = [bytes([n]) * n for n in range(70)]
    expected = oprf.evaluate(key, inputs)
    assert np.array_equal(run(key, inputs, executor), expected)


def test_the_voprf_package_as_a_server_agrees() -> None:
    seed = bytes(range(32))
    inputs = [b"x", b"second input", bytes(300)]
    server = peer.Evaluator.from_seed(seed, b"info")
    key = derived_key(seed, b"info", Mode.VOPRF)
    assert server.public_key.serialize() == key.public.element
    state, blinded = oprf.blind(inputs, Mode.VOPRF, RNG)
    reply = server.evaluate_batch([peer.BlindedInput.deserialize(row.tobytes()) for row in blinded])
    raw = reply.serialize()  # the proof, then the elements
    elements = np.frombuffer(raw[64:], np.uint8).reshape(-1, 32)
    outputs = oprf.finalize(state, Evaluation(elements, raw[:64]), key.public)
    assert [row.tobytes() for row in outputs] == [server.evaluate_known_input(value) for value in inputs]
    assert np.array_equal(oprf.evaluate(key, inputs), outputs)


def test_the_voprf_package_as_a_client_agrees() -> None:
    key = oprf.generate_key_pair(Mode.VOPRF, RNG)
    inputs = [b"x", b"second input", bytes(300)]
    clients, sent = zip(*(peer.Client.blind(value) for value in inputs), strict=True)
    evaluation = oprf.blind_evaluate(key, rows([element.serialize().hex() for element in sent]), RNG)
    reply = peer.VerifiableBatchOutput.deserialize(evaluation.proof + evaluation.elements.tobytes())
    public_key = peer.PublicKey.deserialize(key.public.element)
    outputs = peer.Client.finalize_batch(list(clients), reply, public_key)
    assert outputs == [row.tobytes() for row in oprf.evaluate(key, inputs)]


@pytest.mark.parametrize("mode", Mode)
def test_an_empty_batch_is_an_empty_batch(mode: Mode) -> None:
    key = rfc_key(mode)
    state, blinded = oprf.blind([], mode, replayed(b""))
    assert (len(state), blinded.shape, oprf.evaluate(key, []).shape) == (0, (0, 32), (0, 64))
    if mode is Mode.OPRF:
        assert oprf.finalize(state, oprf.blind_evaluate(key, blinded, RNG)).shape == (0, 64)
    else:
        with pytest.raises(ProtocolError, match="1 to 65535 rows, not 0"):
            oprf.blind_evaluate(key, blinded, RNG)
        with pytest.raises(ProtocolError, match="1 to 65535 rows, not 0"):
            oprf.finalize(state, Evaluation(blinded, bytes(64)), key.public)


def test_more_inputs_than_one_proof_covers_are_refused() -> None:
    with pytest.raises(ProtocolError, match="at most 65535"):
        oprf.blind([b""] * 65_536, Mode.VOPRF, replayed(b""))
    with pytest.raises(ProtocolError, match="1 to 65535 rows, not 65536"):
        oprf.blind_evaluate(rfc_key(Mode.VOPRF), np.zeros((65_536, 32), np.uint8), RNG)


def test_the_longest_input_is_taken_and_a_longer_one_is_refused() -> None:
    key = rfc_key(Mode.OPRF)
    assert oprf.evaluate(key, [bytes(65_535)]).shape == (1, 64)
    for call in (lambda v: oprf.evaluate(key, v), lambda v: oprf.blind(v, Mode.OPRF, RNG)):
        with pytest.raises(ProtocolError, match="row 1 is longer than 65535 bytes"):
            call([b"", bytes(65_536)])


BAD_ELEMENTS = {
    "identity": bytes(32),
    "no canonical encoding": b"\x01" + bytes(31),
    "no canonical encoding of": b"\xff" * 32,
}


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize(("rule", "bad"), BAD_ELEMENTS.items())
def test_the_server_refuses_bad_elements_and_names_them(mode: Mode, rule: str, bad: bytes) -> None:
    blinded = oprf.blind([b"1", b"2", b"3"], mode, RNG)[1].copy()
    blinded[1] = np.frombuffer(bad, np.uint8)
    with pytest.raises(ProtocolError, match=f"row 1 is .*{rule}") as caught:
        oprf.blind_evaluate(rfc_key(mode), blinded, RNG, step="design/answer")
    assert (caught.value.step, caught.value.field) == ("design/answer", "blinded")


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize(("rule", "bad"), BAD_ELEMENTS.items())
def test_the_client_refuses_bad_elements_and_names_them(mode: Mode, rule: str, bad: bytes) -> None:
    key = rfc_key(mode)
    state, blinded = oprf.blind([b"1", b"2", b"3"], mode, RNG)
    evaluation = oprf.blind_evaluate(key, blinded, RNG)
    elements = evaluation.elements.copy()
    elements[1] = np.frombuffer(bad, np.uint8)
    with pytest.raises(ProtocolError, match=f"row 1 is .*{rule}") as caught:
        oprf.finalize(state, Evaluation(elements, evaluation.proof), verifier(key))
    assert caught.value.field == "elements"


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("shape", [(2, 32), (4, 32), (3, 31), (96,)])
def test_the_client_refuses_elements_of_another_shape(mode: Mode, shape: tuple[int, ...]) -> None:
    state, _ = oprf.blind([b"1", b"2", b"3"], mode, RNG)
    with pytest.raises(ProtocolError, match=r"must (be a uint8 matrix of 32 columns|have 3 rows)"):
        oprf.finalize(state, Evaluation(np.ones(shape, np.uint8), bytes(64)), verifier(rfc_key(mode)))


def test_a_proof_is_required_in_one_mode_and_refused_in_the_other() -> None:
    plain = rfc_key(Mode.OPRF)
    verifiable = rfc_key(Mode.VOPRF)
    state, blinded = oprf.blind([b"1"], Mode.OPRF, RNG)
    with pytest.raises(ProtocolError, match="must be empty in mode OPRF"):
        oprf.finalize(state, Evaluation(oprf.blind_evaluate(plain, blinded, RNG).elements, bytes(64)))
    state, blinded = oprf.blind([b"1"], Mode.VOPRF, RNG)
    elements = oprf.blind_evaluate(verifiable, blinded, RNG).elements
    with pytest.raises(ProtocolError, match="must be 64 bytes, not 0"):
        oprf.finalize(state, Evaluation(elements), verifiable.public)


@pytest.mark.parametrize("mode", Mode)
def test_the_public_key_goes_with_mode_voprf_alone(mode: Mode) -> None:
    state, blinded = oprf.blind([b"1"], mode, RNG)
    evaluation = oprf.blind_evaluate(rfc_key(mode), blinded, RNG)
    wrong = {None, rfc_key(Mode.OPRF).public, rfc_key(Mode.VOPRF).public} - {verifier(rfc_key(mode))}
    for public_key in wrong:
        with pytest.raises(ValueError, match="mode VOPRF"):
            oprf.finalize(state, evaluation, public_key)


@pytest.mark.parametrize("bad", [0, group.ORDER, group.ORDER + 5, 2**256 - 1])
def test_a_secret_key_is_a_reduced_non_zero_scalar(bad: int) -> None:
    with pytest.raises(ProtocolError, match=r"row 0 is (zero|not reduced)"):
        SecretKey(Mode.OPRF, bad.to_bytes(32, "little"))


@pytest.mark.parametrize("length", [0, 31, 33])
def test_keys_of_another_length_are_refused(length: int) -> None:
    for make in (lambda raw: SecretKey(Mode.OPRF, raw), lambda raw: PublicKey(Mode.OPRF, raw)):
        with pytest.raises(ProtocolError, match="must be 32 bytes"):
            make(b"\x01" * length)


def test_a_public_key_is_a_proper_element() -> None:
    for bad in BAD_ELEMENTS.values():
        with pytest.raises(ProtocolError, match="row 0 is"):
            PublicKey(Mode.VOPRF, bad)


def test_a_secret_key_is_neither_shown_nor_pickled_nor_copied() -> None:
    key = rfc_key(Mode.VOPRF)
    assert repr(key) == str(key) == "<SecretKey VOPRF>"
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="neither pickled nor copied"):
            attempt(key)


def test_what_the_client_keeps_shows_neither_inputs_nor_blinds() -> None:
    state, _ = oprf.blind([b"secret input"], Mode.OPRF, RNG)
    assert repr(state) == "Blinding(mode=<Mode.OPRF: 0>)"
    with pytest.raises(ValueError, match="read-only"):
        state.blinds[0] = 0
