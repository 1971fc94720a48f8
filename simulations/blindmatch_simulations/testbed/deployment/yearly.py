"""The centre's transparency report of a year: counts by month, each in the log once its month is over.

    month over --> counts as they stand --> centre/counts/2026-11.json, once --> leaf n of the log's counts
               --> proof, of a quorum of witnesses --> centre/counts/2026-11.proof: from now on it is logged
    report     --> counts as they stand now, beside those that were logged

A complaint that is settled later changes what a month counts: both numbers are shown, neither is rewritten.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from blindmatch_proofs.tlog_policy import Accepted
from blindmatch_proofs.tlog_proof import TlogProof
from blindmatch_proofs.verdict import Failed, Verdict
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.contract import Party
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from blindmatch_server.log.service import Month, leaf_of, parse_leaf
from blindmatch_server.storage.files import replace_file
from google.protobuf.json_format import MessageToDict
from msgspec import Struct

from blindmatch_simulations.testbed.deployment.folder import Deployment, DeploymentError
from blindmatch_simulations.testbed.deployment.operators import append_counts, ask_centre
from blindmatch_simulations.testbed.deployment.transparency import COUNTS, LogError, TransparencyLog, read_log

_LEAF: Final = ".json"
_PROOF: Final = ".proof"


class Counted(Struct, frozen=True):
    """A month's counts: as they stand now, and as they were logged; None before that is shown."""

    month: Month
    now: dict[str, int]
    logged: dict[str, int] | None


def year_of(deployment: Deployment, year: int, now: datetime) -> list[Counted]:
    """The months of a year that have begun.

    Raises:
        OperatorError: if the centre cannot be asked.
        DeploymentError: if what was written down is damaged.
    """
    months = [Month(year, number) for number in range(1, 13)]
    begun = [one for one in months if one.began_ms <= now.timestamp() * 1000]
    return [Counted(one, _now(deployment, one), _written(deployment, one)) for one in begun]


def log_months(deployment: Deployment, first: Month, now: datetime) -> list[Month]:
    """Write down and log every month that is over, from `first` on or from where the log begins; the months.

    Raises:
        LogError: if the deployment has no log, or its policy does not accept what the log answers.
        OperatorError: if centre or log cannot be asked, or the log has another leaf for a month.
    """
    log = read_log(deployment)
    if log is None:
        raise LogError("there is no log: blindmatch log init makes one")
    done = list(_over(_first(deployment) or first, now))
    for index, month in enumerate(done):
        _prove(deployment, log, month, index, _leaf(deployment, month))
    return done


def _over(month: Month, now: datetime) -> Iterator[Month]:
    while month.following.began_ms <= now.timestamp() * 1000:
        yield month
        month = month.following


def _folder(deployment: Deployment) -> Path:
    return deployment.server(Party.CENTRE) / "counts"


def _first(deployment: Deployment) -> Month | None:
    """The month that is leaf 0."""
    names = sorted(path.stem for path in _folder(deployment).glob(f"????-??{_LEAF}"))
    return Month(*map(int, names[0].split("-"))) if names else None


def _leaf(deployment: Deployment, month: Month) -> bytes:
    """A month's leaf, as it was written down when it was first asked for."""
    path = _folder(deployment) / f"{month}{_LEAF}"
    if not path.exists():
        path.parent.mkdir(exist_ok=True, mode=0o700)
        replace_file(path, leaf_of(month, _now(deployment, month)))
    return path.read_bytes()


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
    """What was logged of a month; None if there is no proof that it was."""
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
