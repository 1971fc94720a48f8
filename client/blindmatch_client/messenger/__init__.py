"""The end-to-end encrypted messenger: X3DH, the Double Ratchet and a commitment in every message.

Sans-IO. `Account` is the state machine; transport, storage and the clock are the caller's.
"""

from blindmatch_client.messenger.account import Account as Account
from blindmatch_client.messenger.attachment import open_attachment as open_attachment
from blindmatch_client.messenger.attachment import seal_attachment as seal_attachment
from blindmatch_client.messenger.errors import MessengerError as MessengerError
from blindmatch_client.messenger.pre_keys import FetchedBundle as FetchedBundle
from blindmatch_client.messenger.pre_keys import PreKeyPublication as PreKeyPublication
