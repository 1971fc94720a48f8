"""What the curator and the centre do with a list: publish an epoch, log it, and learn its labels."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from blindmatch_proofs.epoch import NOT_ENDORSED, Endorsement, EpochLeaf, verify_logged
from blindmatch_proofs.merkle import WIDTH, count_in_tile, format_tile_path
from blindmatch_proofs.tlog import TlogProof
from blindmatch_proofs.verdict import Failed
from blindmatch_protocol import contract as bm
from blindmatch_protocol.codec.errors import DesignError, ProtocolError
from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.picture.decode import Picture
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from blindmatch_server.centre.keys import CentreKeys, References, write_references
from blindmatch_server.curator import HashList, ListError, diff, open_list
from blindmatch_server.epochs import published
from blindmatch_server.epochs.building import Publishing, publish_epoch, publish_update
from blindmatch_server.epochs.signing import VALID_DAYS, CuratorKey, Signer
from blindmatch_server.hosting.workers import WorkerPool

from blindmatch_simulations.testbed.deployment.folder import Deployment, DeploymentError
from blindmatch_simulations.testbed.deployment.operators import ask_log, read_resource
from blindmatch_simulations.testbed.deployment.processes import running_servers
from blindmatch_simulations.testbed.deployment.sources import (
    check_is_source,
    forget_sources,
    keep_source,
)
from blindmatch_simulations.testbed.deployment.transparency import (
    EPOCHS,
    LOG,
    LogError,
    TransparencyLog,
    read_log,
)


def logging_of(deployment: Deployment, now: datetime | None = None) -> Callable[[Path], None]:
    """What is done with an epoch's folder before it is served; nothing if the deployment has no log."""
    log = read_log(deployment)
    if log is None:
        return lambda folder: None

    def submit(folder: Path) -> None:
        leaf = EpochLeaf.decode((folder / published.LEAF).read_bytes())
        origin = log.origin(EPOCHS, leaf.manifest.design)
        request = pb.AppendRequest(origin=origin, index=leaf.index, leaf=leaf.encode())
        with _answering(deployment, log):
            proof = ask_log(deployment, "Append", request, pb.LogProof).proof
            published.write_logged(folder, _checked(deployment, log, leaf, proof, now))

    return submit


def renew(deployment: Deployment, design: bm.AnyDesign) -> published.Logged:
    """Have the current epoch's proof cosigned anew, before it is too old for devices; `LogError` if there is
    no log, or the epoch is not the newest one logged, or witnesses are missing; `OperatorError` if the log
    cannot be asked, or refuses; `PublicationError` if nothing is published."""
    log = read_log(deployment)
    publication = published.open_publication(deployment.published(design.info.name), None, ())
    if log is None:
        raise LogError("this deployment has no log; blindmatch log init makes one")
    leaf = EpochLeaf.decode((publication.folder / published.LEAF).read_bytes())
    request = pb.ProveRequest(origin=log.origin(EPOCHS, design.info.name), index=leaf.index)
    with _answering(deployment, log):
        proof = ask_log(deployment, "Prove", request, pb.LogProof).proof
        made = _checked(deployment, log, leaf, proof)
    published.write_logged(publication.folder, made)
    return made


@contextmanager
def _answering(deployment: Deployment, log: TransparencyLog) -> Iterator[None]:
    """The log and its witnesses, started if they do not run."""
    if LOG in deployment.endpoints():
        yield
        return
    with running_servers(deployment, log.parties, ()):
        yield


def _checked(
    deployment: Deployment, log: TransparencyLog, leaf: EpochLeaf, raw: bytes, now: datetime | None = None
) -> published.Logged:
    """The proof and the log's leaves, if devices will take them; `LogError` otherwise."""
    manifest = leaf.manifest
    at_s = int(now.timestamp() if now else time.time())
    try:
        proof = TlogProof.parse(raw)
        found = verify_logged(leaf, proof, log.pinned(manifest.design), at_s)
        if isinstance(found, Failed):
            raise LogError(f"epoch {manifest.epoch} is not served: {found.reason}")
        tiles = range((found.head.size + WIDTH - 1) // WIDTH)
        paths = [format_tile_path(0, index, count_in_tile(0, index, found.head.size)) for index in tiles]
        leaves = b"".join(read_resource(deployment, found.head.origin, path) for path in paths)
        return published.Logged.of(leaf, proof, leaves)
    except ProtocolError as error:
        raise LogError(f"epoch {manifest.epoch} is not served: the log answers wrongly: {error}") from error


LIST_SUFFIX = ".list"


def list_path(deployment: Deployment, name: str) -> Path:
    return deployment.lists / f"{name}{LIST_SUFFIX}"


def open_named(deployment: Deployment, name: str) -> HashList:
    """The list called `name`, to be closed by the caller; `DeploymentError` if there is none."""
    path = list_path(deployment, name)
    if not path.is_file():
        known = ", ".join(sorted(one.stem for one in deployment.lists.glob(f"*{LIST_SUFFIX}"))) or "none"
        how = "blindmatch list import, list random or list pictures makes one"
        raise DeploymentError(f"no list is called {name} ({path.name}); there are: {known}; {how}")
    return open_list(path)


def next_epoch(folder: Path) -> int:
    try:
        return published.current_epoch(folder) + 1
    except published.NoPublicationError:
        return 1


def check_key_lasts(values: Mapping[str, int], now: datetime) -> None:
    """Refuse parameters of a set whose key has ended at `now`: neither matcher nor device would use it;
    `DesignError` if so."""
    end = values.get(bm.KEY_EXPIRES, 0)
    if 0 < end <= now.timestamp():
        ended = datetime.fromtimestamp(end, UTC).isoformat(timespec="seconds")
        raise DesignError(
            f"parameter {bm.KEY_EXPIRES}: must not have passed, and {ended} has; nobody could use the set: "
            "give a later Unix time in seconds, or 0 for a key without an end"
        )


def check_key_lasts_of_current(deployment: Deployment, design: bm.AnyDesign, now: datetime) -> None:
    """Refuse to update an epoch whose key has ended at `now`, since an update keeps the key; `DesignError` if
    so, `PublicationError` if there is no epoch yet."""
    publication = published.open_publication(deployment.published(design.info.name))
    try:
        check_key_lasts(publication.parameters, now)
    except DesignError as error:
        raise DesignError(
            f"the key of epoch {publication.manifest.epoch} has ended, and an update keeps it: "
            f"build a full set, without --from and with a new {bm.KEY_EXPIRES}"
        ) from error


def publish(
    deployment: Deployment,
    design: bm.AnyDesign,
    entries: bm.EntrySource,
    rng: Randomness,
    epoch: int | None = None,
    values: Mapping[str, int] | None = None,
    progress: bm.Progress = bm.no_progress,
    days: int = VALID_DAYS,
    endorsement: Endorsement = NOT_ENDORSED,
    at: datetime | None = None,
    source: str = "",
) -> published.Publication:
    """Build, sign and publish an epoch of `design`, by default the next one, on all cores; `at`: if not now;
    `source`: the name of the list that the entries are of, by default that of a list file;
    `PublicationError` if it is published already, or another build runs."""
    folder = deployment.published(design.info.name)
    parameters = bm.SetParameters(epoch or next_epoch(folder), values or {})
    now = at or datetime.now(UTC)
    signer = deployment.signer(now, days)
    if deployment.authority.is_dir():
        deployment.admit(design.info.parties, now)
    if isinstance(entries, HashList):
        source = source or entries.path.stem
    submit = _submitting(deployment, source, entries, at)
    with WorkerPool() as workers:
        how = Publishing(design, folder, signer, workers, progress, endorsement, submit)
        made = publish_epoch(how, entries, parameters, rng)
    forget_sources(deployment, design.info.name, made.manifest.epoch)
    return made


def _submitting(
    deployment: Deployment, source: str, entries: bm.EntrySource | None, at: datetime | None = None
) -> Callable[[Path], None]:
    """Log an epoch, and note the list that it is published from, before it is served."""
    log = logging_of(deployment, at)

    def submit(folder: Path) -> None:
        log(folder)
        if source and entries is not None:
            keep_source(deployment, folder.parent.name, int(folder.name), source, entries)

    return submit


def update(
    deployment: Deployment,
    design: bm.AnyDesign,
    previous: HashList,
    entries: HashList,
    rng: Randomness,
    progress: bm.Progress = bm.no_progress,
    days: int = VALID_DAYS,
) -> published.Publication:
    """Sign and publish the epoch after the current one as what leads from list `previous` to `entries`;
    `ListError` if the current epoch was not built from `previous`, or `entries` not made from it;
    `DesignError` if the design cannot be updated, or a full set is due; `PublicationError` if there is no
    epoch yet, or another build runs; `StateError` if the curator's key is not here."""
    folder = deployment.published(design.info.name)
    current = published.open_publication(folder)
    change = diff(previous, entries)
    check_is_source(deployment, design.info.name, current, previous)
    if not change.consistent:
        raise ListError(
            f"list {entries.footer.name} was not made from {previous.footer.name}: "
            "make it with list import --onto, so that entries keep their ids"
        )
    removes = [int(number) for number in change.removes]
    return publish_change(
        deployment,
        design,
        change.adds,
        removes,
        rng,
        progress,
        days,
        source=entries.path.stem,
        entries=entries,
    )


def publish_change(
    deployment: Deployment,
    design: bm.AnyDesign,
    adds: bm.EntrySource,
    removes: Sequence[int],
    rng: Randomness,
    progress: bm.Progress = bm.no_progress,
    days: int = VALID_DAYS,
    endorsement: Endorsement = NOT_ENDORSED,
    source: str = "",
    entries: bm.EntrySource | None = None,
) -> published.Publication:
    """Sign and publish the epoch after the current one as what it adds and removes; raises as `update`.
    `entries` are all those of the epoch, and `source` the name of the list that they are of, if any."""
    folder = deployment.published(design.info.name)
    signer = deployment.signer(datetime.now(UTC), days)
    epoch = published.current_epoch(folder)
    submit = _submitting(deployment, source, entries)
    with WorkerPool() as workers:
        how = Publishing(design, folder, signer, workers, progress, endorsement, submit)
        made = publish_update(how, epoch, adds, removes, rng)
    forget_sources(deployment, design.info.name, made.manifest.epoch)
    return made


def throwaway_signer() -> Signer:
    """A key that nobody pins, and that is no secret, for sets that no device adopts; always the same."""
    return Signer(CuratorKey.of(bytes(32)), 0, 1 << 32)


def lend(source: Path, into: Path, signer: Signer) -> published.Publication:
    """Make the epoch served in `source`, built under another key, the first of the new folder `into`: its
    files are links where they can be made, and `signer` signs it anew."""
    number = published.current_epoch(source)
    epoch = into / str(number)
    epoch.mkdir(mode=0o700, parents=True)
    for file in (source / str(number)).iterdir():
        if file.name not in (published.SIGNED, published.LEAF, published.PROOF, published.TREE):
            target = epoch / file.name
            try:
                target.hardlink_to(file)
            except OSError:
                shutil.copy2(file, target)
    signed = signer.signed_anew(published.read_signed(source / str(number)))
    (epoch / published.SIGNED).write_bytes(signed.encode())
    leaf = signer.key.leaf(signed.manifest, sealing_key=signer.sealing_key)
    (epoch / published.LEAF).write_bytes(leaf.encode())
    shutil.copyfile(source / published.CURRENT, into / published.CURRENT)
    return published.open_publication(into)


def add_references(
    deployment: Deployment,
    entries: HashList,
    pictures: Iterable[Picture],
    progress: bm.Progress = bm.no_progress,
) -> int:
    """Give the centre the list's labels, and its second hash of the listed `pictures`.

    Second hashes that it has of other entries of the list stay. Outside of a testbed the centre has the
    original of every entry.

    Returns:
        How many entries it has a second hash of now.
    """
    hasher = CentreKeys.read(deployment.centre_keys).hasher
    known = {picture.hash: picture for picture in pictures}
    second = {
        int(entries.ids[row]): hasher.hash(known[entries.hashes[row].tobytes()].luminance)
        for row in _rows_among(entries, known)
    }
    write_references(deployment.references, entries, second, progress)
    _, known_now = References(deployment.references).counts()
    return known_now


def _rows_among(entries: HashList, hashes: Mapping[bytes, object]) -> list[int]:
    firsts = np.ascontiguousarray(entries.hashes[:, :8]).view(np.uint64).ravel()
    asked = np.frombuffer(b"".join(value[:8] for value in hashes), np.uint64)
    rows = np.flatnonzero(np.isin(firsts, asked))
    return [int(row) for row in rows if entries.hashes[row].tobytes() in hashes]
