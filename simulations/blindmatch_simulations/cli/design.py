"""`blindmatch design`: what there is to run, and how a design's parameters are chosen."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from msgspec import to_builtins
from rich.table import Table

from blindmatch_simulations.cli import exit_codes
from blindmatch_simulations.cli.bars import phases
from blindmatch_simulations.cli.commands import Commands, Found
from blindmatch_simulations.cli.console import ERR, table
from blindmatch_simulations.cli.design_capacity import show_capacity
from blindmatch_simulations.cli.design_new import new_design
from blindmatch_simulations.data import committed
from blindmatch_simulations.testbed.deployment.registry import (
    Registered,
    all_designs,
    load_design,
    not_installed,
)

if TYPE_CHECKING:
    from blindmatch_protocol.designs.token_psi import Tokening
    from blindmatch_protocol.designs.voprf import Limits

    from blindmatch_simulations.evaluation.population.threshold import Rate
    from blindmatch_simulations.evaluation.studies.near_tuning import Frontier, Point, Wishes

app = Commands(no_args_is_help=True)
app.command("new")(new_design)
app.command("capacity")(show_capacity)

TUNABLE: Final = "token-psi"
SEED: Final = 23
KEY_DAYS: Final = 30
"""After which a proposed key expires."""
POINT_COLUMNS: Final = (
    *("k", "bands", "probes", "needed", "recall >= %", "held out %"),
    *("device u", "list costs", "bytes asked"),
)


COLUMNS = ("design", "option", "match", "who learns", "parties", "source")


@app.command("list")
def list_designs() -> Found:
    """List the designs: the option each is, what it matches, who learns the outcome."""
    return _show_designs(list(all_designs().values()), not_installed().values())


@app.command("show")
def show_design(
    name: Annotated[str, typer.Argument(help="A design: a name, or path.py:NAME.")],
) -> Found:
    """Show one design: what it declares, its parameters, and what it leaks to whom."""
    design = load_design(name)
    known = all_designs().get(design.info.name)
    source = known.source if known and known.design is design else name
    return _show_designs([Registered(design, source)])


def _show_designs(known: Sequence[Registered], more: Iterable[str] = ()) -> Found:
    made = table("designs", COLUMNS, [_row(one) for one in known], whole=("design", "parties"))
    lines = [f"options: {committed('options')['introduced']}"]
    lines += [f"{one.design.info.name}: {one.design.info.summary}" for one in known]
    return Found([_described(one) for one in known], (made, *lines, *more))


def _row(registered: Registered) -> tuple[object, ...]:
    info = registered.design.info
    option = f"{info.option} (nearest)" if info.differs else info.option
    learners = ", ".join(sorted(info.learns))
    parties = ",\n".join(sorted(info.parties)) or "nobody"
    return info.name, option, info.relation.words, learners, parties, registered.source


def _described(registered: Registered) -> dict[str, Any]:
    info = registered.design.info
    return {
        "name": info.name,
        "version": info.version,
        "option": info.option,
        "differs": info.differs,
        "summary": info.summary,
        "matches": info.relation.words,
        "distance": info.relation.distance,
        "learns": sorted(info.learns),
        "roles": {str(role): str(party) for role, party in info.roles.items()},
        "apart": [sorted(roles) for roles in info.apart],
        "sends_content": str(info.sends_content),
        "end_to_end": info.end_to_end,
        "forwarded": {str(role): str(party) for role, party in info.forwarded.items()},
        "parameters": {
            p.name: {"says": p.says, "unit": p.unit, "default": p.default, "least": p.least, "most": p.most}
            for p in info.parameters
        },
        "facts": [
            {
                "parties": sorted(leak.parties),
                "adversary": str(leak.adversary),
                "facts": {fact.name: fact.says for fact in leak.facts},
            }
            for leak in registered.design.leakage()
        ],
        "source": registered.source,
    }


@app.command("check")
def check_file(
    file: Annotated[str, typer.Argument(help="The design: path.py (its DESIGN), path.py:NAME, or a name.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Keep the assessment in this new folder, with its report.html."),
    ] = None,
) -> Found:
    """Check a design: the demo, conformance, attacks, and a quick assessment beside a built-in design.

    That one has the same kind of relation. It prints one screen: a verdict for each part, figures of both
    designs from the same pictures, and for what failed the command that runs that part alone. Each part runs,
    whatever the others came to. Conformance and attacks have budgets of work, in u, the CPU time of one
    ristretto255 multiplication: what does not begin within them is not checked. A base of `design new` takes
    about two minutes of CPU.

    Exit code 0 if all is as declared, 1 if a part failed or did not come to its end, 4 if there is no such
    file, 6 if no design can be loaded.
    """
    # a list of designs needs none of it
    from blindmatch_simulations.cli.design_check import check_design

    return check_design(file, out)


@app.command("tune")
def tune_design(
    design: Annotated[
        str, typer.Argument(help="The design; token-psi alone has parameters to tune.")
    ] = TUNABLE,
    log2n: Annotated[int, typer.Option("--log2n", min=4, max=24, help="The list has 2^this entries.")] = 20,
    recall: Annotated[
        float, typer.Option(min=0, max=100, help="Recall in percent, at least: by the interval's lower end.")
    ] = 99.0,
    device: Annotated[float, typer.Option(min=0, help="Most CPU of the device a picture, in u.")] = 900.0,
    photographs: Annotated[
        int,
        typer.Option(min=10, max=384, help="Of the reference corpus, each with every edit; half choose."),
    ] = 384,
) -> Found:
    """Draw the frontier of recall, device cost and list secrecy, and propose parameters and key limits.

    Half of the photographs choose, by the lower end of recall's interval; the rest measure what was chosen.
    u is the CPU time of one ristretto255 multiplication by libsodium on this machine. Exit code 1 if nothing
    meets the wishes, or the rest rule out the recall.
    """
    # a list of designs needs none of these
    import numpy as np

    from blindmatch_simulations.evaluation.studies.near_tuning import Wishes, tune
    from blindmatch_simulations.evaluation.studies.reference import read

    if design != TUNABLE:
        raise typer.BadParameter(f"only {TUNABLE} has parameters to tune, not {design}")
    wishes = Wishes(1 << log2n, recall, device)
    corpus = read()
    of = np.random.Generator(np.random.PCG64(SEED)).permutation(np.flatnonzero(corpus.photographs))
    with phases(ERR) as begin:
        found = tune(corpus.pairs.of(of[:photographs]), wishes, SEED, begin("combinations"))
    return _tuned(design, photographs, wishes, found)


def _tuned(design: str, photographs: int, wishes: Wishes, found: Frontier) -> Found:
    from blindmatch_simulations.evaluation.studies.near_bench import limits_for

    least = wishes.recall - 5
    shown = [_cells(point) for point in found.points if 100 * point.merits[0] >= least]
    made = table(f"frontier of {design} from {least:g} % recall on", POINT_COLUMNS, shown)
    result: dict[str, Any] = {"result_version": 2, "photographs": photographs, "wishes": to_builtins(wishes)}
    result |= {"points": list(map(to_builtins, found.points))}
    if found.proposal is None:
        words = "no combination does all that was asked for: lower a wish"
        return Found(result | {"proposal": None, "limits": None}, (made, words), exit_codes.WRONG)
    expires = int(time.time()) + KEY_DAYS * 86_400
    tokening = found.proposal.tokening
    limits = limits_for(tokening, wishes.alone, wishes.pooled, expires)
    result |= {"proposal": to_builtins(found.proposal), "limits": limits.values()}
    result["assess"] = assess_line(design, tokening, limits)
    words, held = _held_out(found.proposal, wishes.recall)
    code = 0 if held else exit_codes.WRONG
    return Found(result, (made, *_proposed(design, tokening, limits), words), code)


def _held_out(point: Point, wished: float) -> tuple[str, bool]:
    """What photographs say that chose nothing, and whether they leave room for the recall that was wished."""
    found = point.held_out
    if found is None or found.value is None or found.low is None or found.high is None:
        return "held out: no matching pair, so recall is not known there", False
    low = 100 * found.low
    high = 100 * found.high
    verdict = "met" if low >= wished else "not met" if high < wished else "unsure"
    told = f"recall {100 * found.value:.2f} % ({low:.2f} to {high:.2f}; {found.why})"
    return f"held out: {told}: {wished:g} % is {verdict} on photographs that chose nothing", high >= wished


T_COLUMNS: Final = ("account", "pictures", "t alone", "t, bursts", "synthetic", "opens from", "one more")
T_SAYS: Final = (
    "t alone: if false matches are independent; t, bursts: with those. A t above the pictures of an account "
    "is never reached. synthetic: most vouchers, but for 1 account in 10,000. opens from: real matches that "
    "open all. one more: advantage in guessing whether an account has one more match. Matches are counted by "
    "hash: edited copies of one picture that are listed, or near an entry, are several; the same hash sent "
    "again is one."
)
YEAR_COLUMNS: Final = ("false matches", "independent", "with bursts")


@app.command("threshold")
def choose_threshold(
    design: Annotated[str, typer.Option(help="Whose false matches: a row of the results.")] = TUNABLE,
    rate: Annotated[
        float | None, typer.Option(min=0, max=1, help="False matches a picture [default: as measured].")
    ] = None,
    days: Annotated[int, typer.Option(min=1, max=3650, help="Of a period: a key's life.")] = 30,
    error: Annotated[
        float, typer.Option(min=1e-15, max=0.5, help="Chance that false matches open an account in a period.")
    ] = 1e-12,
    threshold: Annotated[int, typer.Option(min=1, max=1000, help="The t of the year's table.")] = 30,
    bursts: Annotated[
        float, typer.Option(min=0, max=1000, help="Of false matches, an account and period, mean: assumed.")
    ] = 1e-3,
    burst_size: Annotated[
        float, typer.Option(min=1, max=200, help="Matches of a burst, mean: assumed.")
    ] = 10,
    synthetic: Annotated[
        float, typer.Option(min=0, max=0.5, help="Share of pictures with a synthetic voucher.")
    ] = 0.01,
    coordinates: Annotated[int, typer.Option(min=1, max=256, help="Of a share (D).")] = 32,
    results: Annotated[Path | None, typer.Option(help="As population has it.")] = None,
    inputs: Annotated[Path | None, typer.Option(help="As population has it.")] = None,
    plot: Annotated[Path | None, typer.Option("--plot", help="Also draw it into this SVG file.")] = None,
) -> Found:
    """How many matches must an account have before any is opened, so that false ones hardly ever open one?

    For independent false matches, and for bursts (an album, variants of one picture), whose number nobody has
    measured. Also what synthetic vouchers hide of an account below the threshold, and how often false
    matches open an account in a year, once a period at most. How many pictures accounts send is as in
    `population`.
    """
    from blindmatch_simulations.evaluation.assess.results import write_whole
    from blindmatch_simulations.evaluation.population import threshold as chances
    from blindmatch_simulations.evaluation.population.inputs import read_inputs
    from blindmatch_simulations.evaluation.population.running import rates as measured

    given = read_inputs(inputs)
    asked = chances.Asked(days, error, threshold, chances.Bursts(bursts, burst_size), synthetic, coordinates)
    rates = [chances.Rate("given", rate, "--rate")] if rate is not None else measured(design, results, given)
    made = chances.chosen(asked, rates, given)
    if plot is not None:
        from blindmatch_simulations.report.briefing import vega_lite_svg

        write_whole(plot, vega_lite_svg(chances.plot(asked, made)).encode())
    shown = _chosen(made, rates, int(given.accounts.number.value))
    return Found(made, (*shown, T_SAYS, *(f"{one.name}: {one.source}" for one in rates), made["says"]))


def _chosen(made: dict[str, Any], rates: Sequence[Rate], accounts: int) -> Iterator[Table]:
    """Thresholds for each rate; and what the one that was asked about opens in a year."""
    asked = made["asked"]
    title = f"smallest t for an account error of {asked['error']:g} in {asked['days']} days"
    rarity = {
        one.name: f"{one.name}, 1 in {1 / one.rate:,.0f}" if one.rate else f"{one.name}, none"
        for one in rates
    }
    for name, says in rarity.items():
        shown = [
            (
                one["account"], f"{one['pictures']:,}", _most(one["independent"]), _most(one["bursts"]),
                one["synthetic"], _most(one["utility"]), f"{one['advantage']:.2f}",
            )
            for one in made["thresholds"]
            if one["rate"] == name
        ]  # fmt: skip
        yield table(f"{title}; {says}", T_COLUMNS, shown)
    year = [
        (rarity[one["rate"]], *(f"{one[of]:,.0f}" for of in ("independent", "bursts")))
        for one in made["year"]
    ]
    whole = f"times an account of {accounts:,} opens wrongly in a year at t = {asked['threshold']}"
    yield table(whole, YEAR_COLUMNS, year)


def _most(least: int | None) -> str:
    return "over 10,000" if least is None else f"{least:,}"


def _proposed(design: str, tokening: Tokening, limits: Limits) -> Iterator[str]:
    yield f"proposal: blindmatch list build NAME --design {design} {_set(tokening, limits)}"
    yield f"measured: {assess_line(design, tokening, limits)}"
    counts = (limits.account_evaluations, limits.all_evaluations)
    each, everyone = (f"{count // tokening.tokens:,}" for count in counts)
    due = "before that or before the key expires"
    may = f"an account may have {each} pictures matched in the key's life, all together {everyone}"
    yield f"{may}: publish a full set, with a new key, {due}"


def assess_line(design: str, tokening: Tokening, limits: Limits) -> str:
    """The command that measures the design as it is proposed."""
    return f"blindmatch assess --designs {design} {_set(tokening, limits)} --out DIR"


def _set(tokening: Tokening, limits: Limits) -> str:
    return " ".join(f"--set {name}={value}" for name, value in (tokening.values() | limits.values()).items())


def _cells(point: Point) -> tuple[object, ...]:
    value = point.held_out.value if point.held_out else None
    t = point.tokening
    costs = (f"{point.device_u:.0f}", f"{point.secrecy:,.3g}", point.request_bytes)
    recalls = f"{100 * point.merits[0]:.2f}", f"{100 * value:.2f}" if value is not None else "not known"
    return (t.k, t.bands, t.probes, t.needed, *recalls, *costs)
