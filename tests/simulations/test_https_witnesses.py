"""A deployment whose log has witnesses that others run: made, published under, pinned."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path

import pytest
from blindmatch_proofs.checkpoint import VerifierKey
from blindmatch_proofs.tlog import Policy
from blindmatch_protocol.codec.randomness import system_randomness
from blindmatch_simulations.testbed.deployment.folder import Deployment, DeploymentError
from blindmatch_simulations.testbed.deployment.transparency import (
    LOG,
    ForeignWitness,
    foreign_of,
    make_log,
    read_log,
)
from blindmatch_simulations.testbed.scenario.world import World
from support.command import in_process
from support.http_witness import HttpWitness, certificate_for

from .test_epoch_log import DESIGN, now, proof_of, source


def lines(*witnesses: HttpWitness, urls: str = " https://127.0.0.1:{port}/w", port: int = 1) -> str:
    named = [f"witness {one.name} {one.text}{urls.format(port=port)}\n" for one in witnesses]
    return "".join(named) + "quorum none\n"


def known(home: Path, origin: str) -> bytes | None:
    log = read_log(Deployment.open(home))
    assert log is not None
    return log.public if log.known(origin) else None


def test_a_device_takes_an_epoch_that_only_witnesses_of_others_cosigned(tmp_path: Path) -> None:
    home = tmp_path / "home"
    pem = tmp_path / "server.pem"
    (tmp_path / "roots.pem").write_text(certificate_for(pem))
    with World.create(home, DESIGN) as world, ExitStack() as stack:
        north, south = (HttpWitness(name, lambda origin: known(home, origin)) for name in ("north", "south"))
        ports = [stack.enter_context(one.serving(pem)) for one in (north, south)]
        first = lines(north, port=ports[0]).replace("quorum none\n", "")
        (tmp_path / "others.txt").write_text(first + lines(south, port=ports[1]))
        made = in_process(
            home, "log", "init", "--witnesses", 0, "--foreign", tmp_path / "others.txt",
            "--roots", tmp_path / "roots.pem", "--json", tmp_path / "made.json",
        )  # fmt: skip
        assert made.code == 0, made.err
        shown = json.loads((tmp_path / "made.json").read_text())
        assert (shown["needed"], shown["witnesses"]) == (2, {"north": north.text, "south": south.text})
        assert world.log_parties == (LOG,)
        world.start(world.log_parties, threads=True)
        world.publish(source(3), system_randomness())
        assert {one.name for one in proof_of(world, 1).note.signatures[1:]} == {"north", "south"}
        world.start(threads=True)
        alice = world.device("alice").device
        assert alice.refresh() == 1
        shown = in_process(home, "log", "show", "--policy", tmp_path / "policy.txt")
        assert "/counts+" in "".join(shown.out.split())
        assert shown.code == 0 and "https" not in (tmp_path / "policy.txt").read_text()


def test_witnesses_of_one_operator_count_once_whoever_runs_the_rest(tmp_path: Path) -> None:
    first, second, third = (HttpWitness(name, dict[str, bytes]().get) for name in ("a", "b", "c"))
    text = lines(first, second, third).replace("quorum", "group acme any a b\nquorum")
    others = foreign_of(Policy.parse(text))
    assert [one.operator for one in others] == ["acme", "acme", "c"]
    log = make_log(Deployment.create(tmp_path / "home", now()), 1, None, foreign=others)
    assert log.needed == 3 and read_log(Deployment.open(tmp_path / "home")) == log
    policy = log.policy("origin.example")
    (mine,) = log.witnesses.values()
    assert policy.is_quorum({mine.name, "b", "c"}) and not policy.is_quorum({mine.name, "a", "b"})


def test_a_witness_of_others_without_a_fit_address_key_or_root_makes_no_log(tmp_path: Path) -> None:
    one, two = (HttpWitness(name, dict[str, bytes]().get) for name in ("a", "b"))
    deployment = Deployment.create(tmp_path / "home", now())
    for text, rule in ((lines(one, urls=""), "needs a URL"), ("quorum none\n", "no witness")):
        with pytest.raises(DeploymentError, match=rule):
            foreign_of(Policy.parse(text))
    fit = foreign_of(Policy.parse(lines(one)))
    plain = foreign_of(Policy.parse(lines(two, urls=" http://w.example/")))
    for foreign, roots, rule in (
        (plain, "", "must be https"),
        ((*fit, *fit), "", "must not stand twice"),
        (fit, "junk", "PEM"),
        ((), "", "1 to 16 witnesses"),
        (fit * 17, "", "1 to 16 witnesses"),
    ):
        with pytest.raises(DeploymentError, match=rule):
            make_log(deployment, 0, None, foreign=foreign, roots=roots)
        assert read_log(deployment) is None
    for name in ("witness_1", "witness-1.blindmatch.test/witness_1", "operator-3", "quorum", "none"):
        twin = HttpWitness(name, dict[str, bytes]().get)
        named = ForeignWitness(VerifierKey.parse(twin.text), "https://w.example", "them")
        with pytest.raises(DeploymentError, match="must be new"):
            make_log(deployment, 2, None, foreign=(named,))
        assert read_log(deployment) is None
    with pytest.raises(DeploymentError, match="operators"):
        make_log(deployment, 0, 2, foreign=fit)
    make_log(deployment, 0, None, foreign=fit)
    path = deployment.home / "log.json"
    held = json.loads(path.read_text())
    for broken in ({"key": one.text}, {"key": "junk", "url": "u", "operator": "o"}, {}):
        path.write_text(json.dumps(held | {"witnesses": {"a": broken}}))
        with pytest.raises(DeploymentError, match="damaged"):
            read_log(deployment)
