"""The table of checks, in the order they run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from msgspec import Struct

from blindmatch_simulations.evaluation.conformance.correctness import (
    check_entries,
    check_full_size,
    check_outcomes,
)
from blindmatch_simulations.evaluation.conformance.declarations import (
    check_declarations,
    check_egress,
    check_resources,
)
from blindmatch_simulations.evaluation.conformance.determinism import (
    check_batches,
    check_executor,
    check_setup,
    check_tape,
)
from blindmatch_simulations.evaluation.conformance.draws import check_draws, check_proofs
from blindmatch_simulations.evaluation.conformance.epochs import (
    check_epoch_binding,
    check_fresh_keys,
    check_role_files,
    check_setup_files,
    check_state_over_epochs,
)
from blindmatch_simulations.evaluation.conformance.error_texts import check_error_texts
from blindmatch_simulations.evaluation.conformance.fixtures import Fixtures
from blindmatch_simulations.evaluation.conformance.hand_over import check_hand_over
from blindmatch_simulations.evaluation.conformance.hostility import (
    check_codec,
    check_hostile_replies,
    check_hostile_requests,
    check_order,
)
from blindmatch_simulations.evaluation.conformance.leakage.games import (
    check_malicious,
    check_semi_honest,
    check_simulator,
)
from blindmatch_simulations.evaluation.conformance.leakage.list_secrecy import (
    check_list,
    check_list_knowledge,
    check_lists,
)
from blindmatch_simulations.evaluation.conformance.leakage.relations import check_relations
from blindmatch_simulations.evaluation.conformance.leakage.tightness import check_tightness
from blindmatch_simulations.evaluation.conformance.leakage.timing import check_timing
from blindmatch_simulations.evaluation.conformance.repetition import check_growth, check_repetition
from blindmatch_simulations.evaluation.conformance.surroundings import check_surroundings
from blindmatch_simulations.evaluation.conformance.ties import check_other_key
from blindmatch_simulations.evaluation.conformance.updates import check_updates
from blindmatch_simulations.testbed.inprocess.verdict import Passed


class Check(Struct, frozen=True):
    """A check: its name, what it claims of a design that passes, and how it is run."""

    name: str
    says: str
    run: Callable[[Fixtures], Passed]


CHECKS: Final[tuple[Check, ...]] = (
    Check("outcomes", "outcomes are the plaintext oracle's", check_outcomes),
    Check("codec", "a message has one encoding, and nothing else decodes", check_codec),
    Check("hostile requests", "hostile requests are refused cleanly", check_hostile_requests),
    Check("hostile replies", "hostile replies are refused cleanly", check_hostile_replies),
    Check("error texts", "errors spell no secret", check_error_texts),
    Check("order", "steps out of order do no harm", check_order),
    Check("epoch binding", "epochs are not mixed up", check_epoch_binding),
    Check("other key", "a reply made with another key is not believed", check_other_key),
    Check("state over epochs", "an account's state outlives an epoch", check_state_over_epochs),
    Check("fresh keys", "two epochs share no key", check_fresh_keys),
    Check("draws", "keys, blinds and nonces are drawn long enough", check_draws),
    Check("proofs", "no key follows from two proofs", check_proofs),
    Check("repetition", "nothing counts: a thousandth call is as the first", check_repetition),
    Check("growth", "nothing that is kept grows with pictures or matches", check_growth),
    Check("tape", "sessions follow from their tapes", check_tape),
    Check("one set-up", "the set-up is the same for every device", check_setup),
    Check("executor", "threads change nothing", check_executor),
    Check("batches", "a reply does not depend on its batch", check_batches),
    Check("set-up files", "damaged set-up files are refused", check_setup_files),
    Check("role files", "damaged role files are refused", check_role_files),
    Check("update", "an update adds, removes and fits one place", check_updates),
    Check("resources", "sizes and rounds are within bounds", check_resources),
    Check("declarations", "what follows from a request is declared", check_declarations),
    Check("surroundings", "nothing but tape, picture and set decides", check_surroundings),
    Check("egress", "facts and tape explain every byte", check_egress),
    Check("relations", "no parity of what is sent tells pictures apart", check_relations),
    Check("simulator", "the simulator's views are like real ones", check_simulator),
    Check("games", "honest roles cannot tell apart what agrees on the facts", check_semi_honest),
    Check("malicious games", "nor can cheating ones", check_malicious),
    Check("list", "devices learn nothing of the list that is not declared", check_list),
    Check("list knowledge", "stored files show what is declared", check_list_knowledge),
    Check("list games", "two lists that agree on the facts look alike", check_lists),
    Check("timing", "times of steps are measured, and alike where that is claimed", check_timing),
    Check("hand-over", "a device hands a message over before it looks at the outcome", check_hand_over),
    Check("tightness", "declared facts are really disclosed", check_tightness),
    Check("entries", "every entry of a large set is found, and nothing else", check_entries),
    Check("full size", "outcomes hold in the sizes that devices use", check_full_size),
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
