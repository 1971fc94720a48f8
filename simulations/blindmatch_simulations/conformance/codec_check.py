"""The codec of every declared message: one encoding for a value, and nothing else is accepted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from blindmatch_protocol.codec import Message
from blindmatch_protocol.contract import AnyDesign
from blindmatch_protocol.errors import ProtocolError
from blindmatch_protocol.randomness import Randomness

from blindmatch_simulations.conformance.bench import Bench
from blindmatch_simulations.inprocess.fields import made_up
from blindmatch_simulations.inprocess.seeded import below
from blindmatch_simulations.inprocess.verdict import BrokenError, NotApplicableError, Passed

WHOLE = 2048
"""Up to this length every truncation and every byte is tried; beyond it both ends, and as many between."""

LARGE = 1 << 20
"""From this length on only a few dozen places are tried."""


def message_classes(design: AnyDesign) -> dict[type[Message], str]:
    """Every declared message class and its place."""
    found: dict[type[Message], str] = {design.device_state: "device state"}
    for role in design.info.roles:
        found |= dict.fromkeys(design.requests[role], f"request to {role}")
        found |= dict.fromkeys(design.replies[role], f"reply of {role}")
    return found | dict.fromkeys(design.vouchers, "voucher")


def check_codec(bench: Bench) -> Passed:
    """Encode, decode and encode again; left-overs, truncations, tags and flipped bytes."""
    classes = message_classes(bench.design)
    if not classes:
        raise NotApplicableError("the design has no message")
    _distinct_tags(bench.design)
    seen, tried = bench.samples(), 0
    for kind, place in classes.items():
        samples = [*seen.get(kind, []), *made_up(kind, bench.rng(f"codec/{kind.NAME}"))]
        if not samples:
            raise BrokenError(kind.NAME, f"no {place} of this class was seen, and none could be made up")
        for sample in samples:
            tried += check_encoding(kind, sample.encode(), bench.rng(f"flips/{kind.NAME}"))
    return Passed(f"{len(classes)} messages, {tried} altered encodings", {"altered": tried})


def check_encoding(kind: type[Message], raw: bytes, rng: Randomness) -> int:
    """Try everything on one encoding; the number of altered ones."""
    if kind.decode(raw).encode() != raw:
        raise BrokenError(kind.NAME, "decoding and encoding gives other bytes", raw=raw[:256])
    if kind.decode(raw) != kind.decode(raw):
        raise BrokenError(kind.NAME, "two decodings of one encoding differ", raw=raw[:256])
    tried = 0
    for altered, how in _refused(raw, rng):
        if accepted(kind, altered):
            raise BrokenError(kind.NAME, f"accepts {how}", raw=altered[:256])
        tried += 1
    for altered in _flipped(raw, rng):
        if accepted(kind, altered) and kind.decode(altered).encode() != altered:
            raise BrokenError(kind.NAME, "accepts a form it would not write itself", raw=altered[:256])
        tried += 1
    return tried


def accepted(kind: type[Message], raw: bytes) -> bool:
    """Does `kind` decode `raw`? Any error but `ProtocolError` is a failure."""
    try:
        kind.decode(raw)
    except ProtocolError:
        return False
    except Exception as error:
        words = f"decoding raises {type(error).__name__}, not ProtocolError"
        raise BrokenError(kind.NAME, words, raw=raw[:256]) from error
    return True


def places(length: int, rng: Randomness) -> Sequence[int]:
    """Positions to alter in `length` bytes; all of them up to `WHOLE`."""
    if length <= WHOLE:
        return range(length)
    ends = WHOLE // 4 if length < LARGE else WHOLE // 128
    middle = {ends + below(rng, length - 2 * ends) for _ in range(2 * ends)}
    return [*range(ends), *sorted(middle), *range(length - ends, length)]


def _refused(raw: bytes, rng: Randomness) -> Iterator[tuple[bytes, str]]:
    yield b"", "nothing at all"
    for at in places(len(raw), rng):
        yield raw[:at], f"a truncation to {at} of {len(raw)} bytes"
    for extra in (b"\0", b"\xff", raw):
        yield raw + extra, "left-over bytes"
    for tag in range(256):
        if tag != raw[0]:
            yield bytes([tag]) + raw[1:], f"the tag {tag:#04x}"


def _flipped(raw: bytes, rng: Randomness) -> Iterator[bytes]:
    for at in places(len(raw), rng):
        altered = bytearray(raw)
        altered[at] ^= 1 + below(rng, 255)
        yield bytes(altered)


def _distinct_tags(design: AnyDesign) -> None:
    for role in design.info.roles:
        for kinds, what in ((design.requests[role], "requests to"), (design.replies[role], "replies of")):
            if len({kind.TAG for kind in kinds}) != len(kinds):
                raise BrokenError("messages", f"two {what} {role} have one tag")
