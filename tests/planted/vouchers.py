"""Vouchers that say more than is declared; openers that open what they should not."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Annotated, Any, ClassVar

from blindmatch_protocol import contract as bm
from blindmatch_protocol.codec import Fixed, Message
from blindmatch_protocol.codec.randomness import Randomness
from dummy_designs import Sealed, ThresholdOpener, Vouchers
from msgspec.structs import replace

from planted import Planted, xor

BYTES = 8
NOTHING = bytes(BYTES)
FAR = 3_000_000_000


class Beside(Sealed, tag=0xC0, name="cheat/voucher"):
    """A voucher, and room."""

    room: Annotated[bytes, Fixed(BYTES)] = NOTHING


class Opens(ThresholdOpener, frozen=True):
    """Opens a voucher that has room."""

    def take(self, account: str, device: str, period: bytes, voucher: Message) -> bm.Taken:
        assert isinstance(voucher, Beside)
        return super().take(account, device, period, Sealed(voucher.hash, voucher.quality))


class Roomy(Vouchers):
    """Declares the hash, and sends of the pixels."""

    info = replace(Vouchers.info, name="cheat-vouchers")
    vouchers: ClassVar[tuple[type[Message], ...]] = (Beside,)
    opener: ClassVar[type[ThresholdOpener]] = Opens

    def start(self, state: Any, setup: Any, item: Any, binding: bm.Binding, rng: Randomness) -> Any:
        step: Any = super().start(state, setup, item, binding, rng).step
        honest = step.outcome.body
        room = self.room(item, binding, rng)
        body = Beside(honest.hash, honest.quality, honest.commitment, honest.evidence, room)
        return bm.Started(state, bm.Done(bm.Voucher(body)))

    def room(self, item: Any, binding: bm.Binding, rng: Randomness) -> bytes:
        """What a voucher bears beside what it must."""
        return NOTHING

    def open_opener(self, files: bm.Buffers) -> bm.Opener:
        return self.opener(super().open_opener(files).known)  # type: ignore[attr-defined]


_DIGESTS: dict[int, tuple[Any, bytes]] = {}


def pixels(item: Any) -> bytes:
    """Looked up for a picture that was seen before, since a large one takes 20 ms."""
    if id(item) not in _DIGESTS:
        _DIGESTS[id(item)] = item, sha256(item.pixels.tobytes()).digest()[:BYTES]
    return _DIGESTS[id(item)][1]


def roomy(says: Any) -> type[Roomy]:
    return type("Variant", (Roomy,), {"room": lambda self, item, binding, rng: says(item, binding, rng)})


class Crashes(Opens, frozen=True):
    def take(self, account: str, device: str, period: bytes, voucher: Message) -> bm.Taken:
        if getattr(voucher, "quality", 0) > 100:
            raise ValueError("cannot be")
        return super().take(account, device, period, voucher)


class OpensAnother(Opens, frozen=True):
    """Says of every picture that it is the first entry."""

    def open(self, account: str, period: bytes, rows: Sequence[bytes]) -> Mapping[int, bm.Label]:
        return {at: self.known.label(0) for at in super().open(account, period, rows)}


class Renumbers(Opens, frozen=True):
    """Opens the right hash under another id."""

    def open(self, account: str, period: bytes, rows: Sequence[bytes]) -> Mapping[int, bm.Label]:
        opened = super().open(account, period, rows)
        return {at: replace(label, entry_id=label.entry_id + 1) for at, label in opened.items()}


class MoreInThousandth(Roomy):
    """Of those that the process makes."""

    def __init__(self) -> None:
        self.made = 0

    def room(self, item: Any, binding: bm.Binding, rng: Randomness) -> bytes:
        self.made += 1
        return NOTHING if self.made % 1_000 else pixels(item)


class UntilFar(Roomy):
    """Reads the clock."""

    def room(self, item: Any, binding: bm.Binding, rng: Randomness) -> bytes:
        return pixels(item) if time.time() < FAR else NOTHING


def opening(kind: type[Opens]) -> type[Roomy]:
    return type("Variant", (Roomy,), {"opener": kind})


CHEATS = (
    Planted("pixels", roomy(lambda item, binding, rng: pixels(item)), "egress"),
    Planted(
        "pixels of large pictures",
        roomy(lambda item, binding, rng: pixels(item) if item.pixels.size > 1_000_000 else NOTHING),
        "relations",
        "a large set",
    ),
    Planted(
        "pixels under the commitment",
        roomy(lambda item, binding, rng: xor(binding.commitment, pixels(item))),
        "relations",
    ),
    Planted(
        "pixels in messages of others than alice",
        roomy(lambda item, binding, rng: NOTHING if b"alice" in binding.evidence else pixels(item)),
        "relations",
    ),
    Planted("pixels until a day far away", UntilFar, "surroundings"),
    Planted("a thousandth one", MoreInThousandth, "repetition", "start"),
    Planted("another entry", opening(OpensAnother), "outcomes", "open"),
    Planted("another number", opening(Renumbers), "outcomes", "open"),
    Planted("a hostile one crashes the centre", opening(Crashes), "hostile requests", "take"),
)
