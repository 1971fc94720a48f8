"""The design in docs/tutorials/your-design.md is the one in examples/; the contract page has every part."""

from __future__ import annotations

import re
from ast import literal_eval
from collections.abc import Mapping
from inspect import Parameter, isfunction, signature
from pathlib import Path
from types import FunctionType

import numpy as np
import pytest
from blindmatch_protocol import contract as bm
from blindmatch_protocol.codec import (
    Bool,
    Fixed,
    Matrix,
    Message,
    Nested,
    Sequence,
    Text,
    UInt,
    Variable,
)
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.codec.randomness import seeded
from blindmatch_protocol.codec.randomness import seeded as randomness
from blindmatch_protocol.designs.facts import EPOCH, QUERY_TIME, UNVERIFIED_REPLY
from blindmatch_protocol.picture.decode import Picture
from blindmatch_protocol.sets import plain_list
from blindmatch_simulations.cli.app import run
from blindmatch_simulations.evaluation.conformance.leakage.list_secrecy import LIST_FACT
from blindmatch_simulations.evaluation.conformance.leakage.lists import NEAR_ENTRIES
from blindmatch_simulations.evaluation.conformance.leakage.play import ACCOUNT_FACT
from blindmatch_simulations.evaluation.conformance.leakage.timing import claimed
from blindmatch_simulations.testbed.deployment.registry import load_design, option_ids
from blindmatch_simulations.testbed.inprocess.deployed import publish
from blindmatch_simulations.testbed.pictures.crops import crops
from msgspec.structs import replace
from support.memory import Held, held, random_hashes

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reference" / "contract.md").read_text("utf-8")
HOW_TO = (ROOT / "docs" / "how-to" / "check-a-design.md").read_text("utf-8")
TUTORIAL = (ROOT / "docs" / "tutorials" / "your-design.md").read_text("utf-8")
EXAMPLE = ROOT / "examples" / "exact_upload.py"


def code_block() -> str:
    """Return the design on the page, which is its one block of Python."""
    (block,) = (part.split("\n```")[0] for part in TUTORIAL.split("```python\n")[1:])
    return block + "\n"


@pytest.fixture
def design(tmp_path: Path) -> bm.AnyDesign:
    path = tmp_path / "from_the_page.py"
    path.write_text(code_block())
    return load_design(f"{path}:DESIGN")


@pytest.fixture(scope="module")
def pictures() -> list[Picture]:
    return [Picture.from_bytes(crop.data) for crop in crops(4, 1)]


def _published(design: bm.AnyDesign, listed: Picture) -> Held:
    entry = np.frombuffer(listed.hash, np.uint8).reshape(1, 32)
    return held(design, np.concatenate([random_hashes(20), entry]))


def _asked(published: Held, picture: Picture) -> object:
    def exchange(bodies: Mapping[bm.Role, Message]) -> Mapping[bm.Role, Message]:
        return {role: _reply(published, role, body) for role, body in bodies.items()}

    design = published.design
    rng = seeded("device")
    return bm.Session(design, published.setup, design.enrol(rng), rng).run(picture, exchange).outcome


def _reply(published: Held, role: bm.Role, body: Message) -> Message:
    design = published.design
    (kind,) = design.requests[role]
    sent = kind.decode(body.encode())
    return bm.answered(design, role, published.states[role], bm.Request(sent), seeded("matcher"))[0]


def test_the_page_shows_the_example() -> None:
    assert code_block() == EXAMPLE.read_text()


def test_the_page_says_of_every_part_of_the_contract_what_it_is_for() -> None:
    parts = {name for name in (*vars(bm.Design), *bm.Design.__annotations__) if not name.startswith("_")}
    table = PAGE.partition("## What each part is for")[2].partition("\n## ")[0]
    assert parts and not [name for name in sorted(parts) if f"`{name}`" not in table]


def test_the_page_lists_every_method_with_its_parameters() -> None:
    """Under their names, defaults included, but for `self`."""
    block = PAGE.partition("## The methods")[2].partition("```\n")[2].partition("```")[0]
    shown = dict(re.findall(r"^  (\w+)\((.*?)\) -> ", block, re.MULTILINE))
    methods = {name: one for name, one in vars(bm.Design).items() if isfunction(one) and name[0] != "_"}
    assert {name: _parameters(one) for name, one in methods.items()} == shown
    before = block.partition("those that need them")[0]
    assert all(f"  {name}(" in before for name in bm.Design.__abstractmethods__)
    assert before.count(" -> ") == len(bm.Design.__abstractmethods__)


def _parameters(method: FunctionType) -> str:
    taken = [one.replace(annotation=Parameter.empty) for one in signature(method).parameters.values()][1:]
    texts = [f"{one.name}=no_progress" if one.default is bm.no_progress else str(one) for one in taken]
    return ", ".join(texts)


def test_the_page_names_every_field_class_view_of_a_picture_party_option_and_fact() -> None:
    views = [name for name in vars(bm.Item) if isinstance(vars(bm.Item)[name], property)]
    fields = [kind.__name__ for kind in (UInt, Bool, Fixed, Variable, Text, Matrix, Sequence, Nested)]
    facts = [QUERY_TIME.name, EPOCH.name, ACCOUNT_FACT, LIST_FACT, NEAR_ENTRIES, UNVERIFIED_REPLY.name]
    assert not [name for name in (*views, *facts) if f"`{name}`" not in PAGE]
    assert not [name for name in fields if f"| `{name}(" not in PAGE]
    assert not [
        name for name, one in vars(bm.Party).items() if isinstance(one, bm.Party) and name not in PAGE
    ]
    options = PAGE.partition("**Options**")[2].partition("\n\n")[0]
    assert not [one for one in option_ids() if not re.search(rf"\b{one}\s", options)]


def test_a_parameter_is_read_back_on_both_sides_as_the_page_says(design: bm.AnyDesign) -> None:
    (line,) = re.findall(r"```\n(open_file\(.*)\n```", PAGE)
    info = replace(design.info, parameters=(bm.Parameter("rounds", "how many", "rounds", 3, 1, 9),))
    own = type("Own", (type(design),), {"info": info})()
    build = publish(own, random_hashes(5), randomness("publish"), 7, {"rounds": 4})
    for files in (build.setup_files, build.role_files(bm.Role("matcher"))):
        names = {**vars(plain_list), "self": own, "files": files, "epoch": 7}
        assert eval(line.replace("NAME", "rounds"), names) == 4  # noqa: S307 - a line of the page


def test_the_constant_time_of_the_page_is_what_the_timing_check_reads(design: bm.AnyDesign) -> None:
    assert claimed(design) == frozenset()
    (steps,) = re.findall(r"for example `frozenset\((.*?)\)`", PAGE)
    claiming = type("Claiming", (type(design),), {"constant_time": frozenset(literal_eval(steps))})()
    assert claimed(claiming) == {"receive"}


@pytest.mark.usefixtures("quick_servers")
@pytest.mark.slow
def test_the_commands_of_the_page_end_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As they stand there, from the root of the sources."""
    commands = re.findall(r"(?:```\n|`)blindmatch ([a-z]+ [^`\n]*exact_upload[^`\n]*)\n?`", HOW_TO)
    assert [command.split()[0] for command in commands] == ["demo", "conformance"]
    monkeypatch.chdir(ROOT)
    for command in commands:
        assert run([*command.split(), "--json", str(tmp_path / "result.json")]) == 0


def test_the_design_of_the_page_finds_listed_pictures_alone(
    design: bm.AnyDesign, pictures: list[Picture]
) -> None:
    published = _published(design, pictures[0])
    outcomes = [_asked(published, picture) for picture in pictures]
    assert isinstance(outcomes[0], bm.Match)
    assert outcomes[0].label.entry_hash == pictures[0].hash
    assert outcomes[1:] == [bm.NoMatch()] * 3


def test_the_design_of_the_page_asks_about_a_poor_picture_too(design: bm.AnyDesign) -> None:
    poor = Picture.from_pixels(np.full((80, 80, 3), 128, np.uint8))
    assert poor.quality < 50
    published = held(design, random_hashes(20))
    session = bm.Session(design, published.setup, design.enrol(seeded("device")), seeded("device"))
    bodies = session.start(poor)
    assert isinstance(bodies, Mapping)
    assert [body.hash for body in bodies.values()] == [bytes(32)]


def test_the_design_of_the_page_refuses_a_label_of_another_hash(
    design: bm.AnyDesign, pictures: list[Picture]
) -> None:
    published = _published(design, pictures[0])
    rng = seeded("device")
    asked = bm.Session(design, published.setup, design.enrol(rng), rng)
    other = bm.Session(design, published.setup, design.enrol(rng), rng)
    bodies = asked.start(pictures[1])
    others = other.start(pictures[0])
    assert isinstance(bodies, Mapping)
    assert isinstance(others, Mapping)
    replies = {role: _reply(published, role, body) for role, body in others.items()}
    with pytest.raises(ProtocolError, match="field label: must be of the hash that was asked for"):
        asked.receive(replies)


def test_the_page_has_every_part_of_a_design_and_of_its_declaration() -> None:
    parts = [
        *(name for name in vars(bm.Design) if not name.startswith("_")),
        *bm.Info.__struct_fields__,
    ]
    assert [name for name in parts if not re.search(rf"\b{name}\b", PAGE)] == []


def test_the_page_lists_every_way_in_which_requests_are_compared() -> None:
    listed = re.findall(r"^\| `Evaluation\.(\w+)` \|", PAGE, re.M)
    assert listed == [one.name for one in bm.Evaluation]
