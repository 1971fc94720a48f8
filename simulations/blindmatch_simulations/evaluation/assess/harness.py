"""What the harness adds to a design: the same sessions with its records and without, paired, in one process.

    bare      start -> state saved -> bodies encoded, answered, decoded -> receive -> offline phase
    watched   the same in the device's own detector, which notes the state, the tape of randomness and every
              round, with a record of each request as the egress seam keeps it, and a picture's clocks

There is neither network nor messenger in either, so that what is added is set against the design's own work
and nothing else. Within a pair the picture is the same; which of the two goes first alternates.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from itertools import cycle
from typing import Any, Final

from blindmatch_client.egress import Recorder
from blindmatch_client.egress.methods import EXCHANGE
from blindmatch_client.matching.detector import Decided, Detector, is_confirmed
from blindmatch_client.trace import Purpose, SessionTrace
from blindmatch_protocol.codec import Message, decode_any
from blindmatch_protocol.codec.errors import DesignError
from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import Flag, Match, Progress, Role, Session
from blindmatch_protocol.picture.item import Picture
from msgspec import Struct

from blindmatch_simulations.evaluation.assess.observed import HarnessRow
from blindmatch_simulations.measure.yardstick import Stopwatch
from blindmatch_simulations.testbed.inprocess.opened import OpenDesign, unprepared_state

PAIRS: Final = 200
LEAST_PAIRS: Final = 12
MOST_CPU_MS: Final = 5_000.0
_WARM_UP: Final = 2

Run = Callable[[Picture], None]


class _Keeper(Redacted, Struct):
    """Device state in memory."""

    state: bytes | None = None

    def load(self) -> bytes | None:
        return self.state

    def save(self, state: bytes, /) -> None:
        self.state = state


class _Bare:
    """A device's session and nothing beside it."""

    def __init__(self, opened: OpenDesign, rng: Randomness) -> None:
        self._opened, self._rng, self._keeper = opened, rng, _Keeper()
        self._keep(unprepared_state(opened.design, opened.setup, rng))
        self._prepare()

    def __call__(self, item: Picture) -> None:
        session = Session(self._opened.design, self._opened.setup, self._state, self._rng)
        step = session.start(item)
        self._keep(session.state)
        while isinstance(step, Mapping):
            step = session.receive(_exchanged(self._opened, self._rng, step))
        outcome = session.conclude()
        if isinstance(outcome, Match | Flag) and not is_confirmed(
            self._opened.design.info.relation, item, outcome
        ):
            raise DesignError("a match that is none")
        self._prepare()

    def _prepare(self) -> None:
        after = self._opened.design.prepare(self._state, self._opened.setup, self._rng)
        if after != self._state:
            self._keep(after)

    def _keep(self, state: Any) -> None:
        self._state = state
        self._keeper.save(state.encode())


class _Watched:
    """The same in the device's detector, with all that the harness keeps of it."""

    def __init__(self, opened: OpenDesign, rng: Randomness) -> None:
        self._opened, self._rng, self._recorder = opened, rng, Recorder()
        self._traces: list[SessionTrace] = []
        self._clocks: list[Stopwatch] = []
        design, setup, sink = opened.design, opened.setup, self._traces.append
        self._detector = Detector(design, setup, _Keeper(), rng, sink)
        self._detector.prepare()

    def __call__(self, item: Picture) -> None:
        with Stopwatch() as watch:
            found = self._detector.match(item, len(self._traces), self._exchange)
            self._detector.prepare()
        self._clocks.append(watch)
        if not isinstance(found, Decided):
            raise found.error

    def _exchange(self, bodies: Mapping[Role, Message]) -> Mapping[Role, Message]:
        return _exchanged(self._opened, self._rng, bodies, self._sent)

    def _sent(self, role: Role, body: bytes) -> Callable[[bytes], None]:
        party, number = self._opened.design.info.asked(role), len(self._traces)
        entry = self._recorder.open(
            party, EXCHANGE.path, Purpose.MATCHING, number, time.time_ns() // 1_000_000
        )
        entry.requests.append(body)

        def received(reply: bytes) -> None:
            entry.reply_bytes += len(reply)

        return received


def added_by_harness(
    opened: OpenDesign, files: Sequence[bytes], rng: Randomness, progress: Progress, pairs: int = PAIRS
) -> list[HarnessRow]:
    """Pairs of sessions over `files`, again and again: `pairs` of them, fewer if they take much CPU.

    A design without roles sends nothing, and has no pairs.

    Raises:
        BlindmatchError: if a step of the design fails.
    """
    if not opened.design.info.roles or not files:
        return []
    pictures = [Picture.from_bytes(data) for data in files]
    bare, watched = _Bare(opened, rng), _Watched(opened, rng)
    for picture in pictures:
        _ = picture.fingerprint
    for picture in (pictures * _WARM_UP)[:_WARM_UP]:
        bare(picture)
        watched(picture)
    rows: list[HarnessRow] = []
    spent_ms = 0.0
    for picture in cycle(pictures):
        rows.append(row := _pair(len(rows), picture, bare, watched))
        spent_ms += row.bare_cpu_ms + row.watched_cpu_ms
        progress(len(rows), pairs)
        if len(rows) == pairs or (len(rows) >= LEAST_PAIRS and spent_ms > MOST_CPU_MS):
            break
    progress(len(rows), len(rows))
    return rows


def _pair(number: int, picture: Picture, bare: Run, watched: Run) -> HarnessRow:
    runs = (bare, watched) if number % 2 == 0 else (watched, bare)
    took = {run: _timed(run, picture) for run in runs}
    return HarnessRow(number, *took[bare], *took[watched])


def _timed(run: Run, picture: Picture) -> tuple[float, float]:
    """Milliseconds by the clock, and of CPU."""
    with Stopwatch() as watch:
        run(picture)
    return watch.wall_ms, watch.cpu_ms


def _exchanged(
    opened: OpenDesign,
    rng: Randomness,
    bodies: Mapping[Role, Message],
    sent: Callable[[Role, bytes], Callable[[bytes], None]] | None = None,
) -> Mapping[Role, Message]:
    """A round in this process, all messages encoded and decoded as if they travelled."""
    design, replies = opened.design, dict[Role, Message]()
    for role in sorted(bodies):
        body = bodies[role].encode()
        received = sent(role, body) if sent else None
        asked = decode_any(design.requests[role], body, design.info.name)
        reply = opened.answer(role, asked, rng)[0].encode()
        if received:
            received(reply)
        replies[role] = decode_any(design.replies[role], reply, design.info.name)
    return replies
