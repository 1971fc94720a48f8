"""A centre, a matcher and a relay as processes of their own that a test kills with SIGKILL at a failpoint."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any, NoReturn

from blindmatch_server.centre.keys import Deployed
from blindmatch_server.centre.service import CentreConfig, CentreLimits, open_centre
from blindmatch_server.centre.vouchers import OpenerFiles
from blindmatch_server.hosting.authority import Credentials
from blindmatch_server.hosting.serving import Listen, OpenServices, serve
from blindmatch_server.matching.ledger import CentreAddress
from blindmatch_server.matching.service import MatchingConfig, open_matching
from blindmatch_server.relay.service import RelayConfig, open_services
from blindmatch_server.relay.store import RelayLimits
from msgspec import Struct
from server.designs_for_tests import ROLE, Dummy, Noting, opened_elsewhere
from server.scene import EPOCH

from support.forked import context
from support.held_source import HeldSource
from support.mortal import Arm, armed

START_SECONDS = 180.0


class Plan(Struct, frozen=True):
    """A server's life: its folder, its certificate, and where it dies."""

    folder: Path
    credentials: Credentials
    arm: Arm | None = None
    centre: CentreAddress | None = None

    @property
    def port_file(self) -> Path:
        return self.folder / "port"

    @property
    def noted(self) -> Path:
        """Names of the points that were reached."""
        return self.folder / "points"

    def serve(self, services: OpenServices) -> NoReturn:
        listen = Listen(self.credentials, port_file=self.port_file, sink=lambda line: None)
        raise SystemExit(serve("server", listen, services))


def centre_life(
    plan: Plan,
    openers: Mapping[str, OpenerFiles] | None = None,
    design: Dummy | None = None,
    limits: CentreLimits = CentreLimits(list_wait_seconds=START_SECONDS),  # noqa: B008 - frozen
) -> None:
    armed(plan.arm, plan.noted)
    config = CentreConfig(
        plan.folder / "state",
        plan.folder / "keys",
        Deployed(design or Dummy(), lambda: {EPOCH, 5}),
        plan.folder / "references.sqlite",
        openers or {},
        limits,
    )
    plan.serve(partial(open_centre, config))


def opening_life(plan: Plan) -> None:
    """A centre that opens vouchers too."""
    centre_life(plan, {"dummy": OpenerFiles(5, {"setup": b"setup of 5"})})


def noting_life(plan: Plan) -> None:
    """The same; the file `tried` has on how many vouchers each attempt was made."""
    design = Dummy()
    design.pile = Noting(plan.folder / "tried")
    centre_life(plan, {"dummy": OpenerFiles(5, {"setup": b"setup of 5"})}, design)


def unbounded_life(plan: Plan) -> None:
    """A centre whose opener is in a process of its own and may take all the work there is; the file `tried`
    has the process and account of each attempt."""
    in_worker = partial(opened_elsewhere, plan.folder / "tried")
    openers = {"dummy": OpenerFiles(5, {"setup": b"setup of 5"}, in_worker=in_worker)}
    centre_life(plan, openers, limits=CentreLimits(list_wait_seconds=0.1, most_opener_u=1 << 40))


def matcher_life(plan: Plan) -> None:
    armed(plan.arm, plan.noted)
    dummy = Dummy()
    source = HeldSource(dummy, 5, {"setup": b"x"}, {ROLE: {"key": b"key of 5"}})
    plan.serve(partial(open_matching, MatchingConfig(dummy, source, plan.folder / "matcher", plan.centre)))


def masked_life(plan: Plan) -> None:
    """A matcher whose accounts enrol."""
    from server.test_enrolments import MASKED, source

    armed(plan.arm, plan.noted)
    plan.serve(partial(open_matching, MatchingConfig(MASKED, source(1), plan.folder / "matcher")))


def relay_life(plan: Plan) -> None:
    """A relay that takes 2,000 bytes of attachments of an account."""
    armed(plan.arm, plan.noted)
    limits = RelayLimits(most_stored_bytes=2000)
    plan.serve(partial(open_services, RelayConfig(plan.folder / "relay", limits)))


@contextmanager
def living(life: Callable[[Any], None], plan: Plan, has_children: bool = False) -> Iterator[int | None]:
    """A server; yields its port, or None if it died before it took calls. It is killed at the end.
    `has_children`: it starts processes of its own, which a daemon may not."""
    plan.port_file.unlink(missing_ok=True)
    process = context().Process(target=life, args=(plan,), daemon=not has_children)
    process.start()
    try:
        yield _port(process, plan)
    finally:
        process.kill()
        process.join(10)


def _port(process: ForkServerProcess, plan: Plan) -> int | None:
    deadline = time.monotonic() + START_SECONDS
    while not plan.port_file.exists():
        if not process.is_alive():
            assert process.exitcode == -9, f"the server ended with {process.exitcode}"
            return None
        assert time.monotonic() < deadline, "the server did not start"
        time.sleep(0.01)
    return int(plan.port_file.read_text())
