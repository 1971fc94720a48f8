"""The `blindmatch` command."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command; never returns. Ctrl-C leaves no traceback, also while modules are loaded."""
    try:
        if sys.argv[1:] == ["--version"]:  # asked by scripts, and needs no command line to be made
            from importlib.metadata import version

            sys.stdout.write(f"blindmatch {version('blindmatch')}\n")
            sys.exit(0)
        from blindmatch_simulations.cli.app import main as run_command

        run_command()
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(130)
