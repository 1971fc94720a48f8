"""threshold-near: threshold-psi for near duplicates, by wide tokens; docs/designs/threshold-near.md.

    device(hash, coefficients, table D, L = a*G)                     centre(a, list)
        for each of 6 bands of 40 bits its 64 likeliest values: H_i = H(token i), U_i from D
        b_i, c random; key random
        real        Q_i = b_i*H_i + c*G    S_i = b_i*U_i + c*L    m_i = KDF(S_i) xor key
        synthetic   for n of them Q_i = r_i*G, S_i = r_i*L; of the others m_i random
        tokens in random order;  commitment, outer key = hash(key)
                  ---- Voucher: epoch, device, Q_i and m_i, commitment, seal(outer key; share | inner) ---->
                                                                     KDF(a*Q_i) xor m_i = the key?
                                                                     of none: forget it

All else is threshold-psi's. One token that is listed opens the outer layer. One that is not: S_i - a*Q_i =
b_i*(U_i - a*H_i), in which c is uniform whatever the Q are. So S_i has 252 bits for whoever knows a, the key
and all else of the voucher, and its hash is random to all who do not guess it (Bhowmick, Boneh, Myers, Talwar
and Tarbe 2021, section 4, with a token in the place of a hash).

The table has no owners: a*H(token) for every token that is listed (`common_tokens` says which of a family's),
filled up to six an entry, so that its size tells the number of entries alone. What shows of a visible voucher
is how many of its tokens are listed, not which. A synthetic one's number follows from the device key and the
hash, with the weights `HITS`.
"""

from __future__ import annotations

from hashlib import sha256
from itertools import accumulate
from typing import Annotated, Any, ClassVar, Final

import numpy as np
import numpy.typing as npt
from msgspec import Struct
from msgspec.structs import replace

from blindmatch_protocol import contract as bm
from blindmatch_protocol import group
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.designs.facts import EPOCH, QUERY_TIME, SET_SIZE, leaks
from blindmatch_protocol.designs.threshold_psi.design import (
    EARLY,
    VOUCHING,
    WHOSE,
    Inside,
    Setup,
    ThresholdPsi,
)
from blindmatch_protocol.designs.threshold_psi.opener import (
    HASH_BYTES,
    SEALED_BYTES,
    ThresholdOpener,
    bound_to,
    sealed_twice,
)
from blindmatch_protocol.designs.token_psi.tokens import Tokens, band_bits, common_tokens, probe_tokens
from blindmatch_protocol.group import rowwise
from blindmatch_protocol.picture.pdq import MATCH_DISTANCE

KEY_BYTES: Final = 16
TOKEN_BYTES: Final = group.ELEMENT_BYTES + KEY_BYTES
_BLOCK: Final = 128
_MASK_TAG: Final = b"blindmatch/threshold-near/mask/v1".ljust(_BLOCK, b"\0")
"""SHA-512 of S: 16, which mask the key."""
_COMMITMENT_TAG: Final = b"blindmatch/threshold-near/commitment/v1".ljust(_BLOCK, b"\0")
"""SHA-512 of associated data, which has SHA-256 of the rows in the place of Q, and key: commitment, 32, and
key of the outer seal, 32."""
_FILLING: Final = 255
"""A key of the table is a band's number, 1, and a token, 8; what fills up six an entry this and 0, 1, ..."""


BY_COLUMNS: Final = tuple(
    255 - 16 * row - column for low in range(8) for column in (low, low + 8) for row in range(16)
)
"""Bits, band after band: PDQ's 16 x 16 matrix by columns 0, 8, 1, 9, ..., 7, 15, each from row 0 on
(docs/decisions/0024-bands-of-neighbours.md)."""


class Sizes(Struct, frozen=True):
    """How hashes become tokens, as `token_psi.Tokening`.

    Attributes:
        k: bits of a band, which are in no other.
        bands: each giving an entry one token.
        probes: tokens that a picture asks for in each band.
        needed: bands that must agree.
    """

    needed: ClassVar[int] = 1
    order: ClassVar[tuple[int, ...]] = BY_COLUMNS

    k: int = 40
    bands: int = 6
    probes: int = 64

    @property
    def tokens(self) -> int:
        return self.bands * self.probes


HITS: Final = (445, 85, 23, 22, 44, 381)
"""Of 1,000 made-up vouchers so many have 1 to 6 tokens listed: n is the first for which the pattern is below
floor(65,536 * sum of n / 1,000); the first n by band and likelihood, row j with r_j."""
# half as copies of listed photographs do, half as pictures that are near no entry and have one: so no number
# makes either kind of real one more than 2.1 times as likely as before, but some speak against one kind, and
# more than six are real; a made-up one's stays the same under another list, where a real one's may change
_STEPS: Final = [(total << 16) // sum(HITS) for total in accumulate(HITS)]


class Voucher(bm.Message, tag=0x7C, name="threshold-near/voucher"):
    """What leaves for every picture, of one length."""

    epoch: Annotated[int, bm.UInt(64)]
    """Of the table."""
    device: Annotated[bytes, bm.Fixed(16)]
    """The device's pseudonym of the period."""
    tokens: Annotated[Rows, bm.Matrix(TOKEN_BYTES, Sizes().tokens)]
    """Q, 32, and the masked key, 16, for each token, in random order."""
    commitment: Annotated[bytes, bm.Fixed(32)]
    """A hash of the key, by which a hit shows."""
    sealed: Annotated[bytes, bm.Fixed(SEALED_BYTES)]
    """Under the key: the share; and under the account key, or a random one: hash and evidence."""


def token_rows(tokens: Tokens) -> Rows:
    """Keys of the table, uint8 (bands * n, 9), of tokens (bands, n): the band's number and the bits."""
    bands, each = tokens.shape
    numbers = np.repeat(np.arange(bands, dtype=np.uint8), each)[:, None]
    return _rows(numbers, tokens.reshape(-1))


def _rows(numbers: Rows, bits: Tokens) -> Rows:
    return rowwise.joined(len(bits), numbers, bits.astype(">u8")[:, None].view(np.uint8))


def masks_of(shared: Rows) -> Rows:
    """What the key is masked with under each S, uint8 (n, 32): uint8 (n, 16)."""
    return rowwise.sha512(shared, _MASK_TAG)[:, :KEY_BYTES]


def keyed(bound: bytes, keys: Rows) -> tuple[Rows, Rows]:
    """Commitment and outer key, uint8 (n, 32) each, of keys, uint8 (n, 16), of a voucher."""
    digests = rowwise.sha512(rowwise.joined(len(keys), bound, keys), _COMMITMENT_TAG)
    return digests[:, :32], digests[:, 32:]


def bound_by(epoch: int, period: bytes, device: bytes, tokens: Rows) -> bytes:
    """What both seals and the commitment of a voucher are bound to."""
    return bound_to(epoch, period, device, sha256(tokens.tobytes()).digest())


class NearOpener(ThresholdOpener, frozen=True, eq=False):
    """The centre's state. Its threshold counts pictures near an entry, though as many visible ones that are
    real give it the account key, near or not."""

    KIND: ClassVar[type[Any]] = Voucher
    WITHIN: ClassVar[int] = MATCH_DISTANCE
    TOKENS: ClassVar[int] = Sizes().tokens

    def outer(self, voucher: Any) -> tuple[bytes, bytes]:
        """As its base says; a key that no device knows if none is right."""
        if len(voucher.tokens) != self.TOKENS:
            raise ProtocolError(Voucher.NAME, f"must be {self.TOKENS} rows", "tokens")
        bound = bound_by(voucher.epoch, self.period, voucher.device, voucher.tokens)
        blinded, masked = np.hsplit(voucher.tokens, [group.ELEMENT_BYTES])
        shared = self.multiplied(np.ascontiguousarray(blinded))
        commitments, keys = keyed(bound, masks_of(shared) ^ masked)
        right = (commitments == np.frombuffer(voucher.commitment, np.uint8)).all(axis=1)
        unknown = sha256(_COMMITMENT_TAG + self.key.tobytes()).digest()
        return bound, keys[int(right.argmax())].tobytes() if right.any() else unknown

    def counts(self, raw: bytes | None) -> bool:
        return raw is not None and self.known.match(raw[:HASH_BYTES], self.WITHIN) is not None


VISIBLE: Final = bm.Fact(
    "visible_near",
    "how many of an account's pictures have a token listed, near an entry or not, or put into the table by "
    "the curator, or are made to look so; which vouchers these are, in what order they came (of those made "
    "to look so hardly any come together), which of them are of one picture and how many of their tokens are "
    "listed, but neither which nor what is on them; which are real, if one is sent again under another list, "
    "or as a copy with the same hash",
    bm.Severity.OUTCOME,
    shows=frozenset({bm.Shows.OUTCOME}),
)
FAR: Final = bm.Fact(
    "opened_far",
    "of an account that opens also the hashes of pictures that have a token listed and are near no entry; "
    "for whoever decodes by rules of its own they count like matches",
    bm.Severity.HASH,
)
RECALL: Final = 0.95
"""Of PDQ's pairs of any kind of picture: of playing cards, which have the least, 96.4 % are found in
the corpus, less the 1 % that are made up."""


class ThresholdNear(ThresholdPsi):
    info: ClassVar[bm.Info] = replace(
        ThresholdPsi.info,
        name="threshold-near",
        version=3,
        differs="pieces of the hash are blinded, and nothing opens below a threshold of matches",
        summary="Every picture gives a voucher; from a threshold on the centre can open those near the list.",
        relation=bm.Near(MATCH_DISTANCE, recall=RECALL),
        vouching=replace(
            VOUCHING,
            visible="at once, of pictures with a token listed, or put into the table by the curator without "
            "being listed, and of made-up ones, which with fewer than "
            "`threshold` real ones the centre can tell apart by when they come and by how many of their "
            "tokens are listed alone, also where a picture is sent again under another list, or as a copy "
            "with the same hash",
            opened="from threshold + s/32 matches of a device and period on, rounded up, of s made-up ones, "
            "as long as both are among those that the centre tries, and once it tries them: when its visible "
            "vouchers of the device have grown by 1/32 since it last did; with fewer than `threshold` real "
            "visible ones never; with these, by more work than the centre's decoder does, or if the centre "
            "counts pictures near no entry",
        ),
    )
    vouchers: ClassVar[tuple[type[bm.Message], ...]] = (Voucher,)
    opener: ClassVar[type[ThresholdOpener]] = NearOpener
    sizes: ClassVar[Sizes] = Sizes()

    def leakage(self) -> tuple[bm.Leak, ...]:
        return (
            *leaks({bm.Party.CENTRE}, QUERY_TIME, EPOCH, WHOSE, VISIBLE, EARLY, FAR),
            *leaks({bm.Party.DEVICE}, SET_SIZE),
        )

    def reduced(self) -> bm.AnyDesign | None:
        return SMALL

    def slots(self, entries: int) -> int:
        return self.sizes.bands * entries

    def keys_of(self, hashes: Rows) -> Rows:
        found = common_tokens(hashes, self.sizes.k, self.sizes.bands, self.sizes.order)
        parts = [_rows(np.full((len(one), 1), band, np.uint8), one) for band, one in enumerate(found)]
        free = np.arange(self.slots(len(hashes)) - sum(map(len, found)), dtype=np.uint64)
        return np.concatenate([*parts, _rows(np.full((len(free), 1), _FILLING, np.uint8), free)])

    def parts(self, setup: Setup, item: bm.Item) -> bm.Parts:
        return bm.Parts(
            band_bits(self.sizes.k, self.sizes.bands, self.sizes.order), self.asked(item.hash, item)
        )

    def asked(self, own_hash: bytes, item: bm.Item) -> Tokens:
        """The tokens of a picture that passes for having this hash, (bands, probes)."""
        t = self.sizes
        return probe_tokens(own_hash, item.coefficients, t.k, t.bands, t.probes, t.order)

    def voucher(self, setup: Setup, item: bm.Item, inside: Inside, rng: bm.Randomness) -> Voucher:
        """Takes 64 bytes of `rng` a token, and for each of `bands` and one more, 8 and 16 a token, and 16."""
        t = self.sizes
        rows = token_rows(self.asked(inside.own_hash, item))
        b, c, r = (group.random_scalars(count, rng) for count in (t.tokens, 1, t.bands))
        order = drawn_order(t.tokens, rng)
        key, noise = (np.frombuffer(rng.take(KEY_BYTES * n), np.uint8).reshape(n, -1) for n in (1, t.tokens))
        blinded = group.add(group.hash_multiply(b, setup.domain.uniform(rows)), group.multiply_base(c))
        shared = group.add(group.multiply(b, setup.values(rows)), group.multiply(c, setup.public))
        made = group.multiply_base(r)
        hit = group.multiply(r, setup.public)
        is_hit = np.arange(t.tokens) < hits_of(inside.device.pattern(inside.own_hash))
        real = blinded, masks_of(shared) ^ key
        synthetic = (
            np.where(is_hit[:, None], np.resize(made, blinded.shape), blinded),
            np.where(is_hit[:, None], np.resize(masks_of(hit), noise.shape) ^ key, noise),
        )
        tokens = np.concatenate((real, synthetic)[inside.is_synthetic], axis=1)[order]
        bound = bound_by(setup.epoch, setup.period, inside.device.name, tokens)
        commitment, outer = (one.tobytes() for one in keyed(bound, key))
        sealed = sealed_twice(bound, outer, inside.share, inside.key, inside.plain)
        return Voucher(setup.epoch, inside.device.name, tokens, commitment, sealed)


def drawn_order(count: int, rng: bm.Randomness) -> npt.NDArray[np.intp]:
    """Places 0 to `count` - 1 in random order; takes 8 bytes of `rng` each."""
    return np.argsort(np.frombuffer(rng.take(8 * count), np.uint64))


def hits_of(pattern: int) -> int:
    """How many tokens a synthetic voucher has listed, by a number below 2^16."""
    return 1 + sum(pattern >= step for step in _STEPS[:-1])


class SmallOpener(NearOpener, frozen=True, eq=False):
    TOKENS: ClassVar[int] = Sizes(probes=4).tokens


class SmallThresholdNear(ThresholdNear):
    """The same with few tokens, for checks that run many sessions: it finds fewer copies; not for use."""

    info: ClassVar[bm.Info] = replace(
        ThresholdNear.info,
        name="threshold-near-insecure",
        summary="threshold-near with 24 tokens, for checks that run thousands of sessions.",
        differs="not for use: 4 tokens a band, which find fewer copies",
        relation=bm.Near(MATCH_DISTANCE, recall=0.9),
    )
    opener: ClassVar[type[ThresholdOpener]] = SmallOpener
    sizes: ClassVar[Sizes] = Sizes(probes=4)

    def reduced(self) -> None:
        """None: this is the reduced design."""


SMALL: Final = SmallThresholdNear()
DESIGN: Final = ThresholdNear()
