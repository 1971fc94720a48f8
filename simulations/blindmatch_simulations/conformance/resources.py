"""What a session costs on the wire, and whether that is within what the contract allows."""

from __future__ import annotations

from typing import Final

from blindmatch_protocol.contract.driver import MOST_ROUNDS
from blindmatch_server.matching.envelopes import MOST_SMALL_BYTES

from blindmatch_simulations.conformance.bench import Bench
from blindmatch_simulations.inprocess.verdict import BrokenError, Passed

MOST_STATE_BYTES: Final = 1 << 20
"""An account's device state is written before every send."""


def check_resources(bench: Bench) -> Passed:
    """Bodies and replies of at most 960 KiB unless large ones are declared; rounds; the account's state."""
    info = bench.design.info
    asked = [part for ran in bench.honest.values() for one in ran.rounds for part in one]
    requests = [len(part.body.encode()) for part in asked]
    replies = [len(part.reply.encode()) for part in asked]
    largest = max([*requests, *replies], default=0)
    if largest > MOST_SMALL_BYTES and not info.large_bodies:
        raise BrokenError("start", f"a body of {largest} bytes, and large bodies are not declared")
    state = max(len(ran.state.encode()) for ran in bench.honest.values())
    if state > MOST_STATE_BYTES:
        raise BrokenError("enrol", f"an account's state has {state} bytes, more than {MOST_STATE_BYTES}")
    rounds = max(len(ran.rounds) for ran in bench.honest.values())
    words = f"{rounds} rounds of at most {MOST_ROUNDS}; bodies up to {max(requests, default=0)} bytes, "
    figures = {
        "rounds": rounds,
        "request_bytes": max(requests, default=0),
        "reply_bytes": max(replies, default=0),
        "state_bytes": state,
    }
    return Passed(words + f"replies up to {max(replies, default=0)}", figures)
