"""The `blindmatch` command."""

from blindmatch_simulations.cli.app import main

__all__ = ["main"]
