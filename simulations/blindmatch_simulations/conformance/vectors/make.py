"""Vectors of one design: its files, every message, every step of sessions, and what must be refused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
from blindmatch_protocol.codec import (
    Fixed,
    Flag,
    Matrix,
    Message,
    Nested,
    Sequence,
    Text,
    UInt,
    Variable,
    decode_any,
    layout,
)
from blindmatch_protocol.contract import (
    AnyDesign,
    Item,
    Match,
    Outcome,
    Role,
    Session,
    Verdict,
    Voucher,
)
from blindmatch_protocol.contract import Flag as Flagged
from blindmatch_protocol.errors import ProtocolError
from blindmatch_protocol.randomness import Recording, replayed, seeded

from blindmatch_simulations.conformance.codec_check import message_classes
from blindmatch_simulations.conformance.vectors.damaged import refused_files
from blindmatch_simulations.conformance.vectors.item import VectorItem, flipped, make_item
from blindmatch_simulations.inprocess.deployed import Build, Deployed, enrolled, opened, publish
from blindmatch_simulations.inprocess.fields import made_up

VECTORS_VERSION: Final = 3
FILLERS: Final = 5


def items() -> tuple[VectorItem, ...]:
    """On the list; 30 bits from an entry; on it but too poor; not on it."""
    return make_item("listed", 100), make_item("near-30", 80), make_item("poor", 12), make_item("other", 90)


def entries_of(pictures: tuple[VectorItem, ...]) -> list[bytes]:
    """The list the items belong to."""
    listed, near, poor, _ = pictures
    fillers = [make_item(f"filler-{number}", 100).hash for number in range(FILLERS)]
    return [*fillers, listed.hash, flipped(near, 30), poor.hash]


def vectors_of(design: AnyDesign) -> dict[str, Any]:
    """Everything there is to test in an implementation of `design`."""
    pictures = items()
    entries = np.frombuffer(b"".join(entries_of(pictures)), np.uint8).reshape(-1, 32)
    build = publish(design, entries, seeded("vectors/publish"))
    deployed = opened(build)
    sessions = [_session(deployed, one) for one in pictures]
    return {
        "vectors": VECTORS_VERSION,
        "design": design.info.name,
        "version": design.info.version,
        "set": _set(build),
        "items": [one.as_json() for one in pictures],
        "messages": [_message(kind, place, sessions) for kind, place in message_classes(design).items()],
        "sessions": sessions,
        "refused_requests": list(_refused_requests(deployed, sessions)),
        "refused_replies": list(_refused_replies(deployed, pictures, sessions)),
        "refused_files": list(refused_files(build)),
    }


def _set(build: Build) -> dict[str, Any]:
    return {
        "epoch": build.epoch,
        "entries": [row.tobytes().hex() for row in build.entries],
        "setup": list(build.published.setup),
        "roles": {str(role): list(names) for role, names in build.published.roles.items()},
        "files": {name: raw.hex() for name, raw in build.files.items()},
    }


# --- messages ------------------------------------------------------------------------------------


def _message(kind: type[Message], place: str, sessions: list[dict[str, Any]]) -> dict[str, Any]:
    """Layout, accepted encodings with their fields, and refused ones with the rule."""
    seen = [bytes.fromhex(raw) for raw in _of_kind(kind, sessions)]
    made = [message.encode() for message in made_up(kind, seeded(f"vectors/{kind.NAME}"), 4)]
    good = list(dict.fromkeys([*seen[:2], *made[:2]]))
    return {
        "name": kind.NAME,
        "tag": kind.TAG,
        "place": place,
        "fields": [{"name": name, "encoding": encoding_words(encoding)} for name, encoding in layout(kind)],
        "accepted": [{"encoding": raw.hex(), "fields": fields_json(kind.decode(raw))} for raw in good],
        "refused": [{"encoding": raw.hex(), "rule": rule} for raw, rule in _malformed(kind, good)],
    }


def _of_kind(kind: type[Message], sessions: list[dict[str, Any]]) -> Iterator[str]:
    tag = f"{kind.TAG:02x}"
    for session in sessions:
        found = [session["state_before"]]
        found += [
            raw for one in session["rounds"] for asked in one for raw in (asked["body"], asked["reply"])
        ]
        for raw in found:
            if raw.startswith(tag) and decodes(kind, bytes.fromhex(raw)) is None:
                yield raw


def _malformed(kind: type[Message], good: list[bytes]) -> Iterator[tuple[bytes, str]]:
    candidates = [b""]
    for raw in good[:1]:
        candidates += [raw[:-1], raw + b"\0", bytes([raw[0] ^ 0x80]) + raw[1:], raw[: len(raw) // 2]]
        candidates += [raw[:1] + b"\xff" * (len(raw) - 1), raw[:1]]
    for raw in dict.fromkeys(candidates):
        rule = decodes(kind, raw)
        if rule is not None:
            yield raw, rule


def decodes(kind: type[Message], raw: bytes) -> str | None:
    """None if `raw` decodes, else the rule it breaks."""
    try:
        kind.decode(raw)
    except ProtocolError as error:
        return str(error)
    return None


def fields_json(message: Message) -> dict[str, Any]:
    """A message's fields: bytes in hexadecimal, matrices as rows, numbers of 64 bits as decimal strings."""
    return {name: _value(encoding, getattr(message, name)) for name, encoding in layout(type(message))}


def _value(encoding: Any, value: Any) -> Any:
    match encoding:
        case Matrix():
            return [row.tobytes().hex() for row in value]
        case Sequence():
            return [_value(encoding.element, one) for one in value]
        case Nested():
            return fields_json(value)
        case Fixed() | Variable():
            return value.hex()
        case UInt(64):
            return str(value)
        case _:
            return value


def encoding_words(encoding: Any) -> str:
    """An encoding as docs/wire.md names it."""
    match encoding:
        case UInt(bits):
            return f"uint{bits}"
        case Flag():
            return "flag"
        case Fixed(length):
            return f"bytes[{length}]"
        case Variable():
            return f"bytes[{encoding.least}..{encoding.most}]"
        case Text(most):
            return f"text[..{most}]"
        case Matrix():
            return f"matrix[{encoding.least}..{encoding.most}][{encoding.width}]"
        case Sequence():
            return f"sequence[{encoding.least}..{encoding.most}] of {encoding_words(encoding.element)}"
        case Nested(kind):
            return f"message {kind.NAME}"
        case _:
            return type(encoding).__name__


# --- steps ---------------------------------------------------------------------------------------


def _session(deployed: Deployed, one: VectorItem) -> dict[str, Any]:
    """One item's session: states, tapes, every body and reply, and the outcome."""
    state = enrolled(deployed, seeded(f"vectors/enrol/{one.name}"))
    tape = Recording(seeded(f"vectors/device/{one.name}"))
    session = Session(deployed.design, deployed.setup, state, tape.rng)
    rounds: list[list[dict[str, Any]]] = []
    step = session.start(one)
    while isinstance(step, Mapping):
        asked = {role: _ask(deployed, one, role, step[role]) for role in sorted(step)}
        rounds.append([held for held, _ in asked.values()])
        step = session.receive({role: reply for role, (_, reply) in asked.items()})
    return {
        "item": one.name,
        "state_before": state.encode().hex(),
        "state_after": session.state.encode().hex(),
        "tape": tape.tape().hex(),
        "rounds": rounds,
        "outcome": outcome_json(session.conclude()),
    }


def _ask(deployed: Deployed, one: VectorItem, role: Role, body: Message) -> tuple[dict[str, Any], Message]:
    tape = Recording(seeded(f"vectors/role/{role}/{one.name}"))
    reply, verdict = deployed.answer(role, body, tape.rng)
    held = {
        "role": str(role),
        "body": body.encode().hex(),
        "tape": tape.tape().hex(),
        "reply": reply.encode().hex(),
        "verdict": verdict_json(verdict),
    }
    return held, reply


def outcome_json(outcome: Outcome) -> dict[str, Any]:
    """How a session ended."""
    name = type(outcome).__name__
    match outcome:
        case Match(label):
            return {"outcome": name, "label": fields_json(label)}
        case Voucher(body):
            return {"outcome": name, "voucher": body.encode().hex()}
        case Flagged(score):
            return {"outcome": name, "score": score}
        case _:
            return {"outcome": name}


def verdict_json(verdict: Verdict | None) -> dict[str, Any] | None:
    """What a role learnt, if it learns."""
    if verdict is None:
        return None
    return {"label": None if verdict.label is None else fields_json(verdict.label)}


# --- what must be refused ------------------------------------------------------------------------


def altered(raw: bytes) -> Iterator[tuple[str, bytes]]:
    """Ways in which a message can be wrong, by name."""
    yield "truncated", raw[:-1]
    yield "left over", raw + b"\0"
    yield "last byte altered", raw[:-1] + bytes([raw[-1] ^ 1])
    yield "first field altered", raw[:1] + bytes([raw[1] ^ 1]) + raw[2:] if len(raw) > 1 else b"\xff"
    yield "last 32 bytes zero", raw[: max(1, len(raw) - 32)] + bytes(min(32, len(raw) - 1))
    yield "last 32 bytes 255", raw[: max(1, len(raw) - 32)] + b"\xff" * min(32, len(raw) - 1)


def _refused_requests(deployed: Deployed, sessions: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for asked in (held for one in sessions[0]["rounds"] for held in one):
        for how, raw in altered(bytes.fromhex(asked["body"])):
            rule = refuses_request(deployed, Role(asked["role"]), raw)
            if rule is not None:
                yield {"role": asked["role"], "how": how, "body": raw.hex(), "rule": rule}


def refuses_request(deployed: Deployed, role: Role, raw: bytes) -> str | None:
    """None if `role` answers `raw`, else the rule that it breaks."""
    try:
        body = decode_any(deployed.design.requests[role], raw, f"request to {role}")
        deployed.answer(role, body, seeded("vectors/refused"))
    except ProtocolError as error:
        return str(error)
    return None


def _refused_replies(
    deployed: Deployed, pictures: tuple[Item, ...], sessions: list[dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    """Replies to each round of the first session that the device must refuse."""
    for number, turn in enumerate(sessions[0]["rounds"]):
        for role, reply in ((asked["role"], asked["reply"]) for asked in turn):
            for how, raw in altered(bytes.fromhex(reply)):
                rule = refuses_reply(deployed, pictures[0], sessions[0], number, role, raw)
                if rule is not None:
                    place = {"session": 0, "round": number, "role": role}
                    yield {**place, "how": how, "reply": raw.hex(), "rule": rule}


def refuses_reply(
    deployed: Deployed, item: Item, held: dict[str, Any], number: int, altered_role: str, raw: bytes
) -> str | None:
    """None if the device goes on with `raw` as a role's reply in round `number`, else the broken rule."""
    design = deployed.design
    state = design.device_state.decode(bytes.fromhex(held["state_before"]))
    session = Session(design, deployed.setup, state, replayed(bytes.fromhex(held["tape"])))
    session.start(item)
    rounds = [_replies(turn) for turn in held["rounds"][: number + 1]]
    for right in rounds[:-1]:
        session.receive(_decoded(design, right))
    try:
        session.receive(_decoded(design, {**rounds[-1], Role(altered_role): raw}))
    except ProtocolError as error:
        return str(error)
    return None


def _replies(turn: list[dict[str, Any]]) -> dict[Role, bytes]:
    return {Role(asked["role"]): bytes.fromhex(asked["reply"]) for asked in turn}


def _decoded(design: AnyDesign, replies: Mapping[Role, bytes]) -> dict[Role, Message]:
    return {role: decode_any(design.replies[role], raw, f"reply of {role}") for role, raw in replies.items()}
