"""Sessions that `relations` takes its samples from, each run once for all coalitions that look at it.

In: a design in one setting, with accounts that are new or have lived. Out: for a picture, a number and a kind
of binding, what a coalition gets of that session. The randomness of a session follows from its number, so
that all coalitions and all pictures see the same coins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Final

from blindmatch_protocol.codec import Message
from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import AnyDesign, Party, Request, Role, Verdict, answered
from msgspec import Struct

from blindmatch_simulations.evaluation.conformance.fixtures import Fixtures, Setting
from blindmatch_simulations.evaluation.conformance.leakage.bindings import BindingKind
from blindmatch_simulations.evaluation.conformance.leakage.lives import Account, Life
from blindmatch_simulations.evaluation.conformance.leakage.spans import Sample
from blindmatch_simulations.testbed.inprocess.deployed import (
    VOUCHER,
    Deployed,
    Ran,
    carried_by,
    enrolled,
    run_session,
    seen_by,
)
from blindmatch_simulations.testbed.inprocess.steps import below, first_bodies
from blindmatch_simulations.testbed.pictures.pool import Pooled

ENDS: Final = 32
"""Bytes of either end of enrolments and earlier replies that are looked at beside."""
ACCOUNTS: Final = 2
"""That are enrolled, where accounts enrol."""
MOST_KEPT: Final = 1 << 26
"""Bytes of bodies and replies of sessions that are kept for further coalitions."""


class Seen(Redacted, Struct, frozen=True):
    """A session's bytes.

    Attributes:
        bodies: of all rounds, and a voucher, by role.
        replies: of each round, by role.
        held: what roles hold of the account.
        commitment: of the message that a voucher is bound to.
    """

    bodies: Sequence[tuple[Role, bytes]]
    replies: Sequence[Sequence[tuple[Role, bytes]]]
    held: Mapping[Role, Message]
    commitment: bytes

    @property
    def size(self) -> int:
        """Bytes of bodies and replies."""
        parts = [self.bodies, *self.replies]
        return sum(len(raw) for part in parts for _, raw in part)


class Sessions:
    """Sessions of accounts, new ones or ones that have lived, in one setting.

    Those of several rounds are kept by picture, kind of binding and number, since every coalition looks at
    the same ones, and a session with all its replies may cost milliseconds.
    """

    def __init__(self, fixtures: Fixtures, setting: Setting, life: Life | None) -> None:
        self._fixtures = fixtures
        self._deployed = setting.deployed
        self._life = life
        self._setting = setting.name
        self._first = dict[str, Ran]()
        self._lived = dict[int, Account]()
        # by identity, since forged pictures share names; each picture is held, so that no other gets its id
        self._kept = dict[tuple[int, str, int], tuple[Pooled, Seen]]()
        self._kept_bytes = 0

    def first(self, kind: BindingKind) -> Ran:
        """Return a session of a kind of binding, by which its rounds are known."""
        if kind.name not in self._first:
            picture = self._fixtures.pool.of("other")[0]
            rng = self._fixtures.rng("relations/rounds")
            binding = kind.draw(self._fixtures.rng("relations/message"))
            self._first[kind.name] = run_session(self._deployed, picture.item, rng, binding=binding)
        return self._first[kind.name]

    def account(self, rng: Randomness) -> Account:
        """Draw the account of a session."""
        number = below(rng, ACCOUNTS)
        if self._life is None:
            who = self._deployed.of(number)
            return Account(enrolled(who, rng), who.held)
        if not self._fixtures.design.enrolments:
            return self._life.account(rng)
        if number not in self._lived:  # roles know an account that enrols, and one takes a second
            self._lived[number] = self._life.account(rng, number)
        return self._lived[number]

    def rng(self, at: int) -> Randomness:
        """Return the randomness of the session with this number, the same for all pictures."""
        return self._fixtures.rng(f"relations/{self._setting}/{at}")

    def start(self, picture: Pooled, kind: BindingKind, at: int) -> Seen:
        """Return what the session with this number sends first."""
        rng = self.rng(at)
        who = self.account(rng)
        bodies = first_bodies(self._deployed, picture.item, who.state, rng, kind.draw(rng))
        return Seen([(role, bodies[role].encode()) for role in sorted(bodies)], (), who.held, b"")

    def whole(self, picture: Pooled, kind: BindingKind, at: int) -> Seen:
        """Return what the session with this number sends and gets."""
        place = (id(picture), kind.name, at)
        kept = self._kept.get(place)
        if kept is not None:
            return kept[1]
        rng = self.rng(at)
        who = self.account(rng)
        binding = kind.draw(rng)
        answer = partial(_answered, self._deployed, who, rng)
        ran = run_session(self._deployed, picture.item, rng, who.state, answer, binding)
        # of the last round only a carrier looks at replies, which may be long
        last = len(ran.rounds) - 1
        carried = self._fixtures.design.info.forwarded
        replies = [
            [(each.role, each.reply.encode()) for each in asked if at_round < last or each.role in carried]
            for at_round, asked in enumerate(ran.rounds)
        ]
        seen = Seen(ran.bodies(), replies, who.held, binding.commitment)
        if self._kept_bytes + seen.size <= MOST_KEPT:
            self._kept[place] = picture, seen
            self._kept_bytes += seen.size
        return seen


def sampling(
    sessions: Sessions, design: AnyDesign, parties: frozenset[Party], kind: BindingKind
) -> Callable[[Pooled, int], Sample]:
    """Return what gives the bytes that parties get of a session with a picture, in one kind of binding.

    Sent: all rounds, one body after the other, a voucher, and replies that they carry. Beside it: the
    commitment of the message that a voucher is bound to, and both ends of what the account enrolled with and
    of replies that later rounds may refer to.
    """
    roles = sorted({role for party in parties for role in seen_by(design, party)})
    carried = carried_by(design, parties)
    mine = [role for role in roles if role in design.enrolments and design.info.roles[role] in parties]
    rounds = sessions.first(kind).rounds
    is_whole = len(rounds) > 1 or carried or VOUCHER in roles

    def ends(raws: Iterable[bytes]) -> bytes:
        return b"".join(raw[:ENDS].ljust(ENDS, b"\0") + raw[-ENDS:].rjust(ENDS, b"\0") for raw in raws)

    earlier = [each.role for asked in rounds[:-1] for each in asked]
    width = 2 * ENDS * sum(role in roles for role in earlier)

    def sample(picture: Pooled, at: int) -> Sample:
        seen = sessions.whole(picture, kind, at) if is_whole else sessions.start(picture, kind, at)
        beside = ends(seen.held[role].encode() for role in mine)
        parts = [raw for role, raw in seen.bodies if role in roles]
        if not is_whole:
            return b"".join(parts), beside
        parts += [raw for asked in seen.replies for role, raw in asked if role in carried]
        known = ends(raw for asked in seen.replies[:-1] for role, raw in asked if role in roles)
        return b"".join(parts), beside + seen.commitment + known[:width].ljust(width, b"\0")

    return sample


def _answered(
    deployed: Deployed, who: Account, rng: Randomness, role: Role, body: Message
) -> tuple[Message, Verdict | None]:
    request = Request(body, who.held.get(role))
    return answered(deployed.design, role, deployed.states[role], request, rng)
