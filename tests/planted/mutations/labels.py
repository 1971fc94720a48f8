"""Cheats of what a label says beside its entry, and of vouchers that open too early."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from blindmatch_protocol import contract as bm
from blindmatch_protocol.contract import Label
from blindmatch_protocol.contract.steps import UNCONFIRMED_ID
from blindmatch_protocol.sets.plain_list import open_list
from dummy_designs import ThresholdOpener, Vouchers
from msgspec.structs import replace

from planted.mutations.hooks import CHEAT, Hooked, Psi, Upload, planted, variant

SIGNATURE = 64


def labelled(how: Callable[[Any, Label], Label]) -> type[Psi]:
    """Matches with other labels."""

    def ended(self: Any, outcome: bm.Outcome, session: Any) -> bm.Outcome:
        return bm.Match(how(session, outcome.label)) if isinstance(outcome, bm.Match) else outcome

    return variant(Psi, ended=ended)


planted("an unconfirmed label of a set that is no filter", "outcomes", "outcome")(
    labelled(lambda _, label: Label(label.entry_hash, UNCONFIRMED_ID, bytes(16)))
)
planted("the hash in the place of signatures", "outcomes", "outcome")(
    labelled(lambda _, label: replace(label, signatures=label.entry_hash * 2))
)
planted("a byte after eight signatures of zeros", "outcomes", "outcome")(
    labelled(lambda _, label: replace(label, signatures=bytes(SIGNATURE * 8 - 1) + label.entry_hash[:1]))
)


@planted("bytes of a design's own that it takes for signatures", "outcomes", "outcome")
class TakesAnySignature(labelled(lambda _, label: replace(label, signatures=label.entry_hash * 2))):  # type: ignore[misc]
    def is_signed(self, setup: Any, label: Label) -> bool:
        return True


@planted("a server reads more in the place of signatures", "outcomes", "verdict")
class ToldMore(Upload):
    def answered(self, state: Any, requests: Any, answer: bm.Answer) -> bm.Answer:
        told = [
            bm.Verdict(replace(one.label, signatures=one.label.entry_hash * 2))
            if one is not None and one.label is not None
            else one
            for one in answer.verdicts
        ]
        return bm.Answer(answer.replies, told)


class Opener(ThresholdOpener, frozen=True):
    """Opens whatever matches."""

    def open(self, account: str, period: bytes, rows: Sequence[bytes]) -> Mapping[int, Label]:
        return {index: Label.decode(row) for index, row in enumerate(rows) if row}


class CountsAll(Opener, frozen=True):
    """Counts vouchers that match nothing as well."""

    def take(self, account: str, device: str, period: bytes, voucher: Any) -> bm.Taken:
        taken = super().take(account, device, period, voucher)
        return bm.Visible(b"") if isinstance(taken, bm.Hidden) else taken

    def open(self, account: str, period: bytes, rows: Sequence[bytes]) -> Mapping[int, Label]:
        return super().open(account, period, rows) if len(rows) > 1 else {}


class OpensAtTwo(Hooked, Vouchers):
    """Honest: declares that nothing opens below two matches, and opens nothing."""

    info = replace(Vouchers.info, name=CHEAT)

    def threshold(self, setup: Any) -> int:
        return 2


@planted("a threshold of two that opens at one match", "outcomes", "open")
class OpensAtOne(OpensAtTwo):
    def open_opener(self, files: bm.Buffers) -> bm.Opener:
        return Opener(open_list(self.info, files))


@planted("a threshold that counts pictures on no list", "outcomes", "open")
class OpensByNumber(OpensAtTwo):
    def open_opener(self, files: bm.Buffers) -> bm.Opener:
        return CountsAll(open_list(self.info, files))
