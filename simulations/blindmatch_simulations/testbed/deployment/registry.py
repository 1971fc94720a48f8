"""Finds designs: built in, as an entry point of an installed package, or in a file.

A design comes to other processes by the same name: ``oprf-psi``, or ``path/to/file.py:NAME``.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import sys
from collections.abc import Callable, Iterator
from functools import cache, partial
from hashlib import sha256
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Final
from weakref import WeakKeyDictionary

import blindmatch_protocol.designs as built_in
from blindmatch_protocol.codec.errors import BlindmatchError, DesignError, NotInstalledError
from blindmatch_protocol.contract import CONTRACT_VERSION, AnyDesign, Design, Info
from msgspec import Struct

from blindmatch_simulations.data import committed
from blindmatch_simulations.testbed.deployment.collusion import faults

ENTRY_POINT_GROUP = "blindmatch.designs"
ON_DEVICE: Final = ("blindmatch_client.device_classifier",)
"""Modules with the client's designs, which need what the protocol room may not have."""
_REFERENCES: Final[WeakKeyDictionary[AnyDesign, str]] = WeakKeyDictionary()
"""Designs that were loaded from files."""


class RegistryError(BlindmatchError):
    """No design of that name, or it cannot be loaded."""


class Registered(Struct, frozen=True):
    """A design and where it comes from: ``built in``, a package's name, or a path."""

    design: AnyDesign
    source: str


def built_in_designs() -> Iterator[Registered]:
    """Every `DESIGN` in the protocol room's designs, by module name."""
    modules = (one.name for one in pkgutil.iter_modules(built_in.__path__))
    for name in sorted(f"{built_in.__name__}.{one}" for one in modules):
        loaded = importlib.import_module(name)
        if hasattr(loaded, "DESIGN"):
            yield Registered(_checked(loaded.DESIGN, name), "built in")


def _on_device() -> Iterator[Registered | NotInstalledError]:
    """Every design of the client's that needs more than the base, or what says that it is not installed."""
    for name in ON_DEVICE:
        try:
            yield Registered(_checked(importlib.import_module(name).DESIGN, name), "built in")
        except NotInstalledError as error:
            yield error


def not_installed() -> dict[str, str]:
    """Names of the designs that are not installed, and a line about each."""
    return {one.design: str(one) for one in _on_device() if isinstance(one, NotInstalledError)}


def all_designs() -> dict[str, Registered]:
    """All designs found without a path, by name.

    Raises:
        RegistryError: if two have one name, or an entry point cannot be loaded.
    """
    found: dict[str, Registered] = {}
    installed = (one for one in _on_device() if isinstance(one, Registered))
    for registered in (*built_in_designs(), *installed, *_entry_points()):
        name = registered.design.info.name
        if name in found:
            raise RegistryError(f"two designs are called {name}: {found[name].source}, {registered.source}")
        found[name] = registered
    return found


def load_design(reference: str) -> AnyDesign:
    """The design called `reference`, or the one in a file: ``path.py:NAME``.

    Raises:
        RegistryError: if there is none, or the file cannot be loaded; the text says why.
    """
    path, _, attribute = reference.rpartition(":")
    if is_path(reference):
        design = _from_file(Path(path), attribute)
        _REFERENCES[design] = f"{Path(path).resolve()}:{attribute}"
        return design
    designs = all_designs()
    if reference not in designs:
        if reference in (missing := not_installed()):
            raise RegistryError(missing[reference])
        known = ", ".join(sorted(designs))
        raise RegistryError(f"no design is called {reference!r}; there are {known}, or give path.py:NAME")
    return designs[reference].design


def loader_of(design: AnyDesign) -> Callable[[], AnyDesign]:
    """Gives a design that was loaded here in another process."""
    return partial(load_design, _REFERENCES.get(design, design.info.name))


def is_path(reference: str) -> bool:
    """Whether this is ``path.py:NAME``."""
    path, colon, _ = reference.rpartition(":")
    return bool(colon) and path.endswith(".py")


def portable_reference(reference: str) -> str:
    """`reference` with an absolute path, so that a process in another folder finds the same file."""
    path, _, attribute = reference.rpartition(":")
    if is_path(reference):
        return f"{Path(path).resolve()}:{attribute}"
    return reference


def _entry_points() -> Iterator[Registered]:
    for point in entry_points(group=ENTRY_POINT_GROUP):
        source = point.dist.name if point.dist else point.value
        try:
            loaded = point.load()
        except (Exception, SystemExit) as error:
            raise RegistryError(f"design {point.name} of {source} cannot be loaded: {error}") from error
        yield Registered(_checked(loaded, point.name), source)


def check_file(path: Path) -> None:
    """Raises `RegistryError` if a design's file is not there."""
    if not path.is_file():
        raise RegistryError(f"{path}: no such file") from FileNotFoundError(path)


def _from_file(path: Path, attribute: str) -> AnyDesign:
    check_file(path)
    module = module_of(path.resolve())
    if not hasattr(module, attribute):
        raise RegistryError(f"{path} has no {attribute}; name the Design object after the colon")
    return _checked(getattr(module, attribute), f"{path}:{attribute}")


def module_of(path: Path) -> ModuleType:
    """Load a file once for each process, under a name that its path decides."""
    name = f"blindmatch_design_{sha256(str(path).encode()).hexdigest()[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise RegistryError(f"{path}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        why = f"{type(error).__name__}: {error}"
        if isinstance(error, TypeError | AttributeError | ImportError | DesignError):
            why += f"; for an older design contract than {CONTRACT_VERSION}, see the end of docs/plugin.md"
        raise RegistryError(f"{path} cannot be loaded: {why}") from error
    return module


def _checked(found: object, where: str) -> AnyDesign:
    if isinstance(found, type) and issubclass(found, Design):
        raise RegistryError(f"{where} is a class; name an object of it, such as DESIGN = {found.__name__}()")
    if not isinstance(found, Design):
        raise RegistryError(f"{where} is not a Design")
    if not isinstance(getattr(found, "info", None), Info):
        raise RegistryError(f"{where}: info must be an Info, the design's declaration")
    if found.info.option not in option_ids():
        known = ", ".join(option_ids())
        words = f"option {found.info.option!r} is not in the catalogue of options, which has {known}"
        raise RegistryError(
            f"{where}: {words}; take the nearest, and say in `differs` how the design differs"
        )
    for fault in faults(found.info, found.enrolments):
        raise RegistryError(f"{where}: {fault}")
    if bool(found.vouchers) != (found.info.vouching is not None):
        raise RegistryError(
            f"{where}: vouching must say what vouchers tell where there are any, and only there"
        )
    for kind in ("requests", "replies"):
        if set(getattr(found, kind, ())) != set(found.info.roles):
            roles = ", ".join(sorted(found.info.roles)) or "none"
            raise RegistryError(f"{where}: {kind} must name the roles that info names: {roles}")
    if not set(found.enrolments) <= set(found.info.roles) - set(found.info.forwarded):
        raise RegistryError(
            f"{where}: only roles that know the account can hold something of it (enrolments)"
        )
    return found


@cache
def option_ids() -> tuple[str, ...]:
    """Ids of the catalogue of options, in its order."""
    return tuple(option["id"] for option in committed("options")["options"])
