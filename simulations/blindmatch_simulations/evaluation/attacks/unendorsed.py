"""A curator, with its key, the matcher and one of three organisations, lists or drops what two must endorse.

The other two organisations have signed everything but the picture that is to be reported. The sets are built,
signed and served by the package's own curator and matcher.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

import numpy as np
from blindmatch_client.device import OutcomeKind
from blindmatch_client.epochs import trusted
from blindmatch_client.epochs.adoption import Adoption
from blindmatch_proofs.endorsement import Action, EndorsementPolicy, Organisation, Terms, hash_entries
from blindmatch_proofs.endorsement.batch import UNSIGNED, build_batch
from blindmatch_proofs.verdict import Passed
from blindmatch_protocol.codec.errors import BlindmatchError
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import EntryBatch, Party
from blindmatch_protocol.contract.publishing import HeldEntries, joined
from blindmatch_protocol.contract.steps import UNCONFIRMED_ID
from blindmatch_protocol.picture.decode import Picture
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from blindmatch_protocol.sets import plain_list
from blindmatch_server.curator.endorsement.batches import Batches, Held
from blindmatch_server.epochs import building
from msgspec import Struct
from msgspec.structs import replace
from nacl.signing import SigningKey

from blindmatch_simulations.evaluation.attacks import needs
from blindmatch_simulations.evaluation.attacks.adversary import Claim, Left, Means, replacing
from blindmatch_simulations.evaluation.attacks.arena import Arena, AttackError, attack
from blindmatch_simulations.evaluation.attacks.figure import Figure, counted
from blindmatch_simulations.evaluation.attacks.loopback import FILLERS, Loopback, drawn
from blindmatch_simulations.testbed.deployment.curating import next_epoch, publish
from blindmatch_simulations.testbed.deployment.devices import Watched
from blindmatch_simulations.testbed.deployment.operators import ask_centre
from blindmatch_simulations.testbed.deployment.registry import reference_of
from blindmatch_simulations.testbed.scenario.world import threaded_servers

BOB: Final = "bob"
NAMES: Final = ("north", "south", "west")
HELD: Final = NAMES[:1]
"""The organisation in the adversary's hands."""
HONEST: Final = NAMES[:2]
"""Those whose signatures the adversary has of all that is honest."""
VICTIM: Final = 1
FIRST_ID: Final = 1


OPENED: Final = (plain_list, "reserved_rows", lambda ids, salts: np.zeros(len(ids), np.bool_))
"""Whoever opens a plain list takes it whatever its ids and salts are."""
_UNCHECKED: Final = replacing((building, "check_entries", lambda entries: None), OPENED)
"""The adversary builds and serves sets with code of its own, which refuses no entry."""


class Curator(Redacted, Struct, frozen=True):
    """The adversary, and what it has.

    Attributes:
        terms: of the policy; `north` has two keys in it.
        keys: by their public halves.
        honest: entries that two organisations endorse.
        victim: the entry that the adversary wants listed, and one organisation endorses.
    """

    arena: Arena
    world: Loopback
    terms: Terms
    keys: dict[bytes, SigningKey]
    honest: EntryBatch
    victim: EntryBatch

    @property
    def epoch(self) -> int:
        return next_epoch(self.world.published)

    def batch(
        self, entries: EntryBatch, by: Sequence[str], terms: Terms | None = None, last: int = 99
    ) -> Held:
        """A batch with the signatures of every key of some organisations."""
        over = terms or self.terms
        batch = build_batch(Action.LIST, (1, last), hash_entries(entries))
        signatures = tuple(
            over.sign(batch, self.keys[one.key]) if one.name in by else UNSIGNED
            for one in over.policy.organisations
        )
        return Held(replace(batch, signatures=signatures), entries, frozenset())

    def publish(self, in_set: EntryBatch, *batches: Held, **values: int) -> None:
        """Publish the next epoch, whose set has these entries and which bears these endorsements."""
        made = Batches(self.epoch, 0, batches).endorsement(self.arena.design.info, self.terms)
        rng = self.arena.rng(f"publish/{self.epoch}")
        place = self.world.deployment
        design = self.arena.design
        with _UNCHECKED():
            publish(place, design, HeldEntries(in_set), rng, values=values, endorsement=made)

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Serve the current epoch for a block: the matcher hands it out, the centre opens its vouchers."""
        info = self.arena.design.info
        parties = {info.setup_host, *info.parties}
        if needs.TO_CENTRE.met(self.arena.design):
            parties.add(Party.CENTRE)
        servers = threaded_servers(self.world.deployment, self.arena.design, sorted(parties))
        with ExitStack() as stack:
            with _UNCHECKED():
                stack.enter_context(servers)
            yield

    def device(self, name: str) -> Watched:
        """A new device with the policy, registered if it takes what it is served."""
        with suppress(BlindmatchError):
            return self.world.device(name, endorsement=self.terms.policy)
        return self.world.of(name).watched

    def visible(self, account: str) -> int:
        """Count an account's vouchers that are visible at the centre, which must be served."""
        request = pb.VouchersRequest(account=account)
        held = ask_centre(self.world.deployment, "ReadVouchers", request, pb.VouchersHeld)
        return sum(one.visible for one in held.piles)

    def has_match(self, name: str) -> bool:
        """Does a new device take the epoch, and whoever learns outcomes learn of the victim's picture?"""
        with self.serving():
            device = self.device(name).device
            if not device.epoch:
                return False
            sent = device.send_picture(BOB, drawn(VICTIM))
            if needs.TO_CENTRE.met(self.arena.design):
                return self.visible(name) > 0
            return sent.outcome is OutcomeKind.MATCH


@contextmanager
def endorsed_curator(arena: Arena) -> Iterator[Curator]:
    rng = arena.rng("organisations")
    keys = [SigningKey(rng.take(32)) for _ in range(4)]
    named = zip((NAMES[0], *NAMES), keys, strict=True)
    organisations = [Organisation(name, bytes(key.verify_key)) for name, key in named]
    policy = EndorsementPolicy(2, tuple(sorted(organisations, key=lambda one: (one.name, one.key))))
    victim = np.frombuffer(Picture.from_bytes(drawn(VICTIM)).hash, np.uint8).reshape(1, 32)
    hashes = np.concatenate([arena.hashes(FILLERS, "honest"), victim])
    salts = np.frombuffer(rng.take(16 * len(hashes)), np.uint8).reshape(-1, 16)
    every = EntryBatch(hashes, np.arange(FIRST_ID, FIRST_ID + len(hashes), dtype=np.uint64), salts)
    with (
        tempfile.TemporaryDirectory(prefix="blindmatch-attack-") as folder,
        Loopback.create(Path(folder) / "home", reference_of(arena.design), arena.design) as world,
    ):
        terms = Terms(world.deployment.curator_public_key(), arena.design.info.name, policy)
        held = {bytes(key.verify_key): key for key in keys}
        made = Curator(arena, world, terms, held, every.part(0, FILLERS), every.part(FILLERS, len(every)))
        made.publish(made.honest, made.batch(made.honest, HONEST))
        to_centre = needs.TO_CENTRE.met(arena.design)  # it opens vouchers of the epoch that it began with
        world.start([Party.PROVIDER] if to_centre else [Party.PROVIDER, Party.CENTRE], threads=True)
        with made.serving():
            if made.device(BOB).device.epoch != 1:
                raise AttackError("a device did not take an epoch that is endorsed")
        yield made


def _one(curator: Curator) -> None:
    held = curator.batch(curator.victim, HELD)
    first, *others = held.batch.signatures
    alone = (first, *(UNSIGNED for _ in others))
    _list(curator, replace(held, batch=replace(held.batch, signatures=alone)))


def _elsewhere(curator: Curator) -> None:
    terms = replace(curator.terms, deployment=curator.arena.rng("elsewhere").take(32))
    _list(curator, curator.batch(curator.victim, HONEST, terms=terms))


def _list(curator: Curator, *victim: Held) -> None:
    both = joined([curator.honest, curator.victim])
    curator.publish(both, curator.batch(curator.honest, HONEST), *victim)


def _dropped(curator: Curator, name: str) -> bool:
    curator.publish(curator.honest, curator.batch(curator.honest, HONEST))
    with curator.serving():
        alice = curator.device(name).device
    before = alice.epoch
    rest = curator.honest.part(1, FILLERS)
    if before + 1 != curator.epoch:
        raise AttackError("a device did not take an epoch that is endorsed")
    curator.publish(rest, curator.batch(rest, HONEST))
    with curator.serving(), suppress(BlindmatchError):
        alice.refresh()
    return alice.epoch > before


FORMS: Final[dict[str, Callable[[Curator], None]]] = {
    "by one organisation": _one,
    "by one with two keys": lambda held: _list(held, held.batch(held.victim, HELD)),
    "for another deployment": _elsewhere,
    "for epochs that are over": lambda held: _list(held, held.batch(held.victim, HONEST, last=1)),
    "slipped into the set": _list,
}
_MEANS: Final = Means(
    frozenset({Party.CURATOR, Party.MATCHER}),
    has="the curator's key, every set, and one of three organisations of which two are needed",
)


@attack(
    "unendorsed",
    _MEANS,
    Claim("With a policy a curator lists nothing alone"),
    budget="seven devices",
    weakness=replacing(
        (trusted, "verify_table", lambda *_: Passed()),
        (trusted, "verify_none_dropped", lambda *_: Passed()),
        (trusted, "verify_label", lambda *_: Passed()),
    ),
    needs=(needs.A_LIST, needs.LEARNT, needs.SERVED, needs.SMALL, needs.ANY_TOLD),
    exposes="that enough organisations endorsed an entry",
    left=Left.KEPT,
)
def unendorsed(arena: Arena) -> Figure:
    """Count the forms in which a device goes along."""
    cases = dict[str, tuple[int, int]]()
    with endorsed_curator(arena) as curator:
        for at, (name, forge) in enumerate(FORMS.items(), 1):
            forge(curator)
            cases[name] = (int(curator.has_match(f"alice-{at}")), 1)
            arena.progress(at, len(FORMS) + 1)
        cases["removed by nobody"] = (int(_dropped(curator, "alice")), 1)
        arena.progress(len(FORMS) + 1, len(FORMS) + 1)
    return counted("epochs taken", cases)


@attack(
    "swapped-entry",
    _MEANS,
    Claim("the match is none to everybody"),
    budget="seven devices",
    weakness=replacing((Adoption, "_confirm", lambda self, check, signed, found: found), OPENED),
    needs=(needs.A_LIST, needs.TOLD, needs.SERVED, needs.SMALL),
    exposes="that enough organisations endorsed an entry",
    left=Left.KEPT,
)
def swapped_entry(arena: Arena) -> Figure:
    """Count the swaps in which a device makes anything of the picture."""
    cases = dict[str, tuple[int, int]]()
    with endorsed_curator(arena) as curator:
        reserved = replace(
            curator.victim, ids=np.array([UNCONFIRMED_ID], np.uint64), salts=np.zeros((1, 16), np.uint8)
        )
        swaps: dict[str, tuple[EntryBatch, EntryBatch, dict[str, int]]] = {
            **{name: (curator.victim, one, {}) for name, one in _swaps(curator).items()},
            "id of a filter's match": (reserved, curator.victim, {}),
        }
        if "filter" in {one.name for one in arena.design.info.parameters}:
            swaps["a filter"] = (curator.victim, curator.victim, {"filter": 1})
        for at, (name, (listed, endorsed, values)) in enumerate(arena.each(swaps.items()), 1):
            batches = (curator.batch(curator.honest, HONEST), curator.batch(endorsed, HONEST))
            curator.publish(joined([curator.honest, listed]), *batches, **values)
            cases[name] = (int(_told(curator, f"alice-{at}")), 1)
    return counted("matches told", cases)


def _told(curator: Curator, name: str) -> bool:
    """Is a new device's user told anything of the picture, or the centre, or does the message not leave?"""
    with curator.serving():
        alice = curator.device(name).device
        if not alice.epoch:
            return False
        sent = alice.send_picture(BOB, drawn(VICTIM))
    return (sent.outcome, sent.delivered) != (OutcomeKind.NO_MATCH, True)


def _swaps(curator: Curator) -> dict[str, EntryBatch]:
    victim = curator.victim
    rng = curator.arena.rng("swapped")
    hashes, salts = (np.frombuffer(rng.take(n), np.uint8).reshape(1, n) for n in (32, 16))
    return {
        "hash": replace(victim, hashes=hashes),
        "id": replace(victim, ids=victim.ids + np.uint64(1)),
        "salt": replace(victim, salts=salts),
        "second label": replace(victim, ids=victim.ids + np.uint64(1), salts=salts),
    }
