"""All planted cheats as data, and the mutation score: how many of them a run catches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from blindmatch_client.device import Device
from blindmatch_protocol.contract import AnyDesign, Party

from blindmatch_simulations.attacks import lone_hit, relisting
from blindmatch_simulations.attacks.adversary import Adversary, Claim, Means
from blindmatch_simulations.attacks.weakness import AS_BUILT, Weakness
from blindmatch_simulations.conformance.bench import CLOCKS, Clocks
from blindmatch_simulations.conformance.mutations import (
    devices,
    hidden,
    lists,
    padded,
    roles,
    timing,
    updating,
    watched,
    worst,
)
from blindmatch_simulations.conformance.mutations.hasty import HastyDevice
from blindmatch_simulations.conformance.mutations.timing import TICKS
from blindmatch_simulations.conformance.run import Options, check_design


@dataclass(frozen=True, slots=True)
class Search:
    """What must find a cheat.

    Attributes:
        check: that must fail, by name.
        where: what the failing step must say, such as a class of pairs.
        clocks: those that a cheat which takes its time moves.
        device: the kind of device, for a cheat that is one.
        planted: a weakness of the build, planted while the design is checked.
    """

    check: str
    where: str = ""
    clocks: Clocks = CLOCKS
    device: type[Device] = Device
    planted: Weakness = AS_BUILT


Cheat: TypeAlias = Adversary[Search, Callable[[], AnyDesign]]
"""A planted cheat: the adversary's move is all checks, its weakness a design that must not pass them."""
_CLAIM: Final = Claim("how many are caught, each by the check that must catch it", "docs/conformance.md")
_AUTHOR: Final = Means(frozenset({Party.DEVICE, Party.MATCHER, Party.CURATOR}), has="the design")


def _cheat(
    name: str,
    make: Callable[[], AnyDesign],
    check: str,
    where: str = "",
    clocks: Clocks = CLOCKS,
    device: type[Device] = Device,
    planted: Weakness = AS_BUILT,
) -> Cheat:
    return Adversary(
        name, _AUTHOR, _CLAIM, True, "a run", Search(check, where, clocks, device, planted), make
    )


@dataclass(frozen=True, slots=True)
class Caught:
    """A cheat, and the checks that failed on it: name to step."""

    cheat: Cheat
    failed: Mapping[str, str]

    @property
    def caught(self) -> bool:
        """Did the check fail that must, where it must?"""
        search = self.cheat.move
        return search.check in self.failed and search.where in self.failed[search.check]


CHEATS: Final = (
    _cheat("a fixed blind", devices.FixedBlind, "games"),
    _cheat("a blind derived from the hash", devices.HashDerivedBlind, "games"),
    _cheat("randomness that no tape has", devices.HiddenRandomness, "tape"),
    _cheat("an extra round on a match", devices.ExtraRound, "games"),
    _cheat("a retry on a match alone", devices.RetryOnMatch, "games"),
    _cheat("no cover for poor pictures", devices.SkippedCover, "games"),
    _cheat("the same cover for every poor picture", devices.CoverFromMemory, "games"),
    _cheat("the order of rows tells", devices.RowOrder, "games"),
    _cheat("the number of requests tells", devices.CountTells, "games"),
    _cheat("one bit of the request tells", devices.CovertBit, "games"),
    _cheat("the length tells", padded.LengthTells, "games"),
    _cheat("the hash in the padding", padded.HashInPadding, "games"),
    _cheat("a digest with a constant salt", padded.ConstantSalt, "egress"),
    _cheat("a digest with a fresh salt beside it", padded.SaltedPsi, "games"),
    _cheat("the hash under a pad beside it", padded.MaskedPsi, "games"),
    _cheat("the last outcome in the next request", padded.OutcomeInNext, "games"),
    _cheat("the last picture in the next request, by the state", padded.StateTells, "games"),
    _cheat("a state that links an account's requests", padded.LinkedAccounts, "games"),
    _cheat("a proof that is not checked", devices.ProofNotChecked, "other key"),
    _cheat("a proof that is checked for some pictures", devices.ProofCheckedForSome, "malicious games"),
    _cheat("a wrong reply crashes the device", devices.CrashOnBadReply, "hostile replies"),
    _cheat("listed pictures are missed", devices.Misses, "outcomes"),
    _cheat("one key for all epochs", roles.KeyReuse, "fresh keys"),
    _cheat("the epoch is not checked", roles.EpochNotChecked, "epoch binding"),
    _cheat("left-over bytes are taken", roles.LenientDecode, "codec"),
    _cheat("an answer depends on the batch", roles.BatchedProof, "batches"),
    _cheat("a reply says what else is in the batch", roles.SaysNeighbours, "batches", "answer"),
    _cheat("a reply says what was asked before", roles.Gossips, "batches", "answer"),
    _cheat("one bad body spoils the batch", roles.BatchFails, "batches"),
    _cheat("hostile bytes crash the role", roles.RoleCrash, "hostile requests"),
    _cheat("the hash is not declared", roles.UndeclaredHash, "games"),
    _cheat("the list in the set-up", roles.ListInSetup, "list"),
    _cheat("a digest of an entry in a reply", roles.NearestInReply, "list"),
    _cheat("another request on a lone hit", worst.SecondLook, "games", "a lone band hit"),
    _cheat("a label that does not open holds the message", worst.FailedLabelTells, "games", "does not open"),
    _cheat("cover for the first pictures of a day alone", worst.CoverRunsOut, "games", "a day of pictures"),
    _cheat("an update that removes nothing", updating.RemovesNothing, "update", "update"),
    _cheat("an update that forgets what it adds", updating.AddsLater, "update", "update"),
    _cheat("a delta in the wrong order is passed over", updating.PassesOver, "update", "order"),
    _cheat("a delta of any set is taken", updating.TakesAny, "update", "another set"),
    _cheat("a delta that is damaged is passed over", updating.SkipsDamaged, "update", "update"),
    _cheat("epochs of an update are mixed up", updating.MixesEpochs, "update", "epochs of an update"),
    _cheat("an update's length tells of the entry", updating.LongerForSome, "update", "length"),
    _cheat("a digest of an added entry in the update", updating.DigestInUpdate, "update", "file"),
    _cheat("a device sees which of its tokens are anybody's", worst.HitsVisible, "list games", "a lone band"),
    _cheat(
        "keys that are the same in every layer",
        devices.Psi,
        "list games",
        "lone hit back",
        planted=relisting.ATTACK.weakness,
    ),
    _cheat(
        "cells that nothing fills",
        worst.SmallTokens,
        "list games",
        "updates of one entry",
        planted=lone_hit.ATTACK.weakness,
    ),
    _cheat("a digest of the whole list in the set-up", lists.Fingerprint, "list games"),
    _cheat("the set-up is longer for near duplicates", lists.LongerForFamilies, "list games", "near dupl"),
    _cheat("an update tells of near duplicates", lists.NearInUpdate, "list games", "update"),
    _cheat(
        "a match takes longer, and is said not to", timing.SlowOnMatch, "timing", "receive: a match", TICKS
    ),
    _cheat("cover is quicker, and is said not to be", timing.QuickCover, "timing", "start: quality 0", TICKS),
    _cheat("150 ms of sleep on a match", timing.SleepsOnMatch, "timing", "receive: a match", TICKS),
    _cheat("150 ms of work on a match", timing.WorksOnMatch, "timing", "receive: a match", TICKS),
    _cheat("a device that looks first", devices.Psi, "hand-over", "hand-over: match", device=HastyDevice),
    _cheat("a learner is not declared", roles.UndeclaredLearner, "outcomes"),
    _cheat("the epoch is not declared", hidden.EpochUndeclared, "declarations"),
    _cheat("the time of a query is not declared", hidden.TimeUndeclared, "declarations"),
    _cheat("the hash under a field that everybody sees", hidden.UnderElement, "relations", "as published"),
    _cheat("a bit in the spare bit of an element", hidden.SpareBit, "relations", "as published"),
    _cheat("a leak once there is a delta", hidden.AfterUpdate, "relations", "after an update"),
    _cheat("a leak in large sets", hidden.LargeSetsTell, "relations", "a large set"),
    _cheat("a leak of large pictures", hidden.LargePicturesTell, "relations", "a large set"),
    _cheat("a leak of pictures of middling quality", hidden.FaintPicturesTell, "relations", "a large set"),
    _cheat("pictures 34 to 40 bits away are reported", hidden.MatchesFurther, "entries", "outcome"),
    _cheat("a blind of 16 bits", hidden.ShortBlind, "draws", "start"),
    _cheat("a blind below a bound", hidden.SmallBlind, "draws", "start"),
    _cheat("a key of 64 bits", hidden.ShortKey, "draws", "publish"),
    _cheat("one nonce for all proofs", hidden.OneNonce, "proofs", "answer"),
    _cheat("a key in an error text", hidden.KeyInError, "error texts", "answer"),
    _cheat("a leak of every thousandth picture", hidden.EveryThousandth, "repetition", "start"),
    _cheat("a leak of an account's thousandth picture", hidden.ThousandthOfAccount, "repetition", "start"),
    _cheat("memory of all matches", hidden.RemembersMatches, "growth"),
    _cheat("one entry of 32 is never found", hidden.MissesSome, "entries"),
    _cheat("pictures on no list are reported", hidden.ReportsOthers, "entries"),
    _cheat("a leak only where a tape is kept", watched.LeaksWhenRecorded, "egress"),
    _cheat("a leak until a day far away", watched.ReadsClock, "surroundings", "surroundings: clock"),
    _cheat("a file of the machine is read", watched.OpensFile, "surroundings", "surroundings: reach"),
    _cheat("a socket of its own", watched.Connects, "surroundings", "surroundings: reach"),
    _cheat("frames, threads, logs and files", watched.Reaches, "surroundings", "surroundings: reach"),
    _cheat("the last picture is kept", watched.KeepsPicture, "surroundings", "surroundings: state"),
    _cheat(
        "it is kept in a default argument", watched.KeepsInFunction, "surroundings", "surroundings: state"
    ),
    _cheat("a leak only under the system's generator", watched.LeaksUnderSystem, "tape", "start"),
    _cheat("32 bits of a hash are declared, and all sent", watched.DeclaresPart, "egress"),
)
"""At least one for every way in which a claim can be wrong that this suite says it finds."""


def mutation_score(seed: int = 1, whole: bool = True) -> Iterator[Caught]:
    """Run the checks on every cheat: all of them, or the one alone that must fail."""
    for cheat in CHEATS:
        search = cheat.move
        only = () if whole else (search.check,)
        options = Options(seed=seed, only=only, clocks=search.clocks, device=search.device)
        with search.planted():
            report = check_design(cheat.weakness(), options)
        yield Caught(cheat, {result.check: result.step for result in report.failed})
