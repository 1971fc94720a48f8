"""Writes docs/sample/options.svg, the picture in the README: `make picture`."""

from __future__ import annotations

from pathlib import Path

from blindmatch_simulations.evaluation.assess import store

from support.drawn import pictured

if __name__ == "__main__":
    sample = Path("docs/sample")
    store.write(sample / "options.svg", pictured(sample, store.check(sample)).encode())
