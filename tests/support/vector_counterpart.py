"""This program's designs as a counterpart of the vectors' runner: ``python -m support.vector_counterpart``.

One JSON line is read and one is written (tests/vectors/package/README.md). `--wrong NAME` plants a bug, to
show that the runner finds it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final

from blindmatch_protocol.codec import decode_any
from blindmatch_protocol.codec.errors import BlindmatchError
from blindmatch_protocol.codec.randomness import replayed
from blindmatch_protocol.contract import AnyDesign, Request, Role, Session, answered
from blindmatch_simulations.evaluation.conformance.hostility import message_classes
from blindmatch_simulations.evaluation.conformance.vector_cases import from_json
from blindmatch_simulations.evaluation.conformance.vectors import fields_json, outcome_json, verdict_json
from blindmatch_simulations.testbed.deployment.registry import load_design

Question = Mapping[str, Any]
Answer = dict[str, Any]

designed = cache(load_design)


def _files(question: Question) -> dict[str, bytes]:
    return {name: bytes.fromhex(raw) for name, raw in question["files"].items()}


def decode(design: AnyDesign, question: Question) -> Answer:
    kinds = {kind.NAME: kind for kind in message_classes(design)}
    return {"fields": fields_json(kinds[question["message"]].decode(bytes.fromhex(question["encoding"])))}


def open_files(design: AnyDesign, question: Question) -> Answer:
    if question["role"] is None:
        design.open_setup(_files(question), question["epoch"])
    else:
        design.open_role(Role(question["role"]), _files(question))
    return {}


def session(design: AnyDesign, question: Question) -> Answer:
    setup = design.open_setup(_files(question), question["epoch"])
    state = design.device_state.decode(bytes.fromhex(question["state"]))
    running = Session(design, setup, state, replayed(bytes.fromhex(question["tape"])))
    step = running.start(from_json(question["item"]))
    bodies = []
    for replies in question["replies"]:
        assert isinstance(step, Mapping)
        bodies.append({str(role): body.encode().hex() for role, body in step.items()})
        step = running.receive(
            {
                Role(role): decode_any(design.replies[Role(role)], bytes.fromhex(raw), f"reply of {role}")
                for role, raw in replies.items()
            }
        )
    outcome = outcome_json(running.conclude())
    return {"bodies": bodies, "outcome": outcome, "state": running.state.encode().hex()}


def answer(design: AnyDesign, question: Question) -> Answer:
    role = Role(question["role"])
    state = design.open_role(role, _files(question))
    body = decode_any(design.requests[role], bytes.fromhex(question["body"]), f"request to {role}")
    tape = replayed(bytes.fromhex(question["tape"]))
    reply, verdict = answered(design, role, state, Request(body, None), tape, None)
    return {"reply": reply.encode().hex(), "verdict": verdict_json(verdict)}


STEPS: Final[dict[str, Callable[[AnyDesign, Question], Answer]]] = {
    "decode": decode,
    "open": open_files,
    "session": session,
    "answer": answer,
}


def respond(question: Question) -> Answer:
    """Return the answer to a question, without its number."""
    try:
        return {"gives": STEPS[question["do"]](designed(question["design"]), question)}
    except BlindmatchError as error:
        return {"refuses": str(error)}


def _ignoring_what_follows(question: Question) -> Answer:
    """Decode as one that ignores bytes behind the last field."""
    given = respond(question)
    if question["do"] == "decode" and "left over" in given.get("refuses", ""):
        return respond({**question, "encoding": question["encoding"][:-2]})
    return given


def _refusing_all(question: Question) -> Answer:
    return {"refuses": "everything"}


def _lacking_all(question: Question) -> Answer:
    return {"lacks": "everything"}


def _without_sessions(question: Question) -> Answer:
    return {"lacks": "sessions"} if question["do"] == "session" else respond(question)


def _always_a_match(question: Question) -> Answer:
    given = respond(question)
    if given.get("gives", {}).get("outcome") == {"outcome": "NoMatch"}:
        given["gives"]["outcome"] = {"outcome": "Match"}
    return given


WRONG: Final[dict[str, Callable[[Question], Answer]]] = {
    "": respond,
    "left-over": _ignoring_what_follows,
    "refuse": _refusing_all,
    "lack": _lacking_all,
    "no-sessions": _without_sessions,
    "match": _always_a_match,
}


def main() -> None:
    way = WRONG[sys.argv[2] if sys.argv[1:2] == ["--wrong"] else ""]
    for line in sys.stdin:
        question = json.loads(line)
        sys.stdout.write(json.dumps({"number": question["number"], **way(question)}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
