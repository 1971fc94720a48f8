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

No figure is carried to a longer list than was measured: how it goes on there is not known.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from blindmatch_simulations.evaluation.assess.figures import FIGURES
from blindmatch_simulations.evaluation.assess.results import Measured
from blindmatch_simulations.evaluation.population.inputs import YEAR, Inputs
from blindmatch_simulations.evaluation.population.model import model
from blindmatch_simulations.evaluation.population.outputs import load
from blindmatch_simulations.evaluation.population.running import Subject
from blindmatch_simulations.measure.intervals import level_of
from blindmatch_simulations.measure.results import Figure
from blindmatch_simulations.report.view.ledger import Ledger
from blindmatch_simulations.report.view.schema import Evidence, State

SERVERS: Final = "servers"
READ: Final = {
    "phone": "phone_cpu_ms",
    "up": "query_up_bytes",
    "down": "query_down_bytes",
    "setup": "setup_bytes",
    "key": "key_life",
    "opened": "list_opened",
}
"""Figures of the row, by what is spent."""
OLDER: Final = "not in this results file"
BEYOND: Final = "not known beyond"
"""How the model says that a list is longer than any that was measured."""
LINEAR: Final = "work is linear"
"""How a row says that a design declares work that grows with the list."""


def costs_of(row: Measured, subject: Subject, inputs: Inputs, ledger: Ledger) -> dict[str, str]:
    """Take down what a design costs, or why that is not known."""
    keys = {name: figure_of(row, figure, ledger) for name, figure in READ.items()}
    keys[SERVERS] = ledger.add(f"cost/{row.id}/{SERVERS}", _servers(row, subject, inputs))
    return keys


def figure_of(row: Measured, name: str, ledger: Ledger) -> str:
    """Take down a figure of a row by its name in the catalogue."""
    figure = row.figures.get(name, Figure(None, OLDER))
    source = f"results.json: rows, {row.id}, figures, {name}"
    return ledger.add_figure(f"figure/{row.id}/{name}", FIGURES[name].title, figure, source, level_of(figure))


def _servers(row: Measured, subject: Subject, inputs: Inputs) -> Evidence:
    title = "Processor cores of all servers in the busiest hour at the EU's volume"
    unit = "cores"
    source = ("population.toml", f"results.json: rows, {row.id}, figures, server_cpu_ms")
    if not row.design.roles:
        why = "no server is asked about a picture"
        return Evidence(title=title, state=State.NOT_APPLICABLE, unit=unit, why=why, source=source)
    if subject.behaviour is None:
        return Evidence(title=title, state=State.NOT_MEASURED, unit=unit, why=subject.why, source=source)
    its = model(inputs, subject.behaviour, int(inputs.accounts.number.value), YEAR)
    each, times = load(its)["server_cores"]
    if each.value is None:
        return Evidence(title=title, state=State.NOT_MEASURED, unit=unit, why=each.why, source=source)
    most = float(np.max(times))
    grown = row.figures.get("server_growth_u", Figure(None))
    is_linear = LINEAR in grown.why or (grown.low or 0.0) > 0
    return Evidence(
        title=title,
        state=State.CALCULATED,
        value=each.value * most,
        low=None if each.low is None else each.low * most,
        high=None if each.high is None else each.high * most,
        interval="the ends of what was measured" if each.low is not None else "",
        unit=unit,
        n=each.n,
        at_least=is_linear and BEYOND in each.why,
        why=each.why,
        source=source,
    )
