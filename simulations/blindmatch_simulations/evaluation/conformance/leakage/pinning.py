"""What follows from a picture and from what is sent beside it: leaks that look random to a replay.

`audit.replay` draws a session's randomness again, and takes each byte that changes for explained. So a byte
passes that is a function of the picture and of randomness that is *sent*: a digest under a nonce beside it, a
mask that a vendor's key makes of the request id, everything once the request id is the session's seed.
Whoever receives the nonce and has the function reads the picture. This check keeps what is sent, and draws
only the rest again.

What goes in. A session is a function of the picture, the tape that the device draws from, the account's state
and the roles' replies. For a coalition and two pictures that agree on all that is declared to it (and on its
output) the session is run for both on one tape. *Pinned* are the bytes of the tape, and of the state, that
stand in what the coalition gets for the one and for the other picture, in pieces of `PIECE` bytes or more: in
this session, in earlier ones of the account, or in what it enrolled with. The message that the picture is in
is pinned too, for the provider sees its commitment, and so is the randomness of the coalition's own roles.
All else is drawn again in each run: the rest of the tape, the rest of the state (of another account with the
same life), and the randomness of roles outside of the coalition.

What comes out. `DRAWS` runs of the first picture and as many of the second. A bit of a field *tells* if it
is b in all runs of the first and 1 - b in all runs of the second. A byte tells, too, if it is the same in all
runs of the one, and has that value in no run of the other: a constant for one picture, message or list may
stand where another one has what is drawn. So does the length of a field tell, and whether there is
one. Fields are compared one by one, those of varying length from both of their ends, so that a part of
varying length does not shift the next one.

Why that is right. Let v be what the coalition sees. A design hides the picture if v is distributed alike for
both pictures. What is pinned is a part of v, so v is distributed alike given that part, too. Let q be the
probability that a bit of v is 1 given it. The runs are independent of each other, also those of the two
pictures. So an honest design is failed for that bit with a probability of

    q^n (1 - q)^n + (1 - q)^n q^n  <=  2 * 4^-n  =  2^-47   for n = DRAWS = 24,

since q (1 - q) <= 1/4, whatever q is: rare values, sorted rows and padding of drawn lengths cause no alarm.
With 2^20 bits looked at in a run that is 2^-27. Runs stop as soon as no bit is left that tells, mostly
after three. For a byte, let q be the probability of the value that it had in the first run of the one side:
the others have it with q^(n-1), and none of the other side with (1 - q)^n, so that an honest design is
failed for that byte with at most 2 * 4^-(n-1) = 2^-45. The runs that decide what is pinned are not counted.
Only pieces that stand in both views are pinned: if those of one were, filler that is drawn for a poor
picture would be held against the ciphertext of a good one.

What it cannot see. A cipher under the receiver's own key: the key is neither drawn nor sent. If its nonce is
sent as it was drawn, the ciphertext is a function of the picture and of what is sent, and is found; if what
is sent is a function of what was drawn (a digest, a group element), honest encryption looks the same. Nor
does it see drawing until a digest under such a key says something, since no bit is constant then.

Messages. In the same way one picture is run in two messages of one account, to different recipients and of
different files, each under a franking key that is drawn again: the commitment hides with that key alone.

Links. Where it is not declared that an account's sessions can be linked, two accounts are compared in the
same way. Kept of the state of each is what stood in an earlier request, and all else is drawn again. So a
chain of digests whose last link was sent is found, and a ratchet whose keys are never sent is not.

Many accounts. A device may leak for one account in sixteen. `check_accounts` runs `ACCOUNTS` accounts on
pinned tapes, and looks for a place at which several accounts send one value v for the first picture and
another value w for the second one, all of whose bytes differ from v. Where values have 32 bits or more, three
accounts share v by chance with at most `ACCOUNTS`^3 / 6 * 2^-64, and w may follow from v, as in a stream
cipher; a key of the account makes them differ. Bytes that are alike for both pictures, such as a nonce that
is pinned, say nothing of the picture, so a window has none. What is found is held against new draws of each
of these accounts as above.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from string import hexdigits
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
from blindmatch_protocol.codec import Message
from blindmatch_protocol.codec.errors import BlindmatchError, ProtocolError
from blindmatch_protocol.codec.randomness import Randomness, Recording, seeded
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import UNBOUND, Binding, Party, Request, Role, Session, Voucher, answered
from blindmatch_protocol.designs.facts import ENROLMENT
from msgspec import Struct

from blindmatch_simulations.evaluation.conformance.fixtures import Fixtures, Setting
from blindmatch_simulations.evaluation.conformance.leakage.lives import Account, Life, has_state, lives
from blindmatch_simulations.evaluation.conformance.leakage.play import ACCOUNT_FACT, Opponent, names_of
from blindmatch_simulations.evaluation.conformance.leakage.relations import (
    groups,
    one_of_each_kind,
    outcome_of,
    role_players,
)
from blindmatch_simulations.testbed.audit.counterpart import Declared, Forge
from blindmatch_simulations.testbed.inprocess import telling
from blindmatch_simulations.testbed.inprocess.deployed import VOUCHER, Deployed, carried_by, seen_by
from blindmatch_simulations.testbed.inprocess.leaves import MOST_ROWS, placed_fields
from blindmatch_simulations.testbed.inprocess.messages import DrawnMessage, drawn_message
from blindmatch_simulations.testbed.inprocess.verdict import BrokenError
from blindmatch_simulations.testbed.pictures.pool import Pooled

PIECE: Final = 4
"""Bytes in a row that are taken for the tape's or the state's when they are sent: of 2^12 drawn and 2^12 sent
ones a piece is met by chance with 2^-8, which pins four bytes too many and lets nothing pass."""
DRAWS: Final = 24
PAIRS: Final = 8
"""Pairs of pictures for each coalition, of a new account;"""
LATER: Final = 3
"""and of one that has lived."""
COMPOSED: Final = 3
"""Pictures for each of which others are composed where no two of the pool agree."""
ENROLMENT_ENDS: Final = 1 << 14
"""Bytes at either end of enrolments, which may be megabytes, in which the state's bytes are looked for."""
ACCOUNTS: Final = 160
"""A leak of one account in sixteen shows in fewer than three of them with 0.3 %."""
LINKED: Final = 1_000
"""Number of the first account whose state is mixed with what another one has sent."""
AFTER_PICTURE: Final = "after a picture"
"""The life of an account after which is looked for what links its sessions."""
SHARED: Final = 3
"""Accounts that must share what they send."""
WINDOW: Final = 4
"""Bytes of a value that accounts share."""
ENDS: Final = 256
"""Bytes at either end of a field in which such a value is looked for."""

Fields: TypeAlias = dict[str, bytes]
"""What is seen of a session: each leaf of each message by its name and place, as bytes."""

FOLLOWS: Final = "field {} follows from the picture and from what is sent beside it"
TELLS_OF_MESSAGE: Final = "field {} tells of the message that the picture is in, such as to whom it is sent"
LINKS: Final = "field {} follows from what the account sent before, so that its sessions can be linked"
IN_SOME: Final = "field {} follows from the picture in some accounts"


class Drawn(Redacted, Struct, frozen=True):
    """All that decides a session beside the picture.

    Attributes:
        account: whose session it is.
        tape: what the device draws from; `rest` once it is used up.
        rest: seeds what follows the tape, and roles outside of the coalition.
        binding: of the message that the picture is in.
    """

    account: Account
    tape: bytes
    rest: str
    binding: Binding


class Watched(Redacted, Struct, frozen=True):
    """One session as a coalition sees it: its fields, the tape that was drawn, and the account's state after
    it."""

    fields: Fields
    tape: bytes
    state: Message


class Difference(Redacted, Struct, frozen=True):
    """A field that tells, and its bytes for either side, empty if it is not there; and the first of them of
    which a bit tells, None if the length does, or whether there is a field."""

    field: str
    first: bytes
    second: bytes
    place: int | None = None

    def words(self, first: str, second: str) -> str:
        """The place with its value for either side."""
        return self._shown.words(first, second)

    @property
    def _shown(self) -> telling.Difference:
        if self.place is None:
            return telling.Difference(self.field, f"{len(self.first)} bytes", f"{len(self.second)} bytes", 0)
        mine = self.first[self.place]
        theirs = self.second[self.place]
        return telling.Difference(f"{self.field}[{self.place}]", f"{mine:02x}", f"{theirs:02x}", 0)


class Watcher:
    """Runs sessions of a design under one life, and looks at them as one coalition does."""

    def __init__(self, fixtures: Fixtures, life: Life, parties: frozenset[Party]) -> None:
        self._fixtures = fixtures
        self._life = life
        self._parties = parties
        self._design = fixtures.design
        self._roles = {role for party in parties for role in seen_by(self._design, party)}
        self._carried = carried_by(self._design, parties)
        self._accounts: dict[int, Account] = {}
        # an answer of a design that has reduced sizes costs a hundred times what its requests do
        self.stops_after_first = fixtures.whole is not None and not self._design.vouchers
        """Is only the first round run?"""

    @property
    def deployed(self) -> Deployed:
        return self._life.deployed

    @property
    def is_told(self) -> bool:
        """Is the design told of the message that a picture is in?"""
        return bool(self._design.vouchers)

    def account(self, number: int) -> Account:
        """An account that has lived this life, the same for each number.

        Where accounts enrol, each number is an enrolment of its own: runs that shared one would draw nothing
        again of what follows from its secret, and the bound on false alarms would not hold. An enrolment may
        be large, but few are made: `compare` stops after three runs where nothing tells.
        """
        if not has_state(self._fixtures):
            number = 0
        if number not in self._accounts:
            rng = self._fixtures.rng(f"pinning/{self._life.name}/account/{number}")
            self._accounts[number] = self._life.account(rng, number if self._design.enrolments else 0)
        return self._accounts[number]

    def run(self, item: Any, drawn: Drawn) -> Watched:
        """Run one session; a refusal ends it, and is seen."""
        tape = record_from(drawn.tape, seeded(f"{drawn.rest}/device"))
        fields = Fields()
        session = Session(self._design, self.deployed.setup, drawn.account.state, tape.rng)
        roles = {role: self._randomness(role, drawn) for role in sorted(self._design.info.roles)}
        try:
            step = session.start(item, drawn.binding)
            number = 1
            while isinstance(step, Mapping):
                replies = dict[Role, Message]()
                for role in sorted(step):
                    self._see(fields, f"round {number}, {role}", role, step[role])
                if self.stops_after_first:
                    return Watched(fields, tape.tape(), session.state)
                for role in sorted(step):
                    request = Request(step[role], drawn.account.held.get(role))
                    state = self.deployed.states[role]
                    replies[role], _ = answered(self._design, role, state, request, roles[role])
                    if role in self._carried:
                        fields |= name_fields(f"round {number}, reply of {role}", replies[role])
                step = session.receive(replies)
                number += 1
            outcome = session.conclude()
            if isinstance(outcome, Voucher):
                self._see(fields, "voucher", VOUCHER, outcome.body)
        except ProtocolError:
            fields["a refusal"] = b"\1"
        return Watched(fields, tape.tape(), session.state)

    def _randomness(self, role: Role, drawn: Drawn) -> Randomness:
        """A coalition knows what its own roles draw."""
        mine = self._design.info.roles[role] in self._parties
        return seeded(f"pinning/{role}" if mine else f"{drawn.rest}/{role}")

    def _see(self, fields: Fields, name: str, role: Role, body: Message) -> None:
        if role in self._roles:
            fields |= name_fields(name, self._read(role, body))

    def _read(self, role: Role, body: Message) -> Message:
        """A host reads what was sealed to its role."""
        if self._design.info.roles.get(role) not in self._parties:
            return body
        read: Message = self._design.unsealed(role, self.deployed.states[role], body)
        return read

    def known(self, account: Account) -> bytes:
        """What the coalition has got of an account before: both ends of each body, one after the other."""
        past = [body.encode() for role, body in account.past if role in self._roles]
        hosts = self._design.info.roles
        held = [body.encode() for role, body in account.held.items() if hosts.get(role) in self._parties]
        return b"".join(raw[:ENROLMENT_ENDS] + raw[-ENROLMENT_ENDS:] for raw in (*past, *held))


def name_fields(name: str, body: Message) -> Fields:
    """The leaves of a message, with the number of each row and element."""
    leaves = placed_fields(body, MOST_ROWS)
    return {f"{name}: {body.NAME} {path}": _as_bytes(value) for path, value in leaves}


def _as_bytes(value: object) -> bytes:
    match value:
        case bytes():
            return value
        case bool():
            return bytes([value])
        case int():
            return value.to_bytes(9, "big", signed=True)
        case _:
            return str(value).encode()


def visible(secret: bytes, seen: bytes) -> npt.NDArray[np.bool_]:
    """Which bytes of `secret` are part of a piece that stands in `seen`, as it is, backwards, inverted or in
    hexadecimal, bool, shape (len(secret),)."""
    kept = np.zeros(len(secret), np.bool_)
    if len(secret) < PIECE or len(seen) < PIECE:
        return kept
    pieces = [_pieces(read, start) for read in _spelt(seen) for start in range(PIECE)]
    known = np.unique(np.concatenate(pieces))
    for start in range(PIECE):
        for at in start + PIECE * np.flatnonzero(np.isin(_pieces(secret, start), known)):
            kept[at : at + PIECE] = True
    return kept


def _spelt(seen: bytes) -> Iterator[bytes]:
    """What is sent as it may be read: both ways, as it is and inverted; its hexadecimal digits, of which the
    even or the odd ones come first."""
    inverted = (~np.frombuffer(seen, np.uint8)).tobytes()
    for read in (seen, inverted):
        yield from (read, read[::-1])
    digits = _DIGITS[np.frombuffer(seen, np.uint8)]
    for first in (0, 1):
        pairs = digits[first : first + (len(digits) - first) // 2 * 2].reshape(-1, 2)
        yield (pairs[:, 0] << 4 | pairs[:, 1]).tobytes()


_DIGITS: Final = np.array([int(chr(one), 16) if chr(one) in hexdigits else 0 for one in range(256)], np.uint8)


def _pieces(raw: bytes, start: int) -> npt.NDArray[np.uint32]:
    """Every piece of `PIECE` bytes that begins a multiple of that after `start`, as a number."""
    return np.frombuffer(raw, "<u4", max(0, len(raw) - start) // PIECE, start if len(raw) > start else 0)


def record_from(start: bytes, rest: Randomness) -> Recording:
    """Record what is drawn from a tape that begins with `start` and goes on with `rest`."""
    place = 0

    def draw(count: int) -> bytes:
        nonlocal place
        given = start[place : place + count]
        place += count
        return given + rest.take(count - len(given)) if len(given) < count else given

    return Recording(Randomness(draw))


def splice(fresh: bytes, secret: bytes, kept: npt.NDArray[np.bool_]) -> bytes:
    """Return `fresh` with the bytes of `secret`, which is as long, where `kept`, bool (n,), says so."""
    mixed = np.frombuffer(fresh, np.uint8).copy()
    mixed[kept] = np.frombuffer(secret, np.uint8)[kept]
    return mixed.tobytes()


def told_apart(
    mine: Sequence[Fields],
    theirs: Sequence[Fields],
    by_bytes: bool = False,
) -> Difference | None:
    """The first field that tells runs of one side from those of the other, or None; see `_telling_places`."""
    for name in dict.fromkeys(name for fields in (mine[0], theirs[0]) for name in fields):
        first, second = ([fields.get(name) for fields in side] for side in (mine, theirs))
        own = first[0] or b""
        other = second[0] or b""
        if _is_told_by_length(first, second):
            return Difference(name, own, other)
        places = _telling_places(first, second, by_bytes)
        if len(places):
            count = len(own) if len(own) == len(other) else 0
            place = int(places[0])
            return Difference(name, own, other, place if place < count else None)
    return None


def _is_told_by_length(first: Sequence[bytes | None], second: Sequence[bytes | None]) -> bool:
    """Has the field one length on one side, and another one, or no field, on the other?"""
    mine, theirs = ({None if value is None else len(value) for value in side} for side in (first, second))
    return len(mine) == len(theirs) == 1 and mine != theirs


def _telling_places(
    first: Sequence[bytes | None], second: Sequence[bytes | None], by_bytes: bool
) -> npt.NDArray[np.intp]:
    """Find bytes, by place in `_ends`, with a bit that is constant on both sides, and differs.

    None where a side has no field in some runs.

    Args:
        by_bytes: also those that are constant on one side, and never have that value on the other.
    """
    values = [[value for value in side if value is not None] for side in (first, second)]
    least = min((len(value) for side in values for value in side), default=0)
    if not least or len(values[0]) < len(first) or len(values[1]) < len(second):
        return np.zeros(0, np.intp)
    sides = [np.stack([_ends(value, least) for value in side]) for side in values]
    steady = [~np.bitwise_or.reduce(side ^ side[0], axis=0) for side in sides]
    bits = steady[0] & steady[1] & (sides[0][0] ^ sides[1][0])
    if not by_bytes:
        return np.flatnonzero(bits)
    never = [(side != other[0]).all(axis=0) for side, other in zip(sides, reversed(sides), strict=True)]
    constant = [bits_steady == 0xFF for bits_steady in steady]
    return np.flatnonzero((bits != 0) | (constant[0] & never[1]) | (constant[1] & never[0]))


def _ends(value: bytes, count: int) -> npt.NDArray[np.uint8]:
    """Its first and its last bytes, uint8 (2 * count,)."""
    return np.frombuffer(value[:count] + value[-count:], np.uint8)


def compare(
    mine: Callable[[int], Fields], theirs: Callable[[int], Fields], by_bytes: bool = False
) -> Difference | None:
    """Run both sides until nothing is left that tells them apart, or `DRAWS` times."""
    first = [mine(1)]
    second = [theirs(1)]
    while (found := told_apart(first, second, by_bytes)) is not None and len(first) < DRAWS:
        first.append(mine(len(first) + 1))
        second.append(theirs(len(second) + 1))
    return found


class Pinned:
    """Two sides on one tape: pictures, or messages that a picture is in; and what of it both of them show."""

    def __init__(
        self, watcher: Watcher, purpose: str, rng: Randomness, items: tuple[Any, Any], number: int = 0
    ) -> None:
        self._watcher = watcher
        self._purpose = purpose
        self._items = items
        self._message = drawn_message(rng)
        self._binding = self._message.binding if watcher.is_told else UNBOUND
        self._account = watcher.account(number)
        drawn = Drawn(self._account, b"", f"{purpose}/0", self._binding)
        first = watcher.run(items[0], drawn)
        second = watcher.run(items[1], drawn)
        shorter = min(len(first.tape), len(second.tape))
        self._tape = first.tape[:shorter]
        self._state = self._account.state.encode()
        before = watcher.known(self._account)
        seen = [b"".join(one.fields.values()) + before for one in (first, second)]
        self._kept = visible(self._tape, seen[0]) & visible(self._tape, seen[1])
        self._held = visible(self._state, seen[0]) & visible(self._state, seen[1])
        self._past = visible(self._state, before)

    @property
    def size(self) -> int:
        """How many bytes of the tape and of the state are pinned."""
        return int(self._kept.sum() + self._held.sum())

    @property
    def account(self) -> Account:
        """The account whose state is pinned."""
        return self._account

    def fresh(self, again: int, account: Account) -> Drawn:
        """What decides a session of an account in which nothing is pinned."""
        return Drawn(account, b"", f"{self._purpose}/fresh/{again}", self._binding)

    def drawn(self, which: int, again: int, account: Account | None = None) -> Drawn:
        """What decides run number `again` of a side; with its own state if an account is given, else with
        what is pinned of the first one's. No two runs share what is drawn again: the bound on false alarms
        multiplies their probabilities."""
        number = 2 * again + which
        rest = f"{self._purpose}/{number}"
        tape = splice(seeded(f"{rest}/tape").take(len(self._tape)), self._tape, self._kept)
        who = self._spliced(self._watcher.account(number)) if account is None else account
        return Drawn(who, tape, rest, self._binding)

    def _spliced(self, other: Account, held: npt.NDArray[np.bool_] | None = None) -> Account:
        """Another account with what is pinned of the first one's state, if that is a state."""
        kept = self._held if held is None else held
        raw = other.state.encode()
        if not kept.any() or len(raw) != len(self._state):
            return other
        try:
            state = type(other.state).decode(splice(raw, self._state, kept))
        except ProtocolError:
            return other
        return Account(state, other.held, other.past)

    def side(self, which: int, account: Account | None = None) -> Callable[[int], Fields]:
        """Runs of one of the pictures."""
        return lambda again: self._watcher.run(self._items[which], self.drawn(which, again, account)).fields

    def compare(self) -> Difference | None:
        return compare(self.side(0), self.side(1), by_bytes=True)

    @property
    def has_sent_state(self) -> bool:
        """Did a piece of the state stand in what the account sent before?"""
        return bool(self._past.any())

    def compare_accounts(self, other: Pinned) -> Difference | None:
        """The first picture in this account and in another one; all is drawn again but the pieces of their
        states that each had sent before."""

        def side(which: int, pinned: Pinned) -> Callable[[int], Fields]:
            def run(again: int) -> Fields:
                number = 2 * again + which
                who = pinned._spliced(self._watcher.account(LINKED + number), pinned._past)
                drawn = pinned.fresh(number, who)
                return self._watcher.run(self._items[0], drawn).fields

            return run

        return compare(side(0, self), side(1, other))

    def compare_field(self, name: str, account: Account) -> Difference | None:
        """The same of one field and one account, with the state that it has."""

        def side(which: int) -> Callable[[int], Fields]:
            run = self.side(which, account)
            return lambda again: {name: run(again).get(name, b"")}

        return compare(side(0), side(1))

    def compare_messages(self, other: DrawnMessage) -> Difference | None:
        """The first picture in its message, and in another one; each under a franking key of its own."""

        def side(which: int, message: DrawnMessage) -> Callable[[int], Fields]:
            def run(again: int) -> Fields:
                drawn = self.drawn(which, again)
                bound = message.sealed_again(seeded(f"{drawn.rest}/franking")).binding
                return self._watcher.run(
                    self._items[0], Drawn(drawn.account, drawn.tape, drawn.rest, bound)
                ).fields

            return run

        return compare(side(0, self._message), side(1, other), by_bytes=True)

    @property
    def message(self) -> DrawnMessage:
        return self._message


class Pair(Redacted, Struct, frozen=True):
    """Two pictures that agree on all that is declared to a coalition."""

    first: Pooled
    second: Pooled


class Counts(Struct):
    """What was compared.

    Attributes:
        left: coalitions and lives for which no two pictures agree.
    """

    pairs: int = 0
    pinned: int = 0
    messages: int = 0
    accounts: int = 0
    left: int = 0

    @property
    def words(self) -> str:
        if not self.pairs:
            return "nothing was pinned: no two pictures agree on all that is declared"
        words = f"{self.pairs} pairs of pictures compared with what is sent pinned"
        words += f" (up to {self.pinned} bytes drawn)"
        words += f", {self.messages} pairs of messages" if self.messages else ""
        words += f", {self.accounts} accounts" if self.accounts else ""
        return words + (f"; none in {self.left} of its cases" if self.left else "")


def check_pinning(fixtures: Fixtures) -> Counts:
    """Nothing that is sent follows from the picture and from what is sent beside it; see the module.

    Returns what was compared; raises `BrokenError` with field, values, pictures and parties.
    """
    counts = Counts()
    for number, life in enumerate(lives(fixtures)):
        for opponent in role_players(fixtures):
            watcher = Watcher(fixtures, life, opponent.parties)
            pairs = pairs_of(fixtures, life, opponent)[: LATER if number else PAIRS]
            counts.left += not pairs
            for pair in pairs:
                _check_pair(fixtures, watcher, life, opponent, pair, counts)
            _check_messages(fixtures, watcher, life, opponent, counts)
            for pair in pairs[:1] if life.name == AFTER_PICTURE else ():
                _check_links(fixtures, watcher, life, opponent, pair)
            if not number and has_state(fixtures) and not fixtures.design.enrolments:
                for pair in pairs[:1]:
                    check_accounts(fixtures, watcher, opponent, pair, counts)
    return counts


def _check_pair(
    fixtures: Fixtures, watcher: Watcher, life: Life, opponent: Opponent, pair: Pair, counts: Counts
) -> None:
    purpose = f"pinning/{fixtures.seed}/{life.name}/{opponent.name}/{pair.first.name}/{pair.second.name}"
    pinned = _pinned(watcher, purpose, pair, life, opponent)
    counts.pairs += 1
    counts.pinned = max(counts.pinned, pinned.size)
    found = pinned.compare()
    if found is not None:
        raise _broken(opponent, life, FOLLOWS, found, pair.first.name, pair.second.name)


def _pinned(watcher: Watcher, purpose: str, pair: Pair, life: Life, opponent: Opponent) -> Pinned:
    items = pair.first.item, pair.second.item
    try:
        return Pinned(watcher, purpose, seeded(purpose), items)
    except BlindmatchError as error:
        step = f"{opponent.name}, {life.name}"
        pictures = f"{pair.first.name} and {pair.second.name}"
        raise BrokenError(step, f"a session cannot be run: {error}", items=pictures) from error


def _broken(
    opponent: Opponent, life: Life, rule: str, found: Difference, first: str, second: str
) -> BrokenError:
    return BrokenError(
        f"{opponent.name}, {life.name}",
        rule.format(found.field),
        party=" with ".join(sorted(opponent.parties)),
        items=f"{first} and {second}",
        field=found.words(first, second),
        first_value=found.first,
        second_value=found.second,
    )


def pairs_of(fixtures: Fixtures, life: Life, opponent: Opponent) -> list[Pair]:
    """Pairs that agree on what is declared to a coalition and on its output: of the pool, one of each kind
    first; and composed ones where none of the pool has two hashes."""
    setting = Setting(life.name, life.deployed, fixtures.pool.pictures)
    found = list[Pair]()
    differ = False
    for group in groups(fixtures, setting, opponent):
        first, *others = one_of_each_kind(group, fixtures.seed)[0]
        others.sort(key=lambda one: one.item.hash == first.item.hash)
        found += [Pair(first, other) for other in others]
        differ = differ or any(other.item.hash != first.item.hash for other in others)
    return found if differ else [*_composed(fixtures, setting, opponent), *found]


def _composed(fixtures: Fixtures, setting: Setting, opponent: Opponent) -> Iterator[Pair]:
    """Pictures put together from views of several ones so that the facts agree (`audit.counterpart`)."""
    declared = Declared(opponent.facts, setting.deployed.setup)
    sources = [one.item for one in fixtures.pool.pictures]
    for first in one_of_each_kind(fixtures.pool.pictures, fixtures.seed)[1][:COMPOSED]:
        others = [item for item in sources if item is not first.item]
        wanted = opponent.learns_outcome and outcome_of(fixtures, setting.deployed, first)
        forged: Iterator[Any] = Forge.of(declared, first.item).items(iter(others[:COMPOSED]))
        for at, item in enumerate(forged):
            made = Pooled(f"composed/{at}", "composed", item)
            if not opponent.learns_outcome or outcome_of(fixtures, setting.deployed, made) == wanted:
                yield Pair(first, made)


def _check_messages(
    fixtures: Fixtures, watcher: Watcher, life: Life, opponent: Opponent, counts: Counts
) -> None:
    """What is sent does not tell who writes to whom, nor of which file."""
    if not fixtures.design.vouchers:
        return
    for one in (fixtures.pool.of(kind)[0] for kind in ("other", "listed")):
        purpose = f"pinning/{fixtures.seed}/{life.name}/{opponent.name}/{one.name}/messages"
        pinned = _pinned(watcher, purpose, Pair(one, one), life, opponent)
        rng = seeded(f"{purpose}/other")
        # the provider delivers the message, so it knows to whom; of which file it does not
        knows = Party.PROVIDER in opponent.parties
        other = pinned.message.of_another_file(rng) if knows else pinned.message.to_somebody_else(rng)
        counts.messages += 1
        found = pinned.compare_messages(other)
        if found is not None:
            sides = [f"{one.name} in a message to {to.recipient}" for to in (pinned.message, other)]
            raise _broken(opponent, life, TELLS_OF_MESSAGE, found, *sides)


def _check_links(fixtures: Fixtures, watcher: Watcher, life: Life, opponent: Opponent, pair: Pair) -> None:
    """What an account sends does not follow from what it sent before, unless it is declared that an account's
    sessions can be linked."""
    if names_of(opponent.facts) & {ACCOUNT_FACT, ENROLMENT.name} or fixtures.design.enrolments:
        return
    purpose = f"pinning/{fixtures.seed}/{life.name}/{opponent.name}/links"
    items = pair.first.item, pair.first.item
    mine, other = (Pinned(watcher, f"{purpose}/{at}", seeded(purpose), items, at) for at in range(2))
    if not mine.has_sent_state:
        return
    found = mine.compare_accounts(other)
    if found is not None:
        raise _broken(opponent, life, LINKS, found, "one account", "another account")


def check_accounts(
    fixtures: Fixtures, watcher: Watcher, opponent: Opponent, pair: Pair, counts: Counts
) -> None:
    """No value that several accounts share follows from the picture."""
    life = lives(fixtures)[0]
    purpose = f"pinning/{fixtures.seed}/accounts/{opponent.name}"
    pinned = _pinned(watcher, purpose, pair, life, opponent)
    accounts = [watcher.account(number) for number in range(1, ACCOUNTS + 1)]
    sides = [
        [pinned.side(which, account)(number) for number, account in enumerate(accounts)] for which in (0, 1)
    ]
    counts.accounts = max(counts.accounts, len(accounts))
    for name, members in _sharing(*sides):
        found = [pinned.compare_field(name, accounts[number]) for number in members]
        told = [one for one in found if one is not None]
        if len(told) == len(found):
            raise _broken(opponent, life, IN_SOME, told[0], pair.first.name, pair.second.name)


def _sharing(mine: Sequence[Fields], theirs: Sequence[Fields]) -> Iterator[tuple[str, list[int]]]:
    """A field, and `SHARED` accounts that send one value there for the first and another for the second
    picture."""
    for name in dict.fromkeys(name for fields in mine for name in fields):
        sides = [[fields.get(name, b"") for fields in side] for side in (mine, theirs)]
        least = min((len(value) for side in sides for value in side if value), default=0)
        present = [at for at in range(len(mine)) if sides[0][at] and sides[1][at]]
        if least < WINDOW or len(present) < SHARED:
            continue
        width = min(least, ENDS)
        values = [np.stack([_ends(side[at], width) for at in present]) for side in sides]
        for at in range(2 * width - WINDOW + 1):
            for members in _at_place(present, *(value[:, at : at + WINDOW] for value in values)):
                yield name, members


def _at_place(
    present: Sequence[int], mine: npt.NDArray[np.uint8], theirs: npt.NDArray[np.uint8]
) -> Iterator[list[int]]:
    differ = np.flatnonzero((mine != theirs).all(axis=1))
    if len(differ) < SHARED:
        return
    both = np.concatenate([mine[differ], theirs[differ]], axis=1)
    _, inverse, sizes = np.unique(both, axis=0, return_inverse=True, return_counts=True)
    for number in np.flatnonzero(sizes >= SHARED):
        members = differ[np.flatnonzero(inverse.reshape(-1) == number)][:SHARED]
        yield [present[int(member)] for member in members]
