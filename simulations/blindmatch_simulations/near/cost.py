"""What a picture costs device and matcher, in units of u: one multiplication in the group by libsodium.

CPU time of the process, not wall-clock, so that others on the machine disturb less; u is measured before
and after each figure, and the figure is the median of the ratios.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import median
from time import process_time
from typing import Any, Final

import numpy as np
from blindmatch_protocol import group
from blindmatch_protocol.contract import Send
from blindmatch_protocol.designs.token_psi import DESIGN, Reply, Request, Setup
from blindmatch_protocol.designs.token_psi.addresses import AddressIndex, index_parts
from blindmatch_protocol.designs.token_psi.build import oprf_inputs
from blindmatch_protocol.designs.token_psi.design import MATCHER
from blindmatch_protocol.designs.token_psi.matching import find_label
from blindmatch_protocol.designs.token_psi.tokens import probe_tokens
from blindmatch_protocol.oprf import Evaluation, Mode, SecretKey, blind, blind_evaluate, finalize

from blindmatch_simulations.near.built import Built, Fingerprinted, Seeded
from blindmatch_simulations.near.rows import Row
from blindmatch_simulations.near.token_domain import random_list

ENTRIES: Final = 1 << 20
REACHES: Final = {
    "device, no proof": "<= 430",
    "matcher, no proof": "<= 180",
    "device, proof": "<= 900",
    "matcher, proof": "<= 390",
}


@dataclass(frozen=True, slots=True)
class Costs:
    """Ratios to u by name, u in microseconds, and the sizes of request and reply in bytes."""

    ratios: dict[str, float]
    u: float
    request: int
    reply: int

    def rows(self, tokens: int, reaches: bool) -> list[Row]:
        """As rows; `reaches` says whether these are the parameters the reaches are set for."""
        how = f"protocol; CPU time, one thread, {tokens} tokens, u = {self.u:.1f} us"
        rows = [
            Row("cost", name, ratio, "u", how, REACHES.get(name, "") if reaches else "")
            for name, ratio in self.ratios.items()
        ]
        sizes = (("request", self.request), ("reply", self.reply))
        limit = "<= 6144" if reaches else ""
        return rows + [Row("bytes", what, size, "bytes", "protocol; encoded", limit) for what, size in sizes]


def measure(place: Built, picture: Fingerprinted, runs: int = 9) -> Costs:
    """Costs of a picture that matches nothing, with the index of labels that a set of 2^20 has."""
    setup = with_large_index(place.setup)
    session, request = _started(setup, picture)
    reply = place.ask(request)
    t = setup.tokening
    key = SecretKey(Mode.OPRF, place.matcher.key.reveal())
    inputs = oprf_inputs(probe_tokens(picture.hash, picture.coefficients, t.k, t.bands, t.probes).T)
    plain, sent = blind(inputs, Mode.OPRF, Seeded("plain"))
    evaluated = blind_evaluate(key, sent, Seeded("none"))
    outputs = finalize(plain, evaluated)

    def open_labels() -> object:
        return find_label(setup, outputs, picture.hash)

    def device_plain() -> object:
        tokens = probe_tokens(picture.hash, picture.coefficients, t.k, t.bands, t.probes)
        state, _ = blind(oprf_inputs(tokens.T), Mode.OPRF, Seeded("plain"))
        return find_label(setup, finalize(state, Evaluation(evaluated.elements)), picture.hash)

    def device_proof() -> object:
        _started(setup, picture)
        return DESIGN.receive(session, setup, {MATCHER: reply}, Seeded("none"))

    ratios, us = measured(
        {
            "device, no proof": device_plain,
            "matcher, no proof": lambda: blind_evaluate(key, sent, Seeded("none")),
            "device, proof": device_proof,
            "matcher, proof": lambda: place.ask(request),
            "pairs and look-ups, part of the device's": open_labels,
        },
        runs,
    )
    return Costs(ratios, us * 1e6, len(request.encode()), len(reply.encode()))


def with_large_index(setup: Setup) -> Setup:
    """`setup` with the index of a list of 2^20 uniform addresses, in which no candidate is found."""
    listed = np.sort(random_list(ENTRIES // 4, 7).view(np.uint64).ravel())
    content = memoryview(b"".join(index_parts(listed)))
    large = replace(setup.layers[0], _opened=[AddressIndex(content, len(listed))])
    return replace(setup, layers=(large,))


def measured(work: dict[str, Callable[[], object]], runs: int) -> tuple[dict[str, float], float]:
    """The median ratio of each to u, and the median u in seconds."""
    scalars = group.random_scalars(200, Seeded("u"))
    elements = group.multiply_base(scalars)
    ratios: dict[str, list[float]] = {name: [] for name in work}
    units: list[float] = []
    for name, call in work.items():
        call()
        for _ in range(runs):
            before = seconds(lambda: group.multiply(scalars, elements)) / len(scalars)
            spent = seconds(call)
            after = seconds(lambda: group.multiply(scalars, elements)) / len(scalars)
            units += [before, after]
            ratios[name].append(2 * spent / (before + after))
    return {name: median(found) for name, found in ratios.items()}, median(units)


def seconds(call: Callable[[], object]) -> float:
    """CPU time of the process for one call."""
    start = process_time()
    call()
    return process_time() - start


def _started(setup: Setup, picture: Fingerprinted) -> tuple[Any, Request]:
    rng = Seeded("device")
    step = DESIGN.start(DESIGN.enrol(rng), setup, picture, rng).step
    assert isinstance(step, Send)
    body = step.bodies[MATCHER]
    assert isinstance(body, Request)
    return step.session, body


__all__ = ["Costs", "Reply", "measure", "measured", "seconds", "with_large_index"]
