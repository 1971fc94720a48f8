"""`python -m blindmatch_vectors`: what there is, where it lies, and an implementation held against it."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import blindmatch_vectors
from blindmatch_vectors.cases import Case, cases_of
from blindmatch_vectors.counterpart import Counterpart, CounterpartError

PASSED = "passed"
FAILED = "failed"
NOT_CHECKED = "not checked"
UNANSWERED = 3
"""Exit code if the command cannot be asked."""


@dataclass(frozen=True)
class Verdict:
    """What came of a case; `why` is empty if it passed."""

    design: str
    step: str
    title: str
    verdict: str
    why: str = ""
    rule: str = ""
    failure_class: str = ""


def check(vector: Mapping[str, Any], counterpart: Counterpart) -> Iterator[Verdict]:
    """Yield the verdict of each case of a vector; raises `CounterpartError`."""
    sound: dict[str, bool] = {}
    for case in cases_of(vector):
        verdict, why = judge(case, counterpart.ask({**case.question, "design": vector["design"]}))
        if case.gives is not None:
            sound[case.step] = sound.get(case.step, True) and verdict == PASSED
        elif verdict == PASSED and not sound.get(case.step, False):
            verdict = NOT_CHECKED
            why = "it was refused, but what must be accepted in this step did not pass"
        yield Verdict(
            vector["design"],
            case.step,
            case.title,
            verdict,
            why,
            case.refused.get("rule", ""),
            case.refused.get("class", ""),
        )


def judge(case: Case, answer: tuple[str, Any]) -> tuple[str, str]:
    """Return the verdict of an answer, and why it is not *passed*."""
    told, content = answer
    if told == "lacks":
        return NOT_CHECKED, str(content)
    if case.gives is None:
        return (PASSED, "") if told == "refuses" else (FAILED, "it was accepted")
    if told == "refuses":
        return FAILED, f"it was refused: {content}"
    other = [name for name, value in case.gives.items() if name not in content or content[name] != value]
    return (FAILED, f"another {', another '.join(other)} than the vector's") if other else (PASSED, "")


def summary(verdicts: Iterable[Verdict]) -> Iterator[str]:
    """Yield a line for each step of each design, and one for each failed case."""
    counts: dict[tuple[str, str], Counter[str]] = {}
    failed = []
    for one in verdicts:
        counts.setdefault((one.design, one.step), Counter())[one.verdict] += 1
        failed += [one] if one.verdict == FAILED else []
    for (design, step), count in counts.items():
        told = ", ".join(f"{count[name]} {name}" for name in (PASSED, FAILED, NOT_CHECKED) if count[name])
        yield f"{design}: {step}: {told}"
    for one in failed:
        yield f"FAILED {one.design}: {one.step}: {one.title}: {one.why}"
        if one.rule:
            yield f"  it breaks the rule: {one.rule}"


def explanations(verdicts: Iterable[Verdict], vectors: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Yield for each class of a failed case the kind of bug and what goes wrong."""
    found = {}
    for one in verdicts:
        if one.verdict == FAILED and one.failure_class:
            found[one.failure_class] = vectors[one.design]["classes"][one.failure_class]
    for name, held in found.items():
        gain = "; an attack" if held["attack"] else ""
        yield f"{name} (bug: {held['bug']}{gain}): {held['explanation']}"


def run_check(arguments: argparse.Namespace) -> int:
    """Ask a command about all cases of the chosen designs, and print the verdicts; the exit code."""
    folder = Path(arguments.vectors)
    chosen = arguments.design or blindmatch_vectors.names(folder)
    unknown = sorted(set(chosen) - set(blindmatch_vectors.names(folder)))
    if unknown:
        sys.stderr.write(f"no vectors of {', '.join(unknown)}; `list` shows all\n")
        return 2
    vectors = {name: blindmatch_vectors.read(name, folder) for name in chosen}
    verdicts: list[Verdict] = []
    broken = ""
    try:
        with Counterpart(arguments.command, arguments.seconds) as counterpart:
            for vector in vectors.values():
                verdicts += check(vector, counterpart)
    except CounterpartError as error:
        broken = str(error)
    lines = [*summary(verdicts), *explanations(verdicts, vectors)]
    count = Counter(one.verdict for one in verdicts)
    lines.append(f"{count[PASSED]} passed, {count[FAILED]} failed, {count[NOT_CHECKED]} not checked")
    sys.stdout.write("\n".join(lines) + "\n")
    if arguments.json is not None:
        rows = [asdict(one) for one in verdicts]
        Path(arguments.json).write_text(json.dumps(rows, indent=1) + "\n", "utf-8")
    if broken:
        sys.stderr.write(f"the command {broken}\n")
        return UNANSWERED
    return 0 if count[PASSED] and not count[FAILED] else 1


def run_list(arguments: argparse.Namespace) -> int:
    """Print each design with its version and its number of cases."""
    for name in blindmatch_vectors.names():
        vector = blindmatch_vectors.read(name)
        cases = list(cases_of(vector))
        refused = sum(case.gives is None for case in cases)
        sys.stdout.write(f"{name} {vector['version']}: {len(cases)} cases, {refused} of them to be refused\n")
    return 0


def run_path(arguments: argparse.Namespace) -> int:
    """Print the folder of the files."""
    sys.stdout.write(f"{blindmatch_vectors.FOLDER}\n")
    return 0


def main(words: list[str] | None = None) -> int:
    """Run a command line and return its exit code."""
    parser = argparse.ArgumentParser(prog="blindmatch_vectors", description=__doc__)
    commands = parser.add_subparsers(required=True)
    commands.add_parser("list", help="the designs").set_defaults(run=run_list)
    commands.add_parser("path", help="the folder of the files").set_defaults(run=run_path)
    checking = commands.add_parser("check", help="hold a command against the vectors of designs")
    checking.add_argument("design", nargs="*", help="names of designs; all if none is given")
    checking.add_argument("--with", dest="command", required=True, help="the implementation's command line")
    checking.add_argument("--seconds", type=float, default=60.0, help="how long an answer may take")
    checking.add_argument("--json", help="a file for all verdicts")
    checking.add_argument(
        "--vectors", default=blindmatch_vectors.FOLDER / "designs", help="another folder of vectors"
    )
    checking.set_defaults(run=run_check)
    arguments = parser.parse_args(words)
    code: int = arguments.run(arguments)
    return code


if __name__ == "__main__":
    sys.exit(main())
