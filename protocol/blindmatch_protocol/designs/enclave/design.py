"""The device's and the enclave's side; what they exchange is drawn in `__init__`.

Nearest entry of a list, with the same memory accesses whatever is asked.

An index, or reading the row that was found, would show the host by its pages what is looked for. So all
hashes are compared, and every row goes into the label under a mask of zeros or ones. That holds for which
memory is read and in what order, not for the time that numpy's instructions take.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final, TypeAlias

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from blindmatch_protocol import contract as bm
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import Label
from blindmatch_protocol.crypto import hpke
from blindmatch_protocol.designs.enclave.attestation import (
    CODE,
    SECRET_BYTES,
    Attest,
    Found,
    Picture,
    Platform,
    Policy,
    Quote,
    SealedPicture,
    SealedReply,
    measured,
)
from blindmatch_protocol.designs.facts import CONTENT, QUERY_TIME, any_hash
from blindmatch_protocol.designs.plain_scan import Stateless
from blindmatch_protocol.messages.content import pad_attachment, padded_attachment_length, unpad_attachment
from blindmatch_protocol.picture.decode import Picture as Decoded
from blindmatch_protocol.picture.pdq import MATCH_DISTANCE, distance
from blindmatch_protocol.sets import plain_list

BLOCK: Final = 1 << 15
"""Rows that are masked at once."""
Words: TypeAlias = npt.NDArray[np.uint64]


def nearest(held: plain_list.PlainList, asked: bytes, most: int, counts: bool) -> tuple[bool, Label]:
    """Whether an entry is within `most` bits of `asked`, 32 bytes; the label of the nearest one, the first of
    several, or zeros. `counts`: False finds nothing, after the same accesses."""
    hashes = held.hashes.view(np.uint64)
    own = np.frombuffer(asked, np.uint64)
    apart = np.zeros(len(hashes), np.uint64)
    for word in range(4):
        apart += np.bitwise_count(hashes[:, word] ^ own[word])
    rank = apart << np.uint64(32) | np.arange(len(hashes), dtype=np.uint64)
    best = rank.min(initial=np.uint64(2**64 - 1))
    chosen = (rank == best) & (apart <= most) & counts
    mask = np.uint64(0) - chosen.astype(np.uint64)
    columns = (hashes, held.ids.reshape(-1, 1), held.salts.view(np.uint64))
    entry_hash, entry_id, salt = (_selected(column, mask) for column in columns)
    return bool(chosen.any()), Label(entry_hash.tobytes(), int(entry_id[0]), salt.tobytes())


def _selected(column: Words, mask: Words) -> Words:
    """The row whose mask is ones, or zeros if there is none; uint64 (width,)."""
    found = np.zeros(column.shape[1], np.uint64)
    for start in range(0, len(column), BLOCK):
        block = column[start : start + BLOCK] & mask[start : start + BLOCK, None]
        found |= np.bitwise_or.reduce(block, axis=0)
    return found


ENCLAVE: Final = bm.Role("enclave")
VENDOR: Final = bm.Party("vendor")
"""Makes the hardware, and has the platform's signing key or can get it."""
POLICY_FILE: Final = "policy.bin"
PLATFORM_FILE: Final = "platform.bin"
PLATFORM_KEY_KIND: Final = 0x110
"""Of `policy.bin`: the platform's public key, Ed25519, 32."""
MEASUREMENTS_KIND: Final = 0x111
"""Of `policy.bin`: measurements that are taken, 32 each, at least one."""
SIGNING_KIND: Final = 0x112
"""Of `platform.bin`: its signing seed, 32."""
SEALING_KIND: Final = 0x113
"""Of `platform.bin`: its sealing secret, 32."""
BLIND_KIND: Final = 0x114
"""Of `platform.bin`: the blind of the measurement, 32."""
INFO_TAG: Final = b"blindmatch/enclave/picture/v1"


def _body_length(item: bm.Item, setup: object) -> int:
    inner = 1 + 32 + 4 + 4 + 4 + item.pixels.nbytes
    return 1 + 4 + hpke.OVERHEAD + padded_attachment_length(inner)


SIZE: Final = bm.Fact(
    "picture_size", "the length of every picture's pixels, padded (Padmé)", bm.Severity.SIZES, _body_length
)


class Inside(Redacted, Struct, frozen=True):
    """What an enclave holds; what it is measured as follows from it.

    Attributes:
        list_digest: overall digest of the file it came in.
        blind: 32 random bytes, so that its measurement does not tell of the list.
        distance: the largest that matches.
    """

    held: plain_list.PlainList
    list_digest: bytes
    blind: bytes
    epoch: int
    distance: int
    platform: Platform

    @property
    def measurement(self) -> bytes:
        """Of this configuration and the sources of this code."""
        return measured(CODE, self.epoch, self.list_digest + self.blind, self.distance)

    def open(self, sealed: bytes) -> Picture:
        """What a device sealed to an enclave of this measurement; `ProtocolError` if it did not, or that
        is no picture."""
        key = self.platform.enclave_key(self.measurement, self.epoch)
        padded = hpke.open_sealed(key, picture_info(self.measurement, self.epoch), sealed)
        if padded is None:
            raise bm.ProtocolError(SealedPicture.NAME, "must be sealed to this enclave", "sealed")
        return Picture.decode(unpad_attachment(padded))

    def look_up(self, asked: Picture) -> Found:
        pixels = np.frombuffer(asked.pixels, np.uint8).reshape(asked.height, asked.width, 3)
        picture = Decoded.from_pixels(pixels)
        good = picture.quality >= bm.MINIMUM_QUALITY
        return Found(*nearest(self.held, picture.hash, self.distance, good))

    def reply(self, body: bm.Message) -> bm.Message:
        """To a nonce a quote, to a picture what was found. Raises `ProtocolError` for anything else."""
        if isinstance(body, Attest):
            return self.platform.quote(self.measurement, self.epoch, body.nonce)
        assert isinstance(body, SealedPicture)
        asked = self.open(body.sealed)
        found = self.look_up(asked).encode()
        return SealedReply(hpke.seal_reply(asked.reply_key, found))


class Attesting(Redacted, Struct, frozen=True):
    """The session until the quote came: the nonce, and the picture to be sealed then."""

    nonce: bytes
    item: bm.Item


class Asked(Redacted, Struct, frozen=True):
    """The session until the reply came: the key it is sealed under, and the picture's hash."""

    reply_key: bytes
    hash: bytes


Session: TypeAlias = Attesting | Asked


class Enclave(Stateless[Policy, Session, Inside]):
    """The provider's host carries sealed pictures; the device knows what it is that opens them."""

    info = bm.Info(
        name="enclave",
        evaluation=bm.Evaluation.SEALED,
        version=1,
        option="2a",
        summary="Pictures go sealed into an attested enclave (simulated) at the provider, which matches.",
        relation=bm.Near(MATCH_DISTANCE),
        learns=frozenset({bm.Learner.DEVICE}),
        roles={ENCLAVE: bm.Party.PROVIDER},
        differs=(
            "the enclave is simulated: a process of its own that measures itself and that nothing isolates "
            "from its host, on a platform whose key is a file there"
        ),
        tie=bm.Tie.QUOTE,
        sends_content=bm.Content.SEALED,
        large_bodies=True,
        in_processes=frozenset({ENCLAVE}),
    )
    requests: ClassVar[Mapping[bm.Role, tuple[type[bm.Message], ...]]] = {ENCLAVE: (Attest, SealedPicture)}
    replies: ClassVar[Mapping[bm.Role, tuple[type[bm.Message], ...]]] = {ENCLAVE: (Quote, SealedReply)}

    def leakage(self) -> tuple[bm.Leak, ...]:
        host = frozenset({bm.Party.PROVIDER})
        seen = (QUERY_TIME, SIZE)
        asking = any_hash(MATCH_DISTANCE)
        return (
            bm.Leak(host, bm.Adversary.SEMI_HONEST, seen),
            bm.Leak(host, bm.Adversary.MALICIOUS, (*seen, asking)),
            bm.Leak(host | {VENDOR}, bm.Adversary.MALICIOUS, (*seen, asking, CONTENT)),
            bm.Leak(frozenset({bm.Party.DEVICE}), bm.Adversary.MALICIOUS, (asking,)),
        )

    def list_knowledge(self, parties: frozenset[bm.Party]) -> bm.ListKnowledge:
        return bm.ListKnowledge.joined(parties, {bm.Party.PROVIDER: bm.ListKnowledge.HASHES})

    def publish(
        self,
        entries: bm.EntrySource,
        parameters: bm.SetParameters,
        rng: bm.Randomness,
        executor: bm.Executor | None,
        out: bm.Workspace,
        progress: bm.Progress = bm.no_progress,
    ) -> bm.Published:
        platform = Platform(rng.take(SECRET_BYTES), rng.take(SECRET_BYTES))
        blind = rng.take(SECRET_BYTES)
        digest = plain_list.write_list(self.info, entries, parameters, out, progress)
        measurement = measured(CODE, parameters.epoch, digest + blind, MATCH_DISTANCE)
        pinned = {PLATFORM_KEY_KIND: platform.public, MEASUREMENTS_KIND: measurement}
        plain_list.write_sections(POLICY_FILE, self.info, parameters, 0, out, pinned)
        secrets = {SIGNING_KIND: platform.signing, SEALING_KIND: platform.sealing, BLIND_KIND: blind}
        plain_list.write_sections(PLATFORM_FILE, self.info, parameters, 0, out, secrets)
        return bm.Published(setup=(POLICY_FILE,), roles={ENCLAVE: (plain_list.LIST_FILE, PLATFORM_FILE)})

    def open_setup(self, files: bm.Buffers, epoch: int | None = None) -> Policy:
        file = plain_list.open_file(self.info, files, POLICY_FILE, epoch)
        (key,) = plain_list.keys_in(file, PLATFORM_KEY_KIND, 1)
        return Policy(file.identity.epoch, key, frozenset(plain_list.keys_in(file, MEASUREMENTS_KIND)))

    def stated(self, setup: Policy) -> bm.Stated:
        return bm.Stated(role_keys={ENCLAVE: setup.platform_key})

    def open_role(self, role: bm.Role, files: bm.Buffers) -> Inside:
        file = plain_list.open_file(self.info, files, plain_list.LIST_FILE, None)
        secrets = plain_list.open_file(self.info, files, PLATFORM_FILE, file.identity.epoch)
        signing, sealing, blind = (
            plain_list.keys_in(secrets, kind, 1)[0] for kind in (SIGNING_KIND, SEALING_KIND, BLIND_KIND)
        )
        platform = Platform(signing, sealing)
        return Inside(
            plain_list.held_list(file), file.digest, blind, file.identity.epoch, MATCH_DISTANCE, platform
        )

    def start(
        self, state: bm.NoState, setup: Policy, item: bm.Item, binding: bm.Binding, rng: bm.Randomness
    ) -> bm.Started[bm.NoState, Session]:
        _ = item.pixels  # a picture that cannot be decoded asks nobody
        nonce = rng.take(32)
        return bm.Started(state, bm.Send(Attesting(nonce, item), {ENCLAVE: Attest(nonce)}))

    def receive(
        self, session: Session, setup: Policy, replies: Mapping[bm.Role, bm.Message], rng: bm.Randomness
    ) -> bm.Step[Session]:
        reply = replies[ENCLAVE]
        match session, reply:
            case Attesting(), Quote():
                setup.check(reply, session.nonce)
                return self._sealed(session.item, reply, rng)
            case Asked(), SealedReply():
                return bm.Ready(_opened_reply(session, reply))
        raise bm.ProtocolError(f"{self.info.name}/reply", "must be of the kind that is due")

    def _sealed(self, item: bm.Item, quote: Quote, rng: bm.Randomness) -> bm.Step[Session]:
        height, width = item.pixels.shape[:2]
        reply_key = rng.take(32)
        ephemeral = rng.take(32)
        inner = pad_attachment(Picture(reply_key, height, width, item.pixels.tobytes()).encode())
        try:
            sealed = hpke.seal(quote.key, picture_info(quote.measurement, quote.epoch), inner, ephemeral)
        except ValueError:
            raise bm.ProtocolError(Quote.NAME, "must be no key of small order", "key") from None
        return bm.Send(Asked(reply_key, item.hash), {ENCLAVE: SealedPicture(sealed)})

    def conclude(self, session: Found, setup: Policy) -> bm.Outcome:
        return bm.Match(session.label) if session.matched else bm.NoMatch()

    def judged(self, state: Inside, body: bm.Message) -> tuple[bm.Message, None]:
        return state.reply(body), None


def picture_info(measurement: bytes, epoch: int) -> bytes:
    """What a sealed picture is bound to."""
    return INFO_TAG + measurement + epoch.to_bytes(8, "big")


def _opened_reply(session: Asked, reply: SealedReply) -> Found:
    opened = hpke.open_reply(session.reply_key, reply.sealed)
    if opened is None:
        raise bm.ProtocolError(SealedReply.NAME, "must be sealed under this picture's key", "sealed")
    found = Found.decode(opened)
    apart = distance(session.hash, found.label.entry_hash)
    if found.matched & (apart > MATCH_DISTANCE):  # the same steps with and without a match
        raise bm.ProtocolError(
            SealedReply.NAME, f"must be within {MATCH_DISTANCE} bits of the picture", "label"
        )
    return found


DESIGN: Final = Enclave()
