"""An audit of an endorsed epoch: does its set hold exactly what was endorsed?

The first three checks need public files alone; `recorded` the list; `rebuilt` the seed, which gives every
secret of the epoch, and takes as long as the build did.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from blindmatch_proofs.endorsement import FILE, EndorsedTable, Terms, verify_none_dropped, verify_table
from blindmatch_proofs.epoch import EpochLeaf
from blindmatch_proofs.verdict import Failed, Passed, Verdict
from blindmatch_protocol.codec.errors import BlindmatchError, SetFileError
from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.contract import AnyDesign, Progress, SetParameters, no_progress
from blindmatch_protocol.contract.publishing import Executor, HeldEntries
from msgspec import Struct

from blindmatch_server.curator.endorsement.batches import change
from blindmatch_server.curator.endorsement.proposing import Record
from blindmatch_server.epochs.building import Publishing, publish_epoch, publish_update
from blindmatch_server.epochs.published import CURRENT, LEAF, Publication
from blindmatch_server.epochs.signing import Signer


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
        same = record.batches.table(self.design.info) == ours
        return Passed() if same else Failed("the list in the clear is not what the endorsements are over")

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
        manifest, rng = self.publication.manifest, Randomness(lambda count: record.seed[:count])
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
        raw, keys = publication.endorsement(), len(self.terms.policy.organisations)
        if FILE not in raw:
            raise SetFileError("the epoch bears no endorsements")
        return EndorsedTable(raw[FILE], self.design.info, publication.manifest.epoch, keys)

    def _logged(self, table: EndorsedTable) -> Verdict:
        leaf = EpochLeaf.decode((self.publication.folder / LEAF).read_bytes())
        ours = (self.terms.root(table.batches()), self.terms.policy.encode())
        if (leaf.endorsement_root, leaf.endorsement_policy) != ours:
            return Failed("the leaf for the log names another policy or other batches")
        return leaf.verify(self.terms.deployment)
