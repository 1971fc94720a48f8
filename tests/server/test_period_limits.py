"""What an account may have in a day and a year, whatever the key: the ledger, and a server of slot-psi."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing
from functools import partial
from pathlib import Path

import grpc
import pytest
from blindmatch_protocol.codec.randomness import seeded
from blindmatch_protocol.contract import UNBOUND, KeyLimits, Party, PeriodLimit, Send
from blindmatch_protocol.designs.slot_psi.design import DESIGN
from blindmatch_protocol.designs.voprf.layout import MATCHER
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as wire
from blindmatch_server.hosting.event_log import EventLog
from blindmatch_server.matching.ledger import Budget, MatcherStore, divide_limits, has_room
from blindmatch_server.matching.service import MatchingConfig, open_matching
from blindmatch_server.storage.errors import QuotaError
from support.held_source import HeldSource
from support.memory import build, random_hashes
from support.voprf_world import Picture

from .deployment import ALICE, BOB, Deployment, refused

DAY = 86_400
YEAR = 365 * 86_400
LIMITS = KeyLimits(b"key", 4, periods=(PeriodLimit(DAY, 8), PeriodLimit(YEAR, 13)), counted_as=b"list")


class Asked:
    """A budget, and its clock."""

    def __init__(self, store: MatcherStore, parts: int = 1) -> None:
        self.now = 1_000.0 * YEAR
        self.budget = Budget(store, lambda: self.now, EventLog("matcher", lambda line: None), parts)

    async def is_answered(self, account: str = "alice", limits: KeyLimits = LIMITS) -> str:
        """Ask for a body; an empty text if it is answered, else why not."""
        try:
            await self.budget.check(account, limits)
            await self.budget.spend(account, limits)
        except QuotaError as error:
            return str(error)
        return ""


@asynccontextmanager
async def asking(path: Path, parts: int = 1) -> AsyncIterator[Asked]:
    store = MatcherStore(path / "ledger.sqlite")
    yield Asked(store, parts)
    await store.close()


def rows(path: Path) -> list[tuple[str, int]]:
    with closing(sqlite3.connect(path / "ledger.sqlite")) as database:
        return sorted(database.execute("SELECT account, evaluations FROM spent WHERE length(key) > 8"))


async def test_an_account_gets_no_more_in_a_day_and_no_more_in_a_year_and_others_get_theirs(
    tmp_path: Path,
) -> None:
    async with asking(tmp_path) as asked:
        assert [bool(await asked.is_answered()) for _ in range(3)] == [False, False, True]
        assert "has used 8 of the 8 evaluations allowed in a day" in await asked.is_answered()
        assert not await asked.is_answered("bob")
        asked.now += DAY
        assert not await asked.is_answered()
        # twelve of thirteen are used, and a body takes four
        assert "has used 12 of the 13 evaluations allowed in 365 days" in await asked.is_answered()
        asked.now += YEAR
        assert not await asked.is_answered()


async def test_periods_are_counted_over_keys_that_share_a_name_and_apart_without_one(tmp_path: Path) -> None:
    other = KeyLimits(b"other", 4, periods=LIMITS.periods, counted_as=b"list")
    alone = KeyLimits(b"other", 4, periods=LIMITS.periods)
    async with asking(tmp_path) as asked:
        assert not await asked.is_answered() and not await asked.is_answered()
        assert await asked.is_answered(limits=other)
        assert not await asked.is_answered(limits=alone)


async def test_a_clock_that_goes_on_a_day_and_back_gives_the_day_again_and_never_the_year(
    tmp_path: Path,
) -> None:
    async with asking(tmp_path) as asked:
        assert [bool(await asked.is_answered()) for _ in range(3)] == [False, False, True]
        asked.now += DAY
        assert not await asked.is_answered("bob")
        asked.now -= DAY
        assert not await asked.is_answered(), "bob's count of the next day removed alice's of this one"
        assert "evaluations allowed in 365 days" in await asked.is_answered()


async def test_counts_of_periods_that_are_over_are_removed(tmp_path: Path) -> None:
    async with asking(tmp_path) as asked:
        for _ in range(3):
            assert not await asked.is_answered()
            asked.now += DAY
    # the last day's and the year's
    assert rows(tmp_path) == [("alice", 4), ("alice", 12)]


async def test_a_server_with_a_part_of_the_limits_grants_its_part(tmp_path: Path) -> None:
    assert [it.evaluations for it in divide_limits(LIMITS, 2).periods] == [4, 6]
    assert has_room(divide_limits(LIMITS, 2)) and not has_room(divide_limits(LIMITS, 4))
    async with asking(tmp_path, parts=2) as asked:
        assert not await asked.is_answered()
        assert "4 of the 4 evaluations allowed in a day" in await asked.is_answered()


def envelope(setup_files: Mapping[str, bytes], seed: str) -> wire.Envelope:
    """A device's first question."""
    setup = DESIGN.open_setup(setup_files)
    rng = seeded(seed)
    begun = DESIGN.start(DESIGN.enrol(rng), setup, Picture(random_hashes(1)[0].tobytes()), UNBOUND, rng)
    assert isinstance(begun.step, Send)
    head = wire.Envelope(design=DESIGN.info.name, version=DESIGN.info.version, epoch=1, role=MATCHER)
    head.body = begun.step.bodies[MATCHER].encode()
    return head


@pytest.mark.parametrize(("values", "words"), [({"day_pictures": 2}, "a day"), ({"year_pictures": 2}, "365")])
async def test_a_matcher_of_slot_psi_answers_an_account_as_often_as_its_set_says(
    tmp_path: Path, values: dict[str, int], words: str
) -> None:
    made = build(DESIGN, random_hashes(8), 1, {"k": 16, "probes": 8, "slot_bits": 9, **values})
    roles = {
        role: {name: made.files[name] for name in made.published.roles[role]} for role in DESIGN.info.roles
    }
    held = HeldSource(DESIGN, 1, made.setup_files, roles)
    services = partial(open_matching, MatchingConfig(DESIGN, held, tmp_path))
    async with Deployment().serving(Party.MATCHER, services, ALICE, BOB) as (alice, bob):
        for number in range(2):
            await alice.one("Matching/Exchange", envelope(made.setup_files, f"device {number}"))
        code, text, _ = await refused(alice.one("Matching/Exchange", envelope(made.setup_files, "third")))
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "128 of the 128 evaluations allowed in" in text and words in text
        await bob.one("Matching/Exchange", envelope(made.setup_files, "bob"))
