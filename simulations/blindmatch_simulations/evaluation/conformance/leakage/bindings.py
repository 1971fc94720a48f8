"""Kinds of bindings that a device gives a design, each of which is looked at by itself.

In: a design. Out: the kinds that it can tell apart, each with what draws a binding of it.

A design may ask one thing for an ordinary picture and another one for a proof of absence, or put something
else into the voucher of a PNG. Whoever receives it mostly sees which kind it is, so sessions of one kind must
hide the picture by themselves. A sample that mixes kinds cannot show that: what honest sessions of one kind
span holds all that leaking ones of another kind send.

A design without vouchers is told of no message, so it can tell an ordinary question from one for a proof of
absence, and nothing else. One with vouchers is told of the message: its evidence may name the recipient or
not, and gives the type of the file. Three kinds have each of these values, and one has it alone, so that a
leak that hangs on one of them is all of a kind; one that hangs on two of them together is not.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.contract import CERTIFYING, UNBOUND, AnyDesign, Binding
from msgspec import Struct

from blindmatch_simulations.testbed.inprocess.messages import MEDIA_TYPES, drawn_message


class BindingKind(Struct, frozen=True):
    """Bindings that a design cannot tell apart by more than their message.

    Attributes:
        name: what a failure calls it; empty for ordinary questions.
        draw: gives a binding of this kind.
    """

    name: str
    draw: Callable[[Randomness], Binding]


ORDINARY: Final = BindingKind("", lambda rng: UNBOUND)
ABSENCE: Final = BindingKind("for a proof of absence", lambda rng: CERTIFYING)


def list_binding_kinds(design: AnyDesign) -> tuple[BindingKind, ...]:
    """Return the kinds that a design can tell apart, the most frequent one first."""
    return _OF_MESSAGES if design.vouchers else (ORDINARY, ABSENCE)


def _draw_binding(media_type: str, is_named: bool, rng: Randomness) -> Binding:
    """Draw messages until one is of the kind."""
    while True:
        message = drawn_message(rng)
        (picture,) = message.content.attachments
        if picture.media_type == media_type and message.named == is_named:
            return message.binding


def _of_messages(media_type: str, is_named: bool) -> BindingKind:
    recipient = "a named recipient" if is_named else "an unnamed recipient"
    return BindingKind(f"{media_type} to {recipient}", partial(_draw_binding, media_type, is_named))


_JPEG, _PNG, _WEBP = dict.fromkeys(MEDIA_TYPES)
_OF_MESSAGES: Final = (_of_messages(_JPEG, True), _of_messages(_PNG, True), _of_messages(_WEBP, False))
