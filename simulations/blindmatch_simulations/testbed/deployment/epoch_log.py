"""How an epoch gets into the log before it is served, and how its proof is renewed.

    epoch.leaf --Append--> log, which has it cosigned --> proof: does the policy of devices accept it?
        --> leaves of the log --> epoch.proof, epoch.tree, beside the set-up --> the epoch is served

The log and witnesses of this folder are started for that if they do not run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from blindmatch_proofs.epoch import EpochLeaf, verify_logged
from blindmatch_proofs.merkle import WIDTH, tile_path, tile_width
from blindmatch_proofs.tlog_proof import TlogProof
from blindmatch_proofs.verdict import Failed
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.contract import AnyDesign
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from blindmatch_server.epochs.logged import Logged, write_logged
from blindmatch_server.epochs.published import LEAF, open_publication

from blindmatch_simulations.testbed.deployment.folder import Deployment
from blindmatch_simulations.testbed.deployment.operators import ask_log, read_resource
from blindmatch_simulations.testbed.deployment.processes import running_servers
from blindmatch_simulations.testbed.deployment.transparency import (
    EPOCHS,
    LOG,
    LogError,
    TransparencyLog,
    read_log,
)


def logging_of(deployment: Deployment) -> Callable[[Path], None]:
    """What is done with an epoch's folder before it is served; nothing if the deployment has no log.

    Raises:
        DeploymentError: if log.json is damaged.
    """
    log = read_log(deployment)
    if log is None:
        return lambda folder: None

    def submit(folder: Path) -> None:
        leaf = EpochLeaf.decode((folder / LEAF).read_bytes())
        origin = log.origin(EPOCHS, leaf.manifest.design)
        request = pb.AppendRequest(origin=origin, index=leaf.index, leaf=leaf.encode())
        with _answering(deployment, log):
            proof = ask_log(deployment, "Append", request, pb.LogProof).proof
            write_logged(folder, _checked(deployment, log, leaf, proof))

    return submit


def renew(deployment: Deployment, design: AnyDesign) -> Logged:
    """Have the current epoch's proof cosigned anew, before it is too old for devices.

    Raises:
        LogError: if there is no log, or the epoch is not the newest one logged, or witnesses are missing.
        OperatorError: if the log cannot be asked, or refuses.
        PublicationError: if nothing is published.
    """
    log, publication = (
        read_log(deployment),
        open_publication(deployment.published(design.info.name), None, ()),
    )
    if log is None:
        raise LogError("this deployment has no log; blindmatch log init makes one")
    leaf = EpochLeaf.decode((publication.folder / LEAF).read_bytes())
    request = pb.ProveRequest(origin=log.origin(EPOCHS, design.info.name), index=leaf.index)
    with _answering(deployment, log):
        proof = ask_log(deployment, "Prove", request, pb.LogProof).proof
        made = _checked(deployment, log, leaf, proof)
    write_logged(publication.folder, made)
    return made


@contextmanager
def _answering(deployment: Deployment, log: TransparencyLog) -> Iterator[None]:
    """The log and its witnesses, started if they do not run."""
    if LOG in deployment.endpoints():
        yield
        return
    with running_servers(deployment, log.parties, ()):
        yield


def _checked(deployment: Deployment, log: TransparencyLog, leaf: EpochLeaf, raw: bytes) -> Logged:
    """The proof and the log's leaves, if devices will take them; `LogError` otherwise."""
    manifest = leaf.manifest
    try:
        proof = TlogProof.parse(raw)
        found = verify_logged(leaf, proof, log.pinned(manifest.design), int(time.time()))
        if isinstance(found, Failed):
            raise LogError(f"epoch {manifest.epoch} is not served: {found.reason}")
        return Logged.of(leaf, proof, _leaves(deployment, found.head.origin, found.head.size))
    except ProtocolError as error:
        raise LogError(f"epoch {manifest.epoch} is not served: the log answers wrongly: {error}") from error


def _leaves(deployment: Deployment, origin: str, size: int) -> bytes:
    """All leaf hashes of a log."""
    tiles = range((size + WIDTH - 1) // WIDTH)
    paths = [tile_path(0, index, tile_width(0, index, size)) for index in tiles]
    return b"".join(read_resource(deployment, origin, path) for path in paths)
