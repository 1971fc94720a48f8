"""Keep an account's peers: of each the identity key, and the sessions with it, the current one first.

The key is pinned when it is first seen. Comparing the safety number shows that it is the peer's (`verified`).
Another key is refused, and kept as `offered` so that it can be compared, too. The peer's franking key is the
one that its identity key signed.

X3DH sets a session up, the Double Ratchet carries it::

    Alice                                              Bob
      start(bundle) -> session S, m0 with initial ---> accept(m0) -> session S
      S.encrypt -> m1 with initial ------------------> S.decrypt(m1)
      S.decrypt(r0) <--------------------------------- S.encrypt -> r0
      S.encrypt -> m2 without ------------------------> S.decrypt(m2)

Sessions and peers are never changed: each step returns the next one, and the caller keeps the old one if it
refuses the step's result. If both sides start a session at once, there are two. As in Sesame, section 3.3, a
message that decrypts makes its session the current one, so both sides end up on one of them; older ones still
decrypt messages under way.
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
    frame_name,
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
        """Return the next state and the sealed message."""
        ratchet = copy.deepcopy(self.ratchet)
        binding = _encode_binding(self.agreement, self.id, self.initial, plain.commitment)
        encrypted = _run(ratchet.encrypt_message(plain.padded, binding))
        sealed = _build_message(self.id, self.initial, encrypted, plain.commitment)
        return Session(self.id, self.agreement, self.initial, self.seen, ratchet), sealed

    def decrypt(self, message: SealedMessage) -> tuple[Session, bytes]:
        """Return the next state and the padded content.

        Raises:
            NotAuthenticError: Something of the message was altered.
            ReplayedMessageError: It was decrypted before, or its key is no longer kept.
            TooManySkippedError: It claims to follow more than `SKIP_MOST` lost ones.
        """
        ratchet = copy.deepcopy(self.ratchet)
        binding = _encode_binding(self.agreement, self.id, message.initial, message.commitment)
        try:
            with _silence_warnings(message.header):
                padded = _run_guarded(ratchet.decrypt_message(_to_library(message), binding))
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
        if any((key.ratchet_pub, key.index) == (header.ratchet_key, header.number) for key in kept):
            return False
        return header.ratchet_key in self.seen[:-1]

    def dump(self) -> SessionState:
        return SessionState(
            self.id, self.agreement, self.initial, self.seen, suite.dump_ratchet(self.ratchet)
        )

    @classmethod
    def load(cls, state: SessionState) -> Session:
        """Restore a session from its dump. Raises whatever the library raises."""
        return cls(state.id, state.agreement, state.initial, state.seen, suite.load_ratchet(state.ratchet))


def start(
    keys: suite.KeyAgreement, bundle: PreKeys, names: bytes, plain: Plain
) -> tuple[Session, SealedMessage]:
    """Set up a session as its initiator (X3DH, section 3.3), and seal its first message.

    Args:
        names: The framed names of both accounts, the initiator's first.

    Raises:
        BundleRefusedError: The bundle's signature is wrong, or a key is malformed.
    """
    agreed = keys.get_shared_secret_active(bundle.check(), names, require_pre_key=False)
    secret, agreement, header = _run_guarded(agreed, errors.BundleRefusedError, errors.BundleRefusedError)
    one_time = () if header.pre_key is None else (header.pre_key,)
    initial = InitialHeader(header.identity_key, header.ephemeral_key, header.signed_pre_key, one_time)
    binding = _encode_binding(agreement, session_id(initial), (initial,), plain.commitment)
    first = suite.Ratchet.encrypt_initial_message(
        *suite.RATCHET_PARTS, secret, bundle.signed_pre_key, plain.padded, binding
    )
    ratchet, encrypted = _run_guarded(first, errors.BundleRefusedError, errors.BundleRefusedError)
    session = Session(session_id(initial), agreement, (initial,), (), ratchet)
    return session, _build_message(session.id, session.initial, encrypted, plain.commitment)


def accept(keys: suite.KeyAgreement, message: SealedMessage, names: bytes) -> tuple[Session, bytes]:
    """Set up a session as its responder (X3DH, section 3.4), and decrypt the padded content.

    `keys` is not changed: the caller deletes the one-time pre-key once it has accepted everything.

    Args:
        names: The framed names of both accounts, the initiator's first.

    Raises:
        PreKeyUnavailableError: The message uses pre-keys that this account does not have, or no longer has.
        NotAuthenticError, TooManySkippedError: As for `Session.decrypt`.
    """
    (initial,) = message.initial
    header = x3dh.Header(
        initial.identity, initial.ephemeral, initial.signed_pre_key, next(iter(initial.one_time), None)
    )
    agreed = keys.get_shared_secret_passive(header, names, require_pre_key=False)
    secret, agreement, signed = _run_guarded(agreed)
    binding = _encode_binding(agreement, message.session, message.initial, message.commitment)
    first = suite.Ratchet.decrypt_initial_message(
        *suite.RATCHET_PARTS, secret, signed.priv, _to_library(message), binding
    )
    ratchet, padded = _run_guarded(first)
    session = Session(message.session, agreement, (), (message.header.ratchet_key,), ratchet)
    return session, padded


def _encode_binding(
    agreement: bytes, session: bytes, initial: tuple[InitialHeader, ...], commitment: bytes
) -> bytes:
    return MessageBinding(agreement, WIRE_VERSION, session, initial, commitment).encode()


def _build_message(
    session: bytes,
    initial: tuple[InitialHeader, ...],
    encrypted: doubleratchet.EncryptedMessage,
    commitment: bytes,
) -> SealedMessage:
    header = suite.build_header(encrypted.header)
    return SealedMessage(WIRE_VERSION, session, initial, header, commitment, encrypted.ciphertext)


def _to_library(message: SealedMessage) -> doubleratchet.EncryptedMessage:
    """Return the message in the library's form."""
    key = message.header.ratchet_key
    number = message.header.number
    header = doubleratchet.Header(key, message.header.previous_chain_length, number)
    return doubleratchet.EncryptedMessage(header, message.ciphertext)


def _silence_warnings(header: RatchetHeader) -> AbstractContextManager[object]:
    """Return a context in which the library does not warn that it gives up lost messages of an old chain.

    Giving them up is wanted, and anybody can provoke the warning with a header. Filters of warnings are
    global to the process, so they are set only for such headers.
    """
    if header.previous_chain_length <= suite.SKIP_MOST:
        return nullcontext()
    return warnings.catch_warnings(action="ignore")


def _run(step: Coroutine[Any, Any, _T]) -> _T:
    """Return the result of a step of the libraries: a coroutine, though none of theirs ever suspends."""
    try:
        step.send(None)
    except StopIteration as done:
        result: _T = done.value
        return result
    step.close()
    raise RuntimeError("a coroutine of the messenger's libraries suspended")


def _run_guarded(
    step: Coroutine[Any, Any, _T],
    on_disagreement: type[errors.MessengerError] = errors.PreKeyUnavailableError,
    on_refusal: type[errors.MessengerError] = errors.NotAuthenticError,
) -> _T:
    """Run a step as `_run`, and turn the libraries' errors into ours.

    Args:
        on_disagreement: Raised if X3DH refuses what the other party sent.
        on_refusal: Raised if the other party's keys or ciphertext are not accepted.
    """
    try:
        return _run(step)
    except doubleratchet.DuplicateMessageException:
        failure: type[errors.MessengerError] = errors.ReplayedMessageError
    except doubleratchet.DoSProtectionException:
        failure = errors.TooManySkippedError
    except x3dh.KeyAgreementException:
        failure = on_disagreement
    except (
        doubleratchet.AuthenticationFailedException,
        doubleratchet.DecryptionFailedException,
        xeddsa.XEdDSAException,
        ValueError,
    ):
        failure = on_refusal
    raise failure()  # here, so that the library's error, which may hold secrets, is not its context


class Peer(Redacted, Struct, frozen=True, eq=False):
    """A peer. It is never changed: each step returns the next one.

    Attributes:
        identity: its pinned identity key.
        sessions: the sessions with it, the current one first.
        accepted: sessions that it started without a one-time pre-key, so that none is started twice.
        verified: True if the identity key was compared, or came with the configuration.
        offered: another identity key that was shown as its own, if any.
        told: the keys of which the user was told.
        franking_key: its public franking key, if one is known.
    """

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
        """Return the peer with `session`, in its new state, as the current one."""
        others = tuple(known for known in self.sessions if known.id != session.id)
        return replace(self, sessions=(session, *others)[:SESSIONS_MOST])

    def forget_accepted(self, serving: Collection[bytes]) -> Peer:
        """Return the peer with only the accepted sessions of the signed pre-keys that are `serving`.

        The others need not be remembered: a replay of their first messages fails, since the pre-key is gone.
        """
        kept = tuple(accepted for accepted in self.accepted if accepted.signed_pre_key in serving)
        return self if kept == self.accepted else replace(self, accepted=kept)

    def dump(self, name: str) -> PeerState:
        sessions = tuple(session.dump() for session in self.sessions)
        return PeerState(
            name=name,
            identity=self.identity,
            verified=self.verified,
            offered=self.offered,
            told=self.told,
            sessions=sessions,
            accepted=self.accepted,
            franking_key=self.franking_key,
        )

    @classmethod
    def load(cls, state: PeerState) -> Peer:
        """Restore a peer from its dump. Raises whatever the library raises."""
        return cls(
            identity=state.identity,
            sessions=tuple(Session.load(session) for session in state.sessions),
            accepted=state.accepted,
            verified=state.verified,
            offered=state.offered,
            told=state.told,
            franking_key=state.franking_key,
        )


class Peers:
    """The peers of an account, and which of them changed since they were stored."""

    __slots__ = ("_peers", "_peers_changed")

    def __init__(self) -> None:
        self._peers: dict[str, Peer] = {}
        self._peers_changed: set[str] = set()

    def has_session(self, peer: str) -> bool:
        """Tell if a message to `peer` needs no bundle."""
        return peer in self._peers and bool(self._peers[peer].sessions)

    def peer_identity(self, peer: str) -> bytes | None:
        """Return the pinned identity key of `peer`: the first one seen, or the trusted one; None if none."""
        return self._peers[peer].identity if peer in self._peers else None

    def peers(self) -> Mapping[str, Peer]:
        return self._peers

    def trust(self, peer: str, identity: bytes) -> None:
        """Pin `identity` for `peer` as compared, by the user or by configuration; other keys' sessions end.

        Raises:
            MalformedError: It is not a canonical key.
        """
        frame_name(peer)
        try:
            Curve25519Key().write(identity, "messenger/trust", "identity")
        except ProtocolError as error:
            raise errors.MalformedError(error) from None
        known = self._peers.get(peer, Peer(identity))
        if known.identity != identity:
            known = replace(known, identity=identity, sessions=(), franking_key=())
        self._set_peer(peer, replace(known, verified=True, offered=()))

    def note_identity(self, peer: str, identity: bytes) -> None:
        """Pin `identity` if none is pinned (trust on first use); else keep another one, to be compared."""
        frame_name(peer)
        known = self._peers.get(peer, Peer(identity))
        other = (identity,) if identity != known.identity else known.offered
        if peer not in self._peers or other != known.offered:
            self._set_peer(peer, replace(known, offered=other))

    def note_told(self, peer: str) -> None:
        """Note that the user was told of the keys of `peer`."""
        known = self._peers[peer]
        self._set_peer(peer, replace(known, told=(known.identity, *known.offered)))

    def reset_sessions(self, peer: str) -> None:
        """End all sessions with `peer`; the next message starts one. The pinned key stays."""
        if peer in self._peers:
            self._set_peer(peer, replace(self._peers[peer], sessions=()))

    def _set_peer(self, name: str, peer: Peer) -> None:
        self._peers[name] = peer
        self._peers_changed.add(name)
