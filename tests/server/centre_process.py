"""A centre as a process of its own, for tests that end it: ``centre_process.py DIRECTORY [GRACE]``."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from blindmatch_server.centre.service import CentreConfig, open_centre
from blindmatch_server.hosting.authority import Credentials
from blindmatch_server.hosting.serving import Listen, serve


def main(directory: Path, grace: float = 10.0) -> int:
    credentials = Credentials.read(directory, "centre")
    listen = Listen(credentials, port_file=directory / "port", grace_seconds=grace)
    config = CentreConfig(directory / "state", directory / "keys")
    return serve("centre", listen, partial(open_centre, config))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), *map(float, sys.argv[2:])))
