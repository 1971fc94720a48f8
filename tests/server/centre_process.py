"""A centre as a process of its own, for tests that kill it: ``centre_process.py DIRECTORY``."""

from __future__ import annotations

import sys
from pathlib import Path

from blindmatch_server.authority import Credentials
from blindmatch_server.centre.server import CentreConfig, serve_centre
from blindmatch_server.serving import Listen


def main(directory: Path) -> int:
    listen = Listen(Credentials.read(directory, "centre"), port_file=directory / "port")
    return serve_centre(CentreConfig(listen, directory / "state", directory / "keys", {}))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
