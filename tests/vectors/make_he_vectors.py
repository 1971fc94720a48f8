"""Writes he-hamming-v1.json, -set.bin and -reply.bin: what a device does, in the ring without security.

    python tests/vectors/make_he_vectors.py

An account's keys and a reply come from SEAL's own generator, so each run gives others; whatever decrypts the
reply with the secret key and opens the label in the set file has the same outcome.
"""

from __future__ import annotations

import json
import sys
from hashlib import sha256
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from support import he_world as he  # noqa: E402
from support.memory import held, random_hashes  # noqa: E402

ENTRIES = 40


def main() -> None:
    """Write the three files."""
    own = random_hashes(1, seed=61)[0].tobytes()
    entry = he.entry_at(own, 31)
    place = held(he.SMALL, np.concatenate([he.rows(entry), random_hashes(ENTRIES - 1, seed=62)]))
    session, query = he.start(place, he.Picture(own), "vector")
    reply = he.reply(place, query)
    outcome = he.conclude(place, session, reply)
    vector = {
        "design": place.design.info.name,
        "version": place.design.info.version,
        "degree": he.SLOTS,
        "secret": he.secret().hex(),
        "hash": own.hex(),
        "seed": "vector",
        "query_bytes": len(query.encode()),
        "query_sha256": sha256(query.encode()).hexdigest(),
        "keys_bytes": len(he.keys().encode()),
        "label": outcome.label.encode().hex(),  # type: ignore[union-attr]
    }
    (HERE / "he-hamming-v1.json").write_text(json.dumps(vector, indent=1) + "\n")
    (HERE / "he-hamming-v1-set.bin").write_bytes(place.setup.file._data)
    (HERE / "he-hamming-v1-reply.bin").write_bytes(reply.encode())


if __name__ == "__main__":
    main()
