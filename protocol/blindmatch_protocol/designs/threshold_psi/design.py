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

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Annotated, ClassVar, Final

import numpy as np
from msgspec import Struct

from blindmatch_protocol import contract as bm
from blindmatch_protocol import group
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.errors import GroupError, ProtocolError, SetFileError
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract.publishing import joined, whole
from blindmatch_protocol.designs import deltas
from blindmatch_protocol.designs.facts import ACCOUNT, EPOCH, QUERY_TIME, SET_SIZE, leaks
from blindmatch_protocol.designs.plain_scan import AsksNobody
from blindmatch_protocol.designs.threshold_psi.opener import (
    HASH_BYTES,
    ThresholdOpener,
    Voucher,
    pad_content,
    sealed_voucher,
)
from blindmatch_protocol.designs.threshold_psi.shares import DeviceShares
from blindmatch_protocol.designs.threshold_psi.table import (
    SEED_BYTES,
    Domain,
    build_cells,
    planned,
    values_of,
)
from blindmatch_protocol.group import sodium
from blindmatch_protocol.group.rows import one_row, zero_rows
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

_BATCH: Final = 1 << 14
_PERIOD_TAG: Final = b"blindmatch/threshold-psi/period/v3"
"""SHA-256, not padded, of L, `threshold`, 8, `synthetic`, 8, `key_expires`, 8: the period."""

THRESHOLD: Final = bm.Parameter(
    "threshold",
    "Matches of a device and period below which nothing opens: t. Matches are counted by hash: copies of one "
    "picture with different hashes are several, the same hash sent again is one.",
    "matches",
    4,
    2,
    1_000,
)
SYNTHETIC: Final = bm.Parameter(
    "synthetic", "Pictures whose voucher is made up, whatever they match.", "per 1,000", 10, 0, 100
)
_EXPIRES: Final = bm.Parameter(
    bm.KEY_EXPIRES,
    "When the key, and with it the period, ends; 0: never. The same key with another end is another period.",
    "Unix seconds",
    0,
    0,
    2**40,
)


class DeviceKey(bm.Message, tag=0x7B, name="threshold-psi/device-key"):
    """What an account's device keeps; it never changes, and is never sent."""

    key: Annotated[bytes, bm.Fixed(32)]
    """Of the PRF."""


class Setup(Redacted, Struct, frozen=True, eq=False):
    """The set-up of one epoch, opened.

    Attributes:
        domain: what the table's hashing hangs on.
        period: names the key's life, 32 bytes: vouchers of all epochs under the key, with the same
            threshold, share of synthetic vouchers and end, add up.
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
        raw = self.file.section(CELLS_KIND)
        (places,) = self.domain.places(one_row(key)).tolist()
        one, two, three = (bytes(raw[32 * at : 32 * at + 32]) for at in places)
        found = sodium.add(sodium.add(one, two), three)
        return found if any(found) else self.public.tobytes()


def period_of(public: bytes, values: Mapping[str, int]) -> bytes:
    """Return the name of the life of the key with this L, 32 bytes.

    Another threshold is another period, as is another share of synthetic vouchers: a device would make one
    picture's up in one epoch, and not in the next. Another end is another period, too: else whoever has the
    key could publish it again with a later end, and matches from before the end that devices were told of
    would count together with those after it.
    """
    bound = (THRESHOLD, SYNTHETIC, _EXPIRES)
    stated = b"".join(values[one.name].to_bytes(8, "big") for one in bound)
    return sha256(_PERIOD_TAG + public + stated).digest()


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


VISIBLE: Final = bm.Fact(
    "visible_vouchers",
    "how many of an account's pictures are listed, put into the table by the curator without being listed, "
    "or made to look so; which vouchers these are, in what order they came (of those made to look so hardly "
    "any come together) and which of them are of one picture, but not what is on them",
    bm.Severity.OUTCOME,
    shows=frozenset({bm.Shows.OUTCOME}),
)
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
    visible="at once, of matches, of pictures that the curator put into the table without listing them, and "
    "of made-up ones alike, which with fewer than `threshold` matches the centre can tell apart by when they "
    "come alone: listed pictures come in albums, made-up ones do not",
    opened="from threshold + s/32 matches of a device and period on, rounded up, of s made-up ones, as long "
    "as both are among those that the centre tries, and once it tries them: when its visible vouchers of the "
    "device have grown by 1/32 since it last did; with fewer than `threshold` never; in between by more "
    "work than the centre's decoder does",
)


class ThresholdPsi(AsksNobody[Setup, DeviceKey, None, None]):
    info = bm.Info(
        name="threshold-psi",
        version=3,
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
        held = plain_list.open_list(self.info, previous)
        gone = deltas.checked_ids(adds, removes)
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
        public = raw[: group.ELEMENT_BYTES]
        seed = raw[group.ELEMENT_BYTES :]
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
        key = _secret(file)
        values = self._settled(file)
        period = period_of(group.multiply_base(key).tobytes(), values)
        epoch = file.identity.epoch
        threshold = values[THRESHOLD.name]
        return self.opener(epoch, period, threshold, key, plain_list.open_list(self.info, files, epoch))

    def enrol(self, rng: bm.Randomness) -> DeviceKey:
        """Takes 32 bytes of `rng`."""
        return DeviceKey(rng.take(32))

    def start(
        self, state: DeviceKey, setup: Setup, item: bm.Item, binding: bm.Binding, rng: bm.Randomness
    ) -> bm.Started[DeviceKey, None]:
        """Takes as many bytes of `rng` whatever the item is: 192, but for what a subclass takes more."""
        filler = rng.take(HASH_BYTES)
        other_key = rng.take(32)
        poor = item.quality < self.info.relation.minimum_quality
        own_hash = (item.hash, filler)[poor]
        device = self._shares(state, setup)
        is_synthetic = device.is_synthetic(own_hash, setup.parameters[SYNTHETIC.name])
        share, noise, account_key = device.derive(own_hash)
        chosen, inner_key = ((share, account_key), (noise, other_key))[is_synthetic]
        plain = pad_content(own_hash, binding.evidence)
        inside = Inside(device, own_hash, is_synthetic, chosen.encode(), inner_key, plain)
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
        plain = inside.share, inside.key, inside.plain
        return sealed_voucher(setup.epoch, setup.period, inside.device.name, made, *plain)

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
