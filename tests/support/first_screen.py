"""Writes docs/sample/options.svg, the picture in the README: `make picture`."""

from __future__ import annotations

from pathlib import Path

from blindmatch_simulations.evaluation.assess.results import check_folder, write_whole

from support.drawn import pictured

if __name__ == "__main__":
    sample = Path("docs/sample")
    write_whole(sample / "options.svg", pictured(sample, check_folder(sample)).encode())
