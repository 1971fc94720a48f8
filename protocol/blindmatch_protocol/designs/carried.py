"""carried: any design without enrolments, whose bodies the provider carries, sealed; docs/designs/carried.md.

    device                             provider (counts accounts)      role (private key)
      HPKE(design, role, epoch; body) ----> the same bytes -----------> opens, answers as the design does
      <------ response nonce, AEAD(HKDF(secret, nonce); reply) <--------  (RFC 9458, section 4.4)

A role learns that somebody asked. Whatever is wrong with a reply, the picture is asked about again when the
device sends next, sealed anew, and nobody is distrusted: who stops asking would be seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Annotated, Any, ClassVar, Final

from msgspec import Struct
from msgspec.structs import replace

from blindmatch_protocol import contract as bm
from blindmatch_protocol.codec import decode_any, most_bytes
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract.design import told
from blindmatch_protocol.crypto import hpke
from blindmatch_protocol.designs.facts import ACCOUNT, QUERY_TIME
from blindmatch_protocol.designs.third_party import KIND_SEALING, SOMEBODY
from blindmatch_protocol.sets.plain_list import keys_in, open_file, write_sections

PREFIX: Final = "carried-"
SEAL_FILE: Final = f"{PREFIX}seal.bin"
REQUEST_TAG: Final = b"blindmatch/carried/request/v1"
REPLY_TAG: Final = b"blindmatch/carried/reply/v1"
MOST_SEALED: Final = 1 << 28
CARRIER: Final = bm.Party.PROVIDER
SLOT: Final = bm.Parameter(
    "carrier_slot_ms",
    "Time slot whose requests the carrier sends on together; 0 for at once.",
    "ms",
    0,
    0,
    10_000,
)
WHOSE: Final = bm.Fact(
    "account", "whose each request is", bm.Severity.LINKS, shows=ACCOUNT,
    abuse="tells whose each request is", noticed_by="nobody",
)  # fmt: skip
MATCH_TIME: Final = bm.Fact(
    "match_time", "of a reported picture, when it was asked about, and so which request that was",
    bm.Severity.LINKS,
)  # fmt: skip


class SealedRequest(bm.Message, tag=0x2C, name="carried/request"):
    """A design's body, sealed to a role."""

    sealed: Annotated[bytes, bm.Variable(MOST_SEALED, least=hpke.OVERHEAD + 1)]
    """Encapsulated key 32, ciphertext, tag 16."""


class SealedReply(bm.Message, tag=0x2D, name="carried/reply"):
    """A design's reply, sealed under a key of its own."""

    sealed: Annotated[bytes, bm.Variable(MOST_SEALED, least=hpke.ANSWER_OVERHEAD + 1)]
    """Response nonce 16, ciphertext, tag 16."""


class Setup(Redacted, Struct, frozen=True, eq=False):
    """A design's set-up, the public key, 32 bytes, of each role, and the carrier's time slot."""

    inner: Any
    epoch: int
    keys: Mapping[bm.Role, bytes]
    slot_ms: int


class State(Redacted, Struct, frozen=True, eq=False):
    """A design's state of a role, and the private and public key, 32 bytes, that bodies are sealed to."""

    inner: Any
    epoch: int
    key: bytes
    public: bytes


class Waiting(Redacted, Struct, frozen=True, eq=False):
    """A design's session, and the secret that each role's reply is sealed under."""

    inner: Any
    secrets: Mapping[bm.Role, bytes]


def _inner(name: str) -> Any:
    """A method that calls the inner design's with its own part of each set-up and state."""

    def method(self: Carried, *given: Any) -> Any:
        return getattr(self.inner, name)(
            *(one.inner if isinstance(one, Setup | State) else one for one in given)
        )

    return method


class Carried(bm.Design[Setup, Any, Any, State]):
    """`inner` with sealed bodies; made by `carried`."""

    inner: ClassVar[bm.AnyDesign]
    extraction, unconfirmed, is_signed = map(_inner, ("extraction", "unconfirmed", "is_signed"))
    parts = _inner("parts")
    worked_out, period, expires = map(_inner, ("worked_out", "period", "expires"))
    carrier_limits, enrol, prepare, conclude = map(_inner, ("carrier_limits", "enrol", "prepare", "conclude"))

    def inside(self) -> bm.AnyDesign | None:
        return _made(Inside, self.inner, self.info.name, {}, type(self).__module__)

    def reduced(self) -> bm.AnyDesign | None:
        """The carried form of the design's, if it has one."""
        small = self.inner.reduced()
        return None if small is None else carried(small, type(self).__module__)

    def leakage(self) -> tuple[bm.Leak, ...]:
        """The design's own, of somebody instead of an account; whose it is where the carrier is in the
        coalition, which has the set-up, and asks as a device does."""
        holders = frozenset(self.inner.info.roles.values())
        asked = {leak.parties - {CARRIER} for leak in self.inner.leakage() if leak.parties & holders}
        return tuple(leak for how in bm.Adversary for leak in self._leaks(asked, how))

    def _leaks(self, asked: set[frozenset[bm.Party]], how: bm.Adversary) -> Iterator[bm.Leak]:
        devices, carrier, centre = (frozenset({one}) for one in (bm.Party.DEVICE, CARRIER, bm.Party.CENTRE))
        named = {leak.parties for leak in self.inner.leakage() if leak.adversary is how}
        own = self._carrier_learns(how)
        yield bm.Leak(carrier, how, own)
        for parties in sorted(named - asked - {carrier} - {one | carrier for one in asked}, key=sorted):
            yield bm.Leak(parties, how, self._told(parties, how))
        for parties in sorted(asked, key=sorted):
            alone = tuple(SOMEBODY if f.name == SOMEBODY.name else f for f in self._told(parties, how))
            yield bm.Leak(parties, how, alone)
            yield bm.Leak(parties | carrier, how, _united(self._told(parties | carrier, how), own, (WHOSE,)))
            if bm.Learner.DEVICE in self.info.learns and not parties & (centre | devices):
                yield bm.Leak(parties | centre, how, _united(alone, self._told(centre, how), (MATCH_TIME,)))

    def _carrier_learns(self, how: bm.Adversary) -> tuple[bm.Fact, ...]:
        """What the carrier learns from the set-up and, if it cheats, by asking as a device does."""
        device = frozenset({bm.Party.DEVICE})
        facts = self._told(device, how)
        if how is bm.Adversary.SEMI_HONEST and self.inner.list_knowledge(device) <= bm.ListKnowledge.SIZE:
            facts = tuple(fact for fact in facts if fact.severity is bm.Severity.SIZES)
        unseen = (replace(fact, noticed_by="nobody") if fact.noticed_by else fact for fact in facts)
        return _united((QUERY_TIME,), tuple(unseen))

    def _told(self, parties: frozenset[bm.Party], how: bm.Adversary) -> tuple[bm.Fact, ...]:
        return tuple(map(_lifted, told(self.inner, parties, how)))

    def list_knowledge(self, parties: frozenset[bm.Party]) -> bm.ListKnowledge:
        """The carrier serves the set-up."""
        more = {bm.Party.DEVICE} if CARRIER in parties else frozenset[bm.Party]()
        return self.inner.list_knowledge(parties | more)

    def publish(
        self,
        entries: bm.EntrySource,
        parameters: bm.SetParameters,
        rng: bm.Randomness,
        executor: bm.Executor | None,
        out: bm.Workspace,
        progress: bm.Progress = bm.no_progress,
    ) -> bm.Published:
        """Takes 32 bytes of `rng` a role for its key, then what the design takes."""
        keys = self._write_keys(parameters, rng, out)
        return _joined(self.inner.publish(entries, parameters, rng, executor, out, progress), keys)

    def update(
        self,
        previous: bm.Buffers,
        adds: bm.EntrySource,
        removes: Sequence[int],
        out: bm.Workspace,
        rng: bm.Randomness,
        executor: bm.Executor | None = None,
        progress: bm.Progress = bm.no_progress,
    ) -> bm.Published:
        """Bodies are sealed to new keys, drawn as in `publish`."""
        before = self.open_setup(previous)
        parameters = bm.SetParameters(before.epoch + 1, self.stated(before).parameters)
        keys = self._write_keys(parameters, rng, out)
        return _joined(
            self.inner.update(_inside(previous), adds, removes, out, rng, executor, progress), keys
        )

    def _write_keys(
        self, parameters: bm.SetParameters, rng: bm.Randomness, out: bm.Workspace
    ) -> dict[bm.Role, str]:
        """The file of each role's private key; their public keys are in `SEAL_FILE`, by the roles' names."""
        private = {role: rng.take(hpke.KEY_BYTES) for role in sorted(self.info.roles)}
        public = b"".join(map(hpke.public_key, private.values()))
        for name, key in ((SEAL_FILE, public), *((_key_file(role), key) for role, key in private.items())):
            write_sections(name, self.info, parameters, 0, out, {KIND_SEALING: key})
        return {role: _key_file(role) for role in private}

    def open_setup(self, files: bm.Buffers, epoch: int | None = None) -> Setup:
        inner = self.inner.open_setup(_inside(files), epoch)
        file = open_file(self.info, files, SEAL_FILE, None)
        of = file.identity
        keys = keys_in(file, KIND_SEALING, len(self.info.roles))
        if of.epoch != self.inner.epoch_of(inner):
            raise bm.SetFileError(f"{SEAL_FILE}: of epoch {of.epoch}, and the set of another")
        slot = of.parameters.get(SLOT.name, -1)
        if not SLOT.least <= slot <= SLOT.most:
            raise bm.SetFileError(
                f"{SEAL_FILE}: parameter {SLOT.name} must be there, and at most {SLOT.most}"
            )
        return Setup(inner, of.epoch, dict(zip(sorted(self.info.roles), keys, strict=True)), slot)

    def check_setup(self, setup: Setup, progress: bm.Progress = bm.no_progress) -> None:
        self.inner.check_setup(setup.inner, progress)
        for key in setup.keys.values():
            try:
                hpke.seal(key, b"", b"", b"\1" * 32)
            except ValueError:
                raise bm.SetFileError(f"{SEAL_FILE}: nothing can be sealed to a key in it") from None

    def stated(self, setup: Setup) -> bm.Stated:
        stated = self.inner.stated(setup.inner)
        return replace(stated, parameters={**stated.parameters, SLOT.name: setup.slot_ms})

    def carrier_slot(self, setup: Setup) -> float:
        return setup.slot_ms / 1000

    def with_executor(self, setup: Setup, executor: bm.Executor) -> Setup:
        return replace(setup, inner=self.inner.with_executor(setup.inner, executor))

    def open_role(self, role: bm.Role, files: bm.Buffers) -> State:
        """Raises `SetFileError`, too, if the key is limited for each account and nobody would count them."""
        if role not in self.info.roles:
            raise bm.DesignError(f"design {self.info.name} has no role {role}")
        inner = self.inner.open_role(role, _inside(files))
        file = open_file(self.info, files, _key_file(role), None)
        of = file.identity
        (key,) = keys_in(file, KIND_SEALING, 1)
        public = hpke.public_key(key)
        if SEAL_FILE in files:
            setup = self.open_setup(files)
            if (setup.epoch, setup.keys[role]) != (of.epoch, public):
                raise bm.SetFileError(f"{_key_file(role)}: not the key of {SEAL_FILE}")
            limits = self.inner.key_limits(role, inner)
            carriers = self.carrier_limits(role, setup)
            if limits and limits.limits_accounts and not (carriers and carriers.limits_accounts):
                raise bm.SetFileError(f"{self.inner.info.name}: accounts are limited, and not at a carrier")
        return State(inner, of.epoch, key, public)

    def open_opener(self, files: bm.Buffers) -> bm.Opener:
        return self.inner.open_opener(_inside(files))

    def key_limits(self, role: bm.Role, state: State) -> bm.KeyLimits | None:
        """The design's, but for those of an account: whose a body is, the role's host does not know."""
        limits = self.inner.key_limits(role, state.inner)
        return None if limits is None else replace(limits, per_account=None, periods=())

    def start(
        self, state: Any, setup: Setup, item: bm.Item, binding: bm.Binding, rng: bm.Randomness
    ) -> bm.Started[Any, Waiting]:
        """Takes what the design takes, and 32 bytes of `rng` a body."""
        begun = self.inner.start(state, setup.inner, item, binding, rng)
        return bm.Started(begun.state, self._sealed(setup, begun.step, rng))

    def receive(
        self, session: Waiting, setup: Setup, replies: Mapping[bm.Role, bm.Message], rng: bm.Randomness
    ) -> bm.Step[Waiting]:
        opened = {role: self._opened(role, session.secrets[role], reply) for role, reply in replies.items()}
        return self._sealed(setup, self.inner.receive(session.inner, setup.inner, opened, rng), rng)

    def answer(
        self,
        role: bm.Role,
        state: State,
        requests: Sequence[bm.Request],
        rng: bm.Randomness,
        executor: bm.Executor | None,
    ) -> bm.Answer:
        """Takes 16 bytes of `rng` a body for response nonces, then what the design takes for those that
        open. A body may come twice; no two replies have one key."""
        nonces = [rng.take(hpke.ANSWER_NONCE_BYTES) for _ in requests]
        opened: list[Any] = [bm.tried(self._open, role, state, one.body) for one in requests]
        good = [at for at, one in enumerate(opened) if not isinstance(one, bm.ProtocolError)]
        asked = [bm.Request(opened[at][0]) for at in good]
        answer = self.inner.answer(role, state.inner, asked, rng, executor)
        replies = list[bm.Message | bm.ProtocolError](opened)
        verdicts = list[bm.Verdict | None]([None]) * len(opened)
        for place, at in enumerate(good):
            reply = answer.replies[place]
            if isinstance(reply, bm.Message):
                reply = SealedReply(hpke.seal_answer(opened[at][1], nonces[at], reply.encode()))
            replies[at] = reply
            verdicts[at] = answer.verdicts[place] if answer.verdicts else None
        return bm.Answer(replies, verdicts if answer.verdicts else ())

    def unsealed(self, role: bm.Role, state: State, body: bm.Message) -> bm.Message:
        return self._open(role, state, body)[0]

    def _info(self, role: bm.Role, epoch: int) -> bytes:
        return b"%s/%s/%d/%s/%d" % (
            REQUEST_TAG, self.info.name.encode(), self.info.version, role.encode(), epoch
        )  # fmt: skip

    def _sealed(self, setup: Setup, step: bm.Step[Any], rng: bm.Randomness) -> bm.Step[Waiting]:
        if not isinstance(step, bm.Send):
            return step
        bodies = dict[bm.Role, bm.Message]()
        secrets = dict[bm.Role, bytes]()
        for role in sorted(step.bodies):
            info = self._info(role, setup.epoch)
            ephemeral = rng.take(hpke.KEY_BYTES)
            body = step.bodies[role].encode()
            key = setup.keys[role]
            sealed, secrets[role] = hpke.seal_answered(key, info, body, ephemeral, REPLY_TAG)
            bodies[role] = SealedRequest(sealed)
        return bm.Send(Waiting(step.session, secrets), bodies)

    def _open(self, role: bm.Role, state: State, body: bm.Message) -> tuple[bm.Message, bytes]:
        """A body, and the secret of replies to it; `ProtocolError` if it was not sealed to the role."""
        kinds = self.inner.requests[role]
        opened = None
        if isinstance(body, SealedRequest) and len(body.sealed) <= most_bytes(*kinds) + hpke.OVERHEAD:
            info = self._info(role, state.epoch)
            opened = hpke.open_answered(state.key, state.public, info, body.sealed, REPLY_TAG)
        if opened is None:
            rule = f"must be sealed to {role} for epoch {state.epoch}"
            raise bm.ProtocolError(SealedRequest.NAME, rule, "sealed")
        return decode_any(kinds, opened[0], SealedRequest.NAME), opened[1]

    def _opened(self, role: bm.Role, secret: bytes, reply: bm.Message) -> bm.Message:
        plain = hpke.open_answer(secret, reply.sealed) if isinstance(reply, SealedReply) else None
        if plain is None:
            raise bm.UnopenedError(
                f"{SealedReply.NAME} of {role}", "must be sealed for this request", "sealed"
            )
        return decode_any(self.inner.replies[role], plain, f"{SealedReply.NAME} of {role}")


class Inside(Carried):
    """The carried design without seals: what the roles read and answer."""

    def inside(self) -> None:
        return None

    def reduced(self) -> None:
        """None: sizes are chosen before seals are taken off."""

    def leakage(self) -> tuple[bm.Leak, ...]:
        """What coalitions without the carrier learn: it sees nothing of this."""
        return tuple(leak for leak in super().leakage() if CARRIER not in leak.parties)

    def unsealed(self, role: bm.Role, state: State, body: bm.Message) -> bm.Message:
        return body

    start, receive, answer, simulate = map(_inner, ("start", "receive", "answer", "simulate"))


@cache
def carried(inner: bm.AnyDesign, module: str = __name__) -> Carried:
    """The design whose bodies the provider carries, and which is `inner` otherwise, of a module that imports
    what it follows from; `DesignError` if it cannot be; the text says why."""
    info = inner.info
    reasons = {
        "devices ask nobody": not info.roles,
        "accounts enrol at its roles, each body is computed with one account's keys, and so shows whose it "
        "is": bool(inner.enrolments),
        "its bodies are forwarded already": bool(info.forwarded),
        "the provider plays a role, and would carry to itself": CARRIER in info.roles.values(),
        "a server sees pictures, whose reports name the account": info.sends_content is not bm.Content.NO,
    }
    for why, holds in reasons.items():
        if holds:
            raise bm.DesignError(f"{info.name} cannot be carried: {why}")
    carriers = dict.fromkeys(info.roles, CARRIER)
    return _made(Carried, inner, PREFIX + info.name, carriers, module)


def _made(
    kind: type[Carried], inner: bm.AnyDesign, name: str, forwarded: Mapping[bm.Role, bm.Party], module: str
) -> Carried:
    info = inner.info
    roles = inner.info.roles
    summary = f"{info.summary} The provider carries what is asked, sealed."
    space = {
        "info": replace(
            info,
            name=name,
            summary=summary,
            forwarded=forwarded,
            distrusts=False,
            parameters=(*info.parameters, SLOT),
        ),
        "requests": dict.fromkeys(roles, (SealedRequest,)) if forwarded else inner.requests,
        "replies": dict.fromkeys(roles, (SealedReply,)) if forwarded else inner.replies,
        "vouchers": inner.vouchers,
        "device_state": inner.device_state,
        "__module__": module,
        "inner": inner,
    }
    made: Carried = type(kind.__name__, (kind,), space)()
    return made


def _lifted(fact: bm.Fact) -> bm.Fact:
    """The fact, read from a set-up that has the inner design's inside."""
    project = fact.project
    return replace(fact, project=lambda item, setup: project(item, setup.inner))


def _united(*facts: Sequence[bm.Fact]) -> tuple[bm.Fact, ...]:
    return tuple({fact.name: fact for some in reversed(facts) for fact in reversed(some)}.values())[::-1]


def _inside(files: bm.Buffers) -> bm.Buffers:
    return {name: data for name, data in files.items() if not name.startswith(PREFIX)}


def _key_file(role: bm.Role) -> str:
    return f"{PREFIX}role-{role}.bin"


def _joined(made: bm.Published, keys: Mapping[bm.Role, str]) -> bm.Published:
    roles = {role: (*made.roles[role], name) for role, name in keys.items()}
    return bm.Published((*made.setup, SEAL_FILE), roles, made.opener)
