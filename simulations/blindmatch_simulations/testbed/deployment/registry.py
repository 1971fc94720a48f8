"""Finds designs: built in, as an entry point of an installed package, or in a file; and who must be apart.

A design comes to other processes by the same name: ``oprf-psi``, or ``path/to/file.py:NAME``; each with
``carried-`` before it is the same, with bodies that the provider carries (`designs.carried`).
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import pkgutil
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import cache, partial
from hashlib import sha256
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Final
from weakref import WeakKeyDictionary

import blindmatch_protocol.designs as built_in
from blindmatch_protocol.codec.errors import BlindmatchError, DesignError, NotInstalledError
from blindmatch_protocol.contract import CONTRACT_VERSION, AnyDesign, Content, Design, Info, Party, Role
from blindmatch_server.storage.files import PUBLIC, replace_file
from msgspec import Struct

from blindmatch_simulations.data import committed
from blindmatch_simulations.testbed.deployment.folder import MARKER, Deployment, DeploymentError
from blindmatch_simulations.testbed.inprocess.plugin_bounds import (
    PluginError,
    begin_bounds,
    begin_folder_bounds,
    error_of,
)
from blindmatch_simulations.testbed.inprocess.plugin_contract import find_misspelt, hold_to_contract

HOSTLESS = frozenset({Party.DEVICE, Party.CURATOR, Party.CENTRE})
"""Parties whose servers, if they have any, host no role."""


class CollusionError(DeploymentError):
    """Parties that must not collude have one operator."""


def faults(info: Info, enrolled: Collection[Role] = ()) -> Iterator[str]:
    """What is wrong with the parties that a declaration names; devices enrol at the roles `enrolled`."""
    for role, party in (*info.roles.items(), *info.forwarded.items()):
        if party in HOSTLESS:
            yield f"role {role}: the {party} neither hosts roles nor forwards to them"
    unknown = {*frozenset[Role]().union(*info.apart), *info.forwarded} - set(info.roles)
    if unknown:
        yield f"apart and forwarded must name roles of info.roles, not {_listed(unknown)}"
        return
    for group in info.apart:
        if len({info.roles[role] for role in group}) < max(2, len(group)):
            yield f"apart: the roles {_listed(group)} must be at two parties or more, each at its own"
    for role, carrier in info.forwarded.items():
        if carrier == info.roles[role]:
            yield f"forwarded: the {carrier} hosts {role}, so it must be another that forwards to it"
    for role in set(info.forwarded) & set(enrolled):
        yield f"forwarded: {role} never learns who asks, so nobody can enrol there"
    if info.forwarded and info.sends_content is Content.CLEAR:
        yield "forwarded: a design whose servers see pictures forwards none, since reports name the account"


def operators_of(named: Sequence[str]) -> dict[Party, str]:
    """Operators by party, from ``NAME=OPERATOR`` with the name of a server; `DeploymentError` if one has
    another form."""
    found = {}
    for one in named:
        name, _, operator = one.partition("=")
        try:
            party = Party.of_server(name)
        except DesignError as error:
            raise DeploymentError(f"operator {one!r}: {error}") from error
        if not operator or party in found:
            raise DeploymentError(f"operator {one!r}: must be NAME=OPERATOR, once for each server")
        found[party] = operator
    return found


def operators(deployment: Deployment) -> Mapping[Party, str]:
    """Who runs the servers of those parties that are not their own operators; `DeploymentError` if the file
    is damaged."""
    try:
        named = json.loads((deployment.home / MARKER).read_text()).get("operators", {})
        return {Party.of_server(name): str(operator) for name, operator in named.items()}
    except (OSError, ValueError, AttributeError, RecursionError, DesignError) as error:
        raise DeploymentError(f"{MARKER} is damaged") from error


def collusions(info: Info, operators: Mapping[Party, str]) -> list[str]:
    """What one operator of several parties could put together; a party without an operator is its own."""
    apart = {
        f"{_listed(roles)} must not collude": {info.roles[role] for role in roles} for roles in info.apart
    }
    for role, carrier in info.forwarded.items():
        apart[f"{role} must not learn who asks"] = {carrier, info.roles[role]}
    found = []
    for why, parties in apart.items():
        by: dict[str, list[str]] = {}
        for party in sorted(parties):
            by.setdefault(operators.get(party, f"={party}"), []).append(party.server)
        found += [
            f"{operator} operates {_listed(servers)}, and {why}"
            for operator, servers in by.items()
            if len(servers) > 1
        ]
    return found


def check_apart(deployment: Deployment, info: Info, allowed: bool) -> None:
    """Make sure that parties which must not collude have different operators, or that the same is `allowed`;
    `CollusionError` if they have not."""
    found = [] if allowed else collusions(info, operators(deployment))
    if found:
        raise CollusionError(
            f"{'; '.join(found)}; make a deployment with certs init --operator NAME=OPERATOR, or say "
            "--allow-collusion"
        )


def _listed(names: Iterable[str]) -> str:
    return " and ".join(sorted(names))


ENTRY_POINT_GROUP = "blindmatch.designs"
ON_DEVICE: Final = ("blindmatch_client.device_classifier",)
"""Modules with the client's designs, which need what the protocol room may not have."""
CARRIED: Final = "carried-"
"""Before a design's name or file: the same design, with bodies that the provider carries."""
_REFERENCES: Final[WeakKeyDictionary[AnyDesign, str]] = WeakKeyDictionary()
"""Designs that were loaded from files."""


class RegistryError(BlindmatchError):
    """No design of that name, or it cannot be loaded."""


class Registered(Struct, frozen=True):
    """A design and where it comes from: ``built in``, a package's name, or a path."""

    design: AnyDesign
    source: str


def _modules() -> dict[str, str]:
    inside = (f"{built_in.__name__}.{one.name}" for one in pkgutil.iter_modules(built_in.__path__))
    return {one.rpartition(".")[2].replace("_", "-"): one for one in (*sorted(inside), *ON_DEVICE)}


def built_in_designs() -> Iterator[Registered]:
    """Every `DESIGN` in the protocol room's designs that is installed, by module name."""
    inside = (module for module in _modules().values() if module not in ON_DEVICE)
    return (one for one in _loaded(inside) if isinstance(one, Registered))


def _loaded(modules: Iterable[str]) -> Iterator[Registered | NotInstalledError]:
    """The design of each module that has one, or what says that its libraries are not installed."""
    for name in modules:
        try:
            loaded = importlib.import_module(name)
            if hasattr(loaded, "DESIGN"):
                yield Registered(_checked(loaded.DESIGN, name), "built in")
        except NotInstalledError as error:
            yield error


def not_installed() -> dict[str, str]:
    """Names of the designs that are not installed, and a line about each."""
    found = _loaded(_modules().values())
    return {one.design: str(one) for one in found if isinstance(one, NotInstalledError)}


def all_designs() -> dict[str, Registered]:
    """All designs found without a path, by name; `RegistryError` if two have one name, or an entry point
    cannot be loaded."""
    found: dict[str, Registered] = {}
    installed = (one for one in _loaded(ON_DEVICE) if isinstance(one, Registered))
    for registered in (*built_in_designs(), *installed, *_entry_points()):
        name = registered.design.info.name
        if name in found:
            raise RegistryError(f"two designs are called {name}: {found[name].source}, {registered.source}")
        found[name] = registered
    return found


def load_design(reference: str) -> AnyDesign:
    """The design called `reference`, or the one in a file: ``path.py:NAME``; either after ``carried-``;
    `RegistryError` if there is none, or the file cannot be loaded; the text says why."""
    if (mine := _built_in(reference)) is not None:
        return mine
    if reference.startswith(CARRIED):
        return _carried(reference)
    if is_path(reference):
        path = path_of(reference)
        attribute = reference.rpartition(":")[2]
        check_file(path)
        module = module_of(path.resolve())
        if not hasattr(module, attribute):
            raise RegistryError(f"{path} has no {attribute}; name the Design object after the colon")
        design = _checked(getattr(module, attribute), f"{path}:{attribute}")
        _REFERENCES[design] = f"{path.resolve()}:{attribute}"
        try:
            hold_to_contract(design)
        except PluginError as error:
            raise RegistryError(f"{path}:{attribute}: {error}") from error
        return design
    designs = all_designs()
    if reference not in designs:
        known = ", ".join(sorted(designs))
        raise RegistryError(f"no design is called {reference!r}; there are {known}, or give path.py:NAME")
    return designs[reference].design


def _carried(reference: str) -> AnyDesign:
    """The design that is named after the prefix, wrapped; `RegistryError` if it cannot be."""
    from blindmatch_protocol.designs.carried import carried  # no other design stands on it

    inner = load_design(reference.removeprefix(CARRIED))
    try:
        design = _checked(carried(inner), reference)
    except DesignError as error:
        raise RegistryError(str(error)) from error
    _REFERENCES[design] = CARRIED + reference_of(inner)
    return design


def _built_in(name: str) -> AnyDesign | None:
    """The design of this repository that has this name, without a look at any other; None if none has."""
    module = _modules().get(name)
    found = None if module is None else next(_loaded([module]), None)
    if isinstance(found, NotInstalledError):
        raise RegistryError(str(found)) from found
    return None if found is None else found.design


def reference_of(design: AnyDesign) -> str:
    """Return what `load_design` finds a loaded design by, in any folder: its name, or path.py:NAME."""
    return _REFERENCES.get(design, design.info.name)


def loader_of(design: AnyDesign) -> Callable[[], AnyDesign]:
    """Gives a design that was loaded here in another process."""
    return partial(load_design, reference_of(design))


def is_path(reference: str) -> bool:
    path, colon, _ = reference.rpartition(":")
    return bool(colon) and path.endswith(".py")


def path_of(reference: str) -> Path:
    """The file of ``path.py:NAME``, after ``carried-`` too."""
    return Path(reference.removeprefix(CARRIED).rpartition(":")[0])


def portable_reference(reference: str) -> str:
    """`reference` with an absolute path, so that a process in another folder finds the same file."""
    if reference.startswith(CARRIED):
        return CARRIED + portable_reference(reference.removeprefix(CARRIED))
    if is_path(reference):
        return f"{path_of(reference).resolve()}:{reference.rpartition(':')[2]}"
    return reference


def _entry_points() -> Iterator[Registered]:
    for point in entry_points(group=ENTRY_POINT_GROUP):
        source = point.dist.name if point.dist else point.value
        _begin_package(point.module)
        try:
            loaded = point.load()
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a plug-in may raise anything
            why = error_of(error)
            raise RegistryError(f"design {point.name} of {source} cannot be loaded: {why}") from error
        design = _checked(loaded, point.name)
        if (name := design.info.name) in _modules():
            raise RegistryError(f"{source}: {name} is blindmatch's own; give the design another name")
        try:
            hold_to_contract(design)
        except PluginError as error:
            raise RegistryError(f"design {point.name} of {source}: {error}") from error
        yield Registered(design, source)


def _begin_package(module: str) -> None:
    """Hold the package of an entry point to the bounds in force, before it is loaded."""
    try:
        # the package of the highest level alone is found without loading anything of it
        spec = importlib.util.find_spec(module.partition(".")[0])
    except (ImportError, ValueError):  # loading it says so
        return
    if spec is None:
        return
    for folder in spec.submodule_search_locations or ():
        begin_folder_bounds(Path(folder))
    if spec.submodule_search_locations is None and spec.origin:
        begin_bounds(spec.origin)


def check_file(path: Path) -> None:
    if not path.is_file():
        raise RegistryError(f"{path}: no such file") from FileNotFoundError(path)


def module_of(path: Path) -> ModuleType:
    """Load a file once for each process, under a name that its path decides."""
    name = f"blindmatch_design_{sha256(str(path).encode()).hexdigest()[:16]}"
    begin_bounds(str(path))
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise RegistryError(f"{path}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except KeyboardInterrupt:
        del sys.modules[name]
        raise
    except BaseException as error:  # a plug-in may raise anything
        del sys.modules[name]
        error = error_of(error)
        why = f"{type(error).__name__}: {error}"
        if misspelt := "; ".join(_misspelt(module)):
            raise RegistryError(f"{path} cannot be loaded: {why}; {misspelt}") from error
        if isinstance(error, TypeError | AttributeError | ImportError | DesignError):
            why += f"; for a contract before {CONTRACT_VERSION}, see the end of docs/reference/contract.md"
        raise RegistryError(f"{path} cannot be loaded: {why}") from error
    return module


def _misspelt(module: ModuleType) -> Iterator[str]:
    """Yield misspelt names of the designs' classes in a file, loaded as far as it could be."""
    for kind in list(vars(module).values()):
        if isinstance(kind, type) and issubclass(kind, Design) and kind.__module__ == module.__name__:
            yield from find_misspelt(kind)


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
    return tuple(option["id"] for option in committed("options")["options"])


DESIGN: Final = "design.json"
FIRST_DESIGN: Final = "oprf-psi"
"""Of a deployment for which nothing was built yet."""


def design_of(deployment: Deployment, given: str | None = None) -> str:
    """Reference of the design to use: the one `given`, else the one noted, else `FIRST_DESIGN`;
    `DeploymentError` if the note is damaged."""
    if given is not None:
        return given
    path = deployment.home / DESIGN
    try:
        noted = json.loads(path.read_text())["design"]
    except FileNotFoundError:
        return FIRST_DESIGN
    except (ValueError, KeyError, TypeError, RecursionError):
        noted = None
    if not isinstance(noted, str):
        raise DeploymentError(f"{path} is damaged; remove it, or build again")
    return noted


def note_design(deployment: Deployment, reference: str) -> None:
    """Note, in one step, the design that an epoch was published for."""
    replace_file(deployment.home / DESIGN, (json.dumps({"design": reference}) + "\n").encode(), PUBLIC)
