"""What designs find of the reference corpus, by its hashes: recall of copies, false matches of others.

A design's matching is its relation where it finds all that matches, and bands of tokens where it has them.
`agreed` runs whole sessions on a sample, to see that they end as the hashes foretell. Intervals of what is
found of photographs are for another package (`another`); those of other kinds are over pictures of these
packages.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import as_file, files
from itertools import combinations
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
from blindmatch_protocol import contract as bm
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.randomness import seeded
from blindmatch_protocol.designs.slot_psi import DESIGN as SLOT_PSI
from blindmatch_protocol.designs.slot_psi.parameters import SLOTTING, Slotting
from blindmatch_protocol.designs.threshold_near import DESIGN as WIDE
from blindmatch_protocol.designs.threshold_near import Sizes, ThresholdNear
from blindmatch_protocol.designs.threshold_near.design import BY_COLUMNS
from blindmatch_protocol.designs.threshold_psi import ThresholdPsi
from blindmatch_protocol.designs.token_psi import Tokening
from blindmatch_protocol.designs.token_psi.tokens import PERMUTATION, common_tokens, entry_tokens, plan
from blindmatch_protocol.designs.wide_psi import DESIGN as WIDE_PSI
from blindmatch_protocol.designs.wide_psi import WideTokening
from blindmatch_protocol.designs.wide_psi.tokening import BY_RUNS
from blindmatch_protocol.picture.pdq import LEAST_QUALITY, MATCH_DISTANCE
from msgspec import Struct
from msgspec.structs import replace

from blindmatch_simulations.evaluation.corpus.bounds import paired
from blindmatch_simulations.evaluation.corpus.pairs import REACH
from blindmatch_simulations.evaluation.studies.another import (
    LEAST_PACKAGES,
    WORDS,
    Counts,
    Names,
    interval,
)
from blindmatch_simulations.evaluation.studies.false_matches import (
    ALL,
    FALSE,
    GROWTH,
    NearPairs,
    at_length,
    false_rows,
    near_pairs,
    pair_rows,
)
from blindmatch_simulations.evaluation.studies.near_tokens import FAR, ranks, revealed
from blindmatch_simulations.evaluation.studies.reference import PHOTOGRAPH, Reference, about
from blindmatch_simulations.evaluation.studies.slots import found_copies, lost_tokens
from blindmatch_simulations.measure.intervals import clustered_share, share
from blindmatch_simulations.measure.phases import PhaseProgress, each
from blindmatch_simulations.measure.results import Figure, Results, ResultsError, Row, Status, read
from blindmatch_simulations.testbed.inprocess.deployed import Deployed, opened, publish, run_session
from blindmatch_simulations.testbed.pictures.crops import BY_NAME, MILD
from blindmatch_simulations.testbed.pictures.pool import HashOnly

RECALL: Final = "evidence/recall"
EDIT: Final = "evidence/edit"
SIZE: Final = "evidence/size"
OF: Final = {RECALL: "kind", EDIT: "edit", SIZE: "size"}
"""Rows of photographs, and the parameter that tells those of one way to match apart."""
SESSIONS: Final = "evidence/sessions"
DIFFERENCE: Final = "evidence/difference"
FILE: Final = "evidence.json"
_ORDERS: Final = {PERMUTATION: "", BY_COLUMNS: " of columns", BY_RUNS: " of runs of columns"}
"""Which bits make up bands, in words."""
TOKENINGS: Final[tuple[type[Tokening], ...]] = (Tokening, WideTokening)
"""Ways to make tokens, each known by its parameters."""
TUNED_ON: Final = "clip art"
"""Bands of tokens were chosen on crops of scikit-image, which are not in the corpus, and on openclipart."""
SIZES: Final = (400, 800, 1024)
"""Pixels of the longer side of a file as it is sent, at most."""
Found = npt.NDArray[np.bool_]
Parameters = dict[str, int | float | str]
Bands: TypeAlias = Tokening | Sizes | Slotting


class Matching(Struct, frozen=True):
    """How a design matches: pictures of a least quality within a distance, of which tokens must agree.

    Attributes:
        within: bits; None if nothing matches.
        least_quality: of the picture that is asked about.
        tokening: of the bands; None where all within the distance is found.
    """

    within: int | None
    least_quality: int
    tokening: Bands | None = None

    @property
    def words(self) -> str:
        if self.within is None:
            return "nothing"
        bits = "equal hash" if self.within == 0 else f"distance <= {self.within}"
        t = self.tokening
        if t is None:
            return bits
        of = _ORDERS[t.order]
        slots = f", slots of {t.slot_bits} bits" if isinstance(t, Slotting) else ""
        return f"{bits}, {t.needed} of {t.bands} bands of {t.k} bits{of}, {t.probes} probes{slots}"


def matching_of(design: bm.AnyDesign) -> Matching | None:
    """A design's by default, made-up vouchers aside; None if hashes do not tell what it finds."""
    relation = design.info.relation
    if isinstance(relation, bm.Category):
        return None
    if isinstance(design, ThresholdNear):
        return Matching(relation.distance, relation.minimum_quality, design.sizes)
    bands = tokening_of(design, {}) or slotting_of(design, {})
    if bands is not None:
        return Matching(relation.distance, relation.minimum_quality, bands)
    told = relation.recall == 1 or isinstance(design, ThresholdPsi)
    return Matching(relation.distance, relation.minimum_quality) if told else None


def tokening_of(design: bm.AnyDesign, values: Mapping[str, int]) -> Tokening | None:
    """Return how a design makes tokens with these parameters and its defaults, or None if it makes none: that
    way whose parameters, ranges and all, are among its own."""
    held = {one.name: one for one in design.info.parameters}
    for kind in TOKENINGS:
        if all(held.get(one.name) == one for one in kind.declared):
            return kind(**{one.name: values.get(one.name, one.default) for one in kind.declared})
    return None


def slotting_of(design: bm.AnyDesign, values: Mapping[str, int]) -> Slotting | None:
    """Return how a design hides tokens in slots with these parameters and its defaults, or None if it does
    not."""
    held = {one.name: one for one in design.info.parameters}
    if any(one.name not in held for one in SLOTTING):
        return None
    return Slotting(**{one.name: values.get(one.name, held[one.name].default) for one in SLOTTING})


def found_of(corpus: Reference, matching: Matching, fill: Rows | None = None) -> Found:
    """Which copies are matched with their original, (m, edits); tokens that a list of the originals and
    `fill`, uint8 (n, 32), cannot hold are lost."""
    pairs = corpus.pairs
    shape = len(pairs.originals), len(pairs.names)
    if matching.within is None:
        return np.zeros(shape, np.bool_)
    found = (pairs.distances() <= matching.within) & (pairs.edited.qualities >= matching.least_quality)
    t = matching.tokening
    if isinstance(t, Slotting):
        found = found_copies(pairs, found, t, np.zeros((0, 32), np.uint8) if fill is None else fill)
    elif t is not None:
        hit = ranks(pairs, t.k, t.bands, t.probes, t.order) < t.probes
        if fill is not None:
            hit &= ~lost_of(np.concatenate([fill, pairs.originals.hashes]), t)[len(fill) + pairs.original]
        found &= hit.sum(axis=1) >= t.needed
    return np.asarray(found.reshape(shape))


def lost_of(hashes: Rows, bands: Bands) -> Found:
    """Which tokens of entries, (n, bands), a list of theirs does not have for them."""
    if isinstance(bands, Tokening):
        return plan(hashes, bands.k, bands.bands, bands.order).lost
    if isinstance(bands, Slotting):
        return lost_tokens(hashes, bands)
    shape = bands.k, bands.bands, bands.order
    own = entry_tokens(hashes, *shape)
    kept = common_tokens(hashes, *shape)
    return ~np.stack([np.isin(one, some) for one, some in zip(own.T, kept, strict=True)], axis=1)


def pdq_of(corpus: Reference) -> Found:
    """Which copies PDQ itself calls a match with their original, (m, edits)."""
    return found_of(corpus, Matching(MATCH_DISTANCE, LEAST_QUALITY))


def recall_rows(corpus: Reference, named: Parameters, matching: Matching, found: Found) -> list[Row]:
    """Return what a matching finds of the kinds that are no photographs, a row for each. Intervals are over
    pictures of these packages, of which there are too few for one that holds for another."""
    pdq = pdq_of(corpus)
    kinds = corpus.kinds[corpus.edited]
    rows = []
    for kind in sorted(set(kinds.tolist()) - {PHOTOGRAPH}):
        of = kinds == kind
        tuned = matching.tokening is not None and kind == TUNED_ON
        why = "not held out: bands were chosen on these" if tuned else ""
        shares = _recalls(corpus, found, pdq, of)
        figures = {name: by_picture(*share) for name, share in shares.items()}
        rows.append(Row(id=RECALL, parameters={**named, "kind": kind}, figures=figures, why=why))
    return rows


Shares: TypeAlias = dict[str, tuple[Found, Found]]
"""By name, which copies are hits and which ones count, (pictures, edits) each."""


def photograph_rows(corpus: Reference, named: Parameters, found: Found) -> list[Row]:
    """Return what a matching finds of photographs: of all copies, edit by edit, and by size. The corpus is
    keyed by the name of an edit: one of the suite of which it has no copies is *not measured*."""
    packages = corpus.packages[corpus.edited][corpus.photographs]
    rows = []
    for row, of, shares in shares_of_photographs(corpus, found):
        hits, trials = counted(shares)
        # photographs of other sizes are none of these
        which = trials[:, 0] > 0 if row == SIZE else np.ones(len(packages), np.bool_)
        names = list(shares)
        figures = for_another(names, hits[which], trials[which], packages[which]) if which.any() else {}
        rows.append(Row(id=row, parameters={**named, OF[row]: of}, figures=figures))
    for edit in (name for name in BY_NAME if name not in corpus.pairs.names):
        why = "the corpus has no copies with this edit"
        rows.append(Row(id=EDIT, status=Status.NOT_MEASURED, parameters={**named, "edit": edit}, why=why))
    return rows


def shares_of_photographs(corpus: Reference, found: Found) -> Iterator[tuple[str, str, Shares]]:
    """Yield what is counted of photographs: id of the row, of which kind, edit or size, and the shares."""
    of = corpus.photographs
    pdq = pdq_of(corpus)
    yield RECALL, PHOTOGRAPH, _recalls(corpus, found, pdq, of)
    mine = found[of]
    theirs = pdq[of]
    for at, edit in enumerate(corpus.pairs.names):
        one = mine[:, [at]]
        other = theirs[:, [at]]
        yield (
            EDIT,
            edit,
            {"found": (one, np.ones_like(one)), "pdq": (other, np.ones_like(one)), "of_pdq": (one, other)},
        )
    sides = corpus.sides[of].max(axis=1)
    least = 0
    for most in SIZES:
        every = np.broadcast_to(((sides > least) & (sides <= most))[:, None], mine.shape)
        words = f"{least + 1} to {most} pixels" if least else f"up to {most} pixels"
        yield SIZE, words, {"found": (mine, every), "pdq": (theirs, every), "of_pdq": (mine, theirs & every)}
        least = most


def _recalls(corpus: Reference, found: Found, pdq: Found, of: Found) -> Shares:
    """Return the shares of the edited pictures `of`."""
    far = (pdq & (corpus.pairs.distances().reshape(pdq.shape) > FAR))[of]
    mine = found[of]
    theirs = pdq[of]
    every = np.ones_like(pdq[of])
    mild = np.isin(corpus.pairs.names, [edit.name for edit in MILD])
    return {
        "found": (mine, every),
        "found_mild": (mine, every & mild),
        "found_strong": (mine, every & ~mild),
        "pdq": (theirs, every),
        "of_pdq": (mine, theirs),
        "beyond_24": (mine, far),
    }


def for_another(names: Sequence[str], hits: Counts, trials: Counts, packages: Names) -> dict[str, Figure]:
    """Return shares over copies, with the interval that another package is to lie in.

    Args:
        names: of the shares.
        hits, trials: of `counted`.
        packages: of each photograph, (photographs,).
    """
    many = len(np.unique(packages))
    low, high = interval(hits, trials, packages)
    figures = {}
    for at, name in enumerate(names):
        below = int(trials[:, at].sum())
        seen = int((trials[:, at] > 0).sum())
        if not below:
            figures[name] = Figure(None, "no such copy in the corpus")
            continue
        value = float(hits[:, at].sum()) / below
        words = f"{below} copies of {seen} photographs of {many} packages"
        if many < LEAST_PACKAGES:
            figures[name] = Figure(value, f"{words}: too few for an interval", n=below)
        else:
            figures[name] = Figure(value, f"{WORDS}; {words}", float(low[at]), float(high[at]), below)
    return figures


def counted(shares: Shares) -> tuple[Counts, Counts]:
    """Return how many copies of each picture are hits and how many count, (pictures, shares) each."""
    hits = [(hit & of).sum(axis=1) for hit, of in shares.values()]
    trials = [of.sum(axis=1) for _, of in shares.values()]
    return np.stack(hits, axis=1).astype(np.float64), np.stack(trials, axis=1).astype(np.float64)


def by_picture(hits: Found, of: Found) -> Figure:
    """Return the share of `of` that are `hits`, over copies; its interval, over pictures, is of these
    packages and not for another."""
    mine = (hits & of).sum(axis=1)
    trials = of.sum(axis=1)
    if not trials.sum():
        return Figure(None, "no such copy in the corpus")
    low, high = clustered_share(mine.tolist(), trials.tolist())
    words = f"95 %, {int(trials.sum())} copies of {int((trials > 0).sum())} pictures of these packages alone"
    return Figure(int(mine.sum()) / int(trials.sum()), words, low, high, int(trials.sum()))


def difference_row(corpus: Reference, first: tuple[str, Found], second: tuple[str, Found]) -> Row:
    """Two ways to match on the same copies of photographs: what the first finds more, of all copies and of
    those of `recall_figures`; where an interval has 0 in it, how many photographs would tell."""
    of = corpus.photographs
    one = first[1][of]
    other = second[1][of]
    pdq = pdq_of(corpus)[of]
    far = pdq & (corpus.pairs.distances().reshape(-1, pdq.shape[1])[of] > FAR)
    figures = {}
    for name, copies in (("found", np.ones_like(pdq)), ("of_pdq", pdq), ("beyond_24", far)):
        more = (one & copies).sum(axis=1) - (other & copies).sum(axis=1)
        figures[name], needed = paired(more, copies.sum(axis=1), corpus.packages[corpus.edited][of])
        if needed is not None:
            figures[f"{name}_needed"] = needed
    return Row(id=DIFFERENCE, parameters={"first": first[0], "second": second[0]}, figures=figures)


def others_of(corpus: Reference, near: NearPairs) -> Rows:
    """PDQ hashes of originals that are not edited, none within `REACH` of one that is."""
    edited = np.isin(np.arange(len(corpus.rows)), corpus.edited)
    left = ~edited
    left[near.first[edited[near.second]]] = left[near.second[edited[near.first]]] = False
    return corpus.prints[left, :32]


def token_row(corpus: Reference, named: Parameters, tokening: Bands, fill: Rows) -> Row:
    """What tokens lose and open beside what matches, in a list of the corpus's other originals, `fill`."""
    pairs = corpus.pairs
    copies = pairs.edited.take(np.asarray(np.abs(pairs.edited.coefficients).any(axis=1)))
    met = revealed(copies, fill, tokening)
    lost = lost_of(np.concatenate([fill, pairs.originals.hashes]), tokening)
    mine = lost[len(fill) :]
    figures = {
        "near_entries_of_10000": Figure(
            1e4 * met.count(tokening.needed) / len(copies),
            "other pictures' entries beyond the distance that copies open",
            n=len(copies),
            pairs=met.far_pairs,
        ),
        "tokens_lost": Figure(float(mine.mean()), f"in a list of {len(lost):,}", n=mine.size),
    }
    return Row(id="evidence/tokens", parameters={**named, "list": len(lost)}, figures=figures)


def agreed(corpus: Reference, design: bm.AnyDesign, matching: Matching, sessions: int) -> Figure:
    """The share of whole sessions that end as the hashes foretell, half of them of copies near the distance;
    the list is all photographs."""
    if design.info.sends_content is not bm.Content.NO:
        return Figure(None, "it sends pictures, and the corpus has none")
    listed = corpus.pairs.originals.hashes[corpus.photographs]
    rng = np.random.Generator(np.random.PCG64(list(design.info.name.encode())))
    distances = corpus.pairs.distances()
    mine = corpus.photographs[corpus.pairs.original]
    hard = np.flatnonzero(mine & (distances >= 20) & (distances <= 60))
    rest = np.setdiff1d(np.flatnonzero(mine & ((distances < 4) | (distances > REACH))), hard)
    both = rng.permutation(hard)[: sessions // 2], rng.permutation(rest)[: sessions - sessions // 2]
    chosen = np.sort(np.concatenate(both))
    values = {"threshold": 2, "synthetic": 0} if design.vouchers else {}
    if isinstance(matching.tokening, Tokening | Slotting):
        values = matching.tokening.values()
    place = opened(publish(design, listed, seeded("set"), 1, values))
    told = found_of(corpus, matching, np.zeros((0, 32), np.uint8)).ravel()[chosen]
    items = [corpus.pairs.edited.item(at) for at in chosen.tolist()]
    # where coefficients are not kept, all are equally far from the median
    items = [one if one.coefficients.any() else HashOnly(one.hash, one.quality) for one in items]
    if design.vouchers:
        got = _opened(place, items)
    else:
        got = [run_session(place, item, seeded("device")).found for item in items]
    return share(int((np.array(got) == told).sum()), len(chosen))


def _opened(place: Deployed, items: Sequence[HashOnly]) -> list[bool]:
    """Whether the centre opens each picture's voucher, all being of one account and device."""
    rng = seeded("device")
    bodies = list[bm.Message]()
    state = place.design.enrol(rng)
    for item in items:
        ran = run_session(place, item, rng, state)
        assert isinstance(ran.outcome, bm.Voucher)
        bodies.append(ran.outcome.body)
    files = {name: place.build.files[name] for name in place.build.published.opener}
    period = place.design.period(place.setup)
    labels = bm.open_all(place.design.open_opener(files), "account", "device", period, bodies)
    return [at in labels for at in range(len(items))]


def evidence(
    corpus: Reference, designs: Sequence[bm.AnyDesign], sessions: int, phase: PhaseProgress
) -> list[Row]:
    """All rows: of false matches, of each design's recall, of tokens, of so many whole sessions of each."""
    near = near_pairs(corpus.prints)
    fill = others_of(corpus, near)
    rows = list[Row]()
    for within in each((0, MATCH_DISTANCE), phase("pairs")):
        rows += false_rows(corpus, near, within)
    rows += pair_rows(corpus, near)
    known: dict[str, Found] = {}
    by_matching: dict[Matching | None, list[bm.AnyDesign]] = {}
    for design in designs:
        by_matching.setdefault(matching_of(design), []).append(design)
    for matching, alike in each(by_matching.items(), phase("ways to match")):
        named: Parameters = {"designs": ", ".join(one.info.name for one in alike)}
        if matching is None:
            why = "hashes alone do not tell what it finds"
            rows.append(Row(id=RECALL, status=Status.NOT_MEASURED, parameters=named, why=why))
            continue
        named["matching"] = matching.words
        found = known[str(named["designs"])] = found_of(corpus, matching, fill)
        rows += photograph_rows(corpus, named, found) + recall_rows(corpus, named, matching, found)
        if matching.tokening is not None:
            rows.append(token_row(corpus, named, matching.tokening, fill))
    rows += [difference_row(corpus, *two) for two in combinations(known.items(), 2)]
    for design in each(designs if sessions else (), phase("designs")):
        if (matching := matching_of(design)) is not None:
            figure = agreed(corpus, design, matching, sessions)
            rows.append(Row(id=SESSIONS, parameters={"design": design.info.name}, figures={"agreed": figure}))
    return rows


def committed() -> tuple[Row, ...]:
    """Rows of the committed evidence; raises what `committed_results` raises."""
    return committed_results().rows


@cache
def committed_results() -> Results[Row]:
    """The committed evidence, ``data/evidence.json``; `ResultsError` if the file is not whole, or of another
    corpus than the committed one."""
    with as_file(files("blindmatch_simulations.data").joinpath(FILE)) as path:
        found: Results[Row] = read(path, Results[Row])
    if found.options.get("corpus") != about()["arrays_sha256"]:
        raise ResultsError(f"{FILE}: is of another corpus than reference.json: run `corpus evidence` again")
    return found


def committed_figure(
    row: str,
    kind: str,
    name: str,
    design: str,
    within: int | None,
    values: Mapping[str, int],
    listed: str = ALL,
) -> Figure:
    """A figure of the committed evidence for a design; none if it has no row there, or matches otherwise.

    Args:
        row, kind, name: of the figure: `RECALL` or `FALSE`, a kind of picture (of `EDIT`, an edit), the name
            in that row.
        listed: of `FALSE`, the kind of list.
    """
    known = next((one for one in committed() if design in _names(one)), None)
    if known is None or "matching" not in known.parameters:
        return Figure(None, "the committed evidence does not have this design")
    of_tokens = "bands" in str(known.parameters["matching"])
    tokens = _bands_of(design, values) if of_tokens else None
    if Matching(within, LEAST_QUALITY, tokens).words != known.parameters["matching"]:
        at = f"{known.parameters['matching']}, the default parameters"
        return Figure(None, f"the committed evidence is of another way to match: {at}")
    wanted: dict[str, object] = {"edit" if row == EDIT else "kind": kind}
    if row == FALSE:
        wanted |= {"within": within, "list": listed}
    for one in committed():
        same = one.id == row and (row == FALSE or design in _names(one))
        if same and all(one.parameters.get(key) == value for key, value in wanted.items()):
            if one.status is Status.NOT_MEASURED:
                return Figure(None, f"not measured: {one.why}")
            found = one.figures[name]
            return replace(found, why="; ".join(filter(None, ("committed evidence", found.why))))
    if row == FALSE:
        return Figure(None, "the committed evidence does not have this distance")
    return Figure(None, f"not measured: the committed evidence has no {kind}")


def _bands_of(design: str, values: Mapping[str, int]) -> Bands:
    """Return the bands of a design that is known by its name, with these parameters and its defaults."""
    if design == WIDE.info.name:
        return WIDE.sizes
    if design == SLOT_PSI.info.name:
        return Slotting(**{one.name: values.get(one.name, one.default) for one in SLOTTING})
    tokening = WideTokening if design == WIDE_PSI.info.name else Tokening
    return tokening(**{one.name: values.get(one.name, one.default) for one in tokening.declared})


def false_rate(kind: str, listed: str, within: int, entries: float, name: str = "item") -> Figure:
    """Return the committed false-match rate of a kind of picture with a kind of list, at a length of list.

    Args:
        kind, listed: `ALL` or a kind of picture.
        within: bits, 0 or 31.
        entries: length of the list.
        name: `item`, or another figure of the row.
    """
    wanted = {"kind": kind, "list": listed, "within": within}
    rows = {one.id: one for one in committed() if one.parameters == wanted}
    if FALSE not in rows:
        return Figure(None, f"not measured: {kind} pictures, {listed} list, within {within}")
    grown = rows[GROWTH].figures["exponent"] if GROWTH in rows else Figure(None, "nothing matched")
    return at_length(rows[FALSE].figures[name], grown, entries)


def differences(designs: Collection[str]) -> list[Row]:
    """Of the committed evidence, between ways to match that some of `designs` have, and named by them."""
    rows = []
    for row in committed():
        sides = {
            side: ", ".join(one for one in str(row.parameters.get(side, "")).split(", ") if one in designs)
            for side in ("first", "second")
        }
        if row.id == DIFFERENCE and all(sides.values()):
            rows.append(replace(row, parameters=dict(sides)))
    return rows


def _names(row: Row) -> list[str]:
    return str(row.parameters.get("designs", "")).split(", ")
