"""Somebody tries the standard edits of a picture until one is not found any more; no others are looked for.

refusal-oracle  on a listed picture, from a device that refuses what matches. The refusal is all they need: it
                comes at once, for every edit, and no server ever hears of those that were refused. Nothing is
                reported
tried-edits     with a device's classifier, on pictures under a caption that stays on
fixed-edits     on listed pictures, against what a design calls a match: no protocol is run

The edits were made for other reasons (`pictures.edits`). What is stated of distortion is that of the first of
them, the harmless ones coming first, that goes through, or takes out at least half of the pictures, or else
most.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from blindmatch_client.settings import Consequence
from blindmatch_protocol.contract import Adversary as Conduct
from blindmatch_protocol.contract import Item, Party
from blindmatch_protocol.contract.relation import NO_ENTRIES
from blindmatch_protocol.picture import pdq
from blindmatch_protocol.picture.decode import Picture

from blindmatch_simulations.evaluation.attacks.adversary import Claim, Means
from blindmatch_simulations.evaluation.attacks.arena import Arena, AttackError, attack
from blindmatch_simulations.evaluation.attacks.budget import distortion
from blindmatch_simulations.evaluation.attacks.figure import Figure, counted
from blindmatch_simulations.evaluation.attacks.loopback import drawn, loopback
from blindmatch_simulations.evaluation.attacks.needs import A_LIST, ASKS_NOBODY, CATEGORY
from blindmatch_simulations.testbed.deployment.device_settings import Options
from blindmatch_simulations.testbed.deployment.operators import centre_list
from blindmatch_simulations.testbed.pictures.crops import BY_NAME, EDITS, SamplePicture, crops
from blindmatch_simulations.testbed.pictures.pool import HashOnly

MILDEST_FIRST: Final = ("identical", "jpeg-50", "resize-0.5", "caption", "crop-5%", "rotate-2", "flip")
"""Of the standard suite."""


@attack(
    "refusal-oracle",
    Means(frozenset({Party.DEVICE}), has="a device as it is sold, and a listed picture"),
    Claim("each refusal tells the sender which edit still matches", "docs/designs/device-list.md"),
    budget=f"{len(MILDEST_FIRST)} edits of the standard suite",
    needs=(A_LIST, ASKS_NOBODY),
)
def refusal_oracle(arena: Arena) -> Figure:
    """Count the edits that are told apart: the refused ones, and the first that is sent."""
    with loopback(arena, [drawn(1)]) as held:
        held.device("bob")
        mallory = held.device("mallory", options=Options(consequence=Consequence.REFUSE))
        before, refused, sent = len(mallory.recorder.records()), 0, 0
        for at, name in enumerate(MILDEST_FIRST, 1):
            arena.progress(at, len(MILDEST_FIRST))
            edited = BY_NAME[name].apply(drawn(1))
            if mallory.device.send_picture("bob", edited).delivered:
                arena.spending.distortion = distortion(name, [(drawn(1), edited)])
                sent = 1
                break
            refused += 1
            if len(mallory.recorder.records()) != before:
                raise AttackError("something left the device for a picture that was refused")
        if centre_list(held.deployment).reports:
            raise AttackError("a device that refuses reports")
    parts = {"edits refused": float(refused), "edits sent": float(sent)}
    return Figure("refusals before an edit is sent", float(refused), bool(sent), refused + sent, None, parts)


EDITED: Final = 4
LISTED: Final = 20
QUICK_LISTED: Final = 1
CAPTION: Final = "caption"
NAMES: Final = tuple(edit.name for edit in EDITS)


@attack(
    "tried-edits",
    Means(frozenset({Party.DEVICE}), Conduct.SEMI_HONEST, "the model, and any number of tries"),
    Claim(
        "edits can be tried on it without limit until one is not flagged", "docs/designs/device-classifier.md"
    ),
    budget=f"{EDITED} pictures, {len(EDITS) - 1} edits each",
    needs=(CATEGORY,),
)
def tried_edits(arena: Arena) -> Figure:
    """Count flagged pictures of which some edit is not flagged."""
    relation = arena.design.info.relation

    def flagged(data: bytes) -> bool:
        return relation.matches(Picture.from_bytes(data), NO_ENTRIES)

    captioned = [BY_NAME[CAPTION].apply(one.data) for one in crops(EDITED, arena.seed)]
    sent, names = [data for data in captioned if flagged(data)], [name for name in NAMES if name != CAPTION]
    out = np.array([[not flagged(BY_NAME[name].apply(data)) for name in names] for data in sent])
    _state(arena, names, sent, out)
    arena.progress(len(sent), len(sent))
    return counted(
        "flagged pictures that an edit takes out", {"standard edits": (int(out.any(axis=1).sum()), len(sent))}
    )


@attack(
    "fixed-edits",
    Means(frozenset({Party.DEVICE}), Conduct.SEMI_HONEST, "listed pictures, and an editor"),
    Claim("what a design's relation does not reach passes"),
    budget=f"{LISTED} crops of ten photographs, {len(EDITS)} fixed edits each",
    needs=(A_LIST,),
)
def fixed_edits(arena: Arena) -> Figure:
    """The share of edits of listed pictures that the design's relation does not find; by edit, too.

    It is of these photographs alone, without an interval: several crops are of one, which is one trial.
    """
    relation, count = arena.design.info.relation, LISTED if arena.thorough else QUICK_LISTED
    made = arena.once(("crops", count), lambda: tuple(crops(count, arena.seed)))
    rows = arena.once(("edits", count), lambda: _edited(arena, made))
    entries = [pdq.rows([row[0].hash]) for row in rows]  # the first edit is none
    out = np.array(
        [[not relation.matches(one, own) for one in row] for row, own in zip(rows, entries, strict=True)]
    )
    _state(arena, NAMES, [one.data for one in made], out)
    parts = {name: float(share) for name, share in zip(NAMES, out.mean(axis=0), strict=True) if share}
    photographs = len({one.source for one in made})
    return Figure(
        "share of edits that pass", round(float(out.mean()), 4), out.any().item(), photographs, None, parts
    )


def _edited(arena: Arena, made: Sequence[SamplePicture]) -> list[list[Item]]:
    """Hashes of all edits of crops."""
    rows = list[list[Item]]()
    for one in arena.each(made):
        found = [Picture.from_bytes(edit.apply(one.data)) for edit in EDITS]
        rows.append([HashOnly(picture.hash, picture.quality) for picture in found])
    return rows


def _state(arena: Arena, names: Sequence[str], sent: Sequence[bytes], out: npt.NDArray[np.bool_]) -> None:
    """State how far the first edit moves pictures that takes out at least half of them, or most."""
    gone = out.sum(axis=0)
    if gone.any():
        first = int(np.argmax(gone >= min(gone.max(), len(sent) / 2)))
        edit = BY_NAME[names[first]]
        pairs = [(data, edit.apply(data)) for data, hidden in zip(sent, out[:, first], strict=True) if hidden]
        arena.spending.distortion = distortion(edit.name, pairs)
