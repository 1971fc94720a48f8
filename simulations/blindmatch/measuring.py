"""What `assess`, `conformance`, `attack run` and `population` do, as functions, which load what they need."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from blindmatch_simulations.evaluation.assess.plan import QUICK, plan_text
from blindmatch_simulations.evaluation.assess.results import Results
from blindmatch_simulations.measure.phases import silent
from blindmatch_simulations.testbed.deployment.registry import load_design


def assess(out: Path | str, designs: Sequence[str] = (), workload: Path | str | None = None) -> Results:
    """Measure designs, all if none is named, into a folder; it goes on where it was broken off.

    Args:
        workload: a workload file; the quick one if it is None. A sweep is a call for each of its points.
    """
    from blindmatch_simulations.evaluation.assess.running import Assessment

    text = plan_text(Path(workload) if workload else None, QUICK)
    return Assessment(Path(out), text, list(designs), "blindmatch assess", silent).run()


def conformance(reference: str, only: Sequence[str] = (), seed: int = 1) -> dict[str, Any]:
    """Check a design, by all checks or those that are named; as `conformance --json`."""
    from blindmatch_simulations.evaluation.conformance.run import Options, as_json, check_design

    return as_json(check_design(load_design(reference), Options(seed=seed, only=only)))


def attack(name: str, reference: str, weakened: bool = False) -> Any:
    """Run an attack against a design, as `attack run --json`; results whose one row may be `NotPlayed`."""
    from blindmatch_simulations.evaluation.attacks.arena import Arena
    from blindmatch_simulations.evaluation.attacks.run import results_of, run_attack
    from blindmatch_simulations.evaluation.attacks.table import pairs

    (pair,) = (one for one in pairs([load_design(reference)]) if one.attack.name == name)
    rans = [] if pair.unplayed else [run_attack(pair.attack, Arena(pair.design), weakened)]
    return results_of(rans, weakened, [pair] if pair.unplayed else [])


def population(designs: Sequence[str], accounts: int, days: int = 365, seed: int = 1) -> dict[str, Any]:
    """Simulate a year, or other days, of accounts; as `population --json`, of the sample's results."""
    from blindmatch_simulations.evaluation.population.inputs import read_inputs
    from blindmatch_simulations.evaluation.population.running import Options, run

    return run(read_inputs(None), None, list(designs), Options(accounts, days, seed=seed))
