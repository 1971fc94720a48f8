"""Cheats of the device: what it draws, when it asks, what it checks, remembers, and takes for an answer."""

from __future__ import annotations

import secrets
from hashlib import sha256, sha512
from typing import Any, Final

import numpy as np
from blindmatch_client.messages import sending
from blindmatch_protocol import contract as bm
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.codec.randomness import Randomness, replayed, seeded
from blindmatch_protocol.crypto.oprf import Blinding, Evaluation, Mode, finalize, generate_key_pair
from blindmatch_protocol.designs import token_psi
from blindmatch_protocol.designs.deltas import Recipe
from blindmatch_protocol.designs.oprf_psi import Reply, Request
from blindmatch_protocol.designs.oprf_psi.design import find_label
from blindmatch_protocol.designs.token_psi import Tokening
from blindmatch_protocol.designs.token_psi.build import evaluated_rows, keys_of
from blindmatch_protocol.designs.token_psi.shares import token_keys
from blindmatch_protocol.designs.voprf import MATCHER, Waiting
from blindmatch_protocol.group import hash_to_group
from blindmatch_protocol.sets import labels
from blindmatch_simulations.evaluation.attacks.adversary import replacing
from blindmatch_simulations.evaluation.attacks.served_sets import lone_hit, relisting
from msgspec import Struct
from msgspec.structs import replace

from planted.mutations.hooks import About, Again, Psi, SmallTokens, planted, poor, variant

FILLER: Final = 32
UNIFORM: Final = 64
HINTS: Final = "hints.bin"
HINT_BYTES: Final = 8

planted("a fixed blind", "games")(variant(Psi, drawn=lambda *_: seeded("always")))
planted("randomness that no tape has", "tape")(variant(Psi, drawn=lambda *_: seeded(secrets.token_hex(8))))
planted("the same cover for every poor picture", "games")(
    variant(Psi, drawn=lambda _, about, rng: seeded("cover") if poor(about) else rng)
)
planted("a blind of 16 bits", "draws", "start")(
    variant(
        Psi,
        drawn=lambda _, about, rng: replayed(rng.take(FILLER + UNIFORM)[: FILLER + 2] + bytes(UNIFORM - 2)),
    )
)
planted("listed pictures are missed", "outcomes")(
    variant(Psi, ended=lambda _, end, session: bm.NoMatch() if (session.own_hash or b"\0")[0] & 1 else end)
)
planted("one entry of 32 is never found", "entries")(
    variant(
        Psi, ended=lambda _, end, session: bm.NoMatch() if (session.own_hash or b"\1")[-1] % 32 == 0 else end
    )
)
planted(
    "a device that sends what it is to refuse",
    "hand-over",
    "hand-over: match",
    planted=replacing((sending, "_has_consequence", lambda *_: False)),
)(Psi)
planted(
    "keys that are the same in every layer",
    "list games",
    "lone hit back",
    planted=relisting.weakness,
)(Psi)
planted("cells that nothing fills", "list games", "updates of one entry", planted=lone_hit.weakness)(
    SmallTokens
)

SkippedCover = planted("no cover for poor pictures", "games")(
    variant(Psi, asks=lambda _, about: not poor(about))
)


@planted("a blind derived from the hash", "games")
class HashDerivedBlind(Psi):
    def drawn(self, about: About, rng: Randomness) -> Randomness:
        rng.take(FILLER + UNIFORM)
        return seeded(about.item.hash.hex())


@planted("a blind below a bound", "draws", "start")
class SmallBlind(Psi):
    """It is below 2^64, and every drawn byte has a part of it."""

    def drawn(self, about: About, rng: Randomness) -> Randomness:
        drawn = rng.take(FILLER + UNIFORM)
        return replayed(drawn[:FILLER] + sha512(drawn).digest()[:8] + bytes(UNIFORM - 8))


@planted("an extra round on a match", "games")
class ExtraRound(Psi):
    def received(self, step: Any, session: Any, setup: Any, replies: Any, rng: Randomness) -> Any:
        end = bm.concluded(self, step, setup)
        if isinstance(end, bm.Done) and isinstance(end.outcome, bm.Match):
            return bm.Send(Again(end), {MATCHER: self.again(session, setup, rng)})
        return end

    def again(self, session: Waiting, setup: Any, rng: Randomness) -> bm.Message:
        """The second request, by default of fresh elements."""
        uniform = np.frombuffer(rng.take(UNIFORM), np.uint8).reshape(1, UNIFORM)
        return Request(setup.epoch, hash_to_group(uniform))


@planted("a retry on a match alone", "games")
class RetryOnMatch(ExtraRound):
    def again(self, session: Waiting, setup: Any, rng: Randomness) -> bm.Message:
        return Request(setup.epoch, session.blinding.blinded)


@planted("the number of requests tells", "games")
class CountTells(Psi):
    def received(self, step: Any, session: Any, setup: Any, replies: Any, rng: Randomness) -> Any:
        if session.own_hash is None and isinstance(step, bm.Ready):
            return bm.Send(Again(step), {MATCHER: Request(setup.epoch, session.blinding.blinded)})
        return step


@planted("the order of rows tells", "games")
class RowOrder(Psi):
    """Rows in ascending order, except for a picture that is too poor."""

    info = replace(
        Psi.info,
        parameters=(bm.Parameter("evaluations", "Rows.", "elements", 4, 4, 8), *Psi.info.parameters[1:]),
    )

    def sent(self, about: About, step: bm.Send[Any], rng: Randomness) -> bm.Send[Any]:
        if poor(about):
            return step
        held: Blinding = step.session.blinding
        order = sorted(range(len(held)), key=lambda at: held.blinded[at].tobytes())
        inputs = tuple(held.inputs[at] for at in order)
        blinding = Blinding(held.mode, inputs, held.blinds[order], held.blinded[order])
        moved = _Moved(blinding, step.session.own_hash, order.index(0))
        return bm.Send(moved, {MATCHER: Request(about.setup.epoch, blinding.blinded)})

    def receive(self, session: Any, setup: Any, replies: Any, rng: Randomness) -> bm.Step[Any]:
        if not isinstance(session, _Moved):
            return super().receive(session, setup, replies, rng)
        output = _outputs(session, setup, replies[MATCHER])[session.own : session.own + 1]
        return _found(setup, output, session.own_hash)


class _Moved(Struct, frozen=True, eq=False):
    blinding: Blinding
    own_hash: bytes | None
    own: int


def _outputs(session: Any, setup: Any, reply: Any) -> Any:
    evaluation = Evaluation(reply.evaluated, reply.proof)
    return finalize(session.blinding, evaluation, setup.public_key)


def _found(setup: Any, output: Any, own_hash: bytes | None) -> bm.Done:
    label = find_label(setup, output, own_hash)
    return bm.Done(bm.NoMatch() if label is None else bm.Match(label))


@planted("a proof that is not checked", "other key")
class ProofNotChecked(Psi):
    def receive(self, session: Any, setup: Any, replies: Any, rng: Randomness) -> bm.Step[Any]:
        held: Blinding = session.blinding
        plain = Blinding(Mode.OPRF, held.inputs, held.blinds, held.blinded)
        outputs = finalize(plain, Evaluation(replies[MATCHER].evaluated))
        return _found(setup, outputs[:1], session.own_hash)


@planted("a proof that is checked for some pictures", "malicious games")
class ProofCheckedForSome(Psi):
    """Ends quietly if the reply is wrong, but only for a picture that is too poor."""

    def receive(self, session: Any, setup: Any, replies: Any, rng: Randomness) -> bm.Step[Any]:
        try:
            return super().receive(session, setup, replies, rng)
        except ProtocolError:
            if session.own_hash is None:
                return bm.Done(bm.NoMatch())
            raise


@planted("a wrong reply crashes the device", "hostile replies")
class CrashOnBadReply(Psi):
    def receive(self, session: Any, setup: Any, replies: Any, rng: Randomness) -> bm.Step[Any]:
        try:
            return super().receive(session, setup, replies, rng)
        except ProtocolError as error:
            raise ValueError("cannot be") from error


@planted("pictures on no list are reported", "entries")
class ReportsOthers(Psi):
    """Makes a match, with a label of its own making, of one picture of 16 that is on no list."""

    def ended(self, outcome: bm.Outcome, session: Any) -> bm.Outcome:
        own = session.own_hash
        made_up = own and own[-1] % 16 == 0 and outcome == bm.NoMatch()
        return bm.Match(bm.Label(own, 1, bytes(16))) if made_up else outcome


class Hinted:
    """A set-up, and digests of the store keys that are in it."""

    def __init__(self, setup: Any, hints: frozenset[bytes]) -> None:
        self.setup = setup
        self.hints = hints

    def __getattr__(self, name: str) -> Any:
        return getattr(self.setup, name)


@planted("a device sees which of its tokens are anybody's", "list games", "a lone band")
class HitsVisible(SmallTokens):
    def publish(
        self,
        entries: Any,
        parameters: Any,
        rng: Randomness,
        executor: Any,
        out: Any,
        progress: Any = bm.no_progress,
    ) -> bm.Published:
        drawn = rng.take(UNIFORM)
        made = super().publish(entries, parameters, replayed(drawn), executor, out, progress)
        names = ("k", "bands", "probes", "needed")
        tokening = Tokening(**{name: parameters.value(self.info, name) for name in names})
        key = generate_key_pair(Mode.VOPRF, replayed(drawn))
        for batch in entries.batches(len(entries)):
            rows = evaluated_rows(key, batch, tokening, Recipe(parameters.epoch))
            store_keys = keys_of(rows, tokening.bands).store_keys
            out.create(HINTS).write(b"".join(sorted(map(_hint, store_keys))))
        return bm.Published((*made.setup, HINTS), made.roles)

    def open_setup(self, files_: Any, epoch: int | None = None) -> Any:
        raw = bytes(files_.get(HINTS, b""))
        cut = frozenset(raw[at : at + HINT_BYTES] for at in range(0, len(raw), HINT_BYTES))
        return Hinted(super().open_setup(files_, epoch), cut)

    def hit_bands(self, session: Any, setup: Any, reply: Any) -> int:
        """In how many bands a token that was asked for is somebody's."""
        keys = token_keys(_outputs(session, setup, reply), setup.layers[0].epoch)
        found = [_hint(key) in setup.hints for key in keys.store_keys]
        return int(np.array(found).reshape(-1, setup.tokening.bands).any(axis=0).sum())


def _hint(key: Any) -> bytes:
    return sha256(key.tobytes()).digest()[:HINT_BYTES]


@planted("another request on a lone hit", "games", "a lone band hit")
class SecondLook(HitsVisible):
    """Asks again, for fresh elements, if one band hit and the other did not."""

    def received(self, step: Any, session: Any, setup: Any, replies: Any, rng: Randomness) -> Any:
        if not isinstance(step, bm.Ready) or self.hit_bands(session, setup, replies[MATCHER]) != 1:
            return step
        uniform = np.frombuffer(rng.take(UNIFORM * setup.tokening.tokens), np.uint8).reshape(-1, UNIFORM)
        return bm.Send(Again(step), {MATCHER: token_psi.Request(setup.epoch, hash_to_group(uniform))})


@planted("a label that does not open holds the message", "games", "does not open")
class FailedLabelTells(Psi):
    """Takes it for a fault of the matcher."""

    def received(self, step: Any, session: Any, setup: Any, replies: Any, rng: Randomness) -> Any:
        end = bm.concluded(self, step, setup)
        if session.own_hash is not None and end == bm.Done(bm.NoMatch()):
            layer = setup.layers[0]
            output = _outputs(session, setup, replies[MATCHER])[:1]
            if int(layer.numbers(labels.places(output, layer.file.identity.epoch))[0]) < layer.entries:
                raise ProtocolError(Reply.NAME, "a label does not open")
        return end
