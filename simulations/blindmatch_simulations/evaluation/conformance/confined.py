"""A process in which a design's sessions are run with nothing to look at and nowhere to go.

Run as ``python -m``: a `Task` comes on standard input, a `Done` leaves on standard output. Clock, host name,
process id and environment are what the task says, before the design is loaded; once it is, whatever opens,
connects, starts or inspects anything is refused and noted. What is read all the same:
docs/reference/conformance.md.

State is compared by a digest of what an object holds, with all that hangs on it; classes and functions only
of the design's own modules; the inside of native objects is not seen.
"""

from __future__ import annotations

import atexit
import datetime
import gc
import logging
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from types import BuiltinFunctionType, FunctionType, ModuleType, NoneType
from typing import Any, Final

import msgspec
import numpy as np

_PLAIN: Final = (bool, int, float, complex, str, bytes, bytearray, NoneType)
_CLOSED: Final = (*_PLAIN, ModuleType, BuiltinFunctionType)


def digest(root: Any, modules: frozenset[str]) -> bytes:
    """Of `root` and what is reachable from it; code of others than `modules` is not followed."""
    seen = set[int]()
    waiting = [root]
    total = sha256()
    while waiting:
        one = waiting.pop()
        total.update(type(one).__qualname__.encode() + _value(one) + b"\0")
        if id(one) not in seen:
            seen.add(id(one))
            waiting += _parts(one, modules)
    return total.digest()


def _value(one: Any) -> bytes:
    if isinstance(one, np.ndarray):
        return one.tobytes() if one.dtype != object else b""
    return repr(one).encode() if isinstance(one, _PLAIN) else b""


def _parts(one: Any, modules: frozenset[str]) -> Iterator[Any]:
    if isinstance(one, _CLOSED):
        return
    is_code = isinstance(one, FunctionType | type) or hasattr(one, "cache_info")
    if is_code and getattr(one, "__module__", "") not in modules:
        return
    if isinstance(one, FunctionType):
        yield from (one.__defaults__, one.__kwdefaults__, one.__dict__, one.__closure__)
    elif isinstance(one, type):
        yield from (held for name, held in vars(one).items() if not name.startswith("__"))
    else:
        yield from gc.get_referents(one)


IMPORTED: Final = (".py", ".pyc", ".so")

_COUNTED = atexit._ncallbacks()  # nothing public counts them
atexit.register(len, ())
if atexit._ncallbacks() != _COUNTED + 1:
    raise ImportError("atexit: what is registered for the end of a process is counted otherwise")
atexit.unregister(len)

REFUSED: Final = (
    "open",
    "os.",
    "socket.",
    "subprocess.",
    "ctypes.",
    "shutil.",
    "tempfile.",
    "glob.",
    "mmap.",
    "fcntl.",
    "pty.",
    "signal.",
    "sqlite3.",
    "urllib.",
    "webbrowser.",
    "gc.",
    "sys._current_frames",
    "sys.addaudithook",
    "sys.setprofile",
    "sys.settrace",
)
"""Audit events (PEP 578) that a step of a design has no cause for, by their front."""


class Task(msgspec.Struct):
    """What to run, and in which surroundings.

    Attributes:
        module: that holds the design; `file`: where it lies, if it was loaded from a path.
        name: of the design's object in it, or of its class.
        files, epoch, setup, roles: the build, and whose files are whose.
        account: that asks, where accounts enrol; its enrolment is the one that the other process knows.
        pictures: name, height, width and pixels of each.
        seed: of the randomness; each session has a purpose of its own.
        clocks: Unix times in seconds, one for each picture; while the design is loaded, the first holds.
        host, pid, environment: what is read instead of the machine's.
    """

    module: str
    file: str
    name: str
    files: dict[str, bytes]
    epoch: int
    setup: list[str]
    roles: dict[str, list[str]]
    account: str
    pictures: list[tuple[str, int, int, bytes]]
    seed: int
    clocks: list[int]
    host: str
    pid: int
    environment: dict[str, str]


class Done(msgspec.Struct):
    """Bodies by picture, in order, with their role; what was refused; what state was left."""

    bodies: dict[str, list[tuple[str, bytes]]]
    refused: list[str]
    kept: list[str]


class ConfinedError(Exception):
    """A step did what no step has a cause for."""


def main() -> None:
    task = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=Task)
    surround(task)
    with _listening() as said:
        done = _run(task, said)
    sys.stdout.buffer.write(msgspec.msgpack.encode(done))


@contextmanager
def _listening() -> Iterator[Callable[[], int]]:
    """How many bytes have been written to standard output, standard error or a log meanwhile."""
    logging.basicConfig(stream=sys.stderr, level=logging.NOTSET)
    held = [os.dup(1), os.dup(2)]
    with tempfile.TemporaryFile() as file:
        for into in (1, 2):
            os.dup2(file.fileno(), into)

        def said() -> int:
            sys.stdout.flush()
            sys.stderr.flush()
            return os.fstat(file.fileno()).st_size

        try:
            yield said
        finally:
            said()
            for into, before in zip((1, 2), held, strict=True):
                os.dup2(before, into)


def surround(task: Task) -> None:
    """Replace what can be read of clock, host, process and environment."""

    for name in ("time", "monotonic", "perf_counter", "process_time", "thread_time", "clock_gettime"):
        setattr(time, name, lambda *_: float(task.clocks[0]))
        setattr(time, f"{name}_ns", lambda *_: task.clocks[0] * 10**9)
    gmtime = time.gmtime
    for name in ("gmtime", "localtime"):
        setattr(time, name, lambda seconds=None: gmtime(task.clocks[0] if seconds is None else seconds))

    class Fixed(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Any:
            return cls.fromtimestamp(task.clocks[0], tz)

        @classmethod
        def utcnow(cls) -> Any:
            return cls.fromtimestamp(task.clocks[0], datetime.UTC).replace(tzinfo=None)

        today = utcnow

    datetime.datetime = Fixed  # type: ignore[misc]
    named = os.uname_result(("Linux", task.host, "0", "0", "machine"))
    replaced: Mapping[str, Any] = {"uname": named, "getpid": task.pid, "getppid": task.pid, "getcwd": "/"}
    for name, value in replaced.items():
        setattr(os, name, lambda value=value: value)
    os.environ.clear()
    os.environ.update(task.environment)
    sys.argv[:] = ["design"]


def _run(task: Task, said: Callable[[], int]) -> Done:
    import numpy as np
    from blindmatch_protocol.codec.randomness import seeded
    from blindmatch_protocol.contract import Role

    from blindmatch_simulations.testbed.inprocess.deployed import OpenDesign, run_session
    from blindmatch_simulations.testbed.pictures.pool import from_file

    load = _loader(task)
    hidden = hide_harness()
    design, module = load()
    hidden += hide_harness()  # what the design's own module imports of it
    pictures = [
        (name, from_file(np.frombuffer(raw, np.uint8).reshape(height, width, 3)))
        for name, height, width, raw in task.pictures
    ]
    for _, picture in pictures:
        _ = picture.fingerprint
    watch = Watch(frozenset(kind.__module__ for kind in type(design).__mro__) - sys.stdlib_module_names)
    done = Done({}, [], [])
    before = dict[str, bytes]()
    quiet = said()
    ends = atexit._ncallbacks()
    threads = threading.active_count()
    watch.confine()
    states = {Role(role): design.open_role(role, _some(task, names)) for role, names in task.roles.items()}
    setup = design.open_setup(_some(task, task.setup), task.epoch)
    design.check_setup(setup)

    class OfAccount(OpenDesign, frozen=True):
        @property
        def account(self) -> str:
            return task.account

    deployed = OfAccount(design, setup, states)
    for name, picture in pictures:
        try:
            ran = run_session(deployed, picture, seeded(f"confined/{task.seed}/{name}"))
            done.bodies[name] = [(str(role), body) for role, body in ran.bodies()]
        except Exception as error:
            done.bodies[name] = [(type(error).__name__, b"")]
        after = watch.state(design, module)
        done.kept += [one for one in after if before and before.get(one) != after[one]]
        before = after
        if len(task.clocks) > 1:
            del task.clocks[0]
    hidden.clear()
    done.refused += dict.fromkeys(watch.notes)
    done.refused += ["output"] if said() > quiet else []
    done.refused += ["atexit"] if atexit._ncallbacks() > ends else []
    done.refused += ["a thread"] if threading.active_count() > threads else []
    return done


def _some(task: Task, names: list[str]) -> dict[str, bytes]:
    return {name: task.files[name] for name in names}


def _loader(task: Task) -> Callable[[], tuple[Any, ModuleType]]:
    """Load the task's design when called."""
    from importlib import import_module
    from pathlib import Path

    from blindmatch_simulations.testbed.deployment.registry import module_of

    def load() -> tuple[Any, ModuleType]:
        module = module_of(Path(task.file)) if task.file else import_module(task.module)
        found = getattr(module, task.name)
        return (found() if isinstance(found, type) else found), module

    return load


HARNESS: Final = "blindmatch_simulations"


def hide_harness() -> list[ModuleType]:
    """Remove the testbed's modules from `sys.modules`, so that a design finds there what it finds on a
    device. Return them: they live only as long as somebody holds them."""
    names = [name for name in sys.modules if name.partition(".")[0] == HARNESS]
    held = [sys.modules[name] for name in (*names, "__main__")]
    for name in names:
        del sys.modules[name]
    sys.modules["__main__"] = ModuleType("__main__")
    return held


class Watch:
    """Refuses whatever a step has no cause for, and notes it. Frames may be looked at by libraries, which do
    so, but for those that hand them on; not by the design's own `modules`."""

    def __init__(self, modules: frozenset[str]) -> None:
        self.notes: list[str] = []
        self._modules = modules
        self._lookers = {*modules, "inspect", "traceback"}
        self._frame = sys._getframe
        self._looking = False

    def confine(self) -> None:
        sys.dont_write_bytecode = True
        sys.addaudithook(self._hook)

    def state(self, design: Any, module: ModuleType) -> dict[str, bytes]:
        """What the design's object, its classes and their modules hold, as digests."""
        self._looking = True
        found = {name: digest(value, self._modules) for name, value in _held(design, module)}
        self._looking = False
        return found

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        frames = event == "sys._getframe" or (event == "object.__getattr__" and arguments[1] == "tb_frame")
        if self._looking or not (frames or event.startswith(REFUSED)) or _is_import(event, arguments):
            return
        if frames:
            self._looking = True
            caller = self._frame(1).f_globals.get("__name__")
            self._looking = False
            if caller not in self._lookers:
                return
        self.notes.append(event)
        raise ConfinedError(event)


_IMPORT_PATHS: Final = tuple(path for path in {sys.prefix, sys.base_prefix, *sys.path} if path)


def _is_import(event: str, arguments: tuple[Any, ...]) -> bool:
    path = arguments[0] if arguments else None
    if event in ("os.listdir", "os.scandir"):
        return isinstance(path, str) and path.startswith(_IMPORT_PATHS)
    is_code = isinstance(path, str) and path.endswith(IMPORTED) and path.startswith(_IMPORT_PATHS)
    return (
        event == "open" and is_code and arguments[1] in ("r", "rb", None) and not arguments[2] & os.O_ACCMODE
    )


def _held(design: Any, module: ModuleType) -> Iterator[tuple[str, Any]]:
    owners: dict[str, Mapping[str, Any]] = {"the object": vars(design), module.__name__: vars(module)}
    owners |= {kind.__qualname__: vars(kind) for kind in type(design).__mro__ if kind is not object}
    for owner, held in owners.items():
        yield from ((f"{owner}.{name}", value) for name, value in held.items() if not name.startswith("__"))


if __name__ == "__main__":
    main()
