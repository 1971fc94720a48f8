"""The soak in its short form, in a process of its own; `make soak` is the long one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
MESSAGES = 300
KILLS = 15


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_short_soak_loses_and_doubles_nothing() -> None:
    command = [sys.executable, str(TESTS / "faults" / "soak.py"), "--seed", "7"]
    command += ["--messages", str(MESSAGES), "--kills", str(KILLS)]
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=590)
    assert done.returncode == 0, done.stdout + done.stderr
    *_, killed, found = (json.loads(line) for line in done.stdout.splitlines() if line.startswith("{"))
    assert found["right"] and MESSAGES - KILLS <= found["taken"] <= found["arrived"] <= MESSAGES
    assert killed["relay_kills"] >= 1 and killed["device_kills"] >= KILLS // 2
