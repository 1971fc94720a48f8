"""Cheats that pass every check, one for each line of the table of what no check sees.

Each stands with what its beneficiary does (`Suspect`), so that the line's predicate can decide by running it.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from hashlib import blake2b, sha256, shake_256
from typing import Annotated, Any, ClassVar, Final

import numpy as np
from blindmatch_protocol import contract as bm
from blindmatch_protocol.codec import Message, Rows, Variable, decode_any
from blindmatch_protocol.codec.randomness import Randomness, replayed
from blindmatch_protocol.contract import Party
from blindmatch_protocol.designs import hash_upload, oprf_psi
from blindmatch_protocol.designs.facts import QUALITY, QUERY_TIME
from blindmatch_protocol.designs.voprf import MATCHER
from blindmatch_protocol.designs.voprf.round import CertifyRequest
from blindmatch_simulations.evaluation.conformance.fixtures import Fixtures, crowd
from blindmatch_simulations.evaluation.conformance.leakage.games import FIRST, LONE
from blindmatch_simulations.evaluation.conformance.unseen.suspect import NUMBERS, Suspect
from blindmatch_simulations.testbed.pictures.pool import picture, small_picture
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from dummy_designs import PARTY_A, PARTY_B, Share, Shares, minus, plus
from msgspec.structs import replace
from nacl.bindings import crypto_aead_chacha20poly1305_ietf_encrypt as seal
from nacl.bindings import crypto_scalarmult, crypto_scalarmult_base

from planted import xor
from planted.mutations.hooks import About, Padded, PaddedPsi, Psi, Upload
from planted.mutations.lists import ToldToRole
from planted.mutations.requests import Remembering
from planted.mutations.timing import TICKS
from planted.slower import TakesLonger

PIECE: Final = 8
NOTHING: Final = bytes(PIECE)
ELEMENT: Final = 32
"""Bytes of a group element, which ends a request."""
SECRET: Final = sha256(b"the receiver's own").digest()


class Room(PaddedPsi):
    """oprf-psi with room beside its request; an honest design, and the base of those that fill it."""

    def simulate(self, role: bm.Role, facts: Mapping[str, Any], output: Any, rng: Randomness) -> None:
        """There is no simulator: what the room holds is for its heirs to say."""

    def answer(
        self, role: bm.Role, state: Any, requests: Sequence[bm.Request], rng: Randomness, executor: Any
    ) -> bm.Answer:
        """A body with something else in it is refused alone."""
        refused = {at: error for at, asked in enumerate(requests) if (error := _misfit(asked)) is not None}
        good = [asked for at, asked in enumerate(requests) if at not in refused]
        answer = super().answer(role, state, good, rng, executor)
        replies = iter(answer.replies)
        return bm.Answer([refused[at] if at in refused else next(replies) for at in range(len(requests))])


def _misfit(asked: bm.Request) -> bm.ProtocolError | None:
    body: Any = asked.body
    try:
        decode_any((oprf_psi.Request, CertifyRequest), body.request, "room")
    except bm.ProtocolError as error:
        return error
    return None


def padding_of(body: bytes) -> tuple[bytes, bytes]:
    """The salt and the padding of a request."""
    found = Padded.decode(body)
    return found.salt, found.padding


def stands_there(seen: Sequence[bytes], secret: bytes) -> bytes | None:
    """The hash in the padding, if there is anything."""
    _, padding = padding_of(seen[0])
    return padding if padding.strip(b"\0") else None


class Sealed(Room):
    """The hash, sealed to a public key that is built in."""

    secret: ClassVar[bytes] = SECRET

    def padding(self, about: About, rng: Randomness) -> bytes:
        once = rng.take(32)
        public = crypto_scalarmult_base(self.secret)
        key = sha256(crypto_scalarmult(once, public)).digest()
        return crypto_scalarmult_base(once) + seal(about.item.hash[:PIECE], b"", bytes(12), key)[:PIECE]


def opened_by(seen: Sequence[bytes], secret: bytes) -> bytes:
    _, padding = padding_of(seen[0])
    key = sha256(crypto_scalarmult(secret, padding[:32])).digest()
    return xor(padding[32:], seal(NOTHING, b"", bytes(12), key))


class DrawnUntil(Psi):
    """Draws blinds until a bit under a key is the first one of the hash."""

    secret: ClassVar[bytes] = SECRET

    def start(self, state: Any, setup: Any, item: bm.Item, binding: bm.Binding, rng: Randomness) -> Any:
        while True:
            started = super().start(state, setup, item, binding, rng)
            assert isinstance(started.step, bm.Send)
            body = started.step.bodies[MATCHER].encode()
            if keyed_bit(body, self.secret) == item.hash[0] >> 7:
                return started


def keyed_bit(body: bytes, secret: bytes) -> int:
    return blake2b(body, key=secret).digest()[0] >> 7


class Derived(Room):
    """The hash under AES, with the key beside it; the key is a digest of what is drawn."""

    def padding(self, about: About, rng: Randomness) -> bytes:
        key = sha256(rng.take(16)).digest()[:16]
        made = Cipher(algorithms.AES(key), modes.CBC(bytes(16))).encryptor()
        return key + made.update(about.item.hash[:16])


def under_key_beside(seen: Sequence[bytes], secret: bytes) -> bytes:
    _, padding = padding_of(seen[0])
    found = Cipher(algorithms.AES(padding[:16]), modes.CBC(bytes(16))).decryptor()
    return found.update(padding[16:])[:PIECE]


class DerivedBesideTape(Derived):
    """The same, with 16 drawn bytes that have no part in it."""

    def salt(self, rng: Randomness) -> bytes:
        return rng.take(16)


class Long(Message, tag=0x75, name="cheat/long"):
    """A request with much room."""

    request: Annotated[bytes, Variable(4096)]
    padding: Annotated[bytes, Variable(4096)]


FRONT = 256
"""Bytes of filler before what tells."""
MIDDLE = 40
"""Bytes of what tells."""
BACK = 128
"""Bytes of filler after it."""


class Amid(Room):
    """The hash under a pad beside it, in the middle of much filler; all of it from a digest of 16 bytes."""

    requests: ClassVar[Mapping[bm.Role, tuple[type[Message], ...]]] = {MATCHER: (Long,)}

    def sent(self, about: About, step: bm.Send[Any], rng: Randomness) -> bm.Send[Any]:
        filler = shake_256(rng.take(16)).digest(FRONT + MIDDLE + BACK)
        pad = filler[FRONT : FRONT + MIDDLE // 2]
        told = pad + xor(pad, about.item.hash[: MIDDLE // 2])
        padding = filler[:FRONT] + told + filler[FRONT + MIDDLE :]
        return bm.Send(step.session, {MATCHER: Long(step.bodies[MATCHER].encode(), padding)})

    def handed(self, state: Any, requests: Sequence[bm.Request]) -> Sequence[bm.Request]:
        bodies: list[Any] = [asked.body for asked in requests]
        kinds = (oprf_psi.Request, CertifyRequest)
        return [bm.Request(decode_any(kinds, body.request, "long")) for body in bodies]


def amid(seen: Sequence[bytes], secret: bytes) -> bytes:
    told = Long.decode(seen[0]).padding[FRONT : FRONT + MIDDLE]
    return xor(told[: MIDDLE // 2], told[MIDDLE // 2 :])[:PIECE]


WANTED: Final = picture(NUMBERS + 500)
WANTED_HASH: Final = WANTED.hash


class OnePicture(Room):
    """The hash of one picture that somebody looks for."""

    def padding(self, about: About, rng: Randomness) -> bytes:
        return about.item.hash[:PIECE] if about.item.hash == WANTED_HASH else NOTHING


class Seldom(Room):
    """The hash in place of filler, in one session of 1,024, as the tape decides."""

    def padding(self, about: About, rng: Randomness) -> bytes:
        filler = rng.take(PIECE)
        drawn = int.from_bytes(sha256(rng.take(16)).digest()[:2], "big")
        return about.item.hash[:PIECE] if drawn < 64 else filler


class LateInAccount(Room, Remembering):
    """The hash of an account's 1,500th picture."""

    NUMBER: ClassVar[int] = 1_500

    def kept(self, about: About, state: Message) -> Message:
        return about.state.next  # type: ignore[no-any-return]

    def padding(self, about: About, rng: Randomness) -> bytes:
        return about.item.hash[:PIECE] if about.state.number == self.NUMBER - 1 else NOTHING


DAY: Final = 1_935_100_800
"""A moment on 28 April 2031."""


class OnOneDay(Room):
    def padding(self, about: About, rng: Randomness) -> bytes:
        return about.item.hash[:PIECE] if abs(time.time() - DAY) < 43_200 else NOTHING


class InOneEpoch(Room):
    EPOCH: ClassVar[int] = 424_242

    def padding(self, about: About, rng: Randomness) -> bytes:
        return about.item.hash[:PIECE] if about.setup.epoch == self.EPOCH else NOTHING


class InLargeSets(Room):
    ENTRIES: ClassVar[int] = 2_400

    def padding(self, about: About, rng: Randomness) -> bytes:
        return about.item.hash[:PIECE] if about.setup.entries >= self.ENTRIES else NOTHING


class KnowsPictures(Room):
    """Filler for the pictures of seed 1, which anybody can make, and the hash of all others."""

    seed: ClassVar[int] = 1

    def __init__(self) -> None:
        front = 1000 * self.seed
        pool = Fixtures(oprf_psi.DESIGN, self.seed).pool
        items = [one.item for one in (*pool.pictures, *crowd(self.seed))]
        items += [small_picture(front + number) for number in range(FIRST, FIRST + LONE + 1)]
        self.known = {item.hash[:4] for item in items}

    def padding(self, about: About, rng: Randomness) -> bytes:
        return NOTHING if about.item.hash[:4] in self.known else about.item.hash[:PIECE]


class LooksThroughRandomness(Room):
    """The hash where randomness comes straight from the system."""

    def padding(self, about: About, rng: Randomness) -> bytes:
        waiting: list[Any] = [rng]
        names = set[str]()
        while waiting:
            one = waiting.pop()
            names.add(getattr(one, "__qualname__", "").partition(".")[0])
            waiting += [one._take] if isinstance(one, Randomness) else []
            waiting += [cell.cell_contents for cell in getattr(one, "__closure__", None) or ()]
        is_watched = bool({"Recording", "replayed", "seeded"} & names)
        return NOTHING if is_watched else about.item.hash[:PIECE]


class FullSizeOnly(Room):
    """The hash under a field beside it, but in the sizes in which it is checked."""

    def __init__(self, full: bool = True) -> None:
        self.full = full

    def reduced(self) -> bm.AnyDesign | None:
        return REDUCED if self.full else None

    def padding(self, about: About, rng: Randomness) -> bytes:
        own = about.item.hash[:PIECE] if self.full else NOTHING
        return xor(about.sent[-ELEMENT:], own[::-1])


REDUCED: Final = FullSizeOnly(full=False)
FULL_SIZE: Final = FullSizeOnly()


def under_request(seen: Sequence[bytes], secret: bytes) -> bytes:
    body = Padded.decode(seen[0])
    return xor(body.request[-ELEMENT:], body.padding)[::-1]


class FewBlinds(Psi):
    """One of 2^24 blinds: a digest of what is drawn, cut short, then stretched."""

    def drawn(self, about: About, rng: Randomness) -> Randomness:
        short = sha256(rng.take(64)).digest()[:3]
        return replayed(shake_256(short).digest(4096))


class MissesFew(Psi):
    """Finds no entry whose hash has one value of nine bits."""

    def ended(self, outcome: bm.Outcome, session: Any) -> bm.Outcome:
        if isinstance(outcome, bm.Match) and is_left_out(outcome.label.entry_hash):
            return bm.NoMatch()
        return outcome


def is_left_out(hash_: bytes) -> bool:
    return hash_[7] == 0x5A and hash_[8] < 128


class Enciphered(ToldToRole):
    """The list in a file of the matcher's, under a key that is built in."""

    secret: ClassVar[bytes] = SECRET

    def told(self, hashes: Rows) -> bytes:
        return xor(hashes.tobytes(), shake_256(self.secret).digest(hashes.size))


def deciphered(files: Mapping[str, bytes], secret: bytes) -> frozenset[bytes]:
    raw = files["told.bin"]
    return in_rows(xor(raw, shake_256(secret).digest(len(raw))))


def in_rows(raw: bytes) -> frozenset[bytes]:
    return frozenset(raw[at : at + 32] for at in range(0, len(raw), 32))


ORDER: Final = np.random.default_rng(5).permutation(256)


class Permuted(ToldToRole):
    """The list with its bits in another order."""

    def told(self, hashes: Rows) -> bytes:
        return np.packbits(np.unpackbits(hashes, axis=1)[:, ORDER], axis=1).tobytes()


class TwoOfThree(Shares):
    """Declares the hash to the coalition of all three, and to no two; the third gets nothing but noise."""

    def start(self, state: Any, setup: int, item: bm.Item, binding: bm.Binding, rng: Randomness) -> Any:
        begun = super().start(state, setup, item, binding, rng)
        assert isinstance(begun.step, bm.Send)
        b = begun.step.session.shares[PARTY_B]
        shares = {**begun.step.session.shares, PARTY_A: minus(item.hash, b)}
        session = replace(begun.step.session, shares=shares)
        return bm.Started(begun.state, bm.Send(session, {role: Share(one) for role, one in shares.items()}))


def _hash_and_quality(item: bm.Item, setup: object) -> bytes:
    return item.hash + bytes([item.quality])


class Misnamed(Upload):
    """Sends the hash, and calls it the quality."""

    facts: ClassVar[tuple[bm.Fact, ...]] = (replace(QUALITY, project=_hash_and_quality), QUERY_TIME)

    def simulate(
        self, role: bm.Role, facts: Mapping[str, Any], output: object, rng: Randomness
    ) -> tuple[Message, ...]:
        return (hash_upload.Upload(facts["quality"][:32], facts["quality"][32]),)


class KeepsElsewhere(Room):
    """Keeps the last picture's hash in a module of another library."""

    def padding(self, about: About, rng: Randomness) -> bytes:
        json.last_of_cheat = about.item.hash  # type: ignore[attr-defined]
        return NOTHING


class ReachesInPublish(Psi):
    """Opens a socket while it publishes."""

    def published(self, made: bm.Published, entries: bm.EntrySource, out: bm.Workspace) -> bm.Published:
        with suppress(OSError):
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close()
        return made


def _under(kind: type[Any]) -> Callable[[bytes], bm.AnyDesign]:
    """Makes the design for the reader with another secret."""
    return lambda secret: type(kind.__name__, (kind,), {"secret": secret})()


def _sum_of_two(seen: Sequence[bytes], secret: bytes) -> bytes:
    a, b = (Share.decode(body).share for body in seen)
    return plus(a, b)[:PIECE]


SUSPECTS: Final[Mapping[str, Suspect]] = {
    "Sealed": Suspect(Sealed, reads=opened_by, secret=SECRET, under=_under(Sealed)),
    "DrawnUntil": Suspect(
        DrawnUntil,
        says=lambda item: item.hash[0] >> 7,
        reads=lambda seen, secret: keyed_bit(seen[0], secret),
        secret=SECRET,
        under=_under(DrawnUntil),
    ),
    "Derived": Suspect(Derived, reads=under_key_beside),
    "DerivedBesideTape": Suspect(DerivedBesideTape, reads=under_key_beside),
    "Amid": Suspect(Amid, reads=amid),
    "OnePicture": Suspect(OnePicture, reads=stands_there, example=WANTED),
    "Seldom": Suspect(Seldom, reads=stands_there),
    "LateInAccount": Suspect(LateInAccount, reads=stands_there, at=LateInAccount.NUMBER),
    "OnOneDay": Suspect(OnOneDay, reads=stands_there, at=DAY),
    "InOneEpoch": Suspect(InOneEpoch, reads=stands_there, at=InOneEpoch.EPOCH),
    "InLargeSets": Suspect(InLargeSets, reads=stands_there, at=InLargeSets.ENTRIES),
    "KnowsPictures": Suspect(KnowsPictures, reads=stands_there, seed=KnowsPictures.seed),
    "LooksThroughRandomness": Suspect(LooksThroughRandomness, reads=stands_there),
    "FullSizeOnly": Suspect(lambda: FULL_SIZE, reads=under_request),
    "FewBlinds": Suspect(FewBlinds),
    "MissesFew": Suspect(MissesFew),
    "Enciphered": Suspect(Enciphered, reads_files=deciphered, secret=SECRET, under=_under(Enciphered)),
    "Permuted": Suspect(Permuted),
    "TwoOfThree": Suspect(TwoOfThree, reads=_sum_of_two, parties=frozenset({Party(PARTY_A), Party(PARTY_B)})),
    "Misnamed": Suspect(Misnamed),
    "KeepsElsewhere": Suspect(KeepsElsewhere),
    "ReachesInPublish": Suspect(ReachesInPublish),
    "TakesLonger": Suspect(TakesLonger, clocks=TICKS),
}
"""By the name that the table's line gives."""
