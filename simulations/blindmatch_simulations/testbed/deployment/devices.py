"""Devices of a local deployment: their folder, settings (`device.json`), certificate, way out and records."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias

from blindmatch_client.device import CentreIdentity, Device, DeviceConfig
from blindmatch_client.egress import Credentials, Egress, Recorder
from blindmatch_client.errors import DeviceError, StoreError
from blindmatch_client.messages.relay import RelayClient
from blindmatch_client.settings import Consequence, CoverSchedule, FailureMode
from blindmatch_client.store.vault import KeyFile, KeySource, Passphrase
from blindmatch_client.trace import SessionTrace, Trace, Traces
from blindmatch_proofs.endorsement import EndorsementPolicy
from blindmatch_proofs.epoch import EpochPolicy
from blindmatch_proofs.tlog import Policy
from blindmatch_protocol.account_name import NOTICES
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.codec.randomness import Randomness, Recording, system_randomness
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import AnyDesign
from blindmatch_protocol.messages.franking import FrankingMode
from blindmatch_protocol.messages.sealed_message import Franking
from blindmatch_server.centre.keys import NOTICES_PUBLIC, PUBLIC_KEY
from blindmatch_server.hosting.authority import Identity, Kind
from blindmatch_server.storage.files import read_key, replace_file
from msgspec import Struct, field
from msgspec.structs import asdict, replace

from blindmatch_simulations.testbed.deployment.addresses import (
    DAMAGES,
)
from blindmatch_simulations.testbed.deployment.folder import Deployment, DeploymentError
from blindmatch_simulations.testbed.deployment.registry import load_design, portable_reference
from blindmatch_simulations.testbed.deployment.transparency import NO_LOG, NO_POLICY, read_log, read_policy

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
        key_file = held.get("key_file")
        cover = held.get("cover")
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
            held = json.loads(path.read_text())
            policy = str(held.get("endorsement", NO_POLICY))
            log = held.get("log", NO_LOG)
            return cls(
                str(held["design"]),
                bytes.fromhex(held["curator"]),
                CentreIdentity(
                    bytes.fromhex(held["centre"]["sealing"]), bytes.fromhex(held["centre"]["notices"])
                ),
                FailureMode(held["mode"]),
                Options.decoded(held),
                None if policy == NO_POLICY else EndorsementPolicy.decode(bytes.fromhex(policy)),
                None if log == NO_LOG else EpochPolicy(Policy.parse(str(log[0])), int(log[1])),
                Franking(FrankingMode(held["franking"]["mode"]), bytes.fromhex(held["franking"]["judge"])),
            )
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


def now_ms() -> int:
    return time.time_ns() // 1_000_000


WayOut: TypeAlias = Callable[..., Egress]
"""Makes an `Egress` of addresses, credentials, recorder and clock."""


class Watched(Redacted, Struct, frozen=True):
    """A device, and what it records of itself for an audit."""

    device: Device
    recorder: Recorder
    traced: Traces
    drawn: Recording

    @property
    def traces(self) -> list[SessionTrace]:
        return self.traced.sessions


def check_not_the_centre(name: str) -> None:
    if name == NOTICES:
        raise DeploymentError(
            f"{name} is the centre's own account, which its notices come from: choose another name"
        )


def create_device(
    deployment: Deployment,
    name: str,
    reference: str,
    mode: FailureMode = FailureMode.HOLD,
    options: Options | None = None,
    passphrase: str | None = None,
    **more: Any,
) -> Watched:
    """A new device that uses the design called `reference`, with a certificate; `mode` says what is done with
    a picture that cannot be matched, and `passphrase` locks its store if `options` say so. `more` is as of
    `connect`, and not kept."""
    if "identity" not in more:
        check_not_the_centre(name)
    design = load_design(reference)
    keys = deployment.centre_keys
    settings = Settings(
        portable_reference(reference),
        deployment.curator_public_key(),
        CentreIdentity(read_key(keys / PUBLIC_KEY), read_key(keys / NOTICES_PUBLIC)),
        mode,
        options or Options(),
        franking=deployment.franking,
        **_policies(deployment, design),
    )
    watched = _watched(deployment, name, design, settings, True, passphrase, **more)
    settings.write(deployment, name)
    return watched


def register_guest(deployment: Deployment, name: str) -> None:
    """Give the relay pre-keys of a new account that has no device: others can send to it, and nobody reads
    it; `AuthorityError` if the name breaks the rule for names, `ServiceError` if the relay refuses."""
    from blindmatch_client.messenger.account import Account  # it takes long to load

    check_not_the_centre(name)
    account = Account.create(name, now_ms(), one_time=1)
    egress = egress_of(deployment, name, Recorder())
    try:
        RelayClient(egress).register(account.get_published_keys())
    finally:
        egress.close()


def _policies(deployment: Deployment, design: AnyDesign) -> dict[str, Any]:
    log = read_log(deployment)
    pinned = None if log is None else log.pinned(design.info.name)
    return {"endorsement": read_policy(deployment), "log": pinned}


def open_device(deployment: Deployment, name: str, passphrase: str | None = None, **more: Any) -> Watched:
    """The device called `name`; `more` as of `connect`."""
    settings = Settings.read(deployment, name)
    return _watched(deployment, name, load_design(settings.design), settings, False, passphrase, **more)


def device_names(deployment: Deployment) -> list[str]:
    return sorted(path.parent.name for path in deployment.home.glob(f"devices/*/{SETTINGS}"))


def remove_device(deployment: Deployment, name: str, keep: Collection[Path] = ()) -> None:
    """Remove the folder of the device called `name`: keys, certificate, messages and what still waits; what
    lies in it and in `keep` stays. `AuthorityError` if the name breaks the rule for names, `StoreError` if
    there is none, `OSError` if it cannot be removed."""
    folder = existing(deployment, name)
    for path in [path for path in folder.iterdir() if path not in keep]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    if not keep:
        folder.rmdir()


def existing(deployment: Deployment, name: str) -> Path:
    """The folder of the device called `name`; raises as `remove_device` does."""
    folder = deployment.device(Identity(Kind.DEVICE, name).name)
    if not folder.is_dir():
        raise StoreError(f"no device {name}")
    return folder


def create_or_open_device(
    deployment: Deployment,
    name: str,
    reference: str,
    mode: FailureMode = FailureMode.HOLD,
    options: Options | None = None,
    passphrase: str | None = None,
    take_policies: bool = False,
) -> Watched:
    """The device called `name`, made if there is none, so that a registration that failed can be repeated;
    `take_policies` puts the deployment's policies of endorsement and log in place of the device's.
    `StoreError` if there is one with another design, mode or options, or with other policies that are not to
    be replaced."""
    Identity(Kind.DEVICE, name)
    if not (deployment.device(name) / SETTINGS).exists():
        return create_device(deployment, name, reference, mode, options, passphrase)
    settings = Settings.read(deployment, name)
    if (settings.design, settings.mode) != (portable_reference(reference), mode):
        held = f"design {settings.design} and mode {settings.mode}, not {reference} and {mode}"
        raise StoreError(f"device {name} exists, with {held}; choose another name")
    if options is not None and options != settings.options:
        raise StoreError(
            f"device {name} exists, with another key, cover schedule or consequence; choose another name"
        )
    design = load_design(settings.design)
    policies = _policies(deployment, design)
    others = [what for what, policy in policies.items() if getattr(settings, what) != policy]
    if others and not take_policies:
        held = f"another policy of {' and of '.join(others)} than the deployment has now"
        raise StoreError(f"device {name} exists, with {held}; with --take-policies it takes that")
    settings = replace(settings, **policies)
    watched = _watched(deployment, name, design, settings, False, passphrase)
    if others:
        settings.write(deployment, name)
    return watched


def _watched(
    deployment: Deployment,
    name: str,
    design: AnyDesign,
    settings: Settings,
    create: bool,
    passphrase: str | None,
    /,
    **more: Any,
) -> Watched:
    recorder = Recorder()
    traced = Traces()
    drawn = Recording(system_randomness())
    config = asdict(settings) | {"design": design, **asdict(settings.options)}
    config["key"] = settings.options.key(passphrase)
    own = {field: config[field] for field in DeviceConfig.__struct_fields__ if field in config}
    watching: dict[str, Any] = {"create": create, "rng": drawn.rng, "sink": traced.add}
    return Watched(connect(deployment, name, recorder, **(watching | own | more)), recorder, traced, drawn)


def connect(
    deployment: Deployment,
    name: str,
    recorder: Recorder,
    *,
    create: bool = True,
    rng: Randomness | None = None,
    sink: Callable[[Trace], None] = lambda trace: None,
    way_out: WayOut = Egress,
    identity: bytes | None = None,
    clock_ms: Callable[[], int] = now_ms,
    **config: Any,
) -> Device:
    """A device with a certificate and a way out, made or opened; `rng` is of all that it draws (default: the
    system's), `identity` its private identity key, where others are configured with the public one. `config`
    is of `DeviceConfig`, by default with the deployment's curator."""
    egress = egress_of(deployment, name, recorder, way_out, clock_ms)
    make = partial(Device.create, identity=identity) if create else Device.open
    if "franking" not in config:
        config["franking"] = deployment.franking
    if "curator" not in config:
        config["curator"] = deployment.curator_public_key()
    made = DeviceConfig(account=name, **config)
    return make(deployment.device(name) / STATE, made, egress, rng or system_randomness(), clock_ms, sink)


def egress_of(
    deployment: Deployment,
    name: str,
    recorder: Recorder,
    way_out: WayOut = Egress,
    clock_ms: Callable[[], int] = now_ms,
) -> Egress:
    """The way out of the account `name`, which gets a certificate if it has none; `AuthorityError` if the
    name breaks the rule for names."""
    return way_out(deployment.directory(), credentials_of(deployment, name), recorder, clock_ms)


def credentials_of(deployment: Deployment, name: str) -> Credentials:
    """Certificate and key of the account `name`, issued if there are none; raises as `egress_of` does."""
    identity = Identity(Kind.DEVICE, name)
    folder = deployment.device(name)
    deployment.enrol(identity, folder, datetime.now(UTC))
    return deployment.caller_credentials(identity, folder)
