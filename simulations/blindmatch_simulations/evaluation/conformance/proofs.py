"""Proofs in replies give no key away: no two share a nonce, and none has a nonce that everybody can compute.

In: a role's replies to a dozen pictures' questions, each for a proof of absence and without one, alone and in
a batch; to the same questions again, by the role as it is opened anew; and to the same questions under
another spelling of its key (`nonces`). Out: how many proofs were compared; `BrokenError` if a key of the
set-up follows from them, if a nonce follows from public values, or if a reply tells of earlier questions.

A proof of knowledge of a key k is a challenge c and a response s = r - c*k modulo the group's order L (RFC
9497, section 2.2.1; one of Schnorr's has the other sign). So

    two proofs of one nonce r, of which c and c' differ, give k = (s' - s) / (c - c').

Which pairs share a nonce nobody sees, so each pair gives a candidate, and one is the key if its multiple of
the generator stands in the set-up. Of an honest role a candidate is uniform, and the key with 2^-252.

*Nonces that follow from the question.* RFC 6979 (section 3.2) and RFC 8032 (section 5.1.6) derive a nonce
from the secret key and the whole message. That is honest: what is asked again gets the same proof, c = c' and
s = s', of which nothing follows. But the message must hold all that the challenge holds. A nonce of key and
elements alone, where the challenge also takes in what kind of proof is asked for, or something that is drawn
in each reply, comes again under another challenge. So a picture's two kinds of question are made on one tape:
they bear the same elements. And all questions are answered again by a role that is opened anew, as after a
restart, with other randomness.

*Replies that tell of earlier questions.* `batches` and `repetition` answer twice with one tape, and a role
can notice that. So a question is also answered with fresh randomness each time, after one history of other
accounts' questions and after another one. What the device gets must be distributed alike after both: a bit
that is the same in all of 24 replies after the one, and the other way in all of 24 after the other, is one
with at most 2^-47 (`leakage.pinning` derives it).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import combinations, pairwise
from typing import Any, Final, TypeAlias

from blindmatch_protocol.codec import Message
from blindmatch_protocol.contract import CERTIFYING, UNBOUND, Request, Role
from blindmatch_protocol.group import ORDER, SCALAR_BYTES, sodium

from blindmatch_simulations.evaluation.conformance.fixtures import Fixtures, as_published
from blindmatch_simulations.evaluation.conformance.leakage.pinning import Fields, compare, name_fields
from blindmatch_simulations.evaluation.conformance.nonces import Proofs, check_nonces, find_keys, respell_key
from blindmatch_simulations.testbed.inprocess.deployed import Deployed
from blindmatch_simulations.testbed.inprocess.leaves import fields_of
from blindmatch_simulations.testbed.inprocess.steps import sent
from blindmatch_simulations.testbed.inprocess.verdict import BrokenError, NotApplicableError, Passed

PICTURES: Final = 12
"""Pictures whose two questions are answered one by one, and all in one batch."""
HISTORY: Final = 3
"""Questions of other accounts that a role has answered before one that is compared."""

Proof: TypeAlias = tuple[int, int]
"""Challenge and response."""


def check_proofs(fixtures: Fixtures) -> Passed:
    """No key in the set-up follows from two proofs in 72 replies: alone, in a batch and to the same questions
    again, half of them for a proof of absence. No nonce follows from public values, and no bit of a reply
    tells two histories of others' questions apart."""
    deployed = as_published(fixtures).deployed
    public = windows(fixtures)
    found = 0
    examined = 0
    for role in fixtures.design.info.roles:
        asked = _Asked(fixtures, deployed, role)
        if not asked.requests:
            continue
        asked.check_history()
        first = asked.answer(deployed.states[role], "first")
        alone = proofs_by_field(first)
        if not alone:
            continue
        opened = asked.open_again()
        again = proofs_by_field(asked.answer(opened, "again"))
        proofs = proofs_in([*first, *asked.answer_batch(deployed.states[role])])
        found += len(proofs) + sum(map(len, again.values()))
        if solved(proofs, public) or _is_solved_by_repeats(alone, again, public):
            raise BrokenError(f"answer of {role}", "two proofs share a nonce: the key follows from them")
        for key in find_keys(opened, public):
            copy = asked.open_again()
            if respell_key(copy, key):
                respelt = proofs_by_field(asked.answer(copy, "respelt"))
                examined += check_nonces(role, key, alone, respelt)
    if not found:
        raise NotApplicableError("replies bear nothing that can be read as a proof")
    words = f"no key follows from any two of {found} proofs"
    words += f"; no nonce of {examined} follows from public values" if examined else ""
    return Passed(words, {"proofs": found, "nonces": examined})


def windows(fixtures: Fixtures) -> frozenset[bytes]:
    """Return everything in the set-up that may be a public key."""
    raws = as_published(fixtures).deployed.build.setup_files.values()
    return frozenset(raw[at : at + SCALAR_BYTES] for raw in raws for at in range(len(raw) - SCALAR_BYTES + 1))


def proofs_in(replies: Iterable[Message]) -> list[Proof]:
    """Return what can be read as proofs, in all replies that have them; see `proofs_by_field`."""
    return [proof for proofs in proofs_by_field(replies).values() for proof in proofs]


def proofs_by_field(replies: Iterable[Message]) -> dict[tuple[str, str], list[Proof]]:
    """Return what can be read as proofs, by field: fields that are two scalars, or two in a row that are one
    each, in all replies that have them."""
    found: dict[tuple[str, str], list[Proof]] = defaultdict(list)
    for reply in replies:
        leaves = [(path, value) for path, value in fields_of(reply) if isinstance(value, bytes)]
        raws = [((path, path), leaf) for path, leaf in leaves if len(leaf) == 2 * SCALAR_BYTES]
        raws += [
            ((path, q), a + b) for (path, a), (q, b) in pairwise(leaves) if len(a) == len(b) == SCALAR_BYTES
        ]
        for paths, raw in raws:
            challenge = raw[:SCALAR_BYTES]
            response = raw[SCALAR_BYTES:]
            found[paths].append((int.from_bytes(challenge, "little"), int.from_bytes(response, "little")))
    return {
        paths: proofs
        for paths, proofs in found.items()
        if all(0 < number < ORDER for proof in proofs for number in proof)
    }


def solved(proofs: Sequence[Proof], public: frozenset[bytes]) -> bool:
    """Does a key of one of `public`, elements as 32 bytes, follow from two of `proofs`?"""
    for (c, s), (other_c, other_s) in combinations(proofs, 2):
        if c == other_c or s == other_s:
            continue
        key = (other_s - s) * pow(c - other_c, -1, ORDER) % ORDER
        for scalar in (key, ORDER - key):
            if sodium.multiply_base(scalar.to_bytes(SCALAR_BYTES, "little")) in public:
                return True
    return False


def _is_solved_by_repeats(first: Proofs, again: Proofs, public: frozenset[bytes]) -> bool:
    """Does a key follow from the proofs in two replies to the same question?"""
    for field in first.keys() & again.keys():
        if any(solved(pair, public) for pair in zip(first[field], again[field], strict=False)):
            return True
    return False


class _Asked:
    """Questions to one role of a deployment: of each picture an ordinary one and one for a proof of absence,
    which bear the same elements where both are made of the same randomness."""

    def __init__(self, fixtures: Fixtures, deployed: Deployed, role: Role) -> None:
        self._fixtures = fixtures
        self._deployed = deployed
        self._role = role
        self.requests = list[Request]()
        pictures = fixtures.pool.pictures
        for at in range(PICTURES):
            for binding in (UNBOUND, CERTIFYING):
                rng = fixtures.rng(f"proofs/ask/{at}")
                bodies = sent(deployed, pictures[at % len(pictures)].item, rng, binding)
                self.requests += [deployed.request(role, bodies[role])] if role in bodies else []

    def open_again(self) -> Any:
        """Return the role's state as its files give it, as after a restart."""
        return self._fixtures.design.open_role(self._role, self._deployed.build.role_files(self._role))

    def answer(self, state: Any, purpose: str) -> list[Message]:
        """Answer all questions one by one; randomness is never the same."""
        found = list[Message]()
        for at, request in enumerate(self.requests):
            found += self._reply(state, [request], f"{purpose}/{at}")
        return found

    def answer_batch(self, state: Any) -> list[Message]:
        """Answer all questions at once."""
        return self._reply(state, self.requests, "batch")

    def _reply(self, state: Any, requests: Sequence[Request], purpose: str) -> list[Message]:
        rng = self._fixtures.rng(f"proofs/{self._role}/{purpose}")
        replies = self._fixtures.design.answer(self._role, state, requests, rng, None).replies
        return [reply for reply in replies if isinstance(reply, Message)]

    def check_history(self) -> None:
        """Make sure that the first question is answered alike after two histories, with fresh randomness."""
        found = compare(partial(self._after, 0), partial(self._after, 1))
        if found is not None:
            raise BrokenError(
                f"answer of {self._role}",
                f"field {found.field} of a reply tells of questions that others asked before",
                field=found.words("one history", "another one"),
            )

    def _after(self, which: int, again: int) -> Fields:
        """Return the fields of the reply to the first question after one of two histories."""
        state = self.open_again()
        history = self.requests[1 + which * HISTORY :][:HISTORY]
        for at, request in enumerate([*history, self.requests[0]]):
            found = self._reply(state, [request], f"history/{which}/{again}/{at}")
        return name_fields("reply", found[0]) if found else {}
