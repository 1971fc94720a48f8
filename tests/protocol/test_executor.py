"""Work that is handed to an executor before its results are asked for."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from threading import Event

import pytest
from blindmatch_protocol.contract.publishing import Executor, ahead, begun

HERE: ContextVar[str] = ContextVar("here", default="elsewhere")


@pytest.fixture(params=["threads", "none"])
def executor(request: pytest.FixtureRequest) -> Iterator[Executor | None]:
    if request.param == "none":
        yield None
        return
    with ThreadPoolExecutor(2) as pool:
        yield pool


@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 30])
def test_results_come_in_order_and_few_items_are_read_ahead(executor: Executor | None, count: int) -> None:
    read = list[int]()

    def items() -> Iterator[int]:
        for item in range(count):
            read.append(item)
            yield item

    for place, result in enumerate(ahead(lambda item: 10 * item, items(), executor, together=2)):
        assert result == 10 * place
        assert len(read) <= place + 1 + 4
    assert read == list(range(count))


def test_the_first_error_in_the_order_of_items_is_raised_where_its_result_would_be(
    executor: Executor | None,
) -> None:
    def work(item: int) -> int:
        if item in (3, 4):
            raise ValueError(item)
        return item

    results = ahead(work, range(9), executor, together=4)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="3"):
        next(results)


def test_tasks_see_the_context_of_who_asks(executor: Executor | None) -> None:
    token = HERE.set("here")
    seen = list[str]()
    found = list(ahead(lambda _: HERE.get(), range(3), executor))
    wait = begun(lambda: seen.append(HERE.get()), executor)
    HERE.reset(token)
    wait()
    assert (found, seen) == (["here"] * 3, ["here"])


def test_what_is_begun_runs_beside_its_caller_and_is_done_once_waited_for() -> None:
    told = Event()
    done = list[int]()

    def work() -> None:
        assert told.wait(240)
        done.append(1)

    with ThreadPoolExecutor(1) as pool:
        wait = begun(work, pool)
        told.set()
        wait()
        assert done == [1]
        wait()
    assert done == [1]


def test_waiting_raises_what_was_raised(executor: Executor | None) -> None:
    def work() -> None:
        raise ValueError("of the work")

    with pytest.raises(ValueError, match="of the work"):
        begun(work, executor)()
