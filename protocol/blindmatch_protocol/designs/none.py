"""Option 0b: end-to-end encryption, no detection. The baseline that finds nothing and leaks nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Final

from blindmatch_protocol.codec import Message
from blindmatch_protocol.contract import (
    Answer,
    Binding,
    Buffers,
    Design,
    Done,
    EntrySource,
    Info,
    Item,
    Leak,
    Learner,
    NoState,
    Nothing,
    Progress,
    Published,
    Request,
    Role,
    SetParameters,
    Started,
    Step,
    Undisclosed,
    Workspace,
    no_progress,
)
from blindmatch_protocol.errors import DesignError
from blindmatch_protocol.executor import Executor
from blindmatch_protocol.plain_list import EPOCH_FILE, open_epoch, write_epoch
from blindmatch_protocol.randomness import Randomness


class NoDetection(Design[int, NoState, None, None]):
    """Never asks anybody; every item ends undisclosed."""

    info = Info(
        name="none",
        version=1,
        option="0b",
        summary="End-to-end encryption without detection: nothing is matched.",
        relation=Nothing(),
        learns=frozenset({Learner.NOBODY}),
        roles={},
    )
    requests: ClassVar[Mapping[Role, tuple[type[Message], ...]]] = {}
    replies: ClassVar[Mapping[Role, tuple[type[Message], ...]]] = {}

    def leakage(self) -> tuple[Leak, ...]:
        return ()

    def publish(
        self,
        entries: EntrySource,
        parameters: SetParameters,
        rng: Randomness,
        executor: Executor | None,
        out: Workspace,
        progress: Progress = no_progress,
    ) -> Published:
        write_epoch(self.info, parameters, 0, out)
        progress(len(entries), len(entries))
        return Published(setup=(EPOCH_FILE,), roles={})

    def open_setup(self, files: Buffers, epoch: int | None = None) -> int:
        return open_epoch(self.info, files, epoch)

    def epoch_of(self, setup: int) -> int:
        return setup

    def open_role(self, role: Role, files: Buffers) -> None:
        raise DesignError("design none has no roles")

    def enrol(self, rng: Randomness) -> NoState:
        return NoState()

    def start(
        self, state: NoState, setup: int, item: Item, binding: Binding, rng: Randomness
    ) -> Started[NoState, None]:
        return Started(state, Done(Undisclosed()))

    def receive(
        self, session: None, setup: int, replies: Mapping[Role, Message], rng: Randomness
    ) -> Step[None]:
        raise DesignError("design none sends nothing, so nothing can be answered")

    def answer(
        self, role: Role, state: None, requests: Sequence[Request], rng: Randomness, executor: Executor | None
    ) -> Answer:
        raise DesignError("design none has no roles")


DESIGN: Final = NoDetection()
