"""`blindmatch device fingerprint` and `trust`: whose key is whose."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from blindmatch_client.messages.contacts import Contact, grouped

from blindmatch_simulations.cli.commands import Found, found
from blindmatch_simulations.cli.console import table
from blindmatch_simulations.cli.unlocking import NameArgument, opened
from blindmatch_simulations.testbed.deployment.folder import Deployment

PeerArgument = Annotated[str, typer.Argument(help="The other account, e.g. bob.")]


def fingerprint(
    deployment: Deployment,
    name: NameArgument,
    peer: Annotated[str | None, typer.Argument(help="The other account; left out: all of them.")] = None,
) -> Found:
    """Show the safety number with PEER, to compare by other means: read it out, or hold the screens together.

    The same 60 digits must stand on both sides. A PEER that is not known yet is asked for at the relay.
    """
    with opened(deployment, name) as device:
        known = device.contacts.all() if peer is None else [device.contacts.contact(peer)]
    standing = {True: "compared", False: "not compared"}
    rows = [(one.peer, grouped(one.number), standing[one.verified]) for one in known]
    rows += [(one.peer, grouped(one.offered), "another key, refused") for one in known if one.offered]
    made = table(f"safety numbers of {name}", ("with", "number", "key"), rows)
    return Found([_described(one) for one in known], (made,))


def trust(
    deployment: Deployment,
    name: NameArgument,
    peer: PeerArgument,
    number: Annotated[str, typer.Option(help="The 60 digits that PEER sees; blanks do not matter.")],
) -> Found:
    """Take PEER's key as compared, if NUMBER is its safety number; from then on any other is refused.

    After PEER's key has changed, the number of the new key puts it in the old one's place. Any other number
    changes nothing.
    """
    with opened(deployment, name) as device:
        known = device.contacts.trust(peer, number)
    return found("trusted", _described(known), {"peer": known.peer, "number": grouped(known.number)})


def _described(one: Contact) -> dict[str, Any]:
    return {
        "peer": one.peer,
        "number": one.number,
        "verified": one.verified,
        "offered": one.offered or None,
    }
