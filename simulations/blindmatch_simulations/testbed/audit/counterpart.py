"""The roles of a design, played in process, so that a device's sessions can be run again; and other pictures
to run them with: they agree on what is declared to a party, and differ elsewhere."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
from blindmatch_protocol import contract as bm
from blindmatch_protocol.codec import Message
from blindmatch_protocol.codec.randomness import Randomness, Recording
from blindmatch_protocol.codec.redacted import Redacted
from msgspec import Struct, field

from blindmatch_simulations.testbed.audit.forge import Declared, Forge, Forged
from blindmatch_simulations.testbed.inprocess.deployed import VOUCHER, Deployed

Bodies = list[dict[bm.Role, bytes]]


class Counterpart(Redacted, Struct, frozen=True):
    """The roles of a design, played in process.

    Attributes:
        design: the design under audit.
        setup: its opened set-up.
        states: the opened state of each role.
        entries: the plaintext list, uint8 (n, 32), to tell which items match.
        rng: fresh randomness.
        enrolments: what the roles hold of the device under audit.
    """

    design: bm.AnyDesign
    setup: Any
    states: Mapping[bm.Role, Any]
    entries: np.ndarray[Any, np.dtype[np.uint8]]
    rng: Randomness
    enrolments: Mapping[bm.Role, Message] = field(default_factory=dict)

    @classmethod
    def of(cls, deployed: Deployed, rng: Randomness) -> Counterpart:
        """The roles of what is deployed in this process."""
        design, setup = deployed.design, deployed.setup
        return cls(design, setup, deployed.states, deployed.build.entries, rng, enrolments=deployed.held)

    def answer(self, role: bm.Role, body: Message) -> Message:
        """The role's reply to one body; raises the `ProtocolError` it answers with."""
        request = bm.Request(body, self.enrolments.get(role))
        return bm.answered(self.design, role, self.states[role], request, self.rng)[0]

    def bodies(
        self,
        state: Message,
        item: bm.Item,
        rounds: int | None = None,
        binding: bm.Binding = bm.UNBOUND,
        rng: Randomness | None = None,
    ) -> Bodies:
        """Bodies of a whole session, and the voucher it ends in, on fresh randomness or on `rng`; or of its
        first `rounds` rounds."""
        sent: Bodies = []
        session = bm.Session(self.design, self.setup, state, Recording(rng or self.rng).rng)
        step = session.start(item, binding)
        while isinstance(step, Mapping):
            sent.append({role: body.encode() for role, body in step.items()})
            if len(sent) == rounds:
                return sent
            step = session.receive({role: self.answer(role, body) for role, body in step.items()})
        return [*sent, *voucher_of(session.conclude() if self.design.vouchers else step)]


def voucher_of(outcome: object) -> Bodies:
    """One round more: what goes to the centre, if a session ended in a voucher."""
    return [{VOUCHER: outcome.body.encode()}] if isinstance(outcome, bm.Voucher) else []


DECOYS: Final = 4

SOURCES: Final = 8
"""Pictures that are tried as sources of a forged one."""


class Decoys(Redacted, Struct, frozen=True):
    """What a session is compared with: pictures that agree, and why that is not all that is to be compared;
    the reason is empty if it is."""

    items: tuple[bm.Item, ...]
    reason: str


class Comparison(Struct, frozen=True):
    """How much one session's bytes to one party were compared.

    Attributes:
        item: number of the picture.
        party: who got them.
        decoys: with how many other pictures.
        reason: why nothing could be compared, or not all of it; empty if all could.
    """

    item: int
    party: bm.Party
    decoys: int
    reason: str

    @property
    def comparable(self) -> bool:
        """Was there a picture that agrees on the facts and differs in whatever they leave open?"""
        return self.decoys > 0 and not self.reason


def declared_facts(design: bm.AnyDesign, party: bm.Party) -> list[bm.Fact]:
    """Facts declared to `party` alone as a semi-honest adversary."""
    return [
        fact
        for leak in design.leakage()
        if leak.parties == {party} and leak.adversary is bm.Adversary.SEMI_HONEST
        for fact in leak.facts
    ]


def outcome_of(counterpart: Counterpart, item: bm.Item) -> bool:
    """Does `item` match the list, by the plaintext oracle?"""
    return bool(counterpart.design.info.relation.holds(item, counterpart.entries).any())


class DecoyFinder:
    """Finds decoys for one device's sessions."""

    def __init__(self, counterpart: Counterpart, pool: Sequence[bm.Item]) -> None:
        self.counterpart = counterpart
        self._pool = pool
        self._told: dict[tuple[bm.Party, int], tuple[Hashable, ...]] = {}

    def decoys(self, item: bm.Item, party: bm.Party) -> Decoys:
        """Items that agree with `item` on all that is declared to `party`: of the pool, and forged where too
        few of it do, or none that has another hash.

        Half of them match as `item` does and half do not, unless the servers may learn which do.
        """
        declared = Declared(declared_facts(self.counterpart.design, party), self.counterpart.setup)
        mine = self._telling(declared, party, item)
        others = [one for one in self._pool if one is not item]
        chosen = self._balanced(item, (o for o in others if self._telling(declared, party, o) == mine))
        forge = None
        if len(chosen) < DECOYS or all(one.hash == item.hash for one in chosen):
            forge = Forge.of(declared, item)
            forged = self._balanced(item, forge.items(self._sources(others)))
            chosen = (*forged, *chosen[: DECOYS - len(forged)])
        return Decoys(chosen, _left_out(declared, item, chosen, forge))

    def _telling(self, declared: Declared, party: bm.Party, item: bm.Item) -> tuple[Hashable, ...]:
        """The declared facts of a picture, worked out once: some read all of it."""
        if (party, id(item)) not in self._told:
            self._told[party, id(item)] = declared.of(item)
        return self._told[party, id(item)]

    def _balanced(self, item: bm.Item, found: Iterator[bm.Item]) -> tuple[bm.Item, ...]:
        tells = bm.Learner.SERVER in self.counterpart.design.info.learns
        outcome, half = outcome_of(self.counterpart, item), DECOYS if tells else DECOYS // 2
        same: list[bm.Item] = []
        other: list[bm.Item] = []
        for one in found:
            (same if outcome_of(self.counterpart, one) == outcome else other).append(one)
            if len(same) >= half and (tells or len(other) >= half):
                break
        return (*same[:half], *([] if tells else other[:half]))

    def _sources(self, others: Sequence[bm.Item]) -> Iterator[bm.Item]:
        """Pictures of the pool, each as it is and with the hash of an entry."""
        entries = self.counterpart.entries
        for at, one in enumerate(others[:SOURCES]):
            yield one
            if len(entries):
                yield Forged.of(one).with_hash(entries[at % len(entries)].tobytes())


def _left_out(declared: Declared, item: bm.Item, chosen: Sequence[bm.Item], forge: Forge | None) -> str:
    """Why not all that the facts leave open was compared; empty if it was."""
    if forge is not None and not forge.pixels:
        return "the facts declare the whole picture"
    if not chosen:
        return "no picture was found that agrees on the facts"
    if all(one.hash == item.hash for one in chosen) and item.hash not in declared.shows(item):
        return "no other hash was found that agrees on the facts"
    return ""
