"""Cases of vectors: pictures as numbers (hash, quality, coefficients and a few pixels, all written down), and
what must be refused: files when they are opened, requests and replies when they arrive.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, Final, TypeAlias

import numpy as np
import numpy.typing as npt
from blindmatch_protocol.codec import decode_any
from blindmatch_protocol.codec.errors import ProtocolError, SetFileError
from blindmatch_protocol.codec.randomness import replayed, seeded
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import Role, Session
from msgspec import Struct

from blindmatch_simulations.evaluation.conformance.vector_classes import classified
from blindmatch_simulations.testbed.inprocess.deployed import Deployed

SIDE: Final = 4


class VectorItem(Redacted, Struct, frozen=True):
    """An `Item`.

    Attributes:
        name: what it is to the list.
        quality: 0 to 100.
        weights: coefficients as integers, 256 of them: bit j of the hash is set where number j is positive.
        raw_pixels: SIDE x SIDE x 3 bytes.
    """

    SHOWN: ClassVar = ("name", "quality")

    name: str
    hash: bytes
    quality: int
    weights: tuple[int, ...]
    raw_pixels: bytes

    @property
    def coefficients(self) -> npt.NDArray[np.float32]:
        return np.array(self.weights, np.float32)

    @property
    def pixels(self) -> npt.NDArray[np.uint8]:
        return np.frombuffer(self.raw_pixels, np.uint8).reshape(SIDE, SIDE, 3)

    @property
    def luminance(self) -> npt.NDArray[np.float32]:
        """See `Item.luminance`: the mean of the three channels."""
        return np.asarray(self.pixels.mean(axis=2), np.float32)

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "hash": self.hash.hex(),
            "quality": self.quality,
            "coefficients": list(self.weights),
            "pixels": self.raw_pixels.hex(),
        }


def from_json(held: dict[str, Any]) -> VectorItem:
    return VectorItem(
        held["name"],
        bytes.fromhex(held["hash"]),
        held["quality"],
        tuple(held["coefficients"]),
        bytes.fromhex(held["pixels"]),
    )


def make_item(name: str, quality: int) -> VectorItem:
    """The item that `name` determines: 128 ones, every magnitude from 1 to 128 once on either side."""
    return numbered(name, quality, f"vector/{name}", lambda rank, at: bool(rank % 2))


def numbered(name: str, quality: int, seed: str, positive: Callable[[int, int], bool]) -> VectorItem:
    """An item whose magnitudes and pixels follow from a seed, and the signs of its coefficients from their
    rank and place."""
    rng = seeded(seed)
    order = sorted(range(256), key=lambda at: (rng.take(8), at))
    weights = [0] * 256
    for rank, at in enumerate(order):
        weights[at] = (rank // 2 + 1) * (1 if positive(rank, at) else -1)
    bits = np.array([weight > 0 for weight in weights], np.uint8)
    return VectorItem(name, np.packbits(bits).tobytes(), quality, tuple(weights), rng.take(SIDE * SIDE * 3))


Case: TypeAlias = Mapping[str, Any]
Vector: TypeAlias = Mapping[str, Any]
"""A vector, or as much of it as there is: items and sessions."""


class Kind(Struct, frozen=True):
    """A kind of refusal: its key in a vector, what is tried, and what happens."""

    key: str
    cases: Callable[[Deployed, Vector], Iterator[Case]]
    happens: Callable[[Deployed, Vector, Case], object]

    def rule(self, deployed: Deployed, vector: Vector, case: Case) -> str | None:
        """The rule that a case breaks; None if it is not refused."""
        return broken(lambda: self.happens(deployed, vector, case))

    def refused(self, deployed: Deployed, vector: Vector) -> list[dict[str, Any]]:
        """Every case that is refused, with its rule and the class of that."""
        judged = ((case, self.rule(deployed, vector, case)) for case in self.cases(deployed, vector))
        return [classified({**case, "rule": rule}) for case, rule in judged if rule is not None]


def broken(act: Callable[[], object]) -> str | None:
    """The rule of a message or a set file that something breaks, or None."""
    try:
        act()
    except (ProtocolError, SetFileError) as error:
        return str(error)
    return None


def _files(deployed: Deployed, vector: Vector) -> Iterator[Case]:
    build = deployed.build
    epoch = deployed.build.epoch
    for name in build.published.setup:
        where = {"step": "open_setup", "role": None, "epoch": epoch, "file": name}
        yield from ({**where, "how": how, "change": change} for how, change in _changes(build.files[name]))
        yield {**where, "epoch": epoch + 1, "how": "another epoch is expected", "change": {}}
    for role, names in build.published.roles.items():
        for name in names:
            where = {"step": "open_role", "role": str(role), "epoch": epoch, "file": name}
            changes = _changes(build.files[name])
            yield from ({**where, "how": how, "change": change} for how, change in changes)


def _changes(raw: bytes) -> Iterator[tuple[str, dict[str, Any]]]:
    """Places of a set file (docs/reference/set-format.md), by name."""
    yield "missing", {"missing": True}
    yield "empty", {"length": 0}
    yield "cut in the middle", {"length": len(raw) // 2}
    yield "last byte missing", {"length": len(raw) - 1}
    yield "a byte more", {"append": "00"}
    for how, at in (
        ("magic", 0),
        ("format version", 11),
        ("design", 16),
        ("version", 51),
        ("epoch", 63),
        ("section table or parameters", len(raw) - 80),
        ("length in the trailer", len(raw) - 57),
        ("digest", len(raw) - 40),
        ("end mark", len(raw) - 1),
    ):
        if 0 <= at < len(raw):
            yield f"altered: {how}", {"at": at, "byte": f"{raw[at] ^ 1:02x}"}


def _open(deployed: Deployed, vector: Vector, case: Case) -> None:
    build = deployed.build
    name = case["file"]
    change = case["change"]
    role = None if case["role"] is None else Role(case["role"])
    files = build.setup_files if role is None else build.role_files(role)
    files[name] = _changed(files[name], change)
    if change == {"missing": True}:
        del files[name]
    if role is None:
        build.design.open_setup(files, case["epoch"])
    else:
        build.design.open_role(role, files)


def _changed(raw: bytes, change: Mapping[str, Any]) -> bytes:
    if "length" in change:
        return raw[: change["length"]]
    if "append" in change:
        return raw + bytes.fromhex(change["append"])
    if "at" in change:
        return raw[: change["at"]] + bytes.fromhex(change["byte"]) + raw[change["at"] + 1 :]
    return raw


def _altered(raw: bytes) -> Iterator[tuple[str, str]]:
    last = raw[: max(1, len(raw) - 32)]
    for how, made in (
        ("truncated", raw[:-1]),
        ("left over", raw + b"\0"),
        ("last byte altered", raw[:-1] + bytes([raw[-1] ^ 1])),
        ("first field altered", raw[:1] + bytes([raw[1] ^ 1]) + raw[2:] if len(raw) > 1 else b"\xff"),
        ("last 32 bytes zero", last + bytes(min(32, len(raw) - 1))),
        ("last 32 bytes 255", last + b"\xff" * min(32, len(raw) - 1)),
    ):
        yield how, made.hex()


def _requests(deployed: Deployed, vector: Vector) -> Iterator[Case]:
    for asked in (held for one in vector["sessions"][0]["rounds"] for held in one):
        for how, raw in _altered(bytes.fromhex(asked["body"])):
            yield {"role": asked["role"], "how": how, "body": raw}


def _ask(deployed: Deployed, vector: Vector, case: Case) -> None:
    role = Role(case["role"])
    body = decode_any(deployed.design.requests[role], bytes.fromhex(case["body"]), f"request to {role}")
    deployed.answer(role, body, seeded("vectors/refused"))


def _replies(deployed: Deployed, vector: Vector) -> Iterator[Case]:
    for number, turn in enumerate(vector["sessions"][0]["rounds"]):
        for asked in turn:
            place = {"session": 0, "round": number, "role": asked["role"]}
            for how, raw in _altered(bytes.fromhex(asked["reply"])):
                yield {**place, "how": how, "reply": raw}


def _receive(deployed: Deployed, vector: Vector, case: Case) -> None:
    design = deployed.design
    held = vector["sessions"][case["session"]]
    state = design.device_state.decode(bytes.fromhex(held["state_before"]))
    session = Session(design, deployed.setup, state, replayed(bytes.fromhex(held["tape"])))
    session.start(from_json(next(one for one in vector["items"] if one["name"] == held["item"])))
    for number, turn in enumerate(held["rounds"][: case["round"] + 1]):
        replies = {Role(asked["role"]): asked["reply"] for asked in turn}
        if number == case["round"]:
            replies[Role(case["role"])] = case["reply"]
        session.receive(
            {
                role: decode_any(design.replies[role], bytes.fromhex(raw), f"reply of {role}")
                for role, raw in replies.items()
            }
        )


KINDS: Final = (
    Kind("refused_requests", _requests, _ask),
    Kind("refused_replies", _replies, _receive),
    Kind("refused_files", _files, _open),
)
