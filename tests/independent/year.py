"""A year of a messenger from `population.toml`, as `docs/explanation/population.md` defines it."""

from __future__ import annotations

import tomllib
from math import exp, log, log2
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import nbinom

DAYS = 365
CHANCE_DRAWS = 40_000


class Inputs:
    """The committed inputs of the year: what is assumed, each with its ends."""

    def __init__(self, file: Path) -> None:
        self.made: dict[str, Any] = tomllib.loads(file.read_text("utf-8"))

    def __call__(self, part: str, name: str, end: str = "value") -> float:
        return float(self.made[part][name][end])

    @property
    def mix(self) -> dict[str, float]:
        shares: dict[str, float] = self.made["edits"]["mix"]
        return shares

    @property
    def mean_list(self) -> float:
        """The list's mean length over the year: it grows by the yearly factor, and is joined at each "
        "epoch."""
        growth = self("list", "growth")
        step = int(self("list", "epoch_days"))
        at = [day // step * step for day in range(DAYS)]
        return self("list", "entries") * float(np.mean([growth ** (day / DAYS) for day in at]))

    @property
    def break_even(self) -> float:
        """Half of all matches are wrong at e = K (1 - v) / V."""
        files = self("material", "files")
        pictures = self("activity", "pictures_a_day") * DAYS
        return files * (1 - self("material", "video")) / pictures


def fates(
    inputs: Inputs,
    *,
    recall: float,
    unnoticed: float,
    asks: bool,
    threshold: int = 1,
    made_up: float = 0.0,
    video: float | None = None,
    modified: float | None = None,
) -> dict[str, float]:
    """Return what becomes of 100 known files sent, by the first reason that applies to each.

    Args:
        recall: of the mix of edits.
        unnoticed: share of a silent client's pictures that nobody notices.
        asks: whether devices ask a server, so that an outage delays a match.
        threshold: matches of a device and period that an account needs.
        made_up: share of vouchers that are synthetic and never count.
        video, modified: shares to use instead of the inputs'.
    """
    v = inputs("material", "video") if video is None else video
    m = inputs("clients", "modified") if modified is None else modified
    # an entry is listed at the next epoch: of a list that grows by g a year, a share 1 - g^(-t/365) of what
    # is known is not listed t days after the last epoch; the mean day of an epoch stands half a day after it
    step = int(inputs("list", "epoch_days"))
    growth = inputs("list", "growth")
    unlisted = float(np.mean([1 - growth ** (-(day % step + 0.5) / DAYS) for day in range(DAYS)]))
    # only what is held over at the end of the last day is not matched within the year
    down = inputs("outages", "chance") * inputs("outages", "part") if asks else 0.0
    away = down / DAYS
    pictures = 100 * (1 - v)
    listed = pictures * (1 - unlisted)
    asked = listed * (1 - away)
    silent = asked * m * unnoticed
    seen = asked - silent
    recognised = seen * recall * (1 - made_up)
    found = recognised * _opened(
        inputs, threshold, recall * (1 - made_up) * (1 - v) * (1 - unlisted), m, unnoticed
    )
    return {
        "video": 100 * v,
        "away": pictures * unlisted + listed * away,
        "modified": silent,
        "unrecognised": seen - recognised,
        "held": recognised - found,
        "found": found,
    }


def _opened(inputs: Inputs, threshold: int, recognised: float, modified: float, unnoticed: float) -> float:
    """Return the share of recognised matches that open: from the threshold on in a period of a key.

    A sharer's matches of a period are Poisson with a gamma-distributed mean, so negative binomial.
    """
    if threshold == 1:
        return 1.0
    shape = inputs("material", "shape")
    period = int(inputs("keys", "life_days"))
    yearly = inputs("material", "files") / inputs("material", "sharers") * recognised
    lengths = [period] * (DAYS // period) + ([DAYS % period] if DAYS % period else [])
    counts = np.arange(threshold, 20_000)
    opened = found = 0.0
    for share, seen in ((1 - modified, 1.0), (modified, 1 - unnoticed)):
        for length in lengths:
            mean = yearly * seen * length / DAYS
            if share * mean > 0:
                opened += share * float((counts * nbinom.pmf(counts, shape, shape / (shape + mean))).sum())
                found += share * mean
    return opened / found


def cascade_sizes(
    inputs: Inputs, senders: float, exponent: float, largest: float
) -> list[tuple[float, float]]:
    """Return the sizes of cascades, powers of two up to all senders, and the chance of each."""
    most = int(log2(max(2, min(largest, senders))))
    weights = [2 ** (-exponent * step) for step in range(1, most + 1)]
    return [
        (2.0**step, weight / sum(weights)) for step, weight in zip(range(1, most + 1), weights, strict=True)
    ]


def drawn_counts(
    inputs: Inputs,
    sends: float,
    kept: float,
    sharers: float,
    rng: np.random.Generator,
    draws: int = CHANCE_DRAWS,
) -> np.ndarray:
    """Return draws of how many of so many expected sends of known material count, each with the
    chance `kept`.

    A share comes in cascades, which arrive as a Poisson process; what each sharer sends is gamma-distributed.
    """
    if sends * kept <= 0:
        return np.zeros(draws)
    cascades = inputs("cascades", "known")
    sizes = cascade_sizes(inputs, sharers, inputs("cascades", "exponent"), inputs("cascades", "largest"))
    mean = sum(size * chance for size, chance in sizes)
    spread = 1 + rng.standard_normal(draws) / (sharers * inputs("material", "shape")) ** 0.5
    made = rng.poisson(np.maximum(0, sends * kept * (1 - cascades) * spread)).astype(float)
    for size, chance in sizes:
        made += kept * size * rng.poisson(sends * cascades * chance / mean, draws)
    return made


def drawn_between(value: float, low: float, high: float, rng: np.random.Generator) -> float:
    """Return a draw as often below the value as above, uniform in the logarithm; where an end is 0, in the
    figure (docs/explanation/population.md, `joint`)."""
    part = rng.random()
    start, end = (low, value) if rng.random() < 0.5 else (value, high)
    if start > 0:
        return start * exp(part * log(end / start)) if end != start else start
    return start + part * (end - start)


def joint(inputs: Inputs, behaviour: dict[str, Any], draws: int = 6_000) -> dict[str, np.ndarray]:
    """Return draws of a year's counts, with every input and every measured figure drawn on its own."""
    rng = np.random.default_rng(39)
    rows: dict[str, list[float]] = {}
    for _ in range(draws):
        drawn = Inputs.__new__(Inputs)
        drawn.made = {
            part: dict(rows_) if isinstance(rows_, dict) else rows_ for part, rows_ in inputs.made.items()
        }
        for part, fields in inputs.made.items():
            if not isinstance(fields, dict):
                continue
            for name, one in fields.items():
                if isinstance(one, dict) and "low" in one:
                    value = drawn_between(one["value"], one["low"], one["high"], rng)
                    whole = isinstance(one["value"], int)
                    drawn.made[part][name] = {**one, "value": round(value) if whole else value}
        recall = drawn_between(*behaviour["recall"], rng)
        unnoticed = drawn_between(*behaviour["unnoticed"], rng) if any(behaviour["unnoticed"]) else 0.0
        each = fates(drawn, recall=recall, unnoticed=unnoticed, asks=behaviour["asks"])
        accounts = drawn("accounts", "number")
        sends = accounts * drawn("material", "files")
        sharers = accounts * drawn("material", "sharers")
        one = drawn_counts(
            drawn,
            sends * (1 - drawn("material", "video")),
            each["found"] / (100 * (1 - drawn("material", "video"))),
            sharers,
            rng,
            1,
        )
        for name, share in each.items():
            rows.setdefault(name, []).append(share / 100 * sends)
        rows.setdefault("reported", []).append(float(one[0]))
    return {name: np.array(some) for name, some in rows.items()}
