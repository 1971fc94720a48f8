"""How bytes may spell others: as they are, as text, backwards, inverted, or against their neighbours.

A cipher, a permutation of bits and rows cut into columns are not undone. What an error says must spell no
secret of a role, and none of the picture or the session: it is searched for 8 bytes of a secret.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import permutations
from typing import Any, Final

import numpy as np
from blindmatch_protocol.codec import Rows, decode_any
from blindmatch_protocol.codec.errors import BlindmatchError
from blindmatch_protocol.contract import Role

from blindmatch_simulations.evaluation.conformance.draws import leaves_of
from blindmatch_simulations.evaluation.conformance.epochs import altered_copies, role_contents
from blindmatch_simulations.evaluation.conformance.fixtures import Fixtures, as_published
from blindmatch_simulations.evaluation.conformance.hostility import attacked
from blindmatch_simulations.testbed.audit.dictionary import OPAQUE, standing
from blindmatch_simulations.testbed.inprocess.steps import Stop, hostile
from blindmatch_simulations.testbed.inprocess.verdict import BrokenError, Passed
from blindmatch_simulations.testbed.pictures.pool import Pooled

LEAST_DIGITS: Final = 16
MOST_DIGITS: Final = 4300
"""What Python takes for one number."""
WIDTHS: Final = range(32, 65)
"""Widths of a row: a hash, or a hash, an id and a salt; the pad may be as short as a byte."""
LEAST_DISTINCT: Final = 5
"""Distinct bytes that a piece of a secret, or what two entries differ by, must have: zeros, counters and text
are in many places."""


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
    for run in re.findall(rf"[0-9]{{{LEAST_DIGITS},{MOST_DIGITS}}}", text):
        value = int(run)
        yield from (("as a number", value.to_bytes(-(-len(run) // 2), order)) for order in ("big", "little"))


def readings(raw: bytes) -> Iterator[tuple[str, bytes]]:
    """Every byte string that `raw` may stand for, and how."""
    yield from spelt(raw.decode("latin-1"))
    yield "backwards", raw[::-1]
    yield "inverted", bytes(np.invert(np.frombuffer(raw, np.uint8)))


def beside_neighbours(raw: bytes) -> Iterator[bytes]:
    """`raw`, and what its rows differ by from the next ones, for every width."""
    yield raw
    content = np.frombuffer(raw, np.uint8)
    yield from ((content[width:] ^ content[:-width]).tobytes() for width in WIDTHS if width < len(raw))


def differences(rows: Rows) -> frozenset[bytes]:
    """The first bytes of what any two rows differ by: as exclusive or, and as a difference of numbers."""
    size = rows.shape[1]
    numbers = [int.from_bytes(row.tobytes(), "big") for row in rows]
    made = (
        each.to_bytes(size, "big")[:OPAQUE]
        for one, other in permutations(numbers, 2)
        for each in (one ^ other, (one - other) % (1 << 8 * size))
    )
    return frozenset(one for one in made if len(set(one)) >= LEAST_DISTINCT)


def spells_all(raw: bytes, rows: Rows) -> bool:
    """Does every row stand in `raw`, in one spelling? Of three rows or more, which are not alike."""
    ways: dict[str, list[bytes]] = {}
    for how, read in readings(raw):
        ways.setdefault(how, []).append(read)
    owns = {row.tobytes() for row in rows}
    if any(all(own in read for own in owns) for read in (b"\0".join(reads) for reads in ways.values())):
        return True
    wanted = differences(rows)
    return any(len(standing(read, wanted)) >= len(owns) - 1 for read in beside_neighbours(raw))


FLIPS: Final = 16
PIECE: Final = 8


def check_error_texts(fixtures: Fixtures) -> Passed:
    """What hostile requests, replies and files are refused with spells no 8 bytes of a secret: raw, in
    hexadecimal, in base64, or in decimal."""
    texts = 0
    for role in fixtures.design.info.roles:
        secrets = _role_secrets(fixtures, role)
        texts += silent(_requests(fixtures, role), secrets, f"answer of {role}")
        texts += silent(_files(fixtures, role), secrets, f"open_role of {role}")
    for one, stops in attacked(fixtures, as_published(fixtures).deployed):
        for stop in stops[:2]:
            texts += silent(_replies(fixtures, stop), _device_secrets(one, stop), stop.name)
    return Passed(f"no secret in {texts} error texts", {"texts": texts})


def silent(errors: Iterable[str], secrets: frozenset[bytes], step: str) -> int:
    """How many texts there were; `BrokenError` if one spells a secret."""
    count = 0
    for text in errors:
        count += 1
        for how, raw in spelt(text):
            if not secrets.isdisjoint(pieces(raw)):
                raise BrokenError(step, f"an error text has a secret in it, {how}")
    return count


def pieces(raw: bytes) -> Iterator[bytes]:
    """Every `PIECE` bytes in a row that are not too plain to be a secret's."""
    for at in range(len(raw) - PIECE + 1):
        piece = raw[at : at + PIECE]
        if len(set(piece)) >= LEAST_DISTINCT and not all(32 <= byte < 127 for byte in piece):
            yield piece


def _role_secrets(fixtures: Fixtures, role: Role) -> frozenset[bytes]:
    deployed = as_published(fixtures).deployed
    held = [*role_contents(deployed.build), *(raw for _, raw in leaves_of(deployed.states[role]))]
    shared = {piece for raw in deployed.build.setup_files.values() for piece in pieces(raw)}
    return frozenset(piece for raw in held for piece in pieces(raw)) - shared


def _device_secrets(one: Pooled, stop: Stop) -> frozenset[bytes]:
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


def _requests(fixtures: Fixtures, role: Role) -> Iterator[str]:
    design = fixtures.design
    deployed = as_published(fixtures).deployed
    (_, stops), *_ = attacked(fixtures, deployed)
    bodies = [stop.bodies[role] for stop in stops if role in stop.bodies]

    def answer(raw: bytes) -> Any:
        request = deployed.request(role, decode_any(design.requests[role], raw, design.info.name))
        return design.answer(role, deployed.states[role], [request], fixtures.rng("texts"), None).replies

    for body in bodies[-1:]:
        for raw in hostile(design.requests[role], body.encode(), fixtures.rng(f"texts/{role}"), FLIPS):
            yield from _said(lambda raw=raw: answer(raw))  # type: ignore[misc]


def _replies(fixtures: Fixtures, stop: Stop) -> Iterator[str]:
    design = fixtures.design
    setup = as_published(fixtures).deployed.setup

    def receive(role: Role, raw: bytes) -> Any:
        reply = decode_any(design.replies[role], raw, design.info.name)
        design.receive(stop.session, setup, {**stop.replies, role: reply}, fixtures.rng("texts"))
        return ()

    for role, reply in stop.replies.items():
        for raw in hostile(design.replies[role], reply.encode(), fixtures.rng(f"texts/{stop.name}"), FLIPS):
            yield from _said(lambda raw=raw, role=role: receive(role, raw))  # type: ignore[misc]


def _files(fixtures: Fixtures, role: Role) -> Iterator[str]:
    build = as_published(fixtures).deployed.build
    files = build.role_files(role)

    def opened(altered: Mapping[str, bytes]) -> Any:
        fixtures.design.open_role(role, altered)
        return ()

    for name in build.published.roles[role]:
        for altered, _ in altered_copies(files[name], fixtures.rng(f"texts/{name}"), FLIPS, FLIPS):
            yield from _said(lambda altered=altered, name=name: opened({**files, name: altered}))  # type: ignore[misc]
