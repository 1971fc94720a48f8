"""Runs the checks of one foreign counterpart: those that there are for it, and why the others do not run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from blindmatch_protocol.contract import AnyDesign, Role

from blindmatch_simulations.evaluation.conformance.remote.answers import (
    check_codec,
    check_crowd,
    check_order,
    check_outcomes,
    check_proofs,
    check_replay,
    check_resources,
    check_shape,
)
from blindmatch_simulations.evaluation.conformance.remote.counterpart import Counterpart
from blindmatch_simulations.evaluation.conformance.remote.description import check_callers, check_description
from blindmatch_simulations.evaluation.conformance.remote.manifest import HeldManifest
from blindmatch_simulations.evaluation.conformance.remote.material import Material
from blindmatch_simulations.evaluation.conformance.remote.refusals import (
    check_epoch_binding,
    check_hostile_requests,
)
from blindmatch_simulations.evaluation.conformance.run import Report, gathered
from blindmatch_simulations.testbed.inprocess.verdict import Passed, Result, Verdict

REMOTE_CHECKS: Final[Mapping[str, Callable[[Material], Passed]]] = {
    "description": check_description,
    "callers": check_callers,
    "outcomes": check_outcomes,
    "codec": check_codec,
    "proofs": check_proofs,
    "shape": check_shape,
    "replay": check_replay,
    "batches": check_crowd,
    "order": check_order,
    "epoch binding": check_epoch_binding,
    "hostile requests": check_hostile_requests,
    "resources": check_resources,
}

NOT_REMOTE: Final[Mapping[str, str]] = {
    **dict.fromkeys(("draws", "tape", "one set-up"), "needs the counterpart's tape of randomness"),
    **dict.fromkeys(
        ("error texts", "fresh keys", "repetition", "growth", "executor", "role files", "list knowledge",
         "simulator", "games", "malicious games", "timing", "tightness"),
        "needs the state and the keys of the counterpart",
    ),
    **dict.fromkeys(
        ("hostile replies", "set-up files", "full size", "declarations", "surroundings", "egress",
         "relations", "hand-over"),
        "tests the device's own code: run it without --remote",
    ),
    **dict.fromkeys(
        ("entries", "list", "list games"), "needs lists of the checks' own choice at the counterpart"
    ),
    **dict.fromkeys(
        ("other key", "state over epochs", "update"),
        "needs a second epoch, or another key, at the counterpart",
    ),
}  # fmt: skip
"""Checks of a local run that are not applicable here, each with its reason."""

NAMES: Final = (*REMOTE_CHECKS, *NOT_REMOTE)


def check_remote(
    design: AnyDesign,
    held: HeldManifest,
    addresses: Mapping[Role, str],
    seed: int = 1,
    only: Sequence[str] = (),
    watch: Callable[[str], None] = lambda name: None,
) -> Report:
    """Run the checks against whoever plays the roles at `addresses`; `watch` is told each check's name.

    Raises:
        ManifestError: if the manifest is for another design, or a file it names cannot be used.
        SetFileError: if the set-up cannot be opened.
        ServiceError: if the counterpart cannot be called at all.
    """
    held.check_for(design)
    counterpart = Counterpart(design, held, addresses)
    try:
        material = Material(design, held, counterpart, seed)
        counterpart.require()
        results, seconds, _ = gathered(REMOTE_CHECKS.items(), material, only, watch)
    finally:
        counterpart.close()
    others = {name: why for name, why in NOT_REMOTE.items() if not only or name in only}
    results += tuple(Result(name, Verdict.NOT_APPLICABLE, why) for name, why in others.items())
    took = seconds | dict.fromkeys(others, 0.0)
    return Report(design.info.name, design.info.version, seed, False, results, took)
