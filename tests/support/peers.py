"""What peers cost beside blindmatch, in turns: one run of a day, kept in docs/peers.json.

``make peers`` installs them in an environment of their own and measures, some minutes; `make pages` draws the
table from the file. A peer that cannot be installed or run is in it, too, with the reason.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache, partial
from itertools import count
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from blindmatch_protocol import group
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.errors import BlindmatchError
from blindmatch_protocol.codec.randomness import system_randomness
from blindmatch_protocol.crypto.oprf import Mode
from blindmatch_protocol.designs import device_list
from blindmatch_protocol.designs.oprf_psi import DESIGN
from blindmatch_protocol.group import LIBSODIUM, sodium
from blindmatch_protocol.group.backend import PUBLIC_ROWS
from blindmatch_protocol.picture import compiled, pdq
from blindmatch_protocol.picture.decode import thumbnail
from blindmatch_simulations.evaluation.bench.queries import _primitive
from blindmatch_simulations.evaluation.bench.scans import bench_scan
from blindmatch_simulations.measure.meter import Meter
from blindmatch_simulations.measure.processes import AloneError, output_of
from blindmatch_simulations.measure.results import Figure, Results, Row, Status, encode, read, results
from blindmatch_simulations.measure.row import BenchRow
from blindmatch_simulations.measure.yardstick import Cost, Reading, Run, cost_figures, reading, timed
from blindmatch_simulations.testbed.deployment.building import built
from blindmatch_simulations.testbed.inprocess.deployed import opened, publish
from blindmatch_simulations.testbed.pictures.crops import LICENCES, encoded, photograph
from blindmatch_simulations.testbed.pictures.pool import random_hashes
from msgspec import Struct
from msgspec.structs import astuple
from PIL import Image

from support import growth
from support.page_tables import ROOT, table
from support.voprf_world import entries

FILE: Final = ROOT / "docs" / "peers.json"
SCANS: Final = ROOT / "docs" / "scan.json"
SCRIPT: Final = Path(__file__).with_name("peers_outside.py")
ROUNDS: Final = 3
RUNS: Final = 5
MOST_SECONDS: Final = 1800.0
LEAST_SAME: Final = 0.9
"""Share of hashes that must be the same as the peer's, or the two do not do the same work."""
ENTRIES: Final = 1 << 15
LISTED: Final = 1 << 16
ASKED: Final = 100
ENGINES: Final = ("plain", "fast")
"""Ours without the extra `fast`, and with it once it pays."""
Task = Callable[[], object]


class PeerMissingError(BlindmatchError):
    """A peer could not be measured; the text says why, for the row."""


class Peers(Struct, frozen=True):
    """The interpreter of the peers' environment."""

    python: Path

    def run(self, peer: str, *arguments: Path | int) -> dict[str, Any]:
        """What `peers_outside.py` says of a peer; `PeerMissingError` if the environment lacks a package, or
        the peer fails."""
        command = [str(self.python), "-s", str(SCRIPT), peer, *map(str, arguments)]
        try:
            found: dict[str, Any] = json.loads(output_of(command, MOST_SECONDS))
        except AloneError as error:
            raise PeerMissingError(f"{peer} {error}") from error
        return found


def runs_of(measured: dict[str, Any]) -> list[Run]:
    """Runs as `peers_outside.py` prints them."""
    return [
        Run(Cost(*one["cost"]), Reading(*one["before"]), Reading(*one["after"])) for one in measured["runs"]
    ]


class Compared(NamedTuple):
    """One thing that both do: what, ours, how often in a task of ours; which of the peer's measurements make
    it up, and how many of each; which of `ENGINES` ours has."""

    what: str
    ours: Task
    count: int
    theirs: Mapping[str, int]
    engines: Sequence[str] = ENGINES


class Peer(NamedTuple):
    """A program of others: its package on PyPI, what is compared, what `peers_outside.py` is given, and what
    is wrong with what it found."""

    name: str
    package: str
    compared: Sequence[Compared]
    arguments: Sequence[Path | int | str] = ()
    wrong: Callable[[dict[str, Any]], str] = lambda found: ""

    def run(self, python: Path) -> dict[str, Any]:
        """What it measured; `PeerMissingError` if it cannot be run, or computes something else."""
        found = Peers(python).run(*self.arguments)
        if why := self.wrong(found):
            raise PeerMissingError(why)
        return found


class Alone(Peer):
    """No peer: the multiplications and hashes to the group of a check with proof, and nothing else of it."""

    def run(self, python: Path) -> dict[str, Any]:
        with computing("fast"):
            multiplications()
            before = reading()
            cost = timed(multiplications)
            runs = [{"cost": cost, "before": astuple(before), "after": astuple(reading())}]
        return {"version": "", "alone": {"count": 1, "runs": runs}}


NOT_RUN: Final = {
    ("APSI, `apsi` 0.3.0", "100 hashes asked, both sides"): "no wheel for this Python, and its build "
    "fetches other sources",
}
"""Peers that are known, and why they are not measured."""


@contextmanager
def computing(engine: str) -> Iterator[None]:
    """Let this process compute with or without machine code; what it compiled, it keeps."""
    fast = engine == "fast"
    compiled._saved_ns = (1 if fast else -1) << 62
    group.choose(group.Setting.AUTO if fast else group.Setting.LIBSODIUM)
    if fast:  # sums of proofs go over to jit when this process has made so many
        group.sum_products(*_summed())
    try:
        yield
    finally:
        group.choose(group.Setting.LIBSODIUM)


@cache
def _summed() -> tuple[Any, Any]:
    scalars = group.random_scalars(1, system_randomness())
    return np.repeat(scalars, PUBLIC_ROWS, axis=0), np.repeat(
        group.multiply_base(scalars), PUBLIC_ROWS, axis=0
    )


def all_peers(folder: Path) -> list[Peer]:
    """The peers, and what they are compared in."""
    names = (folder / f"set-{at}" for at in count())
    rng = system_randomness()
    listed = entries(random_hashes(ENTRIES, 1))
    build = lambda: built(DESIGN, listed, next(names), {})  # noqa: E731
    bare, proven = (_primitive(mode, ASKED) for mode in Mode)
    asked = {"crypto": ASKED, "look_up": 1}
    whole = f"set of {ENTRIES:,} hashes built, an entry, one thread"
    cached = f"{whole}; theirs: a server's cache over FourQ, all cores"
    several = f"{ASKED} hashes asked, both sides"
    shown = (Image.fromarray(photograph(name)).convert("RGB").resize((640, 480)) for name in LICENCES)
    pixels = [np.asarray(one) for one in shown]
    files = [encoded(Image.fromarray(one), "JPEG", quality=85) for one in pixels]
    for number, data in enumerate(files):
        (folder / f"{number}.jpeg").write_bytes(data)
    of_pixels = partial(_hash_pixels, pixels)
    of_files = partial(_hash_files, files)
    np.save(folder / "pixels.npy", np.stack(pixels), allow_pickle=False)
    held = opened(publish(device_list.DESIGN, random_hashes(LISTED, 2), rng))
    owns = [rng.take(32) for _ in range(20)]
    proof = f"{several}, both with proof"
    return [
        Peer("OpenMined PSI", "openmined-psi", [
            Compared(whole, build, ENTRIES, {"set_up": 1}),
            Compared(f"{several}, no proof; theirs with its look-up", bare, 1, asked),
            Compared(f"{several}, ours with proof, theirs without", proven, 1, asked),
        ], ("openmined", ENTRIES, ASKED, 2)),
        Peer("SecretFlow `spu`", "spu", [
            Compared(cached, build, ENTRIES, {"set_up": 1}),
        ], ("secretflow", ENTRIES, 2)),
        Peer("`voprf` (Rust)", "voprf", [
            Compared(proof, proven, 1, {"proven": ASKED}),
        ], ("voprf", ASKED, 1)),
        Alone("its multiplications alone", "", [
            Compared(f"{several}, with proof", proven, 1, {"alone": 1}, ENGINES[1:]),
        ]),
        Peer("`pdqhash`", "pdqhash", [
            Compared(
                "PDQ of a decoded photograph, 640x480",
                of_pixels, len(pixels), {"measured": 1},
            ),
        ], ("pdqhash", folder / "pixels.npy", 1), partial(_other_hashes, of_pixels)),
        Peer("python-threatexchange", "threatexchange", [
            Compared(
                "PDQ of a JPEG file as in a scan, 640x480",
                of_files, len(files), {"file": 1},
            ),
            Compared(
                f"a hash looked up among {LISTED:,}, within 31 bits",
                lambda: [device_list.find(held.setup, own) for own in owns], len(owns), {"look_up": 1},
            ),
        ], ("threatexchange", folder, LISTED, 1), partial(_other_hashes, of_files)),
    ]  # fmt: skip


@cache
def _operands() -> tuple[Rows, Rows, Rows]:
    """Scalars, uniform bytes and elements, `ASKED` of each."""
    rng = system_randomness()
    uniform = np.frombuffer(rng.take(64 * ASKED), np.uint8).reshape(ASKED, 64)
    return group.random_scalars(ASKED, rng), uniform, group.hash_to_group(uniform)


def multiplications() -> None:
    """Of `ASKED` hashes blinded, evaluated, unblinded; of their proof, verified; RFC 9497, section 2.2."""
    scalars, uniform, elements = _operands()
    group.hash_to_group(uniform)
    for _ in range(3):
        LIBSODIUM.multiply(scalars, elements)
        group.sum_products(scalars, elements)
    one = scalars[0].tobytes()
    point = elements[0].tobytes()
    for _ in range(5):
        sodium.multiply(one, point)
    for _ in range(2):
        sodium.multiply_base(one)
        sodium.add(point, point)


def _hash_pixels(pictures: Sequence[pdq.Pixels]) -> list[bytes]:
    found = []
    for one in pictures:
        small = compiled.thumbnail(lambda rows, one=one: pdq.luminance(one[rows]), *one.shape[:2])
        assert small is not None
        found.append(pdq.fingerprint(small).hash)
    return found


def _hash_files(files: Sequence[bytes]) -> list[bytes]:
    return [
        pdq.fingerprint(small).hash
        for data in files
        if (small := thumbnail(data, by=compiled.thumbnail)) is not None
    ]


def _other_hashes(ours: Callable[[], list[bytes]], found: dict[str, Any]) -> str:
    same = np.mean([a.hex() == b for a, b in zip(ours(), found["hashes"], strict=True)])
    return "" if same >= LEAST_SAME else f"only {same:.0%} of its hashes are those computed here"


def in_u(task: Task, times: int) -> float:
    """CPU time of one of so many things that a task does, in u."""
    before = reading()
    cost = timed(task)
    return cost_figures([Run(cost, before, reading())], times)["cpu_u"]


def turns(peer: Peer, python: Path) -> list[Row]:
    """Theirs and ours, round by round."""
    taken: dict[tuple[str, str], list[float]] = {}
    why = ""
    release = ""
    for _ in range(ROUNDS):
        try:
            found = peer.run(python)
        except PeerMissingError as error:
            why = str(error)
            break
        release = str(found["version"])
        for one in peer.compared:
            parts = (
                times * cost_figures(runs_of(found[key]), found[key]["count"])["cpu_u"]
                for key, times in one.theirs.items()
            )
            taken.setdefault((one.what, "theirs"), []).append(sum(parts))
            for engine in one.engines if compiled.loaded() else ENGINES[:1]:
                with computing(engine):
                    one.ours()
                    taken.setdefault((one.what, engine), []).append(in_u(one.ours, one.count))
    return [row_of(peer, one.what, release, why, taken) for one in peer.compared]


def row_of(
    peer: Peer, what: str, release: str, why: str, taken: Mapping[tuple[str, str], list[float]]
) -> Row:
    """Medians with lowest and highest; ours over theirs of each round. Nothing of a peer that failed."""
    figures = {}
    theirs = taken.get((what, "theirs"), [])
    for side in ("theirs", *ENGINES) if not why else ():
        costs = taken.get((what, side), [])
        if costs:
            figures[f"{side}_u"] = spread(costs, "u")
            figures[f"{side}_times"] = spread([a / b for a, b in zip(costs, theirs, strict=True)], "times")
    status = Status.MEASURED if figures else Status.NOT_MEASURED
    given = {"peer": peer.name, "package": peer.package, "version": release}
    return Row(id=what, status=status, parameters=given, figures=figures, why=why)


def spread(values: Sequence[float], unit: str) -> Figure:
    return Figure(statistics.median(values), "", min(values), max(values), len(values), unit=unit)


def compared() -> str:
    """The table of the performance page."""
    held: Results[Row] = read(FILE, Results[Row])
    rows = []
    for row in held.rows:
        peer = " ".join(str(row.parameters[name]) for name in ("peer", "version") if row.parameters[name])
        cells = [f"{told(row.figures.get(f'{one}_u'))}" for one in ("theirs", *ENGINES)]
        ratios = [told(row.figures.get(f"{one}_times")) for one in ENGINES]
        rows.append((row.id, peer, *([f"not run: {row.why}"] + [""] * 4 if row.why else [*cells, *ratios])))
    head = ("what", "peer", "theirs, u", "ours, u", "ours with `fast`, u", "ours over theirs", "with `fast`")
    return f"{where(held)}; medians of {ROUNDS} rounds in turns (lowest-highest).\n\n" + table(head, rows)


def scans() -> str:
    """The table of scans: u, and time where the reach is one."""
    held: Results[BenchRow] = read(SCANS, Results[BenchRow])
    lines: dict[str, dict[int, str]] = {}
    for row in held.rows:
        pixels = row.parameters.get("pixels")
        fast = int(row.parameters["fast"])
        what = {307_200: "JPEG 640x480", 12_000_000: "JPEG 4000x3000"}.get(
            int(pixels or 0), "a million pairs"
        )
        scale = 1e6 if row.id == "scan/pair" else 1.0
        figure = row.figures.get("cpu_u") or row.figures.get("times")
        if figure and row.id != "scan/decode":
            line = what + (", over decoding alone" if "times" in row.figures else ", u")
            lines.setdefault(line, {})[fast] = told(figure, scale)
    rows = [(what, cells.get(0, ""), cells.get(1, "not measured")) for what, cells in lines.items()]
    disturbed = Status.DISTURBED in {row.status for row in held.rows}
    words = " of runs that other work disturbed" if disturbed else ""
    return f"{where(held)}; medians (lowest-highest){words}.\n\n" + table(
        ("what", "numpy", "`make fast`"), rows
    )


def where(held: Results[Any]) -> str:
    """Day, machine and kernel."""
    backend = held.machine.group_backend
    return f"{growth.where(held)}, {backend[backend.find('jit') :]}"


def told(figure: Figure | None, scale: float = 1.0) -> str:
    """A figure with its spread; nothing for none."""
    if figure is None or figure.value is None or figure.low is None or figure.high is None:
        return ""
    low, middle, high = (
        f"{float(f'{scale * one:.3g}'):,g}" for one in (figure.low, figure.value, figure.high)
    )
    return f"{middle} ({low}-{high})"


def main(python: str) -> None:
    """Measure, and keep it."""
    meter = Meter(RUNS, 60.0)
    rows = list[Row]()
    bench_scan(meter, 1 << 14)
    SCANS.write_bytes(encode(results(Results[BenchRow], "blindmatch bench scan", {"runs": RUNS}, meter.rows)))
    with tempfile.TemporaryDirectory() as folder:
        for peer in all_peers(Path(folder)):
            rows += turns(peer, Path(python))
            print(peer.name, rows[-1].why or "measured", flush=True)  # noqa: T201
    for (peer_name, what), why in NOT_RUN.items():
        given = {"peer": peer_name, "package": "", "version": ""}
        rows.append(Row(id=what, status=Status.NOT_MEASURED, parameters=given, why=why))
    group.choose(group.Setting.AUTO)  # which the file names
    FILE.write_bytes(encode(results(Results[Row], "make peers", {"rounds": ROUNDS}, rows)))


if __name__ == "__main__":
    main(*sys.argv[1:])
