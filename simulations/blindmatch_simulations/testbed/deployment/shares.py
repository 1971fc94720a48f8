"""How the servers that hold one key share its budget.

Each server counts by itself, so two that hold the same key would grant its limits twice. The authority's
folder therefore notes every folder that was packed, and what part of each limit it has
(``authority/packed.json``); the packed folder says the same in ``SERVER/share.json``, and its server divides
the limits by it.

Parts belong to folders, and not to a key: a machine keeps its part when an epoch brings a new key.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from fractions import Fraction
from math import ceil
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from blindmatch_protocol.contract import AnyDesign, KeyLimits, Party
from blindmatch_server.epochs.published import open_publication
from blindmatch_server.matching.epochs import carried_limits
from blindmatch_server.matching.ledger import bounds_of, divide_limits, has_room
from blindmatch_server.storage.files import hold, replace_file
from msgspec import Meta, Struct
from msgspec.structs import replace

from blindmatch_simulations.testbed.deployment.folder import Deployment, DeploymentError

SHARE: Final = "share.json"
PACKED: Final = "packed.json"
PACKED_LOCK: Final = "packed.lock"
HOLD_SECONDS: Final = 5.0
"""How long another pack is waited for."""
MOST_PARTS: Final = 1000
OWN: Final = 0
"""Number of the server that runs in the authority's own folder."""
LEDGER: Final = Path("state", "matching", "ledger.sqlite")
"""In a server's folder once it has served a design."""

_SHARE: Final = re.compile("1/([1-9][0-9]{0,3})")
_RULE: Final = f"must be 1/N with N from 1 to {MOST_PARTS}"
Parts = Annotated[int, Meta(ge=1, le=MOST_PARTS)]


class Share(Struct, frozen=True, forbid_unknown_fields=True):
    """What a packed folder says of its own part.

    Attributes:
        server, design: what the folder was packed for.
        number: of the folder among those packed for both.
        parts: every limit is divided by it.
    """

    version: Literal[1]
    server: str
    design: str
    number: Annotated[int, Meta(ge=1)]
    parts: Parts


class Packed(Struct, frozen=True, forbid_unknown_fields=True):
    """A folder that was packed, as the authority notes it.

    Attributes:
        replaced: whether another folder took its place; its part is free then.
    """

    server: str
    design: str
    number: Annotated[int, Meta(ge=0)]
    parts: Parts
    folder: str
    packed_at: str
    replaced: bool = False

    @property
    def words(self) -> str:
        whose = "this folder's own server" if self.number == OWN else self.folder
        return f"number {self.number}, {words_of(self.parts)}, {whose}"


class Packs(Struct, frozen=True, forbid_unknown_fields=True):
    """All of them."""

    version: Literal[1] = 1
    packs: tuple[Packed, ...] = ()


def parse_share(text: str) -> int:
    """Return N of ``1/N``; `DeploymentError` if it is anything else."""
    found = _SHARE.fullmatch(text)
    if found is None or int(found[1]) > MOST_PARTS:
        raise DeploymentError(f"share {text!r}: {_RULE}")
    return int(found[1])


def words_of(parts: int) -> str:
    return "the whole" if parts == 1 else f"1/{parts}"


def has_budget(design: AnyDesign, party: Party) -> bool:
    """Return whether `party` has a role of `design`, whose key may have limits, and can be run twice.

    A deployment has one relay and one centre: devices and reports are tied to them.
    """
    return party in design.info.parties and party not in (Party.PROVIDER, Party.CENTRE)


def read_packs(deployment: Deployment) -> Packs:
    """Return what was packed, nothing if there is no file; `DeploymentError` if the file is damaged."""
    path = deployment.authority / PACKED
    what = "it says which folders share a key's budget: bring it back from a backup"
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Packs)
    except FileNotFoundError:
        return Packs()
    except (OSError, msgspec.DecodeError, RecursionError) as error:
        raise DeploymentError(f"{path}: {error}; {what}") from error
    if len({(one.server, one.design, one.number) for one in found.packs}) < len(found.packs):
        raise DeploymentError(f"{path}: a number is given twice; {what}")
    return found


@contextmanager
def noting(deployment: Deployment) -> Iterator[None]:
    """Hold the note of what was packed, which all servers share; `DeploymentError` if another pack does."""
    busy = DeploymentError(f"another certs pack at {deployment.home} has not ended; try again when it has")
    with hold(deployment.authority / PACKED_LOCK, busy, DeploymentError, HOLD_SECONDS):
        yield


def write_packs(deployment: Deployment, packs: Packs) -> None:
    replace_file(deployment.authority / PACKED, msgspec.json.format(msgspec.json.encode(packs)) + b"\n")


def packs_in_use(deployment: Deployment, packs: Packs, design: AnyDesign, party: Party) -> list[Packed]:
    """Return the folders that have a part of the budget; this one, too, if its own server has served.

    Its ledger does not say which design it served; in doubt it was this one.
    """
    every = [one for one in packs.packs if (one.server, one.design) == (party.server, design.info.name)]
    used = [one for one in every if not one.replaced]
    if (deployment.server(party) / LEDGER).exists() and all(one.number != OWN for one in every):
        used.insert(0, Packed(party.server, design.info.name, OWN, 1, str(deployment.home), ""))
    return used


def add_pack(
    deployment: Deployment,
    packs: Packs,
    design: AnyDesign,
    party: Party,
    folder: Path,
    parts: int | None,
    replaces: Collection[int],
) -> tuple[Packs, Share]:
    """Give `folder` a part of the budget.

    Args:
        parts: the part is one of so many. None: that of the one folder it replaces, else the whole.
        replaces: numbers of folders whose parts become free.

    Returns:
        What has to be noted, and what the folder says of itself.

    Raises:
        DeploymentError: If all parts would be more than the whole, or a number in `replaces` has none.
    """
    server = party.server
    name = design.info.name
    used = {one.number: one for one in packs_in_use(deployment, packs, design, party)}
    if unknown := sorted(set(replaces) - used.keys()):
        known = "; ".join(one.words for one in used.values()) or "none"
        raise DeploymentError(
            f"--replaces {unknown[0]}: the {server} of {name} has no such folder in use; in use: {known}"
        )
    freed = [used.pop(number) for number in sorted(set(replaces))]
    if parts is None:
        parts = freed[0].parts if len(freed) == 1 else 1
    left = Fraction(1) - sum(Fraction(1, one.parts) for one in used.values())
    if Fraction(1, parts) > left:
        raise DeploymentError(_too_much(server, name, [*used.values()], parts, left))
    every = [one for one in packs.packs if (one.server, one.design) == (server, name)]
    number = max((one.number for one in every), default=OWN) + 1
    at = datetime.now(UTC).strftime("%Y-%m-%d")
    added = Packed(server, name, number, parts, str(folder.absolute()), at)
    kept = [one for one in packs.packs if one not in freed]
    gone = [replace(one, replaced=True) for one in freed]
    return Packs(packs=(*kept, *gone, added)), Share(1, server, name, number, parts)


def _too_much(server: str, name: str, used: Sequence[Packed], parts: int, left: Fraction) -> str:
    held = "; ".join(one.words for one in used)
    most = f"give --share 1/N with N of at least {ceil(1 / left)}" if left > 0 else "none is left"
    return (
        f"--share of {server} of {name}: {words_of(parts)} is more than what is left of its keys' limits, "
        f"{max(left, Fraction(0))}; in use: {held}. Each server with a key grants its limits by itself, so "
        f"pack each with --share 1/N from the first on ({most}); if a folder is lost or will not be served "
        "from again, give --replaces NUMBER"
    )


def share_here(deployment: Deployment, design: AnyDesign, party: Party) -> Share:
    """Return the part of the budget that the server of `party` has in this folder.

    Raises:
        DeploymentError: If other folders have the budget, or this one does not say what part it has.
    """
    name = design.info.name
    if deployment.authority.is_dir():
        packs = read_packs(deployment)
        used = [one for one in packs_in_use(deployment, packs, design, party) if one.number != OWN]
        if used:
            held = "; ".join(one.words for one in used)
            raise DeploymentError(
                f"{party.server} of {name} was packed ({held}), and this one would grant its keys' limits "
                f"once more: serve from there, or from a new folder: blindmatch certs pack {party.server} "
                "FOLDER --replaces NUMBER"
            )
        return Share(1, party.server, name, 1, 1)
    share = read_share(deployment, party)
    if (share.server, share.design) != (party.server, name):
        path = deployment.server(party) / SHARE
        whose = f"it is of {share.server} of {share.design}, not of {party.server} of {name}"
        raise DeploymentError(f"{path}: {whose}; {_again(party)}")
    return share


def read_share(deployment: Deployment, party: Party) -> Share:
    """Return what a packed folder says of its part; `DeploymentError` if that is missing or damaged."""
    path = deployment.server(party) / SHARE
    try:
        return msgspec.json.decode(path.read_bytes(), type=Share)
    except OSError as error:
        what = "it says what part of the keys' budget this server has"
        raise DeploymentError(f"{path}: {error.strerror}: {what}; {_again(party)}") from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise DeploymentError(f"{path}: {error}; {_again(party)}") from error


def _again(party: Party) -> str:
    return f"pack again, at the authority: blindmatch certs pack {party.server} FOLDER --replaces NUMBER"


def limits_of(deployment: Deployment, design: AnyDesign, party: Party) -> Iterator[tuple[str, KeyLimits]]:
    """Yield the limits that `party` counts in the published epoch, with the role's name."""
    roles = [role for role, host in design.info.roles.items() if host == party]
    publication = open_publication(deployment.published(design.info.name), roles=roles)
    for role in roles:
        if limits := design.key_limits(role, design.open_role(role, publication.role(role))):
            yield role, limits
    setup = design.open_setup(publication.setup(), publication.manifest.epoch)
    yield from carried_limits(design, party, setup).items()


def find_too_small(deployment: Deployment, design: AnyDesign, party: Party, parts: int) -> str:
    """Return why no request fits into a part of the published epoch's limits; empty if one does.

    The whole is the design's own business, and is not looked at.
    """
    if parts == 1:
        return ""
    for role, limits in limits_of(deployment, design, party):
        if not has_room(divide_limits(limits, parts)):
            least = min(bounds_of(limits))
            return (
                f"{words_of(parts)} of the {least:,} evaluations that role {role} allows is less than the "
                f"{limits.cost:,} of one request"
            )
    return ""
