"""No set is built whose key has ended: neither matcher nor device would use it."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from blindmatch_protocol.codec.errors import DesignError
from blindmatch_simulations.cli.app import run
from blindmatch_simulations.testbed.deployment.curating import check_key_lasts, check_key_lasts_of_current
from blindmatch_simulations.testbed.deployment.folder import Deployment
from blindmatch_simulations.testbed.deployment.registry import load_design

BUILD = ["list", "build", "known", "--design", "token-psi", "--set", "k=8"]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A deployment with a list of ten entries."""
    home = tmp_path / "home"
    for arguments in (["certs", "init"], ["list", "random", "10", "known"]):
        assert run([*arguments, "--home", str(home)]) == 0
    return home


def test_a_key_that_has_ended_is_refused_before_anything_is_built(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [*BUILD, "--set", "key_expires=1700000000", "--home", str(home)]
    assert run(arguments) == 6
    said = capsys.readouterr().err
    assert "key_expires" in said and "2023-11-14T22:13:20" in said and "give a later Unix time" in said
    assert not (home / "curator" / "published" / "token-psi").exists()


def test_a_set_whose_key_has_ended_gets_no_update(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    now = datetime.now(UTC)
    end = int(time.time()) + 3600
    assert run([*BUILD, "--set", f"key_expires={end}", "--home", str(home)]) == 0
    deployment = Deployment.open(home)
    design = load_design("token-psi")
    check_key_lasts_of_current(deployment, design, now)
    with pytest.raises(DesignError, match="build a full set, without --from"):
        check_key_lasts_of_current(deployment, design, now + timedelta(hours=2))


def test_a_key_without_an_end_lasts() -> None:
    for values in ({}, {"key_expires": 0}):
        check_key_lasts(values, datetime(2999, 1, 1, tzinfo=UTC))
    edge = datetime(2030, 1, 1, tzinfo=UTC)
    with pytest.raises(DesignError):
        check_key_lasts({"key_expires": int(edge.timestamp())}, edge)
    check_key_lasts({"key_expires": int(edge.timestamp()) + 1}, edge)
