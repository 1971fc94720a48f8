"""Roles that must not collude: at two parties by declaration, with two operators by deployment."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from blindmatch_protocol.contract import Content, Info, Party, Role
from blindmatch_protocol.sets.plain_list import EPOCH_FILE, LIST_FILE
from blindmatch_server.matching.epochs import PublishedSource
from blindmatch_simulations.testbed.deployment.folder import Deployment, DeploymentError
from blindmatch_simulations.testbed.deployment.registry import collusions, faults, operators, operators_of
from dummy_designs import CARRIED, PARTY_A, PARTY_B, SHARES, THIRD
from msgspec.structs import replace
from support.command import in_process

DUMMIES = f"{Path(__file__).parents[1] / 'dummy_designs.py'}:SHARES"
INFO = SHARES.info
A = Party("party_a")
B = Party("party_b")


def info(**fields: Any) -> Info:
    return replace(INFO, **fields)


def test_a_declaration_whose_roles_are_at_their_own_parties_is_taken() -> None:
    assert list(faults(INFO)) == []
    assert list(faults(info(apart=(), forwarded={PARTY_A: Party.PROVIDER}))) == []


@pytest.mark.parametrize(
    ("fields", "rule"),
    [
        ({"roles": {**INFO.roles, PARTY_B: A}}, "must be at two parties or more"),
        ({"apart": (frozenset({PARTY_A}),)}, "must be at two parties or more"),
        ({"apart": (frozenset({PARTY_A, Role("police")}),)}, "not police"),
        ({"forwarded": {Role("police"): Party.PROVIDER}}, "not police"),
        ({"forwarded": {PARTY_A: A}}, "must be another that forwards"),
        ({"forwarded": {PARTY_A: Party.CENTRE}}, "neither hosts roles nor forwards"),
        ({"roles": {**INFO.roles, PARTY_A: Party.DEVICE}}, "neither hosts roles nor forwards"),
        ({"forwarded": {PARTY_A: Party.PROVIDER}, "sends_content": Content.CLEAR}, "forwards none"),
    ],
)
def test_a_declaration_that_puts_parties_together_is_refused(fields: Any, rule: str) -> None:
    assert any(rule in fault for fault in faults(info(**fields)))


@pytest.mark.parametrize(
    ("held", "found"),
    [
        ({}, 0),
        ({A: "acme", B: "acme"}, 1),
        ({A: "acme", B: "other"}, 0),
        # whoever is not named is its own operator, whatever another calls itself
        ({A: "party_b"}, 0),
    ],
)
def test_one_operator_of_two_parties_that_are_apart_is_found(held: Mapping[Party, str], found: int) -> None:
    assert len(collusions(INFO, held)) == found


def test_a_carrier_and_the_role_it_forwards_to_have_two_operators() -> None:
    carried = info(apart=(), forwarded={PARTY_A: Party.PROVIDER})
    assert collusions(carried, {A: "acme", Party.PROVIDER: "acme"}) == [
        "acme operates party_a and relay, and party_a must not learn who asks"
    ]
    assert collusions(carried, {A: "acme", B: "acme"}) == []


@pytest.mark.parametrize("named", [["acme"], ["party_a="], ["device=acme"], ["a=x", "a=y"]])
def test_what_names_no_operator_is_refused(named: list[str]) -> None:
    with pytest.raises(DeploymentError, match="operator"):
        operators_of(named)


def test_a_deployment_without_operators_has_each_party_run_by_itself(tmp_path: Path) -> None:
    assert operators(Deployment.create(tmp_path / "home", datetime.now(UTC))) == {}


def test_a_pack_has_the_files_of_its_own_roles_alone_and_can_be_served_from(tmp_path: Path) -> None:
    home = tmp_path / "home"
    design = ("--design", DUMMIES.replace("SHARES", "CARRIED"))
    for command in (["certs", "init"], ["list", "random", "5", "known"], ["list", "build", "known", *design]):
        assert in_process(home, *command).code == 0
    held = {}
    for server in ("relay", "third"):
        folder = tmp_path / server
        assert in_process(home, "certs", "pack", server, folder, *design).code == 0
        held[server] = {path.name for path in (folder / "curator/published/dummy-carried/1").iterdir()}
        packed = Deployment.open(folder)
        party = Party.of_server(server)
        source = PublishedSource(
            CARRIED, packed.published("dummy-carried"), party, packed.curator_public_key()
        )
        assert set(source.open().roles) == ({THIRD} if server == "third" else set())
        found = {one["check"]: one for one in in_process(folder, "doctor", *design, "--json", "-").json}
        assert found["epoch"]["status"] == "ok"
    assert held["third"] - held["relay"] == {LIST_FILE} and EPOCH_FILE in held["relay"]


def test_serve_pack_and_doctor_refuse_one_operator_unless_told_otherwise(tmp_path: Path) -> None:
    home = tmp_path / "home"
    design = ("--design", DUMMIES)
    told = [word for name in ("party_a", "party_c") for word in ("--operator", f"{name}=acme")]
    assert in_process(home, "certs", "init", *told).code == 0
    for command in (
        ["serve", "party_a"],
        ["serve", "all"],
        ["certs", "pack", "party_a", tmp_path / "packed"],
    ):
        refused = in_process(home, *command, *design)
        assert refused.code == 4 and "acme operates party_a and party_c" in " ".join(refused.err.split())
    assert not (tmp_path / "packed").exists()
    for command in (["list", "random", "5", "known"], ["list", "build", "known", *design]):
        assert in_process(home, *command).code == 0
    packing = ("certs", "pack", "party_a", tmp_path / "packed", *design, "--allow-collusion")
    assert in_process(home, *packing).code == 0
    assert operators(Deployment.open(tmp_path / "packed")) == {A: "acme", Party("party_c"): "acme"}
    found = {one["check"]: one for one in in_process(home, "doctor", *design, "--json", "-").json}
    assert found["operators"]["status"] == "wrong" and "acme" in found["operators"]["what"]
    allowed = in_process(home, "doctor", *design, "--allow-collusion", "--json", "-").json
    assert [one["status"] for one in allowed if one["check"] == "operators"] == ["warning"]
