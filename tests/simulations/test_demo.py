"""The main job over real processes, for every design there is and for designs from a file."""

from __future__ import annotations

import base64
import json
import shutil
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blindmatch_client import settings as config
from blindmatch_client.egress.calls import EXCHANGE
from blindmatch_protocol.contract import AnyDesign
from blindmatch_protocol.designs.token_psi import TokenPsi
from blindmatch_protocol.designs.token_psi.tokens import entry_tokens, probe_tokens
from blindmatch_protocol.picture.decode import Picture
from blindmatch_simulations.cli.app import run
from blindmatch_simulations.testbed.demo import run as simulated
from blindmatch_simulations.testbed.demo.workload import ANSWER, LISTED, TEXTS, Workload, demo_workload
from blindmatch_simulations.testbed.deployment.registry import built_in_designs, load_design
from msgspec import Struct
from msgspec.structs import replace
from support.command import COMMAND, environment, processes_of
from support.forked_servers import forked_servers
from support.once import once

TESTS = Path(__file__).parents[1]
DUMMIES = TESTS / "dummy_designs.py"
LEAKY = Path(__file__).with_name("leaky_designs.py")
EXAMPLE = TESTS.parent / "examples" / "exact_upload.py"
SET_SIZE = 300
BUILT_IN = [registered.design.info.name for registered in built_in_designs()]
OFTEN = {"provider-scan"}
"""Of designs that oprf-psi is not like; the rest run with the slow tests."""
CARRIED_ALIKE = {"carried-split-psi", "carried-token-psi"}
"""Carried as oprf-psi is; and what is carried has a demo of its own."""
KEYS = {
    "design",
    "set_size",
    "sent",
    "delivered",
    "expected_matches",
    "matches",
    "reports_verified",
    "undeclared_egress",
    "undeclared_egress_bytes",
    "compared",
    "parties",
}


@pytest.fixture(scope="module")
def whole() -> Workload:
    """All pictures of the demo."""
    return demo_workload()


@pytest.fixture(scope="module", autouse=True)
def workload(whole: Workload) -> Iterator[Workload]:
    """One of each edit of a listed picture, one not listed, a phone's, a screenshot, the poor one: few, since
    each costs."""
    often = ("gradient", "phone", "screenshot")
    kinds = {
        (one.listed, one.listed and one.edit, one.name if one.name in often else ""): one
        for one in whole.sendings
        if one.name != "camera"
    }
    few = replace(whole, sendings=tuple(one for one in whole.sendings if one in kinds.values()))
    real = Picture.fingerprint.fget  # type: ignore[attr-defined]
    of_file = cache(lambda data: real(Picture.from_bytes(data)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(simulated, "demo_workload", lambda *_: few)
        # three organisations hash each picture of the list in each run, always the same ones
        patch.setattr(
            Picture, "fingerprint", property(lambda one: of_file(one._data) if one._data else real(one))
        )
        yield few


class Demo(Struct, frozen=True):
    """A finished run."""

    code: int
    result: dict[str, Any]
    home: Path


def demo(folder: Path, design: object, *options: object) -> Demo:
    """Run the demo with its deployment kept in `folder`, and forked servers."""
    with forked_servers():
        return by_processes(folder, design, *options)


def by_processes(folder: Path, design: object, *options: object) -> Demo:
    """Run the demo as it is: each server a program of its own."""
    place = ("--home", folder / "home", "--json", folder / "result.json")
    asked = ("demo", "--set-size", SET_SIZE, "--design", design, *place, *options)
    (folder / "code").write_text(str(run([*map(str, asked)])))
    return read(folder)


def read(folder: Path) -> Demo:
    """The run whose deployment is in `folder`."""
    code = (folder / "code").read_text()
    result = (folder / "result.json").read_text()
    return Demo(int(code), json.loads(result), folder / "home")


def matches_in_the_clear(workload: Workload, design: AnyDesign) -> int:
    """How many pictures are within the design's distance of a listed one; counted by hand, bit by bit.

    The random entries are out of question: two random hashes are 128 bits apart, give or take 8.
    """
    most = design.info.relation.distance
    entries = [int.from_bytes(picture.hash, "big") for picture in workload.listed]
    items = [Picture.from_bytes(sending.data) for sending in workload.sendings]
    hashes = [int.from_bytes(item.hash, "big") for item in items if item.quality >= 50]
    if most is None:
        return 0
    return sum(any((mine ^ entry).bit_count() <= most for entry in entries) for mine in hashes)


def missed_by_tokens(workload: Workload, design: AnyDesign) -> int:
    """How many pictures are near a listed one, but agree with none of those in enough bands, where devices
    ask for tokens of bands and get labels."""
    if not isinstance(design, TokenPsi):
        return 0
    tokening, _ = design.tokening_of({one.name: one.default for one in design.info.parameters})
    shape = tokening.k, tokening.bands
    listed = np.array([np.frombuffer(picture.hash, np.uint8) for picture in workload.listed])
    held = entry_tokens(listed, *shape, tokening.order)
    missed = 0
    for sending in workload.sendings:
        item = Picture.from_bytes(sending.data)
        asked = probe_tokens(item.hash, item.coefficients, *shape, tokening.probes, tokening.order)
        own = np.frombuffer(item.hash, np.uint8)
        is_near = np.unpackbits(listed ^ own, axis=1).sum(axis=1) <= design.info.relation.distance
        agreeing = (held[:, :, None] == asked[None]).any(axis=2).sum(axis=1)
        is_asked = item.quality >= 50 and bool(is_near.any())
        missed += is_asked and not (agreeing[is_near] >= tokening.needed).any()
    return missed


def check_right(done: Demo, workload: Workload, design: AnyDesign) -> None:
    """The run is right, and its result says so."""
    result = done.result
    expected = matches_in_the_clear(workload, design)
    assert result["failures"] == []
    assert done.code == 0
    assert result.keys() >= KEYS
    assert result["design"] == design.info.name
    assert result["set_size"] == SET_SIZE + LISTED
    assert result["sent"] == result["delivered"] == len(workload.sendings)
    assert result["matches"] == result["reports_verified"]
    missed = missed_by_tokens(workload, design)
    assert result["expected_matches"] == result["matches"] + missed
    made_up = expected - missed - result["matches"]
    assert 0 <= made_up <= (3 if design.info.relation.recall < 1 and design.vouchers else 0)
    assert result["opened_below_threshold"] == (0 if "threshold-" in design.info.name else None)
    shown = design.info.name == "partial-hash"
    assert result["undeclared_egress"] == ("not comparable" if shown else "none")
    assert result["undeclared_egress_bytes"] == (None if shown else 0)
    for row in result["compared"].values():
        assert (row["compared"] == 0) == shown
        assert bool(row["reasons"]) == (row["compared"] < row["sessions"])
    assert {"relay", "matcher", "centre"} <= result["parties"].keys()


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in OFTEN else pytest.mark.slow)
        for name in BUILT_IN
        if name != "oprf-psi" and name not in CARRIED_ALIKE
    ],
)
def test_the_demo_is_right_for_a_built_in_design(
    name: str, tmp_path: Path, workload: Workload, whole: Workload, monkeypatch: pytest.MonkeyPatch
) -> None:
    # a message tells the prefix: few pictures may have none that agrees on it, to be compared with
    sent = whole if name == "prefix-bucket" else workload
    monkeypatch.setattr(simulated, "demo_workload", lambda *_: sent)
    check_right(demo(tmp_path, name), sent, load_design(name))


@pytest.mark.parametrize(
    "name", ["ECHO", *(pytest.param(name, marks=pytest.mark.slow) for name in ("SHARES", "CARRIED", "LARGE"))]
)
def test_the_demo_is_right_for_a_design_from_a_file(name: str, tmp_path: Path, workload: Workload) -> None:
    reference = f"{DUMMIES}:{name}"
    check_right(demo(tmp_path, reference), workload, load_design(reference))


def test_a_design_in_one_new_file_runs_with_no_other_change(tmp_path: Path, workload: Workload) -> None:
    path = tmp_path / "mine.py"
    shutil.copy(EXAMPLE, path)
    check_right(demo(tmp_path, f"{path}:DESIGN"), workload, load_design(f"{path}:DESIGN"))


def test_vouchers_count_once_the_centre_has_opened_them(
    tmp_path: Path, workload: Workload, capsys: pytest.CaptureFixture[str]
) -> None:
    reference = f"{DUMMIES}:VOUCHERS"
    done = demo(tmp_path, reference)
    check_right(done, workload, load_design(reference))
    result = done.result
    (row,) = result["vouchers"]
    assert row == {"account": "alice", "held": len(workload.sendings), "opened": result["expected_matches"]}
    assert result["reports"] == []
    assert {picture["outcome"] for picture in result["pictures"]} == {"voucher"}
    capsys.readouterr()
    assert run(["device", "status", "alice", "--home", str(done.home)]) == 0
    words = " ".join(capsys.readouterr().out.split())
    vouching = load_design(reference).info.vouching
    assert vouching is not None
    assert f"hands the centre tells it {vouching.tells}. It opens {vouching.opened}." in words


def test_a_design_whose_step_fails_makes_the_demo_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = demo(tmp_path, f"{DUMMIES}:FAILING")
    assert done.code == 1
    assert done.result["expected_matches"] > done.result["matches"] == done.result["reports_verified"] == 0
    assert done.result["delivered"] == 0
    assert done.result["undeclared_egress_bytes"] == 0
    assert "wrong: a message was held back" in capsys.readouterr().out


def test_a_leaking_design_makes_the_demo_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = demo(tmp_path, f"{LEAKY}:HASH_IN_PADDING")
    result = done.result
    assert done.code == 1
    assert result["undeclared_egress_bytes"] >= result["sent"]
    assert result["matches"] == result["expected_matches"] > 0
    assert {finding["party"] for finding in result["findings"]} == {"matcher"}
    assert "bytes tell of the picture" in capsys.readouterr().out


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory, whole: Workload) -> Demo:
    """A run of oprf-psi with all pictures, the same one for all workers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(simulated, "demo_workload", lambda *_: whole)
        return read(once(tmp_path_factory, "private", lambda folder: by_processes(folder, "oprf-psi")))


def test_the_demo_is_right_for_oprf_psi(private: Demo, whole: Workload) -> None:
    assert len(whole.sendings) >= 24
    check_right(private, whole, load_design("oprf-psi"))


def test_the_page_of_the_walk_shows_what_is_declared_to_each_party(private: Demo) -> None:
    shown = (Path(__file__).parents[2] / "docs/reference/commands.md").read_text("utf-8")
    page = " ".join(shown.replace("│", " ").split())
    for party, one in private.result["parties"].items():
        assert f" {party} {', '.join(one['declared_facts'])} " in page, party


def test_each_party_is_shown_with_what_is_declared_and_what_it_counted(private: Demo) -> None:
    parties = private.result["parties"]
    assert "query_count" in parties["matcher"]["declared_facts"]
    exchanged = {party: one["calls_observed"].get(EXCHANGE.path, 0) for party, one in parties.items()}
    assert exchanged == {"matcher": private.result["sent"], "relay": 0, "centre": 0}
    assert parties["matcher"]["end_to_end_ciphertext_bytes"] == 0
    assert 0 < parties["relay"]["end_to_end_ciphertext_bytes"] < parties["relay"]["bytes_in"]
    for seen in parties.values():
        assert seen["bytes_in"] == sum(seen["bytes_by_purpose"].values())


def test_on_a_cover_schedule_no_party_is_told_when_there_is_a_match(
    private: Demo, workload: Workload, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # a match among few: the slots that its report takes are long enough for cover to be seen
    matching = [one for one in workload.sendings if one.listed and one.edit == "identical"][:1]
    others = [one for one in workload.sendings if one not in matching][:3]
    assert matching
    few = replace(workload, sendings=(*matching, *others))
    monkeypatch.setattr(simulated, "demo_workload", lambda *_: few)
    monkeypatch.setattr(config, "LEAST_PERIOD_S", 1)
    done = demo(tmp_path, "oprf-psi", "--cover-period", "1")
    assert (done.code, done.result["failures"], done.result["cover_schedule"]) == (0, [], True)
    for name in ("centre", "relay"):
        assert "match_time" in private.result["parties"][name]["declared_facts"]
        assert "match_time" not in done.result["parties"][name]["declared_facts"]
    left = done.result["parties"]["centre"]["bytes_by_purpose"]
    assert "report" not in left and left["cover"] > 0
    assert [row["reported"] for row in done.result["pictures"]] == [
        row["expected"] for row in done.result["pictures"]
    ]


def test_a_cover_schedule_is_for_devices_that_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["demo", "--design", "provider-scan", "--home", str(tmp_path / "home"), "--cover-period", "5"]
    assert run(asked) == 6
    assert "make no reports" in capsys.readouterr().err


def canaries(workload: Workload) -> Iterator[tuple[str, bytes]]:
    """What neither relay nor matcher may hold: hashes, texts, and stretches of each picture's file."""
    for text in (*TEXTS, ANSWER):
        yield text, text.encode()
    for sending in workload.sendings:
        digest = Picture.from_bytes(sending.data).hash
        forms = (digest, digest.hex().encode(), digest.hex().upper().encode(), base64.b64encode(digest))
        yield from ((f"hash of {sending.name}", form) for form in forms)
        for at in range(100, len(sending.data) - 24, max(1, len(sending.data) // 32)):
            yield f"bytes of {sending.name}", sending.data[at : at + 24]


def held_in(folders: Iterable[Path], wanted: list[tuple[str, bytes]]) -> set[str]:
    """Which of `wanted` some file under `folders` holds."""
    paths = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    assert paths
    files = [path.read_bytes() for path in paths]
    return {name for name, value in wanted if any(value in data for data in files)}


def test_no_file_or_log_of_relay_and_matcher_holds_a_hash_a_text_or_a_picture(
    private: Demo, whole: Workload
) -> None:
    servers = [private.home / name for name in ("relay", "matcher", "curator/published")]
    assert {"log.jsonl", "state"} <= {path.name for path in servers[0].iterdir()}
    assert held_in(servers, list(canaries(whole))) == set()


def test_the_scan_finds_what_is_there(private: Demo, whole: Workload, tmp_path: Path) -> None:
    wanted = list(canaries(whole))
    (tmp_path / "log.jsonl").write_text("".join(f'{{"text": "{text}"}}\n' for text in (*TEXTS, ANSWER)))
    (tmp_path / "database").write_bytes(b"head" + b"between".join(one.data for one in whole.sendings))
    names = {sending.name for sending in whole.sendings}
    assert held_in([tmp_path], wanted) == {*TEXTS, ANSWER, *(f"bytes of {name}" for name in names)}
    on_the_list = held_in([private.home / "curator" / "lists"], wanted)
    assert len(on_the_list) == private.result["matches"]
    assert all(name.startswith("hash of ") for name in on_the_list)


@pytest.mark.slow
def test_ctrl_c_leaves_no_process_and_no_folder(tmp_path: Path) -> None:
    command = [*COMMAND, "demo", "--set-size", str(SET_SIZE)]
    place = environment(tmp_path, TMPDIR=str(tmp_path))
    with subprocess.Popen(command, env=place, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        wait_for(tmp_path, "blindmatch-*/relay/port")
        assert len(processes_of(tmp_path)) == 6  # log, two witnesses, relay, matcher, centre
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=200)
    assert process.returncode == 130, (out[-2000:], err[-2000:])
    assert b"interrupted" in err and b"Traceback" not in err
    assert b"\x1b" not in out and b"\r" not in out
    assert processes_of(tmp_path) == []
    assert list(tmp_path.glob("blindmatch-*")) == []


def wait_for(folder: Path, pattern: str) -> None:
    deadline = time.monotonic() + 300
    while not list(folder.glob(pattern)):
        assert time.monotonic() < deadline, f"no {pattern}"
        time.sleep(0.02)


def test_a_folder_that_is_in_use_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    assert run(["demo", "--home", str(tmp_path)]) == 4
    assert "must be a new or an empty folder" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
