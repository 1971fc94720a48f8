"""What the curator keeps of endorsements for a design, in one folder.

proposal.bin          what organisations are asked to endorse
NAME.endorsement      an organisation's signatures of it
7/batches.bin         what epoch 7 was published with, signed
7/build.json          the seed of its build, and the epoch it changed: what it is built again from

A record is whole before its epoch is built. Whoever has its seed and the list has every secret of the epoch,
as whoever has the published roles' files has.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Final

from blindmatch_proofs.endorsement import EndorsementPolicy
from blindmatch_protocol.codec.errors import SetFileError
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import Info
from msgspec import Struct
from msgspec.structs import replace

from blindmatch_server.curator.endorsement.batches import NAME, Batches
from blindmatch_server.curator.endorsement.organisation import EndorsementError, SignedProposal
from blindmatch_server.epochs.seed_stream import SEED_BYTES
from blindmatch_server.storage.workspace import replace_file

PROPOSAL: Final = "proposal.bin"
BUILD: Final = "build.json"
SUFFIX: Final = ".endorsement"


class Record(Redacted, Struct, frozen=True):
    """What an epoch was published with.

    Attributes:
        batches: signed, with their entries.
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
        """What is proposed.

        Raises:
            EndorsementError: if nothing is.
            SetFileError: if the file is damaged.
        """
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
        """Keep an organisation's signatures."""
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
        """What an epoch was published with.

        Raises:
            EndorsementError: if there is no record of it, or it is damaged.
            SetFileError: if its batches are damaged.
        """
        home = self.folder / str(epoch)
        batches = self._batches(home / NAME, f"there is no record of what epoch {epoch} is endorsed by")
        try:
            build = json.loads((home / BUILD).read_bytes())
            seed, previous = bytes.fromhex(build["seed"]), int(build["previous"])
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
