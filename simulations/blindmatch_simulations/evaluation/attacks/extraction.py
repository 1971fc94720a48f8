"""A modified device asks for what it likes, and opens entries of the list.

Tokens are shortened to 8 bits here, so that 512 evaluations open a whole list, and the limits are as small.
What a list would lose at the default parameters is projected from the formula, for uniform hashes. Vectors
are tried in the ring without security, where a request takes 0.1 s and slots are filled alike.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import combinations
from math import prod
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
from blindmatch_protocol.contract import AnyDesign, KeyLimits, Match, Party, Request
from blindmatch_protocol.designs.he_hamming import files, packing, seal
from blindmatch_protocol.designs.he_hamming.circuit import CHECKED, WEIGHT, Evaluation, indicator
from blindmatch_protocol.designs.he_hamming.packing import BITS, DATA, KEY, Keys, Query, Reply, Ring, Secret
from blindmatch_protocol.designs.he_hamming.seal import PLAIN_MODULUS
from blindmatch_protocol.designs.token_psi.build import best_share
from blindmatch_protocol.designs.voprf.layout import Limits
from blindmatch_server.hosting.event_log import EventLog
from blindmatch_server.matching import ledger
from blindmatch_server.matching.ledger import Budget, MatcherStore
from blindmatch_server.storage.errors import QuotaError
from msgspec.structs import replace

from blindmatch_simulations.evaluation.attacks import needs
from blindmatch_simulations.evaluation.attacks.adversary import Claim, Left, Means, replacing
from blindmatch_simulations.evaluation.attacks.arena import Arena, attack
from blindmatch_simulations.evaluation.attacks.figure import Figure, counted
from blindmatch_simulations.evaluation.studies.evidence import tokening_of
from blindmatch_simulations.evaluation.studies.near_bench import extract, obtainable
from blindmatch_simulations.testbed.inprocess.deployed import Deployed, enrolled, run_session
from blindmatch_simulations.testbed.pictures.pool import HashOnly

ENTRIES: Final = 64
SHORT: Final = 8
"""Bits of a token."""


@attack(
    "extraction",
    Means(frozenset({Party.DEVICE}), has="a modified device, which asks for what it likes"),
    Claim("each request tests a guess, or in token-psi opens a part"),
    budget="32 and 64 evaluations of oprf-psi, 256 and 512 of token-psi with tokens of 8 bits",
    needs=(needs.OPRF,),
    exposes="the list, guess by guess",
    left=Left.COUNTED,
)
def extraction(arena: Arena) -> Figure:
    """Count the entries that open, by the number of evaluations."""
    deployed = arena.deployed(arena.hashes(ENTRIES, "list"), "set", k=SHORT, bands=2, probes=16)
    by_parts = arena.design.extraction(deployed.setup) is not None
    spent = (1 << SHORT, 2 << SHORT) if by_parts else (32, 64)
    opened = {f"{count} evaluations": float(_opened(arena, deployed, count)) for count in arena.each(spent)}
    most = max(opened.values())
    return Figure("entries opened", most, most > 0, ENTRIES, None, opened)


def _opened(arena: Arena, deployed: Deployed, evaluations: int) -> int:
    rng = arena.rng("asked")

    if arena.design.extraction(deployed.setup) is not None:
        return len(extract(deployed, evaluations, rng))
    half = evaluations // 2
    arena.spending.list_share = half / ENTRIES
    dictionary = np.concatenate([deployed.build.entries[:half], arena.hashes(half, "dictionary")])
    ran = (run_session(deployed, HashOnly(row.tobytes()), rng) for row in dictionary)
    return sum(isinstance(one.outcome, Match) for one in ran)


ACCOUNTS: Final = (1, 2, 4, 8)
ALONE: Final = 96
TOGETHER: Final = 384
PAST: Final = 2
"""Requests that an account tries beyond its limit."""
MILLION: Final = 1_000_000


@attack(
    "pooled-extraction",
    Means(frozenset({Party.DEVICE}), has=f"{ACCOUNTS[-1]} accounts' modified devices"),
    Claim("pooled over any number of devices, as far as the limits of the key allow"),
    budget=f"{', '.join(map(str, ACCOUNTS))} accounts, {ALONE} evaluations each and {TOGETHER} in all",
    needs=(needs.TOKENS, needs.LIMITED),
    exposes="parts of the list",
    left=Left.COUNTED,
)
def pooled_extraction(arena: Arena) -> Figure:
    """Count the entries that open, by how many accounts pool."""
    opened = 0
    parts = dict[str, float]()
    for accounts in arena.each(ACCOUNTS):
        deployed = _set(arena)
        rng = arena.rng(f"asked/{accounts}")
        granted = sum(_granted(_limits(deployed), accounts))
        opened = len(extract(deployed, granted, rng))
        parts[f"accounts {accounts}, evaluations {granted}"] = float(opened)
    tokening = tokening_of(arena.design, {})
    assert tokening is not None
    for accounts in (1, MILLION):
        share = best_share(obtainable(_default_limits(arena.design), accounts), tokening)
        parts[f"share of a list projected, defaults: accounts {accounts:,}"] = round(share, 4)
    return Figure("entries opened", float(opened), opened > 0, ENTRIES, None, parts)


@attack(
    "key-limits",
    Means(frozenset({Party.DEVICE}), has=f"{ACCOUNTS[-1]} accounts' modified devices"),
    Claim("no more requests are counted and answered under a key than its limits allow"),
    budget=f"{ACCOUNTS[-1]} accounts, each {PAST} requests past its limit",
    weakness=replacing((ledger, "_check", lambda *_, **__: None)),
    needs=(needs.ASKED_KEY, needs.LIMITED),
    exposes="more of the list than a key's limits allow",
    left=Left.COUNTED,
)
def key_limits(arena: Arena) -> Figure:
    """Count the requests that the budget grants beyond a limit: of an account, and of all where there is
    one."""
    limits = _limits(_set(arena))
    spent = _granted(limits, ACCOUNTS[-1])
    arena.spending.queries += sum(spent) // limits.cost
    arena.progress(1, 1)
    beyond = {"of an account": sum(max(0, each - ALONE) for each in spent)}
    if limits.in_all is not None:
        beyond["of all together"] = max(0, sum(spent) - TOGETHER)
    tries = ACCOUNTS[-1] * (ALONE // limits.cost + PAST)
    cases = {name: (past // limits.cost, tries) for name, past in beyond.items()}
    return replace(counted("requests granted past a limit", cases), trials=tries, tries={})


def _set(arena: Arena) -> Deployed:
    sizes = {"k": SHORT, "bands": 2, "probes": 16}
    limits = {"account_evaluations": ALONE, "all_evaluations": TOGETHER}
    if needs.SLOTS.met(arena.design):
        # shorter tokens would not hide an entry's, and are refused; limits are by day, in pictures
        sizes |= {"k": 12, "slot_bits": 6}
        limits = {"day_pictures": ALONE // (sizes["bands"] * sizes["probes"])}
    return arena.deployed(arena.hashes(ENTRIES, "list"), "set", **sizes, **limits)


def _default_limits(design: AnyDesign) -> Limits:
    """Return the limits of a set that states none; 0 for one that the design does not have."""
    held = {one.name: one.default for one in design.info.parameters}
    return Limits(**{name: held.get(name, 0) for name in Limits.__struct_fields__})


def _limits(deployed: Deployed) -> KeyLimits:
    found = [deployed.design.key_limits(role, state) for role, state in deployed.states.items()]
    assert found[0] is not None
    return found[0]


def _granted(limits: KeyLimits, accounts: int) -> Sequence[int]:
    """Evaluations that a matcher's budget grants each account that asks until, and past, it is refused."""
    with tempfile.TemporaryDirectory(prefix="blindmatch-attack-") as folder:
        return asyncio.run(_asked(Path(folder) / "ledger.sqlite", limits, accounts))


async def _asked(path: Path, limits: KeyLimits, accounts: int) -> list[int]:
    store = MatcherStore(path)
    granted = list[int]()
    allowance = Budget(store, lambda: 0.0, EventLog("matcher", lambda line: None))
    for number in range(accounts):
        granted.append(0)
        for _ in range(ALONE // limits.cost + PAST):
            with suppress(QuotaError):
                await allowance.check(f"mallory-{number}", limits)
                await allowance.spend(f"mallory-{number}", limits)
                granted[-1] += limits.cost
    await store.close()
    return granted


SLOTS: Final = 256
VECTORS: Final[Mapping[str, npt.NDArray[Any]]] = {
    "all ones": np.ones(256, np.int64),
    "128 times a bit": np.eye(256, dtype=np.int64)[3] * 128,
}
_VALUES: Final = range(256)
"""What v can be where an entry's key shows."""


@attack(
    "malformed-vector",
    Means(frozenset({Party.DEVICE}), has="a modified device with keys that SEAL made"),
    Claim("a vector that is no hash reads no key", "docs/designs/he-hamming.md"),
    budget=f"{len(VECTORS)} requests, {SLOTS} entries",
    weakness=replacing((Evaluation, "_validity", lambda self, query, at: [])),
    needs=(needs.UNDER_BFV,),
    exposes="the list's labels",
)
def malformed_vector(arena: Arena) -> Figure:
    """Count the entries whose labels open."""
    small = arena.reduced()
    deployed = small.deployed(small.hashes(SLOTS, "list"), "set")
    vectors = arena.each(VECTORS.items())
    read = {name: (_slots_read(small, deployed, vector, _VALUES), SLOTS) for name, vector in vectors}
    return counted("entries read", read)


MARKS: Final = (1000, 2000, 4000, WEIGHT - 7000)
"""The sum of any of them is no v at which Z is 0; only that of none is."""
_SUMS: Final = [sum(chosen) for count in range(len(MARKS) + 1) for chosen in combinations(MARKS, count)]
_OFFSETS: Final = range(-8, 9)
"""By which an entry's weight moves v, for most of uniform hashes."""
FIRST: Final = 2 * DATA
"""Place of the first part of the relinearisation key, after two rotation keys."""
Forging: TypeAlias = Callable[[Ring, npt.NDArray[Any], Query, Keys], Keys]
"""Makes keys for a ring, vector and query of those that SEAL made."""


@attack(
    "own-relinearisation",
    Means(frozenset({Party.DEVICE}), has="a modified device with a relinearisation key of its own making"),
    Claim("Towards a modified device the list is not secret", "docs/designs/he-hamming.md"),
    budget=f"one request, {SLOTS} entries",
    needs=(needs.UNDER_BFV,),
    exposes="the list's labels",
)
def own_relinearisation(arena: Arena) -> Figure:
    """Count the entries whose labels open."""
    small = arena.reduced()
    deployed = small.deployed(small.hashes(SLOTS, "list"), "set")
    vector = np.array([*MARKS, *bytes(BITS - len(MARKS))]) % PLAIN_MODULUS
    values = [(one + offset) % PLAIN_MODULUS for one in _SUMS for offset in _OFFSETS]
    read = _slots_read(small, deployed, vector, values, _vanishing)
    arena.progress(1, 1)
    return counted("entries read", {"one request": (read, SLOTS)})


def _vanishing(ring: Ring, vector: npt.NDArray[Any], query: Query, keys: Keys) -> Keys:
    """`keys`, altered so that what checks this query of a vector x has x^2 = x.

    To relinearise the query's square, the matcher multiplies the first part of the key by d, the square's
    quadratic part modulo the first prime, which follows from the query. w / t added to that part, with t the
    modulus of plaintexts and q that of the square, takes w d / q from x^2; so w = q (x^2 - x) / d. It is 0
    where x is 0 or 1, so that slots there hold what they would with `keys`.
    """
    bounds = seal.primes(ring.degree)
    square = ring.query(query.seed, query.rows)
    for _ in range(DATA - CHECKED):
        ring.evaluator.mod_switch_to_next_inplace(square)
    ring.evaluator.square_inplace(square)
    quadratic = packing.parse_ciphertext(seal.saved(square))[0][2, 0].tolist()
    terms = [f"{one % PLAIN_MODULUS:X}x^{at}" for at, one in enumerate(quadratic)]
    d = ring.encoder.decode_uint64(seal.sealapi.Plaintext(" + ".join(reversed(terms))))
    off = [int(x * (x - 1)) % PLAIN_MODULUS for x in np.tile(vector, ring.degree // BITS)]
    q = prod(bounds[:CHECKED])
    values = [q * one * pow(by, -1, PLAIN_MODULUS) if one else 0 for one, by in zip(off, d, strict=True)]
    w = ring.plain(np.array([one % PLAIN_MODULUS for one in values]))
    added = [
        [w.data(at) * bounds[-1] * pow(PLAIN_MODULUS, -1, prime) % prime for at in range(ring.degree)]
        for prime in bounds[:DATA]
    ]
    made = ring.ciphertext(ring.context.first_parms_id(), np.array([added, added], np.uint64))
    ring.evaluator.transform_to_ntt_inplace(made)
    parts = packing.unpacked(keys.rows, KEY, keys.NAME, "rows")
    parts[FIRST, :DATA] += packing.parse_ciphertext(seal.saved(made))[0][0]
    parts[FIRST] %= np.array(bounds, np.uint64)[:, None]
    return Keys(keys.seeds, packing.packed(parts))


def _slots_read(
    arena: Arena,
    deployed: Deployed,
    vector: npt.NDArray[Any],
    values: Iterable[int],
    own: Forging | None = None,
) -> int:
    """How many entries open with what comes back for a vector, if v is one of `values`."""
    rng = arena.rng("client")
    setup = deployed.setup
    state = enrolled(deployed, rng)
    assert isinstance(state, Secret)
    ((role, matcher),) = deployed.states.items()
    query = Query(setup.epoch, *setup.ring.encrypt(state.coefficients, vector, rng))
    request: Request = deployed.request(role, query)
    if own is not None:
        assert isinstance(request.enrolment, Keys)
        request = Request(query, own(setup.ring, vector, query, request.enrolment))
    arena.spending.queries += 1
    (reply,) = deployed.design.answer(role, matcher, [request], rng, None).replies
    assert isinstance(reply, Reply)
    slots = setup.ring.decrypt(state.coefficients, packing.unpacked(reply.rows, 1, reply.NAME, "rows"))
    factors = [pow(z, -1, PLAIN_MODULUS) for z in map(indicator, values) if z]
    return sum(_opens(setup, slot, slots[:, slot], factors) for slot in range(setup.ring.degree))


def _opens(setup: Any, slot: int, held: npt.NDArray[Any], factors: list[int]) -> bool:
    """Does what a slot holds open the label there, divided by one of the factors?"""
    chunks = np.outer(factors, held) % PLAIN_MODULUS
    fitting = chunks[(chunks < 1 << 16).all(axis=1)].astype(">u2").view(np.uint8)
    keys = files.label_keys(fitting, setup.epoch)
    return any(setup.labels.unseal(key.tobytes(), slot) is not None for key in keys)
