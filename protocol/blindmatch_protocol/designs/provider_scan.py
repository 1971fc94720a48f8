"""Option 0a: no end-to-end encryption; the provider reads messages and detects by itself.

The bodies below never travel by themselves: the provider makes them of the pictures in the messages it is
handed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Final

import numpy as np

from blindmatch_protocol import contract as bm
from blindmatch_protocol.designs.facts import CONTENT, QUERY_TIME, leaks
from blindmatch_protocol.designs.plain_scan import PlainScan
from blindmatch_protocol.picture.decode import Picture
from blindmatch_protocol.picture.pdq import MATCH_DISTANCE
from blindmatch_protocol.sets.plain_list import PlainList

PROVIDER: Final = bm.Role("provider")
MOST_PIXEL_BYTES: Final = 3 * 50_000_000


class Scan(bm.Message, tag=0x38, name="provider-scan/request"):
    """A picture of a message."""

    height: Annotated[int, bm.UInt(32)]
    width: Annotated[int, bm.UInt(32)]
    pixels: Annotated[bytes, bm.Variable(MOST_PIXEL_BYTES)]
    """RGB, row by row: height x width x 3, at least one pixel."""

    def check(self) -> None:
        """The pixels are height x width x 3 bytes, and at least one."""
        if not self.pixels or len(self.pixels) != self.height * self.width * 3:
            raise bm.ProtocolError(self.NAME, "must be height x width x 3 bytes, and not empty", "pixels")


class Received(bm.Message, tag=0x39, name="provider-scan/reply"):
    """The provider has the picture: the same whatever was found."""


class ProviderScan(PlainScan[None]):
    """The provider sees every picture, learns the outcome and reports it; the device learns nothing."""

    info = bm.Info(
        name="provider-scan",
        version=2,
        option="0a",
        summary="No end-to-end encryption: the provider reads messages, matches pictures and reports them.",
        relation=bm.Near(MATCH_DISTANCE),
        learns=frozenset({bm.Learner.SERVER}),
        roles={PROVIDER: bm.Party.PROVIDER},
        sends_content=bm.Content.CLEAR,
        end_to_end=False,
        large_bodies=True,
    )
    requests: ClassVar[Mapping[bm.Role, tuple[type[bm.Message], ...]]] = {PROVIDER: (Scan,)}
    replies: ClassVar[Mapping[bm.Role, tuple[type[bm.Message], ...]]] = {PROVIDER: (Received,)}

    def leakage(self) -> tuple[bm.Leak, ...]:
        return leaks({bm.Party.PROVIDER}, CONTENT, QUERY_TIME)

    def start(
        self, state: bm.NoState, setup: int, item: bm.Item, binding: bm.Binding, rng: bm.Randomness
    ) -> bm.Started[bm.NoState, None]:
        height, width = item.pixels.shape[:2]
        return bm.Started(state, bm.Send(None, {PROVIDER: Scan(height, width, item.pixels.tobytes())}))

    def receive(
        self, session: None, setup: int, replies: Mapping[bm.Role, bm.Message], rng: bm.Randomness
    ) -> bm.Step[None]:
        return bm.Done(bm.Undisclosed())

    def judged(self, state: PlainList, body: bm.Message) -> tuple[bm.Message, bm.Verdict]:
        assert isinstance(body, Scan)
        picture = Picture.from_pixels(
            np.frombuffer(body.pixels, np.uint8).reshape(body.height, body.width, 3)
        )
        good = picture.quality >= self.info.relation.minimum_quality
        label = state.match(picture.hash, MATCH_DISTANCE) if good else None
        return Received(), bm.Verdict(label, (body.height, body.width, body.pixels) if label else None)


DESIGN: Final = ProviderScan()
