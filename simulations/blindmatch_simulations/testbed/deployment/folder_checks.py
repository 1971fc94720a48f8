"""Checks of the folder alone: layout, certificates, policies, permissions, keys, clock, disk."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from shlex import quote
from typing import Final

from blindmatch_proofs.endorsement import FILE, Action, EndorsedTable, EndorsementPolicy
from blindmatch_proofs.epoch import EpochLeaf
from blindmatch_protocol.codec.errors import BlindmatchError
from blindmatch_protocol.contract import AnyDesign, Learner, Party
from blindmatch_protocol.messages.epoch_manifest import EpochManifest
from blindmatch_server.centre.keys import NOTICES_KEY, NOTICES_PUBLIC, PUBLIC_KEY, CentreKeys, References
from blindmatch_server.centre.opening import given_up
from blindmatch_server.centre.store import failed_for_want_of_list
from blindmatch_server.epochs.published import LEAF, open_publication
from blindmatch_server.hosting.authority import ROOT_CERTIFICATE, Credentials, Identity
from blindmatch_server.hosting.certificates import RevocationList
from blindmatch_server.storage.database import reading
from blindmatch_server.storage.files import read_key
from cryptography import x509
from msgspec import Struct

from blindmatch_simulations.testbed.deployment import addresses
from blindmatch_simulations.testbed.deployment import registry as collusion
from blindmatch_simulations.testbed.deployment.devices import Settings, device_names
from blindmatch_simulations.testbed.deployment.folder import ADDRESSES, MARKER, Deployment
from blindmatch_simulations.testbed.deployment.hosting import parties_of
from blindmatch_simulations.testbed.deployment.registry import load_design
from blindmatch_simulations.testbed.deployment.transparency import read_log, read_policy, words_of


class Status(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"
    """It works, and will not for long or not for everybody."""
    WRONG = "wrong"
    """Something in the folder is missing or bad."""
    UNREACHABLE = "unreachable"
    """A server does not answer as it should."""
    NOT_MEASURED = "not measured"
    """The check could not be made here."""


class Finding(Struct, frozen=True):
    """One line of the examination.

    Attributes:
        remedy: what to do; empty if nothing has to be done.
    """

    check: str
    status: Status
    what: str
    remedy: str = ""


SECRET_SUFFIXES: Final = (".key", ".sqlite", ".sqlite-wal", ".sqlite-shm")
LITTLE_BYTES: Final = 1 << 30
"""Room under which a warning is given."""
LEAST_BYTES: Final = 100 << 20
"""Room under which servers cannot be trusted to take what comes."""
MOST_NAMED: Final = 3


def layout(deployment: Deployment, design: AnyDesign) -> Iterator[Finding]:
    """Which parties' folders are here; a whole deployment has all of them."""
    here = [party.server for party in deployment.parties()]
    whole = deployment.authority.is_dir()
    missing = [party.server for party in parties_of(design) if party.server not in here] if whole else []
    if missing:
        what = f"no folder for {', '.join(missing)}"
        remedy = "bring it back from a backup, or make a new deployment: blindmatch certs init --home ANOTHER"
        yield Finding("layout", Status.WRONG, what, remedy)
    else:
        machine = "a whole deployment" if whole else f"a machine of one: {', '.join(here) or 'callers only'}"
        yield Finding("layout", Status.OK, machine)
    try:
        held = addresses.read(deployment.home / ADDRESSES)
    except addresses.AddressError as error:
        file = quote(str(deployment.home / ADDRESSES))
        remedy = f"rm {file}; then note them again with: blindmatch certs addresses"
        yield Finding("addresses", Status.WRONG, str(error), remedy)
    else:
        told = ", ".join(f"{name} {address}" for name, address in addresses.encoded(held).items())
        yield Finding("addresses", Status.OK, told or "none noted: servers are those on this machine")


def operators(deployment: Deployment, design: AnyDesign, allowed: bool) -> Iterator[Finding]:
    """Who runs what; nothing is said of a design that sets no parties apart."""
    info = design.info
    if not (info.apart or info.forwarded):
        return
    found = collusion.collusions(info, collusion.operators(deployment))
    if not found:
        yield Finding("operators", Status.OK, "no operator has parties that must not collude")
        return
    remedy = "make a new deployment: blindmatch certs init --home ANOTHER --operator SERVER=OPERATOR"
    yield Finding("operators", Status.WARNING if allowed else Status.WRONG, "; ".join(found), remedy)


def permissions(deployment: Deployment) -> Iterator[Finding]:
    """Secrets must be their owner's alone."""
    every = (path for path in deployment.home.rglob("*") if path.suffix in SECRET_SUFFIXES)
    secret = [path for path in every if path.is_file()]
    open_ones = [path for path in secret if path.stat().st_mode & 0o077]
    if not open_ones:
        yield Finding("permissions", Status.OK, f"{len(secret)} secret files, each its owner's alone")
        return
    named = ", ".join(str(path.relative_to(deployment.home)) for path in open_ones[:MOST_NAMED])
    more = f" and {len(open_ones) - MOST_NAMED} more" if len(open_ones) > MOST_NAMED else ""
    what = f"others can read or write {named}{more}"
    yield Finding("permissions", Status.WRONG, what, f"chmod -R go= {quote(str(deployment.home))}")


def stores(deployment: Deployment) -> Finding:
    """Every database, all of its pages."""
    every = sorted(deployment.home.rglob("*.sqlite"))
    damaged = [str(path.relative_to(deployment.home)) for path in every if not _is_whole(path)]
    if damaged:
        remedy = "stop what uses it, and bring it back from a backup"
        return Finding("stores", Status.WRONG, f"damaged: {', '.join(damaged)}", remedy)
    return Finding("stores", Status.OK, f"{len(every)} databases, each whole")


def _is_whole(path: Path) -> bool:
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            return bool(connection.execute("PRAGMA quick_check(1)").fetchone() == ("ok",))
    except sqlite3.Error:
        return False


def clock(deployment: Deployment, now: datetime) -> Iterator[Finding]:
    """The clock must not be behind what was written here before."""
    written = datetime.fromtimestamp((deployment.home / MARKER).stat().st_mtime, UTC)
    if now < written:
        what = (
            f"the clock says {now:%Y-%m-%d %H:%M}, before this deployment was made ({written:%Y-%m-%d %H:%M})"
        )
        yield Finding("clock", Status.WRONG, what, "set the clock; certificates and notices go by it")
    else:
        yield Finding("clock", Status.OK, f"{now:%Y-%m-%d %H:%M} UTC")


def disk(deployment: Deployment) -> Iterator[Finding]:
    free = shutil.disk_usage(deployment.home).free
    what = f"{free / (1 << 30):.1f} GiB free"
    remedy = "make room: servers refuse what they cannot keep"
    if free < LEAST_BYTES:
        yield Finding("disk", Status.WRONG, what, remedy)
    elif free < LITTLE_BYTES:
        yield Finding("disk", Status.WARNING, what, remedy)
    else:
        yield Finding("disk", Status.OK, what)


def centre(deployment: Deployment, design: AnyDesign) -> Iterator[Finding]:
    """The centre's secrets, and its copy of the list."""
    if not deployment.has_server(Party.CENTRE):
        return
    yield _centre_keys(deployment)
    remedy = "blindmatch centre learn NAME --pictures FOLDER"
    if not deployment.references.exists() and design.info.relation.distance is None:
        yield Finding("references", Status.OK, f"none: no report of {design.info.name} names an entry")
        return
    if not deployment.references.exists():
        what = "the centre has no copy of the list: every report stays unchecked"
        yield Finding("references", Status.WARNING, what, remedy)
        return
    try:
        References(deployment.references).counts()  # reads it all, so that no damage inside is missed
    except BlindmatchError as error:
        yield Finding("references", Status.WRONG, str(error), remedy)
    else:
        written = datetime.fromtimestamp(deployment.references.stat().st_mtime, UTC)
        yield Finding("references", Status.OK, f"written {written:%Y-%m-%d %H:%M} UTC")


def centre_list(deployment: Deployment, design: AnyDesign, epoch: EpochManifest | None) -> Iterator[Finding]:
    """Hold the centre's copy of the list against the epoch that is in force, and against what failed."""
    applies = deployment.has_server(Party.CENTRE) and design.info.relation.distance is not None
    if not applies or not deployment.references.exists():
        return
    name = "centre's list"
    remedy = "learn the list that the epoch was built from: blindmatch centre learn NAME"
    try:
        known, _ = References(deployment.references).counts()
        failed = _failed_for_want_of_list(deployment)
    except (BlindmatchError, sqlite3.Error):
        return  # the rows of references and stores say so
    if epoch is None:
        yield Finding(name, Status.NOT_MEASURED, f"{known:,} entries; no epoch is published here")
        return
    if known != epoch.entries:
        what = f"it has {known:,} entries, epoch {epoch.epoch} has {epoch.entries:,}: true reports may fail"
        yield Finding(name, Status.WARNING, what, remedy)
    elif deployment.references.stat().st_mtime < epoch.valid_from:
        what = f"it was learnt before epoch {epoch.epoch} was built: true reports of what is new in it fail"
        yield Finding(name, Status.WARNING, what, remedy)
    elif failed:
        what = f"{failed:,} reports wait that failed because the centre does not know their entry"
        undecided = f"{remedy}; or decide on them: blindmatch centre list"
        yield Finding(name, Status.WARNING, what, undecided)
    else:
        what = f"{known:,} entries, as many as epoch {epoch.epoch} has, and learnt after it was built"
        yield Finding(name, Status.OK, what)


def _failed_for_want_of_list(deployment: Deployment) -> int:
    path = deployment.server(Party.CENTRE) / "state" / "centre.sqlite"
    if not path.exists():
        return 0
    with reading(path) as connection:
        return len(failed_for_want_of_list(connection))


def openings(deployment: Deployment, design: AnyDesign) -> Iterator[Finding]:
    """Whether attempts of the centre to open vouchers were given up, whose, and why."""
    path = deployment.server(Party.CENTRE) / "state" / "centre.sqlite"
    if not design.vouchers or not path.exists():
        return
    try:
        with reading(path) as connection:
            found = given_up(connection, design.info.name)
    except sqlite3.Error:
        return  # the row of stores says so, or the centre converts it when it starts
    if not found:
        yield Finding("openings", Status.OK, "no attempt to open vouchers was given up")
        return
    named = "; ".join(f"{account}: {problem}" for account, problem in found[:_NAMED])
    more = f"; and {len(found) - _NAMED:,} more" if len(found) > _NAMED else ""
    remedy = (
        "mend the design's opener, and start the centre again, which tries each once more; "
        "all of them: blindmatch centre vouchers list"
    )
    yield Finding("openings", Status.WARNING, f"vouchers stay closed of {named}{more}", remedy)


_NAMED: Final = 5
"""Accounts that a row names."""


def _centre_keys(deployment: Deployment) -> Finding:
    remedy = "bring the centre's keys back from a backup: reports sealed to them open with nothing else"
    try:
        public = CentreKeys.read(deployment.centre_keys).public_key
        if read_key(deployment.centre_keys / PUBLIC_KEY) != public:
            return Finding("centre's keys", Status.WRONG, "centre.pub is not the key's other half", remedy)
        read_key(deployment.centre_keys / NOTICES_KEY)
        read_key(deployment.centre_keys / NOTICES_PUBLIC)
    except BlindmatchError as error:
        return Finding("centre's keys", Status.WRONG, str(error), remedy)
    return Finding("centre's keys", Status.OK, "all secrets are there, and centre.pub belongs to them")


SOON: Final = timedelta(days=14)


def certificates(deployment: Deployment, now: datetime) -> Iterator[Finding]:
    roots: set[bytes] = set()
    for identity, folder in _parties(deployment):
        yield _certificate(deployment, identity, folder, now)
        path = folder / ROOT_CERTIFICATE
        roots |= {path.read_bytes()} if path.is_file() else set()
    if len(roots) > 1:
        what = f"{len(roots)} different roots lie in this folder: the parties do not know each other"
        yield Finding("root", Status.WRONG, what, "pack every machine again from one authority")


def _parties(deployment: Deployment) -> Iterator[tuple[Identity, Path]]:
    for party in deployment.parties():
        yield Identity.of(party), deployment.server(party)
    for kind_folder in ("devices", "operators"):
        for key in sorted((deployment.home / kind_folder).glob("*/*.key")):
            caller = _named(kind_folder, key.parent.name)
            if caller is not None and key.stem == caller.slug:
                yield caller, key.parent


def _named(kind_folder: str, name: str) -> Identity | None:
    try:
        return Identity.parse(f"blindmatch://{kind_folder.removesuffix('s')}/{name}")
    except BlindmatchError:
        return None


def _certificate(deployment: Deployment, identity: Identity, folder: Path, now: datetime) -> Finding:
    check = f"certificate of {identity.account}"
    option = f" --name {identity.name}" if identity.party is None else ""
    remedy = f"on the authority's machine: blindmatch certs renew {identity.words}{option}"
    try:
        held = Credentials.read(folder, identity.slug)
        held.check()
        certificate = x509.load_pem_x509_certificate(held.certificate)
        named = _uri(certificate)
        revoked = frozenset[int]()
        if deployment.revoked.exists():  # the machines of devices and operators have no list
            revoked = RevocationList.read(deployment.revoked, held.root).serials
    except (BlindmatchError, ValueError, x509.ExtensionNotFound) as error:
        told = str(error).replace(f"{deployment.home}/", "")
        return Finding(check, Status.WRONG, told, remedy)
    if named != identity.uri:
        return Finding(check, Status.WRONG, f"it is of {named}, not of {identity.uri}", remedy)
    if certificate.serial_number in revoked:
        return Finding(check, Status.WRONG, "it is revoked: servers refuse it", remedy)
    return _dates(check, certificate, now, remedy)


def _dates(check: str, certificate: x509.Certificate, now: datetime, remedy: str) -> Finding:
    start = certificate.not_valid_before_utc
    end = certificate.not_valid_after_utc
    until = f"until {end:%Y-%m-%d}"
    if now < start:
        what = f"not valid before {start:%Y-%m-%d %H:%M} UTC"
        return Finding(check, Status.WRONG, what, "set the clock, or wait")
    if now > end:
        return Finding(check, Status.WRONG, f"ran out on {end:%Y-%m-%d}", remedy)
    if now > end - SOON:
        return Finding(check, Status.WARNING, f"good {until} only", remedy)
    return Finding(check, Status.OK, f"good {until}")


def _uri(certificate: x509.Certificate) -> str:
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    if len(uris) != 1:
        raise ValueError("the certificate must name exactly one party")
    return str(uris[0])


ENDORSE = "blindmatch list propose, list endorse, list publish"


def policies(deployment: Deployment, design: AnyDesign) -> Iterator[Finding]:
    """Hold what the served epoch is endorsed under, and what devices pin, against the deployment's files."""
    try:
        policy = read_policy(deployment)
        log = read_log(deployment)
    except BlindmatchError as error:
        yield Finding(
            "policies", Status.WRONG, str(error), "bring endorsement.json and log.json back from a backup"
        )
        return
    if deployment.published(design.info.name).is_dir():
        yield _endorsed(deployment, design, policy)
    pinned = None if log is None else log.pinned(design.info.name)
    for name in device_names(deployment):
        try:
            held = Settings.read(deployment, name)
            if load_design(held.design).info.name != design.info.name:
                continue
        except BlindmatchError as error:
            yield Finding(
                f"policies of {name}", Status.WRONG, str(error), "blindmatch device register ANOTHER"
            )
            continue
        pins: dict[str, tuple[object, object]] = {"the log": (held.log, pinned)}
        if Learner.DEVICE in design.info.learns or design.vouchers:  # others look at no endorsement
            pins = {"endorsement": (held.endorsement, policy)} | pins
        if words := "; ".join(_pinned(what, *both) for what, both in pins.items() if both[0] != both[1]):
            again = (
                f"blindmatch device register {name} --take-policies, with the options it was registered with"
            )
            yield Finding(f"policies of {name}", Status.WARNING, words, again)


def _pinned(what: str, own: object, deployments: object) -> str:
    """What follows from a device's own policy, which differs from the deployment's."""
    if own is None:
        return f"it pins no policy of {what}, and takes epochs without looking at one"
    if deployments is None:
        return f"it pins a policy of {what} and the deployment has none: it refuses its epochs"
    return f"it pins another policy of {what} than the deployment has, and refuses its epochs"


def _endorsed(deployment: Deployment, design: AnyDesign, policy: EndorsementPolicy | None) -> Finding:
    try:
        publication = open_publication(deployment.published(design.info.name), None, ())
        leaf = EpochLeaf.decode((publication.folder / LEAF).read_bytes())
        encoded = b"" if policy is None else policy.encode()
        if leaf.endorsement_policy != encoded:
            what = f"the policy is {words_of(policy)}, and the served epoch is endorsed under another one"
            return Finding("endorsement", Status.WRONG, what, ENDORSE)
        if policy is None:
            return Finding("endorsement", Status.OK, "no policy: the curator's word is enough")
        epoch = publication.manifest.epoch
        table = EndorsedTable(publication.endorsement()[FILE], design.info, epoch, len(policy.organisations))
    except (OSError, KeyError, BlindmatchError) as error:
        return Finding("endorsement", Status.WRONG, f"the epoch's endorsements: {error}", ENDORSE)
    last = min(one.last_epoch for one in table.read_batches() if one.action is Action.LIST)
    what = f"{words_of(policy)}; the first endorsements end with epoch {last}, {epoch} is served"
    return Finding(
        "endorsement", Status.WARNING if last <= epoch else Status.OK, what, ENDORSE * (last <= epoch)
    )
