"""What the centre publishes and hands on: statistics, a year's report, mailboxes of authorities, notices.

A rate whose denominator is zero, or unknown, is not measured: never 0 and never a guess. A complaint that is
settled later changes what a month counts: both numbers are shown, neither is rewritten.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeAlias

from blindmatch_client.device import Device
from blindmatch_client.errors import RefusedError
from blindmatch_proofs.report_evidence import ReportEvidence
from blindmatch_proofs.tlog import Accepted, TlogProof
from blindmatch_proofs.verdict import Failed, Verdict
from blindmatch_protocol.account_name import NOTICE_BYTES
from blindmatch_protocol.account_name import NOTICES as ACCOUNT
from blindmatch_protocol.codec.errors import BlindmatchError, ProtocolError
from blindmatch_protocol.contract import Party
from blindmatch_protocol.crypto import hpke
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from blindmatch_server.centre.keys import NOTICES_KEY
from blindmatch_server.centre.notices import IN_STATISTICS, statute
from blindmatch_server.hosting.authority import Identity, Kind
from blindmatch_server.log.service import Month, leaf_of, parse_leaf
from blindmatch_server.storage.files import line_of, read_key, replace_file
from google.protobuf.json_format import MessageToDict
from msgspec import Struct

from blindmatch_simulations.testbed.deployment.devices import create_device, open_device
from blindmatch_simulations.testbed.deployment.folder import Deployment, DeploymentError
from blindmatch_simulations.testbed.deployment.operators import append_counts, ask_centre
from blindmatch_simulations.testbed.deployment.transparency import COUNTS, LogError, TransparencyLog, read_log

NOT_MEASURED: Final = "not measured"
COLUMNS: Final = ("figure", "value", "unit")


Row: TypeAlias = tuple[str, float | None, str]
"""A figure, its value, None if it was not measured, and the unit."""


def published(found: pb.Statistics, scanned: int | None = None) -> dict[str, Any]:
    """The figures as JSON, in the order of the form, with what must stand beside them; nobody but providers
    can know how many items were `scanned` in the period."""
    form = statute().statistics_form
    wholes = {
        "B/A: false-discovery proportion of all flagged": found.flagged,
        "B/C: false-discovery proportion of those reviewed": found.reviewed,
        "false matches per item scanned": scanned,
    }
    rates = [(name, found.unconfirmed / whole if whole else None, "ratio") for name, whole in wholes.items()]
    rows = (*_counts(found, scanned), *rates, *_times(found))
    return {
        "figures": [
            {"figure": name, "value": NOT_MEASURED if value is None else value, "unit": unit}
            for name, value, unit in rows
        ],
        "error_rate": form.error_rate,
        "caution": form.caution,
        "not_shown": IN_STATISTICS,
        "source": form.source,
        "law": statute().law.words,
    }


def _counts(found: pb.Statistics, scanned: int | None) -> list[Row]:
    counted = {
        "A: items flagged automatically": found.flagged,
        "B: flagged, not confirmed on human review": found.unconfirmed,
        "C: flagged items reviewed by people": found.reviewed,
        "reports": found.reports,
        "of these, flags of a classifier (no entry matched)": found.flags,
        "vouchers opened": found.vouchers_opened,
        "images": found.images,
        "videos": found.videos,
        "other files, or not readable": found.other_files,
        "accounts that sent at least one": found.accounts_sent,
        "accounts named as recipient of at least one": found.accounts_received,
        "reports that passed the machine checks": found.checks_passed,
        "reports that failed one": found.checks_failed,
        "reports that could not be checked": found.checks_unavailable,
        "reports forwarded to an authority": found.forwarded,
        "items whose removal was asked": found.removal_asked,
        "reports closed": found.closed,
        "complaints": found.complaints,
        "complaints settled": found.complaints_settled,
        "complaints upheld (decision reversed)": found.complaints_upheld,
    }
    return [
        # the centre sees neither: providers and platforms would have to say
        ("files processed, in the EU and elsewhere", scanned, "items"),
        *((name, int(value), "count") for name, value in counted.items()),
        ("accounts removed or suspended", None, "count"),
    ]


def _times(found: pb.Statistics) -> list[Row]:
    lines: list[Row] = []
    for name, times in (
        ("receipt to decision", found.to_decision),
        ("complaint to answer", found.to_settlement),
    ):
        kinds = {"average": "mean", "median": "median", "90th percentile": "p90", "99th percentile": "p99"}
        for kind, field in kinds.items():
            seconds = round(getattr(times, f"{field}_ms") / 1000, 3) if times.count else None
            lines.append((f"{name}, {kind}", seconds, "seconds"))
    return lines


_LEAF: Final = ".json"
_PROOF: Final = ".proof"


class Counted(Struct, frozen=True):
    """A month's counts: as they stand now, and as they were logged; None before that is shown."""

    month: Month
    now: dict[str, int]
    logged: dict[str, int] | None


def year_of(deployment: Deployment, year: int, now: datetime) -> list[Counted]:
    """The months of a year that have begun; `OperatorError` if the centre cannot be asked, `DeploymentError`
    if what was written down is damaged."""
    months = [Month(year, number) for number in range(1, 13)]
    begun = [one for one in months if one.began_ms <= now.timestamp() * 1000]
    return [Counted(one, _now(deployment, one), _written(deployment, one)) for one in begun]


def log_months(deployment: Deployment, first: Month, now: datetime) -> list[Month]:
    """Write down and log every month that is over, from `first` on or from where the log begins; the months;
    `LogError` if the deployment has no log, or its policy does not accept what the log answers;
    `OperatorError` if centre or log cannot be asked, or the log has another leaf for a month."""
    log = read_log(deployment)
    if log is None:
        raise LogError("there is no log: blindmatch log init makes one")
    begun = sorted(path.stem for path in _folder(deployment).glob(f"????-??{_LEAF}"))
    month = Month(*map(int, begun[0].split("-"))) if begun else first
    done: list[Month] = []
    while month.following.began_ms <= now.timestamp() * 1000:
        done.append(month)
        month = month.following
    for index, month in enumerate(done):
        path = _folder(deployment) / f"{month}{_LEAF}"
        if not path.exists():
            path.parent.mkdir(exist_ok=True, mode=0o700)
            replace_file(path, leaf_of(month, _now(deployment, month)))
        _prove(deployment, log, month, index, path.read_bytes())
    return done


def _folder(deployment: Deployment) -> Path:
    return deployment.server(Party.CENTRE) / "counts"


def _prove(deployment: Deployment, log: TransparencyLog, month: Month, index: int, leaf: bytes) -> None:
    """Have a month's leaf appended, and keep the proof beside it once the log's policy accepts it."""
    origin = log.origin(COUNTS)
    raw = append_counts(deployment, origin, index, leaf)
    try:
        proof = TlogProof.parse(raw)
        found: Verdict | Accepted = log.policy(origin).accept(proof.note, int(time.time()), log.most_age_s)
        if isinstance(found, Accepted):
            found = proof.verify(leaf) if proof.index == index else Failed("the proof is of another index")
    except ProtocolError as error:
        raise LogError(f"{month} is not logged: the log answers wrongly: {error}") from error
    if isinstance(found, Failed):
        raise LogError(f"{month} is not logged: {found.reason}")
    replace_file(_folder(deployment) / f"{month}{_PROOF}", raw)


def _written(deployment: Deployment, month: Month) -> dict[str, int] | None:
    path, proof = (_folder(deployment) / f"{month}{end}" for end in (_LEAF, _PROOF))
    if not (path.exists() and proof.exists()):
        return None
    raw = path.read_bytes()
    try:
        of, counts = parse_leaf(raw)
        shown = TlogProof.parse(proof.read_bytes()).verify(raw)
    except ProtocolError as error:
        raise DeploymentError(f"{path.name} is damaged, or its proof: {error}") from error
    if of != month or isinstance(shown, Failed):
        raise DeploymentError(f"{path.name} is damaged, or its proof")
    return counts


def _now(deployment: Deployment, month: Month) -> dict[str, int]:
    """Counts alone, nothing about anybody; times are in `centre statistics`."""
    request = pb.StatisticsRequest(from_ms=month.began_ms, until_ms=month.following.began_ms)
    found: dict[str, Any] = MessageToDict(
        ask_centre(deployment, "ReadStatistics", request, pb.Statistics),
        preserving_proto_field_name=True,
        always_print_fields_with_no_presence=True,
    )
    return {name: int(value) for name, value in found.items() if isinstance(value, str | int)}


INFO: Final = b"blindmatch/authority-mailbox/1"
SIMULATED: Final = {"simulated": True}


class Mailbox(Struct, frozen=True):
    """The mailbox of an authority; made when it is first used.

        centre --evidence, sealed by HPKE to the authority's key--> inbox/REPORT.sealed
               --what it is about, in the shape of a CyberTipline report--> inbox/REPORT.json
        authority --reference--> inbox/REPORT.ack.json

    There is no network and no authority. The names of JSON fields are as they are remembered of the
    CyberTipline's interface, and were not held against its documents; `simulated` is true in every file.
    """

    folder: Path

    @classmethod
    def of(cls, deployment: Deployment, authority: str) -> Mailbox:
        """That of an authority, whose name is as those of operators; `AuthorityError` if it breaks the rule
        for names."""
        made = cls(deployment.home / "authorities" / Identity(Kind.OPERATOR, authority).name)
        if not made.key.exists():
            made.inbox.mkdir(parents=True, exist_ok=True, mode=0o700)
            replace_file(made.key, line_of(secrets.token_bytes(hpke.KEY_BYTES)))
        return made

    @property
    def key(self) -> Path:
        return self.folder / "mailbox.key"

    @property
    def inbox(self) -> Path:
        return self.folder / "inbox"

    def put(self, evidence: ReportEvidence, now: datetime) -> Path:
        """Seal evidence into the inbox, in place of the same report's; the sealed file."""
        name = evidence.report.report_id
        plain = evidence.encode()
        public = hpke.public_key(read_key(self.key))
        sealed = hpke.seal(public, INFO + name, plain, secrets.token_bytes(32))
        path = self.inbox / f"{name.hex()}.sealed"
        replace_file(path, sealed)
        self._write(path.with_suffix(".json"), tip(evidence, sealed, now))
        return path

    def open(self, report_id: bytes) -> ReportEvidence:
        """What was forwarded, as the authority opens it; `DeploymentError` if it is not there, or was
        altered."""
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
    sent_at_ms = min(one.sent_at_ms, _LATEST_MS)
    return {
        "report": {
            "incidentSummary": {
                "incidentType": "simulated: benign test material",
                "incidentDateTime": datetime.fromtimestamp(sent_at_ms / 1000, UTC).isoformat(),
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
                "originalFileHash": {"hashType": "SHA-256", "value": hashlib.sha256(one.picture).hexdigest()},
                "mediaType": one.media_type,
                "fileRelevance": "Reported",
                "viewedByEsp": True,
                "sealedFile": f"{one.report_id.hex()}.sealed",
                "sealedSha256": hashlib.sha256(sealed).hexdigest(),
            }
        ],
        "forwardedAt": now.isoformat(),
    }


_LATEST_MS: Final = 253402300799000
"""The end of the year 9999: a sender's clock may say anything."""


def deliver(deployment: Deployment, design: str, **more: Any) -> list[tuple[pb.Notice, str]]:
    """Send every notice that is due, and what waits in the centre's outbox from before; with each the problem
    that it met, empty if the messenger took it. The device, to which `more` goes as in `connect`, needs the
    set-up of `design`. `ServiceError` if the centre's account cannot be registered."""
    due = ask_centre(deployment, "DueNotices", pb.DueNoticesRequest(), pb.NoticeList).notices
    return [_sent(deployment, design, notice, more) for notice in due]


def _sent(
    deployment: Deployment, design: str, notice: pb.Notice, more: dict[str, Any]
) -> tuple[pb.Notice, str]:
    device = _device(deployment, design, more)
    try:
        device.flush()
        device.send_text(notice.account, padded(notice.text))
        request = pb.NoticeSentRequest(notice_id=notice.notice_id)
        return ask_centre(deployment, "NoticeSent", request, pb.Notice), ""
    except RefusedError as error:
        return notice, str(error)
    finally:
        device.close()


def padded(text: str) -> str:
    """A notice's text at its one size."""
    return text.encode().ljust(NOTICE_BYTES).decode()


def _device(deployment: Deployment, design: str, more: dict[str, Any]) -> Device:
    made = (deployment.device(ACCOUNT) / "device.json").exists()
    if made:
        watched = open_device(deployment, ACCOUNT, **more)
    else:
        identity = read_key(deployment.centre_keys / NOTICES_KEY)
        watched = create_device(deployment, ACCOUNT, design, identity=identity, **more)
    try:
        # an earlier registration may not have come to its end
        if not watched.device.is_registered:
            watched.device.register()
    except BlindmatchError:
        watched.device.close()
        raise
    return watched.device
