"""From a list to the files of an epoch: rows under the key, then the sections that a design makes of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import ClassVar, Final

from msgspec import Struct

from blindmatch_protocol import group
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract.declaration import Role
from blindmatch_protocol.contract.entries import EntryBatch, EntrySource
from blindmatch_protocol.contract.executor import Executor, RowFunction, WorkerProcesses, ahead
from blindmatch_protocol.contract.files import Progress, Workspace
from blindmatch_protocol.crypto.oprf import SecretKey
from blindmatch_protocol.designs.voprf.files import key_file, write_key, write_public_keys
from blindmatch_protocol.group import GroupBackend
from blindmatch_protocol.group.rows import sample
from blindmatch_protocol.setfile import Identity, SetFileWriter
from blindmatch_protocol.sets import resumable

SCRATCH: Final = "evaluated"


SAMPLED: Final = 2048
"""Products of a build that libsodium computes again, at least one entry of each batch."""


class _DroppedError(Exception):
    """The back end computed something wrong."""


class ListBuild(Redacted, Struct, frozen=True, eq=False):
    """How a design turns a list into rows, and rows into sections.

    Attributes:
        key: the whole key.
        width: bytes of a row.
        batch: entries evaluated at once, and what a killed build may lose.
        shared: entries from which on worker processes compute: to start them takes a while.
        products: of an entry, elements multiplied.
        plan: what the rows depend on besides the entries and the back end: the key, and how they are derived.
        task: gives the rows of a batch, uint8 (n, width): a function of a module, and its secret.
        write: the design's sections of entries and their rows, and further files; a `DesignError` if the list
            changes while it is read, or holds an entry twice.
    """

    SHOWN: ClassVar = ("width", "batch", "shared", "products", "plan", "write")

    key: SecretKey
    width: int
    batch: int
    shared: int
    products: int
    plan: bytes
    task: tuple[RowFunction, bytes]
    write: Callable[[SetFileWriter, EntrySource, Rows, Workspace, Executor | None, Progress], None]

    def evaluate(
        self, entries: EntrySource, executor: Executor | None, out: Workspace, progress: Progress
    ) -> Rows:
        """The rows of a whole list, in a scratch from which an interrupted build goes on; a batch that
        another back end computed is computed again, so that whoever asks for libsodium has its rows alone.

        libsodium's are shared among worker processes, or threads. Another back end's are quicker computed on
        threads than sent, and a sample of each batch is computed by libsodium again; if it differs, none of
        the scratch is kept.

        Raises:
            DesignError: if the list changes while it is read.
        """
        scratch = out.scratch(SCRATCH, resumable.scratch_bytes(len(entries), self.width, self.batch))

        def filled(by: str, compute: resumable.Compute) -> Rows:
            plan = b"\0".join([self.plan, by.encode()])
            return resumable.fill(scratch, entries, self.width, plan, compute, progress, self.batch)

        with group.building(len(entries) * self.products) as backend:
            if backend is not group.LIBSODIUM:
                try:
                    return filled(
                        backend.name, lambda batches: self._checked(batches, executor, backend, len(entries))
                    )
                except _DroppedError:
                    resumable.forget(scratch, len(entries), self.width)
        return filled(group.LIBSODIUM.name, lambda batches: self._computed(batches, executor, len(entries)))

    def _computed(
        self, batches: Iterator[EntryBatch], executor: Executor | None, count: int
    ) -> Iterator[Rows]:
        if isinstance(executor, WorkerProcesses) and count >= self.shared:
            return executor.rows(*self.task, batches)
        return ahead(self._rows, batches, executor)

    def _rows(self, batch: EntryBatch) -> Rows:
        function, secret = self.task
        return function(secret, batch)

    def _checked(
        self, batches: Iterator[EntryBatch], executor: Executor | None, backend: GroupBackend, count: int
    ) -> Iterator[Rows]:
        """Rows by `backend`, some of every batch compared with libsodium's."""
        share = SAMPLED / (count * self.products)

        def checked(batch: EntryBatch) -> Rows:
            rows = self._rows(batch)
            chosen = sample(rows, math.ceil(share * len(batch)))
            with group.using(group.LIBSODIUM):
                expected = self._rows(batch.take(chosen))
            wrong = chosen[(rows[chosen] != expected).any(axis=1)]
            if len(wrong):
                group.drop(backend, f"the build's entry with id {int(batch.ids[wrong[0]])} is wrong")
            return rows

        for rows in ahead(checked, batches, executor):
            if not backend.sound:
                raise _DroppedError
            yield rows

    def finish(
        self,
        file: SetFileWriter,
        entries: EntrySource,
        rows: Rows,
        shares: Mapping[Role, SecretKey],
        identity: Identity,
        out: Workspace,
        executor: Executor | None,
        progress: Progress,
    ) -> None:
        """Public keys and the design's sections into `file`, and what each role holds into its own.

        All by libsodium, since nothing of it is compared.
        """
        with group.using(group.LIBSODIUM):
            write_public_keys(file, self.key, shares)
            self.write(file, entries, rows, out, executor, progress)
        digest = file.finish(len(entries))
        for role, share in shares.items():
            write_key(out.create(key_file(role)), share, self.key.public, digest, identity, len(entries))
