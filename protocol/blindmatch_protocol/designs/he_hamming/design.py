"""he-hamming: the device learns whether its picture is near one on the list; the matcher computes all
distances under the device's homomorphic encryption, and learns nothing of the picture.

docs/designs/he-hamming.md draws it. No proof comes with a reply.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt
from msgspec import Struct
from msgspec.structs import replace

from blindmatch_protocol import contract as bm
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.designs import facts
from blindmatch_protocol.designs.deltas import SET_FILE, check_files
from blindmatch_protocol.designs.he_hamming import files, packing
from blindmatch_protocol.designs.he_hamming.circuit import THRESHOLD, WEIGHT, Evaluation, indicator
from blindmatch_protocol.designs.he_hamming.files import MatcherState, Setup
from blindmatch_protocol.designs.he_hamming.packing import DATA
from blindmatch_protocol.designs.he_hamming.seal import PLAIN_MODULUS, primes
from blindmatch_protocol.picture.pdq import MATCH_DISTANCE, distance
from blindmatch_protocol.sets.plain_list import identity_of

MATCHER: Final = bm.Role("matcher")
LIST_KNOWN: Final = {bm.Party.DEVICE: bm.ListKnowledge.SIZE, bm.Party.MATCHER: bm.ListKnowledge.HASHES}
NEAR_ENTRIES: Final = bm.Fact(
    "near_entries",
    f"hash, id and salt of every entry within {MATCH_DISTANCE} bits of its picture, not of the nearest alone",
    bm.Severity.LIST,
    lambda item, _: item.hash,
    topic=bm.Topic.LIST,
)
OWN_KEYS: Final = bm.Fact(
    "own_keys",
    "with keys of its own making the whole list: as many entries a request as the ring has slots, 16,384",
    bm.Severity.LIST,
    lambda item, setup: setup.entries,
    topic=bm.Topic.LIST,
    abuse="reads the list by keys of its own, up to 16,384 entries a request",
    noticed_by="nobody",
)
EARLIER_PICTURES: Final = bm.Fact(
    "earlier_pictures",
    "of any earlier picture of the account in the epoch, listed or not, whether it is near a hash of their "
    "choice: one such test with each later picture that is listed, by whether its report comes",
    bm.Severity.HASH,
    lambda item, _: item.hash,
    topic=bm.Topic.SEARCH,
    abuse="tests an earlier picture, by each later report",
    noticed_by="nobody",
)
MOST_HITS: Final = 64
"""Slots of a reply that are looked at: a picture is near some entries, not thousands."""
_READY: Final = bm.Parameter(
    files.READY,
    "Batches of 16,384 entries whose encodings the matcher keeps: 235 MB each, for every worker; others are "
    "encoded for every picture, 0.8 s more.",
    "batches",
    1,
    0,
    files.MOST_BATCHES,
)
_INVERSES: Final = tuple(pow(indicator(v), -1, PLAIN_MODULUS) for v in range(THRESHOLD, WEIGHT + 1))


class Waiting(Redacted, Struct, frozen=True, eq=False):
    """A session whose query is out: the account's secret key, and the own hash; None for a cover query."""

    secret: bytes
    own_hash: bytes | None


class Received(Waiting, frozen=True, eq=False):
    """A session whose reply has come: eight ciphertexts, (16, 1, degree)."""

    polynomials: packing.Polynomials


class HeHamming(bm.Design[Setup, packing.Secret, Waiting, MatcherState]):
    info: ClassVar[bm.Info] = bm.Info(
        name="he-hamming",
        evaluation=bm.Evaluation.HOMOMORPHIC,
        version=1,
        option="3a",
        summary="The matcher computes all Hamming distances under the device's homomorphic encryption; the "
        "device, and only it, learns whether a near duplicate is listed.",
        relation=bm.Near(MATCH_DISTANCE),
        learns=frozenset({bm.Learner.DEVICE}),
        roles={MATCHER: bm.Party.MATCHER},
        large_bodies=True,
        in_processes=frozenset({MATCHER}),
        native_randomness=packing.NATIVE,
        parameters=(_READY,),
        entries_a_step=packing.FULL.degree,
    )
    requests: ClassVar[Mapping[bm.Role, tuple[type[bm.Message], ...]]] = {MATCHER: (packing.Query,)}
    replies: ClassVar[Mapping[bm.Role, tuple[type[bm.Message], ...]]] = {MATCHER: (packing.Reply,)}
    enrolments: ClassVar[Mapping[bm.Role, tuple[type[bm.Message], ...]]] = {MATCHER: (packing.Keys,)}
    device_state: ClassVar[type[bm.Message]] = packing.Secret
    sizes: ClassVar[packing.Sizes] = packing.FULL

    def leakage(self) -> tuple[bm.Leak, ...]:
        """Nothing proves what a reply was computed from, so a malicious matcher withholds what matches it
        likes; with whoever sees reports it learns by that which there was, and what earlier queries held."""
        matcher = frozenset({bm.Party.MATCHER})
        device = frozenset({bm.Party.DEVICE})
        seen = (facts.EPOCH, facts.QUERY_TIME, facts.ENROLMENT)
        held = (facts.SET_SIZE, NEAR_ENTRIES)
        cheating = (*seen, facts.UNVERIFIED_REPLY)
        told = {bm.Party.CENTRE: (), bm.Party.PROVIDER: (facts.CHOSEN_MATCHES,)}
        return (
            bm.Leak(matcher, bm.Adversary.SEMI_HONEST, seen),
            bm.Leak(matcher, bm.Adversary.MALICIOUS, cheating),
            *(
                bm.Leak(matcher | {party}, bm.Adversary.MALICIOUS, (*cheating, *more, EARLIER_PICTURES))
                for party, more in told.items()
            ),
            bm.Leak(device, bm.Adversary.SEMI_HONEST, held),
            bm.Leak(device, bm.Adversary.MALICIOUS, (*held, facts.any_hash(MATCH_DISTANCE), OWN_KEYS)),
        )

    def list_knowledge(self, parties: frozenset[bm.Party]) -> bm.ListKnowledge:
        return bm.ListKnowledge.joined(parties, LIST_KNOWN)

    def extraction(self, setup: Setup) -> bm.Extraction:
        """At most: a slot of a reply holds one label key, and keys of a device's own making read it."""
        read = setup.ring.degree / max(1, setup.entries)
        return bm.Extraction("requests", lambda requests: min(1.0, requests * read))

    def worked_out(self, session: Received, setup: Setup) -> bm.WorkedOut:
        """What the slots of a reply hold."""
        slots = setup.ring.decrypt(session.secret, session.polynomials).astype(np.uint64)
        return bm.WorkedOut((), (np.ascontiguousarray(slots.T),), met=(int(slots.any(axis=0).sum()),))

    def reduced(self) -> bm.AnyDesign | None:
        return SMALL

    def publish(
        self,
        entries: bm.EntrySource,
        parameters: bm.SetParameters,
        rng: bm.Randomness,
        executor: bm.Executor | None,
        out: bm.Workspace,
        progress: bm.Progress = bm.no_progress,
    ) -> bm.Published:
        """`files.write` says what it takes of `rng`."""
        files.write(entries, identity_of(self.info, parameters), self.sizes.degree, rng, out, progress)
        return bm.Published((SET_FILE,), {MATCHER: (files.MATCHER_FILE,)})

    def open_setup(self, files_: bm.Buffers, epoch: int | None = None) -> Setup:
        return files.open_setup(self.info, files_, self.sizes, epoch)

    def check_setup(self, setup: Setup, progress: bm.Progress = bm.no_progress) -> None:
        """See `Design.check_setup`; records of other lengths were refused when it was opened."""
        check_files([setup.file], progress)

    def stated(self, setup: Setup) -> bm.Stated:
        return bm.Stated(setup.file.identity.parameters)

    def open_role(self, role: bm.Role, files_: bm.Buffers) -> MatcherState:
        return files.open_matcher(self.info, files_, self.sizes)

    def enrol(self, rng: bm.Randomness) -> packing.Secret:
        """An account that has no keys yet."""
        return packing.Secret(b"")

    def enrolment_key(self, setup: Setup) -> bytes:
        """New keys each epoch: a query that was recorded before is of no use in a later reply."""
        return setup.epoch.to_bytes(8, "big")

    def enrolment(
        self, state: packing.Secret, setup: Setup, rng: bm.Randomness
    ) -> bm.Enrolment[packing.Secret]:
        """SEAL draws the keys itself: from a seed the secret one could be read."""
        secret, seeds, rows = setup.ring.new_keys()
        return bm.Enrolment(packing.Secret(secret), {MATCHER: packing.Keys(seeds, rows)})

    def start(
        self, state: packing.Secret, setup: Setup, item: bm.Item, binding: bm.Binding, rng: bm.Randomness
    ) -> bm.Started[packing.Secret, Waiting]:
        """Takes 1,088 bytes of `rng`, whatever the item is."""
        cover = np.argsort(np.frombuffer(rng.take(4 * packing.BITS), np.uint32), kind="stable") < WEIGHT
        own_hash = item.hash if item.quality >= self.info.relation.minimum_quality else None
        # a poor picture is balanced, too, so that the time it takes does not tell
        vector = (balanced(item), cover.astype(np.uint8))[own_hash is None]
        seed, rows = setup.ring.encrypt(state.coefficients, vector, rng)
        body = packing.Query(setup.epoch, seed, rows)
        return bm.Started(state, bm.Send(Waiting(state.coefficients, own_hash), {MATCHER: body}))

    def receive(
        self, session: Waiting, setup: Setup, replies: Mapping[bm.Role, bm.Message], rng: bm.Randomness
    ) -> bm.Step[Waiting]:
        """Looks at the form of the reply alone."""
        reply = replies[MATCHER]
        if not isinstance(reply, packing.Reply):
            raise bm.ProtocolError(packing.Reply.NAME, f"the device does not take {reply!r}")
        _check(reply, setup.epoch, setup.ring.degree)
        polynomials = packing.unpacked(reply.rows, 1, packing.Reply.NAME, "rows")
        return bm.Ready(Received(session.secret, session.own_hash, polynomials))

    def conclude(self, session: Received, setup: Setup) -> bm.Outcome:
        slots = setup.ring.decrypt(session.secret, session.polynomials)
        labels = list(_opened(setup, slots))
        own = session.own_hash
        apart = [packing.BITS if own is None else distance(own, label.entry_hash) for label in labels]
        if min(apart, default=packing.BITS) > MATCH_DISTANCE:
            return bm.NoMatch()
        return bm.Match(labels[apart.index(min(apart))])

    def answer(
        self,
        role: bm.Role,
        state: MatcherState,
        requests: Sequence[bm.Request],
        rng: bm.Randomness,
        executor: bm.Executor | None,
    ) -> bm.Answer:
        """Takes the same of `rng` for every body that is not refused."""
        return bm.Answer([bm.tried(self._reply, state, request, rng) for request in requests])

    def simulate(
        self, role: bm.Role, facts: Mapping[str, Hashable], output: bm.Outcome | None, rng: bm.Randomness
    ) -> tuple[bm.Message, ...] | None:
        """The matcher's view: uniform numbers, as far as learning with errors in the ring is hard."""
        epoch = facts["epoch"]
        degree = self.sizes.degree
        assert isinstance(epoch, int)
        drawn = np.frombuffer(rng.take(16 * DATA * degree), "<u8").reshape(1, DATA, degree, 2)
        bounds = np.array(primes(degree)[:DATA], np.uint64)[:, None]
        return (packing.Query(epoch, rng.take(packing.SEED_BYTES), packing.packed(drawn[..., 0] % bounds)),)

    def _reply(self, state: MatcherState, request: bm.Request, rng: bm.Randomness) -> packing.Reply:
        query = request.body
        keys = request.enrolment
        ring = state.ring
        if not isinstance(query, packing.Query) or not isinstance(keys, packing.Keys):
            raise bm.ProtocolError(packing.Query.NAME, "needs an encrypted hash and the account's keys")
        _check(query, state.epoch, ring.degree)
        if len(keys.rows) != ring.degree:
            raise bm.ProtocolError(packing.Keys.NAME, f"must have {ring.degree} rows", "rows")
        x = ring.query(query.seed, query.rows)
        try:
            found = Evaluation(ring, keys.seeds, keys.rows, rng).reply(x, state.batches)
        except RuntimeError as error:
            raise bm.ProtocolError(packing.Query.NAME, "cannot be computed with") from error
        return packing.Reply(state.epoch, packing.packed(found.reshape(-1, 1, ring.degree)))


class SmallHeHamming(HeHamming):
    """The same in a ring that is fast and gives no security, under another name, which devices refuse."""

    info: ClassVar[bm.Info] = replace(
        HeHamming.info,
        name="he-hamming-insecure",
        summary="he-hamming in a ring without security, for checks that run thousands of sessions.",
        differs="insecure: a ring of degree 512",
    )
    sizes: ClassVar[packing.Sizes] = packing.Sizes(packing.LEAST_DEGREE, secure=False)

    def reduced(self) -> None:
        """None: this is the reduced design."""


def balanced(item: bm.Item) -> npt.NDArray[np.uint8]:
    """The hash as 256 numbers, of which 128 are one: surplus ones, or zeros, that lie nearest to the median
    are flipped. PDQ gives weight 128 unless coefficients are equal."""
    bits = np.unpackbits(np.frombuffer(item.hash, np.uint8))
    surplus = int(bits.sum()) - WEIGHT
    if surplus:
        candidates = (bits == (surplus > 0)).nonzero()[0]
        nearest = np.argsort(np.abs(item.coefficients[candidates]), kind="stable")[: abs(surplus)]
        bits[candidates[nearest]] ^= 1
    return bits


def _check(body: packing.Query | packing.Reply, epoch: int, degree: int) -> None:
    bm.check_epoch(body.epoch, epoch, body.NAME)
    if len(body.rows) != degree:
        raise bm.ProtocolError(body.NAME, f"must have {degree} rows", "rows")


def _opened(setup: Setup, slots: npt.NDArray[np.int64]) -> Iterator[bm.Label]:
    """Labels that keys in a reply's slots, (8, degree), open."""
    for slot in np.flatnonzero(slots.any(axis=0))[:MOST_HITS].tolist():
        chunks = np.outer(_INVERSES, slots[:, slot]) % PLAIN_MODULUS
        fitting = chunks[(chunks < 1 << 16).all(axis=1)].astype(">u2").view(np.uint8)
        for key in files.label_keys(fitting, setup.epoch):
            for batch in range(setup.batches):
                number = batch * setup.ring.degree + slot
                if (label := setup.labels.unseal(key.tobytes(), number)) is not None:
                    yield label


DESIGN: Final = HeHamming()
SMALL: Final = SmallHeHamming()
