"""Epochs: what was made for one is not taken for another, and no key lives in two; damaged files of one are
refused, or the damage has no effect at all.

What a design says ties a role to the epoch's list (`Info.tie`) is held against another key and another list,
made-up and altered replies, and device states and tapes of somebody's choice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import partial
from hashlib import sha256
from itertools import count
from typing import Any, Final

import numpy as np
from blindmatch_protocol import codec
from blindmatch_protocol.codec import Message, layout
from blindmatch_protocol.codec.errors import BlindmatchError, ProtocolError, SetFileError
from blindmatch_protocol.codec.randomness import Randomness, replayed
from blindmatch_protocol.contract import CERTIFYING, Learner, Match, NoMatch, Role, Tie, Verdict
from blindmatch_protocol.designs.facts import UNVERIFIED_REPLY
from msgspec import Struct
from msgspec.structs import replace

from blindmatch_simulations.evaluation.conformance.determinism import bound
from blindmatch_simulations.evaluation.conformance.fixtures import Fixtures, as_published, lowered
from blindmatch_simulations.evaluation.conformance.leakage.play import names_of
from blindmatch_simulations.testbed.inprocess.deployed import (
    Asked,
    Build,
    Deployed,
    Ran,
    enrolled,
    opened,
    run_again,
    run_session,
)
from blindmatch_simulations.testbed.inprocess.steps import below, made_up, set_file
from blindmatch_simulations.testbed.inprocess.verdict import BrokenError, NotApplicableError, Passed, refused
from blindmatch_simulations.testbed.pictures.pool import Pooled

WINDOW = 16
LEAST_DISTINCT = 12
"""A window of a key has this many distinct byte values with probability 1 - 2^-10; text and zeros do not."""
_EMPTY: Final = sha256(b"").digest()


def check_epoch_binding(fixtures: Fixtures) -> Passed:
    """A set-up is refused for another epoch; a device of epoch 1 gets of roles of epoch 2 refusals or,
    without keys, epoch 2's answer."""
    design = fixtures.design
    files = fixtures.build.setup_files
    if not refused("open_setup", "another epoch", lambda: design.open_setup(files, 2), SetFileError):
        raise BrokenError("open_setup", "takes the set-up of epoch 1 where epoch 2 is expected")
    if design.epoch_of(fixtures.deployed.setup) != 1:
        raise BrokenError("epoch_of", "does not give the epoch the set was published for")
    if not design.info.roles:
        raise NotApplicableError("the design asks nobody; its set-up is refused for another epoch")
    crossed = [_crossed(fixtures, one) for one in fixtures.pool.of("listed", "other", "poor")]
    times = sum(crossed)
    answered = len(crossed) - sum(crossed)
    words = f"{times} sessions across epochs refused"
    if answered:
        words += f"; {answered} got the answer of the epoch that answers: nothing but the envelope binds them"
    return Passed(words, {"refused": times, "answered": answered})


def _crossed(fixtures: Fixtures, one: Pooled) -> bool:
    crossed = replace(fixtures.deployed, states=fixtures.next_epoch.states)
    rng = fixtures.rng(f"crossed/{one.name}")
    try:
        ran = run_session(crossed, one.item, rng)
    except ProtocolError:
        return True
    except Exception as error:
        words = f"roles of another epoch end in {type(error).__name__}, not in ProtocolError"
        raise BrokenError("receive", words, item=one.name) from error
    if Learner.DEVICE in fixtures.design.info.learns and isinstance(ran.outcome, Match):
        words = "a reply of epoch 2 gives a match with the set of epoch 1"
        raise BrokenError("receive", words, item=one.name)
    if keyed(fixtures) and isinstance(ran.outcome, NoMatch):
        words = "a reply made with another epoch's key is taken for an answer"
        raise BrokenError("receive", words, item=one.name)
    return False


def keyed(fixtures: Fixtures) -> bool:
    """Does publishing take randomness, that is, are there keys?"""
    return fixtures.publish(fixtures.pool.entries, "keyed-1").files != fixtures.build.files


def check_state_over_epochs(fixtures: Fixtures) -> Passed:
    """An account's state of epoch 1 serves in epoch 2."""
    state = enrolled(fixtures.deployed, fixtures.rng("account"))
    one = fixtures.pool.of("other")[0]
    try:
        before = run_session(fixtures.deployed, one.item, fixtures.rng("epoch-1"), state).state
        again = fixtures.design.prepare(before, fixtures.next_epoch.setup, fixtures.rng("prepare"))
        ran = run_session(fixtures.next_epoch, one.item, fixtures.rng("epoch-2"), again)
    except BlindmatchError as error:
        raise BrokenError("start", f"a state of epoch 1 does not serve in epoch 2: {error}") from error
    if isinstance(ran.outcome, Match):
        raise BrokenError("receive", "a match with the list of the epoch before")
    return Passed("a state of epoch 1 serves in epoch 2")


def check_fresh_keys(fixtures: Fixtures) -> Passed:
    """No 16 bytes that look like a key are in role files of two epochs with different lists and
    randomness."""
    one = fixtures.build
    two = fixtures.next_epoch.build
    ours = key_windows(one)
    theirs = key_windows(two)
    if not ours:
        raise NotApplicableError("no role has a file of its own")
    shared = ours & theirs
    if shared:
        raise BrokenError("publish", "two epochs share key material", shared=min(shared))
    return Passed(f"{len(ours)} windows of {WINDOW} bytes of role files, none of them in the next epoch's")


def key_windows(build: Build) -> set[bytes]:
    """Every window of the roles' own files that may be part of a key."""
    return {window for part in role_contents(build) for window in _key_like(part)}


def role_contents(build: Build) -> Iterator[bytes]:
    """What stands in the roles' own files, section by section where they are set files."""
    own = {name for names in build.published.roles.values() for name in names} - set(build.published.setup)
    for raw in (build.files[name] for name in sorted(own)):
        file = set_file(raw)
        yield from [raw] if file is None else (bytes(file.section(*key)) for key in file.sections)


def _key_like(part: bytes) -> Iterator[bytes]:
    """Windows with enough distinct values that are no text, nor the digest of nothing."""
    if len(part) < WINDOW:
        return
    held = np.frombuffer(part, np.uint8)
    windows = np.sort(np.lib.stride_tricks.sliding_window_view(held, WINDOW), axis=1)
    distinct = 1 + np.count_nonzero(windows[:, 1:] != windows[:, :-1], axis=1)
    text = ((windows == 0) | (windows >= 32) & (windows < 127)).all(axis=1)
    for at in np.flatnonzero((distinct >= LEAST_DISTINCT) & ~text).tolist():
        window = part[at : at + WINDOW]
        if window not in _EMPTY:
            yield window


FLIPS = 40
"""Altered bytes for each file, beside those at both ends."""
TRUNCATIONS = 60


def check_setup_files(fixtures: Fixtures) -> Passed:
    """On a device, each of 117 truncated or altered copies of a file ends in `SetFileError`, at opening or
    first use, or changes no outcome."""
    return _check(fixtures, fixtures.build.setup_files, "open_setup")


def check_role_files(fixtures: Fixtures) -> Passed:
    """The same for the files of every role."""
    names = {name for own in fixtures.build.published.roles.values() for name in own}
    if not names:
        return Passed("no role has a file of its own")
    return _check(fixtures, {name: fixtures.build.files[name] for name in names}, "open_role")


def _check(fixtures: Fixtures, files: Mapping[str, bytes], step: str) -> Passed:
    tried = harmless = 0
    for name, raw in files.items():
        for altered, what in altered_copies(raw, fixtures.rng(f"file/{name}")):
            held = {**fixtures.build.files, name: altered}
            said = f"{name}: {what}"
            same = partial(_same, fixtures, held, step, said)
            harmless += not refused(step, f"{said}:", same, SetFileError)  # at opening or at first use
            tried += 1
    words = f"{tried} truncated or altered files, {tried - harmless} refused"
    if harmless:
        words += f"; {harmless} alterations had no effect on any session"
    return Passed(words, {"tried": tried, "without_effect": harmless})


def altered_copies(
    raw: bytes, rng: Randomness, truncations: int = TRUNCATIONS, flips: int = FLIPS
) -> Iterator[tuple[bytes, str]]:
    """Truncated copies of a file, a longer one and ones with a bit flipped, and what was done to each."""
    for _ in range(truncations):
        at = below(rng, len(raw))
        yield raw[:at], f"truncated to {at} bytes"
    yield raw + b"\0", "a byte more"
    ends = [*range(0, 64, 8), *range(len(raw) - 64, len(raw), 8)]
    for at in [*ends, *(below(rng, len(raw)) for _ in range(flips))]:
        altered = bytearray(raw)
        altered[at] ^= 1 << below(rng, 8)
        yield bytes(altered), f"byte {at} altered"


def _same(fixtures: Fixtures, files: Mapping[str, bytes], step: str, what: str) -> None:
    if _sessions(fixtures, files) != _sessions(fixtures, fixtures.build.files):
        raise BrokenError(step, f"{what}: taken, and sessions end differently")


def _sessions(fixtures: Fixtures, files: Mapping[str, bytes]) -> list[Any]:
    deployed = opened(replace(fixtures.build, files=files))
    found: list[Any] = []
    for one in (*fixtures.pool.of("listed")[:1], *fixtures.pool.of("other")[:1]):
        ran = run_session(deployed, one.item, fixtures.rng(f"damaged/{one.name}"))
        found += [ran.outcome, *(asked.verdict for asked in ran.asked)]
    return found


TAPE_BYTES: Final = 1 << 16


def check_other_key(fixtures: Fixtures) -> Passed:
    """A reply under another key is refused or changes no outcome; with `Tie.KEY` or `Tie.QUOTE` it is
    refused, and no wrong reply changes an outcome."""
    tie = fixtures.design.info.tie
    _applies(fixtures)
    other = opened(fixtures.publish(fixtures.pool.entries, "other-key"))
    crossed = replace(fixtures.deployed, states=other.states)
    chosen = fixtures.pool.of("listed", "other", "poor")
    times = sum(_refused_or_same(fixtures, crossed, one) for one in chosen)
    words = f"{times} of {len(chosen)} sessions with a role that has another key refused"
    figures = {"refused": times}
    if tie is Tie.NONE:
        return Passed(words, figures)
    if times < len(chosen):
        raise BrokenError("receive", f"{words}: a tie by {tie} means all")
    forged = _tied(fixtures)
    steered = f"{forged} with replies, or a state and a tape, of somebody's choice refused or alike"
    return Passed(f"{words}; {steered}", {**figures, "forged": forged})


def _applies(fixtures: Fixtures) -> None:
    """Make sure that replies are said to be verified; a tie says it whatever else the design does."""
    design = fixtures.design
    fixtures.asks()
    if design.info.tie is not Tie.NONE:
        return
    if Learner.SERVER in design.info.learns:
        raise NotApplicableError("roles learn the outcome, so they can say what they like")
    if UNVERIFIED_REPLY.name in names_of(fact for leak in design.leakage() for fact in leak.facts):
        raise NotApplicableError(f"the design declares {UNVERIFIED_REPLY.name}: replies are not verified")


def _refused_or_same(fixtures: Fixtures, crossed: Deployed, one: Pooled) -> bool:
    try:
        ran = run_session(crossed, one.item, fixtures.rng(f"other-key/{one.name}"))
    except ProtocolError:
        return True
    if type(ran.outcome) is not type(fixtures.honest[one.name].outcome):
        raise BrokenError("receive", "a reply made with another key is taken for an answer", item=one.name)
    return False


def _tied(fixtures: Fixtures) -> int:
    """Forge replies to a listed picture, to one that is not, and to a poor one, and choose what the device
    draws and has; in how many sessions, of which some are alike and some have the right reply after all."""
    deployed = as_published(fixtures).deployed
    values = lowered(fixtures)
    lists = {"other-key": fixtures.pool.entries, "publish": fixtures.pool.others}
    others = [opened(fixtures.publish(rows, name, values=values)) for name, rows in lists.items()]
    chosen = [fixtures.pool.of(kind)[0] for kind in ("listed", "other", "poor")]
    held = {one.name: _second(fixtures, deployed, one) for one in chosen}
    tried = sum(_steered(fixtures, deployed, one, held[one.name]) for one in chosen)
    for one in chosen:
        foreign = [part for name, them in held.items() if name != one.name for part in them.asked]
        for put in _puts(fixtures, held[one.name], deployed, others, foreign):
            _alike(fixtures, one, held[one.name], put)
            tried += 1
    return tried


class _Put(Struct, frozen=True):
    """A reply in place of the right one, at a place counted over all rounds, and who answers after it."""

    at: int
    reply: Message | None
    after: Deployed


def _second(fixtures: Fixtures, deployed: Deployed, one: Pooled) -> Ran:
    rng = fixtures.rng(f"tie/{one.name}")
    state = run_session(deployed, one.item, rng).state
    return run_session(
        deployed, one.item, rng, fixtures.design.prepare(state, deployed.setup, rng), binding=bound(fixtures)
    )


def _puts(
    fixtures: Fixtures, ran: Ran, deployed: Deployed, others: list[Deployed], foreign: list[Asked]
) -> Iterator[_Put]:
    """Other roles for a whole session; at each place wrong replies, and the right one altered, and with parts
    of those."""
    crossed = [replace(deployed, states=other.states) for other in others]
    yield from (_Put(-1, None, one) for one in crossed)
    for at, asked in enumerate(ran.asked):
        wrong = [part.reply for part in foreign if part.role == asked.role]
        for other in others:
            try:
                wrong.append(other.answer(asked.role, asked.body, fixtures.rng("forged"))[0])
            except ProtocolError:
                continue  # it refuses what it is asked
        for kind in fixtures.design.replies[asked.role]:
            wrong += made_up(kind, fixtures.rng("made-up"))
        put = [*wrong, *_altered(asked.reply)]
        for reply in (one for one in wrong if type(one) is type(asked.reply)):
            put += _mixed(asked.reply, reply)
        yield from (_Put(at, one, deployed) for one in put)


def _mixed(right: Message, wrong: Message) -> Iterator[Message]:
    for name, _ in layout(type(right)):
        ours = getattr(right, name)
        theirs = getattr(wrong, name)
        values = [theirs]
        if isinstance(ours, np.ndarray) and ours.shape == theirs.shape:
            values += [
                np.concatenate([ours[:at], theirs[at : at + 1], ours[at + 1 :]]) for at in {0, len(ours) - 1}
            ]
        for value in values:
            try:
                yield replace(right, **{name: value})
            except ProtocolError:
                continue  # no message


def _altered(right: Message) -> Iterator[Message]:
    """The right reply with another number or mark in it, or without rows: all, the first, the last."""
    for name, encoding in layout(type(right)):
        value = getattr(right, name)
        for other in _others(encoding, value):
            with suppress(ProtocolError):  # no message
                yield type(right).decode(replace(right, **{name: other}).encode())


def _others(encoding: Any, value: Any) -> Iterator[Any]:
    match encoding:
        case codec.Bool():
            yield not value
        case codec.UInt(bits):
            yield from {0, (1 << bits) - 1} - {value}
        case codec.Sequence() | codec.Matrix():
            yield from (value[:0], value[1:], value[:-1])
        case codec.Variable():
            yield value[:0]
        case codec.Nested():
            yield from _altered(value)


def _alike(fixtures: Fixtures, one: Pooled, ran: Ran, put: _Put) -> None:
    """The session again, with what is put into it: it is refused, or ends as it did."""
    places = count()
    rng = fixtures.rng("after")

    def answering(role: Role, body: Message) -> tuple[Message, Verdict | None]:
        place = next(places)
        if place > put.at or put.reply is None:
            return put.after.answer(role, body, rng)
        return (put.reply if place == put.at else ran.asked[place].reply), None

    try:
        ended = run_again(put.after, one.item, ran, answering, bound(fixtures))
    except BlindmatchError:
        return
    if type(ended.outcome) is not type(ran.outcome):
        words = f"a forged reply is taken for an answer: there is no tie by {fixtures.design.info.tie}"
        reply = put.reply.encode()[:4096] if put.reply else b""
        raise BrokenError("receive", words, item=one.name, at=put.at, reply=reply)


def _steered(fixtures: Fixtures, deployed: Deployed, one: Pooled, ran: Ran) -> int:
    """Sessions on device states and tapes of somebody's choice, as a proof of absence may have them."""
    rng = fixtures.rng(f"steered/{one.name}")
    tried = 0
    answer = partial(deployed.answer, rng=rng)
    for state in (ran.state_before, *made_up(fixtures.design.device_state, rng)):
        for tape in (bytes(TAPE_BYTES), b"\xff" * TAPE_BYTES, rng.take(TAPE_BYTES)):
            tried += 1
            try:
                ended = run_session(deployed, one.item, replayed(tape), state, answer, CERTIFYING)
            except BlindmatchError:
                continue
            if type(ended.outcome) is not type(ran.outcome):
                words = "device state or randomness decides how a session ends"
                raise BrokenError("start", words, item=one.name, state=state.encode())
    return tried
