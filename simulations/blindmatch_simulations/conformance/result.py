"""What a run leaves behind: the result as data, and a replay file for each failure."""

from __future__ import annotations

from typing import Any, Final

from blindmatch_simulations.conformance.run import QUICK, Options, Report
from blindmatch_simulations.conformance.verdict import Result

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
