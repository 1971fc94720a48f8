"""What a device asks of endorsements, if it has a policy: once of an epoch, and of a label at a match."""

from __future__ import annotations

from blindmatch_proofs.endorsement import FILE, EndorsedTable, Terms
from blindmatch_proofs.endorsement.verify import verify_none_dropped, verify_table
from blindmatch_proofs.epoch_leaf import Endorsement, EpochLeaf
from blindmatch_proofs.verdict import Failed, Passed, Verdict
from blindmatch_protocol.codec.errors import SetFileError
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import AnyDesign, Buffers, Learner
from blindmatch_protocol.messages.epoch_manifest import EpochManifest
from msgspec import Struct

from blindmatch_client.settings.config import DeviceConfig


class Before(Redacted, Struct, frozen=True):
    """An epoch that is on this device when the next one is offered."""

    epoch: int
    files: Buffers


class Endorsing(Struct, frozen=True):
    """The terms of one device; use `of`."""

    terms: Terms
    design: AnyDesign

    @classmethod
    def of(cls, config: DeviceConfig) -> Endorsing | None:
        """None where entries need no endorsement, or the device never learns of a match."""
        if config.endorsement is None or Learner.DEVICE not in config.design.info.learns:
            return None
        return cls(Terms(config.curator, config.design.info.name, config.endorsement), config.design)

    def table(self, files: Buffers, epoch: int) -> EndorsedTable:
        """The endorsements beside an epoch's set.

        Raises:
            SetFileError: if there are none, or they are not of this epoch and policy.
        """
        if FILE not in files:
            raise SetFileError("the set bears no endorsements, and this device takes none without")
        keys = len(self.terms.policy.organisations)
        return EndorsedTable(files[FILE], self.design.info, epoch, keys)

    def verify(
        self, leaf: EpochLeaf | None, manifest: EpochManifest, files: Buffers, before: Before | None
    ) -> Verdict:
        """Whether an epoch is endorsed, as its leaf says, and so what it leaves out of `before`."""
        try:
            table = self.table(files, manifest.epoch)
        except SetFileError as error:
            return Failed(str(error))
        verdict = verify_table(table, self.terms, manifest.entries)
        if verdict != Passed():
            return verdict
        ours = Endorsement(self.terms.root(table.batches()), self.terms.policy.encode())
        if leaf is not None and leaf.endorsement != ours:
            return Failed("everybody is shown other endorsements in the log")
        if before is None or FILE not in before.files:
            return verdict
        return verify_none_dropped(self.table(before.files, before.epoch), table)
