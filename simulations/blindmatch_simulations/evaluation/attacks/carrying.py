"""Who carries sealed requests, and who answers them, against one another's accounts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from typing import Final

import numpy as np
from blindmatch_client.egress.calls import EXCHANGE
from blindmatch_client.matching.detector import Cause, Detector, Undecided
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.contract import Match, Party
from blindmatch_protocol.crypto import hpke
from msgspec.structs import replace

from blindmatch_simulations.evaluation.attacks import needs
from blindmatch_simulations.evaluation.attacks.adversary import Claim, Conduct, Left, Means, replacing
from blindmatch_simulations.evaluation.attacks.arena import Arena, attack
from blindmatch_simulations.evaluation.attacks.figure import Figure, counted, share_of, tally
from blindmatch_simulations.evaluation.attacks.loopback import SMALL as FEW
from blindmatch_simulations.evaluation.attacks.loopback import drawn, loopback
from blindmatch_simulations.testbed.inprocess.deployed import run_session
from blindmatch_simulations.testbed.inprocess.steps import stops
from blindmatch_simulations.testbed.pictures.pool import HashOnly

PAGE: Final = "docs/designs/carried.md"
GUESSES: Final = 40
QUICK: Final = 4
ONCE: Final = {"account_pictures": 1, "day_pictures": 1, "year_pictures": 1}
"""Limits in pictures: an account may ask about one."""
seal_answer: Final = hpke.seal_answer


@attack(
    "over-asking",
    Means(frozenset({Party.PROVIDER}), has="the set-up, and sealed requests of its own"),
    Claim("A provider that cheats asks as much as all may together", PAGE),
    budget=f"{GUESSES} guesses, half of them listed, where an account may ask once",
    needs=(needs.CARRIED,),
    exposes="whether guesses are listed",
)
def over_asking(arena: Arena) -> Figure:
    """Count the guesses that are told right, which no limit of an account stops."""
    number = GUESSES if arena.thorough else QUICK
    listed = arena.hashes(number // 2, "list")
    rng = arena.rng("ask")
    once = FEW["bands"] * FEW["probes"]
    deployed = arena.deployed(listed, "set", **FEW, account_evaluations=once, **ONCE)
    limits = [deployed.design.key_limits(role, state) for role, state in deployed.states.items()]
    most = 1 if any(one and one.limits_accounts for one in limits) else number
    guesses = [*listed, *arena.hashes(number - len(listed), "others")][:most]
    told = sum(
        isinstance(run_session(deployed, HashOnly(guess.tobytes()), rng).outcome, Match) == (at < len(listed))
        for at, guess in enumerate(guesses)
    )
    return counted("guesses told", {"of an account's one": (max(0, told - 1), number)})


def _unsealed(public: bytes, info: bytes, plaintext: bytes, *rest: bytes) -> tuple[bytes, bytes]:
    return bytes(hpke.KEY_BYTES) + plaintext + bytes(hpke.TAG_BYTES), bytes(48)


def _open(private: bytes, public: bytes, info: bytes, sealed: bytes, label: bytes) -> tuple[bytes, bytes]:
    return sealed[hpke.KEY_BYTES : -hpke.TAG_BYTES], bytes(48)


def _one_nonce(secret: bytes, nonce: bytes, plaintext: bytes) -> bytes:
    return seal_answer(secret, bytes(len(nonce)), plaintext)


@attack(
    "resent-request",
    Means(frozenset({Party.PROVIDER}), has="requests that it carries, and their replies"),
    Claim("So a request that is answered twice gives its carrier no key stream twice", PAGE),
    budget="each request again, to each role, in two epochs",
    weakness=replacing(
        (hpke, "seal_answered", _unsealed), (hpke, "open_answered", _open), (hpke, "seal_answer", _one_nonce)
    ),
    needs=(needs.CARRIED,),
    exposes="what replies differ in",
)
def resent_request(arena: Arena) -> Figure:
    """Count requests that open where they were not sealed to, and replies that share a key stream or open in
    another session."""
    return counted("requests and replies taken", tally(_resent(arena)))


def _resent(arena: Arena) -> Iterator[tuple[str, bool]]:
    design = arena.design
    rng = arena.rng("resent")
    deployed = arena.deployed(arena.hashes(8, "list"), "set", **FEW)
    items = (HashOnly(row.tobytes()) for row in arena.hashes(2, "asked"))
    (one,), (other,) = (stops(deployed, item, rng) for item in items)
    for role, body in one.bodies.items():
        state = deployed.states[role]
        others = {f"opened by {name}": (name, held) for name, held in deployed.states.items() if name != role}
        others["opened in another epoch"] = role, replace(state, epoch=state.epoch + 1)
        for case, (name, held) in others.items():
            through = False
            with suppress(ProtocolError):
                through = bool(design.unsealed(name, held, body))
            yield case, through
        again = [deployed.answer(role, body, rng)[0].sealed for _ in range(2)]  # type: ignore[attr-defined]
        yield "one key stream", again[0][: hpke.ANSWER_NONCE_BYTES] == again[1][: hpke.ANSWER_NONCE_BYTES]
        opened = hpke.open_answer(other.session.secrets[role], again[0])
        yield "opened in another session", opened is not None


def _flipped(secret: bytes, nonce: bytes, plaintext: bytes) -> bytes:
    return seal_answer(secret, nonce, plaintext[:-1] + bytes([plaintext[-1] ^ 1]))


def _unopened(secret: bytes, nonce: bytes, plaintext: bytes) -> bytes:
    return seal_answer(bytes(48), nonce, plaintext)


ILL: Final = {
    "by a reply that does not verify": replacing((hpke, "seal_answer", _flipped)),
    "by one that does not open": replacing((hpke, "seal_answer", _unopened)),
    "by a refusal": replacing((hpke, "open_answered", lambda *given: None)),
}


@attack(
    "marked-device",
    Means(frozenset({Party.MATCHER}), has="every reply, and what devices send after it"),
    Claim("The device sends nothing because of it", PAGE),
    budget="one request treated badly in each of three ways, and the next picture",
    weakness=replacing((Detector, "_classify", lambda self, error: Undecided(Cause.CHEATED, error))),
    needs=(needs.CARRIED, needs.SMALL),
    exposes="whose one request was",
    left=Left.WAITS,
)
def marked_device(arena: Arena) -> Figure:
    """Count the ways after which a device asks otherwise than once for each role and picture."""
    cases = []
    numbers = count(1)
    roles = len(arena.design.info.roles)
    with loopback(arena) as held:
        held.device("bob")
        for case, badly in ILL.items():
            one = held.device(f"alice{next(numbers)}")
            with badly():
                one.device.send_picture("bob", drawn(next(numbers)))
            one.device.send_picture("bob", drawn(next(numbers)))
            asked = [record.method for record in one.recorder.records()].count(EXCHANGE.path)
            cases.append((case, asked != 2 * roles))
    return counted("devices marked", tally(cases))


RATE: Final = 12.0
REPLY: Final = (0.02, 0.2)
"""Seconds from a reply to its message, least and most: assumed."""


@attack(
    "linked-by-time",
    Means(frozenset({Party.MATCHER}), Conduct.SEMI_HONEST, "when which account's message leaves"),
    Claim("Against somebody who sees messages leave, time links", PAGE),
    budget=f"2,000 pictures at {RATE:g} a second",
    needs=(needs.CARRIED, needs.ANY_ONE),
    exposes="whose each request is",
)
def linked_by_time(arena: Arena) -> Figure:
    """The share of requests that are taken for the right message by their order alone, simulated."""
    drawn_at = np.random.default_rng(arena.seed)
    came = np.cumsum(drawn_at.exponential(1 / RATE, 2_000))
    number = 2_000
    hits = {}
    for case, slot in (("at once", 0.0), ("in slots of 1 s", 1.0)):
        ends = np.ceil(came / slot) * slot if slot else came
        left = ends + drawn_at.uniform(*REPLY, number)
        asked = np.lexsort((drawn_at.random(number), ends))
        hits[case] = int((asked == np.argsort(left)).sum())
    shares = {case: hit / number for case, hit in hits.items()}
    return share_of("share linked", hits["at once"], number, shares)
