"""Real devices: the messages of a small population, each picture asked about by the design's own protocol.

Every account has its own device state, every epoch a new publication, and days go by as the messages say.
What an outage, an unlisted entry or a client that never asks does is decided as in `messages`; whether a
picture matches is not. The model is given the rates of the very pictures that are sent, each asked about once
by another account, so that its bands, which must hold what the devices counted, are of chance alone.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import numpy as np
from blindmatch_protocol.codec import Message as State
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.randomness import seeded
from blindmatch_protocol.contract import AnyDesign, Progress, no_progress
from blindmatch_protocol.picture.distance import rows
from blindmatch_protocol.picture.item import Picture
from msgspec import Struct, field

from blindmatch_simulations.evaluation.population.bands import totals
from blindmatch_simulations.evaluation.population.behaviour import Behaviour, Range
from blindmatch_simulations.evaluation.population.counts import Count
from blindmatch_simulations.evaluation.population.inputs import Inputs, with_value
from blindmatch_simulations.evaluation.population.messages import Kind, Message, counted, messages, people
from blindmatch_simulations.evaluation.population.model import model, stream
from blindmatch_simulations.testbed.inprocess.deployed import Deployed, enrolled, opened, publish, run_session
from blindmatch_simulations.testbed.pictures.crops import SamplePicture, crops
from blindmatch_simulations.testbed.pictures.edits import BY_NAME
from blindmatch_simulations.testbed.pictures.pool import random_hashes

KNOWN: Final = 6
BENIGN: Final = 12
"""Pictures that are sent. The first benign one is on the list by mistake: a false match that no design can
help."""
RANDOM: Final = 200
DENSE: Final = {
    ("material", "prevalence"): 0.05, ("material", "sharers"): 0.2, ("cascades", "largest"): 16.0,
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
    """Known and benign ones."""
    found = crops(KNOWN + BENIGN, seed=16)
    return found[:KNOWN], found[KNOWN:]


@cache
def edited(data: bytes, edit: str) -> Picture:
    """A picture as it is sent."""
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
            self.epoch, self.states = epoch, {}
        rng = seeded(f"population/{self.seed}/session/{self.sessions}")
        if account not in self.states:
            self.states[account] = enrolled(self.deployed, rng)
        ran = run_session(self.deployed, item, rng, self.states[account])
        self.states[account], self.sessions = ran.state, self.sessions + 1
        return ran.found

    def finds(self, message: Message) -> bool:
        """Whether a message's picture is found; all its sends show the same, each with an edit of its own."""
        known, benign = pictures()
        here = known if message.kind is Kind.KNOWN else benign
        chosen = here[int(stream(self.seed, "shows", message.picture).integers(len(here)))]
        mix, edit = self.inputs.edits.mix, "identical"
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
        one, asks = Range.exactly(1), bool(self.design.info.roles)
        return Behaviour(Range.exactly(min(1.0, recall)), Range.exactly(false), one, asks)


def lived(
    design: AnyDesign, inputs: Inputs, accounts: int, days: int, seed: int, progress: Progress = no_progress
) -> dict[str, Any]:
    """What so many devices count in so many days, and the 99.99 % bands of the model for it.

    Raises:
        DesignError: if the design cannot publish the list.
        ProtocolError: if a session fails.
    """
    for (part, name), value in DENSE.items():
        inputs = with_value(inputs, part, name, value)
    world = World(design, inputs, seed)
    its = model(inputs, world.measured(), accounts, days)
    everybody = people(its, seed)
    sent = messages(its, everybody, seed)

    def find(message: Message) -> bool:
        progress(world.sessions, len(sent))
        return world.finds(message)

    made = counted(its, everybody, sent, find, seed).sum(axis=1)
    drawn = totals(its, seed, RUNS, "devices")
    held: dict[str, dict[str, Any]] = {}
    for name, row in BOTH.items():
        low, high = np.quantile(getattr(drawn, name).sum(axis=1), QUANTILES)
        within = bool(low <= made[row] <= high)
        held[name] = {"counted": int(made[row]), "low": int(low), "high": int(high), "within": within}
    agree = all(one["within"] for one in held.values())
    return {"messages": len(sent), "sessions": world.sessions, "agree": agree, "outputs": held}
