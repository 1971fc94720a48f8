"""The implementation under test: a command that answers one JSON line with one JSON line."""

from __future__ import annotations

import json
import queue
import shlex
import subprocess
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import IO, Any

ANSWERS = ("gives", "refuses", "lacks")
LONGEST = 64 << 20
"""Characters of an answer; a longer one is cut, and is then no JSON."""


class CounterpartError(Exception):
    """The command could not be started, ended, was silent, or did not answer by the rules."""


class Counterpart:
    """A running command.

    Args:
        command: a command line, split as a shell would; no shell runs it.
        seconds: how long an answer may take.
    """

    def __init__(self, command: str, seconds: float) -> None:
        self._seconds = seconds
        self._number = 0
        # one line waits at most, so that a command that never stops writing is held up
        self._lines: queue.Queue[str | None] = queue.Queue(1)
        try:
            self._process = subprocess.Popen(
                shlex.split(command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                encoding="utf-8",
                errors="replace",
            )
        except (OSError, ValueError, IndexError) as error:
            raise CounterpartError(f"cannot be started: {error}") from error
        threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True).start()

    def __enter__(self) -> Counterpart:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()

    def _read(self, lines: IO[str]) -> None:
        while line := lines.readline(LONGEST):
            self._lines.put(line)
        self._lines.put(None)

    def _write(self, line: str) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line)
            self._process.stdin.flush()
        except OSError:
            pass  # it has ended, which the end of its output says

    def ask(self, question: Mapping[str, Any]) -> tuple[str, Any]:
        """Return which of `ANSWERS` came, and what it holds; raises `CounterpartError`."""
        self._number += 1
        asked = json.dumps({"number": self._number, **question}) + "\n"
        # in a thread, since a command that does not read would hold up this program without a limit
        threading.Thread(target=self._write, args=(asked,), daemon=True).start()
        try:
            line = self._lines.get(timeout=self._seconds)
        except queue.Empty:
            raise CounterpartError(f"gave no answer within {self._seconds:g} s") from None
        if line is None:
            raise CounterpartError("ended, or closed its output, and gave no answer")
        return self._checked(line)

    def _checked(self, line: str) -> tuple[str, Any]:
        try:
            answer = json.loads(line)
        except (ValueError, RecursionError):
            raise CounterpartError(f"answered with a line that is no JSON: {line[:80]!r}") from None
        if not isinstance(answer, dict) or answer.get("number") != self._number:
            raise CounterpartError(f"answered without the question's number, {self._number}: {line[:80]!r}")
        told = [name for name in answer if name != "number"]
        if len(told) != 1 or told[0] not in ANSWERS:
            raise CounterpartError(f"must answer with one of {', '.join(ANSWERS)}, not with {told}")
        if told[0] == "gives" and not isinstance(answer["gives"], dict):
            raise CounterpartError(f"must give an object, not {line[:80]!r}")
        return told[0], answer[told[0]]
