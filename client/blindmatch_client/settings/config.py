"""What a device is told to be."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from blindmatch_proofs.endorsement import EndorsementPolicy
from blindmatch_proofs.epoch_proof import EpochPolicy
from blindmatch_protocol.account_name import NOTICES
from blindmatch_protocol.contract import AnyDesign
from blindmatch_protocol.messages.cover import SLOT_SIZES
from blindmatch_protocol.messages.sender_proof import Franking
from msgspec import Struct, field

from blindmatch_client.errors import DeviceError
from blindmatch_client.settings.consequence import Consequence, check_consequence
from blindmatch_client.settings.failure import FailureMode
from blindmatch_client.store.vault import KeySource

LEAST_PERIOD_S: Final = 5
ROUND_DEADLINE_S: Final = 30.0


class CoverSchedule(Struct, frozen=True):
    """When slots are, and how large.

    Attributes:
        period_s: seconds from one to the next.
        size: bytes, one of `SLOT_SIZES`. A report larger than that takes several slots.

    Raises:
        DeviceError: if a value is out of range.
    """

    period_s: int
    size: int = SLOT_SIZES[1]

    def __post_init__(self) -> None:
        if self.period_s < LEAST_PERIOD_S or self.size not in SLOT_SIZES:
            sizes = ", ".join(map(str, SLOT_SIZES))
            raise DeviceError(f"a cover schedule has {LEAST_PERIOD_S} seconds or more and a size of {sizes}")


class Unreadable(StrEnum):
    """What is done with an attachment that is no picture this device can decode."""

    REFUSE = "refuse"
    SEND = "send"
    """It is sent unmatched: a way around detection, open to every user, that says nothing to anybody."""


class CentreIdentity(Struct, frozen=True):
    """The centre's public keys, which come with the app: what else claims to be the centre is refused.

    Attributes:
        sealing: what reports are sealed to, X25519, 32 bytes.
        notices: identity key of the account whose messages are the centre's notices, Curve25519, 32 bytes.
        account: the name of that account.
    """

    sealing: bytes
    notices: bytes
    account: str = NOTICES


class DeviceConfig(Struct, frozen=True):
    """What kind of device this is.

    Attributes:
        account: the name in the device's certificate.
        design: the design pictures are matched with.
        curator: the public key that signs its epochs, Ed25519, 32 bytes; it comes with the app.
        mode: what is done with a picture that cannot be matched now.
        consequence: what follows from a match or a flag.
        unreadable: what is done with an attachment that is no picture.
        round_deadline_s: for one role's answer.
        key: what the store is locked with; None: a key file beside it, which protects nothing by itself.
        cover: when and how large reports leave, with cover in between; None: at once, which shows when.
        endorsement: who must have endorsed an entry; None: nobody, so that the curator's word is enough.
        log: what the log of the design's epochs must show; None: nothing, so that the device cannot
            tell whether others are given the same epoch.
        franking: what binds messages to their sender's key, in all of a deployment.
        centre: its keys; None: nothing can be reported, and its notices are like anybody's messages.

    Raises:
        DesignError: if the consequence does not go with the design or the mode.
    """

    account: str
    design: AnyDesign
    curator: bytes
    mode: FailureMode = FailureMode.HOLD
    unreadable: Unreadable = Unreadable.REFUSE
    round_deadline_s: float = ROUND_DEADLINE_S
    key: KeySource | None = None
    cover: CoverSchedule | None = None
    centre: CentreIdentity | None = None
    consequence: Consequence = Consequence.REPORT
    franking: Franking = field(default_factory=Franking)
    endorsement: EndorsementPolicy | None = None
    log: EpochPolicy | None = None

    def __post_init__(self) -> None:
        check_consequence(self.consequence, self.mode is FailureMode.HOLD, self.design.info)
