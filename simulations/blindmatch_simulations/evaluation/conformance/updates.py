"""The next epoch as a change of the one before: it adds and removes what it says, and fits one place only.

    epoch 1, the pool's list --+ other/0, - listed/0--> epoch 2 --+ other/1, - listed/1--> epoch 3

What an update's bytes tell of the entries is played as a game over lists (`leakage.lists`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Final

from blindmatch_protocol.codec.errors import DesignError, ProtocolError, SetFileError
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import Match, NoMatch, Voucher
from msgspec import Struct
from msgspec.structs import replace

from blindmatch_simulations.evaluation.conformance.epochs import altered_copies, keyed
from blindmatch_simulations.evaluation.conformance.fixtures import Fixtures, next_epoch, rows_of
from blindmatch_simulations.evaluation.conformance.leakage.list_secrecy import (
    dictionary,
    list_declared,
    search,
)
from blindmatch_simulations.testbed.inprocess.deployed import Build, Deployed, Ran, opened, run_session
from blindmatch_simulations.testbed.inprocess.steps import resealed, set_file
from blindmatch_simulations.testbed.inprocess.verdict import BrokenError, NotApplicableError, Passed, refused
from blindmatch_simulations.testbed.pictures.pool import Pooled

TRUNCATIONS: Final = 16
FLIPS: Final = 16
STRANGER: Final = "another-design"
OTHER_EPOCH: Final = 5


class Chain(Redacted, Struct, frozen=True):
    """An epoch and two updates of it."""

    first: Build
    second: Build
    third: Build

    @property
    def fresh(self) -> dict[str, bytes]:
        """Set-up files that epoch 2 brought."""
        return changed(self.first, self.second)


def check_updates(fixtures: Fixtures) -> Passed:
    """Two updates change what they say; misplaced ones are refused; of 49 truncated or altered copies of each
    file those taken change nothing."""
    base = fixtures.build
    try:
        second = next_epoch(fixtures, base, base, 0)
    except DesignError as error:
        raise NotApplicableError(f"published whole: {error}") from error
    chain = Chain(base, second, next_epoch(fixtures, base, second, 1))
    _applied(fixtures, chain)
    _repeated(fixtures, chain)
    _one_epoch(fixtures, chain)
    size = _bytes_say_nothing(fixtures, chain)
    misplaced = _misplaced(fixtures, chain)
    damaged = _damaged(fixtures, chain)
    words = (
        f"two updates add and remove what they say; deltas in {misplaced} wrong places and {damaged} damaged "
        f"ones refused; {size} bytes for an addition and a removal"
    )
    return Passed(words, {"misplaced": misplaced, "damaged": damaged, "bytes": size})


def changed(before: Build, after: Build) -> dict[str, bytes]:
    """The set-up files of `after` that are not, byte for byte, those of `before`."""
    held = before.setup_files
    return {name: raw for name, raw in after.setup_files.items() if held.get(name) != raw}


def _applied(fixtures: Fixtures, chain: Chain) -> None:
    """What was added is found, what was removed is not, and the rest is as it was."""
    listed = fixtures.pool.of("listed")
    other = fixtures.pool.of("other")
    for build, there, gone in (
        (chain.second, [other[0], listed[1]], [listed[0], other[1]]),
        (chain.third, [other[0], other[1], listed[2]], [listed[0], listed[1], other[2]]),
    ):
        deployed = opened(build)
        if fixtures.design.epoch_of(deployed.setup) != build.epoch:
            raise BrokenError("epoch_of", f"does not give epoch {build.epoch} after an update")
        for one in (*there, *gone):
            _told(fixtures, deployed, one, one in there)


def _told(fixtures: Fixtures, deployed: Deployed, one: Pooled, listed: bool) -> None:
    epoch = deployed.build.epoch
    ran = run_session(deployed, one.item, fixtures.rng(f"updated/{epoch}/{one.name}"))
    found = _found(ran)
    if found is listed or found is None:
        return
    what = "an entry that was added or kept is not found" if listed else "an entry that was removed matches"
    raise BrokenError("update", f"{what} in epoch {epoch}", item=one.name)


def _found(ran: Ran) -> bool | None:
    match ran.outcome:
        case Match() | NoMatch():
            return isinstance(ran.outcome, Match)
        case Voucher():
            return None
        case _:
            return ran.found if ran.verdicts else None


def _repeated(fixtures: Fixtures, chain: Chain) -> None:
    """The same change gives the same files; made once more, it is refused or changes nothing."""
    if next_epoch(fixtures, chain.first, chain.first, 0).files != chain.second.files:
        raise BrokenError("update", "the same change and randomness give other files")
    try:
        again = next_epoch(fixtures, chain.first, chain.second, 0)
    except DesignError:
        return
    listed = fixtures.pool.of("listed")[0]
    other = fixtures.pool.of("other")[0]
    _told(fixtures, opened(again), other, True)
    _told(fixtures, opened(again), listed, False)


def _one_epoch(fixtures: Fixtures, chain: Chain) -> None:
    """Device and roles on two sides of an update: refused, or the answer of the roles' epoch."""
    if not fixtures.design.info.roles or not keyed(fixtures):
        return
    for held, served in ((chain.first, chain.second), (chain.second, chain.first)):
        crossed = replace(opened(held), states=opened(served).states)
        try:
            run_session(crossed, fixtures.pool.of("listed")[0].item, fixtures.rng("crossed-update"))
        except ProtocolError:
            continue
        rule = f"epochs {held.epoch} and {served.epoch} share a key, and a reply of one is taken in the other"
        raise BrokenError("receive, epochs of an update", rule)


def _misplaced(fixtures: Fixtures, chain: Chain) -> int:
    """Every wrong place that the files of an update can be put in is refused; how many were tried."""
    tried = 0
    for what, files, epoch in _places(fixtures, chain):
        taken = partial(fixtures.design.open_setup, files, epoch)
        if not refused("open_setup, update", f"an update {what}", taken, SetFileError):
            raise BrokenError(f"open_setup, update {what}", "is taken")
        tried += 1
    return tried


def _places(fixtures: Fixtures, chain: Chain) -> Iterator[tuple[str, Mapping[str, bytes], int | None]]:
    first, second, third = (build.setup_files for build in (chain.first, chain.second, chain.third))
    yield "opened as the epoch before", second, 1
    yield "left out, where its epoch is expected", first, 2
    yield from _order(first, second, third)
    if set(first) - set(chain.fresh):
        yield from _strangers(fixtures, chain)


def _order(
    first: Mapping[str, bytes], second: Mapping[str, bytes], third: Mapping[str, bytes]
) -> Iterator[tuple[str, Mapping[str, bytes], int | None]]:
    """For a design whose updates are files of their own."""
    two = [name for name in second if name not in first]
    three = [name for name in third if name not in second]
    if not two or len(two) != len(three):
        return
    rest = {name: raw for name, raw in third.items() if name not in two}
    yield "applied out of order, the one before left out", rest, None
    twice = dict(zip(three, (second[name] for name in two), strict=True))
    yield "applied twice", {**second, **twice}, None
    swapped = dict(zip((*two, *three), (third[name] for name in (*three, *two)), strict=True))
    yield "applied in the wrong order", {**third, **swapped}, None


def _strangers(fixtures: Fixtures, chain: Chain) -> Iterator[tuple[str, Mapping[str, bytes], int | None]]:
    pool = fixtures.pool
    second = chain.second.setup_files
    places = (
        ("other-key", 1, pool.entries),
        ("publish", OTHER_EPOCH, pool.entries),
        ("publish", 1, pool.entries[:-1]),
    )
    for purpose, epoch, entries in places:
        base = fixtures.publish(entries, purpose, epoch)
        theirs = changed(base, next_epoch(fixtures, base, base, 0))
        if theirs == chain.fresh:
            continue  # nothing random goes into a set, so it is the same one
        what = f"made for another set of epoch {epoch}"
        yield what, {**chain.first.setup_files, **dict(zip(chain.fresh, theirs.values(), strict=False))}, None
        yield what, {**chain.first.setup_files, **theirs}, None
    for name, raw in chain.fresh.items():
        yield "made for another design", {**second, name: renamed(raw)}, None
        yield "empty", {**second, name: b""}, None


def renamed(raw: bytes) -> bytes:
    """A set file that is whole, and of another design; any other file with its first byte altered."""
    file = set_file(raw)
    if file is None:
        return bytes([raw[0] ^ 1]) + raw[1:] if raw else b"\0"
    return resealed(file, lambda _, content: content, design=STRANGER)


def _damaged(fixtures: Fixtures, chain: Chain) -> int:
    """Truncated and altered files of an update are refused, or the damage has no effect; how many."""
    tried = 0
    whole = opened(chain.second)
    for name, raw in chain.fresh.items():
        for altered, what in altered_copies(raw, fixtures.rng(f"update/{name}"), TRUNCATIONS, FLIPS):
            _harmless(fixtures, whole, {**chain.second.setup_files, name: altered}, f"{name}: {what}")
            tried += 1
    return tried


def _harmless(fixtures: Fixtures, whole: Deployed, files: Mapping[str, bytes], what: str) -> None:
    try:
        deployed = replace(whole, setup=fixtures.design.open_setup(files, 2))
        for one, listed in ((fixtures.pool.of("other")[0], True), (fixtures.pool.of("listed")[0], False)):
            _told(fixtures, deployed, one, listed)
    except SetFileError:
        return
    except BrokenError:
        raise BrokenError("open_setup, update", f"{what}: taken, and sessions end differently") from None
    except Exception as error:
        rule = f"{what}: ends in {type(error).__name__}, not in SetFileError"
        raise BrokenError("open_setup, update", rule) from error


def _bytes_say_nothing(fixtures: Fixtures, chain: Chain) -> int:
    """No entry stands in the update, and its length depends on no entry; the length in bytes."""
    lengths = [
        list(map(len, changed(*pair).values()))
        for pair in ((chain.first, chain.second), (chain.second, chain.third))
    ]
    if lengths[0] != lengths[1] and not list_declared(fixtures):
        raise BrokenError(
            "update, length", f"two updates of one size have lengths {lengths[0]} and {lengths[1]}"
        )
    if not list_declared(fixtures):
        wanted = dictionary(rows_of(*fixtures.pool.of("listed", "other")))
        for name, raw in chain.fresh.items():
            search(raw, wanted, f"update, file {name}")
    return sum(lengths[0])
