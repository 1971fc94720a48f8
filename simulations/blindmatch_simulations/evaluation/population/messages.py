"""Explicit messages: every picture has an identity, every send a sender, and each is followed to its end.

A program of its own for the same model, in which nothing is summed before it happened; so it is for thousands
of accounts, not for millions. What finds a picture is a parameter: chance here, a design in `devices`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from typing import Any

import numpy as np
from msgspec import Struct

from blindmatch_simulations.evaluation.population.counts import Count
from blindmatch_simulations.evaluation.population.model import YEAR, Counts, Floats, Model, stream


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
    rng, rates = stream(seed, "people"), np.repeat(model.rates, model.counts)
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
    rng, given, made = stream(seed, "messages"), model.inputs, list[Message]()
    video, share, known = given.material.video.value, given.cascades.benign.value, given.cascades.known.value
    numbers = iter(range(1 << 62))

    def send(days: list[int], senders: Iterable[Any], picture: int | None, kind: Kind | None) -> None:
        for day, sender in zip(days, senders, strict=True):
            number = next(numbers) if picture is None else picture
            made.append(Message(day, int(sender), number, kind or of_known()))

    def of_known() -> Kind:
        return Kind.VIDEO if rng.random() < video else Kind.KNOWN

    for rates, kind in ((everybody.rates * (1 - share), Kind.BENIGN), (everybody.known * (1 - known), None)):
        for day in range(model.days):
            senders = np.repeat(np.arange(model.accounts), rng.poisson(rates))
            send([day] * len(senders), senders, None, kind)
    for begun, rates, kind in (
        (model.cascades.begun, everybody.rates, Kind.BENIGN),
        (model.cascades.begun_known, everybody.known, None),
    ):
        for day, size in _begun(model, begun, rng):
            days = _days(model, day, size, rng)
            senders = rng.choice(len(rates), len(days), p=rates / rates.sum())
            send(days, senders, next(numbers), kind or of_known())
    return sorted(made, key=lambda one: one.day)


def _begun(model: Model, begun: float, rng: np.random.Generator) -> Iterator[tuple[int, float]]:
    """Cascades: the day each begins on, and its size."""
    for day in range(-model.cascades.burn_in, model.days):
        for size in rng.choice(model.cascades.sizes, rng.poisson(begun), p=model.cascades.chances):
            yield day, float(size)


def _days(model: Model, day: int, size: float, rng: np.random.Generator) -> list[int]:
    """The days of the run on which a cascade is sent, one for each send."""
    later = rng.geometric(1 - model.cascades.left, rng.poisson(size)) - 1
    return [int(one) for one in day + later if 0 <= one < model.days]


def counted(
    model: Model, everybody: People, sent: list[Message], find: Callable[[Message], bool], seed: int
) -> Counts:
    """What comes of every message, int64 (rows, days) as the thinned counts are."""
    rng, made = stream(seed, "fates"), np.zeros((len(Count), model.days), np.int64)
    outages = model.inputs.outages
    down = (rng.random(model.days) < outages.chance.value) * outages.part.value * model.behaviour.asks
    matched: list[tuple[int, Message]] = []
    for message in sent:
        row = _lost_early(model, message, rng)
        cut = row is None and rng.random() < down[message.day]
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
    open_accounts, wrong = set[int](), set[int]()
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
