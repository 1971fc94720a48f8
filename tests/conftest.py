"""Settings every room's tests share."""

from __future__ import annotations

import asyncio
import compileall
import gc
import importlib
import inspect
import os
import tomllib
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from copy import deepcopy
from functools import cache, lru_cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# one thread for numpy's matrix products, here and in what tests start: a worker has no second core to itself,
# and threads that wait for one another compute all the while. Read when numpy is loaded
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# while tests are imported and collected hardly anything is garbage (see pytest_collection_finish)
gc.disable()

# tests assert behaviour, never time: a busy machine must not fail one
# and a run tries what every run tries: whoever wants other examples passes --hypothesis-profile explore
for name, same in (("blindmatch", True), ("explore", False)):
    settings.register_profile(
        name,
        deadline=None,
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow],
        derandomize=same,
    )
settings.load_profile("blindmatch")


@pytest.fixture(scope="session", autouse=True)
def _cache_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What commands keep for their user is neither read here nor written."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session", autouse=True)
def _computed_once() -> Iterator[None]:
    """What is the same whenever it is asked for, thousands of times in a run: a command's parser, what a TOML
    text says, and the public keys of a device's hundred pre-keys, all of which the library computes for each
    session."""
    import typer.main
    from blindmatch_simulations.cli import app
    from x3dh.pre_key_pair import PreKeyPair

    made = cache(app.app_for)

    parsed = lru_cache(64)(tomllib.loads)

    def app_for(arguments: Sequence[str]) -> typer.Typer:
        called = next((word for word in arguments if word in app.COMMANDS), "")
        return made(("report", "verify") if [*arguments[:2]] == ["report", "verify"] else (called,))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(app, "app_for", app_for)
        patch.setattr(tomllib, "loads", lambda text: deepcopy(parsed(text)))
        patch.setattr(typer.main, "get_command", cache(typer.main.get_command))
        patch.setattr(PreKeyPair, "pub", property(lru_cache(1 << 14)(PreKeyPair.pub.fget)))
        yield


@pytest.hookimpl(wrapper=True, optionalhook=True)
def pytest_xdist_auto_num_workers() -> Generator[None, int, int]:
    """One worker more than there are cores, since tests wait for processes."""
    return (yield) + 1


TESTS = Path(__file__).parent


def pytest_configure(config: pytest.Config) -> None:
    """What workers import is compiled once, before they begin, and each begins to read the tests at another
    folder: side by side they would compile all of it thrice."""
    given = getattr(config, "workerinput", None)
    if given is None and config.getoption("numprocesses", None):
        importlib.import_module("support.forked_servers")
        for room in ("client", "server", "protocol", "proofs", "simulations"):
            compileall.compile_dir(TESTS.parent / room, quiet=2)
    elif given and config.args == config.getini("testpaths"):
        folders = sorted({str(path.parent) for path in TESTS.glob("*/test_*.py")})
        first = len(folders) * int(given["workerid"].removeprefix("gw")) // int(given["workercount"])
        config.args[:] = [*folders[first:], *folders[:first]]


def pytest_collection_finish() -> None:
    """What was imported and collected lives to the end: no collection of garbage looks at it again."""
    gc.collect()
    gc.freeze()
    gc.enable()


@cache
def _names_slow_tests(path: Path) -> bool:
    return "slow" in path.read_text("utf-8")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Where slow tests alone are wanted, a file that has none is not imported, in each worker."""
    passed = config.option.markexpr == "slow" and collection_path.suffix == ".py"
    return True if passed and not _names_slow_tests(collection_path) else None


def pytest_itemcollected(item: pytest.Item) -> None:
    """A slow test in a file that does not say so would be run by nobody."""
    if item.get_closest_marker("slow") and not _names_slow_tests(item.path):
        raise pytest.UsageError(f"{item.nodeid} is slow: the file must have that word")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Every worker begins with its share of the files of long tests, so that none of these runs alone at the
    end; then come the other slow tests and the rest, neighbours as they were. Workers get equal numbers, one
    after the other."""
    workers = int(getattr(config, "workerinput", {}).get("workercount", 0))
    if workers:
        items.sort(key=lambda one: one.path)  # the same for all, whichever folder they began at
    slow = [one for one in items if one.get_closest_marker("slow")]
    if workers < 2 or not slow:
        return
    of = Counter(one.path for one in slow)  # a file that has few slow tests has long ones
    long = [one for one in slow if of[one.path] <= 5]
    rest = [one for one in slow if of[one.path] > 5] + [
        one for one in items if not one.get_closest_marker("slow")
    ]
    total = len(items)
    items[:] = []
    files = list(dict.fromkeys(one.path for one in long))
    for worker in range(workers):
        part = [one for one in long if files.index(one.path) % workers == worker]
        more = max(0, (total - len(items)) // (workers - worker) - len(part))
        items += [*part, *rest[:more]]
        del rest[:more]


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """A test that is a coroutine function runs in a loop of its own, for 300 seconds at the most."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    asyncio.run(asyncio.wait_for(pyfuncitem.obj(**arguments), 300))
    return True
