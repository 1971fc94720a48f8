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

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Annotated, Any, ClassVar, Final

from blindmatch_protocol import contract as bm
from blindmatch_protocol.designs.plain_scan import Stateless
from blindmatch_protocol.sets.plain_list import LIST_FILE, open_file, open_list, write_list, write_sections

MATCHER: Final = bm.Role("matcher")
SALT_FILE: Final = "salt.bin"
SALT_KIND: Final = 0x180
TAG: Final = b"digest-upload/v1"


class Ask(bm.Message):
    """A digest."""

    TAG: ClassVar[int] = 0x90
    NAME: ClassVar[str] = "digest-upload/request"
    epoch: Annotated[int, bm.UInt(64)]
    digest: Annotated[bytes, bm.Fixed(32)]


class Told(bm.Message):
    """The entry that has the digest, or zeros."""

    TAG: ClassVar[int] = 0x91
    NAME: ClassVar[str] = "digest-upload/reply"
    epoch: Annotated[int, bm.UInt(64)]
    found: Annotated[bool, bm.Bool()]
    label: Annotated[bm.Label, bm.Nested(bm.Label)]

    def check(self) -> None:
        """A reply without an entry bears no label."""
        if not self.found and self.label != bm.NO_LABEL:
            raise bm.ProtocolError(self.NAME, "must be all zeros without an entry", "label")


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
    labels: Mapping[bytes, bm.Label] = field(repr=False)


def digest_of(item: bm.Item, setup: Setup) -> Hashable:
    """The fact: a picture's digest; of poor pictures, that they are indistinguishable from one another."""
    return setup.digest(item.hash) if item.quality >= 50 else None


FACTS: Final = (
    bm.Fact(
        "example.epoch",
        "the epoch of the device's set-up",
        bm.Severity.SIZES,
        lambda item, setup: setup.epoch,
    ),
    bm.Fact("example.query_time", "that, and when, an account sent a picture", bm.Severity.TIMES),
    bm.Fact(
        "example.digest", "a digest of each picture's hash to test guesses on", bm.Severity.HASH, digest_of
    ),
)


class DigestUpload(Stateless[Setup, "bytes | None", MatcherState]):
    info: ClassVar[bm.Info] = bm.Info(
        name="digest-upload",
        version=1,
        option="1b",
        differs="the hash is salted and digested, with a salt that everybody has",
        summary="The device uploads a salted digest of its hash; the matcher looks it up.",
        relation=bm.Equal(),
        learns=frozenset({bm.Learner.DEVICE, bm.Learner.SERVER}),
        roles={MATCHER: bm.Party.MATCHER},
    )
    requests: ClassVar[Mapping[bm.Role, tuple[type[bm.Message], ...]]] = {MATCHER: (Ask,)}
    replies: ClassVar[Mapping[bm.Role, tuple[type[bm.Message], ...]]] = {MATCHER: (Told,)}

    def leakage(self) -> tuple[bm.Leak, ...]:
        return tuple(bm.Leak(frozenset({bm.Party.MATCHER}), adversary, FACTS) for adversary in bm.Adversary)

    def list_knowledge(self, parties: frozenset[bm.Party]) -> bm.ListKnowledge:
        known = {bm.Party.DEVICE: bm.ListKnowledge.SIZE, bm.Party.MATCHER: bm.ListKnowledge.HASHES}
        return bm.ListKnowledge.joined(parties, known)

    def publish(
        self,
        entries: bm.EntrySource,
        parameters: bm.SetParameters,
        rng: bm.Randomness,
        executor: bm.Executor | None,
        out: bm.Workspace,
        progress: bm.Progress = bm.no_progress,
    ) -> bm.Published:
        """Takes 16 bytes of `rng`, for the salt."""
        write_sections(SALT_FILE, self.info, parameters, len(entries), out, {SALT_KIND: rng.take(16)})
        write_list(self.info, entries, parameters, out, progress)
        return bm.Published(setup=(SALT_FILE,), roles={MATCHER: (LIST_FILE,)})

    def open_setup(self, files: bm.Buffers, epoch: int | None = None) -> Setup:
        file = open_file(self.info, files, SALT_FILE, epoch)
        return Setup(file.identity.epoch, bytes(file.section(SALT_KIND)))

    def epoch_of(self, setup: Setup) -> int:
        return setup.epoch

    def open_role(self, role: bm.Role, files: bm.Buffers) -> MatcherState:
        setup = self.open_setup(files)
        known = open_list(self.info, files)
        labels = [known.label(row) for row in range(len(known.hashes))]
        return MatcherState(setup.epoch, {setup.digest(label.entry_hash): label for label in labels})

    def start(
        self, state: bm.NoState, setup: Setup, item: bm.Item, binding: bm.Binding, rng: bm.Randomness
    ) -> bm.Started[bm.NoState, bytes | None]:
        """Takes 32 bytes of `rng`, whatever the item is."""
        cover = rng.take(32)
        own = item.hash if item.quality >= self.info.relation.minimum_quality else None
        body = Ask(setup.epoch, cover if own is None else setup.digest(own))
        return bm.Started(state, bm.Send(own, {MATCHER: body}))

    def receive(
        self, session: bytes | None, setup: Setup, replies: Mapping[bm.Role, bm.Message], rng: bm.Randomness
    ) -> bm.Step[bytes | None]:
        reply = replies[MATCHER]
        assert isinstance(reply, Told)
        bm.check_epoch(reply.epoch, setup.epoch, Told.NAME)
        if not reply.found:
            return bm.Done(bm.NoMatch())
        if reply.label.entry_hash != session:
            raise bm.ProtocolError(Told.NAME, "must be of the hash that was asked for", "label")
        return bm.Done(bm.Match(reply.label))

    def judged(self, state: MatcherState, body: bm.Message) -> tuple[bm.Message, bm.Verdict]:
        label = find(state, body)
        return Told(state.epoch, label is not None, label or bm.NO_LABEL), bm.Verdict(label)

    def simulate(
        self, role: bm.Role, facts: Mapping[str, Any], output: bm.Outcome | None, rng: bm.Randomness
    ) -> tuple[bm.Message, ...]:
        """The matcher's view: the declared digest, or a random one for a poor picture."""
        return (Ask(facts["example.epoch"], facts["example.digest"] or rng.take(32)),)


def find(state: MatcherState, body: bm.Message) -> bm.Label | None:
    """The entry a request asks for.

    Raises:
        EpochMismatchError: if it is of another epoch.
    """
    assert isinstance(body, Ask)
    bm.check_epoch(body.epoch, state.epoch, Ask.NAME)
    return state.labels.get(body.digest)


DESIGN: Final = DigestUpload()
