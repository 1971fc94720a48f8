"""`blindmatch bench`: speed and size, each row beside the unit u (docs/reference/performance.md)."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Final

import typer
from blindmatch_protocol.contract import SetParameters
from blindmatch_protocol.messages.franking import DEFAULT_MODE

from blindmatch_simulations.cli.bars import phases
from blindmatch_simulations.cli.certs import FrankingOption
from blindmatch_simulations.cli.commands import Commands, Found
from blindmatch_simulations.cli.console import ERR, SetOption, table, values_of
from blindmatch_simulations.evaluation.bench.accountability import (
    bench_absence,
    bench_endorsements,
    bench_epoch_log,
    bench_franking,
)
from blindmatch_simulations.evaluation.bench.loopback import bench_latency, bench_throughput, serving
from blindmatch_simulations.evaluation.bench.messages import Load, bench_messenger
from blindmatch_simulations.evaluation.bench.queries import (
    SEVERAL,
    bench_design,
    bench_parties,
    bench_primitives,
    unlisted_picture,
)
from blindmatch_simulations.evaluation.bench.scans import bench_scan
from blindmatch_simulations.evaluation.bench.sets import bench_import, bench_set
from blindmatch_simulations.evaluation.bench.table import COLUMNS, cells
from blindmatch_simulations.evaluation.bench.vouchers import Sizes, bench_vouchers
from blindmatch_simulations.evaluation.studies.near_bench import Options as Near
from blindmatch_simulations.evaluation.studies.near_bench import bench_near
from blindmatch_simulations.evaluation.studies.near_cost import MOST_CALLS
from blindmatch_simulations.measure.meter import Meter
from blindmatch_simulations.measure.results import Results, results
from blindmatch_simulations.measure.row import BenchRow
from blindmatch_simulations.testbed.deployment.registry import load_design

app = Commands(no_args_is_help=True)

Options = Mapping[str, int | float | str]
Bench = Callable[[Meter, Path], None]

SMALL_SET: Final = 12
"""Log2 of the set behind the throughput rows, where its size does not count."""

Log2nOption = Annotated[int, typer.Option("--log2n", min=1, max=22, help="The set has 2^this entries.")]
RunsOption = Annotated[int, typer.Option(min=1, max=1000, help="Runs of each row; figures are medians.")]
SecondsOption = Annotated[
    float, typer.Option(min=0, help="No further run of a row is begun after this long; each has one.")
]
RecordsOption = Annotated[int, typer.Option(min=1, max=20_000_000, help="Records of each imported file.")]
PicturesOption = Annotated[int, typer.Option(min=0, max=1_000_000, help="Pictures of 200 kB that are sent.")]
PairsOption = Annotated[int, typer.Option(min=1, max=64, help="Pairs of devices in each process.")]


def run_benches(benches: Sequence[Bench], runs: int, seconds: float, options: Options) -> Found:
    """Run benches, each in an empty folder; all rows, those before a failure too."""
    began = time.monotonic()
    meter = Meter(runs, seconds)
    broken = None
    try:
        with phases(ERR) as meter.phase:
            for bench in benches:
                with tempfile.TemporaryDirectory(prefix="blindmatch-bench-") as folder:
                    bench(meter, Path(folder))
    except BaseException as error:
        broken = error
    took = round(time.monotonic() - began, 1)
    sizes = {"runs": runs, "seconds": seconds, "took_s": took, **options}
    made = table("bench", COLUMNS, [cells(row) for row in meter.rows])
    return Found(results(Results[BenchRow], "blindmatch bench", sizes, meter.rows), (made,), error=broken)


@app.command("set")
def set_(
    log2n: Log2nOption = 16,
    runs: RunsOption = 3,
    seconds: SecondsOption = 60.0,
) -> Found:
    """The encrypted set: build, size, look-up, start of a device."""
    return run_benches([partial(bench_set, log2n=log2n)], runs, seconds, {"log2n": log2n})


@app.command("import")
def import_(
    records: RecordsOption = 100_000,
    runs: RunsOption = 3,
    seconds: SecondsOption = 60.0,
) -> Found:
    """Import of `pdq` lines, threatexchange CSV and NCMEC XML, generated for it."""
    return run_benches([partial(bench_import, records=records)], runs, seconds, {"records": records})


@app.command("query")
def query(
    log2n: Log2nOption = 16,
    calls: Annotated[int, typer.Option(min=1, max=450, help="Checks over loopback by one device.")] = 300,
    requests: Annotated[int, typer.Option(min=1, help="Requests of all devices, for the throughput.")] = 2000,
    devices: Annotated[int, typer.Option(min=1, max=256, help="Devices that ask at the same time.")] = 16,
    runs: RunsOption = 9,
    seconds: SecondsOption = 20.0,
) -> Found:
    """The private check of a hash: crypto alone, the design, over loopback gRPC, many devices at once."""

    def bench(meter: Meter, folder: Path) -> None:
        bench_primitives(meter)
        with serving(folder / "one", 1 << log2n, 1) as served:
            bench_design(meter, served.check, 1)
            bench_latency(meter, served, calls)
        with serving(folder / "several", 1 << min(log2n, SMALL_SET), SEVERAL) as served:
            bench_design(meter, served.check, SEVERAL)
            bench_throughput(meter, served, requests, devices)

    options = {"log2n": log2n, "calls": calls, "requests": requests, "devices": devices}
    return run_benches([bench], runs, seconds, options)


@app.command("parties")
def parties(
    designs: Annotated[list[str], typer.Argument(help="Designs: names or path.py:NAME.")],
    log2n: Log2nOption = 12,
    values: SetOption = None,
    runs: RunsOption = 5,
    seconds: SecondsOption = 20.0,
) -> Found:
    """What a picture costs the device and each role of a design: CPU time and bytes, without a network."""
    item = unlisted_picture()
    given = values_of(values)
    loaded = [load_design(name) for name in designs]
    for design in loaded:
        SetParameters(1, given).check(design.info)

    def bench(meter: Meter, folder: Path) -> None:
        for design in loaded:
            bench_parties(meter, design, item, 1 << log2n, given)

    return run_benches([bench], runs, seconds, {"log2n": log2n, **given})


@app.command("scan")
def scan(
    pictures: Annotated[int, typer.Option(min=2, max=100_000, help="The pairs are of so many.")] = 1 << 14,
    runs: RunsOption = 5,
    seconds: SecondsOption = 20.0,
) -> Found:
    """Hashes and pairs of `corpus scan`, by numpy and by the machine code of the extra `fast`."""
    benches: list[Bench] = [lambda meter, folder: bench_scan(meter, pictures)]
    return run_benches(benches, runs, seconds, {"pictures": pictures})


@app.command("messenger")
def messenger(
    texts: Annotated[int, typer.Option(min=10, max=10_000_000, help="Texts that are sent.")] = 2000,
    pictures: PicturesOption = 200,
    pairs: PairsOption = 4,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Processes with devices.")] = 2,
    franking: FrankingOption = DEFAULT_MODE,
) -> Found:
    """Texts and pictures through one relay: rate, latency at half of it, CPU time, memory on the way.

    Whether memory is flat over many texts: --texts 100000 --pictures 0.
    """
    load = Load(texts, pictures, workers, pairs, franking)
    options = {"texts": texts, "pictures_sent": pictures, "workers": workers, "pairs": pairs}
    every: Options = {**options, "franking": franking.value}
    return run_benches([partial(bench_messenger, load=load)], 1, 0, every)


@app.command("accountability")
def accountability(
    log2n: Log2nOption = 16,
    runs: RunsOption = 3,
    seconds: SecondsOption = 60.0,
) -> Found:
    """What can be shown to others: the log; endorsements, their audit, a match's check; absence; franking."""
    benches: list[Bench] = [
        partial(bench_absence, log2n=log2n),
        lambda meter, folder: bench_franking(meter),
        partial(bench_epoch_log, log2n=log2n),
        partial(bench_endorsements, log2n=log2n),
    ]
    return run_benches(benches, runs, seconds, {"log2n": log2n})


@app.command("threshold")
def threshold(
    design: Annotated[str, typer.Argument(help="A design with vouchers: its name or path.py:NAME.")] = (
        "threshold-psi"
    ),
    log2n: Log2nOption = 12,
    pictures: Annotated[int, typer.Option(min=100, max=100_000, help="Of the opened account.")] = 10_000,
    least: Annotated[int, typer.Option("--threshold", min=2, max=1000, help="t.")] = 30,
    stored: Annotated[
        int, typer.Option(min=100, max=20_000_000, help="Vouchers at the centre, written in bulk.")
    ] = 100_000,
    accounts: Annotated[int, typer.Option(min=0, max=100_000, help="Random ones around t.")] = 1_000,
    runs: RunsOption = 5,
    seconds: SecondsOption = 20.0,
) -> Found:
    """Vouchers: device, centre, table, an account opened, stored ones, accounts around the threshold."""
    loaded = load_design(design)
    if not loaded.vouchers:
        raise typer.BadParameter(f"DESIGN: {design} has no vouchers")
    sizes = Sizes(1 << log2n, pictures, least, stored, accounts)
    options = {"log2n": log2n, "pictures_sent": pictures, "threshold": least, "stored": stored}
    return run_benches(
        [lambda meter, folder: bench_vouchers(meter, folder, loaded, sizes)], runs, seconds,
        {**options, "accounts": accounts},
    )  # fmt: skip


@app.command("near")
def near_(
    log2n: Annotated[int, typer.Option("--log2n", min=4, max=24, help="The list has 2^this entries.")] = 20,
    crops: Annotated[int, typer.Option(min=5, max=600, help="Crops, each of which gets every edit.")] = 300,
    sessions: Annotated[int, typer.Option(min=1, help="Whole sessions with all cryptography.")] = 100,
    store_log2n: Annotated[
        int, typer.Option(min=4, max=22, help="The store that is built and asked has 2^this entries.")
    ] = 14,
    calls: Annotated[int, typer.Option(min=1, max=MOST_CALLS, help="Matches over loopback.")] = 100,
    runs: RunsOption = 9,
    seconds: SecondsOption = 20.0,
) -> Found:
    """token-psi: recall, entries revealed, cost, build, latency over loopback, and what extraction costs.

    Rows explained as "tokens" count without cryptography on large samples. The targets are those of
    --log2n 20 --store-log2n 20, whose store takes minutes to build.
    """
    options = Near(
        set_size=1 << log2n, crops=crops, sessions=sessions, store_size=1 << store_log2n, calls=calls
    )
    sizes = {"log2n": log2n, "crops": crops, "sessions": sessions, "store_log2n": store_log2n, "calls": calls}
    return run_benches([lambda meter, folder: bench_near(meter, folder, options)], runs, seconds, sizes)
