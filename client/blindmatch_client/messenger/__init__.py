"""The end-to-end encrypted messenger: X3DH, the Double Ratchet and a commitment in every message. Sans-IO.

`Account` (account.py) is the state machine; transport, storage and the clock are the caller's. The libraries
of X3DH and the Double Ratchet take a tenth of a second to load, so a device imports it when it needs it.
"""
