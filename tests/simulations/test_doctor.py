"""`blindmatch doctor`: every planted fault is found, named, and comes with what to do."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from blindmatch_protocol.contract import Party
from blindmatch_protocol.messages.epoch_manifest import SignedManifest
from blindmatch_server.epochs.signing import CuratorKey
from blindmatch_server.hosting.authority import Authority, Identity
from blindmatch_simulations.testbed.deployment.doctor import Status, examine, published
from blindmatch_simulations.testbed.deployment.folder import Deployment
from blindmatch_simulations.testbed.deployment.folder_checks import certificates, clock
from blindmatch_simulations.testbed.deployment.registry import load_design
from dummy_designs import BRIGHT
from msgspec.structs import replace
from support.command import in_process
from support.forked_servers import serving

from .test_by_hand import done

NOW = datetime.now(UTC)
DESIGN = load_design("oprf-psi")


@pytest.fixture
def home(tmp_path: Path, prepared: Path) -> Path:
    """In a folder that a shell would take for two."""
    shutil.copytree(prepared, tmp_path / "my home")
    return tmp_path / "my home"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, prepared: Path) -> Iterator[Path]:
    """A deployment whose servers run."""
    home = tmp_path_factory.mktemp("running") / "home"
    shutil.copytree(prepared, home)
    with serving(home):
        yield home


def doctor(home: Path) -> tuple[int, dict[str, dict[str, Any]]]:
    ran = in_process(home, "doctor", "--json", "-")
    found = ran.json
    for one in found:
        # whatever is not well comes with what to do
        assert one["remedy"] or one["status"] in {"ok", "not measured"}
    return ran.code, {one["check"]: one for one in found}


def test_a_deployment_that_runs_is_well(running: Path) -> None:
    code, found = doctor(running)
    assert {name for name, one in found.items() if one["status"] != "ok"} == {"log"}, found
    assert found["log"]["status"] == "warning", "an epoch for one user alone would not be noticed"
    assert found["group"]["what"].startswith("libsodium")
    assert code == 0
    for check in (
        "layout",
        "permissions",
        "clock",
        "certificate of relay",
        "references",
        "epoch",
        "manifest",
        "disk",
    ):
        assert check in found
    assert found["epoch of the matcher"]["what"] == "serves epoch 1, the set published here"
    assert all(found[name]["what"].startswith("serving at") for name in ("relay", "matcher", "centre"))


def test_a_log_is_made_as_the_remedy_says(home: Path, tmp_path: Path) -> None:
    remedy = doctor(home)[1]["log"]["remedy"]
    assert remedy.startswith("make a new deployment") and commands_in(remedy) == [
        ["blindmatch", "log", "init"]
    ]
    new = tmp_path / "new"
    done(in_process(new, "certs", "init"))
    remedy = doctor(new)[1]["log"]["remedy"]
    for _, *words in commands_in(remedy):
        done(in_process(new, *words))
    assert doctor(new)[1]["log"]["status"] == "unreachable", "there is one, and it does not run"


def test_servers_that_do_not_run_are_unreachable_and_nothing_else_is_wrong(home: Path) -> None:
    code, found = doctor(home)
    assert code == 7
    unreachable = {name for name, one in found.items() if one["status"] == "unreachable"}
    assert unreachable == {"relay", "matcher", "centre"}
    assert "blindmatch serve relay" in found["relay"]["remedy"]


def test_a_port_that_a_killed_server_left_behind_is_told_apart(home: Path) -> None:
    (home / "relay/port").write_text("1\n")
    assert doctor(home)[1]["relay"]["what"] == "it is not running on this machine; it was killed"


def test_a_matcher_that_serves_an_older_epoch_than_is_published_is_found(
    running: Path, prepared: Path
) -> None:
    shutil.copytree(running / "curator", running.with_name("curator"))
    try:
        folder = running / "curator/published/oprf-psi"
        shutil.copytree(folder / "1", folder / "2")
        before = SignedManifest.decode((folder / "1/epoch.manifest").read_bytes()).manifest
        second = CuratorKey.read(running / "curator/keys").sign(replace(before, epoch=2))
        (folder / "2/epoch.manifest").chmod(0o600)
        (folder / "2/epoch.manifest").write_bytes(second.encode())
        # the matcher refuses what is no epoch 2 inside, and goes on with 1
        (folder / "current").write_text("2\n")
        code, found = doctor(running)
        assert code == 7
        assert found["epoch of the matcher"]["what"] == "it serves epoch 1, 2 is published"
    finally:
        shutil.rmtree(running / "curator")
        shutil.move(running.with_name("curator"), running / "curator")


def test_a_server_of_another_deployment_is_not_taken_for_this_one(running: Path, home: Path) -> None:
    other = home.with_name("other")
    done(in_process(other, "certs", "init"))
    (other / "relay/port").write_text((running / "relay/port").read_text())
    code, found = doctor(other)
    assert code == 4
    assert found["relay"]["status"] == "unreachable"
    assert "certificate" in found["relay"]["remedy"]
    assert found["epoch"]["status"] == "wrong"


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.chmod(0o600)
    path.write_bytes(bytes(content))


FAULTS: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "a readable key": (lambda h: (h / "relay/relay.key").chmod(0o644), "permissions", "relay/relay.key"),
    "no relay": (lambda h: shutil.rmtree(h / "relay"), "layout", "relay"),
    "no key": (lambda h: (h / "matcher/matcher.key").unlink(), "certificate of matcher", "No such file"),
    "a bad certificate": (lambda h: _flip(h / "matcher/matcher.crt"), "certificate of matcher", ""),
    "another's certificate": (
        lambda h: [
            shutil.copy(h / f"centre/centre.{end}", h / f"matcher/matcher.{end}") for end in ("crt", "key")
        ],
        "certificate of matcher",
        "it is of blindmatch://centre, not of blindmatch://matcher",
    ),
    "no centre's key": (lambda h: (h / "centre/keys/centre.key").unlink(), "centre's keys", "centre.key"),
    "another centre.pub": (
        lambda h: (h / "centre/keys/centre.pub").write_text("00" * 32 + "\n"),
        "centre's keys",
        "other half",
    ),
    "bad references": (lambda h: _spoil(h / "centre/references.sqlite"), "references", "references.sqlite"),
    "a flipped bit in the set": (
        lambda h: _flip(max((h / "curator/published/oprf-psi/1").iterdir(), key=os.path.getsize)),
        "epoch",
        "",
    ),
    "another curator's key": (
        lambda h: (h / "curator/keys/curator.pub").write_text("11" * 32 + "\n"),
        "manifest",
        "must be signed by the curator's key",
    ),
    "no curator's key": (lambda h: (h / "curator/keys/curator.pub").unlink(), "manifest", "curator.pub"),
    "no signed manifest": (
        lambda h: (h / "curator/published/oprf-psi/1/epoch.manifest").unlink(),
        "epoch",
        "must be signed",
    ),
    "no epoch": (lambda h: shutil.rmtree(h / "curator/published"), "epoch", "not published"),
    "bad addresses": (lambda h: (h / "addresses.json").write_text("{"), "addresses", "JSON"),
}


def _spoil(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"spoilt" * 1000)


def _tear(path: Path) -> None:
    """A database of which a page in the middle is another's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as made:
        made.execute("CREATE TABLE t (a TEXT)")
        made.executemany("INSERT INTO t VALUES (?)", [("x" * 500,)] * 200)
        made.commit()
    raw = bytearray(path.read_bytes())
    raw[4096 * 3 : 4096 * 4] = os.urandom(4096)
    path.write_bytes(bytes(raw))
    path.chmod(0o600)


STORES: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "a spoilt database of the relay": (
        lambda h: _spoil(h / "relay/state/relay.sqlite"),
        "stores",
        "relay/state/relay.sqlite",
    ),
    "a torn database of the centre": (
        lambda h: _tear(h / "centre/state/centre.sqlite"),
        "stores",
        "centre/state/centre.sqlite",
    ),
    "a torn store of a device": (
        lambda h: _tear(h / "devices/alice/state/device.sqlite"),
        "stores",
        "devices/alice/state/device.sqlite",
    ),
}


@pytest.mark.parametrize("fault", [*FAULTS, *STORES])
def test_a_fault_is_found_and_named(home: Path, fault: str) -> None:
    plant, check, words = (FAULTS | STORES)[fault]
    plant(home)
    code, found = doctor(home)
    assert code == 4
    assert found[check]["status"] == "wrong"
    assert words in found[check]["what"]


def commands_in(remedy: str) -> list[list[str]]:
    """The command lines that a remedy prescribes."""
    found = re.findall(r"(?:blindmatch|chmod|rm) [^;:,]*", remedy)
    return [shlex.split(one) for one in found]


def run_remedy(home: Path, samples: Path, remedy: str) -> None:
    """Every command of a remedy goes well, with the names that it leaves open filled in."""
    for program, *words in commands_in(remedy):
        given = {
            "NAME": "known",
            "FOLDER": str(samples / "listed"),
            "ANOTHER": str(home.with_name("another")),
        }
        words = [given.get(word, word) for word in words]
        if program != "blindmatch":
            subprocess.run([program, *words], check=True)
        elif words[0] != "serve":
            done(in_process(home, *words))


BACKUP = {"no centre's key", "another centre.pub", "another curator's key", "no curator's key"}
"""Faults whose remedy is a backup."""


@pytest.mark.parametrize("fault", [*FAULTS, *STORES])
def test_every_remedy_can_be_followed_and_puts_the_fault_right(
    fault: str, home: Path, samples: Path, prepared: Path
) -> None:
    plant, check, _ = (FAULTS | STORES)[fault]
    plant(home)
    remedy = doctor(home)[1][check]["remedy"]
    if fault in BACKUP or fault == "no relay" or ("backup" in remedy and not commands_in(remedy)):
        assert "back" in remedy
        shutil.rmtree(home)
        shutil.copytree(prepared, home)
    else:
        assert commands_in(remedy), remedy
    run_remedy(home, samples, remedy)
    code, after = doctor(home)
    assert code == 7, "servers do not run, and nothing else is wrong"
    assert after.get(check, {"status": "ok"})["status"] in ("ok", "warning"), after[check]


def test_a_centre_without_the_list_is_a_warning(home: Path) -> None:
    (home / "centre/references.sqlite").unlink()
    assert doctor(home)[1]["references"]["status"] == "warning"
    found = {one.check: one for one in examine(Deployment.open(home), BRIGHT, NOW)}
    assert found["references"].status is Status.OK and "names an entry" in found["references"].what


@pytest.mark.parametrize(
    ("days", "status"),
    [(0, Status.OK), (75, Status.OK), (77, Status.WARNING), (91, Status.WRONG), (-1, Status.WRONG)],
)
def test_certificates_are_looked_at_by_the_calendar(tmp_path: Path, days: int, status: Status) -> None:
    deployment = Deployment.create(tmp_path / "home", NOW)
    found = list(certificates(deployment, NOW + timedelta(days=days)))
    assert {one.status for one in found} == {status}
    assert [one.check.split()[-1] for one in found if "notices" not in one.check] == [
        "relay",
        "matcher",
        "centre",
    ]


@pytest.mark.parametrize(
    ("days", "status"), [(0, Status.OK), (350, Status.OK), (360, Status.WARNING), (366, Status.WRONG)]
)
def test_the_end_of_an_epoch_is_seen_before_it_comes(prepared: Path, days: int, status: Status) -> None:
    findings, _ = published(Deployment.open(prepared), DESIGN, datetime.now(UTC) + timedelta(days=days))
    assert {one.check: one.status for one in findings}["manifest"] is status


def test_a_clock_that_is_behind_is_found(tmp_path: Path) -> None:
    deployment = Deployment.create(tmp_path / "home", NOW)
    later = NOW + timedelta(hours=1)
    before = NOW - timedelta(days=1)
    assert [one.status for one in clock(deployment, later)] == [Status.OK]
    assert [one.status for one in clock(deployment, before)] == [Status.WRONG]


def test_machines_packed_from_two_authorities_are_told(tmp_path: Path) -> None:
    deployment = Deployment.create(tmp_path / "home", NOW)
    other = Authority.create(NOW).issue(Identity.of(Party.PROVIDER), NOW)
    other.write(deployment.home / "relay", "relay")
    found = {one.check: one.status for one in certificates(deployment, NOW)}
    assert found["root"] is Status.WRONG


def test_a_machine_of_a_larger_deployment_is_asked_for_no_more_than_it_has(
    prepared: Path, tmp_path: Path
) -> None:
    done(in_process(prepared, "certs", "pack", "relay", tmp_path / "relay"))
    found = list(examine(Deployment.open(tmp_path / "relay"), DESIGN, datetime.now(UTC)))
    assert {one.status for one in found} == {Status.OK, Status.UNREACHABLE}
    assert [one.check for one in found if one.status is Status.UNREACHABLE] == ["relay"]
