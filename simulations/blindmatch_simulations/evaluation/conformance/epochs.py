"""Epochs: what was made for one is not taken for another, and no key lives in two; damaged files of one are
refused, or the damage has no effect at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any, Final

import numpy as np
from blindmatch_protocol.codec.errors import BlindmatchError, ProtocolError, SetFileError
from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.contract import Learner, Match, NoMatch
from msgspec.structs import replace

from blindmatch_simulations.evaluation.conformance.fixtures import Fixtures
from blindmatch_simulations.testbed.inprocess.deployed import Build, enrolled, opened, run_session
from blindmatch_simulations.testbed.inprocess.steps import below, set_file
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
    _opening(fixtures)
    if not design.info.roles:
        raise NotApplicableError("the design asks nobody; its set-up is refused for another epoch")
    crossed = [_crossed(fixtures, one) for one in fixtures.pool.of("listed", "other", "poor")]
    times, answered = sum(crossed), len(crossed) - sum(crossed)
    words = f"{times} sessions across epochs refused"
    if answered:
        words += f"; {answered} got the answer of the epoch that answers: nothing but the envelope binds them"
    return Passed(words, {"refused": times, "answered": answered})


def _opening(fixtures: Fixtures) -> None:
    files = fixtures.build.setup_files
    if not refused("open_setup", "another epoch", lambda: fixtures.design.open_setup(files, 2), SetFileError):
        raise BrokenError("open_setup", "takes the set-up of epoch 1 where epoch 2 is expected")
    if fixtures.design.epoch_of(fixtures.deployed.setup) != 1:
        raise BrokenError("epoch_of", "does not give the epoch the set was published for")


def _crossed(fixtures: Fixtures, one: Pooled) -> bool:
    """Was a session of a device of epoch 1 with roles of epoch 2 refused?"""
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
    one, two = fixtures.build, fixtures.next_epoch.build
    ours, theirs = key_windows(one), key_windows(two)
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
    """What stands in the roles' own files, section by section."""
    own = {name for names in build.published.roles.values() for name in names} - set(build.published.setup)
    for name in sorted(own):
        yield from _contents(build.files[name])


def _contents(raw: bytes) -> list[bytes]:
    """The sections of a set file, or the whole of any other."""
    file = set_file(raw)
    return [raw] if file is None else [bytes(file.section(*key)) for key in file.sections]


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
            if not _refused(fixtures, {**fixtures.build.files, name: altered}, step, f"{name}: {what}"):
                harmless += 1
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


def _refused(fixtures: Fixtures, files: Mapping[str, bytes], step: str, what: str) -> bool:
    """Is the damage refused with a `SetFileError`, at opening or at first use?

    Raises:
        BrokenError: if it ends in another error or changes what a session does.
    """

    def same() -> None:
        if _sessions(fixtures, files) != _sessions(fixtures, fixtures.build.files):
            raise BrokenError(step, f"{what}: taken, and sessions end differently")

    return refused(step, f"{what}:", same, SetFileError)


def _sessions(fixtures: Fixtures, files: Mapping[str, bytes]) -> list[Any]:
    deployed = opened(replace(fixtures.build, files=files))
    found: list[Any] = []
    for one in (*fixtures.pool.of("listed")[:1], *fixtures.pool.of("other")[:1]):
        ran = run_session(deployed, one.item, fixtures.rng(f"damaged/{one.name}"))
        found += [ran.outcome, *(asked.verdict for asked in ran.asked)]
    return found
