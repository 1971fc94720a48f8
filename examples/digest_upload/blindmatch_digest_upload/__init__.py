"""digest-upload: the device uploads a salted digest of its hash, the matcher looks it up.

    device(hash, salt)                                     matcher(salt, list)
        d = SHA-256(tag, salt, hash); random if the quality is below 50
                           ---- Ask: epoch, d ---->
                                                           the entry with this digest
                           <--- Told: label -------
        the label is of another hash: refused

The salt is public, so the matcher can test any guess; towards it the digest hides nothing but the hashes of
pictures that it cannot guess. It is an example of a package, and of an honest declaration.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Annotated, Any, ClassVar, Final

from blindmatch_protocol.codec import Fixed, Flag, Message, Nested, UInt, message
from blindmatch_protocol.contract import (
    Adversary,
    Answer,
    Binding,
    Buffers,
    Design,
    Done,
    EntrySource,
    Equal,
    Fact,
    Info,
    Item,
    Label,
    Leak,
    Learner,
    Match,
    NoMatch,
    NoState,
    Outcome,
    Party,
    Progress,
    Published,
    Request,
    Role,
    Send,
    SetParameters,
    Started,
    Step,
    Verdict,
    Workspace,
    no_progress,
)
from blindmatch_protocol.errors import EpochMismatchError, ProtocolError, SetFileError
from blindmatch_protocol.executor import Executor
from blindmatch_protocol.plain_list import LIST_FILE, open_list, write_list
from blindmatch_protocol.randomness import Randomness
from blindmatch_protocol.setfile import Identity, SetFile, SetFileWriter

MATCHER: Final = Role("matcher")
SALT_FILE: Final = "salt.bin"
SALT_KIND: Final = 0x180
TAG: Final = b"digest-upload/v1"
NOTHING: Final = Label(bytes(32), 0, bytes(16))


@message
class Ask(Message):
    """A digest."""

    TAG: ClassVar[int] = 0x90
    NAME: ClassVar[str] = "digest-upload/request"
    epoch: Annotated[int, UInt(64)]
    digest: Annotated[bytes, Fixed(32)]


@message
class Told(Message):
    """The entry that has the digest, or zeros."""

    TAG: ClassVar[int] = 0x91
    NAME: ClassVar[str] = "digest-upload/reply"
    epoch: Annotated[int, UInt(64)]
    found: Annotated[bool, Flag()]
    label: Annotated[Label, Nested(Label)]

    def check(self) -> None:
        """A reply without an entry bears no label."""
        if not self.found and self.label != NOTHING:
            raise ProtocolError(self.NAME, "must be all zeros without an entry", "label")


@dataclass(frozen=True, slots=True)
class Setup:
    """The epoch and its salt, the same for every device."""

    epoch: int
    salt: bytes

    def digest(self, own: bytes) -> bytes:
        """What stands for a hash."""
        return sha256(TAG + self.salt + own).digest()


@dataclass(frozen=True, slots=True)
class MatcherState:
    """The epoch, and labels by digest."""

    epoch: int
    labels: Mapping[bytes, Label] = field(repr=False)


def digest_of(item: Item, setup: Setup) -> Hashable:
    """The fact: a picture's digest; of poor pictures, that they are indistinguishable from one another."""
    return setup.digest(item.hash) if item.quality >= 50 else None


FACTS: Final = (
    Fact("example.epoch", "the epoch of the device's set-up", lambda item, setup: setup.epoch),
    Fact("example.query_time", "that, and when, an account sent a picture", lambda item, setup: True),
    Fact("example.digest", "a digest of each picture's hash that the matcher can test guesses on", digest_of),
)


class DigestUpload(Design[Setup, NoState, "bytes | None", MatcherState]):
    """The design."""

    info: ClassVar[Info] = Info(
        name="digest-upload",
        version=1,
        option="1b",
        differs="the hash is salted and digested, with a salt that everybody has",
        summary="The device uploads a salted digest of its hash; the matcher looks it up.",
        relation=Equal(),
        learns=frozenset({Learner.DEVICE, Learner.SERVER}),
        roles={MATCHER: Party.MATCHER},
    )
    requests: ClassVar[Mapping[Role, tuple[type[Message], ...]]] = {MATCHER: (Ask,)}
    replies: ClassVar[Mapping[Role, tuple[type[Message], ...]]] = {MATCHER: (Told,)}

    def leakage(self) -> tuple[Leak, ...]:
        """See `Design.leakage`."""
        return tuple(Leak(frozenset({Party.MATCHER}), adversary, FACTS) for adversary in Adversary)

    def publish(
        self,
        entries: EntrySource,
        parameters: SetParameters,
        rng: Randomness,
        executor: Executor | None,
        out: Workspace,
        progress: Progress = no_progress,
    ) -> Published:
        """See `Design.publish`. Takes 16 bytes of `rng`, for the salt."""
        identity = Identity(self.info.name, self.info.version, parameters.epoch, {})
        writer = SetFileWriter(out.create(SALT_FILE), identity)
        writer.section(SALT_KIND, [rng.take(16)], 1)
        writer.finish(len(entries))
        write_list(self.info, entries, parameters, out, progress)
        return Published(setup=(SALT_FILE,), roles={MATCHER: (LIST_FILE,)})

    def open_setup(self, files: Buffers, epoch: int | None = None) -> Setup:
        """See `Design.open_setup`."""
        if SALT_FILE not in files:
            raise SetFileError(f"{SALT_FILE}: missing")
        file = SetFile(files[SALT_FILE], SALT_FILE, self.info.name, self.info.version, epoch)
        return Setup(file.identity.epoch, bytes(file.section(SALT_KIND)))

    def epoch_of(self, setup: Setup) -> int:
        """See `Design.epoch_of`."""
        return setup.epoch

    def open_role(self, role: Role, files: Buffers) -> MatcherState:
        """See `Design.open_role`."""
        setup, known = self.open_setup(files), open_list(self.info, files)
        labels = [known.label(row) for row in range(len(known.hashes))]
        return MatcherState(setup.epoch, {setup.digest(label.entry_hash): label for label in labels})

    def enrol(self, rng: Randomness) -> NoState:
        """An account keeps no state."""
        return NoState()

    def start(
        self, state: NoState, setup: Setup, item: Item, binding: Binding, rng: Randomness
    ) -> Started[NoState, bytes | None]:
        """See `Design.start`. Takes 32 bytes of `rng`, whatever the item is."""
        cover = rng.take(32)
        own = item.hash if item.quality >= self.info.relation.minimum_quality else None
        body = Ask(setup.epoch, cover if own is None else setup.digest(own))
        return Started(state, Send(own, {MATCHER: body}))

    def receive(
        self, session: bytes | None, setup: Setup, replies: Mapping[Role, Message], rng: Randomness
    ) -> Step[bytes | None]:
        """See `Design.receive`."""
        reply = replies[MATCHER]
        assert isinstance(reply, Told)
        check_epoch(reply.epoch, setup.epoch, Told.NAME)
        if not reply.found:
            return Done(NoMatch())
        if reply.label.entry_hash != session:
            raise ProtocolError(Told.NAME, "must be of the hash that was asked for", "label")
        return Done(Match(reply.label))

    def answer(
        self,
        role: Role,
        state: MatcherState,
        requests: Sequence[Request],
        rng: Randomness,
        executor: Executor | None,
    ) -> Answer:
        """See `Design.answer`."""
        replies: list[Message | ProtocolError] = []
        verdicts: list[Verdict | None] = []
        for request in requests:
            try:
                label = find(state, request.body)
            except ProtocolError as error:
                replies.append(error)
                verdicts.append(None)
                continue
            replies.append(Told(state.epoch, label is not None, label or NOTHING))
            verdicts.append(Verdict(label))
        return Answer(replies, verdicts)

    def simulate(
        self, role: Role, facts: Mapping[str, Any], output: Outcome | None, rng: Randomness
    ) -> tuple[Message, ...]:
        """The matcher's view: the declared digest, or a random one for a poor picture."""
        return (Ask(facts["example.epoch"], facts["example.digest"] or rng.take(32)),)


def find(state: MatcherState, body: Message) -> Label | None:
    """The entry a request asks for.

    Raises:
        EpochMismatchError: if it is of another epoch.
    """
    assert isinstance(body, Ask)
    check_epoch(body.epoch, state.epoch, Ask.NAME)
    return state.labels.get(body.digest)


def check_epoch(theirs: int, mine: int, step: str) -> None:
    """Refuse what was made for another epoch."""
    if theirs != mine:
        raise EpochMismatchError(step, f"epoch {mine} is in force here, not {theirs}", "epoch")


DESIGN: Final = DigestUpload()
