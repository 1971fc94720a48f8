"""A Ray cluster of three local nodes in a process of its own, of which one is lost; the outcome as JSON."""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from blindmatch_protocol.contract import no_progress
from blindmatch_server.hosting.workers import TaskError
from blindmatch_simulations.cli.app import run
from blindmatch_simulations.evaluation.corpus import counting, hashing
from blindmatch_simulations.evaluation.corpus.pairs import Tally, blocks_of
from blindmatch_simulations.evaluation.corpus.scan import scanned
from blindmatch_simulations.measure.cluster import Cluster, completed
from blindmatch_simulations.measure.phases import silent
from blindmatch_simulations.testbed.pictures.pool import random_hashes
from msgspec.structs import replace

NODES = 3


def node_of(number: int, lost: str, work: str) -> tuple[int, str]:
    """The node that runs this; one that is to be lost never comes to its end."""
    import ray

    node = ray.get_runtime_context().get_node_id()
    if node == lost:
        Path(work, "there").touch()
        time.sleep(600)
    time.sleep(0.5)  # long enough that each node has one
    return number, node


def scan(folder: Path, state: Path, ray: str) -> dict[str, Any]:
    """Return what a scan hands on, but times and the digest over them; whatever a scan has, now or later."""
    made, broken = scanned(folder, state, 2, silent, ray)
    timeless = replace(made, made_at="", took={"hashed": made.took["hashed"]}, digest="")
    return {**msgspec.to_builtins(timeless), "broken": broken}


def counts(work: Path, ray: str) -> Tally:
    """Pairs of random fingerprints, of several blocks."""
    made = np.unique(np.concatenate([random_hashes(3000, 1), random_hashes(3000, 2)], axis=1), axis=0)
    assert blocks_of(len(made)) > 2
    (work / counting.KEPT).unlink(missing_ok=True)
    return counting.counted(made, work, 1, no_progress, ray)


def with_one_lost(nodes: Any, victim: Any, work: Path) -> dict[str, Any]:
    """Tasks of whole nodes, one of which goes while it works."""

    def lose() -> None:
        while not (work / "there").exists():
            time.sleep(0.1)
        nodes.remove_node(victim, allow_graceful=False)

    pool = Cluster(nodes.address, 1, whole=True)
    at_once = pool.count
    thread = threading.Thread(target=lose)
    thread.start()
    calls = {number: (node_of, number, victim.node_id, str(work)) for number in range(6)}
    done = dict(completed(pool, calls, at_once))
    thread.join()
    pool.end()
    on = {node for _, node in done.values()}
    return {"nodes": at_once, "on": len(on), "done": sorted(number for number, _ in done.values())}


def main(folder: Path, work: Path) -> dict[str, Any]:
    """Scans, counts, points of a sweep here and there."""
    from ray.cluster_utils import Cluster as Nodes

    nodes: Any = Nodes(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    *_, victim = [nodes.add_node(num_cpus=1) for _ in range(NODES - 1)]
    told: dict[str, Any] = {}
    try:
        told["scan"] = scan(folder, work / "far", nodes.address) == scan(folder, work / "near", "")
        here = counts(work, "")
        there = counts(work, nodes.address)
        told["pairs"] = all((getattr(here, name) == getattr(there, name)).all() for name in counting._ARRAYS)
        pool = Cluster(nodes.address, 1)
        try:
            pool.result(pool.submit(hashing.fingerprints, [(str(folder / "gone.png"), 5)], True))
        except TaskError as error:
            told["gone"] = str(error)
        pool.end()
        told |= with_one_lost(nodes, victim, work)
        arguments = ["assess", "--workload", str(work / "tiny.toml"), "--seeds", "3,4", "--designs", "none"]
        arguments += ["--fresh", "--out"]
        ray = ["--ray", nodes.address]
        told["codes"] = [run([*arguments, str(work / "out"), *ray])]
        made = {path: path.stat().st_mtime_ns for path in (work / "out").rglob("results.json")}
        told["codes"] += [run([*arguments, str(work / "out"), *ray]), run([*arguments, str(work / "alone")])]
        told["points"] = len(made)
        told["kept"] = made == {path: path.stat().st_mtime_ns for path in made}
        told["same"] = rows_in(work / "out") == rows_in(work / "alone")
    finally:
        nodes.shutdown()
    return told


def rows_in(out: Path) -> list[Any]:
    """What was seen of each picture, without times."""
    lines = [line for path in sorted(out.glob("*/rows/*.jsonl")) for line in path.read_text().splitlines()]
    rows = [row for row in map(json.loads, lines) if "edit" in row]
    assert len(rows) == 2 * 9
    return [{key: one for key, one in row.items() if not key.endswith("_ms")} for row in rows]


if __name__ == "__main__":
    real = sys.stdout
    sys.stdout = sys.stderr
    real.write(json.dumps(main(Path(sys.argv[1]), Path(sys.argv[2]))))
