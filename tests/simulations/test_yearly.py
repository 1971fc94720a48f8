"""Months are logged once, in order, as they were written down; what changes later is shown beside that."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from blindmatch_proofs.checkpoint import ED25519, NoteSigner
from blindmatch_proofs.tlog import TlogProof
from blindmatch_protocol.contract import Party
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from blindmatch_server.log.service import Month, leaf_of
from blindmatch_simulations.cli import centre as page
from blindmatch_simulations.testbed.deployment import statistics as yearly
from blindmatch_simulations.testbed.deployment.folder import Deployment, DeploymentError
from blindmatch_simulations.testbed.deployment.operators import OperatorError, append_counts, ask_log
from blindmatch_simulations.testbed.deployment.statistics import log_months, year_of
from blindmatch_simulations.testbed.deployment.transparency import (
    COUNTS,
    LogError,
    log_seed,
    make_log,
    read_log,
    witness_signer,
)
from blindmatch_simulations.testbed.scenario.world import World
from msgspec.structs import replace
from support.command import USAGE, in_process
from support.logs import MemoryLog

NOW = datetime(2027, 2, 10, tzinfo=UTC)
NOVEMBER = Month(2026, 11)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """What the centre counts in November."""
    held = {"reports": 2, "complaints_upheld": 0}

    def ask(deployment: Deployment, method: str, request: pb.StatisticsRequest, reply: type) -> pb.Statistics:
        inside = request.from_ms == NOVEMBER.began_ms
        return pb.Statistics(**held) if inside else pb.Statistics()

    monkeypatch.setattr(yearly, "ask_centre", ask)
    return held


@pytest.fixture
def logged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Deployment, list[tuple[int, bytes]]]:
    """A deployment with a log, and the leaves that were handed to it."""
    deployment = Deployment.create(tmp_path / "home", NOW)
    make_log(deployment, 1, 1)
    leaves: list[tuple[int, bytes]] = []
    memory = MemoryLog(at=int(time.time()))
    witness = witness_signer(deployment, Party("witness_1"))

    def append(deployment: Deployment, origin: str, index: int, leaf: bytes) -> bytes:
        leaves.append((index, leaf))
        memory.key = NoteSigner.from_seed(origin, ED25519, log_seed(deployment))
        memory.entries[index:] = [leaf, *memory.entries[index + 1 :]]
        return memory.proof(index, [witness]).encode()

    monkeypatch.setattr(yearly, "append_counts", append)
    return deployment, leaves


def refusing(*args: object) -> bytes:
    raise OperatorError("the log is not running")


ANSWERS: dict[str, Callable[[TlogProof], bytes]] = {
    "nobody": lambda proof: refusing(),
    "the log alone": lambda proof: replace(
        proof, note=replace(proof.note, signatures=proof.note.signatures[:1])
    ).encode(),
    "another index": lambda proof: replace(proof, index=1).encode(),
    "another root": lambda proof: replace(proof, path=(bytes(32),)).encode(),
    "no proof": lambda proof: b"junk",
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_a_month_whose_append_is_not_proved_is_not_shown_as_logged(
    counted: dict[str, int],
    logged: tuple[Deployment, list[tuple[int, bytes]]],
    monkeypatch: pytest.MonkeyPatch,
    answer: str,
) -> None:
    deployment, _ = logged
    append = yearly.append_counts
    with monkeypatch.context() as patch:
        patch.setattr(yearly, "append_counts", lambda *args: ANSWERS[answer](TlogProof.parse(append(*args))))
        with pytest.raises((OperatorError, LogError)):
            log_months(deployment, NOVEMBER, NOW)
    assert year_of(deployment, 2026, NOW)[10].logged is None
    log_months(deployment, NOVEMBER, NOW)
    assert year_of(deployment, 2026, NOW)[10].logged == year_of(deployment, 2026, NOW)[10].now


def test_months_that_are_over_are_logged_in_order_and_never_again_with_other_counts(
    counted: dict[str, int], logged: tuple[Deployment, list[tuple[int, bytes]]]
) -> None:
    deployment, leaves = logged
    assert [str(month) for month in log_months(deployment, NOVEMBER, NOW)] == [
        "2026-11",
        "2026-12",
        "2027-01",
    ]
    first = list(leaves)
    assert [index for index, _ in first] == [0, 1, 2]
    assert json.loads(first[0][1])["counts"]["reports"] == 2
    counted["complaints_upheld"] = 1
    log_months(deployment, Month(2027, 1), NOW)
    assert leaves[3:] == first, "where the log begins is not for a later call to say"
    november = year_of(deployment, 2026, NOW)[10]
    assert page.changed(november) == {"complaints_upheld": [0, 1]}
    assert "2026-11,complaints_upheld,1,0" in page.as_csv(year_of(deployment, 2026, NOW))
    assert year_of(deployment, 2026, NOW)[0].logged is None


def test_months_that_have_not_begun_are_in_no_file_of_a_report(
    counted: dict[str, int], logged: tuple[Deployment, list[tuple[int, bytes]]], tmp_path: Path
) -> None:
    deployment, _ = logged
    months = year_of(deployment, 2026, datetime(2026, 11, 1, tzinfo=UTC))
    assert [(one.now["reports"], one.logged) for one in months] == [*[(0, None)] * 10, (2, None)]
    assert [one["month"] for one in json.loads(page.as_json(2026, months))["months"]][9:] == [
        "2026-10",
        "2026-11",
    ]
    assert "2026-11,reports,2" in page.as_csv(months) and "2026-12" not in page.as_csv(months)
    ran = in_process(deployment.home, "centre", "report", 9998, "--out", tmp_path / "out")
    assert ran.code == USAGE and "9998 has not begun" in ran.err and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "damage", [lambda raw: raw[:-9], lambda raw: raw.replace(b"2,", b"2 ,"), lambda raw: b"[]"]
)
def test_counts_that_were_altered_on_the_disk_are_not_taken_for_what_was_logged(
    counted: dict[str, int],
    logged: tuple[Deployment, list[tuple[int, bytes]]],
    damage: Callable[[bytes], bytes],
) -> None:
    deployment, _ = logged
    log_months(deployment, NOVEMBER, NOW)
    path = deployment.server(Party.CENTRE) / "counts/2026-11.json"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DeploymentError, match=r"2026-11\.json is damaged"):
        year_of(deployment, 2026, NOW)


def test_a_month_beside_another_leaf_s_proof_is_not_taken_for_logged(
    counted: dict[str, int], logged: tuple[Deployment, list[tuple[int, bytes]]]
) -> None:
    deployment, _ = logged
    log_months(deployment, NOVEMBER, NOW)
    path = deployment.server(Party.CENTRE) / "counts/2026-11.json"
    path.write_bytes(leaf_of(NOVEMBER, {"reports": 1}))
    with pytest.raises(DeploymentError, match=r"2026-11\.json is damaged"):
        year_of(deployment, 2026, NOW)


@pytest.mark.slow
@pytest.mark.usefixtures("quick_servers")
def test_the_log_takes_a_months_counts_from_the_centre_alone_and_once(tmp_path: Path) -> None:
    with World.create(tmp_path / "home", "none", witnesses=1) as world:
        world.start(world.log_parties)
        log = read_log(world.deployment)
        assert log is not None
        origin = log.origin(COUNTS)
        leaf = leaf_of(NOVEMBER, {"reports": 2})
        proof = append_counts(world.deployment, origin, 0, leaf)
        assert append_counts(world.deployment, origin, 0, leaf)[:20] == proof[:20]
        with pytest.raises(OperatorError, match="ALREADY_EXISTS"):
            append_counts(world.deployment, origin, 0, leaf_of(NOVEMBER, {"reports": 1}))
        with pytest.raises(OperatorError, match="PERMISSION_DENIED"):
            ask_log(
                world.deployment, "Append", pb.AppendRequest(origin=origin, index=1, leaf=leaf), pb.LogProof
            )
