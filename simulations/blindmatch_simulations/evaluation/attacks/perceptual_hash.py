"""What a perceptual hash leaves of a picture: a coarse one is rebuilt of it, others are taken for it.

Every picture is generated for the run, rates alone are kept. Each pair has a key of its own for the second
hash, and no picture is in two pairs, so pairs are independent. Edits were made for other reasons
(`pictures.edits`), and no others are looked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from blindmatch_client.settings import Consequence
from blindmatch_protocol.contract import Item, Party
from blindmatch_protocol.contract.relation import NO_ENTRIES
from blindmatch_protocol.picture import pdq
from blindmatch_protocol.picture.decode import Picture
from blindmatch_protocol.picture.pdq import LEAST_QUALITY, MATCH_DISTANCE, Pixels
from blindmatch_server.centre.keys import KEY_BYTES, SAME_PICTURE, KeyedHasher
from blindmatch_server.centre.keys import distance as second_distance
from PIL import Image

from blindmatch_simulations.evaluation.attacks import needs
from blindmatch_simulations.evaluation.attacks.adversary import Claim, Conduct, Means
from blindmatch_simulations.evaluation.attacks.arena import OF_A_SEED, Arena, AttackError, attack
from blindmatch_simulations.evaluation.attacks.figure import Figure, counted, distortion, share_of
from blindmatch_simulations.evaluation.attacks.loopback import drawn, loopback
from blindmatch_simulations.evaluation.studies.hashes import alike, learnt, of_body, of_hash
from blindmatch_simulations.measure.intervals import clopper_pearson
from blindmatch_simulations.testbed.deployment.devices import Options
from blindmatch_simulations.testbed.deployment.operators import centre_list
from blindmatch_simulations.testbed.inprocess.deployed import run_session
from blindmatch_simulations.testbed.inprocess.steps import below
from blindmatch_simulations.testbed.pictures.crops import BY_NAME, EDITS, SamplePicture, crops
from blindmatch_simulations.testbed.pictures.pool import GENERATED, HashOnly, detailed

PICTURES: Final = 16


@attack(
    "rebuilt-picture",
    Means(frozenset({Party.MATCHER}), Conduct.SEMI_HONEST, "what devices send it of pictures"),
    Claim("a coarse picture can be rebuilt from what is sent", "docs/designs/partial-hash.md"),
    budget=f"{PICTURES} generated pictures, as many others to learn from, no trained model",
    needs=(needs.WHOLE_HASH,),
    exposes="a coarse picture of what is sent",
)
def rebuilt_picture(arena: Arena) -> Figure:
    """Count the pictures that are recognised, and say how alike they are in the mean."""
    shown = [detailed(number) for number in range(PICTURES)]
    usual = learnt([detailed(PICTURES + number) for number in range(PICTURES)])
    deployed = arena.deployed(arena.hashes(8, "list"), "set")
    rng = arena.rng("sessions")
    scores = np.empty((PICTURES, PICTURES))
    for at, one in enumerate(arena.each(shown)):
        asked = run_session(deployed, one, rng).asked[-1]
        body: Any = arena.design.unsealed(asked.role, deployed.states[asked.role], asked.body)
        plane = of_body(body, usual)
        scores[at] = [alike(plane, other) for other in shown]
    right = int((scores.argmax(axis=1) == np.arange(len(scores))).sum())
    low, high = clopper_pearson(right, len(scores))
    own = float(np.diag(scores).mean())
    chance = float(scores[~np.eye(len(scores), dtype=bool)].mean())
    parts = {"SSIM": round(own, 3), "SSIM with others": round(chance, 3)}
    succeeded = low > 1 / len(scores)
    share = right / len(scores)
    return Figure("share recognised", share, succeeded, len(scores), (round(low, 4), round(high, 4)), parts)


LOOK_ALIKES: Final = 100
"""Pictures of each kind."""
REBUILT: Final = 300
QUICK: Final = 24
PATCH: Final = 0.05
"""Of a picture's area."""
SEEN: Final = 32
SEEN_SHARE: Final = 0.1
"""Of a patch's pixels, more than so many must differ by more than `SEEN` levels."""
USUAL: Final = 16
"""Pictures that a thief of hashes has seen before."""


@attack(
    "look-alikes",
    Means(frozenset({Party.DEVICE}), Conduct.SEMI_HONEST, "pictures that share most of their area"),
    Claim("look-alikes that PDQ has near pass it as a rule"),
    budget=f"{LOOK_ALIKES} generated pictures of each of five kinds, {100 * PATCH:g} % of each another's",
    needs=(needs.A_LIST, needs.ANY_ONE),
    exposes="that a match is of the listed picture",
)
def look_alikes(arena: Arena) -> Figure:
    """The share of different pictures within PDQ's distance that the second hash takes for one."""
    makers: dict[str, Callable[[int], Image.Image]]
    makers = {"textures": lambda number: Image.fromarray(detailed(number).pixels)}
    makers |= GENERATED if arena.thorough else {}
    count = LOOK_ALIKES if arena.thorough else QUICK
    passed = list[bool]()
    parts = dict[str, float]()
    for kind, make in arena.each(makers.items()):
        found = list(_patched(arena, kind, make, count))
        parts |= {f"{kind}: near": len(found), f"{kind}: taken for one": sum(found)}
        passed += found
    return share_of("share taken for the same picture", sum(passed), len(passed), parts)


def _patched(arena: Arena, kind: str, make: Callable[[int], Image.Image], count: int) -> Iterator[bool]:
    """For pictures that PDQ has near their patched copies: does the second hash call them the same?"""
    rng = arena.rng(f"patches/{kind}")
    for number in range(count):
        one, other = (np.asarray(make(OF_A_SEED * arena.seed + 2 * number + at)) for at in (0, 1))
        altered = one.copy()
        height, width = (round(side * PATCH**0.5) for side in one.shape[:2])
        top = below(rng, one.shape[0] - height)
        left = below(rng, one.shape[1] - width)
        place = slice(top, top + height), slice(left, left + width)
        altered[place] = other[place]
        if not _differ(one[place], other[place]):
            continue
        pair = Picture.from_pixels(one), Picture.from_pixels(altered)
        if _near(*pair):
            yield _same(rng.take(KEY_BYTES), *pair)


def _differ(one: Pixels, other: Pixels) -> bool:
    """Would a viewer see it? Paper on paper is no other picture."""
    apart = np.abs(one.astype(np.int16) - other) > SEEN
    return bool(apart.any(axis=2).mean() > SEEN_SHARE)


@attack(
    "rebuilt-collisions",
    Means(frozenset({Party.DEVICE}), has="the hashes of a list"),
    Claim("a grey picture made of the hash alone"),
    budget=f"{REBUILT} generated pictures' hashes, {USUAL} pictures to learn from, no trained model",
    needs=(needs.A_LIST, needs.ANY_ONE),
    exposes="that a match is of the listed picture",
)
def rebuilt_collisions(arena: Arena) -> Figure:
    """The share of pictures made of a hash alone that both hashes take for the one behind it."""
    count = REBUILT if arena.thorough else QUICK
    rng = arena.rng("keys")
    first = OF_A_SEED * arena.seed
    usual = learnt([detailed(first + number) for number in range(USUAL)])
    near = 0
    passed = list[bool]()
    for number in arena.each(range(count)):
        behind = detailed(first + USUAL + number)
        plane = np.clip(of_hash(behind.hash, usual), 0, 255).astype(np.uint8)
        made = Picture.from_pixels(np.repeat(plane[:, :, None], 3, axis=2))
        near += _near(behind, made)
        passed.append(_near(behind, made) and _same(rng.take(KEY_BYTES), behind, made))
    parts = {"within PDQ's distance": near / count}
    return share_of("share that passes both hashes", sum(passed), count, parts)


def _near(one: Picture, other: Picture) -> bool:
    apart = pdq.distance(one.hash, other.hash)
    return apart <= MATCH_DISTANCE and min(one.quality, other.quality) >= LEAST_QUALITY


def _same(key: bytes, one: Picture, other: Picture) -> bool:
    hasher = KeyedHasher(key)
    return second_distance(hasher.hash(one.luminance), hasher.hash(other.luminance)) <= SAME_PICTURE


MILDEST_FIRST: Final = ("identical", "jpeg-50", "resize-0.5", "caption", "crop-5%", "rotate-2", "flip")
"""Of the standard suite."""


@attack(
    "refusal-oracle",
    Means(frozenset({Party.DEVICE}), has="a device as it is sold, and a listed picture"),
    Claim("each refusal tells the sender which edit still matches", "docs/designs/device-list.md"),
    budget=f"{len(MILDEST_FIRST)} edits of the standard suite",
    needs=(needs.A_LIST, needs.ASKS_NOBODY),
    exposes="which edit no longer matches",
)
def refusal_oracle(arena: Arena) -> Figure:
    """Count the edits that are told apart: the refused ones, and the first that is sent."""
    with loopback(arena, [drawn(1)]) as held:
        held.device("bob")
        mallory = held.device("mallory", options=Options(consequence=Consequence.REFUSE))
        before = len(mallory.recorder.records())
        refused = 0
        sent = 0
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
    Means(frozenset({Party.DEVICE}), has="the model, and any number of tries"),
    Claim(
        "edits can be tried on it without limit until one is not flagged", "docs/designs/device-classifier.md"
    ),
    budget=f"{EDITED} pictures, {len(EDITS) - 1} edits each",
    needs=(needs.CATEGORY,),
    exposes="which edit is not flagged",
)
def tried_edits(arena: Arena) -> Figure:
    """Count flagged pictures of which some edit is not flagged."""
    relation = arena.design.info.relation

    def flagged(data: bytes) -> bool:
        return relation.matches(Picture.from_bytes(data), NO_ENTRIES)

    captioned = [BY_NAME[CAPTION].apply(one.data) for one in crops(EDITED, arena.seed)]
    sent = [data for data in captioned if flagged(data)]
    names = [name for name in NAMES if name != CAPTION]
    out = np.array([[not flagged(BY_NAME[name].apply(data)) for name in names] for data in sent])
    _state(arena, names, sent, out)
    arena.progress(len(sent), len(sent))
    return counted(
        "flagged pictures that an edit takes out", {"standard edits": (int(out.any(axis=1).sum()), len(sent))}
    )


@attack(
    "fixed-edits",
    Means(frozenset({Party.DEVICE}), has="listed pictures, and an editor"),
    Claim("what a design's relation does not reach passes"),
    budget=f"{LISTED} crops of ten photographs, {len(EDITS)} fixed edits each",
    needs=(needs.A_LIST,),
    exposes="that edits are found",
)
def fixed_edits(arena: Arena) -> Figure:
    """The share of edits of listed pictures that the design's relation does not find; by edit, too.

    It is of these photographs alone, without an interval: several crops are of one, which is one trial.
    """
    relation = arena.design.info.relation
    count = LISTED if arena.thorough else QUICK_LISTED
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
