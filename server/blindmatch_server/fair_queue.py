"""What waits for a worker, account by account: the order of FQ-CoDel (RFC 8290, section 4.2), with tasks for
packets, one task a turn, and nothing dropped.

    an account with nothing waiting asks      -> a new line; new lines come first, in the order they began
    a line had its turn                       -> an old line, behind the others
    an old line is empty when its turn comes  -> it is forgotten

So an account that asks now and then is served before those that always have something waiting, and those are
served alike, however much each of them has waiting.
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

    def pop(self) -> T:
        """Take the task whose turn it is.

        Raises:
            IndexError: if none waits.
        """
        if not self._waiting:
            raise IndexError("nothing waits")
        line: deque[T] = deque()
        while not line:
            account, line = (self._new or self._old).popitem(last=False)
        task = line.popleft()
        self._old[account] = line
        self._waiting -= 1
        return task
