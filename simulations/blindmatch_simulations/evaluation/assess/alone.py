"""A design's own work for a picture, in one process: no messenger, no network, no other design.

By it a design that is too dear for the whole workload gets a smaller list and fewer pictures.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean
from typing import Final

import numpy as np
import numpy.typing as npt
from blindmatch_protocol.codec.randomness import Randomness, seeded, system_randomness
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import AnyDesign, Progress, Request, Role, Session
from blindmatch_protocol.picture.decode import Picture, Pixels
from blindmatch_server.curator import HashList, random_hashes
from blindmatch_server.epochs.published import open_publication
from msgspec import UNSET, Struct
from msgspec.structs import replace

from blindmatch_simulations.evaluation.assess.keeping import FIRST, Kept, kept_set
from blindmatch_simulations.evaluation.assess.material import MadeItem, Material
from blindmatch_simulations.evaluation.assess.observed import (
    AloneRow,
    Extracted,
    KeyUse,
    Lengths,
    PeriodUse,
)
from blindmatch_simulations.evaluation.assess.plan import Plan
from blindmatch_simulations.evaluation.studies.capacity import YEAR, limits_of
from blindmatch_simulations.measure.yardstick import Stopwatch, reading
from blindmatch_simulations.testbed.inprocess.deployed import (
    OpenDesign,
    enrolled,
    open_published,
    publish,
    run_session,
    values_of,
)
from blindmatch_simulations.testbed.inprocess.deployed import opened as in_memory

UNLIMITED: Final = 1_000_000
"""What is spent where nothing limits it."""


def key_use(opened: OpenDesign) -> KeyUse | None:
    """Return the limits of the first role's key that has some, those of an account at its carrier if they
    stand there."""
    limits = limits_of(opened)
    if limits is None:
        return None
    periods = tuple(PeriodUse(one.seconds, one.evaluations) for one in limits.periods)
    return KeyUse(limits.cost, limits.per_account, limits.in_all, periods or UNSET)


def extracted(opened: OpenDesign, key: KeyUse | None) -> Extracted | None:
    """Return what asking opens: with what an account may spend under a key, in a year where periods limit it,
    with what all may, or with a million."""
    found = opened.design.extraction(opened.setup)
    if found is None:
        return None
    allowed = (key.of_account(YEAR), key.in_all) if key else ()
    spent = sorted({one for one in allowed if one is not None} or {UNLIMITED})
    return Extracted(found.unit, {str(one): found.share(one) for one in spent})


class Asked:
    """A picture that notes what a design asks of it, so that only that is charged to the device."""

    def __init__(self, picture: Picture) -> None:
        self.picture = picture
        self.is_decoded = False
        self.is_hashed = False

    @property
    def pixels(self) -> Pixels:
        self.is_decoded = True
        return self.picture.pixels

    @property
    def luminance(self) -> npt.NDArray[np.float32]:
        self.is_decoded = True
        return self.picture.luminance

    @property
    def coefficients(self) -> npt.NDArray[np.float32]:
        self._note_hash()
        return self.picture.coefficients

    @property
    def hash(self) -> bytes:
        self._note_hash()
        return self.picture.hash

    @property
    def quality(self) -> int:
        self._note_hash()
        return self.picture.quality

    def _note_hash(self) -> None:
        self.is_decoded = True
        self.is_hashed = True


def sessions_alone(
    opened: OpenDesign, pictures: Sequence[tuple[int, bytes]], rng: Randomness
) -> Iterator[AloneRow]:
    """Run one session a picture; each is hashed on its own watch before, once; `BlindmatchError` if a step of
    the design fails."""
    design = opened.design
    setup = opened.setup
    items = dict[int, Asked]()
    state = enrolled(opened, rng)
    for index, data in pictures:
        decoding = Stopwatch()
        hashing = Stopwatch()
        device = Stopwatch()
        roles = Stopwatch()
        if index not in items:
            items[index] = Asked(Picture.from_bytes(data))
        item = items[index]
        size = 0
        with decoding:
            _ = item.picture.pixels
        with hashing:
            _ = item.picture.fingerprint
        with device:
            session = Session(design, setup, state, rng)
            step = session.start(item)
        while isinstance(step, Mapping):
            with roles:
                replies = {role: opened.answer(role, body, rng)[0] for role, body in step.items()}
            size += sum(len(body.encode()) for body in (*step.values(), *replies.values()))
            with device:
                step = session.receive(replies)
        with device:
            session.conclude()
            state = design.prepare(session.state, setup, rng)
        yield AloneRow(
            index=index,
            hash_ms=decoding.wall_ms + hashing.wall_ms,
            device_ms=device.wall_ms,
            device_cpu_ms=device.cpu_ms,
            role_ms=roles.wall_ms,
            role_cpu_ms=roles.cpu_ms,
            bytes=size,
            picture_cpu_ms=decoding.cpu_ms * item.is_decoded + hashing.cpu_ms * item.is_hashed,
        )


LEAST_ENTRIES: Final = 1_000
LEAST_PICTURES: Final = 8
DEAR_U: Final = 20_000
"""A picture that takes more, in u, is asked about no more often than must be."""


class Fitted(Redacted, Struct, frozen=True):
    """What a design is run on.

    Attributes:
        entries: the list, whole or cut short.
        items: pictures, all or the first ones of the order of sending.
        alone: the first of them, each timed in one process.
        in_all: pictures of the workload.
        lessened: what was left out, in words; empty if nothing.
    """

    entries: HashList
    kept: Kept
    items: list[MadeItem]
    alone: list[AloneRow]
    u: float
    in_all: int
    lessened: str

    @property
    def dear(self) -> bool:
        """Does a picture take so long that no more are asked about than must be?"""
        return self.u > DEAR_U

    def most(self, pictures: int) -> int:
        """So many pictures, fewer if one is dear."""
        return min(pictures, len(self.alone)) if self.dear else pictures


@contextmanager
def fitted(
    design: AnyDesign, material: Material, plan: Plan, sets: Path, progress: Progress
) -> Iterator[Fitted]:
    """The largest part of the workload that the design can do with the plan's work, a power of two of entries
    or pictures, so that it hardly depends on how well u was measured; its set is in `sets`. `DesignError` if
    the list cannot be served."""
    limits = plan.limits
    most = None
    while True:
        with material.entries(most) as entries:
            kept = kept_set(design, entries, plan.seed, sets, progress, values_of(design, plan.parameters))
            before = reading().u_us
            opened = open_published(design, open_publication(kept.folder, FIRST))
            pictures = [(item.index, material.data(item)) for item in material.items()[:2]]
            alone = list(sessions_alone(opened, pictures, system_randomness()))
            took = work_of(alone, (before + reading().u_us) / 2)
            if took <= limits.picture_u or len(entries) <= LEAST_ENTRIES:
                count = max(LEAST_PICTURES, _power(limits.pictures_u / max(took, 1e-6)))
                items = material.items()
                words = _lessened(len(entries), len(material), count, len(items), alone)
                yield Fitted(entries, kept, items[:count], alone, took, len(items), words)
                return
            most = max(LEAST_ENTRIES, _power(len(entries) * limits.picture_u / took))


def _power(number: float) -> int:
    return 1 << max(0, int(number).bit_length() - 1)


def work_of(alone: Sequence[AloneRow], u_us: float) -> float:
    """The CPU that a picture takes, device and roles together, in u: the last one, since what is loaded once
    does not count."""
    return 1000 * (alone[-1].device_cpu_ms + alone[-1].role_cpu_ms) / u_us


def _lessened(entries: int, all_entries: int, count: int, pictures: int, alone: Sequence[AloneRow]) -> str:
    took = (alone[-1].device_ms + alone[-1].role_ms) / 1000
    parts = [f"{entries:,} of {all_entries:,} entries"] if entries < all_entries else []
    parts += [f"{count:,} of {pictures:,} pictures"] if count < pictures else []
    rate = f"a picture takes {took:.2g} s with {entries:,} entries, {3600 / took:,.0f} an hour"
    return f"{' and '.join(parts)}: {rate}" if parts else ""


MOST_TIMES: Final = 8
SHORTER: Final = 4
"""How much longer the second list is at the most, and how much shorter where a longer one is too dear."""
MOST_TURNS: Final = 16
TURNS_U: Final = 20_000
"""Turns over both lists, and the work for them, in u."""
MORE_STEPS: Final = 2
"""How many steps longer the second list is at least, where a design declares what a step compares."""
AT_ONCE: Final = 8
REPEATS: Final = 5


def lengths(
    opened: OpenDesign, fit: Fitted, plan: Plan, pictures: Sequence[tuple[int, bytes]], rng: Randomness
) -> Lengths | None:
    """What the same pictures take over a list of a second length: a longer one if the plan's work builds it,
    else a shorter one. Of a dear design the first sessions stand for its own list; `BlindmatchError` if a
    step of the design fails, or it does not serve that length."""
    if not plan.alone.length_u or not pictures:
        return None
    hashes = np.array(fit.entries.hashes)
    before = reading().u_us
    # a power of two times as many entries as fit the work, or a part
    build_u = fit.kept.spent.cpu_s * 1e6 / before / max(1, len(hashes))
    times = min(MOST_TIMES, _power(plan.alone.length_u / (build_u + 1e-9) / len(hashes)))
    other = len(hashes) * times if times > 1 and not fit.dear else max(1, len(hashes) // SHORTER)
    step = opened.design.info.entries_a_step
    if step and -(-other // step) < MORE_STEPS + -(-len(hashes) // step):
        # within a step the work is the same, so that a list as long says nothing of growth
        other = (MORE_STEPS + -(-len(hashes) // step)) * step
    more = random_hashes(max(0, other - len(hashes)), seeded(f"assess/{plan.seed}/lengths"))
    listed = np.concatenate([hashes, more])[:other]
    build = publish(opened.design, listed, rng, values=values_of(opened.design, plan.parameters))
    second = in_memory(build)
    if fit.dear:
        own = fit.alone
        longer = list(sessions_alone(second, pictures[: len(fit.alone)], rng))
    else:
        turns = min(MOST_TURNS, _power(TURNS_U / (2 * len(pictures) * max(fit.u, 1e-6))))
        # the first picture warms both up
        again = [(-1, pictures[0][1]), *[*pictures] * turns]
        both = zip(sessions_alone(opened, again, rng), sessions_alone(second, again, rng), strict=True)
        own, longer = (_of_turns(side, turns) for side in zip(*list(both)[1:], strict=True))
    asked = [] if fit.dear else [Picture.from_bytes(data) for _, data in pictures[:AT_ONCE]]
    together = tuple(_together(opened, asked, rng)) if len(asked) > 1 else ()
    u_us = (before + reading().u_us) / 2
    own_bytes = open_publication(fit.kept.folder, FIRST).setup_bytes
    sizes = own_bytes, sum(map(len, build.setup_files.values()))
    return Lengths(other, u_us, tuple(own), tuple(longer), sizes, together, len(asked), max(1, step))


def _of_turns(rows: Sequence[AloneRow], turns: int) -> list[AloneRow]:
    """A row a picture: what roles take is the mean of its turns; the rest is the first's, since an item may
    keep what a device has made of it."""
    count = len(rows) // turns
    found = list[AloneRow]()
    for at, one in enumerate(rows[:count]):
        wall, cpu = (
            fmean(getattr(row, name) for row in rows[at::count]) for name in ("role_ms", "role_cpu_ms")
        )
        found.append(replace(one, role_ms=wall, role_cpu_ms=cpu))
    return found


def _together(
    opened: OpenDesign, pictures: Sequence[Picture], rng: Randomness
) -> Iterator[tuple[float, float]]:
    """The answers to the same requests, of each round, one after the other and all at once, in turns."""
    design = opened.design
    asked = dict[tuple[int, Role], list[Request]]()
    for picture in pictures:
        for number, sent in enumerate(run_session(opened, picture, rng).rounds):
            for body in sent:
                asked.setdefault((number, body.role), []).append(opened.request(body.role, body.body))
    for _ in range(REPEATS if asked else 0):
        apart = Stopwatch()
        at_once = Stopwatch()
        for (_, role), requests in asked.items():
            with apart:
                for one in requests:
                    design.answer(role, opened.states[role], [one], rng, None)
            with at_once:
                design.answer(role, opened.states[role], requests, rng, None)
        yield apart.cpu_ms, at_once.cpu_ms
