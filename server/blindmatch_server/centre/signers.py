"""Whose identity key is whose, as devices said under their certificates at first.

The relay has no part in it: what it says of an account's keys does not count here. Reports are judged by a
franking key that the identity key signed. The first identity key under an account's name stays, so that
whoever has a certificate in that name and comes before the account's device is taken for it; the device is
refused.
"""

from __future__ import annotations

from sqlite3 import Connection

from blindmatch_protocol.messages.sealed_message import Curve25519Key
from blindmatch_protocol.messages.sender_proof import FrankingKey
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as wire

from blindmatch_server.storage.errors import ConflictError

_STEP = "centre/key"


def claimed_identity(request: wire.CentreKeyRequest) -> bytes:
    """The identity key that a device says is its own; the franking key that it signed shows that it is.

    Raises:
        ProtocolError: if one has not the form of a key, or the identity key has not signed the other.
    """
    identity = Curve25519Key().write(request.identity_key, _STEP, "identity_key")
    FrankingKey(request.franking_key, request.franking_key_signature).check_owner(identity)
    return identity


def note_signer(connection: Connection, account: str, identity: bytes) -> None:
    """Keep an account's identity key.

    Raises:
        ConflictError: if it has another one.
    """
    connection.execute("INSERT OR IGNORE INTO signers VALUES (?, ?)", (account, identity))
    if signer_of(connection, account) != identity:
        raise ConflictError(
            _STEP, "another one was named first under this account's name, and stays", "identity_key"
        )


def signer_of(connection: Connection, account: str) -> bytes | None:
    """An account's identity key; None if it never said."""
    row = connection.execute("SELECT identity_key FROM signers WHERE account = ?", (account,)).fetchone()
    return None if row is None else bytes(row[0])
