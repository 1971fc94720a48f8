"""`make flood`: latency of everybody else's texts and checks beside hostile clients of relay and matcher.

make flood ARGS="--server relay --json flood.json"
"""

from __future__ import annotations

from functools import partial
from typing import Annotated, Final, Literal

import typer
from blindmatch_simulations.cli.bench import PairsOption, run_benches
from blindmatch_simulations.cli.commands import Commands, Found
from msgspec.structs import asdict

from hostile.flood import Flood, bench_flood, bench_matcher_flood

app = Commands(add_completion=False, pretty_exceptions_enable=False)


_FLOODS: Final = {"relay": bench_flood, "matcher": bench_matcher_flood}


@app.command()
def flood(
    server: Annotated[
        Literal["relay", "matcher"] | None,
        typer.Option("--server", help="Which server is attacked. [default: both]"),
    ] = None,
    texts: Annotated[
        int, typer.Option(min=10, help="Texts or checks, quiet and under attack, a round.")
    ] = 200,
    rate: Annotated[float, typer.Option(min=1, max=200, help="Texts or checks a second of all.")] = 40.0,
    pairs: PairsOption = 4,
    rounds: Annotated[int, typer.Option(min=1, max=100, help="How often each kind attacks.")] = 3,
    accounts: Annotated[int, typer.Option(min=1, max=64, help="Accounts of the hostile clients.")] = 4,
    at_once: Annotated[int, typer.Option(min=2, max=100, help="Attempts at once of each of them.")] = 16,
) -> Found:
    """Hostile clients of relay and matcher: latency of everybody else's texts and checks, for each kind.

    Four minutes a server. The ratio is that of median or 95th percentile, whichever is worse.
    """
    size = Flood(texts, rate, pairs, rounds, accounts, at_once)
    benches = [partial(_FLOODS[one], flood=size) for one in ([server] if server else _FLOODS)]
    return run_benches(benches, 1, 0, asdict(size) | ({"server": server} if server else {}))


if __name__ == "__main__":
    app()
