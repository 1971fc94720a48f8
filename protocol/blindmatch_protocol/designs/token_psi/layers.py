"""The layers of a set-up, opened: a full set, and a delta for every epoch since (`deltas`).

Values of one layer never combine with another's.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Final

import numpy as np
from msgspec import field

from blindmatch_protocol.codec import Rows
from blindmatch_protocol.contract import Label
from blindmatch_protocol.designs.deltas import removed_ids
from blindmatch_protocol.designs.recipe import signatures_of
from blindmatch_protocol.designs.token_psi import derivation
from blindmatch_protocol.designs.token_psi.addresses import AddressIndex
from blindmatch_protocol.designs.token_psi.derivation import TokenKeys
from blindmatch_protocol.designs.token_psi.families import MOST_MEMBERS
from blindmatch_protocol.designs.voprf.files import FileLayer
from blindmatch_protocol.setfile import SetFile
from blindmatch_protocol.sets.labels import KIND as LABEL_KIND
from blindmatch_protocol.sets.labels import SealedLabels
from blindmatch_protocol.sets.store import KIND as SHARD_KIND
from blindmatch_protocol.sets.store import Store

ADDRESSES_KIND: Final = 0x105
"""Of every set-up file: the index of labels by address (`addresses`)."""


class Layer(FileLayer, frozen=True, eq=False):
    """A full set or a delta, opened.

    Attributes:
        store: finds a band's masked value.
    """

    many: ClassVar = frozenset({SHARD_KIND, LABEL_KIND})
    once: ClassVar = (ADDRESSES_KIND,)

    store: Store
    labels: SealedLabels
    _opened: list[AddressIndex] = field(default_factory=list)

    @property
    def addresses(self) -> AddressIndex:
        """Finds labels by address; checked and opened when first asked for.

        Raises:
            SetFileError: if the section was altered.
        """
        if not self._opened:
            self._opened.append(AddressIndex(self.file.section(ADDRESSES_KIND), self.entries))
        return self._opened[0]

    def check(self) -> None:
        self.store.check(self.entries * self.file.identity.parameters["bands"])
        self.addresses.check()

    def values(self, keys: TokenKeys) -> Rows:
        """What the store holds for `n` tokens, whether it holds them or not, uint8 (n, 16).

        Raises:
            SetFileError: if the file was altered.
        """
        return keys.values(self.store.lookup(keys.store_keys))

    def labels_of(self, secrets: Rows) -> list[Label]:
        """Every label that candidate secrets, uint8 (m, 16), open, with its family's, each once."""
        rows, _ = self.addresses.lookup(derivation.addresses(secrets, self.epoch))
        distinct = dict.fromkeys(secrets[row].tobytes() for row in rows.tolist())
        return [label for secret in distinct for label in self._family(secret)]

    def _family(self, secret: bytes) -> Iterator[Label]:
        """The labels of a family's members, in their order, up to the first that is not there."""
        for member in range(MOST_MEMBERS):
            label = self._open(derivation.member_secret(secret, member, self.epoch))
            if label is None:
                return
            yield label

    def _open(self, secret: bytes) -> Label | None:
        row = np.frombuffer(secret, np.uint8).reshape(1, -1)
        _, numbers = self.addresses.lookup(derivation.addresses(row, self.epoch))
        key = derivation.label_keys(row, self.epoch).tobytes()
        for number in numbers.tolist():
            label = self.labels.unseal(key, number)
            if label is not None:
                return label
        return None


def open_layer(name: str, file: SetFile) -> Layer:
    """Open a full set or a delta.

    Raises:
        SetFileError: if it is not what it must be.
    """
    file.row(ADDRESSES_KIND)
    sealed = SealedLabels(file, file.entries, signatures_of(name, file))
    return Layer(name, file, removed_ids(name, file), Store(file, derivation.WORDS), sealed)
