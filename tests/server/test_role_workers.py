"""Roles in worker processes: the same answers, and nothing of a worker's death or errors beyond a status."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import grpc
from blindmatch_protocol.codec.errors import EpochMismatchError
from blindmatch_protocol.codec.randomness import seeded
from blindmatch_protocol.contract import Party
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as wire
from blindmatch_server.hosting.workers import Workers
from blindmatch_server.matching.enrolments import NotEnrolledError
from blindmatch_server.matching.service import MatchingConfig, open_matching
from dummy_designs import IN_PROCESSES, AskMasked, Unmasked, in_processes
from support.dying import end_by_themselves, is_running, left_by
from support.row_functions import given

from .deployment import ALICE, Client, Deployment, refused
from .test_enrolments import HASHES, head, masking, parts, source

STATUS = grpc.StatusCode
NAME = IN_PROCESSES.info.name
TESTS = Path(__file__).parent.parent


@asynccontextmanager
async def matcher(directory: Path, deployment: Deployment) -> AsyncIterator[Client]:
    config = MatchingConfig(IN_PROCESSES, source(1, IN_PROCESSES), directory, load=in_processes)
    services = partial(open_matching, config)
    async with deployment.serving(Party.MATCHER, services, ALICE) as (alice,):
        body = masking()
        first, *rest = parts(body)
        first.head.design = NAME
        await alice.one("Matching/Enrol", [first, *rest])
        assert (await alice.one("Matching/Enrolled", head(body, design=NAME))).size == len(body)
        yield alice


async def ask(client: Client, quality: int = 100) -> Any:
    mask = seeded("alice").take(32)
    hash_ = HASHES[3].tobytes()
    body = AskMasked(bytes(a ^ b for a, b in zip(mask, hash_, strict=True)), quality).encode()
    return await raw(client, body)


async def raw(client: Client, body: bytes) -> Any:
    envelope = wire.Envelope(design=NAME, version=1, epoch=1, role="matcher", body=body)
    return Unmasked.decode((await client.one("Matching/Exchange", envelope, 60.0)).body).label


async def test_workers_answer_with_the_enrolment_and_are_replaced_when_they_die(tmp_path: Path) -> None:
    deployment = Deployment()
    async with matcher(tmp_path, deployment) as alice:
        assert (await ask(alice)).entry_id == 4
        (first,) = {label.entry_id for label in [await ask(alice, IN_PROCESSES.WHOSE)]}
        assert first != os.getpid() and is_running(first)
        code, _, _ = await refused(raw(alice, b"no message"))
        assert code is STATUS.INVALID_ARGUMENT
        code, text, _ = await refused(ask(alice, IN_PROCESSES.FAIL))
        assert (code, "internal error" in text) == (STATUS.INTERNAL, True)
        code, text, _ = await refused(ask(alice, IN_PROCESSES.DIE))
        assert (code, "try again" in text) == (STATUS.UNAVAILABLE, True)
        # what waits beside it is answered by new processes, and so is the next one
        each = [ask(alice, quality) for quality in (100, IN_PROCESSES.DIE, 100, 100)]
        done = await asyncio.gather(*each, return_exceptions=True)
        assert [isinstance(one, BaseException) or one.entry_id for one in done] == [4, True, 4, 4]
        assert (await ask(alice)).entry_id == 4
        last = (await ask(alice, IN_PROCESSES.WHOSE)).entry_id
        assert is_running(last)
    assert not is_running(last)
    secret = bytes(a ^ b for a, b in zip(seeded("alice").take(32), HASHES[3].tobytes(), strict=True)).hex()
    assert secret not in json.dumps(deployment.lines)


def test_workers_end_when_the_program_is_killed() -> None:
    pids = left_by(
        "from blindmatch_server.hosting.workers import Workers; import os\n"
        "workers = Workers(2); workers.result(workers.submit(os.getpid)); print(*workers.pids, flush=True)"
    )
    assert pids and end_by_themselves(pids)


def test_errors_of_a_role_come_back_from_a_worker_as_they_are() -> None:
    workers = Workers(1)
    try:
        for error in (EpochMismatchError("step", "rule", "field"), NotEnrolledError()):
            found = workers.result(workers.submit(given, error))
            assert (type(found), str(found)) == (type(error), str(error))
    finally:
        workers.end()
