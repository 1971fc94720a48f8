"""Devices of a local deployment: their folder, certificate, way out and records."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime

from blindmatch_client.device import Device, DeviceConfig
from blindmatch_client.egress import Egress, Recorder
from blindmatch_client.errors import StoreError
from blindmatch_client.failure import FailureMode
from blindmatch_client.trace import SessionTrace
from blindmatch_protocol.contract import AnyDesign
from blindmatch_protocol.randomness import SystemRandomness
from blindmatch_server.authority import Identity, Kind

from blindmatch_simulations.deployment import Deployment
from blindmatch_simulations.registry import load_design, portable_reference

STATE = "state"
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


def create_device(
    deployment: Deployment, name: str, reference: str, mode: FailureMode = FailureMode.HOLD
) -> Watched:
    """A new device that uses the design called `reference`, with a certificate.

    Raises:
        AuthorityError: if the name breaks the rule for names.
        StoreError: if there is one already.
        RegistryError: if there is no such design.
    """
    design = load_design(reference)
    identity = Identity(Kind.DEVICE, name)
    folder = deployment.device(name)
    deployment.enrol(identity, folder, datetime.now(UTC))
    watched = _watched(deployment, name, design, mode, create=True)
    settings = {"design": portable_reference(reference), "mode": str(mode)}
    (folder / _SETTINGS).write_text(json.dumps(settings) + "\n")
    return watched


def open_device(deployment: Deployment, name: str) -> Watched:
    """The device called `name`.

    Raises:
        StoreError: if there is none.
        RegistryError: if its design cannot be loaded any more.
    """
    reference, mode = _settings(deployment, name)
    return _watched(deployment, name, load_design(reference), mode, create=False)


def create_or_open_device(
    deployment: Deployment, name: str, reference: str, mode: FailureMode = FailureMode.HOLD
) -> Watched:
    """The device called `name`, made if there is none, so that a registration that failed can be repeated.

    Raises:
        StoreError: if there is one that uses another design or another mode.
        AuthorityError, RegistryError: as `create_device`.
    """
    Identity(Kind.DEVICE, name)
    if not (deployment.device(name) / _SETTINGS).exists():
        return create_device(deployment, name, reference, mode)
    if _settings(deployment, name) != (portable_reference(reference), mode):
        raise StoreError(f"device {name} exists, with another design or mode; choose another name")
    return open_device(deployment, name)


def _settings(deployment: Deployment, name: str) -> tuple[str, FailureMode]:
    """Reference of the device's design, and its failure mode."""
    path = deployment.device(name) / _SETTINGS
    try:
        settings = json.loads(path.read_text())
        return str(settings["design"]), FailureMode(settings["mode"])
    except FileNotFoundError:
        raise StoreError(f"no device {name}; make it with: blindmatch device register {name}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path} is damaged") from error


def _watched(
    deployment: Deployment, name: str, design: AnyDesign, mode: FailureMode, create: bool
) -> Watched:
    recorder, traces = Recorder(), list[SessionTrace]()
    credentials = deployment.caller_credentials(Identity(Kind.DEVICE, name), deployment.device(name))
    egress = Egress(deployment.endpoints(), credentials, recorder, now_ms)
    make = Device.create if create else Device.open
    config = DeviceConfig(account=name, design=design, mode=mode)
    folder = deployment.device(name) / STATE
    device = make(folder, config, egress, SystemRandomness(), now_ms, traces.append)
    return Watched(device, recorder, traces)
