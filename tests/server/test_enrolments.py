"""What a role holds of an account: whole or not at all, on disk, of that account alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import cache, partial
from hashlib import sha256
from pathlib import Path
from threading import Barrier
from typing import Any

import grpc
import numpy as np
import pytest
from blindmatch_protocol.codec.randomness import seeded
from blindmatch_protocol.contract import Party, SetParameters, batches_of
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as wire
from blindmatch_protocol.sets.plain_list import LIST_FILE
from blindmatch_server.matching import enrolments
from blindmatch_server.matching.answering import MatchingLimits
from blindmatch_server.matching.epochs import EpochSource, OpenEpoch
from blindmatch_server.matching.service import MatchingConfig, open_matching
from dummy_designs import MASKED, MATCHER, AskMasked, Masked, Masking, Unmasked
from msgspec.structs import replace
from support.held_source import HeldSource
from support.memory import MemoryWorkspace, random_hashes
from support.mortal import Arm
from support.mortal_servers import Plan, living, masked_life

from .deployment import ALICE, BOB, SECONDS, Client, Deployment, refused, run, until

STATUS = grpc.StatusCode
HASHES = random_hashes(20)


@cache
def source(epoch: int, design: Masked = MASKED) -> HeldSource:
    out = MemoryWorkspace()
    n = len(HASHES)
    entries = batches_of(HASHES, np.arange(1, n + 1, dtype=np.uint64), np.ones((n, 16), np.uint8))
    made = design.publish(entries, SetParameters(epoch, {}), seeded("publish"), None, out)
    files = out.files()
    setup = {name: files[name] for name in made.setup}
    return HeldSource(design, epoch, setup, {MATCHER: {LIST_FILE: files[LIST_FILE]}})


def matcher(
    directory: Path, epoch: int | EpochSource = 1, **limits: Any
) -> AbstractAsyncContextManager[tuple[Client, ...]]:
    deployment = Deployment()
    epochs = source(epoch) if isinstance(epoch, int) else epoch
    config = MatchingConfig(MASKED, epochs, directory, None, MatchingLimits(**limits))
    return deployment.serving(Party.MATCHER, partial(open_matching, config), ALICE, BOB)


def masking(seed: str = "alice", size: int = 3 << 20) -> bytes:
    return Masking(seeded(seed).take(32), bytes(size)).encode()


def head(body: bytes, epoch: int = 1, **changes: Any) -> wire.EnrolmentHead:
    made = wire.EnrolmentHead(
        design="dummy-masked",
        version=1,
        role="matcher",
        key=MASKED.enrolment_key(epoch),
        size=len(body),
        sha256=sha256(body).digest(),
    )
    made.MergeFrom(wire.EnrolmentHead(**changes))
    return made


def parts(body: bytes, offset: int = 0, stop: int | None = None, **changes: Any) -> list[wire.EnrolPart]:
    cuts = [
        body[at : min(at + 500_000, stop or len(body))] for at in range(offset, stop or len(body), 500_000)
    ]
    first = wire.EnrolPart(head=head(body, **changes), offset=offset, data=cuts[0] if cuts else b"")
    return [first, *(wire.EnrolPart(data=cut) for cut in cuts[1:])]


async def ask(client: Client, seed: str = "alice", epoch: int = 1) -> Unmasked:
    mask = seeded(seed).take(32)
    hash_ = HASHES[3].tobytes()
    body = AskMasked(bytes(a ^ b for a, b in zip(mask, hash_, strict=True)), 100).encode()
    envelope = wire.Envelope(design="dummy-masked", version=1, epoch=epoch, role="matcher", body=body)
    return Unmasked.decode((await client.one("Matching/Exchange", envelope)).body)


async def test_what_was_acknowledged_is_held_after_a_restart_and_handed_to_the_design(tmp_path: Path) -> None:
    body = masking()
    async with matcher(tmp_path) as (alice, _):
        code, text, _ = await refused(ask(alice))
        assert (code, "must enrol first" in text) == (STATUS.FAILED_PRECONDITION, True)
        held = await alice.one("Matching/Enrol", parts(body))
        assert (held.size, held.sha256) == (len(body), sha256(body).digest())
    async with matcher(tmp_path) as (alice, bob):
        assert (await ask(alice)).label.entry_id == 4
        assert (await alice.one("Matching/Enrolled", head(body))).sha256 == held.sha256
        # another account neither sees nor replaces it
        assert await bob.one("Matching/Enrolled", head(body)) == wire.Held()
        await bob.one("Matching/Enrol", parts(masking("bob")))
        assert (await ask(alice)).label.entry_id == (await ask(bob, "bob")).label.entry_id == 4


async def test_an_upload_goes_on_where_it_stopped_and_another_takes_its_place(tmp_path: Path) -> None:
    body = masking()
    other = masking("other")
    async with matcher(tmp_path) as (alice, _):
        code, text, _ = await refused(alice.one("Matching/Enrol", parts(body, 0, 1_000_000)))
        assert (code, "truncated" in text) == (STATUS.INVALID_ARGUMENT, True)
        received = (await alice.one("Matching/Enrolled", head(body))).received
        assert received == 1_000_000
        code, text, _ = await refused(alice.one("Matching/Enrol", parts(body, 999_999, 1_000_000)))
        assert (code, "1000000" in text) == (STATUS.OUT_OF_RANGE, True)
        await alice.one("Matching/Enrol", parts(body, received))
        assert (await ask(alice)).label.entry_id == 4
        await alice.one("Matching/Enrol", parts(other))
        assert (await ask(alice, "other")).label.entry_id == 4
        assert len(list((tmp_path / "enrolments").iterdir())) == 1


@pytest.mark.parametrize(
    ("body", "changes", "code", "words"),
    [
        (masking(), {"design": "other"}, STATUS.UNIMPLEMENTED, "design"),
        (masking(), {"role": "other"}, STATUS.NOT_FOUND, "role"),
        (masking(), {"key": b"another"}, STATUS.FAILED_PRECONDITION, "key"),
        (masking(), {"sha256": bytes(32)}, STATUS.INVALID_ARGUMENT, "sha256"),
        (masking(), {"sha256": bytes(31)}, STATUS.INVALID_ARGUMENT, "sha256"),
        (masking(), {"size": 5 << 20}, STATUS.INVALID_ARGUMENT, "size"),
        (b"no message", {}, STATUS.INVALID_ARGUMENT, "enrolment"),
    ],
)
async def test_what_does_not_fit_is_refused_and_nothing_of_it_is_held(
    tmp_path: Path, body: bytes, changes: dict[str, Any], code: grpc.StatusCode, words: str
) -> None:
    async with matcher(tmp_path, most_enrolment_bytes=4 << 20) as (alice, _):
        # a call that ends while parts are under way has no status that a test could rely on
        at_once = parts(body, **changes) if changes == {"sha256": bytes(32)} else parts(body, **changes)[:1]
        found, text, _ = await refused(alice.one("Matching/Enrol", at_once))
        assert (found, words in text) == (code, True), text
        assert await alice.one("Matching/Enrolled", head(body)) == wire.Held()
        assert not list((tmp_path / "enrolments").glob("*"))


async def test_a_new_key_lets_the_role_forget(tmp_path: Path) -> None:
    async with matcher(tmp_path) as (alice, _):
        await alice.one("Matching/Enrol", parts(masking()))
    async with matcher(tmp_path, 10) as (alice, _):
        assert (await refused(ask(alice, epoch=10)))[0] is STATUS.FAILED_PRECONDITION
        assert not list((tmp_path / "enrolments").iterdir())


@dataclass
class Switched:
    """Another epoch once `number` changes."""

    number: int = 1

    def version(self) -> int:
        return self.number

    def open(self) -> OpenEpoch:
        return source(self.number).open()


def coming(directory: Path) -> int:
    """How many bodies are on their way to a matcher, whose epoch is that in which they began."""
    held = Path("/proc/self/fd").iterdir()
    return sum(one.exists() and str(one.readlink()).startswith(f"{directory}/incoming") for one in held)


async def switch(epochs: Switched, client: Client) -> None:
    """Wait until epoch 10, which has another key, is in force."""
    epochs.number = 10
    while (await client.one("Matching/Describe", wire.DescribeRequest())).epoch != 10:  # noqa: ASYNC110
        await asyncio.sleep(0.05)


async def test_a_call_of_the_epoch_before_takes_nothing_from_those_enrolled_since(
    tmp_path: Path,
) -> None:
    epochs = Switched()
    switched = asyncio.Event()
    old = wire.Envelope(design="dummy-masked", version=1, epoch=1, role="matcher", body_size=2, body=b"a")

    async def held_open() -> AsyncIterator[wire.Envelope]:
        yield old
        await switched.wait()
        yield wire.Envelope(body=b"b")

    async with matcher(tmp_path, epochs, poll_seconds=0.05) as (alice, bob):

        async def answer() -> None:
            call: Any = bob.channel.stream_stream(
                "/blindmatch.v1.Matching/ExchangeLarge", wire.Envelope.SerializeToString
            )
            async for _ in call(held_open(), timeout=SECONDS):
                pass

        await bob.one("Matching/Enrol", parts(masking("bob")))
        late = asyncio.ensure_future(refused(answer()))
        await until(lambda: coming(tmp_path) == 1)
        await switch(epochs, alice)
        await alice.one("Matching/Enrol", parts(masking(), epoch=10))
        switched.set()
        await late
        assert (await ask(alice, epoch=10)).label.entry_id == 4


async def test_an_upload_during_which_the_key_changes_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    epochs = Switched()
    switched = asyncio.Event()
    body = masking()

    async def held_open() -> AsyncIterator[wire.EnrolPart]:
        first, *rest = parts(body)
        yield first
        await switched.wait()
        for part in rest:
            yield part

    async with matcher(tmp_path, epochs, poll_seconds=0.05) as (alice, bob):
        call: Any = alice.channel.stream_unary(
            "/blindmatch.v1.Matching/Enrol", wire.EnrolPart.SerializeToString
        )
        late = asyncio.ensure_future(refused(call(held_open(), timeout=SECONDS)))
        await until(lambda: any((tmp_path / "enrolments").glob("*.part")))
        await switch(epochs, alice)
        await bob.one("Matching/Enrol", parts(masking("bob"), epoch=10))
        switched.set()
        code, text, _ = await late
        assert (code, "key" in text) == (STATUS.FAILED_PRECONDITION, True), (code, text)
        assert (await ask(bob, "bob", 10)).label.entry_id == 4
        assert len(list((tmp_path / "enrolments").iterdir())) == 1


async def test_an_upload_that_a_call_which_was_cut_off_still_finishes_is_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The device asks again while the thread of its first call is at work: both come to rename the file."""
    body = masking()
    both = Barrier(2, timeout=SECONDS)
    monkeypatch.setattr(enrolments, "reach", lambda point: point.endswith(".before") and both.wait())
    kept = enrolments.Enrolments(MASKED, tmp_path, 4 << 20)

    async def cut_off() -> AsyncIterator[bytes]:
        yield body
        raise ConnectionError

    async def nothing() -> AsyncIterator[bytes]:
        for piece in ():
            yield piece

    with pytest.raises(ConnectionError):
        await kept.take(head(body), "alice", 0, cut_off())
    calls = [kept.take(head(body), "alice", len(body), nothing()) for _ in range(2)]
    held = wire.Held(size=len(body), sha256=sha256(body).digest())
    assert await asyncio.gather(*calls) == [held, held]


async def test_a_body_of_the_epoch_before_is_not_paired_with_what_was_enrolled_since(tmp_path: Path) -> None:
    """Under the key before it would come to another picture, or to none, without anybody being told."""
    epochs = Switched()
    switched = asyncio.Event()
    hidden = bytes(a ^ b for a, b in zip(seeded("old").take(32), HASHES[3].tobytes(), strict=True))
    body = AskMasked(hidden, 100).encode()
    old = wire.Envelope(design="dummy-masked", version=1, epoch=1, role="matcher", body_size=len(body))

    async def held_open() -> AsyncIterator[wire.Envelope]:
        old.body = body[:4]
        yield old
        await switched.wait()
        yield wire.Envelope(body=body[4:])

    async with matcher(tmp_path, epochs, poll_seconds=0.05) as (alice, _):
        await alice.one("Matching/Enrol", parts(masking("old")))
        call: Any = alice.channel.stream_stream(
            "/blindmatch.v1.Matching/ExchangeLarge", wire.Envelope.SerializeToString
        )

        async def answer() -> None:
            async for _ in call(held_open(), timeout=SECONDS):
                pass

        late = asyncio.ensure_future(refused(answer()))
        await until(lambda: coming(tmp_path) == 1)
        await switch(epochs, alice)
        await alice.one("Matching/Enrol", parts(masking("new"), epoch=10))
        switched.set()
        code, text, _ = await late
        assert (code, "must enrol first" in text) == (STATUS.FAILED_PRECONDITION, True), (code, text)


@pytest.mark.slow
@pytest.mark.parametrize("point", ["enrolment.rename.before", "enrolment.rename.after"])
def test_a_kill_leaves_a_whole_enrolment_or_one_that_goes_on(tmp_path: Path, point: str) -> None:
    deployment = Deployment()
    body = masking()
    credentials = deployment.listen(Party.MATCHER).credentials
    plan = Plan(tmp_path, credentials)

    async def first(port: int) -> None:
        async with deployment.client(ALICE, Party.MATCHER, port) as alice:
            assert (await refused(alice.one("Matching/Enrol", parts(body))))[0] is STATUS.UNAVAILABLE

    async def then(port: int) -> None:
        async with deployment.client(ALICE, Party.MATCHER, port) as alice:
            held = await alice.one("Matching/Enrolled", head(body))
            if held.size == 0:
                await alice.one("Matching/Enrol", parts(body, held.received))
            assert (await ask(alice)).label.entry_id == 4

    with living(masked_life, replace(plan, arm=Arm(point))) as port:
        assert port is not None
        run(first(port))
    with living(masked_life, plan) as port:
        assert port is not None
        run(then(port))
