"""The next epoch as a change of the one before: it adds and removes what it says, and fits one place only.

    epoch 1, the pool's list --+ other/0, - listed/0--> epoch 2 --+ other/1, - listed/1--> epoch 3

What an update's bytes tell of the entries is played as a game over lists (`leakage.lists`).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Final

from blindmatch_protocol.contract import Match, NoMatch, Voucher
from blindmatch_protocol.errors import DesignError, ProtocolError, SetFileError
from blindmatch_protocol.setfile import SetFile, SetFileWriter, layout

from blindmatch_simulations.conformance.bench import Bench
from blindmatch_simulations.conformance.epochs import keyed
from blindmatch_simulations.conformance.leakage.list_secrecy import dictionary, list_declared, search
from blindmatch_simulations.conformance.setfiles import altered_copies
from blindmatch_simulations.conformance.settings import next_epoch, rows_of
from blindmatch_simulations.inprocess.deployed import Build, Deployed, Ran, opened, publish, run_session
from blindmatch_simulations.inprocess.verdict import BrokenError, NotApplicableError, Passed
from blindmatch_simulations.pictures.pool import Pooled

TRUNCATIONS: Final = 16
FLIPS: Final = 16
STRANGER: Final = "another-design"
OTHER_EPOCH: Final = 5


@dataclass(frozen=True, slots=True, repr=False)
class Chain:
    """An epoch and two updates of it."""

    first: Build
    second: Build
    third: Build

    @property
    def fresh(self) -> dict[str, bytes]:
        """Set-up files that epoch 2 brought."""
        return changed(self.first, self.second)


def check_updates(bench: Bench) -> Passed:
    """What `update` makes is found and not found as it should be, and is refused everywhere else."""
    chain = Chain(bench.build, *_updates(bench, bench.build))
    _applied(bench, chain)
    _repeated(bench, chain)
    _one_epoch(bench, chain)
    size = _bytes_say_nothing(bench, chain)
    misplaced, damaged = _misplaced(bench, chain), _damaged(bench, chain)
    words = (
        f"two updates add and remove what they say; deltas in {misplaced} wrong places and {damaged} damaged "
        f"ones refused; {size} bytes for an addition and a removal"
    )
    return Passed(words, {"misplaced": misplaced, "damaged": damaged, "bytes": size})


def changed(before: Build, after: Build) -> dict[str, bytes]:
    """The set-up files of `after` that are not, byte for byte, those of `before`."""
    held = before.setup_files
    return {name: raw for name, raw in after.setup_files.items() if held.get(name) != raw}


def _updates(bench: Bench, base: Build) -> tuple[Build, Build]:
    """Epochs 2 and 3.

    Raises:
        NotApplicableError: if the design can only be published whole.
    """
    try:
        second = next_epoch(bench, base, base, 0)
    except DesignError as error:
        raise NotApplicableError(f"published whole: {error}") from error
    return second, next_epoch(bench, base, second, 1)


def _applied(bench: Bench, chain: Chain) -> None:
    """What was added is found, what was removed is not, and the rest is as it was."""
    listed, other = bench.pool.of("listed"), bench.pool.of("other")
    for build, there, gone in (
        (chain.second, [other[0], listed[1]], [listed[0], other[1]]),
        (chain.third, [other[0], other[1], listed[2]], [listed[0], listed[1], other[2]]),
    ):
        deployed = opened(build)
        if bench.design.epoch_of(deployed.setup) != build.epoch:
            raise BrokenError("epoch_of", f"does not give epoch {build.epoch} after an update")
        for one in (*there, *gone):
            _told(bench, deployed, one, one in there)


def _told(bench: Bench, deployed: Deployed, one: Pooled, listed: bool) -> None:
    epoch = deployed.build.epoch
    ran = run_session(deployed, one.item, bench.rng(f"updated/{epoch}/{one.name}"))
    found = _found(ran)
    if found is listed or found is None:
        return
    what = "an entry that was added or kept is not found" if listed else "an entry that was removed matches"
    raise BrokenError("update", f"{what} in epoch {epoch}", item=one.name)


def _found(ran: Ran) -> bool | None:
    """Was the picture found, by the device or by a role? None if nobody here learns it."""
    verdicts = [asked.verdict for step in ran.rounds for asked in step if asked.verdict is not None]
    match ran.outcome:
        case Match() | NoMatch():
            return isinstance(ran.outcome, Match)
        case Voucher():
            return None
        case _:
            return any(verdict.label is not None for verdict in verdicts) if verdicts else None


def _repeated(bench: Bench, chain: Chain) -> None:
    """The same change gives the same files; made once more, it is refused or changes nothing."""
    if next_epoch(bench, chain.first, chain.first, 0).files != chain.second.files:
        raise BrokenError("update", "the same change and randomness give other files")
    try:
        again = next_epoch(bench, chain.first, chain.second, 0)
    except DesignError:
        return
    listed, other = bench.pool.of("listed")[0], bench.pool.of("other")[0]
    _told(bench, opened(again), other, True)
    _told(bench, opened(again), listed, False)


def _one_epoch(bench: Bench, chain: Chain) -> None:
    """Device and roles on two sides of an update: refused, or the answer of the roles' epoch."""
    if not bench.design.info.roles or not keyed(bench):
        return
    for held, served in ((chain.first, chain.second), (chain.second, chain.first)):
        crossed = Deployed(held, opened(held).setup, opened(served).states)
        try:
            run_session(crossed, bench.pool.of("listed")[0].item, bench.rng("crossed-update"))
        except ProtocolError:
            continue
        rule = f"epochs {held.epoch} and {served.epoch} share a key, and a reply of one is taken in the other"
        raise BrokenError("receive, epochs of an update", rule)


def _misplaced(bench: Bench, chain: Chain) -> int:
    """Every wrong place that the files of an update can be put in is refused; how many were tried."""
    tried = 0
    for what, files, epoch in _places(bench, chain):
        _refused(bench, files, epoch, what)
        tried += 1
    return tried


def _places(bench: Bench, chain: Chain) -> Iterator[tuple[str, Mapping[str, bytes], int | None]]:
    first, second, third = (build.setup_files for build in (chain.first, chain.second, chain.third))
    yield "opened as the epoch before", second, 1
    yield "left out, where its epoch is expected", first, 2
    yield from _order(first, second, third)
    if set(first) - set(chain.fresh):
        yield from _strangers(bench, chain)


def _order(
    first: Mapping[str, bytes], second: Mapping[str, bytes], third: Mapping[str, bytes]
) -> Iterator[tuple[str, Mapping[str, bytes], int | None]]:
    """For a design whose updates are files of their own."""
    two, three = (
        [name for name in late if name not in early] for early, late in ((first, second), (second, third))
    )
    if not two or len(two) != len(three):
        return
    rest = {name: raw for name, raw in third.items() if name not in two}
    yield "applied out of order, the one before left out", rest, None
    twice = dict(zip(three, (second[name] for name in two), strict=True))
    yield "applied twice", {**second, **twice}, None
    swapped = dict(zip((*two, *three), (third[name] for name in (*three, *two)), strict=True))
    yield "applied in the wrong order", {**third, **swapped}, None


def _strangers(bench: Bench, chain: Chain) -> Iterator[tuple[str, Mapping[str, bytes], int | None]]:
    """Updates of other sets, laid over this one's."""
    design, pool, second = bench.design, bench.pool, chain.second.setup_files
    places = (
        ("other-key", 1, pool.entries),
        ("publish", OTHER_EPOCH, pool.entries),
        ("publish", 1, pool.entries[:-1]),
    )
    for purpose, epoch, entries in places:
        base = publish(design, entries, bench.rng(purpose), epoch, bench.values)
        theirs = changed(base, next_epoch(bench, base, base, 0))
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
    try:
        identity = layout.unpack_header(raw[: layout.HEADER.size])
    except (SetFileError, struct.error):
        return bytes([raw[0] ^ 1]) + raw[1:] if raw else b"\0"
    file, out = SetFile(raw, "update", identity.design, identity.design_version), BytesIO()
    held = file.identity
    writer = SetFileWriter(out, type(held)(STRANGER, held.design_version, held.epoch, held.parameters))
    for key, section in file.sections.items():
        writer.section(section.kind, [file.section(*key)], section.items)
    writer.finish(file.entries)
    return out.getvalue()


def _refused(bench: Bench, files: Mapping[str, bytes], epoch: int | None, what: str) -> None:
    try:
        bench.design.open_setup(files, epoch)
    except SetFileError:
        return
    except Exception as error:
        rule = f"an update {what} ends in {type(error).__name__}, not in SetFileError"
        raise BrokenError("open_setup, update", rule) from error
    raise BrokenError(f"open_setup, update {what}", "is taken")


def _damaged(bench: Bench, chain: Chain) -> int:
    """Truncated and altered files of an update are refused, or the damage has no effect; how many."""
    tried, whole = 0, opened(chain.second)
    for name, raw in chain.fresh.items():
        for altered, what in altered_copies(raw, bench.rng(f"update/{name}"), TRUNCATIONS, FLIPS):
            _harmless(bench, whole, {**chain.second.setup_files, name: altered}, f"{name}: {what}")
            tried += 1
    return tried


def _harmless(bench: Bench, whole: Deployed, files: Mapping[str, bytes], what: str) -> None:
    try:
        deployed = Deployed(whole.build, bench.design.open_setup(files, 2), whole.states)
        for one, listed in ((bench.pool.of("other")[0], True), (bench.pool.of("listed")[0], False)):
            _told(bench, deployed, one, listed)
    except SetFileError:
        return
    except BrokenError:
        raise BrokenError("open_setup, update", f"{what}: taken, and sessions end differently") from None
    except Exception as error:
        rule = f"{what}: ends in {type(error).__name__}, not in SetFileError"
        raise BrokenError("open_setup, update", rule) from error


def _bytes_say_nothing(bench: Bench, chain: Chain) -> int:
    """No entry stands in the update, and its length depends on no entry; the length in bytes."""
    lengths = [
        list(map(len, changed(*pair).values()))
        for pair in ((chain.first, chain.second), (chain.second, chain.third))
    ]
    if lengths[0] != lengths[1] and not list_declared(bench):
        raise BrokenError(
            "update, length", f"two updates of one size have lengths {lengths[0]} and {lengths[1]}"
        )
    if not list_declared(bench):
        wanted = dictionary(rows_of(*bench.pool.of("listed", "other")))
        for name, raw in chain.fresh.items():
            search(raw, wanted, f"update, file {name}")
    return sum(lengths[0])
