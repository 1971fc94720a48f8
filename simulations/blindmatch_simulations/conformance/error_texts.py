"""What an error says: no secret of a role, and none of the picture or the session, however it is written.

Error texts go to the other party and into logs. Hostile requests, replies and files are tried, and what is
said of them is searched for 8 bytes of a secret: raw, in hexadecimal, in base64, or as a decimal number.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from blindmatch_protocol.codec import decode_any
from blindmatch_protocol.contract import Role
from blindmatch_protocol.errors import BlindmatchError

from blindmatch_simulations.conformance.bench import Bench
from blindmatch_simulations.conformance.draws import leaves_of
from blindmatch_simulations.conformance.epochs import key_windows
from blindmatch_simulations.conformance.hostility import attacked
from blindmatch_simulations.conformance.setfiles import altered_copies
from blindmatch_simulations.conformance.settings import as_published
from blindmatch_simulations.inprocess.enrolled import request_of
from blindmatch_simulations.inprocess.steps import Stop, hostile
from blindmatch_simulations.inprocess.verdict import BrokenError, Passed
from blindmatch_simulations.pictures.pool import Pooled

FLIPS: Final = 16
PIECE: Final = 8
LEAST_DIGITS: Final = 16
LEAST_DISTINCT: Final = 5
"""Distinct bytes that a piece of a secret must have: zeros and text are in many places."""


def check_error_texts(bench: Bench) -> Passed:
    """See the module."""
    texts = 0
    for role in bench.design.info.roles:
        secrets = _role_secrets(bench, role)
        texts += silent(_requests(bench, role), secrets, f"answer of {role}")
        texts += silent(_files(bench, role), secrets, f"open_role of {role}")
    for one, stops in attacked(bench, as_published(bench).deployed):
        for stop in stops[:2]:
            texts += silent(_replies(bench, stop), _device_secrets(one, stop), stop.name)
    return Passed(f"no secret in {texts} error texts", {"texts": texts})


def silent(errors: Iterable[str], secrets: frozenset[bytes], step: str) -> int:
    """How many texts there were.

    Raises:
        BrokenError: if one spells a secret.
    """
    count = 0
    for text in errors:
        count += 1
        for how, raw in spelt(text):
            if not secrets.isdisjoint(pieces(raw)):
                raise BrokenError(step, f"an error text has a secret in it, {how}")
    return count


def spelt(text: str) -> Iterator[tuple[str, bytes]]:
    """Every byte string that a text may spell, and how."""
    yield "raw", text.encode("latin-1", "ignore")
    yield "raw", text.encode()
    for run in re.findall(r"[0-9a-fA-F]{16,}", text):
        yield from (
            ("in hexadecimal", bytes.fromhex(run[at : len(run) - (len(run) - at) % 2])) for at in (0, 1)
        )
    for run in re.findall(r"[A-Za-z0-9+/_-]{11,}", text):
        usual = run.replace("-", "+").replace("_", "/")
        yield from (
            ("in base64", b64decode(f"{usual[at:]}{'A' * (-len(usual[at:]) % 4)}")) for at in range(4)
        )
    for run in re.findall(rf"[0-9]{{{LEAST_DIGITS},}}", text):
        value = int(run)
        yield from (("as a number", value.to_bytes(-(-len(run) // 2), order)) for order in ("big", "little"))


def pieces(raw: bytes) -> Iterator[bytes]:
    """Every `PIECE` bytes in a row that are not too plain to be a secret's."""
    for at in range(len(raw) - PIECE + 1):
        piece = raw[at : at + PIECE]
        if len(set(piece)) >= LEAST_DISTINCT and not all(32 <= byte < 127 for byte in piece):
            yield piece


def _role_secrets(bench: Bench, role: Role) -> frozenset[bytes]:
    held = [
        *key_windows(as_published(bench).deployed.build),
        *(raw for _, raw in leaves_of(as_published(bench).deployed.states[role])),
    ]
    shared = {
        piece for raw in as_published(bench).deployed.build.setup_files.values() for piece in pieces(raw)
    }
    return frozenset(piece for raw in held for piece in pieces(raw)) - shared


def _device_secrets(one: Pooled, stop: Stop) -> frozenset[bytes]:
    """The picture and what the session keeps, but for what was sent and is no secret any more."""
    held = [one.item.hash, *(raw for _, raw in leaves_of(stop.session))]
    sent = {piece for body in stop.bodies.values() for piece in pieces(body.encode())}
    return frozenset(piece for raw in held for piece in pieces(raw)) - sent


def _said(act: Callable[[], Any]) -> Iterator[str]:
    """The text of the error that something ends in; errors that must not be are for other checks."""
    try:
        found = act()
    except BlindmatchError as error:
        yield from (str(error), repr(error))
    except Exception as error:
        yield str(error)
    else:
        yield from (str(part) for part in found if isinstance(part, BlindmatchError))


def _requests(bench: Bench, role: Role) -> Iterator[str]:
    design, state = bench.design, as_published(bench).deployed.states[role]
    bodies = [
        stop.bodies[role]
        for _, stops in attacked(bench, as_published(bench).deployed)[:1]
        for stop in stops
        if role in stop.bodies
    ]

    def answer(raw: bytes) -> Any:
        body = decode_any(design.requests[role], raw, design.info.name)
        return design.answer(
            role,
            state,
            [request_of(design, as_published(bench).deployed.setup, role, body)],
            bench.rng("texts"),
            None,
        ).replies

    for body in bodies[-1:]:
        for raw in hostile(design.requests[role], body.encode(), bench.rng(f"texts/{role}"), FLIPS):
            yield from _said(lambda raw=raw: answer(raw))  # type: ignore[misc]


def _replies(bench: Bench, stop: Stop) -> Iterator[str]:
    design = bench.design

    def receive(role: Role, raw: bytes) -> Any:
        reply = decode_any(design.replies[role], raw, design.info.name)
        design.receive(
            stop.session,
            as_published(bench).deployed.setup,
            {**stop.replies, role: reply},
            bench.rng("texts"),
        )
        return ()

    for role, reply in stop.replies.items():
        for raw in hostile(design.replies[role], reply.encode(), bench.rng(f"texts/{stop.name}"), FLIPS):
            yield from _said(lambda raw=raw, role=role: receive(role, raw))  # type: ignore[misc]


def _files(bench: Bench, role: Role) -> Iterator[str]:
    files = as_published(bench).deployed.build.role_files(role)

    def opened(altered: Mapping[str, bytes]) -> Any:
        bench.design.open_role(role, altered)
        return ()

    for name in as_published(bench).deployed.build.published.roles[role]:
        for altered, _ in altered_copies(files[name], bench.rng(f"texts/{name}"), FLIPS, FLIPS):
            yield from _said(lambda altered=altered, name=name: opened({**files, name: altered}))  # type: ignore[misc]
