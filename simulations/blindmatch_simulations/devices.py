"""Devices of a local deployment: their folder, certificate, way out and records."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from blindmatch_client.cover import CoverSchedule
from blindmatch_client.device import Device, DeviceConfig
from blindmatch_client.egress import Egress, Recorder
from blindmatch_client.errors import DeviceError, StoreError
from blindmatch_client.failure import FailureMode
from blindmatch_client.trace import SessionTrace
from blindmatch_client.vault import KeyFile, KeySource, Passphrase
from blindmatch_protocol.contract import AnyDesign
from blindmatch_protocol.randomness import SystemRandomness
from blindmatch_server.authority import Identity, Kind

from blindmatch_simulations.addresses import AddressError, Addresses, decoded, encoded
from blindmatch_simulations.deployment import Deployment
from blindmatch_simulations.registry import load_design, portable_reference

STATE = "state"
UNLOCK_VARIABLE = "BLINDMATCH_PASSPHRASE"
_SETTINGS = "device.json"


def now_ms() -> int:
    """Unix time in milliseconds."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True, repr=False)
class Watched:
    """A device, and what it records of itself for an audit."""

    device: Device
    recorder: Recorder
    traces: list[SessionTrace] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Options:
    """What a user may decide when a device is made.

    Attributes:
        key_file: locks the store; None: a file beside it, which protects nothing by itself.
        passphrase: whether the store is locked with a passphrase instead.
        cover: when and how large reports leave; None: at once.
    """

    key_file: Path | None = None
    passphrase: bool = False
    cover: CoverSchedule | None = None

    def encoded(self) -> dict[str, Any]:
        """As it stands in the device's settings; what was not decided is left out."""
        held: dict[str, Any] = {}
        if self.key_file is not None:
            held["key_file"] = str(self.key_file.absolute())
        if self.passphrase:
            held["passphrase"] = True
        if self.cover is not None:
            held["cover"] = {"period_s": self.cover.period_s, "size": self.cover.size}
        return held

    @classmethod
    def decoded(cls, held: dict[str, Any]) -> Options:
        """What `encoded` made; raises KeyError, TypeError, ValueError or `DeviceError` for anything else."""
        key_file, cover = held.get("key_file"), held.get("cover")
        schedule = None if cover is None else CoverSchedule(int(cover["period_s"]), int(cover["size"]))
        kept = None if key_file is None else Path(key_file)
        return cls(kept, bool(held.get("passphrase", False)), schedule)

    def key(self, passphrase: str | None) -> KeySource | None:
        """What the store is locked with.

        Raises:
            StoreError: if it needs a passphrase and none is given.
        """
        if not self.passphrase:
            return None if self.key_file is None else KeyFile(self.key_file)
        if passphrase is None:
            raise StoreError(f"the device is locked with a passphrase: set {UNLOCK_VARIABLE}")
        return Passphrase(passphrase)


@dataclass(frozen=True, slots=True)
class _Settings:
    """What is kept of a device beside its state: reference of its design, failure mode, addresses, how its
    store is locked, and its cover schedule."""

    design: str
    mode: FailureMode
    addresses: Addresses
    options: Options = field(default_factory=lambda: Options())

    def write(self, path: Path) -> None:
        held = {"design": self.design, "mode": str(self.mode), "addresses": encoded(self.addresses)}
        held |= self.options.encoded()
        draft = path.with_name(f".{path.name}.new")
        draft.write_text(json.dumps(held) + "\n")
        draft.replace(path)


def create_device(
    deployment: Deployment,
    name: str,
    reference: str,
    mode: FailureMode = FailureMode.HOLD,
    addresses: Addresses | None = None,
    options: Options | None = None,
    passphrase: str | None = None,
) -> Watched:
    """A new device that uses the design called `reference`, with a certificate.

    Args:
        deployment: where it is made.
        name: of the device.
        reference: of its design.
        mode: what is done with a picture that cannot be matched.
        addresses: where it calls servers, if not where the deployment says.
        options: what else is decided.
        passphrase: that locks its store, if `options` say so.

    Raises:
        AuthorityError: if the name breaks the rule for names.
        StoreError: if there is one already.
        RegistryError: if there is no such design.
    """
    design = load_design(reference)
    identity = Identity(Kind.DEVICE, name)
    folder = deployment.device(name)
    deployment.enrol(identity, folder, datetime.now(UTC))
    settings = _Settings(portable_reference(reference), mode, addresses or {}, options or Options())
    watched = _watched(deployment, name, design, settings, True, passphrase)
    settings.write(folder / _SETTINGS)
    return watched


def open_device(deployment: Deployment, name: str, passphrase: str | None = None) -> Watched:
    """The device called `name`.

    Raises:
        StoreError: if there is none, or it needs a passphrase and none is given.
        WrongKeyError: if it is locked with another passphrase or key.
        RegistryError: if its design cannot be loaded any more.
    """
    settings = _settings(deployment, name)
    return _watched(deployment, name, load_design(settings.design), settings, False, passphrase)


def needs_passphrase(deployment: Deployment, name: str) -> bool:
    """Is the device called `name` locked with a passphrase? `StoreError` if there is none."""
    return _settings(deployment, name).options.passphrase


def create_or_open_device(
    deployment: Deployment,
    name: str,
    reference: str,
    mode: FailureMode = FailureMode.HOLD,
    addresses: Addresses | None = None,
    options: Options | None = None,
    passphrase: str | None = None,
) -> Watched:
    """The device called `name`, made if there is none, so that a registration that failed can be repeated.

    Addresses that are given replace those it had.

    Raises:
        StoreError: if there is one that uses another design or another mode.
        AuthorityError, RegistryError: as `create_device`.
    """
    Identity(Kind.DEVICE, name)
    path = deployment.device(name) / _SETTINGS
    if not path.exists():
        return create_device(deployment, name, reference, mode, addresses, options, passphrase)
    settings = _settings(deployment, name)
    if (settings.design, settings.mode) != (portable_reference(reference), mode):
        raise StoreError(f"device {name} exists, with another design or mode; choose another name")
    if options is not None and options != settings.options:
        raise StoreError(f"device {name} exists, with another key or cover schedule; choose another name")
    if addresses:
        replace(settings, addresses={**settings.addresses, **addresses}).write(path)
    return open_device(deployment, name, passphrase)


def _settings(deployment: Deployment, name: str) -> _Settings:
    path = deployment.device(name) / _SETTINGS
    try:
        held = json.loads(path.read_text())
        kept = decoded(held.get("addresses", {}), str(path))
        return _Settings(str(held["design"]), FailureMode(held["mode"]), kept, Options.decoded(held))
    except FileNotFoundError:
        raise StoreError(f"no device {name}; make it with: blindmatch device register {name}") from None
    except (AttributeError, ValueError, KeyError, TypeError, AddressError, DeviceError) as error:
        raise StoreError(f"{path} is damaged") from error


def _watched(
    deployment: Deployment,
    name: str,
    design: AnyDesign,
    settings: _Settings,
    create: bool,
    passphrase: str | None,
) -> Watched:
    recorder, traces = Recorder(), list[SessionTrace]()
    credentials = deployment.caller_credentials(Identity(Kind.DEVICE, name), deployment.device(name))
    egress = Egress(deployment.directory(settings.addresses), credentials, recorder, now_ms)
    make = Device.create if create else Device.open
    options = settings.options
    config = DeviceConfig(name, design, settings.mode, key=options.key(passphrase), cover=options.cover)
    folder = deployment.device(name) / STATE
    device = make(folder, config, egress, SystemRandomness(), now_ms, traces.append)
    return Watched(device, recorder, traces)
