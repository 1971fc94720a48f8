"""A plug-in that hangs, ends its process, starts another, prints without end, returns another type or changes
what it declares gets an error of that name in each command, and the other results are kept."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from blindmatch_simulations.cli import exit_codes
from blindmatch_simulations.cli.app import run
from blindmatch_simulations.testbed.deployment import registry
from blindmatch_simulations.testbed.deployment.registry import load_design
from blindmatch_simulations.testbed.inprocess import plugin_bounds, plugin_threads
from blindmatch_simulations.testbed.inprocess.bounded_streams import BoundedText
from blindmatch_simulations.testbed.inprocess.plugin_bounds import (
    MOST_PRINTED,
    VARIABLE,
    Bounds,
    EndlessCallError,
    PluginError,
    bounded_plugins,
)
from blindmatch_simulations.testbed.inprocess.plugin_code import PluginCode
from blindmatch_simulations.testbed.inprocess.plugin_contract import (
    WrongTypeError,
    find_misspelt,
    hold_to_contract,
)

# a twentieth of a step, after an endless call, must be enough to hash the largest picture
FEW_U = Bounds(setup_u=20_000, step_u=80_000)
PLUGIN = """
import multiprocessing, os, subprocess, sys, threading, time

import msgspec
from blindmatch_simulations.data.bases.plain import ExactUpload


class Broken(ExactUpload):
    info = msgspec.structs.replace(ExactUpload.info, name="broken")

    def {step}(self, *given, **more):
        {body}


DESIGN = Broken()
"""
ENDLESS = {
    "spins": "while True: pass",
    "sleeps": "time.sleep(1e6)",
    "waits": "threading.Event().wait()",
    "polls": "while True: time.sleep(0.01)",
    "polls an event": "while not threading.Event().wait(0.01): pass",
    "catches": "\n".join(
        (
            "while True:",
            "            try:",
            "                while True: pass",
            "            except Exception: pass",
        )
    ),
}
WAYS = {
    **dict.fromkeys(ENDLESS, "EndlessCallError"),
    "exits": "EndedProcessError",
    "aborts": "EndedProcessError",
    "leaves": "EndedProcessError",
    "raises exit": "SystemExit",
    "forks": "StartedProcessError",
    "spawns": "StartedProcessError",
    "shell": "StartedProcessError",
    "multiprocessing spawn": "StartedProcessError",
    "multiprocessing forkserver": "StartedProcessError",
    "prints": "PrintedError",
    "prints lines": "PrintedError",
    "errors": "PrintedError",
    "bytes": "PrintedError",
    "unbuffered bytes": "PrintedError",
    "first stream": "PrintedError",
    "leaves a thread": "LeftThreadError",
    "leaves a timer": "LeftThreadError",
    "leaves a pool": "LeftThreadError",
    "type": "WrongTypeError",
    "none": "WrongTypeError",
    "raises": "KeyError",
    "cancels": "CancelledError",
    "ends a generator": "GeneratorExit",
}
BODIES = {
    **ENDLESS,
    "exits": "os._exit(3)",
    "aborts": "os.abort()",
    "leaves": "sys.exit(3)",
    "raises exit": "raise SystemExit(3)",
    "forks": "os.fork()",
    "spawns": "subprocess.run(['true'])",
    "shell": "os.system('true')",
    "multiprocessing spawn": "multiprocessing.get_context('spawn').Process(target=print).start()",
    "multiprocessing forkserver": "multiprocessing.get_context('forkserver').Process(target=print).start()",
    "prints": "print('x' * 10**9)",
    "prints lines": "\n            ".join(("while True:", "print('line' * 1000)")),
    "errors": "sys.stderr.write('x' * 10**8)",
    "bytes": "sys.stdout.buffer.write(b'x' * 10**8)",
    "unbuffered bytes": "sys.stdout.buffer.raw.write(b'x' * 10**6)",
    "first stream": "sys.__stdout__.write('x' * 10**6)",
    "leaves a thread": "threading.Thread(target=threading.Event().wait).start(); return super().leakage()",
    "leaves a timer": "threading.Timer(1e6, print).start(); return super().leakage()",
    "leaves a pool": (
        "self.pool = __import__('concurrent.futures').futures.ThreadPoolExecutor(1); "
        "self.pool.submit(print); return super().leakage()"
    ),
    "type": "return 7",
    "none": "pass",
    "raises": "raise KeyError('lost')",
    "cancels": "import asyncio; raise asyncio.CancelledError",
    "ends a generator": "raise GeneratorExit",
}


@pytest.fixture(autouse=True)
def bounds(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Bounds that are soon used up, for what a test loads."""
    monkeypatch.setattr(plugin_bounds, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(plugin_bounds, "MOST_SLEPT", 1.0)
    monkeypatch.setattr(plugin_threads, "END_SECONDS", 0.2)
    monkeypatch.setattr(plugin_threads, "LATER_SECONDS", 0.02)
    with bounded_plugins(FEW_U):
        yield


def written(folder: Path, step: str, body: str) -> Path:
    path = folder / "broken.py"
    path.write_text(PLUGIN.format(step=step, body=body))
    return path


def checked(path: Path, *only: str) -> dict[str, Any]:
    """Run checks on a plug-in; what each came to, by its name."""
    out = path.with_name("found.json")
    names = [word for name in only for word in ("--only", name)]
    assert run(["conformance", f"{path}:DESIGN", *names, "--json", str(out)]) == 1
    made = json.loads(out.read_text())
    return {one["check"]: one | made["evidence"].get(one["check"], {}) for one in made["checks"]}


@pytest.mark.parametrize("way", WAYS)
def test_a_plugin_that_misbehaves_in_a_step_gets_an_error_of_that_name_and_the_next_check_runs(
    way: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, "leakage", BODIES[way])
    found = checked(path, "outcomes", "declarations", "codec")
    assert {name: one["verdict"] for name, one in found.items()} == {
        "outcomes": "passed",
        "declarations": "failed",
        "codec": "passed",
    }
    failed = found["declarations"]
    assert WAYS[way] in failed["rule"] and failed["step"] == "leakage"
    assert f"{path}:" in failed["trace"] + failed["rule"]
    assert "plugin_bounds.py" not in failed["trace"]
    assert len("".join(capfd.readouterr())) < 4 * MOST_PRINTED


@pytest.mark.parametrize("way", ENDLESS)
def test_a_call_on_the_main_thread_that_does_not_return_is_ended_where_it_is(
    way: str, tmp_path: Path
) -> None:
    design = load_design(f"{written(tmp_path, 'enrol', BODIES[way])}:DESIGN")
    with pytest.raises(EndlessCallError):
        design.enrol(None)  # type: ignore[arg-type]


def test_a_loop_on_another_thread_is_ended_too(tmp_path: Path) -> None:
    design = load_design(f"{written(tmp_path, 'enrol', BODIES['spins'])}:DESIGN")
    found = list[BaseException]()

    def call() -> None:
        try:
            design.enrol(None)  # type: ignore[arg-type]
        except BaseException as error:
            found.append(error)

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join()
    assert isinstance(found[0], EndlessCallError) and "enrol did not return" in str(found[0])


def test_a_call_that_waits_on_another_thread_comes_up_where_the_main_thread_waits_for_it(
    tmp_path: Path,
) -> None:
    path = written(tmp_path, "enrol", "self.gate.wait()")
    path.write_text(
        path.read_text().replace("\n    def enrol", "\n    gate = threading.Event()\n\n    def enrol")
    )
    design: Any = load_design(f"{path}:DESIGN")
    pool = ThreadPoolExecutor(1)
    waiting = pool.submit(design.enrol, None)
    with pytest.raises(EndlessCallError, match=r"enrol did not return.*broken\.py:\d+ in enrol"):
        waiting.result()
    design.gate.set()


def test_a_call_that_works_within_its_bounds_returns_however_long_it_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plugin_bounds, "LOOK_SECONDS", 0.001)
    path = written(tmp_path, "enrol", "time.sleep(0.05); return super().enrol(*given)")
    monkeypatch.setattr(plugin_bounds, "MOST_WAITING", 10**6)
    assert load_design(f"{path}:DESIGN").enrol(None) is not None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("return super().leakage()[1:] if Broken.asked() else super().leakage()", "does not declare what"),
        ("Broken.info = msgspec.structs.replace(self.info, version=9); return ()", "version changed"),
    ],
)
def test_a_declaration_that_changes_between_calls_is_refused_by_name(
    body: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, "leakage", body)
    text = path.read_text().replace(
        "\n    def leakage",
        "\n    calls = []\n\n    @classmethod\n    def asked(cls):\n        cls.calls.append(1)\n"
        "        return len(cls.calls) % 2\n\n    def leakage",
    )
    path.write_text(text)
    assert run(["conformance", f"{path}:DESIGN", "--only", "outcomes"]) == 6
    assert words in capsys.readouterr().err


WRAPPED = """
import functools


def timed(step):
    @functools.wraps(step)
    def inner(*given, **more):
        return step(*given, **more)
    return inner


"""


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("return list(super().leakage())", "WrongTypeError"),
        ("self.calls.append(1); return super().leakage()[len(self.calls) > 2 :]", "ChangedDeclarationError"),
    ],
)
def test_a_step_with_a_decorator_of_the_plugins_own_is_held_to_the_contract(
    body: str, error: str, tmp_path: Path
) -> None:
    path = written(tmp_path, "leakage", body)
    text = path.read_text().replace("class Broken", f"{WRAPPED}class Broken")
    path.write_text(text.replace("    def leakage", "    calls = []\n\n    @timed\n    def leakage"))
    (found,) = checked(path, "declarations").values()
    assert error in found["rule"] and found["step"] == "leakage"


def test_a_decorator_around_a_step_that_is_held_already_is_held_too(tmp_path: Path) -> None:
    first = load_design(f"{written(tmp_path, 'enrol', 'return super().enrol(*given)')}:DESIGN")
    kind: Any = type(first)
    inner = kind.enrol

    @functools.wraps(inner)
    def outer(*given: Any) -> Any:
        inner(*given)
        return 7

    kind.enrol = outer
    hold_to_contract(first)
    with pytest.raises(WrongTypeError, match=r"enrol .* returned int"):
        first.enrol(None)  # type: ignore[arg-type]
    held = kind.enrol
    hold_to_contract(first)
    assert kind.enrol is held


@pytest.mark.parametrize("error", ["GeneratorExit", "__import__('asyncio').CancelledError", "BaseException"])
def test_an_error_that_is_no_exception_fails_the_check_of_the_step_and_the_results_are_written(
    error: str, tmp_path: Path
) -> None:
    found = checked(written(tmp_path, "start", f"raise {error}('lost')"), "outcomes", "codec")
    assert error.rpartition(".")[2] in found["outcomes"]["rule"]
    assert {one["verdict"] for one in found.values()} == {"failed"}


def test_a_keyboards_interrupt_ends_the_command_though_a_step_raises_it(tmp_path: Path) -> None:
    path = written(tmp_path, "start", "raise KeyboardInterrupt")
    assert run(["conformance", f"{path}:DESIGN", "--only", "outcomes"]) == exit_codes.INTERRUPTED


@pytest.mark.parametrize("error", ["GeneratorExit", "BaseException"])
def test_a_file_that_raises_no_exception_when_it_is_loaded_is_refused_by_name(
    error: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken.py").write_text(f"raise {error}('lost')")
    assert run(["conformance", f"{tmp_path / 'broken.py'}:DESIGN"]) == exit_codes.REFUSED_INPUT
    assert f"cannot be loaded: {error}: lost" in " ".join(capsys.readouterr().err.split())


def test_a_declaration_that_a_step_changes_fails_the_check_that_runs_it(tmp_path: Path) -> None:
    body = "Broken.info = msgspec.structs.replace(self.info, large_bodies=True); return super().start(*given)"
    (found,) = checked(written(tmp_path, "start", body), "outcomes").values()
    assert "ChangedDeclarationError" in found["rule"] and "large_bodies changed" in found["rule"]
    assert found["step"] == "start"


def test_an_attack_fails_on_a_broken_plugin_and_the_others_are_played(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, "start", "os._exit(3)")
    out = tmp_path / "found.json"
    command = ["attack", "run", "membership-probing", "--design", f"{path}:DESIGN", "--design", "oprf-psi"]
    assert run([*command, "--json", str(out)]) == 1
    rows = {one["parameters"]["design"]: one for one in json.loads(out.read_text())["rows"]}
    assert rows["broken"]["status"] == "failed" and "EndedProcessError" in rows["broken"]["why"]
    assert rows["oprf-psi"]["status"] == "measured"


def test_a_crash_is_no_success_of_an_attack(tmp_path: Path) -> None:
    path = written(tmp_path, "start", "raise KeyError('lost')")
    out = tmp_path / "found.json"
    command = ["attack", "run", "audit-evasion", "--design", f"{path}:DESIGN", "--json", str(out)]
    assert run(command) == 1
    (row,) = json.loads(out.read_text())["rows"]
    assert row["status"] == "failed"
    assert "the design crashed in start: KeyError: 'lost'" in row["why"]


def test_what_a_plugin_prints_goes_to_standard_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, "enrol", "print('!!!'); return super().enrol(*given)")
    design = load_design(f"{path}:DESIGN")
    design.enrol(None)  # type: ignore[arg-type]
    sys.stdout.write("own\n")
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("own\n", "!!!\n")


def test_nothing_is_replaced_once_the_bounds_are_over(tmp_path: Path) -> None:
    before = plugin_bounds._EXIT
    load_design(f"{written(tmp_path, 'enrol', 'pass')}:DESIGN")
    assert os._exit is not before
    plugin_bounds._WATCH.end()
    assert os._exit is before
    assert not isinstance(sys.stdout, BoundedText)
    assert VARIABLE in os.environ


def test_a_name_that_a_class_has_beside_the_one_of_the_contract_is_a_helper() -> None:
    def answers(self: object) -> None: ...

    helper = type("Helper", (), {"answer": answers, "answers": answers, "_recieve": answers})
    assert list(find_misspelt(helper)) == []
    (words,) = find_misspelt(type("Misspelt", (), {"answers": answers}))
    assert "Misspelt.answers" in words and "'answer'" in words


BESIDE = {
    "exits": ("os._exit(3)", "EndedProcessError"),
    "forks": ("os.fork()", "StartedProcessError"),
    "prints": ("print('x' * 10**9)", "PrintedError"),
    "spins": ("while True: pass", "EndlessCallError"),
}


@pytest.mark.parametrize("way", BESIDE)
def test_a_module_that_is_imported_from_beside_the_file_is_held_to_the_bounds(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body, error = BESIDE[way]
    name = f"beside_{way}"
    (tmp_path / f"{name}.py").write_text(
        f"import os\n\n\nclass Mixin:\n    def leakage(self):\n        {body}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    path = written(tmp_path, "unused", "pass")
    text = path.read_text().replace("class Broken(", f"import {name}\n\n\nclass Broken({name}.Mixin, ")
    path.write_text(text)
    (found,) = checked(path, "declarations").values()
    assert error in found["rule"] and f"{name}.py" in found["trace"] + found["rule"]


def test_a_module_that_was_loaded_before_the_plugin_is_not_held(tmp_path: Path) -> None:
    code = PluginCode()
    loaded = str(Path(__file__).resolve())
    code.add(str(Path(__file__).with_name("not_there.py")))
    assert not code.has(__file__) and not code.has(loaded)
    assert code.has(str(Path(__file__).with_name("imported_later.py")))
    assert not code.has(os.__file__) and not code.has(plugin_bounds.__file__)


@pytest.mark.parametrize(
    ("body", "error"), [("os._exit(3)", "EndedProcessError"), ("return 7", "WrongTypeError")]
)
def test_a_package_with_an_entry_point_is_held_to_the_bounds(
    body: str, error: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "site-packages" / f"held_{error.lower()}"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(PLUGIN.format(step="enrol", body=body))
    monkeypatch.syspath_prepend(package.parent)
    point = EntryPoint("broken", f"{package.name}:DESIGN", registry.ENTRY_POINT_GROUP)
    monkeypatch.setattr(registry, "entry_points", lambda group: [point])
    design = load_design("broken")
    with pytest.raises(PluginError) as raised:
        design.enrol(None)  # type: ignore[arg-type]
    assert type(raised.value).__name__ == error


def test_a_step_that_waits_for_its_threads_passes(tmp_path: Path) -> None:
    body = (
        "thread = threading.Thread(target=print); thread.start(); thread.join(); return super().enrol(*given)"
    )
    assert load_design(f"{written(tmp_path, 'enrol', body)}:DESIGN").enrol(None)  # type: ignore[arg-type]


def test_a_step_that_sleeps_for_less_than_the_bound_in_each_call_passes(tmp_path: Path) -> None:
    design = load_design(
        f"{written(tmp_path, 'enrol', 'time.sleep(0.3); return super().enrol(*given)')}:DESIGN"
    )
    for _ in range(5):
        assert design.enrol(None)  # type: ignore[arg-type]


def test_an_endless_hook_of_a_base_class_comes_up_as_an_exception(tmp_path: Path) -> None:
    design: Any = load_design(f"{written(tmp_path, 'judged', 'time.sleep(1e6)')}:DESIGN")
    with pytest.raises(EndlessCallError, match="judged did not return"):
        design.judged(None, None)


def test_a_command_ends_although_a_step_left_a_thread_behind(tmp_path: Path) -> None:
    body = "threading.Thread(target=threading.Event().wait).start(); return super().leakage()"
    path = written(tmp_path, "leakage", body)
    command = [sys.executable, "-m", "blindmatch_simulations", "conformance", f"{path}:DESIGN"]
    made = subprocess.run([*command, "--only", "codec"], capture_output=True, text=True, timeout=300)
    assert made.returncode in (0, 1), made.stderr
