"""What an account knows of one peer: its pinned identity key and its sessions, the current one first.

Two sessions arise if both sides start one at once. As in Sesame, section 3.3, a message that decrypts makes
its session the current one, so both sides end up on one of them; older ones still decrypt what is under way.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from blindmatch_client.messenger.session import Session
from blindmatch_client.messenger.state import SESSIONS_MOST, PeerState


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Peer:
    """A peer; never changed, each step returns the next one."""

    identity: bytes
    sessions: tuple[Session, ...] = ()

    @property
    def current(self) -> Session | None:
        """The session for the next message to this peer."""
        return self.sessions[0] if self.sessions else None

    def find(self, session: bytes) -> Session | None:
        """The session of this name."""
        return next((known for known in self.sessions if known.id == session), None)

    def with_current(self, session: Session) -> Peer:
        """The peer with `session`, in its new state, as the current one."""
        others = tuple(known for known in self.sessions if known.id != session.id)
        return replace(self, sessions=(session, *others)[:SESSIONS_MOST])

    def dump(self, name: str) -> PeerState:
        """The state for storing."""
        return PeerState(name, self.identity, tuple(session.dump() for session in self.sessions))

    @classmethod
    def load(cls, state: PeerState) -> Peer:
        """The peer that was dumped; raises whatever the library raises."""
        return cls(state.identity, tuple(Session.load(session) for session in state.sessions))
