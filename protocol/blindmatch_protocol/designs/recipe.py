"""What the rows of a set-up file are made for, as designs that publish sealed labels need it."""

from __future__ import annotations

import struct
from typing import Final

from msgspec import Struct

from blindmatch_protocol.codec.errors import SetFileError
from blindmatch_protocol.contract.declaration import Parameter
from blindmatch_protocol.contract.steps import MOST_SIGNATURES
from blindmatch_protocol.setfile import SetFile

SIGNATURES: Final = Parameter(
    "signatures", "Places for signatures in a label.", "signatures", 0, 0, MOST_SIGNATURES
)

_FRONT: Final = struct.Struct(">QBB")


class Recipe(Struct, frozen=True):
    """What the rows of a file depend on besides the entries and the key.

    Attributes:
        epoch: of the file.
        signatures: in a label.
        earlier: epochs of the files before it; rows tell where an entry would lie in each of them, too.
    """

    epoch: int
    signatures: int = 0
    earlier: tuple[int, ...] = ()

    @property
    def epochs(self) -> tuple[int, ...]:
        """The file's own epoch, and those before it."""
        return (self.epoch, *self.earlier)

    def pack(self) -> bytes:
        """The recipe as bytes, for worker processes and for the plan of a scratch."""
        front = _FRONT.pack(self.epoch, self.signatures, len(self.earlier))
        return front + b"".join(epoch.to_bytes(8, "big") for epoch in self.earlier)

    @classmethod
    def unpack(cls, raw: bytes) -> tuple[Recipe, bytes]:
        """The recipe at the front of `raw`, and what follows it."""
        epoch, signatures, count = _FRONT.unpack_from(raw)
        end = _FRONT.size + 8 * count
        earlier = tuple(int.from_bytes(raw[at : at + 8], "big") for at in range(_FRONT.size, end, 8))
        return cls(epoch, signatures, earlier), raw[end:]


def signatures_of(name: str, file: SetFile) -> int:
    """Signatures in the labels of a set-up file.

    Raises:
        SetFileError: if it does not say, or there are too many.
    """
    value = file.identity.parameters.get(SIGNATURES.name)
    if value is None or value > SIGNATURES.most:
        raise SetFileError(f"{name}: parameter signatures: must be there and at most {SIGNATURES.most}")
    return value
