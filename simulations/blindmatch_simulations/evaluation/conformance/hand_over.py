"""Does a real device hand a message to the relay before anything depends on the outcome of its picture?

One that refuses to send what matches is the exception: of a message with a match it sends nothing at all, and
every other one it hands over as ever.

By order: between the last reply and the relay's acknowledgement no outcome is worked out. That is exact,
and one picture of a kind shows it. With the large games also by time: from the last reply to the first byte
of the upload, in CPU time of the device's thread, for pictures that match, that match a family of 64
entries, and that match nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations, islice
from typing import Final

import numpy as np
from blindmatch_client.device import Device, OutcomeKind
from blindmatch_client.settings import Consequence
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.contract import Category, Learner, Party
from blindmatch_protocol.contract.relation import NO_ENTRIES
from blindmatch_protocol.picture.decode import Picture
from PIL import Image

from blindmatch_simulations.evaluation.conformance.category import of_either
from blindmatch_simulations.evaluation.conformance.fixtures import Fixtures
from blindmatch_simulations.evaluation.conformance.leakage.game import Finding, Run
from blindmatch_simulations.evaluation.conformance.leakage.play import Event
from blindmatch_simulations.evaluation.conformance.leakage.timing import judged_by_time
from blindmatch_simulations.evaluation.conformance.parties import (
    CONCLUDE,
    FIRST_BYTE,
    RECIPIENT,
    LocalParties,
    local_device,
)
from blindmatch_simulations.testbed.inprocess.deployed import opened
from blindmatch_simulations.testbed.inprocess.steps import flag
from blindmatch_simulations.testbed.inprocess.verdict import BrokenError, NotApplicableError, Passed
from blindmatch_simulations.testbed.pictures.crops import encoded
from blindmatch_simulations.testbed.pictures.pool import picture

FAMILY: Final = 64
FAMILY_NUMBER: Final = 950
"""Of the picture with a family, beyond those of the pool and of the worst cases."""
CLASSES: Final = {"a match or none": ("match", "none"), "a family of 64 or none": ("family", "none")}
TRAINING: Final = 5
"""With the large games one run in so many learns."""
STEP: Final = "hand-over"
OF_MESSAGE: Final = frozenset({FIRST_BYTE, "Upload", "Send"})
"""Calls that bear something of a message."""


def check_hand_over(fixtures: Fixtures) -> Passed:
    """A real device works out no outcome before the relay acknowledged the message; with `--games` CPU time
    until the upload does not tell either."""
    info = fixtures.design.info
    if Learner.DEVICE not in info.learns:
        fixtures.asks()
    family = picture(1000 * fixtures.seed + FAMILY_NUMBER)
    entries = np.concatenate([fixtures.pool.entries, _family(family)])
    parties = LocalParties(
        opened(fixtures.publish(entries, "hand-over/publish")),
        fixtures.clocks[0],
        fixtures.rng("hand-over/roles"),
    )
    pictures = _pictures(fixtures, family)
    refused = _refused(fixtures, parties, pictures) if Learner.DEVICE in info.learns else ""
    if Learner.SERVER in info.learns or not info.roles:
        if not refused:
            raise NotApplicableError("a server learns the outcome before the message leaves, by declaration")
        return Passed(refused)
    with local_device(fixtures.device, parties, fixtures.rng("hand-over/device")) as device:
        looked = sum(_in_order(device, parties, kind, data) for kind, data in pictures.items())
        found = list(_timed(fixtures, device, parties, pictures)) if fixtures.held_out else []
    return _passed(len(pictures), looked, found, refused)


def _refused(fixtures: Fixtures, parties: LocalParties, pictures: Mapping[str, bytes]) -> str:
    """That a device which refuses sends nothing of a message with a match, and every other one, in words."""
    refusing = local_device(fixtures.device, parties, fixtures.rng("hand-over/refusing"), Consequence.REFUSE)
    count, relation = 0, fixtures.design.info.relation
    with refusing as device:
        for kind, data in pictures.items():
            parties.noted.clear()
            sent = device.send_picture(RECIPIENT, data)
            left = [one.kind for one in parties.noted if one.kind in OF_MESSAGE]
            found = sent.outcome in (OutcomeKind.MATCH, OutcomeKind.FLAG)
            if found and left:
                raise BrokenError(f"{STEP}: {kind}", f"a message that is to be refused leaves: {left[0]}")
            due = isinstance(relation, Category) and relation.matches(Picture.from_bytes(data), NO_ENTRIES)
            if due and not found:
                raise BrokenError(f"{STEP}: {kind}", "a device does not flag a file of the category")
            if not found and "Send" not in left:
                raise BrokenError(f"{STEP}: {kind}", "a message without a match is refused")
            count += found
    return f"a device that refuses sent nothing of {count} messages with a match, and the other ones"


def _family(item: Picture) -> Rows:
    """The hash, and others with two of its least reliable bits flipped, uint8 (64, 32)."""
    bits = np.unpackbits(np.frombuffer(item.hash, np.uint8))
    weakest = np.argsort(np.abs(item.coefficients), kind="stable")
    rows = np.tile(bits, (FAMILY, 1))
    for row, two in enumerate(islice(combinations(weakest, 2), FAMILY - 1), 1):
        rows[row, list(two)] ^= 1
    return np.packbits(rows, axis=1)


def _pictures(fixtures: Fixtures, family: Picture) -> dict[str, bytes]:
    pool = fixtures.pool
    items = {"match": pool.of("listed")[0].item, "none": pool.of("other")[0].item, "family": family}
    if isinstance(fixtures.design.info.relation, Category):
        items |= of_either(fixtures.design.info.relation, fixtures.seed)
    return {kind: encoded(Image.fromarray(item.pixels)) for kind, item in items.items()}


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
    fixtures: Fixtures, device: Device, parties: LocalParties, pictures: Mapping[str, bytes]
) -> Iterator[Finding]:
    """Findings; `BrokenError` if the time to the first byte tells a class apart."""
    for name, (left, right) in CLASSES.items():
        rng, runs = fixtures.rng(f"hand-over/{name}"), list[Run]()
        for _ in range(fixtures.held_out // len(CLASSES) // TRAINING):
            coin = flag(rng)
            took = _time_of(device, parties, pictures[right if coin else left])
            runs.append(Run([Event(Party.PROVIDER, STEP, 0, b"", (), (took,))], None, coin))
        part = len(runs) // TRAINING
        finding = judged_by_time(name, STEP, (runs[:part], runs[part:]), len(CLASSES))
        yield finding.not_told(f"{STEP}: {name}", "the time to the first byte of the upload tells")


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


def _passed(pictures: int, looked: int, found: list[Finding], refused: str) -> Passed:
    words = [f"{looked} of {pictures} outcomes were worked out, all after the relay had the message"]
    words += [refused] if refused else []
    if looked < pictures:
        words.append("the others the design has with the last reply (`Done`), so before it")
    words += [f"time tells {one.scenario!r} with advantage {one.measured.words()}" for one in found]
    figures = {one.scenario: one.measured.figures()["interval"] for one in found}
    return Passed("; ".join(words), {"concluded": looked, "pictures": pictures, "time": figures})
