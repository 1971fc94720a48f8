"""What all checks of one run share: the design, the pool, two epochs and the honest sessions; and where a
design is looked at: as published, after an update, with a set and with pictures that are large.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, lru_cache
from time import perf_counter_ns, thread_time_ns
from typing import Final, TypeAlias

import numpy as np
from blindmatch_client.device import Device
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.errors import BlindmatchError, DesignError
from blindmatch_protocol.codec.randomness import Randomness, seeded
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import AnyDesign, Category
from blindmatch_protocol.picture.decode import Picture
from blindmatch_protocol.picture.pdq import rows
from msgspec import Struct
from msgspec.structs import replace

from blindmatch_simulations.testbed.inprocess.deployed import (
    Build,
    Deployed,
    Ran,
    entry_id,
    opened,
    publish,
    run_session,
    update,
)
from blindmatch_simulations.testbed.inprocess.verdict import BrokenError, NotApplicableError
from blindmatch_simulations.testbed.pictures.pool import (
    Pool,
    Pooled,
    faint,
    flipped,
    in_drawn_order,
    make_pool,
    random_hashes,
    small_picture,
)
from blindmatch_simulations.testbed.pictures.sent import (
    CAMERA,
    SCREEN,
    SENT,
    of_category,
    photograph,
    sent_pictures,
)

WORKERS = 2
FEWER: Final = 4
"""Times fewer runs of a game for a design that is too dear to be checked in its own sizes."""
Clocks: TypeAlias = tuple[Callable[[], int], Callable[[], int]]
"""Nanoseconds that a thread has worked, and that have passed."""
CLOCKS: Final[Clocks] = (thread_time_ns, perf_counter_ns)


class Fixtures:
    """One run's fixtures, each made when it is first asked for.

    Args:
        seed: decides pictures, lists and all randomness.
        runs: (training, held-out) sessions of a game and class of pairs.
        clocks: nanoseconds that a thread has worked, and that have passed.
        full_size: check the design itself, where others check it in its reduced sizes.

    Attributes:
        design: that is run: the one under test, or what it is `reduced` to.
        whole: the one under test, where another is run.
    """

    def __init__(
        self,
        design: AnyDesign,
        seed: int = 1,
        runs: tuple[int, int] = (32, 64),
        values: Mapping[str, int] | None = None,
        clocks: Clocks = CLOCKS,
        device: type[Device] = Device,
        full_size: bool = False,
    ) -> None:
        small = None if full_size else reduced(design)
        self.design = small or design
        self.whole = design if small else None
        if small:
            runs = (runs[0] // FEWER, runs[1] // FEWER)
        self.seed = seed
        self.runs = runs
        self.values = dict(values or {})
        self.clocks = clocks
        self.device = device
        self.held_out = 0

    def rng(self, purpose: str) -> Randomness:
        return seeded(f"conformance/{self.seed}/{purpose}")

    def publish(
        self, entries: Rows, purpose: str, epoch: int = 1, values: Mapping[str, int] | None = None
    ) -> Build:
        """An epoch of a list, with the values of this run or others, and randomness for one purpose."""
        given = self.values if values is None else values
        return replace(publish(self.design, entries, self.rng(purpose), epoch, given), account=str(self.seed))

    @cached_property
    def pool(self) -> Pool:
        """The pictures, and the list of epoch 1: those of `make_pool`, one of each kind that people send and,
        for a category, some that belong to it."""
        made = make_pool(self.seed)
        relation = self.design.info.relation
        more = list(sent_pictures(1000 * self.seed + SENT))
        if isinstance(relation, Category):
            more += of_category(relation, self.seed)
        pictures = in_drawn_order([*made.pictures, *more], self.seed)
        return Pool(tuple(pictures), made.entries, made.others)

    @cached_property
    def build(self) -> Build:
        return self.publish(self.pool.entries, "publish")

    @cached_property
    def deployed(self) -> Deployed:
        return opened(self.build)

    @cached_property
    def next_epoch(self) -> Deployed:
        """Epoch 2: another list, no picture of the pool is near it; made from fresh randomness."""
        return opened(self.publish(self.pool.others, "publish-2", 2))

    @cached_property
    def honest(self) -> Mapping[str, Ran]:
        """An honest session of every picture, by its name; one account each."""
        return {one.name: self.run(one) for one in self.pool.pictures}

    @cached_property
    def executor(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(WORKERS)

    def run(self, one: Pooled, purpose: str = "honest") -> Ran:
        """One session that must go well."""
        try:
            return run_session(self.deployed, one.item, self.rng(f"{purpose}/{one.name}"))
        except BlindmatchError as error:
            raise BrokenError(
                "session", f"an honest session ends in an error: {error}", item=one.name
            ) from error

    def asks(self) -> None:
        """Make sure that the design asks somebody; `NotApplicableError` if it does not."""
        if not self.design.info.roles:
            raise NotApplicableError("the design asks nobody")

    def sends(self) -> None:
        """Make sure that the design sends anything for a picture: bodies, or vouchers; `NotApplicableError`
        if it does not."""
        if not self.design.vouchers:
            self.asks()

    @cached_property
    def inside(self) -> Fixtures | None:
        """The same of what roles read in seals; None if nothing is sealed to them."""
        if (design := self.design.inside()) is None:
            return None
        made = Fixtures(design, self.seed, self.runs, self.values, self.clocks, self.device)
        made.held_out = self.held_out
        return made

    def close(self) -> None:
        """Stop the threads, if they were started."""
        for one in (self, vars(self).get("inside")):
            if one is not None and "executor" in vars(one):
                one.executor.shutdown()


def reduced(design: AnyDesign) -> AnyDesign | None:
    """The design in sizes that are fast, if its steps are the same functions there; else None: what holds of
    other code says nothing of this one."""
    small = design.reduced()
    same = small is not None and all(getattr(type(small), s) is getattr(type(design), s) for s in STEPS)
    return small if same else None


STEPS: Final = (
    "publish", "update", "open_setup", "check_setup", "open_role", "open_opener", "with_executor", "enrol",
    "enrolment", "prepare", "start", "receive", "conclude", "answer", "leakage", "list_knowledge",
)  # fmt: skip
once: Final = lru_cache(maxsize=2)
"""Keeps what is made of the fixtures of a run, and of one beside it in other sizes."""

LARGE: Final = 2_000
"""Entries of the large set."""
CROWD: Final = 160
"""Pictures of the large set's list, and as many that are on no list."""
SHAPES: Final = ((1536, 2048), (64, 1024), SCREEN, CAMERA)
"""Height and width of the pictures that differ from the others in that. The last one takes as long to hash as
300 small ones; no run has more than four as large as the first (`test_pictures_sent`)."""
CONTRASTS: Final = (0.3, 0.4)
"""Of faint pictures, whose quality lies between what is too poor and the best."""
BEYOND: Final = (34, 36, 40, 48, 64)
"""How far entries are from pictures that match none."""
SMALL_REQUEST: Final = 256
"""Parameters are lowered while a picture's requests are longer than this, in bytes,"""
SMALL_FILES: Final = 1 << 14
"""or while the files of the pool's list are."""


class Setting(Redacted, Struct, frozen=True):
    """A deployment, and pictures to ask it about."""

    name: str
    deployed: Deployed
    pictures: tuple[Pooled, ...]


@once
def as_published(fixtures: Fixtures) -> Setting:
    """The pool, as it was published."""
    build = fixtures.publish(fixtures.pool.entries, "publish", values=lowered(fixtures))
    return Setting("as published", opened(build), fixtures.pool.pictures)


@once
def updated(fixtures: Fixtures) -> Setting | None:
    """The same after an update; None if the design can only be published whole."""
    base = as_published(fixtures).deployed.build
    try:
        build = next_epoch(fixtures, base, base, 0)
    except DesignError:
        return None
    return Setting("after an update", opened(build), fixtures.pool.pictures)


@once
def large(fixtures: Fixtures) -> Setting:
    pictures = crowd(fixtures.seed)
    beyond = [one.item for one in pictures if one.name.startswith("beyond/")]
    listed = [one.item.hash for one in pictures if one.kind == "listed"]
    listed += [flipped(item, distance) for item, distance in zip(beyond, BEYOND, strict=True)]
    fillers = random_hashes(LARGE - len(listed), fixtures.seed + (1 << 22))
    entries = np.concatenate([rows(listed), fillers])
    build = fixtures.publish(entries, "publish-large", values=lowered(fixtures))
    return Setting("a large set", opened(build), pictures)


def settings(fixtures: Fixtures) -> list[Setting]:
    made = (as_published(fixtures), updated(fixtures), large(fixtures))
    return [one for one in made if one is not None]


@lru_cache(maxsize=2)
def crowd(seed: int) -> tuple[Pooled, ...]:
    """Pictures for the large set: `CROWD` that are on its list, as many that are not, large and faint ones,
    and ones that an entry is `BEYOND` the distance from."""
    front = (1 << 24) + 1000 * seed
    sizes = [(CROWD, "listed"), (CROWD, "other")]
    numbers = iter(range(front, front + 1000))
    found = [Pooled(f"{kind}/{i}", kind, small_picture(next(numbers))) for n, kind in sizes for i in range(n)]
    for shape in SHAPES:
        item = Picture.from_bytes(photograph(next(numbers), shape))
        found.append(Pooled(f"large/{shape[0]}x{shape[1]}", "other", item))
    found += [Pooled(f"faint/{c}", "other", faint(next(numbers), c)) for c in CONTRASTS]
    found += [Pooled(f"beyond/{distance}", "other", small_picture(next(numbers))) for distance in BEYOND]
    return tuple(found)


def rows_of(*pictures: Pooled) -> Rows:
    """The pictures' hashes, uint8 (n, 32)."""
    return rows([one.item.hash for one in pictures])


def next_epoch(fixtures: Fixtures, base: Build, before: Build, number: int) -> Build:
    """The update that adds other/`number` and removes listed/`number`, an entry of `base`; `DesignError` if
    the design can only be published whole."""
    listed, other = (fixtures.pool.of(kind)[number] for kind in ("listed", "other"))
    row = int((base.entries == np.frombuffer(listed.item.hash, np.uint8)).all(axis=1).argmax())
    return update(before, rows_of(other), [entry_id(row, base.epoch)], fixtures.rng(f"update/{number}"))


@once
def lowered(fixtures: Fixtures) -> dict[str, int]:
    """Values that make requests and files shorter, halving one parameter after the other, if the very hash
    is still found with them."""
    values = dict(fixtures.values)
    size = _excess(fixtures, values)
    for parameter in fixtures.design.info.parameters:
        while size:
            now = values.get(parameter.name, parameter.default)
            smaller = {**values, parameter.name: max(parameter.least, now // 2)}
            fewer = _excess(fixtures, smaller) if smaller != values else None
            if fewer is None or fewer >= size:
                break
            values = smaller
            size = fewer
    return values


def _excess(fixtures: Fixtures, values: dict[str, int]) -> int | None:
    """Bytes of a listed picture's requests, and of all files, beyond small ones; None if the values do not
    work."""
    one = fixtures.pool.of("listed")[0]
    try:
        build = fixtures.publish(fixtures.pool.entries, "publish", values=values)
        ran = run_session(opened(build), one.item, fixtures.rng("size"))
    except BlindmatchError:
        return None
    if type(ran.outcome) is not type(run_session(fixtures.deployed, one.item, fixtures.rng("size")).outcome):
        return None
    asked = sum(len(body) for _, body in ran.bodies())
    held = sum(map(len, build.files.values()))
    return max(0, asked - SMALL_REQUEST) + max(0, held - SMALL_FILES)
