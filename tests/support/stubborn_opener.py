"""A design with vouchers whose opener never returns for the account `bob`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from blindmatch_protocol import contract as bm
from dummy_designs import Configured, ThresholdOpener
from msgspec.structs import replace


class StubbornOpener(ThresholdOpener):
    """As its base, but for an account."""

    def open(self, account: str, period: bytes, rows: Sequence[bytes]) -> Mapping[int, bm.Label]:
        while account == "bob":
            pass
        return super().open(account, period, rows)


class Stubborn(Configured):
    """CONFIGURED with that opener."""

    info = replace(Configured.info, name="dummy-stubborn")

    def open_opener(self, files: bm.Buffers) -> bm.Opener:
        opener = super().open_opener(files)
        assert isinstance(opener, ThresholdOpener)
        return StubbornOpener(opener.known)


STUBBORN = Stubborn()
