"""From submissions to a proposal, and from endorsements to the record of an epoch, in a folder of the design.

proposal.bin          what organisations are asked to endorse
NAME.endorsement      an organisation's signatures of it
7/batches.bin         what epoch 7 was published with, signed
7/build.json          the seed of its build, and the epoch it changed: what it is built again from
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Final, TypeAlias

import numpy as np
import numpy.typing as npt
from blindmatch_proofs.endorsement import (
    FILE,
    Action,
    EndorsedTable,
    EndorsementPolicy,
    Terms,
    hash_entries,
    verify_none_dropped,
    verify_table,
)
from blindmatch_proofs.endorsement.batch import UNSIGNED, build_batch
from blindmatch_proofs.epoch import EpochLeaf
from blindmatch_proofs.verdict import Failed, Passed, Verdict
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.errors import BlindmatchError, SetFileError
from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import AnyDesign, EntryBatch, Info, Progress, SetParameters, no_progress
from blindmatch_protocol.contract.publishing import (
    SALT_BYTES,
    Executor,
    HeldEntries,
    check_entries,
    reserved_rows,
)
from blindmatch_protocol.contract.steps import RESERVED
from msgspec import Struct
from msgspec.structs import replace

from blindmatch_server.curator.endorsement.batches import (
    NAME,
    Batches,
    EndorsementError,
    Held,
    SignedProposal,
    change,
    names_of,
)
from blindmatch_server.curator.inspection import group_rows
from blindmatch_server.epochs.building import SEED_BYTES, Publishing, publish_epoch, publish_update
from blindmatch_server.epochs.published import CURRENT, LEAF, Publication
from blindmatch_server.epochs.signing import Signer
from blindmatch_server.storage.files import replace_file

Masks: TypeAlias = npt.NDArray[np.uint32]
"""Organisations, a bit for each name of the policy."""


class Span(Struct, frozen=True):
    """For how long, and in batches of how many entries at most, entries are to be endorsed: 1 for a signature
    of each entry, 0 for no limit."""

    epoch: int
    last_epoch: int
    batch: int = 0


def propose(
    terms: Terms, span: Span, submissions: Mapping[str, Rows], before: Batches, rng: Randomness
) -> Batches:
    """What the organisations are to endorse next, by the hashes that each submitted, uint8 (n, 32); `rng`
    gives 16 bytes of salt for each new entry.

    Listed are hashes that as many submitted as the policy needs, in batches by who did, all of them asked;
    removed are entries that too few vouch for, in batches by who does not, all of them asked.
    """
    names = terms.policy.names
    current = before.listed(span.epoch)
    columns = [current.hashes, *(submissions.get(name, current.hashes[:0]) for name in names)]
    rows = np.concatenate(columns)
    vouchers, is_new = _vouchers(rows, [len(column) for column in columns])
    enough = np.bitwise_count(vouchers) >= terms.policy.needed
    fresh = np.flatnonzero(is_new & enough)
    lacking = ~enough[: len(current)]
    new = EntryBatch(
        rows[fresh],
        np.arange(before.next_id, before.next_id + len(fresh), dtype=np.uint64),
        np.frombuffer(rng.take(SALT_BYTES * len(fresh)), np.uint8).reshape(-1, SALT_BYTES),
    )
    check_entries(new)
    gone = current.take(lacking)
    others = ~vouchers[: len(current)][lacking]
    until = max([span.last_epoch, *(one.batch.last_epoch for one in before.held)])
    listing = _batches(Action.LIST, new, vouchers[fresh], names, span)
    removing = _batches(Action.REMOVE, gone, others, names, replace(span, last_epoch=until))
    return Batches(span.epoch, before.next_id + len(fresh), (*listing, *removing))


def _vouchers(rows: Rows, lengths: Sequence[int]) -> tuple[Masks, npt.NDArray[np.bool_]]:
    """Who vouches for each row's hash, and which rows are the first of a hash that is not listed. Rows are
    hashes, uint8 (n, 32): as many as `lengths` says of those that are listed, then of each organisation."""
    group, first = group_rows(rows)
    masks = np.zeros(len(first), np.uint32)
    bits = np.repeat(np.array([0, *(1 << n for n in range(len(lengths) - 1))], np.uint32), lengths)
    np.bitwise_or.at(masks, group, bits)
    is_new = np.zeros(len(rows), np.bool_)
    is_new[first[~np.isin(np.arange(len(first)), group[: lengths[0]])]] = True
    return masks[group], is_new


def _batches(
    action: Action, entries: EntryBatch, masks: Masks, names: Sequence[str], span: Span
) -> Iterator[Held]:
    everybody = np.uint32((1 << len(names)) - 1)
    for mask in np.unique(masks & everybody).tolist():
        rows = np.flatnonzero(masks & everybody == mask)
        asked = names_of(mask, names)
        size = span.batch or len(rows)
        for at in range(0, len(rows), size):
            part = entries.take(rows[at : at + size])
            batch = build_batch(action, (span.epoch, span.last_epoch), hash_entries(part))
            yield Held(batch, part, asked)


class Settled(Redacted, Struct, frozen=True):
    """What is endorsed for an epoch.

    Attributes:
        record: the batches that count, signed.
        missing: entries of the proposal that too few organisations endorsed.
        endorsers: organisations that signed something of the proposal.
    """

    record: Batches
    missing: int
    endorsers: frozenset[str]


def settle(
    terms: Terms, proposal: Batches, endorsements: Sequence[SignedProposal], before: Batches
) -> Settled:
    """The batches of a proposal that have enough signatures, and those of `before` that still hold;
    `EndorsementError` if an endorsement is by an unknown key, or a signature in it is not good."""
    keys = {one.key: place for place, one in enumerate(terms.policy.organisations)}
    for one in endorsements:
        if one.key not in keys or len(one.signatures) != len(proposal.held):
            raise EndorsementError(
                "an endorsement is by a key that the policy has not, or of another proposal"
            )
    taken = list[Held]()
    missing = 0
    endorsers = set[str]()
    for number, held in enumerate(proposal.held):
        signatures = [UNSIGNED] * len(keys)
        for one in endorsements:
            signatures[keys[one.key]] = one.signatures[number]
        batch = replace(held.batch, signatures=tuple(signatures))
        signed = terms.verify_signatures(batch)
        if isinstance(signed, Failed):
            raise EndorsementError(f"batch {number}: {signed.reason}")
        endorsers |= signed
        if terms.verify_batch(batch, proposal.epoch) == Passed():
            taken.append(replace(held, batch=batch))
        else:
            missing += len(held.entries)
    still = [one for one in before.held if one.batch.is_valid_in(proposal.epoch)]
    record = Batches(proposal.epoch, proposal.next_id, (*still, *taken))
    return Settled(record, missing, frozenset(endorsers))


PROPOSAL: Final = "proposal.bin"
BUILD: Final = "build.json"
SUFFIX: Final = ".endorsement"


class Record(Redacted, Struct, frozen=True):
    """What an epoch was published with.

    Attributes:
        seed: of its build, 32 bytes.
        previous: the epoch whose files the build changed; 0 for a full build.
    """

    SHOWN: ClassVar = ("previous",)

    batches: Batches
    seed: bytes
    previous: int = 0


class Records(Struct, frozen=True):
    """The folder of one design under one policy."""

    folder: Path
    info: Info
    policy: EndorsementPolicy

    def proposal(self) -> Batches:
        """What is proposed. Raises `EndorsementError` if nothing is, and `SetFileError` if the file is
        damaged."""
        return self._batches(self.folder / PROPOSAL, "nothing is proposed; list propose does that")

    def propose(self, proposal: Batches) -> None:
        """Replace the proposal; endorsements of an older one go."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for old in self.folder.glob(f"*{SUFFIX}"):
            old.unlink()
        replace_file(self.folder / PROPOSAL, proposal.encode(self.info, self.policy))

    def never_given(self, before: Batches) -> Batches:
        """`before`, with a next id that no proposal had, either."""
        try:
            proposed = self.proposal()
        except (EndorsementError, SetFileError):
            return before  # there is none, or one under another policy
        return replace(before, next_id=max(before.next_id, proposed.next_id))

    def endorse(self, name: str, endorsement: SignedProposal) -> None:
        replace_file(self.folder / f"{name}{SUFFIX}", endorsement.encode())

    def endorsements(self) -> Iterator[SignedProposal]:
        """What organisations have signed of the proposal. Raises `EndorsementError` if a file is none."""
        return (SignedProposal.decode(path.read_bytes()) for path in sorted(self.folder.glob(f"*{SUFFIX}")))

    def has(self, epoch: int) -> bool:
        """Is there a record of an epoch under this policy?"""
        try:
            held = json.loads((self.folder / str(epoch) / BUILD).read_bytes())
        except (OSError, ValueError, RecursionError):
            return False
        return isinstance(held, dict) and held.get("policy") == self.policy.digest.hex()

    def record(self, epoch: int) -> Record:
        """What an epoch was published with. Raises `EndorsementError` if there is no record of it, or it is
        damaged, and `SetFileError` if its batches are damaged."""
        home = self.folder / str(epoch)
        batches = self._batches(home / NAME, f"there is no record of what epoch {epoch} is endorsed by")
        try:
            build = json.loads((home / BUILD).read_bytes())
            seed = bytes.fromhex(build["seed"])
            previous = int(build["previous"])
        except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
            raise EndorsementError(
                f"the record of epoch {epoch} is damaged: {BUILD} cannot be read"
            ) from None
        return Record(batches, seed, previous)

    def keep(self, batches: Batches, fresh: bytes, previous: int) -> Record:
        """Write the record of an epoch that is to be built, with the seed of a build that was interrupted."""
        home = self.folder / str(batches.epoch)
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        seed = self.record(batches.epoch).seed if self.has(batches.epoch) else fresh[:SEED_BYTES]
        build = {"seed": seed.hex(), "previous": previous, "policy": self.policy.digest.hex()}
        replace_file(home / NAME, batches.encode(self.info, self.policy))
        replace_file(home / BUILD, json.dumps(build).encode())
        return Record(batches, seed, previous)

    def _batches(self, path: Path, missing: str) -> Batches:
        try:
            raw = path.read_bytes()
        except FileNotFoundError:
            raise EndorsementError(missing) from None
        return Batches.decode(raw, self.info, self.policy)


class Audited(Struct, frozen=True):
    """Whose epoch is audited.

    Attributes:
        publication: the epoch, with all files.
        before: the epoch before; None if there is none, or it was not endorsed.
    """

    design: AnyDesign
    terms: Terms
    publication: Publication
    before: Publication | None = None

    def endorsements(self, executor: Executor | None = None) -> dict[str, Verdict]:
        """What public files show; signatures are verified on `executor`."""
        try:
            table = self._table(self.publication)
        except SetFileError as error:
            return {"endorsed": Failed(str(error))}
        found = {"endorsed": verify_table(table, self.terms, self.publication.manifest.entries, executor)}
        if found["endorsed"] != Passed():
            return found
        if self.before is not None:
            found["continued"] = verify_none_dropped(self._table(self.before), table)
        return {**found, "logged": self._logged(table)}

    def recorded(self, record: Record) -> Verdict:
        """Whether the curator's record is what was endorsed."""
        ours = b"".join(self.publication.endorsement().values())
        if record.batches.table(self.design.info) != ours:
            return Failed("the list in the clear is not what the endorsements are over")
        listed = record.batches.listed(self.publication.manifest.epoch)
        reserved = int(reserved_rows(listed.ids, listed.salts).sum())
        return Failed(f"{reserved} entries are disabled: {RESERVED}") if reserved else Passed()

    def rebuilt(
        self,
        record: Record,
        before: Record | None,
        signer: Signer,
        executor: Executor,
        progress: Progress = no_progress,
    ) -> Verdict:
        """Whether the set, built again of the record, has the published bytes; as long as the build took."""
        beside = self.publication.endorsement()
        try:
            with tempfile.TemporaryDirectory(prefix="blindmatch-audit-") as folder:
                how = Publishing(self.design, Path(folder), signer, executor, progress)
                made = self._built(how, record, before)
                ours = {file.name: file.sha256 for file in made.contents.files}
        except BlindmatchError as error:
            return Failed(f"the set cannot be built again: {error}")
        files = self.publication.contents.files
        theirs = {file.name: file.sha256 for file in files if file.name not in beside}
        other = sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))
        return Failed(f"{', '.join(other)}: not what the endorsed list gives") if other else Passed()

    def _built(self, how: Publishing, record: Record, before: Record | None) -> Publication:
        manifest = self.publication.manifest
        rng = Randomness(lambda count: record.seed[:count])
        if not record.previous:
            entries = HeldEntries(record.batches.listed(manifest.epoch))
            parameters = SetParameters(manifest.epoch, self.publication.parameters)
            return publish_epoch(how, entries, parameters, rng)
        if self.before is None or before is None:
            raise SetFileError(f"epoch {record.previous}, which it changes, is not here")
        (how.folder / str(record.previous)).symlink_to(self.before.folder.absolute())
        (how.folder / CURRENT).write_text(f"{record.previous}\n")
        adds, removes = change(before.batches.listed(record.previous), record.batches.listed(manifest.epoch))
        return publish_update(how, record.previous, adds, removes, rng)

    def _table(self, publication: Publication) -> EndorsedTable:
        raw = publication.endorsement()
        keys = len(self.terms.policy.organisations)
        if FILE not in raw:
            raise SetFileError("the epoch bears no endorsements")
        return EndorsedTable(raw[FILE], self.design.info, publication.manifest.epoch, keys)

    def _logged(self, table: EndorsedTable) -> Verdict:
        leaf = EpochLeaf.decode((self.publication.folder / LEAF).read_bytes())
        ours = (self.terms.compute_root(table.read_batches()), self.terms.policy.encode())
        if (leaf.endorsement_root, leaf.endorsement_policy) != ours:
            return Failed("the leaf for the log names another policy or other batches")
        return leaf.verify(self.terms.deployment)
