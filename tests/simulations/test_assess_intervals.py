"""Copies of one picture hang together: intervals are over pictures. CPU of a process counts its workers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
from blindmatch_simulations.measure.intervals import clopper_pearson, share
from blindmatch_simulations.measure.processes import tree_cpu_seconds
from msgspec.structs import replace
from support.assess_rows import observed, picture, row


def test_copies_of_four_pictures_are_four_and_not_a_hundred() -> None:
    pictures = tuple(
        replace(picture(at, "identical", True, at % 26 < 18), name=f"crop-{at // 26}") for at in range(104)
    )
    found = row(replace(observed(), pictures=pictures)).figures["recall"]
    assert found.n == 104 and found.value == pytest.approx(18 / 26)
    assert found.low is not None and found.high is not None
    independent = clopper_pearson(72, 104)
    assert found.high - found.low > 2 * (independent[1] - independent[0])
    assert "4 pictures, not 104 copies" in found.why


def test_one_copy_of_each_picture_has_the_exact_interval() -> None:
    assert (share(3, 16, units=16).low, share(3, 16, units=16).high) == clopper_pearson(3, 16)


def test_cpu_of_a_process_counts_what_it_started() -> None:
    spin = (
        "import time\nend = time.process_time() + 0.4\nwhile time.process_time() < end: pass\ntime.sleep(60)"
    )
    child = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {spin!r}])"
    with subprocess.Popen([sys.executable, "-c", child], start_new_session=True) as one:
        try:
            for _ in range(600):
                spent = tree_cpu_seconds(one.pid)
                if spent is None or spent >= 0.4:
                    break
                time.sleep(0.1)
        finally:
            os.killpg(one.pid, signal.SIGKILL)
    assert spent is None or spent >= 0.4
