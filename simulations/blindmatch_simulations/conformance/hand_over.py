"""Does a real device hand a message to the relay before anything depends on the outcome of its picture?

By order: between the last reply and the relay's acknowledgement no outcome is worked out. That is exact,
and one picture of a kind shows it. With the large games also by time: from the last reply to the first byte
of the upload, in CPU time of the device's thread, for pictures that match, that match a family of 64
entries, and that match nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from io import BytesIO
from itertools import combinations, islice
from typing import Final

import numpy as np
from blindmatch_client.device import Device
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.contract import Learner, Party
from blindmatch_protocol.picture.item import Picture
from PIL import Image

from blindmatch_simulations.conformance.bench import Bench
from blindmatch_simulations.conformance.leakage.game import Finding, Run
from blindmatch_simulations.conformance.leakage.play import Event
from blindmatch_simulations.conformance.leakage.timing import judged_by_time
from blindmatch_simulations.conformance.parties import (
    CONCLUDE,
    FIRST_BYTE,
    RECIPIENT,
    LocalParties,
    local_device,
)
from blindmatch_simulations.inprocess.deployed import Build, opened, publish
from blindmatch_simulations.inprocess.seeded import flag
from blindmatch_simulations.inprocess.verdict import BrokenError, NotApplicableError, Passed
from blindmatch_simulations.pictures.pool import picture

FAMILY: Final = 64
FAMILY_NUMBER: Final = 950
"""Of the picture with a family, beyond those of the pool and of the worst cases."""
CLASSES: Final = {"a match or none": ("match", "none"), "a family of 64 or none": ("family", "none")}
TRAINING: Final = 5
"""With the large games one run in so many learns."""
STEP: Final = "hand-over"


def check_hand_over(bench: Bench) -> Passed:
    """Order for one picture of each kind, and with the large games the time for many."""
    info = bench.design.info
    if not info.roles:
        raise NotApplicableError("the design asks nobody")
    if Learner.SERVER in info.learns:
        raise NotApplicableError("a server learns the outcome before the message leaves, by declaration")
    family = picture(1000 * bench.seed + FAMILY_NUMBER)
    deployed = opened(_published(bench, family))
    pictures = _pictures(bench, family)
    parties = LocalParties(deployed, bench.clocks[0], bench.rng("hand-over/roles"))
    with local_device(bench.device, parties, bench.rng("hand-over/device")) as device:
        looked = sum(_in_order(device, parties, kind, data) for kind, data in pictures.items())
        found = list(_timed(bench, device, parties, pictures)) if bench.held_out else []
    return _passed(len(pictures), looked, found)


def _published(bench: Bench, family: Picture) -> Build:
    entries = np.concatenate([bench.pool.entries, _family(family)])
    return publish(bench.design, entries, bench.rng("hand-over/publish"), 1, bench.values)


def _family(item: Picture) -> Rows:
    """The hash, and others with two of its least reliable bits flipped, uint8 (64, 32)."""
    bits = np.unpackbits(np.frombuffer(item.hash, np.uint8))
    weakest = np.argsort(np.abs(item.coefficients), kind="stable")
    rows = np.tile(bits, (FAMILY, 1))
    for row, two in enumerate(islice(combinations(weakest, 2), FAMILY - 1), 1):
        rows[row, list(two)] ^= 1
    return np.packbits(rows, axis=1)


def _pictures(bench: Bench, family: Picture) -> dict[str, bytes]:
    pool = bench.pool
    items = {"match": pool.of("listed")[0].item, "none": pool.of("other")[0].item, "family": family}
    return {kind: _png(item) for kind, item in items.items()}


def _png(item: Picture) -> bytes:
    out = BytesIO()
    Image.fromarray(item.pixels).save(out, "PNG")
    return out.getvalue()


def _in_order(device: Device, parties: LocalParties, kind: str, data: bytes) -> bool:
    """Was an outcome worked out at all? `BrokenError` if that was before the message was handed over."""
    parties.noted.clear()
    device.send_picture(RECIPIENT, data)
    happened = [one.kind for one in parties.noted]
    if "Send" not in happened:
        raise BrokenError(f"{STEP}: {kind}", "the device does not hand the message over")
    if CONCLUDE in happened[: happened.index("Send")]:
        raise BrokenError(f"{STEP}: {kind}", "the outcome is worked out before the relay has the message")
    return CONCLUDE in happened


def _timed(
    bench: Bench, device: Device, parties: LocalParties, pictures: Mapping[str, bytes]
) -> Iterator[Finding]:
    """Findings; `BrokenError` if the time to the first byte tells a class apart."""
    for name, (left, right) in CLASSES.items():
        rng, runs = bench.rng(f"hand-over/{name}"), list[Run]()
        for _ in range(bench.held_out // len(CLASSES) // TRAINING):
            coin = flag(rng)
            took = _time_of(device, parties, pictures[right if coin else left])
            runs.append(Run([Event(Party.PROVIDER, STEP, 0, b"", (), (took,))], None, coin))
        part = len(runs) // TRAINING
        finding = judged_by_time(name, STEP, (runs[:part], runs[part:]), len(CLASSES))
        if finding.measured.told_apart:
            words = f"the time to the first byte of the upload tells, {finding.measured.words()}"
            raise BrokenError(f"{STEP}: {name}", words)
        yield finding


def _time_of(device: Device, parties: LocalParties, data: bytes) -> int:
    """Nanoseconds from the last reply to the first byte of the upload."""
    parties.noted.clear()
    device.send_picture(RECIPIENT, data)
    before: list[int] = []
    for one in parties.noted:
        if one.kind == FIRST_BYTE:
            return one.at - before[-1]
        before.append(one.at)
    raise BrokenError(STEP, "nothing is uploaded")


def _passed(pictures: int, looked: int, found: list[Finding]) -> Passed:
    words = [f"{looked} of {pictures} outcomes were worked out, all after the relay had the message"]
    if looked < pictures:
        words.append("the others the design has with the last reply (`Done`), so before it")
    words += [f"time tells {one.scenario!r} with advantage {one.measured.words()}" for one in found]
    figures = {one.scenario: [round(one.measured.low, 4), round(one.measured.high, 4)] for one in found}
    return Passed("; ".join(words), {"concluded": looked, "pictures": pictures, "time": figures})
