"""Proofs of discrete-logarithm equality in replies of a counterpart; what two of them give away."""

from __future__ import annotations

from typing import Any

from blindmatch_protocol import dleq
from blindmatch_protocol.ciphersuite import Mode
from blindmatch_protocol.codec import Message, layout
from blindmatch_protocol.errors import ProtocolError
from blindmatch_protocol.oprf import PublicKey

from blindmatch_simulations.conformance.proofs import Proof, proofs_in, solved
from blindmatch_simulations.conformance.remote.counterpart import Heard
from blindmatch_simulations.conformance.remote.material import Material
from blindmatch_simulations.inprocess.verdict import BrokenError, NotApplicableError, Passed


def check_proofs(material: Material) -> Passed:
    """Every proof holds under the manifest's public key, and no two give the key away."""
    found = _proven(material)
    if not found:
        raise NotApplicableError("replies bear no proof")
    if material.manifest.public_key is None:
        raise BrokenError("manifest", "field public_key: replies bear proofs, so it must name the key")
    key = PublicKey(Mode.VOPRF, bytes.fromhex(material.manifest.public_key)).rows()
    proofs: list[Proof] = []
    for name, request, reply in found:
        step = f"reply of {name}"
        try:
            dleq.verify_proof(key, request.blinded, reply.evaluated, reply.proof, step=step)
        except ProtocolError as error:
            words = f"under the manifest's public key: {error.rule}"
            raise BrokenError(step, f"field {error.field}: {words}", reply=reply.encode()[:4096]) from error
        proofs += proofs_in(reply)
    if solved(proofs, frozenset({key.tobytes()})):
        raise BrokenError("replies", "two proofs share a nonce: the key follows from them")
    return Passed(f"{len(found)} proofs hold, no key follows from two", {"proofs": len(found)})


def _proven(material: Material) -> list[tuple[str, Any, Any]]:
    """Role, request and reply of every answered turn whose messages have the fields of a proof."""
    found: list[tuple[str, Any, Any]] = []
    for played in material.honest.values():
        for turn in played.turns():
            if isinstance(turn.answer, Heard) and _has(turn.body, "blinded"):
                reply = material.reply(turn)
                if _has(reply, "evaluated") and _has(reply, "proof"):
                    found.append((str(turn.role), turn.body, reply))
    return found


def _has(message: Message, name: str) -> bool:
    return name in {field for field, _ in layout(type(message))}
