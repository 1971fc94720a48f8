"""What the centre allows whoever hands something in."""

from __future__ import annotations

from msgspec import Struct

from blindmatch_server.hosting.rate import Rate


class CentreLimits(Struct, frozen=True):
    """Bounds of the centre.

    Attributes:
        most_sealed_bytes: a sealed report.
        most_reports_a_day: of one submitter.
        most_voucher_bytes: a voucher.
        most_vouchers: of one account, design and period.
        most_uploads: calls with parts that a submitter has at a time.
        submissions: calls of `Key`, `Submit`, `SubmitVoucher` and `Complain` by one account, all together.
        list_wait_seconds: how long `List` waits for the checks of what was received before.
    """

    most_sealed_bytes: int = 40 << 20
    most_reports_a_day: int = 10_000
    most_voucher_bytes: int = 4 << 20
    most_vouchers: int = 100_000
    most_uploads: int = 4
    submissions: Rate = Rate(50.0, 500)
    list_wait_seconds: float = 10.0
