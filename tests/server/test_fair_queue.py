"""Whose tasks are done next: first of those that ask one thing at a time, then in turn of those with more."""

from __future__ import annotations

import random

from blindmatch_server.storage.batching import FairQueue


def filled(*tasks: str) -> FairQueue[str]:
    queue: FairQueue[str] = FairQueue()
    for task in tasks:
        queue.append(task[0], task)
    return queue


def batches(queue: FairQueue[str], least: int, most: int = 64) -> list[str]:
    taken = []
    while queue.waiting:
        taken.append(" ".join(queue.take(least, most)))
    return taken


def test_accounts_that_ask_one_thing_at_a_time_are_served_together() -> None:
    assert batches(filled("a1", "b1", "c1", "d1"), 2) == ["a1 b1 c1 d1"]
    assert batches(filled("a1", "b1", "c1", "d1"), 2, most=3) == ["a1 b1 c1", "d1"]


def test_accounts_with_more_waiting_take_turns_and_keep_their_order() -> None:
    queue = filled("a1", "a2", "a3", "a4", "b1", "b2", "b3", "c1")
    assert queue.take(2, 64) == ["a1", "b1", "c1", "a2"]
    assert batches(queue, 2) == ["b2 a3", "b3 a4"]


def test_whoever_had_nothing_waiting_goes_before_those_who_had_and_they_do_not_starve() -> None:
    queue = filled(*(f"a{n}" for n in range(9)), *(f"b{n}" for n in range(9)))
    assert queue.take(2, 64) == ["a0", "b0", "a1"]
    for number in range(3):
        queue.append("c", f"c{number}")
        assert queue.take(2, 64) == [f"c{number}", ("b1", "a2", "b2")[number]]
    queue.append("c", "c3")
    queue.append("d", "d0")
    assert queue.take(2, 64) == ["c3", "d0", "a3"]


def test_one_account_alone_gets_whole_batches() -> None:
    assert [len(one.split()) for one in batches(filled(*(f"a{n}" for n in range(150))), 64)] == [64, 64, 22]


def test_nothing_is_lost_and_accounts_with_nothing_waiting_are_forgotten() -> None:
    choose = random.Random(7)
    queue = FairQueue[tuple[str, int]]()
    put = 0
    taken = list[tuple[str, int]]()
    for _ in range(20_000):
        if choose.random() < 0.75:
            queue.append(account := choose.choice("aaaabcdef"), (account, put))
            put += 1
        else:
            taken += queue.take(2, 5)
    while queue.waiting:
        taken += queue.take(2, 5)
    assert sorted(number for _, number in taken) == list(range(put))
    for name in "abcdef":
        mine = [number for account, number in taken if account == name]
        assert mine == sorted(mine)
    assert queue.take(2, 5) == [] and not queue._new and not queue._old
