"""Bounds on what a plug-in may do in a process that tests it, each with an error of its own.

    call of the plug-in       this process
    never returns             a thread looks once a second: the same call has used up its work, or goes on
                              waiting; what it sleeps is counted  --> `CallStop`, raised in the call
    ends the process          `os._exit`, `os.abort` and `sys.exit` --> `EndedProcessError`
    starts another            audit events (PEP 578) of fork, exec and spawn, and `multiprocessing`
                              --> `StartedProcessError`
    prints without end        --> `PrintedError`; what it prints before goes to standard error
    leaves a thread behind    --> `LeftThreadError`, once the call has returned (`plugin_contract`)

Each error comes up in the plug-in's own code, so it is a crash of the design like any other, with its
traceback, and whatever else is under way goes on. The bounds are in force within `bounded_plugins` and in the
processes that are started meanwhile, for plug-ins that are loaded there (`plugin_code`). `CallStop` is no
`Exception`, so that a step which catches those ends as well; where the step was called it becomes an
`EndlessCallError`, which is one, and which all other code may catch.

The work of a call is the CPU time of its thread in u: the CPU time of one multiplication of a ristretto255
element by libsodium on a thread. A busy machine gives a thread less time, which counts for nothing. A call
that waits uses no CPU time; it is ended after a number of looks at which no thread of its process, or of a
process below it, was running, ready to run, or waiting for a disk. Steps of a design have nothing to wait
for. After the first endless call of a process a later one gets a twentieth, so that a step that hangs with
every picture has an end, too.

This bounds mistakes, and not code that means to stay. Work inside one call of a native library is ended only
with the process, and not at all while it holds the interpreter; libraries that a plug-in calls may start
processes, and descriptors can be written to behind `sys.stdout`.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial, wraps
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import FrameType
from typing import Any, Final

from blindmatch_server.hosting.bounded_process import unit_seconds
from msgspec import Struct

from blindmatch_simulations.testbed.inprocess.bounded_streams import BoundedText
from blindmatch_simulations.testbed.inprocess.plugin_code import PluginCode
from blindmatch_simulations.testbed.inprocess.plugin_threads import ThreadWatch

VARIABLE: Final = "BLINDMATCH_PLUGIN_BOUNDS"
"""Environment variable with the bounds in force, which processes take over."""
LOOK_SECONDS: Final = 1.0
MOST_WAITING: Final = 30
"""Looks at which a call may be found waiting."""
MOST_SLEPT: Final = 30.0
"""Seconds that a call may sleep, or wait in vain, in all: as it asks for them, however long they take."""
UNKNOWN_LOOKS: Final = 100
"""So many looks count as one where the system does not say what threads do, as on macOS."""
MOST_PRINTED: Final = 1 << 16
"""Letters that plug-ins may print in a process."""
LATER: Final = 20
"""After one endless call a later one gets this part of the bounds."""
MOST_STOPS: Final = 5
"""Times that an error is raised in a call which goes on all the same, before its process is ended."""
HEARD_U: Final = 2_000
"""Work after which a thread has heard of the error that was raised in it: some 0.1 s."""
ENDED: Final = 70
"""Exit code of a process that could not be rid of a call otherwise (EX_SOFTWARE of sysexits.h)."""
ENDED_WORDS: Final = "error: the design crashed: EndlessCallError: "
"""What is last said of it on standard error begins with it."""
SETUP_STEPS: Final = frozenset(
    {"<module>", "publish", "update", "open_setup", "check_setup", "open_role", "open_opener"}
)
"""Steps whose work grows with the list."""
STARTS: Final = (
    "os.fork",
    "os.forkpty",
    "os.exec",
    "os.posix_spawn",
    "os.spawn",
    "os.system",
    "subprocess.Popen",
)
"""Audit events of a process that is started or replaced."""
_AWAKE: Final = frozenset("RD")
"""States of a thread that has or wants the processor, or waits for a disk (proc_pid_stat(5), field 3)."""


class PluginError(Exception):
    """A plug-in did what no step of a design may do.

    Attributes:
        step: the step that did it, where no frame of it is left to tell; else empty.
    """

    def __init__(self, words: str, step: str = "") -> None:
        super().__init__(words)
        self.step = step


class CallStop(BaseException):
    """Ends a call that used up its work, or went on waiting, in the plug-in's own code."""

    def __init__(self, words: str = "") -> None:
        super().__init__(words or _WATCH.words.get(threading.get_ident(), "did not return"))


class EndlessCallError(PluginError):
    """A call used up its work, or went on waiting."""


class LeftThreadError(PluginError):
    """A call returned while a thread that it had started goes on."""


class EndedProcessError(PluginError):
    """A call was about to end its process."""


class StartedProcessError(PluginError):
    """A call was about to start another process."""


class PrintedError(PluginError):
    """Plug-ins printed more than they may."""


class Bounds(Struct, frozen=True):
    """Work that one call may take, in u.

    Attributes:
        setup_u: of a step whose work grows with the list.
        step_u: of any other.
    """

    setup_u: int = 6_000_000
    step_u: int = 500_000

    def encoded(self) -> str:
        return f"{self.setup_u},{self.step_u}"

    @classmethod
    def decoded(cls, text: str) -> Bounds:
        setup_u, step_u = map(int, text.split(","))
        return cls(setup_u, step_u)


class _Call(Struct):
    """A call of a plug-in that is under way on a thread.

    Attributes:
        frame: the outermost one of a plug-in's code.
        began, seen: CPU seconds of the thread when it was seen first, and last.
        waiting: looks at which it waited.
        unknown: looks at which the system did not say.
        stops: times that an error was raised in it.
        stopped_u: work that it had used when that happened last.
        words: why it was stopped first; empty if it was not.
    """

    frame: FrameType
    began: float
    seen: float
    waiting: int = 0
    unknown: int = 0
    stops: int = 0
    stopped_u: float = 0.0
    words: str = ""


class _Watch:
    """What is in force in this process."""

    def __init__(self) -> None:
        self.code = PluginCode()
        self.threads = ThreadWatch(self.is_calling)
        self.words: dict[int, str] = {}
        """Of the error that is raised on a thread next."""
        self.printed = 0
        self.owner = 0
        """The process of the command that began the bounds."""
        self.abandoned: set[int] = set()
        """Threads with a call that nothing ends."""
        self._for_main: EndlessCallError | None = None
        self._bounds: Bounds | None = None
        self._pid = 0
        self._looker: object = None
        """Of the one thread that looks on."""
        self._is_hooked = False
        self.has_endless = False
        self._calls: dict[int, _Call] = {}
        self._slept = _Slept()
        self._undo: list[Callable[[], object]] = []

    @property
    def is_on(self) -> bool:
        return self._bounds is not None

    def begin(self, bounds: Bounds) -> None:
        if self._bounds is None:
            self._bounds = bounds
            self._replace_exits()
            self._replace_streams()
            self._replace_process_start()
            self._replace_waits()
            self._undo.append(self.threads.begin())
            if not self._is_hooked:  # a hook cannot be removed
                sys.addaudithook(self._refuse_processes)
                self._is_hooked = True
        if self._pid != os.getpid():  # a fork has no other threads
            self._pid = os.getpid()
            self._calls = {}
            self._take_signals()
            unit_seconds()
            threading.Thread(target=self._look_on, name="plug-ins", daemon=True).start()

    def end(self) -> None:
        """Let go of all that was replaced; the thread ends at its next look."""
        for undo in reversed(self._undo):
            undo()
        self._undo.clear()
        self._bounds = self._looker = None
        self._pid = self.printed = 0
        self.has_endless = False

    # --- calls that never return

    def _take_signals(self) -> None:
        self._signal = getattr(signal, "SIGUSR2", None)
        try:
            before = signal.signal(self._signal, self._raise) if self._signal else None
        except ValueError:  # not on the main thread
            self._signal = None
            return
        if self._signal:
            self._undo.append(partial(signal.signal, self._signal, before))

    def _look_on(self) -> None:
        mine = self._looker = object()
        while True:
            time.sleep(LOOK_SECONDS)
            bounds = self._bounds
            if bounds is None or self._looker is not mine:
                return
            self._look(bounds)

    def _look(self, bounds: Bounds) -> None:
        found = {}
        for thread, frame in sys._current_frames().items():
            outermost = self.code.outermost(frame)
            if outermost is None or thread in self.abandoned or thread == threading.get_ident():
                continue
            call = self._calls.get(thread)
            now = _cpu_seconds(thread)
            if call is None or call.frame is not outermost:
                call = _Call(outermost, now, now)
            found[thread] = call
            self._judge(thread, call, now, bounds)
        self._calls = found

    def _judge(self, thread: int, call: _Call, now: float, bounds: Bounds) -> None:
        """Stop a call that has used up what it may."""
        is_asleep = _is_asleep() if now == call.seen else False
        call.waiting += is_asleep is True
        call.unknown += is_asleep is None
        call.seen = now
        looks = call.waiting + call.unknown // UNKNOWN_LOOKS
        used_u = (now - call.began) / unit_seconds()
        if call.words:
            # a thread that gets no processor has not heard of the error yet
            if used_u - call.stopped_u > HEARD_U or is_asleep is True:
                self._stop(thread, call, used_u)
            return
        name = call.frame.f_code.co_name
        part = LATER if self.has_endless else 1
        budget_u = (bounds.setup_u if name in SETUP_STEPS else bounds.step_u) // part
        less = f", a {LATER}th, since a call before never returned" if self.has_endless else ""
        if used_u > budget_u:
            call.words = (
                f"{name} did not return: it used the work that one call may take, {budget_u:,} u{less}"
            )
        elif looks >= MOST_WAITING / part:
            call.words = (
                f"{name} did not return: it waited, and did nothing, at {looks} looks, one a second{less}"
            )
        else:
            return
        self.has_endless = True
        self._stop(thread, call, used_u)

    def _stop(self, thread: int, call: _Call, used_u: float) -> None:
        self.words[thread] = call.words
        call.stops += 1
        call.stopped_u = used_u
        if call.stops > MOST_STOPS:
            self._give_up(thread, call)
            return
        if thread == threading.main_thread().ident and self._signal:
            signal.pthread_kill(thread, self._signal)
        else:  # comes up once the thread is back from what it waits for
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(CallStop))

    def _give_up(self, thread: int, call: _Call) -> None:
        """See to a call that no error ends: its thread waits, or it catches whatever is raised in it.

        A server or worker is ended, and whoever asked it goes on. The process of the command itself must not
        be: its main thread, which waits for that call, gets the error instead, also as often as it goes on
        waiting for the thread; then the thread is left alone.
        """
        stack = traceback.extract_stack(sys._current_frames().get(thread))
        own = [one for one in stack if self.code.has(one.filename)]
        places = "".join(f", at {one.filename}:{one.lineno} in {one.name}" for one in own)
        is_main = thread == threading.main_thread().ident
        if self.owner != os.getpid() or is_main or not self._signal:
            if (errors := sys.__stderr__) is not None:
                errors.write(f"{ENDED_WORDS}{call.words}{places}\n")
                errors.flush()
            _EXIT(ENDED)
        if call.stops > 2 * MOST_STOPS:
            self.abandoned.add(thread)
            return
        self._for_main = EndlessCallError(call.words + places, call.frame.f_code.co_name)
        signal.pthread_kill(threading.main_thread().ident or 0, self._signal)

    def _raise(self, number: int, frame: FrameType | None) -> None:
        if (error := self._for_main) is not None:
            self._for_main = None
            raise error
        call = self._calls.get(threading.get_ident())
        if call is not None and frame is not None and self.code.outermost(frame) is call.frame:
            raise CallStop

    def _replace_waits(self) -> None:
        """Count what plug-ins sleep and wait in vain: no look sees a loop of short waits."""
        sleep = time.sleep
        wait = threading.Condition.wait

        @wraps(sleep)
        def count_and_sleep(seconds: float) -> None:
            if self.is_calling():
                self._count_wait(seconds)
            sleep(seconds)

        @wraps(wait)
        def wait_and_count(condition: threading.Condition, timeout: float | None = None) -> bool:
            is_notified = wait(condition, timeout)
            if not is_notified and timeout is not None and self.is_calling():
                self._count_wait(timeout)
            return is_notified

        setattr(time, "sleep", count_and_sleep)  # noqa: B010 - its argument has a private type
        setattr(threading.Condition, "wait", wait_and_count)  # noqa: B010 - mypy lets no method be assigned
        self._undo.append(partial(setattr, time, "sleep", sleep))
        self._undo.append(partial(setattr, threading.Condition, "wait", wait))

    def _count_wait(self, seconds: float) -> None:
        """Count seconds that the call on this thread waits; end it if they are too many."""
        if not self.is_on:  # a plug-in may still have what replaced the function
            return
        frame = self.code.outermost(sys._getframe())
        if self._slept.frame is not frame:
            self._slept.frame = frame
            self._slept.seconds = 0.0
        self._slept.seconds += max(0.0, seconds)
        most = MOST_SLEPT / (LATER if self.has_endless else 1)
        if frame is not None and self._slept.seconds > most:
            less = f", a {LATER}th, since a call before never returned" if self.has_endless else ""
            self.has_endless = True
            words = (
                f"{frame.f_code.co_name} did not return: it slept longer than {most:g} seconds in all{less}"
            )
            raise CallStop(words)

    def forget_waits(self) -> None:
        """The call on this thread is over: let go of its frame."""
        self._slept.frame = None

    # --- processes, exits and output

    def is_calling(self) -> bool:
        """Does a plug-in's own code do what is asked about, itself or by the standard library?"""
        return self.code.is_calling(sys._getframe(1))

    def _refuse_processes(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self._bounds is not None and event.startswith(STARTS) and self.is_calling():
            raise StartedProcessError(f"was about to start another process ({event}), which no step may do")

    def _replace_process_start(self) -> None:
        """Refuse what the contexts `spawn` and `forkserver` start: they raise no audit event for it."""
        original = BaseProcess.start

        @wraps(original)
        def refuse_or_start(process: BaseProcess) -> None:
            # it is not called `start`, since a crash is said to be of the step that its frames are called by
            if self.is_calling():
                words = "was about to start another process (multiprocessing), which no step may do"
                raise StartedProcessError(words)
            original(process)

        setattr(BaseProcess, "start", refuse_or_start)  # noqa: B010 - mypy lets no method be assigned
        self._undo.append(partial(setattr, BaseProcess, "start", original))

    def _replace_exits(self) -> None:
        for module, name in ((os, "_exit"), (os, "abort"), (sys, "exit")):
            original = getattr(module, name)
            setattr(module, name, partial(self._refuse_exit, f"{module.__name__}.{name}", original))
            self._undo.append(partial(setattr, module, name, original))

    def _refuse_exit(self, name: str, original: Callable[..., object], *given: object) -> object:
        if self.is_calling():
            raise EndedProcessError(f"was about to end the process ({name}), which no step may do")
        return original(*given)

    def _replace_streams(self) -> None:
        errors = sys.stderr
        for name in ("stdout", "stderr", "__stdout__", "__stderr__"):
            original = getattr(sys, name)
            if original is None:
                continue
            replaced = BoundedText(original, errors, self.is_calling, self._count_printed)
            setattr(sys, name, replaced)
            self._undo.append(partial(_put_back, name, replaced, original))

    def _count_printed(self, count: int) -> None:
        self.printed += count
        if self.printed > MOST_PRINTED:
            raise PrintedError(f"printed more than {MOST_PRINTED:,} letters in one process")


class _Slept(threading.local):
    """What the call on a thread has waited so far."""

    def __init__(self) -> None:
        self.frame: FrameType | None = None
        self.seconds = 0.0


_WATCH: Final = _Watch()
_EXIT: Final = os._exit


@contextmanager
def bounded_plugins(bounds: Bounds | None = None) -> Iterator[None]:
    """Put bounds in force for plug-ins that are loaded in the block, here and in processes begun then."""
    if _WATCH.is_on or VARIABLE in os.environ:
        yield
        return
    os.environ[VARIABLE] = (bounds or Bounds()).encoded()
    _WATCH.owner = os.getpid()
    try:
        yield
    finally:
        del os.environ[VARIABLE]
        _WATCH.end()


def begin_bounds(path: str) -> None:
    """Hold code in a file to the bounds that are in force, if any are, before it is loaded."""
    if text := os.environ.get(VARIABLE):
        _WATCH.code.add(path)
        _WATCH.begin(Bounds.decoded(text))


def begin_folder_bounds(folder: Path) -> None:
    """Hold all code in a package's folder to the bounds that are in force, before it is loaded."""
    if text := os.environ.get(VARIABLE):
        _WATCH.code.add_folder(folder)
        _WATCH.begin(Bounds.decoded(text))


def error_of(error: BaseException) -> BaseException:
    """Return an error as others see it: of a call that was stopped an `EndlessCallError`, else itself."""
    if isinstance(error, CallStop):
        return EndlessCallError(str(error)).with_traceback(error.__traceback__)
    return error


def check_threads(step: str, where: str) -> None:
    """Raise `LeftThreadError` if the call of a step that has just returned left threads behind."""
    if left := _WATCH.threads.find_left():
        names = ", ".join(sorted({thread.name for thread in left}))
        raise LeftThreadError(f"{step} ({where}) returned and left threads behind: {names}", step)


def begin_call() -> None:
    """A call on this thread begins, or is over: what an earlier one waited or started counts no more."""
    _WATCH.forget_waits()
    _WATCH.threads.forget()


def is_of_plugin_code(file: str) -> bool:
    """Is the code in a file held to the bounds of plug-ins?"""
    return _WATCH.code.has(file)


def is_bounded() -> bool:
    """Are plug-ins held to bounds in this process?"""
    return _WATCH.is_on


def end_abandoned(code: int) -> None:
    """End this process with a code if threads are left that would be waited for otherwise."""
    if _WATCH.abandoned or _WATCH.threads.has_left():
        sys.stdout.flush()
        sys.stderr.flush()
        _EXIT(code)


def has_endless_call() -> bool:
    """Did a call of a plug-in not return in this process?"""
    return _WATCH.has_endless


def _cpu_seconds(thread: int) -> float:
    """CPU time of a thread; of the process where threads have no clocks of their own."""
    if not hasattr(time, "pthread_getcpuclockid"):
        return time.process_time()
    try:
        return time.clock_gettime(time.pthread_getcpuclockid(thread))
    except OSError:  # it has ended
        return 0.0


def _is_asleep() -> bool | None:
    """Does every other thread of this process, and of those below it, wait for something else than the
    processor and disks? None where the system does not say."""
    states = list[str]()
    waiting = [os.getpid()]
    try:
        while waiting:
            pid = waiting.pop()
            for thread in Path(f"/proc/{pid}/task").iterdir():
                if int(thread.name) != threading.get_native_id():
                    # the command's name, in parentheses, may contain any character
                    states.append((thread / "stat").read_text().rpartition(") ")[2][:1])
                with suppress(FileNotFoundError):
                    waiting += map(int, (thread / "children").read_text().split())
    except (OSError, ValueError):
        return None
    return _AWAKE.isdisjoint(states)


def _put_back(name: str, replaced: object, original: object) -> None:
    if getattr(sys, name) is replaced:
        setattr(sys, name, original)
