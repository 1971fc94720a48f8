"""The messages of he-hamming; docs/wire.md. `packing` says what a row is."""

from __future__ import annotations

from typing import Annotated, Final

from blindmatch_protocol.codec import Fixed, Matrix, Message, Rows, UInt, Variable
from blindmatch_protocol.designs.he_hamming import packing
from blindmatch_protocol.designs.he_hamming.packing import DATA, KEY, LEAST_DEGREE, MOST_DEGREE, SEED_BYTES
from blindmatch_protocol.designs.he_hamming.ring import PARTS

REPLY_POLYNOMIALS: Final = 16
_QUERY: Final = Matrix(packing.width(1, DATA), MOST_DEGREE, LEAST_DEGREE)
_REPLY: Final = Matrix(packing.width(REPLY_POLYNOMIALS, 1), MOST_DEGREE, LEAST_DEGREE)
_KEYS: Final = Matrix(packing.width(PARTS + 2, KEY), MOST_DEGREE, LEAST_DEGREE)


class Secret(Message, tag=0x50, name="he-hamming/secret"):
    """An account's state: the coefficients of its secret key, four a byte; none before it enrolled."""

    coefficients: Annotated[bytes, Variable(MOST_DEGREE // 4)]


class Keys(Message, tag=0x51, name="he-hamming/keys"):
    """Device to matcher, once for an account and epoch: rotation, relinearisation and public keys."""

    seeds: Annotated[bytes, Fixed(PARTS * SEED_BYTES)]
    rows: Annotated[Rows, _KEYS]

    def check(self) -> None:
        """Every number is below its prime."""
        packing.unpacked(self.rows, KEY, self.NAME, "rows")


class Query(Message, tag=0x52, name="he-hamming/query"):
    """Device to matcher: the encrypted hash."""

    epoch: Annotated[int, UInt(64)]
    seed: Annotated[bytes, Fixed(SEED_BYTES)]
    rows: Annotated[Rows, _QUERY]

    def check(self) -> None:
        """Every number is below its prime."""
        packing.unpacked(self.rows, DATA, self.NAME, "rows")


class Reply(Message, tag=0x53, name="he-hamming/reply"):
    """Matcher to device: eight ciphertexts, whatever the list and the picture are."""

    epoch: Annotated[int, UInt(64)]
    rows: Annotated[Rows, _REPLY]

    def check(self) -> None:
        """Every number is below its prime."""
        packing.unpacked(self.rows, 1, self.NAME, "rows")
