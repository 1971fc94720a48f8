"""What is kept of a device beside its state, in `device.json`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from blindmatch_client.device import CentreIdentity
from blindmatch_client.errors import DeviceError, StoreError
from blindmatch_client.settings import Consequence, CoverSchedule, FailureMode
from blindmatch_client.store.vault import KeyFile, KeySource, Passphrase
from blindmatch_proofs.endorsement import EndorsementPolicy
from blindmatch_proofs.epoch import EpochPolicy
from blindmatch_proofs.tlog import Policy
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.messages.franking import FrankingMode
from blindmatch_protocol.messages.sealed_message import Franking
from blindmatch_server.storage.files import replace_file
from msgspec import Struct, field

from blindmatch_simulations.testbed.deployment.addresses import (
    DAMAGES,
)
from blindmatch_simulations.testbed.deployment.endorsement_policy import NO_POLICY
from blindmatch_simulations.testbed.deployment.folder import Deployment
from blindmatch_simulations.testbed.deployment.transparency import NO_LOG

STATE: Final = "state"
SETTINGS: Final = "device.json"
UNLOCK_VARIABLE: Final = "BLINDMATCH_PASSPHRASE"


class Options(Struct, frozen=True):
    """What a user may decide when a device is made.

    Attributes:
        key_file: locks the store; None: a file beside it, which protects nothing by itself.
        passphrase: whether the store is locked with a passphrase instead.
        cover: when and how large reports leave; None: at once.
    """

    key_file: Path | None = None
    passphrase: bool = False
    cover: CoverSchedule | None = None
    consequence: Consequence = Consequence.REPORT

    def encoded(self) -> dict[str, Any]:
        """As it stands in the device's settings; what was not decided is left out."""
        held: dict[str, Any] = {}
        if self.key_file is not None:
            held["key_file"] = str(self.key_file.absolute())
        if self.passphrase:
            held["passphrase"] = True
        if self.cover is not None:
            held["cover"] = {"period_s": self.cover.period_s, "size": self.cover.size}
        if self.consequence is not Consequence.REPORT:
            held["consequence"] = str(self.consequence)
        return held

    @classmethod
    def decoded(cls, held: dict[str, Any]) -> Options:
        """What `encoded` made; raises KeyError, TypeError, ValueError or `DeviceError` for anything else."""
        key_file, cover = held.get("key_file"), held.get("cover")
        schedule = None if cover is None else CoverSchedule(int(cover["period_s"]), int(cover["size"]))
        kept = None if key_file is None else Path(key_file)
        consequence = Consequence(held.get("consequence", Consequence.REPORT))
        return cls(kept, bool(held.get("passphrase", False)), schedule, consequence)

    def key(self, passphrase: str | None) -> KeySource | None:
        """What the store is locked with; `StoreError` if it needs a passphrase and none is given."""
        if not self.passphrase:
            return None if self.key_file is None else KeyFile(self.key_file)
        if passphrase is None:
            raise StoreError(f"the device is locked with a passphrase: set {UNLOCK_VARIABLE}")
        return Passphrase(passphrase)


class Settings(Struct, frozen=True):
    """What is kept of a device.

    Attributes:
        curator: the public key that signs its epochs, Ed25519, 32 bytes.
        centre: the public keys that the centre, and nobody else, is known by.
        endorsement: who must have endorsed an entry; None: nobody.
        log: what the log of its epochs must show; None: nothing.
    """

    design: str
    curator: bytes
    centre: CentreIdentity
    mode: FailureMode
    options: Options = field(default_factory=Options)
    endorsement: EndorsementPolicy | None = None
    log: EpochPolicy | None = None
    franking: Franking = field(default_factory=Franking)

    @classmethod
    def read(cls, deployment: Deployment, name: str) -> Settings:
        """Those of the device called `name`; `StoreError` if there is none, or they are damaged."""
        path = deployment.device(name) / SETTINGS
        try:
            return cls._decoded(json.loads(path.read_text()))
        except FileNotFoundError:
            raise StoreError(f"no device {name}; make it with: blindmatch device register {name}") from None
        except (*DAMAGES, DeviceError, ProtocolError) as error:
            raise StoreError(f"{path} is damaged") from error

    def write(self, deployment: Deployment, name: str) -> None:
        """Keep them, in one step, on disk when this returns."""
        centre = {"sealing": self.centre.sealing.hex(), "notices": self.centre.notices.hex()}
        held: dict[str, Any] = {"design": self.design, "curator": self.curator.hex(), "centre": centre}
        held["mode"] = str(self.mode)
        held["endorsement"] = NO_POLICY if self.endorsement is None else self.endorsement.encode().hex()
        held["log"] = NO_LOG if self.log is None else [self.log.policy.text, self.log.most_age_s]
        held["franking"] = {"mode": str(self.franking.mode), "judge": self.franking.judge.hex()}
        held |= self.options.encoded()
        replace_file(deployment.device(name) / SETTINGS, (json.dumps(held) + "\n").encode())

    @classmethod
    def _decoded(cls, held: dict[str, Any]) -> Settings:
        return cls(
            str(held["design"]),
            bytes.fromhex(held["curator"]),
            CentreIdentity(
                bytes.fromhex(held["centre"]["sealing"]), bytes.fromhex(held["centre"]["notices"])
            ),
            FailureMode(held["mode"]),
            Options.decoded(held),
            _policy(str(held.get("endorsement", NO_POLICY))),
            _log(held.get("log", NO_LOG)),
            Franking(FrankingMode(held["franking"]["mode"]), bytes.fromhex(held["franking"]["judge"])),
        )


def _log(held: Any) -> EpochPolicy | None:
    return None if held == NO_LOG else EpochPolicy(Policy.parse(str(held[0])), int(held[1]))


def _policy(held: str) -> EndorsementPolicy | None:
    return None if held == NO_POLICY else EndorsementPolicy.decode(bytes.fromhex(held))
