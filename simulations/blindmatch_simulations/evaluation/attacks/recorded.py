"""Somebody keeps what was asked, to intersect many days of it, or to open it with keys stolen later.

Where requests come without an account, by way of a carrier, it is supposed to know who was active, which half
of the others are on a day (assumed, not measured); how often activity alone singles one out is said. The
thief holds what there is after the last of what it recorded was sent, not what was there before.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Hashable, Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Final

import numpy as np
from blindmatch_client.egress.calls import RECEIVE
from blindmatch_client.errors import DeviceError, MessengerError
from blindmatch_client.messenger.account import Account
from blindmatch_client.messenger.state import AccountKeeper
from blindmatch_client.store.store import Store
from blindmatch_client.store.store_file import FILE_NAME
from blindmatch_protocol.codec import Message
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.codec.randomness import Randomness, seeded
from blindmatch_protocol.contract import Item, Match, Party, Role
from blindmatch_protocol.crypto.oprf import Mode, blind
from blindmatch_protocol.designs.he_hamming import packing
from blindmatch_protocol.designs.he_hamming.circuit import WEIGHT, Batch, Evaluation, indicator
from blindmatch_protocol.designs.he_hamming.packing import Polynomials, Reply, Ring
from blindmatch_protocol.designs.he_hamming.seal import PLAIN_MODULUS
from blindmatch_protocol.designs.slot_psi import session as slot_session
from blindmatch_protocol.designs.voprf import design as voprf_design
from blindmatch_protocol.messages.content import compose
from blindmatch_protocol.picture import pdq
from msgspec.structs import replace

from blindmatch_simulations.evaluation.attacks import needs
from blindmatch_simulations.evaluation.attacks.adversary import Claim, Conduct, Means, replacing
from blindmatch_simulations.evaluation.attacks.arena import Arena, attack
from blindmatch_simulations.evaluation.attacks.figure import Figure, counted, share_of
from blindmatch_simulations.evaluation.attacks.loopback import loopback
from blindmatch_simulations.testbed.deployment.devices import STATE
from blindmatch_simulations.testbed.inprocess.deployed import Deployed, run_session
from blindmatch_simulations.testbed.inprocess.leaves import fields_of
from blindmatch_simulations.testbed.inprocess.steps import below, flag, sent, stops
from blindmatch_simulations.testbed.pictures.pool import HashOnly, picture

ACCOUNTS: Final = 8
DAYS: Final = 4
TRIALS: Final = 40
QUICK_TRIALS: Final = 4
ASKED: Final = {"k": 16, "bands": 2, "probes": 2, "slot_bits": 8}
encrypt: Final = Ring.encrypt


def _blind_alike(inputs: Sequence[bytes], mode: Mode, rng: Randomness, *more: Any) -> Any:
    return blind(inputs, mode, seeded("one blind for all"), *more)


def _encrypt_alike(ring: Ring, secret: bytes, vector: Any, rng: Randomness) -> Any:
    return encrypt(ring, secret, vector, seeded("one seed for all"))


UNBLINDED: Final = replacing(
    (voprf_design, "blind", _blind_alike),
    (slot_session, "blind", _blind_alike),
    (Ring, "encrypt", _encrypt_alike),
)
"""Every request for a picture is the same."""


@attack(
    "recurring-picture",
    Means(frozenset({Party.MATCHER}), Conduct.SEMI_HONEST, "pictures in mind, and every request of days"),
    Claim("requests of many days add up to nothing"),
    budget=f"{ACCOUNTS} accounts, {DAYS} days, {TRIALS} times",
    weakness=UNBLINDED,
    needs=(needs.COVERED, needs.NO_PART),
    exposes="whose a picture in mind is",
)
def recurring_picture(arena: Arena) -> Figure:
    """The share of trials in which one account is left, the right one; how many are left each day."""
    arena = arena.reduced()
    deployed = arena.deployed(arena.hashes(8, "list"), "set", **ASKED)
    trials = TRIALS if arena.thorough else QUICK_TRIALS
    left = np.zeros((trials, DAYS, 2))
    for number in arena.each(range(trials)):
        left[number] = list(_left(arena, deployed, number))
    alone, by_activity = (left[:, -1] == 1).sum(axis=0)
    means = left[:, :, 0].mean(axis=0)
    parts = {f"accounts left after day {day}": float(mean) for day, mean in enumerate(means, 1)}
    if deployed.design.info.forwarded:
        parts["share singled out by activity alone"] = float(by_activity / trials)
    return share_of("share singled out", int(alone), trials, parts)


def _left(arena: Arena, deployed: Deployed, number: int) -> Iterator[tuple[int, int]]:
    """How many accounts are left after each day, 0 without the right one; and how many were active on all."""
    rng = arena.rng(f"days/{number}")
    info = deployed.design.info
    target = below(rng, ACCOUNTS)
    left = set(range(ACCOUNTS))
    always = set(range(ACCOUNTS))
    for day in range(DAYS):
        rows = arena.hashes(ACCOUNTS + 2, f"{number}/{day}")
        *others, wanted, nobodys = (HashOnly(row.tobytes()) for row in rows)
        active = {one for one in range(ACCOUNTS) if one == target or not info.forwarded or flag(rng)}
        asked = {one: wanted if one == target else others[one] for one in active}
        known = _shown(arena, deployed, wanted, rng) & _shown(arena, deployed, wanted, rng)
        fitting = {one for one in active if known <= _shown(arena, deployed, asked[one], rng)}
        always &= active
        if not known <= _shown(arena, deployed, nobodys, rng):
            left &= active if info.forwarded and fitting else fitting
        yield len(left) if target in left else 0, len(always)


def _shown(arena: Arena, deployed: Deployed, item: HashOnly, rng: Randomness) -> frozenset[Hashable]:
    """Lengths and fields of a picture's first request, by place, as its role reads it."""
    design = deployed.design
    found = set[Hashable]()
    bodies = sent(deployed, item, rng)
    assert bodies
    arena.spending.queries += len(bodies)
    for role, sealed in bodies.items():
        body = design.unsealed(role, deployed.states[role], sealed)
        found |= {
            (role, len(sealed.encode())),
            *((role, at, *leaf) for at, leaf in enumerate(fields_of(body))),
        }
    return frozenset(found)


attack(
    "recurring-hash", recurring_picture.means, Claim("days add up to an account"),
    budget=recurring_picture.budget, needs=(needs.PART,), exposes=recurring_picture.exposes,
)(recurring_picture.move)  # fmt: skip
RECORDED: Final = 40
QUICK: Final = 3
MESSAGES: Final = 6
NOW: Final = 1_700_000_000_000
ALICE = "alice"
BOB = "bob"
WAIT_MS: Final = 200


@attack(
    "recorded-requests",
    Means(frozenset({Party.PROVIDER}), has="recorded requests; later the states of all roles", stolen=True),
    Claim("requests that were recorded stay closed to whoever gets every role's state later"),
    budget=f"{RECORDED} requests, each of one of two listed pictures",
    weakness=UNBLINDED,
    needs=(needs.BLINDED, needs.NO_PART),
    exposes="what earlier requests were of",
)
def recorded_requests(arena: Arena) -> Figure:
    """Count the recorded requests of which the thief tells which of two pictures they are of."""
    count = RECORDED if arena.thorough else QUICK
    arena = arena.reduced()
    pair = [picture(1000 * arena.seed + number) for number in range(2)]
    listed = pdq.rows([one.hash for one in pair])
    rng = arena.rng("recorded")
    told = 0
    deployed = arena.deployed(listed, "set", **ASKED)
    arena.spending.list_share = 1.0
    for number in arena.each(range(count)):
        rounds = stops(deployed, pair[number % 2], rng)
        recorded = {role: body for stop in rounds for role, body in stop.bodies.items()}
        read = [_is_of(deployed, recorded, one, rng) for one in pair]
        told += read == [number % 2 == 0, number % 2 == 1]
    return counted("recordings told", {"of two listed pictures": (told, count)})


def _is_of(deployed: Deployed, recorded: dict[Any, Any], item: Item, rng: Randomness) -> bool:
    """Does the thief find that these requests are of this picture?"""
    design: Any = deployed.design
    if (inside := design.inside()) is not None:
        bodies = {role: design.unsealed(role, deployed.states[role], one) for role, one in recorded.items()}
        return _is_of(replace(deployed, design=inside), bodies, item, rng)
    ((role, body), *_) = recorded.items()
    states = deployed.states
    if hasattr(opened := design.unsealed(role, states[role], body), "hash"):
        return bool(opened.hash == item.hash)
    if hasattr(states[role], "open"):
        return bool(states[role].open(body.sealed).pixels == item.pixels.tobytes())
    answers = {role: deployed.answer(role, body, rng) for role, body in recorded.items()}
    with suppress(ProtocolError):
        ran = run_session(deployed, item, rng, answering=lambda role, _: answers[role])
        return isinstance(ran.outcome, Match)
    return False


_decrypt = Account.decrypt


def _keeping(account: Account, sender: str, sealed: bytes) -> Any:
    """Decrypts, and keeps every key."""
    return _decrypt(Account.load(account.dump()), sender, sealed)


@attack(
    "recorded-messages",
    Means(
        frozenset({Party.PROVIDER}), has="recorded messages; later a device's keys, or its files", stolen=True
    ),
    Claim("messages that were recorded and received do not open with a device's keys of later"),
    budget=f"{MESSAGES} messages of one conversation, and of one between two devices",
    weakness=replacing((Account, "decrypt", _keeping), (Store, "settle", lambda store: None)),
    needs=(needs.ENCRYPTED, needs.ANY_ONE),
    exposes="earlier messages",
)
def recorded_messages(arena: Arena) -> Figure:
    """Count the recorded messages that open with the account as it is after they were received, or as any
    state of it has it that its device's files still hold."""
    alice, bob = (Account.create(name, NOW, 1) for name in (ALICE, BOB))
    bundle = bob.get_published_keys()
    recorded = []
    for number in arena.each(range(MESSAGES)):
        content = compose(f"message {number}", (), NOW, arena.rng(f"message/{number}"))
        recorded.append(alice.encrypt(BOB, content, bundle))
        bob.decrypt(ALICE, recorded[-1])
    ways = {"as it is": False, "sessions reset": True}
    opened = {name: sum(_opens(bob, one, reset) for one in recorded) for name, reset in ways.items()}
    opened["carved from its files"] = _opened_by_files(arena)
    return counted("messages opened", {name: (count, MESSAGES) for name, count in opened.items()})


def _opened_by_files(arena: Arena) -> int:
    """How many messages of a conversation open by the files of the device that received them."""
    recorded: list[bytes] = []

    def record(call: Any, request: Any, reply: Any) -> Any:
        recorded.extend([bytes(reply.sealed)] if call.method is RECEIVE else [])
        return reply

    with loopback(arena) as held, tempfile.TemporaryDirectory() as copies:
        alice = held.device(ALICE).device
        bob = held.device(BOB, record).device
        for number in range(MESSAGES):
            alice.send_text(BOB, f"message {number}")
            bob.receive(WAIT_MS)
            bob.send_text(ALICE, f"answer {number}")
            alice.receive(WAIT_MS)
        stolen = list(_carved(held.deployment.home / "devices" / BOB / STATE, Path(copies)))
    return sum(any(_opens(account, sealed, False) for account in stolen) for sealed in recorded)


def _carved(folder: Path, copies: Path) -> Iterator[Account]:
    """The account in the store's file, and in what comes of it as the pages in its write-ahead log are laid
    over it in their order, whether SQLite takes them still or not (sqlite.org/fileformat.html, section 4)."""
    log_file = folder / f"{FILE_NAME}-wal"
    data = bytearray((folder / FILE_NAME).read_bytes())
    log = log_file.read_bytes() if log_file.exists() else b""
    size = int.from_bytes(log[8:12], "big")
    frames = [log[at : at + 24 + size] for at in range(32, len(log), 24 + size)]
    for frame in [b"", *frames]:
        end = size * int.from_bytes(frame[:4], "big")
        data.extend(bytes(max(0, end - len(data))))
        data[max(0, end - size) : end] = frame[24:]
        if not frame or any(frame[4:8]):  # the last page of a transaction
            shutil.copytree(folder, copies, ignore=lambda *_: {log_file.name}, dirs_exist_ok=True)
            (copies / FILE_NAME).write_bytes(data)
            with suppress(DeviceError, MessengerError), closing(Store(copies, create=False)) as store:
                yield AccountKeeper(store).account


def _opens(stolen: Account, sealed: bytes, reset: bool) -> bool:
    thief = Account.load(stolen.dump())
    if reset:
        thief.reset_sessions(ALICE)
    with suppress(MessengerError):
        return bool(thief.decrypt(ALICE, sealed).text)
    return False


attack(
    "recorded-sealed", recorded_requests.means, Claim("open with a key that is stolen later"),
    budget=recorded_requests.budget, needs=(needs.SEALED,), exposes=recorded_requests.exposes,
)(recorded_requests.move)  # fmt: skip


class _Testing(Evaluation):
    """Multiplies into every indicator whether another query is near a guess."""

    near: Any = None

    def _indicator(self, v: Any) -> Any:
        found = super()._indicator(v)
        return found if self.near is None else self._product(found, self.near)

    def tested(self, query: Any, earlier: Any, guess: bytes, batches: Sequence[Batch]) -> Polynomials:
        """The reply to `query`, of zeros unless the hash of `earlier` is near the guess."""
        guessed = replace(batches[0], hashes=pdq.rows([guess] * self._ring.degree), ready=False)
        near = self._indicator(self._scan(self._babies(earlier, guessed.babies), guessed))
        self.near = self._scaled(near, pow(indicator(WEIGHT), -1, PLAIN_MODULUS))
        return self.reply(query, batches)


@attack(
    "earlier-pictures",
    Means(frozenset({Party.MATCHER, Party.PROVIDER}), has="recorded queries, and sees what a report follows"),
    Claim("tests any earlier picture of the account", "docs/designs/he-hamming.md"),
    budget=f"{QUICK} guesses, for each two recorded queries and two later pictures that are listed",
    needs=(needs.UNDER_BFV,),
    exposes="what earlier requests were of",
)
def earlier_pictures(arena: Arena) -> Figure:
    """Count the guesses that are told: that a query was of the picture guessed, and that one was not."""
    small = arena.reduced()
    told = 0
    pictures = [picture(1000 * arena.seed + number) for number in range(3 * QUICK)]
    listed = pictures[:QUICK]
    deployed = small.deployed(pdq.rows([one.hash for one in listed]), "set")
    for at, later in enumerate(arena.each(listed)):
        guess, other = pictures[QUICK + 2 * at :][:2]
        reported = [_reported(small, deployed, one, guess.hash, later) for one in (guess, other)]
        told += reported == [True, False]
    return counted("guesses told", {"unlisted pictures": (told, QUICK)})


def _reported(arena: Arena, deployed: Deployed, earlier: Item, guess: bytes, later: Item) -> bool:
    """Does a report of the later picture follow, whose reply tests the query of the earlier one?"""
    rng = arena.rng("matcher")
    ((role, state),) = deployed.states.items()
    recorded: Any = sent(deployed, earlier, arena.rng("earlier"))[role]

    def answer(role: Role, body: Any) -> tuple[Message, None]:
        held: Any = deployed.request(role, body).enrolment
        x, before = (state.ring.query(one.seed, one.rows) for one in (body, recorded))
        evaluation = _Testing(state.ring, held.seeds, held.rows, rng)
        found = evaluation.tested(x, before, guess, state.batches)
        arena.spending.queries += 2
        return Reply(body.epoch, packing.packed(found.reshape(-1, 1, state.ring.degree))), None

    ran = run_session(deployed, later, arena.rng("later"), answering=answer)
    return isinstance(ran.outcome, Match)
