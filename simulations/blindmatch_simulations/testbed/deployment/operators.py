"""What people who work at the centre or audit servers ask them; evidence of reports."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import grpc
from blindmatch_client.egress.egress import Credentials
from blindmatch_proofs.endorsement import FILE, EndorsedTable, EndorsementProof, prove
from blindmatch_proofs.epoch import EpochLeaf
from blindmatch_proofs.report_evidence import ReportEvidence
from blindmatch_protocol.codec.errors import BlindmatchError, ProtocolError
from blindmatch_protocol.contract import NO_LABEL, AnyDesign, Label, Party
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from blindmatch_protocol.rpc import blindmatch_v1_pb2_grpc as rpc
from blindmatch_server.centre.service import Backed, Backing, unbacked
from blindmatch_server.epochs.published import LEAF, PROOF, open_publication
from blindmatch_server.hosting.authority import Identity, Kind
from google.protobuf.message import Message as Wire

from blindmatch_simulations.testbed.deployment.folder import Deployment
from blindmatch_simulations.testbed.deployment.transparency import LOG, read_policy, terms_of

T = TypeVar("T", bound=Wire)

OPERATOR_VARIABLE: Final = "BLINDMATCH_OPERATOR"
"""Names who asks, in the environment; the centre's journal says it."""
OPERATOR: Final = "local"
"""If nobody is named."""
DEADLINE_SECONDS: Final = 20.0


class OperatorError(BlindmatchError):
    """A server could not be asked, or refused."""


@contextmanager
def secured(address: str, party: Party, held: Credentials) -> Iterator[grpc.Channel]:
    """A connection of its own to the server of `party`, both sides with certificates."""
    credentials = grpc.ssl_channel_credentials(held.authority, held.key, held.certificate)
    options: list[tuple[str, Any]] = [
        ("grpc.ssl_target_name_override", party.dns_name),
        ("grpc.enable_http_proxy", 0),
        ("grpc.use_local_subchannel_pool", 1),
    ]
    with grpc.secure_channel(address, credentials, options) as channel:
        yield channel


@contextmanager
def _channel(deployment: Deployment, party: Party, caller: Party | None = None) -> Iterator[grpc.Channel]:
    """`caller`: whose server's certificate is used; None: the operator's."""
    endpoints = deployment.endpoints()
    if party not in endpoints:
        raise OperatorError(f"the {party.server} is not running; start it with: blindmatch serve all")
    identity = Identity(Kind.OPERATOR, os.environ.get(OPERATOR_VARIABLE) or OPERATOR)
    if caller is None:
        deployment.enrol(identity, deployment.operator(identity.name), datetime.now(UTC))
    else:
        identity = Identity.of(caller)
    held = deployment.caller_credentials(identity, deployment.folder_of(identity))
    try:
        with secured(endpoints[party].address, party, held) as channel:
            yield channel
    except grpc.RpcError as error:
        status = error.code().name
        words = error.details()
        raise OperatorError(f"the {party.server} refused ({status}): {words}") from None


def ask_centre(deployment: Deployment, method: str, request: Wire, reply: type[T]) -> T:
    """The centre's reply to one request of an operator; `OperatorError` if the centre cannot be asked, or
    refuses."""
    return _asked(deployment, Party.CENTRE, rpc.CentreStub, method, request, reply)


def ask_log(deployment: Deployment, method: str, request: Wire, reply: type[T]) -> T:
    """The log's reply to one request; raises as `ask_centre`."""
    return _asked(deployment, LOG, rpc.LogStub, method, request, reply)


def append_counts(deployment: Deployment, origin: str, index: int, leaf: bytes) -> bytes:
    """Have the log append a leaf to the stream of the centre's counts, as the centre; the proof. Raises as
    `ask_centre`."""
    request = pb.AppendRequest(origin=origin, index=index, leaf=leaf)
    return _asked(deployment, LOG, rpc.LogStub, "Append", request, pb.LogProof, Party.CENTRE).proof


def read_resource(deployment: Deployment, origin: str, path: str) -> bytes:
    """A resource of the log, by its path (c2sp.org/tlog-tiles); raises as `ask_centre`."""
    return _parts(deployment, LOG, rpc.LogStub, "Read", pb.ResourceRequest(origin=origin, path=path))


def centre_list(deployment: Deployment) -> pb.CentreList:
    return ask_centre(deployment, "List", pb.ListRequest(), pb.CentreList)


def centre_show(deployment: Deployment, report_id: bytes) -> pb.ReportDetail:
    """One report. Raises `OperatorError` if there is none, or the centre cannot be asked."""
    return ask_centre(deployment, "Show", pb.ShowRequest(report_id=report_id), pb.ReportDetail)


def counters(deployment: Deployment, party: Party) -> list[pb.Counter]:
    """What a server counted: calls and bytes by method and account."""
    reply = _asked(deployment, party, rpc.AuditStub, "ReadCounters", pb.CountersRequest(), pb.Counters)
    return list(reply.counters)


def _asked(
    deployment: Deployment,
    party: Party,
    stub: Any,
    method: str,
    request: Wire,
    reply: type[T],
    caller: Party | None = None,
) -> T:
    with _channel(deployment, party, caller) as channel:
        answer = getattr(stub(channel), method)(request, timeout=DEADLINE_SECONDS)
    assert isinstance(answer, reply)
    return answer


def _parts(deployment: Deployment, party: Party, stub: Any, method: str, request: Wire) -> bytes:
    with _channel(deployment, party) as channel:
        parts = getattr(stub(channel), method)(request, timeout=DEADLINE_SECONDS)
        return b"".join(part.data for part in parts)


def backed_by(deployment: Deployment, design: AnyDesign) -> Backed:
    """What the published epochs of this machine show; nothing where they are elsewhere."""
    folder = deployment.published(design.info.name)

    def backing(epoch: int, label: Label) -> Backing:
        home = folder / str(epoch)
        try:
            leaf = EpochLeaf.decode((home / LEAF).read_bytes())
        except (FileNotFoundError, ProtocolError):  # version 1 shows nothing
            return Backing()
        proof = (home / PROOF).read_bytes() if (home / PROOF).exists() else b""
        return Backing(leaf, proof, _endorsed(deployment, design, leaf, label))

    return backing if folder.is_dir() else unbacked


def _endorsed(
    deployment: Deployment, design: AnyDesign, leaf: EpochLeaf, label: Label
) -> EndorsementProof | None:
    policy = read_policy(deployment)
    epoch = leaf.manifest.epoch
    if policy is None or label == NO_LABEL:
        return None
    try:
        publication = open_publication(deployment.published(design.info.name), epoch)
        table = EndorsedTable(publication.endorsement()[FILE], design.info, epoch, len(policy.organisations))
    except (KeyError, BlindmatchError):
        return None
    trees = publication.kept_trees(design.info, leaf.endorsement_root)
    return prove(table, terms_of(deployment, design), label, trees)


def evidence_of(deployment: Deployment, report_id: bytes, reason: str) -> ReportEvidence:
    """A report's evidence, fetched from the centre as an operator, whose journal has the reason before;
    `OperatorError` if the centre cannot be asked, or refuses."""
    request = pb.ExportRequest(report_id=report_id, reason=reason)
    return ReportEvidence.decode(_parts(deployment, Party.CENTRE, rpc.CentreStub, "Export", request))
