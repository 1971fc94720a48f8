"""A matcher without the curator's key moves a device to another epoch, list or key.

    an older epoch    the epoch before, which the curator did sign
    another list      the next epoch, of the matcher's own list and key: an unlisted picture is reported
    another key       the device's epoch once more, under a key for this device alone

It signs what it makes with a key of its own, and answers in the place of the matcher that the device knows.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from blindmatch_client import adoption
from blindmatch_client.device import OutcomeKind
from blindmatch_proofs.verdict import Passed
from blindmatch_protocol.contract import Party
from blindmatch_protocol.errors import BlindmatchError
from blindmatch_server.curator.signing import CuratorKey

from blindmatch_simulations.attacks.adversary import Adversary, Claim, Means, replacing
from blindmatch_simulations.attacks.arena import Arena, AttackError
from blindmatch_simulations.attacks.figure import Figure, counted, tally
from blindmatch_simulations.attacks.loopback import Loopback, drawn, loopback, publish_in
from blindmatch_simulations.deployment.devices import Watched
from blindmatch_simulations.deployment.folder import Deployment
from blindmatch_simulations.scenario.threads import threaded_servers

BOB: Final = "bob"
LISTED, UNLISTED = 1, 2
NEXT: Final = 2
_CHECKS: Final = ("verify_signature", "verify_not_older", "verify_consistent")
_UNLOOKED: Final = replacing(*((adoption, name, lambda *_: Passed()) for name in _CHECKS))
"""A device that looks at neither the curator's signature nor the epochs before."""


def run(arena: Arena) -> Figure:
    """Count the forms in which a device goes along."""
    forms = {"an older epoch": _older, "another list": _other_list, "another key": _other_key}
    with loopback(arena, [drawn(LISTED)]) as held:
        held.device(BOB)
        ways = enumerate(arena.each(forms.items()), 1)
        cases = tally((name, moved(arena, held, f"alice-{at}")) for at, (name, moved) in ways)
    return counted("devices moved", cases)


def _older(arena: Arena, held: Loopback, name: str) -> bool:
    """Back from epoch 2, which is the curator's, to epoch 1."""
    alice = held.device(name)
    with _copy(held) as newer:
        publish_in(arena, newer, [drawn(LISTED), drawn(UNLISTED)])
        with _answering(held, newer, name):
            _refresh(alice)
    if alice.device.epoch != NEXT:
        raise AttackError("the device did not take the curator's next epoch")
    _refresh(alice)
    return alice.device.epoch < NEXT


def _other_list(arena: Arena, held: Loopback, name: str) -> bool:
    """On to an epoch that the matcher made, in which it alone has listed a picture."""
    alice = held.device(name)
    with _own(arena, held, NEXT) as own, _answering(held, own, name):
        _refresh(alice)
        return _reports(alice)


def _other_key(arena: Arena, held: Loopback, name: str) -> bool:
    """A new device, for which the epoch that everybody has is made again."""
    with _own(arena, held, NEXT - 1) as own, _answering(held, own, name):
        try:
            alice = held.device(name)
        except BlindmatchError:
            alice = held.of(name).watched
        return _reports(alice)


def _reports(alice: Watched) -> bool:
    return alice.device.send_picture(BOB, drawn(UNLISTED)).outcome is OutcomeKind.MATCH


def _refresh(alice: Watched) -> None:
    with suppress(BlindmatchError):
        alice.device.refresh()


@contextmanager
def _copy(held: Loopback) -> Iterator[Deployment]:
    """Everything the matcher could have of the deployment, and more, in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="blindmatch-attack-") as folder:
        shutil.copytree(held.deployment.home, Path(folder) / "home")
        yield Deployment.open(Path(folder) / "home")


@contextmanager
def _own(arena: Arena, held: Loopback, epoch: int) -> Iterator[Deployment]:
    """A copy in which the matcher has signed an epoch of its own."""
    with _copy(held) as own:
        shutil.rmtree(own.published(arena.design.info.name))
        shutil.rmtree(own.curator_keys)
        CuratorKey.create(own.curator_keys)
        publish_in(arena, own, [drawn(UNLISTED)], epoch=epoch)
        yield own


@contextmanager
def _answering(held: Loopback, other: Deployment, name: str) -> Iterator[None]:
    """The matcher of another deployment answers in the place of the one that is deployed."""
    with threaded_servers(other, held.design, [Party.MATCHER]):
        way = held.way_to(other, name)
        held.diverted[Party.MATCHER] = way
        try:
            yield
        finally:
            del held.diverted[Party.MATCHER]
            way.close()


ATTACK: Final = Adversary(
    name="rollback",
    means=Means(frozenset({Party.MATCHER}), has="keys and lists of its own, and every epoch so far"),
    claim=Claim("a device takes epochs that the curator signed, never an older one or a second one"),
    budget="three devices",
    move=run,
    weakness=_UNLOOKED,
    against=frozenset({"oprf-psi", "token-psi"}),
)
