"""Runs a design against a vector: every file, tape and message must come out as recorded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from blindmatch_protocol.codec import decode_any
from blindmatch_protocol.contract import AnyDesign, Published, Role, Session
from blindmatch_protocol.randomness import replayed, seeded

from blindmatch_simulations.conformance.codec_check import message_classes
from blindmatch_simulations.conformance.vectors.damaged import refuses_file
from blindmatch_simulations.conformance.vectors.item import VectorItem, from_json
from blindmatch_simulations.conformance.vectors.make import (
    decodes,
    fields_json,
    outcome_json,
    refuses_reply,
    refuses_request,
    verdict_json,
)
from blindmatch_simulations.inprocess.deployed import Build, Deployed, opened, run_session


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
        yield from _session(deployed, pictures[held["item"]], held)
    for held in vector["refused_requests"]:
        rule = refuses_request(deployed, Role(held["role"]), bytes.fromhex(held["body"]))
        if rule != held["rule"]:
            yield f"request, {held['how']}: {rule}, not {held['rule']}"
    for held in vector["refused_replies"]:
        session = vector["sessions"][held["session"]]
        item = pictures[session["item"]]
        raw = bytes.fromhex(held["reply"])
        rule = refuses_reply(deployed, item, session, held["round"], held["role"], raw)
        if rule != held["rule"]:
            yield f"reply, {held['how']}: {rule}, not {held['rule']}"
    yield from _files(deployed.build, vector["refused_files"])


def _build(design: AnyDesign, held: Mapping[str, Any]) -> Build:
    """The recorded files, opened as they are."""
    files = {name: bytes.fromhex(raw) for name, raw in held["files"].items()}
    roles = {Role(role): tuple(names) for role, names in held["roles"].items()}
    entries = np.frombuffer(bytes.fromhex("".join(held["entries"])), np.uint8).reshape(-1, 32)
    return Build(design, held["epoch"], entries, files, Published(tuple(held["setup"]), roles))


def _files(build: Build, cases: list[Mapping[str, Any]]) -> Iterator[str]:
    for held in cases:
        rule = refuses_file(build, held)
        if rule != held["rule"]:
            yield f"{held['step']}, {held['file']} {held['how']}: {rule}, not {held['rule']}"


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


def _session(deployed: Deployed, item: VectorItem, held: Mapping[str, Any]) -> Iterator[str]:
    design, name = deployed.design, held["item"]
    if design.info.native_randomness:
        yield from _formed(deployed, item, held)
        return
    state = design.device_state.decode(bytes.fromhex(held["state_before"]))
    session = Session(design, deployed.setup, state, replayed(bytes.fromhex(held["tape"])))
    step: Any = session.start(item)
    for number, recorded in enumerate(held["rounds"], 1):
        bodies = {asked["role"]: asked["body"] for asked in recorded}
        if {str(role): body.encode().hex() for role, body in step.items()} != bodies:
            yield f"{name}, round {number}: other bodies than recorded"
            return
        for asked in recorded:
            yield from _answer(deployed, name, asked)
        step = session.receive(
            {
                Role(asked["role"]): decode_any(
                    design.replies[Role(asked["role"])], bytes.fromhex(asked["reply"]), "reply"
                )
                for asked in recorded
            }
        )
    if isinstance(step, Mapping) or outcome_json(session.conclude()) != held["outcome"]:
        yield f"{name}: another outcome than recorded"
    if session.state.encode().hex() != held["state_after"]:
        yield f"{name}: another state than recorded"


def _formed(deployed: Deployed, item: VectorItem, held: Mapping[str, Any]) -> Iterator[str]:
    """A fresh session has the recorded one's rounds, roles, lengths and outcome, if not its bytes."""
    ran = run_session(deployed, item, seeded("vectors/native"))
    lengths = [{str(one.role): 2 * len(one.body.encode()) for one in turn} for turn in ran.rounds]
    if lengths != [{asked["role"]: len(asked["body"]) for asked in turn} for turn in held["rounds"]]:
        yield f"{held['item']}: bodies of other lengths than recorded"
    if outcome_json(ran.outcome) != held["outcome"]:
        yield f"{held['item']}: another outcome than recorded"


def _answer(deployed: Deployed, name: str, asked: Mapping[str, Any]) -> Iterator[str]:
    role = Role(asked["role"])
    body = decode_any(deployed.design.requests[role], bytes.fromhex(asked["body"]), "request")
    reply, verdict = deployed.answer(role, body, replayed(bytes.fromhex(asked["tape"])))
    if reply.encode().hex() != asked["reply"] or verdict_json(verdict) != asked["verdict"]:
        yield f"{name}: role {role} answers differently"
