"""The files of a set-up and of its roles, in the set-file format: what they hold, how a list becomes them.

set.bin, delta-*.bin   public key; of a key in shares those of all shares; what the design adds
<role>.bin             what the role holds of the key; digest of the newest set-up file
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import ClassVar, Final, Generic, TypeVar

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from blindmatch_protocol import group
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.errors import ProtocolError, SetFileError
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract.declaration import Role
from blindmatch_protocol.contract.publishing import (
    Buffers,
    EntryBatch,
    EntrySource,
    Executor,
    Progress,
    RowFunction,
    WorkerProcesses,
    Workspace,
    ahead,
)
from blindmatch_protocol.crypto.oprf import Mode, PublicKey, SecretKey
from blindmatch_protocol.designs.deltas import (
    PUBLIC_KEY_KIND,
    SHARE_KEYS_KIND,
    check_files,
    check_kinds,
    open_named,
)
from blindmatch_protocol.designs.voprf.layout import KeyLayout, Limits, PublicKeys
from blindmatch_protocol.group import GroupBackend
from blindmatch_protocol.group.rows import sample
from blindmatch_protocol.setfile import Identity, SetFile, SetFileWriter
from blindmatch_protocol.sets import resumable

SECRET_KEY_KIND: Final = 0x101
"""Of a role's file: its VOPRF secret scalar, 32."""
SET_DIGEST_KIND: Final = 0x102
"""Of a role's file: the overall digest of the newest set-up file, 32."""


class FileLayer(Redacted, Struct, frozen=True, eq=False):
    """A full set or a delta, opened; a design adds what it looks up.

    Attributes:
        removed: ids of entries of older layers that are removed, uint64, ascending.
    """

    SHOWN: ClassVar = ("name",)

    many: ClassVar[frozenset[int]] = frozenset()
    """Kinds of sections of which the file may have several, or none."""
    once: ClassVar[tuple[int, ...]] = ()
    """Kinds of which it has one."""

    name: str
    file: SetFile
    removed: npt.NDArray[np.uint64]

    @property
    def entries(self) -> int:
        return self.file.entries

    @property
    def epoch(self) -> int:
        return self.file.identity.epoch

    def removes(self, entry_id: int) -> bool:
        wanted = np.uint64(entry_id)
        at = int(np.searchsorted(self.removed, wanted))
        return at < len(self.removed) and bool(self.removed[at] == wanted)

    def check(self) -> None:
        """Open what is opened at its first use otherwise; see `Design.check_setup`; `SetFileError` if it is
        not what it must be."""
        raise NotImplementedError


L = TypeVar("L", bound=FileLayer)


class VoprfSetup(Redacted, Struct, Generic[L], frozen=True, eq=False):
    """The set-up of one epoch, opened.

    Attributes:
        layers: the full set, then the deltas since, oldest first.
        count: blinded elements in every request.
        limits: how much the key may be asked for, and until when; None: the design has no limits.
        executor: over which a device's steps spread their work, if any.
    """

    SHOWN: ClassVar = ("epoch", "keys", "count", "limits")

    epoch: int
    keys: PublicKeys
    layers: tuple[L, ...]
    count: int
    limits: Limits | None = None
    executor: Executor | None = None

    @property
    def public_key(self) -> PublicKey:
        return self.keys.whole

    @property
    def parameters(self) -> Mapping[str, int]:
        """What the files were built for."""
        return self.layers[-1].file.identity.parameters

    @property
    def entries(self) -> int:
        """Entries of the set: those of all layers, less those that deltas removed."""
        return sum(layer.entries - len(layer.removed) for layer in self.layers)

    @property
    def deltas(self) -> tuple[tuple[int, int], ...]:
        """Additions and removals of each delta, oldest first."""
        return tuple((layer.entries, len(layer.removed)) for layer in self.layers[1:])

    def check(self, progress: Progress) -> None:
        """Check every page of all layers, and that each has the sections of its kind and no other;
        `SetFileError` if one is damaged, or has too few sections or too many."""
        check_files([layer.file for layer in self.layers], progress)
        more = (SHARE_KEYS_KIND,) if len(self.keys.shares) > 1 else ()
        for layer in self.layers:
            check_kinds(layer.name, layer.file, layer.many, *layer.once, *more)
            layer.check()


class KeyHolder(Redacted, Struct, frozen=True, eq=False):
    """What a role answers from in one epoch; `repr` shows nothing of the key.

    Attributes:
        key: the VOPRF secret key, or the role's share of it.
        whole: the whole key's public key.
    """

    SHOWN: ClassVar = ("epoch", "count", "whole", "limits")

    epoch: int
    count: int
    key: SecretKey
    whole: PublicKey
    limits: Limits | None = None


def key_file(role: Role) -> str:
    return f"{role}.bin"


def open_public_keys(layout: KeyLayout, name: str, file: SetFile, kind: int = PUBLIC_KEY_KIND) -> PublicKeys:
    """Open the public keys in a set-up file, of a layout's roles; the whole key's section is of `kind`.

    Raises:
        SetFileError: One is no element of the group, or the identity; or the shares are not of the key.
    """
    whole = read_public_key(bytes(file.section(kind)), name)
    if not layout.shared:
        return PublicKeys(whole, {layout.roles[0]: whole})
    raw = bytes(file.section(SHARE_KEYS_KIND))
    if len(raw) != len(layout.roles) * group.ELEMENT_BYTES:
        raise SetFileError(f"{name}: not a public key for each of {', '.join(layout.roles)}")
    parts = (raw[at : at + group.ELEMENT_BYTES] for at in range(0, len(raw), group.ELEMENT_BYTES))
    keys = PublicKeys(whole, {r: read_public_key(p, name) for r, p in zip(layout.roles, parts, strict=True)})
    if not layout.fits(keys):
        raise SetFileError(f"{name}: the shares' public keys do not make up the key's")
    return keys


def read_public_key(element: bytes, name: str) -> PublicKey:
    """Read a public key of the file `name`; `SetFileError` if it is no element of the group."""
    try:
        return PublicKey(Mode.VOPRF, element)
    except ProtocolError as error:
        raise SetFileError(f"{name}: the public key is no element of the group") from error


def open_key(files: Buffers, name: str, design: str, version: int) -> tuple[SetFile, SecretKey, PublicKey]:
    """A role's file, its key and the whole key's public key; `SetFileError` if it is missing, truncated,
    altered or of another design or version."""
    file = open_named(files, name, design, version)
    file.verify()
    key = read_secret_key(file)
    shared = file.count(PUBLIC_KEY_KIND)
    return file, key, read_public_key(bytes(file.section(PUBLIC_KEY_KIND)), name) if shared else key.public


def read_secret_key(file: SetFile) -> SecretKey:
    """Read the key in a role's file; `SetFileError` if it is no scalar of the group."""
    try:
        return SecretKey(Mode.VOPRF, bytes(file.section(SECRET_KEY_KIND)))
    except ProtocolError as error:
        raise SetFileError(f"{file.name}: the key is no scalar of the group") from error


def check_belongs(name: str, file: SetFile, holder: KeyHolder, role: Role, setup: VoprfSetup[L]) -> None:
    """Make sure that a role's file was made with the set-up beside it; `SetFileError` if it was not."""
    newest = setup.layers[-1]
    if file.identity.parameters != newest.file.identity.parameters:
        raise SetFileError(f"{name}: built for other parameters than {newest.name}")
    if bytes(file.section(SET_DIGEST_KIND)) != newest.file.digest:
        raise SetFileError(f"{name}: made for another {newest.name} than the one beside it")
    if (holder.key.public, holder.whole) != (setup.keys.shares[role], setup.keys.whole):
        raise SetFileError(f"{name}: the key is not the one of {newest.name}")


SCRATCH: Final = "evaluated"


SAMPLED: Final = 2048
"""Products of a build that libsodium computes again, at least one entry of each batch."""


class _DroppedError(Exception):
    """The back end computed something wrong."""


class Job(Redacted, Struct, frozen=True, eq=False):
    """A list, or additions to one, and what its files are built with."""

    entries: EntrySource
    executor: Executor | None
    out: Workspace
    progress: Progress


class ListBuild(Redacted, Struct, frozen=True, eq=False):
    """How a design turns a list into rows, and rows into sections.

    Attributes:
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
    write: Callable[[Job, SetFileWriter, Rows], None]

    def evaluate(self, job: Job) -> Rows:
        """The rows of a whole list, in a scratch from which an interrupted build goes on; a batch that
        another back end computed is computed again, so that whoever asks for libsodium has its rows alone;
        `DesignError` if the list changes while it is read.

        libsodium's are shared among worker processes, or threads. Another back end's are quicker computed on
        threads than sent, and a sample of each batch is computed by libsodium again; if it differs, none of
        the scratch is kept.
        """
        count = len(job.entries)
        executor = job.executor
        scratch = job.out.scratch(SCRATCH, resumable.scratch_bytes(count, self.width, self.batch))

        def filled(by: str, compute: resumable.Compute) -> Rows:
            plan = b"\0".join([self.plan, by.encode()])
            return resumable.fill(scratch, job.entries, self.width, plan, compute, job.progress, self.batch)

        with group.building(count * self.products) as backend:
            if backend is not group.LIBSODIUM:
                try:
                    return filled(
                        backend.name, lambda batches: self._checked(batches, executor, backend, count)
                    )
                except _DroppedError:
                    resumable.forget(scratch, count, self.width)

        def computed(batches: Iterator[EntryBatch]) -> Iterator[Rows]:
            if isinstance(executor, WorkerProcesses) and count >= self.shared:
                return executor.rows(*self.task, batches)
            return ahead(self._rows, batches, executor)

        return filled(group.LIBSODIUM.name, computed)

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
        self, job: Job, file: SetFileWriter, rows: Rows, shares: Mapping[Role, SecretKey], identity: Identity
    ) -> None:
        """Public keys and the design's sections into `file`, and what each role holds into its own: a secret,
        which whoever opens that file must keep others from reading.

        All by libsodium, since nothing of it is compared.
        """
        whole = self.key.public
        publics = [share.public.element for share in shares.values()]
        with group.using(group.LIBSODIUM):
            file.section(PUBLIC_KEY_KIND, [whole.element], 1)
            if len(shares) > 1:
                file.section(SHARE_KEYS_KIND, publics, len(publics))
            self.write(job, file, rows)
        digest = file.finish(len(job.entries))
        for role, share in shares.items():
            held = SetFileWriter(job.out.create(key_file(role)), identity)
            held.section(SECRET_KEY_KIND, [share.reveal()], 1)
            held.section(SET_DIGEST_KIND, [digest], 1)
            if share.public != whole:
                held.section(PUBLIC_KEY_KIND, [whole.element], 1)
            held.finish(len(job.entries))
