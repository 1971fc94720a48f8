"""Vectors of one design: its files, every message, every step of sessions, and what must be refused; in
files, one for each built-in design, and the JSON Schema they follow.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, TypeAlias

from blindmatch_protocol import codec
from blindmatch_protocol.codec.randomness import Randomness, Recording, seeded
from blindmatch_protocol.contract import AnyDesign, Flag, Match, Outcome, Role, Session, Verdict, Voucher
from blindmatch_protocol.picture.pdq import rows

from blindmatch_simulations.evaluation.conformance.hostility import message_classes
from blindmatch_simulations.evaluation.conformance.vector_cases import KINDS, VectorItem, broken, make_item
from blindmatch_simulations.evaluation.conformance.vector_classes import classified, explained
from blindmatch_simulations.testbed.inprocess.deployed import Deployed, enrolled, opened, publish
from blindmatch_simulations.testbed.inprocess.steps import made_up
from blindmatch_simulations.testbed.pictures.pool import flipped

VECTORS_VERSION: Final = 4
FILLERS: Final = 5


def vectors_of(design: AnyDesign, values: Mapping[str, int] | None = None) -> dict[str, Any]:
    """Everything there is to test in an implementation of `design`, by four items: on the list, 30 bits from
    an entry, on it but too poor, and not on it.

    Args:
        values: parameters of the set, where they are not the design's defaults.
    """
    qualities = {"listed": 100, "near-30": 80, "poor": 12, "other": 90}
    pictures = [make_item(name, quality) for name, quality in qualities.items()]
    listed, near, poor, _ = pictures
    fillers = [make_item(f"filler-{number}", 100).hash for number in range(FILLERS)]
    entries = rows([*fillers, listed.hash, flipped(near, 30), poor.hash])
    build = publish(design, entries, seeded("vectors/publish"), 1, values or {})
    deployed = opened(build)
    sessions = [_session(deployed, one) for one in pictures]
    vector = {
        "vectors": VECTORS_VERSION,
        "design": design.info.name,
        "version": design.info.version,
        "set": {
            "epoch": build.epoch,
            "entries": [row.tobytes().hex() for row in build.entries],
            "setup": list(build.published.setup),
            "roles": {str(role): list(names) for role, names in build.published.roles.items()},
            "files": {name: raw.hex() for name, raw in build.files.items()},
        },
        "items": [one.as_json() for one in pictures],
        "messages": [_message(kind, place, sessions) for kind, place in message_classes(design).items()],
        "sessions": sessions,
    }
    vector |= {kind.key: kind.refused(deployed, vector) for kind in KINDS}
    return {**vector, "classes": explained(vector)}


# --- messages ------------------------------------------------------------------------------------


def _message(kind: type[codec.Message], place: str, sessions: list[dict[str, Any]]) -> dict[str, Any]:
    """Layout, accepted encodings with their fields, and refused ones with the rule."""
    seen = list(_of_kind(kind, sessions))
    made = [message.encode() for message in made_up(kind, seeded(f"vectors/{kind.NAME}"), 4)]
    good = list(dict.fromkeys([*seen[:2], *made[:2]]))
    return {
        "name": kind.NAME,
        "tag": kind.TAG,
        "place": place,
        "fields": [
            {"name": name, "encoding": encoding_words(encoding)} for name, encoding in codec.layout(kind)
        ],
        "accepted": [{"encoding": raw.hex(), "fields": fields_json(kind.decode(raw))} for raw in good],
        "refused": [
            classified({"encoding": raw.hex(), "rule": rule}) for raw, rule in _malformed(kind, good)
        ],
    }


def _of_kind(kind: type[codec.Message], sessions: list[dict[str, Any]]) -> Iterator[bytes]:
    for session in sessions:
        turns = [asked[part] for one in session["rounds"] for asked in one for part in ("body", "reply")]
        for raw in map(bytes.fromhex, (session["state_before"], *turns)):
            if raw[:1] == bytes([kind.TAG]) and decodes(kind, raw) is None:
                yield raw


def _malformed(kind: type[codec.Message], good: list[bytes]) -> Iterator[tuple[bytes, str]]:
    candidates = [b""]
    for raw in good[:1]:
        candidates += [raw[:-1], raw + b"\0", bytes([raw[0] ^ 0x80]) + raw[1:], raw[: len(raw) // 2]]
        candidates += [raw[:1] + b"\xff" * (len(raw) - 1), raw[:1]]
    for raw in dict.fromkeys(candidates):
        rule = decodes(kind, raw)
        if rule is not None:
            yield raw, rule


def decodes(kind: type[codec.Message], raw: bytes) -> str | None:
    """None if `raw` decodes, else the rule it breaks."""
    return broken(lambda: kind.decode(raw))


def fields_json(message: codec.Message) -> dict[str, Any]:
    """A message's fields: bytes in hexadecimal, matrices as rows, numbers of 64 bits as decimal strings."""
    return {name: _value(encoding, getattr(message, name)) for name, encoding in codec.layout(type(message))}


def _value(encoding: Any, value: Any) -> Any:
    match encoding:
        case codec.Matrix():
            return [row.tobytes().hex() for row in value]
        case codec.Sequence():
            return [_value(encoding.element, one) for one in value]
        case codec.Nested():
            return fields_json(value)
        case codec.Fixed() | codec.Variable():
            return value.hex()
        case codec.UInt(64):
            return str(value)
        case _:
            return value


def encoding_words(encoding: Any) -> str:
    """An encoding as docs/reference/wire.md names it."""
    match encoding:
        case codec.UInt(bits):
            return f"uint{bits}"
        case codec.Bool():
            return "flag"
        case codec.Fixed(length):
            return f"bytes[{length}]"
        case codec.Variable():
            return f"bytes[{encoding.least}..{encoding.most}]"
        case codec.Text(most):
            return f"text[..{most}]"
        case codec.Matrix():
            return f"matrix[{encoding.least}..{encoding.most}][{encoding.width}]"
        case codec.Sequence():
            return f"sequence[{encoding.least}..{encoding.most}] of {encoding_words(encoding.element)}"
        case codec.Nested(kind):
            return f"message {kind.NAME}"
        case _:
            return type(encoding).__name__


# --- steps ---------------------------------------------------------------------------------------

Tapes: TypeAlias = Callable[[int, Role], Randomness]
"""What a role draws from in a round, counted from 0."""


def session_json(
    deployed: Deployed, one: VectorItem, state: codec.Message, rng: Randomness, tapes: Tapes
) -> dict[str, Any]:
    """One item's session: states, tapes, every body and reply, and the outcome."""
    tape = Recording(rng)
    session = Session(deployed.design, deployed.setup, state, tape.rng)
    rounds: list[list[dict[str, Any]]] = []
    step = session.start(one)
    while isinstance(step, Mapping):
        asked = {role: _ask(deployed, role, step[role], tapes(len(rounds), role)) for role in sorted(step)}
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


def _session(deployed: Deployed, one: VectorItem) -> dict[str, Any]:
    state, rng = (seeded(f"vectors/{what}/{one.name}") for what in ("enrol", "device"))
    tapes: Tapes = lambda number, role: seeded(f"vectors/role/{role}/{one.name}")  # noqa: E731
    return session_json(deployed, one, enrolled(deployed, state), rng, tapes)


def _ask(
    deployed: Deployed, role: Role, body: codec.Message, rng: Randomness
) -> tuple[dict[str, Any], codec.Message]:
    tape = Recording(rng)
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
    name = type(outcome).__name__
    match outcome:
        case Match(label):
            return {"outcome": name, "label": fields_json(label)}
        case Voucher(body):
            return {"outcome": name, "voucher": body.encode().hex()}
        case Flag(score):
            return {"outcome": name, "score": score}
        case _:
            return {"outcome": name}


def verdict_json(verdict: Verdict | None) -> dict[str, Any] | None:
    """What a role learnt, if it learns."""
    if verdict is None:
        return None
    return {"label": None if verdict.label is None else fields_json(verdict.label)}


SCHEMA_NAME: Final = "schema.json"
_SCHEMA_DATA: Final = "data/design-vectors.schema.json"


def write_vectors(designs: list[AnyDesign], folder: Path) -> list[Path]:
    """Write ``NAME.json`` for each design but those of large sizes (`Design.reduced`), whose sessions have
    megabytes, and the schema beside them; the files written."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for design in (one for one in designs if one.reduced() is None):
        path = folder / f"{design.info.name}.json"
        path.write_text(as_text(vectors_of(design)), "utf-8")
        written.append(path)
    schema = files("blindmatch_simulations").joinpath(_SCHEMA_DATA).read_text("utf-8")
    (folder / SCHEMA_NAME).write_text(schema, "utf-8")
    return [*written, folder / SCHEMA_NAME]


def as_text(vector: dict[str, Any]) -> str:
    return json.dumps(vector, indent=1) + "\n"
