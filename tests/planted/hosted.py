"""Cheats that behave on threads, as hosts have them, or in full size."""

from __future__ import annotations

from typing import Any, ClassVar

from blindmatch_protocol import contract as bm
from blindmatch_protocol.codec.randomness import Randomness
from msgspec.structs import replace

from planted import Planted
from planted.mutations.hooks import About, PaddedPsi, Upload, variant

BYTES = 8
NOTHING = bytes(BYTES)
LARGE = 1_000_000


class OnThreads:
    """A set-up that knows it has threads."""

    def __init__(self, setup: Any) -> None:
        self.setup = setup
        self.threads = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self.setup, name)


class Threaded(PaddedPsi):
    """Tells of pictures where the set-up has threads."""

    def with_executor(self, setup: Any, executor: Any) -> Any:
        return OnThreads(setup)

    def padding(self, about: About, rng: Randomness) -> bytes:
        return self.told(about) if getattr(about.setup, "threads", False) else NOTHING

    def told(self, about: About) -> bytes:
        return about.item.hash[:BYTES]


class AnswersOnThreads(Upload):
    """Takes a picture that is on no list for one that is, where it is asked about alone, on threads."""

    def answer(self, role: Any, state: Any, requests: Any, rng: Randomness, executor: Any) -> bm.Answer:
        answer = super().answer(role, state, requests, rng, executor)
        if executor is None or len(requests) > 1:
            return answer
        return bm.Answer(answer.replies, [bm.Verdict(None) for _ in answer.verdicts])


class PublishesOnThreads(Upload):
    """Leaves a file more where there are threads."""

    def publish(self, entries: Any, parameters: Any, rng: Any, executor: Any, out: Any, *more: Any) -> Any:
        made = super().publish(entries, parameters, rng, executor, out, *more)
        if executor is not None:
            out.create("more").write(b"more")
        return made


class Honest(PaddedPsi):
    def reduced(self) -> None:
        return None

    def padding(self, about: About, rng: Randomness) -> bytes:
        return NOTHING


class LeaksWhole(PaddedPsi):
    """Says that another class is the same in other sizes."""

    def padding(self, about: About, rng: Randomness) -> bytes:
        return about.item.hash[:BYTES]

    def start(self, *given: Any) -> Any:
        return super().start(*given)

    def reduced(self) -> Any:
        return Honest()


class BySize(PaddedPsi):
    """The same steps, which look at the size."""

    size: ClassVar[int] = 4_096

    def padding(self, about: About, rng: Randomness) -> bytes:
        return about.item.hash[8 : 8 + BYTES] if self.size > 512 else NOTHING

    def reduced(self) -> Any:
        return Small()


class Small(BySize):
    info = replace(BySize.info, name="cheat-small")
    size: ClassVar[int] = 512

    def reduced(self) -> None:
        return None


CHEATS = (
    Planted("on threads", Threaded, "executor", "start"),
    Planted(
        "on threads, of large pictures",
        variant(
            Threaded, told=lambda _, a: a.item.hash[:BYTES] if a.item.pixels.size > 1_000_000 else NOTHING
        ),
        "executor",
        "start",
    ),
    Planted("answers on threads", AnswersOnThreads, "executor", "answer"),
    Planted("publishes on threads", PublishesOnThreads, "executor", "publish"),
    Planted("another class in small", LeaksWhole, "egress"),
    Planted("in full size", BySize, "full size", "egress"),
)
