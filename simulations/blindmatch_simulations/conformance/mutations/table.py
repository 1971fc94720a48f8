"""All planted cheats as data, and the mutation score: how many of them a run catches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from blindmatch_client.device import Device
from blindmatch_protocol.contract import AnyDesign

from blindmatch_simulations.conformance.bench import CLOCKS, Clocks
from blindmatch_simulations.conformance.mutations import (
    devices,
    hidden,
    lists,
    padded,
    roles,
    timing,
    updating,
    worst,
)
from blindmatch_simulations.conformance.mutations.hasty import HastyDevice
from blindmatch_simulations.conformance.mutations.timing import TICKS
from blindmatch_simulations.conformance.run import Options, check_design


@dataclass(frozen=True, slots=True)
class Cheat:
    """A planted cheat.

    Attributes:
        name: for people.
        make: the design.
        caught_by: a check that must fail, by name.
        where: what the failing step must say, such as a class of pairs.
        clocks: those that a cheat which takes its time moves.
        device: the kind of device, for a cheat that is one.
    """

    name: str
    make: Callable[[], AnyDesign]
    caught_by: str
    where: str = ""
    clocks: Clocks = CLOCKS
    device: type[Device] = Device


@dataclass(frozen=True, slots=True)
class Caught:
    """A cheat, and the checks that failed on it: name to step."""

    cheat: Cheat
    failed: Mapping[str, str]

    @property
    def caught(self) -> bool:
        """Did the check fail that must, where it must?"""
        return self.cheat.where in self.failed.get(self.cheat.caught_by, "") and (
            self.cheat.caught_by in self.failed
        )


CHEATS: Final = (
    Cheat("a fixed blind", devices.FixedBlind, "games"),
    Cheat("a blind derived from the hash", devices.HashDerivedBlind, "games"),
    Cheat("randomness that no tape has", devices.HiddenRandomness, "tape"),
    Cheat("an extra round on a match", devices.ExtraRound, "games"),
    Cheat("a retry on a match alone", devices.RetryOnMatch, "games"),
    Cheat("no cover for poor pictures", devices.SkippedCover, "games"),
    Cheat("the same cover for every poor picture", devices.CoverFromMemory, "games"),
    Cheat("the order of rows tells", devices.RowOrder, "games"),
    Cheat("the number of requests tells", devices.CountTells, "games"),
    Cheat("one bit of the request tells", devices.CovertBit, "games"),
    Cheat("the length tells", padded.LengthTells, "games"),
    Cheat("the hash in the padding", padded.HashInPadding, "games"),
    Cheat("a digest with a constant salt", padded.ConstantSalt, "egress"),
    Cheat("a digest with a fresh salt beside it", padded.SaltedPsi, "games"),
    Cheat("the hash under a pad beside it", padded.MaskedPsi, "games"),
    Cheat("the last outcome in the next request", padded.OutcomeInNext, "games"),
    Cheat("the last picture in the next request, by the state", padded.StateTells, "games"),
    Cheat("a state that links an account's requests", padded.LinkedAccounts, "games"),
    Cheat("a proof that is not checked", devices.ProofNotChecked, "other key"),
    Cheat("a proof that is checked for some pictures", devices.ProofCheckedForSome, "malicious games"),
    Cheat("a wrong reply crashes the device", devices.CrashOnBadReply, "hostile replies"),
    Cheat("listed pictures are missed", devices.Misses, "outcomes"),
    Cheat("one key for all epochs", roles.KeyReuse, "fresh keys"),
    Cheat("the epoch is not checked", roles.EpochNotChecked, "epoch binding"),
    Cheat("left-over bytes are taken", roles.LenientDecode, "codec"),
    Cheat("an answer depends on the batch", roles.BatchedProof, "batches"),
    Cheat("one bad body spoils the batch", roles.BatchFails, "batches"),
    Cheat("hostile bytes crash the role", roles.RoleCrash, "hostile requests"),
    Cheat("the hash is not declared", roles.UndeclaredHash, "games"),
    Cheat("the list in the set-up", roles.ListInSetup, "list"),
    Cheat("a digest of an entry in a reply", roles.NearestInReply, "list"),
    Cheat("another request on a lone hit", worst.SecondLook, "games", "a lone band hit"),
    Cheat("a label that does not open holds the message", worst.FailedLabelTells, "games", "does not open"),
    Cheat("cover for the first pictures of a day alone", worst.CoverRunsOut, "games", "a day of pictures"),
    Cheat("an update that removes nothing", updating.RemovesNothing, "update", "update"),
    Cheat("an update that forgets what it adds", updating.AddsLater, "update", "update"),
    Cheat("a delta in the wrong order is passed over", updating.PassesOver, "update", "order"),
    Cheat("a delta of any set is taken", updating.TakesAny, "update", "another set"),
    Cheat("a delta that is damaged is passed over", updating.SkipsDamaged, "update", "update"),
    Cheat("epochs of an update are mixed up", updating.MixesEpochs, "update", "epochs of an update"),
    Cheat("an update's length tells of the entry", updating.LongerForSome, "update", "length"),
    Cheat("a digest of an added entry in the update", updating.DigestInUpdate, "update", "file"),
    Cheat("a device sees which of its tokens are anybody's", worst.HitsVisible, "list games", "a lone band"),
    Cheat("a digest of the whole list in the set-up", lists.Fingerprint, "list games"),
    Cheat("the set-up is longer for near duplicates", lists.LongerForFamilies, "list games", "near dupl"),
    Cheat("an update tells of near duplicates", lists.NearInUpdate, "list games", "adds a near"),
    Cheat(
        "a match takes longer, and is said not to", timing.SlowOnMatch, "timing", "receive: a match", TICKS
    ),
    Cheat("cover is quicker, and is said not to be", timing.QuickCover, "timing", "start: quality 0", TICKS),
    Cheat("150 ms of sleep on a match", timing.SleepsOnMatch, "timing", "receive: a match", TICKS),
    Cheat("150 ms of work on a match", timing.WorksOnMatch, "timing", "receive: a match", TICKS),
    Cheat("a device that looks first", devices.Psi, "hand-over", "hand-over: match", device=HastyDevice),
    Cheat("a learner is not declared", roles.UndeclaredLearner, "outcomes"),
    Cheat("the epoch is not declared", hidden.EpochUndeclared, "declarations"),
    Cheat("the time of a query is not declared", hidden.TimeUndeclared, "declarations"),
    Cheat("the hash under a field that everybody sees", hidden.UnderElement, "relations", "as published"),
    Cheat("a bit in the spare bit of an element", hidden.SpareBit, "relations", "as published"),
    Cheat("a leak once there is a delta", hidden.AfterUpdate, "relations", "after an update"),
    Cheat("a leak in large sets", hidden.LargeSetsTell, "relations", "a large set"),
    Cheat("a leak of large pictures", hidden.LargePicturesTell, "relations", "a large set"),
    Cheat("a blind of 16 bits", hidden.ShortBlind, "draws", "start"),
    Cheat("a blind below a bound", hidden.SmallBlind, "draws", "start"),
    Cheat("a key of 64 bits", hidden.ShortKey, "draws", "publish"),
    Cheat("one nonce for all proofs", hidden.OneNonce, "proofs", "answer"),
    Cheat("a key in an error text", hidden.KeyInError, "error texts", "answer"),
    Cheat("a leak of every thousandth picture", hidden.EveryThousandth, "repetition", "start"),
    Cheat("a leak of an account's thousandth picture", hidden.ThousandthOfAccount, "repetition", "start"),
    Cheat("memory of all matches", hidden.RemembersMatches, "growth"),
    Cheat("one entry of 32 is never found", hidden.MissesSome, "entries"),
    Cheat("pictures on no list are reported", hidden.ReportsOthers, "entries"),
)
"""At least one for every way in which a claim can be wrong that this suite says it finds."""


def mutation_score(seed: int = 1, whole: bool = True) -> Iterator[Caught]:
    """Run the checks on every cheat: all of them, or the one alone that must fail."""
    for cheat in CHEATS:
        only = () if whole else (cheat.caught_by,)
        options = Options(seed=seed, only=only, clocks=cheat.clocks, device=cheat.device)
        report = check_design(cheat.make(), options)
        yield Caught(cheat, {result.check: result.step for result in report.failed})
