"""Devices of several accounts pool what a key lets each of them ask for; the matcher's own ledger counts.

pooled-extraction  each asks up to its limit, and together they open what they can (`near.extraction`)
key-limits         the ledger alone, one request after the other: each asks on past its limit, and that of all

The tokens have 8 bits here and the limits are as small. What a list would lose at the default parameters is
projected from the formula, for uniform hashes.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

from blindmatch_protocol.contract import KeyLimits, Party
from blindmatch_protocol.designs.token_psi import Tokening
from blindmatch_protocol.designs.token_psi.extraction import best_share
from blindmatch_server.event_log import EventLog
from blindmatch_server.matching import budget
from blindmatch_server.matching.budget import Budget, BudgetError
from blindmatch_server.matching.store import MatcherStore

from blindmatch_simulations.attacks.adversary import AS_BUILT, Adversary, Claim, Means, replacing
from blindmatch_simulations.attacks.arena import Arena
from blindmatch_simulations.attacks.extraction import ENTRIES, SHORT
from blindmatch_simulations.attacks.figure import Figure, counted
from blindmatch_simulations.inprocess.deployed import Deployed
from blindmatch_simulations.studies.near.extraction import DEFAULT_LIMITS, extract, obtainable

ACCOUNTS: Final = (1, 2, 4, 8)
ALONE: Final = 96
TOGETHER: Final = 384
PAST: Final = 2
"""Requests that an account tries beyond its limit."""
MILLION: Final = 1_000_000


def extraction(arena: Arena) -> Figure:
    """Count the entries that open, by how many accounts pool."""
    opened, parts = 0, dict[str, float]()
    for accounts in arena.each(ACCOUNTS):
        deployed, rng = _set(arena), arena.rng(f"asked/{accounts}")
        granted = sum(_granted(_limits(deployed), accounts))
        opened = len(extract(deployed.setup, deployed.asking(rng), granted, rng))
        parts[f"accounts {accounts}, evaluations {granted}"] = float(opened)
    for accounts in (1, MILLION):
        share = best_share(obtainable(DEFAULT_LIMITS, accounts), Tokening())
        parts[f"share of a list projected, defaults: accounts {accounts:,}"] = round(share, 4)
    return Figure("entries opened", float(opened), opened > 0, ENTRIES, None, parts)


def past_limits(arena: Arena) -> Figure:
    """Count the requests that the ledger grants beyond a limit: of an account, and of all."""
    limits = _limits(_set(arena))
    spent = _granted(limits, ACCOUNTS[-1])
    arena.spending.queries += sum(spent) // limits.cost
    arena.progress(1, 1)
    beyond = sum(max(0, each - ALONE) for each in spent), max(0, sum(spent) - TOGETHER)
    tries = ACCOUNTS[-1] * (ALONE // limits.cost + PAST)
    names = "of an account", "of all together"
    cases = {name: (past // limits.cost, tries) for name, past in zip(names, beyond, strict=True)}
    return replace(counted("requests granted past a limit", cases), trials=tries)


def _set(arena: Arena) -> Deployed:
    limits = {"account_evaluations": ALONE, "all_evaluations": TOGETHER}
    return arena.deployed(arena.hashes(ENTRIES, "list"), "set", k=SHORT, bands=2, probes=16, **limits)


def _limits(deployed: Deployed) -> KeyLimits:
    """Of the one key, or of each of its shares: they are the same."""
    found = [deployed.design.key_limits(role, state) for role, state in deployed.states.items()]
    assert found[0] is not None
    return found[0]


def _granted(limits: KeyLimits, accounts: int) -> Sequence[int]:
    """Evaluations that a matcher's ledger grants each account that asks until, and past, it is refused."""
    with tempfile.TemporaryDirectory(prefix="blindmatch-attack-") as folder:
        return asyncio.run(_asked(Path(folder) / "ledger.sqlite", limits, accounts))


async def _asked(path: Path, limits: KeyLimits, accounts: int) -> list[int]:
    store, granted = MatcherStore(path), list[int]()
    ledger = Budget(store, lambda: 0.0, EventLog("matcher", lambda line: None))
    for number in range(accounts):
        granted.append(0)
        for _ in range(ALONE // limits.cost + PAST):
            with suppress(BudgetError):
                await ledger.check(f"mallory-{number}", limits)
                await ledger.spend(f"mallory-{number}", limits)
                granted[-1] += limits.cost
    await store.close()
    return granted


POOLED: Final = Adversary(
    name="pooled-extraction",
    means=Means(frozenset({Party.DEVICE}), has=f"{ACCOUNTS[-1]} accounts' modified devices"),
    claim=Claim("pooled over any number of devices, as far as the limits of the key allow"),
    budget=f"{', '.join(map(str, ACCOUNTS))} accounts, {ALONE} evaluations each and {TOGETHER} in all",
    move=extraction,
    weakness=AS_BUILT,
    against=frozenset({"token-psi"}),
)
KEY_LIMITS: Final = replace(
    POOLED,
    name="key-limits",
    claim=Claim("no more requests are counted and answered under a key than its limits allow"),
    budget=f"{ACCOUNTS[-1]} accounts, each {PAST} requests past its limit",
    move=past_limits,
    weakness=replacing((budget, "_check", lambda *_, **__: None)),
    against=frozenset({"token-psi", "split-token-psi"}),
)
