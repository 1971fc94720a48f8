"""Progress bars in the house style, apart from `console`, since they take long to import."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from threading import Event, Thread
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from blindmatch_simulations.cli.console import say

if TYPE_CHECKING:
    from blindmatch_protocol.contract import Progress

    from blindmatch_simulations.measure.phases import PhaseProgress


def bars(console: Console) -> Bars:
    """Progress bars in the house style."""
    return Bars(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=False,
        # all bars are drawn anew each time, also where nobody sees them
        auto_refresh=console.is_terminal,
        refresh_per_second=REFRESHED,
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
REFRESHED = 4
"""Times a second, on a terminal."""


@contextmanager
def phases(console: Console) -> Iterator[PhaseProgress]:
    """Show a bar for each phase that is begun, by its title; none is no line.

    Bars are drawn on a terminal alone. An error takes those with it that did not come to their end, since
    they say of nothing how far it is.
    """
    shown = bars(console)

    def begin(title: str) -> Progress:
        if console.is_terminal:
            shown.start()
        task = shown.add_task(title, total=None)
        return lambda done, total: shown.update(task, completed=done, total=total or None)

    with _told(shown):
        try:
            yield begin
        except Exception:
            for task in shown.tasks:
                if not task.finished:
                    shown.remove_task(task.id)
            raise
        finally:
            if shown.live.is_started:
                shown.stop()


@contextmanager
def progress_bar(console: Console, title: str) -> Iterator[Progress]:
    """One bar; it appears at the first call, so that input that is refused at once leaves none behind."""
    begun = list["Progress"]()
    with phases(console) as begin:

        def progress(done: int, total: int) -> None:
            if not begun:
                begun.append(begin(title))
            begun[0](done, total)

        yield progress
