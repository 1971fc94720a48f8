"""How a message is bound to its sender's key, beside commitment and stamp; one mode for a deployment.

stamp        nothing more: relay and centre together can make what looks like anybody's message
designated   asymmetric franking (`amf`): recipient and centre alone are convinced, nobody makes one of it
             without the sender's key but for itself
signature    the identity key's signature: whoever sees it is convinced, of every message
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class FrankingMode(StrEnum):
    """What a message bears of its sender."""

    STAMP = "stamp"
    DESIGNATED = "designated"
    SIGNATURE = "signature"


DEFAULT_MODE: Final = FrankingMode.STAMP
"""Decision 14."""
