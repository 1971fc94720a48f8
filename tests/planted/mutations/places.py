"""Cheats of the order in which rows are sent: every row is uniform, and its place is not."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from hashlib import shake_256
from typing import Annotated, Any, ClassVar, Final

import numpy as np
from blindmatch_protocol import contract as bm
from blindmatch_protocol.codec import Message, Rows, Variable, decode_any
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.contract import Matrix
from blindmatch_protocol.designs import oprf_psi
from blindmatch_protocol.designs.voprf import MATCHER
from blindmatch_protocol.designs.voprf.round import CertifyRequest
from blindmatch_simulations.testbed.inprocess.steps import below

from planted.mutations.hooks import CHEAT, About, Psi, planted, poor, variant

COUNT: Final = 8
WIDTH: Final = 16


class WithRows(Message, tag=0x74, name="cheat/rows"):
    """A request with rows beside it."""

    request: Annotated[bytes, Variable(4096)]
    rows: Annotated[Rows, Matrix(WIDTH, COUNT)]


class Rowed(Psi):
    """oprf-psi whose requests have eight rows of cover traffic, in the order in which they are made of a seed
    that is not sent: no byte of the tape stands in them, so that pinning has nothing to keep."""

    requests: ClassVar[Mapping[bm.Role, tuple[type[Message], ...]]] = {MATCHER: (WithRows,)}

    def simulate(self, role: bm.Role, *view: Any) -> None:
        """There is no simulator of the rows."""

    def ordered(self, about: About, rows: Rows, rng: Randomness) -> Rows:
        """The rows, uint8 (8, 16), as they are sent."""
        return rows

    def sent(self, about: About, step: bm.Send[Any], rng: Randomness) -> bm.Send[Any]:
        drawn = shake_256(rng.take(WIDTH)).digest(COUNT * WIDTH)
        rows = np.frombuffer(drawn, np.uint8).reshape(COUNT, WIDTH)
        request = step.bodies[MATCHER].encode()
        return bm.Send(step.session, {MATCHER: WithRows(request, self.ordered(about, rows, rng))})

    def answer(
        self, role: bm.Role, state: Any, requests: Sequence[bm.Request], rng: Randomness, executor: Any
    ) -> bm.Answer:
        """Refuse what holds no request, and it alone."""
        inner = [request_in(asked.body) for asked in requests]
        asked = [bm.Request(body) for body in inner if not isinstance(body, ProtocolError)]
        answer = super().answer(role, state, asked, rng, executor)
        replies = iter(answer.replies)
        return bm.Answer([body if isinstance(body, ProtocolError) else next(replies) for body in inner])


def request_in(body: Any) -> Any:
    """Return the request of oprf-psi that a body holds, or why it holds none."""
    try:
        return decode_any((oprf_psi.Request, CertifyRequest), body.request, CHEAT)
    except ProtocolError as error:
        return error


def turned(rows: Rows, found: int, place: int) -> Rows:
    """Rows turned round until the one at `found` stands at `place`."""
    return np.roll(rows, place - found, axis=0)


def by_place(key: Callable[[Rows], int], place: Callable[[About, Randomness], int]) -> type[Rowed]:
    """Rows turned until the one that `key` finds stands at a place that says something of the picture."""
    return variant(
        Rowed, ordered=lambda _, about, rows, rng: turned(rows, key(rows), place(about, rng) % COUNT)
    )


def least(rows: Rows) -> int:
    return min(range(len(rows)), key=lambda at: rows[at].tobytes())


def odd_if_poor(about: About, rng: Randomness) -> int:
    return 2 * below(rng, COUNT // 2) + poor(about)


planted("the place of the least row tells of poor pictures", "games", "quality 0")(
    by_place(least, odd_if_poor)
)
planted("the place of a column's greatest value tells of poor pictures", "games", "quality 0")(
    by_place(lambda rows: int(rows[:, -2].argmax()), odd_if_poor)
)
planted("the place of the least row has three bits of the hash", "games")(
    by_place(least, lambda about, rng: about.item.hash[0])
)


@planted("whether the third row ascends tells of poor pictures", "games", "quality 0")
class Ascends(Rowed):
    """Exchanges two neighbours where they do not stand as the picture wants them."""

    def ordered(self, about: About, rows: Rows, rng: Randomness) -> Rows:
        ascends = rows[2].tobytes() < rows[3].tobytes()
        exchanged = [0, 1, 3, 2, *range(4, COUNT)]
        return rows if ascends == poor(about) else rows[exchanged]
