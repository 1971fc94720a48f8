"""What an account knows of its peers: of each its identity key, and its sessions, the current one first.

The key is pinned when it is first seen. Whether it is the peer's is known once its safety number was compared
(`verified`); another key is refused, and kept as `offered` so that it can be compared, too. Its key for
franking is the one that the identity key signed.

X3DH sets a session up, the Double Ratchet carries it::

    Alice                                              Bob
      start(bundle) -> session S, m0 with initial ---> accept(m0) -> session S
      S.encrypt -> m1 with initial ------------------> S.decrypt(m1)
      S.decrypt(r0) <--------------------------------- S.encrypt -> r0
      S.encrypt -> m2 without ------------------------> S.decrypt(m2)

Sessions and peers are never changed: each step returns the next one, and whoever called keeps the old one if
what came out of the step is refused. Two sessions arise if both sides start one at once. As in Sesame,
section 3.3, a message that decrypts makes its session the current one, so both sides end up on one of them;
older ones still decrypt what is under way.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Collection, Coroutine, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import doubleratchet
import x3dh
import xeddsa
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.messages.sealed_message import (
    WIRE_VERSION,
    Curve25519Key,
    InitialHeader,
    MessageBinding,
    RatchetHeader,
    SealedMessage,
    session_id,
)
from msgspec import Struct
from msgspec.structs import replace

from blindmatch_client import errors
from blindmatch_client.messenger import suite
from blindmatch_client.messenger.state import (
    SEEN_MOST,
    SESSIONS_MOST,
    AcceptedState,
    PeerState,
    PreKeys,
    SessionState,
    framed,
)

_T = TypeVar("_T")


class Plain(Redacted, Struct, frozen=True):
    """A padded content and the commitment that travels outside its ciphertext."""

    padded: bytes
    commitment: bytes


class Session(Redacted, Struct, frozen=True, eq=False):
    """A session's state.

    Args:
        initial: the header that goes with every message until the first answer.
        seen: the peer's ratchet keys, the latest last.
    """

    id: bytes
    agreement: bytes
    initial: tuple[InitialHeader, ...]
    seen: tuple[bytes, ...]
    ratchet: suite.Ratchet

    def encrypt(self, plain: Plain) -> tuple[Session, SealedMessage]:
        """The next state and the sealed message."""
        ratchet = copy.deepcopy(self.ratchet)
        binding = _binding(self.agreement, self.id, self.initial, plain.commitment)
        encrypted = _run(ratchet.encrypt_message(plain.padded, binding))
        sealed = _sealed(self.id, self.initial, encrypted, plain.commitment)
        return Session(self.id, self.agreement, self.initial, self.seen, ratchet), sealed

    def decrypt(self, message: SealedMessage) -> tuple[Session, bytes]:
        """The next state and the padded content; `NotAuthenticError` if anything of the message was altered;
        `ReplayedMessageError` if it was decrypted before, or its key is no longer kept; `TooManySkippedError`
        if it claims to follow more than `SKIP_MOST` lost ones."""
        ratchet = copy.deepcopy(self.ratchet)
        binding = _binding(self.agreement, self.id, message.initial, message.commitment)
        try:
            with _quiet(message.header):
                padded = _guarded(ratchet.decrypt_message(_encrypted(message), binding))
        except errors.NotAuthenticError:
            if self._is_past(message.header):
                raise errors.ReplayedMessageError from None
            raise
        key = message.header.ratchet_key
        seen = self.seen if key in self.seen else (*self.seen, key)[-SEEN_MOST:]
        return Session(self.id, self.agreement, (), seen, ratchet), padded

    def _is_past(self, header: RatchetHeader) -> bool:
        """Tell if the message is of a chain that is over, and its key is not among the kept ones."""
        kept = self.ratchet.model.skipped_message_keys
        if any((k.ratchet_pub, k.index) == (header.ratchet_key, header.number) for k in kept):
            return False
        return header.ratchet_key in self.seen[:-1]

    def dump(self) -> SessionState:
        return SessionState(self.id, self.agreement, self.initial, self.seen, suite.dumped(self.ratchet))

    @classmethod
    def load(cls, state: SessionState) -> Session:
        """The session that was dumped; raises whatever the library raises."""
        return cls(state.id, state.agreement, state.initial, state.seen, suite.restored(state.ratchet))


def start(
    keys: suite.KeyAgreement, bundle: PreKeys, names: bytes, plain: Plain
) -> tuple[Session, SealedMessage]:
    """Set up a session as its initiator (X3DH, section 3.3) and seal its first message; `BundleRefusedError`
    if the bundle's signature or a key is not in order."""
    agreed = keys.get_shared_secret_active(bundle.checked(), names, require_pre_key=False)
    secret, agreement, header = _guarded(agreed, errors.BundleRefusedError, errors.BundleRefusedError)
    one_time = () if header.pre_key is None else (header.pre_key,)
    initial = InitialHeader(header.identity_key, header.ephemeral_key, header.signed_pre_key, one_time)
    binding = _binding(agreement, session_id(initial), (initial,), plain.commitment)
    first = suite.Ratchet.encrypt_initial_message(
        *suite.RATCHET_PARTS, secret, bundle.signed_pre_key, plain.padded, binding
    )
    ratchet, encrypted = _guarded(first, errors.BundleRefusedError, errors.BundleRefusedError)
    session = Session(session_id(initial), agreement, (initial,), (), ratchet)
    return session, _sealed(session.id, session.initial, encrypted, plain.commitment)


def accept(keys: suite.KeyAgreement, message: SealedMessage, names: bytes) -> tuple[Session, bytes]:
    """Set up a session as its responder (X3DH, section 3.4) and decrypt the padded content;
    `PreKeyUnavailableError` if the message uses pre-keys that are not there (any more), `NotAuthenticError`,
    `TooManySkippedError` as for `Session.decrypt`.

    `keys` is left as it is: deleting the one-time pre-key is the caller's, once all is accepted.
    """
    (initial,) = message.initial
    header = x3dh.Header(
        initial.identity, initial.ephemeral, initial.signed_pre_key, next(iter(initial.one_time), None)
    )
    agreed = keys.get_shared_secret_passive(header, names, require_pre_key=False)
    secret, agreement, signed = _guarded(agreed)
    binding = _binding(agreement, message.session, message.initial, message.commitment)
    first = suite.Ratchet.decrypt_initial_message(
        *suite.RATCHET_PARTS, secret, signed.priv, _encrypted(message), binding
    )
    ratchet, padded = _guarded(first)
    session = Session(message.session, agreement, (), (message.header.ratchet_key,), ratchet)
    return session, padded


def _binding(
    agreement: bytes, session: bytes, initial: tuple[InitialHeader, ...], commitment: bytes
) -> bytes:
    return MessageBinding(agreement, WIRE_VERSION, session, initial, commitment).encode()


def _sealed(
    session: bytes,
    initial: tuple[InitialHeader, ...],
    encrypted: doubleratchet.EncryptedMessage,
    commitment: bytes,
) -> SealedMessage:
    header = suite.ratchet_header(encrypted.header)
    return SealedMessage(WIRE_VERSION, session, initial, header, commitment, encrypted.ciphertext)


def _encrypted(message: SealedMessage) -> doubleratchet.EncryptedMessage:
    key = message.header.ratchet_key
    number = message.header.number
    header = doubleratchet.Header(key, message.header.previous_chain_length, number)
    return doubleratchet.EncryptedMessage(header, message.ciphertext)


def _quiet(header: RatchetHeader) -> AbstractContextManager[object]:
    """Keeps the library from warning, where it can: it gives up the lost messages of a chain that is over and
    goes on, as is wanted, and anybody can provoke it. Filters are global to the process: hence only here."""
    if header.previous_chain_length <= suite.SKIP_MOST:
        return nullcontext()
    return warnings.catch_warnings(action="ignore")


def _run(step: Coroutine[Any, Any, _T]) -> _T:
    """The result of a step of the libraries: a coroutine, though none of theirs ever suspends."""
    try:
        step.send(None)
    except StopIteration as done:
        result: _T = done.value
        return result
    step.close()
    raise RuntimeError("a coroutine of the messenger's libraries suspended")


def _guarded(
    step: Coroutine[Any, Any, _T],
    disagreed: type[errors.MessengerError] = errors.PreKeyUnavailableError,
    otherwise: type[errors.MessengerError] = errors.NotAuthenticError,
) -> _T:
    """`_run`, raising `disagreed` if X3DH refuses what the other party sent, and `otherwise` if the other
    party's keys or ciphertext are not accepted."""
    try:
        return _run(step)
    except doubleratchet.DuplicateMessageException:
        failure: type[errors.MessengerError] = errors.ReplayedMessageError
    except doubleratchet.DoSProtectionException:
        failure = errors.TooManySkippedError
    except x3dh.KeyAgreementException:
        failure = disagreed
    except (
        doubleratchet.AuthenticationFailedException,
        doubleratchet.DecryptionFailedException,
        xeddsa.XEdDSAException,
        ValueError,
    ):
        failure = otherwise
    raise failure()  # after the except clauses, so that the library's error is not its context


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
        return next((known for known in self.sessions if known.id == session), None)

    def with_current(self, session: Session) -> Peer:
        """The peer with `session`, in its new state, as the current one."""
        others = tuple(known for known in self.sessions if known.id != session.id)
        return replace(self, sessions=(session, *others)[:SESSIONS_MOST])

    def serving(self, signed_pre_keys: Collection[bytes]) -> Peer:
        """The peer without what was started with signed pre-keys that no longer serve: their replay fails."""
        kept = tuple(one for one in self.accepted if one.signed_pre_key in signed_pre_keys)
        return self if kept == self.accepted else replace(self, accepted=kept)

    def dump(self, name: str) -> PeerState:
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
        """Tell if a message to `peer` needs no bundle."""
        return peer in self._peers and bool(self._peers[peer].sessions)

    def peer_identity(self, peer: str) -> bytes | None:
        """The pinned identity key of `peer`: the first one seen (trust on first use), or the trusted one."""
        return self._peers[peer].identity if peer in self._peers else None

    def peers(self) -> Mapping[str, Peer]:
        return self._peers

    def trust(self, peer: str, identity: bytes) -> None:
        """Pin `identity` for `peer` as compared, by the user or by configuration; sessions with another key
        end. `MalformedError` if it is no canonical key."""
        framed(peer)
        try:
            Curve25519Key().write(identity, "messenger/trust", "identity")
        except ProtocolError as error:
            raise errors.MalformedError(error) from None
        known = self._peers.get(peer, Peer(identity))
        if known.identity != identity:
            known = replace(known, identity=identity, sessions=(), franking_key=())
        self._set_peer(peer, replace(known, verified=True, offered=()))

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
