"""Proofs of discrete-logarithm equality in replies, and the nonces behind them."""

from __future__ import annotations

from typing import Any

import numpy as np
from blindmatch_protocol import dleq, group
from blindmatch_protocol.ciphersuite import Mode
from blindmatch_protocol.codec import Message, Rows, layout
from blindmatch_protocol.errors import ProtocolError
from blindmatch_protocol.oprf import PublicKey

from blindmatch_simulations.conformance.remote.counterpart import Heard
from blindmatch_simulations.conformance.remote.material import Material
from blindmatch_simulations.conformance.verdict import BrokenError, NotApplicableError, Passed


def check_proofs(material: Material) -> Passed:
    """Every proof holds under the manifest's public key, and no nonce serves two challenges.

    Two proofs of one nonce and different challenges give the key away: k = (s' - s) / (c - c').
    """
    found = _proven(material)
    if not found:
        raise NotApplicableError("replies bear no proof")
    if material.manifest.public_key is None:
        raise BrokenError("manifest", "field public_key: replies bear proofs, so it must name the key")
    key = PublicKey(Mode.VOPRF, bytes.fromhex(material.manifest.public_key)).rows()
    challenges: dict[bytes, bytes] = {}
    for name, request, reply in found:
        step = f"reply of {name}"
        try:
            dleq.verify_proof(key, request.blinded, reply.evaluated, reply.proof, step=step)
        except ProtocolError as error:
            words = f"under the manifest's public key: {error.rule}"
            raise BrokenError(step, f"field {error.field}: {words}", reply=reply.encode()[:4096]) from error
        nonce, challenge = commitment(key, reply.proof), bytes(reply.proof[:32])
        if challenges.setdefault(nonce, challenge) != challenge:
            words = "two proofs share a nonce: the key follows from them"
            raise BrokenError(step, words, reply=reply.encode()[:4096])
    words = f"{len(found)} proofs hold, {len(challenges)} nonces"
    return Passed(words, {"proofs": len(found), "nonces": len(challenges)})


def commitment(key: Rows, proof: bytes) -> bytes:
    """The nonce times the generator, which a proof (c, s) implies: s*G + c*key; RFC 9497, section 2.2.2."""
    challenge, response = np.frombuffer(proof, np.uint8).reshape(2, 1, group.SCALAR_BYTES)
    return group.add(group.multiply_base(response), group.multiply(challenge, key)).tobytes()


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
