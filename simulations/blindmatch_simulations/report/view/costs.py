"""What a design costs: a phone, its data, and servers, each as a key of evidence.

In:   a row; how the design behaves in the model of a year, whose `load` has the servers' share.
Out:  keys by what is spent:

    phone    milliseconds of a picture: decoding, hashing and protocol, over the run's own list
    up, down bytes of a picture for matching, over the run's own list
    setup    bytes of a device's first set, over the run's own list
    servers  processor cores in the busiest hour of the EU's volume, over the list of the year's inputs,
             or over the longest list of which they were measured if that is shorter
    key      how long a key lasts at that volume
    opened   the share of the list that 1,000 modified phones open in a year

No figure is carried to a longer list than was measured: how it goes on there is not known, and `at_least`
says so where it grows or may grow.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from blindmatch_protocol.contract import Learner
from msgspec.structs import replace

from blindmatch_simulations.evaluation.assess.figures import FIGURES
from blindmatch_simulations.evaluation.assess.judging import DISTURBED, NOTHING
from blindmatch_simulations.evaluation.assess.results import Measured
from blindmatch_simulations.evaluation.population.inputs import YEAR, Inputs
from blindmatch_simulations.evaluation.population.model import mean_entries, model
from blindmatch_simulations.evaluation.population.outputs import load
from blindmatch_simulations.evaluation.population.running import Subject
from blindmatch_simulations.evaluation.studies.capacity import key_seconds
from blindmatch_simulations.measure.intervals import level_of
from blindmatch_simulations.measure.results import Figure
from blindmatch_simulations.report.view.ledger import Ledger, evidence_of
from blindmatch_simulations.report.view.schema import Evidence, State

SERVERS: Final = "servers"
KEY: Final = "key"
OPENED: Final = "opened"
READ: Final = {
    "phone": ("phone_cpu_ms", "device_growth_u"),
    "up": ("query_up_bytes", "query_growth_bytes"),
    "down": ("query_down_bytes", "query_growth_bytes"),
    "setup": ("setup_bytes", "setup_growth_bytes"),
}
"""The figure of a row by what is spent, and the figure of how it grows with the list."""
OLDER: Final = "not in this results file"
DAY_SECONDS: Final = 86_400
LINEAR: Final = "work is linear"
"""How a row says that a design declares work that grows with the list."""
LIST: Final = frozenset({"near", "equal"})


def costs_of(row: Measured, subject: Subject, inputs: Inputs, ledger: Ledger) -> dict[str, str]:
    """Take down what a design costs, or why that is not known."""
    wanted = mean_entries(inputs, YEAR)
    keys = {name: _over_list(row, name, wanted, ledger) for name in READ}
    keys[SERVERS] = ledger.add(f"cost/{row.id}/{SERVERS}", _servers(row, subject, inputs))
    keys[KEY] = key_of(row, inputs, ledger)
    keys[OPENED] = ledger.add(f"cost/{row.id}/{OPENED}", _opened(row))
    return keys


def figure_of(row: Measured, name: str, ledger: Ledger) -> str:
    """Take down a figure of a row by its name in the catalogue."""
    figure = row.figures.get(name, Figure(None, OLDER))
    source = f"results.json: rows, {row.id}, figures, {name}"
    return ledger.add_figure(f"figure/{row.id}/{name}", FIGURES[name].title, figure, source, level_of(figure))


def _over_list(row: Measured, name: str, wanted: float, ledger: Ledger) -> str:
    """Take down a cost that may grow with the list, with the length that it was measured over."""
    figure_name, growth_name = READ[name]
    figure = row.figures.get(figure_name, Figure(None, OLDER))
    evidence = evidence_of(
        FIGURES[figure_name].title,
        figure,
        f"results.json: rows, {row.id}, figures, {figure_name}",
        level_of(figure),
    )
    # a part of what grows: of the two directions of a query the growth is that of both together
    grows = bool(figure.value) and _grows(row, growth_name)
    return ledger.add(
        f"cost/{row.id}/{name}",
        replace(evidence, entries=row.entries, at_least=grows and wanted > row.entries),
    )


def _grows(row: Measured, name: str) -> bool:
    """Does a figure of growth say that more entries cost more, or leave open whether they do?"""
    grown = row.figures.get(name)
    if row.design.relation not in LIST or (grown is not None and grown.why.startswith(NOTHING)):
        return False
    if grown is None or grown.value is None:
        return True
    return (grown.value if grown.low is None else grown.low) > 0 or LINEAR in grown.why


def key_of(row: Measured, inputs: Inputs, ledger: Ledger) -> str:
    """Take down how long a key lasts until all accounts together have used up what it allows them.

    A key of C units in all, of which each of V pictures a day takes c, lasts 86,400 C / (c V) seconds.
    """
    title = "How long a key lasts at the EU's volume"
    source = ("population.toml", f"results.json: rows, {row.id}, key")
    if row.design.relation not in LIST or row.key is None:
        why = "the design has no list, or no key whose use is limited"
        evidence = Evidence(title=title, state=State.NOT_APPLICABLE, unit="s", why=why, source=source)
        return ledger.add(f"cost/{row.id}/{KEY}", evidence)
    seconds = life_of_key(row, inputs)
    why = "what a key allows all accounts together, over what their pictures take in a second"
    evidence = Evidence(
        title=title,
        state=State.NOT_APPLICABLE if seconds is None else State.CALCULATED,
        value=seconds,
        unit="s",
        why=why if seconds is not None else "nothing limits all accounts together",
        source=source,
    )
    return ledger.add(f"cost/{row.id}/{KEY}", evidence)


def life_of_key(row: Measured, inputs: Inputs) -> float | None:
    """Return the seconds after which a key is used up at the EU's volume; None if nothing uses it up."""
    if row.design.relation not in LIST or row.key is None:
        return None
    volume = inputs.accounts.number.value * inputs.activity.pictures_a_day.value
    return key_seconds(row.key.in_all, row.key.cost, volume)


def as_if_it_lasted(row: Measured, inputs: Inputs) -> str:
    """Say that a figure of a whole year takes a key to last that is used up before; nothing if it lasts."""
    life = life_of_key(row, inputs)
    if life is None or life >= YEAR * DAY_SECONDS:
        return ""
    return f"calculated as if its key answered all year; at this volume it is used up after {life:.2g} s"


def _opened(row: Measured) -> Evidence:
    """Return the share of the list that 1,000 modified phones open in a year."""
    figure = row.figures.get("list_opened", Figure(None, OLDER))
    source = f"results.json: rows, {row.id}, figures, list_opened"
    if row.design.relation not in LIST:
        figure = Figure(None, f"{NOTHING}: there is no list")
    evidence = evidence_of(FIGURES["list_opened"].title, figure, source)
    return replace(evidence, state=State.CALCULATED) if figure.value is not None else evidence


def _servers(row: Measured, subject: Subject, inputs: Inputs) -> Evidence:
    used = "server_cpu_ms"
    lacking = Evidence(
        title="Processor cores of all servers in the busiest hour at the EU's volume",
        state=State.NOT_MEASURED,
        unit="cores",
    )
    if Learner.CENTRE in row.design.learns:
        why = "what the centre spends on the vouchers of all pictures was not measured at this volume"
        return replace(lacking, why=why)
    if not row.design.roles:
        return replace(lacking, state=State.NOT_APPLICABLE, why="no server is asked about a picture")
    if subject.behaviour is None:
        return replace(lacking, why=subject.why)
    its = model(inputs, subject.behaviour, int(inputs.accounts.number.value), YEAR)
    each, times = load(its)["server_cores"]
    if each.value is None:
        return replace(lacking, why=each.why)
    measured = subject.behaviour.costs[used]
    if measured == row.figures.get("matcher_cpu_ms"):
        used = "matcher_cpu_ms"
    most = float(np.max(times))
    shorter = mean_entries(inputs, YEAR) > row.entries
    return replace(
        lacking,
        state=State.CALCULATED,
        value=each.value * most,
        low=None if each.low is None else each.low * most,
        high=None if each.high is None else each.high * most,
        interval="the ends of what was measured" if each.low is not None else "",
        n=measured.n,
        entries=row.entries,
        at_least=shorter and _grows(row, "server_growth_u"),
        disturbed=measured.why.startswith(DISTURBED),
        why="; ".join(filter(None, (measured.why, each.why, as_if_it_lasted(row, inputs)))),
        source=("population.toml", f"results.json: rows, {row.id}, figures, {used}"),
    )
