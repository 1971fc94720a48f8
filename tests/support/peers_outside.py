"""Times other programs in an environment of their own; needs nothing of this project.

python peers_outside.py pdqhash PHOTOGRAPHS.npy RUNS              needs pdqhash, numpy, rbcl
python peers_outside.py openmined ENTRIES QUERY_SIZE RUNS         needs openmined-psi, rbcl
python peers_outside.py secretflow ENTRIES RUNS                   needs spu, rbcl
python peers_outside.py voprf BATCH RUNS                          needs voprf, rbcl
python peers_outside.py threatexchange FOLDER ENTRIES RUNS        needs threatexchange, rbcl
"""

from __future__ import annotations

import hashlib
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

BATCHES = 9
PER_BATCH = 64
FALSE_POSITIVES = 1e-9


def reading() -> tuple[float, float]:
    """CPU microseconds of one multiplication, and wall time over CPU time."""
    sodium = import_module("rbcl")
    scalar = sodium.crypto_core_ristretto255_scalar_random()
    point = sodium.crypto_core_ristretto255_from_hash(os.urandom(64))

    def batch() -> None:
        for _ in range(PER_BATCH):
            sodium.crypto_scalarmult_ristretto255(scalar, point)

    costs = [timed(batch) for _ in range(BATCHES)]
    load = sum(wall for wall, _ in costs) / sum(cpu for _, cpu in costs)
    return statistics.median(cpu for _, cpu in costs) / PER_BATCH * 1e6, load


def timed(task: Callable[[], object]) -> tuple[float, float]:
    """Seconds of wall time and of CPU time of one call."""
    wall = time.perf_counter()
    cpu = time.process_time()
    task()
    return time.perf_counter() - wall, time.process_time() - cpu


def measured(task: Callable[[], object], count: int, runs: int) -> dict[str, Any]:
    """Runs of a task that does `count` things: costs, and the readings before and after."""
    taken = []
    before = reading()
    for _ in range(runs):
        cost = timed(task)
        after = reading()
        taken.append({"cost": cost, "before": before, "after": after})
        before = after
    return {"count": count, "runs": taken}


def pdqhash(path: str, runs: int) -> dict[str, Any]:
    """PDQ of every photograph in a file of shape (n, h, w, 3)."""
    numpy = import_module("numpy")
    hasher = import_module("pdqhash")
    photographs = list(numpy.load(path, allow_pickle=False))

    def batch() -> list[Any]:
        return [hasher.compute(photograph)[0] for photograph in photographs]

    hashes = [numpy.packbits(vector).tobytes().hex() for vector in batch()]
    return {
        "version": version("pdqhash"),
        "hashes": hashes,
        "measured": measured(batch, len(photographs), runs),
    }


def openmined(entries: int, size: int, runs: int) -> dict[str, Any]:
    """A set of `entries` as a Golomb-coded set, and queries of `size` hashes, every second of them listed."""
    psi = import_module("private_set_intersection.python")
    listed = [_item("server", number) for number in range(entries)]
    asked = [_item("server" if number % 2 == 0 else "client", number) for number in range(size)]
    server = psi.server.CreateWithNewKey(True)
    wires = list[bytes]()

    def set_up() -> None:
        made = server.CreateSetupMessage(FALSE_POSITIVES, size, listed, psi.DataStructure.GCS)
        wires[:] = [made.SerializeToString()]

    building = measured(set_up, entries, max(1, runs // 2))
    client = psi.client.CreateWithNewKey(True)
    setup = psi.ServerSetup()
    setup.ParseFromString(wires[0])
    request = client.CreateRequest(asked)
    response = server.ProcessRequest(request)
    if len(client.GetIntersection(setup, response)) != (size + 1) // 2:
        raise SystemExit("openmined: a wrong intersection")
    return {
        "version": version("openmined-psi"),
        "set_up": building,
        "bytes": len(wires[0]) / entries,
        "crypto": measured(lambda: server.ProcessRequest(client.CreateRequest(asked)), size, runs),
        "look_up": measured(lambda: client.GetIntersection(setup, response), 1, runs),
    }


def secretflow(entries: int, runs: int) -> dict[str, Any]:
    """The server's cache of `entries` in SecretFlow's unbalanced PSI, which stands for a set's build."""
    _keep_standard_output()
    psi = import_module("spu.psi")
    with tempfile.TemporaryDirectory() as folder:
        listed = Path(folder) / "listed.csv"
        key = Path(folder) / "key"
        listed.write_text("id\n" + "\n".join(_item("server", number) for number in range(entries)) + "\n")
        key.write_bytes(os.urandom(32))
        config = psi.UbPsiExecuteConfig(
            mode=psi.UbPsiMode.MODE_OFFLINE_GEN_CACHE,
            role=psi.UbPsiRole.ROLE_SERVER,
            cache_path=str(Path(folder) / "cache"),
            server_receive_result=False,
            client_receive_result=True,
        )
        config.input_params = psi.InputParams(path=str(listed), selected_keys=["id"], keys_unique=True)
        config.server_params = psi.UbPsiServerParams(secret_key_path=str(key))
        building = measured(lambda: psi.ub_psi_execute(config, _alone()), entries, max(1, runs // 2))
    return {"version": version("spu"), "set_up": building}


def _alone() -> Any:
    link = import_module("spu.libspu.link")
    description = link.Desc()
    description.id = "alone"
    description.add_party("party0", "nowhere")
    return link.create_mem(description, 0)


def _keep_standard_output() -> None:
    """What the library logs, also when it ends, goes to standard error: standard output is the answer's."""
    sys.stdout = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)


def _item(kind: str, number: int) -> str:
    return hashlib.sha256(f"{kind}-{number}".encode()).hexdigest()


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
    return {"version": version("voprf"), "proven": measured(both_sides, batch, runs)}


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
        "file": measured(hashes, len(files), runs),
        "look_up": measured(lambda: [built.query(one) for one in asked], len(asked), runs),
    }


def main(arguments: list[str]) -> None:
    """Run one peer and print what was found."""
    match arguments:
        case ["pdqhash", path, runs]:
            found = pdqhash(path, int(runs))
        case ["secretflow", entries, runs]:
            found = secretflow(int(entries), int(runs))
        case ["openmined", entries, size, runs]:
            found = openmined(int(entries), int(size), int(runs))
        case ["voprf", batch, runs]:
            found = voprf(int(batch), int(runs))
        case ["threatexchange", folder, entries, runs]:
            found = threatexchange(folder, int(entries), int(runs))
        case _:
            raise SystemExit(f"no peer is called {' '.join(arguments)}")
    print(json.dumps(found))  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1:])
