"""Runs the checks of one design, in the order of their table, and gathers their verdicts as data."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial, wraps
from time import perf_counter, process_time
from typing import Any, Final

from blindmatch_client.device import Device
from blindmatch_protocol.contract import AnyDesign
from msgspec import Struct, field

from blindmatch_simulations.evaluation.conformance import (
    correctness,
    declarations,
    determinism,
    draws,
    epochs,
    hostility,
    proofs,
    repetition,
    spellings,
    updates,
)
from blindmatch_simulations.evaluation.conformance.fixtures import CLOCKS, Clocks, Fixtures, lowered
from blindmatch_simulations.evaluation.conformance.hand_over import check_hand_over
from blindmatch_simulations.evaluation.conformance.leakage import games, list_secrecy, relations, timing
from blindmatch_simulations.evaluation.conformance.unseen.table import LINES
from blindmatch_simulations.testbed.inprocess.crashes import crash_of
from blindmatch_simulations.testbed.inprocess.verdict import (
    BrokenError,
    NotApplicableError,
    NotCheckedError,
    NotComparableError,
    Passed,
    Result,
    Verdict,
)


class Check(Struct, frozen=True):
    """A check: its name, what it claims of a design that passes, and how it is run."""

    name: str
    says: str
    run: Callable[[Fixtures], Passed]


def within(check: Callable[[Fixtures], Passed]) -> Callable[[Fixtures], Passed]:
    """The check of what is sent, and then, where that is sealed, of what the roles read in it."""

    @wraps(check)
    def both(fixtures: Fixtures) -> Passed:
        if fixtures.inside is None:
            return check(fixtures)
        found = list[Passed]()
        left = list[NotApplicableError | NotComparableError]()
        for where, one in (("sealed", fixtures), ("inside the seals", fixtures.inside)):
            try:
                passed = check(one)
                found.append(Passed(f"{where}: {passed.reason}", passed.figures))
            except (NotApplicableError, NotComparableError) as reason:
                left.append(reason)
            except BrokenError as broken:
                raise BrokenError(f"{where}: {broken.step}", broken.rule, **broken.evidence) from broken
        if not found:
            raise left[0]
        figures = {name: value for one in found for name, value in one.figures.items()}
        return Passed("; ".join(one.reason for one in found), figures)

    return both


def with_parameters(check: Callable[[Fixtures], Passed]) -> Callable[[Fixtures], Passed]:
    """The check, whose failures name the parameters that were lowered for it: with other values the design is
    another one, which may not fail."""

    @wraps(check)
    def named(fixtures: Fixtures) -> Passed:
        try:
            return check(fixtures)
        except BrokenError as broken:
            values = lowered_values(fixtures)
            if not values or PARAMETERS in broken.evidence:
                raise
            evidence = {**broken.evidence, PARAMETERS: ", ".join(f"{name} {n}" for name, n in values.items())}
            raise BrokenError(broken.step, broken.rule, **evidence) from broken

    return named


def lowered_values(fixtures: Fixtures) -> dict[str, int]:
    """The parameters that were lowered to make requests and files shorter, with their values."""
    asked = {one.name: one.default for one in fixtures.design.info.parameters} | fixtures.values
    return {name: value for name, value in lowered(fixtures).items() if asked.get(name) != value}


PARAMETERS: Final = "parameters"
"""Evidence: the lowered parameters, with their values."""
LOWERED: Final = frozenset(
    (
        "draws", "proofs", "repetition", "replays", "growth", "declarations", "relations", "simulator",
        "games", "malicious games", "list games", "timing",
    )
)  # fmt: skip
"""Checks for which parameters are lowered."""


def _naming(one: Check) -> Callable[[Fixtures], Passed]:
    return with_parameters(one.run) if one.name in LOWERED else one.run


CHECKS: Final[tuple[Check, ...]] = (
    Check("outcomes", "outcomes are the plaintext oracle's", correctness.check_outcomes),
    Check("codec", "a message has one encoding, and nothing else decodes", hostility.check_codec),
    Check(
        "hostile requests", "hostile requests are refused cleanly", within(hostility.check_hostile_requests)
    ),
    Check("hostile replies", "hostile replies are refused cleanly", within(hostility.check_hostile_replies)),
    Check("error texts", "errors spell no secret", spellings.check_error_texts),
    Check("order", "steps out of order do no harm", hostility.check_order),
    Check("epoch binding", "epochs are not mixed up", within(epochs.check_epoch_binding)),
    Check("other key", "a reply made with another key is not believed", within(epochs.check_other_key)),
    Check("state over epochs", "an account's state outlives an epoch", epochs.check_state_over_epochs),
    Check("fresh keys", "two epochs share no key", epochs.check_fresh_keys),
    Check("draws", "keys, blinds and nonces are drawn long enough", draws.check_draws),
    Check("proofs", "no key follows from two proofs", within(proofs.check_proofs)),
    Check("repetition", "nothing counts: a thousandth call is as the first", repetition.check_repetition),
    Check("replays", "a request that comes twice shows its carrier nothing", repetition.check_replays),
    Check("growth", "nothing that is kept grows with pictures or matches", repetition.check_growth),
    Check("tape", "sessions follow from their tapes", determinism.check_tape),
    Check("one set-up", "the set-up is the same for every device", determinism.check_setup),
    Check("executor", "threads change nothing", determinism.check_executor),
    Check("batches", "a reply does not depend on its batch", determinism.check_batches),
    Check("set-up files", "damaged set-up files are refused", epochs.check_setup_files),
    Check("role files", "damaged role files are refused", epochs.check_role_files),
    Check("update", "an update adds, removes and fits one place", updates.check_updates),
    Check("resources", "sizes and rounds are within bounds", declarations.check_resources),
    Check("declarations", "what follows from a request is declared", within(declarations.check_declarations)),
    Check("surroundings", "nothing but tape, picture and set decides", determinism.check_surroundings),
    Check("egress", "facts and tape explain every byte", within(declarations.check_egress)),
    Check("relations", "no parity of what is sent tells pictures apart", within(relations.check_relations)),
    Check("simulator", "the simulator's views are like real ones", within(games.check_simulator)),
    Check(
        "games", "honest roles cannot tell apart what agrees on the facts", within(games.check_semi_honest)
    ),
    Check("malicious games", "nor can cheating ones", within(games.check_malicious)),
    Check("list", "devices learn nothing of the list that is not declared", list_secrecy.check_list),
    Check("list knowledge", "stored files show what is declared", list_secrecy.check_list_knowledge),
    Check("list games", "two lists that agree on the facts look alike", list_secrecy.check_lists),
    Check("timing", "times of steps are measured, and alike where that is claimed", timing.check_timing),
    Check("hand-over", "a device hands a message over before it looks at the outcome", check_hand_over),
    Check("tightness", "declared facts are really disclosed", declarations.check_tightness),
    Check("entries", "every entry of a large set is found, and nothing else", correctness.check_entries),
    Check("full size", "outcomes hold in the sizes that devices use", correctness.check_full_size),
)

BY_NAME: Final = {check.name: check for check in CHECKS}

NOT_SEEN: Final[Mapping[str, str]] = {line.passes: line.why for line in LINES}
"""What a pass says nothing of, and why."""


QUICK: Final = (32, 48)
GAMES: Final = (2_000, 10_000)
"""Training and held-out runs: quick, per class of pairs; with the large games, per game."""


OF: Final = {"party": "at the", "item": "picture", "items": "pictures"}
"""Evidence that a failure's line gives, with what stands before it: who sees it, and of which pictures;"""
TOLD: Final = "field"
"""and the field that tells one from the other, with both values."""


class Options(Struct, frozen=True):
    """How a design is checked.

    Attributes:
        games: play the large games, with at least 10,000 held-out runs each.
        runs: other numbers of (training, held-out) runs for each class of pairs.
        only: names of the checks to run; all if it is empty.
        clocks: nanoseconds that a thread has worked, and that have passed, for the times of steps.
        device: the kind of device that is run whole.
    """

    seed: int = 1
    games: bool = False
    runs: tuple[int, int] | None = None
    values: Mapping[str, int] = field(default_factory=dict)
    only: Sequence[str] = ()
    clocks: Clocks = CLOCKS
    device: type[Device] = Device


class Report(Struct, frozen=True):
    """All verdicts on one design, and the seconds each took; CPU seconds where the work is done here."""

    design: str
    version: int
    seed: int
    games: bool
    results: tuple[Result, ...]
    seconds: Mapping[str, float]
    cpu_seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def failed(self) -> tuple[Result, ...]:
        return tuple(result for result in self.results if result.verdict is Verdict.FAILED)

    @property
    def unchecked(self) -> tuple[Result, ...]:
        """What did not come to its end."""
        return tuple(result for result in self.results if result.verdict is Verdict.NOT_CHECKED)

    def line(self, result: Result) -> str:
        """Design, step, rule and seed of a failure on one line."""
        rule = " ".join(result.rule.split())
        of = [f", {said} {result.evidence[name]}" for name, said in OF.items() if name in result.evidence]
        of += [f"; {result.evidence[TOLD]}"] if TOLD in result.evidence else []
        lowered_to = result.evidence.get(PARAMETERS)
        of += [f"; parameters lowered to {lowered_to}"] if lowered_to else []
        return f"{self.design}: {result.check}: {result.step}: {rule}{''.join(of)} (seed {self.seed})"


def go_on() -> str:
    """A `stop` that lets every check begin."""
    return ""


def check_design(
    design: AnyDesign,
    options: Options | None = None,
    watch: Callable[[str], None] = lambda name: None,
    stop: Callable[[], str] = go_on,
) -> Report:
    """Run the checks; `watch` is told the name of each before it runs. Once `stop` gives a reason, no further
    check begins: for that reason the rest is not checked."""
    options = options or Options()
    runs = options.runs or QUICK
    fixtures = Fixtures(design, options.seed, runs, options.values, options.clocks, options.device)
    fixtures.held_out = GAMES[1] if options.games else 0
    try:
        found = gathered(((one.name, _naming(one)) for one in CHECKS), fixtures, options.only, watch, stop)
    finally:
        fixtures.close()
    return Report(design.info.name, design.info.version, options.seed, options.games, *found)


def gathered(
    checks: Iterable[tuple[str, Callable[[Any], Passed]]],
    subject: Any,
    only: Sequence[str],
    watch: Callable[[str], None],
    stop: Callable[[], str] = go_on,
) -> tuple[tuple[Result, ...], dict[str, float], dict[str, float]]:
    """The verdicts of checks of one subject, and the seconds and CPU seconds that each took; see
    `check_design` for `stop`."""
    results = list[Result]()
    seconds = dict[str, float]()
    spent = dict[str, float]()
    design = getattr(subject, "design", None)
    for name, run in (one for one in checks if not only or one[0] in only):
        watch(name)
        start = perf_counter()
        used = process_time()
        why = stop()
        left_out = Result(name, Verdict.NOT_CHECKED, why)
        results.append(left_out if why else judged(name, partial(run, subject), design))
        seconds[name] = round(perf_counter() - start, 2)
        spent[name] = round(process_time() - used, 2)
    return tuple(results), seconds, spent


def judged(name: str, act: Callable[[], Passed], design: AnyDesign | None = None) -> Result:
    """The verdict of the check called `name`; an error nobody foresaw is a crash, and a failure of the design
    that it is of, too."""
    try:
        passed = act()
    except NotApplicableError as reason:
        return Result(name, Verdict.NOT_APPLICABLE, str(reason))
    except NotComparableError as reason:
        return Result(name, Verdict.NOT_COMPARABLE, str(reason))
    except NotCheckedError as reason:
        return Result(name, Verdict.NOT_CHECKED, str(reason))
    except BrokenError as broken:
        return Result(
            name, Verdict.FAILED, str(broken), step=broken.step, rule=broken.rule, evidence=broken.evidence
        )
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a plug-in may raise anything
        crash = crash_of(error, design)
        rule = f"crash: raises {crash.error}"
        seen = {"trace": "\n".join(crash.trace)}
        return Result(name, Verdict.FAILED, rule, step=crash.step, rule=rule, evidence=seen)
    return Result(name, Verdict.PASSED, passed.reason, passed.figures)


RESULT_VERSION: Final = 4
REPORTED: Final = ("check", "verdict", "reason", "figures", "step", "rule")


def as_json(report: Report, again: Sequence[str] = ()) -> dict[str, Any]:
    """The report as data; `again` is the command that runs all of it again."""
    return {
        "conformance": RESULT_VERSION,
        "design": report.design,
        "version": report.version,
        "seed": report.seed,
        "games": report.games,
        "failed": [result.check for result in report.failed],
        "not_seen": list(NOT_SEEN),
        "evidence": {result.check: dict(result.evidence) for result in report.failed},
        "again": {one.check: shlex.join([*again, "--only", one.check]) for one in report.failed if again},
        "checks": [
            {
                **{name: getattr(result, name) for name in REPORTED},
                "seconds": report.seconds[result.check],
                "cpu_seconds": report.cpu_seconds.get(result.check),
            }
            for result in report.results
        ],
    }
