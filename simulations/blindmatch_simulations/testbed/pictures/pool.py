"""Generated pictures, and a list that stands to them in every relation a check needs.

    listed        the very hash is on the list
    near-30, -31  an entry is that many bits away (the picture's least reliable bits)
    far-32, -33   the same, just outside the distance of near matching
    other         nothing on the list is near
    twin          same hash and quality as the picture before it, other pixels
    poor          quality below 50; one of them has its hash on the list

Their sides are drawn (`small_shape`), and so is their order. Each comes from a file, as on a device.

Documents, screenshots, drawings and clip art: each number determines a picture, from PCG64's raw stream,
which NumPy promises not to change. They have the layout of their kind and nothing of its variety.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from io import BytesIO
from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import Item, Relation
from blindmatch_protocol.picture.decode import Picture
from blindmatch_protocol.picture.pdq import rows
from msgspec import Struct
from PIL import Image, ImageDraw, ImageFont

SIDE: Final = 96
"""Pixels; the least side of a picture."""
LONGEST: Final = 512
"""The longest side of a small picture."""
COARSE: Final = 12
DISTANCES: Final = {"near-30": 30, "near-31": 31, "far-32": 32, "far-33": 33}
OCTAVES: Final = 6
"""Sizes of detail, the coarsest a third of a picture's side, the finest a pixel."""
FILLERS: Final = 40
"""Entries that no picture is near to."""


class Pooled(Redacted, Struct, frozen=True):
    """A picture of the pool: its name, which says what it is to the list, and its kind, the name's front."""

    SHOWN: ClassVar = ("name", "kind")

    name: str
    kind: str
    item: Picture


class Pool(Redacted, Struct, frozen=True):
    """Pictures, and the list they belong to.

    Attributes:
        entries: the list, uint8 (n, 32), in a fixed order.
        others: a list of as many entries that no picture is near to.
    """

    pictures: tuple[Pooled, ...]
    entries: Rows
    others: Rows

    def of(self, *kinds: str) -> list[Pooled]:
        return [one for one in self.pictures if one.kind in kinds]

    def without(self, *kinds: str) -> Pool:
        """The same list, with fewer pictures."""
        kept = tuple(one for one in self.pictures if one.kind not in kinds)
        return Pool(kept, self.entries, self.others)

    def matches(self, relation: Relation, one: Pooled) -> bool:
        return relation.matches(one.item, self.entries)


def make_pool(seed: int) -> Pool:
    """Return a pool of its own lists; its pictures, which nothing changes, are those of earlier calls."""
    made = _pool(seed)
    return Pool(made.pictures, made.entries.copy(), made.others.copy())


@lru_cache(maxsize=2)
def _pool(seed: int) -> Pool:
    numbers = iter(range(1000 * seed, 1000 * seed + 1000))
    pictures: list[Pooled] = []
    for kind, count in (("listed", 3), ("near-30", 2), ("near-31", 2), ("far-32", 2), ("far-33", 1)):
        pictures += [Pooled(f"{kind}/{i}", kind, small_picture(next(numbers))) for i in range(count)]
    pictures += [Pooled(f"other/{i}", "other", small_picture(next(numbers))) for i in range(4)]
    twins = [one for one in pictures if one.kind in ("listed", "other")]
    pictures += [Pooled(f"twin/{one.name}", f"twin-{one.kind}", _twin(one.item)) for one in twins]
    pictures += [Pooled(f"poor/{i}", "poor", _poor(i)) for i in range(2)]
    hashes = [one.item.hash for one in pictures if one.kind == "listed" or one.name == "poor/0"]
    hashes += [flipped(one.item, DISTANCES[one.kind]) for one in pictures if one.kind in DISTANCES]
    entries = np.concatenate([random_hashes(FILLERS, seed), rows(hashes)])
    order = np.argsort(np.asarray(np.random.PCG64(seed).random_raw(len(entries))), kind="stable")
    pictures = in_drawn_order(pictures, seed)
    return Pool(tuple(pictures), entries[order], random_hashes(len(entries), seed + (1 << 20)))


def in_drawn_order(pictures: Sequence[Pooled], seed: int) -> list[Pooled]:
    """The pictures in an order that the seed decides; those of one kind keep theirs."""
    raw = np.asarray(np.random.PCG64(seed + (1 << 21)).random_raw(len(pictures)))
    kinds = [pictures[at].kind for at in np.argsort(raw, kind="stable")]
    by_kind = {kind: iter([one for one in pictures if one.kind == kind]) for kind in kinds}
    return [next(by_kind[kind]) for kind in kinds]


def random_hashes(count: int, seed: int) -> Rows:
    """`count` hashes of 128 ones each, uint8 (count, 32), from PCG64's raw stream."""
    raw = np.asarray(np.random.PCG64(seed).random_raw(count * 256)).reshape(count, 256)
    bits = np.zeros((count, 256), np.uint8)
    np.put_along_axis(bits, np.argsort(raw, axis=1)[:, :128], 1, axis=1)
    return np.packbits(bits, axis=1)


def flipped(item: Item, count: int) -> bytes:
    """The hash with the `count` bits flipped whose coefficients lie nearest to the median."""
    bits = np.unpackbits(np.frombuffer(item.hash, np.uint8))
    weakest = np.argsort(np.abs(item.coefficients), kind="stable")[:count]
    bits[weakest] ^= 1
    return np.packbits(bits).tobytes()


def color_field(number: int, shape: tuple[int, int], cells: int = COARSE) -> npt.NDArray[np.uint8]:
    """Pixels (h, w, 3) of `cells` times `cells` colours, with smooth changes between them."""
    raw = np.asarray(np.random.PCG64(number).random_raw(cells * cells * 3)) % np.uint64(256)
    field_ = Image.fromarray(raw.astype(np.uint8).reshape(cells, cells, 3))
    return np.asarray(field_.resize(shape[::-1], Image.Resampling.BICUBIC))


def picture(number: int, shape: tuple[int, int] = (SIDE, SIDE)) -> Picture:
    """The picture that `number` determines, of this height and width."""
    return from_file(color_field(number, shape))


def small_shape(number: int) -> tuple[int, int]:
    """Height and width that `number` determines: each the least of three draws from `SIDE` to `LONGEST`, so
    that small ones are more frequent, as they are cheaper to hash."""
    raw = np.asarray(np.random.PCG64(number + (1 << 40)).random_raw(6)) % np.uint64(LONGEST - SIDE + 1)
    height, width = raw.reshape(2, 3).min(axis=1)
    return SIDE + int(height), SIDE + int(width)


def small_picture(number: int) -> Picture:
    """The picture that `number` determines, of a drawn height and width."""
    return picture(number, small_shape(number))


def from_file(pixels: npt.NDArray[np.uint8]) -> Picture:
    """A picture of these pixels that comes from a file, as a device's does."""
    file = BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=0)
    return Picture.from_bytes(file.getvalue())


def detailed(number: int) -> Picture:
    """One with detail of every size (`detailed_field`)."""
    return from_file(detailed_field(number, (SIDE, SIDE)))


def detailed_field(number: int, shape: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Pixels (h, w, 3) with detail of every size, as photographs have it: as much contrast in each octave
    (Field 1987, "Relations between the statistics of natural images and the response properties of cortical
    cells")."""
    octaves = [color_field(OCTAVES * number + at, shape, 3 << at) for at in range(OCTAVES)]
    mixed = 128 + sum(one.astype(np.float32) - 128 for one in octaves) / np.sqrt(OCTAVES)
    return np.asarray(np.clip(mixed, 0, 255), np.uint8)


def faint(number: int, contrast: float) -> Picture:
    """The picture that `number` determines, with less contrast around middle grey."""
    field = color_field(number, small_shape(number)).astype(np.float32)
    return from_file((128 + (field - 128) * np.float32(contrast)).astype(np.uint8))


def _twin(item: Picture) -> Picture:
    """Another picture of the same hash and quality: one level in one corner is changed."""
    for row, column in ((0, 0), (0, -1), (-1, 0), (-1, -1)):
        pixels = item.pixels.copy()
        pixels[row, column, 0] ^= 1
        twin = from_file(pixels)
        if (twin.hash, twin.quality) == (item.hash, item.quality):
            return twin
    return item


def _poor(index: int) -> Picture:
    """A faint ramp: its hash means nothing."""
    height, width = small_shape(index)
    ramp = np.linspace(100 + index, 110 + 2 * index, width).astype(np.uint8)
    return from_file(np.repeat(np.tile(ramp, (height, 1))[:, :, None], 3, axis=2))


_LETTERS: Final = "eeeetaoinshrdlucmwfgypbvk"
_LINE: Final = 11
"""Height in pixels of the bitmap font that comes with Pillow; a letter is 6 wide."""


class _Dice:
    """Numbers that one number determines."""

    def __init__(self, number: int) -> None:
        self._source = np.random.PCG64(number)

    def roll(self, least: int, most: int) -> int:
        return least + int(self._source.random_raw()) % (most - least + 1)

    def colour(self, least: int = 0, most: int = 255) -> tuple[int, int, int]:
        return self.roll(least, most), self.roll(least, most), self.roll(least, most)

    def words(self, most: int) -> str:
        """Made-up words of at most so many letters together."""
        made = ""
        while True:
            word = "".join(_LETTERS[self.roll(0, len(_LETTERS) - 1)] for _ in range(self.roll(2, 9)))
            if len(made) + len(word) + 1 > most:
                return made
            made = f"{made} {word}".strip()

    def point(self, width: int, height: int) -> tuple[int, int]:
        return self.roll(0, width), self.roll(0, height)


def document(number: int) -> Image.Image:
    """A page, 400 x 560: a heading, paragraphs, on some a table or a dark box."""
    dice = _Dice(number)
    page = Image.new("RGB", (400, 560), "white")
    draw = ImageDraw.Draw(page)
    top = 30
    heading = _text(dice.words(22), "white", "black", 2)
    page.paste(heading, (30 + dice.roll(0, 1) * (340 - heading.width) // 2, top))
    top += 40
    while top < 520:
        lines = dice.roll(2, 9)
        indent = dice.roll(0, 1) * 12
        if dice.roll(0, 5) == 0:
            draw.rectangle((30, top, 370, min(520, top + lines * 14)), fill=dice.colour(40, 220))
        for at in range(lines):
            text = dice.words(dice.roll(8, 56) if at == lines - 1 else 56)
            draw.text((30 + (indent if at == 0 else 0), top + at * 14), text, "black", _font())
        if dice.roll(0, 4) == 0:
            for column in range(30, 371, 340 // dice.roll(2, 5)):
                draw.line((column, top, column, top + lines * 14), fill="black")
        top += lines * 14 + dice.roll(8, 24)
    return page


def screenshot(number: int) -> Image.Image:
    """A phone's screen, 270 x 480: a bar above, a chat or a list, a bar below."""
    dice = _Dice(number)
    dark = dice.roll(0, 1)
    ground, ink = (dice.colour(0, 40), "white") if dark else (dice.colour(225, 255), "black")
    screen = Image.new("RGB", (270, 480), ground)
    draw = ImageDraw.Draw(screen)
    draw.rectangle((0, 0, 270, 54), fill=dice.colour(20, 200))
    draw.text((6, 4), f"{dice.roll(0, 23):02d}:{dice.roll(0, 59):02d}", "white", _font())
    screen.paste(_text(dice.words(14), "#303030", "white", 2), (40, 24))
    top = 64
    chat = dice.roll(0, 1)
    while top < 420:
        top += (_bubble if chat else _entry)(draw, dice, top, ink)
    draw.rectangle((0, 436, 270, 480), fill=dice.colour(20, 200) if dice.roll(0, 1) else ground)
    return screen


def drawing(number: int) -> Image.Image:
    """Lines by hand on paper, 400 x 300: curves, outlines, hatching."""
    dice = _Dice(number)
    paper = Image.new("RGB", (400, 300), (250, 248, 242))
    draw = ImageDraw.Draw(paper)
    for _ in range(dice.roll(3, 9)):
        ends = [np.array(dice.point(400, 300)) for _ in range(4)]
        draw.line(_bezier(ends), fill=dice.colour(0, 90), width=dice.roll(1, 5))
    for _ in range(dice.roll(1, 5)):
        x, y = dice.point(330, 230)
        size = dice.roll(20, 110)
        draw.ellipse(
            (x, y, x + size, y + dice.roll(20, 110)), outline=dice.colour(0, 90), width=dice.roll(1, 4)
        )
    for _ in range(dice.roll(0, 3)):
        x, y = dice.point(320, 220)
        for at in range(0, dice.roll(20, 80), 5):
            draw.line((x + at, y, x + at - 20, y + 60), fill=dice.colour(30, 120))
    return paper


def clip_art(number: int) -> Image.Image:
    """Flat shapes with outlines on white, 256 x 256; on some the left half is mirrored."""
    dice = _Dice(number)
    made = Image.new("RGB", (256, 256), "white")
    draw = ImageDraw.Draw(made)
    for _ in range(dice.roll(3, 8)):
        x, y = dice.point(180, 180)
        width = dice.roll(30, 150)
        height = dice.roll(30, 150)
        box = (x, y, x + width, y + height)
        fill = dice.colour()
        shape = dice.roll(0, 2)
        if shape == 0:
            draw.ellipse(box, fill=fill, outline="black", width=3)
        elif shape == 1:
            draw.rounded_rectangle(box, dice.roll(0, 15), fill=fill, outline="black", width=3)
        else:
            draw.polygon([dice.point(255, 255) for _ in range(dice.roll(3, 6))], fill=fill, outline="black")
    if dice.roll(0, 1):
        half = made.crop((0, 0, 128, 256))
        made.paste(half.transpose(Image.Transpose.FLIP_LEFT_RIGHT), (128, 0))
    return made


GENERATED: Final[Mapping[str, Callable[[int], Image.Image]]] = {
    "documents": document,
    "screenshots": screenshot,
    "drawings": drawing,
    "clip art": clip_art,
}
"""By kind."""


def _font() -> ImageFont.ImageFont:
    return ImageFont.load_default_imagefont()


def _text(words: str, ground: str, ink: str, scale: int) -> Image.Image:
    made = Image.new("RGB", (6 * max(1, len(words)), _LINE), ground)
    ImageDraw.Draw(made).text((0, 0), words, ink, _font())
    return made.resize((made.width * scale, made.height * scale))


def _bubble(draw: ImageDraw.ImageDraw, dice: _Dice, top: int, ink: str) -> int:
    lines = [dice.words(30) for _ in range(dice.roll(1, 4))]
    own = dice.roll(0, 1)
    width = 6 * max(map(len, lines)) + 16
    height = 12 * len(lines) + 12
    left = 262 - width if own else 8
    draw.rounded_rectangle((left, top, left + width, top + height), 8, fill=dice.colour(70, 190))
    for at, line in enumerate(lines):
        draw.text((left + 8, top + 5 + 12 * at), line, ink, _font())
    return height + dice.roll(6, 14)


def _entry(draw: ImageDraw.ImageDraw, dice: _Dice, top: int, ink: str) -> int:
    draw.ellipse((10, top, 42, top + 32), fill=dice.colour())
    draw.text((54, top + 2), dice.words(24), ink, _font())
    draw.text((54, top + 18), dice.words(34), "grey", _font())
    draw.line((54, top + 40, 262, top + 40), fill="grey")
    return 48


def _bezier(ends: list[np.ndarray[tuple[int, ...], np.dtype[np.int64]]]) -> list[tuple[float, float]]:
    at = np.linspace(0, 1, 25)[:, None]
    weights = ((1 - at) ** 3, 3 * at * (1 - at) ** 2, 3 * at**2 * (1 - at), at**3)
    points = sum(weight * end for weight, end in zip(weights, ends, strict=True))
    return [(float(x), float(y)) for x, y in np.asarray(points)]


class HashOnly(Redacted, Struct, frozen=True):
    """An `Item` of whoever has a hash, perhaps with its coefficients, and no picture."""

    hash: bytes
    quality: int = 100
    known: npt.NDArray[np.float32] | None = None

    @property
    def coefficients(self) -> npt.NDArray[np.float32]:
        """Those that are known; else each equally far from the median, on the side that its bit says."""
        if self.known is not None:
            return self.known
        bits = np.unpackbits(np.frombuffer(self.hash, np.uint8))
        return (bits.astype(np.float32) * 2 - 1) * 100

    @property
    def luminance(self) -> npt.NDArray[np.float32]:
        raise AttributeError("there is no picture behind this hash")

    @property
    def pixels(self) -> npt.NDArray[np.uint8]:
        raise AttributeError("there is no picture behind this hash")
