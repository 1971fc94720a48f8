"""Classes of failing vectors: the bug of an implementation that accepts one, and who would gain by it.

A class follows from the rule that a vector breaks, so that one table says it of every message and file. It is
for the reader of a failed vector what the notes of Wycheproof are, with their `bugType`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import asdict


class FailureClass(Struct, frozen=True):
    """What it means if an implementation accepts a vector that must be refused.

    Attributes:
        bug: the kind of the implementation's bug, one of `BUGS`.
        attack: whether another party gains by sending such bytes; if not, they arise
            from damage or a mistake.
        explanation: what goes wrong, in a sentence or two.
    """

    bug: str
    attack: bool
    explanation: str


BUGS: Final = (
    "bounds",
    "malleability",
    "type confusion",
    "resource exhaustion",
    "invalid value",
    "invalid group element",
    "forgery",
    "replay",
    "substitution",
    "damage",
    "other",
)

OTHER: Final = "rule-of-the-design"
"""The class of a rule that the table below does not know: one of a plug-in's own."""

CLASSES: Final[Mapping[str, FailureClass]] = {
    "truncated-message": FailureClass(
        "bounds",
        False,
        "The message ends before its last field. A reader that accepts it reads behind its end, or fills "
        "the field with bytes that nobody sent.",
    ),
    "left-over-bytes": FailureClass(
        "malleability",
        True,
        "Bytes follow the last field. If they are ignored, one message has many encodings, and a party "
        "can put bytes into it that no declaration covers.",
    ),
    "other-tag": FailureClass(
        "type confusion",
        True,
        "The first byte names another message than this step has. A reader that ignores it takes one "
        "message for another, with fields that mean something else.",
    ),
    "length-out-of-limits": FailureClass(
        "resource exhaustion",
        True,
        "A field has fewer or more bytes or rows than it may. A reader that reserves memory, or computes, "
        "by a length from another party before comparing it with the limit can be stopped with one short "
        "message.",
    ),
    "value-out-of-range": FailureClass(
        "invalid value",
        True,
        "A number or flag has a value that its field does not have. Two values that are read alike are "
        "two encodings of one message; the code behind it may count on the range.",
    ),
    "contradicting-fields": FailureClass(
        "invalid value",
        True,
        "Each field is valid, but they contradict each other. A reader that believes one of them can be "
        "made to read bytes that are not there, or carries bytes that no declaration covers.",
    ),
    "non-canonical-encoding": FailureClass(
        "malleability",
        True,
        "A group element or scalar is not encoded in the one canonical way. If it is reduced silently, "
        "one value has several encodings, and two parties may disagree about whether a proof holds.",
    ),
    "identity-or-zero": FailureClass(
        "invalid group element",
        True,
        "An element is the identity, or a scalar is zero. The identity times any key is the identity, so "
        "that nothing is blinded and a result says nothing of the key (RFC 9497, section 2.1, has readers "
        "refuse it).",
    ),
    "false-proof": FailureClass(
        "forgery",
        True,
        "The proof does not show that the reply was computed with the published key. A server that need "
        "not use that key can answer each device under another, recognise it by that, or make a listed "
        "picture not match.",
    ),
    "false-seal": FailureClass(
        "forgery",
        True,
        "The authentication tag of a ciphertext does not hold for its key and context. A reader that "
        "skips it decrypts what anybody on the way has changed.",
    ),
    "false-signature": FailureClass(
        "forgery",
        True,
        "The signature is not by the key that the set-up names. A reader that skips it believes whoever "
        "answers.",
    ),
    "other-epoch": FailureClass(
        "replay",
        True,
        "The message or file belongs to another epoch than the one in force. A reader that accepts it "
        "mixes two lists, and can be kept on a list that was replaced.",
    ),
    "substituted-content": FailureClass(
        "substitution",
        True,
        "The content is not the one whose digest the set-up holds. A reader that does not compare them "
        "takes a list made for this device alone.",
    ),
    "altered-file": FailureClass(
        "substitution",
        True,
        "Header, parameters or section table are not those of the overall digest. A reader that does not "
        "compute it opens a file that somebody has altered.",
    ),
    "damaged-file": FailureClass(
        "damage",
        False,
        "The file is shorter or longer than it says, or its end mark is missing: a transfer broke off. A "
        "reader that reads it nevertheless has part of a list and takes it for the whole.",
    ),
    "other-format": FailureClass(
        "type confusion",
        False,
        "The file is no set file, or one of a later format. A reader that reads on gives the bytes a "
        "meaning that they do not have.",
    ),
    "missing-file": FailureClass(
        "damage",
        False,
        "A file that the step needs is not there. A reader that goes on treats a list that is missing as "
        "one that is empty.",
    ),
    OTHER: FailureClass(
        "other",
        False,
        "The design refuses this by a rule of its own; the field `rule` says which.",
    ),
}

_BY_RULE: Final = (
    (r"field tag: (must be 0x|no message of this step has tag)", "other-tag"),
    (r"truncated: \d+ bytes are too few for a set file$", "damaged-file"),
    (r"truncated or altered: ", "damaged-file"),
    (r"truncated: \d+ bytes expected$", "truncated-message"),
    (r"\d+ bytes left over$", "left-over-bytes"),
    (r"must be \d+ to \d+ (bytes|rows), not \d+$", "length-out-of-limits"),
    (r"(a flag is 0 or 1|must be \d+ to \d+)$", "value-out-of-range"),
    (r"must be (all zeros without a match|height x width x 3 bytes, and not empty)$", "contradicting-fields"),
    (
        r"is no canonical encoding of an element$|is not reduced modulo the group's order$",
        "non-canonical-encoding",
    ),
    (r"is (the identity element|zero)$", "identity-or-zero"),
    (r"field proof: does not hold$", "false-proof"),
    (r"field sealed: must be sealed ", "false-seal"),
    (r"field signature: must be the ", "false-signature"),
    (r"epoch \d+ is in force here, not \d+$|for epoch \d+, not epoch \d+$", "other-epoch"),
    (r"must be the bucket that the set-up says$", "substituted-content"),
    (r"altered: header and tables do not have the overall digest$", "altered-file"),
    (r"set format \d+ is |not a set file: ", "other-format"),
    (r"\.bin(:| is) missing$", "missing-file"),
)
"""The first expression that is found in a rule names its class."""


def class_of(rule: str) -> str:
    """Return the name of the class of a vector that breaks `rule`."""
    return next((name for expression, name in _BY_RULE if re.search(expression, rule)), OTHER)


def classified(refused: Mapping[str, Any]) -> dict[str, Any]:
    """Return a refused case with the class of its rule."""
    return {**refused, "class": class_of(refused["rule"])}


def names_in(vector: Mapping[str, Any]) -> Iterator[str]:
    """Yield the class of each failing case of a vector."""
    for message in vector["messages"]:
        yield from (case["class"] for case in message["refused"])
    for kind in ("refused_requests", "refused_replies", "refused_files"):
        yield from (case["class"] for case in vector[kind])


def explained(vector: Mapping[str, Any]) -> dict[str, Any]:
    """Return the classes that a vector uses, by name, in the order of `CLASSES`."""
    used = set(names_in(vector))
    return {name: asdict(held) for name, held in CLASSES.items() if name in used}
