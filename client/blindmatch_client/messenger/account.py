"""Seal and open the messages of an account on one device, with its keys and those of its peers.

No sockets, files or clock. A method that raises leaves the account as it was.

**Save before you send.** `encrypt` has advanced the ratchet when it returns. Store `take_changes()` first,
then send. A device that sends, dies and restarts from an older dump seals its next message under the same
message key and number, and the recipient refuses it as a repeat. (Cipher key and counter are not used twice
even then: suite.py, `CommittingAead`.) Likewise for `decrypt`: store the changes together with the content,
then acknowledge to the relay; if it delivers the message again, that raises `ReplayedMessageError`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import cast

import doubleratchet
from blindmatch_proofs.franking import verify_content
from blindmatch_proofs.verdict import Passed
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.messages.content import Content, pad_text, unpad_text
from blindmatch_protocol.messages.franking import commit
from blindmatch_protocol.messages.sealed_message import Franked, InitialHeader, SealedMessage, SenderProof
from msgspec.structs import replace
from x3dh.identity_key_pair import IdentityKeyPairPriv

from blindmatch_client import errors
from blindmatch_client.messenger.own_keys import AGREEMENT, OwnKeys, verify_key
from blindmatch_client.messenger.peers import Peer, Plain, Session, accept, start
from blindmatch_client.messenger.state import (
    ACCEPTED_MOST,
    DUMP_VERSION,
    ONE_TIME_PRE_KEYS,
    AcceptedState,
    AccountState,
    Changes,
    PeerState,
    PreKeys,
    WithdrawnState,
    frame_name,
)
from blindmatch_client.messenger.suite import KeyAgreement


class Account(OwnKeys):
    """One account; made by `create` or `load`."""

    __slots__ = ()

    @classmethod
    def create(
        cls, name: str, now: int, one_time: int = ONE_TIME_PRE_KEYS, identity: bytes | None = None
    ) -> Account:
        """Create an account.

        Args:
            name: Up to 64 bytes of UTF-8.
            now: Unix time in milliseconds from which the age of the signed pre-key counts.
            one_time: Number of one-time pre-keys, up to 1,000.
            identity: Private identity key, X25519, 32 bytes, if others know its public half already; None
                draws a new one.

        Raises:
            MalformedError: The name is too long.
        """
        frame_name(name)
        pair = None if identity is None else IdentityKeyPairPriv(identity)
        account = cls(name, KeyAgreement.create(*AGREEMENT, pair), now)
        account.add_one_time_pre_keys(one_time)
        return account

    def __repr__(self) -> str:
        return "<Account>"

    def encrypt(
        self,
        recipient: str,
        content: Content,
        bundle: PreKeys | None = None,
        commitment: bytes = b"",
        unopened: tuple[bytes, ...] = (),
    ) -> bytes:
        """Seal a message. Save the account before you send the result.

        Args:
            content: Made by `content.compose`; each is sealed only once.
            bundle: The recipient's pre-keys; needed if a session must be started.
            commitment: What `commit` returned for the content, if it was called before.
            unopened: Ids of the recipient's messages that could not be opened; they need a new session.

        Returns:
            The encoding of a `SealedMessage`.

        Raises:
            MessengerError: Its text says what is wrong.
        """
        if bundle is not None:
            self._check_bundle(recipient, bundle)
        if self.has_session(recipient) and not unopened:
            peer = self._peers[recipient]
            session = peer.sessions[0]
            plain = self._build_plain(
                recipient, content, commitment, peer.franking_key, bool(session.initial)
            )
            session, sealed = session.encrypt(plain)
        elif bundle is not None:
            key = verify_key(bundle.identity, bundle.franking_key) if self._franking.needs_keys else ()
            plain = self._build_plain(recipient, content, commitment, key, True, unopened)
            names = frame_name(self.name) + frame_name(recipient)
            # an initiator uses none of its one-time pre-keys, and the library computes the public key of each
            model = self._keys.model.model_copy(update={"pre_keys": frozenset()})
            own = KeyAgreement.from_model(model, *AGREEMENT)
            session, sealed = start(own, bundle, names, plain)
            peer = replace(self._peers.get(recipient, Peer(bundle.identity)), franking_key=key)
        else:
            raise errors.BundleNeededError
        self._set_peer(recipient, peer.with_current(session))
        return sealed.encode()

    def prove_sender(self, recipient: str, commitment: bytes) -> SenderProof | None:
        """Prove to the centre that this account made `commitment` for `recipient`.

        Returns:
            The proof; None if the mode of franking has none.

        Raises:
            NotFrankedError: The mode needs a key of the recipient's, and there is none.
        """
        peer = self._peers.get(recipient)
        key = () if peer is None else peer.franking_key
        proof = self._franking.prove(commitment, key)
        if not proof:
            return None
        if self._franking.needs_keys:
            return SenderProof(proof, key, (self._franking.key,))
        return SenderProof(proof, (), ())

    def decrypt(self, sender: str, sealed: bytes) -> Content:
        """Return the content of a message. Raises as `unseal`."""
        return self.unseal(sender, sealed).content

    def unseal(self, sender: str, sealed: bytes) -> Franked:
        """Open a message from `sender`, and check its commitment and franking.

        Raises:
            MessengerError: Its text says what is wrong.
        """
        try:
            message = SealedMessage.decode(sealed)
        except ProtocolError as error:
            raise errors.MalformedError(error) from None
        known = self._peers[sender].find(message.session) if sender in self._peers else None
        if known is not None:
            session, padded = known.decrypt(message)
        else:
            session, padded = self._accept(sender, message)
        started = message.initial if known is None else ()
        identity = started[0].identity if started else self._peers[sender].identity
        franked, key = self._open_plain(sender, identity, message.commitment, padded)
        self._adopt_session(sender, session, started)
        if key != self._peers[sender].franking_key:
            self._set_peer(sender, replace(self._peers[sender], franking_key=key))
        return franked

    def _build_plain(
        self,
        recipient: str,
        content: Content,
        commitment: bytes,
        recipient_key: tuple[bytes, ...],
        introduces: bool,
        unopened: tuple[bytes, ...] = (),
    ) -> Plain:
        """Build the padded plaintext.

        Args:
            introduces: True if the recipient may not have this account's franking key yet.
        """
        own = (self._franking.key,) if introduces and self._franking.needs_keys else ()
        try:
            content.check()
            commitment = commitment or commit(content, self.name, recipient)
            franked = Franked(content, self._franking.prove(commitment, recipient_key), own, unopened)
            return Plain(pad_text(franked.encode()), commitment)
        except ProtocolError as error:
            raise errors.MalformedError(error) from None

    def _open_plain(
        self, sender: str, identity: bytes, commitment: bytes, padded: bytes
    ) -> tuple[Franked, tuple[bytes, ...]]:
        """Return the verified plaintext, and the sender's franking key if the mode needs one."""
        try:
            franked = Franked.decode(unpad_text(padded))
        except ProtocolError as error:
            raise errors.MalformedError(error) from None
        if verify_content(commitment, franked.content, sender, self.name) != Passed():
            raise errors.CommitmentError
        key = self._peers[sender].franking_key if sender in self._peers else ()
        if self._franking.needs_keys and franked.key:
            try:
                key = verify_key(identity, franked.key)
            except errors.BundleRefusedError:
                raise errors.NotFrankedError from None
        self._franking.check(commitment, franked.proof, identity, key)
        return franked, key

    def _check_bundle(self, recipient: str, bundle: PreKeys) -> None:
        bundle.check()  # first: a malformed key must not be kept as one that the peer has shown
        if self.peer_identity(recipient) not in (None, bundle.identity):
            raise errors.IdentityChangedError(bundle.identity)
        if bundle.identity == self.identity:
            raise errors.BundleRefusedError

    def _accept(self, sender: str, message: SealedMessage) -> tuple[Session, bytes]:
        """Start a session as the responder; return it with the padded plaintext."""
        if not message.initial:
            raise errors.NoSessionError
        (initial,) = message.initial
        if self.peer_identity(sender) not in (None, initial.identity):
            raise errors.IdentityChangedError(initial.identity)
        started = self._peers[sender].accepted if sender in self._peers else ()
        if AcceptedState(initial.signed_pre_key, message.session) in started:
            raise errors.ReplayedMessageError
        same_pre_key = [known for known in started if known.signed_pre_key == initial.signed_pre_key]
        if not initial.one_time and len(same_pre_key) >= ACCEPTED_MOST:
            raise errors.TooManyFirstsError
        return accept(self._keys, message, frame_name(sender) + frame_name(self.name))

    def _adopt_session(self, sender: str, session: Session, started: tuple[InitialHeader, ...]) -> None:
        """Make a session's new state the current one; one that was just started uses up its pre-key."""
        for initial in started:
            peer = self._peers.get(sender, Peer(initial.identity))
            for one_time in initial.one_time:
                self._core_changed = True
                self._keys.delete_pre_key(one_time)
                self._withdrawn.pop(one_time, None)
            if not initial.one_time:
                accepted = AcceptedState(initial.signed_pre_key, session.id)
                peer = replace(peer, accepted=(*peer.accepted, accepted))
            self._peers[sender] = peer
        self._set_peer(sender, self._peers[sender].with_current(session))

    def dump(self) -> bytes:
        """Return the whole account, secrets included, in one canonical encoding (state.py)."""
        return self._encode_state(tuple(peer.dump(name) for name, peer in sorted(self._peers.items())))

    def take_changes(self) -> Changes:
        """Return what changed since the last call, or since the account was made or loaded. Store it now.

        A message changes the state of its peer alone.
        """
        core = self._encode_state(()) if self._core_changed else None
        peers = {name: self._peers[name].dump(name).encode() for name in sorted(self._peers_changed)}
        self._core_changed = False
        self._peers_changed.clear()
        return Changes(core, peers)

    def _encode_state(self, peers: tuple[PeerState, ...]) -> bytes:
        keys: dict[str, object] = dict(self._keys.json)
        keys["pre_keys"] = sorted(cast("list[str]", keys["pre_keys"]))  # a set, whose order is not canonical
        return AccountState(
            version=DUMP_VERSION,
            name=self.name,
            rotated_at=self.rotated_at,
            keys=json.dumps(keys, sort_keys=True).encode(),
            withdrawn=tuple(WithdrawnState(key, at) for key, at in sorted(self._withdrawn.items())),
            peers=peers,
        ).encode()

    @classmethod
    def load(cls, dump: bytes, peers: Iterable[bytes] = ()) -> Account:
        """Load an account.

        Args:
            dump: What `dump` returned, or the latest `Changes.core`.
            peers: The latest `Changes.peers`; they replace those in the dump.

        Raises:
            StateError: One of these is not the dump of an account in this version.
        """
        try:
            state = AccountState.decode(dump)
            apart = [PeerState.decode(peer) for peer in peers]
            keys, _ = KeyAgreement.from_json(json.loads(state.keys), *AGREEMENT)
            account = cls(state.name, keys, state.rotated_at)
            account._withdrawn = {withdrawn.key: withdrawn.since for withdrawn in state.withdrawn}
            account._peers = {peer.name: Peer.load(peer) for peer in (*state.peers, *apart)}
            # the peers of a whole dump are stored in rows of their own from now on
            account._core_changed = bool(state.peers)
            account._peers_changed = {peer.name for peer in state.peers} - {peer.name for peer in apart}
            return account
        except (
            ProtocolError,
            ValueError,
            LookupError,
            TypeError,
            AttributeError,
            doubleratchet.InconsistentSerializationException,
        ):
            pass  # their texts and frames hold secrets, so none becomes the context of ours
        raise errors.StateError
