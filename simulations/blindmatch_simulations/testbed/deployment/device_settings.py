"""What is kept of a device beside its state, in `device.json`; and another lock for its store.

settings name both --> one transaction replaces the store's lock --> settings name the new one alone
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Final

from blindmatch_client.device import CentreIdentity
from blindmatch_client.errors import DeviceError, StoreError, WrongKeyError
from blindmatch_client.settings import Consequence, CoverSchedule, FailureMode
from blindmatch_client.store.store import Store
from blindmatch_client.store.store_file import KEY_NAME, lock_kind, sync_folder
from blindmatch_client.store.vault import KeyFile, KeySource, Passphrase
from blindmatch_proofs.endorsement import EndorsementPolicy
from blindmatch_proofs.epoch import EpochPolicy
from blindmatch_proofs.tlog_policy import Policy
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.failpoint import reach
from blindmatch_protocol.messages.franking import FrankingMode
from blindmatch_protocol.messages.sealed_message import Franking
from msgspec import Struct, field
from msgspec.structs import replace

from blindmatch_simulations.testbed.deployment.addresses import (
    DAMAGES,
    AddressError,
    Addresses,
    decoded,
    encoded,
)
from blindmatch_simulations.testbed.deployment.endorsement_policy import NO_POLICY
from blindmatch_simulations.testbed.deployment.folder import Deployment
from blindmatch_simulations.testbed.deployment.transparency import NO_LOG

STATE: Final = "state"
SETTINGS: Final = "device.json"
UNLOCK_VARIABLE: Final = "BLINDMATCH_PASSPHRASE"
KEY_FILE: Final = "key file"
PASSPHRASE: Final = "passphrase"  # noqa: S105 - the name of a kind


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

    @property
    def kind(self) -> str:
        """The `KeySource.kind` of what the store is locked with."""
        return PASSPHRASE if self.passphrase else KEY_FILE

    def key(self, passphrase: str | None) -> KeySource | None:
        """What the store is locked with; `StoreError` if it needs a passphrase and none is given."""
        if not self.passphrase:
            return None if self.key_file is None else KeyFile(self.key_file)
        if passphrase is None:
            raise StoreError(f"the device is locked with a passphrase: set {UNLOCK_VARIABLE}")
        return Passphrase(passphrase)

    def source(self, passphrase: str | None, folder: Path) -> KeySource:
        """The same, where the file beside the store in `folder` is named. Raises what `key` raises."""
        return self.key(passphrase) or KeyFile(folder / KEY_NAME)


class Settings(Struct, frozen=True):
    """What is kept of a device.

    Attributes:
        curator: the public key that signs its epochs, Ed25519, 32 bytes.
        centre: the public keys that the centre, and nobody else, is known by.
        addresses: where it calls servers, if not where the deployment says.
        following: what the options become by a change of lock that has begun (`relock`); None otherwise.
        endorsement: who must have endorsed an entry; None: nobody.
        log: what the log of its epochs must show; None: nothing.
    """

    design: str
    curator: bytes
    centre: CentreIdentity
    mode: FailureMode
    addresses: Addresses
    options: Options = field(default_factory=Options)
    following: Options | None = None
    endorsement: EndorsementPolicy | None = None
    log: EpochPolicy | None = None
    franking: Franking = field(default_factory=Franking)

    @classmethod
    def read(cls, deployment: Deployment, name: str) -> Settings:
        """Those of the device called `name`; `StoreError` if there is none, or they are damaged."""
        path = deployment.device(name) / SETTINGS
        try:
            return cls._decoded(json.loads(path.read_text()), str(path))
        except FileNotFoundError:
            raise StoreError(f"no device {name}; make it with: blindmatch device register {name}") from None
        except (*DAMAGES, AddressError, DeviceError, ProtocolError) as error:
            raise StoreError(f"{path} is damaged") from error

    def write(self, deployment: Deployment, name: str) -> None:
        """Keep them, in one step, on disk when this returns."""
        path = deployment.device(name) / SETTINGS
        centre = {"sealing": self.centre.sealing.hex(), "notices": self.centre.notices.hex()}
        held: dict[str, Any] = {"design": self.design, "curator": self.curator.hex(), "centre": centre}
        held["mode"] = str(self.mode)
        held["endorsement"] = NO_POLICY if self.endorsement is None else self.endorsement.encode().hex()
        held["log"] = NO_LOG if self.log is None else [self.log.policy.text, self.log.most_age_s]
        held["franking"] = {"mode": str(self.franking.mode), "judge": self.franking.judge.hex()}
        held["addresses"] = encoded(self.addresses)
        held |= self.options.encoded()
        if self.following is not None:
            held["following"] = self.following.encoded()
        draft = path.with_name(f".{path.name}.new")
        with draft.open("w") as file:
            file.write(json.dumps(held) + "\n")
            file.flush()
            os.fsync(file.fileno())
        reach("device.settings.rename.before")
        draft.replace(path)
        reach("device.settings.rename.after")
        sync_folder(path.parent)

    @classmethod
    def _decoded(cls, held: dict[str, Any], where: str) -> Settings:
        kept, following = decoded(held.get("addresses", {}), where), held.get("following")
        return cls(
            str(held["design"]),
            bytes.fromhex(held["curator"]),
            CentreIdentity(
                bytes.fromhex(held["centre"]["sealing"]), bytes.fromhex(held["centre"]["notices"])
            ),
            FailureMode(held["mode"]),
            kept,
            Options.decoded(held),
            None if following is None else Options.decoded(following),
            _policy(str(held.get("endorsement", NO_POLICY))),
            _log(held.get("log", NO_LOG)),
            Franking(FrankingMode(held["franking"]["mode"]), bytes.fromhex(held["franking"]["judge"])),
        )


def _log(held: Any) -> EpochPolicy | None:
    return None if held == NO_LOG else EpochPolicy(Policy.parse(str(held[0])), int(held[1]))


def _policy(held: str) -> EndorsementPolicy | None:
    return None if held == NO_POLICY else EndorsementPolicy.decode(bytes.fromhex(held))


def relock(
    deployment: Deployment,
    name: str,
    key_file: Path | None,
    new_passphrase: str | None,
    passphrase: str | None = None,
) -> None:
    """Lock the store of the device called `name` with something else from now on; `StoreError` if there is no
    such device, nothing would change, or the new key cannot be had.

    Args:
        key_file: what locks it then; None with no `new_passphrase`: a file beside it.
        new_passphrase: what locks it then, in place of a file.
        passphrase: that locks it now, if one does.
    """
    settings = settled(deployment, name, passphrase)
    new = replace(settings.options, key_file=key_file, passphrase=new_passphrase is not None)
    if new.encoded() == settings.options.encoded() and not new.passphrase:
        raise StoreError(f"device {name} is locked with this key file already")
    folder, key = deployment.device(name) / STATE, settings.options.key(passphrase)
    store = Store(folder, False, key)
    try:
        if new != settings.options:
            replace(settings, following=new).write(deployment, name)
        store.relock(new.source(new_passphrase, folder))
    finally:
        # if it failed, `settled` finds out how far it came
        store.close()
    _finish(deployment, name, settings, new)


def current_kind(deployment: Deployment, name: str) -> str:
    """What kind of key opens the device now. Raises `StoreError` if there is no such device."""
    settings = Settings.read(deployment, name)
    if settings.following is None:
        return settings.options.kind
    return lock_kind(deployment.device(name) / STATE)


def settled(deployment: Deployment, name: str, passphrase: str | None) -> Settings:
    """A device's settings; if a change of its lock was broken off, first see how far it came; `WrongKeyError`
    if neither opens it."""
    settings = Settings.read(deployment, name)
    if settings.following is None:
        return settings
    folder = deployment.device(name) / STATE
    kind = lock_kind(folder)
    # one of them at least: the transaction was made, or it was not
    possible = [one for one in (settings.following, settings.options) if one.kind == kind]
    for options in possible[:-1]:
        try:
            Store(folder, False, options.source(passphrase, folder)).close()
        except StoreError:
            continue
        return _finish(deployment, name, settings, options)
    if not possible:
        raise WrongKeyError(f"device {name}: its store is locked with a {kind}, which nobody asked for")
    return _finish(deployment, name, settings, possible[-1])


def _finish(deployment: Deployment, name: str, settings: Settings, options: Options) -> Settings:
    """The store is locked as `options` say. The file beside it, if it was one, opens nothing any more."""
    if options.passphrase or options.key_file is not None:
        (deployment.device(name) / STATE / KEY_NAME).unlink(missing_ok=True)
    done = replace(settings, options=options, following=None)
    done.write(deployment, name)
    return done
