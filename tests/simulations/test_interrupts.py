"""Interrupts: one that comes up where Python drops exceptions still ends the command."""

from __future__ import annotations

import subprocess
import sys

import pytest

LOSES_AN_INTERRUPT = """
import signal, time
from blindmatch_simulations.cli import app

class Finalized:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)

def work(arguments):
    Finalized()  # the interrupt comes up in its finalizer
    for _ in range(2000):
        time.sleep(0.005)
    print("went on to its end")
    return 0

app.app_for = lambda arguments: work
app.with_values = lambda arguments: arguments
app.main()
"""

FAILS_IN_A_FINALIZER = LOSES_AN_INTERRUPT.replace(
    "signal.raise_signal(signal.SIGINT)", "raise ValueError('kept')"
).replace("range(2000)", "range(1)")


def _run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=False
    )


def test_an_interrupt_in_a_finalizer_ends_the_command() -> None:
    done = _run(LOSES_AN_INTERRUPT)
    assert done.returncode == 130, done
    assert "interrupted" in done.stderr and "went on" not in done.stdout
    assert "Traceback" not in done.stderr


def test_what_else_a_finalizer_raises_is_printed_as_before() -> None:
    done = _run(FAILS_IN_A_FINALIZER)
    assert done.returncode == 0 and "went on to its end" in done.stdout
    assert "ValueError: kept" in done.stderr


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("signal.raise_signal(signal.SIGINT)", "raise RuntimeError('wrapped') from error"),
        ("signal.raise_signal(signal.SIGINT)", "raise RuntimeError('beside')"),
    ],
)
def test_an_interrupt_that_a_finalizer_wraps_ends_the_command(before: str, after: str) -> None:
    body = f"try:\n            {before}\n        except KeyboardInterrupt as error:\n            {after}"
    done = _run(LOSES_AN_INTERRUPT.replace(before, body))
    assert done.returncode == 130 and "went on" not in done.stdout, done


def test_an_interrupt_that_is_lost_at_the_very_end_still_decides_the_exit_code() -> None:
    done = _run(LOSES_AN_INTERRUPT.replace("range(2000)", "range(0)"))
    assert done.returncode == 130 and done.stderr.count("interrupted") == 1, done


def test_no_interrupt_is_repeated_after_the_command() -> None:
    cleanup = "import atexit\natexit.register(lambda: (time.sleep(0.2), print('cleaned up')))\napp.main()"
    done = _run(LOSES_AN_INTERRUPT.replace("range(2000)", "range(0)").replace("app.main()", cleanup))
    assert done.returncode == 130 and "cleaned up" in done.stdout, done
