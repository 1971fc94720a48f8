"""The files of slot-psi: what each holds, and how it is opened.

set.bin                  both public keys, those of the second key's shares, the table's shards, the nodes
                         of the records' tree that devices have
matcher.bin              the first key, digest of set.bin
party_a.bin, party_b.bin a share of the second key, digests of set.bin and records.bin
records.bin              every slot's record; the same at both parties
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

import numpy as np
from msgspec import Struct

from blindmatch_protocol.codec.errors import DesignError, SetFileError
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract.declaration import KEY_EXPIRES, KeyLimits, Parameter, PeriodLimit, Role
from blindmatch_protocol.contract.publishing import Workspace
from blindmatch_protocol.crypto.oprf import PublicKey, SecretKey
from blindmatch_protocol.designs.deltas import PUBLIC_KEY_KIND, SET_FILE, SHARE_KEYS_KIND
from blindmatch_protocol.designs.slot_psi import records, retrieval
from blindmatch_protocol.designs.slot_psi.build import Built
from blindmatch_protocol.designs.slot_psi.parameters import DIGEST_BYTES, SLOTTING, Slotting, check_hiding
from blindmatch_protocol.designs.slot_psi.session import PARTIES, PartyState, Setup
from blindmatch_protocol.designs.slot_psi.table import open_table
from blindmatch_protocol.designs.voprf.files import (
    SECRET_KEY_KIND,
    SET_DIGEST_KIND,
    KeyHolder,
    key_file,
    open_public_keys,
    read_public_key,
    read_secret_key,
)
from blindmatch_protocol.designs.voprf.layout import HALVES, LIMITS, MATCHER, check_names, check_range
from blindmatch_protocol.setfile import Identity, SetFile, SetFileWriter

RECORDS_FILE: Final = "records.bin"
SECOND_KEY_KIND: Final = 0x130
"""Of `set.bin`: the second key's public key, 32."""
SHARD_KIND: Final = 0x131
"""Of `set.bin`: a shard of the table; several."""
TOPS_KIND: Final = 0x132
"""Of `set.bin`: nodes of the records' hash tree, 32 each."""
RECORDS_KIND: Final = 0x133
"""Of `records.bin`: the records, one after the other."""
RECORDS_DIGEST_KIND: Final = 0x134
"""Of a party's file: the overall digest of `records.bin`, 32."""

_EXPIRES: Final = next(limit for limit in LIMITS if limit.name == KEY_EXPIRES)
ACCOUNT_PICTURES: Final = Parameter(
    "account_pictures",
    "Pictures of an account that are answered under one key, both questions; 0 for no limit.",
    "pictures",
    0,
    0,
    1 << 32,
)
"""None, since the keys live as long as the list: it would end the service of honest accounts one by one."""
DAY_PICTURES: Final = Parameter(
    "day_pictures",
    "Pictures of an account that are answered in a day, both questions; 0 for no limit.",
    "pictures",
    1_000,
    0,
    1 << 32,
)
"""An assumption: eighteen times what the limit of a year comes to on average."""
YEAR_PICTURES: Final = Parameter(
    "year_pictures",
    "Pictures of an account that are answered in 365 days, both questions; 0 for no limit.",
    "pictures",
    20_000,
    0,
    1 << 32,
)
"""About one account in a thousand sends more in a year (docs/capacity.md)."""
LIMITS_OF_PICTURES: Final = (ACCOUNT_PICTURES, DAY_PICTURES, YEAR_PICTURES)
DECLARED: Final = (*SLOTTING, *LIMITS_OF_PICTURES, _EXPIRES)
_DAY_SECONDS: Final = 86_400
_YEAR_SECONDS: Final = 365 * _DAY_SECONDS
COUNTED_AS: Final = b"slot-psi/"
"""Goes before the role for which pictures of a day and a year are counted, over all keys."""


class Limited(Struct, frozen=True):
    """Limits of a list's keys: pictures an account may ask about, and when they end; 0 for none and never."""

    account_pictures: int
    day_pictures: int
    year_pictures: int
    key_expires: int

    def on(self, role: Role, key: bytes, cost: int) -> KeyLimits:
        """Return the limits of a role that evaluates so much for a picture."""
        periods = ((_DAY_SECONDS, self.day_pictures), (_YEAR_SECONDS, self.year_pictures))
        return KeyLimits(
            key,
            cost,
            self.account_pictures * cost or None,
            None,
            self.key_expires or None,
            tuple(PeriodLimit(seconds, most * cost) for seconds, most in periods if most),
            COUNTED_AS + role.encode(),
        )


def of_values(values: Mapping[str, int]) -> tuple[Slotting, Limited]:
    """Return what a set's parameters say.

    Raises:
        DesignError: one is missing, unknown or out of range, or they do not go together.
    """
    check_names(values, DECLARED)
    for parameter in (*LIMITS_OF_PICTURES, _EXPIRES):
        check_range(parameter, values[parameter.name])
    slotting = Slotting.of({parameter.name: values[parameter.name] for parameter in SLOTTING})
    check_hiding(slotting)
    limited = Limited(
        account_pictures=values[ACCOUNT_PICTURES.name],
        day_pictures=values[DAY_PICTURES.name],
        year_pictures=values[YEAR_PICTURES.name],
        key_expires=values[KEY_EXPIRES],
    )
    return slotting, limited


class OpenedSetup(Setup, frozen=True, eq=False, kw_only=True):
    """A set-up, and the file that it came from."""

    file: SetFile
    limited: Limited

    @property
    def count(self) -> int:
        """Blinded elements in every first request."""
        return self.slotting.tokens


class PartyHolder(Redacted, Struct, frozen=True, eq=False):
    """What a party answers from, its limits, and the second key's public key."""

    SHOWN: ClassVar = ("epoch",)

    state: PartyState
    whole: PublicKey
    limited: Limited

    @property
    def epoch(self) -> int:
        return self.state.epoch


class MatcherHolder(KeyHolder, frozen=True, eq=False, kw_only=True):
    """What the matcher answers from."""

    limited: Limited


def write_files(
    made: Built,
    identity: Identity,
    first: SecretKey,
    second: SecretKey,
    shares: Mapping[Role, SecretKey],
    out: Workspace,
) -> None:
    """Write all files of an epoch."""
    file = SetFileWriter(out.create(SET_FILE), identity)
    file.section(PUBLIC_KEY_KIND, [first.public.element], 1)
    file.section(SECOND_KEY_KIND, [second.public.element], 1)
    file.section(SHARE_KEYS_KIND, [shares[role].public.element for role in PARTIES], len(PARTIES))
    for shard in made.table:
        file.section(SHARD_KIND, [shard], 1)
    file.section(TOPS_KIND, [made.tops.tobytes()], len(made.tops))
    digest = file.finish(made.entries)
    content = SetFileWriter(out.create(RECORDS_FILE), identity)
    content.section(RECORDS_KIND, [np.ascontiguousarray(made.records).data.cast("B")], len(made.records))
    records_digest = content.finish(made.entries)
    held: dict[Role, dict[int, bytes]] = {MATCHER: {SECRET_KEY_KIND: first.reveal()}}
    for role in PARTIES:
        held[role] = {SECRET_KEY_KIND: shares[role].reveal(), RECORDS_DIGEST_KIND: records_digest}
    for role, sections in held.items():
        own = SetFileWriter(out.create(key_file(role)), identity)
        for kind, value in (sections | {SET_DIGEST_KIND: digest}).items():
            own.section(kind, [value], 1)
        own.finish(made.entries)


def open_set(file: SetFile) -> OpenedSetup:
    """Open the set-up file; `SetFileError` if it is not what it must be."""
    slotting, limited = _settled(file)
    second = open_public_keys(HALVES, file.name, file, SECOND_KEY_KIND)
    tops = np.frombuffer(file.section(TOPS_KIND), np.uint8)
    if len(tops) != DIGEST_BYTES * slotting.slots >> slotting.path_levels:
        raise SetFileError(f"{file.name}: the nodes of the records' tree are too few or too many")
    shards = [file.section(SHARD_KIND, number) for number in range(file.count(SHARD_KIND))]
    table = open_table(shards, slotting.slot_bits, file.entries * slotting.bands)
    first = read_public_key(bytes(file.section(PUBLIC_KEY_KIND)), file.name)
    epoch = file.identity.epoch
    return OpenedSetup(
        slotting,
        epoch,
        file.entries,
        first,
        second,
        table,
        tops.reshape(-1, DIGEST_BYTES),
        file=file,
        limited=limited,
    )


def check_set(setup: OpenedSetup) -> None:
    """Make sure that the file has the sections of its kinds and no other; `SetFileError` if it has not."""
    once = [PUBLIC_KEY_KIND, SECOND_KEY_KIND, SHARE_KEYS_KIND, TOPS_KIND]
    others = [kind for kind, _ in setup.file.sections if kind != SHARD_KIND]
    if sorted(others) != sorted(once):
        raise SetFileError(f"{setup.file.name}: has a section that does not belong in it, or lacks one")


def open_matcher(file: SetFile, setup: OpenedSetup | None) -> MatcherHolder:
    """Open the matcher's file, which must belong to the set-up beside it, if there is one."""
    slotting, limited = _settled(file)
    key = read_secret_key(file)
    if setup is not None:
        _check_beside(file, setup, key.public == setup.first)
    return MatcherHolder(file.identity.epoch, slotting.tokens, key, key.public, limited=limited)


def open_party(role: Role, file: SetFile, content: SetFile, setup: OpenedSetup | None) -> PartyHolder:
    """Open a party's file and its records, which must belong together and to the set-up beside them.

    Every record is hashed, as a curator could otherwise make devices of chosen pictures fail; see
    `records.hang_on`.
    """
    slotting, limited = _settled(file)
    share = read_secret_key(file)
    if bytes(file.section(RECORDS_DIGEST_KIND)) != content.digest:
        raise SetFileError(f"{file.name}: made for another {content.name} than the one beside it")
    raw = content.section(RECORDS_KIND)
    width = slotting.record_bytes(file.entries)
    if len(raw) != slotting.slots * width:
        raise SetFileError(f"{content.name}: must have a record of {width} bytes for each slot")
    held = np.frombuffer(raw, np.uint8).reshape(slotting.slots, width)
    if setup is not None:
        _check_beside(file, setup, share.public == setup.second.shares[role])
        if not records.hang_on(slotting, setup.epoch, held, setup.tops):
            raise SetFileError(
                f"{content.name}: its records are not those of the tree in {setup.file.name}; do not serve "
                "them, as devices would fail for some pictures alone"
            )
    words = retrieval.words_of(held)
    number = PARTIES.index(role)
    state = PartyState(number, slotting, file.identity.epoch, file.entries, share, words)
    return PartyHolder(state, share.public, limited)


def _settled(file: SetFile) -> tuple[Slotting, Limited]:
    try:
        return of_values(file.identity.parameters)
    except DesignError as error:
        raise SetFileError(f"{file.name}: {error}") from error


def _check_beside(file: SetFile, setup: OpenedSetup, is_its_key: bool) -> None:
    if file.identity.parameters != setup.file.identity.parameters:
        raise SetFileError(f"{file.name}: built for other parameters than {setup.file.name}")
    if bytes(file.section(SET_DIGEST_KIND)) != setup.file.digest:
        raise SetFileError(f"{file.name}: made for another {setup.file.name} than the one beside it")
    if not is_its_key:
        raise SetFileError(f"{file.name}: the key is not the one of {setup.file.name}")
