"""Deployments to try things on."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from blindmatch_server.log import witness
from blindmatch_simulations.testbed.deployment import doctor, operators, processes
from blindmatch_simulations.testbed.deployment.folder import Deployment
from support import assess_worker
from support.command import in_process
from support.forked_servers import forked_servers, serving


@pytest.fixture(scope="session", autouse=True)
def _patient() -> Iterator[None]:
    """What is late since the machine is busy is waited for: no deadline decides what a test finds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(doctor, "SECONDS", 60.0)
        patch.setattr(witness, "SECONDS", 60.0)
        patch.setattr(operators, "DEADLINE_SECONDS", 240.0)
        patch.setattr(processes, "STOP_SECONDS", 240.0)
        yield


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A deployment with a list and a published set, and no server."""
    home = tmp_path_factory.mktemp("built") / "home"
    for arguments in (["certs", "init"], ["list", "random", 20, "known"], ["list", "build", "known"]):
        assert in_process(home, *arguments).code == 0
    return home


@pytest.fixture
def home(built: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    shutil.copytree(built, tmp_path / "home")
    return tmp_path / "home"


@pytest.fixture
def deployment(tmp_path: Path) -> Deployment:
    """A new one, with certificates and nothing else."""
    return Deployment.create(tmp_path / "home", datetime.now(UTC))


@pytest.fixture(scope="session")
def served(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A deployment with running servers and two registered devices."""
    home = tmp_path_factory.mktemp("served") / "home"
    shutil.copytree(built, home)
    with serving(home):
        for name in ("alice", "bob"):
            assert in_process(home, "device", "register", name).code == 0
        yield home


@pytest.fixture(scope="session")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures to read: listed, other, edited."""
    folder = tmp_path_factory.mktemp("samples")
    assert in_process(folder, "samples", folder / "pictures", "--count", 4).code == 0
    return folder / "pictures"


@pytest.fixture(scope="session")
def taught(samples: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A deployment with everything up to the servers' start; two of the samples are on its list."""
    home = tmp_path_factory.mktemp("taught") / "home"
    for arguments in (
        ["certs", "init"],
        ["list", "random", 50, "known"],
        ["list", "pictures", samples / "listed", "known"],
        ["list", "build", "known"],
        ["centre", "learn", "known", "--pictures", samples / "listed"],
    ):
        assert in_process(home, *arguments).code == 0
    return home


@pytest.fixture(scope="module")
def prepared(taught: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of it for the tests of a file; nothing in a deployment depends on where it lies."""
    home = tmp_path_factory.mktemp("prepared") / "home"
    shutil.copytree(taught, home)
    return home


@pytest.fixture
def quick_servers() -> Iterator[None]:
    """Servers that the test starts are forked: each a process of its own that need not import everything."""
    with forked_servers():
        yield


@pytest.fixture
def quick_workers() -> Iterator[None]:
    """Designs that an assessment measures have a small group as their large one."""
    with assess_worker.quick_workers():
        yield
