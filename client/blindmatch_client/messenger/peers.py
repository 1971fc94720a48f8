"""All peers of an account: their keys, whether they were compared, and the sessions with each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from blindmatch_client.messenger.naming import framed
from blindmatch_client.messenger.peer import Peer
from blindmatch_client.messenger.session import Session


class Peers:
    """The peers, and which of them changed since they were stored."""

    __slots__ = ("_peers", "_peers_changed")

    def __init__(self) -> None:
        self._peers: dict[str, Peer] = {}
        self._peers_changed: set[str] = set()

    def has_session(self, peer: str) -> bool:
        """Whether a message to `peer` needs no bundle."""
        return self._current(peer) is not None

    def peer_identity(self, peer: str) -> bytes | None:
        """The pinned identity key of `peer`: the first one seen (trust on first use), or the trusted one."""
        return self._peers[peer].identity if peer in self._peers else None

    def peers(self) -> Mapping[str, Peer]:
        """All peers whose key was seen, by name."""
        return self._peers

    def trust(self, peer: str, identity: bytes) -> None:
        """Pin `identity` for `peer` as compared, by the user or by configuration; sessions with another key
        end."""
        framed(peer)
        self._set_peer(peer, self._peers.get(peer, Peer(identity)).trusting(identity))

    def note_identity(self, peer: str, identity: bytes) -> None:
        """Pin `identity` if none is pinned, as on first use; keep one that is refused, to be compared."""
        framed(peer)
        known = self._peers.get(peer, Peer(identity))
        other = (identity,) if identity != known.identity else known.offered
        if peer not in self._peers or other != known.offered:
            self._set_peer(peer, replace(known, offered=other))

    def note_told(self, peer: str) -> None:
        """The user was told of the keys of `peer`."""
        known = self._peers[peer]
        self._set_peer(peer, replace(known, told=(known.identity, *known.offered)))

    def reset_sessions(self, peer: str) -> None:
        """End all sessions with `peer`; the next message starts one. The pinned key stays."""
        if peer in self._peers:
            self._set_peer(peer, replace(self._peers[peer], sessions=()))

    def _set_peer(self, name: str, peer: Peer) -> None:
        self._peers[name] = peer
        self._peers_changed.add(name)

    def _current(self, peer: str) -> Session | None:
        """The session for the next message to a peer."""
        known = self._peers.get(peer)
        return known.sessions[0] if known and known.sessions else None
