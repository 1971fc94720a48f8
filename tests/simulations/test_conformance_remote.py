"""A counterpart over gRPC that does what docs/reference/wire.md says passes; a bad one is caught."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from blindmatch_protocol.contract import AnyDesign, Party
from blindmatch_protocol.designs import hash_upload, oprf_psi, provider_scan
from blindmatch_simulations.evaluation.conformance.remote.counterpart import read_manifest
from blindmatch_simulations.evaluation.conformance.remote.run import NOT_REMOTE, REMOTE_CHECKS, check_remote
from blindmatch_simulations.evaluation.conformance.run import BY_NAME
from blindmatch_simulations.testbed.inprocess.deployed import Build
from blindmatch_simulations.testbed.inprocess.verdict import Verdict
from dummy_designs import ECHO, SHARES
from support.bad_matchers import (
    AnswersOnce,
    AnswersTheLastEpoch,
    AsksForPatience,
    DeniesAMatch,
    Endless,
    ExtraField,
    GivesItsKeyAway,
    LeftOver,
    OtherSet,
    PadsAMatch,
    ProvesAsOnline,
    RaisesOnGarbage,
    SameNonce,
    SignedForAnother,
    Silent,
    StopsOnGarbage,
    TakesAnybody,
    WrongKeyForSome,
)
from support.command import BAD_STATE, UNREACHABLE, USAGE, Ran, in_process, refused
from support.foreign_matcher import ForeignMatcher, serving
from support.remote_world import World, built, lines
from support.schemas import of_manifests


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("remote"))


@pytest.fixture(scope="module")
def oprf() -> Build:
    return built(oprf_psi.DESIGN)


# --- what passes ---------------------------------------------------------------------------------


@pytest.mark.parametrize("design", [oprf_psi.DESIGN, hash_upload.DESIGN, ECHO], ids=lambda d: d.info.name)
def test_a_matcher_on_grpc_s_own_stubs_passes(world: World, design: AnyDesign) -> None:
    report = world.check(ForeignMatcher(built(design)))
    assert lines(report) == []
    passed = {result.check for result in report.results if result.verdict is Verdict.PASSED}
    assert passed == set(REMOTE_CHECKS) - (set() if design is oprf_psi.DESIGN else {"proofs"})
    assert all(result.reason for result in report.results)


def test_a_provider_of_large_bodies_passes(world: World) -> None:
    matcher = ForeignMatcher(built(provider_scan.DESIGN), Party.PROVIDER)
    report = world.check(matcher, party=Party.PROVIDER)
    assert lines(report) == []
    (outcomes,) = [result for result in report.results if result.check == "outcomes"]
    assert outcomes.verdict is Verdict.NOT_APPLICABLE


def test_three_parties_that_share_the_work_pass(world: World) -> None:
    build = built(SHARES)
    held = read_manifest(world.manifest(build))
    with ExitStack() as stack:
        called = {
            role: stack.enter_context(serving(ForeignMatcher(build, party), world.servers[party]))
            for role, party in SHARES.info.roles.items()
        }
        report = check_remote(SHARES, held, called)
    assert lines(report) == []


def test_a_matcher_that_slows_its_callers_down_passes(world: World, oprf: Build) -> None:
    matcher = AsksForPatience(oprf)
    assert lines(world.check(matcher, "outcomes", "replay", "epoch binding")) == []
    assert matcher.calls > 40


def test_every_check_of_a_local_run_runs_remotely_or_says_why_not() -> None:
    remote = set(REMOTE_CHECKS)
    assert set(BY_NAME) <= remote | set(NOT_REMOTE)
    assert not remote & set(NOT_REMOTE)


# --- what is caught ------------------------------------------------------------------------------


BAD = (
    (SignedForAnother, oprf_psi, "description", "field manifest: field epoch: must be what"),
    (WrongKeyForSome, oprf_psi, "outcomes", "the device refuses it"),
    (WrongKeyForSome, oprf_psi, "proofs", "field proof: under the manifest's public key: does not hold"),
    (ProvesAsOnline, oprf_psi, "proofs", "field proof: under the manifest's public key: does not hold"),
    (SameNonce, oprf_psi, "proofs", "two proofs share a nonce"),
    (PadsAMatch, hash_upload, "shape", "different metadata"),
    (ExtraField, hash_upload, "shape", "bytes: for pictures"),
    (ExtraField, hash_upload, "codec", "field 31: there is no such field"),
    (LeftOver, oprf_psi, "codec", "left"),
    (RaisesOnGarbage, oprf_psi, "hostile requests", "not UNKNOWN"),
    # the call under way ends in CANCELLED or UNAVAILABLE, or the next one does
    (StopsOnGarbage, oprf_psi, "hostile requests", "hostile"),
    (AnswersTheLastEpoch, oprf_psi, "epoch binding", "an envelope of epoch 2 must be refused"),
    (AnswersOnce, oprf_psi, "replay", "an honest request is refused"),
    (TakesAnybody, oprf_psi, "callers", "a caller without a certificate is answered"),
    (OtherSet, oprf_psi, "description", "other bytes than the manifest's file"),
    (GivesItsKeyAway, oprf_psi, "description", "the set-up file 'matcher.bin' must be refused"),
    (DeniesAMatch, hash_upload, "outcomes", "whose very hash is listed is not found"),
)


@pytest.mark.parametrize(
    ("kind", "module", "check", "rule"), BAD, ids=[f"{row[0].__name__}-{row[2]}" for row in BAD]
)
def test_a_bad_matcher_is_caught_on_one_line(
    world: World, kind: type[ForeignMatcher], module: Any, check: str, rule: str
) -> None:
    report = world.check(kind(built(module.DESIGN)), check)
    (line,) = lines(report)
    assert line.startswith(f"{module.DESIGN.info.name}: {check}: "), line
    assert rule in line, line
    assert line.endswith("(seed 1)")


def test_a_reply_longer_than_declared_is_a_failure(world: World, oprf: Build) -> None:
    limits = {"reply_bytes": 108, "answer_ms": 240_000}
    (line,) = lines(world.check(ForeignMatcher(oprf), "resources", limits=limits))
    assert "109 bytes; the manifest declares at most 108" in line


def test_other_parameters_than_the_set_s_are_a_failure(world: World, oprf: Build) -> None:
    (line,) = lines(world.check(ForeignMatcher(oprf), "description", parameters={"evaluations": 4}))
    assert "field parameters.evaluations: is 4; in set.bin it is 1" in line


def test_a_set_up_file_that_does_not_end_is_broken_off(world: World, oprf: Build) -> None:
    (line,) = lines(world.check(Endless(oprf), "description"))
    assert "description: set-up file set.bin: field size" in line


def test_a_matcher_that_does_not_answer_in_time_is_caught_once(world: World, oprf: Build) -> None:
    limits = {"reply_bytes": 4096, "answer_ms": 3000}
    (line,) = lines(world.check(Silent(oprf), "outcomes", limits=limits))
    assert "DEADLINE_EXCEEDED" in line
    assert "(1 of 1 honest sessions fail)" in line


def test_another_public_key_than_the_manifest_s_is_a_failure(world: World, oprf: Build) -> None:
    other: Any = oprf_psi.DESIGN.open_setup(built(oprf_psi.DESIGN, "another key").setup_files, 3)
    (line,) = lines(world.check(ForeignMatcher(oprf), "proofs", public_key=other.public_key.element.hex()))
    assert "under the manifest's public key" in line


# --- the command, against the project's own matcher ------------------------------------------------


def _written(served: Path, folder: Path) -> Path:
    path = folder / "manifest.json"
    assert in_process(served, "list", "manifest", "known", path).code == 0
    return path


def _remote(served: Path, manifest: Path, *more: object, port: int = 0) -> Ran:
    port = port or int((served / "matcher" / "port").read_text())
    address = f"matcher=127.0.0.1:{port}"
    return in_process(
        served, "conformance", "oprf-psi", "--remote", address, "--manifest", manifest, "--json", "-", *more
    )


def test_the_project_s_own_matcher_passes(served: Path, tmp_path: Path) -> None:
    manifest = _written(served, tmp_path)
    assert manifest.stat().st_mode & 0o777 == 0o600
    jsonschema.validate(json.loads(manifest.read_text()), of_manifests())
    ran = _remote(served, manifest)
    assert ran.code == 0, ran.err
    verdicts = {check["check"]: check["verdict"] for check in ran.json["checks"]}
    assert set(verdicts) == set(REMOTE_CHECKS) | set(NOT_REMOTE)
    assert ran.json["failed"] == []
    assert list(ran.json["remote"]) == ["matcher"]


def test_a_failing_run_names_design_step_rule_and_seed_and_how_to_see_it_again(
    served: Path, tmp_path: Path
) -> None:
    path = _written(served, tmp_path)
    held = json.loads(path.read_text())
    held["listed"]["hashes"][0] = np.random.default_rng(1).bytes(32).hex()
    path.write_text(json.dumps(held))
    ran = _remote(served, path, "--only", "outcomes", "--seed", "4")
    assert ran.code == 1
    assert "outcome: a picture whose very hash is listed is not found, picture listed/" in ran.err
    assert "(seed 4)" in ran.err
    assert "again: blindmatch conformance oprf-psi --manifest" in ran.err
    assert ran.json["evidence"]["outcomes"]["item"].startswith("listed/")


def test_what_the_command_cannot_use_is_refused(served: Path, tmp_path: Path) -> None:
    manifest = _written(served, tmp_path)
    assert in_process(served, "conformance", "oprf-psi", "--manifest", manifest).code == USAGE
    assert _remote(served, manifest, "--games").code == USAGE
    assert _remote(served, manifest, "--only", "nonsense").code == USAGE
    assert _remote(served, manifest, "--remote", "nobody=127.0.0.1:1").code == USAGE
    refused(in_process(served, "conformance", "hash-upload", "--remote", "matcher=127.0.0.1:1",
                       "--manifest", manifest), BAD_STATE, "field design")  # fmt: skip
    refused(_remote(served, tmp_path / "missing.json"), BAD_STATE, "missing.json")


def test_a_counterpart_that_is_not_there_is_unreachable(served: Path, tmp_path: Path) -> None:
    manifest = _written(served, tmp_path)
    # nobody listens on port 1
    refused(_remote(served, manifest, port=1), UNREACHABLE, "cannot be reached")
