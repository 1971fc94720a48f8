"""Designs that use the whole contract and protect nothing. Also to be run as ``dummy_designs.py:NAME``.

ECHO       several rounds, an account state, an offline phase, a server that learns
SHARES     three roles at parties of its own, each with an additive share
CARRIED    a third party that the provider carries sealed bodies to, and that learns of no account
LARGE      bodies and replies over 4 MiB
VOUCHERS   nothing learnt on the device; an opener that opens at a threshold; bound to the message
BRIGHT     a category recognised on the device: a flag without a label
FAILING    ECHO, with a step that fails at will
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import numpy as np
from blindmatch_protocol.codec import Fixed, Message, Nested, UInt, Variable, message
from blindmatch_protocol.codec import Sequence as Elements
from blindmatch_protocol.contract import (
    Adversary,
    Answer,
    AnyDesign,
    Binding,
    Buffers,
    Category,
    Design,
    Done,
    EntrySource,
    Equal,
    Fact,
    Flag,
    Hidden,
    Info,
    Item,
    Label,
    Leak,
    Learner,
    Match,
    Near,
    NoMatch,
    NoState,
    Opener,
    Party,
    Progress,
    Published,
    Request,
    Role,
    Send,
    SetParameters,
    Started,
    Step,
    Taken,
    Verdict,
    Visible,
    Voucher,
    Workspace,
    no_progress,
)
from blindmatch_protocol.errors import DesignError, ProtocolError
from blindmatch_protocol.executor import Executor
from blindmatch_protocol.plain_list import (
    EPOCH_FILE,
    LIST_FILE,
    PlainList,
    open_epoch,
    open_list,
    write_epoch,
    write_list,
)
from blindmatch_protocol.randomness import Randomness
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

MATCHER = Role("matcher")
PARTY_A = Role("party_a")
PARTY_B = Role("party_b")
PARTY_C = Role("party_c")
NO_LABEL = Label(bytes(32), 0, bytes(16))

EVERY_HASH = Fact("every_hash", "the perceptual hash of every picture", lambda item, _: item.hash)
QUERY_TIME = Fact("query_time", "that, and when, an account sent a picture", lambda item, _: True)
QUALITY = Fact("quality", "the hash quality of every picture", lambda item, _: item.quality)


def leak(parties: set[Party], *facts: Fact) -> tuple[Leak, ...]:
    """`facts` to the coalition, whatever it does."""
    return tuple(Leak(frozenset(parties), adversary, facts) for adversary in Adversary)


class Listed:
    """Publishing and opening that all designs here share: an empty set-up, the plaintext list for roles."""

    info: ClassVar[Info]

    def publish(
        self,
        entries: EntrySource,
        parameters: SetParameters,
        rng: Randomness,
        executor: Executor | None,
        out: Workspace,
        progress: Progress = no_progress,
    ) -> Published:
        write_epoch(self.info, parameters, len(entries), out)
        write_list(self.info, entries, parameters, out, progress)
        opener = (LIST_FILE,) if Learner.CENTRE in self.info.learns else ()
        return Published((EPOCH_FILE,), dict.fromkeys(self.info.roles, (LIST_FILE,)), opener)

    def open_setup(self, files: Buffers, epoch: int | None = None) -> int:
        return open_epoch(self.info, files, epoch)

    def epoch_of(self, setup: int) -> int:
        return setup

    def open_role(self, role: Role, files: Buffers) -> PlainList:
        return open_list(self.info, files)


# ECHO


@message
class Counter(Message):
    """An account's state: how many items it started, and tickets made offline."""

    TAG: ClassVar[int] = 0xE0
    NAME: ClassVar[str] = "echo/state"
    started: Annotated[int, UInt(32)]
    tickets: Annotated[tuple[bytes, ...], Elements(Fixed(8), 16)]


@message
class Knock(Message):
    """First rounds: which item of the account it is, and the ticket."""

    TAG: ClassVar[int] = 0xE1
    NAME: ClassVar[str] = "echo/knock"
    number: Annotated[int, UInt(32)]
    ticket: Annotated[bytes, Fixed(8)]


@message
class Ask(Message):
    """Last round: the hash."""

    TAG: ClassVar[int] = 0xE2
    NAME: ClassVar[str] = "echo/ask"
    hash: Annotated[bytes, Fixed(32)]
    quality: Annotated[int, UInt(8)]


@message
class Echoed(Message):
    """The ticket comes back."""

    TAG: ClassVar[int] = 0xE3
    NAME: ClassVar[str] = "echo/echoed"
    ticket: Annotated[bytes, Fixed(8)]


@message
class Found(Message):
    """The entry's label, or zeros."""

    TAG: ClassVar[int] = 0xE4
    NAME: ClassVar[str] = "echo/found"
    label: Annotated[Label, Nested(Label)]


@dataclass(frozen=True, slots=True, repr=False)
class Knocked:
    """The session of ECHO."""

    hash: bytes
    quality: int
    ticket: bytes
    left: int


class Echo(Listed, Design[int, Counter, Knocked, PlainList]):
    """Two rounds of knocking, then the hash in the clear."""

    info = Info(
        name="dummy-echo",
        version=3,
        option="1b",
        summary="Knocks twice, then uploads the hash.",
        differs="a dummy",
        relation=Near(31),
        learns=frozenset({Learner.DEVICE, Learner.SERVER}),
        roles={MATCHER: Party.MATCHER},
    )
    requests: ClassVar[Mapping[Role, tuple[type[Message], ...]]] = {MATCHER: (Knock, Ask)}
    replies: ClassVar[Mapping[Role, tuple[type[Message], ...]]] = {MATCHER: (Echoed, Found)}
    device_state: ClassVar[type[Message]] = Counter
    knocks: ClassVar[int] = 2

    def leakage(self) -> tuple[Leak, ...]:
        return leak({Party.MATCHER}, EVERY_HASH, QUALITY, QUERY_TIME)

    def enrol(self, rng: Randomness) -> Counter:
        return Counter(0, ())

    def prepare(self, state: Counter, setup: int, rng: Randomness) -> Counter:
        if state.tickets:
            return state
        return Counter(state.started, tuple(rng.take(8) for _ in range(4)))

    def start(
        self, state: Counter, setup: int, item: Item, binding: Binding, rng: Randomness
    ) -> Started[Counter, Knocked]:
        ticket, rest = (state.tickets[0], state.tickets[1:]) if state.tickets else (rng.take(8), ())
        session = Knocked(item.hash, item.quality, ticket, self.knocks)
        return Started(Counter(state.started + 1, rest), self._knock(session, state.started))

    def receive(
        self, session: Knocked, setup: int, replies: Mapping[Role, Message], rng: Randomness
    ) -> Step[Knocked]:
        reply = replies[MATCHER]
        if isinstance(reply, Found):
            return self._end(session, reply)
        if not isinstance(reply, Echoed) or reply.ticket != session.ticket:
            raise ProtocolError("echo/echoed", "must be the ticket that was shown", "ticket")
        if session.left > 1:
            return self._knock(replace(session, left=session.left - 1), 0)
        return Send(replace(session, left=0), {MATCHER: Ask(session.hash, session.quality)})

    def answer(
        self,
        role: Role,
        state: PlainList,
        requests: Sequence[Request],
        rng: Randomness,
        executor: Executor | None,
    ) -> Answer:
        replies: list[Message] = []
        verdicts: list[Verdict | None] = []
        for body in (request.body for request in requests):
            if isinstance(body, Knock):
                replies.append(Echoed(body.ticket))
                verdicts.append(None)
            elif isinstance(body, Ask):
                label = find(state, body.hash, body.quality)
                replies.append(Found(label or NO_LABEL))
                verdicts.append(Verdict(label))
        return Answer(replies, verdicts)

    def _knock(self, session: Knocked, number: int) -> Send[Knocked]:
        return Send(session, {MATCHER: Knock(number, session.ticket)})

    def _end(self, session: Knocked, reply: Found) -> Done:
        if session.left:
            raise ProtocolError("echo/found", "must come after the hash, not before")
        return Done(NoMatch() if reply.label == NO_LABEL else Match(reply.label))


def find(known: PlainList, hash_: bytes, quality: int) -> Label | None:
    """The nearest entry within 31 bits of a hash that is good enough."""
    if quality < 50:
        return None
    return known.match(np.frombuffer(hash_, np.uint8).reshape(1, 32), 31)[0]


# SHARES


@message
class Share(Message):
    """One additive share of the hash, as a number modulo 2^256."""

    TAG: ClassVar[int] = 0xE5
    NAME: ClassVar[str] = "shares/share"
    share: Annotated[bytes, Fixed(32)]


@message
class Differences(Message):
    """Every entry's label, with its hash minus the share that was sent."""

    TAG: ClassVar[int] = 0xE6
    NAME: ClassVar[str] = "shares/differences"
    labels: Annotated[tuple[Label, ...], Elements(Nested(Label), 1 << 12)]


@dataclass(frozen=True, slots=True, repr=False)
class Split:
    """The session of SHARES: the hash, if it is good enough to match at all, and the share of each role."""

    hash: bytes | None
    shares: Mapping[Role, bytes]


class Shares(Listed, Design[int, NoState, Split, PlainList]):
    """Exact matching; each of three parties sees one share of the hash, and all must have the same list."""

    info = Info(
        name="dummy-shares",
        version=1,
        option="2b",
        summary="Three parties get one additive share each.",
        differs="a dummy: the device gets the list",
        relation=Equal(),
        learns=frozenset({Learner.DEVICE}),
        roles={role: Party(role) for role in (PARTY_A, PARTY_B, PARTY_C)},
        apart=(frozenset({PARTY_A, PARTY_B, PARTY_C}),),
    )
    requests: ClassVar[Mapping[Role, tuple[type[Message], ...]]] = dict.fromkeys(info.roles, (Share,))
    replies: ClassVar[Mapping[Role, tuple[type[Message], ...]]] = dict.fromkeys(info.roles, (Differences,))

    def leakage(self) -> tuple[Leak, ...]:
        parties = set(self.info.roles.values())
        alone = [one for party in parties for one in leak({party}, QUERY_TIME)]
        return (*alone, *leak(parties, EVERY_HASH, QUERY_TIME))

    def enrol(self, rng: Randomness) -> NoState:
        return NoState()

    def start(
        self, state: NoState, setup: int, item: Item, binding: Binding, rng: Randomness
    ) -> Started[NoState, Split]:
        b, c = rng.take(32), rng.take(32)
        shares = {PARTY_A: minus(minus(item.hash, b), c), PARTY_B: b, PARTY_C: c}
        good = item.quality >= self.info.relation.minimum_quality
        session = Split(item.hash if good else None, shares)
        return Started(state, Send(session, {role: Share(share) for role, share in shares.items()}))

    def receive(
        self, session: Split, setup: int, replies: Mapping[Role, Message], rng: Randomness
    ) -> Step[Split]:
        a, *others = (self._entries(session, role, replies[role]) for role in (PARTY_A, PARTY_B, PARTY_C))
        if any(a != other for other in others):
            raise ProtocolError("shares/differences", "all parties have one list", "labels")
        matching = [label for label in a if label.entry_hash == session.hash]
        return Done(Match(matching[0]) if matching else NoMatch())

    def answer(
        self,
        role: Role,
        state: PlainList,
        requests: Sequence[Request],
        rng: Randomness,
        executor: Executor | None,
    ) -> Answer:
        known = [state.label(row) for row in range(len(state.hashes))]
        shares = [request.body.share for request in requests if isinstance(request.body, Share)]
        return Answer([Differences(tuple(shifted(one, minus, share) for one in known)) for share in shares])

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

PADDING_BYTES = 5 << 20


@message
class LargeAsk(Message):
    """The hash, and five megabytes."""

    TAG: ClassVar[int] = 0xE7
    NAME: ClassVar[str] = "large/ask"
    hash: Annotated[bytes, Fixed(32)]
    quality: Annotated[int, UInt(8)]
    padding: Annotated[bytes, Fixed(PADDING_BYTES)]


@message
class LargeFound(Message):
    """The label, and the padding back."""

    TAG: ClassVar[int] = 0xE8
    NAME: ClassVar[str] = "large/found"
    label: Annotated[Label, Nested(Label)]
    padding: Annotated[bytes, Fixed(PADDING_BYTES)]


class Large(Listed, Design[int, NoState, None, PlainList]):
    """Bodies over the 4 MiB a gRPC message may have by default, both ways."""

    info = Info(
        name="dummy-large",
        version=1,
        option="1b",
        summary="Sends five megabytes with every hash.",
        differs="a dummy",
        relation=Near(31),
        learns=frozenset({Learner.DEVICE, Learner.SERVER}),
        roles={MATCHER: Party.MATCHER},
        large_bodies=True,
    )
    requests: ClassVar[Mapping[Role, tuple[type[Message], ...]]] = {MATCHER: (LargeAsk,)}
    replies: ClassVar[Mapping[Role, tuple[type[Message], ...]]] = {MATCHER: (LargeFound,)}

    def leakage(self) -> tuple[Leak, ...]:
        return leak({Party.MATCHER}, EVERY_HASH, QUALITY, QUERY_TIME)

    def enrol(self, rng: Randomness) -> NoState:
        return NoState()

    def start(
        self, state: NoState, setup: int, item: Item, binding: Binding, rng: Randomness
    ) -> Started[NoState, None]:
        ask = LargeAsk(item.hash, item.quality, rng.take(1) * PADDING_BYTES)
        return Started(state, Send(None, {MATCHER: ask}))

    def receive(
        self, session: None, setup: int, replies: Mapping[Role, Message], rng: Randomness
    ) -> Step[None]:
        reply = replies[MATCHER]
        assert isinstance(reply, LargeFound)
        return Done(NoMatch() if reply.label == NO_LABEL else Match(reply.label))

    def answer(
        self,
        role: Role,
        state: PlainList,
        requests: Sequence[Request],
        rng: Randomness,
        executor: Executor | None,
    ) -> Answer:
        asked = [request.body for request in requests if isinstance(request.body, LargeAsk)]
        labels = [find(state, body.hash, body.quality) for body in asked]
        replies = [LargeFound(label or NO_LABEL, b.padding) for label, b in zip(labels, asked, strict=True)]
        return Answer(replies, [Verdict(label) for label in labels])


# CARRIED

THIRD = Role("third")
_NONCES = (bytes(12), b"\1" + bytes(11))
_REPLY_BYTES = 512


@message
class CarriedAsk(Message):
    """Hash and quality, sealed to the third party; the carrier sees an ephemeral key and a ciphertext."""

    TAG: ClassVar[int] = 0xF4
    NAME: ClassVar[str] = "carried/ask"
    ephemeral: Annotated[bytes, Fixed(32)]
    sealed: Annotated[bytes, Fixed(49)]


@message
class CarriedFound(Message):
    """The label, padded and sealed under the key of the question."""

    TAG: ClassVar[int] = 0xF5
    NAME: ClassVar[str] = "carried/found"
    sealed: Annotated[bytes, Fixed(_REPLY_BYTES + 16)]


def third_key() -> X25519PrivateKey:
    """The third party's key, which a design would make when it publishes; here it is no secret."""
    return X25519PrivateKey.from_private_bytes(b"\x33" * 32)


def shared(mine: X25519PrivateKey, other: X25519PublicKey) -> ChaCha20Poly1305:
    """What both ends seal with."""
    return ChaCha20Poly1305(hashlib.sha256(mine.exchange(other)).digest())


class Carried(Listed, Design[int, NoState, bytes, PlainList]):
    """The third party sees every hash, and of nobody; the provider carries it, and sees none."""

    info = Info(
        name="dummy-carried",
        version=1,
        option="2b",
        summary="A third party gets the hash by way of the provider.",
        differs="a dummy: the third party's key is known",
        relation=Near(31),
        learns=frozenset({Learner.DEVICE}),
        roles={THIRD: Party("third")},
        forwarded={THIRD: Party.PROVIDER},
    )
    requests: ClassVar[Mapping[Role, tuple[type[Message], ...]]] = {THIRD: (CarriedAsk,)}
    replies: ClassVar[Mapping[Role, tuple[type[Message], ...]]] = {THIRD: (CarriedFound,)}

    def leakage(self) -> tuple[Leak, ...]:
        third = leak({Party("third")}, EVERY_HASH, QUALITY, QUERY_TIME)
        return (*third, *leak({Party.PROVIDER}, QUERY_TIME))

    def enrol(self, rng: Randomness) -> NoState:
        return NoState()

    def start(
        self, state: NoState, setup: int, item: Item, binding: Binding, rng: Randomness
    ) -> Started[NoState, bytes]:
        secret = rng.take(32)
        mine = X25519PrivateKey.from_private_bytes(secret)
        box = shared(mine, third_key().public_key())
        sealed = box.encrypt(_NONCES[0], item.hash + bytes([item.quality]), None)
        ask = CarriedAsk(mine.public_key().public_bytes_raw(), sealed)
        return Started(state, Send(secret, {THIRD: ask}))

    def receive(
        self, session: bytes, setup: int, replies: Mapping[Role, Message], rng: Randomness
    ) -> Step[bytes]:
        reply = replies[THIRD]
        assert isinstance(reply, CarriedFound)
        box = shared(X25519PrivateKey.from_private_bytes(session), third_key().public_key())
        try:
            padded = box.decrypt(_NONCES[1], reply.sealed, None)
        except InvalidTag as error:
            raise ProtocolError("carried/found", "must be sealed by the third party", "sealed") from error
        label = Label.decode(padded[2 : 2 + int.from_bytes(padded[:2], "big")])
        return Done(NoMatch() if label == NO_LABEL else Match(label))

    def answer(
        self,
        role: Role,
        state: PlainList,
        requests: Sequence[Request],
        rng: Randomness,
        executor: Executor | None,
    ) -> Answer:
        return Answer([self._found(state, one.body) for one in requests])

    def _found(self, state: PlainList, body: Message) -> CarriedFound | ProtocolError:
        assert isinstance(body, CarriedAsk)
        try:
            box = shared(third_key(), X25519PublicKey.from_public_bytes(body.ephemeral))
            asked = box.decrypt(_NONCES[0], body.sealed, None)
        except (InvalidTag, ValueError):
            return ProtocolError("carried/ask", "must be sealed to the third party", "sealed")
        label = (find(state, asked[:32], asked[32]) or NO_LABEL).encode()
        padded = (len(label).to_bytes(2, "big") + label).ljust(_REPLY_BYTES, b"\0")
        return CarriedFound(box.encrypt(_NONCES[1], padded, None))


# VOUCHERS

THRESHOLD = 2


@message
class Sealed(Message):
    """The hash; a real design would encrypt it under what only enough matches reveal."""

    TAG: ClassVar[int] = 0xE9
    NAME: ClassVar[str] = "vouchers/voucher"
    hash: Annotated[bytes, Fixed(32)]
    quality: Annotated[int, UInt(8)]
    commitment: Annotated[bytes, Fixed(32)] = bytes(32)
    evidence: Annotated[bytes, Variable(4096)] = b""
    """Under a mask that the centre can take off; a real design would seal it, too."""

    @property
    def unveiled(self) -> bytes:
        """The evidence itself."""
        return veiled(self.evidence, self.commitment)


def veiled(evidence: bytes, commitment: bytes) -> bytes:
    """Evidence under a mask, or out of it."""
    mask = hashlib.shake_256(b"dummy-vouchers/evidence" + commitment).digest(len(evidence))
    return bytes(a ^ b for a, b in zip(evidence, mask, strict=True))


@dataclass(frozen=True, slots=True, repr=False)
class ThresholdOpener:
    """Opens an account's matching vouchers once there are `THRESHOLD` of them."""

    known: PlainList

    def take(self, account: str, voucher: Message) -> Taken:
        if not isinstance(voucher, Sealed):
            raise ProtocolError("vouchers/open", "must be a voucher", "voucher")
        label = find(self.known, voucher.hash, voucher.quality)
        return Hidden() if label is None else Visible(label.encode())

    def open(self, account: str, rows: Sequence[bytes]) -> Mapping[int, Label]:
        opened = {index: Label.decode(row) for index, row in enumerate(rows)}
        return opened if len(opened) >= THRESHOLD else {}


class Vouchers(Listed, Design[int, NoState, None, PlainList]):
    """Asks nobody; every item ends in a voucher."""

    info = Info(
        name="dummy-vouchers",
        version=2,
        option="1b",
        summary="Every picture gives a voucher; the centre opens them from two matches on.",
        differs="a dummy",
        relation=Near(31),
        learns=frozenset({Learner.CENTRE}),
        roles={},
    )
    requests: ClassVar[Mapping[Role, tuple[type[Message], ...]]] = {}
    replies: ClassVar[Mapping[Role, tuple[type[Message], ...]]] = {}
    vouchers: ClassVar[tuple[type[Message], ...]] = (Sealed,)

    def leakage(self) -> tuple[Leak, ...]:
        return leak({Party.CENTRE}, EVERY_HASH, QUALITY)

    def open_opener(self, files: Buffers) -> Opener:
        return ThresholdOpener(open_list(self.info, files))

    def enrol(self, rng: Randomness) -> NoState:
        return NoState()

    def start(
        self, state: NoState, setup: int, item: Item, binding: Binding, rng: Randomness
    ) -> Started[NoState, None]:
        evidence = veiled(binding.evidence, binding.commitment)
        voucher = Sealed(item.hash, item.quality, binding.commitment, evidence)
        return Started(state, Done(Voucher(voucher)))

    def receive(
        self, session: None, setup: int, replies: Mapping[Role, Message], rng: Randomness
    ) -> Step[None]:
        raise DesignError("dummy-vouchers sends nothing, so nothing can be answered")

    def answer(
        self,
        role: Role,
        state: PlainList,
        requests: Sequence[Request],
        rng: Randomness,
        executor: Executor | None,
    ) -> Answer:
        raise DesignError("dummy-vouchers has no roles")


# CATEGORY


def brightness(item: Item) -> float:
    """Mean luminance, 0 to 1; stands in for a classifier."""
    return float(item.luminance.mean()) / 255


class Bright(Vouchers):
    """Recognises a category on the device and asks nobody."""

    info = replace(
        Vouchers.info,
        name="dummy-bright",
        summary="Flags pictures that are bright.",
        relation=Category("bright", 0.5, brightness, minimum_quality=0),
        learns=frozenset({Learner.DEVICE}),
    )
    vouchers: ClassVar[tuple[type[Message], ...]] = ()

    def leakage(self) -> tuple[Leak, ...]:
        return ()

    def start(
        self, state: NoState, setup: int, item: Item, binding: Binding, rng: Randomness
    ) -> Started[NoState, None]:
        score = brightness(item)
        return Started(state, Done(Flag(score) if score >= 0.5 else NoMatch()))


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

    def _fail_in(self, step: str) -> None:
        if step == self.step:
            raise self.error

    def enrol(self, rng: Randomness) -> Counter:
        self._fail_in("enrol")
        return super().enrol(rng)

    def prepare(self, state: Counter, setup: int, rng: Randomness) -> Counter:
        self._fail_in("prepare")
        return super().prepare(state, setup, rng)

    def start(
        self, state: Counter, setup: int, item: Item, binding: Binding, rng: Randomness
    ) -> Started[Counter, Knocked]:
        self._fail_in("start")
        return super().start(state, setup, item, binding, rng)

    def receive(
        self, session: Knocked, setup: int, replies: Mapping[Role, Message], rng: Randomness
    ) -> Step[Knocked]:
        self._fail_in("receive")
        return super().receive(session, setup, replies, rng)

    def answer(
        self,
        role: Role,
        state: PlainList,
        requests: Sequence[Request],
        rng: Randomness,
        executor: Executor | None,
    ) -> Answer:
        self._fail_in("answer")
        return super().answer(role, state, requests, rng, executor)


ECHO = Echo()
SHARES = Shares()
CARRIED = Carried()
LARGE = Large()
VOUCHERS = Vouchers()
BRIGHT = Bright()
FAILING = Failing("receive")

ALL: tuple[AnyDesign, ...] = (ECHO, SHARES, LARGE, VOUCHERS)
"""Those that work."""
