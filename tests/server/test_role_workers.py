"""Roles in worker processes: the same answers, and nothing of a worker's death or errors beyond a status."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
from blindmatch_protocol.contract import Party
from blindmatch_protocol.errors import EpochMismatchError
from blindmatch_protocol.randomness import seeded
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as wire
from blindmatch_server.matching.enrolments import NotEnrolledError
from blindmatch_server.matching.server import MatchingConfig, open_matching
from blindmatch_server.workers import Workers
from enrolling_designs import IN_PROCESSES, AskMasked, Unmasked, in_processes

from .deployment import ALICE, Client, Deployment, fixed, refused
from .test_crew import is_running
from .test_enrolments import HASHES, head, masking, parts, source

STATUS = grpc.StatusCode
NAME = IN_PROCESSES.info.name
TESTS = Path(__file__).parent.parent


@asynccontextmanager
async def matcher(directory: Path, deployment: Deployment) -> AsyncIterator[Client]:
    config = MatchingConfig(IN_PROCESSES, source(1, IN_PROCESSES), directory, load=in_processes)
    services = fixed(lambda desk: open_matching(config, desk), lambda opened: [opened])
    async with (
        deployment.server(Party.MATCHER, services) as port,
        deployment.client(ALICE, Party.MATCHER, port) as alice,
    ):
        body = masking()
        first, *rest = parts(body)
        first.head.design = NAME
        await alice.one("Matching/Enrol", [first, *rest])
        assert (await alice.one("Matching/Enrolled", head(body, design=NAME))).size == len(body)
        yield alice


async def ask(client: Client, quality: int = 100) -> Any:
    mask, hash_ = seeded("alice").take(32), HASHES[3].tobytes()
    body = AskMasked(bytes(a ^ b for a, b in zip(mask, hash_, strict=True)), quality).encode()
    return await raw(client, body)


async def raw(client: Client, body: bytes) -> Any:
    envelope = wire.Envelope(design=NAME, version=1, epoch=1, role="matcher", body=body)
    return Unmasked.decode((await client.one("Matching/Exchange", envelope, 60.0)).body).label


def test_workers_answer_with_the_enrolment_and_are_replaced_when_they_die(tmp_path: Path) -> None:
    deployment = Deployment()

    async def test() -> None:
        async with matcher(tmp_path, deployment) as alice:
            assert (await ask(alice)).entry_id == 3
            (first,) = {label.entry_id for label in [await ask(alice, IN_PROCESSES.WHOSE)]}
            assert first != os.getpid() and is_running(first)
            code, _, _ = await refused(raw(alice, b"no message"))
            assert code is STATUS.INVALID_ARGUMENT
            code, text, _ = await refused(ask(alice, IN_PROCESSES.FAIL))
            assert (code, "internal error" in text) == (STATUS.INTERNAL, True)
            code, text, _ = await refused(ask(alice, IN_PROCESSES.DIE))
            assert (code, "try again" in text) == (STATUS.UNAVAILABLE, True)
            # the next one is answered by new processes
            assert (await ask(alice)).entry_id == 3
            last = (await ask(alice, IN_PROCESSES.WHOSE)).entry_id
            assert is_running(last)
        assert not is_running(last)

    asyncio.run(asyncio.wait_for(test(), 120))
    secret = bytes(a ^ b for a, b in zip(seeded("alice").take(32), HASHES[3].tobytes(), strict=True)).hex()
    assert secret not in json.dumps(deployment.lines)


def test_workers_end_when_the_program_is_killed() -> None:
    script = (
        "from blindmatch_server.workers import Workers; import os, signal\n"
        "workers = Workers(2); workers.result(workers.submit(os.getpid))\n"
        "print(*workers.pids, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    pids, until = [int(word) for word in done.stdout.split()], time.monotonic() + 30
    while any(map(is_running, pids)) and time.monotonic() < until:
        time.sleep(0.05)
    assert pids and not any(map(is_running, pids))


def test_errors_of_a_role_come_back_from_a_worker_as_they_are() -> None:
    workers = Workers(1)
    try:
        for error in (EpochMismatchError("step", "rule", "field"), NotEnrolledError()):
            found = workers.result(workers.submit(_given, error))
            assert (type(found), str(found)) == (type(error), str(error))
    finally:
        workers.end()


def _given(error: Exception) -> Exception:
    return error
