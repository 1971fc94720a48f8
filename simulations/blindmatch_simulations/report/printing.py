"""Prints a drawn page on paper.

In:   an HTML file.
Out:  a PDF beside it, by a Chromium of this computer.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from blindmatch_protocol.codec.errors import BlindmatchError

from blindmatch_simulations.evaluation.assess.results import write_whole

BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome")
PRINTING: Final = (
    "--headless", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync",
    "--disable-component-update", "--no-pdf-header-footer", "--virtual-time-budget=60000",
)  # fmt: skip
FOR_ROOT: Final = ("--no-sandbox",) if getattr(os, "geteuid", lambda: 1)() == 0 else ()
"""Chromium does not start for root with its sandbox; it opens our own page alone."""
PRINT_SECONDS: Final = 120


class ReportError(BlindmatchError):
    """The report cannot be drawn or printed."""


def print_page(page: Path) -> Path:
    """Print a page as a PDF beside it; its path.

    Raises:
        ReportError: there is no browser, or it fails.
    """
    if (browser := next(filter(None, map(shutil.which, BROWSERS)), None)) is None:
        raise ReportError(f"no Chromium to print with: install it, or print {page} by hand")
    paper = page.with_suffix(".pdf")
    with tempfile.TemporaryDirectory() as profile:
        made = Path(profile) / paper.name
        command = [
            browser,
            *PRINTING,
            *FOR_ROOT,
            f"--user-data-dir={profile}",
            f"--print-to-pdf={made}",
            page.resolve().as_uri(),
        ]
        try:
            done = subprocess.run(command, capture_output=True, timeout=PRINT_SECONDS, check=False)
        except subprocess.TimeoutExpired:
            raise ReportError(f"{browser} did not print within {PRINT_SECONDS} seconds") from None
        if not made.exists():
            raise ReportError(f"{browser} printed nothing: exit code {done.returncode}")
        write_whole(paper, made.read_bytes())
    return paper
