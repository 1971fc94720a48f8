"""The group `blindmatch bench`, with the bench of token-psi, which shares its options."""

from __future__ import annotations

from blindmatch_simulations.cli.bench import app
from blindmatch_simulations.cli.near import bench_near

app.command("near")(bench_near)

__all__ = ["app"]
