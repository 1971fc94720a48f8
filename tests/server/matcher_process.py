"""A matcher as a process of its own: ``matcher_process.py DIRECTORY``; the file `epoch` there has its epoch.

It looks for a new epoch once an hour, and when it is told to with SIGHUP.
"""

from __future__ import annotations

import sys
from collections.abc import Hashable
from functools import partial
from pathlib import Path

from blindmatch_server.hosting.authority import Credentials
from blindmatch_server.hosting.serving import Listen, serve
from blindmatch_server.matching.answering import MatchingLimits
from blindmatch_server.matching.epochs import OpenEpoch
from blindmatch_server.matching.service import MatchingConfig, open_matching
from msgspec import Struct

sys.path.insert(0, str(Path(__file__).parent.parent))

from server.designs_for_tests import ROLE, Dummy
from support.held_source import HeldSource


class FileSource(Struct, frozen=True):
    """The epoch whose number a file holds."""

    path: Path

    def version(self) -> Hashable:
        return self.path.read_text()

    def open(self) -> OpenEpoch:
        number = int(self.path.read_text())
        files = {ROLE: {"key": b"key of %d" % number}}
        return HeldSource(Dummy(), number, {"setup": b"x"}, files).open()


def main(directory: Path) -> int:
    listen = Listen(Credentials.read(directory, "matcher"), port_file=directory / "port")
    limits = MatchingLimits(poll_seconds=3600.0)
    source = FileSource(directory / "epoch")
    config = MatchingConfig(Dummy(), source, directory / "state", limits=limits)
    return serve("matcher", listen, partial(open_matching, config))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
