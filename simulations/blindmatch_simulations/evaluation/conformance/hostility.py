"""Hostile bytes at every step, and steps out of their order; the codec of every declared message: one
encoding for a value, and nothing else is accepted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from blindmatch_client.matching.detector import is_confirmed
from blindmatch_protocol.codec import Message, decode_any
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.contract import (
    AnyDesign,
    Hidden,
    Match,
    Send,
    Session,
    SessionError,
    Visible,
    Voucher,
)
from blindmatch_protocol.contract.steps import Done

from blindmatch_simulations.evaluation.conformance.fixtures import Fixtures, as_published
from blindmatch_simulations.testbed.inprocess.deployed import VOUCHER, Deployed, unprepared
from blindmatch_simulations.testbed.inprocess.steps import Stop, ask, below, deliver, hostile, made_up, stops
from blindmatch_simulations.testbed.inprocess.telling import shown_value
from blindmatch_simulations.testbed.inprocess.verdict import BrokenError, NotApplicableError, Passed, refused
from blindmatch_simulations.testbed.pictures.pool import Pooled

MOST_SAMPLES = 3
WHOLE = 2048
"""Up to this length every truncation and every byte is tried; beyond it both ends, and as many between."""

LARGE = 1 << 20
"""From this length on only a few dozen places are tried."""


def message_classes(design: AnyDesign) -> dict[type[Message], str]:
    """Every declared message class and its place."""
    found: dict[type[Message], str] = {design.device_state: "device state"}
    for role in design.info.roles:
        found |= dict.fromkeys(design.requests[role], f"request to {role}")
        found |= dict.fromkeys(design.replies[role], f"reply of {role}")
    return found | dict.fromkeys(design.vouchers, "voucher")


def check_codec(fixtures: Fixtures) -> Passed:
    """Each declared message has the same bytes when decoded and encoded again; left-overs, other tags and
    truncations are refused, and so is a flipped byte, unless canonical."""
    classes = message_classes(fixtures.design)
    if not classes:
        raise NotApplicableError("the design has no message")
    requests = fixtures.design.requests
    replies = fixtures.design.replies
    for role in fixtures.design.info.roles:
        for kinds, what in ((requests[role], "requests to"), (replies[role], "replies of")):
            if len({kind.TAG for kind in kinds}) != len(kinds):
                raise BrokenError("messages", f"two {what} {role} have one tag")
    seen = _samples(fixtures)
    tried = 0
    for kind, place in classes.items():
        samples = [*seen.get(kind, []), *made_up(kind, fixtures.rng(f"codec/{kind.NAME}"))]
        if not samples:
            raise BrokenError(kind.NAME, f"no {place} of this class was seen, and none could be made up")
        for sample in samples:
            tried += check_encoding(kind, sample.encode(), fixtures.rng(f"flips/{kind.NAME}"))
    return Passed(f"{len(classes)} messages, {tried} altered encodings", {"altered": tried})


def _samples(fixtures: Fixtures) -> dict[type[Message], list[Message]]:
    found: dict[type[Message], list[Message]] = {}
    for ran in fixtures.honest.values():
        seen: list[Any] = [ran.state_before, ran.state]
        seen += [part for asked in ran.asked for part in (asked.body, asked.reply)]
        seen += [ran.outcome.body] if isinstance(ran.outcome, Voucher) else []
        for sample in seen:
            held = found.setdefault(type(sample), [])
            if len(held) < MOST_SAMPLES and sample not in held:
                held.append(sample)
    return found


def check_encoding(kind: type[Message], raw: bytes, rng: Randomness) -> int:
    """Try everything on one encoding; the number of altered ones."""
    if kind.decode(raw).encode() != raw:
        raise BrokenError(kind.NAME, "decoding and encoding gives other bytes", raw=raw[:256])
    if kind.decode(raw) != kind.decode(raw):
        raise BrokenError(kind.NAME, "two decodings of one encoding differ", raw=raw[:256])
    tried = 0
    for altered, how in _refused(raw, rng):
        if accepted(kind, altered):
            raise BrokenError(kind.NAME, f"accepts {how}", raw=altered[:256])
        tried += 1
    for altered in _flipped(raw, rng):
        if accepted(kind, altered) and kind.decode(altered).encode() != altered:
            raise BrokenError(kind.NAME, "accepts a form it would not write itself", raw=altered[:256])
        tried += 1
    return tried


def accepted(kind: type[Message], raw: bytes) -> bool:
    """Does `kind` decode `raw`? Any error but `ProtocolError` is a failure."""
    return not refused(kind.NAME, "decoding", lambda: kind.decode(raw), raw=raw[:256])


def places(length: int, rng: Randomness) -> Sequence[int]:
    """Positions to alter in `length` bytes; all of them up to `WHOLE`."""
    if length <= WHOLE:
        return range(length)
    ends = WHOLE // 4 if length < LARGE else WHOLE // 128
    middle = {ends + below(rng, length - 2 * ends) for _ in range(2 * ends)}
    return [*range(ends), *sorted(middle), *range(length - ends, length)]


def _refused(raw: bytes, rng: Randomness) -> Iterator[tuple[bytes, str]]:
    yield b"", "nothing at all"
    for at in places(len(raw), rng):
        yield raw[:at], f"a truncation to {at} of {len(raw)} bytes"
    for extra in (b"\0", b"\xff", raw):
        yield raw + extra, "left-over bytes"
    for tag in range(256):
        if tag != raw[0]:
            yield bytes([tag]) + raw[1:], f"the tag {tag:#04x}"


def _flipped(raw: bytes, rng: Randomness) -> Iterator[bytes]:
    for at in places(len(raw), rng):
        altered = bytearray(raw)
        altered[at] ^= 1 + below(rng, 255)
        yield bytes(altered)


FLIPS = 64
"""Random flips for each message and step, beside the extremes."""
ROUNDS = 4
"""Rounds of a session that are attacked."""


def attacked(fixtures: Fixtures, deployed: Deployed | None = None) -> list[tuple[Pooled, list[Stop]]]:
    """Sessions to attack, with other roles if they are given: of a listed picture, of one that is not, and of
    a poor one; `NotApplicableError` if the design asks nobody."""
    fixtures.asks()
    chosen = [fixtures.pool.of(kind)[0] for kind in ("listed", "other", "poor")]
    return [
        (one, stops(deployed or fixtures.deployed, one.item, fixtures.rng(f"stops/{one.name}")))
        for one in chosen
    ]


def check_hostile_requests(fixtures: Fixtures) -> Passed:
    """Altered, extreme, made-up and random bytes to a role end in a declared reply or a `ProtocolError`; so
    do vouchers at the centre's opener."""
    fixtures.sends()
    tried, taken = _hostile_vouchers(fixtures) if fixtures.design.vouchers else (0, 0)
    if not fixtures.design.info.roles:
        return _tried("vouchers", tried, taken)
    _, found = attacked(fixtures)[0]
    latest = {role: body for stop in found for role, body in stop.bodies.items()}
    for role, body in latest.items():
        for raw in hostile(fixtures.design.requests[role], body.encode(), fixtures.rng(f"ask/{role}"), FLIPS):
            taken += ask(fixtures.deployed, role, raw, fixtures.rng("answer")) is not None
            tried += 1
    return _tried("requests", tried, taken)


def _hostile_vouchers(fixtures: Fixtures) -> tuple[int, int]:
    """Hand altered vouchers to the opener, and have it open what it took; how many, and those taken."""
    design = fixtures.design
    build = fixtures.build
    opener = design.open_opener({name: build.files[name] for name in build.published.opener})
    (raw,) = (raw for role, raw in fixtures.honest["listed/0"].bodies() if role == VOUCHER)
    period = design.period(fixtures.deployed.setup)
    rows = list[bytes]()
    tried = 0

    def take(raw: bytes) -> None:
        taken = opener.take("account", "device", period, decode_any(design.vouchers, raw, "conformance"))
        if not isinstance(taken, Hidden | Visible):
            raise TypeError(f"takes a voucher for {shown_value(taken)}")
        rows.append(taken.row if isinstance(taken, Visible) else b"")

    for altered in hostile(design.vouchers, raw, fixtures.rng("vouchers"), FLIPS):
        refused("take", "a hostile voucher", partial(take, altered), voucher=altered[:4096])
        tried += 1
    visible = [row for row in rows if row]
    refused("open", "what is left of hostile vouchers", lambda: opener.open("account", period, visible))
    return tried, len(rows)


def _tried(what: str, tried: int, taken: int) -> Passed:
    figures = {"tried": tried, "refused": tried - taken}
    return Passed(f"{tried} hostile {what}, {tried - taken} refused", figures)


def check_hostile_replies(fixtures: Fixtures) -> Passed:
    """The same for replies at every round; none makes a match of a picture that has none, or has a forwarded
    role blamed for its carrier.

    Replies are short ones, so that a flip is likely to meet every field, and many can be tried.
    """
    deployed = as_published(fixtures).deployed
    tried = 0
    taken = 0
    for one, found in attacked(fixtures, deployed):
        for stop in found[:ROUNDS]:
            for role, reply in stop.replies.items():
                rng = fixtures.rng(f"reply/{one.name}/{stop.number}/{role}")
                for raw in hostile(fixtures.design.replies[role], reply.encode(), rng, FLIPS // 2):
                    step = deliver(deployed, stop, role, raw, fixtures.rng("receive"), altered=True)
                    _not_forged(fixtures, one, stop, step, raw)
                    taken += step is not None
                    tried += 1
    return _tried("replies", tried, taken)


def _not_forged(
    fixtures: Fixtures, one: Pooled, stop: Stop, step: Done | Send[Any] | None, raw: bytes
) -> None:
    """The device takes no label of an entry that its picture does not match, whatever a design says."""
    if not isinstance(step, Done) or not isinstance(step.outcome, Match):
        return
    relation = fixtures.design.info.relation
    if is_confirmed(relation, one.item, step.outcome) and not fixtures.pool.matches(relation, one):
        words = "an altered reply makes a match of a picture that has none"
        raise BrokenError(stop.name, words, reply=raw[:4096])


def check_order(fixtures: Fixtures) -> Passed:
    """Replies of other rounds and sessions, repeated requests, steps too early or twice, and rounds without a
    reply end in a step or a refusal."""
    tried = 0
    sessions = attacked(fixtures)
    for one, found in sessions:
        _driver(fixtures, one)
        for stop in found[:ROUNDS]:
            for other_one, other in sessions:
                for foreign in other[:ROUNDS]:
                    tried += _misplaced(fixtures, one, stop, other_one, foreign)
    for _, found in sessions:
        for stop in reversed(found[:ROUNDS]):  # roles keep no session, so they answer or refuse
            for role, body in stop.bodies.items():
                ask(fixtures.deployed, role, body.encode(), fixtures.rng("again"))
                tried += 1
    return Passed(f"{tried} messages out of their order, all taken in stride or refused", {"tried": tried})


def _misplaced(fixtures: Fixtures, one: Pooled, stop: Stop, other_one: Pooled, foreign: Stop) -> int:
    for role, reply in foreign.replies.items():
        if role in stop.replies:
            step = deliver(fixtures.deployed, stop, role, reply.encode(), fixtures.rng("order"))
            if other_one.name != one.name:
                _not_forged(fixtures, one, stop, step, reply.encode())
    return len(foreign.replies)


def _driver(fixtures: Fixtures, one: Pooled) -> None:
    rng = fixtures.rng("driver")
    deployed = fixtures.deployed
    session = Session(fixtures.design, deployed.setup, unprepared(deployed, rng), rng)
    _illegal(lambda: session.receive({}), "receive before start")
    _illegal(session.conclude, "conclude before start")
    step = session.start(one.item)
    _illegal(lambda: session.start(one.item), "a second start")
    if isinstance(step, Mapping):
        _illegal(session.conclude, "conclude before the replies")
        _illegal(lambda: session.receive({}), "a round without its replies", ProtocolError)


def _illegal(act: Callable[[], object], what: str, kind: type[Exception] = SessionError) -> None:
    if not refused("session", what, act, kind):
        raise BrokenError("session", f"{what} is not refused")
