"""The requests that the report measures on its reader's own device (`drawing/device.js`).

Each is one whole request of a design, of a made-up picture, under a key that serves for nothing else: what
the device draws and asks, the matcher's reply, and digests of what must come out. Everything follows from one
seed by this program's own OPRF, so every report has the same requests. Since the seed is public, nothing of
them is secret.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from hashlib import sha512
from typing import Any, Final

import numpy as np
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.randomness import Randomness, seeded
from blindmatch_protocol.contract import Info
from blindmatch_protocol.crypto.oprf import (
    Blinding,
    Evaluation,
    Mode,
    PublicKey,
    blind,
    blind_evaluate,
    finalize,
    generate_key_pair,
)
from blindmatch_protocol.designs import oprf_psi, token_psi
from blindmatch_protocol.designs.oprf_psi import design as exact
from blindmatch_protocol.designs.token_psi import build as near
from blindmatch_protocol.designs.token_psi.tokens import HASH_BITS, probe_tokens

SEED: Final = "blindmatch/report/device"


@cache
def device_requests() -> list[dict[str, Any]]:
    """Return the request of `oprf-psi` and that of `token-psi`, both under default parameters."""
    rng = seeded(SEED)
    own_hash = rng.take(HASH_BITS // 8)
    # distances from the median: they decide which bits of the made-up picture count as the least reliable
    coefficients = np.frombuffer(rng.take(4 * HASH_BITS), np.uint32).astype(np.float32)
    tokening = near.Tokening()
    tokens = probe_tokens(own_hash, coefficients, tokening.k, tokening.bands, tokening.probes)
    (evaluations,) = (one.default for one in oprf_psi.DESIGN.info.parameters if one.name == "evaluations")
    return [
        _request(
            oprf_psi.DESIGN.info,
            {"evaluations": evaluations},
            exact.INPUT_TAG,
            exact.oprf_inputs(np.frombuffer(own_hash, np.uint8).reshape(1, -1)),
            rng,
        ),
        _request(token_psi.DESIGN.info, tokening.values(), near.INPUT_TAG, near.oprf_inputs(tokens.T), rng),
    ]


def request_of(
    blinding: Blinding, evaluation: Evaluation, public_key: PublicKey, tag: bytes, outputs: Rows
) -> dict[str, Any]:
    """Return what the page needs of a request, in hexadecimal.

    Args:
        blinding: what the device keeps until the reply comes.
        evaluation: the matcher's reply.
        tag: what every OPRF input begins with; it is kept once.
        outputs: the OPRF outputs, uint8 (n, 64).
    """
    return {
        "tag": tag.hex(),
        "items": [value.removeprefix(tag).hex() for value in blinding.inputs],
        "blinds": _hexadecimal(blinding.blinds),
        "evaluated": _hexadecimal(evaluation.elements),
        "proof": evaluation.proof.hex(),
        "public_key": public_key.element.hex(),
        "blinded_sha512": sha512(blinding.blinded.tobytes()).hexdigest(),
        "outputs_sha512": sha512(outputs.tobytes()).hexdigest(),
    }


def _request(
    info: Info, parameters: dict[str, int], tag: bytes, inputs: Sequence[bytes], rng: Randomness
) -> dict[str, Any]:
    key = generate_key_pair(Mode.VOPRF, rng)
    blinding, blinded = blind(inputs, Mode.VOPRF, rng)
    evaluation = blind_evaluate(key, blinded, rng)
    outputs = finalize(blinding, evaluation, key.public)
    made = request_of(blinding, evaluation, key.public, tag, outputs)
    return {"design": info.name, "version": info.version, "parameters": parameters, **made}


def _hexadecimal(rows: Rows) -> list[str]:
    return [row.tobytes().hex() for row in rows]
