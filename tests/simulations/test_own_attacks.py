"""A plug-in file may bring attacks, which are played by what they need, and refused by name if malformed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from blindmatch_simulations.cli import exit_codes
from blindmatch_simulations.cli.app import run
from blindmatch_simulations.evaluation.attacks.arena import Arena
from blindmatch_simulations.evaluation.attacks.own import attacks_in
from blindmatch_simulations.evaluation.attacks.run import run_attack
from blindmatch_simulations.evaluation.attacks.table import ATTACKS, pairs
from blindmatch_simulations.testbed.deployment.registry import load_design

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "own_attack.py"
PAGE = (ROOT / "docs" / "how-to" / "check-a-design.md").read_text()
DESIGN = """
import msgspec
from blindmatch_simulations.data.bases.plain import ExactUpload


class Mine(ExactUpload):
    info = msgspec.structs.replace(ExactUpload.info, name="mine")


DESIGN = Mine()
"""


CHANGED = "msgspec.structs.replace(earlier_reply, "
RAISING = """
from blindmatch_simulations.evaluation.attacks.needs import Need


class Raising(list):
    def __iter__(self):
        raise RuntimeError("read")


class Nameless:
    @property
    def name(self):
        raise RuntimeError("named")


class Sly(str):
    def isprintable(self):
        return True


"""


def written(folder: Path, more: str) -> Path:
    path = folder / "mine.py"
    path.write_text(f"{EXAMPLE.read_text()}\n{DESIGN}\n{more}\n")
    return path


def test_the_attack_on_the_page_is_the_example() -> None:
    assert EXAMPLE.read_text().rstrip("\n") in PAGE


@pytest.mark.parametrize("name", ["oprf-psi", "token-psi"])
def test_the_example_is_withstood_and_succeeds_where_its_weakness_is_planted(name: str) -> None:
    (own,) = attacks_in(EXAMPLE, ATTACKS)
    arena = Arena(load_design(name), thorough=False)
    withstood, won = (run_attack(own, arena, weakened).figure for weakened in (False, True))
    assert (withstood.succeeded, withstood.trials, won.succeeded) == (False, 8, True)


@pytest.mark.parametrize("name", ["earlier-reply", "ATTACKS"])
def test_an_attack_of_a_file_is_played_by_what_it_needs(name: str, tmp_path: Path) -> None:
    out = tmp_path / "found.json"
    designs = ["--design", "oprf-psi", "--design", "device-list"]
    assert run(["attack", "run", f"{EXAMPLE}:{name}", *designs, "--json", str(out)]) == 0
    rows = {one["parameters"]["design"]: one for one in json.loads(out.read_text())["rows"]}
    assert {one["id"] for one in rows.values()} == {"earlier-reply"}
    assert rows["oprf-psi"]["succeeded"] is False
    assert rows["device-list"]["why"].startswith("needs replies bound to a key")


@pytest.mark.parametrize("more", ["", "ATTACKS = {'earlier-reply': earlier_reply}"])
def test_the_attacks_of_a_designs_file_are_played_beside_those_of_the_catalogue(
    more: str, tmp_path: Path
) -> None:
    design = load_design(f"{written(tmp_path, more)}:DESIGN")
    names = [one.attack.name for one in pairs([design])]
    assert names == [*ATTACKS, "earlier-reply"]
    assert "earlier-reply" not in ATTACKS


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("ATTACKS = 7", "ATTACKS must be a list, tuple or mapping of attacks, not int"),
        ("ATTACKS = [len]", "ATTACKS[0]: must be made by attack(...), and is of type"),
        ("ATTACKS = [earlier_reply, earlier_reply]", "ATTACKS[1]: earlier-reply is there twice"),
        ("ATTACKS = {'other': earlier_reply}", "ATTACKS['other'] is called 'earlier-reply'"),
        ("ATTACKS = [msgspec.structs.replace(earlier_reply, name='framing')]", "framing is blindmatch's own"),
        ("ATTACKS = [msgspec.structs.replace(earlier_reply, name='\\x1b[2J')]", "ATTACKS[0]: name: must be"),
        ("ATTACKS = [msgspec.structs.replace(earlier_reply, name=7)]", "ATTACKS[0]: name: must be"),
        ("ATTACKS = [msgspec.structs.replace(earlier_reply, means=7)]", "means: must be of type Means"),
        ("ATTACKS = [msgspec.structs.replace(earlier_reply, needs=(7,))]", "needs: must each be one of"),
        ("ATTACKS = [msgspec.structs.replace(earlier_reply, budget='a\\nb')]", "budget: must be a line"),
        ("ATTACKS = [msgspec.structs.replace(earlier_reply, move=7)]", "move: must be a function"),
        ("ATTACKS = [earlier_reply] * 101", "ATTACKS has 101 attacks, and may have 100"),
        (f"{RAISING}ATTACKS = Raising()", "ATTACKS cannot be read: RuntimeError"),
        (f"{RAISING}ATTACKS = {{'x': Nameless()}}", "ATTACKS[0]: must be made by attack(...)"),
        (f"{RAISING}ATTACKS = [{CHANGED}name=Sly('earlier-reply'))]", "ATTACKS[0]: name: must be"),
        (f"{RAISING}ATTACKS = [{CHANGED}budget=Sly('\\x1b[2J'))]", "budget: must be a line of text"),
        (f"ATTACKS = [{CHANGED}claim=Claim(5, 6))]", "claim: words and page must each be a line"),
        (f"ATTACKS = [{CHANGED}means=Means(5))]", "means: parties must be a frozenset"),
        (
            f"ATTACKS = [{CHANGED}means=Means(frozenset({{'a'}}), has='\\x1b'))]",
            "means: has must be",
        ),
        (f"{RAISING}ATTACKS = [{CHANGED}needs=(Need(5, len),))]", "needs: must each be one of"),
    ],
)
def test_attacks_that_are_malformed_are_refused_by_name(
    more: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, more)
    assert run(["attack", "run", "--design", f"{path}:DESIGN"]) == exit_codes.REFUSED_INPUT
    assert words in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("move", "words"),
    [
        ("lambda arena: 7", "WrongTypeError: the attack returned int, where a Figure must be"),
        ("lambda arena: {}['lost']", "KeyError"),
        ("lambda arena: __import__('os')._exit(3)", "EndedProcessError"),
        ("lambda arena: __import__('time').sleep(1e6)", "EndlessCallError"),
        ("lambda arena: Figure('x', 'zzz', False, 1)", "the attack's Figure is wrong: Expected `float`"),
        ("lambda arena: Figure('x', 1.0, False, 1, (1, 2, 3))", "the attack's Figure is wrong"),
        ("lambda arena: Figure('x', float('nan'), False, 1)", "a number that is not finite"),
        ("lambda arena: Figure('\\x1b[31m', 1.0, False, 1)", "words that are no line of text"),
        ("lambda arena: type('Late', (Figure,), {})('x', 1.0, False, 1)", "the attack returned Late"),
    ],
)
def test_an_attack_that_misbehaves_is_a_failed_row_and_the_others_are_played(
    move: str, words: str, tmp_path: Path
) -> None:
    more = "from blindmatch_simulations.evaluation.attacks.figure import Figure\n"
    more += f"ATTACKS = [msgspec.structs.replace(earlier_reply, name='mine', move={move}, needs=())]\n"
    path = written(tmp_path, f"{more}ATTACKS.append(earlier_reply)")
    out = tmp_path / "found.json"
    command = ["attack", "run", f"{path}:ATTACKS", "--design", "oprf-psi", "--json", str(out)]
    assert run(command) == 1
    rows = {one["id"]: one for one in json.loads(out.read_text())["rows"]}
    assert rows["mine"]["status"] == "failed" and words in rows["mine"]["why"]
    assert rows["earlier-reply"]["succeeded"] is False


def test_an_attack_that_a_file_does_not_bring_is_refused_with_those_it_does(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["attack", "run", f"{EXAMPLE}:other", "--design", "oprf-psi"]) == exit_codes.USAGE
    assert "its ATTACKS: earlier-reply" in " ".join(capsys.readouterr().err.replace("│", " ").split())
