"""Reading ahead: nothing is lost, reordered or held without bound, and nothing goes on after its end."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from blindmatch_client.ahead import batches

PATIENCE_S = 20.0


def test_elements_come_in_order_and_all_of_them() -> None:
    got = [n for some in batches(iter(range(1000)), lambda n: 1) for n in some]
    assert got == list(range(1000))


def test_what_came_while_the_worker_was_busy_comes_together() -> None:
    all_read = threading.Event()

    def source() -> Iterator[int]:
        yield from range(10)
        all_read.set()

    worker = batches(source(), lambda n: 1)
    first = next(worker)
    assert all_read.wait(PATIENCE_S)
    assert first + [n for some in worker for n in some] == list(range(10))
    assert list(batches(iter(()), len)) == []


@pytest.mark.parametrize(("most", "most_bytes"), [(4, 1 << 20), (64, 400)], ids=["elements", "bytes"])
def test_no_more_is_held_than_is_allowed(most: int, most_bytes: int) -> None:
    read: list[int] = []
    full = threading.Event()

    def source() -> Iterator[int]:
        for number in range(50):
            read.append(number)
            if number == 4:
                full.set()
            yield number

    worker = batches(source(), lambda n: 100, most, most_bytes)
    taken = next(worker)
    assert full.wait(PATIENCE_S)
    for some in worker:
        assert len(some) <= 4
        taken += some
        # four on the shelf, and one that waits for a place
        assert len(read) <= len(taken) + 5
    assert taken == list(range(50))


def test_a_failure_comes_after_everything_that_came_before_it() -> None:
    def source() -> Iterator[int]:
        yield from range(5)
        raise OSError("broken off")

    kept: list[int] = []
    with pytest.raises(OSError, match="broken off"):
        for some in batches(source(), lambda n: 1, most=2):
            kept += some
    assert kept == list(range(5))


def test_the_reader_ends_when_the_worker_wants_no_more() -> None:
    threads: list[threading.Thread] = []

    def source() -> Iterator[int]:
        threads.append(threading.current_thread())
        yield from range(1000)

    for _ in batches(source(), lambda n: 1, most=2):
        break
    (thread,) = threads
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
