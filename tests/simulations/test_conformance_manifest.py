"""A manifest of a counterpart follows its schema, and is refused by field and rule otherwise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import blindmatch_simulations
import jsonschema
import pytest
from blindmatch_protocol.designs import oprf_psi
from blindmatch_simulations.evaluation.conformance.remote.counterpart import read_manifest
from blindmatch_simulations.testbed.deployment.addresses import ManifestError
from blindmatch_simulations.testbed.inprocess.deployed import Build
from support.remote_world import World, built
from support.schemas import of_manifests

SCHEMA = Path(blindmatch_simulations.__file__).parent / "data" / "conformance-manifest-v1.schema.json"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("remote"))


@pytest.fixture(scope="module")
def oprf() -> Build:
    return built(oprf_psi.DESIGN)


def test_the_committed_schema_is_the_model_s() -> None:
    assert json.loads(SCHEMA.read_text("utf-8")) == of_manifests()


@pytest.mark.parametrize("place", [(), ("setup", 0), ("listed",), ("credentials",), ("limits",)])
def test_an_unknown_field_is_refused_and_named(
    world: World, oprf: Build, place: tuple[str | int, ...]
) -> None:
    held: Any = json.loads(world.manifest(oprf).read_text())
    jsonschema.validate(held, of_manifests())
    inner = held
    for key in place:
        inner = inner[key]
    inner["comment"] = "unknown"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(held, of_manifests())
    path = world.folder / "unknown.json"
    path.write_text(json.dumps(held))
    dotted = ".".join(map(str, (*place, "comment")))
    with pytest.raises(ManifestError, match=f"unknown.json: field {dotted}: unknown"):
        read_manifest(path)


def test_a_misspelt_field_is_named_as_it_stands_there(world: World, oprf: Build) -> None:
    path = world.manifest(oprf)
    path.write_text(path.read_text().replace('"epoch"', '"epohc"'))
    with pytest.raises(ManifestError, match="field epohc: unknown"):
        read_manifest(path)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("design", "token-psi", "field design: must be 'oprf-psi', not 'token-psi'"),
        ("design_version", 9, "field design_version: must be 2, not 9"),
        ("contract", 9, "field contract: must be 3, not 9"),
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
