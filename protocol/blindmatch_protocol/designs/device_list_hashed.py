"""Option 1a, exact: digests of the list lie on every device, which looks its own hash up and asks nobody.

    curator  a random salt; of every entry: digest = H(tag, epoch, salt, hash), in ascending order; its label,
             sealed under a key that follows from salt and hash --> every device

The salt is of this publication alone: two that list the same hash, be they of one epoch, share no digest, and
no two records are sealed under one key.
"""

from __future__ import annotations

from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt

from blindmatch_protocol import contract as bm
from blindmatch_protocol.designs.facts import SET_SIZE, leaks
from blindmatch_protocol.designs.plain_scan import FileSetup, OnDevice
from blindmatch_protocol.group.rows import cut, expand
from blindmatch_protocol.setfile import SetFileWriter
from blindmatch_protocol.sets import labels
from blindmatch_protocol.sets.plain_list import BATCH, column, identity_of, open_file

DIGEST_FILE: Final = "digests.bin"
KIND_DIGESTS: Final = 0x19
"""Of `digests.bin`: digests of hashes, 32 each, ascending."""
KIND_LABELS: Final = 0x1A
"""Of `digests.bin`: sealed labels, 88 each, in the order of the digests."""
KIND_SALT: Final = 0x1B
"""Of `digests.bin`: salt of both, 32."""
DIGEST_TAG: Final = b"blindmatch/device-list-hashed/digest/v2"
KEY_TAG: Final = b"blindmatch/device-list-hashed/label-key/v2"
SALT_BYTES: Final = 32
DIGEST_BYTES: Final = 32
RECORD_BYTES: Final = labels.record_bytes(0)

EVERY_GUESS: Final = bm.Fact(
    "every_guess",
    "whether any hash it can think of is listed, and then which entry, offline and without limit",
    bm.Severity.LIST,
    lambda item, setup: setup.stored,
    topic=bm.Topic.LIST,
    abuse="tests any guess against the list",
    noticed_by="nobody",
)


class Setup(FileSetup, frozen=True):
    @property
    def stored(self) -> bytes:
        """All digests, then all sealed labels."""
        return bytes(self.file.section(KIND_DIGESTS)) + bytes(self.file.section(KIND_LABELS))


class DeviceListHashed(OnDevice[Setup]):
    """The device has digests of the list and learns the outcome; nobody else learns anything of a picture."""

    info: ClassVar[bm.Info] = bm.Info(
        name="device-list-hashed",
        evaluation=bm.Evaluation.LOCAL,
        version=2,
        option="1a",
        summary="Digests of the list lie on every device, which looks its own up; nothing is sent.",
        relation=bm.Equal(),
        learns=frozenset({bm.Learner.DEVICE}),
        roles={},
    )

    shows = bm.ListKnowledge.TESTABLE

    def leakage(self) -> tuple[bm.Leak, ...]:
        return leaks({bm.Party.DEVICE}, SET_SIZE, EVERY_GUESS)

    def publish(
        self,
        entries: bm.EntrySource,
        parameters: bm.SetParameters,
        rng: bm.Randomness,
        executor: bm.Executor | None,
        out: bm.Workspace,
        progress: bm.Progress = bm.no_progress,
    ) -> bm.Published:
        """See `Design.publish`. Takes 32 bytes of `rng`, the salt."""
        parts = [np.zeros((0, DIGEST_BYTES + RECORD_BYTES), np.uint8)]
        done = 0
        salt = rng.take(SALT_BYTES)
        for batch in entries.batches(BATCH):
            salted = [salt + own for own in cut(batch.hashes)]
            digests = expand(DIGEST_TAG, parameters.epoch, salted, DIGEST_BYTES)
            keys = expand(KEY_TAG, parameters.epoch, salted, labels.LABEL_KEY_BYTES)
            parts.append(np.concatenate([digests, labels.seal(keys, batch, parameters.epoch)], axis=1))
            done += len(batch)
            progress(done, len(entries))
        rows = np.concatenate(parts)
        rows = rows[np.argsort(_words(rows[:, :DIGEST_BYTES]), kind="stable")]
        writer = SetFileWriter(out.create(DIGEST_FILE), identity_of(self.info, parameters))
        writer.section(KIND_DIGESTS, [rows[:, :DIGEST_BYTES].tobytes()], len(rows))
        writer.section(KIND_LABELS, [rows[:, DIGEST_BYTES:].tobytes()], len(rows))
        writer.section(KIND_SALT, [salt], 1)
        writer.finish(len(rows))
        return bm.Published((DIGEST_FILE,), {})

    def open_setup(self, files: bm.Buffers, epoch: int | None = None) -> Setup:
        return Setup(open_file(self.info, files, DIGEST_FILE, epoch))

    def check_setup(self, setup: Setup, progress: bm.Progress = bm.no_progress) -> None:
        setup.file.verify()
        words = _words(column(setup.file, KIND_DIGESTS, np.uint8, DIGEST_BYTES))
        column(setup.file, KIND_LABELS, np.uint8, RECORD_BYTES)
        if (words[:-1] > words[1:]).any():
            raise bm.SetFileError(f"{DIGEST_FILE}: digests are not in order")
        if len(setup.file.section(KIND_SALT)) != SALT_BYTES:
            raise bm.SetFileError(f"{DIGEST_FILE}: the salt must be {SALT_BYTES} bytes")

    def looked_up(self, setup: Setup, own: bytes) -> bm.Label | None:
        salted = [bytes(setup.file.section(KIND_SALT)) + own]
        digest, key = (
            expand(tag, setup.epoch, salted, DIGEST_BYTES).tobytes() for tag in (DIGEST_TAG, KEY_TAG)
        )
        digests = column(setup.file, KIND_DIGESTS, np.uint8, DIGEST_BYTES)
        records = column(setup.file, KIND_LABELS, np.uint8, RECORD_BYTES)
        at = int(np.searchsorted(_words(digests), np.bytes_(digest)))
        if at == len(digests) or digests[at].tobytes() != digest:
            return None
        label = labels.unseal(key, records[at].tobytes(), setup.epoch)
        return label if label is not None and label.entry_hash == own else None


def _words(digests: bm.Rows) -> npt.NDArray[np.bytes_]:
    """Digests as values that compare byte by byte, (n,)."""
    return np.ascontiguousarray(digests).view(f"S{DIGEST_BYTES}").ravel()


DESIGN: Final = DeviceListHashed()
