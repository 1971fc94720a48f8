"""What waits for a worker, account by account, after FQ-CoDel (RFC 8290, section 4.2): tasks for packets, one
task a turn, and nothing dropped.

    an account with nothing waiting asks       -> a new line; new lines come first, in the order they began
    a line had its turn and has more waiting   -> an old line, behind the others
    a line had its turn and is empty           -> it is forgotten; the RFC lets it grow old first

So those that ask one thing at a time are served together and first, and those that always have more waiting
take turns, however much each of them has waiting. The difference to the RFC is for the former: were they
old, a batch of theirs could not be told from one of the latter.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Generic, TypeVar

T = TypeVar("T")


class FairQueue(Generic[T]):
    """Tasks of accounts; those of one account keep their order."""

    def __init__(self) -> None:
        self._new: OrderedDict[str, deque[T]] = OrderedDict()
        self._old: OrderedDict[str, deque[T]] = OrderedDict()
        self._waiting = 0

    @property
    def waiting(self) -> int:
        """How many tasks wait."""
        return self._waiting

    def append(self, account: str, task: T) -> None:
        """Let `task` wait behind the others of `account`."""
        line = self._old.get(account)
        if line is None:
            line = self._new.setdefault(account, deque())
        line.append(task)
        self._waiting += 1

    def take(self, least: int, most: int) -> list[T]:
        """The first task of every new line, up to `most`; then of old lines in turn, until there are `least`.

        Of the old lines there is one task at least, if there are any, so that they do not starve.
        """
        taken = [self._pop(self._new) for _ in range(min(most, len(self._new)))]
        older = max(least - len(taken), 1)
        while self._old and older:
            taken.append(self._pop(self._old))
            older -= 1
        return taken

    def _pop(self, lines: OrderedDict[str, deque[T]]) -> T:
        account, line = lines.popitem(last=False)
        task = line.popleft()
        self._waiting -= 1
        if line:
            self._old[account] = line
        return task
