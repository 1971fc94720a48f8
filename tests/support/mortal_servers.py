"""A centre, a matcher and a relay as processes of their own that a test kills with SIGKILL at a failpoint."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Any

from blindmatch_server.authority import Credentials
from blindmatch_server.centre.deployed import Deployed
from blindmatch_server.centre.server import CentreConfig, serve_centre
from blindmatch_server.centre.vouchers import OpenerFiles
from blindmatch_server.matching.epochs import HeldSource
from blindmatch_server.matching.filing import CentreAddress
from blindmatch_server.matching.server import MatcherConfig, MatchingConfig, serve_matcher
from blindmatch_server.relay.limits import RelayLimits
from blindmatch_server.relay.server import RelayConfig, serve_relay
from blindmatch_server.serving import Listen
from server.designs_for_tests import ROLE, Dummy
from server.scene import EPOCH

from support.mortal import Arm, armed

START_SECONDS = 60.0


@dataclass(frozen=True)
class Plan:
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

    def listen(self) -> Listen:
        return Listen(self.credentials, port_file=self.port_file, sink=lambda line: None)


def centre_life(plan: Plan, openers: Mapping[str, OpenerFiles] | None = None) -> None:
    armed(plan.arm, plan.noted)
    config = CentreConfig(
        plan.listen(),
        plan.folder / "state",
        plan.folder / "keys",
        Deployed(Dummy(), lambda: {EPOCH, 5}),
        plan.folder / "references.sqlite",
        openers or {},
    )
    raise SystemExit(serve_centre(config))


def opening_life(plan: Plan) -> None:
    """A centre that opens vouchers too."""
    centre_life(plan, {"dummy": OpenerFiles(5, {})})


def matcher_life(plan: Plan) -> None:
    armed(plan.arm, plan.noted)
    dummy = Dummy()
    source = HeldSource(dummy, 5, {"setup": b"x"}, {ROLE: {"key": b"key of 5"}})
    matching = MatchingConfig(dummy, source, plan.folder / "matcher", plan.centre)
    raise SystemExit(serve_matcher(MatcherConfig(plan.listen(), matching)))


def masked_life(plan: Plan) -> None:
    """A matcher whose accounts enrol."""
    from server.test_enrolments import MASKED, source

    armed(plan.arm, plan.noted)
    matching = MatchingConfig(MASKED, source(1), plan.folder / "matcher")
    raise SystemExit(serve_matcher(MatcherConfig(plan.listen(), matching)))


def relay_life(plan: Plan) -> None:
    """A relay that takes 2,000 bytes of attachments of an account."""
    armed(plan.arm, plan.noted)
    limits = RelayLimits(most_stored_bytes=2000)
    raise SystemExit(serve_relay(RelayConfig(plan.listen(), plan.folder / "relay", limits)))


def context() -> ForkServerContext:
    """Where processes are forked from."""
    made = multiprocessing.get_context("forkserver")
    made.set_forkserver_preload(["support.mortal_servers"])
    return made


@contextmanager
def living(life: Callable[[Any], None], plan: Plan) -> Iterator[int | None]:
    """A server; yields its port, or None if it died before it took calls. It is killed at the end."""
    plan.port_file.unlink(missing_ok=True)
    process = context().Process(target=life, args=(plan,), daemon=True)
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
