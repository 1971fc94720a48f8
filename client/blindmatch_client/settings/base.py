"""What every part of a device works with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import AnyDesign
from msgspec import Struct

from blindmatch_client.egress import Egress
from blindmatch_client.settings.config import DeviceConfig
from blindmatch_client.store.store import Store
from blindmatch_client.trace import Trace


class Base(Redacted, Struct, frozen=True):
    """One account on one device.

    Attributes:
        config: what kind of device it is.
        clock_ms: Unix time in milliseconds.
        trace: gets what an audit needs; it holds secrets.
    """

    folder: Path
    config: DeviceConfig
    store: Store
    egress: Egress
    rng: Randomness
    clock_ms: Callable[[], int]
    trace: Callable[[Trace], None]

    @property
    def design(self) -> AnyDesign:
        """The design pictures are matched with."""
        return self.config.design
