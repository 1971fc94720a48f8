"""PDQ of a picture, from its description; needs numpy and Pillow, and nothing of ours.

    python examples/pdq.py PICTURE

"The TMK+PDQF Video-Hashing Algorithm and the PDQ Image-Hashing Algorithm" (Facebook, 2019), in float64, so
that a coefficient beside the median may fall on its other side than in the reference, which adds in float32.
"""

import io
import sys
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

ADAM7 = (0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)


def check_png(data):
    """Refuse a PNG that is cut off, or whose rows are fewer than its header says: Pillow fills it up."""
    at = 8
    chunks = [(b"", b"")]
    while chunks[-1][0] != b"IEND":
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        if end > len(data):
            raise ValueError("it is cut off")
        chunks.append((data[at + 4 : at + 8], data[at + 8 : end - 4]))
        at = end
    head = dict(reversed(chunks))[b"IHDR"]
    width, height = np.frombuffer(head[:8], ">u4").tolist()
    bits = head[8] * {2: 3, 4: 2, 6: 4}.get(head[9], 1)
    passes = ADAM7 if head[12] else ((0, 0, 1, 1),)
    sizes = [(-((x - width) // dx), -((y - height) // dy)) for x, y, dx, dy in passes]
    full = sum(count * (1 + (across * bits + 7) // 8) for across, count in sizes if across)
    rows = zlib.decompressobj().decompress(b"".join(body for kind, body in chunks if kind == b"IDAT"), full)
    if len(rows) < full:
        raise ValueError("its rows do not fill it")


def flattened(data):
    """Pixels of the first frame as Exif turns it, transparency on white; of 16 bits the upper eight."""
    try:
        image = Image.open(io.BytesIO(data), formats=("JPEG", "PNG", "WEBP", "GIF"))
        image.format == "PNG" and check_png(data)
        image.load()
        for name in ("xmp", "XML:com.adobe.xmp", "Raw profile type exif"):  # Exif's own block turns, alone
            image.info.pop(name, None)
        image = ImageOps.exif_transpose(image)
    except Exception as error:  # Pillow answers broken files with many kinds
        raise ValueError(f"not a whole JPEG, PNG, WebP or GIF file: {error}") from None
    if image.mode.startswith("I"):
        deep = np.asarray(image).astype(np.uint16)
        hidden = image.info.get("transparency")
        image = Image.fromarray((deep >> 8).astype(np.uint8)).convert("RGBA")
        image.putalpha(Image.fromarray(np.where(deep == hidden, 0, 255).astype(np.uint8)))
    image = image.convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    return np.asarray(Image.alpha_composite(white, image).convert("RGB"))


def pdq(data):
    """The hash of a picture's file, 32 bytes; raises ValueError for what is not hashed."""
    plane = flattened(data) @ (0.299, 0.587, 0.114)
    if min(plane.shape) < 5:
        return bytes(32)
    for axis in (1, 0, 1, 0):
        count = plane.shape[axis]
        last = np.arange(count) + (window := -(-count // 128)) // 2 + 1
        first = np.maximum(last - window, 0)
        last = np.minimum(last, count)
        sums = np.insert(np.cumsum(np.moveaxis(plane, axis, 0), 0), 0, 0, 0)
        plane = np.moveaxis((sums[last] - sums[first]) / (last - first)[:, None], 0, axis)
    rows, columns = (((np.arange(64) + 0.5) * side / 64).astype(int) for side in plane.shape)
    dct = np.cos(np.pi / 128 * np.arange(1, 17)[:, None] * (2 * np.arange(64) + 1))
    matrix = (dct @ plane[rows][:, columns] @ dct.T).ravel()[::-1]
    return np.packbits(matrix > np.sort(matrix)[127]).tobytes()


if __name__ == "__main__":
    print(pdq(Path(sys.argv[1]).read_bytes()).hex())
