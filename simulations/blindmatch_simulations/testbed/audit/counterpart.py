"""The roles of a design, played in process, so that a device's sessions can be run again; and other pictures
to run them with: they agree on what is declared to a party, and differ elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from blindmatch_protocol import contract as bm
from blindmatch_protocol.codec import Message, decode_any
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.codec.randomness import Randomness, Recording
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import Fact, Item
from blindmatch_protocol.contract.design import told
from blindmatch_protocol.picture.decode import Picture
from blindmatch_protocol.picture.pdq import Fingerprint
from msgspec import Struct, field
from msgspec.structs import replace

from blindmatch_simulations.testbed.audit.records import FORGED, POOL
from blindmatch_simulations.testbed.inprocess.deployed import VOUCHER, Deployed

TRIES: Final = 48
"""Hashes that are tried for one picture, where facts depend on bits together."""

HASH_BITS: Final = 256


class Forged(Redacted, Struct, frozen=True, eq=False):
    """An `Item` of given views, while they are chosen; a design gets it as a `picture`."""

    hash: bytes
    quality: int
    coefficients: npt.NDArray[np.float32]
    luminance: npt.NDArray[np.float32]
    pixels: npt.NDArray[np.uint8]

    @classmethod
    def of(cls, item: Item) -> Forged:
        return cls(item.hash, item.quality, item.coefficients, item.luminance, item.pixels)

    def with_hash(self, value: bytes) -> Forged:
        """The same with another hash, and coefficients whose signs are those of its bits."""
        size = np.abs(self.coefficients) + np.float32(1e-3)
        signs = np.where(_bits(value) == 1, np.float32(1), np.float32(-1))
        return replace(self, hash=value, coefficients=(size * signs).astype(np.float32))

    @property
    def picture(self) -> Picture:
        """The same views in the class of every picture that a device asks about: a design that looks at the
        class cannot tell that it is being tested."""
        found = Fingerprint(self.hash, self.quality, self.coefficients)
        return Picture.from_views(self.pixels, self.luminance, found)


class Declared(Struct, frozen=True):
    """What `facts` say of items under a set-up."""

    facts: Sequence[Fact]
    setup: Any

    def of(self, item: Item) -> tuple[Hashable, ...]:
        """The facts' values; a fact that cannot be told of a forged item has a value of its own."""
        return tuple(_told(fact, item, self.setup) for fact in self.facts)

    def shows(self, item: Item) -> bytes:
        """The facts' values as bytes, to look for pieces of the picture in."""
        return b"\0".join(_flat(value) for value in self.of(item))


class Forge(Redacted, Struct, frozen=True):
    """Makes items that agree with one picture.

    Attributes:
        free: bits of the hash that no fact changes with, bool, shape (256,).
        pixels: whether no fact changes with pixels and luminance.
        shape: whether none changes with height and width.
        quality: whether none changes with the quality.

    An item is an interface, so one can be put together from views of several pictures: the hash of one, the
    pixels of another. Where a fact depends on the hash hardly any real picture agrees on it; a forged one
    does, and differs in the bits, coefficients, luminance and pixels that were not declared.
    """

    declared: Declared
    item: Forged
    free: npt.NDArray[np.bool_]
    pixels: bool
    shape: bool
    quality: bool

    @classmethod
    def of(cls, declared: Declared, picture: Item) -> Forge:
        """Try the pixels, then each bit and the quality."""
        item = Forged.of(picture)
        mine = declared.of(picture)
        inverted = replace(item, pixels=255 - item.pixels, luminance=np.float32(255) - item.luminance)
        if declared.of(inverted) != mine:
            return cls(declared, item, np.zeros(HASH_BITS, np.bool_), False, False, False)
        free = [declared.of(_flipped(item, [at])) == mine for at in range(HASH_BITS)]
        other = replace(item, quality=50 + (item.quality + 1) % 50)
        larger = _shaped(item, (2 * item.pixels.shape[0], 2 * item.pixels.shape[1]))
        shape = declared.of(larger) == mine
        quality = declared.of(other) == mine
        return cls(declared, item, np.array(free, np.bool_), True, shape, quality)

    def items(self, sources: Iterator[Item]) -> Iterator[Forged]:
        """For each source an item with as much of it as the facts leave open, and one with this hash; none
        where pixels are declared, since all other views follow from them."""
        mine = self.declared.of(self.item)
        for number, source in enumerate(sources if self.pixels else ()):
            theirs = Forged.of(source)
            if not self.shape:
                theirs = _shaped(theirs, self.item.luminance.shape)
            if not self.quality:
                theirs = replace(theirs, quality=self.item.quality)
            made = (theirs.with_hash(value) for value in self._hashes(theirs.hash, number))
            yield from islice((one for one in made if self.declared.of(one) == mine), 1)
            own = theirs.with_hash(self.item.hash)
            yield from [own] if self.declared.of(own) == mine else []

    def _hashes(self, source: bytes, seed: int) -> Iterator[bytes]:
        """The source's bits where they are free; then some bits changed together, a few and more."""
        places = np.flatnonzero(self.free) if self.free.any() else np.arange(HASH_BITS)
        yield np.packbits(np.where(self.free, _bits(source), _bits(self.item.hash))).tobytes()
        raw = np.random.PCG64(seed)
        for at in range(TRIES):
            some = np.asarray(raw.random_raw(2 + at // 4)) % np.uint64(len(places))
            yield _flipped(self.item, [int(places[int(n)]) for n in some]).hash


def _shaped(item: Forged, shape: tuple[int, ...]) -> Forged:
    return replace(
        item, luminance=np.resize(item.luminance, shape), pixels=np.resize(item.pixels, (*shape, 3))
    )


def _told(fact: Fact, item: Item, setup: Any) -> Hashable:
    try:
        return fact.project(item, setup)
    except Exception as error:
        return type(error).__name__


def _flat(value: object) -> bytes:
    match value:
        case bytes() | bytearray() | memoryview():
            return bytes(value)
        case str():
            with suppress(ValueError):
                return value.encode() + b"\0" + bytes.fromhex(value)
            return value.encode() + b"\0"
        case bool():
            return bytes([value])
        case int():
            size = max(1, (value.bit_length() + 7) // 8)
            return abs(value).to_bytes(size, "big")
        case np.ndarray():
            return value.tobytes()
        case tuple() | list() | frozenset():
            return b"".join(map(_flat, value))
        case _:
            return repr(value).encode()


def _bits(value: bytes) -> npt.NDArray[np.uint8]:
    return np.unpackbits(np.frombuffer(value, np.uint8))


def _flipped(item: Forged, places: Sequence[int]) -> Forged:
    bits = _bits(item.hash)
    for at in places:
        bits[at] ^= 1
    return item.with_hash(np.packbits(bits).tobytes())


Bodies = list[dict[bm.Role, bytes]]


class Counterpart(Redacted, Struct, frozen=True):
    """The roles of a design, played in process.

    Attributes:
        entries: the plaintext list, uint8 (n, 32), to tell which items match.
        enrolments: what the roles hold of the device under audit.
        another: gives the state of another account, if bytes may follow from an account's secrets; whether
            they follow from what is sent beside them is then looked at elsewhere (`leakage.pinning`).
    """

    design: bm.AnyDesign
    setup: Any
    states: Mapping[bm.Role, Any]
    entries: np.ndarray[Any, np.dtype[np.uint8]]
    rng: Randomness
    enrolments: Mapping[bm.Role, Message] = field(default_factory=dict)
    another: Callable[[], Message] | None = None

    @classmethod
    def of(cls, deployed: Deployed, rng: Randomness) -> Counterpart:
        design = deployed.design
        setup = deployed.setup
        return cls(design, setup, deployed.states, deployed.build.entries, rng, enrolments=deployed.held)

    def declared(self, party: bm.Party) -> Declared:
        """What is declared to `party` alone as a semi-honest adversary."""
        return Declared(told(self.design, frozenset({party}), bm.Adversary.SEMI_HONEST), self.setup)

    def answer(self, role: bm.Role, body: Message) -> Message:
        """The role's reply to one body; raises the `ProtocolError` it answers with."""
        request = bm.Request(body, self.enrolments.get(role))
        return bm.answered(self.design, role, self.states[role], request, self.rng)[0]

    def read(self, party: bm.Party, role: bm.Role, raw: bytes) -> bytes:
        """What a party reads of a body for a role: its host, what was sealed to the role."""
        if not raw or self.design.info.roles.get(role) != party:
            return raw
        body = decode_any(self.design.requests[role], raw, self.design.info.name)
        return self.design.unsealed(role, self.states[role], body).encode()

    def message(self, party: bm.Party, role: bm.Role, read: bytes) -> Message | None:
        """What `read` gave, taken apart into its fields; None if there is no such message."""
        inside = self.design.inside() if self.design.info.roles.get(role) == party else None
        kinds = self.design.vouchers if role == VOUCHER else (inside or self.design).requests[role]
        with suppress(ProtocolError):
            return decode_any(kinds, read, self.design.info.name)
        return None

    def bodies(
        self,
        state: Message,
        item: bm.Item,
        rounds: int | None = None,
        binding: bm.Binding = bm.UNBOUND,
        rng: Randomness | None = None,
    ) -> Bodies:
        """Bodies of a whole session, and the voucher it ends in, on fresh randomness or on `rng`; or of its
        first `rounds` rounds."""
        sent: Bodies = []
        session = bm.Session(self.design, self.setup, state, Recording(rng or self.rng).rng)
        step = session.start(item, binding)
        while isinstance(step, Mapping):
            sent.append({role: body.encode() for role, body in step.items()})
            if len(sent) == rounds:
                return sent
            step = session.receive({role: self.answer(role, body) for role, body in step.items()})
        return [*sent, *voucher_of(session.conclude() if self.design.vouchers else step)]


def voucher_of(outcome: object) -> Bodies:
    """One round more: what goes to the centre, if a session ended in a voucher."""
    return [{VOUCHER: outcome.body.encode()}] if isinstance(outcome, bm.Voucher) else []


DECOYS: Final = 4

SOURCES: Final = 8
"""Pictures that are tried as sources of a forged one."""


class Comparison(Struct, frozen=True):
    """How much one session's bytes to one party were compared.

    Attributes:
        decoys: with how many other pictures.
        reason: why nothing could be compared, or not all of it; empty if all could.
    """

    item: int
    party: bm.Party
    decoys: int
    reason: str

    @property
    def comparable(self) -> bool:
        """Was there a picture that agrees on the facts and differs in whatever they leave open?"""
        return self.decoys > 0 and not self.reason


def outcome_of(counterpart: Counterpart, item: bm.Item) -> bool:
    """Does `item` match the list, by the plaintext oracle?"""
    return bool(counterpart.design.info.relation.holds(item, counterpart.entries).any())


class DecoyFinder:
    """Finds decoys for one device's sessions."""

    def __init__(self, counterpart: Counterpart, pool: Sequence[bm.Item]) -> None:
        self.counterpart = counterpart
        self._pool = pool
        self._told: dict[tuple[bm.Party, int], tuple[Hashable, ...]] = {}

    def decoys(self, item: bm.Item, party: bm.Party) -> tuple[tuple[bm.Item, ...], str]:
        """Items that agree with `item` on all that is declared to `party`: of the pool, and forged where too
        few of it do, or none that has another hash; half match as `item` does, unless servers may learn
        which. And why that is not all that is to be compared."""
        declared = self.counterpart.declared(party)
        mine = self._telling(declared, party, item)
        others = [one for one in self._pool if one is not item]
        chosen = self._balanced(item, (o for o in others if self._telling(declared, party, o) == mine))
        forge = None
        if len(chosen) < DECOYS or all(one.hash == item.hash for one in chosen):
            forge = Forge.of(declared, item)
            made = (one.picture for one in forge.items(self._sources(others)))
            forged = self._balanced(item, made)
            chosen = (*forged, *chosen[: DECOYS - len(forged)])
        return chosen, _left_out(declared, item, chosen, forge)

    def name_of(self, decoy: bm.Item) -> str:
        """Name a decoy: by its place in the pool, or as forged, by the first bytes of its hash."""
        place = next((at for at, one in enumerate(self._pool) if one is decoy), None)
        return f"{FORGED}/{decoy.hash[:4].hex()}" if place is None else f"{POOL}/{place}"

    def _telling(self, declared: Declared, party: bm.Party, item: bm.Item) -> tuple[Hashable, ...]:
        """The declared facts of a picture, worked out once: some read all of it."""
        if (party, id(item)) not in self._told:
            self._told[party, id(item)] = declared.of(item)
        return self._told[party, id(item)]

    def _balanced(self, item: bm.Item, found: Iterator[bm.Item]) -> tuple[bm.Item, ...]:
        tells = bm.Learner.SERVER in self.counterpart.design.info.learns
        outcome = outcome_of(self.counterpart, item)
        half = DECOYS if tells else DECOYS // 2
        same: list[bm.Item] = []
        other: list[bm.Item] = []
        for one in found:
            (same if outcome_of(self.counterpart, one) == outcome else other).append(one)
            if len(same) >= half and (tells or len(other) >= half):
                break
        return (*same[:half], *([] if tells else other[:half]))

    def _sources(self, others: Sequence[bm.Item]) -> Iterator[bm.Item]:
        entries = self.counterpart.entries
        for at, one in enumerate(others[:SOURCES]):
            yield one
            if len(entries):
                yield Forged.of(one).with_hash(entries[at % len(entries)].tobytes())


def _left_out(declared: Declared, item: bm.Item, chosen: Sequence[bm.Item], forge: Forge | None) -> str:
    """Why not all that the facts leave open was compared; empty if it was."""
    if forge is not None and not forge.pixels:
        return "the facts declare the whole picture"
    if not chosen:
        return "no picture was found that agrees on the facts"
    if all(one.hash == item.hash for one in chosen) and item.hash not in declared.shows(item):
        return "no other hash was found that agrees on the facts"
    return ""
