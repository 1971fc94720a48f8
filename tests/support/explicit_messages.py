"""Explicit messages: every picture has an identity, every send a sender, and each is followed to its end.

What finds a picture is a parameter: chance, or real devices, each picture asked about by the design's own
protocol (`lived`). The model is given the rates of the very pictures that are sent, each asked about once by
another account, so that its bands, which must hold what the devices counted, are of chance alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from functools import cache
from typing import Any, Final

import numpy as np
from blindmatch_protocol.codec import Message as State
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.randomness import seeded
from blindmatch_protocol.contract import AnyDesign
from blindmatch_protocol.picture.decode import Picture
from blindmatch_protocol.picture.pdq import rows
from blindmatch_simulations.evaluation.population.bands import totals
from blindmatch_simulations.evaluation.population.counts import Count
from blindmatch_simulations.evaluation.population.inputs import YEAR, Inputs, with_value
from blindmatch_simulations.evaluation.population.model import (
    Behaviour,
    Counts,
    Floats,
    Model,
    Range,
    Sizes,
    model,
    stream,
)
from blindmatch_simulations.testbed.inprocess.deployed import Deployed, enrolled, opened, publish, run_session
from blindmatch_simulations.testbed.pictures.crops import BY_NAME, SamplePicture, crops
from blindmatch_simulations.testbed.pictures.pool import random_hashes
from msgspec import Struct, field


class Kind(StrEnum):
    """What a message has attached."""

    BENIGN = "benign"
    KNOWN = "known"
    VIDEO = "video"
    """Known material that is video."""


class Message(Struct, frozen=True):
    """One send; all sends of one `picture` have the same number."""

    day: int
    sender: int
    picture: int
    kind: Kind


class People(Struct, frozen=True):
    """Accounts one by one: rates of pictures and of known material a day, and who never asks."""

    rates: Floats
    known: Floats
    silent: frozenset[int]


def people(model: Model, seed: int) -> People:
    """The accounts of a seed; sharers come first in each class."""
    rng = stream(seed, "people")
    rates = np.repeat(model.rates, model.counts)
    starts = np.cumsum(model.counts) - model.counts
    sharers = np.concatenate([start + np.arange(n) for start, n in zip(starts, model.sharers, strict=True)])
    shape = model.inputs.material.shape.value
    known = np.zeros(len(rates))
    known[sharers] = model.sends * rng.gamma(shape, 1 / shape, len(sharers))
    modified = sharers[rng.random(len(sharers)) < model.modified]
    unnoticed = modified[rng.random(len(modified)) < model.unnoticed]
    return People(rates, known, frozenset(unnoticed.tolist()))


def messages(model: Model, everybody: People, seed: int) -> list[Message]:
    """Every send of the run, by day."""
    rng = stream(seed, "messages")
    given = model.inputs
    made = list[Message]()
    video = given.material.video.value
    share = given.cascades.benign.value
    known = given.cascades.known.value
    numbers = iter(range(1 << 62))

    def send(days: list[int], senders: Iterable[Any], picture: int | None, kind: Kind | None) -> None:
        for day, sender in zip(days, senders, strict=True):
            number = next(numbers) if picture is None else picture
            # pictures of one's own come in series; of a cascade each sends one copy
            alike = model.series if kind is Kind.BENIGN and picture is None else 1
            made.extend([Message(day, int(sender), number, kind or of_known())] * alike)

    def of_known() -> Kind:
        return Kind.VIDEO if rng.random() < video else Kind.KNOWN

    alone = everybody.rates * (1 - share) / model.series
    for rates, kind in ((alone, Kind.BENIGN), (everybody.known * (1 - known), None)):
        for day in range(model.days):
            senders = np.repeat(np.arange(model.accounts), rng.poisson(rates))
            send([day] * len(senders), senders, None, kind)
    for law, rates, kind in (
        (model.cascades.benign, everybody.rates, Kind.BENIGN),
        (model.cascades.known, everybody.known, None),
    ):
        for day, size in _begun(model, law, rng):
            days = _days(model, day, size, rng)
            senders = rng.choice(len(rates), len(days), p=rates / rates.sum())
            send(days, senders, next(numbers), kind or of_known())
    return sorted(made, key=lambda one: one.day)


def _begun(model: Model, law: Sizes, rng: np.random.Generator) -> Iterator[tuple[int, float]]:
    for day in range(-model.cascades.burn_in, model.days):
        for size in rng.choice(law.sizes, rng.poisson(law.begun), p=law.chances):
            yield day, float(size)


def _days(model: Model, day: int, size: float, rng: np.random.Generator) -> list[int]:
    later = rng.geometric(1 - model.cascades.left, rng.poisson(size)) - 1
    return [int(one) for one in day + later if 0 <= one < model.days]


def counted(
    model: Model, everybody: People, sent: list[Message], find: Callable[[Message], bool], seed: int
) -> Counts:
    """What comes of every message, int64 (rows, days) as the thinned counts are."""
    rng = stream(seed, "fates")
    made = np.zeros((len(Count), model.days), np.int64)
    outages = model.inputs.outages
    down = (rng.random(model.days) < outages.chance.value) * outages.part.value * model.behaviour.asks
    matched: list[tuple[int, Message]] = []
    last = None
    hit = 0.0
    for message in sent:
        row = _lost_early(model, message, rng)
        hit = hit if message is last else rng.random()
        last = message  # a series is cut off as one
        cut = row is None and hit < down[message.day]
        day = message.day + cut
        if cut and (not model.held_over or day == model.days):
            row = Count.DOWN
        if row is None and message.sender in everybody.silent:
            row = Count.MODIFIED
        if row is None and find(message):
            matched.append((day, message))
        elif message.kind is not Kind.BENIGN:
            made[Count.UNRECOGNISED if row is None else row, day if row is None else message.day] += 1
    _report(model, made, sorted(matched, key=lambda one: one[0]))
    return made


def _lost_early(model: Model, message: Message, rng: np.random.Generator) -> Count | None:
    """Video, and what was listed after the epoch in use was published."""
    if message.kind is Kind.VIDEO:
        return Count.VIDEO
    if message.kind is Kind.KNOWN:
        age = rng.exponential(1 / np.log(model.inputs.list.growth.value)) if model.unlisted.any() else np.inf
        epoch = message.day % int(model.inputs.list.epoch_days.value)
        if age * YEAR < epoch + 0.5:
            return Count.LATE
    return None


def _report(model: Model, made: Counts, matched: list[tuple[int, Message]]) -> None:
    """Each account's matches wait until there are enough of them."""
    waiting: dict[int, list[Message]] = defaultdict(list)
    open_accounts = set[int]()
    wrong = set[int]()
    for day, message in matched:
        true = message.kind is Kind.KNOWN
        made[Count.MATCHED, day] += true
        waiting[message.sender].append(message)
        if len(waiting[message.sender]) >= model.threshold:
            open_accounts.add(message.sender)
        if message.sender not in open_accounts:
            continue
        for one in waiting.pop(message.sender):
            made[Count.TRUE if one.kind is Kind.KNOWN else Count.FALSE, day] += 1
            if one.kind is Kind.BENIGN and one.sender not in wrong:
                wrong.add(one.sender)
                made[Count.ACCOUNTS, day] += 1


KNOWN: Final = 6
BENIGN: Final = 12
"""Pictures that are sent. The first benign one is on the list by mistake: a false match that no design can
help."""
RANDOM: Final = 200
DENSE: Final = {
    ("material", "files"): 29.2, ("material", "sharers"): 0.2, ("cascades", "largest"): 16.0,
    ("clients", "modified"): 0.2, ("outages", "chance"): 0.1, ("list", "epoch_days"): 5,
}  # fmt: skip
"""A few hundred accounts must send enough known material to be counted."""
BOTH: Final = {
    "true": Count.TRUE, "false": Count.FALSE, "accounts": Count.ACCOUNTS, "unrecognised": Count.UNRECOGNISED,
    "modified": Count.MODIFIED,
}  # fmt: skip
"""What devices and `totals` both count."""
QUANTILES: Final = (0.00005, 0.99995)
RUNS: Final = 20_000


@cache
def pictures() -> tuple[list[SamplePicture], list[SamplePicture]]:
    found = crops(KNOWN + BENIGN, seed=16)
    return found[:KNOWN], found[KNOWN:]


@cache
def edited(data: bytes, edit: str) -> Picture:
    return Picture.from_bytes(BY_NAME[edit].apply(data))


def entries(epoch: int, seed: int) -> Rows:
    """The list of an epoch: known pictures, the mistake, and random hashes, some more each time."""
    known, benign = pictures()
    hashes = rows([one.hash for one in [*known, benign[0]]])
    return np.concatenate([hashes, random_hashes(RANDOM + 10 * epoch, seed)])


class World(Struct):
    """A design, the epoch in use, and the state of each account's device under it."""

    design: AnyDesign
    inputs: Inputs
    seed: int
    epoch: int = 0
    sessions: int = 0
    deployed: Deployed | None = None
    states: dict[int, State] = field(default_factory=dict)

    def asks(self, account: int, item: Picture, epoch: int = 1) -> bool:
        """One picture's session under an epoch; whether the device or a role learnt of an entry.

        A new epoch is published when it is first asked about, and every device begins anew under it.
        """
        if self.deployed is None or epoch != self.epoch:
            rng = seeded(f"population/{self.seed}/epoch/{epoch}")
            self.deployed = opened(publish(self.design, entries(epoch, self.seed), rng, epoch))
            self.epoch = epoch
            self.states = {}
        rng = seeded(f"population/{self.seed}/session/{self.sessions}")
        if account not in self.states:
            self.states[account] = enrolled(self.deployed, rng)
        ran = run_session(self.deployed, item, rng, self.states[account])
        self.states[account] = ran.state
        self.sessions = self.sessions + 1
        return ran.found

    def finds(self, message: Message) -> bool:
        """Whether a message's picture is found; all its sends show the same, each with an edit of its own."""
        known, benign = pictures()
        here = known if message.kind is Kind.KNOWN else benign
        chosen = here[int(stream(self.seed, "shows", message.picture).integers(len(here)))]
        mix = self.inputs.edits.mix
        edit = "identical"
        if message.kind is Kind.KNOWN:
            edit = str(stream(self.seed, "edit", self.sessions).choice(list(mix), p=list(mix.values())))
        epoch = 2 + message.day // int(self.inputs.list.epoch_days.value)
        return self.asks(message.sender, edited(chosen.data, edit), epoch)

    def measured(self) -> Behaviour:
        """What a small assessment of these pictures finds."""
        known, benign = pictures()
        found = {
            edit: sum(self.asks(-1, edited(one.data, edit)) for one in known) / KNOWN
            for edit in self.inputs.edits.mix
        }
        recall = sum(share * found[edit] for edit, share in self.inputs.edits.mix.items())
        false = sum(self.asks(-1, edited(one.data, "identical")) for one in benign) / BENIGN
        one = Range.exactly(1)
        asks = bool(self.design.info.roles)
        return Behaviour(Range.exactly(min(1.0, recall)), Range.exactly(false), one, asks)


def lived(design: AnyDesign, inputs: Inputs, accounts: int, days: int, seed: int) -> dict[str, Any]:
    """What so many devices count in so many days, and the 99.99 % bands of the model for it; `DesignError` if
    the design cannot publish the list, `ProtocolError` if a session fails."""
    for (part, name), value in DENSE.items():
        inputs = with_value(inputs, part, name, value)
    world = World(design, inputs, seed)
    its = model(inputs, world.measured(), accounts, days)
    everybody = people(its, seed)
    sent = messages(its, everybody, seed)
    made = counted(its, everybody, sent, world.finds, seed).sum(axis=1)
    drawn = totals(its, seed, RUNS, "devices")
    held: dict[str, dict[str, Any]] = {}
    for name, row in BOTH.items():
        low, high = np.quantile(getattr(drawn, name).sum(axis=1), QUANTILES)
        within = bool(low <= made[row] <= high)
        held[name] = {"counted": int(made[row]), "low": int(low), "high": int(high), "within": within}
    agree = all(one["within"] for one in held.values())
    return {"messages": len(sent), "sessions": world.sessions, "agree": agree, "outputs": held}
