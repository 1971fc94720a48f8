"""What a key may still be asked for: by one account, by all together, and until when.

    body --> expired? used up? --refused--> device
                |
                +--> answered, and counted on disk ---both done---> device

An evaluation is counted before its reply leaves: a server that dies in between has counted one that nobody
got, never the other way round. A body counts whatever becomes of it, and so does one that is sent again.
Counts belong to the key, so they outlive epochs that share it, restarts and the process.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import Final

from blindmatch_protocol.contract import KeyLimits

from blindmatch_server.hosting.event_log import EventLog
from blindmatch_server.matching.store import MatcherStore, Spent
from blindmatch_server.storage.clock import Clock
from blindmatch_server.storage.errors import PreconditionError, QuotaError

_BUDGET: Final = "matching/budget"


class BudgetError(QuotaError):
    """The evaluations under a key are used up, for this account or for all."""


class KeyExpiredError(PreconditionError):
    """The key of the epoch in force must not be used any more."""


class Budget:
    """Enforces the limits of keys; belongs to one event loop."""

    def __init__(self, ledger: MatcherStore, clock: Clock, log: EventLog) -> None:
        self._ledger = ledger
        self._clock = clock
        self._log = log

    async def check(self, account: str, limits: KeyLimits) -> None:
        """Refuse a body that its account may not send, before any work is done for it.

        Raises:
            KeyExpiredError: if the key's time is over.
            BudgetError: if the account, or all together, would exceed their evaluations.
        """
        if limits.expires is not None and self._clock() >= limits.expires:
            raise KeyExpiredError(_BUDGET, f"the key expired at {_date(limits.expires)}: a new set is due")
        if limits.per_account is not None or limits.in_all is not None:
            _check(await self._ledger.spent(limits.key, account), limits)

    async def spend(self, account: str, limits: KeyLimits) -> None:
        """Count a body; when this returns, that is on disk.

        Raises:
            BudgetError: see `check`; others may have spent since. Nothing is counted then.
        """
        if limits.per_account is not None or limits.in_all is not None:
            spent = await self._ledger.spend(limits.key, account, limits.cost, partial(_check, limits=limits))
            self._tell(spent.in_all, limits)

    def _tell(self, before: int, limits: KeyLimits) -> None:
        """Let the operator see each tenth of what all may have go by: time to publish the next key."""
        if limits.in_all is not None:
            tenths = (before + limits.cost) * 10 // limits.in_all
            if tenths > before * 10 // limits.in_all:
                self._log.write("evaluations-spent", percent=10 * tenths, allowed=limits.in_all)


def _check(spent: Spent, limits: KeyLimits) -> None:
    if limits.per_account is not None and spent.by_account + limits.cost > limits.per_account:
        raise BudgetError(_BUDGET, f"this account has used {_share(spent.by_account, limits.per_account)}")
    if limits.in_all is not None and spent.in_all + limits.cost > limits.in_all:
        raise BudgetError(_BUDGET, f"all accounts have used {_share(spent.in_all, limits.in_all)}")


def _share(used: int, most: int) -> str:
    return f"{used:,} of the {most:,} evaluations allowed in this key's life: the next key brings new ones"


def _date(seconds: int) -> str:
    """A Unix time in words; a number where no calendar goes as far."""
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (OverflowError, ValueError, OSError):
        return f"Unix time {seconds}"
