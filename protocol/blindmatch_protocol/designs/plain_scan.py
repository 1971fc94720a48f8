"""The base of designs in which whoever compares hashes has the list in the clear.

    curator   epoch.bin --> every device; list.bin --> every role
    role      `judged`: what it makes of one body, from its list: the reply, and what it learnt

A design adds its declaration, its messages and `start`; one that asks nobody has no role, and adds no more.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, TypeVar

from msgspec import Struct

from blindmatch_protocol import contract as bm
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.setfile import SetFile
from blindmatch_protocol.sets import plain_list

S = TypeVar("S")
F = TypeVar("F", bound="FileSetup")
D = TypeVar("D", bound=bm.Message)
X = TypeVar("X")
R = TypeVar("R")


class AsksNobody(bm.Design[S, D, X, R]):
    """A design without roles, as long as no class of its own has any."""

    requests: ClassVar[Mapping[bm.Role, tuple[type[bm.Message], ...]]] = {}
    replies: ClassVar[Mapping[bm.Role, tuple[type[bm.Message], ...]]] = {}

    def open_role(self, role: bm.Role, files: bm.Buffers) -> R:
        raise bm.DesignError(f"design {self.info.name} asks nobody")

    def receive(self, session: X, setup: S, *replies: Any) -> bm.Step[X]:
        raise bm.DesignError(f"design {self.info.name} asks nobody")

    def answer(self, role: bm.Role, state: R, *requests: Any) -> bm.Answer:
        raise bm.DesignError(f"design {self.info.name} asks nobody")


class Stateless(AsksNobody[S, bm.NoState, X, R]):
    """A design whose accounts keep no state, and whose roles judge one body after the other."""

    def enrol(self, rng: bm.Randomness) -> bm.NoState:
        return bm.NoState()

    def judged(self, state: R, body: bm.Message) -> tuple[bm.Message, bm.Verdict | None]:
        """The reply to a body, and what a role that learns the outcome learnt; its sender gets the
        `ProtocolError` that is raised instead."""
        raise bm.DesignError(f"design {self.info.name} asks nobody")

    def answer(
        self,
        role: bm.Role,
        state: R,
        requests: Sequence[bm.Request],
        rng: bm.Randomness,
        executor: bm.Executor | None,
    ) -> bm.Answer:
        spread = executor.map if executor else map
        tried = spread(lambda one: bm.tried(self.judged, state, one.body), requests)
        judged = [(one, None) if isinstance(one, bm.ProtocolError) else one for one in tried]
        learns = bm.Learner.SERVER in self.info.learns
        return bm.Answer([reply for reply, _ in judged], [told for _, told in judged] if learns else ())


class FileSetup(Redacted, Struct, frozen=True):
    """A set-up that lies in one file."""

    file: SetFile

    @property
    def epoch(self) -> int:
        return self.file.identity.epoch

    @property
    def entries(self) -> int:
        return self.file.entries


class Own(Redacted, Struct, frozen=True):
    """A session that asks nobody: the picture's hash, or None if it means nothing."""

    hash: bytes | None


class OnDevice(Stateless[F, Own, None]):
    """A design whose devices have what they look hashes up in; the matcher hands it out."""

    shows: ClassVar[bm.ListKnowledge]
    """What that shows of the list."""

    def list_knowledge(self, parties: frozenset[bm.Party]) -> bm.ListKnowledge:
        holders = dict.fromkeys((bm.Party.DEVICE, bm.Party.MATCHER), self.shows)
        return bm.ListKnowledge.joined(parties, holders)

    def stated(self, setup: F) -> bm.Stated:
        return bm.Stated(entries=setup.entries)

    def start(
        self, state: bm.NoState, setup: F, item: bm.Item, binding: bm.Binding, rng: bm.Randomness
    ) -> bm.Started[bm.NoState, Own]:
        good = item.quality >= self.info.relation.minimum_quality
        return bm.Started(state, bm.Ready(Own(item.hash if good else None)))

    def conclude(self, session: Own, setup: F) -> bm.Outcome:
        label = None if session.hash is None else self.looked_up(setup, session.hash)
        return bm.NoMatch() if label is None else bm.Match(label)

    @abstractmethod
    def looked_up(self, setup: F, own: bytes) -> bm.Label | None:
        """The label of the entry that a hash of 32 bytes matches, if there is one."""


class PlainScan(Stateless[int, X, plain_list.PlainList]):
    """A design whose roles have the list, and whose devices have the epoch's number alone."""

    def list_knowledge(self, parties: frozenset[bm.Party]) -> bm.ListKnowledge:
        known = dict.fromkeys(self.info.roles.values(), bm.ListKnowledge.HASHES)
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
        plain_list.write_epoch(self.info, parameters, 0, out)
        if self.info.roles:
            plain_list.write_list(self.info, entries, parameters, out, progress)
        progress(len(entries), len(entries))
        return bm.Published((plain_list.EPOCH_FILE,), dict.fromkeys(self.info.roles, (plain_list.LIST_FILE,)))

    def open_setup(self, files: bm.Buffers, epoch: int | None = None) -> int:
        return plain_list.open_epoch(self.info, files, epoch)

    def epoch_of(self, setup: int) -> int:
        return setup

    def open_role(self, role: bm.Role, files: bm.Buffers) -> plain_list.PlainList:
        return plain_list.open_list(self.info, files)
