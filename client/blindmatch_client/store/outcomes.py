"""How an outcome is stored: a byte for its kind, then its message."""

from __future__ import annotations

from blindmatch_protocol.codec import Message, decode_any
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.contract import AnyDesign, Flag, Label, Match, NoMatch, Outcome, Undisclosed, Voucher

_NO_MATCH, _UNDISCLOSED, _MATCH, _VOUCHER, _FLAG = b"\x00", b"\x01", b"\x02", b"\x03", b"\x04"


def encode_outcome(outcome: Outcome) -> bytes:
    """An outcome as it is stored: a byte for its kind, then its message."""
    match outcome:
        case NoMatch():
            return _NO_MATCH
        case Undisclosed():
            return _UNDISCLOSED
        case Match(label):
            return _MATCH + label.encode()
        case Voucher(body):
            return _VOUCHER + body.encode()
        case Flag():
            return _FLAG + outcome.encode()


def decode_outcome(design: AnyDesign, stored: bytes) -> Outcome:
    """The outcome that was stored.

    Raises:
        ProtocolError: if it is none of `design`.
    """
    kind, body = stored[:1], stored[1:]
    if kind == _MATCH:
        return Match(Label.decode(body))
    if kind == _VOUCHER:
        voucher: Message = decode_any(design.vouchers, body, f"{design.info.name}/voucher")
        return Voucher(voucher)
    if kind == _FLAG:
        return Flag.decode(body, "outcome")
    if stored not in (_NO_MATCH, _UNDISCLOSED):
        raise ProtocolError("outcome", "must be one of five kinds", "kind")
    return NoMatch() if stored == _NO_MATCH else Undisclosed()
