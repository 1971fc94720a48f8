"""What a run leaves behind: the result as data, and a replay file for each failure."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from blindmatch_simulations.conformance.run import QUICK, Options, Report
from blindmatch_simulations.deployment.errors import ReplayError
from blindmatch_simulations.inprocess.verdict import Result

RESULT_VERSION: Final = 1
REPLAY_VERSION: Final = 1


def as_json(report: Report) -> dict[str, Any]:
    """The report as JSON values."""
    return {
        "conformance": RESULT_VERSION,
        "design": report.design,
        "version": report.version,
        "seed": report.seed,
        "games": report.games,
        "failed": [result.check for result in report.failed],
        "checks": [
            {
                "check": result.check,
                "verdict": str(result.verdict),
                "reason": result.reason,
                "figures": dict(result.figures),
                "step": result.step,
                "rule": result.rule,
                "seconds": report.seconds[result.check],
                "cpu_seconds": report.cpu_seconds.get(result.check),
            }
            for result in report.results
        ],
    }


def replay_of(report: Report, result: Result, reference: str, options: Options) -> dict[str, Any]:
    """What a replay file holds: enough to run the failed check again, and what was seen."""
    return {
        "replay": REPLAY_VERSION,
        "design": reference,
        "version": report.version,
        "check": result.check,
        "seed": report.seed,
        "games": report.games,
        "runs": list(options.runs or QUICK),
        "values": dict(options.values),
        "step": result.step,
        "rule": result.rule,
        "evidence": dict(result.evidence),
    }


class Replay(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `replay_of` writes; `design` is a name or ``path.py:NAME``, `version` the design's."""

    replay: Literal[1]
    design: str
    version: int
    check: str
    seed: int
    games: bool
    runs: tuple[int, int]
    values: dict[str, int]
    step: str
    rule: str
    evidence: dict[str, Any]

    @property
    def options(self) -> Options:
        """Those that run the one check again."""
        return Options(self.seed, self.games, self.runs, self.values, [self.check])


def read_replay(path: Path) -> Replay:
    """Read a replay file.

    Raises:
        ReplayError: if there is none, or it is not what `replay_of` writes.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Replay)
    except OSError as error:
        raise ReplayError(f"{path}: cannot be read: {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise ReplayError(f"{path}: is no replay file of version {REPLAY_VERSION}: {error}") from error
