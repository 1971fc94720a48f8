"""Times peers in an environment of their own: those of `bench/peer_outside.py`, and two more.

python peers_outside.py voprf BATCH RUNS                          needs voprf, rbcl
python peers_outside.py threatexchange FOLDER ENTRIES RUNS        needs threatexchange, rbcl
"""

from __future__ import annotations

import json
import os
import sys
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "simulations" / "blindmatch_simulations" / "evaluation" / "bench"))
outside = import_module("peer_outside")


def voprf(batch: int, runs: int) -> dict[str, Any]:
    """RFC 9497 with ristretto255-SHA512 in Rust: both sides, one proof for all, messages encoded."""
    peer = import_module("voprf").ristretto
    inputs = [os.urandom(32) for _ in range(batch)]
    server = peer.Evaluator(os.urandom(32))

    def both_sides() -> list[bytes]:
        clients, blinded = zip(*map(peer.Client.blind, inputs), strict=True)
        sent = [peer.BlindedInput.deserialize(one.serialize()) for one in blinded]
        reply = peer.VerifiableBatchOutput.deserialize(server.evaluate_batch(sent).serialize())
        made: list[bytes] = peer.Client.finalize_batch(list(clients), reply, server.public_key)
        return made

    if both_sides() != [server.evaluate_known_input(one) for one in inputs]:
        raise SystemExit("voprf: its two ways of evaluation differ")
    return {"version": version("voprf"), "proven": outside.measured(both_sides, batch, runs)}


def threatexchange(folder: str, entries: int, runs: int) -> dict[str, Any]:
    """PDQ of each JPEG file in a folder; and a hash looked up among `entries`, within 31 bits."""
    hasher = import_module("threatexchange.signal_type.pdq.pdq_hasher")
    index = import_module("threatexchange.signal_type.pdq.pdq_index").PDQIndex
    files = [path.read_bytes() for path in sorted(Path(folder).glob("*.jpeg"))]

    def hashes() -> list[str]:
        return [hasher.pdq_from_bytes(data)[0] for data in files]

    listed = [os.urandom(32).hex() for _ in range(entries)]
    built = index([(one, number) for number, one in enumerate(listed)])
    # bit 0 of bytes 0 to 9 flipped: 10 bits apart
    near = bytes(byte ^ (at < 10) for at, byte in enumerate(bytes.fromhex(listed[7]))).hex()
    if [found.metadata for found in built.query(near)] != [7] or built.query(os.urandom(32).hex()):
        raise SystemExit("threatexchange: a wrong look-up")
    asked = [os.urandom(32).hex() for _ in range(20)]
    return {
        "version": version("threatexchange"),
        "hashes": hashes(),
        "file": outside.measured(hashes, len(files), runs),
        "look_up": outside.measured(lambda: [built.query(one) for one in asked], len(asked), runs),
    }


def main(arguments: list[str]) -> None:
    """Run one peer and print what was found."""
    match arguments:
        case ["voprf", batch, runs]:
            print(json.dumps(voprf(int(batch), int(runs))))  # noqa: T201
        case ["threatexchange", folder, entries, runs]:
            print(json.dumps(threatexchange(folder, int(entries), int(runs))))  # noqa: T201
        case _:
            outside.main(arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
