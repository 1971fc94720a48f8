"""The roles of a design, played in process, so that a device's sessions can be run again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from blindmatch_protocol.codec import Message
from blindmatch_protocol.contract import AnyDesign, Item, Request, Role, Session, answered
from blindmatch_protocol.executor import Executor
from blindmatch_protocol.randomness import Randomness, Recording

Bodies = list[dict[Role, bytes]]


@dataclass(frozen=True, slots=True, repr=False)
class Counterpart:
    """The roles of a design, played in process.

    Attributes:
        design: the design under audit.
        setup: its opened set-up.
        states: the opened state of each role.
        entries: the plaintext list, uint8 (n, 32), to tell which items match.
        rng: fresh randomness.
        executor: for the roles' work.
        enrolments: what the roles hold of the device under audit.
    """

    design: AnyDesign
    setup: Any
    states: Mapping[Role, Any]
    entries: np.ndarray[Any, np.dtype[np.uint8]]
    rng: Randomness
    executor: Executor | None = None
    enrolments: Mapping[Role, Message] = field(default_factory=dict)

    def answer(self, role: Role, body: Message) -> Message:
        """The role's reply to one body; raises the `ProtocolError` it answers with."""
        request = Request(body, self.enrolments.get(role))
        return answered(self.design, role, self.states[role], request, self.rng, self.executor)[0]

    def bodies(self, state: Message, item: Item, rounds: int | None = None) -> Bodies:
        """Bodies of a whole session on fresh randomness, or of its first `rounds` rounds."""
        sent: Bodies = []
        session = Session(self.design, self.setup, state, Recording(self.rng).rng)
        step = session.start(item)
        while isinstance(step, Mapping):
            sent.append({role: body.encode() for role, body in step.items()})
            if len(sent) == rounds:
                break
            step = session.receive({role: self.answer(role, body) for role, body in step.items()})
        return sent
