"""prefix-bucket: oprf-psi whose device does not hold the set, but fetches where a picture's hash can be.

docs/designs/prefix-bucket.md draws it. A prefix of the OPRF's *output* is never sent: the entry's whole
output would follow from a few of them.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, Final

import numpy as np
from msgspec.structs import replace

from blindmatch_protocol import contract as bm
from blindmatch_protocol.crypto.oprf import SecretKey
from blindmatch_protocol.designs import voprf
from blindmatch_protocol.designs.deltas import SET_FILE, SIGNATURES, Recipe
from blindmatch_protocol.designs.facts import EVERY_GUESS, SET_SIZE, any_hash
from blindmatch_protocol.designs.oprf_psi import Reply, Request
from blindmatch_protocol.designs.oprf_psi.design import INPUT_TAG, list_build
from blindmatch_protocol.designs.prefix_bucket.files import (
    BITS,
    BUCKETS_FILE,
    Bucket,
    Digests,
    Fetch,
    Setup,
    bucket_of,
    open_buckets,
    records_met,
    write_buckets,
)
from blindmatch_protocol.designs.voprf.files import ListBuild
from blindmatch_protocol.designs.voprf.round import CertifiedReply, CertifyRequest
from blindmatch_protocol.setfile import Identity, SetFile
from blindmatch_protocol.sets import labels

BUCKETS: Final = bm.Role("buckets")


class Fetching(voprf.Waiting, frozen=True, eq=False):
    """A session whose requests are out."""

    bucket: int


class Fetched(voprf.Verified, frozen=True, eq=False):
    """A session whose replies were verified."""

    content: bytes


PREFIX_BITS: Final = bm.Fact(
    "prefix_bits", "how many bits a prefix has", bm.Severity.HASH, lambda item, setup: setup.bits
)
PREFIX: Final = bm.Fact(
    "prefix",
    "the first bits of SHA-256 of the hash, as many as the set says: whether a picture may be one that it "
    "knows; with 10 of them, so may a thousandth of all others",
    bm.Severity.HASH,
    lambda item, setup: bucket_of(item.hash, setup.bits),
    frozenset({bm.Shows.HASH}),
    bm.Topic.SEARCH,
    "guesses which known picture was sent",
    "nobody",
)


class PrefixBucket(voprf.VoprfDesign[Setup]):
    info: ClassVar[bm.Info] = bm.Info(
        name="prefix-bucket",
        evaluation=bm.Evaluation.OPRF,
        version=1,
        option="1c",
        summary="The device tells a few bits of SHA-256 of the hash and gets that part of the set; a "
        "verifiable OPRF tells it, and only it, whether the very hash is there.",
        relation=bm.Equal(),
        learns=frozenset({bm.Learner.DEVICE}),
        roles={voprf.MATCHER: bm.Party.MATCHER, BUCKETS: bm.Party.MATCHER},
        tie=bm.Tie.KEY,
        parameters=(BITS, SIGNATURES),
    )
    requests: ClassVar[Mapping[bm.Role, tuple[type[bm.Message], ...]]] = {
        voprf.MATCHER: (Request, CertifyRequest),
        BUCKETS: (Fetch,),
    }
    replies: ClassVar[Mapping[bm.Role, tuple[type[bm.Message], ...]]] = {
        voprf.MATCHER: (Reply, CertifiedReply),
        BUCKETS: (Bucket,),
    }
    round: ClassVar[voprf.VoprfRound] = voprf.VoprfRound(Request, Reply)

    of_key: ClassVar[bm.Fact] = EVERY_GUESS
    key_tells: ClassVar[bm.ListKnowledge] = bm.ListKnowledge.TESTABLE
    requests_tell: ClassVar[tuple[bm.Fact, ...]] = (PREFIX_BITS, PREFIX)
    set_tells: ClassVar[tuple[bm.Fact, ...]] = (SET_SIZE,)
    asking_tells: ClassVar[tuple[bm.Fact, ...]] = (any_hash(0),)

    def settle(self, values: Mapping[str, int]) -> tuple[int, voprf.Limits | None]:
        for one in self.info.parameters:
            if not one.least <= values.get(one.name, -1) <= one.most:
                raise bm.DesignError(f"parameter {one.name}: must be there, and {one.least} to {one.most}")
        return 1, None

    def building(self, key: SecretKey, values: Mapping[str, int], recipe: Recipe) -> ListBuild:
        identity = Identity(self.info.name, self.info.version, recipe.epoch, values)
        return replace(list_build(key, recipe, False), write=partial(write_buckets, key, identity))

    def opened(self, files: Sequence[tuple[str, SetFile]], keys: voprf.PublicKeys) -> Setup:
        (name, file), *deltas = files
        if deltas:
            raise bm.SetFileError(f"{deltas[0][0]}: a set of buckets has no deltas")
        return Setup(file.identity.epoch, keys, (Digests(name, file, np.zeros(0, np.uint64)),), 1)

    def update(self, *changes: Any, **more: Any) -> bm.Published:
        """A set can only be published whole: all that devices hold of it are the digests of its buckets."""
        raise bm.DesignError(f"design {self.info.name} cannot be updated: publish a whole set")

    def present(self, *changes: Any) -> Iterator[tuple[int, bm.Label]]:
        """There are no updates."""
        return iter(())

    def files_of(self, names: tuple[str, ...]) -> bm.Published:
        made = super().files_of(names)
        return bm.Published(made.setup, {**made.roles, BUCKETS: (BUCKETS_FILE,)})

    def open_role(self, role: bm.Role, files: bm.Buffers) -> Any:
        """The buckets, like a key, must be those of the set file, if that is there."""
        if role != BUCKETS:
            return super().open_role(role, files)
        if BUCKETS_FILE not in files:
            raise bm.SetFileError(f"{BUCKETS_FILE} is missing")
        file = SetFile(files[BUCKETS_FILE], BUCKETS_FILE, self.info.name, self.info.version)
        file.verify()
        self.settled(BUCKETS_FILE, file)
        epoch = file.identity.epoch
        return open_buckets(file, self.open_setup(files, epoch) if SET_FILE in files else None)

    def key_limits(self, role: bm.Role, state: Any) -> bm.KeyLimits | None:
        return None

    def inputs(self, setup: Setup, item: bm.Item, cover: bool, rng: bm.Randomness) -> list[bytes]:
        """Takes 32 bytes of `rng`."""
        drawn = rng.take(32)
        return [INPUT_TAG + (drawn if cover else item.hash)]

    def start(
        self, state: bm.NoState, setup: Setup, item: bm.Item, binding: bm.Binding, rng: bm.Randomness
    ) -> bm.Started[bm.NoState, voprf.Waiting]:
        """The bucket is that of the hash, whatever its quality: one drawn anew would be another when a
        picture is asked about again, which whoever refuses to answer can bring about."""
        step = super().start(state, setup, item, binding, rng).step
        assert isinstance(step, bm.Send)
        number = bucket_of(item.hash, setup.bits)
        fetching = Fetching(step.session.blinding, step.session.own_hash, step.session.certify, number)
        return bm.Started(state, bm.Send(fetching, {**step.bodies, BUCKETS: Fetch(setup.epoch, number)}))

    def receive(
        self, session: Any, setup: Setup, replies: Mapping[bm.Role, bm.Message], rng: bm.Randomness
    ) -> bm.Step[voprf.Waiting]:
        content = setup.checked(replies[BUCKETS], session.bucket)
        step = super().receive(session, setup, {voprf.MATCHER: replies[voprf.MATCHER]}, rng)
        assert isinstance(step, bm.Ready)
        return bm.Ready(Fetched(step.session.outputs, step.session.own_hash, content))

    def found(self, setup: Setup, session: Any) -> bm.Label | None:
        key = labels.label_keys(session.outputs, setup.epoch).tobytes()
        met = records_met(session.content, setup.width, session.outputs, setup.epoch)
        opened = (labels.unseal(key, record, setup.epoch) for record in met)
        return next((one for one in opened if one is not None and one.entry_hash == session.own_hash), None)

    def worked_out(self, session: Fetched, setup: Setup) -> bm.WorkedOut:
        met = records_met(session.content, setup.width, session.outputs, setup.epoch)
        keys = labels.places(session.outputs, setup.epoch).store_keys
        return bm.WorkedOut((session.outputs, keys), (), met=(len(met),))

    def answer(
        self,
        role: bm.Role,
        state: Any,
        requests: Sequence[bm.Request],
        rng: bm.Randomness,
        executor: bm.Executor | None,
    ) -> bm.Answer:
        if role != BUCKETS:
            return super().answer(role, state, requests, rng, executor)
        return bm.Answer([bm.tried(state.handed, request.body) for request in requests])

    def simulate(
        self, role: bm.Role, facts: Mapping[str, Hashable], output: bm.Outcome | None, rng: bm.Randomness
    ) -> tuple[bm.Message, ...] | None:
        """The views of both roles, perfectly."""
        if role != BUCKETS:
            return super().simulate(role, facts, output, rng)
        epoch = facts["epoch"]
        prefix = facts["prefix"]
        assert isinstance(epoch, int) and isinstance(prefix, int)
        return (Fetch(epoch, prefix),)


DESIGN = PrefixBucket()
