"""`make release-check`: says of each step of a release whether it was done, and fails where one was not."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Final

from counterparts.environments import sources

from support import wheel
from support.wheel import GIT, ROOT, digest, lock_of, project, sbom_path, wheel_path
from support.wheel_check import made_of

TESTED: Final = ROOT / "build" / "tested"
"""The commit on which `.ci/run` ended well."""
SITE: Final = ROOT / "build" / "docs" / "index.html"
MACHINES: Final = ROOT / "docs" / "wheel-check.json"
FOREIGN: Final = ROOT / "docs" / "counterparts.json"


def _git(*arguments: str) -> str:
    command = [GIT, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()


def _committed_at(*paths: str) -> int:
    return int(_git("log", "-1", "--format=%ct", "--", *paths) or 0)


def tree() -> str:
    """Nothing is left uncommitted."""
    return "uncommitted: " + _git("status", "--porcelain") if _git("status", "--porcelain") else ""


def version() -> str:
    """Package and citation have one version."""
    cited = re.search(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text("utf-8"), re.MULTILINE)
    said = cited[1] if cited else "none"
    return (
        ""
        if said == project()["version"]
        else f"pyproject.toml: {project()['version']}; CITATION.cff: {said}"
    )


def changelog() -> str:
    """CHANGELOG.md has a part of this version with a date."""
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    dated = rf"^## {re.escape(project()['version'])}, \d{{4}}-\d\d-\d\d$"
    return "" if re.search(dated, text, re.MULTILINE) else f"no `## {project()['version']}, DATE`"


def built() -> str:
    """The wheel in dist/ is the one that this commit gives, twice."""
    if not wheel_path().exists():
        return "no wheel in dist/: make wheel"
    before = digest(wheel_path())
    try:
        return "" if digest(wheel.build()) == before else "the wheel in dist/ was of other files: make wheel"
    except wheel.WheelError as error:
        return str(error)


def bill() -> str:
    """The bill of materials is of the lock as it is."""
    if not sbom_path().exists():
        return "none in dist/: make wheel"
    return "" if lock_of(sbom_path()) == digest(wheel.LOCK) else "it is of another lock: make wheel"


def machines() -> str:
    """A wheel of this lock and metadata was installed into empty environments, and no run failed."""
    kept = json.loads(MACHINES.read_text("utf-8")) if MACHINES.exists() else {"verdicts": {}, "wheel": ""}
    failed = [name for name, verdict in kept["verdicts"].items() if verdict.startswith("failed")]
    if failed or "passed" not in kept["verdicts"].values():
        return f"failed: {', '.join(failed)}" if failed else "not run: make wheel-check"
    return "" if kept.get("of") == made_of() else "with another lock, metadata or commands: make wheel-check"


def checks() -> str:
    """The committed checks are of the designs' code as it is."""
    from blindmatch_simulations.evaluation.assess.keeping import committed_checks, key_of_check
    from blindmatch_simulations.evaluation.conformance.fixtures import Fixtures
    from blindmatch_simulations.evaluation.conformance.run import CHECKS, GAMES, QUICK
    from blindmatch_simulations.testbed.deployment.registry import built_in_designs

    stale = []
    for one in built_in_designs():
        fixtures = Fixtures(one.design, 1, QUICK)
        keys = {key_of_check(fixtures, check, runs) for check in CHECKS for runs in (GAMES[1], 0)}
        kept = [held.key for held in committed_checks(one.design.info.name)]
        fixtures.close()
        if not kept or not set(kept) <= keys:
            stale.append(one.design.info.name)
    return f"not of the code as it is: {', '.join(stale)}: make checks" if stale else ""


def pages() -> str:
    """The site of the documentation was built after the last change of a page."""
    there = SITE.stat().st_mtime if SITE.exists() else 0
    return "" if there >= max(1, _committed_at("docs", "README.md")) else "make docs"


def counterparts() -> str:
    """Foreign programs were run as they are run now, and none disagreed."""
    held = json.loads(FOREIGN.read_text("utf-8")) if FOREIGN.exists() else {"rows": []}
    rows = held["rows"]
    wrong = [one["program"] for one in rows if one["verdict"] not in ("agrees", "not run")]
    if wrong or not any(one["verdict"] == "agrees" for one in rows):
        return f"disagree: {', '.join(wrong)}" if wrong else "not run: make counterparts"
    return "" if held.get("of") == sources() else "how they are run was changed since: make counterparts"


def tested() -> str:
    """`.ci/run` ended well on this commit."""
    done = TESTED.read_text("utf-8").strip() if TESTED.exists() else ""
    return "" if done and done == _git("rev-parse", "HEAD") else "not on this commit: .ci/run"


STEPS: Final[dict[str, Callable[[], str]]] = {
    step.__name__: step
    for step in (tree, version, changelog, built, bill, machines, checks, pages, counterparts, tested)
}


def main() -> None:
    missing = {name: why for name, step in STEPS.items() if (why := step())}
    for name, step in STEPS.items():
        sys.stdout.write(f"{'NOT DONE' if name in missing else 'done':9} {name}: {step.__doc__}\n")
        sys.stdout.write(f"          {missing[name]}\n" if name in missing else "")
    sys.exit(1 if missing else 0)


if __name__ == "__main__":
    main()
