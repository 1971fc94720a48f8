"""Designs are found in the designs folder, in packages and in files, and anything else is refused by name."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import dummy_designs
import pytest
from blindmatch_simulations.testbed.deployment import registry
from blindmatch_simulations.testbed.deployment.registry import (
    RegistryError,
    all_designs,
    built_in_designs,
    load_design,
    portable_reference,
)
from dummy_designs import Echo
from msgspec.structs import replace

TESTS = Path(__file__).parents[1]


def test_every_module_with_a_design_in_the_folder_is_found() -> None:
    found = {registered.design.info.name: registered.source for registered in built_in_designs()}
    assert {"none", "hash-upload", "provider-scan", "oprf-psi"} <= found.keys()
    assert set(found.values()) == {"built in"}


def test_a_built_in_design_lies_in_the_module_of_its_name_and_is_loaded_by_it() -> None:
    for registered in built_in_designs():
        assert load_design(registered.design.info.name) is registered.design


@pytest.mark.parametrize(
    ("name", "others"),
    [
        ("oprf-psi", set()),
        ("none", set()),
        ("hash-upload", set()),
        ("prefix-bucket", {"oprf_psi"}),
        ("split-psi", {"oprf_psi"}),
        ("split-token-psi", {"token_psi"}),
        ("wide-psi", {"token_psi"}),
    ],
)
def test_a_design_is_loaded_without_those_it_does_not_stand_on(name: str, others: set[str]) -> None:
    """What `device send` and `device status` load, told by modules, since seconds hang on the machine."""
    script = (
        "import sys\nimport blindmatch_simulations.cli.device\n"
        "from blindmatch_simulations.testbed.deployment.registry import load_design\n"
        "load_design(sys.argv[1])\nprint(*sorted(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script, name], capture_output=True, text=True, check=True)
    front = "blindmatch_protocol.designs."
    loaded = [one.removeprefix(front) for one in done.stdout.split() if one.startswith(front)]
    designs = {registered.design.info.name.replace("-", "_") for registered in built_in_designs()}
    assert {one.partition(".")[0] for one in loaded} & designs == {name.replace("-", "_")} | others
    assert len(loaded) <= 16


def test_names_lead_to_designs() -> None:
    for name in ("none", "oprf-psi"):
        assert load_design(name).info.name == name


def test_a_file_is_loaded_once_however_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    absolute = load_design(f"{TESTS / 'dummy_designs.py'}:ECHO")
    monkeypatch.chdir(TESTS)
    assert load_design("dummy_designs.py:ECHO") is absolute
    assert absolute.info.name == "dummy-echo"


def test_a_reference_to_a_file_is_made_absolute_for_other_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(TESTS)
    assert portable_reference("dummy_designs.py:ECHO") == f"{TESTS / 'dummy_designs.py'}:ECHO"
    assert portable_reference("oprf-psi") == "oprf-psi"


@pytest.mark.parametrize("reference", ["", "nothing", "nothing:X", "a/b/c.py", "path.txt:X"])
def test_what_is_neither_a_name_nor_a_file_is_refused_with_the_names(reference: str) -> None:
    with pytest.raises(RegistryError, match=r"no design is called .*; there are .*oprf-psi.*or give path"):
        load_design(reference)


@pytest.mark.parametrize(
    "older", ["bm.Fact('my.hash', 'every hash', lambda item, setup: item.hash)", "bm.Relation(distance=0)"]
)
def test_a_file_of_an_older_contract_is_told_where_contract_3_is_explained(
    older: str, tmp_path: Path
) -> None:
    path = tmp_path / "older.py"
    path.write_text(f"from blindmatch_protocol import contract as bm\n{older}\n")
    explained = "see the end of docs/reference/contract.md"
    told = rf"older\.py cannot be loaded: .*for a contract before 3, {re.escape(explained)}"
    with pytest.raises(RegistryError, match=told):
        load_design(f"{path}:X")


def test_a_design_with_vouchers_that_does_not_say_what_they_tell_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "silent.py"
    path.write_text(
        "from dummy_designs import Vouchers\nfrom msgspec.structs import replace\n"
        "class Silent(Vouchers):\n    info = replace(Vouchers.info, vouching=None)\nX = Silent()\n"
    )
    with pytest.raises(RegistryError, match="vouching must say what vouchers tell"):
        load_design(f"{path}:X")


def test_a_file_that_fails_is_loaded_anew_once_it_is_mended(tmp_path: Path) -> None:
    path = tmp_path / "mended.py"
    path.write_text("raise RuntimeError('not yet')")
    with pytest.raises(RegistryError, match=r"mended\.py cannot be loaded: RuntimeError: not yet"):
        load_design(f"{path}:X")
    path.write_text("from blindmatch_protocol.designs.none import DESIGN as X\n")
    assert load_design(f"{path}:X").info.name == "none"


@pytest.fixture
def packages(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[EntryPoint]]:
    """Entry points of installed packages, as the test wishes."""
    points: list[EntryPoint] = []
    monkeypatch.setattr(registry, "entry_points", lambda group: [p for p in points if p.group == group])
    yield points


def _point(value: str) -> EntryPoint:
    return EntryPoint("plugged", value, registry.ENTRY_POINT_GROUP)


def test_designs_of_packages_are_found(packages: list[EntryPoint]) -> None:
    packages.append(_point("dummy_designs:ECHO"))
    assert all_designs()["dummy-echo"].source == "dummy_designs:ECHO"
    assert load_design("dummy-echo") is dummy_designs.ECHO


def test_two_designs_of_one_name_are_refused(packages: list[EntryPoint]) -> None:
    packages += [_point("dummy_designs:ECHO"), _point("dummy_designs:ECHO")]
    with pytest.raises(RegistryError, match="two designs are called dummy-echo"):
        all_designs()


@pytest.mark.parametrize("name", ["oprf-psi", "device-classifier"])
def test_a_package_cannot_take_the_name_of_a_built_in_design(
    packages: list[EntryPoint], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """It would be listed, and the built-in design loaded; also where that is not installed."""
    named = type("Named", (Echo,), {"info": replace(dummy_designs.ECHO.info, name=name)})()
    monkeypatch.setattr(dummy_designs, "NAMED", named, raising=False)
    packages.append(_point("dummy_designs:NAMED"))
    with pytest.raises(RegistryError, match=f"{name} is blindmatch's own"):
        all_designs()


def test_a_package_that_cannot_be_loaded_is_named(packages: list[EntryPoint]) -> None:
    packages.append(_point("nowhere_to_be_found:X"))
    with pytest.raises(RegistryError, match="design plugged of nowhere_to_be_found:X cannot be loaded"):
        all_designs()


BROKEN = """
from msgspec.structs import replace
from dummy_designs import ECHO, Echo
class Nothing(Echo):
    info = "dummy"
class Unasked(Echo):
    requests = {}
class Unanswered(Echo):
    replies = {"party_b": ()}
class Unheard(Echo):
    info = replace(Echo.info, option="9z")
NOTHING, UNASKED, UNANSWERED, UNHEARD = Nothing(), Unasked(), Unanswered(), Unheard()
"""


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("NOTHING", "info must be an Info"),
        ("UNASKED", "requests must name the roles that info names: matcher"),
        ("UNHEARD", "option '9z' is not in the catalogue of options, which has 0a, .*3a; take the nearest"),
        ("UNANSWERED", "replies must name the roles that info names: matcher"),
    ],
)
def test_a_declaration_that_does_not_hold_together_is_refused(tmp_path: Path, name: str, says: str) -> None:
    path = tmp_path / "broken.py"
    path.write_text(BROKEN)
    with pytest.raises(RegistryError, match=f"{path}:{name}: {says}"):
        load_design(f"{path}:{name}")
