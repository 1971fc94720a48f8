"""Runs a design against a vector: every file, tape and message must come out as recorded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from blindmatch_protocol.codec.errors import BlindmatchError
from blindmatch_protocol.codec.randomness import replayed, seeded
from blindmatch_protocol.contract import AnyDesign, Published, Role
from blindmatch_simulations.evaluation.conformance.hostility import message_classes
from blindmatch_simulations.evaluation.conformance.vector_cases import KINDS, Kind, VectorItem, from_json
from blindmatch_simulations.evaluation.conformance.vectors import (
    decodes,
    fields_json,
    outcome_json,
    session_json,
)
from blindmatch_simulations.testbed.inprocess.deployed import Build, Deployed, opened, run_session


def differences(design: AnyDesign, vector: Mapping[str, Any]) -> Iterator[str]:
    """What in `vector` the design does not do; nothing if all is well."""
    info = design.info
    if (vector["design"], vector["version"]) != (info.name, info.version):
        yield f"the vector is of {vector['design']}, version {vector['version']}"
        return
    deployed = opened(_build(design, vector["set"]))
    pictures = {held["name"]: from_json(held) for held in vector["items"]}
    yield from _messages(design, vector["messages"])
    for held in vector["sessions"]:
        again = _formed if info.native_randomness else _session
        yield from again(deployed, pictures[held["item"]], held)
    for kind in KINDS:
        yield from _refused(kind, deployed, vector)


def _build(design: AnyDesign, held: Mapping[str, Any]) -> Build:
    """The recorded files, opened as they are."""
    files = {name: bytes.fromhex(raw) for name, raw in held["files"].items()}
    roles = {Role(role): tuple(names) for role, names in held["roles"].items()}
    entries = np.frombuffer(bytes.fromhex("".join(held["entries"])), np.uint8).reshape(-1, 32)
    return Build(design, held["epoch"], entries, files, Published(tuple(held["setup"]), roles))


def _messages(design: AnyDesign, recorded: list[Mapping[str, Any]]) -> Iterator[str]:
    classes = {kind.NAME: kind for kind in message_classes(design)}
    if set(classes) != {held["name"] for held in recorded}:
        yield "the vector has other messages than the design"
        return
    for held in recorded:
        kind = classes[held["name"]]
        for case in held["accepted"]:
            raw = bytes.fromhex(case["encoding"])
            if decodes(kind, raw) is not None or fields_json(kind.decode(raw)) != case["fields"]:
                yield f"{kind.NAME}: {case['encoding'][:64]} does not decode to its fields"
        for case in held["refused"]:
            if decodes(kind, bytes.fromhex(case["encoding"])) != case["rule"]:
                yield f"{kind.NAME}: {case['encoding'][:64]} is not refused for {case['rule']!r}"


def _refused(kind: Kind, deployed: Deployed, vector: Mapping[str, Any]) -> Iterator[str]:
    """Recorded cases that are not refused for their rule."""
    for case in vector[kind.key]:
        rule = kind.rule(deployed, vector, case)
        if rule != case["rule"]:
            yield f"{kind.key}: {case['how']}: {rule}, not {case['rule']}"


def _session(deployed: Deployed, item: VectorItem, held: Mapping[str, Any]) -> Iterator[str]:
    """A session from the recorded state and tapes is the recorded one."""
    state = deployed.design.device_state.decode(bytes.fromhex(held["state_before"]))
    tapes = [{asked["role"]: bytes.fromhex(asked["tape"]) for asked in turn} for turn in held["rounds"]]
    rng = replayed(bytes.fromhex(held["tape"]))
    try:
        made = session_json(deployed, item, state, rng, lambda at, role: replayed(tapes[at][role]))
    except (BlindmatchError, LookupError) as error:
        yield f"{held['item']}: does not run as recorded: {error}"
        return
    for part in ("rounds", "outcome", "state_after"):
        if made[part] != held[part]:
            yield f"{held['item']}: other {part} than recorded"


def _formed(deployed: Deployed, item: VectorItem, held: Mapping[str, Any]) -> Iterator[str]:
    """A fresh session has the recorded one's rounds, roles, lengths and outcome, if not its bytes."""
    ran = run_session(deployed, item, seeded("vectors/native"))
    lengths = [{str(one.role): 2 * len(one.body.encode()) for one in turn} for turn in ran.rounds]
    if lengths != [{asked["role"]: len(asked["body"]) for asked in turn} for turn in held["rounds"]]:
        yield f"{held['item']}: bodies of other lengths than recorded"
    if outcome_json(ran.outcome) != held["outcome"]:
        yield f"{held['item']}: another outcome than recorded"
