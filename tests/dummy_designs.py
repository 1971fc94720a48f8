"""One dummy that uses the whole contract and protects nothing, in several forms; to be run as
``dummy_designs.py:NAME``, too. Each form configures `Dummy`, and overrides the steps it is about.

ECHO          several rounds, an account state, an offline phase, a server that learns
SHARES        three roles at parties of its own, each with an additive share
CARRIED       a third party that the provider carries sealed bodies to, and that learns of no account
LARGE         bodies and replies over 4 MiB
MASKED        enrols with a mask and three megabytes, and sends its hashes under the mask
IN_PROCESSES  the same in worker processes; NATIVE: with randomness that no tape covers
VOUCHERS      nothing learnt on the device; an opener that opens at a threshold; bound to the message
CONFIGURED    CARRIED with a voucher for every picture, and with what a design may leave out: limits at the
              carrier, a period of several epochs, facts with all their fields
BRIGHT        a category recognised on the device: a flag without a label
FAILING       ECHO, with a step that fails at will
"""

from __future__ import annotations

import hashlib
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Final, TypeVar

from blindmatch_protocol import contract as bm
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import (
    NO_LABEL,
    Fixed,
    Item,
    Label,
    Message,
    Party,
    ProtocolError,
    Randomness,
    Role,
    UInt,
)
from blindmatch_protocol.contract import Sequence as Elements
from blindmatch_protocol.designs.facts import ENROLMENT, EVERY_HASH, QUALITY, QUERY_TIME, leaks
from blindmatch_protocol.designs.plain_scan import PlainScan
from blindmatch_protocol.sets.plain_list import (
    EPOCH_FILE,
    LIST_FILE,
    PlainList,
    open_list,
    write_epoch,
    write_list,
)
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from msgspec import Struct
from msgspec.structs import replace
from nacl.bindings import randombytes

X = TypeVar("X")
MATCHER = Role("matcher")
PARTY_A = Role("party_a")
PARTY_B = Role("party_b")
PARTY_C = Role("party_c")
THIRD = Role("third")
Kinds = Mapping[Role, tuple[type[Message], ...]]


def declared(name: str, summary: str, **more: Any) -> bm.Info:
    """A declaration; all but name and summary is as in ECHO unless it is given."""
    found: dict[str, Any] = {
        "version": 1,
        "option": "1b",
        "differs": "a dummy",
        "relation": bm.Near(31),
        "learns": frozenset({bm.Learner.DEVICE, bm.Learner.SERVER}),
        "roles": {MATCHER: Party.MATCHER},
    }
    return bm.Info(name=name, summary=summary, **{**found, **more})


class Dummy(PlainScan[X]):
    """The list in the clear for every role (and the opener), and its length in the set-up."""

    facts: ClassVar[tuple[bm.Fact, ...]] = (EVERY_HASH, QUALITY, QUERY_TIME)
    """Told to all parties with roles, each alone."""

    def leakage(self) -> tuple[bm.Leak, ...]:
        return tuple(one for party in self.info.roles.values() for one in leaks({party}, *self.facts))

    def publish(
        self,
        entries: bm.EntrySource,
        parameters: bm.SetParameters,
        rng: Randomness,
        executor: bm.Executor | None,
        out: bm.Workspace,
        progress: bm.Progress = bm.no_progress,
    ) -> bm.Published:
        write_epoch(self.info, parameters, len(entries), out)
        opener = (LIST_FILE,) if bm.Learner.CENTRE in self.info.learns else ()
        if self.info.roles or opener:
            write_list(self.info, entries, parameters, out, progress)
        progress(len(entries), len(entries))
        return bm.Published((EPOCH_FILE,), dict.fromkeys(self.info.roles, (LIST_FILE,)), opener)

    def list_knowledge(self, parties: frozenset[Party]) -> bm.ListKnowledge:
        held = dict.fromkeys((Party.DEVICE, *self.info.forwarded.values()), bm.ListKnowledge.SIZE)
        size = bm.ListKnowledge.joined(parties, held)
        return max(size, super().list_knowledge(parties))

    def receive(self, session: X, setup: int, replies: Mapping[Role, Message], rng: Randomness) -> bm.Step[X]:
        """The one reply has a label, or zeros."""
        (reply,) = replies.values()
        return ended(getattr(reply, "label"))  # noqa: B009 - of whatever class


def ended(label: Label) -> bm.Done:
    """A match with this label, or none."""
    return bm.Done(bm.NoMatch() if label == NO_LABEL else bm.Match(label))


def find(known: PlainList, hash_: bytes, quality: int) -> Label | None:
    """The nearest entry within 31 bits of a hash that is good enough."""
    return None if quality < 50 else known.match(hash_, 31)


# ECHO


class Counter(Message, tag=0xE0, name="echo/state"):
    """An account's state: how many items it started, and tickets made offline."""

    started: Annotated[int, UInt(32)]
    tickets: Annotated[tuple[bytes, ...], Elements(Fixed(8), 16)]


class Knock(Message, tag=0xE1, name="echo/knock"):
    """First rounds: which item of the account it is, and the ticket."""

    number: Annotated[int, UInt(32)]
    ticket: Annotated[bytes, Fixed(8)]


class Ask(Message, tag=0xE2, name="echo/ask"):
    """Last round: the hash."""

    hash: Annotated[bytes, Fixed(32)]
    quality: Annotated[int, UInt(8)]


class Echoed(Message, tag=0xE3, name="echo/echoed"):
    """The ticket comes back."""

    ticket: Annotated[bytes, Fixed(8)]


class Found(Message, tag=0xE4, name="echo/found"):
    """The entry's label, or zeros."""

    label: Annotated[Label, bm.Nested(Label)]


class Knocked(Redacted, Struct, frozen=True):
    """The session of ECHO."""

    hash: bytes
    quality: int
    ticket: bytes
    left: int


class Echo(Dummy[Knocked]):
    """Two rounds of knocking, then the hash in the clear."""

    info = declared("dummy-echo", "Knocks twice, then uploads the hash.", version=3)
    requests: ClassVar[Kinds] = {MATCHER: (Knock, Ask)}
    replies: ClassVar[Kinds] = {MATCHER: (Echoed, Found)}
    device_state: ClassVar[type[Message]] = Counter
    knocks: ClassVar[int] = 2

    def enrol(self, rng: Randomness) -> Any:
        return Counter(0, ())

    def prepare(self, state: Any, setup: int, rng: Randomness) -> Any:
        if state.tickets:
            return state
        return Counter(state.started, tuple(rng.take(8) for _ in range(4)))

    def start(
        self, state: Any, setup: int, item: Item, binding: bm.Binding, rng: Randomness
    ) -> bm.Started[Any, Knocked]:
        ticket, rest = (state.tickets[0], state.tickets[1:]) if state.tickets else (rng.take(8), ())
        session = Knocked(item.hash, item.quality, ticket, self.knocks)
        return bm.Started(Counter(state.started + 1, rest), self._knock(session, state.started))

    def receive(
        self, session: Knocked, setup: int, replies: Mapping[Role, Message], rng: Randomness
    ) -> bm.Step[Knocked]:
        reply = replies[MATCHER]
        if isinstance(reply, Found):
            if session.left:
                raise ProtocolError("echo/found", "must come after the hash, not before")
            return ended(reply.label)
        if not isinstance(reply, Echoed) or reply.ticket != session.ticket:
            raise ProtocolError("echo/echoed", "must be the ticket that was shown", "ticket")
        if session.left > 1:
            return self._knock(replace(session, left=session.left - 1), 0)
        return bm.Send(replace(session, left=0), {MATCHER: Ask(session.hash, session.quality)})

    def judged(self, state: PlainList, body: Message) -> tuple[Message, bm.Verdict | None]:
        if isinstance(body, Knock):
            return Echoed(body.ticket), None
        assert isinstance(body, Ask)
        label = find(state, body.hash, body.quality)
        return Found(label or NO_LABEL), bm.Verdict(label)

    def _knock(self, session: Knocked, number: int) -> bm.Send[Knocked]:
        return bm.Send(session, {MATCHER: Knock(number, session.ticket)})


# SHARES


class Share(Message, tag=0xE5, name="shares/share"):
    """One additive share of the hash, as a number modulo 2^256."""

    share: Annotated[bytes, Fixed(32)]


class Differences(Message, tag=0xE6, name="shares/differences"):
    """Every entry's label, with its hash minus the share that was sent."""

    labels: Annotated[tuple[Label, ...], Elements(bm.Nested(Label), 1 << 12)]


LIST_IN_REPLIES: Final = bm.Fact("shares.list", "the list: every reply has all of it", bm.Severity.LIST)


class Split(Redacted, Struct, frozen=True):
    """The session of SHARES: the hash, if it is good enough to match at all, and the share of each role."""

    hash: bytes | None
    shares: Mapping[Role, bytes]


class Shares(Dummy[Split]):
    """Exact matching; each of three parties sees one share of the hash, and all must have the same list."""

    info = declared(
        "dummy-shares",
        "Three parties get one additive share each.",
        option="2b",
        differs="a dummy: the device gets the list",
        relation=bm.Equal(),
        learns=frozenset({bm.Learner.DEVICE}),
        roles={role: Party(role) for role in (PARTY_A, PARTY_B, PARTY_C)},
        apart=(frozenset({PARTY_A, PARTY_B, PARTY_C}),),
    )
    requests: ClassVar[Kinds] = dict.fromkeys(info.roles, (Share,))
    replies: ClassVar[Kinds] = dict.fromkeys(info.roles, (Differences,))
    facts: ClassVar[tuple[bm.Fact, ...]] = (QUERY_TIME,)

    def leakage(self) -> tuple[bm.Leak, ...]:
        """Together the parties see the hash; and the device knows its shares, so that replies give it the
        whole list."""
        together = leaks(set(self.info.roles.values()), EVERY_HASH, QUERY_TIME)
        return (*super().leakage(), *together, *leaks({Party.DEVICE}, LIST_IN_REPLIES))

    def start(
        self, state: bm.NoState, setup: int, item: Item, binding: bm.Binding, rng: Randomness
    ) -> bm.Started[bm.NoState, Split]:
        b = rng.take(32)
        c = rng.take(32)
        shares = {PARTY_A: minus(minus(item.hash, b), c), PARTY_B: b, PARTY_C: c}
        good = item.quality >= self.info.relation.minimum_quality
        session = Split(item.hash if good else None, shares)
        return bm.Started(state, bm.Send(session, {role: Share(share) for role, share in shares.items()}))

    def receive(
        self, session: Split, setup: int, replies: Mapping[Role, Message], rng: Randomness
    ) -> bm.Step[Split]:
        a, *others = (self._entries(session, role, replies[role]) for role in (PARTY_A, PARTY_B, PARTY_C))
        if any(a != other for other in others):
            raise ProtocolError("shares/differences", "all parties have one list", "labels")
        matching = [label for label in a if label.entry_hash == session.hash]
        return ended(matching[0] if matching else NO_LABEL)

    def judged(self, state: PlainList, body: Message) -> tuple[Message, None]:
        assert isinstance(body, Share)
        known = (state.label(row) for row in range(len(state.hashes)))
        return Differences(tuple(shifted(one, minus, body.share) for one in known)), None

    def _entries(self, session: Split, role: Role, reply: Message) -> list[Label]:
        assert isinstance(reply, Differences)
        return [shifted(label, plus, session.shares[role]) for label in reply.labels]


def shifted(label: Label, by: Callable[[bytes, bytes], bytes], share: bytes) -> Label:
    """`label` with its hash moved by a share."""
    return Label(by(label.entry_hash, share), label.entry_id, label.salt)


def minus(a: bytes, b: bytes) -> bytes:
    """a - b modulo 2^256."""
    return ((int.from_bytes(a, "big") - int.from_bytes(b, "big")) % (1 << 256)).to_bytes(32, "big")


def plus(a: bytes, b: bytes) -> bytes:
    """a + b modulo 2^256."""
    return ((int.from_bytes(a, "big") + int.from_bytes(b, "big")) % (1 << 256)).to_bytes(32, "big")


# LARGE

LARGE_BYTES = 5 << 20


class LargeAsk(Message, tag=0xE7, name="large/ask"):
    """The hash, and five megabytes."""

    hash: Annotated[bytes, Fixed(32)]
    quality: Annotated[int, UInt(8)]
    padding: Annotated[bytes, Fixed(LARGE_BYTES)]


class LargeFound(Message, tag=0xE8, name="large/found"):
    """The label, and the padding back."""

    label: Annotated[Label, bm.Nested(Label)]
    padding: Annotated[bytes, Fixed(LARGE_BYTES)]


class Large(Dummy[None]):
    """Bodies over the 4 MiB a gRPC message may have by default, both ways."""

    info = declared("dummy-large", "Sends five megabytes with every hash.", large_bodies=True)
    requests: ClassVar[Kinds] = {MATCHER: (LargeAsk,)}
    replies: ClassVar[Kinds] = {MATCHER: (LargeFound,)}

    def start(
        self, state: bm.NoState, setup: int, item: Item, binding: bm.Binding, rng: Randomness
    ) -> bm.Started[bm.NoState, None]:
        ask = LargeAsk(item.hash, item.quality, rng.take(1) * LARGE_BYTES)
        return bm.Started(state, bm.Send(None, {MATCHER: ask}))

    def judged(self, state: PlainList, body: Message) -> tuple[Message, bm.Verdict]:
        assert isinstance(body, LargeAsk)
        label = find(state, body.hash, body.quality)
        return LargeFound(label or NO_LABEL, body.padding), bm.Verdict(label)


# CARRIED

_NONCES = (bytes(12), b"\1" + bytes(11))
_REPLY_BYTES = 512


class CarriedAsk(Message, tag=0xF4, name="carried/ask"):
    """Hash and quality, sealed to the third party; the carrier sees an ephemeral key and a ciphertext."""

    ephemeral: Annotated[bytes, Fixed(32)]
    sealed: Annotated[bytes, Fixed(49)]


class CarriedFound(Message, tag=0xF5, name="carried/found"):
    """The label, padded and sealed under the key of the question."""

    sealed: Annotated[bytes, Fixed(_REPLY_BYTES + 16)]


def third_key() -> X25519PrivateKey:
    """The third party's key, which a design would make when it publishes; here it is no secret."""
    return X25519PrivateKey.from_private_bytes(b"\x33" * 32)


def shared(mine: X25519PrivateKey, other: X25519PublicKey) -> ChaCha20Poly1305:
    """What both ends seal with."""
    return ChaCha20Poly1305(hashlib.sha256(mine.exchange(other)).digest())


class Carried(Dummy[bytes]):
    """The third party sees every hash, and of nobody; the provider carries it, and sees none."""

    info = declared(
        "dummy-carried",
        "A third party gets the hash by way of the provider.",
        option="2b",
        differs="a dummy: the third party's key is known",
        learns=frozenset({bm.Learner.DEVICE}),
        roles={THIRD: Party("third")},
        forwarded={THIRD: Party.PROVIDER},
    )
    requests: ClassVar[Kinds] = {THIRD: (CarriedAsk,)}
    replies: ClassVar[Kinds] = {THIRD: (CarriedFound,)}

    def leakage(self) -> tuple[bm.Leak, ...]:
        return (*super().leakage(), *leaks({Party.PROVIDER}, QUERY_TIME))

    def start(
        self, state: bm.NoState, setup: int, item: Item, binding: bm.Binding, rng: Randomness
    ) -> bm.Started[bm.NoState, bytes]:
        secret = rng.take(32)
        mine = X25519PrivateKey.from_private_bytes(secret)
        box = shared(mine, third_key().public_key())
        sealed = box.encrypt(_NONCES[0], item.hash + bytes([item.quality]), None)
        ask = CarriedAsk(mine.public_key().public_bytes_raw(), sealed)
        return bm.Started(state, bm.Send(secret, {THIRD: ask}))

    def receive(
        self, session: bytes, setup: int, replies: Mapping[Role, Message], rng: Randomness
    ) -> bm.Step[bytes]:
        reply = replies[THIRD]
        assert isinstance(reply, CarriedFound)
        box = shared(X25519PrivateKey.from_private_bytes(session), third_key().public_key())
        try:
            padded = box.decrypt(_NONCES[1], reply.sealed, None)
        except InvalidTag as error:
            raise bm.UnopenedError("carried/found", "must be sealed by the third party", "sealed") from error
        return ended(Label.decode(padded[2 : 2 + int.from_bytes(padded[:2], "big")]))

    def judged(self, state: PlainList, body: Message) -> tuple[Message, None]:
        assert isinstance(body, CarriedAsk)
        try:
            box = shared(third_key(), X25519PublicKey.from_public_bytes(body.ephemeral))
            asked = box.decrypt(_NONCES[0], body.sealed, None)
        except (InvalidTag, ValueError) as error:
            raise ProtocolError("carried/ask", "must be sealed to the third party", "sealed") from error
        label = (find(state, asked[:32], asked[32]) or NO_LABEL).encode()
        padded = (len(label).to_bytes(2, "big") + label).ljust(_REPLY_BYTES, b"\0")
        return CarriedFound(box.encrypt(_NONCES[1], padded, None)), None


# MASKED

PADDING_BYTES = 3 << 20


class Mask(Message, tag=0xD0, name="masked/state"):
    """An account's state: its mask; zeros before it enrolled."""

    mask: Annotated[bytes, Fixed(32)]


class Masking(Message, tag=0xD1, name="masked/enrolment"):
    """What the role holds of an account."""

    mask: Annotated[bytes, Fixed(32)]
    padding: Annotated[bytes, bm.Variable(PADDING_BYTES)]


class AskMasked(Message, tag=0xD2, name="masked/ask"):
    """The hash under the mask."""

    hash: Annotated[bytes, Fixed(32)]
    quality: Annotated[int, UInt(8)]


class Unmasked(Message, tag=0xD3, name="masked/found"):
    """The entry's label, or zeros."""

    label: Annotated[Label, bm.Nested(Label)]


class Masked(Dummy[None]):
    """The role takes the mask off and looks the hash up. Epochs 1 to 9 have one enrolment key, 10 to 19 the
    next."""

    info = declared(
        "dummy-masked",
        "Enrols with a mask, then uploads the hash under it.",
        learns=frozenset({bm.Learner.DEVICE}),
    )
    requests: ClassVar[Kinds] = {MATCHER: (AskMasked,)}
    replies: ClassVar[Kinds] = {MATCHER: (Unmasked,)}
    enrolments: ClassVar[Kinds] = {MATCHER: (Masking,)}
    device_state: ClassVar[type[Message]] = Mask
    facts: ClassVar[tuple[bm.Fact, ...]] = (EVERY_HASH, QUALITY, QUERY_TIME, ENROLMENT)

    def enrol(self, rng: Randomness) -> Any:
        return Mask(bytes(32))

    def enrolment_key(self, setup: int) -> bytes:
        return (setup // 10).to_bytes(8, "big")

    def enrolment(self, state: Any, setup: int, rng: Randomness) -> bm.Enrolment[Any]:
        mask = rng.take(32)
        seed = rng.take(32)
        padding = hashlib.shake_256(seed).digest(PADDING_BYTES)
        return bm.Enrolment(Mask(mask), {MATCHER: Masking(mask, padding)})

    def start(
        self, state: Any, setup: int, item: Item, binding: bm.Binding, rng: Randomness
    ) -> bm.Started[Any, None]:
        return bm.Started(state, bm.Send(None, {MATCHER: self.asked(state, item)}))

    def asked(self, state: Any, item: Item) -> Message:
        """What is sent for a picture."""
        return AskMasked(xor(item.hash, state.mask), item.quality)

    def answer(
        self,
        role: Role,
        state: PlainList,
        requests: Sequence[bm.Request],
        rng: Randomness,
        executor: bm.Executor | None,
    ) -> bm.Answer:
        return bm.Answer([self.looked_up(state, request) for request in requests])

    def looked_up(self, state: PlainList, request: bm.Request) -> Message | ProtocolError:
        """The reply to one request."""
        body = request.body
        held = request.enrolment
        if not isinstance(body, AskMasked) or not isinstance(held, Masking):
            return ProtocolError("masked/ask", "needs the account's mask")
        return Unmasked(find(state, xor(body.hash, held.mask), body.quality) or NO_LABEL)


def xor(a: bytes, b: bytes) -> bytes:
    """The bits that differ."""
    return bytes(x ^ y for x, y in zip(a, b, strict=True))


class InProcesses(Masked):
    """MASKED, answered in worker processes. What a request's quality says beyond 100 is done there."""

    info = replace(Masked.info, name="dummy-in-processes", in_processes=frozenset({MATCHER}))
    DIE: ClassVar = 201
    FAIL: ClassVar = 202
    WHOSE: ClassVar = 203

    def looked_up(self, state: PlainList, request: bm.Request) -> Message | ProtocolError:
        assert isinstance(request.body, AskMasked)
        match request.body.quality:
            case self.DIE:
                os.kill(os.getpid(), signal.SIGKILL)
            case self.FAIL:
                raise ValueError(request.body.hash.hex())
            case self.WHOSE:
                return Unmasked(Label(bytes(32), os.getpid(), bytes(16)))
        return super().looked_up(state, request)


class AskSalted(Message, tag=0xD4, name="native/ask"):
    """The hash under mask and salt."""

    hash: Annotated[bytes, Fixed(32)]
    quality: Annotated[int, UInt(8)]
    salt: Annotated[bytes, Fixed(32)]


class Native(Masked):
    """MASKED, with a salt that libsodium draws by itself."""

    info = replace(Masked.info, name="dummy-native", native_randomness="libsodium draws the salt")
    requests: ClassVar[Kinds] = {MATCHER: (AskSalted,)}

    def asked(self, state: Any, item: Item) -> Message:
        salt = self.salt(item)
        return AskSalted(xor(item.hash, xor(state.mask, salt)), item.quality, salt)

    def salt(self, item: Item) -> bytes:
        """32 bytes."""
        return randombytes(32)

    def looked_up(self, state: PlainList, request: bm.Request) -> Message | ProtocolError:
        body = request.body
        assert isinstance(body, AskSalted)
        masked = AskMasked(xor(body.hash, body.salt), body.quality)
        return super().looked_up(state, bm.Request(masked, request.enrolment))


class ShowsNone(Native):
    """Declares native randomness and has none."""

    def salt(self, item: Item) -> bytes:
        return bytes(32)


class SaltTells(Native):
    """Hides something of the picture beside what is drawn, and declares less."""

    facts: ClassVar[tuple[bm.Fact, ...]] = (QUALITY, QUERY_TIME, ENROLMENT)

    def salt(self, item: Item) -> bytes:
        return item.hash[:8] + randombytes(24)


# VOUCHERS

THRESHOLD = 2


class Sealed(Message, tag=0xE9, name="vouchers/voucher"):
    """The hash; a real design would encrypt it under what only enough matches reveal."""

    hash: Annotated[bytes, Fixed(32)]
    quality: Annotated[int, UInt(8)]
    commitment: Annotated[bytes, Fixed(32)] = bytes(32)
    evidence: Annotated[bytes, bm.Variable(4096)] = b""
    """Padded, so that its length tells of no name, and under a mask that the centre can take off; a real
    design would seal it, too."""

    @property
    def unveiled(self) -> bytes:
        """The evidence itself."""
        opened = veiled(self.evidence, self.commitment)
        return opened[LENGTH_BYTES:][: int.from_bytes(opened[:LENGTH_BYTES], "big")]


LENGTH_BYTES = 2
PADDED_EVIDENCE = 2_048
"""Bytes that every evidence is padded to: it has at most 64 for each name and 1,480 beside."""


def padded(evidence: bytes) -> bytes:
    """The evidence's length, itself, and zeros."""
    return (len(evidence).to_bytes(LENGTH_BYTES, "big") + evidence).ljust(PADDED_EVIDENCE, b"\0")


def veiled(evidence: bytes, commitment: bytes) -> bytes:
    """Evidence under a mask, or out of it."""
    mask = hashlib.shake_256(b"dummy-vouchers/evidence" + commitment).digest(len(evidence))
    return (int.from_bytes(evidence, "big") ^ int.from_bytes(mask, "big")).to_bytes(len(mask), "big")


class ThresholdOpener(Redacted, Struct, frozen=True):
    """Opens an account's matching vouchers once there are `THRESHOLD` of them."""

    known: PlainList

    def take(self, account: str, device: str, period: bytes, voucher: Message) -> bm.Taken:
        if not isinstance(voucher, Sealed):
            raise ProtocolError("vouchers/open", "must be a voucher", "voucher")
        label = find(self.known, voucher.hash, voucher.quality)
        return bm.Hidden() if label is None else bm.Visible(label.encode())

    def open(self, account: str, period: bytes, rows: Sequence[bytes]) -> Mapping[int, Label]:
        opened = {index: Label.decode(row) for index, row in enumerate(rows)}
        return opened if len(opened) >= THRESHOLD else {}


class Vouchers(Dummy[None]):
    """Asks nobody; every item ends in a voucher."""

    info = declared(
        "dummy-vouchers",
        "Every picture gives a voucher; the centre opens them from two matches on.",
        version=2,
        learns=frozenset({bm.Learner.CENTRE}),
        roles={},
        vouching=bm.Vouching(
            "that a picture was sent, and its commitment", "at once: the hash is in it", "from two matches on"
        ),
    )
    vouchers: ClassVar[tuple[type[Message], ...]] = (Sealed,)

    def leakage(self) -> tuple[bm.Leak, ...]:
        return leaks({Party.CENTRE}, EVERY_HASH, QUALITY, QUERY_TIME)

    def open_opener(self, files: bm.Buffers) -> bm.Opener:
        return ThresholdOpener(open_list(self.info, files))

    def start(
        self, state: bm.NoState, setup: int, item: Item, binding: bm.Binding, rng: Randomness
    ) -> bm.Started[bm.NoState, None]:
        evidence = veiled(padded(binding.evidence), binding.commitment)
        voucher = Sealed(item.hash, item.quality, binding.commitment, evidence)
        return bm.Started(state, bm.Done(bm.Voucher(voucher)))


# CONFIGURED

OWN_HASH = bm.Fact(
    "my.hash",
    "the hash of every picture, and of nobody",
    bm.Severity.HASH,
    lambda item, _: item.hash,
    frozenset({bm.Shows.HASH}),
    bm.Topic.SEARCH,
    "asks for pictures of its choice",
    "nobody at all",
)


class Asked(Redacted, Struct, frozen=True):
    """The session of CONFIGURED: that of CARRIED, and the voucher that it ends in."""

    secret: bytes
    voucher: bm.Voucher


class Configured(Carried):
    """As many evaluations for each account at the carrier, and epochs of a period, as it is made with."""

    info = replace(
        Carried.info,
        name="dummy-configured",
        summary="A third party gets the hash by way of the provider, and the centre a voucher.",
        learns=frozenset({bm.Learner.CENTRE}),
        vouching=Vouchers.info.vouching,
    )
    vouchers: ClassVar[tuple[type[Message], ...]] = (Sealed,)

    facts: ClassVar[tuple[bm.Fact, ...]] = (OWN_HASH, QUALITY, QUERY_TIME)

    def __init__(self, per_account: int = 3, epochs: int = 10) -> None:
        self.per_account = per_account
        self.epochs = epochs

    def leakage(self) -> tuple[bm.Leak, ...]:
        return (*super().leakage(), *leaks({Party.CENTRE}, EVERY_HASH, QUALITY, QUERY_TIME))

    def carrier_limits(self, role: Role, setup: int) -> bm.KeyLimits | None:
        return bm.KeyLimits(b"configured", 1, self.per_account)

    def period(self, setup: int) -> bytes:
        return (setup // self.epochs).to_bytes(8, "big")

    def open_opener(self, files: bm.Buffers) -> bm.Opener:
        return ThresholdOpener(open_list(self.info, files))

    def start(
        self, state: bm.NoState, setup: int, item: Item, binding: bm.Binding, rng: Randomness
    ) -> bm.Started[bm.NoState, Any]:
        begun = super().start(state, setup, item, binding, rng)
        assert isinstance(begun.step, bm.Send)
        evidence = veiled(padded(binding.evidence), binding.commitment)
        voucher = bm.Voucher(Sealed(item.hash, item.quality, binding.commitment, evidence))
        return bm.Started(begun.state, bm.Send(Asked(begun.step.session, voucher), begun.step.bodies))

    def receive(
        self, session: Any, setup: int, replies: Mapping[Role, Message], rng: Randomness
    ) -> bm.Step[Any]:
        """What the third party says is opened, and not used."""
        super().receive(session.secret, setup, replies, rng)
        return bm.Done(session.voucher)


# CATEGORY


def brightness(item: Item) -> float:
    """Mean luminance, 0 to 1; stands in for a classifier."""
    return float(item.luminance.mean()) / 255


class Bright(Dummy[None]):
    """Recognises a category on the device and asks nobody."""

    info = declared(
        "dummy-bright",
        "Flags pictures that are bright.",
        relation=bm.Category("bright", 0.5, brightness, minimum_quality=0),
        learns=frozenset({bm.Learner.DEVICE}),
        roles={},
    )

    def start(
        self, state: bm.NoState, setup: int, item: Item, binding: bm.Binding, rng: Randomness
    ) -> bm.Started[bm.NoState, None]:
        score = brightness(item)
        return bm.Started(state, bm.Done(bm.Flag(score) if score >= 0.5 else bm.NoMatch()))


# FAILING


class Failing(Echo):
    """ECHO with one step that fails.

    Args:
        step: ``enrol``, ``prepare``, ``start``, ``receive``, ``answer`` or ``none``.
        error: what is raised in it; an error of ours, or any other, as a plug-in with a bug would.
    """

    info = replace(Echo.info, name="dummy-failing")

    def __init__(self, step: str, error: Exception | None = None) -> None:
        self.step = step
        self.error = error or ProtocolError("dummy", "fails at will")


def failing(name: str) -> Callable[..., Any]:
    """A step of `Failing`."""

    def step(self: Failing, *arguments: Any) -> Any:
        if self.step == name:
            raise self.error
        return getattr(Echo, name)(self, *arguments)

    step.__code__ = step.__code__.replace(co_name=name)
    return step


for _step in ("enrol", "prepare", "start", "receive", "answer"):
    setattr(Failing, _step, failing(_step))


ECHO = Echo()
SHARES = Shares()
CARRIED = Carried()
LARGE = Large()
MASKED = Masked()
IN_PROCESSES = InProcesses()
NATIVE = Native()
VOUCHERS = Vouchers()
CONFIGURED = Configured()
ONE_EPOCH = Configured(epochs=1)
BRIGHT = Bright()
FAILING = Failing("receive")

ALL: tuple[bm.AnyDesign, ...] = (ECHO, SHARES, LARGE, VOUCHERS)
"""Those that work."""


def in_processes() -> bm.AnyDesign:
    """For worker processes."""
    return IN_PROCESSES
