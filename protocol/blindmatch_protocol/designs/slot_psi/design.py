"""slot-psi: the device learns whether its picture is near one on the list, through hidden slots and one
second question; no server learns anything of it. Research construction, not reviewed outside;
docs/designs/slot-psi.md.

    device                                    matcher, first key      party_a, party_b: a share of the second
                                                                      key each, the same records
        tokens, blinded     ----------------->
        verify; token --> slot  <-------------
        pair, blinded; selection of a slot, one for each party ------>
        verify both; check the record         <----------------------
    Ready: what the record opens waits for the hand-over
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import ClassVar, Final, TypeAlias

import numpy as np
from msgspec.structs import replace

from blindmatch_protocol import contract as bm
from blindmatch_protocol import group
from blindmatch_protocol.contract import publishing
from blindmatch_protocol.crypto.oprf import Evaluation, Mode, generate_key_pair
from blindmatch_protocol.designs.deltas import SET_FILE, check_files, open_named
from blindmatch_protocol.designs.facts import (
    EPOCH,
    EVERY_ENTRY,
    EVERY_GUESS,
    QUERY_COUNT,
    QUERY_TIME,
    SET_SIZE,
    leaks,
)
from blindmatch_protocol.designs.slot_psi import files as kept
from blindmatch_protocol.designs.slot_psi import leakage, session
from blindmatch_protocol.designs.slot_psi.build import build
from blindmatch_protocol.designs.slot_psi.files import DECLARED, MatcherHolder, OpenedSetup, PartyHolder
from blindmatch_protocol.designs.slot_psi.messages import (
    FIRST_ROUND,
    MOST_ANSWER,
    CertifiedPairReply,
    CertifyPairRequest,
    PairReply,
    PairRequest,
)
from blindmatch_protocol.designs.slot_psi.parameters import Slotting, check_odds
from blindmatch_protocol.designs.slot_psi.session import PARTIES, AskedRecord, AskedSlots, Fetched
from blindmatch_protocol.designs.slot_psi.table import positions
from blindmatch_protocol.designs.token_psi.tokens import band_bits, probe_tokens
from blindmatch_protocol.designs.voprf.files import key_file
from blindmatch_protocol.designs.voprf.layout import HALVES, MATCHER
from blindmatch_protocol.designs.voprf.round import CertifiedReply, CertifyRequest
from blindmatch_protocol.picture.pdq import MATCH_DISTANCE
from blindmatch_protocol.setfile import Identity, SetFile

Waiting: TypeAlias = AskedSlots | AskedRecord
Holder: TypeAlias = MatcherHolder | PartyHolder
PARTY_A, PARTY_B = PARTIES
BATCH: Final = 1 << 16
"""Entries read at once."""

RECALL: Final = 0.95
"""Of PDQ's pairs of any kind of picture: of playing cards, which have the least, 95.95 % are found in the
corpus, of photographs 98.12 % (docs/designs/slot-psi.md, figures)."""
SMALL_RECALL: Final = 0.88
"""The same of the sizes of `SMALL_SIZES`: 88.8 % of copies of playing cards."""

NEAR_ENTRIES: Final = bm.Fact(
    "near_entries",
    "hash, id and salt of entries, and of those that lost tokens to them, that agree with a picture it sends "
    "in two bands, be they within the distance or not; and which of an opened entry's pairs of bands open it",
    bm.Severity.LIST,
    lambda item, setup: item.hash,
    topic=bm.Topic.LIST,
)
GUESSED_PAIRS: Final = bm.Fact(
    "guessed_pair",
    "hash, id and salt of an entry whose tokens of two bands it guesses, one guess a picture: of a uniform "
    "list of 2^s entries or more m B 2^(s - 2k) after B pictures of each of m devices under one pair of "
    "keys; of real and of small lists far more; without a guess, by first questions alone, which hashes of "
    "those that it has are listed, a third as many a picture as it has tokens, and most bits of entries that "
    "resemble a picture it has; and whether an edit of a picture still matches",
    bm.Severity.LIST,
    lambda item, setup: item.hash,
    topic=bm.Topic.LIST,
    abuse="opens entries by asking",
    noticed_by="the servers, by key limits",
)
SLOT: Final = bm.Fact(
    "slot",
    "of each picture, together, the slot whose record it asked for: that of its entry if it is listed, for "
    "about one in seven others one that follows from the picture, else a random one; so whether it is a "
    "picture that they know, listed or not, with a chance of 2^-s to be wrong",
    bm.Severity.HASH,
    lambda item, setup: item.hash,
    frozenset({bm.Shows.HASH, bm.Shows.OUTCOME}),
    bm.Topic.SEARCH,
    "looks for known pictures",
    "nobody",
)


def extraction_of(slotting: Slotting) -> bm.Extraction:
    """Return what guessed pairs open, counted by the tokens of the first question, which limits are in: a
    picture asks for all its tokens and guesses one pair. Of a uniform list first questions alone open nothing
    (`leakage.unasked_odds`); what they open of real lists follows from `hidden`."""
    return bm.Extraction(
        "tokens",
        lambda tokens: leakage.list_opened(slotting, tokens / slotting.tokens),
        slotting.tokens,
        band_bits(slotting.k, slotting.bands),
        needed=2,
        hidden=slotting.slot_bits,
    )


class SlotPsi(bm.Design[OpenedSetup, bm.NoState, Waiting, Holder]):
    info: ClassVar[bm.Info] = bm.Info(
        name="slot-psi",
        evaluation=bm.Evaluation.OPRF,
        version=1,
        option="1b",
        summary="Two verifiable OPRFs and a private retrieval tell the device, and only it, whether a near "
        "duplicate is listed, by one guess a picture; research construction, not reviewed outside.",
        relation=bm.Near(MATCH_DISTANCE, recall=RECALL),
        learns=frozenset({bm.Learner.DEVICE}),
        roles={
            MATCHER: bm.Party.MATCHER,
            PARTY_A: bm.Party(PARTY_A),
            PARTY_B: bm.Party(PARTY_B),
        },
        apart=(frozenset({MATCHER, PARTY_A, PARTY_B}),),
        tie=bm.Tie.KEY,
        parameters=DECLARED,
    )
    requests: ClassVar[Mapping[bm.Role, tuple[type[bm.Message], ...]]] = {
        MATCHER: (FIRST_ROUND.request, CertifyRequest),
        **dict.fromkeys(PARTIES, (PairRequest, CertifyPairRequest)),
    }
    replies: ClassVar[Mapping[bm.Role, tuple[type[bm.Message], ...]]] = {
        MATCHER: (FIRST_ROUND.reply, CertifiedReply),
        **dict.fromkeys(PARTIES, (PairReply, CertifiedPairReply)),
    }

    def reduced(self) -> bm.AnyDesign | None:
        return SMALL

    def leakage(self) -> tuple[bm.Leak, ...]:
        """Return what each party learns. A malicious server learns no more of pictures than an honest one: a
        wrong reply fails its proof or the record's check, whatever the picture is, and one left out is
        seen."""
        matcher, a, b = (self.info.roles[role] for role in (MATCHER, *PARTIES))
        device = frozenset({bm.Party.DEVICE})
        alone = (EPOCH, QUERY_TIME)
        of_matcher = (EPOCH, QUERY_COUNT, QUERY_TIME, EVERY_GUESS)
        known = (SET_SIZE, NEAR_ENTRIES)
        return (
            *leaks({matcher}, *of_matcher),
            *leaks({a}, *alone),
            *leaks({b}, *alone),
            *leaks({a, b}, *alone, SLOT, EVERY_GUESS),
            *leaks({matcher, a, b}, *of_matcher, SLOT, EVERY_ENTRY),
            bm.Leak(device, bm.Adversary.SEMI_HONEST, known),
            bm.Leak(device, bm.Adversary.MALICIOUS, (*known, GUESSED_PAIRS)),
        )

    def list_knowledge(self, parties: frozenset[bm.Party]) -> bm.ListKnowledge:
        """With the first key the tokens of a guess read one slot, or not. With both shares of the second a
        guess is tried under each slot. With both keys every pair of tokens that agree on a slot is tried,
        about 2^(2k - s) of them for each pair of bands."""
        matcher, a, b = (self.info.roles[role] for role in (MATCHER, *PARTIES))
        has_second = {a, b} <= parties
        if matcher in parties:
            return bm.ListKnowledge.HASHES if has_second else bm.ListKnowledge.TESTABLE
        if has_second:
            return bm.ListKnowledge.TESTABLE
        some = parties & {a, b, bm.Party.DEVICE}
        return bm.ListKnowledge.SIZE if some else bm.ListKnowledge.NOTHING

    def extraction(self, setup: OpenedSetup) -> bm.Extraction:
        return extraction_of(setup.slotting)

    def parts(self, setup: OpenedSetup, item: bm.Item) -> bm.Parts:
        s = setup.slotting
        asked = probe_tokens(item.hash, item.coefficients, s.k, s.bands, s.probes)
        return bm.Parts(band_bits(s.k, s.bands), asked)

    def worked_out(self, session_: Fetched, setup: OpenedSetup) -> bm.WorkedOut:
        """Return, of the first question, keys and cells of the table, and the slots; of the second the
        output, and how many labels it opens."""
        s = setup.slotting
        keys, masks = positions(session_.first, setup.epoch, s.slot_bits)
        cells = setup.table.values(keys)
        labels = session.labels_of(setup, session_)
        return bm.WorkedOut(
            (session_.first, keys, session_.second),
            (cells.astype(np.uint64),),
            ((cells ^ masks).astype(np.uint64),),
            (len(labels),),
        )

    # The curator

    def publish(
        self,
        entries: bm.EntrySource,
        parameters: bm.SetParameters,
        rng: bm.Randomness,
        executor: bm.Executor | None,
        out: bm.Workspace,
        progress: bm.Progress = bm.no_progress,
    ) -> bm.Published:
        """Build a set and its role files. Takes 64 bytes of `rng` for each key, and 64 for the second one's
        shares."""
        values = {p.name: parameters.value(self.info, p.name) for p in self.info.parameters}
        slotting, _ = kept.of_values(values)
        check_odds(slotting, len(entries))
        if slotting.record_bytes(len(entries)) > MOST_ANSWER:
            raise bm.DesignError(f"slot_bits: a record would have over {MOST_ANSWER} bytes; choose more")
        first = generate_key_pair(Mode.VOPRF, rng)
        second = generate_key_pair(Mode.VOPRF, rng)
        shares = HALVES.split(second, rng)
        held = publishing.whole(entries, BATCH, progress)
        with group.using(group.LIBSODIUM):
            made = build(held, first, second, slotting, parameters.epoch)
        identity = Identity(self.info.name, self.info.version, parameters.epoch, values)
        kept.write_files(made, identity, first, second, shares, out)
        roles = {role: (key_file(role), kept.RECORDS_FILE) for role in PARTIES}
        return bm.Published((SET_FILE,), {MATCHER: (key_file(MATCHER),), **roles})

    # Opening files

    def open_setup(self, files: bm.Buffers, epoch: int | None = None) -> OpenedSetup:
        return kept.open_set(open_named(files, SET_FILE, self.info.name, self.info.version, epoch))

    def check_setup(self, setup: OpenedSetup, progress: bm.Progress = bm.no_progress) -> None:
        check_files([setup.file], progress)
        kept.check_set(setup)

    def stated(self, setup: OpenedSetup) -> bm.Stated:
        shares = {role: key.element for role, key in setup.second.shares.items()}
        keys = {MATCHER: setup.first.element, **shares}
        return bm.Stated(setup.file.identity.parameters, keys, setup.entries)

    def open_role(self, role: bm.Role, files: bm.Buffers) -> Holder:
        self._check_role(role)
        file = self._open_verified(files, key_file(role))
        setup = self.open_setup(files, file.identity.epoch) if SET_FILE in files else None
        if role == MATCHER:
            return kept.open_matcher(file, setup)
        content = self._open_verified(files, kept.RECORDS_FILE)
        return kept.open_party(role, file, content, setup)

    def _open_verified(self, files: bm.Buffers, name: str) -> SetFile:
        file = open_named(files, name, self.info.name, self.info.version)
        file.verify()
        return file

    def expires(self, setup: OpenedSetup) -> int | None:
        return setup.limited.key_expires or None

    def key_limits(self, role: bm.Role, state: Holder) -> bm.KeyLimits | None:
        self._check_role(role)
        if isinstance(state, MatcherHolder):
            return state.limited.on(role, state.whole.element, state.count)
        return state.limited.on(role, state.whole.element, 1)

    def carrier_limits(self, role: bm.Role, setup: OpenedSetup) -> bm.KeyLimits | None:
        self._check_role(role)
        if role == MATCHER:
            return setup.limited.on(role, setup.first.element, setup.count)
        return setup.limited.on(role, setup.second.shares[role].element, 1)

    def _check_role(self, role: bm.Role) -> None:
        if role not in self.info.roles:
            raise bm.DesignError(f"design {self.info.name} has no role {role}")

    # A picture

    def enrol(self, rng: bm.Randomness) -> bm.NoState:
        return bm.NoState()

    def start(
        self, state: bm.NoState, setup: OpenedSetup, item: bm.Item, binding: bm.Binding, rng: bm.Randomness
    ) -> bm.Started[bm.NoState, Waiting]:
        """Ask the matcher for tokens. Takes as much of `rng` whatever the item is; see
        `session.ask_slots`."""
        is_cover = item.quality < self.info.relation.minimum_quality
        asked, blinded = session.ask_slots(
            setup, item.hash, item.coefficients, is_cover, rng, binding.certify
        )
        body = (CertifyRequest if binding.certify else FIRST_ROUND.request)(setup.epoch, blinded)
        return bm.Started(state, bm.Send(asked, {MATCHER: body}))

    def receive(
        self,
        session_: Waiting,
        setup: OpenedSetup,
        replies: Mapping[bm.Role, bm.Message],
        rng: bm.Randomness,
    ) -> bm.Step[Waiting]:
        if isinstance(session_, AskedRecord):
            return bm.Ready(session.fetch(setup, session_, dict(self._read(session_, setup, replies))))
        kind = CertifiedReply if session_.certify else FIRST_ROUND.reply
        reply = replies.get(MATCHER)
        step = FIRST_ROUND.reply.NAME
        if not isinstance(reply, kind):
            raise bm.ProtocolError(step, f"the device does not take {reply!r}")
        bm.check_epoch(reply.epoch, setup.epoch, step)
        evaluation = Evaluation(reply.evaluated, reply.proof)
        waiting, questions = session.ask_record(setup, session_, evaluation, rng)
        asks = CertifyPairRequest if session_.certify else PairRequest
        bodies = {role: asks(it.epoch, it.blinded, it.key) for role, it in questions.items()}
        return bm.Send(waiting, bodies)

    def _read(
        self, session_: AskedRecord, setup: OpenedSetup, replies: Mapping[bm.Role, bm.Message]
    ) -> Iterator[tuple[bm.Role, session.Reply]]:
        kind = CertifiedPairReply if session_.certify else PairReply
        for role, reply in replies.items():
            if not isinstance(reply, kind):
                raise bm.ProtocolError(f"{PairReply.NAME} of {role}", f"the device does not take {reply!r}")
            evaluation = Evaluation(reply.evaluated, reply.proof)
            yield role, session.Reply(reply.epoch, evaluation, reply.answer)

    def conclude(self, session_: Fetched, setup: OpenedSetup) -> bm.Outcome:
        label = session.open_fetched(setup, session_)
        return bm.NoMatch() if label is None else bm.Match(label)

    def answer(
        self,
        role: bm.Role,
        state: Holder,
        requests: Sequence[bm.Request],
        rng: bm.Randomness,
        executor: bm.Executor | None,
    ) -> bm.Answer:
        """Answer as the matcher or a party. Takes 64 bytes of `rng` a body."""
        self._check_role(role)
        if isinstance(state, MatcherHolder):
            return FIRST_ROUND.answer(state, requests, rng, executor)
        questions = [_question(request.body) for request in requests]
        replies = session.answer_records(state.state, questions, rng)
        return bm.Answer(
            [_body(reply, request.body) for reply, request in zip(replies, requests, strict=True)]
        )

    def simulate(
        self, role: bm.Role, facts: Mapping[str, Hashable], output: bm.Outcome | None, rng: bm.Randomness
    ) -> tuple[bm.Message, ...] | None:
        """Return the matcher's view, perfectly (`VoprfRound.simulated`), and None for a party: its view is a
        uniform element and a selection, and how long that is no declared fact says."""
        epoch = facts["epoch"]
        assert isinstance(epoch, int)
        if role == MATCHER:
            count = facts["query_count"]
            assert isinstance(count, int)
            return (FIRST_ROUND.simulated(epoch, count, rng),)
        return None


SMALL_SIZES: Final = {"probes": 6, "slot_bits": 12}
"""Records of 2^12 slots are built in a tenth of a second; 48 tokens make a chance pair in a quarter of all
pictures, a sixth at the default sizes."""


class SmallSlotPsi(SlotPsi):
    """The same with few tokens and slots, for checks that run many sessions: it finds fewer copies and hides
    the list less; under another name, which devices refuse."""

    info: ClassVar[bm.Info] = replace(
        SlotPsi.info,
        name="slot-psi-insecure",
        summary="slot-psi with 48 tokens and 4,096 slots, for checks that run thousands of sessions.",
        differs="insecure: 48 tokens and 4,096 slots",
        relation=bm.Near(MATCH_DISTANCE, recall=SMALL_RECALL),
        parameters=tuple(
            replace(parameter, default=SMALL_SIZES.get(parameter.name, parameter.default))
            for parameter in DECLARED
        ),
    )

    def reduced(self) -> None:
        """None: this is the reduced design."""


def _question(body: bm.Message) -> session.Question | bm.ProtocolError:
    if not isinstance(body, PairRequest):
        return bm.ProtocolError(PairRequest.NAME, f"a party does not answer {body!r}")
    return session.Question(body.epoch, body.blinded, body.key, isinstance(body, CertifyPairRequest))


def _body(reply: session.Reply | bm.ProtocolError, asked: bm.Message) -> bm.Message | bm.ProtocolError:
    if isinstance(reply, bm.ProtocolError):
        return reply
    kind = CertifiedPairReply if isinstance(asked, CertifyPairRequest) else PairReply
    evaluation = reply.evaluation
    return kind(reply.epoch, evaluation.elements, evaluation.proof, reply.answer)


SMALL: Final = SmallSlotPsi()
DESIGN: Final = SlotPsi()
