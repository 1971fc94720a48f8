"""`blindmatch bench query` without a network: the private check of one hash, as primitives and as design; and
`blindmatch bench parties`: what a set costs to build, a picture the device and each role.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
from blindmatch_protocol import group
from blindmatch_protocol.codec import Message, decode_any
from blindmatch_protocol.codec.randomness import Randomness, Recording, replayed, system_randomness
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import AnyDesign, Item, NoMatch, Outcome, Role, Session
from blindmatch_protocol.crypto import oprf
from blindmatch_protocol.crypto.oprf import Mode
from blindmatch_protocol.designs.oprf_psi import DESIGN
from blindmatch_protocol.designs.voprf import MATCHER
from blindmatch_protocol.group import sodium
from blindmatch_protocol.picture.decode import Picture
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as wire
from blindmatch_server.curator import open_list, random_list
from blindmatch_server.epochs.published import Publication
from blindmatch_server.epochs.signing import Signer
from blindmatch_server.hosting.workers import WorkerPool
from msgspec import Struct

from blindmatch_simulations.measure.machine import computing, measurable
from blindmatch_simulations.measure.meter import BenchError, Meter
from blindmatch_simulations.testbed.deployment.building import built
from blindmatch_simulations.testbed.inprocess.deployed import (
    Asked,
    Build,
    Deployed,
    OpenDesign,
    open_published,
    opened,
    publish,
    run_again,
    run_session,
)

ENTRY: Final = {"hash_to_group": 1, "multiply": 1}
"""Operations for an entry of a set."""
OPRF: Final = {"hash_to_group": 1, "multiply": 3, "invert": 1}
"""For a hash, both sides, RFC 9497, section 3.3.1: blinding, evaluation, unblinding."""
VOPRF: Final = {"hash_to_group": 1, "multiply": 11, "invert": 1, "multiply_base": 2, "add": 2}
"""With a proof for this hash alone, section 2.2: three multiplications more for the prover, who has one
commitment by the generator, and five for the verifier, who has one by the generator and two sums."""


def arithmetic(operations: Mapping[str, int]) -> Callable[[], None]:
    """A task that makes so many calls of each operation, with operands that stay the same: libsodium runs in
    constant time, so any will do."""
    rng = system_randomness()
    result = sodium.Single()
    scalar = group.random_scalars(1, rng).tobytes()
    element = group.multiply_base(group.random_scalars(1, rng)).tobytes()
    named: dict[str, tuple[str, tuple[bytes, ...]]] = {
        "hash_to_group": ("crypto_core_ristretto255_from_hash", (rng.take(group.UNIFORM_BYTES),)),
        "multiply": ("crypto_scalarmult_ristretto255", (scalar, element)),
        "multiply_base": ("crypto_scalarmult_ristretto255_base", (scalar,)),
        "add": ("crypto_core_ristretto255_add", (element, element)),
        "invert": ("crypto_core_ristretto255_scalar_invert", (scalar,)),
    }
    known = {name: (sodium.on_bytes(function), operands) for name, (function, operands) in named.items()}
    calls = [known[name] for name, times in operations.items() for _ in range(times)]

    def task() -> None:
        for function, operands in calls:
            function(result, *operands)

    return task


BATCHES: Final = (1, 16, 100)
"""Hashes that are checked together."""
SEVERAL: Final = 16
"""Evaluations of a request in the second form of the design, and in the throughput rows."""


_MODES: Final = {"oprf": Mode.OPRF, "voprf": Mode.VOPRF}


def bench_primitives(meter: Meter) -> None:
    """Measure the OPRF of RFC 9497 without and with its proof; for one hash its arithmetic too."""
    for setting, (name, mode), batch in product(measurable(), _MODES.items(), BATCHES):
        with computing(meter, setting):
            meter.time(f"query/primitives/{name}", _primitive(mode, batch), count=batch, batch=batch)
    for proof, operations in (("none", OPRF), ("DLEQ", VOPRF)):
        meter.time("query/primitives/arithmetic", arithmetic(operations), batch=1, proof=proof)


def _primitive(mode: Mode, batch: int) -> Callable[[], object]:
    rng = system_randomness()
    key = oprf.generate_key_pair(mode, rng)
    inputs = [rng.take(32) for _ in range(batch)]
    public = key.public if mode is Mode.VOPRF else None

    def both_sides() -> object:
        state, blinded = oprf.blind(inputs, mode, rng)
        return oprf.finalize(state, oprf.blind_evaluate(key, blinded, rng), public)

    if not np.array_equal(both_sides(), oprf.evaluate(key, inputs)):  # type: ignore[arg-type]
        raise BenchError("the OPRF's two ways of evaluation differ")
    return both_sides


class Check(Redacted, Struct, frozen=True):
    """Private checks of one picture against a publication, both sides in this process.

    Attributes:
        publication: the set and the matcher's key.
        item: the picture; its hash is computed already.
        opened: the set and the key as device and matcher have opened them.
    """

    publication: Publication
    item: Item
    opened: OpenDesign

    @classmethod
    def of(cls, publication: Publication) -> Check:
        """Checks of a picture that no list holds."""
        return cls(publication, unlisted_picture(), open_published(DESIGN, publication))

    @property
    def epoch(self) -> int:
        return self.publication.manifest.epoch

    def session(self, rng: Randomness) -> Session:
        return Session(DESIGN, self.opened.setup, DESIGN.enrol(rng), rng)

    def request(self) -> bytes:
        """The encoding of a device's request."""
        step: Any = self.session(system_randomness()).start(self.item)
        return cast(Message, step[MATCHER]).encode()

    def envelope(self) -> bytes:
        """The same as it is sent."""
        info = DESIGN.info
        made = wire.Envelope(design=info.name, version=info.version, epoch=self.epoch, role=MATCHER)
        made.body = self.request()
        return made.SerializeToString()

    def answer(self, request: bytes) -> bytes:
        """The matcher's part: from bytes to bytes."""
        body = decode_any(DESIGN.requests[MATCHER], request, "bench/request")
        return self.opened.answer(MATCHER, body, system_randomness())[0].encode()

    def device(self, rng: Randomness, answer: Callable[[bytes], bytes]) -> Outcome:
        """The device's part: from the picture to the outcome."""

        def exchange(bodies: Mapping[Role, Message]) -> dict[Role, Message]:
            reply = answer(bodies[MATCHER].encode())
            return {MATCHER: decode_any(DESIGN.replies[MATCHER], reply, "bench/reply")}

        outcome = self.session(rng).run(self.item, exchange).outcome
        if not isinstance(outcome, NoMatch):
            raise BenchError("a picture that is not listed matched")
        return outcome

    def both_sides(self) -> Outcome:
        """A whole check without a network."""
        return self.device(system_randomness(), self.answer)

    def replayed_device(self) -> Callable[[], Outcome]:
        """The device's part alone, with randomness and the reply that belongs to it recorded."""
        recording = Recording(system_randomness())
        replies = list[bytes]()

        def answer(request: bytes) -> bytes:
            replies.append(self.answer(request))
            return replies[0]

        self.device(recording.rng, answer)
        tape = recording.tape()
        return lambda: self.device(replayed(tape), lambda request: replies[0])


def unlisted_picture() -> Picture:
    """A picture of noise, which no list holds; its hash is computed already."""
    pixels = np.frombuffer(system_randomness().take(128 * 128 * 3), np.uint8).reshape(128, 128, 3)
    picture = Picture.from_pixels(pixels)
    _ = picture.fingerprint
    return picture


def publish_random(entries: int, folder: Path, evaluations: int, signer: Signer) -> Publication:
    """Publish a set of random hashes into the new `folder`."""
    listed = folder.with_suffix(".list")
    random_list(entries, listed, system_randomness())
    with open_list(listed) as opened, WorkerPool() as workers:
        return built(DESIGN, opened, folder, {"evaluations": evaluations}, workers, signer)


def bench_design(meter: Meter, check: Check, evaluations: int) -> None:
    """Measure the design's own check: both sides together, then each alone."""
    entries = check.publication.manifest.entries
    request = check.request()
    tasks = (
        ("check", check.both_sides),
        ("device", check.replayed_device()),
        ("matcher", lambda: check.answer(request)),
    )
    for name, task in tasks:
        meter.time(f"query/design/{name}", task, entries=entries, evaluations=evaluations)


def bench_parties(
    meter: Meter, design: AnyDesign, item: Item, entries: int, values: Mapping[str, int]
) -> None:
    """Measure a list of `entries` random hashes, and a picture that is not on it: its device, then each
    role."""
    rng = system_randomness()
    builds = list[Build]()
    hashes = np.frombuffer(rng.take(32 * entries), np.uint8).reshape(entries, 32)
    of: dict[str, Any] = {"design": design.info.name, "entries": entries, **values}
    build = partial(publish, design, hashes, rng, values=values)
    meter.time("parties/build", lambda: builds.append(build()), count=entries, repeat=False, **of)
    deployed = opened(builds[-1])
    ran = run_session(deployed, item, rng)
    meter.time("parties/device", partial(run_again, deployed, item, ran), **of)
    made = deployed.build.published
    files = {"set-up": made.setup, **{f"files of {r}": own for r, own in made.roles.items()}}
    for what, names in files.items():
        held = sum(len(deployed.build.files[name]) for name in names)
        meter.record("parties/bytes", {"bytes": held}, **of, what=what)
    for role in design.info.roles:
        mine = [one for one in ran.asked if one.role == role]
        meter.time("parties/role", partial(_answers, deployed, mine, rng), **of, role=role)
        for way, bodies in (("up", [one.body for one in mine]), ("down", [one.reply for one in mine])):
            sent = sum(len(body.encode()) for body in bodies)
            meter.record("parties/bytes", {"bytes": sent}, **of, role=role, what=way)


def _answers(deployed: Deployed, asked: Sequence[Asked], rng: Randomness) -> None:
    for one in asked:
        deployed.answer(one.role, one.body, rng)
