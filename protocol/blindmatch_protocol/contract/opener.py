"""The centre's part of a design with vouchers: each is taken once, and only what may ever open is kept.

centre  take(account, device, period, voucher) --+--> Hidden         its digest is kept, no body
                                                 +--> Visible(row)   the row is kept
        open(account, period, rows) --> labels of those that can be opened now

A period is the life of a key (`Design.period`): vouchers of all epochs that share it add up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, TypeAlias

from msgspec import Struct

from blindmatch_protocol.codec import Message
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract.outcome import Label


class Hidden(Struct, frozen=True):
    """This voucher can never be opened; the centre forgets all of it but a digest."""


class Visible(Redacted, Struct, frozen=True):
    """This voucher may be opened, now or later.

    Attributes:
        row: what `Opener.open` needs of it.
    """

    row: bytes


Taken: TypeAlias = Hidden | Visible


class Opener(Protocol):
    """Has no state: what it must remember of a voucher is in the row. Both steps run in threads."""

    def take(self, account: str, device: str, period: bytes, voucher: Message) -> Taken:
        """What of a voucher is to be kept. Called once for each; the receipt leaves after it.

        Args:
            account: whose it is, from the certificate.
            device: which of the account's devices handed it in, from the certificate.
            period: of the set-up that the device used.
            voucher: its body.

        Raises:
            ProtocolError: if it breaks the protocol; nothing of it is kept then.
        """
        ...

    def open(self, account: str, period: bytes, rows: Sequence[bytes]) -> Mapping[int, Label]:
        """Labels of those of an account's rows of a period (by index) that can be opened now.

        Called after the receipt, with all of them in the order in which they were taken, whenever there are
        new ones; several new ones may come together.
        """
        ...


def open_all(
    opener: Opener, account: str, device: str, period: bytes, vouchers: Sequence[Message]
) -> dict[int, Label]:
    """Take all of `vouchers` of one period and open them, as the centre does; labels by the voucher's index.

    Raises:
        ProtocolError: if one breaks the protocol.
    """
    taken = [(index, opener.take(account, device, period, voucher)) for index, voucher in enumerate(vouchers)]
    rows = [(index, one.row) for index, one in taken if isinstance(one, Visible)]
    labels = opener.open(account, period, [row for _, row in rows])
    return {rows[at][0]: label for at, label in labels.items()}
