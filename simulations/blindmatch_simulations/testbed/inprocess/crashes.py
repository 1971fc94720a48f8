"""Crashes: an error of a design's own code that is no declared refusal, with the frames of that code.

In: an exception, and the design, if one was loaded already. Out: the step that it came out of, the error on
one line, and the traceback from the first frame of the design's own files on. What a harness did before it
called the design says nothing to its author.
"""

from __future__ import annotations

import linecache
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType
from typing import Final

from blindmatch_protocol.contract import Design
from msgspec import Struct

from blindmatch_simulations.testbed.inprocess import (
    bounded_streams,
    plugin_bounds,
    plugin_code,
    plugin_contract,
    plugin_threads,
)
from blindmatch_simulations.testbed.inprocess.plugin_bounds import PluginError, error_of

STEPS: Final = (
    "publish", "update", "open_setup", "check_setup", "open_role", "open_opener", "with_executor", "enrol",
    "enrolment", "prepare", "start", "receive", "conclude", "answer", "leakage", "list_knowledge", "epoch_of",
    "simulate", "extraction", "key_limits", "expires", "is_signed", "stated",
)  # fmt: skip
"""Steps of a design that others call."""
PLUGIN: Final = "blindmatch_design_"
"""The names of modules that the registry loads from files begin with it."""
HOLDERS: Final = frozenset(
    one.__file__ for one in (plugin_bounds, plugin_contract, plugin_threads, plugin_code, bounded_streams)
)


class Crash(Struct, frozen=True):
    """A design's code ended in an error that nobody foresaw.

    Attributes:
        step: the step of the design, such as ``receive`` or ``answer of matcher``.
        error: the error's kind and text, on one line.
        trace: the design's own frames, innermost last, each ``FILE:LINE in FUNCTION: SOURCE``.
        item: number of the picture it was working on, if any.
    """

    step: str
    error: str
    trace: tuple[str, ...] = ()
    item: int | None = None

    @property
    def words(self) -> str:
        return f"the design crashed in {self.step}: {self.error}"


def crash_of(
    error: BaseException, design: object | None = None, item: int | None = None, step: str = ""
) -> Crash:
    """Return what is reported of a crash; `step` is given where it is known, else it is the innermost step of
    a design on the stack."""
    error = error_of(error)
    return Crash(step or step_of(error), _line_of(error), frames_of(error, design), item)


def step_of(error: BaseException) -> str:
    """Return the design's step that an error came out of: the innermost one on the stack; or ``check``."""
    if isinstance(error, PluginError) and error.step:
        return error.step
    found = "check"
    for frame in traceback.extract_tb(error.__traceback__):
        found = frame.name if frame.name in STEPS else found
    return found


def frames_of(error: BaseException, design: object | None = None) -> tuple[str, ...]:
    """Return the frames of an error from the first one in the design's own files on; without a design, in any
    file that was loaded as one. If there is none, the innermost frame."""
    own = set(_files_of(design) if design is not None else plugin_files())
    frames = list(traceback.extract_tb(error.__traceback__))
    # what holds a plug-in to its bounds says nothing of where it broke them
    frames = [one for one in frames if one.filename not in HOLDERS] or frames
    first = next((at for at, frame in enumerate(frames) if _resolved(frame.filename) in own), len(frames) - 1)
    return tuple(_frame_line(frame) for frame in frames[max(0, first) :])


def is_of_plugin(error: BaseException) -> bool:
    """Did an error pass through a design that was loaded from a file?"""
    own = set(plugin_files())
    return any(_resolved(frame.filename) in own for frame in traceback.extract_tb(error.__traceback__))


def plugin_files() -> Iterator[str]:
    """Yield the files of designs that were loaded from files here."""
    for name, module in list(sys.modules.items()):
        if name.startswith(PLUGIN) and (path := getattr(module, "__file__", None)):
            yield _resolved(path)


def _files_of(design: object) -> Iterator[str]:
    """Yield the files in which methods of a design's classes are written. A class that was put together with
    `type` names the module of its metaclass as its own, so its methods are asked and not the class."""
    yield from plugin_files()
    for kind in (one for one in type(design).__mro__ if one not in Design.__mro__):
        for value in vars(kind).values():
            if isinstance(value, FunctionType):
                yield _resolved(value.__code__.co_filename)


def _resolved(path: str) -> str:
    return str(Path(path).resolve())


def _line_of(error: BaseException) -> str:
    """Return the last line of a traceback, as Python prints it."""
    if isinstance(error, PluginError):
        return f"{type(error).__name__}: {error}"
    return " ".join("".join(traceback.format_exception_only(error)).split())


def _frame_line(frame: traceback.FrameSummary) -> str:
    source = (frame.line or linecache.getline(frame.filename, frame.lineno or 0)).strip()
    return f"{frame.filename}:{frame.lineno} in {frame.name}: {source}"
