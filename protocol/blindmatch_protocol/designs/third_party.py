"""Option 2b: the hash goes sealed to one third party, by way of the provider, which forwards it.

docs/designs/third-party.md draws it. Lengths are fixed, and both sides do the same work whatever is found,
since the provider has a clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Annotated, ClassVar, Final

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from nacl.signing import SigningKey

from blindmatch_protocol import contract as bm
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract.publishing import spread
from blindmatch_protocol.crypto import hpke
from blindmatch_protocol.crypto.ed25519 import is_signature
from blindmatch_protocol.designs.facts import EVERY_HASH, QUALITY, QUERY_TIME, any_hash, leaks
from blindmatch_protocol.designs.plain_scan import Stateless
from blindmatch_protocol.picture.pdq import MATCH_DISTANCE, distance
from blindmatch_protocol.sets import plain_list

THIRD: Final = bm.Role("third_party")
PARTY: Final = bm.Party("third_party")
KEY_FILE: Final = "key.bin"
KIND_SEALING: Final = 0x16
"""X25519 keys that requests are sealed to, 32 each: public in the set-up, private in the role's file."""
KIND_SIGNING: Final = 0x17
"""Of `epoch.bin`: Ed25519 public key that labels are signed under, 32."""
KIND_NOTHING: Final = 0x18
"""Of `key.bin`: signature of the label that says that nothing was found, 64."""
SEAL_INFO: Final = b"blindmatch/third-party/request/v1"
LABEL_TAG: Final = b"blindmatch/third-party/label/v1"
SOMEBODY: Final = bm.Fact(
    "query_time", "that, and when, somebody sent a picture, but not who", bm.Severity.TIMES
)
WHOSE: Final = bm.Fact(
    "account", "whose picture each hash is of", bm.Severity.LINKS, shows=frozenset({bm.Shows.ACCOUNT}),
    abuse="tells whose each picture is", noticed_by="nobody",
)  # fmt: skip
LABEL_BYTES: Final = len(replace(bm.NO_LABEL, signatures=bytes(64)).encode())
_STEP: Final = "third-party/reply"


class Asked(bm.Message, tag=0x34, name="third-party/asked"):
    """What is sealed to the third party."""

    hash: Annotated[bytes, bm.Fixed(32)]
    quality: Annotated[int, bm.UInt(8)]
    """0 to 100."""
    reply_key: Annotated[bytes, bm.Fixed(32)]
    """Fresh; seals the one reply (`hpke.seal_reply`)."""


SEALED_BYTES: Final = len(Asked(bytes(32), 0, bytes(32)).encode()) + hpke.OVERHEAD


class Ask(bm.Message, tag=0x35, name="third-party/request"):
    """A 0x34, sealed for the epoch by HPKE."""

    sealed: Annotated[bytes, bm.Fixed(SEALED_BYTES)]


class Found(bm.Message, tag=0x36, name=_STEP):
    """A 0x01 with one signature, sealed; one of zeros if nothing was found."""

    sealed: Annotated[bytes, bm.Fixed(LABEL_BYTES + hpke.TAG_BYTES)]


class Setup(Struct, frozen=True):
    """The epoch, the key requests are sealed to, and the key labels are signed under."""

    epoch: int
    sealing: bytes
    signing: bytes


class ThirdPartyState(Redacted, Struct, frozen=True):
    """The list, the private key, 32 bytes, and the signed label that says that nothing was found."""

    epoch: int
    listed: plain_list.PlainList
    key: bytes
    nothing: bm.Label


class Waiting(Redacted, Struct, frozen=True):
    """The session: the picture's own hash, and the key of the reply."""

    hash: bytes
    reply_key: bytes


class ThirdParty(Stateless[Setup, Waiting, ThirdPartyState]):
    """The third party sees every hash, and of nobody; the provider carries it, and sees none."""

    info: ClassVar[bm.Info] = bm.Info(
        name="third-party",
        evaluation=bm.Evaluation.SEALED,
        version=1,
        option="2b",
        summary="The hash goes sealed to one third party; the provider forwards it and sees no hash.",
        relation=bm.Near(MATCH_DISTANCE),
        learns=frozenset({bm.Learner.DEVICE, bm.Learner.SERVER}),
        roles={THIRD: PARTY},
        forwarded={THIRD: bm.Party.PROVIDER},
    )
    requests: ClassVar[Mapping[bm.Role, tuple[type[bm.Message], ...]]] = {THIRD: (Ask,)}
    replies: ClassVar[Mapping[bm.Role, tuple[type[bm.Message], ...]]] = {THIRD: (Found,)}

    def leakage(self) -> tuple[bm.Leak, ...]:
        """The third party answers whatever its carrier hands it, so the provider can ask for itself."""
        third, provider, device = (frozenset({one}) for one in (PARTY, bm.Party.PROVIDER, bm.Party.DEVICE))
        seen = (EVERY_HASH, QUALITY)
        asking = any_hash(MATCH_DISTANCE)
        return (
            *leaks(third, *seen, SOMEBODY),
            bm.Leak(provider, bm.Adversary.SEMI_HONEST, (QUERY_TIME,)),
            bm.Leak(provider, bm.Adversary.MALICIOUS, (QUERY_TIME, asking)),
            *leaks(third | provider, *seen, QUERY_TIME, WHOSE),
            bm.Leak(device, bm.Adversary.MALICIOUS, (asking,)),
        )

    def list_knowledge(self, parties: frozenset[bm.Party]) -> bm.ListKnowledge:
        return bm.ListKnowledge.joined(parties, {PARTY: bm.ListKnowledge.HASHES})

    def publish(
        self,
        entries: bm.EntrySource,
        parameters: bm.SetParameters,
        rng: bm.Randomness,
        executor: bm.Executor | None,
        out: bm.Workspace,
        progress: bm.Progress = bm.no_progress,
    ) -> bm.Published:
        """See `Design.publish`. Takes 32 bytes of `rng` for the third party's key, 32 for that of labels,
        which is not kept."""
        private = rng.take(32)
        signing = SigningKey(rng.take(32))
        epoch = parameters.epoch
        public = {KIND_SEALING: hpke.public_key(private), KIND_SIGNING: bytes(signing.verify_key)}
        plain_list.write_sections(plain_list.EPOCH_FILE, self.info, parameters, 0, out, public)
        kept = {KIND_SEALING: private, KIND_NOTHING: signing.sign(_signed(bm.NO_LABEL, epoch)).signature}
        plain_list.write_sections(KEY_FILE, self.info, parameters, 0, out, kept)
        signed = partial(signatures, signing, epoch, executor)
        plain_list.write_list(self.info, entries, parameters, out, progress, signed)
        return bm.Published((plain_list.EPOCH_FILE,), {THIRD: (KEY_FILE, plain_list.LIST_FILE)})

    def open_setup(self, files: bm.Buffers, epoch: int | None = None) -> Setup:
        file = plain_list.open_file(self.info, files, plain_list.EPOCH_FILE, epoch)
        (sealing,), (signing,) = (plain_list.keys_in(file, kind, 1) for kind in (KIND_SEALING, KIND_SIGNING))
        return Setup(file.identity.epoch, sealing, signing)

    def check_setup(self, setup: Setup, progress: bm.Progress = bm.no_progress) -> None:
        try:
            hpke.seal(setup.sealing, SEAL_INFO, b"", b"\1" * 32)
        except ValueError:
            raise bm.SetFileError(
                f"{plain_list.EPOCH_FILE}: nothing can be sealed to the key in it"
            ) from None

    def is_signed(self, setup: Setup, label: bm.Label) -> bool:
        return is_signature(setup.signing, _signed(label, setup.epoch), label.signatures)

    def stated(self, setup: Setup) -> bm.Stated:
        return bm.Stated(role_keys={THIRD: setup.sealing})

    def open_role(self, role: bm.Role, files: bm.Buffers) -> ThirdPartyState:
        file = plain_list.open_file(self.info, files, KEY_FILE, None)
        (key,), (nothing,) = (
            plain_list.keys_in(file, kind, 1, length)
            for kind, length in ((KIND_SEALING, 32), (KIND_NOTHING, 64))
        )
        epoch = file.identity.epoch
        listed = plain_list.open_list(self.info, files, epoch)
        if listed.signatures.shape[1] != 64:
            raise bm.SetFileError(f"{plain_list.LIST_FILE}: labels are not signed")
        return ThirdPartyState(epoch, listed, key, replace(bm.NO_LABEL, signatures=nothing))

    def start(
        self, state: bm.NoState, setup: Setup, item: bm.Item, binding: bm.Binding, rng: bm.Randomness
    ) -> bm.Started[bm.NoState, Waiting]:
        """See `Design.start`. Takes 64 bytes of `rng`, whatever the item is."""
        reply_key = rng.take(32)
        ephemeral = rng.take(32)
        asked = Asked(item.hash, item.quality, reply_key).encode()
        ask = Ask(hpke.seal(setup.sealing, _info(setup.epoch), asked, ephemeral))
        return bm.Started(state, bm.Send(Waiting(item.hash, reply_key), {THIRD: ask}))

    def receive(
        self, session: Waiting, setup: Setup, replies: Mapping[bm.Role, bm.Message], rng: bm.Randomness
    ) -> bm.Step[Waiting]:
        reply = replies[THIRD]
        assert isinstance(reply, Found)
        opened = hpke.open_reply(session.reply_key, reply.sealed)
        if opened is None:
            raise bm.UnopenedError(_STEP, "must be sealed with the key that was sent", "sealed")
        label = bm.Label.decode(opened)
        check_signature(label, setup)
        if _found(label) and distance(session.hash, label.entry_hash) > MATCH_DISTANCE:
            raise bm.ProtocolError(_STEP, f"must be within {MATCH_DISTANCE} bits of what was asked", "label")
        return bm.Ready(label)

    def conclude(self, session: bm.Label, setup: Setup) -> bm.Outcome:
        return bm.Match(session) if _found(session) else bm.NoMatch()

    def judged(self, state: ThirdPartyState, body: bm.Message) -> tuple[bm.Message, bm.Verdict]:
        asked = self.unsealed(THIRD, state, body)
        found = state.listed.match(asked.hash, MATCH_DISTANCE)
        label = found if asked.quality >= bm.MINIMUM_QUALITY else None
        return answered_with(label or state.nothing, asked.reply_key), bm.Verdict(label)

    def unsealed(self, role: bm.Role, state: ThirdPartyState, body: bm.Message) -> Asked:
        assert isinstance(body, Ask)
        opened = hpke.open_sealed(state.key, _info(state.epoch), body.sealed)
        if opened is None:
            rule = f"must be sealed to the third party for epoch {state.epoch}"
            raise bm.ProtocolError(Ask.NAME, rule, "sealed")
        return Asked.decode(opened)


def answered_with(label: bm.Label, reply_key: bytes) -> Found:
    return Found(hpke.seal_reply(reply_key, label.encode()))


def signatures(key: SigningKey, epoch: int, executor: bm.Executor | None, batch: bm.EntryBatch) -> bm.Rows:
    """Signatures of a batch's labels for an epoch, uint8 (n, 64)."""

    def part(start: int, stop: int) -> bytes:
        columns = (batch.hashes, batch.ids, batch.salts)
        rows = zip(*(column[start:stop] for column in columns), strict=True)
        labels = (bm.Label(own.tobytes(), int(name), salt.tobytes()) for own, name, salt in rows)
        return b"".join(key.sign(_signed(label, epoch)).signature for label in labels)

    return np.frombuffer(b"".join(spread(part, len(batch), executor)), np.uint8).reshape(len(batch), 64)


def check_signature(label: bm.Label, setup: Setup) -> None:
    """Make sure that a label was published for this epoch, be it the one that says that nothing was found;
    `ProtocolError` if it was not."""
    if not is_signature(setup.signing, _signed(label, setup.epoch), label.signatures):
        raise bm.ProtocolError(_STEP, "must be signed for this epoch", "label")


def _found(label: bm.Label) -> bool:
    return replace(label, signatures=b"") != bm.NO_LABEL


def _signed(label: bm.Label, epoch: int) -> bytes:
    plain = bm.Label(label.entry_hash, label.entry_id, label.salt)
    return LABEL_TAG + epoch.to_bytes(8, "big") + plain.encode()


def _info(epoch: int) -> bytes:
    return SEAL_INFO + epoch.to_bytes(8, "big")


DESIGN: Final = ThirdParty()
