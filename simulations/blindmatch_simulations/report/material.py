"""What the page needs beside results: catalogue, outside figures, plain words, pictures of edits."""

from __future__ import annotations

from base64 import b64encode
from functools import cache
from typing import Any, Final

from blindmatch_protocol.contract import Severity
from msgspec.structs import asdict
from PIL import Image, ImageDraw, ImageFilter

from blindmatch_simulations.data import committed, volumes
from blindmatch_simulations.evaluation.assess.catalogue import FIGURES
from blindmatch_simulations.report.inputs import inputs
from blindmatch_simulations.testbed.pictures.edits import EDITS, encoded, opened

_SIZE: Final = (336, 252)
_SHOWN: Final = (112, 112)


def sources() -> dict[str, Any]:
    """All that is the same for every run."""
    catalogue = committed("options")
    return {
        **committed("plain"),
        "options": catalogue["options"],
        "note": f"{catalogue['source']} {catalogue['note']}",
        "volumes": volumes(),
        "form": committed("statistics_form")["statistics_form"],
        "assumptions": committed("assumptions")["assumptions"],
        "severities": [str(one) for one in Severity],
        "figures": {name: asdict(kind) for name, kind in FIGURES.items()},
        "inputs": [asdict(one) for one in inputs()],
        "edits": edits(),
    }


@cache
def edits() -> dict[str, dict[str, str]]:
    """The standard edits: note, and a generated picture after the edit as a data URI."""
    plain = encoded(_scene())
    return {one.name: {"note": one.note, "picture": _shown(one.apply(plain))} for one in EDITS}


def _shown(data: bytes) -> str:
    image = opened(data)
    image.thumbnail(_SHOWN)
    return f"data:image/jpeg;base64,{b64encode(encoded(image, 'JPEG', quality=60)).decode()}"


def _scene() -> Image.Image:
    """Hills, a house and a sun, so that every edit can be seen."""
    image = Image.linear_gradient("L").resize(_SIZE).convert("RGB")
    image = Image.blend(image, Image.new("RGB", _SIZE, "#7fb2e5"), 0.7)
    draw = ImageDraw.Draw(image)
    draw.ellipse((240, 24, 292, 76), "#ffd75e")
    draw.polygon([(0, 190), (90, 90), (190, 190)], "#6b7f5a")
    draw.polygon([(90, 200), (230, 110), (336, 200)], "#8fa06a")
    draw.rectangle((0, 186, 336, 252), "#4f7a3a")
    draw.rectangle((60, 150, 130, 214), "#c9553d")
    draw.polygon([(50, 152), (95, 112), (140, 152)], "#5a2d22")
    draw.rectangle((84, 178, 104, 214), "#2b1b14")
    return image.filter(ImageFilter.GaussianBlur(0.6))
