"""A counterpart over gRPC passes if it does what docs/wire.md says, and a bad one is caught on one line."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import jsonschema
import numpy as np
import pytest
from blindmatch_client.egress.channels import SERVER_NAMES
from blindmatch_protocol.codec import Message
from blindmatch_protocol.contract import AnyDesign, Party, Role
from blindmatch_protocol.designs import hash_upload, oprf_psi, provider_scan
from blindmatch_protocol.randomness import Tape
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from blindmatch_server.authority import Authority, Identity, Kind
from blindmatch_simulations.conformance.checks import BY_NAME
from blindmatch_simulations.conformance.deployed import Build, publish
from blindmatch_simulations.conformance.pool import random_hashes
from blindmatch_simulations.conformance.remote import manifest as manifests
from blindmatch_simulations.conformance.remote.manifest import read_manifest
from blindmatch_simulations.conformance.remote.run import check_remote
from blindmatch_simulations.conformance.remote.table import NOT_REMOTE, REMOTE_CHECKS
from blindmatch_simulations.conformance.run import Report
from blindmatch_simulations.conformance.seeded import Seeded
from blindmatch_simulations.conformance.verdict import Verdict
from blindmatch_simulations.errors import ManifestError
from dummy_designs import ECHO, SHARES
from support.command import BAD_STATE, UNREACHABLE, USAGE, Ran, in_process, refused
from support.foreign_matcher import ForeignMatcher, serving

ENTRIES = random_hashes(12, 7)
SCHEMA = Path(manifests.__file__).parents[2] / "data" / "conformance-manifest-v1.schema.json"


class World:
    """Credentials, and manifests of builds, in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, now = folder, datetime.now(UTC)
        authority = Authority.create(now)
        self.servers = {
            Party.MATCHER: authority.issue(Identity(Kind.MATCHER), now),
            Party.MATCHER_B: authority.issue(Identity(Kind.MATCHER_B), now),
            Party.PROVIDER: authority.issue(Identity(Kind.RELAY), now),
        }
        authority.issue(Identity(Kind.DEVICE, "checker"), now).write(folder, "checker")

    def manifest(self, build: Build, **fields: Any) -> Path:
        """A manifest of `build`, with other `fields` if any are given."""
        info, setup = build.design.info, build.design.open_setup(build.setup_files, build.epoch)
        for name, raw in build.setup_files.items():
            (self.folder / name).write_bytes(raw)
        key = getattr(setup, "public_key", None)
        made = {
            "format": manifests.FORMAT,
            "version": 1,
            "contract": 1,
            "design": info.name,
            "design_version": info.version,
            "epoch": build.epoch,
            "parameters": {},
            "public_key": key.element.hex() if key else None,
            "setup": [
                {"name": name, "path": name, "sha256": _digest(raw)}
                for name, raw in build.setup_files.items()
            ],
            "listed": {"complete": True, "hashes": [row.tobytes().hex() for row in build.entries]},
            "credentials": {
                "root": "ca.crt",
                "certificate": "checker.crt",
                "key": "checker.key",
                "server_names": {role: SERVER_NAMES[party] for role, party in info.roles.items()},
            },
            "limits": {"reply_bytes": 4096, "answer_ms": 30_000},
        }
        path = self.folder / f"{info.name}.json"
        path.write_text(json.dumps(made | fields))
        return path

    def check(
        self, matcher: ForeignMatcher, *only: str, party: Party = Party.MATCHER, **fields: Any
    ) -> Report:
        """The report on `matcher`."""
        held = read_manifest(self.manifest(matcher.build, **fields))
        (role,) = matcher.design.info.roles
        with serving(matcher, self.servers[party]) as address:
            return check_remote(matcher.design, held, {role: address}, only=only)


def _digest(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("remote"))


def built(design: AnyDesign, purpose: str = "key") -> Build:
    return publish(design, ENTRIES, Seeded(purpose), 3)


@pytest.fixture(scope="module")
def oprf() -> Build:
    return built(oprf_psi.DESIGN)


@pytest.fixture(scope="module")
def upload() -> Build:
    return built(hash_upload.DESIGN)


def lines(report: Report) -> list[str]:
    return [report.line(result) for result in report.failed]


# --- what passes ---------------------------------------------------------------------------------


@pytest.mark.parametrize("design", [oprf_psi.DESIGN, hash_upload.DESIGN, ECHO], ids=lambda d: d.info.name)
def test_a_matcher_on_grpc_s_own_stubs_passes(world: World, design: AnyDesign) -> None:
    report = world.check(ForeignMatcher(built(design)))
    assert lines(report) == []
    passed = {result.check for result in report.results if result.verdict is Verdict.PASSED}
    rounds = design is ECHO
    proves = design is oprf_psi.DESIGN
    assert passed == {c.name for c in REMOTE_CHECKS} - {
        *(() if rounds else ("order",)),
        *(() if proves else ("proofs",)),
    }
    assert all(result.reason for result in report.results)


def test_a_provider_of_large_bodies_passes(world: World) -> None:
    matcher = ForeignMatcher(built(provider_scan.DESIGN), Party.PROVIDER)
    report = world.check(matcher, party=Party.PROVIDER)
    assert lines(report) == []
    (outcomes,) = [result for result in report.results if result.check == "outcomes"]
    assert outcomes.verdict is Verdict.NOT_APPLICABLE


def test_two_matchers_that_share_the_work_pass(world: World) -> None:
    build = built(SHARES)
    held = read_manifest(world.manifest(build))
    with ExitStack() as stack:
        called = {
            role: stack.enter_context(serving(ForeignMatcher(build, party), world.servers[party]))
            for role, party in SHARES.info.roles.items()
        }
        report = check_remote(SHARES, held, called)
    assert lines(report) == []


class AsksForPatience(ForeignMatcher):
    """Answers every second call that it was one too many."""

    calls = 0

    def check(self, head: Any, body: bytes, context: Any) -> None:
        with self.lock:
            self.calls += 1
            late = self.calls % 2
        if late:
            context.set_trailing_metadata((("retry-after-ms", "1"),))
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many calls")
        super().check(head, body, context)


def test_a_matcher_that_slows_its_callers_down_passes(world: World, oprf: Build) -> None:
    matcher = AsksForPatience(oprf)
    assert lines(world.check(matcher, "outcomes", "replay", "epoch binding")) == []
    assert matcher.calls > 40


def test_every_check_of_a_local_run_runs_remotely_or_says_why_not() -> None:
    remote = {check.name for check in REMOTE_CHECKS}
    assert set(BY_NAME) <= remote | set(NOT_REMOTE)
    assert not remote & set(NOT_REMOTE)


# --- what is caught ------------------------------------------------------------------------------


class WrongKeyForSome(ForeignMatcher):
    """Answers every other request with the key of another epoch's set."""

    def __init__(self, build: Build) -> None:
        super().__init__(build)
        other = built(build.design, "another key")
        (self.role,) = self.states
        self.other = build.design.open_role(self.role, other.role_files(self.role))

    def answer(self, role: Role, asked: Message) -> Message:
        chosen = self.other if asked.encode()[-1] & 1 else self.states[role]
        return self.reply_with(chosen, role, asked, Seeded(asked.encode().hex()))


class SameNonce(ForeignMatcher):
    """Proves with one nonce."""

    def answer(self, role: Role, asked: Message) -> Message:
        return self.reply_with(self.states[role], role, asked, Tape(bytes(range(64))))


class PadsAMatch(ForeignMatcher):
    """A match gets one more header."""

    def sent(self, head: Any, asked: Message, reply: Message, context: Any) -> pb.Envelope:
        if getattr(reply, "matched", False):
            context.set_trailing_metadata((("padding", "x"),))
        return super().sent(head, asked, reply, context)


class ExtraField(ForeignMatcher):
    """A match gets a field that the .proto does not have."""

    def sent(self, head: Any, asked: Message, reply: Message, context: Any) -> pb.Envelope:
        envelope = super().sent(head, asked, reply, context)
        if getattr(reply, "matched", False):
            envelope.MergeFromString(b"\xf8\x01\x07")
        return envelope


class LeftOver(ForeignMatcher):
    """A byte behind every message."""

    def sent(self, head: Any, asked: Message, reply: Message, context: Any) -> pb.Envelope:
        envelope = super().sent(head, asked, reply, context)
        envelope.body += b"\0"
        envelope.body_size += 1
        return envelope


class RaisesOnGarbage(ForeignMatcher):
    """What does not decode ends in an error of its own."""

    def check(self, head: Any, body: bytes, context: Any) -> None:
        super().check(head, body, context)
        if body[:1] != b"\x20":
            raise ValueError("garbage")


class StopsOnGarbage(ForeignMatcher):
    """What does not decode ends the server."""

    def check(self, head: Any, body: bytes, context: Any) -> None:
        super().check(head, body, context)
        if body[:1] != b"\x20":
            self.stop.set()


class AnswersTheLastEpoch(ForeignMatcher):
    """Takes envelopes of the epoch before, too."""

    def accepts(self, epoch: int) -> bool:
        return epoch in (self.build.epoch - 1, self.build.epoch)


class AnswersOnce(ForeignMatcher):
    """Refuses a request it has seen."""

    def answer(self, role: Role, asked: Message) -> Message:
        with self.lock:
            seen = vars(self).setdefault("seen", set())
            if asked.encode() in seen:
                raise ZeroDivisionError("seen")
            seen.add(asked.encode())
        return super().answer(role, asked)


class TakesAnybody(ForeignMatcher):
    """Asks for no certificate."""

    wants_certificates = False


class OtherSet(ForeignMatcher):
    """Hands out a set-up file with one byte changed."""

    def FetchSetup(self, request: Any, context: Any) -> Iterator[pb.Part]:
        for part in super().FetchSetup(request, context):
            yield pb.Part(size=part.size, data=part.data[:-1] + b"\0")


class GivesItsKeyAway(ForeignMatcher):
    """Hands out any file of its folder."""

    def FetchSetup(self, request: Any, context: Any) -> Iterator[pb.Part]:
        if request.name == "matcher.bin":
            raw = self.build.files["matcher.bin"]
            yield pb.Part(size=len(raw), data=raw)
        else:
            yield from super().FetchSetup(request, context)


class DeniesAMatch(ForeignMatcher):
    """Answers a listed hash as if it were none."""

    def answer(self, role: Role, asked: Message) -> Message:
        poor: Any = asked
        return super().answer(role, replace(poor, quality=0))


BAD = (
    (WrongKeyForSome, oprf_psi, "outcomes", "the device refuses it"),
    (WrongKeyForSome, oprf_psi, "proofs", "field proof: under the manifest's public key: does not hold"),
    (SameNonce, oprf_psi, "proofs", "two proofs share a nonce"),
    (PadsAMatch, hash_upload, "shape", "different metadata"),
    (ExtraField, hash_upload, "shape", "bytes: for pictures"),
    (ExtraField, hash_upload, "codec", "field 31: there is no such field"),
    (LeftOver, oprf_psi, "codec", "left"),
    (RaisesOnGarbage, oprf_psi, "hostile requests", "not UNKNOWN"),
    (StopsOnGarbage, oprf_psi, "hostile requests", "UNAVAILABLE"),
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
    limits = {"reply_bytes": 108, "answer_ms": 30_000}
    (line,) = lines(world.check(ForeignMatcher(oprf), "resources", limits=limits))
    assert "109 bytes; the manifest declares at most 108" in line


def test_other_parameters_than_the_set_s_are_a_failure(world: World, oprf: Build) -> None:
    (line,) = lines(world.check(ForeignMatcher(oprf), "description", parameters={"evaluations": 4}))
    assert "field parameters.evaluations: is 4; in set.bin it is 1" in line


class Endless(ForeignMatcher):
    """A set-up file that does not end."""

    def FetchSetup(self, request: Any, context: Any) -> Iterator[pb.Part]:
        while not self.stop.is_set():
            yield pb.Part(data=bytes(1 << 19))


def test_a_set_up_file_that_does_not_end_is_broken_off(world: World, oprf: Build) -> None:
    (line,) = lines(world.check(Endless(oprf), "description"))
    assert "description: set-up file set.bin: field size" in line


class Silent(ForeignMatcher):
    """Describes itself and answers nothing."""

    def answer(self, role: Role, asked: Message) -> Message:
        self.stop.wait(30)
        return super().answer(role, asked)


def test_a_matcher_that_does_not_answer_in_time_is_caught_once(world: World, oprf: Build) -> None:
    limits = {"reply_bytes": 4096, "answer_ms": 3000}
    (line,) = lines(world.check(Silent(oprf), "outcomes", limits=limits))
    assert "DEADLINE_EXCEEDED" in line
    assert "(1 of 1 honest sessions fail)" in line


def test_another_public_key_than_the_manifest_s_is_a_failure(world: World, oprf: Build) -> None:
    other: Any = oprf_psi.DESIGN.open_setup(built(oprf_psi.DESIGN, "another key").setup_files, 3)
    (line,) = lines(world.check(ForeignMatcher(oprf), "proofs", public_key=other.public_key.element.hex()))
    assert "under the manifest's public key" in line


# --- the manifest --------------------------------------------------------------------------------


def test_the_committed_schema_is_the_model_s() -> None:
    assert json.loads(SCHEMA.read_text("utf-8")) == manifests.schema()


@pytest.mark.parametrize("place", [(), ("setup", 0), ("listed",), ("credentials",), ("limits",)])
def test_an_unknown_field_is_refused_and_named(
    world: World, oprf: Build, place: tuple[str | int, ...]
) -> None:
    held: Any = json.loads(world.manifest(oprf).read_text())
    jsonschema.validate(held, manifests.schema())
    inner = held
    for key in place:
        inner = inner[key]
    inner["comment"] = "unknown"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(held, manifests.schema())
    path = world.folder / "unknown.json"
    path.write_text(json.dumps(held))
    dotted = ".".join(map(str, (*place, "comment")))
    with pytest.raises(ManifestError, match=f"unknown.json: field {dotted}: unknown"):
        read_manifest(path)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("design", "token-psi", "field design: must be 'oprf-psi', not 'token-psi'"),
        ("design_version", 2, "field design_version: must be 1, not 2"),
        ("contract", 9, "field contract: must be 1, not 9"),
        ("parameters", {"nonsense": 1}, "field parameters.nonsense: oprf-psi has no such parameter"),
        ("version", 2, "field version: "),
        ("setup", [{"name": "set.bin", "path": "x", "sha256": "ab" * 32}] * 2, "setup: .*each file once"),
        ("public_key", "00", "field public_key: "),
        ("listed", {"complete": True, "hashes": ["ab" * 32] * 2}, "field listed: .*each entry once"),
    ],
)
def test_a_manifest_of_something_else_is_refused(
    world: World, oprf: Build, field: str, value: Any, words: str
) -> None:
    path = world.manifest(oprf, **{field: value})
    with pytest.raises(ManifestError, match=words):
        read_manifest(path).check_for(oprf_psi.DESIGN)


def test_a_set_of_another_digest_is_refused(world: World, oprf: Build) -> None:
    path = world.manifest(oprf)
    (world.folder / "set.bin").write_bytes(b"another")
    with pytest.raises(ManifestError, match=r"field setup.0.sha256: is not the digest of set.bin"):
        read_manifest(path).setup_files()


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
    jsonschema.validate(json.loads(manifest.read_text()), manifests.schema())
    ran = _remote(served, manifest)
    assert ran.code == 0, ran.err
    verdicts = {check["check"]: check["verdict"] for check in ran.json["checks"]}
    assert set(verdicts) == {check.name for check in REMOTE_CHECKS} | set(NOT_REMOTE)
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
    assert (
        "failed: oprf-psi: outcomes: outcome: a picture whose very hash is listed is not found (seed 4)"
        in ran.err
    )
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
