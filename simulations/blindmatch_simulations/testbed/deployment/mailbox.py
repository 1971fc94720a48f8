"""An authority's mailbox, simulated: a folder with a key, into which confirmed reports are forwarded.

    centre --evidence, sealed by HPKE to the authority's key--> inbox/REPORT.sealed
           --what it is about, in the shape of a CyberTipline report--> inbox/REPORT.json
    authority --reference--> inbox/REPORT.ack.json

There is no network and no authority. The names of JSON fields are as they are remembered of the
CyberTipline's interface, and were not held against its documents; `simulated` is true in every file.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from blindmatch_proofs.report_evidence import ReportEvidence
from blindmatch_protocol.crypto import hpke
from blindmatch_server.hosting.authority import Identity, Kind
from blindmatch_server.storage.files import replace_file
from blindmatch_server.storage.key_files import line_of, read_key
from msgspec import Struct

from blindmatch_simulations.testbed.deployment.folder import Deployment, DeploymentError

INFO: Final = b"blindmatch/authority-mailbox/1"
SIMULATED: Final = {"simulated": True}


class Mailbox(Struct, frozen=True):
    """The mailbox of an authority; made when it is first used."""

    folder: Path

    @classmethod
    def of(cls, deployment: Deployment, authority: str) -> Mailbox:
        """That of an authority, whose name is as those of operators.

        Raises:
            AuthorityError: if it breaks the rule for names.
        """
        made = cls(deployment.home / "authorities" / Identity(Kind.OPERATOR, authority).name)
        if not made.key.exists():
            made.inbox.mkdir(parents=True, exist_ok=True, mode=0o700)
            replace_file(made.key, line_of(secrets.token_bytes(hpke.KEY_BYTES)))
        return made

    @property
    def key(self) -> Path:
        """Its private key, X25519."""
        return self.folder / "mailbox.key"

    @property
    def inbox(self) -> Path:
        """Where reports come in."""
        return self.folder / "inbox"

    def put(self, evidence: ReportEvidence, now: datetime) -> Path:
        """Seal evidence into the inbox, in place of the same report's; the sealed file."""
        name, plain = evidence.report.report_id, evidence.encode()
        public = hpke.public_key(read_key(self.key))
        sealed = hpke.seal(public, INFO + name, plain, secrets.token_bytes(32))
        path = self.inbox / f"{name.hex()}.sealed"
        replace_file(path, sealed)
        self._write(path.with_suffix(".json"), tip(evidence, sealed, now))
        return path

    def open(self, report_id: bytes) -> ReportEvidence:
        """What was forwarded, as the authority opens it.

        Raises:
            DeploymentError: if it is not there, or was altered.
            ProtocolError: if it is no evidence.
        """
        path = self.inbox / f"{report_id.hex()}.sealed"
        sealed = path.read_bytes() if path.exists() else b""
        plain = hpke.open_sealed(read_key(self.key), INFO + report_id, sealed)
        if plain is None:
            raise DeploymentError(f"{path.name}: not forwarded to this authority, or altered")
        return ReportEvidence.decode(plain)

    def acknowledge(self, report_id: bytes, reference: str, now: datetime) -> None:
        """The authority says that it has a report, under a reference of its own; raises as `open`."""
        self.open(report_id)
        told = {"report": report_id.hex(), "reference": reference, "at": now.isoformat()}
        self._write(self.inbox / f"{report_id.hex()}.ack.json", told)

    def _write(self, path: Path, content: dict[str, Any]) -> None:
        replace_file(path, (json.dumps(SIMULATED | content, indent=1) + "\n").encode())


def tip(evidence: ReportEvidence, sealed: bytes, now: datetime) -> dict[str, Any]:
    """A report in the shape of the CyberTipline's; the picture is in the sealed file alone."""
    one = evidence.report
    return {
        "report": {
            "incidentSummary": {
                "incidentType": "simulated: benign test material",
                "incidentDateTime": _day(one.sent_at_ms).isoformat(),
            },
            "internetDetails": [{"chatImIncident": {"chatClient": f"blindmatch, {one.design}"}}],
            "reporter": {"reportingPerson": {"organization": "blindmatch centre"}},
            "personOrUserReported": {"espIdentifier": one.sender, "espService": "blindmatch relay"},
            "intendedRecipient": {"espIdentifier": one.recipient},
            "additionalInfo": f"entry {one.label.entry_id} of epoch {one.epoch}; franking: {evidence.mode}",
        },
        "fileDetails": [
            {
                "fileId": one.report_id.hex(),
                "originalFileHash": {"hashType": "SHA-256", "value": one.shown.attachment.digest.hex()},
                "mediaType": one.media_type,
                "fileRelevance": "Reported",
                "viewedByEsp": True,
                "sealedFile": f"{one.report_id.hex()}.sealed",
                "sealedSha256": hashlib.sha256(sealed).hexdigest(),
            }
        ],
        "forwardedAt": now.isoformat(),
    }


def _day(at_ms: int) -> datetime:
    return datetime.fromtimestamp(min(at_ms, _LATEST_MS) / 1000, UTC)


_LATEST_MS: Final = 253402300799000
"""The end of the year 9999: a sender's clock may say anything."""
