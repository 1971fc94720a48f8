"""The tables of docs/explanation/capacity.md: what modified phones open under each built-in design."""

from __future__ import annotations

from typing import Final

from blindmatch_protocol.codec.randomness import seeded
from blindmatch_simulations.cli.design_capacity import describe_life, describe_shares, group_alike
from blindmatch_simulations.evaluation.studies.best_order import (
    ALL_KINDS,
    FAR,
    FURTHER,
    LIKE_PHOTOGRAPHS,
    NEAR,
)
from blindmatch_simulations.evaluation.studies.capacity import capacity, eu_volume, opened_alone
from blindmatch_simulations.evaluation.studies.capacity_records import (
    ANY,
    UNIFORM,
    Assumed,
    Capacity,
    ListStanding,
)
from blindmatch_simulations.testbed.deployment.registry import built_in_designs

LISTS: Final = (
    (UNIFORM, ANY, "uniform hashes"),
    (LIKE_PHOTOGRAPHS, FAR, "photograph-like, far"),
    (ALL_KINDS, FAR, "all kinds, far"),
    (ALL_KINDS, FURTHER, "all kinds, far, with what opened led further"),
    (LIKE_PHOTOGRAPHS, NEAR, "photograph-like, near"),
    (ALL_KINDS, NEAR, "all kinds, near"),
)


def of_designs() -> str:
    """Shares in percent by design, list and number of phones; then how long keys last."""
    assumed = Assumed(eu_volume())
    designs = sorted(built_in_designs(), key=lambda one: one.design.info.name)
    found = {
        one.design.info.name: capacity(opened_alone(one.design, {}, seeded("capacity")), assumed, 0.0)
        for one in designs
    }
    hidden = {name: own for name, own in found.items() if own.standing != ListStanding.NO_LIST}
    head = ("list", "design", *(f"{phones:,} phone{'' if phones == 1 else 's'}" for phones in assumed.phones))
    rows = [
        (says, *row)
        for kind, distance, says in LISTS
        for row in group_alike(
            {name: tuple(describe_shares(own, kind, distance, assumed)) for name, own in hidden.items()}
        )
    ]
    lasts = group_alike({name: (describe_life(own), _notice(own)) for name, own in hidden.items()})
    shares = _table(head, rows)
    keys = _table(("design", "key lasts", "honest users notice"), lasts)
    return (
        "Percent of the list that modified phones open in a year; where honest users use up a limit on all\n"
        "accounts within a year, under limits by account alone. After `<`, the upper end of 95 % where none\n"
        f"opened:\n\n{shares}\n"
        f"The key at {assumed.volume:,.0f} pictures a day:\n\n{keys}"
    )


def _notice(own: Capacity) -> str:
    return own.notice or own.says


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, *rows]
    made = [f"| {' | '.join(cell.replace(chr(10), ', ') for cell in line)} |\n" for line in lines]
    return "".join([made[0], "|---" * len(head) + "|\n", *made[1:]])


TABLES: Final = {"the capacity of designs: make pages": of_designs}
