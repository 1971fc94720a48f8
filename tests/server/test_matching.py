from __future__ import annotations

import asyncio
import hashlib
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Any, cast

import grpc
import pytest
from blindmatch_protocol.codec.errors import BlindmatchError
from blindmatch_protocol.codec.randomness import system_randomness
from blindmatch_protocol.contract import Party, SetParameters, batches_of
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as wire
from blindmatch_server.epochs.building import Publishing, publish_epoch
from blindmatch_server.epochs.signing import CuratorKey
from blindmatch_server.hosting import exit_codes
from blindmatch_server.hosting.limits import Rate
from blindmatch_server.hosting.serving import serve
from blindmatch_server.matching.answering import MatchingLimits
from blindmatch_server.matching.epochs import EpochSource, PublishedSource
from blindmatch_server.matching.ledger import MatcherStore
from blindmatch_server.matching.service import MatchingConfig, open_matching
from blindmatch_server.relay.service import RelayConfig, open_services
from blindmatch_server.storage.batching import FairQueue
from support.held_source import HeldSource
from support.signed import CURATOR, SIGNER

from .deployment import ALICE, BOB, Client, Deployment, refused, until
from .designs_for_tests import ROLE, Ask, Dummy, Told

STATUS = grpc.StatusCode
SETUP = bytes(range(256)) * 3000


def envelope(word: bytes = b"word", **changes: Any) -> wire.Envelope:
    values = {
        "design": "dummy",
        "version": 3,
        "epoch": 5,
        "role": "matcher",
        "body": Ask(word).encode(),
        "request_id": hashlib.sha256(word).digest()[:16],
    }
    return wire.Envelope(**{**values, **changes})


def stream(body: bytes, size: int | None = None, step: int = 500_000) -> list[wire.Envelope]:
    cuts = [body[at : at + step] for at in range(0, len(body), step)]
    first = envelope(body=cuts[0], body_size=len(body) if size is None else size)
    return [first, *(wire.Envelope(body=cut) for cut in cuts[1:])]


def matcher(
    directory: Path,
    design: Dummy | None = None,
    deployment: Deployment | None = None,
    source: EpochSource | None = None,
    **limits: Any,
) -> AbstractAsyncContextManager[tuple[Client, ...]]:
    """A matcher with the dummy design's first role, and two devices' clients."""
    design = design or Dummy()
    deployment = deployment or Deployment()
    held = HeldSource(design, 5, {"setup": SETUP}, {ROLE: {"key": b"key of 5"}})
    config = MatchingConfig(design, source or held, directory, None, MatchingLimits(**limits))
    return deployment.serving(Party.MATCHER, partial(open_matching, config), ALICE, BOB)


def publish(design: Dummy, folder: Path, epoch: int) -> None:
    import numpy as np

    entries = batches_of(np.zeros((1, 32), np.uint8), np.ones(1, np.uint64), np.ones((1, 16), np.uint8))
    publish_epoch(Publishing(design, folder, SIGNER), entries, SetParameters(epoch, {}), system_randomness())


async def test_a_body_is_answered_with_the_role_s_reply(tmp_path: Path) -> None:
    async with matcher(tmp_path) as (alice, _):
        reply = await alice.one("Matching/Exchange", envelope())
        assert Told.decode(reply.body).word == b"key of 5 word"
        assert (reply.design, reply.version, reply.epoch, reply.role) == ("dummy", 3, 5, "matcher")


async def test_a_body_over_four_mebibytes_goes_and_comes_in_parts(tmp_path: Path) -> None:
    async with matcher(tmp_path) as (alice, _):
        word = bytes(5 << 20)
        replies = await alice.all("Matching/ExchangeLarge", stream(Ask(word).encode()))
        assert Told.decode(b"".join(reply.body for reply in replies)).word == word
        assert replies[0].body_size == len(Told(word).encode())
        code, text, _ = await refused(alice.one("Matching/Exchange", envelope(bytes(1_000_000))))
        assert (code, "ExchangeLarge" in text) == (STATUS.FAILED_PRECONDITION, True)


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"design": "other"}, STATUS.UNIMPLEMENTED, "design"),
        ({"version": 2}, STATUS.UNIMPLEMENTED, "version"),
        ({"epoch": 4}, STATUS.FAILED_PRECONDITION, "epoch"),
        ({"role": "second"}, STATUS.NOT_FOUND, "role"),
        ({"body": b""}, STATUS.INVALID_ARGUMENT, "tag"),
        ({"body": Told(b"x").encode()}, STATUS.INVALID_ARGUMENT, "tag"),
        ({"body": Ask(b"x").encode() + b"!"}, STATUS.INVALID_ARGUMENT, "left over"),
        ({"body_size": 3}, STATUS.INVALID_ARGUMENT, "body_size"),
        ({"request_id": b""}, STATUS.INVALID_ARGUMENT, "request_id"),
        ({"request_id": bytes(17)}, STATUS.INVALID_ARGUMENT, "request_id"),
        ({"body": Ask(b"error").encode()}, STATUS.INVALID_ARGUMENT, "word"),
    ],
)
async def test_an_envelope_that_breaks_a_rule_is_refused_by_field(
    tmp_path: Path, changes: dict[str, Any], code: STATUS, field: str
) -> None:
    async with matcher(tmp_path) as (alice, _):
        got, text, _ = await refused(alice.one("Matching/Exchange", envelope(**changes)))
        assert got is code
        assert field in text


@pytest.mark.parametrize(
    ("parts", "rule"),
    [
        ([], "no part"),
        (stream(Ask(b"x").encode(), size=0), "1 to"),
        (stream(Ask(b"x").encode(), size=1 << 50), "1 to"),
        (stream(Ask(b"x").encode(), size=9), "truncated"),
        (stream(Ask(b"x").encode(), size=2), "more than"),
        ([*stream(Ask(b"x").encode(), size=8), envelope(b"y")], "only the first part"),
        ([*stream(Ask(b"x").encode(), size=8), wire.Envelope()], "must not be empty"),
    ],
)
async def test_parts_of_a_body_that_break_a_rule_are_refused(
    tmp_path: Path, parts: list[wire.Envelope], rule: str
) -> None:
    async with matcher(tmp_path) as (alice, _):
        code, text, _ = await refused(alice.all("Matching/ExchangeLarge", parts))
        assert code is STATUS.INVALID_ARGUMENT
        assert rule in text


@pytest.fixture
def queued(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Whose tasks came to a queue of a server, in their order."""
    came = list[str]()
    append = FairQueue.append

    def noted(queue: FairQueue[Any], account: str, task: Any) -> None:
        came.extend([account] if account else [])  # the ledger has a queue, too
        append(queue, account, task)

    monkeypatch.setattr(FairQueue, "append", noted)
    return came


async def test_bodies_that_come_while_the_server_is_busy_are_answered_together(
    tmp_path: Path, queued: list[str]
) -> None:
    design = Dummy()
    design.may_answer.clear()
    async with matcher(tmp_path, design, most_in_turn=64, most_at_work=64) as (alice, bob):
        clients = [alice, bob] * 10
        words = [b"%d" % number for number in range(20)]
        calls = [c.one("Matching/Exchange", envelope(w)) for c, w in zip(clients, words, strict=True)]
        asked = asyncio.gather(*calls)
        await until(lambda: len(queued) == 20)
        design.may_answer.set()
        assert [Told.decode(r.body).word for r in await asked] == [b"key of 5 " + word for word in words]
        assert sum(design.batches) == 20
        assert len(design.batches) <= 3


async def test_a_device_with_much_to_ask_has_turns_and_others_do_not_wait_for_it(
    tmp_path: Path, queued: list[str]
) -> None:
    design = Dummy()
    design.may_answer.clear()
    async with matcher(tmp_path, design, most_in_turn=64, most_at_work=2) as (alice, bob):
        many = [
            asyncio.ensure_future(alice.one("Matching/Exchange", envelope(b"%d" % number)))
            for number in range(20)
        ]
        await until(lambda: len(queued) == 2)  # two at work, and the others wait for a turn
        other = asyncio.ensure_future(bob.one("Matching/Exchange", envelope()))
        await until(lambda: "bob" in queued)
        design.may_answer.set()
        await asyncio.gather(other, *many)
        assert queued.index("bob") == 2 and design.words.index(b"word") <= 2
        assert max(design.batches) <= 3


async def test_a_body_that_crashes_the_design_fails_alone_and_says_nothing(
    tmp_path: Path, queued: list[str]
) -> None:
    design = Dummy()
    deployment = Deployment()
    design.may_answer.clear()
    async with matcher(tmp_path, design, deployment, most_in_turn=64) as (alice, _):
        words = [b"first", b"a", b"crash", b"b"]
        calls = [alice.one("Matching/Exchange", envelope(word)) for word in words]
        results = asyncio.gather(*calls, return_exceptions=True)
        await until(lambda: len(queued) == 4)
        design.may_answer.set()
        first, a, crash, b = cast(list[Any], await results)
        assert [Told.decode(r.body).word[9:] for r in (first, a, b)] == [b"first", b"a", b"b"]
        assert crash.code() is STATUS.INTERNAL
        assert "secret" not in crash.details() + "".join(deployment.lines)


async def test_the_rate_limit_is_each_device_s_own(tmp_path: Path) -> None:
    async with matcher(tmp_path, exchanges=Rate(0.001, 2)) as (alice, bob):
        for _ in range(2):
            await alice.one("Matching/Exchange", envelope())
        code, _, trailing = await refused(alice.one("Matching/Exchange", envelope()))
        assert code is STATUS.RESOURCE_EXHAUSTED
        assert 0 < int(trailing["retry-after-ms"]) <= 1_000_001
        await bob.one("Matching/Exchange", envelope())


async def test_set_up_files_can_be_fetched_from_any_offset(tmp_path: Path) -> None:
    async with matcher(tmp_path) as (alice, _):
        description = await alice.one("Matching/Describe", wire.DescribeRequest())
        (file,) = description.setup
        assert (description.epoch, list(description.roles)) == (5, ["matcher"])
        assert (file.size, file.sha256) == (len(SETUP), hashlib.sha256(SETUP).digest())
        for offset in (0, 1, 300_000, len(SETUP)):
            request = wire.SetupRequest(epoch=5, name="setup", offset=offset)
            parts = await alice.all("Matching/FetchSetup", request)
            assert b"".join(part.data for part in parts) == SETUP[offset:]
            assert [part.size for part in parts][:1] == [len(SETUP)]
            assert not any(part.size for part in parts[1:])
            assert max(len(part.data) for part in parts) <= 256 << 10


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (wire.SetupRequest(epoch=4, name="setup"), STATUS.FAILED_PRECONDITION),
        (wire.SetupRequest(epoch=5, name="key"), STATUS.NOT_FOUND),
        (wire.SetupRequest(epoch=5, name="../setup"), STATUS.NOT_FOUND),
        (wire.SetupRequest(epoch=5, name="setup", offset=len(SETUP) + 1), STATUS.OUT_OF_RANGE),
    ],
)
async def test_what_is_not_a_set_up_file_cannot_be_fetched(
    tmp_path: Path, request_: wire.SetupRequest, code: STATUS
) -> None:
    async with matcher(tmp_path) as (alice, _):
        assert (await refused(alice.all("Matching/FetchSetup", request_)))[0] is code


async def test_what_the_server_learns_is_on_disk_before_it_answers(tmp_path: Path) -> None:
    deployment = Deployment(clock=lambda: 1_790_000_000.5)
    async with matcher(tmp_path, deployment=deployment) as (alice, bob):
        await alice.one("Matching/Exchange", envelope(b"hit"))
        await bob.one("Matching/Exchange", envelope(b"miss"))
    ledger = MatcherStore(tmp_path / "ledger.sqlite")
    assert await ledger.verdicts() == [
        ("alice", 1_790_000_000_500, True),
        ("bob", 1_790_000_000_500, False),
    ]
    await ledger.close()


async def test_a_new_epoch_is_served_once_it_is_open_and_a_damaged_one_is_not(tmp_path: Path) -> None:
    design = Dummy()
    folder = tmp_path / "set"
    publish(design, folder, 1)

    async def epoch(alice: Client) -> int:
        return int((await alice.one("Matching/Describe", wire.DescribeRequest())).epoch)

    def damaged() -> None:
        publish(design, tmp_path / "other", 3)
        target = folder / "3"
        (tmp_path / "other" / "3").rename(target)
        (target / "key").chmod(0o600)
        (target / "key").write_bytes(b"key of 4")
        (folder / "current").write_text("3\n")

    source = PublishedSource(design, folder, Party.MATCHER, CURATOR.public)
    deployment = Deployment()
    async with matcher(tmp_path, design, deployment, source, poll_seconds=0.05) as (alice, _):
        reply = await alice.one("Matching/Exchange", envelope(epoch=1))
        assert Told.decode(reply.body).word == b"key of 1 word"
        await asyncio.to_thread(publish, design, folder, 2)
        await until(lambda: bool(deployment.events("epoch")))
        assert await epoch(alice) == 2
        code, text, _ = await refused(alice.one("Matching/Exchange", envelope(epoch=1)))
        assert (code, "epoch" in text) == (STATUS.FAILED_PRECONDITION, True)
        await asyncio.to_thread(damaged)
        await until(lambda: bool(deployment.events("epoch-refused")))
        assert await epoch(alice) == 2


async def test_a_relay_hosts_the_roles_that_the_provider_plays(tmp_path: Path) -> None:
    deployment = Deployment()
    design = Dummy()
    source = HeldSource(design, 5, {"setup": SETUP}, {ROLE: {"key": b"key of 5"}})
    matching = MatchingConfig(design, source, tmp_path / "matching")
    config = RelayConfig(tmp_path / "relay", matching=matching)
    async with deployment.serving(Party.PROVIDER, partial(open_services, config), ALICE) as (alice,):
        reply = await alice.one("Matching/Exchange", envelope())
        assert Told.decode(reply.body).word == b"key of 5 word"
        assert await alice.all("Relay/Receive", wire.ReceiveRequest()) == []


@pytest.mark.parametrize("damage", ["missing", "truncated", "altered", "other design", "other curator"])
def test_a_bad_set_stops_the_matcher_with_an_exit_code_of_its_own(tmp_path: Path, damage: str) -> None:
    design = Dummy()
    folder = tmp_path / "set"
    if damage != "missing":
        publish(design, folder, 1)
    key = folder / "1" / "key"
    if damage in {"truncated", "altered"}:
        key.chmod(0o600)
        key.write_bytes(b"key of" if damage == "truncated" else b"key of 9")
    if damage == "other design":
        design = Dummy()
        design.info = design.info.__class__(  # type: ignore[misc]
            **{**{s: getattr(design.info, s) for s in design.info.__slots__}, "version": 9}
        )
    deployment = Deployment()
    curator = CURATOR.public if damage != "other curator" else CuratorKey.generate().public
    source = PublishedSource(design, folder, Party.MATCHER, curator)
    with pytest.raises(BlindmatchError, match="signed by the curator" if damage == "other curator" else None):
        source.open()
    services = partial(open_matching, MatchingConfig(design, source, tmp_path / "m"))
    assert serve("matcher", deployment.listen(Party.MATCHER), services) == exit_codes.BAD_STATE
    assert deployment.events("stopped")
