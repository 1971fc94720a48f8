"""Option 0a: the provider sees the pictures and detects by itself.

    device                                    provider (list in the clear)
      the picture's pixels  ---------------->
                                              hashes it, finds the nearest entry within 31 bits,
                            <----------------   received      (the same whatever was found)
                                              reports to the centre by itself

It is the state of affairs without end-to-end encryption, and the yardstick of what detection can reach.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Annotated, Any, ClassVar, Final

import numpy as np

from blindmatch_protocol.codec import Message, UInt, Variable, message
from blindmatch_protocol.contract import (
    Adversary,
    Answer,
    Binding,
    Buffers,
    Design,
    Done,
    EntrySource,
    Fact,
    Info,
    Item,
    Leak,
    Learner,
    Near,
    NoState,
    Party,
    Progress,
    Published,
    Request,
    Role,
    Send,
    SetParameters,
    Started,
    Step,
    Undisclosed,
    Verdict,
    Workspace,
    no_progress,
)
from blindmatch_protocol.errors import ProtocolError
from blindmatch_protocol.executor import Executor
from blindmatch_protocol.picture.item import Picture
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

PROVIDER: Final = Role("provider")
MATCH_DISTANCE: Final = 31
MOST_PIXEL_BYTES: Final = 3 * 50_000_000


def _content(item: Item, setup: object) -> bytes:
    height, width = item.pixels.shape[:2]
    return sha256(height.to_bytes(4, "big") + width.to_bytes(4, "big") + item.pixels.tobytes()).digest()


CONTENT: Final = Fact("content", "every picture itself", _content)
QUERY_TIME: Final = Fact("query_time", "that, and when, an account sent a picture", lambda item, _: True)


@message
class Scan(Message):
    """A picture in the clear: RGB, row by row."""

    TAG: ClassVar[int] = 0x38
    NAME: ClassVar[str] = "provider-scan/request"

    height: Annotated[int, UInt(32)]
    width: Annotated[int, UInt(32)]
    pixels: Annotated[bytes, Variable(MOST_PIXEL_BYTES)]

    def check(self) -> None:
        """The pixels are height x width x 3 bytes, and at least one."""
        if not self.pixels or len(self.pixels) != self.height * self.width * 3:
            raise ProtocolError(self.NAME, "must be height x width x 3 bytes, and not empty", "pixels")


@message
class Received(Message):
    """The provider has the picture; it says nothing of what it found."""

    TAG: ClassVar[int] = 0x39
    NAME: ClassVar[str] = "provider-scan/reply"


class ProviderScan(Design[int, NoState, None, PlainList]):
    """The provider sees every picture, learns the outcome and reports it; the device learns nothing."""

    info = Info(
        name="provider-scan",
        version=1,
        option="0a",
        summary="No end-to-end encryption for pictures: the provider sees, hashes, matches and reports them.",
        relation=Near(MATCH_DISTANCE),
        learns=frozenset({Learner.SERVER}),
        roles={PROVIDER: Party.PROVIDER},
        differs=(
            "the message itself still travels encrypted in this simulation; the provider gets the decoded "
            "picture beside it, in the clear, so its bytes are counted twice"
        ),
        sends_content=True,
        large_bodies=True,
    )
    requests: ClassVar[Mapping[Role, tuple[type[Message], ...]]] = {PROVIDER: (Scan,)}
    replies: ClassVar[Mapping[Role, tuple[type[Message], ...]]] = {PROVIDER: (Received,)}

    def leakage(self) -> tuple[Leak, ...]:
        facts = (CONTENT, QUERY_TIME)
        return tuple(Leak(frozenset({Party.PROVIDER}), adversary, facts) for adversary in Adversary)

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
        write_list(self.info, entries, parameters, out, progress)
        return Published(setup=(EPOCH_FILE,), roles={PROVIDER: (LIST_FILE,)})

    def open_setup(self, files: Buffers, epoch: int | None = None) -> int:
        return open_epoch(self.info, files, epoch)

    def epoch_of(self, setup: int) -> int:
        return setup

    def open_role(self, role: Role, files: Buffers) -> PlainList:
        return open_list(self.info, files)

    def enrol(self, rng: Randomness) -> NoState:
        return NoState()

    def start(
        self, state: NoState, setup: int, item: Item, binding: Binding, rng: Randomness
    ) -> Started[NoState, None]:
        height, width = item.pixels.shape[:2]
        return Started(state, Send(None, {PROVIDER: Scan(height, width, item.pixels.tobytes())}))

    def receive(
        self, session: None, setup: int, replies: Mapping[Role, Message], rng: Randomness
    ) -> Step[None]:
        return Done(Undisclosed())

    def answer(
        self,
        role: Role,
        state: PlainList,
        requests: Sequence[Request],
        rng: Randomness,
        executor: Executor | None,
    ) -> Answer:
        scans = [request.body for request in requests if isinstance(request.body, Scan)]
        judge = executor.map if executor else map
        return Answer([Received() for _ in scans], list(judge(lambda scan: self._judge(state, scan), scans)))

    def _judge(self, state: PlainList, scan: Scan) -> Verdict:
        pixels = np.frombuffer(scan.pixels, np.uint8).reshape(scan.height, scan.width, 3)
        picture = Picture.from_pixels(pixels)
        if picture.quality < self.info.relation.minimum_quality:
            return Verdict(None)
        (label,) = state.match(np.frombuffer(picture.hash, np.uint8).reshape(1, 32), MATCH_DISTANCE)
        return Verdict(label, (scan.height, scan.width, scan.pixels) if label else None)

    def simulate(
        self, role: Role, facts: Mapping[str, Any], output: object, rng: Randomness
    ) -> tuple[Message, ...] | None:
        return None


DESIGN: Final = ProviderScan()
