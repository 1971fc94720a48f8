"""Progress bars in the house style, apart from `console`, since they take long to import."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from threading import Event, Thread
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.progress import Progress as Bars
from rich.text import Text

from blindmatch_simulations.cli.console import say

if TYPE_CHECKING:
    from blindmatch_protocol.contract import Progress

    from blindmatch_simulations.measure.phases import PhaseProgress


@contextmanager
def progress_bar(console: Console, what: str, unit: str, *, last: str = "") -> Iterator[Progress]:
    """A bar with rate, time taken and time left; yields a `Progress`. It appears at the first call, so that
    input that is refused at once leaves none behind.

    Args:
        unit: what is counted, e.g. ``entries``; ``bytes`` are shown as kB and MB.
        last: is done when all are through, without a number.
    """
    counts = (
        (DownloadColumn(), TransferSpeedColumn()) if unit == "bytes" else (CountColumn(unit), RateColumn())
    )
    shown = bars(console, counts)
    tasks: list[TaskID] = []

    def progress(done: int, whole: int) -> None:
        if not tasks:
            shown.start()
            tasks.append(shown.add_task(what, total=whole, completed=done))
        ends = bool(last) and done >= whole
        shown.update(tasks[0], completed=done, total=whole, description=last if ends else what)

    with _told(shown):
        try:
            yield progress
        finally:
            if tasks:
                shown.stop()


class CountColumn(MofNCompleteColumn):
    """How many of how many, and of what."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        whole = "?" if task.total is None else f"{int(task.total):,}"
        return Text(f"{int(task.completed):,}/{whole} {self._unit}", style="progress.download")


class RateColumn(ProgressColumn):
    """How many a second: of the last half minute, and at the end of the whole."""

    def render(self, task: Task) -> Text:
        rate = task.finished_speed or task.speed
        if rate is None:
            return Text()
        return Text(f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.1f}/s", style="progress.data.speed")


def bars(console: Console, counts: Sequence[ProgressColumn] = (MofNCompleteColumn(),)) -> Bars:
    """Progress bars in the house style; plain lines where the output is no terminal."""
    return Bars(
        TextColumn("{task.description}"),
        BarColumn(),
        *counts,
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=False,
    )


@contextmanager
def _told(shown: Bars) -> Iterator[None]:
    """Where the output is no terminal, a line every `PLAIN_SECONDS` for each task that goes on."""
    over = Event()

    def tell() -> None:
        while not over.wait(PLAIN_SECONDS):
            for task in shown.tasks:
                if not task.finished:
                    far = f"{int(task.completed):,} of {int(task.total):,}" if task.total else "under way"
                    took = timedelta(seconds=int(task.elapsed or 0))
                    say(f"{task.description}: {far}, after {took}", shown.console)

    teller = Thread(target=tell, daemon=True)
    if not shown.console.is_terminal:
        teller.start()
    try:
        yield
    finally:
        over.set()
        if teller.is_alive():
            teller.join()


PLAIN_SECONDS = 30.0


@contextmanager
def phases(console: Console) -> Iterator[PhaseProgress]:
    """A bar for each phase that is begun, by its title; none is no line."""
    shown = bars(console)

    def begin(title: str) -> Progress:
        shown.start()
        task = shown.add_task(title, total=None)
        return lambda done, total: shown.update(task, completed=done, total=total or None)

    with _told(shown):
        try:
            yield begin
        finally:
            if shown.tasks:
                shown.stop()
