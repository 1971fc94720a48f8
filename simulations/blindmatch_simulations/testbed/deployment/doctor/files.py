"""Checks of the folder alone: layout, permissions, the centre's files, the clock, room on the disk."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from shlex import quote
from typing import Final

from blindmatch_protocol.codec.errors import BlindmatchError
from blindmatch_protocol.contract import AnyDesign, Party
from blindmatch_server.centre.keys import NOTICES_KEY, NOTICES_PUBLIC, PUBLIC_KEY, CentreKeys
from blindmatch_server.centre.references import References
from blindmatch_server.storage.key_files import read_key

from blindmatch_simulations.testbed.deployment import addresses, collusion
from blindmatch_simulations.testbed.deployment.doctor.finding import Finding, Status
from blindmatch_simulations.testbed.deployment.folder import ADDRESSES, MARKER, Deployment
from blindmatch_simulations.testbed.deployment.hosting import parties_of

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
    """Room for what is to come."""
    free = shutil.disk_usage(deployment.home).free
    what, remedy = f"{free / (1 << 30):.1f} GiB free", "make room: servers refuse what they cannot keep"
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
        References(deployment.references)
    except BlindmatchError as error:
        yield Finding("references", Status.WRONG, str(error), remedy)
    else:
        written = datetime.fromtimestamp(deployment.references.stat().st_mtime, UTC)
        yield Finding("references", Status.OK, f"written {written:%Y-%m-%d %H:%M} UTC")


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
