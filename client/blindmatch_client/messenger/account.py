"""An account on one device: its keys, its peers, and what it sends and receives.

No sockets, files or clock. Every method either returns and has changed the account, or raises and has left
it as it was.

**Save before you send.** `encrypt` has moved the ratchet on when it returns. Store `take_changes()` first and
send then: a device that sends, dies and starts again from an older dump seals its next message under the same
message key and number, and the recipient refuses it as a repeat. (Cipher key and counter are not used
twice even then: suite.py, `CommittingAead`.) Likewise `decrypt`: store the changes together with the content,
then acknowledge to the relay; what is delivered again then ends in `ReplayedMessageError`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final, cast

import doubleratchet
import x3dh
from blindmatch_proofs.franking import verify_content
from blindmatch_proofs.verdict import Passed
from blindmatch_protocol.codec import Text
from blindmatch_protocol.content import NAME_MOST, Content
from blindmatch_protocol.errors import ProtocolError
from blindmatch_protocol.franking import commit
from blindmatch_protocol.padding import pad_text, unpad_text
from blindmatch_protocol.sealed_message import InitialHeader, SealedMessage
from x3dh.identity_key_pair import IdentityKeyPairPriv

from blindmatch_client.messenger.errors import (
    BundleNeededError,
    BundleRefusedError,
    CommitmentError,
    IdentityChangedError,
    MalformedError,
    NoSessionError,
    ReplayedMessageError,
    StateError,
    TooManyFirstsError,
)
from blindmatch_client.messenger.peer import Peer
from blindmatch_client.messenger.pre_keys import FetchedBundle, PreKeyPublication
from blindmatch_client.messenger.session import Plain, Session, accept, start
from blindmatch_client.messenger.state import (
    ACCEPTED_MOST,
    DUMP_VERSION,
    AcceptedState,
    AccountState,
    Changes,
    PeerState,
)
from blindmatch_client.messenger.suite import AGREEMENT_TAG, KeyAgreement

ONE_TIME_PRE_KEYS: Final = 100
"""One-time pre-keys of a new account."""

ONE_TIME_MOST: Final = 1000
"""One-time pre-keys an account holds at most."""

_AGREEMENT: Final = (x3dh.IdentityKeyFormat.CURVE_25519, x3dh.HashFunction.SHA_256, AGREEMENT_TAG)


class Account:
    """One account; made by `create` or `load`."""

    __slots__ = (
        "_core_changed",
        "_identity",
        "_keys",
        "_name",
        "_peers",
        "_peers_changed",
        "_rotated_at",
    )

    def __init__(self, name: str, keys: KeyAgreement, rotated_at: int) -> None:
        self._name = name
        self._keys = keys
        self._identity = keys.bundle.identity_key
        self._rotated_at = rotated_at
        self._peers: dict[str, Peer] = {}
        self._core_changed = True
        self._peers_changed: set[str] = set()

    @classmethod
    def create(
        cls, name: str, now: int, one_time: int = ONE_TIME_PRE_KEYS, identity: bytes | None = None
    ) -> Account:
        """A new account with a new identity.

        Args:
            name: up to 64 bytes of UTF-8, as the relay knows the account.
            now: milliseconds since 1970; the age of the signed pre-key counts from here.
            one_time: how many one-time pre-keys to make, up to 1,000.
            identity: the identity's private key, X25519, 32 bytes, where others know its public half already.

        Raises:
            MalformedError: if the name is too long.
        """
        framed(name)
        pair = None if identity is None else IdentityKeyPairPriv(identity)
        account = cls(name, KeyAgreement.create(*_AGREEMENT, pair), now)
        account.add_one_time_pre_keys(one_time)
        return account

    def __repr__(self) -> str:
        return "<Account>"

    @property
    def name(self) -> str:
        """The name the account was created with."""
        return self._name

    @property
    def identity(self) -> bytes:
        """The public identity key, 32 bytes."""
        return self._identity

    # pre-keys

    @property
    def one_time_left(self) -> int:
        """One-time pre-keys that no message has used yet."""
        return self._keys.get_num_visible_pre_keys()

    def published(self) -> PreKeyPublication:
        """What the relay must hold, with all one-time pre-keys that were not used yet."""
        bundle = self._keys.bundle
        return PreKeyPublication(
            identity=bundle.identity_key,
            signed_pre_key=bundle.signed_pre_key,
            signature=bundle.signed_pre_key_sig,
            one_time=tuple(sorted(bundle.pre_keys)),
        )

    def add_one_time_pre_keys(self, count: int) -> tuple[bytes, ...]:
        """Make `count` more one-time pre-keys; their public keys, for the relay to add.

        Raises:
            ValueError: if the account would hold more than 1,000.
        """
        if not 0 <= count <= ONE_TIME_MOST - self.one_time_left:
            raise ValueError(f"an account holds up to {ONE_TIME_MOST} one-time pre-keys")
        self._core_changed = True
        before = self._keys.bundle.pre_keys
        self._keys.generate_pre_keys(count)
        return tuple(sorted(self._keys.bundle.pre_keys - before))

    def signed_pre_key_age(self, now: int) -> int:
        """Milliseconds since the signed pre-key was made."""
        return now - self._rotated_at

    def rotate_signed_pre_key(self, now: int) -> None:
        """Replace the signed pre-key; the one before still serves messages that are under way.

        What peers started with those before is forgotten: nothing can be started with them again.
        """
        self._core_changed = True
        self._keys.rotate_signed_pre_key()
        self._rotated_at = now
        serving = {self._keys.bundle.signed_pre_key, self._keys.old_signed_pre_key or b""}
        for name, peer in self._peers.items():
            if (left := peer.serving(serving)) is not peer:
                self._set_peer(name, left)

    # peers

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

    # messages

    def encrypt(self, recipient: str, content: Content, bundle: FetchedBundle | None = None) -> bytes:
        """Seal `content` for `recipient`: the encoding of a `SealedMessage`. Save, then send.

        Args:
            recipient: the recipient's name.
            content: made by `content.compose`; to be sealed once, with its franking key.
            bundle: the recipient's pre-keys, for the first message; not used while there is a session.

        Raises:
            BundleNeededError: if there is no session and no bundle.
            BundleRefusedError: if the bundle is not in order.
            IdentityChangedError: if the bundle's identity key is not the pinned one.
            MalformedError: if the content or a name breaks a rule of its encoding.
        """
        names = framed(self._name) + framed(recipient)
        plain = self._plain(recipient, content)
        if bundle is not None:
            self._check_bundle(recipient, bundle)
        session = self._current(recipient)
        if session is not None:
            session, sealed = session.encrypt(plain)
            identity = self._peers[recipient].identity
        elif bundle is not None:
            session, sealed = start(self._keys, bundle, names, plain)
            identity = bundle.identity
        else:
            raise BundleNeededError
        peer = self._peers.get(recipient, Peer(identity))
        self._set_peer(recipient, peer.with_current(session))
        return sealed.encode()

    def decrypt(self, sender: str, sealed: bytes) -> Content:
        """The content of a message from `sender`, with its commitment checked.

        Raises:
            MalformedError: if the message or its content is not canonical.
            NoSessionError: if it belongs to a session that is not known (any more).
            PreKeyUnavailableError: if it starts a session with a pre-key that is not there, or used.
            IdentityChangedError: if it starts a session under another key than the pinned one.
            TooManyFirstsError: if it starts one session too many without a one-time pre-key.
            NotAuthenticError: if it was altered, or is not from `sender` to this account.
            ReplayedMessageError: if it was decrypted before, or its key is no longer kept.
            TooManySkippedError: if it claims to follow more than 1,000 lost ones.
            CommitmentError: if it is authentic but its commitment does not bind its content.
        """
        try:
            message = SealedMessage.decode(sealed)
        except ProtocolError as error:
            raise MalformedError(error) from None
        known = self._peers[sender].find(message.session) if sender in self._peers else None
        if known is not None:
            session, padded = known.decrypt(message)
        else:
            session, padded = self._accept(sender, message)
        content = self._opened(sender, message.commitment, padded)
        self._adopt(sender, session, message.initial if known is None else ())
        return content

    def _set_peer(self, name: str, peer: Peer) -> None:
        self._peers[name] = peer
        self._peers_changed.add(name)

    def _current(self, peer: str) -> Session | None:
        return self._peers[peer].current if peer in self._peers else None

    def _plain(self, recipient: str, content: Content) -> Plain:
        try:
            content.check()
            commitment = commit(content, self._name, recipient)
            return Plain(pad_text(content.encode()), commitment)
        except ProtocolError as error:
            raise MalformedError(error) from None

    def _opened(self, sender: str, commitment: bytes, padded: bytes) -> Content:
        try:
            content = Content.decode(unpad_text(padded))
        except ProtocolError as error:
            raise MalformedError(error) from None
        if verify_content(commitment, content, sender, self._name) != Passed():
            raise CommitmentError
        return content

    def _check_bundle(self, recipient: str, bundle: FetchedBundle) -> None:
        if self.peer_identity(recipient) not in (None, bundle.identity):
            raise IdentityChangedError(bundle.identity)
        if bundle.identity == self._identity:
            raise BundleRefusedError

    def _accept(self, sender: str, message: SealedMessage) -> tuple[Session, bytes]:
        if not message.initial:
            raise NoSessionError
        (initial,) = message.initial
        if self.peer_identity(sender) not in (None, initial.identity):
            raise IdentityChangedError(initial.identity)
        self._check_first(sender, message.session, initial)
        return accept(self._keys, message, framed(sender) + framed(self._name))

    def _check_first(self, sender: str, session: bytes, initial: InitialHeader) -> None:
        started = self._peers[sender].accepted if sender in self._peers else ()
        if AcceptedState(initial.signed_pre_key, session) in started:
            raise ReplayedMessageError
        serving = [one for one in started if one.signed_pre_key == initial.signed_pre_key]
        if not initial.one_time and len(serving) >= ACCEPTED_MOST:
            raise TooManyFirstsError

    def _adopt(self, sender: str, session: Session, started: tuple[InitialHeader, ...]) -> None:
        """Take over a session's new state; a session just started uses up its pre-key."""
        for initial in started:
            peer = self._peers.get(sender, Peer(initial.identity))
            for one_time in initial.one_time:
                self._core_changed = True
                self._keys.delete_pre_key(one_time)
            if not initial.one_time:
                peer = peer.accepting(AcceptedState(initial.signed_pre_key, session.id))
            self._peers[sender] = peer
        self._set_peer(sender, self._peers[sender].with_current(session))

    # storing

    def dump(self) -> bytes:
        """The whole account, secrets included, in one canonical encoding (state.py)."""
        return self._state(tuple(peer.dump(name) for name, peer in sorted(self._peers.items())))

    def take_changes(self) -> Changes:
        """What changed since the account was made or loaded, or this was last called: to be stored now.

        A message changes its peer alone, so the pre-keys are not written again with each.
        """
        core = self._state(()) if self._core_changed else None
        peers = {name: self._peers[name].dump(name).encode() for name in sorted(self._peers_changed)}
        self._core_changed = False
        self._peers_changed.clear()
        return Changes(core, peers)

    def _state(self, peers: tuple[PeerState, ...]) -> bytes:
        keys: dict[str, object] = dict(self._keys.json)
        keys["pre_keys"] = sorted(cast("list[str]", keys["pre_keys"]))  # a set: its order says nothing
        return AccountState(
            version=DUMP_VERSION,
            name=self._name,
            rotated_at=self._rotated_at,
            keys=json.dumps(keys, sort_keys=True).encode(),
            peers=peers,
        ).encode()

    @classmethod
    def load(cls, dump: bytes, peers: Iterable[bytes] = ()) -> Account:
        """The account that was dumped, or stored as its changes came.

        Args:
            dump: the whole account, or the latest `Changes.core`.
            peers: the latest `Changes.peers`; one that `dump` has too is replaced.

        Raises:
            StateError: if one of these is not the dump of an account in this version.
        """
        try:
            return cls._restored(AccountState.decode(dump), [PeerState.decode(peer) for peer in peers])
        except (
            ProtocolError,
            ValueError,
            LookupError,
            TypeError,
            AttributeError,
            doubleratchet.InconsistentSerializationException,
        ):
            pass  # their texts and frames hold secrets, so none becomes the context of ours
        raise StateError

    @classmethod
    def _restored(cls, state: AccountState, peers: list[PeerState]) -> Account:
        keys, _ = KeyAgreement.from_json(json.loads(state.keys), *_AGREEMENT)
        account = cls(state.name, keys, state.rotated_at)
        account._peers = {peer.name: Peer.load(peer) for peer in (*state.peers, *peers)}
        # what a whole dump holds of peers is stored apart from now on
        account._core_changed = bool(state.peers)
        account._peers_changed = {peer.name for peer in state.peers} - {peer.name for peer in peers}
        return account


def framed(name: str) -> bytes:
    """A name behind its length, for the associated data of X3DH (X3DH, section 3.3).

    Raises:
        MalformedError: if the name is too long.
    """
    try:
        return Text(NAME_MOST).write(name, "messenger/account", "name")
    except ProtocolError as error:
        raise MalformedError(error) from None
