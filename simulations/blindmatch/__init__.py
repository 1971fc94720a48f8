"""blindmatch for researchers: designs in one process, scenarios over real servers, results as data.

    import blindmatch as bm

    opened = bm.open_design("oprf-psi", pictures=bm.sample_pictures(2))
    opened.ask(bm.sample_pictures(3)[2]).outcome          'no match'

    for event in bm.play("oprf-psi", [...], threads=True): ...
    bm.frame(bm.figures(bm.load_results()))

It is a thin cover of `blindmatch_simulations`; docs/reference/results.md has all of it. For evaluation alone:
benign pictures, random lists.
"""

from blindmatch_protocol.codec.errors import BlindmatchError
from blindmatch_simulations.evaluation.assess.results import figures
from blindmatch_simulations.testbed.deployment.registry import all_designs as designs
from blindmatch_simulations.testbed.deployment.registry import load_design
from blindmatch_simulations.testbed.pictures.crops import BY_NAME as edits  # noqa: N811 - a mapping
from blindmatch_simulations.testbed.scenario import operations
from blindmatch_simulations.testbed.scenario.recording import Recording, read_recording
from blindmatch_simulations.testbed.scenario.run import Bounds, Event

from blindmatch.charting import Chart, ChartError, chart
from blindmatch.opening import Answer, InProcess, open_design, sample_pictures
from blindmatch.playing import (
    FramesError,
    Played,
    assess,
    attack,
    conformance,
    frame,
    load_results,
    play,
    population,
    table,
)

__all__ = [
    "Answer",
    "BlindmatchError",
    "Bounds",
    "Chart",
    "ChartError",
    "Event",
    "FramesError",
    "InProcess",
    "Played",
    "Recording",
    "assess",
    "attack",
    "chart",
    "conformance",
    "designs",
    "edits",
    "figures",
    "frame",
    "load_design",
    "load_results",
    "open_design",
    "operations",
    "play",
    "population",
    "read_recording",
    "sample_pictures",
    "table",
]
