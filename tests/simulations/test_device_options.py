"""How a device's store is locked, and its cover schedule, as the command line decides them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from blindmatch_client.errors import StoreError, WrongKeyError
from blindmatch_client.settings import Consequence, CoverSchedule, FailureMode
from blindmatch_simulations.cli import device as command
from blindmatch_simulations.testbed.deployment.devices import (
    Options,
    Settings,
    create_device,
    create_or_open_device,
    open_device,
)
from blindmatch_simulations.testbed.deployment.folder import Deployment
from support.command import in_process, refused

HOLD = FailureMode.HOLD


def test_a_device_with_a_passphrase_opens_with_it_alone(deployment: Deployment) -> None:
    create_device(deployment, "alice", "none", HOLD, Options(passphrase=True), "right").device.close()
    assert Settings.read(deployment, "alice").options.passphrase
    with pytest.raises(StoreError, match="set BLINDMATCH_PASSPHRASE"):
        open_device(deployment, "alice")
    with pytest.raises(WrongKeyError):
        open_device(deployment, "alice", "wrong")
    open_device(deployment, "alice", "right").device.close()


def test_evidence_of_a_device_with_a_passphrase_is_exported_with_it(
    deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_device(deployment, "alice", "none", HOLD, Options(passphrase=True), "right").device.close()
    monkeypatch.setenv("BLINDMATCH_PASSPHRASE", "right")
    refused(in_process(deployment.home, "proof", "export", "alice", tmp_path / "x"), 6, "no evidence")


def test_a_key_file_lies_where_the_user_said_and_is_found_again(
    deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    create_device(deployment, "alice", "none", HOLD, Options(Path("keys/alice.key"))).device.close()
    assert (tmp_path / "keys" / "alice.key").stat().st_mode & 0o777 == 0o600
    monkeypatch.chdir("/")
    open_device(deployment, "alice").device.close()
    (tmp_path / "keys" / "alice.key").unlink()
    with pytest.raises(StoreError, match="key file"):
        open_device(deployment, "alice")


def test_without_an_option_the_key_lies_beside_the_store(deployment: Deployment) -> None:
    create_device(deployment, "alice", "none").device.close()
    assert (deployment.device("alice") / "state" / "store.key").is_file()
    assert not Settings.read(deployment, "alice").options.passphrase


def test_what_was_decided_cannot_be_decided_otherwise_by_registering_again(deployment: Deployment) -> None:
    options = Options(cover=CoverSchedule(30))
    create_device(deployment, "alice", "none", HOLD, options).device.close()
    create_or_open_device(deployment, "alice", "none", HOLD, options).device.close()
    with pytest.raises(StoreError, match="another key, cover schedule or consequence"):
        create_or_open_device(deployment, "alice", "none", HOLD, Options())


@pytest.mark.parametrize(
    "options",
    [
        Options(),
        Options(Path("/somewhere/key")),
        Options(passphrase=True, cover=CoverSchedule(60, 16 << 10)),
        Options(consequence=Consequence.REFUSE),
    ],
)
def test_options_are_read_back_as_they_were_written(options: Options) -> None:
    assert Options.decoded(options.encoded()) == options


@pytest.mark.parametrize(("took", "begun"), [(0.0, 1.0), (0.3, 1.0), (0.7, 2.0)])
def test_when_a_round_begins_hardly_depends_on_how_long_the_one_before_took(
    took: float, begun: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks: list[float] = []

    class Idle:
        now = 0.0

        def sleep(self, seconds: float) -> None:
            self.now += seconds

        def tick(self) -> bool:
            ticks.append(round(self.now, 9))
            return True

        def receive(self, wait_ms: int) -> list[Any]:
            self.now += wait_ms / 1000
            return []

        def flush(self) -> Any:
            self.now += took
            return SimpleNamespace(problems=())

    device: Any = Idle()
    clock = SimpleNamespace(monotonic=lambda: device.now, sleep=device.sleep)
    monkeypatch.setattr(command, "time", clock)
    for _ in range(3):
        shown: Any = SimpleNamespace(show_new=lambda: None)
        command._round(device, {"received": 0, "slots": 0, "troubles": 0}, shown)
    assert ticks == [0.0, begun, 2 * begun]
