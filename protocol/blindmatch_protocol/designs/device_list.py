"""Option 1a: the list lies in the clear on every device, which compares by itself and asks nobody.

index    0: every entry is compared; 1: those that multi-index hashing leaves, with the same outcome
"""

from __future__ import annotations

from typing import ClassVar, Final

from blindmatch_protocol import contract as bm
from blindmatch_protocol.contract.publishing import whole
from blindmatch_protocol.designs.facts import leaks
from blindmatch_protocol.designs.plain_scan import FileSetup, OnDevice
from blindmatch_protocol.setfile import SetFileWriter
from blindmatch_protocol.sets import plain_list

INDEX_FILE: Final = "index.bin"

THE_LIST: Final = bm.Fact(
    "list", "the list: every hash, id and salt, in the clear", bm.Severity.LIST,
    lambda item, setup: setup.hashes, topic=bm.Topic.LIST, abuse="reads the whole list", noticed_by="nobody",
)  # fmt: skip


class Setup(FileSetup, frozen=True):
    """The opened set-up."""

    listed: plain_list.PlainList
    index: plain_list.MultiIndex | None

    @property
    def hashes(self) -> bytes:
        return self.listed.hashes.tobytes()


class DeviceList(OnDevice[Setup]):
    """The device has the list and learns the outcome; nobody else learns anything of a picture."""

    info: ClassVar[bm.Info] = bm.Info(
        name="device-list",
        evaluation=bm.Evaluation.LOCAL,
        version=1,
        option="1a",
        summary="The list lies in the clear on every device, which compares by itself; nothing is sent.",
        relation=bm.Near(plain_list.MOST_DISTANCE),
        learns=frozenset({bm.Learner.DEVICE}),
        roles={},
        parameters=(
            bm.Parameter("index", "How entries are found: 0 scan, 1 multi-index hashing.", "kind", 0, 0, 1),
        ),
    )

    shows = bm.ListKnowledge.HASHES

    def leakage(self) -> tuple[bm.Leak, ...]:
        return leaks({bm.Party.DEVICE}, THE_LIST)

    def extraction(self, setup: Setup) -> bm.Extraction:
        return bm.Extraction("questions", lambda asked: 1.0)

    def publish(
        self,
        entries: bm.EntrySource,
        parameters: bm.SetParameters,
        rng: bm.Randomness,
        executor: bm.Executor | None,
        out: bm.Workspace,
        progress: bm.Progress = bm.no_progress,
    ) -> bm.Published:
        """See `Design.publish`. Takes no randomness."""
        plain_list.write_list(self.info, entries, parameters, out, progress)
        if not parameters.value(self.info, "index"):
            return bm.Published((plain_list.LIST_FILE,), {})
        writer = SetFileWriter(out.create(INDEX_FILE), plain_list.identity_of(self.info, parameters))
        plain_list.write_index(writer, whole(entries, plain_list.BATCH).hashes)
        writer.finish(len(entries))
        return bm.Published((plain_list.LIST_FILE, INDEX_FILE), {})

    def open_setup(self, files: bm.Buffers, epoch: int | None = None) -> Setup:
        file = plain_list.open_file(self.info, files, plain_list.LIST_FILE, epoch)
        index = None
        if file.identity.parameters.get("index"):
            indexed = plain_list.open_file(self.info, files, INDEX_FILE, file.identity.epoch)
            index = plain_list.MultiIndex(indexed)
        return Setup(file, plain_list.held_list(file), index)

    def check_setup(self, setup: Setup, progress: bm.Progress = bm.no_progress) -> None:
        setup.file.verify()
        if setup.index is not None:
            setup.index.check(setup.listed.hashes)

    def looked_up(self, setup: Setup, own: bytes) -> bm.Label | None:
        index = find(setup, own)
        return None if index is None else setup.listed.label(index)


def find(setup: Setup, own: bytes) -> int | None:
    """Place of the first of the nearest entries within 31 bits; the same with an index and without."""
    if setup.index is None:
        return plain_list.nearest(own, plain_list.MOST_DISTANCE, setup.listed.hashes)
    rows = setup.index.candidates(own)
    found = plain_list.nearest(own, plain_list.MOST_DISTANCE, setup.listed.hashes[rows])
    return None if found is None else int(rows[found])


DESIGN: Final = DeviceList()
