"""Score pictures for the stand-in of option 1d: the share of the pixels that a detector calls text.

The detector is PP-OCRv4's (Apache-2.0), an ONNX file from the wheel of rapidocr-onnxruntime 1.4.4, pinned by
its SHA-256. ONNX Runtime runs it on one thread. The file is where the wheel puts it or, after `make
classifier`, below the environment. A picture is scaled to a fixed longer side, so that its size does not
matter.
"""

from __future__ import annotations

import sys
from functools import cache
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
from blindmatch_protocol.codec.errors import NotInstalledError
from blindmatch_protocol.contract import Item
from blindmatch_protocol.designs.device_classifier import NAME, DeviceClassifier

MODEL: Final = "ch_PP-OCRv4_det_infer.onnx"
MODEL_SHA256: Final = "d2a7720d45a54257208b1e13e36a8479894cb74155a5efe29462512d42f49da9"
PACKAGE: Final = "rapidocr_onnxruntime"
KEPT: Final = Path(sys.prefix) / "share" / "blindmatch" / MODEL
HOW: Final = "make classifier, or the extra `classifier` before Python 3.13"
SIDE: Final = 320
"""Pixels of the longer side to which a picture is scaled."""
_STEP: Final = 32
"""Both sides are multiples of it, as the detector asks."""
_TEXT_PROBABILITY: Final = 0.3
"""Least probability of a pixel that counts as text, the detector's own default."""


def find_model() -> Path:
    """Find the model's file.

    Raises:
        NotInstalledError: The file or ONNX Runtime is missing.
    """
    package = find_spec(PACKAGE)
    folders = (package and package.submodule_search_locations) or ()
    places = [KEPT, *(Path(folder) / "models" / MODEL for folder in folders)]
    path = next((place for place in places if place.is_file()), None)
    if path is None or find_spec("onnxruntime") is None:
        raise NotInstalledError(NAME, HOW)
    return path


@cache
def _open_session() -> Any:
    import onnxruntime

    model = find_model().read_bytes()
    if sha256(model).hexdigest() != MODEL_SHA256:
        raise NotInstalledError(NAME, f"{MODEL} is not the file that was chosen: {HOW}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def score(item: Item) -> float:
    """Return the share of a picture's pixels that show text, 0 to 1."""
    from PIL import Image  # a device loads it with its first picture

    image = Image.fromarray(item.pixels)
    scale = SIDE / max(image.size)
    size = [max(_STEP, round(side * scale / _STEP) * _STEP) for side in image.size]
    pixels = np.asarray(image.resize((size[0], size[1]), Image.Resampling.BILINEAR), np.float32)
    session = _open_session()
    batch = (pixels / 127.5 - 1).transpose(2, 0, 1)[None]
    (probabilities,) = session.run(None, {session.get_inputs()[0].name: batch})
    return float((probabilities > _TEXT_PROBABILITY).mean())


DESIGN: Final = DeviceClassifier(score, model_bytes=find_model().stat().st_size)
