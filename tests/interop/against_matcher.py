"""The JavaScript device against running matchers: every outcome is the plaintext oracle's.

    make interop                       after `npm ci`
    make interop ARGS="--entries 5000"

    a matcher process    a published list; listed hashes, their neighbours, poor and unlisted ones
    deltas               additions and removals on top of a full set
    many shards          a store of 64 shards, some of them empty: look-ups choose among them
    a filter             membership alone
    a false key          replies whose proof does not hold must be refused, whatever they say
    a false name         a server whose certificate bears another name must not be asked

Exit 0 only if all of that is right.
"""

from __future__ import annotations

import argparse
import json
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import patch

import numpy as np
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.randomness import system_randomness
from blindmatch_protocol.contract import Party, SetParameters, batches_of
from blindmatch_protocol.designs.deltas import SET_FILE
from blindmatch_protocol.designs.oprf_psi import DESIGN
from blindmatch_protocol.setfile import SetFile
from blindmatch_protocol.sets import store
from blindmatch_server.curator import open_list
from blindmatch_server.hosting.authority import Credentials, Identity, Kind
from blindmatch_simulations.testbed.deployment.curating import list_path
from blindmatch_simulations.testbed.deployment.folder import Deployment
from blindmatch_simulations.testbed.deployment.processes import running_servers
from blindmatch_simulations.testbed.inprocess.deployed import Build, MemoryWorkspace
from msgspec import Struct
from support.command import in_process
from support.foreign_matcher import ForeignMatcher, serving

HERE = Path(__file__).parent
SECONDS = 300
ASKED = 8
"""Hashes of each kind."""
SHARDED = 64
"""Entries, and shards, of the store that has many."""


class Asked(Struct, frozen=True):
    """A hash as an `Item`, as far as the oracle looks at it."""

    hash: bytes
    quality: int = 100

    def __str__(self) -> str:
        return f"{self.hash.hex()}:{self.quality}"


class Device(Struct, frozen=True):
    """The JavaScript device, with its certificate."""

    folder: Path
    stem: str

    def run(self, address: str, items: Sequence[Asked], **more: str) -> subprocess.CompletedProcess[str]:
        """Ask about `items`, with `more` options."""
        options: dict[str, object] = {"address": address, "root": self.folder / "ca.crt", **more}
        options |= {"certificate": self.folder / f"{self.stem}.crt", "key": self.folder / f"{self.stem}.key"}
        command = ["node", str(HERE / "device.mjs")]
        command += [part for name, value in options.items() for part in (f"--{name}", str(value))]
        return subprocess.run(
            [*command, *map(str, items)], capture_output=True, text=True, timeout=SECONDS, check=False
        )

    def agrees(self, what: str, address: str, items: Sequence[Asked], entries: Rows) -> None:
        """Ask about `items` and compare every outcome with the oracle; leaves with 1 if one differs."""
        started = time.monotonic()
        ran = self.run(address, items)
        if ran.returncode:
            raise SystemExit(f"{what}: the device ends with {ran.returncode}: {ran.stderr.strip()}")
        said = [json.loads(line) for line in ran.stdout.splitlines()]
        matches = DESIGN.info.relation.matches
        expected = ["match" if matches(item, entries) else "no match" for item in items]  # type: ignore[arg-type]
        for item, line, right in zip(items, said, expected, strict=True):
            if (line["hash"], line["outcome"]) != (item.hash.hex(), right):
                raise SystemExit(f"{what}: {item}: the oracle says {right}, the device {line['outcome']}")
        matching = expected.count("match")
        if not 0 < matching < len(items):
            raise SystemExit(f"{what}: the hashes do not cover both outcomes")
        seconds = time.monotonic() - started
        say(f"{what}: {len(items)} hashes as the oracle says, {matching} of them matching ({seconds:.1f} s)")


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def items_of(entries: Rows) -> list[Asked]:
    """Listed hashes, the same with one bit flipped, the same at a poor quality, and unlisted ones."""
    picked = sorted(secrets.SystemRandom().sample(range(len(entries)), min(ASKED, len(entries))))
    listed = [entries[row].tobytes() for row in picked]
    near = [value[:-1] + bytes([value[-1] ^ 1]) for value in listed]
    others = [secrets.token_bytes(32) for _ in range(ASKED)]
    return [*map(Asked, (*listed, *near, *others)), *(Asked(value, 49) for value in listed)]


def drawn(count: int) -> Rows:
    """Random hashes, uint8 (count, 32)."""
    return np.frombuffer(secrets.token_bytes(32 * count), np.uint8).reshape(count, 32)


def source_of(entries: Rows, first_id: int = 1) -> object:
    """Entries with ids from `first_id` on and random salts."""
    ids = np.arange(first_id, first_id + len(entries), dtype=np.uint64)
    return batches_of(entries, ids, np.ascontiguousarray(drawn(len(entries))[:, :16]))


def published(entries: Rows, **values: int) -> Build:
    """A full set, epoch 1, under a fresh key."""
    out = MemoryWorkspace()
    parameters = SetParameters(1, values)
    made = DESIGN.publish(source_of(entries), parameters, system_randomness(), None, out)  # type: ignore[arg-type]
    return Build(DESIGN, 1, entries, out.files(), made)


def updated(build: Build, adds: Rows, ids: Sequence[int]) -> Build:
    """The epoch after `build`, without its first entries, which have these `ids`."""
    out = MemoryWorkspace()
    source = source_of(adds, 1 + (build.epoch << 20))
    made = DESIGN.update(build.files, source, ids, out, system_randomness())  # type: ignore[arg-type]
    entries = np.concatenate([build.entries[len(ids) :], adds])
    return Build(DESIGN, build.epoch + 1, entries, out.files(), made)


def against_process(home: Path, device: Device, entries: int) -> None:
    """The project's own matcher, a process of its own."""
    for arguments in (["list", "random", entries, "known"], ["list", "build", "known"]):
        ran = in_process(home, *arguments)
        if ran.code:
            raise SystemExit(ran.err)
    deployment = Deployment.open(home)
    with open_list(list_path(deployment, "known")) as held:
        hashes = np.array(held.hashes)
    with running_servers(deployment, [Party.MATCHER], ()):
        address = f"127.0.0.1:{deployment.port_file(Party.MATCHER).read_text().strip()}"
        device.agrees("a matcher process", address, items_of(hashes), hashes)


def against_deltas(credentials: Credentials, device: Device) -> None:
    """Two deltas: what was added matches, what was removed does not."""
    first = published(drawn(300))
    second = updated(first, drawn(20), range(1, 21))
    third = updated(second, drawn(20), range(21, 41))
    gone = [Asked(row.tobytes()) for row in first.entries[[0, 19, 20, 39]]]
    fresh = [Asked(row.tobytes()) for row in (*second.entries[-2:], *third.entries[-2:])]
    with serving(ForeignMatcher(third), credentials) as address:
        items = [*items_of(third.entries), *gone, *fresh]
        device.agrees("two deltas", address, items, third.entries)


def against_shards(credentials: Credentials, device: Device) -> None:
    """Every entry of a store that is cut into as many shards as one of 2^26 entries is."""
    with patch.object(store, "MOST_SHARD_KEYS", 1):
        build = published(drawn(SHARDED))
    shards = SetFile(build.files[SET_FILE], SET_FILE, DESIGN.info.name, DESIGN.info.version, 1).count(
        store.KIND
    )
    if shards != SHARDED:
        raise SystemExit(f"many shards: the set has {shards}, not {SHARDED}")
    items = [*items_of(build.entries), *(Asked(row.tobytes()) for row in build.entries)]
    with serving(ForeignMatcher(build), credentials) as address:
        device.agrees(f"{shards} shards", address, items, build.entries)


def against_filter(credentials: Credentials, device: Device) -> None:
    """A set of kind filter, of more entries than one block."""
    build = published(drawn(1500), filter=1)
    with serving(ForeignMatcher(build), credentials) as address:
        device.agrees("a filter", address, items_of(build.entries), build.entries)


def against_false_key(credentials: Credentials, device: Device) -> None:
    """A matcher that answers with another key is refused, and no outcome is said."""
    build = published(drawn(50))
    other = published(drawn(50))
    matcher = ForeignMatcher(build)
    matcher.states = {r: DESIGN.open_role(r, other.role_files(r)) for r in other.published.roles}
    with serving(matcher, credentials) as address:
        ran = device.run(address, [Asked(build.entries[0].tobytes())])
    if ran.returncode != 1 or ran.stdout or "proof" not in ran.stderr.lower():
        raise SystemExit(f"a false key: taken, or refused for another reason: {ran.stdout}{ran.stderr}")
    say(f"a false key: {ran.stderr.strip()}")


def against_false_name(credentials: Credentials, device: Device) -> None:
    """A server that is not the one wanted gets no request."""
    build = published(drawn(10))
    with serving(ForeignMatcher(build), credentials) as address:
        name = {"server-name": "relay.blindmatch.test"}
        ran = device.run(address, [Asked(build.entries[0].tobytes())], **name)
    if ran.returncode != 1 or ran.stdout or "UNAVAILABLE" not in ran.stderr:
        raise SystemExit(f"a false name: taken, or refused for another reason: {ran.stdout}{ran.stderr}")
    say("a false name: no connection")


def main() -> int:
    """Run everything."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--entries", type=int, default=200, help="of the list of the matcher process")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="blindmatch-interop-") as folder:
        home = Path(folder) / "home"
        now = datetime.now(UTC)
        identity = Identity(Kind.DEVICE, "javascript")
        deployment = Deployment.create(home, now)
        deployment.enrol(identity, deployment.device(identity.name), now)
        device = Device(deployment.device(identity.name), identity.slug)
        credentials = deployment.server_credentials(Party.MATCHER)
        against_process(home, device, options.entries)
        against_deltas(credentials, device)
        against_shards(credentials, device)
        against_filter(credentials, device)
        against_false_key(credentials, device)
        against_false_name(credentials, device)
    return 0


if __name__ == "__main__":
    sys.exit(main())
