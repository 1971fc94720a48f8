"""The checks of one foreign counterpart: those that there are for it, and why the others do not run.

Right requests are answered with right outcomes, in one encoding and one shape, copies of them too; what could
be proofs of discrete-logarithm equality is held against what two of them give away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from blindmatch_protocol.codec import Message, layout
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.contract import AnyDesign, Learner, Role, Send, Tie, concluded
from blindmatch_protocol.crypto import dleq
from blindmatch_protocol.crypto.dleq import Mode
from blindmatch_protocol.crypto.oprf import PublicKey
from blindmatch_protocol.designs.voprf.round import CertifyRequest
from blindmatch_protocol.messages.parts import MOST_SMALL_BYTES

from blindmatch_simulations.evaluation.conformance.correctness import misses
from blindmatch_simulations.evaluation.conformance.proofs import proofs_in, solved
from blindmatch_simulations.evaluation.conformance.remote.counterpart import Counterpart, Heard, HeldManifest
from blindmatch_simulations.evaluation.conformance.remote.description import (
    check_callers,
    check_description,
    check_epoch_binding,
    check_hostile_requests,
)
from blindmatch_simulations.evaluation.conformance.remote.material import Material, Played, Round, Turn
from blindmatch_simulations.evaluation.conformance.run import Report, gathered
from blindmatch_simulations.testbed.inprocess.verdict import (
    BrokenError,
    NotApplicableError,
    Passed,
    Result,
    Verdict,
)

AGAIN: Final = "a request that is sent again"
COPIES: Final = 2


def check_outcomes(material: Material) -> Passed:
    """The device learns the oracle's answer from the counterpart's replies.

    A picture whose very hash is listed must be found, one outside the relation never. Of pictures near an
    entry the missed are counted; missing all of them fails.
    """
    broken = [one.broken for one in material.honest.values() if one.broken is not None]
    if broken:
        words = f"{broken[0].rule} ({len(broken)} of {len(material.honest)} honest sessions fail)"
        raise BrokenError(broken[0].step, words, **broken[0].evidence)
    if Learner.DEVICE not in material.design.info.learns:
        raise NotApplicableError("the device does not learn the outcome, so no message shows it")
    relation = material.design.info.relation
    ran = material.honest.values()
    missed = [one.probe for one in ran if misses(relation, one.probe, one.probe.matches, one.outcome)]
    matching = [one for one in material.probes if one.matches]
    near = [one for one in matching if one.kind != "listed"]
    if near and len(missed) == len(near):
        raise BrokenError("outcome", "no picture near an entry is found: the relation is not that wide")
    words = f"{len(material.probes)} pictures as the oracle says, {len(matching)} of them matching"
    if not material.manifest.listed.complete:
        words += "; a sample of the list, so no neighbours of entries"
    if near:
        words += f"; {len(near) - len(missed)} of {len(near)} near an entry found"
    figures = {"pictures": len(material.probes), "matching": len(matching), "missed": len(missed)}
    return Passed(words, figures)


def check_codec(material: Material) -> Passed:
    """Every reply is the one encoding of a declared message, in an envelope without a field too many."""
    replies = 0
    for turn in _heard(material):
        material.reply(turn)
        replies += 1
    return Passed(f"{replies} replies, each the canonical encoding of its message", {"replies": replies})


def check_shape(material: Material) -> Passed:
    """Replies to requests of one length have one length and the same metadata, whatever the picture is."""
    seen: dict[tuple[Any, ...], tuple[str, Heard]] = {}
    count = 0
    for played in material.honest.values():
        for one in played.rounds:
            for turn in one.turns:
                if isinstance(turn.answer, Heard):
                    key = (one.number, turn.role, len(turn.body.encode()))
                    before = seen.setdefault(key, (played.probe.name, turn.answer))
                    _same_shape(turn, played.probe.name, *before)
                    count += 1
    if not count:
        raise BrokenError("reply", "no honest request was answered")
    words = f"{count} replies; requests of {len(seen)} lengths or rounds, one shape of reply for each"
    return Passed(words, {"replies": count, "shapes": len(seen)})


def _same_shape(turn: Turn, name: str, other: str, before: Heard) -> None:
    assert isinstance(turn.answer, Heard)
    if turn.answer.shape == before.shape:
        return
    mine, theirs = (sum(map(len, heard.parts)) for heard in (turn.answer, before))
    what = f"{mine} and {theirs} bytes" if mine != theirs else "different metadata or parts"
    words = f"requests of one length get replies of {what}: for pictures {name} and {other}"
    raise BrokenError(f"reply of {turn.role}", words)


def check_replay(material: Material) -> Passed:
    """The very same bytes again get an answer that leads where the first one leads: a device asks again."""
    tried = 0
    for probe in material.some():
        played = material.play(probe, "replay")
        if played.broken is not None:
            raise played.broken
        for one in played.rounds:
            for _ in range(COPIES):
                again = Round(one.number, one.session, tuple(_again(material, turn) for turn in one.turns))
                _leads(material, played, again)
                tried += len(again.turns)
    return Passed(f"{tried} requests sent again, each answered as the first one was", {"requests": tried})


def _again(material: Material, turn: Turn) -> Turn:
    again = material.ask(turn.role, turn.body)
    if isinstance(turn.answer, Heard) and isinstance(again.answer, Heard):
        _same_shape(again, "sent again", "sent first", turn.answer)
    return again


def check_resources(material: Material) -> Passed:
    """Replies are as short as declared, and within what an envelope holds."""
    large = material.design.info.large_bodies
    most = material.manifest.limits.reply_bytes
    longest = asked = 0
    for turn in _heard(material):
        size = len(material.reply(turn).encode())
        longest = max(longest, size)
        asked = max(asked, len(turn.body.encode()))
        if size > most:
            words = f"{size} bytes; the manifest declares at most {most}"
            raise BrokenError(f"reply of {turn.role}", words)
        if size > MOST_SMALL_BYTES and not large:
            raise BrokenError(f"reply of {turn.role}", f"{size} bytes; an envelope holds {MOST_SMALL_BYTES}")
    figures = {"largest_request": asked, "largest_reply": longest, "most_reply": most}
    return Passed(f"requests of up to {asked} bytes, replies of up to {longest}", figures)


def _heard(material: Material) -> Iterator[Turn]:
    """Every turn of the honest sessions."""
    turns = [turn for played in material.honest.values() for turn in played.turns()]
    if not turns:
        raise NotApplicableError("the design asks nobody")
    yield from turns


def _leads(material: Material, played: Played, again: Round) -> None:
    """The replies of `again` take the session where those of `played` took it."""
    replies = {turn.role: material.reply(turn) for turn in again.turns}
    rng = material.rng(f"leads/{played.probe.name}")
    try:
        received = material.design.receive(again.session, material.setup, replies, rng)
    except ProtocolError as error:
        raise BrokenError(f"receive, round {again.number}", f"{AGAIN}: {error}") from error
    step = concluded(material.design, received, material.setup)
    last = again.number == len(played.rounds)
    if isinstance(step, Send) is last or (
        not isinstance(step, Send) and type(step.outcome) is not type(played.outcome)
    ):
        raise BrokenError(
            f"receive, round {again.number}", f"{AGAIN} leads elsewhere", item=played.probe.name
        )


def check_proofs(material: Material) -> Passed:
    """Every proof holds under the manifest's key, in the form of its round, and no two give the key away."""
    found = _proven(material)
    if not found:
        raise NotApplicableError("replies bear no proof")
    if material.manifest.public_key is None:
        raise BrokenError("manifest", "field public_key: replies bear proofs, so it must name the key")
    key = PublicKey(Mode.VOPRF, bytes.fromhex(material.manifest.public_key)).rows()
    for name, request, reply in found:
        step = f"reply of {name}"
        try:
            statement = (request.blinded, reply.evaluated)
            certified = isinstance(request, CertifyRequest)
            dleq.verify_proof(key, *statement, reply.proof, step=step, certified=certified)
        except ProtocolError as error:
            words = f"under the manifest's public key: {error.rule}"
            raise BrokenError(step, f"field {error.field}: {words}", reply=reply.encode()[:4096]) from error
    if solved(proofs_in(reply for *_, reply in found), frozenset({key.tobytes()})):
        raise BrokenError("replies", "two proofs share a nonce: the key follows from them")
    return Passed(f"{len(found)} proofs hold, no key follows from two", {"proofs": len(found)})


def _proven(material: Material) -> list[tuple[str, Any, Any]]:
    """Role, request and reply of every answered turn whose messages have the fields of a proof."""
    found: list[tuple[str, Any, Any]] = []
    turns = [turn for played in material.honest.values() for turn in played.turns()]
    if material.design.info.tie is Tie.KEY:
        turns += [turn for probe in material.some() for turn in material.certified(probe)]
    for turn in turns:
        if isinstance(turn.answer, Heard) and _has(turn.body, "blinded"):
            reply = material.reply(turn)
            if _has(reply, "evaluated") and _has(reply, "proof"):
                found.append((str(turn.role), turn.body, reply))
    return found


def _has(message: Message, name: str) -> bool:
    return name in {field for field, _ in layout(type(message))}


REMOTE_CHECKS: Final[Mapping[str, Callable[[Material], Passed]]] = {
    "description": check_description,
    "callers": check_callers,
    "outcomes": check_outcomes,
    "codec": check_codec,
    "proofs": check_proofs,
    "shape": check_shape,
    "replay": check_replay,
    "epoch binding": check_epoch_binding,
    "hostile requests": check_hostile_requests,
    "resources": check_resources,
}

NOT_REMOTE: Final[Mapping[str, str]] = {
    **dict.fromkeys(("draws", "tape", "one set-up"), "needs the counterpart's tape of randomness"),
    **dict.fromkeys(
        ("error texts", "fresh keys", "repetition", "replays", "growth", "executor", "role files",
         "list knowledge", "simulator", "games", "malicious games", "timing", "tightness"),
        "needs the state and the keys of the counterpart",
    ),
    **dict.fromkeys(("batches", "order"), "tests roles in this process: run it without --remote"),
    **dict.fromkeys(
        ("hostile replies", "set-up files", "full size", "declarations", "surroundings", "egress",
         "relations", "hand-over"),
        "tests the device's own code: run it without --remote",
    ),
    **dict.fromkeys(
        ("entries", "list", "list games"), "needs lists of the checks' own choice at the counterpart"
    ),
    **dict.fromkeys(
        ("other key", "state over epochs", "update"),
        "needs a second epoch, or another key, at the counterpart",
    ),
}  # fmt: skip
"""Checks of a local run that are not applicable here, each with its reason."""

NAMES: Final = (*REMOTE_CHECKS, *NOT_REMOTE)


def check_remote(
    design: AnyDesign,
    held: HeldManifest,
    addresses: Mapping[Role, str],
    seed: int = 1,
    only: Sequence[str] = (),
    watch: Callable[[str], None] = lambda name: None,
) -> Report:
    """Run the checks against whoever plays the roles at `addresses`; `watch` is told each check's name;
    `ManifestError` if the manifest is for another design, or a file it names cannot be used; `SetFileError`
    if the set-up cannot be opened; `ServiceError` if the counterpart cannot be called at all."""
    held.check_for(design)
    counterpart = Counterpart(design, held, addresses)
    try:
        material = Material(design, held, counterpart, seed)
        counterpart.require()
        results, seconds, _ = gathered(REMOTE_CHECKS.items(), material, only, watch)
    finally:
        counterpart.close()
    others = {name: why for name, why in NOT_REMOTE.items() if not only or name in only}
    results += tuple(Result(name, Verdict.NOT_APPLICABLE, why) for name, why in others.items())
    took = seconds | dict.fromkeys(others, 0.0)
    return Report(design.info.name, design.info.version, seed, False, results, took)
