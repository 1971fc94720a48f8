"""Holds a plug-in's steps to the contract: types of what they return, one declaration, names and tags.

What a step returns goes on into code that relies on it, so that another type came up there, as an error that
names neither the step nor the type. In a process that tests plug-ins (`plugin_bounds`) each step of a
plug-in's own classes is replaced by one that looks at what it returns, and at the declaration afterwards.
"""

from __future__ import annotations

import difflib
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from types import FunctionType, NoneType
from typing import Any, Final
from weakref import WeakKeyDictionary

from blindmatch_protocol.codec import Message
from blindmatch_protocol.codec.errors import BlindmatchError
from blindmatch_protocol.contract import (
    Answer,
    AnyDesign,
    Design,
    Done,
    Enrolment,
    Extraction,
    Flag,
    Info,
    KeyLimits,
    ListKnowledge,
    Match,
    NoMatch,
    Published,
    Ready,
    Send,
    Started,
    Stated,
    Undisclosed,
    Voucher,
)
from msgspec.structs import asdict

from blindmatch_simulations.testbed.inprocess.plugin_bounds import (
    CallStop,
    PluginError,
    begin_call,
    check_threads,
    error_of,
    is_bounded,
    is_of_plugin_code,
)

RETURNS: Final[Mapping[str, tuple[type, ...]]] = {
    "publish": (Published,),
    "update": (Published,),
    "enrol": (Message,),
    "prepare": (Message,),
    "enrolment": (Enrolment,),
    "start": (Started,),
    "receive": (Send, Ready, Done),
    "conclude": (NoMatch, Match, Flag, Voucher, Undisclosed),
    "answer": (Answer,),
    "leakage": (tuple,),
    "list_knowledge": (ListKnowledge,),
    "extraction": (Extraction, NoneType),
    "key_limits": (KeyLimits, NoneType),
    "carrier_limits": (KeyLimits, NoneType),
    "stated": (Stated,),
    "epoch_of": (int,),
    "threshold": (int,),
    "expires": (int, NoneType),
    "period": (bytes,),
    "enrolment_key": (bytes,),
    "is_signed": (bool,),
    "unconfirmed": (bool,),
    "made_up": (bool,),
    "simulate": (tuple, NoneType),
}
"""Types of what steps return."""
DECLARING: Final = ("leakage", "list_knowledge")
"""Steps that declare: whenever they are asked the same, they must answer the same."""
OPENER_STEPS: Final = ("take", "open")
"""Steps of an opener, the state of a design's centre."""
OWN_TAGS: Final = 0x80
"""The first tag of messages of plug-ins; those below are blindmatch's own."""
ALIKE: Final = 0.8
"""Names are alike from this ratio of `difflib` on: about one letter in five may differ."""
_OWN_ROOM: Final = "blindmatch_protocol"
_HELD: Final = "_blindmatch_is_held"
"""Attribute of a step that is held to the contract. `__wrapped__` would not do, since any decorator of the
plug-in's own that uses `functools.wraps` sets it."""


class WrongTypeError(PluginError):
    """A step returned what the contract does not have there."""


class ChangedDeclarationError(PluginError):
    """A design declared one thing, and another later."""


def hold_to_contract(design: AnyDesign) -> None:
    """Replace the steps of a plug-in's own classes, if bounds are in force in this process.

    Raises:
        ChangedDeclarationError: `info` is another one each time.
    """
    if not is_bounded():
        return
    _DECLARED[design] = declared = _Declared(design.info)
    declared.check_info(design, "loading")
    for kind in _own_classes(design):
        for name, held in list(vars(kind).items()):
            is_called_by_others = name in RETURNS or _is_inherited(kind, name)
            if is_called_by_others and isinstance(held, FunctionType) and not name.startswith("__"):
                _hold(kind, name)
    for message in _messages(design):
        if not message.__module__.startswith(_OWN_ROOM) and "check" in vars(message):
            _hold(message, "check")
    for _ in range(2):
        try:
            design.leakage()
        except (ChangedDeclarationError, KeyboardInterrupt):
            raise
        except BaseException:
            break  # whoever asks next says so, with the step


class _Declared:
    """What a design has declared so far."""

    def __init__(self, info: Info) -> None:
        self._info = info
        self._answers: dict[tuple[str, Any], Any] = {}

    def check_info(self, design: AnyDesign, when: str, step: str = "") -> None:
        now = design.info
        if now is self._info:
            return
        pairs = ((name, value, getattr(now, name)) for name, value in asdict(self._info).items())
        if differing := [name for name, first, second in pairs if _differs(first, second)]:
            words = f"info is another after {when}: {', '.join(differing)} changed"
            raise ChangedDeclarationError(words, step)

    def check_answer(self, step: str, where: str, asked: tuple[str, Any], answer: Any) -> None:
        if self._answers.setdefault(asked, answer) != answer:
            raise ChangedDeclarationError(f"{step} ({where}) does not declare what it declared before", step)


_NOTED: Final[list[list[BaseException]]] = []


@contextmanager
def noted_crashes() -> Iterator[list[BaseException]]:
    """Gather errors that steps of plug-ins end in and that are no refusals, whoever hears of them."""
    found = list[BaseException]()
    _NOTED.append(found)
    try:
        yield found
    finally:
        _NOTED.pop()


_DECLARED: Final[WeakKeyDictionary[AnyDesign, _Declared]] = WeakKeyDictionary()


def _is_held(step: FunctionType) -> bool:
    # `functools.wraps` copies attributes, so the one of a held step is on a wrapper around it, too
    return getattr(step, _HELD, None) is step


def _hold(kind: type, name: str) -> None:
    step = vars(kind)[name]
    if isinstance(step, FunctionType) and not _is_held(step):
        setattr(kind, name, _held(step, name))


class _Depth(threading.local):
    """How many held steps are under way on a thread, one within the other."""

    def __init__(self) -> None:
        self.steps = 0


_DEPTH: Final = _Depth()


def _held(step: Callable[..., Any], name: str) -> Callable[..., Any]:
    code = step.__code__
    where = f"{code.co_filename}:{code.co_firstlineno}"

    @wraps(step)
    def held(design: Any, *given: Any, **more: Any) -> Any:
        with _call(name, where):
            returned = step(design, *given, **more)
            _check_returned(name, where, returned)
            if (declared := _declared(design)) is not None:
                declared.check_info(design, f"{name} ({where})", name)
                if name in DECLARING and not more:
                    # a step of a base class, which a subclass calls, may declare something else
                    declared.check_answer(name, where, (step.__qualname__, given), returned)
            return returned

    setattr(held, _HELD, held)
    return held


@contextmanager
def _call(name: str, where: str) -> Iterator[None]:
    """Note what a step ends in, and see to what is left of the outermost one on this thread."""
    outer = _DEPTH.steps
    _DEPTH.steps = outer + 1
    if not outer:
        begin_call()
    try:
        yield
        if not outer:
            check_threads(name, where)
    except (BlindmatchError, KeyboardInterrupt):  # a refusal, or the user's wish
        raise
    except CallStop as stop:
        if outer:  # the step that this one is called by is to end, too
            raise
        error = error_of(stop)
        _note(error)
        raise error from None
    except BaseException as error:
        _note(error)
        raise
    finally:
        _DEPTH.steps = outer
        if not outer:
            begin_call()


def _declared(design: object) -> _Declared | None:
    return _DECLARED.get(design) if isinstance(design, Design) else None


def _check_returned(name: str, where: str, returned: object) -> None:
    if name == "open_opener":
        _hold_opener(returned)
    if not isinstance(returned, RETURNS.get(name, object)):
        known = " or ".join("None" if kind is NoneType else kind.__name__ for kind in RETURNS[name])
        words = f"{name} ({where}) returned {type(returned).__name__}, where the contract has {known}"
        raise WrongTypeError(words, name)


def _note(error: BaseException) -> None:
    if _NOTED:
        _NOTED[-1].append(error)


def _hold_opener(opener: object) -> None:
    """Hold the steps of an opener whose class is the plug-in's own."""
    kind = type(opener)
    for name in OPENER_STEPS:
        step = vars(kind).get(name)
        if isinstance(step, FunctionType) and is_of_plugin_code(step.__code__.co_filename):
            _hold(kind, name)


def _differs(first: Any, second: Any) -> bool:
    return first is not second and first != second and repr(first) != repr(second)


def find_faults(design: AnyDesign) -> Iterator[str]:
    """Yield what a plug-in's own code names as the contract does not: methods and tags."""
    for kind in _own_classes(design):
        yield from find_misspelt(kind)
    for message in _messages(design):
        if message.TAG < OWN_TAGS and not message.__module__.startswith(_OWN_ROOM):
            yield (
                f"{message.__name__}: tag {message.TAG:#04x} must be {OWN_TAGS:#04x} or more, since those "
                "below are blindmatch's own"
            )


def find_misspelt(kind: type) -> Iterator[str]:
    """Yield names of a plug-in's class that look like one of the contract which the class does not have."""
    known = {name for name in (*vars(Design), *Design.__annotations__) if not name.startswith("_")}
    own = {name for name in vars(kind) if not name.startswith("_")}
    for name in sorted(own - known):
        near = difflib.get_close_matches(name, known - own, 1, ALIKE)
        if near and not _is_inherited(kind, name):
            yield (
                f"{kind.__name__}.{name}: the contract has no such name, and {near[0]!r} is near: write that,"
                f" or, if it is a helper of yours, _{name}"
            )


def _is_inherited(kind: type, name: str) -> bool:
    return any(name in vars(base) for base in kind.__mro__[1:])


def _messages(design: AnyDesign) -> Iterable[type[Message]]:
    declared = (design.requests, design.replies, design.enrolments)
    kinds = [kind for one in declared for several in one.values() for kind in several]
    return dict.fromkeys((*kinds, *design.vouchers, design.device_state))


def _own_classes(design: AnyDesign) -> Iterator[type]:
    """Yield the classes of a design's object that blindmatch does not have itself."""
    for kind in type(design).__mro__:
        if kind not in Design.__mro__ and not kind.__module__.startswith("blindmatch_protocol"):
            yield kind
