"""Checks that are kept: what was interrupted goes on, and nothing is taken of a design that changed."""

from __future__ import annotations

import ast
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from copy import copy
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import pytest
from blindmatch_protocol.designs import device_list, hash_upload, none, oprf_psi
from blindmatch_simulations.cli import conformance, exit_codes
from blindmatch_simulations.evaluation.assess import keeping, running, worker
from blindmatch_simulations.evaluation.assess.keeping import (
    DEAR_U,
    HERE,
    KeptCheck,
    KeptChecks,
    code_of,
    committed_checks,
    keep_checks,
    kept_checks,
    key_of_check,
)
from blindmatch_simulations.evaluation.assess.observed import COMMITTED, Check
from blindmatch_simulations.evaluation.assess.plan import QUICK as QUICK_PLAN
from blindmatch_simulations.evaluation.assess.plan import plan_text, read_plan
from blindmatch_simulations.evaluation.conformance import run
from blindmatch_simulations.evaluation.conformance.fixtures import Fixtures
from blindmatch_simulations.evaluation.conformance.run import CHECKS, GAMES, QUICK
from blindmatch_simulations.measure.results import ResultsError
from blindmatch_simulations.testbed.deployment.registry import Registered, built_in_designs
from blindmatch_simulations.testbed.inprocess.verdict import BrokenError, Passed
from msgspec.structs import replace
from support.assess_rows import game_figures, observed, row, tiny
from support.command import COMMAND, in_process


class KilledError(KeyboardInterrupt):
    """Stands for the end of the process."""


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], dict[str, Callable[[], None]]]:
    """Four checks that note that they ran, and do what is said of them."""
    ran = list[str]()
    acts = dict[str, Callable[[], None]]()

    def check(name: str) -> Any:
        def made(fixtures: object) -> Passed:
            acts.get(name, lambda: None)()
            ran.append(name)
            return Passed("done")

        return made

    found = tuple(replace(one, run=check(one.name)) for one in CHECKS[:4])
    for module in (run, worker, running, conformance):
        monkeypatch.setattr(module, "CHECKS", found)
    return ran, acts


def fixtures(design: Any = oprf_psi.DESIGN, seed: int = 1) -> Fixtures:
    return Fixtures(design, seed, QUICK)


def quiet(check: Check) -> None:
    """Nothing is told."""


def kill() -> None:
    raise KilledError


def test_a_check_that_was_finished_before_a_kill_is_not_run_again(counted: Any, tmp_path: Path) -> None:
    ran, acts = counted
    plan = replace(read_plan(plan_text(None, QUICK_PLAN)), committed_checks=False)
    acts[CHECKS[2].name] = kill
    with pytest.raises(KilledError):
        worker._check(plan, tmp_path / "kept", "none")
    assert [one.check.check for one in kept_checks(tmp_path / "kept")["none"]] == ran
    acts.clear()
    worker._check(plan, tmp_path / "kept", "none")
    assert ran == [one.name for one in CHECKS[:4]], "each ran once"
    assert {one.check.verdict for one in kept_checks(tmp_path / "kept")["none"]} == {"passed"}


def test_kept_checks_outlive_a_kill_of_the_command(tmp_path: Path) -> None:
    path = tmp_path / "checks.json"
    line = [*COMMAND, "conformance", "none", "--keep", str(path)]
    process = subprocess.Popen(line, stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 240
        while len(kept_checks(path).get("none", ())) < 3 and time.monotonic() < until:
            assert process.poll() is None
            time.sleep(0.01)
    finally:
        process.kill()
        process.wait()
    before = kept_checks(path)["none"]
    assert 3 <= len(before) < len(CHECKS)
    assert in_process(tmp_path, "conformance", "none", "--keep", path).code == 0
    after = kept_checks(path)["none"]
    assert after[: len(before)] == before, "seconds and work included"
    assert [one.check.check for one in after] == [one.name for one in CHECKS]
    assert {one.check.verdict for one in after} <= {"passed", "not applicable", "not comparable"}


def test_a_check_under_its_key_is_not_run_and_under_another_it_is(counted: Any, tmp_path: Path) -> None:
    ran, _ = counted
    path = tmp_path / "kept"
    keep_checks(path, fixtures(), 1 << 40, quiet)
    before = path.read_bytes()
    ran.clear()
    keep_checks(path, fixtures(), 1 << 40, quiet)
    assert path.read_bytes() == before and not ran
    newer = copy(oprf_psi.DESIGN)
    newer.info = replace(newer.info, version=newer.info.version + 1)  # type: ignore[misc]
    for other in (fixtures(newer), fixtures(hash_upload.DESIGN), fixtures(seed=2)):
        ran.clear()
        keep_checks(path, other, 1 << 40, quiet)
        assert len(ran) == 4
    assert set(kept_checks(path)) == {"oprf-psi", "hash-upload"}


def test_what_was_kept_counts_for_the_budget_and_what_is_of_other_code_goes(
    counted: Any, tmp_path: Path
) -> None:
    ran, _ = counted
    path = tmp_path / "kept"
    keep_checks(path, fixtures(), 1 << 40, quiet)
    dear = [replace(one, work_u=1_000) for one in kept_checks(path)["oprf-psi"]]
    dear[3] = replace(dear[3], key="of other code")
    path.write_bytes(msgspec.json.encode(KeptChecks(1, {"oprf-psi": tuple(dear)})))
    ran.clear()
    keep_checks(path, fixtures(), 2_999, quiet)
    assert not ran and [one.check.check for one in kept_checks(path)["oprf-psi"]] == [
        c.name for c in CHECKS[:3]
    ]
    keep_checks(path, fixtures(), 3_001, quiet)
    assert ran == [CHECKS[3].name]


def test_large_games_count_for_quick_ones_and_not_the_other_way(tmp_path: Path) -> None:
    by_name = {one.name: one for one in CHECKS}
    large = fixtures()
    large.held_out = GAMES[1]
    key = key_of_check(fixtures(), by_name["games"], GAMES[1])
    assert (
        key
        == key_of_check(large, by_name["games"], large.held_out)
        != key_of_check(fixtures(), by_name["games"], 0)
    )
    assert key_of_check(large, by_name["codec"], GAMES[1]) == key_of_check(fixtures(), by_name["codec"], 0)
    kept = KeptCheck(Check("games", "", "passed", "of a large game", {}, 1.0), key, 1)
    (tmp_path / "kept").write_bytes(msgspec.json.encode(KeptChecks(1, {"oprf-psi": (kept,)})))
    keep_checks(tmp_path / "kept", fixtures(), -1, quiet)
    assert kept_checks(tmp_path / "kept")["oprf-psi"] == (kept,)


def test_a_key_follows_from_code_and_from_what_it_imports_and_not_from_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    first = tmp_path / "kept_first.py"
    second = tmp_path / "kept_second.py"

    def digest(one: str, other: str) -> str:
        first.write_text(one)
        second.write_text(other)
        keeping._file_of.cache_clear()
        keeping._read.cache_clear()
        return code_of.__wrapped__("kept_first", ("kept_",))

    imports = '"""Words."""\nfrom kept_second import x\n'
    told = 'x = 1\n"""Told."""\n'
    here = digest(imports, told)
    assert here == digest(imports.replace("Words", "So") + "# so\n", "# what\n" + told.replace("Told", "It"))
    assert here != digest(imports, told.replace("1", "2"))
    assert here != digest(imports.replace("import x", "import y as x"), told)
    nested = "def f():\n    import kept_second\n"
    assert digest(nested, "x = 1\n") != digest(nested, "x = 2\n")


def test_code_that_many_checks_import_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed = list[str]()
    monkeypatch.setattr(ast, "parse", lambda data: parsed.append("one") or ast.Module([], []))
    keeping._read.cache_clear()
    try:
        for one in CHECKS:
            code_of.__wrapped__(one.run.__module__, keeping._OF_CHECKS)
            code_of.__wrapped__(one.run.__module__, keeping._OF_CHECKS)
        assert len(parsed) == len({one.run.__module__ for one in CHECKS})
    finally:
        keeping._read.cache_clear()


@pytest.mark.parametrize("module", ["designs.token_psi.tokens", "group", "codec", "contract"])
def test_the_key_of_a_design_follows_from_all_that_it_imports(
    module: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    name = f"blindmatch_protocol.{module}"
    design = type(__import__("blindmatch_protocol.designs.token_psi", fromlist=["DESIGN"]).DESIGN).__module__
    before = code_of.__wrapped__(design, ("blindmatch_protocol",))
    real = keeping._file_of(name)
    assert real is not None
    changed = tmp_path / "changed.py"
    changed.write_text(real.read_text("utf-8") + "\nCHANGED = 1\n")
    known = keeping._file_of
    monkeypatch.setattr(keeping, "_file_of", lambda one: changed if one == name else known(one))
    assert code_of.__wrapped__(design, ("blindmatch_protocol",)) != before


def test_committed_evidence_is_told_as_such_and_only_where_the_plan_says_so(
    counted: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran, _ = counted
    keep_checks(tmp_path / "data", fixtures(), 1 << 40, quiet)
    monkeypatch.setattr(keeping, "text_of", lambda name: (tmp_path / "data").read_text("utf-8"))
    plan = read_plan(plan_text(None, QUICK_PLAN))
    assert plan.committed_checks and not read_plan(plan_text(None)).committed_checks
    ran.clear()
    worker._check(plan, tmp_path / "kept", "oprf-psi")
    told = [one.check for one in kept_checks(tmp_path / "kept")["oprf-psi"]]
    assert not ran and {one.reason for one in told} == {"committed evidence; done"}
    assert {one.figures[COMMITTED] for one in told} == {True}
    worker._check(replace(plan, committed_checks=False), tmp_path / "here", "oprf-psi")
    assert len(ran) == 4
    monkeypatch.setattr(keeping, "key_of_check", lambda fixtures, check, runs: f"{check.name} changed")
    worker._check(plan, tmp_path / "more", "oprf-psi")
    assert len(ran) == 8, "of a changed design nothing is taken"


def test_checks_of_a_row_are_of_the_parameters_of_the_row(
    counted: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With --set a row had the checks, committed ones too, of the default parameters."""
    ran, _ = counted
    keep_checks(tmp_path / "data", fixtures(device_list.DESIGN), 1 << 40, quiet)
    monkeypatch.setattr(keeping, "text_of", lambda name: (tmp_path / "data").read_text("utf-8"))
    plan = read_plan(plan_text(None, QUICK_PLAN))
    for parameters, new in (({}, 0), ({"index": 0}, 4), ({"index": 1}, 4), ({"bits": 4}, 0)):
        ran.clear()
        path = tmp_path / f"kept{parameters}"
        worker._check(replace(plan, parameters=parameters), path, "device-list")
        assert len(ran) == new, parameters
        told = {one.check.figures.get(COMMITTED, False) for one in kept_checks(path)["device-list"]}
        assert told == {not new}


def test_an_assessment_takes_up_checks_and_says_what_is_committed(
    counted: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the checks' process left, killed or not, is in the row; what is missing is not checked."""
    kept = [
        KeptCheck(Check(one.name, "", "passed", "", {COMMITTED: True}, 1.0), "k", 0) for one in CHECKS[:2]
    ]
    place = tmp_path / running.SETS / f"none-{worker.CHECKED}"
    place.parent.mkdir()
    place.write_bytes(msgspec.json.encode(KeptChecks(1, {"none": tuple(kept)})))
    found: list[Any] = []
    phase = lambda title: lambda done, total: None  # noqa: E731
    run_of = running.Assessment(tmp_path, tiny(check_u=5), ["none"], "test", phase)
    monkeypatch.setattr(running, "decoded", lambda *_: None)
    monkeypatch.setattr(running.Assessment, "_write", lambda self, *told: found.append(told[-2:]))
    for why in ("", "ended by signal SIGKILL"):
        monkeypatch.setattr(running.Assessment, "_guard", lambda *_, why=why: running.Ended(why, 1.0, 1.0))
        run_of._check(read_plan(tiny(check_u=5)), tmp_path, "none", "none", threading.Event())
    (checks, used_up), (_, killed) = found
    kept += [replace(kept[0], check=replace(kept[0].check, check=one.name)) for one in CHECKS[2:4]]
    place.write_bytes(msgspec.json.encode(KeptChecks(1, {"none": tuple(kept)})))
    run_of._check(read_plan(tiny(check_u=5)), tmp_path, "none", "none", threading.Event())
    assert [one.verdict for one in found[2][0]] == ["passed"] * 4 and not found[2][1], "nothing was started"
    assert [one.verdict for one in checks] == ["passed", "passed", "not checked", "not checked"]
    assert used_up == "the work for checks, 5 u, was used up before" and killed == "ended by signal SIGKILL"


def test_checks_of_a_design_that_has_committed_ones_are_made_in_the_process_of_its_run(
    counted: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran, acts = counted
    order = list[str]()
    monkeypatch.setattr(worker, "_end_with_parent", lambda: None)
    monkeypatch.setattr(worker, "choose_group_backend", lambda: None)
    monkeypatch.setattr(worker, "_run", lambda *_: order.append("measured"))
    acts[CHECKS[0].name] = lambda: order.append("checked")
    plug_in = f"{Path(__file__).parents[1] / 'dummy_designs.py'}:ECHO"
    for part, plan, reference, told in (
        ("run", QUICK_PLAN, "none", ["measured", "checked"]),
        ("run", QUICK_PLAN, plug_in, ["measured"]),
        ("run", None, "none", ["measured"]),
        ("check", None, "none", ["checked"]),
    ):
        order.clear()
        ran.clear()
        made = read_plan(plan_text(None, plan) if plan else plan_text(None))
        (tmp_path / worker.PLAN).write_bytes(msgspec.json.encode(made))
        kept = tmp_path / f"{part}-{plan}-{len(reference)}"
        place = str(tmp_path)
        assert worker.main([part, place, place, str(kept), reference]) == 0
        assert order == told
        held = kept_checks(kept.with_name(f"{kept.name}-{worker.CHECKED}"))
        checked = [one.name for one in CHECKS[:4]] if "checked" in told else []
        assert [one.check.check for every in held.values() for one in every] == checked


def test_a_check_that_ends_the_process_of_the_run_takes_no_figures_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row of a design in which a check ran out of memory was one that failed, though all was measured."""

    def guard(self: object, part: str, plan: object, folder: Path, name: str, *_: object) -> running.Ended:
        if name == "none":
            (folder / name / worker.OBSERVED).write_bytes(msgspec.json.encode(observed()))
        return running.Ended("ended by signal SIGKILL", 1.0, 1.0)

    written = list[str]()
    monkeypatch.setattr(running.Assessment, "_guard", guard)
    monkeypatch.setattr(running.Assessment, "_write", lambda self, plan, name, *_: written.append(name))
    phase = lambda title: lambda done, total: None  # noqa: E731
    run_of = running.Assessment(tmp_path, tiny(), ["none"], "test", phase)
    (tmp_path / running.SETS).mkdir()
    for name in ("none", "hash-upload"):
        run_of._measure(read_plan(tiny()), tmp_path, name, name)
    assert written == ["none"], "whose other checks are then made in a process of their own"
    assert "ended by signal SIGKILL" in run_of._path("hash-upload").read_text()


def test_designs_are_forked_off_one_process_and_one_that_is_killed_costs_its_own_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = list[tuple[str, bool]]()
    started = list[str]()

    class Few(ExitStack):
        def __init__(self, module: str, many: bool) -> None:
            super().__init__()
            made.append((module, many))

        def start(self, arguments: Sequence[str], out: int, errors: object) -> object:
            started.append(f"{arguments[0]} {arguments[4]}")
            return subprocess.Popen(["/bin/sh", "-c", "kill -9 $$"], stdout=out, start_new_session=True)

    monkeypatch.setattr(running, "Nursery", Few)
    phase = lambda title: lambda done, total: None  # noqa: E731
    several = running.Assessment(tmp_path / "out", tiny(), ["none", "hash-upload"], "test", phase)
    for few in (several, replace(several, references=["none"])):
        rows = few.run().rows
        assert [getattr(one, "why", "") for one in rows] == ["ended by signal SIGKILL"] * 2
    assert made == [(running.WORKER, True), (running.WORKER, False)]
    assert started == ["run none", "run hash-upload", "run none"], "what failed is tried again"


def test_a_row_s_source_is_what_the_run_has_loaded_whatever_is_written_there_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = keeping.source_of(tmp_path)
    monkeypatch.setattr(keeping.blindmatch_protocol, "__path__", [str(tmp_path)])
    assert keeping.source_of(tmp_path) == before
    (tmp_path / "design.py").write_text("changed = True\n")
    assert keeping.source_of(tmp_path) != before, "a file of the user's is loaded anew for each row"


def test_each_run_takes_its_source_before_its_processes_load_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = tmp_path / "code" / "made.py"
    out = tmp_path / "out"
    code.parent.mkdir()
    code.write_text("loaded = 0\n")
    monkeypatch.setattr(keeping.blindmatch_protocol, "__path__", [str(code.parent)])
    monkeypatch.setattr(keeping, "protocol_digest", cache(keeping.protocol_digest.__wrapped__))
    monkeypatch.setattr(running, "protocol_digest", keeping.protocol_digest)

    class Edited(ExitStack):
        def __init__(self, module: str, many: bool) -> None:
            super().__init__()
            code.write_text(code.read_text() + "loaded += 1\n")

        def start(self, arguments: Sequence[str], out: int, errors: object) -> object:
            return subprocess.Popen(["/bin/false"], stdout=out, start_new_session=True)

    monkeypatch.setattr(running, "Nursery", Edited)
    run_of = running.Assessment(out, tiny(), ["none"], "test", lambda title: lambda done, total: None)
    for _ in range(2):  # one after the other in one process
        before = keeping._digests([code])
        run_of.run()
        source = keeping.decoded(keeping._path(out, "none"), keeping.Origin).source
        own = keeping._digests(keeping.folder_of(none.DESIGN).glob("*.py"))
        assert source == sha256(own + before).hexdigest()
        assert before != keeping._digests([code])


def test_a_row_says_which_of_its_figures_are_of_committed_evidence() -> None:
    game = Check("games", "", "passed", "", {"m": game_figures(0.4, 48), COMMITTED: True}, 1.0)
    figures = row(
        observed(),
        (game, replace(game, check="malicious games"), replace(game, check="order", figures={})),
        "",
    ).figures
    assert figures["advantage"].why.startswith("committed evidence; an advantage of")
    assert figures["checks_failed"].value == 0
    assert figures["checks_failed"].why == "2 of 3 checks are of committed evidence, the others of this run"


def test_a_file_of_another_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "checks.json").write_text('{"version": 2, "designs": {}}')
    with pytest.raises(ResultsError, match="not by its schema"):
        kept_checks(tmp_path / "checks.json")


def test_keep_ends_with_an_error_if_a_check_failed_or_is_missing(
    counted: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ended with 0, whatever came out; the page says that this is only where nothing failed."""
    _, acts = counted

    def fail() -> None:
        raise BrokenError("step", "rule")

    acts[CHECKS[1].name] = fail
    code = in_process(tmp_path, "conformance", "none", "--keep", tmp_path / "kept").code
    assert code == exit_codes.WRONG
    verdicts = [one.check.verdict for one in kept_checks(tmp_path / "kept")["none"]]
    assert verdicts == ["passed", "failed", "passed", "passed"]
    acts.clear()
    assert in_process(tmp_path, "conformance", "none", "--keep", tmp_path / "new").code == 0
    monkeypatch.setattr(conformance, "WORK_U", -1)
    assert in_process(tmp_path, "conformance", "none", "--keep", tmp_path / "none").code == exit_codes.WRONG


def test_nothing_is_kept_of_a_plug_in_whose_code_no_key_follows_from(counted: Any, tmp_path: Path) -> None:
    """An object of a built-in class had the key of the built-in design, whatever its file does to it."""
    path = tmp_path / "kept"
    plug_in = tmp_path / "plug_in.py"
    assert in_process(tmp_path, "conformance", "none", "--keep", path).code == 0
    lines = (
        "from copy import copy",
        "from blindmatch_protocol.designs import none",
        "DESIGN = copy(none.DESIGN)",
    )
    plug_in.write_text("\n".join((*lines, "DESIGN.publish = None\n")))
    before = path.read_bytes()
    told = in_process(tmp_path, "conformance", f"{plug_in}:DESIGN", "--keep", path)
    assert told.code == 2 and path.read_bytes() == before


def test_a_design_that_is_edited_before_its_turn_is_kept_under_the_key_of_the_code_that_ran(
    counted: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, acts = counted
    name = "blindmatch_protocol.designs.hash_upload"
    known = keeping._file_of
    edited = tmp_path / "edited.py"
    edited.write_text(f"{known(name).read_text('utf-8')}\nEDITED = 1\n")  # type: ignore[union-attr]
    both = {one.info.name: Registered(one, "built in") for one in (none.DESIGN, hash_upload.DESIGN)}
    monkeypatch.setattr(conformance, "all_designs", lambda: both)
    ran = key_of_check(fixtures(hash_upload.DESIGN), run.CHECKS[0], 0)
    code_of.cache_clear()

    def edit() -> None:
        monkeypatch.setattr(keeping, "_file_of", lambda one: edited if one == name else known(one))

    acts[CHECKS[0].name] = edit
    try:
        assert in_process(tmp_path, "conformance", "--keep", tmp_path / "kept").code == 0
        code_of.cache_clear()
        assert key_of_check(fixtures(hash_upload.DESIGN), run.CHECKS[0], 0) != ran, "of other code now"
    finally:
        code_of.cache_clear()
    assert kept_checks(tmp_path / "kept")["hash-upload"][0].key == ran


def test_designs_that_other_processes_keep_in_the_file_stay(counted: Any, tmp_path: Path) -> None:
    _, acts = counted
    path = tmp_path / "kept"

    def other() -> None:
        acts.clear()
        keep_checks(path, fixtures(hash_upload.DESIGN), 1 << 40, quiet)

    acts[CHECKS[1].name] = other
    keep_checks(path, fixtures(), 1 << 40, quiet)
    assert {name: len(every) for name, every in kept_checks(path).items()} == {
        "hash-upload": 4,
        "oprf-psi": 4,
    }


def modules_of(module: str, within: tuple[str, ...]) -> set[str]:
    """Modules whose code is in a key."""
    found = set[str]()
    waiting = [module]
    while waiting:
        if (name := waiting.pop()) not in found and (path := keeping._file_of(name)) is not None:
            found.add(name)
            waiting += [one for one in keeping._read(path)[1] if one.startswith(within)]
    return found


def test_packages_whose_code_is_in_no_key_do_nothing_but_import() -> None:
    """A module's import runs its packages, which are not in the key unless they are imported by name."""
    starts = {(type(one.design).__module__, keeping._OF_DESIGNS) for one in built_in_designs()}
    missing = dict[str, str]()
    for start in starts | {(one.run.__module__, keeping._OF_CHECKS) for one in CHECKS}:
        found = modules_of(*start)
        packages = {name.rsplit(".", depth)[0] for name in found for depth in range(1, name.count(".") + 1)}
        missing |= dict.fromkeys(packages - found - {"blindmatch_simulations"}, start[0])
    assert missing
    for package, start in missing.items():
        path = keeping._file_of(package)
        assert path is not None
        for one in ast.parse(path.read_bytes()).body:
            words = isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant)
            assert words or isinstance(one, ast.Import | ast.ImportFrom), f"{start}: {package}"


def test_no_committed_check_failed_and_each_is_kept_once() -> None:
    held = msgspec.json.decode(keeping.text_of(keeping.CHECKS_FILE), type=KeptChecks)
    for design, every in held.designs.items():
        names = [one.check.check for one in every]
        assert len(names) == len(set(names)), design
        assert "failed" not in {one.check.verdict for one in every}, design
        taken = {one.check.check: one.check for one in committed_checks(design)}
        dear = {one.check.check for one in every if one.work_u > DEAR_U}
        assert set(taken) == {name for name in names if name not in HERE or name in dear}, design
        for name, check in taken.items():
            assert check.reason.startswith("committed evidence of another machine, ") is (name in HERE), (
                design
            )


def test_of_a_dear_design_times_are_committed_so_that_the_hand_over_is_checked_here() -> None:
    """Under `--quick` he-hamming's times used up the work for checks, and its hand-over went unchecked."""
    taken = {one.check.check for one in committed_checks("he-hamming")}
    assert "timing" in taken and "hand-over" not in taken
    assert not {"timing", "hand-over"} & {one.check.check for one in committed_checks("oprf-psi")}


def test_what_has_no_design_of_its_own_takes_nothing() -> None:
    assert committed_checks("path.py:DESIGN") == []
    assert fixtures(none.DESIGN).whole is None
