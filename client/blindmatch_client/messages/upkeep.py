"""Looks after the account's pre-keys at the relay: there are enough, and none is too old.

    signed pre-key older than a week  --> a new one; the one before serves what is under way
    the relay holds fewer than 25     --> 100 new ones in place of all published before; those are kept as
                                          long as the relay keeps messages, 1,000 in all

Keys are saved before they are published. What calls for it is the clock, what the relay said last, and how
many one-time pre-keys were used since: never what was sent or matched.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from msgspec import Struct

from blindmatch_client.messages.relay import RelayClient
from blindmatch_client.messenger.keys import AccountKeeper
from blindmatch_client.messenger.pre_keys import ONE_TIME_MOST, ONE_TIME_PRE_KEYS
from blindmatch_client.store.store import Store

HOUR_MS: Final = 60 * 60 * 1000
ROTATE_AFTER_MS: Final = 7 * 24 * HOUR_MS
"""Age of a signed pre-key at which it is replaced (X3DH, section 2.4: "once a week, or once a month")."""

LOOK_AFTER_MS: Final = 6 * HOUR_MS
"""So often the relay is asked how many one-time pre-keys it holds, by publishing them again."""

FEW: Final = 25
_PUBLISHED: Final = "pre_keys_published"


class Upkeep(Struct, frozen=True):
    """The pre-keys of one account."""

    keeper: AccountKeeper
    store: Store
    relay: RelayClient
    clock_ms: Callable[[], int]

    def publish(self) -> int:
        """Publish the pre-keys, renewed as far as that is due; how many one-time ones the relay holds.

        Raises:
            ServiceError: if the relay cannot be reached or refuses.
        """
        now = self.clock_ms()
        # a clock that was set back must not keep an old key for ever
        if abs(self.keeper.account.signed_pre_key_age(now)) > ROTATE_AFTER_MS:
            with self.keeper.saving() as account:
                account.rotate_signed_pre_key(now)
        held = self._register(now)
        if held < FEW and self._replace(held):
            held = self._register(now)
        left = self.keeper.account.one_time_left
        self.store.put(_PUBLISHED, now.to_bytes(8, "big") + left.to_bytes(4, "big"))
        return held

    @property
    def published(self) -> bool:
        """Has the relay ever taken them?"""
        return self.store.get(_PUBLISHED) is not None

    def is_due(self) -> bool:
        """Is it time to `publish` again?"""
        kept = self.store.get(_PUBLISHED)
        if kept is None:
            return False
        at, left = int.from_bytes(kept[:8], "big"), int.from_bytes(kept[8:], "big")
        used = left - self.keeper.account.one_time_left
        return used > ONE_TIME_PRE_KEYS - FEW or abs(self.clock_ms() - at) > LOOK_AFTER_MS

    def hasten(self) -> None:
        """Make it time to `publish` again."""
        if self.published:
            self.store.put(_PUBLISHED, bytes(12))

    def _register(self, now: int) -> int:
        held = self.relay.register(self.keeper.account.published())
        with self.keeper.saving() as account:
            account.note_published(now)
        return held

    def _replace(self, held: int) -> bool:
        """Make new ones in place of those `held`, as far as there is room: others that were handed out and
        never used take it up until they are deleted.
        """
        count = min(ONE_TIME_PRE_KEYS, ONE_TIME_MOST - self.keeper.account.one_time_kept)
        if 0 < held >= count:
            return False
        with self.keeper.saving() as account:
            account.withdraw_one_time_pre_keys()
            account.add_one_time_pre_keys(count)
        return True
