"""Processes forked from a server that has everything imported: one starts in a fraction of a second."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import pytest
from blindmatch_protocol.codec.errors import BlindmatchError
from msgspec import Struct

SUPPORT = Path(__file__).parent


def context() -> ForkServerContext:
    """Where processes are forked from; it has all lives imported (`mortal*.py`)."""
    made = multiprocessing.get_context("forkserver")
    made.set_forkserver_preload([f"support.{path.stem}" for path in sorted(SUPPORT.glob("mortal*.py"))])
    with pytest.MonkeyPatch.context() as patch:  # programs that tests start must not find the tests
        # up to Python 3.12 the server looks for what it preloads nowhere else, and passes over what it misses
        patch.setenv("PYTHONPATH", str(SUPPORT.parent))
        forkserver.ensure_running()
    return made


class Lived(Struct, frozen=True):
    """How a life ended.

    Attributes:
        code: exit code of its process.
        said: what it returned, or the error that it ended with; None of one that was killed.
    """

    code: int | None
    said: Any


def lived(life: Callable[..., Any], *arguments: Any, seconds: float = 600.0) -> Lived:
    """Run a life, a function of a module, to its end."""
    made = context()
    here, there = made.Pipe(duplex=False)
    process = made.Process(target=_live, args=(there, life, arguments))
    process.start()
    there.close()
    process.join(seconds)
    if process.is_alive():
        process.kill()
        raise AssertionError(f"{life.__name__} did not come to its end")
    said = None
    with here, suppress(EOFError):
        said = here.recv()
    return Lived(process.exitcode, said)


def _live(there: Connection, life: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    try:
        there.send(life(*arguments))
    except BlindmatchError as error:
        there.send(f"{type(error).__name__}: {error}")
        sys.exit(1)
