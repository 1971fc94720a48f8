"""Whose task is done next: accounts take turns, and one that asks now and then goes first."""

from __future__ import annotations

import random

import pytest
from blindmatch_server.fair_queue import FairQueue


def filled(*tasks: str) -> FairQueue[str]:
    queue: FairQueue[str] = FairQueue()
    for task in tasks:
        queue.append(task[0], task)
    return queue


def emptied(queue: FairQueue[str]) -> str:
    return " ".join(queue.pop() for _ in range(queue.waiting))


def test_accounts_take_turns_and_keep_the_order_of_their_own_tasks() -> None:
    assert emptied(filled("a1", "a2", "a3", "a4", "b1", "b2", "c1")) == "a1 b1 c1 a2 b2 a3 a4"


def test_an_account_that_had_nothing_waiting_goes_before_those_that_had() -> None:
    queue = filled(*(f"a{n}" for n in range(9)), *(f"b{n}" for n in range(9)))
    assert [queue.pop() for _ in range(3)] == ["a0", "b0", "a1"]
    queue.append("c", "c0")
    assert queue.pop() == "c0"


def test_an_account_that_asks_again_at_once_is_not_new_again() -> None:
    queue = filled("a0", "b0", "b1", "b2")
    assert (queue.pop(), queue.pop()) == ("a0", "b0")
    queue.append("a", "a1")
    queue.append("c", "c0")
    assert emptied(queue) == "c0 a1 b1 b2"


def test_it_forgets_accounts_with_nothing_waiting() -> None:
    queue = filled("a0", "b0", "b1")
    assert emptied(queue) == "a0 b0 b1"
    for number in range(100):
        queue.append(f"x{number}", "task")
        queue.pop()
    queue.append("b", "b2")
    queue.append("b", "b3")
    assert emptied(queue) == "b2 b3"
    assert list(queue._new) + list(queue._old) == ["b"]


def test_nothing_is_lost_and_the_tasks_of_an_account_keep_their_order() -> None:
    choose, queue = random.Random(7), FairQueue[tuple[str, int]]()
    put, taken = 0, []
    for _ in range(20_000):
        if choose.random() < 0.55:
            queue.append(account := choose.choice("aaaabcdef"), (account, put))
            put += 1
        elif queue.waiting:
            taken.append(queue.pop())
    taken += [queue.pop() for _ in range(queue.waiting)]
    assert sorted(number for _, number in taken) == list(range(put))
    for name in "abcdef":
        mine = [number for account, number in taken if account == name]
        assert mine == sorted(mine)
    with pytest.raises(IndexError):
        queue.pop()
