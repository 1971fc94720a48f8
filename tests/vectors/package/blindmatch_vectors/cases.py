"""Cases of a vector, as questions for an implementation, and what its answer must be.

A failing case is only worth something if the implementation does the same step when nothing is wrong. So each
case has a step, and those of a step that must go well come before those that must be refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

Vector = Mapping[str, Any]


@dataclass(frozen=True)
class Case:
    """One question and what must come of it.

    Attributes:
        step: what is tried; cases of one step stand and fall together.
        title: the case in words.
        question: without its number.
        gives: what the answer must give; None if the question must be refused.
        refused: of a refused case its `rule` and `class`.
    """

    step: str
    title: str
    question: Mapping[str, Any]
    gives: Mapping[str, Any] | None
    refused: Mapping[str, str] = field(default_factory=dict)


def cases_of(vector: Vector) -> Iterator[Case]:
    """Yield all cases of a vector; of each step those that must go well first."""
    for cases in (_decoding, _opening, _sessions, _answers):
        yield from cases(vector)


def _refused(case: Mapping[str, Any]) -> dict[str, str]:
    return {"rule": case["rule"], "class": case["class"]}


def _decoding(vector: Vector) -> Iterator[Case]:
    for message in vector["messages"]:
        name = message["name"]
        question = {"do": "decode", "message": name}
        for number, case in enumerate(message["accepted"]):
            asked = {**question, "encoding": case["encoding"]}
            yield Case(f"decode {name}", f"encoding {number}", asked, {"fields": case["fields"]})
        for number, case in enumerate(message["refused"]):
            asked = {**question, "encoding": case["encoding"]}
            yield Case(f"decode {name}", f"malformed encoding {number}", asked, None, _refused(case))


def files_of(vector: Vector, role: str | None) -> dict[str, str]:
    """Return the files that a device has of the set, or the server of a role, by name."""
    held = vector["set"]
    names = [*held["setup"], *(held["roles"][role] if role is not None else [])]
    return {name: held["files"][name] for name in names}


def _opening(vector: Vector) -> Iterator[Case]:
    epoch = vector["set"]["epoch"]
    for role in (None, *vector["set"]["roles"]):
        step = "open the set-up" if role is None else f"open the files of {role}"
        files = files_of(vector, role)
        question = {"do": "open", "role": role, "epoch": epoch}
        yield Case(step, "all files", {**question, "files": files}, {})
        for case in (one for one in vector["refused_files"] if one["role"] == role):
            asked = {
                **question,
                "epoch": case["epoch"],
                "files": changed(files, case["file"], case["change"]),
            }
            yield Case(step, f"{case['file']}: {case['how']}", asked, None, _refused(case))


def changed(files: Mapping[str, str], name: str, change: Mapping[str, Any]) -> dict[str, str]:
    """Return files in hexadecimal with one of them changed, as `change` of the schema says."""
    text = files[name]
    altered = dict(files)
    if "missing" in change:
        del altered[name]
    elif "length" in change:
        altered[name] = text[: 2 * change["length"]]
    elif "append" in change:
        altered[name] = text + change["append"]
    elif "at" in change:
        at = 2 * change["at"]
        altered[name] = text[:at] + change["byte"] + text[at + 2 :]
    return altered


def _session_question(vector: Vector, session: Mapping[str, Any]) -> dict[str, Any]:
    item = next(one for one in vector["items"] if one["name"] == session["item"])
    return {
        "do": "session",
        "epoch": vector["set"]["epoch"],
        "files": files_of(vector, None),
        "state": session["state_before"],
        "item": item,
        "tape": session["tape"],
        "replies": _by_role(session, "reply"),
    }


def _by_role(session: Mapping[str, Any], part: str) -> list[dict[str, str]]:
    return [{asked["role"]: asked[part] for asked in turn} for turn in session["rounds"]]


def _sessions(vector: Vector) -> Iterator[Case]:
    step = "sessions of a device"
    for session in vector["sessions"]:
        gives = {
            "bodies": _by_role(session, "body"),
            "outcome": session["outcome"],
            "state": session["state_after"],
        }
        yield Case(step, f"picture {session['item']}", _session_question(vector, session), gives)
    for case in vector["refused_replies"]:
        session = vector["sessions"][case["session"]]
        question = _session_question(vector, session)
        replies = question["replies"][: case["round"] + 1]
        replies[case["round"]] = {**replies[case["round"]], case["role"]: case["reply"]}
        title = f"reply of {case['role']} in round {case['round'] + 1}: {case['how']}"
        yield Case(step, title, {**question, "replies": replies}, None, _refused(case))


def _answers(vector: Vector) -> Iterator[Case]:
    for role in vector["set"]["roles"]:
        step = f"answers of {role}"
        question = {
            "do": "answer",
            "role": role,
            "epoch": vector["set"]["epoch"],
            "files": files_of(vector, role),
        }
        for session in vector["sessions"]:
            for asked in (one for turn in session["rounds"] for one in turn if one["role"] == role):
                gives = {"reply": asked["reply"], "verdict": asked["verdict"]}
                with_body = {**question, "body": asked["body"], "tape": asked["tape"]}
                yield Case(step, f"picture {session['item']}", with_body, gives)
        for case in (one for one in vector["refused_requests"] if one["role"] == role):
            # what a server draws for a request that it refuses is of no account, but it may draw
            with_body = {**question, "body": case["body"], "tape": SPARE_TAPE}
            yield Case(step, f"request: {case['how']}", with_body, None, _refused(case))


SPARE_TAPE = bytes(range(256)).hex() * 16
