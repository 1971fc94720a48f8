"""What an account knows of its peers: of each its identity key, and its sessions, the current one first.

The key is pinned when it is first seen. Whether it is the peer's is known once its safety number was compared
(`verified`); another key is refused, and kept as `offered` so that it can be compared, too. Its key for
franking is the one that the identity key signed.

Two sessions arise if both sides start one at once. As in Sesame, section 3.3, a message that decrypts makes
its session the current one, so both sides end up on one of them; older ones still decrypt what is under way.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.messages.sealed_message import Curve25519Key
from msgspec import Struct
from msgspec.structs import replace

from blindmatch_client.messenger.errors import MalformedError
from blindmatch_client.messenger.naming import framed
from blindmatch_client.messenger.session import Session
from blindmatch_client.messenger.state import SESSIONS_MOST, AcceptedState, PeerState


class Peer(Redacted, Struct, frozen=True, eq=False):
    """A peer; never changed, each step returns the next one."""

    identity: bytes
    sessions: tuple[Session, ...] = ()
    accepted: tuple[AcceptedState, ...] = ()
    verified: bool = False
    offered: tuple[bytes, ...] = ()
    told: tuple[bytes, ...] = ()
    franking_key: tuple[bytes, ...] = ()

    def find(self, session: bytes) -> Session | None:
        """The session of this name."""
        return next((known for known in self.sessions if known.id == session), None)

    def with_current(self, session: Session) -> Peer:
        """The peer with `session`, in its new state, as the current one."""
        others = tuple(known for known in self.sessions if known.id != session.id)
        return replace(self, sessions=(session, *others)[:SESSIONS_MOST])

    def trusting(self, identity: bytes) -> Peer:
        """The peer once the user has compared `identity`; sessions with another key end."""
        sessions = self.sessions if identity == self.identity else ()
        franking_key = self.franking_key if identity == self.identity else ()
        return replace(
            self, identity=identity, sessions=sessions, verified=True, offered=(), franking_key=franking_key
        )

    def accepting(self, started: AcceptedState) -> Peer:
        """The peer, which has started a session without a one-time pre-key."""
        return replace(self, accepted=(*self.accepted, started))

    def serving(self, signed_pre_keys: Collection[bytes]) -> Peer:
        """The peer without what was started with signed pre-keys that no longer serve: their replay fails."""
        kept = tuple(one for one in self.accepted if one.signed_pre_key in signed_pre_keys)
        return self if kept == self.accepted else replace(self, accepted=kept)

    def dump(self, name: str) -> PeerState:
        """The state for storing."""
        sessions = tuple(session.dump() for session in self.sessions)
        known = (name, self.identity, self.verified, self.offered, self.told)
        return PeerState(*known, sessions, self.accepted, self.franking_key)

    @classmethod
    def load(cls, state: PeerState) -> Peer:
        """The peer that was dumped; raises whatever the library raises."""
        sessions = tuple(Session.load(session) for session in state.sessions)
        known = (state.accepted, state.verified, state.offered, state.told, state.franking_key)
        return cls(state.identity, sessions, *known)


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
        end. `MalformedError` if it is no canonical key."""
        framed(peer)
        try:
            Curve25519Key().write(identity, "messenger/trust", "identity")
        except ProtocolError as error:
            raise MalformedError(error) from None
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
