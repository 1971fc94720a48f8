"""Manifests, credentials and sets for checks of a counterpart over gRPC."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from blindmatch_protocol.codec.randomness import seeded
from blindmatch_protocol.contract import AnyDesign, Party
from blindmatch_server.hosting.authority import Authority, Identity, Kind
from blindmatch_simulations.evaluation.conformance.remote import counterpart
from blindmatch_simulations.evaluation.conformance.remote.counterpart import read_manifest
from blindmatch_simulations.evaluation.conformance.remote.run import check_remote
from blindmatch_simulations.evaluation.conformance.run import Report
from blindmatch_simulations.testbed.inprocess.deployed import Build, publish
from blindmatch_simulations.testbed.pictures.pool import random_hashes
from dummy_designs import SHARES

from support.foreign_matcher import ForeignMatcher, serving

ENTRIES = random_hashes(12, 7)


class World:
    """Credentials, and manifests of builds, in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        now = datetime.now(UTC)
        authority = Authority.create(now)
        self.servers = {
            party: authority.issue(Identity.of(party), now)
            for party in (Party.MATCHER, Party.PROVIDER, *SHARES.info.roles.values())
        }
        authority.issue(Identity(Kind.DEVICE, "checker"), now).write(folder, "checker")

    def manifest(self, build: Build, **fields: Any) -> Path:
        """A manifest of `build`, with other `fields` if any are given."""
        info = build.design.info
        setup = build.design.open_setup(build.setup_files, build.epoch)
        for name, raw in build.setup_files.items():
            (self.folder / name).write_bytes(raw)
        key = getattr(setup, "public_key", None)
        made = {
            "format": counterpart.FORMAT,
            "version": 1,
            "contract": 3,
            "design": info.name,
            "design_version": info.version,
            "epoch": build.epoch,
            "parameters": {},
            "public_key": key.element.hex() if key else None,
            "setup": [
                {"name": name, "path": name, "sha256": _digest(raw)}
                for name, raw in build.setup_files.items()
            ],
            "listed": {"complete": True, "hashes": [row.tobytes().hex() for row in build.entries]},
            "credentials": {
                "root": "ca.crt",
                "certificate": "checker.crt",
                "key": "checker.key",
                "server_names": {role: party.dns_name for role, party in info.roles.items()},
            },
            "limits": {"reply_bytes": 4096, "answer_ms": 240_000},
        }
        path = self.folder / f"{info.name}.json"
        path.write_text(json.dumps(made | fields))
        return path

    def check(
        self, matcher: ForeignMatcher, *only: str, party: Party = Party.MATCHER, **fields: Any
    ) -> Report:
        """The report on `matcher`."""
        held = read_manifest(self.manifest(matcher.build, **fields))
        (role,) = matcher.design.info.roles
        with serving(matcher, self.servers[party]) as address:
            return check_remote(matcher.design, held, {role: address}, only=only)


def _digest(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()


def built(design: AnyDesign, purpose: str = "key") -> Build:
    return publish(design, ENTRIES, seeded(purpose), 3)


def lines(report: Report) -> list[str]:
    return [report.line(result) for result in report.failed]
