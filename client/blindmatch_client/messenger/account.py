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
from blindmatch_client.messenger.own_keys import AGREEMENT, OwnKeys, key_of
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
    framed,
)
from blindmatch_client.messenger.suite import KeyAgreement


class Account(OwnKeys):
    """One account; made by `create` or `load`."""

    __slots__ = ()

    @classmethod
    def create(
        cls, name: str, now: int, one_time: int = ONE_TIME_PRE_KEYS, identity: bytes | None = None
    ) -> Account:
        """A new account called `name`, up to 64 bytes of UTF-8, with a new identity, or the private one
        given, X25519, 32 bytes, where others know its public half. It has `one_time` one-time pre-keys, up to
        1,000, and a signed one whose age counts from `now`, milliseconds since 1970. `MalformedError` if the
        name is too long."""
        framed(name)
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
        """Seal `content`, made by `content.compose` and sealed only once, for `recipient`: the encoding of a
        `SealedMessage`. Save, then send. `bundle` has the recipient's pre-keys for a first message;
        `commitment` is what `commit` made of it, if it was called before; `unopened` are ids of the
        recipient's messages that could not be opened, for which a session is started. Raises the
        `MessengerError` whose text says what is wrong."""
        if bundle is not None:
            self._check_bundle(recipient, bundle)
        if self.has_session(recipient) and not unopened:
            peer = self._peers[recipient]
            session = peer.sessions[0]
            plain = self._plain(recipient, content, commitment, peer.franking_key, bool(session.initial))
            session, sealed = session.encrypt(plain)
        elif bundle is not None:
            key = key_of(bundle.identity, bundle.franking_key) if self._franking.needs_keys else ()
            plain = self._plain(recipient, content, commitment, key, True, unopened)
            names = framed(self.name) + framed(recipient)
            # of its own one-time pre-keys none is used, and the library would compute every public key twice
            model = self._keys.model.model_copy(update={"pre_keys": frozenset()})
            own = KeyAgreement.from_model(model, *AGREEMENT)
            session, sealed = start(own, bundle, names, plain)
            peer = replace(self._peers.get(recipient, Peer(bundle.identity)), franking_key=key)
        else:
            raise errors.BundleNeededError
        self._set_peer(recipient, peer.with_current(session))
        return sealed.encode()

    def sender_proof(self, recipient: str, commitment: bytes) -> SenderProof | None:
        """What convinces the centre that this account made `commitment` for `recipient`; None if the mode has
        nothing of the kind; `NotFrankedError` if it needs a key of the recipient's, and there is none."""
        peer = self._peers.get(recipient)
        key = () if peer is None else peer.franking_key
        proof = self._franking.proof(commitment, key)
        keys = (key, (self._franking.key,)) if self._franking.needs_keys else ((), ())
        return SenderProof(proof, *keys) if proof else None

    def decrypt(self, sender: str, sealed: bytes) -> Content:
        """The content of a message, as `unseal`."""
        return self.unseal(sender, sealed).content

    def unseal(self, sender: str, sealed: bytes) -> Franked:
        """The plaintext of a message from `sender`, with its commitment checked. Raises the `MessengerError`
        whose text says what is wrong."""
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
        franked, key = self._opened(sender, identity, message.commitment, padded)
        self._adopt(sender, session, started)
        if key != self._peers[sender].franking_key:
            self._set_peer(sender, replace(self._peers[sender], franking_key=key))
        return franked

    def _plain(
        self,
        recipient: str,
        content: Content,
        commitment: bytes,
        recipient_key: tuple[bytes, ...],
        introduces: bool,
        unopened: tuple[bytes, ...] = (),
    ) -> Plain:
        """`introduces`: whether the recipient may not have this account's key."""
        own = (self._franking.key,) if introduces and self._franking.needs_keys else ()
        try:
            content.check()
            made = commitment or commit(content, self.name, recipient)
            franked = Franked(content, self._franking.proof(made, recipient_key), own, unopened)
            return Plain(pad_text(franked.encode()), made)
        except ProtocolError as error:
            raise errors.MalformedError(error) from None

    def _opened(
        self, sender: str, identity: bytes, commitment: bytes, padded: bytes
    ) -> tuple[Franked, tuple[bytes, ...]]:
        """The plaintext, and the sender's key for franking, if the mode needs one."""
        try:
            franked = Franked.decode(unpad_text(padded))
        except ProtocolError as error:
            raise errors.MalformedError(error) from None
        if verify_content(commitment, franked.content, sender, self.name) != Passed():
            raise errors.CommitmentError
        key = self._peers[sender].franking_key if sender in self._peers else ()
        if self._franking.needs_keys and franked.key:
            try:
                key = key_of(identity, franked.key)
            except errors.BundleRefusedError:
                raise errors.NotFrankedError from None
        self._franking.check(commitment, franked.proof, identity, key)
        return franked, key

    def _check_bundle(self, recipient: str, bundle: PreKeys) -> None:
        bundle.checked()  # no key that is none is kept as one that somebody has shown
        if self.peer_identity(recipient) not in (None, bundle.identity):
            raise errors.IdentityChangedError(bundle.identity)
        if bundle.identity == self.identity:
            raise errors.BundleRefusedError

    def _accept(self, sender: str, message: SealedMessage) -> tuple[Session, bytes]:
        if not message.initial:
            raise errors.NoSessionError
        (initial,) = message.initial
        if self.peer_identity(sender) not in (None, initial.identity):
            raise errors.IdentityChangedError(initial.identity)
        started = self._peers[sender].accepted if sender in self._peers else ()
        if AcceptedState(initial.signed_pre_key, message.session) in started:
            raise errors.ReplayedMessageError
        serving = [one for one in started if one.signed_pre_key == initial.signed_pre_key]
        if not initial.one_time and len(serving) >= ACCEPTED_MOST:
            raise errors.TooManyFirstsError
        return accept(self._keys, message, framed(sender) + framed(self.name))

    def _adopt(self, sender: str, session: Session, started: tuple[InitialHeader, ...]) -> None:
        """Take over a session's new state; a session just started uses up its pre-key."""
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
        """The whole account, secrets included, in one canonical encoding (state.py)."""
        return self._state(tuple(peer.dump(name) for name, peer in sorted(self._peers.items())))

    def take_changes(self) -> Changes:
        """What changed since the account was made or loaded, or this was last called: to be stored now. A
        message changes its peer alone."""
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
            name=self.name,
            rotated_at=self.rotated_at,
            keys=json.dumps(keys, sort_keys=True).encode(),
            withdrawn=tuple(WithdrawnState(key, at) for key, at in sorted(self._withdrawn.items())),
            peers=peers,
        ).encode()

    @classmethod
    def load(cls, dump: bytes, peers: Iterable[bytes] = ()) -> Account:
        """The account that was dumped, or stored as its changes came: the latest `Changes.core`, and the
        latest `Changes.peers`, which replace those of the dump; `StateError` if one of these is not the dump
        of an account in this version."""
        try:
            state = AccountState.decode(dump)
            apart = [PeerState.decode(peer) for peer in peers]
            keys, _ = KeyAgreement.from_json(json.loads(state.keys), *AGREEMENT)
            account = cls(state.name, keys, state.rotated_at)
            account._withdrawn = {one.key: one.since for one in state.withdrawn}
            account._peers = {peer.name: Peer.load(peer) for peer in (*state.peers, *apart)}
            # what a whole dump holds of peers is stored apart from now on
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
