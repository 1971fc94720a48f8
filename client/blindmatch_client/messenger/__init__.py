"""The end-to-end encrypted messenger: X3DH, the Double Ratchet and a commitment in every message.

Sans-IO. `Account` is the state machine; transport, storage and the clock are the caller's.

The libraries of X3DH and the Double Ratchet take a tenth of a second to load: `Account` brings them along
when it is first asked for, and what a device does without it needs none of them.
"""

from typing import TYPE_CHECKING, Any

from blindmatch_client.errors import MessengerError as MessengerError
from blindmatch_client.messenger.state import FetchedBundle as FetchedBundle
from blindmatch_client.messenger.state import PreKeyPublication as PreKeyPublication

if TYPE_CHECKING:
    from blindmatch_client.messenger.account import Account as Account


def __getattr__(name: str) -> Any:
    if name != "Account":
        raise AttributeError(name)
    from blindmatch_client.messenger.account import Account

    return Account
