"""What a perceptual hash leaves of a picture: a coarse one is rebuilt of it, others are taken for it.

rebuilt-picture     a matcher rebuilds pictures from what devices send of them, and recognises each among
                    others: its reconstruction is more like it than like any of the others
look-alikes         a picture of which one patch is another's: a form that is filled in otherwise, another
                    face in the same frame. Those that PDQ has near are compared by the centre's second hash
rebuilt-collisions  a grey picture made of nothing but a hash, which is then its own: whoever has the list has
                    one for each entry, and the second hash is to tell

For the last two every picture is generated for the run, rates alone are kept. Each pair has a key of its own
for the second hash, and no picture is in two pairs, so pairs are independent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from blindmatch_protocol.contract import Adversary as Conduct
from blindmatch_protocol.contract import Party
from blindmatch_protocol.picture import pdq
from blindmatch_protocol.picture.decode import Picture
from blindmatch_protocol.picture.pdq import LEAST_QUALITY, MATCH_DISTANCE, Pixels
from blindmatch_server.centre.keys import KEY_BYTES, SAME_PICTURE, KeyedHasher
from blindmatch_server.centre.keys import distance as second_distance
from PIL import Image

from blindmatch_simulations.evaluation.attacks.adversary import Claim, Means
from blindmatch_simulations.evaluation.attacks.arena import OF_A_SEED, Arena, attack
from blindmatch_simulations.evaluation.attacks.figure import Figure, share_of
from blindmatch_simulations.evaluation.attacks.needs import ANY_ONE, WHOLE_HASH
from blindmatch_simulations.evaluation.studies.hashes import alike, learnt, of_coefficients, of_hash
from blindmatch_simulations.measure.intervals import clopper_pearson
from blindmatch_simulations.testbed.inprocess.deployed import run_session
from blindmatch_simulations.testbed.inprocess.steps import below
from blindmatch_simulations.testbed.pictures.pool import GENERATED, detailed

PICTURES: Final = 16


@attack(
    "rebuilt-picture",
    Means(frozenset({Party.MATCHER}), Conduct.SEMI_HONEST, "what devices send it of pictures"),
    Claim("a coarse picture can be rebuilt from what is sent", "docs/designs/partial-hash.md"),
    budget=f"{PICTURES} generated pictures, as many others to learn from, no trained model",
    needs=(WHOLE_HASH,),
)
def rebuilt_picture(arena: Arena) -> Figure:
    """Count the pictures that are recognised, and say how alike they are in the mean."""
    shown = [detailed(number) for number in range(PICTURES)]
    usual = learnt([detailed(PICTURES + number) for number in range(PICTURES)])
    deployed, rng = arena.deployed(arena.hashes(8, "list"), "set"), arena.rng("sessions")
    scores = np.empty((PICTURES, PICTURES))
    for at, one in enumerate(arena.each(shown)):
        asked = run_session(deployed, one, rng).asked[-1]
        plane = _rebuilt(arena.design.unsealed(asked.role, deployed.states[asked.role], asked.body), usual)
        scores[at] = [alike(plane, other) for other in shown]
    return _recognised(scores)


def _rebuilt(body: Any, usual: Any) -> npt.NDArray[np.float32]:
    if hasattr(body, "coefficients"):
        return of_coefficients(np.frombuffer(body.coefficients, "<f4"), usual)
    return of_hash(body.hash, usual)


def _recognised(scores: npt.NDArray[np.float64]) -> Figure:
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
    needs=(ANY_ONE,),
)
def look_alikes(arena: Arena) -> Figure:
    """The share of different pictures within PDQ's distance that the second hash takes for one."""
    makers = {"textures": _texture} | (dict(GENERATED) if arena.thorough else {})
    count, passed, parts = LOOK_ALIKES if arena.thorough else QUICK, list[bool](), dict[str, float]()
    for kind, make in arena.each(makers.items()):
        found = list(_patched(arena, kind, make, count))
        parts |= {f"{kind}: near": len(found), f"{kind}: taken for one": sum(found)}
        passed += found
    return share_of("share taken for the same picture", sum(passed), len(passed), parts)


def _texture(number: int) -> Image.Image:
    return Image.fromarray(detailed(number).pixels)


def _patched(arena: Arena, kind: str, make: Callable[[int], Image.Image], count: int) -> Iterator[bool]:
    """Of pictures that PDQ has near to what became of them: are they the same by the second hash?"""
    rng = arena.rng(f"patches/{kind}")
    for number in range(count):
        one, other = (np.asarray(make(OF_A_SEED * arena.seed + 2 * number + at)) for at in (0, 1))
        altered, (height, width) = one.copy(), (round(side * PATCH**0.5) for side in one.shape[:2])
        top, left = below(rng, one.shape[0] - height), below(rng, one.shape[1] - width)
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
    needs=(ANY_ONE,),
)
def rebuilt_collisions(arena: Arena) -> Figure:
    """The share of pictures made of a hash alone that both hashes take for the one behind it."""
    count, rng, first = REBUILT if arena.thorough else QUICK, arena.rng("keys"), OF_A_SEED * arena.seed
    usual, near, passed = learnt([detailed(first + number) for number in range(USUAL)]), 0, list[bool]()
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
