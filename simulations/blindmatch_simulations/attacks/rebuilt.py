"""A matcher rebuilds pictures from what devices send of them, and recognises each among others.

A picture counts as recognised if its reconstruction is more like it than like any of the others.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from blindmatch_protocol.contract import Adversary as Conduct
from blindmatch_protocol.contract import Party

from blindmatch_simulations.attacks.adversary import AS_BUILT, Adversary, Claim, Means
from blindmatch_simulations.attacks.arena import Arena
from blindmatch_simulations.attacks.figure import Figure
from blindmatch_simulations.inprocess.deployed import run_session
from blindmatch_simulations.measure.intervals import clopper_pearson
from blindmatch_simulations.pictures.pool import detailed
from blindmatch_simulations.studies.depicted import alike, learnt, of_coefficients, of_hash

PICTURES: Final = 16


def run(arena: Arena) -> Figure:
    """Count the pictures that are recognised, and say how alike they are in the mean."""
    shown = [detailed(number) for number in range(PICTURES)]
    usual = learnt([detailed(PICTURES + number) for number in range(PICTURES)])
    deployed, rng = arena.deployed(arena.hashes(8, "list"), "set"), arena.rng("sessions")
    scores = np.empty((PICTURES, PICTURES))
    for at, one in enumerate(arena.each(shown)):
        (((asked,),),) = (run_session(deployed, one, rng).rounds,)
        plane = _rebuilt(asked.body, usual)
        scores[at] = [alike(plane, other) for other in shown]
    return _figure(scores)


def _rebuilt(body: Any, usual: Any) -> npt.NDArray[np.float32]:
    if hasattr(body, "coefficients"):
        return of_coefficients(np.frombuffer(body.coefficients, "<f4"), usual)
    return of_hash(body.hash, usual)


def _figure(scores: npt.NDArray[np.float64]) -> Figure:
    right = int((scores.argmax(axis=1) == np.arange(len(scores))).sum())
    low, high = clopper_pearson(right, len(scores))
    own = float(np.diag(scores).mean())
    chance = float(scores[~np.eye(len(scores), dtype=bool)].mean())
    parts = {"SSIM": round(own, 3), "SSIM with others": round(chance, 3)}
    succeeded = low > 1 / len(scores)
    share = right / len(scores)
    return Figure("share recognised", share, succeeded, len(scores), (round(low, 4), round(high, 4)), parts)


ATTACK: Final = Adversary(
    name="rebuilt-picture",
    means=Means(frozenset({Party.MATCHER}), Conduct.SEMI_HONEST, "what devices send it of pictures"),
    claim=Claim("a coarse picture can be rebuilt from what is sent", "docs/designs/partial-hash.md"),
    budget=f"{PICTURES} generated pictures, as many others to learn from, no trained model",
    move=run,
    weakness=AS_BUILT,
    against=frozenset({"hash-upload", "partial-hash"}),
)
