"""`doctor`: looks a deployment over, the folder first, then its servers and the epoch that they serve.

TCP --> TLS, both ways --> health --> (matcher) Describe, held against the epoch published here
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import grpc
from blindmatch_client.egress.egress import Credentials
from blindmatch_proofs.epoch import DAY_S, EpochLeaf, verify_logged
from blindmatch_proofs.tlog import Accepted, TlogProof
from blindmatch_proofs.verdict import Failed
from blindmatch_protocol import group
from blindmatch_protocol.codec.errors import BlindmatchError
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import AnyDesign, Party
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from blindmatch_protocol.rpc import blindmatch_v1_pb2_grpc as rpc
from blindmatch_server.epochs.published import (
    SIGNED,
    DamagedPublicationError,
    NoPublicationError,
    Publication,
    current_epoch,
    open_publication,
    read_logged,
)
from blindmatch_server.hosting import authority
from blindmatch_server.hosting.authority import Identity, Kind
from grpc_health.v1 import health_pb2, health_pb2_grpc
from msgspec import Struct

from blindmatch_simulations.testbed.deployment.folder import Deployment
from blindmatch_simulations.testbed.deployment.folder_checks import (
    SOON,
    Finding,
    Status,
    centre,
    centre_list,
    certificates,
    clock,
    disk,
    layout,
    openings,
    operators,
    permissions,
    policies,
    stores,
)
from blindmatch_simulations.testbed.deployment.hosting import parties_of, servers_of
from blindmatch_simulations.testbed.deployment.operators import secured
from blindmatch_simulations.testbed.deployment.shares import (
    OWN,
    find_too_small,
    has_budget,
    packs_in_use,
    read_packs,
    share_here,
    words_of,
)
from blindmatch_simulations.testbed.deployment.transparency import read_log

SECONDS: Final = 5.0
OPERATOR: Final = "doctor"


def published(
    deployment: Deployment, design: AnyDesign, now: datetime
) -> tuple[list[Finding], Publication | None]:
    """Whether the current epoch is intact, every byte of what must be here, and signed; and the epoch."""
    name = design.info.name
    build = f"blindmatch list build NAME --design {name}"
    if not deployment.published(name).is_dir():
        needed = deployment.authority.is_dir() or deployment.server(Party.MATCHER).is_dir()
        nothing = Finding("epoch", Status.WRONG, f"{name} is not published", build)
        return [nothing] if needed else [], None
    try:
        here = deployment.parties()
        played = [role for role, party in design.info.roles.items() if party in here]
        roles = None if deployment.authority.is_dir() else played
        opened = open_publication(deployment.published(name), None, roles, Party.CENTRE in here)
        opened.verify()
    except NoPublicationError as error:
        return [Finding("epoch", Status.WRONG, str(error), build)], None
    except BlindmatchError as error:
        remedy = "copy its files again, from a backup or the curator's machine"
        if list(deployment.published(name).glob(f"*/{SIGNED}")):  # else nothing can be built after it
            remedy += f"; or publish a newer one: {build}"
        return [Finding("epoch", Status.WRONG, str(error), remedy)], None
    size = sum(file.size for file in opened.contents.files)
    what = (
        f"epoch {opened.manifest.epoch} of {name}, {len(opened.contents.files)} files, {size:,} bytes, intact"
    )
    return [Finding("epoch", Status.OK, what), *_signed(deployment, opened, now)], opened


def _signed(deployment: Deployment, epoch: Publication, now: datetime) -> Iterator[Finding]:
    try:
        epoch.check_signed(deployment.curator_public_key())
    except DamagedPublicationError as error:
        remedy = "bring curator/keys back if it changed, else publish a newer one: blindmatch list build NAME"
        yield Finding("manifest", Status.WRONG, str(error), remedy)
        return
    except BlindmatchError as error:
        remedy = "bring curator/keys/curator.pub back: certs pack copies it to each machine"
        yield Finding("manifest", Status.WRONG, str(error), remedy)
        return
    manifest = epoch.signed.manifest
    left = timedelta(seconds=manifest.valid_until - now.timestamp())
    what = f"signed by the curator, {manifest.digest.hex()[:16]}, "
    remedy = "publish a newer one: blindmatch list build NAME"
    if left <= timedelta():
        yield Finding("manifest", Status.WRONG, what + "ended: devices ask nobody with it", remedy)
    elif left < SOON:
        yield Finding("manifest", Status.WARNING, f"{what}ends in {left.days} days", remedy)
    else:
        yield Finding("manifest", Status.OK, f"{what}holds for {left.days} days")


def servers(deployment: Deployment, design: AnyDesign, epoch: Publication | None) -> Iterator[Finding]:
    """Ask every server that the design needs, or on one machine of several those that are known here."""
    try:
        endpoints = deployment.endpoints()
    except BlindmatchError as error:
        yield Finding("servers", Status.WRONG, str(error), "start the servers again")
        return
    credentials = _credentials(deployment)
    for party in servers_of(deployment, design):
        name = party.server
        if party not in endpoints:
            if deployment.has_server(party):
                remedy = f"blindmatch serve {name}, or blindmatch serve all"
                killed = "; it was killed" if deployment.port_file(party).exists() else ""
                what = f"it is not running on this machine{killed}"
                yield Finding(name, Status.UNREACHABLE, what, remedy)
            continue
        if credentials is None:
            what = "there is no certificate here to ask it with"
            yield Finding(name, Status.NOT_MEASURED, what, "blindmatch certs issue operator --name ANOTHER")
            continue
        yield from _Asked(party, endpoints[party].address, credentials).findings(design, epoch)


def _credentials(deployment: Deployment) -> Credentials | None:
    identity = Identity(Kind.OPERATOR, OPERATOR)
    try:
        if deployment.authority.is_dir():
            deployment.enrol(identity, deployment.folder_of(identity), datetime.now(UTC))
        keys = [*deployment.home.glob("operators/*/*.key"), *deployment.home.glob("*/*.key")]
        keys += deployment.home.glob("devices/*/*.key")
        found = next((key for key in keys if key.parent != deployment.authority), None)
        held = None if found is None else authority.Credentials.read(found.parent, found.stem)
        return None if held is None else Credentials(held.root, held.certificate, held.key)
    except BlindmatchError:
        return None


class _Asked(Redacted, Struct, frozen=True):
    party: Party
    address: str
    credentials: Credentials

    @property
    def name(self) -> str:
        return self.party.server

    def findings(self, design: AnyDesign, epoch: Publication | None) -> Iterator[Finding]:
        if not self._is_open():
            remedy = (
                f"start it: blindmatch serve {self.name}; or note its address: blindmatch certs addresses"
            )
            yield Finding(self.name, Status.UNREACHABLE, f"nothing listens at {self.address}", remedy)
            return
        try:
            with secured(self.address, self.party, self.credentials) as channel:
                yield self._health(channel)
                if self.party in set(parties_of(design)) - {Party.PROVIDER, Party.CENTRE}:
                    yield self._epoch(channel, design, epoch)
        except grpc.RpcError as error:
            what = f"{self.address} is open, but the call failed ({error.code().name})"
            remedy = (
                f"see its log; is it the {self.name} of this deployment, "
                "with a certificate that has not run out?"
            )
            yield Finding(self.name, Status.UNREACHABLE, what, remedy)

    def _is_open(self) -> bool:
        host, _, port = self.address.rpartition(":")
        try:
            with socket.create_connection((host.strip("[]"), int(port)), SECONDS):
                return True
        except OSError:
            return False

    def _health(self, channel: grpc.Channel) -> Finding:
        health: Any = health_pb2_grpc.HealthStub(channel)
        status = health.Check(health_pb2.HealthCheckRequest(), timeout=SECONDS).status
        if status == health_pb2.HealthCheckResponse.SERVING:
            return Finding(self.name, Status.OK, f"serving at {self.address}")
        what = f"at {self.address} says {health_pb2.HealthCheckResponse.ServingStatus.Name(status)}"
        return Finding(
            self.name, Status.UNREACHABLE, what, "it drains, or just starts: ask again, or start it"
        )

    def _epoch(self, channel: grpc.Channel, design: AnyDesign, epoch: Publication | None) -> Finding:
        matching: Any = rpc.MatchingStub(channel)  # type: ignore[no-untyped-call]
        told: pb.Description = matching.Describe(pb.DescribeRequest(), timeout=SECONDS)
        check = f"epoch of the {self.name}"
        if told.design != design.info.name:
            what = f"it serves {told.design}, not {design.info.name}"
            return Finding(check, Status.UNREACHABLE, what, "start it with --design, or give doctor --design")
        if epoch is None:
            return Finding(check, Status.NOT_MEASURED, f"it serves {told.epoch}; no epoch is published here")
        if told.epoch != epoch.manifest.epoch:
            what = f"it serves epoch {told.epoch}, {epoch.manifest.epoch} is published"
            return Finding(check, Status.UNREACHABLE, what, "copy the epoch to it, or send it SIGHUP")
        if told.manifest != epoch.signed.encode():
            what = f"it serves another set as epoch {told.epoch} than is published here"
            remedy = "publish a newer one, for an epoch's files never change: blindmatch list build NAME"
            return Finding(check, Status.UNREACHABLE, what, remedy)
        return Finding(check, Status.OK, f"serves epoch {told.epoch}, the set published here")


RENEW = "blindmatch log renew"


def logged(deployment: Deployment, design: AnyDesign, now: datetime) -> Iterator[Finding]:
    """Hold the proof beside the served epoch against the policy that devices pin."""
    folder = deployment.published(design.info.name)
    try:
        log = read_log(deployment)
        if log is None:
            what = "no log, so devices pin no policy: an epoch for one user alone is not noticed"
            if not deployment.authority.is_dir():
                yield Finding("log", Status.OK, what)
                return
            new = "make a new deployment, and there before its first epoch: " if folder.is_dir() else ""
            yield Finding("log", Status.WARNING, what, f"{new}blindmatch log init")
            return
        if not folder.is_dir():
            return
        held = read_logged(folder / str(current_epoch(folder)))
        if held is None:
            yield Finding("log", Status.WRONG, "the served epoch is not logged", "blindmatch list build NAME")
            return
        pinned = log.pinned(design.info.name)
        proof = TlogProof.parse(held.proof)
        leaf = EpochLeaf.decode(held.leaf)
        signed = leaf.verify(deployment.curator_public_key())
        found = verify_logged(leaf, proof, pinned, int(now.timestamp()))
    except BlindmatchError as error:
        remedy = "bring log.json back from a backup, or publish a newer epoch: blindmatch list build NAME"
        yield Finding("log", Status.WRONG, str(error), remedy)
        return
    for one, remedy in ((signed, "blindmatch list build NAME"), (found, RENEW)):
        if isinstance(one, Failed):
            yield Finding("log", Status.WRONG, f"no device takes the epoch: {one.reason}", remedy)
            return
    assert isinstance(found, Accepted)
    seen = ", ".join(sorted(found.witnesses))
    what = f"epoch {found.head.size} is logged, cosigned by {seen}"
    if pinned.is_due(proof, int(now.timestamp())):
        days = pinned.most_age_s / 2 / DAY_S
        yield Finding("log", Status.WARNING, f"{what}, which is too old in {days:g} days or less", RENEW)
    else:
        yield Finding("log", Status.OK, what)
    if missing := ", ".join(sorted(pinned.policy.witnesses.keys() - found.witnesses)):
        what = f"no cosignature of {missing}, or one that is too old"
        yield Finding("witnesses", Status.WARNING, what, f"see that it runs, then {RENEW}")


def budgets(deployment: Deployment, design: AnyDesign) -> Iterator[Finding]:
    """What part of its keys' limits each server here has, and whether a request fits into it."""
    again = "at the authority: blindmatch certs pack SERVER FOLDER --share 1/N --replaces NUMBER"
    for party in deployment.parties():
        if not has_budget(design, party):
            continue
        check = f"budget of the {party.server}"
        try:
            if deployment.authority.is_dir():
                used = packs_in_use(deployment, read_packs(deployment), design, party)
                if not [one for one in used if one.number != OWN]:
                    continue
                parts = max(one.parts for one in used)
                what = "; ".join(one.words for one in used)
            else:
                share = share_here(deployment, design, party)
                parts = share.parts
                what = f"number {share.number}: {words_of(parts)} of its keys' limits, rounded down"
            too_small = find_too_small(deployment, design, party, parts)
        except BlindmatchError as error:
            yield Finding(check, Status.WRONG, str(error), again)
            continue
        if too_small:
            yield Finding(check, Status.WRONG, f"every request is refused: {too_small}", again)
        else:
            yield Finding(check, Status.OK, what)


def examine(
    deployment: Deployment, design: AnyDesign, now: datetime, allow_collusion: bool = False
) -> Iterator[Finding]:
    """Look a deployment over at `now`, with a time zone, in the order in which things have to be put right;
    `allow_collusion`: whether one operator may have parties that must not collude. Nothing is changed, but a
    certificate may be made to ask servers with."""
    yield from layout(deployment, design)
    yield from operators(deployment, design, allow_collusion)
    yield from permissions(deployment)
    yield stores(deployment)
    yield from clock(deployment, now)
    yield Finding("group", Status.OK, group.described())
    yield from certificates(deployment, now)
    yield from centre(deployment, design)
    yield from logged(deployment, design, now)
    yield from policies(deployment, design)
    found, epoch = published(deployment, design, now)
    yield from found
    yield from budgets(deployment, design)
    yield from centre_list(deployment, design, None if epoch is None else epoch.manifest)
    yield from openings(deployment, design)
    yield from disk(deployment)
    yield from servers(deployment, design, epoch)
