"""Vouchers of threshold-psi: how they are sealed, and what opens them at the centre."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from hashlib import sha256, sha512
from typing import Annotated, Any, ClassVar, Final

from msgspec import Struct

from blindmatch_protocol import contract as bm
from blindmatch_protocol import group
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.errors import GroupError, ProtocolError
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.crypto.symmetric import TAG_LENGTH, seal, unseal
from blindmatch_protocol.designs.threshold_psi.shares import SHARE_BYTES, Share, recovered
from blindmatch_protocol.group.rows import one_row
from blindmatch_protocol.messages.franking import Evidence, opened_commitment
from blindmatch_protocol.sets import plain_list

HASH_BYTES: Final = 32
EVIDENCE_BYTES: Final = 1_600
"""Room for an encoded `Evidence`, whose longest names and media type take fewer."""
_LENGTH: Final = 2
_INNER_BYTES: Final = HASH_BYTES + _LENGTH + EVIDENCE_BYTES + TAG_LENGTH
SEALED_BYTES: Final = SHARE_BYTES + _INNER_BYTES + TAG_LENGTH
_VOUCHER: Final = "threshold-psi/voucher"
_AD_TAG: Final = b"blindmatch/threshold-psi/voucher/v1"
"""Associated data of both seals: this, not padded, epoch, 8, period, pseudonym, Q."""
_MATCH_TAG: Final = b"blindmatch/threshold-psi/match-key/v1"
"""SHA-512 of S and associated data: 32, key of the outer seal."""
_EVIDENCE_TAG: Final = b"blindmatch/threshold/evidence-key/v1"
"""SHA-512 of account key, or of a made-up voucher 32 random bytes, and associated data: 32, key of the inner
seal; in it hash, length of the evidence, 2, evidence, zeros to 1,634."""


class Voucher(bm.Message, tag=0x7A, name=_VOUCHER):
    """What leaves for every picture, of one length."""

    epoch: Annotated[int, bm.UInt(64)]
    """Of the table."""
    device: Annotated[bytes, bm.Fixed(16)]
    """The device's pseudonym of the period."""
    blinded: Annotated[bytes, bm.Fixed(32)]
    """Q."""
    sealed: Annotated[bytes, bm.Fixed(SEALED_BYTES)]
    """Under S: the share; and under the account key, or a random one: hash and evidence."""


def bound_to(epoch: int, period: bytes, device: bytes, blinded: bytes) -> bytes:
    """What both seals of a voucher are bound to."""
    return _AD_TAG + epoch.to_bytes(8, "big") + period + device + blinded


def _key(tag: bytes, secret: bytes, bound: bytes) -> bytes:
    return sha512(tag.ljust(128, b"\0") + secret + bound).digest()[:32]


def sealed_voucher(
    epoch: int,
    period: bytes,
    device: bytes,
    made: tuple[bytes, bytes],
    share: bytes,
    inner_key: bytes,
    plain: bytes,
) -> Voucher:
    """The voucher of Q and S, which were `made`, with this share and this content."""
    blinded, shared = made
    bound = bound_to(epoch, period, device, blinded)
    sealed = sealed_twice(bound, _key(_MATCH_TAG, shared, bound), share, inner_key, plain)
    return Voucher(epoch, device, blinded, sealed)


def sealed_twice(bound: bytes, outer_key: bytes, share: bytes, inner_key: bytes, plain: bytes) -> bytes:
    """A share, and a content under the inner key, under the outer one: `SEALED_BYTES`."""
    return seal(outer_key, share + seal(_key(_EVIDENCE_TAG, inner_key, bound), plain, bound), bound)


def pad_content(own_hash: bytes, evidence: bytes) -> bytes:
    if len(evidence) > EVIDENCE_BYTES:
        raise ProtocolError(_VOUCHER, f"must be at most {EVIDENCE_BYTES} bytes", "evidence")
    return own_hash + len(evidence).to_bytes(_LENGTH, "big") + evidence.ljust(EVIDENCE_BYTES, b"\0")


class _Row(Redacted, Struct, frozen=True):
    """A visible voucher, as the centre keeps it: digest of device and pseudonym, what the seals are bound to,
    share, and the inner seal."""

    device: bytes
    bound: bytes
    share: Share
    inner: bytes

    BOUND: ClassVar = len(bound_to(0, bytes(32), bytes(16), bytes(32)))

    def encode(self) -> bytes:
        return self.device + self.bound + self.share.encode() + self.inner

    @classmethod
    def decode(cls, raw: bytes) -> _Row:
        """Read back what `encode` wrote."""
        device = raw[:32]
        raw = raw[32:]
        bound = raw[: cls.BOUND]
        raw = raw[cls.BOUND :]
        share = Share.decode(raw[:SHARE_BYTES])
        assert share is not None  # it was looked at when it was taken
        return cls(device, bound, share, raw[SHARE_BYTES:])


class ThresholdOpener(Redacted, Struct, frozen=True, eq=False):
    """The centre's state: a, and the list.

    A voucher whose outer seal opens to something malformed is taken as one that does not open, since a reply
    that says so would tell its sender what is listed.
    """

    KIND: ClassVar[type[Any]] = Voucher
    WITHIN: ClassVar[int] = 0

    epoch: int
    period: bytes
    threshold: int
    key: Rows
    known: plain_list.PlainList

    def take(self, account: str, device: str, period: bytes, voucher: bm.Message) -> bm.Taken:
        step = self.KIND.NAME
        if not isinstance(voucher, self.KIND):
            raise ProtocolError(step, "must be a voucher of this design", "voucher")
        bm.check_epoch(voucher.epoch, self.epoch, step)
        if period != self.period:
            raise ProtocolError(step, "must be of this period", "period")
        bound, key = self.outer(voucher)
        try:
            opened = unseal(key, voucher.sealed, bound)
        except ProtocolError:
            return bm.Hidden()
        share = Share.decode(opened[:SHARE_BYTES])
        if share is None:
            return bm.Hidden()
        whose = sha256(device.encode() + b"\0" + voucher.device).digest()
        place = whose + share.place.to_bytes(8, "big")
        return bm.Visible(_Row(whose, bound, share, opened[SHARE_BYTES:]).encode(), place)

    def outer(self, voucher: Any) -> tuple[bytes, bytes]:
        """What the seals of a voucher are bound to, and the key that opens the outer one if it is visible;
        `ProtocolError` if it has what is no element."""
        shared = self.multiplied(one_row(voucher.blinded)).tobytes()
        bound = bound_to(voucher.epoch, self.period, voucher.device, voucher.blinded)
        return bound, _key(_MATCH_TAG, shared, bound)

    def multiplied(self, blinded: Rows) -> Rows:
        """Elements of a voucher, (n, 32), times a."""
        try:
            return group.multiply(self.key, blinded)
        except GroupError:
            group.check_elements(blinded, self.KIND.NAME, "blinded")
            raise

    def open(self, account: str, period: bytes, rows: Sequence[bytes]) -> Mapping[int, bm.Label]:
        """Each device's shares by themselves: what another device of the account sends spoils none."""
        devices: dict[bytes, list[tuple[int, _Row]]] = defaultdict(list)
        for at, raw in enumerate(rows):
            row = _Row.decode(raw)
            devices[row.device].append((at, row))
        found: dict[int, bm.Label] = {}
        for held in devices.values():
            found |= self._opened(account, held)
        return found

    def _opened(self, account: str, held: list[tuple[int, _Row]]) -> dict[int, bm.Label]:
        shares = {row.share.place: row.share for _, row in reversed(held)}
        for key in recovered(list(shares.values()), self.threshold):
            read = {at: _unsealed(key, row) for at, row in held}
            real = {row.share.place for at, row in held if self.counts(read[at])}
            if len(real) >= self.threshold:
                labels = {at: self._label(account, raw) for at, raw in read.items() if raw is not None}
                return {at: label for at, label in labels.items() if label is not None}
        return {}

    def counts(self, raw: bytes | None) -> bool:
        """Is this the content of a voucher that counts towards the threshold; None if nothing was read?"""
        return raw is not None

    def _label(self, account: str, raw: bytes) -> bm.Label | None:
        """The label of the entry; None if none is listed now, or the evidence is not of a message that the
        account sent."""
        own = raw[:HASH_BYTES]
        length = int.from_bytes(raw[HASH_BYTES : HASH_BYTES + _LENGTH], "big")
        evidence = raw[HASH_BYTES + _LENGTH :][:length]
        if evidence and not _is_of(evidence, account):
            return None
        return self.known.match(own, self.WITHIN)


def _unsealed(key: bytes, row: _Row) -> bytes | None:
    """Hash and evidence; None of a synthetic voucher, and of one whose content is malformed."""
    try:
        raw = unseal(_key(_EVIDENCE_TAG, key, row.bound), row.inner, row.bound)
    except ProtocolError:
        return None
    return raw if len(raw) == HASH_BYTES + _LENGTH + EVIDENCE_BYTES else None


def _is_of(raw: bytes, account: str) -> bool:
    """Is it the evidence of a message by this account, and does it open its commitment?"""
    try:
        evidence = Evidence.decode(raw)
        return evidence.sender == account and opened_commitment(evidence) == evidence.opening.commitment
    except ProtocolError:
        return False
