"""Where games are played: a deployment with requests as small as its parameters allow, and the guesses."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final
from weakref import WeakKeyDictionary

from blindmatch_protocol.contract import NoMatch, Party, Voucher
from blindmatch_protocol.errors import ProtocolError

from blindmatch_simulations.conformance.bench import Bench
from blindmatch_simulations.conformance.leakage.knowledge import Guesses, guesses
from blindmatch_simulations.conformance.leakage.play import Behaviour, Event, Play, Table
from blindmatch_simulations.conformance.leakage.scenarios import Move
from blindmatch_simulations.conformance.leakage.worst import with_spoilt_label, with_worst
from blindmatch_simulations.conformance.settings import lowered
from blindmatch_simulations.inprocess.deployed import Deployed, opened, publish, run_session
from blindmatch_simulations.pictures.pool import Pool, Pooled

OWN: Final = -1
"""The number of a picture that the opponent asked about itself."""


@dataclass(frozen=True, slots=True, repr=False)
class Stage:
    """What a game needs.

    Attributes:
        pool: the pictures.
        table: the roles.
        known: what was guessed.
        values: the parameters that differ from their defaults.
        outputs: by picture, what an honest session of it gives whoever learns the outcome.
        own: by picture, what a device of the opponent's own and the roles see when it asks about it.
    """

    pool: Pool
    table: Table
    known: Guesses
    values: dict[str, int]
    outputs: dict[str, object]
    own: dict[str, list[Event]]


_STAGES: WeakKeyDictionary[Bench, Stage] = WeakKeyDictionary()


def stage_of(bench: Bench) -> Stage:
    """The stage of a run, made once."""
    if bench not in _STAGES:
        _STAGES[bench] = _made(bench)
    return _STAGES[bench]


def _made(bench: Bench) -> Stage:
    values = lowered(bench)
    pool = with_worst(bench, _deployed(bench, values, "publish", bench.pool).setup)
    honest, other = (_deployed(bench, values, purpose, pool) for purpose in ("publish", "other-key"))
    spoilt = with_spoilt_label(honest, pool.of("unopened")[0], bench)
    if spoilt is None:
        pool = pool.without("unopened")
    table = Table(spoilt or honest, other)
    outputs = {one.name: output_of(bench, table.deployed, one) for one in pool.pictures}
    known = guesses(table.deployed, pool, bench.rng("guesses"))
    own = {one.name: _asked_itself(bench, table, one) for one in pool.pictures}
    return Stage(pool, table, known, values, outputs, own)


def _asked_itself(bench: Bench, table: Table, one: Pooled) -> list[Event]:
    """A session of the opponent's own device, which shows it outcome and state; no part of the sequence."""
    rng = bench.rng(f"own/{one.name}")
    play = Play(table, Behaviour.HONEST, rng)
    events = [replace(event, move=OWN) for event in play.run((Move(one),))]
    return [*events, *(Event(Party.DEVICE, kind, OWN, data) for kind, data in play.ends)]


def output_of(bench: Bench, deployed: Deployed, one: Pooled) -> object:
    """The design's own outcome, which for a near design is not always the oracle's (a voucher's is).
    Whoever refuses a session has learnt nothing in it."""
    try:
        ran = run_session(deployed, one.item, bench.rng(f"output/{one.name}"))
    except ProtocolError:
        return NoMatch.__name__, [], False
    verdicts = [part.verdict for step in ran.rounds for part in step if part.verdict is not None]
    opened_later = isinstance(ran.outcome, Voucher) and bench.pool.matches(bench.design.info.relation, one)
    return type(ran.outcome).__name__, [verdict.label is not None for verdict in verdicts], opened_later


def _deployed(bench: Bench, values: dict[str, int], purpose: str, pool: Pool) -> Deployed:
    return opened(publish(bench.design, pool.entries, bench.rng(purpose), 1, values))
