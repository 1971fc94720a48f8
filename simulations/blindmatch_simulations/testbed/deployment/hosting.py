"""The configuration of each server, and the files that one machine of a deployment needs.

Never packed: the authority's key, another party's key, a server's state.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec
from blindmatch_proofs.endorsement import FILE as ENDORSEMENT
from blindmatch_protocol.account_name import NOTICES
from blindmatch_protocol.codec.errors import BlindmatchError
from blindmatch_protocol.contract import AnyDesign, Buffers, Opener, Party
from blindmatch_server.centre.keys import JUDGE_PUBLIC, NOTICES_PUBLIC, PUBLIC_KEY, Deployed
from blindmatch_server.centre.service import CentreConfig, open_centre
from blindmatch_server.centre.vouchers import OpenerFiles
from blindmatch_server.epochs.published import (
    FILES,
    OWN,
    SIGNED,
    Contents,
    NoPublicationError,
    Publication,
    open_publication,
    signed_epochs,
)
from blindmatch_server.epochs.signing import PUBLIC_KEY as CURATOR_PUBLIC_KEY
from blindmatch_server.hosting.authority import DEVICES_CERTIFICATE, Identity
from blindmatch_server.hosting.serving import Listen, OpenServices
from blindmatch_server.hosting.serving import serve as serve_until_signal
from blindmatch_server.log.service import LogConfig, open_log, open_witness
from blindmatch_server.log.witness import SubmissionPrefix, WitnessAt, ask_over_grpc, ask_over_https, trust_of
from blindmatch_server.matching.epochs import PublishedSource, Renewing
from blindmatch_server.matching.forwarding import Carrying
from blindmatch_server.matching.ledger import CentreAddress
from blindmatch_server.matching.service import MatchingConfig, open_matching
from blindmatch_server.relay.service import RelayConfig, open_services
from blindmatch_server.relay.store import RelayLimits
from blindmatch_server.storage.files import read_key, replace_file

from blindmatch_simulations.testbed.deployment.endorsing import endorsed_by
from blindmatch_simulations.testbed.deployment.folder import (
    ADDRESSES,
    KEYS,
    MARKER,
    STANDARD,
    Deployment,
    DeploymentError,
)
from blindmatch_simulations.testbed.deployment.operators import backed_by
from blindmatch_simulations.testbed.deployment.processes import alone
from blindmatch_simulations.testbed.deployment.registry import DESIGN, check_apart, loader_of
from blindmatch_simulations.testbed.deployment.shares import (
    SHARE,
    add_pack,
    find_too_small,
    has_budget,
    noting,
    read_packs,
    share_here,
    write_packs,
)
from blindmatch_simulations.testbed.deployment.transparency import (
    COUNTS,
    KEY,
    LOG,
    LOG_FILE,
    POLICY,
    log_seed,
    read_log,
    witness_signer,
)

STATE: Final = "state"


def parties_of(design: AnyDesign) -> tuple[Party, ...]:
    """The servers that a deployment of `design` runs: the matcher, which hands out the set-up, also where it
    plays no role, and the centre before whoever reports."""
    others = sorted(set(design.info.parties).difference(STANDARD))
    return (Party.CENTRE, Party.MATCHER, *others, Party.PROVIDER)


def serve(
    deployment: Deployment,
    party: Party,
    design: AnyDesign | None,
    allow_collusion: bool = False,
    **listens: Any,
) -> int:
    """Run the server of `party` until it is told to stop; one of the server's exit codes. `design` is what it
    serves: None for the log and its witnesses, which serve whatever is deployed. `StateError` if the server's
    files cannot be used."""
    if design is not None:
        check_hosts(deployment, design, party)
        check_apart(deployment, design.info, allow_collusion)
    listen = listen_of(deployment, party, **listens)
    with alone(deployment, party):
        return serve_until_signal(party.server, listen, services_of(deployment, party, design))


def servers_of(deployment: Deployment, design: AnyDesign) -> tuple[Party, ...]:
    """Every server that runs: the log and its witnesses, if there is one, and the design's."""
    log = read_log(deployment)
    return (*(log.parties if log else ()), *parties_of(design))


def check_hosts(deployment: Deployment, design: AnyDesign, party: Party) -> None:
    """Raises `DeploymentError` if `party` runs no server in `design`, nor one of the log's."""
    parties = servers_of(deployment, design)
    if party not in parties:
        known = ", ".join(one.server for one in parties)
        raise DeploymentError(f"{party.server}: {design.info.name} has no such server; it has {known}")


def listen_of(deployment: Deployment, party: Party, **more: Any) -> Listen:
    """Where and how the server of `party` listens; `more` fields of `Listen`."""
    deployment.admit([party], datetime.now(UTC))
    port = deployment.port_file(party)
    return Listen(
        deployment.server_credentials(party),
        port_file=port,
        revoked=(deployment.revoked, deployment.server(party) / "revoked.number"),
        **more,
    )


def services_of(deployment: Deployment, party: Party, design: AnyDesign | None) -> OpenServices:
    """What the server of `party` serves; the caller makes sure that it is alone."""
    folder = deployment.server(party) / STATE
    if design is None or is_of_log(deployment, party):
        return _of_log(deployment, party, folder)
    match party:
        case Party.PROVIDER:
            matching = _matching(deployment, party, design, folder) if party in design.info.parties else None
            keys = read_key(deployment.relay_stamp_key), read_key(deployment.centre_keys / NOTICES_PUBLIC)
            return partial(open_services, RelayConfig(folder, RelayLimits(), matching, *keys))
        case Party.CENTRE:
            return partial(open_centre, _centre(deployment, design, folder))
        case _:
            return partial(open_matching, _matching(deployment, party, design, folder))


def is_of_log(deployment: Deployment, party: Party) -> bool:
    """Whether it is the log, or one of its witnesses."""
    log = read_log(deployment)
    return log is not None and party in log.parties


def _of_log(deployment: Deployment, party: Party, folder: Path) -> OpenServices:
    log = read_log(deployment)
    assert log is not None
    if party != LOG:
        return partial(open_witness, folder, witness_signer(deployment, party), log.known, LOG)
    find = _finder(deployment)
    credentials = deployment.server_credentials(party)
    witnesses = [
        WitnessAt(one.server, key, partial(ask_over_grpc, one, partial(find, one), credentials))
        for one, key in log.witnesses.items()
    ]
    for other in log.foreign:
        ask = partial(ask_over_https, SubmissionPrefix.parse(other.url), trust_of(log.roots))
        witnesses.append(WitnessAt(other.key.name, other.key, ask))
    rules = partial(log.stream, curator=deployment.curator_public_key())
    quorum = log.policy(log.origin(COUNTS)).is_quorum
    return partial(open_log, LogConfig(folder, log_seed(deployment), rules, witnesses, quorum))


def _finder(deployment: Deployment) -> Callable[[Party], str]:
    """Finds a server's address at each call, since it may start later or move; empty if it does not run."""
    directory = deployment.directory()
    return lambda party: directory[party].address if party in directory else ""


def _matching(deployment: Deployment, party: Party, design: AnyDesign, folder: Path) -> MatchingConfig:
    published = deployment.published(design.info.name)
    if not published.is_dir():
        name = design.info.name
        raise DeploymentError(f"{name} is not published; blindmatch list build --design {name} does that")
    source = PublishedSource(design, published, party, deployment.curator_public_key())
    reports = design.info.sees_content(party)
    centre = _centre_address(deployment, party) if reports else None
    carries = party in design.info.forwarded.values()
    credentials = deployment.server_credentials(party)
    carrying = Carrying(party, _finder(deployment), credentials) if carries else None
    renewing = None
    if (log := read_log(deployment)) is not None and party == design.info.setup_host:
        pinned = log.pinned(design.info.name)
        find = partial(_finder(deployment), LOG)
        renewing = Renewing(published, pinned, LOG, find, credentials)
    load = loader_of(design)
    own = folder / "matching"
    parts = share_here(deployment, design, party).parts if has_budget(design, party) else 1
    return MatchingConfig(
        design, source, own, centre, load=load, carrying=carrying, renewing=renewing, parts=parts
    )


def _centre_address(deployment: Deployment, party: Party) -> CentreAddress:
    endpoints = deployment.endpoints()
    if Party.CENTRE not in endpoints:
        raise DeploymentError("this design's provider reports by itself: start the centre before the relay")
    return CentreAddress(
        address=endpoints[Party.CENTRE].address,
        public_key=read_key(deployment.centre_keys / PUBLIC_KEY),
        reporter=Identity.of(party),
        credentials=deployment.server_credentials(party),
    )


def _centre(deployment: Deployment, design: AnyDesign, folder: Path) -> CentreConfig:
    name = design.info.name
    curator = deployment.curator_public_key()
    epochs = partial(signed_epochs, deployment.published(name), design.info, curator)
    endorsed = endorsed_by(deployment, design)
    deployed = Deployed(design, epochs, endorsed)
    openers = {}
    if design.vouchers and deployment.published(name).is_dir():
        publication = open_publication(deployment.published(name), roles=(), opener=True)
        earlier = _earlier(design, deployment.published(name), publication)
        epoch = publication.manifest.epoch
        in_worker = partial(_open_in_worker, loader_of(design), deployment.published(name), epoch)
        openers[name] = OpenerFiles(epoch, publication.opener(), endorsed, earlier, in_worker)
    references = deployment.references if deployment.references.exists() else None
    mode = deployment.franking.mode
    backed = backed_by(deployment, design)
    return CentreConfig(
        folder, deployment.centre_keys, deployed, references, openers, franking=mode, backed=backed
    )


def _open_in_worker(load: Callable[[], AnyDesign], published: Path, epoch: int) -> Opener:
    return load().open_opener(open_publication(published, epoch, roles=(), opener=True).opener())


def _earlier(design: AnyDesign, folder: Path, newest: Publication) -> dict[int, Buffers]:
    """The opener's files of the epochs before `newest` that are here and have its period."""

    def period(one: Publication) -> bytes:
        return design.period(design.open_setup(one.setup(), one.manifest.epoch))

    found: dict[int, Buffers] = {}
    for epoch in range(newest.manifest.epoch - 1, 0, -1):
        try:
            before = open_publication(folder, epoch, roles=(), opener=True)
        except NoPublicationError:
            break
        if period(before) != period(newest):
            break
        found[epoch] = before.opener()
    return found


def pack_server(
    deployment: Deployment,
    party: Party,
    design: AnyDesign,
    folder: Path,
    allow_collusion: bool = False,
    parts: int | None = None,
    replaces: Collection[int] = (),
) -> list[Path]:
    """Copy what the server of `party` needs into the new folder `folder`.

    Args:
        parts, replaces: the folder's part of the keys' budget; see `shares.add_pack`.

    Returns:
        The copies' paths below `folder`.

    Raises:
        CollusionError: If one operator has parties that must not collude, and may not.
        DeploymentError: If the folder exists, a file is missing, or so much of the budget is not left.
        PublicationError: If it cannot be read what an epoch consists of.
    """
    check_hosts(deployment, design, party)
    check_apart(deployment, design.info, allow_collusion)
    deployment.admit([party], datetime.now(UTC))
    if not has_budget(design, party):
        if parts is not None or replaces:
            option = "--replaces" if parts is None else "--share"
            raise DeploymentError(f"{option}: the {party.server} of {design.info.name} takes none")
        return _copy(deployment, _server_files(deployment, party, design), folder)
    if not deployment.authority.is_dir():
        raise DeploymentError(f"{party.server}: pack it where the authority is, which notes the shares")
    # the lock keeps this folder's own server, and another pack of it, from granting the same part
    with alone(deployment, party), noting(deployment):
        return _pack_share(deployment, party, design, folder, parts, replaces)


def _pack_share(
    deployment: Deployment,
    party: Party,
    design: AnyDesign,
    folder: Path,
    parts: int | None,
    replaces: Collection[int],
) -> list[Path]:
    files = _every_file(deployment, _server_files(deployment, party, design))
    if folder.exists():
        raise _exists(folder)
    before = read_packs(deployment)
    noted, share = add_pack(deployment, before, design, party, folder, parts, replaces)
    if too_small := find_too_small(deployment, design, party, share.parts):
        raise DeploymentError(f"{party.server} of {design.info.name}: {too_small}; give a larger --share")
    _make_new(folder)
    path = (deployment.server(party) / SHARE).relative_to(deployment.home)
    try:
        # noted first, so that whoever is killed from here on has lost a part, and not granted it twice
        write_packs(deployment, noted)
        copied = _copy_into(deployment, files, folder)
        # last, since no server starts from a folder without it
        replace_file(folder / path, msgspec.json.encode(share) + b"\n")
    except BlindmatchError:
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            write_packs(deployment, before)
        raise
    return [*copied, path]


def pack_caller(deployment: Deployment, source: Path, folder: Path) -> list[Path]:
    """Copy a device's or operator's certificate and key, and the public keys; `DeploymentError` if it has no
    certificate, the folder exists, or a file is missing."""
    keys = _certificate(source)
    if not keys:
        raise DeploymentError(f"{source.name} has no certificate; make one with: blindmatch certs issue")
    public = [deployment.centre_keys / name for name in (PUBLIC_KEY, NOTICES_PUBLIC, JUDGE_PUBLIC)]
    return _copy(deployment, iter([*keys, deployment.curator_keys / CURATOR_PUBLIC_KEY, *public]), folder)


def _certificate(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.glob("*")) if path.suffix in (".crt", ".key")]


def _server_files(deployment: Deployment, party: Party, design: AnyDesign) -> Iterator[Path]:
    home = deployment.server(party)
    name = party.server
    yield from (home / "ca.crt", home / f"{name}.crt", home / f"{name}.key")
    yield from home.glob(DEVICES_CERTIFICATE)
    yield deployment.curator_keys / CURATOR_PUBLIC_KEY
    yield deployment.revoked
    log = read_log(deployment)
    if log is not None and party in log.parties:
        yield home / KEYS / KEY
        return
    played = design.info.parties
    published = deployment.published(design.info.name)
    if party == Party.MATCHER or party in played or _opens(party, design):
        if not published.is_dir():
            raise DeploymentError(f"{design.info.name} is not published; blindmatch list build does that")
        yield from _published(published, party, design)
    if party == Party.PROVIDER:
        yield from (deployment.relay_stamp_key, deployment.centre_keys / NOTICES_PUBLIC)
    if party == Party.CENTRE:
        yield from sorted(published.glob(f"*/{SIGNED}"))
        yield from sorted(published.glob(f"*/{ENDORSEMENT}"))
        yield from _below(deployment.centre_keys)
        yield from _certificate(deployment.device(NOTICES))
        if deployment.references.exists():
            yield deployment.references
    elif design.info.sees_content(party):
        yield deployment.centre_keys / PUBLIC_KEY


def _published(folder: Path, party: Party, design: AnyDesign) -> Iterator[Path]:
    """What `party` needs of each epoch: the set-up, and files of its own roles; no other party's secrets."""
    roles = [role for role, host in design.info.roles.items() if host == party]
    for path in _below(folder):
        if (path.parent / FILES).exists():
            needed = Contents.read(path.parent).needed(roles, _opens(party, design))
            if path.name not in needed | OWN:
                continue
        yield path


def _opens(party: Party, design: AnyDesign) -> bool:
    return party == Party.CENTRE and bool(design.vouchers)


def _below(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.startswith(".")]


def _exists(folder: Path) -> DeploymentError:
    return DeploymentError(f"{folder} exists; give a new folder")


def _make_new(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, mode=0o700)
    except FileExistsError as error:
        raise _exists(folder) from error
    except OSError as error:
        raise DeploymentError(f"{folder}: cannot be made: {error.strerror}") from error


def _every_file(deployment: Deployment, files: Iterator[Path]) -> list[Path]:
    """Return `files`, and what every machine needs."""
    whole = (DESIGN, ADDRESSES, POLICY, LOG_FILE)
    here = [path for name in whole if (path := deployment.home / name).exists()]
    return [deployment.home / MARKER, *files, *here]


def _copy(deployment: Deployment, files: Iterator[Path], folder: Path) -> list[Path]:
    every = _every_file(deployment, files)
    _make_new(folder)
    return _copy_into(deployment, every, folder)


def _copy_into(deployment: Deployment, files: Sequence[Path], folder: Path) -> list[Path]:
    copied = []
    for path in files:
        target = folder / path.relative_to(deployment.home)
        try:
            target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            shutil.copy2(path, target)
        except OSError as error:
            raise DeploymentError(f"{path.name}: {error.strerror}") from error
        copied.append(target.relative_to(folder))
    return copied
