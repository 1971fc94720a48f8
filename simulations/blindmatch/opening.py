"""A design opened for all its parties in this process, and pictures asked about with it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from blindmatch_protocol.codec import Message, Rows
from blindmatch_protocol.codec.errors import DesignError, PictureError
from blindmatch_protocol.codec.randomness import Randomness, seeded
from blindmatch_protocol.contract import Match, Role, SetParameters, Verdict
from blindmatch_protocol.contract.relation import NO_ENTRIES
from blindmatch_protocol.picture.decode import Picture
from blindmatch_protocol.picture.pdq import rows
from blindmatch_simulations.measure.yardstick import Stopwatch
from blindmatch_simulations.testbed.deployment.registry import load_design
from blindmatch_simulations.testbed.inprocess.deployed import Deployed, enrolled, opened, publish, run_session
from blindmatch_simulations.testbed.pictures.crops import crops
from blindmatch_simulations.testbed.pictures.pool import random_hashes
from msgspec import Struct

Source: TypeAlias = Picture | bytes | Path | str | npt.NDArray[np.uint8]
"""A picture: opened, a file's content, a file, or RGB pixels, uint8 (height, width, 3)."""


class Answer(Struct, frozen=True):
    """What came of one picture.

    Attributes:
        outcome: `match`, `no match`, `flag`, `voucher` or `undisclosed`: what the device learnt.
        entry: hash of the entry that matched, 32 bytes; None if the device learnt of none.
        learnt: what roles learnt of it, by role; empty if they learn nothing.
        up, down: bytes of requests and replies, by role.
        rounds: how often roles were asked.
        device_ms, roles_ms: wall time of the device's own steps, hashing aside, and of all roles' answers.
    """

    outcome: str
    entry: bytes | None
    learnt: dict[str, str]
    up: dict[str, int]
    down: dict[str, int]
    rounds: int
    device_ms: float
    roles_ms: float


@dataclass(slots=True, repr=False)
class InProcess:
    """A design with a list, opened for the device of one account and for every role."""

    deployed: Deployed
    rng: Randomness
    _state: Message = field(init=False)

    def __post_init__(self) -> None:
        self._state = enrolled(self.deployed, self.rng)

    @property
    def entries(self) -> Rows:
        """The list in the clear, uint8 (n, 32)."""
        return self.deployed.build.entries

    def ask(self, source: Source) -> Answer:
        """Run one picture's session; `PictureError` if it cannot be decoded, `ProtocolError` if a role
        refuses, or its reply is refused."""
        picture = picture_of(source)
        whole = Stopwatch()
        roles = Stopwatch()
        _ = picture.fingerprint

        def answering(role: Role, body: Message) -> tuple[Message, Verdict | None]:
            with roles:
                return self.deployed.answer(role, body, self.rng)

        with whole:
            ran = run_session(self.deployed, picture, self.rng, self._state, answering)
        self._state = ran.state
        asked = [one for each in ran.rounds for one in each]
        return Answer(
            outcome=_words(type(ran.outcome).__name__),
            entry=ran.outcome.label.entry_hash if isinstance(ran.outcome, Match) else None,
            learnt={str(one.role): _words(type(one.verdict).__name__) for one in asked if one.verdict},
            up=_sums((str(one.role), one.body) for one in asked),
            down=_sums((str(one.role), one.reply) for one in asked),
            rounds=len(ran.rounds),
            device_ms=whole.wall_ms - roles.wall_ms,
            roles_ms=roles.wall_ms,
        )

    def expected(self, source: Source) -> bool:
        """Does the picture match an entry by the design's own relation, in the clear?"""
        return self.deployed.design.info.relation.matches(picture_of(source), self.entries)


def open_design(
    reference: str,
    pictures: Sequence[Source] = (),
    random: int = 40,
    seed: int = 1,
    hashes: Rows | None = None,
    **parameters: int,
) -> InProcess:
    """Publish a design for a list in memory, and open it for all its parties; `RegistryError` if there is no
    such design, `PictureError` if a picture cannot be decoded, `DesignError` if the list or a parameter
    cannot be served, or a number is negative.

    Args:
        reference: a name (see `designs`) or path.py:NAME.
        random: random hashes beside them, which match nothing.
        seed: of everything that is drawn at random; the same seed gives the same run.
        hashes: further entries, uint8 (n, 32).
    """
    if random < 0 or seed < 0:
        raise DesignError("random and seed must not be negative")
    design = load_design(reference)
    SetParameters(1, parameters).check(design.info)
    listed = rows([picture_of(one).hash for one in pictures])
    more = NO_ENTRIES if hashes is None else np.asarray(hashes)
    if more.dtype != np.uint8 or more.ndim != 2 or more.shape[1] != 32:
        raise DesignError("hashes must be a uint8 matrix of 32 columns")
    entries = np.concatenate([random_hashes(random, seed), more, listed])
    rng = seeded(f"blindmatch/{seed}")
    return InProcess(opened(publish(design, entries, rng, 1, parameters)), rng)


def sample_pictures(count: int, seed: int = 1) -> list[bytes]:
    """Files of crops of bundled photographs: benign, and the same for the same seed."""
    return [one.data for one in crops(count, seed)]


def picture_of(source: Source) -> Picture:
    """A picture, opened once it is looked at; `PictureError` if it is none, or its file cannot be read."""
    match source:
        case Picture():
            return source
        case Path() | str():
            try:
                return Picture.from_bytes(Path(source).read_bytes())
            except OSError as error:
                raise PictureError(f"{source}: cannot be read: {error.strerror}") from error
        case np.ndarray(dtype=np.uint8, shape=(_, _, 3)) if source.size:
            return Picture.from_pixels(source)
        case bytes():
            return Picture.from_bytes(source)
        case _:
            raise PictureError(
                "picture: must be bytes, a path, pixels (uint8, height by width by 3) or a Picture"
            )


def _sums(messages: Iterable[tuple[str, Message]]) -> dict[str, int]:
    found: dict[str, int] = {}
    for role, message in messages:
        found[role] = found.get(role, 0) + len(message.encode())
    return found


def _words(name: str) -> str:
    return "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in name).strip()
