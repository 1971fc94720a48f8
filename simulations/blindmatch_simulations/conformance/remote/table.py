"""The checks that run against a foreign counterpart, and why the others do not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from blindmatch_simulations.conformance.remote import answers, description, proofs, refusals
from blindmatch_simulations.conformance.remote.material import Material
from blindmatch_simulations.inprocess.verdict import Passed


@dataclass(frozen=True, slots=True)
class RemoteCheck:
    """A check: its name and how it is run."""

    name: str
    run: Callable[[Material], Passed]


REMOTE_CHECKS: Final[tuple[RemoteCheck, ...]] = (
    RemoteCheck("description", description.check_description),
    RemoteCheck("callers", description.check_callers),
    RemoteCheck("outcomes", answers.check_outcomes),
    RemoteCheck("codec", answers.check_codec),
    RemoteCheck("proofs", proofs.check_proofs),
    RemoteCheck("shape", answers.check_shape),
    RemoteCheck("replay", answers.check_replay),
    RemoteCheck("batches", answers.check_crowd),
    RemoteCheck("order", answers.check_order),
    RemoteCheck("epoch binding", refusals.check_epoch_binding),
    RemoteCheck("hostile requests", refusals.check_hostile_requests),
    RemoteCheck("resources", answers.check_resources),
)

_TAPE: Final = "needs the counterpart's tape of randomness"
_STATE: Final = "needs the state and the keys of the counterpart"
_DEVICE: Final = "tests the device's own code: run it without --remote"
_LISTS: Final = "needs lists of the checks' own choice at the counterpart"
_SECOND: Final = "needs a second epoch, or another key, at the counterpart"

NOT_REMOTE: Final[Mapping[str, str]] = {
    "entries": _LISTS,
    "hostile replies": _DEVICE,
    "error texts": _STATE,
    "other key": _SECOND,
    "state over epochs": _SECOND,
    "fresh keys": _STATE,
    "draws": _TAPE,
    "repetition": _STATE,
    "growth": _STATE,
    "update": _SECOND,
    "tape": _TAPE,
    "one set-up": _TAPE,
    "executor": _STATE,
    "set-up files": _DEVICE,
    "role files": _STATE,
    "declarations": _DEVICE,
    "surroundings": _DEVICE,
    "egress": _DEVICE,
    "relations": _DEVICE,
    "simulator": _STATE,
    "games": _STATE,
    "malicious games": _STATE,
    "list": _LISTS,
    "list games": _LISTS,
    "timing": _STATE,
    "hand-over": _DEVICE,
    "tightness": _STATE,
}
"""Checks of a local run that are not applicable here, each with its reason."""

NAMES: Final = (*(check.name for check in REMOTE_CHECKS), *NOT_REMOTE)
