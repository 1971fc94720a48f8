"""A centre reads in a report more of the message than the matched picture.

It opens the report with its own key, as it must, and looks for the message's text and for the digest of an
attachment that did not match.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

from blindmatch_protocol import franking
from blindmatch_protocol.content import AttachmentRef, Content, compose
from blindmatch_protocol.contract import Adversary as Conduct
from blindmatch_protocol.contract import Party
from blindmatch_protocol.franking import LEAF_LENGTH, disclose
from blindmatch_protocol.report import open_report
from blindmatch_server.centre.keys import CentreKeys
from msgspec.structs import replace

from blindmatch_simulations.attacks.adversary import Claim, Means, replacing
from blindmatch_simulations.attacks.arena import Arena, attack
from blindmatch_simulations.attacks.figure import Figure, counted
from blindmatch_simulations.attacks.loopback import Loopback, drawn, loopback
from blindmatch_simulations.deployment.devices import now_ms
from blindmatch_simulations.deployment.hosting import STATE
from blindmatch_simulations.deployment.operators import centre_list

TEXT: Final = "private words beside"


def _all_of_it(content: Content, *arguments: Any) -> Any:
    """What opens text and attachments, too: they stand in the places of their leaves."""
    shown, opening = disclose(content, *arguments)
    text = content.text.encode().ljust(LEAF_LENGTH, b"\0")[:LEAF_LENGTH]
    digests = [one.digest for one in content.attachments[1:]]
    closed = (opening.closed[0], text, *sorted([*digests, *opening.closed[2 + len(digests) :]]))
    return shown, replace(opening, closed=closed)


@attack(
    "open-report",
    Means(frozenset({Party.CENTRE}), Conduct.SEMI_HONEST, "its key, and reports that are right"),
    Claim("Of a reported message it learns sender, recipient, time and the matched picture"),
    budget="one report",
    weakness=replacing((franking, "disclose", _all_of_it)),
    against={"oprf-psi", "token-psi"},
)
def read_report(arena: Arena) -> Figure:
    """Count what is found in a report of a text and of another attachment."""
    with loopback(arena, [drawn(1)]) as held:
        _, alice = held.device("bob"), held.device("alice")
        alice.device.send_picture("bob", drawn(1), TEXT)
        arena.progress(1, 2)
        text = TEXT.encode() in _opened(held)
    other = _other_attachment(arena)
    arena.progress(2, 2)
    return counted("parts beyond the match", {"text": (text, 1), "another attachment": (other, 1)})


def _opened(held: Loopback) -> bytes:
    """The one report at the centre, opened, less its picture."""
    (row,) = centre_list(held.deployment).reports
    folder = held.deployment.server(Party.CENTRE) / STATE / "reports"
    (sealed,) = (one for one in folder.rglob("*") if one.is_file())
    keys = CentreKeys.read(held.deployment.centre_keys)
    report = open_report(sealed.read_bytes(), row.report_id, keys.sealing)
    return report.encode().replace(report.picture, b"")


def _other_attachment(arena: Arena) -> bool:
    """Does what is opened for the first attachment show the second one's digest?"""
    rng = arena.rng("attachments")
    digests = [hashlib.sha256(rng.take(32)).digest() for _ in range(2)]
    refs = tuple(AttachmentRef(rng.take(16), rng.take(32), digest, 64, "image/png") for digest in digests)
    _, opening = franking.disclose(compose(TEXT, refs, now_ms(), rng), "alice", "bob", 0)
    return digests[1] in opening.encode()
