"""A scenario played over real servers, and what is seen of it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from typing import Any

from blindmatch_client.trace import Purpose
from blindmatch_protocol.codec.errors import BlindmatchError
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.picture.decode import Picture
from blindmatch_protocol.picture.pdq import rows
from blindmatch_simulations.evaluation.assess.plan import QUICK, plan_text
from blindmatch_simulations.evaluation.assess.results import AnyResults, Results, results_in, rows_of
from blindmatch_simulations.measure.phases import silent
from blindmatch_simulations.measure.results import read
from blindmatch_simulations.testbed.audit import Audit, Evidence, audit_device
from blindmatch_simulations.testbed.deployment.registry import load_design
from blindmatch_simulations.testbed.scenario import run
from blindmatch_simulations.testbed.scenario.operations import (
    Operation,
    Publish,
    ScenarioError,
    SendPicture,
    account_of,
)
from blindmatch_simulations.testbed.scenario.recording import Writer
from blindmatch_simulations.testbed.scenario.run import Bounds, Event, counterpart, evidence
from blindmatch_simulations.testbed.scenario.world import World
from msgspec import Struct, field
from msgspec.structs import replace


class Played(Redacted, Struct, frozen=True):
    """A scenario that was played.

    Attributes:
        events: what was done, in order, each with its result, its error if it failed, and its cost.
    """

    events: Sequence[Event]
    audits: dict[str, Audit] = field(default_factory=dict)

    def rows(self) -> list[dict[str, Any]]:
        """One flat row an event, for `frame`: what was done, by whom, what came of it, and what it cost.

        Times are milliseconds; `matching_up`, `message_up` and so on are request bytes by purpose.
        """
        return [_row(event) for event in self.events]


def play(
    reference: str,
    operations: Iterable[Operation],
    home: Path | str | None = None,
    threads: bool = False,
    bounds: Bounds | None = None,
    record: Path | str | None = None,
    audit: bool = False,
) -> Played:
    """Make a deployment, play `operations` in it, and end it; `RegistryError` if there is no such design;
    `ScenarioError` if a bound is reached, something is no operation, a picture's file cannot be read, or an
    audit is asked for and not one epoch was published; `RecordingError` if the recording cannot be written.

    Args:
        reference: of the design: a name or path.py:NAME.
        operations: what is done; `operations.Publish` and `operations.Start` come first. Pictures are their
            files' bytes, or paths, which are read when it is their turn.
        home: a new folder for the deployment, which stays; None: a temporary one.
        threads: servers run in a thread of this process, which starts faster; else as processes.
        bounds: how many operations there may be, and for how long.
        record: a new file for a recording of the run (docs/reference/results.md).
        audit: whether what left each device is audited at the end; against the servers' counts, if all of
            them run then.
    """
    with ExitStack() as stack:
        if home is None:
            home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="blindmatch-"))) / "home"
        world = stack.enter_context(World.create(Path(home), reference))
        franking = world.deployment.franking.mode
        writer = None
        if record is not None:
            writer = Writer(Path(record), world.design, franking)
            stack.callback(writer.close)
            world.tell = writer.request
        events: list[Event] = []
        for event in run.play(world, map(_with_files, operations), bounds, threads):
            events.append(event)
            if writer is not None:
                writer.event(event)
        counted = world.counted() if world.running == world.parties else None
        seen = {name: evidence(world, name, counted=counted) for name in world.driven}
        if writer is not None:
            for one in seen.values():
                writer.device(one, run.shown(world, one))
        return Played(events, _audited(world, events, seen) if audit else {})


def _with_files(operation: Operation) -> Operation:
    match operation:
        case Publish(listed=tuple() | list() as listed):
            return replace(operation, listed=tuple(map(_bytes_of, listed)))
        case SendPicture(picture=picture):
            return replace(operation, picture=_bytes_of(picture))
    return operation


def _bytes_of(picture: bytes | Path | str) -> bytes:
    if not isinstance(picture, Path | str):
        return picture
    try:
        return Path(picture).read_bytes()
    except (OSError, ValueError) as error:
        raise ScenarioError(f"{picture}: cannot be read: {getattr(error, 'strerror', error)}") from error


def _audited(world: World, events: Sequence[Event], seen: Mapping[str, Evidence]) -> dict[str, Audit]:
    """Audits of all devices; the roles' list is that of the one epoch, as far as it is of pictures."""
    published = [one.operation for one in events if isinstance(one.operation, Publish) and not one.error]
    if len(published) != 1:
        raise ScenarioError(f"an audit is of one epoch, and {len(published)} were published")
    roles = counterpart(world, rows([Picture.from_bytes(data).hash for data in published[0].listed]))
    return {name: audit_device(roles, one) for name, one in seen.items()}


def _row(event: Event) -> dict[str, Any]:
    operation = event.operation
    cost = event.cost
    found = {
        "number": event.number,
        "at_ms": event.at_ms,
        "do": type(operation).__struct_config__.tag,
        "account": account_of(operation),
        "error": event.error,
        "outcome": event.outcome,
        "delivered": event.delivered,
        "wall_ms": None if cost is None else cost.wall_ms,
        "cpu_ms": None if cost is None else cost.cpu_ms,
    }
    return found | {f"{purpose}_up": 0 if cost is None else cost.up(purpose) for purpose in Purpose}


class FramesError(BlindmatchError):
    """The package for data frames is not installed; the text says how it is."""


def load_results(path: Path | str | None = None) -> AnyResults:
    """A results file, or the one in a folder, whole and as it was written; without one the documentation's
    sample. `ResultsError` if it is not there, edited, truncated or of another version."""
    if path is None:
        from blindmatch_simulations.evaluation.population.running import read_results

        return read_results(None)
    loaded: AnyResults = read(results_in(Path(path)), AnyResults)
    return loaded


def table(*paths: Path | str) -> list[dict[str, Any]]:
    """Rows of `figures` of many results: files, folders of `assess`, or folders of a sweep; `ResultsError` if
    one is not there, edited, truncated or of another version."""
    return [row for path in paths for row in rows_of(Path(path))]


def frame(rows: Iterable[Mapping[str, Any]], library: str = "pandas") -> Any:
    """Flat rows as a data frame of `library`: `pandas` or `polars`; `FramesError` if it is not installed."""
    try:
        frames = import_module(library)
    except ImportError:
        raise FramesError(f"{library} is not installed: pip install {library}") from None
    return frames.DataFrame(list(rows))


def assess(out: Path | str, designs: Sequence[str] = (), workload: Path | str | None = None) -> Results:
    """Measure designs, all if none is named, into a folder; it goes on where it was broken off. `workload` is
    a workload file; the quick one if it is None. A sweep is a call for each of its points."""
    from blindmatch_simulations.evaluation.assess.running import Assessment

    text = plan_text(Path(workload) if workload else None, QUICK)
    return Assessment(Path(out), text, list(designs), "blindmatch assess", silent).run()


def conformance(reference: str, only: Sequence[str] = (), seed: int = 1) -> dict[str, Any]:
    """Check a design, by all checks or those that are named; as `conformance --json`."""
    from blindmatch_simulations.evaluation.conformance.run import Options, as_json, check_design

    return as_json(check_design(load_design(reference), Options(seed=seed, only=only)))


def attack(name: str, reference: str, weakened: bool = False) -> Any:
    """Run an attack against a design, as `attack run --json`; results whose one row may be `NotPlayed`."""
    from blindmatch_simulations.evaluation.attacks.arena import Arena
    from blindmatch_simulations.evaluation.attacks.run import results_of, run_attack
    from blindmatch_simulations.evaluation.attacks.table import pairs

    (pair,) = (one for one in pairs([load_design(reference)]) if one.attack.name == name)
    rans = [] if pair.unplayed else [run_attack(pair.attack, Arena(pair.design), weakened)]
    return results_of(rans, weakened, [pair] if pair.unplayed else [])


def population(designs: Sequence[str], accounts: int, days: int = 365, seed: int = 1) -> dict[str, Any]:
    """Simulate a year, or other days, of accounts; as `population --json`, of the sample's results."""
    from blindmatch_simulations.evaluation.population.inputs import read_inputs
    from blindmatch_simulations.evaluation.population.running import Options, run

    return run(read_inputs(None), None, list(designs), Options(accounts, days, seed=seed))
