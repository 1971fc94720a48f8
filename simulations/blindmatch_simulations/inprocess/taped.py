"""What a tape decides of what a design does: all of it, or its form where native randomness is declared.

A library that draws from its own source (`Info.native_randomness`) gives other bytes each time. What can be
held against a second run then are numbers, texts, lengths and shapes; bytes are held against fresh runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from blindmatch_protocol.codec import Message
from blindmatch_protocol.contract import AnyDesign

from blindmatch_simulations.inprocess.fields import fields_of


def decided(design: AnyDesign, value: Any) -> Any:
    """`value`, or its form if the design declares native randomness. To be compared with another of them."""
    return _form(value) if design.info.native_randomness else value


def _form(value: Any) -> Any:
    match value:
        case bytes() | bytearray() | memoryview():
            return len(value)
        case np.ndarray():
            return value.shape
        case Message():
            return type(value), [(path, _form(part)) for path, part in fields_of(value)]
        case Mapping():
            return {key: _form(part) for key, part in value.items()}
        case list() | tuple():
            return [_form(part) for part in value]
    return value


def limits(design: AnyDesign) -> str:
    """What a verdict says of a design with native randomness; empty for others."""
    native = design.info.native_randomness
    return f"; native randomness ({native}): forms, lengths and outcomes, not bytes" if native else ""
