"""threshold-psi: nobody learns which pictures match until enough of them do; docs/designs/threshold-psi.md.

    device(hash, table D, L = a*G)                                   centre(a, list)
        b, c random;  H = H(hash), U = U(hash) from D;  x, coin, noise = PRF(key, period, hash)
        real        Q = b*H + c*G    S = b*U + c*L    share = (x, p(x))
        synthetic   Q = c*G          S = c*L          share = (x, noise)
        inner = seal(account key, hash | evidence)
                  ---- Voucher: epoch, device, Q, seal(S, share | inner) ---->
                                                                     a*Q opens it?  if not, forget it
                                                                     t' shares of a device: account key
                                                                     opens the inner seal of real ones

Bhowmick, Boneh, Myers, Talwar and Tarbe 2021, "The Apple PSI System", sections 4 and 5: ftPSI-AD, with one Q
where they have two, and a linear encoding in the place of the cuckoo table (`table`).

An unlisted hash: S - a*Q = b*(U - a*H), uniform over b whatever a, the table and H are, as long as U is not
a*H. So who has a learns nothing of S, and of what is under it no more than the seal tells, if the table is
honest. `table` says what it hides from devices (DDH), `shares` what visible vouchers tell below a threshold.

Both kinds of voucher are always computed, and one of them is taken.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from hashlib import sha256, sha512
from typing import Annotated, Any, ClassVar, Final

import numpy as np
from msgspec import Struct

from blindmatch_protocol import contract as bm
from blindmatch_protocol import group
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.errors import GroupError, ProtocolError, SetFileError
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract.publishing import joined, whole
from blindmatch_protocol.crypto.symmetric import TAG_LENGTH, seal, unseal
from blindmatch_protocol.designs import deltas
from blindmatch_protocol.designs.facts import ACCOUNT, EPOCH, QUERY_TIME, SET_SIZE, leaks
from blindmatch_protocol.designs.plain_scan import AsksNobody
from blindmatch_protocol.designs.threshold_psi.shares import (
    SHARE_BYTES,
    DeviceShares,
    Share,
    recovered,
)
from blindmatch_protocol.designs.threshold_psi.table import (
    SEED_BYTES,
    Domain,
    build_cells,
    planned,
    values_of,
)
from blindmatch_protocol.group import sodium
from blindmatch_protocol.group.rows import one_row, zero_rows
from blindmatch_protocol.messages.franking import Evidence, opened_commitment
from blindmatch_protocol.setfile import SetFile
from blindmatch_protocol.sets import plain_list

SET_FILE: Final = "set.bin"
KEY_FILE: Final = "opener.bin"
PUBLIC_KIND: Final = 0x180
"""Of the set-up: L, 32, then the seed of the table, 32."""
CELLS_KIND: Final = 0x181
"""Of the set-up: the cells, 32 each."""
SECRET_KIND: Final = 0x182
"""Of the opener's file: a, 32, little-endian."""

HASH_BYTES: Final = 32
EVIDENCE_BYTES: Final = 1_600
"""Room for an encoded `Evidence`, whose longest names and media type take fewer."""
_LENGTH: Final = 2
_INNER_BYTES: Final = HASH_BYTES + _LENGTH + EVIDENCE_BYTES + TAG_LENGTH
SEALED_BYTES: Final = SHARE_BYTES + _INNER_BYTES + TAG_LENGTH
_BATCH: Final = 1 << 14
_VOUCHER: Final = "threshold-psi/voucher"
_AD_TAG: Final = b"blindmatch/threshold-psi/voucher/v1"
"""Associated data of both seals: this, not padded, epoch, 8, period, pseudonym, Q."""
_MATCH_TAG: Final = b"blindmatch/threshold-psi/match-key/v1"
"""SHA-512 of S and associated data: 32, key of the outer seal."""
_EVIDENCE_TAG: Final = b"blindmatch/threshold/evidence-key/v1"
"""SHA-512 of account key, or of a made-up voucher 32 random bytes, and associated data: 32, key of the inner
seal; in it hash, length of the evidence, 2, evidence, zeros to 1,634."""
_PERIOD_TAG: Final = b"blindmatch/threshold-psi/period/v2"
"""SHA-256, not padded, of L, `threshold`, 8, `synthetic`, 8: the period."""

THRESHOLD: Final = bm.Parameter(
    "threshold", "Matches of a device and period below which nothing opens: t.", "matches", 4, 2, 1_000
)
SYNTHETIC: Final = bm.Parameter(
    "synthetic", "Pictures whose voucher is made up, whatever they match.", "per 1,000", 10, 0, 100
)
_EXPIRES: Final = bm.Parameter(
    bm.KEY_EXPIRES, "When the key, and with it the period, ends; 0: never.", "Unix seconds", 0, 0, 2**40
)


class Voucher(bm.Message, tag=0x7A, name=_VOUCHER):
    """What leaves for every picture, of one length."""

    epoch: Annotated[int, bm.UInt(64)]
    """Of the table."""
    device: Annotated[bytes, bm.Fixed(16)]
    """The device's pseudonym of the period."""
    blinded: Annotated[bytes, bm.Fixed(32)]
    """Q."""
    sealed: Annotated[bytes, bm.Fixed(SEALED_BYTES)]
    """Under S: the share; and under the account key, or a random one: hash and evidence."""


class DeviceKey(bm.Message, tag=0x7B, name="threshold-psi/device-key"):
    """What an account's device keeps; it never changes, and is never sent."""

    key: Annotated[bytes, bm.Fixed(32)]
    """Of the PRF."""


class Setup(Redacted, Struct, frozen=True, eq=False):
    """The set-up of one epoch, opened.

    Attributes:
        domain: what the table's hashing hangs on.
        period: names the key's life, 32 bytes: vouchers of all epochs under the key add up.
    """

    SHOWN: ClassVar = ("epoch", "entries", "parameters")

    epoch: int
    entries: int
    parameters: Mapping[str, int]
    public: Rows
    domain: Domain
    period: bytes
    file: SetFile

    @property
    def cells(self) -> Rows:
        """The table, (cells, 32); `SetFileError` if it was altered."""
        raw = self.file.section(CELLS_KIND)
        return np.frombuffer(raw, np.uint8).reshape(-1, group.ELEMENT_BYTES)

    def values(self, keys: Rows) -> Rows:
        """U of keys of the table, uint8 (n, w): (n, 32). One of the identity, which the table of a dishonest
        curator may have, is L instead: no listed key has it, and a device must not fail for a picture."""
        found = values_of(self.cells, self.domain.places(keys))
        return np.where(zero_rows(found)[:, None], self.public, found)

    def value(self, key: bytes) -> bytes:
        """The same of one key: arrays would cost more than the work."""
        raw, (places,) = self.file.section(CELLS_KIND), self.domain.places(one_row(key)).tolist()
        one, two, three = (bytes(raw[32 * at : 32 * at + 32]) for at in places)
        found = sodium.add(sodium.add(one, two), three)
        return found if any(found) else self.public.tobytes()


def period_of(public: bytes, values: Mapping[str, int]) -> bytes:
    """Names the life of the key with this L. Another threshold is another period, as is another share of
    synthetic vouchers: a device would make one picture's up in one epoch, and not in the next."""
    stated = b"".join(values[one.name].to_bytes(8, "big") for one in (THRESHOLD, SYNTHETIC))
    return sha256(_PERIOD_TAG + public + stated).digest()


def bound_to(epoch: int, period: bytes, device: bytes, blinded: bytes) -> bytes:
    """What both seals of a voucher are bound to."""
    return _AD_TAG + epoch.to_bytes(8, "big") + period + device + blinded


def _key(tag: bytes, secret: bytes, bound: bytes) -> bytes:
    return sha512(tag.ljust(128, b"\0") + secret + bound).digest()[:32]


def sealed_voucher(
    setup: Setup, device: bytes, blinded: bytes, shared: bytes, share: bytes, inner_key: bytes, plain: bytes
) -> Voucher:
    """The voucher of Q and S, `shared`, with this share and this content."""
    bound = bound_to(setup.epoch, setup.period, device, blinded)
    sealed = sealed_twice(bound, _key(_MATCH_TAG, shared, bound), share, inner_key, plain)
    return Voucher(setup.epoch, device, blinded, sealed)


def sealed_twice(bound: bytes, outer_key: bytes, share: bytes, inner_key: bytes, plain: bytes) -> bytes:
    """A share, and a content under the inner key, under the outer one: `SEALED_BYTES`."""
    return seal(outer_key, share + seal(_key(_EVIDENCE_TAG, inner_key, bound), plain, bound), bound)


def _content(own_hash: bytes, evidence: bytes) -> bytes:
    if len(evidence) > EVIDENCE_BYTES:
        raise ProtocolError(_VOUCHER, f"must be at most {EVIDENCE_BYTES} bytes", "evidence")
    return own_hash + len(evidence).to_bytes(_LENGTH, "big") + evidence.ljust(EVIDENCE_BYTES, b"\0")


class Inside(Redacted, Struct, frozen=True):
    """What goes into a voucher.

    Attributes:
        own_hash: of the picture, or a random one, 32 bytes.
        is_synthetic: whether it is made up.
        share: encoded.
        key: of the inner seal.
        plain: what is under it.
    """

    device: DeviceShares
    own_hash: bytes
    is_synthetic: bool
    share: bytes
    key: bytes
    plain: bytes


class _Row(Redacted, Struct, frozen=True):
    """A visible voucher, as the centre keeps it: digest of device and pseudonym, what the seals are bound to,
    share, and the inner seal."""

    device: bytes
    bound: bytes
    share: Share
    inner: bytes

    BOUND: ClassVar = len(bound_to(0, bytes(32), bytes(16), bytes(32)))

    def encode(self) -> bytes:
        return self.device + self.bound + self.share.encode() + self.inner

    @classmethod
    def decode(cls, raw: bytes) -> _Row:
        """Read back what `encode` wrote."""
        device, raw = raw[:32], raw[32:]
        bound, raw = raw[: cls.BOUND], raw[cls.BOUND :]
        share = Share.decode(raw[:SHARE_BYTES])
        assert share is not None  # it was looked at when it was taken
        return cls(device, bound, share, raw[SHARE_BYTES:])


class ThresholdOpener(Redacted, Struct, frozen=True, eq=False):
    """The centre's state: a, and the list.

    A voucher whose outer seal opens to something malformed is taken as one that does not open, since a reply
    that says so would tell its sender what is listed.
    """

    KIND: ClassVar[type[Any]] = Voucher
    WITHIN: ClassVar[int] = 0

    epoch: int
    period: bytes
    threshold: int
    key: Rows
    known: plain_list.PlainList

    def take(self, account: str, device: str, period: bytes, voucher: bm.Message) -> bm.Taken:
        step = self.KIND.NAME
        if not isinstance(voucher, self.KIND):
            raise ProtocolError(step, "must be a voucher of this design", "voucher")
        bm.check_epoch(voucher.epoch, self.epoch, step)
        if period != self.period:
            raise ProtocolError(step, "must be of this period", "period")
        bound, key = self.outer(voucher)
        try:
            opened = unseal(key, voucher.sealed, bound)
        except ProtocolError:
            return bm.Hidden()
        share = Share.decode(opened[:SHARE_BYTES])
        if share is None:
            return bm.Hidden()
        whose = sha256(device.encode() + b"\0" + voucher.device).digest()
        place = whose + share.place.to_bytes(8, "big")
        return bm.Visible(_Row(whose, bound, share, opened[SHARE_BYTES:]).encode(), place)

    def outer(self, voucher: Any) -> tuple[bytes, bytes]:
        """What the seals of a voucher are bound to, and the key that opens the outer one if it is visible;
        `ProtocolError` if it has what is no element."""
        shared = self.multiplied(one_row(voucher.blinded)).tobytes()
        bound = bound_to(voucher.epoch, self.period, voucher.device, voucher.blinded)
        return bound, _key(_MATCH_TAG, shared, bound)

    def multiplied(self, blinded: Rows) -> Rows:
        """Elements of a voucher, (n, 32), times a."""
        try:
            return group.multiply(self.key, blinded)
        except GroupError:
            group.check_elements(blinded, self.KIND.NAME, "blinded")
            raise

    def open(self, account: str, period: bytes, rows: Sequence[bytes]) -> Mapping[int, bm.Label]:
        """Each device's shares by themselves: what another device of the account sends spoils none."""
        devices: dict[bytes, list[tuple[int, _Row]]] = defaultdict(list)
        for at, raw in enumerate(rows):
            row = _Row.decode(raw)
            devices[row.device].append((at, row))
        found: dict[int, bm.Label] = {}
        for held in devices.values():
            found |= self._opened(account, held)
        return found

    def _opened(self, account: str, held: list[tuple[int, _Row]]) -> dict[int, bm.Label]:
        shares = {row.share.place: row.share for _, row in reversed(held)}
        for key in recovered(list(shares.values()), self.threshold):
            read = {at: _unsealed(key, row) for at, row in held}
            real = {row.share.place for at, row in held if self.counts(read[at])}
            if len(real) >= self.threshold:
                labels = {at: self._label(account, raw) for at, raw in read.items() if raw is not None}
                return {at: label for at, label in labels.items() if label is not None}
        return {}

    def counts(self, raw: bytes | None) -> bool:
        """Is this the content of a voucher that counts towards the threshold; None if nothing was read?"""
        return raw is not None

    def _label(self, account: str, raw: bytes) -> bm.Label | None:
        """The label of the entry; None if none is listed now, or the evidence is not of a message that the
        account sent."""
        own, length = raw[:HASH_BYTES], int.from_bytes(raw[HASH_BYTES : HASH_BYTES + _LENGTH], "big")
        evidence = raw[HASH_BYTES + _LENGTH :][:length]
        if evidence and not _is_of(evidence, account):
            return None
        return self.known.match(own, self.WITHIN)


def _unsealed(key: bytes, row: _Row) -> bytes | None:
    """Hash and evidence; None of a synthetic voucher, and of one whose content is malformed."""
    try:
        raw = unseal(_key(_EVIDENCE_TAG, key, row.bound), row.inner, row.bound)
    except ProtocolError:
        return None
    return raw if len(raw) == HASH_BYTES + _LENGTH + EVIDENCE_BYTES else None


def _is_of(raw: bytes, account: str) -> bool:
    """Is it the evidence of a message by this account, and does it open its commitment?"""
    try:
        evidence = Evidence.decode(raw)
        return evidence.sender == account and opened_commitment(evidence) == evidence.opening.commitment
    except ProtocolError:
        return False


VISIBLE: Final = bm.Fact(
    "visible_vouchers",
    "how many of an account's pictures are listed or made to look so, which vouchers these are and which of "
    "them are of one picture, but not what is on them",
    bm.Severity.OUTCOME, shows=frozenset({bm.Shows.OUTCOME}),
)  # fmt: skip
EARLY: Final = bm.Fact(
    "early_opening",
    "from `threshold` matches of a device and period on, with more work than the decoder does, which of the "
    "visible ones are real, and their hashes",
    bm.Severity.OUTCOME,
)
WHOSE: Final = bm.Fact(
    "account", "whose each voucher is, and of which device", bm.Severity.LINKS, shows=ACCOUNT
)


VOUCHING: Final = bm.Vouching(
    tells="that a picture was sent: a voucher leaves for every picture",
    visible="at once, of matches and of made-up ones alike, which the centre cannot tell apart with "
    "fewer than `threshold` matches",
    opened="from threshold + s/32 matches of a device and period on, rounded up, of s made-up ones, as long "
    "as both are among those that the centre tries; with fewer than `threshold` never; in between by more "
    "work than the centre's decoder does",
)


class ThresholdPsi(AsksNobody[Setup, DeviceKey, None, None]):
    info = bm.Info(
        name="threshold-psi",
        version=2,
        option="1b",
        differs="the hash is blinded, and nothing opens below a threshold of matches",
        summary="Every picture gives a voucher; the centre can open those that match, from a threshold on.",
        relation=bm.Equal(recall=0.99),
        learns=frozenset({bm.Learner.CENTRE}),
        roles={},
        parameters=(THRESHOLD, SYNTHETIC, _EXPIRES),
        evaluation=bm.Evaluation.LOCAL,
        vouching=VOUCHING,
    )
    vouchers: ClassVar[tuple[type[bm.Message], ...]] = (Voucher,)
    device_state: ClassVar[type[bm.Message]] = DeviceKey
    opener: ClassVar[type[ThresholdOpener]] = ThresholdOpener

    def slots(self, entries: int) -> int:
        """Keys in the table of so many entries."""
        return entries

    def keys_of(self, hashes: Rows) -> Rows:
        """What the table has of entries, uint8 (n, 32), all distinct: uint8 (`slots(n)`, w)."""
        return hashes

    def leakage(self) -> tuple[bm.Leak, ...]:
        return (
            *leaks({bm.Party.CENTRE}, QUERY_TIME, EPOCH, WHOSE, VISIBLE, EARLY),
            *leaks({bm.Party.DEVICE}, SET_SIZE),
        )

    def list_knowledge(self, parties: frozenset[bm.Party]) -> bm.ListKnowledge:
        has_table = parties & {bm.Party.DEVICE, bm.Party.MATCHER}
        return bm.ListKnowledge.SIZE if has_table else bm.ListKnowledge.NOTHING

    def publish(
        self,
        entries: bm.EntrySource,
        parameters: bm.SetParameters,
        rng: bm.Randomness,
        executor: bm.Executor | None,
        out: bm.Workspace,
        progress: bm.Progress = bm.no_progress,
    ) -> bm.Published:
        """Takes 64 bytes of `rng` for the key and 64 for the table."""
        key = group.random_scalars(1, rng)
        return self._written(key, whole(entries, _BATCH, progress), parameters, rng, executor, out)

    def update(
        self,
        previous: bm.Buffers,
        adds: bm.EntrySource,
        removes: Sequence[int],
        out: bm.Workspace,
        rng: bm.Randomness,
        executor: bm.Executor | None = None,
        progress: bm.Progress = bm.no_progress,
    ) -> bm.Published:
        """A whole table under the same key, and so of the same period. Takes 64 bytes of `rng`; `DesignError`
        if nothing changes, an addition is listed already, or a removed id is not listed."""
        file = plain_list.open_file(self.info, previous, KEY_FILE, None)
        held, gone = plain_list.open_list(self.info, previous), deltas.checked_ids(adds, removes)
        if not np.isin(gone, held.ids).all():
            raise bm.DesignError("an id to be removed is not in the set")
        entries = joined([held.take(~np.isin(held.ids, gone)), whole(adds, _BATCH, progress)])
        parameters = bm.SetParameters(file.identity.epoch + 1, file.identity.parameters)
        return self._written(_secret(file), entries, parameters, rng, executor, out)

    def _written(
        self,
        key: Rows,
        entries: bm.EntryBatch,
        parameters: bm.SetParameters,
        rng: bm.Randomness,
        executor: bm.Executor | None,
        out: bm.Workspace,
    ) -> bm.Published:
        if len(np.unique(entries.hashes, axis=0)) != len(entries):
            raise bm.DesignError("the list has an entry twice")
        drawn = rng.take(2 * SEED_BYTES)
        keys = self.keys_of(entries.hashes)
        plan = planned(parameters.epoch, drawn[:SEED_BYTES], keys)
        cells = build_cells(plan, key, keys, drawn[SEED_BYTES:], executor)
        public = group.multiply_base(key).tobytes() + plan.domain.seed
        sections = {PUBLIC_KIND: public, CELLS_KIND: cells.tobytes()}
        plain_list.write_sections(SET_FILE, self.info, parameters, len(entries), out, sections)
        plain_list.write_sections(
            KEY_FILE, self.info, parameters, len(entries), out, {SECRET_KIND: key.tobytes()}
        )
        listed = bm.batches_of(entries.hashes, entries.ids, entries.salts)
        plain_list.write_list(self.info, listed, parameters, out, bm.no_progress)
        return bm.Published((SET_FILE,), {}, (KEY_FILE, plain_list.LIST_FILE))

    def open_setup(self, files: bm.Buffers, epoch: int | None = None) -> Setup:
        file = plain_list.open_file(self.info, files, SET_FILE, epoch)
        values = self._settled(file)
        raw = bytes(file.section(PUBLIC_KIND))
        if len(raw) != group.ELEMENT_BYTES + SEED_BYTES or len(file.sections) != 2:
            raise SetFileError(f"{SET_FILE}: a section has another length, or does not belong there")
        public, seed = raw[: group.ELEMENT_BYTES], raw[group.ELEMENT_BYTES :]
        domain = Domain(file.identity.epoch, seed, self.slots(file.entries))
        if file.row(CELLS_KIND).length != domain.cells * group.ELEMENT_BYTES:
            raise SetFileError(f"{SET_FILE}: the table has not the cells of its number of entries")
        _check_elements(one_row(public), "public key")
        period = period_of(public, values)
        return Setup(domain.epoch, file.entries, values, one_row(public), domain, period, file)

    def check_setup(self, setup: Setup, progress: bm.Progress = bm.no_progress) -> None:
        """Compares every byte with its digest, and every cell with the rules of the group."""
        setup.file.verify()
        cells = setup.cells
        for start in range(0, len(cells), _BATCH):
            _check_elements(cells[start : start + _BATCH], "cells")
            progress(min(start + _BATCH, len(cells)), len(cells))

    def _settled(self, file: SetFile) -> dict[str, int]:
        values = dict(file.identity.parameters)
        for one in self.info.parameters:
            if not one.least <= values.get(one.name, -1) <= one.most:
                raise SetFileError(f"parameter {one.name}: must be there, and {one.least} to {one.most}")
        return values

    def stated(self, setup: Setup) -> bm.Stated:
        return bm.Stated(setup.parameters, entries=setup.entries)

    def period(self, setup: Setup) -> bytes:
        return setup.period

    def threshold(self, setup: Setup) -> int:
        return setup.parameters[THRESHOLD.name]

    def made_up(self, state: DeviceKey, setup: Setup, item: bm.Item) -> bool:
        return self._shares(state, setup).is_synthetic(item.hash, setup.parameters[SYNTHETIC.name])

    def expires(self, setup: Setup) -> int | None:
        return setup.parameters[bm.KEY_EXPIRES] or None

    def open_opener(self, files: bm.Buffers) -> bm.Opener:
        file = plain_list.open_file(self.info, files, KEY_FILE, None)
        key, values = _secret(file), self._settled(file)
        period = period_of(group.multiply_base(key).tobytes(), values)
        epoch, threshold = file.identity.epoch, values[THRESHOLD.name]
        return self.opener(epoch, period, threshold, key, plain_list.open_list(self.info, files, epoch))

    def enrol(self, rng: bm.Randomness) -> DeviceKey:
        """Takes 32 bytes of `rng`."""
        return DeviceKey(rng.take(32))

    def start(
        self, state: DeviceKey, setup: Setup, item: bm.Item, binding: bm.Binding, rng: bm.Randomness
    ) -> bm.Started[DeviceKey, None]:
        """Takes as many bytes of `rng` whatever the item is: 192, but for what a subclass takes more."""
        filler, other_key = rng.take(HASH_BYTES), rng.take(32)
        poor = item.quality < self.info.relation.minimum_quality
        own_hash = (item.hash, filler)[poor]
        device = self._shares(state, setup)
        is_synthetic = device.is_synthetic(own_hash, setup.parameters[SYNTHETIC.name])
        share, noise, account_key = device.derive(own_hash)
        chosen, inner_key = ((share, account_key), (noise, other_key))[is_synthetic]
        inside = Inside(device, own_hash, is_synthetic, chosen.encode(), inner_key,
                        _content(own_hash, binding.evidence))  # fmt: skip
        try:
            voucher = self.voucher(setup, item, inside, rng)
        except GroupError as error:
            raise SetFileError(f"{SET_FILE}: a cell is no element") from error
        return bm.Started(state, bm.Done(bm.Voucher(voucher)))

    def voucher(self, setup: Setup, item: bm.Item, inside: Inside, rng: bm.Randomness) -> bm.Message:
        """The voucher of an item; both kinds are computed."""
        b, c = (group.random_scalars(1, rng).tobytes() for _ in range(2))
        element = sodium.hash_to_group(setup.domain.uniform(one_row(inside.own_hash)).tobytes())
        synthetic = sodium.multiply_base(c), sodium.multiply(c, setup.public.tobytes())
        real = (
            sodium.add(sodium.multiply(b, element), synthetic[0]),
            sodium.add(sodium.multiply(b, setup.value(inside.own_hash)), synthetic[1]),
        )
        made = (real, synthetic)[inside.is_synthetic]
        return sealed_voucher(setup, inside.device.name, *made, inside.share, inside.key, inside.plain)

    def _shares(self, state: DeviceKey, setup: Setup) -> DeviceShares:
        return DeviceShares(state.key, setup.period, self.threshold(setup))


def _secret(file: SetFile) -> Rows:
    """a; `SetFileError` if it is no scalar."""
    key = np.frombuffer(bytes(file.section(SECRET_KIND)), np.uint8)
    try:
        group.check_scalars(key.reshape(1, -1), KEY_FILE, "key")
    except ProtocolError as error:
        raise SetFileError(f"{KEY_FILE}: {error}") from error
    return key.reshape(1, -1)


def _check_elements(rows: Rows, field: str) -> None:
    try:
        group.check_elements(rows, SET_FILE, field)
    except ProtocolError as error:
        raise SetFileError(str(error)) from error


DESIGN: Final = ThresholdPsi()
