"""A centre as a process of its own, for tests that end it: ``centre_process.py DIRECTORY [GRACE]``."""

from __future__ import annotations

import sys
from pathlib import Path

from blindmatch_server.authority import Credentials
from blindmatch_server.centre.server import CentreConfig, serve_centre
from blindmatch_server.serving import Listen


def main(directory: Path, grace: float = 10.0) -> int:
    credentials = Credentials.read(directory, "centre")
    listen = Listen(credentials, port_file=directory / "port", grace_seconds=grace)
    return serve_centre(CentreConfig(listen, directory / "state", directory / "keys"))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), *map(float, sys.argv[2:])))
