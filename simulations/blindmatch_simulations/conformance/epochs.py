"""Epochs: what was made for one is not taken for another, and no key lives in two."""

from __future__ import annotations

from hashlib import sha256

from blindmatch_protocol.contract import Learner, Match, NoMatch
from blindmatch_protocol.errors import BlindmatchError, ProtocolError, SetFileError
from blindmatch_protocol.setfile import SetFile

from blindmatch_simulations.conformance.bench import Bench
from blindmatch_simulations.inprocess.deployed import Build, Deployed, enrolled, publish, run_session
from blindmatch_simulations.inprocess.verdict import BrokenError, NotApplicableError, Passed
from blindmatch_simulations.pictures.pool import Pooled

WINDOW = 16
UNVERIFIED = "unverified_reply"
"""A design that declares it (or ``my.unverified_reply``) says that a role can switch matching off unseen."""
LEAST_DISTINCT = 12
"""A window of a key has this many distinct byte values with probability 1 - 2^-10; text and zeros do not."""


def check_epoch_binding(bench: Bench) -> Passed:
    """A device with the set-up of epoch 1 gets nothing out of roles of epoch 2 but refusals or, of a design
    without keys, epoch 2's own answer; never epoch 1's."""
    design = bench.design
    _opening(bench)
    if not design.info.roles:
        raise NotApplicableError("the design asks nobody; its set-up is refused for another epoch")
    refused, answered = 0, 0
    for one in bench.pool.of("listed", "other", "poor"):
        if _crossed(bench, one):
            refused += 1
        else:
            answered += 1
    words = f"{refused} sessions across epochs refused"
    if answered:
        words += f"; {answered} got the answer of the epoch that answers: nothing but the envelope binds them"
    return Passed(words, {"refused": refused, "answered": answered})


def _opening(bench: Bench) -> None:
    try:
        bench.design.open_setup(bench.build.setup_files, 2)
    except SetFileError:
        pass
    else:
        raise BrokenError("open_setup", "takes the set-up of epoch 1 where epoch 2 is expected")
    if bench.design.epoch_of(bench.deployed.setup) != 1:
        raise BrokenError("epoch_of", "does not give the epoch the set was published for")


def _crossed(bench: Bench, one: Pooled) -> bool:
    """Was a session of a device of epoch 1 with roles of epoch 2 refused?"""
    crossed = Deployed(bench.build, bench.deployed.setup, bench.next_epoch.states)
    rng = bench.rng(f"crossed/{one.name}")
    try:
        ran = run_session(crossed, one.item, rng)
    except ProtocolError:
        return True
    except Exception as error:
        words = f"roles of another epoch end in {type(error).__name__}, not in ProtocolError"
        raise BrokenError("receive", words, item=one.name) from error
    if Learner.DEVICE in bench.design.info.learns and isinstance(ran.outcome, Match):
        raise BrokenError(
            "receive", "a reply of epoch 2 gives a match with the set of epoch 1", item=one.name
        )
    if keyed(bench) and isinstance(ran.outcome, NoMatch):
        raise BrokenError(
            "receive", "a reply made with another epoch's key is taken for an answer", item=one.name
        )
    return False


def keyed(bench: Bench) -> bool:
    """Does publishing take randomness, that is, are there keys?"""
    one = publish(bench.design, bench.pool.entries, bench.rng("keyed-1"), 1, bench.values)
    return one.files != bench.build.files


def check_other_key(bench: Bench) -> Passed:
    """A reply made with another key for this list and epoch is refused, or says what the right one says."""
    design = bench.design
    if not design.info.roles:
        raise NotApplicableError("the design asks nobody")
    if Learner.SERVER in design.info.learns:
        raise NotApplicableError("roles learn the outcome, so they can say what they like")
    if UNVERIFIED in {f.name.rpartition(".")[2] for leak in design.leakage() for f in leak.facts}:
        raise NotApplicableError(f"the design declares {UNVERIFIED}: replies are not verified")
    other = publish(design, bench.pool.entries, bench.rng("other-key"), 1, bench.values)
    states = {role: design.open_role(role, other.role_files(role)) for role in other.published.roles}
    crossed = Deployed(bench.build, bench.deployed.setup, states)
    refused = 0
    chosen = bench.pool.of("listed", "other", "poor")
    for one in chosen:
        refused += _refused_or_same(bench, crossed, one)
    return Passed(
        f"{refused} of {len(chosen)} sessions with a role that has another key refused", {"refused": refused}
    )


def _refused_or_same(bench: Bench, crossed: Deployed, one: Pooled) -> bool:
    try:
        ran = run_session(crossed, one.item, bench.rng(f"other-key/{one.name}"))
    except ProtocolError:
        return True
    if type(ran.outcome) is not type(bench.honest[one.name].outcome):
        raise BrokenError("receive", "a reply made with another key is taken for an answer", item=one.name)
    return False


def check_state_over_epochs(bench: Bench) -> Passed:
    """An account's state of epoch 1 serves in epoch 2."""
    state = enrolled(bench.deployed, bench.rng("account"))
    one = bench.pool.of("other")[0]
    try:
        before = run_session(bench.deployed, one.item, bench.rng("epoch-1"), state).state
        again = bench.design.prepare(before, bench.next_epoch.setup, bench.rng("prepare"))
        ran = run_session(bench.next_epoch, one.item, bench.rng("epoch-2"), again)
    except BlindmatchError as error:
        raise BrokenError("start", f"a state of epoch 1 does not serve in epoch 2: {error}") from error
    if isinstance(ran.outcome, Match):
        raise BrokenError("receive", "a match with the list of the epoch before")
    return Passed("a state of epoch 1 serves in epoch 2")


def check_fresh_keys(bench: Bench) -> Passed:
    """Nothing secret is in the files of two epochs published from different lists and randomness."""
    one, two = bench.build, bench.next_epoch.build
    ours, theirs = key_windows(one), key_windows(two)
    if not ours:
        raise NotApplicableError("no role has a file of its own")
    shared = ours & theirs
    if shared:
        raise BrokenError("publish", "two epochs share key material", shared=min(shared))
    return Passed(f"{len(ours)} windows of {WINDOW} bytes of role files, none of them in the next epoch's")


def key_windows(build: Build) -> set[bytes]:
    """Every window of the roles' own files that may be part of a key."""
    found: set[bytes] = set()
    for names in build.published.roles.values():
        for name in set(names) - set(build.published.setup):
            for part in _contents(build, name):
                found |= {part[at : at + WINDOW] for at in range(max(0, len(part) - WINDOW + 1))}
    return {window for window in found if _key_like(window)}


def _contents(build: Build, name: str) -> list[bytes]:
    """The sections of a set file, or the whole of any other."""
    info, raw = build.design.info, build.files[name]
    try:
        file = SetFile(raw, name, info.name, info.version)
    except SetFileError:
        return [raw]
    return [bytes(file.section(*key)) for key in file.sections]


def _key_like(window: bytes) -> bool:
    printable = all(byte == 0 or 32 <= byte < 127 for byte in window)
    return len(set(window)) >= LEAST_DISTINCT and not printable and window not in sha256(b"").digest()
