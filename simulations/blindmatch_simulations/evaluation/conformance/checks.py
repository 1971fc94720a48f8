"""The table of checks, in the order they run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from msgspec import Struct

from blindmatch_simulations.evaluation.conformance import (
    correctness,
    declarations,
    determinism,
    draws,
    epochs,
    error_texts,
    hostility,
    repetition,
    surroundings,
    ties,
    updates,
)
from blindmatch_simulations.evaluation.conformance.fixtures import Fixtures
from blindmatch_simulations.evaluation.conformance.hand_over import check_hand_over
from blindmatch_simulations.evaluation.conformance.leakage import (
    games,
    list_secrecy,
    relations,
    tightness,
    timing,
)
from blindmatch_simulations.testbed.inprocess.verdict import Passed


class Check(Struct, frozen=True):
    """A check: its name, what it claims of a design that passes, and how it is run."""

    name: str
    says: str
    run: Callable[[Fixtures], Passed]


CHECKS: Final[tuple[Check, ...]] = (
    Check("outcomes", "outcomes are the plaintext oracle's", correctness.check_outcomes),
    Check("codec", "a message has one encoding, and nothing else decodes", hostility.check_codec),
    Check("hostile requests", "hostile requests are refused cleanly", hostility.check_hostile_requests),
    Check("hostile replies", "hostile replies are refused cleanly", hostility.check_hostile_replies),
    Check("error texts", "errors spell no secret", error_texts.check_error_texts),
    Check("order", "steps out of order do no harm", hostility.check_order),
    Check("epoch binding", "epochs are not mixed up", epochs.check_epoch_binding),
    Check("other key", "a reply made with another key is not believed", ties.check_other_key),
    Check("state over epochs", "an account's state outlives an epoch", epochs.check_state_over_epochs),
    Check("fresh keys", "two epochs share no key", epochs.check_fresh_keys),
    Check("draws", "keys, blinds and nonces are drawn long enough", draws.check_draws),
    Check("proofs", "no key follows from two proofs", draws.check_proofs),
    Check("repetition", "nothing counts: a thousandth call is as the first", repetition.check_repetition),
    Check("growth", "nothing that is kept grows with pictures or matches", repetition.check_growth),
    Check("tape", "sessions follow from their tapes", determinism.check_tape),
    Check("one set-up", "the set-up is the same for every device", determinism.check_setup),
    Check("executor", "threads change nothing", determinism.check_executor),
    Check("batches", "a reply does not depend on its batch", determinism.check_batches),
    Check("set-up files", "damaged set-up files are refused", epochs.check_setup_files),
    Check("role files", "damaged role files are refused", epochs.check_role_files),
    Check("update", "an update adds, removes and fits one place", updates.check_updates),
    Check("resources", "sizes and rounds are within bounds", declarations.check_resources),
    Check("declarations", "what follows from a request is declared", declarations.check_declarations),
    Check("surroundings", "nothing but tape, picture and set decides", surroundings.check_surroundings),
    Check("egress", "facts and tape explain every byte", declarations.check_egress),
    Check("relations", "no parity of what is sent tells pictures apart", relations.check_relations),
    Check("simulator", "the simulator's views are like real ones", games.check_simulator),
    Check("games", "honest roles cannot tell apart what agrees on the facts", games.check_semi_honest),
    Check("malicious games", "nor can cheating ones", games.check_malicious),
    Check("list", "devices learn nothing of the list that is not declared", list_secrecy.check_list),
    Check("list knowledge", "stored files show what is declared", list_secrecy.check_list_knowledge),
    Check("list games", "two lists that agree on the facts look alike", list_secrecy.check_lists),
    Check("timing", "times of steps are measured, and alike where that is claimed", timing.check_timing),
    Check("hand-over", "a device hands a message over before it looks at the outcome", check_hand_over),
    Check("tightness", "declared facts are really disclosed", tightness.check_tightness),
    Check("entries", "every entry of a large set is found, and nothing else", correctness.check_entries),
    Check("full size", "outcomes hold in the sizes that devices use", correctness.check_full_size),
)

BY_NAME: Final = {check.name: check for check in CHECKS}

NOT_SEEN: Final[Mapping[str, str]] = {
    "some coalitions of roles": (
        "of three roles or more the games play each alone, all together and the coalitions that the "
        "design names; two of three are not tried"
    ),
    "facts and categories that lie": (
        "what a fact or a category is, the design's own function says; nothing holds it against the words"
    ),
    "the time before the next send": (
        "steps are timed one by one, and how long a device waits between two sends is the host's"
    ),
    "recognisable randomness": (
        "a design that tells a seeded or replayed tape from the system's generator by its bytes can "
        "behave while it is checked"
    ),
    "subliminal channels": (
        "what is drawn until it says something under a key that the receiver has is random to everybody else"
    ),
    "leaks of few pictures": ("some 250 pictures are tried: what is sent for one in a thousand is not met"),
    "leaks in full size alone, under fresh randomness": (
        "a design with `reduced` has its own sizes audited byte by byte, and no parity is looked for there"
    ),
    "leaks between the ends of long bodies": (
        "parities are of the first 160 and last 32 bytes of what is sent"
    ),
}
"""What a pass says nothing of, and why."""
