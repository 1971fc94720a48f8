"""What an attack needs of a design: that follows from what it declares, leaks and is built on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from blindmatch_protocol import contract as bm
from blindmatch_protocol.contract.design import told
from blindmatch_protocol.designs.enclave.design import Enclave
from blindmatch_protocol.designs.facts import DELTA_SIZES
from blindmatch_protocol.designs.he_hamming.design import HeHamming
from blindmatch_protocol.designs.prefix_bucket.design import PrefixBucket
from blindmatch_protocol.designs.slot_psi.design import SlotPsi
from blindmatch_protocol.designs.third_party import ThirdParty
from blindmatch_protocol.designs.threshold_near import ThresholdNear
from blindmatch_protocol.designs.threshold_psi import ThresholdPsi
from blindmatch_protocol.designs.token_psi import TokenPsi
from blindmatch_protocol.designs.voprf import VoprfDesign
from msgspec import Struct

from blindmatch_simulations.testbed.pictures.pool import HashOnly


class Need(Struct, frozen=True):
    """Something that a design has or has not; `words` end a sentence that begins with "needs"."""

    words: str
    met: Callable[[bm.AnyDesign], bool]


def lacking(needs: Sequence[Need], design: bm.AnyDesign) -> str:
    """Why an attack is not played against a design: its first need that is not met; or nothing."""
    return next((f"needs {one.words}" for one in needs if not one.met(design)), "")


def _built_on(words: str, base: type) -> Need:
    return Need(words, lambda design: isinstance(design, base))


def _evaluated(words: str, *kinds: bm.Evaluation) -> Need:
    return Need(words, lambda design: design.info.evaluation in kinds)


def _held_by(design: bm.AnyDesign) -> tuple[int, int]:
    """How many roles hold a VOPRF key or a share of it, and how many of them are needed."""
    return (len(design.layout.roles), design.layout.needed) if isinstance(design, VoprfDesign) else (0, 0)


def _told(design: bm.AnyDesign, *parties: bm.Party) -> list[bm.Fact]:
    """What parties learn each alone, by default those with roles."""
    each = [frozenset({one}) for one in parties or design.info.roles.values()]
    return [fact for one in each for fact in told(design, one, bm.Adversary.SEMI_HONEST)]


_FLIPPED: Final = [HashOnly(np.packbits(bits).tobytes()) for bits in np.eye(257, 256, dtype=np.uint8)]


def _gives_hash(fact: bm.Fact) -> bool:
    """Does its value differ for each bit in which a picture's hash differs, whatever the set-up?"""
    try:
        return len({fact.project(one, None) for one in _FLIPPED}) == len(_FLIPPED)
    except Exception:  # it needs a set-up or the picture
        return False


def _knows_account(design: bm.AnyDesign) -> bool:
    """Is there a role whose bodies come from devices, and to another party than the provider?"""
    return not {*design.info.roles} <= {*design.info.seen_by(bm.Party.PROVIDER)}


A_LIST: Final = Need("a list", lambda one: one.info.relation.distance is not None)
EQUAL: Final = Need("only equal hashes to match", lambda one: isinstance(one.info.relation, bm.Equal))
NEAR: Final = Need("near hashes to match", lambda one: isinstance(one.info.relation, bm.Near))
CATEGORY: Final = Need("a category", lambda one: isinstance(one.info.relation, bm.Category))
ENCRYPTED: Final = Need("end-to-end encryption", lambda one: one.info.end_to_end)
ASKS: Final = Need("devices that ask", lambda one: bool(one.info.roles))
ASKS_NOBODY: Final = Need("devices that ask nobody", lambda one: one.alone and not one.info.roles)
SINGLY: Final = Need("outcomes by picture, without vouchers", lambda one: not one.vouchers)
TOLD: Final = Need("devices that learn outcomes", lambda one: bm.Learner.DEVICE in one.info.learns)
TO_CENTRE: Final = Need("outcomes that the centre learns", lambda one: bm.Learner.CENTRE in one.info.learns)
LEARNT: Final = Need(
    "outcomes that devices or the centre learn", lambda one: TOLD.met(one) or TO_CENTRE.met(one)
)
UNSEEN: Final = Need("outcomes that no server learns", lambda one: bm.Learner.SERVER not in one.info.learns)
LATER: Final = Need(
    "devices that look at outcomes later", lambda one: type(one).conclude is not bm.Design.conclude
)
SMALL: Final = Need("requests of at most 960 KiB, as it has many", lambda one: not one.info.large_bodies)
HELD: Final = Need("a list or its key on devices", lambda one: one.info.tie is bm.Tie.KEY or one.alone)
BY_ACCOUNT: Final = Need("a role at another party than the provider, asked by account", _knows_account)
SERVED: Final = Need(
    "a list that other parties than the provider serve",
    lambda one: bm.Party.PROVIDER not in {one.info.setup_host, *one.info.parties},
)
BOUND: Final = Need(
    "replies bound to a key in the set-up, and in no seal around them",
    lambda one: one.info.tie is bm.Tie.KEY and one.inside() is None,
)
OPRF: Final = _built_on("a VOPRF", VoprfDesign)
SLOTS: Final = _built_on("tokens that read hidden slots", SlotPsi)
ASKED_KEY: Final = Need("a VOPRF", lambda one: OPRF.met(one) or SLOTS.met(one))
ONE_KEY: Final = Need("a VOPRF key at one role", lambda one: _held_by(one) == (1, 1))
HALVES: Final = Need("a VOPRF key in two shares, both needed", lambda one: _held_by(one) == (2, 2))
TOKENS: Final = _built_on("tokens of a VOPRF", TokenPsi)
IN_BUCKETS: Final = _built_on("a set in buckets that are asked for by a prefix", PrefixBucket)
UNDER_BFV: Final = _built_on("distances computed under BFV", HeHamming)
ATTESTED: Final = _built_on("an enclave that shows quotes", Enclave)
SIGNED_LABELS: Final = _built_on("a third party with signed labels", ThirdParty)
LIMITED: Final = Need(
    "a key with limits for an account",
    lambda one: bool(
        {"account_evaluations", "account_pictures"} & {each.name for each in one.info.parameters}
    ),
)
AGREEING: Final = Need(
    "tokens of which several must agree", lambda one: "needed" in {each.name for each in one.info.parameters}
)
DELTAS: Final = Need("sets that deltas update", lambda one: DELTA_SIZES in _told(one, bm.Party.DEVICE))
PART: Final = Need(
    "a role that is told a hash, or a part of one",
    lambda one: any(bm.Shows.HASH in fact.shows for fact in _told(one)),
)
NO_PART: Final = Need("roles that are told no part of a hash", lambda one: not PART.met(one))
WHOLE_HASH: Final = Need("a role that is told whole hashes", lambda one: any(map(_gives_hash, _told(one))))
BLINDED: Final = _evaluated("requests under an OPRF", bm.Evaluation.OPRF)
COVERED: Final = _evaluated("blinded or encrypted requests", bm.Evaluation.OPRF, bm.Evaluation.HOMOMORPHIC)
SEALED: Final = _evaluated("requests under a key that stays", bm.Evaluation.SEALED, bm.Evaluation.HOMOMORPHIC)
OPEN_LABEL: Final = Need(
    "replies with a label in the clear",
    lambda one: any(hasattr(kind, "label") for kinds in one.replies.values() for kind in kinds),
)
SHARED: Final = _built_on("vouchers that open from a threshold of shares on", ThresholdPsi)
MADE_UP: Final = Need(
    "vouchers of which some are made up", lambda one: type(one).made_up is not bm.Design.made_up
)
COUNTED: Final = _built_on("vouchers that show how many tokens of a picture are listed", ThresholdNear)
CARRIED: Final = Need("requests that are carried in seals which checks open", lambda one: bool(one.inside()))
ANY_ONE: Final = Need("one design, whichever", lambda one: True)
"""Nothing else of a design matters: the attack is played against the first that meets its other needs."""
ANY_TOLD: Final = Need("one design that tells devices, whichever, and all others", lambda one: True)
"""Of the designs whose devices learn outcomes one is enough; it is played against each of the others."""
SAME: Final = "goes by nothing that designs differ in"
"""Why it is not played against the others: what it came to holds for them, too."""


def is_one_enough(needs: Sequence[Need], design: bm.AnyDesign) -> bool:
    """Is an attack with these needs played against one design alone of those like this one?"""
    return ANY_ONE in needs or (ANY_TOLD in needs and TOLD.met(design))


def played_against(design: bm.AnyDesign) -> str:
    """Return why an attack that needs `ANY_ONE` is not played against the designs after this one."""
    return f"{SAME}: played against {design.info.name}"
