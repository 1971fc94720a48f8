"""The enclave design: what a device takes for its policy, what its replies bear, and what the scan shows."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blindmatch_protocol import contract as bm
from blindmatch_protocol.codec.errors import DesignError, PictureError, ProtocolError
from blindmatch_protocol.codec.randomness import seeded
from blindmatch_protocol.contract.design import told as disclosed
from blindmatch_protocol.crypto import hpke
from blindmatch_protocol.designs.enclave import DESIGN
from blindmatch_protocol.designs.enclave import design as module
from blindmatch_protocol.designs.enclave.attestation import (
    CODE,
    MEASURED,
    Attest,
    Found,
    Platform,
    Quote,
    SealedPicture,
    SealedReply,
    code_digest,
    measured,
)
from blindmatch_protocol.designs.enclave.attestation import Picture as Asking
from blindmatch_protocol.designs.enclave.design import BLOCK, ENCLAVE, POLICY_FILE, Inside, nearest
from blindmatch_protocol.messages.content import pad_attachment
from blindmatch_protocol.picture import compiled
from blindmatch_protocol.picture.decode import Picture
from blindmatch_protocol.sets.plain_list import PlainList
from blindmatch_simulations.testbed.inprocess.deployed import Deployed, opened, publish, run_session
from blindmatch_simulations.testbed.pictures.pool import make_pool, picture, random_hashes
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from msgspec.structs import replace

POOL = make_pool(3)
DEPLOYED = opened(publish(DESIGN, POOL.entries, seeded("enclave")))
INSIDE: Inside = DEPLOYED.states[ENCLAVE]


def asked(item: bm.Item) -> tuple[Any, Attest]:
    step = DESIGN.start(bm.NoState(), DEPLOYED.setup, item, bm.UNBOUND, seeded("device")).step
    assert isinstance(step, bm.Send)
    body = step.bodies[ENCLAVE]
    assert isinstance(body, Attest)
    return step.session, body


def told(session: Any, reply: bm.Message) -> bm.Step[Any]:
    return DESIGN.receive(session, DEPLOYED.setup, {ENCLAVE: reply}, seeded("receive"))


def sealed(item: bm.Item) -> tuple[Any, SealedPicture]:
    session, body = asked(item)
    step = told(session, INSIDE.reply(body))
    assert isinstance(step, bm.Send)
    body = step.bodies[ENCLAVE]
    assert isinstance(body, SealedPicture)
    return step.session, body


# --- attestation


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("measurement", bytes(32)),
        ("epoch", 2),
        ("key", hpke.public_key(bytes(range(32)))),
        ("nonce", bytes(32)),
        ("signature", bytes(64)),
    ],
)
def test_a_quote_with_one_field_altered_is_refused_for_its_signature(field: str, value: Any) -> None:
    session, body = asked(picture(1))
    quote = replace(INSIDE.reply(body), **{field: value})
    with pytest.raises(ProtocolError, match="field signature"):
        told(session, quote)


@pytest.mark.parametrize(
    ("altered", "field"),
    [
        ({"distance": 256}, "measurement"),
        ({"blind": bytes(32)}, "measurement"),
        ({"list_digest": bytes(32)}, "measurement"),
        ({"epoch": 2}, "epoch"),
        ({"platform": Platform(bytes(32), bytes(32))}, "signature"),
    ],
)
def test_a_quote_of_another_enclave_is_refused_and_says_why(altered: dict[str, Any], field: str) -> None:
    session, body = asked(picture(1))
    with pytest.raises(ProtocolError, match=f"field {field}"):
        told(session, replace(INSIDE, **altered).reply(body))


def test_a_quote_for_another_nonce_is_refused() -> None:
    session, _ = asked(picture(1))
    with pytest.raises(ProtocolError, match="field nonce"):
        told(session, INSIDE.reply(Attest(bytes(32))))


def test_a_signed_key_of_small_order_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    session, body = asked(picture(1))
    monkeypatch.setattr("blindmatch_protocol.designs.enclave.attestation.public_key", lambda _: bytes(32))
    with pytest.raises(ProtocolError, match="field key"):
        told(session, INSIDE.reply(body))


def test_the_policy_takes_any_of_its_measurements() -> None:
    other = measured(CODE, 1, bytes(64), 31)
    policy = replace(DEPLOYED.setup, measurements=frozenset({other, INSIDE.measurement}))
    for measurement in policy.measurements:
        policy.check(INSIDE.platform.quote(measurement, 1, bytes(32)), bytes(32))


def test_a_host_that_seals_pictures_itself_is_declared_to_learn_what_any_device_does() -> None:
    host = frozenset({bm.Party.PROVIDER})
    names = {how: {fact.name for fact in disclosed(DESIGN, host, how)} for how in bm.Adversary}
    seen = {"query_time", "picture_size"}
    assert names == {bm.Adversary.SEMI_HONEST: seen, bm.Adversary.MALICIOUS: seen | {"any_hash"}}
    assert "measures itself" in DESIGN.info.differs


def test_code_is_measured_by_its_source_and_must_have_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert code_digest(MEASURED) == CODE == code_digest(reversed(MEASURED))
    assert code_digest(MEASURED[1:]) != CODE
    loader = type(module.__spec__.loader)
    source = loader.get_source
    monkeypatch.setattr(loader, "get_source", lambda self, name: source(self, name) + "#")
    assert code_digest(MEASURED) != CODE
    with pytest.raises(DesignError, match="no source"):
        code_digest(["math"])


@pytest.mark.parametrize("name", MEASURED)
def test_what_a_measured_module_takes_from_this_room_is_measured_or_named(name: str) -> None:
    """A module that sees a picture or the list in the clear and is not measured could keep them."""
    named = {"designs.facts"}
    tree = ast.parse(Path(import_module(name).__file__ or "").read_text())
    taken = {one.module for one in ast.walk(tree) if isinstance(one, ast.ImportFrom)}
    taken |= {f"{one.module}.{part.name}" for one in ast.walk(tree) if isinstance(one, ast.ImportFrom)
              for part in one.names}  # fmt: skip
    room = {one.removeprefix("blindmatch_protocol.") for one in taken if one and _is_module(one)}
    known = {one.removeprefix("blindmatch_protocol.") for one in MEASURED} | named
    assert not {one for one in room if one not in known and not one.startswith(("codec.", "contract."))}


def test_an_enclave_sees_pictures_by_measured_code_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Machine code hashes files of a scan; an enclave is given pixels, which it hashes by numpy."""
    for name in ("thumbnail", "once_it_pays", "loaded"):
        monkeypatch.setattr(compiled, name, lambda *_: pytest.fail("an enclave runs what is not measured"))
    session, body = sealed(picture(1))
    assert isinstance(told(session, INSIDE.reply(body)), bm.Done | bm.Ready)


def _is_module(name: str) -> bool:
    """A module of the protocol room, not a package that only gathers others."""
    if not name.startswith("blindmatch_protocol."):
        return False
    try:
        spec = find_spec(name)
    except ModuleNotFoundError:  # a name in a module
        return False
    return spec is not None and spec.submodule_search_locations is None


def test_another_measurement_or_epoch_has_another_key() -> None:
    keys = {
        INSIDE.platform.enclave_key(m, epoch) for m in (bytes(32), INSIDE.measurement) for epoch in (1, 2)
    }
    assert len(keys) == 4


def test_the_platforms_key_is_stated_for_the_manifest() -> None:
    assert DESIGN.stated(DEPLOYED.setup).role_keys == {ENCLAVE: INSIDE.platform.public}


# --- what is sealed


def test_a_picture_sealed_to_another_enclave_is_refused() -> None:
    _, body = sealed(picture(1))
    for other in (replace(INSIDE, epoch=2), replace(INSIDE, distance=30)):
        with pytest.raises(ProtocolError, match="sealed to this enclave"):
            other.reply(body)


def test_a_host_that_hands_a_sealed_picture_in_again_learns_nothing_from_the_reply() -> None:
    """The reply key seals one plaintext under its one nonce; a list that differs has another measurement."""
    for one in (POOL.of("listed")[0], POOL.of("other")[0]):
        _, body = sealed(one.item)
        assert INSIDE.reply(body) == INSIDE.reply(SealedPicture.decode(body.encode()))
        flipped = body.sealed[:-1] + bytes([body.sealed[-1] ^ 1])
        for altered in (body.sealed[:-1], body.sealed + b"\0", flipped):
            with pytest.raises(ProtocolError, match="sealed to this enclave"):
                INSIDE.reply(SealedPicture(altered))


@pytest.mark.parametrize(
    "inner",
    [
        b"",
        bytes(2000),
        pad_attachment(Found(False, bm.NO_LABEL).encode()),
        pad_attachment(Asking(bytes(32), 2, 2, bytes(12)).encode() + b"\0x"),
        Asking(bytes(32), 2, 2, bytes(12)).encode().ljust(1024, b"\x80"),
        pad_attachment(Asking(bytes(32), 2, 2, bytes(12)).encode().replace(b"\0\0\0\2", b"\0\0\0\3", 1)),
    ],
)
def test_what_a_device_seals_that_is_no_picture_is_refused(inner: bytes) -> None:
    quote = INSIDE.reply(Attest(bytes(32)))
    assert isinstance(quote, Quote)
    info = module.picture_info(quote.measurement, quote.epoch)
    with pytest.raises(ProtocolError):
        INSIDE.reply(SealedPicture(hpke.seal(quote.key, info, inner, bytes(range(32)))))


@pytest.mark.parametrize("shape", [(1, 1), (1, 50_000), (50_000, 1)])
def test_pictures_of_any_shape_are_answered_in_one_length(shape: tuple[int, int]) -> None:
    assert len(INSIDE.reply(sealed(Picture.from_pixels(np.zeros((*shape, 3), np.uint8)))[1]).encode()) == 96


def test_replies_to_listed_and_other_pictures_have_one_length_and_form() -> None:
    replies = [INSIDE.reply(sealed(one.item)[1]).encode() for one in POOL.pictures]
    assert {len(one) for one in replies} == {1 + 95}


@pytest.mark.parametrize("shape", [(96, 96), (96, 97), (32, 600)])
def test_requests_tell_the_padded_length_alone(shape: tuple[int, int]) -> None:
    lengths = {len(sealed(picture(number, shape))[1].encode()) for number in range(3)}
    assert lengths == {module.SIZE.project(picture(1, shape), None)}


@pytest.mark.parametrize("reply", ["another key", "a far label", "a quote again"])
def test_a_false_reply_is_refused(reply: str) -> None:
    session, _ = sealed(POOL.of("other")[0].item)
    far = Found(True, replace(bm.NO_LABEL, entry_hash=bytes(b ^ 255 for b in session.hash))).encode()
    key = bytes(32) if reply == "another key" else session.reply_key
    forged: bm.Message = SealedReply(ChaCha20Poly1305(key).encrypt(bytes(12), far, None))
    if reply == "a quote again":
        forged = INSIDE.reply(Attest(bytes(32)))
    with pytest.raises(ProtocolError):
        told(session, forged)


def test_a_reply_without_a_match_bears_no_label() -> None:
    with pytest.raises(ProtocolError, match="must be all zeros"):
        Found.decode(Found(False, replace(bm.NO_LABEL, entry_id=7)).encode())


def test_a_picture_that_cannot_be_decoded_asks_nobody() -> None:
    with pytest.raises(PictureError):
        asked(Picture.from_bytes(b"no picture"))


def test_a_policy_without_keys_is_refused() -> None:
    raw = DEPLOYED.build.setup_files[POLICY_FILE]
    with pytest.raises(bm.SetFileError):
        DESIGN.open_setup({POLICY_FILE: raw[:-1]})
    with pytest.raises(bm.SetFileError, match="missing"):
        DESIGN.open_setup({})


# --- the scan


def held(entries: int, seed: int = 1) -> PlainList:
    rng = np.random.default_rng(seed)
    salts = rng.integers(0, 256, (entries, 16), np.uint8)
    ids = rng.integers(0, 1 << 62, entries).astype(np.uint64)
    return PlainList(random_hashes(entries, seed), ids, salts, signatures=np.zeros((entries, 0), np.uint8))


@pytest.mark.parametrize("entries", [0, 1, 7, BLOCK + 3])
def test_the_scan_finds_what_a_plain_one_finds(entries: int) -> None:
    known = held(entries)
    near = [bytes(known.hashes[at]) for at in {0, entries // 2, entries - 1}] if entries else []
    near += [bytes([one[0] ^ 7, *one[1:]]) for one in near]
    for own in (*near, random_hashes(1, 99).tobytes()):
        plain = known.match(own, 31)
        assert nearest(known, own, 31, True) == (plain is not None, plain or bm.NO_LABEL)
        assert nearest(known, own, 31, False) == (False, bm.NO_LABEL)


def test_of_entries_that_are_equally_near_the_first_is_found() -> None:
    known = held(3)
    twice = replace(known, hashes=np.repeat(known.hashes[:1], 3, axis=0))
    _, label = nearest(twice, bytes(twice.hashes[0]), 31, True)
    assert label.entry_id == int(known.ids[0])


class Watched(np.ndarray[Any, Any]):
    """Notes what is asked of it by index."""

    notes: list[str]

    def __array_finalize__(self, source: Any) -> None:
        self.notes = getattr(source, "notes", [])

    def __getitem__(self, key: Any) -> Any:
        self.notes.append(str(key))
        return super().__getitem__(key)


def accesses(known: PlainList, own: bytes, scan: Any) -> list[str]:
    notes: list[str] = []

    def watched(column: Any) -> Any:
        found = column.view(Watched)
        found.notes = notes
        return found

    columns = {name: watched(getattr(known, name)) for name in ("hashes", "ids", "salts", "signatures")}
    scan(PlainList(**columns), own)
    return notes


def test_accesses_by_index_do_not_depend_on_what_is_asked_and_those_of_a_plain_scan_do() -> None:
    known = held(BLOCK + 5)
    asked_for = [bytes(known.hashes[at]) for at in (0, BLOCK)] + [random_hashes(1, 99).tobytes()]
    oblivious = [accesses(known, own, lambda k, o: nearest(k, o, 31, True)) for own in asked_for]
    plain = [accesses(known, own, lambda k, o: k.match(o, 31)) for own in asked_for]
    assert oblivious[0] and oblivious[0] == oblivious[1] == oblivious[2]
    assert plain[0] != plain[1] != plain[2]


# --- the whole


@pytest.fixture(params=["listed", "near-31", "far-32", "other", "poor"])
def one(request: pytest.FixtureRequest) -> Iterator[Any]:
    yield POOL.of(request.param)[0]


def test_outcomes_are_the_oracles(one: Any) -> None:
    ran = run_session(DEPLOYED, one.item, seeded(one.name))
    assert isinstance(ran.outcome, bm.Match) == POOL.matches(DESIGN.info.relation, one)
    assert all(part.verdict is None for step in ran.rounds for part in step)


def test_a_session_holds_no_secret_in_its_repr() -> None:
    session, _ = sealed(picture(1))
    assert session.reply_key.hex() not in repr(session)
    assert INSIDE.platform.signing.hex() not in repr(INSIDE.platform)
    assert isinstance(DEPLOYED, Deployed)
    assert isinstance(INSIDE.reply(Attest(bytes(32))), Quote)
